//! What a process had last to say, for the notifier: the core makes a pipe and gives one end to the logger,
//! the other to the notifier. The bytes never pass through here.

use std::rc::Rc;

use crate::model::id::ProcessId;
use crate::model::program::ErrorOutput;
use crate::protocol::control::Channel;
use crate::protocol::logger::ToLogger;
use crate::protocol::notifier::ToNotifier;
use crate::system::stdio;

use super::core::Core;
use super::role::Role;

/// How much an alert shows of it.
const LINES: u32 = 20;
const BYTES: u32 = 8 << 10;

impl Core {
    /// The notifier wants the last lines of a process's standard error. Without a logger, or without such
    /// an output, it is told that there are none.
    pub(super) fn give_output(&mut self, ticket: u64, process: &ProcessId) {
        let pipe = self.last_lines(process);
        self.tell_notifier(&ToNotifier::Output { ticket }, pipe.into_iter().map(Rc::new).collect());
    }

    fn last_lines(&mut self, process: &ProcessId) -> Option<std::os::fd::OwnedFd> {
        let program = &self.fleet.member(process)?.program;
        let channel = match program.exec.stderr {
            ErrorOutput::Stdout => Channel::Stdout,
            ErrorOutput::Own(_) => Channel::Stderr,
        };
        self.workers.get(&Role::Logger)?.link.as_ref()?;
        let (read, write) = stdio::output_pipe().ok()?;
        stdio::set_nonblocking(&write, true).ok()?;
        let tail = self.output.tail(process, channel);
        self.tell_logger((ToLogger::LastLines { tail, lines: LINES, bytes: BYTES }, vec![Rc::new(write)]));
        Some(read)
    }
}
