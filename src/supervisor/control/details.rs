//! `Details`: what `status` shows of a process that is looked at alone. Its command, directory and files are
//! configuration: who may not ask for that gets the rest.

use std::path::Path;

use crate::model::authority::Verb;
use crate::model::id::ProcessId;
use crate::model::program::{ErrorOutput, Program};
use crate::model::template::Template;
use crate::policy::fleet::Member;
use crate::policy::permission::Target;
use crate::protocol::control::{Channel, DETAILS_MAX, DetailsCall, DetailsReply, ProcessDetails};
use crate::protocol::logger::OutletKind;
use crate::protocol::varlink::Reply;
use crate::supervisor::core::Core;
use crate::supervisor::spec;

use super::calls::{Answer, Caller, invalid, select_status};
use super::security;

pub fn answer(core: &Core, caller: &Caller, call: &DetailsCall) -> Answer {
    if call.selectors.is_empty() {
        return Err(invalid("selectors", "name the processes"));
    }
    let ids = select_status(core, caller, &call.selectors)?;
    if ids.len() > DETAILS_MAX {
        return Err(invalid("selectors", format!("at most {DETAILS_MAX} processes at once")));
    }
    let known = ids.iter().filter_map(|id| Some((id, core.fleet.member(id)?)));
    let processes = known.map(|(id, member)| details(core, caller, id, member)).collect();
    Ok(Some(Reply::done(DetailsReply { processes })))
}

fn details(core: &Core, caller: &Caller, id: &ProcessId, member: &Member) -> ProcessDetails {
    let program = &*member.program;
    let exec = &program.exec;
    let may = |verb| core.rules.may(&caller.peer, verb, Target::of(program));
    let configured = may(Verb::Config).then(|| {
        let shown = member.shown(id);
        let fill = |template: &Template| template.for_process(&shown, id.instance).shown();
        let directory = match &exec.workingdir {
            Some(directory) => Some(fill(directory)),
            None => core.own.is_other(exec).then(|| "/".to_owned()),
        };
        (exec.cmd.iter().map(fill).collect(), directory)
    });
    let file = |channel| configured.as_ref().and_then(|_| file(&core.config.supervisor.log_dir, program, id, channel));
    let (stdout, stderr) = (file(Channel::Stdout), file(Channel::Stderr));
    let live = security::live(core, id);
    let outputs = match (may(Verb::Tail), has_one_output(program)) {
        (false, _) => Vec::new(),
        (true, true) => vec![Channel::Stdout],
        (true, false) => vec![Channel::Stdout, Channel::Stderr],
    };
    let (command, working_directory) = configured.map_or((None, None), |(words, place)| (Some(words), place));
    ProcessDetails {
        process: member.shown(id),
        command,
        working_directory,
        stdout,
        stderr,
        outputs,
        uid: live.as_ref().map(|live| live.uid.effective),
        gid: live.as_ref().map(|live| live.gid.effective),
        groups: live.as_ref().map(|live| live.groups.clone()),
        umask: exec.umask,
        limits: live.map_or_else(|| exec.limits.clone(), |live| live.limits),
    }
}

/// Both outputs go the same way: as configured, or since a terminal has no other.
pub(super) fn has_one_output(program: &Program) -> bool {
    program.exec.tty || matches!(program.exec.stderr, ErrorOutput::Stdout)
}

fn file(log_dir: &Path, program: &Program, id: &ProcessId, channel: Channel) -> Option<String> {
    let channel = if has_one_output(program) { Channel::Stdout } else { channel };
    if let Some(kind) = spec::outlet(program, channel) {
        let name = match kind {
            OutletKind::Console => "console",
            OutletKind::Syslog => "syslog",
        };
        return Some(name.to_owned());
    }
    spec::log_file(log_dir, program, id, channel).map(|path| path.shown())
}
