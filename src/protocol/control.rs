//! The interface `io.taskmaster.Control`: what can be asked of a running supervisor.
//!
//! The types here are what clients see; `DESCRIPTION` says the same in varlink's own language, for
//! introspection.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::authority::Verb;
use crate::model::boundary::octal;
pub use crate::model::boundary::{Check, Grant, Level, Live, Settings};
use crate::model::event::{Event, wall_time};
use crate::model::id::{Gid, ProgramName};
pub use crate::model::plan::{Plan, ProgramOutcome};
use crate::model::program::{Limit, Resource};
pub use crate::model::settings::{OnDisk, Section, Setting, Source};
use crate::model::signal::Signal;
use crate::model::state::{State, Wanted};
use crate::model::time::WallTime;

use super::alerting::{ChannelProblem, Thing};

pub const INTERFACE: &str = "io.taskmaster.Control";

/// Every method, by the name behind the interface's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Status,
    Details,
    Security,
    Start,
    Stop,
    Restart,
    Signal,
    Reload,
    Add,
    Remove,
    Config,
    Reopen,
    Tail,
    Attach,
    Clear,
    Events,
    NotifyQueue,
    NotifyTest,
    NotifyRetry,
    NotifyDrop,
    Silence,
    Unsilence,
    Silences,
    Version,
    Shutdown,
}

impl Method {
    pub const ALL: [Self; 25] = [
        Self::Status,
        Self::Details,
        Self::Security,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Signal,
        Self::Reload,
        Self::Add,
        Self::Remove,
        Self::Config,
        Self::Reopen,
        Self::Tail,
        Self::Attach,
        Self::Clear,
        Self::Events,
        Self::NotifyQueue,
        Self::NotifyTest,
        Self::NotifyRetry,
        Self::NotifyDrop,
        Self::Silence,
        Self::Unsilence,
        Self::Silences,
        Self::Version,
        Self::Shutdown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "Status",
            Self::Details => "Details",
            Self::Security => "Security",
            Self::Start => "Start",
            Self::Stop => "Stop",
            Self::Restart => "Restart",
            Self::Signal => "Signal",
            Self::Reload => "Reload",
            Self::Add => "Add",
            Self::Remove => "Remove",
            Self::Config => "Config",
            Self::Reopen => "Reopen",
            Self::Tail => "Tail",
            Self::Attach => "Attach",
            Self::Clear => "Clear",
            Self::Events => "Events",
            Self::NotifyQueue => "NotifyQueue",
            Self::NotifyTest => "NotifyTest",
            Self::NotifyRetry => "NotifyRetry",
            Self::NotifyDrop => "NotifyDrop",
            Self::Silence => "Silence",
            Self::Unsilence => "Unsilence",
            Self::Silences => "Silences",
            Self::Version => "Version",
            Self::Shutdown => "Shutdown",
        }
    }

    /// What a client must be allowed for it.
    pub fn verb(self) -> Verb {
        match self {
            Self::Status | Self::Details | Self::Security | Self::Events => Verb::Status,
            Self::Start => Verb::Start,
            Self::Stop => Verb::Stop,
            Self::Restart => Verb::Restart,
            Self::Signal => Verb::Signal,
            Self::Reload | Self::Add | Self::Remove => Verb::Reload,
            Self::Config => Verb::Config,
            Self::Reopen => Verb::Reopen,
            Self::Tail => Verb::Tail,
            Self::Attach => Verb::Attach,
            Self::Clear => Verb::Clear,
            Self::NotifyQueue
            | Self::NotifyTest
            | Self::NotifyRetry
            | Self::NotifyDrop
            | Self::Silence
            | Self::Unsilence
            | Self::Silences => Verb::Notify,
            Self::Version => Verb::Version,
            Self::Shutdown => Verb::Shutdown,
        }
    }

    /// `io.taskmaster.Control.Status`.
    pub fn full_name(self) -> String {
        format!("{INTERFACE}.{}", self.name())
    }
}

