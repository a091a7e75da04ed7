//! What a person sees of longer commands on a real terminal, at 80 columns and at 40, with colour and without:
//! `status` in detail and live, waits, rolling restarts, hints and the search in the history.

use std::process::Command;
use std::time::Instant;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::look::FAST;
use crate::support::supervisor::TASKMASTERCTL;
use crate::support::terminal::{CTRL_C, ENTER, Terminal};
use crate::support::{Need, PATIENCE, Supervisor, eventually, measured, proc, program, start, test, user};

pub fn trials() -> Vec<Trial> {
    vec![
        test("status of one process tells all about it at every width", &[], detail),
        test("status in detail as json and in a pipe", &[], detail_for_scripts),
        test("status in detail keeps configuration and output from who may not see them", &[Need::Root], detail_gated),
        test("a live status is drawn anew when something happens at every width", &[], live),
        test("a live status follows the size of the terminal and scrolls", &[], live_resized),
        test("a live status asks nothing while nothing happens", &[], live_is_quiet),
        test("a live status survives a restart of the supervisor", &[], live_reconnects),
        test("a live status gives the terminal back however it ends", &[], live_gives_back),
        test("a live status in the shell leaves the shell as it was", &[], live_in_the_shell),
        test("a rolling restart has each running before the next", &[], rolling),
        test("a rolling restart ends at the first failure", &[], rolling_fails),
        test("a wait that is limited tells who has not got there", &[], limited),
        test("a long wait shows how far it is and ctrl c leaves it and not the work", &[], progress),
        test("hints are faint and only where there is colour", &[], hints),
        test("the history is searched with ctrl r", &[], history_search),
        test("help of a command has examples", &[], help),
    ]
}

/// The four terminals that everything has to look right on: columns, and whether there is colour.
const LOOKS: [(u16, bool); 4] = [(80, true), (80, false), (40, true), (40, false)];

fn ctl(supervisor: &Supervisor, arguments: &[&str], colour: bool) -> Command {
    // Whatever the runner's environment says: the terminal removes NO_COLOR, so it is set behind that.
    let mut command = if colour {
        Command::new(TASKMASTERCTL)
    } else {
        let mut command = Command::new("env");
        command.args(["NO_COLOR=1", TASKMASTERCTL]);
        command
    };
    command.arg("-s").arg(supervisor.socket()).args(arguments).env("TZ", "UTC");
    command.env("XDG_STATE_HOME", supervisor.path("home"));
    command
}

fn on(supervisor: &Supervisor, arguments: &[&str], columns: u16, colour: bool) -> Terminal {
    Terminal::start_sized(ctl(supervisor, arguments, colour), 24, columns)
}

fn end(mut terminal: Terminal) -> i32 {
    let code = terminal.wait_for_end().code().unwrap_or(-1);
    assert!(terminal.settings() == terminal.initial, "the terminal is as before");
    code
}

/// Whether an escape sequence that sets a colour was written.
fn is_coloured(terminal: &Terminal) -> bool {
    terminal.written_since(0).match_indices("\x1b[").any(|(at, _)| {
        let rest = &terminal.written_since(0)[at + 2..];
        rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
    })
}

