//! Tests of the judgement: whatever the facts are, it is within its bounds, never better for worse facts,
//! and no mismatch hides.
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::boundary::{CapabilitySets, Ids, Seccomp};
use crate::model::id::{Gid, Uid};
use crate::model::program::Limit;

fn ids(id: u32) -> Ids {
    Ids { real: id, effective: id, saved: id, filesystem: id }
}

fn bits(bits: u64) -> CapabilitySet {
    CapabilitySet::from_bits(bits)
}

const CHOWN: u64 = 1;
const SYS_ADMIN: u64 = 1 << 21;
const NET_BIND_SERVICE: u64 = 1 << 10;
const ALL: u64 = 0x1ff_ffff_ffff;

#[derive(Clone, Debug)]
struct Case {
    settings: Settings,
    grant: Grant,
    live: Live,
    shares_user: bool,
    started: bool,
}

impl Case {
    /// Everything there is against an intruder.
    fn perfect() -> Self {
        let limit = Limit { soft: Some(0), hard: Some(0) };
        let limits =
            BTreeMap::from([(Resource::Core, limit), (Resource::Nproc, Limit { soft: Some(5), hard: Some(5) })]);
        let files = FileRole::ALL.map(|role| FileFact { role, path: None, by_user: false, by_others: false });
        Self {
            settings: Settings {
                root: false,
                nobody: false,
                capabilities: None,
                capability_bounding: None,
                no_new_privileges: true,
                umask: 0o077,
                limits: limits.clone(),
                keyring: Keyring::Private,
                mdwe: true,
                inherits_environment: false,
                kill_mode: KillMode::Tree,
                restrict_paths: true,
            },
            grant: Grant {
                uid: Uid(1000),
                gid: Gid(1000),
                groups: Some(vec![Gid(1000)]),
                capabilities: Some(CapabilitySet::EMPTY),
                bounding: Some(CapabilitySet::EMPTY),
                no_new_privileges: true,
                files: files.to_vec(),
            },
            live: Live {
                uid: ids(1000),
                gid: ids(1000),
                groups: vec![Gid(1000)],
                capabilities: CapabilitySets::default(),
                other_user_namespace: false,
                no_new_privileges: true,
                seccomp: Seccomp::Filter,
                umask: Some(0o077),
                limits,
                control_group: Some("/t/web:0".to_owned()),
                own_control_group: Some(true),
            },
            shares_user: false,
            started: true,
        }
    }

    /// A program that is configured as root, with nothing else said.
    fn root() -> Self {
        let mut case = Self::perfect();
        case.settings.root = true;
        case.settings.no_new_privileges = false;
        case.settings.keyring = Keyring::Inherit;
        case.settings.mdwe = false;
        case.settings.umask = 0o022;
        case.settings.restrict_paths = false;
        case.grant = Grant {
            uid: Uid(0),
            gid: Gid(0),
            groups: Some(vec![Gid(0)]),
            capabilities: None,
            bounding: None,
            no_new_privileges: false,
            files: Vec::new(),
        };
        case.live.uid = ids(0);
        case.live.gid = ids(0);
        case.live.groups = vec![Gid(0)];
        let all = bits(ALL);
        case.live.capabilities =
            CapabilitySets { effective: all, permitted: all, bounding: all, ..CapabilitySets::default() };
        case.live.no_new_privileges = false;
        case.live.seccomp = Seccomp::Disabled;
        case.live.umask = Some(0o022);
        case
    }

    fn judge(&self) -> Judgement {
        let grant = self.started.then_some(&self.grant);
        let live = self.started.then_some(&self.live);
        judge(&Facts { settings: &self.settings, grant, live, shares_user: self.shares_user })
    }
}

fn found(judged: &Judgement) -> BTreeSet<&str> {
    judged.checks.iter().filter(|check| check.is_finding()).map(|check| check.name.as_str()).collect()
}

