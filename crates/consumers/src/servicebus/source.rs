//! The source: receives messages, has them carried out, and completes them.

use super::answer::Taken;
use super::config::{Config, Error};
use super::token::Credentials;
use crate::consumer::{Running, Source};
use crate::http::{Http, Reply};
use crate::lease::{self, Lease as _, Leasing};
use crate::worker::Worker;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{Method, StatusCode};
use reqwest::Url;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Longest wait for a message, and so the time after which a node that was killed no longer takes one.
const WAIT: Duration = Duration::from_secs(30);

/// Time that an answer may take, beside the wait.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest answer: a message has up to 100 MB.
const LONGEST: usize = 128 << 20;

/// Queues of a namespace.
pub struct Queues {
    queues: Vec<Arc<Queue>>,
    readers: u32,
}

/// A queue.
struct Queue {
    http: Http,
    credentials: Arc<Credentials>,
    name: String,
    url: Url,
    most: usize,
    /// Time that the lock of the last message lasts, in milliseconds.
    lasts: AtomicU64,
}

impl Queues {
    /// A source that is not connected yet.
    ///
    /// # Errors
    /// An option is not valid.
    pub fn new(config: &Config) -> Result<Self, Error> {
        config.check()?;
        let http = Http::new()?;
        let (credentials, base) = Credentials::new(&config.login, http.clone())?;
        let credentials = Arc::new(credentials);
        let queue = |name: &String| {
            let mut url = base.clone();
            // A queue in a folder is called FOLDER/QUEUE.
            url.path_segments_mut().map_err(|()| Error::Namespace)?.clear().extend(name.split('/'));
            Ok(Arc::new(Queue {
                http: http.clone(),
                credentials: Arc::clone(&credentials),
                name: format!("queue {name}"),
                url,
                most: usize::try_from(config.most).unwrap_or(1),
                lasts: AtomicU64::new(5_000),
            }))
        };
        let queues = config.queues.iter().map(queue).collect::<Result<_, Error>>()?;
        Ok(Self { queues, readers: config.readers })
    }
}

impl Source for Queues {
    fn run(self: Arc<Self>, worker: Worker) -> Running {
        lease::run(self.queues.clone(), self.readers, worker)
    }
}

impl Queue {
    async fn call(
        &self,
        (method, action): (Method, &'static str),
        url: &Url,
        time: Duration,
    ) -> Result<Reply, Error> {
        let mut request = http::Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(|_| Error::Namespace)?;
        let header = self.credentials.header(&self.url).await;
        let header = header.map_err(|error| Error::Token(error.to_string()))?;
        request.headers_mut().insert(AUTHORIZATION, header);
        request.headers_mut().insert(CONTENT_LENGTH, 0.into());
        let reply = self.http.send(request, time, LONGEST).await?;
        if !reply.status.is_success() {
            if reply.status == StatusCode::UNAUTHORIZED {
                self.credentials.forget().await;
            }
            return Err(Error::Refused { action, status: reply.status.as_u16() });
        }
        Ok(reply)
    }

    /// Makes a request about each of several messages.
    async fn of_each(&self, method: Method, action: &'static str, leases: &[&Taken]) -> Result<(), Error> {
        for taken in leases {
            let mut url = self.url.clone();
            let mut path = url.path_segments_mut().map_err(|()| Error::Namespace)?;
            path.extend(["messages", taken.id(), &*taken.lock]);
            drop(path);
            self.call((method.clone(), action), &url, ANSWER).await?;
        }
        Ok(())
    }
}

impl Leasing for Queue {
    type Lease = Taken;
    type Error = Error;

    fn name(&self) -> &str {
        &self.name
    }

    fn most(&self) -> usize {
        self.most
    }

    fn batch(&self) -> usize {
        1
    }

    fn keep(&self) -> Duration {
        Duration::from_millis(self.lasts.load(Relaxed)) / 3
    }

    /// Takes one: the API has no batches.
    async fn take(&self, _: usize, wait: Duration) -> Result<Vec<Taken>, Error> {
        let wait = wait.min(WAIT);
        let mut url = self.url.clone();
        url.path_segments_mut().map_err(|()| Error::Namespace)?.extend(["messages", "head"]);
        url.query_pairs_mut().append_pair("timeout", &wait.as_secs().to_string());
        let reply = self.call((Method::POST, "peek-lock"), &url, wait + ANSWER).await?;
        if reply.status == StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        let taken = Taken::new(reply).ok_or(Error::Answer("peek-lock"))?;
        self.lasts.store(u64::try_from(taken.lasts.as_millis()).unwrap_or(5_000), Relaxed);
        Ok(vec![taken])
    }

    async fn forget(&self, leases: &[&Taken]) -> Result<(), Error> {
        self.of_each(Method::DELETE, "complete", leases).await
    }

    async fn prolong(&self, leases: &[&Taken]) -> Result<(), Error> {
        self.of_each(Method::POST, "renew-lock", leases).await
    }

    async fn give_back(&self, leases: &[&Taken]) -> Result<(), Error> {
        self.of_each(Method::PUT, "unlock", leases).await
    }
}
