//! Many notices as one: what waited too long while a channel was away is told in one message.
#![forbid(unsafe_code)]

use super::entry::Entry;
use super::notice::{End, ITEMS_MAX, Item, Notice, Purpose};

/// One entry that tells what all these tell, oldest first. None of them was ever tried, so nobody can
/// have them under their own ids. `None` if there is nothing to merge.
pub fn merge(entries: Vec<Entry>) -> Option<Entry> {
    let mut entries = entries.into_iter();
    let mut digest = entries.next()?;
    let mut merged = std::mem::take(&mut digest.merged);
    merged.push(digest.notice.id.clone());
    let notice = &mut digest.notice;
    notice.id.push_str("-d");
    let mut purposes = vec![notice.purpose];
    for entry in entries {
        purposes.push(entry.notice.purpose);
        merged.extend(entry.merged);
        merged.push(entry.notice.id.clone());
        add(notice, entry.notice);
    }
    notice.items.sort_by_key(|item| item.severity);
    if notice.items.len() > ITEMS_MAX {
        notice.more_items += (notice.items.len() - ITEMS_MAX) as u64;
        notice.items.truncate(ITEMS_MAX);
    }
    notice.purpose = purpose(&purposes, &notice.items);
    digest.merged = merged;
    digest.shrink();
    Some(digest)
}

fn add(notice: &mut Notice, later: Notice) {
    notice.severity = notice.severity.min(later.severity);
    notice.more_items += later.more_items;
    notice.dropped += later.dropped;
    if notice.root != later.root {
        notice.root = None;
    }
    for item in later.items {
        match notice.items.iter_mut().find(|known| known.incident == item.incident) {
            Some(known) => go_on(known, item),
            None => notice.items.push(item),
        }
    }
}

/// The same incident, as it was told later: the counts add up, the worse event stays.
fn go_on(known: &mut Item, later: Item) {
    if later.severity <= known.severity && later.new > 0 {
        known.event = later.event;
        known.severity = later.severity;
    }
    known.last_at = later.last_at;
    known.count = later.count.max(known.count);
    known.new += later.new;
    known.processes = later.processes;
    known.state = later.state.or(known.state);
    known.output = later.output.or(known.output.take());
    known.is_flapping = later.is_flapping;
    known.flaps = later.flaps;
    known.goes_on &= later.goes_on;
    known.first_severity = known.first_severity.or(later.first_severity);
    known.ended = later.ended;
}

fn purpose(purposes: &[Purpose], items: &[Item]) -> Purpose {
    let has_ended = |item: &Item| item.ended.as_ref().is_some_and(|ended| ended.how != End::Momentary);
    match purposes {
        [first, others @ ..] if others.iter().all(|other| other == first) => *first,
        _ if items.iter().all(has_ended) => Purpose::Recovery,
        _ => Purpose::Problem,
    }
}
