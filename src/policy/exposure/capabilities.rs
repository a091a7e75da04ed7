//! Capabilities, by what they let a program do. The groups and weights are those of systemd's
//! `CapabilityBoundingSet=` checks (src/analyze/analyze-security.c).
#![forbid(unsafe_code)]

use super::{Facts, graded};
use crate::model::boundary::Check;
use crate::model::capability::CapabilitySet;

/// Name of the check, weight, capabilities, what a program can do with one of them.
const GROUPS: [(&str, u32, &[&str], &str); 11] = [
    ("capability_administration", 1500, &["SYS_ADMIN"], "administrate the system"),
    ("capability_identity", 1500, &["SETUID", "SETGID", "SETPCAP"], "become other users, and gain capabilities"),
    ("capability_trace", 1500, &["SYS_PTRACE"], "trace and change other programs"),
    (
        "capability_kernel",
        1000,
        &["SYS_MODULE", "SYS_RAWIO", "BPF", "PERFMON", "SYSLOG"],
        "change or look into the kernel",
    ),
    ("capability_ownership", 1000, &["CHOWN", "FSETID", "SETFCAP"], "give files away, and make them setuid"),
    (
        "capability_files",
        1000,
        &["DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "IPC_OWNER", "LINUX_IMMUTABLE"],
        "read or change files of others",
    ),
    (
        "capability_network",
        1000,
        &["NET_ADMIN", "NET_RAW", "NET_BROADCAST"],
        "reconfigure the network, and forge packets",
    ),
    ("capability_ports", 100, &["NET_BIND_SERVICE"], "take ports below 1024"),
    ("capability_kill", 500, &["KILL"], "signal programs of others"),
    (
        "capability_resources",
        500,
        &["SYS_RESOURCE", "SYS_NICE", "IPC_LOCK", "LEASE", "SYS_PACCT", "SYS_TTY_CONFIG"],
        "take more than its share",
    ),
    (
        "capability_system",
        500,
        &["SYS_TIME", "SYS_BOOT", "SYS_CHROOT", "MKNOD", "MAC_ADMIN", "MAC_OVERRIDE", "AUDIT_CONTROL", "AUDIT_WRITE"],
        "change the clock, devices, audit or access control",
    ),
];

/// What it can gain counts less than what it has, and only if it can gain anything.
const GAINABLE: u32 = 1;
const HELD: u32 = 2;

pub fn checks(facts: &Facts<'_>) -> Vec<Check> {
    let (held, bounding) = facts.capabilities();
    let gainable = if facts.no_new_privileges() { CapabilitySet::EMPTY } else { bounding };
    GROUPS
        .iter()
        .map(|(name, weight, members, deed)| {
            let group = set(members);
            let (badness, key, description) = if held.meets(group) {
                (HELD, "capabilities", format!("Can {deed}"))
            } else if gainable.meets(group) {
                (GAINABLE, "capability_bounding", format!("What it executes could {deed}"))
            } else {
                (0, "capabilities", format!("Cannot {deed}"))
            };
            let mut check = graded(name, *weight, badness, HELD, Some(key));
            check.description = description;
            check
        })
        .collect()
}

fn set(names: &[&str]) -> CapabilitySet {
    names.iter().fold(CapabilitySet::EMPTY, |mut set, name| {
        set.insert(name);
        set
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_capability_and_stands_once() {
        let mut all = CapabilitySet::EMPTY;
        for name in GROUPS.iter().flat_map(|(_, _, members, _)| members.iter()) {
            let mut one = CapabilitySet::EMPTY;
            assert!(one.insert(name) && !one.meets(all), "{name}");
            all = all.union(one);
        }
    }
}
