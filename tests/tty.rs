//! `tty`: a program with a terminal of its own, seen by the kernel, by itself and in its log.

use std::os::unix::fs::MetadataExt;

use libtest_mimic::Trial;

use crate::support::account::Account;
use crate::support::{Need, Supervisor, eventually, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("a program leads a session on a terminal of its own", &[Need::Root], terminal),
        test("a dead logger hangs up no terminal", &[Need::Root], dead_logger),
        test("a terminal is read to its end and then given back", &[Need::Root], ends),
    ]
}

/// The terminals that the core holds.
fn masters(supervisor: &Supervisor) -> usize {
    proc::descriptors(supervisor.pid()).values().filter(|target| target.ends_with("ptmx")).count()
}

fn terminal() {
    let user = Account::user("tm-test-tty", &[]);
    let script = "for n in 0 1 2; do test -t $n && echo $n is one; done; echo $TERM; stty size; echo error >&2; \
                  echo direct >/dev/tty; exec sleep 1000";
    let supervisor = Supervisor::start(&format!(
        "[programs.one]\ncmd = [\"sh\", \"-c\", \"{script}\"]\nuser = \"tm-test-tty\"\nstarttime = 0\ntty = true\n"
    ));
    let life = "0 is one\r\n1 is one\r\n2 is one\r\nvt220\r\n24 80\r\nerror\r\ndirect\r\n";
    let log = || supervisor.read("log/one.stdout.log");
    eventually("the first life has spoken", || (log() == life).then_some(()));
    let first = supervisor.pid_of("one");
    let stat = proc::stat(first);
    let pid = first.to_string();
    assert_eq!((&stat[2], &stat[3], &stat[5]), (&pid, &pid, &pid), "it leads group and session, in the foreground");
    assert_ne!(stat[4], "0", "a controlling terminal");
    // The loader of what it executes last still has a library open for a moment.
    let open = eventually("it has three descriptors", || {
        let open = proc::descriptors(first);
        (open.keys().copied().collect::<Vec<_>>() == [0, 1, 2]).then_some(open)
    });
    assert!(open[&0].starts_with("/dev/pts/") && open[&0] == open[&1] && open[&1] == open[&2], "{open:?}");
    let meta = std::fs::metadata(format!("/proc/{first}/fd/0")).expect("a terminal");
    let group = nix::unistd::Group::from_name("tty").expect("a database");
    match group {
        Some(group) => assert_eq!((meta.gid(), meta.mode() & 0o7777), (group.gid.as_raw(), 0o620)),
        None => assert_eq!(meta.mode() & 0o7777, 0o600),
    }
    assert_eq!(meta.uid(), user.id);
    assert!(!supervisor.path("log/one.stderr.log").exists());

    assert_eq!(supervisor.ctl(&["restart", "one"]).code, 0);
    eventually("the second life has spoken", || (log() == life.repeat(2)).then_some(()));
    assert_ne!(supervisor.pid_of("one"), first);
    eventually("one terminal is left", || (masters(&supervisor) == 1).then_some(()));
    assert_eq!(supervisor.ctl(&["stop", "one"]).code, 0);
    eventually("no terminal is left", || (masters(&supervisor) == 0).then_some(()));
}

fn dead_logger() {
    let supervisor = Supervisor::start(
        "[programs.one]\ncmd = [\"sh\", \"-c\", \"trap 'echo hung up' HUP; while :; do echo tick; sleep 0.02; done\"]\n\
         user = \"nobody\"\nstarttime = 0\ntty = true\n",
    );
    let length = || supervisor.read("log/one.stdout.log").len();
    eventually("it speaks", || (length() > 0).then_some(()));
    let pid = supervisor.pid_of("one");
    let loggers = proc::children(supervisor.pid()).into_iter();
    let logger = loggers.filter(|pid| comm(*pid) == "taskmaster-logg").collect::<Vec<_>>();
    assert_eq!(logger.len(), 1);
    proc::kill(logger[0], 9);
    supervisor.wait_for_recent("another logger", |event| event["kind"] == "worker.restarted");
    let before = length();
    eventually("what it says is written again", || (length() > before).then_some(()));
    assert_eq!(supervisor.pid_of("one"), pid);
    assert!(supervisor.read("log/one.stdout.log").lines().all(|line| line == "tick"));
}

fn comm(pid: i64) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

fn ends() {
    let supervisor = Supervisor::start(
        "[defaults]\nuser = \"nobody\"\nstarttime = 0\nautorestart = \"never\"\ntty = true\n\
         [programs.large]\ncmd = \"seq 1 20000\"\n\
         [programs.unread]\ncmd = \"seq 1 20000\"\nstdout = \"discard\"\n\
         [programs.closes]\ncmd = [\"sh\", \"-c\", \"exec 0<&- 1>&- 2>&-; sleep 0.2; echo still here >/dev/tty; exec sleep 1000\"]\n",
    );
    let whole: String = (1..=20_000).map(|n| format!("{n}\r\n")).collect();
    eventually("all is written", || (supervisor.read("log/large.stdout.log") == whole).then_some(()));
    supervisor.wait_for_state("large", "EXITED");
    supervisor.wait_for_state("unread", "EXITED");
    eventually("it speaks again", || (supervisor.read("log/closes.stdout.log") == "still here\r\n").then_some(()));
    assert_eq!(supervisor.state("closes"), "RUNNING");
    eventually("one terminal is left", || (masters(&supervisor) == 1).then_some(()));
}
