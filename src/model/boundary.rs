//! The boundary around a process, in facts and in findings: what is configured, what was granted when it
//! was started, what the kernel says of it now, and what was found to be missing. The facts are judged in
//! `policy::exposure`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::capability::{self, CapabilitySet};
use super::id::{Gid, Uid};
use super::program::{Keyring, KillMode, Limit, Resource};

/// A process's users, or its groups (credentials(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ids {
    pub real: u32,
    pub effective: u32,
    pub saved: u32,
    pub filesystem: u32,
}

impl Ids {
    pub fn all(self) -> [u32; 4] {
        [self.real, self.effective, self.saved, self.filesystem]
    }
}

/// The capability sets of a process (capabilities(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CapabilitySets {
    #[serde(with = "capability::names")]
    pub effective: CapabilitySet,
    #[serde(with = "capability::names")]
    pub permitted: CapabilitySet,
    #[serde(with = "capability::names")]
    pub inheritable: CapabilitySet,
    #[serde(with = "capability::names")]
    pub bounding: CapabilitySet,
    #[serde(with = "capability::names")]
    pub ambient: CapabilitySet,
}

/// What filters a process's system calls (seccomp(2)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    Disabled,
    Strict,
    Filter,
}

impl Seccomp {
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Strict => "strict",
            Self::Filter => "filter",
        }
    }
}

/// A live process, as the kernel shows it to anybody.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Live {
    pub uid: Ids,
    pub gid: Ids,
    /// The supplementary groups.
    pub groups: Vec<Gid>,
    pub capabilities: CapabilitySets,
    /// It is in a user namespace of its own: its capabilities hold there only.
    pub other_user_namespace: bool,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    #[serde(with = "octal::option")]
    pub umask: Option<u32>,
    pub limits: BTreeMap<Resource, Limit>,
    /// In the version 2 hierarchy, as the supervisor sees it.
    pub control_group: Option<String>,
    /// Whether it is in the control group that was made for it; `None`: none are made.
    pub own_control_group: Option<bool>,
}

/// What a clone had when it became the program, as it verified it itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    pub uid: Uid,
    pub gid: Gid,
    /// Supplementary groups; `None`: too many to tell.
    pub groups: Option<Vec<Gid>>,
    /// All it can have after execution; `None`: nothing was taken from it.
    #[serde(with = "capability::names::option")]
    pub capabilities: Option<CapabilitySet>,
    /// `None`: nothing was taken from it.
    #[serde(with = "capability::names::option")]
    pub bounding: Option<CapabilitySet>,
    pub no_new_privileges: bool,
    /// As they were then.
    pub files: Vec<FileFact>,
}

/// What a file is to a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileRole {
    /// The program file of the command.
    Executable,
    /// A file that the command names besides: a script, a configuration.
    Argument,
    WorkingDirectory,
    Log,
}

impl FileRole {
    pub const ALL: [Self; 4] = [Self::Executable, Self::Argument, Self::WorkingDirectory, Self::Log];
}

/// Who can change a file, or put another in its place. Root always can.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileFact {
    pub role: FileRole,
    /// Null for whoever may not know the configuration.
    pub path: Option<String>,
    /// The program's own user, where that is not root.
    pub by_user: bool,
    /// Somebody who is neither root nor that user.
    pub by_others: bool,
}

/// The configured boundary of a program, as far as it is known without asking the system.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Runs as root by its configuration.
    pub root: bool,
    /// Runs as nobody by its configuration.
    pub nobody: bool,
    /// `None`: not configured.
    #[serde(with = "capability::names::option")]
    pub capabilities: Option<CapabilitySet>,
    #[serde(with = "capability::names::option")]
    pub capability_bounding: Option<CapabilitySet>,
    pub no_new_privileges: bool,
    #[serde(with = "octal")]
    pub umask: u32,
    /// Those that are configured; the others are the supervisor's.
    pub limits: BTreeMap<Resource, Limit>,
    pub keyring: Keyring,
    pub mdwe: bool,
    /// Whether it gets the supervisor's whole environment.
    pub inherits_environment: bool,
    pub kill_mode: KillMode,
    /// Whether landlock limits it to some paths; the kernel does not show that.
    pub restrict_paths: bool,
}

/// One judged part of the boundary.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Check {
    /// Stable, in snake case.
    pub name: String,
    /// How much it counts, compared with the others.
    pub weight: u32,
    /// 0 (nothing is missing) to `range`.
    pub badness: u32,
    pub range: u32,
    /// Its share of the exposure, 0.0 to 10.0.
    pub exposure: f64,
    /// The kernel says something else than was configured: a boundary does not hold.
    pub mismatch: bool,
    pub description: String,
    /// The key of the configuration that mends it, if one does.
    pub key: Option<String>,
}

impl Check {
    pub fn is_finding(&self) -> bool {
        self.badness > 0
    }
}

/// An exposure in tenths, 0 to 100, in a word.
///
/// Words and bounds are those of `systemd-analyze security` (systemd, src/analyze/analyze-security.c,
/// `badness_table`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Perfect,
    Safe,
    Ok,
    Medium,
    Exposed,
    Unsafe,
    Dangerous,
}

impl Level {
    pub fn of(tenths: u32) -> Self {
        match tenths {
            0 => Self::Perfect,
            1..=9 => Self::Safe,
            10..=49 => Self::Ok,
            50..=74 => Self::Medium,
            75..=89 => Self::Exposed,
            90..=99 => Self::Unsafe,
            _ => Self::Dangerous,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Perfect => "PERFECT",
            Self::Safe => "SAFE",
            Self::Ok => "OK",
            Self::Medium => "MEDIUM",
            Self::Exposed => "EXPOSED",
            Self::Unsafe => "UNSAFE",
            Self::Dangerous => "DANGEROUS",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

pub mod octal {
    //! File modes and masks as people write them: `"022"`.
    use serde::{Deserialize, Deserializer, Serializer, de};

    fn parse<E: de::Error>(text: &str) -> Result<u32, E> {
        u32::from_str_radix(text, 8).map_err(|_| E::custom("an octal number is expected"))
    }

    /// # Errors
    /// The format's.
    pub fn serialize<S: Serializer>(mode: &u32, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{mode:03o}"))
    }

    /// # Errors
    /// What is no octal number.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        parse(&String::deserialize(from)?)
    }

    pub mod option {
        //! The same where there may be none.
        use super::{Deserialize, Deserializer, Serializer, parse};

        /// # Errors
        /// The format's.
        pub fn serialize<S: Serializer>(mode: &Option<u32>, to: S) -> Result<S::Ok, S::Error> {
            match mode {
                Some(mode) => super::serialize(mode, to),
                None => to.serialize_none(),
            }
        }

        /// # Errors
        /// What is no octal number.
        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
            Option::<String>::deserialize(from)?.as_deref().map(parse).transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_begin_where_systemds_do() {
        let words = [(0, "PERFECT"), (1, "SAFE"), (10, "OK"), (50, "MEDIUM"), (75, "EXPOSED"), (90, "UNSAFE")];
        let mut last = Level::Perfect;
        for (tenths, word) in words {
            assert_eq!(Level::of(tenths).name(), word);
            assert!(tenths == 0 || Level::of(tenths - 1) < Level::of(tenths), "{word} begins at {tenths}");
        }
        for tenths in 0..=200 {
            assert!(Level::of(tenths) >= last, "{tenths}");
            last = Level::of(tenths);
        }
        assert_eq!(Level::of(100), Level::Dangerous);
    }
}
