//! The sections that are about supervisord itself → `[supervisor]`, `[control]` and `[defaults]`, and comments.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::collections::BTreeMap;

use super::document::{Block, key, string, strings};
use super::dropped::shown;
use super::expand::{Known, written};
use super::ini::{Ini, Section, strip};
use super::logs;
use super::report::Report;
use super::scope::{Reader, Scope, Use};
use super::{Surroundings, values, words};
use crate::model::authority::Verb;
use crate::model::id::Account;

/// What `[supervisord]` says that programs depend on.
#[derive(Debug, Default)]
pub struct Own {
    pub user: Option<String>,
    pub directory: Option<String>,
    pub umask: Option<u32>,
    pub environment: Vec<(String, String)>,
    /// More open files than a process has anyway.
    pub files: Option<i64>,
    pub log_dir: Option<String>,
    pub strip_ansi: bool,
    pub remarks: Vec<String>,
}

/// Why options of `[supervisord]` are only comments.
const DROPPED: [(&str, &str); 12] = [
    ("logfile", "events go to `event_log`, by default events.log in `log_dir`"),
    ("logfile_maxbytes", "the event log is rotated by logrotate and `taskmasterctl reopen`"),
    ("logfile_backups", "the event log is rotated by logrotate and `taskmasterctl reopen`"),
    ("loglevel", "the event log has every event"),
    ("pidfile", "there is none: `taskmasterctl pid` tells, and runtime_dir/lock keeps a second one away"),
    ("nodaemon", "taskmasterd always stays in the foreground"),
    ("silent", "without a terminal taskmasterd writes no log to its standard output"),
    ("identifier", "the name of the host takes its place"),
    ("nocleanup", "log files are never deleted at a start"),
    ("minprocs", "`limits = { nproc = N }` would lower what is allowed, not raise it"),
    ("minfds", "it is not more than a process may open anyway"),
    ("childlogdir", "files of `\"auto\"` go to `log_dir`"),
];

fn reader<'a, 'r>(
    ini: &'a Ini,
    section: &'a Section,
    around: &'a Surroundings,
    here: &str,
    set: &'a BTreeMap<String, String>,
    report: &'r mut Report,
) -> Reader<'a, 'r> {
    let names =
        BTreeMap::from([("here", Known::Text(here.to_owned())), ("host_node_name", Known::Open("host".to_owned()))]);
    let scope = Scope { around, set, own: BTreeMap::new(), names };
    Reader { ini, section, scope, report, needs_number: Cell::new(false) }
}

/// Reads `[supervisord]`.
pub fn own(ini: &Ini, section: &Section, around: &Surroundings, here: &str, report: &mut Report) -> Own {
    let none = BTreeMap::new();
    let mut reader = reader(ini, section, around, here, &none, report);
    let mut own = Own::default();
    let nodaemon = reader.parsed("nodaemon", "true or false", values::boolean).unwrap_or(false);
    let user = reader.parsed("user", "a user's name or number", |text| Account::parse(strip(text)).ok());
    own.user = user.map(|user| if user.is_root() { "root".to_owned() } else { user.to_string() });
    own.umask = reader.parsed("umask", "an octal number", values::octal).map(|mask| mask & 0o777);
    own.directory =
        reader.literal("directory").map(|directory| logs::absolute(&mut reader, "directory", &directory, here));
    own.environment = match reader.open("environment", Use::Pairs).map(|text| words::variables(&text)) {
        Some(Ok(variables)) => variables,
        Some(Err(reason)) => {
            reader.fault("environment", reason);
            Vec::new()
        }
        None => Vec::new(),
    };
    for (name, _) in own.environment.iter().filter(|(name, _)| !values::is_variable(name)) {
        reader.note("environment", &format!("`{name}` is no name of a variable, and was left out"));
    }
    own.files = reader.parsed("minfds", "a number", values::integer).filter(|files| *files > 1024);
    reader.parsed("minprocs", "a number", values::integer);
    own.strip_ansi = reader.parsed("strip_ansi", "true or false", values::boolean).unwrap_or(false);
    let directory = reader.literal("childlogdir").map(|directory| logs::normal(&directory));
    own.log_dir = directory.filter(|path| path.starts_with('/') && !logs::is_in_common_directory(&format!("{path}/")));
    if nodaemon && (own.umask.take().is_some() | own.directory.is_some()) {
        let text =
            format!("[{}]: in the foreground supervisord used neither its `umask` nor its `directory`", section.name);
        reader.report.note(reader.place("nodaemon"), &text);
    }
    for (name, value) in ini.options(section) {
        let known = DROPPED.iter().find(|(known, _)| known == name).map(|(_, why)| *why);
        let carried = match name.as_str() {
            "user" | "umask" | "directory" | "environment" | "strip_ansi" => true,
            "minfds" => own.files.is_some(),
            "childlogdir" => own.log_dir.is_some(),
            _ => false,
        };
        if !carried {
            let why = known.unwrap_or("supervisord does not know it either");
            own.remarks.push(format!("{name} = {}   ({why})", shown(name, &value.text)));
            reader.note(name, why);
        }
    }
    if nodaemon {
        own.directory = None;
    }
    own
}

impl Own {
    /// `[supervisor]`, with the options that are only comments.
    pub fn supervisor(&self) -> Block {
        let mut block = Block::table("[supervisor]");
        if let Some(directory) = &self.log_dir {
            block.set_with("log_dir", string(directory), "childlogdir");
        }
        for remark in &self.remarks {
            block.remark(remark);
        }
        block
    }

