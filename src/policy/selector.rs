//! Which processes a person means: `web` (all of a program), `web:3` (one), `web:*`, a `group_name`, a
//! glob over program names or process names, `all`.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use crate::model::id::ProcessId;
use crate::model::program::Program;
use crate::model::selector::Selector;

/// The most bytes of names that patterns may be held against in one command, each byte of a name once for
/// each byte of each pattern: `web*` costs ten processes some hundreds. That takes hundredths of a second.
const PATTERN_WORK: usize = 30_000_000;
/// What holding one pattern against one name costs besides, counted as bytes of each.
const PATTERN_BASE: usize = 8;
/// The most names that are looked at for one that is near.
const NEAREST_MAX: usize = 2_000;

/// Why selectors name nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unselected {
    /// Nothing matches; the nearest name, if one is near.
    NoMatch { selector: String, suggestion: Option<String> },
    /// More or longer patterns than can be looked for among so many processes.
    TooManyPatterns,
}

/// The processes that the selectors name, each once, in the order they were named.
///
/// # Errors
/// The first selector that matches nothing; then none of the command is carried out.
pub fn select<'a>(
    selectors: &[String],
    all: impl Iterator<Item = (&'a ProcessId, &'a Program)>,
) -> Result<Vec<ProcessId>, Unselected> {
    let mut among = Among::new(all);
    let mut read: BTreeSet<&str> = BTreeSet::new();
    let mut chosen: Vec<ProcessId> = Vec::new();
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    for selector in selectors.iter().filter(|selector| read.insert(selector)) {
        let found = among.find(selector)?;
        // An empty supervisor has nothing to select, and `all` of nothing is no mistake.
        if found.is_empty() && selector != "all" {
            let suggestion = among.suggestion(selector);
            return Err(Unselected::NoMatch { selector: selector.clone(), suggestion });
        }
        let new = found.into_iter().filter(|place| seen.insert(*place));
        chosen.extend(new.filter_map(|place| among.known.get(place)).map(|(id, _)| (*id).clone()));
    }
    Ok(chosen)
}

/// The processes among which one command looks for those that it names.
pub struct Among<'a> {
    known: Vec<(&'a ProcessId, &'a Program)>,
    index: Option<Index<'a>>,
    /// What its patterns have cost so far.
    work: usize,
}

impl<'a> Among<'a> {
    pub fn new(all: impl Iterator<Item = (&'a ProcessId, &'a Program)>) -> Self {
        Self { known: all.collect(), index: None, work: 0 }
    }

    /// The places of those that a selector names; maybe none.
    ///
    /// # Errors
    /// `TooManyPatterns`.
    pub fn find(&mut self, selector: &str) -> Result<Vec<usize>, Unselected> {
        let matcher = Selector::new(selector);
        Ok(match &matcher {
            Selector::All => (0..self.known.len()).collect(),
            Selector::Name(name) => self.index().named(name),
            Selector::Instance(name, number) => self.index().instance(name, *number).into_iter().collect(),
            Selector::Glob(_) => {
                self.pay_for(selector)?;
                let places = self.known.iter().enumerate();
                let matching = places.filter(|(_, (id, program))| matcher.matches(id, program.group_name.as_deref()));
                matching.map(|(place, _)| place).collect()
            }
            Selector::Nothing => Vec::new(),
        })
    }

    fn pay_for(&mut self, pattern: &str) -> Result<(), Unselected> {
        let names: usize = self.known.iter().map(|(id, _)| id.program.as_str().len() + PATTERN_BASE).sum();
        self.work = self.work.saturating_add(names.saturating_mul(pattern.len() + PATTERN_BASE));
        if self.work > PATTERN_WORK { Err(Unselected::TooManyPatterns) } else { Ok(()) }
    }

    fn index(&mut self) -> &Index<'a> {
        self.index.get_or_insert_with(|| Index::new(&self.known))
    }

    /// The name that could have been meant: a program or group, and of a program one of its processes where
    /// one was asked for.
    pub fn suggestion(&self, wanted: &str) -> Option<String> {
        let programs = self.known.iter().map(|(_, program)| program.name.as_str());
        let groups = self.known.iter().filter_map(|(_, program)| program.group_name.as_deref());
        let names: BTreeSet<&str> = programs.chain(groups).collect();
        let (plain, instance) = wanted.split_once(':').map_or((wanted, None), |(name, number)| (name, Some(number)));
        let name = nearest(plain, names)?;
        let Some(instance) = instance else { return Some(name) };
        let number = instance.parse::<u32>().unwrap_or(0);
        let of_program = || self.known.iter().filter(|(id, _)| id.program.as_str() == name);
        let meant = of_program().find(|(id, _)| id.instance == number).or_else(|| of_program().next());
        Some(meant.map_or_else(|| name.clone(), |(id, program)| id.shown(program.numprocs)))
    }
}

/// Where processes are, by what people call them: thousands of names in one command are looked up, not
/// searched for.
struct Index<'a> {
    names: BTreeMap<&'a str, BTreeSet<usize>>,
    instances: BTreeMap<(&'a str, u32), usize>,
}

