//! A `[program:x]`, `[fcgi-program:x]` or `[eventlistener:x]` → one table, or one for each process where
//! ours has no way to write them as one.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::document::{Block, key, string};
use super::dropped::{self, Kind};
use super::expand::{self, Known, open_names, written};
use super::ini::{Ini, Section, strip};
use super::logs::{self, Log, Target};
use super::names;
use super::report::Report;
use super::scope::{Reader, Scope, Use};
use super::{Surroundings, values, words};
use crate::model::id::Account;
use crate::model::program::NUMPROCS_MAX;

/// A section with what others say of it.
pub struct Member<'a> {
    pub kind: Kind,
    pub section: &'a Section,
    /// Behind the colon.
    pub name: String,
    /// The `[group:x]` that it is in, and that group's priority.
    pub group: Option<(String, Option<i64>)>,
}

/// What all programs share.
pub struct Whole<'a> {
    pub ini: &'a Ini,
    pub around: &'a Surroundings,
    pub here: &'a str,
    pub set: &'a BTreeMap<String, String>,
    /// What relative paths begin at.
    pub base: &'a str,
    /// `[supervisord] user`.
    pub user: Option<&'a str>,
    pub taken: BTreeSet<String>,
    /// Where our own events go.
    pub event_log: String,
    /// Log files with the user who writes there.
    pub writers: BTreeMap<String, String>,
    /// Variables that the supervisor must have.
    pub needed: BTreeSet<String>,
    /// Programs that named no user.
    pub root: Vec<String>,
    /// Some program is stopped as supervisord does by default: its main process only.
    pub stops_main_only: bool,
}

/// A table of our configuration.
pub struct Table {
    pub group: Option<String>,
    /// Where `group_name` goes in the block.
    pub group_at: usize,
    pub block: Block,
    pub env: Option<Block>,
}

/// Which of a program's processes a table is for.
#[derive(Clone, Copy, PartialEq)]
enum Instance {
    /// All of them: the number stays open.
    All,
    One(i64),
}

/// The options that each process has on its own.
struct Process {
    name: String,
    command: Option<String>,
    environment: Vec<(String, String)>,
    directory: Option<String>,
    stdout: Log,
    stderr: Log,
}

impl Process {
    /// All in which something can be left open.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let Self { command, directory, stdout, stderr, .. } = self;
        let values = self.environment.iter().map(|(_, value)| value.as_str());
        [command.as_deref(), directory.as_deref(), stdout.path(), stderr.path()].into_iter().flatten().chain(values)
    }
}

/// The most processes of one program.
const MANY: i64 = NUMPROCS_MAX as i64;
/// Ten years, as everywhere in our configuration.
const SECONDS_MAX: i64 = 3650 * 86_400;

/// The tables of a section.
pub fn convert(member: &Member<'_>, whole: &mut Whole<'_>, report: &mut Report) -> Vec<Table> {
    let group = member.group.as_ref().map_or(&member.name, |(name, _)| name);
    let names = BTreeMap::from([
        ("here", Known::Text(whole.here.to_owned())),
        ("program_name", Known::Text(member.name.clone())),
        ("group_name", Known::Text(group.clone())),
        ("host_node_name", Known::Open("host".to_owned())),
    ]);
    let scope = Scope { around: whole.around, set: whole.set, own: BTreeMap::new(), names };
    let mut reader = Reader { ini: whole.ini, section: member.section, scope, report, needs_number: Cell::new(false) };
    let numprocs = reader.parsed("numprocs", "a number", values::integer).unwrap_or(1);
    let start = reader.parsed("numprocs_start", "a number", values::integer).unwrap_or(0);
    if numprocs > 1 && !reader.raw("process_name").is_some_and(|name| name.text.contains("%(process_num)")) {
        reader.fault(
            "process_name",
            "with several processes it needs %(process_num)d in it, or supervisord would not start",
        );
        return Vec::new();
    }
    if numprocs > MANY || !(0..=i64::from(u32::MAX)).contains(&start) {
        reader.fault("numprocs", &format!("a program has at most {MANY} processes, numbered from 0 upwards"));
        return Vec::new();
    }
    if numprocs < 1 {
        reader.note("numprocs", "the program has no process, and was left out");
        return Vec::new();
    }
    let mut shared = Shared::read(&mut reader, member, whole);
    let number = |reader: &mut Reader<'_, '_>, known| {
        reader.scope.names.insert("process_num", known);
        reader.scope.names.insert("numprocs", Known::Number(numprocs));
        process(reader, whole.base)
    };
    if numprocs > 1 && start == 0 {
        let all = number(&mut reader, Known::Instance);
        if !reader.needs_number.get() {
            shared.numprocs = Some(numprocs);
            return vec![shared.table(&mut reader, member, whole, &all, Instance::All)];
        }
    }
    let mut tables = Vec::new();
    let faults = reader.report.faults.len();
    for instance in start..start + numprocs {
        let one = number(&mut reader, Known::Number(instance));
        let instance = if numprocs == 1 { Instance::All } else { Instance::One(instance) };
        tables.push(shared.table(&mut reader, member, whole, &one, instance));
        // The same fault again for every other process helps nobody.
        if reader.report.faults.len() > faults {
            break;
        }
    }
    tables
}

