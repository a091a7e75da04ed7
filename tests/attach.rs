//! `attach`: real interactive programs through real pseudo-terminals, as a person types at them and leaves them.
//!
//! What `attach` itself tells covers the first line for two seconds: it is looked for in all that was written, and
//! not on the screen.

use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::support::supervisor::{TASKMASTERCTL, TASKMASTERD};
use crate::support::terminal::{CTRL_C, CTRL_D, Terminal};
use crate::support::{Need, Supervisor, eventually, proc, start, test, user};

pub fn trials() -> Vec<Trial> {
    vec![
        test("a shell is typed to resized detached and attached again with the same screen", &[], shell),
        test(
            "a program with the whole screen is found as it was and leaves the terminal sane",
            &[PYTHON],
            whole_screen,
        ),
        test("a pager goes on after a detach", &[Need::Program("less")], pager),
        test("other keys detach and the first of them twice is sent once", &[], detach_keys),
        test("a second looks on until the first has left", &[], second),
        test("all who share type and who only looks does not", &[], shared),
        test("the end of the program is told and the terminal given back", &[], program_ends),
        test("a killed client leaves the program as it was", &[], killed_client),
        test("a terminated client gives the terminal back", &[], terminated_client),
        test("a closed window leaves the program as it was", &[], closed_window),
        test("a client comes back to a logger that was killed", &[], killed_logger),
        test("what cannot be attached to is told with the reason", &[], refused),
        test("a program that does not read its input holds nobody up and can be left", &[], unread_input),
        test("lines go to a program without a terminal and both its outputs come back", &[], lines),
        test("a pipe into a program that reads nothing is left by a signal and told", &[], unread_pipe),
        test("a program that reads slowly gets all of a file", &[PYTHON], slow_reader),
        test("a killed logger closes no standard input", &[], kept_input),
        test("the shell on the supervisors terminal attaches and gets its prompt back", &[], supervisors_terminal),
        test("the shell of taskmasterctl attaches by fg", &[], client_shell),
        test("it works within tmux", &[Need::Program("tmux")], in_tmux),
        test("a tail of several processes names them and shows no control characters", &[], tail_of_several),
    ]
}

const PYTHON: Need = Need::Program("python3");

/// What leaves an attached program.
const DETACH: &str = "\x1dd";

fn bash(name: &str) -> String {
    format!(
        "[programs.{name}]\ncmd = \"bash --norc --noprofile -i\"\nstarttime = 0\ntty = true\nstopsignal = \"HUP\"\nworkingdir = \"/\"\n\
         env = {{ PS1 = \"prompt> \", TERM = \"xterm-256color\", HISTFILE = \"\" }}\n{}\n",
        user()
    )
}

fn command(supervisor: &Supervisor, words: &[&str]) -> Command {
    let mut command = Command::new(TASKMASTERCTL);
    command.arg("-s").arg(supervisor.socket()).args(words);
    command
}

fn attach(supervisor: &Supervisor, words: &[&str]) -> Terminal {
    Terminal::start_sized(command(supervisor, &[&["attach"], words].concat()), 24, 80)
}

/// Detaches, and sees that the terminal is as it was.
#[track_caller]
fn detach(terminal: &mut Terminal, name: &str) {
    terminal.keys(DETACH);
    terminal.wait_for(&format!("[detached from {name}]"));
    end_of(terminal, 0);
}

#[track_caller]
fn end_of(terminal: &mut Terminal, code: i32) {
    assert_eq!(terminal.wait_for_end().code(), Some(code), "{}", terminal.screen());
    assert_sane(terminal);
}

#[track_caller]
fn assert_sane(terminal: &Terminal) {
    assert_eq!(terminal.settings(), terminal.initial, "the settings of the terminal");
    assert_eq!(terminal.modes(), "", "what a program may have switched on");
}

/// The logger of a supervisor.
fn logger(supervisor: &Supervisor) -> i64 {
    let is_logger = |pid: &i64| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "taskmaster-logg")
    };
    eventually("a logger runs", || proc::children(supervisor.pid()).into_iter().find(is_logger))
}

/// Waits until the terminal of a program has so many rows and columns: a key may overtake them.
#[track_caller]
fn wait_for_size(pid: i64, rows_and_columns: (u16, u16)) {
    eventually("the program has its size", || {
        let terminal = std::fs::File::open(format!("/proc/{pid}/fd/0")).ok()?;
        let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCGWINSZ writes one winsize, which `size` is for the whole call.
        let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
        (result == 0 && (size.ws_row, size.ws_col) == rows_and_columns).then_some(())
    });
}

