//! An event as a log daemon wants it: RFC 5424 for a remote one, fields for journald, and what is common to
//! all: priority, length, framing. What the local `/dev/log` gets is made where the lines of programs can use it,
//! too (`model::syslog`).
#![forbid(unsafe_code)]

use std::fmt::Write;

use crate::alert::line;
use crate::model::event::{Event, Kind, Severity};
use crate::model::notify::{About, Framing, Syslog};
use crate::model::syslog::{self, name, number};
use crate::model::text::escaped;
use crate::model::time::rfc3339_millis;

/// RFC 5424 §6: the longest HOSTNAME, APP-NAME and MSGID, in bytes.
const HOSTNAME_MAX: usize = 255;
const APP_NAME_MAX: usize = 48;
const MSGID_MAX: usize = 32;
/// What every receiver of UDP must take is 480 bytes, what it should take 2048 (RFC 5426 §3.2).
pub const UDP_MAX: usize = 2048;
/// Ends a message of which a part is missing.
const CUT: &str = " [cut]";

/// What stands for an event in one channel: its own facility and tag, or the program's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// 0 to 23.
    pub facility: u8,
    pub severity: Severity,
    pub tag: String,
}

impl Label {
    pub fn new(settings: &Syslog, severity: Severity, about: Option<&About>) -> Self {
        let alerts = about.map(|about| &about.alerts);
        Self {
            facility: alerts.and_then(|alerts| alerts.syslog_facility).unwrap_or(settings.facility),
            severity,
            tag: alerts.and_then(|alerts| alerts.syslog_tag.clone()).unwrap_or_else(|| settings.tag.clone()),
        }
    }

    pub fn priority(&self) -> u8 {
        syslog::priority(self.facility, self.severity)
    }
}

/// The message of RFC 3164 and journald: `process.crashed web:0 pid=123 …`.
pub fn message(event: &Event) -> String {
    line::bare(event)
}

/// `<27>1 2026-11-20T08:12:03.123Z h1 taskmaster 77 process.crashed [taskmaster@32473 …] \u{feff}…`
///
/// `pid` is the supervisor's, or the notifier's: whose message it is.
pub fn rfc5424(event: &Event, label: &Label, sd_id: &str, pid: u32) -> String {
    let mut line = format!(
        "<{}>1 {} {} {} {pid} {} ",
        label.priority(),
        rfc3339_millis(event.time),
        name(&event.host, HOSTNAME_MAX),
        name(&label.tag, APP_NAME_MAX),
        name(event.kind.name(), MSGID_MAX),
    );
    line.push('[');
    line.push_str(sd_id);
    for (key, value) in parameters(event) {
        let _ = write!(line, " {key}=\"");
        for c in escaped(&value).chars() {
            if matches!(c, '"' | '\\' | ']') {
                line.push('\\');
            }
            line.push(c);
        }
        line.push('"');
    }
    line.push(']');
    // The byte order mark says that the message is UTF-8 (§6.4).
    line.push_str(" \u{feff}");
    line.push_str(&message(event));
    line
}

/// What is worth searching for, under the names of the event log.
fn parameters(event: &Event) -> Vec<(&'static str, String)> {
    let facts = &event.facts;
    let mut all = vec![("seq", event.seq.to_string())];
    let mut add = |key, value: Option<String>| all.extend(value.map(|value| (key, value)));
    add("program", facts.program.as_ref().map(ToString::to_string));
    add("process", facts.process.clone());
    add("pid", facts.pid.map(|pid| pid.to_string()));
    add("user", facts.user.clone());
    add("code", facts.code.map(|code| code.to_string()));
    add("signal", facts.signal.map(|signal| signal.to_string()));
    add("core_dumped", facts.core_dumped.map(|dumped| if dumped { "yes" } else { "no" }.to_owned()));
    all
}

