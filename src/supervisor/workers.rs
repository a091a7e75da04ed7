//! The core's own helpers, each started, watched and started again: how they are found, and how long to
//! wait before the next try.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::model::id::Uid;
use crate::model::time::Moment;
use crate::protocol::spawner::Ticket;
use crate::system::file;

use super::permit::Permits;
use super::reactor::Link;
use super::role::Role;

/// The open executables of all helpers, so that an upgrade on disk mixes no versions.
pub struct Executables {
    pub spawner: Rc<OwnedFd>,
    logger: Rc<OwnedFd>,
    notifier: Rc<OwnedFd>,
    /// Only the shell on the terminal needs it.
    shell: Option<Rc<OwnedFd>>,
}

const ELSEWHERE: &str = "/usr/libexec/taskmaster";

impl Executables {
    /// Finds and opens the helpers: beside our own executable, else in `/usr/libexec/taskmaster`.
    ///
    /// # Errors
    /// Which one is missing, or in whose hands it is.
    pub fn open(with_shell: bool) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|error| format!("cannot find my own executable: {error}"))?;
        let owner = file::owner(&own).map_err(|error| format!("{}: {error}", own.display()))?;
        let beside = own.parent().unwrap_or(Path::new("/")).to_owned();
        let open = |name: &str| open_helper(&beside, name, owner);
        Ok(Self {
            spawner: open("taskmaster-spawner")?,
            logger: open(Role::Logger.program())?,
            notifier: open(Role::Notifier.program())?,
            shell: if with_shell { Some(open(Role::Shell.program())?) } else { None },
        })
    }

    pub fn of(&self, role: Role) -> Option<&Rc<OwnedFd>> {
        match role {
            Role::Logger => Some(&self.logger),
            Role::Notifier => Some(&self.notifier),
            Role::Shell => self.shell.as_ref(),
        }
    }
}

fn open_helper(beside: &Path, name: &str, owner: Uid) -> Result<Rc<OwnedFd>, String> {
    let candidates: [PathBuf; 2] = [beside.join(name), Path::new(ELSEWHERE).join(name)];
    let mut missing = Vec::new();
    for candidate in &candidates {
        match file::open_helper(candidate, owner) {
            Ok(executable) => return Ok(Rc::new(executable)),
            Err(error) if error.errno == libc::ENOENT => missing.push(candidate.display().to_string()),
            Err(error) => return Err(format!("{}: {}", error.path.display(), error.error)),
        }
    }
    Err(format!("the helper {name} is neither {}", missing.join(" nor ")))
}

/// One worker's life, seen from the core.
#[derive(Default)]
pub struct Worker {
    pub link: Option<Link>,
    pub ticket: Option<Ticket>,
    /// Some worker of this role has said that it is ready: it can run here.
    pub has_worked: bool,
    /// Why the last one ended.
    pub last_end: String,
    /// Started at, to tell a worker that cannot run from one that died.
    started: Option<Moment>,
    failures: u32,
    /// What it may say now.
    pub permits: Permits,
    /// What it said that it may not, until that is told.
    pub fault: Option<String>,
    /// It was ended to make room for another.
    pub replaced: bool,
    /// Not before this.
    pub next_start: Option<Moment>,
}

/// A worker that lived this long was healthy.
const HEALTHY: Duration = Duration::from_secs(10);
/// The longest wait for a new worker.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl Worker {
    pub fn started(&mut self, ticket: Ticket, link: Option<Link>, now: Moment) {
        self.ticket = Some(ticket);
        self.link = link;
        self.permits = Permits::default();
        self.started = Some(now);
        self.next_start = None;
    }

    /// It is gone: the first time it is started again at once, then with growing pauses of at most 1 s.
    pub fn ended(&mut self, now: Moment) -> Option<Link> {
        let healthy = self.started.is_some_and(|started| now.since(started) >= HEALTHY);
        self.failures = if healthy { 0 } else { self.failures.saturating_add(1) };
        let wait = match self.failures {
            0 | 1 => Duration::ZERO,
            n => LONGEST_WAIT.min(Duration::from_millis(50) * n),
        };
        self.ticket = None;
        self.next_start = Some(now + wait);
        self.link.take()
    }

    /// How often it has died young in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}
