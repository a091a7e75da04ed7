//! What a main process leaves behind: the rest of its process group, which is signalled, killed and
//! watched until it is gone. The group is named by the leader's pidfd, also after the leader's death, so
//! that no other group is ever met (Linux 6.9). Older kernels have the rest killed at the leader's death
//! (`Clones`), and nothing is left to watch.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::model::id::{Pid, ProcessId};
use crate::model::program::KillMode;
use crate::model::signal::Signal;
use crate::model::time::Moment;
use crate::system::process::{self, GroupSignal};

/// The first look comes this soon; the pause doubles up to [`LONGEST`]. Most ends are seen at once, by
/// the SIGCHLD of an orphan that was given to us.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(200);

struct Group {
    leader: OwnedFd,
    next_look: Moment,
    pause: Duration,
}

pub struct Remains {
    groups: BTreeMap<ProcessId, Group>,
    by_pidfd: bool,
}

impl Remains {
    pub fn new() -> Self {
        Self { groups: BTreeMap::new(), by_pidfd: process::can_signal_groups() }
    }

    /// Whether groups can be named by pidfd.
    pub fn by_pidfd(&self) -> bool {
        self.by_pidfd
    }

    /// A main process has ended: whether something of its group is left, which is then watched.
    pub fn look(&mut self, id: &ProcessId, _leader: Pid, pidfd: OwnedFd, now: Moment) -> bool {
        if !self.by_pidfd || is_empty(pidfd.as_fd()) {
            return false;
        }
        self.groups.insert(id.clone(), Group { leader: pidfd, next_look: now + SHORTEST, pause: SHORTEST });
        true
    }

    /// Signals a living process, with its group if one is meant.
    pub fn signal(&self, pidfd: BorrowedFd<'_>, group: Option<Pid>, signal: Signal) {
        // Errors: it is gone (that is news of its own), or it is another's by a setuid program that a
        // supervisor without root cannot reach; then SIGKILL and its report follow.
        match group {
            Some(_) if self.by_pidfd => {
                if !matches!(process::signal_group(pidfd, Some(signal)), Ok(GroupSignal::Sent)) {
                    let _ = process::signal(pidfd, signal);
                }
            }
            Some(leader) => {
                let _ = process::signal_group_of_unreaped(leader, signal);
                let _ = process::signal(pidfd, signal);
            }
            None => {
                let _ = process::signal(pidfd, signal);
            }
        }
    }

    /// Signals what is left of a dead process's group.
    pub fn signal_rest(&mut self, id: &ProcessId, signal: Signal, scope: KillMode) {
        if scope == KillMode::Process {
            return;
        }
        if let Some(group) = self.groups.get(id) {
            let _ = process::signal_group(group.leader.as_fd(), Some(signal));
        }
    }

    /// Orphans were reaped: somebody's group may be empty now.
    pub fn check_soon(&mut self, now: Moment) {
        for group in self.groups.values_mut() {
            group.next_look = now;
        }
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.groups.values().map(|group| group.next_look).min()
    }

    /// The processes of whose group nothing is left any more.
    pub fn emptied(&mut self, now: Moment) -> Vec<ProcessId> {
        let mut empty = Vec::new();
        for (id, group) in &mut self.groups {
            if group.next_look > now {
                continue;
            }
            if is_empty(group.leader.as_fd()) {
                empty.push(id.clone());
            } else {
                group.pause = (group.pause * 2).min(LONGEST);
                group.next_look = now + group.pause;
            }
        }
        for id in &empty {
            self.groups.remove(id);
        }
        empty
    }

    /// A new life begins: what is left of the last one is not waited for any more.
    pub fn give_up(&mut self, id: &ProcessId) {
        self.groups.remove(id);
    }
}

fn is_empty(leader: BorrowedFd<'_>) -> bool {
    matches!(process::signal_group(leader, None), Ok(GroupSignal::Empty | GroupSignal::Unsupported))
}
