//! Promises that hold for any text, by random ones.
use proptest::prelude::*;

use super::*;

const VALID: &str = "include = [\"conf.d/*.toml\"]\n[supervisor]\nevent_log = \"/e\"\n[control]\nmode = \"0660\"\n\
    [[control.allow]]\nusers = [\"alice\", 1001]\nprograms = [\"w[e]b*\"]\nverbs = [\"stop\"]\n\
    [defaults]\nuser = \"nobody\"\nenv = { A = \"${host}\" }\n[programs.web]\ncmd = \"/bin/web -p ${instance}\"\n\
    umask = 0o022\nnumprocs = 3\nexitcodes = [0, 2]\nstoptime = \"1m30s\"\nlimits = { nofile = [1, 2] }\n\
    [notify]\ngroup_wait = 1\n[notify.email]\nserver = [\"a:25\", \"[::1]:26\"]\n\
    tls = \"implicit\"\nfrom = \"A B <a@b.c>\"\nto = \"ö@b.c\"\nredact = \"a+\"\n[notify.webhooks.chat]\nurl = \"https://h/p\"\n\
    [notify.syslog]\ntarget = \"tcp://h:601\"\nsd_id = \"a@1\"\n[[notify.rules]]\non = [\"process.*\"]\nto = [\"email\"]\n\
    [programs.\"größe\"]\ncmd = ['/bin/x']\nlog_maxbytes = \"50MB\"\nbackoff = { initial = 1.5, factor = 2.0 }\n";

/// Every fault has a place inside the text, and shows without anything that acts on a terminal.
fn holds(text: &str) {
    let Err(faults) = load_one(text) else { return };
    assert!(faults.list.iter().any(|fault| !fault.warning));
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.split('\n').collect();
    for fault in &faults.list {
        let Some(excerpt) = &fault.excerpt else { continue };
        let line = lines.get(excerpt.line - 1).unwrap_or_else(|| panic!("{fault}"));
        assert!((1..=line.chars().count() + 1).contains(&excerpt.column), "{fault}");
        assert!(excerpt.indent + excerpt.width <= excerpt.text.chars().count() + 1, "{fault}");
    }
    assert!(faults.to_string().chars().all(|c| c == '\n' || !c.is_control()));
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "(?s).{0,300}") {
        holds(&text);
    }

    #[test]
    fn any_text_of_the_characters_of_toml_is_read_without_a_panic(text in "[a-c0-9\\[\\]{}='\"\\\\.,#\n\r\t _$-]{0,200}") {
        holds(&text);
    }

    #[test]
    fn any_bytes_in_a_valid_file_are_read_without_a_panic(
        at in 0..VALID.len(),
        gone in 0..40_usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..12),
    ) {
        let mut file = VALID.as_bytes().to_vec();
        file.splice(at..(at + gone).min(VALID.len()), bytes);
        holds(&String::from_utf8_lossy(&file));
    }

    #[test]
    fn any_value_of_any_key_is_read_without_a_panic(
        key in proptest::sample::select(vec![
            "cmd", "numprocs", "umask", "env", "limits", "backoff", "restart_limit", "starttime", "log_maxbytes",
            "stopsignal", "user", "groups", "stdout", "exitcodes", "inherit_env", "workingdir", "group_name",
        ]),
        value in "([-+]?[0-9]{1,25}|0[xob][0-9a-f]{1,20}|[0-9]{1,5}\\.[0-9]{1,5}(e[0-9]{1,4})?|\"[^\"\\\\\n\r]{0,30}\"|\
            \"-?[0-9]{1,20} ?[a-zA-Z]{0,4}\"|\\[[0-9, ]{0,9}\\]|\\{ [a-z]{1,9} = [0-9\"]{1,4} \\}|true|nan|-inf|1979-05-27)",
    ) {
        holds(&format!("[programs.web]\n{key} = {value}\n"));
    }
}

#[test]
fn the_valid_file_of_these_tests_is_valid() {
    assert_eq!(good(VALID).programs.len(), 2);
}
