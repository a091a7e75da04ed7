//! The fleet in virtual time: order, reload, shutdown.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::event::Kind;
use crate::model::exit::ExitStatus;
use crate::model::program::AutoRestart;
use crate::model::program::testing::program;
use crate::model::signal::Signal;
use crate::model::state::State;

fn at(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(seconds))
}

fn named(name: &str, change: impl FnOnce(&mut Program)) -> Program {
    let mut program = program(name);
    change(&mut program);
    program
}

fn spawned(orders: &[Order]) -> Vec<String> {
    orders.iter().filter(|o| o.act == Act::Spawn).map(|o| o.id.to_string()).collect()
}

fn signalled(orders: &[Order]) -> Vec<String> {
    orders.iter().filter(|o| matches!(o.act, Act::Signal { .. })).map(|o| o.id.to_string()).collect()
}

/// The kernel answers every spawn at once, and the program is RUNNING.
fn run(fleet: &mut Fleet, orders: &[Order], now: Moment) {
    for id in orders.iter().filter(|o| o.act == Act::Spawn).map(|o| o.id.clone()) {
        fleet.handle(&id, Input::Cloned, now);
        fleet.handle(&id, Input::Executed, now);
    }
    fleet.tick(now + Duration::from_secs(1));
}

fn running(programs: &[Program]) -> Fleet {
    let mut fleet = Fleet::default();
    let (_, orders) = fleet.configure(programs, at(0));
    run(&mut fleet, &orders, at(0));
    fleet
}

fn exits(fleet: &mut Fleet, id: &str, now: Moment) -> Vec<Order> {
    let id = fleet.members().map(|(id, _)| id).find(|known| known.to_string() == id).cloned().expect(id);
    fleet.handle(&id, Input::Exited { status: ExitStatus::Code(0), rest: false }, now)
}

#[test]
fn starts_go_by_priority_then_name_and_only_where_wanted() {
    let mut fleet = Fleet::default();
    let (plan, orders) = fleet.configure(
        &[
            named("b", |p| p.numprocs = 2),
            named("a", |_| {}),
            named("first", |p| p.watch.priority = 1),
            named("manual", |p| p.watch.autostart = false),
        ],
        at(0),
    );
    assert_eq!(spawned(&orders), ["first:0", "a:0", "b:0", "b:1"]);
    assert_eq!(plan.added.len(), 4);
}

#[test]
fn an_equal_configuration_yields_no_action() {
    let programs = [named("a", |p| p.numprocs = 3), named("b", |_| {})];
    let mut fleet = running(&programs);
    let (plan, orders) = fleet.configure(&programs, at(5));
    assert!(orders.is_empty(), "{orders:?}");
    assert_eq!((plan.unchanged.len(), plan.changed.len()), (2, 0));
}

#[test]
fn numprocs_grows_and_shrinks_at_the_end() {
    let mut fleet = running(&[named("w", |p| p.numprocs = 3)]);
    let (_, orders) = fleet.configure(&[named("w", |p| p.numprocs = 5)], at(5));
    assert_eq!(spawned(&orders), ["w:3", "w:4"]);
    run(&mut fleet, &orders, at(5));
    let (plan, orders) = fleet.configure(&[named("w", |p| p.numprocs = 2)], at(9));
    assert_eq!(signalled(&orders), ["w:2", "w:3", "w:4"]);
    assert_eq!(plan.changed.len(), 1);
    for id in ["w:2", "w:3", "w:4"] {
        exits(&mut fleet, id, at(9));
    }
    assert_eq!(fleet.members().count(), 2, "those that left are forgotten");
    assert!(fleet.deadline().is_none());
}

#[test]
fn what_is_executed_restarts_only_that_program_and_with_its_old_signal() {
    let mut fleet = running(&[named("a", |_| {}), named("b", |_| {})]);
    let changed = named("b", |p| {
        p.exec.umask = 0o077;
        p.watch.stopsignal = Signal::USR1;
    });
    let (plan, orders) = fleet.configure(&[named("a", |_| {}), changed], at(5));
    assert_eq!(plan.restarted.len(), 1);
    let signals: Vec<&Act> = orders.iter().map(|o| &o.act).filter(|a| matches!(a, Act::Signal { .. })).collect();
    assert!(matches!(signals.as_slice(), [Act::Signal { signal: Signal::TERM, .. }]), "{signals:?}");
    let orders = exits(&mut fleet, "b:0", at(6));
    assert_eq!(spawned(&orders), ["b:0"]);
}

#[test]
fn how_it_is_watched_changes_without_a_restart() {
    let mut fleet = running(&[named("a", |_| {})]);
    let (plan, orders) = fleet.configure(&[named("a", |p| p.watch.stoptime = Duration::from_secs(1))], at(5));
    assert!(orders.is_empty());
    assert_eq!(plan.changed.len(), 1);
    let id = ProcessId::new(&ProgramName::new("a").expect("a name"), 0);
    fleet.handle(&id, Input::Stop, at(6));
    assert_eq!(fleet.deadline(), Some(at(7)));
}

#[test]
fn one_stopped_by_hand_is_not_started_by_a_reload_and_a_fatal_one_is() {
    let mut fleet = running(&[named("a", |_| {}), named("b", |p| p.watch.startretries = 0)]);
    let id = |name| ProcessId::new(&ProgramName::new(name).expect("a name"), 0);
    fleet.handle(&id("a"), Input::Stop, at(5));
    exits(&mut fleet, "a:0", at(5));
    // b crashes and its restart fails for good.
    let crashed = Input::Exited { status: ExitStatus::Code(1), rest: false };
    let orders = fleet.handle(&id("b"), crashed.clone(), at(5));
    assert_eq!(spawned(&orders), ["b:0"]);
    fleet.handle(&id("b"), Input::Cloned, at(5));
    fleet.handle(&id("b"), Input::Executed, at(5));
    fleet.handle(&id("b"), crashed, at(5));
    assert_eq!(fleet.member(&id("b")).map(|m| m.life.state()), Some(State::Fatal));
    let change = |p: &mut Program| p.exec.umask = 0o077;
    let (_, orders) = fleet.configure(&[named("a", change), named("b", change)], at(6));
    assert_eq!(spawned(&orders), ["b:0"]);
}

