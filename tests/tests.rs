//! Taskmaster against real processes, real users and real terminals.
//!
//! One binary; each module has the tests of one subject. What this machine cannot run is skipped with
//! its reason, and fails instead when `TASKMASTER_TEST_REQUIRE=all` is set.

mod alert_settings;
mod authority;
mod check;
mod control;
mod demo;
mod failures;
mod main_job;
mod output;
mod privileges;
mod reload;
mod sandbox;
mod shell;
mod stops;
mod structure;
mod support;

use libtest_mimic::{Arguments, Trial};

fn main() {
    if let Some(worker) = sandbox::worker_to_play() {
        return sandbox::play(&worker);
    }
    let arguments = Arguments::from_args();
    let modules = [
        alert_settings::trials(),
        authority::trials(),
        check::trials(),
        control::trials(),
        demo::trials(),
        failures::trials(),
        main_job::trials(),
        output::trials(),
        privileges::trials(),
        reload::trials(),
        sandbox::trials(),
        shell::trials(),
        stops::trials(),
        structure::trials(),
    ];
    let trials: Vec<Trial> = modules.into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit();
}
