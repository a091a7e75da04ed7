//! The core's side of program output: which log files are open, which pipes are read, and what a logger
//! that is started anew must be given. The bytes themselves never come here.
//!
//! The core keeps a descriptor of every pipe and file of its own, so that a logger may die without a
//! program noticing and without a byte being lost. What becomes of one file, from its opening over rotations, is
//! in [`sink`].

mod losses;
mod sink;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use crate::model::id::{Account, ProcessId};
use crate::model::program::Program;
use crate::model::template::Template;
use crate::model::time::Moment;
use crate::protocol::control::Channel;
use crate::protocol::logger::{ConsoleId, FileName, SinkSettings, StreamId, TailId, ToLogger};
use crate::protocol::spawner::{OpenFile, SinkId};
use crate::system::{block, place, stdio};
use crate::worker::channel::Passed;

use super::consoles::ProgramInput;
use super::spec;

pub use losses::Loss;
use losses::Losses;
use sink::Sink;
pub use sink::{Rotation, Work};

/// Our own standard output, as the logger writes it.
#[derive(Default)]
struct Outlet {
    /// `None`: it is the shell's screen, or cannot be opened. Then the bytes feed the tails.
    file: Option<Rc<OwnedFd>>,
    /// Its number, once a program writes there.
    sink: Option<SinkId>,
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

/// Where an output goes, as far as it can be emptied.
pub enum LogFile {
    Open(SinkId),
    Closed,
    None,
}

/// Pipes of one output that may be open at once: of the running life, and of ended ones.
const LIVES_KEPT: usize = 4;

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
    losses: Losses,
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
        self.sinks.insert(sink, Sink::new(path, identity, settings));
        self.by_key.insert(key, sink);
        Some(sink)
    }

    /// The file that an output of a process goes to, if it is open.
    pub fn log_file(&self, log_dir: &Path, program: &Program, id: &ProcessId, channel: Channel) -> LogFile {
        let Some(path) = spec::log_file(log_dir, program, id, channel) else { return LogFile::None };
        let sink = self.by_key.get(&(path, program.exec.user.clone()));
        let is_open = |sink: &&SinkId| self.sinks.get(sink).is_some_and(Sink::is_open);
        sink.filter(is_open).map_or(LogFile::Closed, |sink| LogFile::Open(*sink))
    }

    /// The request to open a file, unless it is open.
    pub fn to_open(&self, sink: SinkId) -> Option<OpenFile> {
        self.sinks.get(&sink)?.to_open(sink)
    }

    /// A file was opened for the first time, rotated or reopened.
    pub fn opened(&mut self, sink: SinkId, file: Rc<OwnedFd>, replaces: bool) -> Option<Message> {
        let name = place::name_of(&*file).map(FileName);
        let known = self.sinks.get_mut(&sink)?;
        let dropping = self.losses.is_open(sink);
        if known.opened(file, name, replaces) { known.message(sink, dropping) } else { None }
    }

    /// The logger has moved to the file that it was given last.
    pub fn moved(&mut self, sink: SinkId) {
        if let Some(known) = self.sinks.get_mut(&sink) {
            known.moved();
        }
    }

    /// The logger begins to drop what should go into this file.
    pub fn loss_begins(&mut self, sink: SinkId) {
        let name = self.path(sink);
        self.losses.begin(sink, name);
    }

    /// It has dropped so many bytes more; `false`: outside any loss.
    pub fn loses(&mut self, sink: SinkId, bytes: u64) -> bool {
        self.losses.add(sink, bytes)
    }

    /// It drops nothing any more. Also: whether the file is open yet.
    pub fn loss_ends(&mut self, sink: SinkId, bytes: u64) -> Option<(Loss, bool)> {
        self.losses.add(sink, bytes);
        self.losses.end(sink).map(|loss| (loss, self.has(sink)))
    }

    /// The losses whose end no other logger will tell, because their file is closed; with `all`, those of the open
    /// ones, too.
    pub fn losses_end(&mut self, all: bool) -> Vec<Loss> {
        let open = |sink| self.sinks.contains_key(&sink) || self.outlet.sink == Some(sink);
        self.losses.end_all(|sink| all || !open(sink))
    }

    fn has(&self, sink: SinkId) -> bool {
        self.sinks.contains_key(&sink) || self.outlet.sink == Some(sink)
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

    /// The request for a rotation that the logger asked for.
    pub fn rotate(&mut self, sink: SinkId, now: Moment) -> Rotation {
        self.sinks.get_mut(&sink).map_or(Rotation::Nothing, |known| known.rotate(sink, now))
    }

    /// The request for the file that has the name now.
    pub fn astray(&mut self, sink: SinkId, now: Moment) -> Rotation {
        self.sinks.get_mut(&sink).map_or(Rotation::Nothing, |known| known.astray(sink, now))
    }

    /// A rotation or reopening has failed. True if that is news.
    pub fn has_failed(&mut self, sink: SinkId, now: Moment) -> bool {
        self.sinks.get_mut(&sink).is_some_and(|known| known.has_failed(now))
    }

    /// One has worked. True if that is news.
    pub fn has_worked(&mut self, sink: SinkId) -> bool {
        self.sinks.get_mut(&sink).is_some_and(Sink::has_worked)
    }

    /// The requests that open every file anew, for logrotate.
    pub fn reopen_all(&mut self) -> Vec<(SinkId, Work)> {
        self.sinks.iter_mut().filter_map(|(sink, known)| Some((*sink, known.reopen(*sink)?))).collect()
    }

    /// The clone that worked on a file is over; gives the next request, if one waits.
    pub fn finished(&mut self, sink: SinkId, now: Moment) -> Option<Work> {
        self.sinks.get_mut(&sink)?.finished(sink, now)
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
        let sinks = self.sinks.iter().filter_map(|(sink, known)| known.message(*sink, self.losses.is_open(*sink)));
        let streams = self.streams.iter().map(|(stream, known)| stream_message(*stream, known));
        let outlet = self.outlet.sink.zip(self.outlet.file.as_ref()).map(|(sink, file)| {
            (ToLogger::Outlet { sink, dropping: self.losses.is_open(sink) }, vec![Rc::clone(file)])
        });
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