/// At most so many bytes, with a mark where something is missing.
pub fn cut(message: &str, max: usize) -> String {
    if message.len() <= max {
        return message.to_owned();
    }
    let mut end = max.saturating_sub(CUT.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{CUT}", &message[..end])
}

/// One message on a stream (RFC 6587 §3.4). With line feeds, one inside it would begin another message.
pub fn framed(message: &str, framing: Framing) -> Vec<u8> {
    match framing {
        Framing::OctetCounting => format!("{} {message}", message.len()).into_bytes(),
        Framing::Lf => format!("{}\n", message.replace('\n', "#012")).into_bytes(),
    }
}

/// An event in journald's native protocol: `NAME=value` lines, with a length before a value that has line
/// feeds (systemd.journal-fields(7), JOURNAL_NATIVE_PROTOCOL).
pub fn journal(event: &Event, label: &Label) -> Vec<u8> {
    let mut out = Vec::new();
    let mut field = |name: &str, value: &str| {
        out.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            out.push(b'\n');
            out.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            out.push(b'=');
        }
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    };
    field("MESSAGE", &message(event));
    field("MESSAGE_ID", message_id(event.kind));
    field("PRIORITY", &number(label.severity).to_string());
    field("SYSLOG_FACILITY", &label.facility.to_string());
    field("SYSLOG_IDENTIFIER", &label.tag);
    field("TASKMASTER_KIND", event.kind.name());
    field("TASKMASTER_TIME", &rfc3339_millis(event.time));
    for (key, value) in parameters(event) {
        field(&format!("TASKMASTER_{}", key.to_uppercase()), &value);
    }
    // The names that systemd gives to the same things.
    if let Some(code) = event.facts.code {
        field("EXIT_CODE", "exited");
        field("EXIT_STATUS", &code.to_string());
    } else if let Some(signal) = event.facts.signal {
        field("EXIT_CODE", if event.facts.core_dumped == Some(true) { "dumped" } else { "killed" });
        field("EXIT_STATUS", &signal.to_string());
    }
    out
}

