//! How many processes are in which state, in one line that people read: on the live screen and in what the
//! service manager shows.
#![forbid(unsafe_code)]

use std::fmt;

use super::state::State;

/// The counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    pub running: usize,
    /// On their way up or down.
    pub changing: usize,
    pub stopped: usize,
    pub unwell: usize,
}

impl Summary {
    pub fn of(states: impl IntoIterator<Item = State>) -> Self {
        let mut summary = Self::default();
        for state in states {
            *match state {
                State::Running => &mut summary.running,
                State::Starting | State::Stopping => &mut summary.changing,
                State::Stopped | State::Exited => &mut summary.stopped,
                State::Backoff | State::Fatal => &mut summary.unwell,
            } += 1;
        }
        summary
    }

    pub fn all(&self) -> usize {
        self.running + self.changing + self.stopped + self.unwell
    }
}

/// `8 processes: 6 running, 1 stopped, 1 not well`.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.all() {
            0 => f.write_str("no processes")?,
            1 => f.write_str("1 process")?,
            many => write!(f, "{many} processes")?,
        }
        let parts = [
            (self.running, "running"),
            (self.changing, "changing"),
            (self.stopped, "stopped"),
            (self.unwell, "not well"),
        ];
        for (at, (count, what)) in parts.iter().filter(|(count, _)| *count > 0).enumerate() {
            write!(f, "{} {count} {what}", if at == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_none_of_is_not_said() {
        let shown = |states: &[State]| Summary::of(states.iter().copied()).to_string();
        assert_eq!(shown(&[]), "no processes");
        assert_eq!(shown(&[State::Exited]), "1 process: 1 stopped");
        let all = [State::Running, State::Starting, State::Stopping, State::Stopped, State::Backoff, State::Fatal];
        assert_eq!(shown(&all), "6 processes: 1 running, 2 changing, 1 stopped, 2 not well");
    }
}
