//! The unfinished line at the end of a file that is full, because bytes are written as they come: a rotation
//! moves it to the new file. It is copied first and cut off after. What a death in between leaves is put right by
//! the next logger ([`Sink::recover`]), from the record in the hand.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::{Sink, identity, is_removed};
use crate::logger::cut;
use crate::logger::hand::{self, Hand};
use crate::logger::record::{self, Record};

/// The longest unfinished line that is moved at a rotation.
pub(super) const CARRY_MAX: u64 = 64 << 20;
const COPY: usize = 64 << 10;
/// The longest that is kept when a file is emptied in place.
const EMPTY_KEEPS_MAX: u64 = hand::CAPACITY as u64;

impl Sink {
    /// Empties the file, but for the unfinished line at its end: that is in hand meanwhile.
    pub(super) fn empty(&mut self, hand: &mut Hand) -> io::Result<()> {
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

    /// Moves the unfinished line at the end of the old file to the new one.
    pub(super) fn carry(&mut self, old: &File, end: u64, hand: &Hand) -> io::Result<()> {
        let most = CARRY_MAX.min(self.max_bytes().saturating_sub(self.size));
        if let Some(start) = self.movable(old, end, most) {
            self.transfer(old, start, end, hand)?;
        }
        Ok(())
    }

    /// Moves the end of the old file to the new one; `false`: that could not take it.
    pub(super) fn transfer(&mut self, old: &File, start: u64, end: u64, hand: &Hand) -> io::Result<bool> {
        let size = self.size;
        hand.note(&Record::Carrying { sink: self.id, file: self.identity, size, start, end })?;
        let moved = self.copy(old, start, end).and_then(|()| old.set_len(start)).is_ok();
        if !moved {
            // It stays where it is, cut in two: better than twice.
            let _ = self.file.set_len(size);
            self.look_at_file();
        }
        hand.note(&Record::Nothing)?;
        Ok(moved)
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
        let (mut rest, mut begun) = (Vec::new(), None);
        match hand.left() {
            Record::Writing { sink, file, size, dress } if sink == self.id => {
                rest = dress.apply(hand.bytes()).into_owned();
                if file == self.identity {
                    self.known_only_until(size);
                }
                // What was written to one that is removed is nowhere.
                let before = before.filter(|before| !is_removed(before));
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
            Record::Carrying { sink, file, size, start, end }
                if sink == self.id
                    && file == self.identity
                    && before.and_then(|before| before.metadata().ok()).is_some_and(|before| before.len() == end) =>
            {
                self.file.set_len(size)?;
                begun = Some((start, end));
            }
            _ => {}
        }
        if hand.left().sink() == Some(self.id) {
            self.look_at_file();
            if rest.is_empty() {
                hand.forget_left()?;
            }
        }
        if let (Some(before), Some((start, end))) = (before, begun) {
            self.transfer(before, start, end, hand)?;
        } else if let Some(before) = before
            && (rotated || is_removed(before))
            && rest.is_empty()
            && self.size == 0
            && identity(before) != Some(self.identity)
        {
            let end = before.metadata()?.len();
            self.carry(before, end, hand)?;
        }
        Ok(rest)
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
pub(super) fn unfinished_line(file: &File, size: u64, most: u64) -> Option<u64> {
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
