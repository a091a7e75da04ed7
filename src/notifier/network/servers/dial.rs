//! From a host's name to a connection, each step within its time.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::limited::Limited;
use super::stream::{Limits, Stream, cause};
use super::tls::{self, Authorities};
use crate::alert::outcome::{Class, Failure};
use crate::model::notify::Server;
use crate::model::time::human;

/// Connects to a server, with TLS from the first byte if there are authorities to judge it by.
///
/// # Errors
/// Of class Connection, or Configuration when the server's certificate is not right.
pub async fn connect(
    server: &Server,
    authorities: Option<&Authorities>,
    limits: &Limits,
) -> Result<Box<dyn Stream>, Failure> {
    let addresses = resolve(server, limits).await?;
    let stream = open(server, &addresses, limits).await?;
    let _ = stream.set_nodelay(true);
    let stream = Limited::new(stream, limits.received);
    match authorities {
        Some(authorities) => Ok(Box::new(tls::start(stream, server, authorities, limits).await?)),
        None => Ok(Box::new(stream)),
    }
}

/// The addresses of a server, at least one. An address as its name costs no look-up.
///
/// # Errors
/// Of class Connection: no such name is a failure of today, too.
pub async fn resolve(server: &Server, limits: &Limits) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(address) = server.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, server.port)]);
    }
    let failure = |words: &dyn std::fmt::Display| {
        Failure::new(Class::Connection, format!("{server}: cannot find the address of {}: {words}", server.host))
    };
    let found = match timeout(limits.resolve, lookup_host((server.host.as_str(), server.port))).await {
        Ok(found) => found.map_err(|error| failure(&lookup_words(&error)))?,
        Err(_) => return Err(failure(&format_args!("no answer within {}", human(limits.resolve)))),
    };
    let found: Vec<_> = found.collect();
    if found.is_empty() { Err(failure(&"it has none")) } else { Ok(found) }
}

/// Without what the standard library says before it.
fn lookup_words(error: &io::Error) -> String {
    let words = error.to_string();
    words.strip_prefix("failed to lookup address information: ").unwrap_or(&words).to_owned()
}

/// Tries each address; one that does not answer leaves the next ones their share of the time.
async fn open(server: &Server, addresses: &[SocketAddr], limits: &Limits) -> Result<TcpStream, Failure> {
    let end = Instant::now() + limits.connect;
    let mut words = String::new();
    for (at, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        let share = end.saturating_duration_since(Instant::now()) / others;
        words = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => cause(&error),
            Err(_) => format!("no answer within {}", human(limits.connect)),
        };
    }
    Err(Failure::new(Class::Connection, format!("{server}: cannot connect: {words}")))
}
