//! One conversation with the supervisor: a call, and its answer or answers.
//!
//! Waiting is unlimited, because starting and stopping take as long as they take; Ctrl-C ends a wait where
//! the caller has taken it over. Whatever goes wrong is told in words that say what to do next.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::model::text::escaped;
use crate::protocol::control::{Method, Refusal};
use crate::protocol::frame::{Decoder, REPLY_MAX, TooLong, encode};
use crate::protocol::varlink::{Call, RawReply, Reply};
use crate::system::terminal::{Interrupts, Wake, wait};

/// Why a call has no answer that could be used.
#[derive(Debug)]
pub enum ClientError {
    /// No connection to this socket.
    Unreachable {
        socket: PathBuf,
        error: io::Error,
    },
    /// The connection ended before the answer did.
    Lost,
    Io(io::Error),
    /// The answer is longer than any this program understands.
    TooLong,
    /// The answer is not what the interface says.
    Nonsense(String),
    Refused(Refusal),
    /// An error that this version does not know.
    Unknown(String),
    /// Ctrl-C while waiting: the order may have been taken.
    Interrupted,
    /// No answer within the time that was set.
    Late,
}

impl ClientError {
    /// The exit code of `taskmasterctl`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => 5,
            Self::Unreachable { .. } | Self::Lost | Self::Late => 6,
            Self::Refused(Refusal::NoSuchProgram { .. } | Refusal::NoSuch { .. }) => 4,
            Self::Refused(Refusal::NotPermitted { .. }) => 5,
            Self::Refused(Refusal::InvalidParameter { .. }) => 2,
            Self::Refused(
                Refusal::ConfigRejected { .. }
                | Refusal::ShuttingDown {}
                | Refusal::Failed { .. }
                | Refusal::Busy { .. }
                | Refusal::MethodNotFound { .. }
                | Refusal::InterfaceNotFound { .. }
                | Refusal::MethodNotImplemented { .. },
            ) => 1,
            Self::Io(_) | Self::TooLong | Self::Nonsense(_) | Self::Unknown(_) | Self::Interrupted => 1,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { socket, error } => {
                let path = socket.to_string_lossy();
                let path = escaped(&path);
                match error.kind() {
                    io::ErrorKind::NotFound => write!(
                        f,
                        "cannot reach the supervisor: there is no socket {path}; start `taskmasterd`, or name its \
                         socket: `taskmasterctl -s SOCKET`"
                    ),
                    io::ErrorKind::ConnectionRefused => write!(
                        f,
                        "cannot reach the supervisor: nobody listens on {path}; start `taskmasterd`, or name its \
                         socket: `taskmasterctl -s SOCKET`"
                    ),
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "not permitted to use the socket {path}; join the group that owns it, or try \
                         `sudo taskmasterctl`"
                    ),
                    io::ErrorKind::TimedOut => {
                        write!(f, "cannot reach the supervisor: it takes no connections on {path}; is it stopped?")
                    }
                    _ => write!(f, "cannot reach the supervisor: {path}: {error}"),
                }
            }
            Self::Lost => write!(f, "the connection to the supervisor ended"),
            Self::Io(error) => write!(f, "talking to the supervisor: {error}"),
            Self::TooLong => write!(f, "the supervisor's answer is too long"),
            Self::Nonsense(what) => write!(f, "the supervisor's answer was not understood: {}", escaped(what)),
            Self::Refused(refusal) => refused(f, refusal),
            Self::Unknown(name) => write!(f, "the supervisor answered with the error {}", escaped(name)),
            Self::Interrupted => write!(f, "no longer waiting"),
            Self::Late => write!(f, "the supervisor does not answer"),
        }
    }
}

