//! The core's side of alerts, with a notifier that plays its part by a script: what is given to it, what is
//! done for it, and what becomes of the questions of clients.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

use crate::sandbox::{beside, put, send};
use crate::support::peers::Who;
use crate::support::supervisor::{TASKMASTERCTL, TASKMASTERD};
use crate::support::{Ctl, Need, Supervisor, eventually, look, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("the last lines of a crashed program reach the notifier", &[Need::Root], last_lines),
        test("sendmail runs as the notifier for configured recipients only", &[Need::Root], sendmail),
        test("a sendmail without its notifier is ended with all it started", &[Need::Root], sendmail_alone),
        test("questions are answered by the notifier or refused in words", &[Need::Root], questions),
        test("a question to a notifier that ends is answered at once", &[Need::Root], unanswered),
        test(
            "only who may notify about all sees the queue and only plain names are silenced by others",
            &[Need::Root],
            rights,
        ),
        test("status ends with the channels that are not well", &[Need::Root], unwell),
        test("the shutdown waits for the last alerts and says what waits", &[Need::Root], drained),
        test("a notifier that does not drain holds the shutdown up for its time only", &[Need::Root], not_drained),
    ]
}

const ONE: &str = "[programs.one]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\n";
const EMAIL: &str =
    "[notify.email]\nfrom = \"tm@example.com\"\nto = [\"Ops <ops@example.com>\"]\nsendmail = \"@dir@/bin/sendmail\"\n";
/// What the notifier is to say: a line a packet, also later ones.
const ORDERS: &str = "orders";
/// How it answers questions, by their name.
const ANSWERS: &str = "answers";
/// How many alerts wait, when it is asked to drain.
const LEFT: &str = "left";
/// It plays, if this is there.
const SCRIPT: &str = "script";

/// A supervisor with a notifier that says these things.
fn start(config: &str, files: &[(&str, &str)]) -> Supervisor {
    let mut supervisor = Supervisor::prepare(config);
    supervisor.subdirectory_of_own("bin");
    let place = |name: &str| supervisor.path("bin").join(name);
    for name in ["taskmaster-spawner", "taskmaster-logger"] {
        put(&beside(TASKMASTERD, name), &place(name));
    }
    put(Path::new(TASKMASTERD), &place("taskmasterd"));
    put(&std::env::current_exe().expect("this test"), &place("taskmaster-notifier"));
    for (name, text) in [(SCRIPT, ""), (ORDERS, "")].iter().chain(files) {
        std::fs::write(place(name), text).expect("a file");
    }
    let program = place("taskmasterd");
    supervisor.launch_program(&program, |_| {});
    supervisor
}

fn order(supervisor: &Supervisor, message: &Value) {
    let path = supervisor.path("bin").join(ORDERS);
    let mut orders = std::fs::OpenOptions::new().append(true).open(path).expect("orders");
    writeln!(orders, "0{message}").expect("written");
}

/// Waits until the notifier has heard this; the rest of the line.
#[track_caller]
fn heard(supervisor: &Supervisor, what: &str) -> String {
    let line = || {
        let console = supervisor.read("console");
        console.lines().find_map(|line| line.split_once(what).map(|(_, rest)| rest.to_owned()))
    };
    eventually(what, line)
}

