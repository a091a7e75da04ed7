use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use super::*;

/// A server that gives each connection the next answer and tells what it was asked. It ends with its answers.
struct FakeServer {
    port: u16,
    asked: Receiver<String>,
    thread: JoinHandle<()>,
}

/// Answers a request that is read to its end, or says something else.
type Act = Box<dyn FnOnce(&mut TcpStream) + Send>;

fn serve(acts: Vec<Act>) -> FakeServer {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tell, asked) = channel();
    let thread = thread::spawn(move || {
        for act in acts {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
            let _ = tell.send(request(&mut stream));
            act(&mut stream);
        }
    });
    FakeServer { port, asked, thread }
}

/// Head and body as they came.
fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut block = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut block) {
            Ok(0) | Err(_) => return text,
            Ok(n) => bytes.extend_from_slice(&block[..n]),
        }
    }
}

fn says(text: impl Into<String>) -> Act {
    let text = text.into();
    Box::new(move |stream| {
        let _ = stream.write_all(text.as_bytes());
    })
}

fn status(line: &str, more: &str) -> Act {
    says(format!("HTTP/1.1 {line}\r\n{more}Content-Length: 0\r\n\r\n"))
}

fn webhook(url: String, format: WebhookFormat) -> Webhook {
    Webhook { url, format, ca: None, secrets: 0, output_lines: 20, redact: Vec::new() }
}

fn posted(url: String, secrets: &[&str]) -> (Outcome, Vec<String>) {
    sent(&webhook(url, WebhookFormat::Json), secrets)
}

fn sent(webhook: &Webhook, secrets: &[&str]) -> (Outcome, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let hmac = secrets.iter().map(|secret| Secret::new(secret.as_bytes().to_vec())).collect();
    let poster = Poster::new(webhook.clone(), hmac, Limits::default());
    let (say, lines) = channel();
    let tell: Tell = Some(Box::new(move |line| say.send(line).expect("somebody listens")));
    let body: Arc<[u8]> = b"{\"a\":1}"[..].into();
    let outcome = runtime.block_on(poster.send("d-17", &body, &tell));
    (outcome, lines.try_iter().collect())
}

/// The failure after one answer; the path never shows.
fn failure(act: Act) -> Failure {
    let server = serve(vec![act]);
    let (outcome, lines) = posted(format!("http://127.0.0.1:{}/services/T1SECRET?key=S3CRET", server.port), &[]);
    server.thread.join().expect("the server ends");
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    for text in lines.iter().chain([&failure.words]) {
        let lower = text.to_lowercase();
        assert!(!lower.contains("secret") && !lower.contains("s3cret") && !lower.contains("services"), "{text}");
    }
    failure
}

#[test]
fn a_post_has_its_headers_and_any_2xx_is_enough() {
    for line in ["200 OK", "202 Accepted", "204 No Content"] {
        let server = serve(vec![status(line, "")]);
        let (outcome, lines) = posted(format!("http://127.0.0.1:{}/T1?a=b", server.port), &[]);
        assert_eq!(outcome, Outcome::Sent);
        let asked = server.asked.recv().expect("a request");
        let (head, body) = asked.split_once("\r\n\r\n").expect("head and body");
        assert_eq!(body, "{\"a\":1}");
        let head = head.to_lowercase();
        assert!(head.starts_with("post /t1?a=b http/1.1\r\n"), "{head}");
        for header in [
            format!("host: 127.0.0.1:{}", server.port),
            format!("user-agent: taskmaster/{}", env!("CARGO_PKG_VERSION")),
            "content-type: application/json".to_owned(),
            "content-length: 7".to_owned(),
            "x-taskmaster-delivery: d-17".to_owned(),
        ] {
            assert!(head.lines().any(|line| line == header), "{header} in\n{head}");
        }
        assert!(!head.contains("signature"), "{head}");
        assert_eq!(lines.last().map(String::as_str), Some(format!("answer: {line}").as_str()));
    }
}

#[test]
fn each_status_has_its_class() {
    for (line, class) in [
        ("301 Moved", Class::Configuration),
        ("302 Found", Class::Configuration),
        ("400 Bad Request", Class::Permanent),
        ("401 Unauthorized", Class::Configuration),
        ("403 Forbidden", Class::Configuration),
        ("404 Not Found", Class::Permanent),
        ("407 Proxy", Class::Configuration),
        ("408 Timeout", Class::Temporary),
        ("410 Gone", Class::Permanent),
        ("413 Too Large", Class::Content),
        ("425 Too Early", Class::Temporary),
        ("429 Too Many", Class::Temporary),
        ("500 Oops", Class::Temporary),
        ("503 Later", Class::Temporary),
        ("599 T1SECRET", Class::Temporary),
    ] {
        assert_eq!(failure(status(line, "")).class, class, "{line}");
    }
}

