//! Tests of the status texts: supervisorctl's lines to the byte, the table at its widths.
use super::*;
use crate::model::id::ProgramName;
use crate::model::signal::Signal;
use crate::model::state::Wanted;
use crate::model::time::WallTime;

/// A process as the supervisor tells it, for this test and others.
pub fn process(name: &str, state: State) -> Process {
    let program = name.split(':').next().expect("a part");
    let runs = state == State::Running;
    Process {
        program: ProgramName::new(program).expect("a name"),
        process: name.to_owned(),
        instance: 0,
        group_name: None,
        state,
        statecode: state.code(),
        wanted: Wanted::Up,
        pid: runs.then_some(4242),
        user: "www-data".to_owned(),
        uptime_seconds: runs.then_some(62.7),
        restarts: 0,
        last_exit: None,
        reason: None,
    }
}

fn ended(code: Option<u8>, signal: Option<&str>) -> Option<LastExit> {
    let at = WallTime::from_millisecond(1_795_162_743_000).expect("in range");
    Some(LastExit { code, signal: signal.and_then(Signal::parse), core_dumped: false, at })
}

#[test]
fn scripts_get_supervisorctls_lines_to_the_byte() {
    let processes = [
        process("web:0", State::Running),
        Process { uptime_seconds: Some(86_400.0 + 3723.0), ..process("one", State::Running) },
        Process { uptime_seconds: Some(3.0 * 86_400.0 + 5.9), ..process("three", State::Running) },
        Process { reason: Some("can't find command\n'x'".to_owned()), ..process("fatal", State::Fatal) },
        Process { reason: Some("Exited too quickly".to_owned()), ..process("backoff", State::Backoff) },
        Process { last_exit: ended(Some(0), None), ..process("stopped", State::Stopped) },
        Process { last_exit: ended(None, Some("KILL")), ..process("exited", State::Exited) },
        process("never", State::Stopped),
        process("starting", State::Starting),
        process("stopping", State::Stopping),
    ];
    assert_eq!(
        lines(&processes, &TimeZone::UTC),
        "web:0                            RUNNING   pid 4242, uptime 0:01:02\n\
         one                              RUNNING   pid 4242, uptime 1 day, 1:02:03\n\
         three                            RUNNING   pid 4242, uptime 3 days, 0:00:05\n\
         fatal                            FATAL     can't find command\\n'x'\n\
         backoff                          BACKOFF   Exited too quickly\n\
         stopped                          STOPPED   Nov 20 08:19 AM\n\
         exited                           EXITED    Nov 20 08:19 AM\n\
         never                            STOPPED   Not started\n\
         starting                         STARTING  \n\
         stopping                         STOPPING  \n"
    );
}

#[test]
fn a_long_name_moves_the_columns_of_all_lines() {
    let long = "n".repeat(34);
    let text = lines(&[process(&long, State::Running), process("web", State::Stopped)], &TimeZone::UTC);
    assert_eq!(text, format!("{long}   RUNNING   pid 4242, uptime 0:01:02\n{:37}STOPPED   Not started\n", "web"));
}

#[test]
fn stop_times_are_told_in_the_zone_of_who_asks() {
    let stopped = Process { last_exit: ended(Some(0), None), ..process("web", State::Stopped) };
    let zone = TimeZone::fixed(jiff::tz::offset(9));
    assert!(lines(&[stopped], &zone).ends_with("Nov 20 05:19 PM\n"));
}

fn sample() -> Vec<Process> {
    vec![
        Process { restarts: 3, last_exit: ended(None, Some("SEGV")), ..process("web:0", State::Running) },
        Process {
            reason: Some("changing to the working directory /srv/app: No such file or directory".to_owned()),
            ..process("größe", State::Fatal)
        },
        process("db", State::Stopped),
    ]
}

#[test]
fn the_table_fits_eighty_columns() {
    assert_eq!(
        table(&sample(), 80, false, &TimeZone::UTC),
        "\
NAME   STATE     PID  UPTIME  RESTARTS  USER      INFO
web:0  RUNNING  4242    1m2s         3  www-data  before: SIGSEGV, Nov 20 08:19…
größe  FATAL       -       -         0  www-data  changing to the working direc…
db     STOPPED     -       -         0  www-data  not started
"
    );
}

#[test]
fn at_forty_columns_less_important_columns_go_first() {
    let text = table(&sample(), 40, false, &TimeZone::UTC);
    assert_eq!(
        text,
        "\
NAME   STATE    UPTIME  INFO
web:0  RUNNING    1m2s  before: SIGSEGV…
größe  FATAL         -  changing to the…
db     STOPPED       -  not started
"
    );
    assert!(text.lines().all(|line| line.width() <= 40), "{text}");
}

#[test]
fn no_width_is_ever_exceeded() {
    let mut processes = sample();
    processes.push(process(&"n".repeat(64), State::Backoff));
    for width in 1..200 {
        let text = table(&processes, width, false, &TimeZone::UTC);
        assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
    }
}

#[test]
fn colour_marks_the_state_and_moves_nothing() {
    let coloured = table(&sample(), 80, true, &TimeZone::UTC);
    assert!(coloured.contains("\x1b[32mRUNNING\x1b[0m"), "{coloured:?}");
    assert!(coloured.contains("\x1b[1;31mFATAL\x1b[0m"), "{coloured:?}");
    let mut bare = coloured;
    for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[1;31m"] {
        bare = bare.replace(code, "");
    }
    assert_eq!(bare, table(&sample(), 80, false, &TimeZone::UTC));
}

#[test]
fn foreign_text_cannot_act_on_the_terminal() {
    let mut evil = process("web", State::Fatal);
    evil.process = "w\x1b[2Jb".to_owned();
    evil.user = "u\u{9b}".to_owned();
    evil.reason = Some("a\nb\x07\u{202e}".to_owned());
    for text in [table(&[evil.clone()], 200, false, &TimeZone::UTC), lines(&[evil.clone()], &TimeZone::UTC)] {
        assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
    }
    assert_eq!(lines(&[evil], &TimeZone::UTC).lines().count(), 1);
}

#[test]
fn a_long_name_takes_no_more_than_half_the_width_and_keeps_its_number() {
    let long = format!("{}:12", "日".repeat(61));
    let processes = [process(&long, State::Running), process("web", State::Fatal)];
    for (width, name) in [(80, 40), (40, 20), (20, 10)] {
        let text = table(&processes, width, false, &TimeZone::UTC);
        let first = text.lines().nth(1).expect("a line");
        assert!(first.contains("日…:12") && first.contains("RUNNING"), "{text}");
        assert!(first.split("  ").next().expect("a name").width() <= name, "{text}");
        assert!(text.lines().all(|line| line.width() <= width) && text.contains("FATAL"), "{text}");
    }
    assert!(table(&processes, 300, false, &TimeZone::UTC).contains(&long), "there is room");
}
