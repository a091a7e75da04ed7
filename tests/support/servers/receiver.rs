//! Whoever webhooks are posted to: an HTTP server in the test itself, which notes each request and answers
//! as it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::eventually;

/// No request of ours is longer.
const BODY_MAX: usize = 16 << 20;

#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }
}

/// What is still to be answered, other than 200: a status and more headers.
type Planned = VecDeque<(u16, String)>;

pub struct Receiver {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    planned: Arc<Mutex<Planned>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub fn start() -> Self {
        Self::start_at(super::free_port())
    }

    pub fn start_at(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let (requests, planned) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<Mutex<Planned>>::default());
        let ends = Arc::new(AtomicBool::new(false));
        let thread = {
            let (requests, planned, ends) = (Arc::clone(&requests), Arc::clone(&planned), Arc::clone(&ends));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if ends.load(Ordering::SeqCst) {
                        return;
                    }
                    // A client that leaves in the middle has sent nothing.
                    if let Ok(stream) = stream {
                        let _ = serve(&stream, &requests, &planned);
                    }
                }
            })
        };
        Self { port, requests, planned, ends, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// The next requests are answered so, then again with 200. `headers` are whole lines.
    pub fn answer_next(&self, status: u16, headers: &str) {
        lock(&self.planned).push_back((status, headers.to_owned()));
    }

    pub fn requests(&self) -> Vec<Request> {
        lock(&self.requests).clone()
    }

    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Request> {
        eventually(&format!("{count} requests at the receiver"), || {
            Some(self.requests()).filter(|requests| requests.len() >= count)
        })
    }

    /// Waits for a body that `is` takes.
    #[track_caller]
    pub fn wait_for_body(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("at the receiver: {what}"), || {
            self.requests().iter().map(Request::json).find(|body| is(body))
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // It waits for a connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request a connection.
fn serve(mut stream: &TcpStream, requests: &Mutex<Vec<Request>>, planned: &Mutex<Planned>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|header| header.0 == "content-length").and_then(|header| header.1.parse().ok());
    let Some(length) = length.filter(|length| (1..=BODY_MAX).contains(length)) else { return Ok(()) };
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, more) = lock(planned).pop_front().unwrap_or((200, String::new()));
    lock(requests).push(Request { path, headers, body, at: Instant::now() });
    write!(stream, "HTTP/1.1 {status} Planned\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n")
}
