//! The rotated files of a log, as they lie beside it: `LOG.1` is the newest, and a compressed one has `.gz` behind
//! its number. `LOG.2` and `LOG.2.gz` are the same slot. Where both are there, a death came between the last two
//! steps below: the plain one counts, and the other is made anew.
//!
//! To compress one takes three steps, each by a process of its own, in which the number of the file can change:
//! [`Place::open_next`] opens it and a temporary file beside it, which others fill; [`Place::put`] gives that its
//! final name, once it is on disk; [`Place::remove_packed`] removes the plain one, once that name is on disk. A
//! death at any moment leaves the plain file, or the compressed one, or both, and each of them is whole.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fchmod, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::file::FileError;
use super::place::{Held, Place};

/// A rotated file that is to be compressed, and where to.
pub struct ToPack {
    pub source: OwnedFd,
    /// Empty, with the mode and the owner of the source, under a temporary name.
    pub target: OwnedFd,
    /// To be synced when a name in it has changed; `None` if it cannot be read.
    pub directory: Option<OwnedFd>,
}

impl ToPack {
    pub fn into_files(self) -> impl Iterator<Item = OwnedFd> {
        [self.source, self.target].into_iter().chain(self.directory)
    }
}

/// A file that was compressed, in which state, and the result.
pub struct Packed<'a> {
    pub source: &'a OwnedFd,
    pub target: &'a OwnedFd,
    /// How many bytes of the source the target has.
    pub bytes: u64,
}

impl Place {
    /// The name of a rotated file.
    pub(super) fn plain(&self, n: u32) -> PathBuf {
        self.with(&format!(".{n}"))
    }

    fn packed(&self, n: u32) -> PathBuf {
        self.with(&format!(".{n}.gz"))
    }

    /// Never seen by who looks for `LOG.*.gz`.
    fn temporary(&self) -> PathBuf {
        self.with(".gz.tmp")
    }

    fn with(&self, end: &str) -> PathBuf {
        let mut name = self.name.clone().into_os_string();
        name.push(end);
        PathBuf::from(name)
    }

    /// How many slots are taken, without a gap, of so many.
    pub(super) fn taken(&self, keep: u32) -> u32 {
        let is_taken = |n: &u32| self.exists(&self.plain(*n)) || self.exists(&self.packed(*n));
        let taken = (1..=keep).take_while(is_taken).count();
        u32::try_from(taken).unwrap_or(keep)
    }

    fn exists(&self, name: &Path) -> bool {
        self.look(name).is_some()
    }

    /// Moves what is in a slot to the next one, which is free.
    pub(super) fn shift(&self, n: u32) -> Result<(), FileError> {
        if self.exists(&self.plain(n)) {
            self.remove(&self.packed(n))?;
            self.rename(&self.plain(n), &self.plain(n + 1))
        } else {
            self.rename(&self.packed(n), &self.packed(n + 1))
        }
    }

    pub(super) fn clear_slot(&self, n: u32) -> Result<(), FileError> {
        self.remove(&self.plain(n))?;
        self.remove(&self.packed(n))
    }

