//! What is said when the words are no command: one line of ours in place of clap's several, naming what is
//! wrong and the nearest right thing.
#![forbid(unsafe_code)]

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::fault::ParseFault;
use crate::model::text::escaped;

/// The shell's table has no program name; clap leaves its space.
pub fn one_space(text: &str) -> String {
    text.replacen("Usage:  ", "Usage: ", 1)
}

/// Commands of other tools, and what does the same here.
const ELSEWHERE: [(&str, &str); 9] = [
    // supervisorctl
    ("fg", "attach"),
    ("maintail", "events -f"),
    // systemctl, docker and shells
    ("kill", "signal"),
    ("list", "status"),
    ("logs", "tail"),
    ("ps", "status"),
    ("show", "config"),
    ("top", "status --watch"),
    ("daemon-reload", "reload"),
];

pub fn unknown_command(name: &str, table: &clap::Command) -> ParseFault {
    let known = names(table);
    let is_here = |line: &str| line.split(' ').next().is_some_and(|command| table.find_subcommand(command).is_some());
    let same = ELSEWHERE.iter().find(|(other, line)| *other == name && is_here(line)).map(|(_, line)| *line);
    let suggestion = same.or_else(|| nearest(name, known.iter().map(String::as_str)));
    if name == "open" && table.find_subcommand("status").is_some() {
        return ParseFault::Usage("unknown command `open`; another supervisor is `taskmasterctl -s SOCKET`".to_owned());
    }
    let what = format!("unknown command `{}`", escaped(name));
    ParseFault::Usage(if suggestion.is_some() {
        with_suggestion(what, suggestion)
    } else {
        format!("{what}; try `help`")
    })
}

pub fn with_suggestion(what: String, suggestion: Option<&str>) -> String {
    match suggestion {
        Some(near) => format!("{what}; did you mean `{near}`?"),
        None => what,
    }
}

/// The candidate that was most likely meant, if any is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let distance = |candidate: &str| {
        let unfinished = word.len() >= 3 && candidate.starts_with(word);
        if unfinished { 1 } else { strsim::osa_distance(word, candidate) }
    };
    candidates
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Puts clap's error into one line of ours.
pub fn fault(error: &clap::Error, table: &clap::Command) -> ParseFault {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(" ")),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    ParseFault::Usage(match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return ParseFault::Shown(one_space(&error.render().to_string()));
        }
        ErrorKind::InvalidSubcommand => {
            return unknown_command(
                &context(ContextKind::InvalidSubcommand).unwrap_or_default(),
                table_of(error, table),
            );
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            let known = names(table_of(error, table));
            if known == names(table) {
                "a command is missing; try `help`".to_owned()
            } else {
                format!("a command is missing: {}", known.join(", "))
            }
        }
        // `tail -100` and `tail -n -1`: all that is known is the first digit.
        ErrorKind::UnknownArgument
            if argument.starts_with('-') && argument[1..].starts_with(|c: char| c.is_ascii_digit()) =>
        {
            "numbers have no `-` before them; how many lines is `-n N`".to_owned()
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let options = all_options(table);
            with_suggestion(
                format!("unknown option `{}`", escaped(&argument)),
                nearest(&argument, options.iter().map(String::as_str)),
            )
        }
        ErrorKind::UnknownArgument => format!("`{}` is one argument too many", escaped(&argument)),
        ErrorKind::MissingRequiredArgument => {
            let missing = argument.replace("...", "");
            let usage = match error.get(ContextKind::Usage) {
                Some(ContextValue::StyledStr(usage)) => usage.to_string(),
                _ => String::new(),
            };
            let usage = usage.lines().next().and_then(|line| line.strip_prefix("Usage:")).unwrap_or_default();
            format!("{missing} is missing; usage: {}", usage.trim())
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("{} needs a value", escaped(&argument)),
        // The only argument with a closed list of values.
        ErrorKind::InvalidValue => with_suggestion(
            format!("`{}` is neither stdout nor stderr", escaped(&value)),
            nearest(&value, ["stdout", "stderr"]),
        ),
        ErrorKind::ValueValidation => match std::error::Error::source(error) {
            Some(reason) if argument == "<SIG>" || argument.ends_with("<DURATION>") => {
                escaped(&reason.to_string()).into_owned()
            }
            // The words of the standard library name neither the text nor what is wanted.
            Some(reason) if reason.is::<std::num::ParseIntError>() => {
                format!("{}: `{}` is not a whole number that is small enough", escaped(&argument), escaped(&value))
            }
            Some(reason) => format!("{}: {}", escaped(&argument), escaped(&reason.to_string())),
            None => format!("`{}` is not a value of {}", escaped(&value), escaped(&argument)),
        },
        _ => {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or_default();
            escaped(line.strip_prefix("error: ").unwrap_or(line)).into_owned()
        }
    })
}

/// The command whose commands are meant: clap says it in the usage line only.
fn table_of<'t>(error: &clap::Error, table: &'t clap::Command) -> &'t clap::Command {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => error.render().to_string(),
    };
    let mut nested = table.get_subcommands().filter(|sub| sub.has_subcommands());
    let usage = usage.split("Usage:").nth(1).unwrap_or_default();
    nested.find(|sub| usage.split_whitespace().any(|word| word == sub.get_name())).unwrap_or(table)
}

fn all_options(table: &clap::Command) -> Vec<String> {
    let commands = std::iter::once(table).chain(table.get_subcommands());
    commands
        .flat_map(clap::Command::get_arguments)
        .filter(|argument| !argument.is_hide_set())
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect()
}

/// The names of the table, with the other names some have.
pub fn names(command: &clap::Command) -> Vec<String> {
    command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .flat_map(|sub| std::iter::once(sub.get_name()).chain(sub.get_visible_aliases()))
        .map(str::to_owned)
        .collect()
}
