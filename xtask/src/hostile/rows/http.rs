//! HTTP before a client is one: heads, bodies and connections that take their time.

use super::super::Target;
use super::super::arena::{Arena, Bound, Outcome};
use crate::shell::Failure;
use serde_json::json;

/// Buffers of one HTTP connection: head, body in parts, answers.
const CONNECTION: f64 = 96e3;

pub(super) fn pipeline(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(1_000, 50);
    let attack = json!({
        "opening": "tcp", "count": count, "deaf": true, "receive_buffer": 4096, "seconds": arena.pick(60.0, 0.8),
        "unit": {"kind": "raw", "lines": 100, "line": "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"},
    });
    arena.measure(&[attack], Bound::each(count, CONNECTION))
}

pub(super) fn unfinished_heads(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(2_000, 100);
    let attack = json!({
        "opening": "tcp", "count": count,
        "first_lines": ["GET /connection/websocket HTTP/1.1\r\nHost: a\r\nX-Pad: <pad 380000>"],
    });
    arena.measure(&[attack], Bound::each(count, CONNECTION))
}

pub(super) fn large_upgrades(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(2_500, 100);
    let attack = json!({
        "opening": "websocket", "count": count, "headers": "X-Pad: <pad 320000>\r\n",
    });
    arena.measure(&[attack], Bound::each(count, CONNECTION))
}

pub(super) fn slow_bodies(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(500, 50);
    let head =
        "POST /api/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: hostile-key\r\nContent-Length: 30000000\r\n\r\n";
    let attack = json!({
        "opening": "tcp", "count": count, "first_lines": [head], "pace": 10.0, "seconds": arena.pick(40.0, 0.8),
        "unit": {"kind": "raw", "line": " "},
    });
    arena.measure(&[attack], Bound::each(count, CONNECTION))
}

pub(super) fn slow_heads(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(2_000, 100);
    let attack = json!({
        "opening": "tcp", "count": count, "pace": 2.0, "seconds": arena.pick(15.0, 0.8), "gone": true,
        "first_lines": ["GET /connection/websocket HTTP/1.1\r\nHost: a\r\nX-Slow: "],
        "unit": {"kind": "raw", "line": "x"},
    });
    arena.measure(&[attack], Bound::each(count, CONNECTION).and_back())
}

pub(super) fn silent(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(3_000, 200);
    let attack = json!({"opening": "tcp", "count": count, "seconds": arena.pick(15.0, 0.8), "gone": true});
    arena.measure(&[attack], Bound::each(count, CONNECTION).and_back())
}

pub(super) fn idle(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(2_000, 100);
    let attack = json!({
        "opening": "tcp", "count": count, "units": 1, "seconds": arena.pick(20.0, 0.8),
        "unit": {"kind": "raw", "line": "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"},
    });
    arena.measure(&[attack], Bound::each(count, CONNECTION))
}

pub(super) fn backlog(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(3_000, 500);
    let attack =
        json!({"opening": "websocket", "count": count, "window": count, "seconds": arena.pick(5.0, 0.8)});
    arena.measure(&[attack], Bound::each(count, CONNECTION))
}

pub(super) fn unauthorised_bodies(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = 8;
    let attack = json!({
        "opening": "tcp", "count": count, "again": true, "most": 10_000, "key": "another-key", "outstanding": 1,
        "unit": {"kind": "api", "method": "publish", "line": "<pad 20000000>"},
    });
    arena.measure(&[attack], Bound::each(count, CONNECTION))
}
