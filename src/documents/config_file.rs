//! `etc/taskmaster.toml`: every key with its default or an example, as comments.

use super::pages::described;
use crate::config::reference::{NOTIFY, Row, SECTIONS};

/// Columns of a comment.
const WIDTH: usize = 100;

const HEAD: &str = "\
Every setting of taskmasterd. What is commented out is either the default or an example, as its
comment says. `taskmasterd check -c FILE` tells every fault at once; taskmaster.toml(5) has the same.";

pub fn annotated() -> String {
    let mut out = String::new();
    for line in HEAD.lines() {
        out += &format!("# {line}\n");
    }
    for section in SECTIONS {
        out += &format!("\n{}", comment(section.about));
        if !section.header.is_empty() {
            out += &format!("#{}\n#\n", section.header);
        }
        let rows = section.rows.iter().filter(|row| !is_of_channels(row));
        let is_channel = ["[notify.email]", "[notify.webhooks.NAME]", "[notify.syslog]"].contains(&section.name);
        let of_channels = NOTIFY.rows.iter().filter(|row| is_channel && is_of_channels(row));
        out += &rows.chain(of_channels).map(entry).collect::<Vec<_>>().join("#\n");
    }
    out
}

/// A key that stands in the tables of channels, and is told with those that stand in `[notify]`, too.
fn is_of_channels(row: &Row) -> bool {
    row.only.is_some_and(|place| place.starts_with("only of a channel"))
}

fn entry(row: &Row) -> String {
    let lines = row.keys.iter().map(|(key, value)| format!("#{key} = {value}\n"));
    comment(&described(row)) + &lines.collect::<String>()
}

fn comment(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.replace('`', "").split_whitespace() {
        let last = lines.last_mut().expect("a line");
        if !last.is_empty() && last.chars().count() + word.chars().count() >= WIDTH {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            *last += word;
        }
    }
    lines.iter().map(|line| format!("# {line}\n")).collect()
}

#[test]
fn the_annotated_file_is_toml_with_and_without_its_comments() {
    let text = annotated();
    assert!(toml::de::DeTable::parse(&text).is_ok_and(|table| table.get_ref().is_empty()), "all is commented out");
    let is_setting = |line: &str| line.starts_with('#') && !line.starts_with("# ");
    let lines = text.lines().map(|line| if is_setting(line) { &line[1..] } else { line });
    let uncommented = lines.collect::<Vec<_>>().join("\n");
    let parsed = toml::de::DeTable::parse(&uncommented).expect("without the comment signs");
    assert!(["include", "control", "notify", "programs"].iter().all(|key| parsed.get_ref().contains_key(*key)));
}
