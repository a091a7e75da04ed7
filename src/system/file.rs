//! Files under suspicion: log files that programs' users could have prepared, and configuration that
//! decides what root runs. Everything is judged on the open descriptor, not on the name.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat};
use nix::unistd::{Gid as NixGid, UnlinkatFlags, fchown, unlinkat};

use super::directory::{self, Walked};
use super::way::{Doubt, End, Rules, Way, kind};
use crate::model::id::{Gid, Uid};
use crate::model::text::escaped;

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
    fn errno(path: &Path, errno: Errno) -> Self {
        Self { errno: errno as i32, path: path.to_owned(), error: errno.desc().to_owned() }
    }

    fn words(path: &Path, error: impl Into<String>) -> Self {
        Self { errno: 0, path: path.to_owned(), error: error.into() }
    }
}

/// A place for a log file: its directory, walked to, and its name there.
pub struct Place {
    directory: OwnedFd,
    name: PathBuf,
    path: PathBuf,
}

/// A place that was looked for.
pub enum Found {
    /// Nobody but root and the supervisor's own user can change what is there.
    Trusted(Place),
    /// Others can: root opens nothing there.
    Others(Doubt),
}

/// Finds the place of a log file. Links are followed only where nobody but root and `own` could have put them.
///
/// # Errors
/// A missing directory, a path without a file name.
pub fn place(path: &Path, own: Uid) -> Result<Found, FileError> {
    let (parent, name) = parent_and_name(path)?;
    match directory::walk(parent, own) {
        Ok(Walked::Trusted(directory)) => {
            Ok(Found::Trusted(Place { directory, name: name.into(), path: path.to_owned() }))
        }
        Ok(Walked::Others(doubt, _)) => Ok(Found::Others(doubt)),
        Err(error) => {
            Err(FileError { errno: error.errno, path: path.to_owned(), error: format!("the directory {error}") })
        }
    }
}

/// The place of a log file for a process that opens it with no more than its own user's rights: links on
/// the way are followed as for that user, the file itself may be none.
///
/// # Errors
/// A directory that the user cannot reach, a path without a file name.
pub fn place_as_self(path: &Path) -> Result<Place, FileError> {
    let (parent, name) = parent_and_name(path)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = nix::fcntl::open(parent, flags, Mode::empty()).map_err(|errno| FileError {
        errno: errno as i32,
        path: path.to_owned(),
        error: format!("the directory {}: {}", escaped(&parent.to_string_lossy()), errno.desc()),
    })?;
    Ok(Place { directory, name: name.into(), path: path.to_owned() })
}

fn parent_and_name(path: &Path) -> Result<(&Path, &std::ffi::OsStr), FileError> {
    let parent = path.parent().filter(|parent| parent.is_absolute());
    let (Some(parent), Some(name)) = (parent, path.file_name()) else {
        return Err(FileError::words(path, "is not the absolute path of a file"));
    };
    // A trailing slash would make the kernel follow a link that O_NOFOLLOW should refuse.
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(FileError::words(path, "ends with a slash"));
    }
    Ok((parent, name))
}

/// Who a newly made log file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ownership {
    pub group: Gid,
    pub mode: u32,
}

impl Place {
    /// Opens the log file for appending and reading, and makes it if it is not there.
    ///
    /// Refused are links, FIFOs, devices, sockets, directories, and files with a second name (a hard
    /// link to a file of somebody else).
    ///
    /// # Errors
    /// As open(2), or what the file is instead of a plain one.
    pub fn open_log(&self, ownership: Option<Ownership>) -> Result<OwnedFd, FileError> {
        let flags = OFlag::O_RDWR
            | OFlag::O_APPEND
            | OFlag::O_CREAT
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY
            | OFlag::O_CLOEXEC;
        let how = OpenHow::new()
            .flags(flags)
            .mode(Mode::from_bits_truncate(ownership.map_or(0o640, |o| o.mode)))
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let file = openat2(&self.directory, &self.name, how).map_err(|errno| self.refusal(errno))?;
        let stat = fstat(&file).map_err(|errno| FileError::errno(&self.path, errno))?;
        if kind(&stat) != SFlag::S_IFREG {
            return Err(FileError::words(&self.path, "is not a plain file"));
        }
        if stat.st_nlink > 1 {
            return Err(FileError::words(&self.path, "has a second name (a hard link) and could be another's file"));
        }
        if let Some(ownership) = ownership
            && stat.st_size == 0
        {
            let fail = |errno| FileError::errno(&self.path, errno);
            fchown(&file, None, Some(NixGid::from_raw(ownership.group.0))).map_err(fail)?;
            fchmod(&file, Mode::from_bits_truncate(ownership.mode)).map_err(fail)?;
        }
        super::stdio::set_nonblocking(&file, false)
            .map_err(|error| FileError::errno(&self.path, Errno::from_raw(error.raw_os_error().unwrap_or(0))))?;
        Ok(file)
    }

