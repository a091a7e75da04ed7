//! Log files that clients want emptied: the logger is asked, process by process, and each client is answered
//! when all is known.

use std::collections::BTreeMap;

use crate::model::id::ProcessId;
use crate::protocol::control::{ChangeReply, ChangeResult, Channel, Outcome};
use crate::protocol::logger::ToLogger;

use super::core::Core;
use super::output::LogFile;
use super::reactor::ClientId;
use super::role::Role;

/// Those who wait. A client asks one thing at a time.
#[derive(Default)]
pub struct Clearing {
    last_ticket: u64,
    /// What the logger has not answered: for whom, and the name of the process.
    open: BTreeMap<u64, (ClientId, String)>,
    /// What is known, in the order of the tickets.
    known: BTreeMap<ClientId, BTreeMap<u64, ChangeResult>>,
}

impl Clearing {
    fn ask(&mut self, client: ClientId, shown: String) -> u64 {
        self.last_ticket += 1;
        self.open.insert(self.last_ticket, (client, shown));
        self.last_ticket
    }

    fn answered(&mut self, ticket: u64, failure: Option<String>) {
        let Some((client, process)) = self.open.remove(&ticket) else { return };
        let outcome = if failure.is_none() { Outcome::Cleared } else { Outcome::NotCleared };
        let results = self.known.entry(client).or_default();
        results.insert(ticket, ChangeResult { process, outcome, detail: failure });
    }

    /// The client is gone; its order stands.
    pub fn forget(&mut self, client: ClientId) {
        self.open.retain(|_, (asked, _)| *asked != client);
        self.known.remove(&client);
    }

    /// The clients to whom all can be told.
    pub fn finished(&mut self) -> Vec<(ClientId, ChangeReply)> {
        let open = &self.open;
        let is_done = |client: &ClientId| !open.values().any(|(asked, _)| asked == client);
        let done = self.known.extract_if(.., |client, _| is_done(client));
        let reply = |results: BTreeMap<u64, ChangeResult>| ChangeReply {
            results: results.into_values().collect(),
            waiting: Vec::new(),
        };
        done.map(|(client, results)| (client, reply(results))).collect()
    }
}

impl Core {
    /// Has the outputs of processes emptied; without a channel, both.
    pub(super) fn clear(&mut self, client: ClientId, ids: &[ProcessId], channel: Option<Channel>) {
        self.clearing.known.entry(client).or_default();
        for id in ids {
            let Some(member) = self.fleet.member(id) else { continue };
            let ticket = self.clearing.ask(client, member.shown(id));
            let (mut tails, mut sinks, mut closed) = (Vec::new(), Vec::new(), false);
            for channel in
                [Channel::Stdout, Channel::Stderr].into_iter().filter(|one| channel.is_none_or(|c| c == *one))
            {
                match self.output.log_file(&self.config.supervisor.log_dir, &member.program, id, channel) {
                    LogFile::Open(sink) => sinks.push(sink),
                    LogFile::Closed => closed = true,
                    LogFile::None => {}
                }
                tails.push(self.output.tail(id, channel));
            }
            if closed {
                let words = "its log file is not open: it has not been started since it was configured";
                self.clearing.answered(ticket, Some(words.to_owned()));
            } else if self.workers.get(&Role::Logger).is_none_or(|worker| worker.link.is_none()) {
                self.clearing.answered(ticket, Some("the logger is being started again; try once more".to_owned()));
            } else {
                self.tell_logger((ToLogger::Clear { ticket, tails, sinks }, Vec::new()));
            }
        }
    }

    /// The logger has emptied the files of one process, or could not.
    pub(super) fn cleared(&mut self, ticket: u64, errno: Option<i32>) {
        let failure = errno.map(|errno| std::io::Error::from_raw_os_error(errno).to_string());
        self.clearing.answered(ticket, failure);
    }

    /// The logger that was asked is gone.
    pub(super) fn logger_left_clearing(&mut self) {
        for ticket in self.clearing.open.keys().copied().collect::<Vec<_>>() {
            self.clearing.answered(ticket, Some("the logger has ended meanwhile; try once more".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_answered_when_the_last_answer_is_there_in_the_order_of_its_names() {
        let mut clearing = Clearing::default();
        let (one, two) = (ClientId(1), ClientId(2));
        let first = clearing.ask(one, "b".to_owned());
        let second = clearing.ask(one, "a".to_owned());
        let other = clearing.ask(two, "c".to_owned());
        clearing.answered(second, None);
        clearing.answered(second, Some("again".to_owned()));
        assert!(clearing.finished().is_empty());
        clearing.forget(two);
        clearing.answered(other, None);
        clearing.answered(first, Some("why".to_owned()));
        let done = clearing.finished();
        let told = |result: &ChangeResult| (result.process.clone(), result.outcome, result.detail.clone());
        assert_eq!((done.len(), done[0].0), (1, one));
        assert_eq!(
            done[0].1.results.iter().map(told).collect::<Vec<_>>(),
            [("b".to_owned(), Outcome::NotCleared, Some("why".to_owned())), ("a".to_owned(), Outcome::Cleared, None)]
        );
        assert!(clearing.finished().is_empty() && clearing.open.is_empty());
    }
}
