//! Postfix with its own configuration, queue and mailboxes: STARTTLS and SASL on one port, TLS from the
//! first byte on another. Mail to `gone@` is refused for good, to `busy@` for now.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::certificates::Certificates;
use super::mails::{self, Mail};
use super::{Daemon, free_port};
use crate::support::look::uid;
use crate::support::supervisor::open_up;
use crate::support::{eventually, proc};

/// Who may send mail, with what password.
pub const USER: &str = "alerts@localhost";
pub const PASSWORD: &str = "Correct+Horse/Battery";

/// Who has a mailbox `@example.test`.
const BOXES: [&str; 4] = ["ops", "dev", "dba", "busy"];

pub struct Postfix {
    directory: PathBuf,
    /// Plain text until STARTTLS.
    pub port: u16,
    pub implicit_port: u16,
    daemon: Option<Daemon>,
}

impl Postfix {
    /// Everything but the start, in a new directory.
    pub fn prepare(directory: PathBuf, certificates: &Certificates) -> Self {
        let postfix = Self { directory, port: free_port(), implicit_port: free_port(), daemon: None };
        for name in ["", "etc", "etc/sasl", "spool", "lib", "mail"] {
            std::fs::create_dir(postfix.path(name)).expect("a directory");
            open_up(&postfix.path(name));
        }
        chown(postfix.path("lib"), Some(uid("postfix")), None).expect("chown");
        chown(postfix.path("mail"), Some(uid("nobody")), None).expect("chown");
        postfix.write("etc/main.cf", &postfix.main(certificates));
        postfix.write("etc/master.cf", &postfix.master());
        let boxes = BOXES.map(|name| format!("/^{name}@example\\.test$/ {name}/\n"));
        postfix.write("etc/boxes", &boxes.concat());
        postfix.write("etc/recipients", "/^gone@/ 550 5.1.1 no such user\n/^busy@/ 451 4.7.1 try later\n");
        let database = postfix.path("etc/sasldb2");
        let sasl = "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\nsasldb_path: ";
        postfix.write("etc/sasl/smtpd.conf", &format!("{sasl}{}\n", database.display()));
        add_user(&database);
        postfix
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.directory.clone() } else { self.directory.join(name) }
    }

    /// Where `main.cf` is.
    pub fn configuration(&self) -> PathBuf {
        self.path("etc")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    fn main(&self, certificates: &Certificates) -> String {
        let (certificate, key) = certificates.own();
        let directory = self.directory.display();
        format!(
            "compatibility_level = 3.6
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
queue_directory = {directory}/spool
data_directory = {directory}/lib
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = localhost.localdomain
mydestination =
local_recipient_maps =
mynetworks =
virtual_mailbox_domains = example.test
virtual_mailbox_base = {directory}/mail
virtual_mailbox_maps = regexp:{directory}/etc/boxes
virtual_uid_maps = static:{nobody}
virtual_gid_maps = static:{nobody}
alias_maps =
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {directory}/etc/sasl
smtpd_sasl_local_domain = localhost
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_recipient_access regexp:{directory}/etc/recipients, permit_sasl_authenticated, reject
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
# Else it would add what a mail lacks.
local_header_rewrite_clients =
maillog_file = {directory}/maillog
maillog_file_prefixes = {directory}
",
            nobody = uid("nobody"),
            certificate = certificate.display(),
            key = key.display(),
        )
    }

    /// The distribution's services on our ports, none in a chroot.
    fn master(&self) -> String {
        let standard = std::fs::read_to_string("/usr/share/postfix/master.cf.dist").expect("Postfix is installed");
        let mut text = format!(
            "127.0.0.1:{} inet n - n - - smtpd\n127.0.0.1:{} inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n",
            self.port, self.implicit_port
        );
        let mut is_ours = false;
        for line in standard.lines().filter(|line| !line.starts_with('#')) {
            let mut fields: Vec<&str> = line.split_whitespace().collect();
            if line.starts_with([' ', '\t']) {
                text.push_str(if is_ours { line } else { "" });
            } else {
                is_ours = fields.get(1).is_some_and(|kind| *kind != "inet");
                if let Some(chroot) = fields.get_mut(4) {
                    *chroot = "n";
                }
                text.push_str(&if is_ours { fields.join(" ") } else { String::new() });
            }
            text.push('\n');
        }
        text
    }

    /// Starts it, again after [`Self::stop`].
    #[track_caller]
    pub fn launch(&mut self) {
        let said = self.path("said");
        let mut command = Command::new("/usr/sbin/postfix");
        command.arg("-c").arg(self.configuration()).arg("start-fg");
        let mut daemon = Daemon::start("Postfix", &mut command, &said);
        daemon.wait_until_ready(&said, || greets(self.port));
        self.daemon = Some(daemon);
    }

    fn master_pid(&self) -> i64 {
        let text = std::fs::read_to_string(self.path("spool/pid/master.pid")).expect("it runs");
        text.trim().parse().expect("a pid")
    }

    /// Ends it: connections are refused.
    pub fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.stop_by(self.master_pid());
        }
    }

    /// Stops all its processes where they are.
    pub fn freeze(&self) {
        self.daemon.as_ref().expect("running").freeze();
    }

    pub fn thaw(&self) {
        self.daemon.as_ref().expect("running").thaw();
    }

    /// From now on mail to `busy@` is taken.
    pub fn take_busy(&self) {
        self.write("etc/recipients", "/^gone@/ 550 5.1.1 no such user\n");
        // Each process keeps the table it has read.
        proc::kill(self.master_pid(), 1);
    }

    /// What has arrived for somebody `@example.test`, oldest first.
    #[track_caller]
    pub fn mails(&self, who: &str) -> Vec<Mail> {
        mails::maildir(&self.path("mail").join(who))
    }

    pub fn count(&self, who: &str) -> usize {
        mails::files_ending(&self.path("mail").join(who).join("new"), "").len()
    }

    #[track_caller]
    pub fn wait_for(&self, who: &str, count: usize) -> Vec<Mail> {
        eventually(&format!("{count} mails for {who}; {}", self.log()), || (self.count(who) >= count).then_some(()));
        self.mails(who)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("maillog")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.stop();
    }
}

fn add_user(database: &Path) {
    let (user, realm) = USER.split_once('@').expect("a realm");
    let mut command = Command::new("/usr/sbin/saslpasswd2");
    command.args(["-p", "-c", "-u", realm, "-f"]).arg(database).arg(user).stdin(Stdio::piped());
    let mut child = command.spawn().expect("saslpasswd2 runs");
    child.stdin.take().expect("a pipe").write_all(PASSWORD.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success());
    let group = nix::unistd::Group::from_name("postfix").expect("a database").expect("a group");
    chown(database, None, Some(group.gid.as_raw())).expect("chown");
    std::fs::set_permissions(database, std::fs::Permissions::from_mode(0o640)).expect("chmod");
}

/// Whether it says who it is: the port alone is open before anybody serves it.
fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).is_ok()
        && line.starts_with("220 ")
        && (&stream).write_all(b"QUIT\r\n").is_ok()
}
