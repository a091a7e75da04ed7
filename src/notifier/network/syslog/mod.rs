//! A syslog channel: every event, in its order, as well as the log daemon lets us.
//!
//! One task for each channel writes from a bounded buffer. A daemon that is restarted is connected to again
//! at once with the same event, then with growing pauses; what did not fit into the buffer meanwhile is
//! counted, and the count is the first thing that is written. Over a stream, events of the last seconds
//! before a break are written twice rather than not at all: the protocol has no acknowledgement.

mod buffer;
mod link;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::alert::outcome::{Class, Failure, Outcome};
use crate::alert::syslog::Label;
use crate::model::event::{Event, Facts, Kind, Severity};
use crate::model::id::ChannelName;
use crate::model::notify::{About, Syslog};
use crate::model::time::Moment;
use crate::system::clock;

use super::{JobId, News, SyslogNews};
use buffer::{Buffer, Waiting};
use link::Link;

/// Between two tries to reach the daemon: doubled from the first to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A stream that has lived so long was taken by a log daemon.
const PROVED: Duration = Duration::from_secs(5);
/// How often is told how many were sent, while there are more.
const NEWS_EVERY: Duration = Duration::from_secs(1);

/// Where news go.
pub type Tell = Rc<dyn Fn(News)>;

/// A channel at work, until it is dropped.
pub struct Channel {
    min_severity: Severity,
    shared: Rc<Shared>,
    task: AbortHandle,
}

struct Shared {
    name: ChannelName,
    settings: Syslog,
    tell: Tell,
    buffer: RefCell<Buffer>,
    arrived: Notify,
}

impl Channel {
    /// Starts the channel's task on the current thread's runtime.
    pub fn start(name: ChannelName, min_severity: Severity, settings: Syslog, tell: Tell) -> Self {
        let (buffer, arrived) = (RefCell::default(), Notify::new());
        let shared = Rc::new(Shared { name, settings, tell, buffer, arrived });
        let task = tokio::task::spawn_local(Writer::new(Rc::clone(&shared)).run()).abort_handle();
        Self { min_severity, shared, task }
    }

    /// The same channel with other settings: what waits is kept.
    pub fn restart(&self, min_severity: Severity, settings: Syslog) -> Self {
        let next = Self::start(self.shared.name.clone(), min_severity, settings, Rc::clone(&self.shared.tell));
        next.shared.buffer.swap(&self.shared.buffer);
        next.shared.arrived.notify_one();
        next
    }

    pub fn has(&self, min_severity: Severity, settings: &Syslog) -> bool {
        self.min_severity == min_severity && self.shared.settings == *settings
    }

    /// Not all that was pushed is written.
    pub fn is_waiting(&self) -> bool {
        !self.shared.buffer.borrow().is_empty()
    }

    /// Takes an event, if it is severe enough for this channel.
    pub fn push(&self, event: &Arc<Event>, about: Option<&Arc<About>>) {
        if event.severity <= self.min_severity {
            self.shared.buffer.borrow_mut().push(Waiting { event: Arc::clone(event), about: about.cloned() });
            self.shared.arrived.notify_one();
        }
    }

