//! One connection: who it is, what it has sent, what it still has to read. Reads and sends a turn's worth, and
//! never waits.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::model::time::Moment;
use crate::policy::permission::{Missing, Peer, Rules};
use crate::protocol::frame::{CALL_MAX, Decoder};
use crate::system::socket;

use super::events::Only;
use super::room::Guest;

/// Bytes read from a client in one turn of the loop.
pub const READ_PER_TURN: usize = 8 << 10;
/// With more unread answers than this, no further call of a client is taken.
pub const ANSWERS_BACKLOG: usize = 64 << 10;
/// A connection, and what is known of it.
pub struct Client {
    pub stream: UnixStream,
    pub token: u64,
    /// `Err`: refused at connect, for this reason, and not listened to until this moment.
    pub standing: Result<Peer, (Missing, Moment)>,
    pub guest: Guest,
    pub decoder: Decoder,
    /// Until when the call that has begun is to be complete.
    pub unfinished: Option<Moment>,
    pub out: Vec<u8>,
    /// A call is being answered: nothing is read meanwhile.
    pub busy: bool,
    pub oneway: bool,
    pub following: Option<Following>,
    pub end_of_input: bool,
    pub close_when_sent: bool,
}

/// A client that follows events.
pub struct Following {
    pub only: Only,
    /// How many it was too slow for.
    pub lost: u64,
}

impl Client {
    /// When it is to be gone, unless it does what is due.
    pub fn deadline(&self) -> Option<Moment> {
        match &self.standing {
            Err((_, until)) => Some(*until),
            Ok(_) => self.unfinished,
        }
    }

    /// Reads what it has sent, one turn's worth at most.
    ///
    /// # Errors
    /// As read(2).
    pub fn read_some(&mut self) -> io::Result<()> {
        let mut buffer = [0; READ_PER_TURN];
        let mut total = 0;
        while total < READ_PER_TURN {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.end_of_input = true;
                    return Ok(());
                }
                Ok(count) => {
                    self.decoder.push(&buffer[..count]);
                    total += count;
                    // More than a call can be long: the decoder has to say so before more is taken.
                    if self.decoder.waiting() > CALL_MAX {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends what it takes of its answers.
    ///
    /// # Errors
    /// As write(2): it is gone.
    pub fn send_some(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.write(&self.out[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.out.drain(..sent);
        // What a long answer took is given back.
        if self.out.is_empty() && self.out.capacity() > ANSWERS_BACKLOG {
            self.out = Vec::new();
        }
        Ok(())
    }
}

/// As whom somebody has connected, if it may ask anything.
pub fn standing(stream: &UnixStream, rules: &Rules) -> Result<Peer, Missing> {
    let identity = socket::peer(stream).map_err(|error| Missing {
        verb: "connect".to_owned(),
        rule: format!("none, since the kernel does not say who it is: {error}"),
    })?;
    let peer = Peer::Client(Rc::new(identity));
    rules.admit(&peer).map(|()| peer)
}