fn process(reader: &mut Reader<'_, '_>, base: &str) -> Process {
    reader.scope.own.clear();
    let environment = match reader.open("environment", Use::Pairs).map(|text| words::variables(&text)) {
        Some(Ok(variables)) => variables,
        Some(Err(reason)) => {
            reader.fault("environment", reason);
            Vec::new()
        }
        None => Vec::new(),
    };
    reader.scope.own = environment.iter().cloned().collect();
    let directory = reader.open("directory", Use::Whole);
    let stdout = logs::read(reader, "stdout", base);
    let stderr = logs::read(reader, "stderr", base);
    let command = reader.open("command", Use::Words);
    let name = match reader.raw("process_name") {
        Some(_) => reader.open("process_name", Use::Whole).unwrap_or_default(),
        None => String::new(),
    };
    Process { name: strip(&name).to_owned(), command, environment, directory, stdout, stderr }
}

/// What is the same for all processes of a program.
struct Shared {
    user: String,
    named_user: bool,
    priority: Option<i64>,
    numprocs: Option<i64>,
    watch: Vec<(&'static str, String)>,
    redirect: bool,
    umask: Option<u32>,
    kill_mode: Option<&'static str>,
}

impl Shared {
    fn read(reader: &mut Reader<'_, '_>, member: &Member<'_>, whole: &mut Whole<'_>) -> Self {
        let own = reader.parsed("user", "a user's name or number", |text| Account::parse(strip(text)).ok());
        let user = match &own {
            Some(account) if account.is_root() => "root".to_owned(),
            Some(account) => account.to_string(),
            None => whole.user.unwrap_or("root").to_owned(),
        };
        let within = |number: i64| number.to_string();
        let mut watch = Vec::new();
        let mut add = |key, value: Option<String>| watch.extend(value.map(|value| (key, value)));
        let boolean = |value: Option<bool>| value.map(|value| value.to_string());
        add("autostart", boolean(reader.parsed("autostart", "true or false", values::boolean)));
        let restart = reader.parsed("autorestart", "true, false or unexpected", values::autorestart);
        add("autorestart", restart.map(string));
        let codes = reader.parsed("exitcodes", "a list of exit codes", values::exit_codes);
        add(
            "exitcodes",
            codes.map(|codes| format!("[{}]", codes.iter().map(i64::to_string).collect::<Vec<_>>().join(", "))),
        );
        add("starttime", reader.number("startsecs", 0, SECONDS_MAX).map(within));
        add("startretries", reader.number("startretries", 0, 1_000_000).map(within));
        let signal = reader.parsed("stopsignal", "the name or number of a signal", values::signal);
        add("stopsignal", signal.map(|signal| string(&signal)));
        add("stoptime", reader.number("stopwaitsecs", 0, SECONDS_MAX).map(within));
        let umask = reader.parsed("umask", "an octal number", values::octal);
        let stop = reader.parsed("stopasgroup", "true or false", values::boolean).unwrap_or(false);
        let kill = reader.parsed("killasgroup", "true or false", values::boolean);
        if stop && kill == Some(false) {
            reader.fault("killasgroup", "with stopasgroup=true it cannot be false, or supervisord would not start");
        }
        let group = stop || kill.unwrap_or(false);
        if group && !stop {
            reader.note("killasgroup", "`kill_mode = \"group\"` sends the stop signal to the whole group, too");
        }
        whole.stops_main_only |= !group && member.kind == Kind::Program;
        let redirect = reader.parsed("redirect_stderr", "true or false", values::boolean).unwrap_or(false);
        let priority = reader.number("priority", i64::from(i32::MIN), i64::from(i32::MAX));
        let priority = match (&member.group, priority) {
            (Some((_, Some(of_group))), Some(own)) if *of_group != own => {
                reader.note("priority", &format!("{own} inside its group became the group's, {of_group}"));
                Some(*of_group)
            }
            (Some((_, of_group @ Some(_))), _) => *of_group,
            (_, own) => own.or((member.kind == Kind::Listener).then_some(-1)),
        };
        dropped::check_required(reader, member.kind);
        Self {
            named_user: own.is_some(),
            user,
            priority,
            numprocs: None,
            watch,
            redirect,
            umask: umask.map(|mask| mask & 0o777),
            kill_mode: group.then_some("group"),
        }
    }

