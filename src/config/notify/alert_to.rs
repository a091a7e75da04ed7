//! `alert_to` of a program: who is told of it beside, or instead of, those whom the rules tell.
#![forbid(unsafe_code)]

use super::super::fault::{self, Place, Sink};
use super::super::table::{Item, shown};
use super::super::{values, words};
use super::address::{self, LIST_MAX};
use crate::model::id::ChannelName;

/// Whom a program's alerts reach beside or instead of whom the rules say.
#[derive(Clone)]
pub struct AlertTo<'a> {
    channels: Vec<(ChannelName, Place<'a>)>,
    recipients: Vec<(String, Place<'a>)>,
}

/// Channels, and mail addresses: what has an `@` in it.
pub fn alert_to(item: Item<'_>) -> Option<AlertTo<'_>> {
    let items = item.list().unwrap_or_else(|| vec![item]);
    if items.len() > LIST_MAX {
        return item.refuse(format!("`alert_to` has at most {LIST_MAX} entries"));
    }
    let mut to = AlertTo { channels: Vec::new(), recipients: Vec::new() };
    values::all(items, |item| {
        let text = values::text(item)?;
        if text.contains('@') {
            to.recipients.push((address::mailbox(item)?, item.place));
        } else {
            to.channels.push((ChannelName(text), item.place));
        }
        Some(())
    })?;
    Some(to)
}

impl AlertTo<'_> {
    /// Each once.
    pub fn channels(&self) -> Vec<ChannelName> {
        values::distinct(self.channels.iter().map(|(name, _)| name))
    }

    /// Each once.
    pub fn recipients(&self) -> Vec<String> {
        values::distinct(self.recipients.iter().map(|(address, _)| address))
    }

    pub fn judge(&self, known: &[&str], sink: &Sink) {
        for (name, place) in self.channels.iter().filter(|(name, _)| !known.contains(&name.0.as_str())) {
            let (message, help) = unknown(&name.0, known);
            sink.report(*place, fault::Kind::Value, &message, Some(help));
        }
        if let Some((address, place)) = self.recipients.first().filter(|_| !known.contains(&"email")) {
            let message = format!("{} cannot be told: there is no [notify.email]", shown(address));
            sink.report(*place, fault::Kind::Value, &message, None);
        }
    }
}

/// What to say of a channel that is not there.
pub fn unknown(text: &str, known: &[&str]) -> (String, String) {
    let message = format!("there is no channel {}", shown(text));
    if text.contains('@') {
        return (message, "addresses stand in `to` of [notify.email], or in `alert_to` of a program".to_owned());
    }
    let webhook = known.iter().find(|name| name.strip_prefix("webhooks.") == Some(text)).copied();
    let last = |name: &&str| name.rsplit_once('.').map_or(*name, |(_, last)| last).to_owned();
    let lasts: Vec<String> = known.iter().map(last).collect();
    let by_last = || {
        let meant = words::meant(text, lasts.iter().map(String::as_str))?;
        known.iter().zip(&lasts).find(|(_, last)| *last == meant).map(|(name, _)| *name)
    };
    let help = match webhook.or_else(|| words::meant(text, known.iter().copied())).or_else(by_last) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None if text == "email" || text == "syslog" => format!("write [notify.{text}] to have it"),
        None if known.is_empty() => "there is none yet: write [notify.email]".to_owned(),
        None => format!("there are {}", known.join(", ")),
    };
    (message, help)
}
