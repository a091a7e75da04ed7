//! A configuration as people read it: each table with its settings, where each comes from, and what the
//! files on disk say instead. Secrets are taken out here, and are never in what leaves.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Config;
use super::notify::facility_name;
use super::origins::{Spot, Written};
use crate::model::authority::Allow;
use crate::model::id::ProgramName;
use crate::model::notify::{
    Channel, Email, MailTransport, Rule, SecretKind, Syslog, SyslogTarget, Timing, Transport, Webhook,
};
use crate::model::program::Program;
use crate::model::settings::{self, Entry, OnDisk, Section, Setting, Source, duration, entry};

/// Which table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table<'a> {
    Supervisor,
    Control,
    Notify,
    Program(&'a ProgramName),
}

impl Config {
    /// A table of this configuration, which is in force, with where its values come from. `disk`: what the
    /// files say now, if they can be read. `None`: neither has it.
    pub fn section(&self, table: Table<'_>, disk: Option<&Self>) -> Option<Section> {
        let mut there = disk.and_then(|disk| disk.settings(table));
        let (mut own, on_disk) = match (self.settings(table), &there) {
            (Some(own), Some(there)) => {
                let same = own.len() == there.len()
                    && own.iter().all(|one| there.iter().any(|two| (&two.key, &two.value) == (&one.key, &one.value)));
                (own, if same { OnDisk::Same } else { OnDisk::Changed })
            }
            (Some(own), None) if disk.is_some() => (own, OnDisk::Removed),
            (Some(own), None) => (own, OnDisk::Unknown),
            (None, Some(_)) => (there.take()?, OnDisk::Added),
            (None, None) => return None,
        };
        if on_disk == OnDisk::Changed {
            compare(&mut own, there.unwrap_or_default());
        }
        for setting in &mut own {
            setting.value = settings::hidden(&setting.key, std::mem::take(&mut setting.value));
            setting.on_disk = setting.on_disk.take().map(|value| settings::hidden(&setting.key, value));
        }
        let (name, program) = match table {
            Table::Supervisor => (Some("supervisor"), None),
            Table::Control => (Some("control"), None),
            Table::Notify => (Some("notify"), None),
            Table::Program(name) => (None, Some(name.clone())),
        };
        Some(Section { table: name.map(str::to_owned), program, on_disk, settings: own })
    }

    /// The settings of no program that differ: `supervisor.remember`, `notify.rules`.
    pub fn differing_settings(&self, new: &Self) -> Vec<String> {
        let mut differing = Vec::new();
        let entries = |config: &Self| {
            [("supervisor", supervisor(config)), ("control", control(config)), ("notify", notify(config))]
        };
        for ((table, old), (_, new)) in entries(self).into_iter().zip(entries(new)) {
            let added = new.iter().filter(|(key, _)| !old.iter().any(|(known, _)| known == key));
            let changed = old.iter().filter(|entry| !new.contains(entry));
            differing.extend(changed.chain(added).map(|(key, _)| format!("{table}.{key}")));
        }
        differing
    }

    fn settings(&self, table: Table<'_>) -> Option<Vec<Setting>> {
        let origins = &self.origins;
        Some(match table {
            Table::Supervisor => self.placed(supervisor(self), &origins.supervisor),
            Table::Control => self.placed(control(self), &origins.control),
            Table::Notify => self.placed(notify(self), &origins.notify),
            Table::Program(name) => {
                let program = self.programs.iter().find(|program| program.name == *name)?;
                self.of_program(program)
            }
        })
    }

    fn of_program(&self, program: &Program) -> Vec<Setting> {
        let env_file = self.origins.env_file(&program.name);
        let mut entries = settings::of_program(program);
        if let Some(path) = env_file {
            entries.push(entry("env_file", json!(path)));
        }
        let setting = |(key, value): Entry| {
            let key = key.into_owned();
            let (source, spot) = self.origins.of_program(&program.name, &key);
            let read_from = env_file.filter(|_| source == Source::EnvFile);
            let file = read_from.map(|path| PathBuf::from(path.strip_prefix('-').unwrap_or(path)));
            let setting = Setting { value: named(&key, value), key, source, file, line: None, on_disk: None };
            self.with_spot(setting, spot)
        };
        entries.into_iter().map(setting).collect()
    }

