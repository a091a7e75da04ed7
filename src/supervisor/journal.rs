//! Events on their way: numbered and dated, kept for whoever asks later, and kept for the notifier until
//! it has acknowledged them. Everything is bounded; what does not fit is counted and told.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::model::event::{Event, Facts, Kind};
use crate::model::notify::About;
use crate::protocol::notifier::ToNotifier;
use crate::worker::channel::{Channel, ChannelError};

/// Events kept for `events` and new followers.
const RECENT_MAX: usize = 1000;
/// Events kept while no notifier takes them.
const UNWRITTEN_MAX: usize = 20_000;
/// Events that are on their way to the notifier at once.
const WINDOW: usize = 512;

pub struct Journal {
    host: String,
    next: u64,
    recent: VecDeque<Rc<Event>>,
    /// Not acknowledged, oldest first, with what the notifier has to know of its program.
    unwritten: VecDeque<(Rc<Event>, Option<Rc<About>>)>,
    /// How many of `unwritten`, from the front, this notifier was sent.
    sent: usize,
    /// Up to here some notifier was sent the events once.
    ever_sent: u64,
    lost: u64,
}

impl Journal {
    pub fn new(host: String) -> Self {
        Self { host, next: 1, recent: VecDeque::new(), unwritten: VecDeque::new(), sent: 0, ever_sent: 0, lost: 0 }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    /// Records an event. `about`: its program, as it is configured now.
    pub fn record(&mut self, kind: Kind, facts: Facts, about: Option<About>) -> Rc<Event> {
        let event = Rc::new(Event {
            seq: self.next,
            time: crate::system::clock::wall(),
            severity: kind.severity(),
            kind,
            host: self.host.clone(),
            facts,
        });
        self.next += 1;
        push_bounded(&mut self.recent, Rc::clone(&event), RECENT_MAX);
        if self.unwritten.len() >= UNWRITTEN_MAX {
            // The oldest that is not under way; its loss is told when there is room again.
            self.unwritten.remove(self.sent.min(UNWRITTEN_MAX - 1));
            self.lost += 1;
        }
        self.unwritten.push_back((Rc::clone(&event), about.map(Rc::new)));
        event
    }

    /// Events that are still known, after this number.
    pub fn since(&self, seq: u64) -> impl DoubleEndedIterator<Item = &Rc<Event>> {
        self.recent.iter().filter(move |event| event.seq > seq)
    }

    /// Sends what the notifier has room for.
    ///
    /// # Errors
    /// When the notifier is gone.
    pub fn feed(&mut self, notifier: &mut Channel) -> Result<(), ChannelError> {
        if self.lost > 0 && self.unwritten.len() < UNWRITTEN_MAX / 2 {
            let lost = std::mem::take(&mut self.lost);
            let words = format!("{lost} events were lost, because they could not be written in time");
            self.record(Kind::OutputDropped, Facts::message(words), None);
        }
        while self.sent < WINDOW.min(self.unwritten.len()) {
            let (event, about) = &self.unwritten[self.sent];
            let again = event.seq <= self.ever_sent;
            self.ever_sent = self.ever_sent.max(event.seq);
            let about = about.as_deref().cloned().map(Box::new);
            let message = ToNotifier::Event { event: Box::new((**event).clone()), about, again };
            self.sent += 1;
            notifier.send(&message, Vec::new())?;
        }
        Ok(())
    }

    /// The notifier has written everything up to this number.
    pub fn written(&mut self, seq: u64) {
        while self.sent > 0 && self.unwritten.front().is_some_and(|(event, _)| event.seq <= seq) {
            self.unwritten.pop_front();
            self.sent -= 1;
        }
    }

    /// The first and the last event that this notifier was sent and has not acknowledged.
    pub fn under_way(&self) -> Option<(u64, u64)> {
        let last = self.sent.checked_sub(1).and_then(|last| self.unwritten.get(last))?;
        Some((self.unwritten.front()?.0.seq, last.0.seq))
    }

    /// A new notifier: what is not acknowledged is sent again.
    pub fn notifier_lost(&mut self) {
        self.sent = 0;
    }

    /// Whether everything is acknowledged.
    pub fn is_written(&self) -> bool {
        self.unwritten.is_empty()
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, max: usize) {
    if queue.len() >= max {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::notifier::FromNotifier;
    use crate::system::socket;

    fn notifier() -> (Channel, Channel) {
        let (a, b) = socket::message_pair().expect("a pair");
        (Channel::of_core(a).expect("core"), Channel::of_worker(b, true).expect("worker"))
    }

    fn received(worker: &Channel) -> Vec<(u64, bool)> {
        let mut got = Vec::new();
        while let Ok(Some(message)) = worker.receive::<ToNotifier>() {
            if let ToNotifier::Event { event, again, .. } = message.message {
                got.push((event.seq, again));
            }
        }
        got
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_to_the_next_notifier() {
        let mut journal = Journal::new("h".to_owned());
        for _ in 0..3 {
            journal.record(Kind::SupervisorStarted, Facts::default(), None);
        }
        let (mut core, worker) = notifier();
        journal.feed(&mut core).expect("alive");
        assert_eq!(received(&worker), [(1, false), (2, false), (3, false)]);
        journal.written(1);
        journal.notifier_lost();
        journal.record(Kind::SupervisorStarted, Facts::default(), None);
        let (mut core, worker) = notifier();
        journal.feed(&mut core).expect("alive");
        assert_eq!(received(&worker), [(2, true), (3, true), (4, false)]);
        journal.written(4);
        assert!(journal.is_written());
        let _ = FromNotifier::Ready;
    }

    #[test]
    fn without_a_notifier_the_oldest_are_dropped_counted_and_told() {
        let mut journal = Journal::new("h".to_owned());
        for _ in 0..UNWRITTEN_MAX + 5 {
            journal.record(Kind::SupervisorStarted, Facts::default(), None);
        }
        assert_eq!(journal.unwritten.len(), UNWRITTEN_MAX);
        let mut seen = 0;
        let mut told = None;
        while !journal.is_written() {
            let (mut core, worker) = notifier();
            journal.notifier_lost();
            journal.feed(&mut core).expect("alive");
            let mut last = 0;
            while let Ok(Some(message)) = worker.receive::<ToNotifier>() {
                core.flush().expect("alive");
                if let ToNotifier::Event { event, .. } = message.message {
                    last = event.seq;
                    seen += 1;
                    told = told.or(event.facts.message.clone());
                }
            }
            journal.written(last);
        }
        assert_eq!(seen, UNWRITTEN_MAX + 1);
        assert_eq!(told.as_deref(), Some("5 events were lost, because they could not be written in time"));
    }
}
