//! Completion in the shell: commands, options and values from the table of commands, programs and
//! processes from the supervisor, signals from the model.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeSet;

use clap::{Arg, Command};
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter, HistoryHinter};
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::command;
use super::screen::Paint;
use super::usage;
use crate::model::signal::Signal;
use crate::model::text::escaped;
use crate::protocol::control::Process;

/// Names that only the supervisor knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// Processes, programs, groups.
    Selectors,
    /// Programs in force, and those that are only in the files.
    Programs,
    /// Only those.
    Available,
    /// Alert channels.
    Channels,
    /// Messages that wait or are dead.
    Messages,
    /// Ids of silences, and what they are of.
    Silences,
}

/// What can stand where the cursor is.
pub fn candidates(
    table: &Command,
    before: &[&str],
    word: &str,
    names: impl FnOnce(Names) -> Vec<String>,
) -> Vec<String> {
    // Options may stand before the command.
    let command_at = before.iter().position(|word| !word.starts_with('-')).unwrap_or(before.len());
    let mut found: Vec<String> = match before[command_at..].split_first() {
        None if word.starts_with('-') => options(table),
        None => usage::names(table),
        Some((name, arguments)) => match table.find_subcommand(name) {
            Some(sub) if sub.has_subcommands() => candidates_of(sub, table, arguments, word, names),
            Some(sub) if word.starts_with('-') => options(sub),
            Some(sub) => values(table, sub, arguments, names),
            None => Vec::new(),
        },
    };
    found.retain(|candidate| candidate.starts_with(word) || candidate.eq_ignore_ascii_case(word));
    found
}

/// Of a command that has commands.
fn candidates_of(
    command: &Command,
    table: &Command,
    before: &[&str],
    word: &str,
    names: impl FnOnce(Names) -> Vec<String>,
) -> Vec<String> {
    match before.split_first() {
        None if word.starts_with('-') => options(command),
        None => usage::names(command),
        Some((name, arguments)) => match command.find_subcommand(name) {
            Some(sub) if word.starts_with('-') => options(sub),
            Some(sub) => values(table, sub, arguments, names),
            None => Vec::new(),
        },
    }
}

/// The options that a command shows.
pub fn options(sub: &Command) -> Vec<String> {
    let visible = sub.get_arguments().filter(|argument| !argument.is_hide_set());
    visible.filter_map(|argument| argument.get_long().map(|long| format!("--{long}"))).collect()
}

fn values(table: &Command, sub: &Command, before: &[&str], names: impl FnOnce(Names) -> Vec<String>) -> Vec<String> {
    let takes_value = |word: &str| {
        sub.get_opts().any(|option| {
            let long = option.get_long().is_some_and(|long| word == format!("--{long}"));
            let short = option.get_short().is_some_and(|short| word == format!("-{short}"));
            option.get_action().takes_values() && (long || short)
        })
    };
    if before.last().is_some_and(|word| takes_value(word)) {
        return Vec::new();
    }
    let mut positional = 0;
    let mut value_of_option = false;
    for word in before {
        if std::mem::take(&mut value_of_option) {
            continue;
        }
        value_of_option = takes_value(word);
        positional += usize::from(!word.starts_with('-'));
    }
    // The last place takes whatever follows where it takes several.
    let several = |place: &&Arg| place.get_num_args().is_some_and(|count| count.max_values() > 1);
    let place = sub.get_positionals().nth(positional).or_else(|| sub.get_positionals().find(several));
    match place.map(|place| place.get_id().as_str()) {
        Some("selectors") if sub.get_name() == "tail" && positional > 0 => {
            let outputs = command::OUTPUTS.iter().map(|(word, _)| (*word).to_owned());
            outputs.chain(names(Names::Selectors)).collect()
        }
        Some("selectors" | "selector" | "process") => names(Names::Selectors),
        Some("programs") => names(Names::Programs),
        Some("available") => names(Names::Available),
        Some("alert_channel") => names(Names::Channels),
        Some("messages") => names(Names::Messages),
        Some("silence") => names(Names::Silences),
        Some("signal") => Signal::names().map(str::to_owned).collect(),
        Some("command") => usage::names(table),
        _ => Vec::new(),
    }
}

