//! Core ↔ logger. The logger reads pipes and writes files by the numbers the core gives them; it never
//! names a path, and may ask for two things only: another file in the place of one that is full or has lost its name,
//! and an outlet that is connected anew.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use super::attach::Size;
use super::control::Channel;
use super::spawner::SinkId;

/// One output of one life of one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(pub u64);

/// The same output over all lives: what a tail follows. Stable while the process is configured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TailId(pub u64);

/// One life of a process that somebody can attach to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConsoleId(pub u64);

/// Where many programs say their lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutletKind {
    /// The supervisor's standard output.
    Console,
    /// The local log daemon.
    Syslog,
}

/// How the lines of a stream are said at an outlet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Voice {
    /// Escape sequences are taken out.
    pub strip_ansi: bool,
    /// For the log daemon; the console has the name of the process.
    pub label: Option<Label>,
}

/// What a log daemon is told of a line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Label {
    pub priority: u8,
    pub tag: String,
    /// Of the main process.
    pub pid: Option<i32>,
}

/// Where input for a process goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// To the master of its terminal.
    Terminal,
    /// To the pipe that its standard input is.
    Pipe,
}

/// Core → logger.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToLogger {
    /// Before any pipe: what keeps the bytes in hand should the logger die. Descriptors: the memory of a block
    /// (`system::block`), and the read and write ends of two pipes that nobody else has, all non-blocking.
    Hand,
    /// All has been said that an earlier logger knew: begin to read.
    Begin,
    /// Where streams with this number as their sink are said line by line. Before any of them. Descriptor: what
    /// leads there, in a way that others who write there do not notice that the logger does not wait. Without one
    /// lines for the console are lost, and those for the log daemon wait.
    Outlet { sink: SinkId, kind: OutletKind, dropping: bool },
    /// Descriptor: what leads to this outlet from now on. Without one it could not be reached (errno), after `Redial`.
    Dialled { sink: SinkId, errno: i32 },
    /// A log file: opened, rotated or reopened. Descriptors: the file, open for reading and appending; and, until
    /// `Moved`, the one that it is in the place of, whose unfinished line comes along if it was `rotated`.
    /// `name`: what it was called when it was opened. `dropping`: an earlier logger could not write it, and has not
    /// said that it can again.
    Sink { sink: SinkId, settings: SinkSettings, name: Option<FileName>, rotated: bool, dropping: bool },
    /// Its settings have changed.
    Settings { sink: SinkId, settings: SinkSettings },
    /// It could not be rotated or reopened: go on with the old one.
    Kept { sink: SinkId },
    /// Nobody writes to it any more.
    Close { sink: SinkId },
    /// A new pipe or terminal. Descriptor: its read end, or its master. Without a sink the bytes only feed the tail.
    /// `voice`: for a sink that is an outlet.
    Stream {
        stream: StreamId,
        tail: TailId,
        process: String,
        channel: Channel,
        sink: Option<SinkId>,
        voice: Option<Voice>,
    },
    /// Its lines are said otherwise from now on.
    Voice { stream: StreamId, voice: Voice },
    /// Too many pipes of ended lives are held open by somebody else: write what is in this one, and close it.
    Abandon { stream: StreamId },
    /// The process is not configured any more.
    Forget { tail: TailId },
    /// Serve this client from now on. Descriptor: its connection.
    Tail { tails: Vec<TailId>, lines: u32, follow: bool },
    /// The last bytes of an output, for an alert; of those that came before this life had said anything, if one is
    /// named. Descriptor: the write end of a pipe, non-blocking; the bytes lie in it when the logger has closed it.
    LastBytes { tail: TailId, bytes: u32, before: Option<StreamId> },
    /// A process that can be attached to runs. Descriptor: where input for it goes, if it takes any; non-blocking.
    /// `resumed`: another logger has read what it wrote so far.
    Console { console: ConsoleId, process: String, outputs: Vec<TailId>, input: Option<Input>, resumed: bool },
    /// Attach this client. Descriptor: its connection.
    Attach { console: ConsoleId, read_only: bool, share: bool, size: Option<Size> },
    /// The process has ended, in these words.
    Exited { console: ConsoleId, how: String },
    /// Empty these files, forget these tails, and say `Cleared`.
    Clear { ticket: u64, tails: Vec<TailId>, sinks: Vec<SinkId> },
    /// Compress a rotated file when there is time, and say `Compressed`; one at a time. Descriptors: the file, for
    /// reading, and an own one to write to, from its beginning.
    Compress { sink: SinkId },
    /// Read what is in the pipes, write it, and say `Drained`.
    Drain,
}

/// What the kernel calls an open file, as a number: another number is another name. No path reaches the logger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileName(pub u64);

/// How a log file is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SinkSettings {
    /// Bytes; 0 never rotates.
    pub max_bytes: u64,
    /// 0: emptied in place instead of rotated.
    pub backups: u32,
    /// Each line begins with the time.
    pub timestamps: bool,
    /// Escape sequences are taken out.
    pub strip_ansi: bool,
}

/// Logger → core.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromLogger {
    /// Ready to work: the first message, once.
    Ready,
    /// The file is full: rotate it.
    Rotate {
        sink: SinkId,
    },
    /// The file has been renamed or removed by somebody else: open the one that has its name.
    Astray {
        sink: SinkId,
    },
    /// Nobody hears what is said at this outlet: connect it anew.
    Redial {
        sink: SinkId,
    },
    /// The new file is gone on with; the one before it is not needed any more.
    Moved {
        sink: SinkId,
    },
    /// All write ends of the pipe are closed and all is read.
    Ended {
        stream: StreamId,
    },
    /// Output for this file is being dropped from now on, because of this error (errno).
    Dropping {
        sink: SinkId,
        errno: i32,
    },
    /// So many bytes were dropped since the logger last said how many.
    Losing {
        sink: SinkId,
        bytes: u64,
    },
    /// None is dropped any more; so many were since the logger last said how many.
    Dropped {
        sink: SinkId,
        bytes: u64,
    },
    /// It is done; `errno`: but a file could not be emptied.
    Cleared {
        ticket: u64,
        errno: Option<i32>,
    },
    /// So many bytes of a rotated file are compressed, which is all of it; or, with `errno`, not.
    Compressed {
        sink: SinkId,
        bytes: u64,
        errno: Option<i32>,
    },
    Drained,
}
