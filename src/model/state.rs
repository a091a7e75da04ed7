//! The states of a process, with the names and codes of supervisord, and what is wanted of it.
//!
//! *Wanted* is kept apart from *state*: a process can be BACKOFF and wanted up, or STOPPING and wanted
//! up again (a restart).
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a process is in its life. Names and codes are supervisord's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Not running; stopped by a person or never started.
    Stopped,
    /// Asked for, or executed for less than `starttime`.
    Starting,
    /// Alive for at least `starttime`.
    Running,
    /// Ended while STARTING, or could not be executed; waits for the next try.
    Backoff,
    /// Told to stop, not gone yet.
    Stopping,
    /// Ended by itself after it had been RUNNING.
    Exited,
    /// Given up: it will not be started again without a person.
    Fatal,
}

impl State {
    /// supervisord's number of the state.
    pub fn code(self) -> u32 {
        match self {
            Self::Stopped => 0,
            Self::Starting => 10,
            Self::Running => 20,
            Self::Backoff => 30,
            Self::Stopping => 40,
            Self::Exited => 100,
            Self::Fatal => 200,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Backoff => "BACKOFF",
            Self::Stopping => "STOPPING",
            Self::Exited => "EXITED",
            Self::Fatal => "FATAL",
        }
    }

    /// No process exists and none will without being asked for (supervisord's "stopped" set).
    pub fn is_at_rest(self) -> bool {
        matches!(self, Self::Stopped | Self::Exited | Self::Fatal)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is wanted of a process, whatever state it is in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    Up,
    Down,
}
