//! What becomes of an event on its way to people.
#![forbid(unsafe_code)]

pub mod line;
pub mod notice;
pub mod outcome;
pub mod syslog;
