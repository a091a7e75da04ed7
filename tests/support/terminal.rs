//! A real terminal for a program under test: a pseudo-terminal that is its controlling one, and on the
//! other side a small terminal emulator, so that a test sees what a person would see.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

use super::supervisor::end_with_all_below;
use super::{PATIENCE, eventually};

pub const CTRL_A: &str = "\x01";
pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";
pub const CTRL_E: &str = "\x05";
pub const CTRL_K: &str = "\x0b";
pub const CTRL_Z: &str = "\x1a";
pub const BACKSPACE: &str = "\x7f";
pub const LEFT: &str = "\x1b[D";
pub const UP: &str = "\x1b[A";
pub const ENTER: &str = "\r";

/// What a program asks to hear where the cursor is.
const WHERE_IS_THE_CURSOR: &[u8] = b"\x1b[6n";

/// A program on a terminal of its own; ended and looked after when dropped.
pub struct Terminal {
    /// The settings before anything ran on it.
    pub initial: Termios,
    master: Option<File>,
    child: Option<Child>,
    shared: Arc<(Mutex<Shown>, Condvar)>,
    stop: UnixStream,
    reader: Option<JoinHandle<()>>,
}

struct Shown {
    parser: vt100::Parser,
    /// All that was ever written, without what belongs to the emulator's own work.
    bytes: Vec<u8>,
    ended: bool,
}

impl Terminal {
    /// Starts a program as the leader of a session on a new terminal of 100 columns and 40 rows.
    pub fn start(command: Command) -> Self {
        Self::start_sized(command, 40, 100)
    }

    pub fn start_sized(mut command: Command, rows: u16, columns: u16) -> Self {
        let pty = openpty(Some(&size(rows, columns)), None).expect("a pseudo-terminal");
        for descriptor in [&pty.master, &pty.slave] {
            set_close_on_exec(descriptor);
        }
        let initial = tcgetattr(&pty.slave).expect("a terminal");
        let slave = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        command.stdin(slave()).stdout(slave()).stderr(slave());
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("COLUMNS").env_remove("LINES");
        let own_the_terminal = || {
            nix::unistd::setsid()?;
            // SAFETY: TIOCSCTTY takes an int; 0 says that nobody else's terminal is taken.
            let result = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
            nix::errno::Errno::result(result)?;
            Ok(())
        };
        // SAFETY: the closure makes two system calls and touches nothing else.
        unsafe { command.pre_exec(own_the_terminal) };
        let child = command.spawn().expect("it starts");
        drop(command);
        drop(pty.slave);
        let master = File::from(pty.master);
        let shown =
            Shown { parser: vt100::Parser::new(number(rows), number(columns), 1000), bytes: Vec::new(), ended: false };
        let shared = Arc::new((Mutex::new(shown), Condvar::new()));
        let (stop, stopped) = UnixStream::pair().expect("a pair");
        let reader = {
            let (master, shared) = (master.try_clone().expect("a descriptor"), Arc::clone(&shared));
            std::thread::spawn(move || read(master, &stopped, &shared))
        };
        Self { initial, master: Some(master), child: Some(child), shared, stop, reader: Some(reader) }
    }

    pub fn pid(&self) -> i64 {
        i64::from(self.child.as_ref().expect("running").id())
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        lock(&self.shared.0)
    }

    fn master(&self) -> &File {
        self.master.as_ref().expect("the terminal is there")
    }

    /// Presses keys.
    pub fn keys(&self, keys: &str) {
        self.master().write_all(keys.as_bytes()).expect("writes");
    }

    /// Types a line.
    pub fn line(&self, line: &str) {
        self.keys(&format!("{line}{ENTER}"));
    }

    /// What is on the screen.
    pub fn screen(&self) -> String {
        self.shown().parser.screen().contents()
    }

    /// All that was ever written, with escape sequences, from a mark on.
    pub fn written_since(&self, mark: usize) -> String {
        String::from_utf8_lossy(&self.shown().bytes[mark..]).into_owned()
    }

    /// The place in what was written: what comes after it is new.
    pub fn mark(&self) -> usize {
        self.shown().bytes.len()
    }

    /// What programs switch on and a prompt does not want.
    pub fn modes(&self) -> String {
        let shown = self.shown();
        let screen = shown.parser.screen();
        let modes = [
            ("alternate", screen.alternate_screen()),
            ("mouse", screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None),
            ("pasting", screen.bracketed_paste()),
            ("cursor-keys", screen.application_cursor()),
            ("keypad", screen.application_keypad()),
            ("hidden", screen.hide_cursor()),
            ("bold", screen.bold()),
            ("colour", screen.fgcolor() != vt100::Color::Default),
        ];
        modes.iter().filter(|(_, on)| *on).map(|(name, _)| format!("{name} ")).collect()
    }

    /// The column of the cursor.
    pub fn cursor(&self) -> u16 {
        self.shown().parser.screen().cursor_position().1
    }

