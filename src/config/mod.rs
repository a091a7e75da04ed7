//! Configuration: TOML text → [`Config`], or every fault at once with file, line, column and a caret.
//!
//! Reading goes in steps. `include` finds the files; `syntax` makes tables with places of their texts;
//! `table` reads a table key by key with the readers of `values` and `expand`; `program` has the keys of
//! a program and merges them with `[defaults]`; `allow` has the rules of who may command, `notify` how
//! people are told; `check` judges what concerns several programs. None of them stops at a fault: each
//! reports to the sink of `fault` and goes on. `partly` puts parts of two configurations together; `reference` is
//! what the documents say of each key; `unwise` is what is legal and had better not be.
//!
//! Nothing here touches a file: [`Files`] reads them (and checks who owns them), [`Environment`] is what
//! is known of the machine.
#![forbid(unsafe_code)]

mod allow;
mod check;
mod confine;
mod env_file;
mod expand;
mod fault;
mod in_force;
mod include;
mod notify;
mod origins;
mod partly;
mod program;
mod quantity;
#[cfg(test)]
pub mod reference;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod unwise;
mod values;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

pub use fault::{Fault, Faults};
pub use in_force::Table as InForce;
pub use notify::SecretFile;
pub use origins::Origins;
pub use unwise::unwise;

use crate::model::authority::Allow;
pub use crate::model::event::EventLogFormat;
use crate::model::id::{Account, NAME_MAX, ProgramName};
use crate::model::notify::Notify;
use crate::model::program::Program;
use crate::model::text;
use check::Placed;
use expand::Target;
use fault::{Kind, Place, Sink, Source};
use program::Keys;
use table::{Context, Given, Item, Table, shown};

/// Where the texts come from.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// Says why it cannot be read or must not be trusted, in words, without the path.
    fn read(&mut self, path: &Path) -> Result<String, String>;

    /// The files that match the pattern, sorted.
    ///
    /// # Errors
    /// Says why they cannot be listed, in words, without the pattern.
    fn glob(&mut self, pattern: &str) -> Result<Vec<PathBuf>, String>;

    /// Whether there is anything by this name.
    fn exists(&mut self, path: &Path) -> bool;

    /// Sees that a secret can be had from this file, and by nobody else; it is not read here.
    ///
    /// # Errors
    /// Says why not, in words, without the path.
    fn secret(&mut self, path: &Path) -> Result<(), String>;

    /// Whether only its owner can read the file.
    fn is_private(&mut self, path: &Path) -> bool;
}

/// What must be known of the machine and of who starts the supervisor.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub host: String,
    /// Started as root: every program must say as whom it runs.
    pub root: bool,
    /// The supervisor's own variables, for `${env:NAME}`.
    pub env: BTreeMap<String, String>,
    pub defaults: Directories,
    /// This build reaches nobody over the network.
    pub local_only: bool,
}

/// The directories where the configuration names none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Directories {
    pub log_dir: PathBuf,
    pub state_dir: PathBuf,
    pub runtime_dir: PathBuf,
}

/// A configuration without a fault.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    pub supervisor: Supervisor,
    pub control: Control,
    pub notify: Notify,
    /// Where the secrets of its channels are.
    pub secrets: Vec<SecretFile>,
    /// In the order of the files.
    pub programs: Vec<Program>,
    /// What is odd, but can be meant.
    pub warnings: Vec<Fault>,
    /// The files that were read, the top one first.
    pub files: Vec<PathBuf>,
    /// Where in them each value stands.
    pub origins: Origins,
}

/// `[supervisor]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Supervisor {
    pub event_log: PathBuf,
    pub event_log_format: EventLogFormat,
    pub log_dir: PathBuf,
    pub state_dir: PathBuf,
    pub runtime_dir: PathBuf,
    pub shutdown_timeout: Duration,
    /// What people start and stop stays so over a restart of the supervisor.
    pub remember: bool,
}

/// `[control]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Control {
    pub socket: PathBuf,
    /// Permission bits of the socket.
    pub mode: u32,
    /// `None`: the supervisor's own group.
    pub group: Option<Account>,
    /// What others than root and the supervisor's own user may do.
    pub allow: Vec<Allow>,
}