impl<'a> Index<'a> {
    fn new(known: &[(&'a ProcessId, &'a Program)]) -> Self {
        let mut index = Self { names: BTreeMap::new(), instances: BTreeMap::new() };
        for (place, (id, program)) in known.iter().enumerate() {
            for name in [Some(id.program.as_str()), program.group_name.as_deref()].into_iter().flatten() {
                index.names.entry(name).or_default().insert(place);
            }
            index.instances.insert((id.program.as_str(), id.instance), place);
        }
        index
    }

    fn named(&self, name: &str) -> Vec<usize> {
        self.names.get(name).into_iter().flatten().copied().collect()
    }

    fn instance(&self, name: &str, number: u32) -> Option<usize> {
        self.instances.get(&(name, number)).copied()
    }
}

/// The known name most like `wanted`, if it is like it at all.
pub fn nearest(wanted: &str, known: impl IntoIterator<Item = impl AsRef<str>>) -> Option<String> {
    let length = wanted.chars().count();
    let mut best: Option<(f64, String)> = None;
    for name in known.into_iter().take(NEAREST_MAX) {
        let name = name.as_ref();
        let (short, long) = (length.min(name.chars().count()), length.max(name.chars().count()));
        if short * 2 < long {
            continue; // as many letters are missing: a selector can be far longer than any name
        }
        let likeness = strsim::damerau_levenshtein(wanted, name);
        #[expect(clippy::cast_precision_loss, reason = "names are short")]
        let score = 1.0 - likeness as f64 / long.max(1) as f64;
        if score >= 0.5 && best.as_ref().is_none_or(|(other, _)| score > *other) {
            best = Some((score, name.to_owned()));
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::program::testing::program;

    fn chosen(selectors: &[&str]) -> Result<Vec<String>, Option<String>> {
        let web = Program { numprocs: 3, group_name: Some("front".to_owned()), ..program("web") };
        let db = program("db");
        let ids: Vec<(ProcessId, &Program)> =
            (0..3).map(|n| (ProcessId::new(&web.name, n), &web)).chain([(ProcessId::new(&db.name, 0), &db)]).collect();
        let selectors: Vec<String> = selectors.iter().map(|s| (*s).to_owned()).collect();
        select(&selectors, ids.iter().map(|(id, p)| (id, *p)))
            .map(|found| found.iter().map(ToString::to_string).collect())
            .map_err(|unselected| match unselected {
                Unselected::NoMatch { suggestion, .. } => suggestion,
                Unselected::TooManyPatterns => Some("fewer patterns".to_owned()),
            })
    }

    #[test]
    fn every_form_of_selector_finds_its_processes_once() {
        let web = ["web:0", "web:1", "web:2"].map(str::to_owned).to_vec();
        for form in ["web", "web:*", "web:", "front", "we*", "web:?", "w[e]b"] {
            assert_eq!(chosen(&[form]), Ok(web.clone()), "{form}");
        }
        assert_eq!(chosen(&["web:1"]), Ok(vec!["web:1".to_owned()]));
        assert_eq!(chosen(&["db:0", "db"]), Ok(vec!["db:0".to_owned()]));
        assert_eq!(chosen(&["all"]).map(|all| all.len()), Ok(4));
    }

    #[test]
    fn what_matches_nothing_names_the_nearest() {
        assert_eq!(chosen(&["db", "wbe"]), Err(Some("web".to_owned())));
        assert_eq!(chosen(&["web:3"]), Err(Some("web:0".to_owned())));
        assert_eq!(chosen(&["zzzzzz"]), Err(None));
        assert_eq!(chosen(&["a:b:c"]), Err(None));
        assert_eq!(chosen(&["["]), Err(None));
    }

    #[test]
    fn no_command_costs_more_than_its_bounds_among_thousands_of_processes() {
        let long = Program { numprocs: 2000, ..program(&"a".repeat(64)) };
        let ids: Vec<ProcessId> = (0..2000).map(|n| ProcessId::new(&long.name, n)).collect();
        let found = |selectors: &[String]| select(selectors, ids.iter().map(|id| (id, &long)));
        let count = |selectors: Vec<String>| found(&selectors).map(|chosen| chosen.len());
        // Each may be as long as a call: 256 KiB.
        assert_eq!(count((0..30_000).map(|n| format!("{}:{}", long.name, n % 2000)).collect()), Ok(2000));
        assert_eq!(count((0..3000).map(|n| format!("{}:{n:0180}", long.name)).take(2000).collect()), Ok(2000));
        assert_eq!(count(vec!["*".to_owned(); 60_000]), Ok(2000), "the same again");
        assert_eq!(
            count((0..3000).map(|n| format!("*{}", "?".repeat(n % 60))).collect()),
            Err(Unselected::TooManyPatterns)
        );
        assert_eq!(count(vec![format!("{}b", "*a".repeat(100_000))]), Err(Unselected::TooManyPatterns));
        for unknown in ["x".repeat(250_000), format!("{}:{}", "x".repeat(128), "9".repeat(250_000)), "b".repeat(64)] {
            assert!(matches!(count(vec![unknown]), Err(Unselected::NoMatch { suggestion: None, .. })));
        }
    }

    #[test]
    fn a_name_that_is_asked_with_a_number_is_suggested_with_it() {
        assert_eq!(chosen(&["wbe:2"]), Err(Some("web:2".to_owned())));
        assert_eq!(chosen(&["dbb:1"]), Err(Some("db".to_owned())));
        assert_eq!(chosen(&["fornt:1"]), Err(Some("front".to_owned())));
    }
}
