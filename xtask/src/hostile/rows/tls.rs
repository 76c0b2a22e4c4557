//! TLS before there is any, and after.

use super::super::Target;
use super::super::arena::{Arena, Bound, Outcome};
use crate::bench::rows::encrypted;
use crate::shell::Failure;
use serde_json::json;

/// Memory of a handshake: the largest message that is waited for, and the state of TLS.
const HANDSHAKE: f64 = 80e3;

/// A record with the beginning of a hello of 32 KB.
const HELLO: &str = "\u{16}\u{3}\u{1}\u{3f}\u{0}\u{1}\u{0}\u{7f}\u{7f}\u{3}\u{3}";

pub(super) fn half_open(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &encrypted()?)?;
    let count = arena.pick(3_000, 200);
    let attack = json!({
        "opening": "tcp", "count": count, "seconds": arena.pick(15.0, 0.8), "gone": true, "first_lines": [HELLO],
    });
    arena.measure(&[attack], Bound::each(count, HANDSHAKE).and_back())
}

pub(super) fn endless_hello(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &encrypted()?)?;
    let count = arena.pick(2_000, 100);
    let attack = json!({
        "opening": "tcp", "count": count, "seconds": arena.pick(20.0, 0.8), "pace": 20.0, "gone": true,
        "first_lines": [format!("{HELLO}<pad 15000>")], "unit": {"kind": "raw", "line": "xxxxxxxxxxxxxxxx"},
    });
    arena.measure(&[attack], Bound::each(count, HANDSHAKE).and_back())
}

pub(super) fn deaf(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &encrypted()?)?;
    let attack = json!({
        "opening": "websocket", "tls": true, "count": 4, "deaf": true, "receive_buffer": 4096, "bytes": 200_000_000,
        "unit": {"kind": "ping", "size": 125, "lines": 5_000},
    });
    arena.measure(&[attack], Bound::queues(4, 0.0))
}
