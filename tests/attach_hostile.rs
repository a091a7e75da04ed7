//! Clients of `attach` that mean harm or do nothing, on the connection itself, and programs that flood it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::peers::Who;
use crate::support::{Need, PATIENCE, Supervisor, eventually, proc, start, test, user};

pub fn trials() -> Vec<Trial> {
    vec![
        test("frames that are none end the connection with the reason and harm nobody", &[], nonsense),
        test("a viewer that reads nothing misses what it does not read and holds nobody up", &[], slow),
        test("a follower of a program without a terminal is cut off and told when it is too slow", &[], cut_off),
        test("sizes from anywhere are bounded", &[], sizes),
        test("attach needs its verb and a call that upgrades", &[Need::Root], permission),
        test("a program that writes whatever it likes breaks no screen and no logger", &[], hostile_program),
    ]
}

const ALICE: u32 = 3_000_000_001;

/// A connection after the reply, and what came behind that.
struct Attached {
    stream: UnixStream,
    reply: Value,
    bytes: Vec<u8>,
}

fn attach_by(mut stream: UnixStream, parameters: &Value, upgrade: bool) -> Attached {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let call = json!({ "method": "io.taskmaster.Control.Attach", "parameters": parameters, "upgrade": upgrade });
    stream.write_all(format!("{call}\0").as_bytes()).expect("writes");
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            break end;
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).expect("an answer");
        assert!(count > 0, "the connection ended: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..count]);
    };
    let reply = serde_json::from_slice(&bytes[..end]).expect("json");
    Attached { stream, reply, bytes: bytes.split_off(end + 1) }
}

fn attach(supervisor: &Supervisor, parameters: &Value) -> Attached {
    attach_by(UnixStream::connect(supervisor.socket()).expect("connects"), parameters, true)
}

impl Attached {
    fn send(&mut self, kind: u8, payload: &[u8]) {
        let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
        let _ = self.stream.write_all(&[&[kind], &length[..], payload].concat());
    }

    /// The next frame; `None` at the end.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let [kind, high, low, rest @ ..] = self.bytes.as_slice() {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if rest.len() >= length {
                    let frame = (*kind, rest[..length].to_vec());
                    self.bytes.drain(..3 + length);
                    return Some(frame);
                }
            }
            let mut buffer = [0; 64 << 10];
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Why it ended.
    #[track_caller]
    fn end(&mut self) -> String {
        while let Some((kind, payload)) = self.frame() {
            if kind == b'e' {
                return String::from_utf8(payload).expect("words");
            }
        }
        panic!("it ended without a word");
    }

    /// Reads until the program has written this.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let mut seen = String::new();
        while !seen.contains(text) {
            let (kind, payload) = self.frame().unwrap_or_else(|| panic!("the end, and not {text:?}: {seen}"));
            if kind == b'o' {
                seen.push_str(&String::from_utf8_lossy(&payload));
            }
        }
    }
}

fn echo() -> String {
    format!("[programs.echo]\ncmd = \"cat\"\ntty = true\nstarttime = 0\n{}\n", user())
}

fn logger(supervisor: &Supervisor) -> i64 {
    let is_logger = |pid: &i64| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "taskmaster-logg")
    };
    eventually("a logger runs", || proc::children(supervisor.pid()).into_iter().find(is_logger))
}

