//! What becomes of an event on its way to people.
#![forbid(unsafe_code)]

pub mod entry;
pub mod line;
pub mod merge;
pub mod notice;
pub mod outcome;
pub mod queue;
pub mod queues;
pub mod retry;
