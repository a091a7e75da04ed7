//! A kernel that refuses a step of a start, or says that it has done what it has not: the program must not
//! run, and the reason must be told.
//!
//! The part of such a kernel is played by a seccomp filter. It is put on a spawner that takes the place of
//! the first: the workers run by then, and only the programs are met. What a filter cannot do is to lie
//! about what is *read*; a kernel whose every answer is a lie cannot be caught.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use serde_json::json;

use crate::support::supervisor::TASKMASTERD;
use crate::support::{Need, Supervisor, eventually, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("a step of the start that the kernel refuses is the end of the start", &[Need::Root], refused),
        test("a step of the start that the kernel only pretends is the end of the start", &[Need::Root], pretended),
        test(
            "where all keys are denied only who asks for a keyring of its own does not run",
            &[Need::Root],
            no_keyrings,
        ),
        test("a spawner that makes no sense costs the starts that it was asked for", &[Need::Root], nonsense),
        test("a supervisor that cannot become anybody runs nothing", &[Need::Root], nobody_at_all),
    ]
}

/// Which calls are not made, by number and by the values that some arguments (counted from 0) have or, with
/// `false`, have not.
#[derive(Clone, Copy)]
struct Calls(libc::c_long, &'static [(u8, bool, u64)]);

impl Calls {
    const fn all(number: libc::c_long) -> Self {
        Self(number, &[])
    }

    const fn control(option: &'static [(u8, bool, u64)]) -> Self {
        Self(libc::SYS_prctl, option)
    }

    /// As a spawner finds it in a file.
    fn written(self, errno: Errno) -> String {
        let conditions = self.1.iter().map(|(index, equal, value)| format!(" {index} {equal} {value}"));
        format!("{} {}{}", self.0, errno as i32, conditions.collect::<String>())
    }
}

/// The filter that is written so.
fn filter(written: &str) -> BpfProgram {
    let mut words = written.split_whitespace();
    let mut number = || words.next().map(|word| word.parse::<i64>().expect("a number"));
    let (call, errno) = (number().expect("a call"), number().expect("an errno"));
    let words: Vec<&str> = words.collect();
    let conditions: Vec<SeccompCondition> = words
        .chunks(3)
        .map(|words| {
            let operator = if words[1] == "true" { SeccompCmpOp::Eq } else { SeccompCmpOp::Ne };
            let value = words[2].parse().expect("a value");
            let index = words[0].parse().expect("an index");
            SeccompCondition::new(index, SeccompCmpArgLen::Qword, operator, value).expect("a condition")
        })
        .collect();
    let rules = match conditions.as_slice() {
        [] => Vec::new(),
        _ => vec![SeccompRule::new(conditions).expect("a rule")],
    };
    let answer = SeccompAction::Errno(u32::try_from(errno).expect("an errno"));
    let architecture = TargetArch::try_from(std::env::consts::ARCH).expect("a known machine");
    let filter = SeccompFilter::new(BTreeMap::from([(call, rules)]), SeccompAction::Allow, answer, architecture);
    BpfProgram::try_from(filter.expect("a filter")).expect("a program")
}

/// Puts a filter on the calling process: by itself, because seccompiler would set no_new_privs with it.
fn install(filter: &BpfProgram) -> Result<(), Errno> {
    const SET_MODE_FILTER: libc::c_uint = 1;
    #[repr(C)]
    struct Program {
        length: libc::c_ushort,
        instructions: *const seccompiler::sock_filter,
    }
    let length = libc::c_ushort::try_from(filter.len()).map_err(|_| Errno::E2BIG)?;
    let program = Program { length, instructions: filter.as_ptr() };
    // SAFETY: the program is as the kernel has it, and readable for its length for the whole call.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const program) };
    Errno::result(result).map(drop)
}

const SPAWNER: &str = "taskmaster-spawner";
/// Beside the played spawner: the calls that the next one does not make.
const LIE: &str = "lie";
/// Or what the next one says instead of doing its work.
const SAYS: &str = "says";
/// The real one.
const REAL: &str = "real/taskmaster-spawner";
/// A descriptor that nobody has closed, as of a starter or a library that was careless.
const LEAKED: i32 = 40;

/// Whether this is not a test, but a spawner that one of them has put in the place of the real one.
pub fn spawner_to_play() -> Option<PathBuf> {
    let is_it = std::env::args().next().is_some_and(|name| name == SPAWNER);
    is_it.then(|| std::fs::read_link("/proc/self/exe").ok()).flatten()
}

/// Becomes the real spawner, with the filter if there is one.
pub fn play_spawner(executable: &Path) {
    let open = nix::fcntl::open("/etc/passwd", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).expect("a file");
    fcntl(&open, FcntlArg::F_DUPFD(LEAKED)).expect("a descriptor");
    if let Ok(lie) = std::fs::read_to_string(executable.with_file_name(LIE)) {
        install(&filter(&lie)).expect("a filter");
    }
    if let Ok(says) = std::fs::read_to_string(executable.with_file_name(SAYS)) {
        return crate::sandbox::say(&says);
    }
    let real = executable.with_file_name(REAL);
    let path = CString::new(real.as_os_str().as_encoded_bytes()).expect("a path");
    // Not by `Command`: that would let the signals through that the core has blocked.
    let Err(error) = nix::unistd::execve(&path, &[CString::new(SPAWNER).expect("a name")], &[] as &[CString]);
    panic!("{}: {error}", real.display());
}

/// Every setting that is a step of a start.
const PROGRAMS: &str = "[defaults]\n\
    cmd = [\"sh\", \"-c\", 'echo ran > @dir@/theirs/${program}; exec sleep 1000']\n\
    user = \"nobody\"\nstarttime = 0\nstartretries = 0\nautostart = false\nautorestart = \"never\"\n\
    workingdir = \"@dir@/theirs\"\numask = \"000\"\nlimits = { core = 0, nofile = 64 }\nnice = 5\nioprio = \"idle\"\n\
    cpu_affinity = [0]\nmdwe = true\nstdout = \"@dir@/theirs/log\"\n\
    [programs.plain]\nstderr = \"discard\"\n[programs.able]\nstderr = \"discard\"\ncapabilities = [\"CAP_NET_BIND_SERVICE\"]\n[programs.seen]\ntty = true\n";

fn prepared() -> Supervisor {
    let supervisor = Supervisor::prepare(PROGRAMS);
    supervisor.subdirectory("theirs", 0o755, "nobody");
    supervisor
}

/// A supervisor whose next spawner has the filter that is in its place.
struct Stage(Supervisor);

impl Stage {
    fn new() -> Self {
        let mut supervisor = prepared();
        supervisor.subdirectory_of_own("bin");
        supervisor.subdirectory_of_own("bin/real");
        let place = |name: &str| supervisor.path("bin").join(name);
        for name in ["taskmasterd", "taskmaster-logger", "taskmaster-notifier"] {
            crate::sandbox::put(&crate::sandbox::beside(TASKMASTERD, name), &place(name));
        }
        crate::sandbox::put(&crate::sandbox::beside(TASKMASTERD, SPAWNER), &place(REAL));
        crate::sandbox::put(&std::env::current_exe().expect("this test"), &place(SPAWNER));
        let program = place("taskmasterd");
        supervisor.launch_program(&program, |_| {});
        // Nothing is filtered but what starts from here on.
        for worker in ["logger", "notifier"] {
            let pid = supervisor.helper(worker);
            eventually("it is confined", || (proc::status(pid)["Seccomp"] == "2").then_some(()));
        }
        Self(supervisor)
    }

    /// Replaces the spawner.
    fn set(&self, file: &str, content: Option<&str>) {
        let place = self.0.path("bin").join(file);
        match content {
            Some(content) => std::fs::write(place, content).expect("a file"),
            None => std::fs::remove_file(place).expect("a file"),
        }
        if let Some(spawner) = self.0.helper_now("spawner") {
            proc::kill(spawner, 9);
            eventually("the core knows that it has no spawner", || {
                (!proc::children(self.0.pid()).contains(&spawner)).then_some(())
            });
        }
    }

    /// Starts a program and sees it run, with nothing that it should not have.
    #[track_caller]
    fn assert_runs(&self, name: &str, what: &str) {
        let started = self.0.ctl(&["start", name]);
        assert_eq!(started.code, 0, "{what}: {started:?}");
        let pid = self.0.pid_of(name);
        eventually("it has run", || std::fs::exists(self.0.path("theirs").join(name)).ok()?.then_some(()));
        let status = proc::status(pid);
        let expected = if name == "able" { "0000000000000400" } else { "0000000000000000" };
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status[set], expected, "{what}: {set}");
        }
        assert_eq!((&*status["NoNewPrivs"], proc::ids(pid, "Uid")), ("1", vec![65534; 4]), "{what}");
        assert!(!proc::descriptors(pid).contains_key(&LEAKED), "{what}");
        assert_eq!(self.0.ctl(&["stop", name]).code, 0);
        std::fs::remove_file(self.0.path("theirs").join(name)).expect("its mark");
    }

    /// Starts a program and sees that it does not run, for this reason.
    #[track_caller]
    fn assert_refused(&self, name: &str, stage: &str, what: &str) {
        self.assert_refused_with(name, stage, Errno::EPERM, what);
    }

    #[track_caller]
    fn assert_refused_with(&self, name: &str, stage: &str, errno: Errno, what: &str) {
        let since = self.0.recent_events().last().map_or(0, |event| event["seq"].as_u64().expect("a number"));
        let started = self.0.ctl(&["start", name]);
        assert_eq!(started.code, 1, "{what}: {started:?}");
        let events = self.0.call("Events", json!({ "since": since }));
        let failed = events["parameters"]["events"].as_array().into_iter().flatten();
        let failed: Vec<_> = failed.filter(|event| event["kind"] == "process.start_failed").collect();
        assert_eq!(failed.len(), 1, "{what}: {events}");
        assert_eq!(failed[0]["stage"], stage, "{what}: {}", failed[0]);
        if stage != "spawner" {
            assert_eq!(failed[0]["errno"], errno as i32, "{what}: {}", failed[0]);
            let words = format!("{}", failed[0]["message"]);
            assert!(words.contains(errno.desc()) || words.contains("denied"), "{what}: {words}");
        }
        assert_eq!(self.0.state(name), "FATAL", "{what}");
        assert!(!self.0.path("theirs").join(name).exists(), "{what}: it has run");
    }
}

