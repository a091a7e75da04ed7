//! `attach`: a running process on this terminal, until its keys detach it, it ends, or the terminal goes.
//!
//! The connection goes on with frames after the supervisor's answer. Keys are looked at also while the program
//! takes no input: it can always be left. A logger that is started anew is attached to again.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::client::ClientError;
use super::command::Attach;
use super::fault::Failure;
use super::keys::{Found, Typed};
use super::screen::{Drawn, Screen};
use super::session::Session;
use super::window::{self, Window};
use crate::model::text::escaped;
use crate::protocol::attach::{Decoder, End, FromClient, Size, ToClient};
use crate::protocol::control::{AttachCall, AttachReply, Method, Refusal};
use crate::system::stdio;
use crate::system::terminal::{Signalled, Signals, wait_for_any_or_room};

/// What may be typed ahead of a program that takes no input; what is more is not sent.
const AHEAD_MAX: usize = 64 << 10;
/// How long a lost connection is tried again, and how often.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
const UNTAKEN: &str = "left before the program had taken all of its input";
const BELL: &[u8] = b"\x07";

pub fn attach(session: &Session<'_>, call: &Attach, screen: &mut Screen) -> Result<u8, Failure> {
    let (reply, stream, rest) = session.known(ask(session, call), screen)?;
    let on_terminal = io::stdin().is_terminal() && screen.terminal;
    if reply.terminal && !on_terminal {
        let name = escaped(&reply.process);
        let words = format!("{name} has a terminal: attach to it from one, or follow it with `tail -f {name}`");
        return Err(Failure::Usage(words));
    }
    let signals = Signals::catch()?;
    let mut attached = Attached {
        session,
        call,
        line: Some(Line::new(stream, rest)?),
        typed: Typed::new(call.detach_keys.clone()),
        lost: None,
        reads: reply.writes || io::stdin().is_terminal(),
        patient: !io::stdin().is_terminal(),
        leaving: false,
        window: None,
    };
    let greeting = greeting(&reply, call);
    if reply.terminal {
        attached.window = Some(Window::take(screen)?);
    } else if screen.terminal {
        screen.complain(&format!("[{greeting}]"));
    }
    let left = attached.run(&signals, screen, &greeting);
    drop(attached.window.take());
    *screen.drawn() = Drawn::Nothing;
    drop(signals);
    match left? {
        Left::Detached => {
            if screen.terminal {
                screen.print(&format!("[detached from {}]\n", escaped(&reply.process)))?;
            }
            Ok(0)
        }
        Left::Ended(End::Exited | End::Left, words) => {
            screen.complain(&format!("[{}]", escaped(&words)));
            Ok(0)
        }
        Left::Ended(End::Cut | End::Fault, words) => {
            screen.complain(&format!("taskmasterctl: {}", escaped(&words)));
            Ok(1)
        }
        Left::Lost(error) => Err(error.into()),
    }
}

fn greeting(reply: &AttachReply, call: &Attach) -> String {
    let keys = call.detach_keys.shown();
    let leave = if reply.terminal { format!("{keys} detaches") } else { "Ctrl-C detaches".to_owned() };
    match &reply.reason {
        None => format!("attached to {}; {leave}", reply.process),
        // How to leave comes first: a narrow terminal has no room for the end.
        Some(reason) => format!("{leave}; watching {}: {reason}", reply.process),
    }
}

type Answer = (AttachReply, UnixStream, Vec<u8>);

fn ask(session: &Session<'_>, call: &Attach) -> Result<Answer, ClientError> {
    let size = window::size();
    let parameters = AttachCall {
        process: call.process.clone(),
        read_only: call.read_only,
        share: call.share,
        rows: size.map(|(rows, _)| rows),
        columns: size.map(|(_, columns)| columns),
    };
    session.client()?.upgrade(Method::Attach, &parameters)
}

/// How it ended.
enum Left {
    Detached,
    Ended(End, String),
    Lost(ClientError),
}

/// The connection, with what waits to be sent.
struct Line {
    stream: UnixStream,
    decoder: Decoder,
    waiting: Vec<u8>,
}

