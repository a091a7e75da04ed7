//! The spool over real directories.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::alert::notice::{Notice, Purpose};
use crate::model::event::Severity;
use crate::model::id::ChannelName;
use crate::model::time::WallTime;

pub fn folder(path: &Path) -> Folder {
    Folder::new(File::open(path).expect("opened").into()).expect("a directory")
}

fn entry(id: &str) -> Entry {
    Entry::new(Notice {
        id: id.to_owned(),
        channel: ChannelName("email".to_owned()),
        recipients: Vec::new(),
        host: "h".to_owned(),
        made_at: WallTime::from_millisecond(1_795_162_323_000).expect("in range"),
        purpose: Purpose::Problem,
        severity: Severity::Err,
        items: Vec::new(),
        more_items: 0,
        root: None,
        dropped: 0,
    })
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

fn ids(entries: &[(Entry, u64)]) -> Vec<&str> {
    entries.iter().map(|(entry, _)| entry.notice.id.as_str()).collect()
}

fn now() -> Moment {
    Moment::default()
}

#[test]
fn what_is_written_is_read_again_and_only_its_owner_may_look() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut spool, _) = Spool::open(Some(folder(directory.path())));
    spool.save(b"{\"seq\":7}".to_vec());
    assert!(spool.is_unfiled(&entry("a")));
    spool.put(&entry("a"));
    spool.put(&entry("b"));
    spool.put(&entry("c"));
    assert!(spool.flush(now()) && !spool.is_unfiled(&entry("a")));
    spool.remove(&entry("a"));
    spool.bury(&entry("b"));
    assert!(spool.flush(now()));
    assert_eq!(names(&directory.path().join("queue")), ["c.email.json"]);
    assert_eq!(names(&directory.path().join("dead")), ["b.email.json"]);
    assert_eq!(names(directory.path()), ["dead", "queue", "state.json"]);
    let mode = |name: &str| fs::metadata(directory.path().join(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode("state.json"), mode("queue"), mode("queue/c.email.json")), (0o600, 0o700, 0o600));
    let (_, left) = Spool::open(Some(folder(directory.path())));
    assert_eq!((ids(&left.waiting), left.dead.len()), (vec!["c"], 1));
    assert_eq!(left.state, Some(serde_json::json!({"seq": 7})));
}

#[test]
fn files_that_are_no_messages_are_set_aside_and_hurt_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut spool, _) = Spool::open(Some(folder(directory.path())));
    spool.put(&entry("good"));
    assert!(spool.flush(now()));
    let queue = directory.path().join("queue");
    let whole = fs::read(queue.join("good.email.json")).expect("read");
    fs::write(directory.path().join("state.json"), "[".repeat(200_000)).expect("written");
    fs::write(directory.path().join("tmp.1"), "half").expect("written");
    fs::write(queue.join("half.email.json"), &whole[..whole.len() / 2]).expect("written");
    fs::write(queue.join("other.email.json"), &whole).expect("written");
    fs::write(queue.join("deep.email.json"), "[".repeat(100_000)).expect("written");
    fs::write(queue.join("huge.email.json"), vec![b' '; 5 << 20]).expect("written");
    std::os::unix::fs::symlink("/etc/passwd", queue.join("link.email.json")).expect("symlink");
    fs::create_dir(queue.join("dir.email.json")).expect("mkdir");
    nix::unistd::mkfifo(&queue.join("fifo.email.json"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
    let (_, left) = Spool::open(Some(folder(directory.path())));
    assert_eq!(ids(&left.waiting), ["good"]);
    assert_eq!(left.unreadable.len(), 8, "{:?}", left.unreadable);
    assert!(left.state.is_none());
    assert_eq!(names(&queue), ["good.email.json"]);
    assert_eq!(names(directory.path()), ["dead", "queue"]);
    let (mut spool, left) = Spool::open(Some(folder(directory.path())));
    assert_eq!(left.unreadable.len(), 8, "they are still known");
    for (file, why) in &left.unreadable {
        assert!(!why.is_empty());
        spool.remove_unreadable(file);
    }
    // A directory is nothing that unlink(2) removes: the spool says so and goes on without.
    fs::remove_dir(directory.path().join("dead/dir.email.json.unreadable")).expect("removed");
    assert!(spool.flush(now()), "{:?}", spool.failure());
    assert!(names(&directory.path().join("dead")).is_empty());
}

#[test]
fn a_message_that_kills_the_notifier_twice_is_buried() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut spool, _) = Spool::open(Some(folder(directory.path())));
    let mut poison = entry("poison");
    poison.sending = true;
    spool.put(&poison);
    assert!(spool.flush(now()));
    let (mut spool, left) = Spool::open(Some(folder(directory.path())));
    assert_eq!((left.waiting[0].0.crashes, left.waiting[0].0.sending), (1, false));
    poison = left.waiting[0].0.clone();
    poison.sending = true;
    spool.put(&poison);
    assert!(spool.flush(now()));
    let (mut spool, left) = Spool::open(Some(folder(directory.path())));
    assert!(left.waiting.is_empty());
    assert_eq!(left.dead[0].reason.as_deref(), Some("the notifier died 2 times while it was sent"));
    assert!(spool.flush(now()));
    let (_, left) = Spool::open(Some(folder(directory.path())));
    assert_eq!((left.waiting.len(), left.dead.len()), (0, 1));
}

