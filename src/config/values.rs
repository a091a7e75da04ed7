//! Readers of single values: each takes an [`Item`], gives the value or reports what is wrong with it.
//!
//! They take every spelling that can mean one thing only, and refuse the rest with the spelling to use.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::de::{DeInteger, DeValue};

use super::table::{Item, shown};
use super::words;
use crate::model::id::{Account, ProgramName};
use crate::model::program::{InheritEnv, Limit};
use crate::model::signal::Signal;

/// An integer as it was written, in whatever base.
pub fn number(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A string, without NUL: neither an argument, a variable nor a path can have one.
pub fn text(item: Item<'_>) -> Option<String> {
    match item.value {
        DeValue::String(text) if text.contains('\0') => {
            item.refuse(format!("{} has a NUL character in it", shown(item.key)))
        }
        DeValue::String(text) => Some(text.as_ref().to_owned()),
        _ => item.expected("a string"),
    }
}

pub fn boolean(item: Item<'_>) -> Option<bool> {
    match item.value {
        DeValue::Boolean(value) => Some(*value),
        _ => item.expected("true or false"),
    }
}

/// An integer within the range.
pub fn integer<T: TryFrom<i64>>(item: Item<'_>, range: RangeInclusive<i64>) -> Option<T> {
    let what = if *range.end() == i64::MAX {
        format!("a number from {}", range.start())
    } else {
        format!("a number from {} to {}", range.start(), range.end())
    };
    let DeValue::Integer(integer) = item.value else { return item.expected(&what) };
    match number(integer).filter(|n| range.contains(n)).and_then(|n| T::try_from(n).ok()) {
        Some(value) => Some(value),
        None => item.refuse(format!("{} is {what}", shown(item.key))),
    }
}

/// A number with or without a fraction.
pub fn float(item: Item<'_>, range: RangeInclusive<f64>) -> Option<f64> {
    let what = format!("a number from {:.1} to {:.1}", range.start(), range.end());
    let value = match item.value {
        DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
        // Exact for every integer that can be in a range here.
        #[expect(clippy::cast_precision_loss, reason = "the ranges are small")]
        DeValue::Integer(integer) => number(integer).map(|n| n as f64),
        _ => return item.expected(&what),
    };
    match value.filter(|value| range.contains(value)) {
        Some(value) => Some(value),
        None => item.refuse(format!("{} is {what}", shown(item.key))),
    }
}

/// One of a few words.
pub fn word<T: Copy>(item: Item<'_>, words: &[(&str, T)]) -> Option<T> {
    let choice = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let DeValue::String(text) = item.value else { return item.expected(&format!("one of {choice}")) };
    if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
        return Some(*value);
    }
    let message = format!("{} is one of {choice}", shown(item.key));
    match words::meant(text, words.iter().map(|(word, _)| *word)) {
        Some(meant) => item.refuse_with(message, format!("did you mean \"{meant}\"?")),
        None => item.refuse(message),
    }
}

pub fn signal(item: Item<'_>) -> Option<Signal> {
    let help = "write \"TERM\", \"SIGTERM\", 15 or \"RTMIN+1\"";
    match item.value {
        DeValue::Integer(integer) => number(integer)
            .and_then(|n| Signal::from_number(i32::try_from(n).ok()?))
            .or_else(|| item.refuse_with(format!("{} is not the number of a signal", shown(item.key)), help)),
        DeValue::String(text) => Signal::parse(text).or_else(|| {
            let upper = text.to_ascii_uppercase();
            let meant = words::meant(upper.strip_prefix("SIG").unwrap_or(&upper), Signal::names());
            let help = meant.map_or_else(|| help.to_owned(), |meant| format!("did you mean \"{meant}\"?"));
            item.refuse_with(format!("{} is not a signal", shown(text)), help)
        }),
        _ => item.expected("a signal's name or number"),
    }
}

pub fn account(item: Item<'_>) -> Option<Account> {
    let account = match item.value {
        DeValue::String(text) => Account::parse(text),
        DeValue::Integer(integer) => {
            number(integer).ok_or_else(|| "the number is too large for an id".to_owned()).and_then(Account::from_id)
        }
        _ => return item.expected("a name or a number"),
    };
    account.or_else(|words| item.refuse(format!("{}: {words}", shown(item.key))).ok_or(())).ok()
}

/// Every element by `read`; `None` if one of them is faulty, after all were read.
pub fn all<'a, T>(items: Vec<Item<'a>>, mut read: impl FnMut(Item<'a>) -> Option<T>) -> Option<Vec<T>> {
    let count = items.len();
    let values: Vec<T> = items.into_iter().filter_map(&mut read).collect();
    (values.len() == count).then_some(values)
}

pub fn accounts(item: Item<'_>) -> Option<Vec<Account>> {
    match item.list() {
        Some(items) => all(items, account),
        None => item.expected("a list of names or numbers"),
    }
}

/// A list, or one for itself.
pub fn exit_codes(item: Item<'_>) -> Option<BTreeSet<u8>> {
    let items = item.list().unwrap_or_else(|| vec![item]);
    Some(all(items, |item| integer(item, 0..=255))?.into_iter().collect())
}

pub fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

pub fn inherit_env(item: Item<'_>) -> Option<InheritEnv> {
    if let DeValue::Boolean(all) = item.value {
        return Some(if *all { InheritEnv::All } else { InheritEnv::Only(BTreeSet::new()) });
    }
    let Some(items) = item.list() else { return item.expected("true, false or a list of variables") };
    let name = |item: Item<'_>| match text(item)? {
        name if is_variable_name(&name) => Some(name),
        name => item.refuse(format!("{} is not the name of a variable", shown(&name))),
    };
    Some(InheritEnv::Only(all(items, name)?.into_iter().collect()))
}

