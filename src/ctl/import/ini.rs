//! Configuration text as Python's RawConfigParser reads it, with the settings that supervisord gives it
//! (`strict=False`, `;` and `#` as inline comments): the same lines are options, continuations, comments and
//! errors here as there, oddities included.
#![forbid(unsafe_code)]

use super::report::{Fault, Place};

/// A value with where its option stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Value {
    pub text: String,
    pub place: Place,
}

/// A section, its options in the order of the file.
#[derive(Clone, PartialEq, Debug)]
pub struct Section {
    pub name: String,
    pub place: Place,
    pub options: Vec<(String, Value)>,
}

/// All that was read, of one file or of several.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ini {
    pub sections: Vec<Section>,
    /// `[DEFAULT]`: options of every section.
    defaults: Vec<(String, Value)>,
}

/// What Python's `str.isspace` takes for white space.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Python's `str.strip()`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

impl Ini {
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The value of an option, from `[DEFAULT]` where the section has none.
    pub fn get<'a>(&'a self, section: &'a Section, option: &str) -> Option<&'a Value> {
        find(&section.options, option).or_else(|| find(&self.defaults, option))
    }

    /// Every option that the section has, those of `[DEFAULT]` last.
    pub fn options<'a>(&'a self, section: &'a Section) -> impl Iterator<Item = &'a (String, Value)> {
        let inherited = self.defaults.iter().filter(|(name, _)| find(&section.options, name).is_none());
        section.options.iter().chain(inherited)
    }

