//! One channel's queue in virtual time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::merge::merge;
use super::super::notice::{Item, Notice, Purpose};
use super::super::queues::Queues;
use super::*;
use crate::model::event::{Event, Facts, Kind, Severity};
use crate::model::id::ChannelName;
use crate::model::notify::SpoolLimits;

fn wall() -> WallTime {
    WallTime::from_millisecond(1_795_162_323_000).expect("in range")
}

fn at(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(seconds))
}

fn entry_of(n: u64, severity: Severity) -> Entry {
    let event = Event {
        seq: n,
        time: wall(),
        severity,
        kind: Kind::ProcessCrashed,
        host: "h".to_owned(),
        facts: Facts { process: Some(format!("p{n}")), ..Facts::default() },
    };
    let item = Item {
        incident: format!("i{n}"),
        program: None,
        group_name: None,
        severity,
        event,
        started_at: wall(),
        last_at: wall(),
        count: 1,
        new: 1,
        processes: Vec::new(),
        state: None,
        output: None,
        is_flapping: false,
        first_severity: None,
        flaps: None,
        goes_on: false,
        ended: None,
    };
    Entry::new(Notice {
        id: format!("n{n}"),
        channel: ChannelName("email".to_owned()),
        recipients: Vec::new(),
        host: "h".to_owned(),
        made_at: wall(),
        purpose: Purpose::Problem,
        severity,
        items: vec![item],
        more_items: 0,
        root: None,
        dropped: 0,
    })
}

fn queue(count: u64) -> Queue {
    let mut queue = Queue::default();
    for n in 0..count {
        queue.push(entry_of(n, Severity::Err), 100, Duration::ZERO, at(0));
    }
    queue
}

fn own() -> Vec<String> {
    ["ops@x", "dev@x", "gone@x", "busy@x"].map(str::to_owned).into()
}

fn failed(class: Class) -> Outcome {
    Outcome::Failed(Failure::new(class, "why"))
}

fn settle(queue: &mut Queue, outcome: Outcome, seconds: u64) -> Settled {
    queue.outcome(outcome, &own(), at(seconds), wall(), 0.5).expect("something was under way")
}

fn next_id(queue: &mut Queue, seconds: u64) -> Option<String> {
    queue.next(at(seconds)).map(|entry| entry.notice.id.clone())
}

#[test]
fn a_dead_server_is_probed_by_one_message_at_growing_pauses() {
    let mut queue = queue(50);
    let mut now = 0;
    for pause in [15, 30, 60, 120, 300, 600, 900, 900] {
        assert!(next_id(&mut queue, now).is_some());
        assert_eq!(next_id(&mut queue, now), None, "only one is under way");
        settle(&mut queue, failed(Class::Connection), now);
        assert_eq!(next_id(&mut queue, now + pause - 1), None);
        assert_eq!(queue.next_try(at(now)), Some(Duration::from_secs(pause)));
        now += pause;
    }
    let tried = queue.entries().filter(|entry| entry.tries > 0).count();
    assert_eq!(tried, 3, "a few messages probe, the others wait");
    assert!(next_id(&mut queue, now).is_some());
    settle(&mut queue, Outcome::Sent, now);
    assert_eq!(next_id(&mut queue, now).as_deref(), Some("n0"), "then the oldest first, at once");
}

#[test]
fn a_message_that_breaks_the_server_does_not_stop_the_others() {
    let mut queue = queue(5);
    let mut sent = Vec::new();
    let mut now = 0;
    while sent.len() < 4 {
        now += 1;
        assert!(now < 100_000, "{sent:?}");
        match next_id(&mut queue, now).as_deref() {
            Some("n0") => drop(settle(&mut queue, failed(Class::Connection), now)),
            Some(id) => {
                sent.push(id.to_owned());
                settle(&mut queue, Outcome::Sent, now);
            }
            None => {}
        }
    }
    assert_eq!(sent, ["n1", "n2", "n3", "n4"]);
}

