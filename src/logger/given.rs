//! Files and streams as the core gives them: what an earlier logger has left for a file is done first, then a stream
//! and its file come together, and the stream is watched as long as the file takes something.

use std::fs::File;
use std::os::fd::OwnedFd;

use crate::protocol::logger::{FileName, FromLogger, SinkSettings, StreamId};
use crate::protocol::spawner::SinkId;
use crate::system::poll::Interest;

use super::hand::Hand;
use super::record::Record;
use super::ring::RING_MAX;
use super::sink::{Sink, Wrote};
use super::{Logger, LoggerError, missing};

/// What the core says of a file.
#[derive(Clone, Copy)]
pub(super) struct Given {
    pub(super) sink: SinkId,
    pub(super) settings: SinkSettings,
    pub(super) name: Option<FileName>,
    pub(super) rotated: bool,
    pub(super) dropping: bool,
}

impl Logger {
    pub(super) fn take_sink(&mut self, given: Given, descriptors: Vec<OwnedFd>) -> Result<(), LoggerError> {
        let Given { sink: id, settings, name, rotated, dropping } = given;
        let mut descriptors = descriptors.into_iter();
        let file = descriptors.next().ok_or_else(|| missing("Sink"))?;
        let before = descriptors.next().map(File::from);
        let hand = self.hand.as_mut().ok_or_else(|| missing("Hand"))?;
        let replaces = before.is_some();
        // What is in hand for another file is put there first: to move a line takes the hand, too.
        if replaces && hand.left().sink().is_some_and(|left| left != id) {
            self.later.push((given, before.into_iter().map(OwnedFd::from).chain([file]).rev().collect()));
            return Ok(());
        }
        if let Some(known) = self.sinks.get_mut(&id) {
            known.replace(file, settings, name, rotated, hand, self.now)?;
            self.arm_loss(id);
            self.resume(id)?;
        } else {
            let mut sink = Sink::new(id, file, settings, name, dropping);
            let rest = sink.recover(before.as_ref(), rotated, hand)?;
            let wrote = if rest.is_empty() { Wrote::All } else { sink.write(&rest, self.now) };
            hand.forget_left_of(id)?;
            self.sinks.insert(id, sink);
            self.tell_written(id, wrote)?;
            let waiting: Vec<StreamId> =
                self.streams.iter().filter(|(_, stream)| stream.sink == Some(id)).map(|(id, _)| *id).collect();
            for stream in waiting {
                self.link(stream)?;
            }
        }
        if replaces {
            self.tell(&FromLogger::Moved { sink: id })?;
        }
        match self.hand.as_ref().map(Hand::left) {
            Some(Record::Nothing) => self.settle(),
            _ => Ok(()),
        }
    }

    /// The core has given all files that an earlier logger had: what that one left for others is past.
    pub(super) fn settle(&mut self) -> Result<(), LoggerError> {
        if let Some(hand) = self.hand.as_mut()
            && hand.left() != Record::Nothing
        {
            hand.forget_left()?;
        }
        for (given, descriptors) in std::mem::take(&mut self.later) {
            self.take_sink(given, descriptors)?;
        }
        Ok(())
    }

    /// Connects a stream with its file, once both are there, and begins to read it.
    pub(super) fn link(&mut self, id: StreamId) -> Result<(), LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if let Some(sink) = stream.sink {
            let Some(sink) = self.sinks.get_mut(&sink) else { return Ok(()) };
            sink.join(id, self.now);
            if let Some(tail) = self.tails.get_mut(&stream.tail)
                && !std::mem::replace(&mut tail.used, true)
                && !sink.is_shared()
                && let Some((bytes, cut)) = sink.last_bytes(RING_MAX)
            {
                tail.ring.preload(&bytes, cut);
            }
        }
        self.watch(id)
    }

    /// The core has given everything: each file has all who write to it, and knows whether its lines must stay whole.
    pub(super) fn begin(&mut self) -> Result<(), LoggerError> {
        self.has_begun = true;
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            self.watch(stream)?;
        }
        Ok(())
    }

    /// Begins to read a stream, unless its file waits or is not there.
    pub(super) fn watch(&mut self, id: StreamId) -> Result<(), LoggerError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let waits = stream.sink.is_some_and(|sink| self.sinks.get(&sink).is_none_or(Sink::is_waiting));
        if self.has_begun && !waits && stream.token.is_none() {
            let token = self.poll.add(&*stream, Interest::Read)?;
            stream.token = Some(token);
            self.tokens.insert(token, id);
        }
        Ok(())
    }

    /// Leaves a stream unread. It is not watched at all: a hang-up would be told again and again.
    pub(super) fn unwatch(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && let Some(token) = stream.token.take()
        {
            stream.holds = false;
            self.poll.remove(&*stream);
            self.tokens.remove(&token);
        }
    }
}
