//! How the syslog channels are: they have no queue here, and tell by themselves.

use std::collections::BTreeMap;

use crate::alert::queue::TELL_AFTER;
use crate::model::id::ChannelName;
use crate::model::notify::Health;
use crate::model::time::Moment;
use crate::notifier::network::SyslogNews;
use crate::protocol::notifier::{ChannelReport, FromNotifier};

#[derive(Default)]
pub struct SyslogChannels(BTreeMap<ChannelName, State>);

#[derive(Default)]
struct State {
    failing: Option<(Moment, String)>,
    /// What the core was told: that it fails, and that everybody should know.
    told: (bool, bool),
    waiting: u64,
    sent: u64,
    lost: u64,
}

impl SyslogChannels {
    pub fn keep(&mut self, is_configured: impl Fn(&ChannelName) -> bool) {
        self.0.retain(|name, _| is_configured(name));
    }

    pub fn heed(&mut self, channel: ChannelName, news: SyslogNews, now: Moment) {
        let state = self.0.entry(channel).or_default();
        let since = state.failing.take().map_or(now, |(since, _)| since);
        state.failing = news.failing.map(|cause| (since, cause));
        state.waiting = news.waiting;
        state.sent += news.sent;
        state.lost += news.lost;
    }

    /// What the core is to be told now.
    pub fn news(&mut self, now: Moment) -> Vec<FromNotifier> {
        let mut all = Vec::new();
        for (name, state) in &mut self.0 {
            let long = state.failing.as_ref().is_some_and(|(since, _)| now.since(*since) >= TELL_AFTER);
            let before = std::mem::replace(&mut state.told, (state.failing.is_some(), long));
            if state.told != before {
                let (channel, health, tell) = (name.clone(), state.health(now), long || before.1);
                all.push(FromNotifier::Channel { channel, health, tell });
            }
        }
        all
    }

    /// When one has failed for so long that it is told.
    pub fn deadline(&self) -> Option<Moment> {
        let untold = self.0.values().filter(|state| !state.told.1);
        untold.filter_map(|state| state.failing.as_ref()).map(|(since, _)| *since + TELL_AFTER).min()
    }

    pub fn report(&self, channel: ChannelName, now: Moment) -> ChannelReport {
        let none = State::default();
        let state = self.0.get(&channel).unwrap_or(&none);
        ChannelReport {
            channel,
            health: state.health(now),
            waiting: state.waiting,
            sent: state.sent,
            failed: 0,
            dropped: state.lost,
            last_success: None,
            next_try_seconds: None,
        }
    }
}

impl State {
    fn health(&self, now: Moment) -> Health {
        match &self.failing {
            None => Health::Well,
            Some((since, cause)) => Health::Failing { seconds: now.since(*since).as_secs(), cause: cause.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_log_that_fails_is_told_at_once_after_ten_minutes_to_all_and_when_it_is_well_again() {
        let at = |seconds| Moment::new(Duration::from_secs(seconds));
        let name = ChannelName("syslog".to_owned());
        let mut channels = SyslogChannels::default();
        let mut told = |failing: Option<&str>, seconds| {
            let news = SyslogNews { failing: failing.map(str::to_owned), ..SyslogNews::default() };
            channels.heed(name.clone(), news, at(seconds));
            let told = channels.news(at(seconds));
            told.into_iter()
                .map(|told| match told {
                    FromNotifier::Channel { health, tell, .. } => (matches!(health, Health::Well), tell),
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(told(None, 0), []);
        assert_eq!(told(Some("gone"), 10), [(false, false)]);
        assert_eq!(told(Some("still gone"), 20), []);
        assert_eq!(told(Some("still gone"), 610), [(false, true)]);
        assert_eq!(told(None, 700), [(true, true)]);
        assert_eq!(told(Some("gone"), 800), [(false, false)]);
        assert_eq!(told(None, 801), [(true, false)], "so short that nobody was told");
        assert_eq!(channels.deadline(), None);
    }
}
