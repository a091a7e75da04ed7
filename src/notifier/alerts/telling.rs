//! The last step on the way to the core, which kills a notifier that says too much: servers, files and
//! people may have given us words of any length.

use crate::model::notify::Health;
use crate::model::text::shortened;
use crate::protocol::notifier::{Answer, FromNotifier, QueueReport};

/// The longest words that leave for the core, in bytes; it takes 4 KiB.
pub const WORDS_MAX: usize = 1 << 10;

/// Cuts all words of the message that others may have chosen.
pub fn shorten(message: &mut FromNotifier) {
    match message {
        FromNotifier::Channel { health, .. } => shorten_health(health),
        FromNotifier::Lost { why, .. } => cut(why),
        FromNotifier::Spool { failure } => failure.iter_mut().for_each(cut),
        FromNotifier::Answer { answer, .. } => shorten_answer(answer),
        FromNotifier::Ready
        | FromNotifier::Written { .. }
        | FromNotifier::LogFailing { .. }
        | FromNotifier::LogRecovered { .. }
        | FromNotifier::WantOutput { .. }
        | FromNotifier::WantSecrets
        | FromNotifier::WantSendmail { .. }
        | FromNotifier::SendmailWritten { .. }
        | FromNotifier::Drained { .. } => {}
    }
}

fn shorten_answer(answer: &mut Answer) {
    match answer {
        Answer::Queue(report) => shorten_report(report),
        Answer::Tested(results) => results.iter_mut().filter_map(|result| result.failure.as_mut()).for_each(cut),
        Answer::Line(words) | Answer::Unknown(words) | Answer::Failed(words) => cut(words),
        // What the core itself has asked for, within its bounds.
        Answer::Done { .. } | Answer::Silenced(_) | Answer::Silences(_) => {}
    }
}

fn shorten_report(report: &mut QueueReport) {
    report.channels.iter_mut().for_each(|channel| shorten_health(&mut channel.health));
    let messages = report.waiting.iter_mut().chain(&mut report.dead);
    messages.filter_map(|message| message.reason.as_mut()).chain(report.spool_failure.as_mut()).for_each(cut);
}

fn shorten_health(health: &mut Health) {
    if let Health::Failing { cause, .. } = health {
        cut(cause);
    }
}

fn cut(words: &mut String) {
    if words.len() > WORDS_MAX {
        *words = shortened(words, WORDS_MAX).into_owned();
    }
}
