//! Where output goes: a terminal of some width, with or without colour, or a file or pipe, which gets the
//! lines that scripts expect.
#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fault::{Failure, ParseFault};
use crate::model::boundary::Level;
use crate::model::event::Severity;
use crate::model::state::State;
use crate::system::terminal;

pub struct Screen {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    /// Standard output is a terminal.
    pub terminal: bool,
    pub colour: bool,
    /// The cursor can be moved: standard output is a terminal that is not dumb.
    pub moves: bool,
    /// Held by who prints, so that nobody prints into what another has drawn.
    pub drawn: Arc<Mutex<Drawn>>,
    /// The width when it cannot be asked: of a test, or of what is no terminal.
    fixed_width: Option<usize>,
    closed: bool,
}

impl Screen {
    /// Standard output and standard error, as they are.
    pub fn standard() -> Self {
        let terminal = io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            terminal,
            colour: terminal && !no_colour && !dumb,
            moves: terminal && !dumb,
            drawn: Arc::default(),
            fixed_width: None,
            closed: false,
        }
    }

    #[cfg(test)]
    pub fn of(out: Box<dyn Write>, err: Box<dyn Write>, terminal: bool) -> Self {
        Self {
            out,
            err,
            terminal,
            colour: false,
            moves: false,
            drawn: Arc::default(),
            fixed_width: Some(80),
            closed: false,
        }
    }

    /// How many columns there are now.
    pub fn width(&self) -> usize {
        let variable = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0);
        self.fixed_width.or_else(|| terminal::columns(io::stdout().as_fd())).or_else(variable).unwrap_or(80)
    }

    /// How many rows there are now, at least 1.
    pub fn height(&self) -> usize {
        let rows = terminal::size(io::stdout().as_fd()).map(|(_, rows)| rows);
        let variable = || std::env::var("LINES").ok()?.parse().ok();
        rows.filter(|rows| *rows > 0).or_else(variable).unwrap_or(24).max(1)
    }

    /// What is drawn and by that not to be printed into. That somebody panicked while drawing changes nothing.
    pub fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints text that ends with its own line feed, all of it at once.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        self.print_bytes(text.as_bytes())
    }

    pub fn print_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.out.write_all(bytes).and_then(|()| self.out.flush());
        if let Err(error) = &written {
            self.closed = error.kind() == io::ErrorKind::BrokenPipe;
        }
        written
    }

    /// Prints a line on standard error. That nobody reads it changes nothing.
    pub fn complain(&mut self, line: &str) {
        let _ = self.err.write_all(format!("{line}\n").as_bytes());
    }

    /// Nobody reads the output any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Tells what was wrong with a command; its exit code.
    pub fn fault(&mut self, fault: &ParseFault) -> u8 {
        match fault {
            ParseFault::Shown(text) => match self.print(text) {
                Ok(()) => 0,
                Err(error) => self.failure(&Failure::Output(error)),
            },
            ParseFault::Usage(line) => {
                self.complain(&format!("taskmasterctl: {line}"));
                2
            }
        }
    }

    /// Tells why a command failed; its exit code.
    pub fn failure(&mut self, failure: &Failure) -> u8 {
        if let Some(line) = failure.message() {
            self.complain(&format!("taskmasterctl: {line}"));
        }
        failure.exit_code()
    }

    /// The text in colour, where there is colour.
    pub fn painted(&self, text: &str, paint: Paint) -> String {
        if self.colour { paint.on(text) } else { text.to_owned() }
    }
}

/// What is on the terminal besides lines that stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Drawn {
    #[default]
    Nothing,
    /// The last line tells how far a command is, and goes.
    Progress,
    /// One command has all of it.
    WholeScreen,
}

/// Goes to the start of the line and clears it.
pub const CLEAR_LINE: &str = "\r\x1b[K";

/// The few colours with a meaning. All are from the terminal's own palette.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Paint {
    #[default]
    Plain,
    Good,
    Changing,
    Bad,
    Worst,
    Faint,
    Heading,
}

impl Paint {
    pub fn on(self, text: &str) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => "32",
            Self::Changing => "33",
            Self::Bad => "31",
            Self::Worst => "1;31",
            Self::Faint => "2",
            Self::Heading => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    pub fn of_state(state: State) -> Self {
        match state {
            State::Running => Self::Good,
            State::Starting | State::Stopping => Self::Changing,
            State::Backoff => Self::Bad,
            State::Fatal => Self::Worst,
            State::Stopped => Self::Faint,
            State::Exited => Self::Plain,
        }
    }

    pub fn of_level(level: Level) -> Self {
        match level {
            Level::Perfect | Level::Safe | Level::Ok => Self::Good,
            Level::Medium => Self::Plain,
            Level::Exposed => Self::Changing,
            Level::Unsafe => Self::Bad,
            Level::Dangerous => Self::Worst,
        }
    }

    pub fn of_severity(severity: Severity) -> Self {
        match severity {
            Severity::Crit => Self::Worst,
            Severity::Err => Self::Bad,
            Severity::Warning => Self::Changing,
            Severity::Notice => Self::Plain,
            Severity::Info => Self::Faint,
        }
    }
}
