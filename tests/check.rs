//! `taskmasterd check`, and what is refused at the start.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use libtest_mimic::Trial;

use crate::support::look::{taskmasterd, taskmasterd_as_nobody, uid};
use crate::support::supervisor::{Ctl, directory};
use crate::support::{Need, Supervisor, eventually, proc, test, user};

pub fn trials() -> Vec<Trial> {
    vec![
        test("a valid file is told with its counts and exit code 0", &[Need::Root], valid),
        test("every fault is told with place and caret and exit code 2", &[Need::Root], faults),
        test("a program without a user is refused as root with the line to add", &[Need::Root], missing_user),
        test("as an ordinary user no user is needed", &[Need::Root], ordinary_user),
        test("a sendmail that is not there or no program is a warning", &[Need::Root], no_sendmail),
        test("an unknown account is a warning", &[Need::Root], unknown_account),
        test("what is legal and unwise is a warning of check", &[Need::Root], unwise),
        test("a configuration that others can write is refused", &[Need::Root], writable),
        test("a configuration in a directory that others can write is refused", &[Need::Root], writable_directory),
        test("a configuration of another user is refused", &[Need::Root], foreign),
        test("a link is judged by what it leads to", &[Need::Root], linked),
        test("an included file is judged too", &[Need::Root], included),
        test("what is no plain file is refused without waiting", &[], no_plain_file),
        test("no file at all is told with the places that were looked at", &[Need::Root], nowhere),
        test("the working directory is never searched", &[Need::Root], working_directory),
        test("check writes and starts nothing", &[Need::Root], no_trace),
        test("a wrong command line exits 2 with a suggestion", &[], command_line),
        test("a start with a broken file exits 2 and starts nothing", &[], broken_start),
        test("a second instance with the same runtime_dir exits 1", &[], second_instance),
        test("a kernel that is too old is told with the one that is needed", &[], old_kernel),
        test("a start after a crash works", &[Need::Root], after_a_crash),
        test("a directory in other hands is refused at the start", &[Need::Root], foreign_directory),
    ]
}

