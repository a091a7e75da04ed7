//! Questions of clients that only the notifier can answer: passed on with a ticket, and answered when its
//! answer comes, or when it is clear that none will.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::notify::Health;
use crate::model::text::cut;
use crate::model::time::Moment;
use crate::policy::permission::Peer;
use crate::protocol::alerting::{
    MessageReport, NotifyCountReply, NotifyQueueReply, NotifyTestReply, Silence, SilenceReply, SilencesReply, Thing,
};
use crate::protocol::control::Refusal;
use crate::protocol::notifier::{Answer, Question, ToNotifier};
use crate::protocol::varlink::Reply;
use crate::system::clock;

use super::control::notify;
use super::core::Core;
use super::reactor::ClientId;
use super::role::Role;

/// At once.
const ASKED_MAX: usize = 16;
/// A test waits for other people's servers; the notifier gives up first.
const TEST_PATIENCE: Duration = Duration::from_secs(130);
const PATIENCE: Duration = Duration::from_secs(10);
/// So much of an answer is passed on: lines, messages, and bytes of each text.
const LINES_MAX: u32 = 10_000;
const MESSAGES_MAX: usize = 10_000;
const TEXT_MAX: usize = 1000;
/// All of one answer, in bytes of JSON.
const ANSWER_MAX: usize = 1 << 20;

/// Those that wait for an answer.
#[derive(Default)]
pub struct Asking {
    last_ticket: u64,
    open: BTreeMap<u64, Asked>,
}

struct Asked {
    client: ClientId,
    peer: Peer,
    /// The client takes lines before the end.
    more: bool,
    lines: u32,
    kind: Kind,
    /// Long answers come in parts; how many bytes they have so far.
    so_far: Option<Answer>,
    bytes: usize,
    until: Moment,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Queue,
    Test,
    Messages,
    Silence,
    Unsilence,
    Silences,
}

impl Kind {
    fn of(question: &Question) -> Self {
        match question {
            Question::Queue => Self::Queue,
            Question::Test { .. } => Self::Test,
            Question::Retry { .. } | Question::Drop { .. } => Self::Messages,
            Question::Silence { .. } => Self::Silence,
            Question::Unsilence { .. } => Self::Unsilence,
            Question::Silences => Self::Silences,
        }
    }

    /// What it is that the notifier may not know.
    fn thing(self) -> Thing {
        match self {
            Self::Test => Thing::Channel,
            Self::Queue | Self::Messages => Thing::Message,
            Self::Silence | Self::Unsilence | Self::Silences => Thing::Silence,
        }
    }
}

impl Asked {
    /// A part of the answer. What is beyond the bound is left out: people read the beginning.
    fn take_part(&mut self, part: &Answer) {
        let part = shortened(part.clone());
        self.bytes = self.bytes.saturating_add(serde_json::to_vec(&part).map_or(0, |json| json.len()));
        if self.bytes <= ANSWER_MAX {
            self.so_far = Some(joined(self.so_far.take(), part));
        }
    }
}

impl Asking {
    /// The client is gone; what it ordered is done all the same.
    pub fn forget(&mut self, client: ClientId) {
        self.open.retain(|_, asked| asked.client != client);
    }

    /// When somebody has waited long enough.
    pub fn deadline(&self) -> Option<Moment> {
        self.open.values().map(|asked| asked.until).min()
    }

    fn take(&mut self, is_over: impl Fn(&Asked) -> bool) -> Vec<ClientId> {
        self.open.extract_if(.., |_, asked| is_over(asked)).map(|(_, asked)| asked.client).collect()
    }
}

impl Core {
    /// Asks the notifier on behalf of a client, which is answered later.
    ///
    /// # Errors
    /// There is no notifier now, or too many ask.
    pub fn ask_notifier(
        &mut self,
        client: ClientId,
        peer: &Peer,
        question: Question,
        more: bool,
    ) -> Result<(), Refusal> {
        if self.workers.get(&Role::Notifier).is_none_or(|worker| worker.link.is_none()) {
            return Err(failed("the notifier is being started again; try once more"));
        }
        if self.asking.open.len() >= ASKED_MAX {
            return Err(Refusal::Busy { message: format!("{ASKED_MAX} questions about alerts are being answered") });
        }
        let kind = Kind::of(&question);
        let until = clock::now() + if kind == Kind::Test { TEST_PATIENCE } else { PATIENCE };
        self.asking.last_ticket += 1;
        let ticket = self.asking.last_ticket;
        let asked = Asked { client, peer: peer.clone(), more, lines: 0, kind, so_far: None, bytes: 0, until };
        self.asking.open.insert(ticket, asked);
        self.tell_notifier(&ToNotifier::Ask { ticket, question }, Vec::new());
        Ok(())
    }

