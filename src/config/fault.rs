//! Faults of a configuration: where each is, what is wrong there, and what to write instead.
//!
//! A fault keeps the line it is about as it will be shown: the file may be hostile, so the line is
//! escaped and cut to a window around the caret here, once, and nobody after this can forget it. What may be
//! a secret in it is masked: messages go to logs and to people who may not read the file.
//! [`Sink`] gathers the faults while reading goes on; [`Faults`] is what comes out at the end, in order.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::model::text;

/// More faults than this are counted, not kept: nobody reads them, and a file of garbage has millions.
pub const KEPT: usize = 1000;
const WARNINGS_KEPT: usize = 100;
/// How many characters of a line are shown, and how many of them before the caret when it is cut.
const WINDOW: usize = 120;
const BEFORE: usize = 60;
/// How many bytes of a message are shown; a name in it can be as long as the file.
const MESSAGE: usize = 600;

/// One file of the configuration: its text and where its lines begin.
pub struct Source {
    pub path: PathBuf,
    pub text: String,
    /// Position among the files in the order of reading, which is the order of the faults.
    index: usize,
    lines: Vec<usize>,
}

/// A stretch of a file, in bytes.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub source: &'a Source,
    pub start: usize,
    pub end: usize,
}

impl Source {
    pub fn new(path: &Path, index: usize, text: &str) -> Self {
        // Editors do not count a byte order mark as a column.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let begins = text.match_indices('\n').map(|(at, _)| at + 1).filter(|start| *start < text.len());
        let lines = std::iter::once(0).chain(begins).collect();
        Self { path: path.to_owned(), text, index, lines }
    }

    pub fn place(&self, span: std::ops::Range<usize>) -> Place<'_> {
        Place { source: self, start: span.start, end: span.end }
    }

    /// Whether it is the file that reading began with.
    pub fn is_top(&self) -> bool {
        self.index == 0
    }

    /// Number (from 0) and content of the line with this byte; what lies beyond the text is in the last line.
    fn line_at(&self, offset: usize) -> (usize, usize, &str) {
        let number = self.lines.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.lines[number];
        let end = self.lines.get(number + 1).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..end).unwrap_or_default();
        let line = line.strip_suffix('\n').unwrap_or(line);
        (number, start, line.strip_suffix('\r').unwrap_or(line))
    }
}

impl<'a> Place<'a> {
    /// `FILE:LINE`, to name one place in a fault about another.
    pub fn short(&self) -> String {
        format!("{}:{}", self.source.path.display(), self.source.line_at(self.start).0 + 1)
    }

    /// Position of the file in the order of reading, and the line, from 1.
    pub fn position(&self) -> (usize, usize) {
        (self.source.index, self.source.line_at(self.start).0 + 1)
    }

    pub fn text(&self) -> &'a str {
        self.source.text.get(self.start..self.end).unwrap_or_default()
    }

    /// The part of this place that reads `part`, else all of it.
    pub fn narrowed(self, part: &str) -> Self {
        match self.text().find(part) {
            Some(at) if !part.is_empty() => Self { start: self.start + at, end: self.start + at + part.len(), ..self },
            _ => self,
        }
    }

    /// Whether it is about what may be a secret.
    fn is_masked(&self) -> bool {
        let (_, line_start, line) = self.source.line_at(self.start);
        secret_begins(line).is_some_and(|at| self.start >= line_start + at)
    }

    fn excerpt(&self) -> Excerpt {
        let (number, line_start, line) = self.source.line_at(self.start);
        let start = line.floor_char_boundary(self.start.saturating_sub(line_start));
        let end = line.ceil_char_boundary(self.end.saturating_sub(line_start)).max(start);
        let before = line[..start].chars().count();
        let marked = line[start..end].chars().count().max(1);

        let masked = secret_begins(line).map_or(usize::MAX, |at| line[..at].chars().count());
        let skipped = if before + marked.min(WINDOW - BEFORE) > WINDOW { before - BEFORE } else { 0 };
        let mut excerpt = Excerpt { line: number + 1, column: before + 1, text: String::new(), indent: 0, width: 0 };
        let mut shown = 0;
        if skipped > 0 {
            excerpt.text.push('…');
            shown += 1;
        }
        let mut rest = line.chars().skip(skipped);
        let mut buffer = [0; 4];
        for (at, c) in (skipped..).zip(rest.by_ref().take(WINDOW)) {
            // A tab as one space, so that the caret below stands where it should on every terminal.
            let piece = match c {
                '\t' => " ".into(),
                c if at >= masked && c.is_alphanumeric() => "*".into(),
                c => text::escaped(c.encode_utf8(&mut buffer)),
            };
            let width = piece.chars().count();
            if at < before {
                excerpt.indent = shown + width;
            } else if at < before + marked {
                excerpt.width += width;
            }
            shown += width;
            excerpt.text.push_str(&piece);
        }
        if rest.next().is_some() {
            excerpt.text.push('…');
        }
        excerpt.width = excerpt.width.max(1);
        excerpt
    }
}