/// Checks a file with this content.
fn check(text: &str) -> (Ctl, String, tempfile::TempDir) {
    let directory = directory();
    let path = directory.path().join("taskmaster.toml");
    std::fs::write(&path, text).expect("write");
    set_mode(&path, 0o644);
    let path = path.display().to_string();
    (taskmasterd(&["check", "-c", &path], |_| {}), path, directory)
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

#[track_caller]
fn assert_refused(checked: &Ctl, words: &str) {
    assert_eq!((checked.code, checked.stdout.as_str()), (2, ""), "{checked:?}");
    assert!(checked.stderr.contains(words), "{words}: {checked:?}");
}

const GOOD: &str = "[programs.web]\ncmd = \"/bin/true\"\nuser = \"nobody\"\nnumprocs = 3\n[programs.db]\ncmd = \"/bin/true\"\nuser = \"daemon\"\n";

fn valid() {
    let (checked, path, _directory) = check(GOOD);
    let said = format!("{path}: valid, 2 programs, 4 processes\n");
    assert_eq!((checked.code, checked.stdout, checked.stderr.as_str()), (0, said, ""));
    // The file can also be named without -c.
    assert_eq!(taskmasterd(&["check", &path], |_| {}).code, 0);
    let (checked, path, _directory) = check("include = [\"*.d/*.toml\"]\n");
    let said = format!("{path}: valid, no programs are configured yet\n");
    assert_eq!((checked.code, checked.stdout, checked.stderr.as_str()), (0, said, ""));
}

fn faults() {
    let text =
        "[programs.web]\ncmd = \"/bin/true\"\nuser = \"nobody\"\nnumproc = 3\numask = 22\nautorestart = \"allways\"\n";
    let (checked, path, _directory) = check(text);
    let expected = format!(
        "{path}:4:1: unknown key `numproc` in [programs.web]\n    4 | numproc = 3\n      | ^^^^^^^ did you mean `numprocs`?\n\
         {path}:5:9: `umask` is octal, and a number without `0o` is not\n    5 | umask = 22\n      |         ^^ write \"022\" or 0o022\n"
    );
    assert_refused(&checked, &expected);
    assert!(checked.stderr.contains("did you mean \"always\"?"), "{checked:?}");
    assert!(checked.stderr.ends_with("3 faults in 1 file\n"), "{checked:?}");
    // A file that is no TOML at all, and one of bytes.
    let (checked, path, directory) = check("[programs.web\ncmd = \"/bin/true\"\n");
    assert_refused(&checked, &format!("{path}:1:"));
    std::fs::write(directory.path().join("taskmaster.toml"), b"\xff\xfe\x00").expect("write");
    assert_refused(&taskmasterd(&["check", &path], |_| {}), "is not UTF-8");
}

fn missing_user() {
    let (checked, path, _directory) = check("\n[programs.web]\ncmd = \"/bin/true\"\n");
    let expected = format!(
        "{path}:2:1: `web` does not say as which user it runs\n    2 | [programs.web]\n      | ^^^^^^^^^^^^^^ add: user = \"nobody\""
    );
    assert_refused(&checked, &expected);
    let (checked, ..) = check("[defaults]\nuser = \"nobody\"\n[programs.web]\ncmd = \"/bin/true\"\n");
    assert_eq!(checked.code, 0, "{checked:?}");
}

fn ordinary_user() {
    let (_, path, directory) = check("[programs.web]\ncmd = \"/bin/true\"\n");
    let as_nobody = |path: &str| taskmasterd_as_nobody(directory.path(), &["check", path], |_| {});
    let checked = as_nobody(&path);
    assert_eq!(checked.code, 0, "{checked:?}");
    set_mode(Path::new(&path), 0o600);
    assert_refused(&as_nobody(&path), "Permission denied; do this as root, or as whoever it belongs to");
    set_mode(Path::new(&path), 0o644);
    // Its own file is as good as root's; somebody else's is not.
    std::os::unix::fs::chown(&path, Some(uid("nobody")), None).expect("chown");
    assert_eq!(as_nobody(&path).code, 0);
    std::os::unix::fs::chown(&path, Some(uid("daemon")), None).expect("chown");
    assert_refused(&as_nobody(&path), "belongs to uid");
}

fn no_sendmail() {
    let with = |program: &str| {
        let text = format!(
            "[notify.email]\nsendmail = \"{program}\"\nfrom = \"tm@example.test\"\nto = [\"ops@example.test\"]\n"
        );
        let (checked, path, _directory) = check(&[GOOD, &text].concat());
        assert_eq!(checked.code, 0, "{checked:?}");
        checked.stderr.replace(&path, "FILE")
    };
    let warning = "FILE: warning: [notify.email]: sendmail: ";
    assert!(with("/usr/sbin/nope").starts_with(&format!("{warning}/usr/sbin/nope: No such file")));
    assert!(with("/etc/passwd").starts_with(&format!("{warning}/etc/passwd: it is not executable; ")));
    assert!(with("/etc").starts_with(&format!("{warning}/etc: it is no file; ")));
    assert_eq!(with("/bin/true"), "");
}

fn unknown_account() {
    let (checked, path, _directory) = check(
        "[programs.web]\ncmd = \"/bin/true\"\nuser = \"no-such-account\"\n[programs.db]\ncmd = \"/bin/true\"\nuser = \"nobody\"\ngroup = \"no-such-group\"\n",
    );
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.stderr.contains(&format!("{path}: warning: [programs.web]")), "{checked:?}");
    assert!(checked.stderr.contains("no-such-account") && checked.stderr.contains("no-such-group"), "{checked:?}");
}

