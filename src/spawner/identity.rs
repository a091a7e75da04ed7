//! As whom: looked up now, in the clone, so that a deleted or renumbered account is seen, and a database
//! that hangs stops this one start only.

use crate::model::id::{Gid, Uid};
use crate::model::stage::{Stage, StartFailure};
use crate::protocol::spawner::Identity;
use crate::system::account::{self, Person};
use crate::system::{credentials, process};

use super::report::{Reporter, failure};

/// Who the clone will be.
pub enum Who {
    /// The supervisor's own user; nothing changes.
    Same,
    /// Somebody with an account, or a worker's numbers.
    Other(Person),
}

impl Who {
    pub fn name(&self) -> String {
        match self {
            Self::Same => account::user_name(account::own_uid()),
            Self::Other(person) => person.name.clone(),
        }
    }

    pub fn person(&self) -> Option<&Person> {
        match self {
            Self::Same => None,
            Self::Other(person) => Some(person),
        }
    }

    pub fn gid(&self) -> Gid {
        self.person().map_or_else(account::own_gid, |person| person.gid)
    }

    pub fn is_root(&self) -> bool {
        self.person().map_or_else(account::own_uid, |person| person.uid).is_root()
    }
}

/// Looks the identity up.
pub fn find(identity: &Identity, reporter: &Reporter) -> Result<Who, StartFailure> {
    match identity {
        Identity::Unchanged => Ok(Who::Same),
        Identity::Worker { uid, gid } => Ok(Who::Other(Person {
            uid: Uid(*uid),
            gid: Gid(*gid),
            groups: Vec::new(),
            name: uid.to_string(),
            home: "/".to_owned(),
            shell: "/bin/false".to_owned(),
        })),
        Identity::Account { user, group, groups } => {
            reporter.reached(Stage::Account);
            account::look_up(user, group.as_ref(), groups.as_deref()).map(Who::Other).map_err(|unknown| StartFailure {
                stage: Stage::Account,
                errno: unknown.errno,
                subject: unknown.subject,
                error: unknown.error,
            })
        }
    }
}

/// A program with a worker's uid, by whatever name, could do to the worker what it liked.
pub fn refuse_worker(who: &Who, kept: &[u32]) -> Result<(), StartFailure> {
    match who.person() {
        Some(person) if kept.contains(&person.uid.0) => Err(StartFailure {
            stage: Stage::Account,
            errno: libc::EPERM,
            subject: person.name.clone(),
            error: format!("uid {} is kept for Taskmaster's own workers", person.uid),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Sets the groups and the group: the list always, also when it is empty, before the user is changed.
pub fn set_groups(who: &Who) -> Result<(), StartFailure> {
    let Some(person) = who.person() else { return Ok(()) };
    // As an ordinary user only oneself can be become: then there is nothing to set, and no right to.
    if !account::own_uid().is_root() {
        return Ok(());
    }
    credentials::set_groups(&person.groups).map_err(|error| failure(Stage::Groups, "", &error))?;
    credentials::set_group(person.gid).map_err(|error| failure(Stage::Groups, person.gid, &error))
}

/// Changes to the user, for good. Nobody of that user can look into the clone, which has of root what its memory
/// holds: a system can be set to undo that at a change of user (`fs.suid_dumpable` 1, for debugging).
pub fn set_user(who: &Who) -> Result<(), StartFailure> {
    let Some(person) = who.person() else { return Ok(()) };
    let is_root = account::own_uid().is_root();
    if !is_root && account::own_uid() == person.uid {
        return Ok(());
    }
    let stage = |error| failure(Stage::User, &person.name, &error);
    credentials::set_user(person.uid).map_err(stage)?;
    if is_root { process::forbid_dumping().map_err(stage) } else { Ok(()) }
}
