//! The rules in force: `[[control.allow]]` with its names looked up, and what follows from it for the
//! processes and events that are there. What a rule means is decided in `policy::permission`.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Control;
use crate::model::authority::Verb;
use crate::model::event::Event;
use crate::model::id::{Account, ProcessId, Uid};
use crate::model::program::Program;
use crate::policy::fleet::Fleet;
use crate::policy::permission::{Peer, Rule, Rules, Target};
use crate::system::account;

/// The rules in numbers, as the names are known now; and what is to be told of names that are not. Such
/// a name matches nobody, until a reload finds it.
pub fn rules(control: &Control, own: Uid) -> (Rules, Vec<String>) {
    let mut unknown = BTreeSet::new();
    let mut names = BTreeMap::new();
    let mut list = Vec::new();
    for allow in &control.allow {
        let mut known = |error: account::Unknown| {
            unknown.insert(format!("[[control.allow]]: {}: {}", error.subject, error.error));
        };
        let mut users = BTreeSet::new();
        for user in &allow.users {
            match account::user_id(user) {
                Ok(uid) => {
                    users.insert(uid);
                    if let Account::Name(name) = user {
                        names.insert(uid, name.clone());
                    }
                }
                Err(error) => known(error),
            }
        }
        let mut groups = BTreeSet::new();
        for group in &allow.groups {
            match account::group_id(group) {
                Ok(gid) => drop(groups.insert(gid)),
                Err(error) => known(error),
            }
        }
        list.push(Rule { users, groups, programs: allow.programs.clone(), verbs: allow.verbs.clone() });
    }
    (Rules::new(own, list, names), unknown.into_iter().collect())
}

/// The processes that the peer may name: those with which it may do something, or just this.
pub fn visible<'f>(
    rules: &Rules,
    fleet: &'f Fleet,
    peer: &Peer,
    verb: Option<Verb>,
) -> Vec<(&'f ProcessId, &'f Program)> {
    let is_visible = |program: &Program| match verb {
        Some(verb) => rules.may(peer, verb, Target::of(program)),
        None => rules.sees(peer, Target::of(program)),
    };
    fleet.selectable().filter(|(_, program)| is_visible(program)).collect()
}

/// Whether the peer may hear of this: it is about a program whose status it may know, or it may know that
/// of all.
pub fn may_hear(rules: &Rules, fleet: &Fleet, peer: &Peer, event: &Event) -> bool {
    let target = match &event.facts.program {
        Some(name) => Target::Program { name, group: fleet.group_of(name) },
        None => Target::All,
    };
    rules.may(peer, Verb::Status, target)
}
