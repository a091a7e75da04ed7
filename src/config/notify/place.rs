//! Where servers are: names of hosts, ports, and files of authorities.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::Files;
use super::super::table::{Item, shown};
use super::super::values;
use crate::model::notify::Server;

/// The store of a whole system has about 250 KB.
const AUTHORITIES_MAX: usize = 1 << 20;

/// A name as DNS has it, or an address without brackets.
pub fn is_host(text: &str) -> bool {
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_name = text.len() <= 253 && text.split('.').all(fits);
    // What looks like an IPv4 address must be one.
    let is_number = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse::<Ipv6Addr>().is_ok() || if is_number { text.parse::<Ipv4Addr>().is_ok() } else { is_name }
}

/// Whether nothing that is sent there leaves the machine.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"),
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, or an IPv6 address alone.
pub fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else if text.parse::<Ipv6Addr>().is_ok() {
        (text, None)
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|n| *n > 0)?)
        }
        Some(_) => return None,
    };
    is_host(host).then(|| (host.to_owned(), port))
}

/// One server, or several that are tried in turn: host, and port if it says one.
pub fn servers(item: Item<'_>) -> Option<Vec<(String, Option<u16>)>> {
    let items = item.list().unwrap_or_else(|| vec![item]);
    if items.is_empty() || items.len() > super::address::LIST_MAX {
        return item.refuse_with("`server` names no server, or too many", "write \"smtp.example.com\"");
    }
    values::all(items, |item| {
        let text = values::text(item)?;
        if text.contains("://") {
            let help = "write \"smtp.example.com\"; `tls` says how it is spoken to";
            return item.refuse_with("a server is a name and no URL", help);
        }
        host_and_port(&text).or_else(|| {
            let help = "write \"smtp.example.com\", \"192.0.2.1:25\" or \"[2001:db8::1]:25\"";
            item.refuse_with(format!("{} is no server", shown(&text)), help)
        })
    })
}

/// Servers with the port that those get which say none.
pub fn with_port(servers: &[(String, Option<u16>)], port: u16) -> Vec<Server> {
    servers.iter().map(|(host, own)| Server { host: host.clone(), port: own.unwrap_or(port) }).collect()
}

/// The name in a certificate.
pub fn server_name(item: Item<'_>) -> Option<String> {
    let text = values::text(item)?;
    if is_host(&text) { Some(text) } else { item.refuse(format!("{} is no name of a server", shown(&text))) }
}

/// Certificates of authorities, read now: PEM.
pub fn authorities(item: Item<'_>, files: &mut dyn Files) -> Option<String> {
    let path = super::secret::path(item)?;
    let refuse = |words: &str| item.refuse(format!("`ca_file` {}: {words}", path.display()));
    match files.read(&path) {
        Err(words) => refuse(&words),
        Ok(text) if text.len() > AUTHORITIES_MAX => refuse("is larger than 1 MiB"),
        Ok(text) if text.contains("PRIVATE KEY-----") => refuse("has a private key in it, which does not belong there"),
        Ok(text) if has_certificate(&text) => Some(text),
        Ok(_) => refuse("has no certificate in PEM form (-----BEGIN CERTIFICATE-----)"),
    }
}

fn has_certificate(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("-----BEGIN CERTIFICATE-----") else { return false };
    rest.split_once("-----END CERTIFICATE-----").is_some_and(|(body, _)| !body.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_names_or_addresses_with_or_without_a_port() {
        let is =
            |text: &str, host: &str, port| assert_eq!(host_and_port(text), Some((host.to_owned(), port)), "{text}");
        is("smtp.example.com", "smtp.example.com", None);
        is("smtp_1:2525", "smtp_1", Some(2525));
        is("192.0.2.1:25", "192.0.2.1", Some(25));
        is("[2001:db8::1]:25", "2001:db8::1", Some(25));
        is("[::1]", "::1", None);
        is("::1", "::1", None);
        for text in [
            "",
            ":25",
            "a:",
            "a:0",
            "a:65536",
            "a:+5",
            "a:b",
            "[a]:25",
            "[::1",
            "[::1]x",
            "1.2.3",
            "1.2.3.4.5",
            "a b",
            "a/b",
            "ä.de",
            "-a",
            "a..b",
        ] {
            assert_eq!(host_and_port(text), None, "{text}");
        }
    }

    #[test]
    fn what_stays_on_the_machine_is_known() {
        for host in ["localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "10.0.0.1", "::2", "notlocalhost"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
