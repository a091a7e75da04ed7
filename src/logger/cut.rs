//! Where to cut: how many of the bytes in a pipe go into a file with so much room.
//!
//! A single writer's bytes go there as they come; a line end is looked for only when the file is full. Where
//! lines must stay whole (several writers of one file, lines that are changed on their way), what is no whole
//! line yet stays in the pipe.
#![forbid(unsafe_code)]

/// The longest unfinished line that is kept back for its end.
pub const HELD_MAX: usize = 64 << 10;

/// What is to be done with the bytes at the beginning of a pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// So many go into the file now.
    Take(usize),
    /// The line is unfinished: it stays where it is.
    Hold,
    /// The line does not fit: a new file is needed.
    Rotate,
}

/// The file, as far as it matters where to cut.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// How many bytes it takes until it is full.
    pub room: u64,
    /// How many it may have at most.
    pub max_bytes: u64,
    pub is_empty: bool,
    /// How many are added to each line.
    pub margin: usize,
    /// It ends in the middle of a line.
    pub mid_line: bool,
}

impl Page {
    /// How many of the bytes fit.
    fn fitting(&self, bytes: &[u8]) -> usize {
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        if self.margin == 0 {
            return room.min(bytes.len());
        }
        let (mut at, mut left, mut margin) = (0, room, if self.mid_line { 0 } else { self.margin });
        while at < bytes.len() && left > margin {
            let line = after_first_newline(&bytes[at..]).unwrap_or(bytes.len() - at).min(left - margin);
            at += line;
            left -= margin + line;
            margin = self.margin;
        }
        at
    }

    /// Only whole lines, unless one is longer than any file, or than `held_max`, or waits no longer (`must`).
    pub fn choose(&self, bytes: &[u8], held_max: usize, must: bool) -> Choice {
        let fitting = self.fitting(bytes);
        match after_last_newline(&bytes[..fitting]) {
            0 => {}
            whole => return Choice::Take(whole),
        }
        let end = after_first_newline(bytes);
        let line = end.unwrap_or(bytes.len());
        if end.is_none() && !must && line <= held_max {
            return Choice::Hold;
        }
        if line <= fitting {
            return Choice::Take(line);
        }
        let is_too_long = (line + self.margin) as u64 > self.max_bytes;
        if fitting > 0 && is_too_long {
            Choice::Take(fitting)
        } else if self.is_empty {
            // Not even a byte with its margin fits into a whole file.
            Choice::Take(line.min(usize::try_from(self.max_bytes).unwrap_or(usize::MAX)).max(1))
        } else {
            Choice::Rotate
        }
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

    fn page(room: u64, max_bytes: u64) -> Page {
        Page { room, max_bytes, is_empty: room == max_bytes, margin: 0, mid_line: false }
    }

    #[test]
    fn whole_lines_are_taken_as_far_as_they_fit() {
        let choose = |room, bytes: &[u8], must| page(room, 100).choose(bytes, 50, must);
        assert_eq!(choose(100, b"one\ntwo\nthr", false), Choice::Take(8));
        assert_eq!(choose(6, b"one\ntwo\nthr", false), Choice::Take(4));
        assert_eq!(choose(3, b"one\ntwo\nthr", false), Choice::Rotate);
        assert_eq!(choose(100, b"thr", false), Choice::Hold);
        assert_eq!(choose(100, b"thr", true), Choice::Take(3));
        assert_eq!(choose(2, b"thr", true), Choice::Rotate);
        assert_eq!(choose(100, &[b'x'; 51], false), Choice::Take(51));
        assert_eq!(choose(20, &[b'x'; 51], false), Choice::Rotate);
        assert_eq!(choose(20, &[b'x'; 101], false), Choice::Take(20));
        assert_eq!(choose(0, &[b'x'; 101], false), Choice::Rotate);
    }

    #[test]
    fn what_is_added_to_each_line_counts() {
        let page = |room, mid_line| Page { room, max_bytes: 100, is_empty: room == 100, margin: 10, mid_line };
        assert_eq!(page(28, false).choose(b"one\ntwo\n", 50, false), Choice::Take(8));
        assert_eq!(page(27, false).choose(b"one\ntwo\n", 50, false), Choice::Take(4));
        assert_eq!(page(18, true).choose(b"one\ntwo\n", 50, false), Choice::Take(8));
        assert_eq!(page(10, false).choose(b"one\ntwo\n", 50, false), Choice::Rotate);
        let tiny = Page { room: 5, max_bytes: 5, is_empty: true, margin: 10, mid_line: false };
        assert_eq!(tiny.choose(b"one\n", 50, false), Choice::Take(4), "it is written all the same");
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
        fn something_is_always_done_and_what_is_taken_fits(
            bytes in prop::collection::vec(prop::sample::select(b"abc\n".to_vec()), 1..200),
            max_bytes in 1u64..150,
            used in 0u64..150,
            margin in prop::sample::select(vec![0usize, 25]),
            mid_line in any::<bool>(),
            held_max in 1usize..100,
            must in any::<bool>(),
        ) {
            let room = max_bytes.saturating_sub(used);
            let page = Page { room, max_bytes, is_empty: used == 0, margin, mid_line };
            match page.choose(&bytes, held_max, must) {
                Choice::Take(count) => {
                    prop_assert!(count > 0 && count <= bytes.len());
                    let begun = bytes[..count].split_inclusive(|byte| *byte == b'\n').count();
                    let length = count + margin * (begun - usize::from(mid_line));
                    prop_assert!(length as u64 <= room || page.is_empty);
                    let is_whole = bytes[count - 1] == b'\n';
                    let is_long = |line: usize| line > held_max || (line + margin) as u64 > max_bytes;
                    let line = after_first_newline(&bytes).unwrap_or(bytes.len());
                    prop_assert!(is_whole || must || is_long(line) || page.is_empty);
                }
                Choice::Hold => prop_assert!(!must && !bytes.contains(&b'\n')),
                Choice::Rotate => prop_assert!(used > 0),
            }
        }

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
