//! What client and server of a mail session say to each other (RFC 5321), line by line.
//!
//! The lines are our own and not lettre's, whose connection keeps what was sent in clear text before the
//! encryption begins (then it could pass for the server's answer), has no limits of time, adds an empty
//! line to each message, and tells nobody what was said.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::stream::{CLOSED, Limits, Stream, cause};
use super::tls::{self, Authorities};
use crate::alert::outcome::{Class, Failure};
use crate::model::notify::Server;
use crate::model::text;
use crate::model::time::human;

/// Where the lines of a conversation go, if anybody wants to see them.
pub type Tell = Option<Box<dyn Fn(String) + Send + Sync>>;

/// How much of a reply is shown, in characters.
const SHOWN_MAX: usize = 300;
/// A secret of so many bytes is masked within words, too.
const ALWAYS_MASKED: usize = 4;
/// How much of a message goes out in one step.
const PART: usize = 16 << 10;

/// A server's answer to a command.
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// Without codes.
    lines: Vec<String>,
    /// On one line, safe to show: `550 5.1.1 no such user`.
    pub words: String,
}

impl Reply {
    /// Keywords and their parameters, as EHLO is answered.
    pub fn extensions(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().skip(1).map(String::as_str)
    }
}

/// One session with one server.
pub struct Dialogue<'a> {
    /// `None` while it is being encrypted, and for good if that fails.
    stream: Option<Box<dyn Stream>>,
    /// Received, and not yet part of a reply.
    received: Vec<u8>,
    is_encrypted: bool,
    server: &'a Server,
    limits: &'a Limits,
    tell: &'a Tell,
    /// What is never shown, also if the server repeats it.
    masked: Vec<Zeroizing<String>>,
}

impl<'a> Dialogue<'a> {
    pub fn new(
        stream: Box<dyn Stream>,
        is_encrypted: bool,
        server: &'a Server,
        limits: &'a Limits,
        tell: &'a Tell,
    ) -> Self {
        let masked = Vec::new();
        Self { stream: Some(stream), received: Vec::new(), is_encrypted, server, limits, tell, masked }
    }

    /// Whether there is still somebody to talk to.
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    pub fn failure(&self, class: Class, words: &str) -> Failure {
        Failure::new(class, format!("{}: {words}", self.server))
    }

    /// The server speaks first.
    ///
    /// # Errors
    /// Of class Connection.
    pub async fn greeting(&mut self) -> Result<Reply, Failure> {
        let mut reply = self.reply("greeting", self.limits.command).await;
        if let Err(failure) = &mut reply
            && !self.is_encrypted
            && self.received.is_empty()
        {
            // A server that speaks TLS from the first byte waits for ours.
            failure.words.push_str(" (does it want `tls = \"implicit\"`?)");
        }
        reply
    }

    /// Says a command (as lettre writes it, with its line end) and waits for the reply.
    ///
    /// # Errors
    /// Of class Connection: the session is over. A refusal is a reply.
    pub async fn command(&mut self, name: &str, line: &str) -> Result<Reply, Failure> {
        self.tell('>', line.trim_end());
        self.write(name, line.as_bytes()).await?;
        self.reply(name, self.limits.command).await
    }

