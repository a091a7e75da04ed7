//! The control shell, on a real terminal: what a person types and sees, and what it must never cost the
//! programs or the terminal.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::sandbox;
use crate::support::supervisor::{TASKMASTERCTL, TASKMASTERD};
use crate::support::terminal::{BACKSPACE, CTRL_A, CTRL_C, CTRL_D, CTRL_E, CTRL_K, CTRL_Z, ENTER, LEFT, Terminal, UP};
use crate::support::{Need, Supervisor, eventually, proc, test, user};

pub fn trials() -> Vec<Trial> {
    vec![
        test("the shell shows the status and edits lines with the cursor and control keys", &[], editing),
        test("history is recalled with arrow up also in the next run", &[], history),
        test("commands names and signals are completed with tab", &[], completion),
        test("the shell orders programs and shows how they change", &[], orders),
        test("an event is printed above a half typed line that stays intact", &[], events),
        test("reload from the shell adds a program and tells what is wrong with a broken file", &[], reload),
        test("ctrl c clears the line or leaves the waiting command and stops nothing", &[], interrupt),
        test("what is typed ahead is not lost", &[], typed_ahead),
        test("ctrl z does nothing", &[], suspend),
        test("what needs files is refused in the shell on the terminal with where to type it", &[], no_files),
        test("a resized terminal gets a table that fits", &[], resize),
        test("exit asks and stays or goes on without the shell", &[], exit_goes_on),
        test("exit asks and stops everything", &[], exit_stops),
        test("ctrl d asks as exit does", &[], end_of_input),
        test("shutdown asks and leaves the terminal as it was", &[], shutdown),
        test("a killed shell is started again and the terminal is sane meanwhile", &[], killed_shell),
        test("a shell that dies again and again is given up and not the programs", &[], given_up),
        test("losing the terminal loses the shell and is not a reload", &[], lost_terminal),
        test("the shell runs as a user of its own without terminal files or environment", &[Need::Root], confinement),
        test("the shell works for an ordinary user", &[Need::Root], ordinary_user),
        test("in the background of a shell no shell is opened", &[], background),
        test("the shell of taskmasterctl survives a restart of the supervisor", &[], client),
        test("the shell of taskmasterctl keeps its history for its user", &[], client_history),
    ]
}

/// A supervisor with its shell on a terminal. The terminal goes first: it ends the supervisor.
struct OnTerminal {
    terminal: Terminal,
    supervisor: Supervisor,
}

const PROMPT: &str = "taskmaster>";

fn sleeper(name: &str) -> String {
    format!("[programs.{name}]\ncmd = \"sleep 1000\"\nstarttime = 0\n{}\n", user())
}

fn taskmasterd(config: &Path) -> Command {
    let mut command = Command::new(TASKMASTERD);
    command.arg("-c").arg(config);
    command
}

/// Opens the shell and waits for its prompt.
fn open(programs: &str) -> OnTerminal {
    let supervisor = Supervisor::prepare(programs);
    reopen(supervisor)
}

fn reopen(supervisor: Supervisor) -> OnTerminal {
    let terminal = Terminal::start(taskmasterd(&supervisor.config()));
    terminal.wait_for(PROMPT);
    OnTerminal { terminal, supervisor }
}

impl OnTerminal {
    /// Stops everything from the shell.
    fn shut_down(&mut self) -> i32 {
        self.terminal.line("shutdown");
        self.terminal.wait_for("[y/N]");
        self.terminal.line("y");
        self.terminal.wait_for_end().code().unwrap_or(-1)
    }

    fn shell(&self) -> Option<i64> {
        shell_of(self.terminal.pid())
    }

    /// Waits for another shell than this one.
    #[track_caller]
    fn another_shell(&self, old: i64) -> i64 {
        eventually("a new shell runs", || self.shell().filter(|pid| *pid != old))
    }
}

/// Clears the line with Ctrl-C and waits for the next prompt: what comes in one piece with a Ctrl-C is
/// dropped with the line.
#[track_caller]
fn clear(terminal: &Terminal) {
    // Between two prompts the key is a signal for a command that waits: there is none, and it is dropped.
    eventually("the editor has the terminal", || (!terminal.is_cooked()).then_some(()));
    leave(terminal);
}

