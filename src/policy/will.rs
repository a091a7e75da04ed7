//! What people told processes to be, where the configuration says otherwise: stopped by hand although
//! `autostart` is true, or started by hand although it is false. With `[supervisor] remember` it is kept in a
//! file, and decides at the next start of the supervisor.
//!
//! What agrees with the configuration is not kept, so that a later change of `autostart` counts.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::model::id::{ProcessId, ProgramName};
use crate::model::state::Wanted;
use crate::model::text::escaped;

/// The longest file that is read; the names of all processes there can be fit.
pub const FILE_MAX: usize = 8 << 20;
/// More lines than processes there can be.
const LINES_MAX: usize = 20_000;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Will {
    by_hand: BTreeMap<ProcessId, Wanted>,
    /// Not written to the file yet.
    changed: bool,
}

impl Will {
    /// Somebody told a process to be so.
    pub fn ordered(&mut self, id: &ProcessId, wanted: Wanted, autostart: bool) {
        let before = match (wanted == Wanted::Up) == autostart {
            true => self.by_hand.remove(id),
            false => self.by_hand.insert(id.clone(), wanted),
        };
        self.changed |= before != self.by_hand.get(id).copied();
    }

    /// What somebody told it to be, if not what `autostart` says.
    pub fn of(&self, id: &ProcessId) -> Option<Wanted> {
        self.by_hand.get(id).copied()
    }

    /// Forgets all but these: names of programs, with their numbers of processes.
    pub fn keep(&mut self, numprocs: impl Fn(&ProgramName) -> Option<u32>) {
        let before = self.by_hand.len();
        self.by_hand.retain(|id, _| numprocs(&id.program).is_some_and(|count| id.instance < count));
        self.changed |= before != self.by_hand.len();
    }

    /// It has to be written, whether something changed or not.
    pub fn mark_changed(&mut self) {
        self.changed = true;
    }

    /// The text for the file, if it is another than was written last.
    pub fn take_text(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let mut text = "# What was started and stopped by hand; written by taskmasterd.\n".to_owned();
        for (id, wanted) in &self.by_hand {
            let word = if *wanted == Wanted::Up { STARTED } else { STOPPED };
            text.push_str(&format!("{word} {id}\n"));
        }
        Some(text)
    }

    /// Reads what [`Self::take_text`] made.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut will = Self::default();
        if !text.ends_with('\n') {
            return Err("it is cut off".to_owned());
        }
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let number = index + 1;
            if number > LINES_MAX + 1 {
                return Err(format!("it has more than {LINES_MAX} lines"));
            }
            let (id, wanted) = entry(line).ok_or_else(|| {
                let line: String = line.chars().take(60).collect();
                format!("line {number} is no `{STOPPED} NAME:N` or `{STARTED} NAME:N`: {}", escaped(&line))
            })?;
            if will.by_hand.insert(id, wanted).is_some() {
                return Err(format!("line {number} names a process a second time"));
            }
        }
        Ok(will)
    }
}

const STARTED: &str = "started";
const STOPPED: &str = "stopped";

fn entry(line: &str) -> Option<(ProcessId, Wanted)> {
    let (word, process) = line.split_once(' ')?;
    let wanted = match word {
        STARTED => Wanted::Up,
        STOPPED => Wanted::Down,
        _ => return None,
    };
    let (program, instance) = process.rsplit_once(':')?;
    Some((ProcessId::new(&ProgramName::new(program).ok()?, instance.parse().ok()?), wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ProcessId {
        let (name, number) = text.split_once(':').expect("an id");
        ProcessId::new(&ProgramName::new(name).expect("a name"), number.parse().expect("a number"))
    }

    #[test]
    fn only_what_differs_from_the_configuration_is_kept() {
        let mut will = Will::default();
        will.ordered(&id("web:0"), Wanted::Up, true);
        will.ordered(&id("db:0"), Wanted::Down, false);
        assert_eq!(will.take_text(), None);
        will.ordered(&id("web:1"), Wanted::Down, true);
        will.ordered(&id("db:0"), Wanted::Up, false);
        assert_eq!((will.of(&id("web:1")), will.of(&id("web:0"))), (Some(Wanted::Down), None));
        let text = will.take_text().expect("has changed");
        assert!(text.ends_with("\nstarted db:0\nstopped web:1\n"), "{text}");
        assert_eq!(Will::parse(&text), Ok(will.clone()));
        assert_eq!(will.take_text(), None);
        will.ordered(&id("web:1"), Wanted::Down, true);
        assert_eq!(will.take_text(), None, "nothing new");
        will.ordered(&id("web:1"), Wanted::Up, true);
        assert_eq!(will.of(&id("web:1")), None);
        will.keep(|name| (name.as_str() == "web").then_some(1));
        assert!(will.take_text().expect("has changed").ends_with("taskmasterd.\n"));
    }

    #[test]
    fn hostile_files_are_refused_in_words() {
        for (text, words) in [
            ("", "cut off"),
            ("stopped web:0", "cut off"),
            ("stopped web\n", "line 1 is no"),
            ("stopped ../x:0\n", "line 1 is no"),
            ("stopped web:-1\n", "line 1 is no"),
            ("stopped web:4294967296\n", "line 1 is no"),
            ("#\n\u{1b}[2J web:0\n", "\\x1b[2J"),
            ("stopped web:0\nstarted web:0\n", "a second time"),
            ("\n", "line 1 is no"),
            (&"stopped web:0\n".repeat(2), "line 2"),
            (&format!("{}x\n", "# \n".repeat(LINES_MAX + 1)), "more than 20000 lines"),
        ] {
            let refused = Will::parse(text).expect_err(words);
            assert!(refused.contains(words) && refused.len() < 200, "{refused}");
        }
        assert_eq!(Will::parse("# nothing\n"), Ok(Will::default()));
    }
}
