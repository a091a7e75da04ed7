//! The last lines of processes that died, on their way: each is waited for a second, never longer.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::alert::notice::Output;
use crate::model::id::ProcessId;
use crate::model::notify::{OUTPUT_BYTES_MAX, OUTPUT_LINES_MAX};
use crate::model::time::Moment;
use crate::system::poll::{Interest, Poll};
use crate::system::stdio;

const WAIT: Duration = Duration::from_secs(1);
/// How much is read, in bytes; how much of its end is kept, in bytes and lines. One byte more than is shown says
/// that there is more, and whether a line begins after it.
const READ_MAX: usize = 256 << 10;
const KEPT: usize = OUTPUT_BYTES_MAX as usize + 1;
const LINES: usize = OUTPUT_LINES_MAX as usize;
/// Of a line that lacks its beginning, in bytes; and so many others say enough without it.
const PARTIAL: usize = 1024;
const ENOUGH: usize = 5;
/// How many are waited for at once.
const TAILS_MAX: usize = 32;

#[derive(Default)]
pub struct Tails(Vec<Tail>);

struct Tail {
    ticket: u64,
    process: ProcessId,
    until: Moment,
    pipe: Option<File>,
    bytes: Vec<u8>,
    read: usize,
    is_whole: bool,
}

impl Tails {
    /// Waits for the lines of this process from now on; false if it does so already, or for too many.
    pub fn want(&mut self, ticket: u64, process: &ProcessId, now: Moment) -> bool {
        if self.0.len() >= TAILS_MAX || self.0.iter().any(|tail| tail.process == *process) {
            return false;
        }
        let (process, until) = (process.clone(), now + WAIT);
        self.0.push(Tail { ticket, process, until, pipe: None, bytes: Vec::new(), read: 0, is_whole: false });
        true
    }

    /// The core's answer.
    pub fn open(&mut self, ticket: u64, pipe: Option<OwnedFd>, poll: &mut Poll) {
        let Some(tail) = self.0.iter_mut().find(|tail| tail.ticket == ticket && tail.pipe.is_none()) else { return };
        tail.is_whole = pipe.is_none();
        let Some(pipe) = pipe else { return };
        if stdio::set_nonblocking(&pipe, true).and_then(|()| poll.add(&pipe, Interest::Read)).is_ok() {
            tail.pipe = Some(File::from(pipe));
        } else {
            tail.is_whole = true;
        }
    }

    /// Reads what is there; gives those that are whole or late.
    pub fn read(&mut self, poll: &Poll, now: Moment) -> Vec<(ProcessId, Output)> {
        let mut done = Vec::new();
        self.0.retain_mut(|tail| {
            tail.read();
            let is_over = tail.is_whole || tail.until <= now;
            if is_over {
                if let Some(pipe) = &tail.pipe {
                    poll.remove(pipe);
                }
                done.push((tail.process.clone(), lines(&tail.bytes, tail.bytes.len() == KEPT)));
            }
            !is_over
        });
        done.retain(|(_, output)| !output.lines.is_empty());
        done
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.0.iter().map(|tail| tail.until).min()
    }
}

impl Tail {
    fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0; 16 << 10];
        while !self.is_whole {
            match pipe.read(&mut buffer) {
                Ok(0) => self.is_whole = true,
                Ok(count) => {
                    self.bytes.extend_from_slice(&buffer[..count]);
                    self.read += count;
                    let over = self.bytes.len().saturating_sub(KEPT);
                    self.bytes.drain(..over);
                    self.is_whole = self.read >= READ_MAX;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.is_whole = true,
            }
        }
    }
}

/// The last lines of these bytes. `is_cut`: there were others before them.
///
/// A line that lacks its beginning is left out if enough others follow; else its end is shown, and that it is
/// only that.
fn lines(bytes: &[u8], is_cut: bool) -> Output {
    let text = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(bytes)).into_owned();
    if text.is_empty() {
        return Output::default();
    }
    let mut all: Vec<&str> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let mut partial = None;
    if is_cut {
        let first = all.remove(0);
        let say_much = all.iter().filter(|line| !line.trim().is_empty()).count() >= ENOUGH;
        partial = Some(first).filter(|first| !first.is_empty() && !say_much);
    }
    let over = all.len().saturating_sub(LINES);
    let partial = partial.filter(|_| over == 0).map(|line| {
        let end = &line[line.ceil_char_boundary(line.len().saturating_sub(PARTIAL))..];
        format!("[the end of a long line:] {end}")
    });
    let lines = partial.into_iter().chain(all[over..].iter().map(|line| (*line).to_owned())).collect();
    Output { lines, is_cut: is_cut || over > 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ProgramName;
    use std::io::Write;

    #[test]
    fn the_last_lines_come_when_they_are_whole_or_after_a_second() {
        let mut poll = Poll::new().expect("epoll");
        let mut tails = Tails::default();
        let web = ProcessId::new(&ProgramName::new("web").expect("a name"), 0);
        let start = Moment::default();
        assert!(tails.want(1, &web, start) && !tails.want(2, &web, start));
        let (read, write) = stdio::output_pipe().expect("a pipe");
        tails.open(7, None, &mut poll);
        tails.open(1, Some(read), &mut poll);
        let mut write = File::from(write);
        for n in 0..=LINES {
            writeln!(write, "line {n} \u{fffd}").expect("written");
        }
        assert!(tails.read(&poll, start).is_empty());
        assert_eq!(tails.deadline(), Some(start + WAIT));
        drop(write);
        let got = tails.read(&poll, start);
        assert_eq!((got.len(), got[0].1.lines.len(), got[0].1.is_cut), (1, LINES, true));
        assert_eq!(got[0].1.lines[0], "line 1 \u{fffd}");
        assert!(tails.want(3, &web, start));
        assert!(tails.read(&poll, start + WAIT).is_empty());
        assert_eq!(tails.deadline(), None);
    }

    #[test]
    fn an_endless_line_and_foreign_bytes_cost_little() {
        let output = lines(&[0xff; KEPT], true);
        assert_eq!((output.lines.len(), output.is_cut), (1, true));
        assert!(output.lines[0].starts_with("[the end of a long line:] \u{fffd}"), "{output:?}");
        assert!(output.lines[0].len() < PARTIAL + 100);
        let output = lines(b"xxxx\n.\n", true);
        assert_eq!(
            (output.lines, output.is_cut),
            (["[the end of a long line:] xxxx", "."].map(str::to_owned).to_vec(), true)
        );
        let output = lines(b"half\n1\n2\n3\n4\n5\n", true);
        assert_eq!((output.lines.concat(), output.is_cut), ("12345".to_owned(), true));
        assert_eq!(lines(b"\nwhole\n", true).lines, ["whole"]);
        assert_eq!(lines(b"", false), Output::default());
        assert_eq!(lines(b"a\r\nb\n", false).lines, ["a", "b"]);
    }
}
