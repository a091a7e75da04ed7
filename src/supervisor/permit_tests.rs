//! Each message in its turn, and out of it.

use super::*;
use crate::model::event::EventLogFormat;
use crate::protocol::control::Channel;
use crate::protocol::logger::{OutletKind, SinkSettings, TailId};

const FILE: SinkId = SinkId(7);
const PIPE: StreamId = StreamId(8);

fn logger() -> Permits {
    let settings = SinkSettings { max_bytes: 1, backups: 1, timestamps: false, strip_ansi: false };
    let (tail, channel) = (TailId(9), Channel::Stdout);
    let mut permits = Permits::default();
    permits.told_logger(&ToLogger::Sink { sink: FILE, settings, name: None, rotated: false, dropping: false });
    permits.told_logger(&ToLogger::Stream {
        stream: PIPE,
        tail,
        process: String::new(),
        channel,
        sink: Some(FILE),
        voice: None,
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
    assert_eq!(permits.judge_logger(&FromLogger::Astray { sink: FILE }), Ok(()));
    let strange = FromLogger::Astray { sink: SinkId(8) };
    assert_eq!(permits.judge_logger(&strange), Err(Violation::UnknownFile(8)));
    permits.told_logger(&ToLogger::Close { sink: FILE });
    assert_eq!(permits.judge_logger(&rotate), Ok(()), "the two messages have crossed");
    let unknown = FromLogger::Rotate { sink: SinkId(PIPE.0) };
    assert_eq!(permits.judge_logger(&unknown), Err(Violation::UnknownFile(8)));
    let settings = SinkSettings { max_bytes: 1, backups: 1, timestamps: false, strip_ansi: false };
    for sink in (100..).map(SinkId).take(CLOSED_MAX) {
        permits.told_logger(&ToLogger::Sink { sink, settings, name: None, rotated: false, dropping: false });
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
    let losing = |sink| FromLogger::Losing { sink, bytes: u64::MAX };
    assert_eq!(permits.judge_logger(&losing(FILE)), Ok(()), "the rest of a line, after the end");
    assert_eq!(permits.judge_logger(&losing(SinkId(9))), Err(Violation::UnknownFile(9)));
    for errno in [0, -1, 4096, i32::MIN] {
        let made_up = FromLogger::Dropping { sink: FILE, errno };
        assert_eq!(permits.judge_logger(&made_up), Err(Violation::NoError(errno)));
    }
}

#[test]
fn an_outlet_is_connected_anew_once_for_each_answer() {
    let outlet = SinkId(5);
    let mut permits = logger();
    let redial = FromLogger::Redial { sink: outlet };
    assert_eq!(permits.judge_logger(&redial), Err(Violation::UnknownFile(5)));
    assert_eq!(permits.judge_logger(&FromLogger::Redial { sink: FILE }), Err(Violation::UnknownFile(7)), "no outlet");
    permits.told_logger(&ToLogger::Outlet { sink: outlet, kind: OutletKind::Syslog, dropping: false });
    for _ in 0..2 {
        assert_eq!(permits.judge_logger(&redial), Ok(()));
        assert_eq!(permits.judge_logger(&redial), Err(Violation::OutOfTurn("Redial")));
        permits.told_logger(&ToLogger::Dialled { sink: outlet, errno: 2 });
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
    let output = |ticket| FromNotifier::WantOutput { ticket, process: process.clone(), pid: None };
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
