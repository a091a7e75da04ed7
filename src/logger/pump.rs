//! From the pipe to the file: how much is taken, what stays in the pipe, what happens when the file is full,
//! and how a stream ends.
//!
//! No more is taken than fits into the file, so nothing waits here while the core rotates it: what is not
//! taken stays in the pipe, and the pipe holds its writer back. Where lines must stay whole, an unfinished one
//! stays in the pipe, too, for a while.

use crate::protocol::logger::{FromLogger, StreamId};
use crate::protocol::spawner::SinkId;
use crate::system::poll::Interest;

use super::cut::Choice;
use super::dress;
use super::hand::{CAPACITY, Hand};
use super::record::Dress;
use super::sink::{Sink, Wrote};
use super::speak::Spoken;
use super::stream::{Found, PIPE_MAX};
use super::tail::Tail;
use super::{Logger, LoggerError, STILL, Timer};

/// What is read at once where somebody looks on: a client needs some time to keep up.
const FOLLOWED_READ: usize = 64 << 10;
/// What is looked at, at most, before it is taken: dressed, it can be many times as long.
const LOOK: usize = 128 << 10;

/// What came of one step.
enum Step {
    Read { count: usize, more: bool },
    Again,
    Stop,
}

impl Logger {
    /// Reads a stream until it is dry, its file full or `budget` used up; gives how much was read.
    pub(super) fn pump(&mut self, id: StreamId, budget: usize) -> Result<usize, LoggerError> {
        let mut total = 0;
        loop {
            match self.step(id, budget - total)? {
                Step::Again => {}
                Step::Read { count, more } => {
                    total += count;
                    if !more || total >= budget {
                        return Ok(total);
                    }
                }
                Step::Stop => return Ok(total),
            }
        }
    }

    fn step(&mut self, id: StreamId, most: usize) -> Result<Step, LoggerError> {
        let Some(stream) = self.streams.get(&id) else { return Ok(Step::Stop) };
        let followed = self.tails.get(&stream.tail).is_some_and(Tail::is_watched);
        let most = most.min(if followed { FOLLOWED_READ } else { CAPACITY });
        let Some(sink_id) = stream.sink else { return self.only_show(id, most) };
        let Some(sink) = self.sinks.get_mut(&sink_id) else { return Ok(Step::Stop) };
        if sink.is_waiting() || sink.owes_another(id, self.now) {
            return Ok(Step::Stop);
        }
        if sink.is_astray(self.now) {
            return self.overflow(id, sink_id, Self::ask_where);
        }
        if sink.takes_lines() {
            return self.step_by_lines(id, sink_id, most);
        }
        let (room, dress) = (sink.room(self.now), sink.dress());
        // It may have held a line while others wrote here, too.
        self.watch_all(id)?;
        let most = usize::try_from(room).unwrap_or(usize::MAX).min(most);
        if most == 0 {
            return self.overflow(id, sink_id, Self::rotate);
        }
        match self.carry_over(id, sink_id, most, dress)? {
            Found::Bytes(count) => {
                let draining = self.streams.get(&id).is_some_and(|stream| stream.to_drain.is_some());
                Ok(Step::Read { count, more: draining || (count == most && !followed) })
            }
            Found::Nothing => self.dry(id),
            Found::End => self.end(id),
        }
    }

