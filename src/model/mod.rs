//! The vocabulary that all parts share: ids, states, signals, exit statuses, moments, programs, events.
//!
//! Nothing here reads a clock, a file or the environment. Whatever decides, decides with these values.
#![forbid(unsafe_code)]

pub mod authority;
pub mod boundary;
pub mod capability;
pub mod event;
pub mod exit;
pub mod id;
pub mod notify;
pub mod plan;
pub mod program;
pub mod selector;
pub mod settings;
pub mod signal;
pub mod stage;
pub mod state;
pub mod summary;
pub mod syslog;
pub mod template;
pub mod text;
pub mod time;
