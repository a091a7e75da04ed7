//! Which events are told on which channels, and how severe they count there.
#![forbid(unsafe_code)]

use glob::Pattern;

use crate::model::event::{Event, Kind, Severity};
use crate::model::id::ChannelName;
use crate::model::notify::{About, Channel, Rule, Transport};

/// What the rules say about one event on one channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// It is told here.
    pub told: bool,
    pub severity: Severity,
    /// Mail addresses instead of the channel's own; empty: the channel's.
    pub recipients: Vec<String>,
    /// Some rule names this channel: it is there for alerts.
    pub in_use: bool,
}

/// `[[notify.rules]]`, ready to be asked.
#[derive(Default)]
pub struct Rules(Vec<Compiled>);

struct Compiled {
    on: Vec<Pattern>,
    not_on: Vec<Pattern>,
    programs: Vec<Pattern>,
    severity: Option<Severity>,
    to: Vec<ChannelName>,
}

/// The patterns were checked with the configuration; one that is none matches nothing.
fn patterns(texts: &[String]) -> Vec<Pattern> {
    texts.iter().filter_map(|text| Pattern::new(text).ok()).collect()
}

impl Compiled {
    fn new(rule: &Rule) -> Self {
        let mut programs = patterns(&rule.programs);
        if programs.is_empty() && !rule.programs.is_empty() {
            programs.push(Pattern::default()); // matches no name
        }
        let (on, not_on) = (patterns(&rule.on), patterns(&rule.not_on));
        Self { on, not_on, programs, severity: rule.severity, to: rule.to.clone() }
    }

    fn matches(&self, event: &Event) -> bool {
        let any = |patterns: &[Pattern], text: &str| patterns.iter().any(|pattern| pattern.matches(text));
        let kind = event.kind.name();
        let program = event.facts.program.as_ref();
        any(&self.on, kind)
            && !any(&self.not_on, kind)
            && (self.programs.is_empty() || program.is_some_and(|name| any(&self.programs, name.as_str())))
    }
}

impl Rules {
    pub fn new(rules: &[Rule]) -> Self {
        Self(rules.iter().map(Compiled::new).collect())
    }

    /// How severe the event counts: as the last matching rule with a `severity` says. Syslog asks this alone.
    pub fn severity(&self, event: &Event) -> Severity {
        let says = |rule: &Compiled| rule.severity.filter(|_| rule.matches(event));
        self.0.iter().rev().find_map(says).unwrap_or(event.severity)
    }

    pub fn verdict(&self, event: &Event, about: Option<&About>, channel: &Channel) -> Verdict {
        let severity = self.severity(event);
        let alerts = about.map(|about| &about.alerts);
        let is_ours = |rule: &&Compiled| rule.to.contains(&channel.name);
        let in_use = self.0.iter().any(|rule| is_ours(&rule));
        let wanted = match event.kind {
            // Whatever the rules are: to all but the one that cannot tell it.
            Kind::NotifyFailing | Kind::NotifyRecovered => event.facts.channel.as_ref() != Some(&channel.name),
            _ if self.is_named(event, about, channel) => true,
            _ => self.0.iter().filter(is_ours).any(|rule| rule.matches(event)),
        };
        let told = wanted && severity <= channel.min_severity && alerts.is_none_or(|alerts| alerts.enabled);
        let is_mail = matches!(channel.transport, Transport::Email(_));
        let mut recipients = alerts.filter(|_| is_mail).map_or_else(Vec::new, |alerts| alerts.recipients.clone());
        recipients.sort();
        recipients.dedup();
        Verdict { told, severity, recipients, in_use }
    }

    /// `alert_to` names the channel, or addresses for the mail channel: it is told what is bad, and what any
    /// rule takes for worth telling.
    fn is_named(&self, event: &Event, about: Option<&About>, channel: &Channel) -> bool {
        let Some(alerts) = about.map(|about| &about.alerts) else { return false };
        let by_address = matches!(channel.transport, Transport::Email(_)) && !alerts.recipients.is_empty();
        let is_bad = matches!(event.kind, Kind::ProcessCrashed | Kind::ProcessFatal | Kind::ProcessKilled);
        (by_address || alerts.channels.contains(&channel.name))
            && (is_bad || self.0.iter().any(|rule| rule.matches(event)))
    }
}