    fn remove(&self, name: &Path) -> Result<(), FileError> {
        match unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.about(name, FileError::errno(&self.path, errno))),
        }
    }

    /// An error that is not about the log itself, but about this file beside it.
    fn about(&self, name: &Path, mut error: FileError) -> FileError {
        error.error = format!("{}: {}", crate::model::text::escaped(&name.to_string_lossy()), error.error);
        error
    }

    /// Removes the temporary file: it is not needed, or was left by somebody who died.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn discard(&self) -> Result<(), FileError> {
        self.remove(&self.temporary())
    }

    /// Opens the newest of so many rotated files that is not compressed, and a temporary file beside it.
    ///
    /// One that may not be opened (a link, a FIFO) does not keep the others from being compressed.
    ///
    /// # Errors
    /// As open(2), or what the only ones that are left are instead of plain files.
    pub fn open_next(&self, keep: u32) -> Result<Option<ToPack>, FileError> {
        self.discard()?;
        let mut refused = None;
        for name in (1..=self.taken(keep)).map(|n| self.plain(n)).filter(|name| self.exists(name)) {
            match self.open_plain(&name, OFlag::O_RDONLY, 0) {
                Ok((source, stat)) => return self.open_target(source, &stat).map(Some),
                Err(error) => refused = refused.or_else(|| Some(self.about(&name, error))),
            }
        }
        refused.map_or(Ok(None), Err)
    }

    fn open_target(&self, source: OwnedFd, like: &FileStat) -> Result<ToPack, FileError> {
        let name = self.temporary();
        let fail = |errno| self.about(&name, FileError::errno(&self.path, errno));
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let (target, made) = self.open_plain(&name, flags, 0o600).map_err(|error| self.about(&name, error))?;
        let mode = Mode::from_bits_truncate(like.st_mode) & (Mode::S_IRWXU | Mode::S_IRWXG | Mode::S_IRWXO);
        let is_ours = (made.st_uid, made.st_gid) == (like.st_uid, like.st_gid);
        let owner = (Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)));
        match if is_ours { Ok(()) } else { fchown(&target, owner.0, owner.1) } {
            Ok(()) => fchmod(&target, mode).map_err(fail)?,
            // It stays ours alone: whoever could read the log by its group is not in ours.
            Err(Errno::EPERM) => {}
            Err(errno) => return Err(fail(errno)),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = openat(&self.directory, ".", flags, Mode::empty()).ok();
        Ok(ToPack { source, target, directory })
    }

    /// Gives a compressed file the name that its source has now, with `.gz`. The source may have moved on, or be
    /// gone: then it is not needed any more.
    ///
    /// # Errors
    /// When it is not that file any more that was compressed; as rename(2).
    pub fn put(&self, keep: u32, packed: &Packed<'_>) -> Result<(), FileError> {
        let name = self.temporary();
        let fail = |errno| self.about(&name, FileError::errno(&self.path, errno));
        let source = Held::of(packed.source).map_err(fail)?;
        let Some(n) = self.slot_of(keep, &source) else { return self.discard() };
        let source = source.stat;
        if u64::try_from(source.st_size) != Ok(packed.bytes) {
            let words = "has changed while it was compressed";
            return Err(self.about(&self.plain(n), FileError::words(&self.path, words)));
        }
        let target = Held::of(packed.target).map_err(fail)?;
        if !self.look(&name).is_some_and(|there| target.is(&there)) {
            return Err(self.about(&name, FileError::words(&self.path, "was replaced by somebody else")));
        }
        let times = [(source.st_atime, source.st_atime_nsec), (source.st_mtime, source.st_mtime_nsec)];
        let [read, changed] = times.map(|(seconds, rest)| TimeSpec::new(seconds, rest));
        futimens(packed.target, &read, &changed).map_err(fail)?;
        self.rename(&name, &self.packed(n))
    }

    /// Removes the file that was compressed, if the result lies beside it.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn remove_packed(&self, keep: u32, packed: &Packed<'_>) -> Result<(), FileError> {
        let fail = |errno| FileError::errno(&self.path, errno);
        let (source, target) = (Held::of(packed.source).map_err(fail)?, Held::of(packed.target).map_err(fail)?);
        let Some(n) = self.slot_of(keep, &source) else { return Ok(()) };
        let is_there = self.look(&self.packed(n)).is_some_and(|there| target.is(&there));
        if is_there { self.remove(&self.plain(n)) } else { Ok(()) }
    }

    /// In which slot an open file lies now.
    fn slot_of(&self, keep: u32, file: &Held) -> Option<u32> {
        (1..=keep).find(|n| self.look(&self.plain(*n)).is_some_and(|there| file.is(&there)))
    }
}