    /// The notifier answers.
    pub(super) fn answered(&mut self, ticket: u64, answer: &Answer, last: bool) {
        // Nobody waits any more.
        let Some(asked) = self.asking.open.get_mut(&ticket) else { return };
        let client = asked.client;
        if let Answer::Line(line) = answer {
            asked.lines = asked.lines.saturating_add(1);
            if asked.more && asked.lines <= LINES_MAX {
                let line = Some(cut(line, TEXT_MAX).to_owned());
                self.partial_answer(client, &Reply::continues(NotifyTestReply { line, results: Vec::new() }));
            }
        } else {
            asked.take_part(answer);
        }
        if !last {
            return;
        }
        let Some(asked) = self.asking.open.remove(&ticket) else { return };
        match self.reply(asked) {
            Ok(reply) => self.answer(client, &reply),
            Err(refusal) => self.answer(client, &refusal),
        }
    }

    fn reply(&self, asked: Asked) -> Result<Reply, Refusal> {
        let kind = asked.kind;
        Ok(match (asked.so_far, kind) {
            (Some(Answer::Queue(report)), Kind::Queue) => Reply::done(NotifyQueueReply::from(report)),
            (Some(Answer::Tested(results)), Kind::Test) => Reply::done(NotifyTestReply { line: None, results }),
            (Some(Answer::Done { count }), Kind::Messages | Kind::Unsilence) => Reply::done(NotifyCountReply { count }),
            (Some(Answer::Silenced(silence)), Kind::Silence) => Reply::done(SilenceReply { silence }),
            (Some(Answer::Silences(mut silences)), Kind::Silences) => {
                silences.retain(|silence| notify::may_silence(self, &asked.peer, &silence.selector).is_ok());
                Reply::done(SilencesReply { silences })
            }
            (Some(Answer::Unknown(name)), _) => {
                let name = cut(&name, TEXT_MAX).to_owned();
                return Err(Refusal::NoSuch { thing: kind.thing(), name, suggestion: None });
            }
            (Some(Answer::Failed(message)), _) => return Err(failed(cut(&message, TEXT_MAX))),
            _ => return Err(failed("the notifier's answer makes no sense")),
        })
    }

    /// The notifier has ended: whoever waits for it, waits in vain.
    pub(super) fn notifier_left_questions(&mut self) {
        self.give_up(|_| true, "the notifier ended before it had answered; try once more");
    }

    /// Answers those who have waited long enough.
    pub(super) fn time_out_questions(&mut self, now: Moment) {
        self.give_up(|asked| asked.until <= now, "the notifier has not answered in time");
    }

    fn give_up(&mut self, is_over: impl Fn(&Asked) -> bool, words: &str) {
        for client in self.asking.take(is_over) {
            self.answer(client, &failed(words));
        }
    }
}

fn failed(message: &str) -> Refusal {
    Refusal::Failed { message: message.to_owned() }
}

/// The parts of one answer, as one.
fn joined(so_far: Option<Answer>, part: Answer) -> Answer {
    match (so_far, part) {
        (Some(Answer::Queue(mut all)), Answer::Queue(part)) => {
            all.channels.extend(part.channels);
            all.waiting.extend(part.waiting);
            all.dead.extend(part.dead);
            all.spool_failure = all.spool_failure.or(part.spool_failure);
            all.channels.truncate(MESSAGES_MAX);
            all.waiting.truncate(MESSAGES_MAX);
            all.dead.truncate(MESSAGES_MAX);
            Answer::Queue(all)
        }
        (Some(Answer::Silences(mut all)), Answer::Silences(part)) => {
            all.extend(part);
            all.truncate(MESSAGES_MAX);
            Answer::Silences(all)
        }
        (Some(Answer::Tested(mut all)), Answer::Tested(part)) => {
            all.extend(part);
            all.truncate(MESSAGES_MAX);
            Answer::Tested(all)
        }
        (_, part) => part,
    }
}

