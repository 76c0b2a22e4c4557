//! SockJS over HTTP, whose sessions outlive their requests.

use super::super::Target;
use super::super::arena::{Arena, Bound, Outcome};
use super::outgoing::SMALL_WINDOW;
use super::streams::{REQUEST, SILENT, feed};
use crate::shell::Failure;
use serde_json::json;

/// A session beyond that: connection of HTTP, what is kept of it by its name, output that no request takes.
const SESSION: f64 = 19e3;

/// Most sessions that the attackers of [`abandoned`] open.
const ABANDONED: usize = 20_000;

/// Subscribers whose stream is not read, of 5 MB/s.
pub(super) fn deaf(target: &Target) -> Result<Outcome, Failure> {
    let mut arena = Arena::new(target, &json!({}))?;
    arena.bystanders(50, "feed")?;
    let count = 50;
    let deaf = json!({
        "opening": "sockjs", "count": count, "deaf": true, "receive_buffer": SMALL_WINDOW,
        "first_lines": ["{\"id\":2,\"subscribe\":{\"channel\":\"feed0\"}}"],
    });
    arena.measure(&[deaf, feed()], Bound::queues(count, 10_000.0).and(50.0 * 2e6).and_back())
}

/// Streams that are opened and then say nothing and are told nothing.
pub(super) fn silent(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(10_000, 300);
    let attack = json!({"opening": "sockjs", "count": count, "seconds": arena.pick(20.0, 0.8)});
    arena.measure(&[attack], Bound::each(count, SILENT + SESSION).and_back())
}

/// Sessions that are opened by a poll, and not asked for again.
pub(super) fn abandoned(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = 20;
    let most = arena.pick(ABANDONED, 200);
    let attack = json!({
        "opening": "tcp", "count": count, "units": most / count, "outstanding": 1,
        "unit": {"kind": "post", "path": "/connection/sockjs/000/a<c>-<n>/xhr", "line": ""},
    });
    arena.measure(&[attack], Bound::each(most, SESSION).and_back())
}

/// Messages to sessions that are not the sender's, and to one of a witness under another method and in parts.
pub(super) fn sessions(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let message = "[\"{\\\"id\\\":9,\\\"unsubscribe\\\":{\\\"channel\\\":\\\"witness:stream0\\\"}}\"]";
    let post = |path: &str, first: usize| {
        json!({
            "opening": "tcp", "count": 20, "first": first, "outstanding": 4, "never": "204",
            "unit": {"kind": "post", "path": path, "line": message},
        })
    };
    // The witness of SockJS has a WebSocket and this name.
    let attacks = [
        post("/connection/sockjs/000/x<c>-<n>/xhr_send", 0),
        post("/connection/sockjs/000/u900007/xhr_send", 1_000),
    ];
    arena.measure(&attacks, Bound::each(40, REQUEST).and_back())
}
