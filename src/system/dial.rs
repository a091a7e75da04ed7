//! How a control connection comes about: over the supervisor's socket, or, for the shell on the
//! supervisor's own terminal, over the *dialer*, a SEQPACKET socket on which the shell sends one end of a
//! fresh pair. The connection is then known to be the starter's without any look at who the peer is. And how the
//! local log daemon is reached.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect as connect_to, socket};

use super::{poll, socket};

/// The only message of the dialer: "serve the connection that comes with this".
const CONNECT: &[u8] = b"c";

/// The shell's end: makes a connection and sends its other end over the dialer.
///
/// # Errors
/// `BrokenPipe` or `ConnectionReset` when the supervisor is gone.
pub fn send_connection(dialer: BorrowedFd<'_>) -> io::Result<UnixStream> {
    let (ours, theirs) = socket::stream_pair()?;
    loop {
        match socket::send(dialer, CONNECT, &[theirs.as_fd()]) {
            Ok(()) => return Ok(ours),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => poll::wait_writable(dialer)?,
            Err(error) => return Err(error),
        }
    }
}

/// The core's end, which does not wait: the next connection that the shell asked for, or `None` when the
/// shell is gone.
///
/// # Errors
/// `WouldBlock` when nothing is there; `InvalidData` for anything but one `c` with one descriptor, which no
/// shell of ours sends.
pub fn receive_connection(dialer: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let Some(mut packet) = socket::receive(dialer)? else { return Ok(None) };
    match (packet.descriptors.pop(), packet.descriptors.is_empty()) {
        (Some(connection), true) if packet.bytes == CONNECT => Ok(Some(connection)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a request for a connection")),
    }
}

/// Connects to a listening socket, waiting at most `patience` for a place in its queue.
///
/// # Errors
/// As connect(2); `TimedOut` when the queue stays full.
pub fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let address = UnixAddr::new(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let deadline = Instant::now() + patience;
    loop {
        match connect_to(socket.as_raw_fd(), &address) {
            Ok(()) => break,
            // A unix socket says so when the listener's queue is full, and can then not be polled.
            Err(Errno::EAGAIN) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A socket for messages to whoever listens at this path, connected. Nothing about it ever waits.
///
/// # Errors
/// ENOENT, ECONNREFUSED when nobody does; EACCES; ENAMETOOLONG.
pub fn datagrams(path: &Path) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    connect_to(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn dialer() -> (OwnedFd, OwnedFd) {
        let (shell, core) = socket::message_pair().expect("a pair");
        super::super::stdio::set_nonblocking(&core, true).expect("nonblocking");
        (shell, core)
    }

    #[test]
    fn what_the_shell_dials_the_core_can_talk_on() {
        let (shell, core) = dialer();
        let mut ours = send_connection(shell.as_fd()).expect("dials");
        let theirs = receive_connection(core.as_fd()).expect("receives").expect("a connection");
        UnixStream::from(theirs).write_all(b"hello").expect("writes");
        let mut heard = String::new();
        ours.read_to_string(&mut heard).expect("reads");
        assert_eq!(heard, "hello");
    }

    #[test]
    fn an_empty_dialer_never_blocks_the_core_and_a_closed_one_is_told() {
        let (shell, core) = dialer();
        let nothing = receive_connection(core.as_fd()).map_err(|error| error.kind());
        assert_eq!(nothing.map(|_| ()), Err(io::ErrorKind::WouldBlock));
        drop(shell);
        assert!(receive_connection(core.as_fd()).expect("no error").is_none());
        let (shell, core) = dialer();
        drop(core);
        assert_eq!(send_connection(shell.as_fd()).map_err(|e| e.kind()).map(|_| ()), Err(io::ErrorKind::BrokenPipe));
    }

    #[test]
    fn a_message_that_is_no_request_is_refused() {
        let (shell, core) = dialer();
        socket::send(&shell, b"c", &[]).expect("sends");
        let refused = receive_connection(core.as_fd()).map_err(|error| error.kind());
        assert_eq!(refused.map(|_| ()), Err(io::ErrorKind::InvalidData));
        socket::send(&shell, b"c", &[shell.as_fd(); 40]).expect("sends");
        let refused = receive_connection(core.as_fd()).map_err(|error| (error.kind(), error.to_string()));
        let words = "a message with 40 descriptors: at most 8 may come".to_owned();
        assert_eq!(refused.map(|_| ()), Err((io::ErrorKind::InvalidData, words)));
    }

    #[test]
    fn connecting_to_a_full_queue_ends_in_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).expect("binds");
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).expect("a backlog")).expect("listens");
        let mut held = Vec::new();
        let error = loop {
            match connect(&path, Duration::from_millis(50)) {
                Ok(stream) => held.push(stream),
                Err(error) => break error,
            }
            assert!(held.len() < 100);
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
