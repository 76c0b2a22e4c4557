//! Bodies of requests.

use super::{Answer, plain};
use crate::patience::within;
use bytes::Bytes;
use http::header::EXPECT;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use std::error::Error;
use std::time::Duration;

/// Time a client may take to send a body: 32 MiB at 9 Mbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The same for the first message of a client, which is small.
pub(super) const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a body that are read for nothing, and how long that may take.
const MAX_SPENT: usize = 64 << 10;
const SPEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads a body of at most `max` bytes.
///
/// # Errors
/// The response to a body that is too long, too slow or broken.
pub(crate) async fn whole<B>(body: B, max: usize) -> Result<Bytes, Answer>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    within_time(body, max, BODY_TIMEOUT).await
}

/// The same for the first message of a client.
pub(crate) async fn message<B>(body: B, max: usize) -> Result<Bytes, Answer>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    within_time(body, max, MESSAGE_TIMEOUT).await
}

async fn within_time<B>(body: B, max: usize, limit: Duration) -> Result<Bytes, Answer>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    match within(limit, Limited::new(body, max).collect()).await {
        Some(Ok(body)) => Ok(body.to_bytes()),
        Some(Err(error)) if error.is::<LengthLimitError>() => {
            Err(plain(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"))
        }
        Some(Err(error)) => {
            tracing::debug!(%error, "malformed request body");
            Err(plain(StatusCode::BAD_REQUEST, "Bad Request"))
        }
        None => Err(plain(StatusCode::REQUEST_TIMEOUT, "Request Timeout")),
    }
}

/// Reads what is left of the body of a request that was answered without it, and says whether the connection can
/// go on. Without that it would end after the answer, and a client that keeps it would lose its next request.
/// A client that asks first whether to send the body is not asked for it.
pub(crate) async fn spend(request: &mut Request<Incoming>) -> bool {
    if request.body().is_end_stream() {
        return true;
    }
    if request.headers().contains_key(EXPECT) {
        return false;
    }
    let rest = Limited::new(request.body_mut(), MAX_SPENT).collect();
    tokio::time::timeout(SPEND_TIMEOUT, rest).await.is_ok_and(|rest| rest.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::{Frame, SizeHint};
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// Gives these bytes, one at a time and a second apart, and then either ends or keeps quiet.
    struct Dripping {
        left: usize,
        ends: bool,
        pause: Pin<Box<tokio::time::Sleep>>,
    }

    impl Dripping {
        fn new(left: usize, ends: bool) -> Self {
            Self { left, ends, pause: Box::pin(tokio::time::sleep(Duration::from_secs(1))) }
        }
    }

    impl Body for Dripping {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return if self.ends { Poll::Ready(None) } else { Poll::Pending };
            }
            std::task::ready!(self.pause.as_mut().poll(context));
            self.left -= 1;
            self.pause = Box::pin(tokio::time::sleep(Duration::from_secs(1)));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_thirty_seconds() {
        let status = async |left, ends, max| match whole(Dripping::new(left, ends), max).await {
            Ok(body) => (200, body.len()),
            Err(answer) => (answer.status().as_u16(), 0),
        };
        assert_eq!(status(29, true, 100).await, (200, 29));
        assert_eq!(status(60, true, 100).await, (408, 0), "however much comes meanwhile");
        assert_eq!(status(3, false, 100).await, (408, 0));
        assert_eq!(status(4, true, 4).await, (200, 4));
        assert_eq!(status(5, true, 4).await, (413, 0));
    }
}
