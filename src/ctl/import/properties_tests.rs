//! Whatever stands in a file, an import is a configuration without a fault, or a few lines that say why not.

use proptest::prelude::*;

use super::tests::{loaded, of};

/// Values as people write them, good and bad.
fn option() -> impl Strategy<Value = String> {
    let options = prop::sample::select(vec![
        "command",
        "process_name",
        "numprocs",
        "numprocs_start",
        "priority",
        "autostart",
        "autorestart",
        "startsecs",
        "startretries",
        "exitcodes",
        "stopsignal",
        "stopwaitsecs",
        "stopasgroup",
        "killasgroup",
        "user",
        "directory",
        "umask",
        "environment",
        "redirect_stderr",
        "stdout_logfile",
        "stdout_logfile_maxbytes",
        "stderr_logfile",
        "stderr_logfile_backups",
        "stdout_syslog",
        "serverurl",
        "programs",
        "file",
        "chmod",
        "chown",
        "minfds",
        "childlogdir",
    ]);
    let values = prop_oneof![
        prop::sample::select(vec![
            "/bin/web",
            "./run -x",
            "sh -c 'echo ${x} # y'",
            "\"\"",
            "",
            "%(program_name)s_%(process_num)02d",
            "%(ENV_PORT)s",
            "%(host_node_name)s.log",
            "3",
            "0",
            "-1",
            "99999999",
            "true",
            "off",
            "unexpected",
            "0,2",
            "TERM",
            "www",
            "0",
            "/srv/%(process_num)d",
            "022",
            "A=\"x\",B=%(ENV_HOME)s",
            "A.B=1",
            "/var/log/x.log",
            "/var/log/x.log.1",
            "NONE",
            "/dev/stdout",
            "/tmp/a.log",
            "~/x",
            "1MB",
            "a, b",
            "0770",
            "root:ops",
            "%(process_num)3d",
            "all",
            "_x",
            "é ü",
            "/var/log/taskmaster/events.log",
            "/var/log/taskmaster/a.stdout.log",
            "/",
            "/a/",
            "'",
            "\u{202e}",
            "\x1b[2J",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
    ];
    (options, values).prop_map(|(option, value)| format!("{option} = {value}\n"))
}

fn section() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "program:a",
        "program:b",
        "program:a-0",
        "program:all",
        "program:x@y",
        "program:_z",
        "group:a",
        "group:g",
        "eventlistener:e",
        "fcgi-program:f",
        "supervisord",
        "unix_http_server",
        "DEFAULT",
        "program:ü.1",
    ]);
    (names, prop::collection::vec(option(), 0..6)).prop_map(|(name, options)| {
        let command = if name.starts_with("program:") { "command=/bin/x %(group_name)s\n" } else { "" };
        format!("[{name}]\n{command}{}", options.concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is imported is a configuration without a fault.
    #[test]
    fn what_is_imported_passes_our_own_check(sections in prop::collection::vec(section(), 1..6)) {
        let text = format!("[supervisord]\n{}", sections.concat());
        if let Ok(import) = of(&text)
            && let Err(faults) = loaded(&import.toml)
        {
            prop_assert!(false, "{faults}\n{text}\n{}", import.toml);
        }
    }

    /// Any text at all is an import or a few lines, and nothing that acts on a terminal.
    #[test]
    fn any_text_is_an_import_or_faults(text in "(\\PC|\n|[\\[\\]=:;#%() ]){0,200}") {
        let lines = match of(&format!("[supervisord]\n[program:x]\ncommand={text}")) {
            Ok(import) => import.notes,
            Err(faults) => faults,
        };
        prop_assert!(lines.iter().all(|line| !line.contains(char::is_control)));
    }
}
