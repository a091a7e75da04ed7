//! What people are told when, in virtual time. Timing is the default (10 s, 5 min, 30 s …) unless changed.

use std::time::Duration;

use super::notice::{End, Output};
use super::pipeline::INCIDENTS_MAX;
use super::saved::Saved;
use super::simulation::{Simulation, about, email, name, rule, webhook};
use crate::alert::notice::Purpose;
use crate::model::event::Kind::{self, *};
use crate::model::event::{Facts, Severity};
use crate::model::id::ChannelName;
use crate::model::id::ProcessId;
use crate::model::notify::{RateLimit, Rule};
use crate::model::state::State;

const CRASH: [Kind; 2] = [ProcessCrashed, ProcessStarting];

#[test]
fn a_crash_is_told_after_group_wait_and_its_recovery_after_recovery_after_in_one_thread() {
    let mut sim = Simulation::mail();
    sim.at(5, "web", &CRASH);
    sim.at(6, "web", &[ProcessRunning]);
    sim.until(100_000);
    assert_eq!(sim.told(), ["15 Problem web+1/1", "46 Recovery web+0/1 Recovered"]);
    let (problem, recovery) = (&sim.notices[0].1, &sim.notices[1].1);
    assert_eq!((problem.root.as_ref(), recovery.root.as_ref()), (None, Some(&problem.id)));
    assert_eq!(problem.items[0].incident, recovery.items[0].incident);
    assert_eq!(problem.items[0].state, Some(State::Running), "what happened next");
    // The length of the outage is not prolonged by the time that one waits to be sure.
    let ended = recovery.items[0].ended.as_ref().expect("an end");
    assert_eq!(ended.at.duration_since(problem.items[0].started_at).as_secs(), 1);
    assert_eq!(sim.pipeline.deadline(), None);
}

#[test]
fn what_happens_together_is_one_digest_with_the_worst_first() {
    let mut sim = Simulation::mail();
    sim.at(0, "a", &CRASH);
    sim.at(4, "b", &[ProcessFatal]);
    sim.at(9, "c:3", &CRASH);
    sim.until(11);
    assert_eq!(sim.told(), ["10 Problem b+1/1 a+1/1 c+1/1"]);
    let notice = &sim.notices[0].1;
    assert_eq!((notice.severity, notice.root.as_ref()), (Severity::Crit, None));
    assert_eq!(notice.items[2].processes, ["c:3"]);
}

#[test]
fn more_of_the_same_waits_for_group_interval_while_a_new_incident_and_a_worse_state_do_not() {
    let mut sim = Simulation::timed(|timing| timing.rate_limit = RateLimit { burst: 9, interval: Duration::ZERO });
    sim.at(0, "web", &CRASH);
    sim.at(20, "web", &CRASH);
    sim.at(40, "web", &CRASH);
    sim.at(60, "db", &CRASH);
    sim.at(100, "db", &[ProcessFatal]);
    sim.until(400);
    assert_eq!(sim.told(), ["10 Problem web+1/1", "70 Problem db+1/1", "110 Problem db+1/2", "310 Problem web+2/3"]);
}

#[test]
fn ten_thousand_crashes_a_minute_are_at_most_five_notices_in_five_minutes_that_count_all() {
    let mut sim = Simulation::mail();
    for crash in 0..10_000 {
        sim.until_millis(crash * 6);
        CRASH.iter().for_each(|kind| sim.process("web", *kind));
    }
    sim.until(300);
    assert!(sim.notices.len() <= 5, "{:?}", sim.told());
    sim.process("web", ProcessRunning);
    sim.until(10_000);
    let told: u64 = sim.notices.iter().flat_map(|(_, notice)| &notice.items).map(|item| item.new).sum();
    assert_eq!(told, 10_000, "{:?}", sim.told());
    assert!(sim.wishes.len() <= 61, "output is fetched once a second, not {} times", sim.wishes.len());
}

#[test]
fn without_a_token_everything_collects_in_the_next_digest() {
    let mut sim = Simulation::mail();
    for (at, program) in ["a", "b", "c", "d", "e"].iter().enumerate() {
        sim.at(at as u64 * 20, program, &CRASH);
    }
    sim.until(400);
    assert_eq!(sim.told(), ["10 Problem a+1/1", "30 Problem b+1/1", "50 Problem c+1/1", "310 Problem d+1/1 e+1/1"]);
}

