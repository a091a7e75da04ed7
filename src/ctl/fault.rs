//! Why a command did not get to its end, with the words and the exit code for the user.
#![forbid(unsafe_code)]

use std::io;

use super::client::ClientError;

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
    /// The order was given, but nobody waits for its result any more.
    Left,
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
            Self::Left => 1,
            // `taskmasterctl … | head` has what it wanted.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::Told(code) => *code,
        }
    }

    /// The line for the user, if there is something to say.
    pub fn message(&self) -> Option<String> {
        match self {
            Self::Client(ClientError::Interrupted) | Self::Told(_) => None,
            Self::Client(error) => Some(error.to_string()),
            Self::Left => Some("no longer waiting; the order stands, `status` shows how it goes".to_owned()),
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
