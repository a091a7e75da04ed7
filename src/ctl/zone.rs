//! The local time zone. Looked up once: the shell on the supervisor's terminal has no file system later.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

use jiff::tz::TimeZone;

/// The user's time zone, UTC if it is not known.
pub fn local() -> &'static TimeZone {
    static LOCAL: OnceLock<TimeZone> = OnceLock::new();
    LOCAL.get_or_init(TimeZone::system)
}
