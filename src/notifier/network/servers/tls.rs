//! TLS as every channel uses it: the server is always verified, by the system's authorities or by the
//! configured ones alone, and what is wrong with it is told so that somebody can mend it.

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, Error, InvalidMessage, RootCertStore};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::stream::{Limits, Stream, cause};
use crate::alert::outcome::{Class, Failure};
use crate::model::notify::Server;
use crate::model::text;
use crate::model::time::{WallTime, human, rfc3339_millis};

/// By whom and as whom a server has to be certified.
pub struct Authorities {
    /// PEM of the only ones that count, instead of the system's.
    own: Option<String>,
    /// The name in the certificate, if it is not the host's.
    server_name: Option<String>,
    /// Read once for each configuration, when it is first needed.
    config: OnceCell<Arc<ClientConfig>>,
}

impl Authorities {
    pub fn new(own: Option<&str>, server_name: Option<&str>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self { own: owned(own), server_name: owned(server_name), config: OnceCell::new() }
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let own = self.own.clone();
        // The system's store is some hundred files.
        let load = || async move {
            let loaded = tokio::task::spawn_blocking(move || config(own.as_deref())).await;
            loaded.unwrap_or_else(|_| Err("the store of certificate authorities cannot be read".to_owned()))
        };
        self.config.get_or_try_init(load).await.cloned()
    }
}

fn config(own: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = own {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("the configured CA is not PEM: {error}"))?;
            roots.add(certificate).map_err(|error| format!("the configured CA is no certificate: {error}"))?;
        }
        if roots.is_empty() {
            return Err("the configured CA holds no certificate".to_owned());
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(
                "the system has no certificate authorities: install ca-certificates, or set `ca_file`".to_owned()
            );
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Encrypts a connection.
///
/// # Errors
/// Of class Configuration when it is no TLS or a wrong certificate; of class Connection when it ends
/// within, or takes too long.
pub async fn start<S: Stream>(
    stream: S,
    server: &Server,
    authorities: &Authorities,
    limits: &Limits,
) -> Result<TlsStream<S>, Failure> {
    let failure = |class, words: String| Failure::new(class, format!("{server}: TLS: {words}"));
    let name = authorities.server_name.as_ref().unwrap_or(&server.host);
    let expected = ServerName::try_from(name.clone())
        .map_err(|_| failure(Class::Configuration, format!("{} is no name of a server", text::quoted(name))))?;
    let config = authorities.config().await.map_err(|words| failure(Class::Configuration, words))?;
    match timeout(limits.tls, TlsConnector::from(config).connect(expected, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            let (class, words) = judge(&error, name);
            Err(failure(class, words))
        }
        Err(_) => Err(failure(Class::Connection, format!("no handshake within {}", human(limits.tls)))),
    }
}

/// What is wrong, and whether somebody has to change something.
fn judge(error: &io::Error, name: &str) -> (Class, String) {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return (Class::Connection, cause(error));
    };
    let words = match error {
        Error::InvalidCertificate(reason) => format!("the certificate for {name} is not valid: {}", fault(reason)),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS from the first byte (does it want STARTTLS, or none?)".to_owned()
        }
        other => other.to_string(),
    };
    (Class::Configuration, text::escaped(&words).into_owned())
}

fn fault(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => {
            "none of the trusted authorities has issued it (set `ca_file` if it is one of your own)".to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => format!("it expired on {}", day(*not_after)),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("it is not valid before {}", day(*not_before))
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().take(5).map(|name| bare(name)).collect();
            format!("it is for {} (set `server_name` if that is right)", names.join(", "))
        }
        CertificateError::BadSignature => "the authority that it names has not signed it".to_owned(),
        other => other.to_string(),
    }
}

/// `mail.example` of `DnsName("mail.example")`, as rustls gives names.
fn bare(name: &str) -> &str {
    let quoted = name.split_once("(\"").and_then(|(_, rest)| rest.strip_suffix("\")"));
    quoted.unwrap_or(name)
}

fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    WallTime::from_second(seconds).map_or_else(|_| "an impossible day".to_owned(), rfc3339_millis)
}
