//! What is said on a connection after the reply of `Attach`: frames, both ways, between client and logger.
//!
//! | byte | what |
//! |---|---|
//! | 0 | the kind, a letter |
//! | 1, 2 | how long the payload is, big-endian, at most [`PAYLOAD_MAX`] |
//! | 3 … | the payload |
//!
//! | kind | from | payload |
//! |---|---|---|
//! | `i` | client | input for the program, as it is |
//! | `r` | client | the size of its terminal: rows, columns, two bytes each |
//! | `w` | client | nothing: draw the screen anew |
//! | `d` | client | nothing: it leaves |
//! | `o` | logger | what the program writes, as it is |
//! | `n` | logger | a sentence for the user, UTF-8 |
//! | `e` | logger | the end: one letter for why (`x` the program has ended, `l` the client left, `c` it was cut off, `f` it sent nonsense), then a sentence |
//!
//! Neither side trusts the other: a decoder holds one frame at most, and what is none ends the connection.
//! A client sends nothing before the reply has come, and nothing after `d`; nothing comes after `e`.
#![forbid(unsafe_code)]

use std::fmt;

/// The longest payload.
pub const PAYLOAD_MAX: usize = 16 << 10;
const HEADER: usize = 3;

/// Rows and columns of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// A larger terminal is treated as one of this size: what its screen needs in memory is bounded.
pub const ROWS_MAX: u16 = 400;
pub const COLUMNS_MAX: u16 = 1000;

impl Size {
    /// Within the bounds; `None` for a terminal that does not know its size.
    pub fn new(rows: u16, columns: u16) -> Option<Self> {
        (rows > 0 && columns > 0).then(|| Self { rows: rows.min(ROWS_MAX), columns: columns.min(COLUMNS_MAX) })
    }
}

/// From the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FromClient {
    Input(Vec<u8>),
    /// `None`: a size that says nothing.
    Resize(Option<Size>),
    Redraw,
    Leave,
}

/// From the logger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToClient {
    Output(Vec<u8>),
    Notice(String),
    End(End, String),
}

/// Why it is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Exited,
    Left,
    Cut,
    Fault,
}

impl End {
    const ALL: [(Self, u8); 4] = [(Self::Exited, b'x'), (Self::Left, b'l'), (Self::Cut, b'c'), (Self::Fault, b'f')];

    fn letter(self) -> u8 {
        Self::ALL.iter().find(|(end, _)| *end == self).map_or(b'f', |(_, letter)| *letter)
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    UnknownKind(u8),
    TooLong(usize),
    /// The payload is not what belongs to this kind.
    Payload(u8),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "a frame of the unknown kind {kind}"),
            Self::TooLong(length) => write!(f, "a frame of {length} bytes; at most {PAYLOAD_MAX} are allowed"),
            Self::Payload(kind) => write!(f, "a frame of the kind `{}` with the wrong payload", char::from(*kind)),
        }
    }
}

/// What travels in one direction.
pub trait Message: Sized {
    /// The kinds of this direction.
    const KINDS: &'static [u8];

    /// The message of a frame whose kind is one of [`Self::KINDS`].
    fn read(kind: u8, payload: &[u8]) -> Option<Self>;
}

impl Message for FromClient {
    const KINDS: &'static [u8] = b"irwd";

    fn read(kind: u8, payload: &[u8]) -> Option<Self> {
        match (kind, payload) {
            (b'i', input) => Some(Self::Input(input.to_vec())),
            (b'r', &[a, b, c, d]) => {
                Some(Self::Resize(Size::new(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))))
            }
            (b'w', []) => Some(Self::Redraw),
            (b'd', []) => Some(Self::Leave),
            _ => None,
        }
    }
}

impl Message for ToClient {
    const KINDS: &'static [u8] = b"one";

    fn read(kind: u8, payload: &[u8]) -> Option<Self> {
        let words = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        match (kind, payload) {
            (b'o', output) => Some(Self::Output(output.to_vec())),
            (b'n', payload) => words(payload).map(Self::Notice),
            (b'e', [letter, rest @ ..]) => {
                let end = End::ALL.iter().find(|(_, known)| known == letter).map(|(end, _)| *end)?;
                Some(Self::End(end, words(rest)?))
            }
            _ => None,
        }
    }
}

/// Bytes as frames of one kind, as many as they need.
fn frames(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    for part in bytes.chunks(PAYLOAD_MAX) {
        frame(kind, part, out);
    }
}

fn frame(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    let payload = &payload[..payload.len().min(PAYLOAD_MAX)];
    let [_, _, high, low] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    out.extend_from_slice(&[kind, high, low]);
    out.extend_from_slice(payload);
}

/// A sentence of a length that fits.
fn words(text: &str) -> &str {
    crate::model::text::cut(text, PAYLOAD_MAX - 1)
}

impl FromClient {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Input(input) => frames(b'i', input, &mut out),
            Self::Resize(size) => {
                let (rows, columns) = size.map_or((0, 0), |size| (size.rows, size.columns));
                frame(b'r', &[rows.to_be_bytes(), columns.to_be_bytes()].concat(), &mut out);
            }
            Self::Redraw => frame(b'w', &[], &mut out),
            Self::Leave => frame(b'd', &[], &mut out),
        }
        out
    }
}

