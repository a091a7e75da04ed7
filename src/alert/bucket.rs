//! How many messages may go out: some at once, then one an interval. For any span of time there are at
//! most `burst + span / interval`.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use super::deadline::Deadline;
use crate::model::notify::RateLimit;
use crate::model::time::Moment;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Bucket {
    tokens: u32,
    /// When there is one more; none while it is full.
    next: Option<Deadline>,
}

impl Bucket {
    pub fn full(limit: RateLimit) -> Self {
        Self { tokens: limit.burst.max(1), next: None }
    }

    fn refill(&mut self, limit: RateLimit, now: Moment) {
        let burst = limit.burst.max(1);
        self.tokens = self.tokens.min(burst);
        while self.tokens < burst {
            let next = *self.next.get_or_insert_with(|| Deadline::after(now, limit.interval));
            if !next.is_due(now) {
                return;
            }
            self.tokens += 1;
            self.next = Some(Deadline::after(next.moment(), limit.interval));
        }
        self.next = None;
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, limit: RateLimit, now: Moment) -> bool {
        self.refill(limit, now);
        let Some(left) = self.tokens.checked_sub(1) else { return false };
        self.tokens = left;
        self.next.get_or_insert_with(|| Deadline::after(now, limit.interval));
        true
    }

    pub fn is_full(&mut self, limit: RateLimit, now: Moment) -> bool {
        self.refill(limit, now);
        self.next.is_none()
    }

    /// When there is a token: `None` if there is one already.
    pub fn free_at(&self) -> Option<Moment> {
        self.next.filter(|_| self.tokens == 0).map(Deadline::moment)
    }

    pub fn each_deadline(&mut self, change: &mut dyn FnMut(&mut Deadline)) {
        self.next.iter_mut().for_each(change);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    #[test]
    fn a_burst_is_followed_by_one_an_interval() {
        let limit = RateLimit { burst: 3, interval: Duration::from_secs(300) };
        let mut bucket = Bucket::full(limit);
        let taken: Vec<u64> = (0..1000).filter(|second| bucket.take(limit, at(*second))).collect();
        assert_eq!(taken, [0, 1, 2, 300, 600, 900]);
        assert_eq!(bucket.free_at(), Some(at(1200)));
        assert!(!bucket.is_full(limit, at(1799)));
        assert!(bucket.is_full(limit, at(1800)));
    }

    #[test]
    fn a_smaller_burst_after_a_reload_counts_at_once_and_no_interval_means_no_limit() {
        let mut bucket = Bucket::full(RateLimit { burst: 100, interval: Duration::from_secs(60) });
        let limit = RateLimit { burst: 1, interval: Duration::from_secs(60) };
        assert!(bucket.take(limit, at(5)) && !bucket.take(limit, at(5)));
        let free = RateLimit { burst: 1, interval: Duration::ZERO };
        let mut bucket = Bucket::full(free);
        assert!((0..50).all(|_| bucket.take(free, at(5))));
    }
}
