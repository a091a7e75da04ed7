//! Tending the workers: starting them, hearing them, starting them again with all they need to go on
//! where the last one stopped.

use std::io::Write;
use std::rc::Rc;

use crate::model::event::{Facts, Kind};
use crate::model::exit::ExitStatus;
use crate::model::id::ProcessId;
use crate::model::signal::Signal;
use crate::model::time::Moment;
use crate::protocol::logger::ToLogger;
use crate::protocol::notifier::ToNotifier;
use crate::protocol::spawner::{Bytes, Job, SinkId, Ticket};
use crate::system::{clock, dial, process, socket, stdio};
use crate::worker::channel::{ChannelError, Passed};
use crate::worker::confine::CHANNEL;

use super::clones::{News, Purpose};
use super::core::{Core, Ending};
use super::output::{self, Message, Work};
use super::reactor::{ClientId, Link, Source};
use super::role::Role;
use super::spec;
use super::workers::Worker;

/// A worker with more unread messages than this has stopped working.
const QUEUE_MAX: usize = 100_000;
/// A worker that dies young this often is told of only now and then.
const TELL_EVERY: u32 = 60;
/// A logger or notifier that was never ready after so many tries cannot be run.
const WORKER_TRIES: u32 = 6;
/// A shell that dies young this often is given up.
const SHELL_TRIES: u32 = 5;
/// What the shell may know of our environment.
const SHELL_ENVIRONMENT: [&str; 6] = ["TERM", "LANG", "TZ", "NO_COLOR", "COLUMNS", "LINES"];

impl Core {
    /// Starts the workers that are due, and waits for room where messages are queued.
    pub(super) fn tend_workers(&mut self, now: Moment) {
        for role in [Role::Logger, Role::Notifier, Role::Shell] {
            let wanted = match role {
                Role::Shell => self.terminal.is_some() && self.ending.is_none() && self.dialer_is_free(),
                Role::Logger | Role::Notifier => true,
            };
            let worker = self.workers.entry(role).or_default();
            let due = worker.ticket.is_none() && worker.next_start.is_none_or(|at| at <= now);
            if wanted && due {
                let again = worker.next_start.is_some();
                if let Err(error) = self.start_worker(role, now) {
                    self.workers.entry(role).or_default().last_end = error.to_string();
                    self.worker_ended(role, now);
                } else if again {
                    self.tell_of_restart(role);
                }
            } else if !wanted {
                worker.next_start = None;
            }
        }
        if let Some(spawner) = &mut self.spawner {
            spawner.tend(&self.reactor);
        }
        let mut stuck = Vec::new();
        for (role, worker) in &mut self.workers {
            if let Some(link) = &mut worker.link {
                link.tend(&self.reactor);
                if link.channel.queued() > QUEUE_MAX {
                    stuck.push(*role);
                }
            }
        }
        for role in stuck {
            self.kill_worker(role);
        }
    }

    fn dialer_is_free(&self) -> bool {
        self.workers.get(&Role::Shell).is_none_or(|worker| worker.ticket.is_none())
    }

    fn tell_of_restart(&mut self, role: Role) {
        let failures = self.workers.get(&role).map_or(0, Worker::failures);
        let Some(worker) = self.workers.get_mut(&role) else { return };
        let fault = worker.fault.take();
        if std::mem::take(&mut worker.replaced) {
            let words = format!("the {role} was started again, because its directories have changed");
            return self.record(Kind::WorkerRestarted, Facts::message(words));
        }
        if failures <= 3 || failures.is_multiple_of(TELL_EVERY) {
            let why = self.workers.get(&role).map_or("", |worker| worker.last_end.as_str());
            let how = fault.map_or_else(
                || format!("ended ({why})"),
                |fault| format!("was ended, because it sent what it may not ({fault}),"),
            );
            self.record(Kind::WorkerRestarted, Facts::message(format!("the {role} {how} and was started again")));
        }
    }

