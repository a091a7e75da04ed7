//! `[notify.webhooks.NAME]`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use url::Url;

use super::super::Files;
use super::super::fault::{Kind, Place};
use super::super::table::{Given, Item, Table, shown};
use super::super::values;
use super::{Made, email, place, secret};
use crate::model::notify::{SecretKind, Transport, Webhook, WebhookFormat};

const URL_MAX: usize = 2000;

pub fn read<'a>(table: &mut Table<'a>, files: &mut dyn Files) -> Option<Made> {
    table.take("secret", |item| secret::inline::<()>(item, "secret_file"));
    let url = table.take("url", |item| parsed(item, &values::text(item)?));
    let url_file = table.take("url_file", |item| from_file(item, files));
    let format = table.take("format", |item| {
        let words = [
            ("json", WebhookFormat::Json),
            ("slack", WebhookFormat::Slack),
            ("alertmanager", WebhookFormat::Alertmanager),
        ];
        values::word(item, &words)
    });
    let secret_file = table.take("secret_file", |item| secret_files(item, files));
    let ca = table.take("ca_file", |item| place::authorities(item, files));
    let (output_lines, redact) = email::output(table);
    if url.is_absent() && url_file.is_absent() {
        table.lacks("this webhook has no `url`", "add: url = \"https://hooks.example.com/path\", or url_file");
    }
    if let (Some(_), Some(place)) = (url.place(), url_file.place()) {
        table.context.sink.report(place, Kind::Value, "there are both `url` and `url_file`", None);
    }
    let address = url.or(&url_file);
    let format = match format {
        Given::Faulty => return None,
        _ => format.or_default(WebhookFormat::default()),
    };
    if let (Some(address), Some(place)) = (address.value(), address.place()) {
        // Whoever knows Slack's URL can write there.
        let is_secret = format == WebhookFormat::Slack || !secret_file.is_absent();
        judge_clear_text(table, address, place, is_secret);
        if address.scheme() == "http" {
            email::without_effect(table, "ca_file", ca.place(), "an http:// URL");
        }
        let source = &table.context.source.path;
        if format == WebhookFormat::Slack && !url.is_absent() && !files.is_private(source) {
            let message = "whoever has this URL can write to the channel, and others can read this file";
            let help = "put it into a file of mode 0600, and write: url_file = \"/etc/taskmaster/hook\"".to_owned();
            table.context.sink.report(place, Kind::Warning, message, Some(help));
        }
    }
    let paths = match &secret_file {
        Given::Faulty => return None,
        given => given.or_default(Vec::new()),
    };
    if matches!(ca, Given::Faulty) {
        return None;
    }
    let webhook = Webhook {
        url: address.value()?.to_string(),
        format,
        ca: ca.value().cloned(),
        secrets: u8::try_from(paths.len()).ok()?,
        output_lines: output_lines?,
        redact: redact?,
    };
    let secrets = (0..).zip(paths).map(|(number, path)| (SecretKind::Hmac(number), path)).collect();
    Some((Transport::Webhook(webhook), secrets))
}

fn judge_clear_text<'a>(table: &Table<'a>, url: &Url, place: Place<'a>, is_secret: bool) {
    if is_secret && url.scheme() == "http" && !url.host_str().is_some_and(place::is_loopback) {
        let help = "write https://: whoever is on the way can read it".to_owned();
        table.context.sink.report(place, Kind::Warning, "a secret is used over http://", Some(help));
    }
}

/// One file, or two while a secret is changed: then each request carries both signatures.
fn secret_files(item: Item<'_>, files: &mut dyn Files) -> Option<Vec<PathBuf>> {
    let items = item.list().unwrap_or_else(|| vec![item]);
    if !(1..=2).contains(&items.len()) {
        return item.refuse("`secret_file` is one file, or a list of two while the secret is changed");
    }
    values::all(items, |item| secret::file(item, files))
}

/// The first line of a file.
fn from_file(item: Item<'_>, files: &mut dyn Files) -> Option<Url> {
    let path = secret::path(item)?;
    match files.read(&path) {
        Ok(text) => {
            if !files.is_private(&path) {
                let message = format!("others can read {}, and its URL is a secret", shown(&path.to_string_lossy()));
                item.warn(&message, Some("chmod 0600".to_owned()));
            }
            parsed(item, text.trim_ascii_end())
        }
        Err(words) => item.refuse(format!("`url_file` {}: {words}", path.display())),
    }
}

/// No message shows any of the URL: its path may be a secret.
fn parsed<'a>(item: Item<'a>, text: &str) -> Option<Url> {
    let key = shown(item.key);
    if text.len() > URL_MAX || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return item.refuse(format!("the URL of {key} has white space in it, or more than {URL_MAX} bytes"));
    }
    let Ok(url) = Url::parse(text) else {
        return item.refuse_with(format!("{key} is no URL"), "write \"https://hooks.example.com/path\"");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return item.refuse_with(
            format!("the URL of {key} begins with https:// (or http://) and a host"),
            "write \"https://hooks.example.com/path\"",
        );
    }
    if !url.username().is_empty() || url.password().is_some() {
        return item.refuse_with(
            format!("the URL of {key} has a user name or a password in it, which is not sent"),
            "a secret_file signs what is sent",
        );
    }
    if url.fragment().is_some() {
        return item.refuse(format!("the URL of {key} has a `#` in it, and what follows is never sent"));
    }
    Some(url)
}
