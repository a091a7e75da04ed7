//! A reload changes what has changed, and nothing else.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::look::{FAST, millis};
use crate::support::{Need, Supervisor, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("a reload of an equal file changes nothing", &[Need::Root], equal),
        test("a reload that changes the other tables says so", &[Need::Root], other_tables),
        test("what is watched changes in place", &[Need::Root], in_place),
        test("the starttime of a process that is STARTING changes in place", &[Need::Root], starttime_in_place),
        test("what is executed restarts that program only", &[Need::Root], executed),
        test("the old stop signal stops the old process", &[Need::Root], old_stop_signal),
        test("numprocs grows and shrinks at the end", &[Need::Root], numprocs),
        test("one process becomes three and one again", &[Need::Root], names),
        test("removed programs stop and added ones start", &[Need::Root], added_removed),
        test("a program removed and added again while it stops starts again", &[Need::Root], back_again),
        test("a broken file changes nothing and says why", &[Need::Root], broken),
        test("a directory that has changed needs a restart", &[Need::Root], needs_restart),
        test("a FATAL program starts again when its command has changed", &[Need::Root], fatal_again),
        test("an EXITED program starts again when its command has changed", &[Need::Root], exited_again),
        test("a program stopped by hand stays stopped", &[Need::Root], stopped_by_hand),
        test("a changed autostart starts and stops nothing", &[Need::Root], autostart),
        test("a dry run changes nothing", &[Need::Root], dry_run),
        test("SIGHUP reloads", &[Need::Root], sighup),
        test("changed defaults and includes are changes of their programs", &[Need::Root], defaults),
    ]
}

fn program(name: &str, settings: &str) -> String {
    format!("[programs.{name}]\nuser = \"nobody\"\nstarttime = 0\ncmd = \"sleep 1000\"\n{settings}\n")
}

/// With another command than [`program`].
fn running(name: &str, cmd: &str) -> String {
    format!("[programs.{name}]\nuser = \"nobody\"\nstarttime = 0\ncmd = {cmd}\n")
}

fn start(programs: &str) -> Supervisor {
    let supervisor = Supervisor::start(programs);
    wait_for_all(&supervisor);
    supervisor
}

fn wait_for_all(supervisor: &Supervisor) {
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
}

fn names_of(supervisor: &Supervisor) -> Vec<String> {
    supervisor.status().iter().filter_map(|process| process["process"].as_str().map(str::to_owned)).collect()
}

fn plan(changes: &[(&str, &[&str])]) -> Value {
    let mut plan =
        json!({ "added": [], "removed": [], "restarted": [], "changed": [], "unchanged": [], "needs_restart": [] });
    for (what, names) in changes {
        plan[*what] = json!(names);
    }
    plan
}

fn equal() {
    let text = [program("a", ""), program("b", "numprocs = 3")].concat();
    let mut supervisor = start(&text);
    let before = supervisor.status();
    assert_eq!(supervisor.reload_with(&text), plan(&[("unchanged", &["a", "b"])]));
    // Comments, order and other spellings of the same values change nothing either.
    let respelled = format!(
        "# a comment\n{}{}",
        program("b", "numprocs = 3\nstoptime = \"10s\"\nexitcodes = [0]\numask = \"0022\""),
        program("a", "stopsignal = \"SIGTERM\"")
    );
    assert_eq!(supervisor.reload_with(&respelled), plan(&[("unchanged", &["a", "b"])]));
    let reloaded = supervisor.ctl(&["reload"]);
    assert_eq!((reloaded.code, reloaded.stdout.as_str(), reloaded.stderr.as_str()), (0, "", ""));
    let pids = |all: &[Value]| all.iter().map(|process| process["pid"].clone()).collect::<Vec<_>>();
    assert_eq!(pids(&before), pids(&supervisor.status()));
    let told = supervisor.wait_for_event("the reload", |event| event["kind"] == "config.reloaded");
    assert_eq!(told["message"], "nothing changed (2 unchanged)");
    assert_eq!(supervisor.stop(), 0);
    assert_eq!(supervisor.event_log().iter().filter(|event| event["kind"] == "process.starting").count(), 4);
}

