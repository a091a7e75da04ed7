//! Alerts in virtual time over a real directory; the test plays the core and the network.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use proptest::prelude::*;

use super::saving::{SAVE_INTERVAL, UNSAVED_MAX};
use super::*;
use crate::alert::notice::Output;
use crate::alert::outcome::{Class, Failure, Outcome};
use crate::model::event::{Facts, Kind, Severity};
use crate::model::id::{ProcessId, ProgramName};
use crate::model::notify::{
    Alerts as ProgramAlerts, Email, Health, Notify, RateLimit, Rule, SecretKind, Server, Smtp, SpoolLimits, Timing,
};
use crate::protocol::notifier::{Answer, Question, QueueReport};
use crate::system::{socket, stdio};

#[derive(Default)]
struct Outside {
    sends: Vec<(JobId, Notice, Vec<String>)>,
    news: Vec<News>,
    secrets: Vec<Secrets>,
}

#[derive(Clone, Default)]
struct Fake(Rc<RefCell<Outside>>);

impl Network for Fake {
    fn bell(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn order(&self, order: Order) -> Result<(), Gone> {
        let mut outside = self.0.borrow_mut();
        match order {
            Order::Send { job, message: Message::Mail { recipients, bytes, .. }, dialogue, .. } => {
                let notice = serde_json::from_slice(&bytes).expect("a notice");
                if dialogue {
                    outside.news.push(News::Line { job, line: "220 hello".to_owned() });
                }
                outside.sends.push((job, notice, recipients));
            }
            Order::Configure(channels) => outside.secrets = channels.into_iter().map(|(_, secrets)| secrets).collect(),
            _ => {}
        }
        Ok(())
    }

    fn news(&self) -> Vec<News> {
        std::mem::take(&mut self.0.borrow_mut().news)
    }
}

/// The notice itself, so that the test can read what is sent.
fn render(notice: &Notice, _: &Channel, _: &Rendering) -> Result<Message, String> {
    let bytes = serde_json::to_vec(notice).map_err(|error| error.to_string())?;
    Ok(Message::Mail { envelope_from: "tm@x".to_owned(), recipients: Vec::new(), bytes: Arc::from(bytes) })
}

fn email(via: MailTransport) -> Channel {
    let rate_limit = RateLimit { burst: 1000, interval: Duration::from_secs(1) };
    Channel {
        name: ChannelName("email".to_owned()),
        min_severity: Severity::Info,
        timing: Timing { rate_limit, ..Timing::default() },
        transport: Transport::Email(Email {
            via,
            from: "tm@x".to_owned(),
            to: vec!["Ops <ops@x>".to_owned(), "dev@x".to_owned()],
            envelope_from: "tm@x".to_owned(),
            output_lines: 20,
            redact: Vec::new(),
        }),
    }
}

fn smtp() -> MailTransport {
    MailTransport::Smtp(Smtp {
        servers: vec![Server { host: "h".to_owned(), port: 25 }],
        tls: crate::model::notify::MailTls::None,
        ca: None,
        server_name: None,
        username: None,
    })
}

fn program(number: u8) -> ProgramName {
    ProgramName::new(&format!("p{number}")).expect("a name")
}

/// `bytes` of escape characters: the worst that a program can write.
fn escapes(bytes: usize) -> Output {
    Output { lines: vec!["\x1b".repeat(bytes)], is_cut: false }
}

fn settings(via: MailTransport, run: u64) -> Configure {
    let channel = email(via);
    let rule = Rule {
        on: vec!["process.crashed".to_owned(), "process.fatal".to_owned()],
        to: vec![channel.name.clone()],
        ..Rule::default()
    };
    let shutdown_drain = Duration::from_secs(5);
    let notify = Notify { channels: vec![channel], rules: vec![rule], shutdown_drain, spool: SpoolLimits::default() };
    Configure { notify, run, host: "h".to_owned(), programs: (0..=255).map(program).collect() }
}

struct World {
    path: PathBuf,
    outside: Fake,
    alerts: Alerts<Fake>,
    poll: Poll,
    seconds: u64,
    seq: u64,
    via: MailTransport,
    /// Events that were not acknowledged.
    under_way: Vec<(Event, About)>,
    told: Vec<FromNotifier>,
}

fn start(path: &Path, outside: &Fake, seconds: u64) -> Alerts<Fake> {
    let open = |name: &str| {
        std::fs::create_dir_all(path.join(name)).expect("made");
        Folder::new(File::open(path.join(name)).expect("opened").into()).expect("a directory")
    };
    let folders = Folders { spool: Some(open("spool")), maildir: Some(open("maildir")) };
    Alerts::new(outside.clone(), render, folders, at(seconds))
}

fn at(seconds: u64) -> Now {
    let millis = 1_795_162_323_000 + i64::try_from(seconds).expect("small") * 1000;
    Now {
        moment: Moment::new(Duration::from_secs(1000 + seconds)),
        wall: WallTime::from_millisecond(millis).expect("in range"),
    }
}

impl World {
    fn new(path: &Path, via: MailTransport) -> Self {
        let outside = Fake::default();
        let alerts = start(path, &outside, 0);
        let poll = Poll::new().expect("epoll");
        let mut world = Self {
            path: path.to_owned(),
            outside,
            alerts,
            poll,
            seconds: 0,
            seq: 0,
            via,
            under_way: Vec::new(),
            told: Vec::new(),
        };
        world.configure();
        world
    }

