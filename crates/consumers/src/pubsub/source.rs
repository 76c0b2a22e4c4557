//! The source: pulls messages, has them carried out, and acknowledges them.

use super::answer::{Pulled, Refusal, Taken};
use super::config::{Config, Error};
use super::token::Tokens;
use crate::consumer::{Running, Source};
use crate::http::{Http, HttpError};
use crate::lease::{self, Leasing};
use crate::worker::Worker;
use bytes::Bytes;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Time that a message is leased for: the shortest that there is, so that those of a node that was killed come again
/// soon.
const LEASE: Duration = Duration::from_secs(10);

/// Time that an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Time that the service may wait for messages before it answers.
const PULL: Duration = Duration::from_secs(100);

/// Longest answer. A message has up to 10 MB, in base64.
const LONGEST: usize = 64 << 20;

/// Most messages of one request.
const AT_ONCE: usize = 1_000;

/// Subscriptions of a project.
pub struct Subscriptions(Vec<Arc<Subscription>>);

/// A subscription.
struct Subscription {
    http: Http,
    tokens: Option<Arc<Tokens>>,
    name: String,
    url: String,
    most: usize,
    most_bytes: usize,
    /// Most messages of one request: fewer after an answer that was too long.
    at_once: AtomicUsize,
}

impl Subscriptions {
    /// A source that is not connected yet.
    ///
    /// # Errors
    /// An option is not valid.
    pub fn new(config: &Config) -> Result<Self, Error> {
        config.check()?;
        let http = Http::new()?;
        let (base, tokens) = match config.emulator.as_str() {
            "" => {
                let tokens = Tokens::new(&config.credentials, http.clone())?;
                ("https://pubsub.googleapis.com".to_owned(), Some(Arc::new(tokens)))
            }
            host => (format!("http://{host}"), None),
        };
        reqwest::Url::parse(&base).map_err(|_| Error::Emulator)?;
        let most = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let one = |name: &String| {
            let url = format!("{base}/v1/projects/{}/subscriptions/{name}", config.project);
            Arc::new(Subscription {
                http: http.clone(),
                tokens: tokens.clone(),
                name: format!("subscription {name}"),
                url,
                most: most(config.most),
                most_bytes: most(config.most_bytes),
                at_once: AtomicUsize::new(AT_ONCE),
            })
        };
        Ok(Self(config.subscriptions.iter().map(one).collect()))
    }
}

impl Source for Subscriptions {
    fn run(self: Arc<Self>, worker: Worker) -> Running {
        lease::run(self.0.clone(), 1, worker)
    }
}

impl Subscription {
    async fn call<A: DeserializeOwned>(
        &self,
        action: &'static str,
        body: &Value,
        time: Duration,
    ) -> Result<A, Error> {
        let mut request = http::Request::post(format!("{}:{action}", self.url))
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::from(body.to_string()))
            .map_err(|_| Error::Emulator)?;
        if let Some(tokens) = &self.tokens {
            let header = tokens.header().await.map_err(|error| Error::Token(error.to_string()))?;
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        let reply = self.http.send(request, time, LONGEST).await?;
        if !reply.status.is_success() {
            if let (StatusCode::UNAUTHORIZED, Some(tokens)) = (reply.status, &self.tokens) {
                tokens.forget().await;
            }
            let refusal: Refusal = serde_json::from_slice(&reply.body).unwrap_or_default();
            let code = match refusal.error.status.as_str() {
                "" => "without a code",
                code => code,
            };
            let code = code.chars().take(64).collect();
            return Err(Error::Refused { action, status: reply.status.as_u16(), code });
        }
        serde_json::from_slice(&reply.body).map_err(|_| Error::Answer(action))
    }

    async fn deadline(&self, leases: &[&Taken], time: Duration) -> Result<(), Error> {
        let body = json!({ "ackIds": acks(leases), "ackDeadlineSeconds": time.as_secs() });
        self.call::<IgnoredAny>("modifyAckDeadline", &body, ANSWER).await.map(drop)
    }
}

fn acks<'a>(leases: &[&'a Taken]) -> Vec<&'a str> {
    leases.iter().map(|taken| &*taken.ack).collect()
}

impl Leasing for Subscription {
    type Lease = Taken;
    type Error = Error;

    fn name(&self) -> &str {
        &self.name
    }

    fn most(&self) -> usize {
        self.most
    }

    fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    fn batch(&self) -> usize {
        100
    }

    fn keep(&self) -> Duration {
        LEASE / 3
    }

    async fn take(&self, room: usize, wait: Duration) -> Result<Vec<Taken>, Error> {
        let at_once = self.at_once.load(Relaxed);
        // A short wait is not asked for: the service sets its own, and a request that is dropped may have
        // taken messages.
        let immediately = wait <= lease::SHORT;
        let body = json!({ "maxMessages": room.min(at_once), "returnImmediately": immediately });
        match self.call("pull", &body, PULL).await {
            Ok(Pulled { received_messages }) => Ok(received_messages.into_iter().map(Taken::from).collect()),
            Err(Error::Http(error @ HttpError::TooLarge(_))) => {
                // The messages come again when their deadline has passed.
                self.at_once.store((room.min(at_once) / 2).max(1), Relaxed);
                Err(error.into())
            }
            Err(error) => Err(error),
        }
    }

    async fn forget(&self, leases: &[&Taken]) -> Result<(), Error> {
        self.call::<IgnoredAny>("acknowledge", &json!({ "ackIds": acks(leases) }), ANSWER).await.map(drop)
    }

    async fn prolong(&self, leases: &[&Taken]) -> Result<(), Error> {
        self.deadline(leases, LEASE).await
    }

    async fn give_back(&self, leases: &[&Taken]) -> Result<(), Error> {
        self.deadline(leases, Duration::ZERO).await
    }
}
