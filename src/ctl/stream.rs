//! The commands that print as things happen: `tail` and `events`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

use jiff::tz::TimeZone;

use super::command::{Since, Tail};
use super::fault::Failure;
use super::screen::{Paint, Screen};
use super::session::Session;
use super::show::cut;
use super::zone;
use crate::alert::line;
use crate::model::event::Event;
use crate::model::text::{escaped, escaped_line, json_escaped};
use crate::model::time::WallTime;
use crate::protocol::control::{Channel, EventsCall, EventsReply, Method, TailCall, TailReply};
use crate::system::clock;

/// Makes a program's output ready to show piece by piece, whatever the pieces are cut like.
struct Lines {
    /// Control characters are shown as signs.
    escapes: bool,
    /// The last piece ended in a carriage return, which belongs to a line feed that may still come.
    carriage_return: bool,
}

impl Lines {
    /// The lines of a piece, each without its end, and whether it has one.
    fn of(&mut self, text: &str) -> Vec<(String, bool)> {
        if !self.escapes {
            return pieces(text).map(|(line, ended)| (line.to_owned(), ended)).collect();
        }
        let text = if std::mem::take(&mut self.carriage_return) { format!("\r{text}") } else { text.to_owned() };
        let body = match text.strip_suffix('\r') {
            Some(body) => {
                self.carriage_return = true;
                body
            }
            None => &text,
        };
        // A terminal's line end is a line end, not a sign to show.
        let shown = |(line, ended): (&str, bool)| {
            let line = if ended { line.strip_suffix('\r').unwrap_or(line) } else { line };
            (escaped_line(line.as_bytes()), ended)
        };
        pieces(body).map(shown).collect()
    }
}

fn pieces(text: &str) -> impl Iterator<Item = (&str, bool)> {
    text.split_inclusive('\n').map(|piece| piece.strip_suffix('\n').map_or((piece, false), |line| (line, true)))
}

/// The outputs that are shown, as one text: of several, each line begins with its name.
struct Joined {
    escapes: bool,
    lines: BTreeMap<String, Lines>,
    /// Whose line has not ended.
    open: Option<String>,
}

impl Joined {
    fn new(escapes: bool) -> Self {
        Self { escapes, lines: BTreeMap::new(), open: None }
    }

    fn shown(&mut self, reply: &TailReply) -> String {
        let name = match reply.channel {
            Channel::Stdout => escaped(&reply.process).into_owned(),
            Channel::Stderr => format!("{} stderr", escaped(&reply.process)),
        };
        let escapes = self.escapes;
        let lines = self.lines.entry(name.clone()).or_insert(Lines { escapes, carriage_return: false });
        let mut out = String::with_capacity(reply.text.len());
        for (line, ended) in lines.of(&reply.text) {
            if self.open.as_ref().is_some_and(|open| *open != name) {
                out.push('\n');
                self.open = None;
            }
            if self.open.is_none() && reply.outputs > 1 {
                out.push_str(&name);
                out.push_str(" | ");
            }
            out.push_str(&line);
            if ended {
                out.push('\n');
            }
            self.open = (!ended).then(|| name.clone());
        }
        out
    }

    fn end(&self) -> &'static str {
        if self.open.is_some() { "\n" } else { "" }
    }
}

pub fn tail(session: &Session<'_>, screen: &mut Screen, tail: &Tail) -> Result<u8, Failure> {
    let (selectors, channel) = tail.of();
    let call = TailCall { selectors: selectors.to_vec(), channel, lines: tail.lines, follow: tail.follow };
    let mut joined = Joined::new(screen.terminal && !tail.raw);
    let mut client = session.client()?;
    let outcome = client.call_more(Method::Tail, &call, |reply: TailReply| {
        let printed = if session.json { print_json(screen, &reply) } else { screen.print(&joined.shown(&reply)) };
        break_on_error(printed)
    });
    if screen.terminal && !session.json {
        screen.print(joined.end())?;
    }
    match outcome {
        Ok(None) => Ok(0),
        Ok(Some(error)) => Err(Failure::Output(error)),
        Err(error) => Err(error.into()),
    }
}