    fn hear(&mut self, message: ToNotifier, descriptors: Vec<OwnedFd>) {
        self.alerts.hear(message, descriptors, &mut self.poll, at(self.seconds));
    }

    fn configure(&mut self) {
        let settings = settings(self.via.clone(), 1);
        self.hear(ToNotifier::Configure(Box::new(settings)), Vec::new());
    }

    fn crash_of(&mut self, number: u8) {
        self.seq += 1;
        let event = Event {
            seq: self.seq,
            time: at(self.seconds).wall,
            severity: Kind::ProcessCrashed.severity(),
            kind: Kind::ProcessCrashed,
            host: "h".to_owned(),
            facts: Facts { program: Some(program(number)), process: Some(format!("p{number}")), ..Facts::default() },
        };
        let alerts = ProgramAlerts::default();
        let about = About { program: program(number), instance: 0, group_name: None, alerts };
        self.alerts.event(&event, Some(Box::new(about.clone())), at(self.seconds));
        self.under_way.push((event, about));
    }

    /// One turn; what the core has heard of as saved it does not send again.
    fn turn(&mut self) {
        let told = self.alerts.turn(&mut self.poll, at(self.seconds));
        self.told.extend(told);
        if self.alerts.is_saved() {
            self.under_way.clear();
        }
    }

    /// The notifier dies, and the next one begins.
    fn restart(&mut self) {
        self.outside.0.borrow_mut().sends.clear();
        self.outside.0.borrow_mut().news.clear();
        self.alerts = start(&self.path, &self.outside, self.seconds);
        self.configure();
        for (event, about) in &self.under_way {
            self.alerts.event(event, Some(Box::new(about.clone())), at(self.seconds));
        }
    }

    fn sends(&self) -> Vec<(JobId, Notice, Vec<String>)> {
        std::mem::take(&mut self.outside.0.borrow_mut().sends)
    }

    fn answer(&self, job: JobId, outcome: Outcome) {
        self.outside.0.borrow_mut().news.push(News::Done { job, outcome });
    }

    fn ask(&mut self, question: Question) -> Vec<Answer> {
        self.told.clear();
        self.hear(ToNotifier::Ask { ticket: 1, question }, Vec::new());
        self.turn();
        let mut answers = Vec::new();
        let mut ended = false;
        for told in self.told.drain(..) {
            let length = serde_json::to_vec(&told).expect("json").len();
            assert!(length < socket::PACKET_MAX, "{length} bytes fit in no packet");
            if let FromNotifier::Answer { answer, last, .. } = told {
                assert!(!ended, "nothing follows the last");
                ended = last;
                answers.push(answer);
            }
        }
        answers
    }

    fn report(&mut self) -> QueueReport {
        let mut whole = QueueReport::default();
        for answer in self.ask(Question::Queue) {
            let Answer::Queue(part) = answer else { panic!("{answer:?}") };
            whole.channels.extend(part.channels);
            whole.waiting.extend(part.waiting);
            whole.dead.extend(part.dead);
            whole.spool_failure = whole.spool_failure.or(part.spool_failure);
        }
        whole
    }

