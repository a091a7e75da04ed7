//! `taskmasterd`: the core. It reads the configuration, decides over every process with `policy`, has the
//! spawner start what is to run, keeps exact count of what lives, and serves the control clients.
//!
//! [`main`] is the whole program in order; [`turn`] is the loop, over the state in [`core`]. The parts: [`clones`] (what the
//! spawner was asked for, and what became of it), [`remains`] (what a dead process leaves), [`output`] and
//! [`journal`] (log files and events, for the workers that write them), [`compressing`] (rotated logs), [`consoles`] (what can be attached to), [`alerts`] (what the notifier is given), [`tend`] and [`hear`] (the workers),
//! [`permit`] (what they may say and when), [`manager`] (what a service manager is told), [`control`] (clients), [`authority`] (what they may do), [`orders`]
//! (signals, reload), [`remember`] (what people ordered), [`ending`] (the way out).

mod alerts;
mod asking;
mod authority;
mod clearing;
mod clones;
mod compressing;
mod connect;
mod consoles;
mod control;
mod core;
mod demo;
mod ending;
mod hear;
mod journal;
mod leftovers;
mod load;
mod manager;
pub mod options;
mod orders;
mod output;
mod permit;
mod reactor;
mod remains;
mod remember;
mod role;
mod sendmail;
mod spawner_link;
mod spec;
mod startup;
mod tails;
mod tend;
mod turn;
mod workers;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use crate::config::Config;
use crate::model::event::{Facts, Kind};
use crate::model::id::Uid;
use crate::model::text::escaped;
use crate::system::signals::Signals;
use crate::system::terminal::Saved;
use crate::system::{account, capability, clock, credentials, limits, process, stdio};

use self::alerts::Secrets;
use self::core::{ConfigSource, Core};
use options::Command;

/// Exit codes: 1 could not start, or programs survived the shutdown; 2 configuration or usage.
const COULD_NOT_START: u8 = 1;
const WRONG_INPUT: u8 = 2;

/// Why the supervisor does not run: the exit code and the words.
struct Refusal(u8, String);

/// Runs `taskmasterd`.
pub fn main() -> ExitCode {
    if stdio::fill_standard().is_err() {
        return ExitCode::from(COULD_NOT_START);
    }
    let command = match options::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(words) => return refuse(&Refusal(WRONG_INPUT, format!("taskmasterd: {words}"))),
    };
    let own = account::own_uid();
    let done = match command {
        Command::Help => say(options::HELP.trim_end()),
        Command::Version => say(concat!("taskmasterd ", env!("CARGO_PKG_VERSION"))),
        Command::Check { config } => check(config, own),
        Command::Run { config, shell } => run(config, own, shell),
        Command::Demo { shell } => run_demo(own, shell),
    };
    done.unwrap_or_else(|refusal| refuse(&refusal))
}

fn refuse(Refusal(code, words): &Refusal) -> ExitCode {
    // Nobody may listen; the exit code still tells.
    let _ = writeln!(std::io::stderr().lock(), "{words}");
    ExitCode::from(*code)
}

fn say(words: &str) -> Result<ExitCode, Refusal> {
    let _ = writeln!(std::io::stdout().lock(), "{words}");
    Ok(ExitCode::SUCCESS)
}

/// Finds and loads the configuration; warnings are told at once.
fn load_config(path: Option<PathBuf>, own: Uid, workers: &role::Uids) -> Result<(PathBuf, Config, Secrets), Refusal> {
    let path = match path {
        Some(path) => std::path::absolute(&path).unwrap_or(path),
        None => load::find(own).map_err(|words| Refusal(WRONG_INPUT, format!("taskmasterd: {words}")))?,
    };
    let (config, secrets) =
        load::load(&path, own, workers).map_err(|faults| Refusal(WRONG_INPUT, faults.to_string()))?;
    for warning in &config.warnings {
        let _ = writeln!(std::io::stderr().lock(), "{warning}");
    }
    Ok((path, config, secrets))
}

