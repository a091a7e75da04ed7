//! Events on the terminal or into the file where the supervisor was started: never waited for. What did
//! not fit is counted, and told with the next line that does.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use crate::alert::line;
use crate::model::event::Event;
use crate::system::poll;

/// Small enough that a pipe or a terminal with room takes it at once.
const PIECE: usize = 256;

#[derive(Default)]
pub struct Console {
    file: Option<File>,
    /// The rest of a line that was begun.
    rest: Vec<u8>,
    skipped: u64,
}

impl Console {
    pub fn open(&mut self, file: OwnedFd) {
        *self = Self { file: Some(File::from(file)), ..Self::default() };
    }

    /// Shows one event, if there is room for it now.
    pub fn show(&mut self, event: &Event) {
        if self.file.is_none() {
            return;
        }
        if !self.write_rest() {
            self.skipped += 1;
            return;
        }
        if self.skipped > 0 {
            self.rest = format!("({} events were not shown here)\n", self.skipped).into_bytes();
            self.skipped = 0;
        }
        self.rest.extend_from_slice(line::text(event).as_bytes());
        self.rest.push(b'\n');
        self.write_rest();
    }

    /// Writes what has been begun; whether all of it is out. A console that is gone is forgotten.
    fn write_rest(&mut self) -> bool {
        while let Some(mut file) = self.file.as_ref()
            && !self.rest.is_empty()
        {
            if !poll::is_writable(file).unwrap_or(false) {
                return false;
            }
            match file.write(&self.rest[..self.rest.len().min(PIECE)]) {
                Ok(count) => drop(self.rest.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => self.file = None,
            }
        }
        true
    }
}
