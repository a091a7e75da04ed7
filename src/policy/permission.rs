//! Who may ask what of the supervisor, judged by the credentials a client had when it connected and by
//! the `[[control.allow]]` rules that are in force when it asks.
//!
//! Root, the supervisor's own user and the shell on its terminal may do all. Anybody else may do what
//! one of the rules that name it allows, and nothing beyond. A rule holds numbers: whoever makes it looks
//! the names up. No rule names a worker, also not by a group that its account happens to be in.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use glob::Pattern;

use crate::model::authority::{EVERY_PROGRAM, Identity, Verb};
use crate::model::id::{Gid, ProgramName, Uid};
use crate::model::program::Program;

/// On whose behalf a connection speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// The shell on the supervisor's own terminal, over a connection that the core made.
    Starter,
    /// A client of the control socket, as it was when it connected.
    Client(Rc<Identity>),
}

/// What is to be done something with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target<'a> {
    /// The supervisor as a whole, and with it every program.
    All,
    Program {
        name: &'a ProgramName,
        group: Option<&'a str>,
    },
}

impl<'a> Target<'a> {
    pub fn of(program: &'a Program) -> Self {
        Self::Program { name: &program.name, group: program.group_name.as_deref() }
    }
}

/// One `[[control.allow]]`, in numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    pub users: BTreeSet<Uid>,
    pub groups: BTreeSet<Gid>,
    pub programs: Vec<Pattern>,
    pub verbs: BTreeSet<Verb>,
}

impl Rule {
    fn names(&self, who: &Identity) -> bool {
        self.users.contains(&who.uid) || self.groups.contains(&who.gid) || !self.groups.is_disjoint(&who.groups)
    }

    fn covers(&self, target: Target<'_>) -> bool {
        self.programs.iter().any(|pattern| match target {
            Target::All => pattern.as_str() == EVERY_PROGRAM,
            Target::Program { name, group } => {
                pattern.matches(name.as_str()) || group.is_some_and(|group| pattern.matches(group))
            }
        })
    }
}

/// Every rule that is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// As whom the supervisor runs.
    own: Uid,
    /// As whom its workers run, if they are others.
    workers: BTreeSet<Uid>,
    list: Vec<Rule>,
    /// The users that rules call by name, for refusals.
    names: BTreeMap<Uid, String>,
}

/// What was refused, and the rule that would allow it, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    pub verb: String,
    pub rule: String,
}

impl Rules {
    pub fn new(own: Uid, workers: BTreeSet<Uid>, list: Vec<Rule>, names: BTreeMap<Uid, String>) -> Self {
        Self { own, workers, list, names }
    }

    /// Whether the peer may ask anything at all.
    ///
    /// # Errors
    /// What would allow it.
    pub fn admit(&self, peer: &Peer) -> Result<(), Missing> {
        self.any(peer, |_| true).then_some(()).ok_or_else(|| {
            let rule = match peer {
                Peer::Client(who) if self.is_worker(who) => "none, since it is one of Taskmaster's workers".to_owned(),
                _ => format!("a [[control.allow]] for {} or one of its groups", self.name_of(peer)),
            };
            Missing { verb: "connect".to_owned(), rule }
        })
    }

    /// Whether the peer may do this.
    ///
    /// # Errors
    /// What would allow it.
    pub fn judge(&self, peer: &Peer, verb: Verb, target: Target<'_>) -> Result<(), Missing> {
        self.may(peer, verb, target).then_some(()).ok_or_else(|| self.missing(peer, verb, target))
    }

    /// Whether there is a program at all to which the peer may do this.
    ///
    /// # Errors
    /// What would allow it for all.
    pub fn judge_some(&self, peer: &Peer, verb: Verb) -> Result<(), Missing> {
        self.any(peer, |rule| rule.verbs.contains(&verb))
            .then_some(())
            .ok_or_else(|| self.missing(peer, verb, Target::All))
    }

    /// As [`Self::judge`], without the words.
    pub fn may(&self, peer: &Peer, verb: Verb, target: Target<'_>) -> bool {
        // Which version runs is for everybody who may ask anything.
        self.any(peer, |rule| verb == Verb::Version || rule.verbs.contains(&verb) && rule.covers(target))
    }

    /// Whether the peer may know that there is this program: it may do something with it.
    pub fn sees(&self, peer: &Peer, target: Target<'_>) -> bool {
        self.any(peer, |rule| rule.verbs.iter().any(|verb| verb.is_of_programs()) && rule.covers(target))
    }

    /// Whether the peer may do all, or a rule that names it is one that is looked for.
    fn any(&self, peer: &Peer, wanted: impl Fn(&Rule) -> bool) -> bool {
        let may = |who: &Identity| !self.is_worker(who) && self.list.iter().any(|rule| rule.names(who) && wanted(rule));
        self.is_owner(peer) || matches!(peer, Peer::Client(who) if may(who))
    }

    fn is_worker(&self, who: &Identity) -> bool {
        self.workers.contains(&who.uid)
    }

    /// Whether the peer may do all without any rule.
    pub fn is_owner(&self, peer: &Peer) -> bool {
        match peer {
            Peer::Starter => true,
            Peer::Client(who) => who.uid.is_root() || who.uid == self.own,
        }
    }

    /// The peer, for people.
    pub fn name_of(&self, peer: &Peer) -> String {
        match peer {
            Peer::Starter => "the starter".to_owned(),
            Peer::Client(who) => match self.names.get(&who.uid) {
                Some(name) => format!("user {name} (uid {})", who.uid),
                None if who.uid.is_root() => "root".to_owned(),
                None => format!("uid {}", who.uid),
            },
        }
    }

    fn missing(&self, peer: &Peer, verb: Verb, target: Target<'_>) -> Missing {
        let programs = match target {
            Target::All => format!("programs = [\"{EVERY_PROGRAM}\"]"),
            Target::Program { name, .. } => format!("programs matching \"{name}\""),
        };
        let rule = format!("a [[control.allow]] for {} with verbs = [\"{verb}\"] and {programs}", self.name_of(peer));
        Missing { verb: verb.name().to_owned(), rule }
    }
}

#[cfg(test)]
#[path = "permission_tests.rs"]
mod tests;
