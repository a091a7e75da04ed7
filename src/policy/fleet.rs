//! All processes together: which exist by the configuration, in what order they start and stop, when
//! the next deadline is, and what a reload or a shutdown means for each.
//!
//! Starts go by ascending priority, then name. A shutdown goes the other way, one priority at a time:
//! the next is told to stop when everything of the one before is at rest.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::model::id::{ProcessId, ProgramName};
use crate::model::plan::Plan;
use crate::model::program::Program;
use crate::model::state::Wanted;
use crate::model::time::Moment;

use super::lifecycle::{Act, Input, Life};
use super::reload::{self, Change};
use super::will::Will;

/// What is to be done, and to which process.
#[derive(Clone, PartialEq, Debug)]
pub struct Order {
    pub id: ProcessId,
    /// The program as it was when this was decided: the process may be forgotten by now.
    pub program: Arc<Program>,
    pub restarts: u64,
    pub act: Act,
}

/// One process: its life and the program it is an instance of.
#[derive(Clone, Debug)]
pub struct Member {
    pub life: Life,
    pub program: Arc<Program>,
    /// Not configured any more: forgotten once it is at rest.
    leaving: bool,
    deadline: Option<Moment>,
}

impl Member {
    /// The name people see.
    pub fn shown(&self, id: &ProcessId) -> String {
        id.shown(self.program.numprocs)
    }
}

/// Every process, running or not.
#[derive(Default)]
pub struct Fleet {
    programs: BTreeMap<ProgramName, Arc<Program>>,
    members: BTreeMap<ProcessId, Member>,
    deadlines: BTreeSet<(Moment, ProcessId)>,
    shutting_down: bool,
    /// What people told processes to be: it counts when they are made.
    pub will: Will,
}

impl Fleet {
    pub fn members(&self) -> impl Iterator<Item = (&ProcessId, &Member)> + Clone {
        self.members.iter()
    }

    pub fn member(&self, id: &ProcessId) -> Option<&Member> {
        self.members.get(id)
    }

    /// The processes that are configured, for selectors: those on their way out are not.
    pub fn selectable(&self) -> impl Iterator<Item = (&ProcessId, &Program)> + Clone {
        self.members.iter().filter(|(_, member)| !member.leaving).map(|(id, member)| (id, &*member.program))
    }

    /// The group that a program belongs to, while it or a process of it is there.
    pub fn group_of(&self, name: &ProgramName) -> Option<&str> {
        let (id, member) = self.members.range(ProcessId::new(name, 0)..).next()?;
        if id.program == *name { member.program.group_name.as_deref() } else { None }
    }

    pub fn is_shutting_down(&self) -> bool {
        self.shutting_down
    }

    /// Nothing runs and nothing will by itself.
    pub fn is_at_rest(&self) -> bool {
        self.members.values().all(|member| member.life.is_at_rest())
    }

