//! The way to the service manager: the datagram socket that `NOTIFY_SOCKET` names, and the watchdog that
//! `WATCHDOG_USEC` sets, after sd_notify(3) and sd_watchdog_enabled(3).

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socket};

use crate::model::id::Pid;

pub struct NotifySocket {
    socket: OwnedFd,
    address: UnixAddr,
}

impl NotifySocket {
    /// `name`: an absolute path, or `@` and an abstract name.
    ///
    /// # Errors
    /// EAFNOSUPPORT for anything else (systemd also knows `vsock:`); as socket(2).
    pub fn new(name: &OsStr) -> io::Result<Self> {
        let bytes = name.as_bytes();
        let address = match bytes.split_first() {
            Some((b'@', rest)) if !rest.is_empty() => UnixAddr::new_abstract(rest)?,
            Some((b'/', _)) => UnixAddr::new(bytes)?,
            _ => return Err(Errno::EAFNOSUPPORT.into()),
        };
        let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, address })
    }

    /// Sends one message; never waits.
    ///
    /// # Errors
    /// `WouldBlock` when the manager's queue is full; as sendmsg(2).
    pub fn send(&self, message: &str) -> io::Result<()> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let parts = [IoSlice::new(message.as_bytes())];
        sendmsg(self.socket.as_raw_fd(), &parts, &[], flags, Some(&self.address))?;
        Ok(())
    }
}

/// How long the manager waits for a sign of life, if it waits for one of this process at all.
pub fn watchdog(micros: Option<&str>, pid: Option<&str>, own: Pid) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own.0)) {
        return None;
    }
    let micros = micros?.parse().ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;

    #[test]
    fn a_message_reaches_a_path_and_an_abstract_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let abstract_name = format!("taskmaster-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).expect("binds");
        let address = SocketAddr::from_abstract_name(&abstract_name).expect("an address");
        let by_name = UnixDatagram::bind_addr(&address).expect("binds");
        for (name, receiver) in [(path.into_os_string(), by_path), (format!("@{abstract_name}").into(), by_name)] {
            NotifySocket::new(&name).expect("an address").send("READY=1").expect("sends");
            let mut buffer = [0; 64];
            let length = receiver.recv(&mut buffer).expect("receives");
            assert_eq!(&buffer[..length], b"READY=1");
        }
    }

    #[test]
    fn a_manager_that_reads_nothing_never_blocks_and_one_that_is_gone_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let receiver = UnixDatagram::bind(&path).expect("binds");
        let socket = NotifySocket::new(path.as_os_str()).expect("an address");
        let full = (0..100_000).find_map(|_| socket.send("WATCHDOG=1").err()).expect("full at some time");
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(receiver);
        assert_eq!(socket.send("READY=1").map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn what_is_no_address_of_a_socket_is_refused() {
        for name in ["", "@", "notify", "vsock:2:1234"] {
            let refused = NotifySocket::new(OsStr::new(name)).err().and_then(|error| error.raw_os_error());
            assert_eq!(refused, Some(libc::EAFNOSUPPORT), "{name}");
        }
    }

    #[test]
    fn a_watchdog_of_another_process_is_none_of_ours() {
        let own = Pid(7);
        assert_eq!(watchdog(Some("30000000"), None, own), Some(Duration::from_secs(30)));
        assert_eq!(watchdog(Some("30000000"), Some("7"), own), Some(Duration::from_secs(30)));
        for (micros, pid) in [(None, None), (Some("0"), None), (Some("x"), None), (Some("1000"), Some("8"))] {
            assert_eq!(watchdog(micros, pid, own), None);
        }
    }
}
