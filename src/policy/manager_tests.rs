//! Tests of what the service manager is told, in virtual time.
use super::*;

fn at(millis: u64) -> Moment {
    Moment::new(Duration::from_millis(millis))
}

/// Everything that is due, taken.
fn taken(manager: &mut Manager, now: Moment) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(message) = manager.due(now).map(str::to_owned) {
        all.push(message);
        manager.sent();
    }
    all
}

#[test]
fn a_life_is_told_in_order_and_each_thing_once() {
    let mut manager = Manager::new(None, at(0));
    manager.reloading(at(0));
    assert!(manager.is_starting() && taken(&mut manager, at(0)).is_empty(), "nothing before it is up");
    manager.up();
    manager.up();
    manager.reloading(at(1500));
    manager.reloaded();
    manager.stopping(Duration::from_secs(30));
    manager.stopping(Duration::from_secs(30));
    manager.reloading(at(1600));
    let told = taken(&mut manager, at(2000));
    let expected =
        ["READY=1", "RELOADING=1\nMONOTONIC_USEC=1500000", "READY=1", "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000"];
    assert_eq!(told, expected);
}

#[test]
fn the_programs_are_told_when_they_change_and_once_a_second_at_most() {
    let mut manager = Manager::new(None, at(0));
    assert!(manager.wants_status(at(0)));
    manager.status("a".to_owned(), at(0));
    assert_eq!(taken(&mut manager, at(0)), ["STATUS=a"]);
    assert_eq!(manager.deadline(), None, "nothing wakes it up while nothing happens");
    manager.changed();
    assert!(!manager.wants_status(at(999)));
    assert_eq!(manager.deadline(), Some(at(1000)));
    assert!(manager.wants_status(at(1000)));
    manager.status("a".to_owned(), at(1000));
    assert!(taken(&mut manager, at(1000)).is_empty(), "the same again is no news");
    manager.changed();
    assert!(manager.wants_status(at(1001)), "and delays none");
}

#[test]
fn signs_of_life_come_twice_as_often_as_they_must() {
    let mut manager = Manager::new(Some(Duration::from_secs(10)), at(0));
    manager.status("a".to_owned(), at(0));
    assert_eq!(taken(&mut manager, at(0)), ["STATUS=a", "WATCHDOG=1"]);
    assert!(taken(&mut manager, at(4999)).is_empty());
    assert_eq!(manager.deadline(), Some(at(5000)));
    assert_eq!(taken(&mut manager, at(5000)), ["WATCHDOG=1"]);
}

#[test]
fn a_full_queue_is_tried_again_and_keeps_the_order() {
    let mut manager = Manager::new(Some(Duration::from_secs(10)), at(0));
    manager.up();
    manager.changed = false;
    assert_eq!(manager.due(at(0)), Some("READY=1"));
    manager.refused(at(0));
    assert_eq!(manager.due(at(99)), None);
    assert_eq!(manager.deadline(), Some(at(100)));
    assert_eq!(taken(&mut manager, at(100)), ["READY=1", "WATCHDOG=1"]);
}

#[test]
fn a_manager_that_takes_nothing_costs_a_bounded_number_of_messages() {
    let mut manager = Manager::new(Some(Duration::from_secs(1)), at(0));
    manager.up();
    for n in 0..1000 {
        manager.reloading(at(n));
        manager.reloaded();
        let _ = manager.due(at(n));
        manager.refused(at(n));
    }
    let told = taken(&mut manager, at(10_000));
    assert!(told.len() <= WAITING_MAX + 1, "{told:?}");
    assert_eq!(told.iter().rev().find(|message| *message != "WATCHDOG=1").map(String::as_str), Some("READY=1"));
}

#[test]
fn who_is_not_well_is_named_the_first_three() {
    let line = |count: usize| {
        let unwell: Vec<String> = (0..count).map(|n| format!("p{n}")).collect();
        status_line(&Summary { running: 1, unwell: count, ..Summary::default() }, &unwell)
    };
    assert_eq!(line(0), "1 process: 1 running");
    assert_eq!(line(1), "2 processes: 1 running, 1 not well: p0");
    assert_eq!(line(3), "4 processes: 1 running, 3 not well: p0, p1, p2");
    assert_eq!(line(5), "6 processes: 1 running, 5 not well: p0, p1, p2 and 2 more");
}
