//! The queue of one channel: which message is sent next, and when; what an attempt means for the message
//! and for the channel; how the channel is.
//!
//! At most one message is under way. What fails for the channel's sake (Connection, Configuration, several
//! Temporary in a row) makes the whole channel wait, and then one message probes. What fails for its own
//! sake makes that message wait, or buries it. Every message taken in leaves as sent, buried with its
//! reason, dropped and counted, or merged into a digest that goes on in its place.
//!
//! A message is too old by the clock that counts while this notifier runs. What the wall clock says of the
//! time before counts only after the message was tried: after a start with a wrong clock nothing is buried
//! that the server would have taken.
#![forbid(unsafe_code)]

mod saved;

use std::collections::VecDeque;
use std::time::Duration;

use super::entry::{Entry, Fate};
use super::outcome::{Class, Failure, Outcome};
use super::retry;
use crate::model::notify::Health;
use crate::model::text::shortened;
use crate::model::time::{Moment, WallTime};
pub use saved::Failure as SavedFailure;

/// A channel that has failed this long is told through the others.
pub const TELL_AFTER: Duration = Duration::from_secs(600);
/// So many messages in a row that were not taken now: it is the channel.
const STREAK: u32 = 3;
/// One message probes so often before the next one may: it could be what breaks the server.
const PROBES: u32 = 3;
/// The longest words of one recipient's refusal, in bytes.
const REFUSAL_MAX: usize = 300;
/// The longest cause of a channel's failure, in bytes.
const CAUSE_MAX: usize = 1 << 10;
/// How many messages one digest tells instead of.
const MERGED_MAX: usize = 1000;
/// How long an answer to `WantSecrets` is waited for.
const SECRETS_WAIT: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Queue {
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    /// The id of the message that is being sent.
    under_way: Option<String>,
    pause: Option<Pause>,
    failing: Option<Failing>,
    /// How the channel is was told so: failing or not, and to everybody.
    told: (bool, bool),
    streak: u32,
    /// What is saved of it is out of date.
    has_changed: bool,
    /// It works, and nothing was merged since it did not, or since the start.
    is_merged: bool,
    pub sent: u64,
    pub failed: u64,
    pub dropped: u64,
    pub last_success: Option<WallTime>,
}

struct Waiting {
    entry: Entry,
    /// On disk.
    bytes: u64,
    /// How old it was when it came, and when that was.
    age: Duration,
    came: Moment,
    not_before: Option<Moment>,
    /// By this notifier.
    is_tried: bool,
}

struct Pause {
    until: Moment,
    class: Class,
    /// In a row, of this class.
    failures: u32,
    has_asked: bool,
}

struct Failing {
    since: Moment,
    /// So long it had failed then.
    before: Duration,
    cause: String,
}

impl Failing {
    fn lasted(&self, now: Moment) -> Duration {
        self.before.saturating_add(now.since(self.since))
    }
}

/// What became of a message after an attempt.
#[derive(Clone, PartialEq, Debug)]
pub enum Settled {
    /// Done: it leaves.
    Sent(Box<Entry>),
    /// It leaves, with its reason.
    Buried(Box<Entry>),
    /// It stays, changed.
    Waits(Box<Entry>),
}

