//! A viewer of a terminal that reads nothing, in virtual time: no loop runs here.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;

use super::*;
use crate::logger::console::Console;
use crate::logger::seats::Wish;
use crate::logger::{Logger, Timer};
use crate::model::time::Moment;
use crate::protocol::attach::{Decoder, End, ToClient};
use crate::protocol::logger::{ConsoleId, Input};
use crate::system::pty;

/// A logger with one terminal, to which one viewer is attached.
struct Stage {
    logger: Logger,
    viewer: UnixStream,
    begin: Moment,
}

impl Stage {
    fn new() -> Self {
        let (_core, worker) = socket::message_pair().expect("a pair");
        let mut logger = Logger::new(Channel::of_worker(worker, true).expect("a channel")).expect("a logger");
        let terminal = pty::open().expect("a terminal");
        let console = Console::new("p".to_owned(), vec![TailId(1)], Some((Input::Terminal, terminal.master)));
        logger.open_console(ConsoleId(1), console, false);
        let (viewer, other) = socket::stream_pair().expect("a pair");
        logger.take_viewer(ConsoleId(1), Wish::Look, None, other.into()).expect("taken");
        let begin = logger.now;
        viewer.set_nonblocking(true).expect("set");
        Self { logger, viewer, begin }
    }

    /// The program writes more than may wait for a viewer.
    fn flood(&mut self) {
        for _ in 0..64 {
            self.logger.show_viewers(TailId(1), &[b'x'; 64 << 10]);
        }
    }

    /// Does what is due so long after the beginning; says whether the viewer is sent away by then.
    fn is_cut_after(&mut self, seconds: u64) -> bool {
        self.logger.now = self.begin + Duration::from_secs(seconds);
        self.logger.expire().expect("done");
        self.logger.timers.iter().any(|(_, timer)| matches!(timer, Timer::Farewell(_)))
    }

    /// The viewer reads what has come; then the logger sends more. `None`: the end.
    fn read(&mut self) -> Option<Vec<u8>> {
        let (mut seen, mut buffer) = (Vec::new(), [0; 64 << 10]);
        let ended = loop {
            match self.viewer.read(&mut buffer) {
                Ok(0) => break true,
                Ok(count) => seen.extend_from_slice(&buffer[..count]),
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        for ready in self.logger.poll.wait(Some(Duration::ZERO)).expect("waited") {
            self.logger.attend(ready).expect("attended");
        }
        (!ended || !seen.is_empty()).then_some(seen)
    }
}

#[test]
fn a_viewer_of_a_terminal_that_reads_nothing_for_half_a_minute_is_cut_and_told() {
    let mut stage = Stage::new();
    stage.flood();
    assert!(!stage.is_cut_after(29));
    assert!(stage.is_cut_after(30));
    // It reads at last: the answer to its call, what had begun, and why there is no more.
    let mut seen = Vec::new();
    while let Some(more) = stage.read() {
        seen.extend(more);
    }
    let answer = seen.iter().position(|byte| *byte == 0).expect("an answer") + 1;
    let mut frames = Decoder::with(seen.split_off(answer));
    let mut last = None;
    while let Some(frame) = frames.next::<ToClient>().expect("frames") {
        last = Some(frame);
    }
    let Some(ToClient::End(End::Cut, words)) = last else { panic!("nothing comes after the end: {last:?}") };
    assert!(words.starts_with("too slow"), "{words}");
}

#[test]
fn a_viewer_of_a_terminal_that_reads_a_little_now_and_then_stays() {
    let mut stage = Stage::new();
    stage.flood();
    for minute in 1..5 {
        assert!(!stage.is_cut_after(minute * 60 - 40));
        stage.read();
        assert!(!stage.is_cut_after(minute * 60 - 20));
        stage.read();
        assert!(!stage.is_cut_after(minute * 60));
        stage.read();
        // What was left out is made good by the screen as it is now; then it is behind again.
        stage.flood();
    }
    assert!(stage.is_cut_after(60 * 5));
}
