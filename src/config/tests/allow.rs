//! `[[control.allow]]`: what is read, what is refused, and what is told of a socket that does not fit.
use super::*;
use crate::model::authority::Verb;

const PROGRAM: &str = "[programs.web]\ncmd = \"/bin/web\"\nuser = \"www\"\n";

fn with(allow: &str) -> Result<Config, Faults> {
    load_one(&format!("{PROGRAM}[control]\nmode = \"0666\"\n[[control.allow]]\n{allow}\n"))
}

fn warnings(text: &str) -> Vec<String> {
    good(&format!("{text}{PROGRAM}")).warnings.iter().map(|w| w.to_string().replace("/etc/taskmaster/", "")).collect()
}

#[test]
fn rules_have_users_groups_programs_and_verbs() {
    let config = good(&format!(
        "{PROGRAM}[control]\ngroup = \"staff\"\n\
         [[control.allow]]\nusers = [\"alice\", 1001]\ngroups = [\"ops\"]\nprograms = [\"web*\", \"d?\"]\n\
         verbs = [\"status\", \"stop\", \"status\"]\n[[control.allow]]\ngroups = [50]\nverbs = [\"version\"]\n"
    ));
    let [first, second] = config.control.allow.as_slice() else { panic!("{:?}", config.control) };
    assert_eq!(first.users, [Account::Name("alice".to_owned()), Account::Id(1001)]);
    assert_eq!(first.groups, [Account::Name("ops".to_owned())]);
    let patterns: Vec<&str> = first.programs.iter().map(glob::Pattern::as_str).collect();
    assert_eq!(patterns, ["web*", "d?"]);
    assert_eq!(first.verbs.iter().copied().collect::<Vec<_>>(), [Verb::Status, Verb::Stop]);
    assert_eq!((second.users.len(), second.groups.as_slice()), (0, [Account::Id(50)].as_slice()));
    assert_eq!(second.programs.iter().map(glob::Pattern::as_str).collect::<Vec<_>>(), ["*"]);
    assert_eq!(config.warnings, []);
}

#[test]
fn every_verb_has_its_name() {
    for verb in Verb::ALL {
        let config =
            with(&format!("users = [\"a\"]\nverbs = [\"{verb}\"]")).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(config.control.allow[0].verbs.first(), Some(verb));
    }
}

#[test]
fn every_fault_of_a_rule_is_told_with_its_place() {
    let text = r#"[control]
mode = "0666"
[[control.allow]]
users = ["alice", "a b"]
programs = ["web:3", "w/b", "[x"]
verbs = ["strat", "events", "fly", 3]
verb = "stop"
[[control.allow]]
programs = []
verbs = []
[[control.allow]]
users = []
groups = "ops"
[[control.allow]]
users = [-1, 65535]
programs = "web"
verbs = "stop"
"#;
    let expected = r#"taskmaster.toml:2:8: warning: every user of this machine can connect to the socket
    2 | mode = "0666"
      |        ^^^^^^ what they may do there is what [[control.allow]] says
taskmaster.toml:4:19: `users`: "a b" is neither an account name nor a decimal id
    4 | users = ["alice", "a b"]
      |                   ^^^^^
taskmaster.toml:5:13: `web:3` names a process: rules are about programs
    5 | programs = ["web:3", "w/b", "[x"]
      |             ^^^^^^^ write "web"
taskmaster.toml:5:22: no program's name is like `w/b`
    5 | programs = ["web:3", "w/b", "[x"]
      |                      ^^^^^
taskmaster.toml:5:29: `[x`: invalid range pattern
    5 | programs = ["web:3", "w/b", "[x"]
      |                             ^^^^
taskmaster.toml:6:10: `strat` is not a verb
    6 | verbs = ["strat", "events", "fly", 3]
      |          ^^^^^^^ did you mean "start"?
taskmaster.toml:6:19: `events` is not a verb
    6 | verbs = ["strat", "events", "fly", 3]
      |                   ^^^^^^^^ events go with "status"
taskmaster.toml:6:29: `fly` is not a verb
    6 | verbs = ["strat", "events", "fly", 3]
      |                             ^^^^^ there are status, start, stop, restart, signal, tail, clear, attach, config, notify, reload, reopen, shutdown, version
taskmaster.toml:6:36: `verbs` is a list of verbs, not an integer
    6 | verbs = ["strat", "events", "fly", 3]
      |                                    ^
taskmaster.toml:7:1: unknown key `verb` in [[control.allow]]
    7 | verb = "stop"
      | ^^^^ did you mean `verbs`?
taskmaster.toml:8:1: this [[control.allow]] says nobody it is for
    8 | [[control.allow]]
      | ^^^^^^^^^^^^^^^^^ add: users = ["NAME"] or groups = ["NAME"]
taskmaster.toml:9:12: `programs` is empty: this allows nothing
    9 | programs = []
      |            ^^ write ["*"] for all, or leave it out
taskmaster.toml:10:9: `verbs` is empty: this allows nothing
   10 | verbs = []
      |         ^^ there are status, start, stop, restart, signal, tail, clear, attach, config, notify, reload, reopen, shutdown, version
taskmaster.toml:11:1: this [[control.allow]] has no `verbs`
   11 | [[control.allow]]
      | ^^^^^^^^^^^^^^^^^ add: verbs = ["status", "restart"]
taskmaster.toml:13:10: `groups` is a list of names or numbers, not a string
   13 | groups = "ops"
      |          ^^^^^
taskmaster.toml:15:10: `users`: -1 cannot be used as an id (ids are 0 to 4294967294, without 65535)
   15 | users = [-1, 65535]
      |          ^^
taskmaster.toml:15:14: `users`: 65535 cannot be used as an id (ids are 0 to 4294967294, without 65535)
   15 | users = [-1, 65535]
      |              ^^^^^
taskmaster.toml:16:12: `programs` is a list of programs, not a string
   16 | programs = "web"
      |            ^^^^^
taskmaster.toml:17:9: `verbs` is a list of verbs, not a string
   17 | verbs = "stop"
      |         ^^^^^^
"#;
    let told = told(load_one(&format!("{text}{PROGRAM}")));
    assert_eq!(told, format!("{expected}18 faults and 1 warning in 1 file"));
}

