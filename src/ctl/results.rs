//! What became of an order, process by process, and what a reload did: supervisorctl's lines for scripts,
//! fuller ones for people.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::Write;

use super::screen::{Paint, Screen};
use crate::model::id::ProgramName;
use crate::model::text::escaped;
use crate::protocol::control::{ChangeReply, ChangeResult, Outcome, Plan, ReloadReply};

/// Which order the results are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Start,
    Stop,
    Restart,
    Signal,
    Clear,
}

/// Whether the process got where the order wanted it.
pub fn is_done(order: Order, outcome: Outcome) -> bool {
    // supervisorctl counts the stop of a stopped process as done.
    outcome.is_success() || (order == Order::Stop && outcome == Outcome::NotRunning)
}

/// 0 if every process got there, else 1.
pub fn exit_code(order: Order, reply: &ChangeReply) -> u8 {
    u8::from(!reply.results.iter().all(|result| is_done(order, result.outcome)))
}

/// supervisorctl's lines. `ran` says whether a process ran before a restart.
pub fn lines(order: Order, reply: &ChangeReply, ran: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    if order == Order::Restart {
        for result in &reply.results {
            let stopped = matches!(
                result.outcome,
                Outcome::Started | Outcome::Stopped | Outcome::SpawnError | Outcome::AbnormalTermination
            );
            if stopped && ran(&result.process) {
                let _ = writeln!(out, "{}: stopped", escaped(&result.process));
            }
        }
    }
    for result in &reply.results {
        let _ = writeln!(out, "{}: {}", escaped(&result.process), word(result.outcome));
    }
    out
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Started => "started",
        Outcome::Stopped => "stopped",
        Outcome::Signalled => "signalled",
        Outcome::Cleared => "cleared",
        Outcome::NotCleared => "ERROR (failed)",
        Outcome::Ordered => "ordered",
        Outcome::AlreadyStarted => "ERROR (already started)",
        Outcome::NotRunning => "ERROR (not running)",
        Outcome::SpawnError => "ERROR (spawn error)",
        Outcome::AbnormalTermination => "ERROR (abnormal termination)",
        Outcome::Superseded => "ERROR (superseded)",
    }
}

/// supervisorctl's line for a name that nothing has.
pub fn no_such(selector: &str) -> String {
    format!("{}: ERROR (no such process)\n", named(selector))
}

/// A name as it was typed; an empty one is mostly a variable of a script that is not set.
fn named(selector: &str) -> Cow<'_, str> {
    if selector.is_empty() { "\"\" (an empty name)".into() } else { escaped(selector) }
}

/// The same, where the name is one of a program.
pub fn no_such_group(selector: &str) -> String {
    format!("ERROR: no such process/group: {}\n", named(selector))
}

/// The same for people, with the reason where there is one.
pub fn friendly(order: Order, result: &ChangeResult, screen: &Screen) -> String {
    let paint = match result.outcome {
        Outcome::AlreadyStarted | Outcome::NotRunning if is_done(order, result.outcome) => Paint::Plain,
        outcome if is_done(order, outcome) => Paint::Good,
        _ => Paint::Bad,
    };
    let detail = result.detail.as_ref().map(|detail| format!(": {}", escaped(detail))).unwrap_or_default();
    format!("{}: {}{detail}\n", escaped(&result.process), screen.painted(words(order, result), paint))
}

fn words(order: Order, result: &ChangeResult) -> &'static str {
    match result.outcome {
        Outcome::Started if order == Order::Restart => "restarted",
        Outcome::Started => "started",
        Outcome::Stopped => "stopped",
        Outcome::Signalled => "signalled",
        Outcome::Cleared => "cleared",
        Outcome::NotCleared => "could not be cleared",
        Outcome::Ordered => "ordered, not waited for",
        Outcome::AlreadyStarted => "was already started",
        Outcome::NotRunning if order == Order::Stop => "was not running",
        Outcome::NotRunning => "is not running",
        Outcome::SpawnError => "could not be executed",
        Outcome::AbnormalTermination => "ended before it was running",
        Outcome::Superseded => "something else was asked of it meanwhile",
    }
}

