//! The core's side of program output: which log files are open, which pipes are read, and what a logger
//! that is started anew must be given. The bytes themselves never come here.
//!
//! The core keeps a descriptor of every pipe and file of its own, so that a logger may die without a
//! program noticing and without a byte being lost. What becomes of one file, from its opening over rotations, is
//! in [`sink`]; which rotated file is compressed, in [`compress`]; what leads to where many speak, in [`outlets`].

mod compress;
mod losses;
mod outlets;
mod sink;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use crate::model::event::Kind;
use crate::model::id::{Account, Pid, ProcessId};
use crate::model::notify::Notify;
use crate::model::program::Program;
use crate::model::template::Template;
use crate::model::time::Moment;
use crate::protocol::control::Channel;
use crate::protocol::logger::{ConsoleId, FileName, OutletKind, SinkSettings, StreamId, TailId, ToLogger, Voice};
use crate::protocol::spawner::{OpenFile, PackSpec, Packing, SinkId};
use crate::system::{block, place, stdio};
use crate::worker::channel::Passed;

use super::consoles::ProgramInput;
use super::spec;

pub use compress::{Compression, Step};
pub use losses::Loss;
use losses::Losses;
use outlets::Outlets;
use sink::Sink;
pub use sink::{Rotation, Work};

/// Same path and same user: the same file.
type SinkKey = (Template, Option<Account>);

struct Stream {
    read_end: Rc<OwnedFd>,
    tail: TailId,
    process: String,
    channel: Channel,
    sink: Option<SinkId>,
    /// How its lines are said, if its sink is an outlet.
    voice: Option<Voice>,
    /// Of the main process.
    pid: Option<Pid>,
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

pub struct Output {
    /// What a logger works with, and the next one finds.
    hand: Option<Vec<Passed>>,
    outlets: Outlets,
    pub compression: Compression<Passed>,
    sinks: BTreeMap<SinkId, Sink>,
    losses: Losses,
    by_key: HashMap<SinkKey, SinkId>,
    streams: BTreeMap<StreamId, Stream>,
    tails: BTreeMap<(ProcessId, Channel), TailId>,
    next: u64,
}

/// Our own standard output, for programs.
///
/// # Errors
/// Why they cannot be seen there, in words.
pub fn console() -> Result<OwnedFd, String> {
    stdio::own_output().map_err(|error| {
        // A pipe or terminal of whoever we were before: its owner must be asked to let us not wait for it.
        let help = if error.kind() == io::ErrorKind::PermissionDenied {
            "; it is another user's: give it to this one, or start with `| cat` behind it"
        } else {
            ""
        };
        format!("standard output cannot be opened: {error}{help}")
    })
}

impl Output {
    /// Programs may write to our own standard output, which this leads to, and to the local log daemon.
    pub fn new(console: Result<OwnedFd, String>, notify: &Notify) -> Self {
        Self {
            hand: None,
            outlets: Outlets::new(SinkId(1), SinkId(2), console, notify),
            compression: Compression::default(),
            sinks: BTreeMap::new(),
            losses: Losses::default(),
            by_key: HashMap::new(),
            streams: BTreeMap::new(),
            tails: BTreeMap::new(),
            next: 2,
        }
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
        if let Some(kind) = spec::outlet(program, channel) {
            return Some(self.outlets.sink(kind));
        }
        let path = spec::log_file(log_dir, program, id, channel)?;
        let key = (path.clone(), program.exec.user.clone());
        let settings = settings(program);
        if let Some(sink) = self.by_key.get(&key) {
            return Some(*sink);
        }
        let sink = SinkId(self.number());
        let identity = spec::identity(&program.exec);
        self.sinks.insert(sink, Sink::new(path, identity, settings, program.watch.log_compress));
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
        if !known.opened(file, name, replaces) {
            return None;
        }
        if known.compress {
            self.compression.want(sink);
        }
        known.message(sink, dropping)
    }

