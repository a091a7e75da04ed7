//! A connection to one log daemon, of the kind that is configured.

use std::io;
use std::path::Path;
use std::time::Duration;

use syslog::{Facility, Formatter3164, LogFormat};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::timeout;

use crate::alert::outcome::{Class, Failure};
use crate::alert::syslog::{self as lines, Label, UDP_MAX};
use crate::model::event::{Event, Severity};
use crate::model::notify::{Framing, Server, Syslog, SyslogTarget};
use crate::model::time::rfc3339_millis;
use crate::notifier::network::dial::{self, Limits, Stream};
use crate::notifier::network::tls::Authorities;
use crate::system::{clock, socket};

/// How long a daemon's full socket is waited for before the event goes back to the others that wait.
const FULL: Duration = Duration::from_millis(100);
/// And a full connection.
const STUCK: Duration = Duration::from_secs(10);
/// A message that waited longer than this, in milliseconds, says so.
const DELAYED: i64 = 5000;
/// What is left of a datagram that is too large for the daemon's socket, at least.
const SHORTEST: usize = 480;

pub enum Link {
    Local(UnixDatagram),
    Journal(UnixDatagram),
    Udp(UdpSocket),
    Stream(Box<dyn Stream>, Framing),
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
            SyslogTarget::Udp(server) => Ok(Self::Udp(udp(server).await?)),
            SyslogTarget::Tcp { server, framing } => {
                let stream = dial::connect(server, None, &Limits::default()).await?;
                Ok(Self::Stream(stream, *framing))
            }
            SyslogTarget::Tls(server) => {
                let tls = Authorities::new(settings.ca.as_deref(), settings.server_name.as_deref());
                let stream = dial::connect(server, Some(&tls), &Limits::default()).await?;
                Ok(Self::Stream(stream, Framing::OctetCounting))
            }
        }
    }

    /// Whether what is written may be lost in the connection.
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(..))
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
            Self::Udp(socket) => {
                let line = lines::cut(&lines::rfc5424(event, label, sd_id, pid), UDP_MAX);
                socket.send(line.as_bytes()).await.map(drop)
            }
            Self::Stream(stream, framing) => {
                let bytes = lines::framed(&lines::rfc5424(event, label, sd_id, pid), *framing);
                let write = async {
                    stream.write_all(&bytes).await?;
                    stream.flush().await
                };
                timeout(STUCK, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Ends when the other end has closed the connection. A daemon has nothing to say; if it does, nobody
    /// listens.
    pub async fn closed(&mut self) {
        match self {
            Self::Stream(stream, _) => {
                let mut ignored = [0; 512];
                while stream.read(&mut ignored).await.is_ok_and(|bytes| bytes > 0) {}
            }
            Self::Local(_) | Self::Journal(_) | Self::Udp(_) => std::future::pending().await,
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

async fn udp(server: &Server) -> Result<UdpSocket, Failure> {
    let limits = Limits::default();
    let mut last = format!("{server} has no address");
    for address in dial::resolve(server, &limits).await? {
        match socket::datagrams_to(address).and_then(UdpSocket::from_std) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = format!("cannot reach {server}: {error}"),
        }
    }
    Err(Failure::new(Class::Connection, last))
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
    let formatter = Formatter3164 {
        facility: facility(label.facility),
        // journald takes it for the tag, and other daemons know their own name.
        hostname: None,
        process: lines::tag(&label.tag),
        pid,
    };
    let mut bytes = Vec::new();
    let mut text = lines::message(event);
    // The line has the time at which it is written: one that had to wait says when it happened.
    if clock::wall().as_millisecond() - event.time.as_millisecond() > DELAYED {
        text = format!("{text} time={}", rfc3339_millis(event.time));
    }
    let text = lines::cut(&text, max.saturating_sub(80).max(SHORTEST));
    // Writing to memory does not fail.
    let _ = formatter.format(&mut bytes, severity(label.severity), text);
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
    ALL.get(usize::from(number)).copied().unwrap_or(Facility::LOG_DAEMON)
}
