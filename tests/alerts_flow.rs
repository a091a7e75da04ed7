//! What is told of what happens, when, and to whom: so that everything is told and nobody is flooded.

use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::alerting::{FAST, email, of, program, with_recovery, with_script};
use crate::support::servers::receiver::Receiver;
use crate::support::servers::sink::Sink;
use crate::support::{Need, Supervisor, eventually, look, proc, test, within};

const HERE: &[Need] = &[Need::Root];
const SINK: &[Need] = &[Need::Root, Need::Python];

pub fn trials() -> Vec<Trial> {
    vec![
        test("ten thousand crashes are few mails whose counts add up", SINK, flood),
        test("what happens together is told together", SINK, together),
        test("the last words of the dead are told and not the first of who follows", HERE, last_words),
        test("nobody is told of what an administrator stops", HERE, stops),
        test("a program that is given up is told in worse words", HERE, given_up),
        test("alerts of a program go where it says or nowhere", SINK, own_recipients),
        test("a reminder comes while it lasts and as often as configured", HERE, reminders),
        test("a program that comes and goes is told as that and then no more", HERE, flapping),
        test("a silence keeps back what it names and no more", HERE, silence),
        test("what recovers within a silence is not told", HERE, silent_recovery),
        test("rules say what is told where and how severe it is", HERE, rules),
        test("a test of a channel shows what was said and why it failed", SINK, tests),
        test("messages that wait can be dropped", HERE, dropped),
    ]
}

fn webhook(receiver: &Receiver) -> String {
    format!("[notify.webhooks.all]\nurl = \"{}\"\n", receiver.url())
}

const CRASHES: &str = "[[notify.rules]]\non = [\"process.crashed\", \"process.fatal\", \"process.killed\"]\n\
     to = [\"webhooks.all\"]\n";

fn start(timing: &str, channels: &str, programs: &str) -> Supervisor {
    Supervisor::start(&format!("{programs}{timing}{channels}"))
}

/// The bodies so far.
fn bodies(receiver: &Receiver) -> Vec<Value> {
    receiver.requests().iter().map(crate::support::servers::receiver::Request::json).collect()
}

/// How many programs crash, and how often in all.
const LOOPS: usize = 20;
const ENOUGH: usize = 10_000;
/// The limit of mails, with seconds for minutes: three at once, then one in five seconds.
const INTERVAL: Duration = Duration::from_secs(5);

fn flood() {
    let mut supervisor = Supervisor::prepare("");
    let sink = Sink::start(supervisor.path("sink"), "plain");
    let loops: String = (0..LOOPS)
        .map(|n| {
            with_script(&format!("loop{n}"), "exit 3")
                .replace("[\"sh\", \"-c\", \"exit 3\"]", "\"/bin/false\"")
                .replace("50ms", "0s")
                + "autostart = false\nstdout = \"discard\"\nstderr = \"discard\"\n"
        })
        .collect();
    let timing =
        FAST.replace("200ms", "5s").replace("{ burst = 1000, interval = \"1s\" }", "{ burst = 3, interval = \"5s\" }");
    supervisor.configure(&format!("{loops}{}{timing}{}", program("quiet"), email(sink.port)));
    supervisor.launch();
    supervisor.wait_for_execution("quiet");
    let notifier = supervisor.helper("notifier");
    let before = latencies(&supervisor);
    let mut names: Vec<String> = (0..LOOPS).map(|n| format!("loop{n}")).collect();
    names.insert(0, "start".to_owned());
    names.insert(1, "--no-wait".to_owned());
    let arguments: Vec<&str> = names.iter().map(String::as_str).collect();
    let started = Instant::now();
    let _ = supervisor.ctl(&arguments);
    let crashes = || supervisor.read("log/events.log").matches("\"process.crashed\"").count();
    within(Duration::from_secs(60), "a tenth of it", || (crashes() > ENOUGH / 10).then_some(()));
    let early = memory(notifier);
    let during = latencies(&supervisor);
    within(Duration::from_secs(120), "all of it", || {
        std::thread::park_timeout(Duration::from_millis(300));
        (crashes() > ENOUGH).then_some(())
    });
    let took = started.elapsed();
    let late = memory(notifier);
    let mut stop: Vec<&str> = arguments[2..].to_vec();
    stop.insert(0, "stop");
    assert_eq!(supervisor.ctl(&stop).code, 0);
    assert!(late < early + 4096, "the notifier had {early} kB, then {late} kB");
    // Most of the machine is busy with programs that start: it may be slower, but not by what is told.
    assert!(during < before + Duration::from_millis(100), "before {before:?}, during {during:?}, {took:?} in all");
    let all = |name: &str| supervisor.crashes_of(name).len();
    // The log may still be a little behind.
    let expected = || arguments[2..].iter().map(|name| all(name)).collect::<Vec<usize>>();
    let told = || arguments[2..].iter().map(|name| last_count(&sink, name)).collect::<Vec<usize>>();
    let until = Instant::now() + INTERVAL * 6;
    while told() != expected() && Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(500));
    }
    let told = told();
    let subjects: Vec<String> = sink.mails().iter().map(|mail| mail.subject().to_owned()).collect();
    assert_eq!(told, expected(), "{subjects:#?}");
    assert!(told.iter().sum::<usize>() >= ENOUGH, "{told:?}");
    let times: Vec<f64> = sink.envelopes().iter().map(|envelope| envelope["t"].as_f64().expect("a time")).collect();
    for (at, first) in times.iter().enumerate() {
        let within_it = times[at..].iter().filter(|time| **time - first < INTERVAL.as_secs_f64()).count();
        assert!(within_it <= 5, "{within_it} mails within {INTERVAL:?}: {times:?}");
    }
    assert_eq!(supervisor.helper("notifier"), notifier, "it has lived through it");
    assert!(!supervisor.event_log().iter().any(|event| event["kind"] == "worker.restarted"));
    assert_eq!(supervisor.stop(), 0);
}

