//! The network thread where it really works: in the notifier's sandbox, in a process of its own.

use std::process::Command;
use std::time::Duration;

use super::runtime::tests::{configure, done, email, send};
use super::servers::fake_tests::{Fake, Manners};
use super::*;
use crate::alert::outcome::Class;
use crate::model::notify::{MailTls, MailTransport, Server, Transport};
use crate::worker::confine::{Allowance, NOTIFIER, confine, start_no_more_threads};

/// Where the server listens, for the process that is confined.
const PORT: &str = "TASKMASTER_UNIT_TEST_PORT";

fn confined(port: u16) {
    let calls = &NOTIFIER;
    let allowance = Allowance { descriptors: 256, file_bytes: None, starts_threads: true, uses_network: true, calls };
    confine(allowance).expect("confined");
    let network = Network::start(Limits { resolve: Duration::from_secs(20), ..Limits::default() }).expect("threads");
    start_no_more_threads().expect("no more of them");
    let server = Server { host: "localhost".to_owned(), port };
    let mut strict = email("strict", server.clone());
    let Transport::Email(settings) = &mut strict.transport else { panic!("a mail channel") };
    let MailTransport::Smtp(smtp) = &mut settings.via else { panic!("over SMTP") };
    smtp.tls = MailTls::Implicit;
    configure(&network, vec![email("plain", server), strict]);
    send(&network, "plain", 1, true);
    send(&network, "strict", 2, false);
    let (outcomes, lines) = done(&network, 2);
    assert_eq!(outcomes[&JobId(1)], Outcome::Sent, "{lines:?}");
    // The certificates of the system were read, or there are none: it got as far as it can.
    let Outcome::Failed(failure) = &outcomes[&JobId(2)] else { panic!("{outcomes:?}") };
    let expected = ["does not speak TLS", "install ca-certificates"];
    assert!(expected.iter().any(|words| failure.words.contains(words)), "{failure}");
    assert_eq!(failure.class, Class::Configuration);
}

#[test]
fn a_mail_is_sent_from_inside_the_sandbox() {
    if let Ok(port) = std::env::var(PORT) {
        return confined(port.parse().expect("a port"));
    }
    let fake = Fake::start(Manners { connections: 2, ..Manners::default() });
    let mut again = Command::new(std::env::current_exe().expect("this test"));
    again.args(["--exact", "notifier::network::sandbox_tests::a_mail_is_sent_from_inside_the_sandbox", "--nocapture"]);
    let output = again.env(PORT, fake.server.port.to_string()).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    assert_eq!(fake.heard().messages.len(), 1);
}
