//! Nothing that was accepted is lost: over the death of notifier and core, over a shutdown, a full disk and
//! a changed configuration.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::alerting::{FAST, email, of, program};
use crate::support::disk::Disk;
use crate::support::servers::receiver::Receiver;
use crate::support::servers::sink::Sink;
use crate::support::{Need, Supervisor, eventually, proc, test};

const HERE: &[Need] = &[Need::Root];
const SINK: &[Need] = &[Need::Root, Need::Python];

pub fn trials() -> Vec<Trial> {
    vec![
        test("a full queue outlives notifier and core and is told once with the same ids", SINK, killed),
        test("a notifier that is killed while it sends sends the same mail again", SINK, killed_while_sending),
        test("a shutdown sends what it can", SINK, drained),
        test("what a shutdown cannot send is counted and sent after the next start", SINK, left_over),
        test("with a full disk alerts are sent from memory and that is told", SINK, full_disk),
        test("with a full disk for the event log alerts go on and what is missing is counted", SINK, full_log),
        test("what is no message in the spool is put aside with its reason", SINK, unreadable),
        test("what waited too long is told in one message", SINK, stale),
        test("a queue is bounded and what did not fit is told", SINK, bounded),
        test("channels come and go with a reload", HERE, reloaded),
    ]
}

const NAMES: [&str; 4] = ["one", "two", "three", "four"];

struct WithSink {
    supervisor: Supervisor,
    sink: Sink,
}

/// Nobody listens on the port of the sink.
fn without_server(timing: &str) -> WithSink {
    let mut supervisor = Supervisor::prepare("");
    let sink = Sink::prepare(supervisor.path("sink"));
    supervisor.configure(&format!("{}{timing}{}", NAMES.map(program).concat(), email(sink.port)));
    supervisor.launch();
    WithSink { supervisor, sink }
}

/// Crashes all, one after the other, each in a message of its own; the ids that wait, and when it happened.
#[track_caller]
fn fill(supervisor: &Supervisor) -> BTreeMap<String, Value> {
    for (at, name) in NAMES.iter().enumerate() {
        supervisor.crash(name);
        supervisor.wait_for_waiting(at + 1);
    }
    waiting(supervisor).into_iter().zip(NAMES.map(|name| supervisor.crashes_of(name)[0]["time"].clone())).collect()
}

fn waiting(supervisor: &Supervisor) -> Vec<String> {
    let queue = supervisor.alert_queue();
    of(&queue, "waiting").iter().map(|message| message["id"].as_str().expect("an id").to_owned()).collect()
}

/// The part of a Message-ID that we have made: `<ID@host>`.
fn own_id(id: &str) -> &str {
    id.trim_start_matches('<').split('@').next().unwrap_or_default()
}

fn killed() {
    let WithSink { mut supervisor, mut sink } = without_server(FAST);
    let expected = fill(&supervisor);
    let ids: Vec<String> = expected.keys().cloned().collect();
    let notifier = supervisor.helper("notifier");
    proc::kill(notifier, 9);
    eventually("another notifier", || supervisor.helper_now("notifier").filter(|new| *new != notifier));
    supervisor.wait_for_queue("the same messages wait", |queue| of(queue, "waiting").len() == ids.len());
    assert_eq!(waiting(&supervisor), ids);
    // What happens while there is no notifier is kept by the core.
    supervisor.kill_hard();
    supervisor.launch();
    supervisor.wait_for_queue("they still wait", |queue| {
        let all = of(queue, "waiting");
        ids.iter().all(|id| all.iter().any(|message| message["id"] == id.as_str()))
    });
    sink.be("plain");
    supervisor.retry_alerts();
    let mails = sink.wait_for(ids.len() + 1);
    supervisor.wait_for_queue("nothing waits", |queue| of(queue, "waiting").is_empty());
    for (id, time) in &expected {
        let same: Vec<_> = mails.iter().filter(|mail| own_id(mail.id()) == id).collect();
        assert_eq!(same.len(), 1, "{id}: {:?}", mails.iter().map(|mail| mail.id()).collect::<Vec<_>>());
        same[0].assert_says(time.as_str().expect("a time"));
    }
    let restarted = mails.iter().find(|mail| !expected.contains_key(own_id(mail.id()))).expect("one more");
    restarted.assert_says("restarted after it ended without warning");
    assert_eq!(sink.count(), ids.len() + 1);
    assert_eq!(supervisor.stop(), 0);
}

