//! Becoming somebody else for good: groups, then group, then user, each verified afterwards. No result
//! is trusted that was not read back.

use std::io;

use nix::errno::Errno;
use nix::unistd::{Gid as NixGid, Uid as NixUid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};

use crate::model::id::{Gid, Uid};

/// Sets exactly these supplementary groups, also when there are none.
///
/// # Errors
/// EPERM without the privilege, or when the kernel's list is another afterwards.
pub fn set_groups(groups: &[Gid]) -> io::Result<()> {
    let wanted: Vec<NixGid> = groups.iter().map(|gid| NixGid::from_raw(gid.0)).collect();
    setgroups(&wanted)?;
    let sorted = |list: &[NixGid]| {
        let mut numbers: Vec<u32> = list.iter().map(|gid| gid.as_raw()).collect();
        numbers.sort_unstable();
        numbers
    };
    if sorted(&getgroups()?) == sorted(&wanted) { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// The supplementary groups that this process has.
///
/// # Errors
/// None that a correct program meets.
pub fn groups() -> io::Result<Vec<Gid>> {
    Ok(getgroups()?.into_iter().map(|gid| Gid(gid.as_raw())).collect())
}

/// Sets real, effective and saved group.
///
/// # Errors
/// EPERM without the privilege, or when they are others afterwards.
pub fn set_group(gid: Gid) -> io::Result<()> {
    let gid = NixGid::from_raw(gid.0);
    setresgid(gid, gid, gid)?;
    let is = getresgid()?;
    if (is.real, is.effective, is.saved) == (gid, gid, gid) { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// Sets real, effective and saved user. After this, root is out of reach: that it is, is tried.
///
/// # Errors
/// EPERM without the privilege, when they are others afterwards, or when root could be regained. After
/// an error the process must not execute anything.
pub fn set_user(uid: Uid) -> io::Result<()> {
    let wanted = NixUid::from_raw(uid.0);
    setresuid(wanted, wanted, wanted)?;
    let is = getresuid()?;
    if (is.real, is.effective, is.saved) != (wanted, wanted, wanted) {
        return Err(Errno::EPERM.into());
    }
    if uid.is_root() {
        return Ok(());
    }
    let regained =
        nix::unistd::setuid(NixUid::from_raw(0)).is_ok() || nix::unistd::seteuid(NixUid::from_raw(0)).is_ok();
    if regained { Err(Errno::EPERM.into()) } else { Ok(()) }
}

/// No setuid program gives new privileges from here on.
///
/// # Errors
/// None that a correct program meets.
pub fn give_up_new_privileges() -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    if nix::sys::prctl::get_no_new_privs()? { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// Sets the umask, and reads it back (which only overwriting it can do). The opposite goes first: what was
/// there before could be what is wanted.
///
/// # Errors
/// EPERM when it is another afterwards.
pub fn set_umask(mask: u32) -> io::Result<()> {
    // SAFETY: umask(2) takes an integer. nix panics where a sandbox refuses the call.
    let umask = |mask: u32| unsafe { libc::umask(mask) };
    let (wanted, opposite) = (mask & 0o777, !mask & 0o777);
    umask(opposite);
    let is = [umask(wanted), umask(wanted)];
    if is == [opposite, wanted] { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// A session of its own, without a controlling terminal.
///
/// # Errors
/// EPERM when the process leads a group already.
pub fn new_session() -> io::Result<()> {
    let session = nix::unistd::setsid()?;
    if session == nix::unistd::getpid() { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// Asks the kernel for a signal when the parent dies. The change of user clears it, so it comes after.
///
/// # Errors
/// EINVAL for a number that is no signal; EPERM when it is another afterwards.
pub fn set_death_signal(number: i32) -> io::Result<()> {
    // SAFETY: prctl(2) with PR_SET_PDEATHSIG takes an integer. nix has no real-time signals here.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::c_ulong::from(number.cast_unsigned())) };
    Errno::result(result)?;
    let mut is: libc::c_int = -1;
    // SAFETY: prctl(2) with PR_GET_PDEATHSIG writes one int, which `is` is.
    let result = unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut is) };
    Errno::result(result)?;
    if is == number { Ok(()) } else { Err(Errno::EPERM.into()) }
}

const KEYCTL_GET_KEYRING_ID: libc::c_int = 0;
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
const SESSION_KEYRING: libc::c_int = -3;

/// Whether keyctl(2) is denied as a whole: even the number of the own session keyring, which no kernel that has
/// keyrings refuses (ENOKEY is its word for none). Filters of containers do so, and what is started
/// under such a filter cannot lift it.
pub fn keys_are_denied() -> bool {
    // SAFETY: three integers; 0 makes nothing new.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_GET_KEYRING_ID, SESSION_KEYRING, 0) };
    matches!(Errno::result(result), Err(Errno::EPERM | Errno::ENOSYS))
}

/// A session keyring of its own, empty: the supervisor's, often that of an administrator's login, stays
/// behind.
///
/// # Errors
/// EDQUOT at the user's limit of keys; EPERM when it is not the new one afterwards; ENOSYS where a filter
/// denies that there are keyrings. A kernel that has none leaves nothing behind.
pub fn join_new_keyring() -> io::Result<()> {
    // SAFETY: a null name asks for an anonymous keyring.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    let joined = match Errno::result(result) {
        Ok(serial) => serial,
        Err(Errno::ENOSYS) if !may_have_keyrings() => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    // SAFETY: three integers; 0 makes nothing new.
    let is = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_GET_KEYRING_ID, SESSION_KEYRING, 0) };
    // Serial numbers are positive.
    if joined > 0 && Errno::result(is)? == joined { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// Whether the kernel has keyrings, or could have: /proc says so (keyrings(7)), and one that shows only
/// processes (proc(5), `subset=pid`) says nothing.
fn may_have_keyrings() -> bool {
    let is_missing = |path| std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    !is_missing("/proc/key-users") || is_missing("/proc/version")
}

/// No memory becomes executable that was writable, in this program and in all it executes (Linux 6.3).
///
/// # Errors
/// EINVAL on a kernel that cannot; EPERM when it is not so afterwards.
pub fn deny_writable_executable_memory() -> io::Result<()> {
    const PR_SET_MDWE: libc::c_int = 65;
    const PR_GET_MDWE: libc::c_int = 66;
    const REFUSE_EXEC_GAIN: libc::c_ulong = 1;
    let zero: libc::c_ulong = 0;
    // SAFETY: prctl(2) with PR_SET_MDWE takes integers.
    let result = unsafe { libc::prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, zero, zero, zero) };
    Errno::result(result)?;
    // SAFETY: prctl(2) with PR_GET_MDWE takes zeros.
    let is = unsafe { libc::prctl(PR_GET_MDWE, zero, zero, zero, zero) };
    if libc::c_ulong::try_from(Errno::result(is)?) == Ok(REFUSE_EXEC_GAIN) { Ok(()) } else { Err(Errno::EPERM.into()) }
}
