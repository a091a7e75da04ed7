//! Directories: whether a path lies in trusted hands alone, and making our own.
//!
//! A path is walked component by component on descriptors (`way`), so that what was judged is what is used
//! afterwards: nobody can swap a directory in between.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fchmod, fstat};

pub use super::way::DirectoryError;
use super::way::{Doubt, End, Rules, Way};
use crate::model::id::{Gid, Uid};

/// A directory that was walked to.
pub enum Walked {
    /// Nobody can change what lies there but root and the supervisor's own user: safe to use as these.
    Trusted(OwnedFd),
    /// Others can, too; this is the first that makes it so. Nothing is open where the way has ended at a link
    /// of theirs.
    Others(Doubt, Option<OwnedFd>),
}

/// Walks to a directory.
///
/// Trusted means: every directory on the way belongs to root or `own`, and is writable by its owner
/// alone or sticky (then what root made in it stays root's); the last one is writable by its owner alone.
/// Links are followed only where nobody else could have put them.
///
/// # Errors
/// The first component that does not exist or is no directory.
pub fn walk(path: &Path, own: Uid) -> Result<Walked, DirectoryError> {
    walk_judging(path, own, false)
}

/// `sticky_is_fine`: of the last directory, too: for what is only made there, never taken from there.
fn walk_judging(path: &Path, own: Uid, sticky_is_fine: bool) -> Result<Walked, DirectoryError> {
    let mut way = Way::begin(own)?;
    let end = way.go(path, Rules::default())?;
    if matches!(end, End::Directory) {
        way.judge(sticky_is_fine);
    }
    let directory = match end {
        End::Directory => Some(way.directory),
        End::Link => None,
        End::Other(..) => return Err(DirectoryError::words(path, "is not a directory")),
    };
    match (way.doubts.into_iter().next(), directory) {
        (None, Some(directory)) => Ok(Walked::Trusted(directory)),
        (Some(doubt), directory) => Ok(Walked::Others(doubt, directory)),
        (None, None) => Err(DirectoryError::words(path, "cannot be walked to")),
    }
}

/// Makes sure that one of our own directories is there, and opens it (for use with names relative to it).
///
/// It is made with this mode if it is missing, its parents with 0755. It is no link, and in trusted hands as
/// [`walk`] has it, with `own` as the supervisor's user.
///
/// # Errors
/// What stands in the way, where, and how it is mended.
pub fn ensure(path: &Path, mode: u32, own: Uid) -> Result<OwnedFd, DirectoryError> {
    let mut way = Way::begin(own)?;
    let rules = Rules { make: Some(mode), no_last_link: true };
    match way.go(path, rules)? {
        End::Directory => way.judge(false),
        End::Other(..) | End::Link => return Err(DirectoryError::words(path, "is not a directory")),
    }
    match way.doubts.first() {
        Some(doubt) => Err(DirectoryError::doubt(doubt)),
        None => Ok(way.directory),
    }
}

/// Opens a directory in which we make names, and which must be there, in trusted hands as [`walk`] has it.
///
/// # Errors
/// What stands in the way, where, and how it is mended.
pub fn trusted(path: &Path, own: Uid) -> Result<OwnedFd, DirectoryError> {
    match walk(path, own)? {
        Walked::Trusted(directory) => Ok(directory),
        Walked::Others(doubt, _) => Err(DirectoryError::doubt(&doubt)),
    }
}

/// What would be refused of a directory of our own, whether or not it is there yet; makes nothing.
///
/// # Errors
/// What stands in the way, where, and how it is mended: everything at once. What is merely missing, or out
/// of sight for this user, is not told.
pub fn judge(path: &Path, own: Uid, no_last_link: bool) -> Result<(), Vec<DirectoryError>> {
    let mut way = Way::begin(own).map_err(|error| vec![error])?;
    let ended = way.go(path, Rules { make: None, no_last_link });
    let mut errors = Vec::new();
    match ended {
        Ok(End::Directory) => way.judge(false),
        Ok(End::Other(..)) => errors.push(DirectoryError::words(path, "is not a directory")),
        Ok(End::Link) => {}
        Err(error) if matches!(error.errno, libc::ENOENT | libc::EACCES) => {}
        Err(error) => errors.push(error),
    }
    errors.splice(0..0, way.doubts.iter().map(DirectoryError::doubt));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Whose a worker's directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    Ourselves(Uid),
    /// We are root.
    Other(Uid, Gid),
}

/// Who may look into a worker's directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readers {
    Owner,
    Others,
}

