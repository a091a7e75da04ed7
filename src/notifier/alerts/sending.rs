//! From the queues to the network thread, a maildir or sendmail, and back.

use std::time::Duration;

use crate::alert::entry::Entry;
use crate::alert::outcome::{Class, Failure, Outcome};
use crate::model::id::ChannelName;
use crate::model::notify::MailTransport;
use crate::model::time::Moment;
use crate::protocol::notifier::FromNotifier;

use super::super::maildir;
use super::super::network::{JobId, Message, News, Order};
use super::super::render::Rendering;
use super::pipelines::random;
use super::sendmail::Sendmail;
use super::{Alerts, Network, Now};

/// Longer than any session lasts: an answer that has not come by then will not come.
pub const LIMIT: Duration = Duration::from_secs(900);

/// What the network thread or sendmail is busy with.
pub enum Job {
    /// The message of this channel that is under way.
    Message { channel: ChannelName, limit: Moment },
    /// A test for the question with this ticket.
    Test { ticket: u64, channel: ChannelName, limit: Moment },
    /// What fires on this channel, once more.
    Refresh { channel: ChannelName, limit: Moment },
}

impl Job {
    pub fn limit(&self) -> Moment {
        match self {
            Self::Message { limit, .. } | Self::Test { limit, .. } | Self::Refresh { limit, .. } => *limit,
        }
    }

    /// Whose message it is.
    pub fn channel(&self) -> Option<&ChannelName> {
        match self {
            Self::Message { channel, .. } => Some(channel),
            Self::Test { .. } | Self::Refresh { .. } => None,
        }
    }
}

impl<N: Network> Alerts<N> {
    /// The next message of each channel that may send one, marked as under way, also in the spool.
    pub(super) fn choose(&mut self, now: Now) -> Vec<(ChannelName, Entry)> {
        if self.settings.is_none() {
            return Vec::new();
        }
        let mut chosen = Vec::new();
        for (name, queue) in &mut self.queues.channels {
            if queue.wants_secrets(now.moment) {
                self.told.push(FromNotifier::WantSecrets);
            } else if let Some(entry) = queue.next(now.moment) {
                self.spool.put(entry);
                chosen.push((name.clone(), entry.clone()));
            }
        }
        chosen
    }

    /// Starts an attempt.
    pub(super) fn send(&mut self, channel: &ChannelName, entry: &Entry, now: Now) {
        let job = JobId(self.number());
        self.jobs.insert(job, Job::Message { channel: channel.clone(), limit: now.moment + LIMIT });
        self.start(job, channel, entry, false, now);
    }

    pub(super) fn start_test(&mut self, job: JobId, ticket: u64, entry: &Entry, limit: Moment, now: Now) {
        let channel = &entry.notice.channel;
        self.jobs.insert(job, Job::Test { ticket, channel: channel.clone(), limit });
        self.start(job, channel, entry, true, now);
    }

    pub(super) fn start(&mut self, job: JobId, name: &ChannelName, entry: &Entry, dialogue: bool, now: Now) {
        let recipients = entry.pending(&self.recipients(name));
        let Some(channel) = self.channel(name) else {
            return self.failed(job, Failure::new(Class::Permanent, "the channel is not configured"));
        };
        let how = Rendering { without_output: entry.without_output, sent_at: now.wall };
        let message = match (self.render)(&entry.notice, channel, &how) {
            Ok(message) => message,
            Err(why) => return self.failed(job, Failure::new(Class::Permanent, why)),
        };
        let message = match message {
            // Only those who are still to be told.
            Message::Mail { envelope_from, bytes, .. } => Message::Mail { envelope_from, recipients, bytes },
            post @ Message::Post { .. } => post,
        };
        match (self.mail_transport(name), message) {
            (Some(MailTransport::Maildir(_)), Message::Mail { bytes, .. }) => {
                let missing = || Failure::new(Class::Configuration, "the maildir is not there or cannot be written");
                let outcome = self.maildir.as_ref().map(|maildir| maildir::deliver(maildir, &entry.notice.id, &bytes));
                let outcome = outcome.unwrap_or_else(|| Outcome::Failed(missing()));
                self.done.push(News::Done { job, outcome });
            }
            (Some(MailTransport::Sendmail(_)), Message::Mail { recipients, bytes, .. }) => {
                self.sendmails.push(Sendmail::new(job, &bytes));
                self.told.push(FromNotifier::WantSendmail { ticket: job.0, channel: name.clone(), recipients });
            }
            (_, message) => self.order(Order::Send { channel: name.clone(), job, message, dialogue }),
        }
    }

    fn failed(&mut self, job: JobId, failure: Failure) {
        self.done.push(News::Done { job, outcome: Outcome::Failed(failure) });
    }

    pub(super) fn heed(&mut self, news: News, now: Now) {
        match news {
            News::Done { job, outcome } => self.ended(job, outcome, now),
            News::Line { job, line } => {
                if let Some(Job::Test { ticket, .. }) = self.jobs.get(&job) {
                    self.test_line(*ticket, line);
                }
            }
            News::Syslog { channel, news } => {
                if news.lost > 0 {
                    self.lose(news.lost, &format!("{channel}: its buffer was full"));
                }
                self.syslog.heed(channel, news, now.moment);
            }
        }
    }

    fn ended(&mut self, job: JobId, outcome: Outcome, now: Now) {
        match self.jobs.remove(&job) {
            Some(Job::Message { channel, .. }) => {
                let own = self.recipients(&channel);
                let dice = f64::from(random()) / f64::from(u32::MAX);
                let Some(queue) = self.queues.channels.get_mut(&channel) else { return };
                if let Some(settled) = queue.outcome(outcome, &own, now.moment, now.wall, dice) {
                    self.settle(settled);
                }
            }
            Some(Job::Test { ticket, channel, .. }) => self.test_ended(ticket, channel, outcome),
            Some(Job::Refresh { .. }) | None => {}
        }
    }

    /// Nobody answers for them any more.
    pub(super) fn give_up_late_jobs(&mut self, now: Now) {
        let late = self.jobs.iter().filter(|(_, job)| job.limit() <= now.moment);
        let late: Vec<JobId> = late.map(|(id, _)| *id).collect();
        for job in late {
            self.sendmails.retain(|sendmail| sendmail.job() != job);
            let failure = Failure::new(Class::Connection, "there was no answer in time");
            self.ended(job, Outcome::Failed(failure), now);
        }
    }
}
