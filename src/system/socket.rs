//! UNIX sockets between our own programs: whole messages (SEQPACKET) with descriptors beside them, and
//! the credentials that the kernel vouches for. And the one kind of socket that no library makes as we
//! need it.

use std::collections::BTreeSet;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{PassCred, PeerCredentials};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrStorage, getsockopt, recvmsg, sendmsg,
    setsockopt, socketpair,
};

use crate::model::authority::Identity;
use crate::model::id::{Gid, Pid, Uid};

/// The longest message that travels in one packet; what is longer goes beside it in a memfd.
pub const PACKET_MAX: usize = 48 << 10;
/// The most descriptors that travel with one message.
pub const DESCRIPTORS_MAX: usize = 8;
/// The most descriptors that the kernel lets one message bring (SCM_MAX_FD, unix(7)).
const KERNELS_MAX: usize = 253;

/// A message as it arrived.
pub struct Packet {
    pub bytes: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
    /// The sender's process, if the receiver asked the kernel for it.
    pub sender: Option<Pid>,
}

/// Two ends of a channel of whole messages.
///
/// # Errors
/// EMFILE, ENFILE.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Two ends of a stream.
///
/// # Errors
/// EMFILE, ENFILE.
pub fn stream_pair() -> io::Result<(UnixStream, UnixStream)> {
    UnixStream::pair()
}

/// A datagram socket that sends to one address, without taking a port by name, which the notifier may not.
/// It never waits.
///
/// # Errors
/// EMFILE, ENFILE; ENETUNREACH when there is no way there.
pub fn datagrams_to(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = nix::sys::socket::socket(family, SockType::Datagram, flags, None)?;
    nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket.into())
}

/// Asks the kernel to add the sender's number to what arrives here.
///
/// # Errors
/// None that a correct program meets.
pub fn want_credentials(socket: impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&socket, PassCred, &true)?)
}

/// Whoever connected, with the rights it had when it did (SO_PEERCRED, SO_PEERGROUPS): what it became
/// since, and to whom it gave the connection, makes no difference.
///
/// # Errors
/// ENOTCONN; more groups than the kernel lets a process have.
pub fn peer(socket: &UnixStream) -> io::Result<Identity> {
    let credentials = getsockopt(socket, PeerCredentials)?;
    let groups = peer_groups(socket.as_fd())?;
    Ok(Identity { uid: Uid(credentials.uid()), gid: Gid(credentials.gid()), groups })
}

fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<BTreeSet<Gid>> {
    /// NGROUPS_MAX of the kernel.
    const MOST: usize = 65_536;
    let mut room = 64;
    loop {
        let mut list: Vec<libc::gid_t> = vec![0; room];
        let mut length = libc::socklen_t::try_from(size_of_val(list.as_slice())).map_err(|_| Errno::EOVERFLOW)?;
        // SAFETY: the descriptor is open; the list is writable for `length` bytes, and the kernel writes
        // no more than that.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                list.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        // The kernel says how many bytes it has, or would have.
        let count = usize::try_from(length).map_err(|_| Errno::EOVERFLOW)? / size_of::<libc::gid_t>();
        match Errno::result(result) {
            Ok(_) if count <= list.len() => return Ok(list[..count].iter().copied().map(Gid).collect()),
            Err(Errno::ERANGE) if count > room && count <= MOST => room = count,
            Ok(_) | Err(Errno::ERANGE) => return Err(Errno::EOVERFLOW.into()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sends one message, without waiting: `WouldBlock` when the other end's queue is full.
///
/// # Errors
/// EPIPE and ECONNRESET when the other end is gone; EMSGSIZE above [`PACKET_MAX`].
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.len() > PACKET_MAX {
        return Err(Errno::EMSGSIZE.into());
    }
    let raw: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    loop {
        match sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Writes what a stream socket takes now, whatever its mode: `WouldBlock` when that is nothing.
///
/// # Errors
/// EPIPE and ECONNRESET when the other end is gone.
pub fn write_now(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    Ok(nix::sys::socket::send(socket.as_fd().as_raw_fd(), bytes, flags)?)
}

/// Receives one message; `None` when the other end is closed.
///
/// Descriptors are close-on-exec. A message that was cut, or came with more descriptors than
/// [`DESCRIPTORS_MAX`], is an error: nothing is ever taken for whole that is not. Whatever it brought is
/// closed by then.
///
/// # Errors
/// `WouldBlock` on a non-blocking socket without a message; `InvalidData` for one that may not be, with
/// what is wrong with it.
pub fn receive(socket: impl AsFd) -> io::Result<Option<Packet>> {
    let mut buffer = vec![0; PACKET_MAX + 1];
    // Room for all that the kernel lets anybody send: that we have no descriptors left is the one reason
    // for which some can be missing.
    let mut control = nix::cmsg_space!([i32; KERNELS_MAX], libc::ucred);
    let (length, flags) = {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let fd = socket.as_fd().as_raw_fd();
        loop {
            match recvmsg::<()>(fd, &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Ok(None),
                Err(errno) => return Err(errno.into()),
                Ok(message) => break (message.bytes, message.flags),
            }
        }
    };
    // First of all, so that they are closed whatever is wrong with the message. nix gives none of those
    // that arrived when some are missing.
    let Beside { descriptors, sender } = Beside::adopt(&control);
    let invalid = |words: String| Err(io::Error::new(io::ErrorKind::InvalidData, words));
    if descriptors.len() > DESCRIPTORS_MAX {
        return invalid(format!(
            "a message with {} descriptors: at most {DESCRIPTORS_MAX} may come",
            descriptors.len()
        ));
    }
    if flags.contains(MsgFlags::MSG_CTRUNC) {
        return invalid("a message whose descriptors were lost: there are none left (ulimit -n)".to_owned());
    }
    if flags.contains(MsgFlags::MSG_TRUNC) || length > PACKET_MAX {
        return invalid(format!("a message of more than {PACKET_MAX} bytes"));
    }
    if length == 0 {
        return Ok(None); // we never send empty messages: the other end is closed
    }
    buffer.truncate(length);
    Ok(Some(Packet { bytes: buffer, descriptors, sender }))
}

/// What came beside a message.
#[derive(Default)]
struct Beside {
    descriptors: Vec<OwnedFd>,
    sender: Option<Pid>,
}

impl Beside {
    /// Takes what the kernel has written (cmsg(3)) into a buffer that was all zeros before.
    fn adopt(control: &[u8]) -> Self {
        let mut beside = Self::default();
        let mut rest = control;
        while let Some((level, kind, data, after)) = next_item(rest) {
            let mut numbers = data.chunks_exact(size_of::<i32>()).filter_map(int);
            match (level, kind) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => beside.descriptors.extend(numbers.map(super::stdio::adopt)),
                // A ucred begins with the pid.
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => beside.sender = numbers.next().map(Pid),
                _ => {}
            }
            rest = after;
        }
        beside
    }
}

/// The first item: its level and kind, its data, and what comes after it.
fn next_item(control: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    const WORD: usize = size_of::<usize>();
    // The kernel's cmsghdr: the length of all (a word), the level, the kind; then the data, word by word.
    const HEADER: usize = (WORD + 2 * size_of::<i32>()).next_multiple_of(WORD);
    let length = usize::from_ne_bytes(*control.first_chunk::<WORD>()?);
    let data = control.get(HEADER..length)?;
    let after = control.get(length.next_multiple_of(WORD)..).unwrap_or_default();
    Some((int(control.get(WORD..)?)?, int(control.get(WORD + size_of::<i32>()..)?)?, data, after))
}

fn int(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
