//! What others can do to a start from outside: processes of the same user, an account database that does
//! not answer, the owner of a log file's directory. Only that start suffers.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::{Value, json};

use crate::support::peers::Who;
use crate::support::supervisor::TASKMASTERD;
use crate::support::{Need, Supervisor, eventually, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("a process that its own user stops before it is executed costs that start only", &[Need::Root], stopped),
        test("a group database that hangs costs those starts only that ask it", &[Need::Root], hanging_groups),
        test("with a user database that hangs programs stop and all else goes on", &[Need::Root], hanging_users),
        test("a directory swapped above a log file leads nowhere", &[Need::Root], swapped_directory),
    ]
}

/// More than a start may take, by far.
const START_AND_MORE: Duration = Duration::from_secs(60);

/// Waits for the end of a start that takes too long.
#[track_caller]
fn failed_start(supervisor: &Supervisor, process: &str) -> Value {
    let until = Instant::now() + START_AND_MORE;
    loop {
        let failed = supervisor.events_of(process).into_iter().find(|event| event["kind"] == "process.start_failed");
        if let Some(failed) = failed {
            return failed;
        }
        assert!(Instant::now() < until, "no failed start of {process}: {:?}", supervisor.events_of(process));
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// The supervisor answers at once, and another program starts and stops.
#[track_caller]
fn assert_all_else_works(supervisor: &Supervisor, other: &str) {
    for _ in 0..5 {
        // A busy machine may take away any single moment, not each of three.
        let quickest = (0..3).map(|_| {
            let asked = Instant::now();
            supervisor.status();
            asked.elapsed()
        });
        let quickest = quickest.min().expect("three");
        assert!(quickest < Duration::from_millis(100), "an answer took {quickest:?}");
        assert_eq!(supervisor.ctl(&["start", other]).code, 0);
        assert_eq!(supervisor.ctl(&["stop", other]).code, 0);
    }
}

const VICTIM: u32 = 54_331;

/// A clone of the spawner that has become this user, and has not executed its program yet.
fn unborn(uid: u32) -> Option<i64> {
    proc::all().into_iter().find(|pid| {
        let status = proc::status(*pid);
        status.get("Name").is_some_and(|name| name == "taskmaster-spaw") && proc::ids(*pid, "Uid") == [uid; 4]
    })
}

fn stopped() {
    // Its directories are tried one after the other, as the user, before the one that has the command.
    let long = "/nonexistent:".repeat(9_000);
    let supervisor = Supervisor::start(&format!(
        "[defaults]\ncmd = \"sleep 1000\"\nstarttime = 0\nautostart = false\nstdout = \"discard\"\nstderr = \"discard\"\n\
         [programs.victim]\nuser = {VICTIM}\ngroup = {VICTIM}\nenv = {{ PATH = \"{long}/usr/bin:/bin\" }}\n\
         backoff = {{ initial = \"50ms\", step = 0 }}\n\
         [programs.other]\nuser = \"nobody\"\n"
    ));
    let (hostile, over) = (AtomicBool::new(true), AtomicBool::new(false));
    let held = AtomicI64::new(0);
    let got = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            Who::user(VICTIM).become_it();
            while !over.load(Ordering::Relaxed) {
                let found = if hostile.load(Ordering::Relaxed) { unborn(VICTIM) } else { None };
                let Some(pid) = found else {
                    std::thread::yield_now();
                    continue;
                };
                proc::kill(pid, 19);
                // It may have been executed meanwhile: then it is its user's, as ever.
                if unborn(VICTIM) == Some(pid) && held.swap(pid, Ordering::Relaxed) == 0 {
                    *got.lock().expect("nobody panics") = look_into(pid);
                }
                proc::kill(pid, if held.load(Ordering::Relaxed) == pid { 19 } else { 18 });
            }
        });
        let ending = End(&over);
        let pid = eventually("it is stopped", || {
            if supervisor.state("victim") != "STARTING" {
                supervisor.ctl(&["stop", "victim"]);
                supervisor.ctl(&["start", "--no-wait", "victim"]);
            }
            Some(held.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
        });
        eventually("the signal has stopped it", || proc::is_held(pid).then_some(()));
        assert_eq!(supervisor.state("victim"), "STARTING");
        assert_all_else_works(&supervisor, "other");
        hostile.store(false, Ordering::Relaxed);
        let failed = failed_start(&supervisor, "victim");
        assert_eq!(failed["stage"], "timeout", "{failed}");
        // One of the last steps, as the user: which one it was held at is chance.
        let words = failed["message"].as_str().unwrap_or_default();
        let came = "starting in time: the program was not executed within 30 s, it came as far as ";
        assert!(words.starts_with(came), "{failed}");
        supervisor.wait_for_state("victim", "RUNNING");
        assert!(!proc::is_alive(pid), "it was killed");
        drop(ending);
    });
    assert_eq!(*got.lock().expect("nobody panics"), Vec::<&str>::new(), "its own user cannot look into it");
    // That these looks see something where they may: now it is a program of this user.
    let pid = supervisor.pid_of("victim");
    eventually("it is executed", || (proc::stat(pid)[0] == "S").then_some(()));
    let seen = std::thread::spawn(move || {
        Who::user(VICTIM).become_it();
        look_into(pid)
    });
    assert!(seen.join().expect("looks").contains(&"environ"));
}

