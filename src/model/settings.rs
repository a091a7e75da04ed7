//! A program's configuration as people read it: a name and a value for each key, built-in defaults too.
//! Two versions of a program can be compared key by key, and [`hidden`] takes out what may be a secret.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::capability::CapabilitySet;
use super::id::ProgramName;
use super::notify::shown_url;
use super::program::{
    AutoRestart, Backoff, ErrorOutput, InheritEnv, IoPriority, Limit, ListedPath, Output, Program, RestrictPaths,
};
use super::template::Template;

/// A key, and its value as JSON, which reads like TOML. Null: not set, and nothing stands in for it.
pub type Entry = (Cow<'static, str>, Value);

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The table that the setting is of.
    File,
    /// `[defaults]`.
    Defaults,
    /// The program's `env_file`.
    EnvFile,
    BuiltIn,
}

/// One setting in force.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Setting {
    pub key: String,
    pub value: Value,
    pub source: Source,
    /// Absent for what is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// From 1; absent where only the file is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What the files on disk say instead, which a reload would read. `Some(null)`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub on_disk: Option<Value>,
}

/// A member that is there, also as null.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// What the files on disk make of a table that is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDisk {
    #[default]
    Same,
    Changed,
    /// Only on disk.
    Added,
    /// Only in force.
    Removed,
    /// The files have a fault, or there are none.
    Unknown,
}

/// One table with all its settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Section {
    /// `supervisor`, `control`, `notify`; null for a program.
    pub table: Option<String>,
    pub program: Option<ProgramName>,
    pub on_disk: OnDisk,
    pub settings: Vec<Setting>,
}

/// What stands in place of a secret.
pub const HIDDEN: &str = "(hidden)";

/// Every setting of a program, in the order of the reference; each variable of `env` is one.
pub fn of_program(program: &Program) -> Vec<Entry> {
    let Program { name: _, numprocs, group_name, exec, watch, alerts } = program;
    let is_root = exec.user.as_ref().is_some_and(super::id::Account::is_root);
    let strings = |all: Vec<String>| json!(all);
    let account = |account: &super::id::Account| account.to_string();
    let mut out: Vec<Entry> = vec![
        entry("cmd", json!(exec.cmd.iter().map(Template::shown).collect::<Vec<_>>())),
        entry("numprocs", json!(numprocs)),
        entry("group_name", json!(group_name)),
        entry("user", json!(exec.user.as_ref().map(account))),
        entry("group", json!(exec.group.as_ref().map(account))),
        entry("groups", json!(exec.groups.as_ref().map(|all| all.iter().map(account).collect::<Vec<_>>()))),
        entry("umask", json!(format!("{:03o}", exec.umask))),
        entry("workingdir", json!(exec.workingdir.as_ref().map(Template::shown))),
        entry("inherit_env", inherited(&exec.inherit_env)),
        entry("no_new_privileges", json!(exec.no_new_privileges.unwrap_or(!is_root))),
        entry("limits", exec.limits.iter().map(|(resource, at)| (resource.name().to_owned(), limit(*at))).collect()),
        entry("capabilities", json!(exec.capabilities.map(names))),
        entry("capability_bounding", json!(exec.capability_bounding.map(names))),
        entry("nice", json!(exec.nice)),
        entry("ioprio", json!(exec.ioprio.map(io_priority))),
        entry("cpu_affinity", json!(exec.cpu_affinity)),
        entry("keyring", json!(exec.keyring)),
        entry("mdwe", json!(exec.mdwe)),
        entry("restrict_paths", json!(exec.restrict_paths.as_ref().map(restriction))),
        entry("oom_score_adj", json!(exec.oom_score_adj)),
        entry("on_supervisor_death", json!(exec.on_supervisor_death)),
        entry("tty", json!(exec.tty)),
        entry("stdin", json!(exec.stdin.name())),
        entry("stdout", json!(output(&exec.stdout))),
        entry("stderr", json!(error_output(&exec.stderr))),
        entry("autostart", json!(watch.autostart)),
        entry("autorestart", json!(auto_restart(watch.autorestart))),
        entry("exitcodes", json!(watch.exitcodes)),
        entry("starttime", duration(watch.starttime)),
        entry("startretries", json!(watch.startretries)),
        entry("stopsignal", json!(watch.stopsignal)),
        entry("stoptime", duration(watch.stoptime)),
        entry("kill_mode", json!(watch.kill_mode)),
        entry("backoff", backoff(&watch.backoff)),
        entry(
            "restart_limit",
            watch
                .restart_limit
                .map_or(Value::Null, |limit| json!({ "burst": limit.burst, "interval": duration(limit.interval) })),
        ),
        entry("priority", json!(watch.priority)),
        entry("log_maxbytes", json!(watch.log_maxbytes)),
        entry("log_backups", json!(watch.log_backups)),
        entry("log_compress", json!(watch.log_compress)),
        entry("log_timestamps", json!(watch.log_timestamps)),
        entry("strip_ansi", json!(watch.strip_ansi)),
        entry("alerts", json!(alerts.enabled)),
        entry(
            "alert_to",
            strings(alerts.channels.iter().map(ToString::to_string).chain(alerts.recipients.iter().cloned()).collect()),
        ),
        entry("syslog_facility", json!(alerts.syslog_facility)),
        entry("syslog_tag", json!(alerts.syslog_tag)),
    ];
    out.extend(exec.env.iter().map(|(name, value)| (Cow::Owned(format!("env.{name}")), json!(value.shown()))));
    out
}