#[test]
fn a_refused_password_is_tried_seldom_after_asking_for_it_again_and_at_once_when_it_changes() {
    let mut queue = queue(2);
    next_id(&mut queue, 0);
    settle(&mut queue, failed(Class::Configuration), 0);
    assert!(!queue.wants_secrets(at(299)));
    assert!(queue.wants_secrets(at(300)));
    assert!(!queue.wants_secrets(at(300)), "asked once");
    assert_eq!(next_id(&mut queue, 300), None, "the answer is waited for");
    queue.configured(false, at(301));
    assert!(next_id(&mut queue, 301).is_some());
    settle(&mut queue, failed(Class::Configuration), 301);
    assert_eq!(next_id(&mut queue, 301 + 899), None);
    queue.configured(false, at(400));
    assert_eq!(next_id(&mut queue, 400), None, "the same password again");
    queue.configured(true, at(401));
    assert!(next_id(&mut queue, 401).is_some());
    settle(&mut queue, Outcome::Sent, 401);
    assert_eq!(queue.health(at(401)), Health::Well);
}

#[test]
fn without_an_answer_about_secrets_it_is_tried_nevertheless() {
    let mut queue = queue(1);
    next_id(&mut queue, 0);
    settle(&mut queue, failed(Class::Configuration), 0);
    assert!(queue.wants_secrets(at(300)));
    assert!(next_id(&mut queue, 302).is_some());
}

#[test]
fn each_recipient_has_its_own_fate_and_none_is_told_twice() {
    let mut queue = queue(1);
    next_id(&mut queue, 0);
    let say = |recipient: &str, result: Result<(), Class>| {
        (recipient.to_owned(), result.map_err(|class| Failure::new(class, "words")))
    };
    let outcome = Outcome::Recipients(vec![
        say("ops@x", Ok(())),
        say("dev@x", Ok(())),
        say("gone@x", Err(Class::Permanent)),
        say("busy@x", Err(Class::Temporary)),
    ]);
    let Settled::Waits(entry) = settle(&mut queue, outcome, 0) else { panic!("it waits") };
    assert_eq!(entry.pending(&own()), ["busy@x"]);
    assert_eq!(entry.reason.as_deref(), Some("busy@x: words"));
    assert_eq!(queue.health(at(0)), Health::Well, "somebody got it");
    assert_eq!(next_id(&mut queue, 14), None);
    assert_eq!(queue.next(at(15)).map(|entry| entry.pending(&own())), Some(vec!["busy@x".to_owned()]));
    // A confused answer about somebody who is done with changes nothing.
    let outcome = Outcome::Recipients(vec![say("ops@x", Err(Class::Permanent)), say("busy@x", Ok(()))]);
    let Settled::Buried(entry) = settle(&mut queue, outcome, 15) else { panic!("buried") };
    assert_eq!(entry.reason.as_deref(), Some("gone@x: words"));
    assert_eq!(entry.recipients.values().filter(|fate| **fate == Fate::Sent).count(), 3);
    let mut again = *entry;
    again.revive();
    assert_eq!(again.pending(&own()), ["gone@x"]);
}

#[test]
fn a_refusal_is_not_forgotten_when_all_others_accept_it_later() {
    let mut queue = queue(1);
    next_id(&mut queue, 0);
    let refused = ("gone@x".to_owned(), Err(Failure::new(Class::Permanent, "words")));
    let later =
        own().into_iter().filter(|to| to != "gone@x").map(|to| (to, Err(Failure::new(Class::Temporary, "busy"))));
    let outcome = Outcome::Recipients(later.chain([refused]).collect());
    assert!(matches!(settle(&mut queue, outcome, 0), Settled::Waits(_)));
    next_id(&mut queue, 100);
    let Settled::Buried(entry) = settle(&mut queue, Outcome::Sent, 100) else { panic!("buried") };
    assert_eq!(entry.reason.as_deref(), Some("gone@x: words"));
    let mut again = *entry;
    again.revive();
    assert_eq!(again.pending(&own()), ["gone@x"]);
}

