//! What the kernel says of a live process: /proc/PID/status, limits and cgroup (proc(5)).
//!
//! Only what /proc shows to anybody is read, and nothing that could make the reader wait for the process
//! or for a file system: these files are made by the kernel without the locks that a process can hold for
//! long (as cmdline and environ are not), and no path of a program is followed. What is read is bounded.
//!
//! A number says nothing about who it is: the caller holds the process's pidfd, and sees after reading
//! that it had not ended. While it has not been reaped, its number is nobody else's.

use std::collections::BTreeMap;
use std::io::{self, Read};

use nix::errno::Errno;

use super::cgroup;
use crate::model::boundary::{CapabilitySets, Ids, Live, Seccomp};
use crate::model::capability::CapabilitySet;
use crate::model::id::{Gid, Pid};
use crate::model::program::{Limit, Resource};

/// Bytes of one file: a status with as many groups as the kernel allows (65536) has less.
const READ_MAX: u64 = 1 << 20;

/// Looks at a process. `own_control_group` is left open.
///
/// # Errors
/// ENOENT or ESRCH when it is gone; EBADMSG when the kernel says what is not understood.
pub fn live(pid: Pid) -> io::Result<Live> {
    let mut live = parse_status(&read(pid, "status")?).ok_or(Errno::EBADMSG)?;
    live.limits = parse_limits(&read(pid, "limits")?);
    live.other_user_namespace = is_in_other_user_namespace(pid);
    // A kernel without control groups has no such file.
    live.control_group = read(pid, "cgroup").ok().and_then(|text| cgroup::own_path(&text).map(str::to_owned));
    Ok(live)
}

/// A process, as whom it runs, and what it calls itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Running {
    pub pid: Pid,
    pub uid: u32,
    pub name: String,
    pub parent: Pid,
}

/// The processes that run as one of these users, by their real or effective uid.
pub fn running_as(uids: &[u32]) -> Vec<Running> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid));
    pids.filter_map(running).filter(|running| uids.contains(&running.uid)).collect()
}

/// One process; `None` when it is gone. Its user is the effective one where that is not root.
pub fn running(pid: Pid) -> Option<Running> {
    let text = read(pid, "status").ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let uid = ids(field("Uid")?)?;
    let uid = if uid.effective == 0 { uid.real } else { uid.effective };
    Some(Running { pid, uid, name: field("Name")?.to_owned(), parent: Pid(field("PPid")?.parse().ok()?) })
}

/// Where we may not know, or the kernel has no such namespaces, it is in ours.
fn is_in_other_user_namespace(pid: Pid) -> bool {
    let theirs = std::fs::read_link(format!("/proc/{pid}/ns/user"));
    let ours = std::fs::read_link("/proc/self/ns/user");
    matches!((theirs, ours), (Ok(theirs), Ok(ours)) if theirs != ours)
}

fn read(pid: Pid, name: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(format!("/proc/{pid}/{name}"))?.take(READ_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The kernel escapes line feeds in the one field that a program chooses, its name.
fn parse_status(text: &str) -> Option<Live> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let set = |name: &str| u64::from_str_radix(field(name)?, 16).ok().map(CapabilitySet::from_bits);
    let groups = field("Groups")?.split_whitespace().map(|gid| gid.parse().ok().map(Gid));
    Some(Live {
        uid: ids(field("Uid")?)?,
        gid: ids(field("Gid")?)?,
        groups: groups.collect::<Option<_>>()?,
        capabilities: CapabilitySets {
            effective: set("CapEff")?,
            permitted: set("CapPrm")?,
            inheritable: set("CapInh")?,
            bounding: set("CapBnd")?,
            ambient: set("CapAmb")?,
        },
        other_user_namespace: false,
        no_new_privileges: field("NoNewPrivs")? == "1",
        // A kernel without seccomp does not say it.
        seccomp: match field("Seccomp") {
            Some("2") => Seccomp::Filter,
            Some("1") => Seccomp::Strict,
            _ => Seccomp::Disabled,
        },
        umask: field("Umask").and_then(|mask| u32::from_str_radix(mask, 8).ok()),
        limits: BTreeMap::new(),
        control_group: None,
        own_control_group: None,
    })
}

fn ids(text: &str) -> Option<Ids> {
    let mut numbers = text.split_whitespace().map(|id| id.parse().ok());
    let mut next = || numbers.next().flatten();
    Some(Ids { real: next()?, effective: next()?, saved: next()?, filesystem: next()? })
}

/// The kernel's name of each limit, in /proc/PID/limits.
fn title(resource: Resource) -> &'static str {
    match resource {
        Resource::As => "Max address space",
        Resource::Core => "Max core file size",
        Resource::Cpu => "Max cpu time",
        Resource::Data => "Max data size",
        Resource::Fsize => "Max file size",
        Resource::Locks => "Max file locks",
        Resource::Memlock => "Max locked memory",
        Resource::Msgqueue => "Max msgqueue size",
        Resource::Nice => "Max nice priority",
        Resource::Nofile => "Max open files",
        Resource::Nproc => "Max processes",
        Resource::Rss => "Max resident set",
        Resource::Rtprio => "Max realtime priority",
        Resource::Rttime => "Max realtime timeout",
        Resource::Sigpending => "Max pending signals",
        Resource::Stack => "Max stack size",
    }
}

