//! The keys of a program.
#![forbid(unsafe_code)]

use super::{Section, row};

pub const PROGRAMS: Section = Section {
    name: "[programs.NAME] and [defaults]",
    header: "[programs.web]",
    heading: "key",
    about: "A program. What stands in [defaults] holds for every program that does not say otherwise. Times are \
                      seconds or \"500ms\", \"5s\", \"1m\".",
    rows: &[
        row(
            &[("cmd", "\"/usr/bin/web --port 8080\"")],
            "required",
            "words as a shell splits them (no shell is run), or a list",
        ),
        row(&[("user", "\"www-data\"")], "required as root", "name or uid; looked up at each start"),
        row(
            &[("group", "\"www-data\""), ("groups", "[\"ssl-cert\"]")],
            "the user's",
            "primary group; list of supplementary groups, `[]` for none",
        ),
        row(&[("numprocs", "1")], "1", "processes `NAME:0` … `NAME:n-1`; with one, just `NAME`"),
        row(&[("autostart", "true")], "true", "start with the supervisor"),
        row(
            &[("autorestart", "\"unexpected\"")],
            "`\"unexpected\"`",
            "`\"always\"`, `\"never\"`; after an exit while RUNNING",
        ),
        row(&[("exitcodes", "[0]")], "`[0]`", "the expected ones; a death by signal never is"),
        row(&[("starttime", "1")], "1", "alive this long is RUNNING; 0: at once"),
        row(&[("startretries", "3")], "3", "failed tries after the first, then FATAL"),
        row(
            &[("backoff", "{ initial = \"1s\", factor = 1.0, step = \"1s\", max = \"60s\", jitter = 0.0 }")],
            "1 s more each time, at most 60 s",
            "`{ initial, factor, step, max, jitter }`",
        ),
        row(
            &[("restart_limit", "{ burst = 10, interval = \"1m\" }")],
            "none",
            "`{ burst, interval }`: one more restart within it is FATAL",
        ),
        row(
            &[("stopsignal", "\"TERM\""), ("stoptime", "10")],
            "`\"TERM\"`, 10",
            "name or number, `RTMIN+1` too; then SIGKILL",
        ),
        row(
            &[("kill_mode", "\"tree\"")],
            "`\"tree\"`",
            "who is stopped: everything that came of it, its `\"group\"`, the main `\"process\"`",
        ),
        row(&[("on_supervisor_death", "\"stop\"")], "`\"stop\"`", "`\"keep\"`: it goes on"),
        row(
            &[("stdout", "\"auto\""), ("stderr", "\"auto\"")],
            "`\"auto\"`",
            "a path (for a program of root: in a directory that root alone can write), `\"console\"`, `\"syslog\"`, `\"discard\"`, for stderr also `\"stdout\"`; auto is a file in `log_dir`, console the supervisor's own standard output, syslog the local log daemon: a message a line, `info` for stdout, `warning` for stderr",
        ),
        row(
            &[("tty", "false")],
            "false",
            "a pseudo-terminal (80x24, `TERM` vt220) as standard input, output and error; all output \
                      goes to `stdout`, lines end in `\\r\\n`",
        ),
        row(
            &[("stdin", "\"null\"")],
            "`\"null\"`",
            "standard input of a program without `tty`: nothing, or `\"attach\"`: the lines that are typed at `attach`",
        ),
        row(&[("log_maxbytes", "\"50MB\""), ("log_backups", "10")], "`\"50MB\"`, 10", "rotation; 0 bytes: never"),
        row(
            &[("log_compress", "false")],
            "false",
            "rotated files are compressed with gzip (`.1.gz`), when there is time; one that is not yet, as `.1`, counts \
             the same",
        ),
        row(
            &[("log_timestamps", "false"), ("strip_ansi", "false")],
            "false, false",
            "the time (UTC, to the millisecond) before each line; without the escape sequences of terminals. A line \
                      that has not ended is written once it has stood still for 200 ms",
        ),
        row(&[("umask", "\"022\"")], "`\"022\"`", "octal, in quotes or as `0o022`"),
        row(&[("workingdir", "\"/srv/web\"")], "`/`, or the supervisor's for its own user", "entered as the user"),
        row(
            &[("env", "{ STARTED_BY = \"taskmaster\", ANSWER = 42 }")],
            "",
            "added to a clean environment with USER LOGNAME HOME SHELL PATH",
        ),
        row(&[("inherit_env", "[\"LANG\"]")], "false for another user", "true, or a list of names"),
        row(
            &[("limits", "{ nofile = 4096, core = 0 }")],
            "the supervisor's",
            "`{ nofile = 4096, core = 0 }`: a number, `[soft, hard]`, `\"unlimited\"`",
        ),
        row(
            &[("capabilities", "[\"CAP_NET_BIND_SERVICE\"]")],
            "none, but for root",
            "kept as ambient ones: `[\"CAP_NET_BIND_SERVICE\"]`; all else is dropped",
        ),
        row(
            &[("capability_bounding", "[\"CAP_NET_BIND_SERVICE\"]")],
            "`capabilities`, for root all",
            "what it and all it starts can ever have",
        ),
        row(&[("no_new_privileges", "true")], "true, but for root", "setuid programs give it nothing"),
        row(
            &[("nice", "5"), ("ioprio", "\"best-effort:4\""), ("cpu_affinity", "\"0-3,6\""), ("oom_score_adj", "100")],
            "the supervisor's",
            "`\"best-effort:4\"`, `\"idle\"`; `[0, 1]` or `\"0-3,6\"`",
        ),
        row(
            &[("keyring", "\"private\"")],
            "`\"private\"` for another user",
            "a session keyring of its own, or `\"inherit\"`",
        ),
        row(&[("mdwe", "false")], "false", "no memory is executable that was writable"),
        row(
            &[(
                "restrict_paths",
                "{ read = [\"/etc\"], write = [\"/var/lib/web\"], execute = [\"/usr\", \"-/lib64\"] }",
            )],
            "none",
            "the only files it can open: see \"Restricted paths\"",
        ),
        row(
            &[("env_file", "\"-/etc/default/web\"")],
            "",
            "`NAME=value` lines, read with the configuration; `env` wins; `\"-/path\"` may be missing",
        ),
        row(&[("priority", "999")], "999", "lower starts earlier and stops later"),
        row(&[("group_name", "\"frontend\"")], "", "a name for several programs together"),
        row(&[("alerts", "true")], "true", "false: no mail and no webhook about it; event log and syslog go on"),
        row(
            &[("alert_to", "[\"email\"]")],
            "by the rules",
            "channels that are told in any case, and mail addresses instead of `to`: \
                      `[\"webhooks.chat\", \"dba@example.com\"]`",
        ),
        row(
            &[("syslog_facility", "\"local0\""), ("syslog_tag", "\"web\"")],
            "those of `[notify.syslog]`; the tag of its lines is its name",
            "for its events, and for its lines where `stdout` or `stderr` is `\"syslog\"`",
        ),
    ],
};
