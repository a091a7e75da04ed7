//! A supervisord.conf, with what it includes → our configuration.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::document::{self, Block, Line, string};
use super::dropped::Kind;
use super::expand::{CLOSE, Known, OPEN, closed, expand};
use super::ini::{Ini, Section, strip};
use super::program::{self, Member, Table, Whole};
use super::report::{Fault, Place, Report};
use super::scope::{Reader, Scope};
use super::{Import, Surroundings, Texts, names, settings, values};

/// Reads and translates the file.
///
/// # Errors
/// Every reason why supervisord would not start with it, or why it cannot be read; a line each.
pub fn import(path: &Path, texts: &mut dyn Texts, around: &Surroundings) -> Result<Import, Vec<String>> {
    let mut report = Report::default();
    let here = path.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
    let mut ini = Ini::default();
    let read =
        read(&mut ini, path, texts, &mut report).and_then(|()| included(&mut ini, &here, texts, around, &mut report));
    if let Err(faults) = read {
        report.faults.extend(faults);
        return Err(report.faults());
    }
    let Some(own_section) = ini.section("supervisord") else {
        return Err(vec![format!("{}: there is no [supervisord], and supervisord would not start", path.display())]);
    };
    let own = settings::own(&ini, own_section, around, &here, &mut report);
    let set: BTreeMap<String, String> = own.environment.iter().cloned().collect();
    let mut whole = Whole {
        ini: &ini,
        around,
        here: &here,
        set: &set,
        base: own.directory.as_deref().unwrap_or(&here),
        user: own.user.as_deref(),
        taken: BTreeSet::new(),
        event_log: format!("{}/events.log", own.log_dir.as_deref().unwrap_or("/var/log/taskmaster")),
        writers: BTreeMap::new(),
        needed: BTreeSet::new(),
        root: Vec::new(),
        stops_main_only: false,
    };
    let groups = groups(&whole, &mut report);
    let mut after = Vec::new();
    let mut control = Vec::new();
    let mut tables = Vec::new();
    for section in &ini.sections {
        let kind = section.name.split(':').next().unwrap_or_default();
        match kind {
            "supervisord" if section.name == kind => {}
            "group" => {}
            "unix_http_server" if control.is_empty() => {
                control = settings::unix_server(&ini, section, around, &here, &set, &mut report);
            }
            _ => match member(section, &groups) {
                Some(member) => {
                    checked_name(section, &mut report);
                    tables.extend(program::convert(&member, &mut whole, &mut report));
                }
                None => after.extend(settings::other(&ini, section, &mut report)),
            },
        }
    }
    if !report.faults.is_empty() {
        return Err(report.faults());
    }
    let mut blocks = vec![head(&report)];
    blocks.push(own.supervisor());
    blocks.extend(control);
    blocks.extend(own.defaults(whole.stops_main_only));
    tell(&whole, &mut report);
    blocks.extend(programs(tables, &whole.taken, &mut report));
    blocks.extend(after);
    Ok(Import { toml: document::text(&blocks), notes: report.notes() })
}

fn read(ini: &mut Ini, path: &Path, texts: &mut dyn Texts, report: &mut Report) -> Result<(), Vec<Fault>> {
    let file = report.files.len();
    report.files.push(path.display().to_string());
    let whole = Place { file, line: 0 };
    let text = texts.read(path).map_err(|reason| vec![Fault::new(whole, &reason)])?;
    if let Some(at) = text.find([OPEN, CLOSE, '\0']) {
        let line = text[..at].matches('\n').count() + 1;
        return Err(vec![Fault::new(Place { file, line }, "there is a character that no text has")]);
    }
    ini.read(&text, file)
}

/// Reads what `[include]` names: patterns relative to the file, each one's matches sorted, and no further.
fn included(
    ini: &mut Ini,
    here: &str,
    texts: &mut dyn Texts,
    around: &Surroundings,
    report: &mut Report,
) -> Result<(), Vec<Fault>> {
    let Some(place) = ini.section("include").map(|section| section.place) else { return Ok(()) };
    ini.expand_here(here);
    let files = ini.section("include").and_then(|section| ini.get(section, "files")).cloned();
    let Some(files) = files else {
        return Err(vec![Fault::new(place, "[include] has no `files`, and supervisord would not start")]);
    };
    let known = |name: &str| match name {
        "here" => Some(Known::Text(here.to_owned())),
        "host_node_name" => Some(Known::Text(around.host.clone())),
        _ => around.env.get(name.strip_prefix("ENV_")?).cloned().map(Known::Text),
    };
    let refused = |_| vec![Fault::new(files.place, "[include] files: it has a %(name)s that is not known here")];
    let patterns = expand(&files.text, &known).map_err(refused)?;
    for pattern in patterns.split(super::ini::is_space).filter(|pattern| !pattern.is_empty()) {
        let pattern = if pattern.starts_with('/') { pattern.to_owned() } else { format!("{here}/{pattern}") };
        let mut found: Vec<PathBuf> = texts.glob(&pattern);
        found.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
        if found.is_empty() {
            report.note(files.place, &format!("[include] files: nothing matches {pattern}"));
        }
        for path in found {
            read(ini, &path, texts, report)?;
            let directory = path.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
            ini.expand_here(&directory);
        }
    }
    Ok(())
}

/// Which group each section of a program is in, and the group's priority.
type Groups = BTreeMap<String, (String, Option<i64>)>;

