//! Lines that wait until somebody takes them, within a bound. Decides with values alone.
#![forbid(unsafe_code)]

/// How many bytes may wait.
const WAITING_MAX: usize = 1 << 20;

#[derive(Default)]
pub struct Waiting {
    bytes: Vec<u8>,
    /// How much of it is taken.
    taken: usize,
    /// What was taken last ended in the middle of a line.
    mid_line: bool,
    /// The end of such a line was dropped: the next one begins after a line feed.
    is_cut: bool,
}

impl Waiting {
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub fn has_room(&self, line: &[u8]) -> bool {
        self.len() + line.len() <= WAITING_MAX
    }

    pub fn push(&mut self, line: &[u8]) {
        // What was taken goes in one move for many.
        if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        if std::mem::take(&mut self.is_cut) {
            self.bytes.push(b'\n');
        }
        self.bytes.extend_from_slice(line);
    }

    /// All that waits.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// The first line, without its line feed.
    pub fn first(&self) -> &[u8] {
        let rest = self.rest();
        rest.iter().position(|byte| *byte == b'\n').map_or(rest, |end| &rest[..end])
    }

    pub fn take(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.bytes.len());
        self.mid_line = self.taken > 0 && self.bytes[self.taken - 1] != b'\n';
        if self.is_empty() {
            self.bytes.clear();
            self.taken = 0;
        }
    }

    /// Drops the first line, with its line feed; gives how long it was.
    pub fn drop_first(&mut self) -> usize {
        let length = (self.first().len() + 1).min(self.len());
        self.take(length);
        length
    }

    /// Drops all of it; gives how much that was.
    pub fn drop_all(&mut self) -> usize {
        let length = self.len();
        self.is_cut |= std::mem::take(&mut self.mid_line);
        self.bytes.clear();
        self.taken = 0;
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_in_their_order_whole_or_in_part() {
        let mut waiting = Waiting::default();
        waiting.push(b"one\n");
        waiting.push(b"two\n");
        assert_eq!((waiting.first(), waiting.rest()), (&b"one"[..], &b"one\ntwo\n"[..]));
        waiting.take(2);
        assert_eq!(waiting.rest(), b"e\ntwo\n");
        waiting.take(2);
        waiting.push(b"three\n");
        assert_eq!(waiting.drop_first(), 4);
        assert_eq!(waiting.first(), b"three");
        waiting.take(6);
        assert!(waiting.is_empty());
    }

    #[test]
    fn a_line_whose_end_is_lost_does_not_run_into_the_next() {
        let mut waiting = Waiting::default();
        waiting.push(b"one\ntwo\n");
        waiting.take(6);
        assert_eq!(waiting.drop_all(), 2);
        waiting.push(b"three\n");
        assert_eq!(waiting.rest(), b"\nthree\n");
        waiting.take(7);
        waiting.push(b"four\n");
        assert_eq!(waiting.drop_all(), 5);
        waiting.push(b"five\n");
        assert_eq!(waiting.rest(), b"five\n");
    }

    #[test]
    fn no_more_waits_than_there_may() {
        let mut waiting = Waiting::default();
        let line = [b'x'; 1024];
        while waiting.has_room(&line) {
            waiting.push(&line);
        }
        assert_eq!(waiting.len(), WAITING_MAX);
        waiting.take(1);
        assert!(!waiting.has_room(&line));
        waiting.take(1023);
        waiting.push(&line);
        assert_eq!((waiting.len(), waiting.bytes.len() <= 2 * WAITING_MAX), (WAITING_MAX, true));
    }
}
