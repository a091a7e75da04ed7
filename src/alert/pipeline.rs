//! One alert channel (email, a webhook): events in, notices out, each made once.
//!
//! **How it is driven.** `event` for each event of the supervisor, once (replays are the caller's to
//! recognise), with the verdict of [`Rules`](super::rules::Rules) on it; `output` with what a [`Wish`] asked
//! for; `tick` when [`Pipeline::deadline`] has come, and after each change of the silences: an added one, a
//! removed one, an expired one. A notice that `tick` returns counts as told: it is to be put on disk, together
//! with [`Pipeline::save`] of the same moment, before the events that led to it are acknowledged. `hurry`
//! before the last `tick` of a shutdown.
//!
//! **Alertmanager** forgets what is not posted again. [`Pipeline::firing`] is what a receiver takes for
//! firing: the caller posts it every two minutes at most, as long as it is not empty, in requests of
//! [`ITEMS_MAX`](super::notice::ITEMS_MAX) items, without notice, spool or token: a refresh that fails is
//! simply not made. The end of an incident comes as a notice like any other (`Item::ended`).
//!
//! **Bounds.** Incidents, occurrences and openings are limited in number; what is over is told as an
//! occurrence of its kind without a program. Counts always add up: over all items of an incident the sum of
//! `new` is the `count` of the last.
#![forbid(unsafe_code)]

mod notices;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::bucket::Bucket;
use super::flap::Openings;
use super::id::IdSource;
use super::incident::{Incident, Seen, Subject};
use super::members::Role;
use super::notice::{Item, Output};
use super::occurrence::{self, Occurrence};
use super::rules::Verdict;
use crate::model::event::{Event, Facts, Kind, Severity};
use crate::model::id::ChannelName;
use crate::model::id::{ProcessId, ProgramName};
use crate::model::notify::{About, Channel, Transport};
use crate::model::time::{Moment, WallTime};

/// Incidents of one channel that are followed at once, and kinds of occurrences.
pub const INCIDENTS_MAX: usize = 2000;
/// Programs whose latest openings are kept.
pub const OPENINGS_MAX: usize = 4000;

/// What the pipeline would like to have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wish {
    /// The last lines of this process. A notice waits for them for a second.
    pub output: Option<ProcessId>,
}

/// The supervisor, as far as its events tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Supervisor {
    #[default]
    Unknown,
    Running,
    /// It stops its programs.
    Stopping,
    /// It has ended as it should.
    Stopped,
}

#[derive(Debug)]
pub struct Pipeline {
    pub(super) channel: Channel,
    host: String,
    ids: IdSource,
    pub(super) incidents: BTreeMap<Subject, Incident>,
    pub(super) occurrences: BTreeMap<occurrence::Key, Occurrence>,
    pub(super) openings: BTreeMap<Subject, Openings>,
    /// By recipients; those that are full are not kept.
    pub(super) buckets: BTreeMap<Vec<String>, Bucket>,
    pub(super) dropped: u64,
    pub(super) supervisor: Supervisor,
    /// A notice was made here once.
    pub(super) has_told: bool,
    /// Something of what is saved differs from what it was at the last [`Pipeline::take_changed`].
    is_changed: bool,
}

impl Pipeline {
    pub fn new(channel: &Channel, host: &str, ids: IdSource) -> Self {
        Self {
            channel: channel.clone(),
            host: host.to_owned(),
            ids,
            incidents: BTreeMap::new(),
            occurrences: BTreeMap::new(),
            openings: BTreeMap::new(),
            buckets: BTreeMap::new(),
            dropped: 0,
            supervisor: Supervisor::Unknown,
            has_told: false,
            is_changed: false,
        }
    }

    /// The channel's settings from now on, and all programs that are configured: the incidents of others end.
    pub fn configure(&mut self, channel: &Channel, programs: &[ProgramName], now: Moment, wall: WallTime) {
        self.is_changed = true;
        self.channel = channel.clone();
        let known: BTreeSet<&ProgramName> = programs.iter().collect();
        let is_gone = |subject: &Subject| matches!(subject, Subject::Program(name) if !known.contains(name));
        for (_, incident) in self.incidents.iter_mut().filter(|(subject, _)| is_gone(subject)) {
            incident.remove(&self.channel.timing, now, wall);
        }
        self.openings.retain(|subject, _| !is_gone(subject));
    }

