//! What Taskmaster decides, as values: given what happened and when, what is to be done. No clock, no
//! file, no process is touched here; `supervisor` carries the decisions out.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod exposure;
pub mod fleet;
pub mod lifecycle;
pub mod manager;
pub mod permission;
pub mod reload;
pub mod selector;
pub mod will;
