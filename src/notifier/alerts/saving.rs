//! The state of alerts on disk: when it is written, what of it, and how a new notifier goes on from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::pipelines::Pipelines;
use super::{Alerts, Network, Now};
use crate::alert::entry::Entry;
use crate::alert::queue::{Queue, SavedFailure};
use crate::model::id::ChannelName;
use crate::model::time::Moment;
use crate::notifier::spool::STATE_MAX;

/// The least time from one writing of the state to the next, while nothing hurries.
pub(super) const SAVE_INTERVAL: Duration = Duration::from_millis(250);
/// Half of the events that the core sends before it waits for an acknowledgement.
pub(super) const UNSAVED_MAX: usize = 256;

/// When the state is written. All of it is written each time: a flood of events makes it no more often than
/// the disk can bear, and the events wait that long for their acknowledgement.
#[derive(Default)]
pub(super) struct Saves {
    /// The pipelines differ from what was saved last.
    pub(super) is_due: bool,
    /// Events since then.
    pub(super) events: usize,
    /// Not before, unless something hurries.
    pub(super) next: Moment,
    /// The supervisor ends: at once, from now on.
    pub(super) hurries: bool,
}

#[derive(Serialize)]
struct State<'a, P> {
    run: u64,
    seq: u64,
    pipelines: P,
    outbox: Vec<&'a Entry>,
    /// Channels that fail, with the mark of their settings.
    failing: BTreeMap<&'a str, (u64, SavedFailure)>,
}

#[derive(Deserialize)]
struct SavedState {
    run: u64,
    seq: u64,
    #[serde(default)]
    pipelines: serde_json::Value,
    #[serde(default)]
    outbox: Vec<serde_json::Value>,
    #[serde(default)]
    failing: BTreeMap<ChannelName, serde_json::Value>,
}

impl<N: Network> Alerts<N> {
    pub(super) fn restore(&mut self, state: serde_json::Value, now: Now) {
        let state = match serde_json::from_value::<SavedState>(state) {
            Ok(state) => state,
            Err(error) => {
                self.lose(0, &format!("state.json in the spool is not what it should be: {error}"));
                return;
            }
        };
        (self.run, self.seq) = (state.run, state.seq);
        self.pipelines = Pipelines::restore(&state.pipelines, now);
        for (channel, failure) in state.failing {
            // Without it the channel is tried at once.
            let Ok((mark, failure)) = serde_json::from_value::<(u64, SavedFailure)>(failure) else { continue };
            self.queues.channels.entry(channel.clone()).or_default().restore(failure, now.moment, now.wall);
            self.marks.insert(channel, mark);
        }
        for entry in state.outbox {
            let Ok(entry) = serde_json::from_value::<Entry>(entry) else {
                self.lose(1, "a message in state.json is not what it should be");
                continue;
            };
            self.outbox.insert(entry.notice.id.clone());
            let is_buried = self.queues.dead().any(|dead| dead.notice.id == entry.notice.id);
            let is_merged =
                self.queues.channels.values().flat_map(Queue::entries).any(|e| e.merged.contains(&entry.notice.id));
            if self.spool.is_unfiled(&entry) && !is_buried && !is_merged {
                let bytes = self.spool.put(&entry);
                self.queue(entry, bytes, now);
            }
        }
    }

    /// What the events so far have changed is on disk.
    pub fn is_saved(&self) -> bool {
        !self.saves.is_due
    }

    /// What somebody asked for is on disk before it is answered.
    pub(super) fn save_now(&mut self) {
        (self.is_changed, self.saves.next) = (true, Moment::default());
    }

    /// Brings everything to disk, the state if it is time for it.
    pub(super) fn persist(&mut self, now: Now) {
        self.is_changed = false;
        self.saves.is_due |= self.pipelines.take_changed();
        if !self.spool.is_on_disk() {
            self.saves.is_due = false;
            return;
        }
        let health_changes = self.queues.channels.values_mut().map(Queue::take_change).fold(false, |a, b| a | b);
        let entries = self.queues.channels.values().flat_map(Queue::entries);
        let unfiled: Vec<&Entry> = entries.filter(|entry| self.spool.is_unfiled(entry)).collect();
        let new: BTreeSet<String> = unfiled.iter().map(|entry| entry.notice.id.clone()).collect();
        let is_time = self.saves.hurries || self.saves.events >= UNSAVED_MAX || self.saves.next <= now.moment;
        let saves = self.outbox_must_go || !new.is_empty() || health_changes || (self.saves.is_due && is_time);
        let mut is_saved = false;
        if saves {
            let (run, seq, pipelines) = (self.run, self.seq, self.pipelines.save(now));
            let state = State { run, seq, pipelines, outbox: unfiled, failing: self.failing(now) };
            // The state has string keys only: to_vec cannot fail on it.
            let bytes = serde_json::to_vec(&state).unwrap_or_default();
            drop(state);
            is_saved = bytes.len() <= STATE_MAX;
            if is_saved {
                self.spool.save(bytes);
                self.outbox.extend(new.iter().cloned());
            } else if new.is_empty() {
                self.lose(0, &format!("the state of {} bytes is too large to be saved", bytes.len()));
            }
            // What was too large for the state with its new messages fits when they have files of their own.
            let is_due = !is_saved && !new.is_empty();
            let next = if is_due { Moment::default() } else { now.moment + SAVE_INTERVAL };
            self.saves = Saves { is_due, next, hurries: self.saves.hurries, ..Saves::default() };
        }
        if self.spool.flush(now.moment) && is_saved {
            (self.outbox, self.outbox_must_go) = (new, false);
        }
    }

    /// The channels that fail, as they are to be on disk.
    fn failing(&self, now: Now) -> BTreeMap<&str, (u64, SavedFailure)> {
        let failing = self.queues.channels.iter().filter_map(|(name, queue)| {
            let failure = queue.failure(now.moment, now.wall)?;
            Some((name.0.as_str(), (self.marks.get(name).copied().unwrap_or_default(), failure)))
        });
        failing.collect()
    }

    /// The core is gone, in an orderly way or not: what is under way goes on in the next notifier.
    pub fn end(&mut self, now: Now) {
        for queue in self.queues.channels.values_mut() {
            if let Some(entry) = queue.abandon() {
                self.spool.put(entry);
            }
        }
        self.saves.hurries = true;
        self.saves.is_due |= self.settings.is_some();
        self.persist(now);
    }
}
