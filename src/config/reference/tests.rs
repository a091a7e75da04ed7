//! The reference is complete and true: it has the keys that the readers read, and no other; each value is
//! accepted; a default that is written there changes nothing when it is written in the file.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::super::tests::environment;
use super::super::*;
use super::{SECTIONS, Section};

/// Read only to say where a secret belongs instead.
const REFUSED: [&str; 2] = ["password", "secret"];

/// Any file is there, private, and has a certificate.
struct AnyFile(String);

impl Files for AnyFile {
    fn read(&mut self, path: &Path) -> Result<String, String> {
        Ok(match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => self.0.clone(),
            Some("pem") => "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_owned(),
            _ if path.starts_with("/etc/default") => "LANG=C\n".to_owned(),
            _ => "https://hooks.example.com/path\n".to_owned(),
        })
    }

    fn glob(&mut self, _: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }

    fn exists(&mut self, _: &Path) -> bool {
        true
    }

    fn secret(&mut self, _: &Path) -> Result<(), String> {
        Ok(())
    }

    fn is_private(&mut self, _: &Path) -> bool {
        true
    }
}

fn load_text(text: &str) -> Config {
    let file = Path::new("/etc/taskmaster/taskmaster.toml");
    load(file, &mut AnyFile(text.to_owned()), &environment()).unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

/// The keys that a table's readers read.
fn known(name: &str) -> BTreeSet<&'static str> {
    let (source, sink, environment) = (Source::new(Path::new(""), 0, ""), Sink::default(), environment());
    let context = Context { source: &source, sink: &sink, environment: &environment };
    let keys_of = |read: Reader| {
        read_or_default(None, context, |table| {
            read(table);
            table.known().to_vec()
        })
    };
    let homes: [(&str, Reader); 4] = [
        ("[programs.NAME] and [defaults]", |table| drop(Keys::take(table))),
        ("[supervisor]", |table| drop(supervisor(table))),
        ("[control]", |table| drop(control(table, Path::new("")))),
        ("[[control.allow]]", |table| drop(allow::read(table))),
    ];
    let readers = homes.into_iter().chain(notify::homes()).filter(|(home, _)| *home == name);
    // What stands in tables of its own has its own section.
    let is_table = |key: &&str| {
        let inner = format!("{}.{key}", name.trim_matches(['[', ']']));
        !SECTIONS.iter().any(|section| section.name.trim_start_matches('[').starts_with(&inner))
    };
    readers.flat_map(|(_, read)| keys_of(read)).filter(is_table).filter(|key| !REFUSED.contains(key)).collect()
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    for section in &SECTIONS[1..] {
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for (key, _) in section.rows.iter().flat_map(|row| row.keys) {
            assert!(told.insert(key), "{} has {key} twice", section.name);
        }
        if section.name == "[notify]" {
            assert!(told.remove("min_severity"), "a key of each channel");
        }
        assert_eq!(told, known(section.name), "{}", section.name);
    }
}

/// The lines that a table needs beside the tried keys, or that let these have a meaning.
fn needed(section: &Section, key: &str) -> &'static [&'static str] {
    const FROM: &str = "from = \"t@example.com\"";
    const TO: &str = "to = [\"o@example.com\"]";
    match (section.header, key) {
        ("[programs.web]", _) => &["cmd = \"/bin/web\"", "user = \"www\""],
        ("[[control.allow]]", _) => &["users = [\"alice\"]", "verbs = [\"status\"]"],
        ("[notify.email]", "sendmail") => &["transport = \"sendmail\"", FROM, TO],
        ("[notify.email]", "maildir") => &["transport = \"maildir\"", FROM, TO],
        ("[notify.email]", _) => &["server = \"smtp.example.com\"", FROM, TO],
        ("[notify.webhooks.chat]", "url_file") => &[],
        ("[notify.webhooks.chat]", _) => &["url = \"https://hooks.example.com/path\""],
        ("[notify.syslog]", "ca_file") => &["target = \"tls://log.example.com:6514\""],
        ("[notify.syslog]", "framing" | "sd_id") => &["target = \"tcp://log.example.com:601\""],
        ("[[notify.rules]]", _) => &["on = [\"process.fatal\"]", "to = [\"email\"]"],
        _ => &[],
    }
}

/// A configuration with these lines in the section, and the others that make it whole.
fn with(section: &Section, key: &str, lines: &[(&str, &str)]) -> Config {
    let is_tried = |line: &&&str| lines.iter().any(|(key, _)| line.split(" = ").next() == Some(key));
    let header = if key == "min_severity" { "[notify.syslog]" } else { section.header };
    let mut table = format!("{header}\n");
    for line in needed(section, key).iter().filter(|line| !is_tried(line)) {
        table += &format!("{line}\n");
    }
    for (key, value) in lines {
        table += &format!("{key} = {value}\n");
    }
    let mut rest = String::new();
    if section.header != "[programs.web]" {
        rest += "[programs.web]\ncmd = \"/bin/web\"\nuser = \"www\"\n";
    }
    if section.header != "[notify.email]" {
        rest += "[notify.email]\nmaildir = \"/var/mail/x\"\nfrom = \"t@example.com\"\nto = [\"o@example.com\"]\n";
    }
    let mut config = load_text(&format!("{table}{rest}"));
    config.warnings.clear();
    config
}

/// The value in a column of defaults, if it is one.
fn literal(cell: &str) -> Option<&str> {
    let text = cell.trim_matches('`');
    syntax_of(text).then_some(text)
}

fn syntax_of(text: &str) -> bool {
    let (sink, source) = (Sink::default(), Source::new(Path::new("/f"), 0, &format!("key = {text}")));
    let is_there = !syntax::parse(&source, &sink).is_empty();
    is_there && sink.finish().is_ok()
}

#[test]
fn every_value_is_accepted_and_every_default_is_one() {
    let mut defaults = 0;
    for (section, row) in SECTIONS.iter().flat_map(|section| section.rows.iter().map(move |row| (section, row))) {
        let first = row.keys[0].0;
        with(section, first, row.keys);
        let cells: Vec<&str> = if row.keys.len() == 1 { vec![row.default] } else { row.default.split(", ").collect() };
        for ((key, value), cell) in row.keys.iter().zip(cells) {
            let Some(default) = literal(cell) else { continue };
            assert_eq!(default, *value, "{} {key}", section.name);
            // That it is written down is the only difference.
            let unwritten = |config: Config| Config { origins: crate::config::Origins::default(), ..config };
            let given = unwritten(with(section, first, &[(key, value)]));
            let usual = unwritten(with(section, first, &[]));
            assert_eq!(given, usual, "{}: {key} = {value} is the default", section.name);
            defaults += 1;
        }
    }
    assert!(defaults > 30, "this test sees defaults: {defaults}");
}

#[test]
fn every_verb_that_allows_something_is_told() {
    let rows = SECTIONS.iter().flat_map(|section| section.rows);
    let verbs = rows.filter(|row| row.keys[0].0 == "verbs").map(|row| row.meaning).next().expect("the verbs");
    for verb in crate::model::authority::Verb::ALL {
        assert!(verbs.contains(&format!("`{verb}`")), "{verb}");
    }
}
