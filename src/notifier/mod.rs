//! `taskmaster-notifier`: tells people what happened: every event on one line of the event log ([`log`]),
//! and where the supervisor was started ([`console`]).
//!
//! One loop: take what the core has sent, write it at once, acknowledge it. What is not
//! acknowledged the core sends again to the next notifier. It decides nothing about programs and names
//! no path. Whatever needs a server is done by a second thread ([`network`]).

mod console;
mod log;
mod network;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use crate::protocol::notifier::{FromNotifier, ToNotifier};
use crate::system::clock;
use crate::system::poll::{Interest, Poll};
use crate::worker::channel::{Channel, ChannelError, Received};
use crate::worker::confine::{Allowance, NOTIFIER, start_no_more_threads, work};

use console::Console;
use log::EventLog;
use network::{Limits, Network};

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
        // All threads that there will ever be.
        let _network = Network::start(Limits::default()).map_err(NotifierError::Io)?;
        start_no_more_threads().map_err(NotifierError::Io)?;
        run(channel)
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
pub fn run(mut channel: Channel) -> Result<(), NotifierError> {
    let mut poll = Poll::new().map_err(NotifierError::Io)?;
    let token = poll.add(&channel, Interest::Read).map_err(NotifierError::Io)?;
    let mut log = EventLog::default();
    let mut console = Console::default();
    channel.send(&FromNotifier::Ready, Vec::new()).map_err(NotifierError::Channel)?;
    loop {
        let interest = if channel.queued() > 0 { Interest::Both } else { Interest::Read };
        poll.change(&channel, token, interest).map_err(NotifierError::Io)?;
        let timeout = log.retry().map(|due| due.since(clock::now()));
        poll.wait(timeout).map_err(NotifierError::Io)?;
        let heard = listen(&channel, &mut log, &mut console);
        // Written also when the core is gone: its last events are the most wanted ones.
        let told = log.write(clock::now());
        match heard {
            Ok(()) => {}
            Err(NotifierError::Channel(ChannelError::Closed)) => return Ok(()),
            Err(error) => return Err(error),
        }
        for message in told {
            channel.send(&message, Vec::new()).map_err(NotifierError::Channel)?;
        }
        channel.flush().map_err(NotifierError::Channel)?;
    }
}

/// Takes what the core has sent.
fn listen(channel: &Channel, log: &mut EventLog, console: &mut Console) -> Result<(), NotifierError> {
    for _ in 0..MESSAGES {
        let Some(received) = channel.receive::<ToNotifier>().map_err(NotifierError::Channel)? else { break };
        let Received { message, descriptors, .. } = received;
        match message {
            ToNotifier::EventLog { format } => log.open(only(descriptors, "EventLog")?, format),
            ToNotifier::Console => console.open(only(descriptors, "Console")?),
            ToNotifier::Event { event, again, about: _ } => {
                // The earlier notifier has shown it, if it was sent to one.
                if !again {
                    console.show(&event);
                }
                log.push(event, again);
            }
            ToNotifier::Secret { .. }
            | ToNotifier::Configure(_)
            | ToNotifier::Output { .. }
            | ToNotifier::Sendmail { .. }
            | ToNotifier::SendmailEnded { .. }
            | ToNotifier::Ask { .. }
            | ToNotifier::Drain => {}
        }
    }
    Ok(())
}

/// The descriptor that belongs to a message.
fn only(descriptors: Vec<OwnedFd>, message: &'static str) -> Result<OwnedFd, NotifierError> {
    descriptors.into_iter().next().ok_or(NotifierError::Missing(message))
}
