//! The loop: each turn takes what happened, deaths first, then what time alone brings, then what clients
//! ask. No step waits for anybody.

use std::process::ExitCode;
use std::time::Duration;

use crate::model::event::{Facts, Kind};
use crate::protocol::varlink::Reply;
use crate::system::{clock, process};

use super::control::calls;
use super::core::{Core, Ending};
use super::reactor::{Event, Source};

impl Core {
    /// Starts everything and runs until the end.
    pub fn run(mut self) -> ExitCode {
        self.tend_workers(clock::now());
        let count = self.config.programs.len();
        let words = format!(
            "taskmasterd {}, {count} program{}, as {}",
            env!("CARGO_PKG_VERSION"),
            if count == 1 { "" } else { "s" },
            self.own.user
        );
        self.record(Kind::SupervisorStarted, Facts { pid: Some(process::own_pid().0), ..Facts::message(words) });
        let programs = self.config.programs.clone();
        let (_, orders) = self.fleet.configure(&programs, clock::now());
        self.carry_out(orders);
        loop {
            let timeout = self.timeout();
            // epoll_wait fails only for a wrong descriptor: there is nothing to do but to go on.
            for event in self.reactor.wait(timeout).unwrap_or_default() {
                self.dispatch(event);
            }
            if let Some(code) = self.finish_turn() {
                return code;
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if self.control.has_runnable() {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.fleet.deadline(),
            self.clones.deadline(),
            self.control.deadline(),
            self.remains.deadline(),
            self.alerts.deadline(),
            self.sendmails.deadline(),
            self.asking.deadline(),
            self.manager.deadline(),
            self.output.compression.deadline(),
            self.workers.values().filter_map(|worker| worker.next_start).min(),
            self.ending.as_ref().and_then(Ending::deadline),
        ];
        let now = clock::now();
        deadlines.into_iter().flatten().min().map(|deadline| deadline.since(now))
    }

    fn dispatch(&mut self, event: Event) {
        match event.source {
            Source::Clone(ticket) => self.clones.check_exit(&mut self.reactor, ticket),
            Source::Signals => self.take_signals(),
            Source::Spawner => self.hear_spawner(event),
            Source::Report(ticket) => self.clones.read_report(&mut self.reactor, ticket),
            Source::Worker(role) => self.hear_worker(role, event),
            Source::Dialer => self.take_connections(),
            Source::Listener => {
                for words in self.control.accept(&mut self.reactor, &self.rules, clock::now()) {
                    self.record(Kind::ControlDenied, Facts::message(words));
                }
            }
            Source::Client(id) => self.serve_client(id, event),
        }
        // What one source brought is worked off before the next is looked at: deaths stay first.
        self.digest();
    }

    /// What every turn ends with.
    fn finish_turn(&mut self) -> Option<ExitCode> {
        let now = clock::now();
        if self.zombies_wait {
            self.reap();
        }
        if self.clones.time_out(&mut self.reactor, now)
            && let Some(spawner) = &self.spawner
        {
            spawner.kill();
        }
        self.digest();
        let orders = self.fleet.tick(now);
        self.carry_out(orders);
        self.check_remains(now);
        self.control.time_out(&mut self.reactor, now);
        for request in self.control.requests(&mut self.reactor, now) {
            calls::handle(self, request);
        }
        self.digest();
        // Whoever is answered can rely on it.
        self.keep_will();
        let control = &self.control;
        for (client, reply) in self.waiters.progress(|client| !control.is_behind(client)) {
            self.partial_answer(client, &Reply::continues(reply));
        }
        for (client, reply) in self.waiters.complete() {
            self.answer(client, &Reply::done(reply));
        }
        for (client, reply) in self.clearing.finished() {
            self.answer(client, &Reply::done(reply));
        }
        for (client, reply) in self.take_finished_reloads() {
            self.answer(client, &Reply::done(reply));
        }
        self.tend_alerts(now);
        self.time_out_sendmails(now);
        self.time_out_questions(now);
        self.tend_workers(now);
        self.tend_compression(now);
        self.tell_manager(now);
        self.go_on_ending(now)
    }
}
