//! Alerts by mail: through a real Postfix, and through servers that misbehave.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::support::alerting::{FAST, FIRST_RETRY, email, of, program, with_recovery, with_script};
use crate::support::servers::certificates::Certificates;
use crate::support::servers::mails::{self, Mail};
use crate::support::servers::postfix::{self, Postfix};
use crate::support::servers::receiver::Receiver;
use crate::support::servers::sink::{PASSWORD, Sink, USER};
use crate::support::{Need, Supervisor, eventually, proc, test, within};

const POSTFIX: &[Need] = &[Need::Root, Need::Postfix, Need::Openssl, Need::Python];
const SINK: &[Need] = &[Need::Root, Need::Python];
const SINK_TLS: &[Need] = &[Need::Root, Need::Python, Need::Openssl];

pub fn trials() -> Vec<Trial> {
    vec![
        test("a crash and its end arrive through Postfix with STARTTLS and a password", POSTFIX, starttls),
        test("a crash arrives through Postfix with TLS from the first byte", POSTFIX, implicit),
        test("those whom Postfix refuses keep nobody else from their mail", POSTFIX, refused_recipients),
        test("what happened while Postfix was down is told once and with its times", POSTFIX, outage),
        test("a Postfix that hangs delays no other channel and is told as failing", POSTFIX, hanging),
        test("sendmail of Postfix takes a mail", POSTFIX, sendmail_of_postfix),
        test("sendmail is started with the addresses and its refusals count", SINK, sendmail),
        test("a maildir gets whole mails", SINK, maildir),
        test("what a hostile program prints makes no defect and no header", SINK, hostile),
        test("a wrong certificate gets no password and no mail", SINK_TLS, wrong_certificate),
        test("an unknown authority gets no password and no mail", SINK_TLS, unknown_authority),
        test("a server without STARTTLS gets no password and no mail", SINK, no_starttls),
        test("a wrong password is tried once until something changes", SINK_TLS, wrong_password),
        test("a lost acknowledgement gives the same mail with the same id", SINK, lost_acknowledgement),
        test("a mail that is disliked is sent once more without the output", SINK, disliked),
        test("421 is trouble with the server and not with the mail", SINK, closing),
        test("an endless line costs no memory", SINK, endless_line),
        test("a server that says nothing or too little is given up in time", SINK, tarpit),
        test("of several servers the next one is tried", SINK, failover),
        test("names that cannot be resolved delay no other channel", SINK, names),
        test("a name server that is silent delays no other channel", SINK, silent_name_server),
        test("a password is nowhere to be seen", POSTFIX, secrets),
    ]
}

/// Everything that a mail of ours may have before its text.
const HEADERS: [&str; 15] = [
    "From",
    "To",
    "Date",
    "Subject",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "List-Id",
    "X-Taskmaster-Host",
    "X-Taskmaster-Severity",
    "X-Taskmaster-Program",
    "X-Taskmaster-Incident",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];
/// What the servers on its way add.
const OF_SERVERS: [&str; 4] = ["Return-Path", "Delivered-To", "Received", "X-Original-To"];

#[track_caller]
fn assert_headers(mail: &Mail, more: &[&str]) {
    for name in HEADERS.iter().chain(more) {
        mail.header(name);
    }
    for (name, value) in &mail.headers {
        let is_known = HEADERS.iter().chain(more).chain(&OF_SERVERS).any(|known| known.eq_ignore_ascii_case(name));
        assert!(is_known, "{name}: {value}");
    }
}

struct WithPostfix {
    supervisor: Supervisor,
    postfix: Postfix,
}

/// A supervisor that is not started yet, with everything that mail through Postfix needs.
fn with_postfix(timing: &str, settings: &str, programs: &str) -> WithPostfix {
    let supervisor = Supervisor::prepare("");
    let certificates = Certificates::make(supervisor.path("tls"));
    let postfix = Postfix::prepare(supervisor.path("postfix"), &certificates);
    supervisor.file("password", &format!("{}\n", postfix::PASSWORD), 0o600);
    let text = settings.replace("@port@", &postfix.port.to_string());
    let text = text.replace("@implicit@", &postfix.implicit_port.to_string());
    supervisor.configure(&format!("{programs}{timing}{text}"));
    WithPostfix { supervisor, postfix }
}

