//! A Debian system with a systemd of its own, in a container: a tree that is made once, and started afresh for
//! each run with an overlay in memory, without network. What runs in it writes into a directory that both see.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::supervisor::TASKMASTERD;

/// What a start and all that is done in it may take, in seconds.
const LIMIT: &str = "300";
const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,postfix,procps";

/// Runs what is in the shared directory, then switches off.
const JOB: &str = "[Unit]
ConditionPathExists=/job/script
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/bash /job/script
StandardOutput=file:/job/said
StandardError=file:/job/errors
ExecStopPost=/bin/systemctl poweroff --no-block
";

/// The tree is made once, and runs once at a time.
static ONE: Mutex<()> = Mutex::new(());

pub struct Machine {
    _only: MutexGuard<'static, ()>,
    tree: PathBuf,
    job: tempfile::TempDir,
}

impl Machine {
    /// Makes the tree if it is not there yet, from the mirror that this system uses.
    pub fn new() -> Self {
        let only = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join(SUITE);
        if !tree.exists() {
            make(&tree);
        }
        Self { _only: only, tree, job: tempfile::tempdir().expect("a directory") }
    }

    /// Makes the package of the programs under test, with this version.
    pub fn package(&self, version: &str, name: &str) {
        let profile = Path::new(TASKMASTERD).parent().and_then(Path::file_name).expect("a profile");
        let profile = if profile == "debug" { "dev" } else { profile.to_str().expect("text") };
        let made = Command::new("cargo")
            .args(["deb", "--no-build", "--fast", "--profile", profile, "--deb-version", version, "--output"])
            .arg(self.job.path().join(name))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .output()
            .expect("cargo runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Puts a file beside the script.
    pub fn give(&self, file: &Path) {
        fs::copy(file, self.job.path().join(file.file_name().expect("a name"))).expect("copies");
    }

    /// Starts the machine, has it run this as root, and gives what it printed.
    pub fn run(&self, script: &str) -> String {
        self.start(script, &["--boot"], &[]);
        self.read("said")
    }

    /// The same without systemd: the script is all that runs.
    pub fn run_alone(&self, script: &str) -> String {
        self.start(script, &["--as-pid2"], &["/bin/bash", "/job/script"]);
        self.read("console")
    }

    fn start(&self, script: &str, how: &[&str], what: &[&str]) {
        let job = self.job.path();
        fs::write(job.join("script"), script).expect("writes");
        let mut bind = std::ffi::OsString::from("--bind=");
        bind.push(job);
        bind.push(":/job");
        let started = Command::new("timeout")
            .args(["--kill-after=10", LIMIT, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit"])
            .args(["--volatile=overlay", "--private-network"])
            .args(how)
            .arg("--directory")
            .arg(&self.tree)
            .arg(bind)
            .args(what)
            .stdin(Stdio::null())
            .stdout(fs::File::create(job.join("console")).expect("a file"))
            .stderr(fs::File::create(job.join("nspawn")).expect("a file"))
            .status()
            .expect("timeout runs");
        assert!(started.success(), "{started}\n{}", self.console());
    }

    /// All else that was said, for a test that fails.
    pub fn console(&self) -> String {
        format!("{}\n{}\n{}", self.read("errors"), self.read("nspawn"), self.read("console"))
    }

    fn read(&self, name: &str) -> String {
        fs::read(self.job.path().join(name))
            .map_or_else(|_| String::new(), |b| String::from_utf8_lossy(&b).into_owned())
    }
}

/// The mirror of the suite's main part in this system's own package sources.
fn mirror() -> String {
    let mut texts = vec![fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    for entry in fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten() {
        texts.push(fs::read_to_string(entry.path()).unwrap_or_default());
    }
    // `deb [options] URI suite component…`, or paragraphs of `URIs:`, `Suites:`, `Components:` (sources.list(5)).
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| word.contains("://"))?;
        let fits = words[0] == "deb" && words.get(at + 1) == Some(&SUITE) && words[at..].contains(&"main");
        fits.then(|| words[at].to_owned())
    };
    let of_paragraph = |paragraph: &str| {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let has = |name: &str, word: &str| field(name).split_whitespace().any(|one| one == word);
        let fits = has("Suites:", SUITE) && has("Components:", "main");
        field("URIs:").split_whitespace().next().filter(|_| fits).map(str::to_owned)
    };
    let lines = texts.iter().flat_map(|text| text.lines()).find_map(of_line);
    lines
        .or_else(|| texts.iter().flat_map(|text| text.split("\n\n")).find_map(of_paragraph))
        .unwrap_or_else(|| panic!("no mirror of {SUITE} in the sources of apt"))
}

fn make(tree: &Path) {
    let part = tree.with_extension("part");
    // What an earlier run was cut off in.
    let _ = fs::remove_dir_all(&part);
    let made = Command::new("debootstrap")
        .args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE])
        .arg(&part)
        .arg(mirror())
        .stdin(Stdio::null())
        .output()
        .expect("debootstrap runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    let units = part.join("etc/systemd/system");
    fs::write(units.join("job.service"), JOB).expect("writes");
    let wanted = units.join("multi-user.target.wants");
    fs::create_dir_all(&wanted).expect("a directory");
    symlink("/etc/systemd/system/job.service", wanted.join("job.service")).expect("links");
    fs::rename(&part, tree).expect("renames");
}
