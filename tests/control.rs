//! The control socket, byte by byte, and the one-shot commands by their exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::look::{FAST, reachable, uid};
use crate::support::supervisor::{TASKMASTERCTL, receive, send};
use crate::support::{
    Ctl, Need, PATIENCE, Supervisor, eventually, is_root, measured, proc, program, start, test, user,
};

pub fn trials() -> Vec<Trial> {
    vec![
        test("the service describes itself as varlink asks", &[], introspection),
        test("what is not there is told by its varlink error", &[], unknown),
        test("wrong parameters are told by name", &[], wrong_parameters),
        test("an unknown program is told with the nearest name", &[], no_such_program),
        test("calls sent at once are answered in order", &[], pipelined),
        test("a oneway call is carried out and not answered", &[], oneway),
        test("a call may come byte by byte", &[], fragmented),
        test("a call that is too long ends its own connection only", &[], too_long),
        test("a call as long as may be is answered", &[], as_long_as_may_be),
        test("garbage ends its own connection only", &[], garbage),
        test("a client that has closed its half is still answered", &[], half_closed),
        test("a client that leaves while it waits costs nothing", &[], leaves_while_waiting),
        test("two hundred idle clients delay nobody", &[], idle_clients),
        test("more clients than may be are told so", &[], too_many_clients),
        test("a follower that never reads costs no memory and delays nobody", &[], deaf_follower),
        test("a client that asks and never reads costs no memory", &[], deaf_asker),
        test("a follower hears what happens and from where it asks", &[], follower),
        test("another user is refused and that is told", &[Need::Root], not_permitted),
        test("who may not use the socket file is told so", &[Need::Root], no_access),
        test("refusals are told at most once a second", &[Need::Root], refusals_are_limited),
        test("each order tells what became of it", &[], outcomes),
        test("an order that is not waited for is answered at once", &[], not_waited_for),
        test("an order that is overtaken is told as superseded", &[], superseded),
        test("the exit codes of taskmasterctl are those of the manual", &[], exit_codes),
        test("status has every field of every process", &[], status_fields),
        test("selectors name processes programs groups and globs", &[], selectors),
        test("a shutdown answers and refuses new orders", &[Need::Root], shutdown),
    ]
}

/// A raw connection.
struct Client(BufReader<UnixStream>);

impl Client {
    fn of(supervisor: &Supervisor) -> Self {
        let stream = UnixStream::connect(supervisor.socket()).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    fn stream(&mut self) -> &mut UnixStream {
        self.0.get_mut()
    }

    fn send(&mut self, method: &str, parameters: Value) {
        send(self.stream(), method, parameters, false);
    }

    #[track_caller]
    fn answer(&mut self) -> Value {
        receive(&mut self.0).expect("an answer")
    }

    #[track_caller]
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.send(method, parameters);
        self.answer()
    }

    /// The other side has closed the connection.
    #[track_caller]
    fn assert_closed(&mut self) {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("still open: {other:?}"),
        }
    }
}

#[track_caller]
fn assert_alive(supervisor: &Supervisor) {
    assert_eq!(supervisor.call("Version", json!({}))["parameters"]["pid"], supervisor.pid());
}

fn introspection() {
    let supervisor = start(&program("web", ""));
    let info = supervisor.call("org.varlink.service.GetInfo", json!({}))["parameters"].clone();
    assert_eq!(info["product"], "taskmasterd");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["interfaces"], json!(["org.varlink.service", "io.taskmaster.Control", "io.systemd.service"]));
    for field in ["vendor", "url"] {
        assert!(info[field].is_string(), "{info}");
    }
    let describe =
        |name: &str| supervisor.call("org.varlink.service.GetInterfaceDescription", json!({ "interface": name }));
    for (name, word) in [("io.taskmaster.Control", "method Status("), ("org.varlink.service", "method GetInfo(")] {
        let description = describe(name)["parameters"]["description"].as_str().expect("a description").to_owned();
        assert!(description.contains(&format!("interface {name}\n")) && description.contains(word), "{description}");
    }
    let unknown = describe("io.example.None");
    assert_eq!(unknown["error"], "org.varlink.service.InterfaceNotFound");
    assert_eq!(unknown["parameters"]["interface"], "io.example.None");
    // Every field of a process stands in the description, and no other.
    let description = describe("io.taskmaster.Control")["parameters"]["description"].as_str().expect("text").to_owned();
    for (object, marker) in [
        (supervisor.process("web"), "type Process ("),
        (supervisor.call("Security", json!({}))["parameters"]["programs"][0].clone(), "type ProgramSecurity ("),
        (json!(supervisor.call("Reload", json!({"dry_run": true}))["parameters"]["plan"]), "type Plan ("),
    ] {
        let block = description.split(marker).nth(1).and_then(|rest| rest.split("\n)").next()).expect("the type");
        let mut described: Vec<&str> = block.lines().filter_map(|line| Some(line.trim().split_once(':')?.0)).collect();
        let mut there: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
        described.sort_unstable();
        there.sort_unstable();
        assert_eq!(described, there, "{marker}");
    }
}