fn check(path: Option<PathBuf>, own: Uid) -> Result<ExitCode, Refusal> {
    let (path, config, _) = load_config(path, own, &role::Uids::new(own.is_root()))?;
    let faults = startup::unsafe_directories(&config, own);
    if !faults.is_empty() {
        let lines: Vec<String> = faults.iter().map(|words| format!("{}: {words}", path.display())).collect();
        return Err(Refusal(WRONG_INPUT, lines.join("\n")));
    }
    let unwise = crate::config::unwise(&config, crate::system::file::is_private);
    let names_and_logs = load::unknown_names(&config, own).into_iter().chain(load::unsafe_logs(&config, own));
    for words in names_and_logs.chain(unwise) {
        // Paths stand in them as they are written.
        let line = format!("{}: warning: {words}", path.display());
        let _ = writeln!(std::io::stderr().lock(), "{}", escaped(&line));
    }
    say(&format!("{}: valid, {}", path.display(), size(&config)))
}

/// How much is configured.
fn size(config: &Config) -> String {
    let count = |n: usize, noun: &str, many: &str| format!("{n} {}", if n == 1 { noun } else { many });
    let programs = config.programs.len();
    if programs == 0 {
        return "no programs are configured yet".to_owned();
    }
    let processes: u32 = config.programs.iter().map(|program| program.numprocs).sum();
    format!("{}, {}", count(programs, "program", "programs"), count(processes as usize, "process", "processes"))
}

fn run(path: Option<PathBuf>, own: Uid, shell: bool) -> Result<ExitCode, Refusal> {
    let workers = role::Uids::new(own.is_root());
    let (path, config, secrets) = load_config(path, own, &workers)?;
    if config.programs.is_empty() {
        // The normal beginning of a service that was just installed: a word, and no warning.
        let line = format!(
            "taskmasterd: no programs are configured yet; add [programs.NAME] to {}, then `taskmasterctl reload`",
            path.display()
        );
        let _ = writeln!(std::io::stderr().lock(), "{}", escaped(&line));
    }
    supervise(config, secrets, ConfigSource::File(path), own, workers, shell)
}

fn run_demo(own: Uid, shell: bool) -> Result<ExitCode, Refusal> {
    let told = |error: std::io::Error| Refusal(COULD_NOT_START, format!("taskmasterd: the demo's directory: {error}"));
    let demo = demo::Demo::new().map_err(told)?;
    let config = demo.config(own).map_err(|faults| Refusal(WRONG_INPUT, faults.to_string()))?;
    let directory = demo.directory.display();
    let socket = config.control.socket.display();
    let mail = demo.mail();
    let mail = mail.display();
    say(&format!(
        "Demo: everything is under {directory}, and removed at the end.\n\
         Its mails are files, the first after some seconds: {mail}/new\n\
         From another terminal: taskmasterctl -s {socket} status"
    ))?;
    let source = ConfigSource::BuiltIn(Box::new(config.clone()));
    supervise(config, Secrets::new(), source, own, role::Uids::new(own.is_root()), shell)
}

