//! Who can change a file, or put another in its place: judged by owners and modes of the file and of all
//! that leads to it. Asked by a process that has become a program's user already, with that user's rights;
//! whatever blocks here blocks that one process.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, Mode, SFlag, stat};
use nix::unistd::{AccessFlags, eaccess};

use super::account;
use crate::model::id::{Gid, Uid};

/// The kernel's own bound (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Beside root, who always can.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changers {
    /// This process's own user, where that is not root.
    pub own: bool,
    /// Somebody else.
    pub others: bool,
}

/// Who can change what this path leads to.
///
/// Links are followed, and each link's own place counts, too. A sticky directory (`/tmp`) on the way
/// protects what belongs to others in it; as the place itself it does not.
///
/// # Errors
/// As stat(2): then nothing is known.
pub fn changers(path: &Path) -> io::Result<Changers> {
    let (own, group) = (account::own_uid(), account::own_gid());
    let mut found = Changers::default();
    let mut at = std::path::absolute(path)?;
    for _ in 0..LINKS_MAX {
        let directory = at.parent().unwrap_or(Path::new("/"));
        let real = std::fs::canonicalize(directory)?;
        for ancestor in directory.ancestors().chain(real.ancestors()) {
            found.add(&stat(ancestor)?, ancestor, (own, group), true);
        }
        let is_link = std::fs::symlink_metadata(&at)?.file_type().is_symlink();
        if !is_link {
            found.add(&stat(&at)?, &at, (own, group), false);
            return Ok(found);
        }
        // An absolute target replaces what it is joined to.
        at = real.join(std::fs::read_link(&at)?);
    }
    Err(Errno::ELOOP.into())
}

impl Changers {
    fn add(&mut self, stat: &FileStat, path: &Path, (own, group): (Uid, Gid), on_the_way: bool) {
        let mode = Mode::from_bits_truncate(stat.st_mode);
        if stat.st_uid == own.0 {
            self.own |= !own.is_root();
        } else {
            self.others |= stat.st_uid != 0;
        }
        if on_the_way && mode.contains(Mode::S_ISVTX) {
            return;
        }
        // A group of the user's own is the user; the members of any other are not.
        let by_group = mode.contains(Mode::S_IWGRP) && stat.st_gid != group.0 && stat.st_gid != 0;
        self.others |= by_group || mode.contains(Mode::S_IWOTH);
        // Also what lists of access rights, or a capability, allow.
        self.own |= !own.is_root() && eaccess(path, AccessFlags::W_OK).is_ok();
    }
}

/// Whether this is a plain file, links followed.
pub fn is_plain_file(path: &Path) -> bool {
    stat(path).is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG)
}

/// Where a command is that is named without a slash: the first file in these directories that this
/// process may execute.
pub fn search(name: &str, directories: &str) -> Option<PathBuf> {
    let candidates = directories.split(':').filter(|one| one.starts_with('/')).map(|one| Path::new(one).join(name));
    candidates.into_iter().find(|path| is_plain_file(path) && eaccess(path, AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    /// A directory that only we can write, in `/tmp`.
    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
    }

    fn others(path: &Path) -> bool {
        changers(path).expect("it is there").others
    }

    #[test]
    fn the_systems_own_files_are_changed_by_nobody_but_root() {
        assert!(!others(Path::new("/etc/passwd")) && !others(Path::new("/bin/sh")) && !others(Path::new("/")));
        assert!(changers(Path::new("/no/such/file")).is_err());
    }

    #[test]
    fn a_file_is_as_safe_as_what_leads_to_it() {
        let directory = directory();
        let inner = directory.path().join("inner");
        let (file, link) = (inner.join("file"), directory.path().join("link"));
        std::fs::create_dir(&inner).expect("mkdir");
        std::fs::write(&file, "x").expect("writes");
        symlink("inner/file", &link).expect("symlink");
        assert!(!others(&file) && !others(&link), "sticky /tmp protects");
        mode(&file, 0o666);
        assert!(others(&file) && others(&link));
        mode(&file, 0o644);
        mode(&inner, 0o777);
        assert!(others(&file) && others(&link));
        mode(&inner, 0o1777);
        assert!(!others(&file) && others(&inner), "sticky on the way, not as the place itself");
        mode(&inner, 0o755);
        mode(directory.path(), 0o777);
        symlink("/etc/passwd", directory.path().join("etc")).expect("symlink");
        assert!(others(&directory.path().join("etc")), "the link can be swapped");
        mode(directory.path(), 0o755);
        if account::own_uid().is_root() {
            chown(&file, Some(12345), None).expect("chown");
            assert!(others(&file) && others(&link));
        }
    }

    #[test]
    fn a_ring_of_links_is_an_error() {
        let directory = directory();
        symlink("b", directory.path().join("a")).expect("symlink");
        symlink("a", directory.path().join("b")).expect("symlink");
        assert!(changers(&directory.path().join("a")).is_err());
    }

    #[test]
    fn a_command_is_searched_as_the_user_would() {
        assert!(search("sh", "relative:/no/such:/usr/bin:/bin").is_some_and(|path| path.ends_with("sh")));
        assert_eq!(search("no-such-command-here", "/usr/bin:/bin"), None);
        assert_eq!(search("bin", "/usr"), None, "a directory is none");
    }
}
