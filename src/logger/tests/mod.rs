//! The logger's loop on a thread, with real pipes and files; the test plays the core.

mod astray;
mod clearing;
mod dressing;
mod failing;
mod following;
mod killed;
mod measure;
mod packing;
mod rotating;
mod speaking;
mod stalling;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::protocol::control::Channel as Output;
use crate::protocol::logger::{FileName, FromLogger, SinkSettings, StreamId, TailId, ToLogger};
use crate::protocol::spawner::SinkId;
use crate::system::poll::{Interest, Poll};
use crate::system::{place, socket, stdio};
use crate::worker::channel::{Channel, ChannelError};

const DEADLINE: Duration = Duration::from_secs(20);

/// The core's side of a logger, with the files in a directory of its own.
struct Core {
    directory: tempfile::TempDir,
    channel: Channel,
    poll: Poll,
    logger: Option<JoinHandle<bool>>,
    /// Rotated files are numbered up, so that none is lost.
    rotations: u32,
    settings: SinkSettings,
    told: Vec<FromLogger>,
}

impl Core {
    fn new(max_bytes: u64, backups: u32) -> Self {
        Self::in_directory(tempfile::tempdir().expect("a directory"), max_bytes, backups)
    }

    fn in_directory(directory: tempfile::TempDir, max_bytes: u64, backups: u32) -> Self {
        let (core, worker) = socket::message_pair().expect("a pair");
        let logger = std::thread::spawn(move || {
            super::run(Channel::of_worker(worker, true).expect("a channel")).map_err(|e| panic!("{e}")).is_ok()
        });
        let channel = Channel::of_core(core).expect("a channel");
        let mut poll = Poll::new().expect("epoll");
        poll.add(&channel, Interest::Read).expect("added");
        let settings = SinkSettings { max_bytes, backups, timestamps: false, strip_ansi: false };
        let mut core =
            Self { directory, channel, poll, logger: Some(logger), rotations: 0, settings, told: Vec::new() };
        core.expect(|message| *message == FromLogger::Ready);
        let hand = hand();
        core.send(&ToLogger::Hand, hand);
        core.send(&ToLogger::Begin, Vec::new());
        core
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn rotated(&self, n: u32) -> PathBuf {
        self.directory.path().join(format!("log.{n}"))
    }

    fn send(&mut self, message: &ToLogger, descriptors: Vec<OwnedFd>) {
        self.channel.send(message, descriptors.into_iter().map(Rc::new).collect()).expect("sent");
    }

    fn send_sink(&mut self, file: File) {
        let name = place::name_of(&file).map(FileName);
        let message =
            ToLogger::Sink { sink: SinkId(1), settings: self.settings, name, rotated: false, dropping: false };
        self.send(&message, vec![file.into()]);
    }

    /// The log file as sink 1.
    fn sink(&mut self) {
        let file = open(&self.path());
        self.send_sink(file);
    }

    /// A pipe as this stream; the tail has the number of the stream modulo 100.
    fn stream(&mut self, id: u64, sink: Option<u64>) -> File {
        let (read, write) = stdio::output_pipe().expect("a pipe");
        self.stream_of(id, sink, read);
        write.into()
    }

    fn stream_of(&mut self, id: u64, sink: Option<u64>, output: OwnedFd) {
        let message = ToLogger::Stream {
            stream: StreamId(id),
            tail: TailId(id % 100),
            process: format!("p{}", id % 100),
            channel: Output::Stdout,
            sink: sink.map(SinkId),
            voice: None,
        };
        self.send(&message, vec![output]);
    }

    /// Gives the logger a new file, as after a rotation.
    fn rotate(&mut self) {
        self.rotations += 1;
        std::fs::rename(self.path(), self.rotated(self.rotations)).expect("renamed");
        self.sink();
    }

    /// Waits for a message, answering every `Rotate` before it.
    fn expect(&mut self, wanted: impl Fn(&FromLogger) -> bool) -> FromLogger {
        let deadline = Instant::now() + DEADLINE;
        loop {
            while let Some(received) = self.channel.receive::<FromLogger>().expect("the logger lives") {
                let message = received.message;
                if wanted(&message) {
                    return message;
                }
                if matches!(message, FromLogger::Rotate { .. }) {
                    self.rotate();
                }
                self.told.push(message);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "told instead: {:?}", self.told);
            self.channel.flush().expect("the logger lives");
            self.poll.wait(Some(left.min(Duration::from_millis(20)))).expect("waited");
        }
    }

    fn expect_end(&mut self, id: u64) {
        self.expect(|message| *message == FromLogger::Ended { stream: StreamId(id) });
    }

    /// Waits until the file holds this.
    fn expect_content(&mut self, content: &str) {
        let deadline = Instant::now() + DEADLINE;
        let mut found = String::new();
        while Instant::now() < deadline {
            found = std::fs::read_to_string(self.path()).expect("read");
            if found == content {
                return;
            }
            self.poll.wait(Some(Duration::from_millis(5))).expect("waited");
        }
        assert_eq!(found, content);
    }

    /// What all files hold, oldest first.
    fn files(&self) -> Vec<Vec<u8>> {
        let names = (1..=self.rotations).map(|n| self.rotated(n)).chain([self.path()]);
        names.map(|name| std::fs::read(name).expect("read")).collect()
    }

    fn drained(&mut self) {
        self.send(&ToLogger::Drain, Vec::new());
        self.expect(|message| *message == FromLogger::Drained);
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let (other, _) = socket::message_pair().expect("a pair");
        self.channel = Channel::of_core(other).expect("a channel");
        // After a failure the logger may be busy for ever.
        if !std::thread::panicking() {
            let ended = self.logger.take().map(JoinHandle::join);
            assert!(ended.is_some_and(|result| result.is_ok_and(|well| well)), "the logger ends well");
        }
    }
}

fn hand() -> Vec<OwnedFd> {
    let mut hand = vec![crate::system::block::memory().expect("memory")];
    for _ in 0..2 {
        let (read, write) = stdio::output_pipe().expect("a pipe");
        stdio::set_nonblocking(&write, true).expect("set");
        hand.extend([read, write]);
    }
    hand
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).append(true).create(true).open(path).expect("opened")
}

