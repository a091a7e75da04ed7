//! The mail program of the machine, started for the notifier: as its user, but without its confinement,
//! because a sendmail gets its rights by its mode (Postfix's helper is set-gid, Exim set-uid). The message
//! goes from the notifier to it through a pipe, and never through here.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::config::Config;
use crate::model::exit::ExitStatus;
use crate::model::id::ChannelName;
use crate::model::notify::{Email, MailTransport, Transport};
use crate::model::signal::Signal;
use crate::model::time::{Moment, human};
use crate::protocol::notifier::ToNotifier;
use crate::protocol::spawner::{Job, Request, Ticket};
use crate::system::{process, stdio};

use super::clones::{News, Purpose};
use super::core::Core;
use super::role::Role;
use super::spec;

/// At once; one more is refused.
const RUNNING_MAX: usize = 4;
/// From the wish to the end.
const LIMIT: Duration = Duration::from_secs(60);
/// Recipients of one message, all configured.
const RECIPIENTS_MAX: usize = 1000;

/// Those that run.
#[derive(Default)]
pub struct Sendmails(BTreeMap<Ticket, Running>);

struct Running {
    /// The notifier's number for it; none when that notifier is gone.
    wish: Option<u64>,
    until: Moment,
    is_killed: bool,
    /// Keeps its standard input open until the notifier says that all is written.
    input: Option<Rc<OwnedFd>>,
}

impl Sendmails {
    /// When one has had its time.
    pub fn deadline(&self) -> Option<Moment> {
        self.0.values().filter(|running| !running.is_killed).map(|running| running.until).min()
    }
}

impl Core {
    /// The notifier wants a message taken.
    pub(super) fn start_sendmail(&mut self, wish: u64, channel: &ChannelName, recipients: &[String], now: Moment) {
        let started = order(&self.config, channel, recipients).and_then(|order| self.spawn_sendmail(&order, wish, now));
        match started {
            Ok((input, words)) => {
                let descriptors = vec![input, Rc::new(words)];
                self.tell_notifier(&ToNotifier::Sendmail { ticket: wish }, descriptors);
            }
            Err(words) => self.sendmail_ended(wish, Err(words)),
        }
    }

    /// Gives the write end of its standard input and the read end of its standard error.
    fn spawn_sendmail(&mut self, order: &Order, wish: u64, now: Moment) -> Result<(Rc<OwnedFd>, OwnedFd), String> {
        if self.sendmails.0.len() >= RUNNING_MAX {
            return Err(format!("{RUNNING_MAX} run already"));
        }
        let failed = |error: std::io::Error| format!("it cannot be started: {error}");
        let (theirs, input) = stdio::output_pipe().map_err(failed)?;
        // The other way round: here the program reads.
        stdio::set_nonblocking(&theirs, false).map_err(failed)?;
        stdio::set_nonblocking(&input, true).map_err(failed)?;
        let (words, error_output) = stdio::output_pipe().map_err(failed)?;
        let numbers = self.own.worker_uids.of(Role::Notifier);
        let spec = spec::sendmail(&self.own, &order.program, &order.arguments, numbers);
        let announced = self.clones.announce(&mut self.reactor, Purpose::Sendmail, false, now);
        let (ticket, report) = announced.map_err(failed)?;
        let request = Request { ticket, cgroup: false, job: Job::Start(Box::new(spec)) };
        let passed = [report, theirs, error_output].map(Rc::new).to_vec();
        if let Err(error) = self.ask_spawner(&request, passed) {
            self.clones.retract(&mut self.reactor, ticket);
            return Err(format!("it cannot be started: {error}"));
        }
        let input = Rc::new(input);
        let running =
            Running { wish: Some(wish), until: now + LIMIT, is_killed: false, input: Some(Rc::clone(&input)) };
        self.sendmails.0.insert(ticket, running);
        Ok((input, words))
    }

    /// The notifier has written the whole message.
    pub(super) fn sendmail_is_written(&mut self, wish: u64) {
        for running in self.sendmails.0.values_mut().filter(|running| running.wish == Some(wish)) {
            running.input = None;
        }
    }

