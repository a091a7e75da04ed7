//! What is told of a bad configuration, and how it looks.
use super::*;

#[test]
fn every_fault_is_told_at_once_with_its_place_and_what_to_write() {
    let text = r#"[supervisor]
event_log = "events.log"

[programs.web]
cmd = "./web --port 80"
user = "www"
numproc = 3
umask = 22
	stopsignal = "TREM"
env = { "A-B" = 1, OK = "${nope}" }
ready = "notify"

[program.db]
command = "x"
"#;
    let expected = r#"taskmaster.toml:2:13: `event_log` is an absolute path
    2 | event_log = "events.log"
      |             ^^^^^^^^^^^^ it begins with `/`
taskmaster.toml:5:7: `./web` is relative to no known directory
    5 | cmd = "./web --port 80"
      |       ^^^^^^^^^^^^^^^^^ write its absolute path, or a bare name to be found in PATH
taskmaster.toml:7:1: unknown key `numproc` in [programs.web]
    7 | numproc = 3
      | ^^^^^^^ did you mean `numprocs`?
taskmaster.toml:8:9: `umask` is octal, and a number without `0o` is not
    8 | umask = 22
      |         ^^ write "022" or 0o022
taskmaster.toml:9:15: `TREM` is not a signal
    9 |  stopsignal = "TREM"
      |               ^^^^^^ did you mean "TERM"?
taskmaster.toml:10:9: `A-B` is not the name of a variable
   10 | env = { "A-B" = 1, OK = "${nope}" }
      |         ^^^^^ letters, digits and `_`, beginning with no digit
taskmaster.toml:10:26: unknown ${nope}; there are program, process, instance, host, user, home, env:NAME; `$$` is a dollar
   10 | env = { "A-B" = 1, OK = "${nope}" }
      |                          ^^^^^^^
taskmaster.toml:11:1: `ready` is not in this version of Taskmaster
   11 | ready = "notify"
      | ^^^^^ take it out until there is one that has it
taskmaster.toml:13:2: unknown table `program` at the top level
   13 | [program.db]
      |  ^^^^^^^ did you mean `programs`?
9 faults in 1 file"#;
    assert_eq!(told(load_one(text)), expected);
}

#[test]
fn text_that_is_no_toml_is_answered_with_what_to_write() {
    let text = "[programs.web]\ncmd = /bin/web\nuser = \"u\"\numask = 022\nuser = \"v\"\n[program:x]\nnumprocs = 0\n";
    let expected = r#"taskmaster.toml:2:7: text must stand in quotes
    2 | cmd = /bin/web
      |       ^^^^^^^^ write "/bin/web"
taskmaster.toml:4:9: a number cannot begin with 0
    4 | umask = 022
      |         ^^^ for an octal number write "022" in quotes, or 0o022
taskmaster.toml:5:1: `user` is there a second time
    5 | user = "v"
      | ^^^^
"#;
    let told = told(load_one(text));
    assert!(told.starts_with(expected), "{told}");
    assert!(told.contains("write [programs.x]"), "{told}");
}

#[test]
fn what_may_stand_in_a_broken_line_is_not_told_as_missing() {
    let told = told(load_one("[programs.web]\ncmd = \"unclosed\nuse\n"));
    assert!(!told.contains("has no `cmd`") && !told.contains("which user"), "{told}");
}

#[test]
fn root_must_say_as_whom_each_program_runs() {
    assert_eq!(
        told(load_one("[programs.web]\ncmd = \"/bin/web\"\n[programs.db]\nuser = \"db\"\n")),
        r#"taskmaster.toml:1:1: `web` does not say as which user it runs
    1 | [programs.web]
      | ^^^^^^^^^^^^^^ add: user = "nobody"   (or user = "root", if it really must be root)
taskmaster.toml:3:1: `db` has no `cmd`
    3 | [programs.db]
      | ^^^^^^^^^^^^^ add: cmd = "/path/to/program"
2 faults in 1 file"#
    );
}

#[test]
fn a_refused_user_is_one_fault_and_not_a_missing_one_too() {
    let told = told(load_one("[programs.web]\ncmd = \"/bin/web\"\nuser = -1\n"));
    assert!(told.ends_with("\n1 fault in 1 file"), "{told}");
}

