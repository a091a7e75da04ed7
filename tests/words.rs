//! supervisorctl's words for parts of a reload: `reread`, `update`, `add`, `remove`, `avail`.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::peers::Who;
use crate::support::{Ctl, Need, Supervisor, is_root, proc, program, start, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("reread says what update does, in the lines of supervisorctl", &[], reread_and_update),
        test("an update of some leaves the rest for the next", &[], some),
        test("update waits for what it stops", &[], waits),
        test("a program is added and removed by itself", &[], add_and_remove),
        test("what was removed is forgotten with what was told it by hand", &[], will),
        test("what does not go together with what is in force is refused", &[Need::Root], together),
        test("a broken file is refused by every word", &[], broken),
        test("what is available is told, in force or not", &[], avail),
        test("a log is cleared, and tail shows what came after", &[], clear),
        test("who may reload some programs may not touch others", &[Need::Root], permitted),
    ]
}

#[track_caller]
fn said(ctl: &Ctl, code: i32, stdout: &str) {
    assert_eq!((ctl.code, ctl.stdout.as_str()), (code, stdout), "{}", ctl.stderr);
}

fn names(supervisor: &Supervisor) -> Vec<String> {
    supervisor.status().iter().map(|one| one["process"].as_str().expect("a name").to_owned()).collect()
}

fn reread_and_update() {
    let supervisor = start(&[program("a", ""), program("b", ""), program("old", "")].concat());
    said(&supervisor.ctl(&["reread"]), 0, "No config updates to processes\n");
    said(&supervisor.ctl(&["update"]), 0, "");
    supervisor.configure(&[program("new", ""), program("b", "stoptime = 3"), program("a", "nice = 1")].concat());
    let lines = "a: changed\nb: changed\nnew: available\nold: disappeared\n";
    said(&supervisor.ctl(&["reread"]), 0, lines);
    said(&supervisor.ctl(&["reread"]), 0, lines);
    assert_eq!(names(&supervisor), ["a", "b", "old"]);
    let b = supervisor.pid_of("b");
    said(
        &supervisor.ctl(&["update"]),
        0,
        "old: stopped\nold: removed process group\na: stopped\na: updated process group\n\
         b: updated process group\nnew: added process group\n",
    );
    assert_eq!((names(&supervisor), supervisor.pid_of("b")), (["a", "b", "new"].map(str::to_owned).to_vec(), b));
    said(&supervisor.ctl(&["update", "all"]), 0, "");
    said(&supervisor.ctl(&["update", "zzz"]), 4, "ERROR: no such process/group: zzz\n");
    let near = supervisor.ctl(&["update", "nwe"]);
    assert_eq!(near.stderr.lines().count(), 1, "{near:?}");
    assert!(near.stderr.contains("did you mean") && near.stderr.contains("new"), "{near:?}");
}

