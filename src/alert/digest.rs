//! One notice out of everything that is to be told to one set of recipients now.
#![forbid(unsafe_code)]

use super::incident::{Need, Subject};
use super::notice::{ITEMS_MAX, Item, Purpose};
use super::occurrence;

/// What an item stands for.
#[derive(Debug)]
pub enum Source {
    Incident(Subject),
    Occurrence(occurrence::Key),
}

#[derive(Debug)]
pub struct Part {
    pub source: Source,
    pub purpose: Purpose,
    pub item: Item,
}

/// The purpose of an item of an incident. A reminder that falls together with more of the same stays one.
pub fn purpose_of(need: Option<Need>, is_reminder: bool) -> Purpose {
    match need {
        Some(Need::More) if is_reminder => Purpose::Reminder,
        Some(Need::Problem | Need::More) => Purpose::Problem,
        Some(Need::Flapping) => Purpose::Flapping,
        Some(Need::Recovery) => Purpose::Recovery,
        None => Purpose::Reminder,
    }
}

/// The most urgent purpose is the whole notice's: it is a recovery only if all has recovered.
fn urgency(purpose: Purpose) -> u8 {
    match purpose {
        Purpose::Problem => 0,
        Purpose::Flapping => 1,
        Purpose::Occurrence => 2,
        Purpose::Reminder => 3,
        Purpose::Recovery => 4,
        Purpose::Test => 5,
    }
}

/// The parts of a notice, in the order in which they are shown; those after [`ITEMS_MAX`] only count.
#[derive(Debug)]
pub struct Digest(Vec<Part>);

impl Digest {
    pub fn new(mut parts: Vec<Part>) -> Self {
        parts.sort_by(|a, b| {
            let rank = |part: &Part| (part.item.severity, urgency(part.purpose), part.item.started_at);
            rank(a).cmp(&rank(b)).then_with(|| a.item.incident.cmp(&b.item.incident))
        });
        Self(parts)
    }

    pub fn purpose(&self) -> Purpose {
        self.0.iter().map(|part| part.purpose).min_by_key(|purpose| urgency(*purpose)).unwrap_or(Purpose::Occurrence)
    }

    /// The incidents, if there is nothing else in it.
    pub fn incidents(&self) -> Option<Vec<&Subject>> {
        let subjects = self.0.iter().map(|part| match &part.source {
            Source::Incident(subject) => Some(subject),
            Source::Occurrence(_) => None,
        });
        subjects.collect()
    }

    /// Each source, and whether it is shown.
    pub fn sources(&self) -> impl Iterator<Item = (&Source, bool)> {
        self.0.iter().enumerate().map(|(at, part)| (&part.source, at < ITEMS_MAX))
    }

    /// What is shown, and how many are not.
    pub fn into_items(self) -> (Vec<Item>, u64) {
        let more = self.0.len().saturating_sub(ITEMS_MAX) as u64;
        (self.0.into_iter().take(ITEMS_MAX).map(|part| part.item).collect(), more)
    }
}
