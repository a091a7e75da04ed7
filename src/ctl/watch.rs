//! Follows the events while a shell is open, in a thread of its own, and prints them above the prompt.
//!
//! When the supervisor is lost this is told once, and once when it is there again.
#![forbid(unsafe_code)]

use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::client::{Client, ClientError};
use super::connect::Connector;
use super::{stream, zone};
use crate::model::event::{Event, Severity};
use crate::protocol::control::{EventsCall, EventsReply, Method, Refusal};
use crate::system::terminal;

const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What is printed of events, and where.
pub struct Watch {
    /// What is less than this is left out.
    least: Severity,
    colour: bool,
    /// Prints a line above the prompt; false when there is no terminal any more.
    print: Box<dyn FnMut(String) -> bool + Send>,
    /// The newest event that was seen.
    last: Option<u64>,
    contact: Contact,
    /// Whether it tells that the supervisor is lost and there again.
    tells_contact: bool,
}

/// What the user believes about the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Contact {
    /// Nothing has been said: the shell has just begun.
    Unknown,
    There,
    Lost,
}

impl Watch {
    pub fn new(least: Severity, colour: bool, print: Box<dyn FnMut(String) -> bool + Send>) -> Self {
        Self { least, colour, print, last: None, contact: Contact::Unknown, tells_contact: true }
    }

    /// What comes after this event is news.
    pub fn after(self, last: Option<u64>) -> Self {
        Self { last, ..self }
    }

    /// Where the shell itself tells of the supervisor's end.
    pub fn without_contact(self) -> Self {
        Self { tells_contact: false, ..self }
    }

    /// Follows in the background for as long as the shell is open. What it gives hears of the end of each
    /// connection, when all events of it are printed.
    pub fn start(mut self, connector: Arc<Connector>) -> std::io::Result<Receiver<()>> {
        let (ended, hears) = sync_channel(1);
        thread::Builder::new().name("events".to_owned()).spawn(move || self.follow(&connector, &ended))?;
        Ok(hears)
    }

    fn follow(&mut self, connector: &Connector, ended: &SyncSender<()>) {
        let mut pause = PAUSE_FIRST;
        loop {
            let outcome = self.once(connector);
            // One that was not heard yet says the same.
            let _ = ended.try_send(());
            match outcome {
                // The terminal is gone, or events are not for this user.
                Ok(Some(())) | Err(ClientError::Refused(Refusal::NotPermitted { .. })) => return,
                Ok(None) | Err(_) => {}
            }
            if self.contact == Contact::There {
                pause = PAUSE_FIRST;
                if self.tells_contact && !(self.print)("the connection to the supervisor is lost".to_owned()) {
                    return;
                }
            }
            // That there was none at the start has been told by the first `status`.
            self.contact = Contact::Lost;
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One connection, from what is new since the last one to its end.
    fn once(&mut self, connector: &Connector) -> Result<Option<()>, ClientError> {
        let recent: EventsReply =
            Client::new(connector.connect()?, None).call(Method::Events, &EventsCall::default())?;
        if self.contact == Contact::Lost && self.tells_contact && !(self.print)("the supervisor is there".to_owned()) {
            return Ok(Some(()));
        }
        self.contact = Contact::There;
        let newest = recent.events.last().map_or(0, |event| event.seq);
        // What happened before the shell was there is not news; a supervisor that counts anew is.
        let since = match self.last {
            None => newest,
            Some(seen) if newest >= seen => seen,
            Some(_) => 0,
        };
        self.last = Some(since);
        let call = EventsCall { follow: true, since: Some(since), ..EventsCall::default() };
        Client::new(connector.connect()?, None).call_more(Method::Events, &call, |reply: EventsReply| {
            for event in &reply.events {
                self.last = Some(event.seq);
                if !self.show(event) {
                    return ControlFlow::Break(());
                }
            }
            let lost = reply.lost;
            if lost > 0 && !(self.print)(format!("{lost} events came too fast and are missing here")) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
    }

    fn shown(&self, event: &Event) -> String {
        let width = terminal::columns(std::io::stdout().as_fd()).unwrap_or(80);
        stream::glimpse(event, self.colour, width, zone::local())
    }

    fn show(&mut self, event: &Event) -> bool {
        // The order of severities is syslog's: the worst is the least.
        if event.severity > self.least {
            return true;
        }
        let line = self.shown(event);
        (self.print)(line)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::ctl::run::tests::supervisor;
    use crate::model::event::{Facts, Kind};
    use crate::model::time::WallTime;
    use crate::protocol::varlink::Reply;

    fn event(seq: u64, kind: Kind) -> Event {
        let time = WallTime::from_millisecond(0).expect("in range");
        Event { seq, time, severity: kind.severity(), kind, host: String::new(), facts: Facts::default() }
    }

    #[test]
    fn only_what_is_new_and_bad_enough_is_told_and_a_supervisor_that_counts_anew_is_new() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let (_dir, connector) = supervisor(move |call| {
            let since = call.parameters["since"].as_u64();
            heard.lock().expect("unpoisoned").push(since);
            let events = match since {
                None => vec![event(7, Kind::ProcessCrashed)],
                Some(seq) => vec![event(seq + 1, Kind::ProcessRunning), event(seq + 2, Kind::ProcessFatal)],
            };
            vec![Reply::done(EventsReply { events, lost: 0, forgotten: false })]
        });
        let lines = Arc::new(Mutex::new(Vec::new()));
        let printed = Arc::clone(&lines);
        let print = move |line: String| {
            // Without the time, which is local.
            let rest = line.split_once(' ').filter(|(time, _)| time.contains(':')).map(|(_, rest)| rest.to_owned());
            printed.lock().expect("unpoisoned").push(rest.unwrap_or(line));
            true
        };
        let mut watch = Watch::new(Severity::Notice, false, Box::new(print));
        assert!(matches!(watch.once(&connector), Ok(None)));
        assert_eq!(watch.last, Some(9));
        watch.contact = Contact::Lost;
        assert!(matches!(watch.once(&connector), Ok(None)));
        assert_eq!(*asked.lock().expect("unpoisoned"), [None, Some(7), None, Some(0)]);
        let fatal = "CRIT    process fatal";
        assert_eq!(*lines.lock().expect("unpoisoned"), [fatal, "the supervisor is there", fatal]);
    }
}
