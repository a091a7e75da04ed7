//! How people are told: the channels and rules of `[notify]`, as configured and as the notifier gets them.
//!
//! Secrets are never here: they travel as descriptors ([`SecretKind`] names them).
#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::Severity;
use super::id::{ChannelName, ProgramName};
use super::syslog;

/// `[notify]`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Notify {
    /// In the order of the files; each name once.
    pub channels: Vec<Channel>,
    pub rules: Vec<Rule>,
    /// How long a shutdown waits for alerts that are still to be sent.
    pub shutdown_drain: Duration,
    pub spool: SpoolLimits,
}

impl Notify {
    /// The socket and the facility of the local log daemon, for the lines of programs: those of `[notify.syslog]`, as
    /// far as it says something of them.
    pub fn local_log(&self) -> (PathBuf, u8) {
        let settings = self.channels.iter().find_map(|channel| match &channel.transport {
            Transport::Syslog(settings) => Some(settings),
            Transport::Email(_) | Transport::Webhook(_) => None,
        });
        let socket = match settings.map(|settings| &settings.target) {
            Some(SyslogTarget::Local(path)) => path.clone(),
            _ => syslog::LOCAL.into(),
        };
        (socket, settings.map_or(syslog::DAEMON, |settings| settings.facility))
    }
}

/// How much may wait on disk; beyond, what is least severe and oldest goes, and is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SpoolLimits {
    pub max_messages: usize,
    pub max_bytes: u64,
    /// Older messages are buried, not sent.
    pub max_age: Duration,
}

/// The most that may wait, and that is read at a start.
pub const SPOOL_MESSAGES_MAX: u32 = 100_000;
pub const SPOOL_BYTES_MAX: u64 = 1 << 30;

impl Default for SpoolLimits {
    fn default() -> Self {
        Self { max_messages: 1000, max_bytes: 64 << 20, max_age: Duration::from_secs(5 * 86_400) }
    }
}

/// One way to people.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Channel {
    pub name: ChannelName,
    /// Less severe events are not told here.
    pub min_severity: Severity,
    pub timing: Timing,
    pub transport: Transport,
}

/// When alerts are sent on one channel, so that nothing is lost and nobody is flooded.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// From the first bad event to the first message, so that what belongs together is told together.
    pub group_wait: Duration,
    /// Between messages about what was told already.
    pub group_interval: Duration,
    /// RUNNING this long ends an incident.
    pub recovery_after: Duration,
    /// After the first message, while the incident lasts; then no more.
    pub remind_after: Vec<Duration>,
    /// So many incidents of one program within `flap_window` are told as one that flaps, until nothing has
    /// changed for `flap_clear`.
    pub flap_count: u32,
    pub flap_window: Duration,
    pub flap_clear: Duration,
    /// Messages to one set of recipients: `burst` at once, then one an `interval`.
    pub rate_limit: RateLimit,
    /// What waited longer than this when a channel works again is told in one digest.
    pub stale_after: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RateLimit {
    /// 1 to 1000.
    pub burst: u32,
    pub interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            group_wait: Duration::from_secs(10),
            group_interval: minutes(5),
            recovery_after: Duration::from_secs(30),
            remind_after: vec![minutes(30), minutes(4 * 60), minutes(24 * 60)],
            flap_count: 5,
            flap_window: minutes(10),
            flap_clear: minutes(10),
            rate_limit: RateLimit { burst: 3, interval: minutes(5) },
            stale_after: minutes(30),
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Gets every event, one message each; the others get incidents.
    Syslog(Syslog),
    Email(Email),
    Webhook(Webhook),
}