/// The names that select something: processes, programs, groups, and all of them.
pub fn selectors(processes: &[Process]) -> Vec<String> {
    let mut names = BTreeSet::from(["all".to_owned()]);
    for process in processes {
        names.insert(process.process.clone());
        names.insert(process.program.to_string());
        names.extend(process.group_name.clone());
    }
    typeable(names)
}

/// A name that a shell would split, or a terminal act on, has to be typed by hand.
pub fn typeable(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let is_plain = |name: &String| escaped(name) == *name && shell_words::quote(name) == *name;
    names.into_iter().filter(is_plain).collect()
}

/// What the line editor asks.
pub struct ShellHelper {
    table: Command,
    names: Box<dyn Fn(Names) -> Vec<String>>,
    /// Off while a question is asked.
    pub enabled: bool,
    hints: bool,
}

impl ShellHelper {
    pub fn new(names: Box<dyn Fn(Names) -> Vec<String>>, hints: bool) -> Self {
        Self { table: command::shell_command(), names, enabled: true, hints }
    }
}

impl Completer for ShellHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        if !self.enabled {
            return Ok((position, Vec::new()));
        }
        let line = line.get(..position).unwrap_or(line);
        let command_start = line.rfind(';').map_or(0, |at| at + 1);
        let part = &line[command_start..];
        let word_start =
            part.rfind(char::is_whitespace).map_or(0, |at| at + part[at..].chars().next().map_or(1, char::len_utf8));
        let before: Vec<&str> = part[..word_start].split_whitespace().collect();
        let word = &part[word_start..];
        let found = candidates(&self.table, &before, word, |kind| (self.names)(kind));
        let pair = |name: String| Pair { replacement: format!("{name} "), display: name };
        Ok((command_start + word_start, found.into_iter().map(pair).collect()))
    }
}

/// What could come next, faint behind the cursor.
#[derive(PartialEq, Debug)]
pub enum ShellHint {
    /// The rest of an earlier line: the right arrow takes it.
    Earlier(String),
    /// What the command wants to be told.
    Usage(String),
}

impl Hint for ShellHint {
    fn display(&self) -> &str {
        match self {
            Self::Earlier(text) | Self::Usage(text) => text,
        }
    }

    fn completion(&self) -> Option<&str> {
        match self {
            Self::Earlier(text) => Some(text),
            Self::Usage(_) => None,
        }
    }
}

impl ShellHelper {
    /// The places of a command that was just typed: `SEL…` behind `stop `.
    fn usage_of(&self, line: &str) -> Option<String> {
        let command = line.rsplit(';').next()?.trim_start();
        let name = command.strip_suffix(' ').filter(|name| !name.is_empty() && !name.contains(' '))?;
        let found = self.table.find_subcommand(name)?;
        let places: Vec<String> = if found.has_subcommands() {
            vec![usage::names(found).join("|")]
        } else {
            found.get_positionals().map(place).collect()
        };
        (!places.is_empty()).then(|| places.join(" "))
    }
}

/// `SEL`, `[SEL…]`.
fn place(place: &Arg) -> String {
    let names = place.get_value_names().unwrap_or_default().iter().map(|name| name.as_str());
    let mut name = names.collect::<Vec<_>>().join(" ");
    if place.get_num_args().is_some_and(|count| count.max_values() > 1) {
        name.push('…');
    }
    if place.is_required_set() { name } else { format!("[{name}]") }
}

impl Hinter for ShellHelper {
    type Hint = ShellHint;

    fn hint(&self, line: &str, position: usize, context: &Context<'_>) -> Option<ShellHint> {
        // Without colour a hint could not be told from what was typed.
        if !self.enabled || !self.hints || position < line.len() || line.trim().is_empty() {
            return None;
        }
        // What a terminal would act on was never typed here, but the file could have been changed.
        let earlier = HistoryHinter::new().hint(line, position, context).filter(|text| escaped(text) == *text);
        earlier.map(ShellHint::Earlier).or_else(|| self.usage_of(line).map(ShellHint::Usage))
    }
}

impl Highlighter for ShellHelper {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(Paint::Faint.on(hint))
    }
}
impl Validator for ShellHelper {}
impl Helper for ShellHelper {}

#[cfg(test)]
mod tests {
    use rustyline::history::MemHistory;

    use super::*;
    use crate::ctl::show::tests::process;
    use crate::model::state::State;