fn shell() {
    let supervisor = start(&bash("sh"));
    let mut terminal = attach(&supervisor, &["sh"]);
    terminal.wait_for_told("attached to sh; ctrl-] d detaches");
    terminal.line("echo hello $((1+2)); stty size");
    terminal.wait_for("hello 3\n24 80");
    let pid = supervisor.pid_of("sh");
    terminal.resize(30, 100);
    wait_for_size(pid, (30, 100));
    terminal.line("stty size");
    terminal.wait_for("30 100");
    terminal.wait_for_last("prompt>");
    terminal.keys("echo half");
    terminal.wait_for_last("prompt> echo half");
    detach(&mut terminal, "sh");
    assert_eq!((supervisor.pid_of("sh"), supervisor.state("sh").as_str()), (pid, "RUNNING"));

    // The kernel's control characters go to the program, not to us.
    let mut terminal = Terminal::start_sized(command(&supervisor, &["attach", "sh"]), 30, 100);
    terminal.wait_for_last("prompt> echo half");
    terminal.wait_for("hello 3\n24 80\n");
    eventually("the cursor is where it was", || (terminal.cursor() == 17).then_some(()));
    terminal.keys(CTRL_C);
    // The key throws away what is typed too early after it.
    terminal.wait_for_last("prompt>");
    terminal.line("stty size | tr ' ' x; sleep 1000");
    terminal.wait_for("30x100");
    // Between the two the shell would take the key for itself.
    eventually("the second command runs", || proc::child_called(pid, "sleep"));
    terminal.keys(CTRL_C);
    terminal.wait_for_last("prompt>");
    detach(&mut terminal, "sh");
}

/// A program that sets what there is to set, draws in the middle of the screen and waits.
const DRAWS: &str = "import sys,time,signal\n\
    w=sys.stdout.write\n\
    w('before\\r\\n\\x1b[?1049h\\x1b[?1h\\x1b=\\x1b[?1002h\\x1b[?1006h\\x1b[?2004h\\x1b[?25l\\x1b[2J\\x1b[3;7H\\x1b[1;32mgreen\\x1b[m\\x1b(0\\x1b[5;3Hlqk\\x1b(B\\x1b[9;9H')\n\
    sys.stdout.flush()\n\
    signal.pause()\n";

fn whole_screen() {
    let supervisor = Supervisor::prepare(&format!(
        "[programs.draws]\ncmd = [\"python3\", \"@dir@/draws.py\"]\ntty = true\nstarttime = 0\n{}\n",
        user()
    ));
    std::fs::write(supervisor.path("draws.py"), DRAWS).expect("a program");
    let mut supervisor = supervisor;
    supervisor.launch();
    eventually("it has drawn", || supervisor.read("log/draws.stdout.log").contains("[9;9H").then_some(()));
    for _ in 0..2 {
        let mut terminal = attach(&supervisor, &["draws"]);
        terminal.wait_until("its screen", |screen| screen.lines().nth(2).is_some_and(|line| line == "      green"));
        terminal.wait_for("  ┌─┐");
        eventually("its modes, and the cursor", || {
            let is_so =
                terminal.modes() == "alternate mouse pasting cursor-keys keypad hidden " && terminal.cursor() == 8;
            is_so.then_some(())
        });
        detach(&mut terminal, "draws");
        assert!(!terminal.screen().contains("green"), "{}", terminal.screen());
    }
}

fn pager() {
    let supervisor = Supervisor::prepare(&format!(
        "[programs.less]\ncmd = \"less @dir@/text\"\ntty = true\nstarttime = 0\nenv = {{ TERM = \"xterm\" }}\nautorestart = \"never\"\n{}\n",
        user()
    ));
    let text: String = (1..=500).map(|n| format!("line {n}.\n")).collect();
    std::fs::write(supervisor.path("text"), text).expect("a text");
    let mut supervisor = supervisor;
    supervisor.launch();
    supervisor.wait_for_state("less", "RUNNING");
    let mut terminal = attach(&supervisor, &["less"]);
    terminal.wait_for("line 23.");
    terminal.keys("50g");
    terminal.wait_until("line 50 is the first", |screen| screen.starts_with("line 50.\n"));
    detach(&mut terminal, "less");
    let mut terminal = Terminal::start_sized(command(&supervisor, &["attach", "less"]), 12, 60);
    terminal.wait_until("a smaller screen", |screen| screen.starts_with("line 50.\n") && screen.contains("line 60.\n"));
    terminal.keys("q");
    terminal.wait_for("[less: exit status 0]");
    end_of(&mut terminal, 0);
}

