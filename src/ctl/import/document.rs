//! A TOML text in the making: tables with their keys, each with the words that explain it.
#![forbid(unsafe_code)]

use std::fmt::Write;

use crate::model::text::escaped;

/// How far a line goes before its remark gets a line of its own.
const WIDTH: usize = 110;

/// A table, or words alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Comments above it.
    pub above: Vec<String>,
    /// `[programs.web]`, without the brackets of a list.
    pub header: Option<String>,
    pub lines: Vec<Line>,
    /// All of it is a comment: it has no counterpart, and can only be read.
    pub is_comment: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A key, its value as TOML, and a remark.
    Key(String, String, Option<String>),
    Remark(String),
}

impl Block {
    pub fn table(header: impl Into<String>) -> Self {
        Self { header: Some(header.into()), ..Self::default() }
    }

    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.lines.push(Line::Key(key.to_owned(), value.into(), None));
    }

    pub fn set_with(&mut self, key: &str, value: impl Into<String>, remark: &str) {
        self.lines.push(Line::Key(key.to_owned(), value.into(), Some(remark.to_owned())));
    }

    pub fn remark(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Remark(text.into()));
    }

    fn write(&self, out: &mut String) {
        let lead = if self.is_comment { "# " } else { "" };
        for comment in &self.above {
            let _ = writeln!(out, "# {}", escaped(comment));
        }
        if let Some(header) = &self.header {
            let _ = writeln!(out, "{lead}{header}");
        }
        for line in &self.lines {
            let _ = match line {
                Line::Key(key, value, None) => writeln!(out, "{lead}{key} = {value}"),
                Line::Key(key, value, Some(remark)) if key.len() + value.len() + remark.len() + 7 < WIDTH => {
                    writeln!(out, "{lead}{key} = {value}   # {}", escaped(remark))
                }
                Line::Key(key, value, Some(remark)) => {
                    writeln!(out, "{lead}# {}\n{lead}{key} = {value}", escaped(remark))
                }
                Line::Remark(text) => writeln!(out, "{lead}# {}", escaped(text)),
            };
        }
    }
}

/// The whole text.
pub fn text(blocks: &[Block]) -> String {
    let mut out = String::new();
    for block in blocks {
        if !out.is_empty() {
            out.push('\n');
        }
        block.write(&mut out);
    }
    out
}

/// A text as TOML has it, without anything that would act on a terminal: in single quotes where that is
/// easier to read.
pub fn string(text: &str) -> String {
    let acts = escaped(text) != text;
    if !acts && text.contains(['"', '\\']) && !text.contains('\'') {
        return format!("'{text}'");
    }
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if escaped(c.encode_utf8(&mut [0; 4])) != c.encode_utf8(&mut [0; 4]) as &str => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A key: bare where it can be.
pub fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { name.to_owned() } else { string(name) }
}

pub fn strings<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", texts.into_iter().map(string).collect::<Vec<_>>().join(", "))
}
