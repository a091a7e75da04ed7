//! What the core accepts from its workers, and when. A worker is not trusted: it reads what programs
//! write. A message that is not permitted costs it its life, before anything is done about it.
//!
//! | message | permitted |
//! |---|---|
//! | `Ready` | first, and once |
//! | logger: `Rotate`, `Astray` | of a file that this logger was given |
//! | logger: `Redial` | of an outlet that it was given, not again before the answer |
//! | logger: `Moved` | to a file that this logger was given |
//! | logger: `Ended` | of a pipe that this logger was given, once |
//! | logger: `Dropping` | of a file it was given, not again before `Dropped`, with an error that exists |
//! | logger: `Losing` | of a file it was given, any number of bytes |
//! | logger: `Dropped` | after `Dropping` of the same file, once |
//! | logger: `Cleared` | once for each `Clear`, with an error that exists or none |
//! | logger: `Compressed` | once for each `Compress`, of that file, with an error that exists or none |
//! | logger: `Drained` | once for each `Drain` |
//! | notifier: `Written` | up to an event that is under way to this notifier, never backwards |
//! | notifier: `LogFailing` | once it has the event log, not again before `LogRecovered`, with an error that exists |
//! | notifier: `LogRecovered` | after `LogFailing`, or when events are missing |
//! | notifier: `SendmailWritten` | always: the program may have ended meanwhile |
//! | notifier: `WantOutput`, `WantSendmail` | with a ticket that is not under way, of a few that may be |
//! | notifier: `Answer` | to a question that it was asked, until the last answer |
//! | notifier: `Drained` | once for each `Drain` |
//! | notifier: `WantSecrets` | at any time; answered at most once in 10 s (`alerts`) |
//! | notifier: `Channel` | of a channel that it was told of, its cause at most 4 KiB |
//! | notifier: `Spool` | at any time; the reason at most 4 KiB |
//! | notifier: `Lost` | any number of messages, 0 when only the spool or a secret fails; the reason at most 4 KiB |
//!
//! None of them comes with descriptors. The shell has no channel: what it asks for comes as from any client.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::id::ChannelName;
use crate::model::notify::Health;
use crate::protocol::logger::{FromLogger, StreamId, ToLogger};
use crate::protocol::notifier::{Configure, FromNotifier, ToNotifier};
use crate::protocol::spawner::SinkId;

/// Files that were closed may still be spoken of: so many of them, the last ones.
const CLOSED_MAX: usize = 1000;
/// So many outputs, and so many sendmails, may be wanted at once. Beyond what is done the core says no.
const WANTED_MAX: usize = 100;
/// Questions that were not answered may still be: so many of them, the last ones.
const ASKED_MAX: usize = 1000;
/// The longest reason that a notifier gives, in bytes.
const WORDS_MAX: usize = 4096;
/// Channels of earlier configurations may still be spoken of, while there are not more in all.
const CHANNELS_MAX: usize = 1000;
/// MAX_ERRNO of the kernel.
const ERRNO_MAX: i32 = 4095;

/// What one worker was told in its life, as far as its answers depend on it.
#[derive(Default, Debug)]
pub struct Permits {
    ready: bool,
    sinks: BTreeSet<SinkId>,
    closed: BTreeSet<SinkId>,
    dropping: BTreeSet<SinkId>,
    /// Outlets, and whether the logger waits for the answer of the core.
    outlets: BTreeMap<SinkId, bool>,
    streams: BTreeSet<StreamId>,
    drains: u32,
    clears: BTreeSet<u64>,
    /// What it is to compress.
    packs: Option<SinkId>,
    has_log: bool,
    log_fails: bool,
    channels: BTreeSet<ChannelName>,
    outputs: BTreeSet<u64>,
    sendmails: BTreeSet<u64>,
    asked: BTreeSet<u64>,
}

