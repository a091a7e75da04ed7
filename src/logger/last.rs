//! What an output had last to say, for an alert: into a pipe that somebody else reads.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use super::stream::Stream;
use super::{Logger, LoggerError};
use crate::protocol::logger::{StreamId, TailId};

/// The most that a pipe is sure to take at once: what the kernel gives it.
const BYTES_MAX: usize = 64 << 10;

impl Logger {
    /// Puts the last bytes into the pipe, also if they begin in the middle of a line: only who sees that can
    /// say that something is missing. First what lies in the output's own pipes is read: the last words of a
    /// process that has just died are the ones that are wanted.
    pub(super) fn give_last_bytes(&mut self, tail: TailId, bytes: u32, pipe: OwnedFd) -> Result<(), LoggerError> {
        let is_of = |stream: &Stream| stream.tail == tail;
        let open: Vec<StreamId> = self.streams.iter().filter(|(_, stream)| is_of(stream)).map(|(id, _)| *id).collect();
        for stream in open {
            self.pump_out(stream)?;
        }
        if let Some(tail) = self.tails.get(&tail) {
            let last = tail.ring.last_bytes((bytes as usize).min(BYTES_MAX));
            // It is empty and takes this much; if its reader is gone, nobody misses it.
            let _ = File::from(pipe).write(&last);
        }
        Ok(())
    }
}
