//! Disks that are full or break, log directories that go away: the program goes on, what is lost of its output is
//! told to the byte, and writing goes on by itself as soon as it can.
//!
//! A quota (EDQUOT) is not shown: many kernels, and some of those that these tests run on, have none for tmpfs or
//! ext4. To the logger it is an error of a write like every other.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::disk::Disk;
use crate::support::{Need, Supervisor, eventually, measured, proc, test, user};

pub fn trials() -> Vec<Trial> {
    vec![
        test("what a full disk loses is told to the byte", &[Need::Root], full_disk),
        test("what a full disk loses is counted over the deaths of loggers", &[Need::Root], killed_on_a_full_disk),
        test(
            "what a disk loses that turns read only is told to the byte",
            &[Need::Root, Need::LoopDevice],
            read_only_disk,
        ),
        test("a log directory that is removed is found again when it is there again", &[], directory_gone),
        test("output of a file that cannot be opened again is told at the end", &[], never_again),
        test("what has taken the place of a log file is neither followed nor waited for", &[], replaced),
        test("a file system mounted over the logs is written from the next reopening on", &[Need::Root], mounted_over),
    ]
}

/// So many blocks of 500 numbered lines, a short while between them.
fn blocks(name: &str, blocks: u64, more: &str) -> String {
    let script = format!("n=0; while [ $n -lt {blocks} ]; do n=$((n+1)); seq $n\"000\" $n\"499\"; sleep 0.01; done");
    format!(
        "[programs.{name}]\ncmd = [\"sh\", \"-c\", '{script}']\nstarttime = 0\nautorestart = false\n{}\n{more}\n",
        user()
    )
}

/// How many bytes that is.
fn length(blocks: u64) -> u64 {
    (1..=blocks).map(|n| 500 * ((n * 1000).to_string().len() as u64 + 1)).sum()
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The events about lost output of files whose path ends so.
fn told(supervisor: &Supervisor, file: &str) -> Vec<Value> {
    let is = |event: &Value| {
        let words = event["message"].as_str().unwrap_or_default();
        let about = words.split([' ', ':', ';']).any(|word| word.ends_with(file));
        event["kind"] == "output.dropped" && about
    };
    supervisor.event_log().into_iter().filter(is).collect()
}

/// How many bytes these events say were lost.
fn lost(events: &[Value]) -> u64 {
    let bytes = |event: &Value| {
        let words = event["message"].as_str()?.strip_suffix(" bytes were dropped")?;
        words.rsplit(' ').next()?.parse::<u64>().ok()
    };
    events.iter().filter_map(bytes).sum()
}

#[track_caller]
fn begins(supervisor: &Supervisor, file: &str, errno: i64) {
    let first = eventually("the loss is told", || told(supervisor, file).first().cloned());
    assert_eq!(first["errno"], errno, "{first}");
}

/// Whole lines with rising numbers in each of these texts.
#[track_caller]
fn assert_rising(text: &str) {
    assert!(text.is_empty() || text.ends_with('\n'));
    let numbers: Vec<u64> = text.lines().map(|line| line.parse().expect("a whole number")).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "a line came twice or out of its turn");
}