#[test]
fn each_set_of_recipients_has_notices_and_a_limit_of_its_own() {
    let mut sim = Simulation::timed(|timing| timing.rate_limit.burst = 1);
    sim.at(0, "web", &CRASH);
    sim.alerts.recipients = vec!["dev@example.com".to_owned(), "a@example.com".to_owned()];
    sim.process("db", ProcessCrashed);
    sim.until(20);
    assert_eq!(sim.told(), ["10 Problem web+1/1", "10 Problem db+1/1"]);
    assert_eq!(sim.notices[1].1.recipients, ["a@example.com", "dev@example.com"]);
    assert!(sim.notices[0].1.recipients.is_empty());
}

#[test]
fn reminders_come_at_their_times_and_then_no_more() {
    let mut sim = Simulation::mail();
    sim.at(0, "web", &[ProcessFatal]);
    sim.until(10 * 86_400);
    let hour = 3600;
    let at: Vec<u64> = sim.notices.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [10, 10 + hour / 2, 10 + 4 * hour, 10 + 24 * hour], "{:?}", sim.told());
    assert_eq!(sim.told()[1], "1810 Reminder web+0/1");
    assert!(sim.notices[1..].iter().all(|(_, notice)| notice.root.as_ref() == Some(&sim.notices[0].1.id)));
    assert_eq!(sim.pipeline.deadline(), None);
}

#[test]
fn a_reminder_that_falls_together_with_more_of_the_same_stays_one() {
    let mut sim = Simulation::timed(|timing| {
        timing.remind_after = vec![std::time::Duration::from_secs(30 * 60)];
        timing.rate_limit.burst = 100;
    });
    for minute in 0..=31 {
        sim.at(60 * minute, "web", &[ProcessCrashed, ProcessBackoff]);
    }
    let (_, first) = &sim.notices[0];
    assert!(!first.items[0].goes_on);
    let reminder = sim.notices.iter().find(|(_, notice)| notice.purpose == Purpose::Reminder).expect("a reminder");
    assert!((1800..1830).contains(&reminder.0), "{:?}", sim.told());
    let later = &sim.notices[1..];
    assert!(later.iter().all(|(_, notice)| notice.items[0].goes_on && notice.root.as_ref() == Some(&first.id)));
}

#[test]
fn a_digest_of_one_thread_goes_on_in_it_also_when_one_of_it_recovers() {
    let mut sim = Simulation::timed(|timing| timing.remind_after = vec![std::time::Duration::from_secs(30 * 60)]);
    sim.at(0, "web", &[ProcessFatal]);
    sim.at(1, "db", &[ProcessFatal]);
    sim.until(1900);
    let roots: Vec<_> = sim.notices.iter().map(|(_, notice)| (notice.items.len(), notice.root.as_ref())).collect();
    assert_eq!(roots, [(2, None), (2, Some(&sim.notices[0].1.id))]);
}

#[test]
fn the_last_try_is_told_also_when_the_crashes_before_it_were() {
    let mut sim = Simulation::mail();
    sim.at(0, "web", &[ProcessCrashed, ProcessBackoff]);
    sim.at(11, "web", &[ProcessStarting, ProcessBackoff]);
    sim.at(12, "web", &[ProcessStarting, ProcessFatal]);
    sim.until(40);
    assert_eq!(sim.told(), ["10 Problem web+1/1", "22 Problem web+1/2"]);
    assert_eq!(sim.notices[1].1.items[0].event.kind, ProcessFatal);
    assert_eq!(sim.notices[1].1.items[0].state, Some(State::Fatal));
}

#[test]
fn only_the_event_that_a_rule_asks_for_is_told_each_failure_or_the_last() {
    let only = |kind: &str| Rule { on: vec![kind.to_owned()], ..rule("email") };
    for (kind, told) in [("process.crashed", "10 Problem web+1/1"), ("process.fatal", "15 Problem web+1/1")] {
        let mut sim = Simulation::new(email(), &[only(kind)]);
        sim.at(0, "web", &[ProcessCrashed, ProcessBackoff]);
        sim.at(5, "web", &[ProcessStarting, ProcessFatal]);
        sim.until(100);
        assert_eq!(sim.told(), [told], "{kind}");
    }
}

