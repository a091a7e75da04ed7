use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

use super::*;
use crate::model::id::ProgramName;
use crate::system::clock;

/// One start, whose clone is a process that would sleep long.
struct Start {
    reactor: Reactor,
    clones: Clones,
    ticket: Ticket,
    /// The clone's end.
    report: Option<OwnedFd>,
    process: Child,
    asked: Moment,
}

impl Start {
    fn new() -> Self {
        let mut reactor = Reactor::new().expect("a reactor");
        let mut clones = Clones::default();
        let id = ProcessId::new(&ProgramName::new("web").expect("a name"), 0);
        let asked = clock::now();
        let (ticket, report) = clones.announce(&mut reactor, Purpose::Process(id), false, asked).expect("descriptors");
        let process = Command::new("sleep").arg("60").spawn().expect("a process");
        Self { reactor, clones, ticket, report: Some(report), process, asked }
    }

    /// The spawner tells of the clone.
    fn cloned(&mut self) {
        let pid = Pid(i32::try_from(self.process.id()).expect("a pid"));
        self.clones.cloned(&mut self.reactor, self.ticket, pid, process::open(pid).expect("a pidfd"));
    }

    /// The clone says what no clone of ours would.
    fn say(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> bool {
        socket::send(self.report.as_ref().expect("it is open"), bytes, descriptors).is_ok()
    }

    fn say_long(&self, length: usize) {
        use std::os::fd::AsRawFd;
        let report = self.report.as_ref().expect("it is open").as_raw_fd();
        nix::sys::socket::send(report, &vec![b' '; length], nix::sys::socket::MsgFlags::empty()).expect("sent");
    }

    fn hear(&mut self) {
        self.clones.read_report(&mut self.reactor, self.ticket);
    }

    fn news(&mut self) -> Vec<News> {
        std::iter::from_fn(|| self.clones.next_news()).map(|(_, _, news)| news).collect()
    }

    /// The clone was killed, and the start has failed with these words.
    #[track_caller]
    fn assert_killed(mut self, stage: Stage, error: &str) {
        // Left to be reaped by those who are tested.
        use nix::sys::wait::{Id, WaitPidFlag, waitid};
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).expect("a pid"));
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("it ends");
        self.clones.check_exit(&mut self.reactor, self.ticket);
        let news = self.news();
        assert!(!news.iter().any(|news| matches!(news, News::Executed | News::Exited { .. })), "it runs as nothing");
        let Some(News::Failed(failure)) = news.last() else { panic!("it has failed") };
        assert_eq!((failure.stage, failure.error.as_str()), (stage, error));
        assert!(self.clones.all.is_empty() && self.clones.deadlines.is_empty() && self.clones.by_pid.is_empty());
    }
}

#[test]
fn a_clone_that_comes_after_its_start_was_given_up_is_killed() {
    let mut start = Start::new();
    start.clones.time_out(&mut start.reactor, start.asked + START_TIMEOUT);
    assert!(matches!(&*start.news(), [News::Failed(failure)] if failure.stage == Stage::Timeout));
    start.cloned();
    let status = start.process.wait().expect("it ends");
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    assert!(start.news().is_empty());
}

const NONSENSE: &str = "the clone reported something that makes no sense";

#[test]
fn a_clone_that_reports_nonsense_is_killed() {
    let deep = "[".repeat(40_000);
    for junk in ["7garbage", "\"unknown\"", "{\"opened\":{}}", "{\"reached\":\"nowhere\"}", "\0", &deep] {
        let mut start = Start::new();
        start.cloned();
        assert!(start.say(junk.as_bytes(), &[]));
        start.hear();
        start.assert_killed(Stage::Spawner, NONSENSE);
    }
}

#[test]
fn nonsense_before_the_spawner_has_told_of_the_clone_costs_the_clone_its_life_too() {
    let mut start = Start::new();
    assert!(start.say(b"\"executing\"", &[]) && start.say(b"junk", &[]));
    start.hear();
    start.cloned();
    start.assert_killed(Stage::Spawner, NONSENSE);
}

#[test]
fn a_report_that_is_longer_than_any_is_not_read_to_its_end() {
    let mut start = Start::new();
    start.cloned();
    start.say_long(2 * socket::PACKET_MAX);
    start.hear();
    start.assert_killed(Stage::Prepare, "a report that may not be: a message of more than 49152 bytes");
}

#[test]
fn a_clone_that_reports_more_descriptors_than_agreed_is_killed() {
    for many in [40, 253] {
        let mut start = Start::new();
        start.cloned();
        let zero = stdio::null(false).expect("a descriptor");
        assert!(start.say(br#"{"opened":{"sinks":[]}}"#, &vec![zero.as_fd(); many]));
        start.hear();
        let words = format!("a report that may not be: a message with {many} descriptors: at most 8 may come");
        start.assert_killed(Stage::Prepare, &words);
    }
}

#[test]
fn a_clone_that_never_stops_reporting_is_killed() {
    let mut start = Start::new();
    start.cloned();
    let (read, _write) = stdio::output_pipe().expect("a pipe");
    let descriptors = [read.as_fd(); socket::DESCRIPTORS_MAX];
    let opened = serde_json::to_vec(&Report::Opened { sinks: vec![SinkId(7); 1000] }).expect("JSON");
    for _ in 0..100 {
        // As soon as there is room for more, there is more.
        while start.report.is_some() && start.say(&opened, &descriptors) {}
        start.hear();
        if start.clones.all[&start.ticket].report.is_none() {
            break;
        }
    }
    assert!(start.clones.news.len() <= REPORTS_MAX * socket::DESCRIPTORS_MAX + 1);
    start.assert_killed(Stage::Spawner, "the clone reported more than a start has steps");
}

#[test]
fn a_clone_that_closes_its_report_and_stays_is_killed_in_time() {
    for empty in [false, true] {
        let mut start = Start::new();
        start.cloned();
        if empty {
            start.say_long(0);
        } else {
            start.report = None;
        }
        start.hear();
        assert!(start.clones.deadline().is_some(), "it is still waited for");
        assert!(!start.clones.time_out(&mut start.reactor, start.asked + START_TIMEOUT));
        start.assert_killed(Stage::Timeout, "the program was not executed within 30 s");
    }
}

#[test]
fn a_start_that_takes_too_long_tells_how_far_it_came() {
    let mut start = Start::new();
    start.cloned();
    let reached = serde_json::to_vec(&Report::Reached(Stage::Account)).expect("JSON");
    assert!(start.say(b"\"born\"", &[]) && start.say(&reached, &[]));
    start.hear();
    start.clones.time_out(&mut start.reactor, start.asked + START_TIMEOUT);
    let words = "the program was not executed within 30 s, it came as far as looking up the user or group";
    start.assert_killed(Stage::Timeout, words);
}
