//! A program as it is configured, in two halves that a reload treats differently: [`Execution`], what
//! is executed and as whom (a change restarts the program), and [`Watch`], how it is watched (a change
//! takes effect on the running process).
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::capability::CapabilitySet;
use super::id::{Account, ProgramName};
use super::notify::Alerts;
use super::signal::Signal;
use super::template::Template;

/// The most processes one program can have.
pub const NUMPROCS_MAX: u32 = 10_000;

/// One `[programs.NAME]`, validated, defaults filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct Program {
    pub name: ProgramName,
    /// How many processes: 1 to [`NUMPROCS_MAX`].
    pub numprocs: u32,
    /// A name for several programs together.
    pub group_name: Option<String>,
    pub exec: Execution,
    pub watch: Watch,
    /// Whom its alerts reach. A change here takes effect with its next event.
    pub alerts: Alerts,
}

/// What is executed. A change here restarts the program's processes.
#[derive(Clone, PartialEq, Debug)]
pub struct Execution {
    /// The words of the command; the first is the program file. Never empty.
    pub cmd: Vec<Template>,
    /// `None`: the supervisor's own user (only when it does not run as root).
    pub user: Option<Account>,
    /// `None`: the user's primary group.
    pub group: Option<Account>,
    /// `None`: the user's supplementary groups.
    pub groups: Option<Vec<Account>>,
    /// 0 to 0o777.
    pub umask: u32,
    /// `None`: `/` for another user, else the supervisor's own directory.
    pub workingdir: Option<Template>,
    pub env: BTreeMap<String, Template>,
    pub inherit_env: InheritEnv,
    /// `None`: yes, unless the user is root.
    pub no_new_privileges: Option<bool>,
    pub limits: BTreeMap<Resource, Limit>,
    /// Kept as ambient capabilities; everything else is dropped. `None`: not configured, which is none for
    /// any user but root.
    pub capabilities: Option<CapabilitySet>,
    /// What the program and all it starts can ever have. `None`: `capabilities`; for root, all.
    pub capability_bounding: Option<CapabilitySet>,
    /// -20 to 19.
    pub nice: Option<i32>,
    pub ioprio: Option<IoPriority>,
    /// The processors it may run on, from 0.
    pub cpu_affinity: Option<BTreeSet<u16>>,
    /// `None`: private when it runs as another user, else inherited.
    pub keyring: Option<Keyring>,
    /// Memory is never made executable once it was writable (PR_SET_MDWE).
    pub mdwe: bool,
    /// `None`: whatever its user may open.
    pub restrict_paths: Option<RestrictPaths>,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    pub on_supervisor_death: OnSupervisorDeath,
    /// It has a pseudo-terminal, to which standard error goes, too.
    pub tty: bool,
    /// Without a terminal.
    pub stdin: StdinSource,
    pub stdout: Output,
    pub stderr: ErrorOutput,
}

/// What a program without a terminal reads as its standard input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StdinSource {
    /// Nothing.
    Null,
    /// What is typed by who attaches to it.
    Attach,
}

impl StdinSource {
    pub const ALL: [Self; 2] = [Self::Null, Self::Attach];

    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Attach => "attach",
        }
    }
}

/// How it is watched. A change here takes effect without a restart.
#[derive(Clone, PartialEq, Debug)]
pub struct Watch {
    pub autostart: bool,
    pub autorestart: AutoRestart,
    /// The exit codes that are expected.
    pub exitcodes: BTreeSet<u8>,
    /// Alive this long after exec means RUNNING; zero: at once.
    pub starttime: Duration,
    /// Failed tries after the first before FATAL.
    pub startretries: u32,
    pub stopsignal: Signal,
    /// From the stop signal to SIGKILL.
    pub stoptime: Duration,
    pub kill_mode: KillMode,
    pub backoff: Backoff,
    pub restart_limit: Option<RestartLimit>,
    /// Lower starts earlier and stops later.
    pub priority: i32,
    /// Bytes; 0 never rotates.
    pub log_maxbytes: u64,
    /// How many rotated files are kept.
    pub log_backups: u32,
    /// They are compressed.
    pub log_compress: bool,
    /// Each line of a log begins with the time.
    pub log_timestamps: bool,
    /// Escape sequences of terminals stay out of logs.
    pub strip_ansi: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AutoRestart {
    Always,
    Never,
    Unexpected,
}

/// Which variables of the supervisor's own environment a program gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InheritEnv {
    /// All when it runs as the supervisor's user, none otherwise.
    Default,
    All,
    Only(BTreeSet<String>),
}

/// Who of a program's processes gets its stop signal and SIGKILL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KillMode {
    /// Every process that came of it; what is left when the main process ends is killed.
    Tree,
    /// Its process group, on a stop only.
    Group,
    /// The main process only.
    Process,
}

/// The priority of disk access (ioprio_set(2)), with the names of systemd's IOSchedulingClass=.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IoPriority {
    /// 0 (first) to 7.
    Realtime(u8),
    /// 0 (first) to 7.
    BestEffort(u8),
    Idle,
}

