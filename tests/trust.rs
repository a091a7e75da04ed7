//! Root and the files of others: what another user prepares, swaps or owns on the way to a directory, a
//! socket, a log or the configuration gives that user nothing. The attacker is an account of the test's own.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use libtest_mimic::Trial;

use crate::support::account::Account;
use crate::support::look::{reachable_in, taskmasterd};
use crate::support::supervisor::{Ctl, TASKMASTERCTL, TASKMASTERD};
use crate::support::terminal::Terminal;
use crate::support::{Need, Supervisor, eventually, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test(
            "directories of our own below another users are refused with the place and the way to mend it",
            &[Need::Root],
            below_theirs,
        ),
        test(
            "a runtime directory swapped while starts go on gives no file to be written",
            &[Need::Root],
            swapped_runtime_dir,
        ),
        test("directories of our own that others can write are refused even when sticky", &[Need::Root], writable_own),
        test("what another left in our own directories is neither followed nor waited for", &[Need::Root], left_behind),
        test("a history of the shell that another made is not written", &[Need::Root], foreign_history),
        test("a history of roots client in another users home is not written", &[Need::Root], lent_home),
        test("a socket in another users directory is refused", &[Need::Root], foreign_socket),
        test("a reload gives its rights to the socket and not to what took its name", &[Need::Root], swapped_socket),
        test("a log of roots program in another users directory is refused for that program", &[Need::Root], roots_log),
        test("a directory given away while roots program runs gets no new log", &[Need::Root], roots_log_reopened),
        test(
            "a log behind a link of roots is opened as root and the words name the right directory",
            &[Need::Root],
            linked_log,
        ),
        test("every link to the configuration is judged by where it lies", &[Need::Root], linked_configuration),
        test("all reasons against one file are told at once", &[Need::Root], all_reasons),
        test("an ordinary user trusts root and itself alone", &[Need::Root], ordinary_user),
    ]
}

const PROGRAM: &str = "[programs.one]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\n";

/// A place with a directory `evil` of the attacker and a file of root's that must stay as it is.
struct Scene {
    supervisor: Supervisor,
    attacker: Account,
}

impl Scene {
    fn new(name: &str) -> Self {
        let attacker = Account::user(name, &[]);
        let scene = Self { supervisor: Supervisor::prepare(PROGRAM), attacker };
        scene.theirs("evil");
        scene.supervisor.file("victim", "precious", 0o600);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.supervisor.path(name)
    }

    fn theirs(&self, name: &str) {
        self.supervisor.subdirectory(name, 0o755, &self.attacker.name);
    }

    /// A command with the attacker's rights alone.
    fn attack(&self, program: &str, arguments: &[&str]) -> Child {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        command.args(arguments).uid(self.attacker.id).gid(self.attacker.gid()).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the attacker starts")
    }

    #[track_caller]
    fn attacked(&self, script: &str) {
        let script = script.replace("@dir@", &self.path("").display().to_string());
        let status = self.attack("sh", &["-ec", &script]).wait().expect("waits");
        assert!(status.success(), "{script}");
    }

    /// The configuration with this `[supervisor]` and more; what is not named lies in root's directory.
    fn configure(&self, text: &str) {
        let mut supervisor = String::from("[supervisor]\nevent_log_format = \"json\"\n");
        for (key, name) in [("log_dir", "log"), ("state_dir", "state"), ("runtime_dir", "run")] {
            if !text.contains(key) {
                supervisor.push_str(&format!("{key} = \"@dir@/{name}\"\n"));
            }
        }
        let text = format!("{supervisor}{text}\n").replace("@dir@", &self.path("").display().to_string());
        self.supervisor.file("taskmaster.toml", &text, 0o644);
    }

    fn check(&self) -> Ctl {
        taskmasterd(&["check", &self.supervisor.config().display().to_string()], |_| {})
    }

    /// A start that is expected to be refused.
    fn start(&self) -> Ctl {
        taskmasterd(&["--no-shell", "-c", &self.supervisor.config().display().to_string()], |_| {})
    }

