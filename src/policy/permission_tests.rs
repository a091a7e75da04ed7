//! Permission: who may do all, what single rules give, and that no rule gives more than it says.

use proptest::prelude::*;

use super::*;
use crate::model::program::testing::program;

const OWN: Uid = Uid(1000);
const WORKER: Uid = Uid(64_711);

fn peer(uid: u32, gid: u32, groups: &[u32]) -> Peer {
    let groups = groups.iter().map(|gid| Gid(*gid)).collect();
    Peer::Client(Rc::new(Identity { uid: Uid(uid), gid: Gid(gid), groups }))
}

fn rule(users: &[u32], groups: &[u32], programs: &[&str], verbs: &[Verb]) -> Rule {
    Rule {
        users: users.iter().map(|uid| Uid(*uid)).collect(),
        groups: groups.iter().map(|gid| Gid(*gid)).collect(),
        programs: programs.iter().map(|text| Pattern::new(text).expect("a pattern")).collect(),
        verbs: verbs.iter().copied().collect(),
    }
}

fn rules(list: Vec<Rule>) -> Rules {
    Rules::new(OWN, BTreeSet::from([WORKER]), list, BTreeMap::from([(Uid(7), "alice".to_owned())]))
}

fn in_group(name: &str, group: Option<&str>) -> Program {
    Program { group_name: group.map(str::to_owned), ..program(name) }
}

#[test]
fn root_the_supervisors_own_user_and_its_terminal_may_do_all() {
    let none = rules(Vec::new());
    let web = program("web");
    for peer in [Peer::Starter, peer(0, 5, &[]), peer(1000, 5, &[])] {
        for verb in Verb::ALL {
            assert_eq!(none.judge(&peer, *verb, Target::All), Ok(()), "{peer:?} {verb}");
            assert_eq!(none.judge(&peer, *verb, Target::of(&web)), Ok(()), "{peer:?} {verb}");
        }
        assert!(none.admit(&peer).is_ok() && none.sees(&peer, Target::of(&web)));
    }
}

#[test]
fn without_a_rule_nobody_else_may_do_anything() {
    // Neither do the groups of root or of the supervisor make anybody its user.
    for peer in [peer(7, 0, &[0, 1000]), peer(1001, 1000, &[]), peer(u32::MAX, u32::MAX, &[])] {
        let none = rules(vec![rule(&[8], &[9], &["*"], Verb::ALL)]);
        assert!(none.admit(&peer).is_err());
        for verb in Verb::ALL {
            assert!(none.judge(&peer, *verb, Target::All).is_err(), "{peer:?} {verb}");
            assert!(none.judge(&peer, *verb, Target::of(&program("web"))).is_err(), "{peer:?} {verb}");
        }
    }
}

#[test]
fn a_rule_names_by_user_by_primary_group_and_by_supplementary_group() {
    let some = rules(vec![rule(&[7], &[50], &["*"], &[Verb::Stop])]);
    for named in [peer(7, 1, &[]), peer(8, 50, &[]), peer(8, 1, &[3, 50, 70])] {
        assert!(some.may(&named, Verb::Stop, Target::All), "{named:?}");
    }
    // Numbers of users are none of groups.
    for other in [peer(50, 7, &[7]), peer(8, 1, &[51])] {
        assert!(some.admit(&other).is_err(), "{other:?}");
    }
}

#[test]
fn patterns_are_over_programs_and_their_groups_and_only_the_star_is_all() {
    let alice = peer(7, 1, &[]);
    let may = |patterns: &[&str], target: Target<'_>| {
        rules(vec![rule(&[7], &[], patterns, &[Verb::Stop])]).may(&alice, Verb::Stop, target)
    };
    let (web, db) = (in_group("web1", Some("front")), in_group("db", None));
    assert!(may(&["web*"], Target::of(&web)) && may(&["front"], Target::of(&web)) && may(&["f*"], Target::of(&web)));
    assert!(!may(&["web*", "front"], Target::of(&db)) && !may(&["web"], Target::of(&web)));
    assert!(may(&["*"], Target::of(&db)) && may(&["*"], Target::All));
    assert!(!may(&["?*", "[a-z]*", "**"], Target::All));
}

#[test]
fn who_may_do_anything_may_connect_and_ask_for_the_version() {
    let some = rules(vec![rule(&[7], &[], &["web"], &[Verb::Tail])]);
    let alice = peer(7, 1, &[]);
    assert!(some.admit(&alice).is_ok() && some.may(&alice, Verb::Version, Target::All));
    assert!(some.judge_some(&alice, Verb::Tail).is_ok() && some.judge_some(&alice, Verb::Status).is_err());
    assert!(some.sees(&alice, Target::of(&program("web"))) && !some.sees(&alice, Target::of(&program("db"))));
}

