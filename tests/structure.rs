//! The structure that the crate promises: imports run downwards only, pure modules are pure, and the
//! programs that run as root link nothing that they should not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("imports run downwards only and no program imports another", &[], imports),
        test("pure modules forbid unsafe code", &[], pure),
        test("unsafe code is in system only", &[], unsafe_code),
        test("every promise names its tests and there are such", &[], promises),
        test("the privileged programs contain no TLS mail line editing async runtime or seccomp", &[], symbols),
    ]
}

/// Each part of the crate, and what it may import beside itself.
const MAY_IMPORT: [(&str, &[&str]); 13] = [
    ("model", &[]),
    ("config", &["model"]),
    ("policy", &["model"]),
    ("alert", &["model"]),
    ("protocol", &["model"]),
    ("system", &["model"]),
    ("worker", &["model", "system"]),
    ("supervisor", &["model", "config", "policy", "protocol", "system", "worker"]),
    ("spawner", &["model", "protocol", "system", "worker"]),
    ("logger", &["model", "protocol", "system", "worker"]),
    ("notifier", &["model", "alert", "protocol", "system", "worker"]),
    // `config`: the tests of `import` read what it has made.
    ("ctl", &["model", "config", "alert", "protocol", "system", "worker"]),
    // Tests only: what is written about all of them.
    ("documents", &["model", "config", "protocol", "supervisor", "ctl"]),
];
const PURE: [&str; 5] = ["model", "config", "policy", "alert", "protocol"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code of a file without its comments.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a file");
    let lines = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.collect::<Vec<_>>().join("\n")
}

/// The parts of the crate that some code names: `crate::model::id`, `use crate::{model, system}`.
fn named(code: &str) -> BTreeSet<String> {
    let mut parts = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue; // the end of some other name
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => parts.extend(heads(list)),
            None => parts.extend(word(rest)),
        }
    }
    parts
}

fn word(text: &str) -> Option<String> {
    let word: String = text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// The first word of each item of a list in braces.
fn heads(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            c => items.last_mut().expect("never empty").push(c),
        }
    }
    items.iter().filter_map(|item| word(item)).collect()
}

fn imports() {
    assert_eq!(
        named("use crate::{model::id::{A, B}, system}; crate::worker::x(); pub(in crate::supervisor) fn f() {}"),
        ["model", "supervisor", "system", "worker"].map(str::to_owned).into(),
        "this test sees imports"
    );
    let known: BTreeSet<&str> = MAY_IMPORT.iter().map(|(part, _)| *part).collect();
    let there: BTreeSet<String> = std::fs::read_dir(source())
        .expect("src")
        .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir())?.file_name().into_string().ok())
        .filter(|name| name != "bin")
        .collect();
    assert_eq!(there, known.iter().map(|part| (*part).to_owned()).collect(), "every part has its rule");
    for (part, allowed) in MAY_IMPORT {
        for file in files(&source().join(part)) {
            for name in named(&code(&file)) {
                let fine = name == part || allowed.contains(&name.as_str());
                assert!(fine, "{} names crate::{name}; {part} may import only {allowed:?}", file.display());
            }
        }
    }
    for file in files(&source().join("bin")) {
        let code = code(&file);
        assert!(!code.contains("mod ") && code.lines().count() < 15, "{} is more than a main", file.display());
    }
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    name == "tests" || name.ends_with("_tests") || path.components().any(|part| part.as_os_str() == "tests")
}

fn pure() {
    for part in PURE {
        for file in files(&source().join(part)).into_iter().filter(|file| !is_test(file)) {
            let code = code(&file);
            let first = code.lines().map(str::trim).find(|line| !line.is_empty());
            assert_eq!(first, Some("#![forbid(unsafe_code)]"), "{}", file.display());
            for clock in ["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now"] {
                assert!(!code.contains(clock), "{} reads a clock", file.display());
            }
            for reach in ["std::fs::", "std::net::", "std::process::", "std::env::", "libc::", "nix::"] {
                // Names of constants are no I/O.
                let reaches = code.match_indices(reach).any(|(at, _)| {
                    word(&code[at + reach.len()..]).is_some_and(|word| word.starts_with(char::is_lowercase))
                });
                assert!(!reaches, "{} reaches out of the process ({reach})", file.display());
            }
        }
    }
}

fn unsafe_code() {
    let mut seen = 0;
    let budget = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/SECURITY.md")).expect("SECURITY.md");
    for file in files(&source()) {
        let code = code(&file);
        let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        let used = words.filter(|word| *word == "unsafe").count();
        let inside = file.strip_prefix(source()).is_ok_and(|path| path.starts_with("system"));
        assert!(used == 0 || inside, "{} has unsafe code", file.display());
        if used > 0 {
            // The budget: a block more, or less, is a change of SECURITY.md.
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            let row = format!("| `{name}` | {used} |");
            assert!(budget.contains(&row), "SECURITY.md should have the row {row} …");
        }
        seen += used;
    }
    assert!(seen > 0, "this test sees unsafe code");
}

