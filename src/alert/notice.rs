//! What is to be told on one channel to one set of recipients: the facts, before any words.
//!
//! A [`Notice`] is made once by the pipeline, stands in the spool as it is, and becomes a mail or a
//! request body whenever it is sent; its ids are the same each time.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::model::event::{Event, Severity, wall_time};
use crate::model::id::ChannelName;
use crate::model::id::ProgramName;
use crate::model::state::State;
use crate::model::time::WallTime;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// Unique for ever, safe as a file name and in a Message-ID: `20261120T081203-4f2a9c-17`.
    pub id: String,
    pub channel: ChannelName,
    /// Mail addresses instead of the channel's own; empty: the channel's.
    pub recipients: Vec<String>,
    pub host: String,
    #[serde(with = "wall_time")]
    pub made_at: WallTime,
    pub purpose: Purpose,
    /// The worst of the items.
    pub severity: Severity,
    /// The most severe first; several make a digest. Bounded ([`ITEMS_MAX`]).
    pub items: Vec<Item>,
    /// Items beyond the bound.
    pub more_items: u64,
    /// The id of the first notice of all these incidents, when this is a later one of just them: mails make a
    /// thread of it.
    pub root: Option<String>,
    /// Notices that were dropped on this channel since its last one.
    pub dropped: u64,
}

/// How many incidents one notice tells of in full.
pub const ITEMS_MAX: usize = 50;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Something is wrong: the first notice of an incident, or what happened since the last one.
    Problem,
    /// Still wrong.
    Reminder,
    /// It comes and goes.
    Flapping,
    /// All items have ended.
    Recovery,
    /// Events that are no incident: a rejected configuration, a denied command.
    Occurrence,
    Test,
}

/// One incident as far as it is told here: a program from its first bad event until it is well; or one
/// kind of event that has no end.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Unique for ever; the Alertmanager fingerprint and the thread of mails hang on it.
    pub incident: String,
    pub program: Option<ProgramName>,
    pub group_name: Option<String>,
    pub severity: Severity,
    /// As it was told first.
    #[serde(default)]
    pub first_severity: Option<Severity>,
    /// The worst event since the last notice, or the last bad one.
    pub event: Event,
    #[serde(with = "wall_time")]
    pub started_at: WallTime,
    /// When the last event was seen.
    #[serde(with = "wall_time")]
    pub last_at: WallTime,
    /// Bad events of the incident in all, and since the last notice about it.
    pub count: u64,
    pub new: u64,
    /// The processes that had bad events, as people see their names, at most 20.
    pub processes: Vec<String>,
    /// Of the event's process, as last heard: what happened next.
    pub state: Option<State>,
    /// Last lines of standard error of the process that died.
    pub output: Option<Output>,
    pub is_flapping: bool,
    /// While it flaps.
    #[serde(default)]
    pub flaps: Option<Flaps>,
    /// It was told before, and has grown no worse since: only the counts may have.
    #[serde(default)]
    pub goes_on: bool,
    pub ended: Option<Ended>,
}

/// What makes it flapping: incidents of one program within `flap_window`, this one too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flaps {
    pub incidents: u64,
    /// Bad events of all of them.
    pub count: u64,
    /// When the first of them began.
    #[serde(with = "wall_time")]
    pub since: WallTime,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ended {
    #[serde(with = "wall_time")]
    pub at: WallTime,
    pub how: End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// RUNNING for `recovery_after`.
    Recovered,
    /// Stopped by somebody.
    Stopped,
    /// It has exited as expected.
    Exited,
    /// No longer configured.
    Removed,
    /// An occurrence has no length.
    Momentary,
}

/// The last lines, as they were written: not yet safe to show.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Output {
    /// Oldest first, without line ends; what was not UTF-8 is replaced. Bounded (`model::notify`).
    pub lines: Vec<String>,
    /// The process wrote more than is shown here.
    pub is_cut: bool,
}