/// Sets a flag when it goes, also in a test that fails: a thread waits for it.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Ways into a process, as the user that the calling thread is: those that are open.
fn look_into(pid: i64) -> Vec<&'static str> {
    let mut open: Vec<&'static str> = Vec::new();
    let file = |name: &str| format!("/proc/{pid}/{name}");
    for name in ["mem", "environ", "maps", "auxv", "pagemap"] {
        use std::io::Read;
        // Some are opened before they are judged.
        let read = std::fs::File::open(file(name)).and_then(|mut file| file.read(&mut [0; 8]));
        if read.is_ok() {
            open.push(name);
        }
    }
    if std::fs::OpenOptions::new().write(true).open(file("mem")).is_ok() {
        open.push("mem, to write");
    }
    if std::fs::read_dir(file("fd")).is_ok_and(|mut entries| entries.next().is_some()) {
        open.push("fd");
    }
    if std::fs::read_link(file("cwd")).is_ok() {
        open.push("cwd");
    }
    // SAFETY: integers and null; a tracee of this thread goes on when the thread ends.
    let traced = unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_SEIZE, pid, 0, 0) };
    if Errno::result(traced).is_ok() {
        open.push("ptrace");
    }
    // SAFETY: two integers.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let pidfd = Errno::result(pidfd).expect("a pidfd");
    for number in 0..64 {
        // SAFETY: three integers.
        let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, number, 0) };
        if Errno::result(taken).is_ok() {
            open.push("a descriptor");
        }
    }
    // SAFETY: it was opened above, for here alone.
    unsafe { libc::close(i32::try_from(pidfd).expect("a descriptor")) };
    open
}

/// A supervisor in a mount namespace of its own, which goes with it.
fn in_own_namespace(programs: &str) -> Supervisor {
    let mut supervisor = Supervisor::prepare(programs);
    supervisor.fifo("silence");
    let config = supervisor.config();
    let console = std::fs::File::create(supervisor.path("console-of-unshare")).expect("a file");
    supervisor.launch_with(|command| {
        *command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", TASKMASTERD, "--no-shell", "-c"]).arg(config);
        command.stdin(Stdio::null()).stdout(console.try_clone().expect("a descriptor")).stderr(console);
        std::os::unix::process::CommandExt::process_group(command, 0);
    });
    supervisor
}

