//! Making foreign text safe to show: every byte that comes from a program, a client or a file passes
//! through here before it reaches a terminal, a log line or a header.
//!
//! Escaped are the control characters of C0 and C1, DEL, the characters that change the direction of
//! text (they make a line read other than it is) and whatever is not UTF-8. What is harmless stays as it
//! is, so that names in any script remain legible.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::Write;

/// Characters that would act on a terminal or reorder the text around them.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if u32::from(c) < 0x100 => {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        }
        c => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

/// The text on one line, without anything that acts on a terminal.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) { push_escaped(&mut out, c) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Like [`escaped`], but leaves the tab alone: for lines of a program's output.
pub fn escaped_line(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_unsafe(c) && c != '\t' { push_escaped(&mut out, c) } else { out.push(c) }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// In double quotes, with `"`, `\` and all that [`escaped`] escapes written with a backslash.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if is_unsafe(c) => push_escaped(&mut out, c),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// JSON text with every unsafe character inside its strings written as `\\uXXXX`, which JSON itself asks
/// only of the characters below U+0020. Line feeds between values stay.
pub fn json_escaped(json: &str) -> Cow<'_, str> {
    let acts = |c: char| c != '\n' && is_unsafe(c);
    if !json.chars().any(acts) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if acts(c) {
            // Everything unsafe lies below U+10000: one escape is one character.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A value of `key=value` in the event log: quoted only where it must be (empty, spaces, quotes, `=`,
/// backslashes, anything unsafe).
pub fn log_value(text: &str) -> Cow<'_, str> {
    let plain =
        !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || matches!(c, '"' | '=' | '\\') || is_unsafe(c));
    if plain { Cow::Borrowed(text) } else { Cow::Owned(quoted(text)) }
}

/// At most `max` bytes of the text, cut between characters.
pub fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max { text } else { &text[..text.floor_char_boundary(max)] }
}

/// At most `max` bytes of the text (10 at least); what was cut is marked.
pub fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    const MARK: &str = " [...]";
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}{MARK}", cut(text, max.saturating_sub(MARK.len()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_survives() {
        assert_eq!(escaped("a\x1b[2Jb\r\n\u{9b}\u{202e}\u{7f}"), "a\\x1b[2Jb\\r\\n\\x9b\\u{202e}\\x7f");
        assert_eq!(escaped_line(b"a\tb\xff\xfe\x00"), "a\tb\\xff\\xfe\\x00");
        assert_eq!(escaped("größe ☃"), "größe ☃");
    }

    #[test]
    fn a_log_value_is_quoted_only_where_it_must_be() {
        assert_eq!(log_value("web"), "web");
        assert_eq!(log_value(""), "\"\"");
        assert_eq!(log_value("a b"), "\"a b\"");
        assert_eq!(log_value("a=\"b\\\n"), "\"a=\\\"b\\\\\\n\"");
    }

    #[test]
    fn json_stays_the_same_json_when_it_is_escaped() {
        let text = "a\u{9b}\u{7f}\u{202e}\u{feff}ö";
        let json = serde_json::to_string(text).expect("serialises");
        assert_eq!(json_escaped(&json), "\"a\\u009b\\u007f\\u202e\\ufeffö\"");
        assert_eq!(serde_json::from_str::<String>(&json_escaped(&json)).expect("reads back"), text);
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("größe", 3), "gr");
        assert_eq!(cut("größe", 4), "grö");
        assert_eq!(cut("ab", 9), "ab");
        assert_eq!(shortened("größe ist größe", 14), "größe  [...]");
        assert_eq!(shortened("größe", 7), "größe");
    }
}