#[test]
fn a_stop_by_an_administrator_is_no_alert_and_ends_an_incident() {
    let mut sim = Simulation::mail();
    sim.at(0, "calm", &[ProcessStopping, ProcessStopped]);
    sim.at(1, "web", &CRASH);
    sim.at(20, "web", &[ProcessStopping, ProcessStopped]);
    sim.until(100);
    assert_eq!(sim.told(), ["11 Problem web+1/1", "31 Recovery web+0/1 Stopped"]);
}

#[test]
fn a_restart_by_an_administrator_is_not_the_end() {
    let mut sim = Simulation::mail();
    sim.at(0, "web", &CRASH);
    sim.at(20, "web", &[ProcessStopping, ProcessStopped, ProcessStarting]);
    sim.at(22, "web", &[ProcessRunning]);
    sim.until(100);
    assert_eq!(sim.told(), ["10 Problem web+1/1", "62 Recovery web+0/1 Recovered"]);
}

#[test]
fn an_incident_that_ended_before_it_was_told_is_told_once() {
    let mut sim = Simulation::mail();
    sim.at(0, "web", &CRASH);
    sim.at(2, "web", &[ProcessStopping, ProcessKilled, ProcessStopped]);
    sim.until(100);
    assert_eq!(sim.told(), ["10 Problem web+2/2 Stopped"]);
}

#[test]
fn all_processes_of_a_program_are_one_incident_until_the_last_is_well() {
    let mut sim = Simulation::mail();
    for instance in 0..30 {
        sim.at(0, &format!("web:{instance}"), &CRASH);
    }
    for instance in 0..29 {
        sim.at(5, &format!("web:{instance}"), &[ProcessRunning]);
    }
    sim.until(200);
    assert_eq!(sim.told(), ["10 Problem web+30/30"]);
    assert_eq!(sim.notices[0].1.items[0].processes.len(), 20);
    sim.at(200, "web:29", &[ProcessRunning]);
    sim.until(300);
    assert_eq!(sim.told()[1], "240 Recovery web+0/30 Recovered");
}

#[test]
fn a_program_that_is_no_longer_configured_has_no_incident() {
    let mut sim = Simulation::mail();
    sim.at(0, "web", &[ProcessFatal]);
    sim.until(20);
    let (channel, moment, wall) = (sim.channel.clone(), sim.moment(), sim.wall());
    sim.pipeline.configure(&channel, &[name("db")], moment, wall);
    assert_eq!(sim.pipeline.open_incidents(), 0);
    sim.until(100_000);
    assert_eq!(sim.told(), ["10 Problem web+1/1", "30 Recovery web+0/1 Removed"]);
}

/// Crashes once a minute, and recovers each time.
fn flaps(sim: &mut Simulation, times: u64) {
    for n in 0..times {
        sim.at(60 * n, "web", &CRASH);
        sim.at(60 * n + 1, "web", &[ProcessRunning]);
    }
}

#[test]
fn what_comes_and_goes_is_told_as_flapping_once_and_its_recovery_when_it_has_settled() {
    let mut sim = Simulation::timed(|timing| timing.rate_limit.burst = 100);
    flaps(&mut sim, 15);
    sim.until(3000);
    let told = sim.told();
    assert_eq!(told[8..], ["250 Flapping web+1/1", "1451 Recovery web+10/11 Recovered"], "{told:?}");
    assert!(sim.notices[8].1.items[0].is_flapping && !sim.notices[9].1.items[0].is_flapping);
    let flaps = sim.notices[8].1.items[0].flaps.as_ref().expect("it says what makes it flap");
    assert_eq!((flaps.incidents, flaps.count), (5, 5), "all of the window");
    assert_eq!(sim.notices[8].1.root.as_ref(), Some(&sim.notices[0].1.id), "in the thread of the first of them");
    assert_eq!(sim.notices[9].1.root, sim.notices[8].1.root);
}

