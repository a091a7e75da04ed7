//! Compression in virtual time: the order of the steps, whose turn it is, and what comes after a failure.

use super::*;

const A: SinkId = SinkId(1);
const B: SinkId = SinkId(2);

fn at(seconds: u64) -> Moment {
    Moment::default() + Duration::from_secs(seconds)
}

fn new(sinks: &[SinkId]) -> Compression<&'static str> {
    let mut compression = Compression::default();
    sinks.iter().for_each(|sink| compression.want(*sink));
    compression
}

fn next(compression: &mut Compression<&'static str>, now: u64) -> Option<(SinkId, Step)> {
    compression.next(at(now), |_, _| true).map(|(sink, step, _)| (sink, step))
}

/// Up to and with the step `Pack`.
fn begin(compression: &mut Compression<&'static str>, sink: SinkId, now: u64) {
    assert_eq!(next(compression, now), Some((sink, Step::Open)));
    ["source", "target", "directory", "nonsense"].into_iter().for_each(|file| compression.opened(file));
    assert!(!compression.done());
    let pack = compression.next(at(now), |_, _| true);
    assert_eq!(pack, Some((sink, Step::Pack, vec!["source", "target", "directory"])));
}

/// From there to the end; gives whether it is told.
fn finish(compression: &mut Compression<&'static str>, sink: SinkId, now: u64) -> bool {
    let bytes = 7;
    assert!(compression.packed(sink, bytes));
    for step in [Step::Sync { bytes }, Step::Put { bytes }, Step::SyncName { bytes }] {
        assert_eq!(next(compression, now), Some((sink, step)));
        assert_eq!(next(compression, now), None, "each is begun once");
        assert!(!compression.done());
    }
    assert_eq!(next(compression, now), Some((sink, Step::Remove { bytes })));
    compression.done()
}

#[test]
fn a_file_goes_through_all_steps_and_the_next_log_has_its_turn() {
    let mut compression = new(&[A, B]);
    for sink in [A, B, A, B] {
        begin(&mut compression, sink, 0);
        assert!(compression.is_at(sink));
        assert!(!finish(&mut compression, sink, 0));
    }
    assert_eq!(next(&mut compression, 0), Some((A, Step::Open)));
    compression.done();
    assert_eq!(next(&mut compression, 0), Some((B, Step::Open)), "of the other nothing is left");
    compression.done();
    assert_eq!((next(&mut compression, 0), compression.deadline()), (None, None));
}

#[test]
fn a_directory_that_cannot_be_read_is_not_synced() {
    let mut compression = new(&[A]);
    assert_eq!(next(&mut compression, 0), Some((A, Step::Open)));
    ["source", "target"].into_iter().for_each(|file| compression.opened(file));
    compression.done();
    next(&mut compression, 0);
    compression.packed(A, 1);
    next(&mut compression, 0);
    compression.done();
    assert_eq!(next(&mut compression, 0), Some((A, Step::Put { bytes: 1 })));
    compression.done();
    assert_eq!(next(&mut compression, 0), Some((A, Step::Remove { bytes: 1 })));
}

#[test]
fn a_step_waits_until_it_may_be_done() {
    let mut compression = new(&[A, B]);
    let only_b = |sink, _| sink == B;
    let chosen = compression.next(at(0), only_b).map(|(sink, ..)| sink);
    assert_eq!(chosen, Some(B), "another is not kept waiting");
    compression.opened("source");
    compression.opened("target");
    compression.done();
    next(&mut compression, 0);
    compression.packed(B, 1);
    let no_names = |_, step: Step| !step.looks_at_names();
    assert!(compression.next(at(0), no_names).is_some(), "a rotation does not keep the disk waiting");
    compression.done();
    assert_eq!(compression.next(at(0), no_names), None);
    assert_eq!(next(&mut compression, 0), Some((B, Step::Put { bytes: 1 })));
}

#[test]
fn a_failure_is_told_once_and_tried_again_with_growing_pauses() {
    let mut compression = new(&[A]);
    let mut now = 0;
    for (n, pause) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        begin(&mut compression, A, now);
        assert_eq!(compression.failed(at(now), true), n == 0);
        assert_eq!(next(&mut compression, now), Some((A, Step::Discard)), "its beginnings are removed");
        assert!(!compression.done());
        assert_eq!(next(&mut compression, now + pause - 1), None);
        now += pause;
        assert_eq!(compression.deadline(), Some(at(now)));
    }
    begin(&mut compression, A, now);
    assert!(finish(&mut compression, A, now), "that it works again is told");
    begin(&mut compression, A, now);
    assert!(compression.failed(at(now), true), "and when it fails another time");
}

#[test]
fn one_log_that_fails_keeps_no_other_waiting() {
    let mut compression = new(&[A, B]);
    begin(&mut compression, A, 0);
    compression.failed(at(0), true);
    next(&mut compression, 0);
    compression.failed(at(0), true);
    begin(&mut compression, B, 0);
    assert_eq!(compression.deadline(), None, "nobody waits for a pause while something is done");
}

#[test]
fn a_logger_that_dies_costs_a_pause_and_no_word() {
    let mut compression = new(&[A]);
    begin(&mut compression, A, 0);
    compression.logger_died(at(0));
    compression.logger_died(at(0));
    assert!(!compression.packed(A, 5), "a late word of it");
    assert_eq!(next(&mut compression, 0), Some((A, Step::Discard)));
    compression.done();
    assert_eq!(next(&mut compression, 0), None);
    begin(&mut compression, A, 1);
    assert!(!finish(&mut compression, A, 1));
}

#[test]
fn at_the_end_what_takes_long_is_given_up_and_nothing_is_begun() {
    let mut compression = new(&[A, B]);
    begin(&mut compression, A, 0);
    compression.wind_up();
    assert_eq!(next(&mut compression, 0), Some((A, Step::Discard)));
    compression.done();
    assert_eq!(next(&mut compression, 0), None);
    let mut compression = new(&[A]);
    next(&mut compression, 0);
    compression.wind_up();
    compression.opened("source");
    compression.opened("target");
    compression.done();
    assert_eq!(next(&mut compression, 0), Some((A, Step::Discard)), "it was just opened");
}

#[test]
fn a_log_that_is_forgotten_is_not_compressed_any_more_after_this_file() {
    let mut compression = new(&[A]);
    begin(&mut compression, A, 0);
    compression.forget(A);
    assert!(!finish(&mut compression, A, 0));
    assert_eq!(next(&mut compression, 0), None);
}
