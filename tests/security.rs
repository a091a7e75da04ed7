//! `security`: what it says of real processes, against what the kernel says of them; to whom, and while
//! they come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::account::Account;
use crate::support::peers::Who;
use crate::support::supervisor::TASKMASTERD;
use crate::support::terminal::Terminal;
use crate::support::{Ctl, Need, Supervisor, eventually, is_root, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("security says of each process what the kernel says", &[Need::Root], as_the_kernel),
        test("the boundary decides the exposure", &[Need::Root], exposure),
        test("a program that changed its user after its start is found", &[Need::Root], changed_user),
        test("a program in a group that it was not given is found", &[Need::Root], changed_group),
        test("a program that left its control group is found", &[Need::Root, Need::Cgroup2], left_group),
        test("a program that gets no control group runs and is told of once", &[Need::Root, Need::Cgroup2], no_group),
        test("a program that is not born in its control group is found", &[Need::Root, Need::Cgroup2], refused_group),
        test("who may write by a list of access rights or by root's group is told", &[Need::Root], access_lists),
        test("a user namespace of its own makes nobody powerful", &[Need::Root, Need::UserNamespaces], user_namespace),
        test("who can change what a program runs from is told as it was at its start", &[Need::Root], files),
        test("a program that does not run is judged by its configuration", &[], not_running),
        test("security without names is a line for each program", &[], overview),
        test("security of many processes comes in pages", &[], pages),
        test("security shows to whom it may what it may", &[Need::Root], permissions),
        test("security of programs that come and go is whole or none", &[], dying),
        test("the exit codes of security are those of the manual", &[], exit_codes),
        test("security works in the shell", &[], shell),
    ]
}

fn user() -> &'static str {
    if is_root() { "user = \"nobody\"\n" } else { "" }
}

fn sleeper(name: &str, settings: &str) -> String {
    format!("[programs.{name}]\ncmd = \"sleep 1000\"\nstarttime = 0\n{settings}\n")
}

fn start(programs: &str) -> Supervisor {
    let supervisor = Supervisor::start(programs);
    let settled = |process: &Value| process["uptime_seconds"].is_number() || process["wanted"] == "down";
    supervisor.wait_until("all run", |all| all.iter().all(settled));
    supervisor
}

/// `security --json` of one program.
#[track_caller]
fn program(supervisor: &Supervisor, name: &str) -> Value {
    let ctl = supervisor.ctl(&["security", "--json", name]);
    assert_eq!((ctl.code, ctl.stderr.as_str()), (0, ""), "{ctl:?}");
    let all: Vec<Value> = serde_json::from_str(&ctl.stdout).expect("an array");
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["program"], name);
    all[0].clone()
}

/// Its first process.
#[track_caller]
fn process(supervisor: &Supervisor, name: &str) -> Value {
    program(supervisor, name)["processes"][0].clone()
}

/// The checks that found something, and the key that mends each.
fn findings(process: &Value) -> BTreeMap<String, Value> {
    let checks = process["checks"].as_array().expect("checks");
    let found = checks.iter().filter(|check| check["badness"].as_u64() > Some(0));
    found.map(|check| (check["name"].as_str().expect("a name").to_owned(), check["key"].clone())).collect()
}

#[track_caller]
fn check(process: &Value, name: &str) -> Value {
    let checks = process["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {checks:#?}")).clone()
}

const CONFIGURATIONS: &str = "[programs.mighty]\ncmd = \"sleep 1000\"\nstarttime = 0\nuser = \"root\"\n\
     [programs.plain]\ncmd = \"sleep 1000\"\nstarttime = 0\nuser = \"nobody\"\n\
     [programs.port]\ncmd = \"sleep 1000\"\nstarttime = 0\nuser = \"nobody\"\ngroups = [54321, 54322]\n\
     capabilities = [\"CAP_NET_BIND_SERVICE\"]\nno_new_privileges = false\numask = \"077\"\n\
     limits = { nofile = [77, 99], core = 0, nproc = 50 }\n";

