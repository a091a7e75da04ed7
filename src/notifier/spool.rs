//! What has to survive a crash, in the directory that the core has given us: the state of the pipelines
//! (`state.json`), each message that waits (`queue/ID.CHANNEL.json`), each that was given up (`dead/`).
//!
//! Every file is written beside, synced, and renamed into its place. [`Spool::flush`] does all that was
//! asked since the last one, in this order: the state, new and changed messages, removals. So whoever
//! writes a message into the state first (`outbox`) can lose it at no step. While the disk takes nothing,
//! what was asked waits here; without a directory nothing is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use crate::alert::entry::{ENTRY_MAX, Entry};
use crate::model::notify::{SPOOL_BYTES_MAX, SPOOL_MESSAGES_MAX};
use crate::model::time::Moment;
use crate::system::folder::Folder;

/// How often a failing disk is tried.
pub const RETRY: Duration = Duration::from_secs(10);
/// The largest message that is read, in bytes: a new one, and what becomes of a thousand recipients.
const MESSAGE_MAX: u64 = 8 * ENTRY_MAX as u64;
/// The largest state that is written, in bytes; twice that is read.
pub const STATE_MAX: usize = 64 << 20;
/// How much is read of each directory at start: more than the settings allow; the rest is left for the
/// next start.
const FILES_MAX: usize = SPOOL_MESSAGES_MAX as usize + 5000;
const BYTES_MAX: u64 = SPOOL_BYTES_MAX + (64 << 20);
/// An attempt during which the notifier died so often is the message's fault.
const CRASHES_MAX: u32 = 2;
const STATE: &str = "state.json";
const TEMPORARY: &str = "tmp.";
/// The end of the name of a file that is not what it should be.
const UNREADABLE: &str = ".unreadable";

#[derive(Default)]
pub struct Spool {
    disk: Option<Disk>,
    /// What is asked is kept until the disk takes it.
    keeps: bool,
    state: Option<Vec<u8>>,
    /// To be written, or (`None`) removed, by folder and name.
    changes: BTreeMap<(Place, String), Option<Vec<u8>>>,
    /// The names that are in each folder.
    there: BTreeSet<(Place, String)>,
    failure: Option<String>,
    retry: Option<Moment>,
}

struct Disk {
    root: Folder,
    queue: Folder,
    dead: Folder,
    /// After so many steps the notifier of a test dies.
    #[cfg(test)]
    steps: std::cell::Cell<Option<u32>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Queue,
    Dead,
}

/// What an earlier notifier has left.
#[derive(Default)]
pub struct Left {
    pub state: Option<serde_json::Value>,
    /// Oldest first, with their sizes in bytes.
    pub waiting: Vec<(Entry, u64)>,
    pub dead: Vec<Entry>,
    /// Files that are not what they should be, and why.
    pub unreadable: Vec<(String, String)>,
}

impl Spool {
    /// Opens the spool, and reads what is there.
    pub fn open(root: Option<Folder>) -> (Self, Left) {
        let mut spool = Self::default();
        let Some(root) = root else { return (spool, Left::default()) };
        let folders = root.folder("queue").and_then(|queue| Ok((queue, root.folder("dead")?)));
        match folders {
            Ok((queue, dead)) => {
                let disk = Disk {
                    root,
                    queue,
                    dead,
                    #[cfg(test)]
                    steps: std::cell::Cell::new(None),
                };
                spool.keeps = true;
                let left = spool.load(&disk);
                spool.disk = Some(disk);
                (spool, left)
            }
            Err(error) => {
                spool.failure = Some(format!("its directory cannot be used: {error}"));
                (spool, Left::default())
            }
        }
    }

    #[cfg(test)]
    pub fn die_after(&mut self, steps: u32) {
        if let Some(disk) = &self.disk {
            disk.steps.set(Some(steps));
        }
    }

    /// Whether anything is kept at all.
    pub fn is_on_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Why the disk takes nothing, while it does not.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// When a failing disk is to be tried again.
    pub fn deadline(&self) -> Option<Moment> {
        self.retry
    }

    /// The message is still to be written for the first time: only the state can hold it.
    pub fn is_unfiled(&self, entry: &Entry) -> bool {
        !self.there.contains(&(Place::Queue, name(entry)))
    }

    pub fn save(&mut self, state: Vec<u8>) {
        self.state = Some(state);
    }

    /// Writes a message that waits, new or changed; gives its size in bytes.
    pub fn put(&mut self, entry: &Entry) -> u64 {
        self.write(Place::Queue, entry)
    }

    /// A message is done with.
    pub fn remove(&mut self, entry: &Entry) {
        self.unlink(Place::Queue, name(entry));
    }

