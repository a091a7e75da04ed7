//! What each call does, one function a method, once it is seen that the caller may.
//!
//! To a client, processes that it may do nothing with are not there: `all` and globs leave them out, and
//! their names are as unknown as any other. What it sees and may not touch refuses the whole command.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::authority::Verb;
use crate::model::event::{Facts, Kind};
use crate::model::id::ProcessId;
use crate::model::signal::Signal;
use crate::model::state::{State, Wanted};
use crate::policy::lifecycle::Input;
use crate::policy::permission::{Missing, Peer, Target};
use crate::policy::selector::{self, Unselected};
use crate::protocol::control::{
    AttachCall, ChangeCall, ChangeReply, ChangeResult, Channel, Channels, ClearCall, INTERFACE, Method, NoParameters,
    Outcome, Refusal, SignalCall, StatusCall, StatusReply, TAIL_LINES_MAX, TailCall, VersionReply,
};
use crate::protocol::logger::{TailId, ToLogger};
use crate::protocol::varlink::{Call, LongReply, Reply};
use crate::supervisor::authority;
use crate::supervisor::core::Core;
use crate::supervisor::reactor::ClientId;
use crate::system::{clock, process};

use super::waiters::{Goal, Pending};
use super::{Request, config, details, events, notify, programs, security, service, view};

/// An answer at once, or one that comes later by itself.
pub(super) type Answer = Result<Option<Reply>, Refusal>;

/// Who asks.
pub(super) struct Caller {
    pub(super) client: ClientId,
    pub(super) peer: Peer,
}

/// Carries out a call, if the caller may.
pub fn handle(core: &mut Core, request: Request) {
    let Request { client, peer, call } = request;
    let caller = Caller { client, peer };
    let answer = core.rules.admit(&caller.peer).map_err(not_permitted).and_then(|()| {
        match call.method.strip_prefix(INTERFACE).and_then(|rest| rest.strip_prefix('.')) {
            Some(name) => match Method::ALL.into_iter().find(|method| method.name() == name) {
                Some(method) => dispatch(core, &caller, method, call),
                None => Err(Refusal::MethodNotFound { method: call.method }),
            },
            None => service::call(core, &caller.peer, &call.method, call.parameters).map(Some),
        }
    });
    match answer {
        Ok(Some(reply)) => core.answer(client, &reply),
        Ok(None) => {}
        Err(refusal) => {
            if let Refusal::NotPermitted { verb, rule } = &refusal
                && let Some(words) = core.control.denied(verb, rule, clock::now())
            {
                core.record(Kind::ControlDenied, Facts::message(words));
            }
            core.answer(client, &refusal);
        }
    }
}

fn dispatch(core: &mut Core, caller: &Caller, method: Method, call: Call) -> Answer {
    let Call { parameters, more, upgrade, .. } = call;
    if !method.verb().is_of_programs() {
        core.rules.judge(&caller.peer, method.verb(), Target::All).map_err(not_permitted)?;
    }
    match method {
        Method::Status => status(core, caller, &read(parameters)?),
        Method::Details => details::answer(core, caller, &read(parameters)?),
        Method::Security => security::answer(core, caller, &read(parameters)?),
        Method::Start => change(core, caller, &read(parameters)?, Change::Start, more),
        Method::Stop => change(core, caller, &read(parameters)?, Change::Stop, more),
        Method::Restart => change(core, caller, &read(parameters)?, Change::Restart, more),
        Method::Signal => signal(core, caller, &read(parameters)?),
        Method::Reload => programs::reload(core, caller, &read(parameters)?),
        Method::Add => programs::add(core, caller, &read(parameters)?),
        Method::Remove => programs::remove(core, caller, &read(parameters)?),
        Method::Config => config::answer(core, caller, &read(parameters)?),
        Method::Reopen => {
            let NoParameters {} = read(parameters)?;
            core.reopen_logs();
            Ok(Some(Reply::done(NoParameters {})))
        }
        Method::Tail => tail(core, caller, &read(parameters)?, more),
        Method::Attach => attach(core, caller, &read(parameters)?, upgrade),
        Method::Clear => clear(core, caller, &read(parameters)?),
        Method::Events => events::answer(core, caller, &read(parameters)?, more),
        Method::NotifyQueue
        | Method::NotifyTest
        | Method::NotifyRetry
        | Method::NotifyDrop
        | Method::Silence
        | Method::Unsilence
        | Method::Silences => notify::call(core, caller, method, parameters, more),
        Method::Version => {
            let NoParameters {} = read(parameters)?;
            let version = env!("CARGO_PKG_VERSION").to_owned();
            Ok(Some(Reply::done(VersionReply { version, pid: process::own_pid().0 })))
        }
        Method::Shutdown => {
            let NoParameters {} = read(parameters)?;
            if core.fleet.is_shutting_down() {
                return Err(Refusal::ShuttingDown {});
            }
            core.answer(caller.client, &Reply::done(NoParameters {}));
            core.shut_down("a client asked for it");
            Ok(None)
        }
    }
}

