//! When a channel's notices are due, and how they are made.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::super::bucket::Bucket;
use super::super::digest::{Digest, Part, Source, purpose_of};
use super::super::incident::Subject;
use super::super::notice::{Notice, Purpose};
use super::super::silence::Silences;
use super::Pipeline;
use crate::model::event::Severity;
use crate::model::time::{Moment, WallTime};

impl Pipeline {
    /// Makes the notices that are due.
    pub fn tick(&mut self, silences: &Silences, now: Moment, wall: WallTime) -> Vec<Notice> {
        self.settle(silences, now);
        let incidents = self.incidents.values().filter(|incident| incident.is_ready(now));
        let occurrences = self.occurrences.values().filter(|occurrence| occurrence.is_ready(now));
        let ready: BTreeSet<Vec<String>> = incidents
            .map(|incident| &incident.recipients)
            .chain(occurrences.map(|occurrence| &occurrence.recipients))
            .cloned()
            .collect();
        ready.into_iter().filter_map(|recipients| self.notice(recipients, now, wall)).collect()
    }

    /// What time and silences alone change.
    fn settle(&mut self, silences: &Silences, now: Moment) {
        let kept = self.kept();
        for (subject, incident) in &mut self.incidents {
            incident.look_at(silences, now);
            let before = (incident.ended.is_some(), incident.is_flapping());
            if incident.settle(&self.channel.timing, now) {
                self.openings.remove(subject);
            }
            self.is_changed |= before != (incident.ended.is_some(), incident.is_flapping());
        }
        self.incidents.retain(|_, incident| !incident.is_moot());
        for occurrence in self.occurrences.values_mut() {
            occurrence.look_at(silences, now);
        }
        self.occurrences.retain(|_, occurrence| !occurrence.is_over(now));
        self.openings.retain(|_, openings| !openings.is_over(now));
        let limit = self.channel.timing.rate_limit;
        self.buckets.retain(|_, bucket| !bucket.is_full(limit, now));
        self.is_changed |= self.kept() != kept;
    }

    /// How many there are of everything that time alone removes.
    fn kept(&self) -> [usize; 4] {
        [self.incidents.len(), self.occurrences.len(), self.openings.len(), self.buckets.len()]
    }

    /// One notice to these recipients, if there is a token for it.
    fn notice(&mut self, recipients: Vec<String>, now: Moment, wall: WallTime) -> Option<Notice> {
        let limit = self.channel.timing.rate_limit;
        let bucket = self.buckets.entry(recipients.clone()).or_insert_with(|| Bucket::full(limit));
        if !bucket.take(limit, now) {
            return None;
        }
        self.is_changed = true;
        let id = self.ids.next(wall);
        let digest = Digest::new(self.parts(&recipients, now));
        let purpose = digest.purpose();
        let root = digest.incidents().and_then(|subjects| self.common_root(&subjects));
        for (source, shown) in digest.sources() {
            self.tell(source, &id, shown, now);
        }
        let (items, more_items) = digest.into_items();
        self.has_told = true;
        Some(Notice {
            id,
            channel: self.channel.name.clone(),
            recipients,
            host: self.host.clone(),
            made_at: wall,
            purpose,
            severity: items.first().map_or(Severity::Info, |item| item.severity),
            items,
            more_items,
            root,
            dropped: std::mem::take(&mut self.dropped),
        })
    }

    /// The thread of all these incidents, if there is just one.
    fn common_root(&self, subjects: &[&Subject]) -> Option<String> {
        let root = |subject: &Subject| self.incidents.get(subject)?.root.as_ref();
        let first = root(subjects.first()?)?;
        subjects.iter().all(|subject| root(subject) == Some(first)).then(|| first.clone())
    }

    /// What is due for these recipients, and what is new for them.
    fn parts(&self, recipients: &[String], now: Moment) -> Vec<Part> {
        let incidents = self
            .incidents
            .values()
            .filter(|incident| incident.recipients == recipients && (incident.is_ready(now) || incident.may_join(now)))
            .map(|incident| Part {
                source: Source::Incident(incident.subject.clone()),
                purpose: purpose_of(incident.need(), incident.is_to_be_reminded(now)),
                item: incident.item(),
            });
        let occurrences = self
            .occurrences
            .values()
            .filter(|occurrence| occurrence.recipients == recipients)
            .filter(|occurrence| occurrence.is_ready(now) || occurrence.may_join())
            .map(|occurrence| Part {
                source: Source::Occurrence(occurrence.key()),
                purpose: Purpose::Occurrence,
                item: occurrence.item(),
            });
        incidents.chain(occurrences).collect()
    }

    fn tell(&mut self, source: &Source, notice: &str, shown: bool, now: Moment) {
        let timing = &self.channel.timing;
        match source {
            Source::Incident(subject) => {
                let Some(incident) = self.incidents.get_mut(subject) else { return };
                let is_over = incident.tell(notice, shown, timing, now);
                if let Some(openings) = self.openings.get_mut(subject)
                    && openings.root.is_none()
                {
                    openings.root.clone_from(&incident.root);
                }
                if is_over {
                    self.incidents.remove(subject);
                }
            }
            Source::Occurrence(key) => {
                if let Some(occurrence) = self.occurrences.get_mut(key) {
                    occurrence.tell(timing, now);
                }
            }
        }
    }

    /// When `tick` is to be called, if nothing else happens. After a `tick` it is later than that one's `now`.
    pub fn deadline(&self) -> Option<Moment> {
        let free = |recipients: &Vec<String>| self.buckets.get(recipients).and_then(Bucket::free_at);
        let told = |at: Moment, recipients| free(recipients).map_or(at, |free| free.max(at));
        let incidents = self.incidents.values().flat_map(|incident| {
            let tell = incident.tell_at().filter(|_| !incident.is_silenced);
            [incident.settle_at(), tell.map(|at| told(at, &incident.recipients))]
        });
        let occurrences = self.occurrences.values().map(|occurrence| {
            let tell = occurrence.tell_at().filter(|_| !occurrence.is_silenced);
            tell.map(|at| told(at, &occurrence.recipients)).or_else(|| occurrence.over_at())
        });
        incidents.chain(occurrences).flatten().min()
    }
}