    pub fn bury(&mut self, entry: &Entry) {
        self.write(Place::Dead, entry);
        self.unlink(Place::Queue, name(entry));
    }

    /// The opposite; gives its size in bytes.
    pub fn unbury(&mut self, entry: &Entry) -> u64 {
        self.unlink(Place::Dead, name(entry));
        self.write(Place::Queue, entry)
    }

    /// Throws away what is buried.
    pub fn remove_dead(&mut self, entry: &Entry) {
        self.unlink(Place::Dead, name(entry));
    }

    /// Throws away a file of `Left::unreadable`.
    pub fn remove_unreadable(&mut self, file: &str) {
        self.unlink(Place::Dead, file.to_owned());
    }

    fn write(&mut self, place: Place, entry: &Entry) -> u64 {
        // Entries have string keys only: to_vec cannot fail on them.
        let bytes = serde_json::to_vec(entry).unwrap_or_default();
        let size = bytes.len() as u64;
        if self.keeps {
            self.changes.insert((place, name(entry)), Some(bytes));
        }
        size
    }

    fn unlink(&mut self, place: Place, name: String) {
        let key = (place, name);
        if self.there.contains(&key) {
            self.changes.insert(key, None);
        } else {
            self.changes.remove(&key);
        }
    }

    /// Brings to disk what was asked. Whether it is all there now; if not, it is tried again later.
    pub fn flush(&mut self, now: Moment) -> bool {
        let Some(disk) = &self.disk else { return false };
        if self.state.is_none() && self.changes.is_empty() {
            return true;
        }
        if self.retry.is_some_and(|retry| retry > now) {
            return false;
        }
        match disk.apply(&mut self.state, &mut self.changes, &mut self.there) {
            Ok(()) => (self.failure, self.retry) = (None, None),
            Err(error) => {
                (self.failure, self.retry) = (Some(error.to_string()), Some(now + RETRY));
            }
        }
        self.failure.is_none()
    }

    fn load(&mut self, disk: &Disk) -> Left {
        let mut left = Left::default();
        disk.remove_temporary();
        self.load_dead(disk, &mut left);
        self.load_state(disk, &mut left);
        self.load_queue(disk, &mut left);
        left
    }

    fn load_state(&mut self, disk: &Disk, left: &mut Left) {
        let read = disk.root.read(STATE, 2 * STATE_MAX as u64);
        if read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return;
        }
        let parsed = read.map_err(|error| error.to_string());
        match parsed.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string())) {
            Ok(state) => left.state = Some(state),
            Err(why) => self.set_aside(disk, &disk.root, STATE, why, left),
        }
    }

    fn load_dead(&mut self, disk: &Disk, left: &mut Left) {
        for (name, result) in entries(&disk.dead) {
            self.there.insert((Place::Dead, name.clone()));
            match result {
                Ok((entry, _)) => left.dead.push(entry),
                Err(why) => left.unreadable.push((name, why)),
            }
        }
    }

    fn load_queue(&mut self, disk: &Disk, left: &mut Left) {
        let mut waiting = Vec::new();
        for (name, result) in entries(&disk.queue) {
            match result {
                Ok(found) => {
                    self.there.insert((Place::Queue, name));
                    waiting.push(found);
                }
                Err(why) => self.set_aside(disk, &disk.queue, &name, why, left),
            }
        }
        let told_otherwise: BTreeSet<String> = waiting.iter().flat_map(|(entry, _)| entry.merged.clone()).collect();
        for (mut entry, bytes) in waiting {
            let is_buried = self.there.contains(&(Place::Dead, self::name(&entry)));
            if is_buried || told_otherwise.contains(&entry.notice.id) {
                self.remove(&entry);
            } else if let Some(buried) = self.after_a_crash(&mut entry) {
                left.dead.push(buried);
            } else {
                left.waiting.push((entry, bytes));
            }
        }
    }

    /// Counts an attempt that has no end; gives the message back if that was once too often.
    fn after_a_crash(&mut self, entry: &mut Entry) -> Option<Entry> {
        if !std::mem::take(&mut entry.sending) {
            return None;
        }
        entry.crashes = entry.crashes.saturating_add(1);
        if entry.crashes < CRASHES_MAX {
            self.put(entry);
            return None;
        }
        entry.set_reason(&format!("the notifier died {CRASHES_MAX} times while it was sent"));
        self.bury(entry);
        Some(entry.clone())
    }

    /// Moves a file that is not what it should be to the dead ones.
    fn set_aside(&mut self, disk: &Disk, from: &Folder, name: &str, why: String, left: &mut Left) {
        let new = format!("{}{UNREADABLE}", name.strip_suffix(UNREADABLE).unwrap_or(name));
        if from.rename(name, &disk.dead, &new).is_ok() {
            self.there.insert((Place::Dead, new.clone()));
        }
        left.unreadable.retain(|(known, _)| *known != new);
        left.unreadable.push((new, why));
    }
}

