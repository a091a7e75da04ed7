//! What was lost of program output where it could not be written, counted for each file until it can be again. The
//! logger counts as well, but may die meanwhile: the sum is here.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::protocol::spawner::SinkId;

#[derive(Default)]
pub struct Losses(BTreeMap<SinkId, Loss>);

/// One that has not ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loss {
    /// What the file is called in messages: it may be closed before the loss ends.
    pub name: String,
    pub bytes: u64,
}

impl Losses {
    pub fn begin(&mut self, sink: SinkId, name: String) {
        self.0.entry(sink).or_insert(Loss { name, bytes: 0 });
    }

    pub fn is_open(&self, sink: SinkId) -> bool {
        self.0.contains_key(&sink)
    }

    /// So many bytes more; `false`: there is no loss that they belong to.
    pub fn add(&mut self, sink: SinkId, bytes: u64) -> bool {
        let loss = self.0.get_mut(&sink);
        // The logger may say anything.
        loss.map(|loss| loss.bytes = loss.bytes.saturating_add(bytes)).is_some()
    }

    /// It is over.
    pub fn end(&mut self, sink: SinkId) -> Option<Loss> {
        self.0.remove(&sink)
    }

    /// Those whose end nobody will tell.
    pub fn end_all(&mut self, is_over: impl Fn(SinkId) -> bool) -> Vec<Loss> {
        self.0.extract_if(.., |sink, _| is_over(*sink)).map(|(_, loss)| loss).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: SinkId = SinkId(1);

    #[test]
    fn a_loss_is_the_sum_of_all_that_was_told_until_its_end() {
        let mut losses = Losses::default();
        assert!(!losses.add(FILE, 5) && !losses.is_open(FILE));
        losses.begin(FILE, "log".to_owned());
        for bytes in [1, 2, 3] {
            assert!(losses.add(FILE, bytes));
        }
        // Another logger begins as well.
        losses.begin(FILE, "other".to_owned());
        assert!(losses.is_open(FILE));
        assert_eq!(losses.end(FILE), Some(Loss { name: "log".to_owned(), bytes: 6 }));
        assert_eq!(losses.end(FILE), None);
    }

    #[test]
    fn a_logger_that_makes_up_numbers_ends_nothing() {
        let mut losses = Losses::default();
        losses.begin(FILE, "log".to_owned());
        for _ in 0..3 {
            losses.add(FILE, u64::MAX);
        }
        assert_eq!(losses.end(FILE).map(|loss| loss.bytes), Some(u64::MAX));
    }

    #[test]
    fn what_nobody_will_end_is_ended_at_once() {
        let mut losses = Losses::default();
        for sink in 1..=3 {
            losses.begin(SinkId(sink), sink.to_string());
        }
        let names: Vec<String> = losses.end_all(|sink| sink.0 > 1).into_iter().map(|loss| loss.name).collect();
        assert_eq!((names, losses.is_open(FILE)), (vec!["2".to_owned(), "3".to_owned()], true));
    }
}