impl Queue {
    /// Takes a message in. `age`: how old it is already.
    pub fn push(&mut self, entry: Entry, bytes: u64, age: Duration, now: Moment) {
        self.waiting.push_back(Waiting { entry, bytes, age, came: now, not_before: None, is_tried: false });
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.waiting.iter().map(|waiting| &waiting.entry)
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn bytes(&self) -> u64 {
        self.waiting.iter().map(|waiting| waiting.bytes).sum()
    }

    /// The message to send now, which is under way from here on.
    pub fn next(&mut self, now: Moment) -> Option<&Entry> {
        if self.under_way.is_some() || self.pause.as_ref().is_some_and(|pause| pause.until > now) {
            return None;
        }
        let due = |waiting: &&mut Waiting| waiting.not_before.is_none_or(|moment| moment <= now);
        let mut candidates = self.waiting.iter_mut().filter(due);
        let chosen = if self.failing.is_some() {
            candidates.min_by_key(|waiting| waiting.entry.tries / PROBES)
        } else {
            candidates.next()
        }?;
        chosen.not_before = None;
        chosen.is_tried = true;
        chosen.entry.sending = true;
        chosen.entry.tries = chosen.entry.tries.saturating_add(1);
        self.under_way = Some(chosen.entry.notice.id.clone());
        Some(&chosen.entry)
    }

    /// The attempt under way has ended. `own`: the channel's recipients; `dice`: 0 to 1.
    pub fn outcome(
        &mut self,
        outcome: Outcome,
        own: &[String],
        now: Moment,
        wall: WallTime,
        dice: f64,
    ) -> Option<Settled> {
        let id = self.under_way.take()?;
        let at = self.waiting.iter().position(|waiting| waiting.entry.notice.id == id)?;
        let entry = &mut self.waiting[at].entry;
        entry.sending = false;
        entry.crashes = 0;
        let verdict = match outcome {
            Outcome::Sent => {
                let all = entry.pending(own).into_iter().map(|recipient| (recipient, Ok(()))).collect();
                recipients(entry, all, own)
            }
            Outcome::Recipients(results) => recipients(entry, results, own),
            Outcome::Failed(failure) => Verdict::Failed(failure),
        };
        Some(match verdict {
            Verdict::Done => {
                self.worked(wall);
                self.sent += 1;
                Settled::Sent(Box::new(self.take(at)))
            }
            Verdict::Refused { any_sent } => {
                let reason = self.waiting[at].entry.refusals().unwrap_or_default();
                if any_sent {
                    self.worked(wall);
                } else {
                    self.answered(&reason, now);
                }
                self.bury(at, &reason)
            }
            Verdict::Later { any_sent, failure } => {
                if any_sent {
                    self.worked(wall);
                }
                self.failed(at, failure, any_sent, now, dice)
            }
            Verdict::Failed(failure) => self.failed(at, failure, false, now, dice),
        })
    }

    fn failed(&mut self, at: usize, failure: Failure, any_sent: bool, now: Moment, dice: f64) -> Settled {
        let Failure { class, words, .. } = &failure;
        match class {
            Class::Connection | Class::Configuration => {
                self.wait(&failure, now, dice);
                self.fails(words, now);
            }
            Class::Temporary => {
                if !any_sent {
                    self.fails(words, now);
                    self.streak += 1;
                }
                let tries = self.waiting[at].entry.tries;
                self.waiting[at].not_before = Some(now + retry::pause(&failure, tries, dice));
                if self.streak >= STREAK || failure.retry_after.is_some() {
                    self.wait(&failure, now, dice);
                }
            }
            Class::Content if !self.waiting[at].entry.without_output => {
                self.answered(words, now);
                self.waiting[at].entry.without_output = true;
            }
            Class::Content | Class::Permanent => {
                self.answered(words, now);
                return self.bury(at, words);
            }
        }
        let entry = &mut self.waiting[at].entry;
        entry.set_reason(words);
        Settled::Waits(Box::new(entry.clone()))
    }

    /// The channel took a message.
    fn worked(&mut self, wall: WallTime) {
        self.has_changed |= self.failing.is_some();
        (self.pause, self.failing, self.streak) = (None, None, 0);
        self.last_success = Some(wall);
    }

    /// The channel said no, but it is there.
    fn answered(&mut self, words: &str, now: Moment) {
        self.fails(words, now);
        (self.pause, self.streak) = (None, 0);
    }

    fn fails(&mut self, words: &str, now: Moment) {
        let (since, before) =
            self.failing.as_ref().map_or((now, Duration::ZERO), |failing| (failing.since, failing.before));
        self.has_changed = true;
        self.failing = Some(Failing { since, before, cause: shortened(words, CAUSE_MAX).into_owned() });
        self.is_merged = false;
    }

    /// The whole channel waits.
    fn wait(&mut self, failure: &Failure, now: Moment, dice: f64) {
        let before = self.pause.as_ref().filter(|pause| pause.class == failure.class);
        let failures = before.map_or(1, |pause| pause.failures.saturating_add(1));
        let until = now + retry::pause(failure, failures, dice);
        self.pause = Some(Pause { until, class: failure.class, failures, has_asked: false });
        self.has_changed = true;
    }

    fn bury(&mut self, at: usize, reason: &str) -> Settled {
        self.failed += 1;
        let mut entry = self.take(at);
        entry.set_reason(reason);
        Settled::Buried(Box::new(entry))
    }

    fn take(&mut self, at: usize) -> Entry {
        self.waiting.remove(at).expect("the caller has just found it there").entry
    }

    /// The notifier ends in an orderly way: what is under way has no end yet, and that is nobody's fault.
    pub fn abandon(&mut self) -> Option<&Entry> {
        let id = self.under_way.take()?;
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.entry.notice.id == id)?;
        waiting.entry.sending = false;
        Some(&waiting.entry)
    }

