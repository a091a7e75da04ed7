//! What is lost of a file's bytes while it cannot be written, and when that is told: that it begins, at once; how
//! many bytes, soon after, because we may die and the core keeps the sum; that it is over, once it has been for a
//! while, or a disk with a little room now and then would make a flood of it.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::model::time::Moment;

/// How often a failing file is tried, and the core told how much was dropped.
pub const RETRY: Duration = Duration::from_millis(100);
/// How long all must have been written before a loss is over.
const WELL_FOR: Duration = Duration::from_secs(1);

/// What became of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrote {
    All,
    /// Not all, and this is the first time: the errno.
    Began(i32),
    /// Not all, after it had worked again for a moment.
    Relapsed,
    /// Still nothing, or not all.
    Dropped,
    /// All, and before that so many bytes were dropped.
    Recovered(u64),
}

/// What the core is to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    Losing(u64),
    Over(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Well,
    /// The last try.
    Failing(Moment),
    /// It works again since then.
    Better(Moment),
}

pub struct Loss {
    state: State,
    /// Dropped, and not told yet.
    untold: u64,
    /// Somebody will ask what is to be told.
    pub timed: bool,
}

impl Loss {
    /// `open`: an earlier logger has begun to drop.
    pub fn new(open: bool) -> Self {
        let state = if open { State::Failing(Moment::default()) } else { State::Well };
        Self { state, untold: 0, timed: false }
    }

    /// Whether it is to be tried now.
    pub fn tries(&self, now: Moment) -> bool {
        !matches!(self.state, State::Failing(tried) if now < tried + RETRY)
    }

    /// The next try is due.
    pub fn try_at_once(&mut self) {
        if let State::Failing(tried) = &mut self.state {
            *tried = Moment::default();
        }
    }

    /// So many bytes are dropped.
    pub const fn count(&mut self, bytes: u64) {
        self.untold = self.untold.saturating_add(bytes);
    }

    /// It could not be written now.
    pub fn failed(&mut self, errno: i32, now: Moment) -> Wrote {
        match std::mem::replace(&mut self.state, State::Failing(now)) {
            State::Well => Wrote::Began(errno),
            State::Better(_) => Wrote::Relapsed,
            State::Failing(_) => Wrote::Dropped,
        }
    }

    /// All was written now.
    pub const fn worked(&mut self, now: Moment) {
        if let State::Failing(_) = self.state {
            self.state = State::Better(now);
        }
    }

    /// Whether there will be something to tell.
    pub fn is_open(&self) -> bool {
        self.untold > 0 || matches!(self.state, State::Better(_))
    }

    /// What is to be told now.
    pub fn tell(&mut self, now: Moment) -> Option<Told> {
        match self.state {
            State::Better(since) if now >= since + WELL_FOR => self.end(),
            _ => self.losing(),
        }
    }

    /// What is to be told when nothing more will come. `closed`: not even a better time.
    pub fn tell_last(&mut self, closed: bool) -> Option<Told> {
        match self.state {
            State::Better(_) => self.end(),
            State::Failing(_) if closed => self.end(),
            _ => self.losing(),
        }
    }

    fn losing(&mut self) -> Option<Told> {
        Some(std::mem::take(&mut self.untold)).filter(|bytes| *bytes > 0).map(Told::Losing)
    }

    fn end(&mut self) -> Option<Told> {
        self.state = State::Well;
        Some(Told::Over(std::mem::take(&mut self.untold)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::default() + Duration::from_secs(100) + Duration::from_millis(millis)
    }

    #[test]
    fn a_loss_begins_at_once_counts_meanwhile_and_ends_when_it_has_been_well_for_a_while() {
        let mut loss = Loss::new(false);
        assert!(loss.tries(at(0)) && !loss.is_open());
        assert_eq!(loss.failed(28, at(0)), Wrote::Began(28));
        loss.count(10);
        assert!(!loss.tries(at(99)) && loss.tries(at(100)));
        assert_eq!((loss.tell(at(50)), loss.tell(at(60))), (Some(Told::Losing(10)), None));
        loss.count(5);
        assert_eq!(loss.failed(28, at(100)), Wrote::Dropped);
        loss.worked(at(200));
        assert_eq!(loss.tell(at(250)), Some(Told::Losing(5)));
        assert_eq!(loss.failed(28, at(300)), Wrote::Relapsed, "it has not ended");
        loss.worked(at(400));
        loss.count(3);
        assert!(loss.is_open());
        assert_eq!(loss.tell(at(1400)), Some(Told::Over(3)));
        assert!(!loss.is_open() && loss.tell(at(1500)).is_none());
        loss.count(7);
        assert_eq!(loss.tell(at(1600)), Some(Told::Losing(7)), "the rest of a line that began before");
    }

    #[test]
    fn at_the_end_all_is_told() {
        let mut well = Loss::new(false);
        assert_eq!((well.tell_last(false), well.tell_last(true)), (None, None));
        for (closed, told) in [(false, Told::Losing(4)), (true, Told::Over(4))] {
            let mut loss = Loss::new(true);
            loss.count(4);
            assert_eq!(loss.tell_last(closed), Some(told));
        }
        let mut better = Loss::new(true);
        better.worked(at(0));
        assert_eq!(better.tell_last(false), Some(Told::Over(0)));
    }
}
