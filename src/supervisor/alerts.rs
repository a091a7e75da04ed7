//! What the notifier is given to tell people: the configuration with its secrets, and directories of its
//! own; and what it says of its channels.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::SecretFile;
use crate::model::event::{Facts, Kind};
use crate::model::id::ChannelName;
use crate::model::notify::{Health, MailTransport, Notify, Transport};
use crate::model::text::{cut, escaped};
use crate::model::time::{Moment, human};
use crate::protocol::alerting::{ChannelProblem, SPOOL as SPOOL_NAME};
use crate::protocol::notifier::{Configure, ToNotifier};
use crate::system::directory::{self, Readers};
use crate::system::{clock, file};
use crate::worker::channel::Passed;
use crate::worker::confine::{MAILDIR, SPOOL};

use super::core::Core;
use super::load::TrustedFiles;
use super::role::{Numbers, Role};

/// The open files of secrets, by path.
pub type Secrets = BTreeMap<PathBuf, Passed>;

/// Between two answers to `WantSecrets`.
const SECRETS_AGAIN: Duration = Duration::from_secs(10);
/// Between two events of one channel's state, and between two of lost alerts once [`LOST_BURST`] came at
/// once: a notifier that somebody else has taken over must not push other events out.
const EVENT_AGAIN: Duration = Duration::from_secs(10);
const LOST_BURST: u32 = 10;
/// So much of what a notifier says of a channel is kept, in bytes.
const CAUSE_MAX: usize = 500;

/// What the core keeps of alerts.
#[derive(Default)]
pub struct Alerts {
    /// Wall clock at the start, in milliseconds: marks this run.
    run: u64,
    secrets: Secrets,
    /// `WantSecrets` was said, and not answered yet.
    wanted: bool,
    answered: Option<Moment>,
    channels: BTreeMap<ChannelName, ChannelHealth>,
    lost: Lost,
    /// What is wrong with the directories, as far as it was told.
    directories: BTreeMap<i32, String>,
}

/// How a channel is, as its notifier has said last.
#[derive(Clone, Debug)]
pub struct ChannelHealth {
    pub health: Health,
    /// When it was said: `Failing` counts its seconds up to here.
    pub since: Moment,
    /// What was told to everybody last: that it is well?
    told_well: Option<bool>,
    told_at: Option<Moment>,
    /// It has changed since, and that is to be told when it is time.
    owed: bool,
}

/// Alerts that were given up, as far as no event has said so yet.
#[derive(Default)]
struct Lost {
    messages: u64,
    reports: u64,
    /// Of the last report.
    why: String,
    /// Events of the time since `since`.
    told: u32,
    since: Moment,
}

impl Lost {
    fn add(&mut self, messages: u64, why: &str) {
        self.messages = self.messages.saturating_add(messages);
        self.reports = self.reports.saturating_add(1);
        self.why = escaped(cut(why, CAUSE_MAX)).into_owned();
    }

    fn deadline(&self) -> Option<Moment> {
        let due = if self.told < LOST_BURST { Moment::default() } else { self.since + EVENT_AGAIN };
        (self.reports > 0).then_some(due)
    }

    /// The event that is due now, in words.
    fn event(&mut self, now: Moment) -> Option<(Kind, String)> {
        if self.deadline().is_none_or(|due| due > now) {
            return None;
        }
        // Whoever was silent for a while may say several things at once again.
        let quiet = u32::try_from(now.since(self.since).as_secs() / EVENT_AGAIN.as_secs()).unwrap_or(u32::MAX);
        if quiet > 0 {
            self.told = self.told.saturating_sub(quiet);
            self.since = now;
        }
        self.told += 1;
        let (messages, reports) = (std::mem::take(&mut self.messages), std::mem::take(&mut self.reports));
        let mut words = std::mem::take(&mut self.why);
        if reports > 1 {
            words.push_str(&format!(" (the last of {reports} reports)"));
        }
        if messages == 0 {
            return Some((Kind::NotifyFailing, words));
        }
        let plural = if messages == 1 { " was" } else { "s were" };
        Some((Kind::OutputDropped, format!("{messages} alert{plural} given up: {words}")))
    }
}

impl Alerts {
    pub fn new(run: u64, secrets: Secrets) -> Self {
        Self { run, secrets, ..Self::default() }
    }

    /// Those by which nothing gets through now.
    pub fn problems(&self, now: Moment) -> Vec<ChannelProblem> {
        let problem = |(channel, known): (&ChannelName, &ChannelHealth)| match &known.health {
            Health::Well => None,
            Health::Failing { seconds, cause } => {
                let seconds = seconds.saturating_add(now.since(known.since).as_secs());
                Some(ChannelProblem { channel: channel.clone(), seconds, cause: cause.clone() })
            }
        };
        self.channels.iter().filter_map(problem).collect()
    }

