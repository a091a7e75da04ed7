//! The files for service managers and packages: what systemd says of the unit, and the Debian package on a clean
//! system with a systemd of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::machine::Machine;
use crate::support::{Ctl, Need, openrc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("systemd finds no fault in the unit", &[Need::Program("systemd-analyze")], verified),
        test("each item that systemd finds open has its reason", &[Need::Program("systemd-analyze")], exposure),
        test("the drop in for newer systemd is understood", &[Need::Program("systemd-analyze")], drop_in),
        test("the package lives under systemd from its installation to its removal", MACHINE, package),
        test("the service lives under OpenRC as the script says", OPENRC, under_openrc),
        test("the readme leads from the package to a mail of a crash", MACHINE, readme),
    ]
}

const MACHINE: &[Need] = &[
    Need::Root,
    Need::Program("debootstrap"),
    Need::Program("systemd-nspawn"),
    Need::Program("cargo-deb"),
    Need::Program("dpkg-shlibdeps"),
];

const OPENRC: &[Need] = &[
    Need::Root,
    Need::Program("debootstrap"),
    Need::Program("systemd-nspawn"),
    Need::Program("cargo-deb"),
    Need::Program("dpkg-shlibdeps"),
    Need::OpenRc,
];

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What `systemd-analyze verify` says of a unit in a directory of its own, with programs that are there.
fn verify(unit: &str) -> Ctl {
    let directory = tempfile::tempdir().expect("a directory");
    let unit = unit.replace("/usr/bin/taskmasterd", "/bin/true").replace("/usr/bin/taskmasterctl", "/bin/true");
    let without_manuals: String =
        unit.lines().filter(|line| !line.starts_with("Documentation=")).map(|line| format!("{line}\n")).collect();
    let path = directory.path().join("taskmaster.service");
    std::fs::write(&path, without_manuals).expect("writes");
    Command::new("systemd-analyze").arg("verify").arg(&path).output().expect("runs").into()
}

fn unit() -> String {
    std::fs::read_to_string(source("systemd/taskmaster.service")).expect("reads")
}

fn verified() {
    let said = verify(&unit());
    assert!(said.code == 0 && said.stderr.is_empty(), "{said:?}");
    let wrong = verify(&unit().replace("Delegate=yes", "Delegat=yes"));
    assert!(wrong.stderr.contains("Delegat"), "it looks at the unit: {wrong:?}");
}

fn drop_in() {
    let text = std::fs::read_to_string(source("systemd/notify-reload.conf")).expect("reads");
    let settings: Vec<&str> = text.lines().filter(|line| line.contains('=') && !line.starts_with('#')).collect();
    assert_eq!(settings, ["Type=notify-reload", "ExecReload="]);
    let version = Command::new("systemd-analyze").arg("--version").output().expect("runs");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let number: u32 = version.split(' ').nth(1).and_then(|number| number.parse().ok()).expect("a number");
    let said = verify(&(unit() + "\n[Service]\n" + &settings.join("\n") + "\n"));
    let understood = !said.stderr.contains("notify-reload");
    assert_eq!(understood, number >= 253, "systemd {number}: {said:?}");
}

fn exposure() {
    let said = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--json=short"])
        .arg(source("systemd/taskmaster.service"))
        .output()
        .expect("runs");
    let items: Vec<Value> = serde_json::from_slice(&said.stdout).expect("JSON");
    let open: BTreeSet<&str> = items
        .iter()
        .filter(|item| item["set"] == false && item["exposure"].is_string())
        .filter_map(|item| item["name"].as_str())
        .collect();
    let text = std::fs::read_to_string(source("systemd/exposure.md")).expect("reads").replace("\\|", "\0");
    let rows: Vec<Vec<String>> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('\0', "|")).collect())
        .collect();
    assert!(rows.iter().all(|row| row.len() == 3 && !row[1].is_empty()), "{rows:?}");
    let told: BTreeSet<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert!(open.len() > 20, "{open:?}");
    let unexplained: Vec<_> = open.difference(&told).collect();
    let closed: Vec<_> = told.difference(&open).collect();
    assert!(unexplained.is_empty() && closed.is_empty(), "without reason: {unexplained:?}; not open: {closed:?}");
}

