//! The privilege boundary, seen from outside: what the kernel says of programs that were started in the
//! worst way, and what programs and their users can do about it.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use libtest_mimic::Trial;

use crate::support::account::Account;
use crate::support::supervisor::TASKMASTERD;
use crate::support::{Need, Supervisor, eventually, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("nothing of the worst starter reaches a program", &[Need::Root], worst_starter),
        test("groups are those of the account or exactly those configured", &[Need::Root], groups),
        test("a deleted or renumbered account is seen at the next start", &[Need::Root], changed_account),
        test("a program has the configured capabilities and no other", &[Need::Root], capabilities),
        test("a setuid program gives nothing", &[Need::Root], setuid),
        test("priorities and processors are the program's own", &[Need::Root], scheduling),
        test("whoever runs as a worker already is told at the start", &[Need::Root], strangers),
        test("a program holds no key of whoever started the supervisor", &[Need::Root], keyring),
        test("a link swapped for a log file leads nowhere", &[Need::Root], swapped_link),
        test("variables of an env file come below those of env", &[Need::Root], env_file),
    ]
}

/// What a program can be asked about itself.
fn capability_sets(pid: i64) -> Vec<String> {
    let status = proc::status(pid);
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| status[name].clone()).to_vec()
}

const NONE: &str = "0000000000000000";

/// The soft and the hard limit with this title.
fn limit(pid: i64, title: &str) -> [String; 2] {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(title)).expect(title);
    let mut words = line.split_whitespace().map(str::to_owned);
    std::array::from_fn(|_| words.next().expect("two limits"))
}

fn worst_starter() {
    let mut supervisor = Supervisor::prepare(
        "[programs.victim]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\n\
         limits = { fsize = [4096, 8000], core = 0, stack = [1000000, 2000000] }\n\
         [programs.talker]\ncmd = [\"sh\", \"-c\", 'seq 1 20000; exec sleep 1000']\nuser = \"daemon\"\nstarttime = 0\n",
    );
    // Extra groups, junk descriptors, no umask, blocked and ignored signals, a library to preload,
    // secrets, standard descriptors closed, and a file-size limit that the logs soon meet.
    let script = format!(
        "umask 000; ulimit -f 8; ulimit -Sn 5000; ulimit -c unlimited; export SECRET=s3cret LD_PRELOAD=libm.so.6; \
         for n in 3 4 5 6 7 8 9 4000; do eval \"exec $n</etc/passwd\"; done; \
         exec setpriv --groups=4,20,24 env --block-signal=TERM,USR2 --ignore-signal=HUP,PIPE,USR1 \
         bash -c 'exec 0<&- 1>&- 2>&-; exec {TASKMASTERD} --no-shell -c {}'",
        supervisor.config().display()
    );
    supervisor.launch_with(|command| {
        *command = Command::new("bash");
        command.args(["-c", &script]);
        std::os::unix::process::CommandExt::process_group(command, 0);
    });
    supervisor.wait_until("both run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    for (name, groups) in [("victim", "65534"), ("talker", "1")] {
        let pid = supervisor.pid_of(name);
        eventually("it is executed", || proc::environ(pid).contains_key("TASKMASTER_PROGRAM").then_some(()));
        let status = proc::status(pid);
        assert_eq!(status["Groups"], groups, "{name}");
        // A shell blocks all signals for the moment of a fork.
        eventually("no signal is blocked or ignored", || {
            let status = proc::status(pid);
            (status["SigBlk"] == NONE && status["SigIgn"] == NONE).then_some(())
        });
        assert_eq!(status["Umask"], "0022");
        // What is configured; of the rest, which is the supervisor's, that of descriptors as it was before the
        // core raised it for itself.
        let told = ["Max file size", "Max core file size", "Max stack size", "Max open files"].map(|of| limit(pid, of));
        let [fsize, core, stack, nofile] = told.each_ref().map(|[soft, hard]| (soft.as_str(), hard.as_str()));
        assert_eq!(nofile.0, "5000", "{name}");
        if name == "victim" {
            assert_eq!((fsize, core, stack), (("4096", "8000"), ("0", "0"), ("1000000", "2000000")));
        } else {
            assert_eq!((fsize, core.0), (("8192", "8192"), "unlimited"));
        }
        assert_eq!(status["NoNewPrivs"], "1");
        assert_eq!(capability_sets(pid), [NONE; 5]);
        // The loader still has a library open for a moment.
        eventually("it has three descriptors", || {
            let open = proc::descriptors(pid);
            (open.keys().copied().collect::<Vec<_>>() == [0, 1, 2] && open[&0] == "/dev/null").then_some(())
        });
        let expected = [
            "HOME",
            "LOGNAME",
            "PATH",
            "SHELL",
            "TASKMASTER_INSTANCE",
            "TASKMASTER_PROCESS",
            "TASKMASTER_PROGRAM",
            "USER",
        ];
        let shells_own = ["PWD", "SHLVL", "_", "OLDPWD"];
        // The talker executes once more by itself: what is read in that moment is not whole.
        eventually("the environment is exactly what it should be", || {
            let environment = proc::environ(pid);
            let names = environment.keys().map(String::as_str).filter(|name| !shells_own.contains(name));
            names.eq(expected).then_some(())
        });
        assert_eq!(proc::cwd(pid), Path::new("/"));
        assert_eq!(proc::stat(pid)[4], "0", "no terminal");
        assert_eq!(proc::stat(pid)[3], pid.to_string(), "its own session");
    }
    // 108 894 bytes: far more than the starter's limit lets a file have. With the right to raise it the
    // logger does; without, what does not fit is dropped and told, and nobody dies of SIGXFSZ.
    if proc::has_capability(24) {
        eventually("all is written", || (supervisor.read("log/talker.stdout.log").len() == 108_894).then_some(()));
    } else {
        supervisor.wait_for_recent("output is dropped", |event| {
            event["kind"] == "output.dropped" && event["errno"] == nix::errno::Errno::EFBIG as i32
        });
    }
    let restarted = |event: &serde_json::Value| event["kind"] == "worker.restarted";
    assert!(!supervisor.recent_events().iter().any(restarted), "{:?}", supervisor.recent_events());
}

