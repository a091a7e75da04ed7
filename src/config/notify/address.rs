//! Mail addresses, checked strictly: what passes here can stand in a header and in an SMTP command as it
//! is, whoever puts it there.
//!
//! The checker is our own and small, because no program that runs as root links a mail library. It takes
//! the addresses that are in use: no quoted local parts, comments, routes or address literals (RFC 5322
//! has them all). Letters may be of any script (RFC 6531).
#![forbid(unsafe_code)]

use super::super::table::{Item, shown};
use super::super::values;

/// The most entries of a list of addresses or channels, and of other lists for people.
pub const LIST_MAX: usize = 100;
/// RFC 5321 §4.5.3.1.
const LOCAL_MAX: usize = 64;
const ADDRESS_MAX: usize = 254;
/// In characters.
const NAME_MAX: usize = 100;

/// `local@domain`.
pub fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    text.len() <= ADDRESS_MAX && is_local(local) && is_domain(domain)
}

/// `atext` of RFC 5322 with dots between, and letters and digits of any script.
fn is_local(local: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    local.len() <= LOCAL_MAX && local.split('.').all(|word| !word.is_empty() && word.chars().all(fits))
}

/// Labels of letters, digits and hyphens.
fn is_domain(domain: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || c == '-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.chars().all(fits) && !label.starts_with('-') && !label.ends_with('-')
    };
    domain.split('.').all(is_label)
}

/// The words before `<…>`: nothing that would need quotes in a header.
fn is_display_name(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c);
    !name.is_empty() && name.chars().count() <= NAME_MAX && name.chars().all(fits)
}

/// The address in `Name <local@domain>` or `local@domain`; the rest of the text is checked, too.
pub fn address_of(text: &str) -> Option<&str> {
    let Some((name, rest)) = text.split_once('<') else { return is_address(text).then_some(text) };
    let address = rest.strip_suffix('>')?;
    let name = name.trim();
    ((name.is_empty() || is_display_name(name)) && is_address(address)).then_some(address)
}

/// An address, with or without a name before it.
pub fn mailbox(item: Item<'_>) -> Option<String> {
    let text = values::text(item)?;
    match address_of(&text) {
        Some(address) if text.starts_with('<') => Some(address.to_owned()),
        Some(_) => Some(text),
        None => refuse(item, &text, "write \"ops@example.com\" or \"Operations <ops@example.com>\""),
    }
}

/// An address alone.
pub fn bare(item: Item<'_>) -> Option<String> {
    let text = values::text(item)?;
    if is_address(&text) { Some(text) } else { refuse(item, &text, "write \"ops@example.com\", without a name") }
}

fn refuse<T>(item: Item<'_>, text: &str, help: &str) -> Option<T> {
    let words = match text.matches('@').count() {
        0 => "has no `@`",
        1 if text.contains([',', ';']) => "has a comma or a semicolon in it; several addresses are a list",
        1 => "has a character that is not accepted, or one in a wrong place",
        _ => "has more than one `@`; several addresses are a list",
    };
    item.refuse_with(format!("{} is no mail address: it {words}", shown(text)), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_use_are_taken() {
        for text in [
            "ops@example.com",
            "root@localhost",
            "first.last+tag@sub.example-site.org",
            "o'hara_{x}@example.com",
            "jürgen@müller.example",
            "Ops <ops@example.com>",
            "Störungen Süd <ops@example.com>",
            "<ops@example.com>",
        ] {
            assert!(address_of(text).is_some(), "{text}");
        }
        assert_eq!(address_of("A B <a@b.c>"), Some("a@b.c"));
    }

    #[test]
    fn nothing_passes_that_could_begin_a_header_or_a_command() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long = format!("a@{}com", "abcdefgh.".repeat(40));
        for text in [
            "",
            "@",
            "ops",
            "ops@",
            "@example.com",
            "a@b@c",
            "a b@example.com",
            "a@exam ple.com",
            "a@example.com\r\nBcc: x@y.z",
            "a\n@example.com",
            "a@example.com\0",
            "a@b.c, d@e.f",
            "a..b@example.com",
            ".a@example.com",
            "a.@example.com",
            "a@-b.com",
            "a@b-.com",
            "a@b..com",
            "a@.com",
            "a@[127.0.0.1]",
            "\"a b\"@example.com",
            "a(c)@example.com",
            "a\u{200e}@example.com",
            "N\r\nBcc: x@y.z <a@b.c>",
            "N, M <a@b.c>",
            "\"N\" <a@b.c>",
            "N <a@b.c> x",
            "N <<a@b.c>>",
            "N <a@b.c",
            "a@b.c>",
            &long_local,
            &long,
        ] {
            assert_eq!(address_of(text), None, "{text:?}");
        }
    }
}
