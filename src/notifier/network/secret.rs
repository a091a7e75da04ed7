//! Passwords and keys: never shown, and wiped from memory when the last holder is done with them.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// What a channel needs beside its settings.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Secrets {
    pub password: Option<Secret>,
    /// The first signs.
    pub hmac: Vec<Secret>,
}

/// A secret's bytes, without a line end.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new(b"s3cret".to_vec());
        let secrets = Secrets { password: Some(secret.clone()), hmac: vec![secret] };
        let shown = format!("{secrets:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("115"), "{shown}");
        assert_eq!(shown.matches("***").count(), 2);
    }
}
