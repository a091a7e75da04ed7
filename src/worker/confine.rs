//! What a worker gives up before it looks at anything foreign: it does so itself, first thing, because
//! it knows best what it needs. The spawner has already taken its user, groups, environment and
//! session.

use std::fmt;
use std::io;

use crate::model::program::{Limit, Resource};
use crate::system::{credentials, limits, process, signals, stdio};
use crate::worker::channel::Channel;

/// The number at which a worker finds its channel to the core.
pub const CHANNEL: i32 = 3;

/// How many descriptors and how much file a worker may have.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub descriptors: u64,
    pub may_write_files: bool,
}

/// Which step of the confinement failed.
#[derive(Debug)]
pub struct ConfineError(&'static str, io::Error);

impl fmt::Display for ConfineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)
    }
}

/// Confines the calling worker and takes over its channel.
///
/// # Errors
/// The worker must not go on.
pub fn confine(allowance: Allowance, nonblocking: bool) -> Result<Channel, ConfineError> {
    let step = |name: &'static str| move |error| ConfineError(name, error);
    stdio::fill_standard().map_err(step("standard descriptors"))?;
    signals::unblock_all().map_err(step("signals"))?;
    process::forbid_dumping().map_err(step("dumpable"))?;
    credentials::give_up_new_privileges().map_err(step("no_new_privs"))?;
    let limit = |soft| Limit { soft: Some(soft), hard: Some(soft) };
    let rules = [
        (Resource::Core, Some(0)),
        (Resource::Nofile, Some(allowance.descriptors)),
        (Resource::Fsize, (!allowance.may_write_files).then_some(0)),
    ];
    for (resource, value) in rules {
        if let Some(value) = value {
            limits::set(resource, limit(value)).map_err(step("limits"))?;
        }
    }
    let socket = stdio::inherited(CHANNEL).map_err(step("the channel"))?;
    Channel::of_worker(socket, nonblocking).map_err(step("the channel"))
}
