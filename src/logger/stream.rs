//! One pipe that a process writes to: its descriptor, and what is remembered between two looks at it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use super::cut;
use super::hand::Hand;
use super::lines::Lines;
use crate::model::time::Moment;
use crate::protocol::logger::TailId;
use crate::protocol::spawner::SinkId;
use crate::system::{poll, stdio};

/// What the kernel gives a pipe.
const PIPE: usize = 64 << 10;
/// What is asked for when a program fills it. More would be slower: what lies in many pipes would not be in the
/// processor's cache any more when it is read. And it would be memory that programs could fill.
const ENLARGED: i32 = 256 << 10;
/// The most that can lie in a pipe when it is drained.
pub const PIPE_MAX: usize = 1 << 20;
/// What a pipe of the usual size holds in any case: it can be full with less than it has bytes for.
const SURE: usize = PIPE / 4;
/// What is read of a terminal at once.
const TERMINAL: usize = 16 << 10;

pub struct Stream {
    pipe: File,
    /// What lies in a pipe can be looked at, and left there. In a terminal it cannot.
    is_pipe: bool,
    /// What a terminal said that is not written yet.
    looked: Vec<u8>,
    pub tail: TailId,
    /// Where it is written; `None` only feeds the tail.
    pub sink: Option<SinkId>,
    /// It goes to an outlet, in lines.
    pub lines: Option<(SinkId, Lines)>,
    /// How epoll knows it, while it is watched.
    pub token: Option<u64>,
    /// An unfinished line waits in it for its end: only what is new wakes us.
    pub holds: bool,
    /// When the line was last seen to grow, and whether a timer runs for it.
    pub held_since: Moment,
    pub timed: bool,
    /// How long it was then.
    pub held: usize,
    /// It waits no longer, unless it has grown.
    pub flush: bool,
    /// Nothing waits until the pipe is empty.
    pub empty_out: bool,
    /// The last byte that was given to the file did not end a line.
    mid_line: bool,
    /// The beginning of a line was dropped: how much of its rest was dropped, too.
    skipped: Option<usize>,
    /// Whether the pipe could be made larger, once that was tried.
    enlarged: Option<bool>,
    /// How much had come to its tail before the first byte of this.
    pub began: Option<u64>,
    /// How much is to be read before the stream counts as drained, when that is asked.
    pub to_drain: Option<usize>,
}

/// What a read found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    Bytes(usize),
    Nothing,
    End,
}

impl Stream {
    pub fn new(pipe: OwnedFd, tail: TailId, sink: Option<SinkId>) -> Self {
        let pipe = File::from(pipe);
        let is_pipe = pipe.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
        Self {
            pipe,
            is_pipe,
            looked: Vec::new(),
            tail,
            sink,
            lines: None,
            token: None,
            holds: false,
            held_since: Moment::default(),
            timed: false,
            held: 0,
            flush: false,
            empty_out: false,
            mid_line: false,
            skipped: None,
            enlarged: None,
            began: None,
            to_drain: None,
        }
    }

    /// Reads what goes into no file.
    pub fn read(&mut self, buffer: &mut [u8]) -> Found {
        let found = found(|| self.pipe.read(buffer));
        self.grow(found);
        found
    }

    /// Takes up to `most` bytes in hand.
    pub fn take(&mut self, hand: &mut Hand, most: usize) -> Found {
        self.take_by(hand, most, |hand, pipe| hand.take(pipe, most))
    }

    /// The same of whole lines, none of which a death cuts in two.
    pub fn take_whole(&mut self, hand: &mut Hand, most: usize) -> Found {
        self.take_by(hand, most, |hand, pipe| hand.take_whole(pipe, most))
    }

    fn take_by(&mut self, hand: &mut Hand, most: usize, take: impl Fn(&mut Hand, &File) -> io::Result<usize>) -> Found {
        let found = if self.is_pipe {
            found(|| take(hand, &self.pipe))
        } else {
            match self.read_terminal(most.min(hand.room())) {
                Found::Bytes(count) => {
                    let taken = hand.add(&self.looked[..count]);
                    self.looked.drain(..count);
                    if taken.is_ok() { Found::Bytes(count) } else { Found::End }
                }
                other => other,
            }
        };
        self.grow(found);
        found
    }

