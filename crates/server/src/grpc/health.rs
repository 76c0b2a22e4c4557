//! The health service, which load balancers and Kubernetes ask.

use super::message::{Messages, framed};
use super::proto::health::health_check_response::ServingStatus;
use super::proto::health::{HealthCheckRequest, HealthCheckResponse};
use super::status::{Code, Status};
use super::stream::{frames, unary};
use super::{undecodable, unknown_method};
use crate::http::Answer;
use bytes::Bytes;
use hyper::body::Body;
use prost::Message;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// The name of the service.
const SERVICE: &str = "grpc.health.v1.Health";

/// Interval at which a watched state is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// Most bytes of a question.
const MAX_QUESTION: usize = 4 << 10;

/// The health service.
pub(crate) struct Health {
    /// The other service of the port.
    beside: &'static str,
    ready: Ready,
    messages: Messages,
}

/// Returns true while the server takes calls.
type Ready = Arc<dyn Fn() -> bool + Send + Sync>;

impl Health {
    /// The health of a port with this service.
    pub(crate) fn new(beside: &'static str, ready: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { beside, ready: Arc::new(ready), messages: Messages::new(MAX_QUESTION) }
    }

    /// Returns true if the service has this name.
    pub(crate) fn is_named(service: &str) -> bool {
        service == SERVICE
    }

    /// Answers a call. A watch ends when `stop` changes.
    pub(crate) async fn answer<B>(
        &self,
        method: &str,
        body: B,
        stop: watch::Receiver<bool>,
    ) -> Result<Answer, Status>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        if !matches!(method, "Check" | "Watch") {
            return Err(unknown_method(SERVICE, method));
        }
        let question = self.messages.read(body).await?;
        let question = HealthCheckRequest::decode(question).map_err(|error| undecodable(&error))?;
        let known = question.service.is_empty() || [self.beside, SERVICE].contains(&&*question.service);
        if method == "Watch" {
            return Ok(watched(known.then(|| Arc::clone(&self.ready)), stop));
        }
        if !known {
            return Err(Status::new(Code::NotFound, "unknown service"));
        }
        let response = response(status(&*self.ready));
        Ok(unary(|out| response.encode_raw(out)))
    }
}

fn status(ready: &(dyn Fn() -> bool + Send + Sync)) -> ServingStatus {
    if ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

/// Says the state, and again at each change. `None`: the service is unknown, and stays so.
fn watched(ready: Option<Ready>, stop: watch::Receiver<bool>) -> Answer {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = (ready, stop, ticks, None, false);
    frames(futures_util::stream::unfold(state, |(ready, mut stop, mut ticks, said, stopped)| async move {
        if stopped {
            let status = Status::new(Code::Unavailable, "the server is shutting down");
            return Some((Err(status), (ready, stop, ticks, said, stopped)));
        }
        loop {
            let (now, stopped) = tokio::select! {
                _ = ticks.tick() => {
                    let now = ready.as_ref().map_or(ServingStatus::ServiceUnknown, |ready| status(&**ready));
                    (now, false)
                }
                _ = stop.changed() => (ServingStatus::NotServing, true),
            };
            if said != Some(now) || stopped {
                let frame = framed(|out| response(now).encode_raw(out));
                return Some((Ok(frame), (ready, stop, ticks, Some(now), stopped)));
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use std::sync::atomic::{AtomicBool, Ordering};

    fn asked(service: &str) -> Full<Bytes> {
        let question = HealthCheckRequest { service: service.to_owned() };
        Full::new(framed(|out| question.encode_raw(out)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_says_every_change_and_ends_with_the_server() {
        let ready = Arc::new(AtomicBool::new(true));
        let is_ready = Arc::clone(&ready);
        let health = Health::new("a.B", move || is_ready.load(Ordering::Relaxed));
        let (stop, stopped) = watch::channel(false);
        let mut body = health.answer("Watch", asked("a.B"), stopped).await.unwrap().into_body();
        let said = |frame: hyper::body::Frame<Bytes>| frame.into_data().unwrap().to_vec();
        assert_eq!(said(body.frame().await.unwrap().unwrap()), b"\0\0\0\0\x02\x08\x01");
        ready.store(false, Ordering::Relaxed);
        assert_eq!(said(body.frame().await.unwrap().unwrap()), b"\0\0\0\0\x02\x08\x02");
        ready.store(true, Ordering::Relaxed);
        assert_eq!(said(body.frame().await.unwrap().unwrap()), b"\0\0\0\0\x02\x08\x01");
        stop.send(true).unwrap();
        assert_eq!(said(body.frame().await.unwrap().unwrap()), b"\0\0\0\0\x02\x08\x02");
        assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap()["grpc-status"], "14");
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_check_knows_the_services_of_the_port() {
        let health = Health::new("a.B", || true);
        let (_stop, stopped) = watch::channel(false);
        for service in ["", "a.B", SERVICE] {
            assert!(health.answer("Check", asked(service), stopped.clone()).await.is_ok(), "{service}");
        }
        let refused = health.answer("Check", asked("a.C"), stopped.clone()).await.unwrap_err();
        assert_eq!(refused.code, Code::NotFound);
        let refused = health.answer("Other", asked(""), stopped).await.unwrap_err();
        assert_eq!(refused.code, Code::Unimplemented);
    }
}
