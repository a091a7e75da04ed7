//! The event log: events wait here until they are written, and are written once.
//!
//! A batch is one write(2). After a short one the file is cut back to its last whole line; after an error
//! the events stay, up to a bound, and the file is tried again.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::alert::line;
use crate::model::event::{Event, EventLogFormat};
use crate::model::time::Moment;
use crate::protocol::notifier::FromNotifier;

/// How many events wait, at most; beyond, the oldest are lost.
pub const WAITING_MAX: usize = 10_000;
/// How often a failing file is tried without a new event.
pub const RETRY: Duration = Duration::from_secs(1);
/// How much of the end of the file is searched for what an earlier notifier wrote: more than the events that
/// the core sends without an acknowledgement.
const SEARCHED: u64 = 512 << 10;
/// About how much is written at once.
const BATCH: usize = 256 << 10;
/// And while the file fails: each new event tries it.
const TRIAL: usize = 4 << 10;

#[derive(Default)]
pub struct EventLog {
    file: Option<File>,
    format: EventLogFormat,
    /// Events and whether they may stand in the file already.
    waiting: VecDeque<(Box<Event>, bool)>,
    /// The lines at the end of the first file, until the first event that is new.
    earlier: Option<HashSet<Vec<u8>>>,
    missing: u64,
    failing: bool,
    retry: Option<Moment>,
}

impl EventLog {
    /// Takes the file: the first one, or the next after a reopening.
    pub fn open(&mut self, file: OwnedFd, format: EventLogFormat) {
        let file = File::from(file);
        if self.file.is_none() {
            self.earlier =
                last_bytes(&file).map(|bytes| bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect());
        }
        self.file = Some(file);
        self.format = format;
    }

    pub fn push(&mut self, event: Box<Event>, again: bool) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
            self.missing += 1;
        }
        self.waiting.push_back((event, again));
    }

    /// When to try again by itself.
    pub fn retry(&self) -> Option<Moment> {
        self.retry
    }

    /// Writes what waits, as far as it can; gives what is to be told to the core, `Written` last.
    pub fn write(&mut self, now: Moment) -> Vec<FromNotifier> {
        let mut told = Vec::new();
        let mut written = None;
        self.retry = None;
        while !self.waiting.is_empty() && self.file.is_some() {
            let (last, result) = self.write_batch();
            written = last.or(written);
            match result {
                Ok(()) => {
                    if std::mem::take(&mut self.failing) | (self.missing > 0) {
                        told.push(FromNotifier::LogRecovered { missing: std::mem::take(&mut self.missing) });
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        let errno = error.raw_os_error().unwrap_or(libc::EIO);
                        told.push(FromNotifier::LogFailing { errno });
                    }
                    self.retry = Some(now + RETRY);
                    break;
                }
            }
        }
        told.extend(written.map(|seq| FromNotifier::Written { seq }));
        told
    }

    /// One write; gives the last sequence number that is in the file now, if one more is, and the error.
    fn write_batch(&mut self) -> (Option<u64>, io::Result<()>) {
        let (ends, bytes) = match self.batch() {
            Ok(batch) => batch,
            Err(error) => return (None, Err(error)),
        };
        let Some(file) = &self.file else { return (None, Ok(())) };
        let result = if bytes.is_empty() { Ok(0) } else { write_once(file, &bytes) };
        let count = *result.as_ref().unwrap_or(&0);
        let events = ends.iter().take_while(|end| **end <= count).count();
        let whole = events.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0);
        if whole < count
            && let Ok(metadata) = file.metadata()
        {
            // If that fails, too, the next line begins on a line of its own (`start_of_line`).
            let _ = file.set_len(metadata.len().saturating_sub((count - whole) as u64));
        }
        // What stands there already is done, whatever became of the rest.
        let last = self.waiting.drain(..events).next_back().map(|(event, _)| event.seq);
        let none_fits = result.is_ok() && last.is_none();
        let result = if none_fits { Err(io::Error::from_raw_os_error(libc::ENOSPC)) } else { result };
        (last, result.map(drop))
    }

    /// The lines of the next events, and how many bytes there are after each.
    fn batch(&mut self) -> io::Result<(Vec<usize>, Vec<u8>)> {
        let Some(file) = &self.file else { return Ok((Vec::new(), Vec::new())) };
        let mut bytes = start_of_line(file, &self.waiting, self.format)?;
        let mut ends = Vec::new();
        let most = if self.failing { TRIAL } else { BATCH };
        for (event, again) in &self.waiting {
            let line = render(event, self.format);
            if !again {
                self.earlier = None;
            }
            if !self.earlier.as_ref().is_some_and(|earlier| earlier.contains(line.as_bytes())) {
                bytes.extend_from_slice(line.as_bytes());
                bytes.push(b'\n');
            }
            ends.push(bytes.len());
            if bytes.len() >= most {
                break;
            }
        }
        Ok((ends, bytes))
    }
}

fn render(event: &Event, format: EventLogFormat) -> String {
    match format {
        EventLogFormat::Text => line::text(event),
        EventLogFormat::Json => line::json(event),
    }
}

fn write_once(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match file.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn last_bytes(file: &File) -> Option<Vec<u8>> {
    let size = file.metadata().ok()?.len();
    let start = size.saturating_sub(SEARCHED);
    let mut bytes = vec![0; usize::try_from(size - start).ok()?];
    file.read_exact_at(&mut bytes, start).ok()?;
    Some(bytes)
}

/// What must be written first so that a new line begins. A half line of an event that is sent again was
/// left by a notifier that died: it is cut off; another's is ended.
fn start_of_line(file: &File, waiting: &VecDeque<(Box<Event>, bool)>, format: EventLogFormat) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    let mut last = [0];
    if size == 0 || file.read_exact_at(&mut last, size - 1).is_err() || last == *b"\n" {
        return Ok(Vec::new());
    }
    let bytes = last_bytes(file).unwrap_or_default();
    let half = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_ours = |(event, again): &(Box<Event>, bool)| *again && render(event, format).as_bytes().starts_with(half);
    let is_whole = half.len() < bytes.len() || size == bytes.len() as u64;
    if is_whole && waiting.iter().any(is_ours) {
        file.set_len(size - half.len() as u64)?;
        return Ok(Vec::new());
    }
    Ok(vec![b'\n'])
}
