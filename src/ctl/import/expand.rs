//! Python's `text % names`, as supervisord expands values, with one difference: what our own configuration
//! can look up at the start (`${env:NAME}`, `${host}`, `${instance}`) may stay open.
//!
//! An open place is a name between two characters that no configuration has; [`written`] makes `${…}` of it,
//! [`closed`] its value.
#![forbid(unsafe_code)]

/// Around the name of an open place. Both are in a plane for private use; a file that has them is refused.
pub const OPEN: char = '\u{f0000}';
pub const CLOSE: char = '\u{f0001}';

/// What a name stands for.
#[derive(Clone, PartialEq, Debug)]
pub enum Known {
    Text(String),
    Number(i64),
    /// The number of the process, not yet known.
    Instance,
    /// `env:NAME` or `host`.
    Open(String),
}

/// Why a text cannot be expanded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unexpandable {
    Unknown(String),
    Malformed,
    /// Only with the number of the process.
    NeedsNumber,
}

/// One `%(name)02d`.
struct Directive<'a> {
    name: &'a str,
    flags: &'a str,
    width: usize,
    precision: Option<usize>,
    conversion: char,
}

/// The longest that anything is padded to.
const WIDTH_MAX: usize = 4096;

/// Expands every `%(name)s` of the text.
///
/// # Errors
/// A name that `find` does not know, or what Python has no format for.
pub fn expand(text: &str, find: &dyn Fn(&str) -> Option<Known>) -> Result<String, Unexpandable> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (directive, after) = directive(rest).ok_or(Unexpandable::Malformed)?;
        let known = find(directive.name).ok_or_else(|| Unexpandable::Unknown(directive.name.to_owned()))?;
        out.push_str(&directive.format(known)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// What stands behind a `%`, and the rest.
fn directive(text: &str) -> Option<(Directive<'_>, &str)> {
    let inner = text.strip_prefix('(')?;
    let mut depth = 1;
    let close = inner.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    })?;
    let (name, rest) = (&inner[..close], &inner[close + 1..]);
    let (flags, rest) = rest.split_at(rest.find(|c| !"#0- +".contains(c))?);
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse().ok().filter(|n| *n <= WIDTH_MAX) };
    let (width, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
    let (precision, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (digits, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
            (Some(number(digits)?), rest)
        }
        None => (None, rest),
    };
    let rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
    let conversion = rest.chars().next()?;
    let directive = Directive { name, flags, width: number(width)?, precision, conversion };
    Some((directive, &rest[conversion.len_utf8()..]))
}

impl Directive<'_> {
    fn format(&self, known: Known) -> Result<String, Unexpandable> {
        let plain = self.flags.is_empty() && self.width == 0 && self.precision.is_none();
        match (known, self.conversion) {
            (_, '%') => Ok("%".to_owned()),
            (Known::Text(text), 's') => Ok(self.padded(&self.cut(&text))),
            (Known::Open(name), 's') if plain => Ok(format!("{OPEN}{name}{CLOSE}")),
            (Known::Number(number), 's') => Ok(self.padded(&self.cut(&number.to_string()))),
            (Known::Number(number), 'd' | 'i' | 'u' | 'x' | 'X' | 'o') => Ok(self.number(number)),
            (Known::Instance, 's' | 'd' | 'i' | 'u') if plain => Ok(format!("{OPEN}instance{CLOSE}")),
            (Known::Instance, 'd' | 'i' | 'u')
                if self.flags == "0" && (1..=9).contains(&self.width) && self.precision.is_none() =>
            {
                Ok(format!("{OPEN}instance:0{}{CLOSE}", self.width))
            }
            (Known::Instance, 's' | 'd' | 'i' | 'u' | 'x' | 'X' | 'o') => Err(Unexpandable::NeedsNumber),
            _ => Err(Unexpandable::Malformed),
        }
    }

    fn cut(&self, text: &str) -> String {
        text.chars().take(self.precision.unwrap_or(usize::MAX)).collect()
    }

    fn number(&self, number: i64) -> String {
        let magnitude = number.unsigned_abs();
        let (digits, prefix) = match self.conversion {
            'x' => (format!("{magnitude:x}"), "0x"),
            'X' => (format!("{magnitude:X}"), "0X"),
            'o' => (format!("{magnitude:o}"), "0o"),
            _ => (magnitude.to_string(), ""),
        };
        let sign = match (number < 0, self.flags.contains('+'), self.flags.contains(' ')) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let prefix = if self.flags.contains('#') { prefix } else { "" };
        let digits = format!("{digits:0>least$}", least = self.precision.unwrap_or(0));
        if self.flags.contains('0') && !self.flags.contains('-') {
            let width = self.width.saturating_sub(sign.len() + prefix.len());
            return format!("{sign}{prefix}{digits:0>width$}");
        }
        self.padded(&format!("{sign}{prefix}{digits}"))
    }

    fn padded(&self, text: &str) -> String {
        let width = self.width;
        if self.flags.contains('-') { format!("{text:<width$}") } else { format!("{text:>width$}") }
    }
}

