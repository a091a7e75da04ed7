//! What holds for every sequence of events, waits, silences and restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::notice::{Output, Purpose};
use super::pipeline::{INCIDENTS_MAX, OPENINGS_MAX};
use super::simulation::{Simulation, email, name, rule};
use crate::model::event::Facts;
use crate::model::event::Kind::{self, *};
use crate::model::id::ProcessId;
use crate::model::notify::{Channel, RateLimit, Rule, Timing};

const PROGRAMS: u32 = 4;
const SELECTORS: [&str; 4] = ["p0", "p1:1", "p?", "all"];

#[derive(Clone, Debug)]
enum Step {
    Process { program: u32, instance: u32, kind: Kind },
    Other(Kind),
    Wait { millis: u64 },
    Silence { selector: usize, seconds: u64 },
    Unsilence(usize),
    Output { program: u32, instance: u32 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = [
        ProcessStarting,
        ProcessRunning,
        ProcessRunning,
        ProcessBackoff,
        ProcessStopping,
        ProcessStopped,
        ProcessExited,
        ProcessCrashed,
        ProcessCrashed,
        ProcessCrashed,
        ProcessKilled,
        ProcessFatal,
        ProcessStartFailed,
    ];
    let others = [ConfigRejected, SupervisorStarted, SupervisorStopping, SupervisorStopped, ControlDenied];
    let process = || (0..PROGRAMS, 0..2_u32);
    prop_oneof![
        20 => (process(), proptest::sample::select(kinds.to_vec()))
            .prop_map(|((program, instance), kind)| Step::Process { program, instance, kind }),
        2 => proptest::sample::select(others.to_vec()).prop_map(Step::Other),
        12 => prop_oneof![0..2_000_u64, 0..20_000_u64, 0..200_000_u64].prop_map(|millis| Step::Wait { millis }),
        1 => (0..SELECTORS.len(), 1..300_u64).prop_map(|(selector, seconds)| Step::Silence { selector, seconds }),
        1 => (0..SELECTORS.len()).prop_map(Step::Unsilence),
        2 => process().prop_map(|(program, instance)| Step::Output { program, instance }),
        3 => Just(Step::Restart),
    ]
}

/// Quick timing, so that everything happens in a short script.
fn channel() -> Channel {
    let seconds = Duration::from_secs;
    let timing = Timing {
        group_wait: seconds(5),
        group_interval: seconds(60),
        recovery_after: seconds(5),
        remind_after: vec![seconds(100), seconds(300)],
        flap_count: 3,
        flap_window: seconds(100),
        flap_clear: seconds(30),
        rate_limit: RateLimit { burst: 2, interval: seconds(50) },
        stale_after: seconds(1800),
    };
    Channel { timing, ..email() }
}

fn simulation() -> Simulation {
    let occurrences = ["config.*", "control.*"].map(str::to_owned).to_vec();
    Simulation::new(channel(), &[rule("email"), Rule { on: occurrences, ..rule("email") }])
}

fn play(sim: &mut Simulation, steps: &[Step], restarts: bool) {
    for step in steps {
        match step {
            Step::Process { program, instance, kind } => sim.process(&format!("p{program}:{instance}"), *kind),
            Step::Other(kind) => sim.event(*kind, Facts::default(), None),
            Step::Wait { millis } => sim.until_millis(sim.now + millis),
            Step::Silence { selector, seconds } => sim.silence(SELECTORS[*selector], *seconds),
            Step::Unsilence(selector) => {
                sim.silences.remove(SELECTORS[*selector]);
                sim.tick();
            }
            Step::Output { program, instance } => {
                let process = ProcessId::new(&name(&format!("p{program}")), *instance);
                sim.pipeline.output(&process, Output { lines: vec!["last words".to_owned()], is_cut: false });
            }
            Step::Restart if restarts => sim.restart(),
            Step::Restart => sim.tick(),
        }
    }
}

/// From now on every process is in the state after these, and there is no silence.
fn settle(sim: &mut Simulation, kinds: &[Kind]) {
    for selector in SELECTORS {
        sim.silences.remove(selector);
    }
    sim.event(SupervisorStarted, Facts::default(), None);
    for program in 0..PROGRAMS {
        for instance in 0..2 {
            kinds.iter().for_each(|kind| sim.process(&format!("p{program}:{instance}"), *kind));
        }
    }
    sim.until_millis(sim.now + 10_000_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn counts_add_up_ids_are_unique_and_nobody_hears_the_end_of_what_he_was_not_told(
        steps in proptest::collection::vec(step(), 0..150),
    ) {
        let mut sim = simulation();
        play(&mut sim, &steps, true);
        settle(&mut sim, &[ProcessRunning]);
        let mut ids = BTreeSet::new();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, notice) in &sim.notices {
            prop_assert!(ids.insert(&notice.id), "{} twice", notice.id);
            prop_assert!(!notice.items.is_empty() && notice.more_items == 0);
            for item in &notice.items {
                let before = counts.insert(&item.incident, item.count);
                prop_assert_eq!(item.new, item.count - before.unwrap_or(0), "{:?}", sim.told());
                prop_assert!(item.count > 0);
                prop_assert!(item.new > 0 || before.is_some(), "an end without a beginning: {:?}", sim.told());
                if notice.purpose == Purpose::Recovery {
                    prop_assert!(item.ended.is_some() && before.is_some());
                }
            }
        }
    }

    #[test]
    fn in_the_end_people_know_that_all_is_well(steps in proptest::collection::vec(step(), 0..150)) {
        let mut sim = simulation();
        play(&mut sim, &steps, true);
        settle(&mut sim, &[ProcessRunning]);
        let last: BTreeMap<_, _> =
            sim.notices.iter().flat_map(|(_, notice)| &notice.items).map(|item| (&item.incident, item)).collect();
        prop_assert!(last.values().all(|item| item.ended.is_some()), "{:?}", sim.told());
        prop_assert_eq!(sim.pipeline.open_incidents(), 0);
        prop_assert_eq!(sim.pipeline.deadline(), None);
    }

    #[test]
    fn in_the_end_people_know_what_is_fatal(steps in proptest::collection::vec(step(), 0..150)) {
        let mut sim = simulation();
        play(&mut sim, &steps, true);
        settle(&mut sim, &[ProcessBackoff, ProcessFatal]);
        for program in 0..PROGRAMS {
            let program = name(&format!("p{program}"));
            let mut items = sim.notices.iter().flat_map(|(_, notice)| &notice.items);
            let last = items.rfind(|item| item.program.as_ref() == Some(&program));
            let known = last.is_some_and(|item| {
                item.ended.is_none() && item.event.kind == ProcessFatal && !item.is_flapping
            });
            prop_assert!(known, "{program}: {:?}", sim.told());
        }
    }

    #[test]
    fn a_restart_at_any_moment_changes_nothing(steps in proptest::collection::vec(step(), 0..150)) {
        let (mut one, mut other) = (simulation(), simulation());
        play(&mut one, &steps, true);
        play(&mut other, &steps, false);
        settle(&mut one, &[ProcessRunning]);
        settle(&mut other, &[ProcessRunning]);
        prop_assert_eq!(one.told(), other.told());
        prop_assert_eq!(one.wishes, other.wishes);
    }

    #[test]
    fn no_more_than_the_burst_and_one_an_interval(steps in proptest::collection::vec(step(), 0..150)) {
        let mut sim = simulation();
        play(&mut sim, &steps, true);
        let times: Vec<u64> = sim.notices.iter().map(|(at, _)| *at).collect();
        for (first, from) in times.iter().enumerate() {
            for (last, to) in times.iter().enumerate().skip(first) {
                // The times are whole seconds.
                prop_assert!((last - first + 1) as u64 <= 2 + (to - from + 1) / 50, "{times:?}");
            }
        }
    }
}

#[test]
fn a_hundred_thousand_events_of_ten_thousand_programs_take_bounded_memory() {
    let all = Rule { on: vec!["*".to_owned()], ..rule("email") };
    let mut sim = Simulation::new(channel(), &[all]);
    let kinds = [ProcessCrashed, ProcessRunning, ProcessFatal, ProcessStopped, ProcessStarting, OutputDropped];
    let mut random = 1_u64;
    for n in 0..100_000_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let kind = kinds[(random >> 33) as usize % kinds.len()];
        sim.process(&format!("p{}:{}", (random >> 40) % 10_000, random >> 60), kind);
        if n % 1000 == 0 {
            sim.until_millis(sim.now + 1000);
            sim.notices.clear();
            assert!(sim.pipeline.incidents.len() <= INCIDENTS_MAX);
            assert!(sim.pipeline.occurrences.len() <= INCIDENTS_MAX + 22);
            assert!(sim.pipeline.openings.len() <= OPENINGS_MAX);
        }
    }
    let saved = serde_json::to_string(&sim.pipeline.save(sim.moment())).expect("serialises");
    assert!(saved.len() < 8 << 20, "{} bytes", saved.len());
    assert_eq!(sim.pipeline.incidents.len(), INCIDENTS_MAX);
}
