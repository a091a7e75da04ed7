//! `[notify]`: what is read, what is refused, and what is told of settings that do nothing.
use super::*;
use crate::model::event::Severity;
use crate::model::notify::{
    Channel, Email, Framing, MailTls, MailTransport, RateLimit, SecretKind, Server, Smtp, Syslog, SyslogTarget, Timing,
    Transport, Webhook, WebhookFormat,
};

const PROGRAM: &str = "[programs.web]\ncmd = \"/bin/web\"\nuser = \"www\"\n";
const EMAIL: &str =
    "[notify.email]\nserver = \"smtp.example.com\"\nfrom = \"tm@example.com\"\nto = [\"ops@example.com\"]\n";
const HOOK: &str = "[notify.webhooks.chat]\nurl = \"https://hooks.example.com/T1\"\n";

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";

fn read(text: &str) -> Result<Config, Faults> {
    let files = [
        ("taskmaster.toml", text),
        ("ca.pem", PEM),
        ("key.pem", KEY),
        ("empty.pem", "nothing"),
        ("password", "p"),
        ("new", "n"),
        ("open", "p"),
        ("hook", "https://hooks.example.com/secret\n"),
        ("hook-open", "https://hooks.example.com/secret\n"),
        ("hook-bad", "https:/hunter2 x\n"),
        ("denied", "DENIED"),
    ];
    load_all(&files, &environment())
}

fn with(text: &str) -> Config {
    read(&format!("{PROGRAM}{text}")).unwrap_or_else(|faults| panic!("{faults}"))
}

/// What is wrong with these lines, in the words alone.
fn wrong(text: &str) -> String {
    told(read(&format!("{PROGRAM}{text}")))
}

fn warnings(text: &str) -> Vec<String> {
    with(text).warnings.iter().map(|warning| warning.message.clone()).collect()
}

fn email(text: &str) -> Email {
    let config = with(&format!("{EMAIL}{text}"));
    let [Channel { transport: Transport::Email(email), .. }] = config.notify.channels.as_slice() else {
        panic!("{:?}", config.notify)
    };
    email.clone()
}

fn smtp(text: &str) -> Smtp {
    let MailTransport::Smtp(smtp) = email(text).via else { panic!("not smtp") };
    smtp
}

fn hook(text: &str) -> Webhook {
    let config = with(&format!(
        "[notify.webhooks.chat]\n{text}\n[[notify.rules]]\non = \"process.*\"\nto = \"webhooks.chat\"\n"
    ));
    let [Channel { transport: Transport::Webhook(hook), .. }] = config.notify.channels.as_slice() else {
        panic!("{:?}", config.notify)
    };
    hook.clone()
}

fn syslog(text: &str) -> Syslog {
    let config = with(&format!("[notify.syslog]\n{text}\n"));
    let [Channel { transport: Transport::Syslog(syslog), .. }] = config.notify.channels.as_slice() else {
        panic!("{:?}", config.notify)
    };
    syslog.clone()
}

fn server(host: &str, port: u16) -> Server {
    Server { host: host.to_owned(), port }
}

#[test]
fn without_a_word_nobody_is_told_and_with_email_bad_ends_are_mailed() {
    let config = with("");
    assert_eq!((config.notify.channels.len(), config.notify.rules.len()), (0, 0));
    assert_eq!(config.notify.shutdown_drain, Duration::from_secs(5));
    assert_eq!(config.warnings, []);
    let config = with(EMAIL);
    let [rule] = config.notify.rules.as_slice() else { panic!("{:?}", config.notify.rules) };
    assert_eq!(rule.on, ["process.crashed", "process.fatal", "process.killed"]);
    assert_eq!(rule.to.iter().map(|name| name.0.as_str()).collect::<Vec<_>>(), ["email"]);
    assert_eq!(config.warnings, []);
    assert_eq!(config.notify.channels[0].timing, Timing::default());
    assert_eq!(config.notify.channels[0].min_severity, Severity::Info);
    // Any rule replaces it.
    let config = with(&format!("{EMAIL}[[notify.rules]]\non = \"process.fatal\"\nto = \"email\"\n"));
    assert_eq!(config.notify.rules.len(), 1);
    assert_eq!(config.notify.rules[0].on, ["process.fatal"]);
}

