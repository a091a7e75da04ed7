//! A file that somebody renames or removes: nothing is lost and nothing written where nobody finds it.

use super::*;

/// Answers every `Astray` with the file that has the name then, until all is drained.
fn drained(core: &mut Core) -> u32 {
    core.send(&ToLogger::Drain, Vec::new());
    let mut asked = 0;
    while let FromLogger::Astray { .. } = core.expect(|m| matches!(m, FromLogger::Astray { .. } | FromLogger::Drained))
    {
        asked += 1;
        core.sink();
    }
    asked
}

/// Until a name is looked at again.
fn later(core: &mut Core) {
    pass(core, 1050);
}

fn pass(core: &mut Core, millis: u64) {
    let until = Instant::now() + Duration::from_millis(millis);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        core.poll.wait(Some(left.min(Duration::from_millis(20)))).expect("waited");
    }
}

#[test]
fn what_is_written_after_a_removal_is_in_the_new_file() {
    for writers in [1, 2] {
        let mut core = Core::new(0, 0);
        core.sink();
        let pipes: Vec<File> = (1..=writers).map(|id| core.stream(id, Some(1))).collect();
        print(&pipes[0], "one\n");
        assert_eq!(drained(&mut core), 0);
        for n in 0..3 {
            std::fs::remove_file(core.path()).expect("removed");
            print(&pipes[0], &format!("{n}\n"));
            assert_eq!(drained(&mut core), 1);
            core.expect_content(&format!("{n}\n"));
        }
        assert!(!core.told.iter().any(|m| matches!(m, FromLogger::Dropping { .. })), "{:?}", core.told);
    }
}

#[test]
fn the_beginning_of_a_line_comes_along_from_a_file_that_was_removed() {
    let mut core = Core::new(0, 0);
    core.sink();
    let pipe = core.stream(1, Some(1));
    print(&pipe, "before\nhalf of ");
    core.expect_content("before\nhalf of ");
    // Longer than a tick of the clock that files are stamped by.
    pass(&mut core, 20);
    std::fs::remove_file(core.path()).expect("removed");
    print(&pipe, "a line\n");
    drained(&mut core);
    core.expect_content("half of a line\n");
}

#[test]
fn another_name_is_noticed_within_a_second_and_an_idle_writer_asks_nothing() {
    let mut core = Core::new(0, 0);
    core.sink();
    let pipe = core.stream(1, Some(1));
    print(&pipe, "one\n");
    assert_eq!(drained(&mut core), 0);
    std::fs::rename(core.path(), core.rotated(1)).expect("renamed");
    core.rotations = 1;
    later(&mut core);
    assert_eq!(drained(&mut core), 0, "nobody writes");
    print(&pipe, "two\n");
    assert_eq!(drained(&mut core), 1);
    assert_eq!(core.files(), [b"one\n", b"two\n"]);
    // The same file under the same name again is nothing new.
    later(&mut core);
    print(&pipe, "three\n");
    assert_eq!(drained(&mut core), 0);
}

#[test]
fn a_renamed_file_that_cannot_be_replaced_is_gone_on_with() {
    let mut core = Core::new(0, 0);
    core.sink();
    let pipe = core.stream(1, Some(1));
    later(&mut core);
    std::fs::rename(core.path(), core.rotated(1)).expect("renamed");
    print(&pipe, "one\n");
    core.expect(|m| matches!(m, FromLogger::Astray { .. }));
    core.send(&ToLogger::Kept { sink: SinkId(1) }, Vec::new());
    print(&pipe, "two\n");
    assert_eq!(drained(&mut core), 0, "not so soon again");
    assert_eq!(std::fs::read(core.rotated(1)).expect("read"), b"one\ntwo\n");
}

#[test]
fn what_would_go_into_a_removed_file_is_dropped_counted_and_told_until_there_is_another() {
    let mut core = Core::new(0, 0);
    core.sink();
    let pipe = core.stream(1, Some(1));
    print(&pipe, "one\n");
    assert_eq!(drained(&mut core), 0);
    std::fs::remove_file(core.path()).expect("removed");
    print(&pipe, "23456789\n");
    core.expect(|m| matches!(m, FromLogger::Astray { .. }));
    core.send(&ToLogger::Kept { sink: SinkId(1) }, Vec::new());
    let begun = core.expect(|m| matches!(m, FromLogger::Dropping { .. }));
    assert_eq!(begun, FromLogger::Dropping { sink: SinkId(1), errno: libc::ENOENT });
    core.drained();
    print(&pipe, "more\n");
    core.drained();
    later(&mut core);
    print(&pipe, "again\n");
    core.expect(|m| matches!(m, FromLogger::Astray { .. }));
    core.sink();
    core.expect(|m| matches!(m, FromLogger::Dropped { .. }));
    let lost: u64 = core
        .told
        .iter()
        .filter_map(|m| if let FromLogger::Losing { bytes, .. } = m { Some(*bytes) } else { None })
        .sum();
    assert_eq!(lost, 9 + 5);
    core.expect_content("again\n");
}

#[test]
fn copytruncate_goes_on_at_the_beginning_and_the_limit_counts_from_there() {
    let mut core = Core::new(10, 1);
    core.sink();
    let pipe = core.stream(1, Some(1));
    for n in 0..20 {
        print(&pipe, &format!("line {n:02}\n"));
        core.drained();
        std::fs::copy(core.path(), core.directory.path().join("copy")).expect("copied");
        open(&core.path()).set_len(0).expect("emptied");
    }
    assert_eq!((core.rotations, core.files().concat()), (0, Vec::new()));
}
