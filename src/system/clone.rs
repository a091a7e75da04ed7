//! clone3(2), the one way in which processes are made.
//!
//! The callers (the core when it starts the spawner, the spawner for everything else) have one thread,
//! so the clone is a whole and consistent copy: it may allocate and look accounts up.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::model::id::Pid;

/// Whose child the new process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parent {
    Me,
    /// A sibling of the caller (CLONE_PARENT): only the caller's parent waits for it.
    Mine,
}

/// On which side of the clone this is.
pub enum Side {
    Clone,
    Original { pid: Pid, pidfd: OwnedFd },
}

/// Makes a copy of the calling process, with a pidfd from birth.
///
/// # Errors
/// EAGAIN and ENOMEM at the limits of processes; EPERM, ENOSYS in sandboxes without clone3.
pub fn clone(parent: Parent, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all fields of clone_args are integers, for which zero is valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    let mut flags = libc::CLONE_PIDFD as u64;
    // With CLONE_PARENT the exit signal is inherited and must be given as 0.
    match parent {
        Parent::Me => args.exit_signal = libc::SIGCHLD as u64,
        Parent::Mine => flags |= libc::CLONE_PARENT as u64,
    }
    if let Some(cgroup) = cgroup {
        flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    args.flags = flags;
    args.pidfd = (&raw mut pidfd).expose_provenance() as u64;
    // SAFETY: no stack and no CLONE_VM: the child continues on its own copy of everything, as after
    // fork(2); `args` and `pidfd` live for the whole call. The process has one thread, so no lock is
    // left held in the copy.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match Errno::result(result)? {
        0 => Ok(Side::Clone),
        pid => {
            // SAFETY: the kernel has just opened this descriptor for us alone (CLONE_PIDFD).
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Side::Original { pid: Pid(i32::try_from(pid).unwrap_or(0)), pidfd })
        }
    }
}

/// From linux/sched.h; the libc crate has it as a signed int that it does not fit into.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Ends a clone without running anything of the original's: no destructors, no exit handlers.
pub fn leave(status: i32) -> ! {
    // SAFETY: _exit(2) takes an integer and does not return.
    unsafe { libc::_exit(status) }
}

/// How many threads this process has: whoever clones must have one.
pub fn thread_count() -> Option<usize> {
    std::fs::read_dir("/proc/self/task").ok().map(Iterator::count)
}