/// Waits until what was written into a file, or changed in a directory, is on disk.
///
/// # Errors
/// As fsync(2); a file system that cannot do that is none.
pub fn sync(file: impl AsFd) -> Result<(), Errno> {
    match nix::unistd::fsync(file) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::super::place::find_as_self;
    use super::*;

    struct Logs(tempfile::TempDir, Place);

    impl Logs {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let place = find_as_self(&directory.path().join("log")).expect("a place");
            Self(directory, place)
        }

        fn path(&self, end: &str) -> PathBuf {
            self.0.path().join(format!("log{end}"))
        }

        fn write(&self, end: &str, text: &str) {
            std::fs::write(self.path(end), text).expect("written");
        }

        fn rotate(&self, keep: u32) {
            let held = Held::of(std::fs::File::open(self.path("")).expect("opened")).expect("stat");
            assert!(self.1.rotate(keep, &held).expect("rotated"));
        }

        /// What there is, by the ends of the names.
        fn ends(&self) -> Vec<String> {
            let names = std::fs::read_dir(self.0.path()).expect("a directory");
            let mut ends: Vec<String> = names
                .map(|entry| entry.expect("an entry").file_name().to_string_lossy()["log".len()..].to_owned())
                .collect();
            ends.sort();
            ends
        }

        fn read(&self, end: &str) -> String {
            std::fs::read_to_string(self.path(end)).expect("read")
        }

        fn open(&self, keep: u32) -> ToPack {
            self.1.open_next(keep).expect("opened").expect("there is one")
        }
    }

    /// "Compresses" it.
    fn fill(work: &ToPack) -> Packed<'_> {
        let mut source = std::fs::File::from(work.source.try_clone().expect("a copy"));
        let mut target = std::fs::File::from(work.target.try_clone().expect("a copy"));
        target.write_all(b"gz:").expect("written");
        let bytes = std::io::copy(&mut source, &mut target).expect("copied");
        Packed { source: &work.source, target: &work.target, bytes }
    }

    #[test]
    fn a_slot_is_taken_by_a_plain_file_or_a_compressed_one() {
        let logs = Logs::new();
        logs.write("", "new");
        logs.write(".1", "one");
        logs.write(".2.gz", "two");
        logs.write(".3", "three");
        logs.rotate(3);
        assert_eq!(logs.ends(), [".1", ".2", ".3.gz"]);
        assert_eq!([".1", ".2", ".3.gz"].map(|end| logs.read(end)), ["new", "one", "two"]);
        logs.write("", "newer");
        logs.rotate(3);
        assert_eq!([".1", ".2", ".3"].map(|end| logs.read(end)), ["newer", "new", "one"]);
        assert_eq!(logs.ends(), [".1", ".2", ".3"], "the compressed one has left its slot");
        logs.write("", "newest");
        logs.rotate(1);
        assert_eq!(logs.read(".1"), "newest");
        logs.write("", "last");
        logs.rotate(0);
        assert_eq!(logs.read(""), "last");
    }

    #[test]
    fn of_two_in_one_slot_the_plain_one_counts() {
        let logs = Logs::new();
        logs.write("", "new");
        logs.write(".1", "whole");
        logs.write(".1.gz", "a copy");
        logs.rotate(5);
        assert_eq!(logs.ends(), [".1", ".2"]);
        assert_eq!(logs.read(".2"), "whole");
    }

    #[test]
    fn the_newest_plain_file_is_compressed_first_and_all_get_their_turn() {
        let logs = Logs::new();
        for (end, text) in [(".1.gz", "gz"), (".2", "two"), (".3", "three"), (".4", "too many"), (".gz.tmp", "left")] {
            logs.write(end, text);
        }
        for end in [".2", ".3"] {
            let work = logs.open(3);
            let packed = fill(&work);
            logs.1.put(3, &packed).expect("put");
            assert!(logs.path(end).exists(), "it is removed last");
            logs.1.remove_packed(3, &packed).expect("removed");
            assert!(!logs.path(end).exists() && logs.path(&format!("{end}.gz")).exists());
        }
        assert!(logs.1.open_next(3).expect("looked").is_none());
        assert_eq!(logs.ends(), [".1.gz", ".2.gz", ".3.gz", ".4"]);
        assert_eq!(logs.read(".2.gz"), "gz:two");
    }

    #[test]
    fn a_file_that_has_moved_on_is_found_where_it_is() {
        let logs = Logs::new();
        logs.write("", "new");
        logs.write(".1", "one");
        let work = logs.open(3);
        let packed = fill(&work);
        logs.rotate(3);
        logs.1.put(3, &packed).expect("put");
        assert_eq!(logs.ends(), [".1", ".2", ".2.gz"]);
        logs.1.remove_packed(3, &packed).expect("removed");
        assert_eq!(logs.ends(), [".1", ".2.gz"]);
    }

    #[test]
    fn nothing_is_removed_that_is_not_compressed_in_the_same_slot() {
        let logs = Logs::new();
        logs.write("", "new");
        logs.write(".1", "one");
        let work = logs.open(3);
        let packed = fill(&work);
        logs.1.put(3, &packed).expect("put");
        logs.rotate(3);
        logs.1.remove_packed(3, &packed).expect("looked");
        assert_eq!(logs.ends(), [".1", ".2"], "the rotation came between: it is compressed again");
        assert_eq!(logs.read(".2"), "one");
    }

    #[test]
    fn a_file_that_is_gone_or_has_changed_is_not_put() {
        let logs = Logs::new();
        logs.write(".1", "one");
        let work = logs.open(1);
        let packed = fill(&work);
        logs.write(".1", "one more");
        let error = logs.1.put(1, &packed).expect_err("refused").error;
        assert_eq!(error, "log.1: has changed while it was compressed");
        logs.write("", "new");
        logs.rotate(1);
        logs.1.put(1, &packed).expect("not needed any more");
        assert_eq!(logs.ends(), [".1"]);
        let work = logs.open(1);
        let packed = fill(&work);
        logs.1.discard().expect("removed");
        logs.write(".gz.tmp", "another");
        let error = logs.1.put(1, &packed).expect_err("refused").error;
        assert_eq!(error, "log.gz.tmp: was replaced by somebody else");
    }

    #[test]
    fn links_fifos_and_second_names_are_not_opened_and_stop_no_others() {
        let logs = Logs::new();
        std::os::unix::fs::symlink("log.4", logs.path(".1")).expect("symlink");
        nix::unistd::mkfifo(&logs.path(".2"), Mode::S_IRWXU).expect("mkfifo");
        logs.write("", "hard");
        std::fs::hard_link(logs.path(""), logs.path(".3")).expect("link");
        logs.write(".4", "plain");
        let work = logs.open(9);
        let packed = fill(&work);
        logs.1.put(9, &packed).expect("put");
        logs.1.remove_packed(9, &packed).expect("removed");
        assert_eq!(logs.read(".4.gz"), "gz:plain");
        let error = |logs: &Logs| logs.1.open_next(9).err().expect("refused").error;
        assert_eq!(error(&logs), "log.1: is a symbolic link");
        for (end, words) in [(".1", "log.2: is not a plain file"), (".2", "log.3: has a second name")] {
            std::fs::remove_file(logs.path(end)).expect("removed");
            logs.write(&format!("{end}.gz"), "");
            assert!(error(&logs).starts_with(words), "{}", error(&logs));
        }
    }

    #[test]
    fn mode_owner_and_time_are_those_of_the_source() {
        let logs = Logs::new();
        logs.write(".1", "one");
        std::fs::set_permissions(logs.path(".1"), PermissionsExt::from_mode(0o6640)).expect("chmod");
        let is_root = nix::unistd::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(logs.path(".1"), Some(12345), Some(54321)).expect("chown");
        }
        let file = std::fs::File::open(logs.path(".1")).expect("opened");
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1500)).expect("set");
        let work = logs.open(1);
        logs.1.put(1, &fill(&work)).expect("put");
        let (was, is) = (logs.path(".1"), logs.path(".1.gz")).clone();
        let facts = |path: &PathBuf| {
            let file = std::fs::metadata(path).expect("stat");
            (file.uid(), file.gid(), file.mode() & 0o777, file.mtime(), file.mtime_nsec())
        };
        assert_eq!(facts(&was), facts(&is));
        assert_eq!(is.metadata().expect("stat").mode() & 0o7000, 0);
        assert_eq!(facts(&is).3, 1);
    }
}
