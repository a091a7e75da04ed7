//! What becomes of an event on its way to people.
//!
//! [`rules`] say whether an event is told on a channel; the channel's [`pipeline`] makes incidents of what
//! is told and decides when which [`notice`] is due; [`silence`] holds notices back. What was made waits in
//! the channel's [`queue`] until it is sent.
#![forbid(unsafe_code)]

pub mod alertmanager;
pub mod bucket;
pub mod deadline;
pub mod digest;
pub mod entry;
pub mod flap;
pub mod id;
pub mod incident;
pub mod line;
pub mod mail;
pub mod members;
pub mod merge;
pub mod notice;
pub mod occurrence;
pub mod outcome;
pub mod output;
pub mod payload;
pub mod pipeline;
pub mod queue;
pub mod queues;
pub mod retry;
pub mod rules;
pub mod saved;
pub mod silence;
pub mod slack;
pub mod syslog;
pub mod words;

#[cfg(test)]
mod pipeline_properties_tests;
#[cfg(test)]
mod pipeline_tests;
#[cfg(test)]
pub mod samples;
#[cfg(test)]
mod simulation;
