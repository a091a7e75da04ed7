//! The commands: one table, from which come the parsing of the command line and of a line in the shell, the
//! help text and the completion.
//!
//! A usage error is one line that names what is wrong and the nearest right thing.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::examples;
use super::fault::ParseFault;
use super::keys::{self, DetachKeys};
use super::usage::{fault, nearest, one_space, unknown_command, with_suggestion};
use crate::model::signal::Signal;
use crate::model::text::escaped;
use crate::model::time::{WallTime, written_duration};
use crate::protocol::alerting::SILENCE_MAX;
use crate::protocol::control::{Channels, TAIL_LINES_MAX};

/// Controls a running Taskmaster supervisor. Without a command: a shell.
#[derive(Parser, Debug, Clone, PartialEq)]
#[command(name = "taskmasterctl", version, disable_help_subcommand = true)]
#[command(after_help = "SEL names processes: web, web:3, web:*, a group name, a glob, all.\n\
Exit codes: 0 done, 1 failed, 2 usage, 3 something is not running (status), 4 no such program,\n\
5 not permitted, 6 cannot reach the supervisor.")]
pub struct CommandLine {
    /// The supervisor's socket [default: $TASKMASTER_SOCKET, else the usual place]
    #[arg(short, long, value_name = "SOCKET")]
    pub socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// The core starts its own shell with this: descriptors 3 and 4 are the dialer and the history.
    #[arg(long, hide = true, conflicts_with = "socket")]
    pub on_terminal: bool,
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// One command in the shell.
#[derive(Parser, Debug, Clone, PartialEq)]
#[command(name = "", no_binary_name = true, disable_help_subcommand = true)]
#[command(about = "The commands of the shell")]
#[command(override_usage = "COMMAND [;COMMAND …]")]
pub struct ShellLine {
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub action: ShellAction,
}

#[derive(Subcommand, Debug, Clone, PartialEq)]
pub enum ShellAction {
    #[command(flatten)]
    Action(Action),
    /// Leave the shell
    #[command(visible_alias = "quit")]
    Exit,
}

#[derive(Subcommand, Debug, Clone, PartialEq)]
pub enum Action {
    /// Show every process, or those named; one that is named alone in detail, on a terminal
    Status {
        /// All about each process: what it runs, its files and limits, its last events and lines
        #[arg(long)]
        detail: bool,
        /// A live screen that follows what happens; q leaves it
        #[arg(long, conflicts_with_all = ["detail", "json"])]
        watch: bool,
        /// Processes: web, web:3, web:*, a group name, a glob, all
        #[arg(value_name = "SEL")]
        selectors: Vec<String>,
    },
    /// Show what each program runs with, and what of the boundary around it is missing
    Security {
        /// Processes: web, web:3, web:*, a group name, a glob, all; with none, a line for each program
        #[arg(value_name = "SEL")]
        selectors: Vec<String>,
    },
    /// Start processes and wait until they run
    Start(Change),
    /// Stop processes and wait until they are gone
    Stop(Change),
    /// Stop processes and start them again
    Restart(Restart),
    /// Send a signal to the main process of each
    Signal {
        /// A name or a number: HUP, SIGUSR1, 15, RTMIN+1
        #[arg(value_name = "SIG", value_parser = parse_signal)]
        signal: String,
        /// Processes: web, web:3, web:*, a group name, a glob, all
        #[arg(value_name = "SEL", required = true)]
        selectors: Vec<String>,
    },
    /// Read the configuration again and apply what has changed
    Reload {
        /// Only say what would happen
        #[arg(long)]
        dry_run: bool,
    },
    /// Say what `reload` would do, as supervisorctl does
    Reread,
    /// Apply what has changed in the files, of all programs or of these, and wait until what it stops has stopped
    Update {
        /// Programs in the files or in force: web, a group name, a glob, all [default: all]
        #[arg(value_name = "PROGRAM")]
        programs: Vec<String>,
    },
    /// Take programs from the files that are not in force
    Add {
        /// Programs in the files: web, a group name, a glob
        #[arg(value_name = "PROGRAM", required = true)]
        available: Vec<String>,
    },
    /// Take stopped programs out of force, until `add`, `update` or `reload`
    Remove {
        /// Programs in force: web, a group name, a glob
        #[arg(value_name = "PROGRAM", required = true)]
        programs: Vec<String>,
    },
    /// Show the programs in the files, and which of them are in force
    Avail,
    /// Show the end of what processes wrote; of several, each line with its name
    Tail(Tail),
    /// See a running process on this terminal, control characters and all, and type to it; ctrl-] d leaves it running
    ///
    /// What the program writes reaches this terminal as it is, control characters too. One user types, the others
    /// look on, unless all use --share. ctrl-] ctrl-] sends one ctrl-]. Of a program without `tty` both outputs are
    /// shown; lines go to it if it has `stdin = "attach"`; Ctrl-C and Ctrl-D leave, too.
    #[command(visible_alias = "fg")]
    Attach(Attach),
    /// Empty the log files of processes, and forget what `tail` shows; rotated files stay
    Clear {
        /// Only standard output
        #[arg(long, conflicts_with = "stderr")]
        stdout: bool,
        /// Only standard error
        #[arg(long)]
        stderr: bool,
        /// Processes: web, web:3, web:*, a group name, a glob, all
        #[arg(value_name = "SEL", required = true)]
        selectors: Vec<String>,
    },
    /// Show the process numbers of programs, or the supervisor's
    Pid {
        /// Processes: web, web:3, web:*, a group name, a glob, all
        #[arg(value_name = "SEL")]
        selectors: Vec<String>,
    },
    /// Show what is in force, where it comes from, and what the files on disk say instead
    Config {
        /// Programs, all of whose settings are shown: web, a group name, a glob, all [default: of all
        /// what is not built in]
        #[arg(value_name = "PROGRAM")]
        selectors: Vec<String>,
    },
    /// Check a configuration as the supervisor would, without one
    Check {
        /// The file that the configuration begins with
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Translate a supervisord.conf, or the YAML of a `programs:` map, into a configuration on standard output
    Import {
        /// The file; what it includes is read with it
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Show the last events
    Events {
        /// Go on with new ones
        #[arg(short, long)]
        follow: bool,
        /// From this time on, if it is still in memory: 10m (ago), 08:12, 2026-11-20T08:12:03Z
        #[arg(long, value_name = "TIME", value_parser = parse_since)]
        since: Option<Since>,
        /// Only about these processes: web, web:3, web:*, a group name, a glob, all
        #[arg(value_name = "SEL")]
        selectors: Vec<String>,
    },
    /// Try the alert channels, see what waits, keep alerts back
    #[command(disable_help_subcommand = true)]
    Notify {
        #[command(subcommand)]
        action: NotifyAction,
    },
    /// Open all log files anew
    Reopen,
    /// Show the supervisor's version
    Version,
    /// Show the commands, or explain one
    Help {
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
    /// Stop all programs, then the supervisor
    Shutdown,
}

/// What is done with alerts.
#[derive(Subcommand, Debug, Clone, PartialEq)]
pub enum NotifyAction {
    /// Send a test message, and show what is said with the server
    Test {
        /// One channel: email, syslog, webhooks.NAME [default: all]
        #[arg(value_name = "CHANNEL")]
        alert_channel: Option<String>,
    },
    /// Show the channels, what waits and what was given up
    Queue,
    /// Send now what waits, and again what was given up
    Retry {
        /// Messages, as `notify queue` shows them [default: all]
        #[arg(value_name = "ID")]
        messages: Vec<String>,
    },
    /// Throw messages away
    Drop {
        /// Messages, as `notify queue` shows them [default: all that were given up]
        #[arg(value_name = "ID")]
        messages: Vec<String>,
    },
    /// Send no alerts about programs for some time
    Silence {
        /// Processes: web, web:3, web:*, a group name, a glob, all
        #[arg(value_name = "SEL")]
        selector: String,
        /// 90 (seconds), 30m, 2h, 1d
        #[arg(value_name = "DURATION", value_parser = parse_silence)]
        duration: Duration,
        /// For whoever wonders
        #[arg(value_name = "REASON")]
        reason: Vec<String>,
    },
    /// End a silence
    Unsilence {
        /// What was silenced, or an ID of `notify silences`
        #[arg(value_name = "SEL|ID")]
        silence: String,
    },
    /// Show what is silenced
    Silences,
}

#[derive(clap::Args, Debug, Clone, PartialEq)]
pub struct Attach {
    /// Only look: nothing that is typed reaches the program
    #[arg(long, conflicts_with = "share")]
    pub read_only: bool,
    /// Type together with all others that use --share
    #[arg(long)]
    pub share: bool,
    /// Keys that leave: characters and ctrl-CHARACTER, with commas between
    #[arg(long, value_name = "KEYS", default_value = keys::USUAL, value_parser = DetachKeys::parse)]
    pub detach_keys: DetachKeys,
    /// One process: web, web:3
    #[arg(value_name = "PROC")]
    pub process: String,
}

#[derive(clap::Args, Debug, Clone, PartialEq)]
pub struct Restart {
    /// One process after the other, each running before the next; the first that fails ends it
    #[arg(long, conflicts_with = "no_wait")]
    pub rolling: bool,
    #[command(flatten)]
    pub change: Change,
}

#[derive(clap::Args, Debug, Clone, PartialEq)]
pub struct Change {
    /// Give the order and do not wait for the result
    #[arg(long)]
    pub no_wait: bool,
    /// Wait at most this long, in all: 90 (seconds), 500ms, 2m; the order stands
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout, conflicts_with = "no_wait")]
    pub timeout: Option<Duration>,
    /// Processes: web, web:3, web:*, a group name, a glob, all
    #[arg(value_name = "SEL", required = true)]
    pub selectors: Vec<String>,
}

impl Action {
    /// Whether what it asks for goes on when nobody waits for it any more.
    pub fn gives_orders(&self) -> bool {
        matches!(self, Self::Start(_) | Self::Stop(_) | Self::Restart(_) | Self::Update { .. })
    }
}

#[derive(clap::Args, Debug, Clone, PartialEq)]
pub struct Tail {
    /// Go on with what they write
    #[arg(short, long)]
    pub follow: bool,
    /// How many lines of each
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=i64::from(TAIL_LINES_MAX)))]
    pub lines: u32,
    /// Show control characters as they are: they act on this terminal
    #[arg(long)]
    pub raw: bool,
    /// Processes, and at last which of their outputs: stdout, stderr or both [default: stdout]
    #[arg(value_name = "SEL", required = true)]
    pub selectors: Vec<String>,
}

