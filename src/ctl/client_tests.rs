//! Tests of the client against a small server on the other end of a socket pair.
use std::thread;

use super::*;
use crate::protocol::control::{Channel, EventsReply, NoParameters, TailReply, VersionReply};

/// A server that reads one call, writes these pieces one after the other and closes.
fn answering(pieces: Vec<Vec<u8>>) -> (UnixStream, thread::JoinHandle<String>) {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let server = thread::spawn(move || {
        let (mut call, mut byte) = (Vec::new(), [0]);
        while theirs.read(&mut byte).expect("reads") == 1 && byte[0] != 0 {
            call.push(byte[0]);
        }
        for piece in pieces {
            if theirs.write_all(&piece).is_err() {
                break;
            }
        }
        String::from_utf8(call).expect("text")
    });
    (ours, server)
}

fn version_with(answer: &str) -> Result<VersionReply, ClientError> {
    let (ours, server) = answering(vec![answer.as_bytes().to_vec()]);
    let reply = Client::new(ours, None).call(Method::Version, &NoParameters {});
    server.join().expect("the server ends");
    reply
}

#[test]
fn an_answer_in_single_bytes_is_put_together() {
    let answer = b"{\"parameters\":{\"version\":\"1.2\",\"pid\":7}}\0";
    let (ours, server) = answering(answer.iter().map(|byte| vec![*byte]).collect());
    let reply: VersionReply = Client::new(ours, None).call(Method::Version, &NoParameters {}).expect("an answer");
    assert_eq!(reply, VersionReply { version: "1.2".to_owned(), pid: 7 });
    let call = server.join().expect("the server ends");
    assert_eq!(call, r#"{"method":"io.taskmaster.Control.Version","parameters":{}}"#);
}

#[test]
fn errors_become_refusals_with_their_exit_codes() {
    for (name, parameters, code, words) in [
        (
            "io.taskmaster.Control.NoSuchProgram",
            r#"{"selector":"wbe","suggestion":"web"}"#,
            4,
            "no program `wbe`; did you mean `web`?",
        ),
        ("io.taskmaster.Control.NoSuchProgram", r#"{"selector":"\u001b","suggestion":null}"#, 4, "no program `\\x1b`"),
        (
            "io.taskmaster.Control.NotPermitted",
            r#"{"verb":"stop","rule":"verbs = [\"stop\"]"}"#,
            5,
            "not permitted to stop; what would allow it: verbs = [\"stop\"]",
        ),
        (
            "io.taskmaster.Control.ConfigRejected",
            r#"{"faults":"a:1:2: bad\n  x\u0007\n  ^"}"#,
            1,
            "a:1:2: bad\n  x\\x07\n  ^",
        ),
        ("io.taskmaster.Control.ShuttingDown", "{}", 1, "the supervisor is shutting down"),
        ("io.taskmaster.Control.ShuttingDown", "null", 1, "the supervisor is shutting down"),
        ("io.taskmaster.Control.Busy", r#"{"message":"64 clients"}"#, 1, "64 clients"),
        (
            "org.varlink.service.InvalidParameter",
            r#"{"parameter":"signal"}"#,
            2,
            "the supervisor does not accept `signal`",
        ),
        ("org.example.Else", "{}", 1, "the supervisor answered with the error org.example.Else"),
    ] {
        let answer = format!("{{\"error\":\"{name}\",\"parameters\":{parameters}}}\0");
        let error = version_with(&answer).expect_err("an error");
        assert_eq!((error.exit_code(), error.to_string().as_str()), (code, words));
    }
}

#[test]
fn a_connection_lost_in_the_middle_of_an_answer_is_told() {
    let error = version_with("{\"parameters\":{\"vers").expect_err("no whole answer");
    assert!(matches!(error, ClientError::Lost));
    assert_eq!(error.exit_code(), 6);
}

#[test]
fn an_answer_that_is_not_of_the_interface_is_told_and_not_trusted() {
    for answer in [
        "nonsense\0",
        "{\"parameters\":{}}\0",
        "[]\0",
        "{\"parameters\":{\"version\":\"1\",\"pid\":1},\"continues\":true}\0",
    ] {
        assert!(matches!(version_with(answer), Err(ClientError::Nonsense(_))), "{answer}");
    }
}

#[test]
fn an_answer_beyond_the_cap_is_not_read_to_its_end() {
    let (ours, server) = answering(vec![vec![b' '; 1 << 20]; (REPLY_MAX >> 20) + 2]);
    let mut client = Client::new(ours, None);
    let error = client.call::<VersionReply>(Method::Version, &NoParameters {}).expect_err("too long");
    assert!(matches!(error, ClientError::TooLong));
    drop(client);
    server.join().expect("the server ends");
}

#[test]
fn a_stream_of_answers_ends_with_the_last_or_when_enough_came() {
    let piece = |text: &str, continues| {
        encode(&Reply {
            continues,
            ..Reply::done(TailReply {
                process: "web".to_owned(),
                channel: Channel::Stdout,
                outputs: 1,
                text: text.to_owned(),
            })
        })
    };
    let pieces = vec![[piece("a", true), piece("b", true)].concat(), piece("c", false)];
    let (ours, _server) = answering(pieces.clone());
    let mut texts = String::new();
    let end = Client::new(ours, None).call_more(Method::Tail, &NoParameters {}, |reply: TailReply| {
        texts.push_str(&reply.text);
        ControlFlow::<()>::Continue(())
    });
    assert!(matches!(end, Ok(None)));
    assert_eq!(texts, "abc");
    let (ours, server) = answering(pieces);
    let end = Client::new(ours, None)
        .call_more(Method::Tail, &NoParameters {}, |reply: TailReply| ControlFlow::Break(reply.text));
    assert_eq!(end.expect("an answer").as_deref(), Some("a"));
    let call = server.join().expect("the server ends");
    assert!(call.contains(r#""more":true"#), "{call}");
}

#[test]
fn a_silent_supervisor_holds_up_no_patient_question() {
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let mut client = Client::new(ours, None).with_patience(Duration::from_millis(5));
    let late = client.call::<EventsReply>(Method::Events, &NoParameters {});
    assert!(matches!(late, Err(ClientError::Late)));
}

#[test]
fn the_end_of_the_connection_can_be_waited_for() {
    let (ours, server) = answering(vec![b"{\"parameters\":{}}\0".to_vec()]);
    let mut client = Client::new(ours, None);
    client.call_raw(Method::Shutdown, &NoParameters {}).expect("an answer");
    client.wait_for_end().expect("it ends");
    server.join().expect("the server ends");
}

#[test]
fn what_cannot_be_reached_is_named_with_the_next_thing_to_type() {
    let error = |kind: io::ErrorKind| ClientError::Unreachable { socket: "/x".into(), error: kind.into() };
    assert_eq!(
        error(io::ErrorKind::NotFound).to_string(),
        "cannot reach the supervisor: there is no socket /x; start `taskmasterd`, or name its socket: `taskmasterctl -s SOCKET`"
    );
    assert_eq!(error(io::ErrorKind::NotFound).exit_code(), 6);
    assert_eq!(error(io::ErrorKind::ConnectionRefused).exit_code(), 6);
    assert_eq!(error(io::ErrorKind::PermissionDenied).exit_code(), 5);
}