fn full_disk() {
    let mut supervisor = Supervisor::prepare(
        &(blocks("one", 300, "stdout = \"@dir@/disk/one.log\"\nlog_maxbytes = 0")
            + &blocks("two", 300, "numprocs = 2\nstdout = \"@dir@/disk/two.log\"\nlog_maxbytes = 0")),
    );
    let disk = Disk::mount(supervisor.path("disk"), "size=1m,mode=755");
    let ballast = supervisor.path("disk/ballast");
    std::fs::write(&ballast, vec![b'x'; 900 << 10]).expect("writes");
    supervisor.launch();
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    let pids = ["one", "two:0", "two:1"].map(|name| supervisor.pid_of(name));
    for file in ["/one.log", "/two.log"] {
        begins(&supervisor, file, 28);
    }
    let free = |at: u64| {
        eventually("the programs go on", || {
            let last = supervisor.ctl(&["tail", "-n", "1", "one"]).stdout.trim().parse::<u64>().ok()?;
            (last > at * 1000).then_some(())
        });
    };
    free(60);
    assert_eq!(["one", "two:0", "two:1"].map(|name| supervisor.pid_of(name)), pids);
    assert!(told(&supervisor, "/one.log").len() == 1, "told once when it begins");
    let full = size(&supervisor.path("disk/one.log"));
    std::fs::remove_file(&ballast).expect("removes");
    eventually("it is written again", || (size(&supervisor.path("disk/one.log")) > full + 4096).then_some(()));
    supervisor.wait_until("all have ended", |all| all.iter().all(|process| process["state"] == "EXITED"));
    assert_eq!(supervisor.stop(), 0);
    for (name, writers) in [("one.log", 1), ("two.log", 2)] {
        let (events, text) = (told(&supervisor, &format!("/{name}")), supervisor.read(&format!("disk/{name}")));
        assert!(events.iter().any(|event| event["message"].as_str().is_some_and(|m| m.contains("is written again"))));
        assert_eq!(text.len() as u64 + lost(&events), writers * length(300), "{name}: {events:#?}");
        assert!(lost(&events) > 10_000, "{events:#?}");
        if writers == 1 {
            assert_rising(&text);
        } else {
            // Two count there: what both lines say is whole, and there at most twice.
            let mut times: BTreeMap<u64, u32> = BTreeMap::new();
            text.lines().for_each(|line| *times.entry(line.parse().expect("a whole number")).or_default() += 1);
            assert!(times.iter().all(|(number, times)| *times <= 2 && number % 1000 < 500 && *number < 301_000));
        }
    }
    drop(disk);
}

/// What a logger had not told yet when it was killed is not counted: no more than it drops in a tenth of a second.
fn killed_on_a_full_disk() {
    let mut supervisor = Supervisor::prepare(&blocks("one", 400, "stdout = \"@dir@/disk/one.log\"\nlog_maxbytes = 0"));
    let _disk = Disk::mount(supervisor.path("disk"), "size=1m,mode=755");
    let ballast = supervisor.path("disk/ballast");
    std::fs::write(&ballast, vec![b'x'; 1000 << 10]).expect("writes");
    supervisor.launch();
    begins(&supervisor, "/one.log", 28);
    let last = || supervisor.ctl(&["tail", "-n", "1", "one"]).stdout.trim().parse::<u64>().unwrap_or(0);
    let goes_on = |blocks: u64| {
        let now = eventually("a line", || Some(last()).filter(|last| *last > 0));
        eventually("the program goes on", || (last() > now + blocks * 1000).then_some(()));
    };
    for _ in 0..2 {
        goes_on(80);
        let logger = supervisor.helper("logger");
        proc::kill(logger, 9);
        eventually("it is gone", || (!proc::is_alive(logger)).then_some(()));
        supervisor.helper("logger");
    }
    goes_on(30);
    std::fs::remove_file(&ballast).expect("removes");
    supervisor.wait_until("it has ended", |all| all[0]["state"] == "EXITED");
    assert_eq!(supervisor.stop(), 0);
    let (events, text) = (told(&supervisor, "/one.log"), supervisor.read("disk/one.log"));
    assert_rising(&text);
    let errors = events.iter().filter(|event| event["errno"] == 28).count();
    assert_eq!(errors, 1, "another logger begins no other loss: {events:#?}");
    let missing = length(400) - text.len() as u64;
    let unknown = missing.checked_sub(lost(&events)).unwrap_or_else(|| panic!("more than was lost: {events:#?}"));
    assert!(missing > 500_000 && unknown < 2 * 100_000, "{unknown} of {missing} bytes are not told: {events:#?}");
}

