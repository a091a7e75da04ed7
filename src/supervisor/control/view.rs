//! The fleet as clients see it.

use crate::model::exit::ExitStatus;
use crate::model::id::{Pid, ProcessId};
use crate::model::state::{State, Wanted};
use crate::model::time::{Moment, WallTime};
use crate::policy::fleet::Member;
use crate::protocol::control::{LastExit, Process};

/// Now, on both clocks: moments become wall time by their distance from it.
#[derive(Clone, Copy)]
pub struct Clocks {
    pub now: Moment,
    pub wall: WallTime,
}

impl Clocks {
    fn wall_of(self, moment: Moment) -> WallTime {
        let ago = jiff::SignedDuration::try_from(self.now.since(moment)).unwrap_or_default();
        self.wall.checked_sub(ago).unwrap_or(self.wall)
    }
}

/// One process. `lack`: why it is in no control group of its own.
pub fn process(
    id: &ProcessId,
    member: &Member,
    pid: Option<Pid>,
    lack: Option<&str>,
    remembered: Option<Wanted>,
    own_user: &str,
    clocks: Clocks,
) -> Process {
    let life = &member.life;
    let state = life.state();
    let user = member.program.exec.user.as_ref().map_or_else(|| own_user.to_owned(), ToString::to_string);
    let lack = lack.filter(|_| pid.is_some()).map(|why| format!("in no control group of its own: {why}"));
    Process {
        program: id.program.clone(),
        process: member.shown(id),
        instance: id.instance,
        group_name: member.program.group_name.clone(),
        state,
        statecode: state.code(),
        wanted: life.wanted,
        pid: pid.map(|pid| pid.0),
        user,
        uptime_seconds: life.since.map(|since| seconds(clocks.now.since(since))),
        restarts: life.restarts,
        last_exit: life.last_exit.map(|(status, at)| last_exit(status, clocks.wall_of(at))),
        reason: life.reason.clone().or(lack).or_else(|| by_hand(state, remembered)),
    }
}

/// Why something is down that would run by its configuration.
fn by_hand(state: State, remembered: Option<Wanted>) -> Option<String> {
    (state.is_at_rest() && remembered == Some(Wanted::Down)).then(|| "stopped by hand, remembered".to_owned())
}

/// Seconds to the millisecond.
pub fn seconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

fn last_exit(status: ExitStatus, at: WallTime) -> LastExit {
    LastExit { code: status.code(), signal: status.signal(), core_dumped: status.core_dumped(), at }
}
