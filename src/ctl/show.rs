//! The status of processes as text: supervisorctl's lines for scripts, a table for people.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use jiff::tz::TimeZone;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::screen::Paint;
use crate::model::state::State;
use crate::model::text::escaped;
use crate::model::time::human;
use crate::protocol::control::{LastExit, Process};

/// supervisorctl's lines: name, state and description in columns, no heading.
pub fn lines(processes: &[Process], zone: &TimeZone) -> String {
    let names: Vec<Cow<'_, str>> = processes.iter().map(|process| escaped(&process.process)).collect();
    let longest = names.iter().map(|name| name.chars().count()).fold(30, usize::max);
    let mut out = String::new();
    for (process, name) in processes.iter().zip(&names) {
        let description = description(process, zone);
        let _ = writeln!(out, "{name:width$}{:<10}{description}", process.state, width = longest + 3);
    }
    out
}

/// supervisorctl's words about a process in its state.
fn description(process: &Process, zone: &TimeZone) -> String {
    match process.state {
        State::Running => {
            let pid = process.pid.unwrap_or_default();
            format!("pid {pid}, uptime {}", clock(process.uptime_seconds.unwrap_or_default()))
        }
        State::Fatal | State::Backoff => escaped(process.reason.as_deref().unwrap_or_default()).into_owned(),
        State::Stopped | State::Exited => match &process.last_exit {
            Some(exit) => local_time(exit, zone),
            None => "Not started".to_owned(),
        },
        State::Starting | State::Stopping => String::new(),
    }
}

/// `0:01:02`, `1 day, 3:04:05`, as Python shows a time span.
fn clock(seconds: f64) -> String {
    // A span beyond what a u64 holds ends there; a negative one is zero.
    let seconds = seconds as u64;
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let clock = format!("{}:{:02}:{:02}", rest / 3600, rest % 3600 / 60, rest % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        _ => format!("{days} days, {clock}"),
    }
}

/// `Nov 20 08:19 AM`, in the zone of who asks.
pub fn local_time(exit: &LastExit, zone: &TimeZone) -> String {
    exit.at.to_zoned(zone.clone()).strftime("%b %d %I:%M %p").to_string()
}

/// The columns of the table, in their order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    State,
    Pid,
    Uptime,
    Restarts,
    User,
    Info,
}

impl Column {
    const ALL: [Self; 7] = [Self::Name, Self::State, Self::Pid, Self::Uptime, Self::Restarts, Self::User, Self::Info];
    /// What goes first where space is short.
    const DISPENSABLE: [Self; 4] = [Self::User, Self::Restarts, Self::Pid, Self::Uptime];

    fn heading(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::State => "STATE",
            Self::Pid => "PID",
            Self::Uptime => "UPTIME",
            Self::Restarts => "RESTARTS",
            Self::User => "USER",
            Self::Info => "INFO",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Pid | Self::Uptime | Self::Restarts)
    }

    fn text(self, process: &Process, zone: &TimeZone) -> String {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        match self {
            Self::Name => escaped(&process.process).into_owned(),
            Self::State => process.state.to_string(),
            Self::Pid => or_dash(process.pid.map(|pid| pid.to_string())),
            Self::Uptime => or_dash(process.uptime_seconds.map(uptime)),
            Self::Restarts => process.restarts.to_string(),
            Self::User => escaped(&process.user).into_owned(),
            Self::Info => info(process, zone),
        }
    }
}

pub fn uptime(seconds: f64) -> String {
    // Whole seconds: the table is read, not measured with.
    human(Duration::from_secs(seconds as u64)).replace("0ms", "0s")
}

