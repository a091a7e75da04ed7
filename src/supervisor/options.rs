//! The command line of `taskmasterd`.

use std::ffi::OsString;
use std::path::PathBuf;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    Run { config: Option<PathBuf>, shell: bool },
    Demo { shell: bool },
    Check { config: Option<PathBuf> },
    Help,
    Version,
}

pub const HELP: &str = "\
Runs and supervises programs, each as its own user.

Usage: taskmasterd [-c FILE] [--no-shell]     run in the foreground
       taskmasterd --demo [--no-shell]        run a built-in demonstration that needs nothing
       taskmasterd check [-c FILE]            check the configuration, start nothing

  -c, --config FILE   the configuration (as root /etc/taskmaster/taskmaster.toml; for an ordinary
                      user ~/.config/taskmaster/taskmaster.toml comes first)
      --no-shell      no control shell, also on a terminal
      --demo          everything it writes goes under one temporary directory
  -h, --help          this text
  -V, --version       the version

Signals: TERM, INT, QUIT stop everything in order, a second one kills what is left; HUP reloads the
configuration; USR1 reopens the logs. `taskmasterctl` controls it from elsewhere.
";

/// Reads the command line.
///
/// # Errors
/// One line that names what is wrong.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    use lexopt::prelude::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut config, mut shell, mut demo, mut check) = (None, true, false, false);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('c') | Long("config") => {
                config = Some(PathBuf::from(parser.value().map_err(|error| error.to_string())?));
            }
            Long("no-shell") => shell = false,
            Long("demo") => demo = true,
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Value(word) if word == "check" && !check => check = true,
            Value(word) if check && config.is_none() => config = Some(PathBuf::from(word)),
            Value(word) => return Err(unknown_word(&word.to_string_lossy())),
            Long(name) => {
                return Err(unknown(
                    &format!("--{name}"),
                    &["--config", "--no-shell", "--demo", "--help", "--version"],
                ));
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    match (demo, check) {
        (true, true) => Err("--demo and `check` do not go together".to_owned()),
        (true, false) if config.is_some() => Err("--demo has its own configuration: leave -c out".to_owned()),
        (true, false) => Ok(Command::Demo { shell }),
        (false, true) => Ok(Command::Check { config }),
        (false, false) => Ok(Command::Run { config, shell }),
    }
}

/// What people type here that belongs elsewhere: a file, or a command for a supervisor that runs.
fn unknown_word(word: &str) -> String {
    let shown = crate::model::text::escaped(word);
    if word.contains(['/', '.']) {
        return format!("unknown {shown}: a configuration is named by -c {shown}");
    }
    if similarity(word, "check") >= 60 {
        return unknown(word, &["check"]);
    }
    format!("unknown {shown}: what runs is commanded by `taskmasterctl {shown}`; see also taskmasterd --help")
}

fn unknown(word: &str, known: &[&str]) -> String {
    let shown = crate::model::text::escaped(word).into_owned();
    let near = known.iter().max_by_key(|name| similarity(word, name)).filter(|name| similarity(word, name) >= 60);
    match near {
        Some(name) => format!("unknown {shown}: did you mean {name}?"),
        None => format!("unknown {shown}: see taskmasterd --help"),
    }
}

/// In hundredths.
fn similarity(a: &str, b: &str) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
    let hundredths = (strsim::normalized_damerau_levenshtein(a, b) * 100.0) as u32;
    hundredths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn every_form_of_the_command_line_is_understood() {
        let config = Some(PathBuf::from("x.toml"));
        assert_eq!(parsed(""), Ok(Command::Run { config: None, shell: true }));
        assert_eq!(parsed("-c x.toml --no-shell"), Ok(Command::Run { config: config.clone(), shell: false }));
        assert_eq!(parsed("--config=x.toml"), Ok(Command::Run { config: config.clone(), shell: true }));
        assert_eq!(parsed("check -c x.toml"), Ok(Command::Check { config: config.clone() }));
        assert_eq!(parsed("check x.toml"), Ok(Command::Check { config }));
        assert_eq!(parsed("--demo"), Ok(Command::Demo { shell: true }));
        assert_eq!(parsed("--demo -h"), Ok(Command::Help));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_nearest_right_word() {
        assert_eq!(parsed("--no-shel"), Err("unknown --no-shel: did you mean --no-shell?".to_owned()));
        assert_eq!(parsed("chek"), Err("unknown chek: did you mean check?".to_owned()));
        assert_eq!(parsed("a.toml"), Err("unknown a.toml: a configuration is named by -c a.toml".to_owned()));
        assert!(parsed("reload").is_err_and(|words| words.contains("`taskmasterctl reload`")));
        assert!(parsed("-c").is_err());
        assert!(parsed("--demo -c x").is_err());
        assert!(parsed("-x").is_err());
    }
}
