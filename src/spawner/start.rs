//! From a clone of the spawner to the program: one small step after the other, in an order in which no
//! step undoes another and nothing is done with more rights than it needs. Every step names its stage;
//! the first that fails ends the start, and nothing is executed.

use std::convert::Infallible;
use std::ffi::CString;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use crate::model::id::Account;
use crate::model::stage::{Stage, StartFailure};
use crate::protocol::spawner::{Command, SinkId, StartSpec, Target};
use crate::system::{account, credentials, execute, file, limits, pty, schedule, signals, stdio};

use super::boundary;
use super::environment::Environment;
use super::files::{self, Located};
use super::identity::{self, Who};
use super::privilege::{self, Privileges};
use super::report::{Reporter, errno, failure};
use super::restrict;

type Step = Result<(), StartFailure>;

/// Becomes the program. Comes back only with the failure of a step.
pub fn become_program(
    spec: &StartSpec,
    reporter: &Reporter,
    mut descriptors: Vec<OwnedFd>,
) -> Result<Infallible, StartFailure> {
    close_on_exec(3, reporter)?;
    reset_signals()?;
    leave_the_session()?;
    let who = identity::find(&spec.identity, reporter)?;
    identity::refuse_worker(&who, &spec.kept_uids)?;
    let executable = match spec.command {
        Command::Worker { .. } if !descriptors.is_empty() => Some(descriptors.remove(0)),
        Command::Worker { .. } | Command::Words(_) => None,
    };
    take_terminal(spec, &who, &descriptors)?;
    let logs = locate_logs(spec, &who, reporter)?;
    let mut opened = open_logs(&logs, true, |log| log.open_as_root(&who))?;
    let executable = connect(spec, &who, descriptors, executable)?;
    set_priority(spec)?;
    set_umask(spec)?;
    set_limits(spec)?;
    privilege::leave_the_keyring(spec)?;
    identity::set_groups(&who)?;
    let privileges = Privileges::of(spec, &who);
    privileges.prepare()?;
    identity::set_user(&who)?;
    privileges.settle()?;
    set_death_signal(spec)?;
    opened.extend(open_logs(&logs, false, |log| log.open_as_user(&who))?);
    reporter.opened(&opened)?;
    drop(opened);
    enter_directory(spec, &who, reporter)?;
    privilege::give_up_new(spec, &who)?;
    if matches!(spec.command, Command::Words(_)) {
        reporter.granted(boundary::grant(spec, &who, &privileges))?;
    }
    let restriction = restrict::to_listed_paths(spec, &who, reporter)?;
    close_on_exec(first_free(spec), reporter)?;
    unblock_signals()?;
    reporter.executing()?;
    execute(spec, &who, executable.as_ref()).map_err(|failure| restriction.explain(failure))
}

/// Whatever was inherited, or opened by a library meanwhile, ends with the execution.
fn close_on_exec(first: i32, reporter: &Reporter) -> Step {
    stdio::close_on_exec_from(first, reporter).map_err(|error| failure(Stage::Descriptors, "", &error))
}

/// The first number above those that the program is given.
fn first_free(spec: &StartSpec) -> i32 {
    spec.descriptors.iter().map(|target| target.0).max().unwrap_or(2).max(2) + 1
}

/// Ignored signals would stay ignored over exec.
fn reset_signals() -> Step {
    signals::reset_dispositions().map_err(|error| failure(Stage::Signals, "", &error))
}

/// Without this the program would share the administrator's terminal, and could type into it.
fn leave_the_session() -> Step {
    credentials::new_session().map_err(|error| failure(Stage::Session, "", &error))
}

/// After that of the new session, because only who leads one without a terminal can have one.
fn take_terminal(spec: &StartSpec, who: &Who, descriptors: &[OwnedFd]) -> Step {
    if !spec.tty {
        return Ok(());
    }
    let stage = |error: &std::io::Error| failure(Stage::Tty, "", error);
    let Some(terminal) = descriptors.first() else { return Err(errno(Stage::Tty, "", Errno::EBADF)) };
    if account::own_uid().is_root() {
        let uid = who.person().map_or_else(account::own_uid, |person| person.uid);
        let group = account::group_id(&Account::Name("tty".to_owned())).ok();
        pty::give(terminal, uid, group).map_err(|error| stage(&error))?;
    }
    pty::make_controlling(terminal).map_err(|error| stage(&error))
}