/// The keys whose values differ, in the order of the reference, each variable of `env` by its own name.
pub fn differing(old: &Program, new: &Program) -> Vec<String> {
    let (old, new) = (of_program(old), of_program(new));
    let value = |all: &[Entry], key: &str| all.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone());
    let mut keys: Vec<String> = Vec::new();
    for (key, _) in old.iter().chain(&new) {
        if value(&old, key) != value(&new, key) && !keys.iter().any(|known| known == key) {
            keys.push(key.to_string());
        }
    }
    keys
}

pub fn entry(key: &'static str, value: Value) -> Entry {
    (Cow::Borrowed(key), value)
}

/// Nothing lost: `1h1m1s`, `1s500ms`.
pub fn duration(duration: Duration) -> Value {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let units = [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let mut out = String::new();
    for (count, unit) in units.into_iter().chain([(u64::from(millis), "ms")]).filter(|(count, _)| *count > 0) {
        out.push_str(&format!("{count}{unit}"));
    }
    Value::String(if out.is_empty() { "0s".to_owned() } else { out })
}

fn inherited(inherit: &InheritEnv) -> Value {
    match inherit {
        InheritEnv::Default => Value::Null,
        InheritEnv::All => json!(true),
        InheritEnv::Only(names) if names.is_empty() => json!(false),
        InheritEnv::Only(names) => json!(names),
    }
}

fn limit(limit: Limit) -> Value {
    let bound = |bound: Option<u64>| bound.map_or_else(|| json!("unlimited"), |number| json!(number));
    if limit.soft == limit.hard { bound(limit.soft) } else { json!([bound(limit.soft), bound(limit.hard)]) }
}

fn names(set: CapabilitySet) -> Value {
    if set == CapabilitySet::ALL {
        json!(["all"])
    } else {
        json!(set.known().map(|c| c.to_string()).collect::<Vec<_>>())
    }
}

fn io_priority(priority: IoPriority) -> String {
    match priority {
        IoPriority::Realtime(level) => format!("realtime:{level}"),
        IoPriority::BestEffort(level) => format!("best-effort:{level}"),
        IoPriority::Idle => "idle".to_owned(),
    }
}

fn restriction(paths: &RestrictPaths) -> Value {
    let path = |listed: &ListedPath| format!("{}{}", if listed.optional { "-" } else { "" }, listed.path.shown());
    let all = |paths: &[ListedPath]| paths.iter().map(path).collect::<Vec<_>>();
    json!({
        "read": all(&paths.read),
        "write": all(&paths.write),
        "execute": all(&paths.execute),
        "on_unsupported": paths.on_unsupported,
    })
}

fn output(output: &Output) -> String {
    match output {
        Output::Auto => "auto".to_owned(),
        Output::Console => "console".to_owned(),
        Output::Syslog => "syslog".to_owned(),
        Output::Discard => "discard".to_owned(),
        Output::File(path) => path.shown(),
    }
}

fn error_output(error: &ErrorOutput) -> String {
    match error {
        ErrorOutput::Stdout => "stdout".to_owned(),
        ErrorOutput::Own(own) => output(own),
    }
}

fn auto_restart(restart: AutoRestart) -> &'static str {
    match restart {
        AutoRestart::Always => "always",
        AutoRestart::Never => "never",
        AutoRestart::Unexpected => "unexpected",
    }
}

fn backoff(backoff: &Backoff) -> Value {
    json!({
        "initial": duration(backoff.initial),
        "factor": backoff.factor,
        "step": duration(backoff.step),
        "max": duration(backoff.max),
        "jitter": backoff.jitter,
    })
}

