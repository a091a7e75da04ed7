//! What tests of alerts share: settings at a pace that a test can wait for, programs that crash on demand,
//! and looks at what waits.

use std::time::Duration;

use serde_json::Value;

use super::{Ctl, Supervisor, eventually, proc, within};

/// Nothing waits long, nothing is held back, and nobody is told of an end.
pub const FAST: &str = "[notify]\ngroup_wait = \"100ms\"\ngroup_interval = \"200ms\"\nrecovery_after = \"1h\"\n\
     remind_after = []\nflap_count = 1000\nrate_limit = { burst = 1000, interval = \"1s\" }\n";

/// The first try after a failure of the channel comes within 18 seconds.
pub const FIRST_RETRY: Duration = super::PATIENCE.saturating_add(Duration::from_secs(20));

/// [`FAST`] with ends that are told, so much later than the beginnings that these are told before.
pub fn with_recovery() -> String {
    FAST.replace("\"1h\"", "\"1000ms\"")
}

/// A program that says something on standard error when it starts, runs until it is killed, and is started
/// again soon.
pub fn program(name: &str) -> String {
    with_script(name, &format!("echo {name} has said this >&2; exec sleep 1000"))
}

pub fn with_script(name: &str, script: &str) -> String {
    let script = serde_json::to_string(script).expect("text");
    format!(
        "[programs.\"{name}\"]\ncmd = [\"sh\", \"-c\", {script}]\nuser = \"nobody\"\nstarttime = 0\n\
         backoff = {{ initial = \"50ms\", step = \"0s\" }}\n"
    )
}

/// `[notify.email]` to somebody, in clear text, without a password.
pub fn email(port: u16) -> String {
    format!(
        "[notify.email]\nserver = \"127.0.0.1:{port}\"\ntls = \"none\"\nfrom = \"Taskmaster <tm@example.test>\"\n\
         to = [\"ops@example.test\"]\n"
    )
}

impl Supervisor {
    /// Kills the process of a program and waits until another one runs; the event of it.
    #[track_caller]
    pub fn crash(&self, name: &str) -> Value {
        self.wait_for_execution(name);
        let before = self.crashes_of(name).len();
        let pid = self.pid_of(name);
        proc::kill(pid, 9);
        eventually(&format!("{name} is started again"), || {
            self.pid_now(name).filter(|new| *new != pid && self.state(name) == "RUNNING")
        });
        eventually(&format!("the crash of {name} is in the event log"), || {
            Some(self.crashes_of(name)).filter(|all| all.len() > before)?.pop()
        })
    }

    /// Waits until a program has said what [`program`] lets it say.
    #[track_caller]
    pub fn wait_for_words(&self, name: &str) {
        let log = format!("log/{name}.stderr.log");
        eventually(&format!("{name} speaks"), || self.read(&log).contains(" has said this").then_some(()));
    }

    pub fn crashes_of(&self, name: &str) -> Vec<Value> {
        let mut events = self.events_of(name);
        events.retain(|event| event["kind"] == "process.crashed");
        events
    }

    /// The name of the machine, as the events have it.
    pub fn host(&self) -> String {
        self.wait_for_event("the start", |_| true)["host"].as_str().expect("a name").to_owned()
    }

    /// What `notify queue` shows.
    #[track_caller]
    pub fn alert_queue(&self) -> Value {
        let shown = self.ctl(&["--json", "notify", "queue"]);
        assert_eq!(shown.code, 0, "{shown:?}");
        serde_json::from_str(&shown.stdout).expect("JSON")
    }

    /// Waits until `notify queue` is so.
    #[track_caller]
    pub fn wait_for_queue(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.wait_for_queue_within(super::PATIENCE, what, is)
    }

    #[track_caller]
    pub fn wait_for_queue_within(&self, patience: Duration, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        within(patience, what, || {
            let queue = self.alert_queue();
            std::thread::park_timeout(Duration::from_millis(50));
            Some(queue).filter(|queue| is(queue))
        })
    }

    /// Waits until so many messages wait, and gives the answer.
    #[track_caller]
    pub fn wait_for_waiting(&self, count: usize) -> Value {
        self.wait_for_queue(&format!("{count} messages wait"), |queue| of(queue, "waiting").len() >= count)
    }

    /// Waits until a channel fails, and gives the cause.
    #[track_caller]
    pub fn wait_for_cause(&self, channel: &str) -> String {
        let queue = self.wait_for_queue_within(FIRST_RETRY, &format!("{channel} fails"), |queue| {
            of(queue, "channels").iter().any(|one| one["channel"] == channel && one["cause"].is_string())
        });
        let one = of(&queue, "channels").iter().find(|one| one["channel"] == channel).expect("it is there");
        one["cause"].as_str().expect("text").to_owned()
    }

    /// Sends now what waits.
    #[track_caller]
    pub fn retry_alerts(&self) {
        let done = self.ctl(&["notify", "retry"]);
        assert_eq!(done.code, 0, "{done:?}");
    }

    pub fn notify(&self, arguments: &[&str]) -> Ctl {
        self.ctl(&[&["notify"], arguments].concat())
    }
}

/// A list of the answer.
#[track_caller]
pub fn of<'a>(queue: &'a Value, which: &str) -> &'a [Value] {
    queue[which].as_array().unwrap_or_else(|| panic!("no {which} in {queue}"))
}
