//! The UDP port of HTTP/3.

use super::super::Target;
use super::super::arena::{Arena, Bound, Outcome};
use super::streams::feed;
use crate::bench::rows::encrypted;
use crate::shell::Failure;
use serde_json::json;

/// State of QUIC, TLS and HTTP/3 of a connection, with packets that are kept until they are acknowledged.
const CONNECTION: f64 = 150e3;

/// Handshakes that end after the first packets.
pub(super) fn half_open(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &encrypted()?)?;
    let count = arena.pick(2_000, 100);
    let attack = json!({
        "role": "quic", "kind": "half-open", "count": count, "seconds": arena.pick(15.0, 0.8),
    });
    arena.measure(&[attack], Bound::each(count, CONNECTION).and_back())
}

/// Sessions without a stream.
pub(super) fn silent(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &encrypted()?)?;
    let count = arena.pick(300, 50);
    let attack = json!({
        "role": "quic", "kind": "silent", "count": count, "seconds": arena.pick(25.0, 0.8),
    });
    arena.measure(&[attack], Bound::each(count, CONNECTION).and_back())
}

/// Subscribers that do not read, of 5 MB/s.
pub(super) fn deaf(target: &Target) -> Result<Outcome, Failure> {
    let mut arena = Arena::new(target, &encrypted()?)?;
    // Each of them costs encryption, on both sides.
    arena.bystanders_with(5, "feed", &json!({"tls": "full"}))?;
    let count = 50;
    let deaf = json!({"role": "quic", "kind": "deaf", "count": count, "channel": "feed0"});
    arena.measure(&[deaf, feed()], Bound::queues(count, CONNECTION).and(5.0 * 2e6).and_back())
}

/// Streams that are reset as soon as they are opened.
pub(super) fn resets(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &encrypted()?)?;
    let count = arena.pick(100, 10);
    let attack = json!({"role": "quic", "kind": "resets", "count": count});
    arena.measure(&[attack], Bound::each(count, CONNECTION).and_back())
}

/// Datagrams that only begin like QUIC.
pub(super) fn garbage(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &encrypted()?)?;
    let attack = json!({"role": "quic", "kind": "garbage", "count": 20});
    arena.measure(&[attack], Bound::each(20, CONNECTION).and_back())
}