fn parse_limits(text: &str) -> BTreeMap<Resource, Limit> {
    let value = |word: &str| match word {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    let of = |resource: Resource| {
        let mut words = text.lines().find_map(|line| line.strip_prefix(title(resource)))?.split_whitespace();
        Some((resource, Limit { soft: value(words.next()?)?, hard: value(words.next()?)? }))
    };
    Resource::ALL.iter().filter_map(|resource| of(*resource)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::system::{account, process};

    const STATUS: &str = "Name:\tUid:\\n0\nUmask:\t0027\nState:\tS (sleeping)\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n\
                          Groups:\t9 10 \nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n\
                          CapInh:\t0000000000000000\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\n\
                          CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000400\n";

    #[test]
    fn a_status_is_read_field_by_field() {
        let live = parse_status(STATUS).expect("understood");
        assert_eq!((live.uid.all(), live.gid.all()), ([1, 2, 3, 4], [5, 6, 7, 8]));
        assert_eq!((live.groups, live.umask, live.seccomp), (vec![Gid(9), Gid(10)], Some(0o027), Seccomp::Filter));
        assert!(live.no_new_privileges);
        assert_eq!(live.capabilities.ambient.to_string(), "CAP_NET_BIND_SERVICE");
        assert_eq!(live.capabilities.bounding, CapabilitySet::from_bits(0x1ff_ffff_ffff));
        for needed in ["Uid", "Gid", "Groups", "NoNewPrivs", "CapPrm", "CapBnd", "CapAmb"] {
            assert!(parse_status(&STATUS.replace(&format!("\n{needed}:"), "\nOther:")).is_none(), "{needed}");
        }
    }

    #[test]
    fn who_runs_as_a_user_is_found() {
        let own = running(process::own_pid()).expect("we live");
        assert_eq!(own.uid, account::own_uid().0);
        assert!(running_as(&[own.uid]).contains(&own));
        assert!(running_as(&[]).is_empty());
    }

    #[test]
    fn limits_are_those_of_the_kernel() {
        let limits = live(process::own_pid()).expect("we live").limits;
        assert_eq!(limits.keys().copied().collect::<Vec<_>>(), Resource::ALL, "every one");
        let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("a limit");
        let known = |value: u64| (value != libc::RLIM_INFINITY).then_some(value);
        assert_eq!(limits[&Resource::Nofile], Limit { soft: known(soft), hard: known(hard) });
    }

    #[test]
    fn we_are_who_we_are_and_who_is_gone_is_gone() {
        let own = live(process::own_pid()).expect("we live");
        assert_eq!((own.uid.effective, own.gid.effective), (account::own_uid().0, account::own_gid().0));
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let pid = Pid(i32::try_from(child.id()).expect("a pid"));
        child.wait().expect("it ends");
        assert!(live(pid).is_err());
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_makes_it_panic(text in any::<String>(), from in 0..STATUS.len(), junk in ".{0,8}") {
            let _ = (parse_status(&text), parse_limits(&text), ids(&text));
            let mut broken = STATUS.to_owned();
            broken.replace_range(from..=from, &junk);
            let _ = parse_status(&broken);
            let _ = parse_limits(&format!("Max processes {text}\nMax open files{junk}"));
        }
    }
}
