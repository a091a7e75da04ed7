//! The processes of a program that had bad events, and whether each is well again.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::deadline::Deadline;
use super::notice::End;
use crate::model::event::Kind;
use crate::model::time::Moment;

/// How many are followed of one program. Of those beyond, the bad events count and nothing else.
pub const MEMBERS_MAX: usize = 256;
/// A process that was stopped or has exited is at rest when it is not started again within this time.
const SETTLE: Duration = Duration::from_secs(1);

/// What a kind of event says about a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It is not well.
    Bad,
    /// It is on its way.
    Changing,
    Up,
    Rest(End),
    /// Nothing.
    Momentary,
}

impl Role {
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::ProcessCrashed
            | Kind::ProcessKilled
            | Kind::ProcessFatal
            | Kind::ProcessStartFailed
            | Kind::ProcessBackoff
            | Kind::NotifyFailing => Self::Bad,
            Kind::ProcessStarting | Kind::ProcessStopping => Self::Changing,
            Kind::ProcessRunning => Self::Up,
            Kind::ProcessStopped => Self::Rest(End::Stopped),
            Kind::ProcessExited => Self::Rest(End::Exited),
            Kind::NotifyRecovered => Self::Rest(End::Recovered),
            Kind::SupervisorStarted
            | Kind::SupervisorStopping
            | Kind::SupervisorStopped
            | Kind::ConfigReloaded
            | Kind::ConfigRejected
            | Kind::ProcessUnrestricted
            | Kind::WorkerRestarted
            | Kind::OutputDropped
            | Kind::OutputFailing
            | Kind::OutputRecovered
            | Kind::ControlDenied
            | Kind::NotifyTest => Self::Momentary,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Bad,
    /// RUNNING; well from then on.
    Up(Deadline),
    /// Ended in this way; from then on it counts.
    Rest(End, Deadline),
}

impl Health {
    fn is_well(self, now: Moment) -> bool {
        self.well_at().is_some_and(|at| at.is_due(now))
    }

    fn well_at(self) -> Option<Deadline> {
        match self {
            Self::Bad => None,
            Self::Up(at) | Self::Rest(_, at) => Some(at),
        }
    }
}

/// Never empty in an incident.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Members(BTreeMap<u32, Health>);

impl Members {
    /// It had a bad event.
    pub fn bad(&mut self, instance: u32) {
        if self.0.len() < MEMBERS_MAX || self.0.contains_key(&instance) {
            self.0.insert(instance, Health::Bad);
        }
    }

    /// What an event says about one of them; false: it is none of them.
    pub fn observe(&mut self, instance: u32, role: Role, recovery_after: Duration, now: Moment) -> bool {
        let Some(health) = self.0.get_mut(&instance) else { return false };
        *health = match role {
            Role::Bad | Role::Changing => Health::Bad,
            Role::Up => Health::Up(Deadline::after(now, recovery_after)),
            Role::Rest(End::Recovered) => Health::Rest(End::Recovered, Deadline::after(now, Duration::ZERO)),
            Role::Rest(end) => Health::Rest(end, Deadline::after(now, SETTLE)),
            Role::Momentary => *health,
        };
        true
    }

    /// The supervisor has ended, and with it all of them.
    pub fn all_bad(&mut self) {
        self.0.values_mut().for_each(|health| *health = Health::Bad);
    }

    pub fn are_well(&self, now: Moment) -> bool {
        self.0.values().all(|health| health.is_well(now))
    }

    /// Well, and none of them runs.
    pub fn are_at_rest(&self, now: Moment) -> bool {
        self.are_well(now) && self.none_runs()
    }

    pub fn none_runs(&self) -> bool {
        !self.0.values().any(|health| matches!(health, Health::Up(_)))
    }

    /// How it ended, when all are well.
    pub fn end(&self) -> End {
        let ends: Vec<End> = self
            .0
            .values()
            .filter_map(|health| if let Health::Rest(end, _) = health { Some(*end) } else { None })
            .collect();
        let runs = ends.len() < self.0.len();
        match () {
            () if runs || ends.contains(&End::Recovered) => End::Recovered,
            () if ends.contains(&End::Stopped) => End::Stopped,
            () => End::Exited,
        }
    }

    /// When all are well, if nothing else happens.
    pub fn well_at(&self) -> Option<Moment> {
        let moments: Option<Vec<Moment>> =
            self.0.values().map(|health| health.well_at().map(Deadline::moment)).collect();
        moments?.into_iter().max()
    }

    pub fn instances(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    pub fn is_nonsense(&self) -> bool {
        self.0.is_empty() || self.0.len() > MEMBERS_MAX
    }

    pub fn each_deadline(&mut self, change: &mut dyn FnMut(&mut Deadline)) {
        for health in self.0.values_mut() {
            if let Health::Up(at) | Health::Rest(_, at) = health {
                change(at);
            }
        }
    }
}
