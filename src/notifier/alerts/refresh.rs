//! Alertmanager forgets what is not posted again: what fires is posted every two minutes, without a place
//! in the queue. A refresh that fails is made up for by the next one.

use std::time::Duration;

use crate::alert::entry::Entry;
use crate::alert::notice::{ITEMS_MAX, Item, Notice, Purpose};
use crate::model::event::Severity;
use crate::model::id::ChannelName;
use crate::model::notify::{Channel, Transport, WebhookFormat};

use super::super::network::JobId;
use super::sending::{Job, LIMIT};
use super::{Alerts, Network, Now};

/// Alertmanager's own `resolve_timeout` is five minutes.
const INTERVAL: Duration = Duration::from_secs(120);

impl<N: Network> Alerts<N> {
    /// Something may fire on these channels: they are looked at when the time comes.
    pub(super) fn expect_firing(&mut self, now: Now) {
        let Some(settings) = &self.settings else { return };
        for channel in settings.notify.channels.iter().filter(|channel| wants_refresh(channel)) {
            self.refresh.entry(channel.name.clone()).or_insert(now.moment + INTERVAL);
        }
    }

    pub(super) fn refresh_firing(&mut self, now: Now) {
        let due: Vec<ChannelName> =
            self.refresh.iter().filter(|(_, due)| **due <= now.moment).map(|(name, _)| name.clone()).collect();
        for name in due {
            let firing = self.pipelines.firing(&name);
            if firing.is_empty() || self.channel(&name).is_none_or(|channel| !wants_refresh(channel)) {
                self.refresh.remove(&name);
                continue;
            }
            self.refresh.insert(name.clone(), now.moment + INTERVAL);
            let is_busy = |job: &Job| matches!(job, Job::Refresh { channel, .. } if *channel == name);
            let is_well = self.queues.channels.get(&name).is_some_and(|queue| queue.next_try(now.moment).is_none());
            if !is_well || self.jobs.values().any(is_busy) {
                continue;
            }
            for items in firing.chunks(ITEMS_MAX) {
                self.post(&name, items, now);
            }
        }
    }

    fn post(&mut self, name: &ChannelName, items: &[Item], now: Now) {
        let notice = Notice {
            id: self.pipelines.id(now),
            channel: name.clone(),
            recipients: Vec::new(),
            host: self.settings.as_ref().map_or_else(String::new, |settings| settings.host.clone()),
            made_at: now.wall,
            purpose: Purpose::Reminder,
            severity: items.iter().map(|item| item.severity).min().unwrap_or(Severity::Info),
            items: items.to_vec(),
            more_items: 0,
            root: None,
            dropped: 0,
        };
        let job = JobId(self.number());
        self.jobs.insert(job, Job::Refresh { channel: name.clone(), limit: now.moment + LIMIT });
        self.start(job, name, &Entry::new(notice), false, now);
    }
}

fn wants_refresh(channel: &Channel) -> bool {
    matches!(&channel.transport, Transport::Webhook(webhook) if webhook.format == WebhookFormat::Alertmanager)
}
