//! From a configured program to the request that starts one of its processes. Nothing is looked up
//! here: names of users go as they are written, the clone finds out what they mean.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::capability::CapabilitySet;
use crate::model::event::Severity;
use crate::model::id::{Account, ProcessId};
use crate::model::program::{
    ErrorOutput, Execution, InheritEnv, Keyring, Limit, OnSupervisorDeath, Output, Program, Resource,
};
use crate::model::signal::Signal;
use crate::model::syslog;
use crate::model::template::Template;
use crate::protocol::control::Channel;
use crate::protocol::logger::{Label, OutletKind, Voice};
use crate::protocol::spawner::{Bytes, Command, Identity, StartSpec, Target};

use super::role::{Numbers, Uids};

/// What every start needs to know of the supervisor.
#[derive(Clone, Debug)]
pub struct Own {
    pub root: bool,
    pub user: String,
    pub env: Vec<(Bytes, Bytes)>,
    /// Those of the workers, when it is root.
    pub worker_uids: Uids,
    /// It has CAP_SYS_RESOURCE, which root lacks in some containers.
    pub may_raise_limits: bool,
    /// The limit of descriptors that it was started with, before it raised its own.
    pub descriptors: Limit,
}

/// Variables that are meant for the supervisor itself and must not reach what it starts.
fn is_private(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"NOTIFY_SOCKET", b"WATCHDOG_PID", b"WATCHDOG_USEC", b"CREDENTIALS_DIRECTORY"];
    NAMES.contains(&name) || name.starts_with(b"LISTEN_")
}

impl Own {
    /// The supervisor's own environment, without what is private to it.
    pub fn environment() -> Vec<(Bytes, Bytes)> {
        use std::os::unix::ffi::OsStringExt;
        std::env::vars_os()
            .map(|(name, value)| (name.into_vec(), value.into_vec()))
            .filter(|(name, _)| !is_private(name))
            .map(|(name, value)| (Bytes::new(name), Bytes::new(value)))
            .collect()
    }

    /// Whether a program runs as somebody else than the supervisor.
    pub fn is_other(&self, exec: &Execution) -> bool {
        self.root && !exec.user.as_ref().is_some_and(Account::is_root)
    }

    fn inherited(&self, exec: &Execution) -> Vec<(Bytes, Bytes)> {
        match &exec.inherit_env {
            InheritEnv::Default if self.is_other(exec) => Vec::new(),
            InheritEnv::Default | InheritEnv::All => self.env.clone(),
            InheritEnv::Only(names) => {
                let named = |name: &Bytes| names.iter().any(|known| known.as_bytes() == name.as_bytes());
                self.env.iter().filter(|(name, _)| named(name)).cloned().collect()
            }
        }
    }
}

/// As whom a program runs.
pub fn identity(exec: &Execution) -> Identity {
    match &exec.user {
        None => Identity::Unchanged,
        Some(user) => Identity::Account { user: user.clone(), group: exec.group.clone(), groups: exec.groups.clone() },
    }
}

/// What a terminal can do of which nothing is known, as systemd has it.
const TERM: &str = "vt220";

/// The request for one process. Descriptors and log files are added by whoever opens them.
pub fn start(own: &Own, program: &Program, id: &ProcessId) -> StartSpec {
    let exec = &program.exec;
    let shown = id.shown(program.numprocs);
    let fill = |template: &Template| template.for_process(&shown, id.instance);
    let other = own.is_other(exec);
    let inherited = own.inherited(exec);
    let mut env: Vec<(Bytes, Template)> = Vec::new();
    if exec.tty && !inherited.iter().any(|(name, _)| name.as_bytes() == b"TERM") {
        env.push(("TERM".into(), Template::literal(TERM)));
    }
    env.extend(exec.env.iter().map(|(name, value)| (Bytes::Text(name.clone()), fill(value))));
    env.push(("TASKMASTER_PROGRAM".into(), Template::literal(id.program.as_str())));
    env.push(("TASKMASTER_PROCESS".into(), Template::literal(shown.as_str())));
    env.push(("TASKMASTER_INSTANCE".into(), Template::literal(id.instance.to_string())));
    let workingdir = match &exec.workingdir {
        Some(directory) => Some(fill(directory)),
        None => other.then(|| Template::literal("/")),
    };
    StartSpec {
        command: Command::Words(exec.cmd.iter().map(fill).collect()),
        identity: identity(exec),
        kept_uids: own.worker_uids.all(),
        umask: exec.umask,
        workingdir,
        env,
        inherited,
        inherited_by_name: matches!(exec.inherit_env, InheritEnv::Only(_)),
        login_environment: other,
        no_new_privileges: exec.no_new_privileges,
        limits: limits(own, &exec.limits),
        capabilities: exec.capabilities,
        capability_bounding: exec.capability_bounding,
        keyring: exec.keyring.or(if other { None } else { Some(Keyring::Inherit) }),
        mdwe: exec.mdwe,
        restrict_paths: exec.restrict_paths.as_ref().map(|paths| paths.map(fill)),
        ioprio: exec.ioprio,
        cpu_affinity: exec.cpu_affinity.clone(),
        nice: exec.nice,
        oom_score_adj: exec.oom_score_adj,
        on_supervisor_death: exec.on_supervisor_death,
        death_signal: program.watch.stopsignal.number(),
        tty: exec.tty,
        descriptors: Vec::new(),
        files: Vec::new(),
        logs: Vec::new(),
    }
}