fn read_only_disk() {
    let mut supervisor = Supervisor::prepare(&blocks("one", 200, "stdout = \"@dir@/disk/one.log\"\nlog_maxbytes = 0"));
    let disk = Disk::breakable(supervisor.path("disk"));
    supervisor.launch();
    let log = supervisor.path("disk/one.log");
    eventually("lines are written", || (size(&log) > 10_000).then_some(()));
    let mut kept = std::fs::File::open(&log).expect("opens");
    disk.break_it();
    begins(&supervisor, "/one.log", 30);
    let mut before = String::new();
    kept.read_to_string(&mut before).expect("reads");
    // It is taken away, and another put in its place: that is found without a word.
    drop((disk, kept));
    let _other = Disk::over(supervisor.path("disk"), "size=4m,mode=755");
    eventually("it goes on there", || (size(&log) > 0).then_some(()));
    supervisor.wait_until("it has ended", |all| all[0]["state"] == "EXITED");
    assert_eq!(supervisor.stop(), 0);
    let (events, after) = (told(&supervisor, "/one.log"), supervisor.read("disk/one.log"));
    assert_rising(&(before.clone() + &after));
    assert_eq!((before.len() + after.len()) as u64 + lost(&events), length(200), "{events:#?}");
}

fn directory_gone() {
    measured("it goes on within seven seconds", directory_gone_once);
}

/// `Err`: how long it has taken.
fn directory_gone_once() -> Result<(), String> {
    let mut supervisor = Supervisor::prepare(&blocks("one", 300, "stdout = \"@dir@/gone/one.log\"\nlog_maxbytes = 0"));
    supervisor.subdirectory_of_own("gone");
    supervisor.launch();
    let (directory, log) = (supervisor.path("gone"), supervisor.path("gone/one.log"));
    eventually("lines are written", || (size(&log) > 10_000).then_some(()));
    let pid = supervisor.pid_of("one");
    let mut first = std::fs::File::open(&log).expect("opens");
    std::fs::remove_dir_all(&directory).expect("removes");
    begins(&supervisor, "/one.log", 2);
    let removed = size_of(&first);
    let reason = supervisor.wait_for_event("why it cannot be opened", |event| event["kind"] == "output.failing");
    assert!(reason["message"].as_str().is_some_and(|words| words.contains("/gone")), "{reason}");
    eventually("the program goes on", || {
        let last = supervisor.ctl(&["tail", "-n", "1", "one"]).stdout.trim().parse::<u64>().ok()?;
        (last > 80_000).then_some(())
    });
    assert_eq!(size_of(&first), removed, "nothing is written where nobody finds it");
    let back = std::time::Instant::now();
    supervisor.subdirectory_of_own("gone");
    eventually("it goes on by itself", || (size(&log) > 0).then_some(()));
    let took = back.elapsed();
    supervisor.wait_for_event("it can be opened", |event| event["kind"] == "output.recovered");
    supervisor.wait_until("it has ended", |all| all[0]["state"] == "EXITED");
    assert_eq!(supervisor.process("one")["last_exit"]["code"], 0, "and its pid was {pid}");
    assert_eq!(supervisor.stop(), 0);
    let mut before = String::new();
    first.rewind().and_then(|()| first.read_to_string(&mut before)).expect("reads");
    let (events, after) = (told(&supervisor, "/one.log"), supervisor.read("gone/one.log"));
    assert_rising(&after);
    assert_eq!((before.len() + after.len()) as u64 + lost(&events), length(300), "{events:#?}");
    assert_eq!(events.len(), 2, "once when it begins, once when it ends: {events:#?}");
    if took < Duration::from_secs(7) { Ok(()) } else { Err(format!("{took:?}")) }
}

fn size_of(file: &std::fs::File) -> u64 {
    file.metadata().expect("stat").len()
}

