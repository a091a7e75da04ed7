//! The configuration from its files, each read once and only if nobody else could have written it; and
//! what it takes from the machine.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::config::{Config, Directories, Environment, Faults, Files};
use crate::model::id::{ProcessId, Uid};
use crate::model::notify::{Channel as AlertChannel, Email, MailTransport, Transport};
use crate::model::program::Program;
use crate::model::text::escaped;
use crate::protocol::control::Channel;
use crate::system::account::{self, Person};
use crate::system::{directory, file};
use crate::worker::channel::Passed;

use super::alerts::Secrets;
use super::authority;
use super::role::{Role, Uids};
use super::spec;

/// Files of root or of the invoking user.
pub struct TrustedFiles {
    own: Uid,
    /// Where systemd puts the credentials of a service.
    credentials: Option<PathBuf>,
    /// Those that the configuration names, open.
    secrets: Secrets,
}

impl TrustedFiles {
    pub fn new(own: Uid) -> Self {
        let credentials =
            std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|path| path.is_absolute());
        Self { own, credentials, secrets: Secrets::new() }
    }

    /// Opens a file with a secret.
    ///
    /// # Errors
    /// Why it must not be used, in words.
    pub fn open_secret(&self, path: &Path) -> Result<Passed, String> {
        let by_acl = self.credentials.as_deref().is_some_and(|directory| path.parent() == Some(directory));
        file::open_secret(path, self.own, by_acl).map(Rc::new)
    }
}

impl Files for TrustedFiles {
    fn read(&mut self, path: &Path) -> Result<String, String> {
        file::read_trusted(path, self.own)
    }

    fn glob(&mut self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let paths = glob::glob(pattern).map_err(|error| error.msg.to_owned())?;
        let mut found = Vec::new();
        for path in paths {
            found.push(path.map_err(|error| error.to_string())?);
        }
        found.sort();
        Ok(found)
    }

    fn exists(&mut self, path: &Path) -> bool {
        std::fs::symlink_metadata(path).is_ok()
    }

    fn secret(&mut self, path: &Path) -> Result<(), String> {
        let open = self.open_secret(path)?;
        self.secrets.insert(path.to_owned(), open);
        Ok(())
    }

    fn is_private(&mut self, path: &Path) -> bool {
        file::is_private(path)
    }
}

/// Where things are when the configuration does not say.
pub fn default_directories(own: Uid) -> Directories {
    if own.is_root() {
        return Directories {
            log_dir: "/var/log/taskmaster".into(),
            state_dir: "/var/lib/taskmaster".into(),
            runtime_dir: "/run/taskmaster".into(),
        };
    }
    let base = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let temporary = PathBuf::from(format!("/tmp/taskmaster-{own}"));
    let state = base("XDG_STATE_HOME")
        .or_else(|| base("HOME").map(|home| home.join(".local/state")))
        .map_or_else(|| temporary.join("state"), |base| base.join("taskmaster"));
    let runtime = base("XDG_RUNTIME_DIR").map_or(temporary, |base| base.join("taskmaster"));
    Directories { log_dir: state.clone(), state_dir: state, runtime_dir: runtime }
}

/// What the configuration may ask of the machine.
pub fn environment(own: Uid) -> Environment {
    Environment {
        host: account::host_name(),
        root: own.is_root(),
        env: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        defaults: default_directories(own),
        local_only: !cfg!(feature = "network"),
    }
}

/// The configuration file to use when none is named. The working directory is never searched.
///
/// # Errors
/// The places that were looked at.
pub fn find(own: Uid) -> Result<PathBuf, String> {
    let mut places = Vec::new();
    if !own.is_root() {
        let base = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = base("XDG_CONFIG_HOME").or_else(|| base("HOME").map(|home| home.join(".config")));
        places.extend(config.map(|base| base.join("taskmaster/taskmaster.toml")));
    }
    places.push("/etc/taskmaster/taskmaster.toml".into());
    if let Some(found) = places.iter().find(|place| place.exists()) {
        return Ok(found.clone());
    }
    let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    Err(format!(
        "there is no configuration: looked for {}; name one with -c FILE, or try `taskmasterd --demo`",
        looked.join(" and ")
    ))
}

