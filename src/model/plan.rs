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

/// What became of a program that was to be taken from the files, or out of force, by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramOutcome {
    Added,
    /// It is in force, as the files have it or not.
    AlreadyAdded,
    Removed,
    /// Something of it runs, or is to be started again.
    StillRunning,
}

impl ProgramOutcome {
    /// Whether the program is where the command wanted it.
    pub fn is_success(self) -> bool {
        !matches!(self, Self::StillRunning)
    }
}

impl Plan {
    /// `1 added, 2 restarted, 3 unchanged`, or `nothing changed (3 unchanged)`; before it the other tables of the
    /// configuration that have changed: `[notify] changed; 3 programs unchanged`.
    pub fn counts(&self, tables: &[&str]) -> String {
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
        let unchanged = self.unchanged.len();
        let programs = match (parts.is_empty(), tables.is_empty()) {
            (true, true) => format!("nothing changed ({unchanged} unchanged)"),
            (true, false) => format!("{unchanged} program{} unchanged", if unchanged == 1 { "" } else { "s" }),
            (false, _) => format!("{}, {unchanged} unchanged", parts.join(", ")),
        };
        let tables = tables.iter().map(|table| format!("{table} changed"));
        tables.chain([programs]).collect::<Vec<_>>().join("; ")
    }
}