#[test]
fn each_wrong_value_is_refused_in_the_words_of_its_key() {
    for (line, words) in [
        ("numprocs = 0", "`numprocs` is a number from 1 to 10000"),
        ("numprocs = 10001", "`numprocs` is a number from 1 to 10000"),
        ("numprocs = \"3\"", "`numprocs` is a number from 1 to 10000, not a string"),
        ("nice = 20", "`nice` is a number from -20 to 19"),
        ("oom_score_adj = 1001", "`oom_score_adj` is a number from -1000 to 1000"),
        ("autorestart = \"allways\"", "did you mean \"always\"?"),
        ("autorestart = 1", "`autorestart` is one of \"always\", \"never\", \"unexpected\", not an integer"),
        ("kill_mode = \"trees\"", "did you mean \"tree\"?"),
        ("autostart = \"yes\"", "`autostart` is true or false, not a string"),
        ("exitcodes = [0, 256]", "`exitcodes` is a number from 0 to 255"),
        ("startretries = -1", "`startretries` is a number from 0"),
        ("limits = { nofiles = 3 }", "unknown key `nofiles` in `limits`"),
        ("limits = { nofile = [3, 2] }", "the soft limit of `nofile` is above its hard limit"),
        ("limits = 5", "`limits` is a table, not an integer"),
        ("backoff = { factor = 0.5 }", "`factor` is a number from 1.0 to 100.0"),
        ("backoff = { jitter = nan }", "`jitter` is a number from 0.0 to 1.0"),
        ("backoff = { inital = 1 }", "did you mean `initial`?"),
        ("restart_limit = { burst = 5 }", "`restart_limit` has both `burst` and `interval`"),
        ("restart_limit = { burst = 5, interval = 0 }", "`interval` is longer than nothing"),
        ("restart_limit = { burst = 1001, interval = 1 }", "`burst` is a number from 1 to 1000"),
        ("workingdir = \"tmp\"", "`workingdir` is an absolute path"),
        ("restrict_paths = { read = [\"/etc\"] }", "without an `execute` path lets nothing be executed"),
        ("restrict_paths = { execute = [] }", "without an `execute` path lets nothing be executed"),
        ("restrict_paths = { execute = [\"usr\"] }", "`execute` is a list of absolute paths"),
        ("restrict_paths = { execute = [\"/usr\"], read = [\"-etc\"] }", "or with `-/` if it may be missing"),
        ("restrict_paths = { execute = \"/usr\" }", "`execute` is a list of absolute paths, not a string"),
        ("restrict_paths = { execute = [\"/usr/${nope}\"] }", "unknown ${nope}"),
        ("restrict_paths = { execute = [\"/usr\"], reads = [] }", "did you mean `read`?"),
        ("restrict_paths = { execute = [\"/usr\"], on_unsupported = \"refuze\" }", "did you mean \"refuse\"?"),
        ("tty = true\nstderr = \"/var/log/x\"", "with `tty` standard error goes where `stdout` goes"),
        ("tty = true\nstderr = \"discard\"", "take `stderr` out, or write \"stdout\""),
        ("tty = \"yes\"", "`tty` is true or false, not a string"),
        ("restrict_paths = [\"/usr\"]", "`restrict_paths` is a table, not a list"),
        ("ReadWritePaths = [\"/usr\"]", "did you mean `restrict_paths`?"),
        ("workingdir = \"/a\\u0000b\"", "`workingdir` has a NUL character in it"),
        ("stdout = \"stdout\"", "`stdout` is \"auto\", \"console\", \"syslog\", \"discard\" or an absolute path"),
        (
            "stderr = \"here.log\"",
            "`stderr` is \"stdout\", \"auto\", \"console\", \"syslog\", \"discard\" or an absolute path",
        ),
        ("stdout = \"/dev/stdout\"", "`stdout` is no log file: /dev/stdout is whatever its reader has there"),
        ("stderr = \"/proc/self/fd/2\"", "write \"console\": each line on the supervisor's standard output"),
        ("stdout = \"/dev/log\"", "write \"syslog\""),
        ("stdout = \"syslogd\"", "`stdout` is \"auto\", \"console\", \"syslog\", \"discard\" or an absolute path"),
        ("stdout = \"/x/${user\"", "`${` without its `}`"),
        ("env = { A = \"${env:UNSET}\" }", "the supervisor's environment has no variable \"UNSET\""),
        ("env = { A = [1] }", "`A` is a string, a number or a boolean, not a list"),
        ("env = { A = \"\\u0000\" }", "`A` has a NUL character in it"),
        ("env = \"A=1\"", "`env` is a table of variables"),
        ("group_name = \"a b\"", "`group_name` is like a program's name"),
        ("group_name = \"web\"", "`group_name` is `web`, which is the name of a program"),
        ("stdout = \"/var/log/taskmaster//events.log\"", "is the supervisor's event log"),
        ("depends_on = [\"db\"]", "`depends_on` is not in this version"),
        ("directory = \"/tmp\"", "did you mean `workingdir`?"),
        ("startsecs = 1", "did you mean `starttime`?"),
        ("stopwaitsecs = 1", "did you mean `stoptime`?"),
        ("environment = {}", "did you mean `env`?"),
        ("stdout_logfile = \"/x\"", "did you mean `stdout`?"),
        ("stderr_logfile = \"/x\"", "did you mean `stderr`?"),
        ("working_dir = \"/x\"", "did you mean `workingdir`?"),
        ("log_dir = \"/x\"", "it belongs in [supervisor]"),
        ("include = []", "`include` stands at the top, before the first [table]"),
        ("banana = 1", "unknown key `banana` in [programs.web]"),
    ] {
        let told = wrong(line);
        assert!(told.contains(words), "{line}: {told}");
        assert!(told.ends_with("\n1 fault in 1 file"), "{line}: {told}");
    }
}