fn other_tables() {
    let supervisor = start(&program("a", ""));
    let alerts = "[notify.email]\nsendmail = \"/bin/true\"\nfrom = \"tm@example.test\"\nto = [\"ops@example.test\"]\n";
    supervisor.reload_with(&[alerts, "[control]\nmode = \"0600\"\n", &program("a", "")].concat());
    let told = supervisor.wait_for_event("the reload", |event| event["kind"] == "config.reloaded");
    assert_eq!(told["message"], "[control] changed; [notify] changed; 1 program unchanged");
}

fn in_place() {
    let supervisor = start(&[program("a", ""), program("b", "")].concat());
    let (a, b) = (supervisor.pid_of("a"), supervisor.pid_of("b"));
    let changed =
        program("a", "stopsignal = \"USR1\"\nstoptime = 3\nexitcodes = [5]\nautorestart = \"never\"\npriority = 1");
    assert_eq!(
        supervisor.reload_with(&[changed, program("b", "")].concat()),
        plan(&[("changed", &["a"]), ("unchanged", &["b"])])
    );
    assert_eq!((supervisor.pid_of("a"), supervisor.pid_of("b")), (a, b));
    assert_eq!(supervisor.ctl(&["stop", "a"]).code, 0);
    assert_eq!(supervisor.process("a")["last_exit"]["signal"], "USR1", "the new stop signal");

    // Which exit is expected: asked of the process that ran before the change.
    let waits = "[\"sh\", \"-c\", \"read x < @dir@/gate; exit 5\"]";
    supervisor.fifo("gate");
    supervisor.reload_with(&running("c", waits));
    wait_for_all(&supervisor);
    let c = supervisor.pid_of("c");
    supervisor.reload_with(&format!("{}exitcodes = 5", running("c", waits)));
    assert_eq!(supervisor.pid_of("c"), c);
    supervisor.open_gate("gate");
    supervisor.wait_for_state("c", "EXITED");
    supervisor.wait_for_kind("c", "process.exited");
}

fn starttime_in_place() {
    let slow = "[programs.a]\nuser = \"nobody\"\ncmd = \"sleep 1000\"\nstarttime = 1000\n";
    let supervisor = Supervisor::start(slow);
    supervisor.wait_for_execution("a");
    let pid = supervisor.pid_of("a");
    assert_eq!(supervisor.state("a"), "STARTING");
    supervisor.reload_with(&slow.replace("1000\n", "\"10ms\"\n"));
    supervisor.wait_for_state("a", "RUNNING");
    assert_eq!(supervisor.pid_of("a"), pid);
}

fn executed() {
    let supervisor = start(&[program("a", ""), program("b", ""), program("c", "numprocs = 2")].concat());
    let others: Vec<i64> = ["b", "c:0", "c:1"].iter().map(|name| supervisor.pid_of(name)).collect();
    let settings = [
        "env = { A = 1 }",
        "umask = \"077\"",
        "workingdir = \"/tmp\"",
        "group = \"daemon\"",
        "stdout = \"discard\"",
        "limits = { nofile = 77 }",
        "nice = 3",
    ];
    for setting in settings {
        let before = supervisor.pid_of("a");
        let text = [program("a", setting), program("b", ""), program("c", "numprocs = 2")].concat();
        let expected = plan(&[("restarted", &["a"]), ("unchanged", &["b", "c"])]);
        assert_eq!(supervisor.reload_with(&text), expected, "{setting}");
        supervisor.wait_until("another runs", |all| all[0]["state"] == "RUNNING" && all[0]["pid"] != before);
        assert!(!proc::is_alive(before));
    }
    let after: Vec<i64> = ["b", "c:0", "c:1"].iter().map(|name| supervisor.pid_of(name)).collect();
    assert_eq!(others, after);
    let a = supervisor.pid_of("a");
    assert_eq!(proc::stat(a)[16], "3", "the last change is in force: nice");
    assert_eq!(supervisor.process("a")["restarts"], 0);
}

