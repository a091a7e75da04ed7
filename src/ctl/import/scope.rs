//! What `%(…)s` means at one place of the configuration, and the reading of options there.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::collections::BTreeMap;

use super::Surroundings;
use super::expand::{self, Known, Unexpandable};
use super::ini::{Ini, Section, Value};
use super::report::{Place, Report};
use crate::model::settings::is_called_secret;

/// The names that can be used.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    pub around: &'a Surroundings,
    /// `[supervisord] environment`, which replaces what is inherited.
    pub set: &'a BTreeMap<String, String>,
    /// The program's own `environment`.
    pub own: BTreeMap<String, String>,
    pub names: BTreeMap<&'static str, Known>,
}

/// What becomes of a value of the environment that stays open.
#[derive(Clone, Copy, PartialEq)]
pub enum Use {
    /// One value, whatever is in it.
    Whole,
    /// It is split into words afterwards: one that would not stay a single word is filled in.
    Words,
    /// It is read as `KEY=value` afterwards: one with quotes is filled in.
    Pairs,
}

impl Scope<'_> {
    fn find(&self, name: &str, used: Use) -> Option<Known> {
        if let Some(known) = self.names.get(name) {
            return Some(known.clone());
        }
        let variable = name.strip_prefix("ENV_")?;
        if let Some(value) = self.own.get(variable).or_else(|| self.set.get(variable)) {
            return Some(Known::Text(value.clone()));
        }
        let inherited = self.around.env.get(variable);
        let breaks = |value: &&String| match used {
            Use::Whole => false,
            Use::Words => value.is_empty() || value.contains(|c: char| c.is_whitespace() || "'\"\\".contains(c)),
            Use::Pairs => value.contains(['\'', '"']),
        };
        match inherited.filter(breaks) {
            Some(value) if !is_called_secret(variable) => Some(Known::Text(value.clone())),
            _ if is_variable(variable) => Some(Known::Open(format!("env:{variable}"))),
            _ => inherited.map(|value| Known::Text(value.clone())),
        }
    }

    /// The value of an open place, as far as it is known here.
    pub fn value_of(&self, name: &str) -> Option<String> {
        match name.strip_prefix("env:") {
            Some(variable) => self.around.env.get(variable).cloned(),
            None => (name == "host").then(|| self.around.host.clone()),
        }
    }

    /// Whether the text is a path, and not a bare name, as far as it is known here.
    pub fn is_path(&self, text: &str) -> bool {
        expand::closed(text, &|name| self.value_of(name)).is_ok_and(|text| text.contains('/')) || text.contains('/')
    }

    /// Whether the text can be told to begin with `/`: an open place at its beginning may be anything that
    /// is not known here.
    pub fn is_absolute(&self, text: &str) -> bool {
        match expand::closed(text, &|name| self.value_of(name)) {
            Ok(text) => text.starts_with('/'),
            Err(_) => text.starts_with(['/', expand::OPEN]),
        }
    }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Reads the options of one section.
pub struct Reader<'a, 'r> {
    pub ini: &'a Ini,
    pub section: &'a Section,
    pub scope: Scope<'a>,
    pub report: &'r mut Report,
    /// A value was met that can only be written with the number of the process filled in.
    pub needs_number: Cell<bool>,
}

impl<'a> Reader<'a, '_> {
    pub fn raw(&self, option: &str) -> Option<&'a Value> {
        self.ini.get(self.section, option)
    }

    pub fn place(&self, option: &str) -> Place {
        self.raw(option).map_or(self.section.place, |value| value.place)
    }

    /// Where and what, for a line about an option.
    pub fn about(&self, option: &str) -> String {
        format!("[{}] {option}", self.section.name)
    }

    /// Tells of an option that is not as it was.
    pub fn note(&mut self, option: &str, text: &str) {
        let text = format!("{}: {text}", self.about(option));
        self.report.note(self.place(option), &text);
    }

    pub fn fault(&mut self, option: &str, text: &str) {
        let text = format!("{}: {text}", self.about(option));
        self.report.fault(self.place(option), &text);
    }

    /// The value with what our configuration can look up itself left open.
    pub fn open(&mut self, option: &str, used: Use) -> Option<String> {
        let raw = self.raw(option)?;
        match expand::expand(&raw.text, &|name| self.scope.find(name, used)) {
            Ok(text) => return Some(text),
            Err(Unexpandable::NeedsNumber) => self.needs_number.set(true),
            Err(Unexpandable::Malformed) => {
                self.fault(option, "a `%` in it begins no %(name)s; a percent sign is written %%");
            }
            Err(Unexpandable::Unknown(name)) => {
                self.fault(option, &format!("%({name})s means nothing here, and supervisord would not start"));
            }
        }
        None
    }

    /// The value with everything filled in.
    pub fn literal(&mut self, option: &str) -> Option<String> {
        let text = self.open(option, Use::Whole)?;
        match expand::closed(&text, &|name| self.scope.value_of(name)) {
            Ok(text) => Some(text),
            Err(name) => {
                let name = name.trim_start_matches("env:");
                let text = format!(
                    "it takes its value from the variable {name}, which is not set here; write {name}=… before the command"
                );
                self.fault(option, &text);
                None
            }
        }
    }

    /// The value by one of supervisord's conversions; `what` it must be.
    pub fn parsed<T>(&mut self, option: &str, what: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.literal(option)?;
        let value = parse(&text);
        if value.is_none() {
            self.fault(option, &format!("it is not {what}"));
        }
        value
    }

    /// A number, brought within what ours can be.
    pub fn number(&mut self, option: &str, least: i64, most: i64) -> Option<i64> {
        let number = self.parsed(option, "a number", super::values::integer)?;
        let within = number.clamp(least, most);
        if within != number {
            self.note(option, &format!("{number} became {within}"));
        }
        Some(within)
    }
}
