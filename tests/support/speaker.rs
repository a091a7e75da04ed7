//! Programs that speak, and a command that listens to them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::supervisor::TASKMASTERCTL;
use super::{PATIENCE, Supervisor, user};

/// A program of a few lines of sh.
pub fn script(name: &str, script: &str, more: &str) -> String {
    assert!(!script.contains('\''), "it stands between these");
    format!("[programs.{name}]\ncmd = [\"sh\", \"-c\", '{script}']\nstarttime = 0\n{}\n{more}\n", user())
}

/// A command that goes on until the test has seen enough.
pub struct Following {
    child: Child,
    reader: BufReader<std::process::ChildStdout>,
}

impl Following {
    pub fn start(supervisor: &Supervisor, arguments: &[&str]) -> Self {
        let mut child = Command::new(TASKMASTERCTL)
            .arg("-s")
            .arg(supervisor.socket())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskmasterctl runs");
        let reader = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, reader }
    }

    /// The next line. What never comes ends with the test's time limit: the follower is killed then.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let ready = {
            use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
            let mut descriptors = [PollFd::new(std::os::fd::AsFd::as_fd(self.reader.get_ref()), PollFlags::POLLIN)];
            let limit = PollTimeout::try_from(PATIENCE).expect("in range");
            !self.reader.buffer().is_empty() || matches!(poll(&mut descriptors, limit), Ok(ready) if ready > 0)
        };
        assert!(ready, "nothing came within {PATIENCE:?}");
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("reads");
        line
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
