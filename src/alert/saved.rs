//! What a pipeline remembers over a restart of the notifier, the supervisor or the machine: what is open,
//! what was told, and what remains of each wait.
//!
//! A file is no better than the disk it lies on: what is loaded is checked, nothing in it can make a wait
//! longer than the configuration's longest, and nonsense is refused in words.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::bucket::Bucket;
use super::deadline::Deadline;
use super::flap::Openings;
use super::incident::Incident;
use super::occurrence::Occurrence;
use super::pipeline::{INCIDENTS_MAX, OPENINGS_MAX, Pipeline, Supervisor};
use crate::model::notify::Timing;
use crate::model::time::{Moment, WallTime};

pub const VERSION: u32 = 1;
/// How much output is saved of all incidents of a channel, in bytes: that of those that were heard of last.
const OUTPUTS_MAX: usize = 1 << 20;

#[derive(Clone, PartialEq, Debug, Deserialize)]
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

/// A pipeline as it is to be on disk before the events so far are acknowledged; [`Saved`] reads it. Of what
/// it holds only one incident at a time is copied.
pub struct Saving<'p> {
    pipeline: &'p Pipeline,
    now: Moment,
}

impl Serialize for Saving<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (pipeline, suspend) = (self.pipeline, &mut |deadline: &mut Deadline| deadline.suspend(self.now));
        let mut saved = serializer.serialize_struct("Saved", 8)?;
        saved.serialize_field("version", &VERSION)?;
        saved.serialize_field("incidents", &Incidents(pipeline, self.now))?;
        saved.serialize_field("occurrences", &Each(&pipeline.occurrences, self.now, Occurrence::each_deadline))?;
        saved.serialize_field("openings", &Each(&pipeline.openings, self.now, Openings::each_deadline))?;
        let mut buckets: Vec<(&Vec<String>, Bucket)> =
            pipeline.buckets.iter().map(|(to, bucket)| (to, bucket.clone())).collect();
        buckets.iter_mut().for_each(|(_, bucket)| bucket.each_deadline(suspend));
        saved.serialize_field("buckets", &buckets)?;
        saved.serialize_field("dropped", &pipeline.dropped)?;
        saved.serialize_field("supervisor", &pipeline.supervisor)?;
        saved.serialize_field("has_told", &pipeline.has_told)?;
        saved.end()
    }
}

/// The incidents, each with its waits suspended; output only with those that were heard of last.
struct Incidents<'p>(&'p Pipeline, Moment);

impl Serialize for Incidents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(pipeline, now) = self;
        let mut latest: Vec<(WallTime, usize, &str)> = pipeline.incidents.values().map(Incident::weight).collect();
        latest.sort_by_key(|(heard, ..)| std::cmp::Reverse(*heard));
        let mut room = OUTPUTS_MAX;
        let fits = |(_, weight, id): (WallTime, usize, _)| {
            room = room.checked_sub(weight)?;
            Some(id)
        };
        let with_output: BTreeSet<&str> = latest.into_iter().map_while(fits).collect();
        serializer.collect_seq(pipeline.incidents.values().map(|incident| {
            let mut incident = incident.clone();
            if !with_output.contains(incident.weight().2) {
                incident.forget_output();
            }
            incident.each_deadline(&mut |deadline| deadline.suspend(*now));
            incident
        }))
    }
}

/// The values alone, each with its waits suspended.
struct Each<'m, K, V>(&'m BTreeMap<K, V>, Moment, EachDeadline<V>);

type EachDeadline<V> = fn(&mut V, &mut dyn FnMut(&mut Deadline));

impl<K, V: Clone + Serialize> Serialize for Each<'_, K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(map, now, each_deadline) = self;
        serializer.collect_seq(map.values().map(|value| {
            let mut value = value.clone();
            each_deadline(&mut value, &mut |deadline| deadline.suspend(*now));
            value
        }))
    }
}

impl Pipeline {
    /// What is to be on disk before the events so far are acknowledged.
    pub fn save(&self, now: Moment) -> Saving<'_> {
        Saving { pipeline: self, now }
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
