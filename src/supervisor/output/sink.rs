//! One log file as the core sees it: whether it is open, what a clone of the spawner does with it at the moment,
//! and what is to be done next. Gives requests and messages; others send them.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use crate::model::template::Template;
use crate::model::time::Moment;
use crate::protocol::logger::{FileName, SinkSettings, ToLogger};
use crate::protocol::spawner::{FilesSpec, Identity, OpenFile, PackSpec, Packing, Rotate, SinkId};
use crate::worker::channel::Passed;

use super::Message;

/// Log files in root's directories: readable for the program's group.
const LOG_MODE: u32 = 0o640;

/// The pauses between tries to rotate or compress a file that cannot be; and to open it anew, because its output may
/// be lost meanwhile.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE_TO_OPEN: Duration = Duration::from_secs(5);

/// The pause after another failure in a row.
pub fn next_pause(last: Option<Duration>) -> Duration {
    last.map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE))
}

/// One log file, whoever writes to it.
pub struct Sink {
    pub path: Template,
    pub identity: Identity,
    pub settings: SinkSettings,
    /// Rotated files are compressed.
    pub compress: bool,
    file: Option<Rc<OwnedFd>>,
    /// What it was called when it was opened.
    name: Option<FileName>,
    /// The file before it, as long as the logger may need it, and whether it was rotated away.
    before: Option<(Rc<OwnedFd>, bool)>,
    /// A clone is opening or rotating it, or looks at its rotated files.
    pub busy: bool,
    /// The clone that is at it has given us the new file already: what the logger says now is about that.
    delivered: bool,
    /// What the clone is at is a rotation.
    rotating: bool,
    /// To be rotated when it is not busy any more.
    rotate: bool,
    /// It could not be rotated or opened: when, and the pause after that, which grows.
    failing: Option<(Moment, Duration)>,
    /// To be opened anew when it is not busy any more.
    reopen: bool,
}

/// What a clone of the spawner is asked to do, and the file as it is open now.
pub type Work = (FilesSpec, Passed);

/// What is to be done about a log file that is full or has lost its name.
pub enum Rotation {
    Do(Work),
    /// It has failed not long ago: the logger goes on with the file it has.
    NotYet,
    /// It is being done, or there is no such file.
    Nothing,
}

impl Sink {
    pub const fn new(path: Template, identity: Identity, settings: SinkSettings, compress: bool) -> Self {
        Self {
            path,
            identity,
            settings,
            compress,
            file: None,
            name: None,
            before: None,
            busy: false,
            delivered: false,
            rotating: false,
            rotate: false,
            failing: None,
            reopen: false,
        }
    }

    pub const fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// The request to open it, unless it is open.
    pub fn to_open(&self, id: SinkId) -> Option<OpenFile> {
        (!self.is_open()).then(|| self.open_file(id))
    }

    fn open_file(&self, sink: SinkId) -> OpenFile {
        OpenFile { sink, path: self.path.clone(), mode: LOG_MODE }
    }

    /// It was opened for the first time, rotated or reopened; `false` if that is nothing to the logger.
    ///
    /// The logger may die before it has heard of the new file, with bytes of the old one in hand: that one is
    /// kept until it says that it has moved.
    pub fn opened(&mut self, file: Rc<OwnedFd>, name: Option<FileName>, replaces: bool) -> bool {
        // Several starts can open one file at once: the first is as good as the others.
        if self.is_open() && !replaces {
            return false;
        }
        self.name = name;
        let old = self.file.replace(file);
        self.delivered = replaces;
        self.before = match (self.before.take(), old) {
            // Moved twice without a word of the logger: the first is the one it may have been writing. The other move
            // may be from a file to itself, or to where nothing was written yet: one rotation is enough.
            (Some((first, rotated)), _) => Some((first, rotated || self.rotating)),
            (None, old) => old.map(|old| (old, self.rotating)),
        };
        true
    }

    /// The logger has moved to the file that it was given last.
    pub fn moved(&mut self) {
        self.before = None;
    }

    /// What a logger is told of it, if it is open.
    pub fn message(&self, sink: SinkId, dropping: bool) -> Option<Message> {
        let mut files = vec![Rc::clone(self.file.as_ref()?)];
        files.extend(self.before.iter().map(|(file, _)| Rc::clone(file)));
        let rotated = self.before.as_ref().is_some_and(|(_, rotated)| *rotated);
        Some((ToLogger::Sink { sink, settings: self.settings, name: self.name, rotated, dropping }, files))
    }

