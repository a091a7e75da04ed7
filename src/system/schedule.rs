//! When and where a process runs, and for how long it is spared: nice, the priority of disk access, the processors, the
//! end of memory. Each is read back.

use std::collections::BTreeSet;
use std::io;

use nix::errno::Errno;

use crate::model::program::IoPriority;

/// Sets the nice value.
///
/// # Errors
/// EACCES when it is lowered without the privilege.
pub fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: three integers; 0 is the calling process.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    Errno::result(result)?;
    Errno::clear();
    // SAFETY: two integers. -1 can be the value: errno tells.
    let is = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    if is == nice && Errno::last_raw() == 0 { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// Sets the priority of disk access (ioprio_set(2)).
///
/// # Errors
/// EPERM for the real-time class without CAP_SYS_ADMIN or CAP_SYS_NICE.
pub fn set_io_priority(priority: IoPriority) -> io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    let (class, level) = match priority {
        IoPriority::Realtime(level) => (1, level),
        IoPriority::BestEffort(level) => (2, level),
        IoPriority::Idle => (3, 0),
    };
    let value: libc::c_int = class << 13 | libc::c_int::from(level);
    // SAFETY: three integers; 0 is the calling process.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) };
    Errno::result(result)?;
    // SAFETY: two integers.
    let is = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
    if is == libc::c_long::from(value) { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// Sets how soon the process is killed when memory runs out.
///
/// # Errors
/// EACCES when it is lowered without the privilege; EPERM when it is another afterwards.
pub fn set_oom_score(score: i32) -> io::Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    std::fs::write(FILE, score.to_string())?;
    if std::fs::read_to_string(FILE)?.trim().parse() == Ok(score) { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// Lets the process run on these processors only.
///
/// # Errors
/// EINVAL when the machine has none of them.
pub fn set_processors(processors: &BTreeSet<u16>) -> io::Result<()> {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    let this = nix::unistd::Pid::from_raw(0);
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(usize::from(*processor))?;
    }
    sched_setaffinity(this, &set)?;
    let is = sched_getaffinity(this)?;
    let allowed = (0..CpuSet::count()).filter(|n| is.is_set(*n).unwrap_or(false));
    // The kernel leaves out what the machine has not; more than was wanted it never gives.
    for processor in allowed {
        if !set.is_set(processor)? {
            return Err(Errno::EPERM.into());
        }
    }
    Ok(())
}