    /// Another channel is no longer configured: that it fails is over.
    pub fn forget_channel(&mut self, name: &ChannelName, now: Moment, wall: WallTime) {
        self.is_changed = true;
        let subject = Subject::Channel(name.clone());
        if let Some(incident) = self.incidents.get_mut(&subject) {
            incident.remove(&self.channel.timing, now, wall);
        }
        self.openings.remove(&subject);
    }

    pub fn event(
        &mut self,
        event: &Event,
        about: Option<&About>,
        verdict: Verdict,
        now: Moment,
        wall: WallTime,
    ) -> Wish {
        if self.watch_supervisor(event, &verdict, now, wall) {
            return Wish::default();
        }
        let (subject, instance) = subject_of(event, about);
        let seen = Seen { event, instance, severity: verdict.severity };
        let role = Role::of(event.kind);
        match subject {
            Some(subject) if role == Role::Bad && verdict.told => self.bad(subject, seen, about, verdict, now, wall),
            Some(subject) if role != Role::Momentary => {
                self.observe(&subject, seen, now);
                if verdict.told && matches!(subject, Subject::Program(_)) {
                    self.occurred(seen, about, verdict.recipients, now, wall);
                }
                Wish::default()
            }
            _ if verdict.told => {
                self.occurred(seen, about, verdict.recipients, now, wall);
                Wish::default()
            }
            _ => Wish::default(),
        }
    }

    /// Keeps in mind how the supervisor is. True: it started after it had ended without warning, and that is
    /// told in the event's place.
    fn watch_supervisor(&mut self, event: &Event, verdict: &Verdict, now: Moment, wall: WallTime) -> bool {
        let before = self.supervisor;
        self.supervisor = match event.kind {
            Kind::SupervisorStopping => Supervisor::Stopping,
            Kind::SupervisorStopped => Supervisor::Stopped,
            Kind::SupervisorStarted => Supervisor::Running,
            _ if matches!(before, Supervisor::Stopping | Supervisor::Stopped) => before,
            _ => Supervisor::Running,
        };
        self.is_changed |= self.supervisor != before;
        if event.kind != Kind::SupervisorStarted {
            return false;
        }
        self.is_changed = true;
        let open = self.open_incidents();
        self.incidents.values_mut().for_each(Incident::supervisor_restarted);
        let unclean = matches!(before, Supervisor::Running | Supervisor::Stopping);
        if !unclean || !(verdict.in_use || self.has_told) || Severity::Err > self.channel.min_severity {
            return false;
        }
        let were = if open == 1 { "1 incident was open".to_owned() } else { format!("{open} incidents were open") };
        let words = format!("the supervisor was restarted after it ended without warning; {were}");
        let facts = Facts { message: Some(words), ..event.facts.clone() };
        let event = Event { severity: Severity::Err, facts, ..event.clone() };
        let seen = Seen { event: &event, instance: 0, severity: Severity::Err };
        self.occurred(seen, None, Vec::new(), now, wall);
        true
    }

    fn bad(
        &mut self,
        subject: Subject,
        seen: Seen,
        about: Option<&About>,
        verdict: Verdict,
        now: Moment,
        wall: WallTime,
    ) -> Wish {
        if self.incidents.len() >= INCIDENTS_MAX && !self.incidents.contains_key(&subject) {
            self.beyond(seen, now, wall);
            return Wish::default();
        }
        self.is_changed = true;
        let in_shutdown = self.supervisor == Supervisor::Stopping;
        let timing = &self.channel.timing;
        let incident = self.incidents.entry(subject.clone()).or_insert_with(|| {
            Incident::new(self.ids.next(wall), subject.clone(), verdict.recipients, seen, in_shutdown)
        });
        incident.group_name = about.and_then(|about| about.group_name.clone());
        let was_flapping = incident.is_flapping();
        let opens = incident.is_new() || incident.ended.is_some();
        let mut wants = incident.bad(seen, timing, now);
        if output_lines(&self.channel) == 0 {
            incident.wants_no_output();
            wants = false;
        }
        if opens && (self.openings.len() < OPENINGS_MAX || self.openings.contains_key(&subject)) {
            let openings = self.openings.entry(subject.clone()).or_insert_with(|| Openings::new(subject.clone()));
            let flaps = openings.add(seen.event.time, timing, now) && seen.event.kind != Kind::ProcessFatal;
            openings.count();
            if flaps {
                incident.flap(openings.flaps(), openings.root.clone(), timing, now);
            }
        } else if let Some(openings) = self.openings.get_mut(&subject) {
            openings.count();
        }
        if was_flapping && !incident.is_flapping() {
            self.openings.remove(&subject);
        }
        let Subject::Program(program) = &subject else { return Wish::default() };
        Wish { output: wants.then(|| ProcessId::new(program, seen.instance)) }
    }