#[test]
fn restricted_paths_and_the_right_to_new_privileges_exclude_each_other() {
    assert_eq!(
        wrong("no_new_privileges = false\nrestrict_paths = { execute = [\"/usr\"] }"),
        "taskmaster.toml:4:21: `restrict_paths` needs `no_new_privileges`\n    4 | no_new_privileges = false\n      \
         |                     ^^^^^ take one of the two out\n1 fault in 1 file"
    );
    let text = "[defaults]\nno_new_privileges = false\nuser = \"u\"\n[programs.a]\ncmd = \"a\"\nrestrict_paths.execute = [\"/usr\"]\n";
    assert!(told(load_one(text)).starts_with("taskmaster.toml:2:21: `restrict_paths` needs `no_new_privileges`"));
}

#[test]
fn a_command_is_refused_where_it_cannot_be_started() {
    for (cmd, words) in [
        ("\"\"", "`cmd` is empty"),
        ("\"  # nothing\"", "`cmd` is empty"),
        ("[]", "`cmd` is empty"),
        ("\"''\"", "the program to run, is empty"),
        ("\"/bin/x 'unclosed\"", "a quote that is not closed"),
        ("\"bin/x\"", "`bin/x` is relative to no known directory"),
        ("\"bin${home}\"", "is relative to no known directory"),
        ("[\"/bin/x\", 5]", "`cmd` is a string, not an integer"),
        ("5", "`cmd` is a string or a list of strings, not an integer"),
        ("[\"/bin/x\", \"\\u0000\"]", "`cmd` has a NUL character in it"),
    ] {
        let told = told(load_one(&format!("[programs.web]\nuser = \"u\"\ncmd = {cmd}\n")));
        assert!(told.contains(words) && told.ends_with("\n1 fault in 1 file"), "{cmd}: {told}");
    }
}

#[test]
fn what_is_no_table_of_programs_is_refused() {
    for (text, words) in [
        ("programs = 3\n", "write [programs.NAME]"),
        ("[[programs]]\ncmd = \"x\"\n", "write [programs.NAME]"),
        ("[programs]\ncmd = \"x\"\n", "and `cmd` is none"),
        ("[[programs.web]]\ncmd = \"x\"\n", "write [programs.web]"),
        ("[programs.\"a b\"]\ncmd = \"x\"\nuser = \"u\"\n", "but no ' '"),
        ("[programs.all]\ncmd = \"x\"\nuser = \"u\"\n", "`all` means every program"),
        ("cmd = \"x\"\n[programs]\n", "it belongs in [programs.NAME] or [defaults]"),
        ("[supervisor]\nremember = 1\n", "`remember` is true or false"),
        ("supervisor = 1\n", "`supervisor` is a table, not an integer"),
    ] {
        let told = told(load_one(text));
        assert!(told.contains(words) && told.contains("\n1 fault "), "{text}: {told}");
    }
}

