//! The way to a path, walked from `/` on descriptors one component at a time: who, beside root and one user,
//! could make it lead elsewhere. What was judged is what is used afterwards.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, mkdirat};

use crate::model::id::Uid;
use crate::model::text::escaped;

/// The kernel's own bound (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// The mode of directories that are made on the way.
const PARENT_MODE: u32 = 0o755;

/// Why what lies at a path could be another's choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    Owner(Uid),
    Writable,
    /// A link where others can put theirs.
    Link,
}

/// A directory, or a link, that others decide about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Doubt {
    pub path: PathBuf,
    why: Why,
    own: Uid,
}

impl Doubt {
    fn shown(&self) -> String {
        escaped(&self.path.to_string_lossy()).into_owned()
    }

    /// What is wrong with the path.
    pub fn reason(&self) -> String {
        match self.why {
            Why::Owner(uid) => format!("belongs to uid {uid}"),
            Why::Writable => "can be written by others".to_owned(),
            Why::Link => "is a symbolic link where others can put another in its place".to_owned(),
        }
    }

    /// How it is mended where it is.
    pub fn mend(&self) -> String {
        match self.why {
            Why::Owner(_) => format!("chown root {}", self.shown()),
            Why::Writable => format!("chmod go-w {}", self.shown()),
            Why::Link => "name what it leads to".to_owned(),
        }
    }

    /// The reason and the way to mend it, without the path.
    pub fn words(&self) -> String {
        let wanted = match self.why {
            Why::Owner(_) if self.own.is_root() => "it must belong to root".to_owned(),
            Why::Owner(_) => format!("it must belong to root or uid {}", self.own),
            Why::Writable => "take the right away".to_owned(),
            Why::Link => return format!("{}; {}", self.reason(), self.mend()),
        };
        format!("{}; {wanted} ({})", self.reason(), self.mend())
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.shown(), self.words())
    }
}

/// What a walk does beside looking.
#[derive(Clone, Copy, Default)]
pub struct Rules {
    /// Makes missing directories, the last with this mode; the first doubt is an error then.
    pub make: Option<u32>,
    /// The last component may be no link.
    pub no_last_link: bool,
}

/// Where a walk has ended.
pub enum End {
    /// In [`Way::directory`].
    Directory,
    /// At something in [`Way::directory`] that is neither a directory nor a link.
    Other(OsString, FileStat),
    /// Before a link that others can change: nobody follows it. There is a doubt.
    Link,
}

/// Where a walk has come to.
pub struct Way {
    own: Uid,
    pub directory: OwnedFd,
    stat: FileStat,
    /// Without links.
    pub at: PathBuf,
    pub doubts: Vec<Doubt>,
}

pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn is_writable(stat: &FileStat) -> bool {
    Mode::from_bits_truncate(stat.st_mode).intersects(Mode::S_IWGRP | Mode::S_IWOTH)
}

fn is_sticky(stat: &FileStat) -> bool {
    Mode::from_bits_truncate(stat.st_mode).contains(Mode::S_ISVTX)
}

/// As the directory itself, not what a link leads to.
const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Why a directory cannot be used.
#[derive(Debug)]
pub struct DirectoryError {
    pub path: PathBuf,
    /// 0 where there is none.
    pub errno: i32,
    pub error: String,
}

impl DirectoryError {
    pub(super) fn new(path: &Path, errno: Errno) -> Self {
        let error = match errno {
            Errno::ELOOP | Errno::ENOTDIR => "is not a directory, or is a symbolic link (name the real one)".to_owned(),
            errno => errno.desc().to_owned(),
        };
        Self { path: path.to_owned(), errno: errno as i32, error }
    }

    pub(super) fn words(path: &Path, error: impl Into<String>) -> Self {
        Self { path: path.to_owned(), errno: 0, error: error.into() }
    }

    pub fn doubt(doubt: &Doubt) -> Self {
        Self::words(&doubt.path, format!("{}, or choose another path", doubt.words()))
    }

    /// In the words for a key of the configuration that has this path.
    pub fn of(&self, key: &str, path: &Path) -> String {
        if self.path == path {
            return format!("{key} {self}");
        }
        format!("{key} {}: {self}", escaped(&path.to_string_lossy()))
    }
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", escaped(&self.path.to_string_lossy()), self.error)
    }
}

