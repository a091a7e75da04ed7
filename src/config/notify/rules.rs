//! `[[notify.rules]]`: which events go where.
#![forbid(unsafe_code)]

use glob::Pattern;

use super::super::check;
use super::super::fault::{self, Place, Sink};
use super::super::table::{Given, Item, Table, shown};
use super::super::{values, words};
use super::address::LIST_MAX;
use super::alert_to::unknown;
use crate::model::event::{Kind, Severity};
use crate::model::id::ChannelName;
use crate::model::notify::{Notify, Rule};

const RULES_MAX: usize = 200;
/// What email gets when there are no rules.
const USUAL: [Kind; 3] = [Kind::ProcessCrashed, Kind::ProcessFatal, Kind::ProcessKilled];
const SYSLOG: &str = "syslog";

/// A rule with the places that a check may point at.
#[derive(Clone)]
pub struct Placed<'a> {
    pub rule: Rule,
    programs: Option<Place<'a>>,
    on: Option<Place<'a>>,
    to: Option<Place<'a>>,
}

/// Without rules, bad ends are mailed as soon as there is a `[notify.email]`.
pub fn usual<'a>(known: &[&str]) -> Vec<Placed<'a>> {
    if !known.contains(&"email") {
        return Vec::new();
    }
    let rule = Rule {
        on: USUAL.map(|kind| kind.name().to_owned()).to_vec(),
        to: vec![ChannelName("email".to_owned())],
        ..Rule::default()
    };
    vec![Placed { rule, programs: None, on: None, to: None }]
}

/// Every rule; `None` if one of them is faulty.
pub fn read<'a>(item: Item<'a>, known: &[&str]) -> Option<Vec<Placed<'a>>> {
    match item.list() {
        Some(items) if items.len() > RULES_MAX => item.refuse(format!("there are more than {RULES_MAX} rules")),
        Some(items) => values::all(items, |item| {
            let mut table = item.table("in [[notify.rules]]")?;
            let rule = rule(&mut table, known);
            table.finish();
            rule
        }),
        None if item.value.is_table() => item.refuse_with("`rules` is a list of tables", "write [[notify.rules]]"),
        None => item.expected("a list of tables"),
    }
}

pub fn rule<'a>(table: &mut Table<'a>, known: &[&str]) -> Option<Placed<'a>> {
    let on = table.take("on", kinds);
    let not_on = table.take("not_on", kinds);
    let programs = table.take("programs", programs);
    let severity = table.take("severity", super::severity);
    let to = table.take("to", |item| channels(item, known));
    if on.is_absent() && not_on.is_absent() {
        table.lacks("this rule does not say on which events", "add: on = [\"process.crashed\", \"process.fatal\"]");
    }
    if to.is_absent() && severity.is_absent() {
        table.lacks("this rule does not say whom it tells", "add: to = [\"email\"]");
    }
    if [&on, &not_on].iter().any(|given| matches!(given, Given::Faulty))
        || matches!(programs, Given::Faulty)
        || matches!(severity, Given::Faulty)
        || matches!(to, Given::Faulty)
    {
        return None;
    }
    let every = if on.is_absent() && !not_on.is_absent() { vec!["*".to_owned()] } else { Vec::new() };
    let rule = Rule {
        on: on.or_default(every),
        not_on: not_on.or_default(Vec::new()),
        programs: programs.or_default(Vec::new()),
        severity: severity.value().copied(),
        to: to.or_default(Vec::new()),
    };
    Some(Placed { rule, programs: programs.place(), on: on.place().or(not_on.place()), to: to.place() })
}

/// Kinds of events, or globs over them that match some.
fn kinds(item: Item<'_>) -> Option<Vec<String>> {
    let items = item.list().unwrap_or_else(|| vec![item]);
    if items.is_empty() {
        return item.refuse_with(format!("{} is empty", shown(item.key)), "write [\"process.crashed\"]");
    }
    if items.len() > LIST_MAX {
        return item.refuse(format!("{} has at most {LIST_MAX} kinds", shown(item.key)));
    }
    values::all(items, kind)
}