#[test]
fn a_program_that_comes_back_while_it_is_leaving_starts_when_it_has_stopped() {
    let mut fleet = running(&[named("a", |_| {})]);
    fleet.configure(&[], at(5));
    assert_eq!(fleet.selectable().count(), 0);
    let (_, orders) = fleet.configure(&[named("a", |_| {})], at(5));
    assert!(spawned(&orders).is_empty(), "the old one still runs");
    assert_eq!(spawned(&exits(&mut fleet, "a:0", at(6))), ["a:0"]);
}

#[test]
fn shutdown_stops_one_priority_after_the_other_last_started_first() {
    let level = |n| move |p: &mut Program| p.watch.priority = n;
    let mut fleet = running(&[named("db", level(1)), named("app", level(5)), named("web", level(5))]);
    let orders = fleet.shut_down(at(5));
    assert_eq!(signalled(&orders), ["web:0", "app:0"]);
    assert!(signalled(&exits(&mut fleet, "web:0", at(5))).is_empty());
    assert_eq!(signalled(&exits(&mut fleet, "app:0", at(5))), ["db:0"]);
    assert!(!fleet.is_at_rest());
    exits(&mut fleet, "db:0", at(5));
    assert!(fleet.is_at_rest());
    let id = ProcessId::new(&ProgramName::new("db").expect("a name"), 0);
    assert!(fleet.handle(&id, Input::Start, at(6)).is_empty(), "nothing starts in a shutdown");
}

#[test]
fn a_restart_that_was_under_way_does_not_outlive_a_shutdown() {
    let mut fleet = running(&[named("a", |_| {})]);
    let id = ProcessId::new(&ProgramName::new("a").expect("a name"), 0);
    fleet.handle(&id, Input::Restart, at(5));
    fleet.shut_down(at(5));
    assert!(spawned(&exits(&mut fleet, "a:0", at(6))).is_empty());
    assert!(fleet.is_at_rest());
}

#[test]
fn a_second_signal_kills_what_still_runs_at_once() {
    let mut fleet = running(&[named("a", |_| {}), named("b", |p| p.watch.priority = 1)]);
    fleet.shut_down(at(5));
    let orders = fleet.kill_all(at(6));
    let killed = orders.iter().filter(|o| matches!(o.act, Act::Kill { .. })).count();
    assert_eq!(killed, 2);
    let events = orders.iter().filter(|o| matches!(&o.act, Act::Announce(n) if n.kind == Kind::ProcessKilled)).count();
    assert_eq!(events, 2);
}

#[test]
fn a_shutdown_waits_for_what_an_ended_program_left_behind() {
    let mut fleet = running(&[named("a", |p| p.watch.autorestart = AutoRestart::Never), named("b", |_| {})]);
    let id = ProcessId::new(&ProgramName::new("a").expect("a name"), 0);
    fleet.handle(&id, Input::Exited { status: ExitStatus::Code(0), rest: true }, at(5));
    assert_eq!(signalled(&fleet.shut_down(at(5))), ["b:0"], "nobody is there to be signalled in a");
    exits(&mut fleet, "b:0", at(5));
    assert!(!fleet.is_at_rest());
    fleet.handle(&id, Input::Emptied, at(6));
    assert!(fleet.is_at_rest());
}

/// Three processes of two programs after these inputs (which process, what, seconds before it).
fn after(inputs: Vec<(usize, u8, u64)>) -> ([Program; 2], Fleet, Vec<ProcessId>, Moment) {
    let programs = [named("a", |_| {}), named("b", |p| p.numprocs = 2)];
    let mut fleet = running(&programs);
    let ids: Vec<ProcessId> = fleet.members().map(|(id, _)| id.clone()).collect();
    let mut now = at(10);
    for (which, input, wait) in inputs {
        now = now + Duration::from_secs(wait);
        let input = match input {
            0 => Input::Start,
            1 => Input::Stop,
            2 => Input::Restart,
            3 => Input::Cloned,
            4 => Input::Executed,
            6 => Input::Emptied,
            n => Input::Exited { status: ExitStatus::Code(1), rest: n == 7 },
        };
        fleet.handle(&ids[which], input, now);
        fleet.tick(now);
    }
    (programs, fleet, ids, now)
}

proptest! {
    #[test]
    fn a_shutdown_comes_to_its_end_whatever_went_before(
        inputs in prop::collection::vec((0usize..3, 0u8..8, 0u64..5), 0..40)
    ) {
        let (_, mut fleet, ids, now) = after(inputs);
        fleet.shut_down(now);
        for input in [Input::Cloned, Input::Exited { status: ExitStatus::Code(0), rest: true }, Input::Emptied] {
            for id in &ids {
                fleet.handle(id, input.clone(), now);
            }
            fleet.tick(now);
        }
        prop_assert!(fleet.is_at_rest());
    }

    #[test]
    fn a_reload_of_an_equal_configuration_yields_no_action_whatever_went_before(
        inputs in prop::collection::vec((0usize..3, 0u8..6, 0u64..5), 0..40)
    ) {
        let (programs, mut fleet, _, now) = after(inputs);
        let (_, orders) = fleet.configure(&programs, now);
        prop_assert!(orders.is_empty(), "{orders:?}");
    }
}
