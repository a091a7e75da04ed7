//! The control server: who is connected, what they have sent, what they still have to read. What a call
//! means is decided in `calls`.
//!
//! A client costs at most its bounds: one call at a time, frames up to `CALL_MAX`, a limited backlog of
//! answers. One that does not read, or reads slowly, delays nobody but itself.

pub mod calls;
mod client;
mod config;
mod denials;
mod details;
pub mod events;
pub mod notify;
mod programs;
pub mod reloads;
mod room;
mod security;
mod service;
pub mod view;
pub mod waiters;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use serde::Serialize;

use crate::model::event::Event;
use crate::model::time::Moment;
use crate::policy::permission::{Missing, Peer, Rules};
use crate::protocol::control::{EventsReply, Refusal};
use crate::protocol::frame::{CALL_MAX, Decoder, encode};
use crate::protocol::varlink::{Call, INVALID_PARAMETER, Reply};
use crate::system::stdio;

use client::{ANSWERS_BACKLOG, Client, Following, READ_PER_TURN};
use denials::Denials;
use events::Only;
use room::Guest;

use super::reactor::{ClientId, Event as Ready, Reactor, Source};

/// Unread answers beyond this count as lost for a follower of events. The kernel holds some more.
const FOLLOWER_BACKLOG: usize = 64 << 10;
/// A call that has begun is to be complete within this time.
const CALL_PATIENCE: Duration = Duration::from_secs(30);
/// Of calls that are not complete, each client may keep so much here, and all of them together.
const UNFINISHED_FREE: usize = 2 * READ_PER_TURN;
const UNFINISHED_MAX: usize = 2 << 20;
/// Of answers that are not read, each client may keep a backlog here, and all of them together so much.
const UNREAD_MAX: usize = 16 << 20;
/// Connections accepted in one turn.
const ACCEPT_PER_TURN: usize = 32;
/// How long a peer that may not ask anything is kept for the answer that says so.
const DENIED_PATIENCE: Duration = Duration::from_secs(5);

/// A call that a client made.
pub struct Request {
    pub client: ClientId,
    pub peer: Peer,
    pub call: Call,
}

pub struct Control {
    listener: UnixListener,
    listener_token: u64,
    clients: BTreeMap<ClientId, Client>,
    next: u64,
    /// Clients with a whole call that waits for its turn.
    runnable: VecDeque<ClientId>,
    /// Given up when there are no descriptors left, to accept and close what would otherwise be
    /// reported for ever.
    spare: Option<OwnedFd>,
    denials: Denials,
}

impl Control {
    /// # Errors
    /// EMFILE.
    pub fn new(reactor: &mut Reactor, listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener_token = reactor.add(&listener, Source::Listener)?;
        Ok(Self {
            listener,
            listener_token,
            clients: BTreeMap::new(),
            next: 0,
            runnable: VecDeque::new(),
            spare: stdio::null(false).ok(),
            denials: Denials::default(),
        })
    }

    /// Nobody connects any more.
    pub fn stop_listening(&mut self, reactor: &mut Reactor) {
        reactor.remove(&self.listener, self.listener_token);
    }

