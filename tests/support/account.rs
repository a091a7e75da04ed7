//! Users and groups that a test makes and removes.

use super::peers::administer;

/// A user or a group of this machine, for the time of a test.
pub struct Account {
    pub name: String,
    pub id: u32,
    user: bool,
}

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
        administer(tool, arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = administer(if self.user { "userdel" } else { "groupdel" }, &[&self.name]);
    }
}
