//! Sends one mail: to the first server that can be reached, to every recipient that it takes.
//!
//! Each refusal gets its class here (`alert::outcome`); when to try again is decided elsewhere. A password
//! goes over an encrypted connection or not at all.

use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lettre::Address;
use lettre::transport::smtp::commands::{Data, Ehlo, Mail as MailCommand, Quit, Rcpt, Starttls};
use lettre::transport::smtp::extension::{ClientId, MailParameter};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Secret;
use super::dial::connect;
use super::dialogue::{Dialogue, Reply, Tell};
use super::offers::Offers;
use super::stream::Limits;
use super::tls::Authorities;
use crate::alert::outcome::{Class, Failure, Outcome};
use crate::model::notify::{MailTls, Server, Smtp};
use crate::model::text;
use crate::model::time::human;

/// A mail as it goes out.
pub struct Mail<'a> {
    /// Addresses only.
    pub from: &'a str,
    pub recipients: &'a [String],
    /// With CRLF line ends.
    pub bytes: &'a [u8],
}

/// A mail channel's way out.
pub struct Mailer {
    smtp: Smtp,
    password: Option<Secret>,
    authorities: Authorities,
    /// How we introduce ourselves.
    hello: ClientId,
    limits: Limits,
}

/// What became of each recipient, in their order.
type Refusals = Vec<Option<Failure>>;

/// To say goodbye is polite, no more.
const GOODBYE: Duration = Duration::from_secs(2);

impl Mailer {
    pub fn new(smtp: Smtp, password: Option<Secret>, host: &str, limits: Limits) -> Self {
        let authorities = Authorities::new(smtp.ca.as_deref(), smtp.server_name.as_deref());
        Self { smtp, password, authorities, hello: introduction(host), limits }
    }

    /// Tries the servers in turn, until one has taken the mail or refused it.
    pub async fn send(&self, mail: &Mail<'_>, tell: &Tell) -> Outcome {
        let from = match Address::from_str(mail.from) {
            Ok(from) => from,
            Err(error) => return Outcome::Failed(no_address(mail.from, &error)),
        };
        let mut words = Vec::new();
        for server in &self.smtp.servers {
            match self.send_to(server, &from, mail, tell).await {
                Outcome::Failed(failure) if failure.class == Class::Connection => words.push(failure.words),
                outcome => return outcome,
            }
        }
        Outcome::Failed(Failure::new(Class::Connection, words.join("; ")))
    }

    async fn send_to(&self, server: &Server, from: &Address, mail: &Mail<'_>, tell: &Tell) -> Outcome {
        let implicit = (self.smtp.tls == MailTls::Implicit).then_some(&self.authorities);
        if let Some(tell) = tell {
            tell(format!("- {server}"));
        }
        let stream = match connect(server, implicit, &self.limits).await {
            Ok(stream) => stream,
            Err(failure) => return Outcome::Failed(failure),
        };
        let mut dialogue = Dialogue::new(stream, implicit.is_some(), server, &self.limits, tell);
        let session = timeout(self.limits.session, self.session(&mut dialogue, from, mail)).await;
        let result = session.unwrap_or_else(|_| {
            let words = format!("the session takes longer than {}", human(self.limits.session));
            Err(dialogue.failure(Class::Connection, &words))
        });
        let is_lost = matches!(&result, Err(failure) if failure.class == Class::Connection);
        if dialogue.is_open() && !is_lost {
            let _ = timeout(GOODBYE.min(self.limits.command), dialogue.command("QUIT", &Quit.to_string())).await;
        }
        outcome(mail.recipients, result)
    }

