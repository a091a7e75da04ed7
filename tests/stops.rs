//! How processes end: by order, by themselves, all at once, and with their supervisor.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::look::{Survivors, millis};
use crate::support::{Need, Supervisor, eventually, measured, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("a child that ignores TERM is killed after stoptime", &[Need::Root], ignores_term),
        test("a stopped child still stops", &[Need::Root], sigstopped),
        test("two hundred killed in one moment are all reaped with their status", &[Need::Root], killed_together),
        test("two hundred that exit in one moment are all reaped with their status", &[Need::Root], exit_together),
        test("a stop ends the grandchildren of the group", &[Need::Root], group_stopped),
        test("grandchildren go when the main process ends by itself", &[Need::Root], group_left),
        test("kill_mode process leaves grandchildren alone", &[Need::Root], process_only),
        test("a grandchild that holds standard output open delays nothing", &[Need::Root], held_output),
        test("a program stopped while STARTING stops", &[Need::Root], stopped_while_starting),
        test("a program stopped in BACKOFF stays stopped", &[Need::Root], stopped_in_backoff),
        test("a restart of a running program gives another process", &[Need::Root], restart),
        test("the stop signal of each program is its own", &[Need::Root], stop_signals),
        test("shutdown stops in reverse order of priority", &[Need::Root], shutdown_order),
        test("a second TERM kills at once", &[Need::Root], second_term),
        test("shutdown_timeout ends what will not end", &[Need::Root], shutdown_timeout),
        test("orphans are reaped", &[Need::Root], orphans),
        test("a restart is over when somebody else stops the program", &[], stopped_meanwhile),
        test(
            "what a killed supervisor left is ended before it is started again",
            &[Need::Root, Need::Cgroup2],
            leftovers,
        ),
        test("programs get their stop signal when the supervisor is killed", &[Need::Root], supervisor_killed),
        test("programs with on_supervisor_death keep go on when the supervisor is killed", &[Need::Root], kept),
    ]
}

fn one(settings: &str) -> Supervisor {
    Supervisor::start(&format!("[programs.one]\nuser = \"nobody\"\nstarttime = 0\n{settings}\n"))
}

/// The processes in the group that this one leads, itself left out.
fn group(leader: i64) -> Vec<i64> {
    let leads = |pid: &i64| *pid != leader && proc::stat(*pid).get(2).is_some_and(|group| *group == leader.to_string());
    proc::all().into_iter().filter(leads).collect()
}

/// Waits until the program has this many grandchildren.
fn wait_for_group(leader: i64, count: usize) -> Vec<i64> {
    eventually("its grandchildren run", || Some(group(leader)).filter(|pids| pids.len() >= count))
}

const STUBBORN: &str = "cmd = [\"sh\", \"-c\", \"trap '' TERM; while :; do sleep 1000; done\"]";

fn ignores_term() {
    measured("it is killed after its 300 ms", ignores_term_once);
}

/// `Err`: how long it has taken.
fn ignores_term_once() -> Result<(), String> {
    let mut supervisor = one(&format!("{STUBBORN}\nstoptime = \"300ms\"\nstdout = \"discard\""));
    supervisor.wait_for_state("one", "RUNNING");
    let pid = supervisor.pid_of("one");
    proc::wait_until_handled(pid, 15);
    let stopped = supervisor.ctl(&["stop", "one"]);
    assert_eq!((stopped.code, stopped.stdout.as_str()), (0, "one: stopped\n"));
    assert!(!proc::is_alive(pid));
    supervisor.wait_for_kind("one", "process.stopped");
    let kinds = ["process.starting", "process.running", "process.stopping", "process.killed", "process.stopped"];
    assert_eq!(supervisor.kinds_of("one"), kinds);
    let events = supervisor.events_of("one");
    let waited = millis(&events[3]) - millis(&events[2]);
    assert_eq!(events[3]["message"], "it did not end within 300ms of SIGTERM");
    assert_eq!(events[4]["signal"], "KILL");
    assert_eq!(supervisor.process("one")["last_exit"]["signal"], "KILL");
    assert_eq!(supervisor.stop(), 0);
    if (280..1500).contains(&waited) { Ok(()) } else { Err(format!("{waited} ms")) }
}

