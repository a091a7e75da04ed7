//! What must be there before the loop begins: directories, the lock, the event log, the control socket.
//! Here, and only here, the core may still wait for a disk, and may refuse to start.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;

use crate::config::{Config, Control};
use crate::model::id::Uid;
use crate::system::directory::{self, Hands};
use crate::system::{account, file};

const LOG_DIR_MODE: u32 = 0o755;
const STATE_DIR_MODE: u32 = 0o711;
const RUNTIME_DIR_MODE: u32 = 0o755;
const EVENT_LOG_MODE: u32 = 0o640;

/// The lock that says that this supervisor runs here; ends with the process.
pub type Lock = Flock<OwnedFd>;

/// Makes the directories and takes the lock.
///
/// # Errors
/// What is wrong, and with what.
pub fn prepare(config: &Config, own: Uid) -> Result<Lock, String> {
    let supervisor = &config.supervisor;
    let directories = [
        ("log_dir", &supervisor.log_dir, LOG_DIR_MODE),
        ("state_dir", &supervisor.state_dir, STATE_DIR_MODE),
        ("runtime_dir", &supervisor.runtime_dir, RUNTIME_DIR_MODE),
    ];
    for (name, path, mode) in directories {
        directory::ensure(path, mode, own).map_err(|error| format!("{name} {error}"))?;
    }
    let path = supervisor.runtime_dir.join("lock");
    match file::lock(&path) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(format!(
            "another taskmasterd runs with this runtime_dir (it holds {}); stop it with `taskmasterctl -s {} shutdown`",
            path.display(),
            config.control.socket.display()
        )),
        Err(error) => Err(format!("cannot take the lock {}: {error}", path.display())),
    }
}

/// Opens the event log: in root's hands when the supervisor is root's.
///
/// # Errors
/// What is wrong with it.
pub fn open_event_log(path: &Path, root: bool) -> Result<OwnedFd, String> {
    let told = |error: file::FileError| format!("event_log {}: {}", error.path.display(), error.error);
    if !root {
        return file::place_as_self(path).and_then(|place| place.open_log(None)).map_err(told);
    }
    let place = file::place(path).map_err(told)?;
    if let Hands::Others(directory) = &place.hands {
        return Err(format!(
            "event_log {}: others can change the directory {}; choose one that only root can write",
            path.display(),
            directory.display()
        ));
    }
    let ownership = file::Ownership { group: account::own_gid(), mode: EVENT_LOG_MODE };
    place.open_log(Some(ownership)).map_err(told)
}

/// The history of the shell on the terminal.
///
/// # Errors
/// As open(2).
pub fn open_history(state_dir: &Path) -> std::io::Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(state_dir.join("shell_history"))
        .map(OwnedFd::from)
}

/// Opens the control socket: made under another name, given its rights, then put in place, so that it is
/// never there with others.
///
/// # Errors
/// Another supervisor listens there, or the place cannot be written.
pub fn listen(control: &Control) -> Result<UnixListener, String> {
    let path = &control.socket;
    let told = |error: std::io::Error| format!("control.socket {}: {error}", path.display());
    if UnixStream::connect(path).is_ok() {
        return Err(format!("control.socket {}: another program listens there already", path.display()));
    }
    let temporary = temporary_name(path);
    // A left-over of a start that was cut off.
    let _ = std::fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary).map_err(told)?;
    let placed = set_rights(&temporary, control).and_then(|()| std::fs::rename(&temporary, path).map_err(told));
    if let Err(error) = placed {
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(listener)
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Gives the socket the configured mode and group.
///
/// # Errors
/// No such group; as chmod(2) and chown(2).
pub fn set_socket_rights(control: &Control) -> Result<(), String> {
    set_rights(&control.socket, control)
}

fn set_rights(path: &Path, control: &Control) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(group) = &control.group {
        let gid = account::group_id(group)
            .map_err(|unknown| format!("control.group {}: {}", unknown.subject, unknown.error))?;
        std::os::unix::fs::chown(path, None, Some(gid.0)).map_err(|error| format!("control.group {group}: {error}"))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(control.mode))
        .map_err(|error| format!("control.mode: {error}"))
}