fn detail() {
    let speaks =
        "[programs.web]\ncmd = [\"sh\", \"-c\", 'echo hello; echo \"oh dear\" >&2; exec sleep 1000']\nstarttime = 0\n";
    let supervisor = start(&format!("{speaks}workingdir = \"/tmp\"\nlimits = {{ nofile = 77 }}\n{}\n", user()));
    for (log, words) in [("log/web.stdout.log", "hello"), ("log/web.stderr.log", "oh dear")] {
        eventually("it has spoken", || supervisor.read(log).contains(words).then_some(()));
    }
    let pid = supervisor.pid_of("web");
    for (columns, colour) in LOOKS {
        let terminal = Terminal::start_sized(ctl(&supervisor, &["status", "web"], colour), 40, columns);
        let screen = terminal.wait_for("last of stderr\n  oh dear");
        assert!(screen.starts_with("web  RUNNING\n"), "{screen}");
        for line in [
            &format!("  pid        {pid}, up "),
            "  wanted     up",
            "  restarts   0",
            "  command    sh -c",
            "  directory  /tmp",
            "  umask      022",
            "last events",
            "last of stdout\n  hello",
            "last of stderr\n  oh dear",
        ] {
            assert!(screen.contains(line), "{columns}: no {line:?} in\n{screen}");
        }
        let joined = screen.replace(['\n', ' '], "");
        assert!(joined.contains("nofile=77") && joined.contains("log/web.stdout.log"), "{screen}");
        assert_eq!(is_coloured(&terminal), colour, "{screen}");
        assert_eq!(end(terminal), 0);
    }
    // Two at once, and a pattern, are a table.
    let terminal = on(&supervisor, &["status", "w*"], 80, false);
    terminal.wait_until("a table", |screen| screen.starts_with("NAME") && screen.contains("RUNNING"));
    assert_eq!(end(terminal), 0);
}

fn detail_for_scripts() {
    let supervisor = start(&(program("web", "") + &program("db", "autostart = false")));
    let lines = supervisor.ctl(&["status", "web"]);
    assert!(lines.code == 0 && lines.stdout.lines().count() == 1, "{lines:?}");
    let detailed = supervisor.ctl(&["status", "--detail"]);
    assert_eq!(detailed.code, 3);
    assert!(detailed.stdout.starts_with("db  STOPPED\n") && detailed.stdout.contains("\nweb  RUNNING\n"));
    let json = supervisor.ctl(&["status", "--detail", "--json", "web"]);
    let all: Vec<Value> = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!((all.len(), &all[0]["process"]), (1, &Value::from("web")));
    assert_eq!(all[0]["details"]["command"], serde_json::json!(["sleep", "1000"]));
    assert_eq!(all[0]["details"]["umask"], "022");
    assert_eq!(all[0]["events"][0]["kind"], "process.starting");
    let wrong = supervisor.ctl(&["status", "--watch"]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (2, ""));
    assert!(wrong.stderr.contains("needs a terminal"), "{wrong:?}");
    assert_eq!(supervisor.ctl(&["status", "--watch", "--json"]).code, 2);
    let unnamed = supervisor.call("Details", serde_json::json!({ "selectors": [] }));
    assert_eq!(unnamed["parameters"]["parameter"], "selectors");
}

fn detail_gated() {
    use std::os::unix::process::CommandExt;
    let allow = "[control]\nmode = \"0666\"\n[[control.allow]]\nusers = [\"nobody\"]\nverbs = [\"status\"]\n";
    let supervisor = start(&(program("web", "") + allow));
    let mut command = Command::new(crate::support::look::reachable(TASKMASTERCTL, &supervisor));
    let nobody = crate::support::look::uid("nobody");
    command.arg("-s").arg(supervisor.socket()).args(["status", "--detail", "web"]).uid(nobody).gid(nobody);
    let shown = crate::support::Ctl::from(command.current_dir("/").output().expect("runs"));
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.stdout.contains("command    not shown: that needs `config`"), "{shown:?}");
    assert!(shown.stdout.contains("output     not shown: that needs `tail`"), "{shown:?}");
    assert!(!shown.stdout.contains("sleep") && !shown.stdout.contains("web.stdout.log"), "{shown:?}");
    assert!(supervisor.event_log().iter().all(|event| event["kind"] != "control.denied"), "nothing was refused");
}

