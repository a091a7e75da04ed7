//! Small disks that can be filled, or break.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Unmounted when dropped.
pub struct Disk(PathBuf);

impl Disk {
    /// In a new directory; the options are those of tmpfs(5).
    pub fn mount(path: PathBuf, options: &str) -> Self {
        std::fs::create_dir(&path).expect("a directory");
        Self::over(path, options)
    }

    /// Over what is there.
    pub fn over(path: PathBuf, options: &str) -> Self {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), &path, Some("tmpfs"), flags, Some(options)).expect("mounts");
        Self(path)
    }

    /// An ext4 file system that is read-only from its first error on, in a new directory. Its image lies beside it.
    pub fn breakable(path: PathBuf) -> Self {
        let image = path.with_extension("image");
        std::fs::create_dir(&path).expect("a directory");
        std::fs::File::create(&image).expect("a file").set_len(8 << 20).expect("grown");
        let run = |command: &mut Command| {
            let output = command.stdin(Stdio::null()).output().expect("it runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        run(Command::new("mount").args(["-o", "loop,errors=remount-ro"]).arg(&image).arg(&path));
        Self(path)
    }

    /// Has the file system find an error.
    pub fn break_it(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("reads");
        let is_ours = |line: &&str| line.split(' ').nth(1).is_some_and(|place| Path::new(place) == self.0);
        let line = mounts.lines().rfind(is_ours).expect("it is mounted");
        let device = line.split(' ').next().and_then(|device| device.strip_prefix("/dev/")).expect("a device");
        std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "broken").expect("writes");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