#[test]
fn too_large_is_tried_once_more_without_output_and_then_buried() {
    let mut queue = queue(1);
    next_id(&mut queue, 0);
    let Settled::Waits(entry) = settle(&mut queue, failed(Class::Content), 0) else { panic!("it waits") };
    assert!(entry.without_output);
    assert!(queue.next(at(0)).is_some_and(|entry| entry.without_output));
    let Settled::Buried(entry) = settle(&mut queue, failed(Class::Content), 0) else { panic!("buried") };
    assert_eq!((entry.tries, entry.reason.as_deref()), (2, Some("why")));
    assert_eq!((queue.len(), queue.failed), (0, 1));
}

#[test]
fn three_messages_in_a_row_that_are_not_taken_now_make_the_channel_wait() {
    let mut queue = queue(10);
    for n in 0..3 {
        assert_eq!(next_id(&mut queue, 0), Some(format!("n{n}")));
        settle(&mut queue, failed(Class::Temporary), 0);
    }
    assert_eq!(next_id(&mut queue, 14), None);
    assert!(next_id(&mut queue, 15).is_some());
}

#[test]
fn a_wish_of_the_server_holds_for_the_channel() {
    let mut queue = queue(2);
    next_id(&mut queue, 0);
    let failure = Failure { retry_after: Some(Duration::from_secs(120)), ..Failure::new(Class::Temporary, "429") };
    settle(&mut queue, Outcome::Failed(failure), 0);
    assert_eq!(next_id(&mut queue, 119), None);
    assert!(next_id(&mut queue, 120).is_some());
}

#[test]
fn a_failing_channel_is_news_at_once_told_to_all_after_ten_minutes_and_when_it_is_well() {
    let mut queue = queue(2);
    assert_eq!(queue.news(at(0)), None);
    next_id(&mut queue, 0);
    settle(&mut queue, failed(Class::Connection), 5);
    let failing = |seconds| Health::Failing { seconds, cause: "why".to_owned() };
    assert_eq!(queue.news(at(6)), Some((failing(1), false)));
    assert_eq!(queue.news(at(604)), None);
    assert!(queue.deadline(Duration::MAX).is_some_and(|due| due <= at(605)));
    assert_eq!(queue.news(at(605)), Some((failing(600), true)));
    assert_eq!(queue.news(at(700)), None);
    next_id(&mut queue, 700);
    settle(&mut queue, Outcome::Sent, 700);
    assert_eq!(queue.news(at(700)), Some((Health::Well, true)));
    assert_eq!((queue.sent, queue.last_success), (1, Some(wall())));
}

#[test]
fn what_is_too_old_is_buried_with_its_last_reason() {
    let mut queue = queue(1);
    queue.push(entry_of(9, Severity::Err), 1, Duration::from_secs(50), at(0));
    let max_age = Duration::from_secs(60);
    assert_eq!(queue.deadline(max_age), Some(Moment::default()), "something is to be sent");
    assert_eq!(next_id(&mut queue, 0).as_deref(), Some("n0"));
    settle(&mut queue, failed(Class::Temporary), 0);
    assert_eq!(next_id(&mut queue, 1).as_deref(), Some("n9"));
    settle(&mut queue, failed(Class::Connection), 1);
    assert_eq!(queue.deadline(max_age), Some(at(10)));
    let buried = queue.expire(max_age, at(10));
    assert_eq!(buried.iter().map(|entry| entry.notice.id.as_str()).collect::<Vec<_>>(), ["n9"]);
    let buried = queue.expire(max_age, at(60));
    assert_eq!(buried[0].reason.as_deref(), Some("it could not be sent in time; at last: why"));
}

#[test]
fn what_only_the_wall_clock_calls_old_is_tried_before_it_is_buried() {
    let (mut queue, max_age, years) = (queue(0), Duration::from_secs(60), Duration::from_secs(50 * 365 * 86_400));
    queue.push(entry_of(1, Severity::Err), 1, years, at(0));
    queue.push(entry_of(2, Severity::Err), 1, years, at(0));
    assert!(queue.expire(max_age, at(0)).is_empty());
    assert_eq!(next_id(&mut queue, 0).as_deref(), Some("n1"));
    settle(&mut queue, Outcome::Sent, 0);
    assert!(queue.expire(max_age, at(59)).is_empty());
    next_id(&mut queue, 59);
    settle(&mut queue, failed(Class::Connection), 59);
    assert_eq!(queue.expire(max_age, at(59)).len(), 1);
    queue.push(entry_of(3, Severity::Err), 1, years, at(100));
    assert_eq!(queue.expire(max_age, at(160)).len(), 1, "it has waited long enough by this clock alone");
}

