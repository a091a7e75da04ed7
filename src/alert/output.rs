//! A program's last lines as people get to see them: what the settings call secret is gone, nothing in
//! them acts on a terminal or a mail reader, and no line is longer than mail allows.
#![forbid(unsafe_code)]

use regex_lite::Regex;

use super::notice::Output;
use crate::model::text::{cut, escaped_line};

/// What a redacted part is shown as.
const REDACTED: &str = "[redacted]";

/// How much of a program's output a channel shows, and what is kept back.
pub struct Showing {
    /// How many of the last lines.
    lines: usize,
    redact: Result<Vec<Regex>, String>,
}

impl Showing {
    /// `lines` of the output; the patterns are those of the channel's `redact`.
    pub fn new(lines: u32, redact: &[String]) -> Self {
        let compiled = redact.iter().map(|pattern| Regex::new(pattern).map_err(|_| pattern.clone()));
        Self { lines: usize::try_from(lines).unwrap_or(usize::MAX), redact: compiled.collect() }
    }

    /// No output at all.
    pub fn nothing() -> Self {
        Self { lines: 0, redact: Ok(Vec::new()) }
    }

    pub fn is_nothing(&self) -> bool {
        self.lines == 0
    }

    /// The lines that may be shown, as the program wrote them, without what is secret.
    ///
    /// A pattern that is none keeps everything back: what it should have hidden is unknown. Where the
    /// output is cut, its first line may begin in the middle of a secret that no pattern recognises any
    /// more, so it is left out when there are patterns.
    pub fn redacted(&self, output: &Output) -> Vec<String> {
        if self.lines == 0 {
            return Vec::new();
        }
        let patterns = match &self.redact {
            Ok(patterns) => patterns,
            Err(pattern) => {
                return vec![format!(
                    "[all of it is kept back: redact has {pattern:?}, which is no regular expression]"
                )];
            }
        };
        let first = usize::from(output.is_cut && !patterns.is_empty());
        let lines = output.lines.get(first..).unwrap_or_default();
        let shown = &lines[lines.len().saturating_sub(self.lines)..];
        let without_secrets = |line: &String| {
            patterns.iter().fold(line.clone(), |line, pattern| pattern.replace_all(&line, REDACTED).into_owned())
        };
        shown.iter().map(without_secrets).collect()
    }

    /// The same, safe to show, in pieces of at most `width` bytes.
    pub fn safe(&self, output: &Output, width: usize) -> Vec<String> {
        self.redacted(output).iter().flat_map(|line| pieces(&escaped_line(line.as_bytes()), width)).collect()
    }
}

/// The text in pieces of at most `width` bytes (at least one character each).
pub fn pieces(text: &str, width: usize) -> Vec<String> {
    let mut rest = text;
    let mut pieces = Vec::new();
    loop {
        let piece = match cut(rest, width) {
            "" => cut(rest, 4),
            piece => piece,
        };
        pieces.push(piece.to_owned());
        rest = &rest[piece.len()..];
        if rest.is_empty() {
            return pieces;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(lines: &[&str], is_cut: bool) -> Output {
        Output { lines: lines.iter().map(|line| (*line).to_owned()).collect(), is_cut }
    }

    #[test]
    fn secrets_are_hidden_before_anything_else_happens_to_a_line() {
        let showing = Showing::new(2, &["(?i)password=\\S+".to_owned()]);
        let shown = showing.safe(&output(&["one", "two", "PASSWORD=hunter2 \x1b[31m"], false), 900);
        assert_eq!(shown, ["two", "[redacted] \\x1b[31m"]);
    }

    #[test]
    fn a_line_that_may_begin_within_a_secret_is_left_out() {
        let showing = Showing::new(20, &["password=\\S+".to_owned()]);
        assert_eq!(showing.redacted(&output(&["word=hunter2", "next"], true)), ["next"]);
        assert_eq!(Showing::new(20, &[]).redacted(&output(&["word", "next"], true)), ["word", "next"]);
    }

    #[test]
    fn a_pattern_that_is_none_keeps_everything_back() {
        let shown = Showing::new(20, &["(".to_owned()]).redacted(&output(&["password=hunter2"], false));
        assert_eq!(shown.len(), 1);
        assert!(!shown[0].contains("hunter2"), "{shown:?}");
    }

    #[test]
    fn a_long_line_comes_in_pieces_and_none_is_lost() {
        let long = "ö".repeat(1000);
        let shown = Showing::new(1, &[]).safe(&output(&[&long], false), 901);
        assert!(shown.iter().all(|piece| piece.len() <= 901));
        assert_eq!(shown.concat(), long);
        assert_eq!(pieces("", 5), [""]);
        assert_eq!(pieces("☃☃", 1), ["☃", "☃"]);
        assert!(Showing::nothing().safe(&output(&["x"], false), 9).is_empty());
    }
}
