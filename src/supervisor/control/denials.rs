//! Refusals as they are told: one event for many, so that nobody fills the log by knocking. Pure.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::model::time::Moment;

/// At most one event about refusals in this time.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Denials {
    told: Option<Moment>,
    /// How many were not told since.
    since: u64,
}

impl Denials {
    /// Somebody may not do this. Gives the words of an event, if there is one.
    pub fn note(&mut self, verb: &str, rule: &str, now: Moment) -> Option<String> {
        if self.told.is_some_and(|at| now.since(at) < INTERVAL) {
            self.since += 1;
            return None;
        }
        self.told = Some(now);
        let more = std::mem::take(&mut self.since);
        let words = format!("a client may not {verb}; what would allow it: {rule}");
        Some(if more == 0 { words } else { format!("{words}; {more} more refusals before this one") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refusal_a_second_is_told_and_the_rest_is_counted() {
        let mut denials = Denials::default();
        let at = |millis| Moment::new(Duration::from_millis(millis));
        let told: Vec<_> = [0, 10, 999, 1000, 1500].iter().map(|at_| denials.note("stop", "R", at(*at_))).collect();
        assert_eq!(told[0].as_deref(), Some("a client may not stop; what would allow it: R"));
        assert_eq!((&told[1], &told[2], &told[4]), (&None, &None, &None));
        assert!(told[3].as_ref().is_some_and(|words| words.ends_with("; 2 more refusals before this one")));
    }
}