/// The text as a value of our configuration: open places are `${…}`, and a `$` that would mean something
/// there is written twice.
pub fn written(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            OPEN => out.push_str("${"),
            CLOSE => out.push('}'),
            // Before an open place as well: it begins with `${`.
            '$' if matches!(chars.peek(), Some('$' | '{' | &OPEN)) => out.push_str("$$"),
            c => out.push(c),
        }
    }
    out
}

/// The text with its open places filled in.
///
/// # Errors
/// The name that has no value.
pub fn closed(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        out.push_str(before);
        let Some((name, after)) = after.split_once(CLOSE) else { break };
        out.push_str(&value(name).ok_or_else(|| name.to_owned())?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The names of the open places.
pub fn open_names(text: &str) -> impl Iterator<Item = &str> {
    text.split(OPEN).skip(1).filter_map(|part| part.split_once(CLOSE)).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str) -> Option<Known> {
        match name {
            "here" => Some(Known::Text("/etc".to_owned())),
            "n" => Some(Known::Number(7)),
            "i" => Some(Known::Instance),
            "ENV_X" => Some(Known::Open("env:X".to_owned())),
            _ => None,
        }
    }

    fn value(text: &str) -> Result<String, Unexpandable> {
        expand(text, &names).map(|text| written(&text))
    }

    #[test]
    fn formats_are_those_of_python() {
        for (text, expected) in [
            ("%(here)s/x 100%%", "/etc/x 100%"),
            ("%(n)d %(n)02d %(n)3d|%(n)-3d|%(n)+d %(n)s", "7 07   7|7  |+7 7"),
            ("%(n)#x %(n).3d %(n)04o", "0x7 007 0007"),
            ("%(here)6s|%(here)-6s|%(here).2s", "  /etc|/etc  |/e"),
            ("%(i)d-%(i)02d-%(i)s %(ENV_X)s", "${instance}-${instance:02}-${instance} ${env:X}"),
        ] {
            assert_eq!(value(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(value("%(nope)s"), Err(Unexpandable::Unknown("nope".to_owned())));
        assert_eq!(value("%(i)2d"), Err(Unexpandable::NeedsNumber));
        for text in ["100%", "%s", "% d", "%(here)d", "%(n)", "%(n", "%(n)*d", "%(n)y", "%(n)99999d"] {
            assert_eq!(value(text), Err(Unexpandable::Malformed), "{text}");
        }
    }

    #[test]
    fn dollars_are_doubled_only_where_ours_would_see_a_name() {
        assert_eq!(written("$HOME ${x} $$ $"), "$HOME $${x} $$$ $");
        assert_eq!(written(&format!("${OPEN}host{CLOSE}")), "$$${host}");
    }
}
