//! Ansible's module for supervisorctl, as users of supervisord have it, with `taskmasterctl` in its place.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::supervisor::TASKMASTERCTL;
use crate::support::{Need, Supervisor, eventually, program, python, start, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test(
            "ansible's module for supervisorctl does all it can, and nothing the second time",
            &[Need::PythonPackage("ansible_collections.community.general")],
            every_state,
        ),
        test(
            "ansible's module is told why something cannot be done",
            &[Need::PythonPackage("ansible_collections.community.general")],
            failures,
        ),
    ]
}

/// What the module said of these arguments: of one host, itself, without a network.
#[track_caller]
fn module(supervisor: &Supervisor, arguments: &str) -> Value {
    let ansible = python().with_file_name("ansible");
    let home = supervisor.path("ansible");
    std::fs::create_dir_all(&home).expect("a directory");
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).expect("chmod");
    let output = Command::new(&ansible)
        .args(["localhost", "-i", "localhost,", "-c", "local", "-m", "community.general.supervisorctl", "-a"])
        .arg(format!("{arguments} supervisorctl_path={TASKMASTERCTL} server_url={}", supervisor.socket().display()))
        .args(["-e", &format!("ansible_python_interpreter={}", python().display())])
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C.UTF-8"), ("ANSIBLE_STDOUT_CALLBACK", "json")])
        .envs([("ANSIBLE_LOAD_CALLBACK_PLUGINS", "1"), ("ANSIBLE_LOCALHOST_WARNING", "0")])
        .env("HOME", &home)
        .env("ANSIBLE_LOCAL_TEMP", home.join("local"))
        .env("ANSIBLE_REMOTE_TEMP", home.join("remote"))
        .current_dir(&home)
        .output()
        .expect("ansible runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    report["plays"][0]["tasks"][0]["hosts"]["localhost"].clone()
}

/// The first time it changes something, the second time nothing.
#[track_caller]
fn twice(supervisor: &Supervisor, arguments: &str) {
    for expected in [true, false] {
        let result = module(supervisor, arguments);
        assert!(result["failed"] != true && result["changed"] == expected, "{arguments}: {expected}: {result}");
    }
}

/// Says so when it gets a signal.
const COUNTER: &str = "[\"sh\", \"-c\", \"trap 'echo signal' USR1; echo up; while :; do sleep 0.05; done\"]";

fn every_state() {
    let web = program("web", "");
    let counter = program("counter", "").replace("\"sleep 1000\"", COUNTER);
    let several = program("several", "numprocs = 2");
    let supervisor = start("");
    supervisor.configure(&[web.clone(), counter, several].concat());
    for name in ["web", "counter", "several:"] {
        twice(&supervisor, &format!("name={name} state=present"));
    }
    supervisor.wait_until("all run", |all| all.len() == 4 && all.iter().all(|one| one["state"] == "RUNNING"));
    twice(&supervisor, "name=web state=stopped");
    assert_eq!(supervisor.state("web"), "STOPPED");
    twice(&supervisor, "name=web state=started");
    twice(&supervisor, "name=several: state=stopped");
    assert_eq!((supervisor.state("several:0"), supervisor.state("several:1")), ("STOPPED".into(), "STOPPED".into()));
    // Each restart is one, and takes over what has changed in the files.
    let pid = supervisor.pid_of("web");
    supervisor.configure(&[web.clone(), program("new", "")].concat());
    let result = module(&supervisor, "name=web state=restarted");
    assert_eq!(result["changed"], true, "{result}");
    assert_ne!(supervisor.pid_of("web"), pid);
    assert_eq!(supervisor.status().len(), 2, "the others are gone, and new is there");
    let counter = program("counter", "").replace("\"sleep 1000\"", COUNTER);
    supervisor.configure(&[web, counter].concat());
    twice(&supervisor, "name=counter state=present");
    eventually("it listens", || supervisor.read("log/counter.stdout.log").ends_with("up\n").then_some(()));
    let result = module(&supervisor, "name=counter state=signalled signal=USR1");
    assert_eq!(result["changed"], true, "{result}");
    eventually("the signal came", || supervisor.read("log/counter.stdout.log").contains("signal\n").then_some(()));
    twice(&supervisor, "name=counter state=absent stop_before_removing=true");
    assert!(supervisor.status().iter().all(|one| one["process"] != "counter"));
}

fn failures() {
    let supervisor = start(&program("web", ""));
    let result = module(&supervisor, "name=web state=absent");
    assert!(result["msg"].as_str().is_some_and(|msg| msg.contains("still running: web")), "{result}");
    let result = module(&supervisor, "name=nothing state=started");
    assert!(result["msg"].as_str().is_some_and(|msg| msg.contains("no such process")), "{result}");
    let result = module(&supervisor, "name=nothing state=present");
    assert!(result["msg"].as_str().is_some_and(|msg| msg.contains("no such process/group: nothing")), "{result}");
    let result = module(&supervisor, "name=web state=signalled signal=USR9");
    assert!(result["failed"] == true && result["rc"] == 2, "{result}");
    supervisor.configure(&program("web", "frob = 1"));
    let result = module(&supervisor, "name=web state=restarted");
    assert!(
        result["failed"] == true && result["stderr"].as_str().is_some_and(|text| text.contains("frob")),
        "{result}"
    );
}
