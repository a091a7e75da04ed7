//! What the notifier's main thread does for alerts: events go into the pipelines, their notices into the
//! spool and the queues, from there to the network thread, a maildir or sendmail; what becomes of each
//! attempt goes back into the queues.
//!
//! A turn of the loop brings to disk what its messages have changed, in one go, and only then sends
//! anything. What events have changed in the pipelines alone may wait for a quarter of a second; the events
//! are acknowledged after that. New messages stand in the state until they have files of
//! their own, and no message leaves the spool while the state on disk still holds it: so a crash at any
//! step loses nothing and makes no second message of one.

mod pipelines;
mod questions;
mod refresh;
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

use serde::{Deserialize, Serialize};

use crate::alert::entry::Entry;
use crate::alert::merge::merge;
use crate::alert::notice::Notice;
use crate::alert::queue::{Queue, SavedFailure, Settled};
use crate::alert::queues::Queues;
use crate::model::event::{Event, Kind};
use crate::model::notify::{About, Channel, ChannelName, MailTransport, Transport};
use crate::model::time::{Moment, WallTime};
use crate::protocol::notifier::{Configure, FromNotifier, ToNotifier};
use crate::system::folder::Folder;
use crate::system::poll::Poll;

use super::network::{self, Gone, JobId, Message, News, Order, Secrets};
use super::render::Rendering;
use super::spool::{STATE_MAX, Spool};
use pipelines::Pipelines;
use questions::Testing;
use sending::Job;
use sendmail::Sendmail;
use tails::Tails;

/// The least time from one writing of the state to the next, while nothing hurries.
const SAVE_INTERVAL: Duration = Duration::from_millis(250);
/// Half of the events that the core sends before it waits for an acknowledgement.
const UNSAVED_MAX: usize = 256;

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

/// When the state is written. All of it is written each time: a flood of events makes it no more often than
/// the disk can bear, and the events wait that long for their acknowledgement.
#[derive(Default)]
struct Saves {
    /// The pipelines differ from what was saved last.
    is_due: bool,
    /// Events since then.
    events: usize,
    /// Not before, unless something hurries.
    next: Moment,
    /// The supervisor ends: at once, from now on.
    hurries: bool,
}

#[derive(Serialize)]
struct State<'a, P> {
    run: u64,
    seq: u64,
    pipelines: P,
    outbox: Vec<&'a Entry>,
    /// Channels that fail, with the mark of their settings.
    failing: BTreeMap<&'a str, (u64, SavedFailure)>,
}

#[derive(Deserialize)]
struct SavedState {
    run: u64,
    seq: u64,
    #[serde(default)]
    pipelines: serde_json::Value,
    #[serde(default)]
    outbox: Vec<serde_json::Value>,
    #[serde(default)]
    failing: BTreeMap<ChannelName, serde_json::Value>,
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

