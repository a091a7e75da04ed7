//! The two clocks, read in one place.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::model::time::{Moment, WallTime};

/// The monotonic clock.
pub fn now() -> Moment {
    // CLOCK_MONOTONIC cannot fail on Linux (clock_gettime(2): only a bad id or address does).
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    Moment::new(time)
}

/// The wall clock, for display.
pub fn wall() -> WallTime {
    WallTime::now()
}
