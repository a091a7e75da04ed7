//! One event as one line of the event log.
#![forbid(unsafe_code)]

use std::fmt::{Display, Write};
use std::time::Duration;

use crate::model::event::Event;
use crate::model::text::log_value;
use crate::model::time::{human, rfc3339_millis};

/// One JSON object, without a line end.
pub fn json(event: &Event) -> String {
    serde_json::to_string(event).unwrap_or_default()
}

/// `2026-11-20T08:12:03.123Z ERROR process.crashed web:0 pid=123 …`, without a line end.
pub fn text(event: &Event) -> String {
    let facts = &event.facts;
    let mut line = format!("{} {} {}", rfc3339_millis(event.time), event.severity.word(), event.kind);
    if let Some(process) = &facts.process {
        let _ = write!(line, " {}", log_value(process));
    }
    let mut add = |name: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            let _ = write!(line, " {name}={}", log_value(&value.to_string()));
        }
    };
    let uptime = facts.uptime_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).map(human);
    let core = facts.core_dumped.map(|dumped| if dumped { "yes" } else { "no" });
    fn show<T: Display>(value: &Option<T>) -> Option<&dyn Display> {
        value.as_ref().map(|value| value as &dyn Display)
    }
    add("pid", show(&facts.pid));
    add("user", show(&facts.user));
    add("from", show(&facts.from));
    add("to", show(&facts.to));
    add("code", show(&facts.code));
    add("signal", show(&facts.signal));
    add("core", show(&core));
    add("uptime", show(&uptime));
    add("restarts", show(&facts.restarts));
    add("try", show(&facts.attempt));
    add("tries_max", show(&facts.tries_max));
    add("stage", show(&facts.stage));
    add("errno", show(&facts.errno));
    add("message", show(&facts.message));
    line
}