impl Disk {
    fn folder(&self, place: Place) -> &Folder {
        match place {
            Place::Queue => &self.queue,
            Place::Dead => &self.dead,
        }
    }

    /// What is done is taken out of what was asked; the rest is for the next time.
    fn apply(
        &self,
        state: &mut Option<Vec<u8>>,
        changes: &mut BTreeMap<(Place, String), Option<Vec<u8>>>,
        there: &mut BTreeSet<(Place, String)>,
    ) -> io::Result<()> {
        if let Some(bytes) = &state {
            self.write(&self.root, STATE, bytes)?;
            self.root.sync()?;
            *state = None;
        }
        let writes: Vec<_> = changes.iter().filter(|(_, bytes)| bytes.is_some()).map(|(key, _)| key.clone()).collect();
        for key in &writes {
            if let Some(Some(bytes)) = changes.get(key) {
                self.write(self.folder(key.0), &key.1, bytes)?;
            }
        }
        self.sync(writes.iter().map(|key| key.0))?;
        for key in writes {
            changes.remove(&key);
            there.insert(key);
        }
        let removals: Vec<_> = changes.keys().cloned().collect();
        for key in &removals {
            #[cfg(test)]
            self.step()?;
            self.folder(key.0).remove(&key.1)?;
        }
        self.sync(removals.iter().map(|key| key.0))?;
        for key in removals {
            changes.remove(&key);
            there.remove(&key);
        }
        Ok(())
    }

    fn write(&self, folder: &Folder, name: &str, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        self.step()?;
        let temporary = format!("{TEMPORARY}{}", std::process::id());
        self.root.write_new(&temporary, bytes)?;
        let renamed = self.root.rename(&temporary, folder, name);
        if renamed.is_err() {
            let _ = self.root.remove(&temporary);
        }
        renamed
    }

    #[cfg(test)]
    fn step(&self) -> io::Result<()> {
        match self.steps.get() {
            Some(0) => Err(io::Error::other("the notifier is dead")),
            Some(left) => {
                self.steps.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn sync(&self, places: impl Iterator<Item = Place>) -> io::Result<()> {
        let places: BTreeSet<Place> = places.collect();
        places.into_iter().try_for_each(|place| self.folder(place).sync())
    }

    /// What a notifier had not finished when it died.
    fn remove_temporary(&self) {
        let names = self.root.names(FILES_MAX).map_or_else(|_| Vec::new(), |(names, _)| names);
        for name in names.iter().filter(|name| name.starts_with(TEMPORARY)) {
            let _ = self.root.remove(name);
        }
    }
}

/// A message and its size in bytes, or what is wrong with its file.
type Found = Result<(Entry, u64), String>;

/// The messages of a folder, by name, and what is wrong with those that are none.
fn entries(folder: &Folder) -> Vec<(String, Found)> {
    let names = folder.names(FILES_MAX).map_or_else(|_| Vec::new(), |(names, _)| names);
    let mut bytes = 0;
    let mut found = Vec::new();
    for file in names {
        let result = read_entry(folder, &file);
        bytes += result.as_ref().map_or(0, |(_, size)| *size);
        found.push((file, result));
        if bytes > BYTES_MAX {
            break;
        }
    }
    found
}

fn read_entry(folder: &Folder, file: &str) -> Found {
    let bytes = folder.read(file, MESSAGE_MAX).map_err(|error| error.to_string())?;
    let entry: Entry = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if name(&entry) != file {
        return Err("its name and its contents do not agree".to_owned());
    }
    Ok((entry, bytes.len() as u64))
}

/// `ID.CHANNEL.json`, with nothing in it that could leave the directory.
fn name(entry: &Entry) -> String {
    format!("{}.{}.json", safe(&entry.notice.id), safe(&entry.notice.channel.0))
}

/// At most 120 characters, each of them harmless in a file name, not beginning with a dot.
fn safe(text: &str) -> String {
    let mut safe = String::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => safe.push(char::from(byte)),
            b'.' if at > 0 => safe.push('.'),
            _ => safe.push_str(&format!("%{byte:02X}")),
        }
        if safe.len() > 117 {
            break;
        }
    }
    if safe.is_empty() { "%".to_owned() } else { safe }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
