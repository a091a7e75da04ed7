//! What somebody can attach to: one console for each life of each process. The logger serves them; what is typed
//! and shown never passes through here.
//!
//! The core keeps a descriptor of every input of its own: a logger that dies closes no program's standard input
//! and hangs up no terminal.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::model::exit::ExitStatus;
use crate::model::id::ProcessId;
use crate::protocol::attach::Size;
use crate::protocol::control::{AttachCall, Channel, Refusal};
use crate::protocol::logger::{ConsoleId, Input, TailId, ToLogger};

use super::core::Core;
use super::output::Message;
use super::reactor::ClientId;

/// Where input for a process goes.
pub type ProgramInput = (Input, Rc<OwnedFd>);

struct Console {
    id: ConsoleId,
    process: String,
    outputs: Vec<TailId>,
    input: Option<ProgramInput>,
    /// The logger knows of it. It is told at once of those with input, of the others when somebody attaches.
    announced: bool,
}

/// The processes that run, each with what it can be attached by.
#[derive(Default)]
pub struct Consoles(BTreeMap<ProcessId, Console>);

impl Consoles {
    /// Everything that a logger needs that is started anew.
    pub fn everything(&self) -> Vec<Message> {
        self.0.values().filter(|console| console.announced).map(|console| console.message(true)).collect()
    }
}

impl Console {
    fn message(&self, resumed: bool) -> Message {
        let message = ToLogger::Console {
            console: self.id,
            process: self.process.clone(),
            outputs: self.outputs.clone(),
            input: self.input.as_ref().map(|(kind, _)| *kind),
            resumed,
        };
        (message, self.input.iter().map(|(_, descriptor)| Rc::clone(descriptor)).collect())
    }
}

impl Core {
    /// A process runs now.
    pub(super) fn open_console(&mut self, id: &ProcessId, process: String, input: Option<ProgramInput>) {
        let outputs = [Channel::Stdout, Channel::Stderr].map(|channel| self.output.tail(id, channel)).to_vec();
        let console = Console { id: self.output.console(), process, outputs, announced: input.is_some(), input };
        if console.announced {
            self.tell_logger(console.message(false));
        }
        self.consoles.0.insert(id.clone(), console);
    }

    /// It has ended: who is attached is told.
    pub(super) fn close_console(&mut self, id: &ProcessId, status: ExitStatus) {
        if let Some(console) = self.consoles.0.remove(id).filter(|console| console.announced) {
            self.tell_logger((ToLogger::Exited { console: console.id, how: status.to_string() }, Vec::new()));
        }
    }

    /// Gives the client's connection to the logger, to be attached to the process.
    ///
    /// # Errors
    /// It does not run, or there is no logger now.
    pub fn attach(&mut self, client: ClientId, id: &ProcessId, call: &AttachCall) -> Result<(), Refusal> {
        let Some(console) = self.consoles.0.get_mut(id) else {
            let (shown, state) = self
                .fleet
                .member(id)
                .map_or_else(|| (id.to_string(), "gone"), |member| (member.shown(id), member.life.state().name()));
            return Err(Refusal::Failed { message: format!("{shown} is not running ({state})") });
        };
        let announce = (!console.announced).then(|| console.message(false));
        let message = ToLogger::Attach {
            console: console.id,
            read_only: call.read_only,
            share: call.share,
            size: call.rows.zip(call.columns).and_then(|(rows, columns)| Size::new(rows, columns)),
        };
        console.announced = true;
        announce.into_iter().for_each(|message| self.tell_logger(message));
        // Busy: a client that was attached comes back by itself.
        self.hand_to_logger(client, message).map_err(|message| Refusal::Busy { message })
    }
}