#[test]
fn nothing_is_held_to_its_tree_without_a_control_group() {
    for own_group in [Some(false), None] {
        let mut case = Case::perfect();
        case.live.own_control_group = own_group;
        let judged = case.judge();
        assert_eq!(found(&judged), BTreeSet::from(["control_group", "kill_mode"]), "{own_group:?}");
        let told = judged.checks.iter().find(|check| check.name == "kill_mode").expect("a check");
        assert!(told.description.contains("in no control group") && told.key.is_none(), "{told:?}");
    }
}

#[test]
fn nothing_is_missing_where_everything_is_there() {
    let judged = Case::perfect().judge();
    assert_eq!((found(&judged), judged.exposure, judged.level), (BTreeSet::new(), 0, Level::Perfect));
    let mut resting = Case::perfect();
    resting.started = false;
    assert_eq!(resting.judge().exposure, 0, "also as it is configured only");
}

#[test]
fn root_with_everything_is_unsafe_also_when_it_only_could_run() {
    let running = Case::root().judge();
    assert!(running.level >= Level::Unsafe, "{}", running.exposure);
    assert!(!running.checks.iter().any(|check| check.mismatch));
    let mut resting = Case::root();
    resting.started = false;
    let resting = resting.judge();
    assert!(resting.level >= Level::Unsafe, "{}", resting.exposure);
    assert!(found(&resting).contains("capability_administration"));
}

#[test]
fn root_that_became_somebody_else_is_no_mismatch() {
    let mut case = Case::root();
    case.live = Case::perfect().live;
    let judged = case.judge();
    assert!(!judged.checks.iter().any(|check| check.mismatch), "{:?}", found(&judged));
    assert!(judged.exposure < Case::root().judge().exposure);
    // With a way back it is root.
    case.live.uid.saved = 0;
    assert!(found(&case.judge()).contains("user"));
}

#[test]
fn a_capability_counts_more_when_it_is_held_than_when_it_could_be_gained() {
    let badness = |held: u64, bounding: u64, locked: bool| {
        let mut case = Case::perfect();
        let sets = &mut case.live.capabilities;
        (sets.permitted, sets.bounding, case.live.no_new_privileges) = (bits(held), bits(bounding), locked);
        case.grant = Grant { capabilities: None, bounding: None, no_new_privileges: locked, ..case.grant };
        let judged = case.judge();
        judged.checks.iter().find(|check| check.name == "capability_administration").expect("a check").badness
    };
    assert_eq!(badness(SYS_ADMIN, SYS_ADMIN, true), 2);
    assert_eq!(badness(0, SYS_ADMIN, false), 1);
    assert_eq!(badness(0, SYS_ADMIN, true), 0);
    assert_eq!(badness(NET_BIND_SERVICE, NET_BIND_SERVICE, false), 0);
}

#[test]
fn capabilities_over_a_user_namespace_of_its_own_are_none() {
    let mut case = Case::perfect();
    let all = bits(ALL);
    case.live.capabilities =
        CapabilitySets { effective: all, permitted: all, bounding: all, ..CapabilitySets::default() };
    assert!(found(&case.judge()).contains("capabilities_mismatch"));
    case.live.other_user_namespace = true;
    assert_eq!(case.judge().exposure, 0);
}

/// What can change between the start and now, and the name of what is found.
type Change = fn(&mut Case);

fn mismatches() -> Vec<(&'static str, Change)> {
    vec![
        ("user_mismatch", |case| case.live.uid.effective = 0),
        ("user_mismatch", |case| case.live.uid.filesystem = 5),
        ("groups_mismatch", |case| case.live.gid.saved = 7),
        ("groups_mismatch", |case| case.live.groups.push(Gid(27))),
        ("capabilities_mismatch", |case| case.live.capabilities.permitted = bits(CHOWN)),
        ("capabilities_mismatch", |case| case.live.capabilities.ambient = bits(1 << 63)),
        ("capabilities_mismatch", |case| case.live.capabilities.inheritable = bits(CHOWN)),
        ("capabilities_mismatch", |case| case.live.capabilities.bounding = bits(CHOWN)),
        ("no_new_privileges_mismatch", |case| case.live.no_new_privileges = false),
        ("limits_mismatch", |case| {
            case.live.limits = BTreeMap::from([(Resource::Core, Limit { soft: None, hard: None })]);
        }),
    ]
}