fn killed_while_sending() {
    let WithSink { mut supervisor, mut sink } = without_server(FAST);
    sink.be("silent");
    supervisor.crash("one");
    eventually("it is being sent", || (!sink.log("connection").is_empty()).then_some(()));
    let ids = waiting(&supervisor);
    let notifier = supervisor.helper("notifier");
    proc::kill(notifier, 9);
    eventually("another notifier", || supervisor.helper_now("notifier").filter(|new| *new != notifier));
    sink.be("plain");
    supervisor.wait_for_queue("it waits or is sent", |queue| of(queue, "channels").len() == 1);
    let _ = supervisor.notify(&["retry"]);
    let mails = sink.wait_for(1);
    assert_eq!(mails.iter().map(|mail| own_id(mail.id()).to_owned()).collect::<Vec<_>>(), ids);
    supervisor.wait_for_queue("nothing waits", |queue| of(queue, "waiting").is_empty());
    assert_eq!(sink.count(), 1);
    assert_eq!(supervisor.stop(), 0);
}

fn drained() {
    let mut supervisor = Supervisor::prepare("");
    let sink = Sink::start(supervisor.path("sink"), "plain");
    // What is collected for an hour is sent at the end.
    let timing = FAST.replace("100ms", "1h");
    supervisor.configure(&format!("{}{timing}{}", program("one"), email(sink.port)));
    supervisor.launch();
    supervisor.crash("one");
    assert_eq!(sink.count(), 0);
    assert_eq!(supervisor.stop(), 0);
    assert_eq!(sink.count(), 1);
    assert!(sink.mails()[0].subject().starts_with("one crashed on "), "{}", sink.mails()[0].subject());
}

fn left_over() {
    let WithSink { mut supervisor, mut sink } = without_server(FAST);
    let ids: Vec<String> = fill(&supervisor).into_keys().collect();
    assert_eq!(supervisor.stop(), 0);
    assert!(supervisor.read("console").contains("4 alerts"), "{}", supervisor.read("console"));
    sink.be("plain");
    supervisor.launch();
    let mails = sink.wait_for(4);
    let mut sent: Vec<&str> = mails.iter().map(|mail| own_id(mail.id())).collect();
    sent.sort_unstable();
    assert_eq!(sent, ids);
    supervisor.wait_for_queue("nothing waits", |queue| of(queue, "waiting").is_empty());
    assert_eq!(sink.count(), 4, "and nothing else: the supervisor was ended in order");
    assert_eq!(supervisor.stop(), 0);
}

fn full_disk() {
    let mut supervisor = Supervisor::prepare("");
    let sink = Sink::start(supervisor.path("sink"), "plain");
    let head = format!("{}{FAST}{}", NAMES.map(program).concat(), email(sink.port));
    let _disk = Disk::mount(supervisor.path("state"), "size=256k,mode=711");
    supervisor.configure(&head);
    supervisor.launch();
    supervisor.crash("one");
    sink.wait_for_subject("one crashed");
    supervisor.wait_for_queue("nothing waits", |queue| of(queue, "waiting").is_empty());
    let ballast = supervisor.path("state/ballast");
    let _ = std::fs::write(&ballast, vec![b'x'; 1 << 20]);
    // Perhaps together with the news that nothing can be kept.
    let crash = supervisor.crash("two");
    let time = crash["time"].as_str().expect("a time");
    eventually("the second crash is told", || sink.mails().iter().any(|mail| mail.body.contains(time)).then_some(()));
    let queue = supervisor.wait_for_queue("it is told", |queue| queue["spool_failure"].is_string());
    assert!(queue["spool_failure"].as_str().is_some_and(|words| words.contains("No space left")), "{queue}");
    supervisor.wait_for_event("it is told", |event| {
        event["kind"] == "notify.failing" && event["message"].to_string().contains("wait in memory")
    });
    std::fs::remove_file(&ballast).expect("removes");
    supervisor.crash("three");
    sink.wait_for_subject("three crashed");
    supervisor.wait_for_queue("it is over", |queue| queue["spool_failure"].is_null());
    supervisor.wait_for_event("its end is told", |event| {
        event["kind"] == "notify.recovered" && event["message"].to_string().contains("saved again")
    });
    assert_eq!(supervisor.stop(), 0);
}