    fn complete(line: &str) -> (usize, Vec<String>) {
        let helper = ShellHelper::new(
            Box::new(|kind| {
                if kind != Names::Selectors {
                    return typeable([format!("{kind:?}"), "a b".to_owned()]);
                }
                let mut two = process("web:1", State::Running);
                two.group_name = Some("front end".to_owned());
                selectors(&[process("web:0", State::Running), two, process("db", State::Running)])
            }),
            true,
        );
        let history = MemHistory::new();
        let (start, pairs) = helper.complete(line, line.len(), &Context::new(&history)).expect("completes");
        (start, pairs.into_iter().map(|pair| pair.display).collect())
    }

    fn names(line: &str) -> Vec<String> {
        complete(line).1
    }

    #[test]
    fn the_first_word_is_a_command() {
        assert_eq!(names("st"), ["status", "start", "stop"]);
        assert_eq!(names("q"), ["quit"]);
        assert_eq!(complete("stop web; sta"), (10, vec!["status".to_owned(), "start".to_owned()]));
        assert!(names("frob x").is_empty());
    }

    #[test]
    fn names_of_processes_programs_and_groups_follow() {
        assert_eq!(names("stop "), ["all", "db", "web", "web:0", "web:1"]);
        assert_eq!((names("sec"), names("security d")), (vec!["security".to_owned()], vec!["db".to_owned()]));
        assert_eq!(names("stop db we"), ["web", "web:0", "web:1"]);
        assert_eq!(complete("tail -n 5 d"), (10, vec!["db".to_owned()]));
        assert_eq!((names("attach d"), names("fg d")), (vec!["db".to_owned()], vec!["db".to_owned()]));
        assert!(names("tail -n ").is_empty());
        assert!(names("version ").is_empty());
    }

    #[test]
    fn commands_of_commands_and_names_of_alerts_stand_where_they_belong() {
        assert_eq!(names("notify s"), ["silence", "silences"]);
        assert_eq!(names("notify silence d"), ["db"]);
        assert_eq!(names("notify test "), ["Channels"]);
        assert_eq!(names("notify retry 1 "), ["Messages"]);
        assert_eq!(names("notify unsilence "), ["Silences"]);
        assert!(names("notify silence db ").is_empty() && names("notify frob ").is_empty());
        assert_eq!(names("notify --j"), ["--json"]);
    }

    #[test]
    fn options_signals_channels_and_commands_stand_where_they_belong() {
        assert_eq!(names("stop --n"), ["--no-wait"]);
        assert_eq!(names("restart --r"), ["--rolling"]);
        assert_eq!((names("--js"), names("--json stat")), (vec!["--json".to_owned()], vec!["status".to_owned()]));
        assert!(names("notify silence --").contains(&"--json".to_owned()) && names("start --timeout ").is_empty());
        assert!(names("status --").contains(&"--json".to_owned()));
        assert_eq!(names("signal US"), ["USR1", "USR2"]);
        assert_eq!(names("signal USR1 d"), ["db"]);
        assert_eq!(names("tail db std"), ["stdout", "stderr"]);
        assert_eq!(names("help sh"), ["shutdown"]);
    }

    #[test]
    fn a_hint_is_the_rest_of_an_earlier_line_or_what_the_command_wants() {
        let mut history = MemHistory::new();
        rustyline::history::History::add(&mut history, "restart web").expect("adds");
        let hint = |line: &str, hints| {
            let helper = ShellHelper::new(Box::new(|_| Vec::new()), hints);
            helper.hint(line, line.len(), &Context::new(&history))
        };
        assert_eq!(hint("rest", true), Some(ShellHint::Earlier("art web".to_owned())));
        assert_eq!(hint("stop ", true), Some(ShellHint::Usage("SEL…".to_owned())));
        assert_eq!(hint("pid; signal ", true), Some(ShellHint::Usage("SIG SEL…".to_owned())));
        assert_eq!(hint("status ", true), Some(ShellHint::Usage("[SEL…]".to_owned())));
        for (line, hints) in [("rest", false), ("stop web", true), ("", true), ("version ", true), ("frob ", true)] {
            assert_eq!(hint(line, hints), None, "{line}");
        }
        assert_eq!(ShellHint::Usage("SEL".to_owned()).completion(), None);
    }
}
