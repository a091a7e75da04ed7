//! A supervisor for one test, in a directory of its own, headless; ended and looked after when dropped.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PATIENCE, eventually, proc};

pub const TASKMASTERD: &str = env!("CARGO_BIN_EXE_taskmasterd");
pub const TASKMASTERCTL: &str = env!("CARGO_BIN_EXE_taskmasterctl");

const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A running `taskmasterd`.
pub struct Supervisor {
    pub directory: tempfile::TempDir,
    child: Option<Child>,
}

/// What a one-shot command did.
#[derive(Debug)]
pub struct Ctl {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<std::process::Output> for Ctl {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A directory that other users can look into.
pub fn directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("taskmaster-test-").tempdir().expect("a directory");
    open_up(directory.path());
    directory
}

pub fn open_up(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
}

impl Supervisor {
    /// Starts with these programs; `@dir@` stands for the test's own directory.
    pub fn start(programs: &str) -> Self {
        let mut supervisor = Self::prepare(programs);
        supervisor.launch();
        supervisor
    }

    /// Writes the configuration, starts nothing.
    pub fn prepare(programs: &str) -> Self {
        let supervisor = Self { directory: directory(), child: None };
        supervisor.configure(programs);
        supervisor
    }

    /// Replaces the programs in the configuration file.
    pub fn configure(&self, programs: &str) {
        let head = "[supervisor]\nlog_dir = \"@dir@/log\"\nstate_dir = \"@dir@/state\"\nruntime_dir = \"@dir@/run\"\nevent_log_format = \"json\"\n";
        let text = format!("{head}\n{programs}").replace("@dir@", &self.path("").display().to_string());
        std::fs::write(self.config(), text).expect("write");
    }

    pub fn config(&self) -> PathBuf {
        self.path("taskmaster.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.path("run/control.sock")
    }

    /// A path in the test's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.directory.path().to_owned() } else { self.directory.path().join(name) }
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Starts `taskmasterd` and waits until it listens.
    pub fn launch(&mut self) {
        self.launch_with(|_| {});
    }

    pub fn launch_with(&mut self, change: impl FnOnce(&mut Command)) {
        self.launch_program(Path::new(TASKMASTERD), change);
    }

    /// Starts this `taskmasterd`, which has its helpers beside it.
    pub fn launch_program(&mut self, program: &Path, change: impl FnOnce(&mut Command)) {
        let console = std::fs::File::create(self.path("console")).expect("a file");
        let mut command = Command::new(program);
        command.args(["--no-shell", "-c"]).arg(self.config()).stdin(Stdio::null());
        command.stdout(console.try_clone().expect("a descriptor")).stderr(console);
        // A group of its own: nothing of the test runner's terminal reaches it.
        command.process_group(0);
        change(&mut command);
        self.child = Some(command.spawn().expect("taskmasterd starts"));
        let socket = self.socket();
        eventually("taskmasterd listens", || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                panic!("taskmasterd ended ({status}): {}", self.read("console"));
            }
            UnixStream::connect(&socket).ok()
        });
    }

    pub fn pid(&self) -> i64 {
        i64::from(self.child.as_ref().expect("running").id())
    }

    /// Runs `taskmasterctl`, not on a terminal.
    pub fn ctl(&self, arguments: &[&str]) -> Ctl {
        let output = Command::new(TASKMASTERCTL)
            .arg("-s")
            .arg(self.socket())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("taskmasterctl runs");
        output.into()
    }

    /// One varlink call.
    pub fn call(&self, method: &str, parameters: Value) -> Value {
        let mut stream = UnixStream::connect(self.socket()).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        send(&mut stream, method, parameters, false);
        let mut reader = BufReader::new(stream);
        receive(&mut reader).expect("an answer")
    }

    /// Every process, as `status --json` has it.
    pub fn status(&self) -> Vec<Value> {
        let reply = self.call("Status", json!({}));
        reply["parameters"]["processes"].as_array().cloned().unwrap_or_else(|| panic!("{reply}"))
    }

    /// One process by the name that is shown.
    pub fn process(&self, name: &str) -> Value {
        let all = self.status();
        all.iter().find(|process| process["process"] == name).cloned().unwrap_or_else(|| panic!("no {name} in {all:?}"))
    }

    pub fn state(&self, name: &str) -> String {
        self.process(name)["state"].as_str().unwrap_or_default().to_owned()
    }

    pub fn pid_of(&self, name: &str) -> i64 {
        self.process(name)["pid"].as_i64().unwrap_or_else(|| panic!("{name} has no pid: {}", self.process(name)))
    }

    /// The process that runs under this name now, if one does.
    pub fn pid_now(&self, name: &str) -> Option<i64> {
        self.process(name)["pid"].as_i64()
    }

    /// Waits until the status is as `is` says: looks again after each event.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is: impl Fn(&[Value]) -> bool) {
        let mut stream = UnixStream::connect(self.socket()).expect("connects");
        send(&mut stream, "Events", json!({ "follow": true }), true);
        let mut reader = BufReader::new(stream);
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if is(&status) {
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not within {PATIENCE:?}: {what}\n{status:#?}\n{}", self.read("console"));
            reader.get_ref().set_read_timeout(Some(left)).expect("a timeout");
            let _ = receive(&mut reader);
        }
    }

