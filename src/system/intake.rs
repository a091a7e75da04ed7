//! Reading what somebody names on the command line, of whatever kind it is: a file, a pipe of the shell, a device.
//! Within bounds of size, and of time where another process has to write it. Who could have written it is not asked
//! here: that is [`file`](super::file).

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;

use super::terminal::{self, Wake};

/// The bytes of a file that is no larger. A pipe into which nothing is written for so long is given up.
///
/// # Errors
/// Says why not, in words, without the path.
pub fn read(path: &Path, size_max: usize, patience: Duration) -> Result<Vec<u8>, String> {
    // A pipe without a writer would not even open.
    let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let mut file = opened.map_err(|error| reason(&error))?;
    let kind = file.metadata().map_err(|error| reason(&error))?.file_type();
    if kind.is_dir() {
        return Err("it is a directory; name a file in it".to_owned());
    }
    let limit = kind.is_fifo().then_some(patience);
    let mut content = Vec::new();
    let mut waited = false;
    let mut block = vec![0; 1 << 16];
    loop {
        let is_late = match file.read(&mut block) {
            // Nobody has opened the other end yet.
            Ok(0) if kind.is_fifo() && content.is_empty() && !waited => wait(&file, limit)?,
            Ok(0) => return Ok(content),
            Ok(count) => {
                content.extend_from_slice(&block[..count]);
                if content.len() > size_max {
                    return Err(format!("it is larger than {} MiB, and no configuration", size_max >> 20));
                }
                false
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(&file, limit)?,
            Err(error) => return Err(reason(&error)),
        };
        waited = true;
        if is_late {
            return Err(format!("it is a pipe, and nobody has written to it for {} seconds", patience.as_secs()));
        }
    }
}

/// Whether the time was over before there was something to read, or an end.
fn wait(file: impl AsFd, limit: Option<Duration>) -> Result<bool, String> {
    let wake = terminal::wait(file.as_fd(), None, limit).map_err(|error| reason(&error))?;
    Ok(wake == Wake::TimedOut)
}

/// What the system says, without its number.
fn reason(error: &io::Error) -> String {
    let words = error.to_string();
    let plain = words.rsplit_once(" (os error ").map_or(words.as_str(), |(plain, _)| plain);
    format!("it cannot be read: {plain}")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::thread;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn a_pipe_is_read_to_its_end_and_given_up_where_nobody_writes() {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
        assert!(read(&pipe, 10, SHORT).expect_err("nobody writes").starts_with("it is a pipe, and nobody"));
        let writer = pipe.clone();
        let writing = thread::spawn(move || {
            let mut end = OpenOptions::new().write(true).open(writer).expect("opens");
            end.write_all(b"a").expect("writes");
            end.write_all(b"b").expect("writes");
        });
        assert_eq!(read(&pipe, 10, Duration::from_secs(20)), Ok(b"ab".to_vec()));
        writing.join().expect("ends");
        // It is open, and says nothing.
        let _end = OpenOptions::new().read(true).write(true).open(&pipe).expect("opens");
        assert!(read(&pipe, 10, SHORT).expect_err("nobody writes").starts_with("it is a pipe, and nobody"));
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let refused = |path: &Path| read(path, 3 << 20, SHORT).expect_err("is refused");
        assert_eq!(refused(directory.path()), "it is a directory; name a file in it");
        assert_eq!(refused(Path::new("/dev/zero")), "it is larger than 3 MiB, and no configuration");
        assert_eq!(refused(&directory.path().join("none")), "it cannot be read: No such file or directory");
        assert_eq!(read(Path::new("/dev/null"), 0, SHORT), Ok(Vec::new()));
    }
}
