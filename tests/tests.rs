//! Taskmaster against real processes, real users and real terminals.
//!
//! One binary; each module has the tests of one subject. What this machine cannot run is skipped with
//! its reason, and fails instead when `TASKMASTER_TEST_REQUIRE=all` is set.

mod alert_settings;
mod alerts;
mod alerts_coverage;
mod alerts_flow;
mod alerts_mail;
mod alerts_spool;
mod alerts_syslog;
mod alerts_webhook;
mod amounts;
mod ansible;
mod attach;
mod attach_hostile;
mod authority;
mod check;
mod completions;
mod compress;
mod console;
mod control;
mod demo;
mod failures;
mod faults;
mod hostile;
mod import;
mod in_force;
mod installed;
mod lies;
mod logrotate;
mod main_job;
mod manager;
mod neighbours;
mod output;
mod privileges;
mod reload;
mod remember;
mod restrict;
mod sandbox;
mod screens;
mod security;
mod shell;
mod stops;
mod structure;
mod support;
mod syslog_output;
mod trust;
mod tty;
mod varlink;
mod words;

use libtest_mimic::{Arguments, Trial};

fn main() {
    if let Some(worker) = sandbox::worker_to_play() {
        if alerts::is_played(&worker) {
            return alerts::play(&worker);
        }
        return sandbox::play(&worker);
    }
    if let Some(spawner) = lies::spawner_to_play() {
        return lies::play_spawner(&spawner);
    }
    libtest_mimic::run(&Arguments::from_args(), all()).exit();
}

/// Every test.
pub fn all() -> Vec<Trial> {
    let modules = [
        alert_settings::trials(),
        alerts_coverage::trials(),
        alerts_flow::trials(),
        alerts_mail::trials(),
        alerts_spool::trials(),
        alerts_syslog::trials(),
        alerts_webhook::trials(),
        alerts::trials(),
        amounts::trials(),
        ansible::trials(),
        attach::trials(),
        attach_hostile::trials(),
        authority::trials(),
        check::trials(),
        completions::trials(),
        compress::trials(),
        console::trials(),
        control::trials(),
        demo::trials(),
        failures::trials(),
        faults::trials(),
        hostile::trials(),
        import::trials(),
        in_force::trials(),
        installed::trials(),
        lies::trials(),
        logrotate::trials(),
        main_job::trials(),
        manager::trials(),
        neighbours::trials(),
        output::trials(),
        privileges::trials(),
        reload::trials(),
        remember::trials(),
        restrict::trials(),
        sandbox::trials(),
        screens::trials(),
        security::trials(),
        shell::trials(),
        stops::trials(),
        structure::trials(),
        syslog_output::trials(),
        trust::trials(),
        tty::trials(),
        varlink::trials(),
        words::trials(),
    ];
    modules.into_iter().flatten().collect()
}
