//! Whether a program comes and goes: how many of its incidents opened within `flap_window`.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::deadline::Deadline;
use super::incident::Subject;
use crate::model::notify::Timing;
use crate::model::time::Moment;

/// The most openings that are counted, whatever `flap_count` says.
const COUNT_MAX: u32 = 1000;

/// The latest openings of one subject's incidents.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Openings {
    pub subject: Subject,
    /// When each no longer counts.
    until: VecDeque<Deadline>,
}

impl Openings {
    pub fn new(subject: Subject) -> Self {
        Self { subject, until: VecDeque::new() }
    }

    /// One more; whether that makes it flap. `flap_count = 0`: never.
    pub fn add(&mut self, timing: &Timing, now: Moment) -> bool {
        let enough = timing.flap_count.min(COUNT_MAX) as usize;
        if enough == 0 {
            return false;
        }
        self.is_over(now);
        self.until.push_back(Deadline::after(now, timing.flap_window));
        while self.until.len() > enough {
            self.until.pop_front();
        }
        self.until.len() == enough
    }

    /// Whether nothing counts any more.
    pub fn is_over(&mut self, now: Moment) -> bool {
        self.until.retain(|until| !until.is_due(now));
        self.until.is_empty()
    }

    pub fn each_deadline(&mut self, change: &mut dyn FnMut(&mut Deadline)) {
        self.until.truncate(COUNT_MAX as usize);
        self.until.iter_mut().for_each(change);
    }
}