fn refused(f: &mut fmt::Formatter<'_>, refusal: &Refusal) -> fmt::Result {
    match refusal {
        Refusal::NoSuchProgram { selector, suggestion: Some(near) } => {
            write!(f, "no program `{}`; did you mean `{}`?", escaped(selector), escaped(near))
        }
        Refusal::NoSuchProgram { selector, suggestion: None } => write!(f, "no program `{}`", escaped(selector)),
        Refusal::NoSuch { thing, name, suggestion: Some(near) } => {
            write!(f, "no {thing} `{}`; did you mean `{}`?", escaped(name), escaped(near))
        }
        Refusal::NoSuch { thing, name, suggestion: None } => write!(f, "no {thing} `{}`", escaped(name)),
        Refusal::NotPermitted { verb, rule } => {
            write!(f, "not permitted to {}; what would allow it: {}", escaped(verb), escaped(rule))
        }
        Refusal::ConfigRejected { faults } => {
            let mut lines = faults.lines().map(escaped);
            f.write_str(&lines.next().unwrap_or_default())?;
            lines.try_for_each(|line| write!(f, "\n{line}"))
        }
        Refusal::ShuttingDown {} => write!(f, "the supervisor is shutting down"),
        Refusal::Failed { message } | Refusal::Busy { message } => f.write_str(&escaped(message)),
        Refusal::InvalidParameter { message: Some(message), .. } => f.write_str(&escaped(message)),
        Refusal::InvalidParameter { parameter, message: None } => {
            write!(f, "the supervisor does not accept `{}`", escaped(parameter))
        }
        Refusal::MethodNotFound { method: name }
        | Refusal::InterfaceNotFound { interface: name }
        | Refusal::MethodNotImplemented { method: name } => {
            write!(f, "this supervisor does not know {}", escaped(name))
        }
    }
}

/// One connection.
pub struct Client<'a> {
    stream: UnixStream,
    decoder: Decoder,
    interrupts: Option<&'a Interrupts>,
    patience: Option<Duration>,
}

impl<'a> Client<'a> {
    /// Over this connection; a wait ends at Ctrl-C if `interrupts` has it.
    pub fn new(stream: UnixStream, interrupts: Option<&'a Interrupts>) -> Self {
        Self { stream, decoder: Decoder::new(REPLY_MAX), interrupts, patience: None }
    }

    /// For questions that must not hold up the user: each wait ends after this time.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// Asks, and waits for the one answer. It may be long: it is read as it is.
    pub fn call<R: DeserializeOwned>(&mut self, method: Method, parameters: &impl Serialize) -> Result<R, ClientError> {
        self.send(method, parameters, false)?;
        self.read_reply(|frame| {
            let nonsense = |error: serde_json::Error| ClientError::Nonsense(error.to_string());
            let reply: RawReply<'_> = serde_json::from_slice(frame).map_err(nonsense)?;
            let parameters = reply.parameters.map_or("{}", RawValue::get);
            match reply.error {
                None if reply.continues => Err(more_than_one()),
                None => serde_json::from_str(parameters).map_err(nonsense),
                Some(name) => Err(error_of(&name, serde_json::from_str(parameters).map_err(nonsense)?)),
            }
        })
    }

    /// As [`Client::call`], with the parameters of the answer as they came.
    pub fn call_raw(&mut self, method: Method, parameters: &impl Serialize) -> Result<Value, ClientError> {
        self.send(method, parameters, false)?;
        let reply = self.reply()?;
        if reply.continues {
            return Err(more_than_one());
        }
        Ok(reply.parameters)
    }

    /// Asks, and hands over each answer until the last, or until `each` has enough.
    pub fn call_more<R: DeserializeOwned, B>(
        &mut self,
        method: Method,
        parameters: &impl Serialize,
        mut each: impl FnMut(R) -> ControlFlow<B>,
    ) -> Result<Option<B>, ClientError> {
        self.send(method, parameters, true)?;
        loop {
            let reply = self.reply()?;
            if let ControlFlow::Break(value) = each(understood(reply.parameters)?) {
                return Ok(Some(value));
            }
            if !reply.continues {
                return Ok(None);
            }
        }
    }

    /// Asks; the answers are taken with [`Client::next_answer`].
    pub fn begin(&mut self, method: Method, parameters: &impl Serialize, more: bool) -> Result<(), ClientError> {
        self.send(method, parameters, more)
    }

