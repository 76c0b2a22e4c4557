//! The first request of a connection.
//!
//! Nearly every client opens its connection for a WebSocket, or for a response that is a stream, and nothing else. Such
//! a request is read and answered without hyper, which refuses upgrades by HTTP/1.0, query strings with bare quotes and
//! more than 100 headers, adds `close` to the response's `Connection`, and spells `Sec-WebSocket-Accept` otherwise than
//! clients that compare it to the letter; and which keeps buffers for a stream as long as it lasts. Whatever is not
//! plainly a request that is to be accepted goes to hyper as it came.

use super::request::MESSAGE_TIMEOUT;
use super::{Answer, Ended, Io, Opened, Peer, Service, empty};
use crate::patience::within;
use bytes::Bytes;
use http::StatusCode;
use spinward::transport::websocket::Admitted;
use spinward::wire::ws::request::{self, MAX_HEAD, Opening};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes that are read at first: the head of a usual handshake.
const USUAL_HEAD: usize = 1 << 10;

/// Continuation of a connection.
pub(super) enum First {
    /// In a shard, outside of HTTP. The first bytes of a WebSocket may be there.
    Leaves { admitted: Box<Admitted>, leftover: Bytes },
    /// By hyper, with what was read so far.
    Http { begun: Vec<u8>, refusal: Option<Answer> },
}

/// Request of a head.
enum Asks {
    /// A stream, behind a body of this length.
    Stream {
        head: usize,
        body: usize,
    },
    Done(First),
}

/// Reads until it is clear how the connection goes on.
pub(super) async fn read(
    stream: &mut impl Io,
    peer: &Peer,
    service: &impl Service,
    limit: Duration,
) -> io::Result<First> {
    let mut buffer = Vec::with_capacity(USUAL_HEAD);
    let (head, body) =
        match tokio::time::timeout(limit, read_head(stream, &mut buffer, peer, service)).await?? {
            Asks::Done(first) => return Ok(first),
            Asks::Stream { head, body } => (head, body),
        };
    if !read_body(stream, &mut buffer, head + body).await? {
        let refusal = Some(empty(StatusCode::REQUEST_TIMEOUT));
        return Ok(First::Http { begun: buffer, refusal });
    }
    let Opening::Request(request) = request::read(&buffer, 0) else {
        return Ok(First::Http { begun: buffer, refusal: None });
    };
    let content = Bytes::copy_from_slice(&buffer[head..head + body]);
    let refusal = match service.open_stream(&request, content, peer) {
        // What follows it is no request: the response ends with the connection.
        Opened::Accepted(admitted) => return Ok(First::Leaves { admitted, leftover: Bytes::new() }),
        Opened::Refused(refusal) => Some(refusal),
        Opened::Pass => None,
    };
    Ok(First::Http { begun: buffer, refusal })
}

async fn read_head(
    stream: &mut impl Io,
    buffer: &mut Vec<u8>,
    peer: &Peer,
    service: &impl Service,
) -> io::Result<Asks> {
    let mut seen = 0;
    let refusal = loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match request::read(buffer, seen) {
            Opening::Partial => {
                seen = buffer.len();
                if seen == buffer.capacity() {
                    buffer.reserve_exact(seen.min(MAX_HEAD - seen));
                }
            }
            Opening::Upgrade(head) => match service.open(&head, peer) {
                Opened::Accepted(admitted) => {
                    let leftover = Bytes::copy_from_slice(&buffer[head.len..]);
                    return Ok(Asks::Done(First::Leaves { admitted, leftover }));
                }
                Opened::Refused(refusal) => break Some(refusal),
                Opened::Pass => break None,
            },
            Opening::Request(head) => match service.expects(&head) {
                Some(body) => return Ok(Asks::Stream { head: head.len, body }),
                None => break None,
            },
            Opening::Other => break None,
        }
    };
    Ok(Asks::Done(First::Http { begun: std::mem::take(buffer), refusal }))
}

/// Reads until there are `wanted` bytes. Returns false if they take too long.
async fn read_body(stream: &mut impl Io, buffer: &mut Vec<u8>, wanted: usize) -> io::Result<bool> {
    buffer.reserve_exact(wanted.saturating_sub(buffer.len()));
    let reading = async {
        while buffer.len() < wanted {
            if stream.read_buf(buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
        Ok(())
    };
    within(MESSAGE_TIMEOUT, reading).await.transpose().map(|read| read.is_some())
}

/// Answers the request and hands the stream to a shard.
pub(super) async fn accept(
    mut stream: impl Io,
    admitted: Admitted,
    leftover: Bytes,
    limit: Duration,
) -> Ended {
    let head = admitted.head();
    let writing = async {
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await
    };
    let written = within(limit, writing).await;
    written.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
    stream.hand_over(admitted, leftover)?;
    Ok(())
}