/// The tests in the crate itself, and those of this binary, as it lists them.
fn known_tests() -> BTreeSet<String> {
    let own = std::env::current_exe().expect("this test");
    let listed = std::process::Command::new(own).arg("--list").output().expect("a list");
    let listed = String::from_utf8(listed.stdout).expect("text");
    let mut known: BTreeSet<String> =
        listed.lines().filter_map(|line| line.strip_suffix(": test")).map(|name| name.trim().to_owned()).collect();
    for file in files(&source()) {
        let code = code(&file);
        let tests = code.split("#[test]").skip(1).filter_map(|rest| word(rest.split_once("fn ")?.1));
        known.extend(tests);
    }
    known
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn promises() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/SECURITY.md")).expect("SECURITY.md");
    let section = |title: &str| {
        let rest = text.split_once(&format!("## {title}\n")).expect(title).1;
        rest.split_once("\n## ").map_or(rest, |(section, _)| section)
    };
    let known = known_tests();
    let is_known = |name: &str| known.contains(name);
    assert!(
        is_known("every_promise_names_its_tests_and_there_are_such")
            && is_known("a_clone_that_reports_nonsense_is_killed")
    );
    let (mut named, mut missing) = (0, Vec::new());
    let mut see = |of: &str, tests: &str| {
        let before = named;
        named += quoted(tests).count();
        assert!(named > before, "a test is named: {of}");
        missing.extend(quoted(tests).filter(|name| !is_known(name)).map(str::to_owned));
    };
    for promise in section("Promises").split("\n- ").skip(1) {
        let (_, tests) = promise.split_once("Tests:").unwrap_or_else(|| panic!("no tests are named: {promise}"));
        see(promise, tests);
    }
    for row in section("What went wrong elsewhere").lines().filter(|line| line.starts_with("| ")).skip(1) {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        if !tests.starts_with('–') {
            see(row, tests);
        }
    }
    assert!(missing.is_empty(), "SECURITY.md names tests that are not there: {missing:#?}");
    assert!(named > 60, "this test sees names: {named}");
}

/// What no program that runs as root may contain, but landlock: the spawner restricts programs with it.
const FOREIGN: [&str; 8] =
    ["rustls", "lettre", "rustyline", "tokio", "landlock", "seccompiler", "serde_saphyr", "flate2"];

/// The names in a program's symbol table that begin in one of these crates.
fn foreign_symbols(program: &str) -> BTreeSet<String> {
    let names = symbol_names(&std::fs::read(program).expect("a program"));
    assert!(names.len() > 1000, "{program}: only {} symbols; is it stripped?", names.len());
    assert!(names.iter().any(|name| name.contains("taskmaster")), "{program}: not even its own symbols");
    // Mangled names hold every crate and module as length and name: `8rustyline`.
    let mangled = |name: &str| FOREIGN.iter().find(|foreign| name.contains(&format!("{}{foreign}", foreign.len())));
    names.iter().filter_map(|name| mangled(name)).map(|name| (*name).to_owned()).collect()
}

fn symbols() {
    for seen in ["rustyline", "landlock", "seccompiler", "serde_saphyr"] {
        assert!(foreign_symbols(env!("CARGO_BIN_EXE_taskmasterctl")).contains(seen), "this test sees symbols");
    }
    assert!(foreign_symbols(env!("CARGO_BIN_EXE_taskmaster-logger")).contains("flate2"), "the one that compresses");
    assert_eq!(foreign_symbols(env!("CARGO_BIN_EXE_taskmasterd")), BTreeSet::new(), "taskmasterd");
    let spawner = foreign_symbols(env!("CARGO_BIN_EXE_taskmaster-spawner"));
    assert_eq!(spawner, BTreeSet::from(["landlock".to_owned()]), "taskmaster-spawner");
}

/// The names of the symbol table of a 64-bit little-endian ELF file.
fn symbol_names(elf: &[u8]) -> Vec<String> {
    const SYMBOL_TABLE: u64 = 2;
    const SYMBOL_SIZE: usize = 24;
    let number = |at: usize, size: usize| -> u64 {
        let bytes = elf.get(at..at + size).expect("within the file");
        bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    let place = |at: usize, size: usize| usize::try_from(number(at, size)).expect("fits");
    assert_eq!(elf.get(..6), Some(&b"\x7fELF\x02\x01"[..]), "64-bit little-endian ELF");
    let (sections, size, count) = (place(0x28, 8), place(0x3a, 2), place(0x3c, 2));
    let section = |index: usize| sections + index * size;
    let range = |index: usize| {
        let start = place(section(index) + 0x18, 8);
        start..start + place(section(index) + 0x20, 8)
    };
    let table = (0..count).find(|index| number(section(*index) + 4, 4) == SYMBOL_TABLE).expect("a symbol table");
    let strings = &elf[range(place(section(table) + 0x28, 4))];
    let name = |at: usize| {
        let bytes = &strings[place(at, 4)..];
        let end = bytes.iter().position(|byte| *byte == 0).expect("a NUL");
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    range(table).step_by(SYMBOL_SIZE).map(name).collect()
}
