//! `config`, `check` and `events`: what is in force, what would be, and what happened.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::look::{millis, reachable};
use crate::support::peers::Who;
use crate::support::supervisor::TASKMASTERCTL;
use crate::support::{Ctl, Need, Supervisor, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("config shows each value with the line that it comes from", &[Need::Root], origins),
        test("config shows what differs on disk until it is reloaded", &[Need::Root], differs),
        test("config shows no secret", &[Need::Root], secrets),
        test("config of a broken file shows what is in force and says why", &[Need::Root], broken),
        test("config is for who may config and of their programs only", &[Need::Root], permitted),
        test("config of many programs comes in pages", &[Need::Root], pages),
        test("check says what the supervisor would say", &[Need::Root], check),
        test("check as an ordinary user says what it cannot judge", &[Need::Root], check_as_nobody),
        test("events are of what is named and since when is asked", &[Need::Root], events),
        test("events of programs that somebody may not see do not exist", &[Need::Root], events_permitted),
    ]
}

fn program(name: &str, settings: &str) -> String {
    format!("[programs.{name}]\ncmd = \"sleep 1000\"\nstarttime = 0\nuser = \"nobody\"\n{settings}\n")
}

fn start(text: &str) -> Supervisor {
    let supervisor = Supervisor::start(text);
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    supervisor
}

#[track_caller]
fn config(supervisor: &Supervisor, programs: &[&str]) -> Value {
    let answer = supervisor.call("Config", json!({ "programs": programs }));
    assert!(answer.get("error").is_none(), "{answer}");
    answer["parameters"].clone()
}

#[track_caller]
fn section<'a>(reply: &'a Value, name: &str) -> &'a Value {
    let all = reply["sections"].as_array().expect("sections");
    let is_it = |section: &&Value| section["program"] == name || section["table"] == name;
    all.iter().find(is_it).unwrap_or_else(|| panic!("no {name}: {reply}"))
}

#[track_caller]
fn setting<'a>(section: &'a Value, key: &str) -> &'a Value {
    let all = section["settings"].as_array().expect("settings");
    all.iter().find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("no {key}: {section}"))
}

/// The line of a text, from 1.
fn line_of(supervisor: &Supervisor, file: &str, text: &str) -> usize {
    supervisor.read(file).lines().position(|line| line.starts_with(text)).expect(text) + 1
}

fn origins() {
    let supervisor = Supervisor::prepare("");
    supervisor.file("extra.toml", &program("b", "\n[programs.b.env]\nB = 2\n"), 0o644);
    supervisor.file("vars", "FROM_FILE=1\n", 0o600);
    supervisor.configure(
        "[defaults]\nstoptime = 3\nenv = { A = 1 }\n[programs.a]\ncmd = [\"sleep\", \"1000\"]\nuser = \"nobody\"\n\
         starttime = 0\nenv_file = \"@dir@/vars\"\nenv = { OWN = \"x\" }\n[notify]\ngroup_wait = 1\n\
         [notify.email]\nserver = \"127.0.0.1\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\ntls = \"none\"\n",
    );
    let text = format!("include = [\"extra.toml\"]\n{}", supervisor.read("taskmaster.toml"));
    std::fs::write(supervisor.config(), text).expect("write");
    let mut supervisor = supervisor;
    supervisor.launch();
    let whole = config(&supervisor, &[]);
    assert_eq!(whole["fault"], Value::Null);
    let path = |name: &str| json!(supervisor.path(name));
    let (a, b) = (section(&whole, "a"), section(&whole, "b"));
    let main = |text: &str| json!(line_of(&supervisor, "taskmaster.toml", text));
    for (section, key, value, source, file, line) in [
        (a, "cmd", json!(["sleep", "1000"]), "file", path("taskmaster.toml"), main("cmd")),
        (a, "stoptime", json!("3s"), "defaults", path("taskmaster.toml"), main("stoptime")),
        (a, "env.A", json!("1"), "defaults", path("taskmaster.toml"), main("env = { A")),
        (a, "env.OWN", json!("x"), "file", path("taskmaster.toml"), main("env = { OWN")),
        (a, "env.FROM_FILE", json!("1"), "env_file", path("vars"), Value::Null),
        (a, "startretries", json!(3), "built_in", Value::Null, Value::Null),
        (b, "cmd", json!(["sleep", "1000"]), "file", path("extra.toml"), json!(2)),
        (b, "env.B", json!("2"), "file", path("extra.toml"), json!(line_of(&supervisor, "extra.toml", "B = 2"))),
        (section(&whole, "supervisor"), "log_dir", path("log"), "file", path("taskmaster.toml"), main("log_dir")),
        (section(&whole, "supervisor"), "remember", json!(false), "built_in", Value::Null, Value::Null),
        (section(&whole, "control"), "mode", json!("0660"), "built_in", Value::Null, Value::Null),
        (
            section(&whole, "notify"),
            "email.group_wait",
            json!("1s"),
            "file",
            path("taskmaster.toml"),
            main("group_wait"),
        ),
        (
            section(&whole, "notify"),
            "email.from",
            json!("a@example.com"),
            "file",
            path("taskmaster.toml"),
            main("from"),
        ),
        (section(&whole, "notify"), "spool.max_messages", json!(1000), "built_in", Value::Null, Value::Null),
    ] {
        let setting = setting(section, key);
        let seen = (&setting["value"], &setting["source"], &setting["file"], &setting["line"]);
        assert_eq!(seen, (&value, &json!(source), &file, &line), "{key}");
    }
    assert!(whole["sections"].as_array().expect("sections").iter().all(|section| section["on_disk"] == "same"));
    let told = supervisor.ctl(&["config"]);
    assert_eq!(told.code, 0, "{told:?}");
    let line = format!("{}:{} [defaults]", supervisor.config().display(), main("stoptime"));
    assert!(told.stdout.contains("[programs.a]\n") && told.stdout.contains(&line), "{}", told.stdout);
    assert!(!told.stdout.contains("startretries"), "{}", told.stdout);
    let told = supervisor.ctl(&["config", "a"]).stdout;
    assert!(told.contains("startretries") && told.contains("built in") && !told.contains("[supervisor]"), "{told}");
    let json: Value = serde_json::from_str(&supervisor.ctl(&["--json", "config", "b"]).stdout).expect("JSON");
    assert_eq!(json, config(&supervisor, &["b"]));
    let wrong = supervisor.ctl(&["config", "c"]);
    assert_eq!(wrong.code, 4, "{wrong:?}");
}