/// With texts of a length that is worth reading.
fn shortened(mut answer: Answer) -> Answer {
    let shorten = |text: &mut String| text.truncate(cut(text, TEXT_MAX).len());
    let silence = |silence: &mut Silence| {
        [&mut silence.id, &mut silence.selector, &mut silence.reason, &mut silence.by].into_iter().for_each(shorten);
    };
    let message = |message: &mut MessageReport| {
        [&mut message.id, &mut message.channel.0, &mut message.subject].into_iter().for_each(shorten);
        message.reason.iter_mut().for_each(shorten);
    };
    match &mut answer {
        Answer::Queue(report) => {
            report.waiting.iter_mut().chain(&mut report.dead).for_each(message);
            report.spool_failure.iter_mut().for_each(shorten);
            for channel in &mut report.channels {
                shorten(&mut channel.channel.0);
                if let Health::Failing { cause, .. } = &mut channel.health {
                    shorten(cause);
                }
            }
        }
        Answer::Silenced(one) => silence(one),
        Answer::Silences(all) => all.iter_mut().for_each(silence),
        Answer::Tested(results) => {
            results.truncate(MESSAGES_MAX);
            for result in results {
                shorten(&mut result.channel.0);
                result.failure.iter_mut().for_each(shorten);
            }
        }
        Answer::Line(_) | Answer::Done { .. } | Answer::Unknown(_) | Answer::Failed(_) => {}
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ChannelName;
    use crate::model::time::WallTime;
    use crate::protocol::notifier::{ChannelReport, QueueReport};

    fn message(id: &str) -> MessageReport {
        MessageReport {
            id: id.to_owned(),
            channel: ChannelName("email".to_owned()),
            subject: "é".repeat(5000),
            time: WallTime::UNIX_EPOCH,
            tries: 1,
            reason: None,
        }
    }

    fn asked(client: u64, until: Moment) -> Asked {
        let (client, peer) = (ClientId(client), Peer::Starter);
        Asked { client, peer, more: false, lines: 0, kind: Kind::Queue, so_far: None, bytes: 0, until }
    }

    #[test]
    fn parts_become_one_answer_of_bounded_size() {
        let mut asked = asked(1, Moment::default());
        let cause = "x".repeat(48_000);
        let channel = ChannelReport {
            channel: ChannelName("y".repeat(48_000)),
            health: Health::Failing { seconds: 1, cause },
            waiting: 0,
            sent: 0,
            failed: 0,
            dropped: 0,
            last_success: None,
            next_try_seconds: None,
        };
        let spool_failure = Some("full".to_owned());
        asked.take_part(&Answer::Queue(QueueReport {
            channels: vec![channel],
            spool_failure,
            ..QueueReport::default()
        }));
        for part in 0..30 {
            let waiting = (0..100).map(|n| message(&format!("{part}-{n}"))).collect();
            asked.take_part(&Answer::Queue(QueueReport { waiting, ..QueueReport::default() }));
        }
        let answer = asked.so_far.expect("an answer");
        let length = serde_json::to_vec(&answer).expect("json").len();
        assert!((ANSWER_MAX / 2..=ANSWER_MAX).contains(&length), "{length}");
        let Answer::Queue(report) = answer else { panic!("{answer:?}") };
        assert_eq!(report.spool_failure.as_deref(), Some("full"));
        assert_eq!((report.waiting[100].id.as_str(), report.waiting[0].subject.len()), ("1-0", TEXT_MAX));
        assert_eq!(report.channels[0].channel.0.len(), TEXT_MAX);
    }

    #[test]
    fn who_waits_is_forgotten_when_it_leaves_and_found_when_it_is_late() {
        let mut asking = Asking::default();
        let at = |seconds| Moment::new(Duration::from_secs(seconds));
        for (ticket, client, until) in [(1, 1, 20), (2, 1, 30), (3, 2, 40)] {
            asking.open.insert(ticket, asked(client, at(until)));
        }
        assert_eq!(asking.deadline(), Some(at(20)));
        assert_eq!(asking.take(|asked| asked.until <= at(25)), [ClientId(1)]);
        asking.forget(ClientId(1));
        assert_eq!(asking.deadline(), Some(at(40)));
    }
}
