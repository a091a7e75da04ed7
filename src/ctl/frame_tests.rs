//! Tests of the live screen's pictures.
use std::time::Duration;

use std::num::NonZeroU16;

use super::*;

fn size(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("not 0")
}
use crate::ctl::show::tests::process;
use crate::model::event::{Event, Facts, Kind};
use crate::model::state::State;
use crate::model::time::WallTime;

fn view(processes: Vec<Process>, events: usize) -> View {
    let event = |seq: usize| Event {
        seq: u64::try_from(seq).expect("small"),
        time: WallTime::from_millisecond(0).expect("in range"),
        severity: Kind::ProcessCrashed.severity(),
        kind: Kind::ProcessCrashed,
        host: String::new(),
        facts: Facts { process: Some(format!("web:{seq}")), ..Facts::default() },
    };
    View { processes, events: (0..events).map(event).collect(), trouble: None, top: 0, asked: Instant::now() }
}

fn drawn(view: &mut View, size: (usize, usize)) -> Vec<String> {
    let now = view.asked + Duration::from_secs(5);
    lines(view, now, size, false, &TimeZone::UTC)
}

#[test]
fn every_picture_fits_whatever_the_size() {
    let many: Vec<Process> = (0..100).map(|n| process(&format!("web:{n}"), State::Running)).collect();
    for width in [1, 2, 10, 40, 80] {
        for height in [1, 2, 3, 5, 14, 24] {
            for (count, events) in [(0, 0), (1, 8), (100, 8)] {
                let mut view = view(many[..count].to_vec(), events);
                view.top = 1000;
                let lines = drawn(&mut view, (width, height));
                assert!(lines.len() <= height, "{width}x{height}: {lines:#?}");
                assert!(lines.iter().all(|line| line.width() <= width), "{width}x{height}: {lines:#?}");
            }
        }
    }
}

#[test]
fn uptimes_are_counted_events_shown_and_the_rest_scrolled_to() {
    let mut few = view(vec![process("web", State::Running), process("db", State::Fatal)], 2);
    let lines = drawn(&mut few, (80, 24));
    assert_eq!(lines[0], "2 processes: 1 running, 1 not well");
    assert!(lines[1].starts_with("NAME") && lines[2].contains("1m7s") && lines[3].contains("FATAL"), "{lines:#?}");
    assert!(lines[6].contains("web:1 crashed") && lines[23] == "q leaves" && lines.len() == 24, "{lines:#?}");
    let mut many = view((0..100).map(|n| process(&format!("web:{n}"), State::Running)).collect(), 0);
    assert_eq!(drawn(&mut many, (80, 10))[9], "1-7 of 100; arrow keys scroll, q leaves");
    many.top = 98;
    let lines = drawn(&mut many, (80, 10));
    assert!(lines[8].starts_with("web:99") && lines[9].starts_with("94-100 of 100"), "{lines:#?}");
    many.trouble = Some("it is lost".to_owned());
    assert_eq!(drawn(&mut many, (80, 10))[9], "it is lost");
}

#[test]
fn nothing_is_cleared_from_the_last_column_of_a_full_row() {
    let lines = ["full row".to_owned(), "short".to_owned(), "the last".to_owned()];
    assert_eq!(picture(&lines), "\x1b[H\x1b[Kfull row\r\n\x1b[Kshort\r\n\x1b[Jthe last");
    // Over what a wider terminal left: rows that went on in the next one are rows of their own again.
    let mut parser = vt100::Parser::new(size(3), size(8), 0);
    parser.process(b"what was drawn for the width before");
    parser.process(picture(&lines).as_bytes());
    assert_eq!(parser.screen().contents(), "full row\nshort\nthe last");
}
