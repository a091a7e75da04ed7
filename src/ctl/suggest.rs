//! `taskmasterctl __complete WORD…`: what the completions of bash, zsh and fish ask, so that they know what
//! the shell of Taskmaster knows, the names of running programs included. The last word is the one to be
//! completed. Each answer is a line: the word, and behind a tab what it means, where that is known.
//!
//! Whatever is wrong, a completion says nothing: it suggests less.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::command;
use super::complete::{self, Names};
use super::connect::{Connector, Surroundings};
use super::screen::Screen;
use super::shell;

/// The hidden verb.
pub const VERB: &str = "__complete";

pub fn run(words: &[String], screen: &mut Screen) -> u8 {
    let lines: String = suggestions(words, |socket, kind| {
        let connector = Connector::Socket(Surroundings::here().socket(socket));
        shell::names(&connector, kind).unwrap_or_default()
    });
    u8::from(screen.print(&lines).is_err())
}

fn suggestions(words: &[String], names: impl FnOnce(Option<PathBuf>, Names) -> Vec<String>) -> String {
    let Some((word, before)) = words.split_last() else { return String::new() };
    let mut before = before.iter().map(String::as_str).peekable();
    let mut socket = None;
    while let Some(option) = before.next_if(|word| word.starts_with('-')) {
        if matches!(option, "-s" | "--socket") {
            // Without a next word, that is what is completed: a file, which the asking shell knows better.
            let Some(value) = before.next() else { return String::new() };
            socket = Some(PathBuf::from(value));
        } else if let Some(value) = option.strip_prefix("--socket=") {
            socket = Some(PathBuf::from(value));
        }
    }
    let before: Vec<&str> = before.collect();
    let table = command::command_line();
    let found = if before.is_empty() && word.starts_with('-') {
        let mut options = complete::options(&table);
        options.retain(|option| option.starts_with(word.as_str()));
        options
    } else {
        complete::candidates(&table, &before, word, |kind| names(socket, kind))
    };
    let place = before.iter().try_fold(&table, |command, word| command.find_subcommand(word)).unwrap_or(&table);
    found.iter().map(|word| format!("{word}\t{}\n", meaning(place, word))).collect()
}

/// What a command or an option of this command is for.
fn meaning(place: &clap::Command, word: &str) -> String {
    let text = match word.strip_prefix("--") {
        Some(long) => {
            place.get_arguments().find(|option| option.get_long() == Some(long)).and_then(clap::Arg::get_help)
        }
        None => place.find_subcommand(word).and_then(clap::Command::get_about),
    };
    text.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let text = suggestions(&words, |socket, kind| {
            vec![format!("{kind:?}@{}", socket.unwrap_or_default().display()), "web:0".to_owned()]
        });
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_the_shell_of_taskmaster_knows_is_suggested_with_its_meaning() {
        assert_eq!(suggested("relo"), ["reload\tRead the configuration again and apply what has changed"]);
        assert_eq!(suggested("notify que"), ["queue\tShow the channels, what waits and what was given up"]);
        assert_eq!(suggested("reload --dr"), ["--dry-run\tOnly say what would happen"]);
        assert_eq!(suggested("--js"), ["--json\tPrint JSON"]);
        assert_eq!(suggested("tail web:0 stde"), ["stderr\t"]);
        assert!(suggested("help sta").iter().any(|line| line.starts_with("status\t")));
    }

    #[test]
    fn names_come_from_the_supervisor_that_the_line_names() {
        assert_eq!(suggested("--json -s /x stop S"), ["Selectors@/x\t"]);
        assert_eq!(suggested("--socket=/y notify test C"), ["Channels@/y\t"]);
        assert_eq!(suggested("stop web:0 w"), ["web:0\t"]);
    }

    #[test]
    fn where_nothing_is_known_nothing_is_said() {
        assert!(suggested("-s ").is_empty() && suggested("frob ").is_empty() && suggested("status zzz").is_empty());
        assert_eq!(suggestions(&[], |_, _| Vec::new()), "");
        assert!(!suggested("").iter().any(|line| line.contains(VERB)), "the verb itself is hidden");
    }
}
