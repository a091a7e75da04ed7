//! The thread as the main thread sees it.

use std::time::Instant;

use super::super::servers::fake_tests::{Fake, Manners, SILENCE};
use super::*;
use crate::model::event::Severity;
use crate::model::notify::{Email, MailTls, MailTransport, Server, Smtp, Timing};
use crate::system::poll::{Interest, Poll};

const DEADLINE: Duration = Duration::from_secs(20);

pub fn email(name: &str, server: Server) -> Channel {
    let smtp = Smtp { servers: vec![server], tls: MailTls::None, ca: None, server_name: None, username: None };
    Channel {
        name: ChannelName(name.to_owned()),
        min_severity: Severity::Info,
        timing: Timing::default(),
        transport: Transport::Email(Email {
            via: MailTransport::Smtp(smtp),
            from: "tm@example.test".to_owned(),
            to: vec!["ops@example.test".to_owned()],
            envelope_from: "tm@example.test".to_owned(),
            output_lines: 0,
            redact: Vec::new(),
        }),
    }
}

fn mail() -> Message {
    let bytes: Arc<[u8]> = Arc::from(&b"Subject: x\r\n\r\ny\r\n"[..]);
    Message::Mail {
        envelope_from: "tm@example.test".to_owned(),
        recipients: vec!["ops@example.test".to_owned()],
        bytes,
    }
}

pub fn send(network: &Network, channel: &str, job: u64, dialogue: bool) {
    let channel = ChannelName(channel.to_owned());
    network.order(Order::Send { channel, job: JobId(job), message: mail(), dialogue }).expect("it runs");
}

/// Waits as the main loop does until so many jobs are done.
pub fn done(network: &Network, jobs: usize) -> (BTreeMap<JobId, Outcome>, Vec<String>) {
    let mut poll = Poll::new().expect("epoll");
    poll.add(network, Interest::Read).expect("added");
    let (mut outcomes, mut lines) = (BTreeMap::new(), Vec::new());
    let begun = Instant::now();
    while outcomes.len() < jobs {
        assert!(begun.elapsed() < DEADLINE, "{outcomes:?}");
        poll.wait(Some(DEADLINE)).expect("waits");
        for news in network.news() {
            match news {
                News::Done { job, outcome } => drop(outcomes.insert(job, outcome)),
                News::Line { line, .. } => lines.push(line),
                News::Syslog { .. } => {}
            }
        }
    }
    (outcomes, lines)
}

pub fn configure(network: &Network, channels: Vec<Channel>) {
    let channels = channels.into_iter().map(|channel| (channel, Secrets::default())).collect();
    network.order(Order::Configure(channels)).expect("it runs");
}

#[test]
fn a_channel_that_hangs_delays_no_other() {
    let hanging = Fake::start(Manners { answers: vec![("greeting", SILENCE)], ..Manners::default() });
    let good = Fake::start(Manners { connections: 2, ..Manners::default() });
    let network = Network::start(Limits::default()).expect("a thread");
    configure(&network, vec![email("hangs", hanging.server.clone()), email("works", good.server.clone())]);
    send(&network, "hangs", 1, false);
    send(&network, "works", 2, false);
    send(&network, "works", 3, true);
    let (outcomes, lines) = done(&network, 2);
    assert_eq!(outcomes, BTreeMap::from([(JobId(2), Outcome::Sent), (JobId(3), Outcome::Sent)]));
    assert!(lines.iter().any(|line| line == "< 250 queued"), "{lines:?}");
    // Its end waits for nobody, and ends what is under way.
    let begun = Instant::now();
    drop(network);
    assert!(begun.elapsed() < DEADLINE / 4);
    assert!(hanging.heard().lines.is_empty());
    assert_eq!(good.heard().messages.len(), 2);
}

#[test]
fn a_test_does_not_wait_behind_a_message_that_is_stuck() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bound");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("an address").port();
    let network = Network::start(Limits::default()).expect("a thread");
    configure(&network, vec![email("stuck", Server { host: "127.0.0.1".to_owned(), port })]);
    let mut poll = Poll::new().expect("epoll");
    poll.add(&listener, Interest::Read).expect("added");
    let mut connections = Vec::new();
    for (job, dialogue) in [(1, false), (2, true)] {
        send(&network, "stuck", job, dialogue);
        let begun = Instant::now();
        while connections.len() < usize::try_from(job).expect("small") {
            assert!(begun.elapsed() < DEADLINE, "job {job} has no connection");
            poll.wait(Some(DEADLINE)).expect("waits");
            connections.extend(listener.accept());
        }
    }
}

#[test]
fn what_is_under_way_ends_with_its_old_settings() {
    let old = Fake::start(Manners { connections: 2, ..Manners::default() });
    let new = Fake::start(Manners::default());
    let network = Network::start(Limits::default()).expect("a thread");
    configure(&network, vec![email("a", old.server.clone()), email("b", old.server.clone())]);
    send(&network, "a", 1, false);
    send(&network, "b", 2, false);
    configure(&network, vec![email("a", new.server.clone())]);
    send(&network, "a", 3, false);
    send(&network, "b", 4, false);
    let (outcomes, _) = done(&network, 4);
    assert!([1, 2, 3].iter().all(|job| outcomes[&JobId(*job)] == Outcome::Sent), "{outcomes:?}");
    let expected = failed(Class::Configuration, "there is no channel b");
    assert_eq!(outcomes[&JobId(4)], expected);
    assert_eq!((old.heard().messages.len(), new.heard().messages.len()), (2, 1));
}

#[test]
fn a_panic_costs_the_attempt_and_not_the_thread() {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let outcome = runtime.block_on(guarded(async { panic!("a test panics") }));
    assert!(matches!(&outcome, Outcome::Failed(failure) if failure.class == Class::Connection), "{outcome:?}");
    assert_eq!(runtime.block_on(guarded(async { Outcome::Sent })), Outcome::Sent);
}

#[test]
fn a_message_of_another_kind_is_refused() {
    let network = Network::start(Limits::default()).expect("a thread");
    configure(&network, vec![email("a", Server { host: "127.0.0.1".to_owned(), port: 1 })]);
    let message = Message::Post { delivery: "d".to_owned(), body: Arc::from(&b"{}"[..]) };
    let channel = ChannelName("a".to_owned());
    network.order(Order::Send { channel, job: JobId(1), message, dialogue: false }).expect("it runs");
    let (outcomes, _) = done(&network, 1);
    assert_eq!(outcomes[&JobId(1)], failed(Class::Permanent, "the channel carries no such messages"));
}
