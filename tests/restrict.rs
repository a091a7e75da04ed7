//! `restrict_paths`: what a program can still do with files, seen from inside, and what is told when it
//! cannot be started so.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::support::account::Account;
use crate::support::supervisor::{TASKMASTERD, open_up};
use crate::support::{Need, Supervisor, eventually, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test(
            "a program reads writes and executes what is listed and nothing else",
            &[Need::Root, Need::Landlock],
            files,
        ),
        test("root is restricted too and can make no devices", &[Need::Root, Need::Landlock], root),
        test("what keeps a restricted program from starting is named", &[Need::Root, Need::Landlock], failures),
        test("a kernel without landlock is refused or told of", &[Need::Root], unsupported),
    ]
}

const SYSTEM: &str = "execute = [\"/usr\", \"-/bin\", \"-/lib\", \"-/lib64\"]";

/// What is tried, each with its name; what does not depend on the user's rights alone ends in `no`.
const TRIES: [(&str, &str, bool); 11] = [
    ("read listed", "cat @dir@/open/given", true),
    ("read other", "cat @dir@/closed/secret", false),
    ("list other", "ls @dir@/closed", false),
    ("write listed", "echo x >@dir@/own/$$ && mv @dir@/own/$$ @dir@/own/sub/ && rm @dir@/own/sub/$$", true),
    ("write other", "echo x >@dir@/free/new", false),
    ("write what may be read", "echo x >>@dir@/open/theirs", false),
    ("truncate other", "python3 -c 'import os; os.truncate(\"@dir@/free/there\", 0)'", false),
    ("remove other", "touch @dir@/free/there; rm @dir@/free/there", false),
    ("through a link", "cat @dir@/own/link", false),
    ("execute other", "@dir@/tools/true", false),
    ("a child's child", "sh -c 'sh -c \"cat @dir@/closed/secret\"; exit $?'", false),
];

/// The lines that the tries print, restricted or not.
fn expected(restricted: bool) -> String {
    let line = |(name, _, listed): &(&str, &str, bool)| {
        format!("{name}: {}\n", if *listed || !restricted { "yes" } else { "no" })
    };
    TRIES.iter().map(line).collect::<String>() + "written through /dev/stdout\n"
}

/// A directory with something to read, to write and to execute, for this user.
fn prepare(supervisor: &Supervisor, user: &Account) {
    for (name, owner) in
        [("open", 0), ("closed", 0), ("tools", 0), ("own", user.id), ("own/sub", user.id), ("free", user.id)]
    {
        let path = supervisor.path(name);
        fs::create_dir(&path).expect("mkdir");
        open_up(&path);
        chown(&path, Some(owner), None).expect("chown");
    }
    for (name, owner) in [("open/given", 0), ("open/theirs", user.id), ("closed/secret", 0), ("free/there", user.id)] {
        fs::write(supervisor.path(name), name).expect("write");
        chown(supervisor.path(name), Some(owner), None).expect("chown");
    }
    symlink(supervisor.path("closed/secret"), supervisor.path("own/link")).expect("a link");
    fs::copy("/usr/bin/true", supervisor.path("tools/true")).expect("a copy");
    let script = "say() { if (eval \"$2\") >/dev/null 2>&1; then echo \"$1: yes\"; else echo \"$1: no\"; fi; }\n";
    let tries: String =
        TRIES.iter().map(|(name, what, _)| format!("say \"{name}\" '{}'\n", what.replace('\'', "'\\''"))).collect();
    let end = "echo 'written through /dev/stdout' >/dev/stdout\nexec sleep 1000\n";
    let dir = supervisor.path("").display().to_string();
    fs::write(supervisor.path("open/script"), (script.to_owned() + &tries + end).replace("@dir@", &dir))
        .expect("write");
}

