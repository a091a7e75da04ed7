//! The place of a log file: its directory, walked to once, and its name there. Programs' users could have prepared
//! whatever lies there: it is judged on the open descriptor, and only the file that we write is ever renamed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat};
use nix::unistd::{Gid as NixGid, Uid as NixUid, fchown};

use super::directory::{self, Walked};
use super::file::FileError;
use super::way::{Doubt, kind};
use crate::model::id::{Gid, Uid};
use crate::model::text::escaped;

/// A place for a log file.
pub struct Place {
    pub(super) directory: OwnedFd,
    pub(super) name: PathBuf,
    pub(super) path: PathBuf,
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
pub fn find(path: &Path, own: Uid) -> Result<Found, FileError> {
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
pub fn find_as_self(path: &Path) -> Result<Place, FileError> {
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

/// What a log file that is made now becomes. One that is there stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ownership {
    /// `None`: whoever makes it.
    pub owner: Option<Uid>,
    pub group: Gid,
    pub mode: u32,
}

/// A file that is open: which one it is, and what a new one in its place becomes.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub(super) stat: FileStat,
}

impl Held {
    /// # Errors
    /// As fstat(2).
    pub fn of(file: impl AsFd) -> nix::Result<Self> {
        fstat(file).map(|stat| Self { stat })
    }

    /// Nothing of a file but who may read and write it: no set-id bits.
    pub fn ownership(&self) -> Ownership {
        Ownership { owner: Some(Uid(self.stat.st_uid)), group: Gid(self.stat.st_gid), mode: self.stat.st_mode & 0o777 }
    }

    /// Whether this is the same file.
    pub(super) fn is(&self, other: &FileStat) -> bool {
        (self.stat.st_dev, self.stat.st_ino) == (other.st_dev, other.st_ino)
    }
}

/// How far a new file must be what was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demand {
    All,
    /// As far as whoever makes it may: an ordinary user gives nothing away.
    Possible,
}

impl Place {
    /// Opens the log file for appending and reading, and makes it if it is not there.
    ///
    /// Refused are links, FIFOs, devices, sockets, directories, and files with a second name (a hard
    /// link to a file of somebody else).
    ///
    /// # Errors
    /// As open(2), or what the file is instead of a plain one.
    pub fn open_log(&self, ownership: Option<(Ownership, Demand)>) -> Result<OwnedFd, FileError> {
        let fail = |errno| FileError::errno(&self.path, errno);
        // Closed to all until it has its owner and mode.
        let mode = if ownership.is_some() { 0o600 } else { 0o640 };
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT;
        let (file, is_new) = match self.open(&self.name, flags | OFlag::O_EXCL, mode) {
            Ok(file) => (file, true),
            // O_CREAT again: it has the kernel refuse what another has put into a sticky directory.
            Err(Errno::EEXIST) => (self.open(&self.name, flags, 0o640).map_err(|errno| self.refusal(errno))?, false),
            Err(errno) => return Err(self.refusal(errno)),
        };
        self.see_that_it_is_plain(&file)?;
        if let Some((ownership, demand)) = ownership.filter(|_| is_new) {
            give(&file, ownership, demand).map_err(fail)?;
        }
        super::stdio::set_nonblocking(&file, false)
            .map_err(|error| fail(Errno::from_raw(error.raw_os_error().unwrap_or(0))))?;
        Ok(file)
    }

    /// Follows no link and waits for nobody.
    fn open(&self, name: &Path, flags: OFlag, mode: u32) -> nix::Result<OwnedFd> {
        let always = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let how = OpenHow::new()
            .flags(flags | always)
            .mode(Mode::from_bits_truncate(mode))
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.directory, name, how)
    }

    fn see_that_it_is_plain(&self, file: &OwnedFd) -> Result<FileStat, FileError> {
        let stat = fstat(file).map_err(|errno| FileError::errno(&self.path, errno))?;
        if kind(&stat) != SFlag::S_IFREG {
            return Err(FileError::words(&self.path, "is not a plain file"));
        }
        if stat.st_nlink > 1 {
            return Err(FileError::words(&self.path, "has a second name (a hard link) and could be another's file"));
        }
        Ok(stat)
    }

    /// Opens a file beside the log with the rules of [`Self::open_log`].
    pub(super) fn open_plain(&self, name: &Path, flags: OFlag, mode: u32) -> Result<(OwnedFd, FileStat), FileError> {
        let file = self.open(name, flags, mode).map_err(|errno| self.refusal(errno))?;
        let stat = self.see_that_it_is_plain(&file)?;
        Ok((file, stat))
    }

    /// An error about the file, in words.
    pub fn error(&self, error: &str) -> FileError {
        FileError::words(&self.path, error)
    }

    fn refusal(&self, errno: Errno) -> FileError {
        match errno {
            Errno::ELOOP => FileError::words(&self.path, "is a symbolic link"),
            Errno::ENXIO => FileError::words(&self.path, "is a FIFO or a socket, not a plain file"),
            Errno::EISDIR => FileError::words(&self.path, "is a directory"),
            errno => FileError::errno(&self.path, errno),
        }
    }

    /// Shifts `NAME.1` … one further, compressed or not, drops what is beyond `keep`, and gives `NAME` the number 1;
    /// `false`, and nothing is done, when `NAME` is not the file that is `held`: somebody else has rotated it.
    ///
    /// # Errors
    /// As rename(2) and unlink(2); files that are not there are no error.
    pub fn rotate(&self, keep: u32, held: &Held) -> Result<bool, FileError> {
        if !self.look(&self.name).is_some_and(|stat| held.is(&stat)) {
            return Ok(false);
        }
        if keep > 0 {
            let taken = self.taken(keep);
            // Not renamed over: file systems that care for files replaced like this (ext4, btrfs) then bring all of
            // the one that takes its place to the disk, and everybody waits.
            if taken == keep {
                self.clear_slot(keep)?;
            }
            for n in (1..=taken.min(keep - 1)).rev() {
                self.shift(n)?;
            }
            self.rename(&self.name, &self.plain(1))?;
        }
        Ok(true)
    }

    pub(super) fn look(&self, name: &Path) -> Option<FileStat> {
        fstatat(&self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        match renameat(&self.directory, from, &self.directory, to) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(FileError::errno(&self.path, errno)),
        }
    }
}

