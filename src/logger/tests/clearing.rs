//! Files that are emptied by order.
use super::*;

#[test]
fn a_cleared_file_is_empty_and_goes_on_as_the_same_file() {
    let mut core = Core::new(100, 3);
    core.sink();
    let mut pipe = core.stream(1, Some(1));
    pipe.write_all(b"one\n").expect("written");
    core.expect_content("one\n");
    let clear = ToLogger::Clear { ticket: 7, tails: vec![TailId(1), TailId(50)], sinks: vec![SinkId(1), SinkId(9)] };
    core.send(&clear, vec![]);
    core.expect(|message| *message == FromLogger::Cleared { ticket: 7, errno: None });
    assert_eq!(std::fs::read(core.path()).expect("the file"), b"");
    pipe.write_all(b"two\n").expect("written");
    core.expect_content("two\n");
    // The room of the file is as it is: sixty bytes more do not fill it.
    pipe.write_all("x".repeat(59).as_bytes()).expect("written");
    pipe.write_all(b"\n").expect("written");
    core.expect_content(&format!("two\n{}\n", "x".repeat(59)));
    drop(pipe);
    core.expect_end(1);
    assert!(core.told.iter().all(|message| !matches!(message, FromLogger::Rotate { .. })), "{:?}", core.told);
}

#[test]
fn what_cannot_be_emptied_is_told() {
    let mut core = Core::new(100, 3);
    let file = File::open("/dev/full").expect("a device");
    core.send_sink(file);
    core.send(&ToLogger::Clear { ticket: 1, tails: vec![], sinks: vec![SinkId(1)] }, vec![]);
    core.expect(|message| *message == FromLogger::Cleared { ticket: 1, errno: Some(libc::EINVAL) });
}
