//! Bodies of the responses of this module's services.

use super::sockjs::Output;
pub use crate::mailbox::pipe::CutOff;
use crate::mailbox::pipe::PulledBody;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of a response: a short text, or the output of a connection, which ends when the connection does.
///
/// Dropping the body of a connection ends that connection. One of SockJS may end sooner, and leave the connection to the
/// next response.
pub struct Body(Content);

enum Content {
    Full(Full<Bytes>),
    Pulled(PulledBody),
    SockJs(Box<Output>),
}

impl Body {
    pub(super) const fn pulled(body: PulledBody) -> Self {
        Self(Content::Pulled(body))
    }

    pub(super) fn sockjs(output: Output) -> Self {
        Self(Content::SockJs(Box::new(output)))
    }
}

impl From<Full<Bytes>> for Body {
    fn from(body: Full<Bytes>) -> Self {
        Self(Content::Full(body))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match &mut self.0 {
            Content::Full(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Content::Pulled(body) => Pin::new(body).poll_frame(cx),
            Content::SockJs(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Full(body) => body.is_end_stream(),
            Content::Pulled(body) => body.is_end_stream(),
            Content::SockJs(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Full(body) => HttpBody::size_hint(body),
            Content::Pulled(body) => body.size_hint(),
            Content::SockJs(body) => body.size_hint(),
        }
    }
}
