//! Tests of whole commands against a small server behind a real socket.
use std::io::{self, Read, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;
use crate::ctl::connect::Connector;
use crate::ctl::show::tests::process;
use crate::protocol::control::{ChangeResult, Channel, EventsReply, Outcome, Process, TailReply};
use crate::protocol::frame::{CALL_MAX, Decoder, encode};
use crate::protocol::varlink::{Call, Reply};

/// What was printed, for a test to look at.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("unpoisoned").write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("unpoisoned").clone()).expect("text")
    }
}

/// A supervisor that answers each call as `answer` says, one connection after the other.
pub fn supervisor(answer: impl Fn(&Call) -> Vec<Reply> + Send + 'static) -> (tempfile::TempDir, Connector) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("control.sock");
    let listener = UnixListener::bind(&path).expect("binds");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut decoder = Decoder::new(CALL_MAX);
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                decoder.push(&bytes[..count]);
                if let Some(frame) = decoder.next_frame().expect("short frames") {
                    for reply in answer(&serde_json::from_slice(&frame).expect("a call")) {
                        let _ = stream.write_all(&encode(&reply));
                    }
                    break;
                }
            }
        }
    });
    (dir, Connector::Socket(path))
}

/// Runs the words of a command line; exit code, standard output, standard error.
pub fn run(connector: &Connector, terminal: bool, words: &[&str]) -> (u8, String, String) {
    let words: Vec<_> = words.iter().map(std::ffi::OsString::from).collect();
    let line = command::parse_command_line(&words).expect("parses");
    let (out, err) = (Sink::default(), Sink::default());
    let mut screen = Screen::of(Box::new(out.clone()), Box::new(err.clone()), terminal);
    let session = Session { connector, interrupts: None, json: line.json, in_shell: false };
    let code = match session.run(&line.action.expect("a command"), &mut screen) {
        Ok(code) => code,
        Err(failure) => screen.failure(&failure),
    };
    (code, out.text(), err.text())
}

fn change(results: &[(&str, Outcome)]) -> Vec<Reply> {
    let result = |(name, outcome): &(&str, Outcome)| ChangeResult {
        process: (*name).to_owned(),
        outcome: *outcome,
        detail: None,
    };
    vec![Reply::done(ChangeReply { results: results.iter().map(result).collect(), waiting: Vec::new() })]
}

fn status(processes: &[Process]) -> Vec<Reply> {
    vec![Reply::done(StatusReply { processes: processes.to_vec(), channels: Vec::new() })]
}

#[test]
fn status_exits_with_three_when_something_is_not_running() {
    let (_dir, connector) = supervisor(|_| status(&[process("web", State::Running)]));
    assert_eq!(run(&connector, false, &["status"]).0, 0);
    let (_dir, connector) = supervisor(|_| status(&[process("web", State::Running), process("db", State::Backoff)]));
    let (code, out, _) = run(&connector, false, &["status"]);
    assert_eq!((code, out.lines().count()), (3, 2));
    let (code, out, _) = run(&connector, true, &["status"]);
    assert!(code == 3 && out.starts_with("NAME"), "{out}");
}

