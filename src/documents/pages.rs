//! The four man pages.

use clap::{Arg, Command};

use super::events::{FACTS, meaning};
use super::man::Page;
use crate::config::reference::{Row, SECTIONS};
use crate::ctl::command::command_line;
use crate::model::event::Kind;
use crate::supervisor::options::HELP;

const CONFIG_FILE: &str = "/etc/taskmaster/taskmaster.toml";

/// An option of `taskmasterd` as its help shows it.
pub struct DaemonOption {
    pub tag: String,
    pub text: String,
}

/// The lines of `taskmasterd --help` that begin with an option, with those that go on below.
pub fn daemon_options() -> Vec<DaemonOption> {
    let mut options: Vec<DaemonOption> = Vec::new();
    for line in HELP.lines().skip_while(|line| !line.starts_with("  -")).take_while(|line| !line.is_empty()) {
        if line.trim_start().starts_with('-') {
            let (tag, text) = line.trim().split_once("   ").expect("an option and its meaning");
            options.push(DaemonOption { tag: tag.to_owned(), text: text.trim().to_owned() });
        } else if let Some(last) = options.last_mut() {
            last.text += &format!(" {}", line.trim());
        }
    }
    options
}

pub fn taskmasterd() -> String {
    let (what, rest) = HELP.split_once("\n\n").expect("a first line");
    let mut page = Page::new("taskmasterd", 8, &without_dot(what));
    page.section("SYNOPSIS");
    let forms = rest.lines().take_while(|line| !line.is_empty());
    let forms: Vec<(&str, &str)> = forms
        .map(|line| line.trim_start_matches("Usage:").trim().split_once("     ").unwrap_or((line, "")))
        .map(|(form, words)| (form.trim(), words.trim()))
        .map(|(form, words)| if words.is_empty() { split_wide(form) } else { (form, words) })
        .collect();
    for (form, words) in &forms {
        page.item(&format!("`{form}`"), words);
    }
    page.section("DESCRIPTION");
    page.paragraph(
        "Started as root, it runs each configured program as its own service account, keeps it alive, and tells \
         people when it is not. It stays in the foreground. On a terminal it opens a control shell there; \
         `taskmasterctl` controls it from elsewhere.",
    );
    page.section("OPTIONS");
    for option in daemon_options() {
        page.item(&format!("`{}`", option.tag), &option.text);
    }
    page.section("SIGNALS");
    let signals = HELP.split_once("Signals: ").expect("its signals").1;
    page.paragraph(signals.trim().replace('\n', " ").as_str());
    page.section("EXIT STATUS");
    page.item("0", "All programs have ended, and so did it.");
    page.item("1", "It could not start, or programs survived the shutdown.");
    page.item("2", "The configuration or the command line has faults.");
    page.section("FILES");
    page.item(&format!("`{CONFIG_FILE}`"), "The configuration: `taskmaster.toml`(5).");
    page.item("`/run/taskmaster/control.sock`", "The control socket.");
    page.item("`/var/log/taskmaster`", "Output of programs, and `events.log`: `taskmaster-events`(7).");
    page.item("`/var/lib/taskmaster`", "Alerts that wait, silences, the history of the shell.");
    see_also(&mut page, &["taskmasterctl(1)", "taskmaster.toml(5)", "taskmaster-events(7)"]);
    page.finish()
}

/// At the first run of several spaces.
fn split_wide(line: &str) -> (&str, &str) {
    line.split_once("  ").map_or((line, ""), |(form, words)| (form.trim(), words.trim()))
}