    /// When something is to be done here.
    pub fn deadline(&self) -> Option<Moment> {
        let owed = self.channels.values().filter(|known| known.owed).filter_map(|known| known.told_at);
        let owed = owed.map(|at| at + EVENT_AGAIN).min();
        [self.secrets_due(), owed, self.lost.deadline()].into_iter().flatten().min()
    }

    /// Channels that had to wait before they are told, and may be now.
    fn owed(&mut self, now: Moment) -> Vec<ChannelName> {
        let is_due = |known: &ChannelHealth| known.owed && known.told_at.is_none_or(|at| at + EVENT_AGAIN <= now);
        let mut due = Vec::new();
        for (name, known) in self.channels.iter_mut().filter(|(_, known)| is_due(known)) {
            known.owed = false;
            known.told_at = Some(now);
            known.told_well = Some(known.health == Health::Well);
            due.push(name.clone());
        }
        due
    }

    /// When `WantSecrets` is answered.
    fn secrets_due(&self) -> Option<Moment> {
        self.wanted.then(|| self.answered.map_or_else(Moment::default, |last| last + SECRETS_AGAIN))
    }

    /// Whether `WantSecrets` is to be answered now; then it is.
    fn answers(&mut self, now: Moment) -> bool {
        let due = self.secrets_due().is_some_and(|due| due <= now);
        if due {
            self.wanted = false;
            self.answered = Some(now);
        }
        due
    }

    /// A channel's notifier says how it is; whether everybody is to know.
    fn heard(&mut self, channel: &ChannelName, health: &Health, tell: bool, now: Moment) -> bool {
        let is_well = *health == Health::Well;
        let known = self.channels.get(channel).and_then(|known| known.told_well);
        let before = self.channels.get(channel);
        let told_at = before.and_then(|before| before.told_at);
        let owed = known != Some(is_well) && (tell || before.is_some_and(|before| before.owed));
        let tells = owed && told_at.is_none_or(|at| at + EVENT_AGAIN <= now);
        let (told_well, told_at) = if tells { (Some(is_well), Some(now)) } else { (known, told_at) };
        let owed = owed && !tells;
        let health = match health {
            Health::Well => Health::Well,
            Health::Failing { seconds, cause } => {
                Health::Failing { seconds: *seconds, cause: escaped(cut(cause, CAUSE_MAX)).into_owned() }
            }
        };
        self.channels.insert(channel.clone(), ChannelHealth { health, since: now, told_well, told_at, owed });
        tells
    }
}

impl Core {
    /// A new configuration, whose secrets are open, is in force.
    pub(super) fn alerts_configured(&mut self, secrets: Option<Secrets>, old: &Notify) {
        if let Some(secrets) = secrets {
            self.alerts.secrets = secrets;
        }
        let configured = |name: &ChannelName| self.config.notify.channels.iter().any(|channel| channel.name == *name);
        self.alerts.channels.retain(|name, _| name.0 == SPOOL_NAME || configured(name));
        if maildir(old) == maildir(&self.config.notify) {
            self.configure_notifier();
        } else {
            // Its confinement names the directories, once and for all.
            self.replace_notifier();
        }
    }

    /// Tells the notifier all that it must know of how people are told.
    pub(super) fn configure_notifier(&mut self) {
        for SecretFile { channel, kind, path } in self.config.secrets.clone() {
            // Whoever had it before has read it to its end.
            if let Some(file) = self.alerts.secrets.get(&path).cloned()
                && file::rewind(&file).is_ok()
            {
                self.tell_notifier(&ToNotifier::Secret { channel, kind }, vec![file]);
            }
        }
        let configure = Configure {
            notify: self.config.notify.clone(),
            run: self.alerts.run,
            host: self.journal.host().to_owned(),
            programs: self.config.programs.iter().map(|program| program.name.clone()).collect(),
        };
        self.tell_notifier(&ToNotifier::Configure(Box::new(configure)), Vec::new());
    }

    /// The notifier thinks that a secret has changed.
    pub(super) fn secrets_are_wanted(&mut self, now: Moment) {
        self.alerts.wanted = true;
        self.tend_secrets(now);
    }

