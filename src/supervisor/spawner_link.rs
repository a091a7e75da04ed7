//! The spawner, seen from the core: the only process that the core forks itself.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use crate::model::signal::Signal;
use crate::model::time::Moment;
use crate::protocol::spawner::{Answer, Job, Request, Ticket};
use crate::system::clone::{Parent, Side, clone, leave};
use crate::system::{credentials, execute, process, socket, stdio};
use crate::worker::channel::{ChannelError, Passed, Received};
use crate::worker::confine::CHANNEL;

use super::clones::Purpose;
use super::core::Core;
use super::reactor::{Link, Reactor, Source};

pub struct SpawnerLink {
    link: Link,
    pidfd: OwnedFd,
}

impl SpawnerLink {
    /// Starts a spawner.
    ///
    /// # Errors
    /// EAGAIN, ENOMEM, EMFILE.
    pub fn start(reactor: &mut Reactor, executable: &Rc<OwnedFd>) -> io::Result<Self> {
        let (ours, theirs) = socket::message_pair()?;
        match clone(Parent::Me, None)? {
            Side::Clone => {
                let Err(error) = become_spawner(executable, theirs);
                // Nobody but the closing channel tells the core; the words are for whoever traces it.
                leave(error.raw_os_error().unwrap_or(1));
            }
            Side::Original { pidfd, .. } => Ok(Self { link: Link::new(reactor, ours, Source::Spawner)?, pidfd }),
        }
    }

    /// # Errors
    /// When the spawner is gone.
    pub fn send(&mut self, request: &Request, descriptors: Vec<Passed>) -> Result<(), ChannelError> {
        self.link.channel.send(request, descriptors)
    }

    /// # Errors
    /// When the spawner is gone, or makes no sense.
    pub fn receive(&self) -> Result<Option<Received<Answer>>, ChannelError> {
        self.link.channel.receive()
    }

    /// # Errors
    /// When the spawner is gone.
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        self.link.channel.flush()
    }

    pub fn tend(&mut self, reactor: &Reactor) {
        self.link.tend(reactor);
    }

    /// Ends a spawner that does not work any more. Its closing channel is told as ever.
    pub fn kill(&self) {
        let _ = process::signal(self.pidfd.as_fd(), Signal::KILL);
    }

    /// Lets it go; gives what names it, should it not go.
    pub fn close(self, reactor: &mut Reactor) -> OwnedFd {
        self.link.close(reactor);
        self.pidfd
    }
}

/// In the clone: a session of its own, so that no key on the terminal reaches it; nothing of the
/// environment; the channel and standard error, nothing else.
fn become_spawner(executable: &Rc<OwnedFd>, channel: OwnedFd) -> io::Result<Infallible> {
    credentials::new_session()?;
    let executable = stdio::move_above(executable.try_clone()?, 32)?;
    let error_output = stdio::duplicate_standard(2)?;
    stdio::place(vec![(stdio::null(false)?, 0), (stdio::null(true)?, 1), (error_output, 2), (channel, CHANNEL)])?;
    stdio::close_on_exec_from(CHANNEL + 1, &executable)?;
    execute::descriptor(&executable, &[c"taskmaster-spawner".to_owned()], &[]).map_err(io::Error::from)
}

impl Core {
    /// Has the spawner make a clone for this job, which gets these descriptors, in no control group of its own.
    pub(super) fn ask_for_clone(
        &mut self,
        purpose: Purpose,
        job: Job,
        descriptors: Vec<Passed>,
        now: Moment,
    ) -> Result<Ticket, ChannelError> {
        let (ticket, report) =
            self.clones.announce(&mut self.reactor, purpose, false, now).map_err(ChannelError::Io)?;
        let passed = std::iter::once(Rc::new(report)).chain(descriptors).collect();
        match self.ask_spawner(&Request { ticket, cgroup: false, job }, passed) {
            Ok(()) => Ok(ticket),
            Err(error) => {
                self.clones.retract(&mut self.reactor, ticket);
                Err(error)
            }
        }
    }

    /// Sends a request to the spawner, which is started if there is none.
    pub(super) fn ask_spawner(&mut self, request: &Request, passed: Vec<Passed>) -> Result<(), ChannelError> {
        if self.spawner.is_none() {
            let started = SpawnerLink::start(&mut self.reactor, &self.executables.spawner);
            self.spawner = Some(started.map_err(ChannelError::Io)?);
        }
        match &mut self.spawner {
            Some(spawner) => spawner.send(request, passed),
            None => Err(ChannelError::Closed),
        }
    }
}
