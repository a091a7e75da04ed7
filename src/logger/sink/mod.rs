//! One log file: how much room it has, writing to it, what happens when it is full and when it fails.
//!
//! What a rotation does with an unfinished line, and what a logger that died has left, is in [`carry`]; a file that
//! somebody else has renamed or removed, in [`astray`]; what is lost of it, and when that is told, in [`loss`].

mod astray;
mod carry;
mod loss;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use super::STILL;
use super::cut;
use super::dress;
use super::hand::Hand;
use super::record::{Dress, FileId, Record};
use crate::model::time::Moment;
use crate::protocol::logger::{FileName, SinkSettings, StreamId};
use crate::protocol::spawner::SinkId;
use crate::system::clock;

use astray::Whereabouts;
pub use loss::{Loss, RETRY, Told, Wrote};

/// The longest unfinished line that is cut off when the disk is full.
const REPAIR_MAX: u64 = 64 << 10;
/// How long a file that could not be rotated grows, at most, before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Where the question for a new file stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rotation {
    Idle,
    /// The file is full and nothing is written until the answer.
    Asked,
    /// The file has lost its name, and nothing is written until the answer.
    Astray,
    /// The same file was reopened while we asked: go on with it, the answer is still to come.
    Crossed,
}

pub struct Sink {
    id: SinkId,
    file: File,
    identity: FileId,
    settings: SinkSettings,
    size: u64,
    /// It ends in the middle of a line.
    mid_line: bool,
    /// How large the file may grow: `max_bytes`, more after it could not be rotated.
    limit: u64,
    /// When the limit was raised, until when.
    raised_until: Option<Moment>,
    rotation: Rotation,
    at: Whereabouts,
    /// No other file will come.
    is_closing: bool,
    /// What of its bytes is dropped.
    pub loss: Loss,
    /// Who has begun a line, and is to end it before others write: until when.
    owed: Option<(StreamId, Moment)>,
    /// Who writes here.
    pub streams: Vec<StreamId>,
}

impl Sink {
    /// `dropping`: an earlier logger could not write it.
    pub fn new(id: SinkId, file: OwnedFd, settings: SinkSettings, name: Option<FileName>, dropping: bool) -> Self {
        let mut sink = Self {
            id,
            file: File::from(file),
            identity: FileId::default(),
            settings,
            size: 0,
            mid_line: false,
            limit: settings.max_bytes,
            raised_until: None,
            rotation: Rotation::Idle,
            at: Whereabouts::default(),
            is_closing: false,
            loss: Loss::new(dropping),
            owed: None,
            streams: Vec::new(),
        };
        sink.take_up(name);
        sink
    }

    /// Begins with the file that it has.
    fn take_up(&mut self, name: Option<FileName>) {
        self.look_at_file();
        self.at = Whereabouts::new(name, self.size, is_removed(&self.file));
    }

    fn look_at_file(&mut self) {
        self.identity = identity(&self.file).unwrap_or_default();
        self.measure();
        self.mid_line = self.last_bytes(1).is_some_and(|(last, _)| last.first().is_some_and(|last| *last != b'\n'));
    }

    fn measure(&mut self) {
        if let Ok(metadata) = self.file.metadata() {
            self.size = metadata.len();
            self.at.seen(&metadata);
        }
        self.mid_line &= self.size > 0;
    }

    pub fn set(&mut self, settings: SinkSettings) {
        self.settings = settings;
        self.limit = settings.max_bytes;
        self.raised_until = None;
    }

    /// Whether its streams must wait for the core's answer.
    pub fn is_waiting(&self) -> bool {
        matches!(self.rotation, Rotation::Asked | Rotation::Astray)
    }

    pub fn is_shared(&self) -> bool {
        self.streams.len() > 1
    }

    /// One more writes here. If the first has begun a line when it was alone, it ends that first.
    pub fn join(&mut self, stream: StreamId, now: Moment) {
        if let [first] = self.streams[..]
            && self.mid_line
        {
            self.owed = Some((first, now + STILL));
        }
        self.streams.push(stream);
    }

    /// Whether another stream is to write first.
    pub fn owes_another(&self, stream: StreamId, now: Moment) -> bool {
        self.owed.is_some_and(|(other, until)| other != stream && now < until)
    }

    /// This stream has written, or will not any more.
    pub fn has_paid(&mut self, stream: StreamId) {
        self.owed.take_if(|(other, _)| *other == stream);
    }

    /// Whether what is no whole line yet waits for its end in its pipe.
    pub fn takes_lines(&self) -> bool {
        self.is_shared() || self.settings.timestamps || self.settings.strip_ansi
    }

    /// How what is written next is dressed.
    pub fn dress(&self) -> Dress {
        let time = self.settings.timestamps.then(|| u64::try_from(clock::wall().as_millisecond()).unwrap_or(0));
        Dress { time, strip_ansi: self.settings.strip_ansi, mid_line: self.mid_line }
    }

    /// The file as a page for lines.
    pub fn page(&mut self, now: Moment) -> cut::Page {
        cut::Page {
            room: self.room(now),
            max_bytes: self.max_bytes(),
            is_empty: self.size == 0,
            margin: if self.settings.timestamps { dress::TIME } else { 0 },
            mid_line: self.mid_line,
        }
    }

    /// What is to be noted before bytes are taken in hand for this file. It was measured just before: somebody else
    /// may write there, too.
    pub const fn record(&self, dress: Dress) -> Record {
        Record::Writing { sink: self.id, file: self.identity, size: self.size, dress }
    }

