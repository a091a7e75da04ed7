//! One client that is attached: its connection, what waits to be sent to it, and what it has typed that the
//! program has not taken. All of it is bounded.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::model::time::Moment;
use crate::protocol::attach::{Decoder, End, Fault, FromClient, Size, ToClient};
use crate::protocol::logger::ConsoleId;
use crate::system::poll::Interest;
use crate::system::terminal;

/// How many bytes may wait for one viewer before it is behind.
const WAITING_MAX: usize = 1 << 20;
/// What is read of a viewer at once, and so about what it can have typed ahead of the program.
const READ: usize = 16 << 10;

/// Frames, encoded; the same ones go to all who look at the same process.
pub type Frame = Rc<[u8]>;

pub struct Viewer {
    connection: UnixStream,
    pub token: u64,
    pub console: ConsoleId,
    pub size: Option<Size>,
    /// The screen is to be drawn as soon as nothing else waits.
    pub redraw: bool,
    /// It was too slow: it gets nothing until the screen is drawn anew.
    pub behind: bool,
    /// When it last took something.
    pub moved: Moment,
    /// What it has typed that the program has not taken. As long as there is some, nothing is read of it.
    pub typed: Vec<u8>,
    /// It has got, or will with what waits, its last frame.
    pub leaving: bool,
    decoder: Decoder,
    frames: VecDeque<Frame>,
    /// How much of the first frame is sent.
    sent: usize,
    waiting: usize,
}

impl Viewer {
    /// # Errors
    /// None on an open socket.
    pub fn new(connection: OwnedFd, console: ConsoleId, size: Option<Size>, now: Moment) -> io::Result<Self> {
        let connection = UnixStream::from(connection);
        connection.set_nonblocking(true)?;
        Ok(Self {
            connection,
            token: 0,
            console,
            size,
            redraw: false,
            behind: false,
            moved: now,
            typed: Vec::new(),
            leaving: false,
            decoder: Decoder::default(),
            frames: VecDeque::new(),
            sent: 0,
            waiting: 0,
        })
    }

    /// Queues frames; `false`: more waits than may, and they were left out. A single one is always taken.
    pub fn push(&mut self, frame: Frame) -> bool {
        if self.waiting > 0 && self.waiting + frame.len() > WAITING_MAX {
            return false;
        }
        self.waiting += frame.len();
        self.frames.push_back(frame);
        true
    }

    /// Queues a sentence.
    pub fn tell(&mut self, words: &str) {
        self.push(ToClient::Notice(words.to_owned()).encode().into());
    }

    /// The last frame; nothing comes after it.
    pub fn end(&mut self, end: End, words: &str) {
        if self.leaving {
            return;
        }
        if end == End::Cut {
            // Only what it has begun to read comes before.
            self.frames.truncate(usize::from(self.sent > 0));
            self.waiting = self.frames.iter().map(|frame| frame.len()).sum::<usize>() - self.sent;
        }
        let frame: Frame = ToClient::End(end, words.to_owned()).encode().into();
        self.waiting += frame.len();
        self.frames.push_back(frame);
        self.leaving = true;
        self.typed = Vec::new();
    }

    pub fn has_waiting(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Sends what the client takes now.
    ///
    /// # Errors
    /// When it is gone.
    pub fn write(&mut self, now: Moment) -> io::Result<()> {
        while let Some(frame) = self.frames.front() {
            match self.connection.write(&frame[self.sent..]) {
                Ok(count) => {
                    self.moved = now;
                    self.sent += count;
                    self.waiting -= count;
                    if self.sent == frame.len() {
                        self.sent = 0;
                        self.frames.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads some of what the client says, if it is listened to now.
    ///
    /// # Errors
    /// When it is gone.
    pub fn read(&mut self) -> io::Result<()> {
        if !self.typed.is_empty() {
            // It is not read now; that something is told of it all the same means that it may be gone.
            let gone = terminal::is_hung_up(self.connection.as_fd());
            return if gone { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) };
        }
        let mut buffer = [0; READ];
        match self.connection.read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                if !self.leaving {
                    self.decoder.push(&buffer[..count]);
                }
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next thing that the client said.
    ///
    /// # Errors
    /// What came is no frame.
    pub fn next(&mut self) -> Result<Option<FromClient>, Fault> {
        self.decoder.next()
    }

    /// What is to be waited for.
    pub fn interest(&self) -> Interest {
        match (self.typed.is_empty(), self.has_waiting()) {
            (true, false) => Interest::Read,
            (true, true) => Interest::Both,
            (false, true) => Interest::Write,
            (false, false) => Interest::Nothing,
        }
    }
}

impl AsFd for Viewer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
