//! Users and groups that a test makes and removes.

use std::process::Command;
use std::sync::Mutex;

/// A user or a group of this machine, for the time of a test.
pub struct Account {
    pub name: String,
    pub id: u32,
    user: bool,
}

/// The account files take one change at a time.
static TURN: Mutex<()> = Mutex::new(());

impl Account {
    pub fn user(name: &str, options: &[&str]) -> Self {
        let mut arguments = vec!["-r", "-M", "-s", "/usr/sbin/nologin", "-d", "/nonexistent"];
        // A group of its own, unless another is asked for.
        if !options.contains(&"-N") {
            arguments.push("-U");
        }
        arguments.extend_from_slice(options);
        arguments.push(name);
        Self::change("useradd", &arguments);
        let user = nix::unistd::User::from_name(name).expect("a database").expect("the new user");
        Self { name: name.to_owned(), id: user.uid.as_raw(), user: true }
    }

    pub fn group(name: &str) -> Self {
        Self::change("groupadd", &["-r", name]);
        let group = nix::unistd::Group::from_name(name).expect("a database").expect("the new group");
        Self { name: name.to_owned(), id: group.gid.as_raw(), user: false }
    }

    /// The primary group of a user.
    pub fn gid(&self) -> u32 {
        nix::unistd::User::from_name(&self.name).expect("a database").expect("the user").gid.as_raw()
    }

    /// Runs one of the account tools.
    pub fn change(tool: &str, arguments: &[&str]) {
        let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let output = Command::new(tool).args(arguments).output().expect(tool);
        assert!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let tool = if self.user { "userdel" } else { "groupdel" };
        let _ = Command::new(tool).arg(&self.name).output();
    }
}
