//! Where many programs speak: our own standard output, and the local log daemon. The logger says their lines there;
//! it can open nothing, so what leads there is opened and connected here.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::model::event::Kind;
use crate::model::notify::Notify;
use crate::model::time::Moment;
use crate::protocol::logger::{OutletKind, ToLogger};
use crate::protocol::spawner::SinkId;
use crate::system::dial;

use super::Message;

/// A logger that asks more often is answered without a try.
const REDIAL: Duration = Duration::from_millis(900);

pub struct Outlets {
    console: SinkId,
    /// Our own standard output, or why it cannot be written: then the bytes feed the tails.
    output: Result<Rc<OwnedFd>, String>,
    /// That reason was told.
    told: bool,
    syslog: SinkId,
    /// Its socket, and the facility of programs that name none.
    socket: PathBuf,
    facility: u8,
    /// What leads there, as far as is known: a new logger goes on with it.
    way: Option<Rc<OwnedFd>>,
    /// When it was last tried, and whether it could be reached.
    tried: Option<(Moment, Result<(), i32>)>,
}

impl Outlets {
    pub fn new(console: SinkId, syslog: SinkId, output: Result<OwnedFd, String>, notify: &Notify) -> Self {
        let (socket, facility) = notify.local_log();
        Self { console, output: output.map(Rc::new), told: false, syslog, socket, facility, way: None, tried: None }
    }

    pub fn sink(&self, kind: OutletKind) -> SinkId {
        match kind {
            OutletKind::Console => self.console,
            OutletKind::Syslog => self.syslog,
        }
    }

    pub fn facility(&self) -> u8 {
        self.facility
    }

    pub fn kind(&self, sink: SinkId) -> Option<OutletKind> {
        [OutletKind::Console, OutletKind::Syslog].into_iter().find(|kind| self.sink(*kind) == sink)
    }

    pub fn name(&self, sink: SinkId) -> Option<&'static str> {
        Some(match self.kind(sink)? {
            OutletKind::Console => "the supervisor's standard output",
            OutletKind::Syslog => "the local syslog",
        })
    }

    /// What a logger that is started anew must know; `dropping`: where an earlier one could not be heard.
    pub fn everything(&self, dropping: impl Fn(SinkId) -> bool) -> [Message; 2] {
        let of = |sink, kind, way: Option<&Rc<OwnedFd>>| {
            let message = ToLogger::Outlet { sink, kind, dropping: dropping(sink) };
            (message, way.cloned().into_iter().collect())
        };
        [
            of(self.console, OutletKind::Console, self.output.as_ref().ok()),
            of(self.syslog, OutletKind::Syslog, self.way.as_ref()),
        ]
    }

    /// This is our own standard output from now on. The message for the logger, if it can be written.
    pub fn opened(&mut self, output: Result<OwnedFd, String>) -> Option<Message> {
        self.told = false;
        self.output = output.map(Rc::new);
        let output = Rc::clone(self.output.as_ref().ok()?);
        Some((ToLogger::Dialled { sink: self.console, errno: 0 }, vec![output]))
    }

    /// A program says something on our own standard output: why it will not be seen, if that was not told yet.
    pub fn unseen(&mut self) -> Option<String> {
        let why = self.output.as_ref().err().filter(|_| !self.told)?;
        self.told = true;
        Some(format!("output for \"console\" is kept for `tail` only: {why}"))
    }

    /// Connects to the log daemon: gives what the logger is told, and what everybody is told if it is news. Local
    /// sockets never keep one waiting.
    pub fn dial(&mut self, now: Moment) -> (Message, Option<(Kind, String)>) {
        let way = match self.tried {
            Some((at, Err(errno))) if now.since(at) < REDIAL => Err(errno),
            _ => dial::datagrams(&self.socket).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO)),
        };
        let result = way.as_ref().map(|_| ()).map_err(|errno| *errno);
        let before = self.tried.replace((now, result)).map_or(Ok(()), |(_, result)| result);
        let socket = self.socket.display();
        let news = match (before, result) {
            (Ok(()), Err(errno)) => {
                let error = io::Error::from_raw_os_error(errno);
                Some((
                    Kind::OutputFailing,
                    format!("the local syslog {socket}: {error}; what programs say waits for it"),
                ))
            }
            (Err(_), Ok(())) => Some((Kind::OutputRecovered, format!("the local syslog {socket} is there"))),
            (Ok(()), Ok(())) | (Err(_), Err(_)) => None,
        };
        let message = ToLogger::Dialled { sink: self.syslog, errno: result.err().unwrap_or(0) };
        self.way = way.ok().map(Rc::new);
        ((message, self.way.iter().cloned().collect()), news)
    }

    /// After a reload: what leads to the log daemon leads there no more, if that is elsewhere now. The logger asks
    /// for another way when it has something to say.
    pub fn configure(&mut self, notify: &Notify) -> Option<Message> {
        let (socket, facility) = notify.local_log();
        self.facility = facility;
        if socket == self.socket {
            return None;
        }
        self.socket = socket;
        self.way = None;
        let message = ToLogger::Dialled { sink: self.syslog, errno: libc::ENOTCONN };
        self.tried.is_some().then(|| (message, Vec::new()))
    }
}
