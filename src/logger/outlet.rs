//! The supervisor's own standard output, where programs with `"console"` write: what waits for it within a
//! bound, and what is dropped when nobody reads it.
//!
//! It may be anything: the core gives us a pipe or terminal opened anew, so that not to wait is our own mode
//! and not that of whoever else writes there; a socket is asked with each message; a file never waits.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use crate::model::time::Moment;
use crate::protocol::logger::{FromLogger, StreamId};
use crate::protocol::spawner::SinkId;
use crate::system::socket;

use super::sink::{RETRY, Wrote};
use super::{Logger, LoggerError, Timer};

/// How many bytes may wait.
const WAITING_MAX: usize = 1 << 20;
/// When it is tried again. Not every kind of descriptor tells when it can be written.
const PAUSE: Duration = Duration::from_millis(10);
/// It is not said more often than this that dropping has ended, or a slow reader would make a flood of it.
const DROPPING_MIN: Duration = Duration::from_secs(1);

pub struct Outlet {
    pub id: SinkId,
    file: File,
    is_socket: bool,
    waiting: Vec<u8>,
    /// How much of it is written.
    sent: usize,
    /// A line was cut off: the next one begins after its end.
    is_cut: bool,
    /// Since when lines are dropped.
    dropping: Option<Moment>,
    /// Of which the core does not know.
    dropped: u64,
    told: Moment,
    /// It has taken something since it last did not.
    works: bool,
    /// A timer runs.
    timed: bool,
}

impl Outlet {
    /// `dropping`: an earlier logger has not said that it can write it again.
    pub fn new(id: SinkId, file: OwnedFd, dropping: bool, now: Moment) -> Self {
        let file = File::from(file);
        let is_socket = file.metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
        let dropping = dropping.then_some(now);
        Self {
            id,
            file,
            is_socket,
            waiting: Vec::new(),
            sent: 0,
            is_cut: false,
            dropping,
            dropped: 0,
            told: now,
            works: false,
            timed: false,
        }
    }

    pub fn has_waiting(&self) -> bool {
        self.sent < self.waiting.len()
    }

    /// Takes whole lines, as many as there is room for, and writes what can be written.
    fn push(&mut self, lines: &[u8], now: Moment) -> Wrote {
        let mut began = None;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if self.waiting.len() - self.sent + line.len() > WAITING_MAX
                && let Err(errno) = self.write()
            {
                began = began.or(Some(errno));
            }
            if self.waiting.len() - self.sent + line.len() > WAITING_MAX {
                self.dropped += line.len() as u64;
                self.works = false;
                began = began.or(Some(libc::EAGAIN));
            } else {
                if std::mem::take(&mut self.is_cut) {
                    self.waiting.push(b'\n');
                }
                self.waiting.extend_from_slice(line);
            }
        }
        match (self.flush(now), began) {
            (Wrote::All | Wrote::Dropped, Some(errno)) => self.begin(errno, now),
            (wrote, _) => wrote,
        }
    }

    /// Writes what can be written now.
    fn flush(&mut self, now: Moment) -> Wrote {
        match self.write() {
            Err(errno) => self.begin(errno, now),
            Ok(()) if self.has_waiting() => Wrote::All,
            Ok(()) => match self.dropping {
                Some(since) if self.works && now.since(since) >= DROPPING_MIN => {
                    self.dropping = None;
                    Wrote::Recovered(std::mem::take(&mut self.dropped))
                }
                _ => Wrote::All,
            },
        }
    }

    /// How many bytes were dropped since that was last told, once in a while.
    fn losing(&mut self, now: Moment) -> Option<u64> {
        if self.dropped == 0 || now < self.told + RETRY {
            return None;
        }
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

    /// What cannot be written at all is dropped: nobody knows when it could be.
    fn write(&mut self) -> Result<(), i32> {
        while self.has_waiting() {
            let rest = &self.waiting[self.sent..];
            let wrote =
                if self.is_socket { socket::write_now(self.file.as_fd(), rest) } else { (&self.file).write(rest) };
            match wrote {
                Ok(count) => {
                    self.sent += count;
                    self.works = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting.drain(..self.sent);
                    self.sent = 0;
                    return Ok(());
                }
                Err(error) => {
                    self.is_cut |= self.sent > 0 && self.waiting[self.sent - 1] != b'\n';
                    self.dropped += (self.waiting.len() - self.sent) as u64;
                    self.forget();
                    self.works = false;
                    return Err(error.raw_os_error().unwrap_or(libc::EIO));
                }
            }
        }
        self.forget();
        Ok(())
    }

    fn forget(&mut self) {
        self.waiting.clear();
        self.sent = 0;
    }
}

impl Logger {
    /// Writes what was read of a program that writes to the supervisor's standard output.
    pub(super) fn speak(&mut self, id: StreamId, bytes: &[u8]) -> Result<(), LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let (Some(lines), Some(tail)) = (stream.lines.as_mut(), self.tails.get(&stream.tail)) else { return Ok(()) };
        let whole = lines.take(&tail.process, bytes);
        self.speak_lines(&whole)
    }

    /// The same of its unfinished line: nothing comes after it.
    pub(super) fn speak_rest(&mut self, id: StreamId) -> Result<(), LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let (Some(lines), Some(tail)) = (stream.lines.as_mut(), self.tails.get(&stream.tail)) else { return Ok(()) };
        let rest = lines.rest(&tail.process);
        self.speak_lines(&rest)
    }

    fn speak_lines(&mut self, lines: &[u8]) -> Result<(), LoggerError> {
        let Some(outlet) = self.outlet.as_mut().filter(|_| !lines.is_empty()) else { return Ok(()) };
        let (id, wrote) = (outlet.id, outlet.push(lines, self.now));
        self.arm_outlet();
        self.tell_written(id, wrote)
    }

    fn arm_outlet(&mut self) {
        if let Some(outlet) = self.outlet.as_mut()
            && (outlet.has_waiting() || outlet.dropping.is_some())
            && !std::mem::replace(&mut outlet.timed, true)
        {
            self.timers.insert((self.now + PAUSE, Timer::Outlet));
        }
    }

    /// Tries again what waits.
    pub(super) fn expire_outlet(&mut self) -> Result<(), LoggerError> {
        let Some(outlet) = self.outlet.as_mut() else { return Ok(()) };
        outlet.timed = false;
        let (id, wrote, losing) = (outlet.id, outlet.flush(self.now), outlet.losing(self.now));
        self.arm_outlet();
        self.tell_written(id, wrote)?;
        if let Some(bytes) = losing {
            self.tell(&FromLogger::Losing { sink: id, bytes })?;
        }
        self.drain()
    }

    /// At the end: what has come so far, as far as it is taken.
    pub(super) fn speak_out(&mut self) {
        let spoken: Vec<StreamId> =
            self.streams.iter().filter(|(_, stream)| stream.lines.is_some()).map(|(id, _)| *id).collect();
        for id in spoken {
            // Nobody hears of an error any more.
            let _ = self.pump_out(id).and_then(|()| self.speak_rest(id));
        }
    }
}