/// What `journalctl MESSAGE_ID=…` finds all events of a kind by; fixed for ever.
fn message_id(kind: Kind) -> &'static str {
    match kind {
        Kind::SupervisorStarted => "9c8386018d9048a9b3bacd0f4f277485",
        Kind::SupervisorStopping => "31166208188c4bcd9b0fb98773f78e85",
        Kind::SupervisorStopped => "09247b3761c74e4a8cf35326692c15a5",
        Kind::ConfigReloaded => "68d9ce5cf04040bfad00f3902a406a7d",
        Kind::ConfigRejected => "18f87db67a034d0188d51610f66c61a6",
        Kind::ProcessStarting => "3fce593b9ab4445d819afe8696d032d0",
        Kind::ProcessRunning => "acad6f8ea6d34af8942bcde47b5ff4d9",
        Kind::ProcessBackoff => "787ae171821d46d6936a1fd31f430c1b",
        Kind::ProcessStopping => "6963494f35d942b788d2ea4fe228f781",
        Kind::ProcessStopped => "dfc8d1408a784c4a98ade299a34ad27d",
        Kind::ProcessExited => "a3d416681b504a2b89571434594b4f33",
        Kind::ProcessCrashed => "c3ea82ed51b84781952038a9d557de8c",
        Kind::ProcessKilled => "c67a3cb87cda4c00898723627327499a",
        Kind::ProcessFatal => "a6ad285631074956a4f44709ed6556af",
        Kind::ProcessStartFailed => "5d1411a8bf2849e8b0fd76f383977c9e",
        Kind::ProcessUnrestricted => "67765ee3508b4a3bbbb7a9b52bee4acd",
        Kind::WorkerRestarted => "0e1f7dc9a9904753bc837d91f520a26b",
        Kind::OutputDropped => "6c248c1b1a754fdfb8c31d65a1408210",
        Kind::OutputFailing => "721bcc466d5c4d2e87268a9f117ef7bf",
        Kind::OutputRecovered => "f67b3f9919ec4ebeb22cd501d22ef7d6",
        Kind::ControlDenied => "3f4684f923a543178829318cf0c75881",
        Kind::NotifyFailing => "f574cf6d9c374ac4be563e0ef28db27c",
        Kind::NotifyRecovered => "3cba85188248498f8b646afdf43e182c",
        Kind::NotifyTest => "7a79f3971601409694d67351f1de0c91",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::model::event::Facts;
    use crate::model::signal::Signal;
    use crate::model::time::WallTime;

    fn event(facts: Facts) -> Event {
        let time = WallTime::from_millisecond(1_795_162_323_123).expect("in range");
        let kind = Kind::ProcessCrashed;
        Event { seq: 7, time, severity: kind.severity(), kind, host: "h1".to_owned(), facts }
    }

    fn label() -> Label {
        Label { facility: 3, severity: Severity::Err, tag: "taskmaster".to_owned() }
    }

    #[test]
    fn a_crash_is_a_line_of_rfc_5424_with_structured_data() {
        let crash = event(Facts {
            process: Some("web:0".to_owned()),
            pid: Some(123),
            user: Some("a \"b\" \\ ]".to_owned()),
            signal: Signal::parse("SEGV"),
            core_dumped: Some(true),
            ..Facts::default()
        });
        assert_eq!(
            rfc5424(&crash, &label(), "taskmaster@32473", 77),
            "<27>1 2026-11-20T08:12:03.123Z h1 taskmaster 77 process.crashed [taskmaster@32473 seq=\"7\" process=\"web:0\" \
             pid=\"123\" user=\"a \\\"b\\\" \\\\ \\]\" signal=\"SEGV\" core_dumped=\"yes\"] \u{feff}process.crashed web:0 pid=123 \
             user=\"a \\\"b\\\" \\\\ ]\" signal=SEGV core=yes"
        );
    }

    #[test]
    fn a_program_has_its_own_facility_and_tag() {
        let settings = Syslog {
            target: crate::model::notify::SyslogTarget::Local("/dev/log".into()),
            facility: 3,
            tag: "taskmaster".to_owned(),
            sd_id: "taskmaster@32473".to_owned(),
            ca: None,
            server_name: None,
        };
        let alerts = crate::model::notify::Alerts {
            syslog_facility: Some(16),
            syslog_tag: Some("web".to_owned()),
            ..Default::default()
        };
        let program = crate::model::id::ProgramName::new("web").expect("a name");
        let about = About { program, instance: 0, group_name: None, alerts };
        let own = Label::new(&settings, Severity::Crit, Some(&about));
        assert_eq!((own.priority(), own.tag.as_str()), (16 * 8 + 2, "web"));
        assert_eq!(Label::new(&settings, Severity::Err, None), label());
    }

    #[test]
    fn every_kind_has_an_id_of_its_own() {
        let ids: BTreeSet<_> = Kind::ALL.iter().copied().map(message_id).collect();
        assert_eq!(ids.len(), Kind::ALL.len());
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }

    #[test]
    fn a_value_with_line_feeds_has_its_length_in_the_journal() {
        let mut odd = label();
        odd.tag = "a\nb".to_owned();
        let bytes = journal(&event(Facts::default()), &odd);
        let part = b"SYSLOG_IDENTIFIER\n\x03\0\0\0\0\0\0\0a\nb\n";
        assert!(bytes.windows(part.len()).any(|window| window == part), "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn frames_say_their_length_or_end_with_the_only_line_feed() {
        assert_eq!(framed("ä\nb", Framing::OctetCounting), "4 ä\nb".as_bytes());
        assert_eq!(framed("ä\nb", Framing::Lf), "ä#012b\n".as_bytes());
    }

    proptest! {
        #[test]
        fn whatever_an_event_holds_its_line_has_the_fields_of_rfc_5424_in_their_places(
            process in any::<String>(), user in any::<String>(), host in any::<String>(), tag in any::<String>(),
        ) {
            let mut sample = event(Facts { process: Some(process), user: Some(user), ..Facts::default() });
            sample.host = host;
            let line = rfc5424(&sample, &Label { tag, ..label() }, "taskmaster@32473", 1);
            let fields: Vec<&str> = line.splitn(7, ' ').collect();
            prop_assert_eq!(fields[0], "<27>1");
            prop_assert!(fields[2].len() <= HOSTNAME_MAX && fields[3].len() <= APP_NAME_MAX);
            prop_assert!(fields[..6].iter().all(|field| field.bytes().all(|byte| byte.is_ascii_graphic())));
            prop_assert_eq!(fields[5], "process.crashed");
            prop_assert!(fields[6].starts_with("[taskmaster@32473 "));
            prop_assert!(!line.contains('\n'));
        }

        #[test]
        fn what_is_cut_fits_and_says_so(text in any::<String>(), max in 6_usize..100) {
            let short = cut(&text, max);
            prop_assert!(short.len() <= max);
            prop_assert!(short == text || short.ends_with(CUT));
        }
    }
}
