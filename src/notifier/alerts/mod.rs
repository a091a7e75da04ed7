//! What the notifier's main thread does for alerts: events go into the pipelines, their notices into the
//! spool and the queues, from there to the network thread, a maildir or sendmail; what becomes of each
//! attempt goes back into the queues.
//!
//! A turn of the loop brings to disk what its messages have changed, in one go, and only then sends
//! anything. What events have changed in the pipelines alone may wait for a quarter of a second; the events
//! are acknowledged after that. New messages stand in the state until they have files of
//! their own, and no message leaves the spool while the state on disk still holds it: so a crash at any
//! step loses nothing and makes no second message of one.

mod leaving;
mod pipelines;
mod questions;
mod refresh;
mod saving;
mod secrets;
mod sending;
mod sendmail;
mod syslog;
mod tails;
mod telling;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::alert::entry::Entry;
use crate::alert::notice::Notice;
use crate::alert::queue::Queue;
use crate::alert::queues::Queues;
use crate::model::event::{Event, Kind};
use crate::model::id::ChannelName;
use crate::model::notify::{About, Channel, MailTransport, Transport};
use crate::model::time::{Moment, WallTime};
use crate::protocol::notifier::{Configure, FromNotifier, ToNotifier};
use crate::system::folder::Folder;
use crate::system::poll::Poll;

use super::network::{self, Gone, JobId, Message, News, Order, Secrets};
use super::render::Rendering;
use super::spool::Spool;
use pipelines::Pipelines;
use questions::Testing;
use saving::Saves;
use sending::Job;
use sendmail::Sendmail;
use tails::Tails;

/// The network thread, as it is seen from here.
pub trait Network {
    /// Never waits.
    ///
    /// # Errors
    /// When there is nobody to do it.
    fn order(&self, order: Order) -> Result<(), Gone>;
    /// What has come since the last time; never waits.
    fn news(&self) -> Vec<News>;
    /// Readable when there is news.
    fn bell(&self) -> Option<BorrowedFd<'_>>;
}

impl Network for network::Network {
    fn order(&self, order: Order) -> Result<(), Gone> {
        Self::order(self, order)
    }

    fn news(&self) -> Vec<News> {
        Self::news(self)
    }

