//! The output of one stream as lines, for where many write at once: whole lines only, an unfinished one is kept
//! until it ends or is too long. On the console each has the name of its process; for the log daemon each is a
//! message of its own, with nothing in it that acts. Decides with values alone.
#![forbid(unsafe_code)]

use super::dress;
use super::record::Dress;
use crate::model::syslog::{self, TEXT_MAX};
use crate::model::text::escaped_line;
use crate::protocol::logger::{Label, Voice};

/// The longest line that is kept for the console: what is longer goes on in another line with the same name.
const LINE_MAX: usize = 8 << 10;

pub struct Lines {
    pub voice: Voice,
    unfinished: Vec<u8>,
}

impl Lines {
    pub fn new(voice: Voice) -> Self {
        Self { voice, unfinished: Vec::new() }
    }

    /// Takes what was read; gives what is to be said now, each ended by a line feed.
    pub fn take(&mut self, process: &str, bytes: &[u8]) -> Vec<u8> {
        let longest = if self.voice.label.is_some() { TEXT_MAX } else { LINE_MAX };
        let mut said = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (mut text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            while self.unfinished.len() + text.len() > longest {
                let (now, later) = text.split_at(longest - self.unfinished.len());
                self.unfinished.extend_from_slice(now);
                let rest = self.unfinished.split_off(self.place_to_cut());
                self.end(process, &mut said);
                self.unfinished = rest;
                text = later;
            }
            self.unfinished.extend_from_slice(text);
            if ends {
                self.end(process, &mut said);
            }
        }
        said
    }

    /// The unfinished line, because nothing comes after it.
    pub fn rest(&mut self, process: &str) -> Vec<u8> {
        let mut said = Vec::new();
        if !self.unfinished.is_empty() {
            self.end(process, &mut said);
        }
        said
    }

    /// Where the unfinished line is cut, in its second half: not in a character, nor in a sequence that is taken out.
    fn place_to_cut(&self) -> usize {
        let line = &self.unfinished;
        let before = if self.voice.strip_ansi { dress::before_begun(line) } else { line.len() };
        between_characters(line, if before > line.len() / 2 { before } else { line.len() })
    }

    fn end(&mut self, process: &str, said: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.unfinished);
        // A terminal ends its lines so.
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let line = Dress { strip_ansi: self.voice.strip_ansi, ..Dress::default() }.apply(line);
        match &self.voice.label {
            Some(label) => message(label, &line, said),
            None => {
                said.extend_from_slice(process.as_bytes());
                said.extend_from_slice(b" | ");
                said.extend_from_slice(&line);
                said.push(b'\n');
            }
        }
    }
}

/// The line as one message, as several where what must be escaped makes it too long for one.
fn message(label: &Label, line: &[u8], said: &mut Vec<u8>) {
    let text = escaped_line(line);
    if text.len() > TEXT_MAX {
        let (first, second) = line.split_at(between_characters(line, line.len() / 2));
        message(label, first, said);
        message(label, second, said);
    } else {
        said.extend_from_slice(syslog::local(label.priority, &label.tag, label.pid, &text).as_bytes());
        said.push(b'\n');
    }
}

