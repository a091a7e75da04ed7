//! What became of an attempt to send: the classes of failure that decide when to try again.
#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Of one message on one channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Accepted for all.
    Sent,
    /// Mail: what became of each recipient that was tried; accepted for at least one, or refused one by one.
    Recipients(Vec<(String, Result<(), Failure>)>),
    Failed(Failure),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub class: Class,
    /// The cause in one line, safe to show, without secrets.
    pub words: String,
    /// The server's own wish (Retry-After).
    pub retry_after: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The server cannot be reached or does not behave: resolving, connecting, a limit of time, 421, a lost
    /// connection. Concerns the channel, not the message.
    Connection,
    /// Somebody has to change something: TLS, a certificate, a password. Concerns the channel.
    Configuration,
    /// Not now (4xx, 429, 5xx of HTTP): this message or recipient later.
    Temporary,
    /// Never (5xx, 4xx of HTTP): this message or recipient.
    Permanent,
    /// Too large or disliked (552, 554): once more without the program's output, then never.
    Content,
}

impl Failure {
    pub fn new(class: Class, words: impl Into<String>) -> Self {
        Self { class, words: words.into(), retry_after: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}
