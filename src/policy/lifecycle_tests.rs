//! The life-cycle machine in virtual time: a table over every phase and input, the documented timings,
//! and properties over arbitrary histories.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::model::program::testing::program;
use crate::model::program::{Backoff, RestartLimit};
use crate::model::stage::Stage;

fn at(millis: u64) -> Moment {
    Moment::new(Duration::from_millis(millis))
}

fn watch() -> Watch {
    program("web").watch
}

fn code(code: u8) -> ExitStatus {
    ExitStatus::Code(code)
}

fn exited(status: ExitStatus) -> Input {
    Input::Exited { status, rest: false }
}

fn failure() -> StartFailure {
    StartFailure { stage: Stage::Exec, errno: 2, subject: "/x".to_owned(), error: "No such file".to_owned() }
}

fn kinds(acts: &[Act]) -> Vec<&'static str> {
    acts.iter()
        .map(|act| match act {
            Act::Spawn => "spawn",
            Act::Signal { .. } => "signal",
            Act::Kill { .. } => "kill",
            Act::Announce(notice) => notice.kind.name(),
        })
        .collect()
}

/// A life brought to a phase by the ordinary way.
fn life_in(phase: &str, watch: &Watch) -> Life {
    let mut life = Life::new(0);
    let way: &[(Input, u64)] = match phase {
        "stopped" => &[],
        "asked" => &[(Input::Start, 0)],
        "cloned" => &[(Input::Start, 0), (Input::Cloned, 0)],
        "executed" => &[(Input::Start, 0), (Input::Cloned, 0), (Input::Executed, 0)],
        "running" => &[(Input::Start, 0), (Input::Cloned, 0), (Input::Executed, 0), (Input::Tick, 1000)],
        "backoff" => &[(Input::Start, 0), (Input::StartFailed(failure()), 0)],
        "unborn" => &[(Input::Start, 0), (Input::Stop, 0)],
        "told" => {
            &[(Input::Start, 0), (Input::Cloned, 0), (Input::Executed, 0), (Input::Tick, 1000), (Input::Stop, 1000)]
        }
        "killed" => &[(Input::Start, 0), (Input::Cloned, 0), (Input::Executed, 0), (Input::Kill, 1000)],
        "exited" => &[
            (Input::Start, 0),
            (Input::Cloned, 0),
            (Input::Executed, 0),
            (Input::Tick, 1000),
            (Input::Exited { status: ExitStatus::Code(0), rest: false }, 5000),
        ],
        "waiting" => &[
            (Input::Start, 0),
            (Input::Cloned, 0),
            (Input::Executed, 0),
            (Input::Tick, 1000),
            (Input::Exited { status: ExitStatus::Code(1), rest: true }, 5000),
        ],
        "fatal" => &[(Input::Start, 0)],
        other => panic!("no phase {other}"),
    };
    for (input, millis) in way {
        life.step(watch, input.clone(), at(*millis));
    }
    if phase == "fatal" {
        let hopeless = Watch { startretries: 0, ..watch.clone() };
        life.step(&hopeless, Input::StartFailed(failure()), at(0));
    }
    life
}