#[test]
fn two_users_must_not_share_a_log_file() {
    assert_eq!(
        told(load_one(
            "[programs.a]\ncmd = \"a\"\nuser = \"a\"\nstdout = \"/tmp/${instance}.log\"\nnumprocs = 3\n\
             [programs.b]\ncmd = \"b\"\nuser = \"b\"\nstderr = \"/tmp//2.log\"\n"
        )),
        "taskmaster.toml:9:10: `b` would write to `/tmp/2.log`, as `a` does as another user\n    \
         9 | stderr = \"/tmp//2.log\"\n      |          ^^^^^^^^^^^^^ give each user a file of its own\n1 fault in 1 file"
    );
    let auto = "[programs.web]\ncmd = \"a\"\nuser = \"a\"\nnumprocs = 2\n[programs.web-1]\ncmd = \"b\"\nuser = \"b\"\n";
    let rotated = "[defaults]\nuser = \"a\"\ncmd = \"x\"\n[programs.a]\nstdout = \"/l/x\"\nlog_backups = 2\n[programs.b]\nstdout = \"/l/x.2\"\n[programs.c]\nstdout = \"/l/x.3\"\n";
    assert!(told(load_one(rotated)).contains("`b` would write to `/l/x.2`, which is `a`'s log when it is rotated"));
    assert!(!told(load_one(rotated)).contains("`c` would"));
    for (keys, end, refused) in [
        ("log_backups = 2", "2.gz", true),
        ("log_backups = 1", "2.gz", false),
        ("log_backups = 1\nlog_compress = true", "gz.tmp", true),
        ("log_backups = 1", "gz.tmp", false),
    ] {
        let text = rotated.replace("log_backups = 2", keys).replace("/l/x.2", &format!("/l/x.{end}"));
        assert_eq!(load_one(&text).is_err(), refused, "{keys} {end}");
    }
    for (path, what) in [("/run/taskmaster/lock", "lock"), ("/l/../l/x", "goes through `..`")] {
        let text = format!("[programs.a]\nuser = \"a\"\ncmd = \"x\"\nstdout = \"{path}\"\n");
        assert!(told(load_one(&text)).contains(what), "{path}");
    }
    assert!(
        told(load_one(auto)).contains("`web-1` would write to `/var/log/taskmaster/web-1.stdout.log`, as `web` does")
    );
}

#[test]
fn there_is_a_limit_to_all_processes_together() {
    let program = |n: u32| format!("[programs.p{n}]\ncmd = \"a\"\nuser = \"a\"\nnumprocs = 10000\n");
    assert!(load_one(&(program(1) + &program(2))).is_ok());
    let told = told(load_one(&(program(1) + &program(2) + &program(3) + &program(4))));
    assert!(told.starts_with("taskmaster.toml:9:1: with this program there are more than 20000 processes in all\n"));
    assert!(told.ends_with("\n1 fault in 1 file"), "{told}");
}