#[test]
fn as_many_messages_as_the_settings_allow_are_read_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, _) = Spool::open(Some(folder(directory.path())));
    let whole = serde_json::to_vec(&entry("a")).expect("json");
    for n in 0..6000 {
        let text = String::from_utf8_lossy(&whole).replace("\"id\":\"a\"", &format!("\"id\":\"a{n}\""));
        fs::write(directory.path().join(format!("queue/a{n}.email.json")), text).expect("written");
    }
    let (_, left) = Spool::open(Some(folder(directory.path())));
    assert_eq!((left.waiting.len(), left.unreadable.len()), (6000, 0));
}

#[test]
fn what_a_digest_tells_does_not_come_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut spool, _) = Spool::open(Some(folder(directory.path())));
    let mut digest = entry("a-d");
    digest.merged = vec!["a".to_owned(), "b".to_owned()];
    for entry in [&entry("a"), &entry("b"), &entry("c"), &digest] {
        spool.put(entry);
    }
    assert!(spool.flush(now()));
    let (mut spool, left) = Spool::open(Some(folder(directory.path())));
    assert_eq!(ids(&left.waiting), ["a-d", "c"]);
    assert!(spool.flush(now()));
    assert_eq!(names(&directory.path().join("queue")), ["a-d.email.json", "c.email.json"]);
}

#[test]
fn no_id_and_no_channel_leaves_the_directory() {
    for (id, channel) in [("../../x", "email"), ("a/b", "web/hooks"), ("", ""), (".", ".."), ("ä\n\0", "x")] {
        let mut entry = entry(id);
        entry.notice.channel = ChannelName(channel.to_owned());
        let name = name(&entry);
        assert!(!name.contains('/') && !name.contains('\0') && !name.starts_with('.'), "{name:?}");
    }
    assert!(name(&entry(&"\n".repeat(5000))).len() < 255);
}

/// A disk of 64 KiB; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let flags = nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV;
        nix::mount::mount(Some("tmpfs"), directory.path(), Some("tmpfs"), flags, Some("size=64k,mode=700"))
            .expect("mounts");
        Self(directory)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_loses_nothing_that_memory_holds() {
    if !nix::unistd::geteuid().is_root() {
        return; // mounting needs root
    }
    let disk = SmallDisk::mount();
    let (mut spool, _) = Spool::open(Some(folder(disk.0.path())));
    spool.put(&entry("before"));
    assert!(spool.flush(now()));
    let ballast = disk.0.path().join("ballast");
    let _ = fs::write(&ballast, vec![b'x'; 1 << 20]); // as much as there is room for
    spool.put(&entry("during"));
    assert!(!spool.flush(now()));
    assert!(spool.failure().is_some_and(|words| words.contains("No space left")), "{:?}", spool.failure());
    assert!(spool.is_unfiled(&entry("during")));
    assert_eq!(spool.deadline(), Some(now() + RETRY));
    fs::remove_file(&ballast).expect("removed");
    assert!(!spool.flush(now()), "it is not tried all the time");
    assert!(spool.flush(now() + RETRY));
    assert_eq!((spool.failure(), spool.deadline()), (None, None));
    assert_eq!(names(&disk.0.path().join("queue")), ["before.email.json", "during.email.json"]);
}

#[test]
fn without_a_directory_nothing_is_kept_and_nothing_fails() {
    let (mut spool, left) = Spool::open(None);
    assert!(left.state.is_none() && left.waiting.is_empty() && !spool.is_on_disk());
    assert!(spool.put(&entry("a")) > 0);
    assert!(!spool.flush(now()));
    assert_eq!((spool.failure(), spool.deadline()), (None, None));
}
