//! The notifier's loop on a thread, with real files; the test plays the core.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::log::{EventLog, WAITING_MAX};
use super::*;
use crate::alert::line;
use crate::model::event::{Event, EventLogFormat, Facts, Kind};
use crate::model::time::{Moment, WallTime};
use crate::system::{socket, stdio};

const DEADLINE: Duration = Duration::from_secs(20);

fn event(seq: u64) -> Event {
    Event {
        seq,
        time: WallTime::from_millisecond(1_795_162_323_000 + i64::try_from(seq).expect("small")).expect("in range"),
        severity: Kind::ProcessRunning.severity(),
        kind: Kind::ProcessRunning,
        host: "h1".to_owned(),
        facts: Facts { process: Some("web:0".to_owned()), pid: Some(123), ..Facts::default() },
    }
}

fn texts(seqs: impl IntoIterator<Item = u64>) -> String {
    seqs.into_iter().map(|seq| line::text(&event(seq)) + "\n").collect()
}

struct Core {
    directory: tempfile::TempDir,
    channel: Channel,
    poll: Poll,
    notifier: Option<JoinHandle<bool>>,
}

impl Core {
    fn new() -> Self {
        let (core, worker) = socket::message_pair().expect("a pair");
        let notifier = std::thread::spawn(move || {
            let channel = Channel::of_worker(worker, true).expect("a channel");
            let network = Network::start(Limits::default()).expect("a thread");
            run(channel, Folders::default(), network, render::message).is_ok()
        });
        let channel = Channel::of_core(core).expect("a channel");
        let mut poll = Poll::new().expect("epoll");
        poll.add(&channel, Interest::Read).expect("added");
        let directory = tempfile::tempdir().expect("a directory");
        let mut core = Self { directory, channel, poll, notifier: Some(notifier) };
        assert_eq!(core.next(), FromNotifier::Ready);
        core
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("events.log")
    }

    fn content(&self) -> String {
        std::fs::read_to_string(self.path()).expect("read")
    }

    fn send(&mut self, message: &ToNotifier, descriptors: Vec<OwnedFd>) {
        self.channel.send(message, descriptors.into_iter().map(Rc::new).collect()).expect("sent");
    }

    fn log(&mut self) {
        let file = OpenOptions::new().read(true).append(true).create(true).open(self.path()).expect("opened");
        self.send(&ToNotifier::EventLog { format: EventLogFormat::Text }, vec![file.into()]);
    }

    fn events(&mut self, seqs: impl IntoIterator<Item = u64>, again: bool) {
        for seq in seqs {
            self.send(&ToNotifier::Event { event: Box::new(event(seq)), about: None, again }, Vec::new());
        }
    }

    fn next(&mut self) -> FromNotifier {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.channel.flush().expect("the notifier lives");
            if let Some(received) = self.channel.receive::<FromNotifier>().expect("the notifier lives") {
                return received.message;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing more was told");
            self.poll.wait(Some(left.min(Duration::from_millis(20)))).expect("waited");
        }
    }

    fn expect_written(&mut self, wanted: u64) {
        loop {
            match self.next() {
                FromNotifier::Written { seq } if seq == wanted => return,
                FromNotifier::Written { seq } => assert!(seq < wanted),
                other => panic!("{other:?}"),
            }
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let (other, _) = socket::message_pair().expect("a pair");
        self.channel = Channel::of_core(other).expect("a channel");
        let ended = self.notifier.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(ended.is_some_and(|result| result.is_ok_and(|well| well)), "the notifier ends well");
        }
    }
}

fn dev_full() -> OwnedFd {
    OpenOptions::new().read(true).write(true).open("/dev/full").expect("/dev/full").into()
}

/// A file that takes `room` more bytes and not one more: it is as long as the kernel allows but for those.
fn tight(room: u64) -> (File, u64) {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;
    let memory = nix::sys::memfd::memfd_create(c"log", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).expect("memory");
    let size = i64::MAX.cast_unsigned() - room;
    let name = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let file = OpenOptions::new().read(true).append(true).open(name).expect("opened");
    file.set_len(size).expect("grown");
    File::from(memory).write_all_at(b"\n", size - 1).expect("written");
    (file, size)
}

#[test]
fn events_wait_for_the_log_and_are_acknowledged_once_written() {
    let mut core = Core::new();
    core.events(1..=3, false);
    core.log();
    core.expect_written(3);
    assert_eq!(core.content(), texts(1..=3));
    core.events(4..=2000, false);
    core.expect_written(2000);
    assert_eq!(core.content(), texts(1..=2000));
}

#[test]
fn each_format_has_one_line_an_event() {
    let mut core = Core::new();
    let file = File::create(core.path()).expect("created");
    core.send(&ToNotifier::EventLog { format: EventLogFormat::Json }, vec![file.into()]);
    core.events(1..=1, false);
    core.expect_written(1);
    assert_eq!(core.content(), line::json(&event(1)) + "\n");
    assert_eq!(line::text(&event(1)), "2026-11-20T08:12:03.001Z INFO process.running web:0 pid=123");
}