fn unwise() {
    let text = "[supervisor]\nstate_dir = \"/tmp/tm-test-unwise\"\nruntime_dir = \"/tmp/tm-test-unwise/run\"\n\
        [programs.web]\ncmd = \"/bin/true --password s3cret\"\nuser = \"root\"\nenv = { DB_PASSWORD = \"s3cret\", LANG = \"C\" }\n\
        [programs.db]\ncmd = \"/bin/true\"\nuser = \"nobody\"\nstdout = \"/tmp/d\\u001bb.log\"\nstderr = \"/tmp/own/db.log\"\n\
        log_compress = true\nlog_maxbytes = 0\nenv = { DATABASE_URL = \"postgres://me:s3cret@h/db\" }\n";
    let (checked, path, _directory) = check(text);
    assert_eq!((checked.code, checked.stdout.ends_with("valid, 2 programs, 2 processes\n")), (0, true), "{checked:?}");
    assert!(!checked.stderr.contains("s3cret"), "{checked:?}");
    let secret = |key: &str| {
        format!(
            "{key} looks like a secret, in {path}, which others can read; put it into an `env_file` that only root can read (chmod 0600)"
        )
    };
    let expected = [
        "[supervisor]: `state_dir` /tmp/tm-test-unwise is where everybody can make files: whoever makes it first keeps the supervisor from starting, and what is there may be cleaned away".to_owned(),
        "web runs as root; a `user` of its own, with `capabilities` where it needs one, is safer".to_owned(),
        "[programs.web]: `cmd` has a password in it, which everybody sees in the list of processes; let the program read it from a file".to_owned(),
        secret("[programs.web]: `env.DB_PASSWORD`"),
        secret("[programs.db]: `env.DATABASE_URL`"),
        "[programs.db]: `stdout` /tmp/d\\x1bb.log is where everybody can make files, and somebody else can make it first; \"auto\" is a file in `log_dir`".to_owned(),
        "[programs.db]: `log_compress` has nothing to compress, because `log_maxbytes` is 0 and no file is kept".to_owned(),
    ];
    let expected: String = expected.iter().map(|words| format!("{path}: warning: {words}\n")).collect();
    assert_eq!(checked.stderr, expected);
    // In a file that only root can read a secret is no worse than in another one.
    set_mode(Path::new(&path), 0o600);
    let checked = taskmasterd(&["check", &path], |_| {});
    assert!(
        !checked.stderr.contains("looks like a secret") && checked.stderr.contains("has a password"),
        "{checked:?}"
    );
}

fn writable() {
    let (_, path, _directory) = check(GOOD);
    for mode in [0o666, 0o664, 0o646] {
        set_mode(Path::new(&path), mode);
        let checked = taskmasterd(&["check", &path], |_| {});
        assert_refused(&checked, "can be written by others; take the right away (chmod go-w)");
        assert!(checked.stderr.contains(&path), "{checked:?}");
    }
}

fn writable_directory() {
    let (_, path, directory) = check(GOOD);
    set_mode(directory.path(), 0o777);
    assert_refused(&taskmasterd(&["check", &path], |_| {}), "its directory");
    set_mode(directory.path(), 0o1777);
    assert_eq!(taskmasterd(&["check", &path], |_| {}).code, 0, "sticky and root's, as /tmp is");
}

fn foreign() {
    let (_, path, directory) = check(GOOD);
    std::os::unix::fs::chown(&path, Some(uid("nobody")), None).expect("chown");
    let checked = taskmasterd(&["check", &path], |_| {});
    assert_refused(&checked, &format!("belongs to uid {}", uid("nobody")));
    std::os::unix::fs::chown(&path, Some(0), None).expect("chown");
    std::os::unix::fs::chown(directory.path(), Some(uid("nobody")), None).expect("chown");
    assert_refused(&taskmasterd(&["check", &path], |_| {}), "its directory");
}

fn linked() {
    let (_, path, _directory) = check(GOOD);
    let elsewhere = directory();
    let link = elsewhere.path().join("link.toml");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    let link = link.display().to_string();
    assert_eq!(taskmasterd(&["check", &link], |_| {}).code, 0);
    set_mode(Path::new(&path), 0o666);
    assert_refused(&taskmasterd(&["check", &link], |_| {}), "can be written by others");
}

fn included() {
    let (_, path, directory) = check(&format!("include = [\"more.toml\"]\n{GOOD}"));
    let more = directory.path().join("more.toml");
    std::fs::write(&more, "[programs.more]\ncmd = \"/bin/true\"\nuser = \"nobody\"\n").expect("write");
    set_mode(&more, 0o644);
    assert!(taskmasterd(&["check", &path], |_| {}).stdout.ends_with("valid, 3 programs, 5 processes\n"));
    set_mode(&more, 0o666);
    let checked = taskmasterd(&["check", &path], |_| {});
    assert_refused(&checked, "can be written by others");
    assert!(checked.stderr.contains("more.toml"), "{checked:?}");
    std::fs::write(&more, "[programs.web]\ncmd = \"/bin/true\"\nuser = \"nobody\"\n").expect("write");
    set_mode(&more, 0o644);
    assert_refused(&taskmasterd(&["check", &path], |_| {}), "more.toml:1:");
}

