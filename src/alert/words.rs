//! The words that mails and webhooks share: the subject of a notice, and of one item what happened, why,
//! how often, and what comes next.
//!
//! A subject begins with program and verb and names the host, never in square brackets, which Gmail leaves
//! out when it makes threads. Everything here is one line and safe to show.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::notice::{End, Item, Notice, Purpose};
use crate::model::event::{Event, Kind};
use crate::model::stage::Stage;
use crate::model::state::State;
use crate::model::text::{cut, escaped};
use crate::model::time::{WallTime, human};

/// The longest subject, in bytes.
pub const SUBJECT_MAX: usize = 200;
/// The longest foreign text of one line, in bytes, before it is escaped.
const VALUE_MAX: usize = 400;
/// How many names a digest's subject lists.
const NAMES_MAX: usize = 4;

/// One line that says what, where and why.
pub fn subject(notice: &Notice) -> String {
    let host = value(&notice.host);
    let text = match (notice.items.as_slice(), notice.more_items) {
        _ if notice.purpose == Purpose::Test => format!("Test message from Taskmaster on {host}"),
        ([item], 0) => about_one(notice.purpose, item, &host),
        _ => about_many(notice, &host),
    };
    one_line(&text, SUBJECT_MAX)
}

/// The same of one item alone.
pub fn subject_of(purpose: Purpose, item: &Item, host: &str) -> String {
    one_line(&about_one(purpose, item, &value(host)), SUBJECT_MAX)
}

fn about_one(purpose: Purpose, item: &Item, host: &str) -> String {
    let (name, many) = (name(item), times(item));
    if let Some(how) = over(item) {
        return format!("{name} {how} on {host} after {} ({many})", human(length(item)));
    }
    let why = cause(&item.event).map(|cause| format!(": {cause}")).unwrap_or_default();
    match purpose {
        Purpose::Flapping => format!("{name} flapping on {host}{why}, {}", flaps(item)),
        Purpose::Problem | Purpose::Reminder if purpose == Purpose::Reminder || item.goes_on => {
            format!("Still failing: {name} on {host} since {}{why}, {many}", minute(item.started_at))
        }
        _ => {
            let often = if item.count > 1 { format!(", {many}") } else { String::new() };
            format!("{} on {host}{why}{often}{}", headline(item), since_then(item))
        }
    }
}

/// `3 incidents with 5 crashes in 4m`.
pub fn flaps(item: &Item) -> String {
    let Some(flaps) = &item.flaps else { return times(item) };
    let incidents = counted(flaps.incidents, "incident");
    let events = counted(flaps.count, noun(item.event.kind));
    format!("{incidents} with {events} in {}", human(between(flaps.since, item.last_at)))
}

/// What is new comes first, then what goes on, then what is over.
fn about_many(notice: &Notice, host: &str) -> String {
    let (over, open): (Vec<&Item>, Vec<&Item>) = notice.items.iter().partition(|item| over(item).is_some());
    let all_programs = notice.items.iter().all(|item| item.program.is_some());
    let thing = if all_programs { "program" } else { "problem" };
    let more = usize::try_from(notice.more_items).unwrap_or(usize::MAX);
    let all = |of: &[&Item]| of.len().saturating_add(more);
    let number = |of: usize| format!("{of} {thing}{}", if of == 1 { "" } else { "s" });
    if open.is_empty() {
        return format!("{} {} on {host}: {}", number(all(&over)), ended_how(&over), names(&over, more > 0));
    }
    let goes_on = |item: &&Item| item.goes_on || notice.purpose == Purpose::Reminder;
    let (still, new): (Vec<&Item>, Vec<&Item>) = open.iter().copied().partition(goes_on);
    let mut text = match notice.purpose {
        Purpose::Occurrence => format!("{} events on {host}: {}", all(&open), names(&open, more > 0)),
        Purpose::Flapping if still.is_empty() => {
            format!("{} flapping on {host}: {}", number(all(&new)), names(&new, more > 0))
        }
        _ if new.is_empty() => {
            let since = still.iter().map(|item| item.started_at).min().unwrap_or(notice.made_at);
            let names = names(&still, more > 0);
            format!("Still failing: {} on {host} since {}: {names}", number(all(&still)), minute(since))
        }
        _ => match new.as_slice() {
            [one] if more == 0 => about_one(Purpose::Problem, one, host),
            _ => {
                let fail = if new.iter().all(|item| finished(item).is_some()) { "failed" } else { "failing" };
                format!("{} {fail} on {host}: {}", number(all(&new)), names(&new, more > 0))
            }
        },
    };
    if !new.is_empty() && !still.is_empty() {
        text.push_str(&format!("; {} still failing", still.len()));
    }
    if !over.is_empty() {
        text.push_str(&format!("; {} {}", names(&over, false), ended_how(&over)));
    }
    text
}