#[test]
fn times_stand_in_notify_and_for_one_channel() {
    let config = with(&format!(
        "[notify]\ngroup_wait = 1\nremind_after = [\"1h\", \"2h\"]\nshutdown_drain = \"3s\"\nrate_limit = {{ burst = 7 }}\n\
         spool = {{ max_messages = 50, max_bytes = \"2MB\", max_age = \"1d\" }}\n{EMAIL}\
         group_wait = 2\nflap_count = 9\nremind_after = []\nrate_limit = {{ interval = 9 }}\nmin_severity = \"err\"\n{HOOK}\
         [[notify.rules]]\nnot_on = \"process.running\"\nto = [\"email\", \"webhooks.chat\", \"email\"]\n"
    ));
    let [email, chat] = config.notify.channels.as_slice() else { panic!("{:?}", config.notify) };
    let seconds = Duration::from_secs;
    assert_eq!((email.timing.group_wait, chat.timing.group_wait), (seconds(2), seconds(1)));
    assert_eq!((email.timing.flap_count, chat.timing.flap_count), (9, 5));
    assert_eq!((email.timing.remind_after.len(), chat.timing.remind_after.len()), (0, 2));
    assert_eq!(email.timing.rate_limit, RateLimit { burst: 7, interval: seconds(9) });
    assert_eq!(email.min_severity, Severity::Err);
    assert_eq!(config.notify.shutdown_drain, seconds(3));
    assert_eq!((config.notify.spool.max_messages, config.notify.spool.max_bytes), (50, 2 << 20));
    assert_eq!(config.notify.rules[0].on, ["*"]);
    assert_eq!(config.notify.rules[0].to.len(), 2);
}

#[test]
fn mail_goes_to_servers_in_turn_with_the_port_of_its_tls() {
    assert_eq!(smtp("").servers, [server("smtp.example.com", 587)]);
    assert_eq!(smtp("tls = \"implicit\"").servers, [server("smtp.example.com", 465)]);
    assert_eq!(smtp("tls = \"none\"").servers, [server("smtp.example.com", 25)]);
    assert_eq!(smtp("port = 2525").servers, [server("smtp.example.com", 2525)]);
    let config = with(
        "[notify.email]\nserver = [\"a\", \"b:26\", \"[::1]:27\"]\nport = 28\nfrom = \"TM <tm@h>\"\nto = \"Ops <o@h>\"\n\
         username = \"u\"\npassword_file = \"/etc/taskmaster/password\"\nca_file = \"/etc/taskmaster/ca.pem\"\n\
         server_name = \"c\"\noutput_lines = 3\nredact = [\"pw=[^ ]+\"]\n",
    );
    let Transport::Email(email) = &config.notify.channels[0].transport else { panic!("email") };
    assert_eq!((email.from.as_str(), email.envelope_from.as_str()), ("TM <tm@h>", "tm@h"));
    assert_eq!((email.to.as_slice(), email.output_lines), (["Ops <o@h>".to_owned()].as_slice(), 3));
    let MailTransport::Smtp(smtp) = &email.via else { panic!("smtp") };
    assert_eq!(smtp.servers, [server("a", 28), server("b", 26), server("::1", 27)]);
    assert_eq!((smtp.tls, smtp.ca.as_deref(), smtp.username.as_deref()), (MailTls::Starttls, Some(PEM), Some("u")));
    let [secret] = config.secrets.as_slice() else { panic!("{:?}", config.secrets) };
    assert_eq!((secret.kind, secret.path.to_str()), (SecretKind::Password, Some("/etc/taskmaster/password")));
}

