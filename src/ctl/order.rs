//! Orders to processes, and the wait for what becomes of them: each result is printed as it comes, on a
//! terminal a line tells who is waited for, and leaving the wait leaves the work alone.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use super::client::{Client, ClientError};
use super::command::{Change, Restart};
use super::fault::Failure;
use super::results::{self, Order};
use super::screen::{CLEAR_LINE, Drawn, Paint, Screen};
use super::session::{Session, pretty};
use super::show::cut;
use crate::model::text::escaped;
use crate::model::time::human;
use crate::protocol::control::{ChangeCall, ChangeReply, ChangeResult, Method, Process, Refusal};

/// A wait that is longer shows how far it is, and again after each such time.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// So many names are told, of the others the number.
const NAMES_MAX: usize = 5;

/// How a wait ended.
enum End {
    Done,
    /// The time that was set is over.
    Late,
    /// Ctrl-C.
    Left,
}

/// What became of an order as far as it was waited for.
struct Waited {
    results: Vec<ChangeResult>,
    waiting: BTreeSet<String>,
    end: End,
}

/// `start`, `stop`, `restart` of all that are named at once.
pub fn change(session: &Session<'_>, order: Order, change: &Change, screen: &mut Screen) -> Result<u8, Failure> {
    // supervisorctl tells a stop only of what ran. Where `status` is not permitted, all count as running.
    let asks = order == Order::Restart && !screen.terminal && !session.json;
    let ran: Option<BTreeSet<String>> = asks.then(|| session.processes(&change.selectors).ok()).flatten().map(|all| {
        let alive = all.into_iter().filter(|process| process.pid.is_some());
        alive.map(|process| process.process).collect()
    });
    let until = change.timeout.map(|timeout| Instant::now() + timeout);
    let call = ChangeCall { selectors: change.selectors.clone(), wait: !change.no_wait };
    let waited = waited(session, order, &call, until, screen)?;
    let reply = ChangeReply { results: waited.results, waiting: Vec::new() };
    if session.json {
        screen.print(&pretty(&reply))?;
    } else if !screen.terminal {
        screen.print(&results::lines(order, &reply, |name| ran.as_ref().is_none_or(|ran| ran.contains(name))))?;
    }
    match waited.end {
        End::Done => Ok(results::exit_code(order, &reply)),
        End::Left => Err(Failure::Left(listed(waited.waiting.iter().map(String::as_str)))),
        End::Late => {
            let waiting = listed(waited.waiting.iter().map(String::as_str)).unwrap_or_else(|| "the result".to_owned());
            Err(Failure::Late { waiting, limit: change.timeout.unwrap_or_default() })
        }
    }
}

/// `restart --rolling`: one process after the other, up to the first that fails.
pub fn rolling(session: &Session<'_>, restart: &Restart, screen: &mut Screen) -> Result<u8, Failure> {
    let change = &restart.change;
    let until = change.timeout.map(|timeout| Instant::now() + timeout);
    let processes = session.known(session.processes(&change.selectors), screen)?;
    let mut all = ChangeReply::default();
    let mut outcome = Ok(0);
    for (number, process) in processes.iter().enumerate() {
        let step = one(session, process, until, change, screen);
        let failed = match step {
            Ok(result) => {
                let done = results::is_done(Order::Restart, result.outcome);
                all.results.push(result);
                (!done).then_some(Ok(1))
            }
            Err(failure) => Some(Err(failure)),
        };
        if let Some(failed) = failed {
            outcome = failed;
            if let Err(failure) = &outcome {
                screen.failure(failure);
            }
            let name = escaped(&process.process);
            let rest = listed(processes[number + 1..].iter().map(|process| process.process.as_str()));
            let rest = rest.map_or_else(|| "it was the last".to_owned(), |rest| format!("not restarted: {rest}"));
            screen.complain(&format!("taskmasterctl: the rolling restart ends at {name}; {rest}"));
            break;
        }
    }
    if session.json {
        screen.print(&pretty(&all))?;
    }
    outcome.map_err(Failure::told)
}

/// One step of a rolling restart.
fn one(
    session: &Session<'_>,
    process: &Process,
    until: Option<Instant>,
    change: &Change,
    screen: &mut Screen,
) -> Result<ChangeResult, Failure> {
    let limit = change.timeout.unwrap_or_default();
    let waiting = || escaped(&process.process).into_owned();
    if until.is_some_and(|until| until <= Instant::now()) {
        return Err(Failure::Late { waiting: waiting(), limit });
    }
    // What `web` means may change meanwhile; `web:0` does not.
    let call = ChangeCall { selectors: vec![format!("{}:{}", process.program, process.instance)], wait: true };
    let waited = waited(session, Order::Restart, &call, until, screen)?;
    match (waited.end, waited.results.into_iter().next()) {
        (End::Done, Some(result)) => {
            if !session.json && !screen.terminal {
                let ran = process.pid.is_some();
                let reply = ChangeReply { results: vec![result.clone()], waiting: Vec::new() };
                screen.print(&results::lines(Order::Restart, &reply, |_| ran))?;
            }
            Ok(result)
        }
        (End::Done, None) => Err(ClientError::Nonsense("an order without a result".to_owned()).into()),
        (End::Late, _) => Err(Failure::Late { waiting: waiting(), limit }),
        (End::Left, _) => Err(Failure::Left(Some(waiting()))),
    }
}

