//! `taskmasterctl import`: what supervisord's own parser reads is what our configuration says, field by field; and
//! a host that is moved runs the same programs as the same users with the same files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::servers::Daemon;
use crate::support::supervisor::{TASKMASTERCTL, TASKMASTERD, directory};
use crate::support::{Ctl, Need, Supervisor, debian_supervisor, eventually, proc, python, test};

const COMPARED: &[Need] = &[Need::PythonPackage("supervisor"), Need::Root];

pub fn trials() -> Vec<Trial> {
    vec![
        test("imports say what the parser of supervisord reads field by field", COMPARED, shapes),
        test("the example that supervisor ships is imported as it is and with every option", COMPARED, shipped),
        test("the configurations of the tests of supervisor are imported", COMPARED, their_own),
        test(
            "the configuration of the supervisor of Debian is imported",
            &[Need::PythonPackage("supervisor"), Need::Root, Need::DebianSupervisor],
            debian,
        ),
        test("what supervisord refuses an import refuses", COMPARED, refused),
        test("a host of supervisord is moved with its programs users and files", COMPARED, moved),
        test("an import writes toml to standard output and the rest to standard error", &[], streams),
        test("an import works in a shell and refuses what it cannot read with the reason", &[], unreadable),
    ]
}

fn data() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/supervisord").into()
}

fn run(program: impl AsRef<Path>, arguments: &[&Path]) -> Ctl {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).env("HOME", "/root").env_remove("TASKMASTER_SOCKET");
    command.output().unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display())).into()
}

fn import(file: &Path) -> Ctl {
    run(TASKMASTERCTL, &[Path::new("import"), file])
}

/// The files with this extension in a directory, sorted.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    files
}

/// Imports, checks with `taskmasterd check`, and compares with supervisord's parser: how many processes.
#[track_caller]
fn compared(file: &Path) -> usize {
    let imported = import(file);
    assert_eq!(imported.code, 0, "{}: {imported:?}", file.display());
    let directory = directory();
    let toml = directory.path().join("taskmaster.toml");
    std::fs::write(&toml, &imported.stdout).expect("written");
    let checked = run(TASKMASTERD, &[Path::new("check"), &toml]);
    assert_eq!(checked.code, 0, "{}: {checked:?}\n{}", file.display(), imported.stdout);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/compare_import.py");
    let differences = run(python(), &[&script, file, &toml]);
    let (count, lines) = match differences.stdout.trim_end().rsplit_once('\n') {
        Some((lines, count)) => (count, lines),
        None => (differences.stdout.trim_end(), ""),
    };
    assert!(differences.code == 0 && lines.is_empty(), "{}: {differences:?}\n{}", file.display(), imported.stdout);
    count.parse().expect("a count")
}

fn shapes() {
    let files = files(&data());
    assert!(files.len() >= 20, "{files:?}");
    let processes: usize = files.iter().map(|file| compared(file)).sum();
    assert!(processes >= 60, "only {processes} processes were compared");
}

/// Where Python keeps the package.
fn package() -> PathBuf {
    let output = run(python(), &[Path::new("-c"), Path::new("import supervisor; print(supervisor.__path__[0])")]);
    PathBuf::from(output.stdout.trim())
}

fn shipped() {
    let sample = package().join("skel/sample.conf");
    assert_eq!(compared(&sample), 0, "its programs are comments");
    let text = std::fs::read_to_string(sample).expect("the example");
    // Options that are comments follow their `;` at once, sentences after a space.
    let option = |line: &&str| line.starts_with(|c: char| !c.is_whitespace());
    let line = |line: &str| line.strip_prefix(';').filter(option).unwrap_or(line).to_owned();
    let text = text.lines().map(line).collect::<Vec<_>>().join("\n");
    // Names that this machine and the example itself do not have.
    let text = text.replace("user=chrism", "user=nobody").replace("user=supervisord", "user=daemon");
    let text = text
        .replace("programs=progname1,progname2", "programs=theprogramname")
        .replace("events=EVENT ", "events=TICK_60 ");
    let directory = directory();
    let file = directory.path().join("supervisord.conf");
    std::fs::write(&file, text).expect("written");
    assert_eq!(compared(&file), 1);
    let imported = import(&file);
    assert!(
        !imported.stdout.contains("=123") && !imported.stdout.contains("= 123"),
        "no password: {}",
        imported.stdout
    );
}

