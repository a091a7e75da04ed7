//! `taskmaster-notifier`: tells people what happened: every event on one line of the event log ([`log`]),
//! where the supervisor was started ([`console`]), and as alerts on the configured channels ([`alerts`]).
//!
//! The main thread's loop: take what the core has sent, write the event log, bring to disk what it means for
//! alerts, acknowledge. What is not acknowledged the core sends again to the next notifier. All that
//! waits for others is done by a second thread ([`network`]). It decides nothing about programs and names
//! no path.

mod alerts;
mod console;
mod log;
mod maildir;
mod network;
mod render;
mod spool;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use crate::protocol::notifier::{FromNotifier, ToNotifier};
use crate::system::clock;
use crate::system::folder::Folder;
use crate::system::poll::{Interest, Poll};
use crate::worker::channel::{Channel, ChannelError, Received};
use crate::worker::confine::{self, Allowance, NOTIFIER, start_no_more_threads, work};

use alerts::{Alerts, Folders, Now, Render};
use console::Console;
use log::EventLog;
use network::{Gone, Limits, Network};

const DESCRIPTORS: u64 = 256;
/// How many messages are taken before what they brought is written.
const MESSAGES: usize = 1000;

/// Runs until the core closes the channel.
pub fn main() -> ExitCode {
    let allowance = Allowance {
        descriptors: DESCRIPTORS,
        file_bytes: None,
        starts_threads: true,
        uses_network: true,
        calls: &NOTIFIER,
    };
    work("taskmaster-notifier", allowance, |channel| {
        // First, while nothing else can have their numbers.
        let (spool, maildir) = (Folder::inherited(confine::SPOOL), Folder::inherited(confine::MAILDIR));
        // All threads that there will ever be.
        let network = Network::start(Limits::default()).map_err(NotifierError::Io)?;
        start_no_more_threads().map_err(NotifierError::Io)?;
        run(channel, Folders { spool, maildir }, network, render::message)
    })
}

/// Why the notifier cannot go on. The core starts another.
#[derive(Debug)]
pub enum NotifierError {
    Channel(ChannelError),
    /// A message came without its descriptor.
    Missing(&'static str),
    Io(io::Error),
}

impl fmt::Display for NotifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(error) => error.fmt(f),
            Self::Missing(message) => write!(f, "the message {message} came without its descriptor"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// Serves the core at the other end of the channel until it closes it.
///
/// # Errors
/// When the core sends nonsense, or the kernel has no descriptors left.
pub fn run<N: alerts::Network>(
    mut channel: Channel,
    folders: Folders,
    network: N,
    render: Render,
) -> Result<(), NotifierError> {
    let mut poll = Poll::new().map_err(NotifierError::Io)?;
    let token = poll.add(&channel, Interest::Read).map_err(NotifierError::Io)?;
    if let Some(bell) = network.bell() {
        poll.add(bell, Interest::Read).map_err(NotifierError::Io)?;
    }
    let mut log = EventLog::default();
    let mut written = None;
    let mut console = Console::default();
    let mut alerts = Alerts::new(network, render, folders, now());
    channel.send(&FromNotifier::Ready, Vec::new()).map_err(NotifierError::Channel)?;
    loop {
        let interest = if channel.queued() > 0 { Interest::Both } else { Interest::Read };
        poll.change(&channel, token, interest).map_err(NotifierError::Io)?;
        let due = log.retry().into_iter().chain(alerts.deadline()).min();
        poll.wait(due.map(|due| due.since(clock::now()))).map_err(NotifierError::Io)?;
        let heard = listen(&channel, &mut poll, &mut log, &mut console, &mut alerts);
        // Also when the core is gone: its last events are the most wanted ones. The event log comes first: it
        // waits for nothing that alerts have to bring to disk. Acknowledged is what both have.
        let mut told = log.write(clock::now());
        written = told.pop_if(|message| matches!(message, FromNotifier::Written { .. })).or(written);
        told.extend(alerts.turn(&mut poll, now()));
        if alerts.is_saved() {
            told.extend(written.take());
        }
        if alerts.network_is_gone() {
            return Err(NotifierError::Io(io::Error::other(Gone.to_string())));
        }
        match heard {
            Ok(()) => {}
            Err(NotifierError::Channel(ChannelError::Closed)) => {
                alerts.end(now());
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        for message in told {
            channel.send(&message, Vec::new()).map_err(NotifierError::Channel)?;
        }
        channel.flush().map_err(NotifierError::Channel)?;
    }
}

fn now() -> Now {
    Now { moment: clock::now(), wall: clock::wall() }
}

/// Takes what the core has sent.
fn listen<N: alerts::Network>(
    channel: &Channel,
    poll: &mut Poll,
    log: &mut EventLog,
    console: &mut Console,
    alerts: &mut Alerts<N>,
) -> Result<(), NotifierError> {
    for _ in 0..MESSAGES {
        let Some(received) = channel.receive::<ToNotifier>().map_err(NotifierError::Channel)? else { break };
        let Received { message, descriptors, .. } = received;
        match message {
            ToNotifier::EventLog { format } => log.open(only(descriptors, "EventLog")?, format),
            ToNotifier::Console => console.open(only(descriptors, "Console")?),
            ToNotifier::Event { event, again, about } => {
                // The earlier notifier has shown it, if it was sent to one.
                if !again {
                    console.show(&event);
                }
                alerts.event(&event, about, now());
                log.push(event, again);
            }
            other => alerts.hear(other, descriptors, poll, now()),
        }
    }
    Ok(())
}

/// The descriptor that belongs to a message.
fn only(descriptors: Vec<OwnedFd>, message: &'static str) -> Result<OwnedFd, NotifierError> {
    descriptors.into_iter().next().ok_or(NotifierError::Missing(message))
}
