//! Those who are attached to a process: they see all it writes from the screen on that they found, and what
//! they type goes to it.
//!
//! Nobody waits for anybody. A viewer of a terminal that is too slow misses what it has not read and gets the
//! screen as it is then; one of another program, and one that reads nothing at all, is cut off and told. A
//! program that does not read its input stops the reading of that one viewer only.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use crate::protocol::attach::{End, FromClient, Size, encode_output};
use crate::protocol::control::{AttachReply, Refusal};
use crate::protocol::frame;
use crate::protocol::logger::{ConsoleId, StreamId, TailId};
use crate::protocol::varlink::Reply;
use crate::system::poll::{Interest, Ready};

use super::console::{Console, Wrote};
use super::follow::FAREWELL;
use super::ring::RING_MAX;
use super::screen::CELLS_MAX;
use super::seats::Wish;
use super::stream::PIPE_MAX;
use super::viewer::{Frame, Viewer};
use super::{Logger, LoggerError, Timer, cut};

/// How many may be attached at once, to all processes together.
const VIEWERS_MAX: usize = 64;
/// How long a viewer may read nothing while something waits for it.
const STALLED: Duration = Duration::from_secs(30);
/// What is shown of a terminal whose screen is not known.
const LAST_BYTES: usize = 16 << 10;

const TOO_SLOW: &str = "too slow: the program writes faster than this client reads";

#[derive(Default)]
pub struct Attached {
    consoles: BTreeMap<ConsoleId, Console>,
    viewers: BTreeMap<u64, Viewer>,
    /// Whose output it is.
    by_tail: BTreeMap<TailId, ConsoleId>,
    /// Whose input a token of epoll means.
    inputs: BTreeMap<u64, ConsoleId>,
}

impl Attached {
    fn cells_but(&self, id: ConsoleId) -> usize {
        self.consoles.iter().filter(|(known, _)| **known != id).map(|(_, console)| console.cells()).sum()
    }
}

impl Logger {
    pub(super) fn open_console(&mut self, id: ConsoleId, mut console: Console, resumed: bool) {
        console.open_screen(CELLS_MAX.saturating_sub(self.attached.cells_but(id)));
        for tail in console.outputs.clone() {
            self.attached.by_tail.insert(tail, id);
            // What another logger has seen is in the file, and the end of that in memory.
            if resumed && let Some(tail) = self.tails.get(&tail) {
                let bytes = tail.ring.last_bytes(RING_MAX, 0);
                let start = if bytes.len() < RING_MAX { 0 } else { cut::after_first_newline(&bytes).unwrap_or(0) };
                console.feed(&bytes[start..]);
            }
        }
        self.attached.consoles.insert(id, console);
    }

    /// The process has ended: what it wrote last is shown, and everybody is told.
    pub(super) fn close_console(&mut self, id: ConsoleId, how: &str) -> Result<(), LoggerError> {
        let Some(outputs) = self.attached.consoles.get(&id).map(|console| console.outputs.clone()) else {
            return Ok(());
        };
        if self.attached.consoles.get(&id).is_some_and(|console| console.seats.all().next().is_some()) {
            let of_it = self.streams.iter().filter(|(_, stream)| outputs.contains(&stream.tail));
            let open: Vec<StreamId> = of_it.map(|(id, _)| *id).collect();
            for stream in open {
                self.pump(stream, PIPE_MAX)?;
            }
        }
        let Some(mut console) = self.attached.consoles.remove(&id) else { return Ok(()) };
        self.forget_input(&mut console);
        self.attached.by_tail.retain(|_, known| *known != id);
        let viewers: Vec<u64> = console.seats.all().collect();
        self.count_viewers(&outputs, viewers.len(), false);
        for token in viewers {
            self.end_viewer(token, End::Exited, &format!("{}: {how}", console.process));
        }
        Ok(())
    }

    pub(super) fn take_viewer(
        &mut self,
        id: ConsoleId,
        wish: Wish,
        size: Option<Size>,
        connection: OwnedFd,
    ) -> Result<(), LoggerError> {
        let mut viewer = Viewer::new(connection, id, size, self.now)?;
        let refusal = if self.attached.viewers.len() >= VIEWERS_MAX {
            Some(Refusal::Busy { message: format!("{VIEWERS_MAX} clients are attached already") })
        } else if !self.attached.consoles.contains_key(&id) {
            Some(Refusal::Failed { message: "the process has just ended".to_owned() })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            viewer.push(frame::encode(&refusal).into());
            let _ = viewer.write(self.now);
            return Ok(());
        }
        viewer.token = self.poll.add(&viewer, Interest::Read)?;
        let token = viewer.token;
        let Some(console) = self.attached.consoles.get_mut(&id) else { return Ok(()) };
        let wish = if console.takes_input() { wish } else { Wish::Look };
        let writes = console.seats.take(token, wish);
        let reason = match wish {
            _ if writes => None,
            _ if !console.takes_input() => Some("it takes no input: neither `tty` nor `stdin = \"attach\"` is set"),
            Wish::Look => Some("read-only"),
            Wish::Type | Wish::Share => Some("somebody else types, and not all --share"),
        };
        let terminal = console.is_terminal();
        let process = console.process.clone();
        let outputs = console.outputs.clone();
        let reply = AttachReply { process, terminal, writes, reason: reason.map(str::to_owned) };
        viewer.push(frame::encode(&Reply::done(reply)).into());
        viewer.redraw = terminal;
        self.attached.viewers.insert(token, viewer);
        self.count_viewers(&outputs, 1, true);
        self.apply_size(id, token);
        self.serve_viewer(token);
        Ok(())
    }