fn without_dot(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn see_also(page: &mut Page, others: &[&str]) {
    page.section("SEE ALSO");
    let named = |other: &&str| {
        let (name, section) = other.split_once('(').expect("a section");
        format!("`{name}`({section}")
    };
    page.paragraph(&others.iter().map(named).collect::<Vec<_>>().join(", "));
}

pub fn taskmasterctl() -> String {
    let table = command_line();
    let about = table.get_about().map(ToString::to_string).unwrap_or_default();
    let what = about.split(". ").next().unwrap_or_default();
    let mut page = Page::new("taskmasterctl", 1, &without_dot(what));
    page.section("SYNOPSIS");
    page.paragraph("`taskmasterctl` [`-s` SOCKET] [`--json`] [COMMAND ...]");
    page.section("DESCRIPTION");
    page.paragraph(&format!("{about}."));
    page.paragraph(
        "Not on a terminal, `status`, `start`, `stop`, `restart`, `signal`, `clear`, `reread`, `update`, `add`, `remove` \
         and `avail` print line for line what supervisorctl prints. In the shell several commands stand in one line with `;` between them.",
    );
    page.section("OPTIONS");
    arguments(&mut page, &table);
    page.section("COMMANDS");
    commands(&mut page, &table);
    let after = table.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (selectors, codes) = after.split_once("Exit codes: ").expect("the exit codes");
    page.section("SELECTORS");
    page.paragraph(selectors.trim());
    page.section("EXIT STATUS");
    for code in codes.replace('\n', " ").trim_end_matches('.').split(", ") {
        let (number, words) = code.trim().split_once(' ').expect("a code and its meaning");
        page.item(number, words);
    }
    page.section("ENVIRONMENT");
    page.item("`TASKMASTER_SOCKET`", "The supervisor's socket, where `-s` names none.");
    page.item("`NO_COLOR`", "No colour on a terminal either.");
    see_also(&mut page, &["taskmasterd(8)", "taskmaster.toml(5)", "taskmaster-events(7)"]);
    page.finish()
}

/// How a command is written: `tail [OPTIONS] <SEL> [stdout|stderr]`.
pub fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().trim_start_matches("taskmasterctl").trim();
    let words = usage.split_whitespace().filter(|word| *word != "[OPTIONS]");
    let options = own_arguments(command).filter(|argument| !argument.is_positional()).map(option);
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    // Behind the name of the command.
    let at = words.iter().position(|word| word.starts_with(['<', '['])).unwrap_or(words.len());
    words.splice(at..at, options.map(|option| format!("[{option}]")));
    words.join(" ")
}

/// `-n N`, or the long form where there is no short one.
fn option(argument: &Arg) -> String {
    let name = match (argument.get_short(), argument.get_long()) {
        (Some(short), _) => format!("-{short}"),
        (None, long) => format!("--{}", long.unwrap_or_default()),
    };
    if argument.get_action().takes_values() { format!("{name} {}", value_names(argument)) } else { name }
}

fn value_names(argument: &Arg) -> String {
    argument.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
}

/// Those that belong to this command alone.
fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_own = |argument: &&Arg| {
        !argument.is_hide_set()
            && !argument.is_global_set()
            && !matches!(argument.get_id().as_str(), "help" | "version")
    };
    command.get_arguments().filter(is_own)
}

/// A command and its commands, with the words before them.
pub fn visible(table: &Command) -> Vec<&Command> {
    let all = table.get_subcommands().filter(|sub| !sub.is_hide_set());
    all.flat_map(|sub| if sub.has_subcommands() { visible(sub) } else { vec![sub] }).collect()
}

fn commands(page: &mut Page, table: &Command) {
    for command in visible(table) {
        page.subsection(&usage(command));
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        page.paragraph(&format!("{about}."));
        arguments(page, command);
    }
}

fn arguments(page: &mut Page, command: &Command) {
    let shown = |argument: &&Arg| {
        let is_the_tables = command.get_name() == "taskmasterctl";
        !argument.is_hide_set() && (is_the_tables || !argument.is_global_set() && argument.get_id() != "help")
    };
    for argument in command.get_arguments().filter(shown) {
        let tag = if argument.is_positional() {
            value_names(argument)
        } else {
            let forms = [argument.get_short().map(|c| format!("-{c}")), argument.get_long().map(|l| format!("--{l}"))];
            let forms: Vec<String> = forms.into_iter().flatten().map(|form| format!("`{form}`")).collect();
            let value = if argument.get_action().takes_values() { value_names(argument) } else { String::new() };
            format!("{} {value}", forms.join(", ")).trim_end().to_owned()
        };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let defaults = argument.get_default_values();
        let is_told = defaults.is_empty() || argument.is_hide_default_value_set();
        let default = defaults.iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let default = if is_told || !argument.get_action().takes_values() {
            String::new()
        } else {
            format!(" [default: {default}]")
        };
        page.item(&tag, &format!("{help}{default}"));
    }
}

