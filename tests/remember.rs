//! What was started and stopped by hand stays so over a restart of the supervisor, if that is wanted.

use std::os::unix::fs::PermissionsExt;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{Supervisor, is_root, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("what was stopped by hand stays stopped over a restart", &[], stopped),
        test("what was started by hand is started again", &[], started),
        test("a crash of the supervisor takes nothing from what is remembered", &[], crash),
        test("a reload keeps what is remembered and forgets what is not configured", &[], reloaded),
        test("without remember all starts as configured and nothing is written", &[], not_wanted),
        test("a file that makes no sense is refused in words", &[], hostile),
        test("what is remembered stays in the directory that was judged", &[], given_away),
    ]
}

const FILE: &str = "state/by_hand";

fn program(name: &str, settings: &str) -> String {
    let user = if is_root() { "user = \"nobody\"" } else { "" };
    format!("[programs.{name}]\ncmd = \"sleep 1000\"\nstarttime = 0\n{user}\n{settings}\n")
}

/// The keys follow those of `[supervisor]`.
fn config(programs: &[String]) -> String {
    format!("remember = true\n{}", programs.concat())
}

fn settle(supervisor: &Supervisor) {
    let settled = |p: &Value| p["state"] == "RUNNING" || p["wanted"] == "down";
    supervisor.wait_until("all have settled", |all| all.iter().all(settled));
}

fn restart(supervisor: &mut Supervisor) {
    assert_eq!(supervisor.stop(), 0);
    supervisor.launch();
    settle(supervisor);
}

