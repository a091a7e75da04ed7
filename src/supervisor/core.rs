//! The core's state, and how it deals with processes: news of clones become inputs of the life cycle,
//! `policy` decides, and the orders are carried out.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;

use crate::config::Config;
use crate::model::authority::Verb;
use crate::model::event::{Facts, Kind};
use crate::model::id::{Pid, ProcessId, Uid};
use crate::model::notify::About;
use crate::model::program::{KillMode, Program};
use crate::model::signal::Signal;
use crate::model::stage::{Stage, StartFailure};
use crate::model::state::State;
use crate::model::time::Moment;
use crate::policy::fleet::{Fleet, Order};
use crate::policy::lifecycle::{Act, Input, Notice};
use crate::policy::permission::{self, Rules};
use crate::protocol::control::Channel;
use crate::protocol::spawner::{Answer, Job, Request};
use crate::system::named_socket::NamedSocket;
use crate::system::signals::Signals;
use crate::system::terminal::Saved;
use crate::system::{clock, process};
use crate::worker::channel::ChannelError;

use super::alerts::Alerts;
use super::asking::Asking;
use super::authority;
use super::clearing::Clearing;
use super::clones::{Clones, News, Purpose};
use super::consoles::Consoles;
use super::control::events::Only;
use super::control::reloads::Reloads;
use super::control::waiters::Waiters;
use super::control::{Control, view};
use super::journal::Journal;
use super::manager::ServiceManager;
use super::output::{Connected, Output};
use super::reactor::{ClientId, Event, Reactor};
use super::remains::Remains;
use super::role::Role;
use super::sendmail::Sendmails;
use super::spawner_link::SpawnerLink;
use super::spec::{self, Own};
use super::tails::Rate;
use super::workers::{Executables, Worker};

/// Everything the core is.
pub struct Core {
    pub(super) reactor: Reactor,
    pub(super) signals: Signals,
    pub(super) own: Own,
    pub(super) own_uid: Uid,
    /// How the configuration is read again; the demo's is built in.
    pub(super) source: ConfigSource,
    pub(super) config: Config,
    /// Who may command, by the configuration as it was last read.
    pub(super) rules: Rules,
    pub(super) fleet: Fleet,
    pub(super) clones: Clones,
    pub(super) spawner: Option<SpawnerLink>,
    pub(super) executables: Executables,
    pub(super) output: Output,
    pub(super) planned: BTreeMap<ProcessId, Connected>,
    /// The terminals of processes that run. As long as it is open here, a terminal does not end because its
    /// program closes it for a while.
    pub(super) terminals: BTreeMap<ProcessId, Rc<OwnedFd>>,
    pub(super) consoles: Consoles,
    pub(super) journal: Journal,
    pub(super) alerts: Alerts,
    pub(super) sendmails: Sendmails,
    pub(super) asking: Asking,
    pub(super) tail_rate: Rate,
    /// What started us, if it wants to know.
    pub(super) manager: ServiceManager,
    pub(super) event_log: Rc<OwnedFd>,
    /// Held open, as it was judged at the start.
    pub(super) state_dir: OwnedFd,
    /// The control socket's name.
    pub(super) socket: NamedSocket,
    pub(super) workers: BTreeMap<Role, Worker>,
    pub(super) control: Control,
    pub(super) waiters: Waiters,
    pub(super) reloads: Reloads,
    pub(super) clearing: Clearing,
    /// The terminal that the shell is on.
    pub(super) terminal: Option<Saved>,
    pub(super) dialer: Option<(OwnedFd, u64)>,
    pub(super) remains: Remains,
    /// The last pid of each process, for its events.
    pub(super) pids: BTreeMap<ProcessId, Pid>,
    /// A worker cannot be run: the supervisor ends with that exit code.
    pub(super) could_not_start: bool,
    /// How many descriptors the core may have.
    pub(super) descriptors_max: i32,
    /// Ended children are waiting that could be clones not heard of yet.
    pub(super) zombies_wait: bool,
    pub(super) ending: Option<Ending>,
}

/// Descriptors that starts of programs leave free.
const DESCRIPTORS_KEPT: i32 = 32;

/// Where the configuration comes from.
pub enum ConfigSource {
    File(PathBuf),
    /// As it was at the start: what is in force can have less.
    BuiltIn(Box<Config>),
}

/// How far the shutdown has come.
pub enum Ending {
    Programs {
        until: Moment,
        killed: bool,
    },
    Output {
        until: Moment,
        survivors: bool,
    },
    Events {
        until: Moment,
        survivors: bool,
    },
    /// `left`: so many alerts could not be sent, says the notifier.
    Alerts {
        until: Moment,
        survivors: bool,
        left: Option<u64>,
    },
}

