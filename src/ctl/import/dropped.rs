//! Options that ours has no counterpart for: each is kept as a comment where it stood, and told.
#![forbid(unsafe_code)]

use serde_json::Value as Json;

use super::document::{Block, string};
use super::scope::Reader;
use super::values;
use crate::model::settings::{HIDDEN, hidden, is_called_secret};

/// What kind of section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Program,
    Fcgi,
    Listener,
}

/// Options of programs that are read elsewhere.
const CARRIED: [&str; 27] = [
    "command",
    "process_name",
    "numprocs",
    "numprocs_start",
    "priority",
    "autostart",
    "autorestart",
    "startsecs",
    "startretries",
    "exitcodes",
    "stopsignal",
    "stopwaitsecs",
    "stopasgroup",
    "killasgroup",
    "user",
    "directory",
    "umask",
    "environment",
    "redirect_stderr",
    "stdout_logfile",
    "stdout_logfile_maxbytes",
    "stdout_logfile_backups",
    "stderr_logfile",
    "stderr_logfile_maxbytes",
    "stderr_logfile_backups",
    "stdout_syslog",
    "stderr_syslog",
];

const EVENTS: &str = "output is written to files; no events are made of it";

/// What each of the others was for, and what there is instead.
const DROPPED: [(&str, &str); 12] = [
    ("serverurl", "programs do not talk to the supervisor"),
    ("stdout_capture_maxbytes", EVENTS),
    ("stderr_capture_maxbytes", EVENTS),
    ("stdout_events_enabled", EVENTS),
    ("stderr_events_enabled", EVENTS),
    ("socket", "Taskmaster opens no sockets for programs"),
    ("socket_backlog", "Taskmaster opens no sockets for programs"),
    ("socket_owner", "Taskmaster opens no sockets for programs"),
    ("socket_mode", "Taskmaster opens no sockets for programs"),
    ("events", "there are no event listeners; `taskmasterctl events -f --json` has the events"),
    ("buffer_size", "there are no event listeners"),
    ("result_handler", "there are no event listeners"),
];

/// What supervisord itself would not start without.
pub fn check_required(reader: &mut Reader<'_, '_>, kind: Kind) {
    let required = match kind {
        Kind::Program => return,
        Kind::Fcgi => "socket",
        Kind::Listener => "events",
    };
    if reader.raw(required).is_none_or(|value| value.text.is_empty()) {
        reader.fault(required, "there is none, and supervisord would not start");
    }
}

/// Says above a table why it is only a comment.
pub fn explain(reader: &mut Reader<'_, '_>, kind: Kind, block: &mut Block) {
    let (words, short) = match kind {
        Kind::Program => return,
        Kind::Fcgi => (
            "It got a listening socket as standard input. Taskmaster opens none: let the program open its own\n\
             (PHP-FPM's `listen`, spawn-fcgi -s PATH -n -- PROGRAM), then take away the `#` before these lines.",
            "the program gets its socket from supervisord; it was left as a comment",
        ),
        Kind::Listener => (
            "An event listener. Mail, webhooks and syslog are built in ([notify], taskmaster.toml(5)); other\n\
             things can be done by a program that reads `taskmasterctl events -f --json`.",
            "an event listener; it was left as a comment: see [notify]",
        ),
    };
    block.is_comment = true;
    block.above.extend(words.lines().map(|line| line.trim().to_owned()));
    let text = format!("[{}]: {short}", reader.section.name);
    reader.report.note(reader.section.place, &text);
}

/// Keeps the options that have no counterpart as comments of the table.
pub fn write(reader: &mut Reader<'_, '_>, kind: Kind, block: &mut Block) {
    let options: Vec<(String, String)> =
        reader.ini.options(reader.section).map(|(name, value)| (name.clone(), value.text.clone())).collect();
    for (name, value) in options {
        if CARRIED.contains(&name.as_str()) || is_as_good_as_absent(&name, &value) {
            continue;
        }
        let known = DROPPED.iter().find(|(known, _)| *known == name).map(|(_, why)| *why);
        let why = known.unwrap_or("supervisord does not know it either");
        block.remark(format!("{name} = {}   ({why})", shown(&name, &value)));
        if kind == Kind::Program {
            reader.note(&name, why);
        }
    }
}

/// What changes nothing where it says what is so anyway.
fn is_as_good_as_absent(name: &str, value: &str) -> bool {
    match name {
        "serverurl" => value.trim().eq_ignore_ascii_case("auto"),
        name if name.ends_with("_events_enabled") => values::boolean(value) == Some(false),
        name if name.ends_with("_capture_maxbytes") => values::size(value) == Some(0),
        _ => false,
    }
}

/// A value for a comment, on one line and without what may be a secret.
pub fn shown(name: &str, value: &str) -> String {
    // A URL may have both in it.
    let has_user = value.contains("://") && value.contains('@');
    if is_called_secret(name) || name == "username" || has_user {
        return HIDDEN.to_owned();
    }
    match hidden("", Json::String(value.to_owned())) {
        Json::String(text) if text.contains(['\n', '\t']) => string(&text),
        Json::String(text) => text,
        _ => HIDDEN.to_owned(),
    }
}
