//! What a mail server says that it can do, in its answer to EHLO (RFC 5321 §4.1.1.1).

use super::dialogue::Reply;

/// What a server can do, of which we make use.
#[derive(Default)]
pub struct Offers {
    pub starttls: bool,
    pub smtputf8: bool,
    pub plain: bool,
    pub login: bool,
    /// With the SIZE extension: bytes; `u64::MAX` when it names no bound.
    pub size_max: Option<u64>,
}

impl Offers {
    pub fn of(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.extensions() {
            let line = line.to_ascii_uppercase();
            // Some write `AUTH=PLAIN`, as clients of long ago wanted it.
            let mut words = line.split([' ', '=']);
            match words.next() {
                Some("STARTTLS") => offers.starttls = true,
                Some("SMTPUTF8") => offers.smtputf8 = true,
                Some("SIZE") => {
                    let bound = words.next().and_then(|word| word.parse().ok()).filter(|bound| *bound > 0);
                    offers.size_max = Some(bound.unwrap_or(u64::MAX));
                }
                Some("AUTH") => {
                    for mechanism in words {
                        offers.plain |= mechanism == "PLAIN";
                        offers.login |= mechanism == "LOGIN";
                    }
                }
                _ => {}
            }
        }
        offers
    }
}
