//! Events in syslog: a real rsyslog on all its inputs, and journald.

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::alerting::{program, with_script};
use crate::support::servers::certificates::Certificates;
use crate::support::servers::journald::Journald;
use crate::support::servers::rsyslog::Rsyslog;
use crate::support::{Need, Supervisor, eventually, test, within};

const RSYSLOG: &[Need] = &[Need::Root, Need::Rsyslog, Need::Openssl];

pub fn trials() -> Vec<Trial> {
    vec![
        test("rsyslog understands each event on its socket", RSYSLOG, local),
        test("rsyslog understands each event over UDP and TCP and TLS", RSYSLOG, remote),
        test("a program has a facility and a tag and severities of its own", RSYSLOG, labels),
        test("an rsyslog that is started again has missed nothing", RSYSLOG, restarted),
        test("an rsyslog that is started again has missed nothing over TCP", RSYSLOG, reconnected),
        test("an rsyslog that hangs stops nobody and what did not fit is counted", RSYSLOG, hanging),
        test("a certificate that is wrong gets no event", RSYSLOG, wrong_certificate),
        test("journald has every fact as a field", &[Need::Root, Need::Journald], journald),
    ]
}

struct WithRsyslog {
    supervisor: Supervisor,
    rsyslog: Rsyslog,
}

/// Not started yet.
fn with_rsyslog() -> WithRsyslog {
    let supervisor = Supervisor::prepare("");
    let certificates = Certificates::make(supervisor.path("tls"));
    let rsyslog = Rsyslog::prepare(supervisor.path("rsyslog"), &certificates);
    WithRsyslog { supervisor, rsyslog }
}

fn to(target: &str) -> String {
    format!("[notify.syslog]\ntarget = \"{target}\"\nca_file = \"@dir@/tls/ca.pem\"\n")
}

fn to_socket(rsyslog: &Rsyslog) -> String {
    format!("[notify.syslog]\ntarget = \"{}\"\n", rsyslog.socket().display())
}

fn says(message: &Value, words: &str) -> bool {
    message["msg"].as_str().is_some_and(|text| text.contains(words))
}

/// The words that the message of a crash has, and no other.
fn mark(crash: &Value) -> String {
    format!("process.crashed web pid={} ", crash["pid"])
}

fn local() {
    let WithRsyslog { mut supervisor, mut rsyslog } = with_rsyslog();
    rsyslog.launch();
    supervisor.configure(&format!("{}{}", program("web"), to_socket(&rsyslog)));
    supervisor.launch();
    let crash = supervisor.crash("web");
    let message = rsyslog.wait_for("the crash", |message| says(message, &mark(&crash)));
    assert_eq!((&message["input"], &message["app"]), (&"imuxsock".into(), &"taskmaster".into()), "{message}");
    assert_eq!(message["pri"], "27", "daemon.err: {message}");
    assert!(says(&message, "signal=KILL"), "{message}");
    assert_eq!(supervisor.stop(), 0);
    // All of them, in their order, up to the last.
    rsyslog.wait_for("the end", |message| says(message, "supervisor.stopped"));
    let kinds: Vec<String> = supervisor.event_log().iter().map(|event| event["kind"].to_string()).collect();
    let told: Vec<Value> = rsyslog.messages();
    assert_eq!(told.len(), kinds.len(), "{told:?}");
    for (message, kind) in told.iter().zip(&kinds) {
        assert!(says(message, kind.trim_matches('"')), "{kind}: {message}");
    }
}

fn remote() {
    let WithRsyslog { mut supervisor, mut rsyslog } = with_rsyslog();
    rsyslog.launch();
    let targets = [
        ("imudp", format!("udp://127.0.0.1:{}", rsyslog.udp), ""),
        ("imtcp", format!("tcp://127.0.0.1:{}", rsyslog.tcp), ""),
        ("imtcp", format!("tcp://127.0.0.1:{}", rsyslog.tcp), "framing = \"lf\"\n"),
        ("imtcp", format!("tls://localhost:{}", rsyslog.tls), ""),
    ];
    let without_ca = |text: String| text.replace("ca_file = \"@dir@/tls/ca.pem\"\n", "");
    for (input, target, more) in targets {
        let channel = if target.starts_with("tls") { to(&target) } else { without_ca(to(&target)) };
        supervisor.configure(&format!("{}{channel}{more}", program("web")));
        match supervisor.path("run/control.sock").exists() {
            false => supervisor.launch(),
            true => assert_eq!(supervisor.ctl(&["reload"]).code, 0),
        }
        let crash = supervisor.crash("web");
        let message = rsyslog.wait_for(&target, |message| says(message, &mark(&crash)));
        assert_eq!(message["input"], input, "{message}");
        let field = |name: &str| message[name].as_str().expect("text").to_owned();
        assert_eq!(
            (field("pri"), field("app"), field("msgid")),
            ("27".into(), "taskmaster".into(), "process.crashed".into())
        );
        assert_eq!(field("host"), supervisor.host());
        assert!(field("sd").starts_with("[taskmaster@32473 seq="), "{message}");
        assert!(field("sd").contains(" program=\"web\"") && field("sd").contains(" signal=\"KILL\""), "{message}");
        assert_eq!(moment(&field("time")), moment(crash["time"].as_str().expect("a time")), "{message}");
    }
    assert_eq!(supervisor.stop(), 0);
}

