//! The keys that detach: how they are written, and finding them in what is typed.
#![forbid(unsafe_code)]

use crate::model::text::escaped;

/// What is pressed to detach, as the bytes that a terminal sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DetachKeys(Vec<u8>);

/// `ctrl-],d`
pub const USUAL: &str = "ctrl-],d";

impl DetachKeys {
    /// Reads `ctrl-],d`: single characters and `ctrl-` with a character, with commas between.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        keys.filter(|keys| keys.len() <= 8).map(Self).ok_or_else(|| {
            format!("`{}` are no detach keys; write for example `{USUAL}`, `ctrl-p,ctrl-q` or `ctrl-\\`", escaped(text))
        })
    }

    /// For people: `ctrl-] d`.
    pub fn shown(&self) -> String {
        let key = |byte: &u8| match byte {
            0 => "ctrl-@".to_owned(),
            1..0x20 => format!("ctrl-{}", char::from(byte + 0x40).to_ascii_lowercase()),
            _ => char::from(*byte).to_string(),
        };
        self.0.iter().map(key).collect::<Vec<_>>().join(" ")
    }
}

fn key(text: &str) -> Option<u8> {
    let one = |text: &str| match text.as_bytes() {
        [byte @ 0x21..=0x7e] => Some(*byte),
        _ => None,
    };
    match text.strip_prefix("ctrl-") {
        None => one(text),
        Some(rest) => one(rest).filter(|byte| matches!(byte.to_ascii_uppercase(), b'@'..=b'_')).map(|byte| byte & 0x1f),
    }
}

/// What is typed, with the detach keys looked for.
pub struct Typed {
    keys: DetachKeys,
    /// So many of them have been pressed.
    pressed: usize,
}

/// What came of some bytes.
#[derive(PartialEq, Eq, Debug)]
pub enum Found {
    /// These go to the program.
    Input(Vec<u8>),
    /// The detach keys were pressed, after these bytes.
    Detach(Vec<u8>),
}

impl Typed {
    pub fn new(keys: DetachKeys) -> Self {
        Self { keys, pressed: 0 }
    }

    /// Takes what was typed. The first key twice is that key, once.
    pub fn take(&mut self, bytes: &[u8]) -> Found {
        let keys = &self.keys.0;
        let mut input = Vec::with_capacity(bytes.len() + self.pressed);
        for &byte in bytes {
            if keys.get(self.pressed) == Some(&byte) {
                self.pressed += 1;
                if self.pressed == keys.len() {
                    self.pressed = 0;
                    return Found::Detach(input);
                }
                continue;
            }
            // They were not meant: what was held back goes first.
            let held = std::mem::take(&mut self.pressed);
            let doubled = held == 1 && byte == keys[0];
            input.extend_from_slice(&keys[..held]);
            if doubled {
                continue;
            }
            if keys.first() == Some(&byte) && keys.len() > 1 {
                self.pressed = 1;
            } else {
                input.push(byte);
            }
        }
        Found::Input(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(keys: &str, parts: &[&str]) -> Vec<Found> {
        let mut typed = Typed::new(DetachKeys::parse(keys).expect("keys"));
        parts.iter().map(|part| typed.take(part.as_bytes())).collect()
    }

    fn input(text: &str) -> Found {
        Found::Input(text.as_bytes().to_vec())
    }

    #[test]
    fn keys_are_written_as_in_other_programs() {
        for (text, shown, bytes) in [
            ("ctrl-],d", "ctrl-] d", &b"\x1dd"[..]),
            ("ctrl-p,ctrl-q", "ctrl-p ctrl-q", b"\x10\x11"),
            ("ctrl-@", "ctrl-@", b"\0"),
            ("ctrl-\\", "ctrl-\\", b"\x1c"),
            ("a", "a", b"a"),
        ] {
            let keys = DetachKeys::parse(text).expect("keys");
            assert_eq!((keys.shown().as_str(), keys.0.as_slice()), (shown, bytes));
        }
        for wrong in ["", "ctrl-", "ctrl-]d", "ab", "ctrl-1", "a,,b", "é", "a,b,c,d,e,f,g,h,i"] {
            assert!(DetachKeys::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn they_detach_and_the_first_twice_is_sent_once() {
        assert_eq!(take(USUAL, &["ab\x1dd"]), [Found::Detach(b"ab".to_vec())]);
        assert_eq!(take(USUAL, &["a\x1d", "dx"]), [input("a"), Found::Detach(Vec::new())]);
        assert_eq!(take(USUAL, &["\x1d\x1dd"]), [input("\x1dd")]);
        assert_eq!(take(USUAL, &["\x1d", "x", "d"]), [input(""), input("\x1dx"), input("d")]);
        assert_eq!(take("ctrl-p,ctrl-q", &["\x10\x10\x11"]), [input("\x10\x11")]);
        assert_eq!(take("a,b,c", &["aba", "bc"]), [input("ab"), Found::Detach(Vec::new())]);
        assert_eq!(take("ctrl-q", &["\x11"]), [Found::Detach(Vec::new())]);
    }
}
