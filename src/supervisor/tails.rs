//! What a process had last to say, for the notifier: the core makes a pipe and gives one end to the logger,
//! the other to the notifier. The bytes never pass through here.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use crate::model::id::{Pid, ProcessId};
use crate::model::notify::OUTPUT_BYTES_MAX;
use crate::model::program::ErrorOutput;
use crate::model::time::Moment;
use crate::protocol::control::Channel;
use crate::protocol::logger::ToLogger;
use crate::protocol::notifier::ToNotifier;
use crate::system::{clock, stdio};

use super::core::Core;
use super::role::Role;

/// More than this is not looked up in one second.
const A_SECOND: u32 = 1000;

/// How often something was done in this second.
#[derive(Default)]
pub struct Rate {
    since: Moment,
    count: u32,
}

impl Rate {
    /// Counts one more, if it is not more than so many in a second.
    fn allows(&mut self, a_second: u32, now: Moment) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            *self = Self { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= a_second
    }
}

impl Core {
    /// The notifier wants the last lines of a process's standard error: of the life with this number, which is
    /// often over, and whose successor may have much to say as soon as it starts. Without a logger, or without such
    /// an output, it is told that there are none.
    pub(super) fn give_output(&mut self, ticket: u64, process: &ProcessId, pid: Option<i32>) {
        let pipe = self.last_lines(process, pid.map(Pid));
        self.tell_notifier(&ToNotifier::Output { ticket }, pipe.into_iter().map(Rc::new).collect());
    }

    fn last_lines(&mut self, process: &ProcessId, pid: Option<Pid>) -> Option<OwnedFd> {
        if !self.tail_rate.allows(A_SECOND, clock::now()) {
            return None;
        }
        let program = &self.fleet.member(process)?.program;
        let channel = match program.exec.stderr {
            ErrorOutput::Stdout => Channel::Stdout,
            ErrorOutput::Own(_) => Channel::Stderr,
        };
        self.workers.get(&Role::Logger)?.link.as_ref()?;
        let (read, write) = stdio::output_pipe().ok()?;
        stdio::set_nonblocking(&write, true).ok()?;
        let tail = self.output.tail(process, channel);
        let runs = self.pids.get(process).copied();
        let before = pid.and_then(|pid| self.output.life_after(tail, pid, runs));
        // One more than is shown: so the notifier sees whether there is more, and where a line begins.
        let message = ToLogger::LastBytes { tail, bytes: OUTPUT_BYTES_MAX + 1, before };
        self.tell_logger((message, vec![Rc::new(write)]));
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_allowed_in_each_second() {
        let at = |millis: u64| Moment::new(Duration::from_millis(5000 + millis));
        let mut rate = Rate::default();
        let allowed: Vec<bool> = [0, 1, 2, 999].iter().map(|millis| rate.allows(2, at(*millis))).collect();
        assert_eq!(allowed, [true, true, false, false]);
        assert!(rate.allows(2, at(1000)));
    }
}