    fn files(&self, folder: &str) -> usize {
        std::fs::read_dir(self.path.join(folder)).expect("there").count()
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn no(class: Class) -> Outcome {
    Outcome::Failed(Failure::new(class, "no"))
}

#[test]
fn a_crash_is_on_disk_before_it_is_sent_and_leaves_when_it_is_taken() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    world.crash_of(1);
    world.turn();
    assert!(world.sends().is_empty(), "it waits for company");
    world.seconds += 12;
    world.turn();
    let (job, notice, recipients) = world.sends().pop().expect("sent");
    assert_eq!(recipients, ["ops@x", "dev@x"]);
    assert_eq!((notice.items.len(), world.files("spool/queue")), (1, 1));
    let text = std::fs::read_to_string(directory.path().join(format!("spool/queue/{}.email.json", notice.id)));
    assert!(text.expect("there").contains("\"sending\":true"));
    world.answer(job, Outcome::Sent);
    world.turn();
    assert_eq!((world.files("spool/queue"), world.report().channels[0].sent), (0, 1));
}

#[test]
fn the_next_notifier_goes_on_with_the_same_message_and_takes_no_event_twice() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    world.crash_of(1);
    let unacknowledged = world.under_way.clone();
    world.turn();
    world.under_way = unacknowledged; // the acknowledgement was lost
    world.restart();
    world.turn();
    world.seconds += 12;
    world.turn();
    let (_, first, _) = world.sends().pop().expect("sent");
    assert_eq!(first.items[0].count, 1);
    world.restart();
    world.turn();
    let (job, again, _) = world.sends().pop().expect("sent again");
    assert_eq!(again, first);
    world.answer(job, Outcome::Sent);
    world.turn();
    world.restart();
    world.seconds += 1;
    world.turn();
    assert!(world.sends().is_empty() && world.report().dead.is_empty());
}

#[test]
fn what_fifty_programs_write_makes_no_message_that_is_not_read_again() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    for number in 0..60 {
        world.crash_of(number);
        world.alerts.pipelines.output(&ProcessId::new(&program(number), 0), &escapes(8 << 10));
    }
    world.turn();
    world.seconds += 12;
    world.turn();
    assert_eq!(world.sends().len(), 1);
    for _ in 0..3 {
        world.restart();
        for queue in world.alerts.queues.channels.values_mut() {
            queue.retry(None, at(0).moment);
        }
        world.turn();
        let (_, notice, _) = world.sends().pop().expect("sent again");
        assert_eq!(notice.items.len(), 50);
        assert!(notice.items.iter().all(|item| item.output.is_some()), "8 KiB of JSON for each");
        world.alerts.end(at(world.seconds));
    }
    let report = world.report();
    assert_eq!((report.waiting.len(), report.dead.len()), (1, 0), "{report:?}");
}

#[test]
fn the_state_keeps_the_output_of_the_last_incidents_only() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    for number in 0..=255 {
        world.crash_of(number);
        world.alerts.pipelines.output(&ProcessId::new(&program(number), 0), &escapes(8 << 10));
        world.seconds += u64::from(number == 0);
    }
    world.turn();
    let state = std::fs::read_to_string(directory.path().join("spool/state.json")).expect("there");
    assert!(state.len() < 3 << 19, "{}", state.len());
    world.restart();
    world.seconds += 12;
    world.turn();
    let (_, notice, _) = world.sends().pop().expect("sent");
    assert_eq!((notice.items.len() as u64 + notice.more_items, world.report().dead.len()), (256, 0));
}