impl Tail {
    /// Whose output it is, and which: a last word that names an output is one, unless it is alone.
    pub fn of(&self) -> (&[String], Channels) {
        match self.selectors.as_slice() {
            [rest @ .., last] if !rest.is_empty() => match OUTPUTS.iter().find(|(word, _)| word == last) {
                Some((_, channels)) => (rest, *channels),
                None => (&self.selectors, Channels::Stdout),
            },
            all => (all, Channels::Stdout),
        }
    }
}

/// The words for outputs.
pub const OUTPUTS: [(&str, Channels); 3] =
    [("stdout", Channels::Stdout), ("stderr", Channels::Stderr), ("both", Channels::Both)];

fn parse_signal(text: &str) -> Result<String, String> {
    if Signal::parse(text).is_some() {
        return Ok(text.to_owned());
    }
    let bare = text.to_ascii_uppercase();
    let bare = bare.strip_prefix("SIG").unwrap_or(&bare);
    Err(with_suggestion(format!("`{}` is not a signal", escaped(text)), nearest(bare, Signal::names())))
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Since {
    /// Before now.
    Ago(Duration),
    At(WallTime),
    /// Where the user is.
    Local(jiff::civil::DateTime),
    /// Today, where the user is.
    Today(jiff::civil::Time),
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(ago) = written_duration(text) {
        return Ok(Since::Ago(ago));
    }
    let at = text.parse().map(Since::At).ok();
    let local = || text.parse().map(Since::Local).ok();
    let day = || text.parse().map(|day: jiff::civil::Date| Since::Local(day.into())).ok();
    let today = || text.parse().map(Since::Today).ok();
    at.or_else(day).or_else(local).or_else(today).ok_or_else(|| {
        let shown = escaped(text);
        format!("`{shown}` is no time; write 10m (ago), 08:12, \"2026-11-20 08:12\" or 2026-11-20T08:12:03Z")
    })
}

/// The longest that a wait can be limited to; without a limit it has none.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 86_400);

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let shown = escaped(text);
    match written_duration(text) {
        Err(_) => Err(format!("`{shown}` is not a duration; write 90 (seconds), 500ms, 2m")),
        Ok(Duration::ZERO) => Err(format!("`{shown}` is no time at all; `--no-wait` does not wait")),
        Ok(long) if long > TIMEOUT_MAX => Err(format!("`{shown}` is too long: a wait lasts at most a year")),
        Ok(duration) => Ok(duration),
    }
}

