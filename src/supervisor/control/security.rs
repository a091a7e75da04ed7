//! `Security`: what each process runs with, as the kernel says it, and what of its boundary is missing,
//! as `policy::exposure` judges it.
//!
//! Three sources, none of which can hold up the core: the configuration; what the spawner's clone told at
//! the start (`Report::Granted`: who it became, and who can change the files it runs from); and /proc of
//! the process itself. No path of a program is ever looked at here. An answer has some processes only, so
//! that no client makes the core read thousands of files in one turn.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::authority::Verb;
use crate::model::boundary::{Grant, Live, Settings};
use crate::model::id::{Account, ProcessId, ProgramName};
use crate::model::program::{InheritEnv, Keyring, Program};
use crate::policy::exposure::{self, Facts};
use crate::policy::fleet::Member;
use crate::policy::permission::Target;
use crate::protocol::control::{ProcessSecurity, ProgramSecurity, Refusal, SECURITY_PAGE, SecurityCall, SecurityReply};
use crate::protocol::varlink::Reply;
use crate::supervisor::core::Core;
use crate::supervisor::spec::Own;
use crate::system::{inspect, process};

use super::calls::{Answer, Caller, invalid, select_status};

pub fn answer(core: &Core, caller: &Caller, call: &SecurityCall) -> Answer {
    let after = call.after.as_deref().map(place).transpose()?;
    let mut ids = select_status(core, caller, &call.selectors)?;
    ids.sort();
    if let Some(after) = &after {
        ids.retain(|id| id > after);
    }
    let more = ids.len() > SECURITY_PAGE;
    ids.truncate(SECURITY_PAGE);
    let next = ids.last().filter(|_| more).map(ToString::to_string);
    let users = Users::seen_by(core, caller);
    let mut programs: Vec<ProgramSecurity> = Vec::new();
    for id in &ids {
        let Some(member) = core.fleet.member(id) else { continue };
        let process = look(core, caller, id, member, &users);
        match programs.last_mut().filter(|program| program.program == id.program) {
            Some(program) => add(program, process),
            None => programs.push(begin(core, &member.program, process)),
        }
    }
    Ok(Some(Reply::done(SecurityReply { programs, next })))
}

/// Where an earlier answer ended: `web:3`.
fn place(text: &str) -> Result<ProcessId, Refusal> {
    let parts = text.rsplit_once(':').and_then(|(name, instance)| {
        Some(ProcessId { program: ProgramName::new(name).ok()?, instance: instance.parse().ok()? })
    });
    parts.ok_or_else(|| invalid("after", "is the `next` of an earlier answer, such as web:3"))
}

fn begin(core: &Core, program: &Program, process: ProcessSecurity) -> ProgramSecurity {
    ProgramSecurity {
        program: program.name.clone(),
        user: user(core, program),
        exposure: process.exposure,
        level: process.level,
        findings: process.findings,
        settings: settings(&core.own, program),
        processes: vec![process],
    }
}

fn add(program: &mut ProgramSecurity, process: ProcessSecurity) {
    program.exposure = program.exposure.max(process.exposure);
    program.level = program.level.max(process.level);
    program.findings = program.findings.max(process.findings);
    program.processes.push(process);
}

fn user(core: &Core, program: &Program) -> String {
    program.exec.user.as_ref().map_or_else(|| core.own.user.clone(), ToString::to_string)
}

fn look(core: &Core, caller: &Caller, id: &ProcessId, member: &Member, users: &Users) -> ProcessSecurity {
    let program = &*member.program;
    let settings = settings(&core.own, program);
    // Both or none: a process that ended meanwhile is judged by its configuration.
    let known = core.clones.grant_of(id).and_then(|grant| Some((live(core, id)?, grant)));
    let (live, grant) = known.map_or((None, None), |(live, grant)| (Some(live), Some(grant)));
    let shares_user = users.are_shared(&user(core, program), grant);
    let facts = Facts { settings: &settings, grant, live: live.as_ref(), shares_user };
    let judged = exposure::judge(&facts);
    ProcessSecurity {
        process: member.shown(id),
        pid: core.clones.pid_of(id).filter(|_| live.is_some()).map(|pid| pid.0),
        exposure: f64::from(judged.exposure) / 10.0,
        level: judged.level,
        findings: judged.findings,
        granted: grant.map(|grant| shown(core, caller, program, grant)),
        kernel: live,
        checks: judged.checks,
    }
}

/// What the kernel says of the process. Nobody but the core reaps it, so its number is still its own; that
/// it has not ended is seen afterwards.
pub(super) fn live(core: &Core, id: &ProcessId) -> Option<Live> {
    let (pid, pidfd) = core.clones.pid_of(id).zip(core.clones.pidfd_of(id))?;
    let mut live = inspect::live(pid).ok().filter(|_| !process::has_ended(pidfd))?;
    live.own_control_group = live.control_group.as_deref().and_then(|group| core.remains.is_own_group(id, group));
    Some(live)
}

/// Paths are configuration: whoever may not ask for that gets the rest.
fn shown(core: &Core, caller: &Caller, program: &Program, grant: &Grant) -> Grant {
    let mut grant = grant.clone();
    if !core.rules.may(&caller.peer, Verb::Config, Target::of(program)) {
        grant.files.iter_mut().for_each(|file| file.path = None);
    }
    grant
}

fn settings(own: &Own, program: &Program) -> Settings {
    let exec = &program.exec;
    let root = exec.user.as_ref().map_or(own.root, Account::is_root);
    let other = own.is_other(exec);
    let inherits_environment = match exec.inherit_env {
        InheritEnv::Default => !other,
        InheritEnv::All => true,
        InheritEnv::Only(_) => false,
    };
    Settings {
        root,
        nobody: matches!(&exec.user, Some(Account::Name(name)) if name == "nobody"),
        capabilities: exec.capabilities,
        capability_bounding: exec.capability_bounding,
        no_new_privileges: exec.no_new_privileges.unwrap_or(!root),
        umask: exec.umask,
        limits: exec.limits.clone(),
        keyring: exec.keyring.unwrap_or(if other { Keyring::Private } else { Keyring::Inherit }),
        mdwe: exec.mdwe,
        inherits_environment,
        kill_mode: program.watch.kill_mode,
        restrict_paths: exec.restrict_paths.is_some(),
    }
}

/// Which programs run as whom: by the users that are written, and by those that they turned out to be. Of
/// the programs that the caller may know only: the others are not there for it.
#[derive(Default)]
struct Users<'a> {
    by_name: BTreeMap<String, BTreeSet<&'a ProgramName>>,
    by_number: BTreeMap<u32, BTreeSet<&'a ProgramName>>,
}

impl<'a> Users<'a> {
    fn seen_by(core: &'a Core, caller: &Caller) -> Self {
        let mut users = Self::default();
        let may = |program| core.rules.may(&caller.peer, Verb::Status, Target::of(program));
        for (id, member) in core.fleet.members().filter(|(id, member)| id.instance == 0 && may(&member.program)) {
            users.by_name.entry(user(core, &member.program)).or_default().insert(&id.program);
            if let Some(grant) = core.clones.grant_of(id) {
                users.by_number.entry(grant.uid.0).or_default().insert(&id.program);
            }
        }
        users
    }

    fn are_shared(&self, name: &str, grant: Option<&Grant>) -> bool {
        let several = |programs: Option<&BTreeSet<&ProgramName>>| programs.is_some_and(|programs| programs.len() > 1);
        several(self.by_name.get(name)) || grant.is_some_and(|grant| several(self.by_number.get(&grant.uid.0)))
    }
}
