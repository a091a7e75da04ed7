//! The output of one stream as lines that name their process, for where many write at once: whole lines only,
//! an unfinished one is kept until it ends or is too long. Decides with values alone.
#![forbid(unsafe_code)]

/// The longest line that is kept: what is longer goes on in another line with the same name.
pub const LINE_MAX: usize = 8 << 10;

#[derive(Default)]
pub struct Lines {
    unfinished: Vec<u8>,
}

impl Lines {
    /// Takes what was read; gives the lines that are whole now.
    pub fn take(&mut self, process: &str, bytes: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let mut text = text;
            while self.unfinished.len() + text.len() > LINE_MAX {
                let (now, later) = text.split_at(LINE_MAX - self.unfinished.len());
                self.unfinished.extend_from_slice(now);
                whole.append(&mut self.rest(process));
                text = later;
            }
            self.unfinished.extend_from_slice(text);
            if ends {
                self.end(process, &mut whole);
            }
        }
        whole
    }

    /// The unfinished line, because nothing comes after it.
    pub fn rest(&mut self, process: &str) -> Vec<u8> {
        let mut line = Vec::new();
        if !self.unfinished.is_empty() {
            self.end(process, &mut line);
        }
        line
    }

    fn end(&mut self, process: &str, whole: &mut Vec<u8>) {
        // A terminal ends its lines so.
        let line = self.unfinished.strip_suffix(b"\r").unwrap_or(&self.unfinished);
        whole.extend_from_slice(process.as_bytes());
        whole.extend_from_slice(b" | ");
        whole.extend_from_slice(line);
        whole.push(b'\n');
        self.unfinished.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_given_each_with_the_name() {
        let mut lines = Lines::default();
        assert_eq!(lines.take("web:0", b"a\n\nb"), b"web:0 | a\nweb:0 | \n");
        assert_eq!(lines.take("web:0", b"c"), b"");
        assert_eq!(lines.take("web:0", b"\r\n\x1b[1m\0\xff\n"), b"web:0 | bc\nweb:0 | \x1b[1m\0\xff\n");
        assert_eq!(lines.rest("web:0"), b"");
        assert_eq!(lines.take("web:0", b"end"), b"");
        assert_eq!(lines.rest("web:0"), b"web:0 | end\n");
    }

    #[test]
    fn a_line_without_end_goes_on_with_the_same_name_and_is_never_kept_whole() {
        let mut lines = Lines::default();
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
        let mut lines = Lines::default();
        let mut line = vec![b'x'; LINE_MAX];
        line.push(b'\n');
        assert_eq!(lines.take("p", &line), [b"p | ", &line[..]].concat());
    }
}