fn sigstopped() {
    let supervisor = one("cmd = \"sleep 1000\"");
    supervisor.wait_for_state("one", "RUNNING");
    let pid = supervisor.pid_of("one");
    proc::hold(pid);
    assert_eq!(supervisor.state("one"), "RUNNING", "a stopped process is alive");
    assert_eq!(supervisor.ctl(&["stop", "one"]).code, 0);
    supervisor.wait_for_kind("one", "process.stopped");
    let kinds = supervisor.kinds_of("one");
    assert!(!kinds.contains(&"process.killed".to_owned()), "TERM was enough: {kinds:?}");
    assert_eq!(supervisor.process("one")["last_exit"]["signal"], "TERM");
}

/// Many processes that wait at a gate, and exit with their own code when it opens.
fn many() -> (Supervisor, Vec<i64>) {
    let mut supervisor = Supervisor::prepare(
        r#"
        [programs.many]
        cmd = ["sh", "-c", "read x < @dir@/gate; exit $((TASKMASTER_INSTANCE % 100 + 1))"]
        numprocs = 200
        user = "nobody"
        autorestart = "never"
        starttime = 0
        stdout = "discard"
        stderr = "discard"
        "#,
    );
    supervisor.fifo("gate");
    supervisor.launch();
    supervisor.wait_until("all run", |all| all.len() == 200 && all.iter().all(|p| p["state"] == "RUNNING"));
    let pids: Vec<i64> = supervisor.status().iter().filter_map(|process| process["pid"].as_i64()).collect();
    assert_eq!(pids.len(), 200);
    (supervisor, pids)
}

fn killed_together() {
    let (mut supervisor, pids) = many();
    for pid in &pids {
        proc::kill(*pid, 9);
    }
    supervisor.wait_until("all have ended", |all| all.iter().all(|p| p["state"] == "EXITED"));
    for process in supervisor.status() {
        assert_eq!((&process["last_exit"]["signal"], &process["pid"]), (&json!("KILL"), &Value::Null), "{process}");
    }
    assert!(pids.iter().all(|pid| proc::stat(*pid).is_empty()), "all are reaped");
    supervisor.assert_no_zombie();
    assert_eq!(supervisor.stop(), 0);
    let crashes = supervisor.event_log().iter().filter(|e| e["kind"] == "process.crashed").count();
    assert_eq!(crashes, 200);
}

fn exit_together() {
    let (mut supervisor, pids) = many();
    // All wait at the gate: before, one that is late would open it after everybody has gone.
    let at_the_gate =
        |pid: &i64| std::fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|w| w.contains("fifo"));
    let known = pids.iter().any(at_the_gate);
    eventually("all wait at the gate", || {
        let waits = |pid: &i64| proc::stat(*pid).first().is_some_and(|state| state == "S");
        pids.iter().all(|pid| if known { at_the_gate(pid) } else { waits(pid) }).then_some(())
    });
    let gate = supervisor.path("gate");
    let ended = |all: &[Value]| all.iter().all(|process| process["state"] == "EXITED");
    supervisor.open_gate("gate");
    // Whoever was late after all: the gate opens for them, too, as long as one waits.
    eventually("all have gone through", || {
        let done = ended(&supervisor.status());
        if !done {
            let flags = libc::O_NONBLOCK;
            let _ = std::os::unix::fs::OpenOptionsExt::custom_flags(std::fs::OpenOptions::new().write(true), flags)
                .open(&gate);
        }
        done.then_some(())
    });
    for process in supervisor.status() {
        let instance = process["instance"].as_u64().expect("a number");
        assert_eq!(process["last_exit"]["code"].as_u64(), Some(instance % 100 + 1), "{process}");
    }
    assert!(pids.iter().all(|pid| proc::stat(*pid).is_empty()), "all are reaped");
    supervisor.assert_no_zombie();
    assert_eq!(supervisor.stop(), 0);
}

/// Two grandchildren, one of which ignores TERM.
const FAMILY: &str = "cmd = [\"sh\", \"-c\", \"sleep 1000 & (trap '' TERM; sleep 1000; sleep 1000) & wait\"]";