/// Resident, in kB.
fn memory(pid: i64) -> u64 {
    proc::status(pid)["VmRSS"].trim_end_matches(" kB").parse().expect("a number")
}

/// How long after its death a process is known as dead: the middle of some.
fn latencies(supervisor: &Supervisor) -> Duration {
    let mut all: Vec<i64> = (0..7)
        .map(|_| {
            // A process that dies before it is executed has not crashed.
            supervisor.wait_for_execution("quiet");
            let pid = supervisor.pid_of("quiet");
            let before = std::fs::metadata(supervisor.path("log/events.log")).map_or(0, |file| file.len());
            let now = jiff::Timestamp::now().as_millisecond();
            proc::kill(pid, 9);
            let event = eventually("its death is in the event log", || death(supervisor, "quiet", pid, before));
            eventually("it is started again", || supervisor.pid_now("quiet").filter(|new| *new != pid));
            look::millis(&event) - now
        })
        .collect();
    all.sort_unstable();
    Duration::from_millis(u64::try_from(all[all.len() / 2]).unwrap_or(0))
}

/// The crash of this process in the event log, behind so many bytes: there is too much else for a look at all
/// of it.
fn death(supervisor: &Supervisor, process: &str, pid: i64, behind: u64) -> Option<Value> {
    let mut log = std::fs::File::open(supervisor.path("log/events.log")).expect("the event log");
    log.seek(SeekFrom::Start(behind)).expect("seeks");
    let mut text = String::new();
    log.read_to_string(&mut text).expect("it is UTF-8");
    let name = format!("\"process\":\"{process}\"");
    let events = text.lines().filter(|line| line.contains(&name)).filter_map(|line| serde_json::from_str(line).ok());
    events.into_iter().find(|event: &Value| event["kind"] == "process.crashed" && event["pid"] == pid)
}

/// How many crashes the last mail about a program has told.
fn last_count(sink: &Sink, name: &str) -> usize {
    let count = |line: &str| {
        let rest = line.trim_start().strip_prefix(name)?.strip_prefix(' ')?;
        let (number, _) = rest.rsplit_once(" crash")?;
        number.rsplit([' ', ',']).next()?.parse().ok()
    };
    let mails = sink.mails();
    let of_mail = |mail: &crate::support::servers::mails::Mail| {
        let alone =
            || mail.subject().starts_with(name).then(|| mail.row("count")?.split(' ').next()?.parse().ok()).flatten();
        mail.body.lines().find_map(count).or_else(alone)
    };
    mails.iter().rev().find_map(of_mail).unwrap_or(0)
}

fn together() {
    let mut supervisor = Supervisor::prepare("");
    let sink = Sink::start(supervisor.path("sink"), "plain");
    let names = ["one", "two", "three"];
    let timing = FAST.replace("100ms", "2s");
    supervisor.configure(&format!("{}{timing}{}", names.map(program).concat(), email(sink.port)));
    supervisor.launch();
    let crashes = names.map(|name| supervisor.crash(name));
    let mails = sink.wait_for(1);
    assert!(
        mails[0].subject().starts_with(&format!("3 programs failing on {}: ", supervisor.host())),
        "{}",
        mails[0].subject()
    );
    for (name, crash) in names.iter().zip(crashes) {
        assert!(mails[0].subject().contains(name), "{}", mails[0].subject());
        mails[0].assert_says(crash["time"].as_str().expect("a time"));
    }
    assert_eq!(sink.count(), 1);
    assert_eq!(supervisor.stop(), 0);
}

