//! What is on the screen of a program with a terminal: to be drawn for who attaches.
//!
//! A terminal emulator follows all that the program writes. A ring of the last bytes would be simpler and is
//! not enough: an editor draws its screen once and then only what changes, so that the last bytes begin in
//! the middle of a sequence and lack most of the screen, the modes and the place of the cursor.
//!
//! What a program writes is hostile. The emulator gets no endless sequence ([`super::escapes`]); when it
//! panics all the same, it is given up for this screen, and the last bytes have to do. So they have for
//! screens beyond the memory that all of them may take together.
#![forbid(unsafe_code)]

use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};

use vt100::Parser;

use super::escapes::Escapes;
use crate::protocol::attach::Size;

/// Cells of all screens together, each 32 bytes, twice where a program uses the alternate screen: 100
/// terminals of 80x24, or a few large ones.
pub const CELLS_MAX: usize = 256 << 10;

pub struct Screen {
    parser: Parser,
    escapes: Escapes,
}

pub fn cells(size: Size) -> usize {
    usize::from(size.rows) * usize::from(size.columns)
}

impl Screen {
    /// `None`: the emulator cannot do this size.
    pub fn new(size: Size) -> Option<Self> {
        let (rows, columns) = numbers(size)?;
        let parser = catch(|| Parser::new(rows, columns, 0))?;
        Some(Self { parser, escapes: Escapes::default() })
    }

    /// Follows what is written; `false`: it cannot go on.
    #[must_use]
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        let bytes = self.escapes.filter(bytes);
        catch(|| self.parser.process(&bytes)).is_some()
    }

    /// `false`: it cannot go on.
    #[must_use]
    pub fn resize(&mut self, size: Size) -> bool {
        let Some((rows, columns)) = numbers(size) else { return false };
        catch(|| self.parser.set_size(rows, columns)).is_some()
    }

    /// What draws the screen on a terminal in whatever state: both of its screens if the program uses the
    /// alternate one, the modes, the cursor, and the beginning of a sequence that is not complete.
    pub fn drawn(&mut self) -> Option<Vec<u8>> {
        catch(|| {
            let mut out = RESET.to_vec();
            if self.parser.screen().alternate_screen() && self.escapes.begun().is_empty() {
                // What the program comes back to when it leaves the alternate screen.
                self.parser.process(b"\x1b[?47l");
                out.extend_from_slice(self.parser.screen().contents_formatted().as_bytes());
                self.parser.process(b"\x1b[?47h");
            }
            if self.parser.screen().alternate_screen() {
                out.extend_from_slice(b"\x1b[?1049h");
            }
            out.extend_from_slice(self.parser.screen().state_formatted().as_bytes());
            out.extend_from_slice(&self.escapes.set());
            out.extend_from_slice(self.escapes.begun());
            out
        })
    }
}

/// To a state that is known: out of the alternate screen, no mode set that a program may have set before.
pub const RESET: &[u8] =
    b"\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?2004l\x1b[?6l\x1b[r\x1b(B\x0f\x1b[m";

fn numbers(size: Size) -> Option<(NonZeroU16, NonZeroU16)> {
    Some((NonZeroU16::new(size.rows)?, NonZeroU16::new(size.columns)?))
}

/// A fault of the emulator must not end the logger, which works for all programs.
fn catch<T>(body: impl FnOnce() -> T) -> Option<T> {
    // What it has left half done is thrown away by the caller.
    catch_unwind(AssertUnwindSafe(body)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn screen(rows: u16, columns: u16) -> Screen {
        Screen::new(Size { rows, columns }).expect("a screen")
    }

    /// The same screen again, after a terminal with some other content was given what was drawn.
    fn again(screen: &mut Screen, rows: u16, columns: u16) -> Screen {
        let mut other = self::screen(rows, columns);
        assert!(other.feed(b"\x1b[?1049h\x1b[31mold\x1b[5;5Hstuff\x1b[?2004h"));
        assert!(other.feed(&screen.drawn().expect("drawn")));
        other
    }

    #[test]
    fn what_is_drawn_is_the_screen_with_its_cursor_modes_and_both_buffers() {
        let mut first = screen(24, 80);
        assert!(
            first
                .feed(b"$ vi\r\n\x1b[?1049h\x1b[?1h\x1b[?2004h\x1b[?1000h\x1b[H~\x1b[7mline\x1b[m\x1b[12;34H\x1b[?25l")
        );
        let mut second = again(&mut first, 24, 80);
        let (one, two) = (first.parser.screen(), second.parser.screen());
        assert_eq!(one.contents_formatted(), two.contents_formatted());
        assert_eq!(one.input_mode_formatted(), two.input_mode_formatted());
        assert_eq!(one.cursor_position(), two.cursor_position());
        assert!(two.alternate_screen() && two.hide_cursor());
        for each in [&mut first, &mut second] {
            assert!(each.feed(b"\x1b[?1049l"));
            assert_eq!(each.parser.screen().contents(), "$ vi");
        }
    }

    #[test]
    fn a_sequence_that_is_cut_goes_on_where_it_was() {
        let mut first = screen(5, 20);
        assert!(first.feed(b"a\x1b[3"));
        let mut second = again(&mut first, 5, 20);
        for each in [&mut first, &mut second] {
            assert!(each.feed(b"1mred"));
        }
        assert_eq!(first.parser.screen().contents_formatted(), second.parser.screen().contents_formatted());
        assert_eq!(second.parser.screen().contents(), "ared");
    }

    proptest! {
        #[test]
        fn no_bytes_and_no_sizes_are_beyond_it(
            parts in prop::collection::vec((prop::collection::vec(prop_oneof![
                Just(b"\x1b[".to_vec()), Just(b"\x1b[?1049h".to_vec()), Just(b"\x1b[r".to_vec()), Just("世".as_bytes().to_vec()),
                Just(b"9999999999;".to_vec()), Just(b"\n".to_vec()), prop::collection::vec(any::<u8>(), 1..4)], 0..60),
                1u16..30, 1u16..90), 1..6),
        ) {
            let mut screen = screen(24, 80);
            for (bytes, rows, columns) in parts {
                if !screen.feed(&bytes.concat()) || !screen.resize(Size { rows, columns }) {
                    break;
                }
                prop_assert!(screen.drawn().is_some());
            }
        }
    }
}