fn unknown() {
    let supervisor = start(&program("web", ""));
    let method = supervisor.call("Statsu", json!({}));
    assert_eq!(method["error"], "org.varlink.service.MethodNotFound");
    assert_eq!(method["parameters"]["method"], "io.taskmaster.Control.Statsu");
    let method = supervisor.call("org.varlink.service.GetInf", json!({}));
    assert_eq!(method["error"], "org.varlink.service.MethodNotFound");
    let interface = supervisor.call("io.example.Other.Status", json!({}));
    assert_eq!(interface["error"], "org.varlink.service.InterfaceNotFound");
    assert_eq!(interface["parameters"]["interface"], "io.example.Other");
}

fn wrong_parameters() {
    let supervisor = start(&program("web", ""));
    let cases = [
        ("Status", json!({ "selector": ["web"] }), "selector"),
        ("Stop", json!({ "selectors": "web" }), "parameters"),
        ("Stop", json!({ "selectors": [] }), "selectors"),
        ("Stop", json!({}), "selectors"),
        ("Signal", json!({ "selectors": ["web"] }), "signal"),
        ("Signal", json!({ "signal": "NOPE", "selectors": ["web"] }), "signal"),
        ("Signal", json!({ "signal": "0", "selectors": ["web"] }), "signal"),
        ("Events", json!({ "follow": true }), "follow"),
        ("Tail", json!({ "selectors": ["web"], "lines": 100_001 }), "lines"),
        ("Security", json!({ "selector": ["web"] }), "selector"),
        ("Security", json!({ "after": "web" }), "after"),
        ("Security", json!({ "after": "../x:1" }), "after"),
        ("Security", json!({ "after": "web:-1" }), "after"),
        ("Version", json!({ "extra": 1 }), "extra"),
        ("Shutdown", json!({ "extra": 1 }), "extra"),
    ];
    for (method, parameters, parameter) in cases {
        let answer = supervisor.call(method, parameters.clone());
        assert_eq!(answer["error"], "org.varlink.service.InvalidParameter", "{method} {parameters}: {answer}");
        assert_eq!(answer["parameters"]["parameter"], parameter, "{method} {parameters}: {answer}");
    }
    assert_eq!(supervisor.state("web"), "RUNNING");
}

fn no_such_program() {
    let supervisor = start(&[program("web", ""), program("database", "")].concat());
    for method in ["Status", "Security", "Start", "Stop", "Restart", "Tail"] {
        let answer = supervisor.call(method, json!({ "selectors": ["databse"] }));
        assert_eq!(answer["error"], "io.taskmaster.Control.NoSuchProgram");
        assert_eq!(answer["parameters"], json!({ "selector": "databse", "suggestion": "database" }), "{method}");
    }
    // One unknown name among known ones: nothing happens to any.
    let answer = supervisor.call("Stop", json!({ "selectors": ["web", "nothing-like-it"] }));
    assert_eq!(answer["parameters"], json!({ "selector": "nothing-like-it", "suggestion": null }));
    assert_eq!(supervisor.state("web"), "RUNNING");
}

fn pipelined() {
    let supervisor = start(&program("web", ""));
    let mut client = Client::of(&supervisor);
    client.send("Version", json!({}));
    client.send("Stop", json!({ "selectors": ["web"] }));
    client.send("Status", json!({}));
    client.send("Start", json!({ "selectors": ["web"] }));
    client.send("Statsu", json!({}));
    assert_eq!(client.answer()["parameters"]["pid"], supervisor.pid());
    assert_eq!(client.answer()["parameters"]["results"][0]["outcome"], "stopped");
    assert_eq!(client.answer()["parameters"]["processes"][0]["state"], "STOPPED");
    assert_eq!(client.answer()["parameters"]["results"][0]["outcome"], "started");
    assert_eq!(client.answer()["error"], "org.varlink.service.MethodNotFound");
    // Many at once, more than one turn reads.
    for _ in 0..4 {
        for _ in 0..500 {
            client.send("Version", json!({}));
        }
        for _ in 0..500 {
            assert_eq!(client.answer()["parameters"]["pid"], supervisor.pid());
        }
    }
}

