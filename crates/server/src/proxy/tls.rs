//! HTTP clients of the proxies, and their TLS.

use crate::config::typed::{Proxy, Tls};
use crate::tls::{self, TlsError};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use rustls::ClientConfig;
use std::time::Duration;
use thiserror::Error;

/// Time that a connection without a call is kept: less than the 5 s after which common back ends close theirs.
const IDLE: Duration = Duration::from_secs(4);

/// A client cannot be made.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    /// Certificates and keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The cryptography of this process.
    #[error("TLS cannot be set up: {0}")]
    Provider(#[source] rustls::Error),
    /// The client itself.
    #[error("no HTTP client can be made: {0}")]
    Client(#[source] reqwest::Error),
}

/// Makes a client for an endpoint. `path` is the section of `tls` within the options of the proxy. It follows no redirects, repeats no request and uses no proxies of the environment.
pub(super) fn client(
    options: &Proxy,
    tls: &Tls,
    path: &str,
    encrypted: bool,
    grpc: bool,
) -> Result<Client, ClientError> {
    let timeout = options.timeout.get();
    let builder = Client::builder()
        .connect_timeout(timeout)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .tcp_nodelay(true)
        .pool_idle_timeout(IDLE);
    let builder = if grpc { over_http2(builder) } else { builder };
    let mut config = config(tls, path, encrypted)?;
    config.alpn_protocols =
        if grpc { vec![b"h2".to_vec()] } else { vec![b"h2".to_vec(), b"http/1.1".to_vec()] };
    builder.tls_backend_preconfigured(config).build().map_err(ClientError::Client)
}

/// Calls share one connection, whose peer may be gone: it is asked now and then.
fn over_http2(builder: ClientBuilder) -> ClientBuilder {
    builder
        .http2_prior_knowledge()
        .http2_keep_alive_interval(Duration::from_secs(10))
        .http2_keep_alive_timeout(Duration::from_secs(5))
        .http2_keep_alive_while_idle(true)
        .pool_idle_timeout(None)
}

fn config(options: &Tls, path: &str, encrypted: bool) -> Result<ClientConfig, ClientError> {
    if encrypted {
        // Without the section, the authorities of the system count.
        let system = Tls { enabled: true, ..Tls::default() };
        if let Some(config) = tls::client(if options.enabled { options } else { &system }, path)? {
            return Ok(ClientConfig::clone(&config));
        }
    }
    if options.enabled {
        // What is written there must be right all the same, as in Centrifugo v6.9.
        tls::client(options, path)?;
    }
    // Plain connections need none, and the authorities of the system take a while to load.
    tls::trusting_nobody().map_err(ClientError::Provider)
}
