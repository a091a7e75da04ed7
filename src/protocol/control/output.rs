//! What programs write: looking at it, being attached to it, emptying it.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// Which of a process's outputs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    #[default]
    Stdout,
    Stderr,
}

/// Which outputs a tail is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    #[default]
    Stdout,
    Stderr,
    Both,
}

impl From<Channel> for Channels {
    fn from(channel: Channel) -> Self {
        match channel {
            Channel::Stdout => Self::Stdout,
            Channel::Stderr => Self::Stderr,
        }
    }
}

/// The most lines a tail can ask for.
pub const TAIL_LINES_MAX: u32 = 100_000;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TailCall {
    pub selectors: Vec<String>,
    #[serde(default)]
    pub channel: Channels,
    /// 0 to [`TAIL_LINES_MAX`]; what is still in memory is given.
    #[serde(default = "ten")]
    pub lines: u32,
    /// Goes on with what the program writes, over restarts, until the client leaves. Needs `more`.
    #[serde(default)]
    pub follow: bool,
}

fn ten() -> u32 {
    10
}

/// Lines of one process. The connection ends after the last answer of a `Tail`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TailReply {
    pub process: String,
    pub channel: Channel,
    /// How many outputs this tail is of.
    #[serde(default)]
    pub outputs: u32,
    /// Bytes that are not UTF-8 are replaced (U+FFFD); nothing else is changed: escape before showing.
    pub text: String,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachCall {
    /// One process.
    pub process: String,
    /// Only looks on.
    #[serde(default)]
    pub read_only: bool,
    /// Types together with all others who share.
    #[serde(default)]
    pub share: bool,
    /// The size of the client's terminal.
    #[serde(default)]
    pub rows: Option<u16>,
    #[serde(default)]
    pub columns: Option<u16>,
}

/// The only reply of an `Attach`; the frames of [`super::attach`] follow on the same connection.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AttachReply {
    pub process: String,
    /// The program has a terminal: keys go to it one by one. Else lines go to its standard input.
    pub terminal: bool,
    /// What the client types reaches the program.
    pub writes: bool,
    /// Why it does not.
    pub reason: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearCall {
    #[serde(default)]
    pub selectors: Vec<String>,
    /// None: both.
    #[serde(default)]
    pub channel: Option<Channel>,
}
