//! Clients that mean harm, while programs are supervised: whatever they do, others are answered in time, the
//! supervisor's memory stays what it is, and a program that dies is there again at once.

use std::io::{BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::peers::{Connection, Who};
use crate::support::supervisor::{receive, send};
use crate::support::{Need, PATIENCE, Supervisor, eventually, is_root, measured, proc, test};

pub fn trials() -> Vec<Trial> {
    vec![
        test("two hundred clients that trickle bytes harm nobody", &[], trickling),
        test("two hundred clients that close half or never read harm nobody", &[], half_open),
        test("frames of two gibibytes harm nobody", &[], endless_frames),
        test("long calls that never end have a bound all together", &[], unfinished_calls),
        test("a hundred thousand pipelined calls are answered and harm nobody", &[], pipelined),
        test("followers that never read harm nobody", &[], deaf_followers),
        test("one call full of selectors harms nobody", &[], many_selectors),
        test("many busy connections of one user harm only that user", &[Need::Root], one_user),
        test("answers that nobody reads have a bound all together, and root's stay", &[Need::Root], unread_answers),
        test("a call that does not come to its end is cut in time", &[], cut_in_time),
    ]
}

/// Time for an answer: of the median, since one of many may meet a busy machine.
const IN_TIME: Duration = Duration::from_millis(100);
/// What the supervisor may grow by, whatever is done to it, in KiB.
const FLAT: u64 = 8 << 10;

fn start() -> Supervisor {
    let user = if is_root() { "user = \"nobody\"" } else { "" };
    let program = format!(
        "[programs.web]\ncmd = \"sleep 1000\"\nstarttime = 0\nbackoff = {{ initial = \"1ms\", step = \"1ms\" }}\n{user}\n"
    );
    let supervisor = Supervisor::start(&program);
    supervisor.wait_for_state("web", "RUNNING");
    supervisor
}

/// With a thousand processes more, which do not run.
fn start_large(control: &str) -> Supervisor {
    start_with(control, 1)
}

/// With so many thousand processes more, which do not run.
fn start_with(control: &str, thousands: usize) -> Supervisor {
    let user = if is_root() { "user = \"nobody\"" } else { "" };
    let mut program = format!(
        "{control}[programs.web]\ncmd = \"sleep 1000\"\nstarttime = 0\nbackoff = {{ initial = \"1ms\", step = \"1ms\" }}\n{user}\n"
    );
    for number in 0..thousands {
        let zzz = format!("[programs.zzz{number}]\ncmd = \"sleep 1000\"\nautostart = false\nnumprocs = 1000\n{user}\n");
        program.push_str(&zzz);
    }
    let supervisor = Supervisor::start(&program);
    supervisor.wait_for_state("web", "RUNNING");
    supervisor
}

fn many_selectors() {
    let supervisor = start_large("");
    // Each is another, and matches all.
    let patterns: Vec<String> = (0..3000).map(|number| format!("[wz{number}]*")).collect();
    let attacks = [
        ("Status", json!({ "selectors": vec!["*"; 60_000] }), "processes"),
        ("Status", json!({ "selectors": patterns }), "org.varlink.service.InvalidParameter"),
        ("Status", json!({ "selectors": ["x".repeat(250_000)] }), "io.taskmaster.Control.NoSuchProgram"),
        ("Stop", json!({ "selectors": ["*?".repeat(120_000)] }), "org.varlink.service.InvalidParameter"),
        ("Config", json!({ "programs": ["x".repeat(250_000)] }), "io.taskmaster.Control.NoSuchProgram"),
        ("Events", json!({ "selectors": ["x".repeat(250_000)] }), "org.varlink.service.InvalidParameter"),
        ("Silence", json!({ "selector": "x".repeat(250_000), "seconds": 9 }), "org.varlink.service.InvalidParameter"),
    ];
    for (method, parameters, answer) in attacks {
        measured(&format!("{method} is answered within a second"), || {
            let before = Instant::now();
            let reply = supervisor.call(method, parameters.clone());
            let took = before.elapsed();
            let error = &reply["error"];
            assert!(*error == answer || reply["parameters"].get(answer).is_some(), "{method}: {error}");
            if took < Duration::from_secs(1) { Ok(()) } else { Err(format!("{took:?}")) }
        });
    }
}

fn one_user() {
    let rule =
        "[control]\nmode = \"0666\"\n[[control.allow]]\nusers = [12345]\nprograms = [\"*\"]\nverbs = [\"status\"]\n";
    let supervisor = start_large(rule);
    let mut clients: Vec<_> = (0..60).map(|_| Who::user(12345).connect(&supervisor)).collect();
    measured("nobody else waits for all of one user's calls", || {
        let rounds = std::sync::Mutex::new(Vec::new());
        let attack = || {
            let before = Instant::now();
            for client in &mut clients {
                client.send("Status", json!({}));
            }
            for client in &mut clients {
                assert_eq!(client.answer()["error"], Value::Null);
            }
            rounds.lock().expect("not poisoned").push(before.elapsed());
        };
        let mut times: Vec<Duration> = Vec::new();
        meanwhile(attack, || {
            eventually("some rounds are over", || {
                let before = Instant::now();
                supervisor.call("Version", json!({}));
                times.push(before.elapsed());
                (rounds.lock().expect("not poisoned").len() >= 3).then_some(())
            });
        });
        let shortest = rounds.lock().expect("not poisoned").iter().min().copied().expect("a round");
        let longest = times.iter().max().copied().expect("an answer");
        // Never behind all sixty, however fast the machine is.
        let told = format!("{longest:?} for an answer, {shortest:?} for all of the user's");
        if longest * 4 < shortest { Ok(()) } else { Err(told) }
    });
}

fn unread_answers() {
    /// What the supervisor keeps of them, and as much again for how memory is given, in KiB.
    const BOUND: u64 = 32 << 10;
    let rule =
        "[control]\nmode = \"0666\"\n[[control.allow]]\nusers = [12345]\nprograms = [\"*\"]\nverbs = [\"status\"]\n";
    let supervisor = start_with(rule, 3);
    let before = resident_kib(supervisor.pid());
    let mut roots = Connection::of(connect(&supervisor));
    roots.send("Status", json!({}));
    let mut cut = 0;
    // One after another: of each answer the kernel takes a part, and the rest waits.
    for _ in 0..2 {
        let mut clients: Vec<_> = (0..60).map(|_| Who::user(12345).connect(&supervisor)).collect();
        for client in &mut clients {
            client.send("Status", json!({}));
        }
        for client in &mut clients {
            let stream = client.stream();
            eventually("an answer has begun", || poll_in(stream).then_some(()));
        }
        let grown = resident_kib(supervisor.pid()).saturating_sub(before);
        assert!(grown < BOUND, "{grown} KiB more");
        cut += clients.iter_mut().map(|client| usize::from(is_cut(client.stream()))).sum::<usize>();
    }
    assert!(cut > 0, "nobody was cut: the bound is not reached");
    let all = roots.answer()["parameters"]["processes"].as_array().map(Vec::len);
    assert_eq!(all, Some(3001));
}

/// Whether something lies in it to read.
fn poll_in(stream: &UnixStream) -> bool {
    stream.set_nonblocking(true).expect("sets");
    let mut one = [0];
    // SAFETY: one byte can be written there.
    let seen = unsafe { libc::recv(stream.as_raw_fd(), one.as_mut_ptr().cast(), 1, libc::MSG_PEEK) };
    seen == 1
}

/// Whether an answer ends before its time.
fn is_cut(stream: &mut UnixStream) -> bool {
    stream.set_nonblocking(false).expect("sets");
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return true,
            Ok(count) if buffer[count - 1] == 0 => return false,
            Ok(_) => {}
        }
    }
}

