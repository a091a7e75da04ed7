//! What a reload does, program by program.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use super::id::ProgramName;

/// The plan of a reload, in words a person can check before it happens.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    pub added: Vec<ProgramName>,
    pub removed: Vec<ProgramName>,
    /// What is executed has changed.
    pub restarted: Vec<ProgramName>,
    /// How it is watched, or how many there are, has changed; processes keep running.
    pub changed: Vec<ProgramName>,
    pub unchanged: Vec<ProgramName>,
    /// Settings that need a restart of the supervisor and were left as they are.
    pub needs_restart: Vec<String>,
}

impl Plan {
    /// `1 added, 2 restarted`, or `nothing changed`.
    pub fn counts(&self) -> String {
        let parts: Vec<String> = [
            (self.added.len(), "added"),
            (self.removed.len(), "removed"),
            (self.restarted.len(), "restarted"),
            (self.changed.len(), "changed in place"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        if parts.is_empty() {
            format!("nothing changed ({} unchanged)", self.unchanged.len())
        } else {
            format!("{}, {} unchanged", parts.join(", "), self.unchanged.len())
        }
    }
}
