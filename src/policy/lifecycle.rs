//! The life of one process: what it is, what is wanted of it, and what follows from whatever happens.
//!
//! *Wanted* (up or down) is kept apart from the *phase*. Every phase meets every input:
//!
//! | phase | means | leaves by |
//! |---|---|---|
//! | STOPPED | nothing runs, a person or the configuration wants it so | Start |
//! | STARTING asked | the spawner was asked; no process known yet | Cloned, StartFailed, Stop |
//! | STARTING cloned | a clone exists and drops its privileges | Executed, StartFailed, Stop |
//! | STARTING executed | the program runs, for less than `starttime` | time → RUNNING; Exited → BACKOFF or FATAL; Stop |
//! | RUNNING | it lived for `starttime` | Exited → EXITED or a restart; Stop |
//! | BACKOFF | a try failed, or a life was shorter than 1 s | time → STARTING; Stop → STOPPED at once |
//! | STOPPING unborn | stopped before the clone was known; killed as soon as it is | Cloned, StartFailed |
//! | STOPPING told | the stop signal was sent | Exited with nothing left → STOPPED; `stoptime` → killed |
//! | STOPPING killed | SIGKILL was sent; repeated and reported while it survives | Exited with nothing left |
//! | EXITED | ended by itself; with `again`, waits for its last descendants to be gone to start again | Start; Emptied |
//! | FATAL | given up | Start |
//!
//! - Start wants it up, Stop and Kill want it down; Restart stops it and wants it up. A process that is
//!   STOPPING and wanted up starts again when it has stopped.
//! - An exit while STARTING is a failed try whatever its code; after `startretries` failed retries the
//!   process is FATAL. RUNNING and a stop clear the count.
//! - A life of less than a second is followed by the backoff delay also when it counted as RUNNING, so
//!   that no setting makes a loop without a delay, unless `backoff` says zero.
//! - A process is dead when its main process is. What is left of its tree is then killed, and a restart
//!   waits until it is gone, [`REMAINS_PATIENCE`] at most.
//! - Deadlines are computed from the phase, so no timer can be stale.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::event::Kind;
use crate::model::exit::ExitStatus;
use crate::model::program::{AutoRestart, KillMode, Watch};
use crate::model::signal::Signal;
use crate::model::stage::StartFailure;
use crate::model::state::{State, Wanted};
use crate::model::time::{Moment, human};

use super::backoff;

/// A life shorter than this is followed by a delay.
pub const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How long a restart waits for descendants that were sent SIGKILL.
pub const REMAINS_PATIENCE: Duration = Duration::from_secs(5);
/// How long after SIGKILL a survivor is reported, and SIGKILL sent again.
pub const KILL_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Stopped,
    Starting(Launch),
    Running,
    Backoff { until: Moment },
    Stopping(Halt),
    Exited { again: bool },
    Fatal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Launch {
    Asked,
    Cloned,
    Executed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Halt {
    Unborn,
    Told { at: Moment },
    Killed { at: Moment, reported: bool },
}

/// What happens to a process.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// A person or the configuration wants it up.
    Start,
    Stop,
    Restart,
    /// Stop at once, by SIGKILL.
    Kill,
    /// The spawner made the clone.
    Cloned,
    /// The clone has become the program.
    Executed,
    /// It could not be executed, and nothing of the try is left.
    StartFailed(StartFailure),
    /// The main process ended. `rest`: descendants are still there.
    Exited {
        status: ExitStatus,
        rest: bool,
    },
    /// The last of the descendants is gone.
    Emptied,
    /// Time has passed.
    Tick,
}

/// What is to be done about it.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    Spawn,
    Signal { signal: Signal, scope: KillMode },
    Kill { scope: KillMode },
    Announce(Notice),
}

/// An event in the making.
#[derive(Clone, PartialEq, Debug)]
pub struct Notice {
    pub kind: Kind,
    pub from: State,
    pub to: State,
    pub exit: Option<ExitStatus>,
    pub uptime: Option<Duration>,
    /// Which retry this is about, of `startretries`; 0 is the first try.
    pub attempt: Option<u32>,
    pub failure: Option<StartFailure>,
    pub message: Option<String>,
}

