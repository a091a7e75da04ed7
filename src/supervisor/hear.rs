//! Hearing the workers: what they say is judged first (`permit`), and only then heeded.

use crate::model::event::{Facts, Kind};
use crate::model::text::escaped;
use crate::protocol::logger::{FromLogger, ToLogger};
use crate::protocol::notifier::FromNotifier;
use crate::protocol::spawner::SinkId;
use crate::system::clock;
use crate::worker::channel::{ChannelError, Received};

use super::core::{Core, Ending};
use super::output::{Loss, Rotation};
use super::permit::Violation;
use super::reactor::Event;
use super::role::Role;

/// How a loss ends that goes on when nobody writes there any more.
const CLOSED: &str = "is closed before it could be written again";

enum Heard {
    Logger(Received<FromLogger>),
    Notifier(Received<FromNotifier>),
}

impl Core {
    /// A worker's channel has something to say.
    pub(super) fn hear_worker(&mut self, role: Role, event: Event) {
        let Some(link) = self.workers.get_mut(&role).and_then(|worker| worker.link.as_mut()) else { return };
        if event.writable && link.channel.flush().is_err() {
            self.kill_worker(role);
            return;
        }
        // A budget per turn: a chatty worker must not keep the loop.
        for _ in 0..256 {
            let Some(link) = self.workers.get_mut(&role).and_then(|worker| worker.link.as_mut()) else { return };
            let heard = match role {
                Role::Logger => link.channel.receive().map(|got| got.map(Heard::Logger)),
                Role::Notifier => link.channel.receive().map(|got| got.map(Heard::Notifier)),
                Role::Shell => Ok(None),
            };
            let judged = match heard {
                Ok(None) => return,
                Ok(Some(heard)) => self.judge(role, &heard).map(|()| heard).map_err(|violation| violation.to_string()),
                Err(ChannelError::Nonsense(what)) => Err(what),
                Err(ChannelError::Closed) => {
                    self.kill_worker(role);
                    return;
                }
                Err(error @ ChannelError::Io(_)) => Err(error.to_string()),
            };
            match judged {
                Ok(Heard::Logger(received)) => self.heed_logger(received.message),
                Ok(Heard::Notifier(received)) => self.heed_notifier(&received.message),
                Err(fault) => return self.end_worker(role, &fault),
            }
        }
    }

    /// A worker has sent what it may not: what that was is told once it has ended.
    pub(super) fn end_worker(&mut self, role: Role, fault: &str) {
        if let Some(worker) = self.workers.get_mut(&role) {
            worker.fault = Some(escaped(fault).into_owned());
        }
        self.kill_worker(role);
    }

    /// Whether the worker may say this now.
    fn judge(&mut self, role: Role, heard: &Heard) -> Result<(), Violation> {
        let Some(worker) = self.workers.get_mut(&role) else { return Ok(()) };
        let descriptors = match heard {
            Heard::Logger(received) => &received.descriptors,
            Heard::Notifier(received) => &received.descriptors,
        };
        if !descriptors.is_empty() {
            return Err(Violation::Descriptors);
        }
        match heard {
            Heard::Logger(received) => worker.permits.judge_logger(&received.message),
            Heard::Notifier(received) => worker.permits.judge_notifier(&received.message, self.journal.under_way()),
        }
    }

