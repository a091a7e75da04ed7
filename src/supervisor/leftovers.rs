//! What a supervisor that was killed has left running: found through its control groups, and ended
//! before anything is started a second time.
//!
//! Where they are is written down in `runtime_dir`: the next supervisor may be started from another
//! session, and so from another place in the hierarchy.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::system::cgroup::Cgroups;
use crate::system::clock;

/// Programs were told to stop when their supervisor died: so long they have had no less.
const GRACE: Duration = Duration::from_secs(2);
/// After SIGKILL.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);
/// The file in `runtime_dir` with the place of the control groups.
const RECORD: &str = "cgroup";

/// The control groups of the supervisor with this `runtime_dir`, empty; `None` where there are none.
///
/// Waits for what is left in them to end, and ends it. The lock on `runtime_dir` says that nobody else
/// supervises it.
pub fn clear(runtime_dir: &Path) -> Option<Cgroups> {
    let name = format!("taskmaster-{:016x}", fingerprint(runtime_dir));
    let record = runtime_dir.join(RECORD);
    let cgroups = Cgroups::open(&name);
    let earlier = std::fs::read_to_string(&record).ok().map(PathBuf::from);
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
    let _ = std::fs::write(&record, cgroups.base().as_os_str().as_bytes());
    Some(cgroups)
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