fn moment(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{text}: {error}")).as_millisecond()
}

fn labels() {
    let WithRsyslog { mut supervisor, mut rsyslog } = with_rsyslog();
    rsyslog.launch();
    let web = program("web") + "syslog_facility = \"local3\"\nsyslog_tag = \"shop\"\n";
    let rule = "[[notify.rules]]\non = [\"process.crashed\"]\nprograms = [\"web\"]\nseverity = \"warning\"\n";
    supervisor.configure(&format!(
        "{web}{}{}facility = \"local0\"\ntag = \"tm\"\nmin_severity = \"warning\"\n{rule}",
        program("db"),
        to_socket(&rsyslog)
    ));
    supervisor.launch();
    let (web, db) = (supervisor.crash("web"), supervisor.crash("db"));
    let web = rsyslog.wait_for("web", |message| says(message, &mark(&web)));
    let db = rsyslog.wait_for("db", |message| says(message, &format!("process.crashed db pid={} ", db["pid"])));
    assert_eq!((&web["app"], &web["pri"]), (&"shop".into(), &(19 * 8 + 4).to_string().into()));
    assert_eq!((&db["app"], &db["pri"]), (&"tm".into(), &(16 * 8 + 3).to_string().into()));
    assert!(!rsyslog.messages().iter().any(|message| says(message, "process.running")), "that is only info");
    assert_eq!(supervisor.stop(), 0);
}

fn restarted() {
    let WithRsyslog { mut supervisor, mut rsyslog } = with_rsyslog();
    supervisor.configure(&format!("{}{}", program("web"), to_socket(&rsyslog)));
    // It is not there yet: that is no reason not to start.
    supervisor.launch();
    let early = supervisor.crash("web");
    rsyslog.launch();
    // After at most two pauses of those that grow from one second.
    let patience = Duration::from_secs(40);
    within(patience, "what happened before it was there", || rsyslog_has(&rsyslog, &mark(&early)));
    let middle = supervisor.crash("web");
    within(patience, "what happens while it is there", || rsyslog_has(&rsyslog, &mark(&middle)));
    rsyslog.stop();
    let late = supervisor.crash("web");
    rsyslog.launch();
    within(patience, "what happened between", || rsyslog_has(&rsyslog, &mark(&late)));
    assert_eq!(supervisor.stop(), 0);
    rsyslog.wait_for("the end", |message| says(message, "supervisor.stopped"));
    let count = |words: &str| rsyslog.messages().iter().filter(|message| says(message, words)).count();
    let events = supervisor.event_log().iter().filter(|event| event["kind"] == "process.crashed").count();
    assert_eq!((count("process.crashed"), count("supervisor.started"), count("lost")), (events, 1, 0));
}

fn reconnected() {
    let WithRsyslog { mut supervisor, mut rsyslog } = with_rsyslog();
    rsyslog.launch();
    let target = format!("[notify.syslog]\ntarget = \"tcp://127.0.0.1:{}\"\n", rsyslog.tcp);
    supervisor.configure(&format!("{}{target}", program("web")));
    supervisor.launch();
    let mut crashes = vec![supervisor.crash("web")];
    rsyslog.wait_for("it works", |message| says(message, &mark(&crashes[0])));
    for _ in 0..2 {
        rsyslog.stop();
        crashes.push(supervisor.crash("web"));
        rsyslog.launch();
        crashes.push(supervisor.crash("web"));
    }
    for crash in &crashes {
        within(Duration::from_secs(40), "all that happened", || rsyslog_has(&rsyslog, &mark(crash)));
    }
    assert!(!rsyslog.messages().iter().any(|message| says(message, "lost")));
    assert_eq!(supervisor.stop(), 0);
}