pub fn events(
    session: &Session<'_>,
    screen: &mut Screen,
    follow: bool,
    since: Option<Since>,
    selectors: &[String],
) -> Result<u8, Failure> {
    let since_time = since.map(|since| moment(since, clock::wall(), zone::local())).transpose()?;
    let since_time = since_time.map(|time| time.to_string());
    let call = EventsCall { follow, since: None, since_time, selectors: selectors.to_vec() };
    let mut client = session.client()?;
    let outcome = client.call_more(Method::Events, &call, |reply: EventsReply| {
        let mut out = String::new();
        for event in &reply.events {
            out.push_str(&if session.json { line::json(event) } else { shown(event, screen.colour) });
            out.push('\n');
        }
        if reply.forgotten {
            screen.complain("taskmasterctl: earlier events are no longer in memory; the event log has them");
        }
        if reply.lost > 0 {
            screen.complain(&format!("taskmasterctl: {} events came too fast and are missing here", reply.lost));
        }
        break_on_error(screen.print(&out))
    });
    match outcome {
        Ok(None) => Ok(0),
        Ok(Some(error)) => Err(Failure::Output(error)),
        Err(error) => Err(error.into()),
    }
}

/// The moment that is meant.
fn moment(since: Since, now: WallTime, zone: &TimeZone) -> Result<WallTime, Failure> {
    let local = |time: jiff::civil::DateTime| zone.to_timestamp(time);
    let moment = match since {
        Since::At(time) => Ok(time),
        Since::Ago(ago) => now.checked_sub(ago),
        Since::Local(time) => local(time),
        Since::Today(time) => local(now.to_zoned(zone.clone()).date().to_datetime(time)),
    };
    moment.map_err(|_| Failure::Usage("--since is before all time".to_owned()))
}

/// An event as a line, in the colour of how bad it is.
pub fn shown(event: &Event, colour: bool) -> String {
    let text = line::text(event);
    if colour { Paint::of_severity(event.severity).on(&text) } else { text }
}

/// An event for a person at a prompt: local time, few words, one line of this width.
pub fn glimpse(event: &Event, colour: bool, width: usize, zone: &TimeZone) -> String {
    let time = event.time.to_zoned(zone.clone()).strftime("%H:%M:%S");
    let line = format!("{time} {:<7} {}", event.severity.word(), line::brief(event));
    let line = cut(&line, width);
    if colour { Paint::of_severity(event.severity).on(&line) } else { line.into_owned() }
}

fn print_json(screen: &mut Screen, reply: &TailReply) -> io::Result<()> {
    let json = serde_json::to_string(reply).unwrap_or_default();
    screen.print(&format!("{}\n", json_escaped(&json)))
}

fn break_on_error(printed: io::Result<()>) -> ControlFlow<io::Error> {
    match printed {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_moment_or_so_long_ago() {
        let now: WallTime = "2026-11-20T12:00:00Z".parse().expect("a time");
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let at = |since| moment(since, now, &zone).expect("in range").to_string();
        assert_eq!(at(Since::Ago(std::time::Duration::from_secs(600))), "2026-11-20T11:50:00Z");
        assert_eq!(at(Since::At(now)), "2026-11-20T12:00:00Z");
        assert_eq!(at(Since::Local("2026-11-19T08:00".parse().expect("a time"))), "2026-11-19T07:00:00Z");
        assert_eq!(at(Since::Today("08:12".parse().expect("a time"))), "2026-11-20T07:12:00Z");
        assert!(moment(Since::Ago(std::time::Duration::MAX), now, &zone).is_err());
    }

    #[test]
    fn output_is_escaped_line_by_line_however_it_is_cut() {
        let mut joined = Joined::new(true);
        let mut shown = |text: &str| {
            let process = "web".to_owned();
            let text =
                joined.shown(&TailReply { process, channel: Channel::Stdout, outputs: 1, text: text.to_owned() });
            (text, joined.end())
        };
        assert_eq!(shown("a\x1b[2J\tb\r\nc"), ("a\\x1b[2J\tb\nc".to_owned(), "\n"));
        assert_eq!(shown("d\r").0, "d");
        assert_eq!(shown("\ne\rf\n"), ("\ne\\rf\n".to_owned(), ""));
    }
}
