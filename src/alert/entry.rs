//! One notice in the queue, with all that has to survive a crash: who is done with, how often it was
//! tried, and why it was not taken.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::line;
use super::notice::Notice;
use crate::model::text::cut;

/// The longest reason, in bytes.
const REASON_MAX: usize = 1000;
/// The largest new message, in bytes of JSON. What becomes of its recipients is added later.
pub const ENTRY_MAX: usize = 512 << 10;
/// The longest words of one event in a message that is too large otherwise, in bytes.
const WORDS_MAX: usize = 1000;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub notice: Notice,
    /// Mail: recipients that are done with, for good. Whoever is not here is still to be told.
    #[serde(default)]
    pub recipients: BTreeMap<String, Fate>,
    #[serde(default)]
    pub tries: u32,
    /// The program's output was too large or disliked.
    #[serde(default)]
    pub without_output: bool,
    /// An attempt is under way.
    #[serde(default)]
    pub sending: bool,
    /// How often the notifier died during an attempt, in a row.
    #[serde(default)]
    pub crashes: u32,
    /// Why it was not taken the last time, or is buried.
    #[serde(default)]
    pub reason: Option<String>,
    /// Ids of the notices that this digest tells instead of them.
    #[serde(default)]
    pub merged: Vec<String>,
}

/// What became of one recipient.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Sent,
    Refused(String),
}

impl Entry {
    /// A new message. One that is too large loses output first, that of the least severe items before the
    /// others; then items, which are counted.
    pub fn new(notice: Notice) -> Self {
        let mut entry = Self::whole(notice);
        entry.shrink();
        entry
    }

    /// Keeps the message within [`ENTRY_MAX`].
    pub fn shrink(&mut self) {
        let mut over = size(self).saturating_sub(ENTRY_MAX);
        for item in self.notice.items.iter_mut().rev().filter(|item| item.output.is_some()) {
            if over == 0 {
                return;
            }
            over = over.saturating_sub(size(&item.output));
            item.output = None;
        }
        for item in self.notice.items.iter_mut().filter(|_| over > 0) {
            let words = item.event.facts.message.iter_mut();
            words.for_each(|words| words.truncate(cut(words, WORDS_MAX).len()));
        }
        while size(self) > ENTRY_MAX && self.notice.items.len() > 1 {
            self.notice.items.pop();
            self.notice.more_items += 1;
        }
    }

    fn whole(notice: Notice) -> Self {
        Self {
            notice,
            recipients: BTreeMap::new(),
            tries: 0,
            without_output: false,
            sending: false,
            crashes: 0,
            reason: None,
            merged: Vec::new(),
        }
    }

    /// Who is still to be told, when the channel's own recipients are `own`: addresses, each once; none for
    /// a webhook.
    pub fn pending(&self, own: &[String]) -> Vec<String> {
        let wanted = if self.notice.recipients.is_empty() { own } else { &self.notice.recipients };
        let mut pending: Vec<String> = Vec::new();
        for recipient in wanted.iter().map(|text| address(text)) {
            if !self.recipients.contains_key(recipient) && !pending.iter().any(|known| known == recipient) {
                pending.push(recipient.to_owned());
            }
        }
        pending
    }

    /// Those that refused it, with their reasons.
    pub fn refusals(&self) -> Option<String> {
        let refusals: Vec<String> = self.recipients.iter().filter_map(refusal).collect();
        (!refusals.is_empty()).then(|| refusals.join("; "))
    }

    pub fn set_reason(&mut self, reason: &str) {
        self.reason = Some(cut(reason, REASON_MAX).to_owned());
    }

    /// Out of the grave: as if it had never been tried, but for those who have it.
    pub fn revive(&mut self) {
        self.recipients.retain(|_, fate| *fate == Fate::Sent);
        self.without_output = false;
        self.sending = false;
        self.crashes = 0;
    }

    /// What it is about, in a few words, safe to show.
    pub fn summary(&self) -> String {
        let Some(first) = self.notice.items.first() else { return "nothing".to_owned() };
        let others = self.notice.items.len() as u64 - 1 + self.notice.more_items;
        let first = line::brief(&first.event);
        let first = cut(&first, 200);
        if others == 0 { first.to_owned() } else { format!("{first}, and {others} more") }
    }
}

/// In bytes of JSON.
fn size(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

/// The address alone of `Name <local@domain>`.
fn address(text: &str) -> &str {
    let inner = text.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or(text, |(address, _)| address).trim()
}

fn refusal((recipient, fate): (&String, &Fate)) -> Option<String> {
    match fate {
        Fate::Refused(reason) => Some(format!("{recipient}: {reason}")),
        Fate::Sent => None,
    }
}
