//! `taskmasterctl`: the commands, one at a time or in a shell. It holds no privilege and decides nothing:
//! it asks the supervisor and shows the answers.
//!
//! `command` is the table of commands with its `examples`, `usage` what is said of words that are none; `connect` and
//! `client` carry a call, `session` has both; `run` carries out one command with `order` (what is waited for), `reload`, `live` (`status --watch`, drawn
//! by `frame`), `attach` (with its `window` and `keys`) and `detail`, and `show`, `security`, `results`, `stream`, `notify`, `config`, `check` and `grid` for what is
//! printed; `shell`, `complete`, `history` and `watch` are the shell; `suggest` is for the completions of other shells;
//! `zone` is the time of day where the user is; `import` translates other supervisors' configurations.
#![forbid(unsafe_code)]

mod attach;
mod check;
mod client;
pub mod command;
mod complete;
mod config;
mod connect;
mod detail;
mod examples;
mod fault;
mod frame;
mod grid;
mod history;
mod import;
mod keys;
mod live;
mod notify;
mod order;
mod reload;
mod results;
mod run;
mod screen;
mod security;
mod session;
mod shell;
mod show;
mod stream;
mod suggest;
mod usage;
mod watch;
mod window;
mod zone;

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use command::{CommandLine, ShellAction};
use connect::{Connector, Surroundings};
use fault::Failure;
use screen::Screen;
use session::Session;

use crate::system::terminal::Interrupts;

/// The program: returns its exit code.
pub fn taskmasterctl() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut screen = Screen::standard();
    if words.first().is_some_and(|word| word == suggest::VERB) {
        let words: Vec<String> = words[1..].iter().map(|word| word.to_string_lossy().into_owned()).collect();
        return ExitCode::from(suggest::run(&words, &mut screen));
    }
    let code = match command::parse_command_line(&words) {
        Ok(line) => start(line, &mut screen),
        Err(fault) => screen.fault(&fault),
    };
    ExitCode::from(code)
}

fn start(line: CommandLine, screen: &mut Screen) -> u8 {
    if line.on_terminal {
        return shell::on_terminal(screen);
    }
    let connector = Connector::Socket(Surroundings::here().socket(line.socket));
    let interactive = std::io::stdin().is_terminal() && screen.terminal;
    match line.action {
        Some(action) => {
            // Where something goes on when the command is left, Ctrl-C says so; elsewhere it just ends it.
            let interrupts = if action.gives_orders() { Interrupts::catch().ok() } else { None };
            let interrupts = interrupts.as_ref();
            let session = Session { connector: &connector, interrupts, json: line.json, in_shell: false };
            finish(session.run(&action, screen), screen)
        }
        None if interactive => shell::interactive(connector, line.json, screen),
        None => from_input(&connector, line.json, screen),
    }
}

/// The exit code of a command, with the reason told where it failed.
fn finish(result: Result<u8, Failure>, screen: &mut Screen) -> u8 {
    match result {
        Ok(code) => code,
        Err(failure) => screen.failure(&failure),
    }
}

/// Reads commands line by line from an input that is no terminal. One that fails does not hold up the
/// next; the exit code is the last failure's.
fn from_input(connector: &Connector, json: bool, screen: &mut Screen) -> u8 {
    let mut input = std::io::stdin().lock();
    let mut last_failure = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return last_failure,
            Ok(_) => {}
        }
        match one_line(&String::from_utf8_lossy(&line), connector, json, screen) {
            Some(0) => {}
            Some(code) => last_failure = code,
            None => return last_failure,
        }
        if screen.is_closed() {
            return last_failure;
        }
    }
}

/// One line of an input; `None` is `exit`.
fn one_line(line: &str, connector: &Connector, json: bool, screen: &mut Screen) -> Option<u8> {
    let commands = match command::split_line(line) {
        Ok(commands) => commands,
        Err(fault) => return Some(screen.fault(&fault)),
    };
    let mut last_failure = 0;
    for words in commands {
        let code = match command::parse_shell(&words) {
            Ok(command::ShellLine { action: ShellAction::Exit, .. }) => return None,
            Ok(command::ShellLine { action: ShellAction::Action(action), json: here }) => {
                let session = Session { connector, interrupts: None, json: json || here, in_shell: true };
                finish(session.run(&action, screen), screen)
            }
            Err(fault) => screen.fault(&fault),
        };
        if code != 0 {
            last_failure = code;
        }
    }
    Some(last_failure)
}
