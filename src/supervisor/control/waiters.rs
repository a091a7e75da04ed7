//! Commands that are answered when their result is there: each watches the events of the processes it
//! named. Pure: it is told what happens and says whom to answer.
#![forbid(unsafe_code)]

use crate::model::event::Kind;
use crate::model::id::ProcessId;
use crate::model::state::State;
use crate::policy::lifecycle::Notice;
use crate::protocol::control::{ChangeReply, ChangeResult, Outcome};

use crate::supervisor::reactor::ClientId;

/// What a command wants of one process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    Running,
    Stopped,
    /// First stopped, then running.
    StoppedThenRunning,
}

struct Item {
    id: ProcessId,
    shown: String,
    goal: Goal,
    not_executed: bool,
    outcome: Option<(Outcome, Option<String>)>,
}

struct Waiter {
    client: ClientId,
    items: Vec<Item>,
}

/// All commands that wait.
#[derive(Default)]
pub struct Waiters(Vec<Waiter>);

/// A command in the making: what is known at once, and what is waited for.
pub struct Pending(Waiter);

impl Pending {
    pub fn new(client: ClientId) -> Self {
        Self(Waiter { client, items: Vec::new() })
    }

    pub fn known(&mut self, id: &ProcessId, shown: String, outcome: Outcome, detail: Option<String>) {
        let outcome = Some((outcome, detail));
        self.0.items.push(Item { id: id.clone(), shown, goal: Goal::Running, not_executed: false, outcome });
    }

    pub fn wait(&mut self, id: &ProcessId, shown: String, goal: Goal) {
        self.0.items.push(Item { id: id.clone(), shown, goal, not_executed: false, outcome: None });
    }
}

impl Waiters {
    pub fn add(&mut self, pending: Pending) {
        self.0.push(pending.0);
    }

    /// The client is gone; its order stands.
    pub fn forget(&mut self, client: ClientId) {
        self.0.retain(|waiter| waiter.client != client);
    }

    /// Something happened to a process.
    pub fn observe(&mut self, id: &ProcessId, notice: &Notice) {
        for item in self.0.iter_mut().flat_map(|waiter| &mut waiter.items) {
            if item.id == *id && item.outcome.is_none() {
                item.observe(notice);
            }
        }
    }

    /// Somebody else wants a process down: whoever waits for it to run waits in vain.
    pub fn superseded(&mut self, id: &ProcessId) {
        for item in self.0.iter_mut().flat_map(|waiter| &mut waiter.items) {
            if item.id == *id && item.outcome.is_none() && item.goal != Goal::Stopped {
                item.outcome = Some((Outcome::Superseded, Some("it was told to stop meanwhile".to_owned())));
            }
        }
    }

    /// A process left the configuration: whoever waits for it to run waits in vain.
    pub fn gone(&mut self, id: &ProcessId) {
        for item in self.0.iter_mut().flat_map(|waiter| &mut waiter.items) {
            if item.id == *id && item.outcome.is_none() {
                item.outcome = Some((Outcome::Superseded, Some("it was removed from the configuration".to_owned())));
            }
        }
    }

    /// The commands whose last result is there.
    pub fn complete(&mut self) -> Vec<(ClientId, ChangeReply)> {
        let is_done = |waiter: &mut Waiter| waiter.items.iter().all(|item| item.outcome.is_some());
        self.0
            .extract_if(.., is_done)
            .map(|waiter| {
                let results = waiter.items.into_iter().filter_map(|item| {
                    let (outcome, detail) = item.outcome?;
                    Some(ChangeResult { process: item.shown, outcome, detail })
                });
                (waiter.client, ChangeReply { results: results.collect() })
            })
            .collect()
    }
}