#[test]
fn faults_of_all_files_are_told_in_the_order_of_the_files() {
    let files = [
        (
            "taskmaster.toml",
            "include = [\"conf.d/*.toml\", \"gone.toml\"]\n[defaults]\nuser = \"u\"\n[programs.web]\ncmd = \"w\"\n",
        ),
        ("conf.d/a.toml", "include = [\"x\"]\n[defaults]\numask = 7\n[programs.web]\ncmd = \"v\"\n"),
        ("conf.d/b.toml", "x = [\n"),
        ("conf.d/c.toml", "DENIED"),
    ];
    let told = told(load_all(&files, &environment()));
    let heads: Vec<&str> = told.lines().filter(|line| line.contains(".toml:")).collect();
    assert_eq!(
        heads,
        [
            "taskmaster.toml:1:12: conf.d/c.toml: cannot be read: Permission denied",
            "taskmaster.toml:1:29: gone.toml: cannot be read: No such file or directory",
            "conf.d/a.toml:1:11: an included file cannot include others",
            "conf.d/a.toml:2:1: [defaults] stands in taskmaster.toml:2 already",
            "conf.d/a.toml:4:11: `web` is also defined in taskmaster.toml:4",
            "conf.d/b.toml:1:6: unclosed array, expected `]`",
        ]
    );
    assert!(told.ends_with("\n6 faults in 3 files"), "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_of_its_own() {
    assert_eq!(
        told(load_all(&[], &environment())),
        "taskmaster.toml: cannot be read: No such file or directory\n1 fault in 1 file"
    );
    let large = format!("#{}", "x".repeat(include::FILE_MAX));
    assert_eq!(told(load_one(&large)), "taskmaster.toml: the file is larger than 4 MiB\n1 fault in 1 file");
}

#[test]
fn a_pattern_that_matches_the_top_file_or_a_file_twice_reads_it_once() {
    let files = [
        ("taskmaster.toml", "include = [\"*.toml\", \"a.toml\"]\n"),
        ("a.toml", "[programs.a]\ncmd = \"a\"\nuser = \"u\"\n"),
    ];
    assert_eq!(load_all(&files, &environment()).expect("good").programs.len(), 1);
}

#[test]
fn hostile_text_is_escaped_wherever_it_is_shown() {
    let told = told(load_one("[programs.\"\\u001b[2J\"]\ncmd = \"x\"\nuser = \"u\"\n\"k\u{202e}\" = \"\u{202e}\"\n"));
    assert!(!told.contains(['\u{1b}', '\u{202e}']), "{told}");
}

#[test]
fn a_fault_of_the_defaults_is_told_once_and_not_for_every_program() {
    let program = |name: &str| format!("[programs.{name}]\ncmd = \"x\"\n");
    let text = "[defaults]\nuser = \"u\"\ngroup_name = \"a\"\nstoptime = \"x\"\nstdout = \"${nope}\"\n".to_owned();
    let told = told(load_one(&(text + &program("a") + &program("b") + &program("c"))));
    assert!(told.ends_with("\n3 faults in 1 file"), "{told}");
}

#[test]
fn tables_below_a_program_are_read_like_inline_ones() {
    let told = told(load_one(
        "[programs.web]\ncmd = \"x\"\nuser = \"u\"\n[programs.web.env]\nA = 1\n[programs.web.limits]\nnofil = 1\n",
    ));
    assert!(told.starts_with("taskmaster.toml:7:1: unknown key `nofil` in `limits`\n"), "{told}");
    assert!(told.contains("did you mean `nofile`?") && told.ends_with("\n1 fault in 1 file"), "{told}");
}

#[test]
fn a_table_that_is_there_twice_says_so_once() {
    let text = "[programs.web]\ncmd = \"x\"\nuser = \"u\"\n";
    assert_eq!(
        told(load_one(&text.repeat(2))),
        "taskmaster.toml:4:11: `web` is there a second time\n    \
         4 | [programs.web]\n      |           ^^^\n1 fault in 1 file"
    );
}

#[test]
fn files_in_other_formats_are_answered_line_by_line() {
    for (text, words) in [
        ("programs:\n  web:\n    cmd: \"x\"\n", "a key stands without `=` and a value"),
        ("[programs.web]\ncmd = \"x\nuser = \"u\"\n", "the quote that begins this text is not closed"),
        ("[programs.web]\ncmd = \"\\d\"\nuser = \"u\"\n", "`\\` begins an escape that TOML does not know"),
        ("[programs.web]\ncmd = \"x\"\nuser = \"u\"\nautostart = True\n", "write true"),
        ("[programs.web]\ncmd = \"x\"\nuser = \"u\"\nstopsignal = TERM\n", "write \"TERM\""),
        (
            "[programs.web]\ncmd = \"x\"\nuser = \"u\"\nexitcodes = [0,\n[control]\n",
            "is the list above closed with `]`?",
        ),
        ("[programs.größe]\n", "put the whole name in \"…\""),
        ("[supervisor]\nlog_dir = \"/x/${host}\"\n", "nothing is expanded in `log_dir`"),
    ] {
        let told = told(load_one(text));
        assert!(told.contains(words), "{text}: {told}");
    }
}
