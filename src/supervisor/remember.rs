//! `[supervisor] remember`: what was started and stopped by hand, in a file of `state_dir`.
//!
//! The file is replaced as a whole, so that a reader finds the old or the new one. It is not synced: the core
//! waits for no disk, and what a power cut takes is the last seconds. Its contents are trusted no more than
//! those of the configuration: what makes no sense is told, and everything starts as configured.

use std::path::{Path, PathBuf};

use crate::model::event::{Facts, Kind};
use crate::model::id::Uid;
use crate::policy::will::{FILE_MAX, Will};
use crate::system::file;

use super::core::Core;

const NAME: &str = "by_hand";

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

/// What was remembered.
///
/// # Errors
/// Why nothing is, in words.
pub fn load(state_dir: &Path, own: Uid) -> Result<Will, String> {
    let path = path(state_dir);
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Will::default()),
        Ok(meta) if !meta.is_file() => return Err(refused(&path, "it is no regular file")),
        Ok(meta) if meta.len() > FILE_MAX as u64 => return Err(refused(&path, "it is too large")),
        Ok(_) | Err(_) => {}
    }
    let text = file::read_trusted(&path, own).map_err(|words| refused(&path, &words))?;
    Will::parse(&text).map_err(|words| refused(&path, &words))
}

/// What stays would come true when it is wanted again, however long that is.
pub fn forget(state_dir: &Path) {
    let _ = std::fs::remove_file(path(state_dir));
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
        let path = path(&supervisor.state_dir);
        if let Err(error) = file::replace(&path, text.as_bytes()) {
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
            forget(&self.config.supervisor.state_dir);
        }
    }
}