fn parse_silence(text: &str) -> Result<Duration, String> {
    let shown = escaped(text);
    match written_duration(text) {
        Err(_) => Err(format!("`{shown}` is not a duration; write 90 (seconds), 30m, 2h, 1d")),
        Ok(Duration::ZERO) => Err(format!("`{shown}` is no time at all; `notify unsilence` ends a silence")),
        Ok(long) if long.as_secs() > SILENCE_MAX => {
            Err(format!("`{shown}` is too long: a silence lasts at most {} days", SILENCE_MAX / 86_400))
        }
        Ok(duration) => Ok(duration),
    }
}

/// Reads the command line, without the program's own name.
pub fn parse_command_line(words: &[OsString]) -> Result<CommandLine, ParseFault> {
    let words = split_signal(words);
    let name = OsString::from("taskmasterctl");
    let matches = command_line().try_get_matches_from(std::iter::once(name).chain(words));
    matches.and_then(|matches| CommandLine::from_arg_matches(&matches)).map_err(|error| fault(&error, &command_line()))
}

/// `signal USR1` as a single word is what Ansible's module passes.
fn split_signal(words: &[OsString]) -> Vec<OsString> {
    let mut out = Vec::with_capacity(words.len() + 1);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy();
        if text == "-s" || text == "--socket" {
            out.push(word.clone());
            out.extend(rest.next().cloned());
        } else if text.starts_with('-') {
            out.push(word.clone());
        } else {
            match text.strip_prefix("signal ") {
                Some(signal) => out.extend(["signal".into(), signal.trim().into()]),
                None => out.push(word.clone()),
            }
            break;
        }
    }
    out.extend(rest.cloned());
    out
}