fn as_the_kernel() {
    let supervisor = start(CONFIGURATIONS);
    for name in ["mighty", "plain", "port"] {
        let pid = supervisor.pid_of(name);
        let told = process(&supervisor, name);
        assert_eq!(told["pid"], pid, "{name}");
        let (kernel, status) = (&told["kernel"], proc::status(pid));
        for (ids, field) in [("uid", "Uid"), ("gid", "Gid")] {
            let four = ["real", "effective", "saved", "filesystem"].map(|which| kernel[ids][which].as_u64());
            let expected: Vec<Option<u64>> = proc::ids(pid, field).into_iter().map(|id| Some(u64::from(id))).collect();
            assert_eq!(four.to_vec(), expected, "{name} {ids}");
        }
        let groups: Vec<String> = kernel["groups"].as_array().expect("groups").iter().map(Value::to_string).collect();
        assert_eq!(groups.join(" "), status["Groups"], "{name}");
        let sets = [
            ("effective", "CapEff"),
            ("permitted", "CapPrm"),
            ("inheritable", "CapInh"),
            ("bounding", "CapBnd"),
            ("ambient", "CapAmb"),
        ];
        for (set, field) in sets {
            let bits = u64::from_str_radix(&status[field], 16).expect("bits");
            let names = kernel["capabilities"][set].as_array().expect("names");
            assert_eq!(names.len(), bits.count_ones() as usize, "{name} {set}: {names:?}");
        }
        assert_eq!(kernel["no_new_privileges"], status["NoNewPrivs"] == "1", "{name}");
        let mode = ["disabled", "strict", "filter"][status["Seccomp"].parse::<usize>().expect("a mode")];
        assert_eq!(kernel["seccomp"], mode, "{name}");
        let umask = status["Umask"].trim_start_matches('0');
        assert_eq!(kernel["umask"].as_str().map(|text| text.trim_start_matches('0')), Some(umask), "{name}");
        assert_limits(&kernel["limits"], pid);
        let group = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a control group");
        let group = group.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned);
        assert_eq!(kernel["control_group"].as_str().map(str::to_owned), group, "{name}");
        assert_eq!(kernel["other_user_namespace"], false, "{name}");
        assert_eq!(told["granted"]["uid"], kernel["uid"]["real"], "{name}");
        assert_eq!(told["granted"]["gid"], kernel["gid"]["real"], "{name}");
        assert!(!told.to_string().contains("TASKMASTER_PROGRAM"), "no environment");
    }
    let port = process(&supervisor, "port");
    assert_eq!(port["kernel"]["capabilities"]["ambient"], json!(["CAP_NET_BIND_SERVICE"]));
    assert_eq!(port["granted"]["capabilities"], json!(["CAP_NET_BIND_SERVICE"]));
    assert_eq!(port["kernel"]["limits"]["nofile"], json!({ "soft": 77, "hard": 99 }));
    assert_eq!(program(&supervisor, "port")["settings"]["umask"], "077");
}

/// Every limit, as /proc/PID/limits has it.
#[track_caller]
fn assert_limits(told: &Value, pid: i64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let told = told.as_object().expect("limits");
    assert_eq!(told.len(), text.lines().count() - 1, "{told:?}");
    let titles = [("nofile", "Max open files"), ("core", "Max core file size"), ("as", "Max address space")];
    for (name, title) in titles {
        let line = text.lines().find_map(|line| line.strip_prefix(title)).expect("a line");
        let expected: Vec<Option<u64>> = line.split_whitespace().take(2).map(|word| word.parse().ok()).collect();
        assert_eq!(vec![told[name]["soft"].as_u64(), told[name]["hard"].as_u64()], expected, "{name}");
    }
}