fn connect(supervisor: &Supervisor) -> UnixStream {
    let stream = UnixStream::connect(supervisor.socket()).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn connect_many(supervisor: &Supervisor, count: usize) -> Vec<UnixStream> {
    (0..count).map(|_| connect(supervisor)).collect()
}

fn resident_kib(pid: i64) -> u64 {
    proc::status(pid)["VmRSS"].split(' ').next().and_then(|number| number.parse().ok()).expect("a size")
}

/// The median time of an answer, over connections of their own.
fn median(supervisor: &Supervisor) -> Duration {
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let before = Instant::now();
            let reply = supervisor.call("Status", json!({}));
            assert_eq!(reply["parameters"]["processes"][0]["program"], "web", "{reply}");
            before.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[10]
}

/// Asserts what has to hold at any time: answers, memory, supervision.
#[track_caller]
fn assert_well(supervisor: &Supervisor, before: u64) {
    let median = median(supervisor);
    assert!(median < IN_TIME, "an answer took {median:?}");
    let grown = resident_kib(supervisor.pid()).saturating_sub(before);
    assert!(grown < FLAT, "{grown} KiB more");
    let old = supervisor.pid_of("web");
    proc::kill(old, 9);
    supervisor.wait_until("another runs", |all| {
        all[0]["state"] == "RUNNING" && all[0]["pid"].as_i64().is_some_and(|pid| pid != old)
    });
}

/// Does this again and again in a thread of its own while the body runs.
fn meanwhile(mut attack: impl FnMut() + Send, body: impl FnOnce()) {
    let over = AtomicBool::new(false);
    /// Also when the body fails, or the thread would be waited for in vain.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                attack();
            }
        });
        let _over = Over(&over);
        body();
    });
}

fn trickling() {
    let supervisor = start();
    let before = resident_kib(supervisor.pid());
    let mut clients = connect_many(&supervisor, 200);
    let attack = move || {
        for client in &mut clients {
            // A string that never ends, a byte at a time.
            let _ = client.write(b"{");
        }
        std::thread::park_timeout(Duration::from_millis(1));
    };
    meanwhile(attack, || (0..3).for_each(|_| assert_well(&supervisor, before)));
}