    /// Both say no, with these words.
    #[track_caller]
    fn assert_refused(&self, words: &[&str]) {
        for (done, code) in [(self.check(), 2), (self.start(), 1)] {
            assert_eq!((done.code, done.stdout.as_str()), (code, ""), "{done:?}");
            for words in words {
                let words = words.replace("@dir@", &self.path("").display().to_string());
                assert!(done.stderr.contains(&words), "{words}: {done:?}");
            }
        }
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let meta = std::fs::symlink_metadata(self.path("victim")).expect("there");
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, 0, 0o600));
        assert_eq!(self.supervisor.read("victim"), "precious");
    }

    /// Nothing below belongs to root but what was there.
    #[track_caller]
    fn assert_nothing_in(&self, name: &str) {
        let found: Vec<_> = std::fs::read_dir(self.path(name)).expect("a directory").flatten().collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

/// A process of the attacker's, ended with the test.
struct Loop(Child);

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn below_theirs() {
    let scene = Scene::new("tm-test-below");
    let theirs = format!("evil: belongs to uid {}; it must belong to root (chown root @dir@/evil)", scene.attacker.id);
    for key in ["log_dir", "state_dir", "runtime_dir"] {
        for path in ["@dir@/evil/own", "@dir@/evil"] {
            scene.configure(&format!("{key} = \"{path}\"\n{PROGRAM}"));
            scene.assert_refused(&[key, &theirs, "or choose another path"]);
        }
    }
    scene.configure(&format!("event_log = \"@dir@/evil/events.log\"\n{PROGRAM}"));
    scene.assert_refused(&["event_log @dir@/evil/events.log", &theirs]);
    scene.assert_nothing_in("evil");
    // All at once, for whoever mends it.
    scene.configure(&format!("log_dir = \"@dir@/evil/log\"\nstate_dir = \"@dir@/evil/state\"\n{PROGRAM}"));
    let checked = scene.check();
    assert!(checked.stderr.contains("log_dir") && checked.stderr.contains("state_dir"), "{checked:?}");
    // Through a link of theirs, too.
    scene.supervisor.subdirectory("real", 0o755, "root");
    scene.attacked("ln -s ../real @dir@/evil/link");
    scene.configure(&format!("state_dir = \"@dir@/evil/link/state\"\n{PROGRAM}"));
    scene.assert_refused(&["state_dir", &theirs]);
    scene.assert_nothing_in("real");
}

fn swapped_runtime_dir() {
    let scene = Scene::new("tm-test-swapped");
    // The directory was made by an earlier start that did not look; the attacker swaps it with a link.
    scene.supervisor.subdirectory("evil/run", 0o755, "root");
    scene.attacked("mkdir @dir@/evil/mal; ln -s @dir@/victim @dir@/evil/mal/cgroup; ln -s mal @dir@/evil/lnk");
    let swap = "import ctypes, sys\nlibc = ctypes.CDLL(None)\na, b = [p.encode() for p in sys.argv[1:]]\n\
                while True: libc.renameat2(-100, a, -100, b, 2)";
    let (run, link) = (scene.path("evil/run").display().to_string(), scene.path("evil/lnk").display().to_string());
    let _loop = Loop(scene.attack("python3", &["-c", swap, &run, &link]));
    eventually("it is swapped", || Path::new(&run).is_symlink().then_some(()));
    scene.configure(&format!("runtime_dir = \"@dir@/evil/run\"\n{PROGRAM}"));
    for _ in 0..10 {
        scene.assert_refused(&["runtime_dir", "chown root @dir@/evil"]);
    }
    scene.assert_untouched();
}

fn writable_own() {
    let scene = Scene::new("tm-test-writable");
    for (name, mode) in [("open", 0o777), ("sticky", 0o1777), ("group", 0o775)] {
        scene.supervisor.subdirectory(name, mode, "root");
        let mend = format!("{name}: can be written by others; take the right away (chmod go-w @dir@/{name})");
        for key in ["log_dir", "state_dir", "runtime_dir"] {
            scene.configure(&format!("{key} = \"@dir@/{name}\"\n{PROGRAM}"));
            scene.assert_refused(&[key, &mend]);
        }
        scene.configure(&format!("{PROGRAM}[control]\nsocket = \"@dir@/{name}/sock\"\n"));
        scene.assert_refused(&["control.socket", &mend]);
        scene.assert_nothing_in(name);
    }
    // A directory of root's in a sticky one is nobody else's to rename.
    let mut scene = scene;
    scene.configure(&format!("state_dir = \"@dir@/sticky/state\"\n{PROGRAM}"));
    assert_eq!(scene.check().code, 0);
    scene.supervisor.launch();
    scene.supervisor.wait_for_state("one", "RUNNING");
    assert_eq!(scene.supervisor.stop(), 0);
}

/// The directories are root's now, but were not always.
fn left_behind() {
    let mut scene = Scene::new("tm-test-left");
    scene.theirs("run");
    scene.attacked("mkfifo @dir@/run/cgroup; ln -s @dir@/victim @dir@/run/cgroup.new");
    chown(scene.path("run"), Some(0), Some(0)).expect("chown");
    scene.supervisor.launch();
    scene.supervisor.wait_for_state("one", "RUNNING");
    assert_eq!(scene.supervisor.stop(), 0);
    scene.assert_untouched();
    let record = scene.path("run/cgroup");
    let _ = std::fs::remove_file(&record);
    symlink(scene.path("victim"), &record).expect("symlink");
    scene.supervisor.launch();
    assert_eq!(scene.supervisor.stop(), 0);
    scene.assert_untouched();
    // The lock: a link, a FIFO, a file of another's.
    let lock = scene.path("run/lock");
    let plant = |make: &dyn Fn(), words: &str| {
        let _ = std::fs::remove_file(&lock);
        make();
        let started = scene.start();
        assert!(started.code == 1 && started.stderr.contains("lock") && started.stderr.contains(words), "{started:?}");
    };
    plant(&|| symlink(scene.path("victim"), &lock).expect("symlink"), "is a symbolic link; remove it");
    plant(&|| scene.supervisor.fifo("run/lock"), "is not a plain file; remove it");
    let foreign = || {
        scene.supervisor.file("run/lock", "", 0o600);
        chown(&lock, Some(scene.attacker.id), None).expect("chown");
    };
    plant(&foreign, &format!("belongs to uid {}", scene.attacker.id));
    std::fs::remove_file(&lock).expect("removes");
    // The event log.
    scene.supervisor.file("log/events.log", "", 0o640);
    chown(scene.path("log/events.log"), Some(scene.attacker.id), None).expect("chown");
    let started = scene.start();
    assert!(
        started.code == 1 && started.stderr.contains("event_log") && started.stderr.contains("belongs to uid"),
        "{started:?}"
    );
    scene.assert_untouched();
}

fn foreign_history() {
    let scene = Scene::new("tm-test-history");
    scene.theirs("state");
    scene.attacked("touch @dir@/state/shell_history; chmod 644 @dir@/state/shell_history");
    let start = || {
        let mut command = Command::new(TASKMASTERD);
        command.arg("-c").arg(scene.supervisor.config());
        Terminal::start(command)
    };
    chown(scene.path("state"), Some(0), Some(0)).expect("chown");
    let mut terminal = start();
    terminal.wait_for("taskmaster> ");
    terminal.line("status one");
    let told = scene.supervisor.wait_for_event("the history", |event| {
        event["message"].as_str().is_some_and(|text| text.contains("shell_history belongs to uid"))
    });
    assert!(told["message"].as_str().is_some_and(|text| text.contains("or remove it")), "{told}");
    scene.supervisor.ctl(&["shutdown"]);
    terminal.wait_for_end();
    assert_eq!(scene.supervisor.read("state/shell_history"), "", "nobody else reads what was typed");
}

/// Root has somebody else's HOME, as `sudo -E` gives it.
fn lent_home() {
    let mut scene = Scene::new("tm-test-home");
    scene.attacked(
        "mkdir -p @dir@/evil/plain/taskmaster @dir@/evil/link; ln -s @dir@/victim @dir@/evil/plain/taskmaster/history",
    );
    scene.attacked("ln -s @dir@/roots @dir@/evil/link/taskmaster");
    scene.supervisor.subdirectory("roots", 0o755, "root");
    scene.supervisor.launch();
    for (home, is_roots) in [("evil/plain", false), ("evil/link", false), ("roots/home", true)] {
        let mut command = Command::new(TASKMASTERCTL);
        command.arg("-s").arg(scene.supervisor.socket()).env("XDG_STATE_HOME", scene.path(home));
        let mut terminal = Terminal::start(command);
        terminal.wait_for_last("taskmaster> ");
        terminal.line("version");
        terminal.wait_for("taskmasterd 0");
        terminal.wait_for_last("taskmaster> ");
        terminal.line("exit");
        terminal.wait_for_end();
        if is_roots {
            assert_eq!(scene.supervisor.read(&format!("{home}/taskmaster/history")), "version\nexit\n");
        }
    }
    scene.assert_untouched();
    assert!(!scene.path("roots/history").exists());
}

fn foreign_socket() {
    let scene = Scene::new("tm-test-socket");
    scene.attacked("ln -s @dir@/victim @dir@/evil/c.sock; ln -s @dir@/victim @dir@/evil/c.sock.new");
    scene.configure(&format!("{PROGRAM}[control]\nsocket = \"@dir@/evil/c.sock\"\nmode = \"0666\"\n"));
    scene.assert_refused(&["control.socket @dir@/evil/c.sock", "chown root @dir@/evil"]);
    scene.assert_untouched();
    assert!(scene.path("evil/c.sock").is_symlink() && scene.path("evil/c.sock.new").is_symlink());
}

fn swapped_socket() {
    let mut scene = Scene::new("tm-test-reload");
    let with = |mode: &str| {
        scene.configure(&format!("{PROGRAM}[control]\nmode = \"{mode}\"\ngroup = \"{}\"\n", scene.attacker.name));
    };
    with("0660");
    // Left by a start that was cut off, or planted.
    scene.supervisor.subdirectory("run", 0o755, "root");
    symlink(scene.path("victim"), scene.path("run/control.sock.new")).expect("symlink");
    scene.supervisor.launch();
    let meta = std::fs::symlink_metadata(scene.supervisor.socket()).expect("there");
    assert_eq!((meta.mode() & 0o777, meta.gid()), (0o660, scene.attacker.gid()));
    let moved = scene.path("run/moved");
    std::fs::rename(scene.supervisor.socket(), &moved).expect("moves");
    symlink(scene.path("victim"), scene.supervisor.socket()).expect("symlink");
    let with = |mode: &str| scene.configure(&format!("{PROGRAM}[control]\nmode = \"{mode}\"\n"));
    with("0666");
    scene.supervisor.signal(1);
    eventually("the socket has its new mode", || {
        (std::fs::symlink_metadata(&moved).expect("there").mode() & 0o777 == 0o666).then_some(())
    });
    scene.assert_untouched();
    assert_eq!(scene.supervisor.stop(), 0);
    assert!(scene.supervisor.socket().is_symlink(), "what is not its own stays");
    scene.assert_untouched();
}

fn roots_log() {
    let mut scene = Scene::new("tm-test-rootlog");
    scene.supervisor.subdirectory("target", 0o755, "root");
    scene.attacked("ln -s @dir@/target @dir@/evil/d; mkdir @dir@/evil/plain");
    let program = |name: &str, user: &str, path: &str| {
        format!(
            "[programs.{name}]\ncmd = \"sleep 1000\"\nuser = \"{user}\"\nstarttime = 0\nstartretries = 0\n\
             stderr = \"discard\"\nstdout = \"{path}\"\n"
        )
    };
    let text = [
        program("linked", "root", "@dir@/evil/d/root.log"),
        program("plain", "0", "@dir@/evil/plain/root.log"),
        program("theirs", &scene.attacker.name, "@dir@/evil/theirs.log"),
        program("fine", "root", "auto"),
    ]
    .concat();
    scene.configure(&text);
    let checked = scene.check();
    assert_eq!(checked.code, 0, "{checked:?}");
    for name in ["linked", "plain"] {
        let words = format!("warning: [programs.{name}]: `stdout` ");
        let line = checked.stderr.lines().find(|line| line.contains(&words)).unwrap_or_else(|| panic!("{checked:?}"));
        assert!(line.contains("is not opened for a program of root") && line.contains("chown root "), "{line}");
    }
    assert!(!checked.stderr.contains("programs.fine") && !checked.stderr.contains("programs.theirs"), "{checked:?}");
    scene.supervisor.launch();
    scene.supervisor.wait_for_state("fine", "RUNNING");
    scene.supervisor.wait_for_state("theirs", "RUNNING");
    for name in ["linked", "plain"] {
        scene.supervisor.wait_for_state(name, "FATAL");
        let failed = scene.supervisor.wait_for_kind(name, "process.start_failed");
        let message = failed["message"].as_str().unwrap_or_default();
        assert_eq!(failed["stage"], "output");
        let evil = scene.path("evil").display().to_string();
        assert!(
            message.contains("is not opened for a program of root") && message.contains(&format!("chown root {evil}")),
            "{message}"
        );
        assert!(message.contains("or choose another path"), "{message}");
    }
    scene.assert_nothing_in("target");
    scene.assert_nothing_in("evil/plain");
    assert_eq!(std::fs::metadata(scene.path("evil/theirs.log")).expect("there").uid(), scene.attacker.id);
}

fn roots_log_reopened() {
    let mut scene = Scene::new("tm-test-reopen");
    scene.supervisor.subdirectory("logs", 0o755, "root");
    scene.configure(
        "[programs.one]\ncmd = \"sleep 1000\"\nuser = \"root\"\nstarttime = 0\n\
         stderr = \"discard\"\nstdout = \"@dir@/logs/root.log\"\n",
    );
    scene.supervisor.launch();
    scene.supervisor.wait_for_state("one", "RUNNING");
    let log = scene.path("logs/root.log");
    eventually("the log is there", || log.exists().then_some(()));
    chown(scene.path("logs"), Some(scene.attacker.id), None).expect("chown");
    scene.attacked("mv @dir@/logs/root.log @dir@/logs/old; ln -s @dir@/made @dir@/logs/root.log");
    scene.supervisor.ctl(&["reopen"]);
    let told = scene.supervisor.wait_for_event("the log is refused", |event| {
        event["message"].as_str().is_some_and(|text| text.contains("is not opened for a program of root"))
    });
    assert!(told["message"].as_str().is_some_and(|text| text.contains("chown root")), "{told}");
    assert!(log.is_symlink() && !scene.path("made").exists());
    assert_eq!(scene.supervisor.state("one"), "RUNNING");
}

fn linked_log() {
    let mut scene = Scene::new("tm-test-linklog");
    scene.supervisor.subdirectory("real", 0o755, "root");
    symlink("real", scene.path("link")).expect("symlink");
    let program = |name: &str, path: &str| {
        format!(
            "[programs.{name}]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\nstartretries = 0\n\
             stderr = \"discard\"\nstdout = \"{path}\"\n"
        )
    };
    scene.configure(&[program("linked", "@dir@/link/x.log"), program("refused", "@dir@/evil/x.log")].concat());
    scene.supervisor.launch();
    scene.supervisor.wait_for_state("linked", "RUNNING");
    let meta = std::fs::metadata(scene.path("real/x.log")).expect("there");
    assert_eq!((meta.uid(), meta.mode() & 0o777), (0, 0o640), "as root, as in any directory of root's");
    let failed = scene.supervisor.wait_for_kind("refused", "process.start_failed");
    let message = failed["message"].as_str().unwrap_or_default();
    let evil = scene.path("evil").display().to_string();
    let because =
        format!("(opened as nobody, because {evil} belongs to uid {}; let nobody write there", scene.attacker.id);
    assert!(message.contains(&because) && message.contains(&format!("chown root {evil}")), "{message}");
    assert!(message.contains("or choose another path"), "{message}");
}

fn linked_configuration() {
    let scene = Scene::new("tm-test-conf");
    scene.configure(PROGRAM);
    let evil = format!("{} belongs to uid {}", scene.path("evil").display(), scene.attacker.id);
    let check = |name: &str| taskmasterd(&["check", &scene.path(name).display().to_string()], |_| {});
    let refused = |checked: &Ctl, words: &str| {
        assert!(checked.code == 2 && checked.stderr.contains(words), "{words}: {checked:?}");
    };
    // The file itself, a directory on the way, and a chain of links with one of theirs in it.
    scene.attacked("ln -s @dir@/taskmaster.toml @dir@/evil/conf.toml; ln -s @dir@ @dir@/evil/d");
    symlink("evil/conf.toml", scene.path("chain.toml")).expect("symlink");
    for name in ["evil/conf.toml", "evil/d/taskmaster.toml", "chain.toml"] {
        refused(&check(name), &evil);
    }
    let start = taskmasterd(&["--no-shell", "-c", &scene.path("evil/conf.toml").display().to_string()], |_| {});
    refused(&start, &evil);
    symlink("taskmaster.toml", scene.path("roots.toml")).expect("symlink");
    assert_eq!(check("roots.toml").code, 0, "a link of root's in root's directory");
    // Where everybody can put links, whose it is says nothing: it could have been moved there.
    scene.supervisor.subdirectory("sticky", 0o1777, "root");
    scene.attacked("ln -s ../taskmaster.toml @dir@/sticky/conf.toml");
    refused(&check("sticky/conf.toml"), "is a symbolic link where others can put another in its place");
    // Everything else that is read with it.
    scene.supervisor.file("more.toml", "[programs.more]\ncmd = \"/bin/true\"\nuser = \"nobody\"\n", 0o644);
    scene.supervisor.file("variables", "A=1\n", 0o644);
    scene.supervisor.file("secret", "hunter2", 0o600);
    scene.attacked("for f in more.toml variables secret; do ln -s @dir@/$f @dir@/evil/$f; done");
    let hook =
        "[notify.webhooks.chat]\nurl = \"https://hooks.example.com/T1\"\nsecret_file = \"@dir@/@place@secret\"\n";
    let parts = [
        format!("@include@\n{PROGRAM}"),
        format!("{PROGRAM}env_file = \"@dir@/@place@variables\"\n"),
        format!("{PROGRAM}{hook}"),
    ];
    for (place, code) in [("", 0), ("evil/", 2)] {
        for part in &parts {
            let text = part.replace("@place@", place);
            scene.configure(&text.replace("@include@\n", ""));
            if text.contains("@include@") {
                let before = scene.supervisor.read("taskmaster.toml");
                let text = format!("include = [\"{place}*ore.toml\"]\n{before}");
                scene.supervisor.file("taskmaster.toml", &text, 0o644);
            }
            let checked = scene.check();
            assert_eq!(checked.code, code, "{part}: {checked:?}");
            assert!(code == 0 || checked.stderr.contains(&evil), "{part}: {checked:?}");
        }
    }
}

fn all_reasons() {
    let scene = Scene::new("tm-test-reasons");
    let text = scene.supervisor.read("taskmaster.toml");
    scene.supervisor.file("evil/conf.toml", &text, 0o666);
    chown(scene.path("evil/conf.toml"), Some(scene.attacker.id), None).expect("chown");
    std::fs::set_permissions(scene.path("evil"), std::fs::Permissions::from_mode(0o777)).expect("chmod");
    let checked = taskmasterd(&["check", &scene.path("evil/conf.toml").display().to_string()], |_| {});
    assert_eq!(checked.code, 2, "{checked:?}");
    let (id, evil) = (scene.attacker.id, scene.path("evil").display().to_string());
    for words in [
        format!("belongs to uid {id}, who could change what is run; it must belong to root"),
        "can be written by others; take the right away (chmod go-w)".to_owned(),
        format!("its directory {evil} belongs to uid {id}; it must belong to root (chown root {evil})"),
        format!("its directory {evil} can be written by others; take the right away (chmod go-w {evil})"),
    ] {
        assert!(checked.stderr.contains(&words), "{words}: {checked:?}");
    }
}

/// Everything of this supervisor is the attacker's own; one directory on the way is another's.
fn ordinary_user() {
    use std::os::unix::process::CommandExt;
    let scene = Scene::new("tm-test-plain");
    let program = reachable_in(TASKMASTERD, &scene.path(""));
    scene.supervisor.subdirectory("other", 0o777, "nobody");
    let run = |verb: &[&str]| -> Ctl {
        let mut command = Command::new(&program);
        command.args(verb).arg(scene.supervisor.config()).uid(scene.attacker.id).gid(scene.attacker.gid());
        command.current_dir("/").stdin(Stdio::null()).output().expect("runs").into()
    };
    let own = "log_dir = \"@dir@/evil/log\"\nstate_dir = \"@dir@/evil/state\"\n";
    let one = "[programs.one]\ncmd = \"/bin/true\"\n";
    scene.configure(&format!("{own}runtime_dir = \"@dir@/evil/run\"\n{one}"));
    assert_eq!(run(&["check"]).code, 0);
    for place in ["@dir@/other/run", "@dir@/other"] {
        scene.configure(&format!("{own}runtime_dir = \"{place}\"\n{one}"));
        for (verb, code) in [(&["check"][..], 2), (&["--no-shell", "-c"], 1)] {
            let done = run(verb);
            let words = format!("it must belong to root or uid {}", scene.attacker.id);
            assert!(done.code == code && done.stderr.contains(&words), "{done:?}");
        }
    }
    let left = proc::all().into_iter().filter(|pid| proc::ids(*pid, "Uid").first() == Some(&scene.attacker.id)).count();
    assert_eq!((left, scene.path("other/run").exists()), (0, false));
}
