//! The body of a webhook in the product's own form: JSON, version 1. The README has each field; fields may
//! be added, none changes its meaning within a version.
//!
//! The same notice gives the same bytes each time it is sent, so that a receiver may know a repetition by
//! them as well as by the id. Texts are what they are, as JSON strings: whoever shows them escapes them.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::notice::{End, Item, Notice, Purpose};
use super::output::Showing;
use super::words;
use crate::model::event::{Facts, Kind, Severity, wall_time};
use crate::model::text::json_escaped;
use crate::model::time::WallTime;

const VERSION: u32 = 1;

#[derive(Serialize)]
struct Body<'a> {
    version: u32,
    id: &'a str,
    host: &'a str,
    purpose: Purpose,
    severity: Severity,
    #[serde(with = "wall_time")]
    at: WallTime,
    summary: String,
    items: Vec<Entry<'a>>,
    more_items: u64,
    dropped: u64,
    root: Option<&'a str>,
}

#[derive(Serialize)]
struct Entry<'a> {
    incident: &'a str,
    fingerprint: String,
    program: Option<&'a str>,
    group: Option<&'a str>,
    kind: Kind,
    severity: Severity,
    status: &'static str,
    summary: String,
    #[serde(with = "wall_time")]
    started_at: WallTime,
    #[serde(with = "wall_time")]
    last_at: WallTime,
    ended_at: Option<Time>,
    end: Option<End>,
    flapping: bool,
    count: u64,
    new: u64,
    processes: &'a [String],
    state: Option<&'static str>,
    /// The rest is of the worst event, under the names of the event log, each where it applies.
    #[serde(with = "wall_time")]
    time: WallTime,
    #[serde(flatten)]
    facts: Facts,
    output: Vec<String>,
    output_cut: bool,
}

#[derive(Serialize)]
struct Time(#[serde(with = "wall_time")] WallTime);

/// One JSON object, without a line feed.
///
/// # Errors
/// When it cannot be written as JSON, which no notice does.
pub fn json(notice: &Notice, showing: &Showing) -> Result<String, String> {
    let body = Body {
        version: VERSION,
        id: &notice.id,
        host: &notice.host,
        purpose: notice.purpose,
        severity: notice.severity,
        at: notice.made_at,
        summary: words::subject(notice),
        items: notice.items.iter().map(|item| entry(notice, item, showing)).collect(),
        more_items: notice.more_items,
        dropped: notice.dropped,
        root: notice.root.as_deref(),
    };
    written(&body)
}

/// As JSON in which nothing acts on a terminal.
pub(super) fn written(body: &impl Serialize) -> Result<String, String> {
    let json = serde_json::to_string(body).map_err(|error| format!("it cannot be written as JSON: {error}"))?;
    Ok(json_escaped(&json).into_owned())
}

fn entry<'a>(notice: &Notice, item: &'a Item, showing: &Showing) -> Entry<'a> {
    let ended = item.ended.as_ref();
    Entry {
        incident: &item.incident,
        fingerprint: fingerprint(notice, item),
        program: item.program.as_ref().map(|program| program.as_str()),
        group: item.group_name.as_deref(),
        kind: item.event.kind,
        severity: item.severity,
        status: if words::finished(item).is_some() { "resolved" } else { "firing" },
        summary: summary(notice, item),
        started_at: item.started_at,
        last_at: item.last_at,
        ended_at: ended.map(|ended| Time(ended.at)),
        end: ended.map(|ended| ended.how),
        flapping: item.is_flapping,
        count: item.count,
        new: item.new,
        processes: &item.processes,
        state: item.state.map(|state| state.name()),
        time: item.event.time,
        facts: Facts { program: None, ..item.event.facts.clone() },
        output: item.output.as_ref().map(|output| showing.redacted(output)).unwrap_or_default(),
        output_cut: item.output.as_ref().is_some_and(|output| output.is_cut),
    }
}

/// The subject that a notice of just this item would have.
pub(super) fn summary(notice: &Notice, item: &Item) -> String {
    words::subject_of(notice.purpose, item, &notice.host)
}

