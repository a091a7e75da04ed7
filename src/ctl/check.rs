//! `check FILE`: what the supervisor would say of a configuration. No supervisor has to run: `taskmasterd
//! check` is what reads it, so that both can never disagree.
#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use super::fault::Failure;
use super::screen::Screen;
use super::session::pretty;
use crate::model::text::escaped_line;
use crate::system::account;

const PROGRAM: &str = "taskmasterd";
/// Where daemons are that an ordinary user's PATH does not name.
const ELSEWHERE: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Checks the file: 0 it is valid, 2 it has faults, 1 it cannot be checked from here.
pub fn run(file: &Path, json: bool, screen: &mut Screen) -> Result<u8, Failure> {
    let checked = candidates().into_iter().find_map(|program| {
        let mut command = Command::new(program);
        command.arg("check").arg("-c").arg(file).stdin(Stdio::null());
        match command.output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other),
        }
    });
    let output = match checked {
        Some(Ok(output)) => output,
        Some(Err(error)) => return Ok(unable(&error.to_string(), screen)),
        None => return Ok(unable("there is none beside taskmasterctl, in PATH or in /usr/sbin", screen)),
    };
    let code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').map(escaped_line).collect::<Vec<_>>().join("\n");
    let (said, told) = (lines(&output.stdout), lines(&output.stderr));
    let note = as_whom();
    if json {
        let told: Vec<&str> = told.lines().chain(said.lines()).collect();
        screen.print(&pretty(&json!({ "valid": code == 0, "text": told, "not_judged": note })))?;
        return Ok(code);
    }
    if !told.trim_end().is_empty() {
        screen.complain(told.trim_end());
    }
    if let Some(note) = note {
        screen.complain(&format!("taskmasterctl: {note}"));
    }
    screen.print(&said)?;
    Ok(code)
}

/// The shell on the supervisor's terminal is confined: a program that it executed would be its end.
pub fn refuse(screen: &mut Screen) -> u8 {
    unable("this shell may open no file and run no program; use another terminal", screen)
}

fn unable(why: &str, screen: &mut Screen) -> u8 {
    screen.complain(&format!("taskmasterctl: {PROGRAM}, which checks configurations, cannot be run from here: {why}"));
    1
}

/// What somebody who is not root is not told.
fn as_whom() -> Option<String> {
    let own = account::own_uid();
    (!own.is_root()).then(|| {
        format!(
            "checked as {}; for a supervisor of root, check as root: only then it is judged that each program names \
             its `user`, that the files are root's, and what is in files that you cannot read",
            account::user_name(own)
        )
    })
}

/// Where it may be: beside this program first, since those belong together.
fn candidates() -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|own| own.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    let all = beside.into_iter().chain(named).chain(ELSEWHERE.iter().map(PathBuf::from));
    all.map(|directory| directory.join(PROGRAM)).collect()
}