fn their_own() {
    // What is not on this machine, and what supervisord cannot read either.
    let files = files(&package().join("tests/fixtures"));
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        compared(&file);
    }
}

fn debian() {
    let file = debian_supervisor().join("etc/supervisor/supervisord.conf");
    assert_eq!(compared(&file), 0);
    let imported = import(&file);
    assert!(imported.stdout.contains("log_dir = \"/var/log/supervisor\"   # childlogdir"), "{}", imported.stdout);
    assert_eq!(compared(&debian_supervisor().join("usr/share/doc/supervisor/examples/sample.conf")), 0);
}

fn refused() {
    let supervisord = python().with_file_name("supervisord");
    for file in files(&data().join("refused")) {
        // Its version is told only if the configuration is right: `-t` does not exist.
        let parse = "import sys; from supervisor.options import ServerOptions; \
                     ServerOptions().realize(['-c', sys.argv[1]], doc='', progname='supervisord')";
        let theirs = run(python(), &[Path::new("-c"), Path::new(parse), &file]);
        assert_ne!(theirs.code, 0, "{}: {} takes it", file.display(), supervisord.display());
        let ours = import(&file);
        assert_eq!((ours.code, ours.stdout.as_str()), (1, ""), "{}: {ours:?}", file.display());
        let lines: Vec<&str> = ours.stderr.lines().collect();
        assert!(lines.len() == 2 && lines[0].contains(&*file.to_string_lossy()), "{}: {ours:?}", file.display());
    }
}

/// What can be seen of a process from outside.
#[derive(Debug, PartialEq)]
struct Seen {
    command: String,
    uids: Vec<u32>,
    gids: Vec<u32>,
    cwd: PathBuf,
    umask: String,
    own: Option<String>,
}

fn seen(pid: i64) -> Seen {
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    Seen {
        command: command.replace('\0', " "),
        uids: proc::ids(pid, "Uid"),
        gids: proc::ids(pid, "Gid"),
        cwd: proc::cwd(pid),
        umask: proc::status(pid).get("Umask").cloned().unwrap_or_default(),
        own: proc::environ(pid).get("OWN").cloned(),
    }
}

