//! Events that wait for a log daemon: bounded, the oldest go first, and what went is counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::model::event::Event;
use crate::model::notify::About;
use crate::model::time::Moment;

/// How many events wait at most.
pub const WAITING_MAX: usize = 1000;
/// How many that were written to a stream are kept until they are surely read, and how long that takes:
/// the protocol has no acknowledgement (RFC 6587 §5).
const UNSURE_MAX: usize = 100;
const UNSURE_FOR: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Waiting {
    pub event: Arc<Event>,
    pub about: Option<Arc<About>>,
}

#[derive(Default)]
pub struct Buffer {
    waiting: VecDeque<Waiting>,
    /// Written, with the time.
    unsure: VecDeque<(Moment, Waiting)>,
    /// Since it was last told.
    lost: u64,
    /// How many were taken from the front or lost, so that a taken one is not removed twice.
    gone: u64,
}

impl Buffer {
    pub fn push(&mut self, event: Waiting) {
        self.waiting.push_back(event);
        while self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
            self.gone += 1;
            self.lost += 1;
        }
    }

    /// The next to be written, and its number for [`Self::written`].
    pub fn front(&self) -> Option<(u64, Waiting)> {
        self.waiting.front().map(|event| (self.gone, event.clone()))
    }

    /// It is written; the receiver of a stream may not have read it yet.
    pub fn written(&mut self, number: u64, keep: bool, now: Moment) {
        if number != self.gone {
            return;
        }
        if let Some(event) = self.waiting.pop_front() {
            self.gone += 1;
            if keep {
                self.unsure.push_back((now, event));
            }
        }
        while self.unsure.len() > UNSURE_MAX || self.unsure.front().is_some_and(|(at, _)| now.since(*at) > UNSURE_FOR) {
            self.unsure.pop_front();
        }
    }

    /// The stream broke: what may not have been read is written once more, in its place.
    pub fn broken(&mut self, now: Moment) {
        while let Some((at, event)) = self.unsure.pop_back() {
            if now.since(at) <= UNSURE_FOR && self.waiting.len() < WAITING_MAX {
                self.waiting.push_front(event);
                self.gone = self.gone.wrapping_sub(1);
            }
        }
    }

    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// That so many were lost is told now.
    pub fn told(&mut self, lost: u64) {
        self.lost = self.lost.saturating_sub(lost);
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Facts, Kind};
    use crate::model::time::WallTime;

    fn event(seq: u64) -> Waiting {
        let (kind, time) = (Kind::ProcessCrashed, WallTime::UNIX_EPOCH);
        let event = Event { seq, time, severity: kind.severity(), kind, host: String::new(), facts: Facts::default() };
        Waiting { event: Arc::new(event), about: None }
    }

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    fn drain(buffer: &mut Buffer) -> Vec<u64> {
        let mut all = Vec::new();
        while let Some((number, waiting)) = buffer.front() {
            all.push(waiting.event.seq);
            buffer.written(number, false, at(0));
        }
        all
    }

    #[test]
    fn the_oldest_go_first_and_are_counted() {
        let mut buffer = Buffer::default();
        (0..1010).for_each(|seq| buffer.push(event(seq)));
        assert_eq!(buffer.lost(), 10);
        assert_eq!(drain(&mut buffer), (10..1010).collect::<Vec<_>>());
        buffer.told(4);
        assert_eq!(buffer.lost(), 6);
    }

    #[test]
    fn what_went_while_it_was_being_written_takes_no_other_with_it() {
        let mut buffer = Buffer::default();
        buffer.push(event(0));
        let (number, _) = buffer.front().expect("one");
        (1..=WAITING_MAX as u64).for_each(|seq| buffer.push(event(seq)));
        buffer.written(number, false, at(0));
        assert_eq!(drain(&mut buffer).len(), WAITING_MAX);
    }

    #[test]
    fn after_a_break_the_last_ones_are_written_again_in_their_order() {
        let mut buffer = Buffer::default();
        for seq in 0..4 {
            buffer.push(event(seq));
        }
        for second in [0, 10, 12] {
            let (number, _) = buffer.front().expect("one");
            buffer.written(number, true, at(second));
        }
        buffer.broken(at(13));
        assert_eq!(drain(&mut buffer), [1, 2, 3]);
        buffer.broken(at(13));
        assert!(buffer.is_empty());
    }
}