/// The value without what may be a secret: all of a variable that is called so, the password of a URL
/// anywhere, and in a command what stands behind an option or a `NAME=` that is called so.
pub fn hidden(key: &str, value: Value) -> Value {
    match value {
        Value::String(_) if key.strip_prefix("env.").is_some_and(is_called_secret) => json!(HIDDEN),
        // The path of a webhook is what lets somebody use it.
        Value::String(url) if key.starts_with("webhooks.") && key.ends_with(".url") => {
            let shown = shown_url(&url);
            json!(if shown.len() < url.len() { format!("{shown}/{HIDDEN}") } else { url })
        }
        Value::String(text) => json!(without_password(&text)),
        Value::Array(words) if key == "cmd" => {
            let mut behind_option = false;
            let words = words.into_iter().map(|word| {
                let text = word.as_str().unwrap_or_default();
                let hide = std::mem::replace(&mut behind_option, names_secret_option(text));
                if hide { json!(HIDDEN) } else { json!(without_password(&without_assigned(text))) }
            });
            Value::Array(words.collect())
        }
        other => other,
    }
}

/// Whether something with this name may be a secret.
pub fn is_called_secret(name: &str) -> bool {
    const PARTS: [&str; 10] =
        ["PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "AUTH", "PRIVATE", "COOKIE", "WEBHOOK", "DSN"];
    let name = name.to_ascii_uppercase();
    PARTS.iter().any(|part| name.contains(part)) || name.ends_with("PWD") && !matches!(&*name, "PWD" | "OLDPWD")
}

/// `--password` alone: the next word is one.
fn names_secret_option(word: &str) -> bool {
    word.starts_with('-') && !word.contains('=') && is_called_secret(word)
}

fn without_assigned(word: &str) -> Cow<'_, str> {
    match word.split_once('=') {
        Some((name, value)) if !value.is_empty() && !name.contains(['/', ' ']) && is_called_secret(name) => {
            format!("{name}={HIDDEN}").into()
        }
        _ => word.into(),
    }
}

/// `postgres://me:(hidden)@host/db`.
fn without_password(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let end = after.find(['/', '?', '#', ' ', '"', '\'']).unwrap_or(after.len());
        out.push_str(before);
        match after[..end].rsplit_once('@') {
            Some((user, host)) => {
                let name = user.split(':').next().unwrap_or_default();
                out.push_str(&if name.len() < user.len() {
                    format!("{name}:{HIDDEN}@{host}")
                } else {
                    format!("{user}@{host}")
                });
            }
            None => out.push_str(&after[..end]),
        }
        rest = &after[end..];
    }
    if out.is_empty() { text.into() } else { (out + rest).into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::program::testing::program;

    #[test]
    fn the_keys_that_differ_are_named_each_variable_by_itself() {
        let old = program("web");
        assert_eq!(differing(&old, &old), Vec::<String>::new());
        let mut new = old.clone();
        new.watch.stoptime = Duration::from_millis(61_500);
        new.exec.env.insert("NEW".to_owned(), Template::literal("1"));
        assert_eq!(differing(&old, &new), ["stoptime", "env.NEW"]);
        assert_eq!(differing(&new, &old), ["stoptime", "env.NEW"]);
        assert_eq!(duration(new.watch.stoptime), json!("1m1s500ms"));
        assert_eq!(duration(Duration::ZERO), json!("0s"));
    }

    #[test]
    fn what_may_be_a_secret_is_hidden() {
        for name in ["env.DB_PASSWORD", "env.api_key", "env.GITHUB_TOKEN", "env.PGPASS", "env.DB_PWD"] {
            assert_eq!(hidden(name, json!("s3cret")), json!(HIDDEN), "{name}");
        }
        for name in ["env.LANG", "env.PWD", "env.ANSWER", "workingdir"] {
            assert_eq!(hidden(name, json!("plain")), json!("plain"), "{name}");
        }
        assert_eq!(hidden("env.DATABASE_URL", json!("pg://me:s3@c@h:1/x y")), json!("pg://me:(hidden)@h:1/x y"));
        assert_eq!(hidden("env.A", json!("http://h/a@b:c://")), json!("http://h/a@b:c://"));
        let words =
            json!(["/bin/x", "--password", "s3cret", "--api-key=s3cret", "TOKEN=s3cret", "u://a:s3cret@h", "-v"]);
        let shown = hidden("cmd", words);
        assert!(!shown.to_string().contains("s3cret"), "{shown}");
        assert_eq!(shown[6], "-v");
    }
}