#[test]
fn flapping_ends_with_fatal_and_that_is_told() {
    let mut sim = Simulation::timed(|timing| timing.rate_limit.burst = 100);
    flaps(&mut sim, 8);
    sim.at(500, "web", &[ProcessBackoff, ProcessFatal]);
    sim.until(1000);
    assert_eq!(sim.told()[8..], ["250 Flapping web+1/1", "510 Problem web+4/5"]);
    assert!(!sim.notices[9].1.items[0].is_flapping);
}

#[test]
fn flapping_that_settles_in_a_bad_state_is_told_also_if_no_rule_names_that_state() {
    let mut sim = Simulation::timed(|timing| timing.rate_limit.burst = 100);
    flaps(&mut sim, 6);
    sim.at(310, "web", &[ProcessBackoff]);
    sim.until(1800);
    assert_eq!(sim.told()[8..], ["250 Flapping web+1/1", "920 Problem web+1/2"]);
}

#[test]
fn flapping_that_somebody_stops_is_told_as_stopped() {
    let mut sim = Simulation::timed(|timing| timing.rate_limit.burst = 100);
    flaps(&mut sim, 6);
    sim.at(320, "web", &[ProcessStopping, ProcessStopped]);
    sim.until(1000);
    assert_eq!(sim.told()[8..], ["250 Flapping web+1/1", "331 Recovery web+1/2 Stopped"]);
}

#[test]
fn while_it_flaps_there_are_reminders_only() {
    let mut sim = Simulation::timed(|timing| timing.rate_limit.burst = 100);
    flaps(&mut sim, 40);
    assert_eq!(sim.told()[8..], ["250 Flapping web+1/1", "2050 Reminder web+30/31"]);
}

#[test]
fn a_silence_holds_back_what_it_names_and_what_is_still_bad_when_it_ends_is_told_then() {
    let mut sim = Simulation::mail();
    sim.silence("web", 600);
    sim.at(5, "web", &[ProcessFatal]);
    sim.at(5, "db", &CRASH);
    sim.until(700);
    assert_eq!(sim.told(), ["15 Problem db+1/1", "600 Problem web+1/1"]);
}

#[test]
fn what_recovers_in_a_silence_and_was_never_told_is_not_told() {
    let mut sim = Simulation::mail();
    sim.silence("all", 600);
    sim.at(5, "web", &CRASH);
    sim.event(ConfigRejected, Facts::default(), None);
    sim.at(6, "web", &[ProcessRunning]);
    sim.until(5000);
    assert_eq!(sim.told(), [""; 0]);
    assert_eq!(sim.pipeline.deadline(), None);
}

#[test]
fn a_recovery_in_a_silence_is_told_after_it_to_those_who_know_of_the_problem() {
    let mut sim = Simulation::mail();
    sim.at(0, "web", &CRASH);
    sim.until(20);
    sim.silence("w*", 3600);
    sim.at(30, "web", &[ProcessRunning]);
    sim.until(5000);
    assert_eq!(sim.told(), ["10 Problem web+1/1", "3620 Recovery web+0/1 Recovered"]);
}

#[test]
fn a_silence_on_one_process_does_not_hide_another() {
    let mut sim = Simulation::mail();
    sim.silence("web:3", 600);
    sim.at(0, "web:3", &CRASH);
    sim.until(30);
    assert_eq!(sim.told(), [""; 0]);
    sim.at(30, "web:4", &CRASH);
    sim.until(50);
    assert_eq!(sim.told(), ["31 Problem web+2/2"], "a second for its output");
}

#[test]
fn open_incidents_threads_and_reminders_survive_a_restart() {
    let mut sim = Simulation::mail();
    sim.at(0, "web", &[ProcessFatal]);
    sim.until(20);
    sim.restart();
    sim.until(2000);
    sim.restart();
    sim.at(2000, "web", &[ProcessStarting, ProcessRunning]);
    sim.restart();
    sim.until(3000);
    let told = ["10 Problem web+1/1", "1810 Reminder web+0/1", "2040 Recovery web+0/1 Recovered"];
    assert_eq!(sim.told(), told);
    assert!(sim.notices[1..].iter().all(|(_, notice)| notice.root.as_ref() == Some(&sim.notices[0].1.id)));
}

