//! The thread that talks to servers, as the main thread sees it; and in it, who does what.
//!
//! A channel's messages are sent one after the other, those of different channels at once, and tests beside
//! them. All threads that
//! are ever needed are started in the beginning: what the worker then gives up is the right to start more.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use super::secret::Secrets;
use super::servers::{LOOKUPS, Limits, Sender, Tell};
use super::syslog;
use super::{JobId, Message, News, Order, failed};
use crate::alert::outcome::{Class, Outcome};
use crate::model::event::Severity;
use crate::model::id::ChannelName;
use crate::model::notify::{Channel, Syslog, Transport};
use crate::system::account;
use crate::system::bell::Bell;

/// How long to wait for the threads to begin.
const BEGIN: Duration = Duration::from_secs(10);
/// Threads that look names up stay for good.
const FOR_GOOD: Duration = Duration::from_secs(u32::MAX as u64);

/// The network thread has ended, which it never does by itself.
#[derive(Debug)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the thread that talks to servers has ended")
    }
}

/// The main thread's side. Its descriptor is readable when there is news. When it is dropped, whatever is
/// under way is given up.
pub struct Network {
    /// `None` only while it is dropped.
    orders: Option<UnboundedSender<Order>>,
    news: mpsc::Receiver<News>,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// Starts the thread, and those that look up names.
    ///
    /// # Errors
    /// When there can be no more threads or descriptors.
    pub fn start(limits: Limits) -> io::Result<Self> {
        let bell = Arc::new(Bell::new()?);
        let (orders, given) = unbounded_channel();
        let (tell, news) = mpsc::channel();
        let post = Post { news: tell, bell: bell.clone() };
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(LOOKUPS)
            .thread_keep_alive(FOR_GOOD)
            .thread_name("lookup")
            .build()?;
        start_lookups(&runtime)?;
        let work = Work { host: account::host_name(), limits, post };
        let run = move || {
            LocalSet::new().block_on(&runtime, serve(given, work));
            // A look-up may take as long as it likes.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("network".to_owned()).spawn(run)?;
        Ok(Self { orders: Some(orders), news, bell, thread: Some(thread) })
    }

    /// Never waits.
    ///
    /// # Errors
    /// When there is nobody to do it.
    pub fn order(&self, order: Order) -> Result<(), Gone> {
        self.orders.as_ref().ok_or(Gone)?.send(order).map_err(|_| Gone)
    }

    /// All that has come since the last time.
    pub fn news(&self) -> Vec<News> {
        self.bell.quiet();
        self.news.try_iter().collect()
    }
}

impl AsFd for Network {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Has the runtime start all threads that it may have: it does so only while the others are busy.
fn start_lookups(runtime: &Runtime) -> io::Result<()> {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock();
    let (here, arrived) = mpsc::channel();
    for _ in 0..LOOKUPS {
        let (gate, here) = (gate.clone(), here.clone());
        runtime.spawn_blocking(move || {
            let _ = here.send(());
            drop(gate.lock());
        });
    }
    let all = (0..LOOKUPS).all(|_| arrived.recv_timeout(BEGIN).is_ok());
    drop(closed);
    if all { Ok(()) } else { Err(io::Error::other("the threads that look up names do not begin")) }
}

/// The way back to the main thread.
#[derive(Clone)]
pub struct Post {
    news: mpsc::Sender<News>,
    bell: Arc<Bell>,
}

impl Post {
    pub fn send(&self, news: News) {
        // Nobody listens any more: then nobody wants to know.
        let _ = self.news.send(news);
        self.bell.ring();
    }

    fn tell(&self, job: JobId, dialogue: bool) -> Tell {
        let post = self.clone();
        dialogue.then(|| Box::new(move |line| post.send(News::Line { job, line })) as Box<dyn Fn(String) + Send + Sync>)
    }
}

/// What every job needs.
#[derive(Clone)]
struct Work {
    host: String,
    limits: Limits,
    post: Post,
}

/// What a channel is to do next.
enum Task {
    /// From here on with these settings.
    Change(Arc<Sender>),
    Send {
        job: JobId,
        message: Message,
        dialogue: bool,
    },
}

/// The channels at work.
#[derive(Default)]
struct Channels {
    sending: BTreeMap<ChannelName, Line>,
    syslog: BTreeMap<ChannelName, syslog::Channel>,
}

/// How long an end waits for log daemons to take what waits for them, and between two looks.
const LAST_EVENTS: Duration = Duration::from_millis(500);
const LAST_LOOK: Duration = Duration::from_millis(5);

/// The two that send for one channel.
struct Line {
    messages: UnboundedSender<Task>,
    /// They wait for no message that is stuck.
    tests: UnboundedSender<Task>,
}

impl Line {
    fn start(post: &Post) -> Self {
        let start = || {
            let (tasks, given) = unbounded_channel();
            tokio::spawn(run(given, post.clone()));
            tasks
        };
        Self { messages: start(), tests: start() }
    }

