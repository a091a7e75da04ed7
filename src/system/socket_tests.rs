//! What arrives beside a message, and that none of it stays when the message is refused.
//!
//! Which descriptors are open is seen by those of one file that nobody else has, because other tests of the
//! same process open and close theirs meanwhile.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::*;

/// A file of the test's own, open this many times.
fn opened(count: usize) -> (tempfile::NamedTempFile, Vec<OwnedFd>) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let open = |_| std::fs::File::open(file.path()).expect("opens").into();
    let all = (0..count).map(open).collect();
    (file, all)
}

/// How many descriptors of this process are of that file.
fn count(file: &Path) -> usize {
    let wanted = std::fs::metadata(file).expect("a file");
    let is_it = |entry: &std::fs::DirEntry| {
        std::fs::metadata(entry.path()).is_ok_and(|meta| (meta.dev(), meta.ino()) == (wanted.dev(), wanted.ino()))
    };
    std::fs::read_dir("/proc/self/fd").expect("descriptors").filter_map(Result::ok).filter(is_it).count()
}

fn borrowed(all: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    all.iter().map(AsFd::as_fd).collect()
}

#[test]
fn what_is_agreed_arrives_with_the_senders_number() {
    let (ours, theirs) = message_pair().expect("a pair");
    want_credentials(&ours).expect("credentials");
    let (file, all) = opened(DESCRIPTORS_MAX);
    send(&theirs, b"x", &borrowed(&all)).expect("sent");
    drop(all);
    let packet = receive(&ours).expect("no error").expect("a packet");
    assert_eq!((packet.bytes.as_slice(), packet.descriptors.len()), (&b"x"[..], DESCRIPTORS_MAX));
    assert_eq!(packet.sender, Some(crate::system::process::own_pid()));
    assert_eq!(count(file.path()), DESCRIPTORS_MAX + 1, "and the file itself");
    drop(packet);
    assert_eq!(count(file.path()), 1);
}

#[test]
fn no_descriptor_stays_of_a_message_that_brings_too_many() {
    for with_credentials in [false, true] {
        for many in [DESCRIPTORS_MAX + 1, 17, 40, KERNELS_MAX] {
            let (ours, theirs) = message_pair().expect("a pair");
            if with_credentials {
                want_credentials(&ours).expect("credentials");
            }
            let (file, all) = opened(many);
            send(&theirs, b"x", &borrowed(&all)).expect("sent");
            drop(all);
            let Err(error) = receive(&ours) else { panic!("{many} are refused") };
            assert_eq!(error.to_string(), format!("a message with {many} descriptors: at most 8 may come"));
            assert_eq!(count(file.path()), 1, "of {many}");
        }
    }
}

#[test]
fn a_message_that_is_too_long_is_refused_with_what_it_brings() {
    let (ours, theirs) = message_pair().expect("a pair");
    let (file, all) = opened(3);
    let long = vec![b'x'; 2 * PACKET_MAX];
    let raw: Vec<i32> = all.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    sendmsg::<()>(theirs.as_raw_fd(), &[IoSlice::new(&long)], &rights, MsgFlags::empty(), None).expect("sent");
    drop(all);
    let Err(error) = receive(&ours) else { panic!("it is refused") };
    assert_eq!(error.to_string(), "a message of more than 49152 bytes");
    assert_eq!(count(file.path()), 1);
}

#[test]
fn nothing_in_a_buffer_makes_it_read_beyond() {
    let word = |length: usize| length.to_ne_bytes();
    for (length, rest) in [(0, 100), (1, 100), (15, 100), (17, 0), (16, 100), (usize::MAX, 100), (200, 100), (20, 0)] {
        let mut bytes = word(length).to_vec();
        bytes.resize(size_of::<usize>() + rest, 0);
        let beside = Beside::adopt(&bytes);
        assert!(beside.descriptors.is_empty() && beside.sender.is_none(), "{length}");
    }
    assert!(Beside::adopt(&[]).descriptors.is_empty());
}

/// In a process of its own, because the limit is everybody's.
#[test]
fn who_has_no_descriptors_left_keeps_none_of_those_that_arrive() {
    const CHILD: &str = "system::socket::tests::in_a_process_without_descriptors";
    let own = std::env::current_exe().expect("this test");
    let output = std::process::Command::new(own).args(["--exact", CHILD, "--ignored"]).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn in_a_process_without_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (ours, theirs) = message_pair().expect("a pair");
    let (file, all) = opened(5);
    send(&theirs, b"x", &borrowed(&all)).expect("sent");
    drop(all);
    let free = file.reopen().expect("opens");
    let room = u64::try_from(free.as_raw_fd()).expect("a number") + 3;
    drop(free);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, room, hard).expect("a limit");
    let Err(error) = receive(&ours) else { panic!("it is refused") };
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("a limit");
    assert_eq!(error.to_string(), "a message whose descriptors were lost: there are none left (ulimit -n)");
    assert_eq!(count(file.path()), 1);
}
