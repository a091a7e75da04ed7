//! `restrict_paths`: the files that are left to the program. Among the last steps, with no more than the
//! user's rights, because the steps before open files of their own.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::model::program::{ListedPath, OnUnsupported};
use crate::model::stage::{Stage, StartFailure};
use crate::protocol::spawner::StartSpec;
use crate::system::execute;
use crate::system::restrict::{self, Access, Restricted};

use super::identity::Who;
use super::report::{Reporter, errno, failure};

/// What is restricted, for the words of an execution that fails.
pub struct Restriction {
    /// The paths to execute from, without links. `None`: nothing is restricted.
    execute: Option<Vec<PathBuf>>,
}

/// Leaves the program the listed paths and no others. The status that the kernel's own version gives is the
/// verification: there is no file that is sure to be there, to be refused.
pub fn to_listed_paths(spec: &StartSpec, who: &Who, reporter: &Reporter) -> Result<Restriction, StartFailure> {
    let Some(wanted) = &spec.restrict_paths else { return Ok(Restriction { execute: None }) };
    reporter.reached(Stage::RestrictPaths);
    let home = who.person().map_or("/", |person| person.home.as_str());
    let name = who.name();
    let mut found = Vec::new();
    let mut from = Vec::new();
    for (paths, access) in
        [(&wanted.read, Access::Read), (&wanted.write, Access::Write), (&wanted.execute, Access::Execute)]
    {
        for listed in paths {
            let path = PathBuf::from(listed.path.render(&name, home));
            let Some(place) = find(listed, &path)? else { continue };
            found.push((place, access));
            if access == Access::Execute {
                from.push(fs::canonicalize(&path).unwrap_or(path));
            }
        }
    }
    let restricted = restrict::leave_only(&found).map_err(|error| failure(Stage::RestrictPaths, "", &error))?;
    match (restricted, wanted.on_unsupported) {
        (Restricted::Wholly, _) => {}
        (Restricted::Less(why), OnUnsupported::BestEffort) => reporter.unrestricted(why)?,
        (Restricted::Less(why), OnUnsupported::Refuse) => {
            let error = format!("{why}; on_unsupported = \"best-effort\" would start it all the same");
            return Err(StartFailure { stage: Stage::RestrictPaths, errno: 0, subject: String::new(), error });
        }
    }
    Ok(Restriction { execute: Some(from) })
}

fn find(listed: &ListedPath, path: &Path) -> Result<Option<OwnedFd>, StartFailure> {
    match restrict::find(path) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::ENOENT) if listed.optional => Ok(None),
        Err(error) => {
            let mut failure = errno(Stage::RestrictPaths, path.display(), error);
            if error == Errno::ENOENT {
                failure.error = format!("{} (a path that begins with \"-/\" may be missing)", failure.error);
            }
            Err(failure)
        }
    }
}

impl Restriction {
    /// A file that its user could execute, and that is not: says which path is missing.
    pub fn explain(&self, mut failure: StartFailure) -> StartFailure {
        let path = Path::new(&failure.subject);
        let denied = failure.stage == Stage::Exec && failure.errno == libc::EACCES && execute::may_execute(path);
        if let Some(from) = self.execute.as_ref().filter(|_| denied && path.is_file()) {
            failure.error = words(path, from);
        }
        failure
    }
}

fn words(path: &Path, from: &[PathBuf]) -> String {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let within = |path: &Path| from.iter().any(|listed| path.starts_with(listed));
    if !within(&real) {
        return format!("{} is in no `execute` path of `restrict_paths`", real.display());
    }
    let mut head = Vec::new();
    let read = fs::File::open(&real).and_then(|file| file.take(2).read_to_end(&mut head));
    let other = if read.is_ok() && head == b"#!" { "the interpreter in its first line" } else { "its dynamic loader" };
    format!("{other} is in no `execute` path of `restrict_paths`")
}