fn live() {
    let supervisor = start(&(program("web", "") + &program("db", "autostart = false")));
    for (columns, colour) in LOOKS {
        let terminal = on(&supervisor, &["status", "--watch"], columns, colour);
        // A supervisor that is late to answer is tried again.
        let screen = terminal.wait_until("the processes", |screen| {
            screen.starts_with("2 processes: 1 running, 1 stopped\nNAME") && screen.lines().last() == Some("q leaves")
        });
        assert!(screen.lines().count() <= 24, "{screen}");
        assert_eq!(is_coloured(&terminal), colour, "{screen}");
        assert_eq!(supervisor.ctl(&["start", "db"]).code, 0);
        terminal.wait_for("2 processes: 2 running");
        let pid = supervisor.pid_of("web");
        proc::kill(pid, 9);
        terminal.wait_for("web crashed: SIGKILL");
        supervisor.wait_until("another runs", |all| {
            all.iter().any(|p| p["process"] == "web" && p["pid"].as_i64().is_some_and(|new| new != pid))
        });
        assert_eq!(supervisor.ctl(&["stop", "db"]).code, 0);
        terminal.wait_for("2 processes: 1 running, 1 stopped");
        terminal.keys(if columns == 80 { "q" } else { CTRL_C });
        assert_eq!(end(terminal), 0);
    }
    let terminal = on(&supervisor, &["status", "--watch", "wbe"], 80, false);
    terminal.wait_for("did you mean `web`?");
    assert_eq!(end(terminal), 4);
}

fn live_resized() {
    let supervisor = start(&program("web", "numprocs = 30"));
    let terminal = on(&supervisor, &["status", "--watch"], 80, false);
    terminal.wait_for("USER");
    terminal.resize(10, 40);
    terminal.wait_until("it is drawn for its new size", |screen| {
        let fits = !screen.contains("USER") && screen.lines().count() == 10;
        fits && screen.contains("1-7 of 30; arrow keys scroll, q leaves")
    });
    terminal.keys("\x1b[B");
    terminal.wait_for("2-8 of 30");
    terminal.keys("\x1b[6~\x1b[6~\x1b[6~\x1b[6~\x1b[6~");
    terminal.wait_for("24-30 of 30");
    terminal.keys("\x1b[A");
    terminal.wait_for("23-29 of 30");
    terminal.resize(60, 100);
    terminal.wait_until("all are there again", |screen| screen.contains("web:0 ") && screen.contains("web:29 "));
    terminal.keys("q");
    assert_eq!(end(terminal), 0);
}

/// How often a process has gone to sleep by itself: once for each thing that woke it.
fn wakes(pid: i64) -> u64 {
    proc::status(pid)["voluntary_ctxt_switches"].parse().expect("a number")
}

fn live_is_quiet() {
    let supervisor = start(&program("web", ""));
    let terminal = on(&supervisor, &["status", "--watch"], 80, false);
    terminal.wait_for("q leaves");
    // The uptime is counted, and the supervisor sleeps.
    terminal.wait_until("it counts", |screen| screen.contains("web") && screen.contains("1s"));
    // What it has still to do of before is none of it.
    measured("nobody asks it anything", || {
        let before = wakes(supervisor.pid());
        for _ in 0..2 {
            let written = terminal.mark();
            terminal.wait_for_written(written, "\x1b[J");
        }
        let more = wakes(supervisor.pid()) - before;
        if more == 0 { Ok(()) } else { Err(format!("it woke {more} times")) }
    });
    terminal.keys("q");
    assert_eq!(end(terminal), 0);
}

fn live_reconnects() {
    let mut supervisor = start(&program("web", ""));
    let terminal = on(&supervisor, &["status", "--watch"], 80, false);
    terminal.wait_for("1 process: 1 running");
    assert_eq!(supervisor.stop(), 0);
    terminal.wait_for("trying again");
    supervisor.launch();
    supervisor.wait_for_state("web", "RUNNING");
    let pid = supervisor.pid_of("web");
    terminal.wait_until("the new process", |screen| {
        screen.contains(&format!(" {pid} ")) && screen.trim_end().ends_with("q leaves")
    });
    // Also when it is killed, and keys are heard meanwhile.
    supervisor.kill_hard();
    terminal.wait_for("trying again");
    terminal.keys("q");
    assert_eq!(end(terminal), 0);
}