const THROUGH_POSTFIX: &str = "[notify.email]\nserver = \"localhost:@port@\"\nca_file = \"@dir@/tls/ca.pem\"\n\
     username = \"alerts@localhost\"\npassword_file = \"@dir@/password\"\nfrom = \"Taskmaster <tm@example.test>\"\n\
     to = [\"ops@example.test\"]\n";

fn starttls() {
    let WithPostfix { mut supervisor, mut postfix } = with_postfix(&with_recovery(), THROUGH_POSTFIX, &program("web"));
    postfix.launch();
    supervisor.launch();
    supervisor.wait_for_words("web");
    let crash = supervisor.crash("web");
    let mails = postfix.wait_for("ops", 2);
    let (problem, end) = (&mails[0], &mails[1]);
    assert_headers(problem, &[]);
    assert_eq!(problem.subject(), format!("web crashed on {}: signal KILL", supervisor.host()));
    assert_eq!(problem.header("From"), "Taskmaster <tm@example.test>");
    assert_eq!(problem.header("To"), "ops@example.test");
    assert_eq!(problem.header("Auto-Submitted"), "auto-generated");
    let row = |label: &str| problem.row(label).unwrap_or_else(|| panic!("{label}: {}", problem.body)).to_owned();
    assert_eq!(row("pid"), crash["pid"].to_string());
    assert_eq!(row("user"), "nobody");
    assert!(row("ended by").starts_with("signal KILL (9)"), "{}", problem.body);
    assert!(row("event").starts_with(&format!("process.crashed at {}", crash["time"].as_str().expect("a time"))));
    problem.assert_says("    | web has said this\n");
    problem.assert_says("    taskmasterctl status web\n");
    assert_headers(end, &["In-Reply-To", "References"]);
    assert!(end.subject().starts_with(&format!("web recovered on {} after ", supervisor.host())), "{}", end.subject());
    assert_eq!((end.header("In-Reply-To"), end.header("References")), (problem.id(), problem.id()));
    assert_ne!(end.id(), problem.id());
    assert_eq!(end.header("X-Taskmaster-Incident"), problem.header("X-Taskmaster-Incident"));
    assert!(postfix.log().contains("sasl_method=PLAIN, sasl_username=alerts@localhost"), "{}", postfix.log());
    assert_eq!(supervisor.stop(), 0);
}

fn implicit() {
    let settings = THROUGH_POSTFIX.replace("@port@", "@implicit@") + "tls = \"implicit\"\n";
    let WithPostfix { mut supervisor, mut postfix } = with_postfix(FAST, &settings, &program("web"));
    postfix.launch();
    supervisor.launch();
    supervisor.crash("web");
    assert!(postfix.wait_for("ops", 1)[0].subject().starts_with("web crashed on "));
    assert!(postfix.log().contains("sasl_username=alerts@localhost"), "{}", postfix.log());
}