#[test]
fn what_an_earlier_notifier_wrote_is_not_written_again() {
    let mut core = Core::new();
    // The earlier one wrote three, and died in the middle of the fourth.
    let fourth = texts([4]);
    std::fs::write(core.path(), texts(1..=3) + &fourth[..20]).expect("written");
    core.log();
    core.events(2..=5, true);
    core.events(6..=6, false);
    core.expect_written(6);
    assert_eq!(core.content(), texts(1..=6));
}

#[test]
fn a_foreign_half_line_is_ended_first() {
    let mut core = Core::new();
    std::fs::write(core.path(), "# rotated by hand").expect("written");
    core.log();
    core.events(1..=1, false);
    core.expect_written(1);
    assert_eq!(core.content(), format!("# rotated by hand\n{}", texts([1])));
}

#[test]
fn a_reopened_log_is_gone_on_with() {
    let mut core = Core::new();
    core.log();
    core.events(1..=1, false);
    core.expect_written(1);
    std::fs::rename(core.path(), core.directory.path().join("events.log.1")).expect("renamed");
    core.log();
    core.events(2..=2, false);
    core.expect_written(2);
    assert_eq!(core.content(), texts([2]));
}

#[test]
fn a_failing_log_is_told_once_and_misses_nothing_when_it_recovers() {
    let mut core = Core::new();
    core.send(&ToNotifier::EventLog { format: EventLogFormat::Text }, vec![dev_full()]);
    core.events(1..=1, false);
    assert_eq!(core.next(), FromNotifier::LogFailing { errno: libc::ENOSPC });
    core.events(2..=20, false);
    core.log();
    assert_eq!(core.next(), FromNotifier::LogRecovered { missing: 0 });
    core.expect_written(20);
    assert_eq!(core.content(), texts(1..=20));
}

#[test]
fn beyond_the_bound_the_oldest_events_are_lost_and_counted() {
    let mut log = EventLog::default();
    log.open(dev_full(), EventLogFormat::Text);
    let last = WAITING_MAX as u64 + 5;
    for seq in 1..=last {
        log.push(Box::new(event(seq)), false);
    }
    let told = log.write(Moment::default());
    assert_eq!(told, [FromNotifier::LogFailing { errno: libc::ENOSPC }]);
    assert_eq!(log.retry(), Some(Moment::default() + log::RETRY));
    let file = tempfile::tempfile().expect("a file");
    log.open(file.try_clone().expect("a copy").into(), EventLogFormat::Text);
    let told = log.write(Moment::default());
    assert_eq!(told, [FromNotifier::LogRecovered { missing: 5 }, FromNotifier::Written { seq: last }]);
    assert_eq!(log.retry(), None);
}

#[test]
fn a_short_write_leaves_whole_lines_only() {
    use std::os::unix::fs::FileExt;
    let line = texts([1]).len() as u64;
    let (file, size) = tight(2 * line + line / 2);
    let mut log = EventLog::default();
    log.open(file.try_clone().expect("a copy").into(), EventLogFormat::Text);
    for seq in 1..=4 {
        log.push(Box::new(event(seq)), false);
    }
    let told = log.write(Moment::default());
    assert!(matches!(told[..], [FromNotifier::LogFailing { .. }, FromNotifier::Written { seq: 2 }]), "{told:?}");
    assert_eq!(file.metadata().expect("stat").len(), size + 2 * line);
    let mut content = vec![0; usize::try_from(2 * line).expect("small")];
    file.read_exact_at(&mut content, size).expect("read");
    assert_eq!(content, texts(1..=2).as_bytes());
}

#[test]
fn the_console_shows_what_fits_and_counts_the_rest() {
    let mut console = Console::default();
    let (read, write) = stdio::output_pipe().expect("a pipe");
    console.open(write);
    for seq in 1..=5000 {
        console.show(&event(seq));
    }
    let mut read = File::from(read);
    let mut shown = String::new();
    let _ = read.read_to_string(&mut shown); // ends with "would block"
    console.show(&event(5001));
    let _ = read.read_to_string(&mut shown);
    let lines: Vec<&str> = shown.lines().collect();
    let (last, others) = lines.split_last().expect("lines");
    assert_eq!(*last, line::text(&event(5001)));
    let (told, others) = others.split_last().expect("lines");
    assert_eq!(*told, format!("({} events were not shown here)", 5000 - others.len()));
    assert!(others.iter().enumerate().all(|(n, shown)| *shown == line::text(&event(n as u64 + 1))));
    drop(read);
    console.show(&event(1)); // gone: forgotten without a word
    console.show(&event(2));
}

#[test]
fn the_console_gets_new_events_only() {
    let mut core = Core::new();
    core.log();
    let (read, write) = stdio::output_pipe().expect("a pipe");
    core.send(&ToNotifier::Console, vec![write]);
    core.events(1..=1, true);
    core.events(2..=2, false);
    core.expect_written(2);
    drop(core);
    let mut shown = String::new();
    File::from(read).read_to_string(&mut shown).expect("read");
    assert_eq!(shown, texts([2]));
}
