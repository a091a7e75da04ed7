//! What programs say where many speak: their lines go to an [`Outlet`]. While something waits there, the loop
//! watches it; when nobody is there any more, the core is asked to connect it anew.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::model::time::Moment;
use crate::protocol::logger::{FromLogger, StreamId};
use crate::protocol::spawner::SinkId;
use crate::system::poll::Interest;

use super::outlet::Outlet;
use super::sink::Wrote;
use super::{Logger, LoggerError, Timer};

/// When it is tried again, where a descriptor cannot tell that it can be written.
const PAUSE: Duration = Duration::from_millis(10);
/// The core is not asked more often than this to reach a log daemon that is not there.
const REDIAL: Duration = Duration::from_secs(1);

/// An outlet, and what the loop knows of it.
pub struct Spoken {
    outlet: Outlet,
    /// How epoll knows it, while something waits.
    token: Option<u64>,
    /// The next timer.
    timed: Option<Moment>,
    /// When the core was last asked to connect it, and whether it has answered.
    asked: Option<(Moment, bool)>,
}

impl Spoken {
    pub fn new(outlet: Outlet) -> Self {
        Self { outlet, token: None, timed: None, asked: None }
    }

    /// Something waits that may still be taken: somebody is there, or the core has not yet said that nobody is.
    pub fn may_be_heard(&self) -> bool {
        let is_lost = self.outlet.is_unheard() && self.asked.is_some_and(|(_, is_answered)| is_answered);
        self.outlet.has_waiting() && !is_lost
    }

    /// When the core may be asked, if it is to be.
    fn to_ask(&self, now: Moment) -> Option<Moment> {
        match self.asked {
            _ if !self.outlet.is_unheard() => None,
            None => Some(now),
            Some((_, false)) => None,
            Some((at, true)) => Some(at + REDIAL),
        }
    }
}

impl Logger {
    /// Says what was read of a program whose lines go where many speak.
    pub(super) fn speak(&mut self, id: StreamId, bytes: &[u8]) -> Result<(), LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let Some((outlet, lines)) = stream.lines.as_mut() else { return Ok(()) };
        let process = self.tails.get(&stream.tail).map_or("", |tail| &tail.process);
        let (outlet, said) = (*outlet, lines.take(process, bytes));
        self.say(outlet, &said)
    }

    /// The same of its unfinished line: nothing comes after it.
    pub(super) fn speak_rest(&mut self, id: StreamId) -> Result<(), LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let Some((outlet, lines)) = stream.lines.as_mut() else { return Ok(()) };
        let process = self.tails.get(&stream.tail).map_or("", |tail| &tail.process);
        let (outlet, said) = (*outlet, lines.rest(process));
        self.say(outlet, &said)
    }

    fn say(&mut self, id: SinkId, lines: &[u8]) -> Result<(), LoggerError> {
        let Some(spoken) = self.spoken.get_mut(&id).filter(|_| !lines.is_empty()) else { return Ok(()) };
        let wrote = spoken.outlet.push(lines, self.now);
        self.tend_outlet(id, wrote)
    }

    /// Tries again what waits.
    pub(super) fn flush_outlet(&mut self, id: SinkId) -> Result<(), LoggerError> {
        let Some(spoken) = self.spoken.get_mut(&id) else { return Ok(()) };
        let wrote = spoken.outlet.flush(self.now);
        self.tend_outlet(id, wrote)?;
        self.drain()
    }

    pub(super) fn expire_outlet(&mut self, id: SinkId) -> Result<(), LoggerError> {
        if let Some(spoken) = self.spoken.get_mut(&id) {
            spoken.timed = None;
        }
        self.flush_outlet(id)
    }

    /// The outlet that a token of epoll means.
    pub(super) fn outlet_of(&self, token: u64) -> Option<SinkId> {
        self.spoken.iter().find(|(_, spoken)| spoken.token == Some(token)).map(|(id, _)| *id)
    }

    /// The core has connected an outlet, or could not.
    pub(super) fn dialled(&mut self, id: SinkId, way: Result<OwnedFd, i32>) -> Result<(), LoggerError> {
        let Some(spoken) = self.spoken.get_mut(&id) else { return Ok(()) };
        spoken.asked = spoken.asked.map(|(at, _)| (at, true));
        if let Some(way) = spoken.token.take().and_then(|_| spoken.outlet.way()) {
            self.poll.remove(way);
        }
        let wrote = spoken.outlet.dialled(way, self.now);
        self.tend_outlet(id, wrote)?;
        self.drain()
    }

    /// Tells what came of a write, and sees that the next one comes.
    fn tend_outlet(&mut self, id: SinkId, wrote: Wrote) -> Result<(), LoggerError> {
        let Some(spoken) = self.spoken.get_mut(&id) else { return Ok(()) };
        let mut next = spoken.outlet.recovers();
        let mut at = |moment: Moment| next = Some(next.map_or(moment, |next| next.min(moment)));
        match (spoken.outlet.to_watch(), spoken.token) {
            (Some(way), None) => match self.poll.add(way, Interest::Write) {
                Ok(token) => spoken.token = Some(token),
                Err(_) => at(self.now + PAUSE), // not every kind of descriptor can be watched
            },
            (None, Some(_)) => {
                spoken.token = None;
                if let Some(way) = spoken.outlet.way() {
                    self.poll.remove(way);
                }
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        if let Some(moment) = spoken.outlet.tells_loss() {
            at(moment.max(self.now + PAUSE));
        }
        if spoken.outlet.pauses() {
            at(self.now + PAUSE);
        }
        let asks = match spoken.to_ask(self.now) {
            Some(moment) if moment > self.now => {
                at(moment);
                false
            }
            moment => moment.is_some(),
        };
        if asks {
            spoken.asked = Some((self.now, false));
        }
        if let Some(next) = next.filter(|next| spoken.timed.is_none_or(|timed| *next < timed)) {
            spoken.timed = Some(next);
            self.timers.insert((next, Timer::Outlet(id)));
        }
        if asks {
            self.tell(&FromLogger::Redial { sink: id })?;
        }
        self.tell_written(id, wrote)?;
        let losing = self.spoken.get_mut(&id).and_then(|spoken| spoken.outlet.losing(self.now));
        losing.map_or(Ok(()), |bytes| self.tell(&FromLogger::Losing { sink: id, bytes }))
    }

    /// What is not told yet of what was dropped, of each outlet.
    pub(super) fn last_losses(&mut self) -> Vec<(SinkId, u64)> {
        self.spoken.iter_mut().filter_map(|(id, spoken)| Some((*id, spoken.outlet.take_dropped()?))).collect()
    }

    /// All is read, and nobody has come for what waits.
    pub(super) fn give_up_outlets(&mut self) -> Result<(), LoggerError> {
        for id in self.spoken.keys().copied().collect::<Vec<_>>() {
            let now = self.now;
            let wrote = self.spoken.get_mut(&id).map_or(Wrote::All, |spoken| spoken.outlet.give_up(now));
            self.tend_outlet(id, wrote)?;
        }
        Ok(())
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
