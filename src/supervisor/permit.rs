//! What the core accepts from its workers, and when. A worker is not trusted: it reads what programs
//! write. A message that is not permitted costs it its life, before anything is done about it.
//!
//! | message | permitted |
//! |---|---|
//! | `Ready` | first, and once |
//! | logger: `Rotate` | of a file that this logger was given |
//! | logger: `Moved` | to a file that this logger was given |
//! | logger: `Ended` | of a pipe that this logger was given, once |
//! | logger: `Dropping` | of a file it was given, not again before `Dropped`, with an error that exists |
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

use std::collections::BTreeSet;
use std::fmt;

use crate::model::notify::{ChannelName, Health};
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
            ToLogger::Outlet { sink, dropping } | ToLogger::Sink { sink, dropping, .. } => {
                self.sinks.insert(*sink);
                if *dropping {
                    self.dropping.insert(*sink);
                }
            }
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
            | ToLogger::Settings { .. }
            | ToLogger::Kept { .. }
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
            FromLogger::Rotate { sink } | FromLogger::Moved { sink } => self.judge_file(*sink),
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
mod tests {
    use super::*;
    use crate::model::event::EventLogFormat;
    use crate::protocol::control::Channel;
    use crate::protocol::logger::{SinkSettings, TailId};

    const FILE: SinkId = SinkId(7);
    const PIPE: StreamId = StreamId(8);

    fn logger() -> Permits {
        let settings = SinkSettings { max_bytes: 1, backups: 1, timestamps: false, strip_ansi: false };
        let (tail, channel) = (TailId(9), Channel::Stdout);
        let mut permits = Permits::default();
        permits.told_logger(&ToLogger::Sink { sink: FILE, settings, rotated: false, dropping: false });
        permits.told_logger(&ToLogger::Stream {
            stream: PIPE,
            tail,
            process: String::new(),
            channel,
            sink: Some(FILE),
        });
        assert_eq!(permits.judge_logger(&FromLogger::Ready), Ok(()));
        permits
    }

    fn notifier() -> Permits {
        let mut permits = Permits::default();
        permits.told_notifier(&ToNotifier::EventLog { format: EventLogFormat::Text });
        assert_eq!(permits.judge_notifier(&FromNotifier::Ready, None), Ok(()));
        permits
    }

    #[test]
    fn ready_comes_first_and_once() {
        assert_eq!(Permits::default().judge_logger(&FromLogger::Drained), Err(Violation::BeforeReady));
        let early = FromNotifier::Written { seq: 1 };
        assert_eq!(Permits::default().judge_notifier(&early, Some((1, 1))), Err(Violation::BeforeReady));
        assert_eq!(logger().judge_logger(&FromLogger::Ready), Err(Violation::ReadyAgain));
        assert_eq!(notifier().judge_notifier(&FromNotifier::Ready, None), Err(Violation::ReadyAgain));
    }

    #[test]
    fn only_files_that_the_logger_was_given_are_rotated_also_after_they_were_closed() {
        let mut permits = logger();
        let rotate = FromLogger::Rotate { sink: FILE };
        assert_eq!(permits.judge_logger(&rotate), Ok(()));
        permits.told_logger(&ToLogger::Close { sink: FILE });
        assert_eq!(permits.judge_logger(&rotate), Ok(()), "the two messages have crossed");
        let unknown = FromLogger::Rotate { sink: SinkId(PIPE.0) };
        assert_eq!(permits.judge_logger(&unknown), Err(Violation::UnknownFile(8)));
        let settings = SinkSettings { max_bytes: 1, backups: 1, timestamps: false, strip_ansi: false };
        for sink in (100..).map(SinkId).take(CLOSED_MAX) {
            permits.told_logger(&ToLogger::Sink { sink, settings, rotated: false, dropping: false });
            permits.told_logger(&ToLogger::Close { sink });
        }
        assert_eq!(permits.judge_logger(&rotate), Err(Violation::UnknownFile(7)), "it is long gone");
    }

    #[test]
    fn a_pipe_ends_once() {
        let mut permits = logger();
        assert_eq!(permits.judge_logger(&FromLogger::Ended { stream: PIPE }), Ok(()));
        assert_eq!(permits.judge_logger(&FromLogger::Ended { stream: PIPE }), Err(Violation::UnknownPipe(8)));
        assert_eq!(permits.judge_logger(&FromLogger::Ended { stream: StreamId(7) }), Err(Violation::UnknownPipe(7)));
    }

    #[test]
    fn dropping_begins_and_ends_in_turn() {
        let mut permits = logger();
        let begin = FromLogger::Dropping { sink: FILE, errno: 28 };
        let end = FromLogger::Dropped { sink: FILE, bytes: u64::MAX };
        assert_eq!(permits.judge_logger(&end), Err(Violation::OutOfTurn("Dropped")));
        for _ in 0..2 {
            assert_eq!(permits.judge_logger(&begin), Ok(()));
            assert_eq!(permits.judge_logger(&begin), Err(Violation::OutOfTurn("Dropping")));
            assert_eq!(permits.judge_logger(&end), Ok(()));
        }
        for errno in [0, -1, 4096, i32::MIN] {
            let made_up = FromLogger::Dropping { sink: FILE, errno };
            assert_eq!(permits.judge_logger(&made_up), Err(Violation::NoError(errno)));
        }
    }

