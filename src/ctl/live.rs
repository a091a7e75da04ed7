//! `status --watch`: the whole terminal shows the status, and is drawn anew when something happens.
//!
//! Nothing is polled: the supervisor is asked when it has told of an event, at most ten times a second. What
//! changes by itself, the uptimes, is counted here. However it ends, the terminal is left as it was found.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::client::{Client, ClientError};
use super::fault::Failure;
use super::frame::{self, View};
use super::screen::{Drawn, Screen};
use super::session::Session;
use super::zone;
use crate::protocol::control::{EventsCall, EventsReply, Method, Refusal, StatusCall, StatusReply};
use crate::system::terminal::{Keys, Signalled, Signals, wait_for_any};

/// Between two questions for the status.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the supervisor may take to answer before keys are heard again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries to reach a supervisor that is lost, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Uptimes are shown in whole seconds.
const TICK: Duration = Duration::from_secs(1);

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Follows until `q` or Ctrl-C.
pub fn watch(session: &Session<'_>, selectors: &[String], screen: &mut Screen) -> Result<u8, Failure> {
    if !screen.moves {
        let words = "`status --watch` needs a terminal that is not dumb; a script can follow `events -f --json`";
        return Err(Failure::Usage(words.to_owned()));
    }
    let mut live = Live::new(session, selectors);
    // What is wrong with the names or the permission is told before anything is drawn.
    session.known(live.connect(), screen)?;
    let whole = WholeScreen::take(screen)?;
    let result = live.run(&whole.signals, whole.keys.is_some(), screen);
    drop(whole);
    *screen.drawn() = Drawn::Nothing;
    result.map(|()| 0)
}

/// The terminal while it is ours: given back when this is dropped, also by an error or a panic.
struct WholeScreen {
    signals: Signals,
    keys: Option<Keys>,
}

impl WholeScreen {
    fn take(screen: &Screen) -> io::Result<Self> {
        let signals = Signals::catch()?;
        let keys = if io::stdin().is_terminal() { Some(Keys::one_by_one()?) } else { None };
        *screen.drawn() = Drawn::WholeScreen;
        let taken = Self { signals, keys };
        io::stdout().write_all(ENTER.as_bytes())?;
        Ok(taken)
    }
}

impl Drop for WholeScreen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = io::stdout().write_all(LEAVE.as_bytes()).and_then(|()| io::stdout().flush());
    }
}

struct Live<'a> {
    session: &'a Session<'a>,
    selectors: &'a [String],
    view: View,
    names: BTreeSet<String>,
    /// The connection that tells events.
    events: Option<Client<'a>>,
    /// When the next try to get one is due, and the pause after that.
    retry: (Instant, Duration),
    /// Something has happened since the status was asked.
    stale: bool,
}

impl<'a> Live<'a> {
    fn new(session: &'a Session<'a>, selectors: &'a [String]) -> Self {
        let now = Instant::now();
        let view = View { processes: Vec::new(), events: VecDeque::new(), trouble: None, top: 0, asked: now };
        let retry = (now, RETRY_FIRST);
        Self { session, selectors, view, names: BTreeSet::new(), events: None, retry, stale: false }
    }

    /// A new connection for events, then the status: what happens between the two is told.
    fn connect(&mut self) -> Result<(), ClientError> {
        // A Ctrl-C is heard by the loop, not by the connection.
        let mut events = Client::new(self.session.connector.connect()?, None);
        events.begin(Method::Events, &EventsCall { follow: true, ..EventsCall::default() }, true)?;
        let first: Option<(EventsReply, bool)> = events.next_answer(Some(PATIENCE))?;
        let (reply, _) = first.ok_or(ClientError::Late)?;
        self.view.events.clear();
        self.ask()?;
        self.remember(reply);
        self.stale = false;
        self.events = Some(events);
        self.view.trouble = None;
        self.retry.1 = RETRY_FIRST;
        Ok(())
    }

    fn ask(&mut self) -> Result<(), ClientError> {
        let mut client = Client::new(self.session.connector.connect()?, None).with_patience(PATIENCE);
        let call = StatusCall { selectors: self.selectors.to_vec() };
        let reply: StatusReply = client.call(Method::Status, &call)?;
        self.names = reply.processes.iter().map(|process| process.process.clone()).collect();
        self.view.processes = reply.processes;
        self.view.asked = Instant::now();
        self.stale = false;
        Ok(())
    }

    /// Events of those that are shown; without selectors, all.
    fn remember(&mut self, reply: EventsReply) {
        self.stale |= reply.lost > 0;
        for event in reply.events {
            self.stale = true;
            let is_shown = event.facts.process.as_ref().is_some_and(|process| self.names.contains(process));
            if is_shown || self.selectors.is_empty() {
                self.view.events.push_back(event);
            }
        }
        while self.view.events.len() > frame::EVENTS_MAX {
            self.view.events.pop_front();
        }
    }