    fn heed_logger(&mut self, message: FromLogger) {
        match message {
            FromLogger::Ready => self.worker_is_ready(Role::Logger),
            FromLogger::Rotate { sink } => {
                let rotation = self.output.rotate(sink, clock::now());
                self.rotate(sink, rotation);
            }
            FromLogger::Astray { sink } => {
                let rotation = self.output.astray(sink, clock::now());
                self.rotate(sink, rotation);
            }
            FromLogger::Redial { sink } => {
                if let Some((answer, news)) = self.output.redial(sink, clock::now()) {
                    self.tell_logger(answer);
                    if let Some((kind, words)) = news {
                        self.record(kind, Facts::message(words));
                    }
                }
            }
            FromLogger::Moved { sink } => self.output.moved(sink),
            FromLogger::Ended { stream } => self.output.ended(stream),
            FromLogger::Dropping { sink, errno } => {
                self.output.loss_begins(sink);
                let error = std::io::Error::from_raw_os_error(errno);
                let words = format!("output for {} is dropped: {error}", self.output.path(sink));
                self.record(Kind::OutputDropped, Facts { errno: Some(errno), ..Facts::message(words) });
            }
            FromLogger::Losing { sink, bytes } => {
                if !self.output.loses(sink, bytes) {
                    let loss = Loss { name: self.output.path(sink), bytes };
                    self.tell_loss(&loss, "has not got the rest of a line whose beginning it lost");
                }
            }
            FromLogger::Dropped { sink, bytes } => {
                if let Some((loss, is_open)) = self.output.loss_ends(sink, bytes) {
                    self.tell_loss(&loss, if is_open { "is written again" } else { CLOSED });
                }
            }
            FromLogger::Cleared { ticket, errno } => self.cleared(ticket, errno),
            FromLogger::Compressed { sink, bytes, errno } => self.is_compressed(sink, bytes, errno),
            FromLogger::Drained => {
                if let Some(Ending::Output { survivors, .. }) = self.ending {
                    self.output_is_drained(survivors);
                }
            }
        }
    }

    fn rotate(&mut self, sink: SinkId, rotation: Rotation) {
        match rotation {
            Rotation::Do(work) => self.work_on_file(sink, work),
            Rotation::NotYet => self.tell_logger((ToLogger::Kept { sink }, Vec::new())),
            Rotation::Nothing => {}
        }
    }

    /// The losses that nobody else will end: of files that are closed; with `all`, of every file.
    pub(super) fn tell_last_losses(&mut self, all: bool) {
        for loss in self.output.losses_end(all) {
            self.tell_loss(&loss, CLOSED);
        }
    }

    fn tell_loss(&mut self, loss: &Loss, how: &str) {
        let words = format!("{} {how}; {} bytes were dropped", loss.name, loss.bytes);
        self.record(Kind::OutputDropped, Facts::message(words));
    }

    fn heed_notifier(&mut self, message: &FromNotifier) {
        match message {
            FromNotifier::Ready => self.worker_is_ready(Role::Notifier),
            FromNotifier::Written { seq } => {
                self.journal.written(*seq);
                self.feed_notifier();
            }
            FromNotifier::LogFailing { errno } => {
                let error = std::io::Error::from_raw_os_error(*errno);
                let words = format!("the event log {}: {error}", self.config.supervisor.event_log.display());
                self.record(Kind::NotifyFailing, Facts { errno: Some(*errno), ..Facts::message(words) });
            }
            FromNotifier::LogRecovered { missing } => {
                let words = format!("the event log is written again; {missing} events are missing there");
                self.record(Kind::NotifyRecovered, Facts::message(words));
            }
            FromNotifier::WantOutput { ticket, process, pid } => self.give_output(*ticket, process, *pid),
            FromNotifier::WantSecrets => self.secrets_are_wanted(clock::now()),
            FromNotifier::Channel { channel, health, tell } => self.channel_is(channel, health, *tell),
            FromNotifier::Spool { failure } => self.spool_is(failure.clone()),
            FromNotifier::Lost { messages, why } => self.alerts_are_lost(*messages, why),
            FromNotifier::SendmailWritten { ticket } => self.sendmail_is_written(*ticket),
            FromNotifier::WantSendmail { ticket, channel, recipients } => {
                self.start_sendmail(*ticket, channel, recipients, clock::now());
            }
            FromNotifier::Answer { ticket, answer, last } => self.answered(*ticket, answer, *last),
            FromNotifier::Drained { left } => self.alerts_are_drained(*left),
        }
    }

    fn worker_is_ready(&mut self, role: Role) {
        if let Some(worker) = self.workers.get_mut(&role) {
            worker.has_worked = true;
        }
    }
}
