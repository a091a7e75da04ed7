//! The pipelines of all channels that tell incidents, with what they share: rules, silences, ids.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::alert::id::IdSource;
use crate::alert::notice::{Item, Notice, Output};
use crate::alert::pipeline::Pipeline;
use crate::alert::rules::Rules;
use crate::alert::saved::{Saved, Saving};
use crate::alert::silence::{Silence, Silences};
use crate::model::event::{Event, Severity};
use crate::model::id::ChannelName;
use crate::model::id::ProcessId;
use crate::model::notify::{About, Channel, Transport};
use crate::model::time::Moment;
use crate::protocol::notifier::Configure;

use super::Now;

pub struct Pipelines {
    ids: IdSource,
    rules: Rules,
    pub silences: Silences,
    channels: BTreeMap<ChannelName, Pipeline>,
    settings: BTreeMap<ChannelName, Channel>,
    /// As it was found on disk, until the first configuration says which channels there are.
    found: Value,
    /// Something of what is saved has changed, besides the channels.
    is_changed: bool,
}

impl Default for Pipelines {
    fn default() -> Self {
        Self {
            ids: IdSource::new(random()),
            rules: Rules::default(),
            silences: Silences::default(),
            channels: BTreeMap::new(),
            settings: BTreeMap::new(),
            found: Value::Null,
            is_changed: false,
        }
    }
}

/// Different at each start.
pub fn random() -> u32 {
    let bytes = RandomState::new().hash_one(std::process::id()).to_ne_bytes();
    u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

impl Pipelines {
    /// Goes on where others have ended.
    pub fn restore(found: &Value, now: Now) -> Self {
        let silences = found.get("silences").and_then(|value| serde_json::from_value::<Silences>(value.clone()).ok());
        let silences = silences.unwrap_or_default().resumed(now.moment, now.wall);
        Self { found: found.clone(), silences, ..Self::default() }
    }

    /// Takes the channels and rules from now on; gives what could not be restored, in words.
    pub fn configure(&mut self, settings: &Configure, now: Now) -> Vec<String> {
        self.is_changed = true;
        self.rules = Rules::new(&settings.notify.rules);
        let found = std::mem::take(&mut self.found);
        let mut before = std::mem::take(&mut self.channels);
        let mut faults = Vec::new();
        self.settings.clear();
        for channel in &settings.notify.channels {
            self.settings.insert(channel.name.clone(), channel.clone());
            if matches!(channel.transport, Transport::Syslog(_)) {
                continue;
            }
            let pipeline = before.remove(&channel.name);
            let mut pipeline = pipeline.unwrap_or_else(|| Pipeline::new(channel, &settings.host, self.ids.clone()));
            if let Some(saved) = found.get("channels").and_then(|channels| channels.get(&channel.name.0)) {
                let restored = Saved::read(saved).and_then(|saved| pipeline.restore(saved, now.moment));
                faults.extend(restored.err().map(|why| format!("{}: {why}", channel.name)));
            }
            pipeline.configure(channel, &settings.programs, now.moment, now.wall);
            self.channels.insert(channel.name.clone(), pipeline);
        }
        for gone in before.keys() {
            self.channels.values_mut().for_each(|pipeline| pipeline.forget_channel(gone, now.moment, now.wall));
        }
        faults
    }

    /// How severe the event counts by the rules.
    pub fn severity(&self, event: &Event) -> Severity {
        self.rules.severity(event)
    }

    /// Gives the processes whose last lines are wanted.
    pub fn event(&mut self, event: &Event, about: Option<&About>, now: Now) -> Vec<ProcessId> {
        let mut wanted = Vec::new();
        for (name, pipeline) in &mut self.channels {
            let Some(channel) = self.settings.get(name) else { continue };
            let verdict = self.rules.verdict(event, about, channel);
            let wish = pipeline.event(event, about, verdict, now.moment, now.wall);
            wanted.extend(wish.output.filter(|process| !wanted.contains(process)));
        }
        wanted
    }

    pub fn output(&mut self, process: &ProcessId, output: &Output) {
        self.channels.values_mut().for_each(|pipeline| pipeline.output(process, output.clone()));
    }

    pub fn tick(&mut self, now: Now) -> Vec<Notice> {
        self.expire_silences(now);
        let tick = |pipeline: &mut Pipeline| pipeline.tick(&self.silences, now.moment, now.wall);
        self.channels.values_mut().flat_map(tick).collect()
    }

    /// Ends the silences whose time has come; whether there were any. Then it is time for a `tick`.
    pub fn expire_silences(&mut self, now: Now) -> bool {
        let has_expired = self.silences.expire(now.moment);
        self.is_changed |= has_expired;
        has_expired
    }

    /// Nothing waits for company any more.
    pub fn hurry(&mut self, now: Now) {
        self.channels.values_mut().for_each(|pipeline| pipeline.hurry(now.moment));
    }

    pub fn dropped(&mut self, channel: &ChannelName) {
        if let Some(pipeline) = self.channels.get_mut(channel) {
            pipeline.dropped(1);
        }
    }

    pub fn deadline(&self) -> Option<Moment> {
        let silences = self.silences.deadline().filter(|_| !self.channels.is_empty());
        self.channels.values().filter_map(Pipeline::deadline).chain(silences).min()
    }

    /// What the receivers of a channel take for firing.
    pub fn firing(&self, channel: &ChannelName) -> Vec<Item> {
        self.channels.get(channel).map_or_else(Vec::new, Pipeline::firing)
    }

    /// An id for a notice that no pipeline makes.
    pub fn id(&self, now: Now) -> String {
        self.ids.next(now.wall)
    }

    /// Whether there is something new to be saved since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        // Each is asked.
        let changed = self.channels.values_mut().filter_map(|pipeline| pipeline.take_changed().then_some(())).count();
        std::mem::take(&mut self.is_changed) || changed > 0
    }

    /// As they are to be on disk.
    pub fn save(&self, now: Now) -> impl Serialize + use<'_> {
        Saves { pipelines: self, now }
    }

    /// Ends silences by id or selector; how many.
    pub fn unsilence(&mut self, silence: &str) -> u64 {
        self.is_changed = true;
        self.silences.remove(silence) as u64
    }

    pub fn silence(&mut self, selector: &str, seconds: u64, why: (&str, &str), now: Now) -> Result<Silence, String> {
        self.is_changed = true;
        self.silences.add(selector, Duration::from_secs(seconds), why, now.moment, now.wall)
    }
}

/// What [`Pipelines::restore`] reads.
struct Saves<'p> {
    pipelines: &'p Pipelines,
    now: Now,
}

#[derive(Serialize)]
struct Fields<'p> {
    silences: Silences,
    channels: BTreeMap<&'p str, Saving<'p>>,
}

impl Serialize for Saves<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (Pipelines { settings, found, silences, channels, .. }, now) = (self.pipelines, self.now.moment);
        if settings.is_empty() && !found.is_null() {
            return found.serialize(serializer);
        }
        let channels = channels.iter().map(|(name, pipeline)| (name.0.as_str(), pipeline.save(now))).collect();
        Fields { silences: silences.suspended(now), channels }.serialize(serializer)
    }
}
