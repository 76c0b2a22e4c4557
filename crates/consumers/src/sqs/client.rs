//! Requests to SQS, signed.

use super::answer::Refusal;
use super::config::{Config, Error, address};
use crate::http::Http;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use reqsign_aws_v4::{
    AssumeRoleCredentialProvider, Credential, DefaultCredentialProvider, RequestSigner,
    StaticCredentialProvider,
};
use reqsign_core::hash::hex_sha256;
use reqsign_core::{Context, HttpSend, OsEnv, Signer};
use reqsign_file_read_tokio::TokioFileRead;
use reqwest::Url;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;

/// Time that an answer may take, beside the wait for messages.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest answer: ten messages of 1 MiB, each byte of which may be an escape of six.
const LONGEST: usize = 64 << 20;

/// Longest answer about credentials.
const LONGEST_CREDENTIALS: usize = 1 << 20;

/// Time that an answer about credentials may take. Not all of the places that are asked exist.
const CREDENTIALS: Duration = Duration::from_secs(5);

/// A queue, and the way to it.
pub(super) struct Client {
    http: Http,
    signer: Signer<Credential>,
    endpoint: Url,
}

impl Client {
    /// A client for a queue.
    pub(super) fn new(config: &Config, queue: &str) -> Result<Self, Error> {
        let queue = address("queues", queue)?;
        let region = config.region(&queue)?;
        let http = Http::new()?;
        let endpoint = match config.endpoint.is_empty() {
            true => queue,
            false => address("localstack_endpoint", &config.endpoint)?,
        };
        let endpoint = endpoint.join("/").map_err(|_| Error::Address("queues", endpoint.to_string()))?;
        Ok(Self { signer: signer(config, &region, &http), http, endpoint })
    }

    /// Makes a request. `wait` is the time that SQS waits before it answers.
    pub(super) async fn call<A: DeserializeOwned>(
        &self,
        action: &'static str,
        body: &impl Serialize,
        wait: Duration,
    ) -> Result<A, Error> {
        let body = serde_json::to_vec(body).map_err(|_| Error::Answer(action))?;
        let request = http::Request::post(self.endpoint.as_str())
            .header(CONTENT_TYPE, "application/x-amz-json-1.0")
            .header("x-amz-target", format!("AmazonSQS.{action}"))
            .header("x-amz-content-sha256", hex_sha256(&body))
            .body(Bytes::from(body))
            .map_err(|_| Error::Address("queues", self.endpoint.to_string()))?;
        let (mut parts, body) = request.into_parts();
        self.signer.sign(&mut parts, None).await.map_err(credentials)?;
        let request = http::Request::from_parts(parts, body);
        let reply = self.http.send(request, wait + ANSWER, LONGEST).await?;
        if !reply.status.is_success() {
            let refusal: Refusal = serde_json::from_slice(&reply.body).unwrap_or_default();
            let code = match refusal.code() {
                "" => "without a code",
                code => code,
            };
            let code = code.chars().take(64).collect();
            return Err(Error::Refused { action, status: reply.status.as_u16(), code });
        }
        // Some servers answer with nothing where there is nothing to say.
        let body = if reply.body.is_empty() { b"{}" } else { &*reply.body };
        serde_json::from_slice(body).map_err(|_| Error::Answer(action))
    }
}

/// Errors of the library may quote what a service said: only the kind is told, and the message of the library.
fn credentials(error: reqsign_core::Error) -> Error {
    Error::Credentials(error.to_string())
}

fn signer(config: &Config, region: &str, http: &Http) -> Signer<Credential> {
    let context =
        Context::new().with_file_read(TokioFileRead).with_http_send(Sender(http.clone())).with_env(OsEnv);
    let of = |service| RequestSigner::new(service, region);
    if !config.endpoint.is_empty() {
        return Signer::new(context, StaticCredentialProvider::new("test", "test"), of("sqs"));
    }
    let base = DefaultCredentialProvider::builder().no_process();
    let base = match config.profile.is_empty() {
        true => base,
        // A profile that is named is used, whatever the environment holds.
        false => base.no_env().no_web_identity().no_ecs().no_imds().with_profile(&config.profile),
    };
    let base = base.build();
    if config.role.is_empty() {
        return Signer::new(context, base, of("sqs"));
    }
    let assumed =
        AssumeRoleCredentialProvider::new(config.role.clone(), Signer::new(context.clone(), base, of("sts")))
            .with_role_session_name("spinward".to_owned())
            .with_region(region.to_owned())
            .with_regional_sts_endpoint();
    Signer::new(context, assumed, of("sqs"))
}

/// Requests for credentials.
struct Sender(Http);

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl HttpSend for Sender {
    async fn http_send(&self, request: http::Request<Bytes>) -> reqsign_core::Result<http::Response<Bytes>> {
        let reply = self.0.send(request, CREDENTIALS, LONGEST_CREDENTIALS).await;
        let reply = reply.map_err(|error| reqsign_core::Error::unexpected(error.to_string()))?;
        let mut response = http::Response::new(reply.body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        Ok(response)
    }
}
