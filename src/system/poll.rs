//! epoll: which of many descriptors have something to say, and a timeout at the next deadline.
//!
//! Level-triggered, but for [`Interest::More`]. A token is never given twice, so an event for something that is gone finds nothing
//! and is dropped, also when a descriptor number has come back (epoll watches the open file, not the
//! number).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// What to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    Read,
    /// To be told only when more has come, not of what is there.
    More,
    Write,
    Both,
    /// Errors and hang-ups only, which always come.
    Nothing,
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Read => EpollFlags::EPOLLIN,
            Self::More => EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
            Self::Write => EpollFlags::EPOLLOUT,
            Self::Both => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
            Self::Nothing => EpollFlags::empty(),
        }
    }
}

/// One descriptor that has something to say.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

/// The set of watched descriptors.
pub struct Poll {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    next_token: u64,
}

impl Poll {
    /// # Errors
    /// When the kernel has no more descriptors.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); 256], next_token: 0 })
    }

    /// Watches a descriptor; the token comes back with its events.
    ///
    /// # Errors
    /// As epoll_ctl(2): ENOSPC, ENOMEM; EPERM for a regular file.
    pub fn add(&mut self, fd: impl AsFd, interest: Interest) -> io::Result<u64> {
        self.next_token += 1;
        self.epoll.add(fd, EpollEvent::new(interest.flags(), self.next_token))?;
        Ok(self.next_token)
    }

    /// # Errors
    /// ENOENT when it is not watched.
    pub fn change(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = EpollEvent::new(interest.flags(), token);
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// Before every close: another process may still hold the open file, and its events would go on.
    pub fn remove(&self, fd: impl AsFd) {
        let _ = self.epoll.delete(fd);
    }

    /// Waits until something happens, or `timeout` is over (`None`: for ever). Interrupted is nothing.
    ///
    /// # Errors
    /// None that a correct program meets.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Ready>> {
        // Rounded up: a deadline must have passed when the wait is over.
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            Some(duration) => {
                let millis = duration.as_nanos().div_ceil(1_000_000);
                EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::ZERO)
            }
        };
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        Ok(self.events[..count].iter().map(ready).collect())
    }
}

fn ready(event: &EpollEvent) -> Ready {
    let flags = event.events();
    let trouble = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
    Ready {
        token: event.data(),
        readable: flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | trouble),
        writable: flags.intersects(EpollFlags::EPOLLOUT | trouble),
    }
}

/// Waits until one descriptor takes more bytes, or its other end is gone.
///
/// # Errors
/// None that a correct program meets.
pub fn wait_writable(fd: impl AsFd) -> io::Result<()> {
    wait_one(fd.as_fd(), PollFlags::POLLOUT, PollTimeout::NONE).map(drop)
}

/// Whether one descriptor takes more bytes now.
///
/// # Errors
/// None that a correct program meets.
pub fn is_writable(fd: impl AsFd) -> io::Result<bool> {
    wait_one(fd.as_fd(), PollFlags::POLLOUT, PollTimeout::ZERO)
}

/// Whether something lies in one descriptor to be read, and whether its other end is gone.
///
/// # Errors
/// None that a correct program meets.
pub fn is_readable(fd: impl AsFd) -> io::Result<(bool, bool)> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(_) => {
                let found = fds[0].revents().unwrap_or(PollFlags::empty());
                return Ok((
                    found.contains(PollFlags::POLLIN),
                    found.intersects(PollFlags::POLLHUP | PollFlags::POLLERR),
                ));
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn wait_one(fd: BorrowedFd<'_>, flags: PollFlags, timeout: PollTimeout) -> io::Result<bool> {
    let mut fds = [PollFd::new(fd, flags)];
    loop {
        match poll(&mut fds, timeout) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