/// What the item is about, the same for every incident of this program (or of this kind of event, where
/// there is none) on this host: 16 hexadecimal digits.
fn fingerprint(notice: &Notice, item: &Item) -> String {
    let (what, which) = match &item.program {
        Some(program) => ("program", program.as_str()),
        None => ("kind", item.event.kind.name()),
    };
    // FNV-1a of 64 bits: a name, not a protection.
    let bytes = [notice.host.as_str(), what, which].join("\0");
    let hash = bytes
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::alert::samples::{crash, notice, recovered};
    use crate::model::text::escaped;

    fn value(notice: &Notice) -> Value {
        let text = super::json(notice, &Showing::new(20, &[])).expect("JSON");
        serde_json::from_str(&text).expect("reads back")
    }

    #[test]
    fn the_body_has_every_field_that_is_promised() {
        let body = value(&notice(Purpose::Problem, vec![crash("web")]));
        assert_eq!(
            body,
            json!({
                "version": 1, "id": "20261120T081213-4f2a9c-17", "host": "h1", "purpose": "problem",
                "severity": "err", "at": "2026-11-20T08:12:13.123Z",
                "summary": "web crashed on h1: signal SEGV (core dumped)",
                "items": [{
                    "incident": "20261120T081203-4f2a9c-web", "fingerprint": body["items"][0]["fingerprint"],
                    "program": "web", "group": null, "kind": "process.crashed", "severity": "err",
                    "status": "firing", "summary": "web crashed on h1: signal SEGV (core dumped)",
                    "started_at": "2026-11-20T08:12:03.123Z", "last_at": "2026-11-20T08:12:03.123Z",
                    "ended_at": null, "end": null, "flapping": false, "count": 1, "new": 1,
                    "processes": ["web:0"], "state": "RUNNING",
                    "time": "2026-11-20T08:12:03.123Z", "process": "web:0", "pid": 123, "user": "www-data",
                    "from": "RUNNING", "to": "EXITED", "signal": "SEGV", "core_dumped": true,
                    "uptime_seconds": 3.21, "restarts": 1,
                    "output": ["one", "two\u{1b}[2J"], "output_cut": true
                }],
                "more_items": 0, "dropped": 0, "root": null
            })
        );
        let page = include_str!("../../etc/webhooks.md");
        let is_told = |key: &&String| page.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == *key);
        for object in [&body, &body["items"][0]] {
            let keys: Vec<&String> = object.as_object().expect("an object").keys().collect();
            let untold: Vec<_> = keys.iter().filter(|key| !is_told(key)).collect();
            assert!(untold.is_empty(), "not in etc/webhooks.md: {untold:?}");
        }
    }

    #[test]
    fn a_fingerprint_is_of_program_and_host_and_stays_over_incidents() {
        let of = |item: Item, host: &str| {
            let mut notice = notice(Purpose::Problem, vec![item]);
            notice.host = host.to_owned();
            value(&notice)["items"][0]["fingerprint"].as_str().expect("text").to_owned()
        };
        let first = of(crash("web"), "h1");
        assert_eq!(first.len(), 16);
        assert_eq!(of(Item { incident: "other".to_owned(), ..recovered("web") }, "h1"), first);
        assert_ne!(of(crash("db"), "h1"), first);
        assert_ne!(of(crash("web"), "h2"), first);
    }

    #[test]
    fn an_ended_incident_is_resolved() {
        let body = value(&notice(Purpose::Recovery, vec![recovered("web")]));
        let item = &body["items"][0];
        assert_eq!((&item["status"], &item["end"]), (&json!("resolved"), &json!("recovered")));
        assert_eq!(item["ended_at"], "2026-11-20T08:24:03.123Z");
    }

    proptest! {
        #[test]
        fn it_is_one_line_of_json_whatever_the_texts_hold(host in any::<String>(), process in any::<String>()) {
            let mut item = crash("web");
            item.event.facts.process = Some(process.clone());
            let mut notice = notice(Purpose::Problem, vec![item]);
            notice.host = host.clone();
            let text = super::json(&notice, &Showing::nothing()).expect("JSON");
            prop_assert_eq!(escaped(&text), text.as_str());
            let read: Value = serde_json::from_str(&text).expect("reads back");
            prop_assert_eq!(&read["host"], &json!(host));
            prop_assert_eq!(&read["items"][0]["process"], &json!(process));
        }
    }
}
