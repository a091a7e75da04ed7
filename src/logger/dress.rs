//! How bytes are dressed for their file: escape sequences taken out, the time put before each line.
//!
//! The same bytes, dressed the same way, are always the same: so a logger that takes over where another died
//! knows what that one was writing.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::cut;
use super::record::Dress;
use crate::model::time::{self, WallTime};

/// The length of the time and the space behind it.
pub const TIME: usize = "2026-11-20T08:12:03.123Z ".len();
/// A sequence that is longer than this and has not ended is none.
const SEQUENCE_MAX: usize = 4096;

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

impl Dress {
    pub fn apply<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let bytes = if self.strip_ansi { stripped(bytes) } else { Cow::Borrowed(bytes) };
        match self.time {
            Some(time) if !bytes.is_empty() => Cow::Owned(timed(&bytes, time, self.mid_line)),
            _ => bytes,
        }
    }
}

fn timed(bytes: &[u8], millis: u64, mid_line: bool) -> Vec<u8> {
    let time = i64::try_from(millis).ok().and_then(|millis| WallTime::from_millisecond(millis).ok());
    let time = format!("{} ", time::rfc3339_millis(time.unwrap_or_default()));
    let mut dressed = Vec::with_capacity(bytes.len() + TIME * 8);
    for (n, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if n > 0 || !mid_line {
            dressed.extend_from_slice(time.as_bytes());
        }
        dressed.extend_from_slice(line);
    }
    dressed
}

/// One thing that the bytes begin with.
enum Piece {
    Text(usize),
    Sequence(usize),
    /// A sequence whose end is not here.
    Begun,
}

/// ECMA-48: CSI, the strings that a terminator ends (OSC, DCS, SOS, PM, APC), and the short ones. A line end
/// ends all of them, and stays.
fn next_piece(bytes: &[u8]) -> Piece {
    let Some(start) = bytes.iter().position(|byte| *byte == ESCAPE) else { return Piece::Text(bytes.len()) };
    if start > 0 {
        return Piece::Text(start);
    }
    let limit = bytes.len().min(SEQUENCE_MAX);
    let found = match bytes.get(1) {
        None => None,
        Some(b'[') => bytes[2..limit].iter().position(|byte| !(0x20..=0x3f).contains(byte)).map(|at| {
            let end = 2 + at;
            end + usize::from((0x40..=0x7e).contains(&bytes[end]))
        }),
        Some(b']' | b'P' | b'X' | b'^' | b'_') => string_end(&bytes[..limit]),
        Some(_) => bytes[1..limit].iter().position(|byte| !(0x20..=0x2f).contains(byte)).map(|at| {
            let end = 1 + at;
            end + usize::from((0x30..=0x7e).contains(&bytes[end]))
        }),
    };
    match found {
        Some(end) => Piece::Sequence(end),
        None if bytes.len() < SEQUENCE_MAX => Piece::Begun,
        None => Piece::Sequence(2),
    }
}

fn string_end(bytes: &[u8]) -> Option<usize> {
    let at = 2 + bytes[2..].iter().position(|byte| matches!(*byte, BELL | ESCAPE | b'\n'))?;
    match (bytes[at], bytes.get(at + 1)) {
        (BELL, _) => Some(at + 1),
        (ESCAPE, Some(b'\\')) => Some(at + 2),
        (ESCAPE, None) => None,
        _ => Some(at),
    }
}

fn stripped(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&ESCAPE) {
        return Cow::Borrowed(bytes);
    }
    let (mut text, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        match next_piece(&bytes[at..]) {
            Piece::Text(length) => {
                text.extend_from_slice(&bytes[at..at + length]);
                at += length;
            }
            Piece::Sequence(length) => at += length,
            Piece::Begun => break,
        }
    }
    Cow::Owned(text)
}

/// How many of the bytes there are before a sequence whose end is not among them.
pub fn before_begun(bytes: &[u8]) -> usize {
    // A line end ends any sequence: only what is behind the last one matters.
    let mut at = cut::after_last_newline(bytes);
    while at < bytes.len() {
        match next_piece(&bytes[at..]) {
            Piece::Text(length) | Piece::Sequence(length) => at += length,
            Piece::Begun => return at,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strip(bytes: &[u8]) -> Vec<u8> {
        Dress { strip_ansi: true, ..Dress::default() }.apply(bytes).into_owned()
    }

    #[test]
    fn escape_sequences_go_and_all_else_stays() {
        for (bytes, text) in [
            (&b"\x1b[1;31mred\x1b[0m plain"[..], &b"red plain"[..]),
            (b"\x1b]0;title\x07x\x1b]8;;http://h\x1b\\link\x1b]8;;\x1b\\", b"xlink"),
            (b"\x1bPq#0~\x1b\\x\x1b(By\x1b=z\x1bM", b"xyz"),
            (b"a\x1b[31\nb", b"a\nb"),
            (b"a\x1b]0;never ends\nb", b"a\nb"),
            (b"\xff\x00\t\r\x9b1m\x7f", b"\xff\x00\t\r\x9b1m\x7f"),
            (b"a\x1b", b"a"),
            (b"a\x1b\x1b[mb", b"ab"),
        ] {
            assert_eq!(strip(bytes), text, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn each_line_begins_with_the_time() {
        let dress = Dress { time: Some(1_795_000_000_123), strip_ansi: true, mid_line: false };
        let now = "2026-11-18T11:06:40.123Z ";
        assert_eq!(now.len(), TIME);
        let text = |dress: Dress, bytes: &[u8]| String::from_utf8(dress.apply(bytes).into_owned()).expect("text");
        assert_eq!(text(dress, b"a\n\x1b[mb\nc"), format!("{now}a\n{now}b\n{now}c"));
        assert_eq!(text(Dress { mid_line: true, ..dress }, b"a\nb\n"), format!("a\n{now}b\n"));
        assert_eq!(text(dress, b"\x1b[m"), "");
    }

    proptest! {
        #[test]
        fn a_cut_outside_of_a_sequence_changes_nothing(
            bytes in prop::collection::vec(prop::sample::select(b"\x1b[]P0;1m\x07\\ (Ba\n".to_vec()), 0..60),
            at in any::<prop::sample::Index>(),
        ) {
            let at = before_begun(&bytes[..at.index(bytes.len() + 1)]);
            prop_assert_eq!([strip(&bytes[..at]), strip(&bytes[at..])].concat(), strip(&bytes));
        }
    }
}
