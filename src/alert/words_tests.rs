use proptest::prelude::*;

use super::*;
use crate::alert::notice::{Ended, Flaps};
use crate::alert::samples::{at, crash, event, notice, recovered};
use crate::model::event::Facts;
use crate::model::stage::Stage;

#[test]
fn a_subject_says_what_where_and_why() {
    let one = |purpose, item| subject(&notice(purpose, vec![item]));
    assert_eq!(one(Purpose::Problem, crash("web")), "web crashed on h1: signal SEGV (core dumped)");
    let still = "Still failing: web on h1 since 2026-11-20 08:12 UTC: signal SEGV (core dumped), 17 crashes";
    let more = Item { count: 17, new: 5, ..crash("web") };
    assert_eq!(one(Purpose::Problem, more.clone()), "web crashed on h1: signal SEGV (core dumped), 17 crashes");
    assert_eq!(one(Purpose::Reminder, more.clone()), still);
    assert_eq!(one(Purpose::Problem, Item { goes_on: true, ..more.clone() }), still, "only the count grew");
    let flaps = Some(Flaps { incidents: 3, count: 19, since: at(-240) });
    assert_eq!(
        one(Purpose::Flapping, Item { flaps, ..more }),
        "web flapping on h1: signal SEGV (core dumped), 3 incidents with 19 crashes in 4m"
    );
    assert_eq!(one(Purpose::Recovery, recovered("web")), "web recovered on h1 after 12m (7 crashes)");
    assert_eq!(subject(&notice(Purpose::Test, Vec::new())), "Test message from Taskmaster on h1");
}

#[test]
fn an_end_by_a_person_is_not_called_a_recovery() {
    let stopped = stopped("web");
    assert_eq!(subject(&notice(Purpose::Recovery, vec![stopped])), "web was stopped on h1 after 1m (1 crash)");
}

/// Told, and then stopped.
fn stopped(name: &str) -> Item {
    Item { new: 0, ended: Some(Ended { at: at(60), how: End::Stopped }), ..crash(name) }
}

#[test]
fn what_is_over_before_anybody_was_told_is_told_as_what_it_was() {
    let late = Item { new: 1, ..stopped("web") };
    assert_eq!(
        subject(&notice(Purpose::Problem, vec![late.clone()])),
        "web crashed on h1: signal SEGV (core dumped); it was stopped after 1m"
    );
    let facts = Facts::message("it did not end within 10s of SIGTERM");
    let killed = |name: &str| Item {
        event: event(Kind::ProcessKilled, facts.clone()),
        program: stopped(name).program,
        ..late.clone()
    };
    assert_eq!(
        subject(&notice(Purpose::Problem, vec![killed("db")])),
        "db had to be killed on h1: it did not end within 10s of SIGTERM"
    );
    let both = notice(Purpose::Problem, vec![late.clone(), killed("db")]);
    assert_eq!(subject(&both), "2 programs failed on h1: web, db");
    let one_goes_on = notice(Purpose::Problem, vec![crash("api"), late.clone(), killed("db")]);
    assert_eq!(subject(&one_goes_on), "3 programs failing on h1: api, web, db");
}

#[test]
fn a_failed_start_names_its_stage_and_the_error_in_words() {
    let facts = Facts { stage: Some(Stage::Chdir), errno: Some(2), ..Facts::default() };
    let failed = Item { event: event(Kind::ProcessStartFailed, facts), ..crash("web") };
    assert_eq!(
        subject(&notice(Purpose::Problem, vec![failed])),
        "web could not be started on h1: changing to the working directory: No such file or directory"
    );
}

#[test]
fn a_digest_counts_all_and_names_the_first() {
    let items = ["web", "db", "cache", "queue"].map(crash).to_vec();
    let mut digest = notice(Purpose::Problem, items);
    assert_eq!(subject(&digest), "4 programs failing on h1: web, db, cache, queue");
    digest.more_items = 40;
    assert_eq!(subject(&digest), "44 programs failing on h1: web, db, cache, queue, …");
    let mixed = notice(Purpose::Problem, vec![crash("web"), recovered("db")]);
    assert_eq!(subject(&mixed), "web crashed on h1: signal SEGV (core dumped); db recovered");
    let all = notice(Purpose::Recovery, vec![recovered("web"), recovered("db")]);
    assert_eq!(subject(&all), "2 programs recovered on h1: web, db");
    let mixed = notice(Purpose::Recovery, vec![stopped("web"), recovered("db")]);
    assert_eq!(subject(&mixed), "2 programs no longer failing on h1: web, db");
}

#[test]
fn a_digest_names_what_is_new_before_what_goes_on_and_says_since_when_that_is() {
    let old = |name: &str| Item { goes_on: true, count: 9, ..crash(name) };
    let mut told = notice(Purpose::Problem, vec![old("d1"), old("d2"), crash("new"), recovered("once")]);
    assert_eq!(subject(&told), "new crashed on h1: signal SEGV (core dumped); 2 still failing; once recovered");
    told.items.remove(2);
    let still = "Still failing: 2 programs on h1 since 2026-11-20 08:12 UTC: d1, d2; once recovered";
    assert_eq!(subject(&told), still);
    told.purpose = Purpose::Reminder;
    assert_eq!(subject(&told), still);
}

#[test]
fn what_is_about_no_program_says_what_it_is_about() {
    let facts = Facts::message("line 3: unknown key");
    let rejected = Item { program: None, event: event(Kind::ConfigRejected, facts), ..crash("web") };
    let told = subject(&notice(Purpose::Occurrence, vec![rejected]));
    assert_eq!(told, "Configuration rejected on h1: line 3: unknown key");
}

proptest! {
    #[test]
    fn a_subject_is_one_short_safe_line_whatever_the_texts_hold(host in any::<String>(), message in any::<String>()) {
        let facts = Facts::message(message);
        let item = Item { program: None, event: event(Kind::ControlDenied, facts), ..crash("web") };
        let mut notice = notice(Purpose::Occurrence, vec![item]);
        notice.host = host;
        let subject = subject(&notice);
        prop_assert!(subject.len() <= SUBJECT_MAX);
        prop_assert_eq!(escaped(&subject), subject.as_str());
        prop_assert!(!subject.contains("=?") && !subject.contains("  "));
    }
}