    /// Whether the secrets should be read again before the next try; says so once for each try.
    pub fn wants_secrets(&mut self, now: Moment) -> bool {
        let Some(pause) = &mut self.pause else { return false };
        let wants = pause.class == Class::Configuration
            && !pause.has_asked
            && pause.until <= now
            && self.under_way.is_none()
            && !self.waiting.is_empty();
        if wants {
            pause.has_asked = true;
            pause.until = now + SECRETS_WAIT;
        }
        wants
    }

    /// The configuration has come again, perhaps with other settings or secrets of this channel.
    pub fn configured(&mut self, is_changed: bool, now: Moment) {
        if is_changed {
            self.has_changed |= self.pause.is_some();
            self.pause = None;
            self.waiting.iter_mut().for_each(|waiting| waiting.not_before = None);
        } else if let Some(pause) = self.pause.as_mut().filter(|pause| pause.has_asked) {
            pause.until = pause.until.min(now);
        }
    }

    /// Tries this message at once, or all: how many.
    pub fn retry(&mut self, id: Option<&str>, now: Moment) -> u64 {
        let mut count = 0;
        for waiting in self.waiting.iter_mut().filter(|waiting| id.is_none_or(|id| waiting.entry.notice.id == id)) {
            waiting.not_before = None;
            count += 1;
        }
        if let Some(pause) = self.pause.as_mut().filter(|_| count > 0) {
            pause.until = pause.until.min(now);
            self.has_changed = true;
        }
        count
    }

    /// Throws a message away, unless it is under way.
    pub fn remove(&mut self, id: &str) -> Option<Entry> {
        let at =
            self.waiting.iter().position(|waiting| waiting.entry.notice.id == id && !self.is_under_way(waiting))?;
        self.dropped += 1;
        Some(self.take(at))
    }

    /// Drops what is least severe, of that the oldest; never what is under way.
    pub fn drop_least(&mut self) -> Option<Entry> {
        let idle = self.waiting.iter().enumerate().filter(|(_, waiting)| !self.is_under_way(waiting));
        let (at, _) = idle.rev().max_by_key(|(_, waiting)| waiting.entry.notice.severity)?;
        self.dropped += 1;
        Some(self.take(at))
    }

    fn is_under_way(&self, waiting: &Waiting) -> bool {
        self.under_way.as_deref() == Some(waiting.entry.notice.id.as_str())
    }

    /// Buries what is too old.
    pub fn expire(&mut self, max_age: Duration, now: Moment) -> Vec<Entry> {
        let mut buried = Vec::new();
        while let Some(at) = self.waiting.iter().position(|w| w.is_over(max_age, now) && !self.is_under_way(w)) {
            let last = self.waiting[at].entry.reason.take();
            let words = "it could not be sent in time";
            let reason = last.map_or_else(|| words.to_owned(), |last| format!("{words}; at last: {last}"));
            if let Settled::Buried(entry) = self.bury(at, &reason) {
                buried.push(*entry);
            }
        }
        buried
    }

    /// Everything, in a channel that is no longer there.
    pub fn bury_all(&mut self, reason: &str) -> Vec<Entry> {
        self.under_way = None;
        let mut buried: Vec<Entry> = self.waiting.drain(..).map(|waiting| waiting.entry).collect();
        self.failed += buried.len() as u64;
        buried.iter_mut().for_each(|entry| entry.set_reason(reason));
        buried
    }