/// A worker of our own: these numbers, nothing inherited, nothing to write with but what it is given.
pub fn worker(own: &Own, name: &str, argument: Option<&str>, numbers: Option<Numbers>, targets: &[i32]) -> StartSpec {
    StartSpec {
        command: Command::Worker { name: name.to_owned(), argument: argument.map(str::to_owned) },
        identity: numbers
            .map_or(Identity::Unchanged, |Numbers { uid, gid }| Identity::Worker { uid: uid.0, gid: gid.0 }),
        kept_uids: Vec::new(),
        umask: 0o077,
        workingdir: Some(Template::literal("/")),
        env: Vec::new(),
        inherited: Vec::new(),
        inherited_by_name: false,
        login_environment: false,
        no_new_privileges: Some(true),
        limits: worker_limits(own),
        capabilities: None,
        capability_bounding: None,
        keyring: None,
        mdwe: false,
        restrict_paths: None,
        ioprio: None,
        cpu_affinity: None,
        nice: None,
        oom_score_adj: None,
        on_supervisor_death: OnSupervisorDeath::Keep,
        death_signal: 0,
        tty: false,
        descriptors: targets.iter().copied().map(Target).collect(),
        files: Vec::new(),
        logs: Vec::new(),
    }
}

/// The mail program: as a worker's user, but free to get the rights that the modes of its files give.
pub fn sendmail(own: &Own, program: &Path, arguments: &[String], numbers: Option<Numbers>) -> StartSpec {
    let words = std::iter::once(program.to_string_lossy().into_owned()).chain(arguments.iter().cloned());
    StartSpec {
        command: Command::Words(words.map(Template::literal).collect()),
        env: vec![("PATH".into(), Template::literal("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))],
        no_new_privileges: Some(false),
        // What it has itself is nothing; a set-uid mail program is as able as when anybody else runs it.
        capability_bounding: numbers.map(|_| CapabilitySet::ALL),
        on_supervisor_death: OnSupervisorDeath::Stop,
        death_signal: Signal::KILL.number(),
        descriptors: vec![Target(0), Target(2)],
        ..worker(own, "", None, numbers, &[])
    }
}

/// A small limit of file sizes in the starter's shell must not end a worker that writes logs.
fn worker_limits(own: &Own) -> Vec<(Resource, Limit)> {
    let mut limits = limits(own, &BTreeMap::new());
    if own.may_raise_limits {
        limits.push((Resource::Fsize, Limit { soft: None, hard: None }));
    }
    limits
}

fn limits(own: &Own, configured: &BTreeMap<Resource, Limit>) -> Vec<(Resource, Limit)> {
    let mut limits = configured.clone();
    limits.entry(Resource::Nofile).or_insert(own.descriptors);
    limits.into_iter().collect()
}

/// What is configured for one output; `None`: it goes where standard output goes.
fn output(program: &Program, channel: Channel) -> Option<&Output> {
    match (channel, &program.exec.stderr) {
        (Channel::Stdout, _) => Some(&program.exec.stdout),
        (Channel::Stderr, ErrorOutput::Own(output)) => Some(output),
        (Channel::Stderr, ErrorOutput::Stdout) => None,
    }
}

/// Where the lines of one output of a program are said, if they are: where many speak.
pub fn outlet(program: &Program, channel: Channel) -> Option<OutletKind> {
    match output(program, channel)? {
        Output::Console => Some(OutletKind::Console),
        Output::Syslog => Some(OutletKind::Syslog),
        Output::Auto | Output::File(_) | Output::Discard => None,
    }
}

/// Whether any output of a program goes to our own standard output.
pub fn uses_console(program: &Program) -> bool {
    [Channel::Stdout, Channel::Stderr].into_iter().any(|channel| outlet(program, channel) == Some(OutletKind::Console))
}

/// How lines of a program are said at an outlet. What it says on standard error is more than news: it stands out there,
/// as a warning.
pub fn voice(program: &Program, channel: Channel, kind: OutletKind, facility: u8, pid: Option<i32>) -> Voice {
    let severity = match channel {
        Channel::Stdout => Severity::Info,
        Channel::Stderr => Severity::Warning,
    };
    let label = || Label {
        priority: syslog::priority(program.alerts.syslog_facility.unwrap_or(facility), severity),
        tag: program.alerts.syslog_tag.clone().unwrap_or_else(|| program.name.to_string()),
        pid,
    };
    let label = match kind {
        OutletKind::Console => None,
        OutletKind::Syslog => Some(label()),
    };
    Voice { strip_ansi: program.watch.strip_ansi, label }
}

/// The file that one output of a process goes to; `None` is nowhere, or where many speak.
pub fn log_file(log_dir: &Path, program: &Program, id: &ProcessId, channel: Channel) -> Option<Template> {
    match output(program, channel)? {
        Output::Console | Output::Syslog | Output::Discard => None,
        Output::File(path) => Some(path.for_process(&id.shown(program.numprocs), id.instance)),
        Output::Auto => {
            let suffix = match channel {
                Channel::Stdout => "stdout",
                Channel::Stderr => "stderr",
            };
            let path: PathBuf = log_dir.join(format!("{}.{suffix}.log", id.file_stem(program.numprocs)));
            Some(Template::literal(path.to_string_lossy()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::program::testing::program;

    fn own(root: bool) -> Own {
        let unlimited = Limit { soft: None, hard: None };
        let env = vec![("SECRET".into(), "s".into()), ("LANG".into(), "C".into())];
        Own {
            root,
            user: "me".to_owned(),
            env,
            worker_uids: Uids::default(),
            may_raise_limits: root,
            descriptors: unlimited,
        }
    }

    fn names(spec: &StartSpec) -> Vec<String> {
        spec.inherited.iter().map(|(name, _)| String::from_utf8_lossy(name.as_bytes()).into_owned()).collect()
    }

    #[test]
    fn another_user_gets_nothing_of_roots_environment_unless_it_is_named() {
        let mut program = program("web");
        program.exec.user = Some(Account::Name("nobody".to_owned()));
        let id = ProcessId::new(&program.name, 0);
        let spec = start(&own(true), &program, &id);
        assert!(names(&spec).is_empty());
        assert!(spec.login_environment);
        assert_eq!(spec.workingdir, Some(Template::literal("/")));
        program.exec.inherit_env = InheritEnv::Only(["LANG".to_owned()].into());
        assert_eq!(names(&start(&own(true), &program, &id)), ["LANG"]);
    }

    #[test]
    fn the_same_user_keeps_environment_and_directory() {
        let program = program("web");
        let spec = start(&own(false), &program, &ProcessId::new(&program.name, 0));
        assert_eq!(names(&spec), ["SECRET", "LANG"]);
        assert_eq!((spec.workingdir, spec.login_environment), (None, false));
    }

    #[test]
    fn auto_files_are_named_after_program_and_instance() {
        let mut program = program("web");
        let id = ProcessId::new(&program.name, 0);
        let path = |program: &Program| {
            log_file(Path::new("/l"), program, &id, Channel::Stderr).map(|template| template.render("", ""))
        };
        assert_eq!(path(&program).as_deref(), Some("/l/web.stderr.log"));
        program.numprocs = 2;
        assert_eq!(path(&program).as_deref(), Some("/l/web-0.stderr.log"));
        program.exec.stderr = ErrorOutput::Stdout;
        assert_eq!(path(&program), None);
    }
}