fn last_lines() {
    let talk = "i=0; while [ $i -lt 1500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; exit 3";
    let program = |name: &str, more: &str| {
        format!(
            "[programs.{name}]\ncmd = [\"sh\", \"-c\", \"{talk}\"]\nuser = \"nobody\"\nstarttime = 0\n\
             autorestart = \"never\"\n{more}"
        )
    };
    let config = format!("{}{}", program("two", ""), program("joined", "stderr = \"stdout\"\n"));
    let mut supervisor = start(&config, &[]);
    supervisor.wait_for_state("two", "EXITED");
    supervisor.wait_for_state("joined", "EXITED");
    let want = |ticket: u64, program: &str| {
        order(
            &supervisor,
            &json!({ "want_output": { "ticket": ticket, "process": { "program": program, "instance": 0 } } }),
        );
        heard(&supervisor, &format!("output {ticket}: "))
    };
    // 8 KiB, and one byte that says that there is more.
    let all: String = (0..1500).map(|n| format!("err {n}\n")).collect();
    assert_eq!(want(1, "two"), format!("{:?}", &all[all.len() - 8193..]));
    assert!(want(2, "joined").contains("out 1499\\n"), "the one stream");
    assert_eq!(want(3, "nobody"), "none");
    assert!(supervisor.event_log().is_empty(), "this notifier writes none");
    assert_eq!(supervisor.stop(), 0);
}

/// A mail program that tells as whom it runs with what, keeps its input, and ends as the file `mode` says.
const SENDMAIL: &str = "#!/bin/sh\n\
    { echo \"args: $*\"; grep -E '^(Uid|Groups|NoNewPrivs|CapEff|Seccomp):' /proc/self/status; pwd; env; cat; } >&2\n\
    exit 75\n";

fn put_sendmail(supervisor: &Supervisor, text: &str) {
    let path = supervisor.path("bin/sendmail");
    std::fs::write(&path, text).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
}

fn want_sendmail(supervisor: &Supervisor, ticket: u64, channel: &str, recipients: &[&str]) -> String {
    order(supervisor, &json!({ "want_sendmail": { "ticket": ticket, "channel": channel, "recipients": recipients } }));
    order(supervisor, &json!({ "sendmail_written": { "ticket": ticket } }));
    heard(supervisor, &format!("heard: {{\"sendmail_ended\":{{\"ticket\":{ticket},"))
}

fn sendmail() {
    let mut supervisor = start(&format!("{ONE}alert_to = [\"dev@example.com\"]\n{EMAIL}"), &[]);
    put_sendmail(&supervisor, SENDMAIL);
    let ended = want_sendmail(&supervisor, 7, "email", &["ops@example.com", "dev@example.com"]);
    assert_eq!(ended, "\"result\":{\"Ok\":75}}}");
    let said = heard(&supervisor, "sendmail 7: ");
    let notifier = proc::ids(supervisor.helper("notifier"), "Uid")[0];
    for words in [
        "args: -i -f tm@example.com -- ops@example.com dev@example.com\\n",
        &format!("Uid:\\t{notifier}\\t{notifier}\\t{notifier}\\t{notifier}\\n"),
        "Groups:\\t \\n",
        "CapEff:\\t0000000000000000\\n",
        "NoNewPrivs:\\t0\\n",
        "Seccomp:\\t0\\n",
        "\\n/\\n",
        "Subject: a test\\n\\nthe body\\n",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let environment = said.split("\\n/\\n").nth(1).expect("the environment");
    assert!(
        environment.split("\\n").take_while(|line| !line.starts_with("Subject")).all(|line| {
            ["PATH=", "PWD=", "SHLVL=", "_=", "OLDPWD=", "\""].iter().any(|known| line.starts_with(known))
                || line.is_empty()
        }),
        "{environment}"
    );
    for (ticket, channel, recipients, words) in [
        (8, "email", &["eve@example.com"][..], "eve@example.com\\\" is no longer a configured recipient"),
        (9, "email", &[], "a message has 1 to 1000 recipients"),
        (10, "webhooks.x", &["ops@example.com"], "no longer configured for sendmail"),
    ] {
        let ended = want_sendmail(&supervisor, ticket, channel, recipients);
        assert!(ended.contains(words), "{ended}");
    }
    std::fs::remove_file(supervisor.path("bin/sendmail")).expect("removed");
    let ended = want_sendmail(&supervisor, 11, "email", &["ops@example.com"]);
    assert!(ended.contains("No such file"), "{ended}");
    assert_eq!(supervisor.state("one"), "RUNNING");
    assert_eq!(supervisor.stop(), 0);
}

fn sendmail_alone() {
    let mut supervisor = start(&format!("{ONE}{EMAIL}"), &[]);
    let half = supervisor.path("half");
    std::fs::write(&half, "").expect("written");
    std::fs::set_permissions(&half, std::fs::Permissions::from_mode(0o666)).expect("set");
    // The end of the input is the end of a message: of half a one, if nobody has said that it is whole.
    let reads = format!("exec 3<&0\n(cat <&3 >/dev/null && echo taken >> {}) &\n", half.display());
    put_sendmail(&supervisor, &format!("#!/bin/sh\n{reads}sleep 1000 &\nexec sleep 1000\n"));
    for ticket in 1..=4 {
        let wish = json!({ "ticket": ticket, "channel": "email", "recipients": ["ops@example.com"] });
        order(&supervisor, &json!({ "want_sendmail": wish }));
    }
    let ended = want_sendmail(&supervisor, 5, "email", &["ops@example.com"]);
    assert!(ended.contains("4 run already"), "{ended}");
    let uid = proc::ids(supervisor.helper("notifier"), "Uid")[0];
    let sleepers = || {
        let is_one = |pid: &i64| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with("sleep\0"))
        };
        let mut all = proc::descendants(supervisor.pid());
        all.retain(|pid| is_one(pid) && proc::is_alive(*pid) && proc::ids(*pid, "Uid")[0] == uid);
        all.len()
    };
    eventually("all sleep", || (sleepers() == 8).then_some(()));
    proc::kill(supervisor.helper("notifier"), libc::SIGKILL);
    eventually("all are gone", || (sleepers() == 0).then_some(()));
    assert_eq!(std::fs::read_to_string(&half).expect("read"), "", "no half message was taken for a whole one");
    assert_eq!(supervisor.state("one"), "RUNNING");
    assert_eq!(supervisor.stop(), 0);
}

