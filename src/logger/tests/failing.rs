//! A file that cannot be written: the program goes on, what is lost is counted, no half line is left.

use super::*;

fn full() -> File {
    OpenOptions::new().read(true).write(true).open("/dev/full").expect("/dev/full")
}

#[test]
fn a_full_disk_drops_and_counts_and_ends_when_there_is_room_again() {
    let mut core = Core::new(0, 0);
    core.send_sink(full());
    let pipe = core.stream(1, Some(1));
    for _ in 0..100 {
        print(&pipe, &format!("{}\n", "x".repeat(9999)));
    }
    print(&pipe, "half of a ");
    let message = core.expect(|m| matches!(m, FromLogger::Dropping { .. }));
    assert_eq!(message, FromLogger::Dropping { sink: SinkId(1), errno: libc::ENOSPC });
    core.drained();
    core.sink();
    // The file is tried again a while after the last failure, with the next block.
    let deadline = Instant::now() + DEADLINE;
    let mut lines = 0_u64;
    let dropped = loop {
        print(&pipe, "line\n");
        lines += 1;
        core.drained();
        if core.told.iter().any(|m| matches!(m, FromLogger::Dropped { .. })) {
            break told(&core);
        }
        assert!(Instant::now() < deadline);
        core.poll.wait(Some(Duration::from_millis(20))).expect("waited");
    };
    drop(pipe);
    core.expect_end(1);
    let content = core.files().concat();
    assert_eq!(dropped + content.len() as u64, 1_000_000 + 10 + 5 * lines);
    assert!(!content.is_empty() && content.chunks(5).all(|line| line == b"line\n"), "whole lines only");
    assert_eq!(core.told.iter().filter(|m| matches!(m, FromLogger::Dropping { .. })).count(), 0, "told once");
}

/// How many bytes were dropped, as far as it was told.
fn told(core: &Core) -> u64 {
    let bytes = |message: &FromLogger| match message {
        FromLogger::Losing { bytes, .. } | FromLogger::Dropped { bytes, .. } => *bytes,
        _ => 0,
    };
    core.told.iter().map(bytes).sum()
}

/// A file that takes `room` more bytes and not one more: it is as long as the kernel allows but for those.
/// In memory, where files may be so long.
fn tight(room: u64) -> (tempfile::NamedTempFile, File, u64) {
    use std::os::unix::fs::FileExt;
    let named = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file");
    let size = i64::MAX.cast_unsigned() - room;
    let file = open(named.path());
    file.set_len(size).expect("grown");
    named.as_file().write_all_at(b"\n", size - 1).expect("written");
    (named, file, size)
}

fn dropping(core: &mut Core) -> i32 {
    match core.expect(|m| matches!(m, FromLogger::Dropping { .. })) {
        FromLogger::Dropping { errno, .. } => errno,
        _ => 0,
    }
}

#[test]
fn a_line_that_does_not_fit_any_more_leaves_no_half() {
    let mut core = Core::new(0, 0);
    let (_named, file, size) = tight(18);
    core.send_sink(file.try_clone().expect("a copy"));
    let pipe = core.stream(1, Some(1));
    print(&pipe, "one\ntwo\nthr");
    core.drained();
    assert_eq!(file.metadata().expect("stat").len(), size + 11);
    print(&pipe, "ee and a half\nfour\n");
    assert_ne!(dropping(&mut core), 0);
    core.drained();
    assert_eq!(file.metadata().expect("stat").len(), size + 8, "the half line is gone");
}

#[test]
fn after_a_drop_writing_goes_on_at_the_start_of_a_line() {
    let mut core = Core::new(0, 0);
    core.send_sink(full());
    let pipe = core.stream(1, Some(1));
    print(&pipe, "half");
    assert_eq!(dropping(&mut core), libc::ENOSPC);
    core.sink();
    core.drained();
    // Long after the next try is due, the rest of that line comes: it belongs to no file.
    let (other, _keep) = socket::message_pair().expect("a pair");
    let mut still = Poll::new().expect("epoll");
    still.add(&other, Interest::Read).expect("added");
    still.wait(Some(Duration::from_millis(150))).expect("waited");
    print(&pipe, " a line\nwhole\n");
    core.expect(|m| matches!(m, FromLogger::Dropped { .. }));
    assert_eq!(told(&core), 12);
    drop(pipe);
    core.expect_end(1);
    assert_eq!(core.files().concat(), b"whole\n");
}