fn rsyslog_has(rsyslog: &Rsyslog, words: &str) -> Option<()> {
    rsyslog.messages().iter().any(|message| says(message, words)).then_some(())
}

fn hanging() {
    let WithRsyslog { mut supervisor, mut rsyslog } = with_rsyslog();
    rsyslog.launch();
    let loops = with_script("loop", "exit 3").replace("50ms", "0s");
    supervisor.configure(&format!("{}{loops}autostart = false\n{}", program("web"), to_socket(&rsyslog)));
    supervisor.launch();
    let first = supervisor.crash("web");
    rsyslog.wait_for("it works", |message| says(message, &mark(&first)));
    rsyslog.freeze();
    let _ = supervisor.ctl(&["start", "--no-wait", "loop"]);
    within(Duration::from_secs(60), "more events than fit", || {
        (supervisor.crashes_of("loop").len() > 600).then_some(())
    });
    assert_eq!(supervisor.ctl(&["stop", "loop"]).code, 0);
    assert_eq!(supervisor.ctl(&["status", "web"]).code, 0);
    let last = supervisor.crash("web");
    rsyslog.thaw();
    within(Duration::from_secs(40), "the last one", || rsyslog_has(&rsyslog, &mark(&last)));
    let lost = eventually("the loss", || {
        let messages = rsyslog.messages();
        let words = |message: &Value| message["msg"].as_str().and_then(lost_in);
        Some(messages.iter().filter_map(words).sum::<u64>()).filter(|lost| *lost > 0)
    });
    assert_eq!(supervisor.stop(), 0);
    rsyslog.wait_for("the end", |message| says(message, "supervisor.stopped"));
    let told =
        rsyslog.messages().iter().filter(|m| m["msg"].as_str().is_some_and(|text| lost_in(text).is_none())).count()
            as u64;
    assert_eq!(told + lost, supervisor.event_log().len() as u64, "what was told and what was lost is all there was");
}

/// The number in `… 17 messages lost …`.
fn lost_in(text: &str) -> Option<u64> {
    let (before, _) = text.split_once(" messages were lost").or_else(|| text.split_once(" messages lost"))?;
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn wrong_certificate() {
    let WithRsyslog { mut supervisor, mut rsyslog } = with_rsyslog();
    rsyslog.launch();
    let channel = to(&format!("tls://127.0.0.1:{}", rsyslog.tls)) + "server_name = \"other.example\"\n";
    supervisor.configure(&format!("{}{channel}", program("web")));
    supervisor.launch();
    let crash = supervisor.crash("web");
    let cause = supervisor.wait_for_cause("syslog");
    assert!(cause.contains("other.example"), "{cause}");
    assert!(rsyslog_has(&rsyslog, &mark(&crash)).is_none());
    assert_eq!(supervisor.stop(), 0);
}

fn journald() {
    let mut supervisor = Supervisor::prepare("");
    let journald = Journald::start(&supervisor.path("journald"));
    let target = format!("[notify.syslog]\ntarget = \"journald:{}\"\n", journald.socket().display());
    supervisor.configure(&format!("{}{target}", program("web")));
    supervisor.launch();
    let crash = supervisor.crash("web");
    let pid = crash["pid"].to_string();
    let entry = journald.wait_for("the crash", |entry| {
        entry["TASKMASTER_KIND"] == "process.crashed" && entry["TASKMASTER_PID"] == pid.as_str()
    });
    for (field, value) in [
        ("PRIORITY", "3"),
        ("SYSLOG_IDENTIFIER", "taskmaster"),
        ("SYSLOG_FACILITY", "3"),
        ("TASKMASTER_PROGRAM", "web"),
        ("TASKMASTER_PROCESS", "web"),
        ("TASKMASTER_SIGNAL", "KILL"),
        ("EXIT_CODE", "killed"),
        ("EXIT_STATUS", "KILL"),
        ("_TRANSPORT", "journal"),
    ] {
        assert_eq!(entry[field], value, "{field}: {entry}");
    }
    assert_eq!(entry["TASKMASTER_TIME"], crash["time"]);
    assert!(entry["MESSAGE"].as_str().is_some_and(|text| text.starts_with("process.crashed web pid=")), "{entry}");
    let id = entry["MESSAGE_ID"].as_str().expect("an id");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(supervisor.stop(), 0);
    journald.wait_for("the end", |entry| entry["TASKMASTER_KIND"] == "supervisor.stopped");
}
