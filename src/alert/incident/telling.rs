//! What of an incident is to be told, and when. What differs from what was told is its *need*:
//!
//! | told         | now                        | need       | when                                       |
//! |--------------|----------------------------|------------|--------------------------------------------|
//! | nothing      | anything                   | `Problem`  | after `group_wait`                         |
//! | something    | ended                      | `Recovery` | after `group_wait`                         |
//! | no flapping  | flapping                   | `Flapping` | after `group_wait`                         |
//! | flapping     | settled and not well       | `Problem`  | after `group_wait`                         |
//! | less severe  | more severe                | `Problem`  | after `group_wait`                         |
//! | fewer events | more events                | `More`     | `group_interval` after the last notice     |
//! | flapping     | flapping, whatever happens | none       | reminders only                             |
#![forbid(unsafe_code)]

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::deadline::Deadline;
use super::super::notice::{Flaps, Item};
use super::{Incident, Subject};
use crate::model::event::Severity;
use crate::model::notify::Timing;
use crate::model::time::Moment;

/// How many reminders there can be.
pub(super) const REMINDERS_MAX: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    Problem,
    More,
    Flapping,
    Recovery,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    /// Bad events that people know of, and those of them that stood in an item.
    pub(super) count: u64,
    pub(super) shown: u64,
    severity: Severity,
    #[serde(default)]
    first_severity: Option<Severity>,
    is_flapping: bool,
}

impl Incident {
    pub fn need(&self) -> Option<Need> {
        let Some(told) = &self.told else {
            return Some(if self.is_flapping() && self.ended.is_none() { Need::Flapping } else { Need::Problem });
        };
        match (told.is_flapping, self.is_flapping()) {
            _ if self.ended.is_some() => Some(Need::Recovery),
            (true, true) => None,
            (false, true) => Some(Need::Flapping),
            (true, false) => Some(Need::Problem),
            (false, false) if self.severity < told.severity => Some(Need::Problem),
            (false, false) => (self.count > told.count).then_some(Need::More),
        }
    }

    pub(super) fn schedule(&mut self, timing: &Timing, now: Moment) {
        let soon = Deadline::after(now, timing.group_wait);
        let due = match self.need() {
            None => {
                self.due = None;
                return;
            }
            Some(Need::More) => soon.max(self.quiet_until.unwrap_or(soon)),
            Some(Need::Problem | Need::Flapping | Need::Recovery) => soon,
        };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// What is to be told is told with the next notice, whatever group_wait says.
    pub fn hurry(&mut self, now: Moment) {
        self.due = self.need().map(|_| Deadline::after(now, Duration::ZERO));
        self.output_by = None;
    }

    /// It is time to tell something.
    pub fn is_ready(&self, now: Moment) -> bool {
        !self.is_silenced && self.tell_at().is_some_and(|at| at <= now)
    }

    /// If a notice is made now, this is told along with it: it is new, and nothing is waited for.
    pub fn may_join(&self, now: Moment) -> bool {
        let urgent = self.need().is_some_and(|need| need != Need::More);
        !self.is_silenced && urgent && self.output_by.is_none_or(|by| by.is_due(now))
    }

    /// When something is to be told, if it is not silenced.
    pub fn tell_at(&self) -> Option<Moment> {
        let reminder = self.reminders.front().filter(|_| self.ended.is_none());
        let at = self.due.iter().chain(reminder).min()?;
        Some(self.output_by.map_or(*at, |by| by.max(*at)).moment())
    }

    pub fn item(&self) -> Item {
        let program = if let Subject::Program(name) = &self.subject { Some(name.clone()) } else { None };
        Item {
            incident: self.id.clone(),
            program,
            group_name: self.group_name.clone(),
            severity: self.severity,
            first_severity: self.told.as_ref().and_then(|told| told.first_severity),
            event: self.event.clone(),
            started_at: self.started_at,
            last_at: self.last_at,
            count: self.count,
            new: self.count - self.told.as_ref().map_or(0, |told| told.shown.min(self.count)),
            processes: self.processes.clone(),
            state: self.state,
            output: self.output.clone(),
            is_flapping: self.is_flapping(),
            flaps: self.flaps(),
            goes_on: self.told.is_some() && matches!(self.need(), None | Some(Need::More)),
            ended: self.ended.clone(),
        }
    }

    fn flaps(&self) -> Option<Flaps> {
        let flaps = self.flaps.as_ref().filter(|_| self.is_flapping())?;
        Some(Flaps { count: flaps.count.saturating_add(self.count), ..flaps.clone() })
    }

    /// It is time for a reminder.
    pub fn is_to_be_reminded(&self, now: Moment) -> bool {
        self.ended.is_none() && self.reminders.front().is_some_and(|reminder| reminder.is_due(now))
    }

    /// A notice has told it: in an item (`shown`), or as one of more. Whether that was the last of it.
    pub fn tell(&mut self, notice: &str, shown: bool, timing: &Timing, now: Moment) -> bool {
        let before = self.told.as_ref();
        if before.is_none_or(|told| self.is_flapping() && !told.is_flapping) {
            let waits = timing.remind_after.iter().take(REMINDERS_MAX);
            let mut reminders: Vec<Deadline> = waits.map(|wait| Deadline::after(now, *wait)).collect();
            reminders.sort();
            self.reminders = reminders.into();
        }
        self.reminders.retain(|reminder| !reminder.is_due(now));
        let shown = if shown { self.count } else { before.map_or(0, |told| told.shown) };
        let (severity, is_flapping) = (self.severity, self.is_flapping());
        let first_severity = before.and_then(|told| told.first_severity).or(Some(severity));
        self.told = Some(Told { count: self.count, shown, severity, first_severity, is_flapping });
        self.due = None;
        self.quiet_until = Some(Deadline::after(now, timing.group_interval));
        self.root.get_or_insert_with(|| notice.to_owned());
        self.ended.is_some()
    }
}
