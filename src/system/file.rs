//! Files under suspicion: configuration that decides what root runs, secrets, and files of our own. Everything is
//! judged on the open descriptor, not on the name. Log files are in [`super::place`].

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, openat, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat};
use nix::unistd::{Gid as NixGid, UnlinkatFlags, fchown, unlinkat};

use super::directory;
use super::way::{End, Rules, Way, kind};
use crate::model::id::{Gid, Uid};

/// The largest file that is read as configuration, in bytes.
pub const CONFIG_MAX: u64 = 4 << 20;

/// The longest secret, in bytes.
const SECRET_MAX: i64 = 4096;

/// Why a file cannot be used: errno (0 where there is none), the path, and the reason in words.
#[derive(Debug, Clone)]
pub struct FileError {
    pub errno: i32,
    pub path: PathBuf,
    pub error: String,
}

impl FileError {
    pub(super) fn errno(path: &Path, errno: Errno) -> Self {
        Self { errno: errno as i32, path: path.to_owned(), error: errno.desc().to_owned() }
    }

    pub(super) fn words(path: &Path, error: impl Into<String>) -> Self {
        Self { errno: 0, path: path.to_owned(), error: error.into() }
    }
}

/// Reads a configuration file that only root or `own` can have written.
///
/// Opened once and judged on the descriptor: a plain file of root or `own`, not writable by others; and
/// every directory that leads to it likewise (a sticky one of root's is fine), those with a link on the way
/// included. At most [`CONFIG_MAX`] bytes of UTF-8.
///
/// # Errors
/// Every reason in words, for whoever can mend it.
pub fn read_trusted(path: &Path, own: Uid) -> Result<String, String> {
    let (file, stat) = open_trusted(path, own, |_| None)?;
    if u64::try_from(stat.st_size).unwrap_or(u64::MAX) > CONFIG_MAX {
        return Err(format!("is larger than {CONFIG_MAX} bytes"));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(CONFIG_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| format!("is not UTF-8 (at byte {})", error.utf8_error().valid_up_to()))
}

/// Puts a file in place of what has this name in a directory of our own, as a whole: a reader finds the old or the new
/// one. Nobody but its owner can read it. Not synced.
///
/// # Errors
/// As open(2), write(2), rename(2).
pub fn replace(directory: impl AsFd, name: &str, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let temporary = format!("{name}.new");
    // A left-over of a write that was cut off.
    remove(&directory, &temporary)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(&directory, temporary.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let placed = std::fs::File::from(file)
        .write_all(content)
        .and_then(|()| Ok(renameat(&directory, temporary.as_str(), &directory, name)?));
    if placed.is_err() {
        let _ = remove(&directory, &temporary);
    }
    placed
}

/// Removes what has this name in a directory of our own.
///
/// # Errors
/// As unlink(2); a file that is not there is none.
pub fn remove(directory: impl AsFd, name: &str) -> io::Result<()> {
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a file with a secret, under the rules of [`read_trusted`]; and nobody but its owner may read it.
///
/// `by_acl`: its group's right to read is a mask of an access list (systemd gives credentials so, in a
/// directory that nobody else can enter).
///
/// # Errors
/// Every reason in words, for whoever can mend it.
pub fn open_secret(path: &Path, own: Uid, by_acl: bool) -> Result<OwnedFd, String> {
    let others = if by_acl { Mode::S_IRWXO } else { Mode::S_IRWXG | Mode::S_IRWXO };
    let (file, stat) = open_trusted(path, own, |stat| {
        let is_open = Mode::from_bits_truncate(stat.st_mode).intersects(others);
        is_open.then(|| "can be read by others; take the right away (chmod 0600)".to_owned())
    })?;
    if !(1..=SECRET_MAX).contains(&stat.st_size) {
        return Err(format!("is a secret of 1 to {SECRET_MAX} bytes, and this file has {}", stat.st_size));
    }
    Ok(file)
}

/// Whether only the file's owner can read it.
pub fn is_private(path: &Path) -> bool {
    let readable = Mode::S_IRGRP | Mode::S_IROTH;
    nix::sys::stat::stat(path).is_ok_and(|stat| !Mode::from_bits_truncate(stat.st_mode).intersects(readable))
}

/// Back to the beginning of a file that was read.
///
/// # Errors
/// As lseek(2).
pub fn rewind(file: impl AsFd) -> io::Result<()> {
    nix::unistd::lseek(file, 0, nix::unistd::Whence::SeekSet)?;
    Ok(())
}

/// `more`: another reason to refuse the file.
fn open_trusted(
    path: &Path,
    own: Uid,
    more: impl Fn(&FileStat) -> Option<String>,
) -> Result<(OwnedFd, FileStat), String> {
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    let mut way = Way::begin(own).map_err(|error| error.to_string())?;
    let end = way.go(&path, Rules::default());
    let (file, mut reasons) = match end {
        Ok(End::Other(name, stat)) if kind(&stat) == SFlag::S_IFREG => {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
            let file = openat(&way.directory, Path::new(&name), flags, Mode::empty());
            match file.and_then(|file| fstat(&file).map(|stat| (file, stat))) {
                Ok((file, stat)) => {
                    let reasons = owner_reasons(&stat, own).into_iter().chain(more(&stat)).collect();
                    (Some((file, stat)), reasons)
                }
                Err(Errno::EACCES) => {
                    (None, vec!["Permission denied; do this as root, or as whoever it belongs to".to_owned()])
                }
                Err(errno) => (None, vec![errno.desc().to_owned()]),
            }
        }
        Ok(End::Directory) => (None, vec!["is a directory, not a plain file".to_owned()]),
        Ok(End::Other(..)) => (None, vec!["is not a plain file".to_owned()]),
        // The doubts say all.
        Ok(End::Link) => (None, Vec::new()),
        Err(error) if error.path == path => (None, vec![error.error]),
        Err(error) => (None, vec![error.to_string()]),
    };
    reasons.extend(way.doubts.iter().map(|doubt| format!("its directory {doubt}")));
    match file {
        Some((file, stat)) if reasons.is_empty() && kind(&stat) == SFlag::S_IFREG => Ok((file, stat)),
        _ => Err(reasons.join("; and ")),
    }
}

/// Why others decide what the file says.
fn owner_reasons(stat: &FileStat, own: Uid) -> Vec<String> {
    let mut reasons = Vec::new();
    if stat.st_uid != 0 && stat.st_uid != own.0 {
        let trusted = if own.is_root() { "root".to_owned() } else { format!("root or uid {own}") };
        reasons
            .push(format!("belongs to uid {}, who could change what is run; it must belong to {trusted}", stat.st_uid));
    }
    if Mode::from_bits_truncate(stat.st_mode).intersects(Mode::S_IWGRP | Mode::S_IWOTH) {
        reasons.push("can be written by others; take the right away (chmod go-w)".to_owned());
    }
    reasons
}

/// Whether an open file is root's or `own`'s, and nobody else's to write.
///
/// # Errors
/// Why not, in words.
pub fn belongs(file: impl AsFd, own: Uid) -> Result<(), String> {
    let stat = fstat(file).map_err(|errno| errno.desc().to_owned())?;
    owner_reasons(&stat, own).into_iter().next().map_or(Ok(()), Err)
}

/// Opens a plain file of our own in a directory in trusted hands, under its name there, and makes it (mode
/// 0600) with `OFlag::O_CREAT`. No link is followed, nothing waits for a FIFO's other end.
///
/// # Errors
/// As open(2), or what it is instead.
pub fn open_own(directory: impl AsFd, name: &str, flags: OFlag, own: Uid) -> io::Result<OwnedFd> {
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = openat(directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|errno| match errno {
        Errno::ELOOP => io::Error::other("is a symbolic link; remove it"),
        Errno::ENXIO => io::Error::other("is not a plain file; remove it"),
        errno => errno.into(),
    })?;
    let stat = fstat(&file)?;
    if kind(&stat) != SFlag::S_IFREG {
        return Err(io::Error::other("is not a plain file; remove it"));
    }
    if stat.st_nlink > 1 {
        return Err(io::Error::other("has a second name (a hard link); remove it"));
    }
    belongs(&file, own).map_err(|reason| io::Error::other(format!("{reason}; or remove it")))?;
    Ok(file)
}

/// Opens a file of the user who runs us, for reading and appending, in a directory of its own, and makes both, for
/// nobody else.
///
/// As root the directory must be in trusted hands, and the file a plain one of root's: who has lent root a HOME
/// (`sudo -E`) could have put a link there.
///
/// # Errors
/// As open(2) and mkdir(2), or why it is not root's.
pub fn open_private(directory: &Path, name: &str, own: Uid) -> io::Result<OwnedFd> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if own.is_root() {
        let directory =
            directory::ensure(directory, 0o700, own).map_err(|error| io::Error::other(error.to_string()))?;
        return open_own(directory, name, OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT, own);
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut options = std::fs::OpenOptions::new();
    Ok(options.read(true).append(true).create(true).mode(0o600).open(directory.join(name))?.into())
}

/// Opens one of our own programs for execution: of root or of `owner`, not writable by others.
///
/// # Errors
/// As open(2), or whose it is.
pub fn open_helper(path: &Path, owner: Uid) -> Result<OwnedFd, FileError> {
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC);
    let file = openat2(AT_FDCWD, path, how).map_err(|errno| FileError::errno(path, errno))?;
    let stat = fstat(&file).map_err(|errno| FileError::errno(path, errno))?;
    if kind(&stat) != SFlag::S_IFREG {
        return Err(FileError::words(path, "is not a plain file"));
    }
    match owner_reasons(&stat, owner).first() {
        Some(reason) => Err(FileError::words(path, reason)),
        None => Ok(file),
    }
}

/// Whose a file is.
///
/// # Errors
/// As stat(2).
pub fn owner(path: &Path) -> io::Result<Uid> {
    Ok(Uid(nix::sys::stat::stat(path)?.st_uid))
}

/// Takes all rights from everybody but the owner.
///
/// # Errors
/// As fchmod(2).
pub fn make_private(file: impl AsFd) -> io::Result<()> {
    Ok(fchmod(file, Mode::S_IRUSR | Mode::S_IWUSR)?)
}

/// Takes the lock of this directory, which says that its supervisor runs; it ends with the process.
///
/// # Errors
/// `Ok(None)` when another holds it; as [`open_own`] and flock(2).
pub fn lock(directory: impl AsFd, name: &str, own: Uid) -> io::Result<Option<nix::fcntl::Flock<OwnedFd>>> {
    use nix::fcntl::{Flock, FlockArg};
    let file = open_own(directory, name, OFlag::O_RDWR | OFlag::O_CREAT, own)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Gives a pipe to a user, so that the program can open its own /dev/stdout.
///
/// # Errors
/// EPERM without the privilege, or when it is another's afterwards.
pub fn give(pipe: impl AsFd, uid: Uid, gid: Gid) -> io::Result<()> {
    fchown(&pipe, Some(nix::unistd::Uid::from_raw(uid.0)), Some(NixGid::from_raw(gid.0)))?;
    let stat = fstat(&pipe)?;
    if (stat.st_uid, stat.st_gid) == (uid.0, gid.0) { Ok(()) } else { Err(Errno::EPERM.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("x.log");
        (directory, log)
    }

    fn own() -> Uid {
        super::super::account::own_uid()
    }

    #[test]
    fn a_configuration_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (directory, file) = temporary();
        let own = own();
        std::fs::write(&file, "x = 1").expect("write");
        assert_eq!(read_trusted(&file, own), Ok("x = 1".to_owned()));
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).expect("chmod");
        assert!(read_trusted(&file, own).is_err_and(|e| e.contains("written by others")));
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("chmod");
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).expect("chmod");
        assert!(read_trusted(&file, own).is_err_and(|e| e.contains("directory")));
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).expect("chmod");
        let both = read_trusted(&file, own).expect_err("refused");
        assert!(both.contains("(chmod go-w)") && both.contains("; and its directory"), "{both}");
    }

    #[test]
    fn a_file_of_our_own_is_opened_only_if_it_is_a_plain_one_of_ours() {
        let directory = tempfile::tempdir().expect("a directory");
        let held = directory::trusted(directory.path(), own()).expect("trusted");
        let open = |name: &str, flags| open_own(&held, name, flags, own()).map(drop).map_err(|e| e.to_string());
        let make = OFlag::O_RDWR | OFlag::O_CREAT;
        assert_eq!(open("new", make), Ok(()));
        std::os::unix::fs::symlink("new", directory.path().join("link")).expect("symlink");
        nix::unistd::mkfifo(&directory.path().join("fifo"), Mode::S_IRWXU).expect("mkfifo");
        std::fs::write(directory.path().join("one"), "").expect("write");
        std::fs::hard_link(directory.path().join("one"), directory.path().join("two")).expect("link");
        for (name, words) in [("link", "symbolic link"), ("fifo", "not a plain"), ("two", "hard link")] {
            assert!(open(name, make).is_err_and(|error| error.contains(words)), "{name}");
        }
        assert!(open("fifo", OFlag::O_WRONLY).is_err_and(|error| error.contains("not a plain")), "nobody reads it");
        if own().is_root() {
            std::os::unix::fs::chown(directory.path().join("new"), Some(12345), None).expect("chown");
            assert!(open("new", make).is_err_and(|error| error.contains("belongs to uid 12345")));
        }
    }
}
