//! One process in detail: what it is and how it is, what it runs with, what happened to it, and what it
//! wrote last. What the caller may not see is left out with a word that says so.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::ControlFlow;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::client::{Client, ClientError};
use super::fault::Failure;
use super::screen::{Paint, Screen};
use super::security::{broken, limit};
use super::session::{Session, pretty};
use super::show::{cut, how, local_time, uptime};
use super::{stream, zone};
use crate::model::event::Event;
use crate::model::state::Wanted;
use crate::model::text::{escaped, escaped_line};
use crate::protocol::control::{
    Channel, DETAILS_MAX, DetailsCall, DetailsReply, EventsCall, EventsReply, Method, Process, ProcessDetails,
    TailCall, TailReply,
};

/// The last events of a process that are shown, and the last lines of each of its outputs.
const EVENTS: usize = 6;
const LINES: u32 = 5;
/// The column at which facts begin.
const FACTS_AT: usize = 13;
/// Facts are never broken into narrower lines.
const ROOM_MIN: usize = 20;

/// All about a process; as JSON just this.
#[derive(Serialize)]
struct Detailed {
    #[serde(flatten)]
    process: Process,
    details: Option<ProcessDetails>,
    events: Vec<Event>,
    /// The last lines of each output that the caller may read.
    output: BTreeMap<Channel, String>,
}

/// Whether one process is named, and by its name.
pub fn is_one(selectors: &[String], processes: &[Process]) -> bool {
    let ([selector], [process]) = (selectors, processes) else { return false };
    let name = selector.split(':').next().unwrap_or_default();
    name == process.program.as_str() && !selector.contains('*')
}

/// Shows all about these.
pub fn show(session: &Session<'_>, processes: &[Process], screen: &mut Screen) -> Result<(), Failure> {
    let mut client = session.client()?;
    let mut all = Vec::new();
    for page in processes.chunks(DETAILS_MAX) {
        let selectors = page.iter().map(|process| format!("{}:{}", process.program, process.instance)).collect();
        let reply: DetailsReply = client.call(Method::Details, &DetailsCall { selectors })?;
        all.extend(reply.processes);
    }
    let recent: EventsReply = client.call(Method::Events, &EventsCall { since: Some(0), ..EventsCall::default() })?;
    let mut found = Vec::new();
    for process in processes {
        let details = all.iter().find(|details| details.process == process.process).cloned();
        let about = |event: &&Event| event.facts.process.as_deref() == Some(process.process.as_str());
        let mut events: Vec<Event> = recent.events.iter().rev().filter(about).take(EVENTS).cloned().collect();
        events.reverse();
        let mut output = BTreeMap::new();
        for channel in details.iter().flat_map(|details| &details.outputs) {
            output.insert(*channel, tail(session.client()?, process, *channel)?);
        }
        found.push(Detailed { process: process.clone(), details, events, output });
    }
    if session.json {
        screen.print(&pretty(&found))?;
    } else if found.is_empty() {
        screen.print("no programs are configured\n")?;
    } else {
        let texts: Vec<String> = found.iter().map(|one| text(one, screen, zone::local())).collect();
        screen.print(&texts.join("\n"))?;
    }
    Ok(())
}

/// The connection ends with the answer.
fn tail(mut client: Client<'_>, process: &Process, channel: Channel) -> Result<String, ClientError> {
    let selectors = vec![format!("{}:{}", process.program, process.instance)];
    let call = TailCall { selectors, channel: channel.into(), lines: LINES, follow: false };
    let mut text = String::new();
    client.call_more(Method::Tail, &call, |reply: TailReply| {
        text.push_str(&reply.text);
        ControlFlow::<()>::Continue(())
    })?;
    Ok(text)
}

fn text(one: &Detailed, screen: &Screen, zone: &TimeZone) -> String {
    let process = &one.process;
    let width = if screen.terminal { screen.width() } else { usize::MAX };
    let name = screen.painted(&escaped(&process.process), Paint::Heading);
    let state = screen.painted(&process.state.to_string(), Paint::of_state(process.state));
    let mut out = format!("{name}  {state}\n");
    for (what, fact) in facts(one, zone) {
        let room = width.saturating_sub(FACTS_AT).max(ROOM_MIN);
        for (number, part) in broken(&fact, room).iter().enumerate() {
            let _ = writeln!(out, "  {:11}{part}", if number == 0 { what } else { "" });
        }
    }
    let mut section = |heading: &str, lines: &[String]| {
        let _ = writeln!(out, "{}", screen.painted(heading, Paint::Heading));
        lines.iter().for_each(|line| {
            let _ = writeln!(out, "  {line}");
        });
    };
    let room = width.saturating_sub(2);
    if !one.events.is_empty() {
        let lines: Vec<String> =
            one.events.iter().map(|event| stream::glimpse(event, screen.colour, room, zone)).collect();
        section("last events", &lines);
    }
    for (channel, text) in &one.output {
        let shown = |line: &str| cut(&escaped_line(line.trim_end_matches('\r').as_bytes()), room).into_owned();
        let lines: Vec<String> = text.lines().map(shown).collect();
        match channel {
            _ if lines.is_empty() => {}
            Channel::Stdout => section("last of stdout", &lines),
            Channel::Stderr => section("last of stderr", &lines),
        }
    }
    out
}

