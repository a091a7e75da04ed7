//! What each kind of event and each of its facts means.

use crate::model::event::Kind;

pub fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::SupervisorStarted => "The supervisor has read its configuration and begins to start programs.",
        Kind::SupervisorStopping => "It was asked to stop, or got a signal: the programs are stopped in order.",
        Kind::SupervisorStopped => "It ends now. The message tells what could not be stopped.",
        Kind::ConfigReloaded => {
            "The configuration was read again; with the counts of what was changed, also when nothing was."
        }
        Kind::ConfigRejected => "It has faults: nothing was changed.",
        Kind::ProcessStarting => "A process was started and is not yet counted as running.",
        Kind::ProcessRunning => "It has lived for `starttime`.",
        Kind::ProcessBackoff => "It ended too soon or could not be started, and is tried again after a while.",
        Kind::ProcessStopping => "It got its `stopsignal`, because somebody wants it to stop.",
        Kind::ProcessStopped => "It ended as it was asked to.",
        Kind::ProcessExited => "It ended by itself with one of its `exitcodes`.",
        Kind::ProcessCrashed => "It ended by itself with another code, or by a signal.",
        Kind::ProcessKilled => "It did not end within `stoptime` and got SIGKILL.",
        Kind::ProcessFatal => "It is given up: too many tries failed, or it was restarted too often.",
        Kind::ProcessStartFailed => {
            "It could not be executed; with the stage at which that failed, and the error number."
        }
        Kind::ProcessUnrestricted => {
            "It was started without all of its boundary: its `restrict_paths`, as `best-effort` allows, or a control group of its own."
        }
        Kind::WorkerRestarted => "One of the supervisor's own helpers had ended and was started again.",
        Kind::OutputDropped => {
            "What a program wrote could not be kept and was dropped; with the count when it is over."
        }
        Kind::OutputFailing => "The output of a program cannot be written to its file.",
        Kind::OutputRecovered => "It can be written again.",
        Kind::ControlDenied => "Somebody was refused what they asked for; at most one event a second.",
        Kind::NotifyFailing => "Alerts do not get through; with the channel, if it is about one.",
        Kind::NotifyRecovered => "They get through again.",
        Kind::NotifyTest => "A test message was asked for.",
    }
}

/// The names of facts, and what they say.
pub const FACTS: [(&str, &str); 22] = [
    ("seq", "counts from 1 in each run of the supervisor, without gaps"),
    ("time", "RFC 3339 with milliseconds, UTC"),
    ("severity", "`crit`, `err`, `warning`, `notice`, `info`; as text `CRIT`, `ERROR`, `WARNING`, `NOTICE`, `INFO`"),
    ("kind", "what happened"),
    ("host", "where"),
    ("program", "the program's name"),
    ("process", "the name people see: `web`, or `web:0` of several"),
    ("pid", "the process number"),
    ("user", "as whom it runs"),
    ("from", "the state before"),
    ("to", "the state after"),
    ("code", "its exit code"),
    ("signal", "the signal that ended it, without SIG"),
    ("core_dumped", "whether the kernel wrote a core file; as text `core=yes`"),
    ("uptime_seconds", "how long it lived; as text `uptime=3.2s`"),
    ("restarts", "automatic restarts since the supervisor started"),
    ("try", "which retry; 0 is the first try"),
    ("tries_max", "`startretries`"),
    ("stage", "the step of the start that failed"),
    ("errno", "the error number of that step"),
    ("channel", "the alert channel"),
    ("message", "more in words"),
];
