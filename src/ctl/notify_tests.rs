//! Tests of the commands about alerts, against a small server behind a real socket.
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::ctl::run::tests::{run, supervisor};
use crate::protocol::varlink::{Call, Reply};

/// Runs one command against these answers; exit code, both outputs, and the call.
fn command(terminal: bool, words: &[&str], replies: Vec<Reply>) -> (u8, String, String, Call) {
    let seen = Arc::new(Mutex::new(None));
    let calls = Arc::clone(&seen);
    let (_dir, connector) = supervisor(move |call| {
        *calls.lock().expect("unpoisoned") = Some(call.clone());
        replies.clone()
    });
    let (code, out, err) = run(&connector, terminal, &[&["notify"], words].concat());
    let call = seen.lock().expect("unpoisoned").take().expect("a call");
    (code, out, err, call)
}

fn done(parameters: Value) -> Vec<Reply> {
    vec![Reply::done(parameters)]
}

#[test]
fn a_test_shows_what_was_said_and_fails_if_a_channel_did() {
    let line = |line: &str| Reply::continues(json!({ "line": line, "results": [] }));
    let results = json!([
        { "channel": "email", "failure": "535 no \u{1b}[2J" },
        { "channel": "syslog", "failure": null }
    ]);
    let last = Reply::done(json!({ "line": null, "results": results }));
    let replies = vec![line("S: 220 hello"), line("C: EHLO \u{7}"), last];
    let (code, out, err, call) = command(true, &["test"], replies.clone());
    assert_eq!(out, "S: 220 hello\nC: EHLO \\x07\nemail: failed: 535 no \\x1b[2J\nsyslog: sent\n");
    assert_eq!((code, err.as_str(), call.more), (1, "", true));
    let (code, out, _, call) = command(false, &["test", "syslog", "--json"], replies);
    let out: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &out["lines"][0], &out["results"][1]["channel"]), (1, &json!("S: 220 hello"), &json!("syslog")));
    assert_eq!(call.parameters, json!({ "channel": "syslog" }));
    let well = done(json!({ "results": [{ "channel": "email", "failure": null }] }));
    assert_eq!(command(false, &["test", "email"], well).0, 0);
    let (code, out, err, _) = command(false, &["test"], done(json!({ "results": [] })));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("no alert channels are configured"), "{err}");
}

#[test]
fn the_queue_is_a_table_of_channels_and_of_messages() {
    let channel = |name: &str, failing: Option<u64>| {
        json!({
            "channel": name, "failing_seconds": failing, "cause": failing.map(|_| "connection refused"),
            "waiting": 1, "sent": 20, "failed": 3, "dropped": 0, "last_success": null, "next_try_seconds": failing
        })
    };
    let message = |id: &str, reason: Value| {
        json!({
            "id": id, "channel": "email", "subject": "web \u{1b} crashed", "time": "2026-11-20T08:12:03.123Z",
            "tries": 2, "reason": reason
        })
    };
    let reply = json!({
        "channels": [channel("email", Some(90)), channel("webhooks.chat", None)],
        "waiting": [message("m1", Value::Null)], "dead": [message("m2", json!("550 who?"))],
        "spool_failure": "No space left on device"
    });
    let (code, out, _, _) = command(false, &["queue"], done(reply.clone()));
    let expected = "\
CHANNEL        STATE    WAITING  SENT  FAILED  DROPPED  LAST SUCCESS  NEXT TRY
email          failing        1    20       3        0  -             in 1m30s
webhooks.chat  well           1    20       3        0  -             -
email: no alert has got through for 1m30s: connection refused
alerts cannot be kept on disk: No space left on device

waiting:
ID  CHANNEL  TIME                      TRIES  SUBJECT           REASON
m1  email    2026-11-20T08:12:03.123Z      2  web \\x1b crashed

given up:
ID  CHANNEL  TIME                      TRIES  SUBJECT           REASON
m2  email    2026-11-20T08:12:03.123Z      2  web \\x1b crashed  550 who?
";
    assert_eq!((code, out.as_str()), (0, expected));
    let (_, out, _, _) = command(false, &["queue", "--json"], done(reply.clone()));
    assert_eq!(serde_json::from_str::<Value>(&out).expect("JSON"), reply);
    let nothing = json!({ "channels": [], "waiting": [], "dead": [], "spool_failure": null });
    assert_eq!(command(true, &["queue"], done(nothing)).1, "no alert channels are configured\n");
}

#[test]
fn silences_are_made_shown_and_ended() {
    let silence = json!({
        "id": "s1", "selector": "web", "until": "2026-11-20T10:00:00Z", "reason": "they move", "by": "root"
    });
    let made = done(json!({ "silence": silence }));
    let (code, out, _, call) = command(false, &["silence", "web", "1.5h", "they", "move"], made);
    assert_eq!((code, out.as_str()), (0, "s1: no alerts about web until 2026-11-20T10:00:00.000Z\n"));
    assert_eq!(call.parameters, json!({ "selector": "web", "seconds": 5400, "reason": "they move" }));
    let (_, out, _, _) = command(false, &["silences"], done(json!({ "silences": [silence] })));
    assert_eq!(
        out,
        "ID  OF   UNTIL                     BY    REASON\ns1  web  2026-11-20T10:00:00.000Z  root  they move\n"
    );
    assert_eq!(command(true, &["silences"], done(json!({ "silences": [] }))).1, "nothing is silenced\n");
    assert_eq!(command(true, &["unsilence", "s1"], done(json!({ "count": 1 }))).1, "1 silence ended\n");
    assert_eq!(command(true, &["retry"], done(json!({ "count": 2 }))).1, "2 messages sent again\n");
    let (_, out, _, call) = command(true, &["drop", "m1"], done(json!({ "count": 0 })));
    assert_eq!((out.as_str(), call.parameters), ("0 messages dropped\n", json!({ "ids": ["m1"] })));
}

#[test]
fn what_there_is_not_exits_4() {
    let refused = |thing: &str, name: &str, near: Value| {
        let parameters = json!({ "thing": thing, "name": name, "suggestion": near });
        vec![Reply::error("io.taskmaster.Control.NoSuch", parameters)]
    };
    let (code, _, err, _) = command(false, &["test", "emial"], refused("channel", "emial", json!("email")));
    assert_eq!((code, err.as_str()), (4, "taskmasterctl: no channel `emial`; did you mean `email`?\n"));
    let (code, _, err, _) = command(false, &["unsilence", "s9"], refused("silence", "s9", Value::Null));
    assert_eq!((code, err.as_str()), (4, "taskmasterctl: no silence `s9`\n"));
    let (code, _, err, _) = command(false, &["drop", "m9"], refused("message", "m9", Value::Null));
    assert_eq!((code, err.as_str()), (4, "taskmasterctl: no message `m9`\n"));
}