/// One process's life, all that the decisions need.
#[derive(Clone, PartialEq, Debug)]
pub struct Life {
    pub phase: Phase,
    pub wanted: Wanted,
    /// Executed at; `None` when no program runs.
    pub since: Option<Moment>,
    /// Why it is BACKOFF or FATAL, or what it waits for.
    pub reason: Option<String>,
    pub last_exit: Option<(ExitStatus, Moment)>,
    /// Automatic starts after the first, ever.
    pub restarts: u64,
    failed_tries: u32,
    short_lives: u32,
    /// Descendants were sent SIGKILL; a restart waits until then for them.
    remains: Option<Moment>,
    /// Automatic restarts within `restart_limit.interval`, oldest first.
    recent: VecDeque<Moment>,
    /// Differs between processes, for jitter.
    salt: u64,
}

impl Life {
    pub fn new(salt: u64) -> Self {
        Self {
            phase: Phase::Stopped,
            wanted: Wanted::Down,
            since: None,
            reason: None,
            last_exit: None,
            restarts: 0,
            failed_tries: 0,
            short_lives: 0,
            remains: None,
            recent: VecDeque::new(),
            salt,
        }
    }

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Stopped => State::Stopped,
            Phase::Starting(_) => State::Starting,
            Phase::Running => State::Running,
            Phase::Backoff { .. } => State::Backoff,
            Phase::Stopping(_) => State::Stopping,
            Phase::Exited { .. } => State::Exited,
            Phase::Fatal => State::Fatal,
        }
    }

    /// Nothing of it runs and nothing will by itself.
    pub fn is_at_rest(&self) -> bool {
        match self.phase {
            Phase::Stopped | Phase::Fatal | Phase::Exited { again: false } => self.remains.is_none(),
            Phase::Starting(_)
            | Phase::Running
            | Phase::Backoff { .. }
            | Phase::Stopping(_)
            | Phase::Exited { again: true } => false,
        }
    }

    /// It was told to end, or has ended but for what it left behind: another stop changes nothing.
    pub fn is_ending(&self) -> bool {
        let ends =
            matches!(self.phase, Phase::Stopping(_) | Phase::Stopped | Phase::Fatal | Phase::Exited { again: false });
        self.wanted == Wanted::Down && ends
    }

    /// When time alone will change something.
    pub fn deadline(&self, watch: &Watch) -> Option<Moment> {
        match self.phase {
            Phase::Starting(Launch::Executed) => self.since.map(|since| since + watch.starttime),
            Phase::Backoff { until } => Some(self.remains.map_or(until, |patience| until.max(patience))),
            Phase::Stopping(Halt::Told { at }) => Some(at + watch.stoptime),
            Phase::Stopping(Halt::Killed { at, .. }) => Some(at + KILL_PATIENCE),
            Phase::Stopped | Phase::Fatal | Phase::Exited { .. } => self.remains,
            Phase::Starting(Launch::Asked | Launch::Cloned) | Phase::Running | Phase::Stopping(Halt::Unborn) => None,
        }
    }

    /// What follows from `input`: changes the life and says what is to be done, in order.
    pub fn step(&mut self, watch: &Watch, input: Input, now: Moment) -> Vec<Act> {
        let mut step = Step { life: self, watch, now, acts: Vec::new() };
        match input {
            Input::Start => step.start(),
            Input::Stop => step.stop(),
            Input::Restart => step.restart(),
            Input::Kill => step.kill(),
            Input::Cloned => step.cloned(),
            Input::Executed => step.executed(),
            Input::StartFailed(failure) => step.start_failed(failure),
            Input::Exited { status, rest } => step.exited(status, rest),
            Input::Emptied => step.emptied(),
            Input::Tick => step.tick(),
        }
        step.acts
    }
}

/// One step in the making.
struct Step<'a> {
    life: &'a mut Life,
    watch: &'a Watch,
    now: Moment,
    acts: Vec<Act>,
}