fn exposure() {
    let supervisor = start(CONFIGURATIONS);
    let [mighty, plain, port] = ["mighty", "plain", "port"].map(|name| process(&supervisor, name));
    let score = |process: &Value| process["exposure"].as_f64().expect("a number");
    assert!(score(&mighty) > score(&port) && score(&port) > score(&plain), "{mighty} {port} {plain}");
    assert!(["UNSAFE", "DANGEROUS"].contains(&mighty["level"].as_str().expect("a word")), "{}", mighty["level"]);
    assert_eq!(plain["level"], "OK", "{}", plain["exposure"]);
    for (process, mends) in [(&mighty, "user"), (&mighty, "no_new_privileges"), (&port, "no_new_privileges")] {
        assert!(findings(process).values().any(|key| key == mends), "{mends}: {:?}", findings(process));
    }
    for process in [&mighty, &plain, &port] {
        assert_eq!(process["findings"], findings(process).len(), "{process}");
        assert!(process["checks"].as_array().expect("checks").iter().all(|check| check["mismatch"] == false));
    }
    let found = |process: &Value| findings(process).into_keys().collect::<BTreeSet<_>>();
    assert!(found(&port).contains("capability_ports") && !found(&plain).contains("capability_ports"));
    assert!(
        found(&mighty).contains("capability_administration") && !found(&port).contains("capability_administration")
    );
    assert!(!found(&port).contains("umask") && !found(&port).contains("core_dumps"));
    assert!(found(&plain).contains("shared_user"), "both run as nobody: {:?}", found(&plain));
    // What the text says is the same.
    assert!(found(&mighty).contains("environment") && !found(&port).contains("environment"));
    let text = supervisor.ctl(&["security", "port"]);
    assert_eq!(text.code, 0);
    let pid = supervisor.pid_of("port");
    for line in [
        format!("port  pid {pid}"),
        "  cap ambient       CAP_NET_BIND_SERVICE".to_owned(),
        "  no_new_privs      no".to_owned(),
        format!("Overall exposure of port: {:.1} {}", score(&port), port["level"].as_str().expect("a word")),
    ] {
        assert!(text.stdout.contains(&line), "{line}: {}", text.stdout);
    }
    assert!(!text.stdout.contains('\x1b'));
}

/// A copy of a program that belongs to root, with this mode.
fn copy_of(supervisor: &Supervisor, program: &str, name: &str, mode: u32) {
    std::fs::copy(program, supervisor.path(name)).expect("a copy");
    std::fs::set_permissions(supervisor.path(name), std::fs::Permissions::from_mode(mode)).expect("chmod");
}

#[track_caller]
fn assert_mismatch(supervisor: &Supervisor, name: &str, kind: &str) {
    let told = eventually(kind, || {
        let told = process(supervisor, name);
        findings(&told).contains_key(kind).then_some(told)
    });
    assert_eq!(
        (&told["checks"][0]["mismatch"], &told["checks"][0]["key"]),
        (&json!(true), &json!("no_new_privileges"))
    );
    assert!(told["exposure"].as_f64() >= Some(9.0), "{}", told["exposure"]);
    let weights = told["checks"].as_array().expect("checks").iter().map(|check| check["weight"].as_u64());
    assert_eq!(weights.max(), Some(told["checks"][0]["weight"].as_u64()));
    let overview = supervisor.ctl(&["security"]).stdout;
    assert!(overview.lines().any(|line| line.starts_with(name) && line.ends_with("NOT AS CONFIGURED")), "{overview}");
}

fn changed_user() {
    let mut supervisor = Supervisor::prepare(
        "[programs.one]\ncmd = \"@dir@/sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\nno_new_privileges = false\n",
    );
    copy_of(&supervisor, "/bin/sleep", "sleep", 0o4755);
    supervisor.launch();
    supervisor.wait_for_execution("one");
    assert_eq!(proc::ids(supervisor.pid_of("one"), "Uid"), [65534, 0, 0, 0]);
    assert_mismatch(&supervisor, "one", "user_mismatch");
    assert!(findings(&process(&supervisor, "one")).contains_key("user"), "it is root now");
}

fn changed_group() {
    let mut supervisor = Supervisor::prepare(
        "[programs.one]\ncmd = \"@dir@/sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\nno_new_privileges = false\n",
    );
    copy_of(&supervisor, "/bin/sleep", "sleep", 0o2755);
    supervisor.launch();
    supervisor.wait_for_execution("one");
    assert_mismatch(&supervisor, "one", "groups_mismatch");
    assert!(findings(&process(&supervisor, "one")).contains_key("root_group"));
}