fn full_log() {
    let mut supervisor = Supervisor::prepare("");
    let sink = Sink::start(supervisor.path("sink"), "plain");
    let _disk = Disk::mount(supervisor.path("log"), "size=256k,mode=755");
    let quiet = program("one") + "stdout = \"discard\"\nstderr = \"discard\"\n";
    supervisor.configure(&format!("{quiet}{FAST}{}", email(sink.port)));
    supervisor.launch();
    supervisor.crash("one");
    sink.wait_for(1);
    let ballast = supervisor.path("log/ballast");
    let fill = || std::fs::write(&ballast, vec![b'x'; 1 << 20]);
    let _ = fill();
    // The last block of the log has room for some more.
    let failing = eventually("the log is full", || {
        let pid = supervisor.pid_now("one")?;
        proc::kill(pid, 9);
        eventually("it is started again", || supervisor.pid_now("one").filter(|new| *new != pid));
        supervisor.recent_events().into_iter().find(|event| event["kind"] == "notify.failing")
    });
    assert_eq!(failing["errno"], 28, "{failing}");
    supervisor.wait_for_state("one", "RUNNING");
    let pid = supervisor.pid_of("one");
    proc::kill(pid, 9);
    let is_it = |event: &Value| event["kind"] == "process.crashed" && event["pid"] == pid;
    let time = supervisor.wait_for_recent("its crash", is_it)["time"].as_str().expect("a time").to_owned();
    eventually("it is told", || sink.mails().iter().any(|mail| mail.body.contains(&time)).then_some(()));
    std::fs::remove_file(&ballast).expect("removes");
    let over = supervisor.wait_for_event("it can be written again", |event| event["kind"] == "notify.recovered");
    let text = supervisor.read("log/events.log");
    let whole: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect();
    let seqs: Vec<u64> = whole.iter().map(|event| event["seq"].as_u64().expect("a number")).collect();
    let missing: u64 = seqs.windows(2).map(|pair| pair[1].checked_sub(pair[0] + 1).expect("in order")).sum();
    assert!(over["message"].to_string().contains(&format!("; {missing} events are missing")), "{missing}: {over}");
    assert_eq!(supervisor.stop(), 0);
}

fn unreadable() {
    let WithSink { mut supervisor, mut sink } = without_server(FAST);
    let ids: Vec<String> = fill(&supervisor).into_keys().collect();
    let queue = supervisor.path("state/alerts/queue");
    assert_eq!(supervisor.stop(), 0);
    let victim = queue.join(format!("{}.email.json", ids[1]));
    assert!(victim.exists(), "{:?}", std::fs::read_dir(&queue).expect("a directory").collect::<Vec<_>>());
    std::fs::write(&victim, b"{\"notice\": [\0\xff").expect("a file");
    std::fs::write(queue.join("strange.json"), b"[]").expect("a file");
    std::fs::write(supervisor.path("state/alerts/state.json"), b"{").expect("a file");
    sink.be("plain");
    supervisor.launch();
    let mails = sink.wait_for(3);
    assert!(mails.iter().all(|mail| own_id(mail.id()) != ids[1]));
    let queue = supervisor.wait_for_queue("they are put aside", |queue| of(queue, "dead").len() >= 2);
    assert!(of(&queue, "dead").iter().all(|dead| dead["reason"].is_string()), "{queue}");
    assert_eq!(supervisor.stop(), 0);
}

