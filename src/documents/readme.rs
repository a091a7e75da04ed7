//! The README with its tables of keys and of commands as they should be.

use super::pages::{keys, usage, visible};
use crate::config::reference::{SECTIONS, Section};
use crate::ctl::command::command_line;

pub fn current(readme: &str) -> String {
    let mut text = readme.to_owned();
    for section in &SECTIONS[1..] {
        text = replaced(&text, &format!("| {} | default | meaning |", section.heading), &table(section));
    }
    replaced(&text, "| command | |", &commands())
}

/// The text with the table that begins with this line in place of the one there.
fn replaced(text: &str, first: &str, table: &str) -> String {
    let start = text.find(&format!("\n{first}\n")).unwrap_or_else(|| panic!("the README has a table `{first}`")) + 1;
    let end = text[start..].find("\n\n").map_or(text.len(), |at| start + at + 1);
    format!("{}{first}\n{table}{}", &text[..start], &text[end..])
}

fn table(section: &Section) -> String {
    let mut out = "|---|---|---|\n".to_owned();
    for row in section.rows {
        let meaning = row.meaning.replace('|', "\\|");
        let default = if row.default.is_empty() { " ".to_owned() } else { format!(" {} ", row.default) };
        out += &format!("| {} |{default}| {meaning} |\n", keys(row));
    }
    out
}

fn commands() -> String {
    let mut out = "|---|---|\n".to_owned();
    for command in visible(&command_line()) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        out += &format!("| `{}` | {about} |\n", usage(command).replace('|', "\\|"));
    }
    out
}