fn some() {
    let supervisor = start(&[program("a", ""), program("b", ""), program("c", "")].concat());
    let (a, b) = (supervisor.pid_of("a"), supervisor.pid_of("b"));
    let disk = [program("a", "nice = 1"), program("b", "nice = 1"), program("d", "numprocs = 2")].concat();
    supervisor.configure(&format!("[control]\nmode = \"0600\"\n{disk}"));
    said(&supervisor.ctl(&["update", "a", "d"]), 0, "a: stopped\na: updated process group\nd: added process group\n");
    supervisor.wait_until("all run", |all| all.iter().all(|one| one["state"] == "RUNNING"));
    assert_eq!(names(&supervisor), ["a", "b", "c", "d:0", "d:1"]);
    assert!(supervisor.pid_of("a") != a && supervisor.pid_of("b") == b);
    let told = supervisor.wait_for_event("the reload", |event| event["kind"] == "config.reloaded");
    assert_eq!(told["message"], "only a, d: 1 added, 1 restarted, 2 unchanged");
    // What is in force and what the files say is told apart.
    let reply = supervisor.call("Config", json!({}));
    let on_disk = |name: &str| {
        let all = reply["parameters"]["sections"].as_array().expect("sections");
        let found = all.iter().find(|one| one["program"] == name || one["table"] == name).expect(name);
        found["on_disk"].as_str().expect("a word").to_owned()
    };
    let expected = [("a", "same"), ("b", "changed"), ("c", "removed"), ("d", "same"), ("control", "changed")];
    for (name, word) in expected {
        assert_eq!(on_disk(name), word, "{name}");
    }
    said(&supervisor.ctl(&["reread"]), 0, "b: changed\nc: disappeared\n");
    // A group, a glob and a dry run of some.
    let plan = supervisor.call("Reload", json!({ "dry_run": true, "programs": ["b*"] }));
    assert_eq!(plan["parameters"]["plan"]["restarted"], json!(["b"]));
    assert_eq!(supervisor.pid_of("b"), b);
    said(
        &supervisor.ctl(&["update"]),
        0,
        "c: stopped\nc: removed process group\nb: stopped\nb: updated process group\n",
    );
    said(&supervisor.ctl(&["reread"]), 0, "No config updates to processes\n");
}

fn waits() {
    let slow = "[programs.slow]\ncmd = [\"sh\", \"-c\", \"trap 'sleep 0.3; exit' TERM; echo up; while :; do sleep 0.05; done\"]\n";
    let slow = format!("{slow}starttime = 0\n{}\n", crate::support::user());
    let supervisor = start(&slow);
    crate::support::eventually("it listens", || supervisor.read("log/slow.stdout.log").contains("up").then_some(()));
    let pid = supervisor.pid_of("slow");
    supervisor.configure(&program("a", ""));
    said(&supervisor.ctl(&["update", "slow"]), 0, "slow: stopped\nslow: removed process group\n");
    assert!(!proc::is_alive(pid));
    assert_eq!(names(&supervisor), [] as [&str; 0]);
}

fn add_and_remove() {
    let supervisor = start(&program("a", ""));
    supervisor.configure(&[program("a", "nice = 1"), program("b", ""), program("c", "autostart = false")].concat());
    let a = supervisor.pid_of("a");
    said(&supervisor.ctl(&["add", "b", "c"]), 0, "b: added process group\nc: added process group\n");
    supervisor.wait_for_state("b", "RUNNING");
    assert_eq!((supervisor.pid_of("a"), supervisor.state("c")), (a, "STOPPED".to_owned()));
    said(&supervisor.ctl(&["add", "a"]), 0, "ERROR: process group already active\n");
    said(&supervisor.ctl(&["add", "zzz"]), 4, "ERROR: no such process/group: zzz\n");
    said(&supervisor.ctl(&["remove", "zzz"]), 4, "ERROR: no such process/group: zzz\n");
    said(
        &supervisor.ctl(&["remove", "b", "c"]),
        1,
        "ERROR: process/group still running: b\nc: removed process group\n",
    );
    assert_eq!(names(&supervisor), ["a", "b"]);
    said(&supervisor.ctl(&["stop", "b"]), 0, "b: stopped\n");
    said(&supervisor.ctl(&["remove", "b"]), 0, "b: removed process group\n");
    said(&supervisor.ctl(&["status", "b"]), 4, "b: ERROR (no such process)\n");
    said(&supervisor.ctl(&["reread"]), 0, "a: changed\nb: available\nc: available\n");
    said(&supervisor.ctl(&["update", "b"]), 0, "b: added process group\n");
    said(&supervisor.ctl(&["reload"]), 0, "a: updated process group\nc: added process group\n");
    let json = supervisor.ctl(&["--json", "remove", "c"]);
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json, json!({ "results": [{ "program": "c", "result": "removed" }] }));
    let process = supervisor.ctl(&["remove", "a:0"]);
    assert_eq!((process.code, process.stdout.as_str()), (2, ""), "{process:?}");
    assert!(process.stderr.contains("a:0") && process.stderr.lines().count() == 1, "{process:?}");
    let bare = supervisor.call("Add", json!({}));
    assert_eq!(bare["parameters"]["parameter"], "programs", "{bare}");
}

