//! The shell: reads a line, carries out its commands, and again. The same for a user anywhere and on the
//! supervisor's own terminal, where leaving it is a decision about the programs.
//!
//! There the core waits for this process: its exit code 0 after the answer "go on" means that the programs
//! go on without a shell, and after `shutdown` that the order was given. Losing the terminal is "go on".
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use rustyline::error::ReadlineError;
use rustyline::history::{History as _, MemHistory};
use rustyline::{ColorMode, CompletionType, Config, Editor, ExternalPrinter};

use super::client::{Client, ClientError};
use super::command::{self, Action, ShellAction, ShellLine};
use super::complete::{Names, ShellHelper, selectors, typeable};
use super::connect::Connector;
use super::fault::Failure;
use super::finish;
use super::history::{History, LINES_MAX};
use super::screen::{CLEAR_LINE, Drawn, Screen};
use super::session::Session;
use super::watch::Watch;
use super::{config, zone};
use crate::model::event::Severity;
use crate::model::state::State;
use crate::protocol::alerting::{NotifyQueueReply, SilencesReply};
use crate::protocol::control::{
    EventsCall, EventsReply, Method, NoParameters, OnDisk, Process, Refusal, StatusCall, StatusReply,
};
use crate::system::stdio;
use crate::system::terminal::{self, Interrupts, Wake};
use crate::worker::confine::{Allowance, SHELL, confine, start_no_more_threads};

/// The descriptors that the core hands to the shell on its terminal.
const DIALER: i32 = 3;
const HISTORY: i32 = 4;
/// What the shell on the supervisor's terminal keeps: a connection or two for each command, and a history
/// that is cut when it is much shorter than this.
const DESCRIPTORS: u64 = 64;
const FILE_BYTES: u64 = 16 << 20;
/// How long the shell waits for the last events of the shutdown to be printed. The core waits longer.
const LAST_EVENTS: Duration = Duration::from_millis(500);
/// How long a prompt or a completion waits for the supervisor.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Anywhere,
    SupervisorsTerminal,
}

/// The shell of a user, with the supervisor's socket.
pub fn interactive(connector: Connector, json: bool, screen: &mut Screen) -> u8 {
    open(connector, Place::Anywhere, History::of_user(), json, screen)
}

/// The shell that the core starts on its own terminal.
pub fn on_terminal(screen: &mut Screen) -> u8 {
    // Read now: there is no file system from here on.
    let _ = zone::local();
    let allowance = Allowance {
        descriptors: DESCRIPTORS,
        file_bytes: Some(FILE_BYTES),
        starts_threads: true,
        uses_network: false,
        calls: &SHELL,
    };
    if let Err(error) = confine(allowance) {
        screen.complain(&format!("taskmasterctl: {error}"));
        return 1;
    }
    let dialer = match stdio::inherited(DIALER) {
        Ok(dialer) => dialer,
        Err(error) => {
            screen.complain(&format!("taskmasterctl: --on-terminal is for the supervisor only: {error}"));
            return 2;
        }
    };
    let history = History::of_file(stdio::inherited(HISTORY).ok().map(Into::into));
    open(Connector::Dialer(dialer), Place::SupervisorsTerminal, history, false, screen)
}

fn open(connector: Connector, place: Place, history: History, json: bool, screen: &mut Screen) -> u8 {
    let failed = |screen: &mut Screen, error: &dyn std::fmt::Display| {
        screen.complain(&format!("taskmasterctl: cannot open the shell: {error}"));
        1
    };
    let interrupts = match Interrupts::catch() {
        Ok(interrupts) => interrupts,
        Err(error) => return failed(screen, &error),
    };
    match Shell::new(Arc::new(connector), place, interrupts, history, json, screen.colour) {
        Ok(mut shell) => shell.run(screen),
        Err(error) => failed(screen, &error),
    }
}

struct Shell {
    connector: Arc<Connector>,
    place: Place,
    interrupts: Interrupts,
    editor: Editor<ShellHelper, MemHistory>,
    history: History,
    json: bool,
    /// The supervisor has gone without a word.
    gone: Arc<AtomicBool>,
    /// Hears when the watch has printed all events of a connection.
    watched: Option<Receiver<()>>,
}

/// Whether the shell goes on after a command.
enum Next {
    Stay,
    Leave(u8),
}

