//! Logins: invalid tokens, clients that reconnect all the time, and the log of it.

use super::super::Target;
use super::super::arena::{Arena, Bound, Outcome};
use crate::bench::server::Launch;
use crate::shell::Failure;
use serde_json::json;

pub(super) fn bad_tokens(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let head = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
    let attack = json!({
        "opening": "websocket", "count": 50, "again": true, "most": 100_000, "units": 1, "leave": true,
        "unit": {"kind": "frame", "line": format!("{{\"id\":1,\"connect\":{{\"token\":\"{head}.<pad 50000>.xxxx\"}}}}")},
    });
    arena.measure(&[attack], Bound::queues(50, 0.0))
}

pub(super) fn storm(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let attack = json!({
        "count": 200, "window": 200, "again": true, "most": 100_000, "leave": true,
        "first_lines": ["{\"id\":2,\"subscribe\":{\"channel\":\"pr:0\"}}"],
    });
    arena.measure(&[attack], Bound::each(200, 100e3))
}

pub(super) fn log_pipe(target: &Target) -> Result<Outcome, Failure> {
    let launch = Launch { piped: true, ..Launch::default() };
    let arena = Arena::launch(target, &json!({"log": {"level": "debug"}}), launch)?;
    // Requests that are not handshakes are logged without a limit a second: they fill the pipe.
    let fill = json!({
        "opening": "tcp", "count": 4, "outstanding": 20,
        "unit": {"kind": "raw", "lines": 20, "line": "GET /connection/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"},
    });
    let refused = json!({
        "opening": "websocket", "first": 100, "count": 20, "again": true, "most": 20_000, "units": 1, "leave": true,
        "unit": {"kind": "frame", "line": "{\"id\":1,\"connect\":{\"token\":\"a.b.c\"}}"},
    });
    arena.measure(&[fill, refused], Bound::queues(24, 0.0))
}