    fn bell(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

/// Makes a message of a notice.
pub type Render = fn(&Notice, &Channel, &Rendering) -> Result<Message, String>;

/// What the notifier is given at its start.
#[derive(Default)]
pub struct Folders {
    pub spool: Option<Folder>,
    pub maildir: Option<Folder>,
}

/// Both clocks, read once for each turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub moment: Moment,
    pub wall: WallTime,
}

pub struct Alerts<N> {
    network: N,
    network_is_gone: bool,
    render: Render,
    settings: Option<Box<Configure>>,
    /// In force, and those that come before the next configuration.
    secrets: BTreeMap<ChannelName, Secrets>,
    arriving: BTreeMap<ChannelName, Secrets>,
    pipelines: Pipelines,
    queues: Queues,
    /// Of the settings of each channel (`mark`); first those of the earlier notifier.
    marks: BTreeMap<ChannelName, u64>,
    spool: Spool,
    /// Files in the spool that are no messages, and why.
    unreadable: Vec<(String, String)>,
    maildir: Option<Folder>,
    /// The run of the supervisor and the last event of it that the pipelines have.
    run: u64,
    seq: u64,
    /// The pipelines have heard something: they may have notices to make.
    is_changed: bool,
    saves: Saves,
    /// Messages that the state on disk holds; it must be written again before one of them goes.
    outbox: BTreeSet<String>,
    outbox_must_go: bool,
    jobs: BTreeMap<JobId, Job>,
    /// Numbers of jobs and tickets.
    count: u64,
    /// What has become of jobs that need no network.
    done: Vec<News>,
    sendmails: Vec<Sendmail>,
    tails: Tails,
    tests: BTreeMap<u64, Testing>,
    syslog: syslog::SyslogChannels,
    /// When what fires on an Alertmanager's channel is posted again.
    refresh: BTreeMap<ChannelName, Moment>,
    /// To be told to the core at the end of the turn.
    told: Vec<FromNotifier>,
    lost: BTreeMap<String, u64>,
    told_spool_failure: bool,
    drain: Option<Moment>,
}

impl<N: Network> Alerts<N> {
    /// Goes on where an earlier notifier has ended.
    pub fn new(network: N, render: Render, folders: Folders, now: Now) -> Self {
        let (spool, left) = Spool::open(folders.spool);
        let mut alerts = Self {
            network,
            network_is_gone: false,
            render,
            settings: None,
            secrets: BTreeMap::new(),
            arriving: BTreeMap::new(),
            pipelines: Pipelines::default(),
            queues: Queues::default(),
            marks: BTreeMap::new(),
            spool,
            unreadable: Vec::new(),
            maildir: folders.maildir,
            run: 0,
            seq: 0,
            is_changed: false,
            saves: Saves::default(),
            outbox: BTreeSet::new(),
            outbox_must_go: false,
            jobs: BTreeMap::new(),
            count: 0,
            done: Vec::new(),
            sendmails: Vec::new(),
            tails: Tails::default(),
            tests: BTreeMap::new(),
            syslog: syslog::SyslogChannels::default(),
            refresh: BTreeMap::new(),
            told: Vec::new(),
            lost: BTreeMap::new(),
            told_spool_failure: false,
            drain: None,
        };
        for (file, why) in left.unreadable {
            alerts.lose(1, &format!("{file} in the spool cannot be read: {why}"));
            alerts.unreadable.push((file, why));
        }
        for entry in left.dead {
            alerts.lay_to_rest(entry);
        }
        for (entry, bytes) in left.waiting {
            alerts.queue(entry, bytes, now);
        }
        if let Some(state) = left.state {
            alerts.restore(state, now);
        }
        alerts
    }

    fn queue(&mut self, entry: Entry, bytes: u64, now: Now) {
        let age = Duration::try_from(now.wall.duration_since(entry.notice.made_at)).unwrap_or_default();
        let queue = self.queues.channels.entry(entry.notice.channel.clone()).or_default();
        queue.push(entry, bytes, age, now.moment);
    }

    fn order(&mut self, order: Order) {
        self.network_is_gone |= self.network.order(order).is_err();
    }

    /// Then another notifier has to begin.
    pub fn network_is_gone(&self) -> bool {
        self.network_is_gone
    }

    /// A number that was never given before.
    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn channel(&self, name: &ChannelName) -> Option<&Channel> {
        self.settings.as_ref()?.notify.channels.iter().find(|channel| channel.name == *name)
    }

    /// Takes a message of the core; those that are not about alerts are none of ours.
    pub fn hear(&mut self, message: ToNotifier, descriptors: Vec<OwnedFd>, poll: &mut Poll, now: Now) {
        let mut descriptors = descriptors.into_iter();
        match message {
            ToNotifier::Secret { channel, kind } => self.secret(channel, kind, descriptors.next()),
            ToNotifier::Configure(settings) => self.configure(settings, now),
            ToNotifier::Output { ticket } => self.tails.open(ticket, descriptors.next(), poll),
            ToNotifier::Sendmail { ticket } => {
                self.sendmail_started(ticket, descriptors.next(), descriptors.next(), poll);
            }
            ToNotifier::SendmailEnded { ticket, result } => self.sendmail_ended(ticket, result, poll),
            ToNotifier::Ask { ticket, question } => self.ask(ticket, question, now),
            ToNotifier::Drain => {
                self.pipelines.hurry(now);
                (self.is_changed, self.saves.hurries) = (true, true);
                self.drain = Some(now.moment + self.drain_time());
            }
            ToNotifier::EventLog { .. } | ToNotifier::Console | ToNotifier::Event { .. } => {}
        }
    }