/// Runs a command in the supervisor's mount namespace.
#[track_caller]
fn inside(supervisor: &Supervisor, arguments: &[&str]) {
    let mut command = Command::new("nsenter");
    command.arg(format!("--mount=/proc/{}/ns/mnt", supervisor.pid())).args(arguments);
    let output = command.stdin(Stdio::null()).output().expect("nsenter");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// From now on whoever opens this file there waits for ever: a FIFO without a writer lies over it.
#[track_caller]
fn silence(supervisor: &Supervisor, file: &str) {
    // Over a copy of the directory: a test that makes an account puts another file in the place of this one,
    // and what lies over it is gone in all namespaces.
    let copy = supervisor.path("etc").display().to_string();
    let copied = Command::new("cp").args(["-a", "/etc", &copy]).status().expect("cp");
    assert!(copied.success());
    inside(supervisor, &["mount", "--bind", &copy, "/etc"]);
    let fifo = supervisor.path("silence").display().to_string();
    inside(supervisor, &["mount", "--bind", &fifo, file]);
    let seen = std::fs::metadata(format!("/proc/{}/root{file}", supervisor.pid())).expect("stat");
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(&seen.file_type()), "it lies over {file}");
    assert!(std::fs::metadata(file).expect("stat").is_file(), "and only there");
}

const SLEEPERS: &str = "[defaults]\ncmd = \"sleep 1000\"\nstarttime = 0\nautostart = false\n\
    backoff = { initial = \"50ms\", step = 0 }\n";

/// Waits until a start waits for the database.
#[track_caller]
fn wait_until_it_hangs(supervisor: &Supervisor, name: &str) -> i64 {
    eventually("it waits for the database", || {
        let pid = supervisor.pid_now(name)?;
        // It opens a file, as root still, and sleeps in that.
        let waits = proc::stat(pid).first().is_some_and(|state| state == "S") && proc::ids(pid, "Uid") == [0; 4];
        let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        let opening = call.split(' ').next() == Some(&*libc::SYS_openat.to_string());
        (waits && opening).then_some(pid)
    })
}

fn hanging_groups() {
    let supervisor = in_own_namespace(&format!(
        "{SLEEPERS}[programs.asks]\nuser = \"nobody\"\n\
         [programs.asks-not]\nuser = 54332\ngroup = 54332\ngroups = [54333]\n"
    ));
    silence(&supervisor, "/etc/group");
    supervisor.ctl(&["start", "--no-wait", "asks"]);
    let pid = wait_until_it_hangs(&supervisor, "asks");
    assert_all_else_works(&supervisor, "asks-not");
    let failed = failed_start(&supervisor, "asks");
    assert_eq!(failed["stage"], "timeout", "{failed}");
    let words = "starting in time: the program was not executed within 30 s, \
                 it came as far as looking up the user or group";
    assert_eq!(failed["message"], words);
    inside(&supervisor, &["umount", "--lazy", "/etc/group"]);
    // The second try may have opened it before.
    supervisor.ctl(&["stop", "asks"]);
    assert_eq!(supervisor.ctl(&["start", "asks"]).code, 0);
    assert!(!proc::is_alive(pid), "the first was killed");
}

fn hanging_users() {
    let programs = format!(
        "{SLEEPERS}[programs.before]\nautostart = true\nuser = \"nobody\"\n[programs.name]\nuser = \"daemon\"\n\
         [programs.number]\nuser = 54332\ngroup = 54332\n"
    );
    let mut supervisor = in_own_namespace(&programs);
    supervisor.wait_for_state("before", "RUNNING");
    supervisor.wait_for_execution("before");
    silence(&supervisor, "/etc/passwd");
    // A number too: whether it has an account, with a home and a name, is asked.
    for name in ["name", "number"] {
        supervisor.ctl(&["start", "--no-wait", name]);
        wait_until_it_hangs(&supervisor, name);
    }
    let promptly = |what: &str, act: &dyn Fn()| {
        let begun = Instant::now();
        act();
        // Far less than a start may take, and than the stop of what does not listen (10 s).
        assert!(begun.elapsed() < Duration::from_secs(5), "{what} took {:?}", begun.elapsed());
    };
    promptly("the stop of a start that hangs", &|| assert_eq!(supervisor.ctl(&["stop", "name"]).code, 0));
    promptly("a reload", &|| {
        let plan = supervisor.reload_with(&format!("{programs}[programs.more]\nuser = \"nobody\"\n"));
        assert!(plan.to_string().contains("more"), "{plan}");
    });
    let logger = supervisor.helper("logger");
    proc::kill(logger, 9);
    promptly("another logger", &|| {
        eventually("it runs", || supervisor.helper_now("logger").filter(|pid| *pid != logger));
    });
    promptly("the stop of a program", &|| assert_eq!(supervisor.ctl(&["stop", "before"]).code, 0));
    promptly("an answer", &|| assert_eq!(supervisor.process("number")["state"], json!("STARTING")));
    let begun = Instant::now();
    assert_eq!(supervisor.stop(), 0);
    assert!(begun.elapsed() < Duration::from_secs(10), "the shutdown took {:?}", begun.elapsed());
}