    /// When [`Fleet::tick`] has something to do next.
    pub fn deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(moment, _)| *moment)
    }

    /// What a configuration would change.
    pub fn plan(&self, programs: &[Program]) -> Plan {
        reload::plan(&self.programs, &by_name(programs))
    }

    /// Takes over a configuration: at the start, or at a reload.
    pub fn configure(&mut self, programs: &[Program], now: Moment) -> (Plan, Vec<Order>) {
        let new = by_name(programs);
        let plan = reload::plan(&self.programs, &new);
        let mut orders = Vec::new();
        let known: Vec<ProcessId> = self.members.keys().cloned().collect();
        for id in known {
            match new.get(&id.program).filter(|program| id.instance < program.numprocs) {
                None => self.dismiss(&id, now, &mut orders),
                Some(program) => self.revise(&id, program, now, &mut orders),
            }
        }
        let mut fresh: Vec<(i32, ProcessId, Arc<Program>)> = Vec::new();
        for program in new.values() {
            for instance in 0..program.numprocs {
                let id = ProcessId::new(&program.name, instance);
                if !self.members.contains_key(&id) {
                    fresh.push((program.watch.priority, id, Arc::clone(program)));
                }
            }
        }
        fresh.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        for (_, id, program) in fresh {
            let starts = self.will.of(&id).map_or(program.watch.autostart, |wanted| wanted == Wanted::Up);
            let life = Life::new(salt(&id));
            self.members.insert(id.clone(), Member { life, program, leaving: false, deadline: None });
            if starts && !self.shutting_down {
                self.step(&id, Input::Start, now, &mut orders);
            }
        }
        self.will.keep(|name| new.get(name).map(|program| program.numprocs));
        self.programs = new;
        (plan, orders)
    }

    /// A process is not configured any more.
    fn dismiss(&mut self, id: &ProcessId, now: Moment, orders: &mut Vec<Order>) {
        if let Some(member) = self.members.get_mut(id) {
            member.leaving = true;
        }
        self.step(id, Input::Stop, now, orders);
    }

    /// A process stays; its program may have changed.
    fn revise(&mut self, id: &ProcessId, program: &Arc<Program>, now: Moment, orders: &mut Vec<Order>) {
        let Some(member) = self.members.get_mut(id) else { return };
        let came_back = std::mem::replace(&mut member.leaving, false);
        let change = reload::change(&member.program, program);
        let wanted_up = member.life.wanted == Wanted::Up;
        let at_rest = member.life.state().is_at_rest();
        let input = match change {
            _ if self.shutting_down => None,
            _ if came_back => program.watch.autostart.then_some(Input::Start),
            Change::None | Change::InPlace => None,
            Change::Restart if !wanted_up => None,
            Change::Restart if at_rest => program.watch.autostart.then_some(Input::Start),
            Change::Restart => Some(Input::Restart),
        };
        // The old program's stop signal ends what the old program started.
        if let Some(input) = input {
            let starts_now = matches!(input, Input::Start);
            if starts_now {
                self.set_program(id, program);
            }
            self.step(id, input, now, orders);
        }
        self.set_program(id, program);
        self.reschedule(id);
    }

    fn set_program(&mut self, id: &ProcessId, program: &Arc<Program>) {
        if let Some(member) = self.members.get_mut(id) {
            member.program = Arc::clone(program);
        }
    }

    /// Somebody tells a process to be so, and it is to stay so.
    pub fn ordered_by_hand(&mut self, id: &ProcessId, wanted: Wanted) {
        if let Some(member) = self.members.get(id).filter(|member| !member.leaving) {
            self.will.ordered(id, wanted, member.program.watch.autostart);
        }
    }

    /// Something happened to one process.
    pub fn handle(&mut self, id: &ProcessId, input: Input, now: Moment) -> Vec<Order> {
        let mut orders = Vec::new();
        if self.shutting_down && matches!(input, Input::Start | Input::Restart) {
            return orders;
        }
        self.step(id, input, now, &mut orders);
        self.go_on_shutting_down(now, &mut orders);
        orders
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Moment) -> Vec<Order> {
        let mut orders = Vec::new();
        while let Some((_, id)) = self.deadlines.first().filter(|(moment, _)| *moment <= now).cloned() {
            self.step(&id, Input::Tick, now, &mut orders);
            if self.deadlines.first().is_some_and(|(moment, next)| *moment <= now && *next == id) {
                break; // a step that leaves its deadline as it was must not spin
            }
        }
        self.go_on_shutting_down(now, &mut orders);
        orders
    }

    /// Stops everything, last started first.
    pub fn shut_down(&mut self, now: Moment) -> Vec<Order> {
        let mut orders = Vec::new();
        self.shutting_down = true;
        self.go_on_shutting_down(now, &mut orders);
        orders
    }

    /// Kills everything that still runs.
    pub fn kill_all(&mut self, now: Moment) -> Vec<Order> {
        let mut orders = Vec::new();
        self.shutting_down = true;
        let ids: Vec<ProcessId> = self.members.keys().cloned().collect();
        for id in ids {
            self.step(&id, Input::Kill, now, &mut orders);
        }
        orders
    }

    fn go_on_shutting_down(&mut self, now: Moment, orders: &mut Vec<Order>) {
        if !self.shutting_down {
            return;
        }
        loop {
            let unrest = self.members.values().filter(|member| !member.life.is_at_rest());
            let Some(level) = unrest.map(|member| member.program.watch.priority).max() else { return };
            let told: Vec<ProcessId> = self
                .members
                .iter()
                .filter(|(_, member)| member.program.watch.priority == level)
                .filter(|(_, member)| !member.life.is_at_rest() && !member.life.is_ending())
                .map(|(id, _)| id.clone())
                .collect();
            if told.is_empty() {
                return; // all of this level are on their way
            }
            for id in told.iter().rev() {
                self.step(id, Input::Stop, now, orders);
            }
            // A process in BACKOFF is at rest at once: then the next level may begin.
        }
    }

    fn step(&mut self, id: &ProcessId, input: Input, now: Moment, orders: &mut Vec<Order>) {
        let Some(member) = self.members.get_mut(id) else { return };
        let acts = member.life.step(&member.program.watch, input, now);
        let restarts = member.life.restarts;
        let order = |act| Order { id: id.clone(), program: Arc::clone(&member.program), restarts, act };
        orders.extend(acts.into_iter().map(order));
        self.reschedule(id);
        if self.members.get(id).is_some_and(|member| member.leaving && member.life.is_at_rest()) {
            self.forget(id);
        }
    }

    fn reschedule(&mut self, id: &ProcessId) {
        let Some(member) = self.members.get_mut(id) else { return };
        let deadline = member.life.deadline(&member.program.watch);
        if deadline != member.deadline {
            if let Some(old) = member.deadline {
                self.deadlines.remove(&(old, id.clone()));
            }
            if let Some(new) = deadline {
                self.deadlines.insert((new, id.clone()));
            }
            member.deadline = deadline;
        }
    }

    fn forget(&mut self, id: &ProcessId) {
        if let Some(member) = self.members.remove(id)
            && let Some(deadline) = member.deadline
        {
            self.deadlines.remove(&(deadline, id.clone()));
        }
    }
}

fn by_name(programs: &[Program]) -> BTreeMap<ProgramName, Arc<Program>> {
    programs.iter().map(|program| (program.name.clone(), Arc::new(program.clone()))).collect()
}

fn salt(id: &ProcessId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