fn group_stopped() {
    let mut supervisor = one(&format!("{FAMILY}\nstoptime = \"300ms\""));
    supervisor.wait_for_state("one", "RUNNING");
    let pid = supervisor.pid_of("one");
    let family = wait_for_group(pid, 3);
    assert_eq!(supervisor.ctl(&["stop", "one"]).code, 0);
    assert!(!proc::is_alive(pid));
    assert!(family.iter().all(|pid| !proc::is_alive(*pid)), "STOPPED means that all are gone");
    supervisor.wait_for_kind("one", "process.stopped");
    assert!(supervisor.kinds_of("one").contains(&"process.killed".to_owned()), "one had to be killed");
    supervisor.assert_no_zombie();
    assert_eq!(supervisor.stop(), 0);
}

fn group_left() {
    let mut supervisor = one(&format!("{FAMILY}\nstoptime = \"100ms\"\nbackoff = {{ initial = 0, step = 0 }}"));
    supervisor.wait_for_state("one", "RUNNING");
    let pid = supervisor.pid_of("one");
    let family = wait_for_group(pid, 3);
    proc::kill(pid, 9);
    supervisor.wait_until("another runs", |all| all[0]["state"] == "RUNNING" && all[0]["pid"] != pid);
    assert!(family.iter().all(|pid| !proc::is_alive(*pid)), "nothing is left before the next life");
    assert_eq!(supervisor.stop(), 0);
}

fn process_only() {
    let mut supervisor = one(&format!("{FAMILY}\nkill_mode = \"process\"\nbackoff = {{ initial = 0, step = 0 }}"));
    supervisor.wait_for_state("one", "RUNNING");
    let first = supervisor.pid_of("one");
    let mut survivors = Survivors(wait_for_group(first, 3));
    proc::kill(first, 9);
    supervisor.wait_until("another runs", |all| all[0]["state"] == "RUNNING" && all[0]["pid"] != first);
    let second = supervisor.pid_of("one");
    survivors.0.extend(wait_for_group(second, 3));
    assert_eq!(supervisor.ctl(&["stop", "one"]).code, 0);
    assert!(!proc::is_alive(second));
    assert!(survivors.0.iter().all(|pid| proc::is_alive(*pid)), "they were left alone");
    assert!(!supervisor.kinds_of("one").contains(&"process.killed".to_owned()));
    supervisor.signal(15);
    assert_eq!(supervisor.wait_for_end(), 0);
    assert!(survivors.0.iter().all(|pid| proc::is_alive(*pid)), "also by a shutdown");
}

fn held_output() {
    // In a session of its own, so that it is not of the group.
    measured("the end of the program, and that of the supervisor, are not held up", held_output_once);
}

/// `Err`: how long it has taken.
fn held_output_once() -> Result<(), String> {
    let mut supervisor =
        one("cmd = [\"sh\", \"-c\", \"setsid sleep 1000 & read x < @dir@/gate; exit 7\"]\nautorestart = \"never\"\n\
         # the FIFO is made before the start: see below\nautostart = false");
    supervisor.fifo("gate");
    assert_eq!(supervisor.ctl(&["start", "one"]).code, 0);
    let pid = supervisor.pid_of("one");
    let _holder = Survivors(eventually("the holder runs", || {
        let holds = |other: &i64| {
            std::fs::read_to_string(format!("/proc/{other}/comm")).is_ok_and(|comm| comm == "sleep\n")
                && proc::stat(*other).get(2).is_some_and(|group| *group == other.to_string())
        };
        Some(proc::children(pid).into_iter().filter(holds).collect::<Vec<_>>()).filter(|found| !found.is_empty())
    }));
    let before = std::time::Instant::now();
    supervisor.open_gate("gate");
    supervisor.wait_for_state("one", "EXITED");
    let program = before.elapsed();
    assert_eq!(supervisor.process("one")["last_exit"]["code"], 7);
    let before = std::time::Instant::now();
    supervisor.signal(15);
    assert_eq!(supervisor.wait_for_end(), 0);
    let took = (program.as_millis(), before.elapsed().as_millis());
    if took.0 < 1000 && took.1 < 4000 { Ok(()) } else { Err(format!("{took:?} ms")) }
}