fn oneway() {
    let supervisor = start(&program("web", ""));
    let mut client = Client::of(&supervisor);
    let call =
        json!({ "method": "io.taskmaster.Control.Stop", "parameters": { "selectors": ["web"] }, "oneway": true });
    client.stream().write_all(format!("{call}\0").as_bytes()).expect("writes");
    client.send("Status", json!({}));
    let answer = client.answer();
    assert_eq!(answer["parameters"]["processes"][0]["state"], "STOPPED", "the next call's answer: {answer}");
}

fn fragmented() {
    let supervisor = start(&program("web", ""));
    let mut client = Client::of(&supervisor);
    let call = "{\"method\": \"io.taskmaster.Control.Version\",\n \"parameters\": {}}\0{\"method\": \"io.taskmaster.Control.Version\"}\0";
    for byte in call.as_bytes() {
        client.stream().write_all(&[*byte]).expect("writes");
    }
    for _ in 0..2 {
        assert_eq!(client.answer()["parameters"]["pid"], supervisor.pid());
    }
}

fn too_long() {
    let supervisor = start(&program("web", ""));
    let mut other = Client::of(&supervisor);
    let mut client = Client::of(&supervisor);
    let piece = vec![b'x'; 16 << 10];
    let mut taken = 0;
    while taken < (8 << 20) {
        match client.stream().write(&piece) {
            Ok(count) => taken += count,
            Err(_) => break,
        }
    }
    assert!(taken < (2 << 20), "{taken} bytes were taken");
    let answer = receive(&mut client.0).expect("it is told why");
    assert_eq!(answer["error"], "io.taskmaster.Control.Busy");
    client.assert_closed();
    assert_eq!(other.call("Version", json!({}))["parameters"]["pid"], supervisor.pid());
}

fn as_long_as_may_be() {
    let supervisor = start(&program("web", ""));
    let mut client = Client::of(&supervisor);
    let call = "{\"method\": \"io.taskmaster.Control.Version\"}";
    let padded = format!("{call}{}\0", " ".repeat((256 << 10) - call.len()));
    client.stream().write_all(padded.as_bytes()).expect("writes");
    assert_eq!(client.answer()["parameters"]["pid"], supervisor.pid());
    client.stream().write_all(format!(" {padded}").as_bytes()).expect("writes");
    assert_eq!(client.answer()["error"], "io.taskmaster.Control.Busy", "one more byte is too much");
    client.assert_closed();
}

fn garbage() {
    let supervisor = start(&program("web", ""));
    let mut other = Client::of(&supervisor);
    let deep = format!("{}\0", "[".repeat(100_000)).into_bytes();
    let cases: [&[u8]; 9] = [
        b"\0",
        b"\0\0\0",
        b"hello\0",
        b"\xff\xfe\xfd\0",
        b"{}\0",
        b"[]\0",
        b"{\"method\": 5}\0",
        b"{\"method\":\"a\"\0",
        &deep,
    ];
    for bytes in cases {
        let mut client = Client::of(&supervisor);
        client.stream().write_all(bytes).expect("writes");
        let answer = client.answer();
        assert_eq!(answer["error"], "org.varlink.service.InvalidParameter", "{answer}");
        client.assert_closed();
    }
    // A connection that says nothing, or half of something, and leaves.
    drop(Client::of(&supervisor));
    Client::of(&supervisor).stream().write_all(b"{\"meth").expect("writes");
    assert_eq!(other.call("Version", json!({}))["parameters"]["pid"], supervisor.pid());
}

fn half_closed() {
    let supervisor = start(&program("web", ""));
    let mut client = Client::of(&supervisor);
    client.send("Restart", json!({ "selectors": ["web"] }));
    client.send("Version", json!({}));
    client.stream().shutdown(Shutdown::Write).expect("shuts down");
    assert_eq!(client.answer()["parameters"]["results"][0]["outcome"], "started");
    assert_eq!(client.answer()["parameters"]["pid"], supervisor.pid());
    client.assert_closed();
}

