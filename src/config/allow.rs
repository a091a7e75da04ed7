//! `[[control.allow]]`: who besides root and the supervisor's own user may do what with which programs.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use glob::Pattern;
use toml::de::DeValue;

use super::fault::{Kind, Sink};
use super::table::{Given, Item, Table, shown};
use super::{SOCKET_MODE, values, words};
use crate::model::authority::{Allow, EVERY_PROGRAM, Verb};
use crate::model::id::Account;

/// Every rule; `None` if one of them is faulty, so that none is in force without the others.
pub fn rules(item: Item<'_>) -> Option<Vec<Allow>> {
    match item.list() {
        Some(items) => values::all(items, rule),
        None if item.value.is_table() => item.refuse_with("`allow` is a list of tables", "write [[control.allow]]"),
        None => item.expected("a list of tables"),
    }
}

fn rule(item: Item<'_>) -> Option<Allow> {
    let mut table = item.table("in [[control.allow]]")?;
    let rule = read(&mut table);
    table.finish();
    rule
}

pub fn read(table: &mut Table<'_>) -> Option<Allow> {
    let users = table.take("users", values::accounts);
    let groups = table.take("groups", values::accounts);
    let programs = table.take("programs", programs);
    let verbs = table.take("verbs", verbs);
    let names_nobody = [&users, &groups].iter().all(|given| match given {
        Given::Absent => true,
        Given::Faulty => false,
        Given::Value(accounts, _) => accounts.is_empty(),
    });
    if names_nobody {
        table.lacks("this [[control.allow]] says nobody it is for", "add: users = [\"NAME\"] or groups = [\"NAME\"]");
    }
    if verbs.is_absent() {
        table.lacks("this [[control.allow]] has no `verbs`", "add: verbs = [\"status\", \"restart\"]");
    }
    warn_of_no_effect(table, &programs, &verbs);
    let is_faulty = matches!(users, Given::Faulty) || matches!(groups, Given::Faulty);
    let programs = match programs {
        Given::Absent => vec![Pattern::new(EVERY_PROGRAM).ok()?],
        Given::Faulty => Vec::new(),
        Given::Value(patterns, _) => patterns,
    };
    let rule = Allow {
        users: users.or_default(Vec::new()),
        groups: groups.or_default(Vec::new()),
        programs,
        verbs: verbs.or_default(BTreeSet::new()),
    };
    let is_whole = !is_faulty && !names_nobody && !rule.programs.is_empty() && !rule.verbs.is_empty();
    is_whole.then_some(rule)
}

/// What stands in a rule and allows nothing.
fn warn_of_no_effect(table: &Table<'_>, programs: &Given<'_, Vec<Pattern>>, verbs: &Given<'_, BTreeSet<Verb>>) {
    let Given::Value(verbs, place) = verbs else { return };
    let warn = |verb: Verb, message: &str, help: &str| {
        let place = place.narrowed(verb.name());
        table.context.sink.report(place, Kind::Warning, message, Some(help.to_owned()));
    };
    let only_some = programs.value().is_some_and(|list| list.iter().all(|pattern| pattern.as_str() != EVERY_PROGRAM));
    for verb in verbs.iter().copied() {
        if only_some && !verb.is_of_programs() && verb != Verb::Version {
            let message = format!("`{verb}` concerns all programs, and this rule is for some");
            warn(verb, &message, "it allows nothing here: give it a rule with programs = [\"*\"]");
        }
    }
}

fn verbs(item: Item<'_>) -> Option<BTreeSet<Verb>> {
    match item.list() {
        Some(items) if items.is_empty() => item.refuse_with("`verbs` is empty: this allows nothing", known_verbs()),
        Some(items) => Some(values::all(items, verb)?.into_iter().collect()),
        None => item.expected("a list of verbs"),
    }
}

fn known_verbs() -> String {
    let names: Vec<&str> = Verb::ALL.iter().map(|verb| verb.name()).collect();
    format!("there are {}", names.join(", "))
}

fn verb(item: Item<'_>) -> Option<Verb> {
    let DeValue::String(text) = item.value else { return item.expected("a list of verbs") };
    if let Some(verb) = Verb::ALL.iter().find(|verb| verb.name() == text) {
        return Some(*verb);
    }
    let help = match words::meant(text, Verb::ALL.iter().map(|verb| verb.name())) {
        _ if text == "events" => "events go with \"status\"".to_owned(),
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => known_verbs(),
    };
    item.refuse_with(format!("{} is not a verb", shown(text)), help)
}

fn programs(item: Item<'_>) -> Option<Vec<Pattern>> {
    match item.list() {
        Some(items) if items.is_empty() => {
            item.refuse_with("`programs` is empty: this allows nothing", "write [\"*\"] for all, or leave it out")
        }
        Some(items) => values::all(items, pattern),
        None => item.expected("a list of programs"),
    }
}

/// A glob over the names of programs. What can match none is refused: it would be silently without effect.
pub fn pattern(item: Item<'_>) -> Option<Pattern> {
    let text = values::text(item)?;
    if text == "all" {
        return item.refuse_with("`all` is no program's name", "write \"*\"");
    }
    if let Some((program, _)) = text.split_once(':') {
        return item.refuse_with(
            format!("{} names a process: rules are about programs", shown(&text)),
            format!("write \"{program}\""),
        );
    }
    // The syntax of globs, and what a name can have.
    let fits = |c: char| c.is_alphanumeric() || "_-.*?[]!".contains(c);
    if text.is_empty() || !text.chars().all(fits) {
        return item.refuse(format!("no program's name is like {}", shown(&text)));
    }
    Pattern::new(&text).map_err(|error| item.refuse::<()>(format!("{}: {}", shown(&text), error.msg))).ok()
}

/// Tells of a socket that more can use than rules say anything about, and the other way round.
pub fn judge_access(mode: &Given<'_, u32>, group: &Given<'_, Account>, allow: &Given<'_, Vec<Allow>>, sink: &Sink) {
    let is_open = mode.or_default(SOCKET_MODE) & 0o002 != 0;
    let is_for_group = mode.or_default(SOCKET_MODE) & 0o020 != 0;
    let no_rule = "and may do nothing there: there is no [[control.allow]]";
    if let Some(place) = mode.place().filter(|_| is_open) {
        let help = if allow.is_absent() { no_rule } else { "what they may do there is what [[control.allow]] says" };
        let message = "every user of this machine can connect to the socket";
        sink.report(place, Kind::Warning, message, Some(help.to_owned()));
    } else if let Some(place) = group.place().filter(|_| is_for_group && allow.is_absent()) {
        sink.report(place, Kind::Warning, "this group can connect to the socket", Some(no_rule.to_owned()));
    }
    let is_reached_by_others = is_open || matches!(mode, Given::Faulty) || is_for_group && !group.is_absent();
    if let Some(place) = allow.place().filter(|_| !is_reached_by_others) {
        let help = "give [control] a `group`, or mode = \"0666\"";
        let message = "whom this is for cannot connect to the socket, unless they are in the supervisor's own group";
        sink.report(place, Kind::Warning, message, Some(help.to_owned()));
    }
}
