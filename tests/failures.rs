//! Programs that cannot start or do not stay, and helpers that die: each is told with its reason, and
//! nothing else notices.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::look::{FAST, millis};
use crate::support::{Need, Supervisor, eventually, measured, proc, test, user};

pub fn trials() -> Vec<Trial> {
    vec![
        test("a program that cannot start is FATAL after its tries with stage and errno", &[Need::Root], cannot_start),
        test("a program that exits at once is FATAL after startretries", &[], exits_at_once),
        test("a failed start is retried after one second and then two", &[], default_backoff),
        test("startretries zero is one try", &[], one_try),
        test("a start that failed works once the cause is mended", &[Need::Root], mended),
        test("a short life that counted as running is followed by a delay", &[], short_life),
        test("restart_limit ends a program that dies too often", &[], restart_limit),
        test("a killed spawner is replaced and no program notices", &[Need::Root], spawner_killed),
        test("a killed logger is replaced and no program notices", &[Need::Root], logger_killed),
        test("a logger that hangs is not left behind by a shutdown", &[Need::Root], hanging_logger),
        test("a killed notifier is replaced and no event is lost", &[Need::Root], notifier_killed),
    ]
}

fn numbers(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["kind"] == kind).count()
}

/// Name, settings, stage, errno, words of the reason.
const CANNOT: [(&str, &str, &str, Option<i32>, &str); 17] = [
    ("missing", "cmd = \"/no/such/program\"", "exec", Some(2), "executing the command /no/such/program: No such file"),
    ("unfound", "cmd = \"no-such-program-anywhere\"", "exec", Some(2), "no-such-program-anywhere: not found in PATH"),
    ("directory", "cmd = \"@dir@/directory\"", "exec", Some(13), "/directory: is a directory"),
    ("plain", "cmd = \"@dir@/plain\"", "exec", Some(13), "/plain: Permission denied"),
    ("interpreter", "cmd = \"@dir@/interpreter\"", "exec", Some(2), "its interpreter is missing: /no/such/shell"),
    ("crlf", "cmd = \"@dir@/crlf\"", "exec", Some(2), "its interpreter is missing: /bin/sh\\r"),
    ("headless", "cmd = \"@dir@/headless\"", "exec", Some(8), "a script needs a `#!` line"),
    ("nodir", "workingdir = \"/no/such/place\"", "chdir", Some(2), "working directory /no/such/place: No such file"),
    ("closed", "workingdir = \"@dir@/closed\"", "chdir", Some(13), "/closed: Permission denied"),
    ("filedir", "workingdir = \"@dir@/plain\"", "chdir", Some(20), "/plain: Not a directory"),
    ("stranger", "user = \"no-such-account\"", "account", None, "no-such-account"),
    ("group", "group = \"no-such-group\"", "account", None, "no-such-group"),
    ("logless", "stdout = \"@dir@/none/out.log\"", "output", Some(2), "opening the log file @dir@/none/out.log"),
    ("linked", "stdout = \"@dir@/link.log\"", "output", None, "is a symbolic link"),
    ("piped", "stderr = \"@dir@/fifo.log\"", "output", None, "not a plain file"),
    ("foreign", "stdout = \"@dir@/daemons/out.log\"", "output", Some(13), "opened as nobody"),
    ("twice", "stdout = \"@dir@/hard.log\"", "output", None, "has a second name"),
];

fn cannot_start() {
    measured("no retry is late", cannot_start_once);
}

