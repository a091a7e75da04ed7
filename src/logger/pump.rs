//! From the pipe to the file: how much is read, what is kept back, what happens when the file is full,
//! and how a stream ends.
//!
//! No more is read than fits into the file, so nothing waits here while the core rotates it: what is not
//! read stays in the pipe, and the pipe holds its writer back. Only several writers of one file keep
//! something back, their unfinished lines.

use crate::protocol::logger::{FromLogger, StreamId};
use crate::protocol::spawner::SinkId;

use super::cut::{self, Next};
use super::sink::{Sink, Wrote};
use super::stream::{Found, PIPE_MAX};
use super::tail::Tail;
use super::{Logger, LoggerError, STILL, Timer};

/// What is read at once where somebody looks on: a client needs some time to keep up.
const FOLLOWED_READ: usize = 64 << 10;

/// What came of one step.
enum Step {
    Read { count: usize, more: bool },
    Again,
    Stop,
}

impl Logger {
    /// Reads a stream until it is dry, its file full or `budget` used up; gives how much was read.
    pub(super) fn pump(&mut self, id: StreamId, budget: usize) -> Result<usize, LoggerError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut total = 0;
        let result = loop {
            match self.step(id, &mut buffer, budget - total) {
                Ok(Step::Again) => {}
                Ok(Step::Read { count, more }) => {
                    total += count;
                    if !more || total >= budget {
                        break Ok(total);
                    }
                }
                Ok(Step::Stop) => break Ok(total),
                Err(error) => break Err(error),
            }
        };
        self.buffer = buffer;
        result
    }

    fn step(&mut self, id: StreamId, buffer: &mut [u8], most: usize) -> Result<Step, LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(Step::Stop) };
        let followed = self.tails.get(&stream.tail).is_some_and(Tail::is_watched);
        let mut most = most.min(if followed { FOLLOWED_READ } else { buffer.len() });
        if let Some(sink_id) = stream.sink {
            let Some(sink) = self.sinks.get_mut(&sink_id) else { return Ok(Step::Stop) };
            if sink.is_waiting() {
                return Ok(Step::Stop);
            }
            match cut::next(sink.room(self.now), stream.held.len(), sink.is_empty(), most) {
                Next::Read(count) => most = count,
                Next::Split => return Ok(if self.write_held(id)? { Step::Again } else { Step::Stop }),
                Next::Rotate => return self.overflow(id, sink_id),
            }
        }
        let draining = stream.to_drain.is_some();
        match stream.read(&mut buffer[..most]) {
            Found::Bytes(count) => {
                self.take(id, &buffer[..count])?;
                self.count_drained(id, count)?;
                Ok(Step::Read { count, more: draining || (count == most && !followed) })
            }
            Found::Nothing => {
                self.count_drained(id, PIPE_MAX)?;
                Ok(Step::Stop)
            }
            Found::End => self.end(id),
        }
    }

    /// The file is full. Whether there is more to write is known only by reading: one byte, which begins
    /// the line that is kept back.
    fn overflow(&mut self, id: StreamId, sink: SinkId) -> Result<Step, LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(Step::Stop) };
        let mut byte = [0];
        match stream.read(&mut byte) {
            Found::Nothing => {
                self.count_drained(id, PIPE_MAX)?;
                return Ok(Step::Stop);
            }
            Found::End => return self.end(id),
            Found::Bytes(_) => stream.held.extend_from_slice(&byte),
        }
        self.show(id, &byte);
        self.arm(id);
        Ok(if self.rotate(sink)? { Step::Stop } else { Step::Again })
    }

    /// Makes room: empties the file, or asks for a new one (`true`) and leaves its streams unread till then.
    fn rotate(&mut self, id: SinkId) -> Result<bool, LoggerError> {
        let Some(sink) = self.sinks.get_mut(&id) else { return Ok(false) };
        if !sink.rotate(self.now) {
            return Ok(false);
        }
        for stream in sink.streams.clone() {
            self.unwatch(stream);
        }
        self.tell(&FromLogger::Rotate { sink: id })?;
        Ok(true)
    }

    /// After the core's answer.
    pub(super) fn resume(&mut self, id: SinkId) -> Result<(), LoggerError> {
        let Some(sink) = self.sinks.get(&id) else { return Ok(()) };
        if sink.is_waiting() {
            return Ok(());
        }
        for stream in sink.streams.clone() {
            self.watch(stream)?;
            self.arm(stream);
        }
        self.drain()
    }

    /// Gives what was read to those who look on and to the file.
    fn take(&mut self, id: StreamId, block: &[u8]) -> Result<(), LoggerError> {
        self.show(id, block);
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let Some(sink) = stream.sink.and_then(|sink| self.sinks.get(&sink)) else { return Ok(()) };
        let count = if sink.is_shared() { cut::whole_lines(stream.held.len(), block) } else { block.len() };
        if count > 0 {
            let held = std::mem::take(&mut stream.held);
            self.put(id, &held)?;
            self.put(id, &block[..count])?;
        }
        if count < block.len()
            && let Some(stream) = self.streams.get_mut(&id)
        {
            stream.held.extend_from_slice(&block[count..]);
            self.arm(id);
        }
        Ok(())
    }

    /// Writes what is known to fit, and tells the core when writing begins to fail or works again.
    fn put(&mut self, id: StreamId, bytes: &[u8]) -> Result<(), LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let Some(sink_id) = stream.sink else { return Ok(()) };
        let Some(sink) = self.sinks.get_mut(&sink_id) else { return Ok(()) };
        let part = stream.resumable(bytes);
        sink.count_dropped(bytes.len() - part.len());
        if part.is_empty() {
            return Ok(());
        }
        stream.given(part);
        match sink.write(part, self.now) {
            Wrote::All => Ok(()),
            Wrote::Dropped => {
                stream.lost();
                Ok(())
            }
            Wrote::Recovered(bytes) => self.tell(&FromLogger::Dropped { sink: sink_id, bytes }),
            Wrote::Began(errno) => {
                for stream in &sink.streams {
                    if let Some(stream) = self.streams.get_mut(stream) {
                        stream.lost();
                    }
                }
                self.tell(&FromLogger::Dropping { sink: sink_id, errno })
            }
        }
    }

    /// Writes the unfinished line; `false`: the file is full, and it waits for another.
    fn write_held(&mut self, id: StreamId) -> Result<bool, LoggerError> {
        loop {
            let Some(stream) = self.streams.get_mut(&id) else { return Ok(true) };
            let Some(sink_id) = stream.sink else { return Ok(true) };
            let Some(sink) = self.sinks.get_mut(&sink_id) else { return Ok(true) };
            if stream.held.is_empty() {
                return Ok(true);
            }
            if sink.is_waiting() {
                return Ok(false);
            }
            let room = sink.room(self.now);
            let length = stream.held.len() as u64;
            if length <= room || (room > 0 && length > sink.max_bytes()) {
                let count = usize::try_from(room).unwrap_or(usize::MAX).min(stream.held.len());
                let rest = stream.held.split_off(count);
                let held = std::mem::replace(&mut stream.held, rest);
                self.put(id, &held)?;
            } else if self.rotate(sink_id)? {
                return Ok(false);
            }
        }
    }

    /// All write ends are closed and all is read: it ends as soon as its last line is written.
    fn end(&mut self, id: StreamId) -> Result<Step, LoggerError> {
        if !self.write_held(id)? {
            return Ok(Step::Stop);
        }
        self.unwatch(id);
        if let Some(stream) = self.streams.remove(&id) {
            if let Some(sink) = stream.sink.and_then(|sink| self.sinks.get_mut(&sink)) {
                sink.streams.retain(|known| *known != id);
            }
            if !self.streams.values().any(|other| other.tail == stream.tail) {
                self.show_unfinished(stream.tail, true);
            }
        }
        self.tell(&FromLogger::Ended { stream: id })?;
        Ok(Step::Stop)
    }

    /// Has a timer for what is kept back.
    fn arm(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.held.is_empty()
        {
            stream.held_since = self.now;
            if !std::mem::replace(&mut stream.timed, true) {
                self.timers.insert((self.now + STILL, Timer::Held(id)));
            }
        }
    }

    pub(super) fn expire_held(&mut self, id: StreamId) -> Result<(), LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let due = stream.held_since + STILL;
        stream.timed = !stream.held.is_empty() && due > self.now;
        if stream.timed {
            self.timers.insert((due, Timer::Held(id)));
            return Ok(());
        }
        self.write_held(id).map(drop)
    }

    /// Counts what was read towards `Drain`.
    fn count_drained(&mut self, id: StreamId, count: usize) -> Result<(), LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let Some(left) = stream.to_drain else { return Ok(()) };
        stream.to_drain = Some(left.saturating_sub(count));
        if stream.to_drain == Some(0)
            && self.write_held(id)?
            && let Some(stream) = self.streams.get_mut(&id)
        {
            stream.to_drain = None;
        }
        Ok(())
    }

    /// Reads all pipes empty, as far as their files can be written now; says so when all is done.
    pub(super) fn drain(&mut self) -> Result<(), LoggerError> {
        if !self.draining {
            return Ok(());
        }
        let open: Vec<StreamId> =
            self.streams.iter().filter(|(_, stream)| stream.to_drain.is_some()).map(|(id, _)| *id).collect();
        for id in open {
            self.pump(id, PIPE_MAX)?;
        }
        // A stream whose file is not known cannot be read; one that waits will be.
        let waits = |sink: &SinkId| self.sinks.get(sink).is_some_and(Sink::is_waiting);
        let unfinished =
            self.streams.values().any(|stream| stream.to_drain.is_some() && stream.sink.as_ref().is_some_and(waits));
        if !unfinished {
            self.draining = false;
            for stream in self.streams.values_mut() {
                stream.to_drain = None;
            }
            self.tell(&FromLogger::Drained)?;
        }
        Ok(())
    }

    /// Closes a pipe that its writers keep open, after what is in it now.
    pub(super) fn abandon(&mut self, id: StreamId) -> Result<(), LoggerError> {
        if self.streams.contains_key(&id) {
            self.pump(id, PIPE_MAX)?;
        }
        if self.streams.contains_key(&id) {
            self.end(id)?;
        }
        Ok(())
    }

    /// Forgets a file after its last bytes. What still writes there only feeds its tail: a program never
    /// waits for a file that is gone.
    pub(super) fn close_sink(&mut self, id: SinkId) -> Result<(), LoggerError> {
        let Some(sink) = self.sinks.get_mut(&id) else { return Ok(()) };
        sink.lift_limit();
        for stream in sink.streams.clone() {
            self.pump(stream, PIPE_MAX)?;
            self.write_held(stream)?;
        }
        let Some(sink) = self.sinks.remove(&id) else { return Ok(()) };
        for id in sink.streams {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.sink = None;
            }
            self.watch(id)?;
        }
        self.drain()
    }

    /// At the end: what is in the pipes is written, however large the files grow.
    pub(super) fn write_out(&mut self) {
        let sinks: Vec<SinkId> = self.sinks.keys().copied().collect();
        for id in sinks {
            // Nobody hears of an error any more.
            let _ = self.close_sink(id);
        }
    }
}