/// Every phase meets every input: what it becomes, and what is done.
#[test]
fn every_phase_meets_every_input_as_the_table_says() {
    use State::{Backoff as B, Exited as E, Fatal as F, Running as R, Starting as S, Stopped as O, Stopping as P};
    let now = 5000;
    let ok = exited(code(0));
    let bad = exited(code(1));
    let fail = Input::StartFailed(failure());
    type Row<'a> = (&'a str, Input, State, &'a [&'a str]);
    let start: &[&str] = &["process.starting", "spawn"];
    let rows: Vec<Row<'_>> = vec![
        ("stopped", Input::Start, S, start),
        ("stopped", Input::Stop, O, &[]),
        ("stopped", Input::Kill, O, &[]),
        ("stopped", Input::Restart, S, start),
        ("stopped", Input::Cloned, O, &[]),
        ("stopped", Input::Executed, O, &[]),
        ("stopped", fail.clone(), O, &[]),
        ("stopped", ok.clone(), O, &[]),
        ("stopped", Input::Emptied, O, &[]),
        ("stopped", Input::Tick, O, &[]),
        ("asked", Input::Start, S, &[]),
        ("asked", Input::Stop, P, &["process.stopping"]),
        ("asked", Input::Kill, P, &["process.stopping"]),
        ("asked", Input::Restart, P, &["process.stopping"]),
        ("asked", Input::Cloned, S, &[]),
        ("asked", Input::Executed, S, &[]),
        ("asked", fail.clone(), B, &["process.start_failed", "process.backoff"]),
        ("asked", bad.clone(), B, &["process.backoff"]),
        ("asked", Input::Emptied, S, &[]),
        ("asked", Input::Tick, S, &[]),
        ("cloned", Input::Start, S, &[]),
        ("cloned", Input::Stop, P, &["process.stopping", "kill"]),
        ("cloned", Input::Kill, P, &["process.stopping", "kill"]),
        ("cloned", Input::Restart, P, &["process.stopping", "kill"]),
        ("cloned", Input::Cloned, S, &[]),
        ("cloned", Input::Executed, S, &[]),
        ("cloned", fail.clone(), B, &["process.start_failed", "process.backoff"]),
        ("cloned", bad.clone(), B, &["process.backoff"]),
        ("cloned", Input::Emptied, S, &[]),
        ("cloned", Input::Tick, S, &[]),
        ("executed", Input::Start, S, &[]),
        ("executed", Input::Stop, P, &["process.stopping", "signal"]),
        ("executed", Input::Kill, P, &["process.stopping", "kill", "process.killed"]),
        ("executed", Input::Restart, P, &["process.stopping", "signal"]),
        ("executed", Input::Cloned, S, &[]),
        ("executed", Input::Executed, S, &[]),
        ("executed", fail.clone(), B, &["process.start_failed", "process.backoff"]),
        ("executed", ok.clone(), B, &["process.backoff"]),
        ("executed", Input::Emptied, S, &[]),
        ("executed", Input::Tick, R, &["process.running"]),
        ("running", Input::Start, R, &[]),
        ("running", Input::Stop, P, &["process.stopping", "signal"]),
        ("running", Input::Kill, P, &["process.stopping", "kill", "process.killed"]),
        ("running", Input::Restart, P, &["process.stopping", "signal"]),
        ("running", Input::Cloned, R, &[]),
        ("running", Input::Executed, R, &[]),
        ("running", fail.clone(), R, &[]),
        ("running", ok.clone(), E, &["process.exited"]),
        ("running", bad.clone(), S, &["process.crashed", "process.starting", "spawn"]),
        ("running", Input::Emptied, R, &[]),
        ("running", Input::Tick, R, &[]),
        ("backoff", Input::Start, B, &[]),
        ("backoff", Input::Stop, O, &["process.stopped"]),
        ("backoff", Input::Kill, O, &["process.stopped"]),
        ("backoff", Input::Restart, S, &["process.stopped", "process.starting", "spawn"]),
        ("backoff", Input::Cloned, B, &[]),
        ("backoff", Input::Executed, B, &[]),
        ("backoff", fail.clone(), B, &[]),
        ("backoff", ok.clone(), B, &[]),
        ("backoff", Input::Emptied, S, start),
        ("backoff", Input::Tick, S, start),
        ("unborn", Input::Start, P, &[]),
        ("unborn", Input::Stop, P, &[]),
        ("unborn", Input::Kill, P, &[]),
        ("unborn", Input::Restart, P, &[]),
        ("unborn", Input::Cloned, P, &["kill"]),
        ("unborn", Input::Executed, P, &[]),
        ("unborn", fail.clone(), O, &["process.stopped"]),
        ("unborn", ok.clone(), O, &["process.stopped"]),
        ("unborn", Input::Emptied, P, &[]),
        ("unborn", Input::Tick, P, &[]),
        ("told", Input::Start, P, &[]),
        ("told", Input::Stop, P, &[]),
        ("told", Input::Kill, P, &["kill", "process.killed"]),
        ("told", Input::Restart, P, &[]),
        ("told", Input::Cloned, P, &[]),
        ("told", Input::Executed, P, &[]),
        ("told", fail.clone(), O, &["process.stopped"]),
        ("told", bad.clone(), O, &["process.stopped"]),
        ("told", Input::Emptied, P, &[]),
        ("told", Input::Tick, P, &[]),
        ("killed", Input::Start, P, &[]),
        ("killed", Input::Stop, P, &[]),
        ("killed", Input::Kill, P, &[]),
        ("killed", Input::Restart, P, &[]),
        ("killed", Input::Cloned, P, &[]),
        ("killed", Input::Executed, P, &[]),
        ("killed", fail.clone(), O, &["process.stopped"]),
        ("killed", bad.clone(), O, &["process.stopped"]),
        ("killed", Input::Emptied, P, &[]),
        ("killed", Input::Tick, P, &[]),
        ("exited", Input::Start, S, start),
        ("exited", Input::Stop, E, &[]),
        ("exited", Input::Kill, E, &[]),
        ("exited", Input::Restart, S, start),
        ("exited", Input::Cloned, E, &[]),
        ("exited", Input::Executed, E, &[]),
        ("exited", fail.clone(), E, &[]),
        ("exited", ok.clone(), E, &[]),
        ("exited", Input::Emptied, E, &[]),
        ("exited", Input::Tick, E, &[]),
        ("waiting", Input::Start, E, &[]),
        ("waiting", Input::Stop, O, &["process.stopped"]),
        ("waiting", Input::Kill, O, &["process.stopped"]),
        ("waiting", Input::Restart, E, &["process.stopped"]),
        ("waiting", Input::Cloned, E, &[]),
        ("waiting", Input::Executed, E, &[]),
        ("waiting", fail.clone(), E, &[]),
        ("waiting", ok.clone(), E, &[]),
        ("waiting", Input::Emptied, S, start),
        ("waiting", Input::Tick, E, &[]),
        ("fatal", Input::Start, S, start),
        ("fatal", Input::Stop, F, &[]),
        ("fatal", Input::Kill, F, &[]),
        ("fatal", Input::Restart, S, start),
        ("fatal", Input::Cloned, F, &[]),
        ("fatal", Input::Executed, F, &[]),
        ("fatal", fail, F, &[]),
        ("fatal", ok, F, &[]),
        ("fatal", Input::Emptied, F, &[]),
        ("fatal", Input::Tick, F, &[]),
    ];
    let met: BTreeSet<(&str, String)> =
        rows.iter().map(|(phase, input, ..)| (*phase, format!("{:?}", std::mem::discriminant(input)))).collect();
    assert_eq!(met.len(), 12 * 10, "twelve phases, ten inputs");
    for (phase, input, becomes, does) in rows {
        let mut life = life_in(phase, &watch());
        let acts = life.step(&watch(), input.clone(), at(now));
        assert_eq!((life.state(), kinds(&acts).as_slice()), (becomes, does), "{phase} meets {input:?}");
    }
}

