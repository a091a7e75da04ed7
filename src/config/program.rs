//! The keys of a program, each with its reader: [`Keys`] is what one table says, `[defaults]` or
//! `[programs.NAME]`; [`Keys::resolve`] makes the program of both and of the built-in defaults.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Environment;
use super::env_file::EnvFile;
use super::expand::{self, Names, Target};
use super::notify::alert_to::{AlertTo, alert_to};
use super::table::{Given, Item, Table};
use super::{confine, env_file, notify, quantity, values};
use crate::model::capability::CapabilitySet;
use crate::model::id::{Account, ProgramName};
use crate::model::notify::Alerts;
use crate::model::program::{
    AutoRestart, Backoff, ErrorOutput, Execution, InheritEnv, IoPriority, Keyring, KillMode, Limit, NUMPROCS_MAX,
    OnSupervisorDeath, Output, Program, Resource, RestartLimit, StdinSource, Watch,
};
use crate::model::signal::Signal;

/// What a table says about a program. A field is a key of that name.
pub struct Keys<'a> {
    pub cmd: Given<'a, Vec<String>>,
    pub numprocs: Given<'a, u32>,
    pub group_name: Given<'a, String>,
    pub user: Given<'a, Account>,
    pub group: Given<'a, Account>,
    pub groups: Given<'a, Vec<Account>>,
    pub umask: Given<'a, u32>,
    pub workingdir: Given<'a, String>,
    pub env: Given<'a, BTreeMap<String, String>>,
    pub inherit_env: Given<'a, InheritEnv>,
    pub no_new_privileges: Given<'a, bool>,
    pub limits: Given<'a, BTreeMap<Resource, Limit>>,
    pub capabilities: Given<'a, CapabilitySet>,
    pub capability_bounding: Given<'a, CapabilitySet>,
    pub nice: Given<'a, i32>,
    pub ioprio: Given<'a, IoPriority>,
    pub cpu_affinity: Given<'a, BTreeSet<u16>>,
    pub keyring: Given<'a, Keyring>,
    pub mdwe: Given<'a, bool>,
    pub restrict_paths: Given<'a, confine::Restriction>,
    pub env_file: Given<'a, EnvFile>,
    pub oom_score_adj: Given<'a, i32>,
    pub on_supervisor_death: Given<'a, OnSupervisorDeath>,
    pub tty: Given<'a, bool>,
    pub stdin: Given<'a, StdinSource>,
    pub stdout: Given<'a, Target>,
    pub stderr: Given<'a, Target>,
    pub autostart: Given<'a, bool>,
    pub autorestart: Given<'a, AutoRestart>,
    pub exitcodes: Given<'a, BTreeSet<u8>>,
    pub starttime: Given<'a, Duration>,
    pub startretries: Given<'a, u32>,
    pub stopsignal: Given<'a, Signal>,
    pub stoptime: Given<'a, Duration>,
    pub kill_mode: Given<'a, KillMode>,
    pub backoff: Given<'a, Backoff>,
    pub restart_limit: Given<'a, RestartLimit>,
    pub priority: Given<'a, i32>,
    pub log_maxbytes: Given<'a, u64>,
    pub log_backups: Given<'a, u32>,
    pub log_compress: Given<'a, bool>,
    pub log_timestamps: Given<'a, bool>,
    pub strip_ansi: Given<'a, bool>,
    pub alerts: Given<'a, bool>,
    pub alert_to: Given<'a, AlertTo<'a>>,
    pub syslog_facility: Given<'a, u8>,
    pub syslog_tag: Given<'a, String>,
}