fn stale() {
    let timing = format!("{FAST}stale_after = \"100ms\"\n");
    let WithSink { mut supervisor, mut sink } = without_server(&timing);
    let expected = fill(&supervisor);
    sink.be("plain");
    supervisor.retry_alerts();
    // The one that was tried, and one for all the others.
    let mails = sink.wait_for(2);
    supervisor.wait_for_queue("nothing waits", |queue| of(queue, "waiting").is_empty());
    assert_eq!(sink.count(), 2, "{:?}", mails.iter().map(|mail| mail.subject()).collect::<Vec<_>>());
    let both = format!("{}{}", mails[0].body, mails[1].body);
    for time in expected.values() {
        assert!(both.contains(time.as_str().expect("a time")), "{time}: {both}");
    }
    assert!(mails[1].subject().starts_with("3 programs failing"), "{}", mails[1].subject());
    assert_eq!(supervisor.stop(), 0);
}

fn bounded() {
    const MAX: usize = 10;
    let timing = format!("{FAST}spool = {{ max_messages = {MAX} }}\n");
    let WithSink { mut supervisor, mut sink } = without_server(&timing);
    let known = |queue: &Value| of(queue, "waiting").len() as u64 + dropped_in(queue);
    for name in NAMES.iter().cycle().take(MAX + 2) {
        let before = known(&supervisor.alert_queue());
        supervisor.crash(name);
        supervisor.wait_for_queue("it waits or another had to go", |queue| known(queue) > before);
    }
    assert_eq!(waiting(&supervisor).len(), MAX);
    let dropped = dropped_in(&supervisor.alert_queue());
    assert!(dropped >= 2, "{dropped}");
    supervisor.wait_for_event("it is told", |event| event["message"].to_string().contains("email: the queue is full"));
    sink.be("plain");
    supervisor.retry_alerts();
    sink.wait_for(MAX);
    supervisor.crash("one");
    eventually("the next mail says what was dropped", || {
        sink.mails().iter().any(|mail| mail.body.contains("had to be dropped")).then_some(())
    });
    assert_eq!(supervisor.stop(), 0);
}

fn dropped_in(queue: &Value) -> u64 {
    of(queue, "channels")[0]["dropped"].as_u64().expect("a number")
}

fn reloaded() {
    let (first, second) = (Receiver::start(), Receiver::start());
    let channel = |name: &str, receiver: &Receiver| {
        format!(
            "[notify.webhooks.{name}]\nurl = \"{}\"\n[[notify.rules]]\non = [\"process.crashed\"]\nto = [\"webhooks.{name}\"]\n",
            receiver.url()
        )
    };
    first.answer_next(503, "Retry-After: 600\r\n");
    let programs = NAMES.map(program).concat();
    let mut supervisor = Supervisor::start(&format!("{programs}{FAST}{}", channel("a", &first)));
    let notifier = supervisor.helper("notifier");
    supervisor.crash("one");
    supervisor.wait_for_cause("webhooks.a");
    // Another one comes: what waits goes on waiting.
    supervisor.reload_with(&format!("{programs}{FAST}{}{}", channel("a", &first), channel("b", &second)));
    supervisor.crash("two");
    assert_eq!(second.wait_for(1)[0].json()["items"][0]["program"], "two");
    assert_eq!(supervisor.wait_for_waiting(2)["dead"], serde_json::json!([]));
    // With another address it is tried at once.
    let moved = Receiver::start();
    supervisor.reload_with(&format!("{programs}{FAST}{}{}", channel("a", &moved), channel("b", &second)));
    let told: Vec<Value> =
        moved.wait_for(2).iter().map(|request| request.json()["items"][0]["program"].clone()).collect();
    assert_eq!(told, ["one", "two"]);
    supervisor.wait_for_queue("nothing waits", |queue| of(queue, "waiting").is_empty());
    // The first is no longer there: what waits for it is given up, with the reason.
    moved.answer_next(503, "Retry-After: 600\r\n");
    supervisor.crash("three");
    supervisor.wait_for_waiting(1);
    supervisor.reload_with(&format!("{programs}{FAST}{}", channel("b", &second)));
    let queue = supervisor.wait_for_queue("it is given up", |queue| of(queue, "dead").len() == 1);
    assert!(of(&queue, "dead")[0]["reason"].to_string().contains("no longer configured"), "{queue}");
    assert_eq!(supervisor.helper("notifier"), notifier, "the same notifier all the time");
    assert_eq!(first.requests().len(), 1);
    assert_eq!(supervisor.stop(), 0);
}
