//! Where many programs say their lines: the supervisor's own standard output, or the local log daemon. What waits
//! for it within a bound, and what is dropped when nobody takes it.
//!
//! The console may be anything: the core gives us a pipe or terminal opened anew, so that not to wait is our own
//! mode and not that of whoever else writes there; a socket is asked with each message; a file never waits. What it
//! refuses is lost: nobody knows when it could be written. The log daemon's socket takes a message a line. When it
//! dies with its daemon, what waits waits for another, which the core makes.
//!
//! On a terminal sits whoever started the supervisor, mostly root: nothing that programs write acts on it.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use crate::model::text::escaped_line;
use crate::model::time::Moment;
use crate::protocol::logger::OutletKind;
use crate::system::socket;

use super::sink::{RETRY, Wrote};
use super::waiting::Waiting;

/// It is not said more often than this that dropping has ended, or a slow reader would make a flood of it.
const DROPPING_MIN: Duration = Duration::from_secs(1);

/// What leads to an outlet.
struct Way {
    file: File,
    is_socket: bool,
    /// A terminal, or another device, to which it is all the same.
    is_terminal: bool,
}

impl Way {
    fn new(descriptor: OwnedFd) -> Self {
        let file = File::from(descriptor);
        let kind = file.metadata().map(|metadata| metadata.file_type());
        let is_socket = kind.as_ref().is_ok_and(FileTypeExt::is_socket);
        Self { file, is_socket, is_terminal: kind.is_ok_and(|kind| kind.is_char_device()) }
    }
}

/// A whole line as `tail` shows it on a terminal.
fn shown(line: &[u8]) -> Vec<u8> {
    let mut shown = escaped_line(line.strip_suffix(b"\n").unwrap_or(line)).into_bytes();
    shown.push(b'\n');
    shown
}

pub struct Outlet {
    kind: OutletKind,
    way: Option<Way>,
    waiting: Waiting,
    /// Since when lines are dropped.
    dropping: Option<Moment>,
    /// Of which the core does not know.
    dropped: u64,
    told: Moment,
    /// It has taken something since it last did not.
    works: bool,
    /// Why nobody is there, if so: what leads there is of no use.
    gone: Option<i32>,
    /// The kernel has no memory for a message now, of which no descriptor can tell when that is over.
    pauses: bool,
}

impl Outlet {
    /// `dropping`: an earlier logger has not said that it can write it again.
    pub fn new(kind: OutletKind, way: Option<OwnedFd>, dropping: bool, now: Moment) -> Self {
        Self {
            kind,
            gone: way.is_none().then_some(libc::ENOTCONN),
            way: way.map(Way::new),
            waiting: Waiting::default(),
            dropping: dropping.then_some(now),
            dropped: 0,
            told: now,
            works: false,
            pauses: false,
        }
    }

    /// Something waits that can be written later.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Something waits, and nobody is there.
    pub fn is_unheard(&self) -> bool {
        self.gone.is_some() && self.has_waiting()
    }

    /// What waits for somebody who does not come is dropped.
    pub fn give_up(&mut self, now: Moment) -> Wrote {
        match self.gone.filter(|_| self.has_waiting()) {
            Some(errno) => {
                self.dropped += self.waiting.drop_all() as u64;
                self.begin(errno, now)
            }
            None => Wrote::All,
        }
    }

    /// Something waits, and no descriptor can tell when it can be written.
    pub fn pauses(&self) -> bool {
        self.pauses && self.has_waiting()
    }

