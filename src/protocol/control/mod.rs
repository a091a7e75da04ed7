//! The interface `io.taskmaster.Control`: what can be asked of a running supervisor.
//!
//! The types here are what clients see: [`state`] what there is, [`orders`] what is to be done, [`output`] what
//! programs write, [`events`] what happened. `DESCRIPTION` says the same in varlink's own language, for
//! introspection; a test holds the two together.
#![forbid(unsafe_code)]

mod events;
mod orders;
mod output;
mod state;

use serde::{Deserialize, Serialize};

use crate::model::authority::Verb;
pub use crate::model::plan::{Plan, ProgramOutcome};
pub use crate::model::settings::{OnDisk, Section, Setting, Source};

use super::alerting::Thing;
pub use events::{EVENTS_SELECTORS_BYTES, EVENTS_SELECTORS_MAX, EventsCall, EventsReply};
pub use orders::{
    CONFIG_PAGE, ChangeCall, ChangeReply, ChangeResult, ConfigCall, ConfigReply, Outcome, ProgramChange, ProgramResult,
    ProgramsCall, ProgramsReply, ReloadCall, ReloadReply, SignalCall,
};
pub use output::{AttachCall, AttachReply, Channel, Channels, ClearCall, TAIL_LINES_MAX, TailCall, TailReply};
pub use state::{
    DETAILS_MAX, DetailsCall, DetailsReply, LastExit, Process, ProcessDetails, ProcessSecurity, ProgramSecurity,
    SECURITY_PAGE, SecurityCall, SecurityReply, StatusCall, StatusReply,
};

pub const INTERFACE: &str = "io.taskmaster.Control";

/// Every method, by the name behind the interface's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Status,
    Details,
    Security,
    Start,
    Stop,
    Restart,
    Signal,
    Reload,
    Add,
    Remove,
    Config,
    Reopen,
    Tail,
    Attach,
    Clear,
    Events,
    NotifyQueue,
    NotifyTest,
    NotifyRetry,
    NotifyDrop,
    Silence,
    Unsilence,
    Silences,
    Version,
    Shutdown,
}