    /// Reads what goes into no file.
    fn only_show(&mut self, id: StreamId, most: usize) -> Result<Step, LoggerError> {
        self.watch_all(id)?;
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(Step::Stop) };
        let mut buffer = std::mem::take(&mut self.buffer);
        let most = most.min(buffer.len());
        let found = stream.read(&mut buffer[..most]);
        let draining = stream.to_drain.is_some();
        let mut spoken = Ok(());
        if let Found::Bytes(count) = found {
            self.show(id, &buffer[..count]);
            spoken = self.speak(id, &buffer[..count]);
        }
        self.buffer = buffer;
        spoken?;
        match found {
            Found::Bytes(count) => {
                self.count_drained(id, count);
                Ok(Step::Read { count, more: draining || count == most })
            }
            Found::Nothing => self.dry(id),
            Found::End => self.end(id),
        }
    }

    /// Where lines must stay whole: looks first, then takes whole lines.
    fn step_by_lines(&mut self, id: StreamId, sink_id: SinkId, most: usize) -> Result<Step, LoggerError> {
        let (Some(stream), Some(sink)) = (self.streams.get_mut(&id), self.sinks.get_mut(&sink_id)) else {
            return Ok(Step::Stop);
        };
        let Some(hand) = self.hand.as_mut() else { return Ok(Step::Stop) };
        let most = most.min(LOOK);
        let count = match stream.look(hand, &mut self.buffer[..most]) {
            Found::Bytes(count) => count,
            Found::Nothing => return self.dry(id),
            Found::End => return self.end(id),
        };
        let bytes = &self.buffer[..count];
        let stands_still = std::mem::take(&mut stream.flush) && stream.held == count;
        let must = stands_still || stream.empty_out || stream.to_drain.is_some();
        let (page, dress) = (sink.page(self.now), sink.dress());
        let held_max = stream.held_max(count, hand);
        let mut choice = page.choose(bytes, held_max, must);
        if choice == Choice::Hold && stream.is_left() {
            choice = page.choose(bytes, held_max, true);
        }
        match choice {
            Choice::Take(count) => {
                let count = if dress.strip_ansi { Some(dress::before_begun(&bytes[..count])) } else { None }
                    .filter(|before| *before > 0)
                    .unwrap_or(count);
                self.watch_all(id)?;
                match self.carry_over(id, sink_id, count, dress)? {
                    Found::Bytes(count) => Ok(Step::Read { count, more: true }),
                    Found::Nothing => self.dry(id),
                    Found::End => self.end(id),
                }
            }
            Choice::Hold => self.hold(id, count),
            Choice::Rotate => Ok(if self.rotate(sink_id)? { Step::Stop } else { Step::Again }),
        }
    }

    /// Takes bytes out of a pipe and puts them into their file, so that at no moment a death could lose or
    /// double one of them.
    fn carry_over(&mut self, id: StreamId, sink_id: SinkId, most: usize, dress: Dress) -> Result<Found, LoggerError> {
        // Without it no stream is accepted.
        let Some(mut hand) = self.hand.take() else { return Ok(Found::Nothing) };
        let result = self.carry_in(&mut hand, id, sink_id, most, dress);
        self.hand = Some(hand);
        result
    }

    fn carry_in(
        &mut self,
        hand: &mut Hand,
        id: StreamId,
        sink_id: SinkId,
        most: usize,
        dress: Dress,
    ) -> Result<Found, LoggerError> {
        let (Some(stream), Some(sink)) = (self.streams.get_mut(&id), self.sinks.get_mut(&sink_id)) else {
            return Ok(Found::Nothing);
        };
        hand.note(&sink.record(dress))?;
        let found = if sink.takes_lines() { stream.take_whole(hand, most) } else { stream.take(hand, most) };
        if let Found::Bytes(count) = found {
            sink.has_paid(id);
            self.put(id, &dress.apply(hand.bytes()))?;
            self.show(id, hand.bytes());
            hand.done()?;
            self.count_drained(id, count);
        }
        Ok(found)
    }

    /// Nothing is left to read.
    fn dry(&mut self, id: StreamId) -> Result<Step, LoggerError> {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.flush = false;
            stream.empty_out = false;
        }
        self.watch_all(id)?;
        self.count_drained(id, PIPE_MAX);
        Ok(Step::Stop)
    }

    /// Another file is needed, but only if there is more to write.
    fn overflow(
        &mut self,
        id: StreamId,
        sink: SinkId,
        ask: fn(&mut Self, SinkId) -> Result<bool, LoggerError>,
    ) -> Result<Step, LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(Step::Stop) };
        match stream.state() {
            Found::Nothing => self.dry(id),
            Found::End => self.end(id),
            Found::Bytes(_) => Ok(if ask(self, sink)? { Step::Stop } else { Step::Again }),
        }
    }

    /// Leaves the unfinished line in the pipe: the next bytes wake us, or its time is over.
    fn hold(&mut self, id: StreamId, length: usize) -> Result<Step, LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(Step::Stop) };
        stream.held = length;
        if let Some(token) = stream.token
            && !std::mem::replace(&mut stream.holds, true)
        {
            self.poll.change(&*stream, token, Interest::More)?;
        }
        self.arm(id);
        Ok(Step::Stop)
    }

    /// Watches a stream for all that lies in it, not only for what is new.
    fn watch_all(&mut self, id: StreamId) -> Result<(), LoggerError> {
        if let Some(stream) = self.streams.get_mut(&id)
            && std::mem::take(&mut stream.holds)
            && let Some(token) = stream.token
        {
            self.poll.change(&*stream, token, Interest::Read)?;
        }
        Ok(())
    }

    /// Makes room: empties the file, or asks for a new one (`true`) and leaves its streams unread till then.
    fn rotate(&mut self, id: SinkId) -> Result<bool, LoggerError> {
        let Some(sink) = self.sinks.get_mut(&id) else { return Ok(false) };
        let Some(hand) = self.hand.as_mut() else { return Ok(false) };
        if !sink.rotate(hand, self.now) {
            return Ok(false);
        }
        self.wait_for(id, &FromLogger::Rotate { sink: id })?;
        Ok(true)
    }

    /// The file has lost its name.
    fn ask_where(&mut self, id: SinkId) -> Result<bool, LoggerError> {
        if let Some(sink) = self.sinks.get_mut(&id) {
            sink.ask_where();
        }
        self.wait_for(id, &FromLogger::Astray { sink: id })?;
        Ok(true)
    }

    /// Asks the core, and leaves the streams of a file unread until it answers.
    fn wait_for(&mut self, id: SinkId, question: &FromLogger) -> Result<(), LoggerError> {
        for stream in self.sinks.get(&id).map(|sink| sink.streams.clone()).unwrap_or_default() {
            self.unwatch(stream);
        }
        self.tell(question)
    }

    /// After the core's answer.
    pub(super) fn resume(&mut self, id: SinkId) -> Result<(), LoggerError> {
        let Some(sink) = self.sinks.get(&id) else { return Ok(()) };
        if sink.is_waiting() {
            return Ok(());
        }
        for stream in sink.streams.clone() {
            self.watch(stream)?;
        }
        self.drain()
    }

    /// Writes what is known to fit.
    fn put(&mut self, id: StreamId, bytes: &[u8]) -> Result<(), LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let Some(sink_id) = stream.sink else { return Ok(()) };
        let Some(sink) = self.sinks.get_mut(&sink_id) else { return Ok(()) };
        let part = stream.resumable(bytes);
        sink.loss.count((bytes.len() - part.len()) as u64);
        if part.is_empty() {
            self.arm_loss(sink_id);
            return Ok(());
        }
        stream.given(part);
        let wrote = sink.write(part, self.now);
        if wrote == Wrote::Dropped {
            stream.lost();
        }
        self.tell_written(sink_id, wrote)
    }

    /// All write ends are closed and all is read.
    fn end(&mut self, id: StreamId) -> Result<Step, LoggerError> {
        self.unwatch(id);
        self.speak_rest(id)?;
        if let Some(stream) = self.streams.remove(&id) {
            if let Some(sink) = stream.sink.and_then(|sink| self.sinks.get_mut(&sink)) {
                sink.streams.retain(|known| *known != id);
                sink.has_paid(id);
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
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.held_since = self.now;
            if !std::mem::replace(&mut stream.timed, true) {
                self.timers.insert((self.now + STILL, Timer::Held(id)));
            }
        }
    }

    pub(super) fn expire_held(&mut self, id: StreamId) -> Result<(), LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let due = stream.held_since + STILL;
        stream.timed = stream.holds && due > self.now;
        if stream.timed {
            self.timers.insert((due, Timer::Held(id)));
        } else if stream.holds {
            stream.flush = true;
            self.pump(id, CAPACITY)?;
        }
        Ok(())
    }

    /// Counts what was read towards `Drain`.
    fn count_drained(&mut self, id: StreamId, count: usize) {
        if let Some(stream) = self.streams.get_mut(&id)
            && let Some(left) = stream.to_drain
        {
            stream.to_drain = Some(left.saturating_sub(count)).filter(|left| *left > 0);
        }
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
        if !unfinished && !self.spoken.values().any(Spoken::may_be_heard) {
            self.draining = false;
            for stream in self.streams.values_mut() {
                stream.to_drain = None;
            }
            self.give_up_outlets()?;
            self.tell_last_losses()?;
            self.tell(&FromLogger::Drained)?;
        }
        Ok(())
    }

    /// Reads what is in a pipe now, an unfinished line included.
    pub(super) fn pump_out(&mut self, id: StreamId) -> Result<(), LoggerError> {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.empty_out = true;
            self.pump(id, PIPE_MAX)?;
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.empty_out = false;
        }
        Ok(())
    }

    /// Closes a pipe that its writers keep open, after what is in it now.
    pub(super) fn abandon(&mut self, id: StreamId) -> Result<(), LoggerError> {
        self.pump_out(id)?;
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
            self.pump_out(stream)?;
        }
        self.tell_last_loss(id, true)?;
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
        self.speak_out();
    }
}
