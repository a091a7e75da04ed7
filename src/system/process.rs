//! Processes by pidfd: how they ended, signals to one or to its group. A pidfd names one process for
//! ever; nothing here signals a bare number that could have come back as another process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::model::exit::ExitStatus;
use crate::model::id::Pid;
use crate::model::signal::Signal;

/// pidfd_send_signal(2): to the whole process group (Linux 6.9).
const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// Sends a signal to one process. A process that is gone is no error.
///
/// # Errors
/// EPERM and the like.
pub fn signal(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    match send(pidfd, signal.number(), 0) {
        Err(Errno::ESRCH) => Ok(()),
        other => Ok(other?),
    }
}

/// What a signal to a group met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupSignal {
    Sent,
    /// Nobody is left in the group.
    Empty,
    /// This kernel cannot signal a group by pidfd (before 6.9).
    Unsupported,
}

/// Sends a signal to every process of the group that the process led, also after its own death.
///
/// # Errors
/// EPERM and the like.
pub fn signal_group(leader: BorrowedFd<'_>, signal: Option<Signal>) -> io::Result<GroupSignal> {
    match send(leader, signal.map_or(0, Signal::number), PIDFD_SIGNAL_PROCESS_GROUP) {
        Ok(()) => Ok(GroupSignal::Sent),
        Err(Errno::ESRCH) => Ok(GroupSignal::Empty),
        Err(Errno::EINVAL) => Ok(GroupSignal::Unsupported),
        Err(errno) => Err(errno.into()),
    }
}

/// The same by number, for kernels without the flag. Safe only while the leader has not been reaped:
/// its zombie keeps the number from being given away.
///
/// # Errors
/// EPERM and the like; an empty group is no error.
pub fn signal_group_of_unreaped(leader: Pid, signal: Signal) -> io::Result<()> {
    if leader.0 <= 1 {
        return Err(Errno::EINVAL.into()); // 0 and -1 would be "my group" and "everyone"
    }
    // SAFETY: kill(2) takes two integers.
    let result = unsafe { libc::kill(-leader.0, signal.number()) };
    match Errno::result(result) {
        Ok(_) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn send(pidfd: BorrowedFd<'_>, number: i32, flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: the descriptor is open; a null siginfo is allowed and means "as kill(2)".
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            flags,
        )
    };
    Errno::result(result).map(drop)
}

/// A pidfd for a process. For a child that has not been reaped it is certainly that child's; whoever
/// opens another's has to see afterwards that it is the one that was meant.
///
/// # Errors
/// ESRCH when there is none.
pub fn open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: two integers; a new descriptor or an error comes back.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) };
    let fd = Errno::result(result)?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::from(Errno::EOVERFLOW))?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether this process is our child.
pub fn is_child(pid: Pid) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    pid.0 > 0 && wait_raw(libc::P_PID, pid.0.cast_unsigned(), flags).is_ok()
}

/// Reaps a child that has ended; `None` if it has not.
///
/// # Errors
/// ECHILD when it is not our child, or was reaped.
pub fn reap(pidfd: impl AsFd) -> io::Result<Option<ExitStatus>> {
    let fd = pidfd.as_fd().as_raw_fd().cast_unsigned();
    Ok(wait_raw(libc::P_PIDFD, fd, libc::WEXITED | libc::WNOHANG)?.map(|(_, status)| status))
}

/// Whether a child has ended and waits to be reaped.
pub fn has_ended(pidfd: impl AsFd) -> bool {
    let fd = pidfd.as_fd().as_raw_fd().cast_unsigned();
    matches!(wait_raw(libc::P_PIDFD, fd, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT), Ok(Some(_)))
}

/// Whether this kernel signals a process group by pidfd (Linux 6.9).
pub fn can_signal_groups() -> bool {
    open(own_pid()).is_ok_and(|own| !matches!(signal_group(own.as_fd(), None), Ok(GroupSignal::Unsupported)))
}

/// Reaps a child by its number.
///
/// # Errors
/// ECHILD when there is no such child.
pub fn reap_number(pid: Pid) -> io::Result<Option<ExitStatus>> {
    Ok(wait_raw(libc::P_PID, pid.0.cast_unsigned(), libc::WEXITED | libc::WNOHANG)?.map(|(_, status)| status))
}

/// Some child that has ended and was not reaped yet; it stays so.
pub fn some_zombie() -> Option<Pid> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    wait_raw(libc::P_ALL, 0, flags).ok().flatten().map(|(pid, _)| pid)
}

/// waitid(2). Not through nix, which fails on a death by a real-time signal when the child is reaped already.
fn wait_raw(kind: libc::idtype_t, id: libc::id_t, flags: i32) -> Result<Option<(Pid, ExitStatus)>, Errno> {
    // SAFETY: an all-zero siginfo is valid, and what waitid leaves when nobody has ended.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `info` is valid for writing for the whole call.
        let result = unsafe { libc::waitid(kind, id, &raw mut info, flags) };
        match Errno::result(result) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    // SAFETY: waitid filled the child's part of the union, or left zeros.
    let pid = unsafe { info.si_pid() };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let status = match info.si_code {
        libc::CLD_EXITED => ExitStatus::Code(status.to_le_bytes()[0]),
        code => ExitStatus::Signal {
            // The kernel reports signals 1 to 64 only; 32 and 33 are glibc's own and never end a process.
            signal: Signal::from_number(status).unwrap_or(Signal::KILL),
            core_dumped: code == libc::CLD_DUMPED,
        },
    };
    Ok(Some((Pid(pid), status)))
}

/// Orphans below us become our children, so that nothing escapes unreaped.
///
/// # Errors
/// EINVAL before Linux 3.4.
pub fn become_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// No core dumps, no ptrace and a root-owned /proc entry for this process.
///
/// # Errors
/// EPERM when it is not so afterwards.
pub fn forbid_dumping() -> io::Result<()> {
    nix::sys::prctl::set_dumpable(false)?;
    if nix::sys::prctl::get_dumpable()? { Err(Errno::EPERM.into()) } else { Ok(()) }
}

pub fn own_pid() -> Pid {
    Pid(nix::unistd::getpid().as_raw())
}