fn left_group() {
    let supervisor = start(&sleeper("one", "user = \"nobody\""));
    assert_eq!(process(&supervisor, "one")["kernel"]["own_control_group"], true);
    let told = check(&process(&supervisor, "one"), "control_group");
    assert_eq!(told["badness"], 0);
    let base = base(&supervisor).display().to_string();
    let above = std::path::Path::new(base.trim()).parent().expect("a group above").join("cgroup.procs");
    std::fs::write(&above, supervisor.pid_of("one").to_string()).expect("moves it");
    assert_eq!(process(&supervisor, "one")["kernel"]["own_control_group"], false);
    assert!(findings(&process(&supervisor, "one")).contains_key("control_group"));
}

/// The directory of the supervisor's own control group.
fn base(supervisor: &Supervisor) -> PathBuf {
    // It is written beside the rest of the start.
    eventually("the record of the control group", || {
        Some(PathBuf::from(supervisor.read("run/cgroup").trim())).filter(|path| path.is_absolute())
    })
}

/// The events that a part of the boundary is missing.
fn lacks(supervisor: &Supervisor) -> Vec<Value> {
    supervisor.recent_events().into_iter().filter(|event| event["kind"] == "process.unrestricted").collect()
}

/// One that runs without a control group of its own: what `status` and `security` say of it.
#[track_caller]
fn assert_ungrouped(supervisor: &Supervisor, name: &str, why: &str) {
    let reason = format!("in no control group of its own: {why}");
    assert_eq!(supervisor.process(name)["reason"], reason);
    assert!(supervisor.ctl(&["status"]).code == 0);
    let told = process(supervisor, name.split(':').next().expect("a program"));
    assert_eq!(told["kernel"]["own_control_group"], false);
    let found = findings(&told);
    assert_eq!((&found["control_group"], &found["kill_mode"]), (&Value::Null, &Value::Null), "{found:?}");
}

fn no_group() {
    let cmd = "cmd = [\"sh\", \"-c\", \"sleep 1000 & exec sleep 1001\"]\nstarttime = 0\nautostart = false\nuser = \"nobody\"\n";
    let mut supervisor = Supervisor::start(&format!("[programs.one]\n{cmd}numprocs = 2\n[programs.two]\n{cmd}"));
    let limit = base(&supervisor).join("cgroup.max.descendants");
    std::fs::write(&limit, "0").expect("a limit");
    assert_eq!(supervisor.ctl(&["start", "one:0", "one:1", "two"]).code, 0);
    let why = "it cannot be made: Resource temporarily unavailable (os error 11)";
    for name in ["one:0", "two"] {
        assert_ungrouped(&supervisor, name, why);
    }
    let told = lacks(&supervisor);
    let words = format!("placing it in a control group of its own: {why}; its process group is what is stopped");
    for (event, process) in told.iter().zip(["one:0", "two"]) {
        assert_eq!((&event["stage"], &event["severity"]), (&json!("control_group"), &json!("warning")), "{event}");
        assert_eq!(event["message"], words);
        assert_eq!(event["process"], process);
    }
    assert_eq!(told.len(), 2, "once for each program: {told:?}");
    // It is supervised all the same: a death is seen, and a stop ends the process group.
    let first = supervisor.pid_of("one:0");
    proc::kill(first, 9);
    eventually("it is started again", || supervisor.pid_now("one:0").filter(|pid| *pid != first));
    let children = eventually("it has its child", || {
        Some(proc::children(supervisor.pid_of("two"))).filter(|children| children.len() == 1)
    });
    assert_eq!(supervisor.ctl(&["stop", "two"]).code, 0);
    eventually("its child has ended", || (!proc::is_alive(children[0])).then_some(()));
    // With room there is one again at the next start.
    std::fs::write(&limit, "max").expect("a limit");
    assert_eq!(supervisor.ctl(&["start", "two"]).code, 0);
    assert_eq!(supervisor.process("two")["reason"], Value::Null);
    assert_eq!(process(&supervisor, "two")["kernel"]["own_control_group"], true);
    assert!(!findings(&process(&supervisor, "two")).contains_key("kill_mode"));
    assert_eq!(lacks(&supervisor).len(), 2);
    assert_eq!(supervisor.stop(), 0);
}