    /// Each with its place: `email.group_wait` can stand in `[notify]` for all channels, and a URL in a file.
    fn placed(&self, entries: Vec<Entry>, written: &Written) -> Vec<Setting> {
        let setting = |(key, value): Entry| {
            let common = key.rsplit_once('.').map_or("", |(_, last)| last);
            let for_all = || COMMON.contains(&common).then(|| written.find(common)).flatten();
            let from_file = || (common == "url").then(|| written.find(&format!("{key}_file"))).flatten();
            let spot = written.find(&key).or_else(for_all).or_else(from_file);
            let source = if spot.is_some() { Source::File } else { Source::BuiltIn };
            let setting = Setting { key: key.into_owned(), value, source, file: None, line: None, on_disk: None };
            self.with_spot(setting, spot)
        };
        entries.into_iter().map(setting).collect()
    }

    fn with_spot(&self, setting: Setting, spot: Option<Spot>) -> Setting {
        match spot {
            Some(Spot { file, line }) => Setting { file: self.files.get(file).cloned(), line: Some(line), ..setting },
            None => setting,
        }
    }
}

/// Keys of a channel that can stand in `[notify]` for all of them.
const COMMON: [&str; 9] = [
    "group_wait",
    "group_interval",
    "recovery_after",
    "remind_after",
    "flap_count",
    "flap_window",
    "flap_clear",
    "rate_limit",
    "stale_after",
];
/// Adds what the disk says of keys that differ, and keys that are only there.
fn compare(own: &mut Vec<Setting>, there: Vec<Setting>) {
    for setting in own.iter_mut() {
        let value =
            there.iter().find(|other| other.key == setting.key).map_or(Value::Null, |other| other.value.clone());
        if value != setting.value {
            setting.on_disk = Some(value);
        }
    }
    for added in there {
        if !own.iter().any(|setting| setting.key == added.key) {
            let on_disk = Some(added.value);
            own.push(Setting { value: Value::Null, on_disk, ..added });
        }
    }
}

fn named(key: &str, value: Value) -> Value {
    match value.as_u64() {
        Some(number) if key == "syslog_facility" => json!(facility_name(u8::try_from(number).unwrap_or(u8::MAX))),
        _ => value,
    }
}

fn supervisor(config: &Config) -> Vec<Entry> {
    let own = &config.supervisor;
    vec![
        entry("event_log", json!(own.event_log)),
        entry("event_log_format", json!(own.event_log_format)),
        entry("log_dir", json!(own.log_dir)),
        entry("state_dir", json!(own.state_dir)),
        entry("runtime_dir", json!(own.runtime_dir)),
        entry("shutdown_timeout", duration(own.shutdown_timeout)),
        entry("remember", json!(own.remember)),
    ]
}

fn control(config: &Config) -> Vec<Entry> {
    let own = &config.control;
    vec![
        entry("socket", json!(own.socket)),
        entry("mode", json!(format!("{:04o}", own.mode))),
        entry("group", json!(own.group.as_ref().map(ToString::to_string))),
        entry("allow", own.allow.iter().map(allow).collect()),
    ]
}

fn allow(allow: &Allow) -> Value {
    let names = |all: &[crate::model::id::Account]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "users": names(&allow.users),
        "groups": names(&allow.groups),
        "programs": allow.programs.iter().map(glob::Pattern::as_str).collect::<Vec<_>>(),
        "verbs": allow.verbs.iter().map(|verb| verb.name()).collect::<Vec<_>>(),
    })
}

fn notify(config: &Config) -> Vec<Entry> {
    let own = &config.notify;
    let mut out = vec![
        entry("shutdown_drain", duration(own.shutdown_drain)),
        entry("spool.max_messages", json!(own.spool.max_messages)),
        entry("spool.max_bytes", json!(own.spool.max_bytes)),
        entry("spool.max_age", duration(own.spool.max_age)),
        entry("rules", own.rules.iter().map(rule).collect()),
    ];
    for channel in &own.channels {
        let mut keys = vec![("min_severity", json!(channel.min_severity))];
        match &channel.transport {
            Transport::Syslog(syslog) => keys.extend(of_syslog(syslog)),
            Transport::Email(email) => keys.extend(of_email(email)),
            Transport::Webhook(webhook) => keys.extend(of_webhook(webhook)),
        }
        if !matches!(channel.transport, Transport::Syslog(_)) {
            keys.extend(of_timing(&channel.timing));
        }
        out.extend(keys.into_iter().map(|(key, value)| (Cow::Owned(format!("{}.{key}", channel.name)), value)));
        out.extend(secrets(config, channel));
    }
    out
}