/// A host with six programs; what they are called is theirs and ours.
const HOST: &str = "[unix_http_server]\nfile=@dir@/supervisor.sock\n\
    [supervisord]\nnodaemon=true\nlogfile=@dir@/supervisord.log\npidfile=@dir@/supervisord.pid\nchildlogdir=@dir@\n\
    [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
    [supervisorctl]\nserverurl=unix://@dir@/supervisor.sock\n\
    [include]\nfiles=conf.d/*.conf\n\
    [program:web]\ncommand=sh -c 'echo web %(process_num)d as $(id -un); exec sleep 100%(process_num)02d'\n\
    process_name=%(program_name)s_%(process_num)02d\nnumprocs=2\nuser=nobody\ndirectory=/usr\n\
    environment=OWN=\"w,%(process_num)d\"\nstdout_logfile=@dir@/nobody/web-%(process_num)d.log\nredirect_stderr=true\n\
    [program:worker]\ncommand=sh -c \"echo worker; echo trouble >&2; umask >@dir@/daemon/umask; exec sleep 1010\" ; a note\n\
    user=daemon\numask=027\nstdout_logfile=@dir@/daemon/worker.out\nstderr_logfile=@dir@/daemon/worker.err\n\
    [program:agent]\ncommand=sleep 1020\nenvironment=OWN='root''s'\nstdout_logfile=NONE\nstderr_logfile=NONE\n";
const INCLUDED: &str = "[program:once]\ncommand=sh -c 'echo once >>@dir@/nobody/once'\nuser=nobody\nstartsecs=0\nautorestart=false\n\
    [program:later]\ncommand=sleep 1030\nuser=nobody\nautostart=false\n\
    [program:beat]\ncommand=sleep 1040\nuser=daemon\nstopsignal=INT\n[group:jobs]\nprograms=later,beat\n";

/// Their names for what runs, and ours.
const RUNNING: [(&str, &str); 5] =
    [("web:web_00", "web:0"), ("web:web_01", "web:1"), ("worker", "worker"), ("agent", "agent"), ("jobs:beat", "beat")];

/// What runs under supervisord, once all do that should: by their name.
fn under_supervisord(host: &Supervisor) -> BTreeMap<String, i64> {
    let conf = host.path("supervisord.conf");
    let ctl = python().with_file_name("supervisorctl");
    eventually("supervisord runs its programs", || {
        let status = run(&ctl, &[Path::new("-c"), &conf, Path::new("status")]).stdout;
        let pid = |line: &str| {
            let mut words = line.split_whitespace();
            let (name, state) = (words.next()?, words.next()?);
            let pid = line.split_once("pid ")?.1.split(',').next()?.parse().ok()?;
            (state == "RUNNING").then(|| (name.to_owned(), pid))
        };
        let running: BTreeMap<String, i64> = status.lines().filter_map(pid).collect();
        (running.len() == RUNNING.len() && status.contains("EXITED")).then_some(running)
    })
}

fn moved() {
    let mut host = Supervisor::prepare("");
    let place = |text: &str| text.replace("@dir@", &host.path("").display().to_string());
    host.subdirectory("nobody", 0o755, "nobody");
    host.subdirectory("daemon", 0o755, "daemon");
    host.subdirectory("conf.d", 0o755, "root");
    host.file("supervisord.conf", &place(HOST), 0o644);
    host.file("conf.d/jobs.conf", &place(INCLUDED), 0o644);

    let conf = host.path("supervisord.conf");
    let mut command = Command::new(python().with_file_name("supervisord"));
    command.arg("-n").arg("-c").arg(&conf).current_dir("/");
    let supervisord = Daemon::start("supervisord", &mut command, &host.path("theirs"));
    let pids = under_supervisord(&host);
    let before: Vec<Seen> = RUNNING.iter().map(|(theirs, _)| seen(pids[*theirs])).collect();
    let log = |host: &Supervisor, name: &str| host.read(name).lines().map(str::to_owned).collect::<Vec<_>>();
    eventually("both have written", || {
        (log(&host, "nobody/web-1.log").len() == 1 && log(&host, "daemon/worker.err").len() == 1).then_some(())
    });
    drop(supervisord);
    eventually("supervisord has stopped its programs", || pids.values().all(|pid| !proc::is_alive(*pid)).then_some(()));

    let imported = import(&conf);
    assert_eq!(imported.code, 0, "{imported:?}");
    // What it says must be done first: supervisord's log files are root's.
    let gifts: Vec<&str> =
        imported.stderr.lines().filter_map(|line| line.split_once(": chown ").map(|(_, rest)| rest)).collect();
    assert_eq!(gifts.len(), 2, "{imported:?}");
    for gift in gifts {
        assert_eq!(run("sh", &[Path::new("-c"), Path::new(&format!("chown {gift}"))]).code, 0, "{gift}");
    }
    let own = "[supervisor]\nlog_dir = \"@dir@/log\"\nstate_dir = \"@dir@/state\"\nruntime_dir = \"@dir@/run\"\n";
    std::fs::write(host.config(), imported.stdout.replacen("[supervisor]\n", &place(own), 1)).expect("written");
    host.launch_with(|command| {
        command.current_dir("/");
    });
    for (_, ours) in RUNNING {
        host.wait_for_state(ours, "RUNNING");
        host.wait_for_execution(ours);
    }
    host.wait_for_state("once", "EXITED");
    assert_eq!(host.state("later"), "STOPPED");
    for ((_, ours), before) in RUNNING.iter().zip(before) {
        assert_eq!(seen(host.pid_of(ours)), before, "{ours}");
    }
    // Each wrote the same once more, to the same files, as the same user.
    let line = |number: u32| format!("web {number} as nobody");
    eventually("both have written again", || (log(&host, "nobody/web-1.log").len() == 2).then_some(()));
    assert_eq!(log(&host, "nobody/web-1.log"), [line(1), line(1)]);
    assert_eq!(log(&host, "daemon/worker.out"), ["worker", "worker"]);
    assert_eq!(log(&host, "daemon/worker.err"), ["trouble", "trouble"]);
    assert_eq!((log(&host, "nobody/once").len(), host.read("daemon/umask").trim().to_owned()), (2, "0027".to_owned()));
    let group = host.status().iter().filter(|process| process["group_name"] == "jobs").count();
    assert_eq!(group, 2, "the group is still there");
    assert_eq!(host.stop(), 0);
}

fn streams() {
    let directory = directory();
    let file = directory.path().join("supervisord.conf");
    std::fs::write(&file, "[supervisord]\nloglevel=debug\n[program:web]\ncommand=/bin/true\nuser=nobody\n")
        .expect("written");
    let imported = import(&file);
    assert_eq!(imported.code, 0, "{imported:?}");
    assert!(
        imported.stdout.contains("[programs.web]\ncmd = \"/bin/true\"\nuser = \"nobody\"\n"),
        "{}",
        imported.stdout
    );
    assert_eq!(
        imported.stderr,
        format!("{}:2: [supervisord] loglevel: the event log has every event\n", file.display())
    );
    let json = run(TASKMASTERCTL, &[Path::new("--json"), Path::new("import"), &file]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("json");
    assert_eq!((json["toml"].as_str(), json["notes"].as_array().map(Vec::len)), (Some(&*imported.stdout), Some(1)));

    let file = directory.path().join("programs.yml");
    std::fs::write(&file, "programs:\n  web:\n    cmd: /bin/true\n    umask: 022\n").expect("written");
    let imported = import(&file);
    assert!(
        imported.stdout.contains("umask = \"022\"") && imported.stderr.contains("run as root: web"),
        "{imported:?}"
    );
}

fn unreadable() {
    let directory = directory();
    let imported = import(Path::new("/nonexistent/supervisord.conf"));
    assert_eq!((imported.code, imported.stdout.as_str()), (1, ""));
    assert!(imported.stderr.contains("/nonexistent/supervisord.conf: it cannot be read: No such file"), "{imported:?}");
    let file = directory.path().join("latin1.conf");
    std::fs::write(&file, b"[supervisord]\n; \xe9\n").expect("written");
    assert!(import(&file).stderr.contains("it is not UTF-8 text; convert it with iconv(1)"));
    assert!(import(directory.path()).stderr.contains(": it is a directory; name a file in it"));
    // In the shell that reads lines, without a supervisor.
    std::fs::write(&file, "[supervisord]\n[program:web]\ncommand=/bin/true\n").expect("written");
    let mut command = Command::new("sh");
    let line = format!("echo 'import {}' | {TASKMASTERCTL} -s /nonexistent", file.display());
    let shell: Ctl = command.args(["-c", &line]).output().expect("a shell").into();
    assert!(shell.code == 0 && shell.stdout.contains("[programs.web]"), "{shell:?}");
    // What a shell puts together.
    let mut command = Command::new("bash");
    let line = format!("{TASKMASTERCTL} import <(cat {})", file.display());
    let piped: Ctl = command.args(["-c", &line]).output().expect("a shell").into();
    assert!(piped.code == 0 && piped.stdout.contains("[programs.web]"), "{piped:?}");
}
