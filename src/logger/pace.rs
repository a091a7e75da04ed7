//! When the next slice of a rotated file is compressed. Output comes first: a slice is taken only in a turn of
//! the loop that found nothing else to do. But compression ends, too: where something always waits, there is
//! still a slice now and then.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::model::time::Moment;

/// How many bytes one slice takes: about a millisecond, which is the longest that output waits for it.
pub const SLICE: usize = 16 << 10;
/// How long there is no slice, at most.
const LONGEST: Duration = Duration::from_millis(25);
/// How long one file may take: a user's own file can be of any size, and other files wait.
const MOST: Duration = Duration::from_secs(600);

pub struct Pace {
    last: Moment,
    until: Moment,
}

impl Pace {
    pub fn begin(now: Moment) -> Self {
        Self { last: now, until: now + MOST }
    }

    /// Whether the file has had its time.
    pub fn is_over(&self, now: Moment) -> bool {
        now >= self.until
    }

    /// After a turn of the loop: whether a slice is due. `idle`: nothing had waited for us.
    pub fn is_due(&mut self, idle: bool, now: Moment) -> bool {
        let due = idle || now >= self.last + LONGEST;
        if due {
            self.last = now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::default() + Duration::from_millis(millis)
    }

    #[test]
    fn every_turn_without_other_work_is_one_for_a_slice() {
        let mut pace = Pace::begin(at(0));
        assert!((0..100).all(|_| pace.is_due(true, at(0))));
    }

    #[test]
    fn under_constant_load_there_is_a_slice_each_twenty_five_milliseconds() {
        let mut pace = Pace::begin(at(0));
        let slices = (0..=10_000).filter(|now| pace.is_due(false, at(*now))).count();
        assert_eq!(slices, 400, "in ten seconds, a turn each millisecond");
    }

    #[test]
    fn a_file_without_end_is_given_up() {
        let pace = Pace::begin(at(5));
        assert!(!pace.is_over(at(600_004)) && pace.is_over(at(600_005)));
    }

    #[test]
    fn a_slice_in_a_quiet_moment_counts() {
        let mut pace = Pace::begin(at(0));
        assert!(pace.is_due(true, at(20)));
        assert!(!pace.is_due(false, at(30)));
        assert!(pace.is_due(false, at(45)));
        assert!(!pace.is_due(false, at(69)));
    }
}