#[test]
fn a_flood_writes_the_state_at_its_pace_and_is_acknowledged_then() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    let state = directory.path().join("spool/state.json");
    let version = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&state).expect("there"));
    world.crash_of(1);
    world.turn();
    assert!(world.alerts.is_saved(), "the first is saved at once");
    let first = version();
    for _ in 0..UNSAVED_MAX - 1 {
        world.crash_of(1);
        world.turn();
    }
    assert!(!world.alerts.is_saved() && version() == first);
    assert_eq!(world.alerts.deadline(), Some(at(0).moment + SAVE_INTERVAL), "it wakes up for it");
    world.crash_of(1);
    world.turn();
    assert!(world.alerts.is_saved() && version() != first, "the core must not wait for the time to pass");
    world.crash_of(1);
    world.seconds += 1;
    world.turn();
    assert!(world.alerts.is_saved() && world.under_way.is_empty());
    world.crash_of(1);
    world.turn();
    assert!(!world.alerts.is_saved());
    world.hear(ToNotifier::Drain, Vec::new());
    world.turn();
    assert!(world.alerts.is_saved(), "at the end nothing waits");
}

#[test]
fn an_orderly_end_in_the_middle_of_sending_is_nobodys_fault() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    world.crash_of(1);
    world.turn();
    world.seconds += 12;
    world.turn();
    for _ in 0..5 {
        assert_eq!(world.sends().len(), 1);
        world.alerts.end(at(world.seconds));
        world.restart();
        world.turn();
    }
    assert!(world.report().dead.is_empty());
}

#[test]
fn buried_messages_are_listed_retried_and_dropped() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    for number in 0..3 {
        world.crash_of(number);
        world.turn();
        world.seconds += 400;
        world.turn();
        for (job, _, _) in world.sends() {
            world.answer(job, no(Class::Permanent));
        }
        world.told.clear();
        world.turn();
        let lost: u64 = world
            .told
            .iter()
            .map(|told| if let FromNotifier::Lost { messages, .. } = told { *messages } else { 0 })
            .sum();
        assert!(lost > 0, "{:?}", world.told);
    }
    let report = world.report();
    assert!(report.dead.len() >= 3 && report.waiting.is_empty(), "{report:?}");
    assert_eq!(report.dead[0].reason.as_deref(), Some("no"));
    let unknown = world.ask(Question::Drop { ids: vec!["nobody".to_owned()] });
    assert_eq!(unknown, [Answer::Unknown("nobody".to_owned())]);
    let first = report.dead[0].id.clone();
    assert_eq!(world.ask(Question::Drop { ids: vec![first] }), [Answer::Done { count: 1 }]);
    let rest = report.dead.len() as u64 - 1;
    assert_eq!(world.ask(Question::Retry { ids: Vec::new() }), [Answer::Done { count: rest }]);
    for _ in 0..rest {
        let (job, _, _) = world.sends().pop().expect("sent again, one by one");
        world.answer(job, Outcome::Sent);
        world.turn();
    }
    assert_eq!((world.files("spool/queue"), world.files("spool/dead")), (0, 0));
}

#[test]
fn a_long_report_comes_in_parts_that_fit() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    for number in 0..500 {
        let mut notice = questions_notice(&world, number);
        notice.items[0].event.facts.message = Some("\u{1b}".repeat(2000));
        let mut entry = Entry::new(notice);
        entry.set_reason(&"\u{1b}".repeat(5000));
        world.alerts.queue(entry, 1, at(0));
    }
    assert_eq!(world.report().waiting.len(), 500);
}

fn questions_notice(world: &World, number: u64) -> Notice {
    let path = directory();
    let mut other = World::new(path.path(), world.via.clone());
    if number == 0 {
        other.crash_of(0);
    }
    other.crash_of(1);
    other.turn();
    other.seconds += 12;
    other.turn();
    let (_, notice, _) = other.sends().pop().expect("sent");
    Notice { id: format!("n{number}"), ..notice }
}

#[test]
fn a_test_shows_the_conversation_and_touches_no_queue() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    assert_eq!(world.ask(Question::Test { channel: None }), [Answer::Line("220 hello".to_owned())]);
    let (job, notice, _) = world.sends().pop().expect("sent");
    assert_eq!(notice.purpose, crate::alert::notice::Purpose::Test);
    world.answer(job, no(Class::Configuration));
    world.turn();
    let answers: Vec<(Answer, bool)> = world
        .told
        .drain(..)
        .filter_map(|told| match told {
            FromNotifier::Answer { answer, last, .. } => Some((answer, last)),
            _ => None,
        })
        .collect();
    let [(Answer::Tested(results), true)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(results[0].failure.as_deref(), Some("no"));
    assert!(world.report().waiting.is_empty());
    let channel = Some(ChannelName("nobody".to_owned()));
    assert_eq!(world.ask(Question::Test { channel }), [Answer::Unknown("nobody".to_owned())]);
}