impl Item {
    fn observe(&mut self, notice: &Notice) {
        let end = |outcome| Some((outcome, notice.message.clone()));
        match (self.goal, notice.kind) {
            (Goal::Stopped, Kind::ProcessStopped) => self.outcome = Some((Outcome::Stopped, None)),
            (Goal::StoppedThenRunning, Kind::ProcessStopped) => self.goal = Goal::Running,
            (Goal::Running, Kind::ProcessRunning) => self.outcome = Some((Outcome::Started, None)),
            (Goal::Running, Kind::ProcessStartFailed) => self.not_executed = true,
            (Goal::Running, Kind::ProcessBackoff | Kind::ProcessFatal) => {
                let failed = if self.not_executed { Outcome::SpawnError } else { Outcome::AbnormalTermination };
                self.outcome = end(failed);
            }
            (Goal::Running, Kind::ProcessStopping) => self.outcome = end(Outcome::Superseded),
            (Goal::Running, Kind::ProcessStopped) if notice.from != State::Stopping => {
                self.outcome = end(Outcome::Superseded);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ProgramName;

    fn web() -> ProcessId {
        ProcessId::new(&ProgramName::new("web").expect("a name"), 0)
    }

    fn notice(kind: Kind) -> Notice {
        Notice {
            kind,
            from: State::Starting,
            to: State::Starting,
            exit: None,
            uptime: None,
            attempt: None,
            failure: None,
            message: Some("why".to_owned()),
        }
    }

    fn outcome(goal: Goal, kinds: &[Kind]) -> Option<Outcome> {
        let mut waiters = Waiters::default();
        let mut pending = Pending::new(ClientId(1));
        pending.wait(&web(), "web".to_owned(), goal);
        waiters.add(pending);
        for kind in kinds {
            assert!(waiters.complete().is_empty(), "too early, before {kind}");
            waiters.observe(&web(), &notice(*kind));
        }
        let done = waiters.complete();
        done.first().map(|(_, reply)| reply.results[0].outcome)
    }

    #[test]
    fn a_start_is_over_when_it_runs_or_has_failed_once() {
        use Kind::{ProcessBackoff, ProcessRunning, ProcessStartFailed, ProcessStarting, ProcessStopping};
        assert_eq!(outcome(Goal::Running, &[ProcessStarting, ProcessRunning]), Some(Outcome::Started));
        let not_executed = [ProcessStarting, ProcessStartFailed, ProcessBackoff];
        assert_eq!(outcome(Goal::Running, &not_executed), Some(Outcome::SpawnError));
        assert_eq!(outcome(Goal::Running, &[ProcessStarting, ProcessBackoff]), Some(Outcome::AbnormalTermination));
        assert_eq!(outcome(Goal::Running, &[ProcessStarting, ProcessStopping]), Some(Outcome::Superseded));
    }

    #[test]
    fn a_restart_is_over_when_it_runs_again() {
        use Kind::{ProcessRunning, ProcessStarting, ProcessStopped, ProcessStopping};
        let way = [ProcessStopping, ProcessStopped, ProcessStarting, ProcessRunning];
        assert_eq!(outcome(Goal::StoppedThenRunning, &way), Some(Outcome::Started));
        assert_eq!(
            outcome(Goal::Stopped, &[ProcessStopping, Kind::ProcessKilled, ProcessStopped]),
            Some(Outcome::Stopped)
        );
    }

    #[test]
    fn a_stop_by_somebody_else_ends_the_wait_for_a_start_and_not_for_a_stop() {
        for (goal, expected) in [
            (Goal::Running, Some(Outcome::Superseded)),
            (Goal::StoppedThenRunning, Some(Outcome::Superseded)),
            (Goal::Stopped, None),
        ] {
            let mut waiters = Waiters::default();
            let mut pending = Pending::new(ClientId(1));
            pending.wait(&web(), "web".to_owned(), goal);
            waiters.add(pending);
            waiters.superseded(&web());
            assert_eq!(waiters.complete().first().map(|(_, reply)| reply.results[0].outcome), expected, "{goal:?}");
        }
    }

    #[test]
    fn a_client_that_left_is_not_answered() {
        let mut waiters = Waiters::default();
        let mut pending = Pending::new(ClientId(1));
        pending.known(&web(), "web".to_owned(), Outcome::AlreadyStarted, None);
        waiters.add(pending);
        waiters.forget(ClientId(1));
        assert!(waiters.complete().is_empty());
    }
}
