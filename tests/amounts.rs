//! Great and hostile amounts of output: every byte is in the files or in the part that was rotated away, the
//! logger needs little memory for it, and who writes much makes nobody else wait.

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;

use crate::support::speaker::{Following, script};
use crate::support::{Supervisor, eventually, measured, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("a hundred megabytes without a line end are in their files and take no memory", &[], endless),
        test("lines of a megabyte of any bytes are in the file as they were written", &[], any_bytes),
        test("a hundred programs that write at once take little memory", &[], hundred),
        test("a hundred megabytes of lines are in the rotated files in order and whole", &[], lines_of_one),
        test("lines of eight programs at once are in the rotated files in order and whole", &[], lines_of_eight),
        test("what rotation leaves of much output ends with the last line and has no gap", &[], newest),
        test("who writes without end makes no other wait", &[], fair),
    ]
}

/// What the logger may have in memory, whatever there is to write.
const MEMORY_MAX: u64 = 32 << 20;
/// The largest pipe that a program is given.
const PIPE_MAX: i32 = 256 << 10;

/// The most memory that the logger ever had, what it has in hand included.
fn logger_peak(supervisor: &Supervisor) -> u64 {
    let status = proc::status(supervisor.helper("logger"));
    let peak = status.get("VmHWM").and_then(|text| text.strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
    peak.expect("the kernel tells it") << 10
}

/// A file and what was rotated away from it, oldest first.
fn files(supervisor: &Supervisor, name: &str) -> Vec<PathBuf> {
    let older = (1..).map(|n| supervisor.path(&format!("{name}.{n}"))).take_while(|path| path.exists());
    let mut all: Vec<PathBuf> = std::iter::once(supervisor.path(name)).chain(older).collect();
    all.reverse();
    all
}

/// Waits until so much is in the files.
#[track_caller]
fn wait_for_bytes(supervisor: &Supervisor, name: &str, bytes: u64) {
    eventually(&format!("{bytes} bytes are in {name}"), || {
        let sizes =
            files(supervisor, name).into_iter().map(|path| std::fs::metadata(path).map_or(0, |meta| meta.len()));
        (sizes.sum::<u64>() == bytes).then_some(())
    });
}

fn endless() {
    const BYTES: u64 = 100 << 20;
    let zeros = format!("head -c {BYTES} /dev/zero; sleep 1000");
    let supervisor = Supervisor::start(
        &(script("whole", &zeros, "stdout = \"@dir@/whole.log\"\nlog_maxbytes = 0")
            + &script("parts", &zeros, "stdout = \"@dir@/parts.log\"\nlog_maxbytes = \"30MB\"\nlog_backups = 9")),
    );
    for name in ["whole.log", "parts.log"] {
        wait_for_bytes(&supervisor, name, BYTES);
        let mut block = vec![0; 1 << 20];
        for path in files(&supervisor, name) {
            let mut file = std::fs::File::open(path).expect("opened");
            while let Ok(count) = file.read(&mut block)
                && count > 0
            {
                assert!(block[..count] == vec![0; count], "{name} has other bytes");
            }
        }
    }
    let sizes: Vec<u64> = files(&supervisor, "parts.log")
        .into_iter()
        .map(|path| std::fs::metadata(path).expect("it is there").len() >> 20)
        .collect();
    assert_eq!(sizes, [30, 30, 30, 10], "a line longer than a file is cut there");
    let peak = logger_peak(&supervisor);
    assert!(peak < MEMORY_MAX, "{peak}");
}

/// Bytes of every value in no order, the same each time; a line end after each `line` of them.
fn noise(lines: usize, line: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(lines * line);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while bytes.len() < lines * line {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes().map(|byte| if byte == b'\n' { 0 } else { byte }));
    }
    for end in bytes.chunks_exact_mut(line).filter_map(<[u8]>::last_mut) {
        *end = b'\n';
    }
    bytes
}

