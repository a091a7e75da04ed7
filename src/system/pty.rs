//! A pseudo-terminal for a program: both ends of it, and a process that makes it its own.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::pty::{posix_openpt, unlockpt};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid as NixGid, Uid as NixUid, fchown};

use super::stdio;
use crate::model::id::{Gid, Uid};

/// Rows and columns, until somebody attaches who knows better.
const SIZE: (u16, u16) = (24, 80);

pub struct Pty {
    /// What is written to the terminal is read here, without waiting.
    pub master: OwnedFd,
    /// The terminal, for the program.
    pub slave: OwnedFd,
}

/// Opens a new one of 80 columns and 24 rows. It is nobody's controlling terminal.
///
/// # Errors
/// ENOSPC when the system has no more of them, ENOENT without /dev/ptmx, EMFILE.
pub fn open() -> io::Result<Pty> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    unlockpt(&master)?;
    // By descriptor: a name under /dev/pts could be that of another file system's terminal.
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes an integer.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    let slave = stdio::adopt(Errno::result(slave)?);
    set_size(&slave, SIZE.0, SIZE.1)?;
    Ok(Pty { master: master.into(), slave })
}

/// Rows and columns of a terminal, by either end of it.
///
/// # Errors
/// ENOTTY.
pub fn size(terminal: impl AsFd) -> io::Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which `size` is for the whole call.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    Errno::result(result)?;
    Ok((size.ws_row, size.ws_col))
}

/// Gives a terminal another size, by either end of it: the kernel tells the program with SIGWINCH.
///
/// # Errors
/// ENOTTY.
pub fn set_size(terminal: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which `size` is for the whole call.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(result)?;
    Ok(())
}

/// Makes the terminal the controlling one of the calling process, which leads a session without one.
///
/// # Errors
/// EPERM for a process that leads none or has one, for a terminal of another session, and when the kernel
/// does not confirm it afterwards.
pub fn make_controlling(terminal: impl AsFd) -> io::Result<()> {
    let terminal = terminal.as_fd();
    // SAFETY: TIOCSCTTY takes an integer; 0 takes no terminal away from another session.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    Errno::result(result)?;
    let confirmed = nix::sys::termios::tcgetsid(terminal) == Ok(nix::unistd::getpid());
    if confirmed { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// Gives a terminal to a user, as a login does: who is in the group of terminals may write to it (wall(1)),
/// without such a group nobody else.
///
/// # Errors
/// EPERM without the privilege, or when it is not so afterwards.
pub fn give(terminal: impl AsFd, uid: Uid, group: Option<Gid>) -> io::Result<()> {
    let terminal = terminal.as_fd();
    fchown(terminal, Some(NixUid::from_raw(uid.0)), group.map(|gid| NixGid::from_raw(gid.0)))?;
    let mode = if group.is_some() { 0o620 } else { 0o600 };
    fchmod(terminal, Mode::from_bits_truncate(mode))?;
    let stat = fstat(terminal)?;
    let is_given = stat.st_uid == uid.0 && group.is_none_or(|group| stat.st_gid == group.0);
    if is_given && stat.st_mode & 0o7777 == mode { Ok(()) } else { Err(Errno::EPERM.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_is_written_to_a_terminal_arrives_and_then_it_ends() {
        let Pty { master, slave } = open().expect("a terminal");
        assert_eq!(super::super::terminal::columns(slave.as_fd()), Some(80));
        set_size(&master, 50, 132).expect("another size");
        assert_eq!(size(&slave).expect("a size"), (50, 132));
        let (mut master, mut slave) = (std::fs::File::from(master), std::fs::File::from(slave));
        slave.write_all(b"hello\n").expect("writes");
        drop(slave);
        let mut buffer = [0; 100];
        let count = master.read(&mut buffer).expect("reads");
        assert_eq!(&buffer[..count], b"hello\r\n");
        assert_eq!(master.read(&mut buffer).expect_err("the end").raw_os_error(), Some(libc::EIO));
    }

    #[test]
    fn who_leads_no_session_gets_no_terminal() {
        let terminal = open().expect("a terminal");
        // A thread of the test runner's process, which leads no session or has its terminal.
        assert_eq!(make_controlling(&terminal.slave).expect_err("refused").raw_os_error(), Some(libc::EPERM));
    }
}