    /// Sends a line of its own over a connection of its own, and tells how that went.
    pub fn test(&self, job: JobId, host: String) {
        let shared = Rc::clone(&self.shared);
        tokio::task::spawn_local(async move {
            let words = format!("this is a test of the channel {}", shared.name);
            let event = own_event(Kind::NotifyTest, host, words);
            let outcome = match test(&shared.settings, &event).await {
                Ok(()) => Outcome::Sent,
                Err(failure) => Outcome::Failed(failure),
            };
            (shared.tell)(News::Done { job, outcome });
        });
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn test(settings: &Syslog, event: &Event) -> Result<(), Failure> {
    let mut link = Link::open(settings).await?;
    let label = Label::new(settings, event.severity, None);
    link.send(event, &label, &settings.sd_id).await.map_err(|error| Failure::new(Class::Connection, error.to_string()))
}

/// An event of the notifier itself: it has no number, and stands in no event log.
fn own_event(kind: Kind, host: String, words: String) -> Event {
    Event { seq: 0, time: clock::wall(), severity: kind.severity(), kind, host, facts: Facts::message(words) }
}

struct Writer {
    shared: Rc<Shared>,
    /// With the time when it was opened.
    link: Option<(Link, Moment)>,
    failing: Option<Failing>,
    sent: u64,
    told: Moment,
}

struct Failing {
    cause: String,
    pause: Duration,
}

impl Writer {
    fn new(shared: Rc<Shared>) -> Self {
        Self { shared, link: None, failing: None, sent: 0, told: clock::now() }
    }

    async fn run(mut self) {
        loop {
            if self.shared.buffer.borrow().is_empty() {
                self.wait().await;
                continue;
            }
            match self.write_one().await {
                Ok(()) => {
                    self.sent += 1;
                    self.see_whether_it_is_well();
                }
                Err(Trouble::Full) => self.fails("the log daemon does not take messages").await,
                Err(Trouble::Broken(cause)) => {
                    let was_good = self.disconnect();
                    // A daemon that was restarted is there again at once.
                    if !was_good || self.failing.is_some() {
                        self.fails(&cause).await;
                    }
                }
            }
        }
    }

    /// Lets the connection go; gives whether it was one that worked. A stream that ends soon after its
    /// beginning did not: something accepts and closes, or speaks another protocol.
    fn disconnect(&mut self) -> bool {
        let now = clock::now();
        self.shared.buffer.borrow_mut().broken(now);
        let proved = |(link, opened): (Link, Moment)| !link.is_stream() || now.since(opened) >= PROVED;
        self.link.take().is_some_and(proved)
    }

    /// Until there is something to write; a stream that ends meanwhile is let go.
    async fn wait(&mut self) {
        self.tell(0);
        let proof = self.failing.as_ref().and(self.link.as_ref()).map(|(_, opened)| *opened + PROVED);
        let Some((link, _)) = &mut self.link else { return self.shared.arrived.notified().await };
        let proof = async {
            match proof {
                Some(at) => sleep(at.since(clock::now())).await,
                None => std::future::pending().await,
            }
        };
        let is_closed = tokio::select! {
            () = self.shared.arrived.notified() => false,
            () = proof => {
                self.see_whether_it_is_well();
                false
            }
            () = link.closed() => true,
        };
        if is_closed && !self.disconnect() {
            self.fails("the log daemon closes the connection at once").await;
        }
    }

    async fn write_one(&mut self) -> Result<(), Trouble> {
        let Some((number, waiting)) = self.shared.buffer.borrow().front() else { return Ok(()) };
        let (link, _) = match &mut self.link {
            Some(link) => link,
            None => {
                let link = Link::open(&self.shared.settings).await.map_err(|failure| Trouble::Broken(failure.words))?;
                self.link.insert((link, clock::now()))
            }
        };
        // A stream that the daemon has closed takes what is written to it all the same.
        if link.is_stream() && tokio::time::timeout(Duration::ZERO, link.closed()).await.is_ok() {
            return Err(Trouble::Broken("the log daemon has closed the connection".to_owned()));
        }
        let settings = &self.shared.settings;
        let lost = self.shared.buffer.borrow().lost();
        if lost > 0 {
            let words = format!("{lost} messages were lost, because the log could not be reached");
            let event = own_event(Kind::OutputDropped, waiting.event.host.clone(), words);
            let label = Label::new(settings, event.severity, None);
            link.send(&event, &label, &settings.sd_id).await.map_err(Trouble::from)?;
            self.shared.buffer.borrow_mut().told(lost);
            self.tell(lost);
            return Ok(());
        }
        let label = Label::new(settings, waiting.event.severity, waiting.about.as_deref());
        link.send(&waiting.event, &label, &settings.sd_id).await.map_err(Trouble::from)?;
        let is_stream = link.is_stream();
        self.shared.buffer.borrow_mut().written(number, is_stream, clock::now());
        if clock::now().since(self.told) >= NEWS_EVERY {
            self.tell(0);
        }
        Ok(())
    }

    /// A datagram that is taken is enough; a stream has to stay.
    fn see_whether_it_is_well(&mut self) {
        let now = clock::now();
        let proved = self.link.as_ref().is_some_and(|(link, opened)| !link.is_stream() || now.since(*opened) >= PROVED);
        if proved && self.failing.take().is_some() {
            self.tell(0);
        }
    }

    /// Tells how it is, and waits before the next try.
    async fn fails(&mut self, cause: &str) {
        let failing = self.failing.get_or_insert(Failing { cause: String::new(), pause: PAUSE_MIN });
        cause.clone_into(&mut failing.cause);
        let pause = failing.pause;
        failing.pause = (pause * 2).min(PAUSE_MAX);
        self.tell(0);
        sleep(pause).await;
    }

    fn tell(&mut self, lost: u64) {
        let failing = self.failing.as_ref().map(|failing| failing.cause.clone());
        let waiting = self.shared.buffer.borrow().len() as u64;
        let news = SyslogNews { failing, waiting, sent: std::mem::take(&mut self.sent), lost };
        self.told = clock::now();
        (self.shared.tell)(News::Syslog { channel: self.shared.name.clone(), news });
    }
}

enum Trouble {
    /// The connection stands, but takes nothing now.
    Full,
    Broken(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::WouldBlock { Self::Full } else { Self::Broken(error.to_string()) }
    }
}