/// Where in a line something begins that may be a secret: behind the `=` of a key that is called so.
fn secret_begins(line: &str) -> Option<usize> {
    const NAMES: [&str; 4] = ["password", "secret", "token", "url"];
    let is_called_so = |key: &[u8]| {
        NAMES.iter().any(|name| {
            key.len().checked_sub(name.len()).is_some_and(|at| key[at..].eq_ignore_ascii_case(name.as_bytes()))
        })
    };
    line.match_indices('=').map(|(at, _)| at + 1).find(|at| {
        let key = line[..at - 1].trim_end_matches([' ', '\t']).trim_end_matches(['"', '\'']);
        is_called_so(key.as_bytes())
    })
}

/// The line a fault is about, safe to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excerpt {
    /// From 1.
    pub line: usize,
    /// In characters of the file's line, from 1.
    pub column: usize,
    pub text: String,
    /// How many characters of `text` stand before the caret, and how many carets.
    pub indent: usize,
    pub width: usize,
}

/// One thing that is wrong in a configuration, or (a warning) merely odd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub file: PathBuf,
    /// `None`: it is about the file as a whole.
    pub excerpt: Option<Excerpt>,
    pub message: String,
    pub help: Option<String>,
    pub warning: bool,
}

impl Fault {
    fn of_file(file: &Path, message: &str) -> Self {
        Self { file: file.to_owned(), excerpt: None, message: legible(message), help: None, warning: false }
    }
}

fn legible(message: &str) -> String {
    let short = text::cut(message, MESSAGE);
    format!("{}{}", text::escaped(short), if short.len() < message.len() { "…" } else { "" })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning: " } else { "" };
        let file = self.file.display().to_string();
        let file = text::escaped(&file);
        let Some(excerpt) = &self.excerpt else {
            write!(f, "{file}: {kind}{}", self.message)?;
            return self.help.iter().try_for_each(|help| write!(f, "; {help}"));
        };
        let Excerpt { line, column, text, indent, width } = excerpt;
        writeln!(f, "{file}:{line}:{column}: {kind}{}", self.message)?;
        writeln!(f, "{line:>5} | {text}")?;
        let gutter = line.to_string().len().max(5);
        write!(f, "{:gutter$} | {:indent$}{}", "", "", "^".repeat(*width))?;
        self.help.iter().try_for_each(|help| write!(f, " {help}"))
    }
}

/// Every fault of a configuration, and the warnings between them, by file and position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Faults {
    pub list: Vec<Fault>,
    /// How many more there were than are kept.
    pub dropped: usize,
}

