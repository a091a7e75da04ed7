//! Output to `"console"`, the supervisor's own standard output: lines with the name of their process, whatever it
//! is, and nothing of it may wait when nobody reads.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::support::supervisor::TASKMASTERD;
use crate::support::terminal::Terminal;
use crate::support::{Need, Supervisor, eventually, proc, test, user};

pub fn trials() -> Vec<Trial> {
    vec![
        test("the console has whole lines of both outputs with the name of the process", &[], lines),
        test("a console that nobody reads drops and tells, and holds nobody up", &[], unread),
        test("what a console loses is counted over the death of a logger", &[], counted),
        test("a console may be a socket, and a killed logger doubles no line there", &[], socket),
        test("a reload brings a program to the console and away from it", &[], reloaded),
        test("a console may be a terminal nothing at all or closed", &[], places),
        test("nothing that a program writes acts on a console that is a terminal", &[], on_a_terminal),
        test("a console of another user that cannot be opened is told with what to do", &[Need::Root], foreign),
        test("the screen of the shell is no console until the shell is left", &[], behind_the_shell),
    ]
}

fn program(name: &str, script: &str, more: &str) -> String {
    format!("[programs.{name}]\ncmd = [\"sh\", \"-c\", '{script}']\nstarttime = 0\n{}\n{more}\n", user())
}

/// Of what a logger has dropped, it has told all but the last.
fn counted() {
    let (_unread, write) = nix::unistd::pipe().expect("a pipe");
    let speak = "n=0; while [ $n -lt 100 ]; do n=$((n+1)); seq 1 4000; sleep 0.01; done";
    let mut supervisor = Supervisor::prepare(&program("loud", speak, "autorestart = false\nstdout = \"console\""));
    supervisor.launch_with(|command| {
        command.stdout(Stdio::from(write));
    });
    supervisor.wait_for_state("loud", "EXITED");
    let logger = supervisor.helper("logger");
    proc::kill(logger, 9);
    eventually("another logger runs", || supervisor.helper_now("logger").filter(|pid| *pid != logger));
    assert_eq!(supervisor.stop(), 0);
    let events = supervisor.event_log();
    let told: Vec<&str> = events
        .iter()
        .filter(|event| event["kind"] == "output.dropped")
        .filter_map(|event| event["message"].as_str())
        .collect();
    let bytes = told.last().and_then(|words| words.strip_suffix(" bytes were dropped")?.rsplit(' ').next());
    let bytes: u64 = bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("no sum: {told:?}"));
    assert!(told.len() == 2 && bytes > 1 << 20, "{told:?}");
}

/// The standard output of the supervisor, here in a file that is not opened for appending.
fn written(supervisor: &Supervisor) -> String {
    supervisor.read("console")
}

fn lines() {
    let both = "stdout = \"console\"\nstderr = \"console\"\n";
    let long = "head -c 10000 /dev/zero | tr \"\\0\" x; echo end; printf unfinished";
    let supervisor = Supervisor::start(
        &(program("web", "echo out; echo err >&2; exec sleep 1000", &format!("numprocs = 2\n{both}"))
            + &program("long", long, &format!("autorestart = false\n{both}"))),
    );
    let all = ["web:0 | out\n", "web:0 | err\n", "web:1 | out\n", "web:1 | err\n", "long | unfinished\n"];
    let text = eventually("all lines", || {
        let text = written(&supervisor);
        all.iter().all(|line| text.contains(line)).then_some(text)
    });
    let parts: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("long | ")).collect();
    assert_eq!(parts, [&"x".repeat(8192), &("x".repeat(1808) + "end"), "unfinished"]);
    assert_eq!(supervisor.ctl(&["tail", "web:0"]).stdout, "out\n", "the tail has it, too");
    assert!(!supervisor.path("log/web.0.stdout.log").exists());
}