    /// The table of these settings and of what a process has on its own.
    fn table(
        &self,
        reader: &mut Reader<'_, '_>,
        member: &Member<'_>,
        whole: &mut Whole<'_>,
        process: &Process,
        instance: Instance,
    ) -> Table {
        let wish = if instance == Instance::All { &member.name } else { &process.name };
        let wish = expand::closed(wish, &|name| reader.scope.value_of(name)).unwrap_or_else(|_| wish.clone());
        let runs = member.kind == Kind::Program;
        let name = names::free(&wish, &whole.taken);
        let mut block = Block::table(format!("[programs.{}]", key(&name)));
        block.above.push(format!("{}: [{}]", reader.report.place(reader.section.place), reader.section.name));
        dropped::explain(reader, member.kind, &mut block);
        if name != wish {
            reader.note("process_name", &format!("the program `{wish}` is called `{name}` here"));
        } else if let Some(was) = self.other_name(member, process, &name) {
            block.above.push(format!("was {was}"));
        }
        let command = command(reader, process, whole.base);
        if command.is_none() {
            block.is_comment = true;
            block.above.push("It never could be started: its command is none.".to_owned());
        }
        let is_live = !block.is_comment;
        if let Some(command) = &command {
            block.set("cmd", command);
        }
        let number = self.user.parse::<u32>().is_ok();
        let user = if number { self.user.clone() } else { string(&self.user) };
        match (self.named_user, whole.user) {
            (true, _) => block.set("user", user),
            (false, Some(_)) => block.set_with("user", user, "[supervisord] user; it named none"),
            (false, None) => block.set_with("user", user, "it named none, and ran as root"),
        }
        if is_live && !self.named_user && self.user == "root" {
            whole.root.push(name.clone());
        }
        let group_at = block.lines.len();
        if let Some(count) = self.numprocs {
            block.set("numprocs", count.to_string());
        }
        if let Some(directory) = process.directory.as_deref().filter(|directory| !directory.is_empty()) {
            let directory = logs::absolute(reader, "directory", directory, whole.base);
            block.set("workingdir", string(&written(&directory)));
        }
        if let Some(mask) = self.umask {
            block.set("umask", format!("\"{mask:03o}\""));
        }
        if let Some(priority) = self.priority {
            block.set("priority", priority.to_string());
        }
        for (key, value) in &self.watch {
            block.set(key, value);
        }
        if let Some(mode) = self.kill_mode {
            block.set("kill_mode", string(mode));
        }
        let outputs = Outputs { redirect: self.redirect, user: &self.user, process, is_live };
        outputs.write(reader, whole, &mut block);
        dropped::write(reader, member.kind, &mut block);
        let env = environment(reader, &name, process, &mut block);
        if is_live {
            whole.taken.insert(name.clone());
            whole.needed.extend(
                process.texts().flat_map(open_names).filter_map(|name| name.strip_prefix("env:")).map(str::to_owned),
            );
        }
        let group = match &member.group {
            Some((group, _)) => Some(group.clone()),
            None => matches!(instance, Instance::One(_)).then(|| member.name.clone()),
        };
        Table { group: group.filter(|_| runs), group_at, block, env }
    }

