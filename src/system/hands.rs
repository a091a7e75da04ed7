//! Who can change a file, or put another in its place: judged by owners, modes and lists of access rights
//! (acl(5)) of the file and of all that leads to it. Asked by a process that has become a program's user already, with that user's rights;
//! whatever blocks here blocks that one process.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
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
        // Where there is a list, these bits are its mask, the most that anybody in it can have.
        let by_group = mode.contains(Mode::S_IWGRP)
            && match access_list(path) {
                Ok(None) => is_strange(Gid(stat.st_gid), group),
                Ok(Some(list)) => strangers_may_write(&list, Gid(stat.st_gid), (own, group)),
                Err(_) => true,
            };
        self.others |= by_group || mode.contains(Mode::S_IWOTH);
        // Also what lists of access rights, or a capability, allow.
        self.own |= !own.is_root() && eaccess(path, AccessFlags::W_OK).is_ok();
    }
}

/// A group of the user's own is the user; the members of any other are not. That of root has others than
/// root, or nobody would have to be in it.
fn is_strange(gid: Gid, own: Gid) -> bool {
    gid != own || gid.0 == 0
}

/// The list of access rights as the kernel stores it; `None`: there is none, the mode says it all.
fn access_list(path: &Path) -> io::Result<Option<Vec<u8>>> {
    /// The most that an attribute can have (XATTR_SIZE_MAX).
    const MOST: usize = 65_536;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut list = vec![0; MOST];
    // SAFETY: both names end in NUL; the list is writable for as many bytes as are said.
    let length = unsafe {
        libc::getxattr(path.as_ptr(), c"system.posix_acl_access".as_ptr(), list.as_mut_ptr().cast(), list.len())
    };
    match Errno::result(length) {
        Ok(length) => {
            list.truncate(usize::try_from(length).unwrap_or_default());
            Ok(Some(list))
        }
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a list lets others than root and this user write, as far as its mask, which the caller knows to
/// have the bit, lets anybody. What is not understood lets everybody.
///
/// The format is that of linux/posix_acl_xattr.h: a version, then a kind, rights and an id for each.
fn strangers_may_write(list: &[u8], owner: Gid, (own, group): (Uid, Gid)) -> bool {
    const VERSION: [u8; 4] = 2_u32.to_le_bytes();
    const WRITE: u16 = 2;
    const NAMED_USER: u16 = 0x02;
    const OWNING_GROUP: u16 = 0x04;
    const NAMED_GROUP: u16 = 0x08;
    let Some(entries) = list.strip_prefix(&VERSION).filter(|entries| entries.len().is_multiple_of(8)) else {
        return true;
    };
    entries.chunks_exact(8).any(|entry| {
        let half = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        half(2) & WRITE != 0
            && match half(0) {
                NAMED_USER => id != own.0 && id != 0,
                OWNING_GROUP => is_strange(owner, group),
                NAMED_GROUP => is_strange(Gid(id), group),
                _ => false, // the owner, the mask, everybody: the mode has them
            }
    })
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
        mode(&file, 0o664);
        if account::own_uid().is_root() {
            assert!(others(&file) && others(&link), "the group of root has others, too");
        }
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
    fn a_list_of_access_rights_is_read_entry_by_entry() {
        let list = |entries: &[(u16, u16, u32)]| {
            let entry = |(kind, rights, id): &(u16, u16, u32)| {
                [&kind.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
            };
            [&2_u32.to_le_bytes()[..], &entries.iter().flat_map(entry).collect::<Vec<u8>>()].concat()
        };
        let may = |entries: &[(u16, u16, u32)], owner: u32| {
            strangers_may_write(&list(entries), Gid(owner), (Uid(1000), Gid(1000)))
        };
        // The owner, their group, the mask and everybody are in each.
        let with = |kind, rights, id| [(1, 6, 0), (4, 4, 0), (kind, rights, id), (0x10, 6, 0), (0x20, 4, 0)];
        for (entries, owner, expected) in [
            (with(2, 6, 1001), 0, true),
            (with(2, 4, 1001), 0, false),
            (with(2, 6, 1000), 0, false),
            (with(2, 6, 0), 0, false),
            (with(8, 2, 1001), 0, true),
            (with(8, 2, 0), 0, true),
            (with(8, 2, 1000), 0, false),
            (with(4, 6, 0), 1000, false),
            (with(4, 6, 0), 1001, true),
            (with(4, 6, 0), 0, true),
        ] {
            assert_eq!(may(&entries, owner), expected, "{entries:?} of {owner}");
        }
        for junk in [&b""[..], b"\x02", b"\x03\0\0\0", b"\x02\0\0\0\x01"] {
            assert!(strangers_may_write(junk, Gid(1000), (Uid(1000), Gid(1000))), "{junk:?}");
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