    #[test]
    fn drained_answers_drain() {
        let mut permits = logger();
        assert_eq!(permits.judge_logger(&FromLogger::Drained), Err(Violation::OutOfTurn("Drained")));
        let cleared = |errno| FromLogger::Cleared { ticket: 3, errno };
        assert_eq!(permits.judge_logger(&cleared(None)), Err(Violation::NotAsked(3)));
        for (errno, judged) in [(Some(0), Err(Violation::NoError(0))), (Some(5), Ok(())), (None, Ok(()))] {
            permits.told_logger(&ToLogger::Clear { ticket: 3, tails: vec![], sinks: vec![] });
            assert_eq!(permits.judge_logger(&cleared(errno)), judged);
        }
        let compressed = |sink, errno| FromLogger::Compressed { sink, bytes: 9, errno };
        let early = permits.judge_logger(&compressed(FILE, None));
        assert_eq!(early, Err(Violation::OutOfTurn("Compressed")));
        for (sink, errno, judged) in [
            (FILE, None, Ok(())),
            (FILE, Some(28), Ok(())),
            (FILE, Some(0), Err(Violation::NoError(0))),
            (SinkId(8), None, Err(Violation::OutOfTurn("Compressed"))),
        ] {
            permits.told_logger(&ToLogger::Compress { sink: FILE });
            assert_eq!(permits.judge_logger(&compressed(sink, errno)), judged);
        }
        permits.told_logger(&ToLogger::Drain);
        assert_eq!(permits.judge_logger(&FromLogger::Drained), Ok(()));
        assert_eq!(permits.judge_logger(&FromLogger::Drained), Err(Violation::OutOfTurn("Drained")));
    }

    #[test]
    fn only_events_under_way_are_written() {
        let mut permits = notifier();
        let mut judge = |seq, under_way| permits.judge_notifier(&FromNotifier::Written { seq }, under_way);
        assert_eq!(judge(5, Some((3, 9))), Ok(()));
        assert_eq!(judge(5, Some((6, 9))), Err(Violation::NotUnderWay(5)), "backwards");
        assert_eq!(judge(10, Some((6, 9))), Err(Violation::NotUnderWay(10)));
        assert_eq!(judge(u64::MAX, Some((6, 9))), Err(Violation::NotUnderWay(u64::MAX)));
        assert_eq!(judge(1, None), Err(Violation::NotUnderWay(1)));
    }

    #[test]
    fn the_event_log_fails_and_recovers_in_turn() {
        let mut permits = notifier();
        let mut judge = |message| permits.judge_notifier(&message, None);
        let recovered = |missing| FromNotifier::LogRecovered { missing };
        assert_eq!(judge(recovered(0)), Err(Violation::OutOfTurn("LogRecovered")));
        assert_eq!(judge(FromNotifier::LogFailing { errno: 28 }), Ok(()));
        assert_eq!(judge(FromNotifier::LogFailing { errno: 28 }), Err(Violation::OutOfTurn("LogFailing")));
        assert_eq!(judge(recovered(0)), Ok(()));
        assert_eq!(judge(recovered(3)), Ok(()), "events were lost before any could be written");
        assert_eq!(judge(FromNotifier::LogFailing { errno: 0 }), Err(Violation::NoError(0)));
        let mut without = Permits::default();
        assert_eq!(without.judge_notifier(&FromNotifier::Ready, None), Ok(()));
        let failing = FromNotifier::LogFailing { errno: 28 };
        assert_eq!(without.judge_notifier(&failing, None), Err(Violation::OutOfTurn("LogFailing")));
    }

    #[test]
    fn a_ticket_is_not_used_again_before_its_wish_is_fulfilled() {
        use crate::model::id::{ProcessId, ProgramName};
        let process = ProcessId::new(&ProgramName::new("web").expect("a name"), 0);
        let output = |ticket| FromNotifier::WantOutput { ticket, process: process.clone() };
        let sendmail = |ticket| FromNotifier::WantSendmail {
            ticket,
            channel: ChannelName("email".to_owned()),
            recipients: Vec::new(),
        };
        let mut permits = notifier();
        for (wish, fulfilled) in [
            (&output as &dyn Fn(u64) -> FromNotifier, ToNotifier::Output { ticket: 1 }),
            (&sendmail, ToNotifier::SendmailEnded { ticket: 1, result: Ok(0) }),
        ] {
            assert_eq!(permits.judge_notifier(&wish(1), None), Ok(()));
            assert_eq!(permits.judge_notifier(&wish(1), None), Err(Violation::NotFree(1)));
            permits.told_notifier(&fulfilled);
            let judged: Vec<_> = (1..=101).map(|ticket| permits.judge_notifier(&wish(ticket), None)).collect();
            assert!(judged[..100].iter().all(Result::is_ok));
            assert_eq!(judged[100], Err(Violation::NotFree(101)), "too many at once");
        }
        let early = Permits::default().judge_notifier(&output(1), None);
        assert_eq!(early, Err(Violation::BeforeReady));
    }

