//! Who may do what over the control socket, by clients with other users' rights.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::look::taskmasterd;
use crate::support::peers::{Accounts, Connection, Who};
use crate::support::{Need, Supervisor, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("who is in no rule is refused before anything it sent is read", &[Need::Root], in_no_rule),
        test("a client sees the programs of its rules and no others exist for it", &[Need::Root], sees_its_own),
        test("what is seen and not allowed refuses the whole command", &[Need::Root], whole_command),
        test("what concerns the supervisor needs a rule for all programs", &[Need::Root], whole_supervisor),
        test("a rule names by primary and by supplementary group", &[Need::Root], by_group),
        test("a group counts among hundreds of others", &[Need::Root], many_groups),
        test("a rule for a group name is for its programs", &[Need::Root], group_name),
        test("accounts are named in rules and told in refusals", &[Need::Root], by_name),
        test("an unknown name is for nobody until a reload finds it", &[Need::Root], unknown_name),
        test("an unknown group of the socket keeps no program waiting", &[Need::Root], unknown_group),
        test("the rights are those at connect whoever speaks", &[Need::Root], rights_at_connect),
        test("a reload takes rights away from the next call on and ends nothing", &[Need::Root], taken_away),
        test("a tail that runs goes on when its right is taken away", &[Need::Root], running_tail),
        test("followers hear of their programs only", &[Need::Root], followers),
        test("past events are those of the own programs", &[Need::Root], past_events),
        test("refusals of one client are told at most once a second", &[Need::Root], limited),
        test("neither refused clients nor those of a user keep others out", &[Need::Root], crowds),
        test("no worker of taskmaster can be allowed anything", &[Need::Root], workers),
    ]
}

/// Numbers that no account has.
const ALICE: u32 = 3_000_000_001;
const BOB: u32 = 3_000_000_002;
const CAROL: u32 = 3_000_000_003;
const GROUP: u32 = 3_000_000_050;

const NOT_PERMITTED: &str = "io.taskmaster.Control.NotPermitted";
const NO_SUCH_PROGRAM: &str = "io.taskmaster.Control.NoSuchProgram";

/// `web1`, `web2` and `db`, and these rules.
fn config(rules: &str) -> String {
    let program = |name: &str, more: &str| {
        format!("[programs.{name}]\ncmd = \"sleep 1000\"\nstarttime = 0\nuser = \"nobody\"\n{more}")
    };
    let programs = [program("web1", "group_name = \"front\"\n"), program("web2", ""), program("db", "")].concat();
    format!("{programs}[control]\nmode = \"0666\"\n{rules}")
}

fn rule(whom: &str, programs: &str, verbs: &str) -> String {
    format!("[[control.allow]]\n{whom}\nprograms = {programs}\nverbs = {verbs}\n")
}

/// Alice may see `web*`, and stop `web1`.
fn half_of_it() -> String {
    let alice = format!("users = [{ALICE}]");
    rule(&alice, "[\"web*\"]", "[\"status\", \"tail\"]") + &rule(&alice, "[\"web1\"]", "[\"stop\", \"start\"]")
}

fn start(rules: &str) -> Supervisor {
    let supervisor = Supervisor::start(&config(rules));
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    supervisor
}

fn pids(supervisor: &Supervisor) -> Vec<i64> {
    ["web1", "web2", "db"].iter().map(|name| supervisor.pid_of(name)).collect()
}

#[track_caller]
fn assert_refused(answer: &Value, verb: &str, rule: &str) {
    assert_eq!((&answer["error"], &answer["parameters"]["verb"]), (&json!(NOT_PERMITTED), &json!(verb)), "{answer}");
    let told = answer["parameters"]["rule"].as_str().unwrap_or_default();
    assert!(told.contains(rule), "{rule}: {answer}");
}

#[track_caller]
fn assert_done(answer: &Value) {
    assert!(answer.get("error").is_none(), "{answer}");
}

