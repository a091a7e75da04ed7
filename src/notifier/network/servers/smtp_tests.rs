//! Mail to a server that behaves well, and to those that do not.

use std::sync::Mutex;

use tokio::runtime::Builder;

use super::super::fake_tests::{CLOSE, Certified, ENDLESS, Fake, Heard, Manners, SILENCE, TARPIT, Validity, certified};
use super::*;
use std::sync::Arc;

const MESSAGE: &str = "Subject: x\r\n\r\nfirst\r\n.\r\n..\r\n.hidden\r\nlast\r\n\r\n";

fn smtp(servers: Vec<Server>, tls: MailTls) -> Smtp {
    Smtp { servers, tls, ca: None, server_name: None, username: None }
}

fn with_password(smtp: Smtp) -> Smtp {
    Smtp { username: Some("alerts".to_owned()), ..smtp }
}

/// Tests wait for servers that say nothing: not for long.
fn impatient() -> Limits {
    Limits { command: Duration::from_millis(300), accept: Duration::from_millis(300), ..Limits::default() }
}

fn send_with(smtp: Smtp, limits: Limits, to: &[&str], from: &str) -> (Outcome, Vec<String>) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let password = smtp.username.as_ref().map(|_| Secret::new(b"s3cret pass".to_vec()));
    let mailer = Mailer::new(smtp, password, "h1.example", limits);
    let recipients: Vec<String> = to.iter().map(|to| (*to).to_owned()).collect();
    let mail = Mail { from, recipients: &recipients, bytes: MESSAGE.as_bytes() };
    let told = Arc::new(Mutex::new(Vec::new()));
    let lines = told.clone();
    let tell: Tell = Some(Box::new(move |line| lines.lock().expect("lines").push(line)));
    let outcome = runtime.block_on(mailer.send(&mail, &tell));
    let told = told.lock().expect("lines").clone();
    (outcome, told)
}

fn send(smtp: Smtp) -> (Outcome, Vec<String>) {
    send_with(smtp, Limits::default(), &["ops@example.test"], "tm@example.test")
}

#[track_caller]
fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// One server with these manners and no TLS.
fn plain(answers: &[(&'static str, &'static str)], limits: Limits) -> (Outcome, Heard) {
    let fake = Fake::start(Manners { answers: answers.to_vec(), ..Manners::default() });
    let (outcome, _) =
        send_with(smtp(vec![fake.server.clone()], MailTls::None), limits, &["ops@example.test"], "tm@example.test");
    (outcome, fake.heard())
}

/// A server with TLS and AUTH, and settings that trust it.
fn encrypting(tls: MailTls, offer: &'static str, certified: Certified, more: Manners) -> (Fake, Smtp) {
    let ca = Some(certified.ca.clone());
    let fake = Fake::start(Manners { tls: Some(tls), certified: Some(certified), offers: vec![offer], ..more });
    let settings = with_password(Smtp { ca, ..smtp(vec![fake.localhost()], tls) });
    (fake, settings)
}

fn localhost() -> Certified {
    certified(&["localhost"], Validity::Now)
}

#[test]
fn a_mail_arrives_unchanged_and_the_server_is_left_politely() {
    let (outcome, heard) = plain(&[], Limits::default());
    assert_eq!(outcome, Outcome::Sent);
    assert_eq!(heard.messages, [MESSAGE.as_bytes()]);
    let lines: Vec<_> = heard.lines.iter().map(|(_, line)| line.as_str()).collect();
    let expected = ["EHLO h1.example", "MAIL FROM:<tm@example.test>", "RCPT TO:<ops@example.test>", "DATA", "QUIT"];
    assert_eq!(lines, expected);
}

