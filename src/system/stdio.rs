//! Descriptors by number: taking over what the kernel gave or a parent passed, putting each where a
//! program expects it, and closing all else.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::stat::Mode;

/// Takes over a descriptor that the kernel has just put into a message for us.
pub(super) fn adopt(raw: RawFd) -> OwnedFd {
    // SAFETY: recvmsg has just installed this number for us; nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Takes over a descriptor that our parent passed at a number both agree on, if it is open. It is made
/// close-on-exec. Each number can be taken over once.
///
/// # Errors
/// EBADF when it is not open.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only looked at; whether it is open is what is asked.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, was passed for us alone, and the caller takes each number over once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Another descriptor of the directory that our parent passed at this number, if there is one.
///
/// # Errors
/// EMFILE.
pub fn inherited_directory(number: RawFd) -> io::Result<Option<OwnedFd>> {
    // SAFETY: only looked at and duplicated; whether it is open is what is asked.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    match nix::sys::stat::fstat(borrowed) {
        Ok(status) if status.st_mode & libc::S_IFMT == libc::S_IFDIR => borrowed.try_clone_to_owned().map(Some),
        Ok(_) | Err(Errno::EBADF) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens /dev/null on whichever of 0, 1, 2 is closed, before anything else could be opened there and be
/// taken for a terminal. First thing in a program's life.
///
/// # Errors
/// When /dev/null cannot be opened.
pub fn fill_standard() -> io::Result<()> {
    for number in 0..=2 {
        // SAFETY: only looked at.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        if fcntl(borrowed, FcntlArg::F_GETFD) == Err(Errno::EBADF) {
            let null = nix::fcntl::open("/dev/null", OFlag::O_RDWR, Mode::empty())?;
            // The lowest free number is the one that was closed: it stays open for good.
            let _ = null.into_raw_fd();
        }
    }
    Ok(())
}

/// Moves the given descriptors to the given numbers, for the program that will be executed: after this
/// they are inherited, and everything else above 2 is close-on-exec. Sources may lie on targets.
///
/// # Errors
/// EMFILE when there is no room to move things aside.
pub fn place(moves: Vec<(OwnedFd, RawFd)>) -> io::Result<()> {
    let above = moves.iter().map(|(_, target)| *target).max().unwrap_or(2).max(2) + 1;
    // First out of the way of every target, so that no move overwrites a source.
    let mut aside = Vec::with_capacity(moves.len());
    for (source, target) in moves {
        aside.push((dup_from(&source, above)?, target));
    }
    for (source, target) in aside {
        // SAFETY: both are integers; the target is one of 0..above, where only descriptors are that
        // this program gives up here.
        let result = unsafe { libc::dup2(source.as_raw_fd(), target) };
        if Errno::result(result)? != target {
            return Err(Errno::EPERM.into());
        }
    }
    Ok(())
}

/// Moves a descriptor to a number of at least `lowest`.
///
/// # Errors
/// EMFILE.
pub fn move_above(source: OwnedFd, lowest: RawFd) -> io::Result<OwnedFd> {
    if source.as_raw_fd() >= lowest { Ok(source) } else { dup_from(&source, lowest) }
}

/// Opens /dev/null.
///
/// # Errors
/// When it is not there.
pub fn null(write: bool) -> io::Result<OwnedFd> {
    let access = if write { OFlag::O_WRONLY } else { OFlag::O_RDONLY };
    Ok(nix::fcntl::open("/dev/null", access | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())?)
}

fn dup_from(source: &OwnedFd, lowest: RawFd) -> io::Result<OwnedFd> {
    let raw = fcntl(source, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: fcntl has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Makes every descriptor from `first` on close-on-exec, and sees it done to the `witness`: a descriptor of
/// at least `first`, which is opened to inheritance before.
///
/// # Errors
/// ENOSYS before Linux 5.11; EPERM when nothing was done; EINVAL for a witness below `first`.
pub fn close_on_exec_from(first: RawFd, witness: impl AsFd) -> io::Result<()> {
    let witness = witness.as_fd();
    if witness.as_raw_fd() < first {
        return Err(Errno::EINVAL.into());
    }
    fcntl(witness, FcntlArg::F_SETFD(FdFlag::empty()))?;
    // SAFETY: three integers; with CLOSE_RANGE_CLOEXEC nothing is closed under anybody's feet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    let done = Errno::result(result);
    let flags = FdFlag::from_bits_retain(fcntl(witness, FcntlArg::F_GETFD)?);
    // Whatever comes of it, the witness is as it was.
    fcntl(witness, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    done?;
    if flags.contains(FdFlag::FD_CLOEXEC) { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// A pipe, both ends close-on-exec; the write end blocks, as programs expect, the read end does not.
///
/// # Errors
/// EMFILE, ENFILE.
pub fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(&read, true)?;
    Ok((read, write))
}

/// The same for input: the read end blocks, the write end does not.
///
/// # Errors
/// EMFILE, ENFILE.
pub fn input_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(&write, true)?;
    Ok((read, write))
}

/// Lets a pipe hold up to this many bytes before its writer waits.
///
/// # Errors
/// EPERM when the user's pipes are large enough already, EBUSY when more lies in it.
pub fn enlarge_pipe(pipe: impl AsFd, bytes: i32) -> io::Result<()> {
    fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes))?;
    Ok(())
}

/// # Errors
/// None on an open descriptor.
pub fn set_nonblocking(fd: impl AsFd, nonblocking: bool) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    let wanted = if nonblocking { flags | OFlag::O_NONBLOCK } else { flags - OFlag::O_NONBLOCK };
    if wanted != flags {
        fcntl(fd.as_fd(), FcntlArg::F_SETFL(wanted))?;
    }
    Ok(())
}

/// Hands our own standard error out as a descriptor.
///
/// # Errors
/// EBADF, EMFILE.
pub fn duplicate_standard(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: 0, 1 and 2 are open from the program's first moment (`fill_standard`) to its last.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned()
}

/// Our own standard output for somebody who may not wait for it.
///
/// `O_NONBLOCK` belongs to the open file, which others have, too: a shell would find its terminal changed. So a
/// pipe, a terminal or a device is opened anew. A socket is asked with each message (`MSG_DONTWAIT`). A file is
/// shared as it is, for its position is: it never waits.
///
/// # Errors
/// EACCES when it is somebody else's; ENXIO for a pipe that nobody reads.
pub fn own_output() -> io::Result<OwnedFd> {
    let own = duplicate_standard(1)?;
    let kind = nix::sys::stat::fstat(&own)?.st_mode & libc::S_IFMT;
    if kind != libc::S_IFIFO && kind != libc::S_IFCHR {
        return Ok(own);
    }
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(format!("/proc/self/fd/{}", own.as_raw_fd()).as_str(), flags, Mode::empty())?)
}

/// A file in memory with these bytes that nobody can change any more.
///
/// # Errors
/// ENOMEM, EMFILE.
pub fn sealed_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    use nix::fcntl::SealFlag;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::io::Write;

    let memory = memfd_create(c"message", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// The bytes of a file that was passed to us, at most `max`.
///
/// # Errors
/// EFBIG beyond `max`.
pub fn read_whole(file: OwnedFd, max: usize) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;

    let file = std::fs::File::from(file);
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if size > max {
        return Err(Errno::EFBIG.into());
    }
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