    /// Looks at the next bytes and leaves them where they are.
    pub fn look(&mut self, hand: &mut Hand, buffer: &mut [u8]) -> Found {
        let found = if self.is_pipe {
            found(|| hand.look(self.pipe.as_fd(), buffer))
        } else {
            let found = self.read_terminal(buffer.len());
            if let Found::Bytes(count) = found {
                buffer[..count].copy_from_slice(&self.looked[..count]);
            }
            found
        };
        self.grow(found);
        found
    }

    fn read_terminal(&mut self, most: usize) -> Found {
        let most = most.min(TERMINAL + cut::HELD_MAX);
        let mut found_now = Found::Bytes(0);
        if self.looked.len() < most {
            let before = self.looked.len();
            self.looked.resize((before + TERMINAL).min(most), 0);
            found_now = found(|| self.pipe.read(&mut self.looked[before..]));
            let count = if let Found::Bytes(count) = found_now { count } else { 0 };
            self.looked.truncate(before + count);
        }
        if self.looked.is_empty() { found_now } else { Found::Bytes(self.looked.len().min(most)) }
    }

    /// A program that fills its pipe gets a larger one.
    fn grow(&mut self, found: Found) {
        if self.is_pipe && self.enlarged.is_none() && matches!(found, Found::Bytes(count) if count >= PIPE) {
            self.enlarge();
        }
    }

    fn enlarge(&mut self) {
        // What cannot be enlarged is slower, no more.
        self.enlarged = Some(stdio::enlarge_pipe(&self.pipe, ENLARGED).is_ok());
    }

    /// How long a line that waits in it for its end may be, given one of such a length: a full pipe would
    /// hold its writer back.
    pub fn held_max(&mut self, length: usize, hand: &Hand) -> usize {
        if self.is_pipe && length > SURE && self.enlarged.is_none() {
            self.enlarge();
        }
        if self.is_pipe && (self.enlarged == Some(false) || !hand.sees_all()) { SURE } else { cut::HELD_MAX }
    }

    /// What is next, without a look at it.
    pub fn state(&self) -> Found {
        match poll::is_readable(&self.pipe) {
            _ if !self.looked.is_empty() => Found::Bytes(self.looked.len()),
            Ok((true, _)) => Found::Bytes(1),
            Ok((false, false)) => Found::Nothing,
            Ok((false, true)) | Err(_) => Found::End,
        }
    }

    /// Whether nobody can write to it any more.
    pub fn is_left(&self) -> bool {
        poll::is_readable(&self.pipe).is_ok_and(|(_, is_left)| is_left)
    }

    /// The part of the bytes that may be written: all, unless the beginning of their line was dropped.
    pub fn resumable<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(skipped) = self.skipped else { return bytes };
        match cut::after_first_newline(bytes) {
            Some(start) => {
                self.skipped = None;
                &bytes[start..]
            }
            // Some never write a newline: their bytes must come back at some time, too.
            None if skipped > cut::HELD_MAX => {
                self.skipped = None;
                bytes
            }
            None => {
                self.skipped = Some(skipped + bytes.len());
                &[]
            }
        }
    }

    /// Remembers where in a line the bytes end that were given to the file.
    pub fn given(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.mid_line = *last != b'\n';
        }
    }

    /// The file has lost bytes: what follows of the same line is dropped, too.
    pub fn lost(&mut self) {
        if self.mid_line && self.skipped.is_none() {
            self.skipped = Some(0);
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

fn found(mut read: impl FnMut() -> io::Result<usize>) -> Found {
    loop {
        match read() {
            Ok(0) => return Found::End,
            Ok(count) => return Found::Bytes(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Found::Nothing,
            // EIO is how a terminal ends; what else there may be will not go away either.
            Err(_) => return Found::End,
        }
    }
}
