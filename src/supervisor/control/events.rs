//! `Events`: what happened lately, and what happens from now on, of what the caller asks and may hear.

use std::rc::Rc;

use crate::model::authority::Verb;
use crate::model::event::Event;
use crate::model::id::ProcessId;
use crate::model::selector::Selector;
use crate::model::time::WallTime;
use crate::policy::selector::Among;
use crate::protocol::control::{EVENTS_SELECTORS_BYTES, EVENTS_SELECTORS_MAX, EventsCall, EventsReply, Refusal};
use crate::protocol::varlink::Reply;
use crate::supervisor::authority;
use crate::supervisor::core::Core;

use super::calls::{Answer, Caller, invalid, not_permitted, unselected};

/// How many past events a client gets that does not say since when.
const BY_DEFAULT: usize = 20;

/// Which processes a client wants to hear of; without selectors, all, and what is about none.
pub struct Only(Vec<Selector<'static>>);

impl Only {
    fn new(selectors: &[String]) -> Self {
        Self(selectors.iter().map(|selector| Selector::new(selector).into_owned()).collect())
    }

    /// Whether the event, about a program of this group, is one of them.
    pub fn covers(&self, event: &Event, group: Option<&str>) -> bool {
        self.0.is_empty() || subject(event).is_some_and(|id| self.0.iter().any(|only| only.matches(&id, group)))
    }
}

/// The process that an event is about.
fn subject(event: &Event) -> Option<ProcessId> {
    let program = event.facts.program.as_ref()?;
    let shown = event.facts.process.as_deref().unwrap_or_default();
    let instance = shown.rsplit_once(':').and_then(|(_, number)| number.parse().ok()).unwrap_or(0);
    Some(ProcessId::new(program, instance))
}

pub(super) fn answer(core: &mut Core, caller: &Caller, call: &EventsCall, more: bool) -> Answer {
    if call.follow && !more {
        return Err(invalid("follow", "follow needs a call with `more`"));
    }
    if call.selectors.len() > EVENTS_SELECTORS_MAX {
        return Err(invalid("selectors", format!("at most {EVENTS_SELECTORS_MAX}")));
    }
    if call.selectors.iter().map(String::len).sum::<usize>() > EVENTS_SELECTORS_BYTES {
        return Err(invalid("selectors", format!("at most {EVENTS_SELECTORS_BYTES} bytes together")));
    }
    let since_time: Option<WallTime> = call
        .since_time
        .as_deref()
        .map(|text| text.parse().map_err(|_| invalid("since_time", "is a time such as 2026-11-20T08:12:03Z")))
        .transpose()?;
    core.rules.judge_some(&caller.peer, Verb::Status).map_err(not_permitted)?;
    let only = Only::new(&call.selectors);
    let may_hear = |event: &&Rc<Event>| {
        let target = authority::target(&core.fleet, event);
        core.rules.may(&caller.peer, Verb::Status, target)
    };
    let covers = |only: &Only, event: &Event| {
        let group = event.facts.program.as_ref().and_then(|name| core.fleet.group_of(name));
        only.covers(event, group)
    };
    // What is not there any more can still be in the events.
    let visible = authority::visible(&core.rules, &core.fleet, &caller.peer, Some(Verb::Status));
    let mut among = Among::new(visible.into_iter());
    for selector in &call.selectors {
        let one = std::slice::from_ref(selector);
        if among.find(selector).map_err(unselected)?.is_empty()
            && selector != "all"
            && !core.journal.since(0).filter(may_hear).any(|event| covers(&Only::new(one), event))
        {
            let suggestion = among.suggestion(selector);
            return Err(Refusal::NoSuchProgram { selector: selector.clone(), suggestion });
        }
    }
    let since = call.since.unwrap_or(0);
    let is_bounded = call.since.is_some() || since_time.is_some();
    let most = if is_bounded { usize::MAX } else { BY_DEFAULT };
    let is_late = |event: &&Rc<Event>| since_time.is_none_or(|since| event.time >= since);
    let newest_first = core.journal.since(since).rev().filter(is_late).filter(may_hear);
    let newest_first = newest_first.filter(|event| covers(&only, event)).take(most);
    let mut events: Vec<Event> = newest_first.map(|event| (**event).clone()).collect();
    events.reverse();
    let forgotten = is_bounded
        && core.journal.since(0).next().is_some_and(|oldest| {
            oldest.seq > since.saturating_add(1) && since_time.is_none_or(|since| oldest.time > since)
        });
    let reply = EventsReply { events, lost: 0, forgotten };
    if call.follow {
        core.follow(caller.client, &Reply::continues(reply), only);
        return Ok(None);
    }
    Ok(Some(Reply::done(reply)))
}