/// What a reload would do: supervisorctl's lines of `reread`.
pub fn reread_lines(plan: &Plan) -> String {
    let named = |names: &[ProgramName], word| names.iter().map(|name| (name.to_string(), word)).collect::<Vec<_>>();
    let mut lines = named(&plan.added, "available");
    lines.extend(named(&plan.restarted, "changed"));
    lines.extend(named(&plan.changed, "changed"));
    lines.extend(named(&plan.removed, "disappeared"));
    lines.sort_unstable();
    if lines.is_empty() {
        return "No config updates to processes\n".to_owned();
    }
    lines.iter().map(|(name, word)| format!("{name}: {word}\n")).collect()
}

/// What a reload did: supervisorctl's lines of `update`. `waited`: what it stops has stopped.
pub fn update_lines(plan: &Plan, waited: bool) -> String {
    let mut out = String::new();
    let mut all = |names: &[ProgramName], stops: bool, word: &str| {
        for name in names {
            if stops && waited {
                let _ = writeln!(out, "{name}: stopped");
            }
            let _ = writeln!(out, "{name}: {word}");
        }
    };
    all(&plan.removed, true, "removed process group");
    all(&plan.restarted, true, "updated process group");
    all(&plan.changed, false, "updated process group");
    all(&plan.added, false, "added process group");
    out
}