    /// The next answer, and whether others follow; `None` when it has not come within this time.
    pub fn next_answer<R: DeserializeOwned>(
        &mut self,
        limit: Option<Duration>,
    ) -> Result<Option<(R, bool)>, ClientError> {
        self.patience = limit;
        match self.reply() {
            Ok(reply) => Ok(Some((understood(reply.parameters)?, reply.continues))),
            Err(ClientError::Late) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for something else than answers on this connection: gives the only answer, the connection and what has
    /// come on it already.
    pub fn upgrade<R: DeserializeOwned>(
        mut self,
        method: Method,
        parameters: &impl Serialize,
    ) -> Result<(R, UnixStream, Vec<u8>), ClientError> {
        let parameters = serde_json::to_value(parameters).map_err(|e| ClientError::Nonsense(e.to_string()))?;
        self.say(&Call { method: method.full_name(), parameters, more: false, oneway: false, upgrade: true })?;
        let reply = understood(self.reply()?.parameters)?;
        Ok((reply, self.stream, self.decoder.into_rest()))
    }

    /// Waits until the supervisor closes the connection.
    pub fn wait_for_end(&mut self) -> Result<(), ClientError> {
        loop {
            match self.read() {
                Ok(()) => while self.decoder.next_frame().map_err(|TooLong| ClientError::TooLong)?.is_some() {},
                Err(ClientError::Lost) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self, method: Method, parameters: &impl Serialize, more: bool) -> Result<(), ClientError> {
        let parameters = serde_json::to_value(parameters).map_err(|e| ClientError::Nonsense(e.to_string()))?;
        self.say(&Call { method: method.full_name(), parameters, more, oneway: false, upgrade: false })
    }

    fn say(&mut self, call: &Call) -> Result<(), ClientError> {
        match self.stream.write_all(&encode(call)) {
            Ok(()) => Ok(()),
            // The answer may say why: a server that is full says so and closes at once.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(ended(error)),
        }
    }

    fn reply(&mut self) -> Result<Reply, ClientError> {
        self.read_reply(|frame| {
            let reply: Reply =
                serde_json::from_slice(frame).map_err(|error| ClientError::Nonsense(error.to_string()))?;
            match &reply.error {
                None => Ok(reply),
                Some(name) => Err(error_of(name, reply.parameters)),
            }
        })
    }

    /// The next whole answer, as `read` reads it.
    fn read_reply<R>(&mut self, read: impl Fn(&[u8]) -> Result<R, ClientError>) -> Result<R, ClientError> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(|TooLong| ClientError::TooLong)? {
                return read(&frame);
            }
            self.read()?;
        }
    }

    /// Waits for bytes and takes them to the decoder.
    fn read(&mut self) -> Result<(), ClientError> {
        match wait(self.stream.as_fd(), self.interrupts, self.patience).map_err(ClientError::Io)? {
            Wake::Interrupted => return Err(ClientError::Interrupted),
            Wake::TimedOut => return Err(ClientError::Late),
            Wake::Readable => {}
        }
        let mut bytes = [0; 64 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(ClientError::Lost),
            Ok(count) => {
                self.decoder.push(&bytes[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(ended(error)),
        }
    }
}

impl AsFd for Client<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn ended(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ClientError::Lost,
        _ => ClientError::Io(error),
    }
}

fn more_than_one() -> ClientError {
    ClientError::Nonsense("more answers than were asked for".to_owned())
}

fn error_of(name: &str, parameters: Value) -> ClientError {
    let parameters = if parameters.is_null() { json!({}) } else { parameters };
    match serde_json::from_value(json!({ "error": name, "parameters": parameters })) {
        Ok(refusal) => ClientError::Refused(refusal),
        Err(_) => ClientError::Unknown(name.to_owned()),
    }
}

/// Reads the parameters of an answer.
pub fn understood<R: DeserializeOwned>(parameters: Value) -> Result<R, ClientError> {
    serde_json::from_value(parameters).map_err(|error| ClientError::Nonsense(error.to_string()))
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
