//! The request for a key set.

use super::super::settings::FetchSettings;
use super::set::KeySet;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, StatusCode};
use std::time::Duration;
use thiserror::Error;

/// Most bytes of an answer.
const MAX_BODY: usize = 1 << 20;
/// Requests of one fetch: a second one if the first fails.
const ATTEMPTS: usize = 2;

/// Settings that no request can be made with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    /// The certificates cannot be read.
    #[error("jwks_ca_pem: these are not PEM certificates")]
    Certificates,
    /// A header is invalid.
    #[error("jwks_headers: the header {0:?} has a name or value that is not allowed")]
    Header(String),
    /// TLS cannot be set up.
    #[error("no HTTP client can be made for jwks_public_endpoint")]
    Client,
}

/// An HTTP client that follows no redirects and uses no proxies.
pub(super) fn client(settings: &FetchSettings) -> Result<Client, FetchError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let error = || FetchError::Header(name.clone());
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| error())?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| error())?, value);
    }
    let timeout = Duration::from_millis(settings.timeout_ms.max(1));
    let mut builder = Client::builder()
        .default_headers(headers)
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .pool_max_idle_per_host(1);
    if !settings.ca_pem.is_empty() {
        let certificates =
            Certificate::from_pem_bundle(settings.ca_pem.as_bytes()).map_err(|_| FetchError::Certificates)?;
        if certificates.is_empty() {
            return Err(FetchError::Certificates);
        }
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|_| FetchError::Client)
}

/// Fetches a set. The error is for people and holds neither address nor answer.
pub(super) async fn get(client: &Client, url: &str) -> Result<KeySet, String> {
    let mut result = Err(String::new());
    for _ in 0..ATTEMPTS {
        result = attempt(client, url).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

async fn attempt(client: &Client, url: &str) -> Result<KeySet, String> {
    let request = client.get(url).header("accept", "application/json");
    let mut response = request.send().await.map_err(|error| describe(&error))?;
    if response.status() != StatusCode::OK {
        return Err(format!("the endpoint answered with status {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(format!("the answer is larger than {MAX_BODY} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    KeySet::parse(&body).map_err(|error| error.to_string())
}

fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "the endpoint did not answer in time".to_owned();
    }
    let what = if error.is_connect() {
        "no connection to the endpoint"
    } else if error.is_builder() {
        return "the address of the endpoint is unusable".to_owned();
    } else {
        "the answer of the endpoint broke off"
    };
    // Only the innermost cause says whether the port is closed, the name unknown or the certificate not trusted. The
    // outer ones repeat the address, which may have credentials in it.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    format!("{what}: {cause}")
}
