//! What a program asks of the terminal it talks to: how large it is, whether it is still there, keys one by
//! one, and Ctrl-C as something that a wait can see instead of something that ends the process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, signal};
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

/// Standard input gives each key at once, unseen, and no key is a signal, until this is dropped.
pub struct Keys(Saved);

impl Keys {
    /// # Errors
    /// Standard input is no terminal, or gone.
    pub fn one_by_one() -> io::Result<Self> {
        use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr};
        let before = tcgetattr(io::stdin())?;
        let mut settings = before.clone();
        settings.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN);
        settings.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        settings.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(io::stdin(), SetArg::TCSANOW, &settings)?;
        Ok(Self(Saved(before)))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.0.restore();
    }
}

/// Standard input gives every byte as it is typed and standard output takes every byte as it is, until this is
/// dropped: the terminal of a program at the other end does what there is to do.
pub struct Raw(nix::sys::termios::Termios);

impl Raw {
    /// # Errors
    /// Standard input is no terminal, or gone.
    pub fn make() -> io::Result<Self> {
        use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
        let before = tcgetattr(io::stdin())?;
        let mut settings = before.clone();
        cfmakeraw(&mut settings);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &settings)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // What the terminal has answered to questions of the program is nobody's input any more.
        let _ = nix::sys::termios::tcsetattr(io::stdin(), nix::sys::termios::SetArg::TCSAFLUSH, &self.0);
    }
}

/// The columns of the terminal, if it is one and knows.
pub fn columns(terminal: BorrowedFd<'_>) -> Option<usize> {
    size(terminal).map(|(columns, _)| columns)
}

/// Columns and rows of the terminal, if it is one and knows; rows may be 0.
pub fn size(terminal: BorrowedFd<'_>) -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which `size` is for the whole call.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    Errno::result(result).ok()?;
    (size.ws_col > 0).then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
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
/// through without a handler: it can never end the process. So is SIGWINCH, which [`Signals`] waits for.
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
        of_the_editor().thread_block()?;
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

    /// Runs something that handles both signals itself (the line editor), with them let through.
    pub fn let_through<T>(&self, body: impl FnOnce() -> T) -> T {
        self.drain();
        let mask = of_the_editor();
        let unblocked = mask.thread_unblock().is_ok();
        let result = body();
        if unblocked {
            // Blocking a valid signal cannot fail once it has worked.
            let _ = mask.thread_block();
        }
        result
    }
}

fn of_the_editor() -> SigSet {
    [Signal::SIGINT, Signal::SIGWINCH].into_iter().collect()
}

/// What somebody who has the whole terminal hears besides keys, until this is dropped: a new size, and the
/// signals that would end the process and leave the terminal as it is.
pub struct Signals {
    descriptor: SignalFd,
    before: SigSet,
}

/// What a signal meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signalled {
    Resized,
    /// To be left: SIGINT, SIGTERM, SIGHUP.
    Ended,
}

impl Signals {
    /// # Errors
    /// When the kernel refuses a signalfd.
    pub fn catch() -> io::Result<Self> {
        let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGWINCH];
        let mask: SigSet = all.into_iter().collect();
        let descriptor = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let before = mask.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Self { descriptor, before })
    }

    /// The next that has come.
    pub fn next(&self) -> Option<Signalled> {
        let signal = self.descriptor.read_signal().ok().flatten()?;
        let resized = i32::try_from(signal.ssi_signo) == Ok(Signal::SIGWINCH as i32);
        Some(if resized { Signalled::Resized } else { Signalled::Ended })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // What has come meanwhile was meant for who had the terminal.
        while self.next().is_some() {}
        // Putting back a mask that was in force cannot fail.
        let _ = self.before.thread_set_mask();
    }
}

/// Waits until one of these can be read, or is at its end, or the time is up: which ones.
///
/// # Errors
/// As poll(2).
pub fn wait_for_any(descriptors: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    wait_for_any_or_room(descriptors, None, limit)
}

/// The same, and also until this one takes bytes, which is the last answer.
///
/// # Errors
/// As poll(2).
pub fn wait_for_any_or_room(
    descriptors: &[BorrowedFd<'_>],
    room: Option<BorrowedFd<'_>>,
    limit: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let round_up =
        |limit: Duration| PollTimeout::try_from(limit + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    let mut polled: Vec<PollFd<'_>> = descriptors.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    polled.extend(room.map(|fd| PollFd::new(fd, PollFlags::POLLOUT)));
    match poll(&mut polled, limit.map_or(PollTimeout::NONE, round_up)) {
        Ok(_) => Ok(polled.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
        Err(Errno::EINTR) => Ok(vec![false; polled.len()]),
        Err(errno) => Err(errno.into()),
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

    #[test]
    fn a_wait_for_several_says_which_and_signals_are_told_apart() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let (other, _kept) = UnixStream::pair().expect("a pair");
        let both = [ours.as_fd(), other.as_fd()];
        assert_eq!(wait_for_any(&both, Some(Duration::ZERO)).expect("waits"), [false, false]);
        theirs.write_all(b"x").expect("writes");
        assert_eq!(wait_for_any(&both, None).expect("waits"), [true, false]);
        let signals = Signals::catch().expect("catches");
        for (signal, meaning) in [(Signal::SIGWINCH, Signalled::Resized), (Signal::SIGTERM, Signalled::Ended)] {
            nix::sys::signal::raise(signal).expect("raises");
            assert_eq!(wait_for_any(&[signals.as_fd()], None).expect("waits"), [true]);
            assert_eq!(signals.next(), Some(meaning));
        }
        assert_eq!(signals.next(), None);
        nix::sys::signal::raise(Signal::SIGTERM).expect("raises");
        drop(signals);
    }
}
