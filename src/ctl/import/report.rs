//! What an import tells beside its result: what was not carried over, and what is wrong with the file.
#![forbid(unsafe_code)]

use crate::model::text::escaped;

/// A line of one of the files; line 0 is none in particular.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    pub file: usize,
    pub line: usize,
}

/// Why a file cannot be imported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub place: Place,
    pub text: String,
}

impl Fault {
    pub fn new(place: Place, text: &str) -> Self {
        Self { place, text: text.to_owned() }
    }
}

/// All that was told so far.
#[derive(Debug, Default)]
pub struct Report {
    pub files: Vec<String>,
    notes: Vec<(Option<Place>, String)>,
    pub faults: Vec<Fault>,
}

impl Report {
    /// Tells of something that is not as it was.
    pub fn note(&mut self, place: Place, text: &str) {
        self.notes.push((Some(place), text.to_owned()));
    }

    /// The same about no line in particular.
    pub fn remark(&mut self, text: &str) {
        self.notes.push((None, text.to_owned()));
    }

    pub fn fault(&mut self, place: Place, text: &str) {
        self.faults.push(Fault::new(place, text));
    }

    pub fn place(&self, place: Place) -> String {
        let file = self.files.get(place.file).map_or("", String::as_str);
        if place.line == 0 { file.to_owned() } else { format!("{file}:{}", place.line) }
    }

    /// The lines for people.
    pub fn notes(&self) -> Vec<String> {
        let line = |(place, text): &(Option<Place>, String)| {
            let place = place.map(|place| format!("{}: ", self.place(place))).unwrap_or_default();
            escaped(&format!("{place}{text}")).into_owned()
        };
        self.notes.iter().map(line).collect()
    }

    pub fn faults(&self) -> Vec<String> {
        let line = |fault: &Fault| escaped(&format!("{}: {}", self.place(fault.place), fault.text)).into_owned();
        self.faults.iter().map(line).collect()
    }
}
