//! Examples for `help COMMAND`: each is a line of the shell, and behind `taskmasterctl` a command line.
#![forbid(unsafe_code)]

/// A line and what it does, per command.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "status",
        &[
            ("status", "everything"),
            ("status web:0", "one process in detail"),
            ("status --watch 'web*'", "a live screen of all whose name begins with web"),
        ],
    ),
    ("security", &[("security", "a line for each program"), ("security web", "all about one")]),
    ("start", &[("start web db", "and wait until both run"), ("start --timeout 30s all", "but not longer")]),
    ("stop", &[("stop web:1", "one process of web"), ("stop --no-wait all", "give the order only")]),
    (
        "restart",
        &[
            ("restart web", "all of web at once"),
            ("restart --rolling web", "one after the other, up to the first that fails"),
        ],
    ),
    ("signal", &[("signal HUP web", "to the main process of each"), ("signal USR1 'web:*'", "the same")]),
    ("reload", &[("reload --dry-run", "what would happen"), ("reload", "and then it happens")]),
    (
        "tail",
        &[
            ("tail -f web:0", "go on with what it writes"),
            ("tail -n 100 db stderr", "the last 100 lines"),
            ("tail -f web db both", "both outputs of all of them, each line with its name"),
        ],
    ),
    (
        "attach",
        &[
            ("attach web:0", "its screen and keyboard here; ctrl-] d leaves it"),
            ("attach --read-only web:0", "only look"),
            ("attach --detach-keys ctrl-p,ctrl-q db", "leave it with other keys"),
        ],
    ),
    ("reread", &[("reread", "the programs that `update` would touch")]),
    ("update", &[("update", "as `reload`"), ("update web db", "of these programs only")]),
    ("add", &[("add web", "and nothing else of what has changed in the files")]),
    ("remove", &[("remove web", "which is stopped, until it is added again")]),
    ("avail", &[("avail", "also those that are not in force")]),
    ("clear", &[("clear web", "both outputs of all of web"), ("clear --stderr all", "what all have complained of")]),
    ("pid", &[("pid", "the supervisor's"), ("pid web", "one a line, 0 for what does not run")]),
    ("events", &[("events", "the last ones"), ("events -f --json", "and those to come, for a script")]),
    (
        "notify",
        &[
            ("notify test", "on all channels"),
            ("notify silence web 2h new disks", "no alerts about web for two hours"),
            ("notify unsilence web", "again"),
        ],
    ),
    (
        "config",
        &[
            ("config", "what is not built in, with its file and line"),
            ("config web", "all values of web, and what the file on disk says instead"),
        ],
    ),
    ("check", &[("check /etc/taskmaster/taskmaster.toml", "every fault at once; nothing changes")]),
    (
        "import",
        &[
            (
                "import /etc/supervisor/supervisord.conf",
                "the configuration on standard output, what is not in it on standard error",
            ),
            ("import programs.yaml", "the same for a map of programs"),
        ],
    ),
    ("reopen", &[("reopen", "after logrotate has moved the files")]),
    ("version", &[("version", "of the supervisor that runs")]),
    ("help", &[("help restart", "one command"), ("help", "all of them")]),
    ("shutdown", &[("shutdown", "programs first, in order")]),
];

/// With examples below the help of each command that has some.
pub fn add_to(table: clap::Command) -> clap::Command {
    EXAMPLES.iter().fold(table, |table, (name, lines)| {
        let is_there = table.find_subcommand(name).is_some();
        if is_there { table.mut_subcommand(name, |command| command.after_help(text(lines))) } else { table }
    })
}

fn text(lines: &[(&str, &str)]) -> String {
    let wide = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let each = lines.iter().map(|(line, what)| format!("\n  {line:wide$}  {what}"));
    format!("Examples:{}", each.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::command;

    #[test]
    fn every_command_has_examples_and_each_is_a_command() {
        let table = command::shell_command();
        for command in table.get_subcommands().filter(|command| command.get_name() != "exit") {
            assert!(EXAMPLES.iter().any(|(name, _)| *name == command.get_name()), "{}", command.get_name());
        }
        for (name, lines) in EXAMPLES {
            for (line, _) in *lines {
                let words = command::split_line(line).expect("words");
                assert_eq!((words.len(), words[0][0].as_str()), (1, *name));
                assert!(command::parse_shell(&words[0]).is_ok(), "{line}");
                let words: Vec<std::ffi::OsString> = words[0].iter().map(Into::into).collect();
                assert!(command::parse_command_line(&words).is_ok(), "{line}");
            }
        }
    }
}