fn groups() {
    let first = Account::group("tm-test-one");
    let second = Account::group("tm-test-two");
    let alice = Account::user("tm-test-alice", &["-G", "tm-test-one,tm-test-two"]);
    let bob = Account::user("tm-test-bob", &[]);
    let zero = Account::user("tm-test-zero", &["-g", "0", "-N"]);
    let many: Vec<Account> = (0..70).map(|n| Account::group(&format!("tm-test-many{n}"))).collect();
    let names: Vec<&str> = many.iter().map(|group| group.name.as_str()).collect();
    let member = Account::user("tm-test-member", &["-G", &names.join(",")]);
    let program = |name: &str, more: &str| format!("[programs.{name}]\ncmd = \"sleep 1000\"\nstarttime = 0\n{more}\n");
    // The number of a group that there is no more, as an account of a directory service can have it.
    let lost = Account::group("tm-test-lost");
    let orphan = Account::user("tm-test-orphan", &["-g", "tm-test-lost", "-N"]);
    Account::change("groupdel", &["-f", &lost.name]);
    assert_eq!((orphan.gid(), nix::unistd::Group::from_name(&lost.name)), (lost.id, Ok(None)));
    let supervisor = Supervisor::start(
        &[
            program("alice", "user = \"tm-test-alice\""),
            program("bob", "user = \"tm-test-bob\""),
            program("zero", "user = \"tm-test-zero\""),
            program("orphan", "user = \"tm-test-orphan\""),
            program("member", "user = \"tm-test-member\""),
            program("none", "user = \"tm-test-alice\"\ngroups = []"),
            program("some", "user = \"tm-test-alice\"\ngroup = \"tm-test-two\"\ngroups = [54321]"),
            program("number", "user = 54322\ngroup = 54323"),
        ]
        .concat(),
    );
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    let of = |name: &str| -> (Vec<u32>, Vec<u32>, BTreeSet<u32>) {
        let pid = supervisor.pid_of(name);
        let list = proc::status(pid)["Groups"].split_whitespace().map(|gid| gid.parse().expect("a gid")).collect();
        (proc::ids(pid, "Uid"), proc::ids(pid, "Gid"), list)
    };
    let set = |ids: &[u32]| ids.iter().copied().collect::<BTreeSet<u32>>();
    assert_eq!(of("alice"), (vec![alice.id; 4], vec![alice.gid(); 4], set(&[alice.gid(), first.id, second.id])));
    assert_eq!(of("bob"), (vec![bob.id; 4], vec![bob.gid(); 4], set(&[bob.gid()])));
    assert_eq!(of("zero"), (vec![zero.id; 4], vec![0; 4], set(&[0])));
    assert_eq!(of("orphan"), (vec![orphan.id; 4], vec![lost.id; 4], set(&[lost.id])), "a gid without an entry");
    let (_, _, list) = of("member");
    let mut expected: BTreeSet<u32> = many.iter().map(|group| group.id).collect();
    expected.insert(member.gid());
    assert_eq!(list, expected, "more than 64 groups");
    assert_eq!(of("none"), (vec![alice.id; 4], vec![alice.gid(); 4], set(&[alice.gid()])));
    assert_eq!(of("some"), (vec![alice.id; 4], vec![second.id; 4], set(&[second.id, 54321])));
    assert_eq!(of("number"), (vec![54322; 4], vec![54323; 4], set(&[54323])));
}