impl Line {
    fn new(stream: UnixStream, rest: Vec<u8>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, decoder: Decoder::with(rest), waiting: Vec::new() })
    }

    /// `false`: too much waits.
    fn say(&mut self, message: &FromClient) -> bool {
        let fits = self.waiting.len() < AHEAD_MAX;
        if fits {
            self.waiting.extend(message.encode());
            // A connection that is gone is seen when it is read.
            let _ = self.send();
        }
        fits
    }

    fn send(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// `false`: it is at its end.
    fn receive(&mut self) -> bool {
        let mut bytes = [0; 32 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.decoder.push(&bytes[..count]);
                true
            }
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }
}

struct Attached<'a> {
    session: &'a Session<'a>,
    call: &'a Attach,
    /// `None` while it is lost.
    line: Option<Line>,
    typed: Typed,
    /// Since when, and when it is tried next.
    lost: Option<(Instant, Instant)>,
    /// Whether standard input is read.
    reads: bool,
    /// All that is read is sent, however long it takes: nobody is there who could wait for keys to work.
    patient: bool,
    /// All was read, and the logger was told that nothing comes any more.
    leaving: bool,
    /// Of a program with a terminal.
    window: Option<Window>,
}

impl Attached<'_> {
    fn run(&mut self, signals: &Signals, screen: &mut Screen, greeting: &str) -> Result<Left, Failure> {
        // Not the buffered one: what is typed next is the shell's.
        let mut input = File::from(stdio::duplicate_standard(0)?);
        let mut greeting = Some(greeting).filter(|_| self.window.is_some());
        loop {
            if let Some(left) = self.hear(screen, &mut greeting)? {
                return Ok(left);
            }
            let mut descriptors = vec![signals.as_fd()];
            let full = self.line.as_ref().is_none_or(|line| !line.waiting.is_empty());
            let reads = self.reads && !(self.patient && full);
            descriptors.extend(reads.then(|| input.as_fd()));
            let line: Option<BorrowedFd<'_>> = self.line.as_ref().map(|line| line.stream.as_fd());
            descriptors.extend(line);
            let room = line.filter(|_| self.line.as_ref().is_some_and(|line| !line.waiting.is_empty()));
            let ready = wait_for_any_or_room(&descriptors, room, self.limit())?;
            let line_at = 1 + usize::from(reads);
            if ready[0] {
                for signal in std::iter::from_fn(|| signals.next()) {
                    match signal {
                        Signalled::Ended => return Ok(self.leave()),
                        Signalled::Resized => self.say(&FromClient::Resize(own_size())),
                    }
                }
            }
            if reads
                && ready[1]
                && self.take_input(&mut input)
                && let Some(left) = self.end_input()
            {
                return Ok(left);
            }
            if let Some(line) = &mut self.line {
                let sent = line.send();
                if sent.is_err() || (ready.get(line_at) == Some(&true) && !line.receive()) {
                    // What it said last comes first.
                    if let Some(left) = self.hear(screen, &mut greeting)? {
                        return Ok(left);
                    }
                    if self.leaving {
                        return Ok(Left::Ended(End::Cut, UNTAKEN.to_owned()));
                    }
                    self.lose()?;
                }
            }
            if let Some(left) = self.look_after() {
                return Ok(left);
            }
        }
    }

    /// What has been said by the logger.
    fn hear(&mut self, screen: &mut Screen, greeting: &mut Option<&str>) -> Result<Option<Left>, Failure> {
        loop {
            let Some(line) = &mut self.line else { return Ok(None) };
            match line.decoder.next::<ToClient>() {
                Ok(None) => return Ok(None),
                Ok(Some(ToClient::Output(bytes))) => match &mut self.window {
                    Some(window) => window.show(&bytes)?,
                    None => screen.print_bytes(&bytes)?,
                },
                Ok(Some(ToClient::Notice(words))) => match &mut self.window {
                    Some(window) => window.tell(&words)?,
                    None => screen.complain(&format!("[{}]", escaped(&words))),
                },
                Ok(Some(ToClient::End(End::Left, _))) if self.leaving => return Ok(Some(Left::Detached)),
                Ok(Some(ToClient::End(end, words))) => return Ok(Some(Left::Ended(end, words))),
                Err(fault) => return Ok(Some(Left::Lost(ClientError::Nonsense(fault.to_string())))),
            }
            // Over the screen that was just drawn.
            if let Some(words) = greeting.take()
                && let Some(window) = &mut self.window
            {
                window.tell(words)?;
            }
        }
    }

    /// Takes what was typed; `true`: to be left.
    fn take_input(&mut self, input: &mut File) -> bool {
        let mut bytes = [0; 4096];
        let count = match input.read(&mut bytes) {
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                return false;
            }
            other => other.unwrap_or(0),
        };
        if count == 0 {
            return true;
        }
        let (bytes, leaves) = match self.typed.take(&bytes[..count]) {
            Found::Input(bytes) => (bytes, false),
            Found::Detach(bytes) => (bytes, true),
        };
        if !bytes.is_empty() {
            self.say(&FromClient::Input(bytes));
        }
        leaves
    }

    /// What cannot be sent is told by a bell.
    fn say(&mut self, message: &FromClient) {
        let said = self.line.as_mut().is_some_and(|line| line.say(message));
        if !said && let Some(window) = &mut self.window {
            let _ = window.show(BELL);
        }
    }

    /// Its input has ended: with nobody at a terminal, the logger says when the program has taken all of it.
    fn end_input(&mut self) -> Option<Left> {
        if !self.patient {
            return Some(self.leave());
        }
        self.reads = false;
        self.leaving = true;
        // A line that is lost is told where it is looked after.
        if let Some(line) = &mut self.line {
            line.waiting.extend(FromClient::Leave.encode());
        }
        None
    }

    /// The connection stays open until what was typed is sent, but not for a program that takes nothing.
    fn leave(&mut self) -> Left {
        let Some(line) = &mut self.line else { return Left::Detached };
        let typed_ahead = !line.waiting.is_empty();
        if !self.leaving {
            line.waiting.extend(FromClient::Leave.encode());
        }
        let until = Instant::now() + PAUSE;
        while !line.waiting.is_empty() && Instant::now() < until {
            let waited = wait_for_any_or_room(&[], Some(line.stream.as_fd()), Some(PAUSE));
            if waited.is_err() || line.send().is_err() {
                break;
            }
        }
        // Whoever gave it a file or a pipe believes what the exit code says.
        let untaken = self.leaving || (self.patient && typed_ahead && !line.waiting.is_empty());
        if untaken { Left::Ended(End::Cut, UNTAKEN.to_owned()) } else { Left::Detached }
    }

    fn lose(&mut self) -> io::Result<()> {
        self.line = None;
        let now = Instant::now();
        self.lost = Some((now, now + PAUSE));
        match &mut self.window {
            Some(window) => window.tell("the connection is lost; trying again"),
            None => Ok(()),
        }
    }

    /// What is due: another try to get the connection back, the line that a sentence covers.
    fn look_after(&mut self) -> Option<Left> {
        if let Some((since, due)) = self.lost
            && due <= Instant::now()
        {
            match ask(self.session, self.call) {
                Ok((reply, stream, rest)) if reply.terminal == self.window.is_some() => {
                    self.lost = None;
                    self.line = Line::new(stream, rest).ok();
                }
                Ok(_) => return Some(Left::Detached),
                Err(error) if since.elapsed() < PATIENCE && is_passing(&error) => {
                    self.lost = Some((since, Instant::now() + PAUSE));
                }
                Err(ClientError::Refused(Refusal::Failed { message })) => {
                    return Some(Left::Ended(End::Exited, message));
                }
                Err(error) => return Some(Left::Lost(error)),
            }
        }
        if self.window.as_mut().is_some_and(Window::uncover) && self.line.is_some() {
            self.say(&FromClient::Redraw);
        }
        None
    }

    fn limit(&self) -> Option<Duration> {
        let due = [self.lost.map(|(_, due)| due), self.window.as_ref().and_then(Window::due)];
        due.into_iter().flatten().min().map(|at| at.saturating_duration_since(Instant::now()))
    }
}

/// Whether it may be otherwise in a moment.
fn is_passing(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { .. } | ClientError::Lost | ClientError::Refused(Refusal::Busy { .. }))
}

fn own_size() -> Option<Size> {
    window::size().and_then(|(rows, columns)| Size::new(rows, columns))
}
