//! TOML text to a table with places, and the parser's complaints in words that name the fix.
//!
//! The parser recovers after each fault, so that all of them come at once. Those that people meet most
//! (a umask such as `022`, text without quotes, the habits of supervisord's files and of YAML) get an
//! answer that says what to write; the rest is told in the parser's words.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::fault::{KEPT, Kind, Place, Sink, Source};
use super::table::shown;

/// Longer words are not repeated in a suggestion.
const QUOTED_MAX: usize = 60;

/// Reads the text; faults go to the sink, what could be read comes back.
pub fn parse<'a>(source: &'a Source, sink: &Sink) -> DeTable<'a> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let end = source.text.len();
    let place = |error: &toml::de::Error| source.place(error.span().unwrap_or(end..end));
    let repeated: BTreeSet<usize> = errors
        .iter()
        .take(KEPT)
        .filter(|error| error.message() == DUPLICATE)
        .map(|error| line_start(place(error)))
        .filter(|start| source.text[*start..].starts_with('['))
        .collect();
    for error in &errors {
        let place = place(error);
        if sink.is_full() {
            sink.report(place, Kind::Syntax, error.message(), None);
            continue;
        }
        // A table that is there a second time says so once, and not again for each of its keys.
        if error.message() == DUPLICATE && !repeated.is_empty() {
            let start = line_start(place);
            let header = source.text[..start].rfind("\n[").map_or(0, |at| at + 1);
            if !repeated.contains(&start) && repeated.contains(&header) {
                continue;
            }
        }
        let (place, message, help) = explain(place, error.message());
        sink.report(place, Kind::Syntax, &message, help);
    }
    table.into_inner()
}

const DUPLICATE: &str = "duplicate key";
const MISPLACED: &str = "this cannot stand in a list";

fn line_start(place: Place<'_>) -> usize {
    place.source.text.get(..place.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

fn explain<'a>(place: Place<'a>, message: &str) -> (Place<'a>, String, Option<String>) {
    let source = place.source;
    let rest = source.text.get(place.start..).unwrap_or_default();
    let start = line_start(place);
    let before = source.text.get(start..place.start).unwrap_or_default();
    let line = source.text[start..].lines().next().unwrap_or_default();

    let supervisord = line.trim_start().strip_prefix("[program:").and_then(|rest| rest.split_once(']'));
    if let Some((name, _)) = supervisord {
        let help = (name.len() <= QUOTED_MAX).then(|| format!("write [programs.{name}]"));
        return (place, "this is a header of supervisord, not of TOML".to_owned(), help);
    }
    let say = |message: &str, help: &str| (place, message.to_owned(), Some(help.to_owned()));
    match message {
        DUPLICATE => (place, format!("{} is there a second time", shown(place.text())), None),
        _ if message.starts_with("unexpected leading zero") => {
            let length = rest.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(rest.len());
            let digits = &rest[..length];
            let octal = (2..=6).contains(&length) && digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
            let help = octal.then(|| format!("for an octal number write \"{digits}\" in quotes, or 0o{digits}"));
            (Place { end: place.start + length, ..place }, "a number cannot begin with 0".to_owned(), help)
        }
        _ if message.starts_with("string values")
            && before == "["
            && rest.lines().next().is_some_and(is_header_end) =>
        {
            say(MISPLACED, "is the list above closed with `]`?")
        }
        _ if is_bare_word(place.text(), message) => {
            let (message, help) = quoted(place.text());
            (place, message.to_owned(), help)
        }
        _ if rest.starts_with(':') || message.starts_with("key with no value") => {
            say("a key stands without `=` and a value", "write key = value")
        }
        _ if message.starts_with("invalid unquoted key") => {
            say("a name with this character must stand in quotes", "put the whole name in \"…\"")
        }
        "invalid basic string, expected `\"`" | "invalid literal string, expected `'`" => {
            say("the quote that begins this text is not closed", "close it on the same line")
        }
        _ if message.starts_with("missing escaped value") => {
            say("`\\` begins an escape that TOML does not know", "write `\\\\`, or take '…' for quotes")
        }
        _ if message.starts_with("missing comma between array elements") && before.trim().is_empty() => {
            say(MISPLACED, "is the list above closed with `]`?")
        }
        _ => (place, message.to_owned(), None),
    }
}

/// Whether this is what follows the `[` of a table's header.
fn is_header_end(rest: &str) -> bool {
    rest.trim_end().ends_with(']') && !rest.contains(',')
}

/// Whether the parser met a text without quotes, which it may take for a misspelled `true` or `nan`.
fn is_bare_word(word: &str, message: &str) -> bool {
    let misread = message.starts_with("invalid boolean") || message.starts_with("invalid float");
    message.starts_with("string values must be quoted") || (misread && word.starts_with(char::is_alphabetic))
}

fn quoted(word: &str) -> (&'static str, Option<String>) {
    let unquoted = "text must stand in quotes";
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => ("a boolean is true or false", Some("write true".to_owned())),
        "false" | "no" | "off" => ("a boolean is true or false", Some("write false".to_owned())),
        _ if word.len() > QUOTED_MAX || word.contains(['"', '\\']) => (unquoted, None),
        _ => (unquoted, Some(format!("write \"{word}\""))),
    }
}
