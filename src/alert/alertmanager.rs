//! The body of a webhook to Prometheus Alertmanager (`POST /api/v2/alerts`): one alert for each item.
//!
//! Alertmanager knows an alert by its labels, so they are what stays the same while an incident lasts:
//! host, program, group, and how severe it is. What may change from one message to the next stands in the
//! annotations, the kind of a program's event too, or an alert that began as a crash could not be
//! resolved as a failed start. When the severity rises, an alert with the higher one joins those before, and
//! all of them end together: that something became worse is never told as the end of something.
//!
//! `endsAt` stands only in an incident's end. An occurrence has none: Alertmanager would not tell an alert
//! that is over when it arrives.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::Serialize;

use super::notice::{Item, Notice, Purpose};
use super::output::Showing;
use super::payload::{summary, written};
use super::words::{self, value};
use crate::model::event::Severity;
use crate::model::time::{human, rfc3339_millis};

/// So many lines of output stand in a description, in pieces of so many bytes.
const OUTPUT_MAX: usize = 10;
const WIDTH: usize = 400;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
}

/// A JSON array.
///
/// # Errors
/// When it cannot be written as JSON, which no notice does.
pub fn json(notice: &Notice, showing: &Showing) -> Result<String, String> {
    let of = |item| severities(item).map(|severity| alert(notice, item, severity, showing)).collect::<Vec<_>>();
    let mut alerts: Vec<Alert> = notice.items.iter().flat_map(of).collect();
    if notice.purpose == Purpose::Test {
        alerts = vec![test(notice)];
    }
    written(&alerts)
}

fn test(notice: &Notice) -> Alert {
    let labels = [
        ("alertname", "TaskmasterTest".to_owned()),
        ("host", value(&notice.host)),
        ("severity", word(notice.severity).to_owned()),
    ];
    let annotations = [("summary", words::subject(notice))];
    Alert {
        labels: BTreeMap::from(labels),
        annotations: BTreeMap::from(annotations),
        starts_at: rfc3339_millis(notice.made_at),
        ends_at: None,
    }
}

/// From the one that was told first to the one that it has now.
fn severities(item: &Item) -> impl Iterator<Item = Severity> {
    let (worst, first) = (item.severity, item.first_severity.unwrap_or(item.severity));
    let all = [Severity::Info, Severity::Notice, Severity::Warning, Severity::Err, Severity::Crit];
    all.into_iter().filter(move |severity| (worst..=first.max(worst)).contains(severity))
}

fn alert(notice: &Notice, item: &Item, severity: Severity, showing: &Showing) -> Alert {
    let kind = item.event.kind.name();
    let labels = [
        ("alertname", Some(if item.program.is_some() { "TaskmasterProgram".to_owned() } else { camel(kind) })),
        ("program", item.program.as_ref().map(ToString::to_string)),
        ("group", item.group_name.as_deref().map(value)),
        ("host", Some(value(&notice.host))),
        ("severity", Some(word(severity).to_owned())),
        ("kind", item.program.is_none().then(|| kind.to_owned())),
    ];
    let annotations = [
        ("summary", Some(summary(notice, item))),
        ("description", Some(description(item, showing))),
        ("kind", Some(kind.to_owned())),
        ("incident", Some(value(&item.incident))),
        ("notice", Some(value(&notice.id))),
    ];
    // Without an earlier start Alertmanager refuses the end.
    let ended = item.ended.as_ref().filter(|_| words::finished(item).is_some());
    let ended = ended.map(|ended| rfc3339_millis(ended.at.max(item.started_at)));
    Alert {
        labels: present(labels),
        annotations: present(annotations),
        starts_at: rfc3339_millis(item.started_at),
        ends_at: ended,
    }
}