/// The permission bits of the control socket when nothing is said.
const SOCKET_MODE: u32 = 0o660;

/// Reads the configuration that begins with this file.
///
/// # Errors
/// All that is wrong with it.
pub fn load(path: &Path, files: &mut dyn Files, environment: &Environment) -> Result<Config, Faults> {
    let top = include::top(path, files).map_err(|words| Faults::of_file(path, &words))?;
    let sink = Sink::default();
    let mut config = read(&top, files, environment, &sink);
    config.warnings = sink.finish()?;
    Ok(config)
}

fn read(top: &Source, files: &mut dyn Files, environment: &Environment, sink: &Sink) -> Config {
    let context = Context { source: top, sink, environment };
    let top_table = syntax::parse(top, sink);
    let sources = include::included(&top_table, context, files);
    let tables: Vec<DeTable<'_>> = sources.iter().map(|source| syntax::parse(source, sink)).collect();

    let mut sections = Sections::default();
    sections.take(&top_table, context);
    for (source, table) in sources.iter().zip(&tables) {
        sections.take(table, Context { source, ..context });
    }

    let mut origins = Origins::default();
    let supervisor = read_or_default(sections.supervisor, context, |table| {
        let read = supervisor(table);
        origins.supervisor = table.written(|_| false);
        read
    });
    let control = read_or_default(sections.control, context, |table| {
        let read = control(table, &supervisor.runtime_dir);
        origins.control = table.written(|_| false);
        read
    });
    let told = read_or_default(sections.notify, context, |table| {
        let read = notify::read(table, files);
        origins.notify = table.written(|key| !matches!(key, "rate_limit"));
        read
    });
    let defaults = read_or_default(sections.defaults, context, |table| {
        let read = Keys::take(table);
        origins.set_defaults(table.written(|key| key == "env"));
        read
    });
    let mut programs: Vec<Placed<'_>> =
        sections.programs.into_iter().filter_map(|header| program(&header, &defaults)).collect();
    programs.iter_mut().for_each(|placed| add_env_file(placed, files, sink));
    for placed in &mut programs {
        let env_file = placed.env_file.as_ref().map(|(file, _)| file.written());
        origins.add_program(&placed.program.name, std::mem::take(&mut placed.written), env_file);
    }
    told.judge(&programs, sink);
    check::group_names(&programs, sink);
    if check::process_count(&programs, sink) {
        check::log_files(&programs, &supervisor, &control, environment, sink);
    }

    Config {
        supervisor,
        control,
        notify: told.notify,
        secrets: told.secrets,
        programs: programs.into_iter().map(|placed| placed.program).collect(),
        warnings: Vec::new(),
        files: std::iter::once(top).chain(&sources).map(|source| source.path.clone()).collect(),
        origins,
    }
}

/// The tables of all files, put together.
#[derive(Default)]
struct Sections<'a> {
    supervisor: Option<Table<'a>>,
    control: Option<Table<'a>>,
    notify: Option<Table<'a>>,
    defaults: Option<Table<'a>>,
    programs: Vec<Header<'a>>,
    names: BTreeMap<&'a str, Place<'a>>,
}

/// A program's name and its table, not yet read.
struct Header<'a> {
    key: Place<'a>,
    name: &'a str,
    item: Item<'a>,
}

impl<'a> Sections<'a> {
    fn take(&mut self, entries: &'a DeTable<'a>, context: Context<'a>) {
        let mut table = Table::new(entries, "at the top level".to_owned(), context.place(0..0), context);
        if context.source.is_top() {
            // Read before; here it is only known.
            table.take("include", |_| Some(()));
        } else {
            include::refuse_nested(&mut table);
        }
        table.take("supervisor", |item| only_one(&mut self.supervisor, item));
        table.take("control", |item| only_one(&mut self.control, item));
        table.take("notify", |item| only_one(&mut self.notify, item));
        table.take("defaults", |item| only_one(&mut self.defaults, item));
        table.take("programs", |item| {
            let Some(entries) = item.entries() else {
                return item.refuse_with("`programs` has one table for each program", "write [programs.NAME]");
            };
            for (key, item) in entries {
                self.add_program(Header { key, name: item.key, item });
            }
            Some(())
        });
        table.finish();
    }

