//! Which processes a person means: `web` (all of a program), `web:3` (one), `web:*`, a `group_name`, a
//! glob over program names or process names, `all`.
#![forbid(unsafe_code)]

use crate::model::id::ProcessId;
use crate::model::program::Program;
use crate::model::selector::Selector;

/// Nothing matches; the nearest name, if one is near.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoMatch {
    pub selector: String,
    pub suggestion: Option<String>,
}

/// The processes that the selectors name, each once, in the order they were named.
///
/// # Errors
/// The first selector that matches nothing; then none of the command is carried out.
pub fn select<'a>(
    selectors: &[String],
    all: impl Iterator<Item = (&'a ProcessId, &'a Program)> + Clone,
) -> Result<Vec<ProcessId>, NoMatch> {
    let mut chosen: Vec<ProcessId> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for selector in selectors {
        let matcher = Selector::new(selector);
        let mut any = false;
        for (id, program) in all.clone().filter(|(id, program)| matcher.matches(id, program.group_name.as_deref())) {
            any = true;
            let _ = program;
            if seen.insert(id) {
                chosen.push(id.clone());
            }
        }
        // An empty supervisor has nothing to select, and `all` of nothing is no mistake.
        if !any && selector != "all" {
            return Err(NoMatch { selector: selector.clone(), suggestion: nearest(selector, names(selector, all)) });
        }
    }
    Ok(chosen)
}

/// The known name most like `wanted`, if it is like it at all.
pub fn nearest(wanted: &str, known: impl IntoIterator<Item = impl AsRef<str>>) -> Option<String> {
    let mut best: Option<(f64, String)> = None;
    for name in known {
        let name = name.as_ref();
        let likeness = strsim::damerau_levenshtein(wanted, name);
        #[expect(clippy::cast_precision_loss, reason = "names are short")]
        let score = 1.0 - likeness as f64 / wanted.chars().count().max(name.chars().count()).max(1) as f64;
        if score >= 0.5 && best.as_ref().is_none_or(|(other, _)| score > *other) {
            best = Some((score, name.to_owned()));
        }
    }
    best.map(|(_, name)| name)
}

/// The names that could have been meant.
fn names<'a>(wanted: &str, all: impl Iterator<Item = (&'a ProcessId, &'a Program)>) -> impl Iterator<Item = String> {
    let with_instances = wanted.contains(':');
    all.flat_map(move |(id, program)| {
        let shown = with_instances.then(|| id.shown(program.numprocs));
        [shown, Some(id.program.to_string()), program.group_name.clone()].into_iter().flatten()
    })
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
            .map_err(|none| none.suggestion)
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
}