/// Reads one command of the shell.
pub fn parse_shell(words: &[String]) -> Result<ShellLine, ParseFault> {
    let matches = shell_command().try_get_matches_from(words);
    matches.and_then(|matches| ShellLine::from_arg_matches(&matches)).map_err(|error| fault(&error, &shell_command()))
}

/// Splits a line of the shell into commands at `;` and each into words, as a shell does. Empty commands
/// are left out.
pub fn split_line(line: &str) -> Result<Vec<Vec<String>>, ParseFault> {
    let mut commands = vec![String::new()];
    let (mut quote, mut backslash) = (None, false);
    for c in line.chars() {
        match c {
            ';' if quote.is_none() && !backslash => {
                commands.push(String::new());
                continue;
            }
            '\'' | '"' if !backslash && quote.is_none_or(|open| open == c) => {
                quote = if quote.is_some() { None } else { Some(c) };
            }
            _ => {}
        }
        backslash = c == '\\' && !backslash && quote != Some('\'');
        if let Some(last) = commands.last_mut() {
            last.push(c);
        }
    }
    let mut split = Vec::new();
    for command in commands {
        let words =
            shell_words::split(&command).map_err(|_| ParseFault::Usage("a quotation mark is not closed".to_owned()))?;
        if !words.is_empty() {
            split.push(words);
        }
    }
    Ok(split)
}

/// The table as clap sees it, of the command line.
pub fn command_line() -> clap::Command {
    let mut command = examples::add_to(CommandLine::command());
    command.build();
    command
}

/// The table as clap sees it, of the shell.
pub fn shell_command() -> clap::Command {
    let mut command = examples::add_to(ShellLine::command());
    command.build();
    command
}

/// The text of `help` and `help COMMAND`.
pub fn help(mut table: clap::Command, command: Option<&str>) -> Result<String, ParseFault> {
    match command {
        None => Ok(one_space(&table.render_help().to_string())),
        Some(name) => match table.find_subcommand_mut(name) {
            Some(sub) => Ok(one_space(&sub.render_help().to_string())),
            None => Err(unknown_command(name, &table)),
        },
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