/// The first names.
fn names(items: &[&Item], are_more: bool) -> String {
    let rest = if items.len() > NAMES_MAX || are_more { ", …" } else { "" };
    let names: Vec<String> = items.iter().take(NAMES_MAX).map(|item| name(item)).collect();
    format!("{}{rest}", names.join(", "))
}

/// One word for the ends of all these.
fn ended_how(items: &[&Item]) -> &'static str {
    let how = |item: &&Item| item.ended.as_ref().map(|ended| ended.how);
    let first = items.first().and_then(how);
    match first.filter(|_| items.iter().all(|item| how(item) == first)) {
        Some(End::Recovered) => "recovered",
        Some(End::Stopped) => "stopped",
        Some(End::Exited) => "exited as expected",
        Some(End::Removed) => "removed from the configuration",
        Some(End::Momentary) | None => "no longer failing",
    }
}

/// `2026-11-20 08:12 UTC`.
fn minute(time: WallTime) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Foreign text on one line, cut and safe.
pub fn value(text: &str) -> String {
    let short = cut(text, VALUE_MAX);
    let mut safe = escaped(short).into_owned();
    if short.len() < text.len() {
        safe.push('…');
    }
    safe
}

/// The whole on one line of at most `max` bytes: safe, single spaces, nothing that a mail reader would take
/// for an encoded word (RFC 2047).
pub fn one_line(text: &str, max: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = escaped(&words.join(" ")).replace("=?", "= ?");
    if line.len() <= max {
        return line;
    }
    format!("{}…", cut(&line, max.saturating_sub('…'.len_utf8())).trim_end())
}

/// The program, or what else the item is about.
pub fn name(item: &Item) -> String {
    match (&item.program, family(item.event.kind)) {
        (Some(program), _) => program.to_string(),
        (None, "supervisor") => "Taskmaster".to_owned(),
        (None, "config") => "configuration".to_owned(),
        (None, "notify") => "alerting".to_owned(),
        (None, family) => family.to_owned(),
    }
}

fn family(kind: Kind) -> &'static str {
    kind.name().split_once('.').map_or("", |(family, _)| family)
}

/// Who and what, without place and reason: `web crashed`.
pub fn headline(item: &Item) -> String {
    let name = name(item);
    let of = item.program.as_ref().map(|program| format!(" of {program}")).unwrap_or_default();
    match item.event.kind {
        Kind::SupervisorStarted => "Taskmaster started".to_owned(),
        Kind::SupervisorStopping => "Taskmaster is stopping".to_owned(),
        Kind::SupervisorStopped => "Taskmaster stopped".to_owned(),
        Kind::ConfigReloaded => "Configuration reloaded".to_owned(),
        Kind::ConfigRejected => "Configuration rejected".to_owned(),
        Kind::ProcessStarting => format!("{name} is starting"),
        Kind::ProcessRunning => format!("{name} is running"),
        Kind::ProcessBackoff => format!("{name} did not stay up"),
        Kind::ProcessStopping => format!("{name} is stopping"),
        Kind::ProcessStopped => format!("{name} stopped"),
        Kind::ProcessExited => format!("{name} exited"),
        Kind::ProcessCrashed => format!("{name} crashed"),
        Kind::ProcessKilled => format!("{name} had to be killed"),
        Kind::ProcessFatal => format!("{name} is FATAL (given up)"),
        Kind::ProcessStartFailed => format!("{name} could not be started"),
        Kind::ProcessUnrestricted if item.event.facts.stage == Some(Stage::ControlGroup) => {
            format!("{name} runs in no control group of its own")
        }
        Kind::ProcessUnrestricted => format!("{name} runs without its restrict_paths"),
        Kind::WorkerRestarted => "A worker of Taskmaster was restarted".to_owned(),
        Kind::OutputDropped => format!("Output{of} was lost"),
        Kind::OutputFailing => format!("Output{of} cannot be written"),
        Kind::OutputRecovered => format!("Output{of} can be written again"),
        Kind::ControlDenied => "A command was denied".to_owned(),
        Kind::NotifyFailing => "Alerting is failing".to_owned(),
        Kind::NotifyRecovered => "Alerting works again".to_owned(),
        Kind::NotifyTest => "A test of the alerts".to_owned(),
    }
}