fn facts(one: &Detailed, zone: &TimeZone) -> Vec<(&'static str, String)> {
    let Process { program, group_name, wanted, pid, user, uptime_seconds, restarts, last_exit, reason, .. } =
        &one.process;
    let mut facts = Vec::new();
    let group = group_name.as_ref().map(|group| format!(", group {}", escaped(group))).unwrap_or_default();
    facts.push(("program", format!("{program}{group}")));
    if let Some(pid) = pid {
        let up = uptime_seconds.map(|seconds| format!(", up {}", uptime(seconds))).unwrap_or_default();
        facts.push(("pid", format!("{pid}{up}")));
    }
    facts.extend(reason.as_ref().map(|reason| ("reason", escaped(reason).into_owned())));
    facts.push(("wanted", if *wanted == Wanted::Up { "up" } else { "down" }.to_owned()));
    facts.push(("restarts", restarts.to_string()));
    facts.extend(last_exit.as_ref().map(|exit| ("last exit", format!("{}, {}", how(exit), local_time(exit, zone)))));
    let ids = one.details.as_ref().and_then(|details| details.uid.zip(details.gid));
    let ids = ids.map(|(uid, gid)| format!(" (uid {uid}, gid {gid})")).unwrap_or_default();
    facts.push(("user", format!("{}{ids}", escaped(user))));
    facts.extend(one.details.iter().flat_map(configured));
    facts
}

fn configured(details: &ProcessDetails) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(groups) = &details.groups {
        let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        facts.push(("groups", if groups.is_empty() { "none".to_owned() } else { groups.join(" ") }));
    }
    match &details.command {
        Some(words) => {
            let place = |place: &Option<String>, none: &str| escaped(place.as_deref().unwrap_or(none)).into_owned();
            facts.push(("command", escaped(&shell_words::join(words)).into_owned()));
            facts.push(("directory", place(&details.working_directory, "the supervisor's own")));
            facts.push(("stdout", place(&details.stdout, "no file")));
            let same = details.stderr == details.stdout && details.stdout.is_some();
            facts.push(("stderr", if same { "with stdout".to_owned() } else { place(&details.stderr, "no file") }));
        }
        None => facts.push(("command", "not shown: that needs `config` in [[control.allow]]".to_owned())),
    }
    facts.push(("umask", format!("{:03o}", details.umask)));
    let bounded = details.limits.iter().filter(|(_, limit)| limit.soft.is_some());
    let limits: Vec<String> = bounded.map(|(resource, is)| format!("{}={}", resource.name(), limit(*is))).collect();
    facts.push(("limits", if limits.is_empty() { "none".to_owned() } else { limits.join(" ") }));
    if details.outputs.is_empty() {
        facts.push(("output", "not shown: that needs `tail` in [[control.allow]]".to_owned()));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::show::tests::process;
    use crate::model::state::State;

    #[test]
    fn one_that_is_named_by_its_name_is_shown_in_detail_and_what_a_pattern_finds_is_not() {
        let one = [process("web", State::Running)];
        let named = |selector: &str| is_one(&[selector.to_owned()], &one);
        assert!(named("web") && named("web:0"));
        assert!(!named("all") && !named("w*") && !named("web:*") && !named("front"));
        assert!(!is_one(&[], &one) && !is_one(&["web".to_owned()], &[one[0].clone(), one[0].clone()]));
    }

    #[test]
    fn what_the_caller_may_not_see_is_told_as_such() {
        let details = ProcessDetails {
            process: "web".to_owned(),
            command: None,
            working_directory: None,
            stdout: None,
            stderr: None,
            outputs: Vec::new(),
            uid: None,
            gid: None,
            groups: None,
            umask: 0o22,
            limits: BTreeMap::new(),
        };
        let whole = ProcessDetails {
            command: Some(vec!["/bin/a b".to_owned(), "\u{1b}[2J".to_owned()]),
            stdout: Some("/l/web.log".to_owned()),
            stderr: Some("/l/web.log".to_owned()),
            outputs: vec![Channel::Stdout],
            ..details.clone()
        };
        let fact = |details: &ProcessDetails, name: &str| {
            configured(details).into_iter().find(|(what, _)| *what == name).map(|(_, fact)| fact).unwrap_or_default()
        };
        assert!(fact(&details, "command").contains("needs `config`") && fact(&details, "output").contains("`tail`"));
        assert_eq!(fact(&whole, "command"), "'/bin/a b' '\\x1b[2J'");
        assert_eq!(
            (fact(&whole, "stderr"), fact(&whole, "directory")),
            ("with stdout".into(), "the supervisor's own".into())
        );
    }
}