fn detach_keys() {
    let supervisor = start(&bash("sh"));
    let mut terminal = attach(&supervisor, &["--detach-keys", "ctrl-p,q", "sh"]);
    terminal.wait_for_told("ctrl-p q detaches");
    terminal.line("cat -v");
    terminal.line("\x1dd");
    terminal.wait_for("^]d");
    terminal.line("\x10\x10x");
    terminal.wait_for("^Px");
    terminal.keys("\x10q");
    terminal.wait_for("[detached from sh]");
    end_of(&mut terminal, 0);
    let mut terminal = attach(&supervisor, &["sh"]);
    terminal.wait_for("^Px");
    terminal.line("\x1d\x1dy");
    terminal.wait_for("^]y");
    detach(&mut terminal, "sh");
    let refused = supervisor.ctl(&["attach", "--detach-keys", "ctrl", "sh"]);
    assert!(refused.code == 2 && refused.stderr.contains("`ctrl` are no detach keys"), "{refused:?}");
}

fn second() {
    let supervisor = start(&bash("sh"));
    let mut first = attach(&supervisor, &["sh"]);
    first.line("echo one");
    first.wait_for("\none");
    let mut second = Terminal::start_sized(command(&supervisor, &["attach", "sh"]), 40, 120);
    second.wait_for_told("watching sh: somebody else types");
    second.wait_for("\none");
    second.line("echo not this");
    first.line("stty size");
    // Not the size of who looks on.
    first.wait_for("24 80");
    second.wait_for("24 80");
    assert!(!first.screen().contains("not this"), "{}", first.screen());
    detach(&mut first, "sh");
    second.wait_for_told("you type now");
    second.line("stty size");
    first = attach(&supervisor, &["--read-only", "sh"]);
    first.wait_for_told("watching sh: read-only");
    second.wait_for("40 120");
    first.line("echo nor this");
    second.line("echo but this");
    first.wait_for("but this");
    assert!(!second.screen().contains("nor this"), "{}", second.screen());
    detach(&mut first, "sh");
    detach(&mut second, "sh");
}

fn shared() {
    let supervisor = start(&bash("sh"));
    let mut both = [0, 1].map(|_| {
        let terminal = attach(&supervisor, &["--share", "sh"]);
        terminal.wait_for_told("attached to sh");
        terminal
    });
    for (number, terminal) in both.iter().enumerate() {
        terminal.line(&format!("echo from $(({number}+5))"));
        for sees in &both {
            sees.wait_for(&format!("from {}", number + 5));
        }
    }
    let mut looks = attach(&supervisor, &["sh"]);
    looks.wait_for_told("ctrl-] d detaches; watching sh: somebody else types, and not all --share");
    detach(&mut looks, "sh");
    both.iter_mut().for_each(|terminal| detach(terminal, "sh"));
}

fn program_ends() {
    let supervisor = start(&bash("sh").replace("starttime = 0", "starttime = 0\nautorestart = \"never\""));
    let mut terminal = attach(&supervisor, &["sh"]);
    // Whoever started it and is gone leaves the terminal of the others as it was.
    terminal.line("printf '\\e[?1049h\\e[?1000h\\e[?2004h\\e[31mred'; exit 3");
    terminal.wait_for("[sh: exit status 3]");
    end_of(&mut terminal, 0);
    let late = supervisor.ctl(&["attach", "sh"]);
    assert!(late.code == 1 && late.stderr.contains("sh is not running (EXITED)"), "{late:?}");
}

fn killed_client() {
    let supervisor = start(&bash("sh"));
    let terminal = attach(&supervisor, &["sh"]);
    terminal.line("echo still here");
    terminal.wait_for("\nstill here");
    let pid = supervisor.pid_of("sh");
    proc::kill(terminal.pid(), 9);
    let mut terminal = attach(&supervisor, &["sh"]);
    terminal.wait_for("\nstill here");
    // The seat of the dead is free, if not at once.
    eventually("it may type", || {
        let written = terminal.written_since(0);
        ["attached to sh", "you type now"].iter().any(|words| written.contains(words)).then_some(())
    });
    terminal.line("echo $((40+2))");
    terminal.wait_for("\n42");
    assert_eq!(supervisor.pid_of("sh"), pid);
    detach(&mut terminal, "sh");
}

