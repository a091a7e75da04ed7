//! How messages leave: sent, merged into another, given up and buried with the reason, or too many.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Alerts, Network, Now};
use crate::alert::entry::Entry;
use crate::alert::merge::merge;
use crate::alert::queue::Settled;
use crate::model::id::ChannelName;
use crate::model::notify::{Channel, Transport};

impl<N: Network> Alerts<N> {
    /// Messages of channels that are gone.
    pub(super) fn bury_unconfigured(&mut self, channels: &[Channel]) {
        let is_there = |name: &ChannelName| {
            channels.iter().any(|channel| channel.name == *name && !matches!(channel.transport, Transport::Syslog(_)))
        };
        let gone: Vec<ChannelName> = self.queues.channels.keys().filter(|name| !is_there(name)).cloned().collect();
        for name in gone {
            let Some(mut queue) = self.queues.channels.remove(&name) else { continue };
            for entry in queue.bury_all(&format!("the channel {name} is no longer configured")) {
                self.bury(entry);
            }
            self.jobs.retain(|_, job| job.channel() != Some(&name));
        }
    }

    /// Buries what is too old, merges what has waited too long, drops what is too much.
    pub(super) fn tend_queues(&mut self, now: Now) {
        let Some(settings) = &self.settings else { return };
        let limits = settings.notify.spool;
        let stale_after: BTreeMap<ChannelName, Duration> =
            settings.notify.channels.iter().map(|channel| (channel.name.clone(), channel.timing.stale_after)).collect();
        let mut buried = Vec::new();
        let mut merged = Vec::new();
        for (name, queue) in &mut self.queues.channels {
            buried.extend(queue.expire(limits.max_age, now.moment));
            let Some(stale_after) = stale_after.get(name) else { continue };
            for group in queue.take_stale(*stale_after, now.moment) {
                let Some(digest) = merge(group.clone()) else { continue };
                let bytes = self.spool.put(&digest);
                queue.push_digest(digest, bytes, *stale_after, now.moment);
                merged.extend(group);
            }
        }
        merged.iter().for_each(|entry| self.forget(entry));
        buried.into_iter().for_each(|entry| self.bury(entry));
        for entry in self.queues.bound(&limits) {
            self.pipelines.dropped(&entry.notice.channel);
            self.is_changed = true;
            self.lose(1, &format!("{}: the queue is full", entry.notice.channel));
            self.forget(&entry);
        }
    }

    /// It leaves the spool.
    pub(super) fn forget(&mut self, entry: &Entry) {
        self.outbox_must_go |= self.outbox.contains(&entry.notice.id);
        self.spool.remove(entry);
    }

    pub(super) fn bury(&mut self, entry: Entry) {
        self.outbox_must_go |= self.outbox.contains(&entry.notice.id);
        let reason = entry.reason.as_deref().unwrap_or("it was given up");
        self.lose(1, &format!("{}: {reason}", entry.notice.channel));
        self.spool.bury(&entry);
        self.lay_to_rest(entry);
    }

    pub(super) fn lay_to_rest(&mut self, entry: Entry) {
        for over in self.queues.bury(entry) {
            self.spool.remove_dead(&over);
        }
    }

    pub(super) fn settle(&mut self, settled: Settled) {
        match settled {
            Settled::Sent(entry) => self.forget(&entry),
            Settled::Buried(entry) => self.bury(*entry),
            Settled::Waits(entry) => drop(self.spool.put(&entry)),
        }
    }
}