/// The same for people: a program a line, with the keys that differ.
pub fn plan(reply: &ReloadReply, dry_run: bool, screen: &Screen) -> String {
    let plan = &reply.plan;
    let mut out = String::new();
    let words = [
        (&plan.added, "added", "would be added", Paint::Good),
        (&plan.restarted, "restarted", "would be restarted", Paint::Changing),
        (&plan.removed, "stopped and removed", "would be stopped and removed", Paint::Bad),
        (&plan.changed, "changed in place", "would be changed in place", Paint::Plain),
    ];
    for (names, done, planned, paint) in words {
        for name in names {
            let word = screen.painted(if dry_run { planned } else { done }, paint);
            let keys = reply.changes.iter().find(|change| change.program == *name).map(|change| change.keys.join(", "));
            let keys = keys.filter(|keys| !keys.is_empty()).map(|keys| format!(": {}", escaped(&keys)));
            let _ = writeln!(out, "{name}: {word}{}", keys.unwrap_or_default());
        }
    }
    for setting in &reply.settings {
        let _ = writeln!(out, "{}: {}", escaped(setting), if dry_run { "would be changed" } else { "changed" });
    }
    for setting in &plan.needs_restart {
        let _ = writeln!(out, "{}: needs a restart of the supervisor", escaped(setting));
    }
    if out.is_empty() {
        out.push_str("nothing has changed\n");
    } else if dry_run {
        out.push_str("nothing has been done yet; `reload` does it\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::control::ProgramChange;

    fn reply(results: &[(&str, Outcome)]) -> ChangeReply {
        let result = |(process, outcome): &(&str, Outcome)| ChangeResult {
            process: (*process).to_owned(),
            outcome: *outcome,
            detail: None,
        };
        ChangeReply { results: results.iter().map(result).collect(), waiting: Vec::new() }
    }

    #[test]
    fn scripts_get_supervisorctls_words() {
        let all = reply(&[
            ("a", Outcome::Started),
            ("b", Outcome::Stopped),
            ("c", Outcome::Signalled),
            ("d", Outcome::AlreadyStarted),
            ("e", Outcome::NotRunning),
            ("f", Outcome::SpawnError),
            ("g\n", Outcome::AbnormalTermination),
        ]);
        assert_eq!(
            lines(Order::Start, &all, |_| true),
            "a: started\nb: stopped\nc: signalled\nd: ERROR (already started)\ne: ERROR (not running)\n\
             f: ERROR (spawn error)\ng\\n: ERROR (abnormal termination)\n"
        );
        assert_eq!(no_such("wbe"), "wbe: ERROR (no such process)\n");
        assert_eq!(no_such(""), "\"\" (an empty name): ERROR (no such process)\n");
    }

    #[test]
    fn a_restart_tells_first_what_stopped_and_then_what_started() {
        let both = reply(&[("a", Outcome::Started), ("b", Outcome::SpawnError), ("c", Outcome::Started)]);
        assert_eq!(
            lines(Order::Restart, &both, |name| name != "c"),
            "a: stopped\nb: stopped\na: started\nb: ERROR (spawn error)\nc: started\n"
        );
    }

    #[test]
    fn what_was_so_already_is_done_but_a_signal_needs_a_process() {
        assert_eq!(exit_code(Order::Start, &reply(&[("a", Outcome::AlreadyStarted)])), 0);
        assert_eq!(exit_code(Order::Stop, &reply(&[("a", Outcome::NotRunning)])), 0);
        assert_eq!(exit_code(Order::Signal, &reply(&[("a", Outcome::NotRunning)])), 1);
        assert_eq!(exit_code(Order::Start, &reply(&[("a", Outcome::Started), ("b", Outcome::SpawnError)])), 1);
        assert_eq!(exit_code(Order::Start, &reply(&[])), 0);
    }

    #[test]
    fn people_are_told_the_reason_on_one_line() {
        let mut failed = reply(&[("web", Outcome::SpawnError)]);
        failed.results[0].detail = Some("executing /x:\nNo such file".to_owned());
        let screen = Screen::of(Box::new(Vec::new()), Box::new(Vec::new()), true);
        let text = friendly(Order::Start, &failed.results[0], &screen);
        assert_eq!(text, "web: could not be executed: executing /x:\\nNo such file\n");
    }

    #[test]
    fn a_plan_is_a_line_for_each_program_that_is_touched() {
        let name = |text| ProgramName::new(text).expect("a name");
        let touched = Plan {
            added: vec![name("new")],
            removed: vec![name("old")],
            restarted: vec![name("web")],
            changed: vec![name("db")],
            unchanged: vec![name("same")],
            needs_restart: vec!["supervisor.log_dir".to_owned()],
        };
        assert_eq!(reread_lines(&touched), "db: changed\nnew: available\nold: disappeared\nweb: changed\n");
        assert_eq!(
            update_lines(&touched, false),
            "old: removed process group\nweb: updated process group\ndb: updated process group\n\
             new: added process group\n"
        );
        assert_eq!(
            update_lines(&touched, true),
            "old: stopped\nold: removed process group\nweb: stopped\nweb: updated process group\n\
             db: updated process group\nnew: added process group\n"
        );
        assert_eq!(reread_lines(&Plan::default()), "No config updates to processes\n");
        assert_eq!(update_lines(&Plan::default(), true), "");
        let change = |program, keys: &[&str]| ProgramChange {
            program: name(program),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        let changes = vec![change("web", &["cmd", "env.\x1b"]), change("db", &["stoptime"])];
        let settings = vec!["notify.rules".to_owned()];
        let touched = ReloadReply { plan: touched, warnings: vec![], changes, settings };
        let screen = Screen::of(Box::new(std::io::sink()), Box::new(std::io::sink()), true);
        assert_eq!(
            plan(&touched, true, &screen),
            "new: would be added\nweb: would be restarted: cmd, env.\\x1b\nold: would be stopped and removed\n\
             db: would be changed in place: stoptime\nnotify.rules: would be changed\n\
             supervisor.log_dir: needs a restart of the supervisor\n\
             nothing has been done yet; `reload` does it\n"
        );
        assert!(plan(&touched, false, &screen).starts_with("new: added\nweb: restarted: cmd"));
        assert_eq!(plan(&ReloadReply::default(), false, &screen), "nothing has changed\n");
    }
}
