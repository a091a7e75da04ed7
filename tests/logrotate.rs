//! Log files that somebody else renames, removes, copies or empties, with and without a word to the supervisor; and
//! that whatever takes the place of a log file has its mode and owner.

use std::io::{Read, Seek};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::{Need, Supervisor, eventually, proc, test, user};

pub fn trials() -> Vec<Trial> {
    const REAL: &[Need] = &[Need::Root, Need::Program("logrotate")];
    vec![
        test("a log that is renamed or removed is noticed and two writers lose nothing", &[], without_a_word),
        test("a log that was renamed while no logger lived is noticed", &[], unseen),
        test("logrotate with create and a signal loses nothing and decides on mode and owner", REAL, create),
        test("logrotate that tells nobody loses nothing and mode and owner are kept", REAL, nocreate),
        test("logrotate with copytruncate has the log go on at its beginning", REAL, copytruncate),
        test("a rotated log has the mode and owner of the one before", &[Need::Root], kept),
    ]
}

/// Numbers, fast, until it is stopped; those of a second process begin further up.
const COUNT: &str = "trap \"exit 0\" TERM; n=$((TASKMASTER_INSTANCE*100000)); while :; do n=$((n+1)); seq $n\"00\" $n\"99\"; sleep 0.005; done";

fn program(name: &str, more: &str) -> String {
    let user = if more.contains("user = ") { "" } else { user() };
    format!("[programs.{name}]\ncmd = [\"sh\", \"-c\", '{COUNT}']\nstarttime = 0\n{user}\n{more}\n")
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[track_caller]
fn is_written(path: &Path) {
    let before = size(path);
    eventually(&format!("{} is written", path.display()), || (size(path) > before + 2000).then_some(()));
}

/// Asserts that each writer's lines are there, whole, once and in their order, from the first on.
#[track_caller]
fn assert_counts(text: &str, writers: usize) {
    let mut next = [100, 10_000_100];
    for line in text.lines() {
        let number: usize = line.parse().unwrap_or_else(|_| panic!("no whole line: {line:?}"));
        let next = &mut next[number / 10_000_000];
        assert_eq!(number, *next);
        *next += 1;
    }
    assert!(next.iter().take(writers).all(|next| next % 10_000_000 > 1000), "{next:?}");
}

fn lost_nothing(supervisor: &Supervisor) {
    let events = supervisor.event_log();
    let bad: Vec<_> =
        events.iter().filter(|event| event["kind"].as_str().is_some_and(|kind| kind.starts_with("output."))).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

/// In root's directory, if we are root.
fn start(programs: &str) -> Supervisor {
    let mut supervisor = Supervisor::prepare(programs);
    supervisor.subdirectory_of_own("logs");
    supervisor.launch();
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    supervisor
}

fn without_a_word() {
    let mut supervisor = start(&program("two", "numprocs = 2\nstdout = \"@dir@/logs/two.log\"\nlog_maxbytes = 0"));
    let log = supervisor.path("logs/two.log");
    let mut text = String::new();
    for n in 0..4 {
        is_written(&log);
        let mut old = std::fs::File::open(&log).expect("opens");
        if n % 2 == 0 {
            std::fs::rename(&log, supervisor.path(&format!("logs/old.{n}"))).expect("renames");
        } else {
            std::fs::remove_file(&log).expect("removes");
        }
        is_written(&log);
        old.rewind().and_then(|()| old.read_to_string(&mut text)).expect("reads");
    }
    assert_eq!(supervisor.stop(), 0);
    text += &supervisor.read("logs/two.log");
    assert_counts(&text, 2);
    lost_nothing(&supervisor);
}

fn unseen() {
    let mut supervisor = start(&program("one", "stdout = \"@dir@/logs/one.log\"\nlog_maxbytes = 0"));
    let (log, old) = (supervisor.path("logs/one.log"), supervisor.path("logs/old"));
    is_written(&log);
    let pid = supervisor.pid_of("one");
    proc::hold(pid);
    let logger = supervisor.helper("logger");
    proc::kill(logger, 9);
    std::fs::rename(&log, &old).expect("renames");
    eventually("another runs", || supervisor.helper_now("logger").filter(|pid| *pid != logger));
    proc::kill(pid, 18);
    is_written(&log);
    assert_eq!(supervisor.stop(), 0);
    assert_counts(&(supervisor.read("logs/old") + &supervisor.read("logs/one.log")), 1);
    lost_nothing(&supervisor);
}

/// Runs logrotate once over `logs/*.log`, with these lines in its configuration.
fn logrotate(supervisor: &Supervisor, how: &str) {
    let directory = supervisor.path("logs");
    let text = format!("{}/*.log {{\n\trotate 5\n{how}\n}}\n", directory.display());
    supervisor.file("logrotate.conf", &text, 0o644);
    let state = supervisor.path("logrotate.state");
    let output = Command::new("logrotate")
        .args(["--force", "--state"])
        .args([&state, &supervisor.path("logrotate.conf")])
        .output()
        .expect("logrotate runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Mode, owner and group.
fn facts(path: &Path) -> (u32, u32, u32) {
    let metadata = std::fs::metadata(path).expect("stat");
    (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
}

fn create() {
    let mut supervisor = start(&program("one", "stdout = \"@dir@/logs/one.log\"\nlog_maxbytes = 0"));
    let log = supervisor.path("logs/one.log");
    for _ in 0..3 {
        is_written(&log);
        let tell = format!("\tcreate 0604 daemon adm\n\tpostrotate\n\t\tkill -USR1 {}\n\tendscript", supervisor.pid());
        logrotate(&supervisor, &tell);
        is_written(&log);
        assert_eq!(facts(&log), (0o604, 1, 4), "as logrotate has made it");
    }
    assert_eq!(supervisor.stop(), 0);
    let all = ["logs/one.log.3", "logs/one.log.2", "logs/one.log.1", "logs/one.log"];
    assert_counts(&all.map(|name| supervisor.read(name)).concat(), 1);
    lost_nothing(&supervisor);
}

fn nocreate() {
    let mut supervisor = start(&program("one", "stdout = \"@dir@/logs/one.log\"\nlog_maxbytes = 0"));
    let log = supervisor.path("logs/one.log");
    is_written(&log);
    chown(&log, Some(1), Some(4)).expect("chown");
    std::fs::set_permissions(&log, PermissionsExt::from_mode(0o604)).expect("chmod");
    for _ in 0..3 {
        is_written(&log);
        logrotate(&supervisor, "\tnocreate");
        is_written(&log);
        assert_eq!(facts(&log), (0o604, 1, 4), "as the one before");
    }
    assert_eq!(supervisor.stop(), 0);
    let all = ["logs/one.log.3", "logs/one.log.2", "logs/one.log.1", "logs/one.log"];
    assert_counts(&all.map(|name| supervisor.read(name)).concat(), 1);
    lost_nothing(&supervisor);
}

/// What is written between its copy and its cut is lost to logrotate, so the program stands still meanwhile.
fn copytruncate() {
    let limit = 100 << 10;
    let mut supervisor =
        start(&program("one", &format!("stdout = \"@dir@/logs/one.log\"\nlog_maxbytes = {limit}\nlog_backups = 1")));
    let log = supervisor.path("logs/one.log");
    let pid = supervisor.pid_of("one");
    for _ in 0..3 {
        is_written(&log);
        proc::hold(pid);
        supervisor.helper("logger");
        let mut seen = (0, 0);
        eventually("all is written", || {
            let now = size(&log);
            seen = if now == seen.0 { (now, seen.1 + 1) } else { (now, 0) };
            (seen.1 == 10).then_some(())
        });
        logrotate(&supervisor, "\tcopytruncate");
        assert_eq!(size(&log), 0);
        proc::kill(pid, 18);
        is_written(&log);
        assert!(!supervisor.read("logs/one.log").contains('\0'), "no hole at its beginning");
    }
    let copies = ["logs/one.log.3", "logs/one.log.2", "logs/one.log.1"].map(|name| supervisor.read(name)).concat();
    // From here on it fills up once, and not before it has grown so long itself.
    eventually("it is rotated", || (size(&supervisor.path("logs/one.log.1")) > 50_000).then_some(()));
    let first = supervisor.read("logs/one.log.1");
    assert!(first.len() <= limit && first.len() > limit - 1000, "{}", first.len());
    assert_eq!(supervisor.stop(), 0);
    assert!(copies.len() > 6000 && first.starts_with(|first: char| first.is_ascii_digit()));
    assert_counts(&copies, 1);
    lost_nothing(&supervisor);
}

fn kept() {
    let rotated = "log_maxbytes = \"8KB\"\nlog_backups = 2\nstderr = \"discard\"";
    let mut supervisor = Supervisor::prepare(
        &(program("roots", &format!("stdout = \"@dir@/logs/roots.log\"\n{rotated}"))
            + &program(
                "theirs",
                &format!("stdout = \"@dir@/theirs/theirs.log\"\ngroups = [\"adm\"]\nuser = \"nobody\"\n{rotated}"),
            )),
    );
    supervisor.subdirectory_of_own("logs");
    supervisor.subdirectory("theirs", 0o755, "nobody");
    supervisor.launch();
    let nobody = 65534;
    for (name, owner, wanted) in
        [("logs/roots.log", 1, (0o604, 1, 4)), ("theirs/theirs.log", nobody, (0o646, nobody, 4))]
    {
        let log = supervisor.path(name);
        eventually("it is there", || log.exists().then_some(()));
        // It may be rotated between the two changes: until a file has both that was not given them here.
        let given = std::cell::Cell::new(0);
        eventually("it has another mode and owner", || {
            let file = std::fs::File::options().append(true).open(&log).ok()?;
            let metadata = file.metadata().ok()?;
            if (metadata.mode() & 0o7777, metadata.uid(), metadata.gid()) == wanted {
                return (metadata.ino() != given.get()).then_some(());
            }
            std::os::unix::fs::fchown(&file, Some(owner), Some(4)).expect("chown");
            file.set_permissions(PermissionsExt::from_mode(wanted.0)).expect("chmod");
            given.set(metadata.ino());
            None
        });
        let inode = || std::fs::metadata(&log).map(|metadata| metadata.ino()).ok();
        for _ in 0..3 {
            let before = inode();
            eventually("it is rotated", || (inode().is_some() && inode() != before).then_some(()));
            eventually(&format!("{name} is as before"), || {
                let metadata = std::fs::metadata(&log).ok()?;
                ((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()) == wanted).then_some(())
            });
        }
        assert_eq!(facts(&log.with_extension("log.1")), wanted);
    }
}
