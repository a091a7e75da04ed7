use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Instant;

use super::*;
use crate::model::notify::{Framing, Server, SyslogTarget};

const DEADLINE: Duration = Duration::from_secs(10);

fn settings(target: SyslogTarget) -> Syslog {
    let (tag, sd_id) = ("taskmaster".to_owned(), "taskmaster@32473".to_owned());
    Syslog { target, facility: 3, tag, sd_id, ca: None, server_name: None }
}

fn event(seq: u64) -> Arc<Event> {
    let kind = Kind::ProcessCrashed;
    let facts = Facts { process: Some(format!("web:{seq}")), ..Facts::default() };
    Arc::new(Event { seq, time: clock::wall(), severity: kind.severity(), kind, host: "h1".to_owned(), facts })
}

/// A channel in a thread of its own, fed from here; its news come back.
struct Playing {
    events: Option<tokio::sync::mpsc::UnboundedSender<Arc<Event>>>,
    news: mpsc::Receiver<SyslogNews>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Playing {
    fn new(settings: Syslog) -> Self {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<Arc<Event>>();
        let (told, news) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let tell: Tell = Rc::new(move |news| {
                    if let News::Syslog { news, .. } = news {
                        let _ = told.send(news);
                    }
                });
                let channel = Channel::start(ChannelName("syslog".to_owned()), Severity::Info, settings, tell);
                while let Some(event) = receiver.recv().await {
                    channel.push(&event, None);
                }
            });
        });
        Self { events: Some(sender), news, thread: Some(thread) }
    }

    fn push(&self, seq: u64) {
        self.events.as_ref().expect("running").send(event(seq)).expect("running");
    }
}

impl Playing {
    /// Waits until it is told that the channel fails for this reason.
    #[track_caller]
    fn fails_with(&self, words: &str) {
        let start = Instant::now();
        loop {
            let news = self.news.recv_timeout(DEADLINE.saturating_sub(start.elapsed())).expect("told");
            if news.failing.is_some_and(|cause| cause.contains(words)) {
                return;
            }
        }
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.events = None;
        let joined = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(joined.is_none_or(|joined| joined.is_ok()) || std::thread::panicking());
    }
}

fn socket_path(name: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(name);
    (directory, path)
}

fn daemon(path: &std::path::Path) -> UnixDatagram {
    let _ = std::fs::remove_file(path);
    let socket = UnixDatagram::bind(path).expect("bound");
    socket.set_read_timeout(Some(DEADLINE)).expect("set");
    socket
}

fn text(socket: &UnixDatagram) -> String {
    let mut bytes = vec![0; 1 << 20];
    let length = socket.recv(&mut bytes).expect("a message in time");
    String::from_utf8(bytes[..length].to_vec()).expect("UTF-8")
}

#[test]
fn a_local_daemon_gets_rfc_3164_without_time_and_host_name_also_after_its_restart() {
    let (_directory, path) = socket_path("log");
    let first = daemon(&path);
    let channel = Playing::new(settings(SyslogTarget::Local(path.clone())));
    channel.push(1);
    let line = text(&first);
    let pid = std::process::id();
    assert!(line.starts_with(&format!("<27>taskmaster[{pid}]: process.crashed web:1")), "{line}");
    drop(first);
    let second = daemon(&path);
    channel.push(2);
    assert!(text(&second).contains("web:2"), "the same event over a new connection");
}

#[test]
fn a_daemon_that_is_not_there_yet_is_waited_for_and_hears_what_was_lost() {
    let (_directory, path) = socket_path("log");
    let channel = Playing::new(settings(SyslogTarget::Local(path.clone())));
    (0..1007).for_each(|seq| channel.push(seq));
    channel.fails_with("cannot reach");
    let socket = daemon(&path);
    let lost = text(&socket);
    assert!(lost.contains("7 messages were lost"), "{lost}");
    for seq in 7..1007 {
        assert!(text(&socket).contains(&format!("web:{seq}")), "in their order");
    }
    let start = Instant::now();
    let (mut lost, mut sent) = (0, 0);
    while sent < 1000 {
        let news = channel.news.recv_timeout(DEADLINE.saturating_sub(start.elapsed())).expect("told");
        (lost, sent) = (lost + news.lost, sent + news.sent);
    }
    assert_eq!(lost, 7);
}

#[test]
fn a_daemon_that_reads_nothing_holds_nothing_up_and_loses_nothing() {
    let (_directory, path) = socket_path("log");
    let socket = daemon(&path);
    let channel = Playing::new(settings(SyslogTarget::Local(path)));
    (0..100).for_each(|seq| channel.push(seq));
    channel.fails_with("does not take");
    for seq in 0..100 {
        assert!(text(&socket).contains(&format!("web:{seq}")));
    }
}

