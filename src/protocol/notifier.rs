//! Core ↔ notifier. Events go one way, acknowledgements the other; what is not acknowledged is sent
//! again to the next notifier. Questions of clients go through, each with a ticket.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::model::event::{Event, EventLogFormat, wall_time};
use crate::model::id::ChannelName;
use crate::model::id::{ProcessId, ProgramName};
use crate::model::notify::{About, Health, Notify, SecretKind};
use crate::model::time::WallTime;

/// Core → notifier.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToNotifier {
    /// The event log. Descriptor: the file, open for reading and appending.
    EventLog { format: EventLogFormat },
    /// Where the supervisor was started: events are shown there, too. Descriptor: its standard error.
    Console,
    /// A secret of the configuration that follows. Descriptor: the file, open for reading.
    Secret { channel: ChannelName, kind: SecretKind },
    /// How people are told from now on. Sent before the first event, after each reload, and again with its
    /// secrets for `WantSecrets`.
    Configure(Box<Configure>),
    Event {
        event: Box<Event>,
        /// Of the event's program.
        about: Option<Box<About>>,
        /// Sent to an earlier notifier, which may have written it before it died.
        again: bool,
    },
    /// For `WantOutput`. Descriptor: a pipe with the last lines that the process wrote to its standard
    /// error, oldest first, until its end; none when there is nothing to be had.
    Output { ticket: u64 },
    /// For `WantSendmail`. Descriptors: the program's standard input, and its standard error.
    Sendmail { ticket: u64 },
    /// The program has ended: its exit code, or why there is none in words.
    SendmailEnded { ticket: u64, result: Result<u8, String> },
    /// A client asks.
    Ask { ticket: u64, question: Question },
    /// The supervisor ends: send what can be sent within `shutdown_drain`, and say so.
    Drain,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Configure {
    pub notify: Notify,
    /// Marks this run of the supervisor: its sequence numbers count from 1 again.
    pub run: u64,
    pub host: String,
    /// All that are configured: what an incident is about may be gone.
    pub programs: Vec<ProgramName>,
}

/// Notifier → core. Never with descriptors.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromNotifier {
    /// Ready to work: the first message, once.
    Ready,
    /// Everything up to this sequence number is written to the event log, and what follows from it for
    /// alerts is on disk.
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
    /// The last lines of a process are wanted for a message: those that the life with this main process had to say,
    /// and none of a later one.
    WantOutput {
        ticket: u64,
        process: ProcessId,
        pid: Option<i32>,
    },
    /// A password was refused: perhaps its file has changed.
    WantSecrets,
    /// Start the configured sendmail for these recipients, all of them configured.
    WantSendmail {
        ticket: u64,
        channel: ChannelName,
        recipients: Vec<String>,
    },
    /// The whole message is in its standard input: that may end now. Without this word it does not, and the
    /// program is ended before it takes half a message for a whole one.
    SendmailWritten {
        ticket: u64,
    },
    /// How a channel is, when that changes. `tell`: so bad for so long, or well again, that everybody
    /// should know (`notify.failing`, `notify.recovered`).
    Channel {
        channel: ChannelName,
        health: Health,
        tell: bool,
    },
    /// Why the spool cannot be written, or that it can again, when that changes.
    Spool {
        failure: Option<String>,
    },
    /// Messages were given up: so many since the last time, and why, in one line.
    Lost {
        messages: u64,
        why: String,
    },
    /// One answer to a question; `last`: there is no more.
    Answer {
        ticket: u64,
        answer: Answer,
        last: bool,
    },
    /// For `Drain`; so many messages wait on disk for the next start.
    Drained {
        left: u64,
    },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// What waits, what is buried, how the channels are.
    Queue,
    /// Send a test message on this channel, or on all, without waiting or grouping.
    Test {
        channel: Option<ChannelName>,
    },
    /// Send again what is buried, or at once what waits; no ids: all.
    Retry {
        ids: Vec<String>,
    },
    /// Throw away; no ids: all that is buried.
    Drop {
        ids: Vec<String>,
    },
    Silence {
        /// As in commands: `web`, `web:*`, a group name, a glob, `all`.
        selector: String,
        seconds: u64,
        reason: String,
        /// Who asked.
        by: String,
    },
    /// An id of a silence, or its selector.
    Unsilence {
        silence: String,
    },
    Silences,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Queue(QueueReport),
    /// A line of a conversation with a server, secrets masked. More follows.
    Line(String),
    Tested(Vec<TestResult>),
    /// So many messages or silences.
    Done {
        count: u64,
    },
    Silenced(Silence),
    Silences(Vec<Silence>),
    /// There is no such channel, message or silence: this one.
    Unknown(String),
    Failed(String),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TestResult {
    pub channel: ChannelName,
    /// `None`: it arrived as far as we can see. Else the cause in one line.
    pub failure: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct QueueReport {
    pub channels: Vec<ChannelReport>,
    pub waiting: Vec<MessageReport>,
    pub dead: Vec<MessageReport>,
    /// Why the spool cannot be written, while it cannot.
    pub spool_failure: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ChannelReport {
    pub channel: ChannelName,
    pub health: Health,
    pub waiting: u64,
    /// Since the notifier's start.
    pub sent: u64,
    pub failed: u64,
    pub dropped: u64,
    #[serde(with = "optional_time", default)]
    pub last_success: Option<WallTime>,
    /// Seconds until the next try, while it fails.
    pub next_try_seconds: Option<u64>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MessageReport {
    pub id: String,
    pub channel: ChannelName,
    pub subject: String,
    #[serde(with = "wall_time")]
    pub time: WallTime,
    pub tries: u32,
    /// Why it is buried, or was not taken the last time.
    pub reason: Option<String>,
}

/// Alerts of what the selector names are not sent until then.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Silence {
    pub id: String,
    pub selector: String,
    #[serde(with = "wall_time")]
    pub until: WallTime,
    pub reason: String,
    pub by: String,
}

pub mod optional_time {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::time::{WallTime, rfc3339_millis};

    #[expect(clippy::ref_option, reason = "serde asks for it")]
    pub fn serialize<S: Serializer>(time: &Option<WallTime>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(rfc3339_millis).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WallTime>, D::Error> {
        Option::<WallTime>::deserialize(deserializer)
    }
}
