//! Program output: where it goes, that it is whole, and that neither its mass nor a dead logger costs a program or the
//! supervisor anything.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::json;

use crate::support::speaker::{Following, script};
use crate::support::{Need, PATIENCE, Supervisor, eventually, measured, proc, test, user};

pub fn trials() -> Vec<Trial> {
    vec![
        test("a gigabyte of output keeps to its files and the core stays quick", &[], flood),
        test("stdout and stderr go to two files or to one or nowhere", &[], places),
        test("auto names have the number of the process only where there are several", &[], auto_names),
        test("eight processes write whole lines into one file", &[], shared),
        test("tail shows the last lines and follows over a restart", &[], tail),
        test("tail follows a process that has never run until it does", &[], tail_before_the_first_life),
        test("after logrotate nothing is lost and the new file is written", &[], reopened),
        test("log files have the owner and mode that fit their directory", &[Need::Root], ownership),
        test("rotated files are numbered from the newest and the oldest is removed", &[], rotation),
        test("a logger that is killed again and again costs the program nothing", &[], killed_logger),
        test("a logger that is killed at work loses and doubles nothing", &[], killed_at_work),
        test("a log that cannot be rotated is told once and again when it can", &[Need::Root], not_rotated),
        test("lines have their time and no escape sequences, from a reload on", &[], dressed),
    ]
}

fn logger_of(supervisor: i64) -> Option<i64> {
    let is_logger = |pid: &i64| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("taskmaster-logger") && proc::is_alive(*pid)
    };
    proc::children(supervisor).into_iter().find(is_logger)
}

fn size(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.len())
}

/// A hundred bytes with their line end.
const LINE: &str =
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678\n";

fn flood() {
    measured("every answer comes within a tenth of a second", flood_once);
}

/// `Err`: how long the answers have taken.
fn flood_once() -> Result<(), String> {
    let line = &LINE[10..];
    assert_eq!(line.len(), 100);
    // Whole lines, as many as a gigabyte has room for.
    let bytes = (1u64 << 30) / 100 * 100;
    let flood = script(
        "flood",
        &format!("yes {} | head -c {bytes}", line.trim_end()),
        "autostart = false\nstdout = \"@dir@/flood.log\"\nlog_maxbytes = \"50MB\"\nlog_backups = 3",
    );
    let bystander = format!("[programs.bystander]\ncmd = \"sleep 1000\"\nstarttime = 0\n{}\n", user());
    let supervisor = Supervisor::start(&(flood + &bystander));
    supervisor.wait_for_state("bystander", "RUNNING");
    let ticks = proc::cpu_ticks(supervisor.pid());
    supervisor.call("Start", json!({ "selectors": ["flood"], "wait": false }));
    let mut answers = Vec::new();
    let mut deaths = Vec::new();
    let until = Instant::now() + 3 * PATIENCE;
    loop {
        let asked = Instant::now();
        let all = supervisor.status();
        answers.push(asked.elapsed());
        let process = |name: &str| all.iter().find(|process| process["process"] == name).expect("it is listed");
        if process("flood")["state"] == "EXITED" {
            break;
        }
        assert!(Instant::now() < until, "{:?} of {bytes} bytes", size(&supervisor.path("flood.log")));
        if process("bystander")["state"] == "RUNNING" && deaths.len() < 3 {
            let pid = process("bystander")["pid"].as_i64().expect("a pid");
            let killed = Instant::now();
            proc::kill(pid, 9);
            while supervisor.pid_now("bystander") == Some(pid) {
                assert!(killed.elapsed() < PATIENCE, "the death was not seen");
            }
            deaths.push(killed.elapsed());
        }
    }
    let ticks = proc::cpu_ticks(supervisor.pid()) - ticks;
    answers.sort_unstable();
    deaths.sort_unstable();
    let worst = answers.last().copied().unwrap_or_default();
    let told = format!(
        "{} answers, median {:?}, worst {worst:?}; deaths seen after {deaths:?}; {ticks} ticks",
        answers.len(),
        answers[answers.len() / 2]
    );
    assert!(deaths.first().is_some_and(|best| *best < Duration::from_millis(50)), "{told}");
    // The calls of this test are work, too: each is counted with a tenth of a tick.
    assert!(ticks < 50 + answers.len() as u64 / 10, "{told}");
    let limit = 50 << 20;
    for name in ["flood.log", "flood.log.1", "flood.log.2", "flood.log.3"] {
        let path = supervisor.path(name);
        let mut text = Vec::new();
        std::fs::File::open(&path).expect(name).read_to_end(&mut text).expect("reads");
        assert!(text.len() <= limit, "{name} has {} bytes", text.len());
        if name != "flood.log" {
            assert!(text.len() > limit - line.len(), "{name} has only {} bytes", text.len());
        }
        assert!(text.chunks(line.len()).all(|chunk| chunk == line.as_bytes()), "a line is cut in {name}");
    }
    assert!(!supervisor.path("flood.log.4").exists());
    assert!(!supervisor.event_log().iter().any(|event| event["kind"] == "output.dropped"));
    if worst < Duration::from_millis(100) { Ok(()) } else { Err(told) }
}

