//! What there is and how it is: processes, all about one, and what of its boundary is missing.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Channel;
use crate::model::boundary::{Check, Grant, Level, Live, Settings, octal};
use crate::model::event::wall_time;
use crate::model::id::{Gid, ProgramName};
use crate::model::program::{Limit, Resource};
use crate::model::signal::Signal;
use crate::model::state::{State, Wanted};
use crate::model::time::WallTime;
use crate::protocol::alerting::ChannelProblem;

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

#[cfg(test)]
mod tests {
    use super::*;

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
