//! `Config`: what is in force, where each value comes from, and what the files on disk say instead.
//!
//! The files are read anew for each answer, as a dry run of a reload reads them, and thrown away. Somebody
//! who may `config` some programs is told nothing of others, nor of the tables that are about none.

use std::collections::BTreeSet;

use crate::config::{Config, InForce};
use crate::model::authority::Verb;
use crate::model::id::{ProcessId, ProgramName};
use crate::model::program::Program;
use crate::policy::permission::Target;
use crate::policy::selector::{self, NoMatch};
use crate::protocol::control::{CONFIG_PAGE, ConfigCall, ConfigReply, Refusal, Section};
use crate::protocol::varlink::Reply;
use crate::supervisor::core::Core;

use super::calls::{Answer, Caller, invalid, not_permitted};

/// For who may not know what else is in the files.
pub(super) const SOME_FAULT: &str = "the files on disk have faults, which `reload` would tell";

pub(super) fn answer(core: &Core, caller: &Caller, call: &ConfigCall) -> Answer {
    core.rules.judge_some(&caller.peer, Verb::Config).map_err(not_permitted)?;
    let after = call.after.as_deref().map(ProgramName::new).transpose();
    let after = after.map_err(|_| invalid("after", "is the `next` of an earlier answer"))?;
    let (disk, fault) = match core.config_on_disk() {
        Ok(disk) => (Some(disk), None),
        Err(faults) => (None, Some(faults)),
    };
    let knows_all = core.rules.may(&caller.peer, Verb::Config, Target::All);
    let mut names = select(core, caller, Verb::Config, disk.as_ref(), &call.programs)?;
    if let Some(after) = &after {
        names.retain(|name| name > after);
    }
    let next = names.iter().nth(CONFIG_PAGE).and_then(|first_left| names.range(..first_left).next_back());
    let next = next.map(ToString::to_string);
    let mut sections: Vec<Section> = Vec::new();
    if call.programs.is_empty() && after.is_none() && knows_all {
        let tables = [InForce::Supervisor, InForce::Control, InForce::Notify];
        sections.extend(tables.into_iter().filter_map(|table| core.config.section(table, disk.as_ref())));
    }
    let page = names.iter().take(CONFIG_PAGE);
    sections.extend(page.filter_map(|name| core.config.section(InForce::Program(name), disk.as_ref())));
    let fault = fault.map(|faults| if knows_all { faults } else { SOME_FAULT.to_owned() });
    Ok(Some(Reply::done(ConfigReply { sections, fault, next })))
}

/// The programs that are asked for, in force or on disk only: of those that the caller may know of, and
/// each must be one that it may do this with. None named: all of these.
pub(super) fn select(
    core: &Core,
    caller: &Caller,
    verb: Verb,
    disk: Option<&Config>,
    selectors: &[String],
) -> Result<BTreeSet<ProgramName>, Refusal> {
    let known: BTreeSet<&ProgramName> = core.config.programs.iter().map(|program| &program.name).collect();
    let added = disk.into_iter().flat_map(|disk| &disk.programs).filter(|program| !known.contains(&program.name));
    let programs: Vec<&Program> = core.config.programs.iter().chain(added).collect();
    if selectors.is_empty() {
        let may = |program: &&&Program| core.rules.may(&caller.peer, verb, Target::of(program));
        return Ok(programs.iter().filter(may).map(|program| program.name.clone()).collect());
    }
    let visible = programs.into_iter().filter(|program| core.rules.sees(&caller.peer, Target::of(program)));
    let ids: Vec<(ProcessId, &Program)> = visible
        .flat_map(|program| (0..program.numprocs).map(move |number| (ProcessId::new(&program.name, number), program)))
        .collect();
    let chosen = selector::select(selectors, ids.iter().map(|(id, program)| (id, *program)))
        .map_err(|NoMatch { selector, suggestion }| Refusal::NoSuchProgram { selector, suggestion })?;
    let chosen: BTreeSet<ProgramName> = chosen.into_iter().map(|id| id.program).collect();
    for (_, program) in ids.iter().filter(|(id, _)| id.instance == 0 && chosen.contains(&id.program)) {
        core.rules.judge(&caller.peer, verb, Target::of(program)).map_err(not_permitted)?;
    }
    Ok(chosen)
}