fn locate_logs<'a>(spec: &'a StartSpec, who: &Who, reporter: &Reporter) -> Result<Vec<Located<'a>>, StartFailure> {
    if !spec.files.is_empty() {
        reporter.reached(Stage::Output);
    }
    spec.files.iter().map(|file| files::locate(file, who)).collect()
}

fn open_logs(
    logs: &[Located<'_>],
    roots: bool,
    open: impl Fn(&Located<'_>) -> Result<(SinkId, OwnedFd), StartFailure>,
) -> Result<Vec<(SinkId, OwnedFd)>, StartFailure> {
    logs.iter().filter(|log| log.is_roots() == roots).map(open).collect()
}

/// Puts the passed descriptors where the program expects them, /dev/null where none is passed. Pipes
/// become the user's, so that the program can open its own /dev/stdout.
fn connect(
    spec: &StartSpec,
    who: &Who,
    descriptors: Vec<OwnedFd>,
    executable: Option<OwnedFd>,
) -> Result<Option<OwnedFd>, StartFailure> {
    let stage = |error: &std::io::Error| failure(Stage::Stdio, "", error);
    if descriptors.len() != spec.descriptors.len() {
        return Err(errno(Stage::Stdio, "", Errno::EBADF));
    }
    let executable = executable.map(|fd| stdio::move_above(fd, 32)).transpose().map_err(|error| stage(&error))?;
    let program = matches!(spec.command, Command::Words(_));
    let mut moves = Vec::new();
    for (descriptor, Target(target)) in descriptors.into_iter().zip(&spec.descriptors) {
        if program {
            stdio::set_nonblocking(&descriptor, false).map_err(|error| stage(&error))?;
            if !spec.tty
                && let Some(person) = who.person().filter(|person| !person.uid.is_root())
                && account::own_uid().is_root()
            {
                file::give(&descriptor, person.uid, person.gid).map_err(|error| stage(&error))?;
            }
        }
        moves.push((descriptor, *target));
    }
    for standard in 0..=2 {
        if moves.iter().all(|(_, target)| *target != standard) {
            moves.push((stdio::null(standard != 0).map_err(|error| stage(&error))?, standard));
        }
    }
    stdio::place(moves).map_err(|error| stage(&error))?;
    Ok(executable)
}

/// They need rights that the user may not have.
fn set_priority(spec: &StartSpec) -> Step {
    if let Some(nice) = spec.nice {
        schedule::set_nice(nice).map_err(|error| failure(Stage::Priority, format!("(nice {nice})"), &error))?;
    }
    if let Some(priority) = spec.ioprio {
        schedule::set_io_priority(priority).map_err(|error| failure(Stage::Priority, "(ioprio)", &error))?;
    }
    if let Some(processors) = &spec.cpu_affinity {
        schedule::set_processors(processors).map_err(|error| failure(Stage::Priority, "(cpu_affinity)", &error))?;
    }
    if let Some(score) = spec.oom_score_adj {
        schedule::set_oom_score(score)
            .map_err(|error| failure(Stage::Priority, format!("(oom_score_adj {score})"), &error))?;
    }
    Ok(())
}

/// Always set: the starter's own must not decide.
fn set_umask(spec: &StartSpec) -> Step {
    credentials::set_umask(spec.umask).map_err(|error| failure(Stage::Umask, "", &error))
}

/// Before the change of user, which takes the right to raise them.
fn set_limits(spec: &StartSpec) -> Step {
    for (resource, limit) in &spec.limits {
        limits::set(*resource, *limit)
            .map_err(|error| failure(Stage::Limits, format!("({})", resource.name()), &error))?;
    }
    Ok(())
}

/// After the change of user, which clears it. Whoever lost the supervisor before this would never hear
/// of it; then there is nobody to run for.
fn set_death_signal(spec: &StartSpec) -> Step {
    if matches!(spec.on_supervisor_death, crate::model::program::OnSupervisorDeath::Keep) {
        return Ok(());
    }
    credentials::set_death_signal(spec.death_signal).map_err(|error| failure(Stage::Deathsig, "", &error))
}

/// As the user: a directory that the user may not enter is not entered.
fn enter_directory(spec: &StartSpec, who: &Who, reporter: &Reporter) -> Step {
    let Some(directory) = &spec.workingdir else { return Ok(()) };
    reporter.reached(Stage::Chdir);
    let home = who.person().map_or("/", |person| person.home.as_str());
    let path = directory.render(&who.name(), home);
    execute::enter_directory(&path).map_err(|error| errno(Stage::Chdir, &path, error))
}

/// Last: a stop that came meanwhile ends the clone here, before the program exists.
fn unblock_signals() -> Step {
    signals::unblock_all().map_err(|error| failure(Stage::Signals, "", &error))
}

fn execute(spec: &StartSpec, who: &Who, executable: Option<&OwnedFd>) -> Result<Infallible, StartFailure> {
    let environment = Environment::new(spec, who);
    let variables = environment.strings();
    match &spec.command {
        Command::Worker { name, argument } => {
            let words =
                std::iter::once(name).chain(argument).map(|word| c_string(word)).collect::<Result<Vec<_>, _>>()?;
            let Some(executable) = executable else { return Err(errno(Stage::Exec, name, Errno::EBADF)) };
            execute::descriptor(executable, &words, &variables).map_err(|error| errno(Stage::Exec, name, error))
        }
        Command::Words(words) => {
            let home = who.person().map_or("/", |person| person.home.as_str());
            let words =
                words.iter().map(|word| c_string(&word.render(&who.name(), home))).collect::<Result<Vec<_>, _>>()?;
            let Some(first) = words.first() else { return Err(errno(Stage::Exec, "", Errno::ENOENT)) };
            if first.as_bytes().contains(&b'/') {
                return try_file(first, &words, &variables);
            }
            search_path(first, &words, &variables, environment.path())
        }
    }
}

fn c_string(text: &str) -> Result<CString, StartFailure> {
    CString::new(text).map_err(|_| StartFailure {
        stage: Stage::Exec,
        errno: libc::EINVAL,
        subject: String::new(),
        error: "the command has a NUL byte".to_owned(),
    })
}

/// As execvp(3) searches, but never handing a file without `#!` to a shell.
fn search_path(
    name: &CString,
    words: &[CString],
    variables: &[CString],
    path: &[u8],
) -> Result<Infallible, StartFailure> {
    let mut refused = None;
    for directory in path.split(|byte| *byte == b':').filter(|directory| directory.starts_with(b"/")) {
        let Ok(candidate) = CString::new([directory, b"/", name.as_bytes()].concat()) else { continue };
        let Err(error) = execute::file(&candidate, words, variables);
        match error {
            Errno::ENOENT | Errno::ENOTDIR if !is_there(&candidate) => {}
            Errno::EACCES => refused = Some(exec_failure(&candidate, error)),
            error => return Err(exec_failure(&candidate, error)),
        }
    }
    Err(refused.unwrap_or_else(|| StartFailure {
        stage: Stage::Exec,
        errno: libc::ENOENT,
        subject: name.to_string_lossy().into_owned(),
        error: format!("not found in PATH ({})", String::from_utf8_lossy(path)),
    }))
}

fn try_file(path: &CString, words: &[CString], variables: &[CString]) -> Result<Infallible, StartFailure> {
    execute::file(path, words, variables).map_err(|error| exec_failure(path, error))
}

fn is_there(path: &CString) -> bool {
    std::fs::symlink_metadata(&*path.to_string_lossy()).is_ok()
}

/// What execve said, and what it leaves unsaid: ENOENT of a file that is there means its interpreter.
fn exec_failure(path: &CString, error: Errno) -> StartFailure {
    let shown = path.to_string_lossy();
    let mut failure = errno(Stage::Exec, &shown, error);
    let metadata = std::fs::metadata(&*shown);
    match error {
        Errno::ENOENT if metadata.is_ok() => {
            let interpreter = interpreter(&shown).unwrap_or_else(|| "its dynamic loader".to_owned());
            failure.error = format!("its interpreter is missing: {interpreter}");
        }
        Errno::EACCES if metadata.as_ref().is_ok_and(std::fs::Metadata::is_dir) => {
            failure.error = "is a directory".to_owned();
        }
        Errno::EACCES if metadata.is_ok() => {
            failure.error =
                "Permission denied (is it executable for this user, on a file system without noexec?)".to_owned();
        }
        Errno::ENOEXEC => failure.error = "Exec format error (a script needs a `#!` line)".to_owned(),
        Errno::EAGAIN => failure.error = format!("{} (the user's limit of processes?)", error.desc()),
        _ => {}
    }
    failure
}

/// The `#!` line's interpreter, a carriage return shown for what it is.
fn interpreter(path: &str) -> Option<String> {
    let mut head = Vec::new();
    std::fs::File::open(path).ok()?.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let word = String::from_utf8_lossy(line).trim_start().split(' ').next()?.to_owned();
    Some(crate::model::text::escaped(&word).into_owned())
}