    /// Answers `WantSecrets`, when it is time.
    pub(super) fn tend_secrets(&mut self, now: Moment) {
        if !self.alerts.answers(now) {
            return;
        }
        let files = TrustedFiles::new(self.own_uid);
        for secret in self.config.secrets.clone() {
            match files.open_secret(&secret.path) {
                Ok(open) => drop(self.alerts.secrets.insert(secret.path, open)),
                // The file that was open before is still what is used.
                Err(words) => {
                    let words = format!("its secret {}: {words}", escaped(&secret.path.to_string_lossy()));
                    let facts = Facts { channel: Some(secret.channel), ..Facts::message(words) };
                    self.record(Kind::NotifyFailing, facts);
                }
            }
        }
        self.configure_notifier();
    }

    pub(super) fn channel_is(&mut self, channel: &ChannelName, health: &Health, tell: bool) {
        if !self.config.notify.channels.iter().any(|known| known.name == *channel) {
            // Of a configuration that is gone.
            return;
        }
        if self.alerts.heard(channel, health, tell, clock::now()) {
            self.tell_channel(channel);
        }
    }

    /// The spool is told like a channel: when it fails, and when it takes messages again.
    pub(super) fn spool_is(&mut self, failure: Option<String>) {
        let spool = ChannelName(SPOOL_NAME.to_owned());
        let health = failure.map_or(Health::Well, |cause| Health::Failing { seconds: 0, cause });
        if self.alerts.heard(&spool, &health, true, clock::now()) {
            self.tell_channel(&spool);
        }
    }

    /// Says what had to wait, because too much was said before.
    pub(super) fn tend_alerts(&mut self, now: Moment) {
        for channel in self.alerts.owed(now) {
            self.tell_channel(&channel);
        }
        while let Some((kind, words)) = self.alerts.lost.event(now) {
            self.record(kind, Facts::message(words));
        }
        self.tend_secrets(now);
    }

    fn tell_channel(&mut self, channel: &ChannelName) {
        let is_spool = channel.0 == SPOOL_NAME;
        let (kind, words) = match self.alerts.channels.get(channel).map(|known| &known.health) {
            Some(Health::Failing { cause, .. }) if is_spool => {
                (Kind::NotifyFailing, format!("alerts cannot be saved, they wait in memory: {cause}"))
            }
            Some(Health::Well) | None if is_spool => (Kind::NotifyRecovered, "alerts are saved again".to_owned()),
            Some(Health::Failing { seconds, cause }) => {
                let time = human(Duration::from_secs(*seconds));
                (Kind::NotifyFailing, format!("no alert has got through by {channel} for {time}: {cause}"))
            }
            Some(Health::Well) | None => (Kind::NotifyRecovered, format!("alerts get through by {channel} again")),
        };
        self.record(kind, Facts { channel: Some(channel.clone()), ..Facts::message(words) });
    }

    pub(super) fn alerts_are_lost(&mut self, messages: u64, why: &str) {
        self.alerts.lost.add(messages, why);
        if let Some((kind, words)) = self.alerts.lost.event(clock::now()) {
            self.record(kind, Facts::message(words));
        }
    }

    /// The directories that a new notifier finds open, with their numbers. One that cannot be had is told,
    /// once; the notifier works without it.
    pub(super) fn notifier_directories(&mut self) -> Vec<(i32, OwnedFd)> {
        let numbers = self.own.worker_uids.of(Role::Notifier);
        let owner = match numbers {
            Some(Numbers { uid, gid }) => directory::Owner::Other(uid, gid),
            None => directory::Owner::Ourselves(self.own_uid),
        };
        let spool = self.config.supervisor.state_dir.join("alerts");
        let mut wanted = vec![(SPOOL, spool, Readers::Owner)];
        wanted.extend(maildir(&self.config.notify).map(|path| (MAILDIR, path.to_owned(), Readers::Others)));
        self.alerts.directories.retain(|number, _| wanted.iter().any(|(wanted, ..)| wanted == number));
        let mut open = Vec::new();
        for (number, path, readers) in wanted {
            match directory::of_worker(&path, owner, readers) {
                Ok(directory) => {
                    open.push((number, directory));
                    if self.alerts.directories.remove(&number).is_some() {
                        let words = format!("{} can be used again", escaped(&path.to_string_lossy()));
                        self.record(Kind::NotifyRecovered, Facts::message(words));
                    }
                }
                Err(error) => {
                    let without = match number {
                        SPOOL => "alerts are kept in memory only, and lost when the notifier ends",
                        _ => "no mail can be written there",
                    };
                    let words = format!("{error}; {without}");
                    if self.alerts.directories.insert(number, words.clone()).as_ref() != Some(&words) {
                        self.record(Kind::NotifyFailing, Facts::message(words));
                    }
                }
            }
        }
        open
    }
}

