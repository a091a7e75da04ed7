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
}

const CONSOLE: &str = "the console is no log file here; `taskmasterctl tail -f` shows what it writes";
const SYSLOG: &str = "programs do not write to syslog through Taskmaster; events do ([notify.syslog])";

/// Reads the options of one output, `stdout` or `stderr`.
pub fn read(reader: &mut Reader<'_, '_>, stream: &str, base: &str) -> Log {
    let option = |rest: &str| format!("{stream}_logfile{rest}");
    let syslog = reader.parsed(&format!("{stream}_syslog"), "true or false", values::boolean).unwrap_or(false);
    let mut target = match reader.open(&option(""), Use::Whole) {
        Some(text) => target(reader, &option(""), &text, base),
        None => Target::Auto,
    };
    if syslog && matches!(target, Target::Auto | Target::Discard) {
        target = Target::Nowhere(SYSLOG);
    }
    if syslog || target == Target::Nowhere(SYSLOG) {
        let option = if syslog { format!("{stream}_syslog") } else { option("") };
        reader.note(&option, SYSLOG);
    }
    if target == Target::Nowhere(CONSOLE) {
        reader.note(&option(""), CONSOLE);
    }
    let maxbytes = reader.parsed(&option("_maxbytes"), "a size in bytes, KB, MB or GB", values::size);
    let backups = reader.number(&option("_backups"), 0, 10_000);
    Log { target, maxbytes: maxbytes.map(|bytes| bytes.max(0)), backups }
}

fn target(reader: &mut Reader<'_, '_>, option: &str, text: &str, base: &str) -> Target {
    match &*text.to_lowercase() {
        "none" | "off" | "/dev/null" => return Target::Discard,
        "auto" => return Target::Auto,
        "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => return Target::Console,
        "syslog" => return Target::Nowhere(SYSLOG),
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
    if ["/dev/", "/proc/"].iter().any(|directory| known.starts_with(directory)) && !known.starts_with("/dev/shm/") {
        return Target::Nowhere(CONSOLE);
    }
    Target::Path(path)
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