#[test]
fn status_as_json_is_the_array_of_processes() {
    let (_dir, connector) = supervisor(|_| status(&[process("web", State::Running)]));
    let (code, out, _) = run(&connector, true, &["status", "--json"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("[\n  {\n    \"program\": \"web\",\n    \"process\": \"web\""), "{out}");
    assert_eq!(serde_json::from_str::<Vec<Process>>(&out).expect("reads back"), [process("web", State::Running)]);
}

#[test]
fn a_restart_in_a_script_tells_the_stop_only_of_what_ran() {
    let (_dir, connector) = supervisor(|call| match call.method.rsplit('.').next() {
        Some("Status") => status(&[process("web", State::Running), process("db", State::Stopped)]),
        Some("Restart") => change(&[("web", Outcome::Started), ("db", Outcome::Started)]),
        other => panic!("{other:?}"),
    });
    let (code, out, _) = run(&connector, false, &["restart", "all"]);
    assert_eq!((code, out.as_str()), (0, "web: stopped\nweb: started\ndb: started\n"));
    let (_, out, _) = run(&connector, true, &["restart", "all"]);
    assert_eq!(out, "web: restarted\ndb: restarted\n");
}

#[test]
fn an_unknown_name_is_told_as_scripts_expect_and_to_people_with_a_suggestion() {
    let (_dir, connector) = supervisor(|_| {
        let parameters = serde_json::json!({"selector": "wbe", "suggestion": "web"});
        vec![Reply::error("io.taskmaster.Control.NoSuchProgram", parameters)]
    });
    let (code, out, _) = run(&connector, false, &["start", "wbe"]);
    assert_eq!((code, out.as_str()), (4, "wbe: ERROR (no such process)\n"));
    let (code, out, err) = run(&connector, true, &["stop", "wbe"]);
    assert_eq!((code, out.as_str(), err.as_str()), (4, "", "taskmasterctl: no program `wbe`; did you mean `web`?\n"));
}

#[test]
fn a_refused_configuration_is_shown_line_by_line_and_safe() {
    let (_dir, connector) = supervisor(|_| {
        let faults = serde_json::json!({"faults": "a.toml:1:2: bad\n1 | x\u{1b}[2J\n  | ^"});
        vec![Reply::error("io.taskmaster.Control.ConfigRejected", faults)]
    });
    let (code, out, err) = run(&connector, true, &["reload"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("a.toml:1:2: bad\n1 | x\\x1b[2J\n  | ^\n"), "{err}");
}

#[test]
fn calls_carry_what_was_asked() {
    let (_dir, connector) = supervisor(|call| {
        assert_eq!(call.parameters, serde_json::json!({"selectors": ["web"], "wait": false}));
        change(&[("web", Outcome::Ordered)])
    });
    let (code, out, _) = run(&connector, false, &["start", "--no-wait", "web"]);
    assert_eq!((code, out.as_str()), (0, "web: ordered\n"));
}

#[test]
fn the_supervisors_own_number_and_those_of_programs() {
    let (_dir, connector) = supervisor(|call| match call.method.rsplit('.').next() {
        Some("Version") => vec![Reply::done(VersionReply { version: "9.9".to_owned(), pid: 77 })],
        _ => status(&[process("web", State::Running), process("db", State::Stopped)]),
    });
    assert_eq!(run(&connector, false, &["pid"]).1, "77\n");
    let (code, out, _) = run(&connector, false, &["pid", "all"]);
    assert_eq!((code, out.as_str()), (1, "4242\n0\n"));
    assert_eq!(run(&connector, false, &["version"]).1, "9.9\n");
}

fn piece(process: &str, outputs: u32, text: &str) -> TailReply {
    TailReply { process: process.to_owned(), channel: Channel::Stdout, outputs, text: text.to_owned() }
}

#[test]
fn of_several_outputs_each_line_says_whose_it_is() {
    let answer = |_: &Call| {
        let err = TailReply { channel: Channel::Stderr, ..piece("web", 3, "e\x1b[2J\n") };
        vec![
            Reply::continues(piece("web", 3, "a\nb")),
            Reply::continues(err),
            Reply::continues(piece("db", 3, "c")),
            Reply::done(piece("db", 3, "d\n")),
        ]
    };
    let (_dir, connector) = supervisor(answer);
    let lines = |end| format!("web | a\nweb | b\nweb stderr | e{end}[2J\ndb | cd\n");
    let words = ["tail", "-f", "web", "db", "both"];
    assert_eq!(run(&connector, true, &words).1, lines("\\x1b"));
    assert_eq!(run(&connector, false, &words).1, lines("\x1b"));
    assert_eq!(run(&connector, true, &["tail", "-f", "--raw", "web", "db", "both"]).1, lines("\x1b"));
}

#[test]
fn a_tail_is_raw_in_a_pipe_and_safe_on_a_terminal() {
    let answer = |_: &Call| vec![Reply::continues(piece("web", 1, "a\u{1b}[2J\nb")), Reply::done(piece("web", 1, "c"))];
    let (_dir, connector) = supervisor(answer);
    assert_eq!(run(&connector, false, &["tail", "-f", "web"]).1, "a\u{1b}[2J\nbc");
    assert_eq!(run(&connector, true, &["tail", "-f", "web"]).1, "a\\x1b[2J\nbc\n");
    assert_eq!(run(&connector, true, &["tail", "-f", "--raw", "web"]).1, "a\u{1b}[2J\nbc\n");
}

#[test]
fn a_follower_that_is_cut_off_exits_with_one_and_the_reason() {
    let (_dir, connector) = supervisor(|_| {
        let first = Reply::continues(EventsReply { events: vec![], lost: 2, forgotten: false });
        let busy = serde_json::json!({"message": "too slow"});
        vec![first, Reply::error("io.taskmaster.Control.Busy", busy)]
    });
    let (code, _, err) = run(&connector, false, &["events", "-f"]);
    assert_eq!(code, 1);
    assert!(err.contains("2 events came too fast") && err.ends_with("taskmasterctl: too slow\n"), "{err}");
}

#[test]
fn a_shutdown_that_is_under_way_is_done() {
    let (_dir, connector) =
        supervisor(|_| vec![Reply::error("io.taskmaster.Control.ShuttingDown", serde_json::json!({}))]);
    assert_eq!(run(&connector, false, &["shutdown"]), (0, "Shut down\n".to_owned(), String::new()));
}

#[test]
fn without_a_supervisor_the_socket_is_named_and_the_exit_code_is_six() {
    let (code, out, err) = run(&Connector::Socket("/nonexistent/s".into()), false, &["status"]);
    assert_eq!((code, out.as_str()), (6, ""));
    assert!(err.contains("/nonexistent/s"), "{err}");
}

#[test]
fn a_reader_who_leaves_is_no_failure() {
    struct Closed;
    impl io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (_dir, connector) = supervisor(|_| status(&[process("web", State::Running)]));
    let err = Sink::default();
    let mut screen = Screen::of(Box::new(Closed), Box::new(err.clone()), false);
    let session = Session { connector: &connector, interrupts: None, json: false, in_shell: false };
    let failure = session
        .run(&Action::Status { detail: false, watch: false, selectors: vec![] }, &mut screen)
        .expect_err("a closed pipe");
    assert_eq!(screen.failure(&failure), 0);
    assert_eq!(err.text(), "");
    assert!(screen.is_closed());
}