fn will() {
    let text = format!("{}[control]\nmode = \"0600\"\n", [program("a", ""), program("b", "")].concat());
    let mut supervisor = Supervisor::prepare(&text);
    let config = std::fs::read_to_string(supervisor.config()).expect("a file");
    std::fs::write(supervisor.config(), config.replacen("[supervisor]\n", "[supervisor]\nremember = true\n", 1))
        .expect("write");
    supervisor.launch();
    supervisor.wait_until("both run", |all| all.iter().all(|one| one["state"] == "RUNNING"));
    assert_eq!(supervisor.ctl(&["stop", "a", "b"]).code, 0);
    said(&supervisor.ctl(&["update", "a"]), 0, "");
    assert!(supervisor.read("state/by_hand").ends_with("stopped a:0\nstopped b:0\n"));
    said(&supervisor.ctl(&["remove", "a"]), 0, "a: removed process group\n");
    assert!(supervisor.read("state/by_hand").ends_with("taskmasterd.\nstopped b:0\n"));
    said(&supervisor.ctl(&["add", "a"]), 0, "a: added process group\n");
    supervisor.wait_for_state("a", "RUNNING");
    assert_eq!(supervisor.state("b"), "STOPPED");
}

fn together() {
    let log = |name: &str, user: &str, path: &str| {
        let program = program(name, &format!("stdout = \"@dir@/{path}\"\n"));
        program.replace("user = \"nobody\"", &format!("user = \"{user}\""))
    };
    let supervisor = start(&log("a", "nobody", "x"));
    supervisor.configure(&[log("a", "nobody", "y"), log("b", "daemon", "x")].concat());
    let refused = supervisor.ctl(&["update", "b"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("as `a` does as another user"), "{refused:?}");
    assert_eq!(names(&supervisor), ["a"]);
    assert_eq!(supervisor.ctl(&["update"]).code, 0);
    assert_eq!(names(&supervisor), ["a", "b"]);
}

fn broken() {
    let supervisor = start(&program("a", ""));
    supervisor.configure(&program("a", "frob = 1"));
    for words in [&["reread"][..], &["update"], &["update", "a"], &["add", "a"], &["avail"]] {
        let refused = supervisor.ctl(words);
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{words:?}");
        assert!(refused.stderr.contains("frob"), "{refused:?}");
    }
    // What is in force can go without the files.
    said(&supervisor.ctl(&["stop", "a"]), 0, "a: stopped\n");
    said(&supervisor.ctl(&["remove", "a"]), 0, "a: removed process group\n");
}

fn avail() {
    let supervisor = start(&[program("a", "numprocs = 2"), program("gone", "")].concat());
    supervisor.configure(&[program("a", "numprocs = 2\npriority = 5"), program("b", "autostart = false")].concat());
    let line = |name: &str, rest: &str| format!("{name:<32} {rest}\n");
    let expected = [
        line("a:0", "in use    auto      5:5"),
        line("a:1", "in use    auto      5:5"),
        line("b", "avail     manual    999:999"),
    ];
    said(&supervisor.ctl(&["avail"]), 0, &expected.concat());
    let json: Value = serde_json::from_str(&supervisor.ctl(&["avail", "--json"]).stdout).expect("JSON");
    assert_eq!((&json[0]["numprocs"], &json[1]["in_use"]), (&json!(2), &json!(false)));
}

fn clear() {
    let script = "[\"sh\", \"-c\", \"trap 'echo late; echo worse >&2' USR1; echo early; echo bad >&2; while :; do sleep 0.05; done\"]";
    let talker = |name: &str, more: &str| program(name, more).replace("\"sleep 1000\"", script);
    let programs = [talker("a", ""), talker("b", ""), program("quiet", "stdout = \"discard\"\nstderr = \"discard\"")];
    let supervisor = start(&[programs.concat(), program("never", "autostart = false")].concat());
    let read = |name: &str| supervisor.read(&format!("log/{name}.log"));
    let is = |name: &str, text: &str| {
        crate::support::eventually(&format!("{name} is {text:?}"), || (read(name) == text).then_some(()));
    };
    for name in ["a", "b"] {
        is(&format!("{name}.stdout"), "early\n");
        is(&format!("{name}.stderr"), "bad\n");
    }
    said(&supervisor.ctl(&["clear", "a"]), 0, "a: cleared\n");
    assert_eq!([read("a.stdout"), read("a.stderr"), read("b.stdout")], ["", "", "early\n"]);
    said(&supervisor.ctl(&["tail", "a"]), 0, "");
    said(&supervisor.ctl(&["signal", "USR1", "a"]), 0, "a: signalled\n");
    is("a.stdout", "late\n");
    said(&supervisor.ctl(&["tail", "a"]), 0, "late\n");
    said(&supervisor.ctl(&["clear", "--stderr", "b", "quiet"]), 0, "b: cleared\nquiet: cleared\n");
    assert_eq!([read("b.stdout"), read("b.stderr")], ["early\n", ""]);
    let refused = supervisor.ctl(&["clear", "never", "a"]);
    said(&refused, 1, "never: ERROR (failed)\na: cleared\n");
    said(&supervisor.ctl(&["clear", "zzz"]), 4, "zzz: ERROR (no such process)\n");
    let reply = supervisor.call("Clear", json!({ "selectors": ["never"], "channel": "stdout" }));
    let detail = reply["parameters"]["results"][0]["detail"].as_str().expect("a reason");
    assert!(detail.contains("is not open"), "{detail}");
}

/// A number that no account has.
const ALICE: u32 = 3_000_000_001;

fn permitted() {
    let rules = format!(
        "[control]\nmode = \"0666\"\n[[control.allow]]\nusers = [{ALICE}]\nprograms = [\"web*\", \"front\"]\n\
         verbs = [\"reload\", \"status\"]\n"
    );
    let supervisor = start(&[program("web", ""), program("db", ""), rules.clone()].concat());
    assert!(is_root());
    let moved = [
        program("web", "nice = 1"),
        program("web2", ""),
        program("db", "nice = 1\ngroup_name = \"front\""),
        program("secret", ""),
        rules,
    ];
    supervisor.configure(&moved.concat());
    let alice = Who::user(ALICE);
    let refused = alice.ctl(&supervisor, &["update"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("programs = [\"*\"]"), "{refused:?}");
    assert_eq!(alice.ctl(&supervisor, &["reread"]).code, 5);
    // `db` is hers by the group that the files give it, and not yet.
    let refused = alice.ctl(&supervisor, &["update", "db"]);
    assert!(matches!(refused.code, 4 | 5), "{refused:?}");
    said(&alice.ctl(&supervisor, &["add", "secret"]), 4, "ERROR: no such process/group: secret\n");
    said(&alice.ctl(&supervisor, &["remove", "db"]), 4, "ERROR: no such process/group: db\n");
    said(
        &alice.ctl(&supervisor, &["update", "web*"]),
        0,
        "web: stopped\nweb: updated process group\nweb2: added process group\n",
    );
    assert_eq!(names(&supervisor), ["db", "web", "web2"]);
    // What is wrong with the files of others is not hers to know.
    supervisor.configure("[programs.db]\nfrob = \"a secret\"\n");
    let refused = alice.ctl(&supervisor, &["update", "web"]);
    assert_eq!(refused.code, 1);
    assert!(!refused.stderr.contains("frob") && refused.stderr.contains("faults"), "{refused:?}");
}
