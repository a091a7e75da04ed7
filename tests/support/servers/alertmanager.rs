//! Prometheus Alertmanager, which tells a [`super::receiver::Receiver`] of what it was told.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Daemon, free_port};

pub struct Alertmanager {
    pub port: u16,
    _daemon: Daemon,
}

impl Alertmanager {
    /// In a new directory; it posts to this port.
    pub fn start(directory: &Path, receiver: u16) -> Self {
        std::fs::create_dir(directory).expect("a directory");
        let configuration = format!(
            "route: {{receiver: hook, group_by: [alertname], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}}\n\
             receivers: [{{name: hook, webhook_configs: [{{url: \"http://127.0.0.1:{receiver}/\", send_resolved: true}}]}}]\n"
        );
        std::fs::write(directory.join("am.yml"), configuration).expect("a file");
        let port = free_port();
        let mut command = Command::new("prometheus-alertmanager");
        command.arg(format!("--config.file={}", directory.join("am.yml").display()));
        command.arg(format!("--storage.path={}", directory.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--cluster.listen-address=");
        let log = directory.join("log");
        let mut daemon = Daemon::start("Alertmanager", &mut command, &log);
        daemon.wait_until_ready(&log, || get(port, "/-/ready").is_some());
        Self { port, _daemon: daemon }
    }

    /// What fires now.
    pub fn alerts(&self) -> Vec<Value> {
        let body = get(self.port, "/api/v2/alerts").unwrap_or_default();
        serde_json::from_str::<Value>(&body).ok().and_then(|all| all.as_array().cloned()).unwrap_or_default()
    }
}

/// The body of an answer with status 200.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    // HTTP/1.0: no chunks, and the end of the connection is the end of the body.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
}
