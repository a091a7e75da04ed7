//! The last bytes of an output, kept in memory for `tail`.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::cut;

/// How much is kept.
pub const RING_MAX: usize = 64 << 10;

/// At most [`RING_MAX`] bytes, the newest; nothing is allocated before the first.
#[derive(Default)]
pub struct Ring {
    bytes: VecDeque<u8>,
    /// Whether the first line may lack its beginning.
    cut: bool,
    /// How many bytes have come in all.
    total: u64,
}

impl Ring {
    /// Takes bytes that begin in the middle of what was written.
    pub fn preload(&mut self, bytes: &[u8], cut: bool) {
        self.push(bytes);
        self.cut |= cut;
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(RING_MAX)..];
        let over = (self.bytes.len() + kept.len()).saturating_sub(RING_MAX);
        self.cut |= over > 0 || kept.len() < bytes.len();
        self.bytes.drain(..over.min(self.bytes.len()));
        self.bytes.extend(kept);
        self.total += bytes.len() as u64;
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many bytes have come since there were so many in all, as far as they are here.
    pub fn since(&self, total: u64) -> usize {
        usize::try_from(self.total.saturating_sub(total)).unwrap_or(usize::MAX).min(self.bytes.len())
    }

    /// The last `count` bytes, without the `newest` of them.
    pub fn last_bytes(&self, count: usize, newest: usize) -> Vec<u8> {
        let end = self.bytes.len().saturating_sub(newest);
        self.bytes.range(end.saturating_sub(count)..end).copied().collect()
    }

    /// The last `lines` lines, without the `newest` bytes. An unfinished line counts as one; one whose
    /// beginning is lost is given only when there is no other.
    pub fn last_lines(&self, lines: u32, newest: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.bytes.iter().copied().take(self.bytes.len().saturating_sub(newest)).collect();
        if self.cut
            && let Some(first) = cut::after_first_newline(&bytes)
            && first < bytes.len()
        {
            bytes.drain(..first);
        }
        let ends = bytes.iter().enumerate().rev().skip(1).filter(|(_, byte)| **byte == b'\n');
        let start = match usize::try_from(lines).unwrap_or(usize::MAX).checked_sub(1) {
            None => bytes.len(),
            Some(others) => ends.map(|(at, _)| at + 1).nth(others).unwrap_or(0),
        };
        bytes.split_off(start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(parts: &[&str]) -> Ring {
        let mut ring = Ring::default();
        for part in parts {
            ring.push(part.as_bytes());
        }
        ring
    }

    #[test]
    fn lines_are_counted_from_the_end() {
        let ring = of(&["a\nb", "b\nc\n"]);
        assert_eq!(ring.last_lines(0, 0), b"");
        assert_eq!(ring.last_lines(1, 0), b"c\n");
        assert_eq!(ring.last_lines(2, 0), b"bb\nc\n");
        assert_eq!(ring.last_lines(9, 0), b"a\nbb\nc\n");
        assert_eq!(of(&["a\n> "]).last_lines(1, 0), b"> ");
        assert_eq!(of(&["a\n> "]).last_lines(1, 2), b"a\n");
        assert_eq!(of(&["\n\n\n"]).last_lines(2, 0), b"\n\n");
        assert_eq!(of(&[]).last_lines(2, 0), b"");
    }

    #[test]
    fn a_line_without_its_beginning_is_given_only_alone() {
        let long = "x".repeat(RING_MAX);
        assert_eq!(of(&[&long, "y\nz\n"]).last_lines(100, 0), b"z\n");
        assert_eq!(of(&[&long, "y"]).last_lines(100, 0).len(), RING_MAX);
    }

    proptest! {
        #[test]
        fn it_holds_the_newest_bytes(parts in prop::collection::vec(0usize..50_000, 0..8)) {
            let (mut ring, mut all) = (Ring::default(), Vec::new());
            for (n, length) in parts.into_iter().enumerate() {
                let part: Vec<u8> = (0..length).map(|i| b'a' + ((n + i) % 26) as u8).collect();
                ring.push(&part);
                all.extend(part);
            }
            prop_assert_eq!(ring.last_lines(1, 0), &all[all.len().saturating_sub(RING_MAX)..]);
        }
    }
}
