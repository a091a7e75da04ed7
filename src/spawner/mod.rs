//! `taskmaster-spawner`: the fork server.
//!
//! It waits for one request of the core after the other, makes a clone of itself for each
//! (`system::clone`, as a child of the *core*), and tells the core its pidfd. The clone does the work:
//! [`start`] becomes a program, [`files`] opens or rotates a log file, [`pack`] has one compressed. Whatever
//! blocks or fails there (an account database, a network directory, a hostile signal) hits that one clone only.
//!
//! It keeps no state and decides nothing. When the core is gone, it ends.

mod boundary;
mod environment;
mod files;
mod identity;
mod pack;
mod privilege;
mod report;
mod restrict;
mod start;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::rc::Rc;

use crate::model::stage::{Stage, StartFailure};
use crate::protocol::spawner::{Answer, Job, Request};
use crate::system::clone::{Parent, Side, clone, leave, thread_count};
use crate::worker::channel::{Channel, ChannelError, Received};
use crate::worker::confine::CHANNEL;

use report::Reporter;

/// Runs until the core closes the channel.
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("taskmaster-spawner: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    crate::system::stdio::fill_standard().map_err(words)?;
    // As an ordinary user this would take the right to its own /proc entries away from the clones.
    if crate::system::account::own_uid().is_root() {
        crate::system::process::forbid_dumping().map_err(words)?;
    }
    let socket =
        crate::system::stdio::inherited(CHANNEL).map_err(|_| "it is started by taskmasterd, not by hand".to_owned())?;
    let mut channel = Channel::of_worker(socket, false).map_err(words)?;
    if thread_count() != Some(1) {
        return Err("it must have one thread to clone itself safely".to_owned());
    }
    loop {
        match channel.receive::<Request>() {
            Ok(Some(request)) => answer(&mut channel, request).map_err(|error| error.to_string())?,
            Ok(None) => {}
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Clones, and tells the core what came of it. In the clone it does not return.
fn answer(channel: &mut Channel, request: Received<Request>) -> Result<(), ChannelError> {
    let Request { ticket, cgroup, job } = request.message;
    let failed = |stage, errno: i32, error: String| Answer::Failed {
        ticket,
        failure: StartFailure { stage, errno, subject: String::new(), error },
    };
    let mut descriptors = request.descriptors.into_iter();
    let report = descriptors.next();
    let group = if cgroup { descriptors.next() } else { None };
    let group = group.as_ref().map(AsFd::as_fd);
    let (answer, passed) = match report {
        None => (failed(Stage::Prepare, 0, "a descriptor is missing".to_owned()), Vec::new()),
        // Everything is blocked across the clone: a signal that arrives early finds no half-made process.
        Some(report) => match crate::system::signals::block_everything().and_then(|()| clone_into(group)) {
            Ok(Side::Clone) => work(job, report, descriptors.collect()),
            Ok(Side::Original { pid, pidfd }) => (Answer::Cloned { ticket, pid: pid.0 }, vec![Rc::new(pidfd)]),
            Err(error) => (failed(Stage::Clone, error.raw_os_error().unwrap_or(0), error.to_string()), Vec::new()),
        },
    };
    channel.send(&answer, passed)?;
    channel.flush_waiting()
}

/// In its control group. Where the kernel does not let it be born there, outside: the core sees that, and
/// tells it.
fn clone_into(group: Option<BorrowedFd<'_>>) -> std::io::Result<Side> {
    // clone(2): it has controllers for groups below it; it is removed; it is threaded, or frozen for good;
    // a rule of security forbids it.
    const REFUSED: [i32; 4] = [libc::EBUSY, libc::ENODEV, libc::EOPNOTSUPP, libc::EACCES];
    match clone(Parent::Mine, group) {
        Err(error) if group.is_some() && error.raw_os_error().is_some_and(|errno| REFUSED.contains(&errno)) => {
            clone(Parent::Mine, None)
        }
        other => other,
    }
}

/// In the clone: does the job, or reports why not. Never returns, never unwinds into the loop above.
fn work(job: Job, report: OwnedFd, descriptors: Vec<OwnedFd>) -> ! {
    let done = catch_unwind(AssertUnwindSafe(|| {
        let reporter = Reporter::new(report)?;
        let result = match job {
            Job::Start(spec) => start::become_program(&spec, &reporter, descriptors).map(|never| match never {}),
            Job::Files(spec) => files::open_or_rotate(&spec, descriptors, &reporter),
            Job::Pack(spec) => pack::pack(&spec, &reporter, descriptors),
            Job::Sync => pack::sync(&reporter, &descriptors),
        };
        if let Err(failure) = &result {
            reporter.failed(failure);
        }
        result
    }));
    match done {
        Ok(Ok(())) => leave(0),
        Ok(Err(failure)) => leave(exit_status(failure.stage)),
        Err(_) => leave(199),
    }
}

/// 200 and up, in the order of the stages: visible to whoever traces the process.
fn exit_status(stage: Stage) -> i32 {
    let position = Stage::ALL.iter().position(|known| *known == stage).unwrap_or(0);
    200 + i32::try_from(position).unwrap_or(0)
}