fn places() {
    let speak = "echo to stdout; echo to stderr >&2";
    let programs = [
        script("two", speak, "stdout = \"@dir@/two.out\"\nstderr = \"@dir@/two.err\""),
        script("one", speak, "stdout = \"@dir@/one.out\"\nstderr = \"stdout\""),
        script("half", speak, "stdout = \"discard\"\nstderr = \"@dir@/half.err\""),
        script("none", speak, "stdout = \"discard\"\nstderr = \"discard\""),
    ];
    let supervisor = Supervisor::start(&programs.concat());
    supervisor.wait_until("all have spoken", |all| all.iter().all(|process| process["state"] == "EXITED"));
    let has = |name: &str, text: &str| {
        eventually(&format!("{name} has {text:?}"), || (supervisor.read(name) == text).then_some(()));
    };
    has("two.out", "to stdout\n");
    has("two.err", "to stderr\n");
    has("one.out", "to stdout\nto stderr\n");
    has("half.err", "to stderr\n");
    let mut files: Vec<String> = std::fs::read_dir(supervisor.path(""))
        .expect("the directory")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".out") || name.ends_with(".err"))
        .collect();
    files.sort();
    assert_eq!(files, ["half.err", "one.out", "two.err", "two.out"]);
    let logs = std::fs::read_dir(supervisor.path("log")).expect("the directory").count();
    assert_eq!(logs, 1, "only the event log is in log_dir");
}

fn auto_names() {
    let speak = "echo process $TASKMASTER_INSTANCE; echo oops >&2; sleep 1000";
    let supervisor = Supervisor::start(&(script("single", speak, "") + &script("many", speak, "numprocs = 3")));
    let has = |name: &str, text: &str| {
        eventually(&format!("{name} has {text:?}"), || (supervisor.read(name) == text).then_some(()));
    };
    has("log/single.stdout.log", "process 0\n");
    has("log/single.stderr.log", "oops\n");
    for instance in 0..3 {
        has(&format!("log/many-{instance}.stdout.log"), &format!("process {instance}\n"));
        has(&format!("log/many-{instance}.stderr.log"), "oops\n");
    }
}

fn shared() {
    // Each line in two writes, so that a reader can come between.
    let speak = "n=0; while [ $n -lt 500 ]; do printf \"process $TASKMASTER_INSTANCE \"; printf \"line $n.\\n\"; n=$((n+1)); done";
    let supervisor = Supervisor::start(&script("many", speak, "numprocs = 8\nstdout = \"@dir@/many.log\""));
    supervisor.wait_until("all have spoken", |all| all.iter().all(|process| process["state"] == "EXITED"));
    let text = eventually("all lines are written", || {
        Some(supervisor.read("many.log")).filter(|text| text.lines().count() >= 8 * 500)
    });
    let mut next: BTreeMap<String, u32> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let ["process", process, "line", number] = words[..] else { panic!("a torn line: {line:?}") };
        let expected = next.entry(process.to_owned()).or_default();
        assert_eq!(number, format!("{expected}."), "the lines of process {process} are in order");
        *expected += 1;
    }
    assert_eq!(next.len(), 8);
    assert!(next.values().all(|count| *count == 500), "{next:?}");
}