/// The directory does not come back: the count is told when the supervisor ends, and when a reload closes the file.
fn never_again() {
    for by_reload in [false, true] {
        let mut supervisor =
            Supervisor::prepare(&blocks("one", 60, "stdout = \"@dir@/gone/one.log\"\nlog_maxbytes = 0"));
        supervisor.subdirectory_of_own("gone");
        supervisor.launch();
        let log = supervisor.path("gone/one.log");
        eventually("lines are written", || (size(&log) > 10_000).then_some(()));
        let removed = std::fs::File::open(&log).expect("opens");
        std::fs::remove_dir_all(supervisor.path("gone")).expect("removes");
        supervisor.wait_until("it has ended", |all| all[0]["state"] == "EXITED");
        if by_reload {
            supervisor.configure(&blocks("other", 1, ""));
            assert_eq!(supervisor.ctl(&["reload"]).code, 0);
            eventually("the end of the loss is told", || (told(&supervisor, "/one.log").len() == 2).then_some(()));
        }
        assert_eq!(supervisor.stop(), 0);
        let events = told(&supervisor, "/one.log");
        let words = events.last().and_then(|event| event["message"].as_str()).unwrap_or_default();
        assert!(words.contains("is closed before it could be written again"), "{events:#?}");
        assert_eq!(size_of(&removed) + lost(&events), length(60), "{events:#?}");
    }
}

/// A link, a FIFO that nobody reads, a directory: the file that was there is gone on with, under its other name.
fn replaced() {
    let supervisor = Supervisor::prepare(&blocks("one", 400, "stdout = \"@dir@/logs/one.log\"\nlog_maxbytes = 0"));
    let mut supervisor = supervisor;
    supervisor.subdirectory_of_own("logs");
    supervisor.file("secret", "", 0o666);
    supervisor.launch();
    let (log, old) = (supervisor.path("logs/one.log"), supervisor.path("logs/old"));
    eventually("lines are written", || (size(&log) > 10_000).then_some(()));
    std::fs::rename(&log, &old).expect("renames");
    std::os::unix::fs::symlink(supervisor.path("secret"), &log).expect("links");
    let failing = |words: &str| {
        supervisor.wait_for_event(words, |event| {
            event["kind"] == "output.failing" && event["message"].as_str().is_some_and(|text| text.contains(words))
        });
        let now = size(&old);
        eventually("the old file is written", || (size(&old) > now + 4096).then_some(()));
    };
    failing("is a symbolic link");
    std::fs::remove_file(&log).expect("removes");
    eventually("it is opened anew", || (size(&log) > 4096).then_some(()));
    std::fs::remove_file(&old).expect("removes");
    std::fs::rename(&log, &old).expect("renames");
    supervisor.fifo("logs/one.log");
    failing("not a plain file");
    std::fs::remove_file(&log).expect("removes");
    std::fs::create_dir(&log).expect("mkdir");
    let now = size(&old);
    eventually("the old file is written", || (size(&old) > now + 50_000).then_some(()));
    assert_eq!(supervisor.read("secret"), "");
    assert!(told(&supervisor, "/one.log").is_empty(), "nothing was lost");
    assert!(std::fs::symlink_metadata(&log).is_ok_and(|metadata| metadata.is_dir()));
}

fn mounted_over() {
    let mut supervisor = Supervisor::prepare(&blocks("one", 400, "stdout = \"@dir@/logs/one.log\"\nlog_maxbytes = 0"));
    supervisor.subdirectory_of_own("logs");
    supervisor.launch();
    let log = supervisor.path("logs/one.log");
    eventually("lines are written", || (size(&log) > 10_000).then_some(()));
    let below = std::fs::File::open(&log).expect("opens");
    let disk = Disk::over(supervisor.path("logs"), "size=4m,mode=777");
    let now = size_of(&below);
    eventually("the file is written on", || (size_of(&below) > now + 4096).then_some(()));
    assert!(!log.exists());
    supervisor.signal(10);
    eventually("the other disk is written", || (size(&log) > 4096).then_some(()));
    let device = std::fs::metadata(&log).expect("stat").dev();
    assert_ne!(device, below.metadata().expect("stat").dev());
    // It is taken away under the open file.
    drop(disk);
    let now = size_of(&below);
    eventually("the file below is written again", || (size_of(&below) > now + 4096).then_some(()));
    assert!(told(&supervisor, "/one.log").is_empty(), "nothing was lost");
}
