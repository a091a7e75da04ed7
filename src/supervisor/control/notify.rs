//! The calls about alerts. The notifier answers them; here it is judged who may ask, and whether what is
//! named is there.
//!
//! Alerts are of all programs together, so that most of this needs the right to all. A silence of single
//! programs is for whoever has the verb for each of them, as long as it can never mean others: patterns
//! and `all` could.

use serde_json::Value;

use crate::model::authority::Verb;
use crate::model::id::ChannelName;
use crate::policy::permission::{Peer, Target};
use crate::policy::selector;
use crate::protocol::alerting::{
    ChannelProblem, IDS_MAX, NotifyIdsCall, NotifyTestCall, SILENCE_MAX, SilenceCall, TEXT_MAX, Thing, UnsilenceCall,
};
use crate::protocol::control::{Method, NoParameters, Refusal};
use crate::protocol::notifier::Question;
use crate::supervisor::core::Core;
use crate::system::clock;

use super::calls::{Answer, Caller, invalid, not_permitted, read, unselected};

/// One of the methods about alerts.
pub(super) fn call(core: &mut Core, caller: &Caller, method: Method, parameters: Value, more: bool) -> Answer {
    let question = match method {
        Method::NotifyQueue => {
            judge_all(core, &caller.peer)?;
            let NoParameters {} = read(parameters)?;
            Question::Queue
        }
        Method::NotifyTest => {
            judge_all(core, &caller.peer)?;
            let NotifyTestCall { channel } = read(parameters)?;
            channel.as_ref().map_or(Ok(()), |channel| find_channel(core, channel))?;
            Question::Test { channel }
        }
        Method::NotifyRetry => Question::Retry { ids: ids(core, caller, parameters)? },
        Method::NotifyDrop => Question::Drop { ids: ids(core, caller, parameters)? },
        Method::Silence => silence(core, caller, read(parameters)?)?,
        Method::Unsilence => {
            let UnsilenceCall { silence } = read(parameters)?;
            limited("silence", &silence)?;
            if may_silence(core, &caller.peer, &silence).is_err() {
                // It may be an id, of a silence of anything.
                judge_all(core, &caller.peer)?;
            }
            Question::Unsilence { silence }
        }
        _ => {
            core.rules.judge_some(&caller.peer, Verb::Notify).map_err(not_permitted)?;
            let NoParameters {} = read(parameters)?;
            Question::Silences
        }
    };
    core.ask_notifier(caller.client, &caller.peer, question, more)?;
    Ok(None)
}

fn judge_all(core: &Core, peer: &Peer) -> Result<(), Refusal> {
    core.rules.judge(peer, Verb::Notify, Target::All).map_err(not_permitted)
}

fn limited(parameter: &str, text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.len() > TEXT_MAX {
        return Err(invalid(parameter, format!("`{parameter}` has 1 to {TEXT_MAX} bytes")));
    }
    Ok(())
}

fn ids(core: &Core, caller: &Caller, parameters: Value) -> Result<Vec<String>, Refusal> {
    judge_all(core, &caller.peer)?;
    let NotifyIdsCall { ids } = read(parameters)?;
    if ids.len() > IDS_MAX {
        return Err(invalid("ids", format!("at most {IDS_MAX} messages at once")));
    }
    ids.iter().try_for_each(|id| limited("ids", id))?;
    Ok(ids)
}

fn find_channel(core: &Core, wanted: &ChannelName) -> Result<(), Refusal> {
    let known = core.config.notify.channels.iter().map(|channel| channel.name.0.as_str());
    if known.clone().any(|name| name == wanted.0) {
        return Ok(());
    }
    let suggestion = selector::nearest(&wanted.0, known);
    Err(Refusal::NoSuch { thing: Thing::Channel, name: wanted.0.clone(), suggestion })
}

fn silence(core: &Core, caller: &Caller, call: SilenceCall) -> Result<Question, Refusal> {
    let SilenceCall { selector, seconds, reason } = call;
    limited("selector", &selector)?;
    if reason.len() > TEXT_MAX {
        return Err(invalid("reason", format!("a reason has at most {TEXT_MAX} bytes")));
    }
    if !(1..=SILENCE_MAX).contains(&seconds) {
        let days = SILENCE_MAX / 86_400;
        return Err(invalid("seconds", format!("a silence lasts from 1 second to {days} days")));
    }
    may_silence(core, &caller.peer, &selector)?;
    Ok(Question::Silence { selector, seconds, reason, by: core.rules.name_of(&caller.peer) })
}

/// Whether the peer may have a silence of just this. It must name something now.
///
/// # Errors
/// What would allow it; that it names nothing.
pub fn may_silence(core: &Core, peer: &Peer, selector: &str) -> Result<(), Refusal> {
    let may_all = core.rules.may(peer, Verb::Notify, Target::All);
    let visible = crate::supervisor::authority::visible(&core.rules, &core.fleet, peer, None);
    let one = [selector.to_owned()];
    let seen = selector::select(&one, visible.iter().copied()).map_err(unselected)?;
    if may_all {
        return Ok(());
    }
    core.rules.judge_some(peer, Verb::Notify).map_err(not_permitted)?;
    for program in seen.iter().filter_map(|id| core.fleet.member(id)).map(|member| &*member.program) {
        core.rules.judge(peer, Verb::Notify, Target::of(program)).map_err(not_permitted)?;
    }
    // What it names beyond, now or later, is not named here: the peer may not see it.
    let named = selector::select(&one, core.fleet.selectable()).map_err(unselected)?;
    if selector == "all" || selector.contains(['*', '?', '[']) && !selector.ends_with(":*") || named.len() != seen.len()
    {
        judge_all(core, peer)?;
    }
    Ok(())
}

/// What is wrong with the channels, for somebody who may know the status of everything.
pub fn problems(core: &Core, peer: &Peer) -> Vec<ChannelProblem> {
    if core.rules.may(peer, Verb::Status, Target::All) { core.alerts.problems(clock::now()) } else { Vec::new() }
}