#[test]
fn what_is_not_as_it_was_granted_comes_first_and_is_never_less_than_unsafe() {
    for (name, change) in mismatches() {
        let mut case = Case::perfect();
        change(&mut case);
        let judged = case.judge();
        let first = &judged.checks[0];
        assert!(first.mismatch && first.name == name, "{name}: {first:?}");
        assert!(judged.checks.iter().all(|check| check.mismatch || check.weight < first.weight));
        assert!(judged.level >= Level::Unsafe, "{name}: {}", judged.exposure);
    }
}

#[test]
fn files_count_by_the_worst_of_their_role() {
    let of = |by_user, by_others| {
        let mut case = Case::perfect();
        case.grant.files.push(FileFact { role: FileRole::Executable, path: None, by_user, by_others });
        case.judge().checks.into_iter().find(|check| check.name == "executable").expect("a check").badness
    };
    assert!(of(false, false) == 0 && of(true, false) > 0 && of(true, false) < of(false, true));
    let mut unknown = Case::perfect();
    unknown.grant.files.clear();
    assert!(!unknown.judge().checks.iter().any(|check| check.name == "executable"), "nothing is known of it");
}

prop_compose! {
    fn any_case()(
        (root, nnp, mdwe, inherits, shares, started) in any::<(bool, bool, bool, bool, bool, bool)>(),
        (held, bounding, granted) in (any::<u64>(), any::<u64>(), proptest::option::of(any::<u64>())),
        (uids, gids) in (proptest::array::uniform4(0..3_u32), proptest::array::uniform4(0..3_u32)),
        (uid, groups) in (0..3_u32, proptest::collection::vec(0..4_u32, 0..4)),
        (umask, live_umask) in (0..0o1000_u32, proptest::option::of(0..0o1000_u32)),
        (soft, hard) in (proptest::option::of(0..3_u64), proptest::option::of(0..3_u64)),
        (seccomp, own_group, paths) in (0..3_u8, proptest::option::of(any::<bool>()), any::<bool>()),
        files in proptest::collection::vec((0..4_usize, any::<bool>(), any::<bool>()), 0..5),
    ) -> Case {
        let mut case = Case::perfect();
        let limits = BTreeMap::from([(Resource::Core, Limit { soft, hard }), (Resource::Nproc, Limit { soft: hard, hard })]);
        let quadruple = |four: [u32; 4]| Ids { real: four[0], effective: four[1], saved: four[2], filesystem: four[3] };
        case.settings = Settings {
            root,
            capabilities: granted.map(bits),
            no_new_privileges: nnp,
            umask,
            limits: limits.clone(),
            keyring: if mdwe { Keyring::Inherit } else { Keyring::Private },
            mdwe,
            inherits_environment: inherits,
            kill_mode: if inherits { KillMode::Process } else { KillMode::Tree },
            restrict_paths: paths,
            ..case.settings
        };
        let fact = |(role, by_user, by_others): (usize, bool, bool)| {
            FileFact { role: FileRole::ALL[role], path: None, by_user, by_others }
        };
        case.grant = Grant {
            uid: Uid(uid),
            capabilities: granted.map(bits),
            bounding: granted.map(|set| bits(set | bounding)),
            no_new_privileges: nnp,
            files: files.into_iter().map(fact).collect(),
            ..case.grant
        };
        case.live = Live {
            uid: quadruple(uids),
            gid: quadruple(gids),
            groups: groups.into_iter().map(Gid).collect(),
            capabilities: CapabilitySets { permitted: bits(held), bounding: bits(bounding), ..CapabilitySets::default() },
            no_new_privileges: nnp,
            seccomp: [Seccomp::Disabled, Seccomp::Strict, Seccomp::Filter][usize::from(seccomp)],
            umask: live_umask,
            limits,
            own_control_group: own_group,
            ..case.live
        };
        case.shares_user = shares;
        case.started = started;
        case
    }
}

