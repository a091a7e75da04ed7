//! Names of programs as ours can be.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use crate::model::id::{NAME_MAX, ProgramName};

/// The name, changed as little as it takes to be one of ours that nobody has yet.
pub fn free(wish: &str, taken: &BTreeSet<String>) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut name: String = wish.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if !name.starts_with(char::is_alphanumeric) || name == "all" {
        name.insert_str(0, "p-");
    }
    let name: String = name.chars().take(NAME_MAX).collect();
    let is_free = |name: &String| ProgramName::new(name).is_ok() && !taken.contains(name);
    let numbered = (2_u32..).map(|number| {
        let suffix = format!("-{number}");
        let kept: String = name.chars().take(NAME_MAX - suffix.len()).collect();
        kept + &suffix
    });
    std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_changed_as_little_as_possible() {
        let taken = BTreeSet::from(["web".to_owned(), "web-2".to_owned()]);
        for (wish, name) in [
            ("db", "db"),
            ("web", "web-3"),
            ("a@b", "a_b"),
            ("_x", "p-_x"),
            ("all", "p-all"),
            ("", "p-"),
            ("größe.1", "größe.1"),
        ] {
            assert_eq!(free(wish, &taken), name);
        }
        let long = "x".repeat(100);
        assert_eq!(free(&long, &taken).len(), 64);
        assert_eq!(free(&long, &BTreeSet::from(["x".repeat(64)])), format!("{}-2", "x".repeat(62)));
    }
}