#[test]
fn a_channel_that_fails_goes_on_failing_and_waiting_in_the_next_notifier() {
    let later = |seconds: i64| wall() + jiff::SignedDuration::from_secs(seconds);
    let mut before = queue(1);
    assert_eq!(before.failure(at(0), wall()), None);
    next_id(&mut before, 0);
    settle(&mut before, failed(Class::Configuration), 0);
    assert!(before.take_change() && !before.take_change());
    let saved = before.failure(at(100), later(100)).expect("it fails");
    let json = serde_json::to_string(&saved).expect("json");
    let restored = |wall: WallTime| {
        let mut queue = queue(1);
        queue.restore(serde_json::from_str(&json).expect("read"), at(5), wall);
        queue
    };
    let mut after = restored(later(200));
    assert_eq!(after.health(at(5)), Health::Failing { seconds: 200, cause: "why".to_owned() });
    assert_eq!(next_id(&mut after, 104), None, "the pause goes on");
    assert!(after.wants_secrets(at(105)) && next_id(&mut after, 108).is_some());
    settle(&mut after, failed(Class::Configuration), 108);
    assert_eq!(next_id(&mut after, 108 + 899), None, "it was the second failure");
    let news = after.news(at(405));
    assert_eq!(news, Some((Health::Failing { seconds: 600, cause: "why".to_owned() }, true)));
    // Clocks that jump make nothing wait for longer than the longest pause.
    for jump in [-1_000_000_000, 1_000_000_000] {
        let mut after = restored(later(jump));
        assert!(matches!(after.health(at(5)), Health::Failing { .. }));
        assert!(after.wants_secrets(at(5 + 3600)), "{jump}");
    }
}

#[test]
fn what_waited_too_long_is_merged_once_the_channel_is_back() {
    let mut queue = queue(6);
    next_id(&mut queue, 0);
    settle(&mut queue, failed(Class::Connection), 0);
    queue.push(entry_of(7, Severity::Crit), 1, Duration::ZERO, at(1900));
    let stale_after = Duration::from_secs(1800);
    assert!(queue.take_stale(stale_after, at(2000)).is_empty(), "it is not back yet");
    assert_eq!(next_id(&mut queue, 2000).as_deref(), Some("n0"));
    settle(&mut queue, Outcome::Sent, 2000);
    let groups = queue.take_stale(stale_after, at(2000));
    assert_eq!(groups.len(), 1);
    let entry = merge(groups.into_iter().next().expect("one")).expect("a digest");
    assert_eq!((entry.notice.id.as_str(), entry.merged.len(), entry.notice.items.len()), ("n1-d", 5, 5));
    queue.push_digest(entry, 1, Duration::from_secs(2000), at(2000));
    assert_eq!(next_id(&mut queue, 2000).as_deref(), Some("n1-d"));
    settle(&mut queue, Outcome::Sent, 2000);
    assert_eq!(next_id(&mut queue, 2000).as_deref(), Some("n7"));
    assert!(queue.take_stale(stale_after, at(9000)).is_empty(), "once");
}