impl Faults {
    /// One fault about a file as a whole.
    pub fn of_file(file: &Path, message: &str) -> Self {
        Self { list: vec![Fault::of_file(file, message)], dropped: 0 }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.list {
            writeln!(f, "{fault}")?;
        }
        let count = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
        let faults = self.list.iter().filter(|fault| !fault.warning).count();
        let files: BTreeSet<&Path> = self.list.iter().map(|fault| fault.file.as_path()).collect();
        write!(f, "{}", count(faults + self.dropped, "fault"))?;
        if faults < self.list.len() {
            write!(f, " and {}", count(self.list.len() - faults, "warning"))?;
        }
        write!(f, " in {}", count(files.len(), "file"))?;
        if self.dropped > 0 {
            write!(f, "; {} not shown", self.dropped)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// What kind of fault it is, as far as it decides whether it is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The text is not TOML.
    Syntax,
    Value,
    /// Something is not there. Not told when a file has syntax faults: it may be there, unread.
    Absence,
    Warning,
}

struct Entry {
    file: usize,
    offset: usize,
    line: usize,
    kind: Kind,
    fault: Fault,
}

/// Where readers report to, so that each can go on after a fault.
#[derive(Default)]
pub struct Sink {
    entries: RefCell<Vec<Entry>>,
    dropped: Cell<usize>,
    /// How many of the entries are warnings: these never take the place of a fault.
    warnings: Cell<usize>,
    /// A file could not be read at all, so that what seems to be missing may stand there.
    incomplete: Cell<bool>,
}

impl Sink {
    pub fn report(&self, place: Place<'_>, kind: Kind, message: &str, help: Option<String>) {
        if kind == Kind::Warning {
            if self.warnings.get() == WARNINGS_KEPT {
                return;
            }
            self.warnings.set(self.warnings.get() + 1);
        } else if self.is_full() {
            self.dropped.set(self.dropped.get() + 1);
            return;
        }
        let excerpt = place.excerpt();
        // The parser's advice repeats what stands there.
        let help = help.filter(|_| kind != Kind::Syntax || !place.is_masked());
        let fault = Fault {
            file: place.source.path.clone(),
            message: legible(message),
            help: help.map(|help| legible(&help)),
            warning: kind == Kind::Warning,
            excerpt: Some(excerpt),
        };
        let line = place.source.line_at(place.start).0;
        let entry = Entry { file: place.source.index, offset: place.start, line, kind, fault };
        self.entries.borrow_mut().push(entry);
    }

    pub fn is_full(&self) -> bool {
        self.entries.borrow().len() - self.warnings.get() >= KEPT
    }

    pub fn mark_incomplete(&self) {
        self.incomplete.set(true);
    }

    /// The warnings if that is all there is, else the faults.
    pub fn finish(self) -> Result<Vec<Fault>, Faults> {
        let mut entries = self.entries.into_inner();
        let broken: BTreeSet<(usize, usize)> =
            entries.iter().filter(|entry| entry.kind == Kind::Syntax).map(|entry| (entry.file, entry.line)).collect();
        let incomplete = self.incomplete.get() || !broken.is_empty();
        entries.sort_by_key(|entry| (entry.file, entry.offset));
        let mut told = BTreeSet::new();
        entries.retain(|entry| match entry.kind {
            // What follows in the same line mostly comes of the first.
            Kind::Syntax => told.insert((entry.file, entry.line)),
            // What the parser made of a broken line is a guess, and so is what is wrong with it.
            Kind::Value | Kind::Warning => !broken.contains(&(entry.file, entry.line)),
            Kind::Absence => !incomplete,
        });
        // A value of [defaults] can be wrong in the same way for many programs.
        entries.dedup_by(|a, b| (a.file, a.offset, &a.fault.message) == (b.file, b.offset, &b.fault.message));
        let list: Vec<Fault> = entries.into_iter().map(|entry| entry.fault).collect();
        if list.iter().all(|fault| fault.warning) && self.dropped.get() == 0 {
            Ok(list)
        } else {
            Err(Faults { list, dropped: self.dropped.get() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, start: usize, end: usize) -> String {
        let source = Source::new(Path::new("/f"), 0, text);
        let sink = Sink::default();
        sink.report(source.place(start..end), Kind::Value, "wrong", Some("do this".to_owned()));
        sink.finish().expect_err("a fault").list[0].to_string()
    }

    #[test]
    fn the_caret_stands_under_the_words_it_is_about() {
        assert_eq!(shown("a = 1\nkey = 2\n", 6, 9), "/f:2:1: wrong\n    2 | key = 2\n      | ^^^ do this");
        assert_eq!(shown("\tü = 1\n", 3, 4), "/f:1:3: wrong\n    1 |  ü = 1\n      |   ^ do this");
        assert_eq!(shown("\u{feff}key", 0, 3), "/f:1:1: wrong\n    1 | key\n      | ^^^ do this");
    }

    #[test]
    fn a_place_beyond_the_text_is_the_end_of_the_last_line() {
        assert_eq!(shown("a = [\r\n", 7, 7), "/f:1:6: wrong\n    1 | a = [\n      |      ^ do this");
        assert_eq!(shown("", 0, 0), "/f:1:1: wrong\n    1 | \n      | ^ do this");
        assert_eq!(shown("ab", 90, 99), "/f:1:3: wrong\n    1 | ab\n      |   ^ do this");
    }

    #[test]
    fn a_hostile_line_is_escaped_and_the_caret_still_fits() {
        assert_eq!(
            shown("\u{1b}[2J\u{202e}x", 7, 8),
            "/f:1:6: wrong\n    1 | \\x1b[2J\\u{202e}x\n      |                ^ do this"
        );
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        for line in [
            "password = \"hunter2\"",
            "email = { \"Password\"='hunter2', x = 1 }",
            "API_TOKEN=hunter2",
            "url = hunter2",
        ] {
            let at = line.find("hunter2").expect("there");
            let out = shown(line, at, at + 7);
            assert!(!out.contains("hunter2") && out.contains("*******"), "{out}");
        }
        assert!(shown("url_file = \"/x\"", 11, 15).contains("/x"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let line = format!("{}HERE{}", "a".repeat(5000), "b".repeat(5000));
        let out = shown(&line, 5000, 5004);
        assert!(out.starts_with("/f:1:5001: wrong\n"), "{out}");
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[1].chars().count() < 140, "{out}");
        let at = |line: &str, what: &str| line.chars().position(|c| what.starts_with(c));
        assert_eq!(at(lines[1], "HERE"), at(lines[2], "^"));
    }

    #[test]
    fn more_faults_than_anyone_reads_are_counted() {
        let source = Source::new(Path::new("/f"), 0, &"x".repeat(1500));
        let sink = Sink::default();
        for at in 0..1500 {
            sink.report(source.place(at..at + 1), Kind::Value, "wrong", None);
        }
        let faults = sink.finish().expect_err("faults");
        assert_eq!(faults.list.len(), 1000);
        assert!(faults.to_string().ends_with("\n1500 faults in 1 file; 500 not shown"));
    }

    #[test]
    fn no_number_of_warnings_hides_a_fault() {
        let source = Source::new(Path::new("/f"), 0, &"x".repeat(1500));
        let sink = Sink::default();
        for at in 0..1400 {
            sink.report(source.place(at..at + 1), Kind::Warning, "odd", None);
        }
        sink.report(source.place(1400..1401), Kind::Value, "wrong", None);
        let faults = sink.finish().expect_err("a fault").to_string();
        assert!(faults.contains("/f:1:1401: wrong\n") && faults.ends_with("\n1 fault and 100 warnings in 1 file"));
    }
}