fn differs() {
    let supervisor = start(&[program("a", "stoptime = 5"), program("old", "")].concat());
    supervisor.configure(
        &["remember = true\n".to_owned(), program("a", "stoptime = 7\nenv = { NEW = 1 }"), program("new", "")].concat(),
    );
    let whole = config(&supervisor, &[]);
    let state = |name: &str| section(&whole, name)["on_disk"].clone();
    assert_eq!([state("a"), state("old"), state("new")], [json!("changed"), json!("removed"), json!("added")]);
    assert_eq!([state("supervisor"), state("control")], [json!("changed"), json!("same")]);
    let stoptime = setting(section(&whole, "a"), "stoptime");
    assert_eq!((&stoptime["value"], &stoptime["on_disk"]), (&json!("5s"), &json!("7s")));
    let new = setting(section(&whole, "a"), "env.NEW");
    assert_eq!((&new["value"], &new["on_disk"]), (&Value::Null, &json!("1")));
    assert!(setting(section(&whole, "a"), "umask").get("on_disk").is_none());
    let told = supervisor.ctl(&["config", "a", "new"]).stdout;
    assert!(told.contains("\"7s\"") && told.contains("not yet reloaded") && told.contains("only on disk"), "{told}");
    assert_eq!(supervisor.ctl(&["reload"]).code, 0);
    let whole = config(&supervisor, &[]);
    assert!(whole["sections"].as_array().expect("all").iter().all(|section| section["on_disk"] == "same"), "{whole}");
    assert_eq!(setting(section(&whole, "a"), "stoptime")["value"], "7s");
}

fn secrets() {
    let text = |secret: &str| {
        format!(
            "[programs.a]\ncmd = [\"sleep\", \"1000\", \"--password={secret}\"]\nuser = \"nobody\"\nstarttime = 0\n\
             env = {{ API_TOKEN = \"{secret}\", DATABASE_URL = \"pg://me:{secret}@h/d\", PLAIN = \"seen\" }}\n\
             [notify.webhooks.chat]\nurl = \"https://hooks.example.com/{secret}\"\n[[notify.rules]]\non = [\"process.fatal\"]\n\
             to = [\"webhooks.chat\"]\n"
        )
    };
    let supervisor = Supervisor::start(&text("s3cret"));
    supervisor.configure(&text("n3wsecret"));
    for reply in [config(&supervisor, &[]).to_string(), supervisor.ctl(&["config", "all"]).stdout] {
        assert!(!reply.contains("s3cret") && !reply.contains("n3wsecret"), "{reply}");
        assert!(reply.contains("seen"), "{reply}");
    }
    let whole = config(&supervisor, &[]);
    assert_eq!(setting(section(&whole, "notify"), "webhooks.chat.url")["value"], "https://hooks.example.com/(hidden)");
    assert!(
        setting(section(&whole, "notify"), "webhooks.chat.url").get("on_disk").is_some(),
        "that it differs is told"
    );
    assert_eq!(setting(section(&whole, "a"), "env.API_TOKEN")["on_disk"], "(hidden)");
}

