//! What can be judged only when all programs are known: names of groups, the number of processes, and
//! log files that two users would share.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::env_file::EnvFile;
use super::fault::{Kind, Place, Sink};
use super::notify::alert_to::AlertTo;
use super::origins::Written;
use super::table::shown;
use super::{Control, Environment, Supervisor};
use crate::model::id::{Account, ProcessId};
use crate::model::program::{ErrorOutput, Output, Program};

/// The most processes of all programs together.
pub const PROCESSES_MAX: u32 = 20_000;

/// A program with the places that a check may point at.
pub struct Placed<'a> {
    pub program: Program,
    pub header: Place<'a>,
    /// Where each of its keys stands.
    pub written: Written,
    pub group_name: Option<Place<'a>>,
    pub stdout: Option<Place<'a>>,
    pub stderr: Option<Place<'a>>,
    pub env_file: Option<(EnvFile, Place<'a>)>,
    pub alert_to: Option<AlertTo<'a>>,
}

pub fn group_names(programs: &[Placed<'_>], sink: &Sink) {
    let names: BTreeSet<&str> = programs.iter().map(|placed| placed.program.name.as_str()).collect();
    for placed in programs {
        let Some(group) = placed.program.group_name.as_deref() else { continue };
        if names.contains(group) {
            let message = format!("`group_name` is {}, which is the name of a program", shown(group));
            sink.report(placed.group_name.unwrap_or(placed.header), Kind::Value, &message, None);
        }
    }
}

/// Whether there are few enough processes; what looks at each of them must not begin otherwise.
pub fn process_count(programs: &[Placed<'_>], sink: &Sink) -> bool {
    let mut count = 0_u32;
    for placed in programs {
        count = count.saturating_add(placed.program.numprocs);
        if count > PROCESSES_MAX {
            let message = format!("with this program there are more than {PROCESSES_MAX} processes in all");
            sink.report(placed.header, Kind::Value, &message, None);
            return false;
        }
    }
    true
}

/// Two users must not write to one file: it belongs to one of them, and what it says would be from
/// either. Several processes of one user may.
pub fn log_files(
    programs: &[Placed<'_>],
    supervisor: &Supervisor,
    control: &Control,
    environment: &Environment,
    sink: &Sink,
) {
    let log_dir = tidy(&supervisor.log_dir);
    let own = [
        (tidy(&supervisor.event_log), "event log"),
        (tidy(&control.socket), "control socket"),
        (tidy(&supervisor.runtime_dir.join("lock")), "lock"),
        (tidy(&supervisor.state_dir.join("shell_history")), "shell history"),
        (tidy(&supervisor.state_dir.join("by_hand")), "memory of what was stopped by hand"),
    ];
    let mut places: Vec<(PathBuf, &Program, Place<'_>)> = Vec::new();
    let mut writers: BTreeMap<PathBuf, (&Option<Account>, &Program)> = BTreeMap::new();
    for placed in programs {
        let program = &placed.program;
        let stderr = match &program.exec.stderr {
            ErrorOutput::Stdout => None,
            ErrorOutput::Own(output) => Some((output, "stderr", placed.stderr)),
        };
        for (output, stream, place) in
            [Some((&program.exec.stdout, "stdout", placed.stdout)), stderr].into_iter().flatten()
        {
            let place = place.unwrap_or(placed.header);
            for path in paths(program, output, stream, &log_dir) {
                if let Some((_, what)) = own.iter().find(|(own, _)| *own == path) {
                    let message = format!("{} is the supervisor's {what}", shown(&path.to_string_lossy()));
                    sink.report(place, Kind::Value, &message, None);
                    break;
                }
                if path.components().any(|part| part == std::path::Component::ParentDir) {
                    let message = format!("{} goes through `..`", shown(&path.to_string_lossy()));
                    sink.report(place, Kind::Value, &message, Some("name the file directly".to_owned()));
                    break;
                }
                places.push((path.clone(), program, place));
                let (user, other) = *writers.entry(path.clone()).or_insert((&program.exec.user, program));
                if *output == Output::Auto && other.name != program.name {
                    let path = shown(&path.to_string_lossy());
                    let message = format!("`{}` and `{}` share the log file {path}", other.name, program.name);
                    sink.report(place, Kind::Warning, &message, Some("give one of them a path of its own".to_owned()));
                }
                // Without root all run as one user, by whatever name.
                if environment.root && *user != program.exec.user {
                    let path = shown(&path.to_string_lossy());
                    let message =
                        format!("`{}` would write to {path}, as `{}` does as another user", program.name, other.name);
                    sink.report(place, Kind::Value, &message, Some("give each user a file of its own".to_owned()));
                    break;
                }
            }
        }
    }
    rotated_names(&places, &writers, sink);
}

/// A log file whose name another one takes when it is rotated would be renamed over.
fn rotated_names(
    places: &[(PathBuf, &Program, Place<'_>)],
    writers: &BTreeMap<PathBuf, (&Option<Account>, &Program)>,
    sink: &Sink,
) {
    for (path, program, place) in places {
        let name = path.to_string_lossy();
        // Compressed ones are numbered likewise; while one is made, it has no number.
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let (base, number) = match (name.strip_suffix(".gz.tmp"), plain.rsplit_once('.')) {
            (Some(base), _) => (base, None),
            (None, Some((base, number))) => (base, number.parse::<u32>().ok()),
            (None, None) => continue,
        };
        let Some((_, other)) = writers.get(Path::new(base)) else { continue };
        let watch = &other.watch;
        let is_numbered = number.is_some_and(|number| (1..=watch.log_backups).contains(&number));
        let is_temporary = watch.log_compress && name.ends_with(".gz.tmp");
        if (is_numbered || is_temporary) && watch.log_maxbytes > 0 {
            let message = format!(
                "`{}` would write to {}, which is `{}`'s log when it is rotated",
                program.name,
                shown(&name),
                other.name
            );
            sink.report(*place, Kind::Value, &message, Some("choose a name that does not end so".to_owned()));
        }
    }
}

/// `a//b` and `a/./b` are the file `a/b`.
fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The files of one output of a program's processes, as far as they are known before the user is looked up.
fn paths(program: &Program, output: &Output, stream: &str, log_dir: &Path) -> Vec<PathBuf> {
    let user = program.exec.user.as_ref().map_or_else(String::new, ToString::to_string);
    // No path begins so: the home of one user is never taken for that of another.
    let home = format!("\0{user}");
    let ids = || (0..program.numprocs).map(|instance| ProcessId::new(&program.name, instance));
    match output {
        Output::Console | Output::Syslog | Output::Discard => Vec::new(),
        Output::Auto => {
            ids().map(|id| log_dir.join(format!("{}.{stream}.log", id.file_stem(program.numprocs)))).collect()
        }
        Output::File(template) if template.varies_by_process() => ids()
            .map(|id| {
                let filled = template.for_process(&id.shown(program.numprocs), id.instance);
                tidy(Path::new(&filled.render(&user, &home)))
            })
            .collect(),
        Output::File(template) => vec![tidy(Path::new(&template.render(&user, &home)))],
    }
}