#[test]
fn mail_can_leave_by_a_program_or_into_a_directory() {
    let head = "[notify.email]\nfrom = \"tm@h\"\nto = \"o@h\"\n";
    for (lines, via) in [
        ("transport = \"sendmail\"", MailTransport::Sendmail("/usr/sbin/sendmail".into())),
        ("sendmail = \"/opt/sendmail\"", MailTransport::Sendmail("/opt/sendmail".into())),
        ("maildir = \"/var/mail/tm\"", MailTransport::Maildir("/var/mail/tm".into())),
    ] {
        let config = with(&format!("{head}{lines}\n"));
        let Transport::Email(email) = &config.notify.channels[0].transport else { panic!("email") };
        assert_eq!(email.via, via);
    }
}

#[test]
fn webhooks_have_an_address_a_format_and_up_to_two_secrets() {
    let plain = hook("url = \"https://hooks.example.com/T1\"");
    assert_eq!((plain.url.as_str(), plain.format), ("https://hooks.example.com/T1", WebhookFormat::Json));
    assert_eq!((plain.secrets, plain.output_lines), (0, 20));
    let slack = hook("url_file = \"/etc/taskmaster/hook\"\nformat = \"slack\"");
    assert_eq!((slack.url.as_str(), slack.format), ("https://hooks.example.com/secret", WebhookFormat::Slack));
    let config = with(&format!("{HOOK}secret_file = [\"/etc/taskmaster/new\", \"/etc/taskmaster/password\"]\n"));
    let kinds: Vec<_> = config.secrets.iter().map(|secret| secret.kind).collect();
    assert_eq!(kinds, [SecretKind::Hmac(0), SecretKind::Hmac(1)]);
}

#[test]
fn syslog_is_local_unless_it_says_where() {
    let usual = syslog("");
    assert_eq!(usual.target, SyslogTarget::Local("/dev/log".into()));
    assert_eq!((usual.facility, usual.tag.as_str(), usual.sd_id.as_str()), (3, "taskmaster", "taskmaster@32473"));
    let remote =
        syslog("target = \"tcp://h\"\nframing = \"lf\"\nfacility = \"local3\"\ntag = \"tm\"\nsd_id = \"tm@1\"");
    assert_eq!(remote.target, SyslogTarget::Tcp { server: server("h", 601), framing: Framing::Lf });
    assert_eq!((remote.facility, remote.tag.as_str(), remote.sd_id.as_str()), (19, "tm", "tm@1"));
    let tls = syslog("target = \"tls://h\"\nca_file = \"/etc/taskmaster/ca.pem\"\nserver_name = \"n\"");
    assert_eq!((tls.ca.as_deref(), tls.server_name.as_deref()), (Some(PEM), Some("n")));
}

#[test]
fn a_build_without_the_network_refuses_what_needs_it_and_takes_the_rest() {
    let environment = Environment { local_only: true, ..environment() };
    let read = |text: &str| load_all(&[("taskmaster.toml", &format!("{PROGRAM}{text}"))], &environment);
    let mail = "from = \"tm@example.com\"\nto = [\"ops@example.com\"]\n";
    for local in [
        "[notify.syslog]\n",
        "[notify.syslog]\ntarget = \"journald\"\n",
        &format!("[notify.email]\ntransport = \"sendmail\"\n{mail}"),
        &format!("[notify.email]\ntransport = \"maildir\"\nmaildir = \"/var/lib/taskmaster/mail\"\n{mail}"),
    ] {
        read(local).unwrap_or_else(|faults| panic!("{local}: {faults}"));
    }
    for (remote, channel, instead) in [
        (EMAIL, "email", "sendmail"),
        (HOOK, "webhooks.chat", "remove it"),
        ("[notify.syslog]\ntarget = \"udp://log.example.com\"\n", "syslog", "local"),
    ] {
        let words = told(read(remote));
        assert!(words.contains(&format!("[notify.{channel}] needs the network")), "{words}");
        let faults = read(remote).err().map(|faults| faults.to_string()).unwrap_or_default();
        assert!(faults.contains(instead) && faults.contains("feature `network`"), "{faults}");
    }
}