impl Method {
    pub const ALL: [Self; 25] = [
        Self::Status,
        Self::Details,
        Self::Security,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Signal,
        Self::Reload,
        Self::Add,
        Self::Remove,
        Self::Config,
        Self::Reopen,
        Self::Tail,
        Self::Attach,
        Self::Clear,
        Self::Events,
        Self::NotifyQueue,
        Self::NotifyTest,
        Self::NotifyRetry,
        Self::NotifyDrop,
        Self::Silence,
        Self::Unsilence,
        Self::Silences,
        Self::Version,
        Self::Shutdown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "Status",
            Self::Details => "Details",
            Self::Security => "Security",
            Self::Start => "Start",
            Self::Stop => "Stop",
            Self::Restart => "Restart",
            Self::Signal => "Signal",
            Self::Reload => "Reload",
            Self::Add => "Add",
            Self::Remove => "Remove",
            Self::Config => "Config",
            Self::Reopen => "Reopen",
            Self::Tail => "Tail",
            Self::Attach => "Attach",
            Self::Clear => "Clear",
            Self::Events => "Events",
            Self::NotifyQueue => "NotifyQueue",
            Self::NotifyTest => "NotifyTest",
            Self::NotifyRetry => "NotifyRetry",
            Self::NotifyDrop => "NotifyDrop",
            Self::Silence => "Silence",
            Self::Unsilence => "Unsilence",
            Self::Silences => "Silences",
            Self::Version => "Version",
            Self::Shutdown => "Shutdown",
        }
    }

    /// What a client must be allowed for it.
    pub fn verb(self) -> Verb {
        match self {
            Self::Status | Self::Details | Self::Security | Self::Events => Verb::Status,
            Self::Start => Verb::Start,
            Self::Stop => Verb::Stop,
            Self::Restart => Verb::Restart,
            Self::Signal => Verb::Signal,
            Self::Reload | Self::Add | Self::Remove => Verb::Reload,
            Self::Config => Verb::Config,
            Self::Reopen => Verb::Reopen,
            Self::Tail => Verb::Tail,
            Self::Attach => Verb::Attach,
            Self::Clear => Verb::Clear,
            Self::NotifyQueue
            | Self::NotifyTest
            | Self::NotifyRetry
            | Self::NotifyDrop
            | Self::Silence
            | Self::Unsilence
            | Self::Silences => Verb::Notify,
            Self::Version => Verb::Version,
            Self::Shutdown => Verb::Shutdown,
        }
    }

    /// `io.taskmaster.Control.Status`.
    pub fn full_name(self) -> String {
        format!("{INTERFACE}.{}", self.name())
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VersionReply {
    pub version: String,
    /// The supervisor's process number.
    pub pid: i32,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// The typed errors of the interface.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "error", content = "parameters")]
pub enum Refusal {
    /// No process matches; `suggestion` is the nearest name, if one is near.
    #[serde(rename = "io.taskmaster.Control.NoSuchProgram")]
    NoSuchProgram { selector: String, suggestion: Option<String> },
    /// There is no such channel, message or silence.
    #[serde(rename = "io.taskmaster.Control.NoSuch")]
    NoSuch { thing: Thing, name: String, suggestion: Option<String> },
    /// The peer may not do this; `rule` is what would allow it.
    #[serde(rename = "io.taskmaster.Control.NotPermitted")]
    NotPermitted { verb: String, rule: String },
    /// The configuration was not accepted; nothing has changed. Every fault with its place.
    #[serde(rename = "io.taskmaster.Control.ConfigRejected")]
    ConfigRejected { faults: String },
    /// The supervisor is shutting down and takes no such orders.
    #[serde(rename = "io.taskmaster.Control.ShuttingDown")]
    ShuttingDown {},
    /// The command could not be carried out.
    #[serde(rename = "io.taskmaster.Control.Failed")]
    Failed { message: String },
    /// A bound of the server was reached: too many clients, or answers unread.
    #[serde(rename = "io.taskmaster.Control.Busy")]
    Busy { message: String },
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    InvalidParameter {
        parameter: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    MethodNotFound { method: String },
    #[serde(rename = "org.varlink.service.InterfaceNotFound")]
    InterfaceNotFound { interface: String },
    /// It is part of an interface, and not of this program.
    #[serde(rename = "org.varlink.service.MethodNotImplemented")]
    MethodNotImplemented { method: String },
}

/// The interface in varlink's language, as it is installed for others to read.
pub const DESCRIPTION: &str = include_str!("../../../etc/io.taskmaster.Control.varlink");

#[cfg(test)]
#[path = "description_tests.rs"]
mod description_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_error_stands_in_the_description() {
        for method in Method::ALL {
            assert!(DESCRIPTION.contains(&format!("method {}(", method.name())), "{}", method.name());
            let verb = match method {
                Method::Events | Method::Details | Method::Security => "status".to_owned(),
                Method::Silence | Method::Unsilence | Method::Silences => "notify".to_owned(),
                Method::Add | Method::Remove => "reload".to_owned(),
                notify if notify.name().starts_with("Notify") => "notify".to_owned(),
                _ => method.name().to_lowercase(),
            };
            assert_eq!(method.verb().name(), verb);
        }
        for error in ["NoSuchProgram", "NoSuch", "NotPermitted", "ConfigRejected", "ShuttingDown", "Failed", "Busy"] {
            assert!(DESCRIPTION.contains(&format!("error {error} (")), "{error}");
        }
    }

    #[test]
    fn a_refusal_is_a_varlink_error_with_its_parameters() {
        let refusal = Refusal::NoSuchProgram { selector: "wbe".to_owned(), suggestion: Some("web".to_owned()) };
        let json = serde_json::to_string(&refusal).expect("serialises");
        assert_eq!(
            json,
            r#"{"error":"io.taskmaster.Control.NoSuchProgram","parameters":{"selector":"wbe","suggestion":"web"}}"#
        );
        assert_eq!(serde_json::from_str::<Refusal>(&json).expect("reads back"), refusal);
    }
}