/// What the README has one type, as it stands there; nobody is there to say yes to apt.
fn readme() {
    let text = std::fs::read_to_string(source("README.md")).expect("reads");
    let section = text.split_once("\n## Install\n").expect("a section").1;
    let typed = section.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```")).expect("commands").0;
    let machine = Machine::new();
    machine.package("0.1.0-1", "taskmaster_0.1.0-1_amd64.deb");
    let yes = "export DEBIAN_FRONTEND=noninteractive\napt() { apt-get --yes \"$@\"; }\ncd /job\n";
    let said = machine.run(&format!("{yes}{typed}"));
    for part in ["Active: active (running)", "valid, 1 program, 1 process", "RUNNING", "Subject: web crashed on "] {
        assert!(said.contains(part), "no {part:?} in\n{said}\n{}", machine.console());
    }
}

/// Runs in the machine, as the first and only job; each line that it prints is a fact that is looked for.
const SCRIPT: &str = concat!(include_str!("data/facts.sh"), include_str!("data/installed.sh"));

/// Asserts that a script has printed all of these.
#[track_caller]
fn assert_facts(machine: &Machine, said: &str, expected: &[&str]) {
    let facts: Vec<&str> = said.lines().collect();
    for fact in expected {
        assert!(facts.contains(fact), "no {fact:?} in\n{said}\n{}", machine.console());
    }
}

fn package() {
    let machine = Machine::new();
    machine.package("0.1.0-1", "first.deb");
    machine.package("0.1.0-2", "second.deb");
    let said = machine.run(SCRIPT);
    assert_facts(
        &machine,
        &said,
        &[
            "installed: active enabled",
            "first start: a note and no warning",
            "member: sees web and may not stop it",
            "accounts: taskmaster-log taskmaster-notify taskmaster-shell taskmaster",
            "type: notify ready",
            "status: no processes",
            "helpers: taskmaster-log taskmaster-notify",
            "check: valid",
            "reload: applied, web RUNNING as nobody",
            "status: 1 process: 1 running",
            "group: /system.slice/taskmaster.service/",
            "refused reload: failed with the faults, web goes on",
            "mail: web crashed",
            "hang: the watchdog restarted it",
            "kill: restarted",
            "old program: gone",
            "upgrade: same supervisor, same program, told how",
            "configuration: kept",
            "restart: new supervisor",
            "removal: stopped, nothing left",
            "purge: no state",
            "group's /var/log: active, events.log",
            "purge: nothing at all",
            "journal: Reloading",
            "end",
        ],
    );
}

/// As [`SCRIPT`], in a machine where OpenRC starts the service.
const OPENRC_SCRIPT: &str = concat!(include_str!("data/facts.sh"), include_str!("data/openrc.sh"));

fn under_openrc() {
    let machine = Machine::new();
    machine.package("0.1.0-1", "taskmaster.deb");
    machine.give(&source("etc/openrc/taskmaster"));
    for entry in std::fs::read_dir(openrc()).expect("the packages") {
        machine.give(&entry.expect("an entry").path());
    }
    let said = machine.run_alone(OPENRC_SCRIPT);
    assert_facts(
        &machine,
        &said,
        &[
            "start: 0, ready",
            "status: 0",
            "reload: 0, applied",
            "faulty reload: 1, told, web goes on",
            "faulty restart: 1, told, web goes on",
            "killed: started again, status 0",
            "restart: 0, a new one",
            "left behind: status 64",
            "stop: 0, nothing left",
            "status: 3",
            "second instance: 1, told",
            "faulty start: 1, told",
            "end",
        ],
    );
}
