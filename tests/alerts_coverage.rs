//! The ways in which alerting can fail, and what shows how each of them ends: the tests that bring it about,
//! or why a machine cannot show it. A test holds that the tests that are named are there.

use std::collections::BTreeSet;
use std::path::Path;

use libtest_mimic::Trial;

use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![test("each failure of alerting that is known has a test", &[], complete)]
}

/// A failure; tests of the whole, by their sentences, and of parts, by the names of their functions; and what
/// they leave out.
type Failure = (&'static str, &'static [&'static str], &'static str);

const FAILURES: [Failure; 27] = [
    (
        "the mail server is down for an hour",
        &[
            "what happened while Postfix was down is told once and with its times",
            "what waited too long is told in one message",
            "a_dead_server_is_probed_by_one_message_at_growing_pauses",
        ],
        "the hour itself passes in virtual time",
    ),
    (
        "a server that hangs, crawls or never ends a line",
        &[
            "a server that says nothing or too little is given up in time",
            "an endless line costs no memory",
            "a Postfix that hangs delays no other channel and is told as failing",
            "a_session_has_a_limit_too",
        ],
        "the longer limits are shortened in the tests of parts",
    ),
    (
        "not now (4xx)",
        &[
            "those whom Postfix refuses keep nobody else from their mail",
            "421 is trouble with the server and not with the mail",
        ],
        "",
    ),
    ("never (5xx)", &["those whom Postfix refuses keep nobody else from their mail", "each_refusal_has_its_class"], ""),
    (
        "a refused password",
        &[
            "a wrong password is tried once until something changes",
            "a_refused_password_is_tried_seldom_after_asking_for_it_again_and_at_once_when_it_changes",
        ],
        "the hour passes in virtual time",
    ),
    ("too large or disliked (552, 554)", &["a mail that is disliked is sent once more without the output"], ""),
    (
        "an invalid certificate, no STARTTLS, the wrong kind of encryption",
        &[
            "a wrong certificate gets no password and no mail",
            "an unknown authority gets no password and no mail",
            "a server without STARTTLS gets no password and no mail",
            "the_wrong_kind_of_encryption_is_told_with_a_hint",
        ],
        "",
    ),
    (
        "names cannot be resolved",
        &[
            "names that cannot be resolved delay no other channel",
            "a name server that is silent delays no other channel",
        ],
        "",
    ),
    ("some recipients are refused", &["those whom Postfix refuses keep nobody else from their mail"], ""),
    (
        "10 000 crashes in a minute",
        &[
            "ten thousand crashes are few mails whose counts add up",
            "ten_thousand_crashes_a_minute_are_at_most_five_notices_in_five_minutes_that_count_all",
        ],
        "with seconds for the minutes of the limit; with the minutes in virtual time",
    ),
    ("the log daemon is started again or is not there", &["an rsyslog that is started again has missed nothing"], ""),
    ("the log daemon reads nothing", &["an rsyslog that hangs stops nobody and what did not fit is counted"], ""),
    (
        "the log daemon's end of a stream is gone",
        &[
            "an rsyslog that is started again has missed nothing over TCP",
            "a_stream_that_breaks_is_connected_again_and_nothing_is_missing",
        ],
        "",
    ),
    (
        "the disk of the event log is full",
        &[
            "with a full disk for the event log alerts go on and what is missing is counted",
            "a_short_write_leaves_whole_lines_only",
        ],
        "",
    ),
    (
        "the disk of the spool is full",
        &[
            "with a full disk alerts are sent from memory and that is told",
            "a_full_disk_loses_nothing_that_memory_holds",
        ],
        "",
    ),
    (
        "logrotate",
        &["after logrotate nothing is lost and the new file is written", "a_reopened_log_is_gone_on_with"],
        "",
    ),
    (
        "the clock jumps",
        &["a_jump_of_the_wall_clock_changes_no_interval"],
        "no test sets the clock of the machine it runs on; both clocks are parameters of what decides",
    ),
    (
        "the notifier dies",
        &[
            "a full queue outlives notifier and core and is told once with the same ids",
            "a notifier that is killed while it sends sends the same mail again",
            "a lost acknowledgement gives the same mail with the same id",
            "a_message_that_kills_the_notifier_twice_is_buried",
        ],
        "",
    ),
    (
        "the core dies",
        &[
            "a full queue outlives notifier and core and is told once with the same ids",
            "a_supervisor_that_was_killed_is_told_with_the_incidents_that_were_open",
        ],
        "that a machine dies is not shown: what is on disk after fsync(2) is for the kernel to keep",
    ),
    (
        "a shutdown with messages that wait",
        &["a shutdown sends what it can", "what a shutdown cannot send is counted and sent after the next start"],
        "",
    ),
    (
        "secrets",
        &[
            "a password is nowhere to be seen",
            "of a URL no more than the server is ever shown",
            "check tells every fault of alerts and no secret",
        ],
        "",
    ),
    (
        "privilege",
        &[
            "logger and notifier have a user of their own and nothing else",
            "a secret that others can read is refused with what to do",
            "sendmail is started with the addresses and its refusals count",
        ],
        "",
    ),
    ("a name that is not ASCII", &["what a hostile program prints makes no defect and no header"], ""),
    ("five megabytes without a line end", &["what a hostile program prints makes no defect and no header"], ""),
    (
        "line ends and control characters in what is told",
        &["what a hostile program prints makes no defect and no header", "Slack gets words and blocks"],
        "",
    ),
    ("a bad configuration at a reload", &["a reload with bad alerts or a bad secret changes nothing"], ""),
    (
        "answers to alerts",
        &["a crash and its end arrive through Postfix with STARTTLS and a password"],
        "nothing receives mail; the headers keep others from answering",
    ),
];

fn complete() {
    let whole = crate::all();
    let sentences: BTreeSet<String> = whole.iter().map(|trial| trial.name().replace('_', " ")).collect();
    let mut source = String::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
    for (failure, tests, _) in FAILURES {
        assert!(!tests.is_empty(), "{failure}");
        for name in tests {
            let is_there = sentences.contains(*name) || source.contains(&format!("fn {name}("));
            assert!(is_there, "{failure}: there is no test {name:?}");
        }
    }
}

fn read(directory: &Path, text: &mut String) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read(&path, text);
        } else {
            text.push_str(&std::fs::read_to_string(&path).expect("a file"));
        }
    }
}