#[test]
fn journald_gets_fields_and_a_shorter_message_where_the_whole_does_not_fit() {
    let (_directory, path) = socket_path("socket");
    let socket = daemon(&path);
    let channel = Playing::new(settings(SyslogTarget::Journald(path)));
    channel.push(1);
    let fields = text(&socket);
    assert!(fields.contains("MESSAGE=process.crashed web:1\n") && fields.contains("PRIORITY=3\n"), "{fields}");
    let mut huge = (*event(2)).clone();
    huge.facts.message = Some("x".repeat(4 << 20));
    channel.events.as_ref().expect("running").send(Arc::new(huge)).expect("running");
    let fields = text(&socket);
    assert!(fields.contains("web:2") && fields.contains("[cut]"), "{} bytes", fields.len());
}

#[test]
fn udp_gets_rfc_5424_of_a_length_that_every_receiver_takes() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    socket.set_read_timeout(Some(DEADLINE)).expect("set");
    let port = socket.local_addr().expect("bound").port();
    let channel = Playing::new(settings(SyslogTarget::Udp(Server { host: "127.0.0.1".to_owned(), port })));
    let mut huge = (*event(2)).clone();
    huge.facts.message = Some("ä".repeat(5000));
    channel.events.as_ref().expect("running").send(Arc::new(huge)).expect("running");
    let mut bytes = [0; 10_000];
    let length = socket.recv(&mut bytes).expect("a message in time");
    let line = std::str::from_utf8(&bytes[..length]).expect("UTF-8");
    assert!(line.starts_with("<27>1 ") && line.ends_with(" [cut]") && length <= 2048, "{line}");
}

/// Reads whole octet-counted messages.
fn messages(stream: &mut impl Read, count: usize) -> Vec<String> {
    let mut one = || {
        let mut length = String::new();
        loop {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("more in time");
            if byte == *b" " {
                break;
            }
            length.push(char::from(byte[0]));
        }
        let mut message = vec![0; length.parse().expect("a number")];
        stream.read_exact(&mut message).expect("the rest in time");
        String::from_utf8(message).expect("UTF-8")
    };
    (0..count).map(|_| one()).collect()
}

#[test]
fn a_stream_that_breaks_is_connected_again_and_nothing_is_missing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let server = Server { host: "127.0.0.1".to_owned(), port: listener.local_addr().expect("bound").port() };
    let channel = Playing::new(settings(SyslogTarget::Tcp { server, framing: Framing::OctetCounting }));
    channel.push(1);
    let (mut first, _) = listener.accept().expect("connected");
    first.set_read_timeout(Some(DEADLINE)).expect("set");
    assert!(messages(&mut first, 1)[0].contains("web:1"));
    channel.push(2);
    // The daemon ends with the second message unread.
    drop(first);
    channel.push(3);
    let (mut second, _) = listener.accept().expect("connected again");
    second.set_read_timeout(Some(DEADLINE)).expect("set");
    let mut seen = Vec::new();
    let start = Instant::now();
    while !seen.iter().any(|line: &String| line.contains("web:3")) {
        assert!(start.elapsed() < DEADLINE);
        seen.extend(messages(&mut second, 1));
    }
    assert!(seen.iter().any(|line| line.contains("web:2")), "{seen:?}");
}

#[test]
fn with_line_feeds_each_message_is_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let server = Server { host: "127.0.0.1".to_owned(), port: listener.local_addr().expect("bound").port() };
    let channel = Playing::new(settings(SyslogTarget::Tcp { server, framing: Framing::Lf }));
    let mut odd = (*event(1)).clone();
    odd.facts.message = Some("two\nlines".to_owned());
    channel.events.as_ref().expect("running").send(Arc::new(odd)).expect("running");
    channel.push(2);
    let (mut stream, _) = listener.accept().expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    stream.write_all(b"daemons say nothing, but one might").expect("written");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
    for process in ["web:1", "web:2"] {
        let line = lines.next().expect("a line").expect("in time");
        assert!(line.starts_with("<27>1 ") && line.contains(process), "{line}");
    }
}

#[test]
fn a_peer_that_accepts_and_closes_is_tried_with_pauses_and_told_as_failing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let server = Server { host: "127.0.0.1".to_owned(), port: listener.local_addr().expect("bound").port() };
    let channel = Playing::new(settings(SyslogTarget::Tcp { server, framing: Framing::Lf }));
    (0..3).for_each(|seq| channel.push(seq));
    drop(listener.accept().expect("connected"));
    channel.fails_with("close");
    let start = Instant::now();
    drop(listener.accept().expect("connected again"));
    channel.fails_with("close");
    drop(listener.accept().expect("and again"));
    assert!(start.elapsed() > Duration::from_secs(2), "the second pause is longer than the first");
}