fn last_words() {
    let receiver = Receiver::start();
    // It is there again at once, and has more to say than is shown.
    let script = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do echo line $n >&2; done; \
         trap 'echo this is why >&2; exit 3' USR1; while :; do sleep 0.05; done";
    let program = with_script("web", script).replace("50ms", "0s");
    let mut supervisor = start(FAST, &format!("{}{CRASHES}", webhook(&receiver)), &program);
    let log = || supervisor.read("log/web.stderr.log");
    for count in 1..=3 {
        eventually("it has started", || (log().matches("line 25\n").count() == count).then_some(()));
        supervisor.wait_for_execution("web");
        let pid = supervisor.pid_of("web");
        proc::wait_until_handled(pid, 10);
        proc::kill(pid, 10);
        let told = receiver.wait_for(count).pop().expect("one").json();
        let output = told["items"][0]["output"].as_array().expect("lines").clone();
        assert_eq!((output.len(), output.last()), (20, Some(&json!("this is why"))), "{told}");
    }
    assert_eq!(supervisor.stop(), 0);
}

fn stops() {
    let receiver = Receiver::start();
    let names = ["one", "two", "last"];
    let mut supervisor = start(FAST, &format!("{}{CRASHES}", webhook(&receiver)), &names.map(program).concat());
    for arguments in [&["stop", "one"][..], &["start", "one"], &["restart", "two"], &["signal", "KILL", "one"]] {
        // The last one is an administrator's too, but nobody has asked for an end.
        assert_eq!(supervisor.ctl(arguments).code, 0, "{arguments:?}");
    }
    receiver.wait_for(1);
    let told = bodies(&receiver);
    assert_eq!((told.len(), &told[0]["items"][0]["program"]), (1, &json!("one")), "{told:?}");
    assert_eq!(supervisor.stop(), 0);
    assert_eq!(receiver.requests().len(), 1, "nor at the end: {:?}", bodies(&receiver));
}

fn given_up() {
    let receiver = Receiver::start();
    let hopeless = with_script("hopeless", "exit 7").replace("starttime = 0", "starttime = 5\nstartretries = 1");
    let mut supervisor = start(FAST, &format!("{}{CRASHES}", webhook(&receiver)), &hopeless);
    supervisor.wait_for_state("hopeless", "FATAL");
    let fatal = receiver.wait_for_body("it is given up", |body| body["items"][0]["kind"] == "process.fatal");
    assert_eq!((&fatal["severity"], &fatal["items"][0]["state"]), (&json!("crit"), &json!("FATAL")));
    assert!(fatal["summary"].as_str().is_some_and(|text| text.starts_with("hopeless is FATAL (given up)")), "{fatal}");
    assert_eq!(supervisor.stop(), 0);
}

fn own_recipients() {
    let mut supervisor = Supervisor::prepare("");
    let sink = Sink::start(supervisor.path("sink"), "plain");
    let receiver = Receiver::start();
    let quiet = program("quiet") + "alerts = false\n";
    let own = program("own") + "alert_to = [\"dba@example.test\", \"webhooks.all\"]\n";
    let rules = "[[notify.rules]]\non = [\"process.crashed\"]\nto = [\"email\"]\n";
    supervisor.configure(&format!(
        "{quiet}{own}{}{FAST}{}{}{rules}",
        program("web"),
        email(sink.port),
        webhook(&receiver)
    ));
    supervisor.launch();
    supervisor.crash("quiet");
    supervisor.crash("own");
    let own = sink.wait_for_subject("own crashed");
    assert_eq!(own.header("To"), "dba@example.test");
    assert_eq!(sink.envelopes()[0]["to"], json!(["dba@example.test"]));
    assert_eq!(receiver.wait_for(1)[0].json()["items"][0]["program"], "own");
    supervisor.crash("web");
    assert_eq!(sink.wait_for_subject("web crashed").header("To"), "ops@example.test");
    assert_eq!((sink.count(), receiver.requests().len()), (2, 1), "nobody was told of the quiet one");
    assert_eq!(supervisor.stop(), 0);
}