/// Beside a group of threads a new one is of a kind that nobody can be born in (cgroups(7), `domain invalid`).
fn refused_group() {
    let mut supervisor = Supervisor::start(&sleeper("one", "user = \"nobody\"\nautostart = false"));
    let group = base(&supervisor).join("threads");
    std::fs::create_dir(&group).expect("a control group");
    std::fs::write(group.join("cgroup.type"), "threaded").expect("its kind");
    assert_eq!(supervisor.ctl(&["start", "one"]).code, 0);
    assert_ungrouped(&supervisor, "one", "the kernel has not put it there");
    assert_eq!(lacks(&supervisor).len(), 1);
    assert_eq!(supervisor.stop(), 0);
}

/// Gives a file the list: its owner and group, one user besides, the mask, everybody.
fn allow(path: &std::path::Path, user: u32, rights: u16) {
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, rights, user), (4, 4, u32::MAX), (0x10, 6, u32::MAX), (0x20, 4, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (kind, rights, id) in entries {
        list.extend([&kind.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("a path");
    let name = c"system.posix_acl_access".as_ptr();
    // SAFETY: both names end in NUL; the list is readable for as many bytes as are said.
    let result = unsafe { libc::setxattr(path.as_ptr(), name, list.as_ptr().cast(), list.len(), 0) };
    nix::errno::Errno::result(result).expect("a file system with lists of access rights");
}

fn access_lists() {
    let owner = Account::user("tm-test-lists", &[]);
    let of = |program: &str| {
        sleeper(program, &format!("user = \"{}\"", owner.name))
            .replace("\"sleep 1000\"", &format!("\"sh @dir@/{program}\""))
    };
    let names = ["plain", "group", "stranger", "reader", "own"];
    let mut supervisor = Supervisor::prepare(&names.map(of).concat());
    for name in names {
        supervisor.file(name, "exec sleep 1000\n", 0o644);
    }
    std::fs::set_permissions(supervisor.path("group"), std::fs::Permissions::from_mode(0o664)).expect("chmod");
    allow(&supervisor.path("stranger"), 12_345, 6);
    allow(&supervisor.path("reader"), 12_345, 4);
    allow(&supervisor.path("own"), owner.id, 6);
    supervisor.launch();
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["uptime_seconds"].is_number()));
    let expected = [(false, false), (false, true), (false, true), (false, false), (true, false)];
    for (name, expected) in names.into_iter().zip(expected) {
        assert_eq!(file(&process(&supervisor, name), "argument"), expected, "{name}");
    }
}

fn user_namespace() {
    let supervisor = start(
        "[programs.one]\ncmd = \"unshare --user --map-root-user sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\n",
    );
    let told = eventually("it has its namespace", || {
        let told = process(&supervisor, "one");
        (told["kernel"]["other_user_namespace"] == true).then_some(told)
    });
    assert!(told["checks"].as_array().expect("checks").iter().all(|check| check["mismatch"] == false), "{told}");
    assert!(!findings(&told).keys().any(|name| name.starts_with("capability_")), "{:?}", findings(&told));
}

/// The one file with this role, as the answer has it.
#[track_caller]
fn file(process: &Value, role: &str) -> (bool, bool) {
    let files = process["granted"]["files"].as_array().expect("files");
    let one = files.iter().find(|file| file["role"] == role).unwrap_or_else(|| panic!("no {role} in {files:?}"));
    (one["by_user"].as_bool().expect("a bool"), one["by_others"].as_bool().expect("a bool"))
}

fn files() {
    let owner = Account::user("tm-test-files", &[]);
    let name = &owner.name;
    let of = |program: &str, cmd: &str, more: &str| {
        format!("[programs.{program}]\ncmd = {cmd}\nstarttime = 0\nuser = \"{name}\"\n{more}\n")
    };
    let mut supervisor = Supervisor::prepare(
        &[
            of("safe", "\"sleep 1000\"", ""),
            of(
                "own",
                "\"@dir@/own/sleep 1000\"",
                "workingdir = \"@dir@/own\"\nstdout = \"@dir@/own/log\"\nstderr = \"stdout\"",
            ),
            of("open", "\"@dir@/open/sleep 1000\"", "workingdir = \"/tmp\""),
            of("script", "\"sh @dir@/open/script\"", ""),
        ]
        .concat(),
    );
    supervisor.subdirectory("own", 0o755, name);
    supervisor.subdirectory("open", 0o777, "root");
    copy_of(&supervisor, "/bin/sleep", "own/sleep", 0o755);
    copy_of(&supervisor, "/bin/sleep", "open/sleep", 0o755);
    supervisor.file("open/script", "exec sleep 1000\n", 0o644);
    supervisor.launch();
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["uptime_seconds"].is_number()));
    let [safe, own, open, script] = ["safe", "own", "open", "script"].map(|name| process(&supervisor, name));
    assert_eq!((file(&safe, "executable"), file(&safe, "working_directory")), ((false, false), (false, false)));
    assert_eq!(file(&safe, "log"), (false, false));
    assert_eq!((file(&own, "executable"), file(&own, "working_directory")), ((true, false), (true, false)));
    assert_eq!(file(&own, "log"), (true, false));
    assert_eq!((file(&open, "executable"), file(&open, "working_directory")), ((true, true), (true, true)));
    assert_eq!((file(&script, "executable"), file(&script, "argument")), ((false, false), (true, true)));
    let share = |process: &Value| check(process, "executable")["badness"].as_u64().expect("a number");
    assert!(share(&safe) == 0 && share(&own) > 0 && share(&open) > share(&own));
    assert_eq!(findings(&open)["working_directory"], "workingdir");
    assert_eq!(findings(&own)["log_files"], "stdout");
    assert_eq!(findings(&script)["command_files"], "cmd");
    let paths = |process: &Value| process["granted"]["files"].to_string();
    assert!(paths(&own).contains(&format!("{}\"", supervisor.path("own/sleep").display())), "{}", paths(&own));
    let text = supervisor.ctl(&["security", "open"]).stdout;
    let line = format!("{}: can be changed by root, its own user and others", supervisor.path("open/sleep").display());
    assert!(text.contains(&line), "{text}");
}