fn maildir(notify: &Notify) -> Option<&Path> {
    notify.channels.iter().find_map(|channel| match &channel.transport {
        Transport::Email(email) => match &email.via {
            MailTransport::Maildir(path) => Some(path.as_path()),
            MailTransport::Smtp(_) | MailTransport::Sendmail(_) => None,
        },
        Transport::Syslog(_) | Transport::Webhook(_) => None,
    })
}

/// Marks a run: the wall clock in milliseconds.
pub fn run_mark() -> u64 {
    u64::try_from(clock::wall().as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(1000 + seconds))
    }

    #[test]
    fn secrets_are_sent_again_at_most_once_in_ten_seconds_and_no_wish_is_lost() {
        let mut alerts = Alerts::default();
        assert!(!alerts.answers(at(0)), "nobody has asked");
        alerts.wanted = true;
        assert!(alerts.answers(at(0)));
        for _ in 0..1000 {
            alerts.wanted = true;
            assert!(!alerts.answers(at(9)));
        }
        assert_eq!(alerts.deadline(), Some(at(10)));
        assert!(alerts.answers(at(10)));
        assert_eq!(alerts.deadline(), None);
    }

    #[test]
    fn a_channel_fails_for_as_long_as_it_has_not_said_otherwise() {
        let mut alerts = Alerts::default();
        let channel = |name: &str| ChannelName(name.to_owned());
        let failing = Health::Failing { seconds: 40, cause: "refused".to_owned() };
        alerts.heard(&channel("syslog"), &Health::Well, false, at(0));
        alerts.heard(&channel("email"), &failing, false, at(0));
        let problem = ChannelProblem { channel: channel("email"), seconds: 45, cause: "refused".to_owned() };
        assert_eq!(alerts.problems(at(5)), [problem]);
        alerts.heard(&channel("email"), &Health::Well, false, at(6));
        assert!(alerts.problems(at(7)).is_empty());
        let full = Health::Failing { seconds: 0, cause: "full".to_owned() };
        assert!(alerts.heard(&channel(SPOOL_NAME), &full, true, at(8)));
        assert_eq!(alerts.problems(at(9))[0].channel.0, "spool");
    }

    #[test]
    fn a_channel_that_fails_or_recovers_is_told_once_each_time() {
        let mut alerts = Alerts::default();
        let email = ChannelName("email".to_owned());
        let failing = |seconds| Health::Failing { seconds, cause: format!("\u{1b}no{}", "x".repeat(10_000)) };
        assert!(!alerts.heard(&email, &failing(1), false, at(0)));
        assert!(alerts.heard(&email, &failing(600), true, at(1)));
        assert!(!alerts.heard(&email, &failing(700), true, at(2)), "it is known");
        assert!(!alerts.heard(&email, &Health::Well, false, at(3)));
        assert!(alerts.heard(&email, &Health::Well, true, at(14)));
        assert!(!alerts.heard(&email, &Health::Well, true, at(15)));
        assert!(alerts.heard(&email, &failing(600), true, at(26)));
        let Health::Failing { cause, .. } = &alerts.channels[&email].health else { panic!("it fails") };
        assert!(cause.starts_with("\\x1bno") && cause.len() < 600, "{cause}");
    }

    #[test]
    fn a_notifier_that_says_too_much_makes_few_events_and_everything_is_summed_up() {
        let (mut alerts, mut events, mut messages) = (Alerts::default(), 0, 0);
        let email = ChannelName("email".to_owned());
        let failing = Health::Failing { seconds: 600, cause: "no".to_owned() };
        let mut told = 0;
        for n in 0..10_000 {
            let now = Moment::new(Duration::from_millis(1_000_000 + n * 6)); // a minute in all
            alerts.lost.add(1, "why");
            while let Some((kind, words)) = alerts.lost.event(now) {
                assert_eq!(kind, Kind::OutputDropped);
                messages += words.split(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a count");
                events += 1;
            }
            let health = if n % 2 == 0 { failing.clone() } else { Health::Well };
            told += u64::from(alerts.heard(&email, &health, true, now));
            told += alerts.owed(now).len() as u64;
        }
        assert!((1..=17).contains(&events) && (1..=7).contains(&told), "{events} {told}");
        let end = at(200);
        assert!(alerts.deadline().is_some_and(|due| due <= end));
        let (_, words) = alerts.lost.event(end).expect("the rest");
        assert!(words.starts_with(&format!("{} alerts were given up: why (the last of", 10_000 - messages)), "{words}");
        alerts.owed(end);
        assert_eq!(alerts.deadline(), None);
        assert_eq!(alerts.channels[&email].told_well, Some(true), "as it is in the end");
    }
}