#[test]
fn a_rule_about_the_supervisor_shows_no_program() {
    let some = rules(vec![rule(&[7], &[], &["*"], &[Verb::Reopen, Verb::Shutdown, Verb::Version])]);
    assert!(!some.sees(&peer(7, 1, &[]), Target::of(&program("web"))));
}

#[test]
fn a_refusal_names_the_rule_that_is_missing() {
    let some = rules(vec![rule(&[7], &[], &["*"], &[Verb::Status])]);
    let db = program("db");
    let told = |peer: &Peer, verb, target| some.judge(peer, verb, target).expect_err("refused").rule;
    assert_eq!(
        told(&peer(7, 1, &[]), Verb::Stop, Target::of(&db)),
        "a [[control.allow]] for user alice (uid 7) with verbs = [\"stop\"] and programs matching \"db\""
    );
    assert_eq!(
        told(&peer(9, 1, &[]), Verb::Reload, Target::All),
        "a [[control.allow]] for uid 9 with verbs = [\"reload\"] and programs = [\"*\"]"
    );
    let refused = some.admit(&peer(9, 1, &[])).expect_err("refused");
    assert_eq!(refused.rule, "a [[control.allow]] for uid 9 or one of its groups");
    assert_eq!(refused.verb, "connect");
}

prop_compose! {
    /// Few numbers and names, so that rules and peers often meet.
    fn any_rule()(
        users in proptest::collection::vec(1..4_u32, 0..3),
        groups in proptest::collection::vec(1..4_u32, 0..3),
        programs in proptest::collection::vec(proptest::sample::select(vec!["*", "a*", "b", "?", "front"]), 0..3),
        verbs in proptest::collection::vec(proptest::sample::select(Verb::ALL), 0..4),
    ) -> Rule {
        rule(&users, &groups, &programs, &verbs)
    }
}

#[test]
fn no_rule_names_a_worker() {
    let rules = rules(vec![rule(&[64_711], &[5], &["*"], Verb::ALL)]);
    for worker in [peer(64_711, 5, &[5]), peer(64_711, 9, &[])] {
        let refused = rules.admit(&worker).expect_err("refused");
        assert_eq!(refused.rule, "none, since it is one of Taskmaster's workers");
        assert!(Verb::ALL.iter().all(|verb| !rules.may(&worker, *verb, Target::All)));
        assert!(rules.judge_some(&worker, Verb::Status).is_err() && !rules.sees(&worker, Target::All));
    }
    assert_eq!(rules.admit(&peer(7, 5, &[])), Ok(()), "others of that group may");
}

proptest! {
    #[test]
    fn rules_together_give_what_they_give_one_by_one_and_no_more(
        list in proptest::collection::vec(any_rule(), 0..5),
        (uid, gid, groups) in (1..5_u32, 1..5_u32, proptest::collection::vec(1..5_u32, 0..3)),
    ) {
        let peer = peer(uid, gid, &groups);
        let named = |rule: &Rule| {
            let gids: Vec<u32> = groups.iter().copied().chain([gid]).collect();
            rule.users.contains(&Uid(uid)) || gids.iter().any(|gid| rule.groups.contains(&Gid(*gid)))
        };
        let together = rules(list.clone());
        let programs = [in_group("a", None), in_group("ab", Some("front")), in_group("b", None), in_group("cc", None)];
        for verb in Verb::ALL.iter().copied() {
            for target in programs.iter().map(Target::of).chain([Target::All]) {
                let one_by_one = list.iter().any(|rule| rules(vec![rule.clone()]).may(&peer, verb, target));
                prop_assert_eq!(together.may(&peer, verb, target), one_by_one);
                let could = list.iter().any(|rule| {
                    named(rule) && (verb == Verb::Version || rule.verbs.contains(&verb) && !rule.programs.is_empty())
                });
                prop_assert!(!one_by_one || could, "{:?} {}", list, verb);
                // Nobody may do to something what it may not know to be there.
                if let Target::Program { .. } = target && verb.is_of_programs() {
                    prop_assert!(!one_by_one || together.sees(&peer, target));
                }
                prop_assert!(!one_by_one || together.admit(&peer).is_ok());
            }
        }
    }
}