fn live_gives_back() {
    let supervisor = start(&program("web", ""));
    for signal in [2, 15, 1] {
        let terminal = on(&supervisor, &["status", "--watch"], 80, true);
        terminal.wait_for("q leaves");
        proc::kill(terminal.pid(), signal);
        let screen = || terminal.written_since(0);
        eventually("it leaves the screen", || screen().ends_with("\x1b[?25h\x1b[?1049l").then_some(()));
        assert_eq!(end(terminal), 0);
    }
    // The supervisor takes no permission back in words that are lost with the screen.
    let mut terminal = on(&supervisor, &["status", "--watch"], 80, true);
    terminal.wait_for("q leaves");
    terminal.hang_up();
    terminal_ends(terminal);
}

fn terminal_ends(mut terminal: Terminal) {
    terminal.wait_for_end();
}

fn live_in_the_shell() {
    let supervisor = start(&program("web", ""));
    let terminal = on(&supervisor, &[], 80, true);
    terminal.prompt();
    let mark = terminal.mark();
    terminal.line("status --watch web; version");
    terminal.wait_for("q leaves");
    // What is told above the prompt elsewhere does not go into the picture.
    assert_eq!(supervisor.ctl(&["restart", "web"]).code, 0);
    terminal.wait_for("web stopped");
    terminal.wait_until("the picture is whole", |screen| {
        screen.starts_with("1 process: 1 running\n") && screen.contains("web starting") && screen.ends_with("q leaves")
    });
    terminal.resize(20, 60);
    terminal.wait_until("it is drawn anew", |screen| screen.lines().count() == 20);
    terminal.keys(CTRL_C);
    // The rest of the line is carried out, on the screen that was there before.
    terminal.wait_for("taskmasterd 0");
    terminal.prompt();
    assert!(terminal.written_since(mark).contains("\x1b[?1049l"));
    assert!(!terminal.screen().contains("q leaves"), "{}", terminal.screen());
    terminal.line("pid web");
    let pid = supervisor.pid_of("web").to_string();
    terminal.wait_until("the shell goes on", |screen| screen.lines().any(|line| line.trim() == pid));
    terminal.line("exit");
    assert_eq!(end(terminal), 0);
}

fn rolling() {
    let slow = program("web", "numprocs = 3").replace("starttime = 0", "starttime = \"300ms\"");
    let supervisor = start(&slow);
    let before: Vec<i64> = ["web:0", "web:1", "web:2"].map(|name| supervisor.pid_of(name)).to_vec();
    let done = supervisor.ctl(&["restart", "--rolling", "web"]);
    assert_eq!(done.code, 0, "{done:?}");
    let expected: String = (0..3).map(|n| format!("web:{n}: stopped\nweb:{n}: started\n")).collect();
    assert_eq!(done.stdout, expected);
    for (name, old) in ["web:0", "web:1", "web:2"].iter().zip(before) {
        assert_ne!(supervisor.pid_of(name), old);
    }
    // Each is RUNNING before the next is stopped.
    let told: Vec<(String, String)> = supervisor
        .recent_events()
        .iter()
        .filter(|event| event["kind"] == "process.running" || event["kind"] == "process.stopping")
        .skip(3)
        .map(|event| {
            (event["process"].as_str().unwrap_or("?").to_owned(), event["kind"].as_str().unwrap_or("?").to_owned())
        })
        .collect();
    let expected: Vec<(String, String)> = (0..3)
        .flat_map(|n| {
            [(format!("web:{n}"), "process.stopping".to_owned()), (format!("web:{n}"), "process.running".to_owned())]
        })
        .collect();
    assert_eq!(told, expected);
    let json = supervisor.ctl(&["restart", "--rolling", "--json", "web"]);
    let reply: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(reply["results"].as_array().map(Vec::len), Some(3));
    let terminal = on(&supervisor, &["restart", "--rolling", "web"], 40, true);
    terminal.wait_for("web:2: restarted");
    assert_eq!(end(terminal), 0);
    assert_eq!(supervisor.ctl(&["restart", "--rolling", "--no-wait", "web"]).code, 2);
    assert_eq!(supervisor.ctl(&["restart", "--rolling", "wbe"]).code, 4);
}