fn files() {
    let user = Account::user("tm-test-restricted", &[]);
    let program = |name: &str, more: &str| {
        format!(
            "[programs.{name}]\ncmd = \"sh @dir@/open/script\"\nuser = \"tm-test-restricted\"\nstarttime = 0\nstderr = \"stdout\"\n{more}\n"
        )
    };
    let listed = format!(
        "restrict_paths = {{ read = [\"@dir@/open\", \"/etc\", \"-/none/such\"], write = [\"${{env:OWN}}\", \"/dev/null\"], {SYSTEM} }}"
    );
    let mut supervisor = Supervisor::prepare(&program("limited", &listed));
    prepare(&supervisor, &user);
    let own = supervisor.path("own");
    supervisor.launch_with(|command| {
        command.env("OWN", own);
    });
    let said = |what: &str, wanted: &str| {
        let log = || supervisor.read("log/limited.stdout.log");
        eventually(what, || (log().lines().count() >= wanted.lines().count()).then_some(()));
        assert_eq!(log(), wanted, "{what}");
    };
    let mut wanted = expected(true);
    said("the first life has tried all", &wanted);
    assert_eq!(proc::status(supervisor.pid_of("limited"))["NoNewPrivs"], "1");
    assert_eq!(supervisor.ctl(&["restart", "limited"]).code, 0);
    wanted += &expected(true);
    said("the second life has tried all", &wanted);
    assert_eq!(supervisor.read("free/there"), "free/there");
    // The same without a restriction: it is nothing else that keeps it from all this.
    supervisor.configure(&program("limited", ""));
    let planned = supervisor.ctl(&["reload"]);
    assert!(planned.code == 0 && planned.stdout.contains("limited"), "{planned:?}");
    wanted += &expected(false);
    said("the third life has tried all", &wanted);
    assert!(!supervisor.event_log().iter().any(|event| event["kind"] == "process.unrestricted"));
}

fn root() {
    let mut supervisor = Supervisor::prepare(&format!(
        "[programs.boss]\nuser = \"root\"\nstarttime = 0\nstderr = \"stdout\"\n\
         cmd = [\"sh\", \"-c\", \"cat @dir@/secret; mknod @dir@/own/disk b 7 0; mknod @dir@/own/fifo p && echo made; exec sleep 1000\"]\n\
         restrict_paths = {{ write = [\"@dir@/own\"], {SYSTEM} }}\n"
    ));
    fs::create_dir(supervisor.path("own")).expect("mkdir");
    fs::write(supervisor.path("secret"), "secret").expect("write");
    supervisor.launch();
    let log = eventually("all is tried", || {
        Some(supervisor.read("log/boss.stdout.log")).filter(|log| log.ends_with("made\n"))
    });
    assert_eq!(log.matches("Permission denied").count(), 2, "{log}");
    assert!(!supervisor.path("own/disk").exists());
    assert_eq!(proc::status(supervisor.pid_of("boss"))["NoNewPrivs"], "1");
}