    fn refusal(&self, errno: Errno) -> FileError {
        match errno {
            Errno::ELOOP => FileError::words(&self.path, "is a symbolic link"),
            Errno::ENXIO => FileError::words(&self.path, "is a FIFO or a socket, not a plain file"),
            Errno::EISDIR => FileError::words(&self.path, "is a directory"),
            errno => FileError::errno(&self.path, errno),
        }
    }

    /// Shifts `NAME.1` … one further, drops what is beyond `keep`, and gives `NAME` the number 1.
    ///
    /// # Errors
    /// As rename(2) and unlink(2); files that are not there are no error.
    pub fn rotate(&self, keep: u32) -> Result<(), FileError> {
        let numbered = |n: u32| {
            let mut name = self.name.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        let present = (1..=keep).take_while(|n| self.exists(&numbered(*n))).count();
        let present = u32::try_from(present).unwrap_or(keep);
        // Not renamed over: file systems that care for files replaced like this (ext4, btrfs) then bring all of
        // the one that takes its place to the disk, and everybody waits.
        if keep > 0 && present == keep {
            self.remove(&numbered(keep))?;
        }
        for n in (1..=present.min(keep.saturating_sub(1))).rev() {
            self.rename(&numbered(n), &numbered(n + 1))?;
        }
        if keep > 0 {
            self.rename(&self.name, &numbered(1))?;
        }
        Ok(())
    }

    fn exists(&self, name: &Path) -> bool {
        nix::sys::stat::fstatat(&self.directory, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    fn remove(&self, name: &Path) -> Result<(), FileError> {
        match unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(FileError::errno(&self.path, errno)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        match renameat(&self.directory, from, &self.directory, to) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(FileError::errno(&self.path, errno)),
        }
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

/// Puts a file in place of what has this name, as a whole: a reader finds the old or the new one. Nobody but
/// its owner can read it. Not synced.
///
/// # Errors
/// As open(2), write(2), rename(2).
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    // A left-over of a write that was cut off.
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let placed = file.write_all(content).and_then(|()| std::fs::rename(&temporary, path));
    if placed.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    placed
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
                Err(errno) => (None, vec![errno.desc().to_owned()]),
            }
        }
        Ok(End::Other(..) | End::Directory) => (None, vec!["is not a plain file".to_owned()]),
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
/// EPERM without the privilege.
pub fn give(pipe: impl AsFd, uid: Uid, gid: Gid) -> io::Result<()> {
    Ok(fchown(pipe, Some(nix::unistd::Uid::from_raw(uid.0)), Some(NixGid::from_raw(gid.0)))?)
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

    fn trusted(path: &Path) -> Place {
        match place(path, own()) {
            Ok(Found::Trusted(place)) => place,
            Ok(Found::Others(doubt)) => panic!("{doubt}"),
            Err(error) => panic!("{}", error.error),
        }
    }

    fn open(path: &Path) -> Result<OwnedFd, String> {
        trusted(path).open_log(None).map_err(|error| error.error)
    }

    #[test]
    fn a_log_that_is_something_else_is_refused() {
        let (directory, log) = temporary();
        std::os::unix::fs::symlink("/etc/passwd", &log).expect("symlink");
        assert_eq!(open(&log).map(drop), Err("is a symbolic link".to_owned()));
        std::fs::remove_file(&log).expect("rm");
        nix::unistd::mkfifo(&log, Mode::S_IRWXU).expect("mkfifo");
        assert_eq!(open(&log).map(drop), Err("is not a plain file".to_owned()));
        std::fs::remove_file(&log).expect("rm");
        std::fs::create_dir(&log).expect("mkdir");
        assert_eq!(open(&log).map(drop), Err("is a directory".to_owned()));
        std::fs::remove_dir(&log).expect("rmdir");
        std::fs::write(directory.path().join("other"), "secret").expect("write");
        std::fs::hard_link(directory.path().join("other"), &log).expect("link");
        assert!(open(&log).is_err_and(|error| error.contains("hard link")));
    }

    #[test]
    fn rotation_shifts_and_drops_the_oldest() {
        let (_directory, log) = temporary();
        for n in 1..=5 {
            std::fs::write(&log, n.to_string()).expect("write");
            trusted(&log).rotate(3).expect("rotates");
        }
        let read = |n: u32| std::fs::read_to_string(format!("{}.{n}", log.display())).ok();
        assert_eq!([read(1), read(2), read(3), read(4)], [Some("5".into()), Some("4".into()), Some("3".into()), None]);
        assert!(!log.exists());
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