#[test]
fn a_silence_outlives_a_restart_and_ends_by_its_selector() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    let silence = |seconds| Question::Silence {
        selector: "p1".to_owned(),
        seconds,
        reason: "deploy".to_owned(),
        by: "root".to_owned(),
    };
    assert!(matches!(world.ask(silence(0))[..], [Answer::Failed(_)]));
    assert!(matches!(world.ask(silence(u64::MAX))[..], [Answer::Failed(_)]));
    assert!(matches!(world.ask(silence(7200))[..], [Answer::Silenced(_)]));
    world.restart();
    world.crash_of(1);
    world.turn();
    world.seconds += 100;
    world.turn();
    assert!(world.sends().is_empty());
    assert!(matches!(&world.ask(Question::Silences)[..], [Answer::Silences(all)] if all.len() == 1));
    assert_eq!(world.ask(Question::Unsilence { silence: "p1".to_owned() }), [Answer::Done { count: 1 }]);
    assert_eq!(world.ask(Question::Unsilence { silence: "p1".to_owned() }), [Answer::Unknown("p1".to_owned())]);
    world.seconds += 12;
    world.turn();
    assert_eq!(world.sends().len(), 1, "what is still bad is told");
}

#[test]
fn secrets_lose_one_line_end_and_a_new_one_is_tried_at_once() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    let secret = |world: &mut World, text: &str| {
        let file = directory.path().join("secret");
        std::fs::write(&file, text).expect("written");
        let channel = ChannelName("email".to_owned());
        let message = ToNotifier::Secret { channel, kind: SecretKind::Password };
        world.hear(message, vec![File::open(file).expect("opened").into()]);
        world.configure();
    };
    secret(&mut world, "one \n");
    let password = || world.outside.0.borrow().secrets[0].password.clone();
    assert!(password() == Some(super::super::network::Secret::new(b"one ".to_vec())));
    world.crash_of(1);
    world.turn();
    world.seconds += 12;
    world.turn();
    let (job, _, _) = world.sends().pop().expect("sent");
    world.answer(job, no(Class::Configuration));
    world.turn();
    secret(&mut world, "one \n");
    world.turn();
    assert!(world.sends().is_empty(), "the same one would be refused again");
    world.told.clear();
    world.seconds += 300;
    world.turn();
    assert!(world.told.contains(&FromNotifier::WantSecrets), "{:?}", world.told);
    secret(&mut world, "two");
    world.turn();
    assert_eq!(world.sends().len(), 1);
}

#[test]
fn a_maildir_gets_the_message_as_it_is() {
    let directory = directory();
    let mut world = World::new(directory.path(), MailTransport::Maildir("/m".into()));
    world.crash_of(1);
    world.turn();
    world.seconds += 12;
    world.turn();
    assert_eq!(world.alerts.deadline(), Some(Moment::default()), "there is news already");
    world.turn();
    assert_eq!((world.files("maildir/new"), world.files("maildir/tmp"), world.files("spool/queue")), (1, 0, 0));
}

#[test]
fn sendmail_is_started_by_the_core_and_written_to_without_waiting() {
    let directory = directory();
    let mut world = World::new(directory.path(), MailTransport::Sendmail("/s".into()));
    world.crash_of(1);
    world.turn();
    world.seconds += 12;
    world.turn();
    let ticket = world.told.iter().find_map(|told| match told {
        FromNotifier::WantSendmail { ticket, recipients, .. } if recipients == &["ops@x", "dev@x"] => Some(*ticket),
        _ => None,
    });
    let ticket = ticket.expect("it is wanted");
    let (input, to_input) = stdio::output_pipe().expect("a pipe");
    let (words, to_words) = stdio::output_pipe().expect("a pipe");
    world.hear(ToNotifier::Sendmail { ticket }, vec![to_input, words]);
    world.turn();
    File::from(to_words).write_all(b"queue is full\n").expect("written");
    let mut got = String::new();
    File::from(input).read_to_string(&mut got).expect("whole, and closed");
    assert!(serde_json::from_str::<Notice>(&got).is_ok());
    world.hear(ToNotifier::SendmailEnded { ticket, result: Ok(75) }, Vec::new());
    world.turn();
    let report = world.report();
    assert_eq!(report.waiting[0].reason.as_deref(), Some("sendmail ended with 75: queue is full"));
}

