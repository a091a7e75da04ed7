//! Users and groups as the system knows them now: looked up at each start, never guessed.

use std::ffi::CString;

use nix::unistd::{Gid as NixGid, Group, Uid as NixUid, User};

use crate::model::id::{Account, Gid, Uid};

/// Everything a process needs to become somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Person {
    pub uid: Uid,
    pub gid: Gid,
    /// Supplementary groups, the primary one first.
    pub groups: Vec<Gid>,
    /// The name, or the number where there is none.
    pub name: String,
    pub home: String,
    pub shell: String,
}

/// Why somebody could not be looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unknown {
    /// The user or group in question.
    pub subject: String,
    pub errno: i32,
    pub error: String,
}

fn unknown(subject: &Account, errno: i32, error: impl Into<String>) -> Unknown {
    Unknown { subject: subject.to_string(), errno, error: error.into() }
}

/// Looks a user up with the groups it shall have.
///
/// `group` replaces the primary group, `groups` the supplementary ones. Without `groups` they are those
/// that the system's databases give (getgrouplist(3), also those without an entry).
///
/// # Errors
/// No such user or group; a number without an account and without a `group`; a database that failed.
pub fn look_up(user: &Account, group: Option<&Account>, groups: Option<&[Account]>) -> Result<Person, Unknown> {
    let entry = find_user(user)?;
    let gid = match (group, &entry) {
        (Some(group), _) => find_group(group)?,
        (None, Some(entry)) => Gid(entry.gid.as_raw()),
        (None, None) => return Err(unknown(user, 0, "this uid has no account: a `group` is needed")),
    };
    let mut list = match (groups, &entry) {
        (Some(groups), _) => groups.iter().map(find_group).collect::<Result<Vec<_>, _>>()?,
        (None, Some(entry)) => group_list(entry, gid).map_err(|error| unknown(user, error.0, error.1))?,
        (None, None) => Vec::new(),
    };
    list.retain(|other| *other != gid);
    list.insert(0, gid);
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|gid| seen.insert(*gid));
    let uid = match (&entry, user) {
        (Some(entry), _) => Uid(entry.uid.as_raw()),
        (None, Account::Id(id)) => Uid(*id),
        (None, Account::Name(_)) => return Err(unknown(user, 0, "no such user")),
    };
    Ok(match entry {
        Some(entry) => Person {
            uid,
            gid,
            groups: list,
            name: entry.name,
            home: text(&entry.dir, "/"),
            shell: text(&entry.shell, "/bin/sh"),
        },
        None => {
            Person { uid, gid, groups: list, name: user.to_string(), home: "/".to_owned(), shell: "/bin/sh".to_owned() }
        }
    })
}

fn text(path: &std::path::Path, default: &str) -> String {
    match path.to_str() {
        Some("") | None => default.to_owned(),
        Some(text) => text.to_owned(),
    }
}

fn find_user(user: &Account) -> Result<Option<User>, Unknown> {
    let found = match user {
        Account::Name(name) => User::from_name(name),
        Account::Id(id) => User::from_uid(NixUid::from_raw(*id)),
    };
    match (found, user) {
        (Ok(Some(entry)), _) => Ok(Some(entry)),
        (Ok(None), Account::Name(_)) => Err(unknown(user, 0, "no such user")),
        (Ok(None), Account::Id(_)) => Ok(None),
        (Err(errno), _) => Err(unknown(user, errno as i32, format!("the user database failed: {}", errno.desc()))),
    }
}

fn find_group(group: &Account) -> Result<Gid, Unknown> {
    match group {
        Account::Id(id) => Ok(Gid(*id)),
        Account::Name(name) => match Group::from_name(name) {
            Ok(Some(entry)) => Ok(Gid(entry.gid.as_raw())),
            Ok(None) => Err(unknown(group, 0, "no such group")),
            Err(errno) => Err(unknown(group, errno as i32, format!("the group database failed: {}", errno.desc()))),
        },
    }
}

fn group_list(entry: &User, gid: Gid) -> Result<Vec<Gid>, (i32, String)> {
    let name = CString::new(entry.name.as_str()).map_err(|_| (0, "its name has a NUL byte".to_owned()))?;
    nix::unistd::getgrouplist(&name, NixGid::from_raw(gid.0))
        .map(|list| list.into_iter().map(|gid| Gid(gid.as_raw())).collect())
        .map_err(|errno| (errno as i32, format!("its groups could not be listed: {}", errno.desc())))
}

/// The number of a user. One that is written as a number needs no account.
///
/// # Errors
/// No such user; a database that failed.
pub fn user_id(user: &Account) -> Result<Uid, Unknown> {
    match user {
        Account::Id(id) => Ok(Uid(*id)),
        Account::Name(_) => match find_user(user)? {
            Some(entry) => Ok(Uid(entry.uid.as_raw())),
            None => Err(unknown(user, 0, "no such user")),
        },
    }
}

/// The number of a group.
///
/// # Errors
/// No such group.
pub fn group_id(group: &Account) -> Result<Gid, Unknown> {
    find_group(group)
}

/// The name of a user, or its number.
pub fn user_name(uid: Uid) -> String {
    match User::from_uid(NixUid::from_raw(uid.0)) {
        Ok(Some(entry)) => entry.name,
        Ok(None) | Err(_) => uid.to_string(),
    }
}

/// The uid that the process runs as.
pub fn own_uid() -> Uid {
    Uid(nix::unistd::geteuid().as_raw())
}

pub fn own_gid() -> Gid {
    Gid(nix::unistd::getegid().as_raw())
}

/// This machine's name, without anything that a log line could not hold.
pub fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    if name.is_empty() { "localhost".to_owned() } else { crate::model::text::escaped(&name).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let by_name = look_up(&Account::Name("root".to_owned()), None, None).expect("root");
        assert_eq!((by_name.uid, by_name.gid), (Uid(0), Gid(0)));
        assert_eq!(look_up(&Account::Id(0), None, None).map(|p| p.name).as_deref(), Ok("root"));
    }

    #[test]
    fn nobody_unknown_becomes_somebody_else() {
        let user = Account::Name("no-such-user-here".to_owned());
        assert_eq!(look_up(&user, None, None).map_err(|e| e.error), Err("no such user".to_owned()));
        let number = Account::Id(3_999_999_999);
        assert!(look_up(&number, None, None).is_err());
        assert!(user_id(&user).is_err() && group_id(&Account::Name("no-such-group-here".to_owned())).is_err());
        assert_eq!(user_id(&number), Ok(Uid(3_999_999_999)));
        let person = look_up(&number, Some(&Account::Id(77)), None).expect("a number with a group");
        assert_eq!((person.uid, person.gid, person.groups), (Uid(3_999_999_999), Gid(77), vec![Gid(77)]));
        let group = Account::Name("no-such-group-here".to_owned());
        assert!(look_up(&Account::Id(0), Some(&group), None).is_err());
    }
}
