//! What clients ask, and the answers.

use std::time::Duration;

use crate::alert::entry::Entry;
use crate::alert::notice::{Notice, Purpose};
use crate::alert::outcome::Outcome;
use crate::alert::silence;
use crate::model::event::Severity;
use crate::model::id::ChannelName;
use crate::model::notify::{Channel, Transport};
use crate::model::text::{escaped, shortened};
use crate::protocol::notifier::{
    Answer, ChannelReport, FromNotifier, MessageReport, Question, QueueReport, Silence, TestResult,
};

use super::super::network::{JobId, Order};
use super::sending::Job;
use super::telling::WORDS_MAX;
use super::{Alerts, Network, Now};

/// About how much of a report goes into one answer, in bytes; a packet holds more.
const PART: usize = 24 << 10;
/// How long a test takes at most.
const TEST_LIMIT: Duration = Duration::from_secs(120);
/// How many questions with tests are answered at once.
const TESTS_MAX: usize = 8;

/// A test that is under way.
pub struct Testing {
    left: usize,
    results: Vec<TestResult>,
}

impl<N: Network> Alerts<N> {
    fn answer(&mut self, ticket: u64, answer: Answer) {
        self.told.push(FromNotifier::Answer { ticket, answer, last: true });
    }

    pub(super) fn ask(&mut self, ticket: u64, question: Question, now: Now) {
        let answer = match question {
            Question::Queue => return self.report(ticket, now),
            Question::Test { channel } => return self.test(ticket, channel, now),
            Question::Retry { ids } => self.retry(&ids, now),
            Question::Drop { ids } => self.drop_messages(&ids),
            Question::Silence { selector, seconds, reason, by } => {
                self.save_now();
                match self.pipelines.silence(&selector, seconds, (&reason, &by), now) {
                    Ok(silence) => Answer::Silenced(shown(&silence)),
                    Err(why) => Answer::Failed(why),
                }
            }
            Question::Unsilence { silence } => {
                self.save_now();
                match self.pipelines.unsilence(&silence) {
                    0 => Answer::Unknown(silence),
                    count => Answer::Done { count },
                }
            }
            Question::Silences => return self.silences(ticket, now),
        };
        self.answer(ticket, answer);
    }

    fn silences(&mut self, ticket: u64, now: Now) {
        self.is_changed |= self.pipelines.expire_silences(now);
        let silences: Vec<Silence> = self.pipelines.silences.list().iter().map(shown).collect();
        let parts = parts(silences);
        let last = parts.len().saturating_sub(1);
        for (at, part) in parts.into_iter().enumerate() {
            self.told.push(FromNotifier::Answer { ticket, answer: Answer::Silences(part), last: at == last });
        }
    }

    /// In parts, each an answer that fits into a packet.
    fn report(&mut self, ticket: u64, now: Now) {
        let spool_failure = self.spool.failure().map(str::to_owned);
        let waiting: Vec<MessageReport> =
            self.queues.channels.values().flat_map(|q| q.entries().map(message)).collect();
        let unreadable = self.unreadable.iter().map(|(file, why)| MessageReport {
            id: file.clone(),
            channel: ChannelName(String::new()),
            subject: "not a message".to_owned(),
            time: now.wall,
            tries: 0,
            reason: Some(why.clone()),
        });
        let dead: Vec<MessageReport> = self.queues.dead().map(message).chain(unreadable).collect();
        let mut answers = Vec::new();
        for channels in parts(self.channel_reports(now)) {
            answers.push(QueueReport { channels, spool_failure: spool_failure.clone(), ..QueueReport::default() });
        }
        answers.extend(parts(waiting).into_iter().map(|waiting| QueueReport { waiting, ..QueueReport::default() }));
        answers.extend(parts(dead).into_iter().map(|dead| QueueReport { dead, ..QueueReport::default() }));
        let last = answers.len() - 1;
        for (at, answer) in answers.into_iter().enumerate() {
            self.told.push(FromNotifier::Answer { ticket, answer: Answer::Queue(answer), last: at == last });
        }
    }