fn any_bytes() {
    let bytes = noise(8, 1 << 20);
    let speak = "cat @dir@/noise; sleep 1000";
    let mut supervisor = Supervisor::prepare(
        &(script("whole", speak, "stdout = \"@dir@/whole.log\"\nlog_maxbytes = 0")
            + &script("parts", speak, "stdout = \"@dir@/parts.log\"\nlog_maxbytes = \"3MB\"\nlog_backups = 9")),
    );
    std::fs::write(supervisor.path("noise"), &bytes).expect("written");
    supervisor.launch();
    for name in ["whole.log", "parts.log"] {
        wait_for_bytes(&supervisor, name, bytes.len() as u64);
        let parts: Vec<Vec<u8>> =
            files(&supervisor, name).into_iter().map(|path| std::fs::read(path).expect("read")).collect();
        assert!(parts.iter().all(|part| part.ends_with(b"\n")), "{name}: a line is cut");
        assert!(parts.concat() == bytes, "{name} has other bytes");
    }
}

fn hundred() {
    const PROGRAMS: usize = 100;
    // Each waits for the others, so that all write at the same time.
    let speak = "while [ ! -e @dir@/go ]; do sleep 0.1; done; cat @dir@/noise; sleep 1000";
    let more =
        format!("numprocs = {PROGRAMS}\nstdout = \"@dir@/${{instance}}.log\"\nstderr = \"discard\"\nlog_maxbytes = 0");
    let bytes = noise(10_000, 100);
    let mut supervisor = Supervisor::prepare(&script("many", speak, &more));
    std::fs::write(supervisor.path("noise"), &bytes).expect("written");
    supervisor.launch();
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    let pids: Vec<i64> = supervisor.status().iter().filter_map(|process| process["pid"].as_i64()).collect();
    supervisor.file("go", "", 0o644);
    for n in 0..PROGRAMS {
        let name = format!("{n}.log");
        wait_for_bytes(&supervisor, &name, bytes.len() as u64);
        assert!(std::fs::read(supervisor.path(&name)).expect("read") == bytes, "{name} has other bytes");
    }
    assert_eq!(pids.len(), PROGRAMS);
    let peak = logger_peak(&supervisor);
    assert!(peak < MEMORY_MAX, "{peak}");
    // What lies in pipes is the kernel's: within a bound, too.
    for pid in pids {
        let end = std::fs::File::open(format!("/proc/{pid}/fd/1")).expect("its output");
        let size = nix::fcntl::fcntl(&end, nix::fcntl::FcntlArg::F_GETPIPE_SZ).expect("its size");
        assert!(size <= PIPE_MAX, "{size}");
    }
}

/// A hundred bytes: the number, filled up with spaces.
const LINE: usize = 100;

/// The script that writes so many numbered lines.
fn numbered(lines: u64) -> String {
    format!("seq -f %{}.0f 1 {lines}; sleep 1000", LINE - 1)
}

/// Asserts that each file has whole lines, numbered in a row over all of them; gives the first and the last.
#[track_caller]
fn assert_numbered(files: &[PathBuf]) -> (u64, u64) {
    let (mut first, mut last) = (None, 0);
    let mut next = Vec::new();
    for path in files {
        let text = std::fs::read(path).expect("read");
        assert!(text.len().is_multiple_of(LINE), "a line is cut in {}", path.display());
        for line in text.chunks_exact(LINE) {
            if first.is_none() {
                last = std::str::from_utf8(line).ok().and_then(|line| line.trim().parse().ok()).expect("a number");
                first = Some(last);
                next = line.to_vec();
            } else {
                last += 1;
                count(&mut next);
            }
            assert!(line == next, "{} is not {last} in {}", String::from_utf8_lossy(line).trim(), path.display());
        }
    }
    (first.expect("some lines"), last)
}

/// The line after this one: faster than to write each number anew.
fn count(line: &mut [u8]) {
    for digit in line.iter_mut().rev().skip(1) {
        match *digit {
            b'9' => *digit = b'0',
            b' ' => return *digit = b'1',
            _ => return *digit += 1,
        }
    }
}