/// The parameters of a call. None at all are an empty object, and one that is null is not there.
pub(super) fn read<T: DeserializeOwned>(parameters: Value) -> Result<T, Refusal> {
    let mut parameters = if parameters.is_null() { Value::Object(serde_json::Map::new()) } else { parameters };
    if let Value::Object(members) = &mut parameters {
        members.retain(|_, value| !value.is_null());
    }
    serde_json::from_value(parameters).map_err(|error| {
        let message = error.to_string();
        // serde names the member in backquotes; varlink wants it alone.
        let named = message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("missing field `"));
        let parameter = named.and_then(|rest| rest.split('`').next()).unwrap_or("parameters").to_owned();
        Refusal::InvalidParameter { parameter, message: Some(message) }
    })
}

pub(super) fn not_permitted(Missing { verb, rule }: Missing) -> Refusal {
    Refusal::NotPermitted { verb, rule }
}

pub(super) fn unselected(unselected: Unselected) -> Refusal {
    match unselected {
        Unselected::NoMatch { selector, suggestion } => Refusal::NoSuchProgram { selector, suggestion },
        Unselected::TooManyPatterns => invalid("selectors", "too many or too long patterns; use fewer, or plain names"),
    }
}

pub(super) fn invalid(parameter: &str, message: impl Into<String>) -> Refusal {
    Refusal::InvalidParameter { parameter: parameter.to_owned(), message: Some(message.into()) }
}

/// The processes that a command names, of those that the caller sees: it must name some, and the caller
/// must be allowed to do this to each.
fn select(core: &Core, caller: &Caller, verb: Verb, selectors: &[String]) -> Result<Vec<ProcessId>, Refusal> {
    if selectors.is_empty() {
        return Err(invalid("selectors", "name at least one process, program or group, or `all`"));
    }
    let visible = authority::visible(&core.rules, &core.fleet, &caller.peer, None);
    let chosen = selector::select(selectors, visible.iter().copied()).map_err(unselected)?;
    if chosen.is_empty() {
        core.rules.judge_some(&caller.peer, verb).map_err(not_permitted)?;
    }
    for program in chosen.iter().filter_map(|id| core.fleet.member(id)).map(|member| &*member.program) {
        core.rules.judge(&caller.peer, verb, Target::of(program)).map_err(not_permitted)?;
    }
    Ok(chosen)
}