fn leaves_while_waiting() {
    let supervisor = start(&format!("{}{}", program("web", ""), program("slow", "autostart = false")).replace(
        "[programs.slow]\ncmd = \"sleep 1000\"\nstarttime = 0",
        "[programs.slow]\ncmd = \"sleep 1000\"\nstarttime = 1000",
    ));
    let sockets = || proc::descriptors(supervisor.pid()).values().filter(|to| to.starts_with("socket:")).count();
    let before = eventually("the last client is gone", || {
        let count = sockets();
        std::thread::park_timeout(Duration::from_millis(50));
        (sockets() == count).then_some(count)
    });
    for more in [false, true] {
        let mut client = Client::of(&supervisor);
        client.send("Start", json!({ "selectors": ["slow"] }));
        eventually("the order is taken", || (supervisor.state("slow") == "STARTING").then_some(()));
        if more {
            // A call that is not looked at while the first is not answered.
            client.send("Version", json!({}));
        }
        drop(client);
        eventually("its connection is closed", || (sockets() == before).then_some(()));
        let ticks = proc::cpu_ticks(supervisor.pid());
        std::thread::park_timeout(Duration::from_millis(300));
        let used = proc::cpu_ticks(supervisor.pid()) - ticks;
        assert!(used <= 5, "{used} ticks of CPU time while nothing happens (another call sent: {more})");
        assert_eq!(supervisor.state("slow"), "STARTING", "its order stands");
        assert_eq!(supervisor.ctl(&["stop", "slow"]).code, 0);
    }
}

fn idle_clients() {
    let supervisor = start(&program("web", ""));
    let mut idle: Vec<Client> = (0..200).map(|_| Client::of(&supervisor)).collect();
    // Half of them with half a call.
    for client in idle.iter_mut().step_by(2) {
        client.stream().write_all(b"{\"method\": \"io.task").expect("writes");
    }
    let mut client = Client::of(&supervisor);
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let before = Instant::now();
            client.call("Status", json!({}));
            before.elapsed()
        })
        .collect();
    times.sort_unstable();
    // The median: one of fifty may meet a busy machine.
    assert!(times[25] < Duration::from_millis(100), "{times:?}");
    // They are all still there.
    for client in idle.iter_mut().skip(1).step_by(2) {
        assert_eq!(client.call("Version", json!({}))["parameters"]["pid"], supervisor.pid());
    }
}

fn too_many_clients() {
    let supervisor = start(&program("web", ""));
    let mut clients: Vec<Client> = (0..300).map(|_| Client::of(&supervisor)).collect();
    let mut last = clients.pop().expect("the last");
    assert_eq!(last.answer()["error"], "io.taskmaster.Control.Busy");
    last.assert_closed();
    assert_eq!(clients[0].call("Version", json!({}))["parameters"]["pid"], supervisor.pid());
    drop(clients);
    // supervisor.call would panic at the first refusal.
    eventually("there is room again", || {
        Client::of(&supervisor).call("Version", json!({})).get("error").is_none().then_some(())
    });
}

fn resident_kib(pid: i64) -> u64 {
    proc::status(pid)["VmRSS"].split(' ').next().and_then(|number| number.parse().ok()).expect("a size")
}

fn deaf_follower() {
    let supervisor = start(&program("web", ""));
    let mut caller = Client::of(&supervisor);
    let make_events = |caller: &mut Client, count: usize| {
        // A reload of an equal file is one event.
        for _ in 0..count / 50 {
            for _ in 0..50 {
                caller.send("Reload", json!({}));
            }
            for _ in 0..50 {
                assert!(caller.answer().get("error").is_none());
            }
        }
    };
    // What the supervisor keeps of its own accord is full by then.
    make_events(&mut caller, 3000);
    let mut deaf: Vec<Client> = (0..3).map(|_| Client::of(&supervisor)).collect();
    for client in &mut deaf {
        send(client.stream(), "Events", json!({ "follow": true }), true);
    }
    assert_alive(&supervisor);
    let before = resident_kib(supervisor.pid());
    make_events(&mut caller, 10_000);
    let grown = resident_kib(supervisor.pid()).saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more");
    measured("it answers at once", || {
        let asked = Instant::now();
        assert_alive(&supervisor);
        let took = asked.elapsed();
        if took < Duration::from_millis(500) { Ok(()) } else { Err(format!("{took:?}")) }
    });
    // When it reads at last, it is told how much it missed.
    let mut client = deaf.pop().expect("one");
    let mut seen = 0;
    let mut lost = 0;
    let mut pushed = false;
    while seen + lost < 10_000 {
        if client.0.buffer().is_empty() && !pushed && seen > 100 {
            // An event after those that were lost brings their number.
            make_events(&mut caller, 50);
            pushed = true;
        }
        let reply = client.answer();
        seen += reply["parameters"]["events"].as_array().map_or(0, Vec::len);
        lost += usize::try_from(reply["parameters"]["lost"].as_u64().unwrap_or(0)).expect("fits");
    }
    assert!(lost > 1000, "{seen} seen, {lost} lost");
}