    fn start_worker(&mut self, role: Role, now: Moment) -> Result<(), ChannelError> {
        let executable = self.executables.of(role).cloned().ok_or(ChannelError::Closed)?;
        let numbers = self.own.worker_uids.of(role);
        if role == Role::Logger {
            self.output.have_hand().map_err(ChannelError::Io)?;
        }
        let (argument, link, mut passed, mut targets) = match role {
            Role::Shell => self.shell_descriptors().map_err(ChannelError::Io)?,
            Role::Logger | Role::Notifier => {
                let (ours, theirs) = socket::message_pair().map_err(ChannelError::Io)?;
                let link = Link::new(&mut self.reactor, ours, Source::Worker(role)).map_err(ChannelError::Io)?;
                let mut passed = vec![Rc::new(theirs)];
                let mut targets = vec![CHANNEL];
                // Its last words, if it has some; not across the shell's screen.
                if self.terminal.is_none() {
                    passed.push(Rc::new(stdio::duplicate_standard(2).map_err(ChannelError::Io)?));
                    targets.push(2);
                }
                (None, Some(link), passed, targets)
            }
        };
        let directories = if role == Role::Notifier { self.notifier_directories() } else { Vec::new() };
        for (number, directory) in directories {
            passed.push(Rc::new(directory));
            targets.push(number);
        }
        let mut spec = spec::worker(&self.own, role.program(), argument, numbers, &targets);
        if role == Role::Shell {
            let known = |name: &Bytes| SHELL_ENVIRONMENT.iter().any(|known| known.as_bytes() == name.as_bytes());
            spec.inherited = self.own.env.iter().filter(|(name, _)| known(name)).cloned().collect();
            spec.inherited.push(("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()));
        }
        passed.insert(0, executable);
        let ticket = self.ask_for_clone(Purpose::Worker(role), Job::Start(Box::new(spec)), passed, now)?;
        self.workers.entry(role).or_default().started(ticket, link, now);
        match role {
            Role::Logger => self.equip_logger(),
            Role::Notifier => self.equip_notifier(),
            Role::Shell => {}
        }
        Ok(())
    }

    fn equip_logger(&mut self) {
        self.tell_last_losses(false);
        for message in self.output.everything().into_iter().chain(self.consoles.everything()) {
            self.tell_logger(message);
        }
        self.tell_logger((ToLogger::Begin, Vec::new()));
        // A shutdown that waits for the last output waits for this logger's.
        if matches!(self.ending, Some(Ending::Output { .. })) {
            self.tell_logger((ToLogger::Drain, Vec::new()));
        }
    }

    fn equip_notifier(&mut self) {
        self.journal.notifier_lost();
        self.send_event_log();
        if self.terminal.is_none() {
            self.send_console();
        }
        self.configure_notifier();
        self.feed_notifier();
        // As above, for the last alerts.
        if matches!(self.ending, Some(Ending::Alerts { .. })) {
            self.tell_notifier(&ToNotifier::Drain, Vec::new());
        }
    }

    pub(super) fn send_event_log(&mut self) {
        let format = self.config.supervisor.event_log_format;
        let log = Rc::clone(&self.event_log);
        self.tell_notifier(&ToNotifier::EventLog { format }, vec![log]);
    }

    /// Without a shell on the terminal, events are shown where the supervisor was started.
    pub(super) fn send_console(&mut self) {
        if let Ok(console) = stdio::duplicate_standard(2) {
            self.tell_notifier(&ToNotifier::Console, vec![Rc::new(console)]);
        }
    }

    pub(super) fn tell_logger(&mut self, (message, descriptors): Message) {
        if let Some(worker) = self.workers.get_mut(&Role::Logger) {
            worker.permits.told_logger(&message);
        }
        self.tell(Role::Logger, &message, descriptors);
    }

    pub(super) fn tell_notifier(&mut self, message: &ToNotifier, descriptors: Vec<Passed>) {
        if let Some(worker) = self.workers.get_mut(&Role::Notifier) {
            worker.permits.told_notifier(message);
        }
        self.tell(Role::Notifier, message, descriptors);
    }

    /// Sends to a worker. If it is gone, its successor gets everything anyway.
    fn tell(&mut self, role: Role, message: &impl serde::Serialize, descriptors: Vec<Passed>) {
        let link = self.workers.get_mut(&role).and_then(|worker| worker.link.as_mut());
        if let Some(link) = link
            && link.channel.send(message, descriptors).is_err()
        {
            self.kill_worker(role);
        }
    }

    pub(super) fn feed_notifier(&mut self) {
        let link = self.workers.get_mut(&Role::Notifier).and_then(|worker| worker.link.as_mut());
        if let Some(link) = link
            && self.journal.feed(&mut link.channel).is_err()
        {
            self.kill_worker(Role::Notifier);
        }
    }

    /// A worker that makes no sense, or does not listen, loses its life, and only its own.
    pub(super) fn kill_worker(&mut self, role: Role) {
        let Some(worker) = self.workers.get_mut(&role) else { return };
        if let Some(link) = worker.link.take() {
            link.close(&mut self.reactor);
        }
        if let Some((_, pidfd)) = worker.ticket.and_then(|ticket| self.clones.pidfd(ticket)) {
            let _ = process::signal(pidfd, Signal::KILL);
        }
    }

    /// Another notifier takes the place of this one, in order: what is not acknowledged is sent to it.
    pub(super) fn replace_notifier(&mut self) {
        if let Some(worker) = self.workers.get_mut(&Role::Notifier) {
            worker.replaced = true;
        }
        self.kill_worker(Role::Notifier);
    }

    /// What became of a worker's process.
    pub(super) fn worker_news(&mut self, role: Role, ticket: Ticket, news: News) {
        let current = self.workers.get(&role).and_then(|worker| worker.ticket) == Some(ticket);
        let (status, why) = match news {
            News::Failed(failure) => (None, failure.to_string()),
            News::Exited { status, .. } => (Some(status), status.to_string()),
            News::Cloned
            | News::Unrestricted(_)
            | News::Executed
            | News::Stillborn
            | News::Opened { .. }
            | News::Done => return,
        };
        if !current {
            return;
        }
        let now = clock::now();
        self.workers.entry(role).or_default().last_end = why;
        self.worker_ended(role, now);
        if role == Role::Shell {
            self.shell_ended(status);
        } else {
            self.see_that_it_works(role);
        }
    }

    /// A supervisor whose logger or notifier never runs does not do its work: it says so and ends.
    fn see_that_it_works(&mut self, role: Role) {
        let Some(worker) = self.workers.get(&role) else { return };
        if worker.has_worked || worker.failures() < WORKER_TRIES || self.ending.is_some() {
            return;
        }
        let words = format!("the {role} cannot be run: {}", worker.last_end);
        // The notifier may be what does not run: standard error is what is left.
        let _ = writeln!(std::io::stderr().lock(), "taskmasterd: {words}");
        self.could_not_start = true;
        self.shut_down(&words);
    }

    fn worker_ended(&mut self, role: Role, now: Moment) {
        if role == Role::Notifier {
            self.abandon_sendmails();
            self.notifier_left_questions();
        } else if role == Role::Logger {
            self.logger_left_clearing();
            self.output.compression.logger_died(now);
        }
        let link = self.workers.entry(role).or_default().ended(now);
        if let Some(link) = link {
            link.close(&mut self.reactor);
        }
    }

    /// The shell has left: on purpose, for good (its terminal is gone, or it cannot run), or to be
    /// started again.
    fn shell_ended(&mut self, status: Option<ExitStatus>) {
        if let Some((dialer, token)) = self.dialer.take() {
            self.reactor.remove(&dialer, token);
        }
        if let Some(terminal) = &self.terminal {
            terminal.restore();
        }
        let failures = self.workers.get(&Role::Shell).map_or(0, Worker::failures);
        if status == Some(ExitStatus::Code(0)) || failures > SHELL_TRIES {
            self.go_on_without_terminal();
        }
    }

    /// From now on events are shown on standard error, if anybody reads it, and programs on standard output.
    pub(super) fn go_on_without_terminal(&mut self) {
        if let Some(terminal) = self.terminal.take() {
            terminal.restore();
            if self.ending.is_none() {
                self.send_console();
                if let Some(message) = self.output.console_opened(output::console()) {
                    self.tell_logger(message);
                }
                self.tell_unseen();
            }
        }
    }

    fn shell_descriptors(&mut self) -> std::io::Result<ShellStart> {
        let (ours, theirs) = socket::message_pair()?;
        stdio::set_nonblocking(&ours, true)?;
        let token = self.reactor.add(&ours, Source::Dialer)?;
        let history = super::startup::open_history(&self.state_dir, self.own_uid);
        let mut passed: Vec<Passed> = Vec::new();
        for number in 0..=2 {
            passed.push(Rc::new(stdio::duplicate_standard(number)?));
        }
        passed.push(Rc::new(theirs));
        let mut targets = vec![0, 1, 2, 3];
        match history {
            Ok(history) => {
                passed.push(Rc::new(history));
                targets.push(4);
            }
            Err(error) => {
                let words = format!("the shell's history cannot be kept in state_dir: {error}");
                self.record(Kind::OutputFailing, Facts::message(words));
            }
        }
        self.dialer = Some((ours, token));
        Ok((Some("--on-terminal"), None, passed, targets))
    }

    /// The shell asks for connections.
    pub(super) fn take_connections(&mut self) {
        for _ in 0..16 {
            let Some((dialer, token)) = &self.dialer else { return };
            match dial::receive_connection(std::os::fd::AsFd::as_fd(dialer)) {
                Ok(Some(connection)) => self.control.add_starter(&mut self.reactor, connection, clock::now()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                ended => {
                    self.reactor.remove(dialer, *token);
                    self.dialer = None;
                    if let Err(error) = ended {
                        self.end_worker(Role::Shell, &error.to_string());
                    }
                    return;
                }
            }
        }
    }

    /// Sends a signal on to the shell.
    pub(super) fn signal_shell(&self, signal: Signal) {
        let ticket = self.workers.get(&Role::Shell).and_then(|worker| worker.ticket);
        if let Some((_, pidfd)) = ticket.and_then(|ticket| self.clones.pidfd(ticket)) {
            let _ = process::signal(pidfd, signal);
        }
    }

    /// Whether a shell is on the terminal.
    pub(super) fn has_shell(&self) -> bool {
        self.terminal.is_some() && self.workers.get(&Role::Shell).is_some_and(|worker| worker.ticket.is_some())
    }

    /// Gives a client's connection to the logger.
    pub fn hand_to_logger(&mut self, client: ClientId, message: ToLogger) -> Result<(), String> {
        if self.workers.get(&Role::Logger).is_none_or(|worker| worker.link.is_none()) {
            return Err("the logger is being started again; try once more".to_owned());
        }
        if let Some(connection) = self.control.hand_over(&mut self.reactor, client) {
            self.tell_logger((message, vec![Rc::new(connection)]));
        }
        Ok(())
    }

    /// Has a clone of the spawner rotate or reopen a log file.
    pub(super) fn work_on_file(&mut self, sink: SinkId, (spec, open): Work) {
        if self.ask_for_clone(Purpose::File(sink), Job::Files(spec), vec![open], clock::now()).is_err() {
            self.file_is_kept(sink);
        }
    }

    fn file_is_kept(&mut self, sink: SinkId) {
        self.tell_logger((ToLogger::Kept { sink }, Vec::new()));
        if let Some(next) = self.output.finished(sink) {
            self.work_on_file(sink, next);
        }
    }

    pub(super) fn file_news(&mut self, sink: SinkId, news: News) {
        match news {
            News::Done => {
                if self.output.has_worked(sink) {
                    let words = format!("{} can be rotated and reopened again", self.output.path(sink));
                    self.record(Kind::OutputRecovered, Facts::message(words));
                }
                if let Some(next) = self.output.finished(sink) {
                    self.work_on_file(sink, next);
                }
            }
            News::Failed(failure) => {
                if self.output.has_failed(sink, clock::now()) {
                    let words = format!("it cannot be rotated or reopened, the old file is kept: {failure}");
                    self.record(Kind::OutputFailing, Facts { stage: Some(failure.stage), ..Facts::message(words) });
                }
                self.file_is_kept(sink);
            }
            News::Cloned
            | News::Unrestricted(_)
            | News::Executed
            | News::Stillborn
            | News::Exited { .. }
            | News::Opened { .. } => {}
        }
    }

    /// Opens every log anew: logrotate has renamed them.
    pub fn reopen_logs(&mut self) {
        for (sink, work) in self.output.reopen_all() {
            self.work_on_file(sink, work);
        }
        match super::startup::open_event_log(&self.config.supervisor.event_log, self.own_uid, Some(&self.event_log)) {
            Ok(log) => {
                self.event_log = Rc::new(log);
                self.send_event_log();
            }
            Err(words) => self.record(Kind::NotifyFailing, Facts::message(words)),
        }
    }

    /// Removes what belongs to a process that is not configured any more, and over.
    pub(super) fn forget_process(&mut self, id: &ProcessId) {
        self.waiters.gone(id);
        self.pids.remove(id);
        self.remains.forget(id);
    }
}

/// Argument, link, descriptors and where they go.
type ShellStart = (Option<&'static str>, Option<Link>, Vec<Passed>, Vec<i32>);