/// How it ended, or why it happened: `signal SEGV (core dumped)`, `exit status 3`, the event's message.
pub fn cause(event: &Event) -> Option<String> {
    let facts = &event.facts;
    let ended = ended(event);
    let message = facts.message.as_deref().map(value).filter(|message| !message.is_empty());
    let at = || {
        let error = facts.errno.filter(|errno| *errno > 0).map(errno_words);
        let stage = facts.stage.map(|stage| stage.words().to_owned());
        [stage, error].into_iter().flatten().reduce(|stage, error| format!("{stage}: {error}"))
    };
    match event.kind {
        Kind::ProcessCrashed | Kind::ProcessExited => ended.or(message),
        _ => message.or_else(at).or(ended),
    }
}

/// `signal SEGV (core dumped)` or `exit status 3`.
fn ended(event: &Event) -> Option<String> {
    let facts = &event.facts;
    let core = if facts.core_dumped == Some(true) { " (core dumped)" } else { "" };
    let signal = facts.signal.map(|signal| format!("signal {signal}{core}"));
    signal.or_else(|| facts.code.map(|code| format!("exit status {code}")))
}

/// What strerror(3) says: `No such file or directory`.
pub fn errno_words(errno: i32) -> String {
    let words = std::io::Error::from_raw_os_error(errno).to_string();
    // The standard library adds the number.
    words.rsplit_once(" (os error ").map_or(words.clone(), |(words, _)| words.to_owned())
}

/// `1 crash`, `17 failures`.
pub fn times(item: &Item) -> String {
    counted(item.count, noun(item.event.kind))
}

/// A number and what is counted.
pub fn counted(count: u64, noun: &str) -> String {
    match (count, noun) {
        (1, _) => format!("1 {noun}"),
        (_, "crash") => format!("{count} crashes"),
        _ => format!("{count} {noun}s"),
    }
}

fn noun(kind: Kind) -> &'static str {
    match (kind, family(kind)) {
        (Kind::ProcessCrashed, _) => "crash",
        (_, "process") => "failure",
        _ => "event",
    }
}

/// How an incident ended; none while it lasts, and for what has no length.
pub fn finished(item: &Item) -> Option<&'static str> {
    match item.ended.as_ref()?.how {
        End::Recovered => Some("recovered"),
        End::Stopped => Some("was stopped"),
        End::Exited => Some("exited as expected"),
        End::Removed => Some("was removed from the configuration"),
        End::Momentary => None,
    }
}

/// The same of an incident that somebody was told of. Of another one it is news that it failed, not that it is over.
pub fn over(item: &Item) -> Option<&'static str> {
    finished(item).filter(|_| item.new < item.count)
}

/// `; it was stopped after 3s`: how it ended, of what is told only now.
pub fn since_then(item: &Item) -> String {
    let is_said = item.event.kind == Kind::ProcessKilled && item.ended.as_ref().is_some_and(|e| e.how == End::Stopped);
    let how = finished(item).filter(|_| !is_said && over(item).is_none());
    how.map(|how| format!("; it {how} after {}", human(length(item)))).unwrap_or_default()
}

/// How long the incident took.
pub fn length(item: &Item) -> Duration {
    item.ended.as_ref().map_or(Duration::ZERO, |ended| between(item.started_at, ended.at))
}

/// From one wall time to another; zero if the clock was set back.
pub fn between(from: WallTime, to: WallTime) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// What the process does now and what comes next.
pub fn next(item: &Item) -> Option<&'static str> {
    let state = item.state.or(item.event.facts.to)?;
    Some(match state {
        State::Running => "running again",
        State::Starting => "being started again",
        State::Backoff => "waiting before the next try",
        State::Fatal => "given up: it stays down until somebody starts it",
        State::Exited => "not started again: autorestart does not ask for it",
        State::Stopping => "being stopped",
        State::Stopped => "stopped: nothing starts it by itself",
    })
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
