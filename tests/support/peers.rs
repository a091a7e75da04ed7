//! Clients of the control socket with the rights of others: raw connections, `taskmasterctl`, and
//! accounts that are made for a test and removed with it.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::look::{reachable, uid};
use super::supervisor::{Ctl, TASKMASTERCTL, receive, send};
use super::{PATIENCE, Supervisor};

/// Whose rights a client has. The numbers need no account.
#[derive(Clone, Debug)]
pub struct Who {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

impl Who {
    pub fn user(uid: u32) -> Self {
        Self { uid, gid: uid, groups: Vec::new() }
    }

    /// Takes these rights for the calling thread alone, as the kernel has them for each. The C library
    /// would give them to all.
    pub fn become_it(&self) {
        let done = |result: libc::c_long| assert_eq!(result, 0, "{self:?}: {}", std::io::Error::last_os_error());
        // SAFETY: the list is readable for its length; the kernel only reads it.
        done(unsafe { libc::syscall(libc::SYS_setgroups, self.groups.len(), self.groups.as_ptr()) });
        // SAFETY: setresgid(2) takes three integers.
        done(unsafe { libc::syscall(libc::SYS_setresgid, self.gid, self.gid, self.gid) });
        // SAFETY: setresuid(2) takes three integers.
        done(unsafe { libc::syscall(libc::SYS_setresuid, self.uid, self.uid, self.uid) });
    }

    /// A connection that was made with these rights.
    pub fn connect(&self, supervisor: &Supervisor) -> Connection {
        let (who, socket) = (self.clone(), supervisor.socket());
        let connected = std::thread::spawn(move || {
            who.become_it();
            UnixStream::connect(socket).expect("connects")
        });
        Connection::of(connected.join().expect("a connection"))
    }

    /// `taskmasterctl` with these rights.
    pub fn ctl(&self, supervisor: &Supervisor, arguments: &[&str]) -> Ctl {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", self.uid)).arg(format!("--regid={}", self.gid));
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        if groups.is_empty() {
            command.arg("--clear-groups");
        } else {
            command.arg(format!("--groups={}", groups.join(",")));
        }
        command.arg("--").arg(reachable(TASKMASTERCTL, supervisor)).arg("-s").arg(supervisor.socket());
        let output = command.args(arguments).current_dir("/").stdin(Stdio::null()).output().expect("setpriv runs");
        output.into()
    }
}

/// One client, call by call.
pub struct Connection(BufReader<UnixStream>);

impl Connection {
    pub fn of(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    pub fn stream(&mut self) -> &mut UnixStream {
        self.0.get_mut()
    }

    pub fn send(&mut self, method: &str, parameters: Value) {
        send(self.stream(), method, parameters, false);
    }

    pub fn send_more(&mut self, method: &str, parameters: Value) {
        send(self.stream(), method, parameters, true);
    }

    #[track_caller]
    pub fn answer(&mut self) -> Value {
        receive(&mut self.0).expect("an answer")
    }

    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.send(method, parameters);
        self.answer()
    }

    /// A command to the processes that the selectors name.
    #[track_caller]
    pub fn order(&mut self, method: &str, selectors: &[&str]) -> Value {
        self.call(method, json!({ "selectors": selectors }))
    }

    /// The names of the processes that `Status` gives for these selectors.
    #[track_caller]
    pub fn names(&mut self, selectors: &[&str]) -> Vec<String> {
        let answer = self.order("Status", selectors);
        let all = answer["parameters"]["processes"].as_array().unwrap_or_else(|| panic!("{answer}"));
        all.iter().map(|process| process["process"].as_str().expect("a name").to_owned()).collect()
    }
}

/// Accounts of one test, by names that no other test uses; removed when dropped.
#[derive(Default)]
pub struct Accounts {
    users: Vec<String>,
    groups: Vec<String>,
}

impl Accounts {
    /// The name that an account of this test has, or could have.
    pub fn name(&self, word: &str) -> String {
        format!("tm-test-{word}-{}", std::process::id())
    }

    pub fn add_group(&mut self, word: &str) -> String {
        let name = self.name(word);
        self.groups.push(name.clone());
        administer("groupadd", &[&name]).expect("a group");
        name
    }

    /// A user who is a member of these groups, besides a primary group of its own.
    pub fn add_user(&mut self, word: &str, groups: &[&str]) -> (String, Who) {
        let name = self.name(word);
        self.users.push(name.clone());
        let groups = groups.join(",");
        let mut arguments = vec!["-M", "-U", "-s", "/usr/sbin/nologin"];
        if !groups.is_empty() {
            arguments.extend(["-G", &groups]);
        }
        arguments.push(&name);
        administer("useradd", &arguments).expect("a user");
        let account = nix::unistd::User::from_name(&name).expect("a database").expect("an account");
        let list = std::ffi::CString::new(name.as_str()).expect("a name");
        let list = nix::unistd::getgrouplist(&list, account.gid).expect("groups");
        let groups = list.into_iter().map(nix::unistd::Gid::as_raw).collect();
        let who = Who { uid: uid(&name), gid: account.gid.as_raw(), groups };
        (name, who)
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        // What was never made cannot be removed: that is not what a test fails of.
        for name in &self.users {
            let _ = administer("userdel", &[name]);
        }
        for name in &self.groups {
            let _ = administer("groupdel", &[name]);
        }
    }
}

/// The account files take one change at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Changes the system's accounts; again while another holds their lock.
pub fn administer(program: &str, arguments: &[&str]) -> Result<(), String> {
    /// "Can't update password file", "can't update group file" of useradd(8) and groupadd(8).
    const LOCKED: [i32; 2] = [1, 10];
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let until = Instant::now() + PATIENCE;
    loop {
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        match output.status.code() {
            Some(0) => return Ok(()),
            Some(code) if LOCKED.contains(&code) && Instant::now() < until => {
                std::thread::park_timeout(Duration::from_millis(50));
            }
            code => return Err(format!("{program} ({code:?}): {}", String::from_utf8_lossy(&output.stderr))),
        }
    }
}
