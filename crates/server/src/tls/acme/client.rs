//! Requests to the ACME server, by the HTTP client of this process.

use crate::config::catalogue::Pem;
use crate::tls::load::{TlsError, certificates};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use reqwest::{Certificate, Client};
use rustls::pki_types::CertificateDer;
use std::pin::Pin;
use std::time::Duration;

/// Time that a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const MAX_BODY: usize = 1 << 20;

/// The certificate authorities of the ACME server, if they are not those of the system.
pub(super) fn authorities(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    if pem.0.is_empty() {
        return Ok(Vec::new());
    }
    certificates(pem, "http_server.tls_autocert.server_ca_pem")
}

/// An HTTP client that follows no redirects.
pub(super) struct Requests(Client);

impl Requests {
    pub(super) fn new(authorities: &[CertificateDer<'static>]) -> Result<Self, Error> {
        let mut builder =
            Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).referer(false);
        if !authorities.is_empty() {
            let certificates = authorities.iter().map(|der| Certificate::from_der(der));
            let certificates = certificates.collect::<Result<Vec<_>, _>>();
            builder = builder.tls_certs_only(certificates.map_err(|error| Error::Other(error.into()))?);
        }
        builder.build().map(Self).map_err(|error| Error::Other(error.into()))
    }
}

impl HttpClient for Requests {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move { send(client, request).await.map_err(Error::Other) })
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn send(client: Client, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, AnyError> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let url = parts.uri.to_string();
    let mut answer = client
        .request(parts.method, url)
        .headers(parts.headers)
        .body(body)
        .send()
        .await
        .map_err(innermost)?;
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        headers.clone_from(answer.headers());
    }
    let mut whole = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if whole.len() + chunk.len() > MAX_BODY {
            return Err(format!("the answer is larger than {MAX_BODY} bytes").into());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(BytesResponse::from(response.body(Full::new(Bytes::from(whole)))?))
}

/// The cause that says what is wrong: the port is closed, the name unknown or the certificate not trusted.
fn innermost(error: reqwest::Error) -> AnyError {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    format!("no connection to the ACME server: {cause}").into()
}
