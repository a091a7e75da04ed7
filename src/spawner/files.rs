//! Log files, opened where nobody can trick us: in root's own directories as root, anywhere else as the
//! program's user, with that user's rights. Rotation keeps the same rule.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::model::id::Uid;
use crate::model::stage::{Stage, StartFailure};
use crate::model::text::escaped;
use crate::protocol::spawner::{FilesSpec, OpenFile, Rotate, SinkId};
use crate::system::account;
use crate::system::file::FileError;
use crate::system::place::{self, Demand, Found, Held, Ownership, Place};
use crate::system::way::Doubt;

use super::identity::{self, Who};
use super::report::Reporter;

/// A log file whose place is known.
pub struct Located<'a> {
    file: &'a OpenFile,
    path: PathBuf,
    /// In root's hands; else to be opened as the user, for this reason if we are root.
    place: Result<Place, Option<Theirs>>,
}

/// Why root opens nothing at a place.
enum Theirs {
    Doubt(Doubt),
    /// It cannot be walked to.
    Error(FileError),
}

/// The clone's whole job for a rotation or a reopening. The descriptor is the file that is open now: no other is
/// rotated, and a new one is made like it.
pub fn open_or_rotate(spec: &FilesSpec, descriptors: Vec<OwnedFd>, reporter: &Reporter) -> Result<(), StartFailure> {
    let held = descriptors.first().map(Held::of).and_then(Result::ok).ok_or_else(nothing_held)?;
    let who = identity::find(&spec.identity, reporter)?;
    reporter.reached(Stage::Output);
    let located = locate(&spec.file, &who)?;
    let demand = if located.is_roots() { Demand::All } else { Demand::Possible };
    let opened = located.with_rights(&who, |place| {
        if let Some(rotate) = spec.rotate {
            rotate_away(place, rotate, &held)?;
        }
        place.open_log(Some((held.ownership(), demand)))
    })?;
    reporter.opened(&[(spec.file.sink, opened)])
}

fn rotate_away(place: &Place, Rotate { keep, compress }: Rotate, held: &Held) -> Result<(), FileError> {
    place.rotate(keep, held)?;
    if !compress {
        // No reason to stay without a log.
        let _ = place.discard();
    }
    Ok(())
}

/// Finds out in whose hands a log file's directory is. Still as root.
pub fn locate<'a>(file: &'a OpenFile, who: &Who) -> Result<Located<'a>, StartFailure> {
    let home = who.person().map_or("/", |person| person.home.as_str());
    let path = PathBuf::from(file.path.render(&who.name(), home));
    if !account::own_uid().is_root() {
        return Ok(Located { file, path, place: Err(None) });
    }
    let theirs = match place::find(&path, Uid(0)) {
        Ok(Found::Trusted(place)) => return Ok(Located { file, path, place: Ok(place) }),
        Ok(Found::Others(doubt)) => Theirs::Doubt(doubt),
        // A missing directory: whatever it is, it is the user's rights that count there.
        Err(error) => Theirs::Error(error),
    };
    let located = Located { file, path, place: Err(Some(theirs)) };
    // There the rights that count would be root's own, led by whoever can change the place.
    if who.is_root() { Err(located.refusal()) } else { Ok(located) }
}

impl Located<'_> {
    pub fn is_roots(&self) -> bool {
        self.place.is_ok()
    }

    /// Opens it in root's directory: if it is made now, as root's file, readable for the program's group.
    pub fn open_as_root(&self, who: &Who) -> Result<(SinkId, OwnedFd), StartFailure> {
        let Ok(place) = &self.place else { return Err(self.refusal()) };
        let ownership = Ownership { owner: None, group: who.gid(), mode: self.file.mode };
        let opened = place.open_log(Some((ownership, Demand::All))).map_err(|error| self.told(&error, None))?;
        Ok((self.file.sink, opened))
    }

    /// Opens it with the rights of the user that the clone has become.
    pub fn open_as_user(&self, who: &Who) -> Result<(SinkId, OwnedFd), StartFailure> {
        let opened = self.as_user(who, |place| place.open_log(None))?;
        Ok((self.file.sink, opened))
    }

    /// Does something at the place, as root if that is in root's directory; else as the user, whom the clone becomes.
    pub fn with_rights<T>(
        &self,
        who: &Who,
        act: impl FnOnce(&Place) -> Result<T, FileError>,
    ) -> Result<T, StartFailure> {
        if let Ok(place) = &self.place {
            return act(place).map_err(|error| self.told(&error, None));
        }
        identity::set_groups(who)?;
        identity::set_user(who)?;
        self.as_user(who, act)
    }

    fn as_user<T>(&self, who: &Who, act: impl FnOnce(&Place) -> Result<T, FileError>) -> Result<T, StartFailure> {
        place::find_as_self(&self.path).and_then(|place| act(&place)).map_err(|error| self.told(&error, Some(who)))
    }

    fn told(&self, error: &FileError, who: Option<&Who>) -> StartFailure {
        let mut failure = self.failure(Some(error.errno), &error.error);
        // The user's rights decide: say whose, why not root's, and what can be done.
        if let (Some(who), Err(Some(Theirs::Doubt(doubt)))) = (who, &self.place)
            && matches!(error.errno, libc::EACCES | libc::EPERM)
        {
            let (name, theirs) = (who.name(), escaped(&doubt.path.to_string_lossy()).into_owned());
            failure.error = format!(
                "{} (opened as {name}, because {theirs} {}; let {name} write there, or mend it ({}), \
                 or choose another path)",
                error.error,
                doubt.reason(),
                doubt.mend()
            );
        }
        failure
    }

    fn refusal(&self) -> StartFailure {
        match &self.place {
            Err(Some(Theirs::Doubt(doubt))) => {
                self.failure(None, &format!("is not opened for a program of root: {doubt}, or choose another path"))
            }
            Err(Some(Theirs::Error(error))) => self.told(error, None),
            Ok(_) | Err(None) => self.failure(None, "is not in root's hands"),
        }
    }

    fn failure(&self, errno: Option<i32>, error: &str) -> StartFailure {
        StartFailure {
            stage: Stage::Output,
            errno: errno.unwrap_or(0),
            subject: self.path.display().to_string(),
            error: error.to_owned(),
        }
    }
}

fn nothing_held() -> StartFailure {
    StartFailure {
        stage: Stage::Prepare,
        errno: 0,
        subject: String::new(),
        error: "a descriptor is missing".to_owned(),
    }
}
