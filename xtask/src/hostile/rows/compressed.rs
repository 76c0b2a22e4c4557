//! Compressed messages, and HTTP/2.

use super::super::Target;
use super::super::arena::{Arena, Bound, Outcome};
use crate::shell::Failure;
use serde_json::{Value, json};
use std::net::TcpListener;

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
/// Memory that bombs may take, however many there are.
const BOMBS: f64 = 2e6;

fn compressing() -> Value {
    json!({"websocket": {"compression": true}})
}

/// Messages of 64 KiB that inflate to 64 MiB, one after the other.
pub(super) fn bombs(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &compressing())?;
    let attack = json!({
        "opening": "websocket", "headers": OFFER, "count": 2, "again": true, "most": arena.pick(1_000, 50),
        "units": 1, "unit": {"kind": "deflated", "size": 64 << 20},
    });
    arena.measure(&[attack], Bound::in_all(BOMBS).and_back())
}

/// Offers that no server can meet, and compressed messages all the same; and messages that do not inflate.
pub(super) fn garbage(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &compressing())?;
    let count = arena.pick(50, 10);
    let attack = |offer: &str, first: usize| {
        json!({
            "opening": "websocket", "headers": offer, "count": count, "first": first, "again": true,
            "most": arena.pick(20_000, 100), "units": 1, "unit": {"kind": "deflated", "size": 1_000, "garbage": true},
        })
    };
    let wrong = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n";
    let attacks = [attack(wrong, 0), attack(OFFER, 50_000)];
    arena.measure(&attacks, Bound::each(2 * count, 96e3).and_back())
}

/// Requests that are reset as soon as they are sent.
pub(super) fn resets(target: &Target) -> Result<Outcome, Failure> {
    let internal = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let changes = json!({
        "http_server": {"h2c_external": true, "internal_port": internal.to_string()},
        "http_api": {"external": true},
    });
    let arena = Arena::new(target, &changes)?;
    let count = arena.pick(20, 5);
    let attack = json!({
        "opening": "tcp", "count": count, "again": true, "deaf": true, "most": arena.pick(2_000, 50),
        "first_lines": ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0"],
        "unit": {"kind": "resets", "lines": 100},
    });
    arena.measure(&[attack], Bound::each(count, 200e3).and_back())
}
