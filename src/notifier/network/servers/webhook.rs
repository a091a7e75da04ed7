//! One request of a webhook: a POST over a connection of its own, signed, and what its answer means.
//!
//! The path and the query of the URL count as a secret: they are sent to the server and stand in no word
//! that leaves here. Redirects are followed to the same server only, and only those that keep the POST.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ring::hmac;
use tokio::time::timeout;
use url::Url;

use crate::alert::outcome::{Class, Failure, Outcome};
use crate::alert::words::one_line;
use crate::model::notify::{Server, Webhook, WebhookFormat};
use crate::model::time::{WallTime, human};
use crate::system::clock;

use super::Secret;
use super::dial::connect;
use super::dialogue::Tell;
use super::stream::{Limits, Stream};
use super::tls::Authorities;

/// From the name of the server to its answer, redirects included.
const WHOLE: Duration = Duration::from_secs(30);
/// Of the whole, for the request and the head of its answer.
const ANSWER: Duration = Duration::from_secs(20);
/// For the words of a refusal.
const WORDS: Duration = Duration::from_secs(3);
/// The head of an answer may be this long, in bytes; of its body only the beginning is read.
const HEAD_MAX: usize = 32 << 10;
const BODY_MAX: usize = 1024;
/// Of the server's own words, so many bytes are shown.
const WORDS_MAX: usize = 160;
const REDIRECTS_MAX: u32 = 3;
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
const ALERTMANAGER_PATH: &str = "/api/v2/alerts";

/// A webhook's way out, made of its settings.
pub struct Poster {
    webhook: Webhook,
    /// The first signs.
    hmac: Vec<Secret>,
    authorities: Authorities,
    limits: Limits,
}

impl Poster {
    pub fn new(webhook: Webhook, hmac: Vec<Secret>, limits: Limits) -> Self {
        let authorities = Authorities::new(webhook.ca.as_deref(), None);
        Self { webhook, hmac, authorities, limits }
    }

    /// Posts the body and waits for the answer, at most 30 seconds in all. `tell` gets the steps in words.
    pub async fn send(&self, delivery: &str, body: &Arc<[u8]>, tell: &Tell) -> Outcome {
        match timeout(WHOLE, self.attempt(delivery, body, tell)).await {
            Ok(Ok(())) => Outcome::Sent,
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(_) => {
                let words = format!("{}: no answer within {}", self.webhook.shown(), human(WHOLE));
                Outcome::Failed(Failure::new(Class::Connection, words))
            }
        }
    }

    async fn attempt(&self, delivery: &str, body: &Arc<[u8]>, tell: &Tell) -> Result<(), Failure> {
        let say = |line: String| {
            if let Some(tell) = tell {
                tell(line);
            }
        };
        let mut target = Target::new(&self.webhook)?;
        for _ in 0..=REDIRECTS_MAX {
            let request = target.request(&self.hmac, delivery, body, clock::wall())?;
            say(format!("connecting to {}", target.server));
            let authorities = target.is_tls.then_some(&self.authorities);
            let stream = connect(&target.server, authorities, &self.limits).await?;
            say(format!("POST, {} bytes", body.len()));
            let reply = exchange(stream, request, &target.server).await?;
            say(format!("answer: {}", status_words(reply.status)));
            match target.judge(&reply, clock::wall())? {
                None => return Ok(()),
                Some(next) => target = next,
            }
        }
        Err(configuration(format!("{}: more than {REDIRECTS_MAX} redirects", target.server)))
    }
}

fn configuration(words: String) -> Failure {
    Failure::new(Class::Configuration, words)
}

/// Where a request goes.
struct Target {
    url: Url,
    /// All of it that may be shown.
    server: Server,
    is_tls: bool,
}

/// What counts of an answer.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    /// The beginning of the body of a refusal.
    body: Vec<u8>,
}

impl Target {
    fn new(webhook: &Webhook) -> Result<Self, Failure> {
        let mut url = Url::parse(&webhook.url).map_err(|_| configuration("its url cannot be read".to_owned()))?;
        if webhook.format == WebhookFormat::Alertmanager && url.path() == "/" {
            url.set_path(ALERTMANAGER_PATH);
        }
        Self::of(url)
    }

