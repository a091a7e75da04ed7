//! Taskmaster against real processes, real users and real terminals.
//!
//! One binary; each module has the tests of one subject. What this machine cannot run is skipped with
//! its reason, and fails instead when `TASKMASTER_TEST_REQUIRE=all` is set.

mod demo;
mod main_job;
mod output;
mod shell;
mod support;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let trials: Vec<Trial> =
        [main_job::trials(), demo::trials(), output::trials(), shell::trials()].into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit();
}