fn deaf_asker() {
    let supervisor = start(&program("web", "numprocs = 200\nautostart = false"));
    let mut other = Client::of(&supervisor);
    let mut deaf = Client::of(&supervisor);
    deaf.call("Status", json!({}));
    let before = resident_kib(supervisor.pid());
    // Many megabytes of answers.
    let call = b"{\"method\":\"io.taskmaster.Control.Status\"}\0";
    let calls = 1500;
    deaf.stream().write_all(&call.repeat(calls)).expect("writes");
    for _ in 0..100 {
        let reply = other.call("Status", json!({}));
        assert_eq!(reply["parameters"]["processes"].as_array().map(Vec::len), Some(200));
    }
    let grown = resident_kib(supervisor.pid()).saturating_sub(before);
    assert!(grown < 4 << 10, "{grown} KiB more");
    // All that it asked is answered once it reads.
    let mut frame = Vec::new();
    for _ in 0..calls {
        frame.clear();
        deaf.0.read_until(0, &mut frame).expect("an answer");
        assert_eq!(frame.last(), Some(&0));
    }
}

fn follower() {
    let supervisor = start(&program("web", ""));
    let mut client = Client::of(&supervisor);
    send(client.stream(), "Events", json!({ "follow": true, "since": 0 }), true);
    let first = client.answer();
    assert_eq!(first["continues"], true);
    let events = first["parameters"]["events"].as_array().expect("events").clone();
    assert_eq!(events[0]["kind"], "supervisor.started");
    supervisor.ctl(&["stop", "web"]);
    let mut seq = events.last().and_then(|event| event["seq"].as_u64()).expect("a number");
    let mut kinds = Vec::new();
    while kinds.last() != Some(&json!("process.stopped")) {
        let reply = client.answer();
        assert_eq!((&reply["continues"], &reply["parameters"]["lost"]), (&json!(true), &json!(0)));
        for event in reply["parameters"]["events"].as_array().expect("events") {
            seq += 1;
            assert_eq!(event["seq"], seq);
            kinds.push(event["kind"].clone());
        }
    }
    assert_eq!(kinds, ["process.stopping", "process.stopped"]);
    let since = supervisor.call("Events", json!({ "since": seq - 1 }));
    assert_eq!(since["parameters"]["events"].as_array().map(Vec::len), Some(1), "{since}");
    // The log has the same.
    let logged = supervisor.wait_for_kind("web", "process.stopped");
    assert_eq!(since["parameters"]["events"][0], logged);
}

/// With a socket that everybody can reach: who may do what is judged by uid.
fn open_to_all() -> Supervisor {
    start(&[program("web", ""), "[control]\nmode = \"0666\"\n".to_owned()].concat())
}

/// taskmasterctl as another user.
fn ctl_as_nobody(supervisor: &Supervisor, arguments: &[&str]) -> Ctl {
    let output = Command::new(reachable(TASKMASTERCTL, supervisor))
        .arg("-s")
        .arg(supervisor.socket())
        .args(arguments)
        .uid(uid("nobody"))
        .gid(uid("nobody"))
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .expect("taskmasterctl runs");
    output.into()
}

fn not_permitted() {
    let supervisor = open_to_all();
    let before = supervisor.pid_of("web");
    for arguments in
        [&["stop", "web"][..], &["status"], &["shutdown"], &["reload"], &["events"], &["tail", "web"], &["version"]]
    {
        let refused = ctl_as_nobody(&supervisor, arguments);
        assert_eq!((refused.code, refused.stdout.as_str()), (5, ""), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains("not permitted"), "{refused:?}");
    }
    assert_eq!(supervisor.pid_of("web"), before);
    let denied = supervisor.wait_for_event("the refusal", |event| event["kind"] == "control.denied");
    let words = format!("uid {}", uid("nobody"));
    assert!(denied["message"].as_str().is_some_and(|text| text.contains(&words)), "{denied}");
    assert_eq!(denied["severity"], "warning");
}

