//! Which files make up the configuration: the top one and what its `include` names.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::Files;
use super::fault::Source;
use super::table::{Context, Item, Table, shown};
use super::values::{all, text};

/// The largest file and all files together, in bytes, and the most files.
pub const FILE_MAX: usize = 4 << 20;
const TOTAL_MAX: usize = 64 << 20;
const FILES_MAX: usize = 1000;

/// Reads one file's text.
///
/// # Errors
/// Says in words why it cannot be read.
fn read(path: &Path, files: &mut dyn Files) -> Result<String, String> {
    match files.read(path) {
        Ok(text) if text.len() > FILE_MAX => Err(format!("the file is larger than {} MiB", FILE_MAX >> 20)),
        Ok(text) => Ok(text),
        Err(words) => Err(format!("cannot be read: {words}")),
    }
}

/// Reads the top file.
///
/// # Errors
/// Says in words why it cannot be read.
pub fn top(path: &Path, files: &mut dyn Files) -> Result<Source, String> {
    Ok(Source::new(path, 0, &read(path, files)?))
}

/// Reads what `include` of the top file names, in its order and, for each pattern, sorted.
pub fn included<'a>(top: &'a DeTable<'a>, context: Context<'a>, files: &mut dyn Files) -> Vec<Source> {
    let mut table = Table::new(top, String::new(), context.place(0..0), context);
    let given = table.take("include", |item| match item.list() {
        Some(items) => all(items, |item| Some((text(item)?, item))),
        None => Some(vec![(text(item)?, item)]),
    });
    let mut sources: Vec<Source> = Vec::new();
    let mut total = context.source.text.len();
    let mut seen = BTreeSet::from([context.source.path.clone()]);
    for (pattern, item) in given.value().into_iter().flatten() {
        for path in matches(pattern, *item, files) {
            if !seen.insert(path.clone()) {
                continue;
            }
            if sources.len() == FILES_MAX {
                let _: Option<()> = item.refuse(format!("more than {FILES_MAX} files are included"));
                return sources;
            }
            match read(&path, files) {
                Ok(text) if text.len() > TOTAL_MAX - total => {
                    let _: Option<()> =
                        item.refuse(format!("the files are larger than {} MiB together", TOTAL_MAX >> 20));
                    return sources;
                }
                Ok(text) => {
                    total += text.len();
                    sources.push(Source::new(&path, sources.len() + 1, &text));
                }
                Err(words) => {
                    context.sink.mark_incomplete();
                    let _: Option<()> = item.refuse(format!("{}: {words}", path.display()));
                }
            }
        }
    }
    if matches!(given, super::table::Given::Faulty) {
        context.sink.mark_incomplete();
    }
    sources
}

fn matches(pattern: &str, item: Item<'_>, files: &mut dyn Files) -> Vec<PathBuf> {
    let directory = item.context.source.path.parent().unwrap_or(Path::new(""));
    if !pattern.contains(['*', '?', '[']) {
        return vec![directory.join(pattern)];
    }
    let full = if pattern.starts_with('/') || directory.as_os_str().is_empty() {
        pattern.to_owned()
    } else {
        // The directory is a name and no pattern, whatever characters it has.
        match directory.to_str() {
            Some(directory) => format!("{}/{pattern}", glob::Pattern::escape(directory.trim_end_matches('/'))),
            None => {
                let _: Option<()> = item.refuse("the directory of this file has a name that is not UTF-8");
                return Vec::new();
            }
        }
    };
    match files.glob(&full) {
        Ok(paths) if paths.is_empty() => {
            // An empty conf.d is as good as a full one; one that is not there may be a slip of the pen.
            let searched = plain_directory(directory, pattern);
            if !files.exists(&searched) {
                let there = format!("there is no directory {}", searched.display());
                item.warn(&format!("no file matches {}: {there}", shown(pattern)), None);
            }
            Vec::new()
        }
        Ok(mut paths) => {
            paths.sort();
            paths
        }
        Err(words) => {
            item.context.sink.mark_incomplete();
            let _: Option<()> = item.refuse(format!("{}: {words}", shown(pattern)));
            Vec::new()
        }
    }
}

/// The directory in which a pattern begins to be one.
fn plain_directory(directory: &Path, pattern: &str) -> PathBuf {
    let plain = pattern.split(['*', '?', '[']).next().unwrap_or_default();
    let plain = plain.rfind('/').map_or("", |slash| &plain[..slash.max(1)]);
    directory.join(plain)
}

/// Reports an `include` in a file that is itself included.
pub fn refuse_nested(table: &mut Table<'_>) {
    table.take("include", |item| {
        item.refuse_with::<()>("an included file cannot include others", "name them all in the top file")
    });
}
