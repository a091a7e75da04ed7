//! One output over all lives of its process: its last bytes, and what those who follow it see next.

use super::cut;
use super::ring::Ring;
use crate::model::time::Moment;
use crate::protocol::control::Channel;

#[derive(Default)]
pub struct Tail {
    pub process: String,
    pub channel: Channel,
    pub ring: Ring,
    /// Nothing has been in it yet: the end of the file may be put there.
    pub used: bool,
    /// The clients that follow it, by their tokens.
    pub followers: Vec<u64>,
    /// How many are attached: they see everything at once.
    pub viewers: usize,
    /// The unfinished line that they have not seen yet.
    unseen: Vec<u8>,
    /// When it last grew, and whether a timer runs for it.
    pub unseen_since: Moment,
    pub timed: bool,
}

impl Tail {
    /// Takes what was read; gives what followers see now, in whole lines where possible.
    pub fn feed(&mut self, bytes: &[u8], now: Moment) -> Option<Vec<u8>> {
        self.used = true;
        self.ring.push(bytes);
        if self.followers.is_empty() {
            return None;
        }
        self.unseen_since = now;
        let count = match cut::whole_lines(self.unseen.len(), bytes) {
            0 => 0,
            all if all == bytes.len() => cut::whole_characters(bytes),
            whole => whole,
        };
        if count == 0 {
            self.unseen.extend_from_slice(bytes);
            return None;
        }
        let mut seen = std::mem::take(&mut self.unseen);
        seen.extend_from_slice(&bytes[..count]);
        self.unseen = bytes[count..].to_vec();
        Some(seen)
    }

    /// The unfinished line, because it stood still; `all`: also half a character.
    pub fn unfinished(&mut self, all: bool) -> Option<Vec<u8>> {
        let count = if all { self.unseen.len() } else { cut::whole_characters(&self.unseen) };
        let rest = self.unseen.split_off(count);
        let seen = std::mem::replace(&mut self.unseen, rest);
        (!seen.is_empty()).then_some(seen)
    }

    /// Somebody sees what is written.
    pub fn is_watched(&self) -> bool {
        !self.followers.is_empty() || self.viewers > 0
    }

    pub fn has_unseen(&self) -> bool {
        !self.unseen.is_empty()
    }

    /// The last lines of what followers have seen already: the rest comes to them by itself.
    pub fn last_lines(&self, lines: u32) -> Vec<u8> {
        self.ring.last_lines(lines, self.unseen.len())
    }

    pub fn remove_follower(&mut self, token: u64) {
        self.followers.retain(|known| *known != token);
        if self.followers.is_empty() {
            self.unseen = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followers_see_lines_and_a_prompt_only_when_it_stands_still() {
        let now = Moment::default();
        let mut tail = Tail::default();
        assert_eq!(tail.feed(b"a\nb", now), None);
        assert_eq!(tail.last_lines(9), b"a\nb");
        tail.followers.push(7);
        assert_eq!(tail.feed(b"c", now), None);
        assert_eq!(tail.last_lines(9), b"a\nb", "what comes by itself is not told twice");
        assert_eq!(tail.feed(b"d\ne\n> \xe2\x98", now).as_deref(), Some(&b"cd\ne\n"[..]));
        assert_eq!(tail.unfinished(false).as_deref(), Some(&b"> "[..]));
        assert_eq!(tail.unfinished(false), None);
        assert_eq!(tail.feed(b"\x83\n", now).as_deref(), Some("☃\n".as_bytes()));
    }
}