#[test]
fn the_servers_wish_to_wait_is_heard_up_to_an_hour() {
    let wish = |text: &str| failure(status("429 Slow", &format!("Retry-After: {text}\r\n"))).retry_after;
    assert_eq!(wish("7"), Some(Duration::from_secs(7)));
    assert_eq!(wish("99999"), Some(RETRY_AFTER_MAX));
    assert_eq!(wish("Thu, 31 Dec 9998 23:59:59 GMT"), Some(RETRY_AFTER_MAX));
    assert_eq!(wish("Fri, 20 Nov 1998 08:00:00 GMT"), Some(Duration::ZERO));
    assert_eq!(wish("soon"), None);
    assert_eq!(failure(status("404 No", "Retry-After: 7\r\n")).retry_after, None);
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, "Fri, 20 Nov 2026 08:00:30 GMT".parse().expect("a value"));
    let now = "2026-11-20T08:00:00Z".parse().expect("a time");
    assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(30)));
}

#[test]
fn the_servers_words_are_shown_unless_they_repeat_the_url() {
    let said = |kind: &str, text: &str| {
        let head = format!("HTTP/1.1 400 Bad\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", text.len());
        let words = failure(says(format!("{head}{text}"))).words;
        words.split_once("Bad Request").map(|(_, rest)| rest.to_owned()).expect("the status")
    };
    assert_eq!(said("text/plain", "invalid_payload\nmore"), ": invalid_payload");
    assert_eq!(said("text/plain", "a\u{1b}[2Jb"), ": a\\x1b[2Jb");
    assert_eq!(said("text/plain", "no route for /Services/x"), "");
    assert_eq!(said("application/json", "{\"key\":\"s3crEt\"}"), "");
    assert_eq!(said("text/html", "<h1>no</h1>"), "");
}

#[test]
fn a_redirect_is_followed_to_the_same_server_only() {
    let to = |place: &str| status("307 There", &format!("Location: {place}\r\n"));
    let server = serve(vec![to("/new?x"), status("200 OK", "")]);
    assert_eq!(posted(format!("http://127.0.0.1:{}/T1", server.port), &[]).0, Outcome::Sent);
    let first = server.asked.recv().expect("a request");
    let second = server.asked.recv().expect("another");
    assert!(first.starts_with("POST /T1 ") && second.starts_with("POST /new?x "), "{second}");
    assert!(second.ends_with("{\"a\":1}"), "{second}");
    for elsewhere in ["http://127.0.0.1:1/x", "https://127.0.0.1/x", "http://localhost/x", "file:///x"] {
        let failed = failure(to(elsewhere));
        assert_eq!(failed.class, Class::Configuration);
        assert!(failed.words.contains("it redirects to another server"), "{}", failed.words);
    }
    assert!(failure(status("308 There", "")).words.contains("it redirects to nowhere"));
    let server = serve((0..4).map(|_| to("/again")).collect());
    let (outcome, _) = posted(format!("http://127.0.0.1:{}/T1", server.port), &[]);
    let Outcome::Failed(failed) = outcome else { panic!("{outcome:?}") };
    assert!(failed.words.contains("more than 3 redirects"), "{}", failed.words);
}

#[test]
fn what_is_no_answer_is_a_failed_connection() {
    for (act, words) in [
        (says(""), "closed the connection before it answered"),
        (says("HTTP/1.1 200"), "closed the connection before it answered"),
        (says("220 mail.example.test ESMTP\r\n\r\n"), "does not speak HTTP"),
        (says(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20))), "too long a head"),
    ] {
        let failed = failure(act);
        assert_eq!(failed.class, Class::Connection);
        assert!(failed.words.contains(words), "{}", failed.words);
    }
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let (outcome, _) = posted(format!("http://127.0.0.1:{free}/"), &[]);
    assert!(matches!(outcome, Outcome::Failed(Failure { class: Class::Connection, .. })), "{outcome:?}");
}