impl Transport {
    /// It goes to a server, and not to something on this machine.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Syslog(syslog) => !matches!(syslog.target, SyslogTarget::Local(_) | SyslogTarget::Journald(_)),
            Self::Email(email) => matches!(email.via, MailTransport::Smtp(_)),
            Self::Webhook(_) => true,
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Syslog {
    pub target: SyslogTarget,
    /// RFC 5424 §6.2.1, 0 to 23.
    pub facility: u8,
    pub tag: String,
    /// Of the structured data of RFC 5424: `taskmaster@32473` (RFC 5612) unless the site has a number.
    pub sd_id: String,
    /// PEM of the only authorities that count, instead of the system's.
    pub ca: Option<String>,
    /// The name in the peer's certificate, if it is not the host's.
    pub server_name: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyslogTarget {
    /// A datagram socket such as `/dev/log`: RFC 3164 without host name.
    Local(PathBuf),
    /// journald's own protocol.
    Journald(PathBuf),
    /// RFC 5424 from here on.
    Udp(Server),
    Tcp {
        server: Server,
        framing: Framing,
    },
    Tls(Server),
}

/// RFC 6587 §3.4.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    #[default]
    OctetCounting,
    Lf,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Server {
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The longest silence.
pub const SILENCE_MAX: Duration = Duration::from_secs(366 * 86_400);
/// The longest selector or reason of a silence, in bytes.
pub const SILENCE_TEXT_MAX: usize = 1024;

/// The most of a program's output that is kept for a message: its last lines, and bytes of them.
pub const OUTPUT_LINES_MAX: u32 = 100;
pub const OUTPUT_BYTES_MAX: u32 = 8 << 10;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Email {
    pub via: MailTransport,
    /// `Name <local@domain>` or `local@domain`, checked.
    pub from: String,
    /// At least one; each checked.
    pub to: Vec<String>,
    /// The envelope's sender; the address of `from` unless configured.
    pub envelope_from: String,
    /// How many of the last lines of standard error are shown, at most [`OUTPUT_LINES_MAX`]; 0: none.
    pub output_lines: u32,
    /// Regular expressions (regex-lite); what they match is shown as `[redacted]`.
    pub redact: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTransport {
    Smtp(Smtp),
    /// The program; it is started by the spawner, as the notifier's user.
    Sendmail(PathBuf),
    /// A directory that the notifier is given as a descriptor.
    Maildir(PathBuf),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Smtp {
    /// At least one, tried in this order.
    pub servers: Vec<Server>,
    pub tls: MailTls,
    pub ca: Option<String>,
    pub server_name: Option<String>,
    /// With it there is a password ([`SecretKind::Password`]).
    pub username: Option<String>,
}

/// There is no opportunistic mode: what may fall back to clear text will.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// STARTTLS or an error.
    #[default]
    Starttls,
    Implicit,
    /// Never together with a password.
    None,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    /// `http` or `https`. Its path counts as a secret: [`Webhook::shown`] is for people.
    pub url: String,
    pub format: WebhookFormat,
    pub ca: Option<String>,
    /// How many secrets sign each request (0 to 2; [`SecretKind::Hmac`]).
    pub secrets: u8,
    pub output_lines: u32,
    pub redact: Vec<String>,
}

impl Webhook {
    /// Scheme, host and port of the URL: all of it that may be shown.
    pub fn shown(&self) -> &str {
        shown_url(&self.url)
    }
}

/// Scheme, host and port.
pub fn shown_url(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find(['/', '?', '#']).map_or(url.len(), |at| after_scheme + at);
    &url[..end]
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("url", &self.shown()).field("format", &self.format).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    #[default]
    Json,
    Slack,
    Alertmanager,
}

/// Which events go to which channels. All rules that match an event count.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Rule {
    /// Kinds or globs over them (`process.*`); checked.
    pub on: Vec<String>,
    pub not_on: Vec<String>,
    /// Globs over program names; empty: all, and what is about no program.
    pub programs: Vec<String>,
    /// The events count as this severe; the last rule that says so wins.
    pub severity: Option<Severity>,
    pub to: Vec<ChannelName>,
}

/// What a program says about its alerts. It goes with each of its events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alerts {
    /// `alerts`: false keeps its events out of mail and webhooks.
    pub enabled: bool,
    /// `alert_to`: channels that are told in any case, with or instead of those of the rules.
    pub channels: Vec<ChannelName>,
    /// `alert_to`: who gets its mails, instead of the channel's `to`, unless empty.
    pub recipients: Vec<String>,
    pub syslog_facility: Option<u8>,
    pub syslog_tag: Option<String>,
}

impl Default for Alerts {
    fn default() -> Self {
        let (channels, recipients) = (Vec::new(), Vec::new());
        Self { enabled: true, channels, recipients, syslog_facility: None, syslog_tag: None }
    }
}

/// What the notifier has to know of an event's program, as configured when the event happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct About {
    pub program: ProgramName,
    pub instance: u32,
    pub group_name: Option<String>,
    pub alerts: Alerts,
}

/// Which secret of a channel a descriptor holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    Password,
    /// The first signs; with a second one, requests carry both signatures.
    Hmac(u8),
}

/// How a channel is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Well,
    /// Since so many seconds, for this reason, in one line.
    Failing {
        seconds: u64,
        cause: String,
    },
}
