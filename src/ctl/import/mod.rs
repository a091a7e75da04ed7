//! `import FILE`: a supervisord.conf, or the YAML of a `programs:` map → our configuration with comments, and a list
//! of what was not carried over.
//!
//! `ini` reads as Python's RawConfigParser does, `expand` and `words` as its `%` and `shlex`, `values` as
//! supervisord's own conversions; `scope` is what names mean at one place. `supervisord` goes over the sections:
//! `settings` translates those about supervisord itself, `program` those of programs, with `logs`, `names` and
//! `dropped`. `yaml` is the other format, `document` the result, `report` what is told beside it.
//!
//! All of that is text to text. Only this file touches files.
#![forbid(unsafe_code)]

mod document;
mod dropped;
mod expand;
mod ini;
mod logs;
mod names;
mod program;
#[cfg(test)]
mod properties_tests;
mod report;
mod scope;
mod settings;
mod supervisord;
#[cfg(test)]
mod tests;
mod values;
mod words;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::fault::Failure;
use super::screen::Screen;
use super::session::pretty;
use crate::model::text::escaped;
use crate::system::{account, intake};

/// The result of an import.
#[derive(Debug, PartialEq)]
pub struct Import {
    pub toml: String,
    /// What is not as it was, a line each.
    pub notes: Vec<String>,
}

/// Where the texts come from.
pub trait Texts {
    /// The text of a file.
    ///
    /// # Errors
    /// Says why it cannot be read, without its path.
    fn read(&mut self, path: &Path) -> Result<String, String>;

    /// The files that match the pattern, in any order.
    fn glob(&mut self, pattern: &str) -> Vec<PathBuf>;
}

/// What supervisord would know of the machine.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub env: BTreeMap<String, String>,
    pub host: String,
}

/// Larger files are no configurations.
const SIZE_MAX: usize = 4 << 20;
/// So long a pipe may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

struct Disk;

impl Texts for Disk {
    fn read(&mut self, path: &Path) -> Result<String, String> {
        let text = intake::read(path, SIZE_MAX, PATIENCE)?;
        String::from_utf8(text).map_err(|_| "it is not UTF-8 text; convert it with iconv(1)".to_owned())
    }

    fn glob(&mut self, pattern: &str) -> Vec<PathBuf> {
        // Python's: `**` is no more than `*`, and a `*` matches no dot at the beginning of a name.
        let mut pattern = pattern.to_owned();
        while pattern.contains("**") {
            pattern = pattern.replace("**", "*");
        }
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        glob::glob_with(&pattern, options).map(|paths| paths.filter_map(Result::ok).collect()).unwrap_or_default()
    }
}

/// Translates the file: 0 done, 1 it cannot be translated.
pub fn run(file: &Path, json: bool, screen: &mut Screen) -> Result<u8, Failure> {
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let around = Surroundings {
        env: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        host: account::host_name(),
    };
    match import(&path, &mut Disk, &around) {
        Ok(import) if json => screen.print(&pretty(&json!({ "toml": import.toml, "notes": import.notes })))?,
        Ok(import) => {
            for note in &import.notes {
                screen.complain(note);
            }
            screen.print(&import.toml)?;
        }
        Err(faults) => {
            for fault in faults {
                screen.complain(&fault);
            }
            screen.complain(&format!("taskmasterctl: {} was not imported", escaped(&file.to_string_lossy())));
            return Err(Failure::Told(1));
        }
    }
    Ok(0)
}

/// The shell on the supervisor's terminal is confined: it may open no file.
pub fn refuse(screen: &mut Screen) -> u8 {
    screen.complain("taskmasterctl: this shell may open no file; type `taskmasterctl import FILE` on another terminal");
    1
}

/// Translates a file by what it is.
///
/// # Errors
/// Every reason why not, a line each.
pub fn import(path: &Path, texts: &mut dyn Texts, around: &Surroundings) -> Result<Import, Vec<String>> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if matches!(extension, "yaml" | "yml") {
        return yaml::import(path, texts);
    }
    supervisord::import(path, texts, around)
}
