//! `--demo`: a configuration that needs nothing on the machine, under a directory of its own.

use std::path::{Path, PathBuf};

use crate::config::{Config, Directories, Environment, Faults, Files};
use crate::model::id::Uid;

use super::load;

/// Programs that show what a supervisor is for. `USER` stands for the line with the user, as root.
const TEXT: &str = r#"
# Mails are files here, and come soon.
[notify]
group_wait = "3s"
[notify.email]
transport = "maildir"
maildir = "@mail@"
from = "taskmaster@localhost"
to = ["you@localhost"]

# A steady worker, three times.
[programs.worker]
cmd = ["sh", "-c", 'trap "exit 0" TERM; echo "worker $TASKMASTER_INSTANCE up as $(id -un)"; while :; do sleep 1 & wait $!; done']
numprocs = 3
@nobody@

# Talks a lot: its log is rotated.
[programs.chatty]
cmd = ["sh", "-c", 'n=0; while :; do n=$((n+1)); echo "line $n: $(date)"; sleep 0.05; done']
log_maxbytes = "4KB"
log_backups = 2
@daemon@

# Crashes now and then, and is started again.
[programs.flaky]
cmd = ["sh", "-c", 'echo "flaky: here I am"; sleep 7; echo "flaky: out of luck" >&2; kill -s SEGV $$$$']
@nobody@

# Can never start: the supervisor says why, tries again, and gives up.
[programs.broken]
cmd = "/nonexistent/program --with arguments"
startretries = 2
@daemon@

# Started by hand: `start oneshot`; its exit code 0 is expected.
[programs.oneshot]
cmd = ["sh", "-c", 'echo "oneshot: working"; sleep 2; echo "oneshot: done"']
autostart = false
starttime = 0
@nobody@
"#;

/// The demo's files, removed with it.
pub struct Demo {
    pub directory: PathBuf,
}

struct BuiltIn(String);

impl Files for BuiltIn {
    fn read(&mut self, _path: &Path) -> Result<String, String> {
        Ok(self.0.clone())
    }

    fn glob(&mut self, _pattern: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }

    fn exists(&mut self, _path: &Path) -> bool {
        true
    }

    fn secret(&mut self, _path: &Path) -> Result<(), String> {
        Err("the demo has no secrets".to_owned())
    }

    fn is_private(&mut self, _path: &Path) -> bool {
        true
    }
}

impl Demo {
    /// Makes the directory.
    ///
    /// # Errors
    /// As mkdtemp(3).
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { directory: crate::system::directory::temporary("taskmaster-demo-")? })
    }

    /// The built-in configuration.
    ///
    /// # Errors
    /// None: it is ours (a test says so).
    pub fn config(&self, own: Uid) -> Result<Config, Faults> {
        let defaults = Directories {
            log_dir: self.directory.join("log"),
            state_dir: self.directory.join("state"),
            runtime_dir: self.directory.join("run"),
        };
        let environment = Environment { defaults, ..load::environment(own) };
        let path = self.directory.join("demo.toml");
        let text = text(own.is_root()).replace("@mail@", &self.mail().to_string_lossy());
        crate::config::load(&path, &mut BuiltIn(text), &environment)
    }

    /// Where its mails are.
    pub fn mail(&self) -> PathBuf {
        self.directory.join("mail")
    }
}

/// The text, with users as root and without otherwise.
fn text(root: bool) -> String {
    let user = |name: &str| if root { format!("user = \"{name}\"") } else { String::new() };
    TEXT.replace("@nobody@", &user("nobody")).replace("@daemon@", &user("daemon"))
}

impl Drop for Demo {
    fn drop(&mut self) {
        // What cannot be removed is named on the screen from the start.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_a_valid_configuration_for_root_and_for_everybody() {
        let demo = Demo::new().expect("a directory");
        for own in [Uid(0), Uid(1000)] {
            let config = demo.config(own).map_err(|faults| faults.to_string()).expect("valid");
            assert_eq!(config.programs.len(), 5);
            assert!(config.supervisor.log_dir.starts_with(&demo.directory));
            assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        }
    }
}
