//! What each key of the configuration means: the README's tables, taskmaster.toml(5) and the annotated
//! `etc/taskmaster.toml` are made from this one. That no key is missing, that every value is accepted and that
//! every default is true is tested.
//!
//! Texts are Markdown with backquotes only.
#![forbid(unsafe_code)]

mod notify;
mod program;
#[cfg(test)]
mod tests;

pub use notify::NOTIFY;

/// The keys of one table.
pub struct Section {
    /// `[programs.NAME] and [defaults]`
    pub name: &'static str,
    /// The header under which its values can be tried: `[programs.web]`
    pub header: &'static str,
    /// What stands over the column of keys.
    pub heading: &'static str,
    pub about: &'static str,
    pub rows: &'static [Row],
}

/// Keys that are told together.
pub struct Row {
    /// Each with a value: its default, where that is always the same, else one that can be.
    pub keys: &'static [(&'static str, &'static str)],
    /// Where only they have a meaning.
    pub only: Option<&'static str>,
    /// Of several keys in their order, with commas between.
    pub default: &'static str,
    pub meaning: &'static str,
}

const fn row(keys: &'static [(&'static str, &'static str)], default: &'static str, meaning: &'static str) -> Row {
    Row { keys, only: None, default, meaning }
}

impl Row {
    const fn only(self, place: &'static str) -> Self {
        Self { only: Some(place), ..self }
    }
}

pub const SECTIONS: [&Section; 10] = [
    &TOP,
    &SUPERVISOR,
    &CONTROL,
    &ALLOW,
    &program::PROGRAMS,
    &notify::NOTIFY,
    &notify::EMAIL,
    &notify::WEBHOOK,
    &notify::SYSLOG,
    &notify::RULES,
];

const TOP: Section = Section {
    name: "at the top of the file",
    header: "",
    heading: "at the top",
    about: "Before the first table.",
    rows: &[row(
        &[("include", "[\"conf.d/*.toml\"]")],
        "",
        "more files to read: patterns, relative to this file. These include none themselves",
    )],
};

const SUPERVISOR: Section = Section {
    name: "[supervisor]",
    header: "[supervisor]",
    heading: "`[supervisor]`",
    about: "Where the supervisor has its files. Directories that are not there are made.",
    rows: &[
        row(
            &[("log_dir", "\"/var/log/taskmaster\"")],
            "`\"/var/log/taskmaster\"`",
            "where `stdout = \"auto\"` puts files; for an ordinary user `$XDG_STATE_HOME/taskmaster`",
        ),
        row(
            &[("event_log", "\"/var/log/taskmaster/events.log\"")],
            "`events.log` in `log_dir`",
            "every event, one a line",
        ),
        row(&[("event_log_format", "\"text\"")], "`\"text\"`", "`\"json\"`: one object a line"),
        row(
            &[("state_dir", "\"/var/lib/taskmaster\"")],
            "`\"/var/lib/taskmaster\"`",
            "alerts that wait, silences, history of the shell; for an ordinary user \
                      `$XDG_STATE_HOME/taskmaster`",
        ),
        row(
            &[("runtime_dir", "\"/run/taskmaster\"")],
            "`\"/run/taskmaster\"`",
            "control socket and lock; for an ordinary user `$XDG_RUNTIME_DIR/taskmaster`",
        ),
        row(&[("shutdown_timeout", "30")], "30", "after so long a shutdown tells what has not ended"),
        row(&[("remember", "false")], "false", "what is started or stopped by hand stays so over a restart"),
    ],
};

const CONTROL: Section = Section {
    name: "[control]",
    header: "[control]",
    heading: "`[control]`",
    about: "Who can connect to the control socket.",
    rows: &[
        row(
            &[("socket", "\"/run/taskmaster/control.sock\"")],
            "`control.sock` in `runtime_dir`",
            "its path, of at most 107 bytes",
        ),
        row(
            &[("mode", "\"0660\"")],
            "`\"0660\"`",
            "of the socket, in octal; with `\"0666\"` everybody connects and the rules are the gate",
        ),
        row(&[("group", "\"taskmaster\"")], "the supervisor's", "of the socket: a name or a number"),
    ],
};

const ALLOW: Section = Section {
    name: "[[control.allow]]",
    header: "[[control.allow]]",
    heading: "`[[control.allow]]`",
    about: "Who besides root and the supervisor's own user may do what. The rules add up.",
    rows: &[
        row(
            &[("users", "[\"alice\"]"), ("groups", "[\"deploy\"]")],
            "one is required",
            "for whom it is: names or numbers",
        ),
        row(&[("programs", "[\"*\"]")], "`[\"*\"]`", "globs over names of programs and `group_name`s"),
        row(
            &[("verbs", "[\"status\", \"tail\", \"restart\"]")],
            "required",
            "what they may do: `status`, `start`, `stop`, `restart`, `signal`, `tail`, `attach`, `clear`, `notify`, `config`, `reload`, `reopen`, \
         `shutdown`, `version`",
        ),
    ],
};
