//! How long to wait before a program is tried again.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::model::program::Backoff;

/// The delay before retry `attempt` (1 is the first retry), varied by `jitter` with `dice`, a number
/// that differs between processes.
///
/// Saturates at `max`; `attempt` 0 has no delay.
pub fn delay(backoff: &Backoff, attempt: u32, dice: u64) -> Duration {
    if attempt == 0 {
        return Duration::ZERO;
    }
    let max = backoff.max.as_secs_f64();
    let mut seconds = backoff.initial.as_secs_f64().min(max);
    for _ in 1..attempt {
        let next = (seconds * backoff.factor + backoff.step.as_secs_f64()).min(max);
        if next <= seconds {
            break; // at the ceiling, or a constant delay: further turns change nothing
        }
        seconds = next;
    }
    if backoff.jitter > 0.0 {
        seconds *= 1.0 + backoff.jitter * (2.0 * fraction(dice) - 1.0);
    }
    Duration::try_from_secs_f64(seconds).unwrap_or(backoff.max)
}

/// A number from 0 to 1 out of any number, evenly spread (the finaliser of splitmix64).
fn fraction(dice: u64) -> f64 {
    let mut z = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let numerator = (z >> 11) as f64;
    numerator / 9_007_199_254_740_992.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_default_is_one_second_more_each_time_up_to_a_minute() {
        let backoff = Backoff::default();
        let seconds = |n| delay(&backoff, n, 1).as_secs_f64();
        assert_eq!([0, 1, 2, 3].map(seconds), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(seconds(60), 60.0);
        assert_eq!(seconds(u32::MAX), 60.0);
    }

    #[test]
    fn a_factor_doubles_and_zero_means_no_delay() {
        let double = Backoff { factor: 2.0, step: Duration::ZERO, ..Backoff::default() };
        assert_eq!([1, 2, 3, 4].map(|n| delay(&double, n, 0).as_secs()), [1, 2, 4, 8]);
        let none = Backoff { initial: Duration::ZERO, step: Duration::ZERO, ..Backoff::default() };
        assert_eq!(delay(&none, 9, 0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_share(attempt in 1u32..200, jitter in 0.0f64..=1.0, dice: u64) {
            let plain = delay(&Backoff::default(), attempt, dice).as_secs_f64();
            let varied = delay(&Backoff { jitter, ..Backoff::default() }, attempt, dice).as_secs_f64();
            prop_assert!((varied - plain).abs() <= plain * jitter + 1e-6);
        }
    }
}
