//! What happened, and goes on to.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::model::event::Event;

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
