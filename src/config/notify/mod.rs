//! `[notify]`: how people are told. One file for each kind of channel, one for the timings, one for the
//! rules; here all of it is put together, and judged as a whole.
#![forbid(unsafe_code)]

mod address;
pub mod alert_to;
mod email;
mod place;
mod rules;
mod secret;
mod syslog;
mod timing;
mod webhook;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::Files;
use super::check::Placed;
use super::fault::{Kind, Place};
use super::table::{Given, Item, Table, shown};
use super::{quantity, values};
use crate::model::event::Severity;
use crate::model::id::ChannelName;
use crate::model::notify::{
    Channel, Notify, SPOOL_BYTES_MAX, SPOOL_MESSAGES_MAX, SecretKind, SpoolLimits, Timing, Transport,
};

pub use syslog::{facility, facility_name, tag};

/// A file with a secret, which the configuration names and does not read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretFile {
    pub channel: ChannelName,
    pub kind: SecretKind,
    pub path: PathBuf,
}

/// What `[notify]` says, before it is compared with the programs.
pub struct Told<'a> {
    pub notify: Notify,
    pub secrets: Vec<SecretFile>,
    /// `None`: they are faulty.
    rules: Option<Vec<rules::Placed<'a>>>,
    /// The channels that have a table, also those whose table is faulty.
    named: Vec<(ChannelName, Place<'a>)>,
    header: Place<'a>,
}

const WEBHOOKS_MAX: usize = 50;
/// All that the notifier is told in one message, in bytes.
const TOTAL_MAX: usize = 8 << 20;

const SHUTDOWN_DRAIN: Duration = Duration::from_secs(5);
/// A shutdown that is waited for longer is ended by whoever asked for it.
const SHUTDOWN_DRAIN_MAX: Duration = Duration::from_secs(60);

/// Reads the whole table.
pub fn read<'a>(table: &mut Table<'a>, files: &mut dyn Files) -> Told<'a> {
    let timing = timing::read(table, &Timing::default());
    let mut channels = Channels { named: Vec::new(), sound: Vec::new(), secrets: Vec::new(), timing: &timing };
    let shutdown_drain = table.take("shutdown_drain", |item| match quantity::duration(item)? {
        long if long > SHUTDOWN_DRAIN_MAX => item.refuse("`shutdown_drain` is at most 1 minute"),
        drain => Some(drain),
    });
    let spool = table.take("spool", spool).or_default(SpoolLimits::default());
    table.take("syslog", |item| channels.add("syslog", item, syslog::read, files));
    table.take("email", |item| channels.add("email", item, email::read, files));
    table.take("webhooks", |item| {
        let Some(entries) = item.entries() else {
            return item.refuse_with("`webhooks` has one table for each webhook", "write [notify.webhooks.NAME]");
        };
        for (at, (key, entry)) in entries.into_iter().enumerate() {
            if at == WEBHOOKS_MAX {
                return item.refuse(format!("there are more than {WEBHOOKS_MAX} webhooks"));
            }
            if is_channel_name(entry.key) {
                channels.add(&format!("webhooks.{}", entry.key), entry, webhook::read, files);
            } else {
                let message = format!("{} cannot name a webhook", shown(entry.key));
                let help = "at most 40 letters (a-z, A-Z), digits, `_` and `-`".to_owned();
                table_fault(key, &entry, &message, help);
            }
        }
        Some(())
    });
    let Channels { named, sound, secrets, .. } = channels;
    let known: Vec<&str> = named.iter().map(|(name, _)| name.0.as_str()).collect();
    let rules = match table.take("rules", |item| rules::read(item, &known)) {
        Given::Absent => Some(rules::usual(&known)),
        Given::Faulty => None,
        Given::Value(rules, _) => Some(rules),
    };
    let notify = Notify {
        channels: sound,
        rules: rules.iter().flatten().map(|placed| placed.rule.clone()).collect(),
        shutdown_drain: shutdown_drain.or_default(SHUTDOWN_DRAIN),
        spool,
    };
    let told = Told { notify, secrets, rules, named, header: table.header };
    told.judge_size(table);
    told
}