fn silence() -> Value {
    json!({ "id": "s1", "selector": "one", "until": "2099-01-01T00:00:00Z", "reason": "why", "by": "root" })
}

fn questions() {
    let message = |id: &str| {
        json!({
            "id": id, "channel": "email", "subject": "one crashed", "time": "2026-11-20T08:12:03Z", "tries": 1,
            "reason": "550 no"
        })
    };
    let channel = json!({
        "channel": "email", "health": { "failing": { "seconds": 90, "cause": "refused" } }, "waiting": 1, "sent": 0,
        "failed": 2, "dropped": 0, "last_success": null, "next_try_seconds": 30
    });
    let report = |channels: &[&Value], waiting: &[Value], dead: &[Value]| json!({ "queue": { "channels": channels, "waiting": waiting, "dead": dead, "spool_failure": null } });
    let results = json!({ "tested": [{ "channel": "email", "failure": "535 no" }] });
    let answers = json!({
        "queue": [report(&[&channel], &[], &[]), report(&[], &[message("m1")], &[]), report(&[], &[], &[message("m2")])],
        "test": [{ "line": "S: 220 hello" }, { "line": "C: EHLO x" }, results],
        "retry": [{ "done": { "count": 3 } }],
        "drop": [{ "unknown": "m9" }],
        "silence": [{ "silenced": silence() }],
        "unsilence": [{ "unknown": "nothing" }],
        "silences": [{ "silences": [silence()] }],
    });
    let mut supervisor = start(&format!("{ONE}{EMAIL}"), &[(ANSWERS, &answers.to_string())]);
    heard(&supervisor, "heard: {\"configure\"");
    let queue = supervisor.ctl(&["notify", "queue"]);
    assert_eq!(queue.code, 0, "{queue:?}");
    for words in ["email    failing        1     0       2", "m1  email", "m2  email", "for 1m30s: refused"] {
        assert!(queue.stdout.contains(words), "{words}: {}", queue.stdout);
    }
    let tested = supervisor.ctl(&["notify", "test", "email"]);
    assert_eq!((tested.code, &*tested.stdout), (1, "S: 220 hello\nC: EHLO x\nemail: failed: 535 no\n"), "{tested:?}");
    let once = supervisor.call("NotifyTest", json!({}));
    assert_eq!(once["parameters"]["results"][0]["failure"], "535 no");
    for (words, code, expected) in [
        (&["notify", "test", "emial"][..], 4, "no channel `emial`; did you mean `email`?"),
        (&["notify", "retry"], 0, "3 messages sent again\n"),
        (&["notify", "drop", "m9"], 4, "no message `m9`"),
        (&["notify", "silence", "one", "2h", "we", "move"], 0, "s1: no alerts about one until 2099"),
        (&["notify", "silence", "onne", "2h"], 4, "no program `onne`; did you mean `one`?"),
        (&["notify", "silence", "one", "soon"], 2, "`soon` is not a duration"),
        (&["notify", "unsilence", "nothing"], 4, "no silence `nothing`"),
        (&["notify", "silences"], 0, "s1  one  2099-01-01T00:00:00.000Z  root  why\n"),
    ] {
        let told = supervisor.ctl(words);
        assert_eq!(told.code, code, "{words:?}: {told:?}");
        assert!(format!("{}{}", told.stdout, told.stderr).contains(expected), "{words:?}: {told:?}");
    }
    let asked = heard(&supervisor, "\"question\":{\"silence\":");
    assert_eq!(asked, "{\"selector\":\"one\",\"seconds\":7200,\"reason\":\"we move\",\"by\":\"root\"}}}}");
    let refused = supervisor.call("Silence", json!({ "selector": "one", "seconds": 0 }));
    assert_eq!(refused["error"], "org.varlink.service.InvalidParameter");
    let described = supervisor.call("NotifyQueue", json!({}));
    assert_eq!(described["parameters"]["channels"][0]["failing_seconds"], 90);
    assert_eq!(supervisor.stop(), 0);
}