/// The last place up to `at` that is in no character of UTF-8; `at` itself where there is none.
fn between_characters(bytes: &[u8], at: usize) -> usize {
    let is_start = |at: &usize| bytes.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
    // At the end it is not known whether the last character is whole: its length says it.
    let lengths = |start: usize| match bytes[start] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
        _ => 1,
    };
    let last = (at.saturating_sub(3)..at).rev().find(is_start);
    match last {
        Some(start) if start > 0 && start + lengths(start) > at => start,
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn console(strip_ansi: bool) -> Lines {
        Lines::new(Voice { strip_ansi, label: None })
    }

    fn syslog(strip_ansi: bool) -> Lines {
        Lines::new(Voice { strip_ansi, label: Some(Label { priority: 30, tag: "web".to_owned(), pid: Some(7) }) })
    }

    #[test]
    fn only_whole_lines_are_given_each_with_the_name() {
        let mut lines = console(false);
        assert_eq!(lines.take("web:0", b"a\n\nb"), b"web:0 | a\nweb:0 | \n");
        assert_eq!(lines.take("web:0", b"c"), b"");
        assert_eq!(lines.take("web:0", b"\r\n\x1b[1m\0\xff\n"), b"web:0 | bc\nweb:0 | \x1b[1m\0\xff\n");
        assert_eq!(lines.rest("web:0"), b"");
        assert_eq!(lines.take("web:0", b"end"), b"");
        assert_eq!(lines.rest("web:0"), b"web:0 | end\n");
    }

    #[test]
    fn each_line_is_a_message_in_which_nothing_acts() {
        let mut lines = syslog(false);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        assert_eq!(text(lines.take("web", b"a\r\n\n<0>b\tc\n")), "<30>web[7]: a\n<30>web[7]: \n<30>web[7]: <0>b\tc\n");
        assert_eq!(text(lines.take("web", b"\x1b[1m\0\r\xffx\n")), "<30>web[7]: \\x1b[1m\\x00\\r\\xffx\n");
        assert_eq!(lines.take("web", b"end"), b"");
        assert_eq!(text(lines.rest("web")), "<30>web[7]: end\n");
    }

    #[test]
    fn escape_sequences_are_taken_out_where_that_is_asked() {
        assert_eq!(console(true).take("p", b"\x1b[1mred\x1b[0m\n"), b"p | red\n");
        assert_eq!(syslog(true).take("p", b"\x1b[1mred\x1b[0m\n"), b"<30>web[7]: red\n");
        let mut long = vec![b'x'; LINE_MAX - 2];
        long.extend_from_slice(b"\x1b[1;31mred\n");
        let said = console(true).take("p", &long);
        assert!(said.ends_with(b"x\np | red\n"), "a sequence is not cut");
    }

    #[test]
    fn a_line_without_end_goes_on_with_the_same_name_and_is_never_kept_whole() {
        let mut lines = console(false);
        let mut given = Vec::new();
        for _ in 0..5 {
            given.extend(lines.take("p", &vec![b'x'; LINE_MAX / 2 + 1]));
            assert!(lines.unfinished.len() <= LINE_MAX);
        }
        given.extend(lines.take("p", b"\n"));
        let text: Vec<&[u8]> =
            given.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"p | ")).collect();
        assert!(text.iter().all(|line| line.len() <= LINE_MAX));
        assert_eq!(text.concat(), vec![b'x'; (LINE_MAX / 2 + 1) * 5]);
    }

    #[test]
    fn a_line_of_just_the_longest_length_is_not_cut() {
        for (mut lines, length, name) in [(console(false), LINE_MAX, "p | "), (syslog(false), TEXT_MAX, "<30>web[7]: ")]
        {
            let mut line = vec![b'x'; length];
            line.push(b'\n');
            assert_eq!(lines.take("p", &line), [name.as_bytes(), &line[..]].concat());
        }
    }

    #[test]
    fn a_line_is_not_cut_in_a_character() {
        for text in ["ä", "☃", "😀"] {
            let mut line = format!("x{}", text.repeat(LINE_MAX));
            let said = String::from_utf8(syslog(false).take("p", format!("{line}\n").as_bytes())).expect("UTF-8");
            line.retain(|c| c != '\n');
            assert_eq!(said.replace("<30>web[7]: ", "").replace('\n', ""), line, "nothing is escaped");
        }
        assert_eq!(between_characters(b"\xff\x80\x80\x80\x80", 4), 4, "that is none");
    }

    proptest! {
        #[test]
        fn whatever_a_program_writes_its_messages_are_short_and_begin_with_its_own_number(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 0..6),
        ) {
            let mut lines = syslog(false);
            let mut said: Vec<u8> = pieces.iter().flat_map(|piece| lines.take("p", piece)).collect();
            said.extend(lines.rest("p"));
            let text = String::from_utf8(said).expect("UTF-8");
            for message in text.lines() {
                prop_assert!(message.starts_with("<30>web[7]: ") && message.len() <= 8096);
                prop_assert!(!message.chars().any(|c| c.is_control() && c != '\t'));
            }
        }
    }
}
