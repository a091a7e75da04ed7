//! One life of a process as those see it who are attached: what it shows, who may type, and where what they
//! type goes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::screen::{self, CELLS_MAX, Screen};
use super::seats::Seats;
use crate::protocol::attach::Size;
use crate::protocol::logger::{Input, TailId};
use crate::system::pty;

pub struct Console {
    pub process: String,
    pub outputs: Vec<TailId>,
    input: Option<(Input, File)>,
    /// How epoll knows the input, while somebody waits for the program to take some.
    pub token: Option<u64>,
    pub seats: Seats,
    /// `None` for a program without a terminal, and where the emulator cannot go on.
    screen: Option<Screen>,
    size: Size,
    /// The emulator has failed: it is not tried again in this life.
    given_up: bool,
}

/// What became of input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrote {
    All,
    /// So much; the program takes no more now.
    Some(usize),
    /// It will never take any more.
    Closed,
}

const USUAL: Size = Size { rows: 24, columns: 80 };

impl Console {
    pub fn new(process: String, outputs: Vec<TailId>, input: Option<(Input, OwnedFd)>) -> Self {
        let input = input.map(|(kind, descriptor)| (kind, File::from(descriptor)));
        let mut console = Self {
            process,
            outputs,
            input,
            token: None,
            seats: Seats::default(),
            screen: None,
            size: USUAL,
            given_up: false,
        };
        if let Some((Input::Terminal, master)) = &console.input {
            let known = pty::size(master).ok().and_then(|(rows, columns)| Size::new(rows, columns));
            console.size = known.unwrap_or(USUAL);
        }
        console
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self.input, Some((Input::Terminal, _)))
    }

    pub fn takes_input(&self) -> bool {
        self.input.is_some()
    }

    /// Begins to follow the screen, if it is not larger than the cells that are left.
    pub fn open_screen(&mut self, cells_left: usize) {
        if self.is_terminal() && self.screen.is_none() && !self.given_up && screen::cells(self.size) <= cells_left {
            self.screen = Screen::new(self.size);
        }
    }

    pub fn cells(&self) -> usize {
        if self.screen.is_some() { screen::cells(self.size) } else { 0 }
    }

    /// Follows what the program writes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.screen.as_mut().is_some_and(|screen| !screen.feed(bytes)) {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        self.screen = None;
        self.given_up = true;
    }

    /// What draws the screen; `None`: it is not known.
    pub fn drawn(&mut self) -> Option<Vec<u8>> {
        let drawn = self.screen.as_mut()?.drawn();
        if drawn.is_none() {
            self.give_up();
        }
        drawn
    }

    /// The terminal has another size. `others`: cells of all other screens.
    pub fn resize(&mut self, size: Size, others: usize) {
        let Some((Input::Terminal, master)) = &self.input else { return };
        if size == self.size || pty::set_size(master, size.rows, size.columns).is_err() {
            return;
        }
        self.size = size;
        let left = CELLS_MAX.saturating_sub(others);
        if screen::cells(size) > left {
            self.screen = None;
        } else if self.screen.as_mut().is_some_and(|screen| !screen.resize(size)) {
            self.give_up();
        } else {
            self.open_screen(left);
        }
    }

    /// Gives the program what was typed, as much as it takes now.
    pub fn write(&mut self, bytes: &[u8]) -> Wrote {
        let Some((_, input)) = &mut self.input else { return Wrote::Closed };
        let mut written = 0;
        while written < bytes.len() {
            match input.write(&bytes[written..]) {
                Ok(0) => return Wrote::Some(written),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Wrote::Some(written),
                Err(_) => return Wrote::Closed,
            }
        }
        Wrote::All
    }

    /// The input, to be watched.
    pub fn input(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().map(|(_, input)| input.as_fd())
    }
}
