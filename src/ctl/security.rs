//! What of the boundary around programs is missing: asked page by page, shown as `systemd-analyze security`
//! shows it. A line for each program, or all that is known of the processes that were named.
#![forbid(unsafe_code)]

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::client::{Client, ClientError};
use super::screen::{Paint, Screen};
use crate::model::boundary::{CapabilitySets, Check, FileFact, FileRole, Grant, Ids, Level, Live, Settings};
use crate::model::capability::CapabilitySet;
use crate::model::program::{Keyring, Limit};
use crate::model::text::escaped;
use crate::protocol::control::{Method, ProcessSecurity, ProgramSecurity, SecurityCall, SecurityReply};

/// Every page, put together.
pub fn ask(client: &mut Client<'_>, selectors: &[String]) -> Result<Vec<ProgramSecurity>, ClientError> {
    all_pages(selectors, |call| client.call(Method::Security, call))
}

fn all_pages(
    selectors: &[String],
    mut page: impl FnMut(&SecurityCall) -> Result<SecurityReply, ClientError>,
) -> Result<Vec<ProgramSecurity>, ClientError> {
    let mut programs: Vec<ProgramSecurity> = Vec::new();
    let mut after = None;
    loop {
        let call = SecurityCall { selectors: selectors.to_vec(), after: after.clone() };
        let page = page(&call)?;
        for program in page.programs {
            match programs.last_mut().filter(|last| last.program == program.program) {
                Some(last) => join(last, program),
                None => programs.push(program),
            }
        }
        match page.next {
            None => return Ok(programs),
            // A supervisor that does not get on would be asked for ever.
            Some(next) if after.as_ref() == Some(&next) => {
                return Err(ClientError::Nonsense("the same page twice".to_owned()));
            }
            Some(next) => after = Some(next),
        }
    }
}

/// The rest of a program that did not fit into one page.
fn join(program: &mut ProgramSecurity, rest: ProgramSecurity) {
    program.exposure = program.exposure.max(rest.exposure);
    program.level = program.level.max(rest.level);
    program.findings = program.findings.max(rest.findings);
    program.processes.extend(rest.processes);
}

/// A text and how it is painted.
type Cell = (String, Paint);

fn plain(text: &str) -> Cell {
    (escaped(text).into_owned(), Paint::Plain)
}

/// Rows below a heading, in columns; on a terminal the last is broken where it does not fit.
fn table(heading: &[&str], rows: &[Vec<Cell>], screen: &Screen) -> String {
    let first: Vec<Cell> = heading.iter().map(|text| ((*text).to_owned(), Paint::Heading)).collect();
    let all = || std::iter::once(&first).chain(rows);
    let wide = |column: usize| all().filter_map(|row| row.get(column)).map(|(text, _)| text.width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heading.len().saturating_sub(1)).map(wide).collect();
    let indent: usize = widths.iter().map(|wide| wide + 2).sum();
    let room = if screen.terminal { screen.width().saturating_sub(indent).max(ROOM_MIN) } else { usize::MAX };
    let mut out = String::new();
    for row in all() {
        let mut line = String::new();
        for ((text, paint), wide) in row.iter().zip(&widths) {
            line.push_str(&if text.is_empty() { String::new() } else { screen.painted(text, *paint) });
            line.extend(std::iter::repeat_n(' ', wide.saturating_sub(text.width()) + 2));
        }
        let last = row.get(widths.len()).map(|(text, paint)| (broken(text, room), *paint));
        let (parts, paint) = last.unwrap_or_default();
        for (number, part) in parts.iter().enumerate() {
            let start = if number == 0 { std::mem::take(&mut line) } else { " ".repeat(indent) };
            let whole = format!("{start}{}", if part.is_empty() { String::new() } else { screen.painted(part, paint) });
            let _ = writeln!(out, "{}", whole.trim_end_matches(' '));
        }
    }
    out
}

/// The last column is never narrower.
const ROOM_MIN: usize = 20;

