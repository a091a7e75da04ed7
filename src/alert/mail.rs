//! The text of a mail: what happened, where and when first; then the facts in a small table; what the
//! program wrote last; and the commands to type next.
//!
//! Lines end in LF, are safe to show and at most [`LINE_MAX`] bytes long. All times are UTC.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::notice::{Item, Notice, Purpose};
use super::output::{Showing, pieces};
use super::words::{self, value};
use crate::model::event::{Event, Kind};
use crate::model::time::{WallTime, human, rfc3339_millis};

/// RFC 5322 §2.1.1 allows 998.
pub const LINE_MAX: usize = 900;
/// So many items of a digest are told in full; of the others one line each.
const FULL_MAX: usize = 10;
/// What is sent later than this says how long ago it happened.
const LATE: Duration = Duration::from_secs(120);

/// The text below the headers.
pub fn body(notice: &Notice, showing: &Showing, sent_at: WallTime) -> String {
    let mut page = Page::default();
    opening(&mut page, notice, sent_at);
    if notice.items.len() > 1 {
        overview(&mut page, notice);
    }
    for item in notice.items.iter().take(FULL_MAX) {
        details(&mut page, item, showing, sent_at);
    }
    remarks(&mut page, notice);
    page.line("");
    page.line("-- ");
    page.line(&format!("Taskmaster on {}, notice {}", value(&notice.host), value(&notice.id)));
    page.0
}

/// Lines that are never too long.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        for piece in pieces(text, LINE_MAX) {
            self.0.push_str(&piece);
            self.0.push('\n');
        }
    }

    fn row(&mut self, label: &str, text: &str) {
        self.line(&format!("  {label:<12}{text}"));
    }

    fn rows<const N: usize>(&mut self, rows: [(&str, Option<String>); N]) {
        for (label, text) in rows {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                self.row(label, &text);
            }
        }
    }
}

fn opening(page: &mut Page, notice: &Notice, sent_at: WallTime) {
    page.line(&format!("{}.", words::subject(notice)));
    if let [item] = notice.items.as_slice() {
        let ended = item.ended.as_ref().filter(|_| words::over(item).is_some());
        page.line(&format!("At {}.", moment(ended.map_or(item.event.time, |ended| ended.at), sent_at)));
    } else {
        page.line(&format!("Written at {}.", moment(notice.made_at, sent_at)));
    }
    match notice.purpose {
        Purpose::Test => page.line("If you can read this, alerts reach you on this channel. Nothing is wrong."),
        Purpose::Flapping => page.line(
            "It fails and recovers again and again. You are told once it has settled, and reminded while it has not.",
        ),
        Purpose::Problem | Purpose::Reminder | Purpose::Recovery | Purpose::Occurrence => {}
    }
}

/// `2026-11-20T08:12:03.123Z`, and how long ago that was when it is no news any more.
fn moment(time: WallTime, sent_at: WallTime) -> String {
    let age = words::between(time, sent_at);
    let late = if age >= LATE { format!(" ({} ago when this was sent)", human(age)) } else { String::new() };
    format!("{}{late}", rfc3339_millis(time))
}

fn overview(page: &mut Page, notice: &Notice) {
    page.line("");
    let width = notice.items.iter().map(|item| words::name(item).chars().count()).max().unwrap_or(0);
    for item in &notice.items {
        let why = words::cause(&item.event).unwrap_or_else(|| item.event.kind.name().to_owned());
        let how = match words::over(item) {
            Some(how) => format!("{how} after {}", human(words::length(item))),
            None => why,
        };
        let since = match words::finished(item) {
            Some(_) => words::since_then(item),
            None => format!(" since {}", rfc3339_millis(item.started_at)),
        };
        let still = if item.goes_on { "still: " } else { "" };
        page.line(&format!("  {:<width$}  {still}{how}, {}{since}", words::name(item), words::times(item)));
    }
    if notice.more_items > 0 {
        page.line(&format!("  and {} more, for which there is no room here", notice.more_items));
    }
}

fn details(page: &mut Page, item: &Item, showing: &Showing, sent_at: WallTime) {
    let (event, facts) = (&item.event, &item.event.facts);
    page.line("");
    let heading = words::headline(item);
    page.line(&if words::over(item).is_some() { format!("The last failure: {heading}") } else { heading });
    page.rows([
        ("program", item.program.as_ref().map(ToString::to_string)),
        ("group", item.group_name.as_deref().map(value)),
        ("process", facts.process.as_deref().map(value)),
        ("pid", facts.pid.map(|pid| pid.to_string())),
        ("user", facts.user.as_deref().map(value)),
        ("event", Some(format!("{} at {}", event.kind, moment(event.time, sent_at)))),
        ("ended by", exit(event)),
        ("ran for", facts.uptime_seconds.map(uptime)),
        ("stage", stage(event)),
        ("reason", facts.message.as_deref().map(value)),
        ("restarts", facts.restarts.map(|restarts| restarts.to_string())),
        ("retry", facts.attempt.map(|attempt| retry(attempt, facts.tries_max))),
        ("now", now(item)),
        ("count", count(item)),
        ("flapping", item.flaps.as_ref().map(|_| words::flaps(item))),
        ("processes", Some(&item.processes).filter(|all| all.len() > 1).map(|all| in_order(all))),
        ("over since", item.ended.as_ref().map(|ended| over(item, ended.at, sent_at))),
    ]);
    output(page, item, showing);
    commands(page, item);
}

