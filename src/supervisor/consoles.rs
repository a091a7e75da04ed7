//! What somebody can attach to: one console for each life of each process. The logger serves them; what is typed
//! and shown never passes through here.
//!
//! The core keeps a descriptor of every input of its own: a logger that dies closes no program's standard input
//! and hangs up no terminal.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::model::event::{Facts, Kind};
use crate::model::exit::ExitStatus;
use crate::model::id::ProcessId;
use crate::protocol::attach::Size;
use crate::protocol::control::{AttachCall, Channel, Refusal};
use crate::protocol::logger::{ConsoleId, Input, TailId, ToLogger};

use super::core::Core;
use super::output::{Connected, Message, Running};
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
    /// A process runs now that is connected so: the logger reads it, and it can be attached to.
    pub(super) fn has_output(&mut self, id: &ProcessId, Connected { outputs, input }: Connected) {
        let shown = self.fleet.member(id).map_or_else(|| id.to_string(), |member| member.shown(id));
        // Before its outputs: what it draws first may be all that it draws.
        self.open_console(id, shown.clone(), input);
        for mut planned in outputs {
            if let Some(terminal) = planned.terminal.take() {
                self.terminals.insert(id.clone(), terminal);
            }
            let program = self.fleet.member(id).map(|member| &*member.program);
            let running = Running { process: &shown, program, pid: self.pids.get(id).copied() };
            for message in self.output.attach(id, running, planned) {
                self.tell_logger(message);
            }
        }
    }

    /// Programs want to be seen where nobody can see them: that is told once.
    pub(super) fn tell_unseen(&mut self) -> Option<String> {
        let words = self.output.unseen(self.config.programs.iter())?;
        self.record(Kind::OutputDropped, Facts::message(words.clone()));
        Some(words)
    }

    /// A process runs now.
    fn open_console(&mut self, id: &ProcessId, process: String, input: Option<ProgramInput>) {
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
