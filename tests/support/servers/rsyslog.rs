//! rsyslog on a local socket, UDP, TCP and TLS; what it has understood of each message is a line of JSON.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::certificates::Certificates;
use super::{Daemon, free_port, listens, sink};
use crate::support::eventually;

pub struct Rsyslog {
    directory: PathBuf,
    pub udp: u16,
    pub tcp: u16,
    pub tls: u16,
    daemon: Option<Daemon>,
}

impl Rsyslog {
    /// Everything but the start, in a new directory.
    pub fn prepare(directory: PathBuf, certificates: &Certificates) -> Self {
        std::fs::create_dir(&directory).expect("a directory");
        std::fs::create_dir(directory.join("spool")).expect("a directory");
        crate::support::supervisor::open_up(&directory);
        let rsyslog = Self { directory, udp: free_port(), tcp: free_port(), tls: free_port(), daemon: None };
        std::fs::write(rsyslog.path("rsyslog.conf"), rsyslog.configuration(certificates)).expect("a file");
        rsyslog
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("log.sock")
    }

    fn configuration(&self, certificates: &Certificates) -> String {
        let (certificate, key) = certificates.own();
        let property = |(name, property): (&str, &str)| {
            format!("property(outname=\"{name}\" name=\"{property}\" format=\"jsonf\")")
        };
        let fields = [
            ("input", "inputname"),
            ("pri", "pri"),
            ("host", "hostname"),
            ("app", "app-name"),
            ("pid", "procid"),
            ("msgid", "msgid"),
            ("sd", "structured-data"),
            ("time", "timereported\" dateFormat=\"rfc3339"),
            ("msg", "msg"),
        ];
        let line = fields.map(property).join(" constant(value=\",\") ");
        format!(
            "global(workDirectory=\"{directory}/spool\" maxMessageSize=\"64k\"
  DefaultNetstreamDriverCAFile=\"{authority}\" DefaultNetstreamDriverCertFile=\"{certificate}\"
  DefaultNetstreamDriverKeyFile=\"{key}\")
module(load=\"imuxsock\" SysSock.Use=\"off\")
input(type=\"imuxsock\" Socket=\"{directory}/log.sock\" RateLimit.Interval=\"0\")
module(load=\"imudp\")
input(type=\"imudp\" address=\"127.0.0.1\" port=\"{udp}\")
module(load=\"imtcp\" StreamDriver.Name=\"ossl\" StreamDriver.Mode=\"0\")
input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{tcp}\")
input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{tls}\" StreamDriver.Name=\"ossl\" StreamDriver.Mode=\"1\"
  StreamDriver.AuthMode=\"anon\")
template(name=\"json\" type=\"list\") {{ constant(value=\"{{\") {line} constant(value=\"}}\\n\") }}
action(type=\"omfile\" file=\"{directory}/out.jsonl\" template=\"json\")
",
            directory = self.directory.display(),
            authority = certificates.authority().display(),
            certificate = certificate.display(),
            key = key.display(),
            udp = self.udp,
            tcp = self.tcp,
            tls = self.tls,
        )
    }

    /// Starts it, again after [`Self::stop`].
    #[track_caller]
    pub fn launch(&mut self) {
        let said = self.path("said");
        let mut command = Command::new("/usr/sbin/rsyslogd");
        command.arg("-n").arg("-f").arg(self.path("rsyslog.conf")).arg("-i").arg(self.path("pid"));
        let mut daemon = Daemon::start("rsyslog", &mut command, &said);
        daemon.wait_until_ready(&said, || {
            let probe = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
            probe.connect(self.socket()).is_ok() && listens(self.tcp) && listens(self.tls)
        });
        self.daemon = Some(daemon);
    }

    pub fn stop(&mut self) {
        self.daemon = None;
    }

    pub fn freeze(&self) {
        self.daemon.as_ref().expect("running").freeze();
    }

    pub fn thaw(&self) {
        self.daemon.as_ref().expect("running").thaw();
    }

    /// All that it was told, in order.
    pub fn messages(&self) -> Vec<Value> {
        sink::lines(&self.path("out.jsonl"))
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("rsyslog gets {what}; it has {:?}", self.messages()), || {
            self.messages().into_iter().find(|message| is(message))
        })
    }
}
