//! What is changed on its way to a file, and that nothing else is.

use super::*;
use crate::logger::dress::TIME;

fn dressed(timestamps: bool, strip_ansi: bool, max_bytes: u64) -> Core {
    let mut core = Core::new(max_bytes, 3);
    core.settings = SinkSettings { timestamps, strip_ansi, ..core.settings };
    core.sink();
    core
}

#[test]
fn each_line_has_one_time_however_it_is_written_and_read() {
    let mut core = dressed(true, false, 0);
    let pipe = core.stream(1, Some(1));
    print(&pipe, "one\ntw");
    print(&pipe, "o\n\nlast");
    drop(pipe);
    core.expect_end(1);
    let content = String::from_utf8(core.files().concat()).expect("text");
    let lines: Vec<&str> = content.lines().map(|line| line.split_at(TIME).1).collect();
    assert_eq!(lines, ["one", "two", "", "last"]);
}

#[test]
fn the_rest_of_a_prompt_gets_no_second_time() {
    let mut core = dressed(true, false, 0);
    let pipe = core.stream(1, Some(1));
    print(&pipe, "login: ");
    let path = core.path();
    let deadline = Instant::now() + DEADLINE;
    while std::fs::read(&path).expect("read").is_empty() {
        assert!(Instant::now() < deadline);
        core.poll.wait(Some(Duration::from_millis(5))).expect("waited");
    }
    print(&pipe, "me\nnext\n");
    drop(pipe);
    core.expect_end(1);
    let content = String::from_utf8(core.files().concat()).expect("text");
    let lines: Vec<&str> = content.lines().map(|line| line.split_at(TIME).1).collect();
    assert_eq!(lines, ["login: me", "next"]);
}

#[test]
fn a_sequence_that_is_cut_across_writes_goes_whole() {
    let mut core = dressed(false, true, 0);
    let pipe = core.stream(1, Some(1));
    for piece in ["a\x1b", "[1;3", "1mb\x1b]0;ti", "tle\x07c\n", "\x1b[", "m\n"] {
        print(&pipe, piece);
        core.send(
            &ToLogger::Tail { tails: Vec::new(), lines: 0, follow: false },
            vec![socket::stream_pair().expect("a pair").1.into()],
        );
    }
    drop(pipe);
    core.expect_end(1);
    assert_eq!(core.files().concat(), b"abc\n\n");
}

#[test]
fn with_the_time_no_file_is_too_long_and_no_line_is_cut() {
    let mut core = dressed(true, true, 500);
    let mut pipe = core.stream(1, Some(1));
    let lines: Vec<String> = (0..200).map(|n| format!("\x1b[32m{n}\x1b[m {}", "x".repeat(n % 90))).collect();
    pipe.write_all((lines.join("\n") + "\n").as_bytes()).expect("written");
    drop(pipe);
    core.expect_end(1);
    let files = core.files();
    assert!(files.len() > 10 && files.iter().all(|file| file.len() <= 500 && file.ends_with(b"\n")));
    let content = String::from_utf8(files.concat()).expect("text");
    let found: Vec<&str> = content.lines().map(|line| line.split_at(TIME).1).collect();
    let wanted: Vec<String> = (0..200).map(|n| format!("{n} {}", "x".repeat(n % 90))).collect();
    assert_eq!(found, wanted);
}

#[test]
fn what_is_no_text_and_has_no_lines_stays_as_it_is() {
    let bytes: Vec<u8> =
        (0..16_000_000_u32).map(|n| if n % 3_000_000 == 1 { b'\n' } else { n.to_le_bytes()[1] ^ b'\n' }).collect();
    for writers in [1, 2] {
        let mut core = Core::new(0, 0);
        core.sink();
        let mut pipes: Vec<File> = (1..=writers).map(|id| core.stream(id, Some(1))).collect();
        let mut pipe = pipes.remove(0);
        let copy = bytes.clone();
        let thread = std::thread::spawn(move || pipe.write_all(&copy).expect("the pipe is read"));
        drop(pipes);
        for _ in 0..writers {
            core.expect(|m| matches!(m, FromLogger::Ended { .. }));
        }
        thread.join().expect("written");
        assert!(core.files().concat() == bytes, "identical bytes");
    }
}
