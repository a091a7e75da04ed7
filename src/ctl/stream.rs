//! The commands that print as things happen: `tail` and `events`.
#![forbid(unsafe_code)]

use std::io;
use std::ops::ControlFlow;

use jiff::tz::TimeZone;

use super::command::Since;
use super::fault::Failure;
use super::run::Session;
use super::screen::{Paint, Screen};
use super::show::cut;
use super::zone;
use crate::alert::line;
use crate::model::event::Event;
use crate::model::text::{escaped, escaped_line, json_escaped};
use crate::model::time::WallTime;
use crate::protocol::control::{Channel, EventsCall, EventsReply, Method, TailCall, TailReply};
use crate::system::clock;

/// Makes a program's output safe to show piece by piece, whatever the pieces are cut like.
#[derive(Default)]
struct Lines {
    /// The last piece ended in a carriage return, which belongs to a line feed that may still come.
    carriage_return: bool,
    mid_line: bool,
}

impl Lines {
    fn shown(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let text = if std::mem::take(&mut self.carriage_return) { format!("\r{text}") } else { text.to_owned() };
        let body = match text.strip_suffix('\r') {
            Some(body) => {
                self.carriage_return = true;
                body
            }
            None => &text,
        };
        for piece in body.split_inclusive('\n') {
            let (line, end) = match piece.strip_suffix('\n') {
                // A terminal's line end is a line end, not a sign to show.
                Some(line) => (line.strip_suffix('\r').unwrap_or(line), "\n"),
                None => (piece, ""),
            };
            out.push_str(&escaped_line(line.as_bytes()));
            out.push_str(end);
            self.mid_line = end.is_empty();
        }
        out
    }

    fn end(&self) -> &'static str {
        if self.mid_line { "\n" } else { "" }
    }
}

pub fn tail(
    session: &Session<'_>,
    screen: &mut Screen,
    selector: &str,
    channel: Channel,
    lines: u32,
    follow: bool,
) -> Result<u8, Failure> {
    let call = TailCall { selectors: vec![selector.to_owned()], channel, lines, follow };
    let mut shown = Lines::default();
    let mut process: Option<String> = None;
    let mut client = session.client()?;
    let outcome = client.call_more(Method::Tail, &call, |reply: TailReply| {
        let printed = if session.json {
            print_json(screen, &reply)
        } else if screen.terminal {
            // Only one process is followed as a rule; where there are several, each piece says whose it is.
            let other = process.as_ref().is_some_and(|before| *before != reply.process);
            let head =
                if other { format!("{}==> {} <==\n", shown.end(), escaped(&reply.process)) } else { String::new() };
            let text = head + &shown.shown(&reply.text);
            process = Some(reply.process);
            screen.print(&text)
        } else {
            screen.print_bytes(reply.text.as_bytes())
        };
        break_on_error(printed)
    });
    if screen.terminal && !session.json {
        screen.print(shown.end())?;
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
        let mut lines = Lines::default();
        assert_eq!(lines.shown("a\x1b[2J\tb\r\nc"), "a\\x1b[2J\tb\nc");
        assert_eq!(lines.end(), "\n");
        assert_eq!(lines.shown("d\r"), "d");
        assert_eq!(lines.shown("\ne\rf\n"), "\ne\\rf\n");
        assert_eq!(lines.end(), "");
    }
}
