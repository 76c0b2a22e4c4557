//! One proxy for one kind of event: its queue, its breaker, and the way to its back end.

use super::breaker::{Breaker, Change};
use super::failure::Failure;
use super::grpc::{self, Grpc, Incoming};
use super::headers::Headers;
use super::http::Http;
use super::json::{self, FromJson};
use super::messages::{Answered, InEnvelope, SubscribeResult};
use super::queue::{Place, Queue};
use super::request::{Event, Origin, Request};
use super::stats::Stats;
use super::stream::{self, Opened};
use crate::session::ProxyReport;
use ::http::HeaderMap;
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use serde::Serialize;
use spinward::clock::Clock;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Least time between two lines of the log about failures of one proxy.
const QUIET_MS: u64 = 10_000;

/// A way to a back end.
pub(super) enum Carrier {
    Http(Http),
    Grpc(Grpc),
    #[cfg(test)]
    Fake(Fake),
}

/// A back end of a test.
#[cfg(test)]
pub(super) struct Fake(pub(super) Box<FakeCall>);

#[cfg(test)]
type FakeCall = dyn Fn(Vec<u8>) -> spinward::answer::BoxFuture<Result<String, Failure>> + Send + Sync;

impl Carrier {
    /// Label in metrics.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Grpc(_) => "grpc",
            _ => "http",
        }
    }
}

/// A proxy for one kind of event.
pub(super) struct Endpoint {
    pub(super) event: Event,
    pub(super) name: String,
    pub(super) timeout: Duration,
    pub(super) binary: bool,
    pub(super) with_meta: bool,
    /// Subscribes in a request, at most; 0 asks about each by itself.
    pub(super) batch: usize,
    pub(super) headers: Headers,
    pub(super) carrier: Carrier,
    pub(super) queue: Arc<Queue>,
    pub(super) breaker: Mutex<Breaker>,
    /// Places for open streams.
    pub(super) streams: Arc<Semaphore>,
    pub(super) max_streams: usize,
    pub(super) clock: Clock,
    pub(super) stats: Stats,
    /// Time of the last line about failures, plus one; 0 before the first.
    pub(super) told: AtomicU64,
}

/// An encoded request.
enum Encoded {
    Http(Vec<u8>),
    Grpc(Bytes),
}

impl Endpoint {
    fn now(&self) -> u64 {
        self.clock.now().mono
    }

