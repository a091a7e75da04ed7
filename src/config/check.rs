//! What can be judged only when all programs are known: names of groups, the number of processes, and
//! log files that two users would share.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::env_file::EnvFile;
use super::fault::{Kind, Place, Sink};
use super::table::shown;
use super::{Environment, Supervisor};
use crate::model::id::{Account, ProcessId};
use crate::model::program::{ErrorOutput, Output, Program};

/// The most processes of all programs together.
pub const PROCESSES_MAX: u32 = 20_000;

/// A program with the places that a check may point at.
pub struct Placed<'a> {
    pub program: Program,
    pub header: Place<'a>,
    pub group_name: Option<Place<'a>>,
    pub stdout: Option<Place<'a>>,
    pub stderr: Option<Place<'a>>,
    pub env_file: Option<(EnvFile, Place<'a>)>,
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
pub fn log_files(programs: &[Placed<'_>], supervisor: &Supervisor, environment: &Environment, sink: &Sink) {
    let (log_dir, event_log) = (tidy(&supervisor.log_dir), tidy(&supervisor.event_log));
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
                if path == event_log {
                    let message = format!("{} is the supervisor's event log", shown(&path.to_string_lossy()));
                    sink.report(place, Kind::Value, &message, None);
                    break;
                }
                let (user, other) = *writers.entry(path.clone()).or_insert((&program.exec.user, program));
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
        Output::Discard => Vec::new(),
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
