//! Where the kernel says something else than was granted at the start: one check for each, only if there
//! is one.
#![forbid(unsafe_code)]

use super::{Facts, WEIGHT_MISMATCH, graded};
use crate::model::boundary::{Check, Grant, Live};
use crate::model::capability::CapabilitySet;
use crate::model::program::Limit;

pub fn checks(facts: &Facts<'_>) -> Vec<Check> {
    let (Some(live), Some(grant)) = (facts.live, facts.grant) else { return Vec::new() };
    let all = [
        user(live, grant),
        groups(live, grant),
        capabilities(live, grant),
        no_new_privileges(live, grant),
        limits(facts, live),
    ];
    all.into_iter().flatten().collect()
}

fn mismatch(name: &str, key: &str, description: String) -> Check {
    let mut check = graded(name, WEIGHT_MISMATCH, 1, 1, Some(key));
    check.mismatch = true;
    check.description = description;
    check
}

/// A user other than the granted one, in whatever place. Root may become whom it likes.
fn user(live: &Live, grant: &Grant) -> Option<Check> {
    let other = live.uid.all().into_iter().find(|uid| *uid != grant.uid.0)?;
    let description = format!("Was started as uid {} and has become uid {other}", grant.uid);
    (!grant.uid.is_root()).then(|| mismatch("user_mismatch", "no_new_privileges", description))
}

fn groups(live: &Live, grant: &Grant) -> Option<Check> {
    let known = grant.groups.as_deref()?;
    let granted = |gid: u32| gid == grant.gid.0 || known.iter().any(|group| group.0 == gid);
    let now = live.gid.all().into_iter().chain(live.groups.iter().map(|group| group.0));
    let other = now.into_iter().find(|gid| !granted(*gid))?;
    let description = format!("Is in the group {other}, which it was not started with");
    (!grant.uid.is_root()).then(|| mismatch("groups_mismatch", "no_new_privileges", description))
}

fn capabilities(live: &Live, grant: &Grant) -> Option<Check> {
    if live.other_user_namespace {
        return None;
    }
    let sets = live.capabilities;
    let now = sets.permitted.union(sets.effective).union(sets.ambient).union(sets.inheritable);
    let beyond = |now: CapabilitySet, granted: Option<CapabilitySet>| {
        granted.map_or(CapabilitySet::EMPTY, |granted| now.without(granted))
    };
    let gained = beyond(now, grant.capabilities);
    if !gained.is_empty() {
        let description = format!("Has capabilities that it was not given: {}", named(gained));
        return Some(mismatch("capabilities_mismatch", "no_new_privileges", description));
    }
    let reachable = beyond(sets.bounding, grant.bounding);
    let description = format!("Its bounding set has what was taken from it: {}", named(reachable));
    (!reachable.is_empty()).then(|| mismatch("capabilities_mismatch", "capability_bounding", description))
}

/// Also those that only the kernel has names for.
fn named(set: CapabilitySet) -> String {
    if set.known().next().is_some() { set.to_string() } else { "unknown ones".to_owned() }
}

fn no_new_privileges(live: &Live, grant: &Grant) -> Option<Check> {
    let description = "Was started with no_new_privs, and has it no more".to_owned();
    (grant.no_new_privileges && !live.no_new_privileges)
        .then(|| mismatch("no_new_privileges_mismatch", "no_new_privileges", description))
}

/// A configured hard limit that is higher now: only a capability could raise it.
fn limits(facts: &Facts<'_>, live: &Live) -> Option<Check> {
    let above = |now: &Limit, set: &Limit| match (now.hard, set.hard) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(now), Some(set)) => now > set,
    };
    let (resource, _) = facts
        .settings
        .limits
        .iter()
        .find(|(resource, set)| live.limits.get(resource).is_some_and(|now| above(now, set)))?;
    let description = format!("Its hard limit of {} is above the configured one", resource.name());
    Some(mismatch("limits_mismatch", "limits", description))
}