    /// Outputs that somebody sees are read in smaller pieces.
    fn count_viewers(&mut self, outputs: &[TailId], count: usize, more: bool) {
        for id in outputs {
            if let Some(tail) = self.tails.get_mut(id) {
                tail.viewers = if more { tail.viewers + count } else { tail.viewers.saturating_sub(count) };
            }
        }
    }

    /// The terminal gets the size of the viewer, if that one types.
    fn apply_size(&mut self, id: ConsoleId, token: u64) {
        let others = self.attached.cells_but(id);
        let Some(size) = self.attached.viewers.get(&token).and_then(|viewer| viewer.size) else { return };
        if let Some(console) = self.attached.consoles.get_mut(&id)
            && console.seats.types(token)
        {
            console.resize(size, others);
        }
    }

    /// A viewer, or the input of a program that it waits for.
    pub(super) fn attend_attached(&mut self, ready: Ready) {
        if let Some(id) = self.attached.inputs.get(&ready.token).copied() {
            self.write_typed(id);
            let seated: Option<Vec<u64>> = self.attached.consoles.get(&id).map(|console| console.seats.all().collect());
            // What else they have said can be heard now.
            for token in seated.unwrap_or_default() {
                self.obey_viewer(token);
            }
        } else if let Some(viewer) = self.attached.viewers.get_mut(&ready.token) {
            if ready.readable && viewer.read().is_err() {
                return self.drop_viewer(ready.token);
            }
            self.obey_viewer(ready.token);
        }
    }

    /// Does what the viewer says, as long as the program takes what it types.
    fn obey_viewer(&mut self, token: u64) {
        let mut resized = false;
        while let Some(viewer) = self.attached.viewers.get_mut(&token).filter(|viewer| viewer.typed.is_empty()) {
            let id = viewer.console;
            match viewer.next() {
                Ok(None) => break,
                Ok(Some(FromClient::Input(input))) => {
                    let types = self.attached.consoles.get(&id).is_some_and(|console| console.seats.types(token));
                    if types && !viewer.leaving {
                        viewer.typed = input;
                        self.write_typed(id);
                    }
                }
                Ok(Some(FromClient::Resize(size))) => {
                    viewer.size = size;
                    resized = true;
                }
                Ok(Some(FromClient::Redraw)) => viewer.redraw = true,
                Ok(Some(FromClient::Leave)) => return self.end_viewer(token, End::Left, "detached"),
                Err(fault) => return self.end_viewer(token, End::Fault, &fault.to_string()),
            }
        }
        if resized && let Some(id) = self.attached.viewers.get(&token).map(|viewer| viewer.console) {
            self.apply_size(id, token);
        }
        self.serve_viewer(token);
    }

    /// Gives the program what was typed, and waits for it where it takes no more.
    fn write_typed(&mut self, id: ConsoleId) {
        let Some(mut console) = self.attached.consoles.remove(&id) else { return };
        let mut waits = false;
        for token in console.seats.all().collect::<Vec<_>>() {
            let Some(viewer) = self.attached.viewers.get_mut(&token).filter(|viewer| !viewer.typed.is_empty()) else {
                continue;
            };
            match console.write(&viewer.typed) {
                Wrote::All => viewer.typed.clear(),
                Wrote::Some(count) => {
                    viewer.typed.drain(..count);
                    waits = true;
                }
                Wrote::Closed => {
                    viewer.typed.clear();
                    viewer.tell("the program takes no input any more");
                }
            }
        }
        if waits {
            if console.token.is_none()
                && let Some(input) = console.input()
                && let Ok(token) = self.poll.add(input, Interest::Write)
            {
                console.token = Some(token);
                self.attached.inputs.insert(token, id);
            }
        } else {
            self.forget_input(&mut console);
        }
        let seated: Vec<u64> = console.seats.all().collect();
        self.attached.consoles.insert(id, console);
        for token in seated {
            self.serve_viewer(token);
        }
    }

