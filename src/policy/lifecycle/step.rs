//! What each input does to a life in each phase, and the moves from phase to phase that follow from it. The table
//! is at the head of [`super`].
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::model::event::Kind;
use crate::model::exit::ExitStatus;
use crate::model::program::{AutoRestart, KillMode, Watch};
use crate::model::stage::StartFailure;
use crate::model::state::{State, Wanted};
use crate::model::time::{Moment, human};
use crate::policy::backoff;

use super::{Act, Halt, Launch, Life, Notice, Phase, REMAINS_PATIENCE, SHORT_LIFE};

/// Why a process gets no time to end.
const AT_ONCE: &str = "it was to end at once";

/// One step in the making.
pub(super) struct Step<'a> {
    pub life: &'a mut Life,
    pub watch: &'a Watch,
    pub now: Moment,
    pub acts: Vec<Act>,
}

impl Step<'_> {
    pub fn start(&mut self) {
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

    pub fn stop(&mut self) {
        self.life.wanted = Wanted::Down;
        self.end(false);
    }

    pub fn kill(&mut self) {
        self.life.wanted = Wanted::Down;
        self.end(true);
    }

    pub fn restart(&mut self) {
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
                self.kill_now(AT_ONCE.to_owned());
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
            Phase::Stopping(Halt::Told { .. }) if at_once => self.kill_now(AT_ONCE.to_owned()),
            Phase::Stopping(_) => {}
        }
    }

    fn enter_stopping(&mut self, halt: Halt) {
        let from = self.life.state();
        self.life.phase = Phase::Stopping(halt);
        self.life.reason = None;
        self.announce(Kind::ProcessStopping, from, |_| {});
    }

    fn kill_now(&mut self, why: String) {
        let from = self.life.state();
        self.life.phase = Phase::Stopping(Halt::Killed { at: self.now, reported: false });
        self.acts.push(Act::Kill { scope: self.watch.kill_mode });
        self.announce(Kind::ProcessKilled, from, |notice| notice.message = Some(why));
    }

    pub fn cloned(&mut self) {
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

    pub fn executed(&mut self) {
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

    pub fn start_failed(&mut self, failure: StartFailure) {
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

    pub fn exited(&mut self, status: ExitStatus, rest: bool) {
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

    pub fn emptied(&mut self) {
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

    pub fn tick(&mut self) {
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
            Phase::Stopping(Halt::Told { .. }) => {
                let (patience, signal) = (human(self.watch.stoptime), self.watch.stopsignal);
                self.kill_now(format!("it did not end within {patience} of SIG{signal}"));
            }
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