    fn of(url: Url) -> Result<Self, Failure> {
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(configuration("its url is neither http nor https".to_owned())),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(configuration(
                "its url has a user or a password before the host, which is not sent".to_owned(),
            ));
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(configuration("its url has no host".to_owned()));
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { server: Server { host, port }, is_tls, url })
    }

    fn request(
        &self,
        hmac: &[Secret],
        delivery: &str,
        body: &Arc<[u8]>,
        now: WallTime,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let authority = match (self.url.host_str().unwrap_or_default(), self.url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let path = match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, authority)
            .header(USER_AGENT, concat!("taskmaster/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .header("X-Taskmaster-Delivery", delivery);
        if let Some(signature) = signature(hmac, now, body) {
            request = request.header("X-Taskmaster-Signature", signature);
        }
        let body = Full::new(Bytes::copy_from_slice(body));
        request.body(body).map_err(|_| configuration("its url cannot stand in a request".to_owned()))
    }

    /// Done, or where to go next.
    fn judge(&self, reply: &Reply, now: WallTime) -> Result<Option<Self>, Failure> {
        let class = match reply.status.as_u16() {
            200..=299 => return Ok(None),
            307 | 308 => return self.redirected(reply).map(Some),
            300..=399 => Class::Configuration,
            401 | 403 | 407 => Class::Configuration,
            408 | 425 | 429 | 500..=599 => Class::Temporary,
            413 => Class::Content,
            400..=499 => Class::Permanent,
            _ => Class::Connection,
        };
        let said = self.said(reply).map(|said| format!(": {said}")).unwrap_or_default();
        let words = format!("{}: {}{said}", self.server, status_words(reply.status));
        let retry_after = (class == Class::Temporary).then(|| retry_after(&reply.headers, now)).flatten();
        Err(Failure { class, words, retry_after })
    }

    fn redirected(&self, reply: &Reply) -> Result<Self, Failure> {
        let location = reply.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let next = location.and_then(|location| self.url.join(location).ok());
        let Some(next) = next else {
            return Err(configuration(format!("{}: it redirects to nowhere", self.server)));
        };
        if next.origin() != self.url.origin() {
            let words = format!("{}: it redirects to another server, which is not followed", self.server);
            return Err(configuration(words));
        }
        Self::of(next)
    }

    /// The server's own words, unless they repeat a part of the URL that is secret.
    fn said(&self, reply: &Reply) -> Option<String> {
        let kind = reply.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !(kind.starts_with("text/plain") || kind.starts_with("application/json")) {
            return None;
        }
        let text = String::from_utf8_lossy(&reply.body);
        let line = text.lines().find(|line| !line.trim().is_empty())?;
        let lower = line.to_lowercase();
        let parts = self.url.path().split('/').chain(self.url.query().unwrap_or_default().split(['&', '=']));
        let repeats = parts
            .filter(|part| part.len() > 1)
            .any(|part| lower.contains(&part.to_lowercase()) || lower.contains(&unescaped(part).to_lowercase()));
        (!repeats).then(|| one_line(line, WORDS_MAX))
    }
}

/// A part of a URL without its percent escapes.
fn unescaped(part: &str) -> String {
    let pair = [part, "="].concat().replace('+', "%2B");
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}

/// `429 Too Many Requests`, in the standard's words, never the server's.
fn status_words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// How long the server wants to be left alone: seconds or a date, at most an hour.
fn retry_after(headers: &HeaderMap, now: WallTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            Duration::try_from(date.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// `t=UNIX,v1=HEX` with HEX the HMAC-SHA256 of `UNIX.BODY`; one `v1` for each secret.
fn signature(secrets: &[Secret], now: WallTime, body: &[u8]) -> Option<String> {
    let time = now.as_second().to_string();
    let signed = [time.as_bytes(), b".", body].concat();
    let signatures = secrets.iter().map(|secret| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.bytes()), &signed);
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!(",v1={hex}")
    });
    (!secrets.is_empty()).then(|| format!("t={time}{}", signatures.collect::<String>()))
}

/// Sends the request and takes what counts of the answer.
async fn exchange(stream: Box<dyn Stream>, request: Request<Full<Bytes>>, server: &Server) -> Result<Reply, Failure> {
    let failed = |words: &str| Failure::new(Class::Connection, format!("{server}: {words}"));
    let broken = |error: hyper::Error| failed(broken(&error));
    let mut builder = http1::Builder::new();
    let connecting = builder.max_buf_size(HEAD_MAX).handshake(TokioIo::new(stream));
    let (mut sender, connection) = connecting.await.map_err(broken)?;
    let reply = async {
        let waiting = timeout(ANSWER, sender.send_request(request));
        let response = waiting.await.map_err(|_| failed("no answer"))?.map_err(broken)?;
        Ok(read(response).await)
    };
    drive(reply, connection).await
}

/// The first future's result, while the second one works for it.
async fn drive<T>(result: impl Future<Output = T>, work: impl Future) -> T {
    let (mut result, mut work) = (pin!(result), pin!(work));
    let mut is_over = false;
    poll_fn(|context| {
        is_over = is_over || work.as_mut().poll(context).is_ready();
        result.as_mut().poll(context)
    })
    .await
}

async fn read(response: Response<Incoming>) -> Reply {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    let beginning = async {
        while let Some(Ok(frame)) = incoming.frame().await {
            let data = frame.into_data().unwrap_or_default();
            body.extend_from_slice(&data[..data.len().min(BODY_MAX - body.len())]);
            if body.len() == BODY_MAX {
                break;
            }
        }
    };
    if !head.status.is_success() {
        // What came until then is enough for words.
        let _ = timeout(WORDS, beginning).await;
    }
    Reply { status: head.status, headers: head.headers, body }
}

/// What went wrong, in words of our own: the library's may repeat what the server sent.
fn broken(error: &hyper::Error) -> &'static str {
    if error.is_parse() {
        "it does not speak HTTP, or its answer has too long a head"
    } else if error.is_incomplete_message() {
        "it closed the connection before it answered"
    } else {
        "the connection broke"
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
