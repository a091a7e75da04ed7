//! Output to `"syslog"`: each line of a program is a message to the local log daemon, here a real rsyslog and
//! journald, and the program never waits for it.

use std::collections::BTreeSet;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::alerting::with_script;
use crate::support::servers::certificates::Certificates;
use crate::support::servers::journald::Journald;
use crate::support::servers::rsyslog::Rsyslog;
use crate::support::{Need, Supervisor, eventually, proc, test};

const RSYSLOG: &[Need] = &[Need::Root, Need::Rsyslog, Need::Openssl];

pub fn trials() -> Vec<Trial> {
    vec![
        test("each line is a message with the tag and the pid of its program", RSYSLOG, lines),
        test("nothing that a program writes acts in the log or forges a message", RSYSLOG, hostile),
        test("a log daemon that is started again gets what was said meanwhile", RSYSLOG, restarted),
        test("a log daemon that hangs holds no program up and the loss is counted", RSYSLOG, hanging),
        test("a killed logger loses no line that was taken and doubles none", RSYSLOG, killed),
        test("a reload changes the facility of lines and where they go without a restart", RSYSLOG, reloaded),
        test("without a log daemon it is told once that lines wait", &[], absent),
        test("journald has each line with its tag and pid", &[Need::Root, Need::Journald], journald),
    ]
}

/// A supervisor that is not started yet, and a log daemon beside it.
fn with_rsyslog() -> (Supervisor, Rsyslog) {
    let supervisor = Supervisor::prepare("");
    let certificates = Certificates::make(supervisor.path("tls"));
    let rsyslog = Rsyslog::prepare(supervisor.path("rsyslog"), &certificates);
    (supervisor, rsyslog)
}

/// Where the daemon is; it gets hardly an event.
fn at(socket: &std::path::Path) -> String {
    format!("[notify.syslog]\ntarget = \"{}\"\nmin_severity = \"crit\"\n", socket.display())
}

const BOTH: &str = "stdout = \"syslog\"\nstderr = \"syslog\"\n";

fn program(name: &str, script: &str, more: &str) -> String {
    with_script(name, script) + BOTH + more
}

/// The texts with this tag, in their order.
fn texts(rsyslog: &Rsyslog, tag: &str) -> Vec<String> {
    let of = |message: &Value| message["msg"].as_str().map(|text| text.strip_prefix(' ').unwrap_or(text).to_owned());
    rsyslog.messages().iter().filter(|message| message["app"] == tag).filter_map(of).collect()
}

#[track_caller]
fn wait_for_texts(rsyslog: &Rsyslog, tag: &str, last: &str) -> Vec<String> {
    eventually(&format!("{last:?} of {tag} in the log"), || {
        let all = texts(rsyslog, tag);
        all.last().is_some_and(|text| text == last).then_some(all)
    })
}

fn lines() {
    let (mut supervisor, mut rsyslog) = with_rsyslog();
    rsyslog.launch();
    let script = "echo one; echo; echo two; echo three >&2; exec sleep 1000";
    supervisor.configure(
        &(program("web", script, "numprocs = 2\n")
            + &program("shop", script, "syslog_facility = \"local3\"\nsyslog_tag = \"front\"\n")
            + &with_script("one", script)
            + "stdout = \"syslog\"\nstderr = \"stdout\"\nlog_timestamps = true\n"
            + &at(&rsyslog.socket())),
    );
    supervisor.launch();
    for (process, tag, info, warning) in
        [("web:0", "web", 30, 28), ("web:1", "web", 30, 28), ("shop", "front", 158, 156), ("one", "one", 30, 30)]
    {
        supervisor.wait_for_execution(process);
        let pid = supervisor.pid_of(process).to_string();
        let mut all: Vec<(String, String)> = eventually(&format!("the lines of {process}"), || {
            let messages = rsyslog.messages();
            let own = messages.iter().filter(|message| message["app"] == tag && message["pid"] == pid.as_str());
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let all: Vec<_> = own.map(|message| (text(&message["pri"]), text(&message["msg"]))).collect();
            (all.len() == 4).then_some(all)
        });
        // Two pipes have no order between them.
        all.sort_by_key(|(_, text)| text.contains("three"));
        let said = [(info, " one"), (info, " "), (info, " two"), (warning, " three")];
        assert_eq!(all, said.map(|(priority, text)| (priority.to_string(), text.to_owned())), "{process}");
    }
    assert_eq!(supervisor.ctl(&["tail", "one"]).stdout, "one\n\ntwo\nthree\n", "the tail has it, too");
    assert!(!supervisor.path("log/one.stdout.log").exists());
    let reply = supervisor.call("Details", serde_json::json!({ "selectors": ["shop"] }));
    let details = &reply["parameters"]["processes"][0];
    assert_eq!((&details["stdout"], &details["stderr"]), (&"syslog".into(), &"syslog".into()), "{reply}");
    assert_eq!(supervisor.stop(), 0);
}