    fn restore(&mut self, state: serde_json::Value, now: Now) {
        let state = match serde_json::from_value::<SavedState>(state) {
            Ok(state) => state,
            Err(error) => {
                self.lose(0, &format!("state.json in the spool is not what it should be: {error}"));
                return;
            }
        };
        (self.run, self.seq) = (state.run, state.seq);
        self.pipelines = Pipelines::restore(&state.pipelines, now);
        for (channel, failure) in state.failing {
            // Without it the channel is tried at once.
            let Ok((mark, failure)) = serde_json::from_value::<(u64, SavedFailure)>(failure) else { continue };
            self.queues.channels.entry(channel.clone()).or_default().restore(failure, now.moment, now.wall);
            self.marks.insert(channel, mark);
        }
        for entry in state.outbox {
            let Ok(entry) = serde_json::from_value::<Entry>(entry) else {
                self.lose(1, "a message in state.json is not what it should be");
                continue;
            };
            self.outbox.insert(entry.notice.id.clone());
            let is_buried = self.queues.dead().any(|dead| dead.notice.id == entry.notice.id);
            let is_merged =
                self.queues.channels.values().flat_map(Queue::entries).any(|e| e.merged.contains(&entry.notice.id));
            if self.spool.is_unfiled(&entry) && !is_buried && !is_merged {
                let bytes = self.spool.put(&entry);
                self.queue(entry, bytes, now);
            }
        }
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
                self.told.push(FromNotifier::WantOutput { ticket: self.count, process });
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

    /// Messages of channels that are gone.
    fn bury_unconfigured(&mut self, channels: &[Channel]) {
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

    /// Buries what is too old, merges what has waited too long, drops what is too much.
    fn tend_queues(&mut self, now: Now) {
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
    fn forget(&mut self, entry: &Entry) {
        self.outbox_must_go |= self.outbox.contains(&entry.notice.id);
        self.spool.remove(entry);
    }

    fn bury(&mut self, entry: Entry) {
        self.outbox_must_go |= self.outbox.contains(&entry.notice.id);
        let reason = entry.reason.as_deref().unwrap_or("it was given up");
        self.lose(1, &format!("{}: {reason}", entry.notice.channel));
        self.spool.bury(&entry);
        self.lay_to_rest(entry);
    }

    fn lay_to_rest(&mut self, entry: Entry) {
        for over in self.queues.bury(entry) {
            self.spool.remove_dead(&over);
        }
    }

    fn settle(&mut self, settled: Settled) {
        match settled {
            Settled::Sent(entry) => self.forget(&entry),
            Settled::Buried(entry) => self.bury(*entry),
            Settled::Waits(entry) => drop(self.spool.put(&entry)),
        }
    }

    /// What the events so far have changed is on disk.
    pub fn is_saved(&self) -> bool {
        !self.saves.is_due
    }

    /// What somebody asked for is on disk before it is answered.
    fn save_now(&mut self) {
        (self.is_changed, self.saves.next) = (true, Moment::default());
    }

    /// Brings everything to disk, the state if it is time for it.
    fn persist(&mut self, now: Now) {
        self.is_changed = false;
        self.saves.is_due |= self.pipelines.take_changed();
        if !self.spool.is_on_disk() {
            self.saves.is_due = false;
            return;
        }
        let health_changes = self.queues.channels.values_mut().map(Queue::take_change).fold(false, |a, b| a | b);
        let entries = self.queues.channels.values().flat_map(Queue::entries);
        let unfiled: Vec<&Entry> = entries.filter(|entry| self.spool.is_unfiled(entry)).collect();
        let new: BTreeSet<String> = unfiled.iter().map(|entry| entry.notice.id.clone()).collect();
        let is_time = self.saves.hurries || self.saves.events >= UNSAVED_MAX || self.saves.next <= now.moment;
        let saves = self.outbox_must_go || !new.is_empty() || health_changes || (self.saves.is_due && is_time);
        let mut is_saved = false;
        if saves {
            let (run, seq, pipelines) = (self.run, self.seq, self.pipelines.save(now));
            let state = State { run, seq, pipelines, outbox: unfiled, failing: self.failing(now) };
            // The state has string keys only: to_vec cannot fail on it.
            let bytes = serde_json::to_vec(&state).unwrap_or_default();
            drop(state);
            is_saved = bytes.len() <= STATE_MAX;
            if is_saved {
                self.spool.save(bytes);
                self.outbox.extend(new.iter().cloned());
            } else if new.is_empty() {
                self.lose(0, &format!("the state of {} bytes is too large to be saved", bytes.len()));
            }
            // What was too large for the state with its new messages fits when they have files of their own.
            let is_due = !is_saved && !new.is_empty();
            let next = if is_due { Moment::default() } else { now.moment + SAVE_INTERVAL };
            self.saves = Saves { is_due, next, hurries: self.saves.hurries, ..Saves::default() };
        }
        if self.spool.flush(now.moment) && is_saved {
            (self.outbox, self.outbox_must_go) = (new, false);
        }
    }

    /// The channels that fail, as they are to be on disk.
    fn failing(&self, now: Now) -> BTreeMap<&str, (u64, SavedFailure)> {
        let failing = self.queues.channels.iter().filter_map(|(name, queue)| {
            let failure = queue.failure(now.moment, now.wall)?;
            Some((name.0.as_str(), (self.marks.get(name).copied().unwrap_or_default(), failure)))
        });
        failing.collect()
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

    /// The core is gone, in an orderly way or not: what is under way goes on in the next notifier.
    pub fn end(&mut self, now: Now) {
        for queue in self.queues.channels.values_mut() {
            if let Some(entry) = queue.abandon() {
                self.spool.put(entry);
            }
        }
        self.saves.hurries = true;
        self.saves.is_due |= self.settings.is_some();
        self.persist(now);
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
