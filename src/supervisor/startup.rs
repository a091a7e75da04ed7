//! What must be there before the loop begins: directories, the lock, the event log, the control socket.
//! Here, and only here, the core may still wait for a disk, and may refuse to start.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::fcntl::{Flock, OFlag};

use crate::config::{Config, Control};
use crate::model::id::Uid;
use crate::model::text::escaped;
use crate::system::directory::{self, DirectoryError};
use crate::system::named_socket::{self, NamedSocket};
use crate::system::{account, file, place, process};

const LOG_DIR_MODE: u32 = 0o755;
const STATE_DIR_MODE: u32 = 0o711;
const RUNTIME_DIR_MODE: u32 = 0o755;
const EVENT_LOG_MODE: u32 = 0o640;

/// What a group may do with a file.
const OF_GROUP: u32 = 0o070;

/// Whatever the starter's is.
pub const UMASK: u32 = 0o022;

/// The lock that says that this supervisor runs here; ends with the process.
pub type Lock = Flock<OwnedFd>;

/// Our own directories, held open: what is in them is named relative to them.
pub struct Prepared {
    pub lock: Lock,
    pub state_dir: OwnedFd,
    pub runtime_dir: OwnedFd,
}

/// Makes the directories and takes the lock.
///
/// # Errors
/// What is wrong, and with what.
pub fn prepare(config: &Config, own: Uid) -> Result<Prepared, String> {
    let supervisor = &config.supervisor;
    let ensure = |key: &str, path: &Path, mode| directory::ensure(path, mode, own).map_err(|error| error.of(key, path));
    ensure("log_dir", &supervisor.log_dir, LOG_DIR_MODE)?;
    let state_dir = ensure("state_dir", &supervisor.state_dir, STATE_DIR_MODE)?;
    let runtime_dir = ensure("runtime_dir", &supervisor.runtime_dir, RUNTIME_DIR_MODE)?;
    let path = supervisor.runtime_dir.join("lock");
    match file::lock(&runtime_dir, "lock", own) {
        Ok(Some(lock)) => Ok(Prepared { lock, state_dir, runtime_dir }),
        Ok(None) => Err(format!(
            "another taskmasterd runs with this runtime_dir (it holds {}); stop it with `taskmasterctl -s {} shutdown`",
            path.display(),
            config.control.socket.display()
        )),
        Err(error) => Err(format!("cannot take the lock {}: {error}", path.display())),
    }
}

/// What [`prepare`], [`open_event_log`] and [`listen`] would refuse of the directories, without making any.
pub fn unsafe_directories(config: &Config, own: Uid) -> Vec<String> {
    let supervisor = &config.supervisor;
    let mut places: Vec<(&str, &Path, &Path, bool)> = vec![
        ("log_dir", &supervisor.log_dir, &supervisor.log_dir, true),
        ("state_dir", &supervisor.state_dir, &supervisor.state_dir, true),
        ("runtime_dir", &supervisor.runtime_dir, &supervisor.runtime_dir, true),
    ];
    for (key, path) in [("event_log", &supervisor.event_log), ("control.socket", &config.control.socket)] {
        let parent = path.parent().unwrap_or(Path::new("/"));
        // Told already, of the directory.
        if parent != supervisor.log_dir && parent != supervisor.runtime_dir {
            places.push((key, path, parent, false));
        }
    }
    let mut words = Vec::new();
    for (key, path, directory, no_link) in places {
        let errors = directory::judge(directory, own, no_link).err().unwrap_or_default();
        words.extend(errors.iter().map(|error| error.of(key, path)));
    }
    words
}

/// Sees that the kernel has what nothing here works without: processes as descriptors.
///
/// # Errors
/// Which kernel it is, and which is needed.
pub fn kernel() -> Result<(), String> {
    match process::open(process::own_pid()) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
            Err(format!(
                "this kernel (`uname -r` says {}) gives no descriptors of processes (pidfd_open: {error}); Linux 5.11 or \
                 newer is needed, and no sandbox that forbids it",
                escaped(release.trim())
            ))
        }
        _ => Ok(()),
    }
}

/// Opens the event log, in trusted hands. A new one is like the `open` one, if there is one.
///
/// # Errors
/// What is wrong with it.
pub fn open_event_log(path: &Path, own: Uid, open: Option<&OwnedFd>) -> Result<OwnedFd, String> {
    let told =
        |error: file::FileError| format!("event_log {}: {}", escaped(&error.path.to_string_lossy()), error.error);
    let found = match place::find(path, own).map_err(told)? {
        place::Found::Trusted(found) => found,
        place::Found::Others(doubt) => return Err(DirectoryError::doubt(&doubt).of("event_log", path)),
    };
    let first = place::Ownership { owner: None, group: account::own_gid(), mode: EVENT_LOG_MODE };
    let like = open.and_then(|open| place::Held::of(open).ok()).map(|held| held.ownership());
    let ownership = like.or_else(|| own.is_root().then_some(first));
    let demand = if own.is_root() { place::Demand::All } else { place::Demand::Possible };
    let log = found.open_log(ownership.map(|ownership| (ownership, demand))).map_err(told)?;
    file::belongs(&log, own)
        .map_err(|reason| format!("event_log {}: {reason}; or remove it", escaped(&path.to_string_lossy())))?;
    Ok(log)
}

/// The history of the shell on the terminal, which nobody else can read.
///
/// # Errors
/// As open(2), or why it is not ours.
pub fn open_history(state_dir: &OwnedFd, own: Uid) -> std::io::Result<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT;
    let told = |error: std::io::Error| std::io::Error::other(format!("shell_history {error}"));
    let history = file::open_own(state_dir, "shell_history", flags, own).map_err(told)?;
    file::make_private(&history)?;
    Ok(history)
}

/// Opens the control socket: made under another name, given its rights, then put in place, so that it is
/// never there with others.
///
/// # Errors
/// Another supervisor listens there, or the place cannot be written.
pub fn listen(control: &Control, own: Uid) -> Result<(UnixListener, NamedSocket), String> {
    let path = &control.socket;
    let told = |error: std::io::Error| format!("control.socket {}: {error}", path.display());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(format!("control.socket {}: is not the absolute path of a socket", path.display()));
    };
    let directory = directory::trusted(parent, own).map_err(|error| error.of("control.socket", path))?;
    if named_socket::is_answered(&directory, name) {
        return Err(format!(
            "control.socket {path}: another program listens there already; stop it (`taskmasterctl -s {path} shutdown`), or \
             choose another `socket` in [control]",
            path = path.display()
        ));
    }
    let (listener, mut socket) = named_socket::bind(directory, &temporary_name(name), own, UMASK).map_err(told)?;
    let placed = set_socket_rights(&socket, control).and_then(|()| socket.rename(name).map_err(told));
    if let Err(error) = placed {
        socket.remove();
        return Err(error);
    }
    Ok((listener, socket))
}

fn temporary_name(name: &OsStr) -> OsString {
    let mut name = name.to_owned();
    name.push(".new");
    name
}

/// Gives the socket the configured mode and group.
///
/// # Errors
/// As chmod(2) and chown(2).
pub fn set_socket_rights(socket: &NamedSocket, control: &Control) -> Result<(), String> {
    let mut mode = control.mode;
    if let Some(group) = &control.group {
        match account::group_id(group) {
            Ok(gid) => socket.set_group(gid).map_err(|error| format!("control.group {group}: {error}"))?,
            // No reason to leave programs without a supervisor. `authority::rules` tells of it.
            Err(_) => mode &= !OF_GROUP,
        }
    }
    socket.set_mode(mode).map_err(|error| format!("control.mode: {error}"))
}
