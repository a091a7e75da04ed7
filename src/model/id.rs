//! Names and numbers that identify things, each with a type of its own, so that one is never taken
//! for the other: program names, processes (program and instance), channels, users, groups, process numbers.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest program name, in characters.
pub const NAME_MAX: usize = 64;

/// The name of a program as the configuration gives it: letters, digits, `_`, `-` and `.`, beginning
/// with a letter or a digit, at most [`NAME_MAX`] characters, and not `all`.
///
/// "Letters" are Unicode alphanumerics. No name can be a path, a selector or an option.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProgramName(Arc<str>);

/// Why a text is not a program name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameFault {
    Empty,
    TooLong(usize),
    Reserved,
    Start(char),
    Character(char),
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a program needs a name"),
            Self::TooLong(n) => write!(f, "a program name has at most {NAME_MAX} characters, this one has {n}"),
            Self::Reserved => write!(f, "`all` means every program and cannot name one"),
            Self::Start(c) => write!(f, "a program name begins with a letter or a digit, not with {c:?}"),
            Self::Character(c) => {
                write!(f, "a program name has letters, digits, `_`, `-` and `.`, but no {c:?}")
            }
        }
    }
}

impl ProgramName {
    /// Checks and takes over a name.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, NameFault> {
        let count = text.chars().count();
        let Some(first) = text.chars().next() else { return Err(NameFault::Empty) };
        if count > NAME_MAX {
            return Err(NameFault::TooLong(count));
        }
        if text == "all" {
            return Err(NameFault::Reserved);
        }
        if !first.is_alphanumeric() {
            return Err(NameFault::Start(first));
        }
        match text.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))) {
            Some(c) => Err(NameFault::Character(c)),
            None => Ok(Self(Arc::from(text))),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProgramName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ProgramName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl TryFrom<String> for ProgramName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).map_err(|fault| fault.to_string())
    }
}

impl From<ProgramName> for String {
    fn from(name: ProgramName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// One process of a program: the program and the number of the instance, counted from 0.
///
/// Always written `NAME:N` inside; people see [`ProcessId::shown`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    pub program: ProgramName,
    pub instance: u32,
}

impl ProcessId {
    pub fn new(program: &ProgramName, instance: u32) -> Self {
        Self { program: program.clone(), instance }
    }

    /// The name people see: just the program's when it has one process.
    pub fn shown(&self, numprocs: u32) -> String {
        if numprocs == 1 && self.instance == 0 { self.program.to_string() } else { self.to_string() }
    }

    /// The beginning of the names of its `auto` log files: `web`, or `web-0` of several.
    pub fn file_stem(&self, numprocs: u32) -> String {
        if numprocs == 1 && self.instance == 0 {
            self.program.to_string()
        } else {
            format!("{}-{}", self.program, self.instance)
        }
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.program, self.instance)
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(/// A user's number (`uid_t`).
    Uid, u32);
number!(/// A group's number (`gid_t`).
    Gid, u32);
number!(/// A process number (`pid_t`), for display and for matching; signals go through pidfds.
    Pid, i32);

impl Uid {
    pub fn is_root(self) -> bool {
        self.0 == 0
    }
}

/// A user or a group as the configuration names it: by name or by number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    Name(String),
    Id(u32),
}

impl Account {
    /// Reads a name or a decimal number.
    ///
    /// Digits only are a number. Refused, because each has once been read as root or as "leave it
    /// unchanged" elsewhere: the empty text, signs, `0x…`, 65535 and 4294967295 (-1 of 16 and 32 bits;
    /// setresuid(2) takes the latter as "do not change"), and names with characters outside
    /// `A-Za-z0-9._-` or beginning with a digit or `-`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the name is empty".to_owned());
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            let id = text.parse::<u32>().map_err(|_| format!("{text} is not a 32-bit id"))?;
            return Self::from_id(i64::from(id));
        }
        let first_ok = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let rest_ok = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            || text.strip_suffix('$').is_some_and(|t| t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        if first_ok && rest_ok && text.len() <= 256 {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(format!("{} is neither an account name nor a decimal id", super::text::quoted(text)))
        }
    }

    /// Takes a number that the configuration wrote without quotes.
    ///
    /// # Errors
    /// For numbers outside 0..=4294967294, and 65535.
    pub fn from_id(id: i64) -> Result<Self, String> {
        match u32::try_from(id) {
            Ok(u32::MAX | 65535) | Err(_) => {
                Err(format!("{id} cannot be used as an id (ids are 0 to 4294967294, without 65535)"))
            }
            Ok(id) => Ok(Self::Id(id)),
        }
    }

    pub fn is_root(&self) -> bool {
        matches!(self, Self::Id(0)) || matches!(self, Self::Name(n) if n == "root")
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.pad(name),
            Self::Id(id) => f.pad(&id.to_string()),
        }
    }
}

/// The name of a channel as rules and commands write it: `email`, `syslog`, `webhooks.chat`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelName(pub String);

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_options_or_selectors_are_refused() {
        for bad in ["", "all", "../x", ".x", "-x", "a b", "a:b", "a/b", "a*", "a\n", "a\u{7f}", &"x".repeat(65)] {
            assert!(ProgramName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["web", "0day", "a.b-c_d", "größe", &"x".repeat(64)] {
            assert_eq!(ProgramName::new(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn one_process_is_shown_by_the_name_of_its_program() {
        let web = ProgramName::new("web").expect("a name");
        assert_eq!(ProcessId::new(&web, 0).shown(1), "web");
        assert_eq!(ProcessId::new(&web, 0).shown(2), "web:0");
        assert_eq!(ProcessId::new(&web, 3).shown(1), "web:3");
        assert_eq!(ProcessId::new(&web, 0).file_stem(2), "web-0");
    }

    #[test]
    fn account_texts_that_were_read_as_root_elsewhere_are_refused() {
        for bad in ["", "0x0", "+0", "-1", "4294967295", "65535", "0day", "a b", "4294967296", "ro\u{0}ot", "-root"] {
            assert!(Account::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Account::parse("0"), Ok(Account::Id(0)));
        assert_eq!(Account::parse("www-data"), Ok(Account::Name("www-data".to_owned())));
        assert!(Account::from_id(-1).is_err());
        assert!(Account::parse("0").is_ok_and(|a| a.is_root()));
    }
}
