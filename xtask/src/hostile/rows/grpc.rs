//! The port of the unidirectional gRPC stream.

use super::super::Target;
use super::super::arena::{Arena, Bound, Outcome};
use super::outgoing::SMALL_WINDOW;
use super::streams::feed;
use crate::shell::Failure;
use serde_json::{Value, json};

/// Buffers of a connection of HTTP/2.
const CONNECTION: f64 = 96e3;
/// A stream that is told nothing: session, slot, subscription, state of HTTP/2.
const SILENT: f64 = 12e3;

/// Subscribers that do not read, of 5 MB/s: some do not take what is sent, and some let nothing be sent.
pub(super) fn deaf(target: &Target) -> Result<Outcome, Failure> {
    let mut arena = Arena::new(target, &json!({}))?;
    arena.bystanders(50, "feed")?;
    let count = 25;
    let deaf = |windowless: bool, first: usize| {
        json!({
            "port": "grpc", "opening": "grpc", "count": count, "first": first, "deaf": !windowless,
            "windowless": windowless, "receive_buffer": SMALL_WINDOW, "first_lines": ["feed0"],
        })
    };
    let attacks = [deaf(false, 0), deaf(true, 100), feed()];
    arena.measure(&attacks, Bound::queues(2 * count, 10_000.0).and(50.0 * 2e6).and_back())
}

/// Streams that are opened and then say nothing and are told nothing.
pub(super) fn silent(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let (connections, streams) = arena.pick((100, 100), (10, 30));
    let lines: Vec<Value> = (0..streams).map(|stream| json!(format!("quiet<c>-{stream}"))).collect();
    let attack = json!({
        "port": "grpc", "opening": "grpc", "count": connections, "seconds": arena.pick(20.0, 0.8), "first_lines": lines,
    });
    let bound = Bound::each(connections * streams, SILENT).and(connections as f64 * CONNECTION);
    arena.measure(&[attack], bound.and_back())
}

/// Calls that are reset as soon as they are sent.
pub(super) fn resets(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(20, 5);
    let attack = json!({
        "port": "grpc", "opening": "grpc", "count": count, "again": true, "deaf": true, "most": arena.pick(2_000, 50),
        "unit": {"kind": "calls", "line": "reset<n>", "lines": 100},
    });
    arena.measure(&[attack], Bound::each(count, 200e3).and_back())
}

/// Connections that say nothing, and heads of HTTP/2 that never end.
pub(super) fn half_open(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(1_500, 100);
    // A head that has begun has the time of a head, and that of the end of a connection after it.
    let seconds = arena.pick(30.0, 0.8);
    let attacks = [
        json!({"port": "grpc", "opening": "tcp", "count": count, "seconds": seconds, "gone": true}),
        json!({
            "port": "grpc", "opening": "tcp", "count": count, "first": 10_000, "seconds": seconds, "gone": true,
            // A frame with headers that no other follows.
            "first_lines": ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0\0\0\u{1}\u{1}\0\0\0\0\u{1}\u{3}"],
        }),
    ];
    arena.measure(&attacks, Bound::each(2 * count, CONNECTION).and_back())
}
