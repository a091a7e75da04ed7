//! A channel of typed messages. Sending never waits: what the other end has no room for yet is queued
//! here, up to a bound that its user sets.
//!
//! One packet is one message: a byte that tells how it travels, then JSON. Messages longer than a packet
//! lie in sealed memory whose descriptor comes first; only the core may send such.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::system::{poll, socket, stdio};

/// The longest message, in bytes of JSON.
const MESSAGE_MAX: usize = 16 << 20;
const INLINE: u8 = b'0';
const IN_MEMORY: u8 = b'1';

/// A descriptor on its way: shared, because the core often keeps one of its own.
pub type Passed = Rc<OwnedFd>;

/// One end of a channel.
pub struct Channel {
    socket: OwnedFd,
    queue: VecDeque<(Vec<u8>, Vec<Passed>)>,
    /// Whether messages in memory are accepted: only from the core.
    trusting: bool,
}

/// A message that arrived.
pub struct Received<T> {
    pub message: T,
    pub descriptors: Vec<OwnedFd>,
}

/// Why a channel cannot go on.
#[derive(Debug)]
pub enum ChannelError {
    /// The other end is gone.
    Closed,
    /// The other end sent what it may not send.
    Nonsense(String),
    Io(io::Error),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "the other end has closed the channel"),
            Self::Nonsense(what) => write!(f, "a message that makes no sense: {what}"),
            Self::Io(error) => write!(f, "the channel failed: {error}"),
        }
    }
}

impl Channel {
    /// The core's end: it never waits, and does not trust what it hears.
    ///
    /// # Errors
    /// None on an open descriptor.
    pub fn of_core(socket: OwnedFd) -> io::Result<Self> {
        stdio::set_nonblocking(&socket, true)?;
        Ok(Self { socket, queue: VecDeque::new(), trusting: false })
    }

    /// A worker's end. Receiving waits unless `nonblocking`.
    ///
    /// # Errors
    /// None on an open descriptor.
    pub fn of_worker(socket: OwnedFd, nonblocking: bool) -> io::Result<Self> {
        stdio::set_nonblocking(&socket, nonblocking)?;
        Ok(Self { socket, queue: VecDeque::new(), trusting: true })
    }

    /// Queues a message and sends what can be sent now.
    ///
    /// # Errors
    /// When the other end is gone, or the message is too long.
    pub fn send(&mut self, message: &impl Serialize, descriptors: Vec<Passed>) -> Result<(), ChannelError> {
        let mut packet = vec![INLINE];
        serde_json::to_writer(&mut packet, message).map_err(|error| ChannelError::Nonsense(error.to_string()))?;
        let mut descriptors = descriptors;
        if packet.len() > MESSAGE_MAX {
            return Err(ChannelError::Nonsense(format!("{} bytes are too long", packet.len())));
        }
        if packet.len() > socket::PACKET_MAX {
            let memory = stdio::sealed_memory(&packet[1..]).map_err(ChannelError::Io)?;
            descriptors.insert(0, Rc::new(memory));
            packet = vec![IN_MEMORY];
        }
        self.queue.push_back((packet, descriptors));
        self.flush()
    }

    /// Sends what is queued, as far as the other end takes it.
    ///
    /// # Errors
    /// When the other end is gone.
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        while let Some((packet, descriptors)) = self.queue.front() {
            let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(|fd| fd.as_fd()).collect();
            match socket::send(&self.socket, packet, &borrowed) {
                Ok(()) => {
                    self.queue.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(gone_or(error)),
            }
        }
        Ok(())
    }

    /// Sends what is queued, and waits until it is sent: for a worker that has nothing better to do.
    ///
    /// # Errors
    /// When the other end is gone.
    pub fn flush_waiting(&mut self) -> Result<(), ChannelError> {
        loop {
            self.flush()?;
            if self.queue.is_empty() {
                return Ok(());
            }
            poll::wait_writable(&self.socket).map_err(ChannelError::Io)?;
        }
    }