#[test]
fn a_supervisor_that_was_killed_is_told_with_the_incidents_that_were_open() {
    let mut sim = Simulation::mail();
    sim.event(SupervisorStarted, Facts::default(), None);
    sim.at(0, "web", &CRASH);
    sim.until(20);
    sim.restart();
    sim.until(100);
    sim.event(SupervisorStarted, Facts::default(), None);
    sim.at(101, "web", &[ProcessStarting, ProcessRunning]);
    sim.until(200);
    let told =
        ["10 Problem web+1/1", "110 Occurrence supervisor.started+1/1 Momentary", "141 Recovery web+0/1 Recovered"];
    assert_eq!(sim.told(), told);
    let item = &sim.notices[1].1.items[0];
    let words = "the supervisor was restarted after it ended without warning; 1 incident was open";
    assert_eq!((item.event.facts.message.as_deref(), item.severity), (Some(words), Severity::Err));
}

#[test]
fn a_clean_shutdown_is_no_alert_and_keeps_incidents_open() {
    let mut sim = Simulation::mail();
    sim.event(SupervisorStarted, Facts::default(), None);
    sim.at(0, "web", &CRASH);
    sim.at(1, "web", &[ProcessRunning]);
    sim.at(20, "web", &[]);
    sim.event(SupervisorStopping, Facts::default(), None);
    sim.at(20, "web", &[ProcessStopping, ProcessStopped]);
    sim.event(SupervisorStopped, Facts::default(), None);
    sim.until(25);
    sim.restart();
    assert_eq!(sim.pipeline.open_incidents(), 1);
    sim.until(50);
    sim.event(SupervisorStarted, Facts::default(), None);
    sim.at(51, "web", &[ProcessStarting, ProcessRunning]);
    sim.until(200);
    assert_eq!(sim.told(), ["10 Problem web+1/1", "91 Recovery web+0/1 Recovered"]);
}

#[test]
fn at_a_shutdown_what_waits_for_company_is_told_at_once() {
    let mut sim = Simulation::mail();
    sim.at(0, "web", &[ProcessFatal]);
    sim.pipeline.hurry(sim.moment());
    sim.tick();
    assert_eq!(sim.told(), ["0 Problem web+1/1"]);
}

#[test]
fn a_jump_of_the_wall_clock_changes_no_interval() {
    for jump in [-86_400, 86_400] {
        let mut sim = Simulation::mail();
        sim.at(0, "web", &CRASH);
        sim.wall_offset = jump;
        sim.silence("db", 600);
        sim.at(5, "db", &CRASH);
        sim.at(20, "web", &CRASH);
        sim.until(601);
        assert_eq!(sim.told(), ["10 Problem web+1/1", "310 Problem web+1/2", "600 Problem db+1/1"], "{jump}");
    }
}

#[test]
fn a_notice_waits_a_second_for_the_last_lines_of_the_process_that_died() {
    let mut sim = Simulation::timed(|timing| timing.group_wait = Duration::ZERO);
    let web = ProcessId::new(&name("web"), 3);
    sim.at(5, "web:3", &CRASH);
    sim.tick();
    assert_eq!((sim.wishes[0].1.output.as_ref(), sim.notices.len()), (Some(&web), 0));
    let lines = (0..30).map(|n| format!("line {n} {}", "x".repeat(n * 30))).collect();
    sim.pipeline.output(&web, Output { lines, is_cut: false });
    sim.tick();
    let output = sim.notices[0].1.items[0].output.clone().expect("output");
    assert!(output.is_cut && output.lines.len() < 20 && output.lines.concat().len() == 8192);
    assert!(output.lines.last().expect("a line").starts_with("line 29"));
    // What does not come is not waited for.
    sim.at(100, "db", &CRASH);
    sim.until(110);
    assert_eq!(sim.told()[1], "101 Problem db+1/1");
}

#[test]
fn a_channel_that_shows_no_output_asks_for_none() {
    let mut channel = webhook("webhooks.chat");
    if let crate::model::notify::Transport::Webhook(webhook) = &mut channel.transport {
        webhook.output_lines = 0;
    }
    let mut sim = Simulation::new(channel, &[rule("webhooks.chat")]);
    sim.at(0, "web", &CRASH);
    sim.until(10);
    assert_eq!((sim.wishes.len(), sim.notices.len()), (0, 1));
}