fn stopped_while_starting() {
    let supervisor = one("cmd = \"sleep 1000\"\nautostart = false");
    supervisor
        .configure("[programs.one]\nuser = \"nobody\"\nstarttime = 1000\nautostart = false\ncmd = \"sleep 1000\"");
    supervisor.ctl(&["reload"]);
    let ordered = supervisor.call("Start", json!({ "selectors": ["one"], "wait": false }));
    assert_eq!(ordered["parameters"]["results"][0]["outcome"], "ordered");
    supervisor.wait_for_execution("one");
    assert_eq!(supervisor.state("one"), "STARTING");
    let pid = supervisor.pid_of("one");
    assert_eq!(supervisor.ctl(&["stop", "one"]).code, 0);
    assert_eq!(supervisor.state("one"), "STOPPED");
    assert!(!proc::is_alive(pid));
    // At once after the order, whatever the spawner has done of it by then.
    for _ in 0..20 {
        supervisor.call("Start", json!({ "selectors": ["one"], "wait": false }));
        let stopped = supervisor.call("Stop", json!({ "selectors": ["one"] }));
        assert_eq!(stopped["parameters"]["results"][0]["outcome"], "stopped", "{stopped}");
        assert_eq!(supervisor.state("one"), "STOPPED");
    }
    let running = |pid: &i64| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n");
    assert_eq!(proc::children(supervisor.pid()).iter().filter(|pid| running(pid)).count(), 0);
}

fn stopped_in_backoff() {
    let supervisor = one("cmd = \"/no/such/program\"\nbackoff = { initial = \"1000s\", max = \"1000s\" }");
    supervisor.wait_for_state("one", "BACKOFF");
    assert_eq!(supervisor.ctl(&["stop", "one"]).code, 0);
    assert_eq!(supervisor.state("one"), "STOPPED");
    supervisor.wait_for_kind("one", "process.stopped");
    let process = supervisor.process("one");
    assert_eq!((&process["wanted"], &process["reason"]), (&json!("down"), &Value::Null));
}

fn restart() {
    let supervisor = one("cmd = \"sleep 1000\"");
    supervisor.wait_for_state("one", "RUNNING");
    let before = supervisor.pid_of("one");
    let restarted = supervisor.ctl(&["restart", "one"]);
    assert_eq!((restarted.code, restarted.stdout.as_str()), (0, "one: stopped\none: started\n"));
    assert_ne!(supervisor.pid_of("one"), before);
    assert!(!proc::is_alive(before));
    assert_eq!(supervisor.process("one")["restarts"], 0, "a person's restart is not counted");
}

