//! Directories: whether a path lies in root's hands alone, and making our own.
//!
//! A path is walked component by component on descriptors, following no link, so that what was judged
//! is what is used afterwards: nobody can swap a directory in between.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use crate::model::id::Uid;

/// Who can change what lies in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hands {
    /// Only root: safe to use as root.
    Root,
    /// Others too; this directory is the first that makes it so.
    Others(PathBuf),
}

/// A directory that was walked to, and whose hands it is in.
pub struct Walked {
    pub directory: OwnedFd,
    pub hands: Hands,
}

/// Why a directory cannot be used.
#[derive(Debug)]
pub struct DirectoryError {
    pub path: PathBuf,
    pub errno: i32,
    pub error: String,
}

impl DirectoryError {
    fn new(path: &Path, errno: Errno) -> Self {
        let error = match errno {
            Errno::ELOOP | Errno::ENOTDIR => "is not a directory, or is a symbolic link (name the real one)".to_owned(),
            errno => errno.desc().to_owned(),
        };
        Self { path: path.to_owned(), errno: errno as i32, error }
    }
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", crate::model::text::escaped(&self.path.to_string_lossy()), self.error)
    }
}

fn is_sticky(stat: &FileStat) -> bool {
    Mode::from_bits_truncate(stat.st_mode).contains(Mode::S_ISVTX)
}

fn others_can_write(stat: &FileStat) -> bool {
    Mode::from_bits_truncate(stat.st_mode).intersects(Mode::S_IWGRP | Mode::S_IWOTH)
}

/// Walks to a directory without following links.
///
/// In root's hands means: every directory on the way belongs to root, and is writable by root alone or
/// sticky (then what root made in it stays root's); the last one is writable by root alone.
///
/// # Errors
/// The first component that does not exist, is a link or no directory.
pub fn walk(path: &Path) -> Result<Walked, DirectoryError> {
    walk_judging(path, false)
}

/// `sticky_is_fine`: of the last directory, too: for what is only made there, never taken from there.
fn walk_judging(path: &Path, sticky_is_fine: bool) -> Result<Walked, DirectoryError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut at = PathBuf::from("/");
    let mut directory = open("/", flags, Mode::empty()).map_err(|errno| DirectoryError::new(&at, errno))?;
    let mut hands = Hands::Root;
    let mut last = fstat(&directory).map_err(|errno| DirectoryError::new(&at, errno))?;
    for component in path.components() {
        let name = match component {
            Component::RootDir | Component::CurDir => continue,
            Component::Normal(name) => name,
            Component::ParentDir | Component::Prefix(_) => {
                return Err(DirectoryError {
                    path: path.to_owned(),
                    errno: 0,
                    error: "`..` is not accepted".to_owned(),
                });
            }
        };
        judge(&mut hands, &last, &at, true);
        at.push(name);
        directory = openat(&directory, name, flags, Mode::empty()).map_err(|errno| DirectoryError::new(&at, errno))?;
        last = fstat(&directory).map_err(|errno| DirectoryError::new(&at, errno))?;
    }
    judge(&mut hands, &last, &at, sticky_is_fine);
    Ok(Walked { directory, hands })
}

fn judge(hands: &mut Hands, stat: &FileStat, at: &Path, sticky_is_fine: bool) {
    let safe = stat.st_uid == 0 && (!others_can_write(stat) || (sticky_is_fine && is_sticky(stat)));
    if !safe && *hands == Hands::Root {
        *hands = Hands::Others(at.to_owned());
    }
}

/// Makes sure that one of our own directories is there, with this mode if it has to be made, and is ours.
///
/// Missing parents are made with mode 0755. Ours is what belongs to root or to `own`, is a directory and
/// no link, and cannot be written by others (unless it is sticky).
///
/// # Errors
/// What stands in the way, and where.
pub fn ensure(path: &Path, mode: u32, own: Uid) -> Result<(), DirectoryError> {
    let fail = |path: &Path, error: &str| DirectoryError { path: path.to_owned(), errno: 0, error: error.to_owned() };
    if let Some(parent) = path.parent()
        && !parent.exists()
    {
        ensure_parents(parent)?;
    }
    match nix::unistd::mkdir(path, Mode::empty()) {
        // mkdir applies the umask, so the mode comes after.
        Ok(()) => nix::sys::stat::fchmodat(
            nix::fcntl::AT_FDCWD,
            path,
            Mode::from_bits_truncate(mode),
            nix::sys::stat::FchmodatFlags::FollowSymlink,
        )
        .map_err(|errno| DirectoryError::new(path, errno))?,
        Err(Errno::EEXIST) => {}
        Err(errno) => return Err(DirectoryError::new(path, errno)),
    }
    let stat = fstatat(nix::fcntl::AT_FDCWD, path, AtFlags::AT_SYMLINK_NOFOLLOW)
        .map_err(|errno| DirectoryError::new(path, errno))?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if kind == SFlag::S_IFLNK {
        return Err(fail(path, "is a symbolic link; name the directory itself"));
    }
    if kind != SFlag::S_IFDIR {
        return Err(fail(path, "is not a directory"));
    }
    if stat.st_uid != 0 && stat.st_uid != own.0 {
        return Err(fail(path, &format!("belongs to uid {}; it must belong to root or uid {own}", stat.st_uid)));
    }
    if others_can_write(&stat) && !is_sticky(&stat) {
        return Err(fail(path, "can be written by others; take the right away (chmod go-w)"));
    }
    Ok(())
}

