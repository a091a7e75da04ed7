//! The configuration as a whole: files in, programs or faults out.
mod allow;
mod any_text;
mod faults;
mod notify;
mod partly;
mod values_in_force;

use super::*;

pub fn environment() -> Environment {
    Environment {
        host: "h1".to_owned(),
        root: true,
        env: BTreeMap::from([("HERE".to_owned(), "/srv/here".to_owned())]),
        defaults: Directories {
            log_dir: "/var/log/taskmaster".into(),
            state_dir: "/var/lib/taskmaster".into(),
            runtime_dir: "/run/taskmaster".into(),
        },
        local_only: false,
    }
}

/// Files in memory, under `/etc/taskmaster`.
#[derive(Default)]
struct Memory(BTreeMap<PathBuf, Result<String, String>>);

impl Files for Memory {
    fn read(&mut self, path: &Path) -> Result<String, String> {
        self.0.get(path).cloned().unwrap_or_else(|| Err("No such file or directory".to_owned()))
    }

    fn glob(&mut self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let pattern = glob::Pattern::new(pattern).map_err(|error| error.to_string())?;
        Ok(self.0.keys().rev().filter(|path| pattern.matches_path(path)).cloned().collect())
    }

    fn exists(&mut self, path: &Path) -> bool {
        self.0.keys().any(|file| file.starts_with(path))
    }

    /// What has `open` in its name can be read by others.
    fn secret(&mut self, path: &Path) -> Result<(), String> {
        self.read(path)?;
        if self.is_private(path) { Ok(()) } else { Err("can be read by others".to_owned()) }
    }

    fn is_private(&mut self, path: &Path) -> bool {
        !path.to_string_lossy().contains("open")
    }
}

const TOP: &str = "/etc/taskmaster/taskmaster.toml";

fn load_all(files: &[(&str, &str)], environment: &Environment) -> Result<Config, Faults> {
    let directory = Path::new("/etc/taskmaster");
    let text = |text: &str| if text == "DENIED" { Err("Permission denied".to_owned()) } else { Ok(text.to_owned()) };
    let mut memory = Memory(files.iter().map(|(name, content)| (directory.join(name), text(content))).collect());
    load(Path::new(TOP), &mut memory, environment)
}

fn load_one(text: &str) -> Result<Config, Faults> {
    load_all(&[("taskmaster.toml", text)], &environment())
}

fn good(text: &str) -> Config {
    load_one(text).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The faults without the directory of the files, which is the same everywhere.
fn told(outcome: Result<Config, Faults>) -> String {
    outcome.expect_err("faults").to_string().replace("/etc/taskmaster/", "")
}

/// What is wrong with a program that has these lines besides `cmd` and `user`.
fn wrong(lines: &str) -> String {
    told(load_one(&format!("[programs.web]\ncmd = \"/bin/web\"\nuser = \"www\"\n{lines}\n")))
}

/// A program that has these lines besides `cmd` and `user`.
fn web(lines: &str) -> Program {
    good(&format!("[programs.web]\ncmd = \"/bin/web\"\nuser = \"www\"\n{lines}\n")).programs.remove(0)
}

fn text_of(template: &crate::model::template::Template) -> String {
    template.for_process("web:0", 0).render("www", "/home/www")
}

/// What a reader makes of `key = TEXT`, or its message and help.
pub fn read_value<T: Clone>(text: &str, reader: impl FnOnce(Item<'_>) -> Option<T>) -> Result<T, String> {
    let source = Source::new(Path::new("/f"), 0, &format!("key = {text}"));
    let sink = Sink::default();
    let environment = environment();
    let value = {
        let entries = syntax::parse(&source, &sink);
        let context = Context { source: &source, sink: &sink, environment: &environment };
        let mut table = Table::new(&entries, "here".to_owned(), source.place(0..1), context);
        let given: table::Given<'_, T> = table.take("key", reader);
        given.value().cloned()
    };
    match (value, sink.finish()) {
        (Some(value), Ok(_)) => Ok(value),
        (None, Err(faults)) => {
            let fault = &faults.list[0];
            Err(format!("{} / {}", fault.message, fault.help.as_deref().unwrap_or("")))
        }
        (value, outcome) => panic!("{text}: {} but {outcome:?}", value.is_some()),
    }
}
