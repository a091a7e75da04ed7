//! Orders from outside that concern everything: signals, and the reload of the configuration, all of it or some
//! programs.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::model::event::{Facts, Kind};
use crate::model::id::{ProcessId, ProgramName};
use crate::model::plan::Plan;
use crate::model::settings;
use crate::model::signal::Signal;
use crate::model::state::State;
use crate::model::text::cut;
use crate::protocol::control::{ProgramChange, ReloadReply};
use crate::system::clock;
use crate::system::signals::Arrived;

use super::alerts::Secrets;
use super::core::{ConfigSource, Core};
use super::reactor::ClientId;
use super::{authority, load, startup};

/// So much of the faults goes into the event of a rejected configuration.
const FAULTS_IN_EVENT: usize = 2000;
/// So many names of programs go into the event of a reload of some.
const NAMES_IN_EVENT: usize = 10;

impl Core {
    pub(super) fn take_signals(&mut self) {
        while let Ok(Some(arrived)) = self.signals.next() {
            self.heed_signal(arrived);
        }
    }

    fn heed_signal(&mut self, arrived: Arrived) {
        // A key on the terminal is meant for the shell, while one is there.
        let key = arrived.by_kernel && self.has_shell();
        match arrived.number {
            libc::SIGCHLD => self.reap(),
            libc::SIGINT | libc::SIGQUIT if key => self.signal_shell(Signal::INT),
            libc::SIGWINCH => self.signal_shell(Signal::WINCH),
            libc::SIGTERM | libc::SIGINT | libc::SIGQUIT => {
                if self.ending.is_some() {
                    self.kill_all();
                } else {
                    let name = Signal::from_number(arrived.number).map_or_else(String::new, |s| s.to_string());
                    self.shut_down(&format!("SIG{name} from pid {}", arrived.sender));
                }
            }
            // The kernel's SIGHUP says that the terminal is lost: that is no order.
            libc::SIGHUP if arrived.by_kernel => self.go_on_without_terminal(),
            // The event says what came of it.
            libc::SIGHUP if self.ending.is_none() => drop(self.reload(false)),
            libc::SIGUSR1 => self.reopen_logs(),
            // Everything else (a Ctrl-Z, a broken pipe, an alarm of nobody's) must not end or stop the core.
            _ => {}
        }
    }

    /// Reads the configuration again and applies it; with `dry_run` only says what would happen.
    ///
    /// # Errors
    /// All faults; then nothing has changed.
    pub fn reload(&mut self, dry_run: bool) -> Result<ReloadReply, String> {
        if dry_run {
            return self.read_and_apply(true);
        }
        self.manager.reloading();
        let reply = self.read_and_apply(false);
        self.manager.reloaded();
        reply
    }

    fn read_and_apply(&mut self, dry_run: bool) -> Result<ReloadReply, String> {
        let (mut config, secrets) = match self.read_again() {
            Ok(loaded) => loaded,
            Err(faults) => {
                if !dry_run {
                    let words = format!("the configuration stays as it was: {}", cut(&faults, FAULTS_IN_EVENT));
                    self.record(Kind::ConfigRejected, Facts::message(words));
                }
                return Err(faults);
            }
        };
        let (rules, unknown) = authority::rules(&config.control, self.own_uid, &self.own.worker_uids);
        let mut warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(unknown.iter().map(|words| format!("warning: {words}")));
        let mut plan = self.fleet.plan(&config.programs);
        plan.needs_restart = self.keep_what_needs_restart(&mut config);
        let changes = self.changes(&plan, &config);
        let settings = self.config.differing_settings(&config);
        if !dry_run {
            // From the next call on, also of those who are connected.
            self.rules = rules;
            self.apply(config, secrets, &plan, &unknown, None);
        }
        Ok(ReloadReply { plan, warnings, changes, settings })
    }

    /// Takes these programs as the configuration that was read has them, and nothing else of it; with `dry_run`
    /// only says what would happen.
    ///
    /// # Errors
    /// Why they do not go together with what stays in force; then nothing has changed.
    pub fn reload_some(
        &mut self,
        disk: &Config,
        names: &BTreeSet<ProgramName>,
        dry_run: bool,
    ) -> Result<ReloadReply, String> {
        let config = self.config.taking(disk, names, self.own_uid.is_root()).map_err(|words| {
            format!("{words}: the rest of the configuration stays as it is in force; a reload of all takes it over")
        })?;
        let plan = self.fleet.plan(&config.programs);
        let reply = ReloadReply { changes: self.changes(&plan, &config), plan, ..ReloadReply::default() };
        if !dry_run {
            self.apply(config, None, &reply.plan, &[], Some(names));
        }
        Ok(reply)
    }

    /// Takes programs out of force, whatever the files say.
    pub fn remove_some(&mut self, names: &BTreeSet<ProgramName>) {
        let config = self.config.without(names);
        let plan = self.fleet.plan(&config.programs);
        self.apply(config, None, &plan, &[], Some(names));
    }

    /// The reloads for which all has stopped that they stop.
    pub(super) fn take_finished_reloads(&mut self) -> Vec<(ClientId, ReloadReply)> {
        let fleet = &self.fleet;
        self.reloads.finished(|id| fleet.member(id).is_some_and(|member| member.life.state() == State::Stopping))
    }

