//! What the loop does when nothing is said for a time: one sorted set of moments, and what is due at each.

use super::{Logger, LoggerError};
use crate::protocol::logger::{StreamId, TailId};
use crate::protocol::spawner::SinkId;

/// What is to be looked at when its time has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Timer {
    /// A line that was kept back from its file.
    Held(StreamId),
    /// A line that followers have not seen.
    Unseen(TailId),
    /// A client that was sent away.
    Farewell(u64),
    /// A viewer that takes nothing.
    Stalled(u64),
    /// What waits at an outlet.
    Outlet(SinkId),
    /// What was dropped of a file.
    Loss(SinkId),
}

impl Logger {
    /// Does what is due.
    pub(super) fn expire(&mut self) -> Result<(), LoggerError> {
        while let Some((due, timer)) = self.timers.first().copied()
            && due <= self.now
        {
            self.timers.pop_first();
            match timer {
                Timer::Held(id) => self.expire_held(id)?,
                Timer::Unseen(id) => self.expire_unseen(id),
                Timer::Farewell(token) => {
                    self.drop_client(token);
                    self.drop_viewer(token);
                }
                Timer::Stalled(token) => self.expire_stalled(token),
                Timer::Outlet(id) => self.expire_outlet(id)?,
                Timer::Loss(id) => self.expire_loss(id)?,
            }
        }
        Ok(())
    }
}
