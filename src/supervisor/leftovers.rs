//! What a supervisor that was killed has left running: found through its control groups, and ended
//! before anything is started a second time.
//!
//! Where they are is written down in `runtime_dir`: the next supervisor may be started from another
//! session, and so from another place in the hierarchy.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;

use crate::model::id::Uid;
use crate::system::cgroup::Cgroups;
use crate::system::folder::Folder;
use crate::system::{clock, file};

/// Programs were told to stop when their supervisor died: so long they have had no less.
const GRACE: Duration = Duration::from_secs(2);
/// After SIGKILL.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);
/// The file in `runtime_dir` with the place of the control groups.
const RECORD: &str = "cgroup";
/// Where it is written, until it is whole.
const NEW_RECORD: &str = "cgroup.new";
/// The longest path that the kernel takes.
const RECORD_MAX: u64 = 4096;

/// The control groups of the supervisor with this `runtime_dir`, empty; `None` where there are none. `held` is
/// that directory, open.
///
/// Waits for what is left in them to end, and ends it. The lock on `runtime_dir` says that nobody else
/// supervises it.
pub fn clear(runtime_dir: &Path, held: OwnedFd, own: Uid) -> Option<Cgroups> {
    let name = format!("taskmaster-{:016x}", fingerprint(runtime_dir));
    let cgroups = Cgroups::open(&name);
    let earlier = recorded(&held, own);
    // Only ever a group of ours: the record is ours, and so is the name.
    if let Some(earlier) = earlier.filter(|path| path.ends_with(&name))
        && cgroups.as_ref().is_none_or(|now| now.base() != earlier)
        && let Some(earlier) = Cgroups::at(earlier)
    {
        end_all(&earlier);
        earlier.remove_all();
    }
    let cgroups = cgroups?;
    end_all(&cgroups);
    for name in cgroups.names() {
        // What could not be ended stays, and stays in it.
        let _ = cgroups.remove(&name);
    }
    // Without the record, a supervisor that is started elsewhere finds nothing: worth a try, no more.
    let _ = record(held, cgroups.base());
    Some(cgroups)
}

/// What an earlier supervisor has written down, if it was one of ours.
fn recorded(runtime_dir: &OwnedFd, own: Uid) -> Option<PathBuf> {
    let record = file::open_own(runtime_dir, RECORD, OFlag::O_RDONLY, own).ok()?;
    let mut bytes = Vec::new();
    std::fs::File::from(record).take(RECORD_MAX).read_to_end(&mut bytes).ok()?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

/// In a new file: what has the name goes, and nothing is written through it.
fn record(runtime_dir: OwnedFd, base: &Path) -> std::io::Result<()> {
    let folder = Folder::new(runtime_dir)?;
    folder.write_new(NEW_RECORD, base.as_os_str().as_bytes())?;
    folder.rename(NEW_RECORD, &folder, RECORD)
}

fn left(cgroups: &Cgroups) -> Vec<String> {
    cgroups.names().into_iter().filter(|name| cgroups.is_populated(name)).collect()
}

fn end_all(cgroups: &Cgroups) {
    let names = left(cgroups);
    if names.is_empty() {
        return;
    }
    let words = format!("taskmasterd: ending what an earlier supervisor left running: {}", names.join(", "));
    let _ = writeln!(std::io::stderr().lock(), "{words}");
    wait_until_empty(cgroups, GRACE);
    for name in left(cgroups) {
        let _ = cgroups.kill(&name);
    }
    wait_until_empty(cgroups, PATIENCE);
}

fn wait_until_empty(cgroups: &Cgroups, patience: Duration) {
    let until = clock::now() + patience;
    // Before the loop runs there is nothing else to do, and nothing to poll: a short pause is all.
    while !left(cgroups).is_empty() && clock::now() < until {
        std::thread::sleep(PAUSE);
    }
}

/// FNV-1a: the same in every release, so that a newer supervisor finds what an older one left.
fn fingerprint(path: &Path) -> u64 {
    path.as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
