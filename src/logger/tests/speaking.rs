//! Lines for the log daemon: who is asked for a way there, and what waits meanwhile.

use std::os::unix::net::UnixDatagram;

use super::*;
use crate::protocol::logger::{Label, OutletKind, Voice};
use crate::system::dial;

const SYSLOG: SinkId = SinkId(9);

fn voice() -> Option<Voice> {
    Some(Voice { strip_ansi: false, label: Some(Label { priority: 30, tag: "web".to_owned(), pid: Some(7) }) })
}

impl Core {
    fn speaker(&mut self, id: u64) -> File {
        let (read, write) = stdio::output_pipe().expect("a pipe");
        let message = ToLogger::Stream {
            stream: StreamId(id),
            tail: TailId(id),
            process: "web".to_owned(),
            channel: Output::Stdout,
            sink: Some(SYSLOG),
            voice: voice(),
        };
        self.send(&message, vec![read]);
        write.into()
    }

    fn expect_redial(&mut self) {
        self.expect(|message| *message == FromLogger::Redial { sink: SYSLOG });
    }

    /// A daemon that the logger is connected with.
    fn daemon(&mut self, name: &str) -> UnixDatagram {
        let path = self.directory.path().join(name);
        let daemon = UnixDatagram::bind(&path).expect("bound");
        daemon.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let way = dial::datagrams(&path).expect("connected");
        self.send(&ToLogger::Dialled { sink: SYSLOG, errno: 0 }, vec![way]);
        daemon
    }
}

fn heard(daemon: &UnixDatagram) -> String {
    let mut buffer = [0; 10_000];
    let length = daemon.recv(&mut buffer).expect("a message");
    String::from_utf8(buffer[..length].to_vec()).expect("text")
}

#[test]
fn the_core_is_asked_for_a_way_again_after_a_second_and_when_the_daemon_is_gone() {
    let mut core = Core::new(0, 0);
    core.send(&ToLogger::Outlet { sink: SYSLOG, kind: OutletKind::Syslog, dropping: false }, vec![]);
    let mut program = core.speaker(1);
    program.write_all(b"one\nunfin").expect("written");
    core.expect_redial();
    let asked = Instant::now();
    core.send(&ToLogger::Dialled { sink: SYSLOG, errno: libc::ENOENT }, vec![]);
    core.expect_redial();
    assert!(asked.elapsed() >= Duration::from_millis(900), "{:?}", asked.elapsed());
    let daemon = core.daemon("first");
    assert_eq!(heard(&daemon), "<30>web[7]: one");
    drop(daemon);
    program.write_all(b"ished\n").expect("written");
    core.expect_redial();
    let daemon = core.daemon("second");
    assert_eq!(heard(&daemon), "<30>web[7]: unfinished");
    assert!(!core.told.iter().any(|message| matches!(message, FromLogger::Dropping { .. })), "{:?}", core.told);
}

#[test]
fn what_does_not_fit_while_nobody_is_there_is_dropped_for_that_reason_and_counted() {
    const LINES: u64 = 30_000;
    let mut core = Core::new(0, 0);
    core.send(&ToLogger::Outlet { sink: SYSLOG, kind: OutletKind::Syslog, dropping: false }, vec![]);
    let mut program = core.speaker(1);
    let line = format!("{}\n", "x".repeat(99));
    let length = line.len() as u64 + "<30>web[7]: ".len() as u64;
    program.write_all(line.as_bytes()).expect("written");
    core.expect_redial();
    core.send(&ToLogger::Dialled { sink: SYSLOG, errno: libc::ENOENT }, vec![]);
    core.expect_redial();
    core.send(&ToLogger::Dialled { sink: SYSLOG, errno: libc::ENOENT }, vec![]);
    for _ in 1..LINES {
        program.write_all(line.as_bytes()).expect("written, without a wait");
    }
    let begin = core.expect(|message| matches!(message, FromLogger::Dropping { .. }));
    assert_eq!(begin, FromLogger::Dropping { sink: SYSLOG, errno: libc::ENOENT });
    drop(program);
    core.expect_end(1);
    let daemon = core.daemon("late");
    let reader = std::thread::spawn(move || {
        let mut count = 0;
        while daemon.recv(&mut [0; 200]).is_ok() {
            count += 1;
            daemon.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        }
        count
    });
    let end = core.expect(|message| matches!(message, FromLogger::Dropped { .. }));
    let lost = |message: &FromLogger| match message {
        FromLogger::Losing { bytes, .. } | FromLogger::Dropped { bytes, .. } => *bytes,
        _ => 0,
    };
    let bytes: u64 = core.told.iter().chain([&end]).map(lost).sum();
    let kept: u64 = reader.join().expect("read");
    assert_eq!((bytes % length, kept + bytes / length), (0, LINES));
    assert_eq!(kept, (1 << 20) / length);
}
