//! Some programs of another configuration in place of what is in force.
use super::*;
use crate::model::settings::{OnDisk, Source as Origin};

fn names(names: &[&str]) -> std::collections::BTreeSet<ProgramName> {
    names.iter().map(|name| ProgramName::new(name).expect("a name")).collect()
}

fn program(name: &str, lines: &str) -> String {
    format!("[programs.{name}]\ncmd = \"/bin/web\"\nuser = \"www\"\n{lines}\n")
}

fn taken(in_force: &str, disk: &str, only: &[&str]) -> Result<Config, String> {
    good(in_force).taking(&good(disk), &names(only), true)
}

#[test]
fn only_the_named_programs_are_as_the_files_say_and_a_reload_of_all_takes_the_rest() {
    let in_force = ["[defaults]\nstoptime = 1\n", &program("a", ""), &program("b", ""), &program("c", "")].concat();
    let disk = [
        "[supervisor]\nremember = true\n\n[defaults]\nstoptime = 2\nnice = 5\n",
        &program("a", ""),
        &program("b", ""),
        &program("d", ""),
        &program("e", ""),
    ]
    .concat();
    let (old, disk_config) = (good(&in_force), good(&disk));
    let config = taken(&in_force, &disk, &["b", "c", "d"]).expect("goes together");
    let of = |config: &Config, name: &str| config.programs.iter().find(|p| p.name.as_str() == name).cloned();
    assert_eq!(of(&config, "a"), of(&old, "a"));
    assert_eq!(of(&config, "b"), of(&disk_config, "b"));
    assert_eq!((of(&config, "c"), of(&config, "d").is_some(), of(&config, "e")), (None, true, None));
    assert!(!config.supervisor.remember, "what is no program stays");
    // What is in force knows where it comes from, and what the files say instead.
    let on_disk = |name: &str| {
        let name = ProgramName::new(name).expect("a name");
        config.section(InForce::Program(&name), Some(&disk_config)).map(|section| section.on_disk)
    };
    let expected = [("a", OnDisk::Changed), ("b", OnDisk::Same), ("d", OnDisk::Same), ("e", OnDisk::Added)];
    for (name, there) in expected {
        assert_eq!(on_disk(name), Some(there), "{name}");
    }
    assert_eq!(on_disk("c"), None);
    let stoptime = |name: &str| {
        let name = ProgramName::new(name).expect("a name");
        let section = config.section(InForce::Program(&name), None).expect("a program");
        let found = section.settings.into_iter().find(|setting| setting.key == "stoptime").expect("a key");
        (found.source, found.line, found.value)
    };
    assert_eq!(stoptime("a"), (Origin::Defaults, Some(2), serde_json::json!("1s")));
    assert_eq!(stoptime("b"), (Origin::Defaults, Some(5), serde_json::json!("2s")));
}

#[test]
fn a_value_is_found_in_the_file_it_came_from_when_the_list_of_files_is_another() {
    let old = good(&program("a", ""));
    let include = "include = [\"x/*.toml\"]\n";
    let disk = load_all(&[("taskmaster.toml", include), ("x/b.toml", &program("b", ""))], &environment());
    let config = old.taking(&disk.expect("good"), &names(&["b"]), true).expect("goes together");
    let name = ProgramName::new("b").expect("a name");
    let section = config.section(InForce::Program(&name), None).expect("a program");
    let cmd = section.settings.into_iter().find(|setting| setting.key == "cmd").expect("a key");
    assert_eq!((cmd.file, cmd.line), (Some("/etc/taskmaster/x/b.toml".into()), Some(2)));
}

#[test]
fn what_is_taken_out_of_force_is_only_on_disk() {
    let config = good(&[program("a", ""), program("b", "")].concat());
    let rest = config.without(&names(&["a", "zzz"]));
    assert_eq!(rest.programs.iter().map(|program| program.name.as_str()).collect::<Vec<_>>(), ["b"]);
    let name = ProgramName::new("a").expect("a name");
    let section = rest.section(InForce::Program(&name), Some(&config)).expect("on disk");
    assert_eq!(section.on_disk, OnDisk::Added);
}

#[test]
fn parts_that_do_not_go_together_are_refused_in_words() {
    let log = |name: &str, user: &str, path: &str| {
        format!("[programs.{name}]\ncmd = \"/bin/web\"\nuser = \"{user}\"\nstdout = \"{path}\"\n")
    };
    let in_force = log("a", "www", "/var/log/x");
    let disk = [log("a", "www", "/var/log/y"), log("b", "db", "/var/log/x")].concat();
    let refused = taken(&in_force, &disk, &["b"]).expect_err("one file of two users");
    assert_eq!(refused, "`b` would write to `/var/log/x`, as `a` does as another user");
    assert!(taken(&in_force, &disk, &["a", "b"]).is_ok());
    let refused = taken(&program("a", ""), &program("b", "group_name = \"a\""), &["b"]).expect_err("a name of both");
    assert!(refused.contains("which is the name of a program"), "{refused}");
    let many = |name: &str| program(name, "numprocs = 10000\nstdout = \"discard\"\nstderr = \"discard\"");
    let refused = taken(&(many("a") + &many("b")), &program("c", ""), &["c"]).expect_err("too many");
    assert!(refused.contains("more than 20000 processes"), "{refused}");
    let mail = "[notify.email]\nsendmail = \"/bin/true\"\nfrom = \"t@x.test\"\nto = [\"o@x.test\"]\n";
    let disk = [program("a", "alert_to = [\"email\"]").as_str(), mail].concat();
    let refused = taken(&program("a", ""), &disk, &["a"]).expect_err("no such channel in force");
    assert_eq!(refused, "`a` alerts email, which is not in force");
}