/// The directory of a log file changes places with a link to a directory of root's, over and over, while the
/// log is opened at starts, rotated and reopened.
fn swapped_directory() {
    let mut supervisor = Supervisor::prepare(
        "[programs.one]\ncmd = [\"sh\", \"-c\", 'while :; do echo 0123456789012345678901234567890123456789; sleep 0.001; done']\n\
         user = \"nobody\"\nstarttime = 0\nstdout = \"@dir@/home/logs/log\"\nstderr = \"discard\"\nlog_maxbytes = \"1KB\"\nlog_backups = 2\n\
         startretries = 1000000\nbackoff = { initial = \"5ms\", step = 0 }\n\
         [programs.many]\ncmd = \"sleep 1000\"\nnumprocs = 20\nuser = \"nobody\"\nstarttime = 0\nstderr = \"discard\"\n\
         stdout = \"@dir@/home/logs/log-${instance}\"\nstartretries = 1000000\nbackoff = { initial = \"5ms\", step = 0 }\n",
    );
    supervisor.subdirectory("home", 0o755, "nobody");
    supervisor.subdirectory("home/logs", 0o755, "nobody");
    // Where root may do all and the user nothing.
    supervisor.subdirectory("precious", 0o755, "root");
    supervisor.file("precious/log", "precious", 0o600);
    supervisor.file("precious/log.1", "precious too", 0o600);
    let (logs, link) = (supervisor.path("home/logs"), supervisor.path("home/link"));
    std::os::unix::fs::symlink(supervisor.path("precious"), &link).expect("a link");
    let over = AtomicBool::new(false);
    let swaps = AtomicI64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &logs, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE).expect("they change places");
                swaps.fetch_add(1, Ordering::Relaxed);
                // Both sides are to be met: by those who walk there and by those who open.
                std::thread::park_timeout(Duration::from_micros(200));
            }
        });
        let _ending = End(&over);
        supervisor.launch();
        let kinds = |kind: &str| supervisor.recent_events().iter().filter(|event| event["kind"] == kind).count();
        // The real directory is under one of the two names.
        let rotated = || {
            [&logs, &link]
                .iter()
                .any(|path| std::fs::metadata(path.join("log.2")).is_ok_and(|meta| meta.uid() == 65_534))
        };
        // A file is opened at the start of the first that writes to it: each of the many has its own.
        eventually("all have started, and some have failed to", || {
            supervisor.ctl(&["reopen"]);
            let all = supervisor.status().iter().all(|process| process["state"] == "RUNNING");
            (all && kinds("process.start_failed") >= 5).then_some(())
        });
        eventually("its log was rotated", || {
            supervisor.ctl(&["reopen"]);
            (rotated() && swaps.load(Ordering::Relaxed) > 1000).then_some(())
        });
    });
    let left = |name: &str| std::fs::read_to_string(supervisor.path("precious").join(name)).expect("read");
    assert_eq!((&*left("log"), &*left("log.1")), ("precious", "precious too"));
    assert_eq!(std::fs::read_dir(supervisor.path("precious")).expect("a directory").count(), 2, "nothing else");
    for name in ["log", "log.1"] {
        let meta = std::fs::metadata(supervisor.path("precious").join(name)).expect("stat");
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777, meta.nlink()), (0, 0, 0o600, 1));
    }
    let real = if logs.is_symlink() { &link } else { &logs };
    for entry in std::fs::read_dir(real).expect("a directory") {
        assert_eq!(entry.expect("an entry").metadata().expect("stat").uid(), 65_534, "nothing here was made as root");
    }
    assert_eq!(supervisor.ctl(&["version"]).code, 0);
}
