//! A connection to a log daemon over the network: RFC 5424, in datagrams or in a stream.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::dial;
use super::stream::{Limits, Stream};
use super::tls::Authorities;
use crate::alert::outcome::{Class, Failure};
use crate::alert::syslog::{self as lines, Label, UDP_MAX};
use crate::model::event::Event;
use crate::model::notify::{Framing, Server, Syslog, SyslogTarget};
use crate::system::socket;

/// How long a full connection is waited for.
const STUCK: Duration = Duration::from_secs(10);

pub enum Remote {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>, Framing),
}

impl Remote {
    /// Connects.
    ///
    /// # Errors
    /// Why not, in one line.
    pub async fn open(settings: &Syslog) -> Result<Self, Failure> {
        let limits = Limits::default();
        match &settings.target {
            SyslogTarget::Udp(server) => Ok(Self::Udp(udp(server, &limits).await?)),
            SyslogTarget::Tcp { server, framing } => {
                Ok(Self::Stream(dial::connect(server, None, &limits).await?, *framing))
            }
            SyslogTarget::Tls(server) => {
                let tls = Authorities::new(settings.ca.as_deref(), settings.server_name.as_deref());
                let stream = dial::connect(server, Some(&tls), &limits).await?;
                Ok(Self::Stream(stream, Framing::OctetCounting))
            }
            SyslogTarget::Local(path) | SyslogTarget::Journald(path) => {
                Err(Failure::new(Class::Configuration, format!("{} is no server", path.display())))
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
        let line = lines::rfc5424(event, label, sd_id, std::process::id());
        match self {
            Self::Udp(socket) => socket.send(lines::cut(&line, UDP_MAX).as_bytes()).await.map(drop),
            Self::Stream(stream, framing) => {
                let bytes = lines::framed(&line, *framing);
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
            Self::Udp(_) => std::future::pending().await,
        }
    }
}

async fn udp(server: &Server, limits: &Limits) -> Result<UdpSocket, Failure> {
    let mut last = format!("{server} has no address");
    for address in dial::resolve(server, limits).await? {
        match socket::datagrams_to(address).and_then(UdpSocket::from_std) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = format!("cannot reach {server}: {error}"),
        }
    }
    Err(Failure::new(Class::Connection, last))
}
