//! Answers of calls: the output of a connection, messages that are made one after the other, or one message.

use super::message::framed;
use super::status::{Code, GRPC, Status};
use crate::http::{Answer, Body, BodyError};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::Response;
use http::header::CONTENT_TYPE;
use hyper::body::{Body as HttpBody, Frame};
use spinward::transport::body;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Answers a call with the output of a connection, and with success once that ends in order.
pub(crate) fn stream(output: body::Body) -> Answer {
    answer(Messages(Some(output)))
}

/// Answers a call with one message, and success.
pub(crate) fn unary(write: impl FnOnce(&mut BytesMut)) -> Answer {
    answer(Unary { message: Some(framed(write)), ended: false })
}

/// Answers a call with messages in their frames. A status ends the answer; without one, success does.
pub(crate) fn frames<S>(frames: S) -> Answer
where
    S: Stream<Item = Result<Bytes, Status>> + Send + 'static,
{
    answer(Frames(Some(Box::pin(frames))))
}

fn answer<B>(body: B) -> Answer
where
    B: HttpBody<Data = Bytes, Error = BodyError> + Send + 'static,
{
    let mut answer = Response::new(Body::stream(body));
    answer.headers_mut().insert(CONTENT_TYPE, GRPC);
    answer
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

fn trailers(status: &Status) -> Polled {
    Poll::Ready(Some(Ok(Frame::trailers(status.trailers()))))
}

/// One message, and the trailers behind it.
struct Unary {
    message: Option<Bytes>,
    ended: bool,
}

impl HttpBody for Unary {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if std::mem::replace(&mut self.ended, true) { Poll::Ready(None) } else { trailers(&Status::OK) }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// Messages in their frames, and the trailers behind them. `None` once those were sent.
struct Frames<S>(Option<Pin<Box<S>>>);

impl<S: Stream<Item = Result<Bytes, Status>>> HttpBody for Frames<S> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Some(frames) = &mut self.0 else { return Poll::Ready(None) };
        let status = match ready!(frames.as_mut().poll_next(cx)) {
            Some(Ok(frame)) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
            Some(Err(status)) => status,
            None => Status::OK,
        };
        self.0 = None;
        trailers(&status)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// The messages, and the trailers behind them. `None` once those were sent.
struct Messages(Option<body::Body>);

impl HttpBody for Messages {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Some(output) = &mut self.0 else { return Poll::Ready(None) };
        let status = match ready!(Pin::new(output).poll_frame(cx)) {
            Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
            None => Status::OK,
            // A client that was too slow, or a shard that is gone.
            Some(Err(error)) => Status::new(Code::Unavailable, error.to_string()),
        };
        self.0 = None;
        trailers(&status)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}
