//! Where to cut: how much of a pipe may be read into what room, and which part of it is whole lines.
//!
//! A single writer's bytes go into the file as they come; a line end is looked for only when the file
//! is full. Several writers of one file are written line by line, so that their lines stay whole.
#![forbid(unsafe_code)]

/// The longest unfinished line that is kept back for its end.
pub const HELD_MAX: usize = 64 << 10;

/// What to do next for a stream whose file has so much room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Read at most so much: it fits.
    Read(usize),
    /// The unfinished line is longer than any file may be: write what fits of it.
    Split,
    /// Nothing fits: a new file is needed.
    Rotate,
}

/// How much to read: what is kept back (`held`) and what is read must fit together.
pub fn next(room: u64, held: usize, file_is_empty: bool, most: usize) -> Next {
    let left = room.saturating_sub(held as u64);
    match usize::try_from(left).unwrap_or(usize::MAX).min(most) {
        0 if file_is_empty => Next::Split,
        0 => Next::Rotate,
        count => Next::Read(count),
    }
}

/// The bytes up to and including the last line end; 0 without one.
pub fn after_last_newline(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

/// The bytes up to and including the first line end.
pub fn after_first_newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1)
}

/// How many bytes of a block are written now, after the `held` ones before it; 0: all is kept back, too.
/// Only a line longer than [`HELD_MAX`] is written before it ends.
pub fn whole_lines(held: usize, block: &[u8]) -> usize {
    let whole = after_last_newline(block);
    let unfinished = if whole == 0 { held + block.len() } else { block.len() - whole };
    if unfinished > HELD_MAX { block.len() } else { whole }
}

/// The bytes up to the last whole character, if the rest is one that was cut.
pub fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let needs = match bytes[at] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return bytes.len(),
        };
        return if needs > back { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_read_always_fits() {
        assert_eq!(next(100, 0, false, 1000), Next::Read(100));
        assert_eq!(next(100, 40, false, 1000), Next::Read(60));
        assert_eq!(next(u64::MAX, 40, false, 1000), Next::Read(1000));
        assert_eq!(next(40, 40, false, 1000), Next::Rotate);
        assert_eq!(next(40, 50, true, 1000), Next::Split);
    }

    #[test]
    fn a_cut_character_waits_for_its_rest() {
        let text = "aß☃😀".as_bytes();
        let ends = [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10];
        for (length, end) in ends.into_iter().enumerate() {
            assert_eq!(whole_characters(&text[..length]), end, "{length}");
        }
        assert_eq!(whole_characters(b"a\xff"), 2);
        assert_eq!(whole_characters(b"\x80\x80\x80\x80"), 4);
    }

    proptest! {
        #[test]
        fn only_lines_too_long_to_keep_are_written_before_their_end(
            blocks in prop::collection::vec((1usize..40_000, any::<bool>()), 1..20),
        ) {
            let (mut held, mut read, mut written) = (0, 0, 0);
            for (length, ends) in blocks {
                let mut block = vec![b'x'; length];
                if ends {
                    block[length / 2] = b'\n';
                }
                let count = whole_lines(held, &block);
                prop_assert!(count <= length);
                read += length;
                if count > 0 {
                    written += held + count;
                    if block[count - 1] != b'\n' {
                        prop_assert_eq!(count, length);
                        prop_assert!(held + length > HELD_MAX || length - length / 2 - 1 > HELD_MAX);
                    }
                    held = length - count;
                } else {
                    held += length;
                }
                prop_assert!(held <= HELD_MAX);
                prop_assert_eq!(read, written + held);
            }
        }
    }
}