    /// Begins a call: everything that can fail at once does so here, before there is a future.
    pub(super) fn ask<R: FromJson + InEnvelope>(
        self: &Arc<Self>,
        request: &Request<'_>,
    ) -> Result<impl Future<Output = Result<Answered<R>, Failure>> + Send + 'static, Failure> {
        let begun = self.begin(request).inspect_err(|failure| self.note(*failure))?;
        Ok(self.answered(begun))
    }

    /// Begins a call that concerns no client, with a message that has the same fields in both encodings.
    pub(super) fn notify<R: FromJson + InEnvelope>(
        self: &Arc<Self>,
        message: &(impl Message + Serialize),
    ) -> Result<impl Future<Output = Result<Answered<R>, Failure>> + Send + 'static, Failure> {
        let encoded = match &self.carrier {
            Carrier::Grpc(_) => Ok(Encoded::Grpc(message.encode_to_vec().into())),
            _ => serde_json::to_vec(message).map(Encoded::Http).map_err(|_| Failure::Request),
        };
        let begun = encoded.and_then(|encoded| self.admit(&Origin::NONE, encoded));
        Ok(self.answered(begun.inspect_err(|failure| self.note(*failure))?))
    }

    fn answered<R: FromJson + InEnvelope>(
        self: &Arc<Self>,
        (headers, encoded, place): (HeaderMap, Encoded, Place),
    ) -> impl Future<Output = Result<Answered<R>, Failure>> + Send + 'static {
        let endpoint = Arc::clone(self);
        async move {
            let answered = endpoint.called(place, endpoint.carry(headers, encoded)).await;
            if let Err(failure) = answered {
                endpoint.note(failure);
            }
            answered
        }
    }

    /// Opens a stream. It counts among those that are open until it is dropped.
    pub(super) fn open(
        self: &Arc<Self>,
        request: &Request<'_>,
        both_ways: bool,
    ) -> Result<impl Future<Output = Result<Opened, Failure>> + Send + 'static, Failure> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| Failure::Streams);
        let begun = permit.and_then(|permit| Ok((permit, self.begin(request)?)));
        let (permit, (headers, encoded, place)) = begun.inspect_err(|failure| self.note(*failure))?;
        let endpoint = Arc::clone(self);
        Ok(async move {
            let opened = endpoint.called(place, endpoint.open_stream(headers, encoded, both_ways)).await;
            let opened = opened.inspect_err(|failure| endpoint.note(*failure))?;
            let (answered, incoming, publications) = opened;
            Ok(Opened { answered, incoming, publications, permit })
        })
    }

    async fn open_stream(
        &self,
        headers: HeaderMap,
        encoded: Encoded,
        both_ways: bool,
    ) -> Result<(Answered<SubscribeResult>, Incoming, Option<mpsc::Sender<Bytes>>), Failure> {
        let (Carrier::Grpc(grpc), Encoded::Grpc(message)) = (&self.carrier, encoded) else {
            return Err(Failure::Request);
        };
        let (mut incoming, publications) = grpc.open(headers, message, both_ways).await?;
        let answered = stream::first(&mut incoming).await?;
        Ok((answered, incoming, publications))
    }

    fn begin(&self, request: &Request<'_>) -> Result<(HeaderMap, Encoded, Place), Failure> {
        let encoded = match &self.carrier {
            Carrier::Grpc(_) => Encoded::Grpc(grpc::write(self.event, request)),
            _ => Encoded::Http(json::write(request).map_err(|_| Failure::Request)?),
        };
        self.admit(&request.origin, encoded)
    }

    fn admit(&self, origin: &Origin<'_>, encoded: Encoded) -> Result<(HeaderMap, Encoded, Place), Failure> {
        let selected = self.headers.select(origin).map_err(|_| Failure::Request)?;
        let now = self.now();
        if self.breaker.lock().refuses(now) {
            return Err(Failure::Breaker);
        }
        let longest = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        let place = self.queue.enter(now, longest).ok_or(Failure::Queue)?;
        self.stats.left_out(selected.left_out);
        Ok((selected.headers, encoded, place))
    }

    /// Waits for its turn and makes the call. Each of the two has the timeout for itself: a call that had to wait does
    /// not look like one that the back end did not answer.
    async fn called<T>(
        &self,
        place: Place,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let turn = tokio::time::timeout(self.timeout, place.turn()).await;
        // Nothing was asked of the back end: that says nothing about it.
        let Ok(Some(_turn)) = turn else { return Err(Failure::Queue) };
        if !self.breaker.lock().admits(self.now()) {
            return Err(Failure::Breaker);
        }
        let _flying = self.stats.begin();
        let begun = self.clock.micros();
        let answered = tokio::time::timeout(self.timeout, call).await;
        let answered = answered.unwrap_or(Err(Failure::Timeout));
        self.stats.took(Duration::from_micros(self.clock.micros().saturating_sub(begun)));
        let change = match &answered {
            Err(failure) if failure.is_silence() => self.breaker.lock().failed(self.now()),
            _ => self.breaker.lock().answered(),
        };
        self.tell(change);
        answered
    }

    async fn carry<R: FromJson + InEnvelope>(
        &self,
        headers: HeaderMap,
        encoded: Encoded,
    ) -> Result<Answered<R>, Failure> {
        match (&self.carrier, encoded) {
            (Carrier::Http(http), Encoded::Http(body)) => http.call(headers, body).await,
            (Carrier::Grpc(grpc), Encoded::Grpc(message)) => grpc.call(headers, message).await,
            #[cfg(test)]
            (Carrier::Fake(fake), Encoded::Http(body)) => {
                json::read(&fake.0(body).await?).map_err(|_| Failure::Malformed)
            }
            _ => Err(Failure::Request),
        }
    }

    /// Counts a failure, and tells of it unless there was a line a moment ago.
    pub(super) fn note(&self, failure: Failure) {
        self.stats.failed(failure);
        let (now, told) = (self.now(), self.told.load(Relaxed));
        if told > 0 && now < told - 1 + QUIET_MS {
            return;
        }
        if self.told.compare_exchange(told, now + 1, Relaxed, Relaxed).is_ok() {
            let (event, proxy) = (self.event.name(), self.name.as_str());
            tracing::warn!(event, proxy, %failure, "proxy request failed; more such lines are held back for 10 s");
        }
    }

    fn tell(&self, change: Option<Change>) {
        let (event, proxy) = (self.event.name(), self.name.as_str());
        match change {
            Some(Change::Opened) => {
                tracing::warn!(event, proxy, "proxy does not answer: requests are refused until it does");
            }
            Some(Change::Closed) => tracing::info!(event, proxy, "proxy answers again"),
            None => {}
        }
    }

    pub(super) fn report(&self) -> ProxyReport {
        let (_, waiting) = self.queue.counts();
        ProxyReport {
            protocol: self.carrier.name(),
            event: self.event.name(),
            name: self.name.clone(),
            open: self.breaker.lock().is_open(),
            waiting,
            streams: self.max_streams - self.streams.available_permits().min(self.max_streams),
            counts: self.stats.snapshot(),
        }
    }
}