impl<'a> Keys<'a> {
    /// Takes every key of a program from the table; what is left in it is unknown.
    pub fn take(table: &mut Table<'a>) -> Self {
        Self {
            cmd: table.take("cmd", expand::command),
            numprocs: table.take("numprocs", |item| values::integer(item, 1..=i64::from(NUMPROCS_MAX))),
            group_name: table.take("group_name", values::group_name),
            user: table.take("user", user),
            group: table.take("group", values::account),
            groups: table.take("groups", values::accounts),
            umask: table.take("umask", quantity::octal),
            workingdir: table.take("workingdir", expand::path),
            env: table.take("env", expand::variables),
            inherit_env: table.take("inherit_env", values::inherit_env),
            no_new_privileges: table.take("no_new_privileges", values::boolean),
            limits: table.take("limits", limits),
            capabilities: table.take("capabilities", confine::capabilities),
            capability_bounding: table.take("capability_bounding", confine::capabilities),
            nice: table.take("nice", |item| values::integer(item, -20..=19)),
            ioprio: table.take("ioprio", confine::io_priority),
            cpu_affinity: table.take("cpu_affinity", confine::processors),
            keyring: table.take("keyring", |item| {
                values::word(item, &[("private", Keyring::Private), ("inherit", Keyring::Inherit)])
            }),
            mdwe: table.take("mdwe", values::boolean),
            restrict_paths: table.take("restrict_paths", confine::restriction),
            env_file: table.take("env_file", env_file::name),
            oom_score_adj: table.take("oom_score_adj", |item| values::integer(item, -1000..=1000)),
            on_supervisor_death: table.take("on_supervisor_death", |item| {
                values::word(item, &[("stop", OnSupervisorDeath::Stop), ("keep", OnSupervisorDeath::Keep)])
            }),
            tty: table.take("tty", values::boolean),
            stdin: table
                .take("stdin", |item| values::word(item, &StdinSource::ALL.map(|source| (source.name(), source)))),
            stdout: table.take("stdout", expand::stdout),
            stderr: table.take("stderr", expand::stderr),
            autostart: table.take("autostart", values::boolean),
            autorestart: table.take("autorestart", autorestart),
            exitcodes: table.take("exitcodes", values::exit_codes),
            starttime: table.take("starttime", quantity::duration),
            startretries: table.take("startretries", |item| values::integer(item, 0..=1_000_000)),
            stopsignal: table.take("stopsignal", values::signal),
            stoptime: table.take("stoptime", quantity::duration),
            kill_mode: table.take("kill_mode", |item| {
                let words = [("tree", KillMode::Tree), ("group", KillMode::Group), ("process", KillMode::Process)];
                values::word(item, &words)
            }),
            backoff: table.take("backoff", backoff),
            restart_limit: table.take("restart_limit", restart_limit),
            priority: table.take("priority", |item| values::integer(item, i64::from(i32::MIN)..=i64::from(i32::MAX))),
            log_maxbytes: table.take("log_maxbytes", quantity::size),
            log_backups: table.take("log_backups", |item| values::integer(item, 0..=10_000)),
            log_compress: table.take("log_compress", values::boolean),
            log_timestamps: table.take("log_timestamps", values::boolean),
            strip_ansi: table.take("strip_ansi", values::boolean),
            alerts: table.take("alerts", values::boolean),
            alert_to: table.take("alert_to", alert_to),
            syslog_facility: table.take("syslog_facility", notify::facility),
            syslog_tag: table.take("syslog_tag", notify::tag),
        }
    }

