//! The message of a call: a byte that tells of compression, the length in four bytes, and the message.

use super::status::{Code, Status};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use std::error::Error;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Bytes before a message.
const HEAD: usize = 5;

const CUT_SHORT: &str = "a message that is cut short";

/// Time that a client may take to send its message.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A message above this size is a large one.
const LARGE: usize = 64 << 10;

/// Large messages that are read at a time. Others wait.
const LARGE_AT_A_TIME: usize = 16;

/// Reads the messages of calls.
pub(crate) struct Messages {
    max: usize,
    large: Semaphore,
}

impl Messages {
    /// Reads messages of at most `max` bytes.
    pub(crate) const fn new(max: usize) -> Self {
        Self { max, large: Semaphore::const_new(LARGE_AT_A_TIME) }
    }

    /// Reads the one message of a call that the client does not stream.
    pub(crate) async fn read<B>(&self, body: B) -> Result<Bytes, Status>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let read = tokio::time::timeout(TIMEOUT, self.whole(body)).await;
        read.unwrap_or_else(|_| Err(Status::new(Code::DeadlineExceeded, "the request took too long")))
    }

    async fn whole<B>(&self, body: B) -> Result<Bytes, Status>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let mut body = std::pin::pin!(body);
        let mut bytes = BytesMut::new();
        let (mut whole, mut permit) = (None, None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Status::new(Code::Internal, error.into().to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            bytes.extend_from_slice(&data);
            // A length over the limit is refused before its message has come.
            if whole.is_none() && bytes.len() >= HEAD {
                whole = Some(length(&bytes, self.max)?);
                if whole > Some(LARGE) {
                    permit = self.large.acquire().await.ok();
                }
            }
            if whole.is_some_and(|whole| bytes.len() > whole) {
                return Err(Status::new(Code::Internal, "more than one message in a call that has one"));
            }
        }
        if whole != Some(bytes.len()) {
            return Err(Status::new(Code::Internal, CUT_SHORT));
        }
        drop(permit);
        bytes.advance(HEAD);
        Ok(bytes.freeze())
    }
}

/// Reads the messages of a call that the client streams, one after the other.
pub(crate) struct Incoming<B> {
    body: Pin<Box<B>>,
    bytes: BytesMut,
    max: usize,
}

impl<B> Incoming<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    /// Reads messages of at most `max` bytes each.
    pub(crate) fn new(body: B, max: usize) -> Self {
        Self { body: Box::pin(body), bytes: BytesMut::new(), max }
    }

    /// Returns the next message, or `None` once the client has sent the last one. It can be called again after it was
    /// dropped half way.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if self.bytes.len() >= HEAD {
                let whole = length(&self.bytes, self.max)?;
                if self.bytes.len() >= whole {
                    let mut message = self.bytes.split_to(whole).freeze();
                    message.advance(HEAD);
                    return Ok(Some(message));
                }
            }
            let Some(frame) = self.body.as_mut().frame().await else {
                let whole = self.bytes.is_empty();
                return if whole { Ok(None) } else { Err(Status::new(Code::Internal, CUT_SHORT)) };
            };
            let frame = frame.map_err(|error| Status::new(Code::Internal, error.into().to_string()))?;
            if let Ok(data) = frame.into_data() {
                self.bytes.extend_from_slice(&data);
            }
        }
    }
}

/// Returns a message with its head.
pub(crate) fn framed(write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut framed = BytesMut::with_capacity(64);
    framed.put_bytes(0, HEAD);
    write(&mut framed);
    // A result of 4 GiB would have been more than the memory for it.
    let length = u32::try_from(framed.len() - HEAD).unwrap_or(u32::MAX);
    if let Some(head) = framed.get_mut(1..HEAD) {
        head.copy_from_slice(&length.to_be_bytes());
    }
    framed.freeze()
}

/// Returns the length of a message with its head.
fn length(bytes: &[u8], max: usize) -> Result<usize, Status> {
    let [compressed, length @ ..] = bytes.first_chunk::<HEAD>().copied().unwrap_or_default();
    if compressed != 0 {
        return Err(Status::new(Code::Unimplemented, "compressed messages are not supported"));
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > max {
        let text = format!("grpc: received message larger than max ({length} vs. {max})");
        return Err(Status::new(Code::ResourceExhausted, text));
    }
    Ok(length + HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use std::convert::Infallible;

    async fn split(bytes: &[u8], at: usize, max: usize) -> Result<Bytes, Code> {
        let (one, other) = bytes.split_at(at);
        let frames =
            [one, other].map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        Messages::new(max).read(body).await.map_err(|status| status.code)
    }

    #[tokio::test]
    async fn a_message_comes_in_any_pieces() {
        let bytes = b"\0\0\0\0\x03abc";
        for at in 0..=bytes.len() {
            assert_eq!(split(bytes, at, 3).await, Ok(Bytes::from_static(b"abc")), "{at}");
            assert_eq!(split(bytes, at, 2).await, Err(Code::ResourceExhausted), "{at}");
        }
        assert_eq!(split(b"\0\0\0\0\0", 2, 0).await, Ok(Bytes::new()));
    }

    #[tokio::test]
    async fn messages_of_a_stream_come_in_any_pieces() {
        let bytes: Vec<u8> = [framed(|out| out.put_slice(b"abc")), framed(|_| {})].concat();
        assert_eq!(bytes, b"\0\0\0\0\x03abc\0\0\0\0\0");
        for at in 0..=bytes.len() {
            let (one, other) = bytes.split_at(at);
            let frames =
                [one, other].map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))));
            let mut read = Incoming::new(StreamBody::new(futures_util::stream::iter(frames)), 3);
            assert_eq!(read.next().await, Ok(Some(Bytes::from_static(b"abc"))), "{at}");
            assert_eq!(read.next().await, Ok(Some(Bytes::new())), "{at}");
            assert_eq!(read.next().await, Ok(None), "{at}");
        }
        let cut = StreamBody::new(futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(
            Bytes::from_static(b"\0\0\0\0\x03ab"),
        ))]));
        assert_eq!(Incoming::new(cut, 3).next().await.unwrap_err().code, Code::Internal);
    }

    #[tokio::test]
    async fn what_is_not_one_message_is_refused() {
        for short in [&b""[..], b"\0\0\0", b"\0\0\0\0\x03ab"] {
            assert_eq!(split(short, 0, 10).await, Err(Code::Internal), "{short:?}");
        }
        assert_eq!(split(b"\0\0\0\0\x01ab", 6, 10).await, Err(Code::Internal), "a second one");
        assert_eq!(split(b"\x01\0\0\0\x01a", 6, 10).await, Err(Code::Unimplemented), "a compressed one");
        assert_eq!(split(b"\0\xFF\xFF\xFF\xFF", 5, 10).await, Err(Code::ResourceExhausted), "never comes");
    }
}