fn old_stop_signal() {
    let supervisor = start(&program("a", "stopsignal = \"USR1\""));
    supervisor.reload_with(&program("a", "stopsignal = \"USR2\"\nenv = { NEW = 1 }"));
    let stopped = supervisor.wait_for_kind("a", "process.stopped");
    assert_eq!(stopped["signal"], "USR1");
    supervisor.wait_for_state("a", "RUNNING");
    assert_eq!(supervisor.ctl(&["stop", "a"]).code, 0);
    assert_eq!(supervisor.process("a")["last_exit"]["signal"], "USR2");
}

fn numprocs() {
    let mut supervisor = start(&program("web", "numprocs = 3"));
    let pids = |supervisor: &Supervisor| -> Vec<i64> {
        supervisor.status().iter().filter_map(|process| process["pid"].as_i64()).collect()
    };
    let three = pids(&supervisor);
    assert_eq!(supervisor.reload_with(&program("web", "numprocs = 5")), plan(&[("changed", &["web"])]));
    supervisor.wait_until("five run", |all| all.len() == 5 && all.iter().all(|p| p["state"] == "RUNNING"));
    let five = pids(&supervisor);
    assert_eq!(five[..3], three);
    assert_eq!(supervisor.reload_with(&program("web", "numprocs = 2")), plan(&[("changed", &["web"])]));
    supervisor.wait_until("two are left", |all| all.len() == 2);
    assert_eq!(pids(&supervisor), three[..2]);
    assert!(five[2..].iter().all(|pid| !proc::is_alive(*pid)));
    assert_eq!(supervisor.stop(), 0);
    for name in ["web:2", "web:3", "web:4"] {
        let kinds = ["process.starting", "process.running", "process.stopping", "process.stopped"];
        assert_eq!(supervisor.kinds_of(name), kinds, "{name}");
    }
}

fn names() {
    let mut supervisor = start(&program("web", "numprocs = 1"));
    let first = supervisor.pid_of("web");
    supervisor.reload_with(&program("web", "numprocs = 3"));
    supervisor.wait_until("three run", |all| all.len() == 3 && all.iter().all(|p| p["state"] == "RUNNING"));
    assert_eq!(names_of(&supervisor), ["web:0", "web:1", "web:2"]);
    assert_eq!(supervisor.pid_of("web:0"), first);
    assert_eq!(proc::environ(first)["TASKMASTER_PROCESS"], "web", "its own environment is as old as it is");
    supervisor.reload_with(&program("web", "numprocs = 1"));
    supervisor.wait_until("one is left", |all| all.len() == 1);
    assert_eq!(names_of(&supervisor), ["web"]);
    assert_eq!(supervisor.pid_of("web"), first);
    // `web:0` is always understood.
    assert_eq!(supervisor.ctl(&["restart", "web:0"]).stdout, "web: stopped\nweb: started\n");
    assert_ne!(supervisor.pid_of("web"), first);
    assert_eq!(supervisor.stop(), 0);
}

fn added_removed() {
    let supervisor = start(&[program("a", ""), program("b", "")].concat());
    let (a, b) = (supervisor.pid_of("a"), supervisor.pid_of("b"));
    let text = [program("b", ""), program("c", ""), program("d", "autostart = false")].concat();
    let expected = plan(&[("added", &["c", "d"]), ("removed", &["a"]), ("unchanged", &["b"])]);
    assert_eq!(supervisor.reload_with(&text), expected);
    supervisor.wait_until("a is gone and c runs", |all| {
        all.iter().all(|p| p["process"] != "a") && all.iter().any(|p| p["process"] == "c" && p["state"] == "RUNNING")
    });
    assert_eq!(supervisor.pid_of("b"), b);
    assert!(!proc::is_alive(a));
    assert_eq!(supervisor.state("d"), "STOPPED");
    assert_eq!(supervisor.ctl(&["status", "a"]).code, 4);
    let told = supervisor.wait_for_event("the reload", |event| event["kind"] == "config.reloaded");
    assert_eq!(told["message"], "2 added, 1 removed, 1 unchanged");
}

