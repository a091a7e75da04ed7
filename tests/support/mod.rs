//! What the tests share: when a test can run, a supervisor of its own in a directory of its own, and
//! looks into /proc.

pub mod account;
pub mod alerting;
pub mod disk;
pub mod look;
pub mod machine;
pub mod peers;
pub mod proc;
pub mod servers;
pub mod speaker;
pub mod supervisor;
pub mod terminal;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Trial};

pub use supervisor::{Ctl, Supervisor};

/// Time enough for anything that should happen, on a busy machine: only a test that fails waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a test needs of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    Root,
    /// A version 2 hierarchy of control groups that may be written.
    Cgroup2,
    /// Landlock of version 3 (Linux 6.2) or later.
    Landlock,
    /// User namespaces that an ordinary user may make.
    UserNamespaces,
    /// With aiosmtpd, for servers that misbehave and for a second opinion on mails.
    Python,
    Openssl,
    Postfix,
    Rsyslog,
    Journald,
    Alertmanager,
    /// A loop device, and ext4 on it.
    LoopDevice,
    /// A program on the search path.
    Program(&'static str),
    /// The test's own Python ([`python`]) with this package.
    PythonPackage(&'static str),
    /// The files of Debian's supervisor, where `.ci/run` puts them.
    DebianSupervisor,
    /// The packages of OpenRC, where `.ci/run` puts them.
    OpenRc,
}

impl Need {
    /// Why it is not there.
    fn missing(self) -> Option<String> {
        match self {
            Self::Cgroup2 => cgroup_mount().is_none().then(|| "needs control groups, version 2".to_owned()),
            Self::Landlock => (landlock_version() < 3).then(|| "needs landlock, version 3".to_owned()),
            Self::UserNamespaces => (!has_user_namespaces()).then(|| "needs user namespaces".to_owned()),
            Self::LoopDevice => (!has_loop_device()).then(|| "needs a loop device with ext4, and mkfs.ext4".to_owned()),
            Self::Program(name) => (!is_on_path(name)).then(|| format!("needs {name}")),
            Self::PythonPackage(package) => (!imports(&python(), package)).then(|| {
                format!("needs the Python package {package} for {}, or TASKMASTER_TEST_PYTHON", python().display())
            }),
            Self::DebianSupervisor => (!debian_supervisor().exists()).then(|| "needs Debian's supervisor".to_owned()),
            Self::OpenRc => (!openrc().exists()).then(|| "needs OpenRC's packages".to_owned()),
            Self::Root => (!is_root()).then(|| "needs root".to_owned()),
            server => servers::missing(server),
        }
    }
}

/// Where the version 2 hierarchy is mounted, if its groups can be killed.
pub fn cgroup_mount() -> Option<std::path::PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?.split(' ').nth(1)?;
    let probe = std::path::Path::new(mount).join(format!("tm-probe-{}", std::process::id()));
    std::fs::create_dir(&probe).ok()?;
    let works = probe.join("cgroup.kill").exists();
    let _ = std::fs::remove_dir(&probe);
    works.then(|| mount.into())
}

/// What the kernel says of itself (landlock_create_ruleset(2) with the flag that asks for it).
fn landlock_version() -> i64 {
    let none = std::ptr::null::<u8>();
    // SAFETY: no structure is passed, and none is asked for.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, 1_u32) }
}

fn has_user_namespaces() -> bool {
    let tried = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "--user", "--map-root-user", "true"])
        .stderr(std::process::Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

fn has_loop_device() -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has_ext4 = known.lines().any(|line| line.trim() == "ext4");
    has_ext4 && Path::new("/dev/loop-control").exists() && is_on_path("mkfs.ext4")
}

/// The directory into which `.ci/run` unpacks Debian's supervisor.
pub fn debian_supervisor() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-supervisor").into()
}

/// The directory into which `.ci/run` puts OpenRC's packages.
pub fn openrc() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-openrc").into()
}

/// The Python with the packages that tests use: `TASKMASTER_TEST_PYTHON`, else where `.ci/run` makes it.
pub fn python() -> PathBuf {
    let made = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-python/bin/python3");
    std::env::var_os("TASKMASTER_TEST_PYTHON").map_or_else(|| made.into(), PathBuf::from)
}

fn is_on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

fn imports(python: &Path, package: &str) -> bool {
    let mut command = std::process::Command::new(python);
    let tried = command.args(["-c", &format!("import {package}")]).stderr(std::process::Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

pub fn is_root() -> bool {
    // The owner of our own /proc entry is our effective user.
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// One test, by a sentence.
pub fn test(name: &str, needs: &'static [Need], body: fn()) -> Trial {
    Trial::ignorable_test(name.replace(' ', "_"), move || {
        let missing: Vec<String> = needs.iter().filter_map(|need| need.missing()).collect();
        if missing.is_empty() {
            body();
            return Ok(Completion::Completed);
        }
        let reason = missing.join(", ");
        if std::env::var("TASKMASTER_TEST_REQUIRE").is_ok_and(|value| value == "all") {
            return Err(format!("{reason}, and TASKMASTER_TEST_REQUIRE=all is set").into());
        }
        Ok(Completion::ignored_with(reason))
    })
}

/// Looks until `look` gives something, at most [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Looks until `look` gives something, at most so long.
#[track_caller]
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "not within {patience:?}: {what}");
        // Nothing to wait on for a look into /proc or a file: a short pause between looks.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Measures until it is as it should be: a busy machine may spoil any single measurement, and what is slow by itself
/// is so each time. `Err`: what was measured.
#[track_caller]
pub fn measured<T>(what: &str, mut measure: impl FnMut() -> Result<T, String>) -> T {
    const TIMES: usize = 5;
    let mut spoiled = Vec::new();
    while spoiled.len() < TIMES {
        match measure() {
            Ok(right) => return right,
            Err(seen) => spoiled.push(seen),
        }
    }
    panic!("{what}: not once of {TIMES} times: {spoiled:#?}");
}

/// As whom the programs of a test run that works for everybody.
pub fn user() -> &'static str {
    if is_root() { "user = \"nobody\"" } else { "" }
}

/// A program that sleeps.
pub fn program(name: &str, settings: &str) -> String {
    format!("[programs.{name}]\ncmd = \"sleep 1000\"\nstarttime = 0\n{}\n{settings}\n", user())
}

/// A supervisor whose programs run, those that are wanted.
#[track_caller]
pub fn start(programs: &str) -> Supervisor {
    let supervisor = Supervisor::start(programs);
    let settled = |p: &serde_json::Value| p["state"] == "RUNNING" || p["wanted"] == "down";
    supervisor.wait_until("all run", |all| all.iter().all(settled));
    supervisor
}
