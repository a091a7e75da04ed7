//! `log_compress`: rotated files become gzip, and whatever dies, fills up or is put in the way meanwhile, each line
//! stays there once.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::support::disk::Disk;
use crate::support::{Need, Supervisor, eventually, proc, test, user};

pub fn trials() -> Vec<Trial> {
    vec![
        test("rotated files become gzip with all lines in order and the mode and owner of the log", &[], compressed),
        test("whatever is killed while files are compressed each line is there once", &[], killed),
        test("switched on and off by reload a slot is one file compressed or not", &[], switched),
        test("where the disk has no room for it a rotated file stays as it is until there is", &[Need::Root], no_room),
        test("the output of others does not wait for a large file that is compressed", &[], beside),
        test("a shutdown leaves no half of a compressed file and the next start makes the whole", &[], shut_down),
        test(
            "what a user puts in the place of rotated files is neither followed nor opened",
            &[Need::Root],
            in_the_way,
        ),
    ]
}

/// A program of a few lines of sh, with one log.
fn script(name: &str, script: &str, more: &str) -> String {
    assert!(!script.contains('\''), "it stands between these");
    let more = if more.contains("stdout") { more.to_owned() } else { format!("stdout = \"@dir@/log/{name}\"\n{more}") };
    format!(
        "[programs.{name}]\ncmd = [\"sh\", \"-c\", '{script}']\nstarttime = 0\nstderr = \"discard\"\n{}\n{more}\n",
        user()
    )
}

/// Lines of a life: its pid and their number.
const COUNT: &str = "n=0; while :; do n=$((n+1)); echo $$$$ $n; done";

/// The rotated files of a log: their numbers, oldest first, and whether they are compressed.
fn rotated(log: &Path) -> Vec<(u32, bool)> {
    let name = format!("{}.", log.file_name().expect("a name").to_string_lossy());
    let entries = std::fs::read_dir(log.parent().expect("a directory")).expect("a directory");
    let mut found: Vec<(u32, bool)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?.file_name().into_string().ok()?;
            let end = entry.strip_prefix(&name)?;
            let number = end.strip_suffix(".gz").unwrap_or(end).parse().ok()?;
            Some((number, end.ends_with(".gz")))
        })
        .collect();
    found.sort_by_key(|(number, packed)| (std::cmp::Reverse(*number), *packed));
    found
}

fn beside_it(log: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", log.display()))
}

