//! The bounding set: the capabilities that a process and what it executes can have at most.

use std::io;

use nix::errno::Errno;

/// Whether the kernel knows a capability with this number, and it is in the bounding set.
fn in_bounding_set(number: u32) -> Result<bool, Errno> {
    // SAFETY: prctl(2) with PR_CAPBSET_READ takes an integer.
    let result = unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number)) };
    Errno::result(result).map(|set| set == 1)
}

/// Empties the bounding set, for good.
///
/// All that the *kernel* knows, not only what this program was built to know: the numbers are counted up
/// until it knows no more.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn drop_all_bounding() -> io::Result<()> {
    for number in 0.. {
        match in_bounding_set(number) {
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno.into()),
            Ok(false) => {}
            Ok(true) => {
                // SAFETY: prctl(2) with PR_CAPBSET_DROP takes an integer.
                let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number)) };
                Errno::result(result)?;
                if in_bounding_set(number)? {
                    return Err(Errno::EPERM.into());
                }
            }
        }
    }
    Ok(())
}