    fn drain_time(&self) -> Duration {
        self.settings.as_ref().map_or(Duration::ZERO, |settings| settings.notify.shutdown_drain)
    }

    /// Takes an event, unless the pipelines have it already.
    pub fn event(&mut self, event: &Event, about: Option<Box<About>>, now: Now) {
        if self.settings.is_none() || event.seq <= self.seq {
            return;
        }
        self.seq = event.seq;
        let about = about.map(|about| Arc::from(*about));
        let severity = self.pipelines.severity(event);
        let order = Order::Event { event: Arc::new(Event { severity, ..event.clone() }), about: about.clone() };
        self.order(order);
        self.is_changed = true;
        self.saves.events += 1;
        self.saves.hurries |= matches!(event.kind, Kind::SupervisorStopping | Kind::SupervisorStopped);
        for process in self.pipelines.event(event, about.as_deref(), now) {
            self.count += 1;
            if self.tails.want(self.count, &process, now.moment) {
                self.told.push(FromNotifier::WantOutput { ticket: self.count, process, pid: event.facts.pid });
            }
        }
    }

    fn configure(&mut self, settings: Box<Configure>, now: Now) {
        let secrets = std::mem::take(&mut self.arriving);
        let is_new_run = settings.run != self.run;
        if is_new_run {
            (self.run, self.seq) = (settings.run, 0);
        }
        for fault in self.pipelines.configure(&settings, now) {
            self.lose(0, &fault);
        }
        self.is_changed = true;
        let before = self.settings.replace(settings);
        let channels = self.settings.as_ref().map_or_else(Vec::new, |settings| settings.notify.channels.clone());
        for channel in channels.iter().filter(|channel| !matches!(channel.transport, Transport::Syslog(_))) {
            let earlier = before.iter().flat_map(|before| &before.notify.channels).find(|old| old.name == channel.name);
            let mark = mark(&channel.transport);
            let is_known = self.marks.insert(channel.name.clone(), mark) == Some(mark) && !is_new_run;
            // The secrets of an earlier notifier are not known: those of the same run are taken for the same.
            let has_secrets = earlier.is_none() || secrets.get(&channel.name) == self.secrets.get(&channel.name);
            let queue = self.queues.channels.entry(channel.name.clone()).or_default();
            if is_new_run && queue.len() == 0 {
                // Nobody waits: the next message shows how the channel is.
                *queue = Queue::default();
            }
            queue.configured(!(is_known && has_secrets), now.moment);
        }
        self.marks.retain(|name, _| channels.iter().any(|channel| channel.name == *name));
        self.secrets = secrets;
        self.bury_unconfigured(&channels);
        self.syslog.keep(|name| channels.iter().any(|channel| channel.name == *name));
        let with_secrets = |channel: Channel| {
            let secrets = self.secrets.get(&channel.name).cloned().unwrap_or_default();
            (channel, secrets)
        };
        let channels = channels.into_iter().map(with_secrets).collect();
        self.order(Order::Configure(channels));
        self.expect_firing(now);
    }

    /// One turn: everything that is due. Gives what is to be told to the core; what was heard before is on
    /// disk by then, as far as the disk takes it, once [`Alerts::is_saved`].
    pub fn turn(&mut self, poll: &mut Poll, now: Now) -> Vec<FromNotifier> {
        for (process, output) in self.tails.read(poll, now.moment) {
            self.pipelines.output(&process, &output);
            self.is_changed = true;
        }
        self.move_sendmails(poll, now);
        let mut news = std::mem::take(&mut self.done);
        news.extend(self.network.news());
        for news in news {
            self.heed(news, now);
        }
        self.give_up_late_jobs(now);
        self.take_notices(now);
        self.tend_queues(now);
        let chosen = self.choose(now);
        self.persist(now);
        for (channel, entry) in chosen {
            self.send(&channel, &entry, now);
        }
        self.refresh_firing(now);
        self.tell_health(now);
        self.tell_rest(now);
        let mut told = std::mem::take(&mut self.told);
        told.iter_mut().for_each(telling::shorten);
        told
    }