    /// Messages that wait for the other end.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The next message; `None` if none waits (on a non-blocking end).
    ///
    /// # Errors
    /// When the other end is gone, or sent what it may not.
    pub fn receive<T: DeserializeOwned>(&self) -> Result<Option<Received<T>>, ChannelError> {
        let mut packet = match socket::receive(&self.socket) {
            Ok(Some(packet)) => packet,
            Ok(None) => return Err(ChannelError::Closed),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(ChannelError::Nonsense(error.to_string()));
            }
            Err(error) => return Err(gone_or(error)),
        };
        let bytes = match packet.bytes.split_first() {
            Some((&INLINE, rest)) => rest.to_vec(),
            Some((&IN_MEMORY, [])) if self.trusting && !packet.descriptors.is_empty() => {
                stdio::read_whole(packet.descriptors.remove(0), MESSAGE_MAX).map_err(ChannelError::Io)?
            }
            _ => return Err(ChannelError::Nonsense("an unknown kind of packet".to_owned())),
        };
        let message = serde_json::from_slice(&bytes).map_err(|error| ChannelError::Nonsense(error.to_string()))?;
        Ok(Some(Received { message, descriptors: packet.descriptors }))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn gone_or(error: io::Error) -> ChannelError {
    match error.raw_os_error() {
        Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN | libc::ECONNREFUSED) => ChannelError::Closed,
        _ => ChannelError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, Channel) {
        let (a, b) = socket::message_pair().expect("a pair");
        (Channel::of_core(a).expect("core"), Channel::of_worker(b, true).expect("worker"))
    }

    #[test]
    fn messages_of_any_length_arrive_with_their_descriptors() {
        let (mut core, worker) = pair();
        for length in [0, 10, socket::PACKET_MAX - 10, socket::PACKET_MAX + 10, 3 << 20] {
            let (read, write) = stdio::output_pipe().expect("a pipe");
            core.send(&"x".repeat(length), vec![Rc::new(write)]).expect("sent");
            let got = worker.receive::<String>().expect("no error").expect("a message");
            assert_eq!((got.message.len(), got.descriptors.len()), (length, 1));
            drop(read);
        }
    }

    #[test]
    fn a_full_channel_queues_and_goes_on_later() {
        let (mut core, worker) = pair();
        for n in 0..5000 {
            core.send(&n, Vec::new()).expect("never waits");
        }
        assert!(core.queued() > 0);
        for n in 0..5000 {
            core.flush().expect("alive");
            assert_eq!(worker.receive::<i32>().expect("no error").map(|got| got.message), Some(n));
        }
        assert_eq!(core.queued(), 0);
    }

    #[test]
    fn the_core_takes_no_memory_no_cut_packet_and_no_wrong_type() {
        let (core, mut worker) = pair();
        worker.send(&"x".repeat(100_000), Vec::new()).expect("sent");
        assert!(matches!(core.receive::<String>(), Err(ChannelError::Nonsense(_))));
        worker.send(&17, Vec::new()).expect("sent");
        assert!(matches!(core.receive::<String>(), Err(ChannelError::Nonsense(_))));
        socket::send(&worker.socket, b"7garbage", &[]).expect("sent");
        assert!(matches!(core.receive::<String>(), Err(ChannelError::Nonsense(_))));
        drop(worker);
        assert!(matches!(core.receive::<String>(), Err(ChannelError::Closed)));
    }

    #[test]
    fn more_descriptors_than_agreed_are_refused_whole() {
        let (core, worker) = pair();
        let pipes: Vec<_> = (0..10).map(|_| stdio::output_pipe().expect("a pipe")).collect();
        let all: Vec<BorrowedFd<'_>> = pipes.iter().map(|(read, _)| read.as_fd()).collect();
        socket::send(&worker.socket, b"0\"x\"", &all).expect("sent");
        let Err(ChannelError::Nonsense(why)) = core.receive::<String>() else { panic!("they are refused") };
        assert_eq!(why, "a message with 10 descriptors: at most 8 may come");
    }
}
