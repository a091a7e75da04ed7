//! Varlink's framing: one JSON object, then one NUL byte. The decoder holds at most its cap, whatever
//! the peer sends.
#![forbid(unsafe_code)]

/// The longest call that the core reads: selectors of thousands of names fit.
pub const CALL_MAX: usize = 256 << 10;
/// The longest reply that a client reads: the status of some 50 000 processes.
pub const REPLY_MAX: usize = 32 << 20;

/// Cuts a stream of bytes into frames.
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where the next frame begins: what is before it has been given out.
    start: usize,
    /// How far `buffer` has been looked through for the NUL.
    searched: usize,
    max: usize,
}

/// A frame longer than the cap: nothing after it can be understood.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl Decoder {
    pub fn new(max: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, searched: 0, max }
    }

    /// Takes bytes that were read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait here: what a reader consults before it reads more.
    pub fn waiting(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether a whole frame waits, of whatever length.
    pub fn has_frame(&mut self) -> bool {
        let found = self.buffer[self.searched..].iter().position(|byte| *byte == 0);
        self.searched = found.map_or(self.buffer.len(), |offset| self.searched + offset);
        found.is_some()
    }

    /// What has come after the frames that were given out.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.split_off(self.start)
    }

    /// The next whole frame, without its NUL.
    ///
    /// # Errors
    /// When more than the cap came without a NUL.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let whole = self.has_frame();
        if self.searched - self.start > self.max {
            return Err(TooLong);
        }
        if !whole {
            return Ok(None);
        }
        let frame = self.buffer[self.start..self.searched].to_vec();
        self.start = self.searched + 1;
        self.searched = self.start;
        // Not after each frame: many small ones are not moved again and again.
        if self.start * 2 >= self.buffer.len() {
            self.buffer.drain(..self.start);
            self.buffer.shrink_to(self.buffer.len() * 2);
            (self.start, self.searched) = (0, 0);
        }
        Ok(Some(frame))
    }
}

/// Encodes one value as a frame.
pub fn encode(value: &impl serde::Serialize) -> Vec<u8> {
    // Our own types have string keys only and no failing serialisers: to_vec cannot fail on them.
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_beyond_the_cap_is_refused_before_it_ends() {
        let mut decoder = Decoder::new(4);
        decoder.push(b"abcd");
        assert_eq!(decoder.next_frame(), Ok(None));
        decoder.push(b"e");
        assert_eq!(decoder.next_frame(), Err(TooLong));
        let mut decoder = Decoder::new(4);
        decoder.push(b"abcde\0");
        assert_eq!(decoder.next_frame(), Err(TooLong));
    }

    #[test]
    fn a_whole_frame_is_seen_before_it_is_taken() {
        let mut decoder = Decoder::new(4);
        decoder.push(b"ab");
        assert!(!decoder.has_frame());
        decoder.push(b"\0c\0");
        assert!(decoder.has_frame() && decoder.has_frame());
        assert_eq!(decoder.next_frame(), Ok(Some(b"ab".to_vec())));
        assert_eq!((decoder.has_frame(), decoder.waiting()), (true, 2));
        assert_eq!(decoder.next_frame(), Ok(Some(b"c".to_vec())));
        assert_eq!((decoder.has_frame(), decoder.waiting()), (false, 0));
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_bytes_are_cut(
            frames in prop::collection::vec(prop::collection::vec(1u8.., 0..40), 0..12),
            cuts in prop::collection::vec(1usize..9, 1..200),
        ) {
            let stream: Vec<u8> = frames.iter().flat_map(|f| f.iter().copied().chain([0])).collect();
            let mut decoder = Decoder::new(64);
            let (mut out, mut at, mut cut) = (Vec::new(), 0, cuts.iter().cycle());
            while at < stream.len() {
                let end = (at + cut.next().copied().unwrap_or(1)).min(stream.len());
                decoder.push(&stream[at..end]);
                at = end;
                while let Some(frame) = decoder.next_frame().expect("short frames") {
                    out.push(frame);
                }
            }
            prop_assert_eq!(out, frames);
        }
    }
}
