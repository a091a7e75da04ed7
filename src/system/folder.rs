//! A directory of our own that is held open: its files are named relative to it, so that neither a path
//! nor a link decides where they are.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::stdio;

#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// Takes over an open directory.
    ///
    /// # Errors
    /// ENOTDIR when it is something else.
    pub fn new(directory: OwnedFd) -> io::Result<Self> {
        let stat = fstat(&directory)?;
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFDIR { Ok(Self(directory)) } else { Err(Errno::ENOTDIR.into()) }
    }

    /// The directory that whoever started us has given us under this number, if there is one.
    pub fn inherited(number: RawFd) -> Option<Self> {
        stdio::inherited(number).and_then(Self::new).ok()
    }

    /// A directory in it (mode 0700), which is made if it is not there.
    ///
    /// # Errors
    /// As mkdir(2) and open(2); ENOTDIR or ELOOP for what is no directory.
    pub fn folder(&self, name: &str) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?))
    }

    /// The names in it that are UTF-8, sorted, of the first `max` that the kernel gives; and whether these
    /// are all.
    ///
    /// # Errors
    /// As getdents(2).
    pub fn names(&self, max: usize) -> io::Result<(Vec<String>, bool)> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut names = Vec::new();
        let mut is_whole = true;
        for entry in Dir::openat(&self.0, ".", flags, Mode::empty())?.iter() {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            if names.len() >= max {
                is_whole = false;
                break;
            }
            names.push(name.to_owned());
        }
        names.sort();
        Ok((names, is_whole))
    }

    /// The whole of a plain file.
    ///
    /// # Errors
    /// As open(2); EFBIG when it is longer than `max` bytes, EINVAL when it is no plain file.
    pub fn read(&self, name: &str, max: u64) -> io::Result<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::empty())?;
        let kind = SFlag::from_bits_truncate(fstat(&file)?.st_mode) & SFlag::S_IFMT;
        if kind != SFlag::S_IFREG {
            return Err(Errno::EINVAL.into());
        }
        let mut bytes = Vec::new();
        File::from(file).take(max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max { Err(Errno::EFBIG.into()) } else { Ok(bytes) }
    }

    pub fn has(&self, name: &str) -> bool {
        nix::sys::stat::fstatat(&self.0, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Writes a new file (mode 0600) and waits until it is on disk. What is there under that name goes.
    ///
    /// # Errors
    /// As open(2), write(2), fsync(2); then there is no such file.
    pub fn write_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.remove(name)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.0, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if written.is_err() {
            let _ = self.remove(name);
        }
        written
    }

    /// Moves a file; what has the new name goes.
    ///
    /// # Errors
    /// As rename(2).
    pub fn rename(&self, name: &str, to: &Self, new: &str) -> io::Result<()> {
        Ok(renameat(&self.0, name, &to.0, new)?)
    }

    /// # Errors
    /// As unlink(2); a file that is not there is none.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until its names are on disk.
    ///
    /// # Errors
    /// As fsync(2).
    pub fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::fsync(self.0.as_fd())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = Folder::new(File::open(directory.path()).expect("opened").into()).expect("a directory");
        (directory, folder)
    }

    #[test]
    fn files_are_written_read_moved_and_removed() {
        let (_directory, folder) = folder();
        let inner = folder.folder("queue").expect("made");
        folder.write_new("tmp.a", b"old").expect("written");
        folder.write_new("tmp.a", b"new").expect("written again");
        folder.rename("tmp.a", &inner, "a").expect("moved");
        assert_eq!(inner.read("a", 3).expect("read"), b"new");
        assert_eq!(inner.read("a", 2).map_err(|e| e.raw_os_error()), Err(Some(libc::EFBIG)));
        assert!(inner.has("a") && !folder.has("tmp.a"));
        assert_eq!(folder.names(10).expect("names"), (vec!["queue".to_owned()], true));
        inner.write_new("b", b"").expect("written");
        assert_eq!(inner.names(1).map(|(names, is_whole)| (names.len(), is_whole)).expect("names"), (1, false));
        inner.remove("a").and_then(|()| inner.remove("a")).expect("removed");
        inner.sync().expect("synced");
    }

    #[test]
    fn nothing_but_plain_files_is_read_and_no_link_is_followed() {
        let (directory, folder) = folder();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link")).expect("symlink");
        std::os::unix::fs::symlink("/etc", directory.path().join("etc")).expect("symlink");
        nix::unistd::mkfifo(&directory.path().join("fifo"), Mode::S_IRWXU).expect("mkfifo");
        std::fs::create_dir(directory.path().join("dir")).expect("mkdir");
        for name in ["link", "fifo", "dir", "missing"] {
            assert!(folder.read(name, 100_000).is_err(), "{name}");
        }
        assert!(folder.folder("etc").is_err() && folder.folder("fifo").is_err());
        assert!(Folder::new(File::open("/etc/passwd").expect("opened").into()).is_err());
        folder.write_new("link", b"x").expect("takes its place");
        assert_eq!(folder.read("link", 10).expect("read"), b"x");
    }
}