/// Why a message was not permitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    BeforeReady,
    ReadyAgain,
    UnknownFile(u64),
    UnknownPipe(u64),
    /// An answer to what was not said, or an end of what had not begun.
    OutOfTurn(&'static str),
    /// The event was not sent, or is acknowledged already.
    NotUnderWay(u64),
    NoError(i32),
    UnknownChannel,
    TooLong(usize),
    /// It is under way, or too many are.
    NotFree(u64),
    NotAsked(u64),
    Descriptors,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeReady => write!(f, "something else before it was ready"),
            Self::ReadyAgain => write!(f, "that it is ready, once more"),
            Self::UnknownFile(sink) => write!(f, "something about the file {sink}, which it does not have"),
            Self::UnknownPipe(stream) => write!(f, "the end of the pipe {stream}, which it does not have"),
            Self::OutOfTurn(message) => write!(f, "{message} out of turn"),
            Self::NotUnderWay(seq) => write!(f, "that the event {seq} is written, which is not under way"),
            Self::NoError(errno) => write!(f, "an error that does not exist ({errno})"),
            Self::UnknownChannel => write!(f, "something about a channel that it does not have"),
            Self::TooLong(bytes) => write!(f, "a reason of {bytes} bytes"),
            Self::NotFree(ticket) => write!(f, "a wish with the ticket {ticket}, which is not free"),
            Self::NotAsked(ticket) => write!(f, "an answer to the question {ticket}, which was not asked"),
            Self::Descriptors => write!(f, "a descriptor"),
        }
    }
}

impl Permits {
    /// The core says this to the logger.
    pub fn told_logger(&mut self, message: &ToLogger) {
        match message {
            ToLogger::Outlet { sink, dropping, .. } | ToLogger::Sink { sink, dropping, .. } => {
                self.sinks.insert(*sink);
                if matches!(message, ToLogger::Outlet { .. }) {
                    self.outlets.insert(*sink, false);
                }
                if *dropping {
                    self.dropping.insert(*sink);
                }
            }
            ToLogger::Dialled { sink, errno: _ } => drop(self.outlets.insert(*sink, false)),
            ToLogger::Close { sink } => {
                if self.sinks.remove(sink) {
                    self.closed.insert(*sink);
                }
                if self.closed.len() > CLOSED_MAX
                    && let Some(oldest) = self.closed.pop_first()
                {
                    self.dropping.remove(&oldest);
                }
            }
            ToLogger::Stream { stream, .. } => drop(self.streams.insert(*stream)),
            ToLogger::Clear { ticket, .. } => drop(self.clears.insert(*ticket)),
            ToLogger::Compress { sink } => self.packs = Some(*sink),
            ToLogger::Drain => self.drains = self.drains.saturating_add(1),
            ToLogger::Hand
            | ToLogger::Begin
            | ToLogger::Settings { .. }
            | ToLogger::Kept { .. }
            | ToLogger::Voice { .. }
            | ToLogger::Abandon { .. }
            | ToLogger::Forget { .. }
            | ToLogger::LastBytes { .. }
            | ToLogger::Console { .. }
            | ToLogger::Attach { .. }
            | ToLogger::Exited { .. }
            | ToLogger::Tail { .. } => {}
        }
    }

    /// The core says this to the notifier.
    pub fn told_notifier(&mut self, message: &ToNotifier) {
        match message {
            ToNotifier::EventLog { .. } => self.has_log = true,
            ToNotifier::Configure(configure) => self.told_channels(configure),
            ToNotifier::Output { ticket } => drop(self.outputs.remove(ticket)),
            ToNotifier::SendmailEnded { ticket, .. } => drop(self.sendmails.remove(ticket)),
            ToNotifier::Ask { ticket, .. } => {
                self.asked.insert(*ticket);
                if self.asked.len() > ASKED_MAX {
                    self.asked.pop_first();
                }
            }
            ToNotifier::Drain => self.drains = self.drains.saturating_add(1),
            ToNotifier::Console
            | ToNotifier::Event { .. }
            | ToNotifier::Secret { .. }
            | ToNotifier::Sendmail { .. } => {}
        }
    }

    /// Whether the logger may say this now.
    pub fn judge_logger(&mut self, message: &FromLogger) -> Result<(), Violation> {
        self.judge_phase(matches!(message, FromLogger::Ready))?;
        match message {
            FromLogger::Ready => Ok(()),
            FromLogger::Rotate { sink }
            | FromLogger::Astray { sink }
            | FromLogger::Moved { sink }
            | FromLogger::Losing { sink, bytes: _ } => self.judge_file(*sink),
            FromLogger::Redial { sink } => {
                let asked = self.outlets.get_mut(sink).ok_or(Violation::UnknownFile(sink.0))?;
                allow(!std::mem::replace(asked, true), Violation::OutOfTurn("Redial"))
            }
            FromLogger::Ended { stream } => allow(self.streams.remove(stream), Violation::UnknownPipe(stream.0)),
            FromLogger::Dropping { sink, errno } => {
                self.judge_file(*sink)?;
                judge_error(*errno)?;
                allow(self.dropping.insert(*sink), Violation::OutOfTurn("Dropping"))
            }
            FromLogger::Dropped { sink, bytes: _ } => {
                self.judge_file(*sink)?;
                allow(self.dropping.remove(sink), Violation::OutOfTurn("Dropped"))
            }
            FromLogger::Cleared { ticket, errno } => {
                allow(self.clears.remove(ticket), Violation::NotAsked(*ticket))?;
                errno.map_or(Ok(()), judge_error)
            }
            FromLogger::Compressed { sink, bytes: _, errno } => {
                allow(self.packs.take() == Some(*sink), Violation::OutOfTurn("Compressed"))?;
                errno.map_or(Ok(()), judge_error)
            }
            FromLogger::Drained => self.judge_drained(),
        }
    }