fn stop_signals() {
    let signals = ["HUP", "INT", "QUIT", "USR1", "USR2", "KILL", "RTMIN+3"];
    let program = |signal: &&str| {
        let name = signal.replace('+', "");
        format!(
            "[programs.p{name}]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\nstopsignal = \"{signal}\"\n"
        )
    };
    let supervisor = Supervisor::start(&signals.iter().map(program).collect::<String>());
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    let stopped = supervisor.ctl(&["stop", "all"]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    for signal in signals {
        let name = format!("p{}", signal.replace('+', ""));
        assert_eq!(supervisor.process(&name)["last_exit"]["signal"], signal);
    }
}

fn shutdown_order() {
    let program = |n: u32| {
        format!(
            "[programs.p{n}]\ncmd = [\"sh\", \"-c\", \"trap 'sleep 0.1; exit 0' TERM; while :; do sleep 0.01; done\"]\n\
             user = \"nobody\"\nstarttime = 0\npriority = {n}\nnumprocs = 2\n"
        )
    };
    let mut supervisor = Supervisor::start(&[2, 3, 1].map(program).concat());
    supervisor.wait_until("all run", |all| all.len() == 6 && all.iter().all(|p| p["state"] == "RUNNING"));
    for process in supervisor.status() {
        proc::wait_until_handled(process["pid"].as_i64().expect("a pid"), 15);
    }
    assert_eq!(supervisor.stop(), 0);
    let events = supervisor.event_log();
    let order = |kind: &str| -> Vec<String> {
        let of_kind = events.iter().filter(|event| event["kind"] == kind);
        of_kind.filter_map(|event| event["program"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(order("process.starting"), ["p1", "p1", "p2", "p2", "p3", "p3"]);
    assert_eq!(order("process.stopping"), ["p3", "p3", "p2", "p2", "p1", "p1"]);
    assert_eq!(order("process.stopped"), ["p3", "p3", "p2", "p2", "p1", "p1"]);
    // One priority at a time.
    let ends: Vec<usize> = (0..events.len()).filter(|i| events[*i]["kind"] == "process.stopped").collect();
    let begins: Vec<usize> = (0..events.len()).filter(|i| events[*i]["kind"] == "process.stopping").collect();
    assert!(begins[2] > ends[1] && begins[4] > ends[3], "{begins:?} {ends:?}");
    assert_eq!(events.last().map(|event| event["kind"].clone()), Some(json!("supervisor.stopped")));
    assert!(!supervisor.socket().exists(), "the socket is gone");
}

fn second_term() {
    let mut supervisor = one(&format!("{STUBBORN}\nstoptime = 1000"));
    supervisor.wait_for_state("one", "RUNNING");
    let pid = supervisor.pid_of("one");
    proc::wait_until_handled(pid, 15);
    supervisor.signal(15);
    supervisor.wait_for_kind("one", "process.stopping");
    assert!(proc::is_alive(pid));
    supervisor.signal(15);
    assert_eq!(supervisor.wait_for_end(), 0);
    assert!(!proc::is_alive(pid));
    assert!(supervisor.kinds_of("one").contains(&"process.killed".to_owned()));
}

fn shutdown_timeout() {
    let mut supervisor =
        Supervisor::prepare(&format!("[programs.one]\nuser = \"nobody\"\nstarttime = 0\n{STUBBORN}\nstoptime = 1000"));
    let text = supervisor.read("taskmaster.toml").replace("[supervisor]", "[supervisor]\nshutdown_timeout = \"200ms\"");
    std::fs::write(supervisor.config(), text).expect("write");
    supervisor.launch();
    supervisor.wait_for_state("one", "RUNNING");
    let pid = supervisor.pid_of("one");
    proc::wait_until_handled(pid, 15);
    assert_eq!(supervisor.stop(), 0);
    let told = supervisor.event_log().into_iter().filter(|event| event["kind"] == "supervisor.stopping");
    let words: Vec<String> = told.filter_map(|event| event["message"].as_str().map(str::to_owned)).collect();
    assert!(words.iter().any(|text| text.contains("not ended within 200ms") && text.contains("one")), "{words:?}");
}

fn orphans() {
    let mut supervisor = one("cmd = [\"sh\", \"-c\", \"setsid sh -c 'sleep 1000 & sleep 1000 &'; exec sleep 2000\"]");
    supervisor.wait_for_state("one", "RUNNING");
    let one = supervisor.pid_of("one");
    let given = eventually("orphans are given to the supervisor", || {
        let is_orphan = |pid: &i64| {
            *pid != one && std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x001000\x00")
        };
        Some(proc::children(supervisor.pid()).into_iter().filter(is_orphan).collect::<Vec<_>>())
            .filter(|found| found.len() == 2)
    });
    for pid in &given {
        proc::kill(*pid, 9);
    }
    eventually("they are reaped", || given.iter().all(|pid| proc::stat(*pid).is_empty()).then_some(()));
    assert_eq!(supervisor.pid_of("one"), one);
    assert_eq!(supervisor.stop(), 0);
}

fn supervisor_killed() {
    let mut supervisor = Supervisor::prepare(
        r#"
        [programs.told]
        cmd = ["sh", "-c", "trap 'echo told > @dir@/out/told; exit 0' USR1; while :; do sleep 0.01; done"]
        stopsignal = "USR1"
        user = "nobody"
        starttime = 0
        [programs.plain]
        cmd = "sleep 1000"
        numprocs = 5
        user = "daemon"
        starttime = 0
        "#,
    );
    supervisor.subdirectory("out", 0o777, "root");
    supervisor.launch();
    supervisor.wait_until("all run", |all| all.len() == 6 && all.iter().all(|p| p["state"] == "RUNNING"));
    proc::wait_until_handled(supervisor.pid_of("told"), 10);
    let below = proc::descendants(supervisor.pid());
    assert!(below.len() >= 9, "programs, spawner, logger, notifier: {below:?}");
    supervisor.kill_hard();
    let left = Survivors(below);
    eventually("all have ended, the helpers too", || left.0.iter().all(|pid| !proc::is_alive(*pid)).then_some(()));
    assert_eq!(supervisor.read("out/told"), "told\n");
}

fn kept() {
    let mut supervisor = one("cmd = \"sleep 1000\"\non_supervisor_death = \"keep\"");
    supervisor.wait_for_state("one", "RUNNING");
    let kept = Survivors(vec![supervisor.pid_of("one")]);
    let helpers: Vec<i64> = ["spawner", "logger", "notifier"].iter().map(|name| supervisor.helper(name)).collect();
    supervisor.kill_hard();
    eventually("the helpers have ended", || helpers.iter().all(|pid| !proc::is_alive(*pid)).then_some(()));
    assert!(proc::is_alive(kept.0[0]));
}

fn stopped_meanwhile() {
    let user = if crate::support::is_root() { "user = \"nobody\"" } else { "" };
    let supervisor = Supervisor::start(&format!(
        "[programs.one]\ncmd = [\"sh\", \"-c\", 'trap \"\" TERM; while :; do sleep 0.05; done']\nstarttime = 0\nstoptime = 1000\n{user}\n"
    ));
    supervisor.wait_for_state("one", "RUNNING");
    let pid = supervisor.pid_of("one");
    proc::wait_until_handled(pid, 15);
    std::thread::scope(|scope| {
        let restart = scope.spawn(|| supervisor.call("Restart", json!({ "selectors": ["one"] })));
        supervisor.wait_for_state("one", "STOPPING");
        let stop = scope.spawn(|| supervisor.call("Stop", json!({ "selectors": ["one"] })));
        eventually("both orders are given", || (supervisor.process("one")["wanted"] == "down").then_some(()));
        proc::kill(pid, 9);
        let stopped = stop.join().expect("an answer");
        assert_eq!(stopped["parameters"]["results"][0]["outcome"], "stopped");
        // The call has a time limit of its own: a wait for ever would fail here.
        let restarted = restart.join().expect("an answer");
        assert_eq!(restarted["parameters"]["results"][0]["outcome"], "superseded", "{restarted}");
    });
    assert_eq!(supervisor.state("one"), "STOPPED");
}

/// Also from another place in the hierarchy of control groups.
fn leftovers() {
    let mut supervisor = Supervisor::start(
        "[programs.keeps]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\non_supervisor_death = \"keep\"\n",
    );
    supervisor.wait_for_state("keeps", "RUNNING");
    let left = supervisor.pid_of("keeps");
    supervisor.signal(9);
    supervisor.wait_for_end();
    assert!(proc::is_alive(left));
    let elsewhere = crate::support::cgroup_mount().expect("a mount").join(format!("tm-test-{}", std::process::id()));
    std::fs::create_dir(&elsewhere).expect("a control group");
    let procs = elsewhere.join("cgroup.procs");
    supervisor.launch_with(|command| {
        let program = command.get_program().to_owned();
        let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
        let mut wrapped = std::process::Command::new("sh");
        wrapped.args(["-c", &format!("echo $$ > {}; exec \"$@\"", procs.display()), "sh"]).arg(program).args(arguments);
        std::os::unix::process::CommandExt::process_group(&mut wrapped, 0);
        wrapped.stdin(std::process::Stdio::null());
        *command = wrapped;
    });
    supervisor.wait_for_state("keeps", "RUNNING");
    assert!(!proc::is_alive(left), "the old one is ended");
    assert_ne!(supervisor.pid_of("keeps"), left);
    assert_eq!(supervisor.stop(), 0);
    eventually("the control group is empty", || std::fs::remove_dir(&elsewhere).ok());
}
