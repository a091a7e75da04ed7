//! The control socket as others speak to it: a varlink library, a script without one, a service manager.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::peers::Who;
use crate::support::{Need, Supervisor, is_root, python, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("the varlink package of python drives the supervisor", &[Need::PythonPackage("varlink")], package),
        test("the script of the readme shows the status", &[Need::Program("python3")], script),
        test("a service manager can ask what systemd lets it ask", &[], service_manager),
        test("a reload by a service manager tells the faults and needs permission", &[Need::Root], reload),
        test("a parameter that is null is one that is not there", &[], null),
    ]
}

const PROGRAM: &str = "[programs.web]\nuser = \"nobody\"\ncmd = \"sleep 1000\"\nstarttime = 0\n";

fn start() -> Supervisor {
    let program = if is_root() { PROGRAM.to_owned() } else { PROGRAM.replace("user = \"nobody\"", "") };
    let supervisor = Supervisor::start(&program);
    supervisor.wait_for_state("web", "RUNNING");
    supervisor
}

/// What it printed; it must not fail.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().expect("starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn package() {
    let supervisor = start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/drive.py");
    assert_eq!(output(Command::new(python()).arg(script).arg(supervisor.socket())), "all is well\n");
}

fn script() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let script = readme.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a script");
    let supervisor = start();
    let shown = output(Command::new("python3").args(["-c", script]).arg(supervisor.socket()));
    assert_eq!(shown, format!("web RUNNING {}\n", supervisor.pid_of("web")));
}

fn call(supervisor: &Supervisor, method: &str, parameters: Value) -> Value {
    supervisor.call(method, parameters)
}

fn service_manager() {
    let supervisor = start();
    let answer = call(&supervisor, "io.systemd.service.Ping", json!({}));
    assert_eq!((&answer["error"], &answer["parameters"]), (&Value::Null, &json!({})));
    let pid = supervisor.pid_of("web");
    assert_eq!(call(&supervisor, "io.systemd.service.Reload", json!({}))["parameters"], json!({}));
    supervisor.wait_for_event("the reload", |event| event["kind"] == "config.reloaded");
    assert_eq!(supervisor.pid_of("web"), pid);
    for (method, parameters, error, named) in [
        ("io.systemd.service.SetLogLevel", json!({ "level": 7 }), "MethodNotImplemented", "method"),
        ("io.systemd.service.Pong", json!({}), "MethodNotFound", "method"),
        ("io.systemd.service.Ping", json!({ "x": 1 }), "InvalidParameter", "parameter"),
        ("org.varlink.service.GetInfo", json!({ "x": 1 }), "InvalidParameter", "parameter"),
        ("org.varlink.service.GetInterfaceDescription", json!({}), "InvalidParameter", "parameter"),
        ("org.varlink.service.GetInterfaceDescription", json!({ "interface": 7 }), "InvalidParameter", "parameter"),
        ("io.systemd.Manager.Reload", json!({}), "InterfaceNotFound", "interface"),
    ] {
        let answer = call(&supervisor, method, parameters);
        assert_eq!(answer["error"], format!("org.varlink.service.{error}"), "{method}");
        assert!(answer["parameters"][named].is_string(), "{answer}");
    }
    let described =
        call(&supervisor, "org.varlink.service.GetInterfaceDescription", json!({ "interface": "io.systemd.service" }));
    let text = described["parameters"]["description"].as_str().expect("a description");
    assert!(text.contains("interface io.systemd.service\n") && text.contains("method Reload() -> ()"), "{text}");
}

/// A number that no account has.
const SOMEBODY: u32 = 3_000_000_001;

fn reload() {
    let supervisor = start();
    supervisor.configure("[programs.web]\nfrob = 1\n");
    let rejected = call(&supervisor, "io.systemd.service.Reload", json!({}));
    assert_eq!(rejected["error"], "io.taskmaster.Control.ConfigRejected");
    assert!(rejected["parameters"]["faults"].as_str().is_some_and(|faults| faults.contains("frob")), "{rejected}");
    assert_eq!(supervisor.state("web"), "RUNNING");
    let rules = format!("[control]\nmode = \"0666\"\n[[control.allow]]\nusers = [{SOMEBODY}]\nverbs = [\"status\"]\n");
    let supervisor = Supervisor::start(&format!("{PROGRAM}{rules}"));
    let mut somebody = Who::user(SOMEBODY).connect(&supervisor);
    assert_eq!(somebody.call("io.systemd.service.Ping", json!({}))["parameters"], json!({}));
    let refused = somebody.call("io.systemd.service.Reload", json!({}));
    assert_eq!(refused["error"], "io.taskmaster.Control.NotPermitted");
    assert_eq!(refused["parameters"]["verb"], "reload");
}

fn null() {
    let supervisor = start();
    let status = call(&supervisor, "Status", json!({ "selectors": null }));
    assert_eq!(status["parameters"]["processes"][0]["process"], "web", "{status}");
    let stopped = call(&supervisor, "Stop", json!({ "selectors": ["web"], "wait": null }));
    assert_eq!(stopped["parameters"]["results"][0]["outcome"], "stopped", "{stopped}");
    assert_eq!(call(&supervisor, "Signal", json!({ "signal": null }))["parameters"]["parameter"], "signal");
}
