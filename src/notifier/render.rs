//! A notice as the message of a channel: a mail with all its headers, or the body of a request.
//!
//! lettre writes the MIME, but it trusts its caller in places: a display name with a line end makes it
//! panic, as does a time before 1970, and it sets neither Message-ID nor, for a plain body, MIME-Version.
//! So each text is made safe here first, and each header is set here.

use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, SinglePart};
use lettre::{Address, Message as Mail};

use crate::alert::notice::{Item, Notice};
use crate::alert::output::Showing;
use crate::alert::{alertmanager, mail, payload, slack, words};
use crate::model::notify::{Channel, Email, Transport, Webhook, WebhookFormat};
use crate::model::text::{cut, escaped};
use crate::model::time::WallTime;

use super::network::Message;

/// How a message is written this time.
#[derive(Clone, Copy, Debug)]
pub struct Rendering {
    /// The server disliked the message: once more without the program's output.
    pub without_output: bool,
    /// For "so long ago when this was sent".
    pub sent_at: WallTime,
}

/// Longest id and host name within a Message-ID: together well within a line.
const ID_MAX: usize = 128;
const HOST_MAX: usize = 255;
const NAME_MAX: usize = 100;
/// Longest value of a header for filters.
const LIST_MAX: usize = 800;
/// 9999-12-31T23:59:59Z, the last second that a Date header can name.
const LAST_SECOND: i64 = 253_402_300_799;

/// The message of a notice for this channel.
///
/// # Errors
/// When the channel takes no notices, or an address of its settings or of the notice is none.
pub fn message(notice: &Notice, channel: &Channel, how: &Rendering) -> Result<Message, String> {
    match &channel.transport {
        Transport::Email(email) => mail(notice, email, how),
        Transport::Webhook(webhook) => post(notice, webhook, how),
        Transport::Syslog(_) => Err(format!("{} is told events, not notices", channel.name)),
    }
}

fn showing(lines: u32, redact: &[String], how: &Rendering) -> Showing {
    if how.without_output { Showing::nothing() } else { Showing::new(lines, redact) }
}

fn post(notice: &Notice, webhook: &Webhook, how: &Rendering) -> Result<Message, String> {
    let showing = showing(webhook.output_lines, &webhook.redact, how);
    let body = match webhook.format {
        WebhookFormat::Json => payload::json(notice, &showing)?,
        WebhookFormat::Slack => slack::json(notice, &showing)?,
        WebhookFormat::Alertmanager => alertmanager::json(notice, &showing)?,
    };
    Ok(Message::Post { delivery: local_id(&notice.id), body: body.into_bytes().into() })
}

fn mail(notice: &Notice, email: &Email, how: &Rendering) -> Result<Message, String> {
    let showing = showing(email.output_lines, &email.redact, how);
    let to = if notice.recipients.is_empty() { &email.to } else { &notice.recipients };
    let to = to.iter().map(|text| mailbox(text)).collect::<Result<Vec<_>, _>>()?;
    if to.is_empty() {
        return Err("the message has no recipient".to_owned());
    }
    let recipients = to.iter().map(|mailbox| mailbox.email.to_string()).collect();
    let envelope_from = mailbox(&email.envelope_from)?.email.to_string();
    let builder = to.into_iter().fold(Mail::builder().from(mailbox(&email.from)?), MessageBuilder::to);
    let builder = builder.date(date(notice.made_at)).subject(words::subject(notice));
    let builder = headers(notice).into_iter().fold(builder, MessageBuilder::raw_header);
    let part = SinglePart::builder().header(ContentType::TEXT_PLAIN);
    let part = part.body(mail::body(notice, &showing, how.sent_at));
    let mail = builder.singlepart(part).map_err(|error| format!("the mail cannot be written: {error}"))?;
    Ok(Message::Mail { envelope_from, recipients, bytes: mail.formatted().into() })
}

/// A mailbox whose parts cannot end a header line.
fn mailbox(text: &str) -> Result<Mailbox, String> {
    let refused = || format!("{} is no mail address", escaped(cut(text, NAME_MAX)));
    let parsed: Mailbox = text.parse().map_err(|_| refused())?;
    let address = parsed.email.to_string();
    if address.len() > HOST_MAX || address.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refused());
    }
    let name = parsed.name.map(|name| words::one_line(&name, NAME_MAX)).filter(|name| !name.is_empty());
    // Once more without the parts that were not looked at.
    Ok(Mailbox::new(name, address.parse::<Address>().map_err(|_| refused())?))
}

/// The time as a Date header can name it.
fn date(time: WallTime) -> SystemTime {
    let seconds = u64::try_from(time.as_second().clamp(0, LAST_SECOND)).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// All but those of the builder. The values are ASCII and short, so they stand as they are.
fn headers(notice: &Notice) -> Vec<HeaderValue> {
    let host = host_name(&notice.host);
    let id = |id: &str| format!("<{}@{host}>", local_id(id));
    let mut headers = vec![
        raw("Message-ID", id(&notice.id)),
        // RFC 3834: nobody's holiday reply comes back.
        raw("Auto-Submitted", "auto-generated".to_owned()),
        raw("X-Auto-Response-Suppress", "All".to_owned()),
        raw("List-Id", format!("Taskmaster alerts <alerts.taskmaster.{host}>")),
        raw("X-Taskmaster-Host", host.clone()),
        raw("X-Taskmaster-Severity", notice.severity.word().to_ascii_lowercase()),
    ];
    if let Some(root) = &notice.root {
        headers.push(raw("In-Reply-To", id(root)));
        headers.push(raw("References", id(root)));
    }
    let programs = list(&notice.items, |item| item.program.as_ref().map(|program| plain(program.as_str())));
    let incidents = list(&notice.items, |item| Some(plain(&item.incident)));
    headers.extend(programs.map(|programs| raw("X-Taskmaster-Program", programs)));
    headers.extend(incidents.map(|incidents| raw("X-Taskmaster-Incident", incidents)));
    headers
}

/// A header that needs no encoding, on one line.
fn raw(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str(name), value.clone(), value)
}

/// The values one after the other, as many as fit.
fn list(items: &[Item], of: impl Fn(&Item) -> Option<String>) -> Option<String> {
    let mut list = String::new();
    for value in items.iter().filter_map(of).filter(|value| !value.is_empty()) {
        if list.len() + value.len() > LIST_MAX {
            break;
        }
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(&value);
    }
    (!list.is_empty()).then_some(list)
}

/// Letters, digits and a few signs; anything else as its UTF-8 in percent form.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The left side of a Message-ID (RFC 5322 §3.6.4), the same for the same id.
fn local_id(id: &str) -> String {
    let safe: String =
        id.bytes().take(ID_MAX).map(|byte| if is_label(byte) { char::from(byte) } else { '-' }).collect();
    if safe.is_empty() { "none".to_owned() } else { safe }
}

/// The right side: a host name as RFC 1123 has it, whatever the machine is called.
fn host_name(host: &str) -> String {
    let host: String = host
        .bytes()
        .take(HOST_MAX)
        .map(|byte| if is_label(byte) || byte == b'.' { char::from(byte) } else { '-' })
        .collect();
    let labels: Vec<&str> = host.split('.').filter(|label| !label.is_empty()).collect();
    if labels.is_empty() { "localhost".to_owned() } else { labels.join(".") }
}

fn is_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