    #[track_caller]
    pub fn wait_for_state(&self, name: &str, state: &str) {
        self.wait_until(&format!("{name} is {state}"), |all| {
            all.iter().any(|process| process["process"] == name && process["state"] == state)
        });
    }

    /// The event log so far, one object a line.
    pub fn event_log(&self) -> Vec<Value> {
        self.read("log/events.log").lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for an event in the log, from the start or later.
    #[track_caller]
    pub fn wait_for_event(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("in the event log: {what}"), || self.event_log().into_iter().find(|event| is(event)))
    }

    /// The events that the supervisor still has in memory.
    pub fn recent_events(&self) -> Vec<Value> {
        let reply = self.call("Events", json!({ "since": 0 }));
        reply["parameters"]["events"].as_array().cloned().unwrap_or_else(|| panic!("{reply}"))
    }

    /// Waits for an event in memory: where the event log itself may be the problem.
    #[track_caller]
    pub fn wait_for_recent(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("among the recent events: {what}"), || {
            self.recent_events().into_iter().find(|event| is(event))
        })
    }

    /// The kinds of the events about one process, in order.
    pub fn kinds_of(&self, process: &str) -> Vec<String> {
        let about = |event: &&Value| event["process"] == process;
        self.event_log()
            .iter()
            .filter(about)
            .map(|event| event["kind"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Sends the supervisor a signal.
    pub fn signal(&self, signal: i32) {
        proc::kill(self.pid(), signal);
    }

    /// Waits for the end of the supervisor; gives its exit code.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> i32 {
        let mut child = self.child.take().expect("running");
        let status = eventually("taskmasterd ends", || child.try_wait().expect("waits"));
        status.code().unwrap_or(-1)
    }

    /// Kills it, and waits until nothing is left of it, also nothing that was just being started.
    #[track_caller]
    pub fn kill(&mut self) {
        // A spawner that stands still starts nothing between the look and the death.
        let spawner = eventually("the spawner stands still", || {
            let spawner = self.helper_now("spawner")?;
            proc::kill(spawner, libc::SIGSTOP);
            proc::is_held(spawner).then_some(spawner)
        });
        let below = proc::descendants(self.pid());
        self.signal(9);
        self.wait_for_end();
        proc::kill(spawner, 9);
        eventually("no process is left", || below.iter().all(|pid| !proc::is_alive(*pid)).then_some(()));
    }

    /// Ends it in order, and sees that nothing is left of it.
    #[track_caller]
    pub fn stop(&mut self) -> i32 {
        let below = proc::descendants(self.pid());
        self.signal(15);
        let code = self.wait_for_end();
        eventually("no process is left", || below.iter().all(|pid| !proc::is_alive(*pid)).then_some(()));
        code
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
        self.remove_cgroups();
    }
}

impl Supervisor {
    /// What a supervisor that a test has killed could not remove itself.
    fn remove_cgroups(&self) {
        let Ok(base) = std::fs::read_to_string(self.path("run/cgroup")) else { return };
        // Whoever is still dying in one keeps it for a moment.
        let until = Instant::now() + PATIENCE;
        while let Ok(groups) = std::fs::read_dir(&base) {
            for group in groups.filter_map(Result::ok).filter(|group| group.path().is_dir()) {
                let _ = std::fs::remove_dir(group.path());
            }
            if std::fs::remove_dir(&base).is_ok() || Instant::now() > until {
                break;
            }
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    fn end(&mut self) {
        if let Some(child) = self.child.take() {
            end_with_all_below(child);
        }
    }
}

/// Ends a program under test in order, else by force, and whatever it has left.
pub fn end_with_all_below(mut child: Child) {
    let below = proc::descendants(i64::from(child.id()));
    proc::kill(i64::from(child.id()), 15);
    let until = Instant::now() + PATIENCE / 2;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
        std::thread::park_timeout(LOOK_AGAIN);
    }
    let _ = child.kill();
    let _ = child.wait();
    // A test that failed may leave some: they are ours to end.
    for pid in below.into_iter().filter(|pid| proc::is_alive(*pid)) {
        proc::kill(pid, 9);
    }
}

/// Sends one varlink call.
pub fn send(stream: &mut UnixStream, method: &str, parameters: Value, more: bool) {
    let method = if method.contains('.') { method.to_owned() } else { format!("io.taskmaster.Control.{method}") };
    let mut bytes = json!({ "method": method, "parameters": parameters, "more": more }).to_string().into_bytes();
    bytes.push(0);
    // Who is refused may be told so, and left, before it has asked: the answer says why.
    let _ = stream.write_all(&bytes);
}

/// Receives one varlink answer; `None` at the end, or when it takes too long.
pub fn receive(reader: &mut impl BufRead) -> Option<Value> {
    let mut frame = Vec::new();
    reader.by_ref().read_until(0, &mut frame).ok()?;
    if frame.pop() != Some(0) {
        return None;
    }
    serde_json::from_slice(&frame).ok()
}