    /// What the processes were called, where that is not what they are called here.
    fn other_name(&self, member: &Member<'_>, process: &Process, name: &str) -> Option<String> {
        let group = member.group.as_ref().map_or(&member.name, |(group, _)| group);
        let each = |number: i64| {
            let width = |name: &str| name.strip_prefix("instance:0").and_then(|w| w.parse().ok()).unwrap_or(0_usize);
            let value = |name: &str| match name.starts_with("instance") {
                true => Some(format!("{number:0width$}", width = width(name))),
                false => Some("…".to_owned()),
            };
            let of_process = expand::closed(&process.name, &value).unwrap_or_default();
            let of_process = if of_process.is_empty() { member.name.clone() } else { of_process };
            if *group == of_process { of_process } else { format!("{group}:{of_process}") }
        };
        match self.numprocs {
            Some(count) => Some(format!("{} … {}, is {name}:0 … {name}:{}", each(0), each(count - 1), count - 1)),
            None => Some(each(0)).filter(|was| was != name),
        }
    }
}

/// The command in our spelling; `None`: it never could be started.
fn command(reader: &mut Reader<'_, '_>, process: &Process, base: &str) -> Option<String> {
    if reader.raw("command").is_none() {
        reader.fault("command", "there is none, and supervisord would not start");
        return None;
    }
    let text = process.command.as_deref()?;
    let mut split = match words::split(text) {
        Ok(words) if words.first().is_none_or(String::is_empty) => {
            reader.note("command", "it is empty; the program was left out");
            return None;
        }
        Ok(words) => words,
        Err(reason) => {
            reader.note("command", &format!("{reason}; the program was left out"));
            return None;
        }
    };
    let program = split.first().cloned().unwrap_or_default();
    let mut original = text.to_owned();
    if reader.scope.is_path(&program) && !reader.scope.is_absolute(&program) {
        let directory = process.directory.as_deref().filter(|directory| directory.starts_with('/')).unwrap_or(base);
        let absolute = logs::absolute(reader, "command", &program, directory);
        // Written anew below, since the text that was there no longer is the same words.
        original.clear();
        split[0] = absolute;
    }
    // A text over several lines reads better on one.
    let original = if original.contains('\n') { String::new() } else { written(&original) };
    let split: Vec<String> = split.iter().map(|word| written(word)).collect();
    Some(match words::command(&original, &split) {
        Some(text) => string(&text),
        None => super::document::strings(split.iter().map(String::as_str)),
    })
}

/// `env` in the table, or as a table of its own where it is long.
fn environment(reader: &mut Reader<'_, '_>, name: &str, process: &Process, block: &mut Block) -> Option<Block> {
    let mut kept: Vec<(String, String)> = Vec::new();
    for (variable, value) in &process.environment {
        if values::is_variable(variable) {
            kept.push((variable.clone(), string(&written(value))));
        } else {
            reader.note("environment", &format!("`{variable}` is no name of a variable, and was left out"));
            block.remark(format!("environment had {variable}, which is no name of a variable"));
        }
    }
    let inline = kept.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ");
    if kept.is_empty() {
        return None;
    }
    if inline.len() < 80 {
        block.set("env", format!("{{ {inline} }}"));
        return None;
    }
    let mut env = Block::table(format!("[programs.{}.env]", key(name)));
    env.is_comment = block.is_comment;
    for (name, value) in kept {
        env.set(&name, value);
    }
    Some(env)
}

/// Where a program's output goes.
struct Outputs<'a> {
    redirect: bool,
    user: &'a str,
    process: &'a Process,
    is_live: bool,
}

impl Outputs<'_> {
    fn write(&self, reader: &mut Reader<'_, '_>, whole: &mut Whole<'_>, block: &mut Block) {
        let Process { stdout, stderr, .. } = self.process;
        self.target(reader, whole, block, "stdout", stdout);
        if self.redirect {
            block.set("stderr", "\"stdout\"");
        } else {
            self.target(reader, whole, block, "stderr", stderr);
        }
        let own = [stdout].into_iter().chain((!self.redirect).then_some(stderr));
        let files: Vec<&Log> = own.filter(|log| log.is_file()).collect();
        let Some(first) = files.first() else { return };
        if let Some(bytes) = first.maxbytes {
            block.set("log_maxbytes", values::written_size(bytes));
        }
        if let Some(backups) = first.backups {
            block.set("log_backups", backups.to_string());
        }
        let limits = |log: &Log| (log.maxbytes.unwrap_or(50 << 20), log.backups.unwrap_or(10));
        if files.iter().any(|file| limits(first) != limits(file)) {
            let option = if stderr.maxbytes.is_some() { "stderr_logfile_maxbytes" } else { "stderr_logfile_backups" };
            reader.note(option, "one `log_maxbytes` and `log_backups` hold for both outputs: those of stdout");
        }
    }

    fn target(&self, reader: &mut Reader<'_, '_>, whole: &mut Whole<'_>, block: &mut Block, stream: &str, log: &Log) {
        let option = format!("{stream}_logfile");
        match &log.target {
            Target::Auto => {}
            Target::Console => block.set(stream, "\"console\""),
            Target::Syslog => block.set(stream, "\"syslog\""),
            Target::Discard => block.set(stream, "\"discard\""),
            Target::Nowhere(why) => block.set_with(stream, "\"auto\"", why),
            Target::Path(path) if self.user == "root" && logs::is_in_common_directory(path) => {
                let why = "root opens no log where everybody can make files";
                reader.note(&option, &format!("{why}: it goes to a file in `log_dir`"));
                block.set_with(stream, "\"auto\"", &format!("not {path}: {why}"));
            }
            Target::Path(path) if *path == whole.event_log => {
                let why = "that is where Taskmaster's events go";
                reader.note(&option, &format!("{why}: it goes to a file in `log_dir`"));
                block.set_with(stream, "\"auto\"", &format!("not {path}: {why}"));
            }
            Target::Path(path) => {
                let other = whole.writers.get(path).filter(|user| user.as_str() != self.user);
                if let Some(user) = other.filter(|_| self.is_live) {
                    let why = format!("not {}, where {user}'s programs write: one file, one user", written(path));
                    reader.note(&option, &format!("{why}; it goes to a file in `log_dir`"));
                    block.set_with(stream, "\"auto\"", &why);
                    return;
                }
                if self.is_live {
                    whole.writers.insert(path.clone(), self.user.to_owned());
                }
                block.set(stream, string(&written(path)));
            }
        }
    }
}
