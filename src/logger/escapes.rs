//! Where in an escape sequence a stream of bytes is, so that the emulator never gets an endless one and a
//! screen can be drawn between two sequences.
//!
//! Strings (window titles, the clipboard, images) change nothing on the screen and may have any length: they
//! are taken out. The states are those of the emulator's parser. Line drawing by character set, which the emulator
//! does not know, becomes the characters that are meant.
#![forbid(unsafe_code)]

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Ground,
    Escape,
    /// After an escape and an intermediate byte: one more byte ends it.
    Intermediate,
    Control,
    String,
}

/// Follows a stream.
#[derive(Default)]
pub struct Escapes {
    state: State,
    /// The beginning of the sequence that has not ended: what a terminal must get first that sees the rest.
    begun: Vec<u8>,
    /// Whether each of the two character sets is the one with lines in it, and whether the second is in use.
    lines: [bool; 2],
    second: bool,
}

/// The character set with lines in it, from `_` on.
const LINES: [char; 32] = [
    ' ', '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼', '⎽', '├', '┤',
    '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

/// A sequence that is longer than any that means something: its beginning is enough.
const BEGUN_MAX: usize = 256;
const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
/// Ends any sequence without effect.
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;
const SHIFT_OUT: u8 = 0x0e;
const SHIFT_IN: u8 = 0x0f;

impl Escapes {
    /// The bytes without the strings.
    pub fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            let before = self.state;
            self.state = next(before, byte);
            self.choose_set(before, byte);
            match (before, self.state) {
                (_, State::Ground) => self.begun.clear(),
                (_, State::Escape) if byte == ESC => self.begun = vec![ESC],
                _ if self.begun.len() < BEGUN_MAX => self.begun.push(byte),
                _ => {}
            }
            match (before, self.state) {
                (State::String, State::Escape) => out.push(byte),
                // Nothing of it, and not its end.
                (State::String, _) => {}
                // The emulator has seen the escape: for it, this one comes to nothing.
                (_, State::String) => out.push(CANCEL),
                (State::Ground, State::Ground) => match self.line(byte) {
                    Some(line) => out.extend_from_slice(line.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => out.push(byte),
                },
                _ => out.push(byte),
            }
        }
        out
    }

    fn choose_set(&mut self, before: State, byte: u8) {
        match (before, byte, self.begun.as_slice()) {
            (State::String, ..) => {}
            (_, SHIFT_OUT, _) => self.second = true,
            (_, SHIFT_IN, _) => self.second = false,
            (State::Intermediate, 0x30..=0x7e, [ESC, b'(']) => self.lines[0] = byte == b'0',
            (State::Intermediate, 0x30..=0x7e, [ESC, b')']) => self.lines[1] = byte == b'0',
            (State::Escape, b'c', _) => (self.lines, self.second) = ([false; 2], false),
            _ => {}
        }
    }

    fn line(&self, byte: u8) -> Option<char> {
        let place = usize::from(byte).checked_sub(usize::from(b'_'))?;
        LINES.get(place).copied().filter(|_| self.lines[usize::from(self.second)])
    }

    /// What puts another terminal into the same character set.
    pub fn set(&self) -> Vec<u8> {
        let set = |lines| if lines { b'0' } else { b'B' };
        let shift = if self.second { SHIFT_OUT } else { SHIFT_IN };
        vec![ESC, b'(', set(self.lines[0]), ESC, b')', set(self.lines[1]), shift]
    }

    /// The beginning of a sequence that has not ended.
    pub fn begun(&self) -> &[u8] {
        &self.begun
    }
}

fn next(state: State, byte: u8) -> State {
    match (state, byte) {
        (_, ESC) => State::Escape,
        (_, CANCEL | SUBSTITUTE) => State::Ground,
        (State::Ground, _) => State::Ground,
        (State::String, BEL) => State::Ground,
        (State::String, _) => State::String,
        (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::String,
        (State::Escape, b'[') => State::Control,
        (State::Escape | State::Intermediate, 0x20..=0x2f) => State::Intermediate,
        (State::Control, 0x40..=0x7e) => State::Ground,
        // Control characters are obeyed in the middle of a sequence.
        (_, 0..0x20 | 0x7f) => state,
        (State::Escape | State::Intermediate, _) => State::Ground,
        (State::Control, _) => State::Control,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filtered(text: &str) -> String {
        String::from_utf8(Escapes::default().filter(text.as_bytes())).expect("text")
    }

    #[test]
    fn strings_are_taken_out_and_all_else_is_left() {
        assert_eq!(filtered("a\x1b[1mb\x1b(Bc"), "a\x1b[1mb\x1b(Bc");
        assert_eq!(filtered("a\x1b]0;title\x07b"), "a\x1b\x18b");
        assert_eq!(filtered("a\x1bPq...\x1b\\b"), "a\x1b\x18\x1b\\b");
        assert_eq!(filtered("\x1b]0;x\x1b[1mb"), "\x1b\x18\x1b[1mb");
        assert_eq!(filtered("\x1b]52;c;AAAA\x18b"), "\x1b\x18b");
    }

    #[test]
    fn lines_drawn_by_character_set_are_characters() {
        assert_eq!(filtered("\x1b(0lqk\x1b(Bq"), "\x1b(0┌─┐\x1b(Bq");
        assert_eq!(filtered("\x1b)0q\x0eq\x1b[1mq\x0fq"), "\x1b)0q\x0e─\x1b[1m─\x0fq");
        assert_eq!(filtered("\x1b(0\x1bcq\x1b(0é"), "\x1b(0\x1bcq\x1b(0é");
        let mut escapes = Escapes::default();
        escapes.filter(b"\x1b(0\x0e");
        assert_eq!(escapes.set(), b"\x1b(0\x1b)B\x0e");
    }

    #[test]
    fn the_beginning_of_what_has_not_ended_is_known() {
        for (text, begun) in
            [("a", ""), ("a\x1b", "\x1b"), ("\x1b[38;5", "\x1b[38;5"), ("\x1b[1m", ""), ("\x1b]0;ti", "\x1b]0;ti")]
        {
            let mut escapes = Escapes::default();
            escapes.filter(text.as_bytes());
            assert_eq!(escapes.begun(), begun.as_bytes(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut_and_little_is_kept(
            bytes in prop::collection::vec(prop_oneof![Just(0x1bu8), Just(b'['), Just(b']'), Just(7u8), any::<u8>()], 0..900),
            piece in 1usize..50,
        ) {
            let whole = Escapes::default().filter(&bytes);
            let mut escapes = Escapes::default();
            let parts: Vec<u8> = bytes.chunks(piece).flat_map(|part| escapes.filter(part)).collect();
            prop_assert_eq!(parts, whole);
            prop_assert!(escapes.begun().len() <= BEGUN_MAX);
        }
    }
}
