//! A descriptor that one thread rings and another watches beside its other descriptors (eventfd(2)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Readable from the first ring until it is quieted.
pub struct Bell(EventFd);

impl Bell {
    /// # Errors
    /// EMFILE, ENFILE.
    pub fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    /// Never waits. It fails only at 2^64 rings that nobody heard, and then it rings already.
    pub fn ring(&self) {
        let _ = self.0.write(1);
    }

    /// Before looking at what it rang for: what comes after that rings again.
    pub fn quiet(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
