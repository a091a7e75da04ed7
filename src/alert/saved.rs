//! What a pipeline remembers over a restart of the notifier, the supervisor or the machine: what is open,
//! what was told, and what remains of each wait.
//!
//! A file is no better than the disk it lies on: what is loaded is checked, nothing in it can make a wait
//! longer than the configuration's longest, and nonsense is refused in words.
#![forbid(unsafe_code)]

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bucket::Bucket;
use super::deadline::Deadline;
use super::flap::Openings;
use super::incident::Incident;
use super::occurrence::Occurrence;
use super::pipeline::{INCIDENTS_MAX, OPENINGS_MAX, Pipeline, Supervisor};
use crate::model::notify::Timing;
use crate::model::time::Moment;

pub const VERSION: u32 = 1;
/// How much output is saved of all incidents of a channel, in bytes: that of those that were heard of last.
const OUTPUTS_MAX: usize = 1 << 20;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Saved {
    pub version: u32,
    incidents: Vec<Incident>,
    occurrences: Vec<Occurrence>,
    openings: Vec<Openings>,
    buckets: Vec<(Vec<String>, Bucket)>,
    dropped: u64,
    supervisor: Supervisor,
    has_told: bool,
}

impl Saved {
    /// Reads what was saved.
    ///
    /// # Errors
    /// In words: of another version, or not readable.
    pub fn read(value: &serde_json::Value) -> Result<Self, String> {
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => return Err(format!("the state has version {version}, and only {VERSION} can be read")),
            None => return Err("the state has no version".to_owned()),
        }
        Self::deserialize(value).map_err(|error| format!("the state cannot be read: {error}"))
    }

    fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("the state has version {}, and only {VERSION} can be read", self.version));
        }
        // Occurrences beyond the bound go by their kinds alone, of which there are few.
        if self.incidents.len() > INCIDENTS_MAX
            || self.occurrences.len() > INCIDENTS_MAX + 100
            || self.openings.len() > OPENINGS_MAX
        {
            return Err("the state holds more than there can be".to_owned());
        }
        if let Some(incident) = self.incidents.iter().find(|incident| incident.is_nonsense()) {
            return Err(format!("the state of the incident {:?} contradicts itself", incident.id));
        }
        if let Some(occurrence) = self.occurrences.iter().find(|occurrence| occurrence.is_nonsense()) {
            return Err(format!("the state of the occurrence {:?} contradicts itself", occurrence.id));
        }
        Ok(())
    }

    fn bound_outputs(&mut self) {
        let mut incidents: Vec<&mut Incident> = self.incidents.iter_mut().collect();
        incidents.sort_by_key(|incident| std::cmp::Reverse(incident.weight().0));
        let mut sum = 0;
        for incident in incidents {
            sum += incident.weight().1;
            if sum > OUTPUTS_MAX {
                incident.forget_output();
            }
        }
    }

    fn each_deadline(&mut self, change: &mut dyn FnMut(&mut Deadline)) {
        self.incidents.iter_mut().for_each(|incident| incident.each_deadline(change));
        self.occurrences.iter_mut().for_each(|occurrence| occurrence.each_deadline(change));
        self.openings.iter_mut().for_each(|openings| openings.each_deadline(change));
        self.buckets.iter_mut().for_each(|(_, bucket)| bucket.each_deadline(change));
    }
}

/// The longest that anything waits.
fn longest(timing: &Timing) -> Duration {
    let waits = [
        timing.group_wait,
        timing.group_interval,
        timing.recovery_after,
        timing.flap_window,
        timing.flap_clear,
        timing.rate_limit.interval,
        Duration::from_secs(1),
    ];
    waits.into_iter().chain(timing.remind_after.iter().copied()).max().unwrap_or_default()
}

impl Pipeline {
    /// What is to be on disk before the events so far are acknowledged.
    pub fn save(&self, now: Moment) -> Saved {
        let mut saved = Saved {
            version: VERSION,
            incidents: self.incidents.values().cloned().collect(),
            occurrences: self.occurrences.values().cloned().collect(),
            openings: self.openings.values().cloned().collect(),
            buckets: self.buckets.iter().map(|(to, bucket)| (to.clone(), bucket.clone())).collect(),
            dropped: self.dropped,
            supervisor: self.supervisor,
            has_told: self.has_told,
        };
        saved.each_deadline(&mut |deadline| deadline.suspend(now));
        saved.bound_outputs();
        saved
    }

    /// Goes on where a pipeline of this channel was; before its first event.
    ///
    /// # Errors
    /// In words; then this one is as new.
    pub fn restore(&mut self, mut saved: Saved, now: Moment) -> Result<(), String> {
        saved.check()?;
        let longest = longest(&self.channel.timing);
        saved.each_deadline(&mut |deadline| deadline.resume(now, longest));
        self.incidents = saved.incidents.into_iter().map(|incident| (incident.subject.clone(), incident)).collect();
        self.occurrences = saved.occurrences.into_iter().map(|known| (known.key(), known)).collect();
        self.openings = saved.openings.into_iter().map(|known| (known.subject.clone(), known)).collect();
        self.buckets = saved.buckets.into_iter().collect();
        self.dropped = saved.dropped;
        self.supervisor = saved.supervisor;
        self.has_told = saved.has_told;
        Ok(())
    }
}