/// Drives a program that fails at every start, with the spawner answering at once; gives the times of the spawns.
fn spawn_times(watch: &Watch, outcome: &dyn Fn(&mut Life, Moment) -> Vec<Act>) -> (Vec<u64>, Life) {
    let mut life = Life::new(0);
    let mut times = Vec::new();
    let mut now = at(0);
    let mut acts = life.step(watch, Input::Start, now);
    for _ in 0..100 {
        while acts.contains(&Act::Spawn) {
            times.push(now.since(at(0)).as_millis() as u64);
            acts = outcome(&mut life, now);
        }
        let Some(deadline) = life.deadline(watch) else { break };
        now = deadline;
        acts = life.step(watch, Input::Tick, now);
    }
    (times, life)
}

#[test]
fn a_program_that_cannot_be_executed_is_tried_four_times_at_growing_intervals() {
    let watch = watch();
    let (times, life) = spawn_times(&watch, &|life, now| {
        life.step(&watch, Input::Cloned, now);
        life.step(&watch, Input::StartFailed(failure()), now)
    });
    assert_eq!(times, [0, 1000, 3000, 6000]);
    assert_eq!(life.state(), State::Fatal);
    assert_eq!(life.reason.as_deref(), Some("executing the command /x: No such file; gave up after 4 tries"));
}

#[test]
fn an_exit_before_starttime_is_a_failed_try_whatever_its_code() {
    let watch = watch();
    let (times, life) = spawn_times(&watch, &|life, now| {
        life.step(&watch, Input::Cloned, now);
        life.step(&watch, Input::Executed, now);
        life.step(&watch, exited(code(0)), now)
    });
    assert_eq!(times, [0, 1000, 3000, 6000]);
    assert_eq!(life.state(), State::Fatal);
}

#[test]
fn with_starttime_zero_a_failing_program_is_delayed_but_never_fatal() {
    let watch = Watch { starttime: Duration::ZERO, ..watch() };
    let (times, life) = spawn_times(&watch, &|life, now| {
        life.step(&watch, Input::Cloned, now);
        life.step(&watch, Input::Executed, now);
        life.step(&watch, exited(code(1)), now)
    });
    assert_eq!(&times[..5], [0, 1000, 3000, 6000, 10_000]);
    assert!(times.len() >= 100);
    assert_ne!(life.state(), State::Fatal);
}