#[test]
fn a_password_goes_over_encrypted_connections_only_and_is_never_shown() {
    for tls in [MailTls::Starttls, MailTls::Implicit] {
        for offer in ["AUTH PLAIN LOGIN", "AUTH LOGIN", "AUTH=LOGIN PLAIN"] {
            let (fake, settings) = encrypting(tls, offer, localhost(), Manners::default());
            let (outcome, told) = send(settings);
            assert_eq!(outcome, Outcome::Sent, "{tls:?} {offer}");
            let heard = fake.heard();
            assert_eq!(heard.messages, [MESSAGE.as_bytes()]);
            let clear = heard.in_clear_text();
            let expected: &[&str] = if tls == MailTls::Starttls { &["EHLO h1.example", "STARTTLS"] } else { &[] };
            assert_eq!(clear, expected);
            let (plain, password) = ("AGFsZXJ0cwBzM2NyZXQgcGFzcw==", "czNjcmV0IHBhc3M=");
            if offer == "AUTH LOGIN" {
                assert_eq!((heard.said("YWxlcnRz").len(), heard.said(password).len()), (1, 1));
            } else {
                assert_eq!(heard.said("AUTH"), [format!("AUTH PLAIN {plain}")]);
                assert!(told.contains(&"> AUTH PLAIN ***".to_owned()), "{told:?}");
            }
            let told = told.join("\n");
            for secret in [plain, password, "s3cret", "YWxlcnRz"] {
                assert!(!told.contains(secret), "{told}");
            }
            assert!(told.contains("- encrypted") == (tls == MailTls::Starttls) && told.contains("< 235 welcome"));
        }
    }
}

#[test]
fn a_password_is_not_sent_without_encryption_whatever_the_server_offers() {
    let fake = Fake::start(Manners { offers: vec!["AUTH PLAIN LOGIN"], ..Manners::default() });
    let (outcome, _) = send(with_password(smtp(vec![fake.server.clone()], MailTls::None)));
    let failure = failure(outcome);
    assert_eq!(failure.class, Class::Configuration);
    assert!(failure.words.contains("not encrypted"), "{failure}");
    let heard = fake.heard();
    assert!(heard.said("AUTH").is_empty() && heard.said("MAIL").is_empty(), "{heard:?}");
}

#[test]
fn a_password_that_a_server_repeats_is_masked() {
    let answers = vec![("AUTH", "535 5.7.8 AGFsZXJ0cwBzM2NyZXQgcGFzcw== is s3cret pass, which is wrong\r\n")];
    let more = Manners { answers, ..Manners::default() };
    let (fake, settings) = encrypting(MailTls::Starttls, "AUTH PLAIN", localhost(), more);
    let (outcome, told) = send(settings);
    let failure = failure(outcome);
    assert_eq!(failure.class, Class::Configuration);
    assert!(failure.words.ends_with("AUTH: 535 5.7.8 *** is ***, which is wrong"), "{failure}");
    assert!(!told.join("\n").contains("s3cret"), "{told:?}");
    drop(fake.heard());
}

#[test]
fn each_recipient_is_taken_or_refused_by_itself() {
    let answers =
        vec![("RCPT TO:<gone@", "550-5.1.1 no such\r\n550 5.1.1 user\r\n"), ("RCPT TO:<busy@", "451 later\r\n")];
    let to = ["ops@example.test", "gone@example.test", "busy@example.test", "dev@example.test"];
    let fake = Fake::start(Manners { answers, ..Manners::default() });
    let settings = smtp(vec![fake.server.clone()], MailTls::None);
    let (outcome, _) = send_with(settings, Limits::default(), &to, "tm@example.test");
    let Outcome::Recipients(each) = outcome else { panic!("{outcome:?}") };
    let classes: Vec<_> = each.iter().map(|(_, result)| result.as_ref().map_err(|failure| failure.class)).collect();
    assert_eq!(classes, [Ok(&()), Err(Class::Permanent), Err(Class::Temporary), Ok(&())]);
    assert_eq!(each.iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(), to);
    let words = &each[1].1.as_ref().expect_err("refused").words;
    assert!(words.ends_with("RCPT: 550 5.1.1 no such 5.1.1 user"), "{words}");
    let heard = fake.heard();
    assert_eq!((heard.said("RCPT").len(), heard.messages.len()), (4, 1));
}

#[test]
fn without_any_recipient_left_no_message_is_sent() {
    let (outcome, heard) = plain(&[("RCPT", "550 no\r\n")], Limits::default());
    assert!(matches!(&outcome, Outcome::Recipients(each) if each.len() == 1), "{outcome:?}");
    assert!(heard.said("DATA").is_empty() && heard.said("QUIT").len() == 1);
}