fn refused_recipients() {
    let to = "to = [\"ops@example.test\", \"gone@example.test\", \"busy@example.test\", \"dev@example.test\"]";
    let settings = THROUGH_POSTFIX.replace("to = [\"ops@example.test\"]", to);
    let WithPostfix { mut supervisor, mut postfix } = with_postfix(FAST, &settings, &program("web"));
    postfix.launch();
    supervisor.launch();
    supervisor.crash("web");
    let id = postfix.wait_for("ops", 1)[0].id().to_owned();
    assert_eq!(postfix.wait_for("dev", 1)[0].id(), id);
    let queue = supervisor.wait_for_waiting(1);
    let waiting = &of(&queue, "waiting")[0];
    assert!(waiting["reason"].as_str().is_some_and(|reason| reason.contains("451 4.7.1 ")), "{queue}");
    postfix.take_busy();
    supervisor.retry_alerts();
    assert_eq!(postfix.wait_for("busy", 1)[0].id(), id);
    let queue = supervisor.wait_for_queue("it no longer waits", |queue| of(queue, "waiting").is_empty());
    let dead = of(&queue, "dead");
    assert_eq!(dead.len(), 1, "{queue}");
    assert!(dead[0]["reason"].as_str().is_some_and(|reason| reason.contains("gone@example.test")), "{queue}");
    assert!(dead[0]["reason"].as_str().is_some_and(|reason| reason.contains("550 5.1.1 ")), "{queue}");
    // Nobody who had it gets it again, and nobody is asked again who is gone.
    assert_eq!((postfix.count("ops"), postfix.count("dev")), (1, 1));
    assert_eq!(postfix.log().matches("550 5.1.1").count(), 1, "{}", postfix.log());
    assert_eq!(supervisor.stop(), 0);
}

fn outage() {
    let names = ["one", "two", "three"];
    let WithPostfix { mut supervisor, mut postfix } = with_postfix(FAST, THROUGH_POSTFIX, &names.map(program).concat());
    supervisor.launch();
    let crashes = names.map(|name| {
        let crash = supervisor.crash(name);
        let waits =
            |queue: &serde_json::Value| of(queue, "waiting").iter().any(|w| w["subject"].to_string().contains(name));
        supervisor.wait_for_queue("it waits", waits);
        crash
    });
    let cause = supervisor.wait_for_cause("email");
    assert!(cause.contains("refused"), "{cause}");
    let status = supervisor.ctl(&["status"]);
    assert!(!status.stdout.contains("email"), "only people see it: {status:?}");
    postfix.launch();
    within(FIRST_RETRY, "three mails by themselves", || (postfix.count("ops") >= 3).then_some(()));
    let queue = supervisor.wait_for_queue("all is told", |queue| of(queue, "waiting").is_empty());
    assert!(of(&queue, "dead").is_empty() && of(&queue, "channels")[0]["cause"].is_null(), "{queue}");
    let mails = postfix.mails("ops");
    assert_eq!(mails.len(), 3);
    for ((mail, crash), name) in mails.iter().zip(crashes).zip(names) {
        assert!(mail.subject().starts_with(&format!("{name} crashed on ")), "oldest first: {}", mail.subject());
        mail.assert_says(crash["time"].as_str().expect("a time"));
    }
    assert_eq!(supervisor.stop(), 0);
}

fn hanging() {
    let other = "[notify.webhooks.other]\nurl = \"@url@\"\n[[notify.rules]]\non = [\"process.crashed\"]\n\
         to = [\"email\", \"webhooks.other\"]\n";
    let receiver = Receiver::start();
    let settings = format!("{THROUGH_POSTFIX}{}", other.replace("@url@", &receiver.url()));
    let WithPostfix { mut supervisor, mut postfix } = with_postfix(FAST, &settings, &program("web"));
    postfix.launch();
    supervisor.launch();
    postfix.freeze();
    supervisor.crash("web");
    receiver.wait_for(1);
    assert_eq!(supervisor.ctl(&["status", "web"]).code, 0);
    // The greeting has half a minute.
    let cause = within(Duration::from_secs(60), "the channel fails", || {
        let queue = supervisor.alert_queue();
        std::thread::park_timeout(Duration::from_millis(200));
        of(&queue, "channels").iter().find(|one| one["channel"] == "email")?["cause"].as_str().map(str::to_owned)
    });
    assert!(cause.contains("no reply within 30s"), "{cause}");
    postfix.thaw();
    supervisor.retry_alerts();
    assert_eq!(postfix.wait_for("ops", 1).len(), 1);
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!(supervisor.stop(), 0);
}

