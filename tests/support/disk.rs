//! A small disk that can be filled.

use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Unmounted when dropped.
pub struct Disk(PathBuf);

impl Disk {
    /// In a new directory; the options are those of tmpfs(5).
    pub fn mount(path: PathBuf, options: &str) -> Self {
        std::fs::create_dir(&path).expect("a directory");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), &path, Some("tmpfs"), flags, Some(options)).expect("mounts");
        Self(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
