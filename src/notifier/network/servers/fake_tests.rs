//! A mail server on a thread that behaves as a test tells it: well, unless told otherwise.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::model::notify::{MailTls, Server};

/// No read of the server's takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// An authority, and what it has certified.
pub struct Certified {
    /// PEM of the authority.
    pub ca: String,
    config: Arc<ServerConfig>,
}

pub enum Validity {
    Now,
    Past,
}

/// A certificate for these names by an authority of its own.
pub fn certified(names: &[&str], validity: Validity) -> Certified {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Each of a name of its own: two of one name would be a forgery.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("Test CA {}", COUNT.fetch_add(1, Ordering::Relaxed));
    params.distinguished_name.push(DnType::CommonName, name);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    if matches!(validity, Validity::Past) {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &authority).expect("signed");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
        .expect("a server");
    Certified { ca: authority.pem(), config: Arc::new(config) }
}

/// How the server behaves.
#[derive(Default)]
pub struct Manners {
    pub tls: Option<MailTls>,
    pub certified: Option<Certified>,
    /// What it offers beside STARTTLS: `AUTH PLAIN`, `SIZE 1000`.
    pub offers: Vec<&'static str>,
    /// The answer to commands that begin so, with its line end; the first that fits. `greeting` and `.` are
    /// commands, too. [`SILENCE`], [`CLOSE`] and [`ENDLESS`] are answers, too.
    pub answers: Vec<(&'static str, &'static str)>,
    /// How many connections, one after the other; 0: one.
    pub connections: usize,
}

/// Says nothing until the client goes.
pub const SILENCE: &str = "silence";
pub const CLOSE: &str = "close";
/// One line without an end.
pub const ENDLESS: &str = "endless";
/// A byte now and then, but no line.
pub const TARPIT: &str = "tarpit";

/// What it heard.
#[derive(Default, Debug)]
pub struct Heard {
    /// Whether it was encrypted, and the line.
    pub lines: Vec<(bool, String)>,
    /// With CRLF line ends, as before dot-stuffing.
    pub messages: Vec<Vec<u8>>,
    /// How many bytes of an endless line it got rid of.
    pub endless: usize,
}

impl Heard {
    pub fn said(&self, start: &str) -> Vec<&str> {
        self.lines.iter().map(|(_, line)| line.as_str()).filter(|line| line.starts_with(start)).collect()
    }

    pub fn in_clear_text(&self) -> Vec<&str> {
        self.lines.iter().filter(|(encrypted, _)| !encrypted).map(|(_, line)| line.as_str()).collect()
    }
}

pub struct Fake {
    pub server: Server,
    thread: JoinHandle<Heard>,
}

impl Fake {
    pub fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let thread = std::thread::spawn(move || {
            let mut heard = Heard::default();
            for _ in 0..manners.connections.max(1) {
                let Ok((stream, _)) = listener.accept() else { break };
                stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
                stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
                // Whatever ends the session ends it.
                let _ = Session { manners: &manners, heard: &mut heard, stream: Wire::Plain(stream) }.serve();
            }
            heard
        });
        Self { server: Server { host: "127.0.0.1".to_owned(), port }, thread }
    }

    /// By its name, which is in certificates.
    pub fn localhost(&self) -> Server {
        Server { host: "localhost".to_owned(), port: self.server.port }
    }

    pub fn heard(self) -> Heard {
        self.thread.join().expect("a server does not panic")
    }
}

enum Wire {
    Plain(TcpStream),
    Encrypted(Box<StreamOwned<ServerConnection, TcpStream>>),
    /// While it changes.
    Nothing,
}

impl Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Encrypted(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Self::Nothing => Ok(()),
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        match self {
            Self::Plain(stream) => stream.read_exact(&mut byte)?,
            Self::Encrypted(stream) => stream.read_exact(&mut byte)?,
            Self::Nothing => return Err(io::ErrorKind::NotConnected.into()),
        }
        Ok(byte[0])
    }

    fn encrypt(&mut self, certified: &Certified) -> io::Result<()> {
        if let Self::Plain(stream) = std::mem::replace(self, Self::Nothing) {
            let connection = ServerConnection::new(certified.config.clone()).map_err(io::Error::other)?;
            *self = Self::Encrypted(Box::new(StreamOwned::new(connection, stream)));
        }
        Ok(())
    }
}

