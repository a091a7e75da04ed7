//! `taskmaster-logger`: reads what every program writes, keeps it in files that rotate, remembers the
//! last of it, and shows it to clients of `tail`.
//!
//! One thread, one loop over epoll with its [`timers`]. Bytes go in large blocks from pipes to files ([`pump`]), by
//! way of memory that outlives us ([`hand`]), and are parsed only where their lines must stay whole or are changed
//! ([`dress`]). [`cut`], [`record`] and [`ring`] decide with values, [`sink`], [`stream`] and [`follow`] hold one
//! descriptor each; [`pack`] compresses what was rotated, when [`pace`] has time for it. An [`outlet`] is where many
//! programs [`speak`] in whole [`lines`], which may be [`waiting`] there. [`given`] is what comes from the core.
//! [`clients`] serves those who look on, [`attach`] those who are attached: a [`viewer`] each, at the [`console`] of a
//! process, which has a [`screen`] and [`seats`]. It decides nothing about programs and names no path: the core gives
//! it numbers and open descriptors, and answers when a file is full.

mod attach;
mod clear;
mod clients;
mod console;
mod cut;
mod dress;
mod escapes;
mod follow;
mod given;
mod hand;
mod last;
mod lines;
mod losses;
mod outlet;
mod pace;
mod pack;
mod pump;
mod record;
mod ring;
mod screen;
mod seats;
mod sink;
mod speak;
mod stream;
mod tail;
#[cfg(test)]
mod tests;
mod timers;
mod viewer;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use crate::model::time::Moment;
use crate::protocol::logger::{FromLogger, StreamId, TailId, ToLogger};
use crate::protocol::spawner::SinkId;
use crate::system::clock;
use crate::system::poll::{Interest, Poll, Ready};
use crate::worker::channel::{Channel, ChannelError, Received};
use crate::worker::confine::{Allowance, LOGGER, work};

use attach::Attached;
use console::Console;
use follow::Client;
use given::Given;
use hand::Hand;
use lines::Lines;
use outlet::Outlet;
use pack::Pack;
use seats::Wish;
use sink::Sink;
use speak::Spoken;
use stream::Stream;
use tail::Tail;
use timers::Timer;

/// More than any supervisor starts; the hard limit is what counts.
const DESCRIPTORS: u64 = 1 << 16;
/// What is read at once, for all streams in turn.
const BUFFER: usize = 256 << 10;
/// What one stream may read before the others have their turn.
const TURN: usize = 1 << 20;
/// How many messages of the core are taken before streams have their turn.
const MESSAGES: usize = 64;
/// After so many bytes the core's messages are looked at again.
const BETWEEN_MESSAGES: usize = 4 << 20;
/// How long an unfinished line stands still before it is shown as it is.
const STILL: Duration = Duration::from_millis(200);

/// Runs until the core closes the channel.
pub fn main() -> ExitCode {
    let allowance = Allowance {
        descriptors: DESCRIPTORS,
        file_bytes: None,
        starts_threads: false,
        uses_network: false,
        calls: &LOGGER,
    };
    work("taskmaster-logger", allowance, run)
}

/// Why the logger cannot go on. The core starts another.
#[derive(Debug)]
pub enum LoggerError {
    Channel(ChannelError),
    Message(String),
    Io(io::Error),
}

impl fmt::Display for LoggerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(error) => error.fmt(f),
            Self::Message(what) => f.write_str(what),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for LoggerError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Logger {
    channel: Channel,
    channel_token: u64,
    channel_interest: Interest,
    poll: Poll,
    sinks: BTreeMap<SinkId, Sink>,
    /// Where many programs speak.
    spoken: BTreeMap<SinkId, Spoken>,
    streams: BTreeMap<StreamId, Stream>,
    tails: BTreeMap<TailId, Tail>,
    clients: BTreeMap<u64, Client>,
    attached: Attached,
    /// Which stream a token of epoll means.
    tokens: BTreeMap<u64, StreamId>,
    timers: BTreeSet<(Moment, Timer)>,
    /// For what is looked at, and for what goes into no file.
    buffer: Vec<u8>,
    /// From the core, before the first stream.
    hand: Option<Hand>,
    /// The core has given all that an earlier logger had.
    has_begun: bool,
    /// Files that wait until what an earlier logger had in hand is where it belongs.
    later: Vec<(Given, Vec<OwnedFd>)>,
    /// What is compressed, when there is time.
    pack: Option<Pack>,
    /// The core waits for `Drained`.
    draining: bool,
    /// Bytes read since the core's messages were last looked at.
    moved: usize,
    now: Moment,
}

