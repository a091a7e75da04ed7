//! Everything that the spawner was asked to clone: from the request over the clone's own reports to its
//! end, whatever it was for.
//!
//! News arrives on three ways (the spawner's answer, the clone's report socket, the pidfd) in any order:
//! a clone can be executed, even over, before the spawner has said that it exists. [`Clones`] brings it
//! into the one order that makes sense: cloned, log files opened, executed or failed, exited.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use crate::model::boundary::Grant;
use crate::model::exit::ExitStatus;
use crate::model::id::{Pid, ProcessId};
use crate::model::signal::Signal;
use crate::model::stage::{Stage, StartFailure};
use crate::model::time::Moment;
use crate::protocol::spawner::{Report, SinkId, Ticket};
use crate::system::{process, socket, stdio};

use super::reactor::{Reactor, Source};
use super::role::Role;

/// How long a start may take, from the request to the execution: an account database or a network
/// directory that does not answer costs this much, and only this start.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);

/// More than any start has to say: each is looked at in one go.
const REPORTS_MAX: usize = 64;

/// What a clone is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purpose {
    Process(ProcessId),
    Worker(Role),
    /// Opening or rotating one log file.
    File(SinkId),
    /// A step of the compression of one of its rotated files.
    Pack(SinkId),
    /// The mail program, for one message.
    Sendmail,
}

/// What became of a clone.
pub enum News {
    Cloned,
    /// Every log file it was to open, one piece of news each.
    Opened {
        sink: SinkId,
        file: Rc<OwnedFd>,
    },
    /// Its `restrict_paths` is not enforced as asked, for this reason.
    Unrestricted(String),
    Executed,
    /// It was killed before it could say a word.
    Stillborn,
    /// It was not executed, and has ended.
    Failed(StartFailure),
    /// The program has ended. The pidfd still names its process group.
    Exited {
        status: ExitStatus,
        pidfd: OwnedFd,
    },
    /// A clone that was to open files has ended; it has reported before.
    Done,
}

struct Clone {
    purpose: Purpose,
    /// `None` once the clone has closed it, by executing or ending.
    report: Option<(OwnedFd, u64)>,
    born: Option<Pid>,
    reports: usize,
    /// The last step that it began and that could take long.
    reached: Option<Stage>,
    process: Option<(Pid, OwnedFd, u64)>,
    unrestricted: Option<String>,
    /// What it said that it was given.
    grant: Option<Rc<Grant>>,
    executing: bool,
    executed: bool,
    failure: Option<StartFailure>,
    exit: Option<ExitStatus>,
    told_cloned: bool,
    told_executed: bool,
    deadline: Moment,
    /// The spawner that was asked has died before it answered.
    orphaned: bool,
    /// Kill what is left of its process group before it is reaped: after that, its number means nothing
    /// on a kernel that cannot signal a group by pidfd.
    sweep: bool,
}

impl Clone {
    /// What a report says, if the clone may say it.
    fn judge(&mut self, bytes: &[u8]) -> Result<Report, StartFailure> {
        let report = serde_json::from_slice(bytes)
            .map_err(|_| words(Stage::Spawner, "the clone reported something that makes no sense"))?;
        self.reports += 1;
        if self.reports > REPORTS_MAX {
            return Err(words(Stage::Spawner, "the clone reported more than a start has steps"));
        }
        Ok(report)
    }

    /// It must not become the program, or it is not known whether it has. The first reason counts.
    fn fail(&mut self, failure: StartFailure) {
        self.failure.get_or_insert(failure);
        self.kill();
    }

    /// If it is known yet: else that is made up for when it is.
    fn kill(&self) {
        if let Some((_, pidfd, _)) = &self.process {
            let _ = process::signal(pidfd.as_fd(), Signal::KILL);
        }
    }
}

/// All clones that have not ended.
#[derive(Default)]
pub struct Clones {
    all: HashMap<Ticket, Clone>,
    by_process: BTreeMap<ProcessId, Ticket>,
    by_pid: HashMap<i32, Ticket>,
    /// Not executed yet.
    deadlines: BTreeSet<(Moment, Ticket)>,
    next: u64,
    news: VecDeque<(Ticket, Purpose, News)>,
}

