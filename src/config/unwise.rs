//! What a configuration may say and had better not: `check` tells it, and nothing refuses it.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::Config;
use crate::model::program::{ErrorOutput, Output, Program};
use crate::model::settings::{self, Source, hidden};

/// Directories where everybody can make files.
const COMMON: [&str; 3] = ["/tmp/", "/var/tmp/", "/dev/shm/"];

/// A line each. `is_private`: whether nobody but its owner can read a file.
pub fn unwise(config: &Config, is_private: impl Fn(&Path) -> bool) -> Vec<String> {
    let is_root = |program: &&Program| program.exec.user.as_ref().is_some_and(|user| user.is_root());
    let root: Vec<&str> = config.programs.iter().filter(is_root).map(|program| program.name.as_str()).collect();
    let mut words = common_directories(config);
    if !root.is_empty() {
        words.push(format!(
            "{} run{} as root; a `user` of its own, with `capabilities` where it needs one, is safer",
            root.join(", "),
            if root.len() == 1 { "s" } else { "" }
        ));
    }
    for program in &config.programs {
        words.extend(secrets(config, program, &is_private));
        words.extend(common_logs(program));
        words.extend(nothing_to_compress(program));
    }
    words
}

/// What never rotates is never compressed.
fn nothing_to_compress(program: &Program) -> Option<String> {
    let watch = &program.watch;
    let key = [("log_backups", watch.log_backups == 0), ("log_maxbytes", watch.log_maxbytes == 0)];
    let (key, _) = key.into_iter().find(|(_, is_zero)| watch.log_compress && *is_zero)?;
    let name = &program.name;
    Some(format!("[programs.{name}]: `log_compress` has nothing to compress, because `{key}` is 0 and no file is kept"))
}

/// Settings that look like a secret: in a file that others can read, or in a command, which all can see.
fn secrets(config: &Config, program: &Program, is_private: &impl Fn(&Path) -> bool) -> Vec<String> {
    let of = |(key, value): settings::Entry| {
        if hidden(&key, value.clone()) == value {
            return None;
        }
        if key == "cmd" {
            let text = "`cmd` has a password in it, which everybody sees in the list of processes; \
                        let the program read it from a file";
            return Some(text.to_owned());
        }
        let (source, spot) = config.origins.of_program(&program.name, &key);
        let file = spot.and_then(|spot| config.files.get(spot.file)).filter(|_| source != Source::EnvFile)?;
        let text = "which others can read; put it into an `env_file` that only root can read (chmod 0600)";
        (!is_private(file)).then(|| format!("`{key}` looks like a secret, in {}, {text}", file.display()))
    };
    let lines = settings::of_program(program).into_iter().filter_map(of);
    lines.map(|text| format!("[programs.{}]: {text}", program.name)).collect()
}

/// What lies directly in a directory where everybody can make files.
fn in_common(path: &str) -> bool {
    // A directory of its own there may be as safe as any.
    COMMON
        .iter()
        .filter_map(|directory| path.strip_prefix(directory))
        .any(|rest| !rest.trim_end_matches('/').contains('/'))
}

/// Places of the supervisor itself that somebody else can take before its first start, so that there is none.
fn common_directories(config: &Config) -> Vec<String> {
    let own = &config.supervisor;
    let places = [("log_dir", &own.log_dir), ("state_dir", &own.state_dir), ("runtime_dir", &own.runtime_dir)];
    let is_written = |key: &str| config.origins.supervisor.find(key).is_some();
    let told = |(key, path): &(&str, &PathBuf)| {
        let path = path.to_string_lossy();
        let text = "is where everybody can make files: whoever makes it first keeps the supervisor from starting, and \
                    what is there may be cleaned away";
        (is_written(key) && in_common(&path)).then(|| format!("[supervisor]: `{key}` {path} {text}"))
    };
    places.iter().filter_map(told).collect()
}

/// Logs whose name somebody else can take first. For root's programs such a log is not opened at all, and that
/// is told elsewhere.
fn common_logs(program: &Program) -> Vec<String> {
    if program.exec.user.as_ref().is_some_and(|user| user.is_root()) {
        return Vec::new();
    }
    let stderr = match &program.exec.stderr {
        ErrorOutput::Stdout => None,
        ErrorOutput::Own(output) => Some(("stderr", output)),
    };
    let outputs = [Some(("stdout", &program.exec.stdout)), stderr].into_iter().flatten();
    let line = |(key, output): (&str, &Output)| {
        let Output::File(path) = output else { return None };
        let path = path.shown();
        in_common(&path).then(|| {
            format!(
                "[programs.{}]: `{key}` {path} is where everybody can make files, and somebody else can make it first; \
                 \"auto\" is a file in `log_dir`",
                program.name
            )
        })
    };
    outputs.filter_map(line).collect()
}
