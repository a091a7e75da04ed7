//! Reloads that are answered when what they stop has stopped. Pure: it is told who is still stopping.
#![forbid(unsafe_code)]

use crate::model::id::ProcessId;
use crate::protocol::control::ReloadReply;
use crate::supervisor::reactor::ClientId;

struct Waiting {
    client: ClientId,
    stopping: Vec<ProcessId>,
    reply: ReloadReply,
}

/// All that wait.
#[derive(Default)]
pub struct Reloads(Vec<Waiting>);

impl Reloads {
    pub fn add(&mut self, client: ClientId, stopping: Vec<ProcessId>, reply: ReloadReply) {
        self.0.push(Waiting { client, stopping, reply });
    }

    /// The client is gone; what was reloaded stays so.
    pub fn forget(&mut self, client: ClientId) {
        self.0.retain(|waiting| waiting.client != client);
    }

    /// Those for which nothing stops any more.
    pub fn finished(&mut self, is_stopping: impl Fn(&ProcessId) -> bool) -> Vec<(ClientId, ReloadReply)> {
        let done = self.0.extract_if(.., |waiting| {
            waiting.stopping.retain(&is_stopping);
            waiting.stopping.is_empty()
        });
        done.map(|waiting| (waiting.client, waiting.reply)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ProgramName;

    fn id(name: &str) -> ProcessId {
        ProcessId::new(&ProgramName::new(name).expect("a name"), 0)
    }

    #[test]
    fn a_reload_is_answered_when_the_last_has_stopped_and_not_for_who_has_gone() {
        let mut reloads = Reloads::default();
        reloads.add(ClientId(1), vec![id("a"), id("b")], ReloadReply::default());
        reloads.add(ClientId(2), vec![id("a")], ReloadReply::default());
        reloads.add(ClientId(3), vec![], ReloadReply::default());
        let clients = |done: Vec<(ClientId, ReloadReply)>| done.into_iter().map(|(id, _)| id.0).collect::<Vec<_>>();
        assert_eq!(clients(reloads.finished(|_| true)), [3]);
        reloads.forget(ClientId(2));
        // One that is started again and stops again is not waited for anew.
        assert!(reloads.finished(|id| id.program.as_str() == "b").is_empty());
        assert!(reloads.finished(|id| id.program.as_str() != "a").is_empty());
        assert_eq!(clients(reloads.finished(|id| id.program.as_str() == "a")), [1]);
    }
}
