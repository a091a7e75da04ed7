//! The stages of a start, so that a failed one can be told as "changing to the working directory: no
//! such file or directory". Each is one step of `spawner::drop`, in that order.
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! stages {
    ($($(#[$doc:meta])* $variant:ident $name:literal $words:literal),* $(,)?) => {
        /// One step between the request to start a program and its execution.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Stage { $($(#[$doc])* $variant),* }

        impl Stage {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in events: one word.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What was being done, to be followed by `: ` and the error.
            pub fn words(self) -> &'static str {
                match self { $(Self::$variant => $words),* }
            }
        }
    };
}

stages! {
    /// The core could not make the pipes and descriptors.
    Prepare "prepare" "preparing the start",
    /// The spawner could not be asked, or died.
    Spawner "spawner" "asking the spawner",
    /// The group could not be made, or the process is not in it.
    ControlGroup "control_group" "placing it in a control group of its own",
    /// clone3(2) failed.
    Clone "clone" "creating the process",
    Descriptors "descriptors" "marking inherited descriptors close-on-exec",
    Account "account" "looking up the user or group",
    Signals "signals" "resetting signals",
    Session "session" "starting a session of its own",
    Tty "tty" "setting up the terminal",
    /// A log file that root's directories hold, opened before the change of user, or any other, as the user.
    Output "output" "opening the log file",
    Stdio "stdio" "connecting standard input and output",
    Priority "priority" "setting nice, ioprio, cpu_affinity or oom_score_adj",
    Umask "umask" "setting the umask",
    Limits "limits" "setting resource limits",
    Keyring "keyring" "joining a session keyring of its own",
    Groups "groups" "setting the groups",
    /// Before the change of user: the bounding set, and keeping what is to be kept.
    Bounding "bounding" "limiting the capabilities",
    User "user" "changing to the user",
    /// After it: exactly the configured sets.
    Capabilities "capabilities" "setting the capabilities",
    Deathsig "deathsig" "asking for a signal when the supervisor dies",
    Chdir "chdir" "changing to the working directory",
    NoNewPrivs "no_new_privs" "giving up new privileges",
    Mdwe "mdwe" "denying memory that is writable and executable",
    RestrictPaths "restrict_paths" "restricting the paths",
    Exec "exec" "executing the command",
    /// The start took too long, in whichever stage it was.
    Timeout "timeout" "starting in time",
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a program was not executed: the stage, the error number where there is one, and more in words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StartFailure {
    pub stage: Stage,
    /// The errno, or 0 when the failure has none (an unknown user).
    pub errno: i32,
    /// What the step worked on: a path, a name; may be empty.
    pub subject: String,
    /// The error in words, as strerror(3) has it or our own.
    pub error: String,
}

/// `changing to the working directory /srv/app: No such file or directory`.
impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stage.words())?;
        if !self.subject.is_empty() {
            write!(f, " {}", super::text::escaped(&self.subject))?;
        }
        write!(f, ": {}", super::text::escaped(&self.error))
    }
}
