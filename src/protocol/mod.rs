//! What is said between programs: the control protocol for people and scripts (varlink), and the closed
//! tables of messages between the core and its spawner, logger and notifier.
//!
//! Only values and their encoding; who may say what is `policy::permission`, how bytes travel is
//! `system` and `worker`.
#![forbid(unsafe_code)]

pub mod alerting;
pub mod attach;
pub mod control;
pub mod frame;
pub mod logger;
pub mod notifier;
pub mod spawner;
pub mod varlink;
