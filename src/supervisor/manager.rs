//! The service manager that started us, if one did: it is told what `policy::manager` finds due, over a
//! socket that never waits. Without `NOTIFY_SOCKET` all of this does nothing.

use std::io;
use std::time::Duration;

use crate::model::state::State;
use crate::model::summary::Summary;
use crate::model::text::escaped;
use crate::model::time::Moment;
use crate::policy::manager::{Manager, status_line};
use crate::system::notify_socket::{self, NotifySocket};
use crate::system::{clock, process};

use super::core::Core;
use super::role::Role;

/// Beyond `shutdown_timeout` and the alerts' own time: killing, last output, last events, the workers' end.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// Whom to tell, and what is told when.
#[derive(Default)]
pub struct ServiceManager(Option<(Manager, NotifySocket)>);

impl ServiceManager {
    /// As the environment says. A socket that cannot be used is told in words and does without.
    pub fn of_environment(now: Moment) -> (Self, Option<String>) {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return (Self(None), None) };
        let variable = |name: &str| std::env::var(name).ok();
        let (micros, pid) = (variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
        let watchdog = notify_socket::watchdog(micros.as_deref(), pid.as_deref(), process::own_pid());
        match NotifySocket::new(&name) {
            Ok(socket) => (Self(Some((Manager::new(watchdog, now), socket))), None),
            Err(error) => {
                let name = name.to_string_lossy();
                let words = format!("NOTIFY_SOCKET={}: {error}; the service manager is told nothing", escaped(&name));
                (Self(None), Some(words))
            }
        }
    }

    /// Changes what is to be told, and tells it.
    fn with(&mut self, now: Moment, change: impl FnOnce(&mut Manager)) {
        let Some((manager, socket)) = &mut self.0 else { return };
        change(manager);
        while let Some(message) = manager.due(now) {
            match socket.send(message) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return manager.refused(now),
                // One that is gone cannot be told; what comes next may find another.
                Ok(()) | Err(_) => manager.sent(),
            }
        }
    }

    /// Something happened to a process.
    pub fn changed(&mut self) {
        if let Some((manager, _)) = &mut self.0 {
            manager.changed();
        }
    }

    pub fn reloading(&mut self) {
        let now = clock::now();
        self.with(now, |manager| manager.reloading(now));
    }

    pub fn reloaded(&mut self) {
        self.with(clock::now(), Manager::reloaded);
    }

    /// The way out has begun: the programs have so long to end, the alerts so long to be sent.
    pub fn stopping(&mut self, programs: Duration, alerts: Duration) {
        self.with(clock::now(), |manager| manager.stopping(programs + alerts + STOP_GRACE));
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.0.as_ref()?.0.deadline()
    }
}

impl Core {
    /// Tells the service manager what is due.
    pub(super) fn tell_manager(&mut self, now: Moment) {
        let Some((manager, _)) = &self.manager.0 else { return };
        let works = |role| self.workers.get(&role).is_some_and(|worker| worker.has_worked);
        let is_up = manager.is_starting() && works(Role::Logger) && works(Role::Notifier);
        let status = manager.wants_status(now).then(|| self.state_of_programs());
        self.manager.with(now, |manager| {
            if is_up {
                manager.up();
            }
            if let Some(status) = status {
                manager.status(status, now);
            }
        });
    }

    fn state_of_programs(&self) -> String {
        let states = self.fleet.members().map(|(_, member)| member.life.state());
        let unwell = self.fleet.members().filter(|(_, member)| {
            let state = member.life.state();
            matches!(state, State::Backoff | State::Fatal)
        });
        let unwell: Vec<String> = unwell.map(|(id, member)| member.shown(id)).collect();
        status_line(&Summary::of(states), &unwell)
    }
}