#[test]
fn a_message_refused_after_some_recipients_were_concerns_the_others() {
    let answers = vec![("RCPT TO:<gone@", "550 no such user\r\n"), (".", "451 try later\r\n")];
    let fake = Fake::start(Manners { answers, ..Manners::default() });
    let settings = smtp(vec![fake.server.clone()], MailTls::None);
    let (outcome, _) = send_with(settings, Limits::default(), &["ops@a.test", "gone@a.test"], "tm@a.test");
    let Outcome::Recipients(each) = outcome else { panic!("{outcome:?}") };
    let classes: Vec<_> = each.into_iter().map(|(_, result)| result.expect_err("refused").class).collect();
    assert_eq!(classes, [Class::Temporary, Class::Permanent]);
    drop(fake.heard());
}

#[test]
fn each_refusal_has_its_class() {
    let cases = [
        ("greeting", "421 4.3.2 shutting down\r\n", Class::Connection),
        ("greeting", "554 no service here\r\n", Class::Connection),
        ("EHLO", "421 bye\r\n", Class::Connection),
        ("EHLO", "550 who are you?\r\n", Class::Configuration),
        ("MAIL", "421 bye\r\n", Class::Connection),
        ("MAIL", "450 too fast\r\n", Class::Temporary),
        ("MAIL", "530 5.7.0 Must issue STARTTLS\r\n", Class::Configuration),
        ("MAIL", "550 never\r\n", Class::Permanent),
        ("MAIL", "552 too large\r\n", Class::Content),
        ("RCPT", "421 bye\r\n", Class::Connection),
        ("RCPT", "530 authenticate first\r\n", Class::Configuration),
        ("DATA", "421 bye\r\n", Class::Connection),
        ("DATA", "451 later\r\n", Class::Temporary),
        ("DATA", "503 no\r\n", Class::Permanent),
        (".", "421 bye\r\n", Class::Connection),
        (".", "451 later\r\n", Class::Temporary),
        (".", "552 5.3.4 too large\r\n", Class::Content),
        (".", "554 5.7.1 spam\r\n", Class::Content),
        (".", "550 never\r\n", Class::Permanent),
        ("MAIL", "nonsense\r\n", Class::Connection),
        ("MAIL", "250-a\r\n550 b\r\n", Class::Connection),
        ("MAIL", "354 a message, please\r\n", Class::Connection),
    ];
    for (step, answer, class) in cases {
        let (outcome, _) = plain(&[(step, answer)], Limits::default());
        let failure = failure(outcome);
        assert_eq!(failure.class, class, "{step} {answer}: {failure}");
        assert!(failure.words.starts_with("127.0.0.1:"), "{failure}");
    }
}

#[test]
fn a_server_that_says_nothing_or_crawls_or_leaves_costs_its_limit_and_no_more() {
    for step in ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "."] {
        for (answer, words) in [(SILENCE, "no reply within 300ms"), (TARPIT, "no reply"), (CLOSE, "closed")] {
            let begun = std::time::Instant::now();
            let (outcome, _) = plain(&[(step, answer)], impatient());
            let failure = failure(outcome);
            assert_eq!(failure.class, Class::Connection, "{step} {answer}");
            assert!(failure.words.contains(words), "{step} {answer}: {failure}");
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
    }
}

#[test]
fn a_session_has_a_limit_too() {
    let limits = Limits { session: Duration::from_millis(300), ..Limits::default() };
    let (outcome, _) = plain(&[("MAIL", SILENCE)], limits);
    let failure = failure(outcome);
    assert_eq!(failure.class, Class::Connection);
    assert!(failure.words.contains("longer than 300ms"), "{failure}");
}

#[test]
fn an_endless_line_is_cut_off() {
    for step in ["greeting", "EHLO", "."] {
        let (outcome, heard) = plain(&[(step, ENDLESS)], Limits::default());
        let failure = failure(outcome);
        assert_eq!(failure.class, Class::Connection);
        assert!(failure.words.contains("it sends more than a server has to say"), "{failure}");
        // What the sockets hold beyond it is the kernel's, and bounded, too.
        assert!(heard.endless < 16 << 20, "{}", heard.endless);
    }
}

