//! Commands that are answered when their result is there: each watches the events of the processes it
//! named. Pure: it is told what happens and says whom to answer.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

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
    /// That the start which is going on gets there.
    RunningAlready,
    Stopped,
    /// First stopped, then running.
    StoppedThenRunning,
}

struct Item {
    shown: String,
    goal: Goal,
    not_executed: bool,
    outcome: Option<(Outcome, Option<String>)>,
    /// The client has been told the outcome.
    told: bool,
}

struct Waiter {
    client: ClientId,
    items: Vec<Item>,
    /// Where in `items` those without an outcome are.
    open: BTreeMap<ProcessId, usize>,
    /// The client takes each result as it comes.
    more: bool,
    /// The client knows which processes are waited for.
    announced: bool,
}

/// All commands that wait.
#[derive(Default)]
pub struct Waiters(Vec<Waiter>);

/// A command in the making: what is known at once, and what is waited for.
pub struct Pending(Waiter);

impl Pending {
    /// With `more`, each result is told as it comes.
    pub fn new(client: ClientId, more: bool) -> Self {
        Self(Waiter { client, items: Vec::new(), open: BTreeMap::new(), more, announced: false })
    }

    pub fn known(&mut self, shown: String, outcome: Outcome, detail: Option<String>) {
        let (goal, outcome) = (Goal::Running, Some((outcome, detail)));
        self.0.items.push(Item { shown, goal, not_executed: false, outcome, told: false });
    }

    pub fn wait(&mut self, id: &ProcessId, shown: String, goal: Goal) {
        self.0.open.insert(id.clone(), self.0.items.len());
        self.0.items.push(Item { shown, goal, not_executed: false, outcome: None, told: false });
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
        self.change(id, |item| item.observe(notice));
    }

    /// Somebody else wants a process down: whoever waits for it to run waits in vain.
    pub fn superseded(&mut self, id: &ProcessId) {
        self.change(id, |item| {
            if item.goal != Goal::Stopped {
                item.outcome = Some((Outcome::Superseded, Some("it was told to stop meanwhile".to_owned())));
            }
        });
    }

    /// A process left the configuration: whoever waits for it to run waits in vain.
    pub fn gone(&mut self, id: &ProcessId) {
        self.change(id, |item| {
            item.outcome = Some((Outcome::Superseded, Some("it was removed from the configuration".to_owned())));
        });
    }

    /// Does this to what waits for a process. Whoever waits for others is not looked through: many clients
    /// that wait for thousands would make each event dear.
    fn change(&mut self, id: &ProcessId, mut change: impl FnMut(&mut Item)) {
        for Waiter { items, open, .. } in &mut self.0 {
            let Some(item) = open.get(id).and_then(|place| items.get_mut(*place)) else { continue };
            change(item);
            if item.outcome.is_some() {
                open.remove(id);
            }
        }
    }

    /// What is new for clients that take each result as it comes and still wait for others: first also which
    /// ones. Whoever is not ready for more is told later.
    pub fn progress(&mut self, is_ready: impl Fn(ClientId) -> bool) -> Vec<(ClientId, ChangeReply)> {
        let waits = |waiter: &&mut Waiter| waiter.more && !waiter.is_done() && is_ready(waiter.client);
        self.0.iter_mut().filter(waits).filter_map(Waiter::news).collect()
    }

    /// The commands whose last result is there.
    pub fn complete(&mut self) -> Vec<(ClientId, ChangeReply)> {
        let done = self.0.extract_if(.., |waiter| waiter.is_done());
        done.map(|mut waiter| (waiter.client, waiter.untold())).collect()
    }
}

impl Waiter {
    fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    /// The results that the client does not know yet.
    fn untold(&mut self) -> ChangeReply {
        let untold = self.items.iter_mut().filter(|item| item.outcome.is_some() && !item.told);
        let results = untold.filter_map(|item| {
            item.told = true;
            let (outcome, detail) = item.outcome.clone()?;
            Some(ChangeResult { process: item.shown.clone(), outcome, detail })
        });
        ChangeReply { results: results.collect(), waiting: Vec::new() }
    }

    fn news(&mut self) -> Option<(ClientId, ChangeReply)> {
        let mut reply = self.untold();
        if !std::mem::replace(&mut self.announced, true) {
            let open = self.items.iter().filter(|item| item.outcome.is_none());
            reply.waiting = open.map(|item| item.shown.clone()).collect();
        }
        let is_news = !reply.results.is_empty() || !reply.waiting.is_empty();
        is_news.then_some((self.client, reply))
    }
}