pub fn configuration() -> String {
    let mut page = Page::new("taskmaster.toml", 5, "the configuration of taskmasterd");
    page.section("DESCRIPTION");
    page.paragraph(&format!(
        "`{CONFIG_FILE}`, in TOML; for an ordinary user `$XDG_CONFIG_HOME/taskmaster/taskmaster.toml` comes first. It \
         belongs to root or the user who starts the supervisor, and nobody else can write it. `taskmasterd check` \
         tells every fault at once; `taskmasterctl reload` applies a changed file, and one with a fault changes \
         nothing."
    ));
    page.paragraph(
        "In `cmd`, `env`, `workingdir`, `stdout`, `stderr` and `restrict_paths` are filled in: `${program}`, \
         `${process}`, `${instance}`, `${instance:02}`, `${host}`, `${user}`, `${home}`, `${env:NAME}`; `$$` is a \
         dollar, any other `$` is itself.",
    );
    for section in SECTIONS {
        page.section(section.name);
        page.paragraph(section.about);
        for row in section.rows {
            page.item(&keys(row), &described(row));
        }
    }
    page.section("RESTRICTED PATHS");
    page.paragraph(
        "`restrict_paths` leaves a program, and all it starts, these files and directories with all beneath them. A \
         path that begins with `-` may be missing.",
    );
    page.item("`read`", "Files are read, directories listed.");
    page.item("`write`", "The same, and files are written, made, removed, renamed, sockets connected to.");
    page.item("`execute`", "Files are read and executed: the command, its interpreter, its loader and libraries.");
    page.item(
        "`on_unsupported`",
        "`\"refuse\"`: without a kernel that enforces it the start fails. `\"best-effort\"`: it starts with what the \
         kernel can do, and each start is a `process.unrestricted` event. Default: `\"refuse\"`.",
    );
    page.section("EXAMPLE");
    page.lines(
        "[supervisor]\nlog_dir = \"/var/log/taskmaster\"\n\n[programs.web]\ncmd = \"/usr/local/bin/web --port 8080\"\n\
         user = \"www-data\"\nnumprocs = 2\nstoptime = 20\nenv = { STARTED_BY = \"taskmaster\" }",
    );
    see_also(&mut page, &["taskmasterd(8)", "taskmasterctl(1)", "taskmaster-events(7)"]);
    page.finish()
}

/// The keys of a row as Markdown.
pub fn keys(row: &Row) -> String {
    let keys: Vec<String> = row.keys.iter().map(|(key, _)| format!("`{key}`")).collect();
    let only = row.only.map(|place| format!(" ({place})")).unwrap_or_default();
    format!("{}{only}", keys.join(", "))
}

/// What a row says, in sentences.
pub fn described(row: &Row) -> String {
    let meaning = capitalised(row.meaning);
    match row.default {
        "" => format!("{meaning}."),
        needed if needed.contains("required") => format!("{meaning}. {}.", capitalised(needed)),
        default => format!("{meaning}. Default: {default}."),
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

pub fn events() -> String {
    let mut page = Page::new("taskmaster-events", 7, "what happens to programs, as taskmasterd tells it");
    page.section("DESCRIPTION");
    page.paragraph(
        "Each event is one line in `event_log`, a message to syslog where that is configured, and what rules of \
         alerts are about. `taskmasterctl events` shows the last ones. As text:",
    );
    page.lines(
        "2026-11-20T08:12:03.123Z ERROR process.crashed web:0 pid=123 user=www-data signal=SEGV core=yes uptime=3.2s \
         restarts=1",
    );
    page.paragraph(
        "With `event_log_format = \"json\"` each is one JSON object in a line. A value as text that has spaces, \
         quotes or `=` in it is in double quotes, with backslash escapes.",
    );
    page.section("KINDS");
    for kind in Kind::ALL {
        let severity = serde_json::to_value(kind.severity()).expect("a word");
        page.item(&format!("`{kind}` ({})", severity.as_str().expect("a word")), meaning(*kind));
    }
    page.section("FACTS");
    page.paragraph("Each only where it applies, in JSON under these names:");
    for (name, words) in FACTS {
        page.item(&format!("`{name}`"), &format!("{words}."));
    }
    see_also(&mut page, &["taskmasterd(8)", "taskmasterctl(1)", "taskmaster.toml(5)"]);
    page.finish()
}

#[test]
fn every_fact_of_an_event_is_told() {
    let described = crate::protocol::control::DESCRIPTION.split("type Event (").nth(1).expect("the type");
    let described = described.split(')').next().expect("its end").split(',');
    let mut fields: Vec<&str> = described.filter_map(|field| Some(field.split_once(':')?.0.trim())).collect();
    let mut told = FACTS.map(|(name, _)| name).to_vec();
    fields.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, fields);
}
