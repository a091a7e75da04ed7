//! Taskmaster: a process supervisor for Linux that runs each program as its own service account.
mod config;
mod model;