    /// `[defaults]`: what holds for every program.
    pub fn defaults(&self, stops_main_only: bool) -> Vec<Block> {
        let mut block = Block::table("[defaults]");
        if stops_main_only {
            let why = "supervisord's way: only the main process is stopped. \"tree\", ours, leaves nothing behind";
            block.set_with("kill_mode", "\"process\"", why);
        }
        if let Some(mask) = self.umask {
            block.set_with("umask", format!("\"{mask:03o}\""), "[supervisord] umask");
        }
        if let Some(directory) = &self.directory {
            block.set_with("workingdir", string(&written(directory)), "[supervisord] directory");
        }
        if let Some(files) = self.files {
            block.set_with("limits", format!("{{ nofile = {files} }}"), "[supervisord] minfds");
        }
        if self.strip_ansi {
            block.set_with("strip_ansi", "true", "[supervisord] strip_ansi");
        }
        let mut blocks = Vec::new();
        if !block.lines.is_empty() {
            blocks.push(block);
        }
        if !self.environment.is_empty() {
            let mut env = Block::table("[defaults.env]");
            env.above.push("[supervisord] environment".to_owned());
            for (name, value) in self.environment.iter().filter(|(name, _)| values::is_variable(name)) {
                env.set(&key(name), string(&written(value)));
            }
            blocks.push(env);
        }
        blocks
    }
}

/// `[unix_http_server]`: who could control supervisord controls Taskmaster, if that took no password.
pub fn unix_server(
    ini: &Ini,
    section: &Section,
    around: &Surroundings,
    here: &str,
    set: &BTreeMap<String, String>,
    report: &mut Report,
) -> Vec<Block> {
    let mut reader = reader(ini, section, around, here, set, report);
    let mode = reader.parsed("chmod", "an octal number", values::octal).unwrap_or(0o700);
    let owner = reader.literal("chown");
    let has_password = reader.raw("username").is_some() || reader.raw("password").is_some();
    if has_password != (reader.raw("username").is_some() && reader.raw("password").is_some()) {
        reader
            .fault("username", "there is a username or a password without the other, and supervisord would not start");
    }
    let (user, group) = match owner.as_deref().map(|owner| owner.split_once(':').unwrap_or((owner, ""))) {
        Some((user, group)) => (account(user), account(group)),
        None => (None, None),
    };
    let mut block = Block::table("[control]");
    block.above.push(format!("{}: [{}]", reader.report.place(section.place), section.name));
    block.remark("the socket is /run/taskmaster/control.sock, and speaks another language: use taskmasterctl");
    remarks(&mut reader, &mut block, "control is by the user and group of a client, and by [[control.allow]]");
    let is_other = |account: &Account| !account.is_root();
    let group = group.filter(|group| is_other(group) && mode & 0o020 != 0);
    let user = user.filter(is_other);
    let mut blocks = Vec::new();
    if has_password {
        reader.note("username", "passwords are not carried over; who may do what is said in [[control.allow]]");
    } else if let Some(group) = &group {
        block.set("group", string(&group.to_string()));
        block.set("mode", "\"0660\"");
        let mut rule = rule("groups", &group.to_string());
        rule.above.push("This group could control supervisord, and can control Taskmaster.".to_owned());
        blocks.push(rule);
    }
    if let Some(user) = user.filter(|_| !has_password) {
        let text = format!(
            "[{}] chown: the user {user} could control supervisord; give them a rule in [[control.allow]]",
            section.name
        );
        reader.report.note(reader.place("chown"), &text);
    }
    blocks.insert(0, block);
    blocks
}

fn account(text: &str) -> Option<Account> {
    Account::parse(strip(text)).ok()
}

fn rule(whom: &str, name: &str) -> Block {
    let mut block = Block::table("[[control.allow]]");
    block.set(whom, strings([name]));
    block.set("programs", "[\"*\"]");
    let verbs = Verb::ALL.iter().map(|verb| verb.name());
    block.set("verbs", strings(verbs));
    block
}

/// Every option of the section as a comment.
fn remarks(reader: &mut Reader<'_, '_>, block: &mut Block, why: &str) {
    for (name, value) in reader.ini.options(reader.section) {
        block.remark(format!("{name} = {}", shown(name, &value.text)));
    }
    let text = format!("[{}]: {why}", reader.section.name);
    reader.report.note(reader.section.place, &text);
}

/// Sections that are for other programs than ours, or that nobody knows.
pub fn other(ini: &Ini, section: &Section, report: &mut Report) -> Option<Block> {
    let kind = section.name.split(':').next().unwrap_or_default();
    let why = match kind {
        "inet_http_server" => "there is no control over the network; over SSH: `ssh HOST taskmasterctl status`",
        "unix_http_server" => "there is one control socket",
        "supervisorctl" => "taskmasterctl finds the socket by itself; -s or TASKMASTER_SOCKET names another",
        "rpcinterface" if section.name == "rpcinterface:supervisor" => "varlink takes the place of XML-RPC",
        "rpcinterface" => "varlink takes the place of XML-RPC, and there are no plug-ins",
        "ctlplugin" => "taskmasterctl has no plug-ins",
        "include" => return None,
        _ => "supervisord does not know this section either",
    };
    let mut block = Block::default();
    block.above.push(format!("{}: [{}]: {why}", report.place(section.place), section.name));
    for (name, value) in ini.options(section) {
        block.remark(format!("{name} = {}", shown(name, &value.text)));
    }
    report.note(section.place, &format!("[{}]: {why}", section.name));
    Some(block)
}