/// A name under the rules of program names, for several programs together.
pub fn group_name(item: Item<'_>) -> Option<String> {
    let name = text(item)?;
    match ProgramName::new(&name) {
        Ok(_) => Some(name),
        Err(fault) => item.refuse(format!("`group_name` is like a program's name: {fault}")),
    }
}

/// An absolute path in which nothing is expanded.
pub fn absolute_path(item: Item<'_>) -> Option<PathBuf> {
    let path = text(item)?;
    if path.contains("${") {
        return item.refuse(format!("nothing is expanded in {}", shown(item.key)));
    }
    if path.starts_with('/') {
        return Some(PathBuf::from(path));
    }
    item.refuse_with(format!("{} is an absolute path", shown(item.key)), "it begins with `/`")
}

/// A number, "unlimited", or the soft and the hard limit.
pub fn limit(item: Item<'_>) -> Option<Limit> {
    let what = "a number, \"unlimited\" or [soft, hard]";
    let one = |item: Item<'_>| match item.value {
        DeValue::Integer(integer) => match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(value) => Some(Some(value)),
            Err(_) => item.refuse(format!("a limit is a number from 0 to {}", u64::MAX)),
        },
        DeValue::String(text) if text == "unlimited" => Some(None),
        DeValue::String(_) => item.refuse(format!("{} is {what}", shown(item.key))),
        _ => item.expected(what),
    };
    let Some(items) = item.list() else {
        let value = one(item)?;
        return Some(Limit { soft: value, hard: value });
    };
    let [soft, hard] = all(items, one)?[..] else {
        return item.refuse(format!("{} has two limits in its list: [soft, hard]", shown(item.key)));
    };
    if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) || (soft.is_none() && hard.is_some()) {
        return item.refuse(format!("the soft limit of {} is above its hard limit", shown(item.key)));
    }
    Some(Limit { soft, hard })
}

/// In their order, each once.
pub fn distinct<'v, T: Clone + PartialEq + 'v>(values: impl IntoIterator<Item = &'v T>) -> Vec<T> {
    let mut list: Vec<T> = Vec::new();
    for value in values {
        if !list.contains(value) {
            list.push(value.clone());
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_value as read;
    use super::*;

    #[test]
    fn exit_codes_are_a_list_or_one_number() {
        assert_eq!(read("[0, 2]", exit_codes), Ok(BTreeSet::from([0, 2])));
        assert_eq!(read("0", exit_codes), Ok(BTreeSet::from([0])));
        assert_eq!(read("[]", exit_codes), Ok(BTreeSet::new()));
        for text in ["256", "[-1]", "[0, \"2\"]", "\"0,2\"", "[[0]]"] {
            assert!(read(text, exit_codes).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_are_a_number_or_unlimited_or_both_ends() {
        let limit_of = |soft, hard| Ok(Limit { soft, hard });
        assert_eq!(read("4096", limit), limit_of(Some(4096), Some(4096)));
        assert_eq!(read("\"unlimited\"", limit), limit_of(None, None));
        assert_eq!(read("[1, 2]", limit), limit_of(Some(1), Some(2)));
        assert_eq!(read("[1, \"unlimited\"]", limit), limit_of(Some(1), None));
        for text in ["-1", "[2, 1]", "[\"unlimited\", 5]", "[1]", "[1, 2, 3]", "\"much\"", "1.5", "[]"] {
            assert!(read(text, limit).is_err(), "{text}");
        }
    }

    #[test]
    fn signals_are_names_or_numbers() {
        assert_eq!(read("\"USR1\"", signal), Ok(Signal::USR1));
        assert_eq!(read("15", signal), Ok(Signal::TERM));
        assert_eq!(
            read("\"SIGTREM\"", signal).expect_err("typo"),
            "`SIGTREM` is not a signal / did you mean \"TERM\"?"
        );
        for text in ["0", "99", "-1", "\"\"", "99999999999", "true"] {
            assert!(read(text, signal).is_err(), "{text}");
        }
    }

    #[test]
    fn accounts_are_names_or_numbers() {
        assert_eq!(read("\"www-data\"", account), Ok(Account::Name("www-data".to_owned())));
        assert_eq!(read("33", account), Ok(Account::Id(33)));
        assert_eq!(read("[\"a\", 7]", accounts), Ok(vec![Account::Name("a".to_owned()), Account::Id(7)]));
        assert_eq!(read("[]", accounts), Ok(vec![]));
        for text in ["-1", "\"\"", "\"a b\"", "4294967295", "99999999999999999999", "1.5"] {
            assert!(read(text, account).is_err(), "{text}");
        }
        assert!(read("\"adm\"", accounts).is_err());
    }

    #[test]
    fn variables_to_inherit_are_all_none_or_a_list() {
        assert_eq!(read("true", inherit_env), Ok(InheritEnv::All));
        assert_eq!(read("false", inherit_env), Ok(InheritEnv::Only(BTreeSet::new())));
        assert_eq!(read("[\"LANG\"]", inherit_env), Ok(InheritEnv::Only(BTreeSet::from(["LANG".to_owned()]))));
        assert!(read("[\"A=B\"]", inherit_env).is_err());
        assert!(read("\"LANG\"", inherit_env).is_err());
    }
}
