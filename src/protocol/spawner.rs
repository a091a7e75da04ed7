//! Core ↔ spawner, and what a clone of the spawner reports about its own start.
//!
//! Descriptors travel beside the messages, in the order their documentation gives. A clone reports on a
//! socket of its own, which the core polls and never waits for; the socket closes on exec, so that its
//! end without a failure means that the program runs.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::boundary::Grant;
use crate::model::capability::CapabilitySet;
use crate::model::id::Account;
use crate::model::program::{IoPriority, Keyring, Limit, OnSupervisorDeath, Resource, RestrictPaths};
use crate::model::stage::{Stage, StartFailure};
use crate::model::template::Template;

/// The core's name for one request; never used twice in a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub u64);

/// Core → spawner: clone yourself once and let the clone do this.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Request {
    pub ticket: Ticket,
    /// A descriptor of the control group to be born in comes behind the report socket.
    pub cgroup: bool,
    pub job: Job,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Descriptors: report socket, then one for each of `StartSpec::descriptors`.
    Start(Box<StartSpec>),
    /// Descriptors: report socket, the log file as it is open now.
    Files(FilesSpec),
    /// Descriptors: report socket, then what [`Packing`] says.
    Pack(PackSpec),
    /// Wait until these are on disk. Descriptors: report socket, then files and directories.
    Sync,
}

/// All that is needed to become a program.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StartSpec {
    pub command: Command,
    pub identity: Identity,
    /// Uids of the supervisor's own workers, by whatever name: no program runs as one of them.
    pub kept_uids: Vec<u32>,
    pub umask: u32,
    /// `None`: stay where the supervisor is.
    pub workingdir: Option<Template>,
    /// In order; later ones win. With `login_environment`, after USER LOGNAME HOME SHELL PATH.
    pub env: Vec<(Bytes, Template)>,
    /// Variables of the supervisor's own that are passed on, before everything else.
    pub inherited: Vec<(Bytes, Bytes)>,
    /// They were asked for by name, and are not replaced by those of the login.
    pub inherited_by_name: bool,
    pub login_environment: bool,
    /// `None`: yes, unless the user is root.
    pub no_new_privileges: Option<bool>,
    pub limits: Vec<(Resource, Limit)>,
    pub capabilities: Option<CapabilitySet>,
    /// `None`: `capabilities`; for root without those, all.
    pub capability_bounding: Option<CapabilitySet>,
    /// `None`: a private one, unless a filter denies keyctl(2) as a whole, as those of containers do.
    pub keyring: Option<Keyring>,
    pub mdwe: bool,
    /// Needs `no_new_privileges`.
    pub restrict_paths: Option<RestrictPaths>,
    pub ioprio: Option<IoPriority>,
    pub cpu_affinity: Option<BTreeSet<u16>>,
    pub nice: Option<i32>,
    pub oom_score_adj: Option<i32>,
    pub on_supervisor_death: OnSupervisorDeath,
    /// The stop signal's number, sent by the kernel when the core dies.
    pub death_signal: i32,
    /// The first passed descriptor becomes the controlling terminal.
    pub tty: bool,
    /// Where each passed descriptor goes; standard ones that are not named get /dev/null.
    pub descriptors: Vec<Target>,
    /// Log files to open; their descriptors come back in [`Report::Opened`].
    pub files: Vec<OpenFile>,
    /// Every log file it has, those that are open already included: to be judged, not opened.
    pub logs: Vec<Template>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The words; a first word without a slash is looked up in the program's PATH, as the user.
    Words(Vec<Template>),
    /// One of our own workers: the first passed descriptor after the report socket is the executable.
    Worker { name: String, argument: Option<String> },
}

/// As whom it runs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// As the supervisor itself: nothing is changed.
    Unchanged,
    /// As this account, looked up now.
    Account { user: Account, group: Option<Account>, groups: Option<Vec<Account>> },
    /// As a worker: these numbers, no supplementary groups, no account needed.
    Worker { uid: u32, gid: u32 },
}

/// The number a passed descriptor gets in the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Target(pub i32);

/// One log file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OpenFile {
    /// The core's name for the file.
    pub sink: SinkId,
    pub path: Template,
    /// Of a new file in root's directories, which is of the program's group; one that comes in the place of another
    /// is like that.
    pub mode: u32,
}

/// The core's name for one log file, whoever writes to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SinkId(pub u64);

/// A log file to open anew, rotated before if it still has its name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FilesSpec {
    pub identity: Identity,
    pub file: OpenFile,
    /// Shift `.1` … first; `None` only opens.
    pub rotate: Option<Rotate>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rotate {
    /// So many rotated files are kept.
    pub keep: u32,
    /// They are compressed. If not, the beginning of one that somebody left who died is removed.
    pub compress: bool,
}

/// A step of the compression of a rotated file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PackSpec {
    pub identity: Identity,
    pub file: OpenFile,
    /// How many rotated files there are, at most.
    pub keep: u32,
    pub step: Packing,
}

/// `bytes`: how many of the rotated file were compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// Open the next one. In [`Report::Opened`], if there is one: it, where to compress it to, and their
    /// directory, if it can be read.
    Open,
    /// Give the compressed file its name. Descriptors: the first two of those.
    Put { bytes: u64 },
    /// Remove the other. The same descriptors.
    Remove { bytes: u64 },
    /// Remove what is not complete.
    Discard,
}

/// Spawner → core, at once after the clone. Descriptor with `Cloned`: the pidfd.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Cloned { ticket: Ticket, pid: i32 },
    Failed { ticket: Ticket, failure: StartFailure },
}

/// Clone → core, on the report socket.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The first word. It carries the sender's number as the kernel knows it, should the spawner die
    /// before it could tell.
    Born,
    /// Log files that are open now; their descriptors in the same order.
    Opened {
        sinks: Vec<SinkId>,
    },
    /// A step begins that others can make last: an account database, a network directory.
    Reached(Stage),
    /// `restrict_paths` is not enforced as asked, and this is why; the start goes on.
    Unrestricted(String),
    /// What a program has been given, once no step is left that could change it.
    Granted(Box<Grant>),
    /// The next thing is execve; what ends the socket now is its success.
    Executing,
    Failed(StartFailure),
}

/// Bytes that are nearly always text: text as a string, anything else as a list of numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    Text(String),
    Raw(Vec<u8>),
}

impl Bytes {
    pub fn new(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Raw(error.into_bytes()), Self::Text)
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Raw(bytes) => bytes,
        }
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
