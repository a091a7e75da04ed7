//! Emptying log files, because somebody asked for it, and forgetting what `tail` remembers of them.
//!
//! A file is emptied for all who write to it, and is the same file afterwards; what was rotated before stays.

use super::{Logger, LoggerError};
use crate::protocol::logger::{FromLogger, TailId};
use crate::protocol::spawner::SinkId;

impl Logger {
    pub(super) fn clear(&mut self, ticket: u64, tails: &[TailId], sinks: &[SinkId]) -> Result<(), LoggerError> {
        let mut errno = None;
        for sink in sinks {
            // One that is closed by now has no writer, and no reader here.
            if let Some(error) = self.sinks.get_mut(sink).and_then(|sink| sink.clear().err()) {
                errno = Some(error.raw_os_error().unwrap_or(libc::EIO));
            }
        }
        for tail in tails {
            if let Some(tail) = self.tails.get_mut(tail) {
                tail.ring = Default::default();
            }
        }
        self.tell(&FromLogger::Cleared { ticket, errno })
    }
}