impl ToClient {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Output(output) => encode_output(output),
            Self::Notice(text) => {
                let mut out = Vec::new();
                frame(b'n', words(text).as_bytes(), &mut out);
                out
            }
            Self::End(end, text) => {
                let mut out = Vec::new();
                frame(b'e', &[&[end.letter()], words(text).as_bytes()].concat(), &mut out);
                out
            }
        }
    }
}

/// What the program wrote, without a copy of it in between.
pub fn encode_output(output: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(output.len() + HEADER * output.len().div_ceil(PAYLOAD_MAX));
    frames(b'o', output, &mut out);
    out
}

/// Cuts a stream of bytes into messages of one direction.
#[derive(Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Goes on with bytes that came behind something else.
    pub fn with(bytes: Vec<u8>) -> Self {
        Self { buffer: bytes }
    }

    /// Takes bytes that were read: as many at a time as its user is ready to hold.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// What came is no frame of this direction: nothing after it can be understood.
    pub fn next<M: Message>(&mut self) -> Result<Option<M>, Fault> {
        let Some(&kind) = self.buffer.first() else { return Ok(None) };
        if !M::KINDS.contains(&kind) {
            return Err(Fault::UnknownKind(kind));
        }
        let &[_, high, low, ..] = self.buffer.as_slice() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > PAYLOAD_MAX {
            return Err(Fault::TooLong(length));
        }
        let Some(payload) = self.buffer.get(HEADER..HEADER + length) else { return Ok(None) };
        let message = M::read(kind, payload).ok_or(Fault::Payload(kind))?;
        self.buffer.drain(..HEADER + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All messages, whatever the pieces that the bytes come in.
    fn decoded<M: Message>(bytes: &[u8], piece: usize) -> (Vec<M>, Option<Fault>) {
        let (mut decoder, mut messages) = (Decoder::default(), Vec::new());
        for part in bytes.chunks(piece.max(1)) {
            decoder.push(part);
            loop {
                match decoder.next() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(fault) => return (messages, Some(fault)),
                }
            }
        }
        (messages, None)
    }

    #[test]
    fn what_is_no_frame_is_refused_before_its_end() {
        let fault = |bytes: &[u8]| decoded::<FromClient>(bytes, 1).1;
        assert_eq!(fault(b"o"), Some(Fault::UnknownKind(b'o')), "the other direction's");
        assert_eq!(fault(b"i\xff\xff"), Some(Fault::TooLong(0xffff)));
        assert_eq!(fault(b"r\0\x03abc"), Some(Fault::Payload(b'r')));
        assert_eq!(fault(b"d\0\x01x"), Some(Fault::Payload(b'd')));
        assert_eq!(decoded::<ToClient>(b"n\0\x01\xff", 9).1, Some(Fault::Payload(b'n')));
        assert_eq!(decoded::<ToClient>(b"e\0\0", 9).1, Some(Fault::Payload(b'e')));
        assert_eq!(decoded::<ToClient>(b"e\0\x01?", 9).1, Some(Fault::Payload(b'e')));
    }

    #[test]
    fn a_size_is_bounded_and_none_where_nothing_is_known() {
        assert_eq!(Size::new(0, 80), None);
        assert_eq!(Size::new(24, 0), None);
        assert_eq!(Size::new(u16::MAX, u16::MAX), Some(Size { rows: ROWS_MAX, columns: COLUMNS_MAX }));
    }

    #[test]
    fn a_sentence_that_is_too_long_is_cut_between_characters() {
        let long = "é".repeat(PAYLOAD_MAX);
        let (messages, fault) = decoded::<ToClient>(&ToClient::End(End::Cut, long.clone()).encode(), 1000);
        let [ToClient::End(End::Cut, text)] = messages.as_slice() else { panic!("{messages:?} {fault:?}") };
        assert!(long.starts_with(text.as_str()) && text.len() >= PAYLOAD_MAX - 3);
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_the_bytes_are_cut(
            inputs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 0..4),
            rows in 0u16..500, columns in 0u16..1200, piece in 1usize..50_000,
        ) {
            let size = Size::new(rows, columns);
            let mut bytes = FromClient::Resize(size).encode();
            for input in &inputs {
                bytes.extend(FromClient::Input(input.clone()).encode());
            }
            bytes.extend(FromClient::Leave.encode());
            let (messages, fault) = decoded::<FromClient>(&bytes, piece);
            prop_assert_eq!(fault, None);
            prop_assert_eq!(&messages[0], &FromClient::Resize(size));
            prop_assert_eq!(messages.last(), Some(&FromClient::Leave));
            let input: Vec<u8> = messages.iter().flat_map(|message| match message {
                FromClient::Input(input) => input.clone(),
                _ => Vec::new(),
            }).collect();
            prop_assert_eq!(input, inputs.concat());
        }

        #[test]
        fn no_bytes_make_a_decoder_hold_more_than_a_frame(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for piece in [1, 7, 200] {
                let mut decoder = Decoder::default();
                'all: for part in bytes.chunks(piece) {
                    decoder.push(part);
                    loop {
                        match decoder.next::<FromClient>() {
                            Ok(Some(_)) => {}
                            Ok(None) => break,
                            Err(_) => break 'all,
                        }
                    }
                    prop_assert!(decoder.buffer.len() < HEADER + PAYLOAD_MAX);
                }
            }
            let _ = decoded::<ToClient>(&bytes, 3);
        }
    }
}
