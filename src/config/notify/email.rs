//! `[notify.email]`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::super::Files;
use super::super::fault::{Kind, Place};
use super::super::table::{Given, Item, Table, shown};
use super::super::values;
use super::address::{self, LIST_MAX};
use super::{Made, place, secret};
use crate::model::notify::{Email, MailTls, MailTransport, OUTPUT_LINES_MAX, SecretKind, Smtp, Transport};

/// Lines of output in a message when nothing is said, and at most.
const OUTPUT_LINES: u32 = 20;
/// Bytes of one pattern.
const PATTERN_MAX: usize = 1000;
const SENDMAIL: &str = "/usr/sbin/sendmail";

/// How a mail leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Smtp,
    Sendmail,
    Maildir,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Sendmail => "sendmail",
            Self::Maildir => "maildir",
        }
    }
}

pub fn read<'a>(table: &mut Table<'a>, files: &mut dyn Files) -> Option<Made> {
    let transport = table.take("transport", |item| {
        values::word(item, &[Way::Smtp, Way::Sendmail, Way::Maildir].map(|way| (way.name(), way)))
    });
    let smtp = SmtpKeys::take(table, files);
    let sendmail = table.take("sendmail", values::absolute_path);
    let maildir = table.take("maildir", values::absolute_path);
    let from = table.take("from", address::mailbox);
    let to = table.take("to", recipients);
    let envelope_from = table.take("envelope_from", address::bare);
    let (output_lines, redact) = output(table);
    if from.is_absent() {
        table.lacks("[notify.email] has no `from`", "add: from = \"taskmaster@example.com\"");
    }
    if to.is_absent() {
        table.lacks("[notify.email] has no `to`", "add: to = [\"ops@example.com\"]");
    }
    let way = match &transport {
        Given::Value(way, _) => *way,
        Given::Absent if !maildir.is_absent() => Way::Maildir,
        Given::Absent if !sendmail.is_absent() => Way::Sendmail,
        Given::Absent => Way::Smtp,
        Given::Faulty => return None,
    };
    let place_of = |way: Way| match way {
        Way::Smtp => smtp.places(),
        Way::Sendmail => vec![("sendmail", sendmail.place())],
        Way::Maildir => vec![("maildir", maildir.place())],
    };
    for other in [Way::Smtp, Way::Sendmail, Way::Maildir].into_iter().filter(|other| *other != way) {
        for (key, place) in place_of(other) {
            without_effect(table, key, place, &format!("transport = \"{}\"", way.name()));
        }
    }
    let (via, secrets) = match way {
        Way::Smtp => smtp.resolve(table)?,
        Way::Sendmail if matches!(sendmail, Given::Faulty) => return None,
        Way::Sendmail => (MailTransport::Sendmail(sendmail.or_default(SENDMAIL.into())), Vec::new()),
        Way::Maildir => {
            if maildir.is_absent() {
                table.lacks(
                    "`transport` is \"maildir\", and there is no `maildir`",
                    "add: maildir = \"/var/mail/taskmaster\"",
                );
            }
            (MailTransport::Maildir(maildir.value()?.clone()), Vec::new())
        }
    };
    let from = from.value()?.clone();
    if matches!(envelope_from, Given::Faulty) {
        return None;
    }
    let envelope_from = envelope_from.or_default(address::address_of(&from)?.to_owned());
    let email =
        Email { via, to: to.value()?.clone(), envelope_from, from, output_lines: output_lines?, redact: redact? };
    Some((Transport::Email(email), secrets))
}

/// A key that would silently do nothing.
pub fn without_effect<'a>(table: &Table<'a>, key: &str, place: Option<Place<'a>>, with: &str) {
    if let Some(place) = place {
        let message = format!("{} has no meaning with {with}", shown(key));
        table.context.sink.report(place, Kind::Value, &message, None);
    }
}

/// `output_lines` and `redact`; `None` is a fault.
pub fn output(table: &mut Table<'_>) -> (Option<u32>, Option<Vec<String>>) {
    let lines = table.take("output_lines", |item| values::integer(item, 0..=i64::from(OUTPUT_LINES_MAX)));
    let redact = table.take("redact", patterns);
    let sound = |faulty: bool| (!faulty).then_some(());
    (
        sound(matches!(lines, Given::Faulty)).map(|()| lines.or_default(OUTPUT_LINES)),
        sound(matches!(redact, Given::Faulty)).map(|()| redact.or_default(Vec::new())),
    )
}

/// Regular expressions that the notifier's engine takes.
fn patterns(item: Item<'_>) -> Option<Vec<String>> {
    let items = item.list().unwrap_or_else(|| vec![item]);
    if items.len() > LIST_MAX {
        return item.refuse(format!("`redact` has at most {LIST_MAX} patterns"));
    }
    values::all(items, |item| {
        let text = values::text(item)?;
        if text.len() > PATTERN_MAX {
            return item.refuse(format!("a pattern of `redact` has at most {PATTERN_MAX} bytes"));
        }
        match regex_lite::Regex::new(&text) {
            Ok(pattern) if pattern.is_match("") => {
                item.refuse_with(format!("{} matches what is empty", shown(&text)), "name at least one character")
            }
            Ok(_) => Some(text),
            Err(error) => item.refuse(format!("{} is no regular expression: {error}", shown(&text))),
        }
    })
}

