//! Clients of `tail`: the last lines, then what comes, over restarts; slow ones are cut.

use std::io::Read;
use std::os::unix::net::UnixStream;

use super::*;
use crate::logger::ring::RING_MAX;
use crate::protocol::control::TailReply;
use crate::protocol::frame::Decoder;
use crate::protocol::varlink::Reply;

struct Reader {
    connection: UnixStream,
    decoder: Decoder,
}

impl Reader {
    /// Connects a client to these tails.
    fn new(core: &mut Core, tails: &[u64], lines: u32, follow: bool) -> Self {
        let (connection, other) = socket::stream_pair().expect("a pair");
        connection.set_read_timeout(Some(DEADLINE)).expect("set");
        let tails = tails.iter().map(|id| TailId(*id)).collect();
        core.send(&ToLogger::Tail { tails, lines, follow }, vec![other.into()]);
        Self { connection, decoder: Decoder::new(32 << 20) }
    }

    /// The next answer; `None` at the end.
    fn next(&mut self) -> Option<Reply> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("short frames") {
                return Some(serde_json::from_slice(&frame).expect("a reply"));
            }
            let mut buffer = [0; 4096];
            match self.connection.read(&mut buffer).expect("in time") {
                0 => return None,
                count => self.decoder.push(&buffer[..count]),
            }
        }
    }

    fn next_text(&mut self) -> (String, String, bool) {
        let reply = self.next().expect("an answer");
        let text: TailReply = serde_json::from_value(reply.parameters).expect("a tail");
        (text.process, text.text, reply.continues)
    }
}

#[test]
fn the_last_lines_of_each_process_come_in_one_answer_each() {
    let mut core = Core::new(0, 0);
    let (one, two) = (core.stream(1, None), core.stream(2, None));
    print(&one, "a\nb\nc\n");
    print(&two, "d\n> ");
    core.drained();
    let mut reader = Reader::new(&mut core, &[1, 77, 2], 2, false);
    assert_eq!(reader.next_text(), ("p1".to_owned(), "b\nc\n".to_owned(), true));
    assert_eq!(reader.next_text(), ("p2".to_owned(), "d\n> ".to_owned(), false));
    assert_eq!(reader.next(), None);
    let mut reader = Reader::new(&mut core, &[77], 2, false);
    assert_eq!(reader.next_text(), (String::new(), String::new(), false));
    assert_eq!(reader.next(), None);
}

#[test]
fn a_follower_waits_for_the_first_word_of_a_process_that_has_never_run() {
    let mut core = Core::new(0, 0);
    let mut reader = Reader::new(&mut core, &[1, 2], 10, true);
    let two = core.stream(2, None);
    print(&two, "at last\n");
    assert_eq!(reader.next_text(), ("p2".to_owned(), "at last\n".to_owned(), true));
    for tail in [1, 2] {
        core.send(&ToLogger::Forget { tail: TailId(tail) }, Vec::new());
    }
    assert!(reader.next().is_some_and(|reply| reply.error.is_some()), "it will not come back");
    assert_eq!(reader.next(), None);
}

#[test]
fn a_new_tail_begins_with_the_end_of_its_file() {
    let mut core = Core::new(0, 0);
    std::fs::write(core.path(), "before\n").expect("written");
    core.sink();
    let pipe = core.stream(1, Some(1));
    print(&pipe, "after\n");
    core.drained();
    let mut reader = Reader::new(&mut core, &[1], 10, false);
    assert_eq!(reader.next_text().1, "before\nafter\n");
}

#[test]
fn a_follower_sees_every_byte_once_over_a_restart() {
    let mut core = Core::new(0, 0);
    core.sink();
    let first = core.stream(1, Some(1));
    print(&first, "zero\none\ntw");
    core.drained();
    let mut reader = Reader::new(&mut core, &[1], 1, true);
    assert_eq!(reader.next_text(), ("p1".to_owned(), "tw".to_owned(), true));
    print(&first, "o\nthree \u{2603}");
    assert_eq!(reader.next_text().1, "o\n");
    let mut second_reader = Reader::new(&mut core, &[1], 2, true);
    drop(first);
    core.expect_end(1);
    let second = core.stream(101, Some(1));
    print(&second, "four\n");
    let mut text = String::new();
    while !text.ends_with("four\n") {
        text += &reader.next_text().1;
    }
    assert_eq!(text, "three \u{2603}four\n");
    text.clear();
    while !text.ends_with("four\n") {
        text += &second_reader.next_text().1;
    }
    assert!(text.ends_with("three \u{2603}four\n"), "{text}");
    core.send(&ToLogger::Forget { tail: TailId(1) }, Vec::new());
    let last = reader.next().expect("an answer");
    assert_eq!(last.error.as_deref(), Some("io.taskmaster.Control.Failed"));
    assert_eq!(reader.next(), None);
}

#[test]
fn a_prompt_is_shown_when_it_stands_still() {
    let mut core = Core::new(0, 0);
    let pipe = core.stream(1, None);
    let mut reader = Reader::new(&mut core, &[1], 0, true);
    core.drained();
    print(&pipe, "login: \u{2603}");
    assert_eq!(reader.next_text().1, "login: \u{2603}");
}

