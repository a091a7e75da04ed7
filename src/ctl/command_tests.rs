//! Tests of the command table: what is understood, and what is said about what is not.
use super::*;

fn parse(words: &[&str]) -> Result<CommandLine, ParseFault> {
    parse_command_line(&words.iter().map(OsString::from).collect::<Vec<_>>())
}

fn action(words: &[&str]) -> Action {
    parse(words).expect("parses").action.expect("a command")
}

fn usage(words: &[&str]) -> String {
    match parse(words) {
        Err(ParseFault::Usage(text)) => text,
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn every_command_is_understood() {
    let web = || vec!["web".to_owned()];
    assert_eq!(action(&["status"]), Action::Status { detail: false, watch: false, selectors: vec![] });
    assert_eq!(action(&["security", "web"]), Action::Security { selectors: web() });
    assert_eq!(
        action(&["stop", "--no-wait", "web"]),
        Action::Stop(Change { no_wait: true, timeout: None, selectors: web() })
    );
    assert_eq!(action(&["signal", "usr1", "web"]), Action::Signal { signal: "usr1".to_owned(), selectors: web() });
    assert_eq!(action(&["reload", "--dry-run"]), Action::Reload { dry_run: true });
    assert_eq!(action(&["update"]), Action::Update { programs: vec![] });
    assert_eq!(action(&["update", "web"]), Action::Update { programs: web() });
    assert_eq!(action(&["add", "web"]), Action::Add { available: web() });
    assert_eq!(action(&["remove", "web"]), Action::Remove { programs: web() });
    assert_eq!((action(&["reread"]), action(&["avail"])), (Action::Reread, Action::Avail));
    assert_eq!(action(&["clear", "web", "--stderr"]), Action::Clear { stdout: false, stderr: true, selectors: web() });
    assert_eq!(
        action(&["tail", "-f", "-n", "5", "web", "stderr"]),
        Action::Tail(Tail {
            follow: true,
            lines: 5,
            raw: false,
            selectors: vec!["web".to_owned(), "stderr".to_owned()]
        })
    );
    for (words, selectors, channel) in [
        (&["web"][..], &["web"][..], Channels::Stdout),
        (&["web", "stderr"], &["web"], Channels::Stderr),
        (&["web:*", "db", "both"], &["web:*", "db"], Channels::Both),
        (&["stderr"], &["stderr"], Channels::Stdout),
        (&["stdout", "stdout"], &["stdout"], Channels::Stdout),
    ] {
        let Action::Tail(tail) = action(&[&["tail"], words].concat()) else { panic!("{words:?}") };
        let (found, which) = tail.of();
        assert!(found == selectors && which == channel, "{words:?}: {found:?} {which:?}");
    }
    let notify = |words: &[&str]| match action(&[&["notify"], words].concat()) {
        Action::Notify { action } => action,
        other => panic!("{other:?}"),
    };
    assert_eq!(notify(&["test"]), NotifyAction::Test { alert_channel: None });
    assert_eq!(notify(&["retry", "a", "b"]), NotifyAction::Retry { messages: vec!["a".to_owned(), "b".to_owned()] });
    assert_eq!(
        notify(&["silence", "web", "1h30m", "they", "move"]),
        NotifyAction::Silence {
            selector: "web".to_owned(),
            duration: Duration::from_secs(5400),
            reason: vec!["they".to_owned(), "move".to_owned()],
        }
    );
    assert_eq!(notify(&["unsilence", "web"]), NotifyAction::Unsilence { silence: "web".to_owned() });
    assert!(parse(&["notify", "queue", "--json"]).expect("parses").json);
    assert_eq!(action(&["events", "-f"]), Action::Events { follow: true, since: None, selectors: vec![] });
    assert_eq!(action(&["import", "a.conf"]), Action::Import { file: PathBuf::from("a.conf") });
    assert_eq!(action(&["help", "stop"]), Action::Help { command: Some("stop".to_owned()) });
    for plain in ["reopen", "version", "shutdown", "pid"] {
        action(&[plain]);
    }
}

#[test]
fn json_may_stand_before_or_after_the_command() {
    assert!(parse(&["--json", "status"]).expect("parses").json);
    assert!(parse(&["-s", "/x", "status", "--json"]).expect("parses").json);
}

#[test]
fn signal_and_its_name_may_come_as_one_word() {
    let expected = Action::Signal { signal: "USR1".to_owned(), selectors: vec!["web".to_owned()] };
    assert_eq!(action(&["signal USR1", "web"]), expected);
    assert_eq!(action(&["-s", "/x", "signal USR1", "web"]), expected);
}

#[test]
fn a_usage_error_is_one_line_with_the_nearest_right_thing() {
    assert_eq!(usage(&["sttaus"]), "unknown command `sttaus`; did you mean `status`?");
    assert_eq!(usage(&["rest"]), "unknown command `rest`; did you mean `restart`?");
    assert_eq!(usage(&["frobnicate"]), "unknown command `frobnicate`; try `help`");
    assert_eq!(usage(&["maintail", "-f"]), "unknown command `maintail`; did you mean `events -f`?");
    assert_eq!(usage(&["ps"]), "unknown command `ps`; did you mean `status`?");
    assert_eq!(usage(&["open", "/x"]), "unknown command `open`; another supervisor is `taskmasterctl -s SOCKET`");
    assert_eq!(usage(&["updat"]), "unknown command `updat`; did you mean `update`?");
    assert_eq!(usage(&["reraed"]), "unknown command `reraed`; did you mean `reread`?");
    assert_eq!(usage(&["reread", "web"]), "`web` is one argument too many");
    assert_eq!(usage(&["avail", "web"]), "`web` is one argument too many");
    assert_eq!(usage(&["add"]), "<PROGRAM> is missing; usage: taskmasterctl add <PROGRAM>...");
    assert_eq!(usage(&["remove"]), "<PROGRAM> is missing; usage: taskmasterctl remove <PROGRAM>...");
    assert_eq!(usage(&["clear"]), "<SEL> is missing; usage: taskmasterctl clear <SEL>...");
    assert_eq!(usage(&["clear", "--stder", "a"]), "unknown option `--stder`; did you mean `--stderr`?");
    assert_eq!(usage(&["update", "--dry"]).lines().count(), 1);
    assert_eq!(usage(&["clear", "--stdout", "--stderr", "a"]).lines().count(), 1);
    assert_eq!(usage(&["status", "--jsn"]), "unknown option `--jsn`; did you mean `--json`?");
    assert_eq!(usage(&["tail", "-100", "web"]), "numbers have no `-` before them; how many lines is `-n N`");
    assert_eq!(usage(&["tail", "-n", "-1", "web"]), "numbers have no `-` before them; how many lines is `-n N`");
    assert_eq!(usage(&["signal", "TREM", "web"]), "`TREM` is not a signal; did you mean `TERM`?");
    assert_eq!(usage(&["signal", "SIGUSR3", "web"]), "`SIGUSR3` is not a signal; did you mean `USR1`?");
    assert_eq!(usage(&["notify", "queu"]), "unknown command `queu`; did you mean `queue`?");
    assert_eq!(usage(&["notify", "status"]), "unknown command `status`; try `help`");
    assert_eq!(usage(&["notify"]), "a command is missing: test, queue, retry, drop, silence, unsilence, silences");
    assert_eq!(
        usage(&["notify", "silence", "web", "soon"]),
        "`soon` is not a duration; write 90 (seconds), 30m, 2h, 1d"
    );
    assert_eq!(usage(&["notify", "silence", "web", "0"]), "`0` is no time at all; `notify unsilence` ends a silence");
    assert_eq!(usage(&["notify", "silence", "web", "2000d"]), "`2000d` is too long: a silence lasts at most 366 days");
    assert!(usage(&["notify", "silence", "web", "-5"]).lines().count() == 1);
    assert!(usage(&["notify", "silence", "web"]).starts_with("<DURATION> is missing; usage: "));
    assert_eq!(usage(&["start"]), "<SEL> is missing; usage: taskmasterctl start <SEL>...");
    assert_eq!(usage(&["version", "now"]), "`now` is one argument too many");
    assert_eq!(usage(&["exit"]), "unknown command `exit`; try `help`");
    assert_eq!(usage(&["tail", "-n", "many", "web"]), "--lines <N>: `many` is not a whole number that is small enough");
    for words in [["tail", "-n", "many", "web"], ["tail", "-n", "100001", "web"]] {
        assert_eq!(usage(&words).lines().count(), 1);
    }
    assert_eq!(usage(&["a\x1b[2J"]), "unknown command `a\\x1b[2J`; try `help`");
}

#[test]
fn help_and_version_are_no_faults() {
    assert!(matches!(parse(&["--help"]), Err(ParseFault::Shown(text)) if text.contains("Exit codes")));
    assert!(matches!(parse(&["--version"]), Err(ParseFault::Shown(text)) if text.starts_with("taskmasterctl ")));
    assert!(matches!(parse(&["stop", "--help"]), Err(ParseFault::Shown(text)) if text.contains("--no-wait")));
}

#[test]
fn help_explains_every_command_and_not_the_hidden_flag() {
    let all = help(shell_command(), None).expect("help");
    for name in ["status", "signal", "shutdown", "exit"] {
        assert!(all.contains(&format!("  {name}")), "{all}");
    }
    let whole = help(command_line(), None).expect("help");
    assert!(!whole.contains("on-terminal") && !whole.contains("  exit"), "{whole}");
    assert!(help(shell_command(), Some("stop")).expect("help").contains("Usage: stop [OPTIONS] <SEL>..."));
    let unknown = ParseFault::Usage("unknown command `sotp`; did you mean `stop`?".to_owned());
    assert_eq!(help(shell_command(), Some("sotp")), Err(unknown));
}

#[test]
fn a_shell_line_splits_as_a_shell_does() {
    let words = |line: &str| split_line(line).expect("splits");
    assert_eq!(words("stop web; start 'a;b' ;; "), [vec!["stop", "web"], vec!["start", "a;b"]]);
    assert_eq!(words(r"start a\;b"), [vec!["start", "a;b"]]);
    assert_eq!(words(r#"start "it's;x" y"#), [vec!["start", "it's;x", "y"]]);
    assert!(words("  ").is_empty());
    assert_eq!(split_line("start 'a"), Err(ParseFault::Usage("a quotation mark is not closed".to_owned())));
}

#[test]
fn the_shell_knows_exit_and_quit_and_no_socket_option() {
    let parse = |words: &[&str]| parse_shell(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
    assert_eq!(parse(&["quit"]).expect("parses").action, ShellAction::Exit);
    assert!(parse(&["status", "--json"]).expect("parses").json);
    assert!(parse(&["-s", "/x", "status"]).is_err());
    assert_eq!(parse(&["exti"]), Err(ParseFault::Usage("unknown command `exti`; did you mean `exit`?".to_owned())));
}
