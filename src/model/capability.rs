//! Sets of capabilities (capabilities(7)), by the names of the kernel.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Some capabilities, as the kernel's bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    pub const EMPTY: Self = Self(0);
    /// Those of later kernels, too.
    pub const ALL: Self = Self(u64::MAX);

    /// The kernel's bits, those that this program has no name for included.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Adds one by its name: `CAP_NET_BIND_SERVICE`, `net_bind_service`.
    ///
    /// False if there is no such capability.
    pub fn insert(&mut self, name: &str) -> bool {
        let upper = name.to_ascii_uppercase();
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        match caps::Capability::from_str(&full) {
            Ok(capability) => {
                self.0 |= capability.bitmask();
                true
            }
            Err(_) => false,
        }
    }

    /// Whether it has the capability with this number.
    pub fn has(self, number: u32) -> bool {
        1_u64.checked_shl(number).is_some_and(|bit| self.0 & bit != 0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that `other` has not.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has one that `other` has, too.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The known ones in it.
    pub fn known(self) -> impl Iterator<Item = caps::Capability> {
        let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
        all.sort_by_key(caps::Capability::index);
        all.into_iter().filter(move |capability| self.0 & capability.bitmask() != 0)
    }

    /// Every name, for suggestions.
    pub fn names() -> Vec<String> {
        let mut names: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
        names.sort();
        names
    }
}

/// `CAP_KILL CAP_SYS_TIME`, or `none`.
impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.known().map(|capability| capability.to_string()).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(" "))
    }
}

pub mod names {
    //! A set as the list of its names, for people and their programs (`#[serde(with)]`). What has no name
    //! here is `CAP_` and its number.
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::CapabilitySet;

    fn list(set: CapabilitySet) -> Vec<String> {
        let known: Vec<caps::Capability> = set.known().collect();
        let unnamed =
            (0..64).filter(|number| set.has(*number) && known.iter().all(|one| u32::from(one.index()) != *number));
        let unnamed: Vec<String> = unnamed.map(|number| format!("CAP_{number}")).collect();
        known.iter().map(ToString::to_string).chain(unnamed).collect()
    }

    fn set(names: &[String]) -> Option<CapabilitySet> {
        let mut set = CapabilitySet::EMPTY;
        for name in names {
            if !set.insert(name) {
                let number: u32 = name.strip_prefix("CAP_")?.parse().ok()?;
                set = set.union(CapabilitySet(1_u64.checked_shl(number)?));
            }
        }
        Some(set)
    }

    /// # Errors
    /// The format's.
    pub fn serialize<S: Serializer>(set: &CapabilitySet, to: S) -> Result<S::Ok, S::Error> {
        list(*set).serialize(to)
    }

    /// # Errors
    /// A name of no capability.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<CapabilitySet, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        set(&names).ok_or_else(|| de::Error::custom("there is no such capability"))
    }

    pub mod option {
        //! The same where there may be none.
        use super::{CapabilitySet, Deserialize, Deserializer, Serialize, Serializer, de, list, set};

        /// # Errors
        /// The format's.
        pub fn serialize<S: Serializer>(set: &Option<CapabilitySet>, to: S) -> Result<S::Ok, S::Error> {
            set.map(list).serialize(to)
        }

        /// # Errors
        /// A name of no capability.
        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<CapabilitySet>, D::Error> {
            match Option::<Vec<String>>::deserialize(from)? {
                None => Ok(None),
                Some(names) => set(&names).map(Some).ok_or_else(|| de::Error::custom("there is no such capability")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_survives_being_written_as_names() {
        #[derive(PartialEq, Debug, Serialize, Deserialize)]
        struct Both(#[serde(with = "names")] CapabilitySet, #[serde(with = "names::option")] Option<CapabilitySet>);
        for bits in [0, 1, 0x1ff_ffff_ffff, u64::MAX, 1 << 63] {
            let both = Both(CapabilitySet::from_bits(bits), Some(CapabilitySet::from_bits(!bits)));
            let json = serde_json::to_string(&both).expect("serialises");
            assert_eq!(serde_json::from_str::<Both>(&json).expect("reads back"), both);
        }
        for bad in ["[[\"CAP_64\"],null]", "[[\"CAP_NOPE\"],null]", "[[],[\"x\"]]"] {
            assert!(serde_json::from_str::<Both>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn capabilities_are_named_as_the_kernel_does_with_or_without_the_prefix() {
        let mut set = CapabilitySet::EMPTY;
        for name in ["CAP_NET_BIND_SERVICE", "net_bind_service", "Cap_Kill"] {
            assert!(set.insert(name), "{name}");
        }
        assert_eq!(set.to_string(), "CAP_KILL CAP_NET_BIND_SERVICE");
        assert!(set.has(10) && set.has(5) && !set.has(0) && !set.has(200));
        for name in ["", "CAP_", "CAP_NOPE", "all", "10"] {
            assert!(!set.insert(name), "{name}");
        }
        assert_eq!(CapabilitySet::EMPTY.to_string(), "none");
    }
}