/// `Err`: the retries that were late.
fn cannot_start_once() -> Result<(), String> {
    let mut late = Vec::new();
    let mut programs = "[programs.bystander]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\n".to_owned();
    for (name, setting, ..) in CANNOT {
        let user = if setting.starts_with("user") { "" } else { "user = \"nobody\"" };
        let cmd = if setting.starts_with("cmd") { "" } else { "cmd = \"sleep 1000\"" };
        programs += &format!("[programs.{name}]\n{setting}\n{user}\n{cmd}\nstartretries = 2\n{FAST}\n");
    }
    let mut supervisor = Supervisor::prepare(&programs);
    supervisor.subdirectory("directory", 0o755, "root");
    supervisor.subdirectory("closed", 0o700, "root");
    supervisor.subdirectory("daemons", 0o755, "daemon");
    supervisor.file("plain", "#!/bin/sh\n", 0o644);
    supervisor.file("interpreter", "#!/no/such/shell\n", 0o755);
    supervisor.file("crlf", "#!/bin/sh\r\nexit 0\r\n", 0o755);
    supervisor.file("headless", "exit 0\n", 0o755);
    supervisor.file("secret", "", 0o600);
    std::os::unix::fs::symlink(supervisor.path("secret"), supervisor.path("link.log")).expect("a link");
    supervisor.fifo("fifo.log");
    supervisor.file("hard.log", "", 0o644);
    std::fs::hard_link(supervisor.path("hard.log"), supervisor.path("other.log")).expect("a link");
    supervisor.launch();
    supervisor.wait_for_state("bystander", "RUNNING");
    let bystander = supervisor.pid_of("bystander");
    supervisor
        .wait_until("all have failed", |all| all.iter().filter(|p| p["state"] == "FATAL").count() == CANNOT.len());
    for (name, _, stage, errno, words) in CANNOT {
        let words = words.replace("@dir@", &supervisor.path("").display().to_string());
        let reason = supervisor.process(name)["reason"].clone();
        let told = |text: &Value| text.as_str().is_some_and(|text| text.contains(&words));
        assert!(told(&reason), "{name}: {reason}");
        supervisor.wait_for_kind(name, "process.fatal");
        let events = supervisor.events_of(name);
        let kinds: Vec<&str> =
            events.iter().filter_map(|event| event["kind"].as_str()?.strip_prefix("process.")).collect();
        let one_try = ["starting", "start_failed", "backoff"];
        let expected = [&one_try[..], &one_try[..], &["starting", "start_failed", "fatal"]].concat();
        assert_eq!(kinds, expected, "{name}");
        for (retry, event) in events.iter().filter(|event| event["kind"] == "process.start_failed").enumerate() {
            assert_eq!(event["stage"], *stage, "{event}");
            assert_eq!(event["errno"].as_i64(), errno.map(i64::from), "{event}");
            assert!(told(&event["message"]), "{name}: {event}");
            assert_eq!((&event["try"], &event["tries_max"]), (&json!(retry), &json!(2)), "{event}");
        }
        for (index, delay) in [(2, 50), (5, 100)] {
            let waited = millis(&events[index + 1]) - millis(&events[index]);
            // An event is stamped a little after the moment from which the delay counts.
            let words = format!("{name}: {waited} ms instead of {delay}");
            assert!(waited >= delay - 20, "{words}");
            late.extend((waited >= delay + 1000).then_some(words));
            let told = events[index]["message"].to_string();
            assert!(told.contains(&format!("in {delay}ms")), "{told}");
        }
        let fatal = events.last().expect("the last");
        assert!(told(&fatal["message"]) && fatal["severity"] == "crit", "{fatal}");
        assert!(fatal["message"].as_str().is_some_and(|text| text.ends_with("gave up after 3 tries")), "{fatal}");
        assert_eq!(supervisor.process(name)["pid"], Value::Null);
    }
    // The same over the control socket.
    let answer = supervisor.call("Events", json!({ "since": 0 }));
    let events = answer["parameters"]["events"].as_array().expect("events").clone();
    assert_eq!(numbers(&events, "process.fatal"), CANNOT.len());
    let status = supervisor.ctl(&["status", "headless"]);
    assert_eq!(status.code, 3);
    assert!(status.stdout.contains("FATAL") && status.stdout.contains("`#!` line"), "{status:?}");
    // No file was followed, none was made.
    assert_eq!(supervisor.read("secret"), "");
    assert_eq!(supervisor.pid_of("bystander"), bystander);
    assert!(proc::is_alive(bystander));
    assert_eq!(supervisor.kinds_of("bystander"), ["process.starting", "process.running"]);
    assert_eq!(supervisor.stop(), 0);
    if late.is_empty() { Ok(()) } else { Err(late.join(", ")) }
}

fn exits_at_once() {
    let supervisor = Supervisor::start(&format!(
        "[programs.short]\ncmd = [\"sh\", \"-c\", \"exit 5\"]\nstarttime = 1000\nstartretries = 3\n{FAST}\n{}",
        user()
    ));
    supervisor.wait_for_state("short", "FATAL");
    supervisor.wait_for_kind("short", "process.fatal");
    let events = supervisor.events_of("short");
    assert_eq!(numbers(&events, "process.starting"), 4);
    assert_eq!(numbers(&events, "process.backoff"), 3);
    assert_eq!(numbers(&events, "process.start_failed"), 0, "it was executed");
    let tries: Vec<u64> = events
        .iter()
        .filter(|event| event["kind"] == "process.backoff")
        .filter_map(|event| event["try"].as_u64())
        .collect();
    assert_eq!(tries, [1, 2, 3]);
    let fatal = events.last().expect("the last");
    assert_eq!((&fatal["code"], &fatal["from"], &fatal["to"]), (&json!(5), &json!("STARTING"), &json!("FATAL")));
    let process = supervisor.process("short");
    assert_eq!(process["last_exit"]["code"], 5);
    assert!(process["reason"].as_str().is_some_and(|text| text.contains("exited too quickly")), "{process}");
}