/// From the configuration to the loop.
fn supervise(
    config: Config,
    secrets: Secrets,
    source: ConfigSource,
    own: Uid,
    workers: role::Uids,
    shell: bool,
) -> Result<ExitCode, Refusal> {
    let refusal = |words: String| Refusal(COULD_NOT_START, format!("taskmasterd: {words}"));
    let failed = |what: &'static str| {
        move |error: std::io::Error| Refusal(COULD_NOT_START, format!("taskmasterd: {what}: {error}"))
    };

    startup::kernel().map_err(refusal)?;
    credentials::set_umask(startup::UMASK).map_err(failed("umask"))?;
    let startup::Prepared { lock, state_dir, runtime_dir } = startup::prepare(&config, own).map_err(refusal)?;
    let (rules, unknown) = authority::rules(&config.control, own, &workers);
    for words in unknown {
        let _ = writeln!(std::io::stderr().lock(), "taskmasterd: warning: {words}");
    }
    for words in workers.strangers() {
        let _ = writeln!(std::io::stderr().lock(), "taskmasterd: warning: {words}");
    }
    let terminal = if shell { Saved::of_own_terminal() } else { None };
    let executables = workers::Executables::open(terminal.is_some()).map_err(refusal)?;
    let event_log = startup::open_event_log(&config.supervisor.event_log, own, None).map_err(refusal)?;
    let signals = Signals::block_all().map_err(failed("signals"))?;
    process::become_subreaper().map_err(failed("subreaper"))?;
    if own.is_root() {
        process::forbid_dumping().map_err(failed("dumpable"))?;
    }
    let descriptors = limits::raise_descriptors().map_err(failed("the limit of descriptors"))?;
    let (listener, socket) = startup::listen(&config.control, own).map_err(refusal)?;
    let cgroups = leftovers::clear(&config.supervisor.runtime_dir, runtime_dir, own);
    let mut reactor = reactor::Reactor::new().map_err(failed("epoll"))?;
    reactor.add(&signals, reactor::Source::Signals).map_err(failed("epoll"))?;
    let control = control::Control::new(&mut reactor, listener).map_err(failed("the control socket"))?;

    let (manager, unusable) = manager::ServiceManager::of_environment(clock::now());
    if let Some(words) = unusable {
        let _ = writeln!(std::io::stderr().lock(), "taskmasterd: warning: {words}");
    }
    let mut fleet = crate::policy::fleet::Fleet::default();
    let mut forgotten = None;
    if config.supervisor.remember {
        match remember::load(&state_dir, &config.supervisor.state_dir, own) {
            Ok(will) => fleet.will = will,
            Err(words) => forgotten = Some(words),
        }
    } else {
        remember::forget(&state_dir);
    }
    // Across the shell's screen nobody else writes.
    let console = match &terminal {
        None => output::console(),
        Some(_) => Err("the shell is on the terminal; --no-shell, or its `exit`, leaves it to them".to_owned()),
    };
    let mut core = Core {
        reactor,
        signals,
        own: spec::Own {
            root: own.is_root(),
            user: account::user_name(own),
            env: spec::Own::environment(),
            worker_uids: workers,
            may_raise_limits: capability::may_raise_limits(),
            descriptors,
        },
        own_uid: own,
        source,
        output: output::Output::new(console, &config.notify),
        config,
        rules,
        fleet,
        clones: clones::Clones::default(),
        spawner: None,
        executables,
        planned: BTreeMap::new(),
        terminals: BTreeMap::new(),
        consoles: consoles::Consoles::default(),
        journal: journal::Journal::new(account::host_name()),
        alerts: alerts::Alerts::new(alerts::run_mark(), secrets),
        sendmails: sendmail::Sendmails::default(),
        asking: asking::Asking::default(),
        tail_rate: tails::Rate::default(),
        manager,
        event_log: Rc::new(event_log),
        state_dir,
        socket,
        workers: BTreeMap::new(),
        control,
        waiters: control::waiters::Waiters::default(),
        clearing: clearing::Clearing::default(),
        reloads: control::reloads::Reloads::default(),
        terminal,
        dialer: None,
        remains: remains::Remains::new(cgroups),
        pids: BTreeMap::new(),
        could_not_start: false,
        descriptors_max: descriptors.hard.and_then(|hard| i32::try_from(hard).ok()).unwrap_or(i32::MAX),
        zombies_wait: false,
        ending: None,
    };
    if let Some(words) = forgotten {
        let _ = writeln!(std::io::stderr().lock(), "taskmasterd: warning: {words}");
        core.record(Kind::ConfigRejected, Facts::message(words));
    }
    if let Some(words) = core.tell_unseen() {
        let _ = writeln!(std::io::stderr().lock(), "taskmasterd: warning: {words}");
    }
    let code = core.run();
    drop(lock);
    Ok(code)
}