impl Clones {
    /// A new entry: its ticket, and the end of the report socket that the clone gets.
    ///
    /// # Errors
    /// EMFILE and the like; then there is no entry.
    pub fn announce(
        &mut self,
        reactor: &mut Reactor,
        purpose: Purpose,
        sweep: bool,
        now: Moment,
    ) -> io::Result<(Ticket, OwnedFd)> {
        let (ours, theirs) = socket::message_pair()?;
        stdio::set_nonblocking(&ours, true)?;
        // The kernel adds the sender's number: should the spawner die, that is how the clone is found.
        socket::want_credentials(&ours)?;
        self.next += 1;
        let ticket = Ticket(self.next);
        let token = reactor.add(&ours, Source::Report(ticket))?;
        if let Purpose::Process(id) = &purpose {
            self.by_process.insert(id.clone(), ticket);
        }
        let deadline = now + START_TIMEOUT;
        self.deadlines.insert((deadline, ticket));
        let clone = Clone {
            purpose,
            report: Some((ours, token)),
            born: None,
            reports: 0,
            reached: None,
            process: None,
            unrestricted: None,
            grant: None,
            executing: false,
            executed: false,
            failure: None,
            exit: None,
            told_cloned: false,
            told_executed: false,
            deadline,
            orphaned: false,
            sweep,
        };
        self.all.insert(ticket, clone);
        Ok((ticket, theirs))
    }

    /// Takes back an entry whose request could not even be sent.
    pub fn retract(&mut self, reactor: &mut Reactor, ticket: Ticket) {
        if let Some(clone) = self.all.remove(&ticket) {
            self.deadlines.remove(&(clone.deadline, ticket));
            if let Some((report, token)) = clone.report {
                reactor.remove(&report, token);
            }
            if let Purpose::Process(id) = &clone.purpose {
                self.by_process.remove(id);
            }
        }
    }

    /// The spawner has made the clone.
    pub fn cloned(&mut self, reactor: &mut Reactor, ticket: Ticket, pid: Pid, pidfd: OwnedFd) {
        let Some(clone) = self.all.get_mut(&ticket).filter(|clone| clone.process.is_none()) else {
            // The spawner was so late that the start was given up: nobody would ever stop this one.
            let _ = process::signal(pidfd.as_fd(), Signal::KILL);
            return;
        };
        match reactor.add(&pidfd, Source::Clone(ticket)) {
            Ok(token) => clone.process = Some((pid, pidfd, token)),
            Err(_) => {
                // Without the pidfd in the poll its end is still seen by SIGCHLD.
                clone.process = Some((pid, pidfd, 0));
            }
        }
        if clone.failure.is_some() {
            // Its report made no sense, or it has failed already: it must not become the program.
            clone.kill();
        }
        self.by_pid.insert(pid.0, ticket);
        self.advance(reactor, ticket);
    }

    /// The spawner could not make the clone.
    pub fn refused(&mut self, reactor: &mut Reactor, ticket: Ticket, failure: StartFailure) {
        self.conclude(reactor, ticket, News::Failed(failure));
    }

    /// The spawner has died: what it had not answered is found by the clone's own first word, or failed.
    pub fn spawner_died(&mut self, reactor: &mut Reactor) {
        let waiting: Vec<Ticket> =
            self.all.iter().filter(|(_, clone)| clone.process.is_none()).map(|(ticket, _)| *ticket).collect();
        for ticket in waiting {
            if let Some(clone) = self.all.get_mut(&ticket) {
                clone.orphaned = true;
            }
            self.read_report(reactor, ticket);
        }
    }

    /// The clone's report socket has something to say.
    pub fn read_report(&mut self, reactor: &mut Reactor, ticket: Ticket) {
        self.drain_report(reactor, ticket);
        self.adopt_orphan(reactor, ticket);
        self.advance(reactor, ticket);
    }

