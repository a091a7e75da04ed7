//! Which rotated file is compressed next, and how far that has come. One at a time over all logs, so that no
//! queue grows and the logger needs memory for one: a log whose files are rotated faster than they are compressed
//! only loses its oldest ones, as without compression.
//!
//! | step | whose | at its end |
//! |---|---|---|
//! | `Open` | a clone | nothing is left to compress: over; else `Pack` |
//! | `Pack` | the logger | `Sync` |
//! | `Sync` | a clone, the file | `Put` |
//! | `Put` | a clone | `SyncName`, `Remove` if the directory is not known |
//! | `SyncName` | a clone, the directory | `Remove` |
//! | `Remove` | a clone | over; the log's next file gets its turn after those of others |
//! | `Discard` | a clone | over: a step before it has failed |
//!
//! Those that look at names keep rotations of the same log waiting; they are short. Those that wait for the
//! disk or the logger do not.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use crate::model::time::Moment;
use crate::protocol::spawner::SinkId;

use super::sink::next_pause;

/// `bytes`: how many were compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Open,
    Pack,
    Sync { bytes: u64 },
    Put { bytes: u64 },
    SyncName { bytes: u64 },
    Remove { bytes: u64 },
    Discard,
}

impl Step {
    /// Whether no rotation of the log may come between.
    pub const fn looks_at_names(self) -> bool {
        matches!(self, Self::Open | Self::Put { .. } | Self::Remove { .. } | Self::Discard)
    }
}

/// `F`: an open file.
struct Work<F> {
    sink: SinkId,
    step: Step,
    /// Somebody is at this step.
    begun: bool,
    /// The rotated file, its compressed form, their directory.
    files: Vec<F>,
}

/// A log whose files could not be compressed.
struct Failing {
    /// Not tried again before this; `None` once it has passed.
    until: Option<Moment>,
    pause: Duration,
    told: bool,
}

pub struct Compression<F> {
    /// Logs that may have files to compress.
    wanted: BTreeSet<SinkId>,
    failing: BTreeMap<SinkId, Failing>,
    work: Option<Work<F>>,
    /// Whose turn it was last.
    last: SinkId,
    /// The supervisor ends: nothing new is begun.
    over: bool,
}

impl<F> Default for Compression<F> {
    fn default() -> Self {
        Self { wanted: BTreeSet::new(), failing: BTreeMap::new(), work: None, last: SinkId(0), over: false }
    }
}

impl<F: Clone> Compression<F> {
    /// A log may have a file to compress.
    pub fn want(&mut self, sink: SinkId) {
        self.wanted.insert(sink);
    }

    /// Its files stay as they are from now on. What is being done is still done.
    pub fn forget(&mut self, sink: SinkId) {
        self.wanted.remove(&sink);
        self.failing.remove(&sink);
    }

    /// Whether something is being done about a log.
    pub fn is_at(&self, sink: SinkId) -> bool {
        self.work.as_ref().is_some_and(|work| work.sink == sink)
    }