fn unanswered() {
    let mut supervisor = start(&format!("{ONE}{EMAIL}"), &[]);
    heard(&supervisor, "heard: {\"configure\"");
    let socket = supervisor.socket();
    let began = Instant::now();
    let asking = std::thread::spawn(move || {
        let output = std::process::Command::new(TASKMASTERCTL).arg("-s").arg(socket).args(["notify", "queue"]).output();
        Ctl::from(output.expect("runs"))
    });
    heard(&supervisor, "\"question\":\"queue\"");
    proc::kill(supervisor.helper("notifier"), libc::SIGKILL);
    let told = asking.join().expect("it ends");
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stderr.contains("the notifier ended before it had answered; try once more"), "{told:?}");
    assert!(began.elapsed() < Duration::from_secs(9), "not only when its time was over");
    assert_eq!(supervisor.state("one"), "RUNNING");
    assert_eq!(supervisor.stop(), 0);
}

fn rights() {
    let config = format!(
        "[control]\nmode = \"0666\"\n[[control.allow]]\nverbs = [\"notify\"]\nusers = [\"daemon\"]\nprograms = [\"one\", \"front\"]\n{EMAIL}{ONE}\
         [programs.two]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\ngroup_name = \"mixed\"\n\
         [programs.one2]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\ngroup_name = \"mixed\"\n"
    );
    let other = {
        let mut other = silence();
        other["selector"] = "two".into();
        other
    };
    let answers = json!({
        "silence": [{ "silenced": silence() }],
        "silences": [{ "silences": [silence(), other] }],
        "unsilence": [{ "done": { "count": 1 } }],
    });
    let mut supervisor = start(&config, &[(ANSWERS, &answers.to_string())]);
    heard(&supervisor, "heard: {\"configure\"");
    let daemon = Who::user(look::uid("daemon"));
    let ask = |words: &[&str]| daemon.ctl(&supervisor, words);
    for (words, code) in [
        (&["notify", "silence", "one", "1h"][..], 0),
        (&["notify", "unsilence", "one"], 0),
        (&["notify", "silence", "one:0", "1h"], 0),
        (&["notify", "silence", "two", "1h"], 4),
        (&["notify", "silence", "mixed", "1h"], 4),
        (&["notify", "silence", "all", "1h"], 5),
        (&["notify", "silence", "o*", "1h"], 5),
        (&["notify", "unsilence", "s1"], 5),
        (&["notify", "queue"], 5),
        (&["notify", "test"], 5),
        (&["notify", "retry"], 5),
        (&["notify", "drop"], 5),
        (&["status"], 5),
    ] {
        let told = ask(words);
        assert_eq!(told.code, code, "{words:?}: {told:?}");
    }
    let seen = ask(&["notify", "silences"]);
    assert_eq!((seen.code, seen.stdout.lines().count()), (0, 2), "{seen:?}");
    assert_eq!(supervisor.ctl(&["notify", "silences"]).stdout.lines().count(), 3);
    assert_eq!(supervisor.stop(), 0);
}