fn hostile() {
    let (mut supervisor, mut rsyslog) = with_rsyslog();
    rsyslog.launch();
    supervisor.file(
        "say",
        "printf '<0>forged\\r\\n'\nprintf '\\033[2Jred\\033[0m\\0\\tb\\n'\nprintf '\\377\\376x\\303\\244\\n'\n\
         head -c 1000000 /dev/zero | tr '\\0' y\necho\nhead -c 9000 /dev/zero\necho\nprintf unfinished\n",
        0o755,
    );
    let script = format!("sh {}", supervisor.path("say").display());
    supervisor.configure(
        &(program("raw", &script, "autorestart = false\n")
            + &program("plain", &script, "autorestart = false\nstrip_ansi = true\n")
            + &at(&rsyslog.socket())),
    );
    supervisor.launch();
    for (name, coloured) in [("raw", "\\x1b[2Jred\\x1b[0m\\x00#011b"), ("plain", "red\\x00#011b")] {
        let all = wait_for_texts(&rsyslog, name, "unfinished");
        assert_eq!(all[..3], ["<0>forged", coloured, "\\xff\\xfexä"], "{name}");
        let long: Vec<&String> = all.iter().filter(|text| text.starts_with('y')).collect();
        assert_eq!(long.iter().map(|text| text.len()).sum::<usize>(), 1_000_000, "{name}");
        assert!(
            long.iter().all(|text| text.len() <= 8000),
            "{name}: none is cut by a daemon that knows no longer ones"
        );
        let nul: usize =
            all.iter().filter(|text| text.starts_with("\\x00")).map(|text| text.matches("\\x00").count()).sum();
        assert_eq!(nul, 9000, "{name}");
    }
    let priorities: BTreeSet<String> = rsyslog.messages().iter().map(|message| message["pri"].to_string()).collect();
    assert_eq!(priorities, BTreeSet::from(["\"30\"".to_owned()]));
    assert_eq!(supervisor.stop(), 0);
}

const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done";

fn last(supervisor: &Supervisor) -> u64 {
    supervisor.ctl(&["tail", "-n", "1", "count"]).stdout.trim().parse().unwrap_or(0)
}

/// Waits until the program has counted on.
#[track_caller]
fn count_on(supervisor: &Supervisor) {
    let now = last(supervisor);
    eventually("it counts on", || (last(supervisor) > now + 5).then_some(()));
}

fn numbers(rsyslog: &Rsyslog) -> Vec<u64> {
    texts(rsyslog, "count").iter().map(|text| text.parse().expect("a number")).collect()
}

fn restarted() {
    let (mut supervisor, mut rsyslog) = with_rsyslog();
    supervisor.configure(&(program("count", COUNT, "") + &at(&rsyslog.socket())));
    // It is not there yet: that is no reason not to start.
    supervisor.launch();
    supervisor.wait_for_event("it is told", |event| event["kind"] == "output.failing");
    for _ in 0..3 {
        count_on(&supervisor);
        rsyslog.launch();
        let now = last(&supervisor);
        eventually("it is taken", || numbers(&rsyslog).last().is_some_and(|last| *last > now).then_some(()));
        // In the log; what lies in the daemon's own queue when it stops is its.
        rsyslog.stop();
    }
    rsyslog.launch();
    supervisor.wait_for_event("it is told", |event| event["kind"] == "output.recovered");
    assert_eq!(supervisor.ctl(&["stop", "count"]).code, 0);
    let end = last(&supervisor);
    let all = eventually("the last one", || Some(numbers(&rsyslog)).filter(|all| all.last() == Some(&end)));
    let missing = end - all.len() as u64;
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
    assert!(missing <= 3 * 64, "only what a daemon had taken and not written when it was stopped: {missing} of {end}");
    assert!(all.contains(&1), "what was said before there was one");
    assert!(!supervisor.event_log().iter().any(|event| event["kind"] == "output.dropped"), "all has fit");
    assert_eq!(supervisor.stop(), 0);
}

