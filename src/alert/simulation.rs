//! A pipeline in virtual time, for tests: events at their seconds, and the notices with theirs.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::id::IdSource;
use super::notice::Notice;
use super::pipeline::{Pipeline, Wish};
use super::rules::Rules;
use super::saved::Saved;
use super::silence::Silences;
use crate::model::event::{Event, Facts, Kind, Severity};
use crate::model::id::ChannelName;
use crate::model::id::ProgramName;
use crate::model::notify::{
    About, Alerts, Channel, Email, MailTransport, Rule, Timing, Transport, Webhook, WebhookFormat,
};
use crate::model::time::{Moment, WallTime};

pub fn name(text: &str) -> ProgramName {
    ProgramName::new(text).expect("a program name")
}

pub fn webhook(name: &str) -> Channel {
    let webhook = Webhook {
        url: "https://hooks.example.com/T1".to_owned(),
        format: WebhookFormat::Json,
        ca: None,
        secrets: 0,
        output_lines: 20,
        redact: Vec::new(),
    };
    Channel {
        name: ChannelName(name.to_owned()),
        min_severity: Severity::Info,
        timing: Timing::default(),
        transport: Transport::Webhook(webhook),
    }
}

pub fn email() -> Channel {
    let email = Email {
        via: MailTransport::Maildir("/var/mail".into()),
        from: "tm@example.com".to_owned(),
        to: vec!["ops@example.com".to_owned()],
        envelope_from: "tm@example.com".to_owned(),
        output_lines: 20,
        redact: Vec::new(),
    };
    Channel { transport: Transport::Email(email), ..webhook("email") }
}

/// The default rule: crashed, fatal and killed.
pub fn rule(to: &str) -> Rule {
    let on = ["process.crashed", "process.fatal", "process.killed"].map(str::to_owned).to_vec();
    Rule { on, to: vec![ChannelName(to.to_owned())], ..Rule::default() }
}

pub fn about(program: &str, instance: u32) -> About {
    About { program: name(program), instance, group_name: None, alerts: Alerts::default() }
}

pub struct Simulation {
    pub channel: Channel,
    pub pipeline: Pipeline,
    pub rules: Rules,
    pub silences: Silences,
    pub alerts: Alerts,
    pub notices: Vec<(u64, Notice)>,
    pub wishes: Vec<(u64, Wish)>,
    pub ids: IdSource,
    /// Milliseconds since the start.
    pub now: u64,
    /// How far the wall clock is off, in seconds.
    pub wall_offset: i64,
    seq: u64,
}

impl Simulation {
    pub fn new(channel: Channel, rules: &[Rule]) -> Self {
        let ids = IdSource::new(7);
        Self {
            pipeline: Pipeline::new(&channel, "h1", ids.clone()),
            channel,
            rules: Rules::new(rules),
            silences: Silences::default(),
            alerts: Alerts::default(),
            notices: Vec::new(),
            wishes: Vec::new(),
            ids,
            now: 0,
            wall_offset: 0,
            seq: 0,
        }
    }

    /// Email, the default rule, default timing.
    pub fn mail() -> Self {
        Self::new(email(), &[rule("email")])
    }

    /// The same with a change of the timing.
    pub fn timed(change: impl FnOnce(&mut Timing)) -> Self {
        let mut channel = email();
        change(&mut channel.timing);
        Self::new(channel, &[rule("email")])
    }

    pub fn moment(&self) -> Moment {
        Moment::new(Duration::from_millis(self.now))
    }

    pub fn wall(&self) -> WallTime {
        let millis = i64::try_from(self.now).expect("in range");
        WallTime::from_millisecond(1_795_162_323_000 + 1000 * self.wall_offset + millis).expect("in range")
    }

    pub fn tick(&mut self) {
        let (moment, wall) = (self.moment(), self.wall());
        self.silences.expire(moment);
        let made = self.pipeline.tick(&self.silences, moment, wall);
        self.notices.extend(made.into_iter().map(|notice| (self.now / 1000, notice)));
        let next = self.pipeline.deadline();
        assert!(next.is_none_or(|next| next > moment), "it would be woken at once, for ever: {:?}", self.pipeline);
    }

    /// Lets time pass, with a tick at each deadline.
    pub fn until(&mut self, seconds: u64) {
        self.until_millis(seconds * 1000);
    }

    pub fn until_millis(&mut self, target: u64) {
        assert!(target >= self.now, "time goes on");
        loop {
            let next = self.pipeline.deadline().into_iter().chain(self.silences.deadline()).min();
            let next = next.map(|next| u64::try_from(next.since(Moment::default()).as_millis()).expect("in range"));
            match next.filter(|next| *next <= target) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
            self.tick();
        }
        self.now = target;
        self.tick();
    }

    pub fn event(&mut self, kind: Kind, facts: Facts, about: Option<&About>) {
        self.seq += 1;
        let (time, severity) = (self.wall(), kind.severity());
        let event = Event { seq: self.seq, time, severity, kind, host: "h1".to_owned(), facts };
        let verdict = self.rules.verdict(&event, about, &self.channel);
        let wish = self.pipeline.event(&event, about, verdict, self.moment(), self.wall());
        if wish != Wish::default() {
            self.wishes.push((self.now / 1000, wish));
        }
    }

    /// An event of a process `web` or `web:3`, now.
    pub fn process(&mut self, process: &str, kind: Kind) {
        let (program, instance) = process.split_once(':').unwrap_or((process, "0"));
        let about = About { alerts: self.alerts.clone(), ..about(program, instance.parse().expect("a number")) };
        let facts = Facts { program: Some(name(program)), process: Some(process.to_owned()), ..Facts::default() };
        self.event(kind, facts, Some(&about));
    }

    /// At this second, these events of one process.
    pub fn at(&mut self, seconds: u64, process: &str, kinds: &[Kind]) {
        self.until(seconds);
        kinds.iter().for_each(|kind| self.process(process, *kind));
    }

    /// A new pipeline goes on where this one is, by way of JSON.
    pub fn restart(&mut self) {
        let json = serde_json::to_value(self.pipeline.save(self.moment())).expect("serialises");
        let saved = Saved::read(&json).expect("reads back");
        self.pipeline = Pipeline::new(&self.channel, "h1", self.ids.clone());
        self.pipeline.restore(saved, self.moment()).expect("restores");
        self.tick();
    }

    pub fn silence(&mut self, selector: &str, seconds: u64) {
        let (moment, wall) = (self.moment(), self.wall());
        self.silences.add(selector, Duration::from_secs(seconds), ("deploy", "ops"), moment, wall).expect("added");
        self.tick();
    }

    /// Every notice in a few words: `10 Problem web+1/1`, with `new` and `count`.
    pub fn told(&self) -> Vec<String> {
        let item = |item: &super::notice::Item| {
            let program = item.program.as_ref().map_or(item.event.kind.name(), |name| name.as_str());
            let ended = item.ended.as_ref().map_or_else(String::new, |ended| format!(" {:?}", ended.how));
            format!(" {program}+{}/{}{ended}", item.new, item.count)
        };
        let line = |(at, notice): &(u64, Notice)| {
            format!("{at} {:?}{}", notice.purpose, notice.items.iter().map(item).collect::<String>())
        };
        self.notices.iter().map(line).collect()
    }
}