    /// Reads one more file into what is there; later values replace earlier ones.
    ///
    /// # Errors
    /// The lines for which Python refuses the file.
    pub fn read(&mut self, text: &str, file: usize) -> Result<(), Vec<Fault>> {
        let mut reader = Reader { ini: self, file, into: None, option: None, indent: 0, faults: Vec::new() };
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        for (line, number) in text.strip_suffix('\n').unwrap_or(&text).split('\n').zip(1..) {
            if !reader.line(line, number) {
                break;
            }
        }
        let faults = reader.faults;
        for (_, value) in self.all_options() {
            value.text.truncate(value.text.trim_end_matches(is_space).len());
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn all_options(&mut self) -> impl Iterator<Item = &mut (String, Value)> {
        self.sections.iter_mut().flat_map(|section| section.options.iter_mut()).chain(self.defaults.iter_mut())
    }

    /// Fills in `%(here)s` in all that was read so far: it means the directory of the file that it stands in.
    pub fn expand_here(&mut self, here: &str) {
        const HERE: &str = "%(here)s";
        for section in &mut self.sections {
            for (name, value) in &self.defaults {
                if value.text.contains(HERE) && find(&section.options, name).is_none() {
                    section.options.push((name.clone(), value.clone()));
                }
            }
            for (_, value) in &mut section.options {
                if value.text.contains(HERE) {
                    value.text = value.text.replace(HERE, here);
                }
            }
        }
    }
}

fn find<'a>(options: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    options.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// Where options go.
#[derive(Clone, Copy)]
enum Into {
    Section(usize),
    Defaults,
}

/// One file while it is read.
struct Reader<'a> {
    ini: &'a mut Ini,
    file: usize,
    into: Option<Into>,
    /// The index of the option that a continuation line goes on with.
    option: Option<usize>,
    indent: usize,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    /// Takes one line; false when reading cannot go on.
    fn line(&mut self, line: &str, number: usize) -> bool {
        let place = Place { file: self.file, line: number };
        let comment = comment_start(line);
        let value = strip(&line[..comment.unwrap_or(line.len())]);
        if value.is_empty() {
            // An empty line goes on with a value, but not one on which only a comment was.
            if comment.is_none() {
                self.continue_option("");
            }
            return true;
        }
        let indent = line.chars().take_while(|c| is_space(*c)).count();
        if self.into.is_some() && self.option.is_some() && indent > self.indent {
            self.continue_option(value);
            return true;
        }
        self.indent = indent;
        if let Some(name) = section_header(value) {
            self.begin(name, place);
            return true;
        }
        let Some(into) = self.into else {
            let hint =
                if line.starts_with('\u{feff}') { "; the file begins with a byte order mark: take it out" } else { "" };
            self.faults.push(Fault::new(place, &format!("there is no [section] before this line{hint}")));
            return false;
        };
        match value.find(['=', ':']).map(|at| (strip(&value[..at]), strip(&value[at + 1..]))) {
            Some((name, text)) if !name.is_empty() => self.set(into, &name.to_lowercase(), text, place),
            _ => self.faults.push(Fault::new(place, "neither [section] nor `option = value`")),
        }
        true
    }

    fn begin(&mut self, name: &str, place: Place) {
        self.option = None;
        let known = self.ini.sections.iter().position(|section| section.name == name);
        self.into = Some(match known {
            Some(index) => Into::Section(index),
            None if name == "DEFAULT" => Into::Defaults,
            None => {
                self.ini.sections.push(Section { name: name.to_owned(), place, options: Vec::new() });
                Into::Section(self.ini.sections.len() - 1)
            }
        });
    }

    fn options(&mut self, into: Into) -> Option<&mut Vec<(String, Value)>> {
        match into {
            Into::Section(index) => self.ini.sections.get_mut(index).map(|section| &mut section.options),
            Into::Defaults => Some(&mut self.ini.defaults),
        }
    }

    fn set(&mut self, into: Into, name: &str, text: &str, place: Place) {
        let Some(options) = self.options(into) else { return };
        let value = Value { text: text.to_owned(), place };
        let index = options.iter().position(|(known, _)| known == name);
        match index.and_then(|index| options.get_mut(index)) {
            Some((_, known)) => *known = value,
            None => options.push((name.to_owned(), value)),
        }
        self.option = index.or_else(|| self.options(into).map(|options| options.len() - 1));
    }

    fn continue_option(&mut self, line: &str) {
        let (Some(into), Some(index)) = (self.into, self.option) else { return };
        if let Some((_, value)) = self.options(into).and_then(|options| options.get_mut(index)) {
            value.text.push('\n');
            value.text.push_str(line);
        }
    }
}

/// `[name]`, to the last bracket of the line.
fn section_header(value: &str) -> Option<&str> {
    let rest = value.strip_prefix('[')?;
    rest.rfind(']').filter(|end| *end > 0).map(|end| &rest[..end])
}

/// Where a comment begins. Python looks at the first `;` and the first `#`, then at the second ones, and takes
/// the first round in which one has white space before it: not always the leftmost.
fn comment_start(line: &str) -> Option<usize> {
    if strip(line).starts_with(['#', ';']) {
        return Some(0);
    }
    let mut next = [Some((';', 0)), Some(('#', 0))];
    while next.iter().any(Option::is_some) {
        let mut start = None;
        for slot in &mut next {
            let Some((prefix, from)) = *slot else { continue };
            let found = line.get(from..).and_then(|rest| rest.find(prefix)).map(|at| from + at);
            *slot = found.map(|at| (prefix, at + 1));
            let begins = |at: &usize| *at == 0 || line[..*at].chars().next_back().is_some_and(is_space);
            start = found.filter(begins).into_iter().chain(start).min();
        }
        if start.is_some() {
            return start;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String, String)>, Vec<String>> {
        let mut ini = Ini::default();
        ini.read(text, 0).map_err(|faults| {
            faults.iter().map(|fault| format!("{}: {}", fault.place.line, fault.text)).collect::<Vec<_>>()
        })?;
        let all = ini.sections.iter().flat_map(|section| {
            ini.options(section).map(|(name, value)| (section.name.clone(), name.clone(), value.text.clone()))
        });
        Ok(all.collect())
    }

    fn option(text: &str) -> String {
        read(&format!("[a]\n{text}\n")).expect(text).last().expect("an option").2.clone()
    }

    #[test]
    fn comments_begin_behind_white_space_in_the_first_round_that_has_one() {
        assert_eq!(option("k = v ; note"), "v");
        assert_eq!(option("k = v\t#note"), "v");
        assert_eq!(option("k = a;b#c"), "a;b#c");
        assert_eq!(option("k = sh -c 'echo a;b' ; note"), "sh -c 'echo a;b'");
        assert_eq!(option("k = sh -c 'echo a ; echo b'"), "sh -c 'echo a");
        // `;` is met in the same round, at its first place, which is none; Python stops at the `#`.
        assert_eq!(option("k = a;b ;c #d"), "a;b ;c");
        assert_eq!(option("k =#x"), "#x");
        assert_eq!(option("k = #x"), "");
    }

    #[test]
    fn indented_lines_go_on_with_a_value_and_comments_between_them_vanish() {
        assert_eq!(option("k = a,\n  b,\n# no\n\n  c"), "a,\nb,\n\nc");
        assert_eq!(option("k =\n  a\n  b"), "\na\nb");
        assert_eq!(option("k = a\n\n\n"), "a");
        assert_eq!(option("  k = a\n  l = b"), "b");
    }

    #[test]
    fn names_are_in_lower_case_and_the_last_one_wins() {
        let text = "[DEFAULT]\nD=1\n[A]\nKey: x=y\nkEy = z\n[b]\n[A] ; again\nother=\n";
        let expected = [("A", "key", "z"), ("A", "other", ""), ("A", "d", "1"), ("b", "d", "1")];
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(read(text), Ok(expected.into()));
    }

    #[test]
    fn what_python_refuses_is_refused_with_its_line() {
        assert_eq!(read("a = b"), Err(vec!["1: there is no [section] before this line".to_owned()]));
        assert!(read("\u{feff}[a]\n").expect_err("a mark")[0].contains("byte order mark"));
        let no_option = |line: usize| format!("{line}: neither [section] nor `option = value`");
        assert_eq!(read("[a]\nempty\n= x\n[]\n"), Err(vec![no_option(2), no_option(3), no_option(4)]));
        assert_eq!(read("[a]\r\nk = v\rl = w\r\n").expect("line ends").len(), 2);
    }
}
