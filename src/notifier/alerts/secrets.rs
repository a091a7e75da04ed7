//! Secrets come as open files, before the configuration that they belong to.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use crate::model::id::ChannelName;
use crate::model::notify::SecretKind;

use super::super::network::Secret;
use super::{Alerts, Network};

/// The longest secret, in bytes.
const SECRET_MAX: u64 = 4 << 10;
/// The most of one channel that sign.
const HMAC_MAX: usize = 2;

impl<N: Network> Alerts<N> {
    pub(super) fn secret(&mut self, channel: ChannelName, kind: SecretKind, file: Option<OwnedFd>) {
        let Some(secret) = file.and_then(read) else {
            self.lose(0, &format!("{channel}: a secret cannot be read"));
            return;
        };
        let secrets = self.arriving.entry(channel).or_default();
        match kind {
            SecretKind::Password => secrets.password = Some(secret),
            SecretKind::Hmac(_) if secrets.hmac.len() < HMAC_MAX => secrets.hmac.push(secret),
            SecretKind::Hmac(_) => {}
        }
    }
}

/// The bytes of the file without one line end. `None`: unreadable, empty, or too long.
fn read(file: OwnedFd) -> Option<Secret> {
    let mut bytes = Vec::new();
    File::from(file).take(SECRET_MAX + 2).read_to_end(&mut bytes).ok()?;
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let secret = (!text.is_empty() && text.len() as u64 <= SECRET_MAX).then(|| Secret::new(text.to_vec()));
    bytes.fill(0);
    secret
}
