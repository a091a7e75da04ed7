//! One program on one channel, from its first bad event until it is well: what has happened, what of it was
//! told, and what of it is to be told when.
//!
//! An incident is open until `ended`; it is forgotten when its end was told, or when nobody was told of it
//! and nobody is to be. [`telling`] says when.
#![forbid(unsafe_code)]

mod telling;

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::telling::Need;
use self::telling::{REMINDERS_MAX, Told};
use super::deadline::Deadline;
use super::members::{Members, Role};
use super::notice::{End, Ended, Flaps, Output};
use super::silence::Silences;
use crate::model::event::{Event, Kind, Severity, wall_time};
use crate::model::id::ChannelName;
use crate::model::id::{ProcessId, ProgramName};
use crate::model::notify::Timing;
use crate::model::state::State;
use crate::model::time::{Moment, WallTime};

/// How many processes are shown.
pub const PROCESSES_MAX: usize = 20;
/// How long a notice waits for the output that belongs to it, and the least time between two wishes.
const OUTPUT_WAIT: Duration = Duration::from_secs(1);
/// Of the output that is kept, in bytes of JSON: what a program writes makes no file larger than it should be.
const OUTPUT_BYTES: usize = 8192;

/// What an incident is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    Program(ProgramName),
    /// Another channel, which fails.
    Channel(ChannelName),
}

/// One event, and whom it is about.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'e> {
    pub event: &'e Event,
    /// Of the subject; 0 for a channel.
    pub instance: u32,
    /// As the channel's rules count it.
    pub severity: Severity,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Incident {
    pub id: String,
    pub subject: Subject,
    pub group_name: Option<String>,
    pub recipients: Vec<String>,
    severity: Severity,
    /// The worst since the last notice, or the last bad one; and the instance it is about.
    event: Event,
    instance: u32,
    #[serde(with = "wall_time")]
    started_at: WallTime,
    #[serde(with = "wall_time")]
    last_at: WallTime,
    count: u64,
    processes: Vec<String>,
    members: Members,
    state: Option<State>,
    output: Option<Output>,
    /// The output is being fetched: a notice waits until then.
    output_by: Option<Deadline>,
    /// No other wish before.
    output_again: Option<Deadline>,
    /// Opened while the supervisor was stopping its programs.
    in_shutdown: bool,
    pub ended: Option<Ended>,
    /// Until when nothing may change for it to have settled.
    flapping: Option<Deadline>,
    /// What made it flap: the count is of the incidents before this one.
    #[serde(default)]
    flaps: Option<Flaps>,
    told: Option<Told>,
    due: Option<Deadline>,
    quiet_until: Option<Deadline>,
    reminders: VecDeque<Deadline>,
    pub root: Option<String>,
    /// As of the last tick.
    #[serde(skip)]
    pub is_silenced: bool,
}

impl Incident {
    /// Begins with a bad event, which `bad` is told next.
    pub fn new(id: String, subject: Subject, recipients: Vec<String>, seen: Seen, in_shutdown: bool) -> Self {
        Self {
            id,
            subject,
            group_name: None,
            recipients,
            severity: seen.severity,
            event: seen.event.clone(),
            instance: seen.instance,
            started_at: seen.event.time,
            last_at: seen.event.time,
            count: 0,
            processes: Vec::new(),
            members: Members::default(),
            state: None,
            output: None,
            output_by: None,
            output_again: None,
            in_shutdown,
            ended: None,
            flapping: None,
            flaps: None,
            told: None,
            due: None,
            quiet_until: None,
            reminders: VecDeque::new(),
            root: None,
            is_silenced: false,
        }
    }

    /// A bad event that is to be told. Whether the output of its process is wanted.
    pub fn bad(&mut self, seen: Seen, timing: &Timing, now: Moment) -> bool {
        self.reopen();
        self.is_silenced = false; // perhaps not this process: the next tick sees
        self.count = self.count.saturating_add(1);
        self.last_at = seen.event.time;
        self.members.bad(seen.instance);
        let name = seen.event.facts.process.as_ref();
        if let Some(name) = name.filter(|name| self.processes.len() < PROCESSES_MAX && !self.processes.contains(name)) {
            self.processes.push(name.clone());
        }
        let wants = self.choose(seen, now);
        self.severity = self.severity.min(seen.severity);
        self.change(seen, timing, now);
        wants
    }

