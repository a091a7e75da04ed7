//! Events that are no incident, such as a rejected configuration: told once, with no end and no reminder.
//! What happens again soon after is counted and told together.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::deadline::Deadline;
use super::incident::{PROCESSES_MAX, Seen};
use super::notice::{End, Ended, Item};
use super::silence::Silences;
use crate::model::event::{Event, Kind, wall_time};
use crate::model::id::{ProcessId, ProgramName};
use crate::model::notify::Timing;
use crate::model::time::{Moment, WallTime};

/// A kind of event and its program; without the program it stands for all that could not be told apart.
pub type Key = (Kind, Option<ProgramName>);

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Occurrence {
    pub id: String,
    pub kind: Kind,
    pub program: Option<ProgramName>,
    pub group_name: Option<String>,
    pub recipients: Vec<String>,
    /// The worst, of several the last.
    event: Event,
    #[serde(with = "wall_time")]
    started_at: WallTime,
    #[serde(with = "wall_time")]
    last_at: WallTime,
    count: u64,
    processes: Vec<String>,
    instances: BTreeSet<u32>,
    due: Option<Deadline>,
    /// After it was told: more of it waits until then.
    quiet_until: Option<Deadline>,
    #[serde(skip)]
    pub is_silenced: bool,
}

impl Occurrence {
    pub fn new(id: String, key: Key, group_name: Option<String>, recipients: Vec<String>, seen: Seen) -> Self {
        let (kind, program) = key;
        let (started_at, event) = (seen.event.time, seen.event.clone());
        Self {
            id,
            kind,
            program,
            group_name,
            recipients,
            event,
            started_at,
            last_at: started_at,
            count: 0,
            processes: Vec::new(),
            instances: BTreeSet::new(),
            due: None,
            quiet_until: None,
            is_silenced: false,
        }
    }

    pub fn key(&self) -> Key {
        (self.kind, self.program.clone())
    }

    /// It has happened. `id`: of what is told from now on, if this is the first of it.
    pub fn more(&mut self, seen: Seen, id: impl FnOnce() -> String, timing: &Timing, now: Moment) {
        if self.count == 0 && self.quiet_until.is_some() {
            self.id = id();
        }
        if self.count == 0 {
            self.started_at = seen.event.time;
        }
        if self.count == 0 || seen.severity <= self.event.severity {
            self.event = Event { severity: seen.severity, ..seen.event.clone() };
        }
        self.is_silenced = false; // perhaps not this process: the next tick sees
        self.count = self.count.saturating_add(1);
        self.last_at = seen.event.time;
        if self.instances.len() < PROCESSES_MAX {
            self.instances.insert(seen.instance);
        }
        let name = seen.event.facts.process.as_ref();
        if let Some(name) = name.filter(|name| self.processes.len() < PROCESSES_MAX && !self.processes.contains(name)) {
            self.processes.push(name.clone());
        }
        let soon = Deadline::after(now, timing.group_wait);
        self.due.get_or_insert(soon.max(self.quiet_until.unwrap_or(soon)));
    }

    pub fn hurry(&mut self, now: Moment) {
        self.due = self.due.map(|due| due.min(Deadline::after(now, std::time::Duration::ZERO)));
    }

    pub fn look_at(&mut self, silences: &Silences, now: Moment) {
        self.is_silenced = match &self.program {
            Some(program) => self
                .instances
                .iter()
                .all(|instance| silences.cover(&ProcessId::new(program, *instance), self.group_name.as_deref(), now)),
            None => silences.cover_all(now),
        };
    }

    /// Nothing is to be told any more: it was told and did not happen again, or it was due in a silence.
    pub fn is_over(&self, now: Moment) -> bool {
        match self.due {
            Some(due) => self.is_silenced && due.is_due(now),
            None => self.quiet_until.is_none_or(|until| until.is_due(now)),
        }
    }

    pub fn is_ready(&self, now: Moment) -> bool {
        !self.is_silenced && self.due.is_some_and(|due| due.is_due(now))
    }

    /// If a notice is made now, this is told along with it.
    pub fn may_join(&self) -> bool {
        !self.is_silenced && self.due.is_some() && self.quiet_until.is_none()
    }

    pub fn tell_at(&self) -> Option<Moment> {
        self.due.map(Deadline::moment)
    }

    pub fn over_at(&self) -> Option<Moment> {
        self.due.or(self.quiet_until).map(Deadline::moment)
    }

    pub fn item(&self) -> Item {
        Item {
            incident: self.id.clone(),
            program: self.program.clone(),
            group_name: self.group_name.clone(),
            severity: self.event.severity,
            event: self.event.clone(),
            started_at: self.started_at,
            last_at: self.last_at,
            count: self.count,
            new: self.count,
            processes: self.processes.clone(),
            state: self.event.facts.to,
            output: None,
            is_flapping: false,
            first_severity: None,
            flaps: None,
            goes_on: false,
            ended: Some(Ended { at: self.last_at, how: End::Momentary }),
        }
    }

    /// A notice has told it.
    pub fn tell(&mut self, timing: &Timing, now: Moment) {
        self.count = 0;
        self.processes.clear();
        self.instances.clear();
        self.due = None;
        self.quiet_until = Some(Deadline::after(now, timing.group_interval));
    }

    pub fn each_deadline(&mut self, change: &mut dyn FnMut(&mut Deadline)) {
        [&mut self.due, &mut self.quiet_until].into_iter().flatten().for_each(change);
    }

    /// Loaded, and it cannot be so.
    pub fn is_nonsense(&self) -> bool {
        self.processes.len() > PROCESSES_MAX
            || self.instances.len() > PROCESSES_MAX
            || (self.count > 0) != self.due.is_some()
    }
}
