//! A configuration of which some programs are replaced by what the files say now, or taken out, while all
//! else stays as it is in force.
//!
//! What is judged when all programs are known is judged again: parts of two configurations, each without
//! a fault, can have one together.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;

use super::check::{self, Placed};
use super::fault::{Sink, Source};
use super::origins::Written;
use super::{Config, Environment};
use crate::model::id::ChannelName;
use crate::model::id::ProgramName;
use crate::model::program::Program;

impl Config {
    /// This configuration, with these programs as `disk` has them; those that it has not are gone. `root`:
    /// the supervisor runs as root.
    ///
    /// # Errors
    /// What of it does not go together, in words.
    pub fn taking(&self, disk: &Self, names: &BTreeSet<ProgramName>, root: bool) -> Result<Self, String> {
        let mut taken = self.without(names);
        let added: Vec<&Program> = disk.programs.iter().filter(|program| names.contains(&program.name)).collect();
        let places: Vec<usize> = disk.files.iter().map(|file| position(&mut taken.files, file)).collect();
        let at = |file: usize| places.get(file).copied().unwrap_or(usize::MAX);
        taken.origins.take(&disk.origins, added.iter().map(|program| &program.name), at);
        taken.programs.extend(added.into_iter().cloned());
        taken.judged(names, root)
    }

    /// This configuration without these programs.
    #[must_use]
    pub fn without(&self, names: &BTreeSet<ProgramName>) -> Self {
        let mut rest = self.clone();
        rest.programs.retain(|program| !names.contains(&program.name));
        names.iter().for_each(|name| rest.origins.remove_program(name));
        rest
    }

    fn judged(self, taken: &BTreeSet<ProgramName>, root: bool) -> Result<Self, String> {
        let known = |name: &ChannelName| self.notify.channels.iter().any(|channel| channel.name == *name);
        for program in self.programs.iter().filter(|program| taken.contains(&program.name)) {
            if let Some(unknown) = program.alerts.channels.iter().find(|name| !known(name)) {
                return Err(format!("`{}` alerts {unknown}, which is not in force", program.name));
            }
        }
        // Nothing stands anywhere: the words alone are told.
        let (source, sink) = (Source::new(Path::new(""), 0, ""), Sink::default());
        let nowhere = |program: &Program| Placed {
            program: program.clone(),
            header: source.place(0..0),
            written: Written::default(),
            group_name: None,
            stdout: None,
            stderr: None,
            env_file: None,
            alert_to: None,
        };
        let programs: Vec<Placed<'_>> = self.programs.iter().map(nowhere).collect();
        check::group_names(&programs, &sink);
        if check::process_count(&programs, &sink) {
            let environment = Environment { root, ..Environment::default() };
            check::log_files(&programs, &self.supervisor, &self.control, &environment, &sink);
        }
        drop(programs);
        match sink.finish() {
            Ok(_) => Ok(self),
            Err(faults) => {
                let faults = faults.list.iter().filter(|fault| !fault.warning);
                Err(faults.map(|fault| fault.message.clone()).collect::<Vec<_>>().join("; "))
            }
        }
    }
}

/// Where the file is in the list, at its end if it was not there.
fn position(files: &mut Vec<std::path::PathBuf>, file: &Path) -> usize {
    files.iter().position(|known| known == file).unwrap_or_else(|| {
        files.push(file.to_owned());
        files.len() - 1
    })
}
