//! What a process gives up for good: nearly all system calls (seccomp), and all it could reach by name
//! (landlock): files, ports, abstract sockets, other processes.
//!
//! Which calls stay is the caller's business; here a list becomes a filter. Three answers are given:
//!
//! - a call that is on no list fails with EPERM. The C library does unexpected things at unexpected times
//!   (it looks for processors, it asks for a name), and takes a refusal; killing for that would lose a
//!   worker with every new version of it.
//! - a call that is never right ends the process at once (SIGSYS): who tries to execute, to trace or to
//!   become somebody else is not our program any more.
//! - a call whose arguments a filter cannot see is as if the kernel did not have it (ENOSYS): then the C
//!   library makes the older call, which a filter can judge.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, make_bitflags, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// One system call that stays, and why.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: libc::c_long,
    pub when: When,
    #[cfg_attr(not(test), expect(dead_code, reason = "for people, and for the test that each call has one"))]
    pub reason: &'static str,
}

/// With which arguments, counted from 0. Pointers cannot be followed.
#[derive(Clone, Copy, Debug)]
pub enum When {
    Always,
    /// The argument has one of these values.
    OneOf(u8, &'static [u64]),
    /// Of the argument's bits, those of the mask have this value.
    Bits(u8, u64, u64),
    /// The argument is our own process, or 0, which means ourselves or our own process group.
    Ourselves(u8),
    All(&'static [Self]),
}

impl Call {
    pub const fn always(number: libc::c_long, reason: &'static str) -> Self {
        Self { number, when: When::Always, reason }
    }

    pub const fn when(number: libc::c_long, when: When, reason: &'static str) -> Self {
        Self { number, when, reason }
    }
}

/// Which calls the process keeps.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    pub allowed: &'static [&'static [Call]],
    pub fatal: &'static [libc::c_long],
    pub unknown: &'static [libc::c_long],
}

/// From here on only these calls work, in this thread and all that it starts.
///
/// # Errors
/// When the kernel has no filters, or there is no privilege for them (without no_new_privs).
pub fn keep_calls(calls: &Calls) -> io::Result<()> {
    // The strictest answer of all filters counts; the one that forbids installing filters comes last.
    let always = |numbers: &[libc::c_long]| numbers.iter().map(|number| (*number, Vec::new())).collect();
    let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let mut allowed: BTreeMap<i64, Vec<SeccompRule>> = always(calls.unknown);
    for call in calls.allowed.iter().copied().flatten() {
        allowed.insert(call.number, rules(call.when)?);
    }
    let programs = [
        program(always(calls.fatal), SeccompAction::Allow, SeccompAction::KillProcess)?,
        program(always(calls.unknown), SeccompAction::Allow, unknown)?,
        program(allowed, refused, SeccompAction::Allow)?,
    ];
    for program in &programs {
        seccompiler::apply_filter(program).map_err(|error| match error {
            seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
            other => io::Error::other(other),
        })?;
    }
    Ok(())
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    then: SeccompAction,
) -> io::Result<BpfProgram> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, otherwise, then, architecture).map_err(io::Error::other)?;
    BpfProgram::try_from(filter).map_err(io::Error::other)
}

/// Each of these rules is enough; no rule at all is always.
fn rules(when: When) -> io::Result<Vec<SeccompRule>> {
    let ways = ways(when)?;
    let rules = ways.into_iter().filter(|conditions| !conditions.is_empty());
    rules.map(|conditions| SeccompRule::new(conditions).map_err(io::Error::other)).collect()
}

/// Each way in which the condition can hold, as what must be true all at once.
fn ways(when: When) -> io::Result<Vec<Vec<SeccompCondition>>> {
    let one = |argument, operator, value| {
        // Everything that is compared is an int to the kernel, or has its meaning in its lower half.
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(io::Error::other)
    };
    let equal = |argument, values: &[u64]| -> io::Result<Vec<Vec<SeccompCondition>>> {
        values.iter().map(|value| Ok(vec![one(argument, SeccompCmpOp::Eq, *value)?])).collect()
    };
    match when {
        When::Always => Ok(vec![Vec::new()]),
        When::OneOf(argument, values) => equal(argument, values),
        When::Bits(argument, mask, value) => Ok(vec![vec![one(argument, SeccompCmpOp::MaskedEq(mask), value)?]]),
        When::Ourselves(argument) => equal(argument, &[0, u64::from(std::process::id())]),
        When::All(conditions) => {
            let mut all = vec![Vec::new()];
            for condition in conditions {
                let more = ways(*condition)?;
                all = all
                    .iter()
                    .flat_map(|so_far: &Vec<_>| more.iter().map(|more| [so_far.clone(), more.clone()].concat()))
                    .collect();
            }
            Ok(all)
        }
    }
}

/// How much of it the kernel enforces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enforced {
    All,
    /// What a kernel of its age knows.
    Some,
    Nothing,
}

/// What can still be reached by name.
#[derive(Debug)]
pub struct Reach {
    /// Files and directories that can be read, with all that is below. What is not there now stays out of
    /// reach.
    pub read: &'static [&'static str],
    /// Open directories, below which files can be made, changed, renamed and removed.
    pub change: Vec<OwnedFd>,
    /// Connections to the sockets of the file system.
    pub sockets: bool,
    /// TCP connections to elsewhere.
    pub servers: bool,
}

impl Reach {
    pub const NOTHING: Self = Self { read: &[], change: Vec::new(), sockets: false, servers: false };
}

/// From here on only this can be opened or connected to, and nothing bound or signalled, by name or
/// number, by this thread and all that it starts. What is open stays open, and what comes as a descriptor
/// can be used.
///
/// # Errors
/// None for a kernel that does not know it: how much is enforced is the answer.
pub fn reach_only(reach: &Reach) -> io::Result<Enforced> {
    let newest = ABI::V9;
    let mut files = AccessFs::from_all(newest);
    let mut ports = AccessNet::from_all(newest);
    if reach.sockets {
        // A socket that its daemon makes anew is another file than the one that a rule would name.
        files.remove(AccessFs::ResolveUnix);
    }
    if reach.servers {
        ports.remove(AccessNet::ConnectTcp);
    }
    let read: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let change =
        read | make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer});
    let status = Ruleset::default()
        .handle_access(files)
        .and_then(|ruleset| ruleset.handle_access(ports))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(newest)))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(reach.read, read)))
        .and_then(|ruleset| {
            let mut rules = reach.change.iter().map(|directory| PathBeneath::new(directory, change));
            rules.try_fold(ruleset, RulesetCreatedAttr::add_rule)
        })
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(io::Error::other)?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Enforced::All,
        RulesetStatus::PartiallyEnforced => Enforced::Some,
        RulesetStatus::NotEnforced => Enforced::Nothing,
    })
}

/// Makes any system call, for a test that looks at what is refused.
///
/// # Errors
/// What the kernel says.
#[cfg(test)]
pub fn attempt(number: libc::c_long, arguments: [usize; 5]) -> Result<libc::c_long, nix::errno::Errno> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: only for tests, whose arguments are integers, null, or point to what outlives the call.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    nix::errno::Errno::result(result)
}
