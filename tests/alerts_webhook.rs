//! Alerts by webhook: our own JSON, signed; Slack; and a real Alertmanager, which tells what it was told.

use libtest_mimic::Trial;
use ring::hmac;
use serde_json::{Value, json};

use crate::support::alerting::{FAST, of, program, with_recovery, with_script};
use crate::support::servers::alertmanager::Alertmanager;
use crate::support::servers::receiver::{Receiver, Request};
use crate::support::{Need, Supervisor, eventually, test};

const HERE: &[Need] = &[Need::Root];

pub fn trials() -> Vec<Trial> {
    vec![
        test("a crash and its end are posted and signed", HERE, signed),
        test("while a secret is changed both sign", HERE, two_secrets),
        test("a retry is the same delivery", HERE, same_delivery),
        test("the wish to be asked later is heeded and a refusal is for good", HERE, later_or_never),
        test("a redirect to another server is not followed", HERE, redirects),
        test("Slack gets words and blocks", HERE, slack),
        test("Alertmanager fires until the end and tells it", &[Need::Root, Need::Alertmanager], alertmanager),
        test("of a URL no more than the server is ever shown", HERE, secret_url),
    ]
}

fn webhook(url: &str, more: &str) -> String {
    format!(
        "[notify.webhooks.chat]\nurl = \"{url}\"\n{more}[[notify.rules]]\n\
         on = [\"process.crashed\", \"process.fatal\"]\nto = [\"webhooks.chat\"]\n"
    )
}

fn start(timing: &str, channel: &str) -> Supervisor {
    let mut supervisor = Supervisor::prepare(&format!("{}{timing}{channel}", program("web")));
    for (name, text) in [("old", "first secret\n"), ("new", "second secret\n")] {
        supervisor.file(name, text, 0o600);
    }
    supervisor.launch();
    supervisor
}

/// Whether one of the signatures is made with this secret.
fn is_signed(request: &Request, secret: &str) -> bool {
    let signature = request.header("x-taskmaster-signature").expect("signed");
    let parts: Vec<(&str, &str)> = signature.split(',').filter_map(|part| part.split_once('=')).collect();
    let time = parts.iter().find(|part| part.0 == "t").expect("a time").1;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, &[time.as_bytes(), b".", &request.body].concat());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    parts.iter().any(|part| part.0 == "v1" && part.1 == hex)
}

fn signed() {
    let receiver = Receiver::start();
    let mut supervisor = start(&with_recovery(), &webhook(&receiver.url(), "secret_file = \"@dir@/old\"\n"));
    supervisor.wait_for_words("web");
    let crash = supervisor.crash("web");
    let requests = receiver.wait_for(2);
    assert!(requests.iter().all(|request| is_signed(request, "first secret") && request.path == "/hook"));
    let (problem, end) = (requests[0].json(), requests[1].json());
    assert_eq!(requests[0].header("x-taskmaster-delivery"), problem["id"].as_str());
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert_eq!((&problem["version"], &problem["purpose"]), (&json!(1), &json!("problem")));
    let item = &problem["items"][0];
    for (field, value) in [
        ("program", json!("web")),
        ("kind", json!("process.crashed")),
        ("status", json!("firing")),
        ("signal", json!("KILL")),
        ("pid", crash["pid"].clone()),
        ("time", crash["time"].clone()),
        ("count", json!(1)),
        ("output", json!(["web has said this"])),
    ] {
        assert_eq!(item[field], value, "{field}: {item}");
    }
    let over = &end["items"][0];
    assert_eq!(
        (&end["purpose"], &over["status"], &over["end"]),
        (&json!("recovery"), &json!("resolved"), &json!("recovered"))
    );
    assert_eq!((&over["incident"], &over["fingerprint"]), (&item["incident"], &item["fingerprint"]));
    assert_eq!(end["root"], problem["id"]);
    assert_eq!(supervisor.stop(), 0);
}

