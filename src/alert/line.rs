//! One event as one line: the two formats of the event log, which `taskmasterctl events` prints as well.
//!
//! Scripts read these lines, so names and order are fixed, and nothing in an event, whoever wrote it, can
//! begin a second line or act on a terminal.
#![forbid(unsafe_code)]

use std::fmt::Write;

use crate::model::event::Event;
use crate::model::text::{escaped, json_escaped, log_value};
use crate::model::time::rfc3339_millis;

/// `2026-11-20T08:12:03.123Z ERROR process.crashed web:0 pid=123 … `, without a line feed.
pub fn text(event: &Event) -> String {
    format!("{} {} {}", rfc3339_millis(event.time), event.severity.word(), bare(event))
}

/// The same without time and severity, for logs that have these in places of their own.
pub fn bare(event: &Event) -> String {
    let facts = &event.facts;
    let subject = facts.process.as_deref().or_else(|| facts.program.as_ref().map(|name| name.as_str()));
    let mut line = format!("{} {}", event.kind, subject.map_or("-".into(), log_value));
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(line, " {key}={}", log_value(&value));
        }
    };
    add("pid", facts.pid.map(|pid| pid.to_string()));
    add("user", facts.user.clone());
    add("from", facts.from.map(|state| state.to_string()));
    add("to", facts.to.map(|state| state.to_string()));
    add("code", facts.code.map(|code| code.to_string()));
    add("signal", facts.signal.map(|signal| signal.to_string()));
    add("core", facts.core_dumped.filter(|dumped| *dumped).map(|_| "yes".to_owned()));
    add("uptime", facts.uptime_seconds.map(|seconds| format!("{seconds:.1}s")));
    add("restarts", facts.restarts.map(|count| count.to_string()));
    add("try", facts.attempt.map(|attempt| attempt.to_string()));
    add("tries_max", facts.tries_max.map(|tries| tries.to_string()));
    add("stage", facts.stage.map(|stage| stage.to_string()));
    add("errno", facts.errno.map(|errno| errno.to_string()));
    add("channel", facts.channel.as_ref().map(ToString::to_string));
    add("message", facts.message.clone());
    line
}

/// The same in few words, for a person who watches: `flaky crashed: SIGSEGV after 7.0s, pid 123`.
pub fn brief(event: &Event) -> String {
    let facts = &event.facts;
    let what = event.kind.name();
    let (family, verb) = what.split_once('.').unwrap_or(("", what));
    let subject = match (&facts.process, &facts.program) {
        (Some(process), _) => escaped(process).into_owned(),
        (None, Some(program)) => program.to_string(),
        (None, None) => family.to_owned(),
    };
    let mut line = format!("{subject} {}", verb.replace('_', " "));
    let mut details = Vec::new();
    if let Some(signal) = facts.signal {
        let core = if facts.core_dumped == Some(true) { ", core dumped" } else { "" };
        details.push(format!("SIG{signal}{core}"));
    }
    details.extend(facts.code.map(|code| format!("exit status {code}")));
    if let (Some(last), Some(seconds)) = (details.last_mut(), facts.uptime_seconds) {
        let _ = write!(last, " after {seconds:.1}s");
    }
    details.extend(facts.message.as_ref().map(|message| escaped(message).into_owned()));
    details.extend(facts.pid.map(|pid| format!("pid {pid}")));
    if !details.is_empty() {
        let _ = write!(line, ": {}", details.join(", "));
    }
    line
}

/// One JSON object with the names of the model, without a line feed.
pub fn json(event: &Event) -> String {
    // An event has string keys only and no failing serialisers: to_string cannot fail on it.
    let json = serde_json::to_string(event).unwrap_or_default();
    json_escaped(&json).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::event::{Facts, Kind};
    use crate::model::signal::Signal;
    use crate::model::stage::Stage;
    use crate::model::state::State;
    use crate::model::time::WallTime;

    fn event(kind: Kind, facts: Facts) -> Event {
        let time = WallTime::from_millisecond(1_795_162_323_123).expect("in range");
        Event { seq: 7, time, severity: kind.severity(), kind, host: "h1".to_owned(), facts }
    }

    #[test]
    fn in_few_words_it_says_who_what_how_and_why() {
        let crash = Facts {
            process: Some("web:0".to_owned()),
            pid: Some(123),
            signal: Signal::parse("SEGV"),
            core_dumped: Some(true),
            uptime_seconds: Some(3.21),
            ..Facts::default()
        };
        let line = brief(&event(Kind::ProcessCrashed, crash));
        assert_eq!(line, "web:0 crashed: SIGSEGV, core dumped after 3.2s, pid 123");
        let denied = event(Kind::ControlDenied, Facts::message("uid 7\x1b[2J"));
        assert_eq!(brief(&denied), "control denied: uid 7\\x1b[2J");
    }

    #[test]
    fn a_crash_reads_as_the_manual_shows_it() {
        let crash = event(
            Kind::ProcessCrashed,
            Facts {
                process: Some("web:0".to_owned()),
                pid: Some(123),
                user: Some("www-data".to_owned()),
                signal: Signal::parse("SEGV"),
                core_dumped: Some(true),
                uptime_seconds: Some(3.21),
                restarts: Some(1),
                ..Facts::default()
            },
        );
        assert_eq!(
            text(&crash),
            "2026-11-20T08:12:03.123Z ERROR process.crashed web:0 pid=123 user=www-data signal=SEGV core=yes uptime=3.2s restarts=1"
        );
    }

    #[test]
    fn every_key_has_its_place_and_is_quoted_only_where_it_must_be() {
        let failed = event(
            Kind::ProcessStartFailed,
            Facts {
                program: None,
                process: Some("web".to_owned()),
                pid: Some(1),
                user: Some("a b".to_owned()),
                from: Some(State::Starting),
                to: Some(State::Backoff),
                code: Some(2),
                signal: None,
                core_dumped: Some(false),
                uptime_seconds: Some(0.0),
                restarts: Some(0),
                attempt: Some(2),
                tries_max: Some(3),
                stage: Some(Stage::Chdir),
                errno: Some(2),
                channel: None,
                message: Some("no \"x\"\n".to_owned()),
            },
        );
        assert_eq!(
            text(&failed),
            "2026-11-20T08:12:03.123Z ERROR process.start_failed web pid=1 user=\"a b\" from=STARTING to=BACKOFF code=2 \
             uptime=0.0s restarts=0 try=2 tries_max=3 stage=chdir errno=2 message=\"no \\\"x\\\"\\n\""
        );
    }

    #[test]
    fn an_event_about_no_process_has_a_dash_in_its_place() {
        let started = event(Kind::SupervisorStarted, Facts::default());
        assert_eq!(text(&started), "2026-11-20T08:12:03.123Z NOTICE supervisor.started -");
        assert!(json(&started).starts_with(r#"{"seq":7,"time":"2026-11-20T08:12:03.123Z""#));
    }

    proptest! {
        #[test]
        fn an_event_is_one_safe_line_whatever_its_strings_hold(
            process in any::<Option<String>>(), user in any::<Option<String>>(),
            message in any::<Option<String>>(), host in any::<String>(),
        ) {
            let mut sample = event(Kind::ControlDenied, Facts { process, user, message, ..Facts::default() });
            sample.host = host;
            for line in [text(&sample), json(&sample)] {
                prop_assert_eq!(escaped(&line), line.as_str());
                prop_assert!(!line.contains('\n'));
            }
            prop_assert_eq!(serde_json::from_str::<Event>(&json(&sample)).expect("reads back"), sample);
        }
    }
}