fn default_backoff() {
    measured("the pauses are of one second and of two", default_backoff_once);
}

/// `Err`: the pauses, in milliseconds.
fn default_backoff_once() -> Result<(), String> {
    let supervisor =
        Supervisor::start(&format!("[programs.gone]\ncmd = \"/no/such/program\"\nstartretries = 2\n{}", user()));
    supervisor.wait_for_state("gone", "FATAL");
    supervisor.wait_for_kind("gone", "process.fatal");
    let events = supervisor.events_of("gone");
    let told: Vec<&Value> =
        events.iter().filter(|event| event["kind"] == "process.backoff").map(|event| &event["message"]).collect();
    for (told, words) in told.iter().zip(["retry 1 of 2 in 1s", "retry 2 of 2 in 2s"]) {
        assert!(told.as_str().is_some_and(|text| text.contains(words)), "{words}: {told}");
    }
    let starts: Vec<i64> = events.iter().filter(|event| event["kind"] == "process.starting").map(millis).collect();
    let pauses: Vec<i64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 2);
    let is_so = |(pause, expected): (&i64, i64)| (expected - 20..expected + 700).contains(pause);
    if pauses.iter().zip([1000, 2000]).all(is_so) { Ok(()) } else { Err(format!("{pauses:?}")) }
}

fn one_try() {
    let supervisor =
        Supervisor::start(&format!("[programs.gone]\ncmd = \"/no/such/program\"\nstartretries = 0\n{}", user()));
    supervisor.wait_for_state("gone", "FATAL");
    supervisor.wait_for_kind("gone", "process.fatal");
    assert_eq!(supervisor.kinds_of("gone"), ["process.starting", "process.start_failed", "process.fatal"]);
}

fn mended() {
    let supervisor = Supervisor::start(&format!(
        "[programs.late]\ncmd = \"@dir@/late\"\nuser = \"nobody\"\nstartretries = 0\nstarttime = 0\n{FAST}"
    ));
    supervisor.wait_for_state("late", "FATAL");
    let failed = supervisor.ctl(&["start", "late"]);
    assert_eq!((failed.code, failed.stdout.as_str()), (1, "late: ERROR (spawn error)\n"));
    supervisor.file("late", "#!/bin/sh\nexec sleep 1000\n", 0o755);
    let started = supervisor.ctl(&["start", "late"]);
    assert_eq!((started.code, started.stdout.as_str()), (0, "late: started\n"));
    assert_eq!(supervisor.process("late")["reason"], Value::Null);
}

fn short_life() {
    let supervisor = Supervisor::start(&format!(
        "[programs.flash]\ncmd = \"true\"\nstarttime = 0\nautorestart = \"always\"\n{}\n{}",
        "backoff = { initial = \"200ms\", step = 0 }",
        user()
    ));
    // A life that the machine has made longer than a second is none of them.
    let (events, pauses) = eventually("two short lives, and what followed", || {
        let events = supervisor.events_of("flash");
        let ends = events.iter().filter(|event| event["kind"] == "process.exited");
        let starts = events.iter().filter(|event| event["kind"] == "process.starting").skip(1);
        let short = ends.zip(starts).filter(|(end, _)| end["uptime_seconds"].as_f64().is_some_and(|lived| lived < 1.0));
        let pauses: Vec<i64> = short.map(|(end, start)| millis(start) - millis(end)).collect();
        (pauses.len() >= 2).then_some((events, pauses))
    });
    assert!(pauses.iter().all(|pause| *pause >= 180), "{pauses:?} ms after a short life");
    assert_eq!(numbers(&events, "process.fatal"), 0);
}

fn restart_limit() {
    let supervisor = Supervisor::start(&format!(
        "[programs.mortal]\ncmd = \"sleep 1000\"\nstarttime = 0\n{}\n{}\n{}",
        "restart_limit = { burst = 2, interval = \"1h\" }",
        "backoff = { initial = 0, step = 0 }",
        user()
    ));
    for _ in 0..3 {
        supervisor.wait_for_state("mortal", "RUNNING");
        let pid = supervisor.pid_of("mortal");
        proc::kill(pid, 9);
        supervisor.wait_until("that one is gone", |all| all[0]["pid"] != pid);
    }
    supervisor.wait_for_state("mortal", "FATAL");
    let process = supervisor.process("mortal");
    assert!(process["reason"].as_str().is_some_and(|text| text.contains("restart_limit")), "{process}");
    assert_eq!(process["restarts"], 2);
}

