//! The first request of a connection.
//!
//! Nearly every client opens its connection for a WebSocket and nothing else. Such a request is read and answered
//! without hyper, which refuses upgrades by HTTP/1.0, query strings with bare quotes and more than 100 headers,
//! adds `close` to the response's `Connection`, and spells `Sec-WebSocket-Accept` otherwise than clients that
//! compare it to the letter. Whatever is not plainly a handshake that is to be accepted goes to hyper as it came.

use super::{Answer, Ended, Io, Opened, Peer, Service};
use crate::patience::within;
use bytes::Bytes;
use spinward::transport::websocket::Admitted;
use spinward::wire::ws::request::{self, MAX_HEAD, Opening};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes that are read at first: the head of a usual handshake.
const USUAL_HEAD: usize = 1 << 10;

/// Continuation of a connection.
pub(super) enum First {
    /// As a WebSocket, whose first bytes may be there.
    WebSocket { admitted: Box<Admitted>, leftover: Bytes },
    /// By hyper, with what was read so far.
    Http { begun: Vec<u8>, refusal: Option<Answer> },
}

/// Reads until it is clear how the connection goes on.
pub(super) async fn read(
    stream: &mut impl Io,
    peer: &Peer,
    service: &impl Service,
    limit: Duration,
) -> io::Result<First> {
    let reading = async {
        let mut buffer = Vec::with_capacity(USUAL_HEAD);
        let mut seen = 0;
        loop {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let opened = match request::read(&buffer, seen) {
                Opening::Partial => {
                    seen = buffer.len();
                    if seen == buffer.capacity() {
                        buffer.reserve_exact(seen.min(MAX_HEAD - seen));
                    }
                    continue;
                }
                Opening::Upgrade(head) => match service.open(&head, peer) {
                    Opened::Accepted(admitted) => {
                        let leftover = Bytes::copy_from_slice(&buffer[head.len..]);
                        return Ok(First::WebSocket { admitted, leftover });
                    }
                    Opened::Refused(refusal) => Some(refusal),
                    Opened::Pass => None,
                },
                Opening::Other => None,
            };
            return Ok(First::Http { begun: buffer, refusal: opened });
        }
    };
    tokio::time::timeout(limit, reading).await?
}

/// Accepts a handshake and hands the stream to a shard.
pub(super) async fn accept(
    mut stream: impl Io,
    admitted: Admitted,
    leftover: Bytes,
    limit: Duration,
) -> Ended {
    let written = within(limit, stream.write_all(admitted.head().as_bytes())).await;
    written.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
    stream.hand_over(admitted, leftover)?;
    Ok(())
}
