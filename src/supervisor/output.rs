//! The core's side of program output: which log files are open, which pipes are read, and what a logger
//! that is started anew must be given. The bytes themselves never come here.
//!
//! The core keeps a descriptor of every pipe and file of its own, so that a logger may die without a
//! program noticing and without a byte being lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::model::id::{Account, ProcessId};
use crate::model::program::Program;
use crate::model::template::Template;
use crate::model::time::Moment;
use crate::protocol::control::Channel;
use crate::protocol::logger::{ConsoleId, SinkSettings, StreamId, TailId, ToLogger};
use crate::protocol::spawner::{FilesSpec, Identity, OpenFile, SinkId};
use crate::system::{block, stdio};
use crate::worker::channel::Passed;

use super::consoles::ProgramInput;
use super::spec;

/// Log files in root's directories: readable for the program's group.
const LOG_MODE: u32 = 0o640;

/// One log file, whoever writes to it.
struct Sink {
    path: Template,
    identity: Identity,
    settings: SinkSettings,
    file: Option<Rc<OwnedFd>>,
    /// The file before it, as long as the logger may need it, and whether it was rotated away.
    before: Option<(Rc<OwnedFd>, bool)>,
    /// The logger cannot write it.
    dropping: bool,
    /// A clone is opening or rotating it.
    busy: bool,
    /// The clone that is at it has given us the new file already: what the logger says now is about that.
    delivered: bool,
    /// What the clone is at is a rotation.
    rotating: bool,
    /// To be rotated when it is not busy any more.
    rotate: bool,
    /// It cannot be rotated: not tried again before this moment, with a pause that grows.
    failing: Option<(Moment, Duration)>,
    /// To be opened anew when it is not busy any more.
    reopen: bool,
}

/// Our own standard output, as the logger writes it.
#[derive(Default)]
struct Outlet {
    /// `None`: it is the shell's screen, or cannot be opened. Then the bytes feed the tails.
    file: Option<Rc<OwnedFd>>,
    /// Its number, once a program writes there.
    sink: Option<SinkId>,
    dropping: bool,
}

/// Same path and same user: the same file.
type SinkKey = (Template, Option<Account>);

struct Stream {
    read_end: Rc<OwnedFd>,
    tail: TailId,
    process: String,
    channel: Channel,
    sink: Option<SinkId>,
}

/// One output of a process that is about to start.
pub struct Planned {
    pub channel: Channel,
    /// `None`: it only feeds the tail.
    pub sink: Option<SinkId>,
    pub read_end: Rc<OwnedFd>,
    /// The program's end, if it is a terminal.
    pub terminal: Option<Rc<OwnedFd>>,
}

/// What a process that is about to start is connected to.
pub struct Connected {
    pub outputs: Vec<Planned>,
    /// Where what is typed for it goes.
    pub input: Option<ProgramInput>,
}

/// What is to be done about a full log file.
pub enum Rotation {
    Do(FilesSpec),
    /// It has failed not long ago: the logger goes on with the file it has.
    NotYet,
    /// It is being done, or there is no such file.
    Nothing,
}

/// Where an output goes, as far as it can be emptied.
pub enum LogFile {
    Open(SinkId),
    Closed,
    None,
}

/// Pipes of one output that may be open at once: of the running life, and of ended ones.
const LIVES_KEPT: usize = 4;

/// The pauses between tries to rotate a file that cannot be.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The size of the pipe that a logger looks at others through.
const LARGE_PIPE: i32 = 1 << 20;

/// A message for the logger, with its descriptors.
pub type Message = (ToLogger, Vec<Passed>);

#[derive(Default)]
pub struct Output {
    /// What a logger works with, and the next one finds.
    hand: Option<Vec<Passed>>,
    outlet: Outlet,
    sinks: BTreeMap<SinkId, Sink>,
    by_key: HashMap<SinkKey, SinkId>,
    streams: BTreeMap<StreamId, Stream>,
    tails: BTreeMap<(ProcessId, Channel), TailId>,
    next: u64,
}