#[test]
fn replies_are_shown_escaped_and_not_at_full_length() {
    let long: &'static str = Box::leak(format!("550 \x1b[2J\u{202e}{}\r\n", "y".repeat(5000)).into_boxed_str());
    let (outcome, _) = plain(&[("MAIL", long)], Limits::default());
    let failure = failure(outcome);
    assert!(failure.words.contains("550 \\x1b[2J\\u{202e}yyy") && failure.words.ends_with('…'), "{failure}");
    assert!(failure.words.len() < 400);
}

#[test]
fn a_lost_acknowledgement_is_told_as_a_lost_connection() {
    let (outcome, heard) = plain(&[(".", CLOSE)], Limits::default());
    let failure = failure(outcome);
    assert_eq!(failure.class, Class::Connection);
    assert!(failure.words.contains("the message's end: the server has closed the connection"), "{failure}");
    assert_eq!(heard.messages.len(), 1);
}

#[test]
fn the_next_server_is_tried_when_one_cannot_be_reached_and_only_then() {
    let refused = Server { host: "127.0.0.1".to_owned(), port: 1 };
    let leaving = Fake::start(Manners { answers: vec![("MAIL", CLOSE)], ..Manners::default() });
    let good = Fake::start(Manners::default());
    let servers = vec![refused.clone(), leaving.server.clone(), good.server.clone()];
    assert_eq!(send(smtp(servers, MailTls::None)).0, Outcome::Sent);
    assert_eq!((leaving.heard().messages.len(), good.heard().messages.len()), (0, 1));

    let never = Fake::start(Manners { answers: vec![("MAIL", "550 never\r\n")], ..Manners::default() });
    let servers = vec![never.server.clone(), refused.clone()];
    assert_eq!(failure(send(smtp(servers, MailTls::None)).0).class, Class::Permanent);
    drop(never.heard());

    let words = failure(send(smtp(vec![refused.clone(), refused], MailTls::None)).0).words;
    assert_eq!(
        words,
        "127.0.0.1:1: cannot connect: Connection refused; 127.0.0.1:1: cannot connect: Connection refused"
    );
}

#[test]
fn a_name_that_is_not_found_is_a_failure_of_the_connection() {
    let server = Server { host: "no-such-host.invalid".to_owned(), port: 25 };
    let failure = failure(send(smtp(vec![server], MailTls::None)).0);
    assert_eq!(failure.class, Class::Connection);
    assert!(failure.words.contains("cannot find the address of no-such-host.invalid"), "{failure}");
}

/// What is said of a server with this certificate, and what it heard.
fn certificate(tls: MailTls, certified: Certified, ca: Option<String>) -> (String, Heard) {
    let (fake, settings) = encrypting(tls, "AUTH PLAIN", certified, Manners::default());
    let ca = ca.or(settings.ca.clone());
    let failure = failure(send(Smtp { ca, ..settings }).0);
    assert_eq!(failure.class, Class::Configuration, "{failure}");
    (failure.words, fake.heard())
}

#[test]
fn a_certificate_that_is_not_right_ends_it_before_anything_is_said() {
    for tls in [MailTls::Starttls, MailTls::Implicit] {
        let cases = [
            (certified(&["wrong.example"], Validity::Now), None, "it is for wrong.example (set"),
            (certified(&["localhost"], Validity::Past), None, "it expired on 2021-01-01T00:00:00.000Z"),
            (localhost(), Some(localhost().ca), "none of the trusted authorities has issued it"),
        ];
        for (certified, ca, expected) in cases {
            let (words, heard) = certificate(tls, certified, ca);
            assert!(
                words.contains("the certificate for localhost is not valid") && words.contains(expected),
                "{words}"
            );
            assert!(heard.said("AUTH").is_empty() && heard.said("MAIL").is_empty(), "{heard:?}");
        }
    }
}