fn changed_account() {
    let account = Account::user("tm-test-changing", &[]);
    let supervisor = Supervisor::start(
        "[programs.one]\ncmd = \"sleep 1000\"\nuser = \"tm-test-changing\"\nstarttime = 0\nstartretries = 0\n",
    );
    supervisor.wait_for_state("one", "RUNNING");
    let first = supervisor.pid_of("one");
    assert_eq!(proc::ids(first, "Uid"), [account.id; 4]);
    let renumbered = account.id + 7000;
    supervisor.ctl(&["stop", "one"]);
    Account::change("usermod", &["-u", &renumbered.to_string(), &account.name]);
    assert_eq!(supervisor.ctl(&["start", "one"]).code, 0);
    assert_eq!(proc::ids(supervisor.pid_of("one"), "Uid"), [renumbered; 4]);
    supervisor.ctl(&["stop", "one"]);
    drop(account);
    assert_eq!(supervisor.ctl(&["start", "one"]).code, 1);
    let failed = supervisor.wait_for_event("the failed start", |event| event["kind"] == "process.start_failed");
    assert_eq!((&failed["stage"], &failed["process"]), (&"account".into(), &"one".into()));
    assert!(failed["message"].as_str().is_some_and(|text| text.contains("tm-test-changing: no such user")), "{failed}");
}