fn no_access() {
    let supervisor = start(&[program("web", ""), "[control]\nmode = \"0600\"\n".to_owned()].concat());
    let refused = ctl_as_nobody(&supervisor, &["status"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("not permitted to use the socket"), "{refused:?}");
    assert!(supervisor.event_log().iter().all(|event| event["kind"] != "control.denied"), "it never came so far");
}

fn refusals_are_limited() {
    let supervisor = open_to_all();
    let script = "import socket,sys\nfor i in range(200):\n s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n";
    let knock = || {
        Command::new("python3")
            .args(["-c", script])
            .arg(supervisor.socket())
            .uid(uid("nobody"))
            .gid(uid("nobody"))
            .current_dir("/")
            .stdin(Stdio::null())
            .status()
    };
    let denied =
        || supervisor.event_log().into_iter().filter(|event| event["kind"] == "control.denied").collect::<Vec<_>>();
    let before = Instant::now();
    if knock().is_err() {
        // Without python3 one connection at a time does as well.
        for _ in 0..30 {
            ctl_as_nobody(&supervisor, &["version"]);
        }
    }
    let most = usize::try_from(before.elapsed().as_secs()).expect("fits") + 1;
    assert_alive(&supervisor);
    eventually("it is told", || (!denied().is_empty()).then_some(()));
    assert!(denied().len() <= most, "{} events", denied().len());
    // The next one says how many there were.
    eventually("another is told", || {
        ctl_as_nobody(&supervisor, &["version"]);
        let told = denied();
        told.iter()
            .any(|event| event["message"].as_str().is_some_and(|text| text.contains("more refusals before")))
            .then_some(())
    });
}

fn outcomes() {
    let text = [
        program("web", ""),
        program("pair", "numprocs = 2"),
        "[programs.gone]\ncmd = \"/no/such\"\nautostart = false\n".to_owned() + user(),
        "\n[programs.short]\ncmd = [\"sh\", \"-c\", \"exit 3\"]\nautostart = false\n".to_owned() + user(),
    ]
    .concat();
    let supervisor = start(&text);
    let result = |method: &str, names: &[&str]| {
        let answer = supervisor.call(method, json!({ "selectors": names }));
        let results = answer["parameters"]["results"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        results
            .iter()
            .map(|result| {
                format!("{} {}", result["process"].as_str().unwrap_or("?"), result["outcome"].as_str().unwrap_or("?"))
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(result("Start", &["web"]), ["web already_started"]);
    assert_eq!(result("Restart", &["web", "pair"]), ["web started", "pair:0 started", "pair:1 started"]);
    assert_eq!(result("Stop", &["pair:1"]), ["pair:1 stopped"]);
    assert_eq!(result("Stop", &["pair"]), ["pair:0 stopped", "pair:1 not_running"]);
    assert_eq!(result("Start", &["pair:*"]), ["pair:0 started", "pair:1 started"]);
    assert_eq!(result("Start", &["gone"]), ["gone spawn_error"]);
    assert_eq!(result("Start", &["short"]), ["short abnormal_termination"]);
    assert_eq!(result("Start", &["gone"]), ["gone already_started"], "in BACKOFF it is on its way up");
    assert_eq!(result("Restart", &["gone"]), ["gone spawn_error"]);
    assert_eq!(result("Stop", &["gone"]), ["gone stopped"]);
    let signal = |signal: &str, name: &str| {
        let answer = supervisor.call("Signal", json!({ "signal": signal, "selectors": [name] }));
        answer["parameters"]["results"][0]["outcome"].clone()
    };
    assert_eq!(signal("CONT", "web"), "signalled");
    assert_eq!(signal("SIGCONT", "web"), "signalled");
    assert_eq!(signal("18", "web"), "signalled");
    assert_eq!(signal("CONT", "gone"), "not_running");
    // The same process twice is one.
    assert_eq!(result("Stop", &["web", "web:0", "w*"]), ["web stopped"]);
    let detail =
        supervisor.call("Start", json!({ "selectors": ["gone"] }))["parameters"]["results"][0]["detail"].clone();
    assert!(detail.as_str().is_some_and(|text| text.contains("/no/such: No such file")), "{detail}");
}

fn not_waited_for() {
    let text = program("slow", "autostart = false").replace("starttime = 0", "starttime = 1000");
    let supervisor = start(&text);
    let before = Instant::now();
    let answer = supervisor.call("Start", json!({ "selectors": ["slow"], "wait": false }));
    assert_eq!(answer["parameters"]["results"][0]["outcome"], "ordered");
    assert_eq!(supervisor.ctl(&["restart", "--no-wait", "slow"]).code, 0);
    assert!(before.elapsed() < Duration::from_secs(5));
    assert_eq!(supervisor.ctl(&["stop", "--no-wait", "slow"]).code, 0);
    supervisor.wait_for_state("slow", "STOPPED");
}

fn superseded() {
    let text = program("slow", "autostart = false").replace("starttime = 0", "starttime = 1000");
    let supervisor = start(&text);
    let waits_for = |method: &str| {
        let mut client = Client::of(&supervisor);
        client.send(method, json!({ "selectors": ["slow"] }));
        eventually("the order is taken", || (supervisor.state("slow") == "STARTING").then_some(()));
        client
    };
    let mut first = waits_for("Start");
    supervisor.call("Stop", json!({ "selectors": ["slow"] }));
    assert_eq!(first.answer()["parameters"]["results"][0]["outcome"], "superseded");
    let mut second = waits_for("Start");
    supervisor.call("Restart", json!({ "selectors": ["slow"], "wait": false }));
    assert_eq!(second.answer()["parameters"]["results"][0]["outcome"], "superseded");
    // Taken out of the configuration while somebody waits for it.
    supervisor.call("Stop", json!({ "selectors": ["slow"] }));
    let mut third = waits_for("Start");
    supervisor.reload_with("");
    assert_eq!(third.answer()["parameters"]["results"][0]["outcome"], "superseded");
}

fn exit_codes() {
    let gone =
        format!("[programs.gone]\ncmd = \"/no/such\"\nautostart = false\nstartretries = 0\n{FAST}\n{}\n", user());
    let mut supervisor = start(&[program("web", ""), gone].concat());
    let code = |arguments: &[&str]| supervisor.ctl(arguments).code;
    for arguments in [
        &["status", "web"][..],
        &["start", "web"],
        &["restart", "web"],
        &["signal", "CONT", "web"],
        &["stop", "gone"],
        &["pid"],
        &["pid", "web"],
        &["version"],
        &["events"],
        &["help"],
        &["help", "status"],
        &["tail", "web"],
        &["reload"],
        &["reopen"],
    ] {
        assert_eq!(code(arguments), 0, "{arguments:?}: {:?}", supervisor.ctl(arguments));
    }
    for arguments in
        [&["start", "gone"][..], &["start", "all"], &["restart", "gone"], &["signal", "CONT", "gone"], &["pid", "gone"]]
    {
        assert_eq!(code(arguments), 1, "{arguments:?}");
    }
    for arguments in [
        &["start"][..],
        &["stop", "--hard", "web"],
        &["frobnicate"],
        &["signal", "NOPE", "web"],
        &["tail", "-n", "many", "web"],
        &["--bogus"],
    ] {
        let wrong = supervisor.ctl(arguments);
        assert_eq!((wrong.code, wrong.stdout.as_str()), (2, ""), "{arguments:?}: {wrong:?}");
        assert_eq!(wrong.stderr.lines().count(), 1, "{wrong:?}");
    }
    assert_eq!(code(&["status"]), 3);
    assert_eq!(code(&["status", "gone"]), 3);
    assert_eq!(code(&["status", "--json"]), 3);
    let unknown = supervisor.ctl(&["status", "wbe"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (4, "wbe: ERROR (no such process)\n"));
    assert!(unknown.stderr.contains("did you mean `web`?"), "{unknown:?}");
    for verb in ["start", "stop", "restart", "tail"] {
        assert_eq!(code(&[verb, "wbe"]), 4, "{verb}");
    }
    supervisor.configure("broken");
    assert_eq!(code(&["reload"]), 1);
    assert_eq!(supervisor.stop(), 0);
    let unreachable = supervisor.ctl(&["status"]);
    assert_eq!((unreachable.code, unreachable.stdout.as_str()), (6, ""));
    assert!(unreachable.stderr.contains("there is no socket"), "{unreachable:?}");
    // A dead socket.
    drop(std::os::unix::net::UnixListener::bind(supervisor.socket()).expect("binds"));
    let unreachable = supervisor.ctl(&["status"]);
    assert_eq!(unreachable.code, 6);
    assert!(unreachable.stderr.contains("nobody listens"), "{unreachable:?}");
}

fn status_fields() {
    let supervisor = start(&[program("web", "group_name = \"front\""), program("idle", "autostart = false")].concat());
    let shown = supervisor.ctl(&["status", "--json"]);
    let all: Vec<Value> = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(all.iter().map(|p| p["process"].clone()).collect::<Vec<_>>(), ["idle", "web"]);
    let fields = [
        "group_name",
        "instance",
        "last_exit",
        "pid",
        "process",
        "program",
        "reason",
        "restarts",
        "state",
        "statecode",
        "uptime_seconds",
        "user",
        "wanted",
    ];
    for process in &all {
        let mut names: Vec<&str> = process.as_object().expect("an object").keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, fields);
    }
    let (idle, web) = (&all[0], &all[1]);
    assert_eq!((&idle["state"], &idle["statecode"], &idle["wanted"]), (&json!("STOPPED"), &json!(0), &json!("down")));
    assert_eq!((&idle["pid"], &idle["uptime_seconds"], &idle["last_exit"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!((&web["state"], &web["statecode"], &web["wanted"]), (&json!("RUNNING"), &json!(20), &json!("up")));
    assert_eq!((&web["group_name"], &web["instance"], &web["restarts"]), (&json!("front"), &json!(0), &json!(0)));
    assert!(web["uptime_seconds"].as_f64().is_some_and(|seconds| (0.0..60.0).contains(&seconds)), "{web}");
    if is_root() {
        assert_eq!(web["user"], "nobody");
    }
    assert_eq!(supervisor.ctl(&["pid", "web"]).stdout.trim(), web["pid"].to_string());
    assert_eq!(supervisor.ctl(&["pid"]).stdout.trim(), supervisor.pid().to_string());
    supervisor.ctl(&["stop", "web"]);
    let exit = supervisor.process("web")["last_exit"].clone();
    assert_eq!((&exit["signal"], &exit["core_dumped"]), (&json!("TERM"), &json!(false)));
    let at: jiff::Timestamp = exit["at"].as_str().expect("a time").parse().expect("RFC 3339");
    assert!(
        jiff::Timestamp::now().duration_since(at).as_secs() < 60
            && exit["at"].as_str().is_some_and(|t| t.ends_with('Z'))
    );
}

fn selectors() {
    let supervisor = start(
        &[
            program("web", "numprocs = 3\ngroup_name = \"front\""),
            program("proxy", "group_name = \"front\""),
            program("db", ""),
        ]
        .concat(),
    );
    let names = |selectors: &[&str]| {
        let answer = supervisor.call("Status", json!({ "selectors": selectors }));
        let all = answer["parameters"]["processes"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        all.iter().map(|process| process["process"].as_str().unwrap_or("?").to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&[]), "db proxy web:0 web:1 web:2");
    assert_eq!(names(&["all"]), "db proxy web:0 web:1 web:2");
    assert_eq!(names(&["web"]), "web:0 web:1 web:2");
    assert_eq!(names(&["web:*"]), "web:0 web:1 web:2");
    assert_eq!(names(&["web:"]), "web:0 web:1 web:2", "supervisorctl's spelling");
    assert_eq!(names(&["web:1"]), "web:1");
    assert_eq!(names(&["db:0"]), "db");
    let mut front: Vec<String> = names(&["front"]).split(' ').map(str::to_owned).collect();
    front.sort();
    assert_eq!(front, ["proxy", "web:0", "web:1", "web:2"]);
    assert_eq!(names(&["p*"]), "proxy");
    for wrong in ["web:3", "", "zzz*", "*:9", "WEB", "../web"] {
        let answer = supervisor.call("Status", json!({ "selectors": [wrong] }));
        assert_eq!(answer["error"], "io.taskmaster.Control.NoSuchProgram", "{wrong:?}: {answer}");
    }
}

fn shutdown() {
    let stubborn = "[programs.web]\ncmd = [\"sh\", \"-c\", \"trap '' TERM; echo ready; while :; do sleep 1000; done\"]\n\
                    starttime = 0\nuser = \"nobody\"\nstoptime = \"500ms\"\n";
    let mut supervisor = start(stubborn);
    eventually("it ignores TERM", || (supervisor.read("log/web.stdout.log") == "ready\n").then_some(()));
    let mut other = Client::of(&supervisor);
    let answer = supervisor.call("Shutdown", json!({}));
    assert_eq!(answer["parameters"], json!({}));
    for (method, parameters) in [
        ("Start", json!({ "selectors": ["web"] })),
        ("Restart", json!({ "selectors": ["web"] })),
        ("Reload", json!({})),
        ("Shutdown", json!({})),
    ] {
        let answer = other.call(method, parameters);
        assert_eq!(answer["error"], "io.taskmaster.Control.ShuttingDown", "{method}: {answer}");
    }
    assert_eq!(
        other.call("Status", json!({}))["parameters"]["processes"][0]["state"],
        "STOPPING",
        "it is told to the end"
    );
    assert_eq!(supervisor.wait_for_end(), 0);
    let mut rest = Vec::new();
    assert_eq!(other.0.read_until(0, &mut rest).unwrap_or(0), 0);
}