/// Names of files are made of it.
fn is_channel_name(name: &str) -> bool {
    (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn table_fault(place: Place<'_>, item: &Item<'_>, message: &str, help: String) {
    item.context.sink.report(place, Kind::Value, message, Some(help));
}

/// What a reader of one kind of channel makes: the transport, and where its secrets are.
type Made = (Transport, Vec<(SecretKind, PathBuf)>);

/// The channels while they are read.
struct Channels<'a, 't> {
    named: Vec<(ChannelName, Place<'a>)>,
    sound: Vec<Channel>,
    secrets: Vec<SecretFile>,
    timing: &'t Timing,
}

impl<'a> Channels<'a, '_> {
    fn add(
        &mut self,
        name: &str,
        item: Item<'a>,
        read: fn(&mut Table<'a>, &mut dyn Files) -> Option<Made>,
        files: &mut dyn Files,
    ) -> Option<()> {
        let channel = ChannelName(name.to_owned());
        self.named.push((channel.clone(), item.place));
        let mut table = item.table(format!("in [notify.{name}]"))?;
        let min_severity = table.take("min_severity", severity);
        let made = read(&mut table, files);
        // Syslog tells each event at once: there is nothing to time.
        let timing = if name == "syslog" { self.timing.clone() } else { timing::read(&mut table, self.timing) };
        table.finish();
        let (transport, secrets) = made?;
        if item.context.environment.local_only && transport.is_remote() {
            let message = format!("[notify.{name}] needs the network, and this build has no part for that");
            return item.refuse_with(message, instead(&transport));
        }
        let secret = |(kind, path)| SecretFile { channel: channel.clone(), kind, path };
        self.secrets.extend(secrets.into_iter().map(secret));
        let min_severity = min_severity.or_default(Severity::Info);
        self.sound.push(Channel { name: channel, min_severity, timing, transport });
        Some(())
    }
}

/// What a build that reaches nobody over the network can do for this channel.
fn instead(transport: &Transport) -> &'static str {
    match transport {
        Transport::Syslog(_) => "use `target = \"local\"` or `\"journald\"`, or build with the feature `network`",
        Transport::Email(_) => "use `transport = \"sendmail\"` or `\"maildir\"`, or build with the feature `network`",
        Transport::Webhook(_) => "remove it, or build with the feature `network`",
    }
}

fn severity(item: Item<'_>) -> Option<Severity> {
    let words = [Severity::Crit, Severity::Err, Severity::Warning, Severity::Notice, Severity::Info];
    let name = |severity| match severity {
        Severity::Crit => "crit",
        Severity::Err => "err",
        Severity::Warning => "warning",
        Severity::Notice => "notice",
        Severity::Info => "info",
    };
    values::word(item, &words.map(|severity| (name(severity), severity)))
}

fn spool(item: Item<'_>) -> Option<SpoolLimits> {
    let mut table = item.table("in [notify.spool]")?;
    let usual = SpoolLimits::default();
    let limits = SpoolLimits {
        max_messages: table
            .take("max_messages", |item| values::integer(item, 10..=i64::from(SPOOL_MESSAGES_MAX)))
            .or_default(usual.max_messages),
        max_bytes: table
            .take("max_bytes", |item| match quantity::size(item)? {
                small if small < 1 << 20 => item.refuse("`max_bytes` is at least 1MB"),
                large if large > SPOOL_BYTES_MAX => item.refuse("`max_bytes` is at most 1GB"),
                bytes => Some(bytes),
            })
            .or_default(usual.max_bytes),
        max_age: table.take("max_age", timing::longer_than_nothing).or_default(usual.max_age),
    };
    table.finish();
    Some(limits)
}

impl<'a> Told<'a> {
    fn judge_size(&self, table: &Table<'a>) {
        let size = serde_json::to_vec(&self.notify).map_or(usize::MAX, |bytes| bytes.len());
        if size > TOTAL_MAX {
            let message = format!("[notify] is larger than {} MiB, with the files that it names", TOTAL_MAX >> 20);
            table.context.sink.report(self.header, Kind::Value, &message, None);
        }
    }

    /// What can be judged only with all programs: channels that their `alert_to` names, rules that match
    /// none of them, channels that nothing is sent to.
    pub fn judge(&self, programs: &[Placed<'_>], sink: &super::fault::Sink) {
        let known: Vec<&str> = self.named.iter().map(|(name, _)| name.0.as_str()).collect();
        let mut used: BTreeSet<ChannelName> = self.notify.rules.iter().flat_map(|rule| rule.to.clone()).collect();
        for alert_to in programs.iter().filter_map(|placed| placed.alert_to.as_ref()) {
            alert_to.judge(&known, sink);
            used.extend(alert_to.channels());
            if !alert_to.recipients().is_empty() {
                used.insert(ChannelName("email".to_owned()));
            }
        }
        let Some(rules) = &self.rules else { return };
        for rule in rules {
            rule.judge(programs, &self.notify, sink);
        }
        for (name, place) in self.named.iter().filter(|(name, _)| name.0 != "syslog" && !used.contains(name)) {
            let message = format!("nothing sends alerts to {}", shown(&name.0));
            let help = format!("name it in a rule: [[notify.rules]], on = [\"process.fatal\"], to = [\"{name}\"]");
            sink.report(*place, Kind::Warning, &message, Some(help));
        }
    }
}

/// The readers of all tables, to find where a key belongs.
pub fn homes() -> [(&'static str, super::Reader); 5] {
    [
        ("[notify]", |table| drop(read(table, &mut Nothing))),
        ("[notify.email]", |table| drop(email::read(table, &mut Nothing))),
        ("[notify.syslog]", |table| drop(syslog::read(table, &mut Nothing))),
        ("[notify.webhooks.NAME]", |table| drop(webhook::read(table, &mut Nothing))),
        ("[[notify.rules]]", |table| drop(rules::rule(table, &[]))),
    ]
}

/// No files: only the names of keys are asked for.
struct Nothing;

impl Files for Nothing {
    fn read(&mut self, _path: &std::path::Path) -> Result<String, String> {
        Err(String::new())
    }

    fn glob(&mut self, _pattern: &str) -> Result<Vec<PathBuf>, String> {
        Err(String::new())
    }

    fn exists(&mut self, _path: &std::path::Path) -> bool {
        false
    }

    fn secret(&mut self, _path: &std::path::Path) -> Result<(), String> {
        Err(String::new())
    }

    fn is_private(&mut self, _path: &std::path::Path) -> bool {
        false
    }
}