/// One process, exactly as `status --json` prints it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Process {
    pub program: ProgramName,
    /// The name people see: `web`, or `web:0` of several.
    pub process: String,
    pub instance: u32,
    pub group_name: Option<String>,
    pub state: State,
    pub statecode: u32,
    pub wanted: Wanted,
    pub pid: Option<i32>,
    /// The configured user, or the supervisor's own.
    pub user: String,
    /// Null when it is not running.
    pub uptime_seconds: Option<f64>,
    /// Automatic restarts since the supervisor started.
    pub restarts: u64,
    pub last_exit: Option<LastExit>,
    /// Why it is BACKOFF or FATAL, what it waits for, or what it runs without; else null.
    pub reason: Option<String>,
}

/// How and when a process last ended: `{"code": 3, …}` or `{"signal": "KILL", …}`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LastExit {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<Signal>,
    pub core_dumped: bool,
    #[serde(with = "wall_time")]
    pub at: WallTime,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StatusReply {
    pub processes: Vec<Process>,
    /// The alert channels that are not well, for who may know the status of everything.
    #[serde(default)]
    pub channels: Vec<ChannelProblem>,
}

/// Which processes: `web`, `web:3`, `web:*`, a group name, a glob, `all`. None means all, where a command
/// allows that (`Status`).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusCall {
    #[serde(default)]
    pub selectors: Vec<String>,
}

/// The most processes that one call of `Details` may name: the core reads files of /proc for each.
pub const DETAILS_MAX: usize = 32;

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailsCall {
    pub selectors: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct DetailsReply {
    pub processes: Vec<ProcessDetails>,
}

/// What `status` shows of a process that is looked at alone, besides [`Process`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProcessDetails {
    /// The name people see.
    pub process: String,
    /// The words of the command; `${user}` and `${home}` stay open until the start. Null, as are directory
    /// and files, for who may not `config`.
    pub command: Option<Vec<String>>,
    /// Null also where it is the supervisor's own.
    pub working_directory: Option<String>,
    /// Where standard output goes; null: to no file.
    pub stdout: Option<String>,
    pub stderr: Option<String>,
    /// What the caller may `tail`.
    pub outputs: Vec<Channel>,
    /// As the kernel says. Null when it does not run, as are its groups.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// The supplementary groups.
    pub groups: Option<Vec<Gid>>,
    #[serde(with = "octal")]
    pub umask: u32,
    /// As the kernel says; those configured when it does not run.
    pub limits: BTreeMap<Resource, Limit>,
}

/// The most processes in one answer of `Security`: the core reads several files of /proc for each.
pub const SECURITY_PAGE: usize = 32;

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityCall {
    #[serde(default)]
    pub selectors: Vec<String>,
    /// Goes on behind this process, which an earlier answer had as its `next`.
    #[serde(default)]
    pub after: Option<String>,
}

/// Programs by name, with at most [`SECURITY_PAGE`] processes.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct SecurityReply {
    pub programs: Vec<ProgramSecurity>,
    /// Where to go on: there are more processes, maybe of the last program here. Null: that was all.
    pub next: Option<String>,
}

/// A program as exposed as the worst of its processes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProgramSecurity {
    pub program: ProgramName,
    /// The configured user, or the supervisor's own.
    pub user: String,
    /// 0.0 to 10.0.
    pub exposure: f64,
    pub level: Level,
    /// How many checks found something.
    pub findings: u32,
    pub settings: Settings,
    pub processes: Vec<ProcessSecurity>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProcessSecurity {
    /// The name people see.
    pub process: String,
    /// Null when the program does not run: then the checks are about what is configured.
    pub pid: Option<i32>,
    pub exposure: f64,
    pub level: Level,
    pub findings: u32,
    /// What the kernel says of it. Null when it does not run.
    pub kernel: Option<Live>,
    /// What it was given at its start. Null when it does not run.
    pub granted: Option<Grant>,
    /// The worst first.
    pub checks: Vec<Check>,
}

