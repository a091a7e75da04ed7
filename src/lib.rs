//! Taskmaster: a process supervisor for Linux that runs each program as its own service account.
mod model;
mod policy;
mod protocol;
mod system;
mod worker;
