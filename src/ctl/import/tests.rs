//! The import as a whole, text to text: what comes out is a configuration that `check` takes.
use std::collections::BTreeMap;

use super::*;
use crate::config::{self, Config};
use crate::model::program::{AutoRestart, ErrorOutput, KillMode, Output, Program};

/// Files in memory.
#[derive(Clone, Default)]
struct Memory(BTreeMap<PathBuf, String>);

impl Texts for Memory {
    fn read(&mut self, path: &Path) -> Result<String, String> {
        self.0.get(path).cloned().ok_or_else(|| "No such file or directory".to_owned())
    }
    fn glob(&mut self, pattern: &str) -> Vec<PathBuf> {
        let pattern = glob::Pattern::new(pattern).expect("a pattern");
        self.0.keys().rev().filter(|path| pattern.matches_path(path)).cloned().collect()
    }
}

impl config::Files for Memory {
    fn read(&mut self, path: &Path) -> Result<String, String> {
        Texts::read(self, path)
    }
    fn glob(&mut self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Texts::glob(self, pattern))
    }
    fn exists(&mut self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
    fn secret(&mut self, _: &Path) -> Result<(), String> {
        Ok(())
    }
    fn is_private(&mut self, _: &Path) -> bool {
        true
    }
}

fn around() -> Surroundings {
    let env = [("HOME", "/root"), ("PORT", "8080"), ("OPTIONS", "-a 'b c'")];
    Surroundings {
        env: env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        host: "h1".to_owned(),
    }
}

fn files(texts: &[(&str, &str)]) -> Memory {
    Memory(texts.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect())
}

const CONF: &str = "/etc/supervisor/supervisord.conf";

pub(super) fn of(text: &str) -> Result<Import, Vec<String>> {
    import(Path::new(CONF), &mut files(&[(CONF, text)]), &around())
}

pub(super) fn loaded(toml: &str) -> Result<Config, String> {
    let path = "/etc/taskmaster/taskmaster.toml";
    let environment = config::Environment {
        host: "h1".to_owned(),
        root: true,
        env: around().env,
        defaults: config::Directories {
            log_dir: "/var/log/taskmaster".into(),
            state_dir: "/var/lib/taskmaster".into(),
            runtime_dir: "/run/taskmaster".into(),
        },
        local_only: false,
    };
    config::load(Path::new(path), &mut files(&[(path, toml)]), &environment).map_err(|faults| faults.to_string())
}

#[track_caller]
fn good(text: &str) -> (Config, Import) {
    let import = of(text).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let config = loaded(&import.toml).unwrap_or_else(|faults| panic!("{faults}\n{}", import.toml));
    (config, import)
}

/// One program with these options.
#[track_caller]
fn web(options: &str) -> (Program, Import) {
    let (config, import) = good(&format!("[supervisord]\n[program:web]\n{options}\n"));
    (config.programs.into_iter().next().unwrap_or_else(|| panic!("{}", import.toml)), import)
}

fn words(program: &Program, instance: u32) -> Vec<String> {
    program.exec.cmd.iter().map(|word| word.for_process("web", instance).render("alice", "/home/alice")).collect()
}

#[track_caller]
fn told(import: &Import, words: &str) {
    assert!(import.notes.iter().any(|note| note.contains(words)), "{words}: {:#?}", import.notes);
}

