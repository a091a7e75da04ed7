//! Core ↔ notifier. Events go one way, acknowledgements the other; what is not acknowledged is sent
//! again to the next notifier.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::model::event::{Event, EventLogFormat};

/// Core → notifier.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToNotifier {
    /// The event log. Descriptor: the file, open for reading and appending.
    EventLog { format: EventLogFormat },
    /// Where the supervisor was started: events are shown there, too. Descriptor: its standard error.
    Console,
    Event {
        event: Box<Event>,
        /// Sent to an earlier notifier, which may have written it before it died.
        again: bool,
    },
}

/// Notifier → core.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromNotifier {
    /// Ready to work: the first message, once.
    Ready,
    /// Everything up to this sequence number is written.
    Written {
        seq: u64,
    },
    /// The event log cannot be written (errno), or can again, after so many events that are missing there.
    LogFailing {
        errno: i32,
    },
    LogRecovered {
        missing: u64,
    },
}
