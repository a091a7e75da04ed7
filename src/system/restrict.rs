//! The files that are left to a process (landlock): it, and all that it starts, can open nothing that does
//! not lie in a listed path, whatever its user may do. What is open stays open.

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, LandlockStatus, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus,
};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// What may be done with a path and all that is beneath it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Files are read, directories listed.
    Read,
    /// The same, and files are written, truncated, made, removed, renamed; sockets are connected to.
    Write,
    /// Files are read and executed, directories listed.
    Execute,
}

impl Access {
    fn rights(self) -> BitFlags<AccessFs> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        // Who may make a device file could make that of a disk, which is every file on it.
        let devices = AccessFs::MakeChar | AccessFs::MakeBlock;
        match self {
            Self::Read => read,
            Self::Write => read | (AccessFs::from_write(NEWEST) & !devices),
            Self::Execute => read | AccessFs::Execute,
        }
    }
}

/// Every right of this version is handled, as far as the kernel knows it.
const NEWEST: ABI = ABI::V9;
/// Before it (Linux 6.2) a file that cannot be opened could be truncated. What came later is more than what
/// is promised: control of devices, and connecting to sockets.
const NEEDED: ABI = ABI::V3;

/// How much of it the kernel enforces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Restricted {
    Wholly,
    /// What is missing, in words.
    Less(String),
}

/// Finds a path for [`leave_only`], with the rights of the process; links are followed.
///
/// # Errors
/// ENOENT, EACCES and whatever else comes of looking a path up.
pub fn find(path: &Path) -> Result<OwnedFd, Errno> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

/// From here on only these paths and what is beneath them can be opened, by this thread and all that it
/// starts. Needs no_new_privs.
///
/// # Errors
/// EPERM without no_new_privs, E2BIG beyond 16 restrictions on top of each other. A kernel that does not
/// know it is none: how much is enforced is the answer.
pub fn leave_only(paths: &[(OwnedFd, Access)]) -> io::Result<Restricted> {
    let rules = paths.iter().map(|(place, access)| Ok::<_, RulesetError>(PathBeneath::new(place, access.rights())));
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.add_rules(rules))
        .and_then(|ruleset| ruleset.no_new_privs(false).restrict_self())
        .map_err(|error| io_error(&error))?;
    Ok(judge(status.landlock, &status.ruleset))
}

fn judge(kernel: LandlockStatus, ruleset: &RulesetStatus) -> Restricted {
    let less = |words: &str| Restricted::Less(words.to_owned());
    match kernel {
        LandlockStatus::NotImplemented => less("the kernel has no landlock"),
        LandlockStatus::NotEnabled => less("landlock is not enabled in the kernel (its parameter `lsm=`)"),
        LandlockStatus::Available { .. } if *ruleset == RulesetStatus::NotEnforced => {
            less("landlock enforces nothing of it")
        }
        LandlockStatus::Available { effective_abi, .. } if effective_abi < NEEDED => Restricted::Less(format!(
            "the kernel's landlock is version {effective_abi}, and before {NEEDED} (Linux 6.2) files can be truncated"
        )),
        LandlockStatus::Available { .. } => Restricted::Wholly,
    }
}

/// The kernel's error number, which is somewhere below.
fn io_error(error: &RulesetError) -> io::Error {
    let mut below = error.source();
    while let Some(cause) = below {
        if let Some(raw) = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(raw);
        }
        below = cause.source();
    }
    io::Error::other(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_forbids_truncating_too_is_the_whole_of_it() {
        let available = |effective_abi| LandlockStatus::Available { effective_abi, kernel_abi: None };
        for abi in [ABI::V3, ABI::V7, ABI::V9] {
            assert_eq!(judge(available(abi), &RulesetStatus::PartiallyEnforced), Restricted::Wholly, "{abi}");
        }
        for (kernel, ruleset, words) in [
            (available(ABI::V2), RulesetStatus::PartiallyEnforced, "version 2, and before 3 (Linux 6.2)"),
            (available(ABI::V7), RulesetStatus::NotEnforced, "enforces nothing"),
            (LandlockStatus::NotEnabled, RulesetStatus::NotEnforced, "not enabled"),
            (LandlockStatus::NotImplemented, RulesetStatus::NotEnforced, "has no landlock"),
        ] {
            let Restricted::Less(why) = judge(kernel, &ruleset) else { panic!("{words}") };
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn every_right_is_given_by_some_list_but_that_to_make_devices() {
        let given = [Access::Read, Access::Write, Access::Execute].map(Access::rights);
        let all = given.into_iter().fold(BitFlags::EMPTY, |all, rights| all | rights);
        assert_eq!(AccessFs::from_all(NEWEST) & !all, AccessFs::MakeChar | AccessFs::MakeBlock);
        assert!(!given[0].intersects(given[1] & !given[0]) && !given[1].contains(AccessFs::Execute));
    }
}