/// The session keyring (keyrings(7)), with the names of systemd's KeyringMode=.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keyring {
    /// A new one of its own.
    Private,
    /// The supervisor's.
    Inherit,
}

/// The files that are left to a program and all it starts (landlock(7)): what lies in no listed path cannot
/// be read, written or executed, whatever its user may do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RestrictPaths {
    /// Files are read and directories listed.
    pub read: Vec<ListedPath>,
    /// The same, and files are written, made, removed, renamed; but no device files are made.
    pub write: Vec<ListedPath>,
    /// Files are read and executed. Never empty.
    pub execute: Vec<ListedPath>,
    pub on_unsupported: OnUnsupported,
}

impl RestrictPaths {
    /// The same with every path changed by `change`.
    #[must_use]
    pub fn map(&self, change: impl Fn(&Template) -> Template) -> Self {
        let all = |paths: &[ListedPath]| {
            paths.iter().map(|listed| ListedPath { path: change(&listed.path), optional: listed.optional }).collect()
        };
        let Self { read, write, execute, on_unsupported } = self;
        Self { read: all(read), write: all(write), execute: all(execute), on_unsupported: *on_unsupported }
    }
}

/// A file, or a directory with all that is in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListedPath {
    pub path: Template,
    /// Passed over when it does not exist.
    pub optional: bool,
}

/// What happens when the kernel cannot enforce what is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnsupported {
    /// The start fails.
    Refuse,
    /// As much as the kernel can, and an event that says what is missing.
    BestEffort,
}

/// The most processors that can be named.
pub const PROCESSORS_MAX: u16 = 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSupervisorDeath {
    Stop,
    Keep,
}

/// The delay before try n: `initial`, then each time multiplied by `factor` and increased by `step`, at
/// most `max`, varied by ±`jitter` (a fraction).
#[derive(Clone, PartialEq, Debug)]
pub struct Backoff {
    pub initial: Duration,
    /// 1.0 to 100.
    pub factor: f64,
    pub step: Duration,
    pub max: Duration,
    /// 0.0 to 1.0.
    pub jitter: f64,
}

/// supervisord's rule: 1 s, 2 s, 3 s …, here at most 60 s.
impl Default for Backoff {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { initial: second, factor: 1.0, step: second, max: Duration::from_secs(60), jitter: 0.0 }
    }
}

/// At most `burst` automatic restarts within `interval`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestartLimit {
    /// 1 to 1000.
    pub burst: u32,
    pub interval: Duration,
}

/// Where standard output goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// A file of its own in `log_dir`.
    Auto,
    File(Template),
    /// The supervisor's own standard output, in lines that name the process.
    Console,
    /// The local log daemon, a message a line.
    Syslog,
    Discard,
}

/// Where standard error goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ErrorOutput {
    /// The same pipe as standard output.
    Stdout,
    Own(Output),
}

macro_rules! resources {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// A resource of setrlimit(2), named as there without `RLIMIT_`, in lower case.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Resource { $($variant),* }

        impl Resource {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

resources! {
    As "as", Core "core", Cpu "cpu", Data "data", Fsize "fsize", Locks "locks", Memlock "memlock",
    Msgqueue "msgqueue", Nice "nice", Nofile "nofile", Nproc "nproc", Rss "rss", Rtprio "rtprio",
    Rttime "rttime", Sigpending "sigpending", Stack "stack",
}

/// Soft and hard limit; `None` is unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limit {
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

#[cfg(test)]
pub mod testing {
    //! A program for tests, with the documented defaults.
    use super::*;

    pub fn program(name: &str) -> Program {
        Program {
            name: ProgramName::new(name).expect("a program name"),
            numprocs: 1,
            group_name: None,
            exec: Execution {
                cmd: vec![Template::literal("/bin/true")],
                user: None,
                group: None,
                groups: None,
                umask: 0o022,
                workingdir: None,
                env: BTreeMap::new(),
                inherit_env: InheritEnv::Default,
                no_new_privileges: None,
                limits: BTreeMap::new(),
                capabilities: None,
                capability_bounding: None,
                nice: None,
                ioprio: None,
                cpu_affinity: None,
                keyring: None,
                mdwe: false,
                restrict_paths: None,
                oom_score_adj: None,
                on_supervisor_death: OnSupervisorDeath::Stop,
                tty: false,
                stdin: StdinSource::Null,
                stdout: Output::Auto,
                stderr: ErrorOutput::Own(Output::Auto),
            },
            watch: Watch {
                autostart: true,
                autorestart: AutoRestart::Unexpected,
                exitcodes: BTreeSet::from([0]),
                starttime: Duration::from_secs(1),
                startretries: 3,
                stopsignal: Signal::TERM,
                stoptime: Duration::from_secs(10),
                kill_mode: KillMode::Tree,
                backoff: Backoff::default(),
                restart_limit: None,
                priority: 999,
                log_maxbytes: 50 << 20,
                log_backups: 10,
                log_compress: false,
                log_timestamps: false,
                strip_ansi: false,
            },
            alerts: Alerts::default(),
        }
    }
}