/// Whether the core is still there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Core {
    Here,
    Gone,
}

/// Serves the core at the other end of the channel until it closes it.
///
/// # Errors
/// When the core sends nonsense, or the kernel has no descriptors left.
pub fn run(channel: Channel) -> Result<(), LoggerError> {
    let mut logger = Logger::new(channel)?;
    let result = logger.serve();
    // The core is gone: what has come so far is still written.
    logger.write_out();
    match result {
        Err(LoggerError::Channel(ChannelError::Closed)) => Ok(()),
        other => other,
    }
}

impl Logger {
    fn new(channel: Channel) -> io::Result<Self> {
        let mut poll = Poll::new()?;
        let channel_token = poll.add(&channel, Interest::Read)?;
        Ok(Self {
            channel,
            channel_token,
            channel_interest: Interest::Read,
            poll,
            sinks: BTreeMap::new(),
            spoken: BTreeMap::new(),
            streams: BTreeMap::new(),
            tails: BTreeMap::new(),
            clients: BTreeMap::new(),
            attached: Attached::default(),
            tokens: BTreeMap::new(),
            timers: BTreeSet::new(),
            buffer: vec![0; BUFFER],
            hand: None,
            has_begun: false,
            later: Vec::new(),
            pack: None,
            draining: false,
            moved: 0,
            now: clock::now(),
        })
    }

    fn serve(&mut self) -> Result<(), LoggerError> {
        self.tell(&FromLogger::Ready)?;
        loop {
            self.now = clock::now();
            let due = self.timers.first().map(|(due, _)| due.since(self.now));
            let ready = self.poll.wait(if self.pack.is_some() { Some(Duration::ZERO) } else { due })?;
            let idle = ready.is_empty();
            self.now = clock::now();
            // The core first: what it says can change what there is to do.
            if ready.iter().any(|one| one.token == self.channel_token) && self.listen()? == Core::Gone {
                return Ok(());
            }
            for one in ready {
                self.attend(one)?;
                if self.moved >= BETWEEN_MESSAGES && self.listen()? == Core::Gone {
                    return Ok(());
                }
            }
            self.expire()?;
            self.pack_on(idle)?;
            self.flush_channel()?;
        }
    }

    fn attend(&mut self, ready: Ready) -> Result<(), LoggerError> {
        if let Some(stream) = self.tokens.get(&ready.token).copied() {
            self.moved += self.pump(stream, TURN)?;
        } else if self.clients.contains_key(&ready.token) {
            self.attend_client(ready);
        } else if let Some(outlet) = self.outlet_of(ready.token) {
            self.flush_outlet(outlet)?;
        } else {
            self.attend_attached(ready);
        }
        Ok(())
    }

    fn tell(&mut self, message: &FromLogger) -> Result<(), LoggerError> {
        self.channel.send(message, Vec::new()).map_err(LoggerError::Channel)
    }