struct Session<'a> {
    manners: &'a Manners,
    heard: &'a mut Heard,
    stream: Wire,
}

impl Session<'_> {
    fn serve(mut self) -> io::Result<()> {
        if self.manners.tls == Some(MailTls::Implicit) {
            self.stream.encrypt(self.manners.certified.as_ref().expect("a certificate"))?;
        }
        self.answer("greeting", "220 fake ESMTP\r\n")?;
        loop {
            let line = self.line()?;
            self.heard.lines.push((self.is_encrypted(), line.clone()));
            match line.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => {
                    let offers = self.offers();
                    self.answer(&line, &offers)?;
                }
                "STARTTLS" => {
                    self.answer(&line, "220 go ahead\r\n")?;
                    if self.answer_to(&line).is_none_or(|answer| answer.starts_with("220")) {
                        self.stream.encrypt(self.manners.certified.as_ref().expect("a certificate"))?;
                    }
                }
                "AUTH" if line == "AUTH LOGIN" => {
                    self.answer(&line, "334 VXNlcm5hbWU6\r\n")?;
                    for reply in ["334 UGFzc3dvcmQ6\r\n", "235 welcome\r\n"] {
                        let line = self.line()?;
                        self.heard.lines.push((self.is_encrypted(), line.clone()));
                        self.answer(&line, reply)?;
                    }
                }
                "AUTH" => self.answer(&line, "235 welcome\r\n")?,
                "MAIL" | "RCPT" => self.answer(&line, "250 ok\r\n")?,
                "DATA" => {
                    self.answer(&line, "354 go on\r\n")?;
                    if self.answer_to(&line).is_none() {
                        self.message()?;
                    }
                }
                "QUIT" => return self.answer(&line, "221 bye\r\n"),
                _ => self.answer(&line, "500 what?\r\n")?,
            }
        }
    }

    fn is_encrypted(&self) -> bool {
        matches!(self.stream, Wire::Encrypted(_))
    }

    fn offers(&self) -> String {
        let mut lines = vec!["250-fake".to_owned()];
        if self.manners.tls == Some(MailTls::Starttls) && !self.is_encrypted() {
            lines.push("250-STARTTLS".to_owned());
        }
        lines.extend(self.manners.offers.iter().map(|offer| format!("250-{offer}")));
        lines.push("250 HELP\r\n".to_owned());
        lines.join("\r\n")
    }

    fn answer_to(&self, command: &str) -> Option<&'static str> {
        self.manners.answers.iter().find(|(start, _)| command.starts_with(start)).map(|(_, answer)| *answer)
    }

    fn answer(&mut self, command: &str, otherwise: &str) -> io::Result<()> {
        match self.answer_to(command).unwrap_or(otherwise) {
            SILENCE => {
                let _ = self.stream.byte();
                Err(io::ErrorKind::TimedOut.into())
            }
            CLOSE => Err(io::ErrorKind::ConnectionAborted.into()),
            ENDLESS => loop {
                self.stream.write(&[b'x'; 4096])?;
                self.heard.endless += 4096;
            },
            TARPIT => loop {
                self.stream.write(b"2")?;
                std::thread::sleep(Duration::from_millis(20));
            },
            answer => self.stream.write(answer.as_bytes()),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.stream.byte()?);
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn message(&mut self) -> io::Result<()> {
        let mut message = Vec::new();
        loop {
            let line = self.line()?;
            if line == "." {
                break;
            }
            message.extend_from_slice(line.strip_prefix('.').unwrap_or(&line).as_bytes());
            message.extend_from_slice(b"\r\n");
        }
        self.heard.messages.push(message);
        self.answer(".", "250 queued\r\n")
    }
}
