//! An SMTP server for faults on order: `sink.py`, written on aiosmtpd.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::mails::{self, Mail};
use super::{Daemon, free_port};
use crate::support::eventually;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/servers/sink.py");
/// The user that it knows, and the password.
pub const USER: &str = "alerts";
pub const PASSWORD: &str = "Correct+Horse/Battery";

pub struct Sink {
    pub port: u16,
    directory: PathBuf,
    certificate: Option<(PathBuf, PathBuf)>,
    daemon: Option<Daemon>,
}

impl Sink {
    /// Not started yet: nobody listens on its port.
    pub fn prepare(directory: PathBuf) -> Self {
        Self { port: free_port(), directory, certificate: None, daemon: None }
    }

    /// In clear text, as the mode says.
    pub fn start(directory: PathBuf, mode: &str) -> Self {
        let mut sink = Self::prepare(directory);
        sink.be(mode);
        sink
    }

    /// With this certificate and key: STARTTLS, or TLS from the first byte with the mode `implicit`.
    pub fn start_tls(directory: PathBuf, mode: &str, certificate: (PathBuf, PathBuf)) -> Self {
        let mut sink = Self { certificate: Some(certificate), ..Self::prepare(directory) };
        sink.be(mode);
        sink
    }

    /// Listens from now on and behaves so.
    #[track_caller]
    pub fn be(&mut self, mode: &str) {
        self.stop();
        let mut command = Command::new(super::python().expect("the test needs it"));
        command.arg(PROGRAM).arg(self.port.to_string()).arg(mode).arg(&self.directory).env("SINK_PASSWORD", PASSWORD);
        if let Some((certificate, key)) = &self.certificate {
            command.args([certificate, key]);
        }
        let said = self.directory.with_extension("said");
        let mut daemon = Daemon::start("the sink", &mut command, &said);
        daemon.wait_until_ready(&said, || std::fs::read_to_string(&said).is_ok_and(|text| text.contains("ready")));
        self.daemon = Some(daemon);
    }

    pub fn stop(&mut self) {
        self.daemon = None;
    }

    /// All that it has taken, in order.
    #[track_caller]
    pub fn mails(&self) -> Vec<Mail> {
        mails::read(&mails::files_ending(&self.directory, ".eml"))
    }

    pub fn count(&self) -> usize {
        mails::files_ending(&self.directory, ".eml").len()
    }

    /// Waits until there are so many, and gives them.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Mail> {
        eventually(&format!("{count} mails at the sink"), || (self.count() >= count).then_some(()));
        self.mails()
    }

    /// Waits for a mail with this in its subject.
    #[track_caller]
    pub fn wait_for_subject(&self, words: &str) -> Mail {
        let mut seen = 0;
        eventually(&format!("a mail about {words:?}"), || {
            let count = self.count();
            let mails = if count > seen { self.mails() } else { Vec::new() };
            seen = count;
            mails.into_iter().find(|mail| mail.subject().contains(words))
        })
    }

    /// Envelopes, in the order of the mails.
    pub fn envelopes(&self) -> Vec<Value> {
        let read =
            |path: &PathBuf| serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON");
        mails::files_ending(&self.directory, ".eml").iter().map(|path| read(&path.with_extension("json"))).collect()
    }

    /// What it has noted: connections, logins, refusals.
    pub fn log(&self, what: &str) -> Vec<Value> {
        lines(&self.directory.join("log")).into_iter().filter(|line| line.get(what).is_some()).collect()
    }
}

/// The whole lines of JSON in a file.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
