//! Ids of notices and incidents: unique for ever, safe as file names and in a Message-ID.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::rc::Rc;

use crate::model::time::WallTime;

/// Makes ids such as `20261120T081203-4f2a9c01-17`: wall time, what is random in this run, a count. Clones
/// count together, so that all channels of one notifier share one source.
#[derive(Clone, Debug)]
pub struct IdSource {
    random: u32,
    count: Rc<Cell<u64>>,
}

impl IdSource {
    /// `random` is drawn anew at each start of the notifier: two that start within a second differ in it.
    pub fn new(random: u32) -> Self {
        Self { random, count: Rc::default() }
    }

    pub fn next(&self, wall: WallTime) -> String {
        let count = self.count.get() + 1;
        self.count.set(count);
        format!("{}-{:08x}-{count}", wall.strftime("%Y%m%dT%H%M%S"), self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_time_run_and_count_also_over_clones() {
        let wall = WallTime::from_second(1_795_162_323).expect("in range");
        let ids = IdSource::new(0x4f2a_9c01);
        assert_eq!(ids.next(wall), "20261120T081203-4f2a9c01-1");
        assert_eq!(ids.clone().next(wall), "20261120T081203-4f2a9c01-2");
        assert_eq!(ids.next(wall), "20261120T081203-4f2a9c01-3");
    }
}
