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

mod step;

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::event::Kind;
use crate::model::exit::ExitStatus;
use crate::model::program::{KillMode, Watch};
use crate::model::signal::Signal;
use crate::model::stage::StartFailure;
use crate::model::state::{State, Wanted};
use crate::model::time::Moment;

use step::Step;

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

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
