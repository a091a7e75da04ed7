//! The part of `io.taskmaster.Control` that is about alerts: what waits, tests, silences.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use super::notifier::{self, QueueReport, optional_time};
pub use super::notifier::{MessageReport, Silence, TestResult};
use crate::model::id::ChannelName;
use crate::model::notify::{self, Health, SILENCE_TEXT_MAX};
use crate::model::time::WallTime;

/// The longest selector, reason of a silence or id, in bytes.
pub const TEXT_MAX: usize = SILENCE_TEXT_MAX;
/// The most messages that one command names.
pub const IDS_MAX: usize = 1000;
/// The longest silence, in seconds: 366 days.
pub const SILENCE_MAX: u64 = notify::SILENCE_MAX.as_secs();

/// Stands for the spool among the channels with problems: no channel has this name.
pub const SPOOL: &str = "spool";

/// A channel by which nothing gets through, or [`SPOOL`], which takes nothing: part of `Status`, for who may know the status of everything.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChannelProblem {
    pub channel: ChannelName,
    /// Since so long.
    pub seconds: u64,
    pub cause: String,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct NotifyQueueReply {
    pub channels: Vec<AlertChannel>,
    pub waiting: Vec<MessageReport>,
    /// Given up; kept until they are sent again or dropped.
    pub dead: Vec<MessageReport>,
    /// Why alerts cannot be kept on disk, while that is so.
    pub spool_failure: Option<String>,
}

/// One channel, and its counts since the notifier's start.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlertChannel {
    pub channel: ChannelName,
    /// Null while it is well.
    pub failing_seconds: Option<u64>,
    pub cause: Option<String>,
    pub waiting: u64,
    pub sent: u64,
    pub failed: u64,
    pub dropped: u64,
    #[serde(with = "optional_time", default)]
    pub last_success: Option<WallTime>,
    pub next_try_seconds: Option<u64>,
}

impl From<QueueReport> for NotifyQueueReply {
    fn from(report: QueueReport) -> Self {
        let QueueReport { channels, waiting, dead, spool_failure } = report;
        Self { channels: channels.into_iter().map(AlertChannel::from).collect(), waiting, dead, spool_failure }
    }
}

impl From<notifier::ChannelReport> for AlertChannel {
    fn from(report: notifier::ChannelReport) -> Self {
        let (failing_seconds, cause) = match report.health {
            Health::Well => (None, None),
            Health::Failing { seconds, cause } => (Some(seconds), Some(cause)),
        };
        Self {
            channel: report.channel,
            failing_seconds,
            cause,
            waiting: report.waiting,
            sent: report.sent,
            failed: report.failed,
            dropped: report.dropped,
            last_success: report.last_success,
            next_try_seconds: report.next_try_seconds,
        }
    }
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyTestCall {
    /// None: all.
    #[serde(default)]
    pub channel: Option<ChannelName>,
}

/// With `more` first each line of the conversation with a server, then the results.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct NotifyTestReply {
    #[serde(default)]
    pub line: Option<String>,
    #[serde(default)]
    pub results: Vec<TestResult>,
}

/// Of messages; none means all that are dead (drop), and all that wait, too (retry).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyIdsCall {
    #[serde(default)]
    pub ids: Vec<String>,
}

/// So many messages or silences.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NotifyCountReply {
    pub count: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceCall {
    pub selector: String,
    /// 1 to [`SILENCE_MAX`].
    pub seconds: u64,
    #[serde(default)]
    pub reason: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SilenceReply {
    pub silence: Silence,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsilenceCall {
    /// An id or a selector.
    pub silence: String,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct SilencesReply {
    pub silences: Vec<Silence>,
}

/// What a name in a command was thought to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Thing {
    Channel,
    Message,
    Silence,
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Channel => "channel",
            Self::Message => "message",
            Self::Silence => "silence",
        })
    }
}
