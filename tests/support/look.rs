//! More looks at a supervisor: its events one process at a time, its helpers, programs run once.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::supervisor::{Ctl, TASKMASTERD};
use super::{Supervisor, eventually, proc};

/// Retries so fast that a test can wait for all of them.
pub const FAST: &str = "backoff = { initial = \"50ms\", step = \"50ms\" }";

impl Supervisor {
    /// The events about one process in the event log, in order.
    pub fn events_of(&self, process: &str) -> Vec<Value> {
        self.event_log().into_iter().filter(|event| event["process"] == process).collect()
    }

    /// Waits for an event of this kind about this process.
    #[track_caller]
    pub fn wait_for_kind(&self, process: &str, kind: &str) -> Value {
        self.wait_for_event(&format!("{kind} of {process}"), |event| {
            event["kind"] == kind && event["process"] == process
        })
    }

    /// Waits until the program itself runs, which no event tells.
    #[track_caller]
    pub fn wait_for_execution(&self, process: &str) {
        eventually("it is executed", || self.process(process)["uptime_seconds"].is_number().then_some(()));
    }

    /// One of the supervisor's own helpers: `spawner`, `logger`, `notifier`.
    #[track_caller]
    pub fn helper(&self, name: &str) -> i64 {
        eventually(&format!("the {name} runs"), || self.helper_now(name))
    }

    pub fn helper_now(&self, name: &str) -> Option<i64> {
        let is_it = |pid: &i64| proc::is_alive(*pid) && executable(*pid).ends_with(&format!("/taskmaster-{name}"));
        proc::children(self.pid()).into_iter().find(is_it)
    }

    /// A file in the test's own directory.
    pub fn file(&self, name: &str, content: &str, mode: u32) {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    }

    /// A directory in the test's own.
    pub fn subdirectory(&self, name: &str, mode: u32, owner: &str) {
        let path = self.path(name);
        std::fs::create_dir(&path).expect("a directory");
        std::os::unix::fs::chown(&path, Some(uid(owner)), None).expect("chown");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    }

    /// A directory in the test's own, of whoever runs the tests, that everybody can look into.
    pub fn subdirectory_of_own(&self, name: &str) {
        std::fs::create_dir(self.path(name)).expect("a directory");
        super::supervisor::open_up(&self.path(name));
    }

    pub fn fifo(&self, name: &str) {
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        nix::unistd::mkfifo(&self.path(name), mode).expect("a FIFO");
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o666)).expect("chmod");
    }

    /// Lets everything go on that waits to read from this FIFO.
    pub fn open_gate(&self, name: &str) {
        let mut gate = std::fs::OpenOptions::new().write(true).open(self.path(name)).expect("somebody waits");
        let _ = gate.write(b"");
    }

    /// Replaces the programs and has the supervisor read them; gives the plan.
    #[track_caller]
    pub fn reload_with(&self, programs: &str) -> Value {
        self.configure(programs);
        let reply = self.call("Reload", json!({}));
        assert!(reply.get("error").is_none(), "{reply}");
        reply["parameters"]["plan"].clone()
    }

    /// Kills the supervisor itself, as a bug or the kernel would.
    pub fn kill_hard(&mut self) {
        self.signal(9);
        assert_eq!(self.wait_for_end(), -1);
    }

    /// No child of the supervisor waits to be reaped.
    #[track_caller]
    pub fn assert_no_zombie(&self) {
        let pid = self.pid();
        eventually("no zombie is left", || {
            proc::children(pid).iter().all(|child| proc::stat(*child).first().is_none_or(|s| s != "Z")).then_some(())
        });
    }
}

/// When an event was, in milliseconds.
pub fn millis(event: &Value) -> i64 {
    let time: jiff::Timestamp = event["time"].as_str().expect("a time").parse().expect("RFC 3339");
    time.as_millisecond()
}

/// The path of a process's executable; empty when it is gone.
fn executable(pid: i64) -> String {
    std::fs::read_link(format!("/proc/{pid}/exe")).map(|path| path.display().to_string()).unwrap_or_default()
}

pub fn uid(name: &str) -> u32 {
    nix::unistd::User::from_name(name).expect("a database").expect("an account").uid.as_raw()
}

/// A program where every user can execute it: where it was built, or a copy in the test's directory.
pub fn reachable(program: &str, supervisor: &Supervisor) -> PathBuf {
    reachable_in(program, &supervisor.path(""))
}

pub fn reachable_in(program: &str, directory: &Path) -> PathBuf {
    let passable = |path: &Path| std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0);
    let program = Path::new(program);
    if program.ancestors().filter(|path| !path.as_os_str().is_empty()).all(passable) {
        return program.to_owned();
    }
    let copy = directory.join(program.file_name().expect("a name"));
    std::fs::copy(program, &copy).expect("a copy");
    copy
}

/// Runs `taskmasterd` to its end.
pub fn taskmasterd(arguments: &[&str], change: impl FnOnce(&mut Command)) -> Ctl {
    run(Command::new(TASKMASTERD), arguments, change)
}

/// The same as the user `nobody`, from `/`.
pub fn taskmasterd_as_nobody(directory: &Path, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Ctl {
    let mut command = Command::new(reachable_in(TASKMASTERD, directory));
    command.uid(uid("nobody")).gid(uid("nobody")).current_dir("/");
    run(command, arguments, change)
}

fn run(mut command: Command, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Ctl {
    command.args(arguments).stdin(Stdio::null());
    change(&mut command);
    let output = command.output().expect("taskmasterd runs");
    output.into()
}

/// Processes that outlive their supervisor on purpose: ended with the test.
pub struct Survivors(pub Vec<i64>);

impl Drop for Survivors {
    fn drop(&mut self) {
        for pid in self.0.iter().filter(|pid| proc::is_alive(**pid)) {
            proc::kill(*pid, 9);
        }
    }
}
