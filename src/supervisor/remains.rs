//! All processes that came of one program's process: signalled together, and watched after the death of
//! the main one until the last is gone.
//!
//! They are held together by a control group where there are such: nothing leaves it, and it is killed
//! with one write. Else by the process group, which is named by the leader's pidfd, also after the
//! leader's death, so that no other group is ever met (Linux 6.9); what made a session of its own has
//! left it. The same for one process where its control group cannot be had, or the kernel has not put it
//! there: it is supervised all the same, and that it is outside is told. On older kernels without control groups the rest is killed at the leader's death (`Clones`),
//! and nothing is left to watch.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::model::id::{Pid, ProcessId, ProgramName};
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
    in_cgroup: bool,
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
    /// The processes that are in no control group of theirs, though such are in use, and why.
    outside: BTreeMap<ProcessId, String>,
    /// The programs of which that has been told.
    told: BTreeSet<ProgramName>,
    groups_by_pidfd: bool,
}

impl Remains {
    pub fn new(cgroups: Option<Cgroups>) -> Self {
        Self {
            rests: BTreeMap::new(),
            cgroups,
            killed: BTreeSet::new(),
            distrusted: false,
            outside: BTreeMap::new(),
            told: BTreeSet::new(),
            groups_by_pidfd: process::can_signal_groups(),
        }
    }

    /// A clone was killed at its birth; whether that is the first that was in a control group.
    pub fn distrust_cgroups(&mut self, id: &ProcessId) -> bool {
        let is_first = self.is_grouped(id) && !self.distrusted;
        self.distrusted |= is_first;
        is_first
    }

    /// Whether nothing here could find the rest of a process's group after its leader was reaped.
    pub fn needs_sweep(&self, id: &ProcessId) -> bool {
        !self.groups_by_pidfd && !self.is_grouped(id)
    }

    /// Whether the control group is what holds a process's tree together.
    fn is_grouped(&self, id: &ProcessId) -> bool {
        self.cgroups.is_some() && !self.outside.contains_key(id)
    }

    /// The control group that a process is to be born in; `None`: none are in use, or it cannot be had.
    /// Then the process group is what there is ([`Self::outside`]).
    pub fn cgroup_for(&mut self, id: &ProcessId) -> Option<OwnedFd> {
        let made = self.make_cgroup(id)?;
        match made {
            Ok(group) => {
                self.outside.remove(id);
                Some(group)
            }
            Err(why) => {
                self.outside.insert(id.clone(), why);
                None
            }
        }
    }

    fn make_cgroup(&mut self, id: &ProcessId) -> Option<Result<OwnedFd, String>> {
        let cgroups = self.cgroups.as_ref()?;
        if self.distrusted {
            let why = "a process was killed at its birth in one, and since then none is used for a start";
            return Some(Err(why.to_owned()));
        }
        let name = id.to_string();
        if self.killed.contains(id) {
            // Survivors keep it from being removed.
            if let Err(error) = cgroups.remove(&name) {
                return Some(Err(format!("that of an earlier life, which was killed, cannot be removed: {error}")));
            }
            self.killed.remove(id);
        }
        // The hierarchy may be at its limits.
        Some(cgroups.member(&name).map_err(|error| format!("it cannot be made: {error}")))
    }

    /// A process exists: sees whether the kernel has put it into its control group. What has ended already
    /// does not say.
    pub fn see_that_it_is_inside(&mut self, id: &ProcessId, pid: Pid) {
        let Some(cgroups) = self.cgroups.as_ref().filter(|_| !self.outside.contains_key(id)) else { return };
        if let Ok(false) = cgroups.contains(&id.to_string(), pid) {
            self.outside.insert(id.clone(), "the kernel has not put it there".to_owned());
        }
    }

    /// Why a process is in no control group of its own, though such are in use.
    pub fn outside(&self, id: &ProcessId) -> Option<&str> {
        self.outside.get(id).map(String::as_str)
    }

    /// Why it is outside, the first time that this is asked of its program.
    pub fn outside_untold(&mut self, id: &ProcessId) -> Option<String> {
        let why = self.outside.get(id)?.clone();
        self.told.insert(id.program.clone()).then_some(why)
    }

    /// Whether this is the control group that was made for a process; `None`: none are made.
    pub fn is_own_group(&self, id: &ProcessId, group: &str) -> Option<bool> {
        Some(self.cgroups.as_ref()?.is_member(&id.to_string(), group))
    }

    /// A main process has ended: whether others that came of it are left, which are then watched.
    pub fn look(&mut self, id: &ProcessId, leader: OwnedFd, mode: KillMode, now: Moment) -> bool {
        let in_cgroup = mode == KillMode::Tree && self.is_grouped(id);
        let rest = Rest { leader, in_cgroup, next_look: now + SHORTEST, pause: SHORTEST };
        if self.is_empty(id, &rest) {
            return false;
        }
        self.rests.insert(id.clone(), rest);
        true
    }

    fn is_empty(&self, id: &ProcessId, rest: &Rest) -> bool {
        match &self.cgroups {
            Some(cgroups) if rest.in_cgroup => !cgroups.is_populated(&id.to_string()),
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
        match (&self.cgroups, scope) {
            (Some(cgroups), KillMode::Tree) => {
                let name = id.to_string();
                let populated = cgroups.is_populated(&name);
                if populated && signal == Signal::KILL {
                    self.killed.insert(id.clone());
                    let _ = cgroups.kill(&name);
                } else if populated {
                    cgroups.signal(&name, signal);
                }
                // Of one that is outside, only survivors of an earlier life can be in it.
                if !populated || self.outside.contains_key(id) {
                    self.signal_group(id, main, signal);
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
        self.outside.remove(id);
        self.told.remove(&id.program);
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

#[cfg(test)]
#[path = "remains_tests.rs"]
mod tests;