    /// What the files say now.
    ///
    /// # Errors
    /// All faults.
    fn read_again(&self) -> Result<(Config, Option<Secrets>), String> {
        match &self.source {
            ConfigSource::File(path) => load::load(path, self.own_uid, &self.own.worker_uids)
                .map(|(config, secrets)| (config, Some(secrets)))
                .map_err(|faults| faults.to_string()),
            ConfigSource::BuiltIn(config) => Ok(((**config).clone(), None)),
        }
    }

    /// What the files say now, to compare with what is in force.
    ///
    /// # Errors
    /// All faults.
    pub fn config_on_disk(&self) -> Result<Config, String> {
        self.read_again().map(|(config, _)| config)
    }

    /// Which keys differ of the programs that are not just as they were.
    fn changes(&self, plan: &Plan, new: &Config) -> Vec<ProgramChange> {
        let by_name = |config: &Config| -> BTreeMap<ProgramName, usize> {
            config.programs.iter().enumerate().map(|(at, program)| (program.name.clone(), at)).collect()
        };
        let (old_places, new_places) = (by_name(&self.config), by_name(new));
        let change = |name: &ProgramName| {
            let old = self.config.programs.get(*old_places.get(name)?)?;
            let new = new.programs.get(*new_places.get(name)?)?;
            Some(ProgramChange { program: name.clone(), keys: settings::differing(old, new) })
        };
        plan.restarted.iter().chain(&plan.changed).filter_map(change).collect()
    }

    /// Directories and sockets stay as they are while the supervisor runs; names those that differ.
    fn keep_what_needs_restart(&self, config: &mut Config) -> Vec<String> {
        let (old, new) = (&self.config, config);
        let mut differ = Vec::new();
        let mut keep = |name: &str, old: &std::path::PathBuf, new: &mut std::path::PathBuf| {
            if old != new {
                differ.push(name.to_owned());
                new.clone_from(old);
            }
        };
        keep("supervisor.event_log", &old.supervisor.event_log, &mut new.supervisor.event_log);
        keep("supervisor.log_dir", &old.supervisor.log_dir, &mut new.supervisor.log_dir);
        keep("supervisor.state_dir", &old.supervisor.state_dir, &mut new.supervisor.state_dir);
        keep("supervisor.runtime_dir", &old.supervisor.runtime_dir, &mut new.supervisor.runtime_dir);
        keep("control.socket", &old.control.socket, &mut new.control.socket);
        differ
    }

    /// `only`: whatever else is in the configuration is in force already.
    fn apply(
        &mut self,
        config: Config,
        secrets: Option<Secrets>,
        plan: &Plan,
        unknown: &[String],
        only: Option<&BTreeSet<ProgramName>>,
    ) {
        let new_format = config.supervisor.event_log_format != self.config.supervisor.event_log_format;
        let new_remember = config.supervisor.remember != self.config.supervisor.remember;
        let others = changed_tables(&self.config, &config);
        let old = std::mem::replace(&mut self.config, config);
        if new_remember {
            self.remember_from_now_on(self.config.supervisor.remember);
        }
        if new_format {
            self.send_event_log();
        }
        if only.is_none() {
            self.alerts_configured(secrets, &old.notify);
        }
        // Also where the file says the same: a group that was unknown may be there now.
        if only.is_none()
            && let Err(words) = startup::set_socket_rights(&self.socket, &self.config.control)
        {
            self.record(Kind::ConfigRejected, Facts::message(words));
        }
        let mut words = only.map_or_else(String::new, only_these);
        words.push_str(&plan.counts(&others));
        if !plan.needs_restart.is_empty() {
            words.push_str(&format!("; takes a restart of the supervisor: {}", plan.needs_restart.join(", ")));
        }
        for unknown in unknown {
            words.push_str("; ");
            words.push_str(unknown);
        }
        self.record(Kind::ConfigReloaded, Facts::message(words));
        let before: Vec<ProcessId> = self.fleet.members().map(|(id, _)| id.clone()).collect();
        let programs = self.config.programs.clone();
        let (_, orders) = self.fleet.configure(&programs, clock::now());
        self.carry_out(orders);
        self.keep_will();
        let messages = {
            let starting = self.planned.values().flat_map(|life| &life.outputs).filter_map(|planned| planned.sink);
            self.output.configure(
                &self.config.supervisor.log_dir,
                self.fleet.selectable(),
                starting,
                &self.config.notify,
            )
        };
        for message in messages {
            self.tell_logger(message);
        }
        self.tell_unseen();
        for id in before.iter().filter(|id| self.fleet.member(id).is_none()).cloned().collect::<Vec<_>>() {
            self.forget_process(&id);
        }
    }
}

/// `only web, db: `.
fn only_these(names: &BTreeSet<ProgramName>) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_IN_EVENT).map(ProgramName::as_str).collect();
    let more = names.len().saturating_sub(NAMES_IN_EVENT);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("only {}{more}: ", shown.join(", "))
}

/// The tables besides those of programs that differ.
fn changed_tables(old: &Config, new: &Config) -> Vec<&'static str> {
    let tables = [
        ("[supervisor]", old.supervisor != new.supervisor),
        ("[control]", old.control != new.control),
        ("[notify]", old.notify != new.notify),
    ];
    tables.into_iter().filter(|(_, is_changed)| *is_changed).map(|(table, _)| table).collect()
}