    /// Whether a step is being done that no rotation may come between.
    pub fn holds_names(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.begun && work.step.looks_at_names())
    }

    /// What is to be done now, if there is something; it has begun then. `may`: whether a step of a log is possible
    /// now.
    pub fn next(&mut self, now: Moment, may: impl Fn(SinkId, Step) -> bool) -> Option<(SinkId, Step, Vec<F>)> {
        if self.work.is_none() {
            let sink = self.choose(now, |sink| may(sink, Step::Open))?;
            self.last = sink;
            self.work = Some(Work { sink, step: Step::Open, begun: false, files: Vec::new() });
        }
        let work = self.work.as_mut().filter(|work| !work.begun && may(work.sink, work.step))?;
        work.begun = true;
        Some((work.sink, work.step, work.files.clone()))
    }

    /// Each log in its turn.
    fn choose(&mut self, now: Moment, may: impl Fn(SinkId) -> bool) -> Option<SinkId> {
        if self.over {
            return None;
        }
        for failing in self.failing.values_mut() {
            failing.until = failing.until.filter(|until| now < *until);
        }
        let ready =
            |sink: &&SinkId| self.failing.get(sink).is_none_or(|failing| failing.until.is_none()) && may(**sink);
        let mut turn = self.wanted.range((Excluded(self.last), Unbounded)).chain(self.wanted.range(..=self.last));
        turn.find(ready).copied()
    }

    /// When a log is to be tried again.
    pub fn deadline(&self) -> Option<Moment> {
        if self.work.is_some() || self.over {
            return None;
        }
        self.failing.values().filter_map(|failing| failing.until).min()
    }

    /// A clone has opened another file for the step that has begun. There are three, whatever it says.
    pub fn opened(&mut self, file: F) {
        if let Some(work) = self.work.as_mut().filter(|work| work.step == Step::Open && work.files.len() < 3) {
            work.files.push(file);
        }
    }

    /// The logger is done; `bytes`: how many were compressed. True if that was what it should do.
    pub fn packed(&mut self, sink: SinkId, bytes: u64) -> bool {
        match self.work.as_mut().filter(|work| work.sink == sink && work.step == Step::Pack) {
            Some(work) => {
                (work.step, work.begun) = (Step::Sync { bytes }, false);
                true
            }
            None => false,
        }
    }

    /// The clone of a step is done. True if the log's files could not be compressed before, and can now.
    pub fn done(&mut self) -> bool {
        let Some(work) = &mut self.work else { return false };
        let next = match work.step {
            Step::Open if work.files.len() < 2 => {
                let sink = work.sink;
                self.wanted.remove(&sink);
                return self.end_well(sink);
            }
            Step::Open if self.over => Step::Discard,
            Step::Open => Step::Pack,
            Step::Sync { bytes } => Step::Put { bytes },
            Step::Put { bytes } if work.files.len() > 2 => Step::SyncName { bytes },
            Step::Put { bytes } | Step::SyncName { bytes } => Step::Remove { bytes },
            Step::Remove { .. } => {
                let sink = work.sink;
                return self.end_well(sink);
            }
            Step::Discard => {
                self.work = None;
                return false;
            }
            // That is the logger's.
            Step::Pack => return false,
        };
        (work.step, work.begun) = (next, false);
        false
    }

    fn end_well(&mut self, sink: SinkId) -> bool {
        self.work = None;
        self.failing.remove(&sink).is_some_and(|failing| failing.told)
    }

    /// The step has failed: what is not complete is removed, and the log is tried again after a pause that grows.
    /// True if that is to be told, which only happens once in a row, and only if it is `worth` it.
    pub fn failed(&mut self, now: Moment, worth: bool) -> bool {
        let Some(work) = &mut self.work else { return false };
        if work.step == Step::Discard {
            self.work = None;
            return false;
        }
        (work.step, work.begun) = (Step::Discard, false);
        if !self.wanted.contains(&work.sink) {
            return false;
        }
        let known = self.failing.get(&work.sink);
        let pause = next_pause(known.map(|known| known.pause));
        let told = known.is_some_and(|known| known.told);
        self.failing.insert(work.sink, Failing { until: Some(now + pause), pause, told: told || worth });
        worth && !told
    }

    /// The logger has died. It may have been the file, which is not worth a word as long as another logger can do
    /// it; but it gets a pause, so that no file ends one logger after the other.
    pub fn logger_died(&mut self, now: Moment) {
        if self.work.as_ref().is_some_and(|work| work.step == Step::Pack && work.begun) {
            self.failed(now, false);
        }
    }

    /// The supervisor ends: what takes long is given up, and its beginnings removed.
    pub fn wind_up(&mut self) {
        self.over = true;
        if let Some(work) = self.work.as_mut().filter(|work| work.step == Step::Pack) {
            (work.step, work.begun) = (Step::Discard, false);
        }
    }
}

#[cfg(test)]
#[path = "compress_tests.rs"]
mod tests;