fn root() -> Result<(OwnedFd, FileStat), DirectoryError> {
    let fail = |errno| DirectoryError::new(Path::new("/"), errno);
    let directory = open("/", LOOK | OFlag::O_DIRECTORY, Mode::empty()).map_err(fail)?;
    let stat = fstat(&directory).map_err(fail)?;
    Ok((directory, stat))
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    use std::path::Component;
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

impl Way {
    /// At `/`. Trusted are root and `own`.
    ///
    /// # Errors
    /// As open(2).
    pub fn begin(own: Uid) -> Result<Self, DirectoryError> {
        let (directory, stat) = root()?;
        Ok(Self { own, directory, stat, at: PathBuf::from("/"), doubts: Vec::new() })
    }

    /// Walks an absolute path. Links are followed only out of a directory that nobody else can write.
    ///
    /// # Errors
    /// The first component that does not exist or cannot be entered. What was doubted before stays known.
    pub fn go(&mut self, path: &Path, rules: Rules) -> Result<End, DirectoryError> {
        if !path.is_absolute() {
            return Err(DirectoryError::words(path, "is not an absolute path"));
        }
        let mut ahead: VecDeque<OsString> = names(path).collect();
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            self.judge(true);
            self.refuse_doubt(rules)?;
            let is_last = ahead.is_empty();
            let here = if name == ".." { self.at.clone() } else { self.at.join(&name) };
            let (found, stat) = match (self.look(&name), rules.make) {
                (Err(Errno::ENOENT), Some(mode)) => {
                    self.make(&name, if is_last { mode } else { PARENT_MODE }).and_then(|()| self.look(&name))
                }
                (looked, _) => looked,
            }
            .map_err(|errno| DirectoryError::new(&here, errno))?;
            match kind(&stat) {
                SFlag::S_IFLNK if is_last && rules.no_last_link => {
                    return Err(DirectoryError::words(&here, "is a symbolic link; name the directory itself"));
                }
                SFlag::S_IFLNK => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(DirectoryError::words(&here, "is one of too many symbolic links"));
                    }
                    if self.is_doubtful_for_links() {
                        self.doubt(here, Why::Link);
                        self.refuse_doubt(rules)?;
                        return Ok(End::Link);
                    }
                    let target = readlinkat(&found, "").map_err(|errno| DirectoryError::new(&here, errno))?;
                    let target = Path::new(&target);
                    if target.is_absolute() {
                        (self.directory, self.stat) = root()?;
                        self.at = PathBuf::from("/");
                    }
                    names(target).rev().for_each(|name| ahead.push_front(name));
                }
                SFlag::S_IFDIR => {
                    if name == ".." {
                        self.at.pop();
                    } else {
                        self.at = here;
                    }
                    (self.directory, self.stat) = (found, stat);
                }
                _ if is_last => return Ok(End::Other(name, stat)),
                _ => return Err(DirectoryError::words(&here, "is not a directory")),
            }
        }
        Ok(End::Directory)
    }

    /// Judges the directory that was reached. `sticky_is_fine`: what root made in it stays root's.
    pub fn judge(&mut self, sticky_is_fine: bool) {
        let owner = Uid(self.stat.st_uid);
        if !owner.is_root() && owner != self.own {
            self.doubt(self.at.clone(), Why::Owner(owner));
        }
        if is_writable(&self.stat) && !(sticky_is_fine && is_sticky(&self.stat)) {
            self.doubt(self.at.clone(), Why::Writable);
        }
    }

    fn is_doubtful_for_links(&self) -> bool {
        !self.doubts.is_empty() || is_writable(&self.stat)
    }

    fn doubt(&mut self, path: PathBuf, why: Why) {
        let doubt = Doubt { path, why, own: self.own };
        if !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
        }
    }

    fn refuse_doubt(&self, rules: Rules) -> Result<(), DirectoryError> {
        match self.doubts.first().filter(|_| rules.make.is_some()) {
            Some(doubt) => Err(DirectoryError::doubt(doubt)),
            None => Ok(()),
        }
    }

    fn look(&self, name: &OsStr) -> Result<(OwnedFd, FileStat), Errno> {
        let found = openat(&self.directory, name, LOOK, Mode::empty())?;
        let stat = fstat(&found)?;
        Ok((found, stat))
    }

    /// In a sticky directory somebody can be faster: what is there then is judged as what was there before.
    fn make(&self, name: &OsStr, mode: u32) -> Result<(), Errno> {
        match mkdirat(&self.directory, name, Mode::S_IRWXU) {
            Err(Errno::EEXIST) => return Ok(()),
            other => other?,
        }
        // mkdir applies the umask, so the mode comes after.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        fchmod(openat(&self.directory, name, flags, Mode::empty())?, Mode::from_bits_truncate(mode))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn own() -> Uid {
        super::super::account::own_uid()
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
    }

    /// The real path that a walk comes to, and what is doubted.
    fn walked(path: &Path) -> Result<(PathBuf, Vec<String>), String> {
        let mut way = Way::begin(own()).map_err(|error| error.to_string())?;
        way.go(path, Rules::default()).map_err(|error| error.to_string())?;
        way.judge(false);
        Ok((way.at, way.doubts.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn a_link_is_followed_out_of_a_trusted_directory_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = directory.path().canonicalize().expect("real");
        std::fs::create_dir_all(base.join("real/inner")).expect("mkdir");
        symlink("real/../real", base.join("link")).expect("symlink");
        symlink("/", base.join("slash")).expect("symlink");
        symlink("ring", base.join("ring")).expect("symlink");
        assert_eq!(walked(&base.join("link/inner/..")), Ok((base.join("real"), vec![])));
        assert_eq!(walked(&base.join("slash")), Ok((PathBuf::from("/"), vec![])));
        assert!(walked(&base.join("ring")).is_err());
        mode(&base, 0o1777);
        let (_, doubts) = walked(&base.join("link/inner")).expect("walked");
        assert!(doubts[0].contains("link is a symbolic link where others can put another"), "{doubts:?}");
        mode(&base, 0o777);
        let (_, doubts) = walked(&base.join("link/inner")).expect("walked");
        assert!(doubts[0].ends_with(&format!("(chmod go-w {})", base.display())), "{doubts:?}");
    }

    #[test]
    fn every_doubt_is_told_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let (outer, inner) = (directory.path().join("a"), directory.path().join("a/b"));
        std::fs::create_dir_all(&inner).expect("mkdir");
        mode(&outer, 0o777);
        mode(&inner, 0o770);
        let doubts = walked(&inner).expect("walked").1;
        assert_eq!(doubts.len(), 2, "{doubts:?}");
    }
}
