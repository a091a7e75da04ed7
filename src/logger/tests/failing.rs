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
        let told =
            core.told.iter().find_map(|m| if let FromLogger::Dropped { bytes, .. } = m { Some(*bytes) } else { None });
        if let Some(bytes) = told {
            break bytes;
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

#[test]
fn a_limit_of_the_file_size_leaves_no_half_line() {
    // RLIMIT_FSIZE would hold for all tests of this process: a sealed file in memory cannot grow either.
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};

    let memory = memfd_create(c"log", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC).expect("memory");
    let file = File::from(memory);
    let mut core = Core::new(0, 0);
    core.send_sink(file.try_clone().expect("a copy"));
    let pipe = core.stream(1, Some(1));
    print(&pipe, "one\ntwo");
    core.drained();
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW)).expect("sealed");
    print(&pipe, " and three\nfour\n");
    let message = core.expect(|m| matches!(m, FromLogger::Dropping { .. }));
    assert_eq!(message, FromLogger::Dropping { sink: SinkId(1), errno: libc::EPERM });
    assert_eq!(file.metadata().expect("stat").len(), 4, "the half line is gone");
    drop(pipe);
    core.expect_end(1);
}
