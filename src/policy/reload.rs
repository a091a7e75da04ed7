//! What a new configuration means for each program: which are new, gone, to be restarted (what is
//! executed has changed), changed in place (how they are watched, or how many), or left alone.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::id::ProgramName;
use crate::model::plan::Plan;
use crate::model::program::Program;

/// What a change of one program means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    None,
    InPlace,
    Restart,
}

/// Compares two versions of a program.
pub fn change(old: &Program, new: &Program) -> Change {
    if old.exec != new.exec {
        Change::Restart
    } else if old == new {
        Change::None
    } else {
        Change::InPlace
    }
}

/// Compares two sets of programs.
pub fn plan(old: &BTreeMap<ProgramName, Arc<Program>>, new: &BTreeMap<ProgramName, Arc<Program>>) -> Plan {
    let mut plan = Plan::default();
    for (name, program) in new {
        let list = match old.get(name).map(|old| change(old, program)) {
            None => &mut plan.added,
            Some(Change::None) => &mut plan.unchanged,
            Some(Change::InPlace) => &mut plan.changed,
            Some(Change::Restart) => &mut plan.restarted,
        };
        list.push(name.clone());
    }
    plan.removed = old.keys().filter(|name| !new.contains_key(*name)).cloned().collect();
    plan
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::program::testing::program;

    #[test]
    fn how_it_is_watched_changes_in_place_and_what_is_executed_restarts() {
        let old = program("web");
        assert_eq!(change(&old, &old.clone()), Change::None);
        let mut watched = old.clone();
        watched.watch.starttime = Duration::from_secs(9);
        assert_eq!(change(&old, &watched), Change::InPlace);
        let more = Program { numprocs: 4, ..old.clone() };
        assert_eq!(change(&old, &more), Change::InPlace);
        let mut executed = watched;
        executed.exec.umask = 0o077;
        assert_eq!(change(&old, &executed), Change::Restart);
    }
}