/// Those with a value: an empty label is none for Alertmanager.
fn present<const N: usize>(pairs: [(&'static str, Option<String>); N]) -> BTreeMap<&'static str, String> {
    pairs.into_iter().filter_map(|(name, text)| Some((name, text.filter(|text| !text.is_empty())?))).collect()
}

/// The words that Alertmanager's users route by.
fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Crit => "critical",
        Severity::Err => "error",
        Severity::Warning => "warning",
        Severity::Notice => "notice",
        Severity::Info => "info",
    }
}

/// `config.rejected` as `TaskmasterConfigRejected`.
fn camel(kind: &str) -> String {
    let capital = |word: &str| {
        let mut chars = word.chars();
        chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect::<String>()
    };
    std::iter::once("taskmaster").chain(kind.split(['.', '_'])).map(capital).collect()
}

fn description(item: &Item, showing: &Showing) -> String {
    let mut lines = vec![words::times(item)];
    lines.extend(words::cause(&item.event).map(|cause| format!("Last: {cause}")));
    lines.extend(words::next(item).map(|next| format!("Now: {next}")));
    lines.extend(words::finished(item).map(|how| format!("It {how} after {}", human(words::length(item)))));
    lines.extend(item.program.as_ref().map(|program| format!("See: taskmasterctl status {program}")));
    if let Some(output) = &item.output {
        let shown = showing.safe(output, WIDTH);
        lines.extend(shown[shown.len().saturating_sub(OUTPUT_MAX)..].iter().map(|line| format!("| {line}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::alert::notice::{End, Ended};
    use crate::alert::samples::{at, crash, event, notice, recovered};
    use crate::model::event::{Facts, Kind};

    fn alerts(notice: &Notice) -> Value {
        serde_json::from_str(&super::json(notice, &Showing::new(20, &[])).expect("JSON")).expect("reads back")
    }

    #[test]
    fn an_alert_keeps_its_labels_from_the_first_crash_to_the_end() {
        let firing = &alerts(&notice(Purpose::Problem, vec![crash("web")]))[0];
        let labels = json!({"alertname": "TaskmasterProgram", "program": "web", "host": "h1", "severity": "error"});
        assert_eq!(firing["labels"], labels);
        assert_eq!(firing["startsAt"], "2026-11-20T08:12:03.123Z");
        assert_eq!(firing["endsAt"], Value::Null);
        assert_eq!(firing["annotations"]["summary"], "web crashed on h1: signal SEGV (core dumped)");
        assert_eq!(firing["annotations"]["kind"], "process.crashed");
        let description = firing["annotations"]["description"].as_str().expect("text");
        assert!(description.ends_with("| one\n| two\\x1b[2J"), "{description}");
        let mut over = recovered("web");
        over.event.kind = Kind::ProcessStartFailed;
        let over = &alerts(&notice(Purpose::Recovery, vec![over]))[0];
        assert_eq!(over["labels"], labels);
        assert_eq!(over["endsAt"], "2026-11-20T08:24:03.123Z");
    }

    #[test]
    fn what_becomes_worse_keeps_the_alert_it_has_until_both_end() {
        let severities = |item: Item| {
            let alerts = alerts(&notice(Purpose::Problem, vec![item]));
            let of = |alert: &Value| (alert["labels"]["severity"].clone(), alert["endsAt"].is_null());
            alerts.as_array().expect("alerts").iter().map(of).collect::<Vec<_>>()
        };
        let risen = |item: Item| Item { severity: Severity::Crit, first_severity: Some(Severity::Err), ..item };
        assert_eq!(severities(risen(crash("web"))), [(json!("error"), true), (json!("critical"), true)]);
        assert_eq!(severities(risen(recovered("web"))), [(json!("error"), false), (json!("critical"), false)]);
        assert_eq!(severities(Item { severity: Severity::Crit, ..crash("web") }), [(json!("critical"), true)]);
    }

    #[test]
    fn an_end_is_never_before_its_start() {
        let ended = Some(Ended { at: at(-60), how: End::Stopped });
        let over = &alerts(&notice(Purpose::Recovery, vec![Item { ended, ..crash("web") }]))[0];
        assert_eq!(over["endsAt"], over["startsAt"]);
    }

    #[test]
    fn an_occurrence_has_a_name_of_its_own_and_no_end() {
        let event = event(Kind::ConfigRejected, Facts::message("line 3"));
        let ended = Some(Ended { at: at(0), how: End::Momentary });
        let item = Item { program: None, output: None, event, ended, ..crash("web") };
        let told = &alerts(&notice(Purpose::Occurrence, vec![item]))[0];
        assert_eq!(told["labels"]["alertname"], "TaskmasterConfigRejected");
        assert_eq!(told["labels"]["kind"], "config.rejected");
        assert_eq!(told["endsAt"], Value::Null);
    }

    #[test]
    fn a_test_is_an_alert_that_can_be_seen() {
        let told = alerts(&notice(Purpose::Test, Vec::new()));
        assert_eq!(told[0]["labels"]["alertname"], "TaskmasterTest");
    }
}
