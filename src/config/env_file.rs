//! `env_file`: variables from a file of lines `NAME=value`, as Debian keeps them in /etc/default.
//!
//! Understood are comments (`#`, `;`), `export `, and values in single or double quotes; nothing is
//! expanded and nothing is run. The file is part of the configuration: it is read when that is, under the
//! same rules about who may write it, and its faults have their place.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Files;
use super::table::{Item, shown};
use super::values::{is_variable_name, text};
use crate::model::template::Template;

/// A file to read; with a leading `-` it may be missing, as in systemd's EnvironmentFile=.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnvFile {
    pub path: PathBuf,
    pub may_be_missing: bool,
}

impl EnvFile {
    /// As it stands in the configuration.
    pub fn written(&self) -> String {
        format!("{}{}", if self.may_be_missing { "-" } else { "" }, self.path.display())
    }
}

/// The name of the file.
pub fn name(item: Item<'_>) -> Option<EnvFile> {
    let written = text(item)?;
    let (path, may_be_missing) = match written.strip_prefix('-') {
        Some(path) => (path, true),
        None => (&*written, false),
    };
    if !path.starts_with('/') {
        return item
            .refuse_with("`env_file` is an absolute path", "it begins with `/`, or with `-/` if it may be missing");
    }
    Some(EnvFile { path: path.into(), may_be_missing })
}

/// The variables of the file.
///
/// # Errors
/// Why it cannot be read, or the first line that makes no sense, in words.
pub fn read(file: &EnvFile, files: &mut dyn Files) -> Result<BTreeMap<String, Template>, String> {
    match files.read(&file.path) {
        Ok(text) => parse(&text).map_err(|(line, words)| format!("{}:{line}: {words}", file.path.display())),
        Err(_) if file.may_be_missing && !files.exists(&file.path) => Ok(BTreeMap::new()),
        Err(words) => Err(format!("{}: {words}", shown_path(&file.path))),
    }
}

fn shown_path(path: &Path) -> String {
    crate::model::text::escaped(&path.to_string_lossy()).into_owned()
}

fn parse(text: &str) -> Result<BTreeMap<String, Template>, (usize, String)> {
    let mut variables = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let at = |words: String| (index + 1, words);
        let assignment = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(at(format!("{} is not NAME=value", shown(line))));
        };
        let name = name.trim_end();
        if !is_variable_name(name) {
            return Err(at(format!("{} is not the name of a variable", shown(name))));
        }
        let value = unquoted(value.trim()).map_err(|words| at(words.to_owned()))?;
        if value.contains('\0') {
            return Err(at("a value has a NUL byte".to_owned()));
        }
        variables.insert(name.to_owned(), Template::literal(value));
    }
    Ok(variables)
}

/// A value without its quotes: in single ones everything is itself, in double ones and outside a
/// backslash takes the next character as it is.
fn unquoted(value: &str) -> Result<String, &'static str> {
    let mut out = String::new();
    let mut quote = None;
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            (None | Some('"'), '\\') => out.push(characters.next().ok_or("the line ends with a backslash")?),
            (_, _) => out.push(c),
        }
    }
    if quote.is_some() { Err("a quotation mark is not closed") } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, name: &str) -> Option<String> {
        parse(text).expect(text).get(name).map(|template| template.render("", ""))
    }

    #[test]
    fn lines_are_read_as_a_shell_would_without_running_anything() {
        let text = "# comment\n\n; too\nA=1\nexport B = 'x y $HOME'\nC=\"a\\\"b\" \nD=\nE=a\\ b\n";
        let expected = [("A", "1"), ("B", "x y $HOME"), ("C", "a\"b"), ("D", ""), ("E", "a b")];
        for (name, wanted) in expected {
            assert_eq!(value(text, name).as_deref(), Some(wanted), "{name}");
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        for (text, line) in [("A=1\nnonsense", 2), ("1A=x", 1), ("\n\nA='x", 3), ("A=x\\", 1), ("A B=c", 1)] {
            assert_eq!(parse(text).expect_err(text).0, line);
        }
    }
}