impl Ending {
    pub fn deadline(&self) -> Option<Moment> {
        match self {
            Self::Programs { until, .. }
            | Self::Output { until, .. }
            | Self::Events { until, .. }
            | Self::Alerts { until, .. } => Some(*until),
        }
    }
}

impl Core {
    /// Turns news of clones into inputs of the life cycle, until nothing is new.
    pub(super) fn digest(&mut self) {
        while let Some((ticket, purpose, news)) = self.clones.next_news() {
            match (purpose, news) {
                (Purpose::Pack(sink), news) => self.pack_news(sink, news),
                (purpose, News::Opened { sink, file }) => {
                    // Of several starts that opened the same file, the first counts; a rotation always.
                    let replaces = matches!(purpose, Purpose::File(_));
                    if let Some(message) = self.output.opened(sink, file, replaces) {
                        self.tell_logger(message);
                    }
                }
                (Purpose::Process(id), news) => self.process_news(&id, news),
                (Purpose::Worker(role), news) => self.worker_news(role, ticket, news),
                (Purpose::File(sink), news) => self.file_news(sink, news),
                (Purpose::Sendmail, news) => self.sendmail_news(ticket, news),
            }
        }
    }

    fn process_news(&mut self, id: &ProcessId, news: News) {
        match news {
            News::Cloned => {
                if let Some(pid) = self.clones.pid_of(id) {
                    self.pids.insert(id.clone(), pid);
                    self.remains.see_that_it_is_inside(id, pid);
                }
                self.tell_ungrouped(id);
                self.input(id, Input::Cloned);
            }
            News::Unrestricted(why) => self.tell_unrestricted(id, &why),
            News::Executed => {
                if let Some(connected) = self.planned.remove(id) {
                    self.has_output(id, connected);
                }
                self.input(id, Input::Executed);
            }
            // Unless it was we who killed it.
            News::Stillborn if self.fleet.member(id).is_some_and(|m| m.life.state() == State::Starting) => {
                let words = "it was killed before its first step: no process is born in a control group any more, until \
                             the supervisor is started again";
                if self.remains.distrust_cgroups(id) {
                    self.tell_lack(id, Stage::ControlGroup, words.to_owned());
                }
            }
            News::Failed(failure) => {
                self.planned.remove(id);
                self.pids.remove(id);
                self.input(id, Input::StartFailed(failure));
            }
            News::Exited { status, pidfd } => {
                self.terminals.remove(id);
                self.close_console(id, status);
                let tree = self.fleet.member(id).map_or(KillMode::Tree, |member| member.program.watch.kill_mode);
                let rest = self.remains.look(id, pidfd, tree, clock::now());
                self.input(id, Input::Exited { status, rest });
            }
            News::Stillborn | News::Opened { .. } | News::Done => {}
        }
    }

    /// Something happened to a process: decide and act.
    pub fn input(&mut self, id: &ProcessId, input: Input) {
        let orders = self.fleet.handle(id, input, clock::now());
        self.carry_out(orders);
        if self.fleet.member(id).is_none() {
            self.forget_process(id);
        }
    }

    pub(super) fn carry_out(&mut self, orders: Vec<Order>) {
        let mut orders = VecDeque::from(orders);
        while let Some(order) = orders.pop_front() {
            match &order.act {
                Act::Spawn => {
                    if let Err(failure) = self.spawn(&order) {
                        let now = clock::now();
                        orders.extend(self.fleet.handle(&order.id, Input::StartFailed(failure), now));
                    }
                }
                Act::Signal { signal, scope } => self.send_signal(&order.id, *signal, *scope),
                Act::Kill { scope } => self.send_signal(&order.id, Signal::KILL, *scope),
                Act::Announce(notice) => self.announce(&order, notice),
            }
        }
    }