fn not_running() {
    let supervisor = start(&sleeper("one", &format!("{}autostart = false\nmdwe = true", user())));
    let told = program(&supervisor, "one");
    let one = &told["processes"][0];
    assert_eq!((&one["pid"], &one["kernel"], &one["granted"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!((&told["settings"]["mdwe"], &told["settings"]["umask"]), (&json!(true), &json!("022")));
    assert!(!findings(one).contains_key("writable_executable_memory"));
    let shown = supervisor.ctl(&["security", "one"]).stdout;
    assert!(shown.starts_with("one  not running: this is what is configured\n"), "{shown}");
    let line = supervisor.ctl(&["security"]).stdout;
    assert!(line.contains("not running: judged by its configuration"), "{line}");
    // And once it runs, and once it does not any more.
    assert_eq!(supervisor.ctl(&["start", "one"]).code, 0);
    assert_eq!(process(&supervisor, "one")["pid"], supervisor.pid_of("one"));
    assert_eq!(supervisor.ctl(&["stop", "one"]).code, 0);
    assert_eq!(process(&supervisor, "one")["kernel"], Value::Null);
}

fn overview() {
    let supervisor = start(&[sleeper("web", &format!("{}numprocs = 3", user())), sleeper("db", user())].concat());
    let shown = supervisor.ctl(&["security"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    let lines: Vec<Vec<&str>> = shown.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "USER", "EXPOSURE", "LEVEL", "FINDINGS"]);
    assert_eq!(lines[1..].iter().map(|line| line[0]).collect::<Vec<_>>(), ["db", "web"]);
    for line in &lines[1..] {
        let told = program(&supervisor, line[0]);
        let expected = [
            told["user"].as_str().expect("a user").to_owned(),
            format!("{:.1}", told["exposure"].as_f64().expect("a number")),
            told["level"].as_str().expect("a word").to_owned(),
            told["findings"].to_string(),
        ];
        assert_eq!(line[1..], expected);
    }
    let json: Vec<Value> = serde_json::from_str(&supervisor.ctl(&["security", "--json"]).stdout).expect("an array");
    let instances = |program: &Value| program["processes"].as_array().expect("processes").len();
    assert_eq!(json.iter().map(instances).collect::<Vec<_>>(), [1, 3]);
}

fn pages() {
    let supervisor = start(&[sleeper("many", &format!("{}numprocs = 40", user())), sleeper("zz", user())].concat());
    let ask = |parameters: Value| supervisor.call("Security", parameters)["parameters"].clone();
    let names = |page: &Value| -> Vec<String> {
        let programs = page["programs"].as_array().expect("programs").iter();
        let processes = programs.flat_map(|program| program["processes"].as_array().expect("processes"));
        processes.map(|process| process["process"].as_str().expect("a name").to_owned()).collect()
    };
    let first = ask(json!({}));
    assert_eq!((names(&first).len(), &first["next"]), (32, &json!("many:31")));
    let second = ask(json!({ "after": first["next"] }));
    assert_eq!((names(&second).len(), &second["next"]), (9, &Value::Null));
    let all: BTreeSet<String> = [names(&first), names(&second)].concat().into_iter().collect();
    assert_eq!(all.len(), 41, "each once");
    assert_eq!(ask(json!({ "after": "zz:0" }))["programs"], json!([]));
    let told = program(&supervisor, "many");
    assert_eq!(told["processes"].as_array().map(Vec::len), Some(40));
    let order: Vec<i64> =
        told["processes"].as_array().expect("processes").iter().filter_map(|p| p["pid"].as_i64()).collect();
    assert_eq!(order.len(), 40, "all run");
}

fn permissions() {
    const ALICE: u32 = 3_000_000_001;
    const BOB: u32 = 3_000_000_002;
    const CAROL: u32 = 3_000_000_003;
    let rule = |uid: u32, programs: &str, verbs: &str| {
        format!("[[control.allow]]\nusers = [{uid}]\nprograms = {programs}\nverbs = {verbs}\n")
    };
    let programs = ["web", "db"].map(|name| sleeper(name, "user = \"nobody\"")).concat();
    let supervisor = start(&format!(
        "{programs}[control]\nmode = \"0666\"\n{}{}{}",
        rule(ALICE, "[\"web\"]", "[\"status\"]"),
        rule(BOB, "[\"web\"]", "[\"status\", \"config\"]"),
        rule(CAROL, "[\"web\"]", "[\"stop\"]"),
    ));
    let mut alice = Who::user(ALICE).connect(&supervisor);
    let told = alice.call("Security", json!({}))["parameters"]["programs"].clone();
    assert_eq!((told.as_array().map(Vec::len), &told[0]["program"]), (Some(1), &json!("web")), "{told}");
    let files = told[0]["processes"][0]["granted"]["files"].as_array().expect("files").clone();
    assert!(files.len() >= 3 && files.iter().all(|file| file["path"].is_null()), "{files:?}");
    assert!(!told.to_string().contains(&supervisor.path("").display().to_string()), "{told}");
    // `db` runs as the same user, but it is not there for her.
    assert_eq!(check(&told[0]["processes"][0], "shared_user")["badness"], 0);
    assert_eq!(check(&process(&supervisor, "web"), "shared_user")["badness"], 1);
    let hidden = alice.order("Security", &["db"]);
    assert_eq!(hidden["error"], "io.taskmaster.Control.NoSuchProgram", "{hidden}");
    let mut bob = Who::user(BOB).connect(&supervisor);
    let told = bob.order("Security", &["web"])["parameters"]["programs"].clone();
    assert!(told[0]["processes"][0]["granted"]["files"][0]["path"].is_string(), "{told}");
    // What is seen and may not be asked; who is in no rule.
    let refused = |who: &Who, arguments: &[&str]| -> Ctl { who.ctl(&supervisor, arguments) };
    for arguments in [&["security", "web"][..], &["security"]] {
        let carol = refused(&Who::user(CAROL), arguments);
        assert!(carol.code == 5 && carol.stderr.contains("verbs = [\"status\"]"), "{carol:?}");
    }
    let stranger = refused(&Who::user(4_000_000_000), &["security"]);
    assert_eq!((stranger.code, stranger.stdout.as_str()), (5, ""), "{stranger:?}");
    let alices = refused(&Who::user(ALICE), &["security"]);
    assert!(alices.code == 0 && alices.stdout.contains("web") && !alices.stdout.contains("db"), "{alices:?}");
    assert_eq!(refused(&Who::user(ALICE), &["security", "db"]).code, 4);
}

fn dying() {
    let restless = "autorestart = \"always\"\nbackoff = { initial = \"1ms\", step = 0 }\nstartretries = 1000000\n";
    let short = format!("[programs.short]\ncmd = [\"sh\", \"-c\", \"exit 0\"]\nstarttime = 0\n{}{restless}", user());
    let killed = sleeper("killed", &format!("{}{restless}", user()));
    let supervisor = start(&[short, killed].concat());
    let over = AtomicBool::new(false);
    let (mut whole, mut none) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Some(pid) = supervisor.pid_now("killed") {
                    proc::kill(pid, 9);
                }
            }
        });
        let mut look = || {
            let answer = supervisor.call("Security", json!({ "selectors": ["short", "killed"] }));
            for program in answer["parameters"]["programs"].as_array().unwrap_or_else(|| panic!("{answer}")) {
                let process = &program["processes"][0];
                let parts = [process["pid"].is_null(), process["kernel"].is_null(), process["granted"].is_null()];
                assert!(parts == [true; 3] || parts == [false; 3], "{process}");
                let names = findings(process);
                assert!(!names.keys().any(|name| name.ends_with("_mismatch")), "{names:?}");
                if parts[0] { none += 1 } else { whole += 1 }
            }
            (whole > 20 && none > 20).then_some(())
        };
        let seen =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| eventually("both kinds are seen", &mut look)));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = seen {
            std::panic::resume_unwind(panic);
        }
    });
    assert_eq!(supervisor.ctl(&["version"]).code, 0);
}

