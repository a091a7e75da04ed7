//! How long to wait before something is tried again, by the class of what went wrong.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::outcome::{Class, Failure};

/// Seconds, for what may come back by itself: the channel (Connection), a message (Temporary).
const BY_ITSELF: [u64; 7] = [15, 30, 60, 120, 300, 600, 900];
/// Seconds, for what somebody has to change: too many wrong passwords lock an account.
const BY_SOMEBODY: [u64; 3] = [300, 900, 3600];
/// A server's own wish is heeded up to this.
const WISH_MAX: Duration = Duration::from_secs(3600);
/// No pause is longer.
pub const LONGEST: Duration = WISH_MAX;

/// The pause after so many failures in a row (the first is 1). `dice`, from 0 to 1, spreads what may come
/// back by itself by ±20 %, so that a fleet does not return at one instant.
pub fn pause(failure: &Failure, failures: u32, dice: f64) -> Duration {
    let at = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let step = |steps: &[u64]| Duration::from_secs(steps.get(at).or(steps.last()).copied().unwrap_or(0));
    let own = match failure.class {
        Class::Configuration => step(&BY_SOMEBODY),
        Class::Connection | Class::Temporary => step(&BY_ITSELF).mul_f64(0.8 + 0.4 * dice.clamp(0.0, 1.0)),
        Class::Permanent | Class::Content => Duration::ZERO,
    };
    own.max(failure.retry_after.unwrap_or_default().min(WISH_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(class: Class, failures: u32, dice: f64) -> f64 {
        pause(&Failure::new(class, "x"), failures, dice).as_secs_f64()
    }

    #[test]
    fn pauses_grow_to_a_quarter_of_an_hour_and_are_spread() {
        let all: Vec<f64> = (1..=9).map(|n| seconds(Class::Connection, n, 0.5)).collect();
        assert_eq!(all, [15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 900.0, 900.0]);
        assert_eq!(seconds(Class::Temporary, 1, 0.0), 12.0);
        assert_eq!(seconds(Class::Temporary, 1, 1.0), 18.0);
        assert_eq!(seconds(Class::Connection, u32::MAX, 7.0), 1080.0);
        assert_eq!(seconds(Class::Connection, 0, f64::NAN.max(0.5)), 15.0);
    }

    #[test]
    fn what_somebody_has_to_change_is_tried_after_5_15_and_60_minutes() {
        let all: Vec<f64> = (1..=5).map(|n| seconds(Class::Configuration, n, 0.9)).collect();
        assert_eq!(all, [300.0, 900.0, 3600.0, 3600.0, 3600.0]);
    }

    #[test]
    fn a_server_may_ask_for_more_but_not_for_ever() {
        let mut failure = Failure::new(Class::Temporary, "429");
        failure.retry_after = Some(Duration::from_secs(100));
        assert_eq!(pause(&failure, 1, 0.5), Duration::from_secs(100));
        failure.retry_after = Some(Duration::from_secs(1));
        assert_eq!(pause(&failure, 1, 0.5), Duration::from_secs(15));
        failure.retry_after = Some(Duration::MAX);
        assert_eq!(pause(&failure, 1, 0.5), WISH_MAX);
    }
}