/// One fact made worse, without a check that comes or goes.
fn worse() -> Vec<Change> {
    vec![
        |case| case.live.capabilities.permitted = bits(u64::MAX),
        |case| case.live.capabilities.bounding = bits(u64::MAX),
        |case| {
            case.settings.no_new_privileges = false;
            case.grant.no_new_privileges = false;
            case.live.no_new_privileges = false;
        },
        |case| case.live.no_new_privileges = false,
        |case| case.live.seccomp = Seccomp::Disabled,
        |case| case.settings.restrict_paths = false,
        |case| case.settings.mdwe = false,
        |case| case.settings.keyring = Keyring::Inherit,
        |case| case.settings.inherits_environment = true,
        |case| case.settings.kill_mode = KillMode::Process,
        |case| case.settings.umask = 0,
        |case| case.live.umask = case.live.umask.map(|_| 0),
        |case| case.live.own_control_group = Some(false),
        |case| case.shares_user = true,
        |case| case.grant.files.iter_mut().for_each(|file| file.by_others = true),
        |case| case.grant.files.iter_mut().for_each(|file| file.by_user = true),
        |case| case.live.groups.push(Gid(999)),
    ]
}

proptest! {
    #[test]
    fn a_judgement_is_within_its_bounds(case in any_case()) {
        let judged = case.judge();
        prop_assert!(judged.exposure <= 100);
        prop_assert_eq!(judged.level, Level::of(judged.exposure));
        prop_assert_eq!(judged.findings as usize, found(&judged).len());
        prop_assert_eq!(judged.exposure == 0, judged.findings == 0);
        let names: BTreeSet<&str> = judged.checks.iter().map(|check| check.name.as_str()).collect();
        prop_assert_eq!(names.len(), judged.checks.len(), "each name stands once");
        for check in &judged.checks {
            prop_assert!(check.badness <= check.range && check.range > 0 && check.weight > 0);
            prop_assert!(check.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            prop_assert!(!check.description.is_empty());
            prop_assert!((0.0..=10.0).contains(&check.exposure));
        }
        let shares: f64 = judged.checks.iter().map(|check| check.exposure).sum();
        let least = if judged.checks.iter().any(|check| check.mismatch) { 0.0 } else { f64::from(judged.exposure) / 10.0 - 0.3 };
        prop_assert!(shares >= least && shares <= f64::from(judged.exposure) / 10.0 + 0.3, "{shares} of {}", judged.exposure);
        if !case.started {
            prop_assert!(!judged.checks.iter().any(|check| check.mismatch));
        }
    }

    #[test]
    fn a_worse_fact_never_makes_it_better(case in any_case(), which in 0..worse().len()) {
        let mut after = case.clone();
        worse()[which](&mut after);
        let (before, after) = (case.judge(), after.judge());
        prop_assert!(after.exposure >= before.exposure, "{} then {}", before.exposure, after.exposure);
        prop_assert!(after.findings >= before.findings);
    }

    #[test]
    fn no_mismatch_hides(case in any_case(), which in 0..mismatches().len()) {
        let mut case = case;
        case.started = true;
        // Of a program that was given little, whatever else is the matter.
        let perfect = Case::perfect();
        (case.grant.uid, case.grant.capabilities, case.grant.bounding) = (Uid(1000), perfect.grant.capabilities, perfect.grant.bounding);
        (case.grant.no_new_privileges, case.settings.limits) = (true, perfect.settings.limits);
        let (name, change) = mismatches()[which];
        change(&mut case);
        let judged = case.judge();
        prop_assert!(found(&judged).contains(name) && judged.checks[0].mismatch);
        prop_assert!(judged.level >= Level::Unsafe);
    }
}
