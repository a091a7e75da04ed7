//! How a control connection comes about: over the supervisor's socket, or, for the shell on the
//! supervisor's own terminal, over the *dialer*, a SEQPACKET socket on which the shell sends one end of a
//! fresh pair. The connection is then known to be the starter's without any look at who the peer is.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// The only message of the dialer: "serve the connection that comes with this".
const CONNECT: &[u8] = b"c";

/// The shell's end: makes a connection and sends its other end over the dialer.
///
/// # Errors
/// `BrokenPipe` or `ConnectionReset` when the supervisor is gone.
pub fn send_connection(dialer: BorrowedFd<'_>) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let descriptors = [theirs.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no space for the descriptor"));
    }
    loop {
        match rustix::net::sendmsg(dialer, &[IoSlice::new(CONNECT)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(ours),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The core's end: the next connection that the shell asked for, or `None` when the shell is gone. Never
/// waits.
///
/// # Errors
/// `WouldBlock` when nothing is there; `InvalidData` for anything but one `c` with one descriptor, which no
/// shell of ours sends.
pub fn receive_connection(dialer: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0; 8];
    // Room for more than the one descriptor, so that a second is seen and closed.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = loop {
        match rustix::net::recvmsg(dialer, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags) {
            Ok(message) => break message,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    };
    let mut received: Vec<OwnedFd> = Vec::new();
    for item in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = item {
            received.extend(descriptors);
        }
    }
    if message.bytes == 0 && received.is_empty() {
        return Ok(None);
    }
    let whole = !message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    match (received.pop(), received.is_empty()) {
        (Some(connection), true) if whole && &byte[..message.bytes] == CONNECT => Ok(Some(connection)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a request for a connection")),
    }
}

/// Connects to a listening socket, waiting at most `patience` for a place in its queue.
///
/// # Errors
/// As connect(2); `TimedOut` when the queue stays full.
pub fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let deadline = Instant::now() + patience;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => break,
            // A unix socket says so when the listener's queue is full, and can then not be polled.
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A descriptor that this process was started with, as one of our own (a duplicate, close-on-exec).
///
/// # Errors
/// `EBADF` when nothing is open under that number.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl touches no memory of ours; a number that is not open is an error.
    let duplicate = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 10) };
    if duplicate < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(duplicate) })
}

/// The user this process acts as.
pub fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn dialer() -> (OwnedFd, OwnedFd) {
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a pair")
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
        rustix::net::send(&shell, b"c", SendFlags::empty()).expect("sends");
        let refused = receive_connection(core.as_fd()).map_err(|error| error.kind());
        assert_eq!(refused.map(|_| ()), Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn connecting_to_a_full_queue_ends_in_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).expect("binds");
        rustix::net::listen(&listener, 0).expect("listens");
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
