//! The workers: what the kernel says of them, and what becomes of one that does not keep to its part.
//!
//! What their filters refuse is tried in the unit tests, which can put the filter on themselves.

use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::{Value, json};

use crate::support::supervisor::{TASKMASTERD, receive};
use crate::support::terminal::Terminal;
use crate::support::{Need, Supervisor, eventually, is_root, look, proc, test};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        test("logger and notifier have a user of their own and nothing else", &[Need::Root], confinement),
        test("a worker has the group of its account whatever number that has", &[Need::Root], group_of_the_account),
        test("the workers of an ordinary user are confined as well", &[], ordinary_user),
        test("a worker that is confined does its work", &[], work),
        test("what a notifier says of its channels is told once", &[], failing_channel),
        test("descriptors that a worker sends do not stay in the core", &[], descriptors_of_a_worker),
        test("descriptors that the shell sends do not stay in the core", &[], descriptors_of_the_shell),
        test("descriptors that a client sends do not stay in the core", &[], descriptors_of_a_client),
    ];
    trials.extend(FORBIDDEN.iter().map(|case| {
        Trial::test(case.0.replace(' ', "_"), || {
            forbidden(case);
            Ok(())
        })
    }));
    trials
}

fn sleeper() -> String {
    let user = if is_root() { "user = \"nobody\"" } else { "" };
    format!("[programs.one]\ncmd = \"sleep 1000\"\nstarttime = 0\n{user}\n")
}

/// A worker by the name it was started with: its executable is not for everybody to see.
fn worker(supervisor: i64, name: &str) -> Option<i64> {
    let is_it = |pid: &i64| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).next() == Some(name.as_bytes())
    };
    proc::children(supervisor).into_iter().filter(|pid| proc::is_alive(*pid)).find(is_it)
}

/// What is true of every worker, whoever started the supervisor.
#[track_caller]
fn assert_filtered(pid: i64, limits: &[&str]) {
    // The last thing that a worker does before it begins.
    let filtered = || proc::status(pid).get("Seccomp_filters").is_some_and(|filters| filters == "3").then_some(());
    eventually("it is confined", filtered);
    let status = proc::status(pid);
    assert_eq!((&*status["NoNewPrivs"], &*status["Seccomp"]), ("1", "2"));
    for limit in limits.iter().copied().chain(["Max core file size 0 0 bytes", "Max processes 0 0 processes"]) {
        // The shell first starts its threads.
        eventually(limit, || {
            let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
            let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            lines.any(|line| line == limit).then_some(())
        });
    }
    let stat = proc::stat(pid);
    assert_eq!((stat[3].as_str(), stat[4].as_str()), (&*pid.to_string(), "0"), "its own session, no terminal");
    assert_eq!(
        std::fs::metadata(format!("/proc/{pid}/environ")).expect("it runs").uid(),
        0,
        "nobody of its own user may look into it"
    );
}

/// And with a supervisor of root's.
#[track_caller]
pub fn assert_confined(pid: i64, limits: &[&str]) {
    assert_filtered(pid, limits);
    let status = proc::status(pid);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status[set], "0000000000000000", "{set}");
    }
    assert_eq!(status["Groups"], "");
    assert_eq!(proc::cwd(pid), Path::new("/"));
    for which in ["Uid", "Gid"] {
        let ids = proc::ids(pid, which);
        assert!(ids[0] != 0 && ids.iter().all(|id| *id == ids[0]), "{which} {ids:?}");
    }
}

fn confinement() {
    let mut supervisor = Supervisor::prepare(&sleeper());
    supervisor.launch_with(|command| {
        command.env("TASKMASTER_TEST_SECRET", "secret").env("LD_LIBRARY_PATH", "/nonexistent");
    });
    supervisor.wait_for_state("one", "RUNNING");
    let pids = ["logger", "notifier"].map(|name| supervisor.helper(name));
    // The notifier's other threads: the one that talks to servers, and three that look up names.
    for (pid, (limit, threads)) in pids.into_iter().zip([(None, "1"), (Some("Max open files 256 256 files"), "5")]) {
        assert_confined(pid, limit.as_slice());
        assert_eq!(proc::status(pid)["Threads"], threads);
        assert!(proc::environ(pid).is_empty(), "{:?}", proc::environ(pid));
        let descriptors = proc::descriptors(pid);
        for (number, target) in &descriptors {
            let expected = match number {
                0 | 1 => target == "/dev/null",
                2 => target.ends_with("/console"),
                3 => target.starts_with("socket:"),
                // What the core has sent, and its own loop.
                _ => ["pipe:", "anon_inode:", "socket:", "/"].iter().any(|kind| target.starts_with(kind)),
            };
            assert!(expected, "{number} is {target}");
            let in_test = target.starts_with(&*supervisor.path("").to_string_lossy());
            let elsewhere = ["/dev/null", "/memfd:in hand"].iter().any(|known| target.starts_with(known));
            assert!(!target.starts_with('/') || in_test || elsewhere, "{number} is {target}");
        }
    }
    let uids = pids.map(|pid| proc::ids(pid, "Uid")[0]);
    assert_ne!(uids[0], uids[1]);
    assert_eq!(supervisor.stop(), 0);
}