    /// Asks the spawner to start a process.
    fn spawn(&mut self, order: &Order) -> Result<(), StartFailure> {
        let prepare = |error: std::io::Error| StartFailure {
            stage: Stage::Prepare,
            errno: error.raw_os_error().unwrap_or(0),
            subject: String::new(),
            error: error.to_string(),
        };
        let (id, program) = (&order.id, &*order.program);
        self.pids.remove(id);
        self.remains.give_up(id);
        let mut spec = spec::start(&self.own, program, id);
        spec.logs = [Channel::Stdout, Channel::Stderr]
            .into_iter()
            .filter_map(|channel| spec::log_file(&self.config.supervisor.log_dir, program, id, channel))
            .collect();
        let log_dir = &self.config.supervisor.log_dir;
        let (mut passed, planned) = self.output.connect(log_dir, program, id, &mut spec)?;
        let cgroup = self.remains.cgroup_for(id);
        let sweep = self.remains.needs_sweep(id) && program.watch.kill_mode != KillMode::Process;
        let purpose = Purpose::Process(id.clone());
        let (ticket, report) =
            self.clones.announce(&mut self.reactor, purpose, sweep, clock::now()).map_err(prepare)?;
        // Descriptors get the lowest free number: a high one says that there are few left, and the core
        // needs some for itself, its workers and clients.
        let limit = self.descriptors_max.saturating_sub(DESCRIPTORS_KEPT);
        if report.as_raw_fd() >= limit {
            self.clones.retract(&mut self.reactor, ticket);
            return Err(StartFailure {
                stage: Stage::Prepare,
                errno: libc::EMFILE,
                subject: String::new(),
                error: format!("no descriptors left within the limit of {} (ulimit -n)", self.descriptors_max),
            });
        }
        let request = Request { ticket, cgroup: cgroup.is_some(), job: Job::Start(Box::new(spec)) };
        passed.splice(0..0, std::iter::once(report).chain(cgroup).map(Rc::new));
        self.planned.insert(id.clone(), planned);
        if let Err(error) = self.ask_spawner(&request, passed) {
            self.planned.remove(id);
            self.clones.retract(&mut self.reactor, ticket);
            return Err(StartFailure {
                stage: Stage::Spawner,
                errno: 0,
                subject: String::new(),
                error: error.to_string(),
            });
        }
        Ok(())
    }

    pub(super) fn hear_spawner(&mut self, event: Event) {
        let Some(spawner) = &mut self.spawner else { return };
        let mut alive = if event.writable { spawner.flush() } else { Ok(()) };
        // A budget per turn, as for the workers.
        for _ in 0..256 {
            if alive.is_err() {
                break;
            }
            match spawner.receive() {
                Ok(Some(answer)) => match (answer.message, answer.descriptors.into_iter().next()) {
                    (Answer::Cloned { ticket, pid }, Some(pidfd)) => {
                        self.clones.cloned(&mut self.reactor, ticket, Pid(pid), pidfd);
                    }
                    (Answer::Failed { ticket, failure }, _) => {
                        self.clones.refused(&mut self.reactor, ticket, failure);
                    }
                    (Answer::Cloned { .. }, None) => {
                        alive = Err(ChannelError::Nonsense("a clone without its pidfd".to_owned()));
                    }
                },
                Ok(None) => return,
                Err(error) => alive = Err(error),
            }
        }
        let Err(error) = alive else { return };
        // It is gone, or is given up: programs do not notice, and the next start brings a new one.
        if let Some(spawner) = self.spawner.take() {
            // One that made no sense may still live.
            spawner.kill();
            drop(spawner.close(&mut self.reactor));
        }
        self.clones.spawner_died(&mut self.reactor);
        if self.ending.is_none() {
            let how = match error {
                ChannelError::Closed => "ended".to_owned(),
                error => format!("was ended ({error})"),
            };
            self.record(Kind::WorkerRestarted, Facts::message(format!("the spawner {how}; another takes its place")));
        }
    }

    /// The stop signal or SIGKILL, to whom `scope` says.
    fn send_signal(&mut self, id: &ProcessId, signal: Signal, scope: KillMode) {
        let main = self.clones.pid_of(id).zip(self.clones.pidfd_of(id));
        self.remains.signal(id, main, signal, scope);
        if signal != Signal::KILL {
            // A stopped process cannot end; this lets it.
            self.remains.signal(id, main, Signal::CONT, scope);
        }
    }

    fn announce(&mut self, order: &Order, notice: &Notice) {
        let (id, program) = (&order.id, &order.program);
        let failure = notice.failure.as_ref();
        let moved = notice.from != notice.to;
        let facts = Facts {
            program: Some(id.program.clone()),
            process: Some(id.shown(program.numprocs)),
            // A start has no process yet: the last one's number would mislead.
            pid: self.pids.get(id).filter(|_| notice.kind != Kind::ProcessStarting).map(|pid| pid.0),
            user: Some(program.exec.user.as_ref().map_or_else(|| self.own.user.clone(), ToString::to_string)),
            from: moved.then_some(notice.from),
            to: moved.then_some(notice.to),
            code: notice.exit.and_then(|exit| exit.code()),
            signal: notice.exit.and_then(|exit| exit.signal()),
            core_dumped: notice.exit.filter(|exit| exit.signal().is_some()).map(|exit| exit.core_dumped()),
            uptime_seconds: notice.uptime.map(view::seconds),
            restarts: (order.restarts > 0).then_some(order.restarts),
            attempt: notice.attempt,
            tries_max: notice.attempt.map(|_| program.watch.startretries),
            stage: failure.map(|failure| failure.stage),
            errno: failure.map(|failure| failure.errno).filter(|errno| *errno != 0),
            channel: None,
            message: failure.map(ToString::to_string).or_else(|| notice.message.clone()),
        };
        self.waiters.observe(id, notice);
        self.record_of(Some((id, program)), notice.kind, facts);
    }

