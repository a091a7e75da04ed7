//! Values with `${…}` in them: command words, variables, paths.
//!
//! They are checked where they stand and kept as text, because the value of `[defaults]` is expanded
//! anew for every program that takes it; [`Names::template`] does that. What is checked here holds for
//! any program, process and user: those change names inside a value, not what kind of value it is.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::Environment;
use super::fault::Kind;
use super::table::{Item, shown};
use super::values::{all, is_variable_name, text};
use crate::model::template::{Known, Template};

/// What `${…}` stands for while the configuration is read.
pub struct Names<'a> {
    pub program: &'a str,
    pub environment: &'a Environment,
}

impl Known for Names<'_> {
    fn program(&self) -> Option<&str> {
        Some(self.program)
    }
    fn host(&self) -> &str {
        &self.environment.host
    }
    fn env(&self, name: &str) -> Option<String> {
        self.environment.env.get(name).cloned()
    }
}

impl Names<'_> {
    /// A checked value for this program. A value that was refused does not get here; should one, it is
    /// taken literally.
    pub fn template(&self, raw: &str) -> Template {
        Template::parse(raw, self).unwrap_or_else(|_| Template::literal(raw))
    }
}

/// What a value can look like in the end, with something in place of all that is not known yet.
fn sample(item: Item<'_>, raw: &str) -> Option<String> {
    let names = Names { program: "program", environment: item.context.environment };
    match Template::parse(raw, &names) {
        Ok(template) => Some(template.for_process("program:0", 0).render("user", "/home")),
        Err(fault) => {
            let place = item.place.narrowed(raw.get(fault.start..fault.end).unwrap_or_default());
            item.context.sink.report(place, Kind::Value, &fault.message, None);
            None
        }
    }
}

/// A text in which names are expanded.
pub fn template(item: Item<'_>) -> Option<String> {
    let raw = text(item)?;
    sample(item, &raw)?;
    Some(raw)
}

/// An absolute path in which names are expanded.
pub fn path(item: Item<'_>) -> Option<String> {
    let raw = text(item)?;
    if sample(item, &raw)?.starts_with('/') {
        return Some(raw);
    }
    item.refuse_with(format!("{} is an absolute path", shown(item.key)), "it begins with `/`")
}

/// An absolute path in which names are expanded, and whether it may be missing: then a `-` stands before it.
pub fn optional_path(item: Item<'_>) -> Option<(String, bool)> {
    let written = text(item)?;
    let raw = written.strip_prefix('-').unwrap_or(&written);
    if sample(item, raw)?.starts_with('/') {
        return Some((raw.to_owned(), raw.len() < written.len()));
    }
    let help = "it begins with `/`, or with `-/` if it may be missing";
    item.refuse_with(format!("{} is a list of absolute paths", shown(item.key)), help)
}

/// Where an output goes, as it was said.
#[derive(Clone)]
pub enum Target {
    Auto,
    /// The supervisor's own standard output.
    Console,
    /// The local log daemon.
    Syslog,
    Discard,
    /// Standard error only: where standard output goes.
    Stdout,
    Path(String),
}

pub fn stdout(item: Item<'_>) -> Option<Target> {
    target(item, "\"auto\", \"console\", \"syslog\", \"discard\" or an absolute path")
}

pub fn stderr(item: Item<'_>) -> Option<Target> {
    match item.value {
        DeValue::String(text) if text == "stdout" => Some(Target::Stdout),
        _ => target(item, "\"stdout\", \"auto\", \"console\", \"syslog\", \"discard\" or an absolute path"),
    }
}

fn target(item: Item<'_>, what: &str) -> Option<Target> {
    let raw = text(item)?;
    match raw.as_str() {
        "auto" => Some(Target::Auto),
        // The logger would try to rotate a device.
        "discard" | "/dev/null" => Some(Target::Discard),
        "console" => Some(Target::Console),
        "syslog" => Some(Target::Syslog),
        "none" | "NONE" | "null" => {
            item.refuse_with(format!("{} is {what}", shown(item.key)), "did you mean \"discard\"?")
        }
        _ if is_own_output(&sample(item, &raw)?) => {
            // Nobody's lines would be told apart there.
            let help =
                "write \"console\": each line on the supervisor's standard output, after the name of its process";
            item.refuse_with(
                format!("{} is no log file: {raw} is whatever its reader has there", shown(item.key)),
                help,
            )
        }
        "/dev/log" => {
            item.refuse_with(format!("{} is no log file: /dev/log is a socket", shown(item.key)), "write \"syslog\"")
        }
        _ if sample(item, &raw)?.starts_with('/') => Some(Target::Path(raw)),
        _ => item.refuse(format!("{} is {what}", shown(item.key))),
    }
}

/// The names that each process has for its own descriptors and terminal.
fn is_own_output(path: &str) -> bool {
    matches!(path, "/dev/stdout" | "/dev/stderr" | "/dev/tty")
        || ["/dev/fd/", "/proc/self/fd/"].iter().any(|directory| path.starts_with(directory))
}

/// The words of a command: a text is split as a shell splits it, a list is taken as it is. Expansion
/// comes after, so that nothing in a value makes two words of one.
pub fn command(item: Item<'_>) -> Option<Vec<String>> {
    let words = match item.value {
        DeValue::String(_) => match shell_words::split(&text(item)?) {
            Ok(words) => words,
            Err(_) => return item.refuse("`cmd` has a quote that is not closed"),
        },
        DeValue::Array(_) => all(item.list()?, text)?,
        _ => return item.expected("a string or a list of strings"),
    };
    let Some(first) = words.first() else {
        return item.refuse_with("`cmd` is empty", "it begins with the program to run");
    };
    let program = sample(item, first);
    let rest = words.iter().skip(1).filter(|word| sample(item, word).is_none()).count();
    let program = program?;
    if program.is_empty() {
        return item.refuse("the first word of `cmd`, the program to run, is empty");
    }
    if program.contains('/') && !program.starts_with('/') {
        let message = format!("{} is relative to no known directory", shown(first));
        return item.refuse_with(message, "write its absolute path, or a bare name to be found in PATH");
    }
    (rest == 0).then_some(words)
}

/// Variables: strings with names to expand; numbers and booleans as they are written.
pub fn variables(item: Item<'_>) -> Option<BTreeMap<String, String>> {
    let Some(entries) = item.entries() else {
        return item.expected("a table of variables, as in { NAME = \"value\" }");
    };
    let count = entries.len();
    let mut variables = BTreeMap::new();
    for (key, entry) in entries {
        let value = match entry.value {
            DeValue::String(_) => template(entry),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) => Some(number.to_string()),
                Err(_) => entry.refuse_with("the number is too large", "write it in quotes"),
            },
            DeValue::Float(float) => Some(float.as_str().to_owned()),
            DeValue::Boolean(value) => Some(value.to_string()),
            _ => entry.expected("a string, a number or a boolean"),
        };
        if !is_variable_name(entry.key) {
            let message = format!("{} is not the name of a variable", shown(entry.key));
            let help = "letters, digits and `_`, beginning with no digit".to_owned();
            item.context.sink.report(key, Kind::Value, &message, Some(help));
        } else if let Some(value) = value {
            variables.insert(entry.key.to_owned(), value);
        }
    }
    (variables.len() == count).then_some(variables)
}