    fn flush_channel(&mut self) -> Result<(), LoggerError> {
        self.channel.flush().map_err(LoggerError::Channel)?;
        let interest = if self.channel.queued() > 0 { Interest::Both } else { Interest::Read };
        if interest != self.channel_interest {
            self.poll.change(&self.channel, self.channel_token, interest)?;
            self.channel_interest = interest;
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<Core, LoggerError> {
        self.moved = 0;
        for _ in 0..MESSAGES {
            match self.channel.receive::<ToLogger>() {
                Ok(Some(received)) => self.obey(received)?,
                Ok(None) => break,
                Err(ChannelError::Closed) => return Ok(Core::Gone),
                Err(error) => return Err(LoggerError::Channel(error)),
            }
        }
        Ok(Core::Here)
    }

    fn obey(&mut self, received: Received<ToLogger>) -> Result<(), LoggerError> {
        let Received { message, descriptors, .. } = received;
        if !matches!(message, ToLogger::Hand | ToLogger::Outlet { .. } | ToLogger::Sink { .. }) {
            self.settle()?;
        }
        match message {
            ToLogger::Begin => self.begin()?,
            ToLogger::Hand => {
                let all = descriptors.try_into().map_err(|_| missing("Hand"))?;
                self.hand = Some(Hand::new(all)?);
            }
            ToLogger::Outlet { sink, kind, dropping } => {
                let way = descriptors.into_iter().next();
                self.spoken.insert(sink, Spoken::new(Outlet::new(kind, way, dropping, self.now)));
            }
            ToLogger::Dialled { sink, errno } => {
                self.dialled(sink, descriptors.into_iter().next().ok_or(errno))?;
            }
            ToLogger::Sink { sink, settings, name, rotated, dropping } => {
                self.take_sink(Given { sink, settings, name, rotated, dropping }, descriptors)?;
            }
            ToLogger::Settings { sink, settings } => {
                if let Some(sink) = self.sinks.get_mut(&sink) {
                    sink.set(settings);
                }
            }
            ToLogger::Kept { sink } => {
                if let Some(known) = self.sinks.get_mut(&sink) {
                    let wrote = known.kept(self.now);
                    self.tell_written(sink, wrote)?;
                }
                self.resume(sink)?;
            }
            ToLogger::Close { sink } => self.close_sink(sink)?,
            ToLogger::Stream { stream, tail, process, channel, sink, voice } => {
                let pipe = only(descriptors, "Stream")?;
                self.pump_earlier(tail)?;
                let known = self.tails.entry(tail).or_default();
                (known.process, known.channel) = (process, channel);
                if self.hand.is_none() {
                    return Err(missing("Hand"));
                }
                if self.streams.contains_key(&stream) {
                    return Err(LoggerError::Message(format!("stream {} twice", stream.0)));
                }
                let mut known = Stream::new(pipe, tail, sink.filter(|_| voice.is_none()));
                known.lines = sink.zip(voice.map(Lines::new));
                self.streams.insert(stream, known);
                self.link(stream)?;
            }
            ToLogger::Voice { stream, voice } => {
                if let Some((_, lines)) = self.streams.get_mut(&stream).and_then(|stream| stream.lines.as_mut()) {
                    lines.voice = voice;
                }
            }
            ToLogger::Abandon { stream } => self.abandon(stream)?,
            ToLogger::Forget { tail } => self.forget(tail),
            ToLogger::Tail { tails, lines, follow } => {
                self.take_client(&tails, lines, follow, only(descriptors, "Tail")?)?;
            }
            ToLogger::LastBytes { tail, bytes, before } => {
                self.give_last_bytes(tail, bytes, before, only(descriptors, "LastBytes")?)?;
            }
            ToLogger::Console { console, process, outputs, input, resumed } => {
                let input = match input {
                    Some(kind) => Some((kind, only(descriptors, "Console")?)),
                    None => None,
                };
                self.open_console(console, Console::new(process, outputs, input), resumed);
            }
            ToLogger::Attach { console, read_only, share, size } => {
                let wish = Wish::of(read_only, share);
                self.take_viewer(console, wish, size, only(descriptors, "Attach")?)?;
            }
            ToLogger::Exited { console, how } => self.close_console(console, &how)?,
            ToLogger::Clear { ticket, tails, sinks } => self.clear(ticket, &tails, &sinks)?,
            ToLogger::Compress { sink } => {
                let [source, target] = descriptors.try_into().map_err(|_| missing("Compress"))?;
                self.begin_pack(sink, source, target)?;
            }
            ToLogger::Drain => {
                self.draining = true;
                for stream in self.streams.values_mut() {
                    stream.to_drain = Some(stream::PIPE_MAX);
                }
                self.drain()?;
            }
        }
        Ok(())
    }
}

fn missing(message: &str) -> LoggerError {
    LoggerError::Message(format!("the message {message} came without its descriptors, or not at all"))
}

/// The descriptor that belongs to a message.
fn only(descriptors: Vec<OwnedFd>, message: &str) -> Result<OwnedFd, LoggerError> {
    descriptors.into_iter().next().ok_or_else(|| missing(message))
}