#[test]
fn the_sixth_restart_within_a_burst_of_five_does_not_happen() {
    let watch = Watch {
        starttime: Duration::ZERO,
        backoff: Backoff { initial: Duration::ZERO, step: Duration::ZERO, ..Backoff::default() },
        restart_limit: Some(RestartLimit { burst: 5, interval: Duration::from_secs(60) }),
        ..watch()
    };
    let (times, life) = spawn_times(&watch, &|life, now| {
        life.step(&watch, Input::Cloned, now);
        life.step(&watch, Input::Executed, now);
        life.step(&watch, exited(code(1)), now)
    });
    assert_eq!(times.len(), 6, "one start and five restarts");
    assert_eq!(life.state(), State::Fatal);
    assert_eq!(life.reason.as_deref(), Some("restarted 5 times within 1m (restart_limit)"));
}

#[test]
fn restarts_that_are_spread_out_do_not_meet_the_limit() {
    let watch = Watch { restart_limit: Some(RestartLimit { burst: 2, interval: Duration::from_secs(10) }), ..watch() };
    let mut life = life_in("running", &watch);
    for n in 1u64..20 {
        let now = at(n * 6000);
        let acts = life.step(&watch, exited(code(1)), now);
        assert!(acts.contains(&Act::Spawn), "restart {n}");
        life.step(&watch, Input::Cloned, now);
        life.step(&watch, Input::Executed, now);
        life.step(&watch, Input::Tick, at(n * 6000 + 1000));
    }
}

#[test]
fn a_child_that_ignores_its_signal_is_killed_after_stoptime_and_reported_once_if_it_survives() {
    let watch = watch();
    let mut life = life_in("told", &watch);
    assert_eq!(life.deadline(&watch), Some(at(11_000)));
    assert_eq!(kinds(&life.step(&watch, Input::Tick, at(11_000))), ["kill", "process.killed"]);
    assert_eq!(kinds(&life.step(&watch, Input::Tick, at(16_000))), ["kill", "process.killed"]);
    assert!(life.reason.is_some());
    assert_eq!(kinds(&life.step(&watch, Input::Tick, at(21_000))), ["kill"]);
    assert_eq!(kinds(&life.step(&watch, exited(code(0)), at(22_000))), ["process.stopped"]);
}

#[test]
fn a_stop_waits_for_the_rest_of_the_tree_and_kills_it_after_stoptime() {
    let watch = watch();
    let mut life = life_in("told", &watch);
    let rest = Input::Exited { status: code(0), rest: true };
    assert!(life.step(&watch, rest.clone(), at(2000)).is_empty());
    assert_eq!(life.state(), State::Stopping);
    assert_eq!(kinds(&life.step(&watch, Input::Tick, at(11_000))), ["kill", "process.killed"]);
    assert_eq!(kinds(&life.step(&watch, Input::Emptied, at(11_001))), ["process.stopped"]);

    let only_main = Watch { kill_mode: KillMode::Process, ..watch };
    let mut life = life_in("told", &only_main);
    assert_eq!(kinds(&life.step(&only_main, rest, at(2000))), ["process.stopped"]);
}

#[test]
fn a_restart_waits_for_descendants_but_not_for_ever() {
    let watch = watch();
    let mut life = life_in("running", &watch);
    let acts = life.step(&watch, Input::Exited { status: code(1), rest: true }, at(5000));
    assert_eq!(kinds(&acts), ["kill", "process.crashed"]);
    assert_eq!(life.deadline(&watch), Some(at(10_000)));
    assert_eq!(kinds(&life.step(&watch, Input::Tick, at(10_000))), ["process.starting", "spawn"]);
}

#[test]
fn changed_watching_applies_to_the_running_process() {
    let mut watch = watch();
    let life = life_in("executed", &watch);
    assert_eq!(life.deadline(&watch), Some(at(1000)));
    watch.starttime = Duration::from_secs(7);
    assert_eq!(life.deadline(&watch), Some(at(7000)));
}

#[test]
fn a_stop_clears_the_retry_count() {
    let watch = watch();
    let mut life = life_in("backoff", &watch);
    life.step(&watch, Input::Stop, at(0));
    let acts = life.step(&watch, Input::Start, at(0));
    assert!(acts.contains(&Act::Spawn));
    let acts = life.step(&watch, Input::StartFailed(failure()), at(0));
    let Some(Act::Announce(notice)) = acts.last() else { panic!("{acts:?}") };
    assert_eq!(notice.attempt, Some(1));
}