fn no_plain_file() {
    let directory = directory();
    let path = directory.path().join("taskmaster.toml");
    let named = path.display().to_string();
    assert_refused(&taskmasterd(&["check", &named], |_| {}), "No such file");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).expect("a FIFO");
    assert_refused(&taskmasterd(&["check", &named], |_| {}), "is not a plain file");
    assert_refused(&taskmasterd(&["check", "/dev/zero"], |_| {}), "is not a plain file");
    assert_refused(&taskmasterd(&["check", &directory.path().display().to_string()], |_| {}), "is a directory");
    std::fs::remove_file(&path).expect("removes");
    let large = std::fs::File::create(&path).expect("a file");
    large.set_len(5 << 20).expect("grows");
    assert_refused(&taskmasterd(&["check", &named], |_| {}), "larger than");
}

fn nowhere() {
    let there = Path::new("/etc/taskmaster/taskmaster.toml").exists();
    let home = directory();
    let check = || {
        taskmasterd_as_nobody(home.path(), &["check"], |command| {
            command.env("XDG_CONFIG_HOME", home.path());
        })
    };
    let checked = check();
    if !there {
        let expected =
            format!("{}/taskmaster/taskmaster.toml and /etc/taskmaster/taskmaster.toml", home.path().display());
        assert_refused(&checked, &expected);
        assert!(checked.stderr.contains("-c FILE") && checked.stderr.contains("--demo"), "{checked:?}");
    }
    let folder = home.path().join("taskmaster");
    std::fs::create_dir(&folder).expect("a directory");
    crate::support::supervisor::open_up(&folder);
    std::fs::write(folder.join("taskmaster.toml"), "[programs.own]\ncmd = \"/bin/true\"\n").expect("write");
    let checked = check();
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.stdout.contains("1 program"), "{checked:?}");
}

fn working_directory() {
    let (_, path, directory) = check(GOOD);
    let checked = taskmasterd(&["check"], |command| {
        command.current_dir(directory.path()).env("HOME", "/nonexistent");
    });
    assert!(!checked.stdout.contains(&path), "{checked:?}");
    // Named relatively it is found, and told by its whole path.
    let checked = taskmasterd(&["check", "-c", "taskmaster.toml"], |command| {
        command.current_dir(directory.path());
    });
    assert_eq!((checked.code, checked.stdout.starts_with(&path)), (0, true), "{checked:?}");
}

fn no_trace() {
    let supervisor = Supervisor::prepare(GOOD);
    let checked = taskmasterd(&["check", &supervisor.config().display().to_string()], |_| {});
    assert_eq!(checked.code, 0);
    let left: Vec<_> = std::fs::read_dir(supervisor.path("")).expect("a directory").flatten().collect();
    assert_eq!(left.len(), 1, "only the configuration: {left:?}");
}

fn command_line() {
    for (arguments, words) in [
        (&["chekc"][..], "check"),
        (&["--no-shel"], "--no-shell"),
        (&["-c"], "-c"),
        (&["check", "--demo"], "--demo"),
        (&["--demo", "-c", "/x"], "--demo"),
        (&["-x"], "-x"),
    ] {
        assert_refused(&taskmasterd(arguments, |_| {}), words);
    }
    let help = taskmasterd(&["--help"], |_| {});
    assert!(help.code == 0 && help.stdout.contains("--no-shell") && help.stderr.is_empty(), "{help:?}");
    let version = taskmasterd(&["--version"], |_| {});
    assert_eq!(version.stdout, format!("taskmasterd {}\n", env!("CARGO_PKG_VERSION")));
}

fn broken_start() {
    let supervisor = Supervisor::prepare("[programs.web]\ncommand = \"/bin/true\"\n");
    let path = supervisor.config().display().to_string();
    let started = taskmasterd(&["--no-shell", "-c", &path], |_| {});
    assert_refused(&started, "unknown key `command`");
    assert!(!supervisor.path("run").exists() && !supervisor.path("log").exists());
}

