//! Having rotated logs compressed: carries out the steps that `output::compress` decides, by clones of the spawner
//! and the logger, and tells when that does not work.

use crate::model::event::{Facts, Kind};
use crate::model::stage::Stage;
use crate::model::time::Moment;
use crate::protocol::logger::ToLogger;
use crate::protocol::spawner::{Job, Packing, SinkId};
use crate::system::clock;
use crate::worker::channel::Passed;

use super::clones::{News, Purpose};
use super::core::Core;
use super::output::Step;
use super::role::Role;

impl Core {
    /// Begins what can be begun now.
    pub(super) fn tend_compression(&mut self, now: Moment) {
        while let Some((sink, step, files)) = self.output.compress_next(now) {
            self.compress(sink, step, files);
        }
    }

    fn compress(&mut self, sink: SinkId, step: Step, mut files: Vec<Passed>) {
        let packing = match step {
            Step::Open => Packing::Open,
            Step::Put { bytes } => Packing::Put { bytes },
            Step::Remove { bytes } => Packing::Remove { bytes },
            Step::Discard => Packing::Discard,
            Step::Pack => return self.have_packed(sink, files),
            // The compressed one; its directory.
            Step::Sync { .. } => return self.ask_for_packing(sink, Job::Sync, files.drain(1..2).collect()),
            Step::SyncName { .. } => return self.ask_for_packing(sink, Job::Sync, files.drain(2..).collect()),
        };
        if let Some(spec) = self.output.pack(sink, packing) {
            files.truncate(2);
            self.ask_for_packing(sink, Job::Pack(spec), files);
        }
    }

    fn have_packed(&mut self, sink: SinkId, mut files: Vec<Passed>) {
        if self.workers.get(&Role::Logger).is_none_or(|worker| worker.link.is_none()) {
            // Another is on its way.
            return self.output.compression.logger_died(clock::now());
        }
        files.truncate(2);
        self.tell_logger((ToLogger::Compress { sink }, files));
    }

    fn ask_for_packing(&mut self, sink: SinkId, job: Job, files: Vec<Passed>) {
        if let Err(error) = self.ask_for_clone(Purpose::Pack(sink), job, files, clock::now()) {
            let held = self.output.compression.holds_names();
            self.cannot_compress(sink, Facts { stage: Some(Stage::Spawner), ..Facts::message(error.to_string()) });
            self.step_is_over(sink, held);
        }
    }

    /// What became of a clone.
    pub(super) fn pack_news(&mut self, sink: SinkId, news: News) {
        let held = self.output.compression.holds_names();
        match news {
            News::Opened { file, .. } => return self.output.compression.opened(file),
            News::Done => {
                if self.output.compression.done() {
                    let words = format!("rotated files of {} are compressed again", self.output.path(sink));
                    self.record(Kind::OutputRecovered, Facts::message(words));
                }
            }
            News::Failed(failure) => {
                let errno = Some(failure.errno).filter(|errno| *errno != 0);
                let facts = Facts { stage: Some(failure.stage), errno, ..Facts::message(failure.to_string()) };
                self.cannot_compress(sink, facts);
            }
            News::Cloned | News::Unrestricted(_) | News::Executed | News::Stillborn | News::Exited { .. } => return,
        }
        self.step_is_over(sink, held);
    }

    /// A rotation that waited for the step is done now.
    fn step_is_over(&mut self, sink: SinkId, held: bool) {
        if held && let Some(next) = self.output.finished(sink) {
            self.work_on_file(sink, next);
        }
    }

    /// The logger has compressed a file, or could not.
    pub(super) fn is_compressed(&mut self, sink: SinkId, bytes: u64, errno: Option<i32>) {
        // It may be given up meanwhile.
        if !self.output.compression.packed(sink, bytes) {
            return;
        }
        if let Some(errno) = errno {
            let error = std::io::Error::from_raw_os_error(errno);
            self.cannot_compress(sink, Facts { errno: Some(errno), ..Facts::message(error.to_string()) });
        }
    }

    fn cannot_compress(&mut self, sink: SinkId, mut facts: Facts) {
        // The end of a spawner says nothing about files, and is told elsewhere.
        let worth = facts.stage != Some(Stage::Spawner);
        if self.output.compression.failed(clock::now(), worth) {
            let why = facts.message.take().unwrap_or_default();
            let path = self.output.path(sink);
            facts.message = Some(format!("rotated files of {path} cannot be compressed, they stay as they are: {why}"));
            self.record(Kind::OutputFailing, facts);
        }
    }
}
