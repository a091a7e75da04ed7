//! Where the supervisor is, and how a connection to it is made: through its socket, or, on the
//! supervisor's own terminal, through the dialer that the core handed down.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::client::ClientError;
use crate::system::{account, dial};

const SYSTEM_SOCKET: &str = "/run/taskmaster/control.sock";
/// How long a connection waits for a place in the supervisor's queue.
const PATIENCE: Duration = Duration::from_secs(5);

pub enum Connector {
    Socket(PathBuf),
    Dialer(OwnedFd),
}

impl Connector {
    /// A fresh connection. Each command has its own: none is ever stale.
    pub fn connect(&self) -> Result<UnixStream, ClientError> {
        match self {
            Self::Socket(path) => {
                dial::connect(path, PATIENCE).map_err(|error| ClientError::Unreachable { socket: path.clone(), error })
            }
            Self::Dialer(dialer) => dial::send_connection(dialer.as_fd()).map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected => {
                    ClientError::Lost
                }
                _ => ClientError::Io(error),
            }),
        }
    }
}

/// What the search for the socket depends on.
pub struct Surroundings {
    pub user: u32,
    /// $TASKMASTER_SOCKET
    pub named: Option<OsString>,
    /// $XDG_RUNTIME_DIR
    pub runtime_dir: Option<OsString>,
}

impl Surroundings {
    pub fn here() -> Self {
        Self {
            user: account::own_uid().0,
            named: std::env::var_os("TASKMASTER_SOCKET"),
            runtime_dir: std::env::var_os("XDG_RUNTIME_DIR"),
        }
    }

    /// The socket to use: the one given, the one named in the environment, the user's own if it is there,
    /// else the system's.
    pub fn socket(&self, given: Option<PathBuf>) -> PathBuf {
        self.socket_where(
            given,
            |path| path.exists(),
            |dir, user| {
                // Anyone can make a directory in /tmp under this name; only our own counts.
                dir.symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == user)
            },
        )
    }

    fn socket_where(
        &self,
        given: Option<PathBuf>,
        exists: impl Fn(&Path) -> bool,
        is_ours: impl Fn(&Path, u32) -> bool,
    ) -> PathBuf {
        let named = self.named.as_ref().filter(|name| !name.is_empty()).map(PathBuf::from);
        if let Some(path) = given.or(named) {
            return path;
        }
        if self.user != 0 {
            let runtime = self.runtime_dir.as_ref().filter(|dir| !dir.is_empty());
            if let Some(path) = runtime.map(|dir| Path::new(dir).join("taskmaster/control.sock"))
                && exists(&path)
            {
                return path;
            }
            let dir = PathBuf::from(format!("/tmp/taskmaster-{}", self.user));
            let path = dir.join("control.sock");
            if is_ours(&dir, self.user) && exists(&path) {
                return path;
            }
        }
        PathBuf::from(SYSTEM_SOCKET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(user: u32, named: Option<&str>, runtime: Option<&str>, existing: &[&str], ours: bool) -> PathBuf {
        let here = Surroundings { user, named: named.map(OsString::from), runtime_dir: runtime.map(OsString::from) };
        here.socket_where(None, |path| existing.iter().any(|e| Path::new(e) == path), |_, _| ours)
    }

    #[test]
    fn the_socket_is_searched_from_the_nearest_to_the_systems() {
        let run = Some("/run/user/7");
        let (xdg, tmp) = ("/run/user/7/taskmaster/control.sock", "/tmp/taskmaster-7/control.sock");
        assert_eq!(found(0, None, run, &[xdg, tmp], true), Path::new(SYSTEM_SOCKET));
        assert_eq!(found(0, Some("/x"), run, &[], true), Path::new("/x"));
        assert_eq!(found(7, Some(""), run, &[xdg, tmp], true), Path::new(xdg));
        assert_eq!(found(7, None, run, &[tmp], true), Path::new(tmp));
        assert_eq!(found(7, None, None, &[tmp], true), Path::new(tmp));
        assert_eq!(found(7, None, run, &[], true), Path::new(SYSTEM_SOCKET));
        let here = Surroundings { user: 7, named: Some("/x".into()), runtime_dir: None };
        assert_eq!(here.socket(Some("/given".into())), Path::new("/given"));
    }

    #[test]
    fn a_directory_in_tmp_that_is_not_ours_is_passed_over() {
        let tmp = "/tmp/taskmaster-7/control.sock";
        assert_eq!(found(7, None, None, &[tmp], false), Path::new(SYSTEM_SOCKET));
    }
}