/// Why it is in its state, and how it last ended.
fn info(process: &Process, zone: &TimeZone) -> String {
    let reason = process.reason.as_deref().map(|reason| escaped(reason).into_owned());
    let ended = process.last_exit.as_ref().map(|exit| format!("{}, {}", how(exit), local_time(exit, zone)));
    match process.state {
        State::Running => match (reason, ended) {
            (Some(reason), _) => reason,
            (None, Some(ended)) if process.restarts > 0 => format!("before: {ended}"),
            (None, _) => String::new(),
        },
        State::Starting | State::Stopping => reason.unwrap_or_default(),
        State::Backoff | State::Fatal => reason.or(ended).unwrap_or_default(),
        State::Stopped | State::Exited => match (reason, ended) {
            (Some(reason), Some(ended)) => format!("{reason}; {ended}"),
            (reason, ended) => reason.or(ended).unwrap_or_else(|| "not started".to_owned()),
        },
    }
}

pub fn how(exit: &LastExit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) if exit.core_dumped => format!("SIG{signal}, core dumped"),
        (None, Some(signal)) => format!("SIG{signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Below this the last column says nothing; another column goes first.
const INFO_MIN: usize = 12;
/// Names are not cut to less than this.
const NAME_MIN: usize = 8;

/// An aligned table that fits the width, with a heading.
pub fn table(processes: &[Process], width: usize, colour: bool, zone: &TimeZone) -> String {
    let mut columns: Vec<(Column, Vec<String>)> = Column::ALL
        .iter()
        .map(|column| (*column, processes.iter().map(|process| column.text(process, zone)).collect()))
        .filter(|(column, texts): &(Column, Vec<String>)| {
            *column != Column::Info || texts.iter().any(|text| !text.is_empty())
        })
        .collect();
    let wide = |(column, texts): &(Column, Vec<String>)| {
        texts.iter().map(|text| text.width()).fold(column.heading().len(), usize::max)
    };
    let needed = |columns: &[(Column, Vec<String>)]| -> usize {
        let texts = columns.iter().map(|entry| match entry.0 {
            Column::Info => wide(entry).min(INFO_MIN),
            _ => wide(entry),
        });
        texts.sum::<usize>() + 2 * columns.len().saturating_sub(1)
    };
    // One long name does not take the place of what all the others are looked at for.
    if needed(&columns) > width {
        let most = NAME_MIN.max(width / 2);
        let names = columns.iter_mut().filter(|(column, _)| *column == Column::Name);
        names.flat_map(|(_, names)| names).for_each(|name| *name = cut_name(name, most));
    }
    for dispensable in Column::DISPENSABLE {
        if needed(&columns) <= width {
            break;
        }
        columns.retain(|(column, _)| *column != dispensable);
    }
    let widths: Vec<usize> = columns.iter().map(wide).collect();
    let mut out = String::new();
    for row in std::iter::once(None).chain((0..processes.len()).map(Some)) {
        let mut left = width;
        for (number, ((column, texts), wide)) in columns.iter().zip(&widths).enumerate() {
            let text = row.map_or(column.heading(), |row| texts[row].as_str());
            let text = cut(text, left);
            let last = number + 1 == columns.len();
            let padding = " ".repeat(if last && !column.is_number() { 0 } else { wide.saturating_sub(text.width()) });
            let paint = match (row, column) {
                (None, _) => Paint::Heading,
                (Some(row), Column::State) => Paint::of_state(processes[row].state),
                (Some(_), _) => Paint::Plain,
            };
            let painted = if colour { paint.on(&text) } else { text.into_owned() };
            out.push_str(&if column.is_number() { padding + &painted } else { painted + &padding });
            left = left.saturating_sub(wide + 2);
            if last || left == 0 {
                break;
            }
            out.push_str("  ");
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

/// A process's name cut so that its number stays.
fn cut_name(name: &str, width: usize) -> String {
    let number = name.rfind(':').and_then(|colon| name.get(colon..)).unwrap_or_default();
    match width.checked_sub(number.width()).filter(|_| name.width() > width) {
        Some(left) => cut(name.strip_suffix(number).unwrap_or(name), left).into_owned() + number,
        None => name.to_owned(),
    }
}

/// As much of the text as fits, with `…` where some is missing.
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let (mut out, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used >= width {
            break;
        }
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

#[cfg(test)]
#[path = "show_tests.rs"]
pub(super) mod tests;
