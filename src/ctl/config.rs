//! What is in force, table by table: each value, where it comes from, and what the files on disk say instead.
#![forbid(unsafe_code)]

use std::fmt::Write;

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::client::{Client, ClientError};
use super::screen::{Paint, Screen};
use super::show::cut;
use crate::model::text::escaped;
use crate::protocol::control::{ConfigCall, ConfigReply, Method, OnDisk, Section, Setting, Source};

/// Every page, put together.
pub fn ask(client: &mut Client<'_>, programs: &[String]) -> Result<ConfigReply, ClientError> {
    let mut all = ConfigReply::default();
    let mut after = None;
    loop {
        let call = ConfigCall { programs: programs.to_vec(), after: after.clone() };
        let page: ConfigReply = client.call(Method::Config, &call)?;
        all.sections.extend(page.sections);
        all.fault = page.fault;
        match page.next {
            None => return Ok(all),
            // A supervisor that does not get on would be asked for ever.
            Some(next) if after.as_ref() == Some(&next) => {
                return Err(ClientError::Nonsense("the same page twice".to_owned()));
            }
            Some(next) => after = Some(next),
        }
    }
}

/// The tables; without `whole`, of what is built in only what differs on disk.
pub fn shown(reply: &ConfigReply, whole: bool, screen: &Screen) -> String {
    let mut out = String::new();
    for section in &reply.sections {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&table(section, whole, screen));
    }
    if out.is_empty() {
        out.push_str("no programs are configured\n");
    }
    out
}

/// The longest column of values on a terminal, before it is cut.
const VALUE_MAX: usize = 60;

fn table(section: &Section, whole: bool, screen: &Screen) -> String {
    let name = match (&section.program, &section.table) {
        (Some(program), _) => format!("[programs.{program}]"),
        (None, table) => format!("[{}]", escaped(table.as_deref().unwrap_or_default())),
    };
    let note = match section.on_disk {
        OnDisk::Same | OnDisk::Unknown => "",
        OnDisk::Changed => "  differs from the files on disk: `reload` takes them over",
        OnDisk::Added => "  only on disk: `reload` adds it",
        OnDisk::Removed => "  no longer on disk: `reload` removes it",
    };
    let mut out = screen.painted(&name, Paint::Heading);
    out.push_str(&screen.painted(note, Paint::Changing));
    out.push('\n');
    let is_shown = |setting: &&Setting| {
        let is_told = whole && !setting.value.is_null() || setting.source != Source::BuiltIn;
        is_told || setting.on_disk.is_some()
    };
    let rows: Vec<[String; 3]> = section.settings.iter().filter(is_shown).flat_map(rows).collect();
    let wide = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let (keys, values) = (wide(0), wide(1).min(VALUE_MAX));
    for [key, value, from] in &rows {
        let padding = |text: &str, wide: usize| " ".repeat(wide.saturating_sub(text.width()));
        let paint = if key.is_empty() { Paint::Changing } else { Paint::Plain };
        let line = format!("  {key}{}  {value}{}  {from}", padding(key, keys), padding(value, values));
        let line = if screen.terminal { cut(&line, screen.width()).into_owned() } else { line };
        let _ = writeln!(out, "{}", screen.painted(line.trim_end(), paint));
    }
    if rows.is_empty() {
        out.push_str("  all is built in\n");
    }
    out
}

/// Key, value, origin; and a line below for what the disk says.
fn rows(setting: &Setting) -> Vec<[String; 3]> {
    let key = escaped(&setting.key).into_owned();
    let mut rows = vec![[key, toml(&setting.value), origin(setting)]];
    if let Some(on_disk) = &setting.on_disk {
        rows.push([String::new(), toml(on_disk), "on disk, not yet reloaded".to_owned()]);
    }
    rows
}

fn origin(setting: &Setting) -> String {
    let file = setting.file.as_ref().map(|file| escaped(&file.display().to_string()).into_owned());
    let place = match (file, setting.line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        (Some(file), None) => file,
        (None, _) => String::new(),
    };
    match setting.source {
        Source::File if place.is_empty() => "the files".to_owned(),
        // It is on disk only.
        _ if setting.value.is_null() && setting.on_disk.is_some() => "not set".to_owned(),
        Source::File => place,
        Source::Defaults => format!("{place} [defaults]"),
        Source::EnvFile => format!("{place} (env_file)"),
        Source::BuiltIn => "built in".to_owned(),
    }
}

/// A value as it can be written in the configuration; `-` for none.
fn toml(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => escaped(&value.to_string()).into_owned(),
        Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| format!("{} = {}", escaped(key), toml(value));
            // What is not set in a table would not be written.
            let set = entries.iter().filter(|(_, value)| !value.is_null());
            format!("{{ {} }}", set.map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn setting(key: &str, value: Value, source: Source, on_disk: Option<Value>) -> Setting {
        let file = (source != Source::BuiltIn).then(|| "/etc/t.toml".into());
        let line = file.is_some().then_some(7);
        Setting { key: key.to_owned(), value, source, file, line, on_disk }
    }

    #[test]
    fn each_value_stands_with_its_origin_and_what_the_disk_says() {
        let settings = vec![
            setting("cmd", json!(["a", "b\u{1b}"]), Source::File, None),
            setting("stoptime", json!("5s"), Source::Defaults, Some(json!("9s"))),
            setting("limits", json!({ "core": 0 }), Source::BuiltIn, None),
            setting("user", Value::Null, Source::BuiltIn, None),
            setting("nice", Value::Null, Source::File, Some(json!(3))),
        ];
        let program = crate::model::id::ProgramName::new("web").ok();
        let section = Section { table: None, program, on_disk: OnDisk::Changed, settings };
        let screen = Screen::of(Box::new(std::io::sink()), Box::new(std::io::sink()), false);
        let reply = ConfigReply { sections: vec![section], fault: None, next: None };
        assert_eq!(
            shown(&reply, true, &screen),
            "[programs.web]  differs from the files on disk: `reload` takes them over\n  \
               cmd       [\"a\", \"b\\u001b\"]  /etc/t.toml:7\n  \
               stoptime  \"5s\"              /etc/t.toml:7 [defaults]\n            \
                         \"9s\"              on disk, not yet reloaded\n  \
               limits    { core = 0 }      built in\n  \
               nice      -                 not set\n            \
                         3                 on disk, not yet reloaded\n"
        );
        assert!(!shown(&reply, false, &screen).contains("limits"));
    }
}
