//! Those who look on: taking a client of `tail`, giving it the last lines and then what comes, and
//! sending it away.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use crate::protocol::control::{Channel, Refusal};
use crate::protocol::logger::{StreamId, TailId};
use crate::system::poll::{Interest, Ready};

use super::follow::{self, CLIENTS_MAX, Client, FAREWELL, Frame};
use super::{Logger, LoggerError, STILL, Timer};

impl Logger {
    pub(super) fn take_client(
        &mut self,
        tails: &[TailId],
        lines: u32,
        follow: bool,
        connection: OwnedFd,
    ) -> Result<(), LoggerError> {
        let mut known: Vec<TailId> = Vec::new();
        for id in tails {
            // A process that has never run may do so yet.
            if follow {
                self.tails.entry(*id).or_default();
            }
            if self.tails.contains_key(id) && !known.contains(id) {
                known.push(*id);
            }
        }
        let mut client = Client::new(connection, lines, follow && !known.is_empty())?;
        if self.clients.len() >= CLIENTS_MAX {
            let message = format!("{CLIENTS_MAX} clients look on already");
            client.push(follow::refusal(&Refusal::Busy { message }));
            let _ = client.write();
            return Ok(());
        }
        client.outputs = u32::try_from(tails.len()).unwrap_or(u32::MAX);
        client.token = self.poll.add(&client, Interest::Read)?;
        let token = client.token;
        for id in &known {
            if client.follow
                && let Some(tail) = self.tails.get_mut(id)
            {
                tail.followers.push(token);
            }
        }
        client.pending.extend(known);
        self.clients.insert(token, client);
        self.serve_client(token);
        Ok(())
    }

    pub(super) fn attend_client(&mut self, ready: Ready) {
        let Some(client) = self.clients.get_mut(&ready.token) else { return };
        if ready.readable && !client.input_ended {
            let failed = client.ignore_input().is_err();
            if failed || (client.input_ended && client.follow && !client.leaving) {
                self.drop_client(ready.token);
                return;
            }
        }
        self.serve_client(ready.token);
    }

    /// Sends what the client takes; makes the next answer only when there is room for it.
    fn serve_client(&mut self, token: u64) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        loop {
            if client.write().is_err() {
                return self.drop_client(token);
            }
            if client.has_waiting() {
                break;
            }
            if client.leaving {
                return self.drop_client(token);
            }
            client.pending.retain(|id| self.tails.contains_key(id));
            let Some(id) = client.pending.pop_front() else {
                if client.follow {
                    break;
                }
                // All of them are gone: nothing is an answer, too.
                client.push(follow::answer("", Channel::Stdout, client.outputs, b"", false));
                client.leaving = true;
                continue;
            };
            let Some(tail) = self.tails.get(&id) else { continue };
            let text = tail.last_lines(client.lines);
            let more = client.follow || !client.pending.is_empty();
            if !(client.follow && text.is_empty()) {
                client.push(follow::answer(&tail.process, tail.channel, client.outputs, &text, more));
            }
            client.leaving = !more;
        }
        let interest = match (client.input_ended, client.has_waiting()) {
            (false, false) => Interest::Read,
            (false, true) => Interest::Both,
            (true, _) => Interest::Write,
        };
        if self.poll.change(&*client, token, interest).is_err() {
            self.drop_client(token);
        }
    }

    pub(super) fn drop_client(&mut self, token: u64) {
        if let Some(client) = self.clients.remove(&token) {
            self.poll.remove(&client);
            for tail in self.tails.values_mut() {
                tail.remove_follower(token);
            }
        }
    }

    /// A client gets its last answer and a while to read it.
    fn send_away(&mut self, token: u64) {
        for tail in self.tails.values_mut() {
            tail.remove_follower(token);
        }
        self.timers.insert((self.now + FAREWELL, Timer::Farewell(token)));
        self.serve_client(token);
    }

    /// Remembers what was read, and shows it to those who follow.
    pub(super) fn show(&mut self, stream: StreamId, bytes: &[u8]) {
        let Some(id) = self.streams.get(&stream).map(|stream| stream.tail) else { return };
        self.show_viewers(id, bytes);
        let Some(tail) = self.tails.get_mut(&id) else { return };
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.began.get_or_insert(tail.ring.total());
        }
        let seen = tail.feed(bytes, self.now);
        if tail.has_unseen() && !std::mem::replace(&mut tail.timed, true) {
            self.timers.insert((self.now + STILL, Timer::Unseen(id)));
        }
        if let Some(seen) = seen {
            self.send_to_followers(id, &seen);
        }
    }

    /// Shows the unfinished line.
    pub(super) fn show_unfinished(&mut self, id: TailId, all: bool) {
        let seen = self.tails.get_mut(&id).and_then(|tail| tail.unfinished(all));
        if let Some(seen) = seen {
            self.send_to_followers(id, &seen);
        }
    }

    fn send_to_followers(&mut self, id: TailId, text: &[u8]) {
        let Some(tail) = self.tails.get(&id) else { return };
        let (process, channel, followers) = (tail.process.clone(), tail.channel, tail.followers.clone());
        // Most look at one output alone, and get the same.
        let mut frames: BTreeMap<u32, Frame> = BTreeMap::new();
        for token in followers {
            let Some(client) = self.clients.get_mut(&token) else { continue };
            // What it has not got the last lines of yet, it will get with them.
            if client.pending.contains(&id) {
                continue;
            }
            let frame = frames
                .entry(client.outputs)
                .or_insert_with(|| follow::answer(&process, channel, client.outputs, text, true));
            if client.push(Frame::clone(frame)) { self.serve_client(token) } else { self.send_away(token) }
        }
    }

    pub(super) fn expire_unseen(&mut self, id: TailId) {
        let Some(tail) = self.tails.get_mut(&id) else { return };
        let due = tail.unseen_since + STILL;
        tail.timed = tail.has_unseen() && due > self.now;
        if tail.timed {
            self.timers.insert((due, Timer::Unseen(id)));
        } else {
            self.show_unfinished(id, false);
        }
    }

    /// A process is not configured any more: who followed nothing else is told.
    pub(super) fn forget(&mut self, id: TailId) {
        let Some(tail) = self.tails.remove(&id) else { return };
        for token in tail.followers {
            let follows_more = self.tails.values().any(|tail| tail.followers.contains(&token));
            if !follows_more && let Some(client) = self.clients.get_mut(&token) {
                client.finish("the process is not configured any more");
                self.send_away(token);
            }
        }
    }
}