#[test]
fn an_endless_refusal_is_read_only_as_far_as_it_is_shown() {
    let endless: Act = Box::new(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad\r\nContent-Type: text/plain\r\n\r\n");
        // Ends when the other side has gone.
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let failed = failure(endless);
    assert_eq!(failed.class, Class::Permanent);
    assert!(failed.words.len() < 300, "{}", failed.words);
}

#[test]
fn a_server_that_says_nothing_costs_thirty_seconds_at_most() {
    // The time of the runtime, not of the machine: nobody waits for it here.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let target = Target::new(&webhook(url, WebhookFormat::Json)).unwrap_or_else(|failure| panic!("{failure}"));
    let body: Arc<[u8]> = b"{}"[..].into();
    let waiting = async {
        let request = target.request(&[], "d", &body, clock::wall()).expect("a request");
        let stream = connect(&target.server, None, &Limits::default()).await.expect("a connection");
        timeout(Duration::from_millis(200), exchange(stream, request, &target.server)).await.is_err()
    };
    assert!(runtime.block_on(waiting), "it waits for an answer");
    assert!(ANSWER < WHOLE && WHOLE == Duration::from_secs(30));
}

#[test]
fn a_certificate_counts_only_if_the_configured_authority_vouches_for_it() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let answer = |ca: Option<String>, name: &str| {
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key));
        let config = Arc::new(config.expect("a configuration"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("https://{name}:{}/T1", listener.local_addr().expect("an address").port());
        let serving = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
            let session = rustls::ServerConnection::new(config).expect("a session");
            let mut stream = rustls::StreamOwned::new(session, stream);
            let mut first = [0; 4];
            if stream.read_exact(&mut first).is_ok() && &first == b"POST" {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        });
        let (outcome, _) = sent(&Webhook { ca, ..webhook(url, WebhookFormat::Json) }, &[]);
        serving.join().expect("the server ends");
        outcome
    };
    assert_eq!(answer(Some(made.cert.pem()), "localhost"), Outcome::Sent);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate").cert.pem();
    for refused in [answer(Some(other), "localhost"), answer(Some(made.cert.pem()), "127.0.0.1")] {
        let Outcome::Failed(failure) = refused else { panic!("{refused:?}") };
        assert_eq!(failure.class, Class::Configuration);
        assert!(failure.words.contains("certificate") && !failure.words.contains("T1"), "{}", failure.words);
    }
}

#[test]
fn the_signature_is_that_of_the_known_vector() {
    // RFC 4231, test case 2: the key "Jefe" and a text; here the text is split at its first dot.
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
    let tag = hmac::sign(&key, b"what do ya want for nothing?");
    assert_eq!(tag.as_ref()[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac s3cret
    let now = WallTime::from_second(1_700_000_000).expect("in range");
    let one = Secret::new(b"s3cret".to_vec());
    let two = Secret::new(b"older".to_vec());
    assert_eq!(
        signature(std::slice::from_ref(&one), now, b"{\"a\":1}").as_deref(),
        Some("t=1700000000,v1=1698a50bc74d1ff1db85c4e0a5297c2ad9fdba245d5737cdb789e4cc6e098940")
    );
    assert_eq!(
        signature(&[one, two], now, b"{\"a\":1}").as_deref(),
        Some(
            "t=1700000000,v1=1698a50bc74d1ff1db85c4e0a5297c2ad9fdba245d5737cdb789e4cc6e098940,v1=c6b9cff16eb89c3707e065443e0c99232b178777c5b5f3e5036495bdbb51929f"
        )
    );
    assert_eq!(signature(&[], now, b""), None);
}

#[test]
fn each_secret_signs_the_request() {
    let server = serve(vec![status("200 OK", "")]);
    posted(format!("http://127.0.0.1:{}/", server.port), &["new", "old"]);
    let asked = server.asked.recv().expect("a request").to_lowercase();
    let header = asked.lines().find_map(|line| line.strip_prefix("x-taskmaster-signature: ")).expect("a signature");
    let parts: Vec<&str> = header.split(',').collect();
    assert!(
        parts.len() == 3 && parts[0].starts_with("t=") && parts[1..].iter().all(|part| part.len() == 67),
        "{header}"
    );
}

#[test]
fn alertmanagers_url_may_be_the_base_or_the_endpoint() {
    let path = |url: &str, format| {
        let target = Target::new(&webhook(url.to_owned(), format)).unwrap_or_else(|failure| panic!("{failure}"));
        target.url.path().to_owned()
    };
    assert_eq!(path("http://am.test:9093", WebhookFormat::Alertmanager), ALERTMANAGER_PATH);
    assert_eq!(path("http://am.test:9093/", WebhookFormat::Alertmanager), ALERTMANAGER_PATH);
    assert_eq!(path("http://am.test/x/api/v2/alerts", WebhookFormat::Alertmanager), "/x/api/v2/alerts");
    assert_eq!(path("http://am.test/", WebhookFormat::Json), "/");
}

#[test]
fn a_url_that_cannot_be_used_is_a_fault_of_the_settings() {
    for url in ["", "x", "ftp://a.test/", "http://user:pw@a.test/", "http://"] {
        let failed = Target::new(&webhook(url.to_owned(), WebhookFormat::Json)).err().expect("a failure");
        assert_eq!(failed.class, Class::Configuration, "{url}");
        assert!(!failed.words.contains("pw@"), "{}", failed.words);
    }
}