fn reminders() {
    let receiver = Receiver::start();
    let timing = FAST.replace("remind_after = []", "remind_after = [\"1s\", \"2s\"]");
    let once = program("web").replace("starttime = 0", "starttime = 0\nautorestart = \"never\"");
    let mut supervisor = start(&timing, &format!("{}{CRASHES}", webhook(&receiver)), &once);
    supervisor.wait_for_execution("web");
    proc::kill(supervisor.pid_of("web"), 9);
    receiver.wait_for(3);
    let told = bodies(&receiver);
    let purposes: Vec<&str> = told.iter().map(|body| body["purpose"].as_str().expect("text")).collect();
    assert_eq!(purposes, ["problem", "reminder", "reminder"]);
    assert!(told[1]["summary"].as_str().is_some_and(|text| text.starts_with("Still failing: web on ")), "{}", told[1]);
    assert!(told.iter().all(|body| body["items"][0]["incident"] == told[0]["items"][0]["incident"]));
    let times: Vec<Duration> =
        receiver.requests().iter().map(|r| r.at.duration_since(receiver.requests()[0].at)).collect();
    assert!(times[1] > Duration::from_millis(700) && times[2] > Duration::from_millis(1700), "{times:?}");
    assert_eq!(supervisor.stop(), 0);
}

fn flapping() {
    let receiver = Receiver::start();
    let timing =
        with_recovery().replace("flap_count = 1000", "flap_count = 3\nflap_window = \"1m\"\nflap_clear = \"3s\"");
    let mut supervisor = start(&timing, &format!("{}{CRASHES}", webhook(&receiver)), &program("web"));
    let told = |purpose: &str| bodies(&receiver).iter().filter(|body| body["purpose"] == purpose).count();
    for count in 1..=2 {
        supervisor.crash("web");
        eventually("its end is told", || (told("recovery") == count).then_some(()));
    }
    supervisor.crash("web");
    let flaps = receiver.wait_for_body("it flaps", |body| body["purpose"] == "flapping");
    assert_eq!(flaps["items"][0]["flapping"], true);
    let before = receiver.requests().len();
    for _ in 0..3 {
        supervisor.crash("web");
    }
    // It has settled: that is told, with all that was counted.
    receiver.wait_for(before + 1);
    let last = bodies(&receiver).pop().expect("one");
    assert_eq!((&last["purpose"], &last["items"][0]["flapping"]), (&json!("recovery"), &json!(false)), "{last}");
    assert_eq!((receiver.requests().len(), told("problem"), told("flapping")), (before + 1, 2, 1));
    assert_eq!(supervisor.stop(), 0);
}