fn second_instance() {
    let supervisor = Supervisor::start(&format!("[programs.one]\ncmd = \"sleep 1000\"\nstarttime = 0\n{}", user()));
    supervisor.wait_for_state("one", "RUNNING");
    let before = supervisor.pid_of("one");
    let second = taskmasterd(&["--no-shell", "-c", &supervisor.config().display().to_string()], |_| {});
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("another taskmasterd runs with this runtime_dir"), "{second:?}");
    // Another runtime_dir, but the same socket.
    let text = supervisor.read("taskmaster.toml").replace("/run\"", "/run2\"").replace("/log\"", "/log2\"");
    let text = format!("{text}\n[control]\nsocket = \"{}\"\n", supervisor.socket().display());
    supervisor.file("second.toml", &text, 0o644);
    let second = taskmasterd(&["--no-shell", "-c", &supervisor.path("second.toml").display().to_string()], |_| {});
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("another program listens there already"), "{second:?}");
    assert_eq!(supervisor.pid_of("one"), before, "the first is as it was");
}

/// A kernel without pidfd_open(2), as far as taskmasterd can see.
fn old_kernel() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    use std::os::unix::process::CommandExt;
    let rules = std::iter::once((libc::SYS_pidfd_open, Vec::new())).collect();
    let nosys = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let here = std::env::consts::ARCH.try_into().expect("an architecture that seccompiler knows");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, nosys, here).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    let supervisor = Supervisor::prepare(&format!("[programs.one]\ncmd = \"sleep 1000\"\n{}", user()));
    let started = taskmasterd(&["--no-shell", "-c", &supervisor.config().display().to_string()], |command| {
        let limit = move || seccompiler::apply_filter(&program).map_err(std::io::Error::other);
        // SAFETY: the child has one thread; what it calls allocates nothing but on failure.
        unsafe { command.pre_exec(limit) };
    });
    assert_eq!((started.code, started.stdout.as_str()), (1, ""), "{started:?}");
    for words in ["taskmasterd: this kernel (`uname -r` says ", "Linux 5.11 or newer is needed"] {
        assert!(started.stderr.contains(words), "{started:?}");
    }
    assert!(!supervisor.path("run").exists(), "nothing was made");
}

fn after_a_crash() {
    let mut supervisor = Supervisor::start(&format!("[programs.one]\ncmd = \"sleep 1000\"\nstarttime = 0\n{}", user()));
    supervisor.wait_for_state("one", "RUNNING");
    let is_start = |event: &serde_json::Value| event["kind"] == "supervisor.started";
    // A core that is killed before its notifier works has told nobody.
    eventually("the start is in the event log", || supervisor.event_log().iter().any(is_start).then_some(()));
    let (first, below) = (supervisor.pid_of("one"), proc::descendants(supervisor.pid()));
    supervisor.kill_hard();
    assert!(supervisor.socket().exists(), "a dead socket is left");
    eventually("what it ran has ended", || below.iter().all(|pid| !proc::is_alive(*pid)).then_some(()));
    supervisor.launch();
    supervisor.wait_for_state("one", "RUNNING");
    assert_ne!(supervisor.pid_of("one"), first);
    assert_eq!(supervisor.stop(), 0);
    let started = supervisor.event_log().into_iter().filter(is_start).count();
    assert_eq!(started, 2, "the event log goes on");
}

fn foreign_directory() {
    let supervisor = Supervisor::prepare(GOOD);
    let path = supervisor.config().display().to_string();
    supervisor.subdirectory("run", 0o755, "nobody");
    let started = taskmasterd(&["--no-shell", "-c", &path], |_| {});
    assert_eq!(started.code, 1, "{started:?}");
    assert!(started.stderr.contains("runtime_dir"), "{started:?}");
    std::fs::remove_dir(supervisor.path("run")).expect("removes");
    supervisor.subdirectory("elsewhere", 0o755, "root");
    std::os::unix::fs::symlink(supervisor.path("elsewhere"), supervisor.path("run")).expect("a link");
    let started = taskmasterd(&["--no-shell", "-c", &path], |_| {});
    assert_eq!(started.code, 1, "{started:?}");
    assert!(started.stderr.contains("runtime_dir"), "{started:?}");
}