    /// Takes new clients. Gives what is to be told about refused ones.
    pub fn accept(&mut self, reactor: &mut Reactor, rules: &Rules, now: Moment) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..ACCEPT_PER_TURN {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    let standing = client::standing(&stream, rules);
                    let guest = match &standing {
                        Ok(peer) if rules.is_owner(peer) => Guest::Owner,
                        Ok(Peer::Client(who)) => Guest::User(who.uid),
                        Ok(Peer::Starter) => Guest::Owner,
                        Err(missing) => {
                            told.extend(self.denied(&missing.verb, &missing.rule, now));
                            Guest::Refused
                        }
                    };
                    self.add(reactor, stream, standing, guest, now);
                }
                Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                    self.spare = None;
                    drop(self.listener.accept());
                    self.spare = stdio::null(false).ok();
                    break;
                }
                Err(_) => break,
            }
        }
        told
    }

    /// Somebody may not do this. Gives what is to be told of it, if anything.
    pub fn denied(&mut self, verb: &str, rule: &str, now: Moment) -> Option<String> {
        self.denials.note(verb, rule, now)
    }

    /// A connection that the core made itself, for the shell on its terminal.
    pub fn add_starter(&mut self, reactor: &mut Reactor, connection: OwnedFd, now: Moment) {
        self.add(reactor, UnixStream::from(connection), Ok(Peer::Starter), Guest::Owner, now);
    }

    fn add(
        &mut self,
        reactor: &mut Reactor,
        stream: UnixStream,
        standing: Result<Peer, Missing>,
        guest: Guest,
        now: Moment,
    ) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        if let Some(message) = room::is_full(guest, self.clients.values().map(|client| client.guest)) {
            let refusal = match standing {
                Ok(_) => Refusal::Busy { message },
                Err(Missing { verb, rule }) => Refusal::NotPermitted { verb, rule },
            };
            // If it does not fit into an empty socket's buffer, nothing would.
            let _ = (&stream).write(&encode(&refusal));
            return;
        }
        self.next += 1;
        let id = ClientId(self.next);
        let Ok(token) = reactor.add(&stream, Source::Client(id)) else { return };
        let client = Client {
            stream,
            token,
            standing: standing.map_err(|missing| (missing, now + DENIED_PATIENCE)),
            guest,
            decoder: Decoder::new(CALL_MAX),
            unfinished: None,
            out: Vec::new(),
            busy: false,
            oneway: false,
            following: None,
            end_of_input: false,
            close_when_sent: false,
        };
        self.clients.insert(id, client);
    }

    /// When the patience with the next client ends.
    pub fn deadline(&self) -> Option<Moment> {
        self.clients.values().filter_map(Client::deadline).min()
    }

    /// Drops refused clients that never asked, and those whose call does not come to its end.
    pub fn time_out(&mut self, reactor: &mut Reactor, now: Moment) {
        let is_over = |client: &Client| client.deadline().is_some_and(|until| until <= now);
        let over: Vec<ClientId> =
            self.clients.iter().filter(|(_, client)| is_over(client)).map(|(id, _)| *id).collect();
        for id in over {
            if self.clients.get(&id).is_some_and(|client| client.standing.is_ok()) {
                let message = format!("a call has to be complete within {} seconds", CALL_PATIENCE.as_secs());
                self.refuse_and_close(reactor, id, &Refusal::Busy { message });
            }
            self.close(reactor, id);
        }
    }

    /// Long calls that are not complete have a bound all together: the longest goes, and so never a client
    /// that sends short ones.
    fn bound_unfinished(&mut self, reactor: &mut Reactor) {
        let long = || self.clients.iter().map(|(id, client)| (client.decoder.waiting(), *id));
        let long = || long().filter(|(bytes, _)| *bytes > UNFINISHED_FREE);
        if long().map(|(bytes, _)| bytes).sum::<usize>() <= UNFINISHED_MAX {
            return;
        }
        if let Some((_, id)) = long().max() {
            let message = "the calls of all clients that are not complete are too long".to_owned();
            self.refuse_and_close(reactor, id, &Refusal::Busy { message });
            self.close(reactor, id);
        }
    }

    /// Answers that are not read have a bound all together: of the user who has left most of them, the client
    /// with most goes, and so nobody else's. Root's own are not counted.
    fn bound_unread(&mut self, reactor: &mut Reactor) {
        let mut unread: BTreeMap<Guest, usize> = BTreeMap::new();
        for client in self.clients.values().filter(|client| client.guest != Guest::Owner) {
            *unread.entry(client.guest).or_default() += client.out.len();
        }
        if unread.values().sum::<usize>() <= UNREAD_MAX {
            return;
        }
        let Some(most) = unread.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(guest, _)| guest) else { return };
        let its = self.clients.iter().filter(|(_, client)| client.guest == most);
        if let Some((id, _)) = its.max_by_key(|(_, client)| client.out.len()) {
            self.close(reactor, *id);
        }
    }

    /// Whether calls wait for the next turn.
    pub fn has_runnable(&self) -> bool {
        !self.runnable.is_empty()
    }

    /// A client's socket has something to say. True if the client is gone now.
    pub fn serve(&mut self, reactor: &mut Reactor, id: ClientId, ready: Ready) -> bool {
        let Some(client) = self.clients.get_mut(&id) else { return false };
        // A client that waits for an answer is watched for its end only: what is told of it now is that.
        // Calls that it sent before it went would have been its next, and are not read.
        if ready.readable && client.busy {
            self.close(reactor, id);
            return true;
        }
        // A client that sends calls faster than they are answered is read when its next is due.
        if ready.readable && !client.end_of_input && !client.decoder.has_frame() {
            match client.read_some() {
                Ok(()) => {
                    let is_long = client.decoder.waiting() > UNFINISHED_FREE;
                    self.runnable.push_back(id);
                    if is_long {
                        self.bound_unfinished(reactor);
                    }
                }
                Err(_) => {
                    self.close(reactor, id);
                    return true;
                }
            }
        }
        if ready.writable { self.flush(reactor, id) } else { false }
    }

    /// The next call of each client that has one, at most one each; of the clients of one user other than
    /// root and the supervisor's own, one: many connections do not make anybody's answers late but its own.
    pub fn requests(&mut self, reactor: &mut Reactor, now: Moment) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut served: Vec<Guest> = Vec::new();
        for _ in 0..self.runnable.len() {
            let Some(id) = self.runnable.pop_front() else { break };
            let Some(client) = self.clients.get_mut(&id) else { continue };
            if client.busy || client.out.len() > ANSWERS_BACKLOG {
                continue; // comes back when its call is answered, and when it has read
            }
            let guest = client.guest;
            if served.contains(&guest) {
                self.runnable.push_back(id);
                continue;
            }
            match client.decoder.next_frame() {
                Ok(Some(frame)) => {
                    client.unfinished = None;
                    if let Some(request) = self.understand(reactor, id, &frame) {
                        requests.push(request);
                        served.extend(Some(guest).filter(|guest| *guest != Guest::Owner));
                    }
                }
                Ok(None) if client.end_of_input && client.out.is_empty() => self.close(reactor, id),
                Ok(None) if client.end_of_input => {
                    client.close_when_sent = true;
                    self.watch(reactor, id);
                }
                Ok(None) => {
                    let begun = client.decoder.waiting() > 0;
                    client.unfinished = begun.then(|| client.unfinished.unwrap_or(now + CALL_PATIENCE));
                }
                Err(_) => {
                    let message = format!("a call is at most {CALL_MAX} bytes long");
                    self.refuse_and_close(reactor, id, &Refusal::Busy { message });
                }
            }
        }
        requests
    }

    fn understand(&mut self, reactor: &mut Reactor, id: ClientId, frame: &[u8]) -> Option<Request> {
        let client = self.clients.get_mut(&id)?;
        let peer = match &client.standing {
            Ok(peer) => peer.clone(),
            Err((Missing { verb, rule }, _)) => {
                let refusal = Refusal::NotPermitted { verb: verb.clone(), rule: rule.clone() };
                self.refuse_and_close(reactor, id, &refusal);
                return None;
            }
        };
        match serde_json::from_slice::<Call>(frame) {
            Ok(call) => {
                client.busy = true;
                client.oneway = call.oneway;
                self.watch(reactor, id);
                Some(Request { client: id, peer, call })
            }
            Err(error) => {
                let parameters = serde_json::json!({ "parameter": "call", "message": error.to_string() });
                self.refuse_and_close(reactor, id, &Reply::error(INVALID_PARAMETER, parameters));
                None
            }
        }
    }

    fn refuse_and_close(&mut self, reactor: &mut Reactor, id: ClientId, answer: &impl Serialize) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.out.extend_from_slice(&encode(answer));
            client.close_when_sent = true;
            self.flush(reactor, id);
        }
    }

    /// Answers a call for good: the next one may come.
    pub fn answer(&mut self, reactor: &mut Reactor, id: ClientId, answer: &impl Serialize) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if !std::mem::take(&mut client.oneway) {
            client.out.extend_from_slice(&encode(answer));
        }
        client.busy = false;
        client.following = None;
        self.send(reactor, id);
    }

    /// Sends a part of an answer; more follows.
    pub fn partial(&mut self, reactor: &mut Reactor, id: ClientId, answer: &impl Serialize) {
        if let Some(client) = self.clients.get_mut(&id).filter(|client| !client.oneway) {
            client.out.extend_from_slice(&encode(answer));
            self.send(reactor, id);
        }
    }

    /// Sends what can be sent of answers, and keeps the rest within its bounds.
    fn send(&mut self, reactor: &mut Reactor, id: ClientId) {
        self.flush(reactor, id);
        if self.is_behind(id) {
            self.bound_unread(reactor);
        }
    }

    /// Whether answers wait that the client has not read.
    pub fn has_unread(&self, id: ClientId) -> bool {
        self.clients.get(&id).is_some_and(|client| !client.out.is_empty())
    }

    /// Whether so much waits for it that what can be left out is.
    pub fn is_behind(&self, id: ClientId) -> bool {
        self.clients.get(&id).is_some_and(|client| client.out.len() > FOLLOWER_BACKLOG)
    }

    /// From now on the client is told every event.
    pub fn follow(&mut self, id: ClientId, only: Only) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.following = Some(Following { only, lost: 0 });
        }
    }

    /// Tells an event, which is about a program of this group, to all who follow it and may hear of it.
    pub fn tell(
        &mut self,
        reactor: &mut Reactor,
        event: &Event,
        group: Option<&str>,
        may_hear: impl Fn(&Peer) -> bool,
    ) {
        let is_told = |client: &Client| {
            client.following.as_ref().is_some_and(|following| following.only.covers(event, group))
                && client.standing.as_ref().is_ok_and(&may_hear)
        };
        let followers: Vec<ClientId> =
            self.clients.iter().filter(|(_, client)| is_told(client)).map(|(id, _)| *id).collect();
        for id in followers {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            let Some(Following { lost, .. }) = &mut client.following else { continue };
            if client.out.len() > FOLLOWER_BACKLOG {
                *lost += 1;
                continue;
            }
            let lost = std::mem::take(lost);
            let reply = EventsReply { events: vec![event.clone()], lost, forgotten: false };
            self.partial(reactor, id, &Reply::continues(reply));
        }
    }

    /// Gives a client's connection away: whoever gets it serves it from now on.
    pub fn hand_over(&mut self, reactor: &mut Reactor, id: ClientId) -> Option<OwnedFd> {
        let client = self.clients.remove(&id)?;
        reactor.remove(&client.stream, client.token);
        Some(client.stream.into())
    }

    fn flush(&mut self, reactor: &mut Reactor, id: ClientId) -> bool {
        let Some(client) = self.clients.get_mut(&id) else { return false };
        if client.send_some().is_err() || (client.out.is_empty() && client.close_when_sent) {
            self.close(reactor, id);
            return true;
        }
        // Its next call may have come already.
        if client.out.len() <= ANSWERS_BACKLOG && !client.busy {
            self.runnable.push_back(id);
        }
        self.watch(reactor, id);
        false
    }

    /// What is waited for from a client: room to write while answers wait, and calls, unless one is being
    /// answered or too many answers wait.
    fn watch(&self, reactor: &Reactor, id: ClientId) {
        let Some(client) = self.clients.get(&id) else { return };
        let write = !client.out.is_empty();
        if client.busy || client.out.len() > ANSWERS_BACKLOG || client.end_of_input || client.close_when_sent {
            reactor.pause(&client.stream, client.token, write);
        } else {
            reactor.want_write(&client.stream, client.token, write);
        }
    }

    fn close(&mut self, reactor: &mut Reactor, id: ClientId) {
        if let Some(client) = self.clients.remove(&id) {
            reactor.remove(&client.stream, client.token);
        }
    }

    /// Lets everybody go.
    pub fn close_all(&mut self, reactor: &mut Reactor) {
        let ids: Vec<ClientId> = self.clients.keys().copied().collect();
        for id in ids {
            self.close(reactor, id);
        }
    }

    /// Sends what can be sent at once, at the end.
    pub fn flush_all(&mut self, reactor: &mut Reactor) {
        let ids: Vec<ClientId> = self.clients.keys().copied().collect();
        for id in ids {
            self.flush(reactor, id);
        }
    }
}