/// What an open file is called now, in a number, as the kernel remembers it: no file system is asked, so nobody is
/// waited for. `None` when it does not say, without /proc.
pub fn name_of(file: impl AsFd) -> Option<u64> {
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let name = readlinkat(AT_FDCWD, link.as_str()).ok()?;
    // Always the same keys: core and logger come to the same number.
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    Some(hasher.finish())
}

fn give(file: &OwnedFd, ownership: Ownership, demand: Demand) -> nix::Result<()> {
    let owner = ownership.owner.map(|owner| NixUid::from_raw(owner.0)).filter(|_| demand == Demand::All);
    match fchown(file, owner, Some(NixGid::from_raw(ownership.group.0))) {
        Err(_) if demand == Demand::Possible => {}
        result => result?,
    }
    fchmod(file, Mode::from_bits_truncate(ownership.mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn temporary() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("x.log");
        (directory, log)
    }

    fn trusted(path: &Path) -> Place {
        match find(path, super::super::account::own_uid()) {
            Ok(Found::Trusted(place)) => place,
            Ok(Found::Others(doubt)) => panic!("{doubt}"),
            Err(error) => panic!("{}", error.error),
        }
    }

    fn open(path: &Path) -> Result<OwnedFd, String> {
        trusted(path).open_log(None).map_err(|error| error.error)
    }

    fn held(path: &Path) -> Held {
        Held::of(std::fs::File::open(path).expect("opens")).expect("stat")
    }

    #[test]
    fn a_log_that_is_something_else_is_refused() {
        let (directory, log) = temporary();
        std::os::unix::fs::symlink("/etc/passwd", &log).expect("symlink");
        assert_eq!(open(&log).map(drop), Err("is a symbolic link".to_owned()));
        std::fs::remove_file(&log).expect("rm");
        std::os::unix::fs::symlink("/no/such/place", &log).expect("symlink");
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
            assert!(trusted(&log).rotate(3, &held(&log)).expect("rotates"));
        }
        let read = |n: u32| std::fs::read_to_string(format!("{}.{n}", log.display())).ok();
        assert_eq!([read(1), read(2), read(3), read(4)], [Some("5".into()), Some("4".into()), Some("3".into()), None]);
        assert!(!log.exists());
    }

    #[test]
    fn only_the_file_that_is_held_is_rotated() {
        let (directory, log) = temporary();
        let old = directory.path().join("x.log-2026");
        std::fs::write(&log, "ours").expect("write");
        let ours = held(&log);
        std::fs::rename(&log, &old).expect("renames");
        assert!(!trusted(&log).rotate(3, &ours).expect("nothing is there"));
        std::fs::write(&log, "theirs").expect("write");
        assert!(!trusted(&log).rotate(3, &ours).expect("another is there"));
        assert_eq!(std::fs::read_to_string(&log).ok().as_deref(), Some("theirs"));
        std::fs::remove_file(&log).expect("rm");
        std::os::unix::fs::symlink(&old, &log).expect("symlink");
        assert!(!trusted(&log).rotate(3, &ours).expect("a link to it is not it"));
        assert_eq!(std::fs::read_dir(directory.path()).expect("reads").count(), 2);
    }

    #[test]
    fn the_name_of_an_open_file_changes_with_a_rename_and_a_removal_and_with_nothing_else() {
        let (directory, log) = temporary();
        let file = open(&log).expect("opens");
        let name = name_of(&file);
        assert!(name.is_some());
        assert_eq!(name_of(open(&log).expect("opens")), name, "whoever opens it");
        std::fs::write(&log, "text").expect("writes");
        std::fs::hard_link(&log, directory.path().join("second")).expect("links");
        assert_eq!(name_of(&file), name);
        let renamed = directory.path().join("x.log.1");
        std::fs::rename(&log, &renamed).expect("renames");
        let other = name_of(&file);
        assert!(other.is_some() && other != name);
        std::fs::remove_file(&renamed).expect("removes");
        assert!(name_of(&file) != name && name_of(&file) != other);
    }

    #[test]
    fn a_new_log_is_what_was_asked_for_and_one_that_is_there_stays_as_it_is() {
        let (_directory, log) = temporary();
        let mode = |path: &Path| std::fs::metadata(path).expect("stat").mode() & 0o7777;
        std::fs::write(&log, "").expect("write");
        std::fs::set_permissions(&log, PermissionsExt::from_mode(0o4604)).expect("chmod");
        let like = held(&log).ownership();
        assert_eq!((like.mode, like.owner), (0o604, Some(super::super::account::own_uid())));
        let asked = Ownership { mode: 0o666, ..like };
        for demand in [Demand::All, Demand::Possible] {
            trusted(&log).open_log(Some((asked, demand))).expect("opens");
            assert_eq!(mode(&log), 0o4604, "it was there");
            let other = log.with_extension(format!("{demand:?}"));
            trusted(&other).open_log(Some((asked, demand))).expect("opens");
            assert_eq!(mode(&other), 0o666, "whatever the umask");
        }
    }
}