fn in_no_rule() {
    let supervisor = start(&half_of_it());
    let mut bob = Who::user(BOB).connect(&supervisor);
    // No call at all; it would be told so if it were read.
    bob.stream().write_all(b"\xff\xfe nonsense\0").expect("writes");
    assert_refused(&bob.answer(), "connect", &format!("a [[control.allow]] for uid {BOB}"));
    let refused = Who::user(BOB).ctl(&supervisor, &["stop", "web1"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (5, ""), "{refused:?}");
    // Alice's number as a group is not Alice.
    let mut group = Who { uid: BOB, gid: ALICE, groups: vec![ALICE, 0] }.connect(&supervisor);
    assert_refused(&group.call("Version", json!({})), "connect", "a [[control.allow]]");
    let denied = supervisor.wait_for_event("the refusal", |event| event["kind"] == "control.denied");
    assert!(denied["message"].as_str().is_some_and(|text| text.contains(&format!("uid {BOB}"))), "{denied}");
}

fn sees_its_own() {
    let supervisor = start(&half_of_it());
    let mut alice = Who::user(ALICE).connect(&supervisor);
    assert_eq!(alice.call("Version", json!({}))["parameters"]["pid"], supervisor.pid());
    assert_eq!(alice.names(&[]), ["web1", "web2"]);
    for selector in ["all", "*", "w*", "*:*"] {
        assert_eq!(alice.names(&[selector]), ["web1", "web2"], "{selector}");
    }
    // What she may do nothing with is told in the same words as what is not there.
    for method in ["Status", "Security", "Start", "Stop", "Restart", "Tail"] {
        for (hidden, absent) in [("db", "zz"), ("db:0", "zz:0"), ("d*", "z*"), ("dbx", "zzx")] {
            let answers = [hidden, absent].map(|selector| {
                let mut answer = alice.order(method, &[selector]);
                assert_eq!(answer["parameters"]["selector"].take(), selector, "{answer}");
                answer
            });
            assert_eq!(answers[0], answers[1], "{method} {hidden}");
            assert_eq!(
                (&answers[0]["error"], &answers[0]["parameters"]["suggestion"]),
                (&json!(NO_SUCH_PROGRAM), &Value::Null)
            );
        }
    }
    let near = alice.order("Status", &["wbe1"]);
    assert_eq!(near["parameters"]["suggestion"], "web1", "{near}");
    let ctl = |arguments: &[&str]| Who::user(ALICE).ctl(&supervisor, arguments);
    let status = ctl(&["status"]);
    assert!(status.code == 0 && status.stdout.contains("web2") && !status.stdout.contains("db"), "{status:?}");
    assert_eq!((ctl(&["status", "db"]).code, ctl(&["tail", "web1"]).code), (4, 0));
}

fn whole_command() {
    let supervisor = start(&half_of_it());
    let before = pids(&supervisor);
    let mut alice = Who::user(ALICE).connect(&supervisor);
    let missing = format!("a [[control.allow]] for uid {ALICE} with verbs = [\"stop\"] and programs matching \"web2\"");
    for selectors in [&["web2"][..], &["web1", "web2"], &["web2", "web1"], &["all"], &["web*"]] {
        assert_refused(&alice.order("Stop", selectors), "stop", &missing);
    }
    assert_refused(&alice.order("Restart", &["web1"]), "restart", "programs matching \"web1\"");
    let signal = json!({ "signal": "KILL", "selectors": ["web1"] });
    assert_refused(&alice.call("Signal", signal), "signal", "verbs = [\"signal\"]");
    assert_eq!(pids(&supervisor), before);
    let refused = Who::user(ALICE).ctl(&supervisor, &["stop", "web2"]);
    assert!(refused.code == 5 && refused.stderr.contains(&missing), "{refused:?}");
    // What she may do, she can.
    assert_eq!(alice.order("Stop", &["web1"])["parameters"]["results"][0]["outcome"], "stopped");
    assert_eq!(alice.order("Start", &["front"])["parameters"]["results"][0]["outcome"], "started");
    assert_eq!(pids(&supervisor)[1..], before[1..]);
}

fn whole_supervisor() {
    let (alice, bob) = (format!("users = [{ALICE}]"), format!("users = [{BOB}]"));
    let verbs = "[\"reload\", \"reopen\", \"shutdown\"]";
    let mut supervisor = start(
        &(rule(&alice, "[\"web*\", \"db\"]", verbs)
            + &rule(&bob, "[\"*\"]", verbs)
            + &rule(&format!("users = [{CAROL}]"), "[\"*\"]", "[\"reopen\", \"shutdown\"]")),
    );
    let mut alice = Who::user(ALICE).connect(&supervisor);
    for verb in ["Reload", "Reopen", "Shutdown"] {
        assert_refused(&alice.call(verb, json!({})), &verb.to_lowercase(), "programs = [\"*\"]");
    }
    assert_done(&alice.call("Version", json!({})));
    // What concerns the supervisor shows no program; `reload` does, for it can be of each.
    let mut bob = Who::user(BOB).connect(&supervisor);
    assert_refused(&bob.call("Status", json!({})), "status", "verbs = [\"status\"]");
    assert_refused(&bob.order("Stop", &["all"]), "stop", "verbs = [\"stop\"]");
    assert_refused(&bob.call("Events", json!({})), "status", "verbs = [\"status\"]");
    assert_refused(&bob.order("Stop", &["db"]), "stop", "verbs = [\"stop\"]");
    let mut carol = Who::user(CAROL).connect(&supervisor);
    assert_eq!(carol.order("Stop", &["db"])["error"], NO_SUCH_PROGRAM);
    for verb in ["Reload", "Reopen", "Shutdown"] {
        assert_done(&bob.call(verb, json!({})));
    }
    assert_eq!(supervisor.wait_for_end(), 0);
}

fn by_group() {
    let supervisor = start(&rule(&format!("groups = [{GROUP}]"), "[\"db\"]", "[\"status\", \"restart\"]"));
    let primary = Who { uid: ALICE, gid: GROUP, groups: Vec::new() };
    let supplementary = Who { uid: BOB, gid: BOB, groups: vec![GROUP] };
    for who in [&primary, &supplementary] {
        let mut client = who.connect(&supervisor);
        assert_eq!(client.names(&[]), ["db"], "{who:?}");
        assert_eq!(client.order("Restart", &["db"])["parameters"]["results"][0]["outcome"], "started", "{who:?}");
        assert_eq!(who.ctl(&supervisor, &["restart", "db"]).code, 0, "{who:?}");
    }
    let mut stranger = Who { uid: GROUP, gid: BOB, groups: vec![GROUP - 1, GROUP + 1] }.connect(&supervisor);
    assert_refused(&stranger.call("Version", json!({})), "connect", "a [[control.allow]]");
}

fn many_groups() {
    let supervisor = start(&rule(&format!("groups = [{GROUP}]"), "[\"db\"]", "[\"status\"]"));
    for count in [63_u32, 64, 65, 5000, 65_535] {
        let others = 3_100_000_000..3_100_000_000 + count;
        let member = Who { uid: BOB, gid: BOB, groups: others.clone().chain([GROUP]).collect() };
        assert_eq!(member.connect(&supervisor).names(&[]), ["db"], "{count}");
        let mut stranger = Who { uid: BOB, gid: BOB, groups: others.collect() }.connect(&supervisor);
        assert_refused(&stranger.call("Version", json!({})), "connect", "a [[control.allow]]");
    }
}

fn group_name() {
    let supervisor = start(&rule(&format!("users = [{ALICE}]"), "[\"front\"]", "[\"status\"]"));
    let mut alice = Who::user(ALICE).connect(&supervisor);
    assert_eq!(alice.names(&["all"]), ["web1"]);
    assert_eq!(alice.names(&["front"]), ["web1"]);
    assert_eq!(alice.order("Status", &["web2"])["error"], NO_SUCH_PROGRAM);
    // The end of a program that leaves the configuration is heard, too.
    alice.send_more("Events", json!({ "follow": true, "since": 1_000_000 }));
    assert_eq!(alice.answer()["continues"], true);
    let rules = rule(&format!("users = [{ALICE}]"), "[\"front\"]", "[\"status\"]");
    supervisor.reload_with(&config(&rules).replace("[programs.web1]", "[programs.other]"));
    let mut heard = Vec::new();
    while heard.len() < 4 {
        let event = alice.answer()["parameters"]["events"][0].clone();
        heard.push(format!("{} {}", event["program"].as_str().unwrap_or("-"), event["kind"].as_str().unwrap_or("-")));
    }
    heard.sort();
    let other = ["other process.running", "other process.starting"];
    assert_eq!(heard, [other[0], other[1], "web1 process.stopped", "web1 process.stopping"]);
}

fn by_name() {
    let mut accounts = Accounts::default();
    let operators = accounts.add_group("operators");
    let (alice_name, alice) = accounts.add_user("alice", &[&operators]);
    let (_, bob) = accounts.add_user("bob", &[]);
    let supervisor = start(
        &(rule(&format!("users = [\"{alice_name}\"]"), "[\"web1\"]", "[\"status\", \"stop\"]")
            + &rule(&format!("groups = [\"{operators}\"]"), "[\"db\"]", "[\"status\"]")),
    );
    let mut client = alice.connect(&supervisor);
    assert_eq!(client.names(&[]), ["db", "web1"]);
    let named = format!("a [[control.allow]] for user {alice_name} (uid {})", alice.uid);
    assert_refused(&client.order("Stop", &["db"]), "stop", &named);
    assert_done(&client.order("Stop", &["web1"]));
    // Not in the group: root's own groups are nobody's, either.
    let mut stranger = Who { groups: vec![0], ..bob }.connect(&supervisor);
    assert_refused(&stranger.call("Status", json!({})), "connect", "a [[control.allow]]");
}

fn unknown_name() {
    let mut accounts = Accounts::default();
    let late = accounts.name("late");
    let rules = rule(&format!("users = [\"{late}\", {BOB}]"), "[\"*\", \"wbe*\", \"front\"]", "[\"status\"]");
    let supervisor = start(&rules);
    let warning = format!("[[control.allow]]: {late}: no such user");
    let checked = taskmasterd(&["check", "-c", &supervisor.config().display().to_string()], |_| {});
    assert!(checked.code == 0 && checked.stderr.contains(&warning), "{checked:?}");
    assert!(checked.stderr.contains("no program or group_name is like wbe*"), "{checked:?}");
    assert!(!checked.stderr.contains("like *") && !checked.stderr.contains("like front"), "{checked:?}");
    assert!(supervisor.read("console").contains(&warning), "{}", supervisor.read("console"));
    // It is nobody: not root, not whoever cannot be named, and the rest of the rule stands.
    let stranger = |uid: u32| Who::user(uid).connect(&supervisor).call("Status", json!({}));
    for uid in [ALICE, 65_534, 1] {
        assert_refused(&stranger(uid), "connect", "a [[control.allow]]");
    }
    assert_done(&stranger(BOB));
    let reply = supervisor.call("Reload", json!({}));
    assert!(reply["parameters"]["warnings"].to_string().contains(&warning), "{reply}");
    let (_, who) = accounts.add_user("late", &[]);
    assert_refused(&stranger(who.uid), "connect", "a [[control.allow]]");
    let reply = supervisor.call("Reload", json!({}));
    assert!(!reply["parameters"]["warnings"].to_string().contains(&warning), "{reply}");
    assert_done(&stranger(who.uid));
}

fn unknown_group() {
    let mut accounts = Accounts::default();
    let late = accounts.name("door");
    let control =
        format!("[control]\ngroup = \"{late}\"\n{}", rule(&format!("users = [{BOB}]"), "[\"*\"]", "[\"status\"]"));
    let supervisor = Supervisor::start(&format!("[programs.web]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\n{control}"));
    supervisor.wait_for_state("web", "RUNNING");
    let warning = format!("[control]: group {late}: no such group");
    let checked = taskmasterd(&["check", "-c", &supervisor.config().display().to_string()], |_| {});
    assert!(checked.code == 0 && checked.stderr.contains(&warning), "{checked:?}");
    assert!(supervisor.read("console").contains(&warning), "{}", supervisor.read("console"));
    let rights = || {
        let socket = std::fs::metadata(supervisor.socket()).expect("a socket");
        (socket.mode() & 0o777, socket.gid())
    };
    assert_eq!(rights(), (0o600, 0), "open to no group");
    accounts.add_group("door");
    let gid = nix::unistd::Group::from_name(&late).expect("a database").expect("the group").gid.as_raw();
    let reply = supervisor.call("Reload", json!({}));
    assert!(!reply["parameters"]["warnings"].to_string().contains(&warning), "{reply}");
    assert_eq!(rights(), (0o660, gid));
}

fn rights_at_connect() {
    let supervisor = start(&half_of_it());
    // Made by Alice, used by this test, which is root: still Alice's.
    let mut alices = Who::user(ALICE).connect(&supervisor);
    assert_refused(&alices.order("Stop", &["web2"]), "stop", "programs matching \"web2\"");
    // Made by root, who then became Bob: still root's.
    let socket = supervisor.socket();
    let stopped = std::thread::spawn(move || {
        let mut roots = Connection::of(UnixStream::connect(socket).expect("connects"));
        Who::user(BOB).become_it();
        roots.order("Stop", &["db"])
    });
    assert_eq!(stopped.join().expect("an answer")["parameters"]["results"][0]["outcome"], "stopped");
}

fn taken_away() {
    let all = rule(&format!("users = [{ALICE}]"), "[\"*\"]", "[\"status\", \"stop\", \"start\", \"restart\"]");
    let bobs = rule(&format!("users = [{BOB}]"), "[\"*\"]", "[\"status\"]");
    let slow = "[programs.slow]\ncmd = \"sleep 1000\"\nstarttime = 2\nuser = \"nobody\"\nautostart = false\n";
    let supervisor = Supervisor::start(&(slow.to_owned() + &config(&(all.clone() + &bobs))));
    supervisor.wait_until("web1 and db run", |_| {
        supervisor.state("db") == "RUNNING" && supervisor.state("web1") == "RUNNING"
    });
    let who = Who::user(ALICE);
    let (mut client, mut waiting, mut follower) =
        (who.connect(&supervisor), who.connect(&supervisor), who.connect(&supervisor));
    let mut bob = Who::user(BOB).connect(&supervisor);
    assert_done(&client.order("Stop", &["web2"]));
    follower.send_more("Events", json!({ "follow": true }));
    assert_eq!(follower.answer()["continues"], true);
    waiting.send("Start", json!({ "selectors": ["slow"] }));
    supervisor.wait_for_execution("slow");
    let before = [supervisor.pid_of("web1"), supervisor.pid_of("db"), supervisor.pid_of("slow")];

    let fewer = rule(&format!("users = [{ALICE}]"), "[\"web*\"]", "[\"status\"]");
    let plan = supervisor.reload_with(&(slow.to_owned() + &config(&(fewer + &bobs))));
    assert_eq!((&plan["restarted"], &plan["removed"]), (&json!([]), &json!([])), "{plan}");
    assert_refused(&client.order("Stop", &["web1"]), "stop", "programs matching \"web1\"");
    assert_eq!(client.names(&[]), ["web1", "web2"]);
    assert_eq!(client.order("Status", &["db"])["error"], NO_SUCH_PROGRAM);
    assert_eq!(bob.names(&["db"]), ["db"]);
    // What was ordered before is not undone, and its answer comes.
    assert_eq!(waiting.answer()["parameters"]["results"][0]["outcome"], "started");
    assert_refused(&waiting.order("Stop", &["web1"]), "stop", "a [[control.allow]]");
    assert_eq!([supervisor.pid_of("web1"), supervisor.pid_of("db"), supervisor.pid_of("slow")], before);
    // The follower hears of what it still may, and of nothing else any more.
    assert_done(&supervisor.call("Stop", json!({ "selectors": ["db"] })));
    assert_done(&supervisor.call("Stop", json!({ "selectors": ["web1"] })));
    loop {
        let answer = follower.answer();
        let event = &answer["parameters"]["events"][0];
        assert!(event["program"] != "db" || event["kind"] == "process.running", "{event}");
        assert_ne!(event["kind"], "config.reloaded", "{event}");
        if (&event["program"], &event["kind"]) == (&json!("web1"), &json!("process.stopped")) {
            break;
        }
    }

    // Without any rule the connections stay, and may ask nothing; given back, they may again.
    supervisor.reload_with(&(slow.to_owned() + &config(&bobs)));
    assert_refused(&client.call("Version", json!({})), "connect", "a [[control.allow]]");
    assert_refused(&client.call("org.varlink.service.GetInfo", json!({})), "connect", "a [[control.allow]]");
    supervisor.reload_with(&(slow.to_owned() + &config(&(all + &bobs))));
    assert_done(&client.order("Start", &["web1", "db"]));
    // A file with a fault changes nothing.
    supervisor.configure("nonsense");
    assert_eq!(supervisor.call("Reload", json!({}))["error"], "io.taskmaster.Control.ConfigRejected");
    assert_done(&client.order("Stop", &["web1", "db"]));
}

fn running_tail() {
    let may = rule(&format!("users = [{ALICE}]"), "[\"ticker\"]", "[\"status\", \"tail\"]");
    let may_not = rule(&format!("users = [{ALICE}]"), "[\"ticker\"]", "[\"status\"]");
    let ticker = "[programs.ticker]\ncmd = [\"sh\", \"-c\", \"while sleep 0.05; do echo tick; done\"]\nstarttime = 0\n\
                  user = \"nobody\"\n[control]\nmode = \"0666\"\n";
    let supervisor = Supervisor::start(&format!("{ticker}{may}"));
    supervisor.wait_for_state("ticker", "RUNNING");
    let mut client = Who::user(ALICE).connect(&supervisor);
    let follow = json!({ "selectors": ["ticker"], "lines": 0, "follow": true });
    client.send_more("Tail", follow.clone());
    assert_eq!(client.answer()["continues"], true);
    supervisor.reload_with(&format!("{ticker}{may_not}"));
    for _ in 0..5 {
        assert_eq!(client.answer()["continues"], true);
    }
    let mut late = Who::user(ALICE).connect(&supervisor);
    late.send_more("Tail", follow);
    assert_refused(&late.answer(), "tail", "programs matching \"ticker\"");
}

fn followers() {
    let supervisor = start(&(half_of_it() + &rule(&format!("users = [{BOB}]"), "[\"*\"]", "[\"status\"]")));
    let mut alice = Who::user(ALICE).connect(&supervisor);
    let mut bob = Who::user(BOB).connect(&supervisor);
    for follower in [&mut alice, &mut bob] {
        follower.send_more("Events", json!({ "follow": true, "since": 1_000_000 }));
        assert_eq!(follower.answer()["parameters"]["events"], json!([]));
    }
    assert_done(&supervisor.call("Reload", json!({})));
    for name in ["db", "web2"] {
        assert_done(&supervisor.call("Stop", json!({ "selectors": [name] })));
    }
    let heard = |follower: &mut Connection| {
        let mut heard = Vec::new();
        loop {
            let answer = follower.answer();
            assert_eq!(answer["parameters"]["lost"], 0, "{answer}");
            let event = &answer["parameters"]["events"][0];
            let about = event["program"].as_str().unwrap_or("-");
            heard.push(format!("{about} {}", event["kind"].as_str().expect("a kind")));
            if heard.last().is_some_and(|last| last == "web2 process.stopped") {
                return heard;
            }
        }
    };
    let alices = ["web2 process.stopping", "web2 process.stopped"];
    assert_eq!(heard(&mut alice), alices);
    let all = ["- config.reloaded", "db process.stopping", "db process.stopped"].into_iter().chain(alices);
    assert_eq!(heard(&mut bob), all.collect::<Vec<_>>());
}

fn past_events() {
    let supervisor = start(&half_of_it());
    // More about `db` than is given of all.
    for _ in 0..10 {
        assert_done(&supervisor.call("Restart", json!({ "selectors": ["db"] })));
    }
    let mut alice = Who::user(ALICE).connect(&supervisor);
    for call in [json!({}), json!({ "since": 0 })] {
        let answer = alice.call("Events", call);
        let events = answer["parameters"]["events"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        assert!(events.iter().all(|event| event["program"] == "web1" || event["program"] == "web2"), "{events:?}");
        assert_eq!(events.iter().filter(|event| event["kind"] == "process.running").count(), 2, "{events:?}");
        assert!(events.is_sorted_by_key(|event| event["seq"].as_u64()));
    }
    let shown = Who::user(ALICE).ctl(&supervisor, &["events"]);
    assert!(shown.code == 0 && shown.stdout.contains("web1") && !shown.stdout.contains("db"), "{shown:?}");
}

fn limited() {
    let supervisor = start(&half_of_it());
    let mut alice = Who::user(ALICE).connect(&supervisor);
    let denied = || supervisor.event_log().into_iter().filter(|event| event["kind"] == "control.denied").count();
    let before = Instant::now();
    for _ in 0..300 {
        assert_refused(&alice.order("Stop", &["web2"]), "stop", "web2");
    }
    let most = usize::try_from(before.elapsed().as_secs()).expect("fits") + 1;
    std::thread::park_timeout(Duration::from_millis(1100));
    assert_refused(&alice.order("Stop", &["web2"]), "stop", "web2");
    let counted = |event: &Value| {
        let message = event["message"].as_str().unwrap_or_default();
        message.contains("a client may not stop") && message.contains("more refusals before this one")
    };
    supervisor.wait_for_event("how many there were", counted);
    assert!(denied() <= most + 1, "{} events", denied());
    assert!(proc::is_alive(supervisor.pid_of("web2")));
}

fn crowds() {
    let supervisor = start(&(half_of_it() + &rule(&format!("users = [{GROUP}]"), "[\"*\"]", "[\"status\"]")));
    let (alice, bob) = (Who::user(ALICE), Who::user(BOB));
    let mut alices: Vec<Connection> = (0..64).map(|_| alice.connect(&supervisor)).collect();
    let bobs: Vec<Connection> = (0..300).map(|_| bob.connect(&supervisor)).collect();
    // The next is told that there is no room, in whatever way the kernel lets it be told.
    assert_eq!(alice.connect(&supervisor).answer()["error"], "io.taskmaster.Control.Busy");
    assert_eq!(alices.iter_mut().map(|one| one.names(&["web1"]).len()).sum::<usize>(), 64);
    assert_done(&Who::user(GROUP).connect(&supervisor).call("Status", json!({})));
    assert_done(&supervisor.call("Stop", json!({ "selectors": ["db"] })));
    drop((alices, bobs));
    supervisor.wait_until("alice has room again", |_| {
        Who::user(ALICE).connect(&supervisor).call("Version", json!({})).get("error").is_none()
    });
}

fn workers() {
    let supervisor = Supervisor::prepare(&config(&rule("users = [64711]", "[\"*\"]", "[\"stop\"]")));
    let checked = taskmasterd(&["check", "-c", &supervisor.config().display().to_string()], |_| {});
    assert_eq!(checked.code, 2, "{checked:?}");
    assert!(
        checked.stderr.contains("[[control.allow]]: user 64711 is kept for Taskmaster's own notifier"),
        "{checked:?}"
    );
    // By a group that is its own: then others of that group may, and it may not.
    let mut supervisor = supervisor;
    let group = "groups = [64711, 54399]";
    supervisor.configure(&config(&rule(group, "[\"*\"]", "[\"status\"]")));
    supervisor.launch();
    let notifier = supervisor.helper("notifier");
    let uid = proc::ids(notifier, "Uid")[0];
    let refused = Who { uid, gid: 54399, groups: vec![64711] }.ctl(&supervisor, &["status"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("it is one of Taskmaster's workers"), "{refused:?}");
    let other = Who { uid: ALICE, gid: 54399, groups: vec![] }.ctl(&supervisor, &["version"]);
    assert_eq!(other.code, 0, "{other:?}");
}