    /// What the pipelines have to tell becomes messages.
    fn take_notices(&mut self, now: Now) {
        if self.settings.is_none() {
            return;
        }
        if self.pipelines.deadline().is_none_or(|due| due > now.moment) && !self.is_changed {
            return;
        }
        self.is_changed = true;
        let notices = self.pipelines.tick(now);
        if !notices.is_empty() {
            self.expect_firing(now);
        }
        for notice in notices {
            let entry = Entry::new(notice);
            let bytes = self.spool.put(&entry);
            self.queue(entry, bytes, now);
        }
    }

    fn tell_health(&mut self, now: Now) {
        for (name, queue) in &mut self.queues.channels {
            if let Some((health, tell)) = queue.news(now.moment) {
                self.told.push(FromNotifier::Channel { channel: name.clone(), health, tell });
            }
        }
        self.told.extend(self.syslog.news(now.moment));
    }

    fn tell_rest(&mut self, now: Now) {
        let failure = self.spool.failure().map(str::to_owned);
        if failure.is_some() != self.told_spool_failure {
            self.told_spool_failure = failure.is_some();
            self.told.push(FromNotifier::Spool { failure });
        }
        for (why, messages) in std::mem::take(&mut self.lost) {
            self.told.push(FromNotifier::Lost { messages, why });
        }
        let is_idle = self.jobs.is_empty() && self.deadline().is_none_or(|due| due > now.moment);
        if self.drain.is_some_and(|end| is_idle || end <= now.moment) {
            self.drain = None;
            let left = self.queues.channels.values().map(|queue| queue.len() as u64).sum();
            self.told.push(FromNotifier::Drained { left });
        }
    }

    /// Messages are given up; told with the others of the same turn.
    fn lose(&mut self, messages: u64, why: &str) {
        // A few reasons a turn are enough to read; the count is complete.
        let known = self.lost.len() < 10 || self.lost.contains_key(why);
        *self.lost.entry(if known { why } else { "and more" }.to_owned()).or_default() += messages;
    }

    /// When the next turn is due, if nothing happens before.
    pub fn deadline(&self) -> Option<Moment> {
        if !self.done.is_empty() {
            return Some(Moment::default());
        }
        let max_age = self.settings.as_ref().map(|settings| settings.notify.spool.max_age);
        let queues = self.queues.channels.values().filter_map(|queue| queue.deadline(max_age?)).min();
        let pipelines = self.settings.as_ref().and_then(|_| self.pipelines.deadline());
        let limits = self.jobs.values().map(Job::limit).min();
        let refresh = self.refresh.values().copied().min();
        let save = Some(self.saves.next).filter(|_| self.saves.is_due);
        let others = [self.spool.deadline(), self.tails.deadline(), self.syslog.deadline(), self.drain, save];
        [queues, pipelines, limits, refresh].into_iter().chain(others).flatten().min()
    }

    /// The channel's own recipients; none for a webhook.
    fn recipients(&self, name: &ChannelName) -> Vec<String> {
        match self.channel(name).map(|channel| &channel.transport) {
            Some(Transport::Email(email)) => email.to.clone(),
            _ => Vec::new(),
        }
    }

    fn mail_transport(&self, name: &ChannelName) -> Option<&MailTransport> {
        match &self.channel(name)?.transport {
            Transport::Email(email) => Some(&email.via),
            _ => None,
        }
    }
}

/// Recognises a channel's settings. Another build may give other marks: then the channel is tried at once.
fn mark(transport: &Transport) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{transport:?}").hash(&mut hasher);
    hasher.finish()
}
