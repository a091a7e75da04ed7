//! Resource limits: those of programs, and room for the core's own descriptors.

use std::io;

use nix::sys::resource::{Resource as NixResource, getrlimit};

use crate::model::program::{Limit, Resource};

fn raw(resource: Resource) -> libc::__rlimit_resource_t {
    match resource {
        Resource::As => libc::RLIMIT_AS,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::Fsize => libc::RLIMIT_FSIZE,
        Resource::Locks => libc::RLIMIT_LOCKS,
        Resource::Memlock => libc::RLIMIT_MEMLOCK,
        Resource::Msgqueue => libc::RLIMIT_MSGQUEUE,
        Resource::Nice => libc::RLIMIT_NICE,
        Resource::Nofile => libc::RLIMIT_NOFILE,
        Resource::Nproc => libc::RLIMIT_NPROC,
        Resource::Rss => libc::RLIMIT_RSS,
        Resource::Rtprio => libc::RLIMIT_RTPRIO,
        Resource::Rttime => libc::RLIMIT_RTTIME,
        Resource::Sigpending => libc::RLIMIT_SIGPENDING,
        Resource::Stack => libc::RLIMIT_STACK,
    }
}

/// Sets a limit of the calling process, and sees that it is set.
///
/// # Errors
/// EPERM when it is raised without the privilege, or is another afterwards; EINVAL when soft is above hard.
pub fn set(resource: Resource, limit: Limit) -> io::Result<()> {
    let wanted = libc::rlimit {
        rlim_cur: limit.soft.unwrap_or(libc::RLIM_INFINITY),
        rlim_max: limit.hard.unwrap_or(libc::RLIM_INFINITY),
    };
    // What a kernel leaves unwritten is not taken for what is wanted.
    let mut is = libc::rlimit { rlim_cur: !wanted.rlim_cur, rlim_max: !wanted.rlim_max };
    // SAFETY: both point to valid rlimits for the whole call.
    let result = unsafe { libc::prlimit(0, raw(resource), &raw const wanted, std::ptr::null_mut()) };
    nix::errno::Errno::result(result)?;
    // SAFETY: as above.
    let result = unsafe { libc::prlimit(0, raw(resource), std::ptr::null(), &raw mut is) };
    nix::errno::Errno::result(result)?;
    if (is.rlim_cur, is.rlim_max) != (wanted.rlim_cur, wanted.rlim_max) {
        return Err(nix::errno::Errno::EPERM.into());
    }
    Ok(())
}

/// Raises the number of descriptors this process may have to its hard limit; gives what it was, for
/// the programs it starts.
///
/// # Errors
/// None that a correct program meets.
pub fn raise_descriptors() -> io::Result<Limit> {
    let (soft, hard) = getrlimit(NixResource::RLIMIT_NOFILE)?;
    let known = |value: u64| (value != libc::RLIM_INFINITY).then_some(value);
    let before = Limit { soft: known(soft), hard: known(hard) };
    if soft < hard {
        set(Resource::Nofile, Limit { soft: before.hard, hard: before.hard })?;
    }
    Ok(before)
}

/// The number of descriptors to ask for when `wanted` would be welcome: no more than the hard limit allows.
///
/// # Errors
/// None that a correct program meets.
pub fn descriptors_at_most(wanted: u64) -> io::Result<u64> {
    let (_, hard) = getrlimit(NixResource::RLIMIT_NOFILE)?;
    Ok(wanted.min(hard))
}

/// The bytes that a file, memory with a descriptor too, may have now; `u64::MAX` where there is no limit.
///
/// # Errors
/// None that a correct program meets.
pub fn file_bytes() -> io::Result<u64> {
    Ok(getrlimit(NixResource::RLIMIT_FSIZE)?.0)
}

/// The bytes that a file may grow to when `wanted` would do: no more than the hard limit allows.
///
/// # Errors
/// None that a correct program meets.
pub fn file_bytes_at_most(wanted: u64) -> io::Result<u64> {
    let (_, hard) = getrlimit(NixResource::RLIMIT_FSIZE)?;
    Ok(wanted.min(hard))
}
