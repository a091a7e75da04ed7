//! Two kinds of time that never mix: moments of the monotonic clock, for every deadline and duration,
//! and wall time, for display only.
//!
//! Neither is read here: `now` is a parameter everywhere (`system::clock` reads both).
#![forbid(unsafe_code)]

use std::ops::Add;
use std::time::Duration;

/// Wall time, to the millisecond as it is shown (RFC 3339, UTC).
pub type WallTime = jiff::Timestamp;

/// A point of the monotonic clock, which counts while the machine runs and never jumps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `since_boot` after the clock's zero.
    pub fn new(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// The time since the clock's zero, in microseconds: what systemd calls `MONOTONIC_USEC`.
    pub fn micros(self) -> u64 {
        u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX)
    }

    /// The time from `earlier` to this moment; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// `2026-11-20T08:12:03.123Z`: RFC 3339, UTC, always three digits of a second.
pub fn rfc3339_millis(time: WallTime) -> String {
    format!("{time:.3}")
}

/// A duration as people write it in the configuration: `250ms`, `3.2s`, `1m30s`, `2h5m`, `3d4h`.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let pair = |big: u64, big_unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
    };
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 if duration.subsec_millis() < 50 => format!("{seconds}s"),
        1..60 => format!("{:.1}s", (duration.as_secs_f64() * 10.0).floor() / 10.0),
        60..3600 => pair(seconds / 60, "m", seconds % 60, "s"),
        3600..86400 => pair(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => pair(seconds / 86400, "d", seconds % 86400 / 3600, "h"),
    }
}

/// Longer than this no duration is meant.
pub const DURATION_MAX: Duration = Duration::from_secs(3650 * 86_400);

/// Why a text is no duration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unusable {
    Negative,
    TooLong,
    NoDuration,
}

/// A number of seconds, with or without a fraction.
///
/// # Errors
/// What is wrong with it.
pub fn seconds(text: &str) -> Result<Duration, Unusable> {
    let seconds: f64 = text.parse().map_err(|_| Unusable::NoDuration)?;
    if seconds.is_nan() {
        Err(Unusable::NoDuration)
    } else if seconds < 0.0 {
        Err(Unusable::Negative)
    } else {
        Duration::try_from_secs_f64(seconds).map_err(|_| Unusable::TooLong)
    }
}

/// A duration as people write it: `90` (seconds), `500ms`, `1m30s`, `2h`, `1d`.
///
/// # Errors
/// What is wrong with it.
pub fn written_duration(text: &str) -> Result<Duration, Unusable> {
    let text = text.trim();
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    if !text.is_empty() && text.chars().all(plain) {
        return seconds(text);
    }
    // A span and not a signed duration: that one takes no days. Months and years have no fixed length
    // and are refused by the conversion.
    let span: jiff::Span = text.parse().map_err(|_| Unusable::NoDuration)?;
    let exact = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| Unusable::NoDuration)?;
    Duration::try_from(exact).map_err(|_| Unusable::Negative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_two_units_at_most() {
        let show = |ms| human(Duration::from_millis(ms));
        assert_eq!(show(0), "0ms");
        assert_eq!(show(250), "250ms");
        assert_eq!(show(3_000), "3s");
        assert_eq!(show(3_290), "3.2s");
        assert_eq!(show(59_999), "59.9s");
        assert_eq!(show(90_000), "1m30s");
        assert_eq!(show(7_500_000), "2h5m");
        assert_eq!(show(86_400_000 * 3 + 4 * 3_600_000), "3d4h");
    }

    #[test]
    fn wall_time_always_has_three_digits_of_a_second() {
        let time = WallTime::from_millisecond(1_795_162_323_120).expect("in range");
        assert_eq!(rfc3339_millis(time), "2026-11-20T08:12:03.120Z");
    }

    #[test]
    fn a_moment_before_another_is_no_time_ago() {
        let (a, b) = (Moment::new(Duration::from_secs(1)), Moment::new(Duration::from_secs(3)));
        assert_eq!(b.since(a), Duration::from_secs(2));
        assert_eq!(a.since(b), Duration::ZERO);
    }
}
