//! What is in hand: the bytes that have left a pipe and are on their way to a file. They lie in memory that
//! the core keeps, with a record of where they go, so that no death loses or doubles one of them.
//!
//! In this order: the record, then the bytes out of the pipe, then their file, then nothing in hand. Each is
//! one step that a death cannot cut in two, or, for the file, one whose progress the file itself shows. Where lines
//! must stay whole, the bytes go by way of a pipe that the core keeps, too: into memory they come page by page, and what
//! a death left of a line in its own pipe would follow after the lines of others.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::record::Record;
use crate::protocol::spawner::SinkId;
use crate::system::block::{self, Block};
use crate::system::stdio;

/// The pipe that others are looked at through is as large as any that a program may have made of its own.
const LARGE_PIPE: i32 = 1 << 20;

pub struct Hand {
    block: Block,
    /// A pipe of our own, empty between two uses: what lies in another is looked at through it.
    see: File,
    show: OwnedFd,
    /// It is as large as any that is looked at.
    is_large: bool,
    /// Another, through which whole lines come in hand.
    out: OwnedFd,
    into: OwnedFd,
    /// What a logger that died was about to do.
    left: Record,
}

impl Hand {
    /// Takes over what the core keeps: the memory and the ends of two pipes.
    ///
    /// # Errors
    /// When they are something else.
    pub fn new(descriptors: [OwnedFd; 5]) -> io::Result<Self> {
        let [memory, see, show, out, into] = descriptors;
        let mut block = Block::new(memory)?;
        let left = Record::decode(&block.record()?);
        block.take_all(&out)?;
        // The core has made it so large, or could not; the kernel takes the same size once more.
        let is_large = [&show, &into].into_iter().all(|pipe| stdio::enlarge_pipe(pipe, LARGE_PIPE).is_ok());
        let mut hand = Self { block, see: File::from(see), show, is_large, out, into, left };
        hand.empty_pipe();
        // Bytes without a record were put there by nobody, and a record without bytes is over, but this one.
        if !matches!(left, Record::Carrying { .. }) && (left == Record::Nothing || hand.block.bytes().is_empty()) {
            hand.forget_left()?;
        }
        Ok(hand)
    }

    /// Another logger may have died between the two ends of the pipe.
    fn empty_pipe(&mut self) {
        let mut rest = [0; 4096];
        while matches!(self.see.read(&mut rest), Ok(count) if count > 0) {}
    }

    /// What a logger that died has left to do.
    pub const fn left(&self) -> Record {
        self.left
    }

    /// It is done, or cannot be.
    ///
    /// # Errors
    /// None on this memory.
    pub fn forget_left(&mut self) -> io::Result<()> {
        self.left = Record::Nothing;
        self.done()?;
        self.note(&Record::Nothing)
    }

    /// The same, if it is about this file.
    ///
    /// # Errors
    /// None on this memory.
    pub fn forget_left_of(&mut self, sink: SinkId) -> io::Result<()> {
        if self.left.sink() == Some(sink) { self.forget_left() } else { Ok(()) }
    }

    pub fn bytes(&self) -> &[u8] {
        self.block.bytes()
    }

    /// Notes what is done next. Nothing is in hand.
    ///
    /// # Errors
    /// None on this memory.
    pub fn note(&self, record: &Record) -> io::Result<()> {
        self.block.set_record(&record.encode())
    }

    /// Takes up to `most` bytes out of a pipe.
    ///
    /// # Errors
    /// As [`Block::take`].
    pub fn take(&mut self, pipe: impl AsFd, most: usize) -> io::Result<usize> {
        self.block.take(pipe, most)
    }

    /// The same in one step that no death cuts in two.
    ///
    /// # Errors
    /// As [`Block::take`].
    pub fn take_whole(&mut self, pipe: impl AsFd, most: usize) -> io::Result<usize> {
        let count = block::move_pipe(pipe, &self.into, most.min(self.block.room()))?;
        self.block.take_all(&self.out)?;
        Ok(count)
    }

    /// For how many bytes more there is room.
    pub const fn room(&self) -> usize {
        self.block.room()
    }

    /// Takes bytes that are in our own memory already.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.block.add(bytes)
    }

    /// What is in hand is where it belongs.
    ///
    /// # Errors
    /// None on this memory.
    pub fn done(&mut self) -> io::Result<()> {
        self.block.clear()
    }

    /// Whether a look shows all that lies in a pipe, if there is room for it.
    pub const fn sees_all(&self) -> bool {
        self.is_large
    }

    /// Copies the beginning of what lies in a pipe, and leaves it there. 0: it has ended.
    ///
    /// # Errors
    /// WouldBlock when it is empty.
    pub fn look(&mut self, pipe: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
        let count = block::copy_pipe(pipe, &self.show, bytes.len())?;
        self.see.read_exact(&mut bytes[..count])?;
        Ok(count)
    }
}

/// How many bytes are in hand at most.
pub const CAPACITY: usize = block::CAPACITY;