fn recipients(item: Item<'_>) -> Option<Vec<String>> {
    let items = item.list().unwrap_or_else(|| vec![item]);
    if items.is_empty() {
        return item.refuse_with("`to` is empty: nobody would be told", "write [\"ops@example.com\"]");
    }
    if items.len() > LIST_MAX {
        return item.refuse(format!("`to` has at most {LIST_MAX} addresses"));
    }
    Some(values::distinct(&values::all(items, address::mailbox)?))
}

/// What says how a server is spoken to.
struct SmtpKeys<'a> {
    server: Given<'a, Vec<(String, Option<u16>)>>,
    port: Given<'a, u16>,
    tls: Given<'a, MailTls>,
    ca: Given<'a, String>,
    server_name: Given<'a, String>,
    username: Given<'a, String>,
    password: Given<'a, PathBuf>,
}

impl<'a> SmtpKeys<'a> {
    fn take(table: &mut Table<'a>, files: &mut dyn Files) -> Self {
        table.take("password", |item| secret::inline::<()>(item, "password_file"));
        Self {
            server: table.take("server", place::servers),
            port: table.take("port", |item| values::integer(item, 1..=65_535)),
            tls: table.take("tls", |item| {
                let words = [("starttls", MailTls::Starttls), ("implicit", MailTls::Implicit), ("none", MailTls::None)];
                values::word(item, &words)
            }),
            ca: table.take("ca_file", |item| place::authorities(item, files)),
            server_name: table.take("server_name", place::server_name),
            username: table.take("username", user_name),
            password: table.take("password_file", |item| secret::file(item, files)),
        }
    }

    fn places(&self) -> Vec<(&'static str, Option<Place<'a>>)> {
        vec![
            ("server", self.server.place()),
            ("port", self.port.place()),
            ("tls", self.tls.place()),
            ("ca_file", self.ca.place()),
            ("server_name", self.server_name.place()),
            ("username", self.username.place()),
            ("password_file", self.password.place()),
        ]
    }

    fn resolve(&self, table: &Table<'a>) -> Option<(MailTransport, Vec<(SecretKind, PathBuf)>)> {
        if self.server.is_absent() {
            table.lacks("[notify.email] has no `server`", "add: server = \"smtp.example.com\"");
        }
        if self.password.is_absent() && !self.username.is_absent() {
            table.lacks("`username` has no password", "add: password_file = \"/etc/taskmaster/smtp-password\"");
        }
        if self.username.is_absent() && !self.password.is_absent() {
            table.lacks("`password_file` is there, and no `username`", "add: username = \"NAME\"");
        }
        let tls = match self.tls {
            Given::Faulty => return None,
            _ => self.tls.or_default(MailTls::default()),
        };
        let usual_port = match tls {
            MailTls::Starttls => 587,
            MailTls::Implicit => 465,
            MailTls::None => 25,
        };
        let port = match self.port {
            Given::Faulty => return None,
            _ => self.port.or_default(usual_port),
        };
        let servers = place::with_port(self.server.value()?, port);
        let sink = table.context.sink;
        let server_place = self.server.place()?;
        if tls == MailTls::None {
            self.judge_clear_text(table);
            if servers.iter().any(|server| !place::is_loopback(&server.host)) {
                let place = self.tls.place().unwrap_or(server_place);
                let help = "whoever is on the way can read and change the alerts".to_owned();
                sink.report(place, Kind::Warning, "mail leaves this machine without TLS", Some(help));
            }
        }
        let odd = match tls {
            MailTls::Starttls => Some((465, "implicit")),
            MailTls::Implicit => Some((587, "starttls")),
            MailTls::None => None,
        };
        if let Some((odd, other)) = odd
            && servers.iter().any(|server| server.port == odd)
        {
            let place = self.port.place().unwrap_or(server_place);
            let message = format!("servers mostly expect tls = \"{other}\" on port {odd}");
            sink.report(place, Kind::Warning, &message, None);
        }
        for given in [&self.ca, &self.server_name, &self.username] {
            if matches!(given, Given::Faulty) {
                return None;
            }
        }
        let secrets = match &self.password {
            Given::Faulty => return None,
            given => given.value().map(|path| (SecretKind::Password, path.clone())).into_iter().collect(),
        };
        let smtp = Smtp {
            servers,
            tls,
            ca: self.ca.value().cloned(),
            server_name: self.server_name.value().cloned(),
            username: self.username.value().cloned(),
        };
        Some((MailTransport::Smtp(smtp), secrets))
    }

    /// What makes no sense, or does harm, without TLS.
    fn judge_clear_text(&self, table: &Table<'a>) {
        without_effect(table, "ca_file", self.ca.place(), "tls = \"none\"");
        without_effect(table, "server_name", self.server_name.place(), "tls = \"none\"");
        if let Some(place) = self.password.place().or(self.username.place()) {
            let message = "a password is never sent without TLS";
            let help = "write tls = \"starttls\" or tls = \"implicit\", or take the password out".to_owned();
            table.context.sink.report(place, Kind::Value, message, Some(help));
        }
    }
}

fn user_name(item: Item<'_>) -> Option<String> {
    let text = values::text(item)?;
    if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        return item.refuse("`username` has 1 to 255 bytes, and no control characters");
    }
    Some(text)
}