/// The group with the number of a worker's uid can be anybody's: one that opens a socket or a device, for example.
fn group_of_the_account() {
    let mut supervisor = Supervisor::prepare(&sleeper());
    let accounts = [
        ("passwd", "taskmaster-log:x:64720:64721::/:/bin/false\ntaskmaster-notify:x:64722:0::/:/bin/false\n"),
        ("group", "tm-test-others:x:64720:\n"),
    ];
    let mut script = String::new();
    for (name, more) in accounts {
        let text = std::fs::read_to_string(Path::new("/etc").join(name)).expect("a database");
        let others = text.lines().filter(|line| !line.starts_with("taskmaster-"));
        let text: String = others.flat_map(|line| [line, "\n"]).chain([more]).collect();
        supervisor.file(name, &text, 0o644);
        script.push_str(&format!("mount --bind {} /etc/{name} && ", supervisor.path(name).display()));
    }
    script.push_str(&format!("exec {TASKMASTERD} --no-shell -c {}", supervisor.config().display()));
    supervisor.launch_with(|command| {
        *command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        command.stdin(Stdio::null()).process_group(0);
    });
    supervisor.wait_for_state("one", "RUNNING");
    let of = |name: &str| {
        let pid = supervisor.helper(name);
        eventually("it is confined", || (proc::status(pid)["Seccomp"] == "2").then_some(()));
        (proc::ids(pid, "Uid"), proc::ids(pid, "Gid"), proc::status(pid)["Groups"].clone())
    };
    assert_eq!(of("logger"), (vec![64_720; 4], vec![64_721; 4], String::new()));
    // One that is in root's group is no account for a worker.
    assert_eq!(of("notifier"), (vec![64_711; 4], vec![64_711; 4], String::new()));
    assert_eq!(supervisor.stop(), 0);
}

fn ordinary_user() {
    let mut supervisor = Supervisor::prepare("[programs.one]\ncmd = \"sleep 1000\"\nstarttime = 0\n");
    if is_root() {
        let nobody = crate::shell::give_away(&supervisor);
        let program = look::reachable(TASKMASTERD, &supervisor);
        if program != Path::new(TASKMASTERD) {
            for name in HELPERS {
                look::reachable(&beside(TASKMASTERD, name).to_string_lossy(), &supervisor);
            }
        }
        supervisor.launch_program(&program, |command| {
            command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw()).current_dir("/");
        });
    } else {
        supervisor.launch();
    }
    supervisor.wait_for_state("one", "RUNNING");
    for name in ["taskmaster-logger", "taskmaster-notifier"] {
        let pid = eventually(name, || worker(supervisor.pid(), name));
        assert_filtered(pid, &[]);
        assert_eq!(proc::status(pid)["CapEff"], "0000000000000000");
    }
    assert_eq!(supervisor.stop(), 0);
}

/// Reading, writing, rotating and showing, all of it by descriptors that come from outside.
fn work() {
    let user = if is_root() { "user = \"nobody\"" } else { "" };
    let talker = "i=0; while [ $i -lt 3000 ]; do echo line $i of many; i=$((i+1)); done; exec sleep 1000";
    let mut supervisor = Supervisor::start(&format!(
        "[programs.talker]\ncmd = [\"sh\", \"-c\", \"{talker}\"]\nstarttime = 0\nlog_maxbytes = \"10KB\"\nlog_backups = 2\n{user}\n"
    ));
    eventually("the last line is written", || {
        supervisor.read("log/talker.stdout.log").contains("line 2999 of many").then_some(())
    });
    assert!(supervisor.path("log/talker.stdout.log.2").exists(), "it was rotated");
    assert!(supervisor.ctl(&["tail", "talker"]).stdout.contains("line 2999 of many"));
    let pids = ["taskmaster-logger", "taskmaster-notifier"].map(|name| worker(supervisor.pid(), name));
    let restarted = supervisor.event_log().iter().any(|event| event["kind"] == "worker.restarted");
    assert!(pids.iter().all(Option::is_some) && !restarted, "nothing of that has cost them their life");
    assert_eq!(supervisor.stop(), 0);
}

