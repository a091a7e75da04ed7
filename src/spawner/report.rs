//! How a clone tells the core how far it has come: messages on a socket of its own, which ends by itself
//! when the program is executed.

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::model::boundary::Grant;
use crate::model::stage::{Stage, StartFailure};
use crate::protocol::spawner::{Report, SinkId};
use crate::system::{socket, stdio};

/// Above every number that a program or worker is given descriptors at.
const OUT_OF_THE_WAY: i32 = 32;

pub struct Reporter {
    socket: OwnedFd,
}

impl Reporter {
    /// Takes over the socket and says that the clone is born.
    pub fn new(socket: OwnedFd) -> Result<Self, StartFailure> {
        let socket = stdio::move_above(socket, OUT_OF_THE_WAY).map_err(|error| failure(Stage::Prepare, "", &error))?;
        let reporter = Self { socket };
        reporter.send(&Report::Born, &[]);
        Ok(reporter)
    }

    pub fn opened(&self, files: &[(SinkId, OwnedFd)]) -> Result<(), StartFailure> {
        for part in files.chunks(socket::DESCRIPTORS_MAX) {
            let sinks = part.iter().map(|(sink, _)| *sink).collect();
            let descriptors: Vec<BorrowedFd<'_>> = part.iter().map(|(_, file)| file.as_fd()).collect();
            let bytes = encode(&Report::Opened { sinks });
            socket::send(&self.socket, &bytes, &descriptors).map_err(|error| failure(Stage::Output, "", &error))?;
        }
        Ok(())
    }

    /// Says that a step begins which others can make last, so that a start that took too long can tell where.
    pub fn reached(&self, stage: Stage) {
        self.send(&Report::Reached(stage), &[]);
    }

    /// The program runs with less restriction than is configured, which the configuration permits.
    pub fn unrestricted(&self, why: String) -> Result<(), StartFailure> {
        socket::send(&self.socket, &encode(&Report::Unrestricted(why)), &[])
            .map_err(|error| failure(Stage::Spawner, "", &error))
    }

    /// What the program has been given.
    pub fn granted(&self, mut grant: Grant) -> Result<(), StartFailure> {
        let mut bytes = encode(&Report::Granted(Box::new(grant.clone())));
        if bytes.len() > socket::PACKET_MAX {
            // Paths and groups beyond all measure: the rest is what counts.
            grant.files.clear();
            grant.groups = None;
            bytes = encode(&Report::Granted(Box::new(grant)));
        }
        socket::send(&self.socket, &bytes, &[]).map_err(|error| failure(Stage::Spawner, "", &error))
    }

    /// The last word before the program runs. If nobody listens any more, the start was given up, or the
    /// core is gone: then there is nobody to run for.
    pub fn executing(&self) -> Result<(), StartFailure> {
        socket::send(&self.socket, &encode(&Report::Executing), &[])
            .map_err(|error| failure(Stage::Spawner, "", &error))
    }

    pub fn failed(&self, failure: &StartFailure) {
        self.send(&Report::Failed(failure.clone()), &[]);
    }

    /// If nobody listens any more, there is nobody to tell.
    fn send(&self, report: &Report, descriptors: &[BorrowedFd<'_>]) {
        let _ = socket::send(&self.socket, &encode(report), descriptors);
    }
}

impl AsFd for Reporter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn encode(report: &Report) -> Vec<u8> {
    serde_json::to_vec(report).unwrap_or_default()
}

/// A failure with the words of an I/O error.
pub fn failure(stage: Stage, subject: impl Display, error: &io::Error) -> StartFailure {
    match error.raw_os_error() {
        Some(raw) => errno(stage, subject, Errno::from_raw(raw)),
        None => StartFailure { stage, errno: 0, subject: subject.to_string(), error: error.to_string() },
    }
}

/// A failure with the words of an errno.
pub fn errno(stage: Stage, subject: impl Display, errno: Errno) -> StartFailure {
    StartFailure { stage, errno: errno as i32, subject: subject.to_string(), error: errno.desc().to_owned() }
}
