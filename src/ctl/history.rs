//! The shell's history: one file, read when the shell starts, each line added at once, so that what was
//! typed survives however the shell ends.
//!
//! The editor's own file format is not used: on the supervisor's terminal the file comes as a descriptor
//! that was opened by someone else.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use crate::model::text::escaped;
use crate::system::{account, file};

/// How many lines are kept.
pub const LINES_MAX: usize = 1000;
/// The most that is read of a file, from its end; some hundred bytes a line are plenty.
const BYTES_MAX: u64 = 1 << 20;

pub struct History {
    file: Option<File>,
}

impl History {
    /// A user's own file, made if it is not there. Without one the shell works as well.
    pub fn of_user() -> Self {
        let open = |directory: PathBuf| file::open_private(&directory, "history", account::own_uid()).ok();
        Self { file: user_directory().and_then(open).map(File::from) }
    }

    /// A file that is open for reading and appending.
    pub fn of_file(file: Option<File>) -> Self {
        Self { file }
    }

    /// The lines of earlier shells, oldest first. A file that has grown too long is cut to what is kept.
    pub fn load(&mut self) -> Vec<String> {
        self.file.as_mut().and_then(|file| read_lines(file).ok()).unwrap_or_default()
    }

    /// Adds a line at once. That it cannot be kept is no reason to disturb anybody.
    pub fn add(&mut self, line: &str) {
        if let Some(file) = &mut self.file
            && is_kept(line)
        {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}

fn user_directory() -> Option<PathBuf> {
    let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")))?;
    Some(state.join("taskmaster"))
}

/// Lines that begin with a space are meant not to be kept; control characters would act on the terminal
/// when the line is recalled.
fn is_kept(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with(' ') && escaped(line) == line
}

fn read_lines(file: &mut File) -> io::Result<Vec<String>> {
    let length = file.seek(SeekFrom::End(0))?;
    let skipped = length.saturating_sub(BYTES_MAX);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line of a part of a file is most likely a part of a line.
    let all: Vec<&str> = text.lines().skip(usize::from(skipped > 0)).collect();
    let kept: Vec<String> = all.iter().filter(|line| is_kept(line)).map(|line| (*line).to_owned()).collect();
    let newest = kept[kept.len().saturating_sub(LINES_MAX)..].to_vec();
    if skipped > 0 || all.len() > 2 * LINES_MAX {
        // With O_APPEND what is written after the cut begins at the file's start.
        file.set_len(0)?;
        file.write_all((newest.join("\n") + "\n").as_bytes())?;
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("history");
        std::fs::write(&path, content).expect("writes");
        (dir, path)
    }

    fn open(path: &PathBuf) -> History {
        History::of_file(Some(OpenOptions::new().read(true).append(true).open(path).expect("opens")))
    }

    #[test]
    fn a_line_is_there_for_the_next_shell_at_once() {
        let (_dir, path) = file("status\n");
        let mut history = open(&path);
        assert_eq!(history.load(), ["status"]);
        history.add("stop web");
        history.add(" start secret");
        history.add("a\x1b[2J");
        history.add("  ");
        assert_eq!(open(&path).load(), ["status", "stop web"]);
    }

    #[test]
    fn only_the_newest_lines_are_kept_and_the_file_does_not_grow_for_ever() {
        let many: String = (0..3000).map(|n| format!("line {n}\n")).collect();
        let (_dir, path) = file(&many);
        let lines = open(&path).load();
        assert_eq!((lines.len(), lines[0].as_str(), lines[999].as_str()), (1000, "line 2000", "line 2999"));
        let mut history = open(&path);
        assert_eq!(history.load().len(), 1000);
        assert!(std::fs::metadata(&path).expect("is there").len() < 12_000);
        history.add("after");
        assert_eq!(open(&path).load().last().map(String::as_str), Some("after"));
    }

    #[test]
    fn a_damaged_file_or_none_harms_nothing() {
        let (_dir, path) = file("");
        std::fs::write(&path, b"ok\n\xff\xfe\n\x1b[2J\n\0\nfine").expect("writes");
        let lines = open(&path).load();
        assert_eq!((lines[0].as_str(), lines.last().map(String::as_str)), ("ok", Some("fine")));
        assert!(lines.iter().all(|line| !line.chars().any(char::is_control)));
        let mut none = History::of_file(None);
        none.add("x");
        assert!(none.load().is_empty());
        let huge = "x".repeat(3 << 20) + "\nlast\n";
        std::fs::write(&path, huge).expect("writes");
        assert_eq!(open(&path).load(), ["last"]);
    }
}