/// Loads the configuration, and opens the secrets that it names.
///
/// # Errors
/// Every fault.
pub fn load(path: &Path, own: Uid, workers: &Uids) -> Result<(Config, Secrets), Faults> {
    let mut files = TrustedFiles::new(own);
    let config = crate::config::load(path, &mut files, &environment(own))?;
    match worker_in_disguise(&config, workers) {
        Some(words) if own.is_root() => Err(Faults::of_file(path, &words)),
        Some(_) | None => Ok((config, files.secrets)),
    }
}

/// A program that would run as one of our workers could do to it what it liked; and a worker that may
/// command would no longer be one without any privilege.
fn worker_in_disguise(config: &Config, workers: &Uids) -> Option<String> {
    let programs = config.programs.iter().filter_map(|program| {
        let user = program.exec.user.as_ref()?;
        Some((format!("[programs.{}]", program.name), user))
    });
    let allowed = config.control.allow.iter().flat_map(|allow| &allow.users);
    let allowed = allowed.map(|user| ("[[control.allow]]".to_owned(), user));
    programs.chain(allowed).find_map(|(place, user)| {
        let role = Role::ALL.into_iter().find(|role| role.is(user, workers))?;
        Some(format!("{place}: user {user} is kept for Taskmaster's own {role}; choose another"))
    })
}

/// The program that is to take the mails is not there, or is none.
fn missing_sendmail(channel: &AlertChannel) -> Option<String> {
    let Transport::Email(Email { via: MailTransport::Sendmail(program), .. }) = &channel.transport else { return None };
    let why = match std::fs::metadata(program) {
        Err(error) => error.to_string(),
        Ok(metadata) if !metadata.is_file() => "it is no file".to_owned(),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => "it is not executable".to_owned(),
        Ok(_) => return None,
    };
    Some(format!(
        "[notify.{}]: sendmail: {}: {why}; install it, or name another with `sendmail` or a `server`",
        channel.name,
        program.display()
    ))
}

/// Users and groups that the system does not know, programs that are in rules only, and a sendmail that is not
/// there: they may be made later, so this is a warning, and a failed start, a rule without effect, or a failing
/// channel, if they are not.
pub fn unknown_names(config: &Config, own: Uid) -> Vec<String> {
    let (_, mut words) = authority::rules(&config.control, own, &Uids::default());
    words.extend(authority::unknown_programs(config));
    words.extend(config.notify.channels.iter().filter_map(missing_sendmail));
    for program in &config.programs {
        let exec = &program.exec;
        let Some(user) = &exec.user else { continue };
        if let Err(unknown) = account::look_up(user, exec.group.as_ref(), exec.groups.as_deref()) {
            words.push(format!("[programs.{}]: {}: {}", program.name, unknown.subject, unknown.error));
        }
    }
    words
}

/// Log files of root's programs in directories of others, which the spawner will not open: each start fails
/// of it. Told once for each directory of a program.
pub fn unsafe_logs(config: &Config, own: Uid) -> Vec<String> {
    let mut words = Vec::new();
    for program in config.programs.iter().filter(|_| own.is_root()) {
        let exec = &program.exec;
        let person = exec.user.as_ref().and_then(|user| account::look_up(user, exec.group.as_ref(), None).ok());
        let Some(person) = person.filter(|person| person.uid.is_root()) else { continue };
        let mut seen = BTreeSet::new();
        for (key, path) in logs(config, program, &person) {
            let Some(directory) = path.parent().filter(|directory| seen.insert(directory.to_path_buf())) else {
                continue;
            };
            let errors = directory::judge(directory, own, false).err().unwrap_or_default();
            words.extend(errors.first().map(|reason| {
                let path = escaped(&path.to_string_lossy()).into_owned();
                format!("[programs.{}]: `{key}` {path} is not opened for a program of root: {reason}", program.name)
            }));
        }
    }
    words
}

/// The log files of all processes of a program, with the keys that name them.
fn logs(config: &Config, program: &Program, person: &Person) -> Vec<(&'static str, PathBuf)> {
    let outputs = [("stdout", Channel::Stdout), ("stderr", Channel::Stderr)];
    let mut logs = Vec::new();
    for instance in 0..program.numprocs {
        let id = ProcessId { program: program.name.clone(), instance };
        logs.extend(outputs.iter().filter_map(|(key, channel)| {
            let path = spec::log_file(&config.supervisor.log_dir, program, &id, *channel)?;
            Some((*key, PathBuf::from(path.render(&person.name, &person.home))))
        }));
    }
    logs
}
