//! What a worker gives up before it looks at anything foreign: it does so itself, first thing, because
//! it knows best what it needs. The spawner has already taken its user, groups, capabilities, environment
//! and session.
//!
//! In this order: nothing that is opened later can be taken for a standard descriptor; nobody of its user
//! can look into it; nothing that it executes has more rights than itself; limits; then all that can be
//! reached by name (landlock), and last, because they forbid what the steps before need, nearly all system
//! calls (seccomp). What a step needs of the file system afterwards, a worker reads before.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::process::ExitCode;

use crate::model::program::{Limit, Resource};
use crate::system::sandbox::{self, Calls, Reach};
use crate::system::{credentials, limits, process, signals, stdio};
use crate::worker::channel::Channel;

pub use super::calls::{LOGGER, NOTIFIER, SHELL};

/// The number at which a worker finds its channel to the core.
pub const CHANNEL: RawFd = 3;
/// Where the notifier finds the directory of its spool, and the one of its maildir, if it has them.
pub const SPOOL: RawFd = 4;
pub const MAILDIR: RawFd = 5;

/// What name look-ups and TLS read: the settings of both, wherever distributions have links in `/etc`
/// lead, and the certificates.
const NETWORK_FILES: &[&str] = &[
    "/etc",
    "/usr/lib/ssl",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/var/lib/ca-certificates",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/netconfig",
    "/run/nscd",
];

/// What a worker keeps.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// How many descriptors, if the hard limit allows so many.
    pub descriptors: u64,
    /// How large a file may grow by its writing, if that is bounded.
    pub file_bytes: Option<u64>,
    pub starts_threads: bool,
    /// Talks to log daemons and, unless this build has no part for that, to servers; and writes below [`SPOOL`]
    /// and [`MAILDIR`].
    pub uses_network: bool,
    pub calls: &'static Calls,
}

/// Which step of the confinement failed.
#[derive(Debug)]
pub struct ConfineError(&'static str, io::Error);

impl fmt::Display for ConfineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot give up what it does not need: {}: {}", self.0, self.1)
    }
}

fn step(name: &'static str) -> impl Fn(io::Error) -> ConfineError {
    move |error| ConfineError(name, error)
}

/// Confines the calling worker, for good. It has one thread yet.
///
/// # Errors
/// The worker must not go on.
pub fn confine(allowance: Allowance) -> Result<(), ConfineError> {
    stdio::fill_standard().map_err(step("standard descriptors"))?;
    signals::unblock_all().map_err(step("signals"))?;
    signals::ignore_file_size().map_err(step("signals"))?;
    process::forbid_dumping().map_err(step("dumpable"))?;
    credentials::give_up_new_privileges().map_err(step("no_new_privs"))?;
    set_limits(allowance).map_err(step("limits"))?;
    // A kernel that enforces only a part of it, or nothing, is no reason to lose the worker.
    let reach = if allowance.uses_network { network().map_err(step("landlock"))? } else { Reach::NOTHING };
    sandbox::reach_only(&reach).map_err(step("landlock"))?;
    sandbox::keep_calls(allowance.calls).map_err(step("seccomp"))
}

fn network() -> io::Result<Reach> {
    let spool = stdio::inherited_directory(SPOOL)?;
    let maildir = stdio::inherited_directory(MAILDIR)?;
    let servers = cfg!(feature = "network");
    let read = if servers { NETWORK_FILES } else { &[] };
    Ok(Reach { read, change: spool.into_iter().chain(maildir).collect(), sockets: true, servers })
}

fn set_limits(allowance: Allowance) -> io::Result<()> {
    let exactly = |value| Limit { soft: Some(value), hard: Some(value) };
    limits::set(Resource::Core, exactly(0))?;
    limits::set(Resource::Nofile, exactly(limits::descriptors_at_most(allowance.descriptors)?))?;
    if let Some(bytes) = allowance.file_bytes {
        limits::set(Resource::Fsize, exactly(limits::file_bytes_at_most(bytes)?))?;
    }
    if allowance.starts_threads { Ok(()) } else { limits::set(Resource::Nproc, exactly(0)) }
}

/// All threads run that will ever run.
///
/// # Errors
/// None that a correct program meets.
pub fn start_no_more_threads() -> io::Result<()> {
    limits::set(Resource::Nproc, Limit { soft: Some(0), hard: Some(0) })
}

/// Takes over the worker's end of the channel to the core.
///
/// # Errors
/// When there is none: the worker was not started by the core.
pub fn channel(nonblocking: bool) -> Result<Channel, ConfineError> {
    let socket = stdio::inherited(CHANNEL).map_err(step("the channel"))?;
    Channel::of_worker(socket, nonblocking).map_err(step("the channel"))
}

/// The whole of a worker: confined, then at work until the core closes the channel. What stops it goes to
/// standard error; the core starts another.
pub fn work<E: fmt::Display>(
    program: &str,
    allowance: Allowance,
    run: impl FnOnce(Channel) -> Result<(), E>,
) -> ExitCode {
    let confined = confine(allowance).and_then(|()| channel(true)).map_err(|error| error.to_string());
    match confined.and_then(|channel| run(channel).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
#[path = "confine_tests.rs"]
mod tests;
