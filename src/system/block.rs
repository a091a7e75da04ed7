//! A block of bytes in memory that outlives its user: the core holds a descriptor of it, the logger works
//! with it, and the next logger finds in it what the last one had in hand.
//!
//! Bytes come out of a pipe with splice(2): the kernel takes them from the pipe and moves the offset of the
//! memory, which all its descriptors share, in one call that no signal can cut in two. How much is in hand is
//! that offset. Before it lies a record, which is written and read in one piece.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, SpliceFFlags, fcntl, splice, tee};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::limits;

/// How many bytes a block holds, where files may have so many (RLIMIT_FSIZE).
pub const CAPACITY: usize = 256 << 10;
/// The record's length; it lies at the very beginning.
pub const RECORD: usize = 128;
/// Where the bytes begin: a page further, so that pages of a pipe fit pages here.
const START: usize = 4096;

/// New memory for a block, whose length nobody can change.
///
/// # Errors
/// ENOMEM, EMFILE; EFBIG when RLIMIT_FSIZE leaves no room for bytes.
pub fn memory() -> io::Result<OwnedFd> {
    let memory = memfd_create(c"in hand", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(memory);
    let length = limits::file_bytes()?.min((START + CAPACITY) as u64);
    if length <= START as u64 {
        return Err(Errno::EFBIG.into());
    }
    file.set_len(length)?;
    file.seek(SeekFrom::Start(START as u64))?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL))?;
    Ok(file.into())
}

/// The memory, and what is in it.
pub struct Block {
    memory: File,
    map: NonNull<u8>,
    /// How many bytes there is room for.
    capacity: usize,
    length: usize,
}

impl Block {
    /// Takes the memory over, with whatever is in it.
    ///
    /// # Errors
    /// EINVAL for any other file; ENOMEM.
    pub fn new(memory: OwnedFd) -> io::Result<Self> {
        let mut memory = File::from(memory);
        let sealed = SealFlag::from_bits_retain(fcntl(&memory, FcntlArg::F_GET_SEALS)?);
        let whole = usize::try_from(memory.metadata()?.len()).ok().and_then(NonZeroUsize::new).ok_or(Errno::EINVAL)?;
        let capacity = whole.get().checked_sub(START).filter(|capacity| (1..=CAPACITY).contains(capacity));
        let capacity = capacity.filter(|_| sealed.contains(SealFlag::F_SEAL_SHRINK)).ok_or(Errno::EINVAL)?;
        let end = memory.stream_position()?;
        let length = usize::try_from(end).unwrap_or(0).saturating_sub(START).min(capacity);
        // SAFETY: a new mapping of a file that cannot become shorter; it lives as long as this value.
        let map = unsafe { mmap(None, whole, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &memory, 0)? };
        Ok(Self { memory, map: map.cast(), capacity, length })
    }

    /// What is in hand.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: START and `length` lie within the mapping.
        let start = unsafe { self.map.add(START) };
        // SAFETY: the bytes are mapped as long as `self` lives, and they are changed only by the methods
        // below, which need `self` for themselves alone.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.length) }
    }

    /// For how many bytes more there is room.
    pub const fn room(&self) -> usize {
        self.capacity - self.length
    }

    /// Takes up to `most` bytes more out of a pipe, as far as there is room. 0: all write ends are closed.
    ///
    /// # Errors
    /// WouldBlock when the pipe is empty.
    pub fn take(&mut self, pipe: impl AsFd, most: usize) -> io::Result<usize> {
        let most = most.min(self.room());
        let count = splice(pipe, None, &self.memory, None, most, SpliceFFlags::SPLICE_F_NONBLOCK)?;
        self.length = (self.length + count).min(self.capacity);
        Ok(count)
    }

    /// Takes all that lies in a pipe, if there is room for it. Nobody else writes there.
    ///
    /// # Errors
    /// None on a pipe.
    pub fn take_all(&mut self, pipe: impl AsFd) -> io::Result<()> {
        while self.room() > 0 {
            match self.take(pipe.as_fd(), self.room()) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Adds bytes that came another way; what has no room is an error.
    ///
    /// # Errors
    /// EPERM: no room.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.room() {
            return Err(Errno::EPERM.into());
        }
        self.memory.write_all(bytes)?;
        self.length += bytes.len();
        Ok(())
    }

    /// Nothing is in hand any more.
    ///
    /// # Errors
    /// None on this memory.
    pub fn clear(&mut self) -> io::Result<()> {
        self.memory.seek(SeekFrom::Start(START as u64))?;
        self.length = 0;
        Ok(())
    }

    /// # Errors
    /// None on this memory.
    pub fn set_record(&self, record: &[u8; RECORD]) -> io::Result<()> {
        self.memory.write_all_at(record, 0)
    }

    /// # Errors
    /// None on this memory.
    pub fn record(&self) -> io::Result<[u8; RECORD]> {
        let mut record = [0; RECORD];
        self.memory.read_exact_at(&mut record, 0)?;
        Ok(record)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: made by `new` with this length; no slice of it outlives `self`.
        let _ = unsafe { munmap(self.map.cast(), START + self.capacity) };
    }
}

/// Looks at up to `most` bytes of a pipe by copying them into another, empty one; they stay where they are.
/// 0: all write ends are closed.
///
/// # Errors
/// WouldBlock when the pipe is empty.
pub fn copy_pipe(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    Ok(tee(from, to, most, SpliceFFlags::SPLICE_F_NONBLOCK)?)
}

/// Moves up to `most` bytes from one pipe to another, which is empty and has room for as many pieces. The kernel does it
/// with both pipes locked: all or, if it is killed before, nothing. 0: all write ends are closed.
///
/// # Errors
/// WouldBlock when the pipe is empty.
pub fn move_pipe(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    Ok(splice(from, None, to, None, most, SpliceFFlags::SPLICE_F_NONBLOCK)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::stdio::output_pipe;

    #[test]
    fn the_next_user_finds_what_the_last_one_had_in_hand() {
        let kept = memory().expect("memory");
        let (read, write) = output_pipe().expect("a pipe");
        File::from(write).write_all(b"one two three").expect("written");
        let mut block = Block::new(kept.try_clone().expect("a copy")).expect("a block");
        block.set_record(&[7; RECORD]).expect("written");
        assert_eq!(block.take(&read, 4).expect("taken"), 4);
        assert_eq!(block.take(&read, 4).expect("taken"), 4);
        block.add(b"!").expect("room");
        drop(block);
        let mut block = Block::new(kept.try_clone().expect("a copy")).expect("a block");
        assert_eq!((block.bytes(), block.record().expect("read")), (&b"one two !"[..], [7; RECORD]));
        block.clear().expect("cleared");
        assert_eq!(block.take(&read, 100).expect("taken"), 5);
        assert_eq!(block.bytes(), b"three");
        assert_eq!(block.take(&read, 100).expect("the end"), 0);
        assert!(block.add(&vec![0; CAPACITY]).is_err());
    }

    #[test]
    fn another_file_is_no_block() {
        assert!(Block::new(tempfile::tempfile().expect("a file").into()).is_err());
    }

    #[test]
    fn what_is_looked_at_stays() {
        let (read, write) = output_pipe().expect("a pipe");
        let (see, show) = output_pipe().expect("a pipe");
        File::from(write).write_all(b"abc").expect("written");
        assert_eq!(copy_pipe(&read, &show, 100).expect("copied"), 3);
        for pipe in [read, see] {
            let mut bytes = [0; 10];
            let count = std::io::Read::read(&mut File::from(pipe), &mut bytes).expect("read");
            assert_eq!(&bytes[..count], b"abc");
        }
    }
}