fn unwell() {
    let mut supervisor = start(&format!("{ONE}{EMAIL}"), &[]);
    heard(&supervisor, "heard: {\"configure\"");
    supervisor.wait_for_state("one", "RUNNING");
    let health = json!({ "failing": { "seconds": 7200, "cause": "refused \u{1b}[2J" } });
    order(&supervisor, &json!({ "channel": { "channel": "email", "health": health, "tell": false } }));
    let problem = eventually("it is known", || {
        let status = supervisor.call("Status", json!({}));
        status["parameters"]["channels"].get(0).cloned()
    });
    assert_eq!(problem["channel"], "email");
    assert_eq!(problem["cause"], "refused \\x1b[2J");
    assert!(problem["seconds"].as_u64().is_some_and(|seconds| (7200..7300).contains(&seconds)), "{problem}");
    assert_eq!(supervisor.ctl(&["status"]).stdout.lines().count(), 1, "scripts get the lines of processes only");
    order(&supervisor, &json!({ "channel": { "channel": "email", "health": "well", "tell": false } }));
    eventually("it is well", || {
        let status = supervisor.call("Status", json!({}));
        status["parameters"]["channels"].as_array()?.is_empty().then_some(())
    });
    assert_eq!(supervisor.stop(), 0);
}

fn drained() {
    let mut supervisor = start(&format!("{ONE}{EMAIL}"), &[(LEFT, "3")]);
    heard(&supervisor, "heard: {\"configure\"");
    assert_eq!(supervisor.stop(), 0);
    let console = supervisor.read("console");
    let at = |what: &str| console.find(what).unwrap_or_else(|| panic!("{what}: {console}"));
    assert!(at("\"supervisor.stopped\"") < at("heard: \"drain\""), "after the last event");
    assert!(console.contains("taskmasterd: 3 alerts wait for the next start\n"), "{console}");
}

fn not_drained() {
    let mut supervisor = start(&format!("[notify]\nshutdown_drain = 1\n{EMAIL}{ONE}"), &[]);
    heard(&supervisor, "heard: {\"configure\"");
    let began = Instant::now();
    assert_eq!(supervisor.stop(), 0);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1900) && took < Duration::from_secs(10), "{took:?}");
    let console = supervisor.read("console");
    assert!(console.contains("taskmasterd: not all alerts could be sent in time"), "{console}");
}

/// Whether a test of this file has put its notifier in the place of the real one.
pub fn is_played(executable: &Path) -> bool {
    executable.with_file_name(SCRIPT).exists()
}