fn broken() {
    let supervisor = start(&program("a", ""));
    supervisor.configure(&program("a", "stoptme = 5"));
    let whole = config(&supervisor, &["a"]);
    assert_eq!(section(&whole, "a")["on_disk"], "unknown");
    assert!(whole["fault"].as_str().is_some_and(|fault| fault.contains("did you mean `stoptime`?")), "{whole}");
    let told = supervisor.ctl(&["config", "a"]);
    assert!(told.code == 0 && told.stdout.contains("sleep") && told.stderr.contains("stoptime"), "{told:?}");
}

const ALICE: u32 = 3_000_000_001;
const BOB: u32 = 3_000_000_002;

fn permitted() {
    let rules = format!(
        "[control]\nmode = \"0666\"\n\
         [[control.allow]]\nusers = [{ALICE}]\nprograms = [\"web*\"]\nverbs = [\"status\", \"config\"]\n\
         [[control.allow]]\nusers = [{ALICE}]\nprograms = [\"db\"]\nverbs = [\"status\"]\n\
         [[control.allow]]\nusers = [{BOB}]\nprograms = [\"*\"]\nverbs = [\"status\", \"reload\"]\n"
    );
    let programs = [program("web1", "env = { A = 1 }"), program("db", ""), program("hid", "")].concat();
    let supervisor = start(&(programs.clone() + &rules));
    let added = [programs, program("web2", ""), program("other", "")].concat();
    supervisor.configure(&(added + &rules));
    let mut alice = Who::user(ALICE).connect(&supervisor);
    let reply = alice.call("Config", json!({}));
    let sections = reply["parameters"]["sections"].as_array().expect("sections").clone();
    let names: Vec<&Value> = sections.iter().map(|section| &section["program"]).collect();
    assert_eq!(names, ["web1", "web2"], "{reply}");
    let answer = alice.call("Config", json!({ "programs": ["db"] }));
    assert_eq!(answer["error"], "io.taskmaster.Control.NotPermitted", "{answer}");
    assert!(answer["parameters"]["rule"].as_str().is_some_and(|rule| rule.contains("\"config\"")), "{answer}");
    for hidden in ["hid", "other"] {
        let answer = alice.call("Config", json!({ "programs": [hidden] }));
        assert_eq!(answer["error"], "io.taskmaster.Control.NoSuchProgram", "{answer}");
    }
    supervisor.configure("[programs.other]\nsecret_of_others = \"x\"\n");
    let fault = alice.call("Config", json!({}))["parameters"]["fault"].clone();
    assert!(fault.as_str().is_some_and(|fault| !fault.contains("other")), "{fault}");
    let mut bob = Who::user(BOB).connect(&supervisor);
    assert_eq!(bob.call("Config", json!({}))["error"], "io.taskmaster.Control.NotPermitted");
    let refused = Who::user(BOB).ctl(&supervisor, &["config"]);
    assert_eq!(refused.code, 5, "{refused:?}");
}

fn pages() {
    let programs: String = (0..230).map(|number| program(&format!("p{number}"), "autostart = false")).collect();
    let supervisor = Supervisor::start(&programs);
    let first = config(&supervisor, &["all"]);
    assert_eq!(first["sections"].as_array().map(Vec::len), Some(100));
    let second = supervisor.call("Config", json!({ "programs": ["all"], "after": first["next"] }));
    assert_ne!(second["parameters"]["sections"][0]["program"], first["sections"][99]["program"]);
    let all = supervisor.ctl(&["--json", "config"]);
    let all: Value = serde_json::from_str(&all.stdout).expect("JSON");
    assert_eq!(all["sections"].as_array().map(Vec::len), Some(233));
    assert_eq!(supervisor.call("Config", json!({ "after": "a b" }))["error"], "org.varlink.service.InvalidParameter");
}

fn ctl(file: &std::path::Path, more: &[&str]) -> Ctl {
    let mut command = std::process::Command::new(TASKMASTERCTL);
    command.args(more).arg("check").arg(file).output().expect("taskmasterctl runs").into()
}

fn check() {
    let supervisor = Supervisor::prepare(&program("a", ""));
    let good = ctl(&supervisor.config(), &[]);
    assert_eq!(good.code, 0, "{good:?}");
    assert!(good.stdout.ends_with(": valid, 1 program, 1 process\n"), "{good:?}");
    supervisor.configure(&program("a", "stoptme = 5\numask = 77"));
    let bad = ctl(&supervisor.config(), &[]);
    assert_eq!((bad.code, bad.stdout.as_str()), (2, ""), "{bad:?}");
    assert!(bad.stderr.contains("did you mean `stoptime`?") && bad.stderr.contains("2 faults"), "{bad:?}");
    let json: Value = serde_json::from_str(&ctl(&supervisor.config(), &["--json"]).stdout).expect("JSON");
    assert_eq!(json["valid"], false);
    let missing = ctl(&supervisor.path("none.toml"), &[]);
    assert!(missing.code == 2 && missing.stderr.contains("none.toml"), "{missing:?}");
}

