//! The environment of a program, made from nothing: the login's variables, what the configuration passes
//! on, what it sets.

use std::collections::BTreeMap;
use std::ffi::CString;

use crate::protocol::spawner::StartSpec;

use super::identity::Who;

const USER_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Name and value of each variable.
pub struct Environment(BTreeMap<Vec<u8>, Vec<u8>>);

impl Environment {
    pub fn new(spec: &StartSpec, who: &Who) -> Self {
        let mut variables = BTreeMap::new();
        let home = who.person().map_or("/", |person| person.home.as_str());
        let name = who.name();
        for (key, value) in &spec.inherited {
            variables.insert(key.as_bytes().to_vec(), value.as_bytes().to_vec());
        }
        if spec.login_environment {
            let shell = who.person().map_or("/bin/sh", |person| person.shell.as_str());
            let path = if who.is_root() { ROOT_PATH } else { USER_PATH };
            let login = [("USER", &*name), ("LOGNAME", &*name), ("HOME", home), ("SHELL", shell), ("PATH", path)];
            for (key, value) in login {
                let key = key.as_bytes().to_vec();
                if !(spec.inherited_by_name && variables.contains_key(&key)) {
                    variables.insert(key, value.as_bytes().to_vec());
                }
            }
        }
        for (key, value) in &spec.env {
            variables.insert(key.as_bytes().to_vec(), value.render(&name, home).into_bytes());
        }
        Self(variables)
    }

    /// Where commands without a slash are looked for.
    pub fn path(&self) -> &[u8] {
        self.0.get(b"PATH".as_slice()).map_or(USER_PATH.as_bytes(), Vec::as_slice)
    }

    /// As execve(2) wants it. A value with a NUL cannot be passed; the configuration refuses such.
    pub fn strings(&self) -> Vec<CString> {
        self.0
            .iter()
            .filter_map(|(key, value)| CString::new([key.as_slice(), b"=", value.as_slice()].concat()).ok())
            .collect()
    }
}
