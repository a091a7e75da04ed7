//! The queues of all channels and what is buried, within one bound of messages and bytes.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};

use super::entry::Entry;
use super::queue::Queue;
use crate::model::id::ChannelName;
use crate::model::notify::SpoolLimits;

/// How many buried messages are kept; beyond, the oldest go.
pub const DEAD_MAX: usize = 200;

#[derive(Default)]
pub struct Queues {
    pub channels: BTreeMap<ChannelName, Queue>,
    /// Oldest first.
    dead: VecDeque<Entry>,
}

impl Queues {
    pub fn dead(&self) -> impl Iterator<Item = &Entry> {
        self.dead.iter()
    }

    /// Buries a message; gives the ones that had to make room.
    pub fn bury(&mut self, entry: Entry) -> Vec<Entry> {
        self.dead.push_back(entry);
        let over = self.dead.len().saturating_sub(DEAD_MAX);
        self.dead.drain(..over).collect()
    }

    /// Takes out all that is buried, and fits.
    pub fn unbury_all(&mut self, mut fits: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let (out, kept): (VecDeque<_>, VecDeque<_>) = self.dead.drain(..).partition(|entry| fits(entry));
        self.dead = kept;
        out.into()
    }

    /// Drops until the bounds hold: from the channel that holds the most, what is least severe, then
    /// oldest. So a dead channel never pushes out what another could send.
    pub fn bound(&mut self, limits: &SpoolLimits) -> Vec<Entry> {
        let mut dropped = Vec::new();
        let mut messages: usize = self.channels.values().map(Queue::len).sum();
        let mut bytes: u64 = self.channels.values().map(Queue::bytes).sum();
        while messages > limits.max_messages || bytes > limits.max_bytes {
            let by_count = messages > limits.max_messages;
            let holds = |queue: &&mut Queue| if by_count { queue.len() as u64 } else { queue.bytes() };
            let Some(fullest) = self.channels.values_mut().max_by_key(holds) else { break };
            let before = fullest.bytes();
            let Some(entry) = fullest.drop_least() else { break };
            messages -= 1;
            bytes -= before - fullest.bytes();
            dropped.push(entry);
        }
        dropped
    }
}