/// Who may look into a worker's directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readers {
    Owner,
    Others,
}

/// Opens a directory that is a worker's own, for it to keep; and makes it, mode 0700, if it is not there.
///
/// `as_root`: `uid` is another's than ours. Then no link is followed on the way, and a directory is made
/// only where nobody but root could have put another in its place. One that is there must belong to `uid`
/// and be writable by nobody else.
///
/// # Errors
/// What stands in the way, where, and how it is mended.
pub fn of_worker(path: &Path, uid: Uid, as_root: bool, readers: Readers) -> Result<OwnedFd, DirectoryError> {
    let fail = |error: String| DirectoryError { path: path.to_owned(), errno: 0, error };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(fail("is not the absolute path of a directory".to_owned()));
    };
    let (directory, hands) = if as_root {
        let walked = walk_judging(parent, true)?;
        (walked.directory, walked.hands)
    } else {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        (open(parent, flags, Mode::empty()).map_err(|errno| DirectoryError::new(parent, errno))?, Hands::Root)
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let look = || openat(&directory, name, flags, Mode::empty());
    let found = match look() {
        Err(Errno::ENOENT) => {
            if let Hands::Others(theirs) = hands {
                let theirs = crate::model::text::escaped(&theirs.to_string_lossy()).into_owned();
                return Err(fail(format!(
                    "is not there, and others can change {theirs}; make it yourself, for uid {uid}"
                )));
            }
            make(&directory, Path::new(name), uid, as_root).and_then(|()| look())
        }
        other => other,
    };
    let found = found.map_err(|errno| DirectoryError::new(path, errno))?;
    let stat = fstat(&found).map_err(|errno| DirectoryError::new(path, errno))?;
    if stat.st_uid != uid.0 {
        return Err(fail(format!(
            "belongs to uid {}; it must belong to uid {uid} (chown -R {uid}:{uid})",
            stat.st_uid
        )));
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
fn make(parent: &OwnedFd, name: &Path, uid: Uid, as_root: bool) -> Result<(), Errno> {
    let mut new = name.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    // A left-over of a start that was cut off.
    let _ = nix::unistd::unlinkat(parent, new, nix::unistd::UnlinkatFlags::RemoveDir);
    nix::sys::stat::mkdirat(parent, new, Mode::S_IRWXU)?;
    if as_root {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = openat(parent, new, flags, Mode::empty())?;
        let (user, group) = (nix::unistd::Uid::from_raw(uid.0), nix::unistd::Gid::from_raw(uid.0));
        nix::unistd::fchown(&made, Some(user), Some(group))?;
    }
    nix::fcntl::renameat(parent, new, parent, name)
}

fn ensure_parents(path: &Path) -> Result<(), DirectoryError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|error| DirectoryError {
        path: path.to_owned(),
        errno: error.raw_os_error().unwrap_or(0),
        error: error.to_string(),
    })
}

/// A new directory of its own under the system's one for temporary files, 0755.
///
/// # Errors
/// As mkdtemp(3).
pub fn temporary(prefix: &str) -> io::Result<PathBuf> {
    let template = std::env::temp_dir().join(format!("{prefix}XXXXXX"));
    let path = nix::unistd::mkdtemp(&template)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_on_the_way_is_not_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("real")).expect("mkdir");
        std::os::unix::fs::symlink("real", directory.path().join("link")).expect("symlink");
        assert!(walk(&directory.path().join("real")).is_ok());
        let error = walk(&directory.path().join("link")).err().expect("refused");
        assert_eq!(error.path, directory.path().join("link"));
        assert!(walk(&directory.path().join("real/../real")).is_err());
    }

    #[test]
    fn a_world_writable_directory_is_in_other_hands_and_etc_is_in_roots() {
        assert_eq!(walk(Path::new("/etc")).map(|w| w.hands).map_err(|e| e.to_string()), Ok(Hands::Root));
        let hands = walk(Path::new("/tmp")).map(|w| w.hands).map_err(|e| e.to_string());
        assert_eq!(hands, Ok(Hands::Others(PathBuf::from("/tmp"))));
    }

    #[test]
    fn our_own_directory_is_made_once_and_refused_when_it_is_a_link() {
        let directory = tempfile::tempdir().expect("a directory");
        let own = crate::system::account::own_uid();
        let path = directory.path().join("a/b");
        for _ in 0..2 {
            ensure(&path, 0o711, own).expect("made, then found");
        }
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).expect("there"));
        assert_eq!(mode & 0o777, 0o711);
        std::os::unix::fs::symlink(&path, directory.path().join("link")).expect("symlink");
        assert!(ensure(&directory.path().join("link"), 0o755, own).is_err());
    }
}
