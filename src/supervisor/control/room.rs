//! How many clients may be connected, so that nobody can keep others out: each user but root and the
//! supervisor's own has a share, all of them together leave room, and whoever is refused takes little. Pure.
#![forbid(unsafe_code)]

use crate::model::id::Uid;

/// The most clients at once.
pub const CLIENTS_MAX: usize = 256;
/// The most of users other than root and the supervisor's own, together and each.
const USERS_MAX: usize = 192;
const USER_MAX: usize = 64;
/// The most that may not ask anything and are kept for the answer that says so.
const REFUSED_MAX: usize = 32;

/// Whose place a client takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Guest {
    /// Root, the supervisor's own user, the shell on its terminal.
    Owner,
    User(Uid),
    Refused,
}

/// Why there is no room for one more.
pub fn is_full(guest: Guest, present: impl Iterator<Item = Guest> + Clone) -> Option<String> {
    let count = |counted: fn(Guest, Guest) -> bool| present.clone().filter(|other| counted(*other, guest)).count();
    let all = count(|_, _| true);
    if all >= CLIENTS_MAX {
        return Some(format!("{CLIENTS_MAX} clients are connected already"));
    }
    match guest {
        Guest::Owner => None,
        Guest::User(_) if count(|other, guest| other == guest) >= USER_MAX => {
            Some(format!("{USER_MAX} clients of this user are connected already"))
        }
        Guest::User(_) if count(|other, _| matches!(other, Guest::User(_))) >= USERS_MAX => {
            Some(format!("{USERS_MAX} clients are connected already"))
        }
        Guest::Refused if count(|other, _| other == Guest::Refused) >= REFUSED_MAX => {
            Some(format!("{REFUSED_MAX} refused clients are connected already"))
        }
        Guest::User(_) | Guest::Refused => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these find room when all of them come.
    fn admitted(present: &mut Vec<Guest>, guest: Guest) -> usize {
        (0..CLIENTS_MAX * 2)
            .filter(|_| {
                let has_room = is_full(guest, present.iter().copied()).is_none();
                if has_room {
                    present.push(guest);
                }
                has_room
            })
            .count()
    }

    #[test]
    fn nobody_keeps_others_out() {
        let mut present = Vec::new();
        assert_eq!(admitted(&mut present, Guest::Refused), REFUSED_MAX);
        for uid in 1..=3 {
            assert_eq!(admitted(&mut present, Guest::User(Uid(uid))), USER_MAX, "{uid}");
        }
        assert_eq!(admitted(&mut present, Guest::User(Uid(4))), 0);
        assert_eq!(admitted(&mut present, Guest::Owner), CLIENTS_MAX - USERS_MAX - REFUSED_MAX);
    }
}