    async fn session(&self, dialogue: &mut Dialogue<'_>, from: &Address, mail: &Mail<'_>) -> Result<Refusals, Failure> {
        let offers = self.prepare(dialogue).await?;
        if offers.size_max.is_some_and(|max| max < mail.bytes.len() as u64) {
            let words = format!("the mail has {} bytes, more than the server takes", mail.bytes.len());
            return Err(dialogue.failure(Class::Content, &words));
        }
        self.mail_from(dialogue, &offers, from, mail).await?;
        let mut refusals = Vec::with_capacity(mail.recipients.len());
        for recipient in mail.recipients {
            refusals.push(rcpt_to(dialogue, &offers, recipient).await?);
        }
        if refusals.iter().all(Option::is_some) {
            return Ok(refusals);
        }
        let reply = dialogue.command("DATA", &Data.to_string()).await?;
        let reply = if reply.code == 354 { dialogue.message(mail.bytes).await } else { Ok(reply) };
        match data_failure(dialogue, reply?) {
            None => Ok(refusals),
            // Only those that were taken so far are concerned: the others have been told.
            Some(failure)
                if matches!(failure.class, Class::Temporary | Class::Permanent)
                    && refusals.iter().any(Option::is_some) =>
            {
                Ok(refusals.into_iter().map(|refusal| refusal.or_else(|| Some(failure.clone()))).collect())
            }
            Some(failure) => Err(failure),
        }
    }

    /// Until mail may be sent: greeted, encrypted as configured, known to the server.
    async fn prepare(&self, dialogue: &mut Dialogue<'_>) -> Result<Offers, Failure> {
        let greeting = dialogue.greeting().await?;
        if greeting.code != 220 {
            return Err(refusal(dialogue, "greeting", &greeting, Class::Connection));
        }
        let mut offers = self.introduce(dialogue).await?;
        if self.smtp.tls == MailTls::Starttls {
            if !offers.starttls {
                let words = "the server offers no STARTTLS; nothing is sent in clear text \
                             (does it want `tls = \"implicit\"`?)";
                return Err(dialogue.failure(Class::Configuration, words));
            }
            let reply = dialogue.command("STARTTLS", &Starttls.to_string()).await?;
            if reply.code != 220 {
                return Err(refusal(dialogue, "STARTTLS", &reply, Class::Configuration));
            }
            dialogue.encrypt(&self.authorities).await?;
            offers = self.introduce(dialogue).await?;
        }
        if let Some(username) = &self.smtp.username {
            self.authenticate(dialogue, &offers, username).await?;
        }
        Ok(offers)
    }

    async fn introduce(&self, dialogue: &mut Dialogue<'_>) -> Result<Offers, Failure> {
        let reply = dialogue.command("EHLO", &Ehlo::new(self.hello.clone()).to_string()).await?;
        if reply.code == 250 {
            return Ok(Offers::of(&reply));
        }
        Err(refusal(dialogue, "EHLO", &reply, Class::Configuration))
    }

    async fn authenticate(&self, dialogue: &mut Dialogue<'_>, offers: &Offers, username: &str) -> Result<(), Failure> {
        let configuration = |dialogue: &Dialogue<'_>, words| Err(dialogue.failure(Class::Configuration, words));
        if !dialogue.is_encrypted() {
            return configuration(dialogue, "a password is never sent over a connection that is not encrypted");
        }
        let Some(password) = &self.password else { return configuration(dialogue, "there is no password") };
        if let Ok(password) = std::str::from_utf8(password.bytes()) {
            dialogue.hide(Zeroizing::new(password.to_owned()));
        }
        let reply = if offers.plain {
            let both = Zeroizing::new([b"\0", username.as_bytes(), b"\0", password.bytes()].concat());
            dialogue.secret("AUTH PLAIN ", encoded(&both)).await?
        } else if offers.login {
            let mut reply = dialogue.command("AUTH", "AUTH LOGIN\r\n").await?;
            for answer in [username.as_bytes(), password.bytes()] {
                if reply.code == 334 {
                    reply = dialogue.secret("", encoded(answer)).await?;
                }
            }
            reply
        } else {
            return configuration(dialogue, "the server offers neither AUTH PLAIN nor AUTH LOGIN");
        };
        if reply.code == 235 { Ok(()) } else { Err(refusal(dialogue, "AUTH", &reply, Class::Configuration)) }
    }

    async fn mail_from(
        &self,
        dialogue: &mut Dialogue<'_>,
        offers: &Offers,
        from: &Address,
        mail: &Mail<'_>,
    ) -> Result<(), Failure> {
        let mut parameters = Vec::new();
        if offers.smtputf8 && (needs_utf8(mail.from) || mail.recipients.iter().any(|to| needs_utf8(to))) {
            parameters.push(MailParameter::SmtpUtfEight);
        } else if needs_utf8(mail.from) {
            return Err(dialogue.failure(Class::Permanent, &no_utf8(mail.from)));
        }
        if offers.size_max.is_some() {
            parameters.push(MailParameter::Size(mail.bytes.len()));
        }
        let reply = dialogue.command("MAIL", &MailCommand::new(Some(from.clone()), parameters).to_string()).await?;
        match reply.code {
            200..300 => Ok(()),
            552 => Err(refusal(dialogue, "MAIL", &reply, Class::Content)),
            _ => Err(refusal(dialogue, "MAIL", &reply, Class::Permanent)),
        }
    }
}