/// Leaves a command that waits with Ctrl-C, and waits for the next prompt.
#[track_caller]
fn leave(terminal: &Terminal) {
    another_prompt(terminal, CTRL_C);
}

/// Presses a key that ends the line, or the command, and waits for the next prompt.
#[track_caller]
fn another_prompt(terminal: &Terminal, key: &str) {
    let prompts = |screen: &str| screen.matches(PROMPT).count();
    let before = prompts(&terminal.screen());
    terminal.keys(key);
    terminal.wait_until("another prompt", |screen| prompts(screen) > before && screen.trim_end().ends_with(PROMPT));
}

fn last_line(screen: &str) -> &str {
    screen.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim_end()
}

/// Presses Tab behind this line until something comes of it: names are asked of the supervisor, and one that does
/// not answer within half a second has none.
#[track_caller]
fn complete(terminal: &Terminal, line: &str, is: impl Fn(&str) -> bool) {
    terminal.wait_for_last(line);
    let mut pressed = Instant::now();
    terminal.keys("\t");
    eventually("it is completed", || {
        let screen = terminal.screen();
        if !is(&screen) && last_line(&screen) == line && pressed.elapsed() > Duration::from_secs(2) {
            pressed = Instant::now();
            terminal.keys("\t");
        }
        is(&screen).then_some(())
    });
}

/// The shell that a supervisor has started on its terminal.
fn shell_of(supervisor: i64) -> Option<i64> {
    let is_shell = |pid: &i64| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("--on-terminal") && proc::is_alive(*pid)
    };
    proc::children(supervisor).into_iter().find(is_shell)
}

fn editing() {
    let mut on = open(&sleeper("one"));
    let terminal = &on.terminal;
    terminal.wait_for("NAME");
    on.supervisor.wait_for_state("one", "RUNNING");
    // The cursor keys: a letter that was forgotten.
    terminal.keys("vrsion");
    terminal.wait_for_last("taskmaster> vrsion");
    terminal.keys(&LEFT.repeat(5));
    terminal.keys("e");
    terminal.wait_for_last("taskmaster> version");
    let column = |columns: u16| eventually("the cursor is there", || (terminal.cursor() == columns).then_some(()));
    column(14);
    terminal.keys(CTRL_E);
    column(19);
    // Backspace.
    terminal.keys("xy");
    terminal.wait_for_last("taskmaster> versionxy");
    terminal.keys(&BACKSPACE.repeat(2));
    terminal.wait_for_last("taskmaster> version");
    // To the start, and all to the end is cut.
    terminal.keys(CTRL_A);
    column(12);
    terminal.keys(CTRL_K);
    terminal.wait_for_last("taskmaster>");
    terminal.keys(&format!("ersion{CTRL_A}v{CTRL_E}{ENTER}"));
    terminal.wait_for(&format!("taskmasterd {}, pid {}", env!("CARGO_PKG_VERSION"), terminal.pid()));
    // A mistake is told with what was meant.
    terminal.line("stauts");
    terminal.wait_for("did you mean `status`?");
    assert_eq!(on.shut_down(), 0);
}

fn history() {
    let mut on = open(&sleeper("one"));
    on.terminal.line("version");
    on.terminal.wait_for("taskmasterd 0");
    on.terminal.line("status one");
    on.terminal.wait_for_last(PROMPT);
    on.terminal.keys(UP);
    on.terminal.wait_for_last("taskmaster> status one");
    on.terminal.keys(UP);
    on.terminal.wait_for_last("taskmaster> version");
    clear(&on.terminal);
    assert_eq!(on.shut_down(), 0);
    let OnTerminal { supervisor, .. } = on;
    assert_eq!(supervisor.read("state/shell_history"), "version\nstatus one\nshutdown\n");
    let file = std::fs::metadata(supervisor.path("state/shell_history")).expect("it is there");
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&file) & 0o777, 0o600);

    let mut on = reopen(supervisor);
    on.terminal.keys(UP);
    on.terminal.wait_for_last("taskmaster> shutdown");
    on.terminal.keys(UP);
    on.terminal.wait_for_last("taskmaster> status one");
    clear(&on.terminal);
    assert_eq!(on.shut_down(), 0);
}