fn exit_codes() {
    let supervisor = start(&sleeper("web", &format!("{}autostart = false", user())));
    let code = |arguments: &[&str]| supervisor.ctl(arguments).code;
    assert_eq!(code(&["security"]), 0, "also when something does not run");
    assert_eq!(code(&["security", "web"]), 0);
    assert_eq!(code(&["security", "wbe"]), 4);
    assert_eq!(code(&["security", "--nope"]), 2);
    let unknown = supervisor.ctl(&["security", "wbe"]);
    assert_eq!(unknown.stdout, "wbe: ERROR (no such process)\n");
    assert!(unknown.stderr.contains("did you mean `web`?"), "{unknown:?}");
    let nobody = std::process::Command::new(crate::support::supervisor::TASKMASTERCTL)
        .args(["-s", "/no/such/socket", "security"])
        .output()
        .expect("taskmasterctl runs");
    assert_eq!(nobody.status.code(), Some(6));
    let help = supervisor.ctl(&["help", "security"]).stdout;
    assert!(help.contains("what of the boundary around it is missing") && help.contains("--json"), "{help}");
}

fn shell() {
    let supervisor = Supervisor::prepare(&sleeper("one", user()));
    let mut command = std::process::Command::new(TASKMASTERD);
    command.arg("-c").arg(supervisor.config());
    let mut terminal = Terminal::start(command);
    terminal.wait_for("taskmaster> ");
    supervisor.wait_for_execution("one");
    terminal.keys("secu\t");
    terminal.wait_for_last("taskmaster> security [SEL…]");
    terminal.keys("on\t");
    terminal.wait_for_last("taskmaster> security one");
    terminal.line("");
    terminal.wait_for("Overall exposure of one: ");
    terminal.line("security");
    terminal.wait_for("FINDINGS");
    terminal.line("shutdown");
    terminal.wait_for("[y/N]");
    terminal.line("y");
    assert_eq!(terminal.wait_for_end().code(), Some(0));
}
