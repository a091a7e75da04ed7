//! journald alone in a namespace, without systemd. It ends by itself when it has had nothing to do for half a
//! minute: it is started right before it is needed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::{Daemon, tool};
use crate::support::eventually;

pub struct Journald {
    namespace: String,
    daemon: Daemon,
}

impl Journald {
    pub fn start(log: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("tmtest{}x{number}", std::process::id());
        let mut command = Command::new("/lib/systemd/systemd-journald");
        command.arg(&namespace);
        let daemon = Daemon::start("journald", &mut command, log);
        let mut started = Self { namespace, daemon };
        let socket = started.socket();
        started.daemon.wait_until_ready(log, || socket.exists());
        started
    }

    /// Of its own protocol.
    pub fn socket(&self) -> PathBuf {
        self.run().join("socket")
    }

    /// Of syslog(3).
    pub fn log_socket(&self) -> PathBuf {
        self.run().join("dev-log")
    }

    fn run(&self) -> PathBuf {
        format!("/run/systemd/journal.{}", self.namespace).into()
    }

    /// All entries with all their fields.
    pub fn entries(&self) -> Vec<Value> {
        let mut command = Command::new("journalctl");
        command.arg(format!("--namespace={}", self.namespace)).args(["-o", "json", "--all", "--no-pager", "-q"]);
        tool(&mut command).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("in the journal: {what}"), || self.entries().into_iter().find(|entry| is(entry)))
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        self.daemon.stop();
        let _ = std::fs::remove_dir_all(self.run());
        let ending = format!(".{}", self.namespace);
        for place in ["/run/log/journal", "/var/log/journal"] {
            let entries = std::fs::read_dir(place).into_iter().flatten().filter_map(Result::ok);
            for entry in entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(&ending)) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}