    /// Any other event about the subject: what happened next.
    pub fn observe(&mut self, seen: Seen, in_shutdown: bool, timing: &Timing, now: Moment) {
        let role = match Role::of(seen.event.kind) {
            // What the supervisor stops at its own end is kept in mind until it runs again.
            Role::Rest(End::Stopped) if in_shutdown && !self.in_shutdown => Role::Changing,
            role => role,
        };
        let removed = self.ended.as_ref().is_some_and(|ended| ended.how == End::Removed);
        if removed || !self.members.observe(seen.instance, role, timing.recovery_after, now) {
            return;
        }
        if matches!(role, Role::Bad | Role::Changing) {
            self.reopen();
        }
        self.last_at = seen.event.time;
        self.change(seen, timing, now);
    }

    /// Its end was not told yet, and it is none.
    fn reopen(&mut self) {
        if self.ended.take().is_some() && self.told.is_some() {
            self.due = None;
        }
    }

    fn change(&mut self, seen: Seen, timing: &Timing, now: Moment) {
        if seen.instance == self.instance {
            self.state = state_after(seen.event).or(self.state);
        }
        if let Some(clear) = &mut self.flapping {
            *clear = Deadline::after(now, timing.flap_clear);
            if seen.event.kind == Kind::ProcessFatal {
                self.flapping = None;
            }
        }
        self.schedule(timing, now);
    }

    /// Keeps the event that is shown: the worst since the last notice, of several the last one. Whether its
    /// output is to be fetched.
    fn choose(&mut self, seen: Seen, now: Moment) -> bool {
        let dies = matches!(seen.event.kind, Kind::ProcessCrashed | Kind::ProcessFatal | Kind::ProcessKilled);
        let is_first = self.count == 1;
        let may_ask = dies && self.output_again.is_none_or(|again| again.is_due(now));
        let is_new = self.told.as_ref().is_some_and(|told| told.count.saturating_add(1) == self.count);
        let shown = if is_new { Severity::Info } else { self.event.severity };
        let worse = seen.severity < shown;
        // An event of another process would have to do without its output: then the one before stays.
        let same = seen.severity == shown && (may_ask || seen.instance == self.instance);
        if !(is_first || is_new || worse || same) {
            return false;
        }
        if seen.instance != self.instance {
            self.output = None;
            self.state = None;
        }
        self.event = Event { severity: seen.severity, ..seen.event.clone() };
        self.instance = seen.instance;
        let wants = may_ask || (dies && worse && self.output.is_none() && self.output_by.is_none());
        if wants {
            self.output_by = Some(Deadline::after(now, OUTPUT_WAIT));
            self.output_again = self.output_by;
        }
        wants
    }

    /// The channel shows no output: none is waited for.
    pub fn wants_no_output(&mut self) {
        self.output_by = None;
    }

    /// The last lines of a process, as wished. They are cut to `lines` and to 8 KiB of JSON, of which
    /// the last count.
    pub fn take_output(&mut self, process: &ProcessId, output: Output, lines: usize) {
        if process.instance != self.instance {
            return;
        }
        self.output_by = None;
        self.output = Some(cut(output, lines));
    }

    /// When it was heard of last, how many bytes of JSON its output takes, and its id.
    pub fn weight(&self) -> (WallTime, usize, &str) {
        let lines = self.output.iter().flat_map(|output| &output.lines);
        (self.last_at, lines.map(|line| encoded(line) + 3).sum(), &self.id)
    }

    pub fn forget_output(&mut self) {
        self.output = None;
    }

    /// It comes and goes. `flaps`: all that counts for it by now, `root`: the thread in which it is told.
    pub fn flap(&mut self, flaps: Option<Flaps>, root: Option<String>, timing: &Timing, now: Moment) {
        self.flaps = flaps.map(|flaps| Flaps { count: flaps.count.saturating_sub(self.count), ..flaps });
        self.root = self.root.take().or(root);
        self.flapping = Some(Deadline::after(now, timing.flap_clear));
        self.schedule(timing, now);
    }

    pub fn is_flapping(&self) -> bool {
        self.flapping.is_some()
    }

    /// The supervisor started again: nothing ran in between.
    pub fn supervisor_restarted(&mut self) {
        if self.ended.is_none() {
            self.members.all_bad();
        }
        self.in_shutdown = false;
    }

    /// The program is no longer configured.
    pub fn remove(&mut self, timing: &Timing, now: Moment, wall: WallTime) {
        if self.ended.is_none() {
            self.end(Ended { at: wall, how: End::Removed }, timing, now);
        }
    }

    fn end(&mut self, ended: Ended, timing: &Timing, now: Moment) {
        self.ended = Some(ended);
        self.flapping = None;
        self.schedule(timing, now);
    }