/// A text in lines of this width, broken at spaces only. At least one line.
pub fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let used = lines.last().map_or(0, |line| line.width());
        match lines.last_mut() {
            Some(line) if used == 0 => line.push_str(word),
            Some(line) if used + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn exposure(tenths: f64, level: Level) -> [Cell; 2] {
    [(format!("{tenths:.1}"), Paint::of_level(level)), (level.to_string(), Paint::of_level(level))]
}

/// A line for each program.
pub fn overview(programs: &[ProgramSecurity], screen: &Screen) -> String {
    let row = |program: &ProgramSecurity| {
        let mut row = vec![plain(program.program.as_str()), plain(&program.user)];
        row.extend(exposure(program.exposure, program.level));
        row.push(plain(&program.findings.to_string()));
        let up = program.processes.iter().filter(|process| process.pid.is_some()).count();
        let note = if up == 0 {
            "not running: judged by its configuration"
        } else if program.processes.iter().any(|process| process.checks.iter().any(|check| check.mismatch)) {
            "NOT AS CONFIGURED"
        } else {
            ""
        };
        row.push((note.to_owned(), if up == 0 { Paint::Faint } else { Paint::Worst }));
        row
    };
    let rows: Vec<Vec<Cell>> = programs.iter().map(row).collect();
    table(&["NAME", "USER", "EXPOSURE", "LEVEL", "FINDINGS", ""], &rows, screen)
}

/// All that is known of each process.
pub fn details(programs: &[ProgramSecurity], screen: &Screen) -> String {
    let each = programs.iter().flat_map(|program| program.processes.iter().map(move |process| (program, process)));
    let texts: Vec<String> = each.map(|(program, process)| detail(program, process, screen)).collect();
    texts.join("\n")
}

/// The column at which facts begin.
const FACTS_AT: usize = 20;

fn detail(program: &ProgramSecurity, process: &ProcessSecurity, screen: &Screen) -> String {
    let name = escaped(&process.process);
    let state = match process.pid {
        Some(pid) => format!("pid {pid}"),
        None => "not running: this is what is configured".to_owned(),
    };
    let mut out = format!("{}  {state}\n", screen.painted(&name, Paint::Heading));
    let mut facts = vec![("user", escaped(&program.user).into_owned())];
    match &process.kernel {
        Some(live) => facts.extend(of_kernel(live)),
        None => facts.extend(of_settings(&program.settings)),
    }
    facts.extend(process.granted.iter().flat_map(of_files));
    for (what, fact) in facts {
        let room = if screen.terminal { screen.width().saturating_sub(FACTS_AT).max(ROOM_MIN) } else { usize::MAX };
        for (number, part) in broken(&fact, room).iter().enumerate() {
            let what = if number == 0 { what } else { "" };
            let _ = writeln!(out, "  {what:18}{part}");
        }
    }
    out.push('\n');
    let rows: Vec<Vec<Cell>> = process.checks.iter().map(row).collect();
    out.push_str(&table(&["", "EXPOSURE", "KEY", "DESCRIPTION"], &rows, screen));
    let overall = format!("{:.1} {}", process.exposure, process.level);
    let overall = screen.painted(&overall, Paint::of_level(process.level));
    let findings = match process.findings {
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    let _ = writeln!(out, "Overall exposure of {name}: {overall}, {findings}");
    out
}

/// The mark, and the key where one would mend something.
fn row(check: &Check) -> Vec<Cell> {
    let (mark, paint) = match (check.mismatch, check.is_finding(), check.badness == check.range) {
        (true, _, _) => ("!", Paint::Worst),
        (false, false, _) => ("✓", Paint::Good),
        (false, true, true) => ("✗", Paint::Bad),
        (false, true, false) => ("✗", Paint::Changing),
    };
    let share = if check.is_finding() { format!("{:.1}", check.exposure) } else { String::new() };
    let key = check.key.as_deref().filter(|_| check.is_finding()).unwrap_or_default();
    let description =
        (escaped(&check.description).into_owned(), if check.mismatch { Paint::Worst } else { Paint::Plain });
    vec![(mark.to_owned(), paint), plain(&share), plain(key), description]
}

type Fact = (&'static str, String);

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

fn ids(ids: Ids) -> String {
    let [real, effective, saved, filesystem] = ids.all();
    format!("{real} real, {effective} effective, {saved} saved, {filesystem} file system")
}

fn named(set: CapabilitySet) -> String {
    if set.known().count() == CapabilitySet::names().len() { "all".to_owned() } else { set.to_string() }
}

fn of_kernel(live: &Live) -> Vec<Fact> {
    let groups: Vec<String> = live.groups.iter().map(ToString::to_string).collect();
    let mut facts = vec![
        ("uid", ids(live.uid)),
        ("gid", ids(live.gid)),
        ("groups", if groups.is_empty() { "none".to_owned() } else { groups.join(" ") }),
    ];
    let CapabilitySets { effective, permitted, inheritable, bounding, ambient } = live.capabilities;
    let sets = [
        ("cap effective", effective),
        ("cap permitted", permitted),
        ("cap inheritable", inheritable),
        ("cap ambient", ambient),
        ("cap bounding", bounding),
    ];
    facts.extend(sets.map(|(what, set)| (what, named(set))));
    if live.other_user_namespace {
        facts.push(("user namespace", "its own: the capabilities hold there only".to_owned()));
    }
    facts.push(("no_new_privs", yes(live.no_new_privileges)));
    facts.push(("seccomp", live.seccomp.name().to_owned()));
    facts.extend(live.umask.map(|umask| ("umask", format!("{umask:03o}"))));
    let limits: Vec<String> =
        live.limits.iter().map(|(resource, is)| format!("{}={}", resource.name(), limit(*is))).collect();
    facts.push(("limits", limits.join(" ")));
    let group = live.control_group.as_deref().map_or_else(|| "none".into(), escaped);
    let own = if live.own_control_group == Some(true) { "" } else { " (not its own)" };
    facts.push(("control group", format!("{group}{own}")));
    facts
}

pub fn limit(limit: Limit) -> String {
    let value = |value: Option<u64>| value.map_or_else(|| "unlimited".to_owned(), |value| value.to_string());
    if limit.soft == limit.hard { value(limit.soft) } else { format!("{}:{}", value(limit.soft), value(limit.hard)) }
}

fn of_settings(settings: &Settings) -> Vec<Fact> {
    let set = |set: Option<CapabilitySet>| match set {
        Some(set) => set.to_string(),
        None if settings.root => "all".to_owned(),
        None => "none".to_owned(),
    };
    let bounding = settings.capability_bounding.or(settings.capabilities);
    let keyring = match settings.keyring {
        Keyring::Private => "private",
        Keyring::Inherit => "the supervisor's",
    };
    vec![
        ("capabilities", set(settings.capabilities)),
        ("cap bounding", set(bounding)),
        ("no_new_privs", yes(settings.no_new_privileges)),
        ("umask", format!("{:03o}", settings.umask)),
        ("keyring", keyring.to_owned()),
        ("mdwe", yes(settings.mdwe)),
    ]
}

/// Who can change what it runs from.
fn of_files(grant: &Grant) -> Vec<Fact> {
    let fact = |file: &FileFact| {
        let what = match file.role {
            FileRole::Executable => "program file",
            FileRole::Argument => "command's file",
            FileRole::WorkingDirectory => "working directory",
            FileRole::Log => "log",
        };
        let who = match (file.by_user, file.by_others) {
            (false, false) => "root only",
            (true, false) => "root and its own user",
            (false, true) => "root and others",
            (true, true) => "root, its own user and others",
        };
        let path = file.path.as_deref().map(|path| format!("{}: ", escaped(path))).unwrap_or_default();
        (what, format!("{path}can be changed by {who}"))
    };
    grant.files.iter().map(fact).collect()
}

#[cfg(test)]
#[path = "security_tests.rs"]
mod tests;
