//! What a good configuration means.
use std::collections::BTreeSet;

use super::*;
use crate::model::program::testing;
use crate::model::program::{
    AutoRestart, Backoff, ErrorOutput, InheritEnv, KillMode, Limit, ListedPath, OnSupervisorDeath, OnUnsupported,
    Output, Resource, RestartLimit,
};
use crate::model::signal::Signal;
use crate::model::template::Template;

#[test]
fn the_two_programs_of_the_brief_mean_what_they_say() {
    let config = good(
        r#"
[programs.nginx]
cmd = "/usr/local/bin/nginx -c /etc/nginx/test.conf"
user = "www-data"
numprocs = 1
umask = "022"
workingdir = "/tmp"
autostart = true
autorestart = "unexpected"
exitcodes = [0, 2]
startretries = 3
starttime = 5
stopsignal = "TERM"
stoptime = 10
stdout = "/tmp/nginx.stdout"
stderr = "/tmp/nginx.stderr"
env = { STARTED_BY = "taskmaster", ANSWER = 42 }

[programs.vogsphere]
cmd = "/usr/local/bin/vogsphere-worker --no-prefork"
user = "vogsphere"
numprocs = 8
umask = "077"
workingdir = "/tmp"
autostart = true
autorestart = "unexpected"
exitcodes = 0
startretries = 3
starttime = 5
stopsignal = "USR1"
stoptime = 10
stdout = "/tmp/vgsworker.stdout"
stderr = "/tmp/vgsworker.stderr"
"#,
    );
    let [nginx, vogsphere] = &config.programs[..] else { panic!("two programs") };
    let mut expected = testing::program("nginx");
    expected.exec.cmd = ["/usr/local/bin/nginx", "-c", "/etc/nginx/test.conf"].map(Template::literal).to_vec();
    expected.exec.user = Some(Account::Name("www-data".to_owned()));
    expected.exec.workingdir = Some(Template::literal("/tmp"));
    expected.exec.stdout = Output::File(Template::literal("/tmp/nginx.stdout"));
    expected.exec.stderr = ErrorOutput::Own(Output::File(Template::literal("/tmp/nginx.stderr")));
    expected.exec.env = [("ANSWER", "42"), ("STARTED_BY", "taskmaster")]
        .map(|(name, value)| (name.to_owned(), Template::literal(value)))
        .into();
    expected.watch.exitcodes = BTreeSet::from([0, 2]);
    expected.watch.starttime = Duration::from_secs(5);
    assert_eq!(*nginx, expected);
    assert_eq!((vogsphere.numprocs, vogsphere.exec.umask), (8, 0o077));
    assert_eq!(vogsphere.watch.stopsignal, Signal::USR1);
    assert_eq!(vogsphere.watch.exitcodes, BTreeSet::from([0]));
    assert_eq!(config.warnings, []);
}

#[test]
fn what_is_not_said_has_the_documented_default() {
    let mut expected = testing::program("web");
    expected.exec.cmd = vec![Template::literal("/bin/web")];
    expected.exec.user = Some(Account::Name("www".to_owned()));
    assert_eq!(web(""), expected);
}

