//! Control groups (version 2): every process of a program in a group of its own, from its birth, so that
//! nothing it starts can leave it. Used for membership and for killing only; no controller is needed, so
//! the hybrid hierarchy counts, too.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::model::id::Pid;
use crate::model::signal::Signal;

use super::process;

/// The groups below one of our own.
pub struct Cgroups {
    base: PathBuf,
}

impl Cgroups {
    /// Our group, made below the one this process is in, if the system lets us and its kernel can kill a
    /// whole group (Linux 5.14).
    pub fn open(name: &str) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let base = mount_point(&mounts)?.join(own_path(&own)?.trim_start_matches('/')).join(name);
        make(&base).ok()?;
        Self::at(base)
    }

    /// A group that is there already: one that an earlier supervisor made.
    pub fn at(base: PathBuf) -> Option<Self> {
        base.join("cgroup.kill").exists().then_some(Self { base })
    }

    /// Where it is.
    pub fn base(&self) -> &Path {
        &self.base
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// A group for a process, made if it is not there: to be cloned into.
    ///
    /// # Errors
    /// As mkdir(2): EAGAIN at the hierarchy's limits.
    pub fn member(&self, name: &str) -> io::Result<OwnedFd> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.path(name);
        make(&path)?;
        let flags = libc::O_DIRECTORY | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        Ok(std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?.into())
    }

    /// Whether any process is in the group.
    pub fn is_populated(&self, name: &str) -> bool {
        is_populated(&self.path(name))
    }

    /// Sends SIGKILL to every process of the group at once, those being born included.
    ///
    /// # Errors
    /// ENOENT when there is no such group.
    pub fn kill(&self, name: &str) -> io::Result<()> {
        std::fs::write(self.path(name).join("cgroup.kill"), "1")
    }

    /// Sends a signal to every process that is in the group now.
    pub fn signal(&self, name: &str, signal: Signal) {
        let Ok(text) = std::fs::read_to_string(self.path(name).join("cgroup.procs")) else { return };
        for pid in text.lines().filter_map(|line| line.parse().ok()) {
            // The number could have come back as another's meanwhile: first hold the process, then see
            // that it is still in the group.
            let Ok(pidfd) = process::open(Pid(pid)) else { continue };
            if self.holds(name, pid) {
                let _ = process::signal(pidfd.as_fd(), signal);
            }
        }
    }

    /// Whether a process that exists is in the group, as the kernel says.
    ///
    /// # Errors
    /// ENOENT or ESRCH when it is gone.
    pub fn contains(&self, name: &str, pid: Pid) -> io::Result<bool> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        Ok(own_path(&text).is_some_and(|path| self.is_member(name, path)))
    }

    fn holds(&self, name: &str, pid: i32) -> bool {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return false };
        own_path(&text).is_some_and(|path| self.path(name).ends_with(path.trim_start_matches('/')))
    }

    /// Whether a path that /proc shows is that of our group with this name. The path's beginning is not
    /// looked at: it may be another's view of the hierarchy.
    pub fn is_member(&self, name: &str, path: &str) -> bool {
        let Some(own) = self.base.file_name() else { return false };
        Path::new(path).ends_with(Path::new(own).join(name))
    }

    /// Removes a group in which nobody is left.
    ///
    /// # Errors
    /// EBUSY while somebody is.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_dir(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The groups that are there.
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.base) else { return Vec::new() };
        entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// Removes everything that is empty, our own group last.
    pub fn remove_all(&self) {
        for name in self.names() {
            let _ = self.remove(&name);
        }
        let _ = std::fs::remove_dir(&self.base);
    }
}

fn make(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn is_populated(path: &Path) -> bool {
    std::fs::read_to_string(path.join("cgroup.events")).is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
}

/// Where the version 2 hierarchy is mounted (proc_pid_mountinfo(5)).
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        mount.split(' ').nth(4).map(PathBuf::from)
    })
}

/// A process's group in the version 2 hierarchy (cgroups(7)): the line `0::/path`.
pub(super) fn own_path(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_known_by_the_end_of_its_path() {
        let cgroups = Cgroups { base: PathBuf::from("/sys/fs/cgroup/system.slice/taskmaster-7") };
        assert!(cgroups.is_member("web:0", "/system.slice/taskmaster-7/web:0"));
        assert!(cgroups.is_member("web:0", "/taskmaster-7/web:0"));
        for other in ["", "/", "/web:0", "/taskmaster-7/web:1", "/taskmaster-7/web:0/below", "/xtaskmaster-7/web:0"] {
            assert!(!cgroups.is_member("web:0", other), "{other}");
        }
    }

    #[test]
    fn the_hierarchy_is_found_in_unified_and_in_hybrid_systems() {
        let hybrid = "35 25 0:30 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      36 35 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      37 35 0:32 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_point("1 1 0:1 / / rw - ext4 /dev/vda rw\n"), None);
        let own = "9:name=systemd:/\n1:cpu:/\n0::/system.slice/taskmaster.service\n";
        assert_eq!(own_path(own), Some("/system.slice/taskmaster.service"));
        assert_eq!(own_path("1:cpu:/\n"), None);
    }
}
