//! How people name processes: `web` (all of a program), `web:3` (one), `web:*`, a `group_name`, a glob over
//! program names or process names, `all`.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use glob::Pattern;

use super::id::ProcessId;

/// One such text, read. `'s` is the text's life.
pub enum Selector<'s> {
    All,
    Instance(Cow<'s, str>, u32),
    /// A program or a group by its plain name.
    Name(Cow<'s, str>),
    Glob(Pattern),
    /// Not a selector: matches nothing.
    Nothing,
}

impl<'s> Selector<'s> {
    pub fn new(selector: &'s str) -> Self {
        if selector == "all" {
            return Self::All;
        }
        if let Some((program, instance)) = selector.split_once(':') {
            if matches!(instance, "*" | "") && !program.contains(['*', '?', '[']) {
                return Self::Name(program.into());
            }
            if let Ok(number) = instance.parse::<u32>()
                && !program.contains(['*', '?', '['])
            {
                return Self::Instance(program.into(), number);
            }
        }
        if selector.contains(['*', '?', '[']) {
            return Pattern::new(selector).map_or(Self::Nothing, Self::Glob);
        }
        if selector.contains(':') { Self::Nothing } else { Self::Name(selector.into()) }
    }

    /// The same, to be kept.
    pub fn into_owned(self) -> Selector<'static> {
        match self {
            Self::All => Selector::All,
            Self::Instance(name, instance) => Selector::Instance(name.into_owned().into(), instance),
            Self::Name(name) => Selector::Name(name.into_owned().into()),
            Self::Glob(pattern) => Selector::Glob(pattern),
            Self::Nothing => Selector::Nothing,
        }
    }

    /// Whether it names this process, whose program belongs to this group.
    pub fn matches(&self, id: &ProcessId, group: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Instance(name, instance) => id.program.as_str() == name && id.instance == *instance,
            Self::Name(name) => id.program.as_str() == name || group == Some(name),
            Self::Glob(pattern) => pattern.matches(id.program.as_str()) || pattern.matches(&id.to_string()),
            Self::Nothing => false,
        }
    }
}
