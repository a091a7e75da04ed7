//! The documents that are made from the tables in the code: the man pages and the annotated configuration in
//! `etc/`, the interface's description there, and the tables of the README. Only tests are here: one makes all
//! of them and compares; with `TASKMASTER_WRITE_DOCUMENTS` set it writes what is not current.

mod config_file;
mod events;
mod examples;
mod man;
mod pages;
mod readme;

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document: where it is, and what it should be.
fn all() -> Vec<(PathBuf, String)> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    [
        ("etc/man/taskmasterd.8", pages::taskmasterd()),
        ("etc/man/taskmasterctl.1", pages::taskmasterctl()),
        ("etc/man/taskmaster.toml.5", pages::configuration()),
        ("etc/man/taskmaster-events.7", pages::events()),
        ("etc/taskmaster.toml", config_file::annotated()),
        ("README.md", readme::current(&readme)),
    ]
    .map(|(path, text)| (root().join(path), text))
    .into()
}

#[test]
fn every_document_is_what_the_tables_say() {
    let write = std::env::var_os("TASKMASTER_WRITE_DOCUMENTS").is_some();
    let mut stale = Vec::new();
    for (path, text) in all() {
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        if write {
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            std::fs::write(&path, &text).expect("written");
        } else {
            stale.push(path.display().to_string());
        }
    }
    assert!(
        stale.is_empty(),
        "{} should be made anew: TASKMASTER_WRITE_DOCUMENTS=1 cargo test --lib documents",
        stale.join(", ")
    );
}

/// groff reads every page without a warning.
#[test]
fn the_man_pages_are_clean() {
    for (path, _) in all().into_iter().filter(|(path, _)| path.parent().is_some_and(|parent| parent.ends_with("man"))) {
        let mut command = std::process::Command::new("groff");
        command.args(["-man", "-Tutf8", "-ww", "-rCHECKSTYLE=3", "-z"]).arg(&path);
        let Ok(output) = command.output() else {
            assert_ne!(std::env::var("TASKMASTER_TEST_REQUIRE").as_deref(), Ok("all"), "groff is not there");
            return;
        };
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", path.display());
    }
}

#[test]
fn the_completions_of_taskmasterd_have_every_option() {
    for file in ["taskmasterd.bash", "_taskmasterd", "taskmasterd.fish"] {
        let text = std::fs::read_to_string(root().join("etc/completions").join(file)).expect("a completion");
        for option in pages::daemon_options() {
            let long = option.tag.split_whitespace().find_map(|word| word.strip_prefix("--")).expect("a long form");
            assert!(
                text.contains(&format!("--{long}")) || text.contains(&format!("-option {long} ")),
                "{file}: {long}"
            );
        }
        assert!(text.contains("check"), "{file}");
    }
}