#[test]
fn the_name_in_the_certificate_can_be_configured() {
    let certified = certified(&["mail.example"], Validity::Now);
    let (fake, settings) = encrypting(MailTls::Starttls, "AUTH PLAIN", certified, Manners::default());
    let settings = Smtp { server_name: Some("mail.example".to_owned()), ..settings };
    assert_eq!(send(settings).0, Outcome::Sent);
    drop(fake.heard());
}

#[test]
fn a_ca_that_is_none_is_told() {
    for (ca, expected) in [("", "holds no certificate"), ("-----BEGIN CERTIFICATE-----\nAAAA", "the configured CA")] {
        let (fake, settings) = encrypting(MailTls::Starttls, "AUTH PLAIN", localhost(), Manners::default());
        let failure = failure(send(Smtp { ca: Some(ca.to_owned()), ..settings }).0);
        assert_eq!(failure.class, Class::Configuration);
        assert!(failure.words.contains(expected), "{failure}");
        drop(fake.heard());
    }
}

#[test]
fn without_starttls_nothing_is_sent() {
    let fake = Fake::start(Manners { offers: vec!["AUTH PLAIN"], ..Manners::default() });
    let failure = failure(send(with_password(smtp(vec![fake.server.clone()], MailTls::Starttls))).0);
    assert_eq!(failure.class, Class::Configuration);
    assert!(failure.words.contains("no STARTTLS"), "{failure}");
    let heard = fake.heard();
    assert_eq!(heard.in_clear_text(), ["EHLO h1.example", "QUIT"]);
}

#[test]
fn a_server_that_cannot_encrypt_now_is_tried_later_and_never_in_clear_text() {
    for (answer, class) in [("454 not now\r\n", Class::Connection), ("502 never\r\n", Class::Configuration)] {
        let more = Manners { answers: vec![("STARTTLS", answer)], ..Manners::default() };
        let (fake, settings) = encrypting(MailTls::Starttls, "AUTH PLAIN", localhost(), more);
        assert_eq!(failure(send(settings).0).class, class);
        let heard = fake.heard();
        assert!(heard.said("AUTH").is_empty() && heard.said("MAIL").is_empty(), "{heard:?}");
    }
}

#[test]
fn what_came_in_clear_text_before_the_encryption_counts_for_nothing() {
    let injected = "220 go ahead\r\n250-injected\r\n250 AUTH LOGIN\r\n535 injected\r\n";
    let more = Manners { answers: vec![("STARTTLS", injected)], ..Manners::default() };
    let (fake, settings) = encrypting(MailTls::Starttls, "AUTH PLAIN", localhost(), more);
    let (outcome, told) = send(settings);
    assert_eq!(outcome, Outcome::Sent);
    assert!(!told.join("\n").contains("injected"), "{told:?}");
    assert_eq!(fake.heard().said("AUTH").len(), 1);
}

#[test]
fn the_wrong_kind_of_encryption_is_told_with_a_hint() {
    let fake = Fake::start(Manners::default());
    let wrong = failure(send(smtp(vec![fake.server.clone()], MailTls::Implicit)).0);
    assert_eq!(wrong.class, Class::Configuration);
    assert!(wrong.words.contains("does it want STARTTLS"), "{wrong}");
    drop(fake.heard());

    let fake = Fake::start(Manners { answers: vec![("greeting", SILENCE)], ..Manners::default() });
    let settings = smtp(vec![fake.server.clone()], MailTls::Starttls);
    let wrong = failure(send_with(settings, impatient(), &["ops@a.test"], "tm@a.test").0);
    assert!(wrong.words.contains("does it want `tls = \"implicit\"`?"), "{wrong}");
    drop(fake.heard());
}

