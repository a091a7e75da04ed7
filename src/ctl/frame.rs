//! One picture of `status --watch`: a line about all, the table, the last events, and what is wrong.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fmt::Write;
use std::io;
use std::time::Instant;

use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr;

use super::screen::{Paint, Screen};
use super::show::{cut, table};
use super::stream;
use crate::model::event::Event;
use crate::model::summary::Summary;
use crate::protocol::control::Process;

/// The most events that are shown.
pub const EVENTS_MAX: usize = 8;
/// Lines around the processes: the first, the headings, the last.
pub const AROUND: usize = 3;
/// With fewer rows than this, events are left out.
const ROWS_FOR_EVENTS: usize = 14;

/// What is known, and when it was asked.
pub struct View {
    pub processes: Vec<Process>,
    pub events: VecDeque<Event>,
    /// Why this may be old.
    pub trouble: Option<String>,
    /// The first process that is shown.
    pub top: usize,
    pub asked: Instant,
}

/// Draws the whole screen at once.
pub fn draw(view: &mut View, now: Instant, screen: &mut Screen, zone: &TimeZone) -> io::Result<()> {
    let lines = lines(view, now, (screen.width(), screen.height()), screen.colour, zone);
    screen.print(&picture(&lines))
}

/// What a terminal has to be told to show these lines and nothing else.
fn picture(lines: &[String]) -> String {
    // Each line is cleared before it is written: behind one that fills its row, a terminal still stands on
    // the last column, and clearing from there would take the last character.
    let mut out = String::from("\x1b[H");
    for (number, line) in lines.iter().enumerate() {
        let clear = if number + 1 == lines.len() { "\x1b[J" } else { "\x1b[K" };
        let _ = write!(out, "{}{clear}{line}", if number == 0 { "" } else { "\r\n" });
    }
    out
}

/// At most as many lines as fit, none wider than the terminal.
fn lines(view: &mut View, now: Instant, (width, height): (usize, usize), colour: bool, zone: &TimeZone) -> Vec<String> {
    let paint = |text: &str, paint: Paint| if colour { paint.on(text) } else { text.to_owned() };
    let events = if height < ROWS_FOR_EVENTS { 0 } else { view.events.len().min((height - AROUND) / 3) };
    let around = AROUND + if events > 0 { events + 1 } else { 0 };
    let room = height.saturating_sub(around).max(1);
    view.top = view.top.min(view.processes.len().saturating_sub(room));
    let shown = view.processes.len().min(view.top + room);
    let mut lines = vec![summary(&view.processes, width, colour)];
    let processes = aged(view, now);
    // Of all, so that columns stay where they are when it is scrolled.
    let all = table(&processes, width, colour, zone);
    let mut rows = all.lines().map(str::to_owned);
    lines.extend(rows.next().filter(|_| !processes.is_empty()));
    lines.extend(rows.skip(view.top).take(room));
    let hidden = view.processes.len() - (shown - view.top);
    if events > 0 {
        lines.push(String::new());
        let last = view.events.iter().skip(view.events.len() - events);
        lines.extend(last.map(|event| stream::glimpse(event, colour, width, zone)));
    }
    lines.truncate(height.saturating_sub(1).max(1));
    let foot = match &view.trouble {
        Some(trouble) => paint(&cut(trouble, width), Paint::Bad),
        None if hidden > 0 => {
            let text = format!("{}-{shown} of {}; arrow keys scroll, q leaves", view.top + 1, view.processes.len());
            paint(&cut(&text, width), Paint::Faint)
        }
        None => paint(&cut("q leaves", width), Paint::Faint),
    };
    if height > 1 {
        lines.resize(lines.len().max(height - 1), String::new());
        lines.push(foot);
    }
    lines
}

/// The first line.
fn summary(processes: &[Process], width: usize, colour: bool) -> String {
    let summary = Summary::of(processes.iter().map(|process| process.state));
    let text = summary.to_string();
    let text = cut(&text, width);
    debug_assert!(text.width() <= width);
    if !colour {
        return text.into_owned();
    }
    if summary.unwell > 0 { Paint::Bad.on(&text) } else { Paint::Heading.on(&text) }
}

/// With the uptimes of now.
fn aged(view: &View, now: Instant) -> Vec<Process> {
    let age = now.saturating_duration_since(view.asked).as_secs_f64();
    let aged = |process: &Process| Process {
        uptime_seconds: process.uptime_seconds.map(|seconds| seconds + age),
        ..process.clone()
    };
    view.processes.iter().map(aged).collect()
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