#[test]
fn a_drain_hurries_and_says_what_is_left() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    world.crash_of(1);
    world.hear(ToNotifier::Drain, Vec::new());
    world.turn();
    let (job, _, _) = world.sends().pop().expect("it does not wait for company");
    assert!(!world.told.iter().any(|told| matches!(told, FromNotifier::Drained { .. })));
    world.answer(job, Outcome::Sent);
    world.turn();
    world.seconds += 6;
    world.turn();
    assert!(world.told.contains(&FromNotifier::Drained { left: 0 }), "{:?}", world.told);
}

#[test]
fn what_fires_at_an_alertmanager_is_posted_again_until_it_has_ended() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    let mut settings = settings(smtp(), 1);
    settings.notify.channels[0].transport = Transport::Webhook(crate::model::notify::Webhook {
        url: "http://localhost/".to_owned(),
        format: crate::model::notify::WebhookFormat::Alertmanager,
        ca: None,
        secrets: 0,
        output_lines: 0,
        redact: Vec::new(),
    });
    world.hear(ToNotifier::Configure(Box::new(settings.clone())), Vec::new());
    world.crash_of(1);
    world.turn();
    world.seconds += 12;
    world.turn();
    let (job, first, _) = world.sends().pop().expect("posted");
    world.answer(job, Outcome::Sent);
    world.turn();
    for _ in 0..3 {
        world.seconds += 120;
        world.turn();
        let (job, again, _) = world.sends().pop().expect("posted again");
        assert_eq!(again.items[0].incident, first.items[0].incident);
        assert_eq!(world.files("spool/queue"), 0);
        world.answer(job, Outcome::Sent);
        world.turn();
    }
    settings.programs.clear();
    world.hear(ToNotifier::Configure(Box::new(settings)), Vec::new());
    world.seconds += 12;
    world.turn();
    let (job, end, _) = world.sends().pop().expect("its end");
    assert!(end.items[0].ended.is_some());
    world.answer(job, Outcome::Sent);
    world.turn();
    world.seconds += 400;
    world.turn();
    assert!(world.sends().is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Crash(u8),
    Wait(u16),
    Turn,
    Answer(u8),
    /// The notifier dies after so many steps on the disk in the next turn.
    Die(u32),
    End,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4_u8).prop_map(Step::Crash),
        3 => prop_oneof![0..30_u16, 0..4000_u16].prop_map(Step::Wait),
        4 => Just(Step::Turn),
        4 => (0..8_u8).prop_map(Step::Answer),
        2 => (0..6_u32).prop_map(Step::Die),
        1 => Just(Step::End),
    ];
    prop::collection::vec(step, 1..60)
}

