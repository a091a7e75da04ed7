//! The rules in force: `[[control.allow]]` with its names looked up, and what follows from it for the
//! processes and events that are there. What a rule means is decided in `policy::permission`.

use std::collections::{BTreeMap, BTreeSet};

use glob::Pattern;

use crate::config::{Config, Control};
use crate::model::authority::{EVERY_PROGRAM, Verb};
use crate::model::event::Event;
use crate::model::id::{Account, ProcessId, Uid};
use crate::model::program::Program;
use crate::policy::fleet::Fleet;
use crate::policy::permission::{Peer, Rule, Rules, Target};
use crate::system::account;

use super::role::Uids;

/// The rules in numbers, as the names are known now; and what is to be told of names that are not. Such
/// a name matches nobody, until a reload finds it.
pub fn rules(control: &Control, own: Uid, workers: &Uids) -> (Rules, Vec<String>) {
    let mut unknown = BTreeSet::new();
    let mut names = BTreeMap::new();
    let mut list = Vec::new();
    if let Some(Err(error)) = control.group.as_ref().map(account::group_id) {
        let until = "no group can use the control socket until there is one and a reload finds it";
        unknown.insert(format!("[control]: group {}: {}; {until}", error.subject, error.error));
    }
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
    let workers = workers.all().into_iter().map(Uid).collect();
    (Rules::new(own, workers, list, names), unknown.into_iter().collect())
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

/// Whose status somebody must be allowed to know who hears of this: that of the program it is about, else
/// that of all.
pub fn target<'e>(fleet: &'e Fleet, event: &'e Event) -> Target<'e> {
    match &event.facts.program {
        Some(name) => Target::Program { name, group: fleet.group_of(name) },
        None => Target::All,
    }
}

/// What rules say of programs that are not there.
pub fn unknown_programs(config: &Config) -> Vec<String> {
    let is_known = |pattern: &Pattern| {
        let names = config.programs.iter().flat_map(|p| [Some(p.name.as_str()), p.group_name.as_deref()]);
        pattern.as_str() == EVERY_PROGRAM || names.flatten().any(|name| pattern.matches(name))
    };
    let patterns = config.control.allow.iter().flat_map(|allow| &allow.programs);
    let unknown = patterns.filter(|pattern| !is_known(pattern)).map(Pattern::as_str).collect::<BTreeSet<_>>();
    unknown.iter().map(|text| format!("[[control.allow]]: no program or group_name is like {text}")).collect()
}
