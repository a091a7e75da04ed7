//! All processes that came of one program's process: signalled together, and watched after the death of
//! the main one until the last is gone.
//!
//! They are held together by a control group where there are such: nothing leaves it, and it is killed
//! with one write. Else by the process group, which is named by the leader's pidfd, also after the
//! leader's death, so that no other group is ever met (Linux 6.9); what made a session of its own has
//! left it. On older kernels without control groups the rest is killed at the leader's death (`Clones`),
//! and nothing is left to watch.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::model::id::{Pid, ProcessId};
use crate::model::program::KillMode;
use crate::model::signal::Signal;
use crate::model::time::Moment;
use crate::system::cgroup::Cgroups;
use crate::system::process::{self, GroupSignal};

/// The first look comes this soon; the pause doubles up to [`LONGEST`]. Most ends are seen at once, by
/// the SIGCHLD of an orphan that was given to us.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(200);

/// A dead main process whose descendants are still there.
struct Rest {
    leader: OwnedFd,
    /// Looked for in the control group, not in the process group.
    tree: bool,
    next_look: Moment,
    pause: Duration,
}

pub struct Remains {
    rests: BTreeMap<ProcessId, Rest>,
    cgroups: Option<Cgroups>,
    /// Control groups that were killed. Some kernels (6.18 was seen to) remember that, and kill at birth
    /// whatever is cloned into such a group from another: it has to be made anew.
    killed: BTreeSet<ProcessId>,
    /// A clone was killed at its birth all the same: nothing is born in a control group any more.
    distrusted: bool,
    groups_by_pidfd: bool,
}

impl Remains {
    pub fn new(cgroups: Option<Cgroups>) -> Self {
        Self {
            rests: BTreeMap::new(),
            cgroups,
            killed: BTreeSet::new(),
            distrusted: false,
            groups_by_pidfd: process::can_signal_groups(),
        }
    }

    /// A clone was killed at its birth.
    pub fn distrust_cgroups(&mut self) {
        self.distrusted = true;
    }

    /// Whether nothing here could find the rest of a group after its leader was reaped.
    pub fn needs_sweep(&self) -> bool {
        !self.groups_by_pidfd && self.cgroups.is_none()
    }

    /// The control group that a process is to be born in.
    pub fn cgroup_for(&mut self, id: &ProcessId) -> Option<OwnedFd> {
        let cgroups = self.cgroups.as_ref().filter(|_| !self.distrusted)?;
        let name = id.to_string();
        if self.killed.contains(id) {
            // Survivors keep it from being removed: then the process group is what there is.
            cgroups.remove(&name).ok()?;
            self.killed.remove(id);
        }
        // The hierarchy may be at its limits: likewise.
        cgroups.member(&name).ok()
    }

    /// Whether this is the control group that was made for a process; `None`: none are made.
    pub fn is_own_group(&self, id: &ProcessId, group: &str) -> Option<bool> {
        Some(self.cgroups.as_ref()?.is_member(&id.to_string(), group))
    }

    /// A main process has ended: whether others that came of it are left, which are then watched.
    pub fn look(&mut self, id: &ProcessId, leader: OwnedFd, mode: KillMode, now: Moment) -> bool {
        let tree = mode == KillMode::Tree && self.cgroups.is_some();
        let rest = Rest { leader, tree, next_look: now + SHORTEST, pause: SHORTEST };
        if self.is_empty(id, &rest) {
            return false;
        }
        self.rests.insert(id.clone(), rest);
        true
    }

    fn is_empty(&self, id: &ProcessId, rest: &Rest) -> bool {
        match &self.cgroups {
            Some(cgroups) if rest.tree => !cgroups.is_populated(&id.to_string()),
            Some(_) | None => {
                matches!(
                    process::signal_group(rest.leader.as_fd(), None),
                    Ok(GroupSignal::Empty | GroupSignal::Unsupported)
                )
            }
        }
    }

    /// Signals a process and what came of it, as far as `scope` goes.
    ///
    /// Errors are not looked at: what is gone is news of its own, and what cannot be reached (another's,
    /// by a setuid program, for a supervisor without root) meets SIGKILL and its report.
    pub fn signal(&mut self, id: &ProcessId, main: Option<(Pid, BorrowedFd<'_>)>, signal: Signal, scope: KillMode) {
        let name = id.to_string();
        match (&self.cgroups, scope) {
            (Some(cgroups), KillMode::Tree) if cgroups.is_populated(&name) => {
                if signal == Signal::KILL {
                    self.killed.insert(id.clone());
                    let _ = cgroups.kill(&name);
                } else {
                    cgroups.signal(&name, signal);
                }
            }
            (_, KillMode::Process) => self.signal_main(main, signal),
            (_, KillMode::Tree | KillMode::Group) => self.signal_group(id, main, signal),
        }
    }

    fn signal_main(&self, main: Option<(Pid, BorrowedFd<'_>)>, signal: Signal) {
        if let Some((_, pidfd)) = main {
            let _ = process::signal(pidfd, signal);
        }
    }

    fn signal_group(&self, id: &ProcessId, main: Option<(Pid, BorrowedFd<'_>)>, signal: Signal) {
        if let Some((pid, pidfd)) = main {
            let sent = if self.groups_by_pidfd {
                matches!(process::signal_group(pidfd, Some(signal)), Ok(GroupSignal::Sent))
            } else {
                process::signal_group_of_unreaped(pid, signal).is_ok()
            };
            // A clone that is not the program yet leads no group: it is signalled itself.
            if !sent || !self.groups_by_pidfd && signal == Signal::KILL {
                let _ = process::signal(pidfd, signal);
            }
        } else if let Some(rest) = self.rests.get(id) {
            let _ = process::signal_group(rest.leader.as_fd(), Some(signal));
        }
    }

    /// Orphans were reaped: somebody's rest may be gone now.
    pub fn check_soon(&mut self, now: Moment) {
        for rest in self.rests.values_mut() {
            rest.next_look = now;
        }
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.rests.values().map(|rest| rest.next_look).min()
    }

    /// The processes of which nothing is left any more.
    pub fn emptied(&mut self, now: Moment) -> Vec<ProcessId> {
        let due: Vec<ProcessId> =
            self.rests.iter().filter(|(_, rest)| rest.next_look <= now).map(|(id, _)| id.clone()).collect();
        let mut empty = Vec::new();
        for id in due {
            let Some(mut rest) = self.rests.remove(&id) else { continue };
            if self.is_empty(&id, &rest) {
                empty.push(id);
            } else {
                rest.pause = (rest.pause * 2).min(LONGEST);
                rest.next_look = now + rest.pause;
                self.rests.insert(id, rest);
            }
        }
        empty
    }

    /// A new life begins: what is left of the last one is not waited for any more.
    pub fn give_up(&mut self, id: &ProcessId) {
        self.rests.remove(id);
    }

    /// The process is not configured any more.
    pub fn forget(&mut self, id: &ProcessId) {
        self.killed.remove(id);
        if let Some(cgroups) = &self.cgroups {
            let _ = cgroups.remove(&id.to_string());
        }
    }

    /// At the end: removes the control groups in which nobody is left.
    pub fn remove_cgroups(&self) {
        if let Some(cgroups) = &self.cgroups {
            cgroups.remove_all();
        }
    }
}