/// A kernel of one process, driven by arbitrary choices; checks the invariants on the way.
struct World {
    life: Life,
    watch: Watch,
    now: Moment,
    asked: bool,
    clone: bool,
    executed: bool,
    rest: bool,
    spawns: u32,
}

impl World {
    fn apply(&mut self, acts: &[Act]) -> Result<(), TestCaseError> {
        for act in acts {
            match act {
                Act::Spawn => {
                    prop_assert!(!self.asked && !self.clone, "two processes for one key");
                    self.asked = true;
                    self.spawns += 1;
                }
                Act::Kill { .. } | Act::Signal { .. } | Act::Announce(_) => {}
            }
        }
        Ok(())
    }

    fn feed(&mut self, input: Input) -> Result<(), TestCaseError> {
        let acts = self.life.step(&self.watch, input, self.now);
        self.apply(&acts)
    }

    /// One arbitrary thing that can happen now.
    fn happen(&mut self, choice: u8, byte: u8) -> Result<(), TestCaseError> {
        match choice % 9 {
            0 => self.feed(Input::Start),
            1 => self.feed(Input::Stop),
            2 => self.feed(Input::Restart),
            3 if self.asked => {
                self.asked = false;
                if byte.is_multiple_of(4) {
                    return self.feed(Input::StartFailed(failure()));
                }
                self.clone = true;
                self.executed = false;
                self.feed(Input::Cloned)
            }
            4 if self.clone && !self.executed => {
                if byte.is_multiple_of(4) {
                    self.clone = false;
                    return self.feed(Input::StartFailed(failure()));
                }
                self.executed = true;
                self.feed(Input::Executed)
            }
            5 if self.clone && self.executed => {
                self.clone = false;
                self.rest = byte.is_multiple_of(3);
                self.feed(Input::Exited { status: code(byte), rest: self.rest })
            }
            6 if !self.clone && self.rest => {
                self.rest = false;
                self.feed(Input::Emptied)
            }
            7 => {
                self.now = self.now + Duration::from_millis(u64::from(byte) * 40);
                self.feed(Input::Tick)
            }
            8 if byte == 0 => self.feed(Input::Kill),
            _ => Ok(()),
        }
    }

    /// Lets the kernel do what it owes until nothing moves.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..400 {
            if self.asked {
                self.happen(3, 1)?;
            } else if self.clone && !self.executed {
                self.happen(4, 1)?;
            } else if self.clone {
                self.happen(5, 1)?;
            } else if self.rest {
                self.happen(6, 0)?;
            } else if let Some(deadline) = self.life.deadline(&self.watch) {
                self.now = self.now.max(deadline);
                self.feed(Input::Tick)?;
            } else {
                break;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn there_are_never_two_processes_and_wanted_down_ends_at_rest(
        history in prop::collection::vec((any::<u8>(), any::<u8>()), 0..120),
        mode in 0..3u8, starttime in 0u64..3, retries in 0u32..4,
    ) {
        let kill_mode = [KillMode::Tree, KillMode::Group, KillMode::Process][usize::from(mode)];
        let watch = Watch {
            kill_mode, starttime: Duration::from_secs(starttime), startretries: retries,
            exitcodes: BTreeSet::from([0, 2]), ..watch()
        };
        let mut world = World {
            life: Life::new(1), watch, now: at(0), asked: false, clone: false, executed: false, rest: false, spawns: 0,
        };
        for (choice, byte) in history {
            world.happen(choice, byte)?;
            if world.life.since.is_some() {
                prop_assert!(world.clone, "alive without a process");
            }
        }
        world.feed(Input::Stop)?;
        let spawns = world.spawns;
        world.settle()?;
        prop_assert_eq!(world.spawns, spawns, "started although wanted down");
        prop_assert!(world.life.is_at_rest(), "{:?}", world.life);
        prop_assert!(!world.clone && !world.asked);
    }

    #[test]
    fn a_hopeless_program_is_spawned_exactly_once_more_than_it_has_retries(retries in 0u32..20) {
        let watch = Watch { startretries: retries, ..watch() };
        let (times, life) = spawn_times(&watch, &|life, now| life.step(&watch, Input::StartFailed(failure()), now));
        prop_assert_eq!(times.len() as u32, retries + 1);
        prop_assert_eq!(life.state(), State::Fatal);
    }
}