fn terminated_client() {
    let supervisor = start(&bash("sh"));
    for signal in [15, 1, 2] {
        let mut terminal = attach(&supervisor, &["sh"]);
        terminal.line("printf '\\e[?1049h\\e[?1000h\\e[?2004h'; echo do\"\"ne");
        terminal.wait_for("done");
        proc::kill(terminal.pid(), signal);
        terminal.wait_for("[detached from sh]");
        end_of(&mut terminal, 0);
    }
}

fn closed_window() {
    let supervisor = start(&bash("sh"));
    let mut terminal = attach(&supervisor, &["sh"]);
    terminal.line("echo still here");
    terminal.wait_for("\nstill here");
    let (pid, client) = (supervisor.pid_of("sh"), terminal.pid());
    terminal.hang_up();
    eventually("the client is gone", || (proc::stat(client)[0] == "Z").then_some(()));
    let mut terminal = attach(&supervisor, &["sh"]);
    terminal.wait_for("\nstill here");
    assert_eq!(supervisor.pid_of("sh"), pid);
    detach(&mut terminal, "sh");
}

fn killed_logger() {
    let supervisor = start(&bash("sh"));
    let mut terminal = attach(&supervisor, &["sh"]);
    terminal.line("echo before");
    terminal.wait_for("\nbefore");
    let pid = supervisor.pid_of("sh");
    for count in 0..3 {
        let old = logger(&supervisor);
        let mark = terminal.mark();
        proc::kill(old, 9);
        eventually("another logger runs", || (logger(&supervisor) != old).then_some(()));
        // What is typed while there is no connection is not sent: it is there again with what it shows.
        eventually("its screen is drawn again, from the end of the file", || {
            let written = terminal.written_since(mark);
            written.split_once("the connection is lost")?.1.contains("before").then_some(())
        });
        terminal.line(&format!("echo after $(({count}+7))"));
        terminal.wait_for(&format!("\nafter {}", count + 7));
        assert!(terminal.screen().contains("\nbefore"), "{}", terminal.screen());
    }
    assert_eq!(supervisor.pid_of("sh"), pid, "its terminal was not hung up");
    detach(&mut terminal, "sh");
}

fn refused() {
    let off = format!("[programs.off]\ncmd = \"sleep 1\"\nautostart = false\n{}\n", user());
    let supervisor = start(&[bash("sh"), off].concat());
    for (words, code, reason) in [
        (&["off"][..], 1, "off is not running (STOPPED)"),
        (&["frob"], 4, "frob: ERROR (no such process)"),
        (&["all"], 2, "attach takes one process, and this names off, sh"),
        (&["sh"], 2, "sh has a terminal: attach to it from one"),
        (&["--share", "--read-only", "sh"], 2, "cannot be used"),
    ] {
        let answer = supervisor.ctl(&[&["attach"], words].concat());
        let said = format!("{}{}", answer.stdout, answer.stderr);
        assert!(answer.code == code && said.contains(reason), "{words:?}: {answer:?}");
    }
}

fn unread_input() {
    let supervisor =
        start(&format!("[programs.deaf]\ncmd = \"sleep 1000\"\nstarttime = 0\ntty = true\n{}\n{}", user(), bash("sh")));
    let mut deaf = attach(&supervisor, &["deaf"]);
    deaf.wait_for_told("attached to deaf");
    let line = "x".repeat(79) + "\n";
    for _ in 0..300 {
        deaf.keys(&line.repeat(10));
    }
    let mut other = attach(&supervisor, &["sh"]);
    other.line("echo $((40+2))");
    other.wait_for("\n42");
    let logger = logger(&supervisor);
    let before = proc::cpu_ticks(logger);
    std::thread::park_timeout(Duration::from_millis(300));
    assert!(proc::cpu_ticks(logger) - before < 10, "the logger waits for it without working");
    detach(&mut deaf, "deaf");
    detach(&mut other, "sh");
}