fn hanging() {
    let (mut supervisor, mut rsyslog) = with_rsyslog();
    rsyslog.launch();
    let flood = "echo 0; read line </dev/null; exec seq 1 300000";
    supervisor.configure(
        &(program("loud", flood, "autorestart = false\nautostart = false\n")
            + &program("quiet", "exec sleep 1000", "")
            + &at(&rsyslog.socket())),
    );
    supervisor.launch();
    rsyslog.freeze();
    assert_eq!(supervisor.ctl(&["start", "loud"]).code, 0);
    supervisor.wait_for_state("loud", "EXITED");
    assert_eq!(supervisor.ctl(&["status", "quiet"]).code, 0);
    let dropped = |count: usize| {
        let is = |event: &&Value| event["kind"] == "output.dropped";
        supervisor.event_log().iter().filter(is).nth(count - 1).cloned()
    };
    let begin = eventually("the loss is told", || dropped(1));
    let words = begin["message"].as_str().unwrap_or_default().to_owned();
    assert!(words.contains("the local syslog") && begin["errno"] == 11, "{begin}");
    rsyslog.thaw();
    let end = eventually("the end of the loss is told", || dropped(2));
    let words = end["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(supervisor.ctl(&["start", "loud"]).code, 0);
    // The daemon has to write them, too.
    let all = eventually("the second run", || {
        let all = texts(&rsyslog, "loud");
        (all.iter().filter(|text| *text == "0").count() == 2).then_some(all)
    });
    let first: Vec<u64> = all.iter().skip(1).take_while(|text| *text != "0").filter_map(|n| n.parse().ok()).collect();
    assert!(first.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
    let pid = rsyslog.messages().iter().find(|message| message["app"] == "loud").expect("one")["pid"].clone();
    let length = |n: u64| format!("<30>loud[{}]: {n}\n", pid.as_str().expect("a pid")).len();
    let missing = (1..=300_000).map(length).sum::<usize>() - first.iter().copied().map(length).sum::<usize>();
    assert!(words.contains(&format!("; {missing} bytes")), "{missing} are missing: {words}");
    assert_eq!(supervisor.stop(), 0);
}

fn killed() {
    let (mut supervisor, mut rsyslog) = with_rsyslog();
    rsyslog.launch();
    supervisor.configure(&(program("count", COUNT, "") + &at(&rsyslog.socket())));
    supervisor.launch();
    supervisor.wait_for_execution("count");
    let pid = supervisor.pid_of("count");
    for _ in 0..5 {
        count_on(&supervisor);
        let logger = eventually("a logger", || proc::child_called(supervisor.pid(), "taskmaster-logger"));
        proc::kill(logger, 9);
        eventually("it is gone", || (!proc::is_alive(logger)).then_some(()));
    }
    count_on(&supervisor);
    assert_eq!(supervisor.pid_of("count"), pid);
    assert_eq!(supervisor.ctl(&["stop", "count"]).code, 0);
    let end = last(&supervisor);
    let all = eventually("the last one", || Some(numbers(&rsyslog)).filter(|all| all.last() == Some(&end)));
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
    // What a logger has read and not yet sent is lost with it: one line each time, some on a busy machine.
    assert!(end - all.len() as u64 <= 5 * 3, "{} of {end}", all.len());
    assert_eq!(supervisor.stop(), 0);
}

fn reloaded() {
    let (mut supervisor, mut rsyslog) = with_rsyslog();
    rsyslog.launch();
    let count = |more: &str| program("count", COUNT, more);
    supervisor.configure(&(count("") + &at(&rsyslog.socket())));
    supervisor.launch();
    supervisor.wait_for_execution("count");
    let pid = supervisor.pid_of("count");
    let with = |priority: &str| rsyslog.messages().iter().rev().find(|message| message["pri"] == priority).cloned();
    eventually("the usual facility", || with("30"));
    supervisor.configure(&(count("syslog_facility = \"local0\"\nsyslog_tag = \"other\"\n") + &at(&rsyslog.socket())));
    assert_eq!(supervisor.ctl(&["reload"]).code, 0);
    let message = eventually("another one", || with("134"));
    assert_eq!(message["app"], "other", "{message}");
    assert_eq!(message["pid"], pid.to_string().as_str(), "{message}");
    // Elsewhere.
    let other = supervisor.path("other.sock");
    let socket = std::os::unix::net::UnixDatagram::bind(&other).expect("bound");
    socket.set_read_timeout(Some(crate::support::PATIENCE)).expect("a timeout");
    supervisor.configure(&(count("") + &at(&other)));
    assert_eq!(supervisor.ctl(&["reload"]).code, 0);
    let mut buffer = [0; 1000];
    let length = socket.recv(&mut buffer).expect("a message");
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let number = text.strip_prefix(&format!("<30>count[{pid}]: ")).expect(&text);
    assert!(number.parse::<u64>().is_ok(), "{text}");
    assert_eq!(supervisor.pid_of("count"), pid);
    assert_eq!(supervisor.stop(), 0);
}

fn absent() {
    let mut supervisor = Supervisor::prepare("");
    let socket = supervisor.path("log.sock");
    let script = "echo out; echo err >&2; exec sleep 1000";
    let web = format!(
        "[programs.web]\ncmd = [\"sh\", \"-c\", '{script}']\nstarttime = 0\n{}\n{BOTH}",
        crate::support::user()
    );
    supervisor.configure(&(web + &at(&socket)));
    supervisor.launch();
    let failing = |supervisor: &Supervisor| {
        supervisor.event_log().into_iter().filter(|event| event["kind"] == "output.failing").collect::<Vec<_>>()
    };
    let event = eventually("it is told", || failing(&supervisor).pop());
    let words = event["message"].as_str().unwrap_or_default();
    assert!(words.contains(&format!("the local syslog {}: No such file", socket.display())), "{words}");
    assert_eq!(supervisor.ctl(&["tail", "web", "stderr"]).stdout, "err\n");
    let daemon = std::os::unix::net::UnixDatagram::bind(&socket).expect("bound");
    daemon.set_read_timeout(Some(crate::support::PATIENCE)).expect("a timeout");
    let mut got = BTreeSet::new();
    for _ in 0..2 {
        let mut buffer = [0; 1000];
        let length = daemon.recv(&mut buffer).expect("a message");
        got.insert(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    let pid = supervisor.pid_of("web");
    assert_eq!(got, BTreeSet::from([format!("<28>web[{pid}]: err"), format!("<30>web[{pid}]: out")]));
    assert_eq!(failing(&supervisor).len(), 1, "once");
    // Once more, and this time nobody comes.
    drop(daemon);
    assert_eq!(supervisor.ctl(&["restart", "web"]).code, 0);
    eventually("it is told", || (failing(&supervisor).len() == 2).then_some(()));
    assert_eq!(supervisor.stop(), 0);
    let lost = |event: &Value| event["message"].as_str().unwrap_or_default().starts_with("output for the local syslog");
    let told = supervisor.event_log().iter().filter(|event| event["kind"] == "output.dropped" && lost(event)).count();
    assert_eq!(told, 1, "what waits at the end is lost");
}

fn journald() {
    let mut supervisor = Supervisor::prepare("");
    let journald = Journald::start(&supervisor.path("journald"));
    let long = "head -c 7990 /dev/zero | tr \"\\0\" z; echo";
    let script = format!("echo one; printf \"<0>two\\033[1m\\n\"; {long}; echo three >&2; exec sleep 1000");
    supervisor.configure(&(program("web", &script, "") + &at(&journald.log_socket())));
    supervisor.launch();
    supervisor.wait_for_execution("web");
    let pid = supervisor.pid_of("web").to_string();
    for (text, priority) in [("one", "6"), ("<0>two\\x1b[1m", "6"), (&*"z".repeat(7990), "6"), ("three", "4")] {
        let entry = journald.wait_for(text, |entry| entry["MESSAGE"] == text);
        for (field, value) in [
            ("PRIORITY", priority),
            ("SYSLOG_IDENTIFIER", "web"),
            ("SYSLOG_PID", &pid),
            ("SYSLOG_FACILITY", "3"),
            ("_TRANSPORT", "syslog"),
        ] {
            assert_eq!(entry[field], value, "{field}: {entry}");
        }
    }
    assert_eq!(supervisor.stop(), 0);
}
