//! Whether a program comes and goes: how many of its incidents opened within `flap_window`.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::deadline::Deadline;
use super::incident::Subject;
use super::notice::Flaps;
use crate::model::event::wall_time;
use crate::model::notify::Timing;
use crate::model::time::{Moment, WallTime};

/// The most openings that are counted, whatever `flap_count` says.
const COUNT_MAX: u32 = 1000;

/// The latest openings of one subject's incidents.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Openings {
    pub subject: Subject,
    #[serde(default)]
    list: VecDeque<Opening>,
    /// The thread of the first of these incidents that was told.
    #[serde(default)]
    pub root: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Opening {
    /// When it no longer counts.
    until: Deadline,
    #[serde(with = "wall_time")]
    at: WallTime,
    /// Bad events from then on to the next one.
    count: u64,
}

impl Openings {
    pub fn new(subject: Subject) -> Self {
        Self { subject, list: VecDeque::new(), root: None }
    }

    /// One more, which began at `at`; whether that makes it flap. `flap_count = 0`: never.
    pub fn add(&mut self, at: WallTime, timing: &Timing, now: Moment) -> bool {
        let enough = timing.flap_count.min(COUNT_MAX) as usize;
        if enough == 0 {
            return false;
        }
        self.is_over(now);
        self.list.push_back(Opening { until: Deadline::after(now, timing.flap_window), at, count: 0 });
        while self.list.len() > enough {
            self.list.pop_front();
        }
        self.list.len() == enough
    }

    /// The latest incident had a bad event.
    pub fn count(&mut self) {
        if let Some(latest) = self.list.back_mut() {
            latest.count = latest.count.saturating_add(1);
        }
    }

    pub fn flaps(&self) -> Option<Flaps> {
        let count = self.list.iter().fold(0_u64, |count, opening| count.saturating_add(opening.count));
        Some(Flaps { incidents: self.list.len() as u64, count, since: self.list.front()?.at })
    }

    /// Whether nothing counts any more.
    pub fn is_over(&mut self, now: Moment) -> bool {
        self.list.retain(|opening| !opening.until.is_due(now));
        self.list.is_empty()
    }

    pub fn each_deadline(&mut self, change: &mut dyn FnMut(&mut Deadline)) {
        self.list.truncate(COUNT_MAX as usize);
        self.list.iter_mut().for_each(|opening| change(&mut opening.until));
    }
}