    fn change(&self, sender: &Arc<Sender>) {
        for tasks in [&self.messages, &self.tests] {
            // It ends only after this end of its tasks is dropped.
            let _ = tasks.send(Task::Change(sender.clone()));
        }
    }

    /// False: there is nobody to do it.
    fn send(&self, job: JobId, message: Message, dialogue: bool) -> bool {
        let tasks = if dialogue { &self.tests } else { &self.messages };
        tasks.send(Task::Send { job, message, dialogue }).is_ok()
    }
}

/// Takes orders until there is nobody left to give any.
async fn serve(mut orders: UnboundedReceiver<Order>, work: Work) {
    let mut channels = Channels::default();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Configure(wanted) => channels.configure(wanted, &work),
            Order::Send { channel, job, message, dialogue } => {
                if !channels.sending.get(&channel).is_some_and(|line| line.send(job, message, dialogue)) {
                    no_such_channel(&work.post, job, &channel);
                }
            }
            Order::TestSyslog { channel, job } => match channels.syslog.get(&channel) {
                Some(syslog) => syslog.test(job, work.host.clone()),
                None => no_such_channel(&work.post, job, &channel),
            },
            Order::Event { event, about } => {
                channels.syslog.values().for_each(|channel| channel.push(&event, about.as_ref()));
            }
        }
    }
    // The last events, the supervisor's own end among them, are still on their way to log daemons.
    let is_waiting = || channels.syslog.values().any(syslog::Channel::is_waiting);
    let written = async {
        while is_waiting() {
            sleep(LAST_LOOK).await;
        }
    };
    let _ = timeout(LAST_EVENTS, written).await;
}

fn no_such_channel(post: &Post, job: JobId, channel: &ChannelName) {
    post.send(News::Done { job, outcome: failed(Class::Configuration, format!("there is no channel {channel}")) });
}

impl Channels {
    /// Channels that are gone finish what they were given; of a log, what waits is lost with its channel.
    fn configure(&mut self, wanted: Vec<(Channel, Secrets)>, work: &Work) {
        let mut kept = Self::default();
        for (channel, secrets) in wanted {
            let name = channel.name.clone();
            if let Transport::Syslog(settings) = channel.transport {
                let known = self.syslog.remove(&name);
                kept.syslog.insert(name.clone(), start_syslog(name, channel.min_severity, settings, known, work));
                continue;
            }
            let line = self.sending.remove(&name).unwrap_or_else(|| Line::start(&work.post));
            line.change(&Arc::new(Sender::new(channel, secrets, &work.host, work.limits)));
            kept.sending.insert(name, line);
        }
        *self = kept;
    }
}

/// A log's channel with these settings, with what waited in the one it had before.
fn start_syslog(
    name: ChannelName,
    min_severity: Severity,
    settings: Syslog,
    known: Option<syslog::Channel>,
    work: &Work,
) -> syslog::Channel {
    match known {
        Some(channel) if channel.has(min_severity, &settings) => channel,
        Some(channel) => channel.restart(min_severity, settings),
        None => {
            let post = work.post.clone();
            syslog::Channel::start(name, min_severity, settings, Rc::new(move |news| post.send(news)))
        }
    }
}

/// One after the other, for one channel.
async fn run(mut tasks: UnboundedReceiver<Task>, post: Post) {
    let mut sender = Arc::new(Sender::Elsewhere);
    while let Some(task) = tasks.recv().await {
        match task {
            Task::Change(changed) => sender = changed,
            Task::Send { job, message, dialogue } => {
                let (sender, tell) = (sender.clone(), post.tell(job, dialogue));
                let attempt = async move { sender.send(&message, &tell).await };
                post.send(News::Done { job, outcome: guarded(attempt).await });
            }
        }
    }
}

/// A panic costs the attempt, not the thread.
async fn guarded(attempt: impl Future<Output = Outcome> + Send + 'static) -> Outcome {
    let outcome = tokio::spawn(attempt).await;
    outcome.unwrap_or_else(|_| failed(Class::Connection, "an error of the program itself: please report it"))
}

#[cfg(all(test, feature = "network"))]
#[path = "runtime_tests.rs"]
pub mod tests;