fn silence() {
    let receiver = Receiver::start();
    let once = |name: &str| program(name).replace("starttime = 0", "starttime = 0\nautorestart = \"never\"");
    let channels = format!("{}{CRASHES}", webhook(&receiver));
    let mut supervisor = start(FAST, &channels, &[once("web"), once("db")].concat());
    let silenced = supervisor.notify(&["silence", "web", "2h", "the", "deployment"]);
    assert_eq!(silenced.code, 0, "{silenced:?}");
    let listed = supervisor.notify(&["silences"]);
    assert!(listed.stdout.contains("web") && listed.stdout.contains("the deployment"), "{listed:?}");
    for name in ["web", "db"] {
        supervisor.wait_for_execution(name);
        proc::kill(supervisor.pid_of(name), 9);
    }
    let only = receiver.wait_for_body("the other one", |body| body["items"][0]["program"] == "db");
    assert_eq!(only["items"].as_array().expect("items").len(), 1);
    assert_eq!(receiver.requests().len(), 1);
    // It is still down when the silence ends: now it is told, with the time when it happened.
    let ended = supervisor.notify(&["unsilence", "web"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let late = receiver.wait_for_body("what was kept back", |body| body["items"][0]["program"] == "web");
    assert_eq!(late["items"][0]["time"], supervisor.crashes_of("web")[0]["time"]);
    assert_eq!(supervisor.notify(&["unsilence", "web"]).code, 4);
    assert_eq!(supervisor.notify(&["silence", "wbe", "2h"]).code, 4);
    assert_eq!(supervisor.notify(&["silence", "web", "soon"]).code, 2);
    assert_eq!(supervisor.stop(), 0);
}

fn silent_recovery() {
    let receiver = Receiver::start();
    let channels = format!("{}{CRASHES}", webhook(&receiver));
    let mut supervisor = start(&with_recovery(), &channels, &["web", "db"].map(program).concat());
    assert_eq!(supervisor.notify(&["silence", "web", "1h"]).code, 0);
    supervisor.crash("web");
    supervisor.crash("db");
    receiver.wait_for_body("the end of the other", |body| body["purpose"] == "recovery");
    // That one was over later: whatever is to be told of the first would have been.
    assert_eq!(supervisor.notify(&["unsilence", "web"]).code, 0);
    supervisor.crash("db");
    receiver.wait_for(4);
    let of_web = |body: &Value| body["items"].to_string().contains("\"web\"");
    assert!(!bodies(&receiver).iter().any(of_web), "{:?}", bodies(&receiver));
    assert_eq!(supervisor.stop(), 0);
}

fn rules() {
    let receiver = Receiver::start();
    let rules = "min_severity = \"err\"\n[[notify.rules]]\non = [\"process.*\", \"config.rejected\"]\nnot_on = [\"process.crashed\"]\n\
         to = [\"webhooks.all\"]\n[[notify.rules]]\non = [\"process.exited\"]\nprograms = [\"w*\"]\nseverity = \"crit\"\n";
    let once =
        |name: &str| with_script(name, "exit 0").replace("starttime = 0", "starttime = 0\nautorestart = \"never\"");
    let mut supervisor = start(
        FAST,
        &format!("{}{rules}", webhook(&receiver)),
        &[program("loud"), once("web") + "autostart = false\n", once("other") + "autostart = false\n"].concat(),
    );
    supervisor.crash("loud");
    let _ = supervisor.ctl(&["start", "--no-wait", "other"]);
    let _ = supervisor.ctl(&["start", "--no-wait", "web"]);
    let told = receiver.wait_for_body("the end of web", |body| body["items"][0]["program"] == "web");
    assert_eq!((&told["severity"], &told["purpose"]), (&json!("crit"), &json!("occurrence")), "{told}");
    std::fs::write(supervisor.config(), "[programs.x]\ncmd = 7\n").expect("a file");
    assert_eq!(supervisor.ctl(&["reload"]).code, 1);
    receiver.wait_for_body("the configuration", |body| body["items"][0]["kind"] == "config.rejected");
    assert_eq!(receiver.requests().len(), 2, "{:?}", bodies(&receiver));
    assert_eq!(supervisor.stop(), 0);
}

fn tests() {
    let mut supervisor = Supervisor::prepare("");
    let mut sink = Sink::start(supervisor.path("sink"), "plain");
    let receiver = Receiver::start();
    supervisor.configure(&format!("{}{FAST}{}{}", program("web"), email(sink.port), webhook(&receiver)));
    supervisor.launch();
    let tested = supervisor.notify(&["test"]);
    assert_eq!(tested.code, 0, "{tested:?}");
    for words in ["> MAIL FROM:<tm@example.test>", "< 250 OK queued as 1", "email: sent", "webhooks.all: sent"] {
        assert!(tested.stdout.contains(words), "{words}: {}", tested.stdout);
    }
    let mail = sink.wait_for(1).remove(0);
    assert_eq!(mail.subject(), format!("Test message from Taskmaster on {}", supervisor.host()));
    assert_eq!(receiver.wait_for(1)[0].json()["purpose"], "test");
    sink.be("data5xx");
    let tested = supervisor.notify(&["test", "email"]);
    assert_eq!(tested.code, 1, "{tested:?}");
    assert!(tested.stdout.contains("email: failed: ") && tested.stdout.contains("554 5.7.1 rejected"), "{tested:?}");
    sink.stop();
    let tested = supervisor.notify(&["test", "email"]);
    assert!(tested.code == 1 && tested.stdout.contains("refused"), "{tested:?}");
    let unknown = supervisor.notify(&["test", "emial"]);
    assert!(unknown.code == 4 && unknown.stderr.contains("email"), "{unknown:?}");
    assert!(of(&supervisor.alert_queue(), "waiting").is_empty(), "a test is not tried again");
    assert_eq!(supervisor.stop(), 0);
}

fn dropped() {
    let receiver = Receiver::start();
    for _ in 0..2 {
        receiver.answer_next(500, "Retry-After: 300\r\n");
    }
    let channels = format!("{}{CRASHES}", webhook(&receiver));
    let mut supervisor = start(FAST, &channels, &["web", "db"].map(program).concat());
    supervisor.crash("web");
    supervisor.wait_for_cause("webhooks.all");
    supervisor.crash("db");
    let queue = supervisor.wait_for_waiting(2);
    let first = of(&queue, "waiting")[0]["id"].as_str().expect("an id");
    let done = supervisor.notify(&["drop", first]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "1 message dropped\n"), "{done:?}");
    assert_eq!(supervisor.notify(&["drop", first]).code, 4);
    let queue = supervisor.alert_queue();
    assert_eq!(of(&queue, "waiting").len(), 1, "{queue}");
    assert_eq!(of(&queue, "channels")[0]["dropped"], 1);
    assert_eq!(supervisor.stop(), 0);
}