#[test]
fn beyond_the_bounds_the_fullest_channel_loses_the_least_severe_then_the_oldest() {
    let mut queues = Queues::default();
    let email = queues.channels.entry(ChannelName("email".to_owned())).or_default();
    for (n, severity) in [(1, Severity::Err), (2, Severity::Warning), (3, Severity::Warning), (4, Severity::Crit)] {
        email.push(entry_of(n, severity), 100, Duration::ZERO, at(0));
    }
    let chat = queues.channels.entry(ChannelName("webhooks.chat".to_owned())).or_default();
    chat.push(entry_of(5, Severity::Info), 100, Duration::ZERO, at(0));
    let limits = |max_messages, max_bytes| SpoolLimits { max_messages, max_bytes, max_age: Duration::MAX };
    let ids = |dropped: Vec<Entry>| dropped.into_iter().map(|entry| entry.notice.id).collect::<Vec<_>>();
    assert_eq!(ids(queues.bound(&limits(4, 1000))), ["n2"]);
    assert_eq!(ids(queues.bound(&limits(4, 300))), ["n3"]);
    assert_eq!(ids(queues.bound(&limits(2, 300))), ["n1"]);
    let dropped: u64 = queues.channels.values().map(|queue| queue.dropped).sum();
    assert_eq!(dropped, 3);
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8),
    Wait(u16),
    Sent,
    Failed(u8),
    Recipients(Vec<u8>),
    Configured(bool),
    Retry,
    Drop,
    Expire,
    Stale,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..5_u8).prop_map(Step::Push),
        3 => (0..2000_u16).prop_map(Step::Wait),
        2 => Just(Step::Sent),
        3 => (0..5_u8).prop_map(Step::Failed),
        3 => prop::collection::vec(0..6_u8, 4).prop_map(Step::Recipients),
        1 => any::<bool>().prop_map(Step::Configured),
        1 => Just(Step::Retry),
        1 => Just(Step::Drop),
        1 => Just(Step::Expire),
        1 => Just(Step::Stale),
    ];
    prop::collection::vec(step, 1..120)
}

const CLASSES: [Class; 5] =
    [Class::Connection, Class::Configuration, Class::Temporary, Class::Permanent, Class::Content];
const SEVERITIES: [Severity; 5] = [Severity::Crit, Severity::Err, Severity::Warning, Severity::Notice, Severity::Info];

