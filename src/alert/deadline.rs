//! A moment until which something waits. It is saved as what remains of it, in milliseconds: the
//! monotonic clock means nothing to the next boot.
#![forbid(unsafe_code)]

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::time::Moment;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline(Moment);

impl Deadline {
    pub fn after(now: Moment, wait: Duration) -> Self {
        Self(now + wait)
    }

    pub fn moment(self) -> Moment {
        self.0
    }

    pub fn is_due(self, now: Moment) -> bool {
        self.0 <= now
    }

    /// To be saved: from now on it counts from the clock's zero.
    pub fn suspend(&mut self, now: Moment) {
        self.0 = Moment::new(self.0.since(now));
    }

    /// The opposite, at another `now`. What is saved may be nonsense: it waits for `longest` at most.
    pub fn resume(&mut self, now: Moment, longest: Duration) {
        self.0 = now + self.0.since(Moment::default()).min(longest);
    }
}

impl Serialize for Deadline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.since(Moment::default()).as_millis();
        serializer.serialize_u64(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

impl<'de> Deserialize<'de> for Deadline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|millis| Self(Moment::new(Duration::from_millis(millis))))
    }
}
