//! How a process ended.
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};

use super::signal::Signal;

/// The status a process ended with, as waitid(2) tells it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It called exit; 0 to 255.
    Code(u8),
    /// A signal ended it.
    Signal { signal: Signal, core_dumped: bool },
}

impl ExitStatus {
    pub fn code(self) -> Option<u8> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal { .. } => None,
        }
    }

    pub fn signal(self) -> Option<Signal> {
        match self {
            Self::Code(_) => None,
            Self::Signal { signal, .. } => Some(signal),
        }
    }

    pub fn core_dumped(self) -> bool {
        matches!(self, Self::Signal { core_dumped: true, .. })
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal { signal, core_dumped: false } => write!(f, "terminated by SIG{signal}"),
            Self::Signal { signal, core_dumped: true } => write!(f, "terminated by SIG{signal}, core dumped"),
        }
    }
}