    fn run(&mut self, signals: &Signals, has_keys: bool, screen: &mut Screen) -> Result<(), Failure> {
        loop {
            self.refresh();
            frame::draw(&mut self.view, Instant::now(), screen, zone::local())?;
            let stdin = io::stdin();
            let mut descriptors = vec![signals.as_fd()];
            descriptors.extend(has_keys.then(|| stdin.as_fd()));
            descriptors.extend(self.events.as_ref().map(AsFd::as_fd));
            let ready = wait_for_any(&descriptors, self.limit(Instant::now()))?;
            let hears = self.events.is_some() && ready.last() == Some(&true);
            if ready[0] && std::iter::from_fn(|| signals.next()).any(|signal| signal == Signalled::Ended) {
                return Ok(());
            }
            if has_keys && ready[1] && self.keys(screen)? {
                return Ok(());
            }
            if hears {
                self.hear();
            }
        }
    }

    /// Asks what is to be asked now. What goes wrong is shown.
    fn refresh(&mut self) {
        let now = Instant::now();
        let outcome = if self.events.is_none() {
            if now < self.retry.0 { Ok(()) } else { self.connect() }
        } else if self.stale && now >= self.view.asked + PAUSE {
            self.ask()
        } else {
            Ok(())
        };
        match outcome {
            Ok(()) => {}
            // A reload has taken away what is named here, and may bring it back.
            Err(error @ ClientError::Refused(Refusal::NoSuchProgram { .. })) => {
                (self.stale, self.view.asked) = (false, now);
                self.view.processes.clear();
                if self.events.is_some() {
                    self.view.trouble = Some(error.to_string());
                } else {
                    self.lose(&error);
                }
            }
            Err(error) => self.lose(&error),
        }
        if self.events.is_some() && !self.view.processes.is_empty() {
            self.view.trouble = None;
        }
    }

    fn lose(&mut self, error: &ClientError) {
        self.events = None;
        self.retry = (Instant::now() + self.retry.1, (self.retry.1 * 2).min(RETRY_MAX));
        self.view.trouble = Some(format!("{error}; trying again"));
    }

    /// Takes the events that have come.
    fn hear(&mut self) {
        while let Some(events) = &mut self.events {
            match events.next_answer(Some(Duration::ZERO)) {
                Ok(None) => return,
                Ok(Some((reply, true))) => self.remember(reply),
                Ok(Some((_, false))) => self.lose(&ClientError::Lost),
                Err(error) => self.lose(&error),
            }
        }
    }

    /// How long nothing is to be done, unless something comes.
    fn limit(&self, now: Instant) -> Option<Duration> {
        let asks = match (&self.events, self.stale) {
            (None, _) => Some(self.retry.0),
            (Some(_), true) => Some(self.view.asked + PAUSE),
            (Some(_), false) => None,
        };
        let counts =
            self.events.is_some() && self.view.processes.iter().any(|process| process.uptime_seconds.is_some());
        let elapsed = now.duration_since(self.view.asked);
        let tick = counts.then(|| now + TICK.saturating_sub(Duration::from_millis(u64::from(elapsed.subsec_millis()))));
        asks.into_iter().chain(tick).min().map(|at| at.saturating_duration_since(now))
    }

    /// Takes what was typed; true to leave.
    fn keys(&mut self, screen: &Screen) -> io::Result<bool> {
        let mut bytes = [0; 256];
        let count = match io::stdin().read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            other => other?,
        };
        // The end of the input: the terminal is gone.
        if count == 0 {
            return Ok(true);
        }
        let page = screen.height().saturating_sub(frame::AROUND).max(1);
        let mut rest = &bytes[..count];
        while let Some((first, after)) = rest.split_first() {
            let top = self.view.top;
            rest = after;
            match first {
                b'q' | b'Q' | 3 => return Ok(true),
                b'j' => self.view.top = top + 1,
                b'k' => self.view.top = top.saturating_sub(1),
                b' ' => self.view.top = top + page,
                0x1b => {
                    let (keys, step): (&[u8], isize) = match after {
                        [b'[' | b'O', b'A', ..] => (&after[..2], -1),
                        [b'[' | b'O', b'B', ..] => (&after[..2], 1),
                        [b'[', b'5', b'~', ..] => (&after[..3], -page.cast_signed()),
                        [b'[', b'6', b'~', ..] => (&after[..3], page.cast_signed()),
                        _ => (&[], 0),
                    };
                    rest = &after[keys.len()..];
                    self.view.top = top.saturating_add_signed(step);
                }
                _ => {}
            }
        }
        Ok(false)
    }
}