/// Opens a directory that is a worker's own, for it to keep; and makes it, mode 0700, if it is not there.
///
/// As root no link is followed on the way, and a directory is made only where nobody but root could have put
/// another in its place. One that is there must belong to the owner and be writable by nobody else.
///
/// # Errors
/// What stands in the way, where, and how it is mended.
pub fn of_worker(path: &Path, owner: Owner, readers: Readers) -> Result<OwnedFd, DirectoryError> {
    let fail = |error: String| DirectoryError::words(path, error);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(fail("is not the absolute path of a directory".to_owned()));
    };
    let (uid, directory, theirs) = match owner {
        Owner::Other(uid, _) => match walk_judging(parent, Uid(0), true)? {
            Walked::Trusted(directory) => (uid, directory, None),
            Walked::Others(doubt, Some(directory)) => (uid, directory, Some(doubt)),
            Walked::Others(doubt, None) => return Err(DirectoryError::doubt(&doubt)),
        },
        Owner::Ourselves(uid) => {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let directory = open(parent, flags, Mode::empty());
            (uid, directory.map_err(|errno| DirectoryError::new(parent, errno))?, None)
        }
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let look = || openat(&directory, name, flags, Mode::empty());
    let found = match look() {
        Err(Errno::ENOENT) => {
            if let Some(theirs) = theirs {
                let theirs = crate::model::text::escaped(&theirs.path.to_string_lossy()).into_owned();
                return Err(fail(format!(
                    "is not there, and others can change {theirs}; make it yourself, for uid {uid}"
                )));
            }
            make(&directory, Path::new(name), owner).and_then(|()| look())
        }
        other => other,
    };
    let found = found.map_err(|errno| DirectoryError::new(path, errno))?;
    let stat = fstat(&found).map_err(|errno| DirectoryError::new(path, errno))?;
    if stat.st_uid != uid.0 {
        return Err(fail(format!("belongs to uid {}; it must belong to uid {uid} (chown -R {uid})", stat.st_uid)));
    }
    let (others, command) = match readers {
        Readers::Owner => (Mode::S_IRWXG | Mode::S_IRWXO, "go-rwx"),
        Readers::Others => (Mode::S_IWGRP | Mode::S_IWOTH, "go-w"),
    };
    if Mode::from_bits_truncate(stat.st_mode).intersects(others) {
        return Err(fail(format!("is open to others; take the right away (chmod {command})")));
    }
    Ok(found)
}

/// Under another name first: whoever finds it under its own finds it finished.
fn make(parent: &OwnedFd, name: &Path, owner: Owner) -> Result<(), Errno> {
    let mut new = name.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    // A left-over of a start that was cut off.
    let _ = nix::unistd::unlinkat(parent, new, nix::unistd::UnlinkatFlags::RemoveDir);
    nix::sys::stat::mkdirat(parent, new, Mode::S_IRWXU)?;
    if let Owner::Other(uid, gid) = owner {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = openat(parent, new, flags, Mode::empty())?;
        let (user, group) = (nix::unistd::Uid::from_raw(uid.0), nix::unistd::Gid::from_raw(gid.0));
        nix::unistd::fchown(&made, Some(user), Some(group))?;
    }
    nix::fcntl::renameat(parent, new, parent, name)
}

/// A new directory of its own under the system's one for temporary files, 0755.
///
/// # Errors
/// As mkdtemp(3).
pub fn temporary(prefix: &str) -> io::Result<PathBuf> {
    let template = std::env::temp_dir().join(format!("{prefix}XXXXXX"));
    let path = nix::unistd::mkdtemp(&template)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    fchmod(open(&path, flags, Mode::empty())?, Mode::from_bits_truncate(0o755))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::super::account::own_uid;
    use super::*;

    #[test]
    fn a_world_writable_directory_is_in_other_hands_and_etc_is_in_roots() {
        assert!(matches!(walk(Path::new("/etc"), own_uid()), Ok(Walked::Trusted(_))));
        let walked = walk(Path::new("/tmp"), own_uid());
        assert!(matches!(walked, Ok(Walked::Others(doubt, Some(_))) if doubt.path == Path::new("/tmp")));
    }

    #[test]
    fn our_own_directory_is_made_once_and_refused_when_it_is_a_link() {
        let directory = tempfile::tempdir().expect("a directory");
        let own = own_uid();
        let path = directory.path().join("a/b");
        for _ in 0..2 {
            ensure(&path, 0o711, own).expect("made, then found");
        }
        let mode = |path: &Path| std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).expect("there")) & 0o777;
        assert_eq!((mode(&path), mode(&directory.path().join("a"))), (0o711, 0o755));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("symlink");
        assert!(ensure(&link, 0o755, own).is_err() && judge(&link, own, true).is_err());
        assert!(trusted(&link, own).is_ok() && judge(&link, own, false).is_ok());
    }

    #[test]
    fn where_others_can_write_nothing_is_made_and_sticky_is_not_enough_for_our_own() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let own = own_uid();
        let open = directory.path().join("open");
        std::fs::create_dir(&open).expect("mkdir");
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).expect("chmod");
        let error = ensure(&open.join("run"), 0o755, own).expect_err("refused").to_string();
        assert!(error.contains(&format!("(chmod go-w {})", open.display())), "{error}");
        assert!(!open.join("run").exists() && judge(&open.join("run"), own, true).is_err());
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o1777)).expect("chmod");
        assert!(ensure(&open, 0o755, own).is_err() && trusted(&open, own).is_err());
        assert!(judge(&open.join("run"), own, true).is_ok());
        ensure(&open.join("run"), 0o755, own).expect("nobody else can rename it");
    }
}
