//! The demo: it needs nothing on the machine, does what its programs are there to show, and leaves
//! nothing behind.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::supervisor::{TASKMASTERCTL, TASKMASTERD};
use crate::support::terminal::Terminal;
use crate::support::{Need, eventually, is_root, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("the demo on a terminal shows what its programs are there for", &[], on_a_terminal),
        test("the demo on a terminal works for an ordinary user", &[Need::Root], on_a_terminal_as_nobody),
        test("the demo without a terminal works for root", &[Need::Root], headless_as_root),
        test("the demo without a terminal works for an ordinary user", &[Need::Root], headless_as_nobody),
    ]
}

/// A demo that runs, as seen from another terminal.
struct Demo {
    directory: PathBuf,
    socket: PathBuf,
}

impl Demo {
    /// Reads the directory off the screen, and the command that goes to another terminal.
    fn named_on(screen: &str) -> Option<Self> {
        // A terminal breaks a long line.
        let text: String = screen.lines().collect::<Vec<_>>().join("\n");
        let directory = PathBuf::from(text.split_once("everything is under ")?.1.split_once(',')?.0);
        let socket = PathBuf::from(text.split_once("taskmasterctl -s ")?.1.split_once(" status")?.0);
        Some(Self { directory, socket })
    }

    fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(TASKMASTERCTL);
        command.arg("-s").arg(&self.socket).args(arguments).stdin(Stdio::null());
        String::from_utf8_lossy(&command.output().expect("taskmasterctl runs").stdout).into_owned()
    }

    fn status(&self) -> Vec<Value> {
        serde_json::from_str(&self.ctl(&["--json", "status"])).unwrap_or_default()
    }

    #[track_caller]
    fn wait_for(&self, what: &str, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || self.status().into_iter().find(|process| process["process"] == name && is(process)))
    }

    /// All programs do what they are there for.
    fn shows_what_it_should(&self, user: Option<&str>) {
        let runs = |process: &Value| process["state"] == "RUNNING";
        for instance in 0..3 {
            let name = format!("worker:{instance}");
            let worker = self.wait_for("the worker runs", &name, runs);
            let pid = worker["pid"].as_i64().expect("a pid");
            let uid = match user {
                Some(user) => nix::unistd::User::from_name(user).expect("a database").expect("an account").uid,
                None => nix::unistd::getuid(),
            };
            assert_eq!(proc::ids(pid, "Uid"), [uid.as_raw(); 4], "{name}");
            let hello = eventually("it greets", || Some(self.ctl(&["tail", &name])).filter(|text| !text.is_empty()));
            assert!(hello.starts_with(&format!("worker {instance} up as ")), "{hello}");
        }
        assert_eq!(self.wait_for("oneshot is there", "oneshot", |_| true)["state"], "STOPPED");
        self.ctl(&["start", "oneshot"]);
        let broken = self.wait_for("broken is given up", "broken", |process| process["state"] == "FATAL");
        let reason = broken["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("/nonexistent/program"), "{reason}");
        assert!(reason.contains("No such file or directory"), "{reason}");
        let oneshot = self.wait_for("oneshot is done", "oneshot", |process| process["state"] == "EXITED");
        assert_eq!(oneshot["last_exit"]["code"], 0);
        assert_eq!(self.ctl(&["tail", "oneshot"]), "oneshot: working\noneshot: done\n");
        let flaky = self.wait_for("flaky has crashed and runs again", "flaky", |process| {
            process["restarts"].as_u64().is_some_and(|restarts| restarts > 0) && runs(process)
        });
        assert_eq!(flaky["last_exit"]["signal"], "SEGV");
        let logs = self.directory.join("log");
        eventually("the log of chatty is rotated", || logs.join("chatty.stdout.log.1").exists().then_some(()));
    }

    #[track_caller]
    fn left_nothing(&self, below: &[i64]) {
        assert!(!self.directory.exists(), "{} is left", self.directory.display());
        eventually("no process is left", || below.iter().all(|pid| !proc::is_alive(*pid)).then_some(()));
    }
}

fn demo(user: Option<&str>) -> Command {
    let mut command = Command::new(TASKMASTERD);
    command.arg("--demo").current_dir("/");
    if let Some(user) = user {
        let user = nix::unistd::User::from_name(user).expect("a database").expect("an account");
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        // Nothing of root's.
        command.env("HOME", "/nonexistent").env_remove("XDG_RUNTIME_DIR").env_remove("TMPDIR");
    }
    command
}

fn terminal_session(user: Option<&str>) {
    let mut terminal = Terminal::start(demo(user));
    terminal.wait_for("STATE");
    let demo = Demo::named_on(&terminal.screen()).unwrap_or_else(|| panic!("{}", terminal.screen()));
    assert!(demo.directory.is_dir());
    demo.shows_what_it_should(user.or_else(|| is_root().then_some("nobody")));
    // The crash was told above the prompt.
    terminal.wait_for("flaky crashed");
    terminal.wait_for("broken fatal");
    terminal.wait_for_last("taskmaster [1 not well]>");
    let below = proc::descendants(terminal.pid());
    terminal.line("shutdown");
    terminal.wait_for("[y/N]");
    terminal.line("y");
    assert_eq!(terminal.wait_for_end().code(), Some(0));
    assert!(terminal.settings() == terminal.initial);
    demo.left_nothing(&below);
}

fn on_a_terminal() {
    terminal_session(None);
}

fn on_a_terminal_as_nobody() {
    terminal_session(Some("nobody"));
}

/// A demo without a terminal; ended when dropped.
struct Headless(Child);

impl Drop for Headless {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        proc::kill(i64::from(self.0.id()), 15);
        eventually("the demo ends", || self.0.try_wait().ok().flatten());
    }
}

fn headless(user: Option<&str>) {
    let directory = crate::support::supervisor::directory();
    let console: &Path = &directory.path().join("console");
    let output = std::fs::File::create(console).expect("a file");
    let mut command = demo(user);
    command.stdin(Stdio::null()).stdout(output.try_clone().expect("a descriptor")).stderr(output).process_group(0);
    let mut headless = Headless(command.spawn().expect("taskmasterd starts"));
    let read = || std::fs::read_to_string(console).unwrap_or_default();
    let demo = eventually("it names its directory", || Demo::named_on(&read()));
    eventually("it listens", || demo.socket.exists().then_some(()));
    demo.shows_what_it_should(Some(user.unwrap_or("nobody")));
    eventually("the crash is told", || read().contains("process.crashed flaky").then_some(()));
    let below = proc::descendants(i64::from(headless.0.id()));
    proc::kill(i64::from(headless.0.id()), 2);
    let status = eventually("the demo ends", || headless.0.try_wait().expect("waits"));
    assert_eq!(status.code(), Some(0), "{}", read());
    demo.left_nothing(&below);
}

fn headless_as_root() {
    headless(None);
}

fn headless_as_nobody() {
    headless(Some("nobody"));
}
