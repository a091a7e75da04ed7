//! A listening socket with a name in the file system. Its directory and the socket itself are held open, so
//! that what gets a mode, a group or another name is that socket, whatever lies at its path meanwhile.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{Gid as NixGid, UnlinkatFlags, fchownat, unlinkat};

use super::credentials;
use super::way::kind;
use crate::model::id::{Gid, Uid};

/// While the socket is bound: nobody but us can connect before it has its rights.
const NARROW_UMASK: u32 = 0o177;

/// The place of a socket, and the socket there.
pub struct NamedSocket {
    directory: OwnedFd,
    name: OsString,
    held: OwnedFd,
}

/// A path that leads to this name in the held directory, wherever that is now.
fn path_in(directory: &OwnedFd, name: &OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name)
}

/// Whether anybody answers at this name.
pub fn is_answered(directory: &OwnedFd, name: &OsStr) -> bool {
    UnixStream::connect(path_in(directory, name)).is_ok()
}

/// Binds a socket to a name in a directory in trusted hands, with no rights for others yet; what has the
/// name goes. `umask` is set again afterwards.
///
/// # Errors
/// As bind(2) and umask(2); EPERM when something else is found than was made.
pub fn bind(directory: OwnedFd, name: &OsStr, own: Uid, umask: u32) -> io::Result<(UnixListener, NamedSocket)> {
    // A left-over of a start that was cut off.
    remove(&directory, name)?;
    credentials::set_umask(NARROW_UMASK)?;
    let bound = UnixListener::bind(path_in(&directory, name));
    credentials::set_umask(umask)?;
    let listener = bound?;
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let held = openat(&directory, name, flags, Mode::empty())?;
    let stat = fstat(&held)?;
    if kind(&stat) != SFlag::S_IFSOCK || stat.st_uid != own.0 || stat.st_nlink != 1 {
        return Err(Errno::EPERM.into());
    }
    Ok((listener, NamedSocket { directory, name: name.to_owned(), held }))
}

fn remove(directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

impl NamedSocket {
    /// Gives it to a group.
    ///
    /// # Errors
    /// As chown(2).
    pub fn set_group(&self, gid: Gid) -> io::Result<()> {
        Ok(fchownat(&self.held, "", None, Some(NixGid::from_raw(gid.0)), AtFlags::AT_EMPTY_PATH)?)
    }

    /// # Errors
    /// As chmod(2).
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        // The kernel refuses fchmod(2) for what is open as a path only; through /proc it is that very file.
        let path = format!("/proc/self/fd/{}", self.held.as_fd().as_raw_fd());
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    }

    /// Gives it another name in its directory; what has that goes.
    ///
    /// # Errors
    /// As rename(2).
    pub fn rename(&mut self, name: &OsStr) -> io::Result<()> {
        renameat(&self.directory, self.name.as_os_str(), &self.directory, name)?;
        name.clone_into(&mut self.name);
        Ok(())
    }

    /// Removes its name, if it is still this socket's.
    pub fn remove(&self) {
        let there = fstatat(&self.directory, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        let inode = |stat: FileStat| (stat.st_dev, stat.st_ino);
        if let (Ok(there), Ok(held)) = (there, fstat(&self.held))
            && inode(there) == inode(held)
        {
            let _ = remove(&self.directory, &self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::system::{account, directory};

    #[test]
    fn rights_and_removal_concern_the_socket_and_not_what_took_its_name() {
        let place = tempfile::tempdir().expect("a directory");
        let open = || directory::trusted(place.path(), account::own_uid()).expect("trusted");
        let (_listener, mut socket) = bind(open(), OsStr::new("s.new"), account::own_uid(), 0o022).expect("bound");
        let mode = |name: &str| std::fs::symlink_metadata(place.path().join(name)).expect("there").mode() & 0o777;
        assert_eq!(mode("s.new"), 0o600, "nobody else's until it has its rights");
        socket.set_mode(0o660).and_then(|()| socket.rename(OsStr::new("s"))).expect("placed");
        assert!(mode("s") == 0o660 && is_answered(&open(), OsStr::new("s")));
        let (path, moved) = (place.path().join("s"), place.path().join("moved"));
        std::fs::rename(&path, &moved).expect("moves");
        std::fs::write(place.path().join("victim"), "").expect("writes");
        std::fs::set_permissions(place.path().join("victim"), PermissionsExt::from_mode(0o600)).expect("chmod");
        std::os::unix::fs::symlink("victim", &path).expect("symlink");
        socket.set_mode(0o666).expect("set");
        assert_eq!((mode("moved"), mode("victim")), (0o666, 0o600));
        socket.remove();
        assert!(path.is_symlink(), "another's name stays");
        std::fs::rename(&moved, &path).expect("moves back");
        socket.remove();
        assert!(!path.exists());
    }
}
