//! What a service manager hears of the supervisor (sd_notify(3)), over a real socket.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::support::{PATIENCE, Supervisor, eventually, proc, program, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("a service manager hears of the start the programs a reload and the end", &[], whole_life),
        test("a service manager hears of a reload that is refused and of the state that stays", &[], refused_reload),
        test("signs of life come from a loop that turns and not from one that is stopped", &[], watchdog),
        test("without a watchdog nothing is said while nothing happens", &[], quiet),
        test("a service manager that reads nothing delays nothing", &[], deaf),
        test("what the service manager gave to the supervisor reaches no program", &[], private),
        test("a service manager that cannot be reached is told of and does no harm", &[], unusable),
    ]
}

/// A service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(supervisor: &Supervisor) -> Self {
        let socket = UnixDatagram::bind(supervisor.path("notify")).expect("binds");
        Self { socket }
    }

    /// The next message, or none within that time.
    fn next(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).expect("a timeout");
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// All messages up to the one that begins so.
    #[track_caller]
    fn until(&self, beginning: &str) -> Vec<String> {
        let end = Instant::now() + PATIENCE;
        let mut all = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let Some(message) = self.next(left) else { panic!("no {beginning:?} after {all:?}") };
            let is_last = message.starts_with(beginning);
            all.push(message);
            if is_last {
                return all;
            }
        }
    }
}

fn started(programs: &str, watchdog: Option<&str>) -> (Supervisor, Manager) {
    let mut supervisor = Supervisor::prepare(programs);
    let manager = Manager::new(&supervisor);
    let socket = supervisor.path("notify");
    supervisor.launch_with(|command| {
        command.env("NOTIFY_SOCKET", socket);
        if let Some(micros) = watchdog {
            command.env("WATCHDOG_USEC", micros);
        }
    });
    (supervisor, manager)
}

fn whole_life() {
    let (mut supervisor, manager) = started(&(program("web", "") + &program("db", "")), None);
    manager.until("READY=1");
    manager.until("STATUS=2 processes: 2 running");
    assert_eq!(supervisor.ctl(&["stop", "db"]).code, 0);
    manager.until("STATUS=2 processes: 1 running, 1 stopped");
    supervisor.configure(&program("web", ""));
    assert_eq!(supervisor.ctl(&["reload"]).code, 0);
    let told = manager.until("RELOADING=1\nMONOTONIC_USEC=");
    let micros = told.last().and_then(|message| message.rsplit('=').next()?.parse::<u64>().ok()).expect("a number");
    let uptime: f64 = {
        let text = std::fs::read_to_string("/proc/uptime").expect("reads");
        text.split(' ').next().and_then(|seconds| seconds.parse().ok()).expect("a number")
    };
    assert!((uptime - micros as f64 / 1e6).abs() < 60.0, "the monotonic clock: {micros} at {uptime}");
    assert_eq!(manager.until("READY=1").len(), 1, "nothing between the two");
    manager.until("STATUS=1 process: 1 running");
    assert_eq!(supervisor.stop(), 0);
    let told = manager.until("STOPPING=1");
    assert!(told.last().is_some_and(|message| message.contains("\nEXTEND_TIMEOUT_USEC=")), "{told:?}");
}

fn refused_reload() {
    let (supervisor, manager) = started(&program("web", ""), None);
    manager.until("STATUS=1 process: 1 running");
    supervisor.configure("[programs.web]\ncmdd = \"x\"\n");
    assert_eq!(supervisor.ctl(&["reload"]).code, 1);
    manager.until("RELOADING=1");
    manager.until("READY=1");
    // A look at what would happen is no reload.
    assert_eq!(supervisor.ctl(&["reload", "--dry-run"]).code, 1);
    supervisor.configure("[programs.bad]\ncmd = \"/nonexistent\"\nstartretries = 0\nuser = \"daemon\"\n");
    proc::kill(supervisor.pid(), libc::SIGHUP);
    let told = manager.until("STATUS=1 process: 1 not well: bad");
    assert_eq!(told.iter().filter(|message| message.starts_with("RELOADING=1")).count(), 1, "{told:?}");
}

fn watchdog() {
    let (supervisor, manager) = started(&program("web", ""), Some("400000"));
    manager.until("STATUS=1 process: 1 running");
    for _ in 0..3 {
        manager.until("WATCHDOG=1");
    }
    proc::kill(supervisor.pid(), libc::SIGSTOP);
    while manager.next(Duration::from_secs(1)).is_some() {}
    proc::kill(supervisor.pid(), libc::SIGCONT);
    manager.until("WATCHDOG=1");
}

fn quiet() {
    let (_supervisor, manager) = started(&program("web", ""), None);
    manager.until("STATUS=1 process: 1 running");
    assert_eq!(manager.next(Duration::from_secs(2)), None);
}

fn deaf() {
    let (mut supervisor, manager) = started(&program("web", ""), Some("2000"));
    // A sign of life each millisecond fills its queue at once.
    supervisor.wait_for_state("web", "RUNNING");
    for _ in 0..30 {
        assert_eq!(supervisor.ctl(&["reload"]).code, 0);
    }
    let begin = Instant::now();
    assert_eq!(supervisor.ctl(&["restart", "web"]).code, 0);
    assert!(begin.elapsed() < Duration::from_secs(5));
    manager.until("WATCHDOG=1");
    assert_eq!(supervisor.stop(), 0);
}

fn private() {
    let (supervisor, manager) = started(&program("web", "inherit_env = true"), Some("60000000"));
    manager.until("READY=1");
    supervisor.wait_for_state("web", "RUNNING");
    let pids = proc::descendants(supervisor.pid());
    assert!(pids.len() >= 4, "the spawner, two workers and the program: {pids:?}");
    for pid in pids {
        let environment = proc::environ(pid);
        let private = |name: &&String| name.starts_with("NOTIFY_") || name.starts_with("WATCHDOG_");
        assert!(!environment.keys().any(|name| private(&name)), "{pid}: {environment:?}");
    }
}

fn unusable() {
    let mut supervisor = Supervisor::prepare(&program("web", ""));
    supervisor.launch_with(|command| {
        command.env("NOTIFY_SOCKET", "vsock:2:1234");
    });
    supervisor.wait_for_state("web", "RUNNING");
    assert!(
        supervisor.read("console").contains("warning: NOTIFY_SOCKET=vsock:2:1234: "),
        "{}",
        supervisor.read("console")
    );
    assert_eq!(supervisor.stop(), 0);
    // One that is named and not there.
    supervisor.launch_with(|command| {
        command.env("NOTIFY_SOCKET", "/nonexistent/notify");
    });
    eventually("it runs", || (supervisor.state("web") == "RUNNING").then_some(()));
    assert_eq!(supervisor.stop(), 0);
}