fn lines_of_one() {
    const LINES: u64 = 1 << 20;
    let more = "stdout = \"@dir@/one.log\"\nlog_maxbytes = \"7MB\"\nlog_backups = 100";
    let supervisor = Supervisor::start(&script("one", &numbered(LINES), more));
    wait_for_bytes(&supervisor, "one.log", LINES * LINE as u64);
    let files = files(&supervisor, "one.log");
    assert_eq!(files.len(), 15);
    assert_eq!(assert_numbered(&files), (1, LINES));
}

fn lines_of_eight() {
    const LINES: u64 = 120_000;
    let more = "numprocs = 8\nstdout = \"@dir@/${instance}.log\"\nlog_maxbytes = \"3MB\"\nlog_backups = 100";
    let supervisor = Supervisor::start(&script("many", &numbered(LINES), more));
    for n in 0..8 {
        let name = format!("{n}.log");
        wait_for_bytes(&supervisor, &name, LINES * LINE as u64);
        let files = files(&supervisor, &name);
        assert_eq!(files.len(), 4);
        assert_eq!(assert_numbered(&files), (1, LINES));
    }
}

fn newest() {
    const LINES: u64 = 500_000;
    let more = "stdout = \"@dir@/one.log\"\nlog_maxbytes = \"4MB\"\nlog_backups = 2";
    let supervisor = Supervisor::start(&script("one", &numbered(LINES), more));
    let last = format!("{LINES}\n");
    eventually("the last line is there", || {
        std::fs::read(supervisor.path("one.log")).is_ok_and(|text| text.ends_with(last.as_bytes())).then_some(())
    });
    let files = files(&supervisor, "one.log");
    assert_eq!(files.len(), 3);
    let (first, last) = assert_numbered(&files);
    assert_eq!(last, LINES);
    // The older two are full, but for less than a line.
    let full = (4 << 20) / LINE as u64;
    assert!(last - first >= 2 * full, "{first} to {last}");
}

/// When this was, in nanoseconds: what `date` prints of now, for one.
fn since(nanoseconds: &str) -> Duration {
    let then = UNIX_EPOCH + Duration::from_nanos(nanoseconds.trim().parse().expect("a time"));
    SystemTime::now().duration_since(then).unwrap_or_default()
}

/// One that is read as fast as it can write, two whose output is changed on its way, and one with a word now and
/// then. `logger::tests::an_output_that_never_runs_dry_has_its_turn_and_no_more` has one that is never read empty.
fn fair() {
    const WORDS: usize = 50;
    let plain = script("plain", "exec yes", "log_maxbytes = \"20MB\"\nlog_backups = 1");
    let changed = "numprocs = 2\nstrip_ansi = true\nlog_maxbytes = \"20MB\"\nlog_backups = 0";
    let slow = script("slow", "while :; do date +%s%N; sleep 0.02; done", "stdout = \"@dir@/slow.log\"");
    let supervisor = Supervisor::start(&(plain + &script("changed", "exec yes", changed) + &slow));
    let mut following = Following::start(&supervisor, &["tail", "-f", "-n", "0", "slow"]);
    measured("no word is late", || {
        let mut late: Vec<Duration> = Vec::new();
        for _ in 0..WORDS {
            let word = following.line();
            late.push(since(&word));
            assert!(supervisor.read("slow.log").contains(&word), "it is in the file before it is shown");
        }
        late.sort_unstable();
        let (median, worst) = (late[WORDS / 2], late[WORDS - 1]);
        let in_time = median < Duration::from_millis(500) && worst < Duration::from_secs(2);
        if in_time { Ok(()) } else { Err(format!("{median:?}, at worst {worst:?}")) }
    });
    for name in ["plain", "changed-0", "changed-1"] {
        let path = supervisor.path(&format!("log/{name}.stdout.log"));
        eventually("each of the others has its turn, too", || {
            path.metadata().is_ok_and(|meta| meta.len() > 0).then_some(())
        });
    }
}