fn completion() {
    let mut on = open(&(sleeper("alpha") + &sleeper("beta")));
    let terminal = &on.terminal;
    terminal.keys("vers\t");
    terminal.wait_for_last("taskmaster> version");
    clear(terminal);
    // Several: they are listed.
    terminal.keys("st\t");
    terminal.wait_until("the commands are listed", |screen| {
        screen.lines().any(|line| line.split_whitespace().eq(["status", "start", "stop"]))
    });
    clear(terminal);
    terminal.keys("restart be");
    complete(terminal, "taskmaster> restart be", |screen| last_line(screen) == "taskmaster> restart beta");
    terminal.keys("al");
    complete(terminal, "taskmaster> restart beta al", |screen| {
        screen.lines().any(|line| line.split_whitespace().eq(["all", "alpha"]))
    });
    terminal.keys("p");
    complete(terminal, "taskmaster> restart beta alp", |screen| last_line(screen) == "taskmaster> restart beta alpha");
    clear(terminal);
    terminal.keys("signal US\t");
    terminal.wait_until("the signals are listed", |screen| {
        screen.lines().any(|line| line.split_whitespace().eq(["USR1", "USR2"]))
    });
    clear(terminal);
    assert_eq!(on.shut_down(), 0);
}

fn orders() {
    let mut on = open(&sleeper("one"));
    on.supervisor.wait_for_state("one", "RUNNING");
    let before = on.supervisor.pid_of("one");
    on.terminal.line("stop one");
    on.terminal.wait_for("one: stopped");
    assert!(!proc::is_alive(before));
    on.terminal.line("status");
    on.terminal.wait_for("STOPPED");
    on.terminal.line("start one");
    on.terminal.wait_for("one: started");
    let second = on.supervisor.pid_of("one");
    on.terminal.line("status");
    on.terminal.wait_for(&format!(" {second} "));
    proc::kill(second, 9);
    on.supervisor.wait_until("another runs", |all| all[0]["pid"].as_i64().is_some_and(|pid| pid != second));
    let third = on.supervisor.pid_of("one");
    on.terminal.line("status");
    on.terminal.wait_until("the status has the new process", |screen| {
        screen.contains(&format!(" {third} ")) && screen.contains("SIGKILL")
    });
    on.terminal.line("restart one; pid one");
    on.terminal.wait_for("one: restarted");
    let fourth = on.supervisor.pid_of("one");
    on.terminal.wait_until("its pid", |screen| screen.lines().any(|line| line.trim() == fourth.to_string()));
    assert_eq!(on.shut_down(), 0);
}

