//! How people are told: settings that are refused, secrets that are not safe, and what the notifier is given.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use libtest_mimic::Trial;
use serde_json::json;

use crate::support::look::{taskmasterd, uid};
use crate::support::{Need, Supervisor, eventually, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("check tells every fault of alerts and no secret", &[Need::Root], faults),
        test("a secret that others can read is refused with what to do", &[Need::Root], unsafe_secrets),
        test("a secret may be a credential of systemd", &[Need::Root], credential),
        test("a reload with bad alerts or a bad secret changes nothing", &[Need::Root], bad_reload),
        test("who is told changes without a restart of the program", &[Need::Root], told_in_place),
        test("the notifier gets directories of its own", &[Need::Root], directories),
        test("a directory in other hands is told and the supervisor goes on", &[Need::Root], foreign_directory),
        test("another maildir is another notifier and nothing else", &[Need::Root], another_maildir),
    ]
}

const WEB: &str = "[programs.web]\ncmd = \"sleep 1000\"\nuser = \"nobody\"\nstarttime = 0\n";
const EMAIL: &str = "[notify.email]\nserver = \"localhost:1\"\nfrom = \"tm@example.com\"\nto = \"ops@example.com\"\n";
const LOGIN: &str = "username = \"u\"\npassword_file = \"@dir@/password\"\n";
const SPOOL: i32 = 4;
const MAILDIR: i32 = 5;

fn maildir(name: &str) -> String {
    format!("{WEB}[notify.email]\nmaildir = \"@dir@/{name}\"\nfrom = \"tm@example.com\"\nto = \"ops@example.com\"\n")
}

fn check(supervisor: &Supervisor) -> crate::support::Ctl {
    taskmasterd(&["check", "-c", &supervisor.config().display().to_string()], |_| {})
}

fn faults() {
    let supervisor = Supervisor::prepare(&format!(
        "{WEB}alert_to = \"chat\"\n[notify.email]\nserver = \"h\"\nfrom = \"me\"\nto = []\npassword = \"hunter2\"\ntls = \"none\"\n\
         [notify.webhooks.chat]\nurl = \"hunter2\"\n[[notify.rules]]\non = \"process.crash\"\nto = \"email\"\n"
    ));
    let checked = check(&supervisor);
    assert_eq!((checked.code, checked.stdout.as_str()), (2, ""), "{checked:?}");
    for words in [
        "did you mean \"webhooks.chat\"?",
        "`me` is no mail address",
        "`to` is empty: nobody would be told",
        "`password` does not stand in the configuration",
        "`url` is no URL",
        "did you mean \"process.crashed\"?",
        "6 faults and 1 warning in 1 file",
    ] {
        assert!(checked.stderr.contains(words), "{words}: {}", checked.stderr);
    }
    assert!(!checked.stderr.contains("hunter2"), "{}", checked.stderr);
}

fn unsafe_secrets() {
    let supervisor = Supervisor::prepare(&format!("{WEB}{EMAIL}{LOGIN}"));
    let refused = |words: &str| {
        let checked = check(&supervisor);
        assert!(checked.code == 2 && checked.stderr.contains(words), "{words}: {checked:?}");
        assert!(!checked.stderr.contains("hunter2"), "{checked:?}");
    };
    let password = supervisor.path("password");
    refused("No such file or directory");
    for mode in [0o640, 0o604, 0o644, 0o610] {
        supervisor.file("password", "hunter2\n", mode);
        refused("can be read by others; take the right away (chmod 0600)");
    }
    supervisor.file("password", "hunter2\n", 0o600);
    let checked = check(&supervisor);
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{checked:?}");
    chown(&password, Some(uid("nobody")), None).expect("chown");
    refused("it must belong to root");
    chown(&password, Some(0), None).expect("chown");
    supervisor.file("password", "", 0o600);
    refused("a secret of 1 to 4096 bytes");
    std::fs::remove_file(&password).expect("rm");
    supervisor.fifo("password");
    refused("is not a plain file");
}

fn credential() {
    let supervisor = Supervisor::prepare(&format!(
        "{WEB}{EMAIL}username = \"u\"\npassword_file = \"${{env:CREDENTIALS_DIRECTORY}}/smtp\"\n"
    ));
    // As systemd shows what it has given to another user by an access list.
    supervisor.file("smtp", "hunter2", 0o440);
    let config = supervisor.config().display().to_string();
    let with = taskmasterd(&["check", &config], |command| {
        command.env("CREDENTIALS_DIRECTORY", supervisor.path(""));
    });
    assert_eq!((with.code, with.stderr.as_str()), (0, ""), "{with:?}");
    let without = taskmasterd(&["check", &config], |command| {
        command.env_remove("CREDENTIALS_DIRECTORY");
    });
    assert!(without.code == 2 && without.stderr.contains("no variable \"CREDENTIALS_DIRECTORY\""), "{without:?}");
}

fn bad_reload() {
    let mut supervisor = Supervisor::prepare(&format!("{WEB}{EMAIL}{LOGIN}"));
    supervisor.file("password", "hunter2", 0o600);
    supervisor.launch();
    supervisor.wait_for_state("web", "RUNNING");
    let before = (supervisor.pid_of("web"), supervisor.helper("notifier"));
    supervisor.configure(&format!("{}{EMAIL}{LOGIN}tls = \"none\"\n", WEB.replace("1000", "2000")));
    let rejected = supervisor.ctl(&["reload"]);
    assert_eq!(rejected.code, 1, "{rejected:?}");
    assert!(rejected.stderr.contains("a password is never sent without TLS"), "{rejected:?}");
    supervisor.configure(&format!("{}{EMAIL}{LOGIN}", WEB.replace("1000", "2000")));
    supervisor.file("password", "hunter2", 0o644);
    let rejected = supervisor.ctl(&["reload"]);
    assert!(rejected.code == 1 && rejected.stderr.contains("chmod 0600"), "{rejected:?}");
    let told = supervisor.wait_for_event("the refusal", |event| {
        event["kind"] == "config.rejected" && event["message"].to_string().contains("chmod 0600")
    });
    assert!(!told.to_string().contains("hunter2"), "{told}");
    assert_eq!((supervisor.pid_of("web"), supervisor.helper("notifier")), before);
    assert_eq!(supervisor.stop(), 0);
}

