//! What the program is given, told to the core at the last moment before it is executed: by the clone that
//! has become its user, so that a file system that blocks, blocks this one start. The core itself never
//! looks at a path that a program can change.

use std::path::{Path, PathBuf};

use crate::model::boundary::{FileFact, FileRole, Grant};
use crate::protocol::spawner::{Command, StartSpec};
use crate::system::{account, credentials, hands};

use super::environment::Environment;
use super::identity::Who;
use super::privilege::Privileges;

/// More are not told.
const GROUPS_MAX: usize = 1024;
/// How many files of the command line are looked at, beside the program file.
const ARGUMENTS_MAX: usize = 4;

pub fn grant(spec: &StartSpec, who: &Who, privileges: &Privileges) -> Grant {
    Grant {
        uid: account::own_uid(),
        gid: account::own_gid(),
        groups: credentials::groups().ok().filter(|groups| groups.len() <= GROUPS_MAX),
        capabilities: privileges.wanted(),
        bounding: privileges.bounding(),
        no_new_privileges: privileges.no_new_privileges(),
        files: files(spec, who),
    }
}

/// The files that decide what is run and what is recorded. What cannot be looked at is left out: the
/// program itself will meet the same error.
fn files(spec: &StartSpec, who: &Who) -> Vec<FileFact> {
    let home = who.person().map_or("/", |person| person.home.as_str());
    let name = who.name();
    let mut paths: Vec<(FileRole, PathBuf)> = Vec::new();
    if let Command::Words(words) = &spec.command {
        let mut words = words.iter().map(|word| word.render(&name, home));
        paths.extend(
            words.next().and_then(|first| executable(first, spec, who)).map(|path| (FileRole::Executable, path)),
        );
        let arguments = words.map(PathBuf::from).filter(|path| path.is_absolute() && hands::is_plain_file(path));
        paths.extend(arguments.take(ARGUMENTS_MAX).map(|path| (FileRole::Argument, path)));
    }
    paths.extend(std::env::current_dir().ok().map(|path| (FileRole::WorkingDirectory, path)));
    paths.extend(spec.logs.iter().map(|log| (FileRole::Log, PathBuf::from(log.render(&name, home)))));
    paths.iter().filter_map(|(role, path)| fact(*role, path)).collect()
}

fn executable(first: String, spec: &StartSpec, who: &Who) -> Option<PathBuf> {
    if first.contains('/') {
        return Some(PathBuf::from(first));
    }
    let environment = Environment::new(spec, who);
    hands::search(&first, &String::from_utf8_lossy(environment.path()))
}

fn fact(role: FileRole, path: &Path) -> Option<FileFact> {
    let changers = hands::changers(path).ok()?;
    let path = Some(path.to_string_lossy().into_owned());
    Some(FileFact { role, path, by_user: changers.own, by_others: changers.others })
}