    /// Whether the notifier may say this now. `under_way`: the first and the last event that it was sent
    /// and has not acknowledged.
    pub fn judge_notifier(&mut self, message: &FromNotifier, under_way: Option<(u64, u64)>) -> Result<(), Violation> {
        self.judge_phase(matches!(message, FromNotifier::Ready))?;
        match message {
            FromNotifier::Ready => Ok(()),
            FromNotifier::Written { seq } => {
                let is_one = under_way.is_some_and(|(first, last)| (first..=last).contains(seq));
                allow(is_one, Violation::NotUnderWay(*seq))
            }
            FromNotifier::LogFailing { errno } => {
                judge_error(*errno)?;
                let begins = self.has_log && !std::mem::replace(&mut self.log_fails, true);
                allow(begins, Violation::OutOfTurn("LogFailing"))
            }
            FromNotifier::WantSecrets => Ok(()),
            FromNotifier::Channel { channel, health, tell: _ } => {
                allow(self.channels.contains(channel), Violation::UnknownChannel)?;
                match health {
                    Health::Well => Ok(()),
                    Health::Failing { seconds: _, cause } => judge_length(cause),
                }
            }
            FromNotifier::Spool { failure } => failure.as_deref().map_or(Ok(()), judge_length),
            FromNotifier::Lost { messages: _, why } => judge_length(why),
            FromNotifier::WantOutput { ticket, .. } => take(&mut self.outputs, *ticket),
            FromNotifier::SendmailWritten { ticket: _ } => Ok(()),
            FromNotifier::WantSendmail { ticket, .. } => take(&mut self.sendmails, *ticket),
            FromNotifier::Answer { ticket, last, answer: _ } => {
                let is_asked = if *last { self.asked.remove(ticket) } else { self.asked.contains(ticket) };
                allow(is_asked, Violation::NotAsked(*ticket))
            }
            FromNotifier::Drained { .. } => self.judge_drained(),
            FromNotifier::LogRecovered { missing } => {
                let ends = std::mem::take(&mut self.log_fails) || (self.has_log && *missing > 0);
                allow(ends, Violation::OutOfTurn("LogRecovered"))
            }
        }
    }

    fn told_channels(&mut self, configure: &Configure) {
        let names = configure.notify.channels.iter().map(|channel| channel.name.clone());
        if self.channels.len() > CHANNELS_MAX {
            self.channels.clear();
        }
        self.channels.extend(names);
    }

    fn judge_drained(&mut self) -> Result<(), Violation> {
        self.drains = self.drains.checked_sub(1).ok_or(Violation::OutOfTurn("Drained"))?;
        Ok(())
    }

    fn judge_phase(&mut self, says_ready: bool) -> Result<(), Violation> {
        match (std::mem::replace(&mut self.ready, true), says_ready) {
            (false, true) | (true, false) => Ok(()),
            (false, false) => Err(Violation::BeforeReady),
            (true, true) => Err(Violation::ReadyAgain),
        }
    }

    fn judge_file(&self, sink: SinkId) -> Result<(), Violation> {
        allow(self.sinks.contains(&sink) || self.closed.contains(&sink), Violation::UnknownFile(sink.0))
    }
}

/// Takes a ticket that is free.
fn take(under_way: &mut BTreeSet<u64>, ticket: u64) -> Result<(), Violation> {
    allow(under_way.len() < WANTED_MAX && under_way.insert(ticket), Violation::NotFree(ticket))
}

fn judge_length(words: &str) -> Result<(), Violation> {
    allow(words.len() <= WORDS_MAX, Violation::TooLong(words.len()))
}

fn judge_error(errno: i32) -> Result<(), Violation> {
    allow((1..=ERRNO_MAX).contains(&errno), Violation::NoError(errno))
}

fn allow(is: bool, violation: Violation) -> Result<(), Violation> {
    if is { Ok(()) } else { Err(violation) }
}

#[cfg(test)]
#[path = "permit_tests.rs"]
mod tests;
