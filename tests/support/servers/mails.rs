//! Mails as they arrived, read by Python's parser, which fails on any defect.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::tool;

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/servers/read_mails.py");

#[derive(Clone, Debug)]
pub struct Mail {
    /// In their order, decoded.
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub raw: Vec<u8>,
}

impl Mail {
    /// The only header of this name.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let all = self.headers_named(name);
        assert_eq!(all.len(), 1, "{name}: {:?}", self.headers);
        all[0]
    }

    pub fn headers_named(&self, name: &str) -> Vec<&str> {
        let is_it = |header: &&(String, String)| header.0.eq_ignore_ascii_case(name);
        self.headers.iter().filter(is_it).map(|header| header.1.as_str()).collect()
    }

    pub fn subject(&self) -> &str {
        self.header("Subject")
    }

    pub fn id(&self) -> &str {
        self.header("Message-ID")
    }

    /// The value of a row of facts: `  ended by    signal SEGV`.
    pub fn row(&self, label: &str) -> Option<&str> {
        let row = |line| str::strip_prefix(str::strip_prefix(line, "  ")?, label);
        self.body.lines().find_map(row).filter(|rest| rest.starts_with(' ')).map(str::trim)
    }

    #[track_caller]
    pub fn assert_says(&self, words: &str) {
        assert!(self.body.contains(words), "{words:?} in {}\n{}", self.subject(), self.body);
    }
}

/// Reads these files; a mail with a defect fails the test.
#[track_caller]
pub fn read(paths: &[PathBuf]) -> Vec<Mail> {
    if paths.is_empty() {
        return Vec::new();
    }
    let python = super::python().expect("the test needs it");
    let printed = tool(Command::new(python).arg(READER).args(paths));
    let parsed: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(parsed.len(), paths.len());
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mail = |(mail, path): (Value, &PathBuf)| Mail {
        headers: mail["headers"].as_array().expect("headers").iter().map(|h| (text(&h[0]), text(&h[1]))).collect(),
        body: text(&mail["body"]),
        raw: std::fs::read(path).expect("the mail"),
    };
    parsed.into_iter().zip(paths).map(mail).collect()
}

/// The mails of a maildir, oldest first.
#[track_caller]
pub fn maildir(directory: &Path) -> Vec<Mail> {
    read(&files(&directory.join("new")))
}

/// All files of a directory with this ending, by their time.
pub fn files_ending(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let is_it = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(ending));
    files(directory).into_iter().filter(is_it).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}