const THREE: &str = r#"
[programs.web]
cmd = "sleep 1000"
numprocs = 3
starttime = 0
backoff = { initial = 0, step = 0 }
user = "nobody"
[programs.talker]
cmd = ["sh", "-c", "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.02; done"]
starttime = 0
user = "nobody"
stdout = "@dir@/talker.log"
"#;

fn three() -> (Supervisor, Vec<i64>) {
    let supervisor = Supervisor::start(THREE);
    supervisor.wait_until("all run", |all| all.len() == 4 && all.iter().all(|p| p["state"] == "RUNNING"));
    let pids = pids(&supervisor);
    (supervisor, pids)
}

fn pids(supervisor: &Supervisor) -> Vec<i64> {
    supervisor.status().iter().filter_map(|process| process["pid"].as_i64()).collect()
}

/// Kills a helper again and again; each time another takes its place.
fn kill_five_times(supervisor: &Supervisor, name: &str, between: impl Fn(usize)) {
    for round in 0..5 {
        let victim = supervisor.helper(name);
        proc::kill(victim, 9);
        eventually("it is gone", || (!proc::is_alive(victim)).then_some(()));
        between(round);
        let next = supervisor.helper(name);
        assert_ne!(next, victim);
    }
}

fn spawner_killed() {
    let (mut supervisor, before) = three();
    kill_five_times(&supervisor, "spawner", |round| {
        let restarted = supervisor.ctl(&["restart", "web:1"]);
        assert_eq!(restarted.stdout, "web:1: stopped\nweb:1: started\n", "round {round}: {restarted:?}");
    });
    let after = pids(&supervisor);
    assert_eq!(after.len(), 4);
    assert_eq!(before.iter().filter(|pid| after.contains(pid)).count(), 3, "{before:?} {after:?}");
    let told = eventually("five events", || {
        Some(numbers(&supervisor.event_log(), "worker.restarted")).filter(|count| *count >= 5)
    });
    assert_eq!(told, 5);
    supervisor.assert_no_zombie();
    assert_eq!(supervisor.stop(), 0);
}

fn logger_killed() {
    let (mut supervisor, before) = three();
    let last = || {
        let text = supervisor.read("talker.log");
        text.lines().last().and_then(|line| line.strip_prefix("line ")?.parse::<u64>().ok()).unwrap_or(0)
    };
    kill_five_times(&supervisor, "logger", |_| {
        supervisor.helper("logger");
        let seen = last();
        eventually("the next logger writes on", || (last() > seen + 2).then_some(()));
    });
    assert_eq!(pids(&supervisor), before);
    supervisor.wait_for_event("a restart", |event| event["kind"] == "worker.restarted");
    supervisor.assert_no_zombie();
    assert_eq!(supervisor.stop(), 0);
}

fn hanging_logger() {
    measured("nobody waits for it", hanging_logger_once);
}

/// `Err`: how long the shutdown has taken.
fn hanging_logger_once() -> Result<(), String> {
    let (mut supervisor, _) = three();
    let logger = supervisor.helper("logger");
    proc::kill(logger, 19);
    let before = std::time::Instant::now();
    assert_eq!(supervisor.stop(), 0, "which also sees that nothing is left");
    let took = before.elapsed();
    let last = supervisor.event_log().last().map(|event| event["kind"].clone());
    assert_eq!(last, Some(json!("supervisor.stopped")));
    if took.as_secs() < 8 { Ok(()) } else { Err(format!("{took:?}")) }
}

fn notifier_killed() {
    let (mut supervisor, before) = three();
    kill_five_times(&supervisor, "notifier", |round| {
        supervisor.wait_for_state("web:2", "RUNNING");
        assert_eq!(supervisor.ctl(&["signal", "KILL", "web:2"]).code, 0);
        let crashes = || numbers(&supervisor.events_of("web:2"), "process.crashed");
        eventually("its successor writes the crash", || (crashes() == round + 1).then_some(()));
    });
    let after = pids(&supervisor);
    assert_eq!(before.iter().filter(|pid| after.contains(pid)).count(), 3, "{before:?} {after:?}");
    assert_eq!(supervisor.stop(), 0);
    let numbers: Vec<u64> = supervisor.event_log().iter().filter_map(|event| event["seq"].as_u64()).collect();
    let mut once = numbers.clone();
    once.dedup();
    assert_eq!(once, (1..=numbers.last().copied().unwrap_or(0)).collect::<Vec<_>>(), "no gap: {numbers:?}");
    assert!(numbers.len() <= once.len() + 5, "at most the one in flight is told twice: {numbers:?}");
}