fn told_in_place() {
    let mut supervisor = Supervisor::start(&format!("{WEB}{EMAIL}"));
    supervisor.wait_for_state("web", "RUNNING");
    let before = (supervisor.pid_of("web"), supervisor.helper("notifier"));
    let reply = supervisor.reload_with(&format!(
        "{WEB}alert_to = \"dba@example.com\"\nsyslog_tag = \"shop\"\n{EMAIL}[notify.syslog]\ntarget = \"/nonexistent/log\"\n"
    ));
    assert_eq!(reply["changed"], json!(["web"]), "{reply}");
    assert_eq!((supervisor.pid_of("web"), supervisor.helper("notifier")), before);
    assert_eq!(supervisor.stop(), 0);
}

#[track_caller]
fn assert_own(supervisor: &Supervisor, number: i32, name: &str) {
    let notifier = supervisor.helper("notifier");
    let path = supervisor.path(name);
    eventually(&format!("it has {name} open"), || {
        (proc::descriptors(notifier).get(&number)? == &path.display().to_string()).then_some(())
    });
    let directory = std::fs::symlink_metadata(&path).expect("there");
    assert_eq!(directory.mode() & 0o7777, 0o700);
    assert_eq!(directory.uid(), proc::ids(notifier, "Uid")[0]);
    assert_ne!(directory.uid(), 0);
}

fn directories() {
    let mut supervisor = Supervisor::start(&maildir("mail"));
    supervisor.wait_for_state("web", "RUNNING");
    assert_own(&supervisor, SPOOL, "state/alerts");
    assert_own(&supervisor, MAILDIR, "mail");
    assert_eq!(supervisor.stop(), 0);
    // What it has made it takes again.
    supervisor.launch();
    assert_own(&supervisor, SPOOL, "state/alerts");
    assert!(!supervisor.event_log().iter().any(|event| event["kind"] == "notify.failing"));
    assert_eq!(supervisor.stop(), 0);
}

/// What somebody has put in the place of the directory.
type Spoil = fn(&Supervisor);

fn foreign_directory() {
    let spoil: [(&str, Spoil); 4] = [
        ("is a symbolic link", |supervisor| symlink("/etc", supervisor.path("state/alerts")).expect("symlink")),
        ("belongs to uid", |supervisor| supervisor.subdirectory("state/alerts", 0o700, "nobody")),
        ("is open to others", |supervisor| {
            let path = supervisor.path("state/alerts");
            std::fs::create_dir(&path).expect("mkdir");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
            chown(&path, Some(notifier_uid()), None).expect("chown");
        }),
        ("is not a directory", |supervisor| supervisor.file("state/alerts", "", 0o600)),
    ];
    for (words, spoil) in spoil {
        let mut supervisor = Supervisor::prepare(&format!("{WEB}{EMAIL}"));
        supervisor.subdirectory("state", 0o711, "root");
        spoil(&supervisor);
        let before = std::fs::symlink_metadata(supervisor.path("state/alerts")).expect("there");
        supervisor.launch();
        supervisor.wait_for_state("web", "RUNNING");
        let told = supervisor.wait_for_event(words, |event| event["kind"] == "notify.failing");
        assert!(told["message"].as_str().is_some_and(|text| text.contains(words)), "{told}");
        assert!(told["message"].as_str().is_some_and(|text| text.contains("kept in memory only")), "{told}");
        assert!(!proc::descriptors(supervisor.helper("notifier")).values().any(|target| target.ends_with("/alerts")));
        let after = std::fs::symlink_metadata(supervisor.path("state/alerts")).expect("there");
        assert_eq!((before.uid(), before.mode(), before.ino()), (after.uid(), after.mode(), after.ino()));
        assert_eq!(supervisor.stop(), 0);
    }
}

/// That of the account, if there is one, else the fixed one.
fn notifier_uid() -> u32 {
    nix::unistd::User::from_name("taskmaster-notify").ok().flatten().map_or(64_711, |user| user.uid.as_raw())
}

fn another_maildir() {
    let mut supervisor = Supervisor::start(&maildir("one"));
    supervisor.wait_for_state("web", "RUNNING");
    assert_own(&supervisor, MAILDIR, "one");
    let (web, notifier) = (supervisor.pid_of("web"), supervisor.helper("notifier"));
    supervisor.reload_with(&maildir("two"));
    let told = supervisor.wait_for_event("another notifier", |event| event["kind"] == "worker.restarted");
    assert_eq!(told["message"], "the notifier was started again, because its directories have changed");
    assert_own(&supervisor, MAILDIR, "two");
    assert_ne!(supervisor.helper("notifier"), notifier);
    assert_eq!(supervisor.pid_of("web"), web);
    let log = supervisor.event_log();
    assert!(log.iter().zip(1..).all(|(event, seq)| event["seq"] == seq), "every event is there once: {log:?}");
    assert_eq!(supervisor.stop(), 0);
}
