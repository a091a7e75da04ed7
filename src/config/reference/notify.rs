//! How people are told.
#![forbid(unsafe_code)]

use super::{Section, row};

pub const NOTIFY: Section = Section {
    name: "[notify]",
    header: "[notify]",
    heading: "`[notify]`, and for one channel in the table of email or a webhook",
    about: "How people are told, for all channels.",
    rows: &[
        row(&[("group_wait", "10")], "10", "what happens together for so long is told together"),
        row(&[("group_interval", "\"5m\"")], "`\"5m\"`", "between messages about what was told already"),
        row(
            &[("recovery_after", "30")],
            "30",
            "RUNNING for so long ends an incident, and is told to those who were told of it",
        ),
        row(
            &[("remind_after", "[\"30m\", \"4h\", \"24h\"]")],
            "`[\"30m\", \"4h\", \"24h\"]`",
            "after the first message, while it lasts; `[]`: never",
        ),
        row(
            &[("flap_count", "5"), ("flap_window", "\"10m\""), ("flap_clear", "\"10m\"")],
            "5, `\"10m\"`, `\"10m\"`",
            "so many incidents within the window are told as one, until nothing changes for so long",
        ),
        row(
            &[("rate_limit", "{ burst = 3, interval = \"5m\" }")],
            "`{ burst = 3, interval = \"5m\" }`",
            "messages to the same people: so many at once, then one each interval; the rest is collected",
        ),
        row(
            &[("stale_after", "\"30m\"")],
            "`\"30m\"`",
            "what waited longer when a channel works again is told in one message",
        ),
        row(
            &[("shutdown_drain", "5")],
            "5",
            "how long a shutdown waits for alerts, at most a minute; what is left is sent after the \
                      next start",
        )
        .only("only in `[notify]`"),
        row(
            &[("spool", "{ max_messages = 1000, max_bytes = \"64MB\", max_age = \"5d\" }")],
            "`{ max_messages = 1000, max_bytes = \"64MB\", max_age = \"5d\" }`",
            "what may wait on disk",
        )
        .only("only in `[notify]`"),
        row(
            &[("min_severity", "\"info\"")],
            "`\"info\"`",
            "`crit`, `err`, `warning`, `notice`, `info`: what is less severe is not told there",
        )
        .only("only of a channel, syslog too"),
    ],
};

pub const EMAIL: Section = Section {
    name: "[notify.email]",
    header: "[notify.email]",
    heading: "`[notify.email]`",
    about: "Alerts by mail.",
    rows: &[
        row(
            &[("server", "\"smtp.example.com\"")],
            "required",
            "a name, `\"name:port\"`, or a list that is tried in turn",
        ),
        row(
            &[("tls", "\"starttls\"")],
            "`\"starttls\"`",
            "`\"implicit\"`, or `\"none\"`: never together with a password. What cannot be had is an \
                      error, no fallback",
        ),
        row(&[("port", "587")], "587, 465, 25", "by `tls`; a port of `server` wins"),
        row(
            &[("ca_file", "\"/etc/taskmaster/ca.pem\""), ("server_name", "\"smtp.example.com\"")],
            "the system's, the server's",
            "the authorities that count (PEM), the name in the certificate",
        ),
        row(
            &[("username", "\"taskmaster\""), ("password_file", "\"/etc/taskmaster/smtp-password\"")],
            "",
            "both or none",
        ),
        row(
            &[("from", "\"taskmaster@example.com\""), ("to", "[\"ops@example.com\"]")],
            "required",
            "`\"ops@example.com\"` or `\"Operations <ops@example.com>\"`; `to` is one or a list",
        ),
        row(&[("envelope_from", "\"bounces@example.com\"")], "the address of `from`", "gets what cannot be delivered"),
        row(&[("transport", "\"smtp\"")], "`\"smtp\"`", "`\"sendmail\"`, or `\"maildir\"` for trying out"),
        row(
            &[("sendmail", "\"/usr/sbin/sendmail\"")],
            "`\"/usr/sbin/sendmail\"`",
            "the program of `transport = \"sendmail\"`",
        ),
        row(&[("maildir", "\"/var/mail/taskmaster\"")], "", "the directory of `transport = \"maildir\"`"),
        row(&[("output_lines", "20")], "20", "last lines of standard error in a message, 0 to 100 (of 8 KiB)"),
        row(&[("redact", "[\"password=[^ ]+\"]")], "", "regular expressions; what matches in that output is not shown"),
    ],
};

pub const WEBHOOK: Section = Section {
    name: "[notify.webhooks.NAME]",
    header: "[notify.webhooks.chat]",
    heading: "`[notify.webhooks.NAME]`",
    about: "Alerts to a web server, or to a chat.",
    rows: &[
        row(
            &[("url", "\"https://hooks.example.com/path\"")],
            "required",
            "`https://…`; messages and logs never show its path",
        ),
        row(
            &[("url_file", "\"/etc/taskmaster/hook\"")],
            "",
            "a file whose only line is the URL, where that is a secret (Slack)",
        ),
        row(&[("format", "\"json\"")], "`\"json\"`", "`\"slack\"`, `\"alertmanager\"`"),
        row(
            &[("secret_file", "\"/etc/taskmaster/hook-secret\"")],
            "",
            "signs each request (HMAC); a list of two while the secret is changed",
        ),
        row(
            &[("ca_file", "\"/etc/taskmaster/ca.pem\""), ("output_lines", "20"), ("redact", "[\"password=[^ ]+\"]")],
            "",
            "as for email",
        ),
    ],
};

pub const SYSLOG: Section = Section {
    name: "[notify.syslog]",
    header: "[notify.syslog]",
    heading: "`[notify.syslog]`",
    about: "Every event to syslog.",
    rows: &[
        row(
            &[("target", "\"local\"")],
            "`\"local\"`",
            "`/dev/log` (another socket by its path), `\"journald\"`, `\"udp://host:514\"`, \
                      `\"tcp://host:601\"`, `\"tls://host:6514\"`",
        ),
        row(&[("facility", "\"daemon\"")], "`\"daemon\"`", "a name of syslog(3)"),
        row(&[("tag", "\"taskmaster\"")], "`\"taskmaster\"`", "the name of the program in the log"),
        row(&[("framing", "\"octet-counting\"")], "`\"octet-counting\"`", "for tcp: `\"lf\"`"),
        row(
            &[("sd_id", "\"taskmaster@32473\"")],
            "`\"taskmaster@32473\"`",
            "of the structured data; 32473 is for documentation, write your own number",
        ),
        row(
            &[("ca_file", "\"/etc/taskmaster/ca.pem\""), ("server_name", "\"log.example.com\"")],
            "",
            "for tls, as for email",
        ),
    ],
};

pub const RULES: Section = Section {
    name: "[[notify.rules]]",
    header: "[[notify.rules]]",
    heading: "`[[notify.rules]]`",
    about: "Which events are told where. Any rule replaces the built-in one: crashed, fatal and killed go to email.",
    rows: &[
        row(
            &[
                ("on", "[\"process.crashed\", \"process.fatal\", \"process.killed\"]"),
                ("not_on", "[\"process.running\"]"),
            ],
            "",
            "kinds of events or globs over them: `[\"process.*\"]`; one of the two is required",
        ),
        row(&[("programs", "[\"*\"]")], "all", "globs over program names"),
        row(
            &[("severity", "\"crit\"")],
            "that of the event",
            "these events count as so severe; the last rule that says so wins",
        ),
        row(&[("to", "[\"email\"]")], "required, unless there is a `severity`", "channels"),
    ],
};
