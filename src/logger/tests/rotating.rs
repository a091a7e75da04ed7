//! Rotation: no byte lost or doubled, no line cut that fits, no file too long.

use proptest::prelude::*;

use super::*;

/// Writes bytes in pieces of odd sizes, from a thread of its own.
fn writer(mut pipe: File, bytes: Vec<u8>, pieces: Vec<usize>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut rest = &bytes[..];
        for piece in pieces.iter().cycle() {
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            pipe.write_all(now).expect("the pipe is read");
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    })
}

fn lines(lengths: &[usize], name: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (n, length) in lengths.iter().enumerate() {
        bytes.extend(format!("{} {n} ", char::from(name)).bytes());
        bytes.extend(std::iter::repeat_n(name, *length));
        bytes.push(b'\n');
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn one_writer_finds_its_bytes_in_whole_lines(
        lengths in prop::collection::vec(0usize..400, 1..600),
        pieces in prop::collection::vec(1usize..5000, 1..20),
        max in 420u64..8000,
    ) {
        let mut core = Core::new(max, 3);
        core.sink();
        let bytes = lines(&lengths, b'a');
        let thread = writer(core.stream(1, Some(1)), bytes.clone(), pieces);
        core.expect_end(1);
        thread.join().expect("written");
        let files = core.files();
        for file in &files {
            prop_assert!(file.len() as u64 <= max);
            prop_assert!(file.last().is_none_or(|last| *last == b'\n'));
        }
        prop_assert_eq!(files.concat(), bytes);
    }

    #[test]
    fn eight_writers_of_one_file_keep_their_lines_whole_and_in_order(
        lengths in prop::collection::vec(0usize..300, 1..120),
        pieces in prop::collection::vec(1usize..2000, 1..20),
        max in 400u64..20_000,
    ) {
        let mut core = Core::new(max, 3);
        core.sink();
        let names = b"abcdefgh";
        let pipes: Vec<File> = (1..=8).map(|id| core.stream(id, Some(1))).collect();
        let threads: Vec<_> = pipes
            .into_iter()
            .zip(names)
            .map(|(pipe, name)| writer(pipe, lines(&lengths, *name), pieces.clone()))
            .collect();
        for _ in names {
            core.expect(|m| matches!(m, FromLogger::Ended { .. }));
        }
        for thread in threads {
            thread.join().expect("written");
        }
        let files = core.files();
        for file in &files {
            prop_assert!(file.len() as u64 <= max);
            prop_assert!(file.last().is_none_or(|last| *last == b'\n'));
        }
        let all = files.concat();
        for name in names {
            let own: Vec<u8> =
                all.split_inclusive(|byte| *byte == b'\n').filter(|line| line[0] == *name).flatten().copied().collect();
            prop_assert_eq!(own, lines(&lengths, *name));
        }
    }
}

#[test]
fn a_line_longer_than_a_file_is_cut_and_nothing_is_lost() {
    for writers in [1, 2] {
        let mut core = Core::new(1000, 1);
        core.sink();
        let pipes: Vec<File> = (1..=writers).map(|id| core.stream(id, Some(1))).collect();
        let long = "y".repeat(100_000);
        let thread = writer(pipes[0].try_clone().expect("a copy"), long.clone().into_bytes(), vec![777]);
        drop(pipes);
        for _ in 0..writers {
            core.expect(|m| matches!(m, FromLogger::Ended { .. }));
        }
        thread.join().expect("written");
        assert!(core.files().iter().all(|file| file.len() <= 1000));
        assert_eq!(core.files().concat(), long.as_bytes());
    }
}

#[test]
fn an_unfinished_line_moves_to_the_new_file() {
    let mut core = Core::new(20, 1);
    core.sink();
    let pipe = core.stream(1, Some(1));
    print(&pipe, "0123456789\nabcdef");
    core.expect_content("0123456789\nabcdef");
    print(&pipe, "ghijkl\n");
    drop(pipe);
    core.expect_end(1);
    assert_eq!(core.files(), [&b"0123456789\n"[..], b"abcdefghijkl\n"]);
}

#[test]
fn a_prompt_without_a_line_end_appears_though_others_write_there() {
    let mut core = Core::new(0, 0);
    core.sink();
    let (one, two) = (core.stream(1, Some(1)), core.stream(2, Some(1)));
    print(&one, "login: ");
    core.expect_content("login: ");
    print(&two, "x\n");
    core.expect_content("login: x\n");
}

#[test]
fn without_backups_the_file_is_emptied_in_place() {
    let mut core = Core::new(100, 0);
    core.sink();
    let bytes = lines(&[20; 50], b'a');
    let thread = writer(core.stream(1, Some(1)), bytes.clone(), vec![7, 31]);
    core.expect_end(1);
    thread.join().expect("written");
    let files = core.files();
    assert_eq!(files.len(), 1);
    assert!(files[0].len() <= 100 && files[0].starts_with(b"a ") && bytes.ends_with(&files[0]));
}

#[test]
fn a_file_that_could_not_be_rotated_goes_on_and_is_asked_for_later() {
    let mut core = Core::new(100, 1);
    core.sink();
    let bytes = lines(&[20; 30], b'a');
    let thread = writer(core.stream(1, Some(1)), bytes.clone(), vec![13]);
    let mut sizes = Vec::new();
    while let FromLogger::Rotate { sink } =
        core.expect(|m| matches!(m, FromLogger::Rotate { .. } | FromLogger::Ended { .. }))
    {
        sizes.push(std::fs::metadata(core.path()).expect("stat").len());
        core.send(&ToLogger::Kept { sink }, Vec::new());
    }
    thread.join().expect("written");
    assert_eq!(core.files(), [bytes]);
    assert_eq!(&sizes[..3], [100, 200, 300]);
}

#[test]
fn a_reopened_file_is_gone_on_with_and_a_changed_limit_holds() {
    let mut core = Core::new(0, 1);
    core.sink();
    let pipe = core.stream(1, Some(1));
    print(&pipe, "old\n");
    core.drained();
    core.rotate();
    print(&pipe, "new\n");
    core.drained();
    assert_eq!(core.files(), [b"old\n", b"new\n"]);
    core.settings.max_bytes = 5;
    let message = ToLogger::Settings { sink: SinkId(1), settings: core.settings };
    core.send(&message, Vec::new());
    print(&pipe, "more\n");
    core.drained();
    assert_eq!(core.files(), [&b"old\n"[..], b"new\n", b"more\n"]);
}

#[test]
fn a_reopening_that_crosses_a_rotation_cuts_nothing() {
    let mut core = Core::new(10, 1);
    core.sink();
    let pipe = core.stream(1, Some(1));
    print(&pipe, "1234\nabcdef\n");
    core.expect(|m| matches!(m, FromLogger::Rotate { .. }));
    core.sink(); // the same file, opened once more
    core.rotate();
    drop(pipe);
    core.expect_end(1);
    assert_eq!(core.files().concat(), b"1234\nabcdef\n");
    assert!(core.files().iter().all(|file| file.last().is_none_or(|last| *last == b'\n')));
}

#[test]
fn a_closed_file_gets_its_last_bytes_and_the_program_writes_on() {
    let mut core = Core::new(5, 1);
    core.sink();
    let pipe = core.stream(1, Some(1));
    print(&pipe, "last words\n");
    core.send(&ToLogger::Close { sink: SinkId(1) }, Vec::new());
    core.drained();
    assert_eq!(core.files().concat(), b"last words\n");
    for _ in 0..200 {
        print(&pipe, &"z".repeat(10_000));
    }
    drop(pipe);
    core.expect_end(1);
}

#[test]
fn a_file_that_somebody_emptied_is_not_rotated() {
    let mut core = Core::new(10, 1);
    core.sink();
    let pipe = core.stream(1, Some(1));
    print(&pipe, "12345678\n");
    core.drained();
    open(&core.path()).set_len(0).expect("emptied");
    print(&pipe, "abcdefg\n");
    core.drained();
    assert_eq!((core.rotations, core.files().concat()), (0, b"abcdefg\n".to_vec()));
}
