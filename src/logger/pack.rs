//! Compressing one rotated file, a slice at a time: from the descriptor of the file to that of a temporary one
//! beside it. What becomes of the two is the core's affair: also should we die in the middle.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::pace::{Pace, SLICE};
use super::{Logger, LoggerError};
use crate::model::time::Moment;
use crate::protocol::logger::FromLogger;
use crate::protocol::spawner::SinkId;

pub struct Pack {
    sink: SinkId,
    source: File,
    target: File,
    encoder: GzEncoder<Vec<u8>>,
    /// The source as it was when we began: who can write there could make it grow for ever.
    size: u64,
    read: u64,
    buffer: Vec<u8>,
    pace: Pace,
}

impl Pack {
    /// # Errors
    /// As fstat(2).
    fn new(sink: SinkId, source: OwnedFd, target: OwnedFd, now: Moment) -> io::Result<Self> {
        let (source, target) = (File::from(source), File::from(target));
        let size = source.metadata()?.len();
        let encoder = GzEncoder::new(Vec::with_capacity(SLICE), Compression::default());
        let buffer = vec![0; SLICE];
        Ok(Self { sink, source, target, encoder, size, read: 0, buffer, pace: Pace::begin(now) })
    }

    /// Compresses the next slice; true when all is done.
    ///
    /// # Errors
    /// As read(2) and write(2).
    fn step(&mut self) -> io::Result<bool> {
        let most = usize::try_from(self.size - self.read).unwrap_or(SLICE).min(SLICE);
        let count = self.source.read(&mut self.buffer[..most])?;
        self.encoder.write_all(&self.buffer[..count])?;
        self.read += count as u64;
        if count == 0 {
            self.encoder.try_finish()?;
        }
        let out = self.encoder.get_mut();
        self.target.write_all(out)?;
        out.clear();
        Ok(count == 0)
    }

    fn report(&self, errno: Option<i32>) -> FromLogger {
        FromLogger::Compressed { sink: self.sink, bytes: self.read, errno }
    }
}

impl Logger {
    /// Begins with a file. The core gives one at a time.
    pub(super) fn begin_pack(&mut self, sink: SinkId, source: OwnedFd, target: OwnedFd) -> Result<(), LoggerError> {
        if self.pack.is_some() {
            return Err(LoggerError::Message("a file to compress before the last one was done".to_owned()));
        }
        match Pack::new(sink, source, target, self.now) {
            Ok(pack) => self.pack = Some(pack),
            Err(error) => self.tell(&FromLogger::Compressed { sink, bytes: 0, errno: Some(errno(&error)) })?,
        }
        Ok(())
    }

    /// After a turn of the loop: compresses a slice if it is time for one.
    pub(super) fn pack_on(&mut self, idle: bool) -> Result<(), LoggerError> {
        let Some(pack) = &mut self.pack else { return Ok(()) };
        if !pack.pace.is_due(idle, self.now) {
            return Ok(());
        }
        let errno = match pack.step() {
            Ok(false) if pack.pace.is_over(self.now) => Some(libc::ETIME),
            Ok(false) => return Ok(()),
            Ok(true) => None,
            Err(error) => Some(errno(&error)),
        };
        if errno.is_some() {
            // On a full disk, others need the room at once.
            let _ = pack.target.set_len(0);
        }
        let report = pack.report(errno);
        self.pack = None;
        self.tell(&report)
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_added_meanwhile_is_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let (source, target) = (directory.path().join("log.1"), directory.path().join("log.gz.tmp"));
        std::fs::write(&source, vec![b'x'; SLICE]).expect("written");
        let open = |path: &std::path::Path| OwnedFd::from(File::open(path).expect("opened"));
        let made = File::create(&target).expect("made").into();
        let mut pack = Pack::new(SinkId(1), open(&source), made, Moment::default()).expect("begun");
        let mut more = File::options().append(true).open(&source).expect("opened");
        let mut slices = 0;
        while !pack.step().expect("compressed") {
            slices += 1;
            more.write_all(b"more").expect("written");
        }
        assert_eq!((slices, pack.read), (1, SLICE as u64));
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(File::open(&target).expect("opened")).read_to_end(&mut bytes).expect("gzip");
        assert!(bytes == vec![b'x'; SLICE]);
    }
}