    /// The kernel cannot enforce what is configured, and the configuration lets the program run all the same.
    fn tell_unrestricted(&mut self, id: &ProcessId, why: &str) {
        let words = format!("`restrict_paths` is not enforced as configured: {why}");
        self.tell_lack(id, Stage::RestrictPaths, words);
    }

    /// Once for each program: it runs, and what it starts can get away.
    fn tell_ungrouped(&mut self, id: &ProcessId) {
        if let Some(why) = self.remains.outside_untold(id) {
            let words = format!("{}: {why}; its process group is what is stopped", Stage::ControlGroup.words());
            self.tell_lack(id, Stage::ControlGroup, words);
        }
    }

    /// A part of its boundary is missing, and it runs all the same.
    fn tell_lack(&mut self, id: &ProcessId, stage: Stage, words: String) {
        let Some(program) = self.fleet.member(id).map(|member| Arc::clone(&member.program)) else { return };
        let facts = Facts {
            program: Some(id.program.clone()),
            process: Some(id.shown(program.numprocs)),
            pid: self.pids.get(id).map(|pid| pid.0),
            user: Some(program.exec.user.as_ref().map_or_else(|| self.own.user.clone(), ToString::to_string)),
            stage: Some(stage),
            message: Some(words),
            ..Facts::default()
        };
        self.record_of(Some((id, &program)), Kind::ProcessUnrestricted, facts);
    }

    /// Records an event, and tells it to whoever listens.
    pub fn record(&mut self, kind: Kind, facts: Facts) {
        self.record_of(None, kind, facts);
    }

    /// Records an event about this program as it was then: it may be forgotten by now.
    fn record_of(&mut self, about: Option<(&ProcessId, &Program)>, kind: Kind, facts: Facts) {
        let program = about.map(|(_, program)| program);
        self.manager.changed();
        let event = self.journal.record(kind, facts, about.map(|(id, program)| about_of(id, program)));
        let target = program.map_or_else(|| authority::target(&self.fleet, &event), permission::Target::of);
        let rules = &self.rules;
        let group = match target {
            permission::Target::Program { group, .. } => group,
            permission::Target::All => None,
        };
        self.control.tell(&mut self.reactor, &event, group, |peer| rules.may(peer, Verb::Status, target));
        self.feed_notifier();
    }

    /// Reaps what has ended: our own clones, and orphans that the kernel gave to us.
    pub(super) fn reap(&mut self) {
        self.zombies_wait = false;
        let mut orphans = false;
        while let Some(pid) = process::some_zombie() {
            if self.clones.check_exit_of(&mut self.reactor, pid) {
                continue;
            }
            if self.clones.is_expecting() {
                // It may be a clone that the spawner has not told of yet.
                self.zombies_wait = true;
                break;
            }
            if process::reap_number(pid).is_err() {
                break;
            }
            orphans = true;
        }
        if orphans {
            self.remains.check_soon(clock::now());
        }
    }

    pub(super) fn check_remains(&mut self, now: Moment) {
        for id in self.remains.emptied(now) {
            self.input(&id, Input::Emptied);
        }
    }

    pub(super) fn serve_client(&mut self, id: ClientId, event: Event) {
        if self.control.serve(&mut self.reactor, id, event) {
            self.waiters.forget(id);
            self.reloads.forget(id);
            self.clearing.forget(id);
            self.asking.forget(id);
        }
    }

    pub fn answer(&mut self, client: ClientId, answer: &impl Serialize) {
        self.control.answer(&mut self.reactor, client, answer);
    }

    /// Sends a part of an answer, unless too much waits for the client to be read.
    pub(super) fn partial_answer(&mut self, client: ClientId, part: &impl Serialize) {
        if !self.control.is_behind(client) {
            self.control.partial(&mut self.reactor, client, part);
        }
    }

    /// Answers with what is known, and from then on with every event.
    pub fn follow(&mut self, client: ClientId, first: &impl Serialize, only: Only) {
        self.control.partial(&mut self.reactor, client, first);
        self.control.follow(client, only);
    }
}

/// What the notifier has to know of an event's program.
fn about_of(id: &ProcessId, program: &Program) -> About {
    About {
        program: program.name.clone(),
        instance: id.instance,
        group_name: program.group_name.clone(),
        alerts: program.alerts.clone(),
    }
}
