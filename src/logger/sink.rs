//! One log file: how much room it has, writing to it, what happens when it is full and when it fails.
//!
//! A full file may end with an unfinished line, because bytes are written as they come. Rotation then
//! moves that line to the new file: it is copied first and cut off after. What a death in between leaves is
//! put right by the next logger ([`Sink::recover`]), from the record in the hand.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use super::cut;
use super::dress;
use super::hand::{self, Hand};
use super::record::{self, Dress, FileId, Record};
use crate::model::time::Moment;
use crate::protocol::logger::{SinkSettings, StreamId};
use crate::protocol::spawner::SinkId;
use crate::system::clock;

/// The longest unfinished line that is moved at a rotation.
const CARRY_MAX: u64 = 64 << 20;
const COPY: usize = 64 << 10;
/// The longest that is kept when a file is emptied in place.
const EMPTY_KEEPS_MAX: u64 = hand::CAPACITY as u64;
/// The longest unfinished line that is cut off when the disk is full.
const REPAIR_MAX: u64 = 64 << 10;
/// How often a failing file is tried.
const RETRY: Duration = Duration::from_millis(100);
/// How long a file that could not be rotated grows, at most, before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Where the question for a new file stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rotation {
    Idle,
    /// The file is full and nothing is written until the answer.
    Asked,
    /// The same file was reopened while we asked: go on with it, the answer is still to come.
    Crossed,
}

struct Failing {
    dropped: u64,
    tried: Moment,
}

/// What became of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrote {
    All,
    /// Not all, and this is the first time: the errno.
    Began(i32),
    /// Still nothing, or not all.
    Dropped,
    /// All, and before that so many bytes were dropped.
    Recovered(u64),
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
    failing: Option<Failing>,
    /// Bytes that a writer dropped, to get back to a line start, after the file had recovered.
    late: u64,
    /// Who writes here.
    pub streams: Vec<StreamId>,
}