/// Where every notice is, by its id.
#[derive(Default)]
struct Ledger(BTreeMap<String, &'static str>);

impl Ledger {
    fn left(&mut self, entry: &Entry, how: &'static str) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.0.insert(entry.notice.id.clone(), how), Some("waits"), "{} left twice", &entry.notice.id);
        Ok(())
    }
}

proptest! {
    #[test]
    fn every_notice_ends_once_and_no_recipient_is_tried_after_it_is_done(steps in steps()) {
        let mut queue = Queue::default();
        let mut ledger = Ledger::default();
        let mut done: BTreeMap<(String, String), ()> = BTreeMap::new();
        let (mut now, mut count, mut sent, mut failed_count, mut dropped) = (0, 0, 0, 0, 0);
        let max_age = Duration::from_secs(20_000);
        for step in steps {
            match step {
                Step::Push(severity) => {
                    count += 1;
                    let entry = entry_of(count, SEVERITIES[usize::from(severity)]);
                    ledger.0.insert(entry.notice.id.clone(), "waits");
                    queue.push(entry, 10, Duration::ZERO, at(now));
                }
                Step::Wait(seconds) => now += u64::from(seconds),
                Step::Sent | Step::Failed(_) | Step::Recipients(_) => {
                    let busy = queue.under_way.is_some();
                    let next = queue.next(at(now)).cloned();
                    prop_assert!(!(busy && next.is_some()), "two are under way");
                    let Some(entry) = next else { continue };
                    prop_assert!(queue.next(at(now)).is_none(), "two are under way");
                    let pending = entry.pending(&own());
                    let outcome = match step {
                        Step::Sent => Outcome::Sent,
                        Step::Failed(class) => failed(CLASSES[usize::from(class)]),
                        Step::Recipients(picks) => Outcome::Recipients(
                            pending.iter().zip(picks).map(|(recipient, pick)| {
                                let result = CLASSES.get(usize::from(pick)).map_or(Ok(()), |class| Err(Failure::new(*class, "x")));
                                (recipient.clone(), result)
                            }).collect(),
                        ),
                        _ => unreachable!("matched above"),
                    };
                    for recipient in &pending {
                        let key = (entry.notice.id.clone(), recipient.clone());
                        prop_assert!(!done.contains_key(&key), "{key:?} is tried again");
                    }
                    let settled = queue.outcome(outcome, &own(), at(now), wall(), 0.5).expect("under way");
                    let (Settled::Sent(after) | Settled::Buried(after) | Settled::Waits(after)) = &settled;
                    for recipient in after.recipients.keys() {
                        done.insert((after.notice.id.clone(), recipient.clone()), ());
                    }
                    match &settled {
                        Settled::Sent(entry) => { ledger.left(entry, "sent")?; sent += 1; }
                        Settled::Buried(entry) => {
                            prop_assert!(entry.reason.is_some());
                            ledger.left(entry, "buried")?;
                            failed_count += 1;
                        }
                        Settled::Waits(entry) => prop_assert!(!entry.sending),
                    }
                }
                Step::Configured(is_changed) => queue.configured(is_changed, at(now)),
                Step::Retry => { queue.retry(None, at(now)); }
                Step::Drop => if let Some(entry) = queue.drop_least() {
                    ledger.left(&entry, "dropped")?;
                    dropped += 1;
                },
                Step::Expire => for entry in queue.expire(max_age, at(now)) {
                    ledger.left(&entry, "buried")?;
                    failed_count += 1;
                },
                Step::Stale => for group in queue.take_stale(Duration::from_secs(1800), at(now)) {
                    for entry in &group {
                        prop_assert_eq!(entry.tries, 0);
                        ledger.left(entry, "merged")?;
                    }
                    let digest = merge(group.clone()).expect("several");
                    prop_assert!(group.iter().all(|entry| digest.merged.contains(&entry.notice.id)));
                    prop_assert_eq!(digest.notice.items.iter().map(|item| item.new).sum::<u64>(),
                        group.iter().flat_map(|entry| &entry.notice.items).map(|item| item.new).sum::<u64>());
                    prop_assert!(ledger.0.insert(digest.notice.id.clone(), "waits").is_none());
                    queue.push_digest(digest, 10, Duration::from_secs(1800), at(now));
                },
            }
            // A queue that is not waited for by anybody has nothing to do.
            prop_assert!(queue.len() == 0 || queue.deadline(max_age).is_some());
        }
        let waiting = ledger.0.values().filter(|how| **how == "waits").count();
        prop_assert_eq!(waiting, queue.len());
        prop_assert_eq!((queue.sent, queue.failed, queue.dropped), (sent, failed_count, dropped));
        prop_assert!(queue.entries().all(|entry| ledger.0.get(&entry.notice.id) == Some(&"waits")));
    }
}

#[test]
fn a_message_that_is_too_large_loses_output_from_its_end_and_then_items_which_are_counted() {
    use super::super::entry::ENTRY_MAX;
    use super::super::notice::Output;
    let size = |entry: &Entry| serde_json::to_vec(entry).expect("json").len();
    let mut notice = entry_of(1, Severity::Err).notice;
    let mut item = notice.items.remove(0);
    item.output = Some(Output { lines: vec!["\0".repeat(4 << 10)], is_cut: false });
    notice.items = vec![item; 50];
    let entry = Entry::new(notice.clone());
    let shown = entry.notice.items.iter().filter(|item| item.output.is_some()).count();
    assert!(size(&entry) <= ENTRY_MAX && entry.notice.items.len() == 50 && shown > 15, "{} {shown}", size(&entry));
    assert!(entry.notice.items[0].output.is_some() && entry.notice.items[49].output.is_none());
    notice.items.iter_mut().for_each(|item| item.processes = vec!["x".repeat(1000); 20]);
    let entry = Entry::new(notice.clone());
    assert!(size(&entry) <= ENTRY_MAX && entry.notice.items.len() < 50);
    assert_eq!(entry.notice.items.len() as u64 + entry.notice.more_items, 50);
    notice.items.truncate(1);
    notice.items[0].event.facts.message = Some("ö".repeat(1 << 20));
    assert!(size(&Entry::new(notice)) <= ENTRY_MAX);
}
