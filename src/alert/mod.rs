//! What becomes of an event on its way to people.
#![forbid(unsafe_code)]

pub mod alertmanager;
pub mod line;
pub mod mail;
pub mod notice;
pub mod outcome;
pub mod output;
pub mod payload;
pub mod slack;
pub mod words;

#[cfg(test)]
pub mod samples;