fn back_again() {
    // It takes its time to stop, so that the second reload meets it while it stops.
    let slow = running(
        "a",
        "[\"sh\", \"-c\", \"trap 'read x < @dir@/gate; exit 0' TERM; echo ready; while :; do sleep 0.01; done\"]",
    );
    let supervisor = Supervisor::prepare(&slow);
    supervisor.fifo("gate");
    let mut supervisor = supervisor;
    supervisor.launch();
    supervisor.wait_for_state("a", "RUNNING");
    crate::support::eventually("it is ready", || (supervisor.read("log/a.stdout.log") == "ready\n").then_some(()));
    let before = supervisor.pid_of("a");
    supervisor.reload_with("");
    supervisor.wait_for_kind("a", "process.stopping");
    supervisor.reload_with(&slow);
    supervisor.open_gate("gate");
    supervisor.wait_until("it runs again", |all| {
        all.iter().any(|p| p["process"] == "a" && p["state"] == "RUNNING" && p["pid"] != before)
    });
    crate::support::eventually("it is ready", || {
        (supervisor.read("log/a.stdout.log") == "ready\nready\n").then_some(())
    });
    // So that it ends when it is told to.
    supervisor.ctl(&["signal", "KILL", "a"]);
}

fn broken() {
    let supervisor = start(&program("a", ""));
    let before = supervisor.pid_of("a");
    supervisor.configure(&[program("a", "numproc = 3\numask = 22"), program("b", "")].concat());
    let reply = supervisor.call("Reload", json!({}));
    assert_eq!(reply["error"], "io.taskmaster.Control.ConfigRejected");
    let faults = reply["parameters"]["faults"].as_str().expect("words").to_owned();
    let place = format!("{}:11:1: unknown key `numproc`", supervisor.config().display());
    assert!(faults.contains(&place), "{faults}");
    assert!(faults.contains("   11 | numproc = 3\n      | ^^^^^^^ did you mean `numprocs`?\n"), "{faults}");
    assert!(faults.contains(":12:9: `umask` is octal") && faults.ends_with("2 faults in 1 file"), "{faults}");
    let rejected = supervisor.ctl(&["reload"]);
    assert_eq!((rejected.code, rejected.stdout.as_str()), (1, ""));
    assert!(rejected.stderr.contains(&faults), "{rejected:?}");
    assert!(rejected.stderr.contains("nothing has changed"), "{rejected:?}");
    assert_eq!((names_of(&supervisor), supervisor.pid_of("a")), (vec!["a".to_owned()], before));
    let told = supervisor.wait_for_event("the refusal", |event| event["kind"] == "config.rejected");
    assert_eq!(told["severity"], "err");
    assert!(told["message"].as_str().is_some_and(|text| text.contains("did you mean `numprocs`?")), "{told}");
    // By SIGHUP it is told as an event.
    let count = || supervisor.event_log().iter().filter(|event| event["kind"] == "config.rejected").count();
    let so_far = count();
    supervisor.signal(1);
    crate::support::eventually("another event", || (count() > so_far).then_some(()));
    // Not there at all, and not to be trusted: the same.
    for spoil in
        [(|path: &std::path::Path| std::fs::remove_file(path).expect("removes")) as fn(&std::path::Path), |path| {
            std::fs::write(path, "").expect("writes");
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("chmod");
        }]
    {
        spoil(&supervisor.config());
        assert_eq!(supervisor.call("Reload", json!({}))["error"], "io.taskmaster.Control.ConfigRejected");
        assert_eq!(supervisor.pid_of("a"), before);
    }
}