impl Item {
    fn observe(&mut self, notice: &Notice) {
        let end = |outcome| Some((outcome, notice.message.clone()));
        match (self.goal, notice.kind) {
            (Goal::Stopped, Kind::ProcessStopped) => self.outcome = Some((Outcome::Stopped, None)),
            (Goal::StoppedThenRunning, Kind::ProcessStopped) => self.goal = Goal::Running,
            (Goal::Running, Kind::ProcessRunning) => self.outcome = Some((Outcome::Started, None)),
            (Goal::RunningAlready, Kind::ProcessRunning) => self.outcome = Some((Outcome::AlreadyStarted, None)),
            (Goal::Running | Goal::RunningAlready, Kind::ProcessStartFailed) => self.not_executed = true,
            (Goal::Running | Goal::RunningAlready, Kind::ProcessBackoff | Kind::ProcessFatal) => {
                let failed = if self.not_executed { Outcome::SpawnError } else { Outcome::AbnormalTermination };
                self.outcome = end(failed);
            }
            (Goal::Running | Goal::RunningAlready, Kind::ProcessStopping) => self.outcome = end(Outcome::Superseded),
            (Goal::Running | Goal::RunningAlready, Kind::ProcessStopped) if notice.from != State::Stopping => {
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
        let mut pending = Pending::new(ClientId(1), false);
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
    fn a_start_that_goes_on_already_is_over_in_the_same_way() {
        use Kind::{ProcessBackoff, ProcessRunning, ProcessStartFailed, ProcessStopping};
        let goal = Goal::RunningAlready;
        assert_eq!(outcome(goal, &[ProcessRunning]), Some(Outcome::AlreadyStarted));
        assert_eq!(outcome(goal, &[ProcessStartFailed, ProcessBackoff]), Some(Outcome::SpawnError));
        assert_eq!(outcome(goal, &[ProcessBackoff]), Some(Outcome::AbnormalTermination));
        assert_eq!(outcome(goal, &[ProcessStopping]), Some(Outcome::Superseded));
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
            let mut pending = Pending::new(ClientId(1), false);
            pending.wait(&web(), "web".to_owned(), goal);
            waiters.add(pending);
            waiters.superseded(&web());
            assert_eq!(waiters.complete().first().map(|(_, reply)| reply.results[0].outcome), expected, "{goal:?}");
        }
    }

    #[test]
    fn a_client_that_left_is_not_answered() {
        let mut waiters = Waiters::default();
        let mut pending = Pending::new(ClientId(1), false);
        pending.known("web".to_owned(), Outcome::AlreadyStarted, None);
        waiters.add(pending);
        waiters.forget(ClientId(1));
        assert!(waiters.complete().is_empty());
    }

    #[test]
    fn who_takes_more_hears_first_whom_it_waits_for_and_then_each_result_once() {
        let db = ProcessId::new(&ProgramName::new("db").expect("a name"), 0);
        let mut waiters = Waiters::default();
        let mut pending = Pending::new(ClientId(1), true);
        pending.known("old".to_owned(), Outcome::AlreadyStarted, None);
        pending.wait(&web(), "web".to_owned(), Goal::Running);
        pending.wait(&db, "db".to_owned(), Goal::Running);
        waiters.add(pending);
        let names = |results: &[ChangeResult]| results.iter().map(|r| r.process.clone()).collect::<Vec<_>>();
        assert!(waiters.progress(|_| false).is_empty(), "it is not ready");
        let first = waiters.progress(|_| true).remove(0).1;
        assert_eq!((names(&first.results), first.waiting), (vec!["old".to_owned()], vec!["web".into(), "db".into()]));
        assert!(waiters.progress(|_| true).is_empty());
        waiters.observe(&db, &notice(Kind::ProcessRunning));
        let second = waiters.progress(|_| true).remove(0).1;
        assert_eq!((names(&second.results), second.waiting), (vec!["db".to_owned()], vec![]));
        waiters.observe(&web(), &notice(Kind::ProcessRunning));
        assert!(waiters.progress(|_| true).is_empty(), "the last comes with the end");
        assert_eq!(names(&waiters.complete()[0].1.results), ["web"]);
    }

    #[test]
    fn hundreds_of_clients_that_wait_for_thousands_do_not_make_an_event_dear() {
        let ids: Vec<ProcessId> =
            (0..5000).map(|number| ProcessId::new(&ProgramName::new("web").expect("a name"), number)).collect();
        let mut waiters = Waiters::default();
        for client in 0..100 {
            let mut pending = Pending::new(ClientId(client), false);
            ids.iter().for_each(|id| pending.wait(id, id.to_string(), Goal::Running));
            waiters.add(pending);
        }
        let before = std::time::Instant::now();
        ids.iter().for_each(|id| waiters.observe(id, &notice(Kind::ProcessStarting)));
        ids.iter().for_each(|id| waiters.superseded(id));
        let took = before.elapsed();
        assert!(took < std::time::Duration::from_secs(4), "{took:?}");
        assert_eq!(waiters.complete().len(), 100);
    }
}
