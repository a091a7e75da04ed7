//! The body of an incoming webhook of Slack, and of the chats that take the same: a line of text for the
//! notification, and blocks for the message itself, within Slack's limits.
#![forbid(unsafe_code)]

use serde::Serialize;
use serde_json::{Value, json};

use super::notice::{Item, Notice};
use super::output::Showing;
use super::payload::{summary, written};
use super::words::{self, value};
use crate::model::time::rfc3339_millis;

/// Slack takes 50 blocks of 3000 characters each.
const ITEMS_MAX: usize = 10;
const TEXT_MAX: usize = 2900;
const OUTPUT_WIDTH: usize = 400;

#[derive(Serialize)]
struct Body {
    text: String,
    blocks: Vec<Value>,
}

/// One JSON object.
///
/// # Errors
/// When it cannot be written as JSON, which no notice does.
pub fn json(notice: &Notice, showing: &Showing) -> Result<String, String> {
    let text = marked(&words::subject(notice), TEXT_MAX);
    let mut blocks = vec![section(&format!("*{text}*"))];
    for item in notice.items.iter().take(ITEMS_MAX) {
        blocks.push(section(&facts(notice, item)));
        blocks.extend(item.output.as_ref().and_then(|output| code(&showing.safe(output, OUTPUT_WIDTH))));
    }
    let beyond = u64::try_from(notice.items.len().saturating_sub(ITEMS_MAX)).unwrap_or(u64::MAX);
    let more = beyond.saturating_add(notice.more_items);
    if more > 0 {
        blocks.push(section(&format!("and {more} more")));
    }
    if notice.dropped > 0 {
        let messages = words::counted(notice.dropped, "message");
        blocks.push(section(&format!("Before this, {messages} had to be dropped.")));
    }
    written(&Body { text, blocks })
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
}

fn facts(notice: &Notice, item: &Item) -> String {
    let mut lines = Vec::new();
    if notice.items.len() > 1 {
        lines.push(summary(notice, item));
    }
    let process = item.event.facts.process.as_deref().map(|process| format!(", process {}", value(process)));
    let pid = item.event.facts.pid.map(|pid| format!(", pid {pid}"));
    let since = rfc3339_millis(item.started_at);
    lines.push(format!(
        "{} since {since}{}{}",
        words::times(item),
        process.unwrap_or_default(),
        pid.unwrap_or_default()
    ));
    lines.extend(words::next(item).map(|next| format!("Now: {next}")));
    marked(&lines.join("\n"), TEXT_MAX)
}

/// The end of the output that fits into one block.
fn code(lines: &[String]) -> Option<Value> {
    let mut room = TEXT_MAX;
    let mut shown = Vec::new();
    for line in lines.iter().rev() {
        // Three back quotes would end the block.
        let line = marked(&line.replace('`', "'"), usize::MAX);
        let Some(left) = room.checked_sub(line.chars().count() + 1) else { break };
        room = left;
        shown.push(line);
    }
    shown.reverse();
    (!shown.is_empty()).then(|| section(&format!("```{}```", shown.join("\n"))))
}

/// The text with `&`, `<` and `>` as Slack wants them, so that it mentions nobody and is no link; at most
/// `max` characters, cut between them.
fn marked(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut length = 0_usize;
    for c in text.chars() {
        let entity = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        length += entity.len().max(1);
        if length > max {
            out.push('…');
            break;
        }
        if entity.is_empty() { out.push(c) } else { out.push_str(entity) }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alert::notice::{Output, Purpose};
    use crate::alert::samples::{crash, notice};

    fn body(notice: &Notice) -> Value {
        serde_json::from_str(&super::json(notice, &Showing::new(20, &[])).expect("JSON")).expect("reads back")
    }

    #[test]
    fn a_crash_is_a_line_and_its_output_a_block() {
        let body = body(&notice(Purpose::Problem, vec![crash("web")]));
        assert_eq!(body["text"], "web crashed on h1: signal SEGV (core dumped)");
        assert_eq!(body["blocks"][0]["text"]["text"], "*web crashed on h1: signal SEGV (core dumped)*");
        let facts = "1 crash since 2026-11-20T08:12:03.123Z, process web:0, pid 123\nNow: running again";
        assert_eq!(body["blocks"][1]["text"]["text"], facts);
        assert_eq!(body["blocks"][2]["text"]["text"], "```one\ntwo\\x1b[2J```");
    }

    #[test]
    fn foreign_text_mentions_nobody_and_ends_no_block() {
        let lines = vec!["<!channel> ```*& <http://x|y>".to_owned()];
        let item = Item { output: Some(Output { lines, is_cut: false }), ..crash("web") };
        let told = body(&notice(Purpose::Problem, vec![item]));
        let code = &told["blocks"][2]["text"]["text"];
        assert_eq!(code, "```&lt;!channel&gt; '''*&amp; &lt;http://x|y&gt;```");
    }

    proptest! {
        #[test]
        fn it_stays_within_the_limits(line in "[<&a☃]{0,3000}", items in 1usize..50) {
            let mut item = crash("web");
            item.event.facts.process = Some(line.clone());
            item.output = Some(Output { lines: vec![line; 20], is_cut: false });
            let told = body(&notice(Purpose::Problem, vec![item; items]));
            let blocks = told["blocks"].as_array().expect("blocks");
            prop_assert!(blocks.len() <= 50);
            for block in blocks {
                let text = block["text"]["text"].as_str().expect("text");
                prop_assert!((1..=3000).contains(&text.chars().count()));
            }
        }
    }
}