    /// What tells when more can be written, if something waits for that.
    pub fn to_watch(&self) -> Option<BorrowedFd<'_>> {
        self.open().filter(|_| self.has_waiting() && !self.pauses).map(|way| way.file.as_fd())
    }

    /// What leads there, of use or not.
    pub fn way(&self) -> Option<BorrowedFd<'_>> {
        self.way.as_ref().map(|way| way.file.as_fd())
    }

    fn open(&self) -> Option<&Way> {
        self.way.as_ref().filter(|_| self.gone.is_none())
    }

    /// This leads there from now on; or nothing, for this reason.
    pub fn dialled(&mut self, way: Result<OwnedFd, i32>, now: Moment) -> Wrote {
        self.gone = way.as_ref().err().copied();
        self.way = way.ok().map(Way::new);
        self.flush(now)
    }

    /// When it can be said that it works again, if it does until then.
    pub fn recovers(&self) -> Option<Moment> {
        self.dropping.filter(|_| self.works && !self.has_waiting()).map(|since| since + DROPPING_MIN)
    }

    /// Takes whole lines, as many as there is room for, and writes what can be written.
    pub fn push(&mut self, lines: &[u8], now: Moment) -> Wrote {
        if self.kind == OutletKind::Console && self.gone.is_some() {
            return Wrote::All; // that is so until the core says otherwise, and it has told why
        }
        let mut began = None;
        let is_terminal = self.kind == OutletKind::Console && self.open().is_some_and(|way| way.is_terminal);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line = if is_terminal { Cow::Owned(shown(line)) } else { Cow::Borrowed(line) };
            let line = &*line;
            if !self.waiting.has_room(line)
                && let Err(errno) = self.write()
            {
                began = began.or(Some(errno));
            }
            if self.waiting.has_room(line) {
                self.waiting.push(line);
            } else {
                self.dropped += line.len() as u64;
                self.works = false;
                began = began.or(self.gone).or(Some(libc::EAGAIN));
            }
        }
        match (self.flush(now), began) {
            (Wrote::All | Wrote::Dropped, Some(errno)) => self.begin(errno, now),
            (wrote, _) => wrote,
        }
    }

    /// Writes what can be written now.
    pub fn flush(&mut self, now: Moment) -> Wrote {
        match self.write() {
            Err(errno) => self.begin(errno, now),
            Ok(()) if self.recovers().is_some_and(|at| at <= now) => {
                self.dropping = None;
                Wrote::Recovered(std::mem::take(&mut self.dropped))
            }
            Ok(()) => Wrote::All,
        }
    }

    /// When it is to be told how many bytes were dropped, if some were.
    pub fn tells_loss(&self) -> Option<Moment> {
        (self.dropped > 0).then(|| self.told + RETRY)
    }

    /// How many bytes were dropped since that was last told, once in a while.
    pub fn losing(&mut self, now: Moment) -> Option<u64> {
        self.tells_loss().filter(|at| *at <= now)?;
        self.told = now;
        self.take_dropped()
    }

    /// The same, at once.
    pub fn take_dropped(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.dropped)).filter(|bytes| *bytes > 0)
    }

    fn begin(&mut self, errno: i32, now: Moment) -> Wrote {
        if self.dropping.is_some() {
            return Wrote::Dropped;
        }
        self.dropping = Some(now);
        Wrote::Began(errno)
    }

    fn write(&mut self) -> Result<(), i32> {
        match self.kind {
            OutletKind::Console => self.write_console(),
            OutletKind::Syslog => self.write_syslog(),
        }
    }

    /// Writes as much as is taken.
    ///
    /// # Errors
    /// It refuses to take anything: all that waited is dropped.
    fn write_console(&mut self) -> Result<(), i32> {
        while let Some(way) = self.open().filter(|_| self.has_waiting()) {
            let rest = self.waiting.rest();
            let wrote = if way.is_socket { socket::write_now(way.file.as_fd(), rest) } else { (&way.file).write(rest) };
            match wrote {
                Ok(count) => {
                    self.waiting.take(count);
                    self.works = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    self.dropped += self.waiting.drop_all() as u64;
                    self.works = false;
                    return Err(error.raw_os_error().unwrap_or(libc::EIO));
                }
            }
        }
        Ok(())
    }

    /// Sends as many messages as are taken.
    ///
    /// # Errors
    /// A message can never be sent, and was dropped.
    fn write_syslog(&mut self) -> Result<(), i32> {
        let mut refused = Ok(());
        self.pauses = false;
        while let Some(way) = self.open().filter(|_| self.has_waiting()) {
            match socket::write_now(way.file.as_fd(), self.waiting.first()) {
                Ok(_) => {
                    self.waiting.drop_first();
                    self.works = true;
                }
                Err(error) => match error.raw_os_error().unwrap_or(libc::EIO) {
                    libc::EINTR => {}
                    libc::EAGAIN => break,
                    libc::ENOBUFS | libc::ENOMEM => {
                        self.pauses = true;
                        break;
                    }
                    libc::EMSGSIZE => {
                        self.dropped += self.waiting.drop_first() as u64;
                        self.works = false;
                        refused = Err(libc::EMSGSIZE);
                    }
                    errno => self.gone = Some(errno),
                },
            }
        }
        refused
    }
}
