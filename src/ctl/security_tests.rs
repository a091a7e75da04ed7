//! Tests of what is asked and shown.
use serde_json::json;

use super::*;
use crate::model::id::ProgramName;

fn screen(terminal: bool) -> Screen {
    Screen::of(Box::new(Vec::new()), Box::new(Vec::new()), terminal)
}

fn check(name: &str, badness: u32, mismatch: bool) -> Check {
    Check {
        name: name.to_owned(),
        weight: 100,
        badness,
        range: 2,
        exposure: 1.25,
        mismatch,
        description: format!("about {name}\u{1b}[31m"),
        key: Some("user".to_owned()),
    }
}

fn program(name: &str, instances: std::ops::Range<u32>, running: bool) -> ProgramSecurity {
    let process = |instance: u32| ProcessSecurity {
        process: format!("{name}:{instance}"),
        pid: running.then_some(4711),
        exposure: 5.4,
        level: Level::Medium,
        findings: 1,
        kernel: None,
        granted: None,
        checks: vec![check("one", 1, false), check("two", 0, false)],
    };
    ProgramSecurity {
        program: ProgramName::new(name).expect("a name"),
        user: "nobody".to_owned(),
        exposure: 5.4,
        level: Level::Medium,
        findings: 1,
        settings: serde_json::from_value(json!({
            "root": false, "nobody": true, "capabilities": ["CAP_KILL"], "capability_bounding": null, "no_new_privileges": true,
            "umask": "022", "limits": {}, "keyring": "private", "mdwe": false, "inherits_environment": false,
            "kill_mode": "tree", "restrict_paths": false,
        }))
        .expect("settings"),
        processes: instances.map(process).collect(),
    }
}

#[test]
fn pages_are_put_together() {
    let page = |call: &SecurityCall| match call.after.as_deref() {
        None => Ok(SecurityReply { programs: vec![program("web", 0..2, true)], next: Some("web:1".to_owned()) }),
        Some("web:1") => {
            let mut rest = program("web", 2..3, true);
            (rest.exposure, rest.level, rest.findings) = (9.0, Level::Unsafe, 3);
            Ok(SecurityReply { programs: vec![rest, program("x", 0..1, false)], next: None })
        }
        other => panic!("{other:?}"),
    };
    let all = all_pages(&["all".to_owned()], page).expect("all pages");
    let seen: Vec<(&str, usize)> = all.iter().map(|one| (one.program.as_str(), one.processes.len())).collect();
    assert_eq!(seen, [("web", 3), ("x", 1)]);
    assert_eq!((all[0].exposure, all[0].level, all[0].findings), (9.0, Level::Unsafe, 3));
}

#[test]
fn a_supervisor_that_gives_the_same_page_again_is_not_asked_for_ever() {
    let page = |_: &SecurityCall| Ok(SecurityReply { programs: Vec::new(), next: Some("web:1".to_owned()) });
    assert!(matches!(all_pages(&[], page), Err(ClientError::Nonsense(_))));
}

#[test]
fn the_overview_is_a_line_for_each_program() {
    let mut odd = program("odd", 0..1, true);
    odd.processes[0].checks.push(check("user_mismatch", 2, true));
    let text = overview(&[program("web", 0..2, true), program("resting", 0..1, false), odd], &screen(false));
    assert_eq!(
        text,
        "NAME     USER    EXPOSURE  LEVEL   FINDINGS\n\
         web      nobody  5.4       MEDIUM  1\n\
         resting  nobody  5.4       MEDIUM  1         not running: judged by its configuration\n\
         odd      nobody  5.4       MEDIUM  1         NOT AS CONFIGURED\n"
    );
}

#[test]
fn the_details_say_what_is_known_and_escape_it() {
    let text = details(&[program("web", 0..1, false)], &screen(false));
    assert!(text.starts_with("web:0  not running: this is what is configured\n  user              nobody\n"), "{text}");
    assert!(text.contains("  capabilities      CAP_KILL\n  cap bounding      CAP_KILL\n"), "{text}");
    assert!(text.contains("✗  1.2       user  about one\\x1b[31m\n"), "{text}");
    assert!(text.contains("✓                  about two"), "{text}");
    assert!(text.ends_with("Overall exposure of web:0: 5.4 MEDIUM, 1 finding\n"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn a_terminal_gets_long_descriptions_in_several_lines() {
    let mut program = program("web", 0..1, false);
    program.processes[0].checks[0].description = "many words ".repeat(30);
    let text = details(&[program], &screen(true));
    assert!(text.lines().all(|line| line.width() <= 80), "{text}");
    assert_eq!(text.matches("many words").count() + text.matches("many\n").count(), 30, "{text}");
    assert_eq!(broken("", 20), [""]);
    assert_eq!(broken(&"x".repeat(30), 20), ["x".repeat(30)], "a word is not broken");
}
