//! A YAML file with a `programs:` map → our configuration. The keys are called as ours are.
//!
//! Every scalar is taken as the text that stands there: `umask: 022` is octal, `no` is a word.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::document::{self, Block, key, string};
use super::expand::{CLOSE, OPEN, written};
use super::{Import, Texts, names, values, words};
use crate::model::id::Account;
use crate::model::program::NUMPROCS_MAX;
use crate::model::text::escaped;
use crate::model::time::written_duration;

/// A map in the order of the file, each value read as its key asks for.
struct Ordered<T>(Vec<(String, T)>);

/// A value that is read with its key in view.
trait ByKey: Sized {
    fn next<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Self, A::Error>;
}

impl<'de, T: ByKey> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: ByKey> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let value = T::next(&name, &mut map)?;
                    entries.push((name, value));
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// What stands at the top.
enum Top {
    Programs(Option<Ordered<Program>>),
    Other,
}

impl ByKey for Top {
    fn next<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Self, A::Error> {
        if key == "programs" {
            return map.next_value().map(Self::Programs);
        }
        map.next_value::<IgnoredAny>().map(|_| Self::Other)
    }
}

struct Program(Ordered<Value>);

impl ByKey for Program {
    fn next<'de, A: MapAccess<'de>>(_: &str, map: &mut A) -> Result<Self, A::Error> {
        map.next_value().map(Self)
    }
}

/// What a key of a program says.
enum Value {
    Nothing,
    Text(String),
    Codes(Vec<String>),
    Variables(Vec<(String, String)>),
    Unknown,
}

impl ByKey for Value {
    fn next<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Self, A::Error> {
        Ok(match key {
            "exitcodes" => map.next_value::<Option<Codes>>()?.map_or(Self::Nothing, |codes| Self::Codes(codes.0)),
            "env" => map.next_value::<Option<Ordered<Variable>>>()?.map_or(Self::Nothing, |env| {
                Self::Variables(env.0.into_iter().map(|(name, value)| (name, value.0)).collect())
            }),
            key if KEYS.contains(&key) => map.next_value::<Option<String>>()?.map_or(Self::Nothing, Self::Text),
            _ => map.next_value::<IgnoredAny>().map(|_| Self::Unknown)?,
        })
    }
}

struct Variable(String);

impl ByKey for Variable {
    fn next<'de, A: MapAccess<'de>>(_: &str, map: &mut A) -> Result<Self, A::Error> {
        map.next_value::<Option<String>>().map(|value| Self(value.unwrap_or_default()))
    }
}

/// One number or a list.
struct Codes(Vec<String>);

