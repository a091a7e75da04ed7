//! Taskmaster against real processes, real users and real terminals.
//!
//! One binary; each module has the tests of one subject. What this machine cannot run is skipped with
//! its reason, and fails instead when `TASKMASTER_TEST_REQUIRE=all` is set.

mod alert_settings;
mod alerts;
mod authority;
mod check;
mod control;
mod demo;
mod failures;
mod hostile;
mod lies;
mod main_job;
mod neighbours;
mod output;
mod privileges;
mod reload;
mod restrict;
mod sandbox;
mod screens;
mod security;
mod shell;
mod stops;
mod structure;
mod support;
mod tty;

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
    let arguments = Arguments::from_args();
    let modules = [
        alert_settings::trials(),
        alerts::trials(),
        authority::trials(),
        check::trials(),
        control::trials(),
        demo::trials(),
        failures::trials(),
        hostile::trials(),
        lies::trials(),
        main_job::trials(),
        neighbours::trials(),
        output::trials(),
        privileges::trials(),
        reload::trials(),
        restrict::trials(),
        sandbox::trials(),
        screens::trials(),
        security::trials(),
        shell::trials(),
        stops::trials(),
        structure::trials(),
        tty::trials(),
    ];
    let trials: Vec<Trial> = modules.into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit();
}