/// What a compressed file holds. gzip itself says that it is whole.
#[track_caller]
fn zcat(path: &Path) -> Vec<u8> {
    let output = Command::new("gzip").arg("-dc").arg(path).output().expect("gzip runs");
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// All that was written, with its rotated files. Where two are in one slot, both must be whole and the same.
#[track_caller]
fn everything(log: &Path) -> String {
    let mut slots: BTreeMap<std::cmp::Reverse<u32>, Vec<u8>> = BTreeMap::new();
    for (number, packed) in rotated(log) {
        let bytes = match packed {
            true => zcat(&beside_it(log, &format!(".{number}.gz"))),
            false => std::fs::read(beside_it(log, &format!(".{number}"))).expect("read"),
        };
        if let Some(other) = slots.insert(std::cmp::Reverse(number), bytes.clone()) {
            assert!(other == bytes, "two in the slot {number}");
        }
    }
    let numbers: Vec<u32> = slots.keys().map(|number| number.0).collect();
    let expected: Vec<u32> = (1..=u32::try_from(numbers.len()).expect("few")).rev().collect();
    assert_eq!(numbers, expected, "no slot is empty");
    let mut all: Vec<u8> = slots.into_values().flatten().collect();
    all.extend(std::fs::read(log).expect("read"));
    String::from_utf8(all).expect("text")
}

/// Waits until nothing is left to compress.
#[track_caller]
fn all_packed(log: &Path) -> usize {
    eventually("all is compressed", || {
        let slots = rotated(log);
        let done = slots.iter().all(|(_, packed)| *packed) && !beside_it(log, ".gz.tmp").exists();
        done.then_some(slots.len()).filter(|count| *count > 0)
    })
}

/// Every life counts from 1 on without a gap; gives the last number of each.
#[track_caller]
fn lives(text: &str) -> BTreeMap<u64, u64> {
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for line in text.lines() {
        let numbers = line.split_once(' ').map(|(life, n)| (life.parse::<u64>(), n.parse::<u64>()));
        let Some((Ok(life), Ok(number))) = numbers else { panic!("a torn line: {line:?}") };
        let before = last.insert(life, number).unwrap_or(0);
        assert_eq!(number, before + 1, "of {life}");
    }
    last
}

fn compressed() {
    let speak = "n=0; while [ $n -lt 60000 ]; do n=$((n+1)); echo $$$$ $n; done";
    let keys = "log_maxbytes = \"100KB\"\nlog_backups = 1000\nlog_compress = true";
    let programs = [
        script("two", speak, &format!("numprocs = 2\nstdout = \"@dir@/log/two\"\n{keys}")),
        script("mine", speak, &format!("stdout = \"@dir@/mine/log\"\n{keys}")),
    ];
    let mut supervisor = Supervisor::prepare(&programs.concat());
    let mine = supervisor.path("mine");
    std::fs::create_dir(&mine).expect("mkdir");
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&mine, Some(65534), Some(65534)).expect("chown");
    }
    supervisor.launch();
    supervisor.wait_until("all have spoken", |all| all.iter().all(|process| process["state"] == "EXITED"));
    for name in ["two:0", "two:1", "mine"] {
        let last = || supervisor.ctl(&["tail", "-n", "1", name]).stdout;
        eventually("all is written", || last().ends_with(" 60000\n").then_some(()));
    }
    for (name, writers) in [("log/two", 2), ("mine/log", 1)] {
        let log = supervisor.path(name);
        let count = all_packed(&log);
        let lives = lives(&everything(&log));
        assert_eq!(lives.values().copied().collect::<Vec<u64>>(), vec![60_000; writers], "{count} files");
        // A file may become longer while its rotation has to wait.
        assert!(count >= 4 * writers, "{count} files");
        let facts = |path: &Path| {
            let file = std::fs::metadata(path).expect("stat");
            (file.uid(), file.gid(), file.mode() & 0o7777)
        };
        for (number, _) in rotated(&log) {
            let path = beside_it(&log, &format!(".{number}.gz"));
            assert_eq!(facts(&path), facts(&log));
            assert!(std::fs::metadata(&path).expect("stat").len() < 50 << 10, "it is smaller");
        }
    }
    assert!(
        !supervisor.event_log().iter().any(|event| event["kind"].as_str().is_some_and(|k| k.starts_with("output")))
    );
}

const KILLS: u64 = 24;