    fn drain_report(&mut self, reactor: &mut Reactor, ticket: Ticket) {
        let Some(clone) = self.all.get_mut(&ticket) else { return };
        while let Some((report, _)) = &clone.report {
            let packet = match socket::receive(report) {
                Ok(Some(packet)) => packet,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(None) => break,
                Err(error) => {
                    // What became of the clone is not known.
                    clone.fail(words(Stage::Prepare, &format!("a report that may not be: {error}")));
                    break;
                }
            };
            match clone.judge(&packet.bytes) {
                Ok(Report::Born) => clone.born = packet.sender,
                Ok(Report::Opened { sinks }) => {
                    for (sink, file) in sinks.into_iter().zip(packet.descriptors) {
                        let news = News::Opened { sink, file: Rc::new(file) };
                        self.news.push_back((ticket, clone.purpose.clone(), news));
                    }
                }
                Ok(Report::Reached(stage)) => clone.reached = Some(stage),
                Ok(Report::Unrestricted(why)) => clone.unrestricted = Some(why),
                Ok(Report::Granted(grant)) => clone.grant = Some(Rc::from(grant)),
                Ok(Report::Executing) => {
                    clone.executing = true;
                    clone.reached = Some(Stage::Exec);
                }
                Ok(Report::Failed(failure)) => clone.failure = Some(failure),
                Err(failure) => {
                    clone.fail(failure);
                    break;
                }
            }
        }
        let Some((report, token)) = clone.report.take() else { return };
        reactor.remove(&report, token);
        clone.executed = clone.executing && clone.failure.is_none();
        // One that only closed it must still end in time.
        if clone.executed {
            self.deadlines.remove(&(clone.deadline, ticket));
        }
    }

    /// A clone whose spawner died before it told of it.
    fn adopt_orphan(&mut self, reactor: &mut Reactor, ticket: Ticket) {
        let Some(clone) = self.all.get(&ticket).filter(|clone| clone.orphaned && clone.process.is_none()) else {
            return;
        };
        match (clone.born, &clone.report) {
            (Some(pid), _) if process::is_child(pid) => {
                if let Ok(pidfd) = process::open(pid) {
                    self.cloned(reactor, ticket, pid, pidfd);
                }
            }
            (_, None) => {
                let failure = words(Stage::Spawner, "the spawner ended before it could start the program");
                self.conclude(reactor, ticket, News::Failed(failure));
            }
            (_, Some(_)) => {}
        }
    }

    /// The process has ended, or may have.
    pub fn check_exit(&mut self, reactor: &mut Reactor, ticket: Ticket) {
        let Some(clone) = self.all.get_mut(&ticket) else { return };
        let Some((pid, pidfd, _)) = &clone.process else { return };
        if clone.sweep && process::has_ended(pidfd) {
            let _ = process::signal_group_of_unreaped(*pid, Signal::KILL);
        }
        match process::reap(pidfd) {
            Ok(Some(status)) => clone.exit = Some(status),
            Ok(None) => return,
            // Somebody else reaped it, which nobody should: it is gone all the same.
            Err(_) => clone.exit = Some(ExitStatus::Signal { signal: Signal::KILL, core_dumped: false }),
        }
        // What it said before it died counts: its socket is closed now, so this ends.
        self.drain_report(reactor, ticket);
        self.advance(reactor, ticket);
    }

    /// The same by the number that the kernel gave for some ended child; false if it is none of ours.
    pub fn check_exit_of(&mut self, reactor: &mut Reactor, pid: Pid) -> bool {
        match self.by_pid.get(&pid.0).copied() {
            Some(ticket) => {
                self.check_exit(reactor, ticket);
                true
            }
            None => false,
        }
    }

    /// Whether some clone exists whose number is not known yet: then no unknown child may be reaped.
    pub fn is_expecting(&self) -> bool {
        self.all.values().any(|clone| clone.process.is_none())
    }

    /// Tells what is new about one clone, in order.
    fn advance(&mut self, reactor: &mut Reactor, ticket: Ticket) {
        let Some(clone) = self.all.get_mut(&ticket).filter(|clone| clone.process.is_some()) else { return };
        let mut tell = |news| self.news.push_back((ticket, clone.purpose.clone(), news));
        if !clone.told_cloned {
            clone.told_cloned = true;
            tell(News::Cloned);
        }
        if let Some(why) = clone.unrestricted.take() {
            tell(News::Unrestricted(why));
        }
        if clone.executed && !clone.told_executed {
            clone.told_executed = true;
            tell(News::Executed);
        }
        let Some(status) = clone.exit else { return };
        if clone.born.is_none() && status.signal() == Some(Signal::KILL) {
            tell(News::Stillborn);
        }
        let end = if clone.executed {
            let Some((pid, pidfd, token)) = clone.process.take() else { return };
            reactor.remove(&pidfd, token);
            self.by_pid.remove(&pid.0);
            News::Exited { status, pidfd }
        } else if matches!(clone.purpose, Purpose::File(_) | Purpose::Pack(_))
            && clone.failure.is_none()
            && status == ExitStatus::Code(0)
        {
            News::Done
        } else {
            News::Failed(clone.failure.take().unwrap_or_else(|| {
                words(Stage::Spawner, &format!("the process ended before the command was executed ({status})"))
            }))
        };
        self.conclude(reactor, ticket, end);
    }