fn capabilities() {
    let server = "cmd = [\"python3\", \"-c\", \"import socket,time; s=socket.socket(); s.bind(('127.0.0.1', 82)); print('bound', flush=True); time.sleep(1000)\"]";
    let supervisor = Supervisor::start(&format!(
        "[defaults]\nstarttime = 0\ncmd = \"sleep 1000\"\n\
         [programs.plain]\nuser = \"nobody\"\n\
         [programs.server]\n{server}\nuser = \"nobody\"\ncapabilities = [\"CAP_NET_BIND_SERVICE\"]\n\
         [programs.wider]\nuser = \"nobody\"\ncapabilities = [\"CAP_KILL\"]\ncapability_bounding = [\"CAP_KILL\", \"CAP_CHOWN\"]\n\
         [programs.root]\nuser = \"root\"\ncapabilities = [\"CAP_KILL\"]\n\
         [programs.rootless]\nuser = \"root\"\ncapability_bounding = []\n"
    ));
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    eventually("the low port is bound", || (supervisor.read("log/server.stdout.log") == "bound\n").then_some(()));
    let sets = |name: &str| capability_sets(supervisor.pid_of(name));
    assert_eq!(sets("plain"), [NONE; 5]);
    assert_eq!(sets("server"), ["0000000000000400"; 5]);
    let kill = "0000000000000020";
    assert_eq!(sets("wider"), [kill, kill, kill, "0000000000000021", kill]);
    assert_eq!(sets("root"), [kill, kill, kill, kill, NONE]);
    assert_eq!(sets("rootless"), [NONE; 5]);
}

fn strangers() {
    let account = nix::unistd::User::from_name("taskmaster-log").expect("a database");
    let uid = account.map_or(64_710, |user| user.uid.as_raw());
    let mut command = Command::new("sleep");
    std::os::unix::process::CommandExt::uid(command.arg("1000"), uid);
    let mut stranger = command.spawn().expect("it starts");
    let supervisor = Supervisor::start("[programs.one]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\n");
    supervisor.wait_for_state("one", "RUNNING");
    let words = format!(
        "taskmasterd: warning: the process {} (sleep) runs as uid {uid}, as the logger will: give that an account taskmaster-log\n",
        stranger.id()
    );
    let console = supervisor.read("console");
    stranger.kill().expect("it runs");
    stranger.wait().expect("it ends");
    assert!(console.contains(&words), "{console}");
    assert!(!console.contains("(taskmaster"), "workers of a supervisor are none: {console}");
}

/// Says which session keyring it has, what it finds in it under a name, and which keys it sees at all. The
/// number of the system call comes as an argument.
const READ_KEYRING: &str = "
import ctypes, sys, time
libc = ctypes.CDLL(None, use_errno=True)
call, session = int(sys.argv[1]), ctypes.c_long(-3)
serial = libc.syscall(ctypes.c_long(call), ctypes.c_long(0), session, ctypes.c_long(0))
found = libc.syscall(ctypes.c_long(call), ctypes.c_long(10), session, b'user', b'tm-test-key', ctypes.c_long(0))
secret = ctypes.create_string_buffer(100)
if found > 0:
    libc.syscall(ctypes.c_long(call), ctypes.c_long(11), ctypes.c_long(found), secret, ctypes.c_long(100))
sees = 'tm-test-key' in open('/proc/keys').read()
print(serial, secret.value.decode() or 'nothing', sees, flush=True)
time.sleep(1000)
";