    fn observe(&mut self, subject: &Subject, seen: Seen, now: Moment) {
        let in_shutdown = self.supervisor == Supervisor::Stopping;
        let Some(incident) = self.incidents.get_mut(subject) else { return };
        self.is_changed = true;
        let was_flapping = incident.is_flapping();
        incident.observe(seen, in_shutdown, &self.channel.timing, now);
        if was_flapping && !incident.is_flapping() {
            self.openings.remove(subject);
        }
    }

    fn occurred(&mut self, seen: Seen, about: Option<&About>, recipients: Vec<String>, now: Moment, wall: WallTime) {
        let key = (seen.event.kind, seen.event.facts.program.clone());
        if self.occurrences.len() >= INCIDENTS_MAX && !self.occurrences.contains_key(&key) {
            self.beyond(seen, now, wall);
            return;
        }
        let group_name = about.and_then(|about| about.group_name.clone());
        self.occur(key, group_name, recipients, seen, now, wall);
    }

    /// There is no room to tell it apart: it counts among those of its kind.
    fn beyond(&mut self, seen: Seen, now: Moment, wall: WallTime) {
        self.occur((seen.event.kind, None), None, Vec::new(), seen, now, wall);
    }

    fn occur(
        &mut self,
        key: occurrence::Key,
        group_name: Option<String>,
        recipients: Vec<String>,
        seen: Seen,
        now: Moment,
        wall: WallTime,
    ) {
        self.is_changed = true;
        let id = || self.ids.next(wall);
        let new = || Occurrence::new(id(), key.clone(), group_name, recipients, seen);
        let occurrence = self.occurrences.entry(key.clone()).or_insert_with(new);
        occurrence.more(seen, id, &self.channel.timing, now);
    }

    /// The last lines of a process, as wished.
    pub fn output(&mut self, process: &ProcessId, output: Output) {
        let lines = output_lines(&self.channel);
        if let Some(incident) = self.incidents.get_mut(&Subject::Program(process.program.clone())) {
            incident.take_output(process, output, lines);
            self.is_changed = true;
        }
    }

    /// Notices of this channel were dropped: the next one says so.
    pub fn dropped(&mut self, notices: u64) {
        self.is_changed = true;
        self.dropped = self.dropped.saturating_add(notices);
    }

    /// The supervisor ends: the next `tick` makes what waits for company, unless there is no token.
    pub fn hurry(&mut self, now: Moment) {
        self.is_changed = true;
        self.incidents.values_mut().for_each(|incident| incident.hurry(now));
        self.occurrences.values_mut().for_each(|occurrence| occurrence.hurry(now));
    }

    /// Whether there is something new to be saved since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    pub fn open_incidents(&self) -> usize {
        self.incidents.values().filter(|incident| incident.ended.is_none()).count()
    }

    /// What the receivers were told of and not yet told the end of.
    pub fn firing(&self) -> Vec<Item> {
        let told = self.incidents.values().filter(|incident| incident.was_told());
        told.map(|incident| Item { new: 0, ended: None, ..incident.item() }).collect()
    }
}

/// What an event is about, and which process of it.
fn subject_of(event: &Event, about: Option<&About>) -> (Option<Subject>, u32) {
    if matches!(event.kind, Kind::NotifyFailing | Kind::NotifyRecovered) {
        return (event.facts.channel.clone().map(Subject::Channel), 0);
    }
    if let Some(about) = about {
        return (Some(Subject::Program(about.program.clone())), about.instance);
    }
    let shown = event.facts.process.as_deref().and_then(|process| process.rsplit_once(':'));
    let instance = shown.and_then(|(_, number)| number.parse().ok()).unwrap_or(0);
    (event.facts.program.clone().map(Subject::Program), instance)
}

/// How many lines of output the channel shows.
fn output_lines(channel: &Channel) -> usize {
    match &channel.transport {
        Transport::Email(email) => email.output_lines as usize,
        Transport::Webhook(webhook) => webhook.output_lines as usize,
        Transport::Syslog(_) => 0,
    }
}
