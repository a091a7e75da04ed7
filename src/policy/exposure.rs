//! What is missing of the boundary around a process, and how exposed it is: facts in, checks and a score
//! out, after `systemd-analyze security`.
//!
//! Each [`Check`] has a weight, and a badness between 0 and its range. The exposure is the sum of weight ×
//! badness / range, relative to the sum of weights, in tenths and rounded up: 0 to 100, shown as 0.0 to
//! 10.0. The formula, the words ([`Level`]), and the weights of what systemd judges, too, are systemd's
//! (src/analyze/analyze-security.c); the weights of files, logs, control groups and shared users are ours.
//! A check that cannot be judged from the facts at hand is left out and does not count.
//!
//! A mismatch (the kernel says something else than was granted at the start) is added only where there is
//! one, with the highest weight, and no process that has one is less than UNSAFE: a boundary that does not
//! hold is worse than one that was never asked for. A program that was configured as root and has become
//! somebody else is no mismatch: it has less than it was given.
#![forbid(unsafe_code)]

use crate::model::boundary::{Check, FileFact, FileRole, Grant, Level, Live, Settings};
use crate::model::capability::CapabilitySet;
use crate::model::program::{Keyring, KillMode, Resource};

mod capabilities;
mod mismatch;

/// All that is known of a process.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub settings: &'a Settings,
    /// `None`: it has not been started.
    pub grant: Option<&'a Grant>,
    /// `None`: it does not run.
    pub live: Option<&'a Live>,
    /// Whether another program runs as the same user.
    pub shares_user: bool,
}

/// The checks, the worst first, and what they come to.
#[derive(Clone, PartialEq, Debug)]
pub struct Judgement {
    pub checks: Vec<Check>,
    /// In tenths, 0 to 100.
    pub exposure: u32,
    pub level: Level,
    pub findings: u32,
}

/// Beyond that of every other check.
const WEIGHT_MISMATCH: u32 = 10_000;
/// The least exposure with a mismatch, in tenths.
const MISMATCH_MIN: u32 = 90;
/// The user that owns nothing, by the kernel's overflow id; on every machine some daemon runs as it.
const NOBODY: u32 = 65_534;

impl Facts<'_> {
    /// Whether root is any of its users.
    fn is_root(&self) -> bool {
        match (self.live, self.grant) {
            (Some(live), _) => live.uid.all().contains(&0),
            (None, Some(grant)) => grant.uid.is_root(),
            (None, None) => self.settings.root,
        }
    }

    /// Who can change its files. What is root has root for its own user, and any other is a stranger.
    fn files(&self) -> Vec<FileFact> {
        let Some(grant) = self.grant else { return Vec::new() };
        let mut files = grant.files.clone();
        if self.is_root() {
            for file in &mut files {
                file.by_others |= std::mem::take(&mut file.by_user) && !grant.uid.is_root();
            }
        }
        files
    }

    fn uid(&self) -> Option<u32> {
        self.live.map(|live| live.uid.effective).or_else(|| self.grant.map(|grant| grant.uid.0))
    }

    fn no_new_privileges(&self) -> bool {
        match (self.live, self.grant) {
            (Some(live), _) => live.no_new_privileges,
            (None, Some(grant)) => grant.no_new_privileges,
            (None, None) => self.settings.no_new_privileges,
        }
    }

    /// What it has, and what it could ever have.
    fn capabilities(&self) -> (CapabilitySet, CapabilitySet) {
        // What it has in a namespace of its own is none of ours: then what it was given counts.
        if let Some(live) = self.live.filter(|live| !live.other_user_namespace) {
            let sets = live.capabilities;
            return (sets.permitted.union(sets.effective).union(sets.ambient), sets.bounding);
        }
        let settings = self.settings;
        let unlimited = if settings.root && settings.capabilities.is_none() && settings.capability_bounding.is_none() {
            CapabilitySet::from_bits(u64::MAX)
        } else {
            CapabilitySet::EMPTY
        };
        let kept = settings.capabilities.unwrap_or(unlimited);
        let bounding = settings.capability_bounding.unwrap_or(kept);
        // Root gets whatever its bounding set lets it.
        (if settings.root { bounding } else { kept }, bounding)
    }

    /// A soft limit; `None` is not known, `Some(None)` unlimited.
    fn limit(&self, resource: Resource) -> Option<Option<u64>> {
        let known = self.live.map_or(&self.settings.limits, |live| &live.limits);
        known.get(&resource).map(|limit| limit.soft)
    }
}

