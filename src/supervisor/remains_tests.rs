//! Where a process's control group cannot be had: a directory plays the hierarchy.

use super::*;
use crate::model::id::ProgramName;

struct Played {
    base: tempfile::TempDir,
    remains: Remains,
}

impl Played {
    fn new() -> Self {
        let base = tempfile::tempdir().expect("a directory");
        std::fs::write(base.path().join("cgroup.kill"), "").expect("a file");
        let cgroups = Cgroups::at(base.path().to_owned());
        assert!(cgroups.is_some());
        Self { base, remains: Remains::new(cgroups) }
    }
}

fn id(program: &str, instance: u32) -> ProcessId {
    ProcessId { program: ProgramName::new(program).expect("a name"), instance }
}

#[test]
fn a_group_that_cannot_be_made_is_told_once_for_each_program() {
    let Played { base, mut remains } = Played::new();
    for name in ["web:0", "web:1", "db:0"] {
        std::fs::write(base.path().join(name), "in the way").expect("a file");
    }
    for (program, instance, told) in [("web", 0, true), ("web", 1, false), ("web", 0, false), ("db", 0, true)] {
        let id = id(program, instance);
        assert!(remains.cgroup_for(&id).is_none());
        assert_eq!(remains.outside(&id), Some("it cannot be made: Not a directory (os error 20)"));
        assert_eq!(remains.outside_untold(&id).is_some(), told, "{id}");
        assert!(!remains.is_grouped(&id));
    }
    std::fs::remove_file(base.path().join("web:0")).expect("removes");
    assert!(remains.cgroup_for(&id("web", 0)).is_some());
    assert!(remains.is_grouped(&id("web", 0)) && remains.outside(&id("web", 0)).is_none());
}

#[test]
fn a_process_that_is_not_in_its_group_is_found() {
    let Played { base: _base, mut remains } = Played::new();
    let web = id("web", 0);
    assert!(remains.cgroup_for(&web).is_some() && remains.is_grouped(&web));
    remains.see_that_it_is_inside(&web, process::own_pid());
    assert_eq!(remains.outside_untold(&web).as_deref(), Some("the kernel has not put it there"));
    assert!(!remains.is_grouped(&web));
}

#[test]
fn after_a_death_at_birth_no_process_is_born_in_a_group() {
    let Played { base: _base, mut remains } = Played::new();
    let (web, db) = (id("web", 0), id("db", 0));
    assert!(remains.cgroup_for(&web).is_some());
    assert!(remains.distrust_cgroups(&web));
    assert!(!remains.distrust_cgroups(&web), "told once");
    for id in [web, db] {
        assert!(remains.cgroup_for(&id).is_none());
        assert!(remains.outside_untold(&id).is_some_and(|why| why.contains("killed at its birth")));
    }
    let mut without = Remains::new(None);
    assert!(!without.distrust_cgroups(&id("web", 0)), "none are in use");
    assert!(without.cgroup_for(&id("web", 0)).is_none() && without.outside(&id("web", 0)).is_none());
}