impl Shell {
    fn new(
        connector: Arc<Connector>,
        place: Place,
        interrupts: Interrupts,
        mut history: History,
        json: bool,
        colour: bool,
    ) -> rustyline::Result<Self> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .history_ignore_space(true)
            .max_history_size(LINES_MAX)?
            .color_mode(if colour { ColorMode::Enabled } else { ColorMode::Disabled })
            .build();
        let remembered = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, remembered)?;
        let asked = Arc::clone(&connector);
        let names = move |kind| names(&asked, kind).unwrap_or_default();
        editor.set_helper(Some(ShellHelper::new(Box::new(names), colour)));
        for line in history.load() {
            editor.history_mut().add_owned(line)?;
        }
        Ok(Self { connector, place, interrupts, editor, history, json, gone: Arc::default(), watched: None })
    }

    /// Reads and carries out commands until the shell is left; its exit code.
    fn run(&mut self, screen: &mut Screen) -> u8 {
        self.follow_events(screen);
        if self.place == Place::SupervisorsTerminal {
            self.look_for_the_end();
            // Their number is a limit, not a promise: without it, the shell works as well.
            let _ = start_no_more_threads();
        }
        self.carry_out(&Action::Status { detail: false, watch: false, selectors: Vec::new() }, false, screen);
        loop {
            if self.gone.load(Ordering::Acquire) {
                screen.complain("taskmasterctl: the supervisor is gone");
                return 6;
            }
            if screen.is_closed() {
                return 0;
            }
            let prompt = prompt(&self.connector, screen.colour);
            let next = match self.interrupts.let_through(|| self.editor.readline(&prompt)) {
                Ok(line) => self.line(&line, screen),
                Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => Next::Stay,
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => Next::Stay,
                // A lost terminal asks nothing: the programs go on.
                Err(ReadlineError::Eof) if !terminal::is_hung_up(io::stdin().as_fd()) => self.exit(screen),
                Err(_) => Next::Leave(0),
            };
            if let Next::Leave(code) = next {
                return code;
            }
        }
    }

    /// The commands of one line. After Ctrl-C the rest of the line is not carried out.
    fn line(&mut self, line: &str, screen: &mut Screen) -> Next {
        if line.trim().is_empty() {
            return Next::Stay;
        }
        if self.editor.add_history_entry(line).unwrap_or(false) {
            self.history.add(line);
        }
        let commands = match command::split_line(line) {
            Ok(commands) => commands,
            Err(fault) => {
                screen.fault(&fault);
                return Next::Stay;
            }
        };
        for words in commands {
            match command::parse_shell(&words) {
                Ok(ShellLine { action: ShellAction::Exit, .. }) => return self.exit(screen),
                Ok(ShellLine { action: ShellAction::Action(Action::Shutdown), .. }) => return self.shutdown(screen),
                Ok(ShellLine { action: ShellAction::Action(action), json }) => {
                    if !self.carry_out(&action, json, screen) {
                        return Next::Stay;
                    }
                }
                Err(fault) => {
                    screen.fault(&fault);
                }
            }
        }
        Next::Stay
    }

    /// Carries out one command; false when Ctrl-C ended the wait for it.
    fn carry_out(&self, action: &Action, json: bool, screen: &mut Screen) -> bool {
        let json = self.json || json;
        let connector = &self.connector;
        let session = Session { connector, interrupts: Some(&self.interrupts), json, in_shell: true };
        let result = session.run(action, screen);
        let left =
            matches!(result, Err(Failure::Left(_) | Failure::LeftTold | Failure::Client(ClientError::Interrupted)));
        if left {
            // The terminal has shown `^C`.
            screen.complain("");
        }
        finish(result, screen);
        !left
    }

    /// `exit`, `quit` and Ctrl-D.
    fn exit(&mut self, screen: &mut Screen) -> Next {
        if self.place == Place::Anywhere {
            return Next::Leave(0);
        }
        // A supervisor that does not answer is no reason to hold anybody in the shell.
        let Ok(processes) = self.running() else { return Next::Leave(0) };
        if processes.is_empty() {
            return self.shut_down(screen);
        }
        let question = format!(
            "{} running: stop everything (s), go on without the shell (g), or stay? [s/g/N] ",
            programs(&processes, " is", "s are")
        );
        match self.answer(&question).as_deref() {
            Some("s" | "stop") => self.shut_down(screen),
            Some("g" | "go") => Next::Leave(0),
            Some(_) => Next::Stay,
            None => Next::Leave(0),
        }
    }

    fn shutdown(&mut self, screen: &mut Screen) -> Next {
        let running = self.running();
        let asks = self.place == Place::Anywhere || !matches!(&running, Ok(processes) if processes.is_empty());
        if asks {
            let question = match &running {
                Ok(processes) if processes.is_empty() => "Stop the supervisor? [y/N] ".to_owned(),
                Ok(processes) => match programs(processes, "", "s") {
                    one if one.starts_with("1 ") => "Stop the running program and the supervisor? [y/N] ".to_owned(),
                    all => format!("Stop all {all} and the supervisor? [y/N] "),
                },
                Err(_) => "Stop all programs and the supervisor? [y/N] ".to_owned(),
            };
            match self.answer(&question).as_deref() {
                Some("y" | "yes") => {}
                Some(_) => return Next::Stay,
                None => return Next::Leave(0),
            }
        }
        self.shut_down(screen)
    }

    /// Gives the order. On the supervisor's terminal the shell stays until all is over, so that the events
    /// of the shutdown can be seen.
    fn shut_down(&self, screen: &mut Screen) -> Next {
        // An earlier connection's end is not what is waited for.
        self.watched.iter().for_each(|watched| while watched.try_recv().is_ok() {});
        let ordered = self.connector.connect().and_then(|stream| {
            let mut client = Client::new(stream, Some(&self.interrupts));
            match client.call_raw(Method::Shutdown, &NoParameters {}) {
                Ok(_) | Err(ClientError::Refused(Refusal::ShuttingDown {})) => {}
                // It was so quick that its end was seen before its answer.
                Err(ClientError::Interrupted) if self.gone.load(Ordering::Acquire) => {}
                Err(error) => return Err(error),
            }
            if self.place == Place::SupervisorsTerminal {
                // Ctrl-C leaves the wait; what was ordered goes on.
                let ended = client.wait_for_end().is_ok() || self.gone.load(Ordering::Acquire);
                if let Some(watched) = self.watched.as_ref().filter(|_| ended) {
                    let _ = watched.recv_timeout(LAST_EVENTS);
                }
            }
            Ok(())
        });
        match (ordered, self.place) {
            (Ok(()), Place::SupervisorsTerminal) => Next::Leave(0),
            (Ok(()), Place::Anywhere) => {
                let _ = screen.print("Shut down\n");
                Next::Stay
            }
            (Err(ClientError::Lost), Place::SupervisorsTerminal) => Next::Leave(0),
            (Err(error), _) => {
                screen.failure(&error.into());
                Next::Stay
            }
        }
    }

    fn running(&self) -> Result<Vec<Process>, ClientError> {
        let mut processes = quickly(&self.connector)?;
        processes.retain(|process| !process.state.is_at_rest());
        Ok(processes)
    }

    /// Asks; an empty text for anything that is no answer, `None` when nobody is there to ask.
    fn answer(&mut self, question: &str) -> Option<String> {
        let complete = |editor: &mut Editor<ShellHelper, MemHistory>, on| {
            if let Some(helper) = editor.helper_mut() {
                helper.enabled = on;
            }
        };
        complete(&mut self.editor, false);
        let answer = self.interrupts.let_through(|| self.editor.readline(question));
        complete(&mut self.editor, true);
        match answer {
            Ok(line) => Some(line.trim().to_ascii_lowercase()),
            Err(_) if terminal::is_hung_up(io::stdin().as_fd()) => None,
            Err(_) => Some(String::new()),
        }
    }

    fn follow_events(&mut self, screen: &Screen) {
        // On the supervisor's terminal the shell takes the place of its log; elsewhere it is a guest.
        let least = match self.place {
            Place::SupervisorsTerminal => Severity::Info,
            Place::Anywhere => Severity::Notice,
        };
        // A terminal that cannot edit lines cannot print above them either.
        if let Ok(mut printer) = self.editor.create_external_printer() {
            let drawn = Arc::clone(&screen.drawn);
            let print = move |line: String| {
                let drawn = drawn.lock().unwrap_or_else(PoisonError::into_inner);
                match *drawn {
                    Drawn::Nothing => printer.print(line + "\n").is_ok(),
                    Drawn::Progress => printer.print(format!("{CLEAR_LINE}{line}\n")).is_ok(),
                    // It shows what happens itself.
                    Drawn::WholeScreen => true,
                }
            };
            // Asked before the first `status` is printed: what happens between the two must not be missed.
            let last = newest_event(&self.connector);
            let mut watch = Watch::new(least, screen.colour, Box::new(print)).after(last);
            if self.place == Place::SupervisorsTerminal {
                watch = watch.without_contact();
            }
            self.watched = watch.start(Arc::clone(&self.connector)).ok();
        }
    }

    /// Wakes the editor when the core's end of the dialer closes.
    fn look_for_the_end(&self) {
        let (connector, gone) = (Arc::clone(&self.connector), Arc::clone(&self.gone));
        let look = move || {
            let Connector::Dialer(dialer) = &*connector else { return };
            // The core sends nothing on it: what makes it readable is its end.
            if matches!(terminal::wait(dialer.as_fd(), None, None), Ok(Wake::Readable)) {
                gone.store(true, Ordering::Release);
                loop {
                    // Again and again: the first may come where nobody waits.
                    terminal::interrupt_self();
                    thread::sleep(Duration::from_millis(100));
                }
            }
        };
        let _ = thread::Builder::new().name("dialer".to_owned()).spawn(look);
    }
}

