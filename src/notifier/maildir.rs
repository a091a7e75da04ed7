//! Delivery into a maildir that was given as an open directory: for trying out.

use std::io;

use crate::alert::outcome::{Class, Failure, Outcome};
use crate::system::folder::Folder;

/// Puts a message into `new`, complete and synced. The same id is delivered once, however often it is tried.
pub fn deliver(maildir: &Folder, id: &str, bytes: &[u8]) -> Outcome {
    match write(maildir, id, bytes) {
        Ok(()) => Outcome::Sent,
        Err(error) => {
            let class = match error.raw_os_error() {
                Some(libc::ENOSPC | libc::EDQUOT | libc::EIO | libc::ENFILE | libc::EMFILE) => Class::Temporary,
                _ => Class::Configuration,
            };
            Outcome::Failed(Failure::new(class, format!("the maildir cannot be written: {error}")))
        }
    }
}

fn write(maildir: &Folder, id: &str, bytes: &[u8]) -> io::Result<()> {
    let (tmp, new, cur) = (maildir.folder("tmp")?, maildir.folder("new")?, maildir.folder("cur")?);
    let name = format!("{id}.taskmaster");
    // A reader moves it to `cur` and adds `:2,` and flags; an unread one is the usual case.
    if new.has(&name) || cur.has(&format!("{name}:2,")) || cur.has(&format!("{name}:2,S")) {
        return Ok(());
    }
    tmp.write_new(&name, bytes)?;
    tmp.rename(&name, &new, &name)?;
    new.sync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_message_is_delivered_once_and_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let maildir = Folder::new(File::open(directory.path()).expect("opened").into()).expect("a directory");
        for _ in 0..2 {
            assert_eq!(deliver(&maildir, "a-1", b"Subject: x\r\n\r\n"), Outcome::Sent);
        }
        let read = |folder: &str| -> Vec<String> {
            let entries = std::fs::read_dir(directory.path().join(folder)).expect("there");
            entries.map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("read")).collect()
        };
        assert_eq!(read("new"), ["Subject: x\r\n\r\n"]);
        assert!(read("tmp").is_empty() && read("cur").is_empty());
        std::fs::remove_dir(directory.path().join("tmp")).expect("removed");
        std::fs::write(directory.path().join("tmp"), "").expect("in its place");
        let Outcome::Failed(failure) = deliver(&maildir, "a-2", b"x") else { panic!("it cannot") };
        assert_eq!(failure.class, Class::Configuration);
    }
}