fn two_secrets() {
    let receiver = Receiver::start();
    let both = "secret_file = [\"@dir@/new\", \"@dir@/old\"]\n";
    let mut supervisor = start(FAST, &webhook(&receiver.url(), both));
    supervisor.crash("web");
    let first = receiver.wait_for(1).remove(0);
    assert!(is_signed(&first, "first secret") && is_signed(&first, "second secret"));
    assert!(!is_signed(&first, "first secret\n"), "the line end is no part of it");
    supervisor.reload_with(&format!(
        "{}{FAST}{}",
        program("web"),
        webhook(&receiver.url(), "secret_file = \"@dir@/new\"\n")
    ));
    supervisor.crash("web");
    let second = receiver.wait_for(2).remove(1);
    assert!(is_signed(&second, "second secret") && !is_signed(&second, "first secret"));
    assert_eq!(supervisor.stop(), 0);
}

fn same_delivery() {
    let receiver = Receiver::start();
    for status in [500, 503] {
        receiver.answer_next(status, "");
    }
    let mut supervisor = start(FAST, &webhook(&receiver.url(), ""));
    supervisor.crash("web");
    for count in 1..=2 {
        receiver.wait_for(count);
        let words = if count == 1 { "500" } else { "503" };
        supervisor.wait_for_queue(words, |queue| {
            of(queue, "waiting").iter().any(|waiting| waiting["reason"].to_string().contains(words))
        });
        supervisor.retry_alerts();
    }
    let requests = receiver.wait_for(3);
    supervisor.wait_for_queue("nothing waits", |queue| of(queue, "waiting").is_empty());
    let deliveries: Vec<_> = requests.iter().map(|request| request.header("x-taskmaster-delivery")).collect();
    assert!(deliveries.iter().all(|delivery| delivery.is_some() && *delivery == deliveries[0]), "{deliveries:?}");
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    assert_eq!(receiver.requests().len(), 3);
    assert_eq!(supervisor.stop(), 0);
}

fn later_or_never() {
    let receiver = Receiver::start();
    receiver.answer_next(429, "Retry-After: 100\r\n");
    let mut supervisor = start(FAST, &webhook(&receiver.url(), ""));
    supervisor.crash("web");
    let queue = supervisor.wait_for_queue("it waits", |queue| of(queue, "channels")[0]["cause"].is_string());
    let next = of(&queue, "channels")[0]["next_try_seconds"].as_u64().expect("a number");
    assert!((90..=100).contains(&next), "{queue}");
    receiver.answer_next(404, "");
    supervisor.retry_alerts();
    let queue = supervisor.wait_for_queue("it is given up", |queue| of(queue, "dead").len() == 1);
    assert!(of(&queue, "dead")[0]["reason"].to_string().contains("404"), "{queue}");
    assert_eq!(receiver.requests().len(), 2);
    // An administrator may think otherwise.
    supervisor.retry_alerts();
    receiver.wait_for(3);
    supervisor.wait_for_queue("it is sent", |queue| of(queue, "dead").is_empty() && of(queue, "waiting").is_empty());
    assert_eq!(supervisor.stop(), 0);
}

fn redirects() {
    let (receiver, other) = (Receiver::start(), Receiver::start());
    receiver.answer_next(307, &format!("Location: http://127.0.0.1:{}/elsewhere\r\n", other.port));
    let mut supervisor = start(FAST, &webhook(&receiver.url(), "secret_file = \"@dir@/old\"\n"));
    supervisor.crash("web");
    let cause = supervisor.wait_for_cause("webhooks.chat");
    assert!(cause.contains("another server"), "{cause}");
    assert!(other.requests().is_empty());
    // One on the same server is.
    receiver.answer_next(308, "Location: /there\r\n");
    supervisor.retry_alerts();
    let requests = receiver.wait_for(3);
    assert_eq!(requests[2].path, "/there");
    assert!(is_signed(&requests[2], "first secret"));
    assert_eq!(supervisor.stop(), 0);
}

