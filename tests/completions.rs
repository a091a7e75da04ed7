//! The completions of bash, zsh and fish, in these shells, with the names of programs that run.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::supervisor::TASKMASTERCTL;
use crate::support::{Need, Supervisor, is_root, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("bash completes commands options and names of programs", &[Need::Program("bash")], bash),
        test("fish completes commands options and names of programs", &[Need::Program("fish")], fish),
        test("zsh completes commands and names of programs", &[Need::Program("zsh")], zsh),
        test("without a supervisor the commands are completed", &[Need::Program("bash")], unreachable),
    ]
}

fn start() -> Supervisor {
    let user = if is_root() { "user = \"nobody\"" } else { "" };
    let program = |name: &str, count| {
        format!("[programs.{name}]\ncmd = \"sleep 1000\"\nstarttime = 0\nnumprocs = {count}\n{user}\n")
    };
    let supervisor = Supervisor::start(&(program("web", 2) + &program("mail", 1)));
    supervisor.wait_for_state("web:1", "RUNNING");
    supervisor
}

/// What a shell prints that carries out this script, with `taskmasterctl` on its path.
#[track_caller]
fn said(shell: &str, options: &[&str], script: &str) -> Vec<String> {
    let directory = Path::new(TASKMASTERCTL).parent().expect("a directory");
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(shell);
    command.args(options).args(["-c", script]).env("PATH", path).env("TERM", "dumb").env_remove("TASKMASTER_SOCKET");
    let output = command.current_dir("/").output().expect("a shell");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(complaints.is_empty(), "{shell}: {complaints}");
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim_end().to_owned()).collect()
}

fn file(name: &str) -> String {
    format!("{}/etc/completions/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn in_bash(line: &str) -> Vec<String> {
    let source = file("taskmasterctl.bash");
    let script = format!(
        "source {source}; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _taskmasterctl; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    said("bash", &["--norc", "--noprofile"], &script)
}

fn bash() {
    let supervisor = start();
    let line = |rest: &str| format!("taskmasterctl -s {} {rest}", supervisor.socket().display());
    assert_eq!(in_bash(&line("rel")), ["reload"]);
    assert_eq!(in_bash(&line("reload --d")), ["--dry-run"]);
    assert_eq!(in_bash(&line("stop ")), ["all", "mail", "web", "web:0", "web:1"]);
    assert_eq!(in_bash(&line("stop mail w")), ["web", "web:0", "web:1"]);
    // bash replaces only what is behind the colon.
    assert_eq!(in_bash(&line("stop web:")), ["0", "1"]);
    assert_eq!(in_bash(&line("signal USR")), ["USR1", "USR2"]);
    let daemon = format!(
        "source {}; COMP_WORDS=(taskmasterd --n); COMP_CWORD=1; _taskmasterd; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        file("taskmasterd.bash")
    );
    assert_eq!(said("bash", &["--norc", "--noprofile"], &daemon), ["--no-shell"]);
}

fn fish() {
    let supervisor = start();
    let complete = |rest: &str| {
        let line = format!("taskmasterctl -s {} {rest}", supervisor.socket().display());
        said(
            "fish",
            &["--no-config"],
            &format!("source {}; complete --do-complete '{line}'", file("taskmasterctl.fish")),
        )
    };
    assert_eq!(complete("rel"), ["reload\tRead the configuration again and apply what has changed"]);
    assert_eq!(complete("stop web:"), ["web:0", "web:1"]);
    assert_eq!(complete("stop mail ma"), ["mail"]);
    assert!(complete("reload --d").iter().any(|line| line.starts_with("--dry-run\t")));
    let daemon = format!("source {}; complete --do-complete 'taskmasterd --no'", file("taskmasterd.fish"));
    assert_eq!(said("fish", &["--no-config"], &daemon), ["--no-shell\tNo control shell, also on a terminal"]);
}

/// zsh completes on a terminal only; the function is called with the words as it would be, and what it hands
/// to `_describe` is shown.
fn zsh() {
    let supervisor = start();
    let complete = |rest: &str| {
        let script = format!(
            "_describe() {{ print -rl -- \"${{(@P)2}}\" }}; _files() {{ print files }}; \
             words=(taskmasterctl -s {} {rest}); CURRENT=${{#words}}; source {}",
            supervisor.socket().display(),
            file("_taskmasterctl")
        );
        said("zsh", &["--no-rcs"], &script)
    };
    assert_eq!(complete("rel"), ["reload:Read the configuration again and apply what has changed"]);
    assert_eq!(complete("stop web:"), ["web\\:0", "web\\:1"]);
    assert_eq!(complete("frob ''"), ["files"]);
    let syntax = Command::new("zsh").args(["--no-rcs", "-n", &file("_taskmasterd")]).output().expect("zsh");
    assert!(syntax.status.success(), "{}", String::from_utf8_lossy(&syntax.stderr));
}

fn unreachable() {
    assert_eq!(in_bash("taskmasterctl -s /nowhere shut"), ["shutdown"]);
    assert_eq!(in_bash("taskmasterctl -s /nowhere stop "), [""]);
}