    /// The request for a rotation that the logger asked for: once at a time, and only of what exists.
    ///
    /// The new file reaches the logger before the clone that made it is over. Where much is written, the
    /// logger fills it in that time and asks again: that waits for the clone's end, it is not forgotten.
    pub fn rotate(&mut self, id: SinkId, now: Moment) -> Rotation {
        let Some(open) = self.file.clone() else { return Rotation::Nothing };
        if self.busy {
            self.rotate |= self.delivered;
            return Rotation::Nothing;
        }
        if self.failing.is_some_and(|(at, pause)| now < at + pause) {
            return Rotation::NotYet;
        }
        Rotation::Do(self.rotation(id, open))
    }

    fn rotation(&mut self, id: SinkId, open: Passed) -> Work {
        self.rotate = false;
        self.begin(true);
        let rotate = Some(Rotate { keep: self.settings.backups, compress: self.compress });
        (FilesSpec { identity: self.identity.clone(), file: self.open_file(id), rotate }, open)
    }

    /// The request for the file that has the name now, because the logger has seen that this one has lost it. What
    /// is being done already is an answer to that, unless the logger has it and speaks of the new file.
    pub fn astray(&mut self, id: SinkId, now: Moment) -> Rotation {
        if self.busy {
            self.reopen |= self.delivered;
            return Rotation::Nothing;
        }
        if self.failing.is_some_and(|(at, pause)| now < at + pause.min(LONGEST_PAUSE_TO_OPEN)) {
            return Rotation::NotYet;
        }
        self.reopen(id).map_or(Rotation::Nothing, Rotation::Do)
    }

    /// The request to open it anew, now or when it is not busy any more.
    pub fn reopen(&mut self, id: SinkId) -> Option<Work> {
        let open = self.file.clone()?;
        if self.busy {
            self.reopen = true;
            return None;
        }
        self.reopen = false;
        self.begin(false);
        Some((FilesSpec { identity: self.identity.clone(), file: self.open_file(id), rotate: None }, open))
    }

    const fn begin(&mut self, rotating: bool) {
        self.busy = true;
        self.delivered = false;
        self.rotating = rotating;
    }

    /// Whether a rotated file can be opened to be compressed: what the logger has moved away from, it does not
    /// change any more.
    pub fn can_be_compressed(&self) -> bool {
        self.compress && self.is_open() && !self.busy && self.before.is_none()
    }

    /// The request for a step of compression that looks at names. What the logger asks for meanwhile is done after.
    pub fn pack(&mut self, id: SinkId, step: Packing) -> PackSpec {
        self.begin(false);
        self.delivered = true;
        PackSpec { identity: self.identity.clone(), file: self.open_file(id), keep: self.settings.backups, step }
    }

    /// A rotation or reopening has failed. True if that is news.
    pub fn has_failed(&mut self, now: Moment) -> bool {
        let pause = next_pause(self.failing.map(|(_, pause)| pause));
        self.failing.replace((now, pause)).is_none()
    }

    /// One has worked. True if that is news.
    pub const fn has_worked(&mut self) -> bool {
        self.failing.take().is_some()
    }

    /// The clone that worked on it is over; gives the next request, if one waits.
    pub fn finished(&mut self, id: SinkId) -> Option<Work> {
        self.busy = false;
        if self.rotate {
            // The logger waits for it: a pause after a failure is not for this one.
            self.file.clone().map(|open| self.rotation(id, open))
        } else if self.reopen {
            self.reopen(id)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: SinkId = SinkId(3);

    fn file() -> Rc<OwnedFd> {
        Rc::new(tempfile::tempfile().expect("a file").into())
    }

    fn open() -> Sink {
        let identity = Identity::Unchanged;
        let settings = SinkSettings { max_bytes: 100, backups: 3, timestamps: false, strip_ansi: false };
        let mut sink = Sink::new(Template::default(), identity, settings, false);
        assert!(sink.opened(file(), None, false));
        sink
    }

    /// Whether the file before it was rotated away; `None`: there is none.
    fn before(sink: &Sink) -> Option<bool> {
        match sink.message(FILE, false) {
            Some((ToLogger::Sink { rotated, .. }, files)) => (files.len() == 2).then_some(rotated),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_that_was_rotated_is_so_too_if_it_or_the_next_was_reopened_before_the_logger_has_moved() {
        for rotations in [[true, false], [false, true]] {
            let mut sink = open();
            for rotates in rotations {
                let begins = |rotation| matches!(rotation, Rotation::Do(_));
                assert!(if rotates {
                    begins(sink.rotate(FILE, Moment::default()))
                } else {
                    sink.reopen(FILE).is_some()
                });
                sink.opened(file(), None, true);
                sink.finished(FILE);
            }
            assert_eq!(before(&sink), Some(true), "{rotations:?}");
            sink.moved();
            assert_eq!(before(&sink), None);
        }
        let mut sink = open();
        assert!(sink.reopen(FILE).is_some());
        sink.opened(file(), None, true);
        assert_eq!(before(&sink), Some(false), "whoever has renamed it has it as it is");
    }
}
