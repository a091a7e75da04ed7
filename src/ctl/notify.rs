//! The commands about alerts.
#![forbid(unsafe_code)]

use std::fmt::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::client::{ClientError, understood};
use super::command::NotifyAction;
use super::fault::Failure;
use super::grid::{Heading, grid};
use super::screen::{Paint, Screen};
use super::session::{Session, pretty};
use super::zone;
use crate::model::id::ChannelName;
use crate::model::text::escaped;
use crate::model::time::{WallTime, human, rfc3339_millis};
use crate::protocol::alerting::{
    AlertChannel, ChannelProblem, MessageReport, NotifyCountReply, NotifyIdsCall, NotifyQueueReply, NotifyTestCall,
    NotifyTestReply, SPOOL, SilenceCall, SilenceReply, SilencesReply, TestResult, UnsilenceCall,
};
use crate::protocol::control::{Method, NoParameters};

const CHANNELS: [Heading; 8] = [
    ("CHANNEL", false),
    ("STATE", false),
    ("WAITING", true),
    ("SENT", true),
    ("FAILED", true),
    ("DROPPED", true),
    ("LAST SUCCESS", false),
    ("NEXT TRY", false),
];
const MESSAGES: [Heading; 6] =
    [("ID", false), ("CHANNEL", false), ("TIME", false), ("TRIES", true), ("SUBJECT", false), ("REASON", false)];
const SILENCES: [Heading; 5] = [("ID", false), ("OF", false), ("UNTIL", false), ("BY", false), ("REASON", false)];

/// Carries out one of them; its exit code.
pub fn run(session: &Session<'_>, action: &NotifyAction, screen: &mut Screen) -> Result<u8, Failure> {
    match action {
        NotifyAction::Test { alert_channel } => test(session, alert_channel.as_deref(), screen),
        NotifyAction::Queue => {
            let answer = session.ask(Method::NotifyQueue, &NoParameters {})?;
            show(session, answer, screen, queue)
        }
        NotifyAction::Retry { messages } => {
            let call = NotifyIdsCall { ids: messages.clone() };
            count(session, Method::NotifyRetry, &call, "message", "sent again", screen)
        }
        NotifyAction::Drop { messages } => {
            let call = NotifyIdsCall { ids: messages.clone() };
            count(session, Method::NotifyDrop, &call, "message", "dropped", screen)
        }
        NotifyAction::Silence { selector, duration, reason } => {
            // Part of a second is a second: shorter than wished for is never meant.
            let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
            let call = SilenceCall { selector: selector.clone(), seconds, reason: reason.join(" ") };
            let answer = session.ask(Method::Silence, &call)?;
            show(session, answer, screen, |reply: &SilenceReply, screen| {
                let silence = &reply.silence;
                let (id, selector) = (escaped(&silence.id), escaped(&silence.selector));
                format!("{id}: no alerts about {selector} until {}\n", time(silence.until, screen))
            })
        }
        NotifyAction::Unsilence { silence } => {
            let call = UnsilenceCall { silence: silence.clone() };
            count(session, Method::Unsilence, &call, "silence", "ended", screen)
        }
        NotifyAction::Silences => {
            let answer = session.ask(Method::Silences, &NoParameters {})?;
            show(session, answer, screen, silences)
        }
    }
}

/// Prints an answer: as it came, or in words.
fn show<R: serde::de::DeserializeOwned>(
    session: &Session<'_>,
    answer: Value,
    screen: &mut Screen,
    words: impl Fn(&R, &Screen) -> String,
) -> Result<u8, Failure> {
    let text = if session.json { pretty(&answer) } else { words(&understood(answer)?, screen) };
    screen.print(&text)?;
    Ok(0)
}

fn count(
    session: &Session<'_>,
    method: Method,
    call: &impl Serialize,
    noun: &str,
    done: &str,
    screen: &mut Screen,
) -> Result<u8, Failure> {
    show(session, session.ask(method, call)?, screen, |NotifyCountReply { count }, _| {
        let plural = if *count == 1 { "" } else { "s" };
        format!("{count} {noun}{plural} {done}\n")
    })
}

