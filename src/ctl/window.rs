//! The terminal while a program at the other end has it: made raw and given back, with what a program may have
//! switched on switched off again. However it ends, also by an error or a panic.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::screen::{Drawn, Screen};
use crate::model::text::escaped;
use crate::system::terminal::{self, Raw};

/// How long a sentence stands above the program's screen.
const NOTICE: Duration = Duration::from_secs(2);

/// Ends whatever sequence was begun, and leaves nothing of a program behind: alternate screen, mouse, pasting,
/// focus, keypad, margins, colours, character sets, keyboard modes, the cursor's look, the title.
const GIVE_BACK: &str = "\x18\x1b\\\x1b[?1049l\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1005l\x1b[?1006l\
                         \x1b[?1015l\x1b[?2004l\x1b[?2026l\x1b[?1l\x1b>\x1b[?5l\x1b[?6l\x1b[?7h\x1b[4l\x1b[>4;0m\x1b[<u\x1b[r\x1b(B\x0f\
                         \x1b[0m\x1b[0 q\x1b[?25h\x1b[23;0t";

/// Rows and columns, if standard output is a terminal that knows.
pub fn size() -> Option<(u16, u16)> {
    let (columns, rows) = terminal::size(io::stdout().as_fd())?;
    Some((u16::try_from(rows).ok()?, u16::try_from(columns).ok()?)).filter(|(rows, _)| *rows > 0)
}

pub struct Window {
    raw: Option<Raw>,
    /// A sentence covers the first line until then.
    covered: Option<Instant>,
}

impl Window {
    /// Takes the terminal. What is on it goes where a user can scroll back to it.
    pub fn take(screen: &Screen) -> io::Result<Self> {
        let raw = Raw::make()?;
        *screen.drawn() = Drawn::WholeScreen;
        let window = Self { raw: Some(raw), covered: None };
        let rows = size().map_or(24, |(rows, _)| rows);
        write(format!("\x1b[22;0t\x1b[{rows};1H{}", "\n".repeat(usize::from(rows))).as_bytes())?;
        Ok(window)
    }

    /// Shows what the program wrote, as it is.
    pub fn show(&mut self, bytes: &[u8]) -> io::Result<()> {
        write(bytes)
    }

    /// A sentence over the first line, for a short time.
    pub fn tell(&mut self, words: &str) -> io::Result<()> {
        self.covered = Some(Instant::now() + NOTICE);
        let columns = size().map_or(80, |(_, columns)| usize::from(columns));
        let words = escaped(words);
        let words = super::show::cut(&words, columns.saturating_sub(2));
        write(format!("\x1b7\x1b[1;1H\x1b[0;7m {words} \x1b[0m\x1b8").as_bytes())
    }

    /// When what is covered is to be drawn again.
    pub fn due(&self) -> Option<Instant> {
        self.covered
    }

    /// Whether it is to be drawn again now.
    pub fn uncover(&mut self) -> bool {
        let due = self.covered.is_some_and(|until| until <= Instant::now());
        if due {
            self.covered = None;
        }
        due
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing. Below all that was drawn, a line of its own.
        let rows = size().map_or(24, |(rows, _)| rows);
        let _ = write(format!("{GIVE_BACK}\x1b[{rows};1H\r\n").as_bytes());
        drop(self.raw.take());
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(bytes).and_then(|()| out.flush())
}