    fn conclude(&mut self, reactor: &mut Reactor, ticket: Ticket, end: News) {
        let Some(clone) = self.all.remove(&ticket) else { return };
        self.deadlines.remove(&(clone.deadline, ticket));
        if let Some((report, token)) = clone.report {
            reactor.remove(&report, token);
        }
        if let Some((pid, pidfd, token)) = clone.process {
            reactor.remove(&pidfd, token);
            self.by_pid.remove(&pid.0);
        }
        if let Purpose::Process(id) = &clone.purpose {
            self.by_process.remove(id);
        }
        self.news.push_back((ticket, clone.purpose, end));
    }

    /// The next piece of news.
    pub fn next_news(&mut self) -> Option<(Ticket, Purpose, News)> {
        self.news.pop_front()
    }

    /// The pid of a process, if it has one.
    pub fn pid_of(&self, id: &ProcessId) -> Option<Pid> {
        let clone = self.all.get(self.by_process.get(id)?)?;
        clone.process.as_ref().map(|(pid, ..)| *pid)
    }

    /// The pidfd of a process.
    pub fn pidfd_of(&self, id: &ProcessId) -> Option<BorrowedFd<'_>> {
        let clone = self.all.get(self.by_process.get(id)?)?;
        clone.process.as_ref().map(|(_, pidfd, _)| pidfd.as_fd())
    }

    /// What a process was given at its start, once it was executed.
    pub fn grant_of(&self, id: &ProcessId) -> Option<&Grant> {
        let clone = self.all.get(self.by_process.get(id)?)?;
        clone.grant.as_deref().filter(|_| clone.executed)
    }

    /// The pid and pidfd of a clone, whatever it is for.
    pub fn pidfd(&self, ticket: Ticket) -> Option<(Pid, BorrowedFd<'_>)> {
        self.all.get(&ticket)?.process.as_ref().map(|(pid, pidfd, _)| (*pid, pidfd.as_fd()))
    }

    /// The processes of programs that exist now.
    pub fn running(&self) -> impl Iterator<Item = (&ProcessId, Pid)> {
        self.by_process.iter().filter_map(|(id, ticket)| {
            let (pid, ..) = self.all.get(ticket)?.process.as_ref()?;
            Some((id, *pid))
        })
    }

    /// When a start takes too long.
    pub fn deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(moment, _)| *moment)
    }

    /// Ends the starts that took too long.
    ///
    /// True if the spawner has not even made the clone in that time: it hangs.
    pub fn time_out(&mut self, reactor: &mut Reactor, now: Moment) -> bool {
        let mut spawner_hangs = false;
        while let Some((_, ticket)) = self.deadlines.first().filter(|(moment, _)| *moment <= now).copied() {
            self.deadlines.pop_first();
            let Some(clone) = self.all.get_mut(&ticket) else { continue };
            let seconds = START_TIMEOUT.as_secs();
            let at = clone.reached.map_or(String::new(), |stage| format!(", it came as far as {}", stage.words()));
            let failure = words(Stage::Timeout, &format!("the program was not executed within {seconds} s{at}"));
            match &clone.process {
                Some(_) => clone.fail(failure),
                None => {
                    spawner_hangs |= !clone.orphaned;
                    self.conclude(reactor, ticket, News::Failed(failure));
                }
            }
        }
        spawner_hangs
    }
}

fn words(stage: Stage, error: &str) -> StartFailure {
    StartFailure { stage, errno: 0, subject: String::new(), error: error.to_owned() }
}

#[cfg(test)]
#[path = "clones_tests.rs"]
mod tests;
