use std::io::Write;
use std::process::{Command, Stdio};

use mail_parser::MessageParser;
use proptest::prelude::*;

use super::*;
use crate::alert::notice::{Output, Purpose};
use crate::alert::samples::{at, crash, notice, recovered};
use crate::model::event::Severity;
use crate::model::id::ChannelName;
use crate::model::notify::{MailTransport, Timing};

const NOW: Rendering = Rendering { without_output: false, sent_at: WallTime::UNIX_EPOCH };

fn channel(transport: Transport) -> Channel {
    let (name, timing) = (ChannelName("email".to_owned()), Timing::default());
    Channel { name, min_severity: Severity::Info, timing, transport }
}

fn email() -> Email {
    Email {
        via: MailTransport::Sendmail("/usr/sbin/sendmail".into()),
        from: "Taskmaster <tm@example.test>".to_owned(),
        to: vec!["ops@example.test".to_owned(), "Dev <dev@example.test>".to_owned()],
        envelope_from: "bounces@example.test".to_owned(),
        output_lines: 20,
        redact: Vec::new(),
    }
}

fn mailed(notice: &Notice) -> (String, Vec<String>, Vec<u8>) {
    match message(notice, &channel(Transport::Email(email())), &NOW).expect("a message") {
        Message::Mail { envelope_from, recipients, bytes } => (envelope_from, recipients, bytes.to_vec()),
        Message::Post { .. } => panic!("no mail"),
    }
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.split("\r\n\r\n").next().expect("a head");
    head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn a_mail_has_all_headers_and_its_recipients() {
    let (from, to, bytes) = mailed(&notice(Purpose::Problem, vec![crash("web")]));
    let text = String::from_utf8(bytes).expect("ASCII");
    assert_eq!(from, "bounces@example.test");
    assert_eq!(to, ["ops@example.test", "dev@example.test"]);
    for (name, value) in [
        ("From", "Taskmaster <tm@example.test>"),
        ("To", "ops@example.test, Dev <dev@example.test>"),
        ("Date", "Fri, 20 Nov 2026 08:12:13 +0000"),
        ("Subject", "web crashed on h1: signal SEGV (core dumped)"),
        ("Message-ID", "<20261120T081213-4f2a9c-17@h1>"),
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
        ("List-Id", "Taskmaster alerts <alerts.taskmaster.h1>"),
        ("MIME-Version", "1.0"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("X-Taskmaster-Program", "web"),
        ("X-Taskmaster-Host", "h1"),
        ("X-Taskmaster-Severity", "error"),
        ("X-Taskmaster-Incident", "20261120T081203-4f2a9c-web"),
    ] {
        assert_eq!(header(&text, name), Some(value), "{name} in\n{text}");
    }
    assert_eq!(header(&text, "In-Reply-To"), None);
}

#[test]
fn a_later_notice_answers_the_first_one() {
    let mut later = notice(Purpose::Recovery, vec![recovered("web")]);
    later.root = Some("20261120T081200-4f2a9c-1".to_owned());
    let text = String::from_utf8(mailed(&later).2).expect("ASCII");
    assert_eq!(header(&text, "In-Reply-To"), Some("<20261120T081200-4f2a9c-1@h1>"));
    assert_eq!(header(&text, "References"), Some("<20261120T081200-4f2a9c-1@h1>"));
}

#[test]
fn recipients_of_the_notice_replace_those_of_the_channel() {
    let mut told = notice(Purpose::Problem, vec![crash("web")]);
    told.recipients = vec!["web@example.test".to_owned()];
    assert_eq!(mailed(&told).1, ["web@example.test"]);
}

#[test]
fn the_second_attempt_is_without_output_and_keeps_its_id() {
    let told = notice(Purpose::Problem, vec![crash("web")]);
    let how = Rendering { without_output: true, ..NOW };
    let Ok(Message::Mail { bytes, .. }) = message(&told, &channel(Transport::Email(email())), &how) else {
        panic!("no mail")
    };
    let text = String::from_utf8(bytes.to_vec()).expect("ASCII");
    assert!(!text.contains("| one"), "{text}");
    assert_eq!(header(&text, "Message-ID"), Some("<20261120T081213-4f2a9c-17@h1>"));
}

#[test]
fn an_address_that_would_end_a_header_is_refused_and_a_name_made_safe() {
    for bad in ["", "x", "a@b\r\nBcc: c@d.test", "\"a\r\nb\"@c.test", "a b@c.test", "<a@b.test"] {
        assert!(mailbox(bad).is_err(), "{bad:?}");
    }
    let name = Mailbox::new(Some("x\r\nBcc: e@f.test".to_owned()), "a@b.test".parse().expect("an address"));
    let safe = Mailbox::new(name.name.map(|name| words::one_line(&name, NAME_MAX)), name.email);
    assert_eq!(safe.name.as_deref(), Some("x Bcc: e@f.test"));
}

#[test]
fn each_format_of_a_webhook_is_json_with_the_same_delivery_id() {
    for format in [WebhookFormat::Json, WebhookFormat::Slack, WebhookFormat::Alertmanager] {
        let url = "https://hooks.example.test/T1".to_owned();
        let webhook = Webhook { url, format, ca: None, secrets: 0, output_lines: 20, redact: Vec::new() };
        let told = notice(Purpose::Problem, vec![crash("web")]);
        let Ok(Message::Post { delivery, body }) = message(&told, &channel(Transport::Webhook(webhook)), &NOW) else {
            panic!("no post")
        };
        assert_eq!(delivery, "20261120T081213-4f2a9c-17");
        assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
    }
}

/// A notice in which each text is one of these.
fn hostile(texts: &[String; 6], time: WallTime) -> Notice {
    let [id, root, host, process, message, line] = texts;
    let mut item = crash("größe");
    item.event.facts.process = Some(process.clone());
    item.event.facts.user = Some(message.clone());
    item.event.facts.message = Some(message.clone());
    item.group_name = Some(line.clone());
    item.incident = id.clone();
    item.output = Some(Output { lines: vec![line.clone(), message.clone()], is_cut: true });
    item.started_at = time;
    let mut notice = notice(Purpose::Problem, vec![item]);
    (notice.id, notice.root, notice.host, notice.made_at) = (id.clone(), Some(root.clone()), host.clone(), time);
    notice
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z =?@<>\"\\\\\r\n\t\0\u{1b}\u{85}\u{202e}é☃.]{0,60}",
        Just("a\r\nBcc: evil@example.test\r\n\r\n.\r\n".to_owned()),
        Just("=?utf-8?b?DQpCY2M6IGFAYg==?=".to_owned()),
        Just("x".repeat(5000)),
    ]
}

const HEADERS: [&str; 17] = [
    "Auto-Submitted",
    "Content-Transfer-Encoding",
    "Content-Type",
    "Date",
    "From",
    "In-Reply-To",
    "List-Id",
    "MIME-Version",
    "Message-ID",
    "References",
    "Subject",
    "To",
    "X-Auto-Response-Suppress",
    "X-Taskmaster-Host",
    "X-Taskmaster-Incident",
    "X-Taskmaster-Program",
    "X-Taskmaster-Severity",
];

fn is_ours(name: &str) -> bool {
    HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

proptest! {
    #[test]
    fn a_mail_reads_back_as_it_was_meant_whatever_the_texts_hold(
        texts in prop::array::uniform6(text()), second in -377_705_023_201_i64..253_402_207_200,
    ) {
        let notice = hostile(&texts, WallTime::from_second(second).expect("in range"));
        let (_, _, bytes) = mailed(&notice);
        prop_assert!(bytes.is_ascii());
        for line in bytes.split(|byte| *byte == b'\n') {
            prop_assert!(line.len() <= 999, "{} bytes", line.len());
            prop_assert!(line.is_empty() || line.ends_with(b"\r") , "{:?}", String::from_utf8_lossy(line));
            prop_assert!(!line.strip_suffix(b"\r").unwrap_or(line).iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'));
        }
        let read = MessageParser::default().parse(&bytes).expect("a mail");
        let mut names: Vec<&str> = read.headers_raw().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        prop_assert!(names.iter().all(|name| is_ours(name)), "{:?}", names);
        let subject = words::subject(&notice);
        prop_assert_eq!(read.subject(), Some(subject.as_str()));
        let body = read.body_text(0).expect("a text").replace("\r\n", "\n");
        // lettre ends the part with an empty line.
        let written = mail::body(&notice, &Showing::new(20, &[]), NOW.sent_at);
        prop_assert_eq!(body.trim_end(), written.trim_end());
    }

    #[test]
    fn settings_and_recipients_that_are_anything_are_refused_or_safe(from in text(), to in text()) {
        let mut notice = notice(Purpose::Problem, vec![crash("web")]);
        notice.recipients = vec![to];
        let email = Email { from, ..email() };
        if let Ok(Message::Mail { bytes, .. }) = message(&notice, &channel(Transport::Email(email)), &NOW) {
            let read = MessageParser::default().parse(&bytes[..]).expect("a mail");
            prop_assert!(read.headers_raw().all(|(name, _)| is_ours(name)));
        }
    }
}

/// Reads a mail from standard input and prints the names of its headers, what is wrong with it, and its text.
const READ: &str = r#"
import email, email.policy, sys
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
defects = list(mail.defects)
for name, value in mail.items():
    defects += value.defects
text = mail.get_content()
print("headers", *sorted(mail.keys()))
print("defects", *defects, *mail.defects)
print("subject", ascii(mail["Subject"]))
print("text", ascii(text[-400:]))
"#;

#[test]
fn pythons_mail_parser_finds_no_defect_and_no_extra_header() {
    let sign = "a\r\nBcc: evil@example.test\0\u{1b}[2J";
    let texts = [sign, sign, "h1\r\nX: y", "größe\r\nBcc: a@b", "\u{1b}\0 =?utf-8?q?x?=", &"y".repeat(5000)];
    let mut hostile = hostile(&texts.map(str::to_owned), at(0));
    hostile.items.push(crash("db"));
    let child = Command::new("python3").args(["-c", READ]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        assert_ne!(std::env::var("TASKMASTER_TEST_REQUIRE").as_deref(), Ok("all"), "python3 is not there");
        return;
    };
    child.stdin.take().expect("a pipe").write_all(&mailed(&hostile).2).expect("python reads");
    let output = child.wait_with_output().expect("python ends");
    let said = String::from_utf8(output.stdout).expect("ASCII");
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("headers {}\n", HEADERS.join(" "))), "{said}");
    assert!(said.contains("defects\n"), "{said}");
}