fn stopped() {
    let mut supervisor = Supervisor::start(&config(&[program("web", "numprocs = 3"), program("db", "")]));
    settle(&supervisor);
    assert_eq!(supervisor.ctl(&["stop", "web:1", "db"]).code, 0);
    let reason = |name: &str, supervisor: &Supervisor| supervisor.process(name)["reason"].clone();
    assert_eq!(reason("db", &supervisor), "stopped by hand, remembered");
    let mode = std::fs::metadata(supervisor.path(FILE)).expect("written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    restart(&mut supervisor);
    for (name, state) in [("web:0", "RUNNING"), ("web:1", "STOPPED"), ("web:2", "RUNNING"), ("db", "STOPPED")] {
        assert_eq!(supervisor.state(name), state, "{name}");
    }
    assert_eq!(reason("web:1", &supervisor), "stopped by hand, remembered");
    assert_eq!(reason("web:0", &supervisor), Value::Null);
    assert!(supervisor.kinds_of("db").last().is_some_and(|kind| kind == "process.stopped"));
    // A shutdown is no order for the programs.
    assert_eq!(supervisor.ctl(&["start", "all"]).code, 0);
    assert_eq!(reason("db", &supervisor), Value::Null);
    restart(&mut supervisor);
    assert!(supervisor.status().iter().all(|process| process["state"] == "RUNNING"));
    assert_eq!(supervisor.stop(), 0);
}

fn started() {
    let mut supervisor =
        Supervisor::start(&config(&[program("a", "autostart = false"), program("b", "autostart = false")]));
    settle(&supervisor);
    assert_eq!(supervisor.ctl(&["start", "a"]).code, 0);
    restart(&mut supervisor);
    assert_eq!((supervisor.state("a").as_str(), supervisor.state("b").as_str()), ("RUNNING", "STOPPED"));
    assert_eq!(supervisor.process("b")["reason"], Value::Null);
    assert_eq!(supervisor.ctl(&["stop", "a"]).code, 0);
    restart(&mut supervisor);
    assert_eq!(supervisor.state("a"), "STOPPED");
    assert_eq!(supervisor.process("a")["reason"], Value::Null, "that is as configured");
    assert_eq!(supervisor.stop(), 0);
}

fn crash() {
    let mut supervisor = Supervisor::start(&config(&[program("a", ""), program("b", "")]));
    settle(&supervisor);
    assert_eq!(supervisor.ctl(&["stop", "a"]).code, 0);
    // What is half written when it ends is not what is read.
    std::fs::write(supervisor.path("state/by_hand.new"), "stopped b:").expect("write");
    supervisor.kill_hard();
    supervisor.launch();
    settle(&supervisor);
    assert_eq!((supervisor.state("a").as_str(), supervisor.state("b").as_str()), ("STOPPED", "RUNNING"));
    assert_eq!(supervisor.ctl(&["stop", "b"]).code, 0);
    assert!(supervisor.read(FILE).contains("stopped b:0"));
    assert_eq!(supervisor.stop(), 0);
}

fn reloaded() {
    let mut supervisor = Supervisor::start(&config(&[program("a", ""), program("b", "")]));
    settle(&supervisor);
    assert_eq!(supervisor.ctl(&["stop", "a", "b"]).code, 0);
    supervisor.reload_with(&config(&[program("a", "priority = 1\numask = \"077\"")]));
    assert_eq!(supervisor.state("a"), "STOPPED");
    assert!(!supervisor.read(FILE).contains("b:0") && supervisor.read(FILE).contains("stopped a:0"));
    restart(&mut supervisor);
    assert_eq!(supervisor.state("a"), "STOPPED");
    supervisor.reload_with(&config(&[program("a", ""), program("b", "")]));
    supervisor.wait_for_state("b", "RUNNING");
    // Taken out of the configuration, it counts no more; back in it, what was ordered since does.
    supervisor.reload_with(&[program("a", ""), program("b", "")].concat());
    assert!(!supervisor.path(FILE).exists());
    assert_eq!(supervisor.process("a")["reason"], Value::Null);
    supervisor.reload_with(&config(&[program("a", ""), program("b", "")]));
    assert!(supervisor.read(FILE).contains("stopped a:0"));
    assert_eq!(supervisor.stop(), 0);
}

fn not_wanted() {
    let mut supervisor = Supervisor::start(&program("a", ""));
    settle(&supervisor);
    assert_eq!(supervisor.ctl(&["stop", "a"]).code, 0);
    assert!(!supervisor.path(FILE).exists());
    assert_eq!(supervisor.process("a")["reason"], Value::Null);
    std::fs::write(supervisor.path(FILE), "stopped a:0\n").expect("write");
    restart(&mut supervisor);
    assert_eq!(supervisor.state("a"), "RUNNING");
    assert!(!supervisor.path(FILE).exists(), "what is forgotten does not come back");
    assert_eq!(supervisor.stop(), 0);
}

/// Whoever can put another directory in its place decides about nothing.
fn given_away() {
    let supervisor = Supervisor::start(&config(&[program("a", "")]));
    settle(&supervisor);
    let (state, moved, other) = (supervisor.path("state"), supervisor.path("moved"), supervisor.path("other"));
    std::fs::create_dir(&other).expect("a directory");
    std::fs::write(other.join("by_hand"), "precious").expect("write");
    std::fs::rename(&state, &moved).expect("moves");
    std::os::unix::fs::symlink(&other, &state).expect("a link");
    assert_eq!(supervisor.ctl(&["stop", "a"]).code, 0);
    assert!(supervisor.read("moved/by_hand").contains("stopped a:0"));
    assert_eq!(supervisor.read("other/by_hand"), "precious");
    assert_eq!(std::fs::read_dir(&other).expect("a directory").count(), 1);
}

fn hostile() {
    let mut supervisor = Supervisor::prepare(&config(&[program("a", "")]));
    let write = |supervisor: &Supervisor, text: &str, mode: u32| {
        let _ = std::fs::remove_file(supervisor.path(FILE));
        let _ = std::fs::create_dir(supervisor.path("state"));
        std::fs::write(supervisor.path(FILE), text).expect("write");
        std::fs::set_permissions(supervisor.path(FILE), std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    std::fs::create_dir(supervisor.path("state")).expect("a directory");
    std::fs::set_permissions(supervisor.path("state"), std::fs::Permissions::from_mode(0o711)).expect("chmod");
    let long = "stopped a:0\n".repeat(800_000);
    for (text, mode, words) in [
        ("\u{1b}[2J\u{0}", 0o600, "cut off"),
        ("stopped a:0\nrm -rf /\n", 0o600, "line 2 is no"),
        ("stopped a:0\n", 0o666, "written by others"),
        (&long, 0o600, "too large"),
    ] {
        write(&supervisor, text, mode);
        supervisor.launch();
        settle(&supervisor);
        assert_eq!(supervisor.state("a"), "RUNNING", "{words}");
        let told = supervisor.read("console");
        assert!(told.contains("is not remembered") && told.contains(words), "{told}");
        supervisor.wait_for_recent("the refusal", |event| {
            event["kind"] == "config.rejected"
                && event["message"].as_str().is_some_and(|message| message.contains(words))
        });
        assert_eq!(supervisor.stop(), 0);
    }
    std::fs::remove_file(supervisor.path(FILE)).expect("there");
    std::os::unix::fs::symlink("/etc/passwd", supervisor.path(FILE)).expect("a link");
    supervisor.launch();
    settle(&supervisor);
    assert!(supervisor.read("console").contains("is a symbolic link; remove it"));
    // What it cannot write it tells, and obeys all the same.
    assert_eq!(supervisor.ctl(&["stop", "a"]).code, 0);
    assert!(supervisor.read(FILE).contains("stopped a:0"));
    assert!(std::fs::read_to_string("/etc/passwd").expect("there").contains("root"));
    assert_eq!(supervisor.stop(), 0);
}