/// Read by the program itself: no other process can see a session keyring.
fn keyring() {
    let program = |name: &str, settings: &str| {
        format!(
            "[programs.{name}]\ncmd = [\"python3\", \"@dir@/read\", \"{}\"]\nstarttime = 0\n{settings}\n",
            libc::SYS_keyctl
        )
    };
    let mut supervisor = Supervisor::prepare(
        &[
            program("other", "user = \"nobody\""),
            program("another", "user = \"nobody\""),
            program("root", "user = \"root\"\nkeyring = \"private\""),
            program("heir", "user = \"nobody\"\nkeyring = \"inherit\""),
        ]
        .concat(),
    );
    std::fs::write(supervisor.path("read"), READ_KEYRING).expect("writes");
    std::fs::set_permissions(supervisor.path("read"), std::fs::Permissions::from_mode(0o644)).expect("chmod");
    let join = || {
        const JOIN_SESSION_KEYRING: libc::c_int = 1;
        const SESSION_KEYRING: libc::c_int = -3;
        let secret = b"secret";
        // SAFETY: no name, an anonymous keyring.
        let joined = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
        nix::errno::Errno::result(joined)?;
        let (kind, name) = (c"user".as_ptr(), c"tm-test-key".as_ptr());
        // SAFETY: two names that end in NUL, and as many bytes as are said.
        let added =
            unsafe { libc::syscall(libc::SYS_add_key, kind, name, secret.as_ptr(), secret.len(), SESSION_KEYRING) };
        nix::errno::Errno::result(added).map(drop)?;
        Ok(())
    };
    // SAFETY: the closure makes two system calls.
    supervisor.launch_with(|command| unsafe {
        std::os::unix::process::CommandExt::pre_exec(command, join);
    });
    let said = |name: &str| {
        let log = eventually("it has spoken", || {
            Some(supervisor.read(&format!("log/{name}.stdout.log"))).filter(|text| text.ends_with('\n'))
        });
        let words: Vec<String> = log.split_whitespace().map(str::to_owned).collect();
        let [serial, rest @ ..] = words.as_slice() else { panic!("{log}") };
        assert!(serial.parse::<i32>().is_ok_and(|serial| serial > 0), "{log}");
        (serial.clone(), rest.join(" "))
    };
    let [other, another, root, heir] = ["other", "another", "root", "heir"].map(said);
    // That it is there to be found is seen by whoever keeps the keyring.
    assert_eq!(heir.1, "secret True");
    for own in [&other, &another] {
        assert_eq!(own.1, "nothing False");
    }
    // Root sees that there is such a key, as the owner of it, and does not hold it.
    assert!(root.1.starts_with("nothing "), "{root:?}");
    let serials = BTreeSet::from([&other.0, &another.0, &root.0, &heir.0]);
    assert_eq!(serials.len(), 4, "each has its own");
}

/// A copy of `id` that belongs to root and is setuid.
fn setuid() {
    let mut supervisor = Supervisor::prepare(
        "[defaults]\nstarttime = 0\nautorestart = \"never\"\nuser = \"nobody\"\n\
         [programs.default]\ncmd = \"@dir@/id -u\"\n\
         [programs.allowed]\ncmd = \"@dir@/id -u\"\nno_new_privileges = false\n\
         [programs.powerless]\ncmd = [\"@dir@/id\", \"-u\"]\nno_new_privileges = false\ncapability_bounding = []\n",
    );
    let copy = supervisor.path("id");
    std::fs::copy("/usr/bin/id", &copy).expect("a copy");
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o4755)).expect("chmod");
    supervisor.launch();
    supervisor.wait_until("all are over", |all| all.iter().all(|process| process["state"] == "EXITED"));
    let said = |name: &str| {
        eventually("it has spoken", || {
            Some(supervisor.read(&format!("log/{name}.stdout.log"))).filter(|text| text.ends_with('\n'))
        })
    };
    assert_eq!(said("default").trim(), "65534");
    // Asked for: then the uid changes; what it can do stays within the bounding set.
    assert_eq!(said("allowed").trim(), "0");
    assert_eq!(said("powerless").trim(), "0");
}

fn scheduling() {
    let supervisor = Supervisor::start(
        "[programs.one]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\nnice = 7\noom_score_adj = 300\n\
         cpu_affinity = [0]\nioprio = \"idle\"\nmdwe = true\nlimits = { nofile = 77, core = 0, nproc = [50, 60] }\n",
    );
    supervisor.wait_for_state("one", "RUNNING");
    let pid = supervisor.pid_of("one");
    assert_eq!(proc::stat(pid)[16], "7");
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    assert_eq!(read("oom_score_adj").trim(), "300");
    assert_eq!(proc::status(pid)["Cpus_allowed_list"], "0");
    assert_eq!(limit(pid, "Max open files"), ["77", "77"]);
    assert_eq!(limit(pid, "Max core file size"), ["0", "0"]);
    assert_eq!(limit(pid, "Max processes"), ["50", "60"]);
    let idle = Command::new("ionice").arg("-p").arg(pid.to_string()).output().expect("ionice");
    assert_eq!(String::from_utf8_lossy(&idle.stdout).trim(), "idle");
}

