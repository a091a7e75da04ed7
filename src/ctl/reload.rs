//! What the files say comes into force: `reload`, and the words that supervisorctl has for its parts (`reread`,
//! `update`, `add`, `remove`, `avail`). For scripts their lines are supervisorctl's.
#![forbid(unsafe_code)]

use serde_json::Value;

use super::client::{ClientError, understood};
use super::fault::Failure;
use super::grid::grid;
use super::screen::Screen;
use super::session::{Session, pretty};
use super::{config, results};
use crate::model::text::escaped;
use crate::protocol::control::{
    Method, OnDisk, ProgramOutcome, ProgramResult, ProgramsCall, ProgramsReply, Refusal, ReloadCall, ReloadReply,
    Section,
};

/// Which of the words it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    Reload,
    /// `reload --dry-run`, and `reread`.
    DryRun,
    /// As `reload`, and waits until what it stops has stopped.
    Update,
}

/// `reload`, `reread`, `update`: of these programs, or of all.
pub fn reload(session: &Session<'_>, word: Word, programs: &[String], screen: &mut Screen) -> Result<u8, Failure> {
    let dry_run = word == Word::DryRun;
    // Among names, supervisorctl's `all` stands for no names.
    let programs = if programs.iter().any(|name| name == "all") { Vec::new() } else { programs.to_vec() };
    let call = ReloadCall { dry_run, programs, wait: word == Word::Update };
    let answer = accepted(session, session.ask(Method::Reload, &call), screen)?;
    if session.json {
        screen.print(&pretty(&answer))?;
        return Ok(0);
    }
    let reply: ReloadReply = understood(answer)?;
    for line in reply.warnings.iter().flat_map(|warning| warning.lines()) {
        screen.complain(&escaped(line));
    }
    screen.print(&match (screen.terminal, word) {
        (true, _) => results::plan(&reply, dry_run, screen),
        (false, Word::DryRun) => results::reread_lines(&reply.plan),
        (false, word) => results::update_lines(&reply.plan, word == Word::Update),
    })?;
    // supervisorctl has no line for it.
    let untold = if screen.terminal { &[][..] } else { &reply.plan.needs_restart };
    for setting in untold {
        screen.complain(&format!("taskmasterctl: {}: needs a restart of the supervisor", escaped(setting)));
    }
    Ok(0)
}

/// The answer; where the files were not accepted, that is told.
fn accepted(session: &Session<'_>, answer: Result<Value, ClientError>, screen: &mut Screen) -> Result<Value, Failure> {
    match answer {
        // The faults speak for themselves: no name before the first line, which is a place in a file.
        Err(error @ ClientError::Refused(Refusal::ConfigRejected { .. })) => {
            screen.complain(&error.to_string());
            screen.complain("taskmasterctl: the configuration was not accepted; nothing has changed");
            Err(Failure::Told(1))
        }
        Err(ClientError::Interrupted) => Err(Failure::Left(None)),
        other => session.known_as(other, results::no_such_group, screen),
    }
}

/// `add` and `remove`.
pub fn change(session: &Session<'_>, method: Method, programs: &[String], screen: &mut Screen) -> Result<u8, Failure> {
    let call = ProgramsCall { programs: programs.to_vec() };
    let answer = accepted(session, session.ask(method, &call), screen)?;
    let json = session.json.then(|| pretty(&answer));
    let reply: ProgramsReply = understood(answer)?;
    let line = |result: &ProgramResult| if screen.terminal { friendly(result) } else { supervisorctls(result) };
    screen.print(&json.unwrap_or_else(|| reply.results.iter().map(line).collect()))?;
    Ok(u8::from(!reply.results.iter().all(|result| result.result.is_success())))
}

fn supervisorctls(ProgramResult { program, result }: &ProgramResult) -> String {
    match result {
        ProgramOutcome::Added => format!("{program}: added process group\n"),
        ProgramOutcome::AlreadyAdded => "ERROR: process group already active\n".to_owned(),
        ProgramOutcome::Removed => format!("{program}: removed process group\n"),
        ProgramOutcome::StillRunning => format!("ERROR: process/group still running: {program}\n"),
    }
}

fn friendly(ProgramResult { program, result }: &ProgramResult) -> String {
    let words = match result {
        ProgramOutcome::Added => "added",
        ProgramOutcome::AlreadyAdded => "is in force already; `update` takes over what has changed",
        ProgramOutcome::Removed => "removed; it comes back with `add`, `update` or `reload`",
        ProgramOutcome::StillRunning => "still runs: `stop` it first",
    };
    format!("{program}: {words}\n")
}

/// `avail`: the processes that the files have.
pub fn avail(session: &Session<'_>, screen: &mut Screen) -> Result<u8, Failure> {
    let reply = session.known(config::ask(&mut session.client()?, &[]), screen)?;
    if let Some(fault) = reply.fault {
        screen.complain(&fault.lines().map(escaped).collect::<Vec<_>>().join("\n"));
        screen.complain("taskmasterctl: the files on disk would not be accepted");
        return Err(Failure::Told(1));
    }
    let all: Vec<Available> = reply.sections.iter().filter_map(Available::of).collect();
    screen.print(&if session.json {
        pretty(&all)
    } else if all.is_empty() {
        if screen.terminal { "no programs are configured\n".to_owned() } else { String::new() }
    } else if screen.terminal {
        let headings = [("NAME", false), ("STATE", false), ("START", false), ("PRIORITY", true)];
        let rows: Vec<Vec<String>> = all.iter().flat_map(Available::rows).collect();
        grid(&headings, &rows, Some(screen.width()), screen.colour)
    } else {
        all.iter().flat_map(Available::lines).collect()
    })?;
    Ok(0)
}

/// A program in the files.
#[derive(serde::Serialize)]
struct Available {
    program: String,
    numprocs: u64,
    in_use: bool,
    autostart: bool,
    priority: i64,
}

impl Available {
    /// `None` for what is no program, or only in force.
    fn of(section: &Section) -> Option<Self> {
        let program = section.program.as_ref().filter(|_| section.on_disk != OnDisk::Removed)?;
        let value = |key: &str| {
            let setting = section.settings.iter().find(|setting| setting.key == key)?;
            Some(setting.on_disk.clone().unwrap_or_else(|| setting.value.clone()))
        };
        Some(Self {
            program: program.to_string(),
            numprocs: value("numprocs").and_then(|value| value.as_u64()).unwrap_or(1),
            in_use: section.on_disk != OnDisk::Added,
            autostart: value("autostart").and_then(|value| value.as_bool()).unwrap_or(true),
            priority: value("priority").and_then(|value| value.as_i64()).unwrap_or_default(),
        })
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let names: Vec<String> = match self.numprocs {
            1 => vec![self.program.clone()],
            several => (0..several).map(|instance| format!("{}:{instance}", self.program)).collect(),
        };
        let use_of = if self.in_use { "in use" } else { "avail" };
        let start = if self.autostart { "auto" } else { "manual" };
        let row = |name| vec![name, use_of.to_owned(), start.to_owned(), self.priority.to_string()];
        names.into_iter().map(row).collect()
    }

    /// A group of supervisord's has a priority of its own, which is the program's.
    fn lines(&self) -> Vec<String> {
        let line = |row: Vec<String>| match row.as_slice() {
            [name, used, start, priority] => format!("{name:<32} {used:<9} {start:<9} {priority}:{priority}\n"),
            _ => String::new(),
        };
        self.rows().into_iter().map(line).collect()
    }
}
