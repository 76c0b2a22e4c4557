//! Responses: their bodies, and the short ones that every endpoint gives.

use crate::admission::Refused;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, SizeHint};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A response of an endpoint.
pub(crate) type Answer = Response<Body>;

/// Error of a streamed body. It ends the response, and the connection where HTTP has no other way to say so.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

type Streamed = dyn hyper::body::Body<Data = Bytes, Error = BodyError> + Send;

/// Body of a response: in memory as a whole, or streamed.
pub(crate) struct Body(Kind);

enum Kind {
    Full(Full<Bytes>),
    Streamed(Pin<Box<Streamed>>),
}

impl Body {
    /// A body that is made while it is sent. It is polled when the peer has taken what was there before.
    pub(crate) fn stream<B>(body: B) -> Self
    where
        B: hyper::body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Self(Kind::Streamed(Box::pin(body)))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self(Kind::Full(Full::default()))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(Kind::Full(Full::new(bytes.into())))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Full(_) => "Body(full)",
            Kind::Streamed(_) => "Body(streamed)",
        })
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            Kind::Full(body) => {
                Pin::new(body).poll_frame(context).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            Kind::Streamed(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(body) => body.is_end_stream(),
            Kind::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(body) => body.size_hint(),
            Kind::Streamed(body) => body.size_hint(),
        }
    }
}

/// A response that the library gives.
pub(crate) fn from_library(response: Response<Full<Bytes>>) -> Answer {
    response.map(|body| Body(Kind::Full(body)))
}

/// The response to a connection that is not taken.
pub(crate) fn refused(refused: Refused) -> Answer {
    let (status, seconds) = refused.status();
    let mut response = plain(status, status.canonical_reason().unwrap_or_default());
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

/// The same with a body that is the output of a connection.
pub(crate) fn from_pulled(response: Response<spinward::transport::body::Body>) -> Answer {
    response.map(|body| Body::stream(body.map_err(Into::into)))
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response
}

/// A short text for people.
pub(crate) fn plain(status: StatusCode, text: &str) -> Answer {
    plain_line(status, format!("{text}\n"))
}

/// The same without a line feed.
pub(crate) fn plain_line(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut response = typed("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}

/// A response of this content type.
pub(crate) fn typed(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Body::from(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_when_to_try_again() {
        for cause in crate::admission::ALL {
            let answer = refused(cause);
            assert!(matches!(answer.status().as_u16(), 429 | 503), "{cause:?}");
            assert!(answer.headers()[RETRY_AFTER].to_str().unwrap().parse::<u32>().unwrap() > 0);
        }
    }
}