/// What a worker says that it may not, line by line, and what is told of it. Each `+` sends a descriptor along.
type Forbidden = (&'static str, &'static str, &'static [&'static str], &'static str);
const FORBIDDEN: [Forbidden; 6] = [
    ("a logger that sends no message is ended", LOGGER, &["0\"ready\"", "0!"], "expected value"),
    ("a logger that works before it is ready is ended", LOGGER, &["0\"drained\""], "before it was ready"),
    ("a logger that sends a descriptor is ended", LOGGER, &["+0\"ready\""], "(a descriptor)"),
    (
        "a logger that has a strange file rotated is ended",
        LOGGER,
        &["0\"ready\"", "0{\"rotate\":{\"sink\":999999}}"],
        "the file 999999, which it does not have",
    ),
    (
        "a notifier that has written what it was not sent is ended",
        NOTIFIER,
        &["0\"ready\"", "0{\"written\":{\"seq\":18446744073709551615}}"],
        "that the event 18446744073709551615 is written, which is not under way",
    ),
    (
        "a notifier that speaks of a strange channel is ended",
        NOTIFIER,
        &["0\"ready\"", "0{\"channel\":{\"channel\":\"email\",\"health\":\"well\",\"tell\":true}}"],
        "a channel that it does not have",
    ),
];
const LOGGER: &str = "taskmaster-logger";
const NOTIFIER: &str = "taskmaster-notifier";
const SHELL: &str = "taskmasterctl";
const HELPERS: [&str; 3] = ["taskmaster-spawner", LOGGER, NOTIFIER];
/// What the played worker says, beside its executable.
const SAYS: &str = "says";

pub fn beside(program: &str, name: &str) -> PathBuf {
    Path::new(program).with_file_name(name)
}

pub fn put(program: &Path, place: &Path) {
    if std::fs::hard_link(program, place).is_err() {
        std::fs::copy(program, place).expect("a copy");
    }
}

/// A supervisor with a worker that says this.
fn with_played(role: &str, says: &[&str], programs: &str) -> Supervisor {
    let (mut supervisor, program) = prepare_played(role, says, programs);
    supervisor.launch_program(&program, |_| {});
    supervisor.wait_for_state("one", "RUNNING");
    supervisor
}

/// The same before it is started, and what is to be started.
fn prepare_played(role: &str, says: &[&str], programs: &str) -> (Supervisor, PathBuf) {
    let supervisor = Supervisor::prepare(programs);
    supervisor.subdirectory_of_own("bin");
    let place = |name: &str| supervisor.path("bin").join(name);
    put(Path::new(TASKMASTERD), &place("taskmasterd"));
    for name in HELPERS.iter().filter(|name| **name != role) {
        put(&beside(TASKMASTERD, name), &place(name));
    }
    put(&std::env::current_exe().expect("this test"), &place(role));
    std::fs::write(place(SAYS), says.join("\n")).expect("a file");
    let program = place("taskmasterd");
    (supervisor, program)
}

/// How many of the core's descriptors lead there.
fn leading_to(core: i64, target: &str) -> usize {
    proc::descriptors(core).values().filter(|is| *is == target).count()
}

/// Waits until a worker was ended so often, for descriptors.
#[track_caller]
fn ended(supervisor: &Supervisor, role: &str, count: usize, many: usize) {
    let words = format!("the {role} was ended, because it sent what it may not (a message with {many} descriptors");
    eventually("it is told", || {
        let told = |event: &&Value| event["message"].as_str().is_some_and(|text| text.starts_with(&words));
        (supervisor.recent_events().iter().filter(told).count() >= count).then_some(())
    });
}

/// Its standard input, /dev/null, as often as there are `+`. The core has a few of it itself, and each life of
/// the worker would leave 8 more at least.
fn descriptors_of_a_worker() {
    for (role, name) in [(LOGGER, "logger"), (NOTIFIER, "notifier")] {
        for many in [40, 253] {
            let says = ["0\"ready\"".to_owned(), format!("{}0\"ready\"", "+".repeat(many))];
            let supervisor = with_played(role, &says.each_ref().map(String::as_str), &sleeper());
            ended(&supervisor, name, 3, many);
            let open = leading_to(supervisor.pid(), "/dev/null");
            assert!(open < 8, "{many} of the {name}: {open} are open");
            assert_eq!(supervisor.ctl(&["restart", "one"]).code, 0);
        }
    }
}

/// Of the shell it is the terminal.
fn descriptors_of_the_shell() {
    let says = format!("{}c", "+".repeat(40));
    let (supervisor, program) = prepare_played(SHELL, &[&says], &sleeper());
    let mut command = std::process::Command::new(program);
    command.arg("-c").arg(supervisor.config());
    let terminal = Terminal::start(command);
    eventually("it answers", || std::os::unix::net::UnixStream::connect(supervisor.socket()).ok());
    ended(&supervisor, "shell", 2, 40);
    let core = terminal.pid();
    let name = proc::descriptors(core).get(&0).cloned().expect("standard input");
    let open = leading_to(core, &name);
    assert!(open < 8, "{open} are open");
    assert_eq!(supervisor.ctl(&["restart", "one"]).code, 0);
}