fn sendmail_of_postfix() {
    let settings =
        "[notify.email]\ntransport = \"sendmail\"\nfrom = \"tm@example.test\"\nto = [\"ops@example.test\"]\n";
    let WithPostfix { mut supervisor, mut postfix } = with_postfix(FAST, settings, &program("web"));
    postfix.launch();
    // The command reads the machine's own configuration, which for this supervisor alone is the test's.
    let configuration = postfix.configuration();
    supervisor.launch_with(move |command| see_as(command, configuration, "/etc/postfix"));
    supervisor.crash("web");
    let mails = postfix.wait_for("ops", 1);
    assert!(mails[0].subject().starts_with("web crashed on "), "{}", mails[0].subject());
    assert_headers(&mails[0], &[]);
    assert_eq!(mails[0].header("Return-Path"), "<tm@example.test>");
    assert_eq!(supervisor.stop(), 0);
}

/// Has a command see a file or directory in the place of another, which nobody else does.
fn see_as(command: &mut Command, source: PathBuf, target: &'static str) {
    use nix::mount::{MsFlags, mount};
    let enter = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        mount(Some(&source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(())
    };
    // SAFETY: the closure makes three system calls with what it owns.
    unsafe { command.pre_exec(enter) };
}

/// What stands in the place of sendmail: notes how it was called, and fails once as sysexits.h has it.
const SCRIPT: &str = "#!/bin/sh\necho \"$(id -u) $PWD $#: $*\" >> @dir@/called/log\n\
     if [ -e @dir@/called/tired ]; then rm @dir@/called/tired; echo 'not now' >&2; exit 75; fi\n\
     cat > @dir@/called/$$.tmp; mv @dir@/called/$$.tmp @dir@/called/$$.eml\n";

fn sendmail() {
    let mut supervisor = Supervisor::prepare("");
    let settings = "[notify.email]\ntransport = \"sendmail\"\nsendmail = \"@dir@/sendmail\"\nfrom = \"tm@example.test\"\n\
         to = [\"ops@example.test\", \"dev@example.test\"]\n";
    supervisor.configure(&format!("{}{FAST}{settings}", program("web")));
    supervisor.subdirectory_of_own("called");
    let called = supervisor.path("called");
    std::fs::set_permissions(&called, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("chmod");
    supervisor.file("called/tired", "", 0o666);
    supervisor.file("sendmail", &SCRIPT.replace("@dir@", &supervisor.path("").display().to_string()), 0o755);
    supervisor.launch();
    supervisor.crash("web");
    let queue = supervisor.wait_for_queue("it is refused for now", |queue| {
        of(queue, "waiting").iter().any(|waiting| waiting["reason"].to_string().contains("not now"))
    });
    assert!(of(&queue, "dead").is_empty(), "{queue}");
    supervisor.retry_alerts();
    let mails = eventually("a mail", || {
        Some(mails::files_ending(&called, ".eml")).filter(|files| !files.is_empty()).map(|files| mails::read(&files))
    });
    assert_eq!(mails.len(), 1);
    assert_headers(&mails[0], &[]);
    supervisor.wait_for_queue("nothing waits", |queue| of(queue, "waiting").is_empty());
    let uid = proc::ids(supervisor.helper("notifier"), "Uid")[0];
    let call = format!("{uid} / 6: -i -f tm@example.test -- ops@example.test dev@example.test\n");
    assert_eq!(supervisor.read("called/log"), call.repeat(2));
    assert_eq!(supervisor.stop(), 0);
}

fn maildir() {
    let mut supervisor = Supervisor::prepare("");
    let settings =
        "[notify.email]\nmaildir = \"@dir@/mail\"\nfrom = \"tm@example.test\"\nto = [\"ops@example.test\"]\n";
    supervisor.configure(&format!("{}{}{settings}", program("web"), with_recovery()));
    supervisor.launch();
    supervisor.crash("web");
    let new = supervisor.path("mail/new");
    eventually("two mails", || (mails::files_ending(&new, "").len() >= 2).then_some(()));
    let mails = mails::maildir(&supervisor.path("mail"));
    assert_headers(&mails[0], &[]);
    assert_headers(&mails[1], &["In-Reply-To", "References"]);
    assert!(mails::files_ending(&supervisor.path("mail/tmp"), "").is_empty());
    assert_eq!(supervisor.stop(), 0);
}

struct WithSink {
    supervisor: Supervisor,
    sink: Sink,
}

fn with_sink(mode: &str, programs: &str) -> WithSink {
    let mut supervisor = Supervisor::prepare("");
    let sink = Sink::start(supervisor.path("sink"), mode);
    supervisor.configure(&format!("{programs}{FAST}{}", email(sink.port)));
    supervisor.launch();
    WithSink { supervisor, sink }
}

fn hostile() {
    let name = "störung-日本";
    let script = "printf 'one\\r\\nBcc: evil@example.test\\r\\n\\r\\nFrom x\\n.\\n\\000nul\\033[2J\\302\\233 \\377\\342\\200\\256rtl\\n' >&2; \
         head -c 5000000 /dev/zero | tr '\\0' x >&2; echo >&2; \
         echo '=?utf-8?q?x?= Subject: no' >&2; exec sleep 1000";
    let WithSink { mut supervisor, sink } = with_sink("plain", &with_script(name, script));
    eventually("all is said", || {
        let log = std::fs::read(supervisor.path(&format!("log/{name}.stderr.log"))).ok()?;
        (log.len() > 5_000_000 && log.ends_with(b" Subject: no\n")).then_some(())
    });
    supervisor.wait_for_kind(name, "process.running");
    supervisor.crash(name);
    let mails = sink.wait_for(1);
    assert_headers(&mails[0], &[]);
    assert_eq!(mails[0].subject(), format!("{name} crashed on {}: signal KILL", supervisor.host()));
    assert_eq!(mails[0].row("program"), Some(name));
    mails[0].assert_says("=?utf-8?q?x?= Subject: no");
    assert!(mails[0].raw.len() < 100_000, "{} bytes", mails[0].raw.len());
    assert_eq!(sink.envelopes()[0]["to"], serde_json::json!(["ops@example.test"]));
    assert_eq!(supervisor.stop(), 0);
}

/// A server with TLS and a supervisor that has a password for it.
fn with_tls_sink(server: &str, wrong: bool, ca: &str, password: &str) -> WithSink {
    let mut supervisor = Supervisor::prepare("");
    let certificates = Certificates::make(supervisor.path("tls"));
    let certificate = if wrong { certificates.wrong() } else { certificates.own() };
    let sink = Sink::start_tls(supervisor.path("sink"), "plain", certificate);
    supervisor.file("password", password, 0o600);
    supervisor.configure(&format!(
        "{}{FAST}[notify.email]\nserver = \"{server}:{}\"\n{ca}username = \"{USER}\"\npassword_file = \"@dir@/password\"\n\
         from = \"tm@example.test\"\nto = [\"ops@example.test\"]\n",
        program("web"),
        sink.port
    ));
    supervisor.launch();
    WithSink { supervisor, sink }
}

const OWN_CA: &str = "ca_file = \"@dir@/tls/ca.pem\"\n";

#[track_caller]
fn assert_nothing_said(sink: &Sink) {
    assert_eq!(sink.count(), 0);
    assert_eq!(sink.log("login").len(), 0, "{:?}", sink.log("login"));
}

fn wrong_certificate() {
    let WithSink { mut supervisor, sink } = with_tls_sink("localhost", true, OWN_CA, PASSWORD);
    supervisor.crash("web");
    let cause = supervisor.wait_for_cause("email");
    assert!(cause.contains("wrong.example") && cause.contains("localhost"), "it names both: {cause}");
    assert_nothing_said(&sink);
    assert_eq!(supervisor.stop(), 0);
}

fn unknown_authority() {
    let WithSink { mut supervisor, sink } = with_tls_sink("localhost", false, "", PASSWORD);
    supervisor.crash("web");
    let cause = supervisor.wait_for_cause("email");
    assert!(cause.contains("ca_file"), "it says what to do: {cause}");
    assert_nothing_said(&sink);
    // The authority is named, and at once it goes through.
    let text = std::fs::read_to_string(supervisor.config()).expect("a file");
    let ca = OWN_CA.replace("@dir@", &supervisor.path("").display().to_string());
    std::fs::write(supervisor.config(), text.replace("[notify.email]\n", &format!("[notify.email]\n{ca}")))
        .expect("a file");
    assert_eq!(supervisor.ctl(&["reload"]).code, 0);
    assert_eq!(sink.wait_for(1).len(), 1);
    assert_eq!(sink.envelopes()[0]["user"], USER);
    assert_eq!(supervisor.stop(), 0);
}

fn no_starttls() {
    let mut supervisor = Supervisor::prepare("");
    let sink = Sink::start(supervisor.path("sink"), "plain");
    supervisor.file("password", PASSWORD, 0o600);
    let login = format!("username = \"{USER}\"\npassword_file = \"@dir@/password\"\n");
    let settings = email(sink.port).replace("tls = \"none\"\n", &login);
    supervisor.configure(&format!("{}{FAST}{settings}", program("web")));
    supervisor.launch();
    supervisor.crash("web");
    let cause = supervisor.wait_for_cause("email");
    assert!(cause.contains("offers no STARTTLS"), "{cause}");
    assert_nothing_said(&sink);
    assert_eq!(supervisor.stop(), 0);
}

fn wrong_password() {
    let WithSink { mut supervisor, sink } = with_tls_sink("localhost", false, OWN_CA, "not this one");
    supervisor.crash("web");
    let cause = supervisor.wait_for_cause("email");
    assert!(cause.contains("535") && !cause.contains("not this one"), "{cause}");
    assert_eq!((sink.log("login").len(), sink.count()), (1, 0));
    // A second mail does not knock again: that would lock the account.
    supervisor.crash("web");
    supervisor.wait_for_waiting(1);
    assert_eq!(sink.log("login").len(), 1);
    supervisor.file("password", PASSWORD, 0o600);
    assert_eq!(supervisor.ctl(&["reload"]).code, 0);
    assert!(sink.wait_for(1)[0].subject().starts_with("web crashed"));
    assert_eq!(supervisor.stop(), 0);
}

fn lost_acknowledgement() {
    let WithSink { mut supervisor, sink } = with_sink("lostack", &program("web"));
    supervisor.crash("web");
    sink.wait_for(1);
    supervisor.wait_for_cause("email");
    supervisor.retry_alerts();
    let mails = sink.wait_for(2);
    assert_eq!(mails[0].id(), mails[1].id());
    assert_eq!(mails[0].header("Date"), mails[1].header("Date"));
    supervisor.wait_for_queue("nothing waits", |queue| of(queue, "waiting").is_empty());
    assert_eq!(sink.count(), 2);
    assert_eq!(supervisor.stop(), 0);
}

fn disliked() {
    let WithSink { mut supervisor, sink } = with_sink("data5xx", &program("web"));
    supervisor.wait_for_words("web");
    supervisor.crash("web");
    let queue = supervisor.wait_for_queue("it is given up", |queue| of(queue, "dead").len() == 1);
    assert!(of(&queue, "dead")[0]["reason"].to_string().contains("554 5.7.1 rejected"), "{queue}");
    let refused = sink.log("refused");
    let has_output = |at: usize| refused[at]["text"].as_str().expect("text").contains("has said this");
    assert_eq!((refused.len(), has_output(0), has_output(1)), (2, true, false), "{refused:?}");
    assert!(of(&queue, "waiting").is_empty(), "{queue}");
    assert_eq!(supervisor.stop(), 0);
}

fn closing() {
    let WithSink { mut supervisor, mut sink } = with_sink("421", &program("web"));
    supervisor.crash("web");
    let cause = supervisor.wait_for_cause("email");
    assert!(cause.contains("421 4.3.2 shutting down"), "{cause}");
    for mode in ["mail421", "data4xx"] {
        sink.be(mode);
        supervisor.retry_alerts();
        let words = if mode == "mail421" { "MAIL: 421" } else { "451 4.3.0 temporary" };
        supervisor.wait_for_queue(words, |queue| {
            of(queue, "waiting").iter().any(|waiting| waiting["reason"].to_string().contains(words))
        });
    }
    sink.be("plain");
    supervisor.retry_alerts();
    assert_eq!(sink.wait_for(1).len(), 1);
    assert_eq!(supervisor.stop(), 0);
}

fn endless_line() {
    let WithSink { mut supervisor, sink: _sink } = with_sink("bigline", &program("web"));
    let notifier = supervisor.helper("notifier");
    supervisor.crash("web");
    let cause = supervisor.wait_for_cause("email");
    assert!(cause.contains("more than a server has to say"), "{cause}");
    assert_eq!(supervisor.helper("notifier"), notifier);
    let peak: u64 = proc::status(notifier)["VmHWM"].trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 64 << 10, "{peak} kB");
    assert_eq!(supervisor.stop(), 0);
}

fn tarpit() {
    // Both at once: each takes half a minute.
    let mut slow = with_sink("tarpit", &program("web"));
    let mut silent = with_sink("silent", &program("web"));
    for with in [&slow, &silent] {
        with.supervisor.crash("web");
    }
    for with in [&mut slow, &mut silent] {
        let queue = with.supervisor.wait_for_queue_within(Duration::from_secs(60), "it is given up", |queue| {
            of(queue, "channels")[0]["cause"].is_string()
        });
        let cause = of(&queue, "channels")[0]["cause"].as_str().expect("text");
        assert!(cause.contains("no reply within 30s"), "{cause}");
        assert_eq!(with.supervisor.ctl(&["status", "web"]).code, 0);
        with.sink.be("plain");
        with.supervisor.retry_alerts();
        assert_eq!(with.sink.wait_for(1).len(), 1);
        assert_eq!(with.supervisor.stop(), 0);
    }
}

fn failover() {
    let mut supervisor = Supervisor::prepare("");
    let (dead, closing) = (Sink::prepare(supervisor.path("dead")), Sink::start(supervisor.path("closing"), "421"));
    let sink = Sink::start(supervisor.path("sink"), "plain");
    let servers = [dead.port, closing.port, sink.port].map(|port| format!("\"127.0.0.1:{port}\"")).join(", ");
    let settings = email(1).replace("\"127.0.0.1:1\"", &format!("[{servers}]"));
    supervisor.configure(&format!("{}{FAST}{settings}", program("web")));
    supervisor.launch();
    supervisor.crash("web");
    assert_eq!(sink.wait_for(1).len(), 1);
    assert_eq!(closing.log("connection").len(), 1);
    assert_eq!(supervisor.stop(), 0);
}

/// Mail to a server whose name nobody knows, and a webhook.
fn with_unknown_server(receiver: &Receiver) -> Supervisor {
    let rules = "[[notify.rules]]\non = [\"process.crashed\"]\nto = [\"email\", \"webhooks.other\"]\n";
    Supervisor::prepare(&format!(
        "{}{FAST}{}[notify.webhooks.other]\nurl = \"{}\"\n{rules}",
        program("web"),
        email(25).replace("127.0.0.1:25", "mail.test.invalid"),
        receiver.url()
    ))
}

fn names() {
    let receiver = Receiver::start();
    let mut supervisor = with_unknown_server(&receiver);
    supervisor.launch();
    supervisor.crash("web");
    receiver.wait_for(1);
    let cause = supervisor.wait_for_cause("email");
    assert!(cause.contains("mail.test.invalid"), "{cause}");
    let queue = supervisor.alert_queue();
    assert_eq!((of(&queue, "waiting").len(), of(&queue, "dead").len()), (1, 0), "it may be known tomorrow: {queue}");
    assert_eq!(supervisor.stop(), 0);
}

fn silent_name_server() {
    use std::net::{Ipv4Addr, UdpSocket};
    // One that is asked and never answers, on an address that only this test has.
    let [.., high, low] = std::process::id().to_be_bytes();
    let server = Ipv4Addr::new(127, 77, high, low.max(1));
    let socket = UdpSocket::bind((server, 53)).expect("port 53 is free there");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let receiver = Receiver::start();
    let mut supervisor = with_unknown_server(&receiver);
    supervisor.file("resolv.conf", &format!("nameserver {server}\n"), 0o644);
    let configuration = supervisor.path("resolv.conf");
    supervisor.launch_with(move |command| see_as(command, configuration, "/etc/resolv.conf"));
    supervisor.crash("web");
    receiver.wait_for(1);
    assert!(socket.recv(&mut [0; 512]).is_ok(), "it is asked");
    let cause = supervisor.wait_for_cause("email");
    assert!(cause.contains("mail.test.invalid"), "{cause}");
    supervisor.crash("web");
    receiver.wait_for(2);
    assert_eq!(supervisor.ctl(&["status", "web"]).code, 0);
    assert_eq!(supervisor.stop(), 0);
}

fn secrets() {
    let WithPostfix { mut supervisor, mut postfix } = with_postfix(FAST, THROUGH_POSTFIX, &program("web"));
    postfix.launch();
    supervisor.launch();
    let password = postfix::PASSWORD;
    // As AUTH PLAIN has it; computed by hand it would be no check.
    let plain = base64(&format!("\0{}\0{password}", postfix::USER));
    let forms = [password.to_owned(), base64(password), plain];
    let tested = supervisor.notify(&["test", "email"]);
    assert_eq!(tested.code, 0, "{tested:?}");
    assert!(tested.stdout.contains("AUTH") && tested.stdout.contains("***"), "{tested:?}");
    supervisor.crash("web");
    postfix.wait_for("ops", 2);
    let mut seen = vec![("the conversation".to_owned(), tested.stdout.into_bytes())];
    for arguments in [&["status"][..], &["events"], &["config"], &["--json", "notify", "queue"], &["--json", "status"]]
    {
        let shown = supervisor.ctl(arguments);
        seen.push((format!("{arguments:?}"), format!("{}{}", shown.stdout, shown.stderr).into_bytes()));
    }
    let mut processes = proc::descendants(supervisor.pid());
    processes.push(supervisor.pid());
    for pid in processes {
        for name in ["cmdline", "environ", "status", "comm"] {
            seen.push((format!("{pid}/{name}"), std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default()));
        }
    }
    for place in ["log", "state", "run", "console", "taskmaster.toml"] {
        files_below(&supervisor.path(place), &mut seen);
    }
    seen.push(("the mail log".to_owned(), postfix.log().into_bytes()));
    assert!(seen.iter().any(|(name, _)| name.ends_with("/state/alerts/state.json")), "the spool was looked at");
    for (name, bytes) in seen {
        let text = String::from_utf8_lossy(&bytes);
        for form in &forms {
            assert!(!text.contains(form.as_str()), "{name} shows a secret");
        }
    }
    let notifier = supervisor.helper("notifier");
    let limits = std::fs::read_to_string(format!("/proc/{notifier}/limits")).expect("it runs");
    assert!(
        limits.lines().any(|line| line.split_whitespace().eq("Max core file size 0 0 bytes".split(' '))),
        "{limits}"
    );
    assert_eq!(supervisor.stop(), 0);
}

fn base64(text: &str) -> String {
    let script = "import base64, sys; print(base64.b64encode(bytes.fromhex(sys.argv[1])).decode())";
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let python = crate::support::servers::python().expect("the test needs it");
    crate::support::servers::tool(Command::new(python).args(["-c", script, &hex])).trim().to_owned()
}

fn files_below(path: &std::path::Path, seen: &mut Vec<(String, Vec<u8>)>) {
    if let Ok(bytes) = std::fs::read(path) {
        seen.push((path.display().to_string(), bytes));
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_file()) {
            files_below(&entry.path(), seen);
        }
    }
}
