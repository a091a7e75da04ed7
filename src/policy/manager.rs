//! What the service manager that started the supervisor is told, and when: that it is up, reads its
//! configuration again, stops, how the programs are, and that its loop still turns.
//!
//! The words are those of sd_notify(3). systemd answers nothing and forgets nothing, so each message goes
//! once, in order; one that finds the manager's queue full is kept and tried again. How the programs are is
//! told at most once a second, and only when something happened. Without a watchdog nothing here has a
//! deadline while nothing happens.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::summary::Summary;
use crate::model::time::Moment;

/// The least time between two states of the programs.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// Until a full queue is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// The most messages that wait for a manager that takes none.
const WAITING_MAX: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Starting,
    Up,
    Stopping,
}

#[derive(Debug)]
pub struct Manager {
    phase: Phase,
    /// Between two signs of life.
    sign_interval: Option<Duration>,
    next_sign: Moment,
    /// Something happened to a process since the programs were last told of.
    changed: bool,
    status: String,
    next_status: Moment,
    waiting: VecDeque<String>,
    /// The manager's queue was full.
    retry: Option<Moment>,
}

impl Manager {
    /// `watchdog`: the manager ends a service that gives no sign of life for so long.
    pub fn new(watchdog: Option<Duration>, now: Moment) -> Self {
        Self {
            phase: Phase::Starting,
            // Twice as often as it must be, as sd_watchdog_enabled(3) advises.
            sign_interval: watchdog.map(|limit| limit / 2),
            next_sign: now,
            changed: true,
            status: String::new(),
            next_status: now,
            waiting: VecDeque::new(),
            retry: None,
        }
    }

    fn push(&mut self, message: String) {
        if self.waiting.len() >= WAITING_MAX {
            // What is newer says more of how it is now.
            self.waiting.pop_front();
        }
        self.waiting.push_back(message);
    }

    pub fn is_starting(&self) -> bool {
        self.phase == Phase::Starting
    }

    /// The supervisor serves.
    pub fn up(&mut self) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Up;
            self.push("READY=1".to_owned());
        }
    }

    /// The configuration is read again, from this moment on.
    pub fn reloading(&mut self, now: Moment) {
        if self.phase == Phase::Up {
            self.push(format!("RELOADING=1\nMONOTONIC_USEC={}", now.micros()));
        }
    }

    /// It was read, and applied or refused.
    pub fn reloaded(&mut self) {
        if self.phase == Phase::Up {
            self.push("READY=1".to_owned());
        }
    }

    /// The way out has begun, and takes at most so long.
    pub fn stopping(&mut self, at_most: Duration) {
        if self.phase != Phase::Stopping {
            self.phase = Phase::Stopping;
            let micros = u64::try_from(at_most.as_micros()).unwrap_or(u64::MAX);
            self.push(format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}"));
        }
    }

    /// Something happened to a process.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// Whether it is time to say how the programs are.
    pub fn wants_status(&self, now: Moment) -> bool {
        self.changed && self.next_status <= now
    }

    /// How the programs are, in one line.
    pub fn status(&mut self, status: String, now: Moment) {
        self.changed = false;
        if status != self.status {
            self.next_status = now + STATUS_INTERVAL;
            self.push(format!("STATUS={status}"));
            self.status = status;
        }
    }

    /// The next message that is due. It stays until [`Manager::sent`].
    pub fn due(&mut self, now: Moment) -> Option<&str> {
        if self.retry.is_some_and(|at| at > now) {
            return None;
        }
        if let Some(interval) = self.sign_interval
            && self.next_sign <= now
            && self.waiting.len() < WAITING_MAX
        {
            self.next_sign = now + interval;
            self.waiting.push_back("WATCHDOG=1".to_owned());
        }
        self.waiting.front().map(String::as_str)
    }

    /// The message was taken, or can reach nobody.
    pub fn sent(&mut self) {
        self.retry = None;
        self.waiting.pop_front();
    }

    /// The manager's queue is full.
    pub fn refused(&mut self, now: Moment) {
        self.retry = Some(now + RETRY);
    }

    pub fn deadline(&self) -> Option<Moment> {
        let waiting = (!self.waiting.is_empty()).then(|| self.retry.unwrap_or_default());
        let status = self.changed.then_some(self.next_status);
        let sign = self.sign_interval.map(|_| self.retry.unwrap_or_default().max(self.next_sign));
        [waiting, status, sign].into_iter().flatten().min()
    }
}

/// So many of those that are not well are named.
const NAMED_MAX: usize = 3;

/// The line about the programs: the counts, and who is not well.
pub fn status_line(summary: &Summary, unwell: &[String]) -> String {
    let (named, rest) = unwell.split_at(unwell.len().min(NAMED_MAX));
    match (named, rest.len()) {
        ([], _) => summary.to_string(),
        (named, 0) => format!("{summary}: {}", named.join(", ")),
        (named, more) => format!("{summary}: {} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;