#[test]
fn a_program_says_whom_its_alerts_reach() {
    let config = with(&format!(
        "alert_to = [\"webhooks.chat\", \"dba@example.com\", \"dba@example.com\"]\nsyslog_facility = \"local1\"\n\
         syslog_tag = \"shop\"\n[programs.quiet]\ncmd = \"/bin/q\"\nuser = \"q\"\nalerts = false\nalert_to = []\n\
         [defaults]\nalert_to = \"email\"\n[programs.usual]\ncmd = \"/bin/u\"\nuser = \"u\"\n{EMAIL}{HOOK}"
    ));
    let [web, quiet, usual] = config.programs.as_slice() else { panic!("three") };
    assert_eq!(web.alerts.channels.iter().map(|name| name.0.as_str()).collect::<Vec<_>>(), ["webhooks.chat"]);
    assert_eq!(web.alerts.recipients, ["dba@example.com"]);
    assert_eq!((web.alerts.syslog_facility, web.alerts.syslog_tag.as_deref()), (Some(17), Some("shop")));
    assert!(web.alerts.enabled && !quiet.alerts.enabled);
    assert!(quiet.alerts.channels.is_empty());
    assert_eq!(usual.alerts.channels.iter().map(|name| name.0.as_str()).collect::<Vec<_>>(), ["email"]);
}

