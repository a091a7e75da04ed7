//! Where each value of a configuration stands: file and line, by key. What is not here is built in.
//!
//! Kept as long as the configuration is in force, for every key that somebody wrote and no other; what
//! programs take from `[defaults]` is there once, for all that were read together.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::DeTable;

use super::fault::{self, Place};
use crate::model::id::ProgramName;
use crate::model::settings::Source;

/// The keys of a table, with their lines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Written(Vec<Line>);

/// Of so many files there are never more than fit into these numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    key: Cow<'static, str>,
    file: u16,
    line: u32,
}

/// A file by its position in `Config::files`, and a line, from 1. No line: the file as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spot {
    pub file: usize,
    pub line: u32,
}

impl Written {
    pub fn add(&mut self, key: Cow<'static, str>, place: Place<'_>) {
        let (file, line) = place.position();
        let (file, line) = (u16::try_from(file).unwrap_or(u16::MAX), u32::try_from(line).unwrap_or(u32::MAX));
        self.0.push(Line { key, file, line });
    }

    /// Each key of a table in the table, by both names.
    pub fn add_all(
        &mut self,
        prefix: &str,
        entries: &DeTable<'_>,
        source: &fault::Source,
        tables: impl Fn(&str) -> bool + Copy,
    ) {
        for (key, value) in entries {
            let name = format!("{prefix}.{}", key.get_ref());
            match value.get_ref().as_table().filter(|_| tables(key.get_ref().as_ref())) {
                Some(entries) => self.add_all(&name, entries, source, tables),
                None => self.add(name.into(), source.place(key.span())),
            }
        }
    }

    /// The same, with its files at other positions.
    fn moved(&self, at: impl Fn(usize) -> usize) -> Self {
        let file = |line: &Line| u16::try_from(at(usize::from(line.file))).unwrap_or(u16::MAX);
        Self(self.0.iter().map(|line| Line { file: file(line), ..line.clone() }).collect())
    }

    pub fn find(&self, key: &str) -> Option<Spot> {
        let line = self.0.iter().find(|line| line.key == key)?;
        Some(Spot { file: usize::from(line.file), line: line.line })
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origins {
    pub(super) supervisor: Written,
    pub(super) control: Written,
    pub(super) notify: Written,
    /// Of the programs that are read next.
    defaults: Arc<Written>,
    programs: BTreeMap<ProgramName, OfProgram>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct OfProgram {
    written: Written,
    /// What stood in `[defaults]` when it was read.
    defaults: Arc<Written>,
    /// Its `env_file`, as it stands in the configuration.
    env_file: Option<Box<str>>,
}

impl Origins {
    pub(super) fn add_program(&mut self, name: &ProgramName, mut written: Written, env_file: Option<String>) {
        written.0.shrink_to_fit();
        let (defaults, env_file) = (Arc::clone(&self.defaults), env_file.map(String::into_boxed_str));
        self.programs.insert(name.clone(), OfProgram { written, defaults, env_file });
    }

    pub(super) fn set_defaults(&mut self, defaults: Written) {
        self.defaults = Arc::new(defaults);
    }

    pub(super) fn remove_program(&mut self, name: &ProgramName) {
        self.programs.remove(name);
    }

    /// Takes these programs over, whose files have other positions here.
    pub(super) fn take<'n>(
        &mut self,
        from: &Self,
        names: impl Iterator<Item = &'n ProgramName>,
        at: impl Fn(usize) -> usize,
    ) {
        let defaults = Arc::new(from.defaults.moved(&at));
        for name in names {
            if let Some(theirs) = from.programs.get(name) {
                let (written, defaults) = (theirs.written.moved(&at), Arc::clone(&defaults));
                self.programs.insert(name.clone(), OfProgram { written, defaults, env_file: theirs.env_file.clone() });
            }
        }
    }

    pub(super) fn env_file(&self, program: &ProgramName) -> Option<&str> {
        self.programs.get(program)?.env_file.as_deref()
    }

    /// Where this key of a program comes from.
    pub(super) fn of_program(&self, program: &ProgramName, key: &str) -> (Source, Option<Spot>) {
        let own = self.programs.get(program);
        if let Some(spot) = own.and_then(|own| own.written.find(key)) {
            return (Source::File, Some(spot));
        }
        if let Some(spot) = own.and_then(|own| own.defaults.find(key)) {
            return (Source::Defaults, Some(spot));
        }
        let from_file = key.starts_with("env.") && own.is_some_and(|own| own.env_file.is_some());
        (if from_file { Source::EnvFile } else { Source::BuiltIn }, None)
    }
}