    fn channel_reports(&self, now: Now) -> Vec<ChannelReport> {
        let Some(settings) = &self.settings else { return Vec::new() };
        settings.notify.channels.iter().map(|channel| self.channel_report(channel, now)).collect()
    }

    fn channel_report(&self, channel: &Channel, now: Now) -> ChannelReport {
        let channel = channel.name.clone();
        match self.queues.channels.get(&channel) {
            Some(queue) => ChannelReport {
                channel,
                health: queue.health(now.moment),
                waiting: queue.len() as u64,
                sent: queue.sent,
                failed: queue.failed,
                dropped: queue.dropped,
                last_success: queue.last_success,
                next_try_seconds: queue.next_try(now.moment).map(|wait| wait.as_secs()),
            },
            None => self.syslog.report(channel, now.moment),
        }
    }

    fn is_waiting(&self, id: &str) -> bool {
        self.queues.channels.values().flat_map(|queue| queue.entries()).any(|entry| entry.notice.id == id)
    }

    /// The first of these that is no message of ours.
    fn unknown(&self, ids: &[String]) -> Option<Answer> {
        let is_known = |id: &String| {
            self.is_waiting(id)
                || self.queues.dead().any(|entry| entry.notice.id == *id)
                || self.unreadable.iter().any(|(file, _)| file == id)
        };
        ids.iter().find(|id| !is_known(id)).map(|id| Answer::Unknown(id.clone()))
    }

    fn retry(&mut self, ids: &[String], now: Now) -> Answer {
        if let Some(unknown) = self.unknown(ids) {
            return unknown;
        }
        let mut count = 0;
        for queue in self.queues.channels.values_mut() {
            if ids.is_empty() {
                count += queue.retry(None, now.moment);
            }
            count += ids.iter().map(|id| queue.retry(Some(id), now.moment)).sum::<u64>();
        }
        let channels = &self.queues.channels;
        let has_channel: Vec<ChannelName> = channels.keys().cloned().collect();
        let wanted = |entry: &Entry| ids.is_empty() || ids.contains(&entry.notice.id);
        let stays = self.queues.dead().any(|entry| wanted(entry) && !has_channel.contains(&entry.notice.channel));
        for mut entry in self.queues.unbury_all(|entry| wanted(entry) && has_channel.contains(&entry.notice.channel)) {
            entry.revive();
            let bytes = self.spool.unbury(&entry);
            self.queues.channels.entry(entry.notice.channel.clone()).or_default().push(
                entry,
                bytes,
                Duration::ZERO,
                now.moment,
            );
            count += 1;
        }
        if count == 0 && stays {
            return Answer::Failed("the channel of the message is no longer configured".to_owned());
        }
        Answer::Done { count }
    }

    fn drop_messages(&mut self, ids: &[String]) -> Answer {
        if let Some(unknown) = self.unknown(ids) {
            return unknown;
        }
        let wanted = |id: &str| ids.is_empty() || ids.iter().any(|wanted| wanted == id);
        let mut count = 0;
        for entry in self.queues.unbury_all(|entry| wanted(&entry.notice.id)) {
            self.spool.remove_dead(&entry);
            count += 1;
        }
        let (dropped, kept) = std::mem::take(&mut self.unreadable).into_iter().partition(|(file, _)| wanted(file));
        self.unreadable = kept;
        let dropped: Vec<(String, String)> = dropped;
        for (file, _) in dropped {
            self.spool.remove_unreadable(&file);
            count += 1;
        }
        for id in ids {
            let removed: Vec<Entry> = self.queues.channels.values_mut().filter_map(|queue| queue.remove(id)).collect();
            count += removed.len() as u64;
            removed.iter().for_each(|entry| self.forget(entry));
        }
        let busy = ids.iter().find(|id| self.is_waiting(id));
        match busy {
            Some(id) => Answer::Failed(format!("{} is being sent now", escaped(id))),
            None => Answer::Done { count },
        }
    }

