//! What a supervisor that was killed has left running: found through its control groups, and ended
//! before anything is started a second time.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::system::cgroup::Cgroups;
use crate::system::clock;

/// Programs were told to stop when their supervisor died: so long they have had no less.
const GRACE: Duration = Duration::from_secs(2);
/// After SIGKILL.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// The control groups of the supervisor with this `runtime_dir`, empty; `None` where there are none.
///
/// Waits for what is left in them to end, and ends it. The lock on `runtime_dir` says that nobody else
/// supervises it.
pub fn clear(runtime_dir: &Path) -> Option<Cgroups> {
    let mut hasher = DefaultHasher::new();
    runtime_dir.hash(&mut hasher);
    let cgroups = Cgroups::open(&format!("taskmaster-{:016x}", hasher.finish()))?;
    let left = |cgroups: &Cgroups| -> Vec<String> {
        cgroups.names().into_iter().filter(|name| cgroups.is_populated(name)).collect()
    };
    let names = left(&cgroups);
    if !names.is_empty() {
        let words = format!("taskmasterd: ending what an earlier supervisor left running: {}", names.join(", "));
        let _ = writeln!(std::io::stderr().lock(), "{words}");
        wait_until_empty(&cgroups, GRACE, left);
        for name in left(&cgroups) {
            let _ = cgroups.kill(&name);
        }
        wait_until_empty(&cgroups, PATIENCE, left);
    }
    for name in cgroups.names() {
        // What could not be ended stays, and stays in it.
        let _ = cgroups.remove(&name);
    }
    Some(cgroups)
}

fn wait_until_empty(cgroups: &Cgroups, patience: Duration, left: impl Fn(&Cgroups) -> Vec<String>) {
    let until = clock::now() + patience;
    // Before the loop runs there is nothing else to do, and nothing to poll: a short pause is all.
    while !left(cgroups).is_empty() && clock::now() < until {
        std::thread::sleep(PAUSE);
    }
}
