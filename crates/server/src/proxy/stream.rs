//! Streams of the subscribe stream proxy: the back end answers a subscribe with a stream of publications, over gRPC.
//!
//! A message is read when the connection of the client has taken the one before, so that a client that reads slowly
//! holds back its back end by the flow control of HTTP/2, and nothing piles up here. Dropping a stream cancels it at
//! the back end.

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::grpc::{Incoming, framed};
use super::messages::{Answered, Publication, StreamSubscribeResponse, SubscribeResult};
use crate::session::OpenStream;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame};
use parking_lot::Mutex;
use prost::Message;
use prost::encoding::bytes as wire_bytes;
use spinward::Client;
use spinward::answer::BoxFuture;
use spinward::wire::code::UnsubscribeCode;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Publications of one client that wait to be sent to its back end. Its next command waits for a place.
const WAITING: usize = 16;

/// The body of a request that goes on after its first message.
pub(super) struct Outgoing {
    first: Option<Bytes>,
    /// The lock makes it [`Sync`], as a body has to be. Nobody else ever holds it.
    publications: Mutex<mpsc::Receiver<Bytes>>,
    compression: bool,
}

impl Outgoing {
    /// Begins with a subscribe request; publications follow.
    pub(super) fn new(request: &Bytes, compression: bool) -> (Self, mpsc::Sender<Bytes>) {
        let (sender, publications) = mpsc::channel(WAITING);
        let first = Some(framed(&field(1, request), compression).into());
        (Self { first, publications: Mutex::new(publications), compression }, sender)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let compression = self.compression;
        self.publications.get_mut().poll_recv(cx).map(|data| {
            let publication = field(2, &field(4, &data?));
            Some(Ok(Frame::data(framed(&publication, compression).into())))
        })
    }
}

/// A field of bytes, or of a message.
fn field(number: u32, value: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(value.len() + 8);
    wire_bytes::encode(number, value, &mut out);
    out.freeze()
}

/// A stream whose first message has come.
pub(super) struct Opened {
    pub(super) answered: Answered<SubscribeResult>,
    pub(super) incoming: Incoming,
    pub(super) publications: Option<mpsc::Sender<Bytes>>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// Reads the first message, which has to be the answer to the subscribe.
pub(super) async fn first(incoming: &mut Incoming) -> Result<Answered<SubscribeResult>, Failure> {
    let message = incoming.next().await?.ok_or(Failure::Malformed)?;
    let message = StreamSubscribeResponse::decode(message).map_err(|_| Failure::Malformed)?;
    message.subscribe_response.map(Answered::from).ok_or(Failure::Malformed)
}

impl Opened {
    /// The stream, for the session.
    pub(super) fn into_stream(self, endpoint: Arc<Endpoint>) -> OpenStream {
        let Self { incoming, publications, permit, .. } = self;
        OpenStream {
            run: Box::new(move |client: Client, channel: Arc<str>| -> BoxFuture<UnsubscribeCode> {
                Box::pin(async move {
                    let ended = deliver(incoming, &client, &channel).await;
                    drop(permit);
                    ended.unwrap_or_else(|failure| {
                        endpoint.note(failure);
                        UnsubscribeCode::INSUFFICIENT_STATE
                    })
                })
            }),
            publications,
        }
    }
}

/// Delivers publications until the stream ends.
async fn deliver(mut incoming: Incoming, client: &Client, channel: &str) -> Result<UnsubscribeCode, Failure> {
    while let Some(message) = incoming.next().await? {
        let message = StreamSubscribeResponse::decode(message).map_err(|_| Failure::Malformed)?;
        let Some(Publication { data, tags }) = message.publication else { continue };
        let tags = (!tags.is_empty()).then(|| Arc::new(tags.into_iter().collect()));
        if !client.deliver(channel, data, tags).await {
            break;
        }
    }
    Ok(UnsubscribeCode::SERVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_request_goes_on_after_its_first_message() {
        let (mut body, sender) = Outgoing::new(&Bytes::from_static(b"\x0a\x01c"), false);
        let mut next = async || body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
        assert_eq!(next().await.unwrap(), &b"\0\0\0\0\x05\x0a\x03\x0a\x01c"[..], "the subscribe request");
        sender.send("{}".into()).await.unwrap();
        assert_eq!(next().await.unwrap(), &b"\0\0\0\0\x06\x12\x04\x22\x02{}"[..], "a publication");
        drop(sender);
        assert_eq!(next().await, None, "the client is gone");
    }
}
