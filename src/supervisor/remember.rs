//! `[supervisor] remember`: what was started and stopped by hand, in a file of `state_dir`.
//!
//! The file is replaced as a whole, so that a reader finds the old or the new one. It is not synced: the core
//! waits for no disk, and what a power cut takes is the last seconds. Its contents are trusted no more than
//! those of the configuration: what makes no sense is told, and everything starts as configured.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::model::event::{Facts, Kind};
use crate::model::id::Uid;
use crate::policy::will::{FILE_MAX, Will};
use crate::system::file;

use super::core::Core;

const NAME: &str = "by_hand";

/// What was remembered in this directory, which is held open.
///
/// # Errors
/// Why nothing is, in words.
pub fn load(held: &OwnedFd, state_dir: &Path, own: Uid) -> Result<Will, String> {
    let path = state_dir.join(NAME);
    let text = match file::open_own(held, NAME, OFlag::O_RDONLY, own).and_then(|file| read(file.into())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Will::default()),
        other => other.map_err(|error| refused(&path, &error.to_string()))?,
    };
    Will::parse(&text).map_err(|words| refused(&path, &words))
}

fn read(file: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_MAX {
        return Err(io::Error::other("it is too large"));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::other(error.to_string()))
}

/// What stays would come true when it is wanted again, however long that is.
pub fn forget(held: &OwnedFd) {
    let _ = file::remove(held, NAME);
}

fn refused(path: &Path, why: &str) -> String {
    format!(
        "{}: what was started and stopped by hand is not remembered, all starts as configured: {why}",
        path.display()
    )
}

impl Core {
    /// Writes what has changed, once a turn however many processes it is about.
    pub(super) fn keep_will(&mut self) {
        let supervisor = &self.config.supervisor;
        if !supervisor.remember {
            return;
        }
        let Some(text) = self.fleet.will.take_text() else { return };
        if let Err(error) = file::replace(&self.state_dir, NAME, text.as_bytes()) {
            let path = supervisor.state_dir.join(NAME);
            let words =
                format!("{}: what was started and stopped by hand cannot be remembered: {error}", path.display());
            self.record(Kind::ConfigRejected, Facts::message(words));
        }
    }

    /// A reload has changed whether it is remembered.
    pub(super) fn remember_from_now_on(&mut self, remember: bool) {
        if remember {
            self.fleet.will.mark_changed();
        } else {
            forget(&self.state_dir);
        }
    }
}