#[test]
fn what_is_no_incident_is_told_once_and_repeats_are_counted() {
    let on = ["config.rejected", "process.running"].map(str::to_owned).to_vec();
    let mut sim = Simulation::new(email(), &[Rule { on, ..rule("email") }]);
    sim.event(ConfigRejected, Facts::message("no"), None);
    sim.until(20);
    for _ in 0..5 {
        sim.event(ConfigRejected, Facts::message("no"), None);
    }
    sim.process("web", ProcessRunning);
    sim.until(100_000);
    let told = [
        "10 Occurrence config.rejected+1/1 Momentary",
        "30 Occurrence web+1/1 Momentary",
        "310 Occurrence config.rejected+5/5 Momentary",
    ];
    assert_eq!(sim.told(), told);
    assert_ne!(sim.notices[0].1.items[0].incident, sim.notices[2].1.items[0].incident);
    assert_eq!(sim.pipeline.deadline(), None);
}

#[test]
fn a_channel_that_fails_is_told_on_all_others_until_it_has_recovered() {
    let about_chat = || Facts { channel: Some(ChannelName("webhooks.chat".to_owned())), ..Facts::default() };
    for (channel, told) in [(email(), 2), (webhook("webhooks.chat"), 0)] {
        let mut sim = Simulation::new(channel, &[]);
        sim.event(NotifyFailing, about_chat(), None);
        sim.until(100);
        sim.event(NotifyRecovered, about_chat(), None);
        sim.until(200);
        assert_eq!(sim.notices.len(), told, "{:?}", sim.told());
        if told == 2 {
            assert_eq!(sim.notices[1].1.items[0].ended.as_ref().map(|end| end.how), Some(End::Recovered));
        }
    }
}

#[test]
fn a_channel_that_is_no_longer_configured_fails_no_more() {
    let mut sim = Simulation::new(email(), &[]);
    let chat = ChannelName("webhooks.chat".to_owned());
    sim.event(NotifyFailing, Facts { channel: Some(chat.clone()), ..Facts::default() }, None);
    sim.until(100);
    let (moment, wall) = (sim.moment(), sim.wall());
    sim.pipeline.forget_channel(&chat, moment, wall);
    sim.until(10_000);
    assert_eq!(sim.told()[1..], ["110 Recovery notify.failing+0/1 Removed"]);
}

#[test]
fn rules_choose_by_kind_program_and_channel_and_set_the_severity() {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let wide = Rule {
        on: texts(&["process.*"]),
        not_on: texts(&["process.running", "process.start*"]),
        programs: texts(&["web*"]),
        severity: Some(Severity::Warning),
        ..rule("email")
    };
    let told = |sim: &mut Simulation, process: &str, kind: Kind| {
        sim.until(sim.now / 1000 + 1000);
        sim.process(process, kind);
        sim.until(sim.now / 1000 + 100);
        std::mem::take(&mut sim.notices).len()
    };
    let mut channel = email();
    channel.timing.remind_after.clear();
    let mut sim = Simulation::new(channel, &[wide.clone(), Rule { to: Vec::new(), ..wide.clone() }]);
    assert_eq!(told(&mut sim, "web2", ProcessCrashed), 1);
    assert_eq!(told(&mut sim, "db", ProcessCrashed), 0);
    assert_eq!(told(&mut sim, "web3", ProcessStartFailed), 0);
    assert_eq!(told(&mut sim, "web4", ProcessExited), 1);
    sim.alerts.channels = vec![ChannelName("email".to_owned())];
    assert_eq!(told(&mut sim, "db2", ProcessCrashed), 1, "alert_to names the channel in any case");
    sim.alerts.enabled = false;
    assert_eq!(told(&mut sim, "web5", ProcessCrashed), 0);
    sim.alerts = crate::model::notify::Alerts::default();
    sim.channel.min_severity = Severity::Err;
    assert_eq!(told(&mut sim, "web6", ProcessFatal), 0, "the rule made it a warning");
    sim.rules = super::rules::Rules::new(&[wide, Rule { severity: Some(Severity::Crit), ..rule("email") }]);
    assert_eq!(told(&mut sim, "web7", ProcessKilled), 1, "the last rule with a severity wins");
}

