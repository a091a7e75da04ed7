//! Where the standard descriptors of a process lead: a pipe for each output that goes somewhere and for the input
//! if it takes any, or one pseudo-terminal for all three.

use std::path::Path;
use std::rc::Rc;

use crate::model::id::ProcessId;
use crate::model::program::{ErrorOutput, Program, StdinSource};
use crate::model::stage::{Stage, StartFailure};
use crate::protocol::control::Channel;
use crate::protocol::logger::Input;
use crate::protocol::spawner::{StartSpec, Target};
use crate::system::{pty, stdio};
use crate::worker::channel::Passed;

use super::output::{Connected, Output, Planned};

impl Output {
    /// Makes the pipes or the terminal of a process that is about to start. What it needs of them goes to
    /// `spec` and comes back to be passed; what is read from is planned.
    pub fn connect(
        &mut self,
        log_dir: &Path,
        program: &Program,
        id: &ProcessId,
        spec: &mut StartSpec,
    ) -> Result<(Vec<Passed>, Connected), StartFailure> {
        if program.exec.tty {
            self.connect_terminal(log_dir, program, id, spec).map_err(|error| failure(Stage::Tty, &error))
        } else {
            self.connect_pipes(log_dir, program, id, spec).map_err(|error| failure(Stage::Prepare, &error))
        }
    }

    fn connect_pipes(
        &mut self,
        log_dir: &Path,
        program: &Program,
        id: &ProcessId,
        spec: &mut StartSpec,
    ) -> std::io::Result<(Vec<Passed>, Connected)> {
        let mut passed: Vec<Passed> = Vec::new();
        let mut outputs = Vec::new();
        for (channel, target) in [(Channel::Stdout, 1), (Channel::Stderr, 2)] {
            let Some(sink) = self.sink_for(log_dir, program, id, channel) else { continue };
            let (read, write) = stdio::output_pipe()?;
            spec.files.extend(self.to_open(sink).filter(|file| !spec.files.contains(file)));
            spec.descriptors.push(Target(target));
            passed.push(Rc::new(write));
            outputs.push(Planned { channel, sink: Some(sink), read_end: Rc::new(read), terminal: None });
        }
        if matches!(program.exec.stderr, ErrorOutput::Stdout)
            && let Some(stdout) = passed.first().cloned()
        {
            spec.descriptors.push(Target(2));
            passed.push(stdout);
        }
        let input = match program.exec.stdin {
            StdinSource::Null => None,
            StdinSource::Attach => {
                let (read, write) = stdio::input_pipe()?;
                spec.descriptors.push(Target(0));
                passed.push(Rc::new(read));
                Some((Input::Pipe, Rc::new(write)))
            }
        };
        Ok((passed, Connected { outputs, input }))
    }

    /// A terminal is read also when its output goes nowhere: else it would fill and stop the program.
    fn connect_terminal(
        &mut self,
        log_dir: &Path,
        program: &Program,
        id: &ProcessId,
        spec: &mut StartSpec,
    ) -> std::io::Result<(Vec<Passed>, Connected)> {
        let pty::Pty { master, slave } = pty::open()?;
        let (master, slave) = (Rc::new(master), Rc::new(slave));
        let sink = self.sink_for(log_dir, program, id, Channel::Stdout);
        spec.files.extend(sink.and_then(|sink| self.to_open(sink)));
        spec.descriptors.extend([Target(0), Target(1), Target(2)]);
        let passed = vec![Rc::clone(&slave); 3];
        let input = Some((Input::Terminal, Rc::clone(&master)));
        let planned = Planned { channel: Channel::Stdout, sink, read_end: master, terminal: Some(slave) };
        Ok((passed, Connected { outputs: vec![planned], input }))
    }
}

fn failure(stage: Stage, error: &std::io::Error) -> StartFailure {
    StartFailure { stage, errno: error.raw_os_error().unwrap_or(0), subject: String::new(), error: error.to_string() }
}