/// `signal SEGV (11), core dumped`, `exit status 3`.
fn exit(event: &Event) -> Option<String> {
    let facts = &event.facts;
    let core = match facts.core_dumped {
        Some(true) => ", core dumped",
        Some(false) => ", no core dumped",
        None => "",
    };
    let signal = facts.signal.map(|signal| format!("signal {signal} ({}){core}", signal.number()));
    signal.or_else(|| facts.code.map(|code| format!("exit status {code}")))
}

fn uptime(seconds: f64) -> String {
    // Saturates; NaN and what is negative become 0.
    human(Duration::try_from_secs_f64(seconds.clamp(0.0, 1e12)).unwrap_or_default())
}

fn stage(event: &Event) -> Option<String> {
    let facts = &event.facts;
    let error = facts.errno.filter(|errno| *errno > 0);
    let error = error.map(|errno| format!("{} (errno {errno})", words::errno_words(errno)));
    let stage = facts.stage.map(|stage| stage.words().to_owned());
    [stage, error].into_iter().flatten().reduce(|stage, error| format!("{stage}: {error}"))
}

fn retry(attempt: u32, of: Option<u32>) -> String {
    match (attempt, of) {
        (0, _) => "none yet".to_owned(),
        (n, Some(of)) => format!("{n} of {of}"),
        (n, None) => n.to_string(),
    }
}

fn now(item: &Item) -> Option<String> {
    let state = item.state.or(item.event.facts.to)?;
    Some(format!("{state}: {}", words::next(item)?))
}

/// `17 crashes since 2026-11-20T08:12:03.123Z, 5 since the last message`.
fn count(item: &Item) -> Option<String> {
    let since = rfc3339_millis(item.started_at);
    let new = if item.new < item.count { format!(", {} since the last message", item.new) } else { String::new() };
    (item.count > 1).then(|| format!("{} since {since}{new}", words::times(item)))
}

/// `web:2, web:10`.
fn in_order(processes: &[String]) -> String {
    let mut all: Vec<&str> = processes.iter().map(String::as_str).collect();
    all.sort_by_key(|name| (name.len(), *name));
    value(&all.join(", "))
}

fn over(item: &Item, at: WallTime, sent_at: WallTime) -> String {
    format!("{}, after {}", moment(at, sent_at), human(words::length(item)))
}

fn output(page: &mut Page, item: &Item, showing: &Showing) {
    let Some(output) = &item.output else { return };
    let lines = showing.safe(output, LINE_MAX - 8);
    if lines.is_empty() {
        if output.is_cut && !showing.is_nothing() {
            page.line("");
            page.line("Its last line is too long to be shown whole, and may hold what `redact` keeps back.");
        }
        return;
    }
    page.line("");
    let earlier = if output.is_cut { ", the end of it" } else { "" };
    page.line(&format!("Last lines of standard error{earlier}:"));
    for line in lines {
        page.line(&format!("    | {line}"));
    }
}

fn commands(page: &mut Page, item: &Item) {
    let Some(program) = &item.program else { return };
    if words::over(item).is_some() {
        return;
    }
    page.line("");
    page.line("To look closer:");
    page.line(&format!("    taskmasterctl status {program}"));
    page.line(&format!("    taskmasterctl tail {} stderr", process(item).unwrap_or(program.as_str())));
    if item.event.kind == Kind::ProcessFatal {
        page.line("To start it again:");
        page.line(&format!("    taskmasterctl start {program}"));
    }
    if item.ended.is_none() {
        page.line("To hear no more of it for two hours:");
        page.line(&format!("    taskmasterctl notify silence {program} 2h"));
    }
}

/// The process as a command takes it; only if it can be one of the program.
fn process(item: &Item) -> Option<&str> {
    let shown = item.event.facts.process.as_deref()?;
    let instance = shown.strip_prefix(item.program.as_ref()?.as_str())?;
    let number = instance.strip_prefix(':').unwrap_or(instance);
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (instance.is_empty() || number.len() < instance.len() && is_number).then_some(shown)
}

fn remarks(page: &mut Page, notice: &Notice) {
    if notice.items.len() > FULL_MAX {
        page.line("");
        page.line(&format!("Of {} of them the details are in the event log.", notice.items.len() - FULL_MAX));
    }
    if notice.dropped > 0 {
        page.line("");
        let messages = words::counted(notice.dropped, "message");
        page.line(&format!("Before this, {messages} had to be dropped; the events are in the event log."));
    }
}

#[cfg(test)]
#[path = "mail_tests.rs"]
mod tests;
