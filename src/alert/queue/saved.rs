//! What a restart of the notifier must not forget of a channel that fails: since when, and when it may be
//! tried again. Wall times, because the monotonic clock means nothing to the next boot; whatever a file
//! says, nothing waits longer than the longest pause.
#![forbid(unsafe_code)]

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::outcome::Class;
use super::super::retry;
use super::{CAUSE_MAX, Failing, Pause, Queue};
use crate::model::event::wall_time;
use crate::model::text::shortened;
use crate::model::time::{DURATION_MAX, Moment, WallTime};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Failure {
    #[serde(with = "wall_time")]
    since: WallTime,
    cause: String,
    streak: u32,
    pause: Option<Until>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Until {
    #[serde(with = "wall_time")]
    until: WallTime,
    class: Class,
    failures: u32,
}

impl Queue {
    /// Whether what `failure` gives has changed since this was asked last.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// To be on disk; `None` while all is well.
    pub fn failure(&self, now: Moment, wall: WallTime) -> Option<Failure> {
        let failing = self.failing.as_ref()?;
        let pause = self.pause.as_ref().and_then(|pause| {
            let until = wall.checked_add(pause.until.since(now)).ok()?;
            Some(Until { until, class: pause.class, failures: pause.failures })
        });
        let since = wall.checked_sub(failing.lasted(now)).unwrap_or(wall);
        Some(Failure { since, cause: failing.cause.clone(), streak: self.streak, pause })
    }

    /// Goes on where the queue of an earlier notifier has ended.
    pub fn restore(&mut self, failure: Failure, now: Moment, wall: WallTime) {
        let before = Duration::try_from(wall.duration_since(failure.since)).unwrap_or_default().min(DURATION_MAX);
        let cause = shortened(&failure.cause, CAUSE_MAX).into_owned();
        self.failing = Some(Failing { since: now, before, cause });
        self.streak = failure.streak;
        self.pause = failure.pause.map(|pause| {
            let wait = Duration::try_from(pause.until.duration_since(wall)).unwrap_or_default();
            let until = now + wait.min(retry::LONGEST);
            Pause { until, class: pause.class, failures: pause.failures, has_asked: false }
        });
    }
}
