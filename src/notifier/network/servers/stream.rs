//! What a connection to a server is, what each step on it may take, and the words for how it ended.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::model::text;

/// A connection, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How long each step with a server may take, and how much it may say.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Name to addresses.
    pub resolve: Duration,
    /// All addresses in turn.
    pub connect: Duration,
    /// The handshake.
    pub tls: Duration,
    /// One command until its whole reply, or that much of a message that fits into one write.
    pub command: Duration,
    /// From the end of the message until it is accepted: long, because what is cut off here is sent twice.
    pub accept: Duration,
    /// Everything with one server.
    pub session: Duration,
    /// Bytes that a server may send on one connection.
    pub received: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            resolve: seconds(5),
            connect: seconds(10),
            tls: seconds(15),
            command: seconds(30),
            accept: seconds(300),
            session: seconds(600),
            received: 64 << 10,
        }
    }
}

/// What is said of a connection that ended, in whichever way.
pub const CLOSED: &str = "the server has closed the connection";

/// An error of a connection in words, on one line.
pub fn cause(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => Errno::from_raw(errno).desc().to_owned(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => CLOSED.to_owned(),
        None => text::escaped(&error.to_string()).into_owned(),
    }
}