#[test]
fn a_group_is_silenced_by_its_name() {
    let mut sim = Simulation::mail();
    sim.silence("front", 600);
    let front = crate::model::notify::About { group_name: Some("front".to_owned()), ..about("web", 0) };
    let facts = Facts { program: Some(name("web")), process: Some("web".to_owned()), ..Facts::default() };
    sim.event(ProcessFatal, facts, Some(&front));
    sim.until(599);
    assert!(sim.notices.is_empty());
    sim.until(600);
    assert_eq!(sim.notices[0].1.items[0].group_name.as_deref(), Some("front"));
}

#[test]
fn dropped_notices_are_mentioned_in_the_next_one() {
    let mut sim = Simulation::mail();
    sim.pipeline.dropped(12);
    sim.restart();
    sim.at(0, "a", &CRASH);
    sim.at(50, "b", &CRASH);
    sim.until(70);
    assert_eq!(sim.notices.iter().map(|(_, notice)| notice.dropped).collect::<Vec<_>>(), [12, 0]);
}

#[test]
fn firing_is_what_was_told_and_has_not_been_told_to_have_ended() {
    let mut sim = Simulation::mail();
    sim.at(0, "web", &CRASH);
    assert!(sim.pipeline.firing().is_empty(), "not told yet");
    sim.until(11);
    sim.process("web", ProcessRunning);
    sim.until(45);
    let firing = sim.pipeline.firing();
    assert_eq!((firing.len(), firing[0].new, firing[0].ended.as_ref()), (1, 0, None), "the end is not told yet");
    assert_eq!(firing[0].incident, sim.notices[0].1.items[0].incident);
    sim.until(60);
    assert!(sim.pipeline.firing().is_empty());
}

#[test]
fn a_digest_shows_fifty_and_counts_the_rest_and_beyond_the_bound_incidents_are_counted_too() {
    let mut sim = Simulation::mail();
    for n in 0..INCIDENTS_MAX + 5 {
        sim.process(&format!("p{n}"), ProcessFatal);
    }
    sim.until(10);
    assert_eq!(sim.notices.len(), 1);
    let notice = &sim.notices[0].1;
    assert_eq!((notice.items.len(), notice.more_items), (50, 1951));
    assert_eq!(sim.pipeline.open_incidents(), INCIDENTS_MAX);
}

#[test]
fn what_is_loaded_and_makes_no_sense_is_refused_in_words() {
    let mut sim = Simulation::mail();
    sim.at(0, "web", &CRASH);
    sim.until(10);
    let good = serde_json::to_value(sim.pipeline.save(sim.moment())).expect("serialises");
    let refusal = |path: &str, value: serde_json::Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(path).expect(path) = value;
        let mut pipeline = super::pipeline::Pipeline::new(&email(), "h1", super::id::IdSource::new(1));
        Saved::read(&bad).and_then(|saved| pipeline.restore(saved, sim.moment())).expect_err(path)
    };
    assert!(refusal("/version", 2.into()).contains("version 2"));
    assert!(refusal("/version", "x".into()).contains("no version"));
    assert!(refusal("/incidents", 5.into()).contains("cannot be read"));
    assert!(refusal("/incidents/0/members", serde_json::json!({})).contains("contradicts itself"));
    assert!(refusal("/incidents/0/told/count", 99.into()).contains("contradicts itself"));
    assert!(refusal("/incidents/0/event/kind", "no.such".into()).contains("cannot be read"));
    assert!(refusal("/incidents/0/subject/program", "../x".into()).contains("cannot be read"));
    // A wait of centuries is cut to the longest that is configured.
    let mut long = good.clone();
    *long.pointer_mut("/incidents/0/reminders/0").expect("a reminder") = u64::MAX.into();
    let saved = Saved::read(&long).expect("reads");
    sim.pipeline.restore(saved, sim.moment()).expect("restores");
    sim.until(3 * 86_400);
    assert_eq!(sim.pipeline.deadline(), None);
}