/// On the control socket, which takes none.
fn descriptors_of_a_client() {
    let supervisor = Supervisor::start(&sleeper());
    supervisor.wait_for_state("one", "RUNNING");
    let path = supervisor.path("beside");
    let file = std::fs::File::create(&path).expect("a file");
    for many in [1, 40, 253] {
        let client = std::os::unix::net::UnixStream::connect(supervisor.socket()).expect("connects");
        let call = b"{\"method\":\"org.varlink.service.GetInfo\"}\0";
        let raw = vec![file.as_raw_fd(); many];
        let bytes = [std::io::IoSlice::new(call)];
        sendmsg::<()>(client.as_raw_fd(), &bytes, &[ControlMessage::ScmRights(&raw)], MsgFlags::empty(), None)
            .expect("sent");
        let answer = receive(&mut std::io::BufReader::new(&client)).expect("an answer");
        assert!(answer["parameters"]["product"].is_string(), "{answer}");
        assert_eq!(leading_to(supervisor.pid(), &path.to_string_lossy()), 0, "of {many}");
    }
}

fn failing_channel() {
    let email = "[notify.email]\nserver = \"localhost\"\nfrom = \"a@b\"\nto = \"a@b\"\n";
    let failing = "0{\"channel\":{\"channel\":\"email\",\"health\":{\"failing\":{\"seconds\":600,\"cause\":\"refused\"}},\"tell\":true}}";
    let lost = "0{\"lost\":{\"messages\":2,\"why\":\"too old\"}}";
    let says = ["0\"ready\"", "0\"want_secrets\"", failing, failing, lost, "0\"want_secrets\""];
    let supervisor = with_played(NOTIFIER, &says, &format!("{}{email}", sleeper()));
    supervisor.wait_for_recent("what is lost", |event| event["message"] == "2 alerts were given up: too old");
    let events = supervisor.recent_events();
    let told: Vec<&Value> = events.iter().filter(|event| event["kind"] == "notify.failing").collect();
    assert_eq!(told.len(), 1, "once: {events:?}");
    assert_eq!((&told[0]["channel"], &told[0]["severity"]), (&json!("email"), &json!("err")));
    assert!(told[0]["message"].as_str().is_some_and(|text| text.ends_with(": refused")), "{}", told[0]);
    assert!(!events.iter().any(|event| event["kind"] == "worker.restarted"), "{events:?}");
}

fn forbidden((_, role, says, told): &Forbidden) {
    let mut supervisor = with_played(role, says, &sleeper());
    let pid = supervisor.pid_of("one");
    // It never ends by itself: that it was started again says that it was killed.
    eventually("it is told", || {
        let events = supervisor.call("Events", json!({ "since": 0 }));
        let is_it = |event: &Value| event["kind"] == "worker.restarted" && event.to_string().contains(told);
        events["parameters"]["events"].as_array()?.iter().any(is_it).then_some(())
    });
    assert_eq!(supervisor.pid_of("one"), pid);
    assert_eq!(supervisor.ctl(&["status"]).code, 0);
    let restarted = supervisor.ctl(&["restart", "one"]);
    assert_eq!(restarted.code, 0, "{restarted:?}");
    assert_eq!(supervisor.stop(), 0);
}

/// Whether this is not a test, but a worker that one of them has put in the place of the real one.
pub fn worker_to_play() -> Option<PathBuf> {
    let name = std::env::args().next()?;
    [LOGGER, NOTIFIER, SHELL].contains(&name.as_str()).then(|| std::fs::read_link("/proc/self/exe").ok()).flatten()
}

/// Says what it is to say, and stays until it is killed.
pub fn play(executable: &Path) {
    say(&std::fs::read_to_string(executable.with_file_name(SAYS)).expect("what to say"));
}

/// The same, line by line.
pub fn say(says: &str) {
    says.lines().for_each(send);
    // Whoever does not listen cannot be asked to leave. Without a supervisor there is nobody to play for.
    let parent = nix::unistd::getppid();
    while nix::unistd::getppid() == parent {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One packet; each `+` sends a descriptor along.
pub fn send(line: &str) {
    const CHANNEL: i32 = 3;
    let packet = line.trim_start_matches('+');
    let descriptors = vec![std::io::stdin().as_raw_fd(); line.len() - packet.len()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &rights };
    let bytes = [std::io::IoSlice::new(packet.as_bytes())];
    let _ = sendmsg::<()>(CHANNEL, &bytes, control, MsgFlags::MSG_NOSIGNAL, None);
}