#[test]
fn a_follower_too_slow_is_cut_with_the_reason_and_the_program_goes_on() {
    let mut core = Core::new(0, 0);
    core.sink();
    let pipe = core.stream(1, Some(1));
    let mut reader = Reader::new(&mut core, &[1], 0, true);
    core.drained();
    let line = format!("{}\n", "x".repeat(999));
    for _ in 0..8000 {
        print(&pipe, &line);
    }
    drop(pipe);
    core.expect_end(1);
    assert_eq!(std::fs::metadata(core.path()).expect("stat").len(), 8_000_000);
    let mut last = None;
    let mut seen = String::new();
    while let Some(reply) = reader.next() {
        if reply.error.is_none() {
            seen += reply.parameters["text"].as_str().expect("text");
        }
        last = Some(reply);
    }
    assert_eq!(last.expect("an answer").error.as_deref(), Some("io.taskmaster.Control.Failed"));
    assert!(seen.len() < 8_000_000 && seen.split_inclusive('\n').all(|seen| seen == line));
}

#[test]
fn a_client_that_leaves_makes_room_and_too_many_are_refused() {
    let mut core = Core::new(0, 0);
    let pipe = core.stream(1, None);
    let mut readers: Vec<Reader> = (0..64).map(|_| Reader::new(&mut core, &[1], 0, true)).collect();
    let mut refused = Reader::new(&mut core, &[1], 0, true);
    assert_eq!(refused.next().expect("an answer").error.as_deref(), Some("io.taskmaster.Control.Busy"));
    assert_eq!(refused.next(), None);
    readers.truncate(63);
    // The one that left is noticed some time soon.
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut another = Reader::new(&mut core, &[1], 0, true);
        core.drained();
        print(&pipe, "hello\n");
        if another.next().expect("an answer").error.is_none() {
            break;
        }
        assert!(Instant::now() < deadline, "still refused");
    }
    assert_eq!(readers[0].next_text().1, "hello\n");
}

#[test]
fn what_a_client_sends_is_ignored() {
    let mut core = Core::new(0, 0);
    let pipe = core.stream(1, None);
    let mut reader = Reader::new(&mut core, &[1], 0, true);
    reader.connection.write_all(b"{\"method\":\"io.taskmaster.Control.Shutdown\"}\0").expect("sent");
    core.drained();
    print(&pipe, "still here\n");
    assert_eq!(reader.next_text().1, "still here\n");
}

#[test]
fn the_last_bytes_of_a_dead_process_are_given_though_nobody_has_read_them_yet() {
    let mut core = Core::new(0, 0);
    let mut pipe = core.stream(1, None);
    pipe.write_all(b"one\ntwo\n").expect("written");
    drop(pipe);
    let (read, write) = stdio::output_pipe().expect("a pipe");
    stdio::set_nonblocking(&write, true).expect("set");
    stdio::set_nonblocking(&read, false).expect("set");
    core.send(&ToLogger::LastBytes { tail: TailId(1), bytes: 6, before: None }, vec![write]);
    assert_eq!(std::io::read_to_string(File::from(read)).expect("read"), "e\ntwo\n");
    // One that was never heard of has said nothing.
    let (read, write) = stdio::output_pipe().expect("a pipe");
    stdio::set_nonblocking(&read, false).expect("set");
    core.send(&ToLogger::LastBytes { tail: TailId(77), bytes: 100, before: None }, vec![write]);
    assert_eq!(std::io::read_to_string(File::from(read)).expect("read"), "");
}

#[test]
fn what_a_later_life_says_is_not_given_for_an_earlier_one() {
    let mut core = Core::new(0, 0);
    let last = |core: &mut Core, before: Option<u64>| {
        let (read, write) = stdio::output_pipe().expect("a pipe");
        stdio::set_nonblocking(&read, false).expect("set");
        core.send(&ToLogger::LastBytes { tail: TailId(1), bytes: 9, before: before.map(StreamId) }, vec![write]);
        std::io::read_to_string(File::from(read)).expect("read")
    };
    let mut first = core.stream(1, None);
    // Nobody has read it when the next life begins.
    first.write_all(b"why it died\n").expect("written");
    drop(first);
    let mut second = core.stream(101, None);
    assert_eq!(last(&mut core, Some(101)), " it died\n", "the next one has said nothing");
    second.write_all(b"hello, I am new here\n").expect("written");
    assert_eq!(last(&mut core, None), "new here\n");
    assert_eq!(last(&mut core, Some(101)), " it died\n");
    // It says more than is remembered: then there is nothing left of the other.
    for _ in 0..2 * (RING_MAX / 1000) {
        second.write_all(&[b'x'; 1000]).expect("written");
        core.drained();
    }
    assert_eq!(last(&mut core, Some(101)), "");
    assert_eq!(last(&mut core, None), "xxxxxxxxx");
}
