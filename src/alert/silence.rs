//! Silences: what people have asked not to be told about for a while.
//!
//! A silence ends by the monotonic clock; its wall time is for people, and shortens what is left of it when
//! it is loaded after the machine was off.
#![forbid(unsafe_code)]

use std::time::Duration;

use glob::Pattern;
use serde::{Deserialize, Serialize};

use super::deadline::Deadline;
use crate::model::event::wall_time;
use crate::model::id::ProcessId;
use crate::model::notify::{SILENCE_MAX, SILENCE_TEXT_MAX};
use crate::model::selector::Selector;
use crate::model::time::{Moment, WallTime};

/// How many there can be.
pub const SILENCES_MAX: usize = 1000;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Silence {
    /// `s17`.
    pub id: String,
    pub selector: String,
    #[serde(with = "wall_time")]
    pub until: WallTime,
    pub reason: String,
    pub by: String,
    ends: Deadline,
}

/// All of them; saved as it is by way of [`Silences::suspended`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Silences {
    list: Vec<Silence>,
    count: u64,
}

impl Silences {
    /// Adds one, instead of the one on the same selector.
    ///
    /// # Errors
    /// In words: not a selector, too long, too many.
    pub fn add(
        &mut self,
        selector: &str,
        length: Duration,
        (reason, by): (&str, &str),
        now: Moment,
        wall: WallTime,
    ) -> Result<Silence, String> {
        check(selector, reason)?;
        if length.is_zero() || length > SILENCE_MAX {
            return Err("a silence lasts from one second to 366 days".to_owned());
        }
        self.expire(now);
        self.list.retain(|silence| silence.selector != selector);
        if self.list.len() >= SILENCES_MAX {
            return Err(format!("there are {SILENCES_MAX} silences already; end some with `notify unsilence`"));
        }
        self.count = self.count.saturating_add(1);
        let silence = Silence {
            id: format!("s{}", self.count),
            selector: selector.to_owned(),
            until: wall.saturating_add(jiff::SignedDuration::try_from(length).unwrap_or_default()).unwrap_or(wall),
            reason: reason.to_owned(),
            by: by.to_owned(),
            ends: Deadline::after(now, length),
        };
        self.list.push(silence.clone());
        Ok(silence)
    }

    /// Ends one by its id or its selector; how many there were.
    pub fn remove(&mut self, silence: &str) -> usize {
        let before = self.list.len();
        self.list.retain(|known| known.id != silence && known.selector != silence);
        before - self.list.len()
    }

    /// Forgets what has ended; whether anything has. Then each pipeline is to be ticked.
    pub fn expire(&mut self, now: Moment) -> bool {
        let before = self.list.len();
        self.list.retain(|silence| !silence.ends.is_due(now));
        self.list.len() < before
    }

    /// When the next one ends.
    pub fn deadline(&self) -> Option<Moment> {
        self.list.iter().map(|silence| silence.ends.moment()).min()
    }

    pub fn list(&self) -> &[Silence] {
        &self.list
    }

    /// Whether one of them names this process.
    pub fn cover(&self, id: &ProcessId, group: Option<&str>, now: Moment) -> bool {
        let active = |silence: &&Silence| !silence.ends.is_due(now);
        self.list.iter().filter(active).any(|silence| Selector::new(&silence.selector).matches(id, group))
    }

    /// Whether everything is silenced, also what is about no program.
    pub fn cover_all(&self, now: Moment) -> bool {
        self.list.iter().any(|silence| silence.selector == "all" && !silence.ends.is_due(now))
    }

    /// As it is saved.
    pub fn suspended(&self, now: Moment) -> Self {
        let mut saved = self.clone();
        saved.list.iter_mut().for_each(|silence| silence.ends.suspend(now));
        saved
    }

    /// What was saved goes on, each no longer than the wall clock says. Nonsense is left out.
    pub fn resumed(mut self, now: Moment, wall: WallTime) -> Self {
        self.list.truncate(SILENCES_MAX);
        self.list.retain(|silence| check(&silence.selector, &silence.reason).is_ok());
        for silence in &mut self.list {
            let left = Duration::try_from(silence.until.duration_since(wall)).unwrap_or_default();
            silence.ends.resume(now, left.min(SILENCE_MAX));
        }
        self.expire(now);
        self
    }
}

