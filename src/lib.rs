//! Taskmaster: a process supervisor for Linux that runs each program as its own service account.
//!
//! Five programs share this library. [`taskmasterd`] is the core: it decides over every process and
//! waits for nobody. It starts one process itself, [`taskmaster_spawner`], which clones itself for
//! everything else: the programs, each becoming its user step by step, and the two workers that run
//! without any privilege, [`taskmaster_logger`] (what programs write) and [`taskmaster_notifier`] (what
//! happened, for people). [`taskmasterctl`] is the control shell and the one-shot commands.
//!
//! Where to look, from the ground up (imports only run downwards; a test holds that):
//!
//! - `model`: the words all parts use. Ids, states, signals, moments, programs, events.
//! - `config`: TOML to values, or every fault with its place.
//! - `policy`: what is decided. `lifecycle` is one process's life, `fleet` all of them, `reload` what a
//!   new configuration means, `selector` whom a command names, `permission` who may command,
//!   `exposure` what of the boundary around a process is missing.
//! - `protocol`: what is said. `control` to clients (varlink), `spawner`, `logger`, `notifier` between
//!   our own programs.
//! - `alert`: what becomes of an event on its way to people. `rules` whom it concerns, `pipeline` incidents and
//!   when they are told, `queue` what is sent when and again, `words` and `payload` how it reads.
//! - `system`: the only place with system calls and `unsafe`.
//! - `worker`: how core and workers talk, and how a worker is confined.
//! - `supervisor`, `spawner`, `logger`, `notifier`, `ctl`: the five programs. They share no memory and
//!   import nothing of each other.
//!
//! And `documents`, tests only: the man pages and tables that are made from the code.
//!
//! A start, for example: `policy::lifecycle` says *spawn*, `supervisor::core` asks, `spawner::start`
//! becomes the program, `supervisor::clones` hears how it went, and `policy::lifecycle` decides again.

// What only servers are told (RFC 5424, signed bodies) stays where it belongs, in pure modules; a build without
// servers has nobody who calls it.
#![cfg_attr(not(feature = "network"), allow(dead_code))]

mod alert;
mod config;
mod ctl;
#[cfg(test)]
mod documents;
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
