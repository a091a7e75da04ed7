//! All contact with the outside: one thread with an async runtime, and in it one task for each channel,
//! so that a dead mail server delays no syslog.
//!
//! The main thread gives [`Order`]s and takes [`News`]; neither waits for the other. Nothing here decides
//! when to try again: that is `alert::queue`. [`servers`] is all that a build without the feature `network` lacks. Syslog keeps its own bounded buffer, because it gets every
//! event and has no spool.

mod runtime;
#[cfg(all(test, feature = "network"))]
mod sandbox_tests;
mod secret;
#[cfg_attr(not(feature = "network"), path = "no_servers.rs")]
mod servers;
mod syslog;

use std::sync::Arc;

use crate::alert::outcome::{Class, Failure, Outcome};
use crate::model::event::Event;
use crate::model::id::ChannelName;
use crate::model::notify::{About, Channel};

pub use runtime::{Gone, Network};
pub use secret::{Secret, Secrets};
pub use servers::Limits;

/// A job's number, unique in this process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u64);

/// Main thread → network.
pub enum Order {
    /// These channels from now on. What is under way ends with its old settings.
    Configure(Vec<(Channel, Secrets)>),
    /// Send this message. `dialogue`: tell the conversation line by line, secrets masked.
    Send { channel: ChannelName, job: JobId, message: Message, dialogue: bool },
    /// For all syslog channels.
    Event { event: Arc<Event>, about: Option<Arc<About>> },
    /// Send a test line on a syslog channel.
    TestSyslog { channel: ChannelName, job: JobId },
}

/// A message ready to go.
#[derive(Clone, Debug)]
pub enum Message {
    Mail {
        /// Addresses only.
        envelope_from: String,
        recipients: Vec<String>,
        /// Headers and body with CRLF line ends, not dot-stuffed.
        bytes: Arc<[u8]>,
    },
    Post {
        /// The same for each try: `X-Taskmaster-Delivery`.
        delivery: String,
        body: Arc<[u8]>,
    },
}

/// Network → main thread.
pub enum News {
    Done { job: JobId, outcome: Outcome },
    Line { job: JobId, line: String },
    Syslog { channel: ChannelName, news: SyslogNews },
}

/// How a syslog channel is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SyslogNews {
    /// Why it fails, in one line.
    pub failing: Option<String>,
    pub waiting: u64,
    /// Messages since the last news.
    pub sent: u64,
    pub lost: u64,
}

fn failed(class: Class, words: impl Into<String>) -> Outcome {
    Outcome::Failed(Failure::new(class, words))
}
