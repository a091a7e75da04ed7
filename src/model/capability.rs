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

#[cfg(test)]
mod tests {
    use super::*;

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
