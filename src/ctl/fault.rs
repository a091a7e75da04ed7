//! Why a command did not get to its end, with the words and the exit code for the user.
#![forbid(unsafe_code)]

use std::io;
use std::time::Duration;

use super::client::ClientError;
use crate::model::time::human;

/// Why no command came of the words.
#[derive(Debug, PartialEq)]
pub enum ParseFault {
    /// Not a fault: help or the version was asked for.
    Shown(String),
    /// One line for the user.
    Usage(String),
}

/// Why a command did not get to its end.
#[derive(Debug)]
pub enum Failure {
    Client(ClientError),
    /// The order was given, but nobody waits for its result any more: whose, if that is known.
    Left(Option<String>),
    /// The time to wait is over, and these have not got there.
    Late {
        waiting: String,
        limit: Duration,
    },
    /// As `Left`, and all has been said.
    LeftTold,
    /// Standard output took no more.
    Output(io::Error),
    Usage(String),
    /// Everything has been said already.
    Told(u8),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) => error.exit_code(),
            Self::Left(_) | Self::LeftTold | Self::Late { .. } => 1,
            // `taskmasterctl … | head` has what it wanted.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::Told(code) => *code,
        }
    }

    /// The same without a line to say.
    #[must_use]
    pub fn told(self) -> Self {
        match self {
            Self::Left(_) => Self::LeftTold,
            other => Self::Told(other.exit_code()),
        }
    }

    /// The line for the user, if there is something to say.
    pub fn message(&self) -> Option<String> {
        match self {
            Self::Client(ClientError::Interrupted) | Self::Told(_) | Self::LeftTold => None,
            Self::Client(error) => Some(error.to_string()),
            Self::Left(names) => {
                let names = names.as_ref().map(|names| format!(" for {names}")).unwrap_or_default();
                Some(format!("no longer waiting{names}; the order stands, `status` shows how it goes"))
            }
            Self::Late { waiting, limit } => {
                let limit = human(*limit);
                Some(format!("not within {limit}: {waiting}; the order stands, `status` shows how it goes"))
            }
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Output(error) => Some(format!("cannot write the output: {error}")),
            Self::Usage(line) => Some(line.clone()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