fn check_as_nobody() {
    let supervisor = Supervisor::prepare("[programs.a]\ncmd = \"sleep 1000\"\n");
    reachable(crate::support::supervisor::TASKMASTERD, &supervisor);
    let path = supervisor.config();
    let told = Who::user(ALICE).ctl(&supervisor, &["check", path.to_str().expect("a path")]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stderr.contains("check as root") && told.stderr.contains("`user`"), "{told:?}");
    assert_eq!(ctl(&path, &[]).code, 2, "as root it is a fault");
}

fn events() {
    let supervisor = start(&[program("a", ""), program("b", "group_name = \"front\"")].concat());
    assert_eq!(supervisor.ctl(&["restart", "a"]).code, 0);
    let about = |parameters: Value| {
        let answer = supervisor.call("Events", parameters);
        let all = answer["parameters"]["events"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        (all, answer["parameters"]["forgotten"].clone())
    };
    let (of_a, _) = about(json!({ "selectors": ["a"] }));
    assert!(of_a.len() >= 6 && of_a.iter().all(|event| event["process"] == "a"), "{of_a:?}");
    assert_eq!(about(json!({ "selectors": ["front"] })).0.len(), 2);
    let middle = &of_a[3];
    let (late, forgotten) = about(json!({ "selectors": ["a"], "since_time": middle["time"] }));
    assert!(late.iter().all(|event| millis(event) >= millis(middle)) && late.contains(middle), "{late:?}");
    assert_eq!(forgotten, false);
    assert_eq!(about(json!({ "since_time": "2999-01-01T00:00:00Z" })).0, Vec::<Value>::new());
    let wrong = supervisor.call("Events", json!({ "selectors": ["nope"] }));
    assert_eq!(wrong["error"], "io.taskmaster.Control.NoSuchProgram");
    let wrong = supervisor.call("Events", json!({ "since_time": "yesterday" }));
    assert_eq!(
        (&wrong["error"], &wrong["parameters"]["parameter"]),
        (&json!("org.varlink.service.InvalidParameter"), &json!("since_time"))
    );
    let many = vec!["a"; 101];
    assert_eq!(
        supervisor.call("Events", json!({ "selectors": many }))["error"],
        "org.varlink.service.InvalidParameter"
    );
    // A follower hears of what it named only.
    let mut follower = crate::support::peers::Connection::of(
        std::os::unix::net::UnixStream::connect(supervisor.socket()).expect("connects"),
    );
    follower.send_more("Events", json!({ "follow": true, "selectors": ["b"] }));
    assert_eq!(follower.answer()["parameters"]["events"].as_array().map(Vec::len), Some(2));
    assert_eq!(supervisor.ctl(&["stop", "a"]).code, 0);
    assert_eq!(supervisor.ctl(&["stop", "b"]).code, 0);
    assert_eq!(follower.answer()["parameters"]["events"][0]["process"], "b");
    let told = supervisor.ctl(&["events", "--since", "1h", "front"]);
    assert!(told.code == 0 && told.stdout.lines().count() >= 4, "{told:?}");
    assert!(told.stdout.lines().all(|line| line.contains(" b ")), "{told:?}");
    let json = supervisor.ctl(&["--json", "events", "--since", "1h", "b"]).stdout;
    assert!(json.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|event| event["process"] == "b")));
    assert_eq!(supervisor.ctl(&["events", "--since", "2000-01-01", "nope"]).code, 4);
    let wrong = supervisor.ctl(&["events", "--since", "someday"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("`someday` is no time"), "{wrong:?}");
    // What is gone can still be asked for by its name.
    supervisor.reload_with(&program("a", ""));
    supervisor.wait_until("b is gone", |all| all.len() == 1);
    assert!(!about(json!({ "selectors": ["b"] })).0.is_empty());
}

fn events_permitted() {
    let rules = format!(
        "[control]\nmode = \"0666\"\n[[control.allow]]\nusers = [{ALICE}]\nprograms = [\"a\"]\nverbs = [\"status\"]\n"
    );
    let supervisor = start(&([program("a", ""), program("b", "")].concat() + &rules));
    let mut alice = Who::user(ALICE).connect(&supervisor);
    let hidden = alice.call("Events", json!({ "selectors": ["b"] }));
    assert_eq!(hidden["error"], "io.taskmaster.Control.NoSuchProgram", "{hidden}");
    let own = alice.call("Events", json!({ "selectors": ["a"] }));
    assert!(own["parameters"]["events"].as_array().is_some_and(|all| !all.is_empty()), "{own}");
}