const CLASSES: [Class; 5] =
    [Class::Connection, Class::Configuration, Class::Temporary, Class::Permanent, Class::Content];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever is taken in is told under exactly one id, whenever the notifier dies.
    #[test]
    fn every_crash_is_told_once_whenever_the_notifier_dies(steps in steps()) {
        let directory = directory();
        let mut world = World::new(directory.path(), smtp());
        let mut crashes: BTreeMap<String, u64> = BTreeMap::new();
        let mut accepted: BTreeMap<String, Notice> = BTreeMap::new();
        let mut answer = |world: &mut World, pick: u8| -> Result<(), TestCaseError> {
            for (job, notice, _) in world.sends() {
                match CLASSES.get(usize::from(pick)) {
                    Some(class) => world.answer(job, no(*class)),
                    None => {
                        if let Some(before) = accepted.insert(notice.id.clone(), notice.clone()) {
                            prop_assert_eq!(before, notice, "one id, one message");
                        }
                        // 5: the server has it, but its answer is lost.
                        world.answer(job, if pick == 5 { no(Class::Connection) } else { Outcome::Sent });
                    }
                }
            }
            Ok(())
        };
        for step in steps {
            match step {
                Step::Crash(number) => {
                    world.crash_of(number);
                    *crashes.entry(program(number).to_string()).or_default() += 1;
                }
                Step::Wait(seconds) => world.seconds += u64::from(seconds),
                Step::Turn => world.turn(),
                Step::Answer(pick) => answer(&mut world, pick)?,
                Step::Die(after) => {
                    world.alerts.spool.die_after(after);
                    let under_way = world.under_way.clone();
                    world.turn();
                    world.under_way = under_way;
                    world.restart();
                }
                Step::End => {
                    world.turn();
                    world.alerts.end(at(world.seconds));
                    world.restart();
                }
            }
        }
        for _ in 0..400 {
            world.turn();
            answer(&mut world, 7)?;
            world.turn();
            world.seconds += 60;
        }
        let dead: Vec<Notice> = world.alerts.queues.dead().map(|entry| entry.notice.clone()).collect();
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for notice in accepted.into_values().chain(dead) {
            if seen.insert(notice.id.clone()) {
                for item in &notice.items {
                    let program = item.program.as_ref().expect("of a program").to_string();
                    *told.entry(program).or_default() += item.new;
                }
            }
        }
        let waiting: Vec<&Entry> = world.alerts.queues.channels.values().flat_map(Queue::entries).collect();
        prop_assert!(waiting.is_empty(), "{waiting:?}");
        prop_assert_eq!(told, crashes);
        prop_assert_eq!(world.files("spool/queue"), 0);
    }
}

#[test]
fn whatever_servers_say_the_core_is_told_in_few_words() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    let long = || "メール\"".repeat(3000);
    for (number, class) in [(1, Class::Connection), (2, Class::Configuration), (3, Class::Permanent)] {
        world.crash_of(number);
        world.turn();
        world.seconds += 4000;
        world.turn();
        for (job, _, recipients) in world.sends() {
            let each = recipients.iter().map(|to| (to.clone(), Err(Failure::new(Class::Permanent, long()))));
            let outcome = if number == 3 {
                Outcome::Recipients(each.collect())
            } else {
                Outcome::Failed(Failure::new(class, long()))
            };
            world.answer(job, outcome);
        }
        world.turn();
    }
    let told = std::mem::take(&mut world.told);
    let told = told.iter().filter_map(|message| match message {
        FromNotifier::Channel { health: Health::Failing { cause, .. }, .. } => Some(cause.len()),
        FromNotifier::Lost { why, .. } => Some(why.len()),
        _ => None,
    });
    let lengths: Vec<usize> = told.collect();
    assert!(lengths.len() >= 2 && lengths.iter().all(|length| *length <= 1 << 10), "{lengths:?}");
    world.report();
    world.ask(Question::Test { channel: None });
    let (job, ..) = world.sends().pop().expect("a test");
    world.answer(job, Outcome::Failed(Failure::new(Class::Permanent, long())));
    world.told.clear();
    world.turn();
    let Some(FromNotifier::Answer { answer: Answer::Tested(results), .. }) = world.told.pop() else { panic!("no end") };
    assert!(results[0].failure.as_ref().is_some_and(|words| words.len() <= 1 << 10 && words.ends_with("[...]")));
}

#[test]
fn a_refused_password_is_not_tried_again_only_because_the_notifier_died() {
    let directory = directory();
    let mut world = World::new(directory.path(), smtp());
    world.crash_of(1);
    world.turn();
    world.seconds += 12;
    world.turn();
    let (job, ..) = world.sends().pop().expect("sent");
    world.answer(job, no(Class::Configuration));
    world.turn();
    world.seconds += 200;
    world.restart();
    world.turn();
    assert!(world.sends().is_empty());
    let channel = world.report().channels.remove(0);
    assert_eq!(channel.health, Health::Failing { seconds: 200, cause: "no".to_owned() });
    assert_eq!(channel.next_try_seconds, Some(100));
    world.configure();
    world.turn();
    assert!(world.sends().is_empty(), "nothing has changed");
    world.restart();
    world.via = MailTransport::Maildir("/x".into());
    world.alerts = start(&world.path.clone(), &world.outside, world.seconds);
    world.configure();
    world.turn();
    world.turn();
    assert_eq!(world.report().waiting.len(), 0, "it goes another way, at once");
}
