//! What an output had last to say, for an alert: into a pipe that somebody else reads.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use super::stream::PIPE_MAX;
use super::{Logger, LoggerError};
use crate::protocol::logger::{StreamId, TailId};

/// The most that a pipe is sure to take at once: what the kernel gives it.
const BYTES_MAX: usize = 64 << 10;

impl Logger {
    /// Puts the last bytes into the pipe, also if they begin in the middle of a line: only who sees that can
    /// say that something is missing. First what lies in the output's own pipes is read: the last words of a
    /// process that has just died are the ones that are wanted.
    pub(super) fn give_last_bytes(
        &mut self,
        tail: TailId,
        bytes: u32,
        before: Option<StreamId>,
        pipe: OwnedFd,
    ) -> Result<(), LoggerError> {
        for stream in self.lives_of(tail) {
            // What came later is not wanted, and might push out what is.
            if before.is_none_or(|before| stream < before) {
                self.pump_out(stream)?;
            }
        }
        if let Some(tail) = self.tails.get(&tail) {
            let later = before.and_then(|before| self.streams.get(&before)?.began);
            let newest = later.map_or(0, |began| tail.ring.since(began));
            let last = tail.ring.last_bytes((bytes as usize).min(BYTES_MAX), newest);
            // It is empty and takes this much; if its reader is gone, nobody misses it.
            let _ = File::from(pipe).write(&last);
        }
        Ok(())
    }

    /// Another life begins to write: what earlier ones had to say comes before it.
    pub(super) fn pump_earlier(&mut self, tail: TailId) -> Result<(), LoggerError> {
        if self.has_begun {
            for stream in self.lives_of(tail) {
                self.pump(stream, PIPE_MAX)?;
            }
        }
        Ok(())
    }

    fn lives_of(&self, tail: TailId) -> Vec<StreamId> {
        self.streams.iter().filter(|(_, stream)| stream.tail == tail).map(|(id, _)| *id).collect()
    }
}