fn kind(item: Item<'_>) -> Option<String> {
    let text = values::text(item)?;
    let names = || Kind::ALL.iter().map(|kind| kind.name());
    if text.contains(['*', '?', '[']) {
        return match Pattern::new(&text) {
            Ok(pattern) if names().any(|name| pattern.matches(name)) => Some(text),
            Ok(_) => item.refuse_with(format!("no kind of event is like {}", shown(&text)), "write \"process.*\""),
            Err(error) => item.refuse(format!("{}: {}", shown(&text), error.msg)),
        };
    }
    if names().any(|name| name == text) {
        return Some(text);
    }
    let last = |name: &'static str| name.split_once('.').map_or(name, |(_, last)| last);
    let meant = names()
        .find(|name| last(name) == text)
        .or_else(|| words::meant(&text, names()))
        .or_else(|| words::meant(&text, names().map(last)).and_then(|meant| names().find(|name| last(name) == meant)));
    let help = match meant {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
    };
    item.refuse_with(format!("{} is no kind of event", shown(&text)), help)
}

/// Globs over the names of programs; `*` is all of them, and what is about none.
fn programs(item: Item<'_>) -> Option<Vec<String>> {
    let items = item.list().unwrap_or_else(|| vec![item]);
    if items.is_empty() {
        return item.refuse_with("`programs` is empty: no program is meant", "leave it out for all");
    }
    if items.len() > 10 * LIST_MAX {
        return item.refuse(format!("`programs` has at most {} patterns", 10 * LIST_MAX));
    }
    let patterns = values::all(items, super::super::allow::pattern)?;
    let patterns: Vec<String> = patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
    Some(if patterns.iter().any(|pattern| pattern == "*") { Vec::new() } else { patterns })
}

fn channels(item: Item<'_>, known: &[&str]) -> Option<Vec<ChannelName>> {
    let items = item.list().unwrap_or_else(|| vec![item]);
    if items.is_empty() {
        return item.refuse_with("`to` is empty: nobody would be told", "write [\"email\"]");
    }
    if items.len() > LIST_MAX {
        return item.refuse(format!("`to` has at most {LIST_MAX} channels"));
    }
    let names = values::all(items, |item| {
        let text = values::text(item)?;
        if known.contains(&&*text) {
            return Some(ChannelName(text));
        }
        let (message, help) = unknown(&text, known);
        item.refuse_with(message, help)
    })?;
    Some(values::distinct(&names))
}

impl Placed<'_> {
    /// Tells of a rule that can never match, or never does what it says.
    pub fn judge(&self, programs: &[check::Placed<'_>], notify: &Notify, sink: &Sink) {
        let warn = |place: Option<Place<'_>>, message: &str, help: &str| {
            if let Some(place) = place {
                let help = (!help.is_empty()).then(|| help.to_owned());
                sink.report(place, fault::Kind::Warning, message, help);
            }
        };
        let rule = &self.rule;
        let matched: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| rule_matches(rule, *kind)).collect();
        if matched.is_empty() {
            return warn(self.on, "this rule never matches: `not_on` takes away all that `on` names", "");
        }
        let is_of_programs = |kind: &Kind| kind.name().starts_with("process.");
        if !rule.programs.is_empty() && !matched.iter().any(is_of_programs) {
            warn(self.programs, "this rule never matches: these events are about no program", "leave `programs` out");
        }
        for text in &rule.programs {
            let Ok(pattern) = Pattern::new(text) else { continue };
            if !programs.iter().any(|placed| pattern.matches(placed.program.name.as_str())) {
                let place = self.programs.map(|place| place.narrowed(text));
                warn(place, &format!("no program's name is like {}", shown(text)), "");
            }
        }
        if rule.severity.is_none() && !rule.to.is_empty() && rule.to.iter().all(|name| name.0 == SYSLOG) {
            warn(self.to, "syslog gets every event, whatever the rules are", "");
        }
        if notify.rules.iter().any(|rule| rule.severity.is_some()) {
            return;
        }
        let worst = matched.iter().map(|kind| kind.severity()).min().unwrap_or(Severity::Info);
        for channel in notify.channels.iter().filter(|channel| rule.to.contains(&channel.name)) {
            if worst > channel.min_severity {
                let name = &channel.name;
                let place = self.to.map(|place| place.narrowed(&name.0));
                let message = format!("{} is told nothing by this: its `min_severity` is higher", shown(&name.0));
                warn(place, &message, "");
            }
        }
    }
}

fn rule_matches(rule: &Rule, kind: Kind) -> bool {
    let among =
        |list: &[String]| list.iter().any(|text| Pattern::new(text).is_ok_and(|pattern| pattern.matches(kind.name())));
    among(&rule.on) && !among(&rule.not_on)
}
