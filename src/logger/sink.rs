//! One log file: how much room it has, writing to it, what happens when it is full and when it fails.
//!
//! A full file may end with an unfinished line, because bytes are written as they come. Rotation then
//! moves that line to the new file: it is copied first and cut off after, so that a death in between
//! doubles it rather than loses it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use super::cut;
use crate::model::time::Moment;
use crate::protocol::logger::{SinkSettings, StreamId};

/// The longest unfinished line that is moved at a rotation.
const CARRY_MAX: u64 = 64 << 20;
const COPY: usize = 64 << 10;
/// The longest that is kept when a file is emptied in place.
const EMPTY_KEEPS_MAX: u64 = 1 << 20;
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
    file: File,
    settings: SinkSettings,
    size: u64,
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
    pub fn new(file: OwnedFd, settings: SinkSettings) -> Self {
        let mut sink = Self {
            file: File::from(file),
            settings,
            size: 0,
            limit: settings.max_bytes,
            raised_until: None,
            rotation: Rotation::Idle,
            failing: None,
            late: 0,
            streams: Vec::new(),
        };
        sink.measure();
        sink
    }

    fn measure(&mut self) {
        if let Ok(metadata) = self.file.metadata() {
            self.size = metadata.len();
        }
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

    pub fn is_empty(&self) -> bool {
        self.size == 0
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

    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::Error::from_raw_os_error(libc::EIO)),
                Ok(count) => {
                    self.size += count as u64;
                    bytes = &bytes[count..];
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
        } else {
            self.measure();
        }
    }

    /// The file is full. Without backups it is emptied here; `true`: the core is to be asked.
    pub fn rotate(&mut self, now: Moment) -> bool {
        if self.settings.backups > 0 {
            self.rotation = Rotation::Asked;
            return true;
        }
        if self.empty().is_err() {
            self.kept(now);
        }
        false
    }

    /// Empties the file, whatever is in it.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.size = 0;
        Ok(())
    }

    /// Empties the file, but for the unfinished line at its end.
    fn empty(&mut self) -> io::Result<()> {
        let unfinished = self.movable(&self.file, self.size, EMPTY_KEEPS_MAX).map_or(0, |start| self.size - start);
        let mut line = vec![0; usize::try_from(unfinished).unwrap_or(0)];
        self.file.read_exact_at(&mut line, self.size - unfinished)?;
        self.file.set_len(0)?;
        self.size = 0;
        self.append(&line)
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
    pub fn replace(&mut self, file: OwnedFd, settings: SinkSettings, now: Moment) {
        let same = is_same(&self.file, &file);
        let old = std::mem::replace(&mut self.file, File::from(file));
        let rotation = std::mem::replace(&mut self.rotation, Rotation::Idle);
        let old_size = self.size;
        self.set(settings);
        self.measure();
        if let Some(failing) = &mut self.failing {
            failing.tried = Moment::default(); // the new one is tried at once
        }
        match rotation {
            Rotation::Idle => {}
            Rotation::Asked | Rotation::Crossed if same => {
                self.rotation = Rotation::Crossed;
                self.raise(now);
            }
            Rotation::Asked | Rotation::Crossed => self.carry(&old, old_size),
        }
    }

    /// Moves the unfinished line at the end of the old file to the new one.
    fn carry(&mut self, old: &File, old_size: u64) {
        let before = self.size;
        let Some(start) = self.movable(old, old_size, CARRY_MAX.min(self.max_bytes().saturating_sub(before))) else {
            return;
        };
        if self.copy(old, start, old_size).and_then(|()| old.set_len(start)).is_err() {
            // It stays where it is, cut in two: better than twice.
            let _ = self.file.set_len(before);
            self.measure();
        }
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
    let new = new.try_clone().map(File::from).and_then(|new| new.metadata());
    matches!((old.metadata(), new), (Ok(old), Ok(new)) if (old.dev(), old.ino()) == (new.dev(), new.ino()))
}