impl<'de> Deserialize<'de> for Codes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Codes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an exit code, or a list of them")
            }
            fn visit_i64<E>(self, code: i64) -> Result<Codes, E> {
                Ok(Codes(vec![code.to_string()]))
            }
            fn visit_u64<E>(self, code: u64) -> Result<Codes, E> {
                Ok(Codes(vec![code.to_string()]))
            }
            fn visit_str<E>(self, code: &str) -> Result<Codes, E> {
                Ok(Codes(vec![code.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Codes, A::Error> {
                let mut codes = Vec::new();
                while let Some(code) = list.next_element::<String>()? {
                    codes.push(code);
                }
                Ok(Codes(codes))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The keys of a program, as ours are called.
const KEYS: [&str; 16] = [
    "cmd",
    "user",
    "numprocs",
    "umask",
    "workingdir",
    "autostart",
    "autorestart",
    "exitcodes",
    "startretries",
    "starttime",
    "stopsignal",
    "stoptime",
    "stdout",
    "stderr",
    "env",
    "group_name",
];

/// What is wrong with the text, without words for those who program with the parser.
fn words(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
    // Which of its limits it is says nothing to whoever wrote the file.
    match (text.find(": limits breached: "), text.find(" at line ")) {
        (Some(limit), Some(place)) if limit < place => [&text[..limit], &text[place..]].concat(),
        _ => text,
    }
}

/// Reads and translates the file.
///
/// # Errors
/// Every value that makes no sense, a line each.
pub fn import(path: &Path, texts: &mut dyn Texts) -> Result<Import, Vec<String>> {
    let file = path.display().to_string();
    let alone = |reason: &str| vec![escaped(&format!("{file}: {reason}")).into_owned()];
    let text = texts.read(path).map_err(|reason| alone(&reason))?;
    if text.contains([OPEN, CLOSE, '\0']) {
        return Err(alone("there is a character that no text has"));
    }
    let top: Ordered<Top> = serde_saphyr::from_str(&text).map_err(|error| alone(words(&error).trim()))?;
    let mut reading = Reading { file: &file, ..Reading::default() };
    let mut blocks = vec![head(&file)];
    for (name, value) in top.0 {
        match value {
            Top::Programs(programs) => {
                for (name, program) in programs.map(|programs| programs.0).unwrap_or_default() {
                    blocks.extend(reading.program(&name, program.0.0));
                }
            }
            Top::Other => reading.note(&name, "only `programs` is taken over"),
        }
    }
    if blocks.len() == 1 && reading.faults.is_empty() {
        return Err(alone("there is no `programs:` with programs in it"));
    }
    if !reading.faults.is_empty() {
        return Err(reading.faults);
    }
    if !reading.root.is_empty() {
        reading.notes.push(format!("no user is named, so these run as root: {}", reading.root.join(", ")));
    }
    Ok(Import { toml: document::text(&blocks), notes: reading.notes })
}

fn head(file: &str) -> Block {
    let mut block = Block::default();
    block.above.push(format!("Made by `taskmasterctl import` of {file}."));
    block
}

#[derive(Default)]
struct Reading<'a> {
    file: &'a str,
    taken: BTreeSet<String>,
    root: Vec<String>,
    notes: Vec<String>,
    faults: Vec<String>,
}

impl Reading<'_> {
    fn note(&mut self, about: &str, text: &str) {
        self.notes.push(escaped(&format!("{}: {about}: {text}", self.file)).into_owned());
    }

    fn program(&mut self, wish: &str, given: Vec<(String, Value)>) -> Vec<Block> {
        let name = names::free(wish, &self.taken);
        if name != wish {
            self.note(&format!("programs.{wish}"), &format!("it is called `{name}` here"));
        }
        let mut block = Block::table(format!("[programs.{}]", key(&name)));
        let mut env = None;
        let has = |wanted: &str| given.iter().any(|(key, value)| key == wanted && !matches!(value, Value::Nothing));
        if !has("cmd") {
            self.faults.push(escaped(&format!("{}: programs.{wish} has no `cmd`", self.file)).into_owned());
        }
        if !has("user") {
            block.set_with("user", "\"root\"", "it names none; a program that needs not be root should not be");
            self.root.push(name.clone());
        }
        for (key, value) in given {
            let about = format!("programs.{wish}.{key}");
            match value {
                Value::Nothing => {}
                Value::Variables(variables) => env = self.variables(&about, &name, variables, &mut block),
                Value::Codes(codes) => match values::exit_codes(&codes.join(",")) {
                    Some(codes) => block.set("exitcodes", format!("{codes:?}")),
                    None => self.fault(&about, "a number from 0 to 255, or a list of them"),
                },
                Value::Text(text) => match one(&key, &text) {
                    Ok(value) => block.set(&key, value),
                    Err(what) => self.fault(&about, what),
                },
                Value::Unknown => {
                    block.remark(format!("{key} is no key of a program"));
                    self.note(&about, "there is no such key");
                }
            }
        }
        self.taken.insert(name);
        std::iter::once(block).chain(env).collect()
    }

    fn fault(&mut self, about: &str, what: &str) {
        self.faults.push(escaped(&format!("{}: {about} is not {what}", self.file)).into_owned());
    }

    fn variables(
        &mut self,
        about: &str,
        name: &str,
        variables: Vec<(String, String)>,
        block: &mut Block,
    ) -> Option<Block> {
        let mut env = Block::table(format!("[programs.{}.env]", key(name)));
        for (variable, value) in variables {
            if values::is_variable(&variable) {
                env.set(&variable, string(&written(&value)));
            } else {
                self.note(about, &format!("`{variable}` is no name of a variable, and was left out"));
                block.remark(format!("env had {variable}, which is no name of a variable"));
            }
        }
        (!env.lines.is_empty()).then_some(env)
    }
}

/// A key's value as TOML; otherwise what it must be.
fn one(key: &str, text: &str) -> Result<String, &'static str> {
    let number = |most: i64| values::integer(text).filter(|number| (0..=most).contains(number)).map(|n| n.to_string());
    match key {
        "cmd" => {
            let split = shell_words::split(text).ok().filter(|split| !split.is_empty()).ok_or("a command")?;
            let split: Vec<String> = split.iter().map(|word| written(word)).collect();
            let command = words::command(&written(text), &split);
            Ok(command.map_or_else(|| document::strings(split.iter().map(String::as_str)), |text| string(&text)))
        }
        "user" => {
            let account = Account::parse(text).map_err(|_| "a user's name or number")?;
            Ok(if account.is_root() { string("root") } else { string(&account.to_string()) })
        }
        "numprocs" => number(i64::from(NUMPROCS_MAX)).filter(|n| n != "0").ok_or("a number from 1 to 10000"),
        "umask" => {
            let mask = values::octal(text).filter(|mask| *mask <= 0o777).ok_or("an octal number up to 777")?;
            Ok(format!("\"{mask:03o}\""))
        }
        "autostart" => values::boolean(text).map(|value| value.to_string()).ok_or("true or false"),
        "autorestart" => match text {
            "always" | "never" => Ok(string(text)),
            _ => values::autorestart(text).map(string).ok_or("always, never or unexpected"),
        },
        "startretries" => number(1_000_000).ok_or("a number from 0 to 1000000"),
        "starttime" | "stoptime" => match number(i64::from(i32::MAX)) {
            Some(seconds) => Ok(seconds),
            None => written_duration(text).map(|_| string(text)).map_err(|_| "a number of seconds"),
        },
        "stopsignal" => values::signal(text).map(|signal| string(&signal)).ok_or("the name or number of a signal"),
        "stdout" | "stderr" => match text {
            path if super::logs::is_own_output(path) => Ok(string("console")),
            "auto" | "console" | "syslog" | "discard" => Ok(string(text)),
            "stdout" if key == "stderr" => Ok(string(text)),
            path if path.starts_with('/') => Ok(string(&written(&super::logs::normal(path)))),
            _ => Err("an absolute path"),
        },
        "workingdir" if text.starts_with('/') => Ok(string(&written(text))),
        "workingdir" => Err("an absolute path"),
        _ => Ok(string(text)),
    }
}