/// Start, stop or restart.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeCall {
    #[serde(default)]
    pub selectors: Vec<String>,
    /// Answer when the result is there (the default), not at once.
    #[serde(default = "yes")]
    pub wait: bool,
}

fn yes() -> bool {
    true
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalCall {
    pub signal: String,
    #[serde(default)]
    pub selectors: Vec<String>,
}

/// What became of each process that a command named.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ChangeReply {
    pub results: Vec<ChangeResult>,
    /// In the first of several answers (a call with `more`): the processes whose results are to come.
    pub waiting: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ChangeResult {
    pub process: String,
    pub outcome: Outcome,
    /// More in words, when it failed.
    #[serde(default)]
    pub detail: Option<String>,
}

/// The result of a command for one process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Started,
    AlreadyStarted,
    /// It could not be executed.
    SpawnError,
    /// It ended before it was RUNNING.
    AbnormalTermination,
    Stopped,
    NotRunning,
    Signalled,
    Cleared,
    NotCleared,
    /// The order was taken; its result was not waited for.
    Ordered,
    /// Something else was asked of it meanwhile, or the supervisor is shutting down.
    Superseded,
}

impl Outcome {
    /// Whether the command got where it wanted.
    pub fn is_success(self) -> bool {
        match self {
            Self::Started | Self::AlreadyStarted | Self::Stopped | Self::Signalled | Self::Cleared | Self::Ordered => {
                true
            }
            Self::SpawnError | Self::AbnormalTermination | Self::NotRunning | Self::NotCleared | Self::Superseded => {
                false
            }
        }
    }
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadCall {
    #[serde(default)]
    pub dry_run: bool,
    /// Only these programs: names, groups, globs, in force or in the files. None: everything.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Answer when what is removed or restarted has stopped, not at once (the default).
    #[serde(default)]
    pub wait: bool,
}

/// What a reload did, or would do.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ReloadReply {
    pub plan: Plan,
    /// Warnings of the configuration, rendered with place and caret.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The keys that differ, of each program that is restarted or changed.
    #[serde(default)]
    pub changes: Vec<ProgramChange>,
    /// Changed settings of no program: `supervisor.shutdown_timeout`, `notify.rules`.
    #[serde(default)]
    pub settings: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProgramChange {
    pub program: ProgramName,
    pub keys: Vec<String>,
}

/// Takes programs from the files, or out of force.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramsCall {
    /// Names, groups, globs.
    #[serde(default)]
    pub programs: Vec<String>,
}

/// What became of each program that was named.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ProgramsReply {
    pub results: Vec<ProgramResult>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProgramResult {
    pub program: ProgramName,
    pub result: ProgramOutcome,
}

/// The most programs in one answer of `Config`.
pub const CONFIG_PAGE: usize = 100;

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigCall {
    /// Names, groups, globs. None: all that the client may `config`, and the other tables for who may all.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Goes on behind this program, which an earlier answer had as its `next`.
    #[serde(default)]
    pub after: Option<String>,
}

/// What is in force, where it comes from, and what the files on disk say instead.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ConfigReply {
    pub sections: Vec<Section>,
    /// Why the files on disk would not be accepted, so that nothing is known of what differs.
    pub fault: Option<String>,
    /// Where to go on: there are more programs. Null: that was all.
    pub next: Option<String>,
}

/// Which of a process's outputs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    #[default]
    Stdout,
    Stderr,
}

/// Which outputs a tail is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    #[default]
    Stdout,
    Stderr,
    Both,
}

impl From<Channel> for Channels {
    fn from(channel: Channel) -> Self {
        match channel {
            Channel::Stdout => Self::Stdout,
            Channel::Stderr => Self::Stderr,
        }
    }
}