impl Sink {
    /// `dropping`: an earlier logger could not write it.
    pub fn new(id: SinkId, file: OwnedFd, settings: SinkSettings, dropping: bool) -> Self {
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
            failing: dropping.then(|| Failing { dropped: 0, tried: Moment::default() }),
            late: 0,
            streams: Vec::new(),
        };
        sink.look_at_file();
        sink
    }

    fn look_at_file(&mut self) {
        self.identity = identity(&self.file).unwrap_or_default();
        self.measure();
        self.mid_line = self.last_bytes(1).is_some_and(|(last, _)| last.first().is_some_and(|last| *last != b'\n'));
    }

    fn measure(&mut self) {
        if let Ok(metadata) = self.file.metadata() {
            self.size = metadata.len();
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
        self.rotation == Rotation::Asked
    }

    pub fn is_shared(&self) -> bool {
        self.streams.len() > 1
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

    /// What is to be noted before bytes are taken in hand for this file.
    pub fn record(&mut self, dress: Dress) -> Record {
        self.measure(); // somebody else may write there, too
        Record::Writing { sink: self.id, file: self.identity, size: self.size, dress }
    }

    /// The most bytes that one file may have.
    pub fn max_bytes(&self) -> u64 {
        if self.settings.max_bytes == 0 { u64::MAX } else { self.settings.max_bytes }
    }

    /// How many bytes can be written before the file is full. Endless while bytes are only dropped, so
    /// that a full disk slows nobody.
    pub fn room(&mut self, now: Moment) -> u64 {
        if self.settings.max_bytes == 0 || self.failing.as_ref().is_some_and(|failing| now < failing.tried + RETRY) {
            return u64::MAX;
        }
        if self.raised_until.is_some_and(|until| now >= until) {
            self.limit = self.settings.max_bytes;
            self.raised_until = None;
        }
        if self.size >= self.limit {
            self.measure(); // somebody else may have emptied it
        }
        self.limit.saturating_sub(self.size)
    }

    /// Appends; at an error the bytes are dropped, and the file is tried again later.
    pub fn write(&mut self, bytes: &[u8], now: Moment) -> Wrote {
        if let Some(failing) = &mut self.failing
            && now < failing.tried + RETRY
        {
            failing.dropped += bytes.len() as u64;
            return Wrote::Dropped;
        }
        let before = self.size;
        match self.append(bytes) {
            Ok(()) => self.failing.take().map_or(Wrote::All, |failing| Wrote::Recovered(failing.dropped)),
            Err(error) => {
                self.repair();
                let dropped = (before + bytes.len() as u64).saturating_sub(self.size);
                match &mut self.failing {
                    Some(failing) => {
                        failing.dropped += dropped;
                        failing.tried = now;
                        Wrote::Dropped
                    }
                    None => {
                        self.failing = Some(Failing { dropped: dropped + std::mem::take(&mut self.late), tried: now });
                        Wrote::Began(error.raw_os_error().unwrap_or(libc::EIO))
                    }
                }
            }
        }
    }

    /// Counts bytes that were not written because their line's beginning was not.
    pub fn count_dropped(&mut self, bytes: usize) {
        match &mut self.failing {
            Some(failing) => failing.dropped += bytes as u64,
            None => self.late += bytes as u64,
        }
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
        if let Some(start) = unfinished_line(&self.file, self.size, REPAIR_MAX)
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
            self.kept(now);
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

    /// Empties the file, but for the unfinished line at its end: that is in hand meanwhile.
    fn empty(&mut self, hand: &mut Hand) -> io::Result<()> {
        let most = EMPTY_KEEPS_MAX.min(hand.room() as u64);
        let unfinished = self.movable(&self.file, self.size, most).map_or(0, |start| self.size - start);
        let mut line = vec![0; usize::try_from(unfinished).unwrap_or(0)];
        self.file.read_exact_at(&mut line, self.size - unfinished)?;
        hand.note(&Record::Emptying { sink: self.id, file: self.identity, size: self.size })?;
        hand.add(&line)?;
        let emptied = self.file.set_len(0).and_then(|()| {
            self.size = 0;
            self.mid_line = false;
            self.append(&line)
        });
        hand.done()?;
        emptied
    }

    /// Where the unfinished line begins that can be moved to an empty file: not when it is all there is,
    /// because then nothing is gained.
    fn movable(&self, file: &File, size: u64, most: u64) -> Option<u64> {
        unfinished_line(file, size, most.min(self.max_bytes() - 1)).filter(|start| *start > 0)
    }

    /// The core could not rotate it: go on, and ask again after as much again, or a while.
    pub fn kept(&mut self, now: Moment) {
        self.rotation = Rotation::Idle;
        self.raise(now);
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
        rotated: bool,
        hand: &mut Hand,
        now: Moment,
    ) -> io::Result<()> {
        let same = is_same(&self.file, &file);
        let old = std::mem::replace(&mut self.file, File::from(file));
        let rotation = std::mem::replace(&mut self.rotation, Rotation::Idle);
        let old_size = self.size;
        self.set(settings);
        self.look_at_file();
        if let Some(failing) = &mut self.failing {
            failing.tried = Moment::default(); // the new one is tried at once
        }
        match rotation {
            Rotation::Asked | Rotation::Crossed if same => {
                self.rotation = Rotation::Crossed;
                self.raise(now);
            }
            Rotation::Idle if same || !rotated => {}
            Rotation::Idle | Rotation::Asked | Rotation::Crossed => self.carry(&old, old_size, hand)?,
        }
        Ok(())
    }

    /// Moves the unfinished line at the end of the old file to the new one.
    fn carry(&mut self, old: &File, end: u64, hand: &mut Hand) -> io::Result<()> {
        let size = self.size;
        let Some(start) = self.movable(old, end, CARRY_MAX.min(self.max_bytes().saturating_sub(size))) else {
            return Ok(());
        };
        hand.note(&Record::Carrying { sink: self.id, file: self.identity, size, start, end })?;
        if self.copy(old, start, end).and_then(|()| old.set_len(start)).is_err() {
            // It stays where it is, cut in two: better than twice.
            let _ = self.file.set_len(size);
            self.look_at_file();
        }
        hand.note(&Record::Nothing)
    }

    fn copy(&mut self, old: &File, mut at: u64, end: u64) -> io::Result<()> {
        let mut block = vec![0; COPY];
        while at < end {
            let count = usize::try_from(end - at).unwrap_or(COPY).min(COPY);
            old.read_exact_at(&mut block[..count], at)?;
            self.append(&block[..count])?;
            at += count as u64;
        }
        Ok(())
    }

    /// Ends what a logger that died was doing with this file, or with the one before it. Gives what is to be
    /// written to this one yet.
    ///
    /// # Errors
    /// None on the hand's memory.
    pub fn recover(&mut self, before: Option<&File>, rotated: bool, hand: &mut Hand) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        match hand.left() {
            Record::Writing { sink, file, size, dress } if sink == self.id => {
                rest = dress.apply(hand.bytes()).into_owned();
                let older = before.filter(|before| file != self.identity && identity(before) == Some(file));
                let there = older.unwrap_or(&self.file);
                if older.is_some() || file == self.identity {
                    rest.drain(..record::written(&rest, &behind(there, size, rest.len())));
                }
                if let Some(mut older) = older {
                    // It is the old file's, also if that cannot take it any more.
                    let _ = older.write_all(&rest);
                    rest.clear();
                }
            }
            Record::Emptying { sink, file, size } if sink == self.id && file == self.identity && self.size < size => {
                rest = hand.bytes().to_vec();
                rest.drain(..record::written(&rest, &behind(&self.file, 0, rest.len())));
            }
            // As if nothing had been done yet, unless it is all done.
            Record::Carrying { sink, file, size, end, .. }
                if sink == self.id
                    && file == self.identity
                    && before.and_then(|before| before.metadata().ok()).is_some_and(|before| before.len() == end) =>
            {
                self.file.set_len(size)?;
            }
            _ => {}
        }
        if hand.left().sink() == Some(self.id) {
            self.look_at_file();
            if rest.is_empty() {
                hand.forget_left()?;
            }
        }
        if let Some(before) = before
            && rotated
            && rest.is_empty()
            && self.size == 0
            && identity(before) != Some(self.identity)
        {
            let end = before.metadata()?.len();
            self.carry(before, end, hand)?;
        }
        Ok(rest)
    }

    /// From now on it may grow without end: for the last bytes before it is closed.
    pub fn lift_limit(&mut self) {
        self.settings.max_bytes = 0;
        self.rotation = Rotation::Idle;
    }

    /// The last bytes of the file, at most `most`, and whether there are more before.
    pub fn last_bytes(&self, most: usize) -> Option<(Vec<u8>, bool)> {
        let start = self.size.saturating_sub(most as u64);
        let mut bytes = vec![0; usize::try_from(self.size - start).ok()?];
        self.file.read_exact_at(&mut bytes, start).ok()?;
        Some((bytes, start > 0))
    }
}

/// What stands in a file behind this size: as much as output of that length and some more.
fn behind(file: &File, size: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length + record::LOOKED_THROUGH];
    let mut read = 0;
    while let Ok(count) = file.read_at(&mut bytes[read..], size + read as u64)
        && count > 0
    {
        read += count;
    }
    bytes.truncate(read);
    bytes
}

/// Where the unfinished line at the end of a file begins, if there is one of at most `most` bytes.
fn unfinished_line(file: &File, size: u64, most: u64) -> Option<u64> {
    let mut block = [0; 8 << 10];
    let mut end = size;
    while end > 0 && size - end <= most {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..usize::try_from(end - start).ok()?];
        file.read_exact_at(part, start).ok()?;
        let found = cut::after_last_newline(part);
        if found > 0 {
            let line = start + found as u64;
            return (line < size && size - line <= most).then_some(line);
        }
        end = start;
    }
    (end == 0 && size > 0 && size <= most).then_some(0)
}

fn is_same(old: &File, new: &OwnedFd) -> bool {
    let new = new.try_clone().map(File::from).ok().and_then(|new| identity(&new));
    new.is_some() && identity(old) == new
}

fn identity(file: &File) -> Option<FileId> {
    file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
