//! Telling the core what was dropped: when it begins, how many bytes soon after, and when it is over
//! ([`super::sink`] knows which of these it is).

use super::sink::{RETRY, Told, Wrote};
use super::{Logger, LoggerError, Timer};
use crate::protocol::logger::FromLogger;
use crate::protocol::spawner::SinkId;

impl Logger {
    /// Tells when a file cannot be written any more, and that what follows of all lines that were cut is dropped.
    pub(super) fn tell_written(&mut self, id: SinkId, wrote: Wrote) -> Result<(), LoggerError> {
        self.arm_loss(id);
        if matches!(wrote, Wrote::Began(_) | Wrote::Relapsed) {
            for stream in self.sinks.get(&id).map(|sink| sink.streams.clone()).unwrap_or_default() {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.lost();
                }
            }
        }
        match wrote {
            Wrote::Began(errno) => self.tell(&FromLogger::Dropping { sink: id, errno }),
            Wrote::Recovered(bytes) => self.tell(&FromLogger::Dropped { sink: id, bytes }),
            Wrote::All | Wrote::Dropped | Wrote::Relapsed => Ok(()),
        }
    }

    /// Has a timer for what is to be told soon.
    pub(super) fn arm_loss(&mut self, id: SinkId) {
        if let Some(sink) = self.sinks.get_mut(&id)
            && sink.loss.is_open()
            && !std::mem::replace(&mut sink.loss.timed, true)
        {
            self.timers.insert((self.now + RETRY, Timer::Loss(id)));
        }
    }

    pub(super) fn expire_loss(&mut self, id: SinkId) -> Result<(), LoggerError> {
        let Some(sink) = self.sinks.get_mut(&id) else { return Ok(()) };
        sink.loss.timed = false;
        let told = sink.loss.tell(self.now);
        self.arm_loss(id);
        self.tell_loss(id, told)
    }

    /// What is known now, because nothing more may come.
    pub(super) fn tell_last_losses(&mut self) -> Result<(), LoggerError> {
        for id in self.sinks.keys().copied().collect::<Vec<_>>() {
            self.tell_last_loss(id, false)?;
        }
        for (id, bytes) in self.last_losses() {
            self.tell_loss(id, Some(Told::Losing(bytes)))?;
        }
        Ok(())
    }

    /// The same of one file; `closed`: for good.
    pub(super) fn tell_last_loss(&mut self, id: SinkId, closed: bool) -> Result<(), LoggerError> {
        let Some(sink) = self.sinks.get_mut(&id) else { return Ok(()) };
        let told = sink.loss.tell_last(closed);
        self.tell_loss(id, told)
    }

    fn tell_loss(&mut self, sink: SinkId, told: Option<Told>) -> Result<(), LoggerError> {
        match told {
            None => Ok(()),
            Some(Told::Losing(bytes)) => self.tell(&FromLogger::Losing { sink, bytes }),
            Some(Told::Over(bytes)) => self.tell(&FromLogger::Dropped { sink, bytes }),
        }
    }
}