/// The processes whose status is asked: of those whose status the caller may know.
pub(super) fn select_status(core: &Core, caller: &Caller, selectors: &[String]) -> Result<Vec<ProcessId>, Refusal> {
    if selectors.is_empty() {
        core.rules.judge_some(&caller.peer, Verb::Status).map_err(not_permitted)?;
        let may = |program| core.rules.may(&caller.peer, Verb::Status, Target::of(program));
        let members = core.fleet.members().filter(|(_, member)| may(&member.program));
        return Ok(members.map(|(id, _)| id.clone()).collect());
    }
    let known = authority::visible(&core.rules, &core.fleet, &caller.peer, Some(Verb::Status));
    match selector::select(selectors, known.iter().copied()) {
        Ok(chosen) => {
            core.rules.judge_some(&caller.peer, Verb::Status).map_err(not_permitted)?;
            Ok(chosen)
        }
        Err(Unselected::TooManyPatterns) => Err(unselected(Unselected::TooManyPatterns)),
        // What is seen for another reason is refused; what is not seen is not there.
        Err(Unselected::NoMatch { .. }) => select(core, caller, Verb::Status, selectors),
    }
}

/// Answered here: with thousands of processes the answer is long.
fn status(core: &mut Core, caller: &Caller, call: &StatusCall) -> Answer {
    let ids = select_status(core, caller, &call.selectors)?;
    let clocks = view::Clocks { now: clock::now(), wall: clock::wall() };
    let processes = ids.iter().filter_map(|id| {
        let member = core.fleet.member(id)?;
        let remembered = core.config.supervisor.remember.then(|| core.fleet.will.of(id)).flatten();
        let (pid, lack) = (core.clones.pid_of(id), core.remains.outside(id));
        Some(view::process(id, member, pid, lack, remembered, &core.own.user, clocks))
    });
    let reply = StatusReply { processes: processes.collect(), channels: notify::problems(core, &caller.peer) };
    core.answer(caller.client, &LongReply { parameters: reply });
    Ok(None)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Start,
    Stop,
    Restart,
}

fn change(core: &mut Core, caller: &Caller, call: &ChangeCall, change: Change, more: bool) -> Answer {
    let verb = match change {
        Change::Start => Verb::Start,
        Change::Stop => Verb::Stop,
        Change::Restart => Verb::Restart,
    };
    let ids = select(core, caller, verb, &call.selectors)?;
    if core.fleet.is_shutting_down() && change != Change::Stop {
        return Err(Refusal::ShuttingDown {});
    }
    let wanted = if change == Change::Stop { Wanted::Down } else { Wanted::Up };
    ids.iter().for_each(|id| core.fleet.ordered_by_hand(id, wanted));
    let mut pending = Pending::new(caller.client, more);
    let mut inputs = Vec::new();
    for id in &ids {
        let Some(member) = core.fleet.member(id) else { continue };
        let shown = member.shown(id);
        let state = member.life.state();
        // A process that only waits for its descendants to be gone is on its way up.
        let at_rest = member.life.is_at_rest();
        let (input, goal) = match (change, state) {
            (Change::Start, State::Stopping) => (Input::Start, Goal::StoppedThenRunning),
            (Change::Start, _) if at_rest => (Input::Start, Goal::Running),
            (Change::Start, State::Starting) if call.wait => {
                pending.wait(id, shown, Goal::RunningAlready);
                continue;
            }
            (Change::Start, _) => {
                pending.known(shown, Outcome::AlreadyStarted, None);
                continue;
            }
            (Change::Stop, _) if at_rest => {
                // Also what rests by itself is to stay down, whatever a reload brings.
                inputs.push((id.clone(), Input::Stop));
                pending.known(shown, Outcome::NotRunning, None);
                continue;
            }
            (Change::Stop, _) => (Input::Stop, Goal::Stopped),
            (Change::Restart, _) if at_rest => (Input::Restart, Goal::Running),
            (Change::Restart, _) => (Input::Restart, Goal::StoppedThenRunning),
        };
        inputs.push((id.clone(), input));
        if call.wait {
            pending.wait(id, shown, goal);
        } else {
            pending.known(shown, Outcome::Ordered, None);
        }
    }
    if change == Change::Stop {
        ids.iter().for_each(|id| core.waiters.superseded(id));
    }
    // First listen, then act: what follows at once must not be missed.
    core.waiters.add(pending);
    for (id, input) in inputs {
        core.input(&id, input);
    }
    Ok(None)
}

