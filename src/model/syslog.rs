//! What events and the lines of programs have in common on their way to a log daemon: the number that a message
//! begins with, its tag, and the form that daemons take on their local socket.
//!
//! That form is RFC 3164 without time and host name, as its §4.3 lets a sender leave them out: the daemon puts its
//! own there. Most take theirs in any case; the others would believe a time that says nothing of its zone, which
//! a worker that may open no file does not know. journald takes a host name for the tag. Events are written so by the
//! `syslog` crate, less its time, in the notifier, which a test holds to this form; the logger does not need that crate.
#![forbid(unsafe_code)]

use std::fmt::Write;

use super::event::Severity;

/// The socket of the local daemon, where nothing else is configured.
pub const LOCAL: &str = "/dev/log";
/// The facility, where nothing else is configured: `daemon`.
pub const DAEMON: u8 = 3;
/// The highest facility, `local7`.
const FACILITY_MAX: u8 = 23;
/// RFC 3164 §4.1.3.
const TAG_MAX: usize = 32;
/// The longest text of a message: with what stands before it, it is no more than 8096 bytes, where rsyslog cuts
/// unless it is told otherwise. journald takes more.
pub const TEXT_MAX: usize = 8000;

/// The number of a severity (RFC 5424 §6.2.1).
pub fn number(severity: Severity) -> u8 {
    match severity {
        Severity::Crit => 2,
        Severity::Err => 3,
        Severity::Warning => 4,
        Severity::Notice => 5,
        Severity::Info => 6,
    }
}

/// What a message begins with, 0 to 191 (RFC 5424 §6.2.1).
pub fn priority(facility: u8, severity: Severity) -> u8 {
    facility.min(FACILITY_MAX) * 8 + number(severity)
}

/// Printable ASCII without spaces, at most so long; `-` for nothing. Other bytes stand as `%C3`, so that two
/// names do not become one.
pub fn name(text: &str, max: usize) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_graphic() && byte != b'%';
        if out.len() + if is_plain { 1 } else { 3 } > max {
            break;
        }
        if is_plain {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    if out.is_empty() { "-".to_owned() } else { out }
}

/// A tag of RFC 3164: what ends one there (`:`, `[`, a space) cannot stand in it.
pub fn tag(text: &str) -> String {
    name(&text.replace([':', '[', ']', '/'], "_"), TAG_MAX)
}

/// `<27>web[77]: text`. The text is on one line, whatever it says: it cannot begin another message.
pub fn local(priority: u8, of: &str, pid: Option<i32>, text: &str) -> String {
    let tag = tag(of);
    match pid {
        Some(pid) => format!("<{priority}>{tag}[{pid}]: {text}"),
        None => format!("<{priority}>{tag}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_printable_ascii_and_to_their_length() {
        assert_eq!(name("", 48), "-");
        assert_eq!(name("täsk master", 48), "t%C3%A4sk%20master");
        assert_eq!(name("ää", 7), "%C3%A4");
        assert_eq!(tag("my app[1]: x"), "my%20app_1__%20x");
    }

    #[test]
    fn a_message_has_its_number_and_its_tag_before_all_else() {
        assert_eq!(local(priority(DAEMON, Severity::Info), "web", Some(7), "<0>x"), "<30>web[7]: <0>x");
        assert_eq!(local(priority(99, Severity::Warning), "a:b", None, ""), "<188>a_b: ");
    }

    #[test]
    fn the_longest_message_is_one_that_rsyslog_takes_whole() {
        let text = "x".repeat(TEXT_MAX);
        assert!(local(u8::MAX, &"t".repeat(100), Some(i32::MIN), &text).len() <= 8096);
    }
}
