//! Who may ask what of the supervisor, as it is configured and as the kernel knows a client: verbs,
//! `[[control.allow]]` rules, and the identity of a peer. What follows from them is decided in
//! `policy::permission`.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt;

use glob::Pattern;

use super::id::{Account, Gid, Uid};

macro_rules! verbs {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// What a client can be allowed to do: the methods of the control interface, in lower case.
        /// `Events` and `Security` go with `status`, and the paths in the latter with `config`.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Verb { $($variant),* }

        impl Verb {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

verbs! {
    Status "status",
    Start "start",
    Stop "stop",
    Restart "restart",
    Signal "signal",
    Tail "tail",
    Clear "clear",
    Attach "attach",
    Config "config",
    Notify "notify",
    Reload "reload",
    Reopen "reopen",
    Shutdown "shutdown",
    Version "version",
}

impl Verb {
    /// Whether it can be done to single programs; the others concern the supervisor as a whole.
    pub fn is_of_programs(self) -> bool {
        !matches!(self, Self::Reopen | Self::Shutdown | Self::Version)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One `[[control.allow]]`: these users, and the members of these groups, may do this with these programs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Allow {
    pub users: Vec<Account>,
    pub groups: Vec<Account>,
    /// Over the names of programs and their `group_name`.
    pub programs: Vec<Pattern>,
    /// Never empty.
    pub verbs: BTreeSet<Verb>,
}

/// The pattern of every program, and the only one that also means the supervisor as a whole.
pub const EVERY_PROGRAM: &str = "*";

/// Who connected, as the kernel vouches for it: the credentials at that time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub uid: Uid,
    pub gid: Gid,
    /// The supplementary groups.
    pub groups: BTreeSet<Gid>,
}