    /// Says what nobody else may see: after this it is masked wherever it appears.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn secret(&mut self, before: &str, secret: Zeroizing<String>) -> Result<Reply, Failure> {
        self.tell('>', &format!("{before}***"));
        // Made at its full length: a string that grows leaves copies behind.
        let mut line = Zeroizing::new(String::with_capacity(before.len() + secret.len() + 2));
        for part in [before, &secret, "\r\n"] {
            line.push_str(part);
        }
        self.hide(secret);
        self.write("AUTH", line.as_bytes()).await?;
        self.reply("AUTH", self.limits.command).await
    }

    pub fn hide(&mut self, secret: Zeroizing<String>) {
        if !secret.is_empty() {
            self.masked.push(secret);
        }
    }

    /// Sends a message with CRLF line ends, and waits until it is accepted or not.
    ///
    /// # Errors
    /// Of class Connection: then it may have been accepted nevertheless.
    pub async fn message(&mut self, message: &[u8]) -> Result<Reply, Failure> {
        self.tell('>', &format!("({} bytes of message)", message.len()));
        for part in stuffed(message).chunks(PART) {
            self.write("message", part).await?;
        }
        self.reply("the message's end", self.limits.accept).await
    }

    /// Encrypts everything from here on. What came in clear text before that counts for nothing.
    ///
    /// # Errors
    /// As [`tls::start`]; the session is over.
    pub async fn encrypt(&mut self, authorities: &Authorities) -> Result<(), Failure> {
        self.received.clear();
        let Some(stream) = self.stream.take() else { return Err(self.failure(Class::Connection, "no connection")) };
        let encrypted = tls::start(stream, self.server, authorities, self.limits).await?;
        self.stream = Some(Box::new(encrypted));
        self.is_encrypted = true;
        self.tell('-', "encrypted");
        Ok(())
    }

    fn tell(&self, direction: char, line: &str) {
        if let Some(tell) = self.tell {
            tell(format!("{direction} {}", self.shown(line)));
        }
    }

    /// Without secrets and on one line, not too long.
    fn shown(&self, line: &str) -> String {
        let masked = self.masked.iter().fold(line.to_owned(), |line, secret| masked(&line, secret));
        let escaped = text::escaped(&masked);
        match escaped.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => format!("{}…", &escaped[..end]),
            None => escaped.into_owned(),
        }
    }

    async fn write(&mut self, step: &str, bytes: &[u8]) -> Result<(), Failure> {
        let limit = self.limits.command;
        let write = async {
            let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        match timeout(limit, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(step, &cause(&error))),
            Err(_) => Err(self.lost(step, &format!("it takes nothing for {}", human(limit)))),
        }
    }

    async fn reply(&mut self, step: &str, limit: Duration) -> Result<Reply, Failure> {
        let reply = match timeout(limit, self.read_reply()).await {
            Ok(Ok(lines)) => Ok(lines),
            Ok(Err(words)) => Err(words),
            Err(_) => Err(format!("no reply within {}", human(limit))),
        };
        let (code, lines) = reply.map_err(|words| self.lost(step, &words))?;
        let words = self.shown(&format!("{code} {}", lines.join(" ")));
        Ok(Reply { code, lines, words })
    }

    fn lost(&self, step: &str, words: &str) -> Failure {
        self.failure(Class::Connection, &format!("{step}: {words}"))
    }

    /// All lines of a reply have the same code; the last one has no hyphen after it.
    async fn read_reply(&mut self) -> Result<(u16, Vec<String>), String> {
        let mut lines = Vec::new();
        let mut first = None;
        loop {
            let line = self.read_line().await?;
            self.tell('<', &line);
            let Some((code, continues, rest)) = parsed(&line) else {
                return Err(format!("a reply that makes no sense: {}", self.shown(&line)));
            };
            if *first.get_or_insert(code) != code {
                return Err(format!("a reply with two codes: {}", self.shown(&line)));
            }
            lines.push(rest.to_owned());
            if !continues {
                return Ok((code, lines));
            }
        }
    }

    /// The next line without its end. Its length is bounded by what may be received in all.
    async fn read_line(&mut self) -> Result<String, String> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.received[searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=searched + end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            searched = self.received.len();
            let Some(stream) = &mut self.stream else { return Err("no connection".to_owned()) };
            match stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(CLOSED.to_owned()),
                Ok(_) => {}
                Err(error) => return Err(cause(&error)),
            }
        }
    }
}

/// The text without the secret. A short one would mask half of all words, so it is masked only where it
/// stands alone.
fn masked(text: &str, secret: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(at) = rest.find(secret) {
        let end = at + secret.len();
        let left = rest[..at].chars().next_back().or(before);
        let stands_alone = ![left, rest[end..].chars().next()].into_iter().flatten().any(char::is_alphanumeric);
        let is_shown = secret.len() < ALWAYS_MASKED && !stands_alone;
        shown.push_str(&rest[..at]);
        shown.push_str(if is_shown { secret } else { "***" });
        before = secret.chars().next_back();
        rest = &rest[end..];
    }
    shown + rest
}

/// Code, whether more lines follow, and the text.
fn parsed(line: &str) -> Option<(u16, bool, &str)> {
    let code = line.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    let rest = &line[3..];
    let continues = rest.starts_with('-');
    let is_sound = (200..600).contains(&code) && (rest.is_empty() || continues || rest.starts_with(' '));
    is_sound.then(|| (code, continues, rest.get(1..).unwrap_or_default()))
}

/// The message as it goes over the wire: no line of it is the one that ends it (RFC 5321 §4.5.2).
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_any_length_is_masked_where_it_stands_alone() {
        assert_eq!(masked("a b (a) a", "a"), "*** b (***) ***");
        assert_eq!(
            masked("bad password abc, not abcd, xabc or \"abc\"", "abc"),
            "bad password ***, not abcd, xabc or \"***\""
        );
        assert_eq!(masked("aa a", "a"), "aa ***");
        assert_eq!(masked("bad xhunter2x", "hunter2"), "bad x***x");
        assert_eq!(masked("\u{20ac}\u{20ac}", "\u{20ac}"), "******");
        assert_eq!(masked("", "a"), "");
    }

    #[test]
    fn no_line_of_a_message_ends_it() {
        let over_the_wire = |message: &str| String::from_utf8(stuffed(message.as_bytes())).expect("text");
        assert_eq!(over_the_wire("a\r\n"), "a\r\n.\r\n");
        assert_eq!(over_the_wire("a"), "a\r\n.\r\n");
        assert_eq!(over_the_wire(""), ".\r\n");
        assert_eq!(over_the_wire(".\r\n..\r\n.a.\r\n"), "..\r\n...\r\n..a.\r\n.\r\n");
        assert_eq!(over_the_wire("a\r\n\r\n"), "a\r\n\r\n.\r\n");
    }

    #[test]
    fn replies_are_read_as_servers_write_them_and_nothing_else_is() {
        assert_eq!(parsed("250-SIZE 1"), Some((250, true, "SIZE 1")));
        assert_eq!(parsed("250 ok"), Some((250, false, "ok")));
        assert_eq!(parsed("250"), Some((250, false, "")));
        for line in ["", "25", "abc", "+25 a", "2500", "199 a", "600 a", "250x", "\u{20ac}\u{20ac}", "25\u{20ac}"] {
            assert_eq!(parsed(line), None, "{line}");
        }
    }
}