fn lines() {
    let supervisor = start(&format!(
        "[programs.echo]\ncmd = [\"sh\", \"-c\", \"while read -r line; do echo got $line; echo err $line >&2; done; echo end\"]\n\
         starttime = 0\nstdin = \"attach\"\n{}\n[programs.mute]\ncmd = \"sleep 1000\"\nstarttime = 0\n{}\n",
        user(),
        user()
    ));
    let mut terminal = attach(&supervisor, &["echo"]);
    terminal.wait_for("[attached to echo; Ctrl-C detaches]");
    terminal.line("first");
    // Two pipes have no order between them.
    terminal.wait_for("got first");
    terminal.wait_for("err first");
    terminal.keys(CTRL_D);
    terminal.wait_for("[detached from echo]");
    end_of(&mut terminal, 0);
    let mut input = command(&supervisor, &["attach", "echo"]);
    input.stdin(std::fs::File::open(supervisor.config()).expect("a file"));
    assert_eq!(input.status().expect("runs").code(), Some(0));
    eventually("all of it has come", || {
        supervisor.read("log/echo.stdout.log").contains("got [programs.mute]").then_some(())
    });
    assert_eq!(supervisor.state("echo"), "RUNNING", "its input goes on");
    let mut terminal = attach(&supervisor, &["mute"]);
    terminal.wait_for_told("watching mute: it takes no input");
    terminal.keys(CTRL_C);
    end_of(&mut terminal, 0);
}