fn groups(whole: &Whole<'_>, report: &mut Report) -> Groups {
    let mut groups = Groups::new();
    for section in whole.ini.sections.iter().filter(|section| section.name.starts_with("group:")) {
        let name = checked_name(section, report);
        let names = BTreeMap::from([("here", Known::Text(whole.here.to_owned()))]);
        let scope = Scope { around: whole.around, set: whole.set, own: BTreeMap::new(), names };
        let mut reader = Reader { ini: whole.ini, section, scope, report, needs_number: std::cell::Cell::new(false) };
        let priority = reader.number("priority", i64::from(i32::MIN), i64::from(i32::MAX));
        let members = reader.literal("programs").unwrap_or_default();
        for program in values::list(&members) {
            let kinds = ["program", "fcgi-program"].map(|kind| format!("{kind}:{program}"));
            let known: Vec<&String> = kinds.iter().filter(|kind| whole.ini.section(kind).is_some()).collect();
            match known[..] {
                [one] => {
                    if let Some((first, _)) = groups.get(one).cloned() {
                        let text = format!("{program} is in the group {first} already, and a program has one group");
                        reader.note("programs", &text);
                    } else {
                        groups.insert(one.clone(), (name.clone(), priority));
                    }
                }
                [] => reader
                    .fault("programs", &format!("there is no program `{program}`, and supervisord would not start")),
                _ => reader.fault("programs", &format!("`{program}` is two programs, and supervisord would not start")),
            }
        }
    }
    groups
}

/// The name behind the colon.
fn checked_name(section: &Section, report: &mut Report) -> String {
    let name = strip(section.name.split_once(':').map_or("", |(_, name)| name));
    if name.contains([' ', ':', '/']) {
        let text = format!("[{}]: a name has no space, colon or slash, or supervisord would not start", section.name);
        report.fault(section.place, &text);
    }
    name.to_owned()
}

fn member<'a>(section: &'a Section, groups: &Groups) -> Option<Member<'a>> {
    let (kind, name) = section.name.split_once(':')?;
    let kind = match kind {
        "program" => Kind::Program,
        "fcgi-program" => Kind::Fcgi,
        "eventlistener" => Kind::Listener,
        _ => return None,
    };
    Some(Member { kind, section, name: strip(name).to_owned(), group: groups.get(&section.name).cloned() })
}

fn head(report: &Report) -> Block {
    let mut block = Block::default();
    block.above.push(format!("Made by `taskmasterctl import` of {}.", report.files.join(", ")));
    block.above.extend(
        [
            "Programs of other users than the supervisor's get a clean environment with USER LOGNAME HOME SHELL PATH,",
            "not supervisord's own: `inherit_env` lets more through. Instead of SUPERVISOR_PROCESS_NAME and",
            "SUPERVISOR_GROUP_NAME they have TASKMASTER_PROCESS and TASKMASTER_PROGRAM.",
        ]
        .map(str::to_owned),
    );
    block
}

/// What concerns several programs.
fn tell(whole: &Whole<'_>, report: &mut Report) {
    if !whole.root.is_empty() {
        let text = format!("no user was named, so these run as root, as they did: {}", whole.root.join(", "));
        report.remark(&text);
    }
    let mut logs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, user) in whole.writers.iter().filter(|(_, user)| *user != "root") {
        let of_each =
            closed(path, &|name| Some(if name == "host" { whole.around.host.clone() } else { "*".to_owned() }));
        let path = of_each.unwrap_or_default();
        let bare = path.chars().all(|c| c.is_alphanumeric() || "_-./*@+".contains(c));
        logs.entry(user).or_default().push(if bare { path } else { shell_words::quote(&path).into_owned() });
    }
    for (user, paths) in logs {
        let text =
            "log files that supervisord made are root's; where the directory is not root's, too, give them away first";
        report.remark(&format!("{text}: chown {user} {}", paths.join(" ")));
    }
    for variable in &whole.needed {
        let here = if whole.around.env.contains_key(variable) { "" } else { " (it is not set here)" };
        report.remark(&format!("taskmasterd needs the variable {variable} in its environment{here}"));
    }
}

/// The tables with their groups, as far as those can have their names.
fn programs(tables: Vec<Table>, taken: &BTreeSet<String>, report: &mut Report) -> Vec<Block> {
    let mut sizes: BTreeMap<&String, usize> = BTreeMap::new();
    for group in tables.iter().filter_map(|table| table.group.as_ref()) {
        *sizes.entry(group).or_default() += 1;
    }
    let mut called: BTreeMap<String, String> = BTreeMap::new();
    for (group, size) in sizes {
        // A group that is one program of the same name says nothing more than the name.
        if size == 1 && taken.contains(group) {
            continue;
        }
        let wish = if taken.contains(group) { format!("{group}-group") } else { group.clone() };
        let name = names::free(&wish, taken);
        if name != *group {
            report.remark(&format!("the group `{group}` is called `{name}` here"));
        }
        called.insert(group.clone(), name);
    }
    let mut blocks = Vec::new();
    for Table { group, group_at, mut block, env, .. } in tables {
        if let Some(name) = group.and_then(|group| called.get(&group)) {
            block.lines.insert(group_at, Line::Key("group_name".to_owned(), string(name), None));
        }
        blocks.push(block);
        blocks.extend(env);
    }
    blocks
}