    /// The program that this table and the defaults make; `None` without a command.
    pub fn resolve(&self, defaults: &Self, name: &ProgramName, environment: &Environment) -> Option<Program> {
        /// This table's value, else that of `[defaults]`.
        macro_rules! given {
            ($key:ident) => {
                self.$key.or(&defaults.$key)
            };
        }
        let names = Names { program: name.as_str(), environment };
        let own = |target: Target| match target {
            Target::Path(raw) => Output::File(names.template(&raw)),
            Target::Console => Output::Console,
            Target::Syslog => Output::Syslog,
            Target::Discard => Output::Discard,
            Target::Auto | Target::Stdout => Output::Auto,
        };
        let mut env = defaults.env.or_default(BTreeMap::new());
        env.extend(self.env.or_default(BTreeMap::new()));
        let restrict_paths = given!(restrict_paths).value().map(|written| written.resolve(&names));
        let tty = given!(tty).or_default(false);
        let alert_to = given!(alert_to).value();
        let second = Duration::from_secs(1);
        Some(Program {
            name: name.clone(),
            numprocs: given!(numprocs).or_default(1),
            group_name: given!(group_name).value().cloned(),
            exec: Execution {
                cmd: given!(cmd).value()?.iter().map(|word| names.template(word)).collect(),
                user: given!(user).value().cloned(),
                group: given!(group).value().cloned(),
                groups: given!(groups).value().cloned(),
                umask: given!(umask).or_default(0o022),
                workingdir: given!(workingdir).value().map(|raw| names.template(raw)),
                env: env.into_iter().map(|(name, raw)| (name, names.template(&raw))).collect(),
                inherit_env: given!(inherit_env).or_default(InheritEnv::Default),
                // The kernel lets nobody but an administrator be restricted without it.
                no_new_privileges: given!(no_new_privileges)
                    .value()
                    .copied()
                    .or(restrict_paths.is_some().then_some(true)),
                limits: given!(limits).or_default(BTreeMap::new()),
                capabilities: given!(capabilities).value().copied(),
                capability_bounding: given!(capability_bounding).value().copied(),
                nice: given!(nice).value().copied(),
                ioprio: given!(ioprio).value().copied(),
                cpu_affinity: given!(cpu_affinity).value().cloned(),
                keyring: given!(keyring).value().copied(),
                mdwe: given!(mdwe).or_default(false),
                restrict_paths,
                oom_score_adj: given!(oom_score_adj).value().copied(),
                on_supervisor_death: given!(on_supervisor_death).or_default(OnSupervisorDeath::Stop),
                tty,
                stdin: given!(stdin).or_default(StdinSource::Null),
                stdout: own(given!(stdout).or_default(Target::Auto)),
                stderr: match given!(stderr).or_default(Target::Auto) {
                    Target::Stdout => ErrorOutput::Stdout,
                    _ if tty => ErrorOutput::Stdout,
                    target => ErrorOutput::Own(own(target)),
                },
            },
            watch: Watch {
                autostart: given!(autostart).or_default(true),
                autorestart: given!(autorestart).or_default(AutoRestart::Unexpected),
                exitcodes: given!(exitcodes).or_default(BTreeSet::from([0])),
                starttime: given!(starttime).or_default(second),
                startretries: given!(startretries).or_default(3),
                stopsignal: given!(stopsignal).or_default(Signal::TERM),
                stoptime: given!(stoptime).or_default(10 * second),
                kill_mode: given!(kill_mode).or_default(KillMode::Tree),
                backoff: given!(backoff).or_default(Backoff::default()),
                restart_limit: given!(restart_limit).value().copied(),
                priority: given!(priority).or_default(999),
                log_maxbytes: given!(log_maxbytes).or_default(50 << 20),
                log_backups: given!(log_backups).or_default(10),
                log_compress: given!(log_compress).or_default(false),
                log_timestamps: given!(log_timestamps).or_default(false),
                strip_ansi: given!(strip_ansi).or_default(false),
            },
            alerts: Alerts {
                enabled: given!(alerts).or_default(true),
                channels: alert_to.map(AlertTo::channels).unwrap_or_default(),
                recipients: alert_to.map(AlertTo::recipients).unwrap_or_default(),
                syslog_facility: given!(syslog_facility).value().copied(),
                syslog_tag: given!(syslog_tag).value().cloned(),
            },
        })
    }
}

fn user(item: Item<'_>) -> Option<Account> {
    let user = values::account(item)?;
    if !item.context.environment.root {
        let message =
            format!("only root can start programs as another user: this fails if `{user}` is not your own name");
        item.warn(&message, None);
    }
    Some(user)
}

fn autorestart(item: Item<'_>) -> Option<AutoRestart> {
    match item.value.as_bool() {
        Some(true) => Some(AutoRestart::Always),
        Some(false) => Some(AutoRestart::Never),
        None => values::word(
            item,
            &[("always", AutoRestart::Always), ("never", AutoRestart::Never), ("unexpected", AutoRestart::Unexpected)],
        ),
    }
}

fn limits(item: Item<'_>) -> Option<BTreeMap<Resource, Limit>> {
    let mut table = item.table("in `limits`")?;
    let mut limits = BTreeMap::new();
    for resource in Resource::ALL {
        if let Given::Value(limit, _) = table.take(resource.name(), values::limit) {
            limits.insert(*resource, limit);
        }
    }
    table.finish();
    Some(limits)
}

fn backoff(item: Item<'_>) -> Option<Backoff> {
    let mut table = item.table("in `backoff`")?;
    let usual = Backoff::default();
    let backoff = Backoff {
        initial: table.take("initial", quantity::duration).or_default(usual.initial),
        factor: table.take("factor", |item| values::float(item, 1.0..=100.0)).or_default(usual.factor),
        step: table.take("step", quantity::duration).or_default(usual.step),
        max: table.take("max", quantity::duration).or_default(usual.max),
        jitter: table.take("jitter", |item| values::float(item, 0.0..=1.0)).or_default(usual.jitter),
    };
    table.finish();
    Some(backoff)
}

fn restart_limit(item: Item<'_>) -> Option<RestartLimit> {
    let mut table = item.table("in `restart_limit`")?;
    let burst = table.take("burst", |item| values::integer(item, 1..=1000));
    let interval = table.take("interval", |item| match quantity::duration(item)? {
        Duration::ZERO => item.refuse("`interval` is longer than nothing"),
        interval => Some(interval),
    });
    if burst.is_absent() || interval.is_absent() {
        let help = "write { burst = 10, interval = \"1m\" }";
        table.lacks("`restart_limit` has both `burst` and `interval`", help);
    }
    table.finish();
    Some(RestartLimit { burst: *burst.value()?, interval: *interval.value()? })
}
