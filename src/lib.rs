//! Taskmaster: a process supervisor for Linux that runs each program as its own service account.
mod alert;
mod config;
mod ctl;
mod logger;
mod model;
mod notifier;
mod policy;
mod protocol;
mod spawner;
mod supervisor;
mod system;
mod worker;

pub use ctl::taskmasterctl;
pub use logger::main as taskmaster_logger;
pub use notifier::main as taskmaster_notifier;
pub use spawner::main as taskmaster_spawner;
pub use supervisor::main as taskmasterd;
