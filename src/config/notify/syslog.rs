//! `[notify.syslog]`, and what programs say about syslog.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::super::Files;
use super::super::table::{Given, Item, Table, shown};
use super::super::{values, words};
use super::{Made, email, place};
use crate::model::notify::{Framing, Server, Syslog, SyslogTarget, Transport};
use crate::model::syslog::{DAEMON, LOCAL};

const JOURNALD: &str = "/run/systemd/journal/socket";
const TAG: &str = "taskmaster";
/// RFC 5612: for documentation; a site with a number of its own writes that.
const SD_ID: &str = "taskmaster@32473";
/// APP-NAME and SD-NAME of RFC 5424 §6.
const TAG_MAX: usize = 48;
const SD_ID_MAX: usize = 32;
/// `sun_path` of unix(7), without its NUL.
const SOCKET_MAX: usize = 107;

/// The names of syslog(3), and what RFC 5424 adds; the place is the number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

pub fn read<'a>(table: &mut Table<'a>, files: &mut dyn Files) -> Option<Made> {
    let target = table.take("target", target);
    let framing = table
        .take("framing", |item| values::word(item, &[("octet-counting", Framing::OctetCounting), ("lf", Framing::Lf)]));
    let facility = table.take("facility", facility);
    let tag = table.take("tag", tag);
    let sd_id = table.take("sd_id", sd_id);
    let ca = table.take("ca_file", |item| place::authorities(item, files));
    let server_name = table.take("server_name", place::server_name);
    let target = match target {
        Given::Faulty => return None,
        _ => target.or_default(SyslogTarget::Local(LOCAL.into())),
    };
    let with = match &target {
        SyslogTarget::Local(_) => "a local target",
        SyslogTarget::Journald(_) => "journald",
        SyslogTarget::Udp(_) => "a udp:// target",
        SyslogTarget::Tcp { .. } => "a tcp:// target",
        SyslogTarget::Tls(_) => "a tls:// target",
    };
    if !matches!(target, SyslogTarget::Tls(_)) {
        email::without_effect(table, "ca_file", ca.place(), with);
        email::without_effect(table, "server_name", server_name.place(), with);
    }
    if !matches!(target, SyslogTarget::Tcp { .. }) {
        email::without_effect(table, "framing", framing.place(), with);
    }
    if matches!(target, SyslogTarget::Local(_) | SyslogTarget::Journald(_)) {
        email::without_effect(table, "sd_id", sd_id.place(), with);
    }
    if matches!(framing, Given::Faulty) || matches!(facility, Given::Faulty) {
        return None;
    }
    if [&tag, &sd_id, &ca, &server_name].iter().any(|given| matches!(given, Given::Faulty)) {
        return None;
    }
    let target = match target {
        SyslogTarget::Tcp { server, .. } => {
            SyslogTarget::Tcp { server, framing: framing.or_default(Framing::default()) }
        }
        other => other,
    };
    let syslog = Syslog {
        target,
        facility: facility.or_default(DAEMON),
        tag: tag.or_default(TAG.to_owned()),
        sd_id: sd_id.or_default(SD_ID.to_owned()),
        ca: ca.value().cloned(),
        server_name: server_name.value().cloned(),
    };
    Some((Transport::Syslog(syslog), Vec::new()))
}

fn target(item: Item<'_>) -> Option<SyslogTarget> {
    let text = values::text(item)?;
    let help = "write \"local\", \"journald\", \"udp://host:514\", \"tcp://host:601\" or \"tls://host:6514\"";
    if let Some(path) = socket(&text, "local", LOCAL).or_else(|| text.starts_with('/').then(|| text.clone().into())) {
        return local(item, path, SyslogTarget::Local);
    }
    if let Some(path) = socket(&text, "journald", JOURNALD) {
        return local(item, path, SyslogTarget::Journald);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return match words::meant(&text, ["local", "journald"]) {
            Some(meant) => {
                item.refuse_with(format!("{} is no target", shown(&text)), format!("did you mean \"{meant}\"?"))
            }
            None => item.refuse_with(format!("{} is no target", shown(&text)), help),
        };
    };
    let server = |usual: u16| {
        let (host, port) = place::host_and_port(rest)?;
        Some(Server { host, port: port.unwrap_or(usual) })
    };
    let target = match scheme {
        "udp" => server(514).map(SyslogTarget::Udp),
        "tcp" => server(601).map(|server| SyslogTarget::Tcp { server, framing: Framing::default() }),
        "tls" => server(6514).map(SyslogTarget::Tls),
        _ => None,
    };
    target.or_else(|| item.refuse_with(format!("{} is no target", shown(&text)), help))
}