fn half_open() {
    let supervisor = start();
    let before = resident_kib(supervisor.pid());
    let mut clients = connect_many(&supervisor, 200);
    for (number, client) in clients.iter_mut().enumerate() {
        match number % 4 {
            // Says nothing any more, and stays.
            0 => client.shutdown(Shutdown::Write).expect("shuts down"),
            // Asks much, reads nothing, and says that it will not ask more.
            1 => {
                let _ = client.write(&b"{\"method\":\"io.taskmaster.Control.Status\"}\0".repeat(1000));
                client.shutdown(Shutdown::Write).expect("shuts down");
            }
            // Asks, and cannot be answered.
            2 => {
                client.shutdown(Shutdown::Read).expect("shuts down");
                let _ = client.write(b"{\"method\":\"io.taskmaster.Control.Status\"}\0");
            }
            _ => {
                let _ = client.write(b"{\"method\":");
            }
        }
    }
    (0..3).for_each(|_| assert_well(&supervisor, before));
    // They are served or gone, and cost no time once that is done.
    eventually("it is quiet", || {
        let ticks = proc::cpu_ticks(supervisor.pid());
        std::thread::park_timeout(Duration::from_millis(300));
        (proc::cpu_ticks(supervisor.pid()) - ticks <= 3).then_some(())
    });
    // What was asked and not read is answered to its end.
    let mut asker = BufReader::new(clients.swap_remove(1));
    let answers = std::iter::from_fn(|| receive(&mut asker)).count();
    assert!(answers > 100, "{answers}");
}

fn endless_frames() {
    let supervisor = start();
    let before = resident_kib(supervisor.pid());
    let attack = || {
        let mut client = connect(&supervisor);
        let piece = vec![b'x'; 1 << 20];
        let mut sent: u64 = 0;
        while sent < 1 << 31 {
            match client.write(&piece) {
                Ok(count) => sent += count as u64,
                Err(_) => break,
            }
        }
        assert!(sent < 4 << 20, "{sent} bytes were taken");
    };
    meanwhile(attack, || (0..3).for_each(|_| assert_well(&supervisor, before)));
}

fn unfinished_calls() {
    let supervisor = start();
    let before = resident_kib(supervisor.pid());
    let mut clients = connect_many(&supervisor, 200);
    let long = vec![b' '; 200 << 10];
    for client in &mut clients {
        client.set_nonblocking(true).expect("sets");
        let _ = client.write(&long);
    }
    // Much less than all of them would be.
    assert_well(&supervisor, before);
    let mut kept = 0;
    for client in &mut clients {
        let told = eventually("it is cut, or waits", || match client.read(&mut [0; 512]) {
            Ok(_) => Some(true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Some(false),
            Err(_) => Some(true),
        });
        kept += usize::from(!told);
    }
    assert!((1..100).contains(&kept), "{kept} of 200 kept");
}

fn pipelined() {
    const CALLS: usize = 100_000;
    let supervisor = start();
    let before = resident_kib(supervisor.pid());
    let client = connect(&supervisor);
    let mut writer = client.try_clone().expect("a descriptor");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let calls = b"{\"method\":\"io.taskmaster.Control.Version\"}\0".repeat(1000);
            (0..CALLS / 1000).for_each(|_| writer.write_all(&calls).expect("writes"));
        });
        let reader = scope.spawn(move || {
            let mut reader = BufReader::new(client);
            (0..CALLS).filter(|_| receive(&mut reader).is_some_and(|reply| reply.get("error").is_none())).count()
        });
        (0..3).for_each(|_| assert_well(&supervisor, before));
        assert_eq!(reader.join().expect("reads"), CALLS);
    });
}

fn deaf_followers() {
    let supervisor = start();
    let before = resident_kib(supervisor.pid());
    let mut deaf = connect_many(&supervisor, 50);
    for client in &mut deaf {
        send(client, "Events", json!({ "follow": true }), true);
    }
    // Each dry run is cheap and each reload an event for all of them.
    let mut caller = BufReader::new(connect(&supervisor));
    let attack = move || {
        send(caller.get_mut(), "Reload", json!({}), false);
        let reply: Option<Value> = receive(&mut caller);
        assert!(reply.is_some_and(|reply| reply.get("error").is_none()));
    };
    meanwhile(attack, || (0..5).for_each(|_| assert_well(&supervisor, before)));
}

fn cut_in_time() {
    let supervisor = start();
    let mut client = connect(&supervisor);
    client.write_all(b"{\"method\": ").expect("writes");
    client.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let began = Instant::now();
    let answer = receive(&mut BufReader::new(client)).expect("it is told why");
    assert_eq!(answer["error"], "io.taskmaster.Control.Busy", "{answer}");
    assert!((25..50).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}