/// The processes, unless the supervisor takes its time.
fn quickly(connector: &Connector) -> Result<Vec<Process>, ClientError> {
    let mut client = Client::new(connector.connect()?, None).with_patience(PATIENCE);
    Ok(client.call::<StatusReply>(Method::Status, &StatusCall::default())?.processes)
}

/// The names that a line can be completed with now.
pub fn names(connector: &Connector, kind: Names) -> Result<Vec<String>, ClientError> {
    let client = || Ok::<_, ClientError>(Client::new(connector.connect()?, None).with_patience(PATIENCE));
    let queue = || client()?.call::<NotifyQueueReply>(Method::NotifyQueue, &NoParameters {});
    Ok(match kind {
        Names::Selectors => selectors(&quickly(connector)?),
        Names::Programs | Names::Available => {
            let sections = config::ask(&mut client()?, &[])?.sections.into_iter();
            let wanted = sections.filter(|one| kind == Names::Programs || one.on_disk == OnDisk::Added);
            typeable(wanted.filter_map(|section| section.program).map(|program| program.to_string()))
        }
        Names::Channels => typeable(queue()?.channels.into_iter().map(|channel| channel.channel.0)),
        Names::Messages => {
            let NotifyQueueReply { waiting, dead, .. } = queue()?;
            typeable(waiting.into_iter().chain(dead).map(|message| message.id))
        }
        Names::Silences => {
            let reply: SilencesReply = client()?.call(Method::Silences, &NoParameters {})?;
            let names = reply.silences.into_iter().flat_map(|silence| [silence.selector, silence.id]);
            typeable(names.collect::<BTreeSet<_>>())
        }
    })
}

