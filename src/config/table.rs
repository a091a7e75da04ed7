//! Reading one TOML table by hand, key by key: [`Table`] remembers which keys were asked for, so that
//! each key is named once, where it is read, and the rest is reported as unknown.
//!
//! By hand and not through serde, because a reader here goes on after a fault, knows the place of every
//! value, and sees how a number was spelled (`0o022` is not `22`).
#![forbid(unsafe_code)]

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Environment;
use super::fault::{Kind, Place, Sink, Source};
use super::origins::Written;
use super::words;
use crate::model::text;

/// What every reader needs besides the value.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub source: &'a Source,
    pub sink: &'a Sink,
    pub environment: &'a Environment,
}

impl<'a> Context<'a> {
    pub fn place(&self, span: std::ops::Range<usize>) -> Place<'a> {
        self.source.place(span)
    }
}

/// A name from the file as messages show it.
pub fn shown(name: &str) -> String {
    const MAX: usize = 80;
    let short = text::cut(name, MAX);
    format!("`{short}{}`", if short.len() < name.len() { "…" } else { "" })
}

/// One value, with its key and its place.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    pub key: &'a str,
    pub value: &'a DeValue<'a>,
    pub place: Place<'a>,
    pub context: Context<'a>,
}

impl<'a> Item<'a> {
    fn new(key: &'a str, value: &'a Spanned<DeValue<'a>>, context: Context<'a>) -> Self {
        Self { key, value: value.get_ref(), place: context.place(value.span()), context }
    }

    /// Reports what is wrong with the value; `None`, so that a reader can end with it.
    pub fn refuse<T>(&self, message: impl AsRef<str>) -> Option<T> {
        self.context.sink.report(self.place, Kind::Value, message.as_ref(), None);
        None
    }

    pub fn refuse_with<T>(&self, message: impl AsRef<str>, help: impl Into<String>) -> Option<T> {
        self.context.sink.report(self.place, Kind::Value, message.as_ref(), Some(help.into()));
        None
    }

    /// Reports that the value is of the wrong kind: "`key` is WHAT, not a string".
    pub fn expected<T>(&self, what: &str) -> Option<T> {
        let kind = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.refuse(format!("{} is {what}, not {kind}", shown(self.key)))
    }

    pub fn warn(&self, message: &str, help: Option<String>) {
        self.context.sink.report(self.place, Kind::Warning, message, help);
    }

    /// The elements, if it is a list.
    pub fn list(&self) -> Option<Vec<Self>> {
        let array = self.value.as_array()?;
        Some(array.iter().map(|value| Item::new(self.key, value, self.context)).collect())
    }

    /// The entries, if it is a table, each with the place of its key.
    pub fn entries(&self) -> Option<Vec<(Place<'a>, Self)>> {
        let table = self.value.as_table()?;
        let entry = |(key, value): (&'a Spanned<_>, _)| {
            let name: &'a std::borrow::Cow<'a, str> = key.get_ref();
            (self.context.place(key.span()), Item::new(name.as_ref(), value, self.context))
        };
        Some(table.iter().map(entry).collect())
    }

    /// The value as a table to read; reports if it is none.
    pub fn table(&self, label: impl Into<String>) -> Option<Table<'a>> {
        match self.value {
            DeValue::Table(entries) => Some(Table::new(entries, label.into(), self.place, self.context)),
            _ => self.expected("a table"),
        }
    }
}

/// What a table says for a key.
#[derive(Clone)]
pub enum Given<'a, T> {
    Absent,
    /// It is there and was refused: no default may stand in for it in further checks.
    Faulty,
    Value(T, Place<'a>),
}

impl<'a, T> Given<'a, T> {
    /// This one, else what `other` says.
    pub fn or<'g>(&'g self, other: &'g Self) -> &'g Self {
        if matches!(self, Self::Absent) { other } else { self }
    }

    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value, _) => Some(value),
            Self::Absent | Self::Faulty => None,
        }
    }

    pub fn place(&self) -> Option<Place<'a>> {
        match self {
            Self::Value(_, place) => Some(*place),
            Self::Absent | Self::Faulty => None,
        }
    }

    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub fn or_default(&self, default: T) -> T
    where
        T: Clone,
    {
        self.value().cloned().unwrap_or(default)
    }
}

/// A table being read.
pub struct Table<'a> {
    entries: &'a DeTable<'a>,
    /// How messages name it: "in [programs.web]", "in `backoff`", "at the top level".
    label: String,
    pub header: Place<'a>,
    pub context: Context<'a>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub fn new(entries: &'a DeTable<'a>, label: String, header: Place<'a>, context: Context<'a>) -> Self {
        Self { entries, label, header, context, known: Vec::new() }
    }

    pub fn take<T>(&mut self, key: &'static str, read: impl FnOnce(Item<'a>) -> Option<T>) -> Given<'a, T> {
        self.known.push(key);
        let Some(value) = self.entries.get(key) else { return Given::Absent };
        let item = Item::new(key, value, self.context);
        match read(item) {
            Some(value) => Given::Value(value, item.place),
            None => Given::Faulty,
        }
    }

    /// Reports that a key is needed and not there.
    pub fn lacks(&self, message: &str, help: &str) {
        self.context.sink.report(self.header, Kind::Absence, message, Some(help.to_owned()));
    }

    /// Reports every key that was not asked for.
    pub fn finish(self) {
        for (key, value) in self.entries {
            let name = key.get_ref().as_ref();
            if !self.known.contains(&name) {
                self.report_unknown(self.context.place(key.span()), name, value.get_ref());
            }
        }
    }

    fn report_unknown(&self, place: Place<'a>, name: &str, value: &DeValue<'_>) {
        let sink = self.context.sink;
        if sink.is_full() {
            return sink.report(place, Kind::Value, "", None);
        }
        if words::is_of_a_later_version(name) {
            let message = format!("{} is not in this version of Taskmaster", shown(name));
            return sink.report(
                place,
                Kind::Value,
                &message,
                Some("take it out until there is one that has it".into()),
            );
        }
        let meant = words::meant(name, self.known.iter().copied());
        let what = if value.is_table() { "table" } else { "key" };
        let message = format!("unknown {what} {} {}", shown(name), self.label);
        let help = match meant {
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None if name == "include" => Some("`include` stands at the top, before the first [table]".to_owned()),
            None => super::home_of(name).map(|home| format!("it belongs in {home}")),
        };
        sink.report(place, Kind::Value, &message, help);
    }

    /// Where each key that was asked for stands. Of a table called so, each of its keys, as `env.LANG`.
    pub fn written(&self, tables: impl Fn(&str) -> bool + Copy) -> Written {
        let mut written = Written::default();
        for (key, value) in self.entries {
            let name = key.get_ref().as_ref();
            let Some(known) = self.known.iter().find(|known| **known == name) else { continue };
            match value.get_ref().as_table().filter(|_| tables(name)) {
                Some(entries) => written.add_all(known, entries, self.context.source, tables),
                None => written.add((*known).into(), self.context.place(key.span())),
            }
        }
        written
    }

    pub fn known(&self) -> &[&'static str] {
        &self.known
    }
}