fn unread() {
    let (read, write) = nix::unistd::pipe().expect("a pipe");
    let mut supervisor = Supervisor::prepare(
        &(program("loud", "exec seq 1 400000", "autorestart = false\nstdout = \"console\"")
            + &program("quiet", "exec sleep 1000", "")),
    );
    let given = write.try_clone().expect("a descriptor");
    supervisor.launch_with(|command| {
        command.stdout(Stdio::from(given));
    });
    let dropped = |count: usize| {
        let is = |event: &&serde_json::Value| event["kind"] == "output.dropped";
        supervisor.event_log().iter().filter(is).nth(count - 1).cloned()
    };
    let begin = eventually("the loss is told", || dropped(1));
    assert_eq!(begin["errno"], libc_eagain(), "{begin}");
    supervisor.wait_for_state("loud", "EXITED");
    let flags = OFlag::from_bits_truncate(fcntl(write.as_fd(), FcntlArg::F_GETFL).expect("flags"));
    assert!(!flags.contains(OFlag::O_NONBLOCK), "whoever shares the pipe finds it as it was");
    drop(write);
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(std::fs::File::from(read)).lines();
        lines.map(|line| line.expect("text")).collect::<Vec<String>>()
    });
    let end = eventually("the end of the loss is told", || dropped(2));
    let words = end["message"].as_str().unwrap_or_default().to_owned();
    drop(supervisor);
    let got = reader.join().expect("read to the end");
    let numbers: Vec<u64> = got
        .iter()
        .map(|line| line.strip_prefix("loud | ").and_then(|n| n.parse().ok()).expect("whole lines"))
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
    let length = |n: u64| "loud | \n".len() + n.to_string().len();
    let missing = (1..=400_000).map(length).sum::<usize>() - numbers.iter().copied().map(length).sum::<usize>();
    assert!(words.contains(&format!("; {missing} bytes")), "{missing} are missing: {words}");
}

fn libc_eagain() -> i32 {
    nix::errno::Errno::EAGAIN as i32
}

fn socket() {
    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    let mut supervisor = Supervisor::prepare(&program(
        "count",
        "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done",
        "stdout = \"console\"",
    ));
    supervisor.launch_with(|command| {
        command.stdout(Stdio::from(OwnedFd::from(theirs)));
    });
    supervisor.wait_for_state("count", "RUNNING");
    let pid = supervisor.pid_of("count");
    for _ in 0..3 {
        let logger = eventually("a logger", || proc::child_called(supervisor.pid(), "taskmaster-logger"));
        let now = last(&supervisor);
        eventually("lines come", || (last(&supervisor) > now + 5).then_some(()));
        proc::kill(logger, 9);
        eventually("it is gone", || (!proc::is_alive(logger)).then_some(()));
    }
    let now = last(&supervisor);
    eventually("lines come", || (last(&supervisor) > now + 5).then_some(()));
    assert_eq!(supervisor.pid_of("count"), pid);
    drop(supervisor);
    let mut text = String::new();
    ours.read_to_string(&mut text).expect("read");
    let numbers: Vec<u64> = text.lines().filter_map(|line| line.strip_prefix("count | ")?.parse().ok()).collect();
    assert!(
        numbers.len() > 20 && numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "in order, none twice: {numbers:?}"
    );
}

fn last(supervisor: &Supervisor) -> u64 {
    supervisor.ctl(&["tail", "-n", "1", "count"]).stdout.trim().parse().unwrap_or(0)
}

fn reloaded() {
    let one = |to: &str| program("one", "echo here; exec sleep 1000", &format!("stdout = \"{to}\"\n"));
    let supervisor = Supervisor::start(&one("auto"));
    supervisor.wait_for_state("one", "RUNNING");
    let first = supervisor.pid_of("one");
    supervisor.configure(&one("console"));
    assert_eq!(supervisor.ctl(&["reload"]).code, 0);
    eventually("its line", || written(&supervisor).contains("one | here\n").then_some(()));
    supervisor.wait_for_state("one", "RUNNING");
    let second = supervisor.pid_of("one");
    assert_ne!(first, second);
    supervisor.configure(&one("auto"));
    assert_eq!(supervisor.ctl(&["reload"]).code, 0);
    eventually("another process", || {
        (supervisor.read("log/one.stdout.log").matches("here").count() == 2).then_some(())
    });
    assert_eq!(written(&supervisor).matches("one | here").count(), 1);
}

const TICK: &str = "while :; do echo tick; sleep 0.05; done";

/// Its lines come, and are nowhere kept back.
#[track_caller]
fn ticks(supervisor: &Supervisor) {
    supervisor.wait_for_state("web", "RUNNING");
    eventually("it is heard", || supervisor.ctl(&["tail", "web"]).stdout.contains("tick\n").then_some(()));
}

fn dropped(supervisor: &Supervisor) -> Vec<String> {
    let events = supervisor.event_log();
    let words = |event: &serde_json::Value| event["message"].as_str().unwrap_or_default().to_owned();
    events.iter().filter(|event| event["kind"] == "output.dropped").map(words).collect()
}

