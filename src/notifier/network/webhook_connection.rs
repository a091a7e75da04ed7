//! A connection for a webhook, each phase under a limit of time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::alert::outcome::{Class, Failure};
use crate::model::notify::Server;
use crate::model::text::escaped;

/// Takes the lines of a conversation.
pub type Tell = Option<Box<dyn Fn(String) + Send + Sync>>;

/// How long each step with a server may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub resolve: Duration,
    pub connect: Duration,
    pub tls: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { resolve: seconds(5), connect: seconds(10), tls: seconds(15) }
    }
}

/// By whom a server has to be certified.
pub struct Authorities(Option<String>, Option<String>);

impl Authorities {
    pub fn new(own: Option<&str>, server_name: Option<&str>) -> Self {
        Self(own.map(str::to_owned), server_name.map(str::to_owned))
    }
}

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Connects to the first address that answers; with TLS checks the certificate.
///
/// # Errors
/// Says which phase failed, and why.
pub async fn connect(
    server: &Server,
    authorities: Option<&Authorities>,
    limits: &Limits,
) -> Result<Box<dyn Stream>, Failure> {
    let failed = |words: &str, error: io::Error| {
        Failure::new(Class::Connection, format!("{words} {server}: {}", escaped(&error.to_string())))
    };
    let late = |words: &str| Failure::new(Class::Connection, format!("{words} {server} takes too long"));
    let resolving = timeout(limits.resolve, lookup_host((server.host.as_str(), server.port)));
    let found = resolving.await.map_err(|_| late("resolving"))?.map_err(|error| failed("resolving", error))?;
    let mut stream = Err(late("connecting to"));
    for address in found {
        stream = match timeout(limits.connect, TcpStream::connect(address)).await {
            Ok(result) => result.map_err(|error| failed("connecting to", error)),
            Err(_) => Err(late("connecting to")),
        };
        if stream.is_ok() {
            break;
        }
    }
    let stream = stream?;
    let Some(Authorities(ca, server_name)) = authorities else { return Ok(Box::new(stream)) };
    let refused = |words: String| Failure::new(Class::Configuration, words);
    let name = ServerName::try_from(server_name.clone().unwrap_or_else(|| server.host.clone()))
        .map_err(|_| refused(format!("{server} is no name for TLS")))?;
    let connector = TlsConnector::from(Arc::new(settings(ca.as_deref()).map_err(refused)?));
    let shaking = timeout(limits.tls, connector.connect(name, stream));
    let stream = shaking.await.map_err(|_| late("the TLS handshake with"))?;
    let stream = stream.map_err(|error| refused(format!("TLS with {server}: {}", escaped(&error.to_string()))))?;
    Ok(Box::new(stream))
}

fn settings(ca: Option<&str>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| format!("ca_file: {error}"))?;
                roots.add(certificate).map_err(|error| format!("ca_file: {error}"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