fn events() {
    let mut on = open(&sleeper("one"));
    on.supervisor.wait_for_state("one", "RUNNING");
    let pid = on.supervisor.pid_of("one");
    on.terminal.keys("version");
    on.terminal.wait_for_last("taskmaster> version");
    on.terminal.keys(&LEFT.repeat(3));
    proc::kill(pid, 9);
    let crashed = "ERROR   one crashed: SIGKILL";
    let screen = on.terminal.wait_until("the event is shown and the line after it", |screen| {
        let mut lines = screen.lines().skip_while(|line| !line.contains(crashed));
        lines.any(|line| line.trim_end() == "taskmaster> version")
    });
    let again = |event: &serde_json::Value| event["kind"] == "process.starting" && event["restarts"] == 1;
    assert!(on.supervisor.wait_for_event("the restart", again)["pid"].is_null(), "the dead one's pid is not its");
    // The old line is not left behind between the events.
    assert_eq!(screen.matches("taskmaster> version").count(), 1, "{screen}");
    eventually("the cursor is where it was", || (on.terminal.cursor() == 16).then_some(()));
    on.terminal.keys(ENTER);
    on.terminal.wait_for(&format!("taskmasterd {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(on.shut_down(), 0);
}

fn reload() {
    let mut on = open(&sleeper("one"));
    on.supervisor.wait_for_state("one", "RUNNING");
    let pid = on.supervisor.pid_of("one");
    on.supervisor.configure(&(sleeper("one") + &sleeper("two")));
    on.terminal.line("reload");
    on.terminal.wait_for("two: added");
    on.supervisor.wait_for_state("two", "RUNNING");
    on.supervisor.configure("[programs.one]\ncmd = \"sleep 1000\"\nnumproc = 3\n");
    on.terminal.line("reload");
    on.terminal.wait_for("did you mean `numprocs`?");
    on.terminal.wait_for("the configuration was not accepted; nothing has changed");
    assert_eq!(on.supervisor.pid_of("one"), pid);
    assert_eq!(on.supervisor.state("two"), "RUNNING");
    assert_eq!(on.shut_down(), 0);
}

fn interrupt() {
    let stubborn = format!(
        "[programs.stubborn]\ncmd = [\"sh\", \"-c\", 'trap \"\" TERM; while :; do sleep 0.1; done']\nstarttime = 0\nstoptime = 1000\n{}\n",
        user()
    );
    let mut on = open(&(sleeper("one") + &stubborn));
    on.supervisor.wait_until("both run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    let (one, stubborn) = (on.supervisor.pid_of("one"), on.supervisor.pid_of("stubborn"));
    // The trap is set as soon as the shell ignores the signal.
    eventually("the signal is ignored", || {
        let ignored = u64::from_str_radix(proc::status(stubborn).get("SigIgn")?, 16).ok()?;
        (ignored & (1 << 14) != 0).then_some(())
    });
    on.terminal.keys("stop one");
    on.terminal.wait_for_last("taskmaster> stop one");
    clear(&on.terminal);
    on.terminal.keys(ENTER);
    // A command that waits.
    on.terminal.line("stop stubborn");
    on.supervisor.wait_for_state("stubborn", "STOPPING");
    on.terminal.keys(CTRL_C);
    on.terminal.wait_for("no longer waiting");
    on.terminal.wait_for_last(PROMPT);
    assert_eq!(on.supervisor.state("stubborn"), "STOPPING");
    on.terminal.line("tail -f one");
    eventually("the command has the terminal", || on.terminal.is_cooked().then_some(()));
    leave(&on.terminal);
    // Again and again, and SIGQUIT's key.
    for _ in 0..5 {
        another_prompt(&on.terminal, "\x1c");
        clear(&on.terminal);
    }
    on.terminal.line("version");
    on.terminal.wait_for("taskmasterd 0");
    assert_eq!(on.supervisor.pid_of("one"), one);
    assert_eq!(on.supervisor.state("one"), "RUNNING");
    proc::kill(stubborn, 9);
    on.supervisor.wait_for_state("stubborn", "STOPPED");
    assert_eq!(on.shut_down(), 0);
}

fn no_files() {
    let mut on = open(&sleeper("one"));
    on.terminal.line("import /etc/passwd");
    on.terminal.wait_for("this shell may open no file; type `taskmasterctl import");
    on.terminal.line("check /etc/passwd");
    on.terminal.wait_for("cannot be run from here");
    assert_eq!(on.shut_down(), 0);
}

fn typed_ahead() {
    let mut on = open(&sleeper("one"));
    on.terminal.wait_for_last(PROMPT);
    on.terminal.keys(&format!("version{ENTER}pid{ENTER}stop on"));
    on.terminal.wait_for("taskmasterd 0");
    on.terminal.wait_until("the second command", |screen| {
        screen.lines().any(|line| line.trim() == on.terminal.pid().to_string())
    });
    on.terminal.wait_for_last("taskmaster> stop on");
    clear(&on.terminal);
    assert_eq!(on.shut_down(), 0);
}

fn suspend() {
    let mut on = open(&sleeper("one"));
    on.supervisor.wait_for_state("one", "RUNNING");
    let shell = on.shell().expect("a shell");
    on.terminal.keys("vers");
    on.terminal.keys(CTRL_Z);
    on.terminal.keys("ion");
    on.terminal.keys(ENTER);
    on.terminal.wait_for("taskmasterd 0");
    // While a command waits, the key is a signal.
    on.terminal.line("events -f");
    on.terminal.wait_for("process.running one");
    eventually("the command has the terminal", || on.terminal.is_cooked().then_some(()));
    on.terminal.keys(CTRL_Z);
    assert_eq!(on.supervisor.ctl(&["restart", "one"]).code, 0);
    on.terminal.wait_for("process.stopped one");
    for pid in [on.terminal.pid(), shell] {
        assert_ne!(proc::stat(pid)[0], "T", "nobody is stopped");
    }
    leave(&on.terminal);
    assert_eq!(on.shell(), Some(shell));
    assert_eq!(on.shut_down(), 0);
}

fn resize() {
    let mut on = open(&sleeper("one"));
    on.supervisor.wait_for_state("one", "RUNNING");
    let mark = on.terminal.mark();
    on.terminal.line("status");
    on.terminal.wait_for_written(mark, "USER");
    on.terminal.wait_for_last(PROMPT);
    let mark = on.terminal.mark();
    on.terminal.resize(12, 40);
    on.terminal.line("status");
    on.terminal.wait_for_written(mark, "RUNNING");
    on.terminal.wait_for_last(PROMPT);
    assert!(!on.terminal.written_since(mark).contains("USER"), "{}", on.terminal.screen());
    // The editor knows, too: a line that needs two rows now is edited over both.
    on.terminal.keys(&format!("status {}", "one ".repeat(12)));
    on.terminal.wait_until("it goes on in the next row", |screen| {
        let lines: Vec<&str> = screen.lines().collect();
        lines.windows(2).any(|pair| pair[0].starts_with("taskmaster> status one") && pair[1].starts_with("one"))
            || lines.windows(2).any(|pair| pair[0].starts_with("taskmaster> status") && pair[1].contains("one one"))
    });
    on.terminal.keys(CTRL_A);
    on.terminal.keys(CTRL_K);
    on.terminal.wait_for_last(PROMPT);
    on.terminal.resize(40, 100);
    assert_eq!(on.shut_down(), 0);
}

fn exit_goes_on() {
    let mut on = open(&sleeper("one"));
    let settings = on.terminal.initial.clone();
    on.supervisor.wait_for_state("one", "RUNNING");
    let pid = on.supervisor.pid_of("one");
    let shell = on.shell().expect("a shell");
    on.terminal.line("exit");
    on.terminal.wait_for("1 program is running: stop everything (s), go on without the shell (g), or stay?");
    on.terminal.keys(ENTER);
    on.terminal.wait_for_last(PROMPT);
    assert_eq!(on.shell(), Some(shell), "the shell stays");
    on.terminal.line("quit");
    on.terminal.wait_until("it asks again", |screen| screen.matches("or stay?").count() == 2);
    on.terminal.line("g");
    eventually("the shell is gone", || on.shell().is_none().then_some(()));
    eventually("the terminal is as before", || (on.terminal.settings() == settings).then_some(()));
    assert_eq!(on.supervisor.pid_of("one"), pid);
    // Events go to the terminal now; who writes them hears of that a moment later.
    eventually("a crash is told there", || {
        if let Some(pid) = on.supervisor.pid_now("one") {
            proc::kill(pid, 9);
        }
        on.terminal.screen().contains("process.crashed one").then_some(())
    });
    // And Ctrl-C is for the supervisor.
    on.terminal.keys(CTRL_C);
    assert_eq!(on.terminal.wait_for_end().code(), Some(0));
}

fn exit_stops() {
    let mut on = open(&sleeper("one"));
    on.supervisor.wait_for_state("one", "RUNNING");
    let pid = on.supervisor.pid_of("one");
    on.terminal.line("exit");
    on.terminal.wait_for("or stay?");
    on.terminal.line("s");
    assert_eq!(on.terminal.wait_for_end().code(), Some(0));
    assert!(!proc::is_alive(pid));
    assert!(on.supervisor.kinds_of("one").contains(&"process.stopped".to_owned()));
    assert!(on.terminal.settings() == on.terminal.initial);
}

fn end_of_input() {
    let mut on = open(&sleeper("one"));
    on.supervisor.wait_for_state("one", "RUNNING");
    on.terminal.keys(CTRL_D);
    on.terminal.wait_for("or stay?");
    on.terminal.keys(CTRL_D);
    on.terminal.wait_for_last(PROMPT);
    assert_eq!(on.supervisor.state("one"), "RUNNING");
    assert_eq!(on.shut_down(), 0);
}

fn shutdown() {
    let mut on = open(&(sleeper("one") + &sleeper("two")));
    on.supervisor.wait_until("both run", |all| all.iter().all(|process| process["state"] == "RUNNING"));
    let pids = [on.supervisor.pid_of("one"), on.supervisor.pid_of("two")];
    on.terminal.line("shutdown");
    on.terminal.wait_for("Stop all 2 programs and the supervisor? [y/N]");
    on.terminal.keys(ENTER);
    on.terminal.wait_for_last(PROMPT);
    on.terminal.line("shutdown");
    on.terminal.wait_until("it asks again", |screen| screen.matches("[y/N]").count() == 2);
    on.terminal.line("no");
    on.terminal.wait_for_last(PROMPT);
    assert!(pids.iter().all(|pid| proc::is_alive(*pid)));
    let below = proc::descendants(on.terminal.pid());
    on.terminal.line("shutdown");
    on.terminal.wait_until("it asks again", |screen| screen.matches("[y/N]").count() == 3);
    on.terminal.line("y");
    assert_eq!(on.terminal.wait_for_end().code(), Some(0));
    let screen = on.terminal.wait_for("supervisor stopped");
    assert!(screen.contains("two stopped") && !screen.contains("is lost"), "{screen}");
    assert!(on.terminal.settings() == on.terminal.initial, "{:?}", on.terminal.settings());
    eventually("nobody is left", || below.iter().all(|pid| !proc::is_alive(*pid)).then_some(()));
}

fn killed_shell() {
    let mut on = open(&sleeper("one"));
    let settings = on.terminal.initial.clone();
    on.supervisor.wait_for_state("one", "RUNNING");
    let pid = on.supervisor.pid_of("one");
    let mut shell = on.shell().expect("a shell");
    let spawner = proc::child_called(on.terminal.pid(), "taskmaster-spawner").expect("a spawner");
    for _ in 0..3 {
        eventually("lines are edited", || (on.terminal.settings() != settings).then_some(()));
        on.terminal.keys("stop on");
        on.terminal.wait_for_last("taskmaster> stop on");
        let mark = on.terminal.mark();
        // Until there is another shell, the terminal is as it was: none is started while the spawner stands still.
        proc::hold(spawner);
        proc::kill(shell, 9);
        eventually("the terminal is as before", || (on.terminal.settings() == settings).then_some(()));
        proc::kill(spawner, 18);
        shell = on.another_shell(shell);
        on.terminal.wait_for_written(mark, PROMPT);
    }
    clear(&on.terminal);
    on.terminal.line("version");
    on.terminal.wait_for("taskmasterd 0");
    assert_eq!(on.supervisor.pid_of("one"), pid);
    let told =
        |event: &serde_json::Value| event["kind"] == "worker.restarted" && event.to_string().contains("the shell");
    on.supervisor.wait_for_event("the restart", told);
    assert_eq!(on.shut_down(), 0);
    assert!(on.terminal.settings() == settings);
}

fn given_up() {
    let mut on = open(&sleeper("one"));
    on.supervisor.wait_for_state("one", "RUNNING");
    let pid = on.supervisor.pid_of("one");
    let mut shell = on.shell().expect("a shell");
    for _ in 0..5 {
        proc::kill(shell, 9);
        shell = on.another_shell(shell);
    }
    proc::kill(shell, 9);
    eventually("it is reaped", || proc::stat(shell).is_empty().then_some(()));
    eventually("the terminal is as before", || (on.terminal.settings() == on.terminal.initial).then_some(()));
    // Now it is the supervisor's log.
    proc::kill(pid, 9);
    on.terminal.wait_for("process.crashed one");
    assert_eq!(on.shell(), None);
    on.supervisor.wait_for_state("one", "RUNNING");
    proc::kill(on.terminal.pid(), 15);
    assert_eq!(on.terminal.wait_for_end().code(), Some(0));
}

fn lost_terminal() {
    let mut on = open(&sleeper("one"));
    on.supervisor.wait_for_state("one", "RUNNING");
    let pid = on.supervisor.pid_of("one");
    on.supervisor.configure(&(sleeper("one") + &sleeper("two")));
    on.terminal.hang_up();
    eventually("the shell is gone", || on.shell().is_none().then_some(()));
    // Whatever the supervisor wanted to do about it, it has done before it answers this.
    assert_eq!(on.supervisor.ctl(&["restart", "one"]).code, 0);
    assert!(proc::is_alive(on.terminal.pid()));
    assert!(!proc::is_alive(pid));
    assert_eq!(on.supervisor.status().len(), 1, "it is no reload");
    // A SIGHUP that somebody sends is one.
    proc::kill(on.terminal.pid(), 1);
    on.supervisor.wait_for_state("two", "RUNNING");
    on.supervisor.wait_for_event("the reload", |event| event["kind"] == "config.reloaded");
    assert_eq!(on.supervisor.event_log().iter().filter(|event| event["kind"] == "config.reloaded").count(), 1);
    assert_eq!(on.shell(), None);
    proc::kill(on.terminal.pid(), 15);
    assert_eq!(on.terminal.wait_for_end().code(), Some(0));
}

fn confinement() {
    let supervisor = Supervisor::prepare(&sleeper("one"));
    let mut command = taskmasterd(&supervisor.config());
    command.env("LANG", "C.UTF-8").env("TZ", "UTC").env("TASKMASTER_TEST_SECRET", "secret");
    let mut on = OnTerminal { terminal: Terminal::start(command), supervisor };
    on.terminal.wait_for(PROMPT);
    let shell = on.shell().expect("a shell");
    let uid = nix::unistd::User::from_name("taskmaster-shell").ok().flatten().map_or(64_712, |user| user.uid.as_raw());
    assert_eq!(proc::ids(shell, "Uid"), [uid; 4]);
    sandbox::assert_confined(shell, &["Max open files 64 64 files", "Max file size 16777216 16777216 bytes"]);
    let descriptors = proc::descriptors(shell);
    for (number, target) in &descriptors {
        let expected = match number {
            0..=2 => target.starts_with("/dev/pts/"),
            3 => target.starts_with("socket:"),
            4 => target.ends_with("/state/shell_history"),
            // What it has opened itself.
            _ => ["socket:", "pipe:", "anon_inode:"].iter().any(|kind| target.starts_with(kind)),
        };
        assert!(expected, "{number} is {target}");
    }
    assert!((0..=4).all(|number| descriptors.contains_key(&number)), "{descriptors:?}");
    let environment = proc::environ(shell);
    let known = ["TERM", "LANG", "TZ", "NO_COLOR", "COLUMNS", "LINES", "PATH"];
    assert!(environment.keys().all(|name| known.contains(&name.as_str())), "{environment:?}");
    assert_eq!(environment["LANG"], "C.UTF-8");
    assert_eq!(environment["TERM"], "xterm-256color");
    assert_eq!(on.shut_down(), 0);
}

/// Gives a test's directory to `nobody`.
pub fn give_away(supervisor: &Supervisor) -> nix::unistd::User {
    let nobody = nix::unistd::User::from_name("nobody").expect("a database").expect("an account");
    for path in [supervisor.path(""), supervisor.config()] {
        nix::unistd::chown(&path, Some(nobody.uid), Some(nobody.gid)).expect("chown");
    }
    nobody
}

fn ordinary_user() {
    let supervisor = Supervisor::prepare("[programs.one]\ncmd = \"sleep 1000\"\nstarttime = 0\n");
    let nobody = give_away(&supervisor);
    let mut command = taskmasterd(&supervisor.config());
    use std::os::unix::process::CommandExt;
    command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw()).current_dir("/");
    let mut on = OnTerminal { terminal: Terminal::start(command), supervisor };
    on.terminal.wait_for(PROMPT);
    on.supervisor.wait_for_state("one", "RUNNING");
    let shell = on.shell().expect("a shell");
    assert_eq!(proc::ids(shell, "Uid"), [nobody.uid.as_raw(); 4]);
    assert_eq!(proc::stat(shell)[4], "0");
    on.terminal.line("restart one");
    on.terminal.wait_for("one: restarted");
    assert_eq!(on.shut_down(), 0);
    assert!(on.terminal.settings() == on.terminal.initial);
    let file = std::fs::metadata(on.supervisor.path("state/shell_history")).expect("it is there");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&file), nobody.uid.as_raw());
}