    /// Sends a message of its own on each channel, past pipelines and queues.
    fn test(&mut self, ticket: u64, wanted: Option<ChannelName>, now: Now) {
        let all = self.settings.as_ref().map_or_else(Vec::new, |settings| settings.notify.channels.clone());
        let channels: Vec<Channel> =
            all.into_iter().filter(|channel| wanted.as_ref().is_none_or(|name| *name == channel.name)).collect();
        let host = self.settings.as_ref().map_or_else(String::new, |settings| settings.host.clone());
        if channels.is_empty() {
            return self.answer(ticket, wanted.map_or(Answer::Tested(Vec::new()), |name| Answer::Unknown(name.0)));
        }
        if self.tests.len() >= TESTS_MAX {
            return self.answer(ticket, Answer::Failed("too many tests are under way".to_owned()));
        }
        self.tests.insert(ticket, Testing { left: channels.len(), results: Vec::new() });
        for channel in channels {
            let job = JobId(self.number());
            let limit = now.moment + TEST_LIMIT;
            if matches!(channel.transport, Transport::Syslog(_)) {
                self.jobs.insert(job, Job::Test { ticket, channel: channel.name.clone(), limit });
                self.order(Order::TestSyslog { channel: channel.name, job });
            } else {
                let notice = test_notice(self.pipelines.id(now), channel.name, &host, now);
                self.start_test(job, ticket, &Entry::new(notice), limit, now);
            }
        }
    }

    pub(super) fn test_line(&mut self, ticket: u64, line: String) {
        if self.tests.contains_key(&ticket) {
            self.told.push(FromNotifier::Answer { ticket, answer: Answer::Line(line), last: false });
        }
    }

    pub(super) fn test_ended(&mut self, ticket: u64, channel: ChannelName, outcome: Outcome) {
        let Some(testing) = self.tests.get_mut(&ticket) else { return };
        testing.left -= 1;
        let failure = failure(outcome).map(|words| shortened(&words, WORDS_MAX).into_owned());
        testing.results.push(TestResult { channel, failure });
        if testing.left == 0
            && let Some(testing) = self.tests.remove(&ticket)
        {
            self.tested(ticket, testing.results);
        }
    }

    fn tested(&mut self, ticket: u64, results: Vec<TestResult>) {
        let parts = parts(results);
        let last = parts.len().saturating_sub(1);
        for (at, part) in parts.into_iter().enumerate() {
            self.told.push(FromNotifier::Answer { ticket, answer: Answer::Tested(part), last: at == last });
        }
    }
}

/// Why a test did not reach everybody.
fn failure(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Sent => None,
        Outcome::Failed(failure) => Some(failure.words),
        Outcome::Recipients(results) => {
            let refused = results.into_iter().filter_map(|(to, result)| result.err().map(|why| format!("{to}: {why}")));
            let refused: Vec<String> = refused.collect();
            (!refused.is_empty()).then(|| refused.join("; "))
        }
    }
}

fn message(entry: &Entry) -> MessageReport {
    MessageReport {
        id: entry.notice.id.clone(),
        channel: entry.notice.channel.clone(),
        subject: entry.summary(),
        time: entry.notice.made_at,
        tries: entry.tries,
        reason: entry.reason.clone(),
    }
}

fn shown(silence: &silence::Silence) -> Silence {
    Silence {
        id: silence.id.clone(),
        selector: silence.selector.clone(),
        until: silence.until,
        reason: silence.reason.clone(),
        by: silence.by.clone(),
    }
}

/// The items in parts of about [`PART`] bytes; at least one part.
fn parts<T: serde::Serialize>(items: Vec<T>) -> Vec<Vec<T>> {
    let mut parts = vec![Vec::new()];
    let mut size = 0;
    for item in items {
        let length = serde_json::to_vec(&item).map_or(0, |json| json.len());
        if size > 0 && size + length > PART {
            parts.push(Vec::new());
            size = 0;
        }
        size += length;
        if let Some(part) = parts.last_mut() {
            part.push(item);
        }
    }
    parts
}

/// There is nothing to tell: the words are those of its purpose.
fn test_notice(id: String, channel: ChannelName, host: &str, now: Now) -> Notice {
    Notice {
        id,
        channel,
        recipients: Vec::new(),
        host: host.to_owned(),
        made_at: now.wall,
        purpose: Purpose::Test,
        severity: Severity::Info,
        items: Vec::new(),
        more_items: 0,
        root: None,
        dropped: 0,
    }
}