/// The number of the newest event, unless the supervisor takes its time.
fn newest_event(connector: &Connector) -> Option<u64> {
    let mut client = Client::new(connector.connect().ok()?, None).with_patience(PATIENCE);
    let recent: EventsReply = client.call(Method::Events, &EventsCall::default()).ok()?;
    recent.events.last().map(|event| event.seq)
}

/// The prompt, without and with colour: how many processes need somebody.
fn prompt(connector: &Connector, colour: bool) -> (String, String) {
    let unwell = |process: &&Process| matches!(process.state, State::Backoff | State::Fatal);
    let count = quickly(connector).map_or(0, |processes| processes.iter().filter(unwell).count());
    if count == 0 {
        return ("taskmaster> ".to_owned(), "taskmaster> ".to_owned());
    }
    let raw = format!("taskmaster [{count} not well]> ");
    let styled = if colour { format!("taskmaster [\x1b[31m{count} not well\x1b[0m]> ") } else { raw.clone() };
    (raw, styled)
}

/// `1 program`, `3 programs`, with what follows for one and for several.
fn programs(processes: &[Process], one: &str, several: &str) -> String {
    let mut names: Vec<_> = processes.iter().map(|process| &process.program).collect();
    names.sort_unstable();
    names.dedup();
    match names.len() {
        1 => format!("1 program{one}"),
        count => format!("{count} program{several}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::show::tests::process;

    #[test]
    fn questions_count_programs_and_not_their_processes() {
        let two = [process("web:0", State::Running), process("web:1", State::Running)];
        assert_eq!(programs(&two, " is", "s are"), "1 program is");
        let three = [process("web:0", State::Running), process("db", State::Running), process("web:1", State::Running)];
        assert_eq!(programs(&three, "", "s"), "2 programs");
    }

    #[test]
    fn the_prompt_needs_no_supervisor() {
        let plain = "taskmaster> ".to_owned();
        assert_eq!(prompt(&Connector::Socket("/nonexistent".into()), true), (plain.clone(), plain));
    }
}