    /// The most bytes that one file may have.
    pub fn max_bytes(&self) -> u64 {
        if self.settings.max_bytes == 0 { u64::MAX } else { self.settings.max_bytes }
    }

    /// How many bytes can be written before the file is full. Endless while bytes are only dropped, so
    /// that a full disk slows nobody.
    pub fn room(&mut self, now: Moment) -> u64 {
        if self.settings.max_bytes == 0 || !self.tries(now) {
            return u64::MAX;
        }
        if self.raised_until.is_some_and(|until| now >= until) {
            self.limit = self.settings.max_bytes;
            self.raised_until = None;
        }
        self.limit.saturating_sub(self.size)
    }

    /// Appends; at an error the bytes are dropped, and the file is tried again later.
    pub fn write(&mut self, bytes: &[u8], now: Moment) -> Wrote {
        if !self.tries(now) {
            self.loss.count(bytes.len() as u64);
            return Wrote::Dropped;
        }
        let before = self.size;
        match self.append(bytes) {
            Ok(()) => {
                self.loss.worked(now);
                Wrote::All
            }
            Err(error) => {
                self.repair();
                self.loss.count((before + bytes.len() as u64).saturating_sub(self.size));
                self.loss.failed(error.raw_os_error().unwrap_or(libc::EIO), now)
            }
        }
    }

    /// Whether what is written now is not dropped without a try.
    fn tries(&self, now: Moment) -> bool {
        self.loss.tries(now) && !self.at.is_given_up()
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::Error::from_raw_os_error(libc::EIO)),
                Ok(count) => {
                    self.size += count as u64;
                    self.mid_line = rest[count - 1] != b'\n';
                    rest = &rest[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// After an error: cuts the half line off, because its other half will not follow.
    fn repair(&mut self) {
        if let Some(start) = carry::unfinished_line(&self.file, self.size, REPAIR_MAX)
            && self.file.set_len(start).is_ok()
        {
            self.size = start;
            self.mid_line = false;
        } else {
            self.measure();
        }
    }

    /// The file is full. Without backups it is emptied here; `true`: the core is to be asked.
    pub fn rotate(&mut self, hand: &mut Hand, now: Moment) -> bool {
        if self.settings.backups > 0 {
            // Whoever fills a small file at once must not always be the first at the next one.
            if let Some(first) = (!self.streams.is_empty()).then(|| self.streams.remove(0)) {
                self.streams.push(first);
            }
            self.rotation = Rotation::Asked;
            return true;
        }
        if self.empty(hand).is_err() {
            self.raise(now);
        }
        false
    }

    /// Empties the file, whatever is in it.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.size = 0;
        self.mid_line = false;
        Ok(())
    }

    /// The core has no other file: go on, and ask again after a while, or, where it was full, after as much again.
    pub fn kept(&mut self, now: Moment) -> Wrote {
        if std::mem::replace(&mut self.rotation, Rotation::Idle) == Rotation::Astray {
            return self.still_astray(now);
        }
        self.raise(now);
        Wrote::All
    }

    fn raise(&mut self, now: Moment) {
        self.limit = self.size.saturating_add(self.settings.max_bytes);
        self.raised_until = Some(now + ASK_AGAIN);
    }

    /// Goes on with this file: a rotation's answer, or a reopening.
    ///
    /// # Errors
    /// None on the hand's memory.
    pub fn replace(
        &mut self,
        file: OwnedFd,
        settings: SinkSettings,
        name: Option<FileName>,
        rotated: bool,
        hand: &mut Hand,
        now: Moment,
    ) -> io::Result<()> {
        let same = is_same(&self.file, &file);
        self.measure();
        let lost_from = self.lost_from().filter(|_| !same);
        let old = std::mem::replace(&mut self.file, File::from(file));
        let rotation = std::mem::replace(&mut self.rotation, Rotation::Idle);
        let old_size = self.size;
        self.set(settings);
        self.take_up(name);
        self.loss.try_at_once();
        if let Some(known) = lost_from {
            return self.rescue(&old, known, hand);
        }
        match rotation {
            Rotation::Asked | Rotation::Crossed if same => {
                self.rotation = Rotation::Crossed;
                self.raise(now);
            }
            // Whoever has renamed the old one has it as it is.
            Rotation::Astray => {}
            Rotation::Idle if same || !rotated => {}
            Rotation::Idle | Rotation::Asked | Rotation::Crossed => self.carry(&old, old_size, hand)?,
        }
        Ok(())
    }

    /// From now on it may grow without end: for the last bytes before it is closed.
    pub fn lift_limit(&mut self) {
        self.settings.max_bytes = 0;
        self.rotation = Rotation::Idle;
        self.is_closing = true;
    }

    /// The last bytes of the file, at most `most`, and whether there are more before.
    pub fn last_bytes(&self, most: usize) -> Option<(Vec<u8>, bool)> {
        let start = self.size.saturating_sub(most as u64);
        let mut bytes = vec![0; usize::try_from(self.size - start).ok()?];
        self.file.read_exact_at(&mut bytes, start).ok()?;
        Some((bytes, start > 0))
    }
}

fn is_removed(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

fn is_same(old: &File, new: &OwnedFd) -> bool {
    let new = new.try_clone().map(File::from).ok().and_then(|new| identity(&new));
    new.is_some() && identity(old) == new
}

fn identity(file: &File) -> Option<FileId> {
    file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