impl Step<'_> {
    fn start(&mut self) {
        self.life.wanted = Wanted::Up;
        match self.life.phase {
            Phase::Stopped | Phase::Exited { again: false } | Phase::Fatal => {
                self.forget_failures();
                self.begin();
            }
            Phase::Starting(_)
            | Phase::Running
            | Phase::Backoff { .. }
            | Phase::Stopping(_)
            | Phase::Exited { again: true } => {}
        }
    }

    fn stop(&mut self) {
        self.life.wanted = Wanted::Down;
        self.end(false);
    }

    fn kill(&mut self) {
        self.life.wanted = Wanted::Down;
        self.end(true);
    }

    fn restart(&mut self) {
        self.life.wanted = Wanted::Up;
        self.end(false);
        match self.life.phase {
            Phase::Stopped | Phase::Exited { again: false } | Phase::Fatal => self.start(),
            Phase::Stopping(_) => {}
            // `end` leaves none of these.
            Phase::Starting(_) | Phase::Running | Phase::Backoff { .. } | Phase::Exited { again: true } => {}
        }
    }

    /// Brings whatever runs to an end; leaves what is at rest as it is.
    fn end(&mut self, at_once: bool) {
        match self.life.phase {
            Phase::Stopped | Phase::Exited { again: false } | Phase::Fatal => {}
            Phase::Starting(Launch::Asked) => self.enter_stopping(Halt::Unborn),
            // Not the program yet: the stop signal would mean nothing to it.
            Phase::Starting(Launch::Cloned) => {
                self.enter_stopping(Halt::Killed { at: self.now, reported: false });
                self.acts.push(Act::Kill { scope: self.watch.kill_mode });
            }
            Phase::Starting(Launch::Executed) | Phase::Running if at_once => {
                self.enter_stopping(Halt::Told { at: self.now });
                self.kill_now();
            }
            Phase::Starting(Launch::Executed) | Phase::Running => {
                self.enter_stopping(Halt::Told { at: self.now });
                self.acts.push(Act::Signal { signal: self.watch.stopsignal, scope: self.watch.kill_mode });
            }
            Phase::Backoff { .. } | Phase::Exited { again: true } => {
                let from = self.life.state();
                self.life.phase = Phase::Stopped;
                self.life.reason = None;
                self.forget_failures();
                self.announce(Kind::ProcessStopped, from, |_| {});
            }
            Phase::Stopping(Halt::Told { .. }) if at_once => self.kill_now(),
            Phase::Stopping(_) => {}
        }
    }

    fn enter_stopping(&mut self, halt: Halt) {
        let from = self.life.state();
        self.life.phase = Phase::Stopping(halt);
        self.life.reason = None;
        self.announce(Kind::ProcessStopping, from, |_| {});
    }

    fn kill_now(&mut self) {
        let from = self.life.state();
        self.life.phase = Phase::Stopping(Halt::Killed { at: self.now, reported: false });
        self.acts.push(Act::Kill { scope: self.watch.kill_mode });
        self.announce(Kind::ProcessKilled, from, |_| {});
    }

    fn cloned(&mut self) {
        match self.life.phase {
            Phase::Starting(Launch::Asked) => self.life.phase = Phase::Starting(Launch::Cloned),
            Phase::Stopping(Halt::Unborn) => {
                self.life.phase = Phase::Stopping(Halt::Killed { at: self.now, reported: false });
                self.acts.push(Act::Kill { scope: self.watch.kill_mode });
            }
            // Only one clone is ever asked for, and it is told of once.
            Phase::Starting(Launch::Cloned | Launch::Executed)
            | Phase::Stopping(Halt::Told { .. } | Halt::Killed { .. })
            | Phase::Stopped
            | Phase::Running
            | Phase::Backoff { .. }
            | Phase::Exited { .. }
            | Phase::Fatal => {}
        }
    }

    fn executed(&mut self) {
        match self.life.phase {
            Phase::Starting(Launch::Asked | Launch::Cloned) => {
                self.life.since = Some(self.now);
                self.life.phase = Phase::Starting(Launch::Executed);
                if self.watch.starttime.is_zero() {
                    self.enter_running();
                }
            }
            // Executed between the order to kill it and the signal: it is dying.
            Phase::Stopping(_) => self.life.since = Some(self.now),
            Phase::Starting(Launch::Executed)
            | Phase::Stopped
            | Phase::Running
            | Phase::Backoff { .. }
            | Phase::Exited { .. }
            | Phase::Fatal => {}
        }
    }

    fn enter_running(&mut self) {
        self.life.phase = Phase::Running;
        self.life.failed_tries = 0;
        self.announce(Kind::ProcessRunning, State::Starting, |_| {});
    }

    fn start_failed(&mut self, failure: StartFailure) {
        match self.life.phase {
            Phase::Starting(_) => {
                let retry = self.life.failed_tries;
                let told = failure.clone();
                self.announce(Kind::ProcessStartFailed, State::Starting, |notice| {
                    notice.attempt = Some(retry);
                    notice.failure = Some(told);
                });
                self.failed_try(failure.to_string(), None, None);
            }
            Phase::Stopping(_) => self.stopped(None),
            Phase::Stopped | Phase::Running | Phase::Backoff { .. } | Phase::Exited { .. } | Phase::Fatal => {}
        }
    }

    fn exited(&mut self, status: ExitStatus, rest: bool) {
        let uptime = self.life.since.take().map(|since| self.now.since(since));
        self.life.last_exit = Some((status, self.now));
        match self.life.phase {
            Phase::Starting(_) => {
                self.clear_remains(rest);
                self.failed_try(format!("exited too quickly ({status})"), Some(status), uptime);
            }
            Phase::Running => {
                self.clear_remains(rest);
                self.ended(status, uptime.unwrap_or_default());
            }
            Phase::Stopping(_) => {
                let waits = rest && !matches!(self.watch.kill_mode, KillMode::Process);
                if !waits {
                    self.stopped(Some(status));
                }
            }
            Phase::Stopped | Phase::Backoff { .. } | Phase::Exited { .. } | Phase::Fatal => {}
        }
    }

    /// The main process has ended by itself: what is left of its tree goes, too.
    fn clear_remains(&mut self, rest: bool) {
        if rest && matches!(self.watch.kill_mode, KillMode::Tree) {
            self.acts.push(Act::Kill { scope: KillMode::Tree });
            self.life.remains = Some(self.now + REMAINS_PATIENCE);
        }
    }

    /// It ended while RUNNING.
    fn ended(&mut self, status: ExitStatus, uptime: Duration) {
        let expected = status.code().is_some_and(|code| self.watch.exitcodes.contains(&code));
        let kind = if expected { Kind::ProcessExited } else { Kind::ProcessCrashed };
        let restart = match self.watch.autorestart {
            AutoRestart::Always => true,
            AutoRestart::Never => false,
            AutoRestart::Unexpected => !expected,
        };
        self.life.phase = Phase::Exited { again: restart };
        self.announce(kind, State::Running, |notice| {
            notice.exit = Some(status);
            notice.uptime = Some(uptime);
        });
        self.life.short_lives = if uptime < SHORT_LIFE { self.life.short_lives.saturating_add(1) } else { 0 };
        if !restart {
            return;
        }
        let delay = self.delay(self.life.short_lives);
        if delay.is_zero() {
            self.begin_again();
        } else {
            let words = format!("lived only {} ({status}); next start in {}", human(uptime), human(delay));
            self.wait(delay, words, |_| {});
        }
    }

    /// A try has failed: another after a delay, or FATAL.
    fn failed_try(&mut self, words: String, status: Option<ExitStatus>, uptime: Option<Duration>) {
        self.life.failed_tries = self.life.failed_tries.saturating_add(1);
        let tries = self.life.failed_tries;
        if tries > self.watch.startretries {
            let count = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") };
            self.give_up(format!("{words}; gave up after {count}"), status, uptime);
            return;
        }
        let delay = self.delay(tries);
        let words = format!("{words}; retry {tries} of {} in {}", self.watch.startretries, human(delay));
        self.wait(delay, words, |notice| {
            notice.attempt = Some(tries);
            notice.exit = status;
            notice.uptime = uptime;
        });
    }

    fn delay(&self, attempt: u32) -> Duration {
        backoff::delay(&self.watch.backoff, attempt, self.life.salt.wrapping_add(self.life.restarts))
    }

    fn wait(&mut self, delay: Duration, words: String, fill: impl FnOnce(&mut Notice)) {
        let from = self.life.state();
        self.life.phase = Phase::Backoff { until: self.now + delay };
        self.life.reason = Some(words);
        self.announce(Kind::ProcessBackoff, from, fill);
    }

    fn give_up(&mut self, words: String, status: Option<ExitStatus>, uptime: Option<Duration>) {
        let from = self.life.state();
        let tries = self.life.failed_tries;
        self.life.phase = Phase::Fatal;
        self.life.reason = Some(words);
        self.announce(Kind::ProcessFatal, from, |notice| {
            notice.exit = status;
            notice.uptime = uptime;
            notice.attempt = tries.checked_sub(1);
        });
        self.life.failed_tries = 0;
    }

    fn emptied(&mut self) {
        self.life.remains = None;
        match self.life.phase {
            Phase::Stopping(Halt::Told { .. } | Halt::Killed { .. }) if self.life.since.is_none() => {
                let status = self.life.last_exit.map(|(status, _)| status);
                self.stopped(status);
            }
            Phase::Exited { again: true } => self.begin_again(),
            Phase::Backoff { until } if self.now >= until => self.begin_again(),
            Phase::Stopped
            | Phase::Starting(_)
            | Phase::Running
            | Phase::Backoff { .. }
            | Phase::Stopping(_)
            | Phase::Exited { again: false }
            | Phase::Fatal => {}
        }
    }

    fn stopped(&mut self, status: Option<ExitStatus>) {
        self.life.phase = Phase::Stopped;
        self.life.reason = None;
        self.forget_failures();
        self.announce(Kind::ProcessStopped, State::Stopping, |notice| notice.exit = status);
        if self.life.wanted == Wanted::Up {
            self.begin();
        }
    }

    fn tick(&mut self) {
        let due = self.life.deadline(self.watch).is_some_and(|deadline| self.now >= deadline);
        if !due {
            return;
        }
        match self.life.phase {
            Phase::Starting(Launch::Executed) => self.enter_running(),
            Phase::Backoff { .. } | Phase::Exited { again: true } => {
                self.life.remains = None;
                self.begin_again();
            }
            Phase::Stopping(Halt::Told { .. }) => self.kill_now(),
            Phase::Stopping(Halt::Killed { reported, .. }) => {
                self.life.phase = Phase::Stopping(Halt::Killed { at: self.now, reported: true });
                self.acts.push(Act::Kill { scope: self.watch.kill_mode });
                if !reported {
                    self.life.reason = Some("SIGKILL was sent, and it is still there".to_owned());
                    self.announce(Kind::ProcessKilled, State::Stopping, |_| {});
                }
            }
            Phase::Stopped | Phase::Fatal | Phase::Exited { again: false } => self.life.remains = None,
            Phase::Starting(Launch::Asked | Launch::Cloned) | Phase::Running | Phase::Stopping(Halt::Unborn) => {}
        }
    }

    /// A start by itself: counted, limited, and not before the last life's descendants are gone.
    fn begin_again(&mut self) {
        if self.life.remains.is_some_and(|patience| self.now < patience) {
            return; // Emptied or the patience's end comes back here
        }
        if let Some(limit) = self.watch.restart_limit {
            let recent = &mut self.life.recent;
            recent.retain(|at| self.now.since(*at) < limit.interval);
            if recent.len() >= limit.burst as usize {
                recent.clear();
                let words = format!("restarted {} times within {} (restart_limit)", limit.burst, human(limit.interval));
                self.give_up(words, None, None);
                return;
            }
            recent.push_back(self.now);
        } else {
            self.life.recent.clear();
        }
        self.life.restarts += 1;
        self.begin();
    }

    fn begin(&mut self) {
        if self.life.remains.is_some_and(|patience| self.now < patience) {
            self.life.phase = Phase::Exited { again: true };
            return;
        }
        let from = self.life.state();
        self.life.phase = Phase::Starting(Launch::Asked);
        self.life.reason = None;
        self.announce(Kind::ProcessStarting, from, |_| {});
        self.acts.push(Act::Spawn);
    }

    fn forget_failures(&mut self) {
        self.life.failed_tries = 0;
        self.life.short_lives = 0;
        self.life.recent.clear();
    }

    fn announce(&mut self, kind: Kind, from: State, fill: impl FnOnce(&mut Notice)) {
        let mut notice = Notice {
            kind,
            from,
            to: self.life.state(),
            exit: None,
            uptime: None,
            attempt: None,
            failure: None,
            message: self.life.reason.clone(),
        };
        fill(&mut notice);
        self.acts.push(Act::Announce(notice));
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
