//! Notices for the tests of this part of the crate and of those that render them.
#![forbid(unsafe_code)]

use super::notice::{End, Ended, Item, Notice, Output, Purpose};
use crate::model::event::{Event, Facts, Kind};
use crate::model::id::ChannelName;
use crate::model::id::ProgramName;
use crate::model::signal::Signal;
use crate::model::state::State;
use crate::model::time::WallTime;

/// 2026-11-20T08:12:03.123Z and so many seconds.
pub fn at(seconds: i64) -> WallTime {
    WallTime::from_millisecond(1_795_162_323_123 + seconds * 1000).expect("in range")
}

pub fn event(kind: Kind, facts: Facts) -> Event {
    Event { seq: 7, time: at(0), severity: kind.severity(), kind, host: "h1".to_owned(), facts }
}

/// A crash of `web:0` that was started again.
pub fn crash(program: &str) -> Item {
    let program = ProgramName::new(program).expect("a name");
    let facts = Facts {
        program: Some(program.clone()),
        process: Some(format!("{program}:0")),
        pid: Some(123),
        user: Some("www-data".to_owned()),
        from: Some(State::Running),
        to: Some(State::Exited),
        signal: Signal::parse("SEGV"),
        core_dumped: Some(true),
        uptime_seconds: Some(3.21),
        restarts: Some(1),
        ..Facts::default()
    };
    let event = event(Kind::ProcessCrashed, facts);
    Item {
        incident: format!("20261120T081203-4f2a9c-{program}"),
        program: Some(program.clone()),
        group_name: None,
        severity: event.severity,
        started_at: event.time,
        last_at: event.time,
        event,
        count: 1,
        new: 1,
        processes: vec![format!("{program}:0")],
        state: Some(State::Running),
        output: Some(Output { lines: vec!["one".to_owned(), "two\x1b[2J".to_owned()], is_cut: true }),
        is_flapping: false,
        first_severity: None,
        flaps: None,
        goes_on: false,
        ended: None,
    }
}

/// An incident that is over after 12 minutes and 7 crashes.
pub fn recovered(program: &str) -> Item {
    Item { count: 7, new: 0, ended: Some(Ended { at: at(720), how: End::Recovered }), ..crash(program) }
}

pub fn notice(purpose: Purpose, items: Vec<Item>) -> Notice {
    Notice {
        id: "20261120T081213-4f2a9c-17".to_owned(),
        channel: ChannelName("email".to_owned()),
        recipients: Vec::new(),
        host: "h1".to_owned(),
        made_at: at(10),
        purpose,
        severity: items.iter().map(|item| item.severity).min().unwrap_or(crate::model::event::Severity::Info),
        items,
        more_items: 0,
        root: None,
        dropped: 0,
    }
}
