//! Signals by name and number, real-time ones included.
//!
//! A table of its own: library enums of signals know no real-time signals and take only the spelling
//! `SIGTERM`. Numbers are those of Linux on every architecture that Rust and systemd share today except
//! MIPS, SPARC and Alpha, which Taskmaster does not support.
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};

/// A signal that can be sent: 1 to 64 without 32 and 33, which glibc keeps for itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(u8);

const NAMES: [(&str, u8); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// glibc's SIGRTMIN and SIGRTMAX on Linux.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

impl Signal {
    pub const HUP: Self = Self(1);
    pub const INT: Self = Self(2);
    pub const KILL: Self = Self(9);
    pub const USR1: Self = Self(10);
    pub const TERM: Self = Self(15);
    pub const CONT: Self = Self(18);
    pub const WINCH: Self = Self(28);

    /// The signal with this number, if it can be sent.
    pub fn from_number(number: i32) -> Option<Self> {
        u8::try_from(number).ok().filter(|n| matches!(n, 1..=31 | RTMIN..=RTMAX)).map(Self)
    }

    /// Reads `TERM`, `SIGTERM`, `term`, `15`, `RTMIN+1`, `SIGRTMAX-2`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return Self::from_number(text.parse().ok()?);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let offset = |rest: &str, sign: char| match rest.strip_prefix(sign) {
            Some(n) if n.bytes().all(|b| b.is_ascii_digit()) => n.parse::<u8>().ok(),
            Some(_) => None,
            None => rest.is_empty().then_some(0),
        };
        let number = if let Some(rest) = name.strip_prefix("RTMIN") {
            RTMIN.checked_add(offset(rest, '+')?)?
        } else if let Some(rest) = name.strip_prefix("RTMAX") {
            RTMAX.checked_sub(offset(rest, '-')?).filter(|n| *n >= RTMIN)?
        } else {
            match name {
                "IOT" => 6,
                "CLD" => 17,
                "POLL" => 29,
                _ => NAMES.iter().find(|(known, _)| *known == name)?.1,
            }
        };
        Self::from_number(i32::from(number))
    }

    pub fn number(self) -> i32 {
        i32::from(self.0)
    }

    /// Every name without the `SIG`, for completion and suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
}

/// The name without `SIG`: `TERM`, `RTMIN+1`.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.pad(name),
            None if self.0 == RTMIN => f.pad("RTMIN"),
            None => f.pad(&format!("RTMIN+{}", self.0.saturating_sub(RTMIN))),
        }
    }
}

impl TryFrom<String> for Signal {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{} is not a signal", super::text::quoted(&text)))
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_signal_means_the_same() {
        for text in ["TERM", "SIGTERM", "term", "sigterm", "15"] {
            assert_eq!(Signal::parse(text), Some(Signal::TERM), "{text}");
        }
        assert_eq!(Signal::parse("RTMIN+1").map(Signal::number), Some(35));
        assert_eq!(Signal::parse("SIGRTMAX-2").map(Signal::number), Some(62));
        assert_eq!(Signal::parse("RTMIN"), Signal::from_number(34));
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in [
            "",
            "SIG",
            "0",
            "32",
            "33",
            "65",
            "-1",
            "TERMX",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN-1",
            "RTMIN+",
            "RTMIN++1",
            "999999999999",
        ] {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_reads_back_as_its_signal() {
        for number in 0..=70 {
            if let Some(signal) = Signal::from_number(number) {
                assert_eq!(Signal::parse(&signal.to_string()), Some(signal));
            }
        }
    }
}