/// The most lines a tail can ask for.
pub const TAIL_LINES_MAX: u32 = 100_000;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TailCall {
    pub selectors: Vec<String>,
    #[serde(default)]
    pub channel: Channels,
    /// 0 to [`TAIL_LINES_MAX`]; what is still in memory is given.
    #[serde(default = "ten")]
    pub lines: u32,
    /// Goes on with what the program writes, over restarts, until the client leaves. Needs `more`.
    #[serde(default)]
    pub follow: bool,
}

fn ten() -> u32 {
    10
}

/// Lines of one process. The connection ends after the last answer of a `Tail`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TailReply {
    pub process: String,
    pub channel: Channel,
    /// How many outputs this tail is of.
    #[serde(default)]
    pub outputs: u32,
    /// Bytes that are not UTF-8 are replaced (U+FFFD); nothing else is changed: escape before showing.
    pub text: String,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachCall {
    /// One process.
    pub process: String,
    /// Only looks on.
    #[serde(default)]
    pub read_only: bool,
    /// Types together with all others who share.
    #[serde(default)]
    pub share: bool,
    /// The size of the client's terminal.
    #[serde(default)]
    pub rows: Option<u16>,
    #[serde(default)]
    pub columns: Option<u16>,
}

/// The only reply of an `Attach`; the frames of [`super::attach`] follow on the same connection.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AttachReply {
    pub process: String,
    /// The program has a terminal: keys go to it one by one. Else lines go to its standard input.
    pub terminal: bool,
    /// What the client types reaches the program.
    pub writes: bool,
    /// Why it does not.
    pub reason: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearCall {
    #[serde(default)]
    pub selectors: Vec<String>,
    /// None: both.
    #[serde(default)]
    pub channel: Option<Channel>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsCall {
    /// Goes on with new events until the client leaves. Needs `more`.
    #[serde(default)]
    pub follow: bool,
    /// Only events with a greater sequence number, of those still in memory; none: the last ones.
    #[serde(default)]
    pub since: Option<u64>,
    /// Only events of this moment (RFC 3339) and later, of those still in memory.
    #[serde(default)]
    pub since_time: Option<String>,
    /// Only events about these processes, at most [`EVENTS_SELECTORS_MAX`] and [`EVENTS_SELECTORS_BYTES`].
    #[serde(default)]
    pub selectors: Vec<String>,
}

/// Each event is compared with each of them, for each client that follows.
pub const EVENTS_SELECTORS_MAX: usize = 100;
/// As long as they may be together.
pub const EVENTS_SELECTORS_BYTES: usize = 4096;

/// Some events, oldest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EventsReply {
    pub events: Vec<Event>,
    /// Events that this client was too slow for.
    #[serde(default)]
    pub lost: u64,
    /// `since` or `since_time` reaches back beyond what is in memory.
    #[serde(default)]
    pub forgotten: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VersionReply {
    pub version: String,
    /// The supervisor's process number.
    pub pid: i32,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// The typed errors of the interface.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "error", content = "parameters")]
pub enum Refusal {
    /// No process matches; `suggestion` is the nearest name, if one is near.
    #[serde(rename = "io.taskmaster.Control.NoSuchProgram")]
    NoSuchProgram { selector: String, suggestion: Option<String> },
    /// There is no such channel, message or silence.
    #[serde(rename = "io.taskmaster.Control.NoSuch")]
    NoSuch { thing: Thing, name: String, suggestion: Option<String> },
    /// The peer may not do this; `rule` is what would allow it.
    #[serde(rename = "io.taskmaster.Control.NotPermitted")]
    NotPermitted { verb: String, rule: String },
    /// The configuration was not accepted; nothing has changed. Every fault with its place.
    #[serde(rename = "io.taskmaster.Control.ConfigRejected")]
    ConfigRejected { faults: String },
    /// The supervisor is shutting down and takes no such orders.
    #[serde(rename = "io.taskmaster.Control.ShuttingDown")]
    ShuttingDown {},
    /// The command could not be carried out.
    #[serde(rename = "io.taskmaster.Control.Failed")]
    Failed { message: String },
    /// A bound of the server was reached: too many clients, or answers unread.
    #[serde(rename = "io.taskmaster.Control.Busy")]
    Busy { message: String },
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    InvalidParameter {
        parameter: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    MethodNotFound { method: String },
    #[serde(rename = "org.varlink.service.InterfaceNotFound")]
    InterfaceNotFound { interface: String },
    /// It is part of an interface, and not of this program.
    #[serde(rename = "org.varlink.service.MethodNotImplemented")]
    MethodNotImplemented { method: String },
}

/// The interface in varlink's language.
pub const DESCRIPTION: &str = "\
# Controls a Taskmaster supervisor: what runs, what is wanted, what happened.
interface io.taskmaster.Control

type LastExit (code: ?int, signal: ?string, core_dumped: bool, at: string)

type Process (
  program: string,
  process: string,
  instance: int,
  group_name: ?string,
  state: string,
  statecode: int,
  wanted: string,
  pid: ?int,
  user: string,
  uptime_seconds: ?float,
  restarts: int,
  last_exit: ?LastExit,
  reason: ?string
)

type Limit (soft: ?int, hard: ?int)

# What is shown of a process that is looked at alone. Command, directory and files only for who may `config`.
type ProcessDetails (
  process: string,
  command: ?[]string,
  working_directory: ?string,
  stdout: ?string,
  stderr: ?string,
  outputs: []string,
  uid: ?int,
  gid: ?int,
  groups: ?[]int,
  umask: string,
  limits: [string]Limit
)

type Ids (real: int, effective: int, saved: int, filesystem: int)

type CapabilitySets (
  effective: []string,
  permitted: []string,
  inheritable: []string,
  bounding: []string,
  ambient: []string
)

# What the kernel says of a live process.
type Kernel (
  uid: Ids,
  gid: Ids,
  groups: []int,
  capabilities: CapabilitySets,
  other_user_namespace: bool,
  no_new_privileges: bool,
  seccomp: string,
  umask: ?string,
  limits: [string]Limit,
  control_group: ?string,
  own_control_group: ?bool
)

# Who can change a file besides root. The path only for who may `config`.
type FileFact (role: string, path: ?string, by_user: bool, by_others: bool)

# What a process was given at its start; null capabilities: nothing was taken from it.
type Grant (
  uid: int,
  gid: int,
  groups: ?[]int,
  capabilities: ?[]string,
  bounding: ?[]string,
  no_new_privileges: bool,
  files: []FileFact
)

type Settings (
  root: bool,
  nobody: bool,
  capabilities: ?[]string,
  capability_bounding: ?[]string,
  no_new_privileges: bool,
  umask: string,
  limits: [string]Limit,
  keyring: string,
  mdwe: bool,
  inherits_environment: bool,
  kill_mode: string,
  restrict_paths: bool
)

type Check (
  name: string,
  weight: int,
  badness: int,
  range: int,
  exposure: float,
  mismatch: bool,
  description: string,
  key: ?string
)

type ProcessSecurity (
  process: string,
  pid: ?int,
  exposure: float,
  level: string,
  findings: int,
  kernel: ?Kernel,
  granted: ?Grant,
  checks: []Check
)

type ProgramSecurity (
  program: string,
  user: string,
  exposure: float,
  level: string,
  findings: int,
  settings: Settings,
  processes: []ProcessSecurity
)

type ChangeResult (process: string, outcome: string, detail: ?string)

type Plan (
  added: []string,
  removed: []string,
  restarted: []string,
  changed: []string,
  unchanged: []string,
  needs_restart: []string
)

type ProgramChange (program: string, keys: []string)

type ProgramResult (program: string, result: string)

# One value in force. `source` is file, defaults, env_file or built_in; `on_disk` is there when the files
# say something else.
type Setting (key: string, value: ?object, source: string, file: ?string, line: ?int, on_disk: ?object)

# A table (supervisor, control, notify) or a program. `on_disk` is same, changed, added, removed or unknown.
type Section (table: ?string, program: ?string, on_disk: string, settings: []Setting)

type Event (
  seq: int,
  time: string,
  severity: string,
  kind: string,
  host: string,
  program: ?string,
  process: ?string,
  pid: ?int,
  user: ?string,
  from: ?string,
  to: ?string,
  code: ?int,
  signal: ?string,
  core_dumped: ?bool,
  uptime_seconds: ?float,
  restarts: ?int,
  try: ?int,
  tries_max: ?int,
  stage: ?string,
  errno: ?int,
  channel: ?string,
  message: ?string
)

type ChannelProblem (channel: string, seconds: int, cause: string)

type AlertChannel (
  channel: string,
  failing_seconds: ?int,
  cause: ?string,
  waiting: int,
  sent: int,
  failed: int,
  dropped: int,
  last_success: ?string,
  next_try_seconds: ?int
)

type AlertMessage (id: string, channel: string, subject: string, time: string, tries: int, reason: ?string)

type TestResult (channel: string, failure: ?string)

type Silenced (id: string, selector: string, until: string, reason: string, by: string)

# The processes that the selectors name; without selectors, all. The channels are those by which no alert
# gets through, and `spool` while alerts cannot be saved, for clients that may know the status of everything.
method Status(selectors: ?[]string) -> (processes: []Process, channels: []ChannelProblem)

# More about these processes, at most 32 of them.
method Details(selectors: []string) -> (processes: []ProcessDetails)

# What these run with and what of the boundary around them is missing, some processes an answer: go on
# with `after` as long as `next` is not null.
method Security(selectors: ?[]string, after: ?string) -> (programs: []ProgramSecurity, next: ?string)

# With `more`, results come as they are there, and first the names of those that are waited for.
method Start(selectors: []string, wait: ?bool) -> (results: []ChangeResult, waiting: []string)
method Stop(selectors: []string, wait: ?bool) -> (results: []ChangeResult, waiting: []string)
method Restart(selectors: []string, wait: ?bool) -> (results: []ChangeResult, waiting: []string)

# A signal by name or number, to the main process of each.
method Signal(signal: string, selectors: []string) -> (results: []ChangeResult, waiting: []string)

# Reads the configuration again; dry_run only says what would happen. With programs, only these are
# brought to what the files say, and everything else stays as it is. With wait, the answer comes when what
# is removed or restarted has stopped.
method Reload(dry_run: ?bool, programs: ?[]string, wait: ?bool) -> (
  plan: Plan,
  warnings: []string,
  changes: []ProgramChange,
  settings: []string
)

# Takes programs of the files that are not in force: added or already_added.
method Add(programs: []string) -> (results: []ProgramResult)

# Takes programs out of force, where nothing of them runs: removed or still_running. The files stay as they
# are, and the next Reload or Add takes such a program again.
method Remove(programs: []string) -> (results: []ProgramResult)

# What is in force, where it comes from, and what the files on disk say instead. Without programs, all that
# the caller may `config`, some programs an answer: go on with `after` as long as `next` is not null.
# What may be a secret is hidden.
method Config(programs: ?[]string, after: ?string) -> (sections: []Section, fault: ?string, next: ?string)

# Opens every log file anew.
method Reopen() -> ()

# The last lines, and with `more` and follow what comes after; channel is stdout, stderr or both. `outputs` is
# of how many outputs there are lines here. The connection ends with the answer.
method Tail(selectors: []string, channel: ?string, lines: ?int, follow: ?bool) -> (
  process: string,
  channel: string,
  outputs: int,
  text: string
)

# Looks on at a running process and types to it. Needs a call with `upgrade`: after the reply both sides go on
# with frames of a letter, two bytes for the length (big-endian, at most 16384) and that many bytes. From the
# client: i input, r rows and columns (two bytes each), w draw the screen anew, d leave. To the client: o output
# of the program, n a sentence for the user, e the end: x the program has ended, l left, c cut off, f nonsense was
# sent; then a sentence.
method Attach(process: string, read_only: ?bool, share: ?bool, rows: ?int, columns: ?int) -> (
  process: string,
  terminal: bool,
  writes: bool,
  reason: ?string
)

# Empties the log files of these, and what Tail remembers: of one output, or of both. Files that were rotated
# stay.
method Clear(selectors: []string, channel: ?string) -> (results: []ChangeResult, waiting: []string)

# Recent events, and with `more` and follow those to come.
method Events(follow: ?bool, since: ?int, since_time: ?string, selectors: ?[]string) -> (
  events: []Event,
  lost: int,
  forgotten: bool
)

# The alert channels, what waits to be sent, and what was given up.
method NotifyQueue() -> (
  channels: []AlertChannel,
  waiting: []AlertMessage,
  dead: []AlertMessage,
  spool_failure: ?string
)

# A test message on one channel, or on all. With `more`, first the lines of the conversations with servers.
method NotifyTest(channel: ?string) -> (line: ?string, results: []TestResult)

# Sends these messages at once, dead ones again; without ids, all.
method NotifyRetry(ids: ?[]string) -> (count: int)

# Throws these messages away; without ids, all dead ones.
method NotifyDrop(ids: ?[]string) -> (count: int)

# Keeps alerts about what the selector names back, for so many seconds.
method Silence(selector: string, seconds: int, reason: ?string) -> (silence: Silenced)

# Ends the silence of this id, or those with this selector.
method Unsilence(silence: string) -> (count: int)

method Silences() -> (silences: []Silenced)

method Version() -> (version: string, pid: int)

# Stops every program, then the supervisor. Answers when it begins.
method Shutdown() -> ()

error NoSuchProgram (selector: string, suggestion: ?string)
error NoSuch (thing: string, name: string, suggestion: ?string)
error NotPermitted (verb: string, rule: string)
error ConfigRejected (faults: string)
error ShuttingDown ()
error Failed (message: string)
error Busy (message: string)
";

#[cfg(test)]
#[path = "description_tests.rs"]
mod description_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_error_stands_in_the_description() {
        for method in Method::ALL {
            assert!(DESCRIPTION.contains(&format!("method {}(", method.name())), "{}", method.name());
            let verb = match method {
                Method::Events | Method::Details | Method::Security => "status".to_owned(),
                Method::Silence | Method::Unsilence | Method::Silences => "notify".to_owned(),
                Method::Add | Method::Remove => "reload".to_owned(),
                notify if notify.name().starts_with("Notify") => "notify".to_owned(),
                _ => method.name().to_lowercase(),
            };
            assert_eq!(method.verb().name(), verb);
        }
        for error in ["NoSuchProgram", "NoSuch", "NotPermitted", "ConfigRejected", "ShuttingDown", "Failed", "Busy"] {
            assert!(DESCRIPTION.contains(&format!("error {error} (")), "{error}");
        }
    }

    #[test]
    fn a_refusal_is_a_varlink_error_with_its_parameters() {
        let refusal = Refusal::NoSuchProgram { selector: "wbe".to_owned(), suggestion: Some("web".to_owned()) };
        let json = serde_json::to_string(&refusal).expect("serialises");
        assert_eq!(
            json,
            r#"{"error":"io.taskmaster.Control.NoSuchProgram","parameters":{"selector":"wbe","suggestion":"web"}}"#
        );
        assert_eq!(serde_json::from_str::<Refusal>(&json).expect("reads back"), refusal);
    }

    #[test]
    fn a_last_exit_has_a_code_or_a_signal_never_both() {
        let at = WallTime::from_millisecond(0).expect("in range");
        let code = LastExit { code: Some(3), signal: None, core_dumped: false, at };
        assert_eq!(
            serde_json::to_string(&code).expect("serialises"),
            r#"{"code":3,"core_dumped":false,"at":"1970-01-01T00:00:00.000Z"}"#
        );
    }
}
