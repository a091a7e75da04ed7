//! Servers that alerts are sent to: real ones, each of its own test, on loopback and ports that nobody else
//! has, with all their files in the test's directory; ended with everything below them when dropped.
//!
//! Where one is not installed, the tests that need it are skipped: [`missing`] says why.

pub mod alertmanager;
pub mod certificates;
pub mod journald;
pub mod mails;
pub mod postfix;
pub mod receiver;
pub mod rsyslog;
pub mod sink;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Need, PATIENCE, eventually, proc};

/// Why a server cannot be started here.
pub fn missing(need: Need) -> Option<String> {
    let programs: &[&str] = match need {
        Need::Python => return python().is_none().then(|| "needs python3 with aiosmtpd".to_owned()),
        Need::Openssl => &["openssl"],
        Need::Postfix => &["postfix", "saslpasswd2", "openssl", "/usr/lib/sasl2/libsasldb.so"],
        Need::Rsyslog => &["rsyslogd", "openssl", "/usr/lib/rsyslog/lmnsd_ossl.so"],
        Need::Journald => &["/lib/systemd/systemd-journald", "journalctl"],
        Need::Alertmanager => &["prometheus-alertmanager"],
        _ => &[],
    };
    let missing: Vec<&str> = programs.iter().copied().filter(|name| !is_there(name)).collect();
    (!missing.is_empty()).then(|| format!("needs {}", missing.join(", ")))
}

/// A program in a usual place, or a file; libraries also where Debian has them for each architecture.
fn is_there(name: &str) -> bool {
    if !name.starts_with('/') {
        return ["/usr/sbin", "/usr/bin", "/usr/local/bin"].iter().any(|place| Path::new(place).join(name).exists());
    }
    let of_architecture = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(|triple| {
        name.strip_prefix("/usr/lib/").map_or_else(PathBuf::new, |rest| Path::new("/usr/lib").join(triple).join(rest))
    });
    Path::new(name).exists() || of_architecture.iter().any(|path| path.exists())
}

/// The interpreter that has aiosmtpd: the system's own first.
pub fn python() -> Option<&'static str> {
    static FOUND: OnceLock<Option<&'static str>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        ["/usr/bin/python3", "python3"].into_iter().find(|python| {
            let mut command = Command::new(python);
            command.args(["-c", "import aiosmtpd.smtp"]).stdin(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
    })
}

/// A port that nobody listens on, below those that the kernel gives to clients; never the same twice.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static TURN: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = TURN.fetch_add(1, Ordering::Relaxed);
        assert!(number < COUNT, "no port is free");
        let port = u16::try_from(FIRST + (std::process::id().wrapping_mul(101) + number) % COUNT).expect("below 65536");
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free {
            return port;
        }
    }
}

/// Whether somebody accepts connections there.
pub fn listens(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// A server process in the foreground.
pub struct Daemon {
    name: &'static str,
    child: Option<Child>,
}

impl Daemon {
    /// Starts it; what it says goes to a file.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).expect("a log file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        // A group of its own: nothing of the test runner's terminal reaches it.
        command.process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name, child: Some(child) }
    }

    /// Waits until it is ready; one that has ended instead fails the test with what it said.
    #[track_caller]
    pub fn wait_until_ready(&mut self, log: &Path, is_ready: impl Fn() -> bool) {
        let name = self.name;
        eventually(&format!("{name} is ready"), || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                panic!("{name} ended ({status}): {}", std::fs::read_to_string(log).unwrap_or_default());
            }
            is_ready().then_some(())
        });
    }

    /// It, and everything below it.
    fn all(&self) -> Vec<i64> {
        let Some(child) = &self.child else { return Vec::new() };
        let mut all = vec![i64::from(child.id())];
        all.extend(proc::descendants(all[0]));
        all
    }

    /// Stops all of it where it is: connections are made, and nobody answers.
    pub fn freeze(&self) {
        let all = self.all();
        all.iter().for_each(|pid| proc::kill(*pid, 19));
        eventually("it is frozen", || {
            all.iter().all(|pid| proc::stat(*pid).first().is_none_or(|state| state == "T")).then_some(())
        });
    }

    pub fn thaw(&self) {
        self.all().into_iter().rev().for_each(|pid| proc::kill(pid, 18));
    }

    /// Ends it as an administrator would, by a signal to one process of it.
    pub fn stop_by(&mut self, pid: i64) {
        let Some(mut child) = self.child.take() else { return };
        let all = {
            let mut all = proc::descendants(i64::from(child.id()));
            all.push(i64::from(child.id()));
            all
        };
        all.iter().for_each(|pid| proc::kill(*pid, 18));
        proc::kill(pid, 15);
        // One that is killed before it has ended loses what it has taken.
        let until = Instant::now() + PATIENCE;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        for pid in all.into_iter().filter(|pid| proc::is_alive(*pid)) {
            proc::kill(pid, 9);
        }
        let _ = child.wait();
    }

    pub fn stop(&mut self) {
        if let Some(child) = &self.child {
            self.stop_by(i64::from(child.id()));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a tool to its end; what it prints.
#[track_caller]
pub fn tool(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
