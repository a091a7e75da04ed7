//! What the kernel says of processes.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The fields of /proc/PID/status.
pub fn status(pid: i64) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

/// Real, effective, saved and file-system ids.
pub fn ids(pid: i64, which: &str) -> Vec<u32> {
    status(pid).get(which).map(|ids| ids.split(' ').filter_map(|id| id.parse().ok()).collect()).unwrap_or_default()
}

pub fn environ(pid: i64) -> BTreeMap<String, String> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|pair| {
            let text = String::from_utf8_lossy(pair).into_owned();
            text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

pub fn cwd(pid: i64) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default()
}

/// The open descriptors and where they lead.
pub fn descriptors(pid: i64) -> BTreeMap<i32, String> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeMap::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let target = std::fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, target.display().to_string()))
        })
        .collect()
}

/// Fields 3 and on of /proc/PID/stat: state, parent, group, session, terminal …
pub fn stat(pid: i64) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

/// Running: there and no zombie.
pub fn is_alive(pid: i64) -> bool {
    stat(pid).first().is_some_and(|state| state != "Z" && state != "X")
}

/// All processes whose parent is this one.
pub fn children(pid: i64) -> Vec<i64> {
    all().into_iter().filter(|other| stat(*other).get(1).is_some_and(|parent| *parent == pid.to_string())).collect()
}

/// A child with this word in its command line.
pub fn child_called(pid: i64, word: &str) -> Option<i64> {
    children(pid).into_iter().find(|child| {
        let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word) && is_alive(*child)
    })
}

pub fn all() -> Vec<i64> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Every process below this one.
pub fn descendants(pid: i64) -> Vec<i64> {
    let mut found = children(pid);
    let mut next = 0;
    while next < found.len() {
        let more = children(found[next]);
        found.extend(more);
        next += 1;
    }
    found
}

/// Sends a signal by number: to processes that a test has started.
pub fn kill(pid: i64, signal: i32) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    assert!(pid.as_raw() > 1, "no test signals {pid}");
    let signal = nix::sys::signal::Signal::try_from(signal).expect("a signal");
    let _ = nix::sys::signal::kill(pid, signal);
}

/// Whether the tests themselves have a capability, by its number.
pub fn has_capability(number: u32) -> bool {
    let status = status(i64::from(std::process::id()));
    u64::from_str_radix(&status["CapEff"], 16).is_ok_and(|set| set >> number & 1 == 1)
}

/// Stopped by a signal, or by whoever traces it.
pub fn is_held(pid: i64) -> bool {
    stat(pid).first().is_some_and(|state| state == "T")
}

/// Stops it by SIGSTOP, and waits until it stands still.
#[track_caller]
pub fn hold(pid: i64) {
    kill(pid, libc::SIGSTOP);
    super::eventually("it stands still", || is_held(pid).then_some(()));
}

/// Waits until it ignores or handles a signal, as its script says: before that a signal ends it.
#[track_caller]
pub fn wait_until_handled(pid: i64, signal: u32) {
    super::eventually("its signals are set up", || {
        let status = status(pid);
        let has = |name: &str| {
            let mask = status.get(name).and_then(|mask| u64::from_str_radix(mask, 16).ok());
            mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
        };
        (has("SigIgn") || has("SigCgt")).then_some(())
    });
}

/// CPU time used so far, in clock ticks.
pub fn cpu_ticks(pid: i64) -> u64 {
    let stat = stat(pid);
    let field = |index: usize| stat.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    field(11) + field(12)
}