    fn add_program(&mut self, header: Header<'a>) {
        if let Some(first) = self.names.get(header.name) {
            let message = format!("{} is also defined in {}", shown(header.name), first.short());
            return header.item.context.sink.report(header.key, Kind::Value, &message, None);
        }
        self.names.insert(header.name, header.key);
        self.programs.push(header);
    }
}

/// Takes a table that may stand in one file only.
fn only_one<'a>(slot: &mut Option<Table<'a>>, item: Item<'a>) -> Option<()> {
    let table = item.table(format!("in [{}]", item.key))?;
    match slot {
        Some(first) => item.refuse(format!("[{}] stands in {} already", item.key, first.header.short())),
        None => {
            *slot = Some(table);
            Some(())
        }
    }
}

/// Reads a table to its end; without one, what the reader makes of an empty table.
fn read_or_default<'a, T>(table: Option<Table<'a>>, context: Context<'a>, read: impl FnOnce(&mut Table<'a>) -> T) -> T {
    static EMPTY: LazyLock<DeTable<'static>> = LazyLock::new(DeTable::new);
    let mut table = table.unwrap_or_else(|| Table::new(&EMPTY, String::new(), context.place(0..0), context));
    let value = read(&mut table);
    table.finish();
    value
}

fn supervisor(table: &mut Table<'_>) -> Supervisor {
    let defaults = &table.context.environment.defaults;
    let log_dir = table.take("log_dir", values::absolute_path).or_default(defaults.log_dir.clone());
    Supervisor {
        event_log: table.take("event_log", values::absolute_path).or_default(log_dir.join("events.log")),
        event_log_format: table
            .take("event_log_format", |item| {
                values::word(item, &[("text", EventLogFormat::Text), ("json", EventLogFormat::Json)])
            })
            .or_default(EventLogFormat::Text),
        state_dir: table.take("state_dir", values::absolute_path).or_default(defaults.state_dir.clone()),
        runtime_dir: table.take("runtime_dir", values::absolute_path).or_default(defaults.runtime_dir.clone()),
        shutdown_timeout: table.take("shutdown_timeout", quantity::duration).or_default(Duration::from_secs(30)),
        remember: table.take("remember", values::boolean).or_default(false),
        log_dir,
    }
}

fn control(table: &mut Table<'_>, runtime_dir: &Path) -> Control {
    let socket = table.take("socket", socket).or_default(runtime_dir.join("control.sock"));
    let (mode, group) = (table.take("mode", quantity::octal), table.take("group", values::account));
    let allow = table.take("allow", allow::rules);
    allow::judge_access(&mode, &group, &allow, table.context.sink);
    Control {
        socket,
        mode: mode.or_default(SOCKET_MODE),
        group: group.value().cloned(),
        allow: allow.or_default(Vec::new()),
    }
}

fn socket(item: Item<'_>) -> Option<PathBuf> {
    /// `sun_path` of unix(7), without its NUL.
    const MAX: usize = 107;
    let path = values::absolute_path(item)?;
    if path.as_os_str().len() > MAX {
        return item.refuse(format!("the path of a socket has at most {MAX} bytes"));
    }
    Some(path)
}

