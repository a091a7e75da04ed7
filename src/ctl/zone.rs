//! The local time zone. Looked up once: the shell on the supervisor's terminal has no file system later.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

use jiff::tz::TimeZone;

use crate::protocol::control::Process;

/// The zone for the status of these. Looking it up takes longer than all else where much is there to look
/// through: only where a time is shown.
pub fn of(processes: &[Process]) -> &'static TimeZone {
    static NONE: TimeZone = TimeZone::UTC;
    if processes.iter().any(|process| process.last_exit.is_some()) { local() } else { &NONE }
}

/// The user's time zone, UTC if it is not known.
pub fn local() -> &'static TimeZone {
    static LOCAL: OnceLock<TimeZone> = OnceLock::new();
    LOCAL.get_or_init(TimeZone::system)
}
