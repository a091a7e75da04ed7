//! What an output had last to say, for an alert: into a pipe that somebody else reads.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use super::stream::{PIPE_MAX, Stream};
use super::{Logger, LoggerError, cut};
use crate::protocol::logger::{StreamId, TailId};

/// The most that a pipe is sure to take at once: what the kernel gives it.
const BYTES_MAX: usize = 64 << 10;

impl Logger {
    /// Puts the last lines into the pipe. First what lies in the output's own pipes is read: the last words
    /// of a process that has just died are the ones that are wanted.
    pub(super) fn give_last_lines(
        &mut self,
        tail: TailId,
        lines: u32,
        bytes: u32,
        pipe: OwnedFd,
    ) -> Result<(), LoggerError> {
        let is_of = |stream: &Stream| stream.tail == tail;
        let open: Vec<StreamId> = self.streams.iter().filter(|(_, stream)| is_of(stream)).map(|(id, _)| *id).collect();
        for stream in open {
            self.pump(stream, PIPE_MAX)?;
        }
        if let Some(tail) = self.tails.get(&tail) {
            let last = tail.ring.last_lines(lines, 0);
            // It is empty and takes this much; if its reader is gone, nobody misses it.
            let _ = File::from(pipe).write(shortened(&last, (bytes as usize).min(BYTES_MAX)));
        }
        Ok(())
    }
}

/// The last bytes, from the beginning of a line if one begins there.
fn shortened(bytes: &[u8], most: usize) -> &[u8] {
    if bytes.len() <= most {
        return bytes;
    }
    let (before, end) = bytes.split_at(bytes.len() - most);
    if before.ends_with(b"\n") {
        return end;
    }
    match cut::after_first_newline(end) {
        Some(start) if start < end.len() => &end[start..],
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shortened_begins_with_a_whole_line_if_there_is_one() {
        assert_eq!(shortened(b"one\ntwo\nthree\n", 99), b"one\ntwo\nthree\n");
        for (most, shown) in [(11, "two\nthree\n"), (10, "two\nthree\n"), (9, "three\n")] {
            assert_eq!(shortened(b"one\ntwo\nthree\n", most), shown.as_bytes(), "{most}");
        }
        assert_eq!(shortened(b"one line that is long\n", 5), b"long\n");
    }
}