fn rolling_fails() {
    let text =
        format!("[programs.web]\ncmd = \"@dir@/run${{instance}}\"\nnumprocs = 4\nstarttime = 0\n{FAST}\n{}\n", user());
    let mut supervisor = Supervisor::prepare(&text);
    (0..4).for_each(|n| supervisor.file(&format!("run{n}"), "#!/bin/sh\nexec sleep 1000\n", 0o755));
    supervisor.launch();
    supervisor.wait_until("all run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    let pids = || ["web:0", "web:1", "web:2", "web:3"].map(|name| supervisor.process(name)["pid"].clone());
    let before = pids();
    std::fs::remove_file(supervisor.path("run1")).expect("removes");
    let failed = supervisor.ctl(&["restart", "--rolling", "web"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stdout.ends_with("web:1: ERROR (spawn error)\n"), "{failed:?}");
    assert!(failed.stderr.contains("the rolling restart ends at web:1; not restarted: web:2, web:3"), "{failed:?}");
    let after = pids();
    assert_ne!(before[0], after[0]);
    assert_eq!((&before[2], &before[3]), (&after[2], &after[3]), "the others are left alone");
}

fn limited() {
    let slow = program("slow", "autostart = false").replace("starttime = 0", "starttime = 1000");
    let supervisor = start(&(slow + &program("web", "autostart = false")));
    let began = Instant::now();
    // Time enough for the other to get there.
    let late = supervisor.ctl(&["start", "--timeout", "5s", "slow", "web"]);
    assert!(began.elapsed() < PATIENCE, "{:?} of 1000 seconds", began.elapsed());
    assert_eq!((late.code, late.stdout.as_str()), (1, "web: started\n"), "{late:?}");
    assert!(late.stderr.contains("not within 5s: slow; the order stands"), "{late:?}");
    assert_eq!(supervisor.state("slow"), "STARTING");
    // What is on its way already is waited for in the same way.
    let again = supervisor.ctl(&["start", "--timeout", "500ms", "slow"]);
    assert_eq!((again.code, again.stdout.as_str()), (1, ""), "{again:?}");
    let again = supervisor.ctl(&["start", "--no-wait", "slow"]);
    assert_eq!((again.code, again.stdout.as_str()), (0, "slow: ERROR (already started)\n"), "{again:?}");
    let late = supervisor.ctl(&["restart", "--rolling", "--timeout", "500ms", "slow", "web"]);
    assert_eq!(late.code, 1);
    assert!(late.stderr.contains("not within 500ms: slow") && late.stderr.contains("not restarted: web"), "{late:?}");
    let in_time = supervisor.ctl(&["stop", "--timeout", "60", "slow", "web"]);
    assert_eq!(in_time.code, 0, "{in_time:?}");
    for wrong in [&["start", "--timeout", "soon", "web"][..], &["start", "--timeout", "0", "web"]] {
        let told = supervisor.ctl(wrong);
        assert_eq!((told.code, told.stderr.lines().count()), (2, 1), "{told:?}");
    }
    assert_eq!(supervisor.ctl(&["start", "--no-wait", "--timeout", "1", "web"]).code, 2);
}

fn progress() {
    let slow = |name: &str| program(name, "autostart = false").replace("starttime = 0", "starttime = 1000");
    let supervisor = start(&[slow("slow"), slow("snail"), program("web", "autostart = false")].concat());
    for (columns, colour) in LOOKS {
        assert_eq!(supervisor.ctl(&["stop", "all"]).code, 0);
        let terminal = on(&supervisor, &["start", "all"], columns, colour);
        let screen = terminal.wait_for("1 of 3 done, waiting for");
        assert!(screen.starts_with("web: started\n"), "{screen}");
        assert!(screen.trim_end().lines().count() == 2, "the line goes on in its place: {screen}");
        assert_eq!(is_coloured(&terminal), colour);
        terminal.keys(CTRL_C);
        terminal.wait_until("it says so", |screen| {
            screen.replace('\n', "").contains("no longer waiting for slow, snail; the order stands")
                || screen.replace('\n', "").contains("no longer waiting for snail, slow; the order stands")
        });
        let screen = terminal.screen();
        assert!(!screen.contains("Ctrl-C leaves"), "{screen}");
        assert_eq!(end(terminal), 1);
        assert_eq!(supervisor.state("slow"), "STARTING");
    }
}

fn hints() {
    let supervisor = start(&program("web", ""));
    let terminal = on(&supervisor, &[], 80, true);
    terminal.prompt();
    terminal.keys("tail ");
    terminal.wait_for_last("taskmaster> tail SEL…");
    terminal.keys(CTRL_C);
    terminal.wait_until("another prompt", |screen| screen.trim_end().ends_with("taskmaster>"));
    terminal.line("pid web");
    terminal.wait_for(&supervisor.pid_of("web").to_string());
    terminal.prompt();
    terminal.keys("pi");
    terminal.wait_for_last("taskmaster> pid web");
    for faint in ["\x1b[2m", " web\x1b[0m"] {
        terminal.wait_for_written(0, faint);
    }
    // The right arrow takes it.
    let pid = supervisor.pid_of("web").to_string();
    terminal.keys(&format!("\x1b[C{ENTER}"));
    terminal.wait_until("it is carried out", |screen| screen.lines().filter(|line| line.trim() == pid).count() == 2);
    terminal.line("exit");
    assert_eq!(end(terminal), 0);
    let terminal = on(&supervisor, &[], 40, false);
    terminal.prompt();
    terminal.keys("tail ");
    terminal.wait_for_last("taskmaster> tail");
    terminal.keys("w\t");
    terminal.wait_for_last("taskmaster> tail web");
    assert!(!is_coloured(&terminal), "{:?}", terminal.written_since(0));
    terminal.keys(CTRL_C);
    terminal.wait_until("another prompt", |screen| screen.trim_end().ends_with("taskmaster>"));
    terminal.line("exit");
    assert_eq!(end(terminal), 0);
}

fn history_search() {
    let supervisor = start(&program("web", ""));
    let terminal = on(&supervisor, &[], 80, false);
    terminal.prompt();
    let pid = supervisor.pid_of("web").to_string();
    for (line, answer) in [("pid web", pid.as_str()), ("version", "taskmasterd ")] {
        let mark = terminal.mark();
        terminal.line(line);
        terminal.wait_for_written(mark, answer);
        terminal.prompt();
    }
    terminal.keys("\x12");
    terminal.wait_for("reverse-i-search");
    terminal.keys("we");
    terminal.wait_until("it is found", |screen| screen.trim_end().ends_with("pid web"));
    terminal.keys(ENTER);
    terminal.wait_until("it is carried out", |screen| screen.lines().filter(|line| line.trim() == pid).count() == 2);
    terminal.line("exit");
    assert_eq!(end(terminal), 0);
}

fn help() {
    let supervisor = start(&program("web", ""));
    for arguments in [&["help", "restart"][..], &["restart", "--help"]] {
        let help = supervisor.ctl(arguments);
        assert_eq!(help.code, 0);
        assert!(
            help.stdout.contains("Examples:\n  restart web") && help.stdout.contains("restart --rolling web"),
            "{help:?}"
        );
    }
    let terminal = on(&supervisor, &["help", "status"], 40, false);
    terminal.wait_for("Examples:");
    assert_eq!(end(terminal), 0);
}