/// What is not done, by which program it is met, and the stage at which its start ends; none where the
/// kernel's lie changes nothing.
type Case = (&'static str, Calls, &'static str, Option<&'static str>);

const DUMPABLE: Calls = Calls::control(&[(0, true, libc::PR_SET_DUMPABLE as u64)]);
const BOUNDING: Calls = Calls::control(&[(0, true, libc::PR_CAPBSET_DROP as u64)]);
const NO_NEW_PRIVILEGES: Calls = Calls::control(&[(0, true, libc::PR_SET_NO_NEW_PRIVS as u64)]);
const SECURE_BITS: Calls = Calls::control(&[(0, true, libc::PR_SET_SECUREBITS as u64)]);
const KEEP: Calls = Calls::control(&[(0, true, libc::PR_SET_KEEPCAPS as u64), (1, true, 1)]);
const KEEP_NO_MORE: Calls = Calls::control(&[(0, true, libc::PR_SET_KEEPCAPS as u64), (1, true, 0)]);
const AMBIENT_RAISE: Calls =
    Calls::control(&[(0, true, libc::PR_CAP_AMBIENT as u64), (1, true, libc::PR_CAP_AMBIENT_RAISE as u64)]);
const AMBIENT_CLEAR: Calls =
    Calls::control(&[(0, true, libc::PR_CAP_AMBIENT as u64), (1, true, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64)]);
const DEATH_SIGNAL: Calls = Calls::control(&[(0, true, libc::PR_SET_PDEATHSIG as u64)]);
const MDWE: Calls = Calls::control(&[(0, true, 65)]);
/// Not those that only read, where the same call does both.
const SET_LIMIT: Calls = Calls(libc::SYS_prlimit64, &[(2, false, 0)]);
const SET_MASK: Calls = Calls(libc::SYS_rt_sigprocmask, &[(1, false, 0)]);
const JOIN_KEYRING: Calls = Calls(libc::SYS_keyctl, &[(0, true, 1)]);

/// The same for a refusal and for a lie.
const BOTH: [Case; 25] = [
    ("the user", Calls::all(libc::SYS_setresuid), "plain", Some("user")),
    ("the user of one with capabilities", Calls::all(libc::SYS_setresuid), "able", Some("user")),
    ("the group", Calls::all(libc::SYS_setresgid), "plain", Some("groups")),
    ("the groups", Calls::all(libc::SYS_setgroups), "plain", Some("groups")),
    ("the capabilities", Calls::all(libc::SYS_capset), "able", Some("capabilities")),
    ("the bounding set", BOUNDING, "plain", Some("bounding")),
    ("the secure bits", SECURE_BITS, "plain", Some("bounding")),
    ("keeping capabilities", KEEP, "able", Some("bounding")),
    ("ambient capabilities", AMBIENT_RAISE, "able", Some("capabilities")),
    ("no new privileges", NO_NEW_PRIVILEGES, "plain", Some("no_new_privs")),
    ("descriptors", Calls::all(libc::SYS_close_range), "plain", Some("descriptors")),
    ("limits", SET_LIMIT, "plain", Some("limits")),
    ("the umask", Calls::all(libc::SYS_umask), "plain", Some("umask")),
    ("the session", Calls::all(libc::SYS_setsid), "plain", Some("session")),
    ("the directory", Calls::all(libc::SYS_chdir), "plain", Some("chdir")),
    ("processors", Calls::all(libc::SYS_sched_setaffinity), "plain", Some("priority")),
    ("nice", Calls::all(libc::SYS_setpriority), "plain", Some("priority")),
    ("disk access", Calls::all(libc::SYS_ioprio_set), "plain", Some("priority")),
    ("the keyring", JOIN_KEYRING, "plain", Some("keyring")),
    ("the death signal", DEATH_SIGNAL, "plain", Some("deathsig")),
    ("the owner of the pipe", Calls::all(libc::SYS_fchown), "plain", Some("stdio")),
    ("the owner of the terminal", Calls::all(libc::SYS_fchown), "seen", Some("tty")),
    ("the mode of the terminal", Calls::all(libc::SYS_fchmod), "seen", Some("tty")),
    ("the controlling terminal", Calls(libc::SYS_ioctl, &[(1, true, libc::TIOCSCTTY)]), "seen", Some("tty")),
    // The spawner itself, before it serves anybody.
    ("dumping", DUMPABLE, "plain", Some("spawner")),
];

const REFUSED: [Case; 6] = [
    ("capabilities of one without", Calls::all(libc::SYS_capset), "plain", Some("capabilities")),
    ("no ambient capabilities", AMBIENT_CLEAR, "plain", Some("capabilities")),
    ("keeping capabilities no more", KEEP_NO_MORE, "plain", Some("capabilities")),
    ("executable memory", MDWE, "plain", Some("mdwe")),
    // Already before the clone.
    ("the signal mask", SET_MASK, "plain", Some("clone")),
    ("a signal's disposition", Calls(libc::SYS_rt_sigaction, &[(0, true, 1)]), "plain", Some("signals")),
];

const PRETENDED: [Case; 9] = [
    // The kernel itself takes all sets but the inheritable one at the change of user, and that was empty.
    ("capabilities of one without", Calls::all(libc::SYS_capset), "plain", None),
    // The same for the ambient set.
    ("no ambient capabilities", AMBIENT_CLEAR, "plain", None),
    // Where they were never kept, there is nothing to keep no more.
    ("keeping capabilities no more", KEEP_NO_MORE, "plain", None),
    ("keeping capabilities for ever", KEEP_NO_MORE, "able", Some("capabilities")),
    ("executable memory", MDWE, "plain", Some("mdwe")),
    ("the signal mask", SET_MASK, "plain", Some("signals")),
    // Here also what is read is not what is.
    ("the signal mask and its reading", Calls::all(libc::SYS_rt_sigprocmask), "plain", Some("signals")),
    ("limits and their reading", Calls::all(libc::SYS_prlimit64), "plain", Some("limits")),
    // SIGPIPE, which every Rust program ignores.
    ("a signal's disposition", Calls(libc::SYS_rt_sigaction, &[(0, true, 13)]), "plain", Some("signals")),
];

fn refused() {
    play(Errno::EPERM, &REFUSED);
}

fn pretended() {
    // 0: what a call returns that has done its work.
    play(Errno::from_raw(0), &PRETENDED);
}

fn play(errno: Errno, more: &[Case]) {
    let stage = Stage::new();
    let honest = |what| ["plain", "able", "seen"].iter().for_each(|name| stage.assert_runs(name, what));
    honest("before");
    for (what, calls, program, ends_at) in BOTH.iter().chain(more) {
        stage.set(LIE, Some(&calls.written(errno)));
        match ends_at {
            Some(ends_at) => stage.assert_refused(program, ends_at, what),
            None => stage.assert_runs(program, what),
        }
    }
    stage.set(LIE, None);
    honest("afterwards");
}

/// As containers do: nobody in there can use a key. Whoever asks for a keyring of its own is not deceived.
fn no_keyrings() {
    let stage = Stage::new();
    let path = stage.0.config();
    let settings = std::fs::read_to_string(&path).expect("it is there");
    let asked = settings.replace("[programs.plain]", "[programs.plain]\nkeyring = \"private\"");
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        stage.set(LIE, Some(&Calls::all(libc::SYS_keyctl).written(errno)));
        stage.assert_runs("plain", "nobody has asked");
        std::fs::write(&path, &asked).expect("writes");
        assert_eq!(stage.0.ctl(&["reload"]).code, 0);
        if errno == Errno::EPERM || std::fs::exists("/proc/key-users").expect("it can be seen") {
            stage.assert_refused_with("plain", "keyring", errno, "keyrings");
            let told = stage.0.recent_events();
            let told = told.iter().rev().find(|event| event["kind"] == "process.start_failed").expect("it has failed");
            assert!(told["message"].as_str().is_some_and(|text| text.contains("a filter forbids keyctl(2)")), "{told}");
        } else {
            stage.assert_runs("plain", "a kernel that has none says so");
        }
        std::fs::write(&path, &settings).expect("writes");
        assert_eq!(stage.0.ctl(&["reload"]).code, 0);
    }
}

