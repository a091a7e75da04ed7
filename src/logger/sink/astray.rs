//! A file that is not where it should be: somebody has renamed it, removed it, or taken its directory away, and has
//! not told us. Nothing is written into a file that nobody can find any more; one that has another name is gone on
//! with until the core has opened the one that has its name, or cannot.
//!
//! The removal is seen before each write, the other name within a second, and only when there is something to write.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::loss::Wrote;
use super::{Rotation, Sink, carry};
use crate::logger::hand::Hand;
use crate::model::time::Moment;
use crate::protocol::logger::FileName;
use crate::system::place;

/// How often, at most, a file's name is looked at, and the core asked.
const LOOK: Duration = Duration::from_secs(1);

/// Where a file is, as far as is known.
#[derive(Default)]
pub(super) struct Whereabouts {
    /// What it was called when it was opened.
    name: Option<FileName>,
    looked: Moment,
    is_removed: bool,
    /// How long it was when it was last sure not to be removed: what is behind may be where nobody finds it.
    known: u64,
    /// It is removed, and the core has no other.
    is_given_up: bool,
}

impl Whereabouts {
    pub fn new(name: Option<FileName>, size: u64, is_removed: bool) -> Self {
        Self { name, known: size, is_removed, ..Self::default() }
    }

    pub fn seen(&mut self, now: &Metadata) {
        self.is_removed = now.nlink() == 0;
        // To remove a name changes the file, too: what came last tells whether all was written before.
        let was_written_since = (now.mtime(), now.mtime_nsec()) >= (now.ctime(), now.ctime_nsec());
        if !self.is_removed || !was_written_since {
            self.known = now.len();
        }
    }

    /// Nothing is written to it.
    pub const fn is_given_up(&self) -> bool {
        self.is_given_up
    }
}

impl Sink {
    /// Measures the file, and tells whether the core is to be asked for another. Before each write.
    pub fn is_astray(&mut self, now: Moment) -> bool {
        self.measure();
        if self.rotation != Rotation::Idle || self.is_closing {
            return false;
        }
        let at = &mut self.at;
        let is_time = now >= at.looked + LOOK;
        if at.is_removed {
            return is_time || !at.is_given_up;
        }
        if !is_time {
            return false;
        }
        let is_called = at.name.and_then(|_| place::name_of(&self.file)).map(FileName);
        if is_called != at.name && is_called.is_some() {
            return true;
        }
        at.looked = now;
        false
    }

    /// The core is asked.
    pub const fn ask_where(&mut self) {
        self.rotation = Rotation::Astray;
    }

    /// The core has no other file. A removed one is not written: what should go there is lost.
    pub(super) fn still_astray(&mut self, now: Moment) -> Wrote {
        self.measure();
        self.at.looked = now;
        if !self.at.is_removed {
            return Wrote::All;
        }
        self.at.is_given_up = true;
        self.loss.count(self.size - self.at.known.min(self.size));
        self.at.known = self.size;
        self.loss.failed(libc::ENOENT, now)
    }

    /// Moves to this file what was written to one that was being removed, and the line that it is part of.
    pub(super) fn rescue(&mut self, old: &File, known: u64, hand: &Hand) -> io::Result<()> {
        let end = old.metadata()?.len();
        let start = carry::unfinished_line(old, known, carry::CARRY_MAX).unwrap_or(known);
        if start < end && !self.transfer(old, start, end, hand)? {
            self.loss.count(end - known.min(end));
        }
        Ok(())
    }

    /// Somebody has removed a file since the bytes behind `size` were noted to go there: all of them are to be
    /// moved.
    pub(super) fn known_only_until(&mut self, size: u64) {
        self.at.known = self.at.known.min(size);
    }

    /// How much of the file could be found when it was last seen, if it cannot be any more.
    pub(super) const fn lost_from(&self) -> Option<u64> {
        if self.at.is_removed && !self.at.is_given_up { Some(self.at.known) } else { None }
    }
}