    /// The logger has moved to the file that it was given last.
    pub fn moved(&mut self, sink: SinkId) {
        if let Some(known) = self.sinks.get_mut(&sink) {
            known.moved();
            if known.compress {
                self.compression.want(sink);
            }
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
        let mut losses = std::mem::take(&mut self.losses);
        let ended = losses.end_all(|sink| all || !self.has(sink));
        self.losses = losses;
        ended
    }

    fn has(&self, sink: SinkId) -> bool {
        self.sinks.contains_key(&sink) || self.outlets.kind(sink).is_some()
    }

    /// The program that writes to this pipe runs now.
    ///
    /// Whoever may open the pipes of ended lives (a program of the same user, by /proc) could keep them all
    /// open: of each output only the last few are kept.
    pub fn attach(&mut self, id: &ProcessId, running: Running<'_>, planned: Planned) -> Vec<Message> {
        let stream = StreamId(self.number());
        let tail = self.tail(id, planned.channel);
        let Running { process, program, pid } = running;
        let kind = planned.sink.and_then(|sink| self.outlets.kind(sink));
        let voice = kind.zip(program).map(|(kind, program)| {
            spec::voice(program, planned.channel, kind, self.outlets.facility(), pid.map(|pid| pid.0))
        });
        let known = Stream {
            read_end: planned.read_end,
            tail,
            process: process.to_owned(),
            channel: planned.channel,
            // A reload between request and execution may have closed it; then the bytes feed the tail.
            sink: planned.sink.filter(|sink| self.sinks.contains_key(sink) || voice.is_some()),
            voice,
            pid,
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

    /// The life that followed the one with this main process, if it writes to this output: the next one, while
    /// the pipe of that life is open, else the one that runs.
    pub fn life_after(&self, tail: TailId, pid: Pid, runs: Option<Pid>) -> Option<StreamId> {
        let mut lives = self.streams.iter().filter(|(_, known)| known.tail == tail);
        if lives.by_ref().any(|(_, known)| known.pid == Some(pid)) {
            return lives.next().map(|(stream, _)| *stream);
        }
        let is_it = |known: &Stream| known.tail == tail && known.pid.is_some() && known.pid == runs;
        self.streams.iter().find(|(_, known)| is_it(known)).map(|(stream, _)| *stream)
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
    pub fn finished(&mut self, sink: SinkId) -> Option<Work> {
        self.sinks.get_mut(&sink)?.finished(sink)
    }

    /// The next step of compression, if one can be taken now; with the files that it is about.
    pub fn compress_next(&mut self, now: Moment) -> Option<(SinkId, Step, Vec<Passed>)> {
        let sinks = &self.sinks;
        self.compression.next(now, |sink, step| match sinks.get(&sink) {
            Some(known) if step == Step::Open => known.can_be_compressed(),
            Some(known) => !step.looks_at_names() || !known.busy,
            None => false,
        })
    }

    /// The request for a step of it.
    pub fn pack(&mut self, sink: SinkId, step: Packing) -> Option<PackSpec> {
        Some(self.sinks.get_mut(&sink)?.pack(sink, step))
    }

    /// This is our own standard output from now on.
    pub fn console_opened(&mut self, output: Result<OwnedFd, String>) -> Option<Message> {
        self.outlets.opened(output)
    }

    /// Why programs on the console will not be seen, if there are any and it was not told yet.
    pub fn unseen<'a>(&mut self, mut programs: impl Iterator<Item = &'a Program>) -> Option<String> {
        if programs.any(spec::uses_console) { self.outlets.unseen() } else { None }
    }

    /// Connects an outlet anew, which the logger asks for; gives its answer, and what is news, in words: it fails, or
    /// works again.
    pub fn redial(&mut self, sink: SinkId, now: Moment) -> Option<(Message, Option<(Kind, String)>)> {
        if self.outlets.kind(sink) != Some(OutletKind::Syslog) {
            return None;
        }
        Some(self.outlets.dial(now))
    }

    /// The path of a file, for messages.
    pub fn path(&self, sink: SinkId) -> String {
        if let Some(name) = self.outlets.name(sink) {
            return name.to_owned();
        }
        self.sinks.get(&sink).map_or_else(|| "a log file".to_owned(), |known| known.path.shown())
    }

    /// Makes what keeps the bytes that a logger has in hand, unless it is there.
    ///
    /// # Errors
    /// ENOMEM, EMFILE.
    pub fn have_hand(&mut self) -> io::Result<()> {
        if self.hand.is_none() {
            let mut hand = vec![Rc::new(block::memory()?)];
            // One that others are looked at through, and one that whole lines go through.
            for _ in 0..2 {
                let (read, write) = stdio::output_pipe()?;
                stdio::set_nonblocking(&write, true)?;
                // As large as the largest of the others. A smaller one is slower, no more.
                let _ = stdio::enlarge_pipe(&write, LARGE_PIPE);
                hand.extend([read, write].map(Rc::new));
            }
            self.hand = Some(hand);
        }
        Ok(())
    }

    /// Everything that a logger needs that is started anew.
    pub fn everything(&self) -> Vec<Message> {
        let hand = self.hand.iter().map(|hand| (ToLogger::Hand, hand.clone()));
        let sinks = self.sinks.iter().filter_map(|(sink, known)| known.message(*sink, self.losses.is_open(*sink)));
        let streams = self.streams.iter().map(|(stream, known)| stream_message(*stream, known));
        let outlets = self.outlets.everything(|sink| self.losses.is_open(sink));
        hand.chain(outlets).chain(sinks).chain(streams).collect()
    }

    /// After a reload: settings that changed, and files and tails that nobody uses any more.
    pub fn configure<'a>(
        &mut self,
        log_dir: &Path,
        processes: impl Iterator<Item = (&'a ProcessId, &'a Program)>,
        starting: impl Iterator<Item = SinkId>,
        notify: &Notify,
    ) -> Vec<Message> {
        let mut messages: Vec<Message> = self.outlets.configure(notify).into_iter().collect();
        let mut used: BTreeSet<SinkId> = starting.collect();
        let mut kept = BTreeSet::new();
        for (id, program) in processes {
            kept.insert(id.clone());
            for channel in [Channel::Stdout, Channel::Stderr] {
                messages.extend(self.voices(id, program, channel));
                let Some(path) = spec::log_file(log_dir, program, id, channel) else { continue };
                let Some(sink) = self.by_key.get(&(path, program.exec.user.clone())).copied() else { continue };
                used.insert(sink);
                if let Some(known) = self.sinks.get_mut(&sink) {
                    let wanted = settings(program);
                    known.identity = spec::identity(&program.exec);
                    let was = std::mem::replace(&mut known.compress, program.watch.log_compress);
                    if !known.compress {
                        self.compression.forget(sink);
                    } else if !was || known.settings != wanted {
                        self.compression.want(sink);
                    }
                    if known.settings != wanted {
                        known.settings = wanted;
                        messages.push((ToLogger::Settings { sink, settings: wanted }, Vec::new()));
                    }
                }
            }
        }
        used.extend(self.streams.values().filter_map(|stream| stream.sink));
        let is_unused = |id: &SinkId, sink: &Sink| !used.contains(id) && !sink.busy && !self.compression.is_at(*id);
        let unused: Vec<SinkId> =
            self.sinks.iter().filter(|(id, sink)| is_unused(id, sink)).map(|(id, _)| *id).collect();
        for sink in unused {
            self.compression.forget(sink);
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

    /// The lines of an output of a process that are said otherwise now.
    fn voices(&mut self, id: &ProcessId, program: &Program, channel: Channel) -> Vec<Message> {
        let Some(kind) = spec::outlet(program, channel) else { return Vec::new() };
        let Some(tail) = self.tails.get(&(id.clone(), channel)) else { return Vec::new() };
        let (sink, facility) = (self.outlets.sink(kind), self.outlets.facility());
        let mut messages = Vec::new();
        for (stream, known) in &mut self.streams {
            if let Some(voice) = known.voice.as_mut().filter(|_| known.tail == *tail && known.sink == Some(sink)) {
                let pid = voice.label.as_ref().and_then(|label| label.pid);
                let wanted = spec::voice(program, channel, kind, facility, pid);
                if *voice != wanted {
                    *voice = wanted.clone();
                    messages.push((ToLogger::Voice { stream: *stream, voice: wanted }, Vec::new()));
                }
            }
        }
        messages
    }
}

/// A process that runs now.
#[derive(Clone, Copy)]
pub struct Running<'a> {
    /// As it is shown.
    pub process: &'a str,
    /// `None`: it is configured no more.
    pub program: Option<&'a Program>,
    pub pid: Option<Pid>,
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
        voice: known.voice.clone(),
    };
    (message, vec![Rc::clone(&known.read_end)])
}
