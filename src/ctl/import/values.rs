//! Values as supervisord's own conversions take them, within the bounds that ours have.
#![forbid(unsafe_code)]

use crate::model::signal::Signal;

use super::ini::strip;

/// Python's `int(text)`.
pub fn integer(text: &str) -> Option<i64> {
    let text = strip(text);
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (if text.starts_with('-') { -1 } else { 1 }, digits),
        None => (1, text),
    };
    digits_of(digits)?.parse::<i64>().ok().map(|number| sign * number)
}

/// Digits with single underscores between them.
fn digits_of(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('_').collect();
    let all = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    all.then(|| parts.concat())
}

/// Python's `int(text, 8)`.
pub fn octal(text: &str) -> Option<u32> {
    let text = strip(text);
    let digits = text.strip_prefix(['+']).unwrap_or(text);
    let digits = digits.strip_prefix("0o").or_else(|| digits.strip_prefix("0O")).unwrap_or(digits);
    u32::from_str_radix(&digits_of(digits)?, 8).ok()
}

pub fn boolean(text: &str) -> Option<bool> {
    match &*text.to_lowercase() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Bytes, 1024-based.
pub fn size(text: &str) -> Option<i64> {
    let text = text.to_lowercase();
    let (count, unit) = [("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30)]
        .iter()
        .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|count| (count, *unit)))
        .unwrap_or((&text, 1));
    integer(count)?.checked_mul(unit)
}

/// Our spelling of a size.
pub fn written_size(bytes: i64) -> String {
    let units = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    match units.iter().find(|(unit, _)| bytes > 0 && bytes % unit == 0) {
        Some((unit, name)) => format!("\"{}{name}\"", bytes / unit),
        None => bytes.to_string(),
    }
}

pub fn exit_codes(text: &str) -> Option<Vec<i64>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let codes: Option<Vec<i64>> = text.split(',').map(integer).collect();
    codes.filter(|codes| codes.iter().all(|code| (0..=255).contains(code)))
}

/// A signal by name or number, with our spelling of it.
pub fn signal(text: &str) -> Option<String> {
    let text = strip(text).to_uppercase();
    let signal = match integer(&text) {
        Some(number) => Signal::from_number(i32::try_from(number).ok()?),
        None => Signal::parse(&text),
    };
    signal.map(|signal| signal.to_string())
}

/// `a, b` without the spaces.
pub fn list(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split(',').map(strip).collect() }
}

/// `unexpected`, or our word for a boolean.
pub fn autorestart(text: &str) -> Option<&'static str> {
    match boolean(text) {
        Some(true) => Some("always"),
        Some(false) => Some("never"),
        None => (text.to_lowercase() == "unexpected").then_some("unexpected"),
    }
}

/// Whether a name can be that of a variable in ours, too.
pub fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_python() {
        for (text, number) in [("5", 5), (" +5 ", 5), ("-3", -3), ("1_000", 1000), ("007", 7)] {
            assert_eq!(integer(text), Some(number), "{text}");
        }
        for text in ["", "5s", "1.5", "1__0", "_1", "0x10", "--1", "99999999999999999999"] {
            assert_eq!(integer(text), None, "{text}");
        }
        assert_eq!(
            (octal("022"), octal("22"), octal("0o22"), octal("9"), octal("")),
            (Some(18), Some(18), Some(18), None, None)
        );
        assert_eq!(
            (size("50MB"), size("1kb"), size("7"), size("5 gb"), size("5M")),
            (Some(50 << 20), Some(1024), Some(7), Some(5 << 30), None)
        );
        assert_eq!(
            (written_size(50 << 20), written_size(1000), written_size(0)),
            ("\"50MB\"".into(), "1000".into(), "0".into())
        );
    }

    #[test]
    fn words_are_those_of_supervisord() {
        assert_eq!(
            (boolean("YES"), boolean("0"), boolean("maybe"), boolean("")),
            (Some(true), Some(false), None, None)
        );
        assert_eq!(
            (autorestart("Unexpected"), autorestart("true"), autorestart("always")),
            (Some("unexpected"), Some("always"), None)
        );
        assert_eq!(
            (exit_codes("0,2"), exit_codes(""), exit_codes("256"), exit_codes("a")),
            (Some(vec![0, 2]), Some(vec![]), None, None)
        );
        assert_eq!(
            (signal("sigquit").as_deref(), signal("15").as_deref(), signal("0"), signal("NOPE")),
            (Some("QUIT"), Some("TERM"), None, None)
        );
    }
}