#[test]
fn every_key_of_a_program_is_read() {
    let program = web(r#"
numprocs = 10000
group_name = "frontend"
group = 33
groups = []
umask = 0o027
workingdir = "${home}/x"
inherit_env = true
no_new_privileges = false
limits = { nofile = [1024, 4096], core = 0, memlock = "unlimited" }
nice = -20
oom_score_adj = -1000
on_supervisor_death = "keep"
stdout = "discard"
stderr = "stdout"
autostart = false
autorestart = true
starttime = "500ms"
startretries = 0
stopsignal = "RTMIN+1"
stoptime = "1m"
kill_mode = "process"
backoff = { initial = "2s", factor = 2, max = "5m", jitter = 0.5 }
restart_limit = { burst = 10, interval = "1m" }
priority = -5
log_maxbytes = "1GB"
log_backups = 0
log_timestamps = true
strip_ansi = true
"#);
    assert_eq!((program.numprocs, program.group_name.as_deref()), (10_000, Some("frontend")));
    let exec = &program.exec;
    assert_eq!((&exec.group, exec.groups.as_deref()), (&Some(Account::Id(33)), Some(&[][..])));
    assert_eq!((exec.umask, exec.no_new_privileges), (0o027, Some(false)));
    assert_eq!(exec.workingdir.as_ref().map(text_of).as_deref(), Some("/home/www/x"));
    assert_eq!((exec.nice, exec.oom_score_adj), (Some(-20), Some(-1000)));
    assert_eq!((&exec.stdout, &exec.stderr), (&Output::Discard, &ErrorOutput::Stdout));
    assert_eq!(exec.on_supervisor_death, OnSupervisorDeath::Keep);
    assert_eq!(exec.inherit_env, InheritEnv::All);
    assert_eq!(exec.limits[&Resource::Nofile], Limit { soft: Some(1024), hard: Some(4096) });
    assert_eq!(exec.limits[&Resource::Memlock], Limit { soft: None, hard: None });
    let watch = &program.watch;
    assert_eq!((watch.autostart, watch.autorestart), (false, AutoRestart::Always));
    assert_eq!((watch.starttime, watch.stoptime), (Duration::from_millis(500), Duration::from_secs(60)));
    assert_eq!((watch.startretries, watch.stopsignal.number(), watch.kill_mode), (0, 35, KillMode::Process));
    let seconds = Duration::from_secs;
    let backoff = Backoff { initial: seconds(2), factor: 2.0, step: seconds(1), max: seconds(300), jitter: 0.5 };
    assert_eq!(watch.backoff, backoff);
    assert_eq!(watch.restart_limit, Some(RestartLimit { burst: 10, interval: seconds(60) }));
    assert_eq!((watch.priority, watch.log_maxbytes, watch.log_backups), (-5, 1 << 30, 0));
    assert!(watch.log_timestamps && watch.strip_ansi);
}

#[test]
fn a_program_starts_from_the_defaults_and_its_own_values_win() {
    let config = good(
        r#"
[defaults]
user = "nobody"
stopsignal = "INT"
stdout = "/var/log/x/${program}.log"
env = { A = "1", B = "default of ${program}" }
[programs.one]
cmd = "/bin/one"
[programs.two]
cmd = "/bin/two"
user = "www"
env = { B = "own", C = true }
"#,
    );
    let [one, two] = &config.programs[..] else { panic!("two programs") };
    let env = |program: &Program| -> Vec<String> {
        program.exec.env.iter().map(|(name, value)| format!("{name}={}", text_of(value))).collect()
    };
    assert_eq!(one.exec.user, Some(Account::Name("nobody".to_owned())));
    assert_eq!(two.exec.user, Some(Account::Name("www".to_owned())));
    assert_eq!((one.watch.stopsignal, two.watch.stopsignal), (Signal::INT, Signal::INT));
    assert_eq!(env(one), ["A=1", "B=default of one"]);
    assert_eq!(env(two), ["A=1", "B=own", "C=true"]);
    assert_eq!(one.exec.stdout, Output::File(Template::literal("/var/log/x/one.log")));
    assert_eq!(two.exec.stdout, Output::File(Template::literal("/var/log/x/two.log")));
}

#[test]
fn names_are_expanded_after_a_command_is_split() {
    let program = web("env = { X = \"${env:HERE}/$HOME\" }\nworkingdir = \"${env:HERE}\"");
    assert_eq!(text_of(&program.exec.env["X"]), "/srv/here/$HOME");
    let config = good(
        "[programs.web]\nuser = \"www\"\ncmd = '''${home}/bin/web \"a b\" ${process} 'it''s' \\$ $$ ${instance:02}'''\n",
    );
    let words: Vec<String> = config.programs[0].exec.cmd.iter().map(text_of).collect();
    assert_eq!(words, ["/home/www/bin/web", "a b", "web:0", "its", "$", "$", "00"]);
    let list = good("[programs.web]\nuser = \"www\"\ncmd = [\"web\", \"a b\", \"\"]\n");
    let words: Vec<String> = list.programs[0].exec.cmd.iter().map(text_of).collect();
    assert_eq!(words, ["web", "a b", ""]);
}

#[test]
fn with_a_terminal_standard_error_goes_where_standard_output_goes() {
    for lines in ["tty = true", "tty = true\nstderr = \"auto\"", "tty = true\nstderr = \"stdout\""] {
        let exec = web(lines).exec;
        assert_eq!((exec.tty, exec.stderr), (true, ErrorOutput::Stdout), "{lines}");
    }
}

#[test]
fn restricted_paths_are_expanded_for_each_process_and_imply_no_new_privileges() {
    let program = web(
        r#"restrict_paths = { read = ["/etc", "-/srv/${instance}"], write = ["${home}"], execute = ["${env:HERE}"] }"#,
    );
    let paths = program.exec.restrict_paths.expect("restricted");
    let texts = |listed: &[ListedPath]| -> Vec<(String, bool)> {
        listed.iter().map(|listed| (text_of(&listed.path), listed.optional)).collect()
    };
    assert_eq!(texts(&paths.read), [("/etc".to_owned(), false), ("/srv/0".to_owned(), true)]);
    assert_eq!(texts(&paths.write), [("/home/www".to_owned(), false)]);
    assert_eq!(texts(&paths.execute), [("/srv/here".to_owned(), false)]);
    assert_eq!((paths.on_unsupported, program.exec.no_new_privileges), (OnUnsupported::Refuse, Some(true)));
    let paths = web(r#"restrict_paths = { execute = ["/usr"], on_unsupported = "best-effort" }"#).exec.restrict_paths;
    assert_eq!(paths.map(|paths| (paths.read.len(), paths.on_unsupported)), Some((0, OnUnsupported::BestEffort)));
}

#[test]
fn the_supervisor_and_its_socket_have_defaults_that_follow_the_directories() {
    let config = good("");
    assert_eq!(config.supervisor.event_log, Path::new("/var/log/taskmaster/events.log"));
    assert_eq!(config.supervisor.event_log_format, EventLogFormat::Text);
    assert_eq!(config.supervisor.shutdown_timeout, Duration::from_secs(30));
    let socket = "/run/taskmaster/control.sock".into();
    assert_eq!(config.control, Control { socket, mode: 0o660, group: None, allow: Vec::new() });
    let config = good(
        "[supervisor]\nlog_dir = \"/l\"\nruntime_dir = \"/r\"\nevent_log_format = \"json\"\nshutdown_timeout = 5\n\
         [control]\nmode = \"0600\"\ngroup = \"taskmaster\"\n",
    );
    assert_eq!(config.supervisor.event_log, Path::new("/l/events.log"));
    assert_eq!(config.supervisor.event_log_format, EventLogFormat::Json);
    assert_eq!(config.supervisor.state_dir, Path::new("/var/lib/taskmaster"));
    assert_eq!((config.control.socket.as_path(), config.control.mode), (Path::new("/r/control.sock"), 0o600));
    assert_eq!(config.control.group, Some(Account::Name("taskmaster".to_owned())));
}

#[test]
fn programs_come_in_the_order_of_the_files() {
    let program = |name: &str| format!("[programs.{name}]\ncmd = \"/bin/x\"\nuser = \"u\"\n");
    let top = format!("include = [\"conf.d/*.toml\", \"z.toml\"]\n{}{}", program("t2"), program("t1"));
    let config = load_all(
        &[
            ("taskmaster.toml", &top),
            ("conf.d/b.toml", &program("b")),
            ("conf.d/a.toml", &(program("a2") + &program("a1"))),
            ("conf.d/not", "nonsense"),
            ("z.toml", &program("z")),
        ],
        &environment(),
    )
    .expect("good");
    let names: Vec<&str> = config.programs.iter().map(|program| program.name.as_str()).collect();
    assert_eq!(names, ["t2", "t1", "a2", "a1", "b", "z"]);
    let directory = Path::new("/etc/taskmaster");
    let files = ["taskmaster.toml", "conf.d/a.toml", "conf.d/b.toml", "z.toml"].map(|name| directory.join(name));
    assert_eq!(config.files, files);
}

#[test]
fn what_is_odd_is_a_warning_and_no_fault() {
    let warnings = |outcome: Result<Config, Faults>| -> Vec<String> {
        outcome.expect("good").warnings.iter().map(|fault| fault.to_string().replace("/etc/taskmaster/", "")).collect()
    };
    let text = "include = [\"conf.d/*.toml\"]\ncontrol.mode = \"0666\"\n[programs.w]\ncmd = \"w\"\nuser = \"u\"\n";
    let ordinary = Environment { root: false, ..environment() };
    assert_eq!(
        warnings(load_all(&[("taskmaster.toml", text)], &ordinary)),
        [
            "taskmaster.toml:1:12: warning: no file matches `conf.d/*.toml`: there is no directory conf.d\n    \
                 1 | include = [\"conf.d/*.toml\"]\n      |            ^^^^^^^^^^^^^^^",
            "taskmaster.toml:2:16: warning: every user of this machine can connect to the socket\n    \
                 2 | control.mode = \"0666\"\n      |                ^^^^^^ and may do nothing there: there is no \
             [[control.allow]]",
            "taskmaster.toml:5:8: warning: only root can start programs as another user: this fails if `u` is not \
             your own name\n    5 | user = \"u\"\n      |        ^^^",
        ]
    );
}

#[test]
fn nothing_is_odd_about_a_directory_for_programs_that_has_none_yet() {
    for pattern in ["conf.d/*.toml", "*.d/*.toml", "/etc/taskmaster/conf.d/[a-z]*.toml", "conf.d/?", "/*.toml"] {
        let text = format!("include = [\"{pattern}\"]\n");
        let files = [("taskmaster.toml", &*text), ("conf.d/README", "Put them here."), ("/", "")];
        let mut config = load_all(&files, &environment()).expect("good");
        assert_eq!((std::mem::take(&mut config.warnings), config.programs.len()), (Vec::new(), 0), "{pattern}");
    }
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    assert_eq!(
        told(load_one("include = [\"conf.d/web.toml\"]\n")).lines().next(),
        Some("taskmaster.toml:1:12: conf.d/web.toml: cannot be read: No such file or directory")
    );
}

#[test]
fn an_ordinary_user_need_not_say_as_whom_programs_run() {
    let ordinary = Environment { root: false, ..environment() };
    let config = load_all(&[("taskmaster.toml", "[programs.w]\ncmd = \"w\"\n")], &ordinary).expect("good");
    assert_eq!((config.programs[0].exec.user.as_ref(), config.warnings.len()), (None, 0));
}

#[test]
fn processes_of_one_user_may_share_a_file() {
    let ordinary = Environment { root: false, ..environment() };
    let text = "[programs.a]\ncmd = \"a\"\nuser = \"a\"\nstdout = \"/x\"\n[programs.b]\ncmd = \"b\"\nstdout = \"/x\"\n";
    assert!(load_all(&[("taskmaster.toml", text)], &ordinary).is_ok());
    good(
        "[defaults]\nuser = \"u\"\nstdout = \"/tmp/x\"\nstderr = \"/tmp/x\"\n[programs.a]\ncmd = \"a\"\nnumprocs = 8\n[programs.b]\ncmd = \"b\"\n",
    );
    good(
        "[defaults]\nstdout = \"/tmp/${user}.log\"\nstderr = \"${home}/log\"\n[programs.a]\ncmd = \"a\"\nuser = \"a\"\n[programs.b]\ncmd = \"b\"\nuser = \"b\"\n",
    );
}