fn print(mut pipe: &File, text: &str) {
    pipe.write_all(text.as_bytes()).expect("the pipe is read");
}

#[test]
fn the_end_of_a_stream_is_told_after_its_last_byte_is_written() {
    let mut core = Core::new(0, 0);
    core.sink();
    let pipe = core.stream(1, Some(1));
    print(&pipe, "one\ntwo");
    drop(pipe);
    core.expect_end(1);
    assert_eq!(core.files(), [b"one\ntwo"]);
}

#[test]
fn an_output_that_never_runs_dry_has_its_turn_and_no_more() {
    let mut core = Core::new(0, 0);
    core.sink();
    let endless = File::open("/dev/random").expect("opened");
    core.stream_of(1, None, endless.into());
    let pipe = core.stream(2, Some(1));
    let mut all = String::new();
    for number in 0..20 {
        print(&pipe, &format!("{number}\n"));
        all += &format!("{number}\n");
        core.expect_content(&all);
    }
    core.send(&ToLogger::Abandon { stream: StreamId(1) }, Vec::new());
    core.expect_end(1);
}

#[test]
fn a_stream_waits_unread_until_its_file_is_there() {
    let mut core = Core::new(0, 0);
    let pipe = core.stream(1, Some(1));
    print(&pipe, "early\n");
    drop(pipe);
    core.drained();
    core.sink();
    core.expect_end(1);
    assert_eq!(core.files(), [b"early\n"]);
}

#[test]
fn drain_writes_all_that_is_in_the_pipes() {
    let mut core = Core::new(1000, 1);
    core.sink();
    let pipes: Vec<File> = (1..=4).map(|id| core.stream(id, Some(1))).collect();
    let text = format!("{}\nunfinished", "x".repeat(99).repeat(60));
    for pipe in &pipes {
        print(pipe, &text);
    }
    core.drained();
    let all: usize = core.files().iter().map(Vec::len).sum();
    assert_eq!(all, 4 * text.len());
}

#[test]
fn what_came_before_the_core_died_is_written() {
    let mut core = Core::new(10, 1);
    core.sink();
    let (one, two) = (core.stream(1, Some(1)), core.stream(2, Some(1)));
    print(&one, "held");
    print(&two, "a longer line\n");
    let path = core.path();
    let kept = core.directory.path().join("kept");
    std::fs::hard_link(&path, &kept).expect("linked");
    let copy = open(&kept);
    drop(core);
    let size = copy.metadata().expect("stat").len();
    assert_eq!(size, 18);
}

#[test]
fn a_message_without_its_descriptor_ends_the_logger() {
    let (core, worker) = socket::message_pair().expect("a pair");
    let mut core = Channel::of_core(core).expect("a channel");
    let message = ToLogger::Tail { tails: Vec::new(), lines: 1, follow: false };
    core.send(&message, Vec::new()).expect("sent");
    let result = super::run(Channel::of_worker(worker, true).expect("a channel"));
    assert!(matches!(result, Err(super::LoggerError::Message(_))));
    assert!(matches!(core.receive::<FromLogger>(), Ok(Some(_))));
    assert!(matches!(core.receive::<FromLogger>(), Err(ChannelError::Closed)));
}
