//! What processes and the configuration are told, and what came of it.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::model::id::ProgramName;
use crate::model::plan::{Plan, ProgramOutcome};
use crate::model::settings::Section;

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