#[test]
fn every_fault_of_alerts_is_told_with_its_place() {
    let text = r#"[notify]
groupwait = 1
[notify.email]
server = "https://smtp.example.com"
tls = "ssl"
password = "hunter2"
from = "taskmaster"
[notify.webhook.chat]
[[notify.rules]]
on = ["process.crash", "fatal"]
to = ["mail", "chat"]
"#;
    let expected = r#"taskmaster.toml:2:1: unknown key `groupwait` in [notify]
    2 | groupwait = 1
      | ^^^^^^^^^ did you mean `group_wait`?
taskmaster.toml:3:1: [notify.email] has no `to`
    3 | [notify.email]
      | ^^^^^^^^^^^^^^ add: to = ["ops@example.com"]
taskmaster.toml:4:10: a server is a name and no URL
    4 | server = "https://smtp.example.com"
      |          ^^^^^^^^^^^^^^^^^^^^^^^^^^ write "smtp.example.com"; `tls` says how it is spoken to
taskmaster.toml:5:7: `tls` is one of "starttls", "implicit", "none"
    5 | tls = "ssl"
      |       ^^^^^ did you mean "implicit"?
taskmaster.toml:6:12: `password` does not stand in the configuration
    6 | password = "*******"
      |            ^^^^^^^^^ put it into a file of its own, mode 0600, and write: password_file = "secret"
taskmaster.toml:7:8: `taskmaster` is no mail address: it has no `@`
    7 | from = "taskmaster"
      |        ^^^^^^^^^^^^ write "ops@example.com" or "Operations <ops@example.com>"
taskmaster.toml:8:9: unknown table `webhook` in [notify]
    8 | [notify.webhook.chat]
      |         ^^^^^^^ did you mean `webhooks`?
taskmaster.toml:10:7: `process.crash` is no kind of event
   10 | on = ["process.crash", "fatal"]
      |       ^^^^^^^^^^^^^^^ did you mean "process.crashed"?
taskmaster.toml:10:24: `fatal` is no kind of event
   10 | on = ["process.crash", "fatal"]
      |                        ^^^^^^^ did you mean "process.fatal"?
taskmaster.toml:11:7: there is no channel `mail`
   11 | to = ["mail", "chat"]
      |       ^^^^^^ did you mean "email"?
taskmaster.toml:11:15: there is no channel `chat`
   11 | to = ["mail", "chat"]
      |               ^^^^^^ there are email
"#;
    let said = told(read(&format!("{text}{PROGRAM}")));
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn each_wrong_setting_is_refused_in_the_words_of_its_key() {
    let rule = "[[notify.rules]]\n";
    let mut others = Vec::new();
    for (lines, words) in [
        (
            format!("{EMAIL}tls = \"none\"\nusername = \"u\"\npassword_file = \"/etc/taskmaster/password\""),
            "a password is never sent without TLS",
        ),
        (format!("{EMAIL}username = \"u\""), "`username` has no password"),
        (format!("{EMAIL}password_file = \"/etc/taskmaster/password\""), "and no `username`"),
        (
            format!("{EMAIL}username = \"u\"\npassword_file = \"/etc/taskmaster/open\""),
            "`password_file` open: can be read by others",
        ),
        (
            format!("{EMAIL}username = \"u\"\npassword_file = \"/etc/taskmaster/gone\""),
            "`password_file` gone: No such file",
        ),
        (
            format!("{EMAIL}username = \"u\"\npassword_file = \"password\""),
            "`password_file` is the absolute path of a file",
        ),
        (
            format!("{EMAIL}username = \"u\"\npassword_file = \"${{env:CREDENTIALS_DIRECTORY}}/p\""),
            "no variable \"CREDENTIALS_DIRECTORY\"",
        ),
        (
            format!("{EMAIL}username = \"u\"\npassword_file = \"/x/${{program}}\""),
            "has a meaning only inside a program",
        ),
        (format!("{EMAIL}ca_file = \"/etc/taskmaster/empty.pem\""), "has no certificate in PEM form"),
        (format!("{EMAIL}ca_file = \"/etc/taskmaster/key.pem\""), "has a private key in it"),
        (format!("{EMAIL}ca_file = \"/etc/taskmaster/denied\""), "Permission denied"),
        (format!("{EMAIL}tls = \"none\"\nserver_name = \"x\""), "`server_name` has no meaning with tls = \"none\""),
        (format!("{EMAIL}port = 0"), "`port` is a number from 1 to 65535"),
        (format!("{EMAIL}maildir = \"/x\""), "`server` has no meaning with transport = \"maildir\""),
        (
            format!("{EMAIL}transport = \"smtp\"\nsendmail = \"/x\""),
            "`sendmail` has no meaning with transport = \"smtp\"",
        ),
        (format!("{EMAIL}envelope_from = \"A <a@b>\""), "without a name"),
        (format!("{EMAIL}output_lines = 101"), "`output_lines` is a number from 0 to 100"),
        (format!("{EMAIL}redact = [\"(\"]"), "`(` is no regular expression"),
        (format!("{EMAIL}redact = \"x*\""), "`x*` matches what is empty"),
        (format!("{EMAIL}min_severity = \"error\""), "did you mean \"err\"?"),
        (format!("{EMAIL}flap_count = 1"), "`flap_count` is a number from 2"),
        (format!("{EMAIL}rate_limit = {{ burst = 0 }}"), "`burst` is a number from 1 to 1000"),
        (format!("{EMAIL}remind_after = [\"4h\", \"30m\"]"), "later than the one before"),
        (format!("{EMAIL}flap_window = 0"), "`flap_window` is longer than nothing"),
        ("[notify.email]\nserver = []\nfrom = \"a@b\"\nto = \"a@b\"".to_owned(), "names no server"),
        ("[notify.email]\nserver = \"a b\"\nfrom = \"a@b\"\nto = \"a@b\"".to_owned(), "`a b` is no server"),
        ("[notify.email]\nserver = \"a\"\nfrom = \"a@b\"\nto = []".to_owned(), "`to` is empty: nobody would be told"),
        ("[notify.email]\nserver = \"a\"\nfrom = \"a@b\"\nto = \"a@b,c@d\"".to_owned(), "several addresses are a list"),
        ("[notify.email]\nserver = \"a\"\nfrom = \"a@b\\r\\nBcc: x@y\"\nto = \"a@b\"".to_owned(), "is no mail address"),
        ("[notify.email]\ntransport = \"maildir\"\nfrom = \"a@b\"\nto = \"a@b\"".to_owned(), "there is no `maildir`"),
        ("[notify]\nshutdown_drain = \"2m\"".to_owned(), "at most 1 minute"),
        ("[notify]\nspool = { max_bytes = 5 }".to_owned(), "at least 1MB"),
        ("[notify.webhooks.chat]\nformat = \"json\"".to_owned(), "this webhook has no `url`"),
        ("[notify.webhooks.\"a b\"]\nurl = \"https://h\"".to_owned(), "`a b` cannot name a webhook"),
        ("[notify.webhooks]\nurl = \"https://h\"".to_owned(), "is a table"),
        (format!("{HOOK}secret = \"hunter2\""), "put it into a file of its own"),
        (format!("{HOOK}secret_file = []"), "a list of two"),
        (format!("{HOOK}secret_file = \"/etc/taskmaster/open\""), "can be read by others"),
        (format!("{HOOK}url_file = \"/etc/taskmaster/hook\""), "both `url` and `url_file`"),
        ("[notify.webhooks.chat]\nurl = \"ftp://hunter2\"".to_owned(), "begins with https://"),
        ("[notify.webhooks.chat]\nurl = \"hunter2\"".to_owned(), "`url` is no URL"),
        ("[notify.webhooks.chat]\nurl = \"https://u:hunter2@h\"".to_owned(), "a user name or a password in it"),
        ("[notify.webhooks.chat]\nurl = \"https://h/hunter2#x\"".to_owned(), "what follows is never sent"),
        ("[notify.webhooks.chat]\nurl = \"https://h/\\nhunter2\"".to_owned(), "white space"),
        (
            "[notify.webhooks.chat]\nurl_file = \"/etc/taskmaster/hook-bad\"".to_owned(),
            "the URL of `url_file` has white space",
        ),
        (
            "[notify.webhooks.chat]\nurl = \"http://h\"\nca_file = \"/etc/taskmaster/ca.pem\"".to_owned(),
            "`ca_file` has no meaning with an http:// URL",
        ),
        ("[notify.syslog]\nfacility = \"deamon\"".to_owned(), "did you mean \"daemon\"?"),
        (
            "[notify.syslog]\ntarget = \"tls://h\"\nframing = \"lf\"".to_owned(),
            "`framing` has no meaning with a tls:// target",
        ),
        (
            "[notify.syslog]\nca_file = \"/etc/taskmaster/ca.pem\"".to_owned(),
            "`ca_file` has no meaning with a local target",
        ),
        ("[notify.syslog]\ngroup_wait = 1".to_owned(), "it belongs in [notify]"),
        (format!("{EMAIL}{rule}to = \"email\""), "does not say on which events"),
        (format!("{EMAIL}{rule}on = \"process.fatal\""), "does not say whom it tells"),
        (format!("{EMAIL}{rule}on = \"process.fatal\"\nto = []"), "`to` is empty"),
        (format!("{EMAIL}{rule}on = []\nto = \"email\""), "`on` is empty"),
        (format!("{EMAIL}{rule}on = \"proces.*\"\nto = \"email\""), "no kind of event is like"),
        (format!("{EMAIL}{rule}on = \"banana\"\nto = \"email\""), "there are supervisor.started, "),
        (format!("{EMAIL}{rule}on = \"process.*\"\nto = \"a@b\""), "addresses stand in `to` of [notify.email]"),
        (format!("{HOOK}{rule}on = \"process.*\"\nto = \"chat\""), "did you mean \"webhooks.chat\"?"),
        (format!("{HOOK}{rule}on = \"process.*\"\nto = \"email\""), "write [notify.email] to have it"),
        (format!("{EMAIL}{rule}on = \"process.*\"\nto = \"email\"\nprograms = \"web:0\""), "rules are about programs"),
        ("alert_to = [\"emial\"]\n[notify.syslog]".to_owned(), "there is no channel `emial`"),
        ("alert_to = \"a@b.c\"\n[notify.syslog]".to_owned(), "there is no [notify.email]"),
        ("alert_to = \"a b@c\"\n[notify.syslog]".to_owned(), "is no mail address"),
        ("alerts = \"no\"".to_owned(), "`alerts` is true or false"),
        ("syslog_facility = 3".to_owned(), "`syslog_facility` is a string"),
        ("syslog_tag = \"a b\"".to_owned(), "`syslog_tag` has 1 to 48 ASCII characters"),
        ("password_file = \"/x\"".to_owned(), "it belongs in [notify.email]"),
    ] {
        let said = wrong(&lines);
        if !said.contains(words) || said.contains("hunter2") {
            others.push(format!("{lines}: {said}"));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n\n"));
}

#[test]
fn no_syntax_fault_shows_a_password() {
    for line in ["password = hunter2", "password = \"hunter2", "password = 'hunter2' x", "url = https://hunter2"] {
        let said = wrong(&format!("[notify.email]\n{line}\n"));
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn what_is_odd_or_does_nothing_is_a_warning() {
    let rule = "[[notify.rules]]\n";
    for (lines, words) in [
        (format!("{EMAIL}tls = \"none\""), "mail leaves this machine without TLS"),
        (format!("{EMAIL}port = 465"), "servers mostly expect tls = \"implicit\" on port 465"),
        (format!("{EMAIL}port = 587\ntls = \"implicit\""), "servers mostly expect tls = \"starttls\" on port 587"),
        (HOOK.to_owned(), "nothing sends alerts to `webhooks.chat`"),
        (format!("{EMAIL}{rule}on = \"process.*\"\nto = \"email\"\nprograms = [\"web\", \"wbe*\"]"), "no program's name is like `wbe*`"),
        (format!("{EMAIL}{rule}on = \"config.rejected\"\nto = \"email\"\nprograms = \"web\""), "these events are about no program"),
        (format!("{EMAIL}{rule}on = \"process.fatal\"\nnot_on = \"process.*\"\nto = \"email\""), "this rule never matches"),
        (format!("{EMAIL}min_severity = \"crit\"\n{rule}on = \"process.crashed\"\nto = \"email\""), "`email` is told nothing by this"),
        (format!("[notify.syslog]\n{rule}on = \"process.*\"\nto = \"syslog\""), "syslog gets every event"),
        (
            "alert_to = \"webhooks.chat\"\n[notify.webhooks.chat]\nurl = \"http://h\"\nsecret_file = \"/etc/taskmaster/new\"".to_owned(),
            "a secret is used over http://",
        ),
        (
            "alert_to = \"webhooks.chat\"\n[notify.webhooks.chat]\nurl_file = \"/etc/taskmaster/hook-open\"".to_owned(),
            "others can read",
        ),
    ] {
        let said = warnings(&lines);
        assert!(said.len() == 1 && said[0].contains(words), "{lines}: {said:?}");
    }
    for fine in [
        format!("{EMAIL}tls = \"none\"").replace("smtp.example.com", "localhost"),
        "alert_to = \"webhooks.chat\"\n[notify.webhooks.chat]\nurl = \"http://[::1]:8080/\"\nsecret_file = \"/etc/taskmaster/new\"".to_owned(),
        format!("{EMAIL}{rule}on = \"process.*\"\nto = \"email\"\nprograms = [\"*\"]"),
        format!("{EMAIL}{rule}on = \"process.running\"\nseverity = \"err\"\n{rule}on = \"process.*\"\nto = \"email\""),
    ] {
        assert_eq!(warnings(&fine), [""; 0], "{fine}");
    }
}