fn nonsense() {
    let supervisor = start(&echo());
    let mut good = attach(&supervisor, &json!({ "process": "echo" }));
    assert_eq!(good.reply["parameters"]["writes"], true, "{}", good.reply);
    let logger = logger(&supervisor);
    for bytes in [&b"\0"[..], b"i\xff\xff", b"o\0\x01x", b"r\0\x05abcde", b"d\0\x01x", b"{\"method\":\"x\"}\0"] {
        let mut bad = attach(&supervisor, &json!({ "process": "echo" }));
        assert_eq!(bad.reply["parameters"]["writes"], false);
        bad.stream.write_all(bytes).expect("writes");
        let end = bad.end();
        assert!(end.starts_with("fa frame of "), "{end}");
        assert!(bad.frame().is_none(), "nothing comes after the end");
    }
    // Half a frame, and gone; an end of the input; nothing at all.
    for bytes in [&b"i\0\x10abc"[..], b"i", b""] {
        let mut bad = attach(&supervisor, &json!({ "process": "echo" }));
        bad.stream.write_all(bytes).expect("writes");
    }
    // Who looks on does not type, whatever it sends; everything in one piece is understood.
    let mut bad = attach(&supervisor, &json!({ "process": "echo" }));
    bad.send(b'i', b"injected\n");
    bad.send(b'w', b"");
    bad.stream.write_all(b"w\0\0".repeat(5000).as_slice()).expect("writes");
    bad.send(b'd', b"");
    assert_eq!(bad.end(), "ldetached");
    good.send(b'i', b"hello\n");
    good.wait_for("hello\r\nhello\r\n");
    assert!(!supervisor.read("log/echo.stdout.log").contains("injected"));
    assert_eq!(self::logger(&supervisor), logger, "no logger died of it");
}

fn flood(name: &str, more: &str) -> String {
    format!(
        "[programs.{name}]\ncmd = \"yes 0123456789012345678901234567890123456789\"\nstarttime = 0\nstdout = \"discard\"\n{more}\n{}\n",
        user()
    )
}

fn slow() {
    let supervisor = start(&[flood("flood", "tty = true"), echo()].concat());
    let mut idle = attach(&supervisor, &json!({ "process": "flood", "read_only": true }));
    let mut reader = attach(&supervisor, &json!({ "process": "flood", "read_only": true }));
    let mut seen = 0;
    while seen < 4 << 20 {
        seen += reader.frame().map(|(_, payload)| payload.len()).expect("it goes on");
    }
    let mut other = attach(&supervisor, &json!({ "process": "echo" }));
    other.send(b'i', b"hello\n");
    other.wait_for("hello\r\nhello\r\n");
    // It gets what lay there, and then the screen as it is now.
    let mut seen = 0;
    while seen < 4 << 20 {
        let (kind, payload) = idle.frame().expect("it goes on");
        assert_eq!(kind, b'o');
        seen += payload.len();
    }
    let memory = &proc::status(logger(&supervisor))["VmRSS"];
    let kilobytes: u64 = memory.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number");
    assert!(kilobytes < 40 << 10, "{memory}");
}

fn cut_off() {
    let text = flood("flood", "").replace("stdout = \"discard\"\n", "log_maxbytes = \"1MB\"\nlog_backups = 0\n");
    let supervisor = start(&text);
    let mut idle = attach(&supervisor, &json!({ "process": "flood" }));
    assert_eq!(idle.reply["parameters"]["terminal"], false, "{}", idle.reply);
    let flood = format!("/proc/{}/io", supervisor.pid_of("flood"));
    let written = || {
        let counts = std::fs::read_to_string(&flood).expect("the kernel tells it");
        counts.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse::<u64>().ok()).expect("a number")
    };
    // More than any pipe or queue on the way holds.
    let attached = written();
    eventually("64 MiB were written", || (written() > attached + (64 << 20)).then_some(()));
    assert!(idle.end().starts_with("ctoo slow"));
    assert_eq!(supervisor.state("flood"), "RUNNING");
}

fn sizes() {
    let supervisor = start(&echo());
    for (rows, columns) in [(65535, 65535), (0, 0), (1, 1), (400, 1000)] {
        let mut attached = attach(&supervisor, &json!({ "process": "echo", "rows": rows, "columns": columns }));
        for size in [[255, 255, 255, 255], [0, 0, 0, 0], [0, 1, 0, 1], [0, 24, 0, 80]] {
            attached.send(b'r', &size);
            attached.send(b'i', b"hello\n");
            attached.wait_for("hello");
        }
        attached.send(b'd', b"");
        assert_eq!(attached.end(), "ldetached");
    }
    for wrong in [json!({ "process": "echo", "rows": -1 }), json!({ "process": "echo", "rows": 70000 }), json!({})] {
        let refused = attach(&supervisor, &wrong);
        assert_eq!(refused.reply["error"], "org.varlink.service.InvalidParameter", "{}", refused.reply);
    }
}