fn slack() {
    let receiver = Receiver::start();
    let channel = webhook(&receiver.url(), "format = \"slack\"\n");
    let web = with_script("web", "echo '<!channel> has said this' >&2; exec sleep 1000");
    let mut supervisor = Supervisor::prepare(&format!("{web}{FAST}{channel}"));
    supervisor.launch();
    supervisor.wait_for_words("web");
    supervisor.crash("web");
    let body = receiver.wait_for(1)[0].json();
    assert_eq!(body["text"], format!("web crashed on {}: signal KILL", supervisor.host()));
    let text = body["blocks"].to_string();
    assert!(text.contains("&lt;!channel&gt; has said this") && !text.contains("<!channel>"), "{text}");
    assert_eq!(supervisor.stop(), 0);
}

fn alertmanager() {
    let hook = Receiver::start();
    let mut supervisor = Supervisor::prepare("");
    let alertmanager = Alertmanager::start(&supervisor.path("alertmanager"), hook.port);
    // The address alone, without the path of its interface.
    let channel = webhook(&format!("http://127.0.0.1:{}", alertmanager.port), "format = \"alertmanager\"\n");
    let timing = with_recovery().replace("1000ms", "3s");
    supervisor.configure(&format!("{}{timing}{channel}", program("web")));
    supervisor.launch();
    let crash = supervisor.crash("web");
    let firing = eventually("it fires", || alertmanager.alerts().into_iter().next());
    let host = supervisor.host();
    let labels = json!({ "alertname": "TaskmasterProgram", "program": "web", "host": host, "severity": "error" });
    assert_eq!(firing["labels"], labels, "{firing}");
    assert!(
        firing["annotations"]["summary"].as_str().is_some_and(|text| text.starts_with("web crashed on ")),
        "{firing}"
    );
    let time =
        |value: &Value| value.as_str().expect("text").parse::<jiff::Timestamp>().expect("a time").as_millisecond();
    assert_eq!(time(&firing["startsAt"]), time(&crash["time"]));
    let told = hook.wait_for_body("it fires", |body| body["status"] == "firing");
    let resolved = hook.wait_for_body("it is over", |body| body["status"] == "resolved");
    assert_eq!(told["alerts"][0]["fingerprint"], resolved["alerts"][0]["fingerprint"]);
    assert_eq!(resolved["alerts"][0]["labels"], labels);
    assert!(time(&resolved["alerts"][0]["endsAt"]) > time(&told["alerts"][0]["startsAt"]));
    eventually("nothing fires", || alertmanager.alerts().is_empty().then_some(()));
    assert_eq!(supervisor.stop(), 0);
}

fn secret_url() {
    let receiver = Receiver::start();
    let url = receiver.url().replace("hook", "T0SECRETPATH");
    let mut supervisor = start(FAST, &webhook(&url, ""));
    receiver.answer_next(500, "");
    supervisor.crash("web");
    supervisor.wait_for_cause("webhooks.chat");
    let tested = supervisor.notify(&["test", "webhooks.chat"]);
    assert_eq!(tested.code, 0, "{tested:?}");
    assert!(receiver.requests().iter().all(|request| request.path == "/T0SECRETPATH"));
    let queue = supervisor.alert_queue().to_string();
    let status = supervisor.ctl(&["status"]);
    for (what, text) in [
        ("the queue", queue),
        ("the test", format!("{tested:?}")),
        ("the status", format!("{status:?}")),
        ("the console", supervisor.read("console")),
        ("the event log", supervisor.read("log/events.log")),
        ("the state", supervisor.read("state/alerts/state.json")),
    ] {
        assert!(!text.contains("SECRETPATH"), "{what}: {text}");
    }
    assert_eq!(supervisor.stop(), 0);
}
