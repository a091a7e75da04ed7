//! A connection to one log daemon, of the kind that is configured.

use std::io;
use std::path::Path;
use std::time::Duration;

use syslog::{Facility, Formatter3164, LogFormat};
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::alert::outcome::{Class, Failure};
use crate::alert::syslog::{self as lines, Label};
use crate::model::event::{Event, Severity};
use crate::model::notify::{Syslog, SyslogTarget};
use crate::model::syslog::tag;
use crate::model::time::rfc3339_millis;
use crate::notifier::network::servers::Remote;
use crate::system::clock;

/// How long a daemon's full socket is waited for before the event goes back to the others that wait.
const FULL: Duration = Duration::from_millis(100);
/// A message that waited longer than this, in milliseconds, says so.
const DELAYED: i64 = 5000;
/// What is left of a datagram that is too large for the daemon's socket, at least.
const SHORTEST: usize = 480;
/// How long the time is that the crate writes.
const STAMP: usize = "Nov 01 12:00:00 ".len();

pub enum Link {
    Local(UnixDatagram),
    Journal(UnixDatagram),
    Remote(Remote),
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// Why not, in one line.
    pub async fn open(settings: &Syslog) -> Result<Self, Failure> {
        match &settings.target {
            SyslogTarget::Local(path) => Ok(Self::Local(local(path)?)),
            SyslogTarget::Journald(path) => Ok(Self::Journal(local(path)?)),
            SyslogTarget::Udp(_) | SyslogTarget::Tcp { .. } | SyslogTarget::Tls(_) => {
                Ok(Self::Remote(Remote::open(settings).await?))
            }
        }
    }

    /// Whether what is written may be lost in the connection.
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Remote(remote) if remote.is_stream())
    }

    /// Writes one event.
    ///
    /// # Errors
    /// The connection is of no more use; `WouldBlock`: it is, but full.
    pub async fn send(&mut self, event: &Event, label: &Label, sd_id: &str) -> io::Result<()> {
        let pid = std::process::id();
        match self {
            Self::Local(socket) => datagram(socket, |max| rfc3164(event, label, pid, max)).await,
            Self::Journal(socket) => {
                datagram(socket, |max| {
                    let whole = lines::journal(event, label);
                    if whole.len() <= max { whole } else { lines::journal(&shorter(event, max / 2), label) }
                })
                .await
            }
            Self::Remote(remote) => remote.send(event, label, sd_id).await,
        }
    }

    /// Ends when the other end has closed the connection. A daemon has nothing to say; if it does, nobody
    /// listens.
    pub async fn closed(&mut self) {
        match self {
            Self::Remote(remote) => remote.closed().await,
            Self::Local(_) | Self::Journal(_) => std::future::pending().await,
        }
    }
}

fn local(path: &Path) -> Result<UnixDatagram, Failure> {
    let connect = || {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(socket)
    };
    connect().map_err(|error: io::Error| {
        Failure::new(Class::Connection, format!("cannot reach {}: {error}", path.display()))
    })
}

/// Sends what `render` makes of at most so many bytes, shorter each time that the daemon's socket refuses
/// the length.
async fn datagram(socket: &UnixDatagram, render: impl Fn(usize) -> Vec<u8>) -> io::Result<()> {
    let mut max = usize::MAX;
    loop {
        let bytes = render(max);
        let sent = timeout(FULL, socket.send(&bytes)).await;
        match sent.unwrap_or_else(|_| Err(io::ErrorKind::WouldBlock.into())) {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) && bytes.len() > SHORTEST => {
                max = (bytes.len() / 2).max(SHORTEST);
            }
            result => return result.map(drop),
        }
    }
}

fn rfc3164(event: &Event, label: &Label, pid: u32, max: usize) -> Vec<u8> {
    let mut text = lines::message(event);
    // The daemon puts the time at which it gets the line: one that had to wait says when it happened.
    if clock::wall().as_millisecond() - event.time.as_millisecond() > DELAYED {
        text = format!("{text} time={}", rfc3339_millis(event.time));
    }
    let text = lines::cut(&text, max.saturating_sub(80).max(SHORTEST));
    let formatter = Formatter3164 {
        facility: facility(label.facility),
        // journald takes it for the tag, and other daemons know their own name.
        hostname: None,
        process: tag(&label.tag),
        pid,
    };
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = formatter.format(&mut bytes, severity(label.severity), text);
    // In UTC, without saying so: the form of `model::syslog` has none.
    if let Some(end) = bytes.iter().position(|byte| *byte == b'>') {
        bytes.drain(end + 1..(end + 1 + STAMP).min(bytes.len()));
    }
    bytes
}

/// The event with a shorter message and no more than that of each text.
fn shorter(event: &Event, max: usize) -> Event {
    let mut event = event.clone();
    let cut = |text: &mut Option<String>| {
        if let Some(text) = text {
            *text = lines::cut(text, max / 4);
        }
    };
    cut(&mut event.facts.message);
    cut(&mut event.facts.process);
    cut(&mut event.facts.user);
    event
}

fn severity(severity: Severity) -> syslog::Severity {
    match severity {
        Severity::Crit => syslog::Severity::LOG_CRIT,
        Severity::Err => syslog::Severity::LOG_ERR,
        Severity::Warning => syslog::Severity::LOG_WARNING,
        Severity::Notice => syslog::Severity::LOG_NOTICE,
        Severity::Info => syslog::Severity::LOG_INFO,
    }
}

/// The crate's word for a facility's number.
fn facility(number: u8) -> Facility {
    const ALL: [Facility; 24] = [
        Facility::LOG_KERN,
        Facility::LOG_USER,
        Facility::LOG_MAIL,
        Facility::LOG_DAEMON,
        Facility::LOG_AUTH,
        Facility::LOG_SYSLOG,
        Facility::LOG_LPR,
        Facility::LOG_NEWS,
        Facility::LOG_UUCP,
        Facility::LOG_CRON,
        Facility::LOG_AUTHPRIV,
        Facility::LOG_FTP,
        Facility::LOG_NTP,
        Facility::LOG_AUDIT,
        Facility::LOG_ALERT,
        Facility::LOG_CLOCK_DAEMON,
        Facility::LOG_LOCAL0,
        Facility::LOG_LOCAL1,
        Facility::LOG_LOCAL2,
        Facility::LOG_LOCAL3,
        Facility::LOG_LOCAL4,
        Facility::LOG_LOCAL5,
        Facility::LOG_LOCAL6,
        Facility::LOG_LOCAL7,
    ];
    ALL.get(usize::from(number)).copied().unwrap_or(Facility::LOG_LOCAL7)
}

#[cfg(test)]
mod tests {
    use crate::model::event::{Facts, Kind};
    use crate::model::syslog::{local, priority};

    use super::*;

    #[test]
    fn an_event_has_the_form_that_the_lines_of_programs_have() {
        let kind = Kind::ProcessCrashed;
        let (host, facts) = ("h1".to_owned(), Facts { process: Some("web".to_owned()), ..Facts::default() });
        let event = Event { seq: 1, time: clock::wall(), severity: kind.severity(), kind, host, facts };
        let text = lines::message(&event);
        for facility in 0..=24 {
            for severity in [Severity::Crit, Severity::Err, Severity::Warning, Severity::Notice, Severity::Info] {
                let label = Label { facility, severity, tag: "a b".to_owned() };
                let line = String::from_utf8(rfc3164(&event, &label, 7, usize::MAX)).expect("text");
                assert_eq!(line, local(priority(facility, severity), &label.tag, Some(7), &text));
            }
        }
    }
}