fn nonsense() {
    let stage = Stage::new();
    stage.assert_runs("plain", "before");
    let many = "0{\"cloned\":{\"ticket\":1,\"pid\":1}}\n".repeat(1000);
    let descriptors = format!("{}0{{\"cloned\":{{\"ticket\":1,\"pid\":1}}}}", "+".repeat(40));
    for says in ["junk", "1", "0", "0{\"cloned\":{\"ticket\":999999,\"pid\":1}}", &*many, &*descriptors] {
        stage.set(SAYS, Some(says));
        stage.assert_refused("plain", "spawner", says);
    }
    stage.0.wait_for_recent("why it was ended", |event| {
        event["message"].as_str().is_some_and(|text| {
            text.contains("the spawner was ended (a message that makes no sense: a message with 40")
        })
    });
    stage.set(SAYS, None);
    stage.assert_runs("plain", "afterwards");
}

/// The whole supervisor lives in such a world: not even the workers are started as who they should be.
fn nobody_at_all() {
    for errno in [Errno::EPERM, Errno::from_raw(0)] {
        let mut supervisor = prepared();
        let filter = filter(&Calls::all(libc::SYS_setresuid).written(errno));
        supervisor.launch_with(|command| {
            // SAFETY: the closure makes one system call; the filter was made before.
            unsafe { command.pre_exec(move || Ok(install(&filter)?)) };
        });
        let started = supervisor.ctl(&["start", "plain"]);
        assert_eq!(started.code, 1, "{started:?}");
        let failed = supervisor.wait_for_recent("the failed start", |event| event["kind"] == "process.start_failed");
        assert_eq!((&failed["stage"], &failed["errno"]), (&json!("user"), &json!(libc::EPERM)), "{failed}");
        let worker = supervisor.wait_for_recent("a worker that failed", |event| event["kind"] == "worker.restarted");
        assert!(worker["message"].to_string().contains("changing to the user"), "{worker}");
        assert!(!supervisor.path("theirs/plain").exists());
        for worker in ["logger", "notifier"] {
            assert_eq!(supervisor.helper_now(worker), None, "no {worker} runs as somebody else");
        }
    }
}
