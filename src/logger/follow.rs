//! One client of `tail`: what waits to be sent to it, within a bound, and the answers it still gets.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use crate::protocol::control::{Channel, Refusal, TailReply};
use crate::protocol::frame;
use crate::protocol::logger::TailId;
use crate::protocol::varlink::Reply;

/// How many clients are served at once.
pub const CLIENTS_MAX: usize = 64;
/// How many bytes may wait for one client.
const WAITING_MAX: usize = 1 << 20;
/// How long a client that is sent away has to read why.
pub const FAREWELL: Duration = Duration::from_secs(5);

/// One answer, encoded; the same one goes to all who follow the same output.
pub type Frame = Rc<[u8]>;

/// Lines of one process as an answer.
pub fn answer(process: &str, channel: Channel, outputs: u32, text: &[u8], continues: bool) -> Frame {
    let text = String::from_utf8_lossy(text).into_owned();
    let reply = TailReply { process: process.to_owned(), channel, outputs, text };
    frame::encode(&if continues { Reply::continues(reply) } else { Reply::done(reply) }).into()
}

/// A refusal as an answer.
pub fn refusal(refusal: &Refusal) -> Frame {
    frame::encode(refusal).into()
}

pub struct Client {
    connection: UnixStream,
    pub token: u64,
    frames: VecDeque<Frame>,
    /// How much of the first frame is sent.
    sent: usize,
    waiting: usize,
    /// The outputs whose last lines it has not got yet.
    pub pending: VecDeque<TailId>,
    pub lines: u32,
    /// How many outputs it looks at.
    pub outputs: u32,
    pub follow: bool,
    /// It has got, or will with what waits, its last answer.
    pub leaving: bool,
    /// It sends nothing any more.
    pub input_ended: bool,
}

impl Client {
    /// # Errors
    /// None on an open socket.
    pub fn new(connection: OwnedFd, lines: u32, follow: bool) -> io::Result<Self> {
        let connection = UnixStream::from(connection);
        connection.set_nonblocking(true)?;
        Ok(Self {
            connection,
            token: 0,
            frames: VecDeque::new(),
            sent: 0,
            waiting: 0,
            pending: VecDeque::new(),
            lines,
            outputs: 0,
            follow,
            leaving: false,
            input_ended: false,
        })
    }

    /// Queues an answer; `false`: more waits than may, and the client was told so as its last answer.
    pub fn push(&mut self, frame: Frame) -> bool {
        if self.leaving {
            return true;
        }
        // A single answer is always taken: nothing else may be before it.
        if self.waiting > 0 && self.waiting + frame.len() > WAITING_MAX {
            self.cut("too slow: the program writes faster than this client reads");
            return false;
        }
        self.waiting += frame.len();
        self.frames.push_back(frame);
        true
    }

    /// Sends the client away after all that waits, with the reason.
    pub fn finish(&mut self, reason: &str) {
        self.push(refusal(&Refusal::Failed { message: reason.to_owned() }));
        self.pending.clear();
        self.leaving = true;
    }

    /// Sends the client away: nothing more, but the frame that it has begun to read, and the reason.
    pub fn cut(&mut self, reason: &str) {
        self.frames.truncate(usize::from(self.sent > 0));
        self.frames.push_back(refusal(&Refusal::Failed { message: reason.to_owned() }));
        self.waiting = self.frames.iter().map(|frame| frame.len()).sum::<usize>() - self.sent;
        self.pending.clear();
        self.leaving = true;
    }

    pub fn has_waiting(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Sends what the client takes now.
    ///
    /// # Errors
    /// When it is gone.
    pub fn write(&mut self) -> io::Result<()> {
        while let Some(frame) = self.frames.front() {
            match self.connection.write(&frame[self.sent..]) {
                Ok(count) => {
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

    /// Takes and forgets what the client sends.
    ///
    /// # Errors
    /// When it is gone.
    pub fn ignore_input(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match self.connection.read(&mut buffer) {
            Ok(0) => self.input_ended = true,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