fn places() {
    let web = program("web", TICK, "stdout = \"console\"");
    let supervisor = Supervisor::prepare(&web);
    let mut command = Command::new(TASKMASTERD);
    command.args(["--no-shell", "-c"]).arg(supervisor.config());
    let terminal = Terminal::start(command);
    terminal.wait_for("web | tick");
    assert_eq!(dropped(&supervisor), [""; 0]);
    drop(terminal);

    let mut supervisor = Supervisor::prepare(&web);
    supervisor.launch_with(|command| {
        command.stdout(Stdio::null());
    });
    ticks(&supervisor);
    assert_eq!((dropped(&supervisor), supervisor.stop()), (vec![], 0));

    let mut supervisor = Supervisor::prepare(&web);
    supervisor.file("closed", &format!("#!/bin/sh\nexec {TASKMASTERD} \"$@\" >&-\n"), 0o755);
    let closed = supervisor.path("closed");
    supervisor.launch_program(&closed, |_| {});
    ticks(&supervisor);
    assert_eq!((dropped(&supervisor), supervisor.stop()), (vec![], 0));
}

fn on_a_terminal() {
    let script = "printf \"a\\033[2Jb\\033]52;c;QQ==\\007\\n\\tc\\n\"; exec sleep 1000";
    let supervisor = Supervisor::prepare(&program("web", script, "stdout = \"console\""));
    let mut command = Command::new(TASKMASTERD);
    command.args(["--no-shell", "-c"]).arg(supervisor.config());
    let terminal = Terminal::start(command);
    terminal.wait_for("web | a\\x1b[2Jb\\x1b]52;c;QQ==\\x07");
    eventually("a tab is no harm", || terminal.written_since(0).contains("web | \tc").then_some(()));
    let written = terminal.written_since(0);
    assert!(!written.contains('\x1b') && !written.contains('\x07'), "{written:?}");
}

fn foreign() {
    let script = format!("[programs.web]\ncmd = [\"sh\", \"-c\", '{TICK}']\nstarttime = 0\nstdout = \"console\"\n");
    let mut supervisor = Supervisor::prepare(&script);
    let nobody = nix::unistd::User::from_name("nobody").expect("accounts").expect("nobody");
    std::os::unix::fs::chown(supervisor.path(""), Some(nobody.uid.as_raw()), None).expect("chown");
    let (read, write) = nix::unistd::pipe().expect("a pipe");
    supervisor.launch_with(|command| {
        command.stdout(Stdio::from(write)).uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
    });
    ticks(&supervisor);
    let words = "output for \"console\" is kept for `tail` only: standard output cannot be opened: Permission denied";
    let is_told = |told: &String| told.starts_with(words) && told.contains("`| cat`");
    eventually("it is told", || dropped(&supervisor).iter().any(is_told).then_some(()));
    let told = written(&supervisor);
    assert!(told.contains(&format!("taskmasterd: warning: {words}")), "{told}");
    assert_eq!(supervisor.stop(), 0);
    drop(read);
}

fn behind_the_shell() {
    let supervisor = Supervisor::prepare(&program("web", TICK, "stdout = \"auto\""));
    let mut command = Command::new(TASKMASTERD);
    command.arg("-c").arg(supervisor.config());
    let terminal = Terminal::start(command);
    terminal.prompt();
    assert_eq!(dropped(&supervisor), [""; 0]);
    supervisor.configure(&program("web", TICK, "stdout = \"console\""));
    terminal.line("reload");
    eventually("it is told", || dropped(&supervisor).iter().any(|told| told.contains("the shell is on")).then_some(()));
    let runs =
        |supervisor: &Supervisor| supervisor.kinds_of("web").iter().filter(|kind| *kind == "process.running").count();
    eventually("it runs anew", || (runs(&supervisor) == 2).then_some(()));
    let heard = || supervisor.ctl(&["tail", "-n", "10000", "web"]).stdout.lines().count();
    let before = heard();
    eventually("it is heard", || (heard() > before + 5).then_some(()));
    assert!(!terminal.written_since(0).contains("web | tick"), "{}", terminal.screen());
    assert_eq!(dropped(&supervisor).len(), 1, "once");
    terminal.line("exit");
    terminal.wait_for("or stay?");
    terminal.line("g");
    terminal.wait_for("web | tick");
}
