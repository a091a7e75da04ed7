use proptest::prelude::*;

use super::*;
use crate::alert::notice::{End, Ended, Output};
use crate::alert::samples::{at, crash, event, notice, recovered};
use crate::model::event::Facts;
use crate::model::stage::Stage;
use crate::model::state::State;
use crate::model::text::escaped_line;

fn text(notice: &Notice) -> String {
    body(notice, &Showing::new(20, &[]), at(20))
}

#[test]
fn a_crash_is_understood_at_once() {
    let item = Item { count: 17, new: 5, ..crash("web") };
    assert_eq!(
        text(&notice(Purpose::Problem, vec![item])),
        "\
web crashed on h1: signal SEGV (core dumped), 17 crashes.
At 2026-11-20T08:12:03.123Z.

web crashed
  program     web
  process     web:0
  pid         123
  user        www-data
  event       process.crashed at 2026-11-20T08:12:03.123Z
  ended by    signal SEGV (11), core dumped
  ran for     3.2s
  restarts    1
  now         RUNNING: running again
  count       17 crashes since 2026-11-20T08:12:03.123Z, 5 since the last message

Last lines of standard error, the end of it:
    | one
    | two\\x1b[2J

To look closer:
    taskmasterctl status web
    taskmasterctl tail web:0 stderr
To hear no more of it for two hours:
    taskmasterctl notify silence web 2h

-- 
Taskmaster on h1, notice 20261120T081213-4f2a9c-17
"
    );
}

#[test]
fn a_failed_start_tells_stage_error_and_what_happens_next() {
    let facts = Facts {
        stage: Some(Stage::Exec),
        errno: Some(2),
        attempt: Some(3),
        tries_max: Some(3),
        message: Some("executing the command /x: No such file or directory".to_owned()),
        ..Facts::default()
    };
    let event = event(Kind::ProcessFatal, facts);
    let fatal = Item { event, state: Some(State::Fatal), output: None, ..crash("web") };
    let text = text(&notice(Purpose::Problem, vec![fatal]));
    for line in [
        "  stage       executing the command: No such file or directory (errno 2)\n",
        "  retry       3 of 3\n",
        "  now         FATAL: given up: it stays down until somebody starts it\n",
        "    taskmasterctl start web\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn what_is_sent_late_keeps_its_time_and_says_how_late_it_is() {
    let late = body(&notice(Purpose::Problem, vec![crash("web")]), &Showing::nothing(), at(3600));
    assert!(late.contains("At 2026-11-20T08:12:03.123Z (1h ago when this was sent).\n"), "{late}");
    assert!(!late.contains("Last lines"), "{late}");
}

#[test]
fn a_digest_has_a_line_for_each_and_details_of_the_first() {
    let names: Vec<String> = (0..30).map(|n| format!("p{n}")).collect();
    let mut digest = notice(Purpose::Problem, names.iter().map(|name| crash(name)).collect());
    digest.items.push(recovered("db"));
    (digest.more_items, digest.dropped) = (9, 1);
    let text = text(&digest);
    assert!(text.contains("  p29  signal SEGV (core dumped), 1 crash since 2026-11-20T08:12:03.123Z\n"), "{text}");
    assert!(text.contains("  db   recovered after 12m, 7 crashes\n"), "{text}");
    assert!(text.contains("  and 9 more, for which there is no room here\n"), "{text}");
    assert!(text.contains("Of 21 of them the details are in the event log.\n"), "{text}");
    assert!(text.contains("Before this, 1 message had to be dropped;"), "{text}");
    assert_eq!(text.matches("To look closer:").count(), FULL_MAX);
}

#[test]
fn a_test_has_a_text_of_its_own() {
    let text = text(&notice(Purpose::Test, Vec::new()));
    let words = "If you can read this, alerts reach you on this channel. Nothing is wrong.";
    let head = format!("Test message from Taskmaster on h1.\nWritten at 2026-11-20T08:12:13.123Z.\n{words}\n\n-- \n");
    assert!(text.starts_with(&head), "{text}");
}

#[test]
fn a_recovery_says_since_when_and_proposes_nothing() {
    let text = text(&notice(Purpose::Recovery, vec![recovered("web")]));
    let head =
        "web recovered on h1 after 12m (7 crashes).\nAt 2026-11-20T08:24:03.123Z.\n\nThe last failure: web crashed\n";
    assert!(text.starts_with(head), "{text}");
    assert!(text.contains("  over since  2026-11-20T08:24:03.123Z, after 12m\n"), "{text}");
    assert!(!text.contains("To look closer"), "{text}");
}

#[test]
fn what_was_stopped_before_anybody_was_told_is_told_as_a_failure_with_what_to_look_at() {
    let ended = Some(Ended { at: at(5), how: End::Stopped });
    let processes = ["web:0", "web:10", "web:2"].map(str::to_owned).to_vec();
    let item = Item { ended, processes, ..crash("web") };
    let text = text(&notice(Purpose::Problem, vec![item.clone()]));
    let head = "web crashed on h1: signal SEGV (core dumped); it was stopped after 5s.\nAt 2026-11-20T08:12:03.123Z.\n";
    assert!(text.starts_with(head), "{text}");
    assert!(text.contains("\nweb crashed\n") && text.contains("    taskmasterctl tail web:0 stderr\n"), "{text}");
    assert!(text.contains("  processes   web:0, web:2, web:10\n"), "{text}");
    assert!(!text.contains("silence"), "{text}");
    let both = body(&notice(Purpose::Problem, vec![item, crash("db")]), &Showing::nothing(), at(20));
    assert!(both.contains("  web  signal SEGV (core dumped), 1 crash; it was stopped after 5s\n"), "{both}");
}

proptest! {
    #[test]
    fn every_line_is_short_and_safe_whatever_the_texts_hold(
        texts in prop::array::uniform4(any::<String>()),
        lines in prop::collection::vec(any::<String>(), 0..30), long in 0usize..5000,
        uptime in any::<f64>(), errno in any::<i32>(),
    ) {
        let [process, user, message, host] = texts;
        let facts = Facts {
            process: Some(process), user: Some(user), message: Some(message),
            uptime_seconds: Some(uptime), errno: Some(errno), ..Facts::default()
        };
        let output = Output { lines: [lines, vec!["\u{9b}é".repeat(long)]].concat(), is_cut: true };
        let item = Item { event: event(Kind::ProcessCrashed, facts), output: Some(output), ..crash("größe") };
        let mut notice = notice(Purpose::Problem, vec![item]);
        notice.host = host.clone();
        notice.id = host;
        for line in text(&notice).lines() {
            prop_assert!(line.len() <= 998, "{} bytes", line.len());
            prop_assert_eq!(escaped_line(line.as_bytes()), line);
        }
    }
}
