//! Capabilities of the calling process: the bounding set, the ambient set, and exactly the sets that are
//! wanted, each read back.

use std::collections::HashSet;
use std::io;

use caps::{CapSet, Capability};
use nix::errno::Errno;

use crate::model::capability::CapabilitySet;

/// Whether the kernel knows a capability with this number, and it is in the bounding set.
fn in_bounding_set(number: u32) -> Result<bool, Errno> {
    // SAFETY: prctl(2) with PR_CAPBSET_READ takes an integer.
    let result = unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number)) };
    Errno::result(result).map(|set| set == 1)
}

/// Takes everything but these from the bounding set, for good.
///
/// All that the *kernel* knows, not only what this program was built to know: the numbers are counted up
/// until it knows no more.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn limit_bounding(keep: CapabilitySet) -> io::Result<()> {
    for number in 0..64 {
        match in_bounding_set(number) {
            Err(Errno::EINVAL) => return Ok(()),
            Err(errno) => return Err(errno.into()),
            Ok(true) if !keep.has(number) => {
                // SAFETY: prctl(2) with PR_CAPBSET_DROP takes an integer.
                let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number)) };
                Errno::result(result)?;
                if in_bounding_set(number)? {
                    return Err(Errno::EPERM.into());
                }
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Whether this process may raise hard limits.
pub fn may_raise_limits() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE).unwrap_or(false)
}

/// Whether the permitted capabilities outlive the change of user.
///
/// # Errors
/// EPERM when it is not so afterwards.
pub fn keep_over_change_of_user(keep: bool) -> io::Result<()> {
    nix::sys::prctl::set_keepcaps(keep)?;
    if nix::sys::prctl::get_keepcaps()? == keep { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// Sets permitted, effective and inheritable to exactly these, and the ambient set to `ambient`.
///
/// # Errors
/// EPERM for what is not permitted, or when the sets are others afterwards.
pub fn set_exactly(wanted: CapabilitySet, ambient: CapabilitySet) -> io::Result<()> {
    let set: HashSet<Capability> = wanted.known().collect();
    let raise: HashSet<Capability> = ambient.known().collect();
    let refused = |_| io::Error::from(Errno::EPERM);
    caps::clear(None, CapSet::Ambient).map_err(refused)?;
    caps::set(None, CapSet::Effective, &set).map_err(refused)?;
    caps::set(None, CapSet::Inheritable, &set).map_err(refused)?;
    caps::set(None, CapSet::Permitted, &set).map_err(refused)?;
    if !raise.is_empty() {
        caps::set(None, CapSet::Ambient, &raise).map_err(refused)?;
    }
    let is = |which| caps::read(None, which).map_err(refused);
    let exact = is(CapSet::Effective)? == set
        && is(CapSet::Permitted)? == set
        && is(CapSet::Inheritable)? == set
        && is(CapSet::Ambient)? == raise;
    if exact { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// A uid of 0 means nothing to execve(2) any more, and no program of this process can change that
/// (SECBIT_NOROOT and its lock, capabilities(7)). Needs CAP_SETPCAP.
///
/// # Errors
/// EPERM without it, or when it is not so afterwards.
pub fn make_root_ordinary() -> io::Result<()> {
    const NOROOT: libc::c_ulong = 1;
    const NOROOT_LOCKED: libc::c_ulong = 1 << 1;
    const NO_SETUID_FIXUP_LOCKED: libc::c_ulong = 1 << 3;
    const KEEP_CAPS: libc::c_ulong = 1 << 4;
    let wanted = (secure_bits()? & KEEP_CAPS) | NOROOT | NOROOT_LOCKED | NO_SETUID_FIXUP_LOCKED;
    // SAFETY: prctl(2) with PR_SET_SECUREBITS takes an integer.
    let result = unsafe { libc::prctl(libc::PR_SET_SECUREBITS, wanted) };
    Errno::result(result)?;
    if secure_bits()? == wanted { Ok(()) } else { Err(Errno::EPERM.into()) }
}

fn secure_bits() -> Result<libc::c_ulong, Errno> {
    // SAFETY: prctl(2) with PR_GET_SECUREBITS takes nothing.
    let bits = unsafe { libc::prctl(libc::PR_GET_SECUREBITS) };
    Ok(libc::c_ulong::try_from(Errno::result(bits)?).unwrap_or(0))
}