/// One recipient: why not, if not.
async fn rcpt_to(dialogue: &mut Dialogue<'_>, offers: &Offers, to: &str) -> Result<Option<Failure>, Failure> {
    let address = match Address::from_str(to) {
        Ok(address) => address,
        Err(error) => return Ok(Some(no_address(to, &error))),
    };
    if needs_utf8(to) && !offers.smtputf8 {
        return Ok(Some(dialogue.failure(Class::Permanent, &no_utf8(to))));
    }
    let reply = dialogue.command("RCPT", &Rcpt::new(address, Vec::new()).to_string()).await?;
    let failure = match reply.code {
        200..300 => return Ok(None),
        // What servers of long ago say instead of 452 (RFC 5321 §4.5.3.1.10).
        552 => dialogue.failure(Class::Temporary, &format!("RCPT: {}", reply.words)),
        _ => refusal(dialogue, "RCPT", &reply, Class::Permanent),
    };
    match failure.class {
        Class::Connection | Class::Configuration => Err(failure),
        Class::Temporary | Class::Permanent | Class::Content => Ok(Some(failure)),
    }
}

/// What the reply to DATA or to the message's end means; `None`: accepted.
fn data_failure(dialogue: &Dialogue<'_>, reply: Reply) -> Option<Failure> {
    match reply.code {
        200..300 => None,
        552 | 554 => Some(refusal(dialogue, "DATA", &reply, Class::Content)),
        _ => Some(refusal(dialogue, "DATA", &reply, Class::Permanent)),
    }
}

/// The class of a reply that is not the one hoped for; `otherwise` for codes that mean never.
fn refusal(dialogue: &Dialogue<'_>, step: &str, reply: &Reply, otherwise: Class) -> Failure {
    // Until MAIL there is no message that could be taken later: it is the server that cannot be used now.
    let is_before_mail = matches!(step, "greeting" | "EHLO" | "STARTTLS" | "AUTH");
    let class = match reply.code {
        421 => Class::Connection,
        400..500 if is_before_mail => Class::Connection,
        400..500 => Class::Temporary,
        // Authentication required, too weak, failed; encryption required.
        530 | 534 | 535 | 538 if step != "greeting" => Class::Configuration,
        500..600 => otherwise,
        // Neither accepted nor refused: whatever it is, it does not speak SMTP.
        _ => Class::Connection,
    };
    dialogue.failure(class, &format!("{step}: {}", reply.words))
}

fn outcome(recipients: &[String], result: Result<Refusals, Failure>) -> Outcome {
    match result {
        Err(failure) => Outcome::Failed(failure),
        Ok(refusals) if refusals.iter().all(Option::is_none) => Outcome::Sent,
        Ok(refusals) => {
            let each = recipients.iter().cloned().zip(refusals);
            Outcome::Recipients(each.map(|(to, refusal)| (to, refusal.map_or(Ok(()), Err))).collect())
        }
    }
}

fn needs_utf8(address: &str) -> bool {
    !address.is_ascii()
}

fn no_utf8(address: &str) -> String {
    format!("the server takes no address like {} (it offers no SMTPUTF8)", text::quoted(address))
}

fn no_address(address: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::new(Class::Permanent, format!("{} is no mail address: {error}", text::quoted(address)))
}

fn encoded(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(BASE64_STANDARD.encode(bytes))
}

/// The host's name where it is one that can be said, else the address that everybody has (RFC 5321 §4.1.4).
fn introduction(host: &str) -> ClientId {
    let is_name =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if host.len() <= 255 && host.split('.').all(is_name) {
        ClientId::Domain(host.to_owned())
    } else {
        ClientId::default()
    }
}

#[cfg(test)]
#[path = "smtp_tests.rs"]
mod tests;
