//! What talks to servers: mail, webhooks, and log daemons over the network. `no_servers` stands in its place in a
//! build without the feature `network`.

mod dial;
mod dialogue;
#[cfg(test)]
pub mod fake_tests;
mod limited;
mod log;
mod offers;
mod smtp;
mod stream;
mod tls;
mod webhook;

use super::Message;
use super::secret::{Secret, Secrets};
use crate::alert::outcome::{Class, Outcome};
use crate::model::notify::{Channel, MailTransport, Transport};

pub use dialogue::Tell;
pub use log::Remote;
use smtp::{Mail, Mailer};
pub use stream::Limits;
use webhook::Poster;

/// How many names are looked up at once: each look-up waits in a thread of its own (getaddrinfo(3)).
pub const LOOKUPS: usize = 3;

/// A channel's way out, made of its settings.
pub enum Sender {
    Smtp(Box<Mailer>),
    Webhook(Box<Poster>),
    /// Its messages go another way.
    Elsewhere,
}

impl Sender {
    pub fn new(channel: Channel, secrets: Secrets, host: &str, limits: Limits) -> Self {
        match channel.transport {
            Transport::Email(email) => match email.via {
                MailTransport::Smtp(smtp) => Self::Smtp(Box::new(Mailer::new(smtp, secrets.password, host, limits))),
                MailTransport::Sendmail(_) | MailTransport::Maildir(_) => Self::Elsewhere,
            },
            Transport::Webhook(webhook) => Self::Webhook(Box::new(Poster::new(webhook, secrets.hmac, limits))),
            Transport::Syslog(_) => Self::Elsewhere,
        }
    }

    pub async fn send(&self, message: &Message, tell: &Tell) -> Outcome {
        match (self, message) {
            (Self::Smtp(mailer), Message::Mail { envelope_from, recipients, bytes }) => {
                mailer.send(&Mail { from: envelope_from, recipients, bytes }, tell).await
            }
            (Self::Webhook(poster), Message::Post { delivery, body }) => poster.send(delivery, body, tell).await,
            (Self::Smtp(_) | Self::Webhook(_) | Self::Elsewhere, _) => {
                super::failed(Class::Permanent, "the channel carries no such messages")
            }
        }
    }
}