/// Judges a process.
pub fn judge(facts: &Facts<'_>) -> Judgement {
    let mut checks = mismatch::checks(facts);
    checks.extend(user(facts));
    checks.push(check("no_new_privileges", 1000, facts.no_new_privileges(), "no_new_privileges").told(
        "What it executes gains nothing from setuid files",
        "What it executes can gain privileges from setuid files and file capabilities",
    ));
    checks.extend(capabilities::checks(facts));
    checks.extend(confinement(facts));
    checks.extend(surroundings(facts));
    checks.extend(limits(facts));
    let files = facts.files();
    let files = FileRole::ALL.iter().filter_map(|role| file_check(*role, &files));
    // That only root can change its files protects nothing of one that is root.
    checks.extend(files.filter(|check| !facts.is_root() || check.is_finding()));
    settle(checks)
}

/// The score, and each check's share of it.
fn settle(mut checks: Vec<Check>) -> Judgement {
    let total: u64 = checks.iter().map(|check| u64::from(check.weight)).sum();
    // systemd rounds each check up; here the sum only, so that the shares add up to it.
    let share = |check: &Check| f64::from(check.weight) * f64::from(check.badness) / f64::from(check.range);
    let bad: f64 = checks.iter().map(share).sum();
    let whole = (total as f64).max(1.0);
    for check in &mut checks {
        check.exposure = (share(check) / whole * 1000.0).round() / 100.0;
    }
    // At most 100, for no badness is beyond its range.
    let mut exposure = (bad * 100.0 / whole - 1e-9).ceil().clamp(0.0, 100.0) as u32;
    if checks.iter().any(|check| check.mismatch) {
        exposure = exposure.max(MISMATCH_MIN);
    }
    let findings = checks.iter().filter(|check| check.is_finding()).count();
    checks.sort_by(|a, b| b.mismatch.cmp(&a.mismatch).then(b.exposure.total_cmp(&a.exposure)));
    Judgement { checks, exposure, level: Level::of(exposure), findings: u32::try_from(findings).unwrap_or(u32::MAX) }
}

/// A check that is about nothing but yes or no.
fn check(name: &str, weight: u32, good: bool, key: &str) -> Check {
    graded(name, weight, u32::from(!good), 1, Some(key))
}

/// A check with steps between good (0) and bad (`range`).
fn graded(name: &str, weight: u32, badness: u32, range: u32, key: Option<&str>) -> Check {
    Check {
        name: name.to_owned(),
        weight,
        badness: badness.min(range),
        range,
        exposure: 0.0,
        mismatch: false,
        description: String::new(),
        key: key.map(str::to_owned),
    }
}

trait Told {
    /// With its one line of description.
    fn told(self, good: &str, bad: &str) -> Self;
}

impl Told for Check {
    fn told(mut self, good: &str, bad: &str) -> Self {
        if self.is_finding() { bad } else { good }.clone_into(&mut self.description);
        self
    }
}

fn user(facts: &Facts<'_>) -> Vec<Check> {
    let root = facts.is_root();
    let nobody = facts.uid().map_or(facts.settings.nobody, |uid| uid == NOBODY);
    let badness = if root { 10 } else { 5 * u32::from(nobody) };
    let bad = if root {
        "Runs as root: nothing of the system is out of its reach"
    } else {
        "Runs as nobody, as whom other programs of the machine may run, too"
    };
    let mut checks = vec![graded("user", 2000, badness, 10, Some("user")).told("Runs as a user of its own", bad)];
    if !root {
        checks.push(check("shared_user", 500, !facts.shares_user, "user").told(
            "No other program here runs as its user",
            "Another program here runs as the same user: each can signal, trace and change the other",
        ));
    }
    let in_root_group = match (facts.live, facts.grant) {
        (Some(live), _) => Some(live.gid.all().contains(&0) || live.groups.iter().any(|group| group.0 == 0)),
        (None, Some(grant)) => Some(grant.gid.0 == 0 || grant.groups.iter().flatten().any(|group| group.0 == 0)),
        (None, None) => None,
    };
    checks.extend(in_root_group.filter(|_| !root).map(|is| {
        check("root_group", 500, !is, "groups")
            .told("Is not in the group of root", "Is in the group of root, to which system files belong")
    }));
    checks
}

/// What keeps it from using what its user could.
fn confinement(facts: &Facts<'_>) -> Vec<Check> {
    let settings = facts.settings;
    let mut checks = Vec::new();
    if let Some(live) = facts.live {
        let filtered = live.seccomp != crate::model::boundary::Seccomp::Disabled;
        checks.push(
            graded("system_calls", 500, u32::from(!filtered), 1, None)
                .told("Its system calls are filtered", "Its system calls are not filtered; it could do that itself"),
        );
    }
    checks.push(
        check("restrict_paths", 1000, settings.restrict_paths, "restrict_paths")
            .told("Reaches the configured paths only", "Reaches every file that its user may"),
    );
    checks.push(
        check("writable_executable_memory", 100, settings.mdwe, "mdwe")
            .told("Can execute no memory that was writable", "Can make code of what it has written to memory"),
    );
    checks
}