/// The socket of `local` or `journald`, which may be named behind a colon.
fn socket(text: &str, word: &str, usual: &str) -> Option<PathBuf> {
    let rest = text.strip_prefix(word)?;
    if rest.is_empty() { Some(usual.into()) } else { rest.strip_prefix(':').map(PathBuf::from) }
}

fn local(item: Item<'_>, path: PathBuf, make: fn(PathBuf) -> SyslogTarget) -> Option<SyslogTarget> {
    if !path.is_absolute() || path.as_os_str().len() > SOCKET_MAX {
        return item.refuse(format!("a socket is an absolute path of at most {SOCKET_MAX} bytes"));
    }
    Some(make(path))
}

/// The name of a facility.
pub fn facility_name(number: u8) -> &'static str {
    FACILITIES.get(usize::from(number)).copied().unwrap_or_default()
}

/// A facility by its name.
pub fn facility(item: Item<'_>) -> Option<u8> {
    let text = values::text(item)?;
    if let Some(number) = FACILITIES.iter().position(|name| *name == text) {
        return u8::try_from(number).ok();
    }
    let message = format!("{} is no facility", shown(&text));
    match words::meant(&text, FACILITIES) {
        Some(meant) => item.refuse_with(message, format!("did you mean \"{meant}\"?")),
        None => item.refuse_with(message, format!("there are {}", FACILITIES.join(", "))),
    }
}

/// What stands before a message: nothing that ends it early for a reader of RFC 3164 or 5424.
pub fn tag(item: Item<'_>) -> Option<String> {
    let text = values::text(item)?;
    let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'[' | b']' | b':');
    if (1..=TAG_MAX).contains(&text.len()) && text.bytes().all(fits) {
        return Some(text);
    }
    let message = format!("{} has 1 to {TAG_MAX} ASCII characters, no spaces, `[`, `]` or `:`", shown(item.key));
    item.refuse(message)
}

/// SD-NAME of RFC 5424 §6.3.2 with an enterprise number.
fn sd_id(item: Item<'_>) -> Option<String> {
    let text = values::text(item)?;
    let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'=' | b']' | b'"' | b'@');
    let is_one = text.split_once('@').is_some_and(|(name, number)| {
        !name.is_empty()
            && name.bytes().all(fits)
            && number.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    });
    if is_one && text.len() <= SD_ID_MAX {
        return Some(text);
    }
    item.refuse_with(
        format!("{} is no name of structured data", shown(&text)),
        format!("write NAME@NUMBER with your enterprise number, at most {SD_ID_MAX} characters"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::read_value as read;
    use super::*;

    #[test]
    fn every_target_of_the_documentation_is_read() {
        let server = |host: &str, port| Server { host: host.to_owned(), port };
        for (text, is) in [
            ("local", SyslogTarget::Local(LOCAL.into())),
            ("local:/run/log", SyslogTarget::Local("/run/log".into())),
            ("/run/log", SyslogTarget::Local("/run/log".into())),
            ("journald", SyslogTarget::Journald(JOURNALD.into())),
            ("udp://h", SyslogTarget::Udp(server("h", 514))),
            ("tcp://h:1", SyslogTarget::Tcp { server: server("h", 1), framing: Framing::OctetCounting }),
            ("tls://[::1]", SyslogTarget::Tls(server("::1", 6514))),
        ] {
            assert_eq!(read(&format!("\"{text}\""), target), Ok(is), "{text}");
        }
        for text in ["", "locall", "local:run", "udp:h", "udp://", "udp://h/x", "http://h", "tls://h:0", "tcp://a b"] {
            assert!(read(&format!("\"{text}\""), target).is_err(), "{text}");
        }
    }

    #[test]
    fn facilities_have_the_numbers_of_rfc_5424() {
        for (name, number) in
            [("kern", 0), ("daemon", 3), ("authpriv", 10), ("clock", 15), ("local0", 16), ("local7", 23)]
        {
            assert_eq!(read(&format!("\"{name}\""), facility), Ok(number));
        }
        assert_eq!(
            read("\"deamon\"", facility).expect_err("typo"),
            "`deamon` is no facility / did you mean \"daemon\"?"
        );
        assert!(read("\"local8\"", facility).is_err());
    }

    #[test]
    fn tags_and_names_of_structured_data_cannot_end_early() {
        assert_eq!(read("\"my-app\"", tag), Ok("my-app".to_owned()));
        for text in ["", "a b", "a:", "a[1]", "ä", &"a".repeat(49)] {
            assert!(read(&format!("\"{text}\""), tag).is_err(), "{text}");
        }
        assert_eq!(read("\"x@1.2\"", sd_id), Ok("x@1.2".to_owned()));
        for text in ["x", "@1", "x@", "x@a", "x y@1", "x]@1", "x@1@2", &format!("{}@1", "a".repeat(40))] {
            assert!(read(&format!("\"{text}\""), sd_id).is_err(), "{text}");
        }
    }
}