    #[test]
    fn only_what_was_asked_is_answered_until_the_last_answer() {
        use crate::protocol::notifier::{Answer, Question};
        let mut permits = notifier();
        let answer = |ticket, last| FromNotifier::Answer { ticket, answer: Answer::Done { count: 1 }, last };
        assert_eq!(permits.judge_notifier(&answer(1, false), None), Err(Violation::NotAsked(1)));
        permits.told_notifier(&ToNotifier::Ask { ticket: 1, question: Question::Queue });
        for (last, judged) in [(false, Ok(())), (true, Ok(())), (true, Err(Violation::NotAsked(1)))] {
            assert_eq!(permits.judge_notifier(&answer(1, last), None), judged);
        }
        for ticket in 2..=1002 {
            permits.told_notifier(&ToNotifier::Ask { ticket, question: Question::Queue });
        }
        assert_eq!(permits.judge_notifier(&answer(2, true), None), Err(Violation::NotAsked(2)), "it is long forgotten");
        assert_eq!(permits.judge_notifier(&answer(1002, true), None), Ok(()));
    }

    #[test]
    fn alerts_are_drained_when_the_core_has_asked_for_it() {
        let mut permits = notifier();
        let drained = FromNotifier::Drained { left: 3 };
        assert_eq!(permits.judge_notifier(&drained, None), Err(Violation::OutOfTurn("Drained")));
        permits.told_notifier(&ToNotifier::Drain);
        assert_eq!(permits.judge_notifier(&drained, None), Ok(()));
        assert_eq!(permits.judge_notifier(&drained, None), Err(Violation::OutOfTurn("Drained")));
    }

    fn with_email() -> Permits {
        use crate::model::event::Severity;
        use crate::model::notify::{Channel, Notify, Syslog, SyslogTarget, Timing, Transport};
        let syslog = Syslog {
            target: SyslogTarget::Local("/dev/log".into()),
            facility: 3,
            tag: String::new(),
            sd_id: String::new(),
            ca: None,
            server_name: None,
        };
        let channel = Channel {
            name: ChannelName("email".to_owned()),
            min_severity: Severity::Info,
            timing: Timing::default(),
            transport: Transport::Syslog(syslog),
        };
        let notify = Notify { channels: vec![channel], ..Notify::default() };
        let mut permits = notifier();
        let configure = Configure { notify, run: 1, host: String::new(), programs: Vec::new() };
        permits.told_notifier(&ToNotifier::Configure(Box::new(configure)));
        permits
    }

    #[test]
    fn only_channels_that_the_notifier_was_told_of_fail_and_recover_in_few_words() {
        let channel =
            |name: &str, health| FromNotifier::Channel { channel: ChannelName(name.to_owned()), health, tell: true };
        let failing = |length| Health::Failing { seconds: 1, cause: "x".repeat(length) };
        let mut permits = with_email();
        let mut judge = |message| permits.judge_notifier(&message, None);
        assert_eq!(judge(channel("email", Health::Well)), Ok(()));
        assert_eq!(judge(channel("email", failing(WORDS_MAX))), Ok(()));
        assert_eq!(judge(channel("email", failing(WORDS_MAX + 1))), Err(Violation::TooLong(WORDS_MAX + 1)));
        assert_eq!(judge(channel("webhooks.x", Health::Well)), Err(Violation::UnknownChannel));
        assert_eq!(notifier().judge_notifier(&channel("email", Health::Well), None), Err(Violation::UnknownChannel));
    }

    #[test]
    fn something_is_lost_for_a_reason_and_secrets_may_always_be_wanted() {
        let mut permits = notifier();
        let mut judge = |message| permits.judge_notifier(&message, None);
        let lost = |messages, length| FromNotifier::Lost { messages, why: "x".repeat(length) };
        assert_eq!(judge(lost(1, 10)), Ok(()));
        assert_eq!(judge(lost(0, 10)), Ok(()), "nothing yet: the disk fails");
        assert_eq!(judge(lost(1, 5000)), Err(Violation::TooLong(5000)));
        let spool = |failure: Option<usize>| FromNotifier::Spool { failure: failure.map(|length| "x".repeat(length)) };
        assert_eq!((judge(spool(None)), judge(spool(Some(10)))), (Ok(()), Ok(())));
        assert_eq!(judge(spool(Some(5000))), Err(Violation::TooLong(5000)));
        assert_eq!(judge(FromNotifier::WantSecrets), Ok(()));
        assert_eq!(Permits::default().judge_notifier(&FromNotifier::WantSecrets, None), Err(Violation::BeforeReady));
    }
}