    /// When the channel works again, once: what has waited too long and was never tried, in groups that go
    /// to the same people. The caller puts a digest in the place of each.
    pub fn take_stale(&mut self, stale_after: Duration, now: Moment) -> Vec<Vec<Entry>> {
        if self.failing.is_some() || self.last_success.is_none() || std::mem::replace(&mut self.is_merged, true) {
            return Vec::new();
        }
        let is_stale = |w: &Waiting| w.is_older(stale_after, now) && w.entry.tries == 0;
        let (stale, fresh): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(is_stale);
        let mut groups: Vec<Vec<Waiting>> = Vec::new();
        for waiting in stale {
            let tells = |waiting: &Waiting| waiting.entry.merged.len() + 1;
            let same = |group: &&mut Vec<Waiting>| {
                group[0].entry.notice.recipients == waiting.entry.notice.recipients
                    && group.iter().map(tells).sum::<usize>() + tells(&waiting) <= MERGED_MAX
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.push(waiting),
                None => groups.push(vec![waiting]),
            }
        }
        let (alone, groups): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.len() == 1);
        self.waiting.extend(alone.into_iter().flatten().chain(fresh));
        groups.into_iter().map(|group| group.into_iter().map(|waiting| waiting.entry).collect()).collect()
    }

    /// Puts a digest in front: it is what has waited the longest.
    pub fn push_digest(&mut self, entry: Entry, bytes: u64, age: Duration, now: Moment) {
        self.waiting.push_front(Waiting { entry, bytes, age, came: now, not_before: None, is_tried: false });
    }

    pub fn health(&self, now: Moment) -> Health {
        match &self.failing {
            None => Health::Well,
            Some(failing) => Health::Failing { seconds: failing.lasted(now).as_secs(), cause: failing.cause.clone() },
        }
    }

    /// How the channel is, if that is news; and whether everybody should know.
    pub fn news(&mut self, now: Moment) -> Option<(Health, bool)> {
        let long = self.failing.as_ref().is_some_and(|failing| failing.lasted(now) >= TELL_AFTER);
        let news = (self.failing.is_some(), long);
        let before = std::mem::replace(&mut self.told, news);
        (news != before).then(|| (self.health(now), long || before.1))
    }

    /// Until the next try, while the channel fails.
    pub fn next_try(&self, now: Moment) -> Option<Duration> {
        self.failing.as_ref()?;
        self.next_send().map(|due| due.since(now))
    }

    /// When something is to be sent; `Moment::default()`: at once.
    fn next_send(&self) -> Option<Moment> {
        if self.under_way.is_some() {
            return None;
        }
        let first = self.waiting.iter().map(|waiting| waiting.not_before.unwrap_or_default()).min()?;
        Some(first.max(self.pause.as_ref().map_or(Moment::default(), |pause| pause.until)))
    }

    /// When this queue has to be looked at again.
    pub fn deadline(&self, max_age: Duration) -> Option<Moment> {
        let tell = self
            .failing
            .as_ref()
            .filter(|_| !self.told.1)
            .map(|failing| failing.since + TELL_AFTER.saturating_sub(failing.before));
        let idle = self.waiting.iter().filter(|waiting| !self.is_under_way(waiting));
        let expiry = idle.map(|waiting| waiting.came + max_age.saturating_sub(waiting.counted_age())).min();
        [tell, expiry, self.next_send()].into_iter().flatten().min()
    }
}

impl Waiting {
    fn is_older(&self, than: Duration, now: Moment) -> bool {
        self.age.saturating_add(now.since(self.came)) >= than
    }

    /// How old it was when it came, as far as that buries it.
    fn counted_age(&self) -> Duration {
        if self.is_tried { self.age } else { Duration::ZERO }
    }

    fn is_over(&self, max_age: Duration, now: Moment) -> bool {
        self.counted_age().saturating_add(now.since(self.came)) >= max_age
    }
}

enum Verdict {
    Done,
    /// All are done with; some have refused it.
    Refused {
        any_sent: bool,
    },
    /// Some are to be told later; why, by the worst for the channel.
    Later {
        any_sent: bool,
        failure: Failure,
    },
    Failed(Failure),
}

/// What became of the recipients that were tried, written down.
fn recipients(entry: &mut Entry, results: Vec<(String, Result<(), Failure>)>, own: &[String]) -> Verdict {
    let tried = entry.pending(own);
    let mut later: Option<Failure> = None;
    let mut any_sent = false;
    for (recipient, result) in results {
        if !tried.contains(&recipient) {
            continue;
        }
        match result {
            Ok(()) => {
                any_sent = true;
                entry.recipients.insert(recipient, Fate::Sent);
            }
            Err(Failure { class: Class::Permanent | Class::Content, words, .. }) => {
                entry.recipients.insert(recipient, Fate::Refused(shortened(&words, REFUSAL_MAX).into_owned()));
            }
            Err(failure) => {
                let failure = Failure { words: format!("{recipient}: {}", failure.words), ..failure };
                if later.as_ref().is_none_or(|known| failure.class < known.class) {
                    later = Some(failure);
                }
            }
        }
    }
    if !entry.pending(own).is_empty() {
        let unsaid = || Failure::new(Class::Temporary, "the server did not say what became of all recipients");
        return Verdict::Later { any_sent, failure: later.unwrap_or_else(unsaid) };
    }
    if entry.refusals().is_some() { Verdict::Refused { any_sent } } else { Verdict::Done }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