fn unread_pipe() {
    let supervisor =
        start(&format!("[programs.deaf]\ncmd = \"sleep 1000\"\nstarttime = 0\nstdin = \"attach\"\n{}\n", user()));
    let mut client = command(&supervisor, &["attach", "deaf"]);
    client.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().expect("runs");
    // More than pipes and sockets hold: it goes in until nobody takes any more.
    let mut input = client.stdin.take().expect("a pipe");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let writer = std::thread::spawn(move || {
        while input.write_all(&[b'x'; 4096]).is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (mut before, mut same) = (0, 0);
    eventually("nothing more is taken", || {
        let now = count.load(Ordering::Relaxed);
        same = if now == before { same + 1 } else { 0 };
        before = now;
        (now > 0 && same > 20).then_some(())
    });
    proc::kill(i64::from(client.id()), 15);
    let output = client.wait_with_output().expect("ends");
    writer.join().expect("it ends with the client");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told, "taskmasterctl: left before the program had taken all of its input\n");
    assert_eq!(supervisor.state("deaf"), "RUNNING", "it goes on");
}

fn slow_reader() {
    let reader = "import os, time\\ntaken = 0\\nwhile taken < 150000:\\n  taken += len(os.read(0, 4096)); time.sleep(0.01)\\nprint('all')";
    let supervisor = start(&format!(
        "[programs.slow]\ncmd = [\"python3\", \"-uc\", \"{reader}\"]\nstarttime = 0\nautorestart = \"never\"\nstdin = \"attach\"\n{}\n",
        user()
    ));
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&[b'x'; 150_000]).expect("written");
    file.rewind().expect("its beginning");
    let output = command(&supervisor, &["attach", "slow"]).stdin(file).output().expect("runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    eventually("all of it has come", || supervisor.read("log/slow.stdout.log").contains("all").then_some(()));
}

fn kept_input() {
    let supervisor = start(&format!("[programs.cat]\ncmd = \"cat\"\nstarttime = 0\nstdin = \"attach\"\n{}\n", user()));
    let pid = supervisor.pid_of("cat");
    let old = logger(&supervisor);
    proc::kill(old, 9);
    eventually("another logger runs", || (logger(&supervisor) != old).then_some(()));
    let mut terminal = attach(&supervisor, &["cat"]);
    terminal.wait_for("[attached to cat");
    terminal.line("twice");
    terminal.wait_for("twice\ntwice");
    assert_eq!(supervisor.pid_of("cat"), pid);
    terminal.keys(CTRL_C);
    end_of(&mut terminal, 0);
}

fn supervisors_terminal() {
    let supervisor = Supervisor::prepare(&bash("sh"));
    let mut daemon = Command::new(TASKMASTERD);
    daemon.arg("-c").arg(supervisor.config());
    let mut terminal = Terminal::start_sized(daemon, 24, 80);
    terminal.prompt();
    supervisor.wait_for_state("sh", "RUNNING");
    terminal.line("attach sh");
    terminal.wait_for_told("attached to sh");
    terminal.line("echo hello $((1+2)); stty size");
    terminal.wait_for("hello 3\n24 80");
    terminal.keys(DETACH);
    terminal.wait_for("[detached from sh]");
    terminal.prompt();
    terminal.line("version");
    terminal.wait_for("taskmasterd ");
    terminal.prompt();
    terminal.line("shutdown");
    terminal.wait_for("[y/N]");
    terminal.line("y");
    end_of(&mut terminal, 0);
}

fn client_shell() {
    let supervisor = start(&bash("sh"));
    let mut terminal = Terminal::start_sized(command(&supervisor, &[]), 24, 80);
    terminal.prompt();
    for _ in 0..2 {
        let mark = terminal.mark();
        terminal.line("fg sh");
        terminal.wait_for_written(mark, "attached to sh");
        let typed = terminal.mark();
        terminal.line("echo hello $((1+2))");
        terminal.wait_for_written(typed, "hello 3");
        terminal.keys(DETACH);
        terminal.wait_for_written(typed, "[detached from sh]");
        terminal.prompt();
    }
    terminal.line("exit");
    end_of(&mut terminal, 0);
}

/// A server of tmux of the test's own.
struct Tmux(std::path::PathBuf);

impl Tmux {
    fn run(&self, words: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S")
            .arg(&self.0)
            .args(["-f", "/dev/null"])
            .args(words)
            .env("TERM", "xterm-256color")
            .env_remove("TMUX");
        let output = tmux.output().expect("tmux runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) -> String {
        eventually(&format!("{text:?} in the window of tmux"), || {
            Some(self.run(&["capture-pane", "-p"])).filter(|screen| screen.contains(text))
        })
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.0).arg("kill-server").output();
    }
}

fn in_tmux() {
    let supervisor = start(&bash("sh"));
    let tmux = Tmux(supervisor.path("tmux"));
    tmux.run(&["new-session", "-d", "-x", "80", "-y", "24", "env", "PS1=outside> ", "bash", "--norc", "--noprofile"]);
    tmux.wait_for("outside>");
    let attach = format!("{TASKMASTERCTL} -s {} attach sh", supervisor.socket().display());
    let pid = supervisor.pid_of("sh");
    tmux.run(&["send-keys", &attach, "Enter"]);
    // As soon as it is there, the program's terminal has the size of the window.
    tmux.wait_for("prompt>");
    tmux.run(&["send-keys", "stty size; echo $((40+2))", "Enter"]);
    tmux.wait_for("24 80\n42");
    tmux.run(&["resize-window", "-x", "100", "-y", "30"]);
    wait_for_size(pid, (30, 100));
    tmux.run(&["send-keys", "stty size", "Enter"]);
    tmux.wait_for("30 100");
    tmux.run(&["send-keys", "C-]", "d"]);
    tmux.wait_for("[detached from sh]\noutside>");
    // What is seen next is drawn anew.
    tmux.run(&["send-keys", "clear", "Enter"]);
    eventually("nothing is left", || (!tmux.run(&["capture-pane", "-p"]).contains("30 100")).then_some(()));
    tmux.run(&["send-keys", &attach, "Enter"]);
    tmux.wait_for("24 80\n42");
    tmux.wait_for("30 100\nprompt>");
    tmux.run(&["send-keys", "C-]", "d"]);
    tmux.wait_for("outside>");
}

fn tail_of_several() {
    let says = |name: &str| {
        format!(
            "[programs.{name}]\ncmd = [\"sh\", \"-c\", \"printf 'a\\\\033[2Jb\\\\n'; echo wrong >&2; exec sleep 1000\"]\nstarttime = 0\nnumprocs = 2\n{}\n",
            user()
        )
    };
    let supervisor = start(&says("web"));
    eventually("both have spoken", || {
        let has = |name: &str| !supervisor.read(&format!("log/web-{name}.log")).is_empty();
        ["0.stdout", "0.stderr", "1.stdout", "1.stderr"].into_iter().all(has).then_some(())
    });
    let mut terminal = Terminal::start_sized(command(&supervisor, &["tail", "-f", "web:*", "both"]), 24, 80);
    for line in ["web:0 | a\\x1b[2Jb", "web:1 | a\\x1b[2Jb", "web:0 stderr | wrong", "web:1 stderr | wrong"] {
        terminal.wait_for(line);
    }
    // Over a restart, and with what is shown in detail, too.
    assert_eq!(supervisor.ctl(&["restart", "web:1"]).code, 0);
    terminal.wait_until("more of the second", |screen| screen.matches("web:1 | a\\x1b[2Jb").count() == 2);
    terminal.keys(CTRL_C);
    terminal.wait_for_end();
    for words in [&["status", "web:1"][..], &["events"]] {
        let mut terminal = Terminal::start_sized(command(&supervisor, words), 40, 100);
        terminal.wait_for_end();
        assert!(!terminal.written_since(0).contains("\x1b[2J"), "{}", terminal.screen());
    }
    let raw = supervisor.ctl(&["tail", "--raw", "web:0"]);
    assert_eq!(raw.stdout, "a\x1b[2Jb\n");
}
