//! What the core waits for: each watched descriptor with what it stands for.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::protocol::spawner::Ticket;
use crate::system::poll::{Interest, Poll, Ready};
use crate::worker::channel::Channel;

use super::role::Role;

/// A control client, by the order in which they came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId(pub u64);

/// What a descriptor stands for. The order is that in which one turn of the loop serves them: deaths
/// before everything else, clients last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// A clone's pidfd: it has ended.
    Clone(Ticket),
    Signals,
    Spawner,
    Report(Ticket),
    Worker(Role),
    /// The shell asks for a connection.
    Dialer,
    Listener,
    Client(ClientId),
}

/// One descriptor that has something to say.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub source: Source,
    pub readable: bool,
    pub writable: bool,
}

pub struct Reactor {
    poll: Poll,
    sources: HashMap<u64, Source>,
}

impl Reactor {
    /// # Errors
    /// EMFILE.
    pub fn new() -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, sources: HashMap::new() })
    }

    /// Watches a descriptor for reading.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn add(&mut self, fd: impl AsFd, source: Source) -> io::Result<u64> {
        let token = self.poll.add(fd, Interest::Read)?;
        self.sources.insert(token, source);
        Ok(token)
    }

    /// Whether room for writing is waited for, too.
    pub fn want_write(&self, fd: impl AsFd, token: u64, write: bool) {
        // Fails only for what is not watched: then there is nothing to change.
        let _ = self.poll.change(fd, token, if write { Interest::Both } else { Interest::Read });
    }

    /// Waits for nothing but the end of the connection.
    pub fn pause(&self, fd: impl AsFd, token: u64, write: bool) {
        let _ = self.poll.change(fd, token, if write { Interest::Write } else { Interest::Nothing });
    }

    pub fn remove(&mut self, fd: impl AsFd, token: u64) {
        self.poll.remove(fd);
        self.sources.remove(&token);
    }

    /// Waits; the events come in the order in which they are to be served.
    ///
    /// # Errors
    /// None that a correct program meets.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Event>> {
        let ready = self.poll.wait(timeout)?;
        let event = |ready: &Ready| {
            let source = *self.sources.get(&ready.token)?;
            Some(Event { source, readable: ready.readable, writable: ready.writable })
        };
        let mut events: Vec<Event> = ready.iter().filter_map(event).collect();
        events.sort_by_key(|event| event.source);
        Ok(events)
    }
}

/// A channel to one of our own programs, in the poll.
pub struct Link {
    pub channel: Channel,
    token: u64,
    waits_to_write: bool,
}

impl Link {
    /// # Errors
    /// As epoll_ctl(2).
    pub fn new(reactor: &mut Reactor, socket: OwnedFd, source: Source) -> io::Result<Self> {
        let channel = Channel::of_core(socket)?;
        let token = reactor.add(&channel, source)?;
        Ok(Self { channel, token, waits_to_write: false })
    }

    /// Waits for room while messages are queued.
    pub fn tend(&mut self, reactor: &Reactor) {
        let waits = self.channel.queued() > 0;
        if waits != self.waits_to_write {
            reactor.want_write(&self.channel, self.token, waits);
            self.waits_to_write = waits;
        }
    }

    pub fn close(self, reactor: &mut Reactor) {
        reactor.remove(&self.channel, self.token);
    }
}
