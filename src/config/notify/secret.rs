//! Secrets: in files of their own, never in the configuration, whose lines are shown in messages.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::super::fault::Kind;
use super::super::table::{Item, shown};
use super::super::{Environment, Files, values};
use crate::model::template::{Known, Template};

/// Only what is known of the machine: there is no program here.
struct Machine<'a>(&'a Environment);

impl Known for Machine<'_> {
    fn program(&self) -> Option<&str> {
        None
    }
    fn host(&self) -> &str {
        &self.0.host
    }
    fn env(&self, name: &str) -> Option<String> {
        self.0.env.get(name).cloned()
    }
}

/// An absolute path in which `${host}` and `${env:NAME}` are expanded, such as
/// `${env:CREDENTIALS_DIRECTORY}/smtp`.
pub fn path(item: Item<'_>) -> Option<PathBuf> {
    let raw = values::text(item)?;
    match Template::parse(&raw, &Machine(item.context.environment)) {
        Ok(template) => {
            let path = template.render("", "");
            if path.starts_with('/') && !path.ends_with('/') {
                return Some(path.into());
            }
            item.refuse_with(format!("{} is the absolute path of a file", shown(item.key)), "it begins with `/`")
        }
        Err(fault) => {
            let place = item.place.narrowed(raw.get(fault.start..fault.end).unwrap_or_default());
            item.context.sink.report(place, Kind::Value, &fault.message, None);
            None
        }
    }
}

/// A file with a secret, which is there and which nobody else can read.
pub fn file(item: Item<'_>, files: &mut dyn Files) -> Option<PathBuf> {
    let path = path(item)?;
    match files.secret(&path) {
        Ok(()) => Some(path),
        Err(words) => item.refuse(format!("{} {}: {words}", shown(item.key), path.display())),
    }
}

/// A secret that was written where it does not belong.
pub fn inline<T>(item: Item<'_>, key: &str) -> Option<T> {
    item.refuse_with(
        format!("{} does not stand in the configuration", shown(item.key)),
        format!("put it into a file of its own, mode 0600, and write: {key} = \"/etc/taskmaster/secret\""),
    )
}