impl Output {
    /// Programs may write to our own standard output, which this leads to.
    pub fn with_outlet(file: Option<OwnedFd>) -> Self {
        let mut output = Self::default();
        output.outlet.file = file.map(Rc::new);
        output.outlet.sink = Some(SinkId(output.number()));
        output
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The number of another console.
    pub fn console(&mut self) -> ConsoleId {
        ConsoleId(self.number())
    }

    /// The file that an output of a process goes to; `None` is nowhere.
    pub fn sink_for(&mut self, log_dir: &Path, program: &Program, id: &ProcessId, channel: Channel) -> Option<SinkId> {
        if spec::is_console(program, channel) {
            return self.outlet.sink;
        }
        let path = spec::log_file(log_dir, program, id, channel)?;
        let key = (path.clone(), program.exec.user.clone());
        let settings = settings(program);
        if let Some(sink) = self.by_key.get(&key) {
            return Some(*sink);
        }
        let sink = SinkId(self.number());
        let identity = spec::identity(&program.exec);
        let known = Sink {
            path,
            identity,
            settings,
            file: None,
            before: None,
            dropping: false,
            busy: false,
            delivered: false,
            rotating: false,
            rotate: false,
            failing: None,
            reopen: false,
        };
        self.sinks.insert(sink, known);
        self.by_key.insert(key, sink);
        Some(sink)
    }

    /// The file that an output of a process goes to, if it is open.
    pub fn log_file(&self, log_dir: &Path, program: &Program, id: &ProcessId, channel: Channel) -> LogFile {
        let Some(path) = spec::log_file(log_dir, program, id, channel) else { return LogFile::None };
        let sink = self.by_key.get(&(path, program.exec.user.clone()));
        let is_open = |sink: &&SinkId| self.sinks.get(sink).is_some_and(|known| known.file.is_some());
        sink.filter(is_open).map_or(LogFile::Closed, |sink| LogFile::Open(*sink))
    }

    /// The request to open a file, unless it is open.
    pub fn to_open(&self, sink: SinkId) -> Option<OpenFile> {
        let known = self.sinks.get(&sink).filter(|known| known.file.is_none())?;
        Some(OpenFile { sink, path: known.path.clone(), mode: LOG_MODE })
    }

    /// A file was opened for the first time, rotated or reopened.
    ///
    /// The logger may die before it has heard of the new file, with bytes of the old one in hand: that one is
    /// kept until it says that it has moved.
    pub fn opened(&mut self, sink: SinkId, file: Rc<OwnedFd>, replaces: bool) -> Option<Message> {
        let known = self.sinks.get_mut(&sink)?;
        // Several starts can open one file at once: the first is as good as the others.
        if known.file.is_some() && !replaces {
            return None;
        }
        let old = known.file.replace(file);
        known.delivered = replaces;
        known.before = match (known.before.take(), old) {
            // Moved twice without a word of the logger: the first is the one it may have been writing.
            (Some((first, _)), _) => Some((first, false)),
            (None, old) => old.map(|old| (old, known.rotating)),
        };
        sink_message(sink, known)
    }

    /// The logger has moved to the file that it was given last.
    pub fn moved(&mut self, sink: SinkId) {
        if let Some(known) = self.sinks.get_mut(&sink) {
            known.before = None;
        }
    }

    /// The logger begins to drop what should go into this file, or writes it again. True if that is news.
    pub fn dropping(&mut self, sink: SinkId, dropping: bool) -> bool {
        if self.outlet.sink == Some(sink) {
            return std::mem::replace(&mut self.outlet.dropping, dropping) != dropping;
        }
        self.sinks.get_mut(&sink).is_some_and(|known| std::mem::replace(&mut known.dropping, dropping) != dropping)
    }

    /// The program that writes to this pipe runs now.
    ///
    /// Whoever may open the pipes of ended lives (a program of the same user, by /proc) could keep them all
    /// open: of each output only the last few are kept.
    pub fn attach(&mut self, id: &ProcessId, process: &str, planned: Planned) -> Vec<Message> {
        let stream = StreamId(self.number());
        let tail = self.tail(id, planned.channel);
        let known = Stream {
            read_end: planned.read_end,
            tail,
            process: process.to_owned(),
            channel: planned.channel,
            // A reload between request and execution may have closed it; then the bytes feed the tail.
            sink: planned.sink.filter(|sink| self.sinks.contains_key(sink) || self.is_outlet(*sink)),
        };
        let mut messages = vec![stream_message(stream, &known)];
        self.streams.insert(stream, known);
        let older: Vec<StreamId> =
            self.streams.iter().filter(|(_, known)| known.tail == tail).map(|(id, _)| *id).collect();
        for stream in older.iter().take(older.len().saturating_sub(LIVES_KEPT)) {
            self.streams.remove(stream);
            messages.push((ToLogger::Abandon { stream: *stream }, Vec::new()));
        }
        messages
    }

    /// The number of an output over all lives of its process.
    pub fn tail(&mut self, id: &ProcessId, channel: Channel) -> TailId {
        let key = (id.clone(), channel);
        if let Some(tail) = self.tails.get(&key) {
            return *tail;
        }
        let tail = TailId(self.number());
        self.tails.insert(key, tail);
        tail
    }

    /// The logger has read a pipe to its end.
    pub fn ended(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
    }

    /// The request for a rotation that the logger asked for: once at a time, and only of what exists.
    ///
    /// The new file reaches the logger before the clone that made it is over. Where much is written, the
    /// logger fills it in that time and asks again: that waits for the clone's end, it is not forgotten.
    pub fn rotate(&mut self, sink: SinkId, now: Moment) -> Rotation {
        let Some(known) = self.sinks.get_mut(&sink).filter(|known| known.file.is_some()) else {
            return Rotation::Nothing;
        };
        if known.busy {
            known.rotate |= known.delivered;
            return Rotation::Nothing;
        }
        if known.failing.is_some_and(|(until, _)| now < until) {
            return Rotation::NotYet;
        }
        known.busy = true;
        known.delivered = false;
        known.rotating = true;
        known.rotate = false;
        let file = OpenFile { sink, path: known.path.clone(), mode: LOG_MODE };
        Rotation::Do(FilesSpec { identity: known.identity.clone(), file, rotate: Some(known.settings.backups) })
    }

    /// A rotation or reopening has failed. True if that is news.
    pub fn has_failed(&mut self, sink: SinkId, now: Moment) -> bool {
        let Some(known) = self.sinks.get_mut(&sink) else { return false };
        let pause = known.failing.map_or(FIRST_PAUSE, |(_, pause)| (pause * 2).min(LONGEST_PAUSE));
        known.failing.replace((now + pause, pause)).is_none()
    }

    /// One has worked. True if that is news.
    pub fn has_worked(&mut self, sink: SinkId) -> bool {
        self.sinks.get_mut(&sink).is_some_and(|known| known.failing.take().is_some())
    }

    /// The requests that open every file anew, for logrotate.
    pub fn reopen_all(&mut self) -> Vec<FilesSpec> {
        let ids: Vec<SinkId> = self.sinks.keys().copied().collect();
        ids.into_iter().filter_map(|sink| self.reopen(sink)).collect()
    }

    fn reopen(&mut self, sink: SinkId) -> Option<FilesSpec> {
        let known = self.sinks.get_mut(&sink).filter(|known| known.file.is_some())?;
        if known.busy {
            known.reopen = true;
            return None;
        }
        known.busy = true;
        known.delivered = false;
        known.rotating = false;
        known.reopen = false;
        let file = OpenFile { sink, path: known.path.clone(), mode: LOG_MODE };
        Some(FilesSpec { identity: known.identity.clone(), file, rotate: None })
    }

    /// The clone that worked on a file is over; gives the next request, if one waits.
    pub fn finished(&mut self, sink: SinkId, now: Moment) -> Option<FilesSpec> {
        let known = self.sinks.get_mut(&sink)?;
        known.busy = false;
        if known.rotate {
            match self.rotate(sink, now) {
                Rotation::Do(spec) => Some(spec),
                Rotation::NotYet | Rotation::Nothing => None,
            }
        } else if known.reopen {
            self.reopen(sink)
        } else {
            None
        }
    }

    /// It is our own standard output, and can be written.
    fn is_outlet(&self, sink: SinkId) -> bool {
        self.outlet.sink == Some(sink) && self.outlet.file.is_some()
    }

    /// The path of a file, for messages.
    pub fn path(&self, sink: SinkId) -> String {
        if self.outlet.sink == Some(sink) {
            return "the supervisor's standard output".to_owned();
        }
        self.sinks.get(&sink).map_or_else(|| "a log file".to_owned(), |known| known.path.shown())
    }

    /// Makes what keeps the bytes that a logger has in hand, unless it is there.
    ///
    /// # Errors
    /// ENOMEM, EMFILE.
    pub fn have_hand(&mut self) -> io::Result<()> {
        if self.hand.is_none() {
            let (read, write) = stdio::output_pipe()?;
            stdio::set_nonblocking(&write, true)?;
            // As large as the largest that is looked at through it. A smaller one is slower, no more.
            let _ = stdio::enlarge_pipe(&write, LARGE_PIPE);
            self.hand = Some([block::memory()?, read, write].map(Rc::new).to_vec());
        }
        Ok(())
    }

    /// Everything that a logger needs that is started anew.
    pub fn everything(&self) -> Vec<Message> {
        let hand = self.hand.iter().map(|hand| (ToLogger::Hand, hand.clone()));
        let sinks = self.sinks.iter().filter_map(|(sink, known)| sink_message(*sink, known));
        let streams = self.streams.iter().map(|(stream, known)| stream_message(*stream, known));
        let outlet = self
            .outlet
            .sink
            .zip(self.outlet.file.as_ref())
            .map(|(sink, file)| (ToLogger::Outlet { sink, dropping: self.outlet.dropping }, vec![Rc::clone(file)]));
        hand.chain(outlet).chain(sinks).chain(streams).collect()
    }

    /// After a reload: settings that changed, and files and tails that nobody uses any more.
    pub fn configure<'a>(
        &mut self,
        log_dir: &Path,
        processes: impl Iterator<Item = (&'a ProcessId, &'a Program)>,
        starting: impl Iterator<Item = SinkId>,
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut used: BTreeSet<SinkId> = starting.collect();
        let mut kept = BTreeSet::new();
        for (id, program) in processes {
            kept.insert(id.clone());
            for channel in [Channel::Stdout, Channel::Stderr] {
                let Some(path) = spec::log_file(log_dir, program, id, channel) else { continue };
                let Some(sink) = self.by_key.get(&(path, program.exec.user.clone())).copied() else { continue };
                used.insert(sink);
                if let Some(known) = self.sinks.get_mut(&sink) {
                    let wanted = settings(program);
                    known.identity = spec::identity(&program.exec);
                    if known.settings != wanted {
                        known.settings = wanted;
                        messages.push((ToLogger::Settings { sink, settings: wanted }, Vec::new()));
                    }
                }
            }
        }
        used.extend(self.streams.values().filter_map(|stream| stream.sink));
        let unused: Vec<SinkId> =
            self.sinks.iter().filter(|(id, sink)| !used.contains(id) && !sink.busy).map(|(id, _)| *id).collect();
        for sink in unused {
            self.sinks.remove(&sink);
            self.by_key.retain(|_, known| *known != sink);
            messages.push((ToLogger::Close { sink }, Vec::new()));
        }
        let gone: Vec<(ProcessId, Channel)> = self.tails.keys().filter(|(id, _)| !kept.contains(id)).cloned().collect();
        for key in gone {
            if let Some(tail) = self.tails.remove(&key) {
                messages.push((ToLogger::Forget { tail }, Vec::new()));
            }
        }
        messages
    }
}

fn settings(program: &Program) -> SinkSettings {
    let watch = &program.watch;
    SinkSettings {
        max_bytes: watch.log_maxbytes,
        backups: watch.log_backups,
        timestamps: watch.log_timestamps,
        strip_ansi: watch.strip_ansi,
    }
}

fn sink_message(sink: SinkId, known: &Sink) -> Option<Message> {
    let mut files = vec![Rc::clone(known.file.as_ref()?)];
    files.extend(known.before.iter().map(|(file, _)| Rc::clone(file)));
    let rotated = known.before.as_ref().is_some_and(|(_, rotated)| *rotated);
    Some((ToLogger::Sink { sink, settings: known.settings, rotated, dropping: known.dropping }, files))
}

fn stream_message(stream: StreamId, known: &Stream) -> Message {
    let message = ToLogger::Stream {
        stream,
        tail: known.tail,
        process: known.process.clone(),
        channel: known.channel,
        sink: known.sink,
    };
    (message, vec![Rc::clone(&known.read_end)])
}