type Key = (&'static str, Value);

/// The files with its secrets, never what is in them.
fn secrets(config: &Config, channel: &Channel) -> Vec<Entry> {
    let of_kind = |is: fn(SecretKind) -> bool| -> Vec<&PathBuf> {
        let own = config.secrets.iter().filter(|secret| secret.channel == channel.name && is(secret.kind));
        own.map(|secret| &secret.path).collect()
    };
    let password = of_kind(|kind| kind == SecretKind::Password);
    let signing = of_kind(|kind| matches!(kind, SecretKind::Hmac(_)));
    let named = [("password_file", password), ("secret_file", signing)];
    let named = named.into_iter().filter(|(_, paths)| !paths.is_empty());
    named.map(|(key, paths)| (Cow::Owned(format!("{}.{key}", channel.name)), json!(paths))).collect()
}

/// That there are authorities of its own; they were read when the configuration was.
fn authorities(ca: Option<&String>) -> Value {
    ca.map_or(Value::Null, |pem| json!(format!("{} certificates", pem.matches("-----BEGIN CERTIFICATE").count())))
}

fn of_syslog(syslog: &Syslog) -> Vec<Key> {
    let target = match &syslog.target {
        SyslogTarget::Local(path) => format!("local:{}", path.display()),
        SyslogTarget::Journald(path) => format!("journald:{}", path.display()),
        SyslogTarget::Udp(server) => format!("udp://{server}"),
        SyslogTarget::Tcp { server, .. } => format!("tcp://{server}"),
        SyslogTarget::Tls(server) => format!("tls://{server}"),
    };
    vec![
        ("target", json!(target)),
        ("facility", json!(facility_name(syslog.facility))),
        ("tag", json!(syslog.tag)),
        ("sd_id", json!(syslog.sd_id)),
        ("ca_file", authorities(syslog.ca.as_ref())),
        ("server_name", json!(syslog.server_name)),
    ]
}

fn of_email(email: &Email) -> Vec<Key> {
    let mut keys = match &email.via {
        MailTransport::Smtp(smtp) => vec![
            ("transport", json!("smtp")),
            ("server", smtp.servers.iter().map(|server| json!(server.to_string())).collect()),
            ("tls", json!(smtp.tls)),
            ("ca_file", authorities(smtp.ca.as_ref())),
            ("server_name", json!(smtp.server_name)),
            ("username", json!(smtp.username)),
        ],
        MailTransport::Sendmail(path) => vec![("transport", json!("sendmail")), ("sendmail", json!(path))],
        MailTransport::Maildir(path) => vec![("transport", json!("maildir")), ("maildir", json!(path))],
    };
    keys.extend([
        ("from", json!(email.from)),
        ("to", json!(email.to)),
        ("envelope_from", json!(email.envelope_from)),
        ("output_lines", json!(email.output_lines)),
        ("redact", json!(email.redact)),
    ]);
    keys
}

fn of_webhook(webhook: &Webhook) -> Vec<Key> {
    vec![
        ("url", json!(webhook.url)),
        ("format", json!(webhook.format)),
        ("ca_file", authorities(webhook.ca.as_ref())),
        ("output_lines", json!(webhook.output_lines)),
        ("redact", json!(webhook.redact)),
    ]
}

fn of_timing(timing: &Timing) -> Vec<Key> {
    vec![
        ("group_wait", duration(timing.group_wait)),
        ("group_interval", duration(timing.group_interval)),
        ("recovery_after", duration(timing.recovery_after)),
        ("remind_after", timing.remind_after.iter().map(|after| duration(*after)).collect()),
        ("flap_count", json!(timing.flap_count)),
        ("flap_window", duration(timing.flap_window)),
        ("flap_clear", duration(timing.flap_clear)),
        ("rate_limit", json!({ "burst": timing.rate_limit.burst, "interval": duration(timing.rate_limit.interval) })),
        ("stale_after", duration(timing.stale_after)),
    ]
}

fn rule(rule: &Rule) -> Value {
    json!({
        "on": rule.on,
        "not_on": rule.not_on,
        "programs": rule.programs,
        "severity": rule.severity,
        "to": rule.to,
    })
}