fn failures() {
    let program = |name: &str, cmd: &str, paths: &str| {
        format!("[programs.{name}]\ncmd = \"{cmd}\"\nrestrict_paths = {{ {paths} }}\n")
    };
    let mut supervisor = Supervisor::prepare(
        &[
            "[defaults]\nuser = \"nobody\"\nstarttime = 0\nstartretries = 0\n".to_owned(),
            program("missing", "sleep 1000", "read = [\"@dir@/none\"], execute = [\"/usr\"]"),
            program("unreachable", "sleep 1000", "read = [\"@dir@/private/x\"], execute = [\"/usr\"]"),
            program("outside", "@dir@/tools/true", "execute = [\"/usr\"]"),
            program("loader", "@dir@/tools/true", "execute = [\"@dir@/tools\"]"),
            program("script", "@dir@/tools/script", "execute = [\"@dir@/tools\"]"),
            program("plain", "@dir@/tools/plain", "execute = [\"@dir@/tools\"]"),
        ]
        .concat(),
    );
    fs::create_dir(supervisor.path("tools")).expect("mkdir");
    open_up(&supervisor.path("tools"));
    fs::create_dir(supervisor.path("private")).expect("mkdir");
    fs::set_permissions(supervisor.path("private"), fs::Permissions::from_mode(0o700)).expect("chmod");
    fs::copy("/usr/bin/true", supervisor.path("tools/true")).expect("a copy");
    fs::write(supervisor.path("tools/script"), "#!/usr/bin/env sh\n").expect("write");
    open_up(&supervisor.path("tools/script"));
    fs::write(supervisor.path("tools/plain"), "").expect("write");
    supervisor.launch();
    let dir = supervisor.path("").display().to_string();
    for (process, stage, words) in [
        ("missing", "restrict_paths", "restricting the paths @dir@/none: No such file or directory"),
        ("unreachable", "restrict_paths", "restricting the paths @dir@/private/x: Permission denied"),
        ("outside", "exec", "@dir@/tools/true is in no `execute` path of `restrict_paths`"),
        ("loader", "exec", "its dynamic loader is in no `execute` path of `restrict_paths`"),
        ("script", "exec", "the interpreter in its first line is in no `execute` path of `restrict_paths`"),
        ("plain", "exec", "Permission denied (is it executable for this user"),
    ] {
        let failed = supervisor.wait_for_event("the failed start", |event| {
            event["kind"] == "process.start_failed" && event["process"] == process
        });
        let told = failed["message"].as_str().unwrap_or_default();
        assert!(failed["stage"] == stage && told.contains(&words.replace("@dir@", &dir)), "{failed}");
        supervisor.wait_for_state(process, "FATAL");
    }
}

/// Executes what its arguments say where the kernel seems to have no landlock: the call that makes a ruleset
/// (444 everywhere) fails with ENOSYS.
const WITHOUT_LANDLOCK: &str = "
import ctypes, os, struct, sys
code = b''.join(struct.pack('HBBI', *line) for line in [
    (0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000)])
lines = ctypes.create_string_buffer(code, len(code))
program = struct.pack('HxxxxxxP', 4, ctypes.addressof(lines))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.create_string_buffer(program, len(program)), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
";

fn unsupported() {
    let mut supervisor = Supervisor::prepare(&format!(
        "[defaults]\nuser = \"nobody\"\nstarttime = 0\nstartretries = 0\ncmd = [\"sh\", \"-c\", \"cat /etc/passwd; exec sleep 1000\"]\n\
         [programs.strict]\nrestrict_paths = {{ {SYSTEM} }}\n\
         [programs.lax]\nrestrict_paths = {{ {SYSTEM}, on_unsupported = \"best-effort\" }}\n"
    ));
    let config = supervisor.config();
    supervisor.launch_with(|command| {
        *command = Command::new("python3");
        command.args(["-c", WITHOUT_LANDLOCK, TASKMASTERD, "--no-shell", "-c"]).arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0);
    });
    let failed = supervisor.wait_for_event("the refused start", |event| event["kind"] == "process.start_failed");
    assert_eq!((&failed["process"], &failed["stage"]), (&"strict".into(), &"restrict_paths".into()), "{failed}");
    let words = "restricting the paths: the kernel has no landlock";
    assert!(failed["message"].as_str().is_some_and(|told| told.starts_with(words)), "{failed}");
    supervisor.wait_for_state("strict", "FATAL");
    let told = supervisor.wait_for_event("the lack", |event| event["kind"] == "process.unrestricted");
    assert_eq!((&told["process"], &told["severity"]), (&"lax".into(), &"warning".into()), "{told}");
    assert_eq!(told["pid"], supervisor.pid_of("lax"));
    assert!(told["message"].as_str().is_some_and(|told| told.ends_with("the kernel has no landlock")), "{told}");
    eventually("it reads what it could not", || supervisor.read("log/lax.stdout.log").contains("root:").then_some(()));
    assert_eq!(
        supervisor.kinds_of("lax"),
        ["process.starting", "process.unrestricted", "process.running"],
        "told before it runs"
    );
}