/// The notifier of these tests: tells what it hears on standard error, does what its files say.
pub fn play(executable: &Path) {
    let mut notifier = Played { place: executable.to_owned(), ordered: 0 };
    say_one("\"ready\"");
    loop {
        notifier.obey();
        match receive() {
            Ok(Some((packet, descriptors))) => notifier.hear(&packet, descriptors),
            Ok(None) => return,
            Err(nix::errno::Errno::EAGAIN) => std::thread::sleep(Duration::from_millis(5)),
            Err(_) => return,
        }
    }
}

fn say_one(packet: &str) {
    send(&format!("0{packet}"));
}

fn receive() -> nix::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    const CHANNEL: i32 = 3;
    let mut bytes = vec![0; 1 << 20];
    let mut space = nix::cmsg_space!([i32; 8]);
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let got = recvmsg::<()>(CHANNEL, &mut parts, Some(&mut space), flags)?;
    let mut descriptors = Vec::new();
    for message in got.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            // SAFETY: the kernel has just made them for us.
            descriptors.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    let length = got.bytes;
    Ok((length > 0).then(|| (bytes[..length].to_vec(), descriptors)))
}

struct Played {
    place: PathBuf,
    /// So many bytes of the orders are carried out.
    ordered: usize,
}

impl Played {
    fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.place.with_file_name(name)).ok()
    }

    fn obey(&mut self) {
        let orders = self.file(ORDERS).unwrap_or_default();
        while let Some(end) = orders[self.ordered..].find('\n') {
            send(&orders[self.ordered..self.ordered + end]);
            self.ordered += end + 1;
        }
    }

    fn hear(&self, packet: &[u8], descriptors: Vec<OwnedFd>) {
        let text = String::from_utf8_lossy(&packet[1..]).into_owned();
        eprintln!("heard: {text}");
        let Ok(message) = serde_json::from_str::<Value>(&text) else { return };
        if let Some(seq) = message["event"]["event"]["seq"].as_u64() {
            say_one(&json!({ "written": { "seq": seq } }).to_string());
        }
        if let Some(ticket) = message["output"]["ticket"].as_u64() {
            let shown = match descriptors.into_iter().next() {
                Some(pipe) => format!("{:?}", read_all(pipe)),
                None => "none".to_owned(),
            };
            eprintln!("output {ticket}: {shown}");
        } else if let Some(ticket) = message["sendmail"]["ticket"].as_u64() {
            std::thread::spawn(move || run_sendmail(ticket, descriptors));
        }
        if message == "drain"
            && let Some(left) = self.file(LEFT)
        {
            say_one(&format!("{{\"drained\":{{\"left\":{left}}}}}"));
        }
        if let Some(ticket) = message["ask"]["ticket"].as_u64() {
            self.answer(ticket, &message["ask"]["question"]);
        }
    }

    fn answer(&self, ticket: u64, question: &Value) {
        let name = question.as_str().or_else(|| question.as_object()?.keys().next().map(String::as_str));
        let answers: Value = self.file(ANSWERS).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let Some(parts) = answers[name.unwrap_or_default()].as_array() else { return };
        for (at, answer) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            say_one(&json!({ "answer": { "ticket": ticket, "answer": answer, "last": last } }).to_string());
        }
    }
}

fn read_all(pipe: OwnedFd) -> String {
    let flags = nix::fcntl::OFlag::empty();
    nix::fcntl::fcntl(&pipe, nix::fcntl::FcntlArg::F_SETFL(flags)).expect("blocking");
    let mut text = String::new();
    File::from(pipe).read_to_string(&mut text).expect("text");
    text
}

fn run_sendmail(ticket: u64, descriptors: Vec<OwnedFd>) {
    let mut descriptors = descriptors.into_iter();
    let (Some(input), Some(words)) = (descriptors.next(), descriptors.next()) else { return };
    let _ = File::from(input).write_all(b"Subject: a test\n\nthe body\n");
    eprintln!("sendmail {ticket}: {:?}", read_all(words));
}