    /// Waits until `is` holds for the screen.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        let mut shown = self.shown();
        loop {
            let contents = shown.parser.screen().contents();
            if is(&contents) {
                return contents;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not within {PATIENCE:?}: {what}; the screen:\n{contents}");
            shown = self.shared.1.wait_timeout(shown, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(&format!("{text:?} on the screen"), |screen| screen.contains(text))
    }

    /// Waits until keys go to the editor of an empty prompt.
    #[track_caller]
    pub fn prompt(&self) {
        self.wait_for_last("taskmaster>");
        super::eventually("the editor has the terminal", || (!self.is_cooked()).then_some(()));
    }

    /// Waits until the last line is this.
    #[track_caller]
    pub fn wait_for_last(&self, line: &str) {
        let last = |screen: &str| {
            screen.lines().rfind(|line| !line.trim().is_empty()).is_some_and(|last| last.trim_end() == line.trim_end())
        };
        self.wait_until(&format!("the last line is {line:?}"), last);
    }

    /// Waits until this has been told in passing, where it does not stay on the screen.
    #[track_caller]
    pub fn wait_for_told(&self, text: &str) {
        self.wait_for_written(0, text);
    }

    /// Waits until something is written after the mark.
    #[track_caller]
    pub fn wait_for_written(&self, mark: usize, text: &str) {
        let until = Instant::now() + PATIENCE;
        let mut shown = self.shown();
        while !String::from_utf8_lossy(&shown.bytes[mark..]).contains(text) {
            let left = until.saturating_duration_since(Instant::now());
            let screen = shown.parser.screen().contents();
            assert!(!left.is_zero(), "not within {PATIENCE:?}: {text:?} is written; the screen:\n{screen}");
            shown = self.shared.1.wait_timeout(shown, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        self.shown().parser.screen_mut().set_size(number(rows), number(columns));
        let size = size(rows, columns);
        // SAFETY: TIOCSWINSZ reads one winsize, which `size` is for the whole call.
        let result = unsafe { libc::ioctl(self.master().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        nix::errno::Errno::result(result).expect("resizes");
    }

    /// The settings of the terminal, as the program on it has left them.
    pub fn settings(&self) -> Termios {
        tcgetattr(self.master()).expect("a terminal")
    }

    /// Whether lines are edited by the kernel and shown as they are typed, as every shell leaves it.
    pub fn is_cooked(&self) -> bool {
        use nix::sys::termios::LocalFlags;
        self.settings().local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Closes the window: the program loses its terminal.
    pub fn hang_up(&mut self) {
        let _ = self.stop.shutdown(std::net::Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reads");
        }
        self.master = None;
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("running");
        let status = eventually("the program on the terminal ends", || child.try_wait().expect("waits"));
        self.child = None;
        // What it wrote last is still to be read.
        eventually("the terminal is read to its end", || {
            // Nobody reads and shows meanwhile: what is not there to be read is on the screen.
            let shown = self.shown();
            (self.master.is_none() || shown.ended || self.is_quiet()).then_some(())
        });
        status
    }

    fn is_quiet(&self) -> bool {
        let mut descriptors = [PollFd::new(std::os::fd::AsFd::as_fd(self.master()), PollFlags::POLLIN)];
        !matches!(poll(&mut descriptors, PollTimeout::ZERO), Ok(ready) if ready > 0)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            end_with_all_below(child);
        }
        self.hang_up();
    }
}

/// Shows what the program writes, and answers what it asks of its terminal.
fn read(mut master: File, stopped: &UnixStream, shared: &(Mutex<Shown>, Condvar)) {
    let mut buffer = [0; 16 << 10];
    loop {
        let mut descriptors = [
            PollFd::new(std::os::fd::AsFd::as_fd(&master), PollFlags::POLLIN),
            PollFd::new(std::os::fd::AsFd::as_fd(stopped), PollFlags::POLLIN),
        ];
        if poll(&mut descriptors, PollTimeout::NONE).is_err() {
            continue;
        }
        if descriptors[1].any() != Some(false) {
            return;
        }
        let mut shown = lock(&shared.0);
        // EIO: nobody has the terminal open any more.
        let count = master.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            shown.ended = true;
            shared.1.notify_all();
            return;
        }
        let before = shown.bytes.len().saturating_sub(WHERE_IS_THE_CURSOR.len() - 1);
        shown.bytes.extend_from_slice(&buffer[..count]);
        shown.parser.process(&buffer[..count]);
        let asked =
            shown.bytes[before..].windows(WHERE_IS_THE_CURSOR.len()).any(|window| window == WHERE_IS_THE_CURSOR);
        if asked {
            let (row, column) = shown.parser.screen().cursor_position();
            let _ = write!(master, "\x1b[{};{}R", row + 1, column + 1);
        }
        shared.1.notify_all();
    }
}

/// A test that fails while it looks leaves the screen as it was.
fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn number(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).expect("a terminal is not empty")
}

fn set_close_on_exec(descriptor: &OwnedFd) {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("close-on-exec");
}
