//! Carries out one command: asks, prints the answer, and says with which exit code it ended.
#![forbid(unsafe_code)]

use std::fmt::Write;

use serde::Serialize;

use super::client::{ClientError, understood};
use super::command::{self, Action};
use super::connect::Connector;
use super::fault::{Failure, ParseFault};
use super::reload::Word;
use super::results::{self, Order};
use super::screen::Screen;
use super::session::{Session, pretty};
use super::{attach, check, config, detail, import, live, notify, order, reload, security, show, stream, zone};
use crate::model::state::State;
use crate::model::text::escaped;
use crate::protocol::control::{
    ChangeReply, Channel, ClearCall, Method, NoParameters, Refusal, SignalCall, StatusReply, VersionReply,
};

impl Session<'_> {
    /// Carries out one command; its exit code.
    pub fn run(&self, action: &Action, screen: &mut Screen) -> Result<u8, Failure> {
        match action {
            Action::Status { watch: true, selectors, .. } => live::watch(self, selectors, screen),
            Action::Status { detail, selectors, .. } => self.status(selectors, *detail, screen),
            Action::Security { selectors } => self.security(selectors, screen),
            Action::Start(change) => order::change(self, Order::Start, change, screen),
            Action::Stop(change) => order::change(self, Order::Stop, change, screen),
            Action::Restart(restart) if restart.rolling => order::rolling(self, restart, screen),
            Action::Restart(restart) => order::change(self, Order::Restart, &restart.change, screen),
            Action::Signal { signal, selectors } => {
                let call = SignalCall { signal: signal.clone(), selectors: selectors.clone() };
                self.at_once(Order::Signal, &call, screen)
            }
            Action::Reload { dry_run: true } | Action::Reread => reload::reload(self, Word::DryRun, &[], screen),
            Action::Reload { dry_run: false } => reload::reload(self, Word::Reload, &[], screen),
            Action::Update { programs } => reload::reload(self, Word::Update, programs, screen),
            Action::Add { available } => reload::change(self, Method::Add, available, screen),
            Action::Remove { programs } => reload::change(self, Method::Remove, programs, screen),
            Action::Avail => reload::avail(self, screen),
            Action::Tail(tail) => stream::tail(self, screen, tail),
            Action::Attach(attached) => attach::attach(self, attached, screen),
            Action::Clear { stdout, stderr, selectors } => {
                let channel = stdout.then_some(Channel::Stdout).or(stderr.then_some(Channel::Stderr));
                let call = ClearCall { selectors: selectors.clone(), channel };
                self.at_once(Order::Clear, &call, screen)
            }
            Action::Pid { selectors } => self.pid(selectors, screen),
            Action::Config { selectors } => self.config(selectors, screen),
            Action::Check { .. } if matches!(self.connector, Connector::Dialer(_)) => Ok(check::refuse(screen)),
            Action::Check { file } => check::run(file, self.json, screen),
            Action::Import { .. } if matches!(self.connector, Connector::Dialer(_)) => Ok(import::refuse(screen)),
            Action::Import { file } => import::run(file, self.json, screen),
            Action::Events { follow, since, selectors } => stream::events(self, screen, *follow, *since, selectors),
            Action::Notify { action } => notify::run(self, action, screen),
            Action::Reopen => self.plain(Method::Reopen, "log files are open anew\n", screen),
            Action::Version => self.version(screen),
            Action::Help { command } => self.help(command.as_deref(), screen),
            Action::Shutdown => self.shutdown(screen),
        }
    }

    fn status(&self, selectors: &[String], detail: bool, screen: &mut Screen) -> Result<u8, Failure> {
        let StatusReply { processes, channels } = self.known(self.status_of(selectors), screen)?;
        let alone = screen.terminal && !self.json && detail::is_one(selectors, &processes);
        if detail || alone {
            detail::show(self, &processes, screen)?;
        } else if self.json {
            screen.print(&pretty(&processes))?;
        } else if !screen.terminal {
            screen.print(&show::lines(&processes, zone::of(&processes)))?;
        } else if processes.is_empty() {
            screen.print("no programs are configured\n")?;
        } else {
            screen.print(&show::table(&processes, screen.width(), screen.colour, zone::of(&processes)))?;
        }
        if screen.terminal && !self.json {
            for problem in &channels {
                screen.print(&notify::problem(problem, screen))?;
            }
        }
        let all_run = processes.iter().all(|process| matches!(process.state, State::Running | State::Starting));
        Ok(if all_run { 0 } else { 3 })
    }

    fn security(&self, selectors: &[String], screen: &mut Screen) -> Result<u8, Failure> {
        let programs = self.known(security::ask(&mut self.client()?, selectors), screen)?;
        let text = match (self.json, selectors.is_empty()) {
            (true, _) => pretty(&programs),
            (false, true) if programs.is_empty() => "no programs are configured\n".to_owned(),
            (false, true) => security::overview(&programs, screen),
            (false, false) => security::details(&programs, screen),
        };
        screen.print(&text)?;
        Ok(0)
    }

    fn config(&self, selectors: &[String], screen: &mut Screen) -> Result<u8, Failure> {
        let reply = self.known(config::ask(&mut self.client()?, selectors), screen)?;
        let text = if self.json { pretty(&reply) } else { config::shown(&reply, !selectors.is_empty(), screen) };
        screen.print(&text)?;
        if let Some(fault) = reply.fault.filter(|_| !self.json) {
            screen.complain(&fault.lines().map(escaped).collect::<Vec<_>>().join("\n"));
            screen.complain("taskmasterctl: the files on disk would not be accepted; shown is what is in force");
        }
        Ok(0)
    }

    /// As [`Session::known`], for an order that stands when nobody waits for it any more.
    fn ordered<T>(&self, answer: Result<T, ClientError>, screen: &mut Screen) -> Result<T, Failure> {
        match answer {
            Err(ClientError::Interrupted) => Err(Failure::Left(None)),
            other => self.known(other, screen),
        }
    }

    /// An order whose results are there at once.
    fn at_once(&self, order: Order, call: &impl Serialize, screen: &mut Screen) -> Result<u8, Failure> {
        let answer = self.ordered(self.ask(order.method(), call), screen)?;
        let json = self.json.then(|| pretty(&answer));
        let reply: ChangeReply = understood(answer)?;
        let text = match json {
            Some(json) => json,
            None if screen.terminal => {
                reply.results.iter().map(|result| results::friendly(order, result, screen)).collect()
            }
            None => results::lines(order, &reply, |_| true),
        };
        screen.print(&text)?;
        Ok(results::exit_code(order, &reply))
    }

    fn pid(&self, selectors: &[String], screen: &mut Screen) -> Result<u8, Failure> {
        if selectors.is_empty() {
            let answer = self.ask(Method::Version, &NoParameters {})?;
            let reply: VersionReply = understood(answer)?;
            screen.print(&format!("{}\n", reply.pid))?;
            return Ok(0);
        }
        let processes = self.known(self.processes(selectors), screen)?;
        if self.json {
            screen.print(&pretty(&processes))?;
        } else {
            let mut out = String::new();
            for process in &processes {
                // supervisorctl's 0 keeps line and process together.
                let _ = writeln!(out, "{}", process.pid.unwrap_or(0));
            }
            screen.print(&out)?;
        }
        Ok(u8::from(processes.iter().any(|process| process.pid.is_none())))
    }

    fn plain(&self, method: Method, words: &str, screen: &mut Screen) -> Result<u8, Failure> {
        let answer = self.ordered(self.ask(method, &NoParameters {}), screen)?;
        if self.json {
            screen.print(&pretty(&answer))?;
        } else if screen.terminal {
            screen.print(words)?;
        }
        Ok(0)
    }

    fn version(&self, screen: &mut Screen) -> Result<u8, Failure> {
        let answer = self.ask(Method::Version, &NoParameters {})?;
        if self.json {
            screen.print(&pretty(&answer))?;
            return Ok(0);
        }
        let reply: VersionReply = understood(answer)?;
        let version = escaped(&reply.version);
        let ours = env!("CARGO_PKG_VERSION");
        screen.print(&match (screen.terminal, version == ours) {
            (false, _) => format!("{version}\n"),
            (true, true) => format!("taskmasterd {version}, pid {}\n", reply.pid),
            (true, false) => format!("taskmasterd {version}, pid {}; taskmasterctl {ours}\n", reply.pid),
        })?;
        Ok(0)
    }

    fn help(&self, command: Option<&str>, screen: &mut Screen) -> Result<u8, Failure> {
        let table = if self.in_shell { command::shell_command() } else { command::command_line() };
        match command::help(table, command) {
            Ok(text) | Err(ParseFault::Shown(text)) => {
                screen.print(&text)?;
                Ok(0)
            }
            Err(ParseFault::Usage(line)) => Err(Failure::Usage(line)),
        }
    }

    fn shutdown(&self, screen: &mut Screen) -> Result<u8, Failure> {
        match self.ask(Method::Shutdown, &NoParameters {}) {
            Ok(answer) if self.json => screen.print(&pretty(&answer))?,
            // It does already what was asked.
            Ok(_) | Err(ClientError::Refused(Refusal::ShuttingDown {})) => screen.print("Shut down\n")?,
            Err(ClientError::Interrupted) => return Err(Failure::Left(None)),
            Err(error) => return Err(error.into()),
        }
        Ok(0)
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
pub(super) mod tests;