    /// What time alone changes: it is well for long enough, or has settled. Whether it has ceased to flap.
    pub fn settle(&mut self, timing: &Timing, now: Moment) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let was_flapping = self.is_flapping();
        let cleared = self.flapping.is_none_or(|clear| clear.is_due(now));
        if self.members.are_at_rest(now) || (cleared && self.members.are_well(now)) {
            // It was well from its last event on.
            self.end(Ended { at: self.last_at, how: self.members.end() }, timing, now);
        } else if cleared && was_flapping && self.members.well_at().is_none() {
            self.flapping = None;
            self.schedule(timing, now);
        }
        was_flapping && !self.is_flapping()
    }

    /// When time alone changes something.
    pub fn settle_at(&self) -> Option<Moment> {
        if self.ended.is_some() {
            return None;
        }
        let well = self.members.well_at();
        let Some(clear) = self.flapping.map(Deadline::moment) else { return well };
        well.map(|well| if self.members.none_runs() { well } else { well.max(clear) }).or(Some(clear))
    }

    /// Whether all of it is silenced.
    pub fn look_at(&mut self, silences: &Silences, now: Moment) {
        self.is_silenced = match &self.subject {
            Subject::Program(program) => self
                .members
                .instances()
                .all(|instance| silences.cover(&ProcessId::new(program, instance), self.group_name.as_deref(), now)),
            Subject::Channel(_) => silences.cover_all(now),
        };
    }

    /// Nobody was told, and nobody is to be.
    pub fn is_moot(&self) -> bool {
        self.is_silenced && self.ended.is_some() && self.told.is_none()
    }

    /// No event was counted yet.
    pub fn is_new(&self) -> bool {
        self.count == 0
    }

    pub fn was_told(&self) -> bool {
        self.told.is_some()
    }

    pub fn each_deadline(&mut self, change: &mut dyn FnMut(&mut Deadline)) {
        self.members.each_deadline(change);
        self.reminders.iter_mut().for_each(&mut *change);
        let times =
            [&mut self.output_by, &mut self.output_again, &mut self.flapping, &mut self.due, &mut self.quiet_until];
        times.into_iter().flatten().for_each(change);
    }

    /// Loaded, and it cannot be so.
    pub fn is_nonsense(&self) -> bool {
        self.members.is_nonsense()
            || self.processes.len() > PROCESSES_MAX
            || self.reminders.len() > REMINDERS_MAX
            || self.told.as_ref().is_some_and(|told| told.count > self.count || told.shown > told.count)
            || (self.need().is_some() && self.due.is_none())
    }
}

/// The state that an event says its process is in.
fn state_after(event: &Event) -> Option<State> {
    event.facts.to.or(match event.kind {
        Kind::ProcessStarting => Some(State::Starting),
        Kind::ProcessRunning => Some(State::Running),
        Kind::ProcessBackoff => Some(State::Backoff),
        Kind::ProcessStopping => Some(State::Stopping),
        Kind::ProcessStopped => Some(State::Stopped),
        Kind::ProcessExited | Kind::ProcessCrashed => Some(State::Exited),
        Kind::ProcessFatal => Some(State::Fatal),
        _ => None,
    })
}

/// The last `lines`, in 8 KiB of JSON at most; a longer line keeps its end.
fn cut(mut output: Output, lines: usize) -> Output {
    let before: usize = output.lines.iter().map(String::len).sum();
    let mut room = OUTPUT_BYTES;
    let mut kept = VecDeque::new();
    for line in output.lines.iter().rev().take(lines) {
        if room == 0 {
            break;
        }
        let end = end_within(line, room);
        room = if end.len() < line.len() { 0 } else { room - encoded(end) };
        kept.push_front(end.to_owned());
    }
    let is_cut = kept.len() < output.lines.len() || kept.iter().map(String::len).sum::<usize>() < before;
    output.is_cut |= is_cut;
    output.lines = kept.into();
    output
}

/// The longest end of the line that takes at most `room` bytes of JSON.
fn end_within(line: &str, mut room: usize) -> &str {
    let mut from = line.len();
    for (at, c) in line.char_indices().rev() {
        let Some(left) = room.checked_sub(encoded_char(c)) else { break };
        (room, from) = (left, at);
    }
    &line[from..]
}

/// How many bytes of JSON the text takes, without the quotes.
fn encoded(text: &str) -> usize {
    text.chars().map(encoded_char).sum()
}

fn encoded_char(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\x08' | '\x0c' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}
