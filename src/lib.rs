//! Taskmaster: a process supervisor for Linux that runs each program as its own service account.
mod alert;
mod ctl;
mod model;
mod protocol;
mod system;

pub use ctl::taskmasterctl;
