//! Values that confine a program: capabilities, processors, the priority of disk access, the files it has.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::expand::{self, Names};
use super::table::{Given, Item, shown};
use super::values::{self, all, text};
use super::words;
use crate::model::capability::CapabilitySet;
use crate::model::program::{IoPriority, ListedPath, OnUnsupported, PROCESSORS_MAX, RestrictPaths};

/// A list of capabilities by name.
pub fn capabilities(item: Item<'_>) -> Option<CapabilitySet> {
    let Some(items) = item.list() else { return item.expected("a list of capabilities") };
    let mut set = CapabilitySet::EMPTY;
    all(items, |item| {
        let name = text(item)?;
        if set.insert(&name) {
            return Some(());
        }
        let names = CapabilitySet::names();
        let message = format!("{} is not a capability", shown(&name));
        match words::meant(&name, names.iter().map(String::as_str)) {
            Some(meant) => item.refuse_with(message, format!("did you mean \"{meant}\"?")),
            None => item.refuse_with(message, "write it as \"CAP_NET_BIND_SERVICE\""),
        }
    })?;
    Some(set)
}

/// Numbers of processors, or a text with ranges as `"0-3,6"`.
pub fn processors(item: Item<'_>) -> Option<BTreeSet<u16>> {
    let last = i64::from(PROCESSORS_MAX) - 1;
    let processors: BTreeSet<u16> = match item.list() {
        Some(items) => all(items, |item| values::integer(item, 0..=last))?.into_iter().collect(),
        None => {
            let written = text(item)?;
            let Some(ranges) = written.split(',').map(range).collect::<Option<Vec<_>>>() else {
                return item.refuse_with(
                    format!("{} is no list of processors", shown(&written)),
                    format!("write [0, 1] or \"0-3,6\", from 0 to {last}"),
                );
            };
            ranges.into_iter().flatten().collect()
        }
    };
    if processors.is_empty() {
        return item.refuse("`cpu_affinity` names at least one processor");
    }
    Some(processors)
}

fn range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|number| *number < PROCESSORS_MAX);
    match text.split_once('-') {
        Some((first, last)) => Some(number(first)?..=number(last)?).filter(|range| !range.is_empty()),
        None => number(text).map(|one| one..=one),
    }
}

/// `"idle"`, `"best-effort:4"`, `"realtime:0"`.
pub fn io_priority(item: Item<'_>) -> Option<IoPriority> {
    let written = text(item)?;
    let level = |text: &str| text.parse::<u8>().ok().filter(|level| *level <= 7);
    let priority = match written.split_once(':') {
        None if written == "idle" => Some(IoPriority::Idle),
        None if written == "best-effort" => Some(IoPriority::BestEffort(4)),
        Some(("best-effort", text)) => level(text).map(IoPriority::BestEffort),
        Some(("realtime", text)) => level(text).map(IoPriority::Realtime),
        None | Some(_) => None,
    };
    let help = "write \"idle\", \"best-effort:0\" to \"best-effort:7\" or \"realtime:0\" to \"realtime:7\"";
    priority.or_else(|| item.refuse_with(format!("{} is no priority of disk access", shown(&written)), help))
}

/// `restrict_paths` as it is written: names in its paths are filled in for each program.
#[derive(Clone)]
pub struct Restriction {
    read: Paths,
    write: Paths,
    execute: Paths,
    on_unsupported: OnUnsupported,
}

/// Each path, and whether it may be missing.
type Paths = Vec<(String, bool)>;

impl Restriction {
    pub fn resolve(&self, names: &Names<'_>) -> RestrictPaths {
        let all = |paths: &Paths| {
            let listed =
                |(raw, optional): &(String, bool)| ListedPath { path: names.template(raw), optional: *optional };
            paths.iter().map(listed).collect()
        };
        let Self { read, write, execute, on_unsupported } = self;
        RestrictPaths { read: all(read), write: all(write), execute: all(execute), on_unsupported: *on_unsupported }
    }
}

pub fn restriction(item: Item<'_>) -> Option<Restriction> {
    let mut table = item.table("in `restrict_paths`")?;
    let (read, write) = (table.take("read", paths), table.take("write", paths));
    let execute = table.take("execute", paths);
    let on_unsupported = table.take("on_unsupported", |item| {
        values::word(item, &[("refuse", OnUnsupported::Refuse), ("best-effort", OnUnsupported::BestEffort)])
    });
    if execute.is_absent() || execute.value().is_some_and(Vec::is_empty) {
        let help = "write { execute = [\"/usr\"], read = [\"/etc\"], write = [\"/var/lib/web\"] }";
        table.lacks("`restrict_paths` without an `execute` path lets nothing be executed", help);
        return None;
    }
    table.finish();
    let faulty = |given: &Given<'_, Paths>| matches!(given, Given::Faulty);
    if faulty(&read) || faulty(&write) {
        return None;
    }
    Some(Restriction {
        read: read.or_default(Vec::new()),
        write: write.or_default(Vec::new()),
        execute: execute.value()?.clone(),
        on_unsupported: on_unsupported.or_default(OnUnsupported::Refuse),
    })
}

fn paths(item: Item<'_>) -> Option<Paths> {
    let Some(items) = item.list() else { return item.expected("a list of absolute paths") };
    all(items, expand::optional_path)
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_value as read;
    use super::*;

    #[test]
    fn processors_are_numbers_or_ranges() {
        assert_eq!(read("[0, 2]", processors), Ok(BTreeSet::from([0, 2])));
        assert_eq!(read("\"0-2, 5\"", processors), Ok(BTreeSet::from([0, 1, 2, 5])));
        for text in ["[]", "\"\"", "\"3-1\"", "[1024]", "[-1]", "\"a\"", "\"0-\"", "7"] {
            assert!(read(text, processors).is_err(), "{text}");
        }
    }

    #[test]
    fn priorities_of_disk_access_have_a_class_and_a_level() {
        assert_eq!(read("\"idle\"", io_priority), Ok(IoPriority::Idle));
        assert_eq!(read("\"best-effort:7\"", io_priority), Ok(IoPriority::BestEffort(7)));
        assert_eq!(read("\"realtime:0\"", io_priority), Ok(IoPriority::Realtime(0)));
        for text in ["\"realtime\"", "\"best-effort:8\"", "\"fast\"", "\"idle:1\"", "4"] {
            assert!(read(text, io_priority).is_err(), "{text}");
        }
    }

    #[test]
    fn a_capability_that_is_none_is_answered_with_the_nearest() {
        assert!(read("[\"CAP_NET_BIND_SERVICE\", \"kill\"]", capabilities).is_ok());
        assert_eq!(
            read("[\"CAP_NET_BIND_SERVCE\"]", capabilities).expect_err("typo"),
            "`CAP_NET_BIND_SERVCE` is not a capability / did you mean \"CAP_NET_BIND_SERVICE\"?"
        );
        assert!(read("\"CAP_KILL\"", capabilities).is_err());
    }
}
