//! What a program asks of the terminal it talks to: how wide it is, whether it is still there, and Ctrl-C
//! as something that a wait can see instead of something that ends the process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

/// A terminal's settings, to be put back however its user left it.
pub struct Saved(nix::sys::termios::Termios);

impl Saved {
    /// Remembers the settings of standard input, if it and standard output are one terminal in whose
    /// foreground this process is: only then may it be talked on.
    pub fn of_own_terminal() -> Option<Self> {
        let (input, output) = (io::stdin(), io::stdout());
        let foreground = nix::unistd::tcgetpgrp(&input).ok()?;
        nix::unistd::tcgetpgrp(&output).ok()?;
        if foreground != nix::unistd::getpgrp() {
            return None;
        }
        nix::sys::termios::tcgetattr(&input).ok().map(Self)
    }

    /// Puts them back. A terminal that is gone needs nothing.
    pub fn restore(&self) {
        let _ = nix::sys::termios::tcsetattr(io::stdin(), nix::sys::termios::SetArg::TCSANOW, &self.0);
    }
}

/// The columns of the terminal, if it is one and knows.
pub fn columns(terminal: BorrowedFd<'_>) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which `size` is for the whole call.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    Errno::result(result).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Whether the other side of the terminal (the window, the connection) is gone.
pub fn is_hung_up(terminal: BorrowedFd<'_>) -> bool {
    let mut descriptors = [PollFd::new(terminal, PollFlags::empty())];
    let answered = poll(&mut descriptors, PollTimeout::ZERO);
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    answered.is_ok() && descriptors[0].revents().is_some_and(|events| events.intersects(gone))
}

/// SIGINT as a descriptor.
///
/// The signal is blocked in the calling thread and in those it starts later, and ignored where it is let
/// through without a handler: it can never end the process.
pub struct Interrupts(SignalFd);

impl Interrupts {
    /// Takes over SIGINT. To be called before other threads are started.
    ///
    /// # Errors
    /// When the kernel refuses a signalfd.
    pub fn catch() -> io::Result<Self> {
        // SAFETY: ignoring a signal installs no function of ours.
        unsafe { signal(Signal::SIGINT, SigHandler::SigIgn) }?;
        let mask = SigSet::from(Signal::SIGINT);
        mask.thread_block()?;
        Ok(Self(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Forgets what came before: a Ctrl-C belongs to the command that was waiting then.
    pub fn drain(&self) -> bool {
        let mut any = false;
        while let Ok(Some(_)) = self.0.read_signal() {
            any = true;
        }
        any
    }

    /// Runs something that handles SIGINT itself (the line editor), with the signal let through.
    pub fn let_through<T>(&self, body: impl FnOnce() -> T) -> T {
        self.drain();
        let mask = SigSet::from(Signal::SIGINT);
        let unblocked = mask.thread_unblock().is_ok();
        let result = body();
        if unblocked {
            // Blocking a valid signal cannot fail once it has worked.
            let _ = mask.thread_block();
        }
        result
    }
}

/// Sends this process a SIGINT: what wakes the line editor from another thread.
pub fn interrupt_self() {
    let _ = kill(Pid::this(), Signal::SIGINT);
}

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// Bytes or the end of the stream are there.
    Readable,
    /// Ctrl-C.
    Interrupted,
    TimedOut,
}

/// Waits until the descriptor can be read, for ever without a limit.
///
/// # Errors
/// As poll(2).
pub fn wait(descriptor: BorrowedFd<'_>, interrupts: Option<&Interrupts>, limit: Option<Duration>) -> io::Result<Wake> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let mut descriptors = vec![PollFd::new(descriptor, PollFlags::POLLIN)];
        descriptors.extend(interrupts.map(|interrupts| PollFd::new(interrupts.0.as_fd(), PollFlags::POLLIN)));
        match poll(&mut descriptors, timeout) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) if interrupts.is_some_and(Interrupts::drain) => return Ok(Wake::Interrupted),
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(Wake::TimedOut),
            Ok(_) if descriptors[0].any().unwrap_or(true) => return Ok(Wake::Readable),
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_wait_ends_by_bytes_by_the_end_or_in_time() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let limit = Some(Duration::from_millis(5));
        assert_eq!(wait(ours.as_fd(), None, limit).expect("waits"), Wake::TimedOut);
        assert!(!is_hung_up(ours.as_fd()));
        theirs.write_all(b"x").expect("writes");
        assert_eq!(wait(ours.as_fd(), None, None).expect("waits"), Wake::Readable);
        drop(theirs);
        assert_eq!(wait(ours.as_fd(), None, None).expect("waits"), Wake::Readable);
        assert!(is_hung_up(ours.as_fd()));
        assert_eq!(columns(ours.as_fd()), None);
    }

    #[test]
    fn a_ctrl_c_ends_the_wait_and_is_forgotten_then() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let interrupts = Interrupts::catch().expect("catches");
        nix::sys::signal::raise(Signal::SIGINT).expect("raises");
        assert_eq!(wait(ours.as_fd(), Some(&interrupts), None).expect("waits"), Wake::Interrupted);
        let limit = Some(Duration::from_millis(5));
        assert_eq!(wait(ours.as_fd(), Some(&interrupts), limit).expect("waits"), Wake::TimedOut);
    }
}