#[test]
fn what_is_no_list_of_rules_is_refused() {
    for (text, words) in [
        ("[control.allow]\nusers = [\"a\"]\nverbs = [\"stop\"]\n", "write [[control.allow]]"),
        ("[control]\nallow = 3\n", "`allow` is a list of tables, not an integer"),
        ("[control]\nallow = [3]\n", "`allow` is a table, not an integer"),
        ("[[allow]]\nusers = [\"a\"]\n", "it belongs in [control]"),
        ("[[control.allow]]\nusers = [\"a\"]\nverbs = [\"stop\"]\nprograms = [\"all\"]\n", "write \"*\""),
    ] {
        let told = told(load_one(&format!("{text}{PROGRAM}")));
        assert!(told.contains(words) && told.contains("\n1 fault in "), "{text}: {told}");
    }
}

#[test]
fn a_faulty_rule_is_never_read_as_a_wider_one() {
    for faulty in
        ["users = [\"a\", \"b c\"]\nverbs = [\"stop\"]", "users = [\"a\"]\nprograms = [1]\nverbs = [\"stop\"]"]
    {
        assert!(with(faulty).is_err(), "{faulty}");
    }
}

#[test]
fn a_socket_that_others_reach_and_no_rule_mentions_is_a_warning() {
    let open = "taskmaster.toml:2:8: warning: every user of this machine can connect to the socket\n    \
                2 | mode = \"0666\"\n      |        ^^^^^^ ";
    let nothing = "and may do nothing there: there is no [[control.allow]]";
    assert_eq!(warnings("[control]\nmode = \"0666\"\n"), [format!("{open}{nothing}")]);
    let rule = "[[control.allow]]\nusers = [\"a\"]\nverbs = [\"stop\"]\n";
    assert_eq!(
        warnings(&format!("[control]\nmode = \"0666\"\n{rule}")),
        [format!("{open}what they may do there is what [[control.allow]] says")]
    );
    assert_eq!(
        warnings("[control]\ngroup = \"ops\"\n"),
        [format!(
            "taskmaster.toml:2:9: warning: this group can connect to the socket\n    \
             2 | group = \"ops\"\n      |         ^^^^^ {nothing}"
        )]
    );
    for silent in ["[control]\ngroup = \"ops\"\nmode = \"0600\"\n", &format!("[control]\ngroup = \"ops\"\n{rule}")] {
        assert_eq!(warnings(silent), [] as [String; 0], "{silent}");
    }
}

#[test]
fn a_rule_without_effect_is_a_warning() {
    let told = warnings("[[control.allow]]\nusers = [\"a\"]\nverbs = [\"stop\"]\n");
    assert!(told.len() == 1 && told[0].contains("cannot connect to the socket"), "{told:?}");
    let told = warnings(
        "[control]\nmode = \"0666\"\n[[control.allow]]\nusers = [\"a\"]\nprograms = [\"web\"]\n\
         verbs = [\"stop\", \"reload\", \"reopen\", \"attach\", \"version\"]\n",
    );
    assert_eq!(
        told[1..],
        ["taskmaster.toml:6:29: warning: `reopen` concerns all programs, and this rule is for some\n    \
             6 | verbs = [\"stop\", \"reload\", \"reopen\", \"attach\", \"version\"]\n      \
             |                             ^^^^^^ it allows nothing here: give it a rule with programs = [\"*\"]",]
    );
}