fn needs_restart() {
    let supervisor = start(&program("a", ""));
    let before = supervisor.pid_of("a");
    let text = supervisor.read("taskmaster.toml").replace("/log\"", "/other\"") + &program("b", "");
    std::fs::write(supervisor.config(), text).expect("write");
    let reloaded = supervisor.ctl(&["reload"]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    assert!(reloaded.stderr.contains("supervisor.log_dir: needs a restart"), "{reloaded:?}");
    supervisor.wait_for_state("b", "RUNNING");
    assert_eq!(supervisor.pid_of("a"), before);
    assert!(supervisor.path("log/b.stdout.log").exists(), "the old one stays");
    assert!(!supervisor.path("other").exists());
    let told = supervisor.wait_for_event("the reload", |event| event["kind"] == "config.reloaded");
    assert!(told["message"].as_str().is_some_and(|text| text.contains("supervisor.log_dir")), "{told}");
}

fn fatal_again() {
    let broken =
        format!("[programs.a]\nuser = \"nobody\"\ncmd = \"/no/such\"\nstartretries = 0\nstarttime = 0\n{FAST}\n");
    let supervisor = Supervisor::start(&broken);
    supervisor.wait_for_state("a", "FATAL");
    // Only how it is watched: no reason to try again.
    supervisor.reload_with(&format!("{broken}stoptime = 3\n"));
    assert_eq!(supervisor.state("a"), "FATAL");
    supervisor.reload_with(&broken.replace("/no/such", "sleep 1000"));
    supervisor.wait_for_state("a", "RUNNING");
    assert_eq!(supervisor.process("a")["reason"], Value::Null);
}

fn exited_again() {
    let supervisor = Supervisor::start(&running("a", "\"true\""));
    supervisor.wait_for_state("a", "EXITED");
    supervisor.reload_with(&running("a", "\"sleep 1000\""));
    supervisor.wait_for_state("a", "RUNNING");
    // In BACKOFF the new command is what is tried, at once.
    supervisor.reload_with(&running("a", "\"/no/such\""));
    supervisor.wait_for_state("a", "BACKOFF");
    supervisor.reload_with(&running("a", "\"sleep 1001\""));
    supervisor.wait_for_state("a", "RUNNING");
    supervisor.wait_for_kind("a", "process.running");
}

fn stopped_by_hand() {
    let supervisor = start(&[program("a", ""), program("b", "")].concat());
    assert_eq!(supervisor.ctl(&["stop", "a"]).code, 0);
    let text = [program("a", "env = { NEW = 1 }"), program("b", "")].concat();
    assert_eq!(supervisor.reload_with(&text), plan(&[("restarted", &["a"]), ("unchanged", &["b"])]));
    assert_eq!(supervisor.reload_with(&text), plan(&[("unchanged", &["a", "b"])]));
    assert_eq!(supervisor.state("a"), "STOPPED");
    assert_eq!(supervisor.ctl(&["start", "a"]).code, 0);
    assert_eq!(proc::environ(supervisor.pid_of("a"))["NEW"], "1");
    // Also what had ended by itself when it was told to stop.
    supervisor.reload_with(&running("c", "\"true\""));
    supervisor.wait_for_state("c", "EXITED");
    supervisor.ctl(&["stop", "c"]);
    supervisor.reload_with(&running("c", "\"sleep 1000\""));
    assert_ne!(supervisor.state("c"), "RUNNING");
    assert_eq!(supervisor.process("c")["pid"], Value::Null);
}

fn autostart() {
    let supervisor =
        start(&[program("a", ""), program("b", "autostart = false")].concat().replace("autostart = false", ""));
    let before = supervisor.pid_of("a");
    supervisor.ctl(&["stop", "b"]);
    supervisor
        .reload_with(&[program("a", "autostart = false"), program("b", "autostart = true\npriority = 1")].concat());
    assert_eq!(supervisor.pid_of("a"), before);
    assert_eq!(supervisor.state("b"), "STOPPED");
}

fn dry_run() {
    let supervisor = start(&[program("a", ""), program("b", ""), program("d", "")].concat());
    let before = supervisor.status();
    supervisor.configure(&[program("b", "env = { A = 1 }"), program("c", ""), program("d", "priority = 1")].concat());
    let expected = plan(&[("added", &["c"]), ("removed", &["a"]), ("restarted", &["b"]), ("changed", &["d"])]);
    assert_eq!(supervisor.call("Reload", json!({ "dry_run": true }))["parameters"]["plan"], expected);
    let changes = json!([{ "program": "b", "keys": ["env.A"] }, { "program": "d", "keys": ["priority"] }]);
    assert_eq!(supervisor.call("Reload", json!({ "dry_run": true }))["parameters"]["changes"], changes);
    let told = supervisor.ctl(&["reload", "--dry-run"]);
    assert_eq!((told.code, told.stdout.as_str()), (0, "a: disappeared\nb: changed\nc: available\nd: changed\n"));
    let pids = |all: &[Value]| {
        all.iter().map(|process| (process["process"].clone(), process["pid"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(pids(&before), pids(&supervisor.status()));
    supervisor.configure("broken");
    assert_eq!(supervisor.call("Reload", json!({ "dry_run": true }))["error"], "io.taskmaster.Control.ConfigRejected");
    assert_eq!(pids(&before), pids(&supervisor.status()));
    assert!(
        supervisor
            .event_log()
            .iter()
            .all(|event| event["kind"] != "config.reloaded" && event["kind"] != "config.rejected")
    );
}

fn sighup() {
    let mut supervisor = start(&program("a", ""));
    let before = supervisor.pid_of("a");
    supervisor.configure(&[program("a", ""), program("b", "")].concat());
    supervisor.signal(1);
    supervisor.wait_until("b runs", |all| all.len() == 2 && all.iter().all(|p| p["state"] == "RUNNING"));
    assert_eq!(supervisor.pid_of("a"), before);
    let told = supervisor.wait_for_event("the reload", |event| event["kind"] == "config.reloaded");
    assert_eq!(told["message"], "1 added, 1 unchanged");
    let begins = supervisor.wait_for_event("a", |event| event["kind"] == "process.starting" && event["process"] == "b");
    assert!(millis(&begins) >= millis(&told));
    assert_eq!(supervisor.stop(), 0);
}

fn defaults() {
    let text = |default: &str| {
        format!(
            "[defaults]\nuser = \"nobody\"\nstarttime = 0\n{default}\n[programs.a]\ncmd = \"sleep 1000\"\n[programs.b]\ncmd = \"sleep 1000\"\nstoptime = 1\numask = \"022\"\n"
        )
    };
    let supervisor = start(&text(""));
    assert_eq!(supervisor.reload_with(&text("stoptime = 3")), plan(&[("changed", &["a"]), ("unchanged", &["b"])]));
    assert_eq!(
        supervisor.reload_with(&text("umask = \"077\"\nstoptime = 3")),
        plan(&[("restarted", &["a"]), ("unchanged", &["b"])])
    );
    wait_for_all(&supervisor);
    std::fs::create_dir(supervisor.path("conf.d")).expect("a directory");
    supervisor.file("conf.d/c.toml", &program("c", ""), 0o644);
    let head = "include = [\"@dir@/conf.d/*.toml\"]\n".replace("@dir@", &supervisor.path("").display().to_string());
    let whole = head + &supervisor.read("taskmaster.toml");
    std::fs::write(supervisor.config(), whole).expect("write");
    assert_eq!(supervisor.ctl(&["reload"]).stdout, "c: added process group\n");
    supervisor.file("conf.d/c.toml", &program("c", "priority = 5"), 0o644);
    assert_eq!(supervisor.ctl(&["reload"]).stdout, "c: updated process group\n");
    supervisor.file("conf.d/c.toml", "[programs.c]\ncmd = 5\n", 0o644);
    let broken = supervisor.ctl(&["reload"]);
    assert!(broken.code == 1 && broken.stderr.contains("conf.d/c.toml:2:7:"), "{broken:?}");
    std::fs::remove_file(supervisor.path("conf.d/c.toml")).expect("removes");
    assert_eq!(supervisor.ctl(&["reload"]).stdout, "c: removed process group\n");
}