/// The core, the logger and the spawner in turn, at any moment.
fn killed() {
    let one = script("one", COUNT, "log_maxbytes = \"100KB\"\nlog_backups = 10000\nlog_compress = true");
    let two = one.replace("programs.one", "programs.two").replace("log/one", "log/two");
    let mut supervisor = Supervisor::start(&(one + &two));
    let logs = ["log/one", "log/two"].map(|name| supervisor.path(name));
    for n in 0..KILLS {
        supervisor.wait_until("all run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
        std::thread::park_timeout(Duration::from_millis(20 + n * 7919 % 150));
        match n % 3 {
            0 => {
                supervisor.kill();
                for log in &logs {
                    lives(&everything(log));
                }
                supervisor.launch();
            }
            1 => proc::kill(eventually("a logger", || proc::child_called(supervisor.pid(), "taskmaster-logger")), 9),
            _ => proc::kill(eventually("a spawner", || proc::child_called(supervisor.pid(), "taskmaster-spawner")), 9),
        }
    }
    assert_eq!(supervisor.ctl(&["stop", "all"]).code, 0);
    for log in &logs {
        let count = all_packed(log);
        let lives = lives(&everything(log));
        assert!(count > 20 && lives.len() as u64 > KILLS / 3, "{count} files of {} lives", lives.len());
    }
    assert_eq!(supervisor.stop(), 0);
    let left: Vec<String> = std::fs::read_dir(supervisor.path("log"))
        .expect("a directory")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains("tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn switched() {
    let speak = "n=0; while :; do n=$((n+1)); echo $$$$ $n; [ $((n%400)) = 0 ] && sleep 0.05; done";
    let with = |compress: bool| {
        script("count", speak, &format!("log_maxbytes = \"8KB\"\nlog_backups = 3\nlog_compress = {compress}"))
    };
    let mut supervisor = Supervisor::prepare(&with(false));
    std::fs::create_dir(supervisor.path("log")).expect("mkdir");
    let log = supervisor.path("log/count");
    std::fs::write(beside_it(&log, ".gz.tmp"), "left by somebody who died, before it was switched off")
        .expect("written");
    supervisor.launch();
    let is = |what: &str, of: fn(&[(u32, bool)]) -> bool| {
        eventually(what, || {
            let slots = rotated(&log);
            assert!(slots.iter().all(|(number, _)| *number <= 3), "{slots:?}");
            of(&slots).then_some(())
        });
    };
    is("three plain files", |slots| slots.len() == 3 && slots.iter().all(|(_, packed)| !packed));
    assert!(!beside_it(&log, ".gz.tmp").exists());
    let pid = supervisor.pid_of("count");
    for round in 0..3 {
        supervisor.configure(&with(true));
        assert_eq!(supervisor.ctl(&["reload"]).code, 0);
        is("compressed ones", |slots| slots.len() == 3 && slots[..2].iter().all(|(_, packed)| *packed));
        supervisor.configure(&with(false));
        let reload = supervisor.ctl(&["reload"]);
        assert!(reload.code == 0, "{reload:?}");
        is("plain ones again", |slots| slots.len() == 3 && slots.iter().all(|(_, packed)| !packed));
        assert_eq!(supervisor.pid_of("count"), pid, "the program is not touched, in round {round}");
    }
    supervisor.configure(&with(true));
    assert_eq!(supervisor.ctl(&["reload"]).code, 0);
    assert_eq!(supervisor.ctl(&["stop", "count"]).code, 0);
    assert_eq!(all_packed(&log), 3);
    // What is left is the end of what was written, without a gap.
    let text = everything(&log);
    let numbers: Vec<u64> =
        text.lines().map(|line| line.split_once(' ').expect("two").1.parse().expect("a number")).collect();
    assert!(numbers.len() > 2000 && numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{} lines", numbers.len());
}

fn no_room() {
    // Nothing that could be made shorter by more than a quarter.
    let speak = "head -c 76000 /dev/urandom | base64; sleep 1000";
    let keys = "stdout = \"@dir@/disk/log\"\nlog_maxbytes = \"100KB\"\nlog_backups = 3\nlog_compress = true";
    let mut supervisor = Supervisor::prepare(&script("noise", speak, keys));
    let _disk = Disk::mount(supervisor.path("disk"), "size=256k,mode=755");
    let ballast = supervisor.path("disk/ballast");
    std::fs::write(&ballast, vec![b'x'; 128 << 10]).expect("there is room");
    supervisor.launch();
    let log = supervisor.path("disk/log");
    let told = supervisor.wait_for_event("it has no room", |event| event["kind"] == "output.failing");
    assert_eq!(told["errno"], 28, "{told}");
    let message = told["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("rotated files of ") && message.contains("cannot be compressed"), "{told}");
    eventually("its beginning is removed", || (!beside_it(&log, ".gz.tmp").exists()).then_some(()));
    assert_eq!(rotated(&log), [(1, false)]);
    let before = std::fs::read(beside_it(&log, ".1")).expect("read");
    assert!(before.len() > 100_000, "{}", before.len());
    std::fs::remove_file(&ballast).expect("removes");
    supervisor.wait_for_event("it works again", |event| event["kind"] == "output.recovered");
    assert_eq!(all_packed(&log), 1);
    assert!(zcat(&beside_it(&log, ".1.gz")) == before, "all of it");
    let told = |kind: &str| supervisor.event_log().iter().filter(|event| event["kind"] == kind).count();
    assert_eq!((told("output.failing"), told("output.recovered"), told("output.dropped")), (1, 1, 0));
}

/// Some seconds of work for whoever compresses it.
const LARGE: &str = "seq 1 9000000; sleep 1000";

/// The logger notes when it has a line, and the line says when it was written.
fn beside() {
    let large = script("large", LARGE, "log_maxbytes = \"60MB\"\nlog_compress = true");
    let clock = script("clock", "while :; do date +%s%3N; sleep 0.01; done", "log_timestamps = true");
    let supervisor = Supervisor::start(&(large + &clock));
    let log = supervisor.path("log/large");
    eventually("it is compressed", || beside_it(&log, ".gz.tmp").exists().then_some(()));
    let clocks = |from: usize| {
        let text = supervisor.read("log/clock");
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        whole.lines().skip(from).map(str::to_owned).collect::<Vec<String>>()
    };
    let from = clocks(0).len();
    all_packed(&log);
    let lines = clocks(from);
    let mut late: Vec<i64> = lines
        .iter()
        .map(|line| {
            let (time, written) = line.split_once(' ').expect("a time");
            let time: jiff::Timestamp = time.parse().expect("a time");
            time.as_millisecond() - written.parse::<i64>().expect("a number")
        })
        .collect();
    late.sort_unstable();
    let median = late.get(late.len() / 2).copied();
    assert!(late.len() > 10 && median.is_some_and(|median| median < 30), "{late:?}");
}

fn shut_down() {
    let large = script("large", LARGE, "log_maxbytes = \"60MB\"\nlog_compress = true");
    let mut supervisor = Supervisor::start(&large);
    let log = supervisor.path("log/large");
    eventually("it is compressed", || beside_it(&log, ".gz.tmp").exists().then_some(()));
    assert_eq!(supervisor.stop(), 0);
    eventually("what was begun is removed", || (!beside_it(&log, ".gz.tmp").exists()).then_some(()));
    assert_eq!(rotated(&log), [(1, false)]);
    let all = everything(&log);
    std::fs::write(beside_it(&log, ".gz.tmp"), "left by somebody who died").expect("written");
    supervisor.configure(&script("large", "sleep 1000", "log_maxbytes = \"60MB\"\nlog_compress = true"));
    supervisor.launch();
    assert_eq!(all_packed(&log), 1);
    assert!(everything(&log) == all, "nothing is lost");
    let numbers = all.lines().map(|line| line.parse::<usize>().expect("a number"));
    assert!(numbers.zip(1..).all(|(number, expected)| number == expected), "nor before");
}

fn in_the_way() {
    let speak = "n=0; while [ $n -lt 8000 ]; do n=$((n+1)); echo $$$$ $n; done; sleep 1000";
    let keys = "autostart = false\nstdout = \"@dir@/theirs/log\"\nlog_maxbytes = \"8KB\"\nlog_backups = 50\nlog_compress = true";
    let mut supervisor = Supervisor::prepare(&script("theirs", speak, keys));
    let theirs = supervisor.path("theirs");
    std::fs::create_dir(&theirs).expect("mkdir");
    std::os::unix::fs::chown(&theirs, Some(65534), Some(65534)).expect("chown");
    let (secret, victim) = (supervisor.path("secret"), supervisor.path("victim"));
    std::fs::write(&secret, "secret").expect("written");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("chmod");
    std::fs::write(&victim, "victim").expect("written");
    std::os::unix::fs::symlink(&secret, theirs.join("log.1")).expect("symlink");
    nix::unistd::mkfifo(&theirs.join("log.2"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
    std::fs::hard_link(&victim, theirs.join("log.3")).expect("link");
    std::os::unix::fs::symlink(&victim, theirs.join("log.gz.tmp")).expect("symlink");
    supervisor.launch();
    assert_eq!(supervisor.ctl(&["start", "theirs"]).code, 0);
    let log = theirs.join("log");
    // The three have moved on; all else is compressed.
    let slots = eventually("all others are compressed", || {
        let slots = rotated(&log);
        let plain = slots.iter().filter(|(_, packed)| !packed).count();
        (plain == 3 && slots.len() > 8 && std::fs::metadata(&log).is_ok_and(|file| file.len() > 0)).then_some(slots)
    });
    let told = supervisor.wait_for_event("that is told", |event| event["kind"] == "output.failing");
    assert!(told["message"].as_str().is_some_and(|words| words.contains("is a symbolic link")), "{told}");
    for (number, _) in slots.iter().filter(|(_, packed)| *packed) {
        let path = beside_it(&log, &format!(".{number}.gz"));
        let text = zcat(&path);
        assert!(text.split(|byte| *byte == b'\n').all(|line| line.is_empty() || line.contains(&b' ')), "{number}");
        assert_eq!(std::fs::metadata(&path).expect("stat").uid(), 65534, "made as the user");
    }
    assert_eq!((supervisor.read("secret"), supervisor.read("victim")), ("secret".to_owned(), "victim".to_owned()));
    assert_eq!(std::fs::metadata(&victim).expect("stat").uid(), 0);
}
