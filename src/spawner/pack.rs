//! The steps around the compression of a rotated file, each the whole job of a clone: in root's own directories as
//! root, anywhere else as the program's user. The compressing itself is the logger's.

use std::os::fd::OwnedFd;

use crate::model::stage::{Stage, StartFailure};
use crate::protocol::spawner::{PackSpec, Packing};
use crate::system::file::FileError;
use crate::system::place::Place;
use crate::system::rotated::{self, Packed, ToPack};

use super::files;
use super::identity;
use super::report::{Reporter, errno};

/// Does one step.
pub fn pack(spec: &PackSpec, reporter: &Reporter, descriptors: Vec<OwnedFd>) -> Result<(), StartFailure> {
    let who = identity::find(&spec.identity, reporter)?;
    reporter.reached(Stage::Output);
    let located = files::locate(&spec.file, &who)?;
    let opened = located.with_rights(&who, |place| step(place, spec, &descriptors))?;
    let opened: Vec<_> = opened.into_iter().flat_map(ToPack::into_files).map(|file| (spec.file.sink, file)).collect();
    reporter.opened(&opened)
}

fn step(place: &Place, spec: &PackSpec, descriptors: &[OwnedFd]) -> Result<Option<ToPack>, FileError> {
    let packed = |bytes| match descriptors {
        [source, target, ..] => Ok(Packed { source, target, bytes }),
        _ => Err(place.error("what was compressed did not come along")),
    };
    match spec.step {
        Packing::Open => place.open_next(spec.keep),
        Packing::Put { bytes } => place.put(spec.keep, &packed(bytes)?).map(|()| None),
        Packing::Remove { bytes } => place.remove_packed(spec.keep, &packed(bytes)?).map(|()| None),
        Packing::Discard => place.discard().map(|()| None),
    }
}

/// Waits until these files are on disk, however long a disk takes. Nobody's rights are needed for that.
pub fn sync(reporter: &Reporter, descriptors: &[OwnedFd]) -> Result<(), StartFailure> {
    reporter.reached(Stage::Output);
    descriptors.iter().try_for_each(rotated::sync).map_err(|error| errno(Stage::Output, "", error))
}