/// Gives the order and takes results until all are there, the time is over or the wait is left. On a terminal
/// each is printed at once.
fn waited(
    session: &Session<'_>,
    order: Order,
    call: &ChangeCall,
    until: Option<Instant>,
    screen: &mut Screen,
) -> Result<Waited, Failure> {
    let mut waited = Waited { results: Vec::new(), waiting: BTreeSet::new(), end: End::Done };
    let mut client = session.client()?;
    client.begin(order.method(), call, call.wait)?;
    let mut progress = Progress::new(screen.moves && !session.json);
    let end = loop {
        match next(&mut client, until, &progress) {
            Ok(Some((reply, more))) => {
                waited.waiting.extend(reply.waiting);
                progress.clear(screen)?;
                for result in reply.results {
                    waited.waiting.remove(&result.process);
                    if screen.terminal && !session.json {
                        screen.print(&results::friendly(order, &result, screen))?;
                    }
                    waited.results.push(result);
                }
                if !more {
                    return Ok(waited);
                }
            }
            Ok(None) if until.is_some_and(|until| until <= Instant::now()) => break End::Late,
            Ok(None) => progress.show(waited.results.len(), &waited.waiting, screen)?,
            Err(ClientError::Interrupted) => break End::Left,
            Err(error) => {
                progress.clear(screen)?;
                return session.known(Err(error), screen);
            }
        }
    };
    progress.clear(screen)?;
    Ok(Waited { end, ..waited })
}

fn next(
    client: &mut Client<'_>,
    until: Option<Instant>,
    progress: &Progress,
) -> Result<Option<(ChangeReply, bool)>, ClientError> {
    let limits = [until, progress.due].into_iter().flatten().min();
    client.next_answer(limits.map(|limit| limit.saturating_duration_since(Instant::now())))
}

/// The line that tells how far a long wait is.
struct Progress {
    started: Instant,
    /// When it is shown next; `None`: never.
    due: Option<Instant>,
    shown: bool,
}

impl Progress {
    fn new(shows: bool) -> Self {
        let started = Instant::now();
        Self { started, due: shows.then(|| started + PROGRESS_EVERY), shown: false }
    }

    fn show(&mut self, done: usize, waiting: &BTreeSet<String>, screen: &mut Screen) -> io::Result<()> {
        let now = Instant::now();
        if self.due.is_none_or(|due| now < due) {
            return Ok(());
        }
        self.due = Some(now + PROGRESS_EVERY);
        let names = listed(waiting.iter().map(String::as_str)).unwrap_or_else(|| "the supervisor".to_owned());
        let elapsed = human(Duration::from_secs(now.duration_since(self.started).as_secs()));
        let count = match done + waiting.len() {
            0 | 1 => String::new(),
            all => format!("{done} of {all} done, "),
        };
        let line = format!("{elapsed}: {count}waiting for {names} (Ctrl-C leaves)");
        let line = screen.painted(&cut(&line, screen.width().saturating_sub(1)), Paint::Faint);
        self.shown = true;
        *screen.drawn() = Drawn::Progress;
        screen.print(&format!("{CLEAR_LINE}{line}"))
    }

    fn clear(&mut self, screen: &mut Screen) -> io::Result<()> {
        if std::mem::take(&mut self.shown) {
            *screen.drawn() = Drawn::Nothing;
            screen.print(CLEAR_LINE)?;
        }
        Ok(())
    }
}

/// `a, b, c`, and of many the first few and how many more. `None` for none.
pub fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Option<String> {
    let more = names.len().saturating_sub(NAMES_MAX);
    let shown: Vec<String> = names.take(NAMES_MAX).map(|name| escaped(name).into_owned()).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!shown.is_empty()).then(|| shown.join(", ") + &more)
}

impl Order {
    pub fn method(self) -> Method {
        match self {
            Self::Start => Method::Start,
            Self::Stop => Method::Stop,
            Self::Restart => Method::Restart,
            Self::Signal => Method::Signal,
            Self::Clear => Method::Clear,
        }
    }
}

impl Session<'_> {
    /// In a script, a name that nothing has is told as supervisorctl tells it.
    pub fn known<T>(&self, answer: Result<T, ClientError>, screen: &mut Screen) -> Result<T, Failure> {
        self.known_as(answer, results::no_such, screen)
    }

    /// The same in other words.
    pub fn known_as<T>(
        &self,
        answer: Result<T, ClientError>,
        no_such: fn(&str) -> String,
        screen: &mut Screen,
    ) -> Result<T, Failure> {
        match answer {
            Err(ClientError::Refused(Refusal::NoSuchProgram { selector, suggestion }))
                if !screen.terminal && !self.json =>
            {
                screen.print(&no_such(&selector))?;
                if suggestion.is_some() {
                    let refusal = Refusal::NoSuchProgram { selector, suggestion };
                    screen.complain(&format!("taskmasterctl: {}", ClientError::Refused(refusal)));
                }
                Err(Failure::Told(4))
            }
            other => Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_the_first_are_told_and_how_many_more() {
        assert_eq!(listed([].into_iter()), None);
        assert_eq!(listed(["a", "b\n"].into_iter()).as_deref(), Some("a, b\\n"));
        let seven = ["a", "b", "c", "d", "e", "f", "g"];
        assert_eq!(listed(seven.into_iter()).as_deref(), Some("a, b, c, d, e and 2 more"));
    }
}
