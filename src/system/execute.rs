//! execve(2) and its errors.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;

/// Replaces the process by the program in this file.
///
/// # Errors
/// As execve(2). There is no fall-back to a shell for a file without `#!` (ENOEXEC).
pub fn file(path: &CString, arguments: &[CString], environment: &[CString]) -> Result<Infallible, Errno> {
    nix::unistd::execve(path, arguments, environment)
}

/// Replaces the process by the program that this descriptor has open.
///
/// # Errors
/// As execveat(2).
pub fn descriptor(file: impl AsFd, arguments: &[CString], environment: &[CString]) -> Result<Infallible, Errno> {
    nix::unistd::execveat(file, c"", arguments, environment, nix::fcntl::AtFlags::AT_EMPTY_PATH)
}

/// Goes to a directory as the process's current user, and sees that it is there and has an absolute path
/// (it could be outside the root that the process knows).
///
/// # Errors
/// As chdir(2); ENOENT when it has no absolute path; EPERM when the process is elsewhere afterwards.
pub fn enter_directory(path: &str) -> Result<(), Errno> {
    // Somebody may put another directory there in between. Nobody does so three times by chance.
    for _ in 0..3 {
        nix::unistd::chdir(path)?;
        let (is, wanted) = (nix::sys::stat::stat(".")?, nix::sys::stat::stat(path)?);
        if (is.st_dev, is.st_ino) == (wanted.st_dev, wanted.st_ino) {
            return if nix::unistd::getcwd()?.is_absolute() { Ok(()) } else { Err(Errno::ENOENT) };
        }
    }
    Err(Errno::EPERM)
}

/// Whether the process's user may execute the file, on a file system that lets be executed. Says nothing of
/// restrictions of the process (landlock), and nothing to decide on: it can change before the execution.
pub fn may_execute(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}
