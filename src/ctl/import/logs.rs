//! Where output went, and paths that were relative to wherever supervisord stood.
#![forbid(unsafe_code)]

use super::expand::closed;
use super::scope::{Reader, Use};
use super::values;

/// Where one output goes.
#[derive(Clone, PartialEq, Debug)]
pub enum Target {
    /// A file in `log_dir`.
    Auto,
    /// The supervisor's own standard output.
    Console,
    /// The local log daemon.
    Syslog,
    Discard,
    Path(String),
    /// Somewhere that ours does not go; why it becomes a file in `log_dir`.
    Nowhere(&'static str),
}

/// One output of a process.
#[derive(Clone, PartialEq, Debug)]
pub struct Log {
    pub target: Target,
    pub maxbytes: Option<i64>,
    pub backups: Option<i64>,
}

impl Log {
    pub fn path(&self) -> Option<&str> {
        match &self.target {
            Target::Path(path) => Some(path),
            _ => None,
        }
    }

    /// It has a size, and older ones beside it.
    pub fn is_file(&self) -> bool {
        match self.target {
            Target::Auto | Target::Path(_) | Target::Nowhere(_) => true,
            Target::Console | Target::Syslog | Target::Discard => false,
        }
    }
}

const DEVICE: &str = "a device is no log file here; `taskmasterctl tail -f` shows what it writes";
const NAMED: &str = "each line has the name of its process before it: `web | line`";
const SYSLOG: &str = "a line is daemon.info of stdout and daemon.warning of stderr, with the program's name as its tag; \
                      supervisord's were user.info with its own";
const AND_FILE: &str =
    "an output goes one way: not to the file in `childlogdir`, too; `taskmasterctl tail` has the last lines";
const AND_SYSLOG: &str = "an output goes one way: to the file, not to syslog, too; with \"syslog\" instead of the path it \
                          goes there";

/// Reads the options of one output, `stdout` or `stderr`.
pub fn read(reader: &mut Reader<'_, '_>, stream: &str, base: &str) -> Log {
    let option = |rest: &str| format!("{stream}_logfile{rest}");
    let syslog = reader.parsed(&format!("{stream}_syslog"), "true or false", values::boolean).unwrap_or(false);
    let mut target = match reader.open(&option(""), Use::Whole) {
        Some(text) => target(reader, &option(""), &text, base),
        None => Target::Auto,
    };
    if syslog {
        let why = match target {
            Target::Auto => AND_FILE,
            Target::Discard | Target::Syslog => SYSLOG,
            Target::Console | Target::Path(_) | Target::Nowhere(_) => AND_SYSLOG,
        };
        reader.note(&format!("{stream}_syslog"), why);
        if matches!(target, Target::Auto | Target::Discard) {
            target = Target::Syslog;
        }
    }
    match target {
        Target::Syslog if !syslog => reader.note(&option(""), SYSLOG),
        Target::Nowhere(why) => reader.note(&option(""), why),
        Target::Console if stream == "stdout" => reader.note(&option(""), NAMED),
        Target::Console => reader.note(&option(""), &format!("it comes on standard output; {NAMED}")),
        _ => {}
    }
    let maxbytes = reader.parsed(&option("_maxbytes"), "a size in bytes, KB, MB or GB", values::size);
    let backups = reader.number(&option("_backups"), 0, 10_000);
    Log { target, maxbytes: maxbytes.map(|bytes| bytes.max(0)), backups }
}

fn target(reader: &mut Reader<'_, '_>, option: &str, text: &str, base: &str) -> Target {
    match &*text.to_lowercase() {
        "none" | "off" => return Target::Discard,
        "auto" => return Target::Auto,
        "syslog" => return Target::Syslog,
        _ => {}
    }
    let path = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = reader.scope.around.env.get("HOME").map_or("/root", String::as_str);
            reader.note(option, &format!("`~` is the home of whoever ran supervisord; {home} was taken"));
            format!("{home}{rest}")
        }
        _ => text.to_owned(),
    };
    let path = absolute(reader, option, &path, base);
    let known = closed(&path, &|name| reader.scope.value_of(name)).unwrap_or_else(|_| path.clone());
    match known.as_str() {
        "/dev/null" => Target::Discard,
        known if is_own_output(known) => Target::Console,
        known if known.starts_with("/dev/shm/") => Target::Path(path),
        known if ["/dev/", "/proc/"].iter().any(|directory| known.starts_with(directory)) => Target::Nowhere(DEVICE),
        _ => Target::Path(path),
    }
}

/// What containers have instead of log files: supervisord's own standard output or error.
pub fn is_own_output(path: &str) -> bool {
    let descriptor = ["/dev/fd/", "/proc/self/fd/", "/dev/std"].iter().find_map(|before| path.strip_prefix(before));
    matches!(descriptor, Some("1" | "2" | "out" | "err"))
}

/// The path from the root directory on, without `.` and `..`.
pub fn absolute(reader: &mut Reader<'_, '_>, option: &str, path: &str, base: &str) -> String {
    if reader.scope.is_absolute(path) {
        return normal(path);
    }
    let absolute = normal(&format!("{base}/{path}"));
    reader
        .note(option, &format!("`{}` was relative; {base} was taken as where it begins", super::expand::written(path)));
    absolute
}

/// Python's `os.path.normpath`.
pub fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

/// Directories where everybody can make files: what is opened there by root may be somebody else's choice.
pub fn is_in_common_directory(path: &str) -> bool {
    ["/tmp/", "/var/tmp/", "/dev/shm/"].iter().any(|directory| path.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_as_python_does() {
        for (path, normalised) in
            [("/a//b/./c", "/a/b/c"), ("/a/../b", "/b"), ("/..", "/"), ("a/b/..", "a"), ("/a/", "/a")]
        {
            assert_eq!(normal(path), normalised);
        }
    }
}
