//! One pipe that a process writes to: its descriptor, and what is remembered between two reads.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::cut;
use crate::model::time::Moment;
use crate::protocol::logger::TailId;
use crate::protocol::spawner::SinkId;
use crate::system::stdio;

/// What the kernel gives a pipe, and what is asked for when a program fills it.
const PIPE: usize = 64 << 10;
const LARGE_PIPE: i32 = 1 << 20;
/// The most that can lie in a pipe when it is drained.
pub const PIPE_MAX: usize = 1 << 20;

pub struct Stream {
    pipe: File,
    pub tail: TailId,
    /// Where it is written; `None` only feeds the tail.
    pub sink: Option<SinkId>,
    /// How epoll knows it, while it is watched.
    pub token: Option<u64>,
    /// An unfinished line that waits for its end.
    pub held: Vec<u8>,
    /// When something was last kept back, and whether a timer runs for it.
    pub held_since: Moment,
    pub timed: bool,
    /// The last byte that was given to the file did not end a line.
    mid_line: bool,
    /// The beginning of a line was dropped: how much of its rest was dropped, too.
    skipped: Option<usize>,
    enlarged: bool,
    /// How much is to be read before the stream counts as drained, when that is asked.
    pub to_drain: Option<usize>,
}

/// What a read found.
pub enum Found {
    Bytes(usize),
    Nothing,
    End,
}

impl Stream {
    pub fn new(pipe: OwnedFd, tail: TailId, sink: Option<SinkId>) -> Self {
        Self {
            pipe: File::from(pipe),
            tail,
            sink,
            token: None,
            held: Vec::new(),
            held_since: Moment::default(),
            timed: false,
            mid_line: false,
            skipped: None,
            enlarged: false,
            to_drain: None,
        }
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> Found {
        loop {
            match self.pipe.read(buffer) {
                Ok(0) => return Found::End,
                Ok(count) => {
                    if count >= PIPE && !self.enlarged {
                        self.enlarged = true;
                        // What cannot be enlarged is slower, no more.
                        let _ = stdio::enlarge_pipe(&self.pipe, LARGE_PIPE);
                    }
                    return Found::Bytes(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Found::Nothing,
                // EIO is how a terminal ends; what else there may be will not go away either.
                Err(_) => return Found::End,
            }
        }
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