fn permission() {
    let rule = |verbs: &str| {
        format!(
            "[control]\nmode = \"0666\"\n[[control.allow]]\nusers = [{ALICE}]\nprograms = [\"echo\"]\nverbs = {verbs}\n"
        )
    };
    let supervisor = start(&[echo(), rule("[\"status\", \"tail\", \"signal\"]")].concat());
    let alice = Who::user(ALICE);
    let mut connection = alice.connect(&supervisor);
    let stream = connection.stream().try_clone().expect("a descriptor");
    let refused = attach_by(stream, &json!({ "process": "echo", "read_only": true }), true);
    assert_eq!(refused.reply["error"], "io.taskmaster.Control.NotPermitted", "{}", refused.reply);
    supervisor.wait_for_event("the refusal", |event| event["kind"] == "control.denied");
    supervisor.configure(&[echo(), rule("[\"attach\"]")].concat());
    assert_eq!(supervisor.ctl(&["reload"]).code, 0);
    let mut connection = alice.connect(&supervisor);
    let stream = connection.stream().try_clone().expect("a descriptor");
    let mut attached = attach_by(stream, &json!({ "process": "echo" }), true);
    drop(connection);
    assert_eq!(attached.reply["parameters"]["writes"], true, "{}", attached.reply);
    attached.send(b'i', b"hello\n");
    attached.wait_for("hello\r\nhello\r\n");
    let plain = UnixStream::connect(supervisor.socket()).expect("connects");
    let plain = attach_by(plain, &json!({ "process": "echo" }), false);
    assert_eq!(plain.reply["error"], "org.varlink.service.InvalidParameter");
    assert_eq!(plain.reply["parameters"]["parameter"], "upgrade");
}

fn hostile_program() {
    // Endless sequences, sizes beyond all bounds, half characters, and noise.
    let script = "import os,random,sys\n\
        random.seed(7)\n\
        w=lambda b: os.write(1,b)\n\
        for piece in [b'\\x1b]0;'+b'x'*3000000, b'\\x1bP'+b'y'*100000, b'\\x1b[99999999;99999999H', b'\\x1b[99999b', b'\\x1b[1;1r\\x1b[9999L\\x1b[9999@', b'\\xe4\\xb8', '世'.encode()*300, b'\\x1b[?1049h\\x1b[?6h']:\n\
        \x20   w(piece)\n\
        for _ in range(3000):\n\
        \x20   w(b'\\x1b['+bytes(random.choice(b'0123456789;?>!HJKLMPSTXhlmrbc@') for _ in range(8)))\n\
        \x20   w(bytes(random.randrange(256) for _ in range(20)))\n\
        w(b'\\x18\\x1bc\\x1b[?1049l\\x1b[H\\x1b[2Jat last')\n\
        sys.stdin.read()\n";
    let mut supervisor = Supervisor::prepare(&format!(
        "[programs.noise]\ncmd = [\"python3\", \"@dir@/noise.py\"]\ntty = true\nstarttime = 0\nlog_maxbytes = \"50MB\"\n{}\n{}",
        user(),
        echo()
    ));
    std::fs::write(supervisor.path("noise.py"), script).expect("a program");
    supervisor.launch();
    supervisor.wait_for_state("noise", "RUNNING");
    let before = logger(&supervisor);
    let mut attached = attach(&supervisor, &json!({ "process": "noise", "rows": 10, "columns": 20 }));
    attached.wait_for("at last");
    drop(attached);
    let mut again = attach(&supervisor, &json!({ "process": "noise", "rows": 24, "columns": 80 }));
    again.wait_for("at last");
    assert_eq!(logger(&supervisor), before, "no logger died of it");
}
