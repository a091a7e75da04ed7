//! Readers of quantities with units or a base of their own: durations, sizes, permission bits.
#![forbid(unsafe_code)]

use std::time::Duration;

use toml::de::DeValue;

use crate::model::time::{DURATION_MAX, Unusable, seconds, written_duration};

use super::table::{Item, shown};
use super::values::number;

/// Seconds as a number, or a text with units.
pub fn duration(item: Item<'_>) -> Option<Duration> {
    let value = match item.value {
        DeValue::Integer(integer) => match number(integer) {
            Some(seconds) => u64::try_from(seconds).map(Duration::from_secs).map_err(|_| Unusable::Negative),
            None => Err(Unusable::TooLong),
        },
        DeValue::Float(float) => seconds(float.as_str()),
        DeValue::String(text) => written_duration(text),
        _ => return item.expected("a duration: seconds, or a text such as \"500ms\", \"5s\", \"1m30s\""),
    };
    match value {
        Ok(duration) if duration <= DURATION_MAX => Some(duration),
        Ok(_) | Err(Unusable::TooLong) => item.refuse(format!("{} is longer than 10 years", shown(item.key))),
        Err(Unusable::Negative) => item.refuse(format!("{} is a duration, which cannot be negative", shown(item.key))),
        Err(Unusable::NoDuration) => item.refuse_with(
            format!("{} is not a duration", shown(item.key)),
            "write seconds, or a text such as \"500ms\", \"5s\", \"1m30s\", \"2h\", \"1d\"",
        ),
    }
}

/// Bytes as a number, or a text with a unit, 1024-based as supervisord's.
pub fn size(item: Item<'_>) -> Option<u64> {
    let value = match item.value {
        DeValue::Integer(integer) => number(integer).and_then(|n| u64::try_from(n).ok()),
        DeValue::String(text) => written_size(text),
        _ => return item.expected("a size: bytes, or a text such as \"50MB\""),
    };
    match value.filter(|bytes| i64::try_from(*bytes).is_ok()) {
        Some(bytes) => Some(bytes),
        None => item
            .refuse_with(format!("{} is not a size", shown(item.key)), "write bytes, or \"50KB\", \"50MB\", \"1GB\""),
    }
}

fn written_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_uppercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Permission bits: a text is octal; a number must say so, since `22` would mean 0o26.
pub fn octal(item: Item<'_>) -> Option<u32> {
    let name = shown(item.key);
    let digits = match item.value {
        DeValue::String(text) => text.strip_prefix("0o").unwrap_or(text),
        DeValue::Integer(integer) if integer.radix() == 8 => integer.as_str(),
        DeValue::Integer(integer) => {
            let digits = integer.as_str();
            let octal = integer.radix() == 10 && digits.len() <= 4 && digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
            let digits = if octal { digits.trim_start_matches('0') } else { "22" };
            return item.refuse_with(
                format!("{name} is octal, and a number without `0o` is not"),
                format!("write \"{digits:0>3}\" or 0o{digits:0>3}"),
            );
        }
        _ => return item.expected("an octal number such as \"022\""),
    };
    if digits.is_empty() || digits.len() > 12 || !digits.bytes().all(|b| matches!(b, b'0'..=b'7')) {
        return item.refuse_with(format!("{name} is not an octal number"), "write it as \"022\" or 0o022");
    }
    match u32::from_str_radix(digits, 8) {
        Ok(bits) if bits <= 0o777 => Some(bits),
        _ => item.refuse(format!("{name} is at most 0o777")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_value as read;
    use super::*;

    #[test]
    fn every_spelling_of_a_duration_is_read() {
        for (text, millis) in [
            ("5", 5_000),
            ("0", 0),
            ("0.25", 250),
            ("1e1", 10_000),
            ("\"5\"", 5_000),
            ("\"0.5\"", 500),
            ("\"500ms\"", 500),
            ("\"5s\"", 5_000),
            ("\" 5 s \"", 5_000),
            ("\"1m\"", 60_000),
            ("\"1h30m\"", 5_400_000),
            ("\"2 minutes\"", 120_000),
            ("\"PT5S\"", 5_000),
            ("\"1d\"", 86_400_000),
            ("\"1d 1h\"", 90_000_000),
            ("\"1w\"", 604_800_000),
            ("\"3650d\"", 315_360_000_000),
        ] {
            assert_eq!(read(text, duration), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_reason() {
        for (text, reason) in [
            ("-1", "negative"),
            ("-0.5", "negative"),
            ("\"-5s\"", "negative"),
            ("\"5s ago\"", "negative"),
            ("\"-5\"", "negative"),
            ("\"3651d\"", "10 years"),
            ("9999999999", "10 years"),
            ("99999999999999999999999", "10 years"),
            ("1e300", "10 years"),
            ("inf", "10 years"),
            ("nan", "not a duration"),
            ("\"\"", "not a duration"),
            ("\"5x\"", "not a duration"),
            ("\"1month\"", "not a duration"),
            ("\"1y\"", "not a duration"),
            ("\"--\"", "not a duration"),
            ("true", "not a boolean"),
        ] {
            let message = read(text, duration).expect_err(text);
            assert!(message.contains(reason), "{text}: {message}");
        }
    }

    #[test]
    fn sizes_are_1024_based() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("\"1000\"", 1000),
            ("\"50MB\"", 50 << 20),
            ("\"50mb\"", 50 << 20),
            ("\"50 M\"", 50 << 20),
            ("\"3K\"", 3 << 10),
            ("\"1GB\"", 1 << 30),
            ("\"1TiB\"", 1 << 40),
            ("\"7B\"", 7),
        ] {
            assert_eq!(read(text, size), Ok(bytes), "{text}");
        }
        for text in ["-1", "\"\"", "\"MB\"", "\"1.5MB\"", "\"5X\"", "\"99999999999GB\"", "\"-1KB\"", "1.5"] {
            assert!(read(text, size).is_err(), "{text}");
        }
    }

    #[test]
    fn a_umask_is_octal_or_refused_with_the_spelling() {
        for text in ["\"022\"", "\"22\"", "\"0o22\"", "0o022", "0o22"] {
            assert_eq!(read(text, octal), Ok(0o022), "{text}");
        }
        assert_eq!(read("\"0\"", octal), Ok(0));
        assert_eq!(read("\"0777\"", octal), Ok(0o777));
        for (text, part) in [
            ("22", "write \"022\" or 0o022"),
            ("77", "write \"077\" or 0o077"),
            ("18", "write \"022\""),
            ("0x12", "write \"022\""),
            ("022", "for an octal number write \"022\" in quotes, or 0o022"),
            ("\"1000\"", "at most 0o777"),
            ("0o1000", "at most 0o777"),
            ("\"8\"", "not an octal number"),
            ("\"\"", "not an octal number"),
            ("\"+22\"", "not an octal number"),
            ("\"0o\"", "not an octal number"),
            ("true", "not a boolean"),
        ] {
            let message = read(text, octal).expect_err(text);
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