fn signal(core: &Core, caller: &Caller, call: &SignalCall) -> Answer {
    let signal = Signal::parse(&call.signal)
        .ok_or_else(|| invalid("signal", format!("{} is not a signal", crate::model::text::quoted(&call.signal))))?;
    let mut results = Vec::new();
    for id in select(core, caller, Verb::Signal, &call.selectors)? {
        let Some(member) = core.fleet.member(&id) else { continue };
        // Before it is executed a signal would meet the spawner's clone instead of the program.
        let target = core.clones.pidfd_of(&id).filter(|_| member.life.since.is_some());
        let (outcome, detail) = match target.map(|pidfd| process::signal(pidfd, signal)) {
            Some(Ok(())) => (Outcome::Signalled, None),
            Some(Err(error)) => (Outcome::NotRunning, Some(error.to_string())),
            None => (Outcome::NotRunning, None),
        };
        results.push(ChangeResult { process: member.shown(&id), outcome, detail });
    }
    Ok(Some(Reply::done(ChangeReply { results, waiting: Vec::new() })))
}

fn clear(core: &mut Core, caller: &Caller, call: &ClearCall) -> Answer {
    let ids = select(core, caller, Verb::Clear, &call.selectors)?;
    core.clear(caller.client, &ids, call.channel);
    Ok(None)
}

fn tail(core: &mut Core, caller: &Caller, call: &TailCall, more: bool) -> Answer {
    if call.follow && !more {
        return Err(invalid("follow", "follow needs a call with `more`"));
    }
    if call.lines > TAIL_LINES_MAX {
        return Err(invalid("lines", format!("at most {TAIL_LINES_MAX}")));
    }
    // The connection goes to the logger as it is: what waits here would be lost.
    if core.control.has_unread(caller.client) {
        return Err(Refusal::Busy { message: "read the earlier answers first".to_owned() });
    }
    let ids = select(core, caller, Verb::Tail, &call.selectors)?;
    let mut tails: Vec<TailId> = Vec::new();
    for id in &ids {
        for channel in channels(core, id, call.channel) {
            tails.push(core.output.tail(id, *channel));
        }
    }
    if tails.len() > 1 && !more {
        return Err(invalid("selectors", "several outputs need a call with `more`"));
    }
    let message = ToLogger::Tail { tails, lines: call.lines, follow: call.follow };
    core.hand_to_logger(caller.client, message).map_err(|message| Refusal::Failed { message })?;
    Ok(None)
}

/// The outputs of a process that are meant.
fn channels(core: &Core, id: &ProcessId, which: Channels) -> &'static [Channel] {
    let has_one = core.fleet.member(id).is_some_and(|member| details::has_one_output(&member.program));
    match which {
        Channels::Both if !has_one => &[Channel::Stdout, Channel::Stderr],
        Channels::Both | Channels::Stdout => &[Channel::Stdout],
        Channels::Stderr => &[Channel::Stderr],
    }
}

fn attach(core: &mut Core, caller: &Caller, call: &AttachCall, upgrade: bool) -> Answer {
    if !upgrade {
        return Err(invalid("upgrade", "the connection goes on with frames: Attach needs a call with `upgrade`"));
    }
    if core.control.has_unread(caller.client) {
        return Err(Refusal::Busy { message: "read the earlier answers first".to_owned() });
    }
    let ids = select(core, caller, Verb::Attach, std::slice::from_ref(&call.process))?;
    let [id] = ids.as_slice() else {
        let names: Vec<String> =
            ids.iter().filter_map(|id| core.fleet.member(id).map(|member| member.shown(id))).take(5).collect();
        let more = if ids.len() > names.len() { ", …" } else { "" };
        let message = match names.as_slice() {
            [] => "it names no process that you see".to_owned(),
            names => format!("attach takes one process, and this names {}{more}", names.join(", ")),
        };
        return Err(invalid("process", message));
    };
    core.attach(caller.client, id, call)?;
    Ok(None)
}