/// What it shares with whoever started it, and what it can leave behind.
fn surroundings(facts: &Facts<'_>) -> Vec<Check> {
    let settings = facts.settings;
    let mut checks = vec![
        check("keyring", 1000, settings.keyring == Keyring::Private, "keyring")
            .told("Has a session keyring of its own", "Holds the session keyring of whoever started the supervisor"),
        check("environment", 500, !settings.inherits_environment, "inherit_env").told(
            "Gets nothing of the supervisor's environment, or what is named",
            "Gets the supervisor's whole environment, secrets included",
        ),
        kill_mode(facts),
    ];
    if let Some(live) = facts.live {
        checks.push(graded("control_group", 300, u32::from(live.own_control_group != Some(true)), 1, None).told(
            "Is in a control group of its own",
            "Is in no control group of its own: what it starts can get away",
        ));
    }
    checks
}

/// `kill_mode = "tree"` holds by the control group alone.
fn kill_mode(facts: &Facts<'_>) -> Check {
    let tree = facts.settings.kill_mode == KillMode::Tree;
    let escapes = tree && facts.live.is_some_and(|live| live.own_control_group != Some(true));
    let bad = if escapes {
        "What it started can outlive it, in a session of its own: it is in no control group of its own"
    } else {
        "What it started can outlive it"
    };
    let key = Some("kill_mode").filter(|_| !escapes);
    graded("kill_mode", 100, u32::from(!tree || escapes), 1, key).told("Nothing that it started outlives it", bad)
}

fn limits(facts: &Facts<'_>) -> Vec<Check> {
    // systemd's steps: world writable, world readable, group writable, group readable.
    let umask = match facts.live {
        Some(live) => live.umask,
        None => Some(facts.settings.umask),
    };
    let mut checks = Vec::new();
    if let Some(umask) = umask {
        let open = |bit: u32| umask & bit == 0;
        let (badness, bad) = if open(0o002) {
            (10, "Its new files can be written by everybody by default")
        } else if open(0o004) {
            (5, "Its new files can be read by everybody by default")
        } else if open(0o020) {
            (2, "Its new files can be written by its group by default")
        } else {
            (u32::from(open(0o040)), "Its new files can be read by its group by default")
        };
        checks.push(graded("umask", 100, badness, 10, Some("umask")).told("Its new files are its own by default", bad));
    }
    if let Some(soft) = facts.limit(Resource::Core) {
        checks.push(
            check("core_dumps", 100, soft == Some(0), "limits")
                .told("Leaves no core dump", "Can leave its memory, secrets included, in a core dump"),
        );
    }
    // The kernel does not hold root to it.
    if let Some(soft) = facts.limit(Resource::Nproc).filter(|_| !facts.is_root()) {
        checks.push(
            check("processes", 100, soft.is_some(), "limits")
                .told("Its user's processes are limited in number", "Can start processes without limit"),
        );
    }
    checks
}

/// The worst of the files with one role. None: nothing is known of any.
fn file_check(role: FileRole, files: &[FileFact]) -> Option<Check> {
    // For the program's own user, for others (always the whole range).
    let (name, weight, own, key) = match role {
        FileRole::Executable => ("executable", 1500, 6, "cmd"),
        FileRole::Argument => ("command_files", 1000, 4, "cmd"),
        FileRole::WorkingDirectory => ("working_directory", 500, 2, "workingdir"),
        FileRole::Log => ("log_files", 300, 3, "stdout"),
    };
    let of_role = || files.iter().filter(|file| file.role == role);
    let badness = |file: &FileFact| match (file.by_others, file.by_user) {
        (true, _) => 10,
        (false, true) => own,
        (false, false) => 0,
    };
    let worst = of_role().map(badness).max()?;
    let subject = match role {
        FileRole::Executable => "Its program file",
        FileRole::Argument => "A file that its command names",
        FileRole::WorkingDirectory => "Its working directory",
        FileRole::Log => "Its log",
    };
    let bad = match worst {
        10 => format!("{subject} can be changed or replaced by others than root and its own user"),
        _ => format!("{subject} can be changed or replaced by its own user"),
    };
    let good = match role {
        FileRole::Argument => "No file that its command names can be changed or replaced but by root".to_owned(),
        _ => format!("{subject} can be changed or replaced by root only"),
    };
    Some(graded(name, weight, worst, 10, Some(key)).told(&good, &bad))
}

#[cfg(test)]
#[path = "exposure_tests.rs"]
mod tests;