/// What is said with the servers, as it is said, then how it went.
fn test(session: &Session<'_>, channel: Option<&str>, screen: &mut Screen) -> Result<u8, Failure> {
    let call = NotifyTestCall { channel: channel.map(|name| ChannelName(name.to_owned())) };
    let (mut lines, mut results) = (Vec::new(), Vec::new());
    let stopped = session.client()?.call_more(Method::NotifyTest, &call, |reply: NotifyTestReply| {
        results.extend(reply.results);
        match reply.line {
            Some(line) if session.json => lines.push(line),
            Some(line) => {
                let line = screen.painted(&escaped(&line), Paint::Faint);
                if let Err(error) = screen.print(&format!("{line}\n")) {
                    return ControlFlow::Break(error);
                }
            }
            None => {}
        }
        ControlFlow::Continue(())
    });
    match stopped {
        Ok(None) => {}
        Ok(Some(error)) => return Err(Failure::Output(error)),
        // The test goes on by itself, and nobody hears of it.
        Err(ClientError::Interrupted) => return Err(Failure::Told(1)),
        Err(error) => return Err(error.into()),
    }
    if session.json {
        screen.print(&pretty(&json!({ "lines": lines, "results": results })))?;
    } else if results.is_empty() {
        screen.complain(
            "taskmasterctl: no alert channels are configured: [notify.email], [notify.syslog], [notify.webhooks.NAME]",
        );
    } else {
        let text: String = results.iter().map(|result| tested(result, screen)).collect();
        screen.print(&text)?;
    }
    let all_well = !results.is_empty() && results.iter().all(|result| result.failure.is_none());
    Ok(u8::from(!all_well))
}

fn tested(result: &TestResult, screen: &Screen) -> String {
    let channel = escaped(&result.channel.0);
    match &result.failure {
        None => format!("{channel}: {}\n", screen.painted("sent", Paint::Good)),
        Some(cause) => format!("{channel}: {}: {}\n", screen.painted("failed", Paint::Bad), escaped(cause)),
    }
}

fn queue(reply: &NotifyQueueReply, screen: &Screen) -> String {
    if reply.channels.is_empty() && reply.waiting.is_empty() && reply.dead.is_empty() {
        return "no alert channels are configured\n".to_owned();
    }
    let width = screen.terminal.then(|| screen.width());
    let rows: Vec<Vec<String>> = reply.channels.iter().map(|channel| channel_row(channel, screen)).collect();
    let mut out = grid(&CHANNELS, &rows, width, screen.colour);
    for channel in &reply.channels {
        if let (Some(seconds), Some(cause)) = (channel.failing_seconds, &channel.cause) {
            let (channel, cause) = (channel.channel.clone(), cause.clone());
            out.push_str(&problem(&ChannelProblem { channel, seconds, cause }, screen));
        }
    }
    if let Some(why) = &reply.spool_failure {
        let _ = writeln!(out, "alerts cannot be kept on disk: {}", escaped(why));
    }
    for (heading, messages) in [("waiting", &reply.waiting), ("given up", &reply.dead)] {
        if !messages.is_empty() {
            let rows: Vec<Vec<String>> = messages.iter().map(|message| message_row(message, screen)).collect();
            let _ = write!(out, "\n{heading}:\n{}", grid(&MESSAGES, &rows, width, screen.colour));
        }
    }
    out
}

fn channel_row(channel: &AlertChannel, screen: &Screen) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        channel.channel.to_string(),
        if channel.failing_seconds.is_some() { "failing" } else { "well" }.to_owned(),
        channel.waiting.to_string(),
        channel.sent.to_string(),
        channel.failed.to_string(),
        channel.dropped.to_string(),
        or_dash(channel.last_success.map(|at| time(at, screen))),
        or_dash(channel.next_try_seconds.map(|seconds| format!("in {}", span(seconds)))),
    ]
}

fn message_row(message: &MessageReport, screen: &Screen) -> Vec<String> {
    vec![
        message.id.clone(),
        message.channel.to_string(),
        time(message.time, screen),
        message.tries.to_string(),
        message.subject.clone(),
        message.reason.clone().unwrap_or_default(),
    ]
}

fn silences(reply: &SilencesReply, screen: &Screen) -> String {
    if reply.silences.is_empty() {
        return "nothing is silenced\n".to_owned();
    }
    let rows: Vec<Vec<String>> = reply
        .silences
        .iter()
        .map(|silence| {
            let until = time(silence.until, screen);
            vec![silence.id.clone(), silence.selector.clone(), until, silence.by.clone(), silence.reason.clone()]
        })
        .collect();
    grid(&SILENCES, &rows, screen.terminal.then(|| screen.width()), screen.colour)
}

/// One line about a channel by which nothing gets through, or about the spool.
pub fn problem(problem: &ChannelProblem, screen: &Screen) -> String {
    let (channel, cause) = (escaped(&problem.channel.0), escaped(&problem.cause));
    let what = if problem.channel.0 == SPOOL { "alerts have not been saved" } else { "no alert has got through" };
    let words = format!("{channel}: {what} for {}: {cause}", span(problem.seconds));
    format!("{}\n", screen.painted(&words, Paint::Bad))
}

fn span(seconds: u64) -> String {
    human(Duration::from_secs(seconds)).replace("0ms", "0s")
}

/// For people the time where they are, for programs one that they can read.
fn time(at: WallTime, screen: &Screen) -> String {
    if screen.terminal {
        at.to_zoned(zone::local().clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    } else {
        rfc3339_millis(at)
    }
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