    fn forget_input(&mut self, console: &mut Console) {
        if let Some(token) = console.token.take() {
            if let Some(input) = console.input() {
                self.poll.remove(input);
            }
            self.attached.inputs.remove(&token);
        }
    }

    /// Sends what the viewer takes, and draws the screen for it when it is its turn.
    fn serve_viewer(&mut self, token: u64) {
        let now = self.now;
        loop {
            let Some(viewer) = self.attached.viewers.get_mut(&token) else { return };
            if viewer.write(now).is_err() {
                return self.drop_viewer(token);
            }
            if viewer.has_waiting() || viewer.leaving || !viewer.redraw {
                break;
            }
            viewer.redraw = false;
            viewer.behind = false;
            let drawn = encode_output(&self.drawn(token));
            if let Some(viewer) = self.attached.viewers.get_mut(&token) {
                viewer.push(drawn.into());
            }
        }
        let Some(viewer) = self.attached.viewers.get(&token) else { return };
        let done = viewer.leaving && !viewer.has_waiting();
        if done || self.poll.change(viewer, token, viewer.interest()).is_err() {
            self.drop_viewer(token);
        }
    }

    /// The screen that a viewer sees, or what is known of it.
    fn drawn(&mut self, token: u64) -> Vec<u8> {
        let Some(viewer) = self.attached.viewers.get(&token) else { return Vec::new() };
        let Some(console) = self.attached.consoles.get_mut(&viewer.console) else { return Vec::new() };
        if !console.is_terminal() {
            return Vec::new();
        }
        console.drawn().unwrap_or_else(|| {
            let tail = console.outputs.first().and_then(|tail| self.tails.get(tail));
            let last = tail.map(|tail| tail.ring.last_bytes(LAST_BYTES, 0)).unwrap_or_default();
            [super::screen::RESET, b"\x1b[H\x1b[J", &last].concat()
        })
    }

    /// Shows what a process writes to all who are attached to it.
    pub(super) fn show_viewers(&mut self, tail: TailId, bytes: &[u8]) {
        let Some(id) = self.attached.by_tail.get(&tail) else { return };
        let Some(console) = self.attached.consoles.get_mut(id) else { return };
        console.feed(bytes);
        let viewers: Vec<u64> = console.seats.all().collect();
        if viewers.is_empty() {
            return;
        }
        let terminal = console.is_terminal();
        let frame: Frame = Rc::from(encode_output(bytes));
        for token in viewers {
            let Some(viewer) = self.attached.viewers.get_mut(&token) else { continue };
            // Who is behind, or waits for the screen, gets this with it.
            if viewer.behind || viewer.redraw {
                continue;
            }
            if viewer.push(Rc::clone(&frame)) {
                self.serve_viewer(token);
            } else if terminal {
                viewer.behind = true;
                viewer.redraw = true;
                self.timers.insert((self.now + STALLED, Timer::Stalled(token)));
            } else {
                self.end_viewer(token, End::Cut, TOO_SLOW);
            }
        }
    }

    pub(super) fn expire_stalled(&mut self, token: u64) {
        let Some(viewer) = self.attached.viewers.get(&token).filter(|viewer| viewer.behind) else { return };
        let due = viewer.moved + STALLED;
        if due > self.now {
            self.timers.insert((due, Timer::Stalled(token)));
        } else {
            self.end_viewer(token, End::Cut, TOO_SLOW);
        }
    }

    /// A viewer gets its last frame and a while to read it; its seat is free at once.
    fn end_viewer(&mut self, token: u64, end: End, words: &str) {
        let Some(viewer) = self.attached.viewers.get_mut(&token) else { return };
        viewer.end(end, words);
        self.timers.insert((self.now + FAREWELL, Timer::Farewell(token)));
        self.leave_seat(token);
        self.serve_viewer(token);
    }

    pub(super) fn drop_viewer(&mut self, token: u64) {
        self.leave_seat(token);
        if let Some(viewer) = self.attached.viewers.remove(&token) {
            self.poll.remove(&viewer);
        }
    }

    /// Somebody leaves the console: who waited for the keyboard gets it, and is told.
    fn leave_seat(&mut self, token: u64) {
        let Some(id) = self.attached.viewers.get(&token).map(|viewer| viewer.console) else { return };
        let Some(console) = self.attached.consoles.get_mut(&id) else { return };
        if !console.seats.all().any(|known| known == token) {
            return;
        }
        let promoted = console.seats.leave(token);
        let outputs = console.outputs.clone();
        self.count_viewers(&outputs, 1, false);
        for token in promoted {
            self.apply_size(id, token);
            if let Some(viewer) = self.attached.viewers.get_mut(&token) {
                viewer.tell("whoever typed has left: you type now");
            }
            self.serve_viewer(token);
        }
    }
}