fn tail() {
    let speak = "n=0; while [ $n -lt 20 ]; do n=$((n+1)); echo line $n of $$$$; done; echo complaint >&2; sleep 1000";
    let supervisor = Supervisor::start(&script("talker", speak, ""));
    supervisor.wait_for_state("talker", "RUNNING");
    let pid = supervisor.pid_of("talker");
    eventually("all is written", || (supervisor.read("log/talker.stdout.log").lines().count() == 20).then_some(()));
    let shown = supervisor.ctl(&["tail", "-n", "3", "talker"]);
    assert_eq!(shown.stdout, format!("line 18 of {pid}\nline 19 of {pid}\nline 20 of {pid}\n"));
    eventually("stderr, too", || (supervisor.ctl(&["tail", "talker", "stderr"]).stdout == "complaint\n").then_some(()));
    let mut following = Following::start(&supervisor, &["tail", "-f", "-n", "1", "talker"]);
    assert_eq!(following.line(), format!("line 20 of {pid}\n"));
    assert_eq!(supervisor.ctl(&["restart", "talker"]).code, 0);
    let second = supervisor.pid_of("talker");
    assert_ne!(second, pid);
    for number in 1..=20 {
        assert_eq!(following.line(), format!("line {number} of {second}\n"));
    }
    // A process that has ended is still to be looked at.
    assert_eq!(supervisor.ctl(&["stop", "talker"]).code, 0);
    assert_eq!(supervisor.ctl(&["tail", "-n", "1", "talker"]).stdout, format!("line 20 of {second}\n"));
}

fn tail_before_the_first_life() {
    let speak = "echo at last; sleep 1000";
    let supervisor = Supervisor::start(&script("talker", speak, "autostart = false"));
    let mut following = Following::start(&supervisor, &["tail", "-f", "talker"]);
    let logger = eventually("a logger runs", || logger_of(supervisor.pid()));
    let sockets = || proc::descriptors(logger).values().filter(|target| target.starts_with("socket:")).count();
    eventually("the logger has the client", || (sockets() > 1).then_some(()));
    assert_eq!(supervisor.ctl(&["start", "talker"]).code, 0);
    assert_eq!(following.line(), "at last\n");
}

/// Asserts that the text is the numbers from 1 on, a line each; gives the last.
#[track_caller]
fn assert_counts(text: &str) -> u64 {
    let mut last = 0;
    for line in text.lines() {
        assert_eq!(line.parse(), Ok(last + 1), "after {last}");
        last += 1;
    }
    last
}

const COUNT: &str = "trap \"exit 0\" TERM; n=0; while :; do n=$((n+1)); echo $n; sleep 0.001; done";

fn reopened() {
    let supervisor = Supervisor::start(&script("count", COUNT, "stdout = \"@dir@/log/count.log\""));
    let (log, old) = (supervisor.path("log/count.log"), supervisor.path("log/count.log-20261120"));
    eventually("there are some lines", || size(&log).filter(|size| *size > 50));
    supervisor.wait_for_kind("count", "process.running");
    std::fs::rename(&log, &old).expect("renames");
    std::fs::rename(supervisor.path("log/events.log"), supervisor.path("log/events.log-old")).expect("renames");
    supervisor.signal(10);
    eventually("the new file is written", || size(&log).filter(|size| *size > 50));
    assert_eq!(supervisor.ctl(&["stop", "count"]).code, 0);
    supervisor.wait_for_event("the stop, in the new event log", |event| event["kind"] == "process.stopped");
    let old_size = size(&old);
    let both = || supervisor.read("log/count.log-20261120") + &supervisor.read("log/count.log");
    eventually("the last line is whole", || both().ends_with('\n').then_some(()));
    assert!(assert_counts(&both()) > 20);
    assert_eq!(size(&old), old_size, "the old file is left alone");
    assert!(supervisor.read("log/events.log-old").contains("process.running"));
}

