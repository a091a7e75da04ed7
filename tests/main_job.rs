//! The main job: the two programs of the original brief, each as its user, kept alive.

use libtest_mimic::Trial;

use crate::support::{Need, Supervisor, eventually, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("nine processes run as their users with their umask directory and environment", &[Need::Root], nine),
        test("a killed process is restarted and told as crashed by SIGKILL", &[Need::Root], killed),
        test("exit 2 of nginx is expected and exit 3 is not", &[Need::Root], exit_codes),
        test("a clean start and stop is exactly four events", &[], four_events),
    ]
}

/// The example of the brief with stand-in commands.
const BRIEF: &str = r#"
[programs.nginx]
cmd = ["sh", "-c", 'trap "exit 3" USR1; trap "exit 2" USR2; while :; do sleep 0.01; done']
numprocs = 1
umask = "022"
workingdir = "/tmp"
autostart = true
autorestart = "unexpected"
exitcodes = [0, 2]
startretries = 3
starttime = "200ms"
stopsignal = "TERM"
stoptime = 10
stdout = "@dir@/nginx.stdout"
stderr = "@dir@/nginx.stderr"
env = { STARTED_BY = "taskmaster", ANSWER = 42 }
user = "nobody"

[programs.vogsphere]
cmd = "sleep 1000"
numprocs = 8
umask = "077"
workingdir = "/tmp"
autostart = true
autorestart = "unexpected"
exitcodes = 0
startretries = 3
starttime = "200ms"
stopsignal = "USR1"
stoptime = 10
stdout = "/tmp/taskmaster-test-vgsworker.stdout"
stderr = "/tmp/taskmaster-test-vgsworker.stderr"
user = "daemon"
"#;

/// Removes the two files that the brief puts into /tmp.
struct Cleanup;

impl Drop for Cleanup {
    fn drop(&mut self) {
        for name in ["stdout", "stderr"] {
            let _ = std::fs::remove_file(format!("/tmp/taskmaster-test-vgsworker.{name}"));
        }
    }
}

fn brief() -> (Supervisor, Cleanup) {
    let supervisor = Supervisor::start(BRIEF);
    supervisor.wait_until("all nine run", |all| all.len() == 9 && all.iter().all(|p| p["state"] == "RUNNING"));
    (supervisor, Cleanup)
}

fn vogsphere() -> impl Iterator<Item = String> {
    (0..8).map(|n| format!("vogsphere:{n}"))
}

fn nine() {
    let (mut supervisor, _cleanup) = brief();
    let uid = |name: &str| nix::unistd::User::from_name(name).expect("a database").expect("an account").uid.as_raw();
    let nginx = supervisor.pid_of("nginx");
    assert_eq!(proc::ids(nginx, "Uid"), [uid("nobody"); 4]);
    assert_eq!(proc::status(nginx)["Umask"], "0022");
    let environment = proc::environ(nginx);
    let expected = [
        ("STARTED_BY", "taskmaster"),
        ("ANSWER", "42"),
        ("USER", "nobody"),
        ("LOGNAME", "nobody"),
        ("TASKMASTER_PROGRAM", "nginx"),
        ("TASKMASTER_PROCESS", "nginx"),
        ("TASKMASTER_INSTANCE", "0"),
    ];
    for (name, value) in expected {
        assert_eq!(environment.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!environment.contains_key("CARGO"), "nothing of the starter's environment: {environment:?}");
    for (instance, name) in vogsphere().enumerate() {
        let pid = supervisor.pid_of(&name);
        let status = proc::status(pid);
        assert_eq!(proc::ids(pid, "Uid"), [uid("daemon"); 4], "{name}");
        assert_eq!(status["Umask"], "0077");
        assert_eq!(status["NoNewPrivs"], "1");
        assert_eq!(status["SigBlk"], "0000000000000000");
        assert_eq!(status["SigIgn"], "0000000000000000");
        assert_eq!(proc::cwd(pid).to_str(), Some("/tmp"));
        assert_eq!(proc::descriptors(pid).keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(proc::environ(pid)["TASKMASTER_INSTANCE"], instance.to_string());
        let stat = proc::stat(pid);
        assert_eq!((stat[2].as_str(), stat[3].as_str()), (&*pid.to_string(), &*pid.to_string()), "its own session");
        assert_eq!(stat[4], "0", "no controlling terminal");
    }
    assert_eq!(supervisor.stop(), 0);
    let killed_by = |event: &serde_json::Value| event["kind"] == "process.stopped" && event["signal"] == "USR1";
    assert_eq!(supervisor.event_log().iter().filter(|event| killed_by(event)).count(), 8);
}

fn killed() {
    let (supervisor, _cleanup) = brief();
    for name in vogsphere().chain(["nginx".to_owned()]) {
        let before = supervisor.pid_of(&name);
        proc::kill(before, 9);
        supervisor.wait_until("another runs", |all| {
            let process = all.iter().find(|process| process["process"] == name).expect("it is listed");
            process["state"] == "RUNNING" && process["pid"].as_i64().is_some_and(|pid| pid != before)
        });
        let crashed = supervisor.wait_for_event("the crash", |event| {
            event["kind"] == "process.crashed" && event["process"] == name && event["pid"] == before
        });
        assert_eq!((&crashed["signal"], &crashed["severity"]), (&"KILL".into(), &"err".into()));
    }
}

fn exit_codes() {
    let (supervisor, _cleanup) = brief();
    let before = supervisor.pid_of("nginx");
    // Exit 3.
    assert_eq!(supervisor.ctl(&["signal", "USR1", "nginx"]).stdout, "nginx: signalled\n");
    supervisor.wait_until("it was restarted", |all| {
        all.iter().any(|p| p["process"] == "nginx" && p["state"] == "RUNNING" && p["pid"] != before)
    });
    // Exit 2.
    supervisor.ctl(&["signal", "USR2", "nginx"]);
    supervisor.wait_for_state("nginx", "EXITED");
    let exited = supervisor.wait_for_event("the expected exit", |event| event["kind"] == "process.exited");
    assert_eq!((&exited["process"], &exited["code"]), (&"nginx".into(), &2.into()));
    let process = supervisor.process("nginx");
    assert_eq!((&process["last_exit"]["code"], &process["restarts"]), (&2.into(), &1.into()));
    assert_eq!(process["pid"], serde_json::Value::Null);
}

fn four_events() {
    let user = if crate::support::is_root() { "user = \"nobody\"" } else { "" };
    let supervisor = Supervisor::start(&format!("[programs.one]\ncmd = \"sleep 100\"\nstarttime = 0\n{user}"));
    supervisor.wait_for_state("one", "RUNNING");
    assert_eq!(supervisor.ctl(&["stop", "one"]).code, 0);
    let kinds = eventually("four events", || Some(supervisor.kinds_of("one")).filter(|kinds| kinds.len() >= 4));
    assert_eq!(kinds, ["process.starting", "process.running", "process.stopping", "process.stopped"]);
}