fn check(selector: &str, reason: &str) -> Result<(), String> {
    if selector.is_empty() || selector.len() > SILENCE_TEXT_MAX || reason.len() > SILENCE_TEXT_MAX {
        return Err(format!("a selector has 1 to {SILENCE_TEXT_MAX} bytes, a reason at most {SILENCE_TEXT_MAX}"));
    }
    if selector.contains(['*', '?', '['])
        && let Err(error) = Pattern::new(selector)
    {
        return Err(format!("{selector} is not a pattern: {error}"));
    }
    if matches!(Selector::new(selector), Selector::Nothing) {
        return Err(format!("{selector} names no process: write web, web:3, web:*, a group, a pattern or all"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ProgramName;

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    fn wall(seconds: i64) -> WallTime {
        WallTime::from_second(1_795_162_323 + seconds).expect("in range")
    }

    fn web(instance: u32) -> ProcessId {
        ProcessId::new(&ProgramName::new("web").expect("a name"), instance)
    }

    fn silences(selectors: &[&str]) -> Silences {
        let mut silences = Silences::default();
        for selector in selectors {
            silences.add(selector, Duration::from_secs(60), ("deploy", "ops"), at(0), wall(0)).expect(selector);
        }
        silences
    }

    #[test]
    fn each_form_of_selector_covers_what_it_names() {
        for selector in ["web", "web:*", "front", "we*", "web:?", "all"] {
            assert!(silences(&[selector]).cover(&web(3), Some("front"), at(0)), "{selector}");
        }
        let third = silences(&["web:3"]);
        assert!(third.cover(&web(3), None, at(0)) && !third.cover(&web(2), None, at(0)));
        assert!(!silences(&["back", "w"]).cover(&web(0), Some("front"), at(0)));
        assert!(silences(&["all"]).cover_all(at(0)) && !silences(&["*"]).cover_all(at(0)));
    }

    #[test]
    fn silences_end_by_time_by_id_and_by_selector() {
        let mut all = silences(&["web", "db", "all"]);
        assert_eq!(all.list().iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["s1", "s2", "s3"]);
        assert_eq!((all.remove("s2"), all.remove("web"), all.remove("web")), (1, 1, 0));
        assert_eq!(all.deadline(), Some(at(60)));
        assert!(all.cover(&web(0), None, at(59)) && !all.cover(&web(0), None, at(60)));
        assert!(!all.expire(at(59)) && all.expire(at(60)) && all.list().is_empty());
    }

    #[test]
    fn a_second_silence_on_the_same_selector_takes_the_first_ones_place() {
        let mut all = silences(&["web"]);
        let second = all.add("web", Duration::from_secs(5), ("", "ops"), at(0), wall(0)).expect("added");
        assert_eq!(all.list(), [second]);
    }

    #[test]
    fn what_can_be_no_silence_is_refused_in_words() {
        let mut all = Silences::default();
        let mut add = |selector: &str, seconds| {
            all.add(selector, Duration::from_secs(seconds), ("", "ops"), at(0), wall(0)).expect_err(selector)
        };
        assert!(add("[", 1).contains("not a pattern"));
        assert!(add("a:b:c", 1).contains("names no process"));
        assert!(add("", 1).contains("1 to 1024 bytes"));
        assert!(add("web", 0).contains("366 days") && add("web", u64::MAX).contains("366 days"));
        for n in 0..SILENCES_MAX {
            all.add(&format!("p{n}"), SILENCE_MAX, ("", ""), at(0), wall(0)).expect("room");
        }
        assert!(all.add("web", SILENCE_MAX, ("", ""), at(0), wall(0)).is_err());
    }

    #[test]
    fn silences_are_kept_over_a_restart_and_end_no_later_than_the_wall_clock_says() {
        let json = serde_json::to_string(&silences(&["web"]).suspended(at(10))).expect("serialises");
        let load = |now, wall| serde_json::from_str::<Silences>(&json).expect("reads back").resumed(now, wall);
        assert_eq!(load(at(1000), wall(10)).deadline(), Some(at(1050)));
        // The machine was off for half a minute; the wall clock went back a year.
        assert_eq!(load(at(0), wall(40)).deadline(), Some(at(20)));
        assert_eq!(load(at(0), wall(-31_000_000)).deadline(), Some(at(50)));
        assert!(load(at(0), wall(61)).list().is_empty());
    }
}