fn ownership() {
    let speak = "echo hello; echo hello >&2; sleep 1000";
    let supervisor = Supervisor::prepare(&script(
        "talker",
        speak,
        "stdout = \"@dir@/log/talker.log\"\nstderr = \"@dir@/mine/talker.log\"",
    ));
    let nobody = nix::unistd::User::from_name("nobody").expect("a database").expect("an account");
    let mine = supervisor.path("mine");
    std::fs::create_dir(&mine).expect("a directory");
    nix::unistd::chown(&mine, Some(nobody.uid), Some(nobody.gid)).expect("chown");
    let mut supervisor = supervisor;
    supervisor.launch();
    let facts = |name: &str| {
        let metadata = eventually(name, || std::fs::metadata(supervisor.path(name)).ok().filter(|file| file.len() > 0));
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    let group = nobody.gid.as_raw();
    assert_eq!(facts("log/talker.log"), (0, group, 0o640));
    let (owner, in_group, mode) = facts("mine/talker.log");
    assert_eq!((owner, in_group), (nobody.uid.as_raw(), group));
    assert_eq!(mode & 0o022, 0, "{mode:o}");
    assert_eq!(facts("log/events.log"), (0, 0, 0o640));
}

fn rotation() {
    let speak = "n=0; while [ $n -lt 1000 ]; do n=$((n+1)); echo number $n; done; sleep 1000";
    let supervisor = Supervisor::start(&script("talker", speak, "log_maxbytes = \"1KB\"\nlog_backups = 2"));
    let read = |suffix: &str| supervisor.read(&format!("log/talker.stdout.log{suffix}"));
    eventually("all is written", || read("").ends_with("number 1000\n").then_some(()));
    assert!(!supervisor.path("log/talker.stdout.log.3").exists());
    for suffix in ["", ".1", ".2"] {
        assert!(read(suffix).len() <= 1024, "{suffix}");
    }
    // From the oldest to the newest, without a gap.
    let all = read(".2") + &read(".1") + &read("");
    let numbers: Vec<u32> = all.lines().map(|line| line[7..].parse().expect("a number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&1000));
}

/// Kills the logger and waits for the next.
#[track_caller]
fn kill_logger(supervisor: &Supervisor, meanwhile: impl FnOnce()) {
    let logger = eventually("a logger runs", || logger_of(supervisor.pid()));
    proc::kill(logger, 9);
    meanwhile();
    eventually("another logger runs", || logger_of(supervisor.pid()).filter(|pid| *pid != logger));
}

/// What the logger has written stays, what is in the pipe comes with the next logger, and the program
/// notices nothing.
fn killed_logger() {
    let supervisor = Supervisor::start(&script("count", COUNT, "log_maxbytes = 0"));
    let log = supervisor.path("log/count.stdout.log");
    supervisor.wait_for_state("count", "RUNNING");
    let pid = supervisor.pid_of("count");
    for _ in 0..10 {
        let before = eventually("lines are written", || size(&log));
        eventually("more lines are written", || size(&log).filter(|size| *size > before + 20));
        // The logger has nothing in hand when it is killed; the program writes while there is none.
        proc::hold(pid);
        let mut seen = (size(&log), 0);
        eventually("all is written", || {
            let now = size(&log);
            seen = if now == seen.0 { (now, seen.1 + 1) } else { (now, 0) };
            (seen.1 == 5).then_some(())
        });
        kill_logger(&supervisor, || proc::kill(pid, 18));
    }
    assert_eq!(supervisor.pid_of("count"), pid);
    supervisor.wait_for_event("the restart", |event| event["kind"] == "worker.restarted");
    assert_eq!(supervisor.ctl(&["stop", "count"]).code, 0);
    eventually("the last line is whole", || supervisor.read("log/count.stdout.log").ends_with('\n').then_some(()));
    assert!(assert_counts(&supervisor.read("log/count.stdout.log")) > 50);
}

/// At work all the time, and killed at any moment; `logger::tests::killed` does so more often, without the
/// pauses between two loggers.
fn killed_at_work() {
    let count = COUNT.replace("; sleep 0.001", "");
    let one = script("count", &count, "stdout = \"@dir@/count.log\"\nlog_maxbytes = \"20KB\"\nlog_backups = 10000");
    let two = script("many", &count, "numprocs = 2\nstdout = \"@dir@/many.log\"\nlog_maxbytes = 0");
    let mut supervisor = Supervisor::start(&(one + &two));
    let log = supervisor.path("many.log");
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    let pids = ["count", "many:0", "many:1"].map(|name| supervisor.pid_of(name));
    for _ in 0..8 {
        let before = eventually("lines are written", || size(&log));
        eventually("more lines are written", || size(&log).filter(|size| *size > before + 1000));
        kill_logger(&supervisor, || {});
    }
    assert_eq!(["count", "many:0", "many:1"].map(|name| supervisor.pid_of(name)), pids);
    // A stop waits for the programs; what they have written may fill many files more. The end waits for that.
    assert_eq!(supervisor.stop(), 0);
    assert!(supervisor.read("count.log").ends_with('\n'), "the last line is whole");
    let older = (1..).map(|n| format!("count.log.{n}")).take_while(|name| supervisor.path(name).exists());
    let mut files: Vec<String> = older.map(|name| supervisor.read(&name)).collect();
    files.reverse();
    assert!(files.len() > 1 && files.iter().all(|text| text.ends_with('\n')), "no line is cut at a rotation");
    assert_counts(&(files.concat() + &supervisor.read("count.log")));
    // Two count there: each number up to the lower of the last ones is there twice.
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for line in supervisor.read("many.log").lines() {
        *times.entry(line.parse().expect("a whole line")).or_default() += 1;
    }
    let both = times.values().take_while(|count| **count == 2).count();
    assert!(both > 100 && times.values().skip(both).all(|count| *count == 1), "{both} of {}", times.len());
    assert!(times.keys().zip(1..).all(|(number, expected)| *number == expected), "none is missing");
}

/// The directory is the program's user's, who takes the right to write from it and gives it back.
fn not_rotated() {
    let mut supervisor = Supervisor::prepare(
        "[programs.one]\ncmd = [\"sh\", \"-c\", 'while :; do seq 1 200; sleep 0.01; done']\nuser = \"nobody\"\nstarttime = 0\n\
         stdout = \"@dir@/theirs/log\"\nstderr = \"discard\"\nlog_maxbytes = \"4KB\"\nlog_backups = 1\n",
    );
    let theirs = supervisor.path("theirs");
    std::fs::create_dir(&theirs).expect("mkdir");
    std::os::unix::fs::chown(&theirs, Some(65534), Some(65534)).expect("chown");
    supervisor.launch();
    eventually("it rotates", || theirs.join("log.1").exists().then_some(()));
    let mode = |mode| {
        std::fs::set_permissions(&theirs, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("chmod");
    };
    mode(0o555);
    supervisor.wait_for_event("it cannot be rotated", |event| event["kind"] == "output.failing");
    // The program goes on, in the file that there is.
    eventually("the file grows", || std::fs::metadata(theirs.join("log")).ok().filter(|meta| meta.len() > 40_000));
    mode(0o755);
    supervisor.wait_for_event("it can again", |event| event["kind"] == "output.recovered");
    let told = |kind: &str| supervisor.event_log().iter().filter(|event| event["kind"] == kind).count();
    assert_eq!((told("output.failing"), told("output.recovered"), told("output.dropped")), (1, 1, 0));
}

fn dressed() {
    let speak = "trap \"exit 0\" TERM; n=0; while :; do n=$((n+1)); printf \"\\033[31m$n\\033[m\\n\"; sleep 0.01; done";
    let supervisor = Supervisor::start(&script("talker", speak, "strip_ansi = true"));
    let lines = |supervisor: &Supervisor, many: usize| {
        eventually("lines", || {
            Some(supervisor.read("log/talker.stdout.log")).filter(|text| text.lines().count() > many)
        })
    };
    let text = lines(&supervisor, 5);
    assert!(text.starts_with("1\n2\n3\n4\n5\n"), "{text:?}");
    let pid = supervisor.pid_of("talker");
    supervisor.configure(&script("talker", speak, "strip_ansi = true\nlog_timestamps = true"));
    assert_eq!(supervisor.ctl(&["reload"]).code, 0);
    let many = supervisor.read("log/talker.stdout.log").lines().count();
    let text = lines(&supervisor, many + 5);
    assert_eq!(supervisor.pid_of("talker"), pid, "the program is not touched");
    let last = text.lines().last().expect("a line");
    let (time, number) = last.split_once(' ').unwrap_or_else(|| panic!("no time before {last:?}"));
    assert!(time.len() == 24 && time.ends_with('Z') && number.parse::<u64>().is_ok(), "{last:?}");
}
