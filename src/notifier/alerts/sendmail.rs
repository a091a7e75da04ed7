//! Messages that the configured sendmail takes: the core starts it, we write to it, the core tells how it
//! ended.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;

use crate::alert::outcome::{Class, Failure, Outcome};
use crate::model::text::escaped_line;
use crate::protocol::notifier::FromNotifier;
use crate::system::poll::{Interest, Poll};
use crate::system::stdio;

use super::super::network::{JobId, News};
use super::{Alerts, Network, Now};

/// How much of what it says is kept, in bytes.
const SAID_MAX: usize = 500;

pub struct Sendmail {
    job: JobId,
    /// What it has not taken yet.
    rest: Vec<u8>,
    input: Option<File>,
    words: Option<File>,
    said: Vec<u8>,
}

impl Sendmail {
    /// sendmail takes lines as they are on this machine.
    pub fn new(job: JobId, message: &[u8]) -> Self {
        let mut rest = Vec::with_capacity(message.len());
        for line in message.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\r\n") {
                Some(line) => rest.extend_from_slice(&[line, b"\n"].concat()),
                None => rest.extend_from_slice(line),
            }
        }
        Self { job, rest, input: None, words: None, said: Vec::new() }
    }

    pub fn job(&self) -> JobId {
        self.job
    }

    fn open(&mut self, input: Option<OwnedFd>, words: Option<OwnedFd>, poll: &mut Poll) -> io::Result<()> {
        if let Some(input) = input {
            stdio::set_nonblocking(&input, true)?;
            poll.add(&input, Interest::Write)?;
            self.input = Some(File::from(input));
        }
        if let Some(words) = words {
            stdio::set_nonblocking(&words, true)?;
            poll.add(&words, Interest::Read)?;
            self.words = Some(File::from(words));
        }
        Ok(())
    }

    /// Writes and reads what is possible now; gives whether the last of the message was written.
    fn go_on(&mut self, poll: &Poll) -> bool {
        let mut is_written = false;
        if let Some(input) = &mut self.input
            && write_all(input, &mut self.rest)
        {
            poll.remove(&*input);
            self.input = None;
            is_written = self.rest.is_empty();
        }
        if let Some(words) = &mut self.words
            && read_all(words, &mut self.said)
        {
            poll.remove(&*words);
            self.words = None;
        }
        is_written
    }

    /// What its end means (sysexits.h).
    fn outcome(&self, result: Result<u8, String>) -> Outcome {
        let said = escaped_line(self.said.trim_ascii_end());
        let words = |what: String| if said.is_empty() { what } else { format!("{what}: {said}") };
        let (class, what) = match result {
            Ok(0) if self.rest.is_empty() => return Outcome::Sent,
            Ok(0) => (Class::Temporary, "sendmail did not take the whole message".to_owned()),
            Ok(code @ (68 | 69 | 71 | 73 | 74 | 75)) => (Class::Temporary, format!("sendmail ended with {code}")),
            Ok(code @ (70 | 72 | 77 | 78 | 126 | 127)) => (Class::Configuration, format!("sendmail ended with {code}")),
            Ok(code @ 64..=76) => (Class::Permanent, format!("sendmail ended with {code}")),
            Ok(code) => (Class::Temporary, format!("sendmail ended with {code}")),
            Err(why) => (Class::Temporary, format!("sendmail: {why}")),
        };
        Outcome::Failed(Failure::new(class, words(what)))
    }
}

/// Whether there is no more to write: all is written, or the reader is gone.
fn write_all(file: &mut File, rest: &mut Vec<u8>) -> bool {
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(count) => drop(rest.drain(..count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
    true
}

/// Whether there is no more to read. All is read, the beginning is kept.
fn read_all(file: &mut File, said: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    // What it says in one turn is bounded: the loop goes on with others.
    for _ in 0..16 {
        match file.read(&mut buffer) {
            Ok(0) => return true,
            Ok(count) => {
                let room = SAID_MAX.saturating_sub(said.len());
                said.extend_from_slice(&buffer[..count.min(room)]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
    false
}

impl<N: Network> Alerts<N> {
    /// The core has started it.
    pub(super) fn sendmail_started(
        &mut self,
        ticket: u64,
        input: Option<OwnedFd>,
        words: Option<OwnedFd>,
        poll: &mut Poll,
    ) {
        let Some(sendmail) = self.sendmails.iter_mut().find(|sendmail| sendmail.job.0 == ticket) else { return };
        if let Err(error) = sendmail.open(input, words, poll) {
            let failure = Failure::new(Class::Temporary, format!("sendmail cannot be written to: {error}"));
            let job = sendmail.job;
            self.sendmails.retain(|sendmail| sendmail.job != job);
            self.done.push(News::Done { job, outcome: Outcome::Failed(failure) });
        }
    }

    pub(super) fn move_sendmails(&mut self, poll: &Poll, _now: Now) {
        for sendmail in &mut self.sendmails {
            if sendmail.go_on(poll) {
                self.told.push(FromNotifier::SendmailWritten { ticket: sendmail.job.0 });
            }
        }
    }

    pub(super) fn sendmail_ended(&mut self, ticket: u64, result: Result<u8, String>, poll: &Poll) {
        let Some(at) = self.sendmails.iter().position(|sendmail| sendmail.job.0 == ticket) else { return };
        let mut sendmail = self.sendmails.swap_remove(at);
        sendmail.go_on(poll);
        for file in [&sendmail.input, &sendmail.words].into_iter().flatten() {
            poll.remove(file);
        }
        let outcome = sendmail.outcome(result);
        self.done.push(News::Done { job: sendmail.job, outcome });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_exit_code_says_whether_to_try_again_and_its_words_say_why() {
        let mut sendmail = Sendmail::new(JobId(1), b"a\r\n\r\nb\nc");
        assert_eq!(sendmail.rest, b"a\n\nb\nc");
        let class = |sendmail: &Sendmail, result| match sendmail.outcome(result) {
            Outcome::Failed(failure) => Some((failure.class, failure.words)),
            _ => None,
        };
        assert_eq!(class(&sendmail, Ok(0)).map(|(class, _)| class), Some(Class::Temporary));
        sendmail.rest.clear();
        sendmail.said = b"queue\x1b full\n".to_vec();
        assert_eq!(class(&sendmail, Ok(0)), None);
        let (temporary, words) = class(&sendmail, Ok(75)).expect("failed");
        assert_eq!(temporary, Class::Temporary);
        assert_eq!(words, "sendmail ended with 75: queue\\x1b full");
        for (code, expected) in
            [(67, Class::Permanent), (65, Class::Permanent), (78, Class::Configuration), (1, Class::Temporary)]
        {
            assert_eq!(class(&sendmail, Ok(code)).map(|(class, _)| class), Some(expected), "{code}");
        }
        assert_eq!(class(&sendmail, Err("no such file".to_owned())).map(|(class, _)| class), Some(Class::Temporary));
    }
}
