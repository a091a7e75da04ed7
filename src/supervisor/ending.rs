//! The way out, in order: programs stop, their last output is written, the last events are written, and
//! only then the core ends. Each part has its time; none can keep the core for ever.

use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use crate::model::event::{Facts, Kind};
use crate::model::id::ProcessId;
use crate::model::signal::Signal;
use crate::model::time::{Moment, human};
use crate::protocol::logger::ToLogger;
use crate::protocol::notifier::ToNotifier;
use crate::system::{clock, process};

use super::core::{Core, Ending};
use super::reactor::Source;
use super::role::Role;

/// After SIGKILL, what is still there will not end.
const AFTER_KILL: Duration = Duration::from_secs(5);
/// For the last output and the last events, each.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Beyond `shutdown_drain`, for the notifier to say that it is done.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// For the workers to end by themselves.
const FAREWELL: Duration = Duration::from_secs(1);

impl Core {
    /// Begins the shutdown. A second request changes nothing.
    pub fn shut_down(&mut self, why: &str) {
        if self.ending.is_some() {
            return;
        }
        let now = clock::now();
        self.ending = Some(Ending::Programs { until: now + self.config.supervisor.shutdown_timeout, killed: false });
        self.record(Kind::SupervisorStopping, Facts::message(why));
        self.manager.stopping(self.config.supervisor.shutdown_timeout, self.config.notify.shutdown_drain);
        let ids: Vec<ProcessId> = self.fleet.members().map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.waiters.superseded(id));
        let orders = self.fleet.shut_down(now);
        self.carry_out(orders);
    }

    /// Kills what still runs.
    pub(super) fn kill_all(&mut self) {
        let now = clock::now();
        let orders = self.fleet.kill_all(now);
        self.carry_out(orders);
        match &mut self.ending {
            Some(Ending::Programs { until, killed }) => {
                *killed = true;
                *until = (*until).min(now + AFTER_KILL);
            }
            // Whoever asks twice does not want to wait for mail.
            Some(Ending::Alerts { until, .. }) => *until = now,
            Some(Ending::Output { .. } | Ending::Events { .. }) | None => {}
        }
    }

    /// Goes on to the next part when one is over.
    pub(super) fn go_on_ending(&mut self, now: Moment) -> Option<ExitCode> {
        match self.ending {
            None => None,
            Some(Ending::Programs { until, killed }) => {
                if self.fleet.is_at_rest() && self.clones.running().next().is_none() {
                    self.drain_output(now, false);
                } else if now >= until && killed {
                    self.drain_output(now, true);
                } else if now >= until {
                    let timeout = human(self.config.supervisor.shutdown_timeout);
                    let words = format!("not ended within {timeout}, killed now: {}", self.survivors());
                    self.record(Kind::SupervisorStopping, Facts::message(words));
                    self.kill_all();
                    self.ending = Some(Ending::Programs { until: now + AFTER_KILL, killed: true });
                }
                None
            }
            Some(Ending::Output { until, survivors }) => {
                if now >= until {
                    self.output_is_drained(survivors);
                }
                None
            }
            Some(Ending::Events { until, survivors }) => {
                if self.journal.is_written() || now >= until {
                    return self.drain_alerts(now, survivors);
                }
                None
            }
            Some(Ending::Alerts { until, survivors, left }) => {
                (left.is_some() || now >= until).then(|| self.leave(survivors))
            }
        }
    }

    fn survivors(&self) -> String {
        let names: Vec<String> = self.clones.running().map(|(id, pid)| format!("{id} (pid {pid})")).collect();
        names.join(", ")
    }

    fn drain_output(&mut self, now: Moment, survivors: bool) {
        if survivors {
            let words = format!("given up; still there after SIGKILL: {}", self.survivors());
            self.record(Kind::SupervisorStopping, Facts::message(words));
        }
        self.ending = Some(Ending::Output { until: now + LAST_WORDS, survivors });
        self.output.compression.wind_up();
        self.tell_logger((ToLogger::Drain, Vec::new()));
    }

    /// The logger has written everything, or has had its time.
    pub(super) fn output_is_drained(&mut self, survivors: bool) {
        self.ending = Some(Ending::Events { until: clock::now() + LAST_WORDS, survivors });
        self.tell_last_losses(true);
        self.record(Kind::SupervisorStopped, Facts::message("all programs have ended"));
    }

    /// Lets the notifier send what still waits. Where nobody is to be told, there is nothing to wait for.
    fn drain_alerts(&mut self, now: Moment, survivors: bool) -> Option<ExitCode> {
        let has_notifier = self.workers.get(&Role::Notifier).is_some_and(|worker| worker.link.is_some());
        if self.config.notify.channels.is_empty() || !has_notifier {
            return Some(self.leave(survivors));
        }
        let until = now + self.config.notify.shutdown_drain + DRAIN_GRACE;
        self.ending = Some(Ending::Alerts { until, survivors, left: None });
        self.tell_notifier(&ToNotifier::Drain, Vec::new());
        None
    }

    /// The notifier has sent what it could.
    pub(super) fn alerts_are_drained(&mut self, waiting: u64) {
        if let Some(Ending::Alerts { left, .. }) = &mut self.ending {
            *left = Some(waiting);
        }
    }

    /// What became of the last alerts, if somebody should know. The event log is closed by then.
    fn say_what_waits(&self) {
        let Some(Ending::Alerts { left, .. }) = self.ending else { return };
        let words = match left {
            Some(0) => return,
            Some(1) => "1 alert waits for the next start".to_owned(),
            Some(left) => format!("{left} alerts wait for the next start"),
            None => "not all alerts could be sent in time; they wait for the next start".to_owned(),
        };
        let _ = writeln!(std::io::stderr().lock(), "taskmasterd: {words}");
    }

    /// Closes everything and lets the workers go.
    fn leave(&mut self, survivors: bool) -> ExitCode {
        // Before their notifier, whose end would be the end of the message for them.
        self.abandon_sendmails();
        self.control.flush_all(&mut self.reactor);
        self.control.stop_listening(&mut self.reactor);
        self.socket.remove();
        self.control.close_all(&mut self.reactor);
        for worker in self.workers.values_mut() {
            if let Some(link) = worker.link.take() {
                link.close(&mut self.reactor);
            }
        }
        if let Some((dialer, token)) = self.dialer.take() {
            self.reactor.remove(&dialer, token);
        }
        let spawner = self.spawner.take().map(|spawner| spawner.close(&mut self.reactor));
        self.wait_for_workers();
        if let Some(spawner) = spawner {
            // It ends with its channel, unless it hangs.
            let _ = process::signal(spawner.as_fd(), Signal::KILL);
        }
        self.remains.remove_cgroups();
        if let Some(terminal) = &self.terminal {
            terminal.restore();
        }
        self.say_what_waits();
        ExitCode::from(u8::from(survivors || self.could_not_start))
    }

    /// One that hangs has had its time: left behind, it could still write into the logs of the next supervisor.
    fn kill_workers(&self) {
        for ticket in self.workers.values().filter_map(|worker| worker.ticket) {
            if let Some((_, pidfd)) = self.clones.pidfd(ticket) {
                let _ = process::signal(pidfd, Signal::KILL);
            }
        }
    }

    fn wait_for_workers(&mut self) {
        let until = clock::now() + FAREWELL;
        let tickets = [Role::Logger, Role::Notifier, Role::Shell];
        loop {
            let left = until.since(clock::now());
            let any = tickets.iter().any(|role| {
                self.workers.get(role).and_then(|worker| worker.ticket).is_some_and(|t| self.clones.pidfd(t).is_some())
            });
            if !any {
                return;
            }
            if left.is_zero() {
                return self.kill_workers();
            }
            for event in self.reactor.wait(Some(left)).unwrap_or_default() {
                match event.source {
                    Source::Clone(ticket) => self.clones.check_exit(&mut self.reactor, ticket),
                    Source::Report(ticket) => self.clones.read_report(&mut self.reactor, ticket),
                    _ => while let Ok(Some(_)) = self.signals.next() {},
                }
            }
        }
    }
}
