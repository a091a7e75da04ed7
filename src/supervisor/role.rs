//! The workers by name: which program each is, and under which numbers it runs.

use std::fmt;

use crate::model::id::{Account, Gid, Uid};
use crate::model::text::escaped;
use crate::system::{account, inspect};

/// Which worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    Logger,
    Notifier,
    Shell,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Logger, Self::Notifier, Self::Shell];

    /// Whether this user is the worker's own.
    pub fn is(self, user: &Account, uids: &Uids) -> bool {
        match user {
            Account::Name(name) => name == self.account(),
            Account::Id(id) => uids.of(self).is_some_and(|numbers| numbers.uid.0 == *id),
        }
    }

    pub fn program(self) -> &'static str {
        match self {
            Self::Logger => "taskmaster-logger",
            Self::Notifier => "taskmaster-notifier",
            Self::Shell => "taskmasterctl",
        }
    }

    /// The account it runs as, if the system has it.
    fn account(self) -> &'static str {
        match self {
            Self::Logger => "taskmaster-log",
            Self::Notifier => "taskmaster-notify",
            Self::Shell => "taskmaster-shell",
        }
    }

    /// The uid, which is the gid, too, that it runs as otherwise: from the range that systemd keeps for services without an
    /// account (61184 to 65519), so that nothing has to be created first.
    fn fallback(self) -> Numbers {
        let number = match self {
            Self::Logger => 64_710,
            Self::Notifier => 64_711,
            Self::Shell => 64_712,
        };
        Numbers { uid: Uid(number), gid: Gid(number) }
    }

    /// An account with a number of root's is none of a worker's.
    fn look_up(self) -> Numbers {
        match account::look_up(&Account::Name(self.account().to_owned()), None, None) {
            Ok(person) if !person.uid.is_root() && person.gid != Gid(0) => Numbers { uid: person.uid, gid: person.gid },
            Ok(_) | Err(_) => self.fallback(),
        }
    }
}

/// As whom a worker runs. The group is the account's own: the one with the number of its uid may be another's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers {
    pub uid: Uid,
    pub gid: Gid,
}

/// The numbers of the workers when the core runs as root. They are looked up once, at the start: later an
/// account database that does not answer would hold up the core.
#[derive(Clone, Default, Debug)]
pub struct Uids(Vec<(Role, Numbers)>);

impl Uids {
    pub fn new(root: bool) -> Self {
        Self(if root { Role::ALL.map(|role| (role, role.look_up())).to_vec() } else { Vec::new() })
    }

    pub fn of(&self, role: Role) -> Option<Numbers> {
        self.0.iter().find(|(known, _)| *known == role).map(|(_, numbers)| *numbers)
    }

    /// Whoever else runs as a worker could do all that the worker may, and is told, each in words. It is no
    /// boundary: what calls itself one of ours is passed over, for workers of another supervisor may be there.
    pub fn strangers(&self) -> Vec<String> {
        let is_ours = |running: &inspect::Running| {
            running.name.starts_with("taskmaster")
                || inspect::running(running.parent)
                    .is_some_and(|parent| parent.uid == 0 && parent.name == "taskmasterd")
        };
        let words = |running: inspect::Running| {
            let (role, Numbers { uid, .. }) = self.0.iter().find(|(_, numbers)| numbers.uid.0 == running.uid)?;
            let (pid, name, account) = (running.pid, escaped(&running.name), role.account());
            Some(format!(
                "the process {pid} ({name}) runs as uid {uid}, as the {role} will: give that an account {account}"
            ))
        };
        let running = inspect::running_as(&self.all());
        running.into_iter().filter(|running| !is_ours(running)).filter_map(words).collect()
    }

    pub fn all(&self) -> Vec<u32> {
        self.0.iter().map(|(_, numbers)| numbers.uid.0).collect()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logger => "logger",
            Self::Notifier => "notifier",
            Self::Shell => "shell",
        })
    }
}