/// The program's own directory, in which its user swaps the log file for a link to a file of root's, over
/// and over, while the log is opened, rotated and reopened.
fn swapped_link() {
    let mut supervisor = Supervisor::prepare(
        "[programs.one]\ncmd = [\"sh\", \"-c\", 'while :; do echo 0123456789012345678901234567890123456789; sleep 0.001; done']\n\
         user = \"nobody\"\nstarttime = 0\nstdout = \"@dir@/theirs/log\"\nstderr = \"discard\"\nlog_maxbytes = \"1KB\"\nlog_backups = 2\n\
         startretries = 1000000\nbackoff = { initial = \"5ms\", step = 0 }\n\
         [programs.many]\ncmd = \"sleep 1000\"\nnumprocs = 20\nuser = \"nobody\"\nstarttime = 0\nstderr = \"discard\"\n\
         stdout = \"@dir@/theirs/log-${instance}\"\nstartretries = 1000000\nbackoff = { initial = \"5ms\", step = 0 }\n",
    );
    let theirs = supervisor.path("theirs");
    std::fs::create_dir(&theirs).expect("mkdir");
    std::os::unix::fs::chown(&theirs, Some(65534), Some(65534)).expect("chown");
    let victim = supervisor.path("victim");
    std::fs::write(&victim, "precious").expect("write");
    std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let link = theirs.join("link");
            // A file is opened at the start of the first that writes to it: each of the many has its own.
            let logs: Vec<_> = (0..20).map(|n| theirs.join(format!("log-{n}"))).chain([theirs.join("log")]).collect();
            while !stop.load(Ordering::Relaxed) {
                for log in &logs {
                    let _ = std::os::unix::fs::symlink(&victim, &link);
                    let _ = std::fs::rename(&link, log);
                }
                std::thread::yield_now();
                for log in &logs {
                    let _ = std::fs::remove_file(log);
                }
            }
        });
        supervisor.launch();
        for _ in 0..40 {
            supervisor.ctl(&["reopen"]);
            supervisor.ctl(&["restart", "--no-wait", "one"]);
            supervisor.ctl(&["status"]);
        }
        let failed = supervisor.recent_events().iter().filter(|event| event["kind"] == "process.start_failed").count();
        stop.store(true, Ordering::Relaxed);
        assert!(failed > 0, "some starts have met a link");
    });
    assert_eq!(std::fs::read_to_string(&victim).expect("read"), "precious");
    let meta = std::fs::metadata(&victim).expect("stat");
    assert_eq!((meta.uid(), meta.mode() & 0o7777, meta.nlink()), (0, 0o600, 1));
    for entry in std::fs::read_dir(&theirs).expect("a directory") {
        let meta = entry.expect("an entry").path().symlink_metadata().expect("stat");
        assert!(meta.is_symlink() || meta.uid() == 65534, "nothing here was made as root");
    }
    assert_eq!(supervisor.ctl(&["version"]).code, 0);
}

fn env_file() {
    let mut supervisor = Supervisor::prepare(
        "[programs.one]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\nenv_file = \"@dir@/variables\"\n\
         env = { BOTH = \"config\" }\n",
    );
    std::fs::write(supervisor.path("variables"), "# of the package\nONLY='a b'\nBOTH=file\n").expect("write");
    supervisor.launch();
    supervisor.wait_for_state("one", "RUNNING");
    let environment = proc::environ(supervisor.pid_of("one"));
    assert_eq!((environment["ONLY"].as_str(), environment["BOTH"].as_str()), ("a b", "config"));
    // Part of the configuration: judged like it.
    std::fs::set_permissions(supervisor.path("variables"), std::fs::Permissions::from_mode(0o666)).expect("chmod");
    let refused = supervisor.ctl(&["reload"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("env_file") && refused.stderr.contains("written by others"), "{}", refused.stderr);
}