#[test]
fn every_option_of_a_program_has_its_key() {
    let (program, import) = web(
        "command=/bin/web --port 80\nuser=www\npriority=5\nautostart=off\nautorestart=true\nstartsecs=3\nstartretries=7\n\
         exitcodes=0,2\nstopsignal=quit\nstopwaitsecs=20\nstopasgroup=yes\numask=027\ndirectory=/srv\nredirect_stderr=1\n\
         environment=A=\"1,2\",B='x'\nstdout_logfile=/var/log/web.log\nstdout_logfile_maxbytes=1MB\nstdout_logfile_backups=3",
    );
    assert_eq!(words(&program, 0), ["/bin/web", "--port", "80"]);
    assert_eq!(program.exec.user.as_ref().map(ToString::to_string).as_deref(), Some("www"));
    let watch = &program.watch;
    assert_eq!((watch.priority, watch.autostart, watch.autorestart), (5, false, AutoRestart::Always));
    assert_eq!((watch.starttime.as_secs(), watch.startretries, watch.stoptime.as_secs()), (3, 7, 20));
    assert_eq!((watch.stopsignal.to_string().as_str(), watch.kill_mode), ("QUIT", KillMode::Group));
    assert_eq!(watch.exitcodes.iter().copied().collect::<Vec<_>>(), [0, 2]);
    assert_eq!((watch.log_maxbytes, watch.log_backups, program.exec.umask), (1 << 20, 3, 0o027));
    assert_eq!(program.exec.stderr, ErrorOutput::Stdout);
    assert_eq!(program.exec.env.keys().map(String::as_str).collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!(import.notes.len(), 1, "{:?}", import.notes);
    told(
        &import,
        "are root's; where the directory is not root's, too, give them away first: chown www /var/log/web.log",
    );
}

#[test]
fn only_the_main_process_is_stopped_where_nothing_else_was_said() {
    assert_eq!(web("command=/bin/web\nuser=www").0.watch.kill_mode, KillMode::Process);
    let (program, import) = web("command=/bin/web\nkillasgroup=true");
    assert_eq!(program.watch.kill_mode, KillMode::Group);
    told(&import, "killasgroup: `kill_mode = \"group\"` sends the stop signal to the whole group");
}

#[test]
fn a_program_without_a_user_runs_as_root_and_that_is_told() {
    let (program, import) = web("command=/bin/web");
    assert!(program.exec.user.is_some_and(|user| user.is_root()));
    told(&import, "run as root, as they did: web");
    let (config, import) = good("[supervisord]\nuser=app\n[program:web]\ncommand=/bin/web\n");
    assert_eq!(config.programs[0].exec.user.as_ref().map(ToString::to_string).as_deref(), Some("app"));
    assert!(import.toml.contains("user = \"app\"   # [supervisord] user; it named none"), "{}", import.toml);
}

#[test]
fn commands_keep_their_words_whatever_is_in_them() {
    for (command, expected) in [
        ("/bin/sh -c 'a && b' # x", vec!["/bin/sh", "-c", "a && b"]),
        ("/bin/sh -c \"echo '#'\"", vec!["/bin/sh", "-c", "echo '#'"]),
        ("/bin/sh -c 'echo ${HOME} $$ $x'", vec!["/bin/sh", "-c", "echo ${HOME} $$ $x"]),
        ("/bin/x a#b '#c'", vec!["/bin/x", "a#b", "#c"]),
        ("/bin/x\n  --one\n  --two", vec!["/bin/x", "--one", "--two"]),
        ("./run %(here)s", vec!["/etc/supervisor/run", "/etc/supervisor"]),
        ("run 100%%", vec!["run", "100%"]),
        ("/bin/x %(ENV_PORT)s %(ENV_OPTIONS)s", vec!["/bin/x", "8080", "-a", "b c"]),
        ("/bin/%(program_name)s %(group_name)s %(host_node_name)s", vec!["/bin/web", "web", "h1"]),
    ] {
        assert_eq!(words(&web(&format!("command={command}")).0, 0), expected, "{command}");
    }
    told(&web("command=/bin/x %(ENV_PORT)s").1, "taskmasterd needs the variable PORT in its environment");
}

#[test]
fn several_processes_are_one_program_where_they_can_be() {
    let name = "numprocs=3\nprocess_name=%(program_name)s_%(process_num)02d";
    let (config, import) =
        good(&format!("[supervisord]\n[program:web]\ncommand=/bin/web 80%(process_num)02d\n{name}\n"));
    assert_eq!((config.programs.len(), config.programs[0].numprocs), (1, 3));
    assert_eq!(words(&config.programs[0], 2), ["/bin/web", "8002"]);
    assert!(import.toml.contains("# was web:web_00 … web:web_02, is web:0 … web:2"), "{}", import.toml);

    let (config, _) =
        good(&format!("[supervisord]\n[program:web]\ncommand=/bin/web %(process_num)d\n{name}\nnumprocs_start=5\n"));
    let names: Vec<&str> = config.programs.iter().map(|program| program.name.as_str()).collect();
    assert_eq!(names, ["web_05", "web_06", "web_07"]);
    assert_eq!(words(&config.programs[1], 0), ["/bin/web", "6"]);
    assert!(config.programs.iter().all(|program| program.group_name.as_deref() == Some("web")));

    let (config, _) = good(&format!("[supervisord]\n[program:web]\ncommand=/bin/web %(process_num)3d\n{name}\n"));
    assert_eq!(config.programs.len(), 3, "ours has no padding with spaces");
    let (config, import) =
        good("[supervisord]\n[program:web]\ncommand=/bin/web\nnumprocs=0\n[program:b]\ncommand=/bin/b\n");
    assert_eq!(config.programs.len(), 1);
    told(&import, "has no process, and was left out");
}

#[test]
fn output_goes_where_it_went_as_far_as_there_is_such_a_place() {
    let stdout = |options: &str| web(&format!("command=/bin/web\nuser=www\n{options}")).0.exec.stdout;
    assert_eq!(stdout(""), Output::Auto);
    assert_eq!(stdout("stdout_logfile=AUTO"), Output::Auto);
    assert_eq!(stdout("stdout_logfile=NONE"), Output::Discard);
    assert_eq!(stdout("stdout_logfile=/dev/null"), Output::Discard);
    for own in ["/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/1", "//dev/./stdout"] {
        assert_eq!(stdout(&format!("stdout_logfile={own}\nstdout_logfile_maxbytes=0")), Output::Console, "{own}");
    }
    assert_eq!(stdout("stdout_logfile=/dev/tty1"), Output::Auto);
    for options in ["stdout_logfile=syslog", "stdout_syslog=true", "stdout_syslog=true\nstdout_logfile=NONE"] {
        assert_eq!(stdout(options), Output::Syslog, "{options}");
    }
    let shown = |options: &str| match stdout(options) {
        Output::File(path) => path.shown(),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown("stdout_logfile=/var/log/a/../%(program_name)s.log"), "/var/log/web.log");
    assert_eq!(shown("stdout_logfile=web.log"), "/etc/supervisor/web.log");
    assert_eq!(shown("stdout_logfile=web.log\nstdout_syslog=true"), "/etc/supervisor/web.log");
    assert_eq!(shown("stdout_logfile=~/web.log"), "/root/web.log");
    assert_eq!(web("command=/bin/web\nstdout_logfile=/tmp/web.log").0.exec.stdout, Output::Auto, "root's, in /tmp");
    let two = "[supervisord]\n[program:a]\ncommand=/bin/a\nuser=a\nstdout_logfile=/var/log/x\n[program:b]\ncommand=/bin/b\nuser=b\nstdout_logfile=/var/log/x\n";
    told(&good(two).1, "where a's programs write: one file, one user");
}

#[test]
fn what_a_container_shows_is_shown_by_ours_and_files_keep_their_size() {
    let container = "command=/bin/web\nuser=www\nstdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0\n\
        stderr_logfile=/dev/stderr\nstderr_logfile_maxbytes=0";
    let (program, import) = web(container);
    assert_eq!((program.exec.stdout, program.exec.stderr), (Output::Console, ErrorOutput::Own(Output::Console)));
    assert!(!import.toml.contains("log_maxbytes"), "{}", import.toml);
    told(&import, "stdout_logfile: each line has the name of its process before it");
    told(&import, "stderr_logfile: it comes on standard output; each line");
    let half = "command=/bin/web\nuser=www\nstdout_logfile=/dev/fd/1\nstdout_logfile_maxbytes=0\n\
        stderr_logfile=/var/log/web.err\nstderr_logfile_maxbytes=1MB";
    assert_eq!(web(half).0.watch.log_maxbytes, 1 << 20, "that of the file");
    told(&web("command=/bin/web\nstderr_syslog=true").1, "stderr_syslog: an output goes one way: not to the file");
    told(&web("command=/bin/web\nstdout_syslog=1\nstdout_logfile=/var/log/x").1, "to the file, not to syslog, too");
    told(&web("command=/bin/web\nstdout_logfile=syslog").1, "supervisord's were user.info");
}

#[test]
fn groups_keep_their_names_unless_a_program_has_it() {
    let programs = "[program:a]\ncommand=/bin/a\n[program:b]\ncommand=/bin/b\npriority=3\n";
    let (config, _) = good(&format!("[supervisord]\n[group:g]\nprograms=a,b\npriority=7\n{programs}"));
    assert!(
        config.programs.iter().all(|program| program.group_name.as_deref() == Some("g") && program.watch.priority == 7)
    );
    let (config, import) = good(&format!("[supervisord]\n[group:a]\nprograms=a,b\n{programs}"));
    assert_eq!(config.programs[0].group_name.as_deref(), Some("a-group"));
    told(&import, "the group `a` is called `a-group` here");
    let (config, _) = good(&format!("[supervisord]\n[group:a]\nprograms=a\n{programs}"));
    assert_eq!(config.programs[0].group_name, None);
}

#[test]
fn included_files_have_a_here_of_their_own_and_come_in_order() {
    let main = "[supervisord]\n[include]\nfiles = conf.d/*.conf %(here)s/more.ini none/*\n[program:top]\ncommand=%(here)s/top\n";
    let mut memory = files(&[
        (CONF, main),
        ("/etc/supervisor/conf.d/b.conf", "[program:b]\ncommand=%(here)s/b\n[include]\nfiles=/never\n"),
        ("/etc/supervisor/conf.d/a.conf", "[program:a]\ncommand=%(here)s/a\n"),
        ("/etc/supervisor/more.ini", "[program:b]\nuser=late\n"),
    ]);
    let import = import(Path::new(CONF), &mut memory, &around()).expect("imported");
    let config = loaded(&import.toml).expect("valid");
    let all: Vec<String> = config.programs.iter().map(|program| words(program, 0)[0].clone()).collect();
    assert_eq!(all, ["/etc/supervisor/top", "/etc/supervisor/conf.d/a", "/etc/supervisor/conf.d/b"]);
    assert!(config.programs[2].exec.user.as_ref().is_some_and(|user| user.to_string() == "late"));
    told(&import, "[include] files: nothing matches /etc/supervisor/none/*");
}

#[test]
fn what_has_no_counterpart_is_a_comment_and_told_and_no_password_is_shown() {
    let text = "[unix_http_server]\nfile=/run/s.sock\nchmod=0770\nchown=root:ops\nusername=u5er\npassword=s3cret\n\
        [inet_http_server]\nport=*:9001\nusername=u5er\npassword={SHA}s3cret\n\
        [supervisord]\nloglevel=debug\nminfds=65536\nenvironment=LANG=\"C\",X=\"%(host_node_name)s\"\nminprocs=99\n\
        [supervisorctl]\nserverurl=http://u5er:s3cret@h/\npassword=s3cret\n\
        [rpcinterface:twiddler]\nsupervisor.rpcinterface_factory=x:y\nsecret_key=s3cret\n\
        [eventlistener:mail]\ncommand=/bin/crashmail\nevents=PROCESS_STATE\n\
        [fcgi-program:php]\ncommand=/bin/php\nsocket=unix:///run/php.sock\n\
        [program:web]\ncommand=/bin/web\nserverurl=unix:///x\nstdout_capture_maxbytes=1MB\nnonsense=1\nstdout_events_enabled=false\n\
        [surprise]\na=b\n";
    let (config, import) = good(text);
    let all = format!("{}\n{}", import.toml, import.notes.join("\n"));
    assert!(!all.contains("s3cret") && !all.contains("u5er"), "{all}");
    assert_eq!(config.programs.len(), 1, "{}", import.toml);
    assert!(config.control.allow.is_empty(), "it took a password");
    for words in [
        "[supervisord] loglevel: ",
        "[supervisord] minprocs: ",
        "[unix_http_server] username: passwords are not carried over",
        "[inet_http_server]: ",
        "[supervisorctl]: ",
        "[rpcinterface:twiddler]: ",
        "[eventlistener:mail]: an event listener",
        "[fcgi-program:php]: ",
        "[program:web] serverurl: ",
        "[program:web] stdout_capture_maxbytes: ",
        "[program:web] nonsense: supervisord does not know it either",
        "[surprise]: supervisord does not know this section either",
    ] {
        told(&import, words);
    }
    assert!(
        import.toml.contains("# [programs.mail]") && import.toml.contains("# events = PROCESS_STATE"),
        "{}",
        import.toml
    );
    assert!(import.toml.contains("limits = { nofile = 65536 }"));
    assert_eq!(config.programs[0].exec.env["X"].shown(), "h1");
}

#[test]
fn who_could_use_the_socket_without_a_password_still_can() {
    let (config, _) = good(
        "[supervisord]\n[unix_http_server]\nfile=/run/s\nchmod=0770\nchown=root:ops\n[program:w]\ncommand=/bin/w\n",
    );
    assert_eq!((config.control.mode, config.control.allow.len()), (0o660, 1));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let (config, _) = good(
        "[supervisord]\n[unix_http_server]\nfile=/run/s\nchmod=0700\nchown=root:ops\n[program:w]\ncommand=/bin/w\n",
    );
    assert!(config.control.allow.is_empty());
}

#[test]
fn what_supervisord_refuses_is_refused_with_its_line() {
    let conf = |line: usize, text: &str| format!("{CONF}:{line}: [program:w] {text}");
    for (text, expected) in [
        (
            "[program:w]\ncommand=/bin/w\n",
            format!("{CONF}: there is no [supervisord], and supervisord would not start"),
        ),
        ("[supervisord]\n[program:w]\n", conf(2, "command: there is none, and supervisord would not start")),
        ("[supervisord]\n[program:w]\ncommand=/x\nstartsecs=5s\n", conf(4, "startsecs: it is not a number")),
        (
            "[supervisord]\n[program:w]\ncommand=/x %(nope)s\n",
            conf(3, "command: %(nope)s means nothing here, and supervisord would not start"),
        ),
        (
            "[supervisord]\n[program:w]\ncommand=date +%Y\n",
            conf(3, "command: a `%` in it begins no %(name)s; a percent sign is written %%"),
        ),
        (
            "[supervisord]\n[program:w]\ncommand=/x\nuser=%(ENV_NOBODY_SET)s\n",
            conf(
                4,
                "user: it takes its value from the variable NOBODY_SET, which is not set here; write NOBODY_SET=… before the command",
            ),
        ),
        (
            "[supervisord]\n[program:w]\ncommand=/x\nenvironment=A\n",
            conf(4, "environment: it does not end after KEY=value"),
        ),
        (
            "[supervisord]\n[program:w]\ncommand=/x\nnumprocs=2\n",
            conf(
                2,
                "process_name: with several processes it needs %(process_num)d in it, or supervisord would not start",
            ),
        ),
    ] {
        assert_eq!(of(text), Err(vec![expected]), "{text}");
    }
    assert_eq!(of("x").expect_err("refused").len(), 1);
}

#[test]
fn a_command_that_is_a_relative_path_by_a_variable_gets_its_directory() {
    let result = of("[supervisord]\n[program:a]\ncommand=x%(ENV_HOME)s/run -v\n").expect("imported");
    assert!(result.toml.contains("/etc/supervisor/x${env:HOME}/run"), "{}", result.toml);
    let bare = of("[supervisord]\n[program:a]\ncommand=web%(ENV_PORT)s -v\n").expect("imported");
    assert!(bare.toml.contains("\"web${env:PORT} -v\""), "{}", bare.toml);
    for import in [result, bare] {
        loaded(&import.toml).unwrap_or_else(|faults| panic!("{faults}\n{}", import.toml));
    }
}

#[test]
fn the_brief_s_yaml_is_read_with_its_own_words() {
    let text = "programs:\n  nginx:\n    cmd: \"/usr/local/bin/nginx -c /etc/nginx/test.conf\"\n    numprocs: 1\n    umask: 022\n    \
        workingdir: /tmp\n    autostart: true\n    autorestart: unexpected\n    exitcodes:\n      - 0\n      - 2\n    startretries: 3\n    \
        starttime: 5\n    stopsignal: TERM\n    stoptime: 10\n    stdout: /var/log/nginx.stdout\n    stderr: /var/log/nginx.stderr\n    \
        env:\n      STARTED_BY: taskmaster\n      ANSWER: 42\n      NO: no\n  vogsphere:\n    cmd: \"/bin/v --no-prefork '${x}'\"\n    \
        numprocs: 8\n    umask: 077\n    exitcodes: 0\n    user: vogsphere\n    color: red\n";
    let path = Path::new("/srv/programs.yaml");
    let result = import(path, &mut files(&[("/srv/programs.yaml", text)]), &around()).expect("imported");
    let config = loaded(&result.toml).unwrap_or_else(|faults| panic!("{faults}\n{}", result.toml));
    let [nginx, vogsphere] = &config.programs[..] else { panic!("{}", result.toml) };
    assert_eq!((nginx.exec.umask, vogsphere.exec.umask, vogsphere.numprocs), (0o022, 0o077, 8));
    assert_eq!(nginx.watch.exitcodes.iter().copied().collect::<Vec<_>>(), [0, 2]);
    let value = |name: &str| nginx.exec.env[name].shown();
    assert_eq!((value("ANSWER"), value("NO"), value("STARTED_BY")), ("42".into(), "no".into(), "taskmaster".into()));
    assert_eq!(words(vogsphere, 0), ["/bin/v", "--no-prefork", "${x}"]);
    told(&result, "programs.vogsphere.color: there is no such key");
    told(&result, "no user is named, so these run as root: nginx");
    for (text, expected) in [
        ("programs:\n  a:\n    numprocs: 0\n    cmd: /x\n", "programs.a.numprocs is not a number from 1 to 10000"),
        ("programs:\n  a:\n    user: x\n", "programs.a has no `cmd`"),
        ("programs: {}\n", "there is no `programs:` with programs in it"),
        ("programs:\n  a: [\n", "programs.yaml: "),
        ("programs:\n  a:\n    cmd: /x\n    cmd: /y\n", "duplicate"),
        ("programs: {a: {cmd: x}}\n---\nprograms: {b: {cmd: y}}\n", "only single YAML document expected"),
        ("programs: &p\n  a: *p\n", "programs.yaml: "),
        ("a: &a [x]\nb: &b [*a, *a]\nprograms:\n  w:\n    cmd: *b\n", "expected string scalar"),
        (&laughs(), "too large or too complex"),
        (&format!("programs: {}", "{a: ".repeat(10_000)), "too large or too complex"),
    ] {
        let faults = import(path, &mut files(&[("/srv/programs.yaml", text)]), &around()).expect_err(text);
        assert!(faults[0].contains(expected), "{faults:?}");
        assert_eq!(faults.iter().filter(|fault| fault.contains('\n')).count(), 0, "{faults:?}");
        // Nobody here programs with the parser.
        assert!(!["Options", "from_str", "weak", "{ "].iter().any(|word| faults[0].contains(word)), "{faults:?}");
    }
}

/// A few lines that mean nine to the power of nine words.
fn laughs() -> String {
    let list = |name: char| format!("&{name} [{}]", vec![format!("*{}", (name as u8 - 1) as char); 9].join(", "));
    let lists: String = ('b'..='j').map(|name| format!("{name}: {}\n", list(name))).collect();
    format!("a: &a [x]\n{lists}programs:\n  w:\n    cmd: *j\n")
}
