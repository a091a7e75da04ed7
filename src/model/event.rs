//! Life-cycle events: what happened, to whom, when, with everything a person needs to act on it.
//!
//! The names of kinds and fields are part of the contract: they appear in the event log, in alerts and
//! on the control socket.
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::{ChannelName, ProgramName};
use super::signal::Signal;
use super::stage::Stage;
use super::state::State;
use super::time::WallTime;

/// How bad an event is; the order and the numbers are syslog's (RFC 5424 §6.2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Crit,
    Err,
    Warning,
    Notice,
    Info,
}

impl Severity {
    /// The word in the text form of the event log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Crit => "CRIT",
            Self::Err => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
        }
    }
}

macro_rules! kinds {
    ($($variant:ident $name:literal $severity:ident),* $(,)?) => {
        /// What happened.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum Kind { $(#[serde(rename = $name)] $variant),* }

        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),* }
            }
        }
    };
}

kinds! {
    SupervisorStarted "supervisor.started" Notice,
    SupervisorStopping "supervisor.stopping" Notice,
    SupervisorStopped "supervisor.stopped" Notice,
    ConfigReloaded "config.reloaded" Notice,
    ConfigRejected "config.rejected" Err,
    ProcessStarting "process.starting" Notice,
    ProcessRunning "process.running" Info,
    ProcessBackoff "process.backoff" Warning,
    ProcessStopping "process.stopping" Notice,
    ProcessStopped "process.stopped" Notice,
    ProcessExited "process.exited" Notice,
    ProcessCrashed "process.crashed" Err,
    ProcessKilled "process.killed" Warning,
    ProcessFatal "process.fatal" Crit,
    ProcessStartFailed "process.start_failed" Err,
    ProcessUnrestricted "process.unrestricted" Warning,
    WorkerRestarted "worker.restarted" Warning,
    OutputDropped "output.dropped" Warning,
    OutputFailing "output.failing" Warning,
    OutputRecovered "output.recovered" Notice,
    ControlDenied "control.denied" Warning,
    NotifyFailing "notify.failing" Err,
    NotifyRecovered "notify.recovered" Notice,
    NotifyTest "notify.test" Notice,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How events stand in the event log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventLogFormat {
    #[default]
    Text,
    Json,
}

/// One event. Fields that do not apply are absent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 in each run of the supervisor, without gaps.
    pub seq: u64,
    #[serde(with = "wall_time")]
    pub time: WallTime,
    pub severity: Severity,
    pub kind: Kind,
    pub host: String,
    #[serde(flatten)]
    pub facts: Facts,
}

/// What is known about the process an event is about, and the message.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramName>,
    /// The name people see: `web`, or `web:0` of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_dumped: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<f64>,
    /// Automatic restarts since the supervisor started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u64>,
    /// Which retry, of `tries_max` (the program's `startretries`); 0 is the first try.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// Of `notify.failing` and `notify.recovered`, when one channel is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Facts {
    /// Facts of an event that is about no process.
    pub fn message(text: impl Into<String>) -> Self {
        Self { message: Some(text.into()), ..Self::default() }
    }
}

/// Wall time as RFC 3339 with milliseconds, for serde.
pub mod wall_time {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::time::{WallTime, rfc3339_millis};

    pub fn serialize<S: Serializer>(time: &WallTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339_millis(*time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WallTime, D::Error> {
        WallTime::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_json_object_without_absent_fields() {
        let event = Event {
            seq: 7,
            time: WallTime::from_millisecond(1_795_162_323_123).expect("in range"),
            severity: Kind::ProcessCrashed.severity(),
            kind: Kind::ProcessCrashed,
            host: "h1".to_owned(),
            facts: Facts {
                process: Some("web:0".to_owned()),
                to: Some(State::Exited),
                signal: Some(Signal::TERM),
                attempt: Some(2),
                ..Facts::default()
            },
        };
        let json = serde_json::to_string(&event).expect("serialises");
        assert_eq!(
            json,
            r#"{"seq":7,"time":"2026-11-20T08:12:03.123Z","severity":"err","kind":"process.crashed","host":"h1","process":"web:0","to":"EXITED","signal":"TERM","try":2}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&json).expect("reads back"), event);
    }
}
