//! `Reload`, `Add` and `Remove`: what the files say comes into force, all of it or some programs, and programs
//! go out of force.
//!
//! Everything concerns every program and needs the verb for all. Some programs need it for these: in the
//! version that is in force and in that of the files, which may belong to another group.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::model::authority::Verb;
use crate::model::id::{ProcessId, ProgramName};
use crate::model::selector::Selector;
use crate::model::state::State;
use crate::model::text::quoted;
use crate::policy::permission::Target;
use crate::protocol::control::{
    ProgramOutcome, ProgramResult, ProgramsCall, ProgramsReply, Refusal, ReloadCall, ReloadReply,
};
use crate::protocol::varlink::Reply;
use crate::supervisor::core::Core;

use super::calls::{Answer, Caller, invalid, not_permitted};
use super::config::{SOME_FAULT, select};

pub(super) fn reload(core: &mut Core, caller: &Caller, call: &ReloadCall) -> Answer {
    if call.programs.is_empty() {
        core.rules.judge(&caller.peer, Verb::Reload, Target::All).map_err(not_permitted)?;
    } else {
        core.rules.judge_some(&caller.peer, Verb::Reload).map_err(not_permitted)?;
    }
    while_it_runs(core)?;
    let reply = if call.programs.is_empty() {
        core.reload(call.dry_run).map_err(|faults| Refusal::ConfigRejected { faults })?
    } else {
        let disk = on_disk(core, caller)?;
        let names = chosen(core, caller, Some(&disk), &call.programs)?;
        core.reload_some(&disk, &names, call.dry_run).map_err(|faults| Refusal::ConfigRejected { faults })?
    };
    let stopping = if call.wait && !call.dry_run { stopping(core, &reply) } else { Vec::new() };
    if stopping.is_empty() {
        return Ok(Some(Reply::done(reply)));
    }
    core.reloads.add(caller.client, stopping, reply);
    Ok(None)
}

pub(super) fn add(core: &mut Core, caller: &Caller, call: &ProgramsCall) -> Answer {
    core.rules.judge_some(&caller.peer, Verb::Reload).map_err(not_permitted)?;
    while_it_runs(core)?;
    let disk = on_disk(core, caller)?;
    let names = chosen(core, caller, Some(&disk), &call.programs)?;
    let in_force: BTreeSet<ProgramName> = core.config.programs.iter().map(|program| program.name.clone()).collect();
    let new: BTreeSet<ProgramName> = names.difference(&in_force).cloned().collect();
    if !new.is_empty() {
        core.reload_some(&disk, &new, false).map_err(|faults| Refusal::ConfigRejected { faults })?;
    }
    let outcome = |name: &ProgramName| {
        if in_force.contains(name) { ProgramOutcome::AlreadyAdded } else { ProgramOutcome::Added }
    };
    Ok(Some(results(names.iter(), outcome)))
}

pub(super) fn remove(core: &mut Core, caller: &Caller, call: &ProgramsCall) -> Answer {
    core.rules.judge_some(&caller.peer, Verb::Reload).map_err(not_permitted)?;
    while_it_runs(core)?;
    let names = chosen(core, caller, None, &call.programs)?;
    let runs: BTreeSet<&ProgramName> =
        core.fleet.members().filter(|(_, member)| !member.life.is_at_rest()).map(|(id, _)| &id.program).collect();
    let outcome = |name: &ProgramName| {
        if runs.contains(name) { ProgramOutcome::StillRunning } else { ProgramOutcome::Removed }
    };
    let reply = results(names.iter(), outcome);
    let at_rest: BTreeSet<ProgramName> = names.iter().filter(|name| !runs.contains(name)).cloned().collect();
    if !at_rest.is_empty() {
        core.remove_some(&at_rest);
    }
    Ok(Some(reply))
}

fn results<'n>(
    names: impl Iterator<Item = &'n ProgramName>,
    outcome: impl Fn(&ProgramName) -> ProgramOutcome,
) -> Reply {
    let result = |name: &ProgramName| ProgramResult { program: name.clone(), result: outcome(name) };
    Reply::done(ProgramsReply { results: names.map(result).collect() })
}

fn while_it_runs(core: &Core) -> Result<(), Refusal> {
    if core.fleet.is_shutting_down() { Err(Refusal::ShuttingDown {}) } else { Ok(()) }
}

/// What the files say now. Who may not reload everything is not told what is wrong with them.
fn on_disk(core: &Core, caller: &Caller) -> Result<Config, Refusal> {
    let knows_all = core.rules.may(&caller.peer, Verb::Reload, Target::All);
    core.config_on_disk()
        .map_err(|faults| Refusal::ConfigRejected { faults: if knows_all { faults } else { SOME_FAULT.to_owned() } })
}

/// The programs that are named, of those in force and of those on disk.
fn chosen(
    core: &Core,
    caller: &Caller,
    disk: Option<&Config>,
    selectors: &[String],
) -> Result<BTreeSet<ProgramName>, Refusal> {
    if selectors.is_empty() {
        return Err(invalid("programs", "name at least one program or group"));
    }
    // What is done to a program is done to all of its processes.
    if let Some(one) = selectors.iter().find(|one| matches!(Selector::new(one), Selector::Instance(..))) {
        return Err(invalid("programs", format!("{} names a process: name its program", quoted(one))));
    }
    let names = select(core, caller, Verb::Reload, disk, selectors)?;
    for program in disk.into_iter().flat_map(|disk| &disk.programs).filter(|program| names.contains(&program.name)) {
        core.rules.judge(&caller.peer, Verb::Reload, Target::of(program)).map_err(not_permitted)?;
    }
    Ok(names)
}

/// The processes of programs that are removed or restarted and have not stopped yet.
fn stopping(core: &Core, reply: &ReloadReply) -> Vec<ProcessId> {
    let names: BTreeSet<&ProgramName> = reply.plan.removed.iter().chain(&reply.plan.restarted).collect();
    let members = core.fleet.members().filter(|(id, _)| names.contains(&id.program));
    members.filter(|(_, member)| member.life.state() == State::Stopping).map(|(id, _)| id.clone()).collect()
}