    /// What became of one.
    pub(super) fn sendmail_news(&mut self, ticket: Ticket, news: News) {
        let result = match news {
            News::Failed(failure) => Err(failure.to_string()),
            News::Exited { status: ExitStatus::Code(code), .. } => Ok(code),
            News::Exited { status, .. } => Err(format!("it was ended by {status}")),
            News::Cloned
            | News::Executed
            | News::Unrestricted(_)
            | News::Stillborn
            | News::Opened { .. }
            | News::Done => return,
        };
        let Some(running) = self.sendmails.0.remove(&ticket) else { return };
        let result = if running.is_killed {
            Err(format!("it was killed, because it had not ended after {}", human(LIMIT)))
        } else {
            result
        };
        if let Some(wish) = running.wish {
            self.sendmail_ended(wish, result);
        }
    }

    fn sendmail_ended(&mut self, ticket: u64, result: Result<u8, String>) {
        self.tell_notifier(&ToNotifier::SendmailEnded { ticket, result }, Vec::new());
    }

    /// Kills those that have had their time.
    pub(super) fn time_out_sendmails(&mut self, now: Moment) {
        self.kill_sendmails(|running| running.until <= now);
    }

    /// Nobody writes to them any more: they must not send half a message.
    pub(super) fn abandon_sendmails(&mut self) {
        self.kill_sendmails(|running| {
            running.wish = None;
            true
        });
    }

    fn kill_sendmails(&mut self, chosen: impl Fn(&mut Running) -> bool) {
        for (ticket, running) in &mut self.sendmails.0 {
            if running.is_killed || !chosen(running) {
                continue;
            }
            running.is_killed = true;
            // It leads a group of its own. As long as it is in the list, it is not reaped.
            if let Some((pid, pidfd)) = self.clones.pidfd(*ticket) {
                let _ = process::signal(pidfd, Signal::KILL);
                let _ = process::signal_group_of_unreaped(pid, Signal::KILL);
            }
        }
    }
}

/// What is to be executed.
#[derive(Debug)]
struct Order {
    program: PathBuf,
    arguments: Vec<String>,
}

/// A notifier that was told the wrong things by somebody must not mail anybody else. What a reload has
/// changed meanwhile is no fault of its.
fn order(config: &Config, channel: &ChannelName, recipients: &[String]) -> Result<Order, String> {
    let (email, program) = configured(config, channel).ok_or("the channel is no longer configured for sendmail")?;
    if !(1..=RECIPIENTS_MAX).contains(&recipients.len()) {
        return Err(format!("a message has 1 to {RECIPIENTS_MAX} recipients"));
    }
    let alert_to = config.programs.iter().flat_map(|program| &program.alerts.recipients);
    let known: Vec<&str> = email.to.iter().chain(alert_to).map(|text| address(text)).collect();
    if let Some(stranger) = recipients.iter().find(|recipient| !known.contains(&address(recipient))) {
        return Err(format!("{} is no longer a configured recipient", crate::model::text::quoted(stranger)));
    }
    let mut arguments: Vec<String> = ["-i", "-f", address(&email.envelope_from), "--"].map(str::to_owned).to_vec();
    arguments.extend(recipients.iter().map(|recipient| address(recipient).to_owned()));
    Ok(Order { program: program.to_owned(), arguments })
}

fn configured<'c>(config: &'c Config, name: &ChannelName) -> Option<(&'c Email, &'c Path)> {
    let channel = config.notify.channels.iter().find(|channel| channel.name == *name)?;
    let Transport::Email(email) = &channel.transport else { return None };
    let MailTransport::Sendmail(program) = &email.via else { return None };
    Some((email, program))
}

/// Of `Name <local@domain>` what stands in the brackets.
fn address(text: &str) -> &str {
    match text.rsplit_once('<').and_then(|(_, rest)| rest.strip_suffix('>')) {
        Some(address) => address,
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_stands_in_the_brackets_or_all() {
        assert_eq!(address("Ops <ops@example.com>"), "ops@example.com");
        assert_eq!(address("ops@example.com"), "ops@example.com");
        assert_eq!(address("\"<x>\" <a@b>"), "a@b");
    }

    #[test]
    fn who_has_had_its_time_is_due_until_it_is_killed() {
        let at = |seconds| Moment::new(Duration::from_secs(seconds));
        let running = |until, is_killed| Running { wish: Some(1), until: at(until), is_killed, input: None };
        let mut sendmails = Sendmails::default();
        assert_eq!(sendmails.deadline(), None);
        for (ticket, until, is_killed) in [(1, 70, false), (2, 60, true), (3, 80, false)] {
            sendmails.0.insert(Ticket(ticket), running(until, is_killed));
        }
        assert_eq!(sendmails.deadline(), Some(at(70)));
    }
}