#[test]
fn refused_passwords_are_a_matter_of_configuration_and_busy_servers_are_not() {
    let cases = [
        ("535 5.7.8 no\r\n", Class::Configuration),
        ("534 stronger, please\r\n", Class::Configuration),
        ("504 what?\r\n", Class::Configuration),
        ("454 temporary failure\r\n", Class::Connection),
        ("421 bye\r\n", Class::Connection),
    ];
    for (answer, class) in cases {
        for offer in ["AUTH PLAIN", "AUTH LOGIN"] {
            let more = Manners { answers: vec![("AUTH", answer)], ..Manners::default() };
            let (fake, settings) = encrypting(MailTls::Implicit, offer, localhost(), more);
            assert_eq!(failure(send(settings).0).class, class, "{answer}");
            // The manners of the fake end after a refused AUTH LOGIN.
            drop(fake.heard());
        }
    }
    let (fake, settings) = encrypting(MailTls::Implicit, "AUTH CRAM-MD5", localhost(), Manners::default());
    let failure = failure(send(settings).0);
    assert!(failure.class == Class::Configuration && failure.words.contains("neither AUTH PLAIN"), "{failure}");
    drop(fake.heard());
}

#[test]
fn addresses_that_are_not_ascii_need_a_server_that_takes_them() {
    let to = ["ops@example.test", "grün@example.test"];
    let fake = Fake::start(Manners { offers: vec!["SMTPUTF8"], ..Manners::default() });
    let settings = smtp(vec![fake.server.clone()], MailTls::None);
    assert_eq!(send_with(settings, Limits::default(), &to, "tm@example.test").0, Outcome::Sent);
    assert_eq!(fake.heard().said("MAIL"), ["MAIL FROM:<tm@example.test> SMTPUTF8"]);

    let fake = Fake::start(Manners::default());
    let settings = smtp(vec![fake.server.clone()], MailTls::None);
    let outcome = send_with(settings, Limits::default(), &to, "tm@example.test").0;
    let Outcome::Recipients(each) = outcome else { panic!("{outcome:?}") };
    assert_eq!(each[0].1, Ok(()));
    let refused = each[1].1.as_ref().expect_err("refused");
    assert!(refused.class == Class::Permanent && refused.words.contains("SMTPUTF8"), "{refused}");
    assert_eq!(fake.heard().messages.len(), 1);

    let fake = Fake::start(Manners::default());
    let settings = smtp(vec![fake.server.clone()], MailTls::None);
    let refused = failure(send_with(settings, Limits::default(), &to, "grün@example.test").0);
    assert!(refused.class == Class::Permanent && refused.words.contains("SMTPUTF8"), "{refused}");
    drop(fake.heard());
}

#[test]
fn addresses_that_are_none_are_refused_before_they_can_be_commands() {
    let fake = Fake::start(Manners::default());
    let settings = smtp(vec![fake.server.clone()], MailTls::None);
    let to = ["ops@example.test", "x@example.test>\r\nRCPT TO:<y@example.test"];
    let outcome = send_with(settings.clone(), Limits::default(), &to, "tm@example.test").0;
    assert!(matches!(&outcome, Outcome::Recipients(each) if each[0].1.is_ok() && each[1].1.is_err()), "{outcome:?}");
    assert_eq!(fake.heard().said("RCPT").len(), 1);
    let refused = failure(send_with(settings, Limits::default(), &to, "tm@example.test>\r\nQUIT").0);
    assert_eq!(refused.class, Class::Permanent);
}

#[test]
fn a_mail_that_is_too_large_is_not_tried() {
    let fake = Fake::start(Manners { offers: vec!["SIZE 10"], ..Manners::default() });
    let refused = failure(send(smtp(vec![fake.server.clone()], MailTls::None)).0);
    assert_eq!(refused.class, Class::Content);
    assert!(fake.heard().said("MAIL").is_empty());
    let fake = Fake::start(Manners { offers: vec!["SIZE 0"], ..Manners::default() });
    assert_eq!(send(smtp(vec![fake.server.clone()], MailTls::None)).0, Outcome::Sent);
    assert_eq!(fake.heard().said("MAIL"), [format!("MAIL FROM:<tm@example.test> SIZE={}", MESSAGE.len())]);
}

#[test]
fn a_host_whose_name_cannot_be_said_introduces_itself_by_address() {
    for (host, said) in
        [("h1", "h1"), ("a-b.example.test", "a-b.example.test"), ("", "[127.0.0.1]"), ("a b", "[127.0.0.1]")]
    {
        assert_eq!(introduction(host).to_string(), said);
    }
}