fn background() {
    let supervisor = Supervisor::prepare(&sleeper("one"));
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-i"]).env("PS1", "bash> ").env("HISTFILE", "/dev/null");
    let mut terminal = Terminal::start(command);
    terminal.wait_for("bash> ");
    terminal.line(&format!("{TASKMASTERD} -c {} &", supervisor.config().display()));
    eventually("taskmasterd listens", || std::os::unix::net::UnixStream::connect(supervisor.socket()).ok());
    supervisor.wait_for_state("one", "RUNNING");
    let pid: i64 = supervisor.ctl(&["pid"]).stdout.trim().parse().expect("a pid");
    assert_eq!(shell_of(pid), None);
    // Its log is there, and the terminal is still bash's.
    terminal.wait_for("process.running one");
    terminal.line("echo 6 times 7 is $((6 * 7))");
    terminal.wait_for("6 times 7 is 42");
    terminal.line("kill %1; wait %1; echo it ended with $?");
    terminal.wait_for("it ended with 0");
    terminal.line("exit");
    terminal.wait_for_end();
    assert!(!proc::is_alive(pid));
}

fn client() {
    let mut supervisor = Supervisor::start(&sleeper("one"));
    supervisor.wait_for_state("one", "RUNNING");
    let mut command = Command::new(TASKMASTERCTL);
    command.arg("-s").arg(supervisor.socket()).env("XDG_STATE_HOME", supervisor.path("home"));
    let mut terminal = Terminal::start(command);
    terminal.wait_for_last(PROMPT);
    terminal.wait_for("RUNNING");
    terminal.keys("vrsion");
    terminal.keys(&LEFT.repeat(5));
    terminal.keys(&format!("e{ENTER}"));
    terminal.wait_for(&format!("pid {}", supervisor.pid()));
    terminal.wait_for_last(PROMPT);
    terminal.keys("stop o");
    complete(&terminal, "taskmaster> stop o", |screen| last_line(screen) == "taskmaster> stop one");
    clear(&terminal);
    terminal.keys("stat");
    terminal.wait_for_last("taskmaster> stat");
    assert_eq!(supervisor.stop(), 0);
    terminal.wait_for("supervisor stopped");
    terminal.wait_for_last("taskmaster> stat");
    terminal.keys(&format!("us{ENTER}"));
    terminal.wait_for("cannot reach the supervisor");
    supervisor.launch();
    terminal.wait_for("the supervisor is there");
    supervisor.wait_for_state("one", "RUNNING");
    let pid = supervisor.pid_of("one");
    terminal.line("status");
    terminal.wait_for(&format!(" {pid} "));
    terminal.line("exit");
    assert_eq!(terminal.wait_for_end().code(), Some(0));
    assert!(terminal.settings() == terminal.initial);
    assert_eq!(supervisor.state("one"), "RUNNING", "leaving the shell of a client leaves the programs alone");
}

fn client_history() {
    let supervisor = Supervisor::start(&sleeper("one"));
    let shell = || {
        let mut command = Command::new(TASKMASTERCTL);
        command.arg("-s").arg(supervisor.socket()).env("XDG_STATE_HOME", supervisor.path("home"));
        let terminal = Terminal::start(command);
        terminal.wait_for_last(PROMPT);
        terminal
    };
    let mut first = shell();
    first.line("version");
    first.wait_for("taskmasterd 0");
    first.wait_for_last(PROMPT);
    // Even a shell that is killed has kept what was typed.
    proc::kill(first.pid(), 9);
    first.wait_for_end();
    let mut second = shell();
    second.keys(UP);
    second.wait_for_last("taskmaster> version");
    clear(&second);
    second.line("exit");
    assert_eq!(second.wait_for_end().code(), Some(0));
}