fn program<'a>(header: &Header<'a>, defaults: &Keys<'a>) -> Option<Placed<'a>> {
    let Header { key, name, item } = header;
    let context = item.context;
    let DeValue::Table(_) = item.value else {
        let help = if item.value.is_array() {
            format!("write [programs.{name}]")
        } else {
            "write it in [programs.NAME]".into()
        };
        let message = format!("[programs] has one table for each program, and {} is none", shown(name));
        context.sink.report(*key, Kind::Value, &message, Some(help));
        return None;
    };
    let checked = ProgramName::new(name);
    if let Err(fault) = &checked {
        context.sink.report(*key, Kind::Value, &fault.to_string(), None);
    }
    let mut table = item.table(format!("in [programs.{}]", text::cut(name, NAME_MAX)))?;
    let keys = Keys::take(&mut table);
    if keys.cmd.or(&defaults.cmd).is_absent() {
        table.lacks(&format!("{} has no `cmd`", shown(name)), "add: cmd = \"/path/to/program\"");
    }
    if context.environment.root && keys.user.or(&defaults.user).is_absent() {
        let message = format!("{} does not say as which user it runs", shown(name));
        table.lacks(&message, "add: user = \"nobody\"   (or user = \"root\", if it really must be root)");
    }
    let place = table.header;
    let written = table.written(|key| key == "env");
    table.finish();
    if let (Some(kept), Some(bounding)) = (
        keys.capabilities.or(&defaults.capabilities).value(),
        keys.capability_bounding.or(&defaults.capability_bounding).value(),
    ) && let missing = kept.without(*bounding)
        && !missing.is_empty()
    {
        let place = keys.capability_bounding.or(&defaults.capability_bounding).place().unwrap_or(place);
        let message = format!("`capabilities` keeps what `capability_bounding` does not let it have: {missing}");
        context.sink.report(place, Kind::Value, &message, None);
    }
    if !keys.restrict_paths.or(&defaults.restrict_paths).is_absent()
        && let Given::Value(false, place) = keys.no_new_privileges.or(&defaults.no_new_privileges)
    {
        let help = "take one of the two out".to_owned();
        context.sink.report(*place, Kind::Value, "`restrict_paths` needs `no_new_privileges`", Some(help));
    }
    if keys.tty.or(&defaults.tty).or_default(false)
        && let Given::Value(Target::Path(_) | Target::Console | Target::Syslog | Target::Discard, place) =
            keys.stderr.or(&defaults.stderr)
    {
        let help = "take `stderr` out, or write \"stdout\"".to_owned();
        context.sink.report(*place, Kind::Value, "with `tty` standard error goes where `stdout` goes", Some(help));
    }
    Some(Placed {
        program: keys.resolve(defaults, &checked.ok()?, context.environment)?,
        header: place,
        written,
        group_name: keys.group_name.or(&defaults.group_name).place(),
        stdout: keys.stdout.or(&defaults.stdout).place(),
        stderr: keys.stderr.or(&defaults.stderr).place(),
        alert_to: keys.alert_to.or(&defaults.alert_to).value().cloned(),
        env_file: keys
            .env_file
            .or(&defaults.env_file)
            .value()
            .cloned()
            .zip(keys.env_file.or(&defaults.env_file).place()),
    })
}

/// Adds the variables of the program's `env_file`; those of `env` win.
fn add_env_file(placed: &mut Placed<'_>, files: &mut dyn Files, sink: &Sink) {
    let Some((file, place)) = &placed.env_file else { return };
    match env_file::read(file, files) {
        Ok(variables) => {
            for (name, value) in variables {
                placed.program.exec.env.entry(name).or_insert(value);
            }
        }
        Err(words) => sink.report(*place, Kind::Value, &format!("`env_file`: {words}"), None),
    }
}

type Reader = fn(&mut Table<'_>);

/// The table in which a key has a meaning, for one that stands in another.
fn home_of(key: &str) -> Option<&'static str> {
    let (source, sink, environment) = (Source::new(Path::new(""), 0, ""), Sink::default(), Environment::default());
    let context = Context { source: &source, sink: &sink, environment: &environment };
    let knows = |read: Reader| {
        read_or_default(None, context, |table| {
            read(table);
            table.known().contains(&key)
        })
    };
    let homes: [(&str, Reader); 4] = [
        ("[programs.NAME] or [defaults]", |table| drop(Keys::take(table))),
        ("[supervisor]", |table| drop(supervisor(table))),
        ("[control]", |table| drop(control(table, Path::new("")))),
        ("[[control.allow]]", |table| drop(allow::read(table))),
    ];
    homes.into_iter().chain(notify::homes()).find(|(_, read)| knows(*read)).map(|(home, _)| home)
}
